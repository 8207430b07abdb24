/* sources: ngx_http_lrt_match.c lrt_match.c lrt_header.c */

/*
 * Copyright (C) the ngx_http_lrt_upstream_module authors
 *
 * The inside of a block "lrt_match": it is refused, or gives tests within their
 * bounds, which any response passes or fails.
 *
 * The first byte of an input chooses the response.
 */


#include "world.h"

#include "lrt_header.h"


#define must(condition)                                                       \
    do {                                                                      \
        if (!(condition)) {                                                   \
            fprintf(stderr, "line %d: not so: %s\n", __LINE__, #condition);   \
            abort();                                                          \
        }                                                                     \
    } while (0)

#define text(s)      { sizeof(s) - 1, s }


static void check(const lrt_match_t *m, uint8_t which);


static const lrt_str_t  headers[][2] = {
    { text("Content-Type"), text("application/json") },
    { text("Set-Cookie"), text("aaaaaaaaaaaaaaaaaaaaaaaa!") },
    { text("X"), text("") },
    { text("a"), text("b c") }
};

static const lrt_str_t  bodies[] = {
    text(""), text("{\"ready\":true}"), text("aaaaaaaaaaaaaaaaaaaaaac")
};


int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);


int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    u_char                  *copy;
    ngx_buf_t                buf;
    ngx_conf_t               cf;
    ngx_str_t               *value;
    ngx_pool_t              *pool;
    ngx_command_t            cmd;
    ngx_conf_file_t          file;
    ngx_http_lrt_match_t   **match;

    static ngx_uint_t        begun;

    if (!begun) {
        begun = 1;
        world_begin();
    }

    if (len == 0) {
        return 0;
    }

    pool = world_pool();
    copy = malloc(len);

    memcpy(copy, data + 1, len - 1);

    /* a block whose head was read, and the rest of the file with it */

    ngx_memzero(&buf, sizeof(ngx_buf_t));
    ngx_memzero(&cf, sizeof(ngx_conf_t));
    ngx_memzero(&cmd, sizeof(ngx_command_t));
    ngx_memzero(&file, sizeof(ngx_conf_file_t));

    buf.start = buf.pos = copy;
    buf.last = buf.end = copy + len - 1;
    file.buffer = &buf;
    file.line = 1;
    ngx_str_set(&file.file.name, "nginx.conf");
    ngx_str_set(&cmd.name, "lrt_match");

    /* so that there is nothing more to read, and it is no text of "-g" */

    file.file.fd = 0;
    file.file.offset = (off_t) len;
    file.file.info.st_size = (off_t) len;

    cf.pool = pool;
    cf.temp_pool = pool;
    cf.cycle = &world_cycle;
    cf.log = &world_log;
    cf.conf_file = &file;
    cf.args = ngx_array_create(pool, 10, sizeof(ngx_str_t));

    value = ngx_array_push_n(cf.args, 2);
    ngx_str_set(&value[0], "lrt_match");
    ngx_str_set(&value[1], "m");

    must(ngx_array_init(&world_main.matches, pool, 1, sizeof(void *))
         == NGX_OK);

    if (ngx_http_lrt_match(&cf, &cmd, &world_main) == NGX_CONF_OK) {
        match = world_main.matches.elts;
        must(world_main.matches.nelts == 1);
        must(match[0]->name.len == 1);
        check(&match[0]->match, data[0]);

    } else {
        must(world_main.matches.nelts == 0);
    }

    free(copy);
    ngx_destroy_pool(pool);

    return 0;
}


static void
check(const lrt_match_t *m, uint8_t which)
{
    uint32_t              i;
    lrt_match_run_t       run;
    lrt_match_verdict_t   verdict;

    must(m->statuses <= LRT_MATCH_STATUSES);
    must(m->headers <= LRT_MATCH_HEADERS);
    must(m->bodies <= LRT_MATCH_BODIES);
    must(m->statuses + m->headers + m->bodies);

    for (i = 0; i < m->statuses; i++) {
        must(m->status[i].low >= 100 && m->status[i].high <= 599);
        must(m->status[i].low <= m->status[i].high);
    }

    for (i = 0; i < m->headers; i++) {
        must(lrt_header_name(&m->header[i].name));
        must((m->header[i].op == LRT_MATCH_REGEX)
             == (m->header[i].regex != NULL));
    }

    for (i = 0; i < m->bodies; i++) {
        must(m->body[i].regex != NULL);
    }

    ngx_memzero(&run, sizeof(lrt_match_run_t));

    for (i = 0; i < 4; i++) {
        if (which >> i & 1) {
            lrt_match_header(m, &run, &headers[i][0], &headers[i][1]);
        }
    }

    verdict = lrt_match_verdict(m, &run, 100 + 5 * (which >> 4) * 5,
                                &bodies[which % 3]);

    must(verdict.reason < LRT_CHECK_REASONS);
    must(verdict.test <= LRT_MATCH_STATUSES + LRT_MATCH_HEADERS);
}
