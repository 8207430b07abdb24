
/*
 * Copyright (C) the ngx_http_lrt_upstream_module authors
 *
 * For tests only, compiled with -DLRT_TEST: a location that changes and shows
 * tables, holds locks and kills workers at given points.
 *
 *   ?op=add&group=NAME&server=ADDR[&weight=][&max_conns=][&max_fails=]
 *       [&fail_timeout=MS][&backup=1][&down=1][&drain=1]
 *   ?op=set&group=NAME&id=N[&weight=]...     ?op=remove&group=NAME&id=N
 *   ?op=method&group=NAME&name=DIRECTIVE     ?op=dump&group=NAME
 *   ?op=validate&group=NAME[&quiet=1]        ?op=stats&group=NAME&id=N
 *   ?op=hook&point=N      the next process that comes there is killed
 *   ?op=die_locked&group=NAME                ?op=hold&group=NAME&ms=N
 *
 * 200 and a line of text, or 400, 404, 409 and 507 with a reason; 503 if the
 * lock is not free.
 */


#include "ngx_http_lrt.h"


#if (LRT_TEST)


typedef ngx_uint_t (*ngx_http_lrt_test_pt)(ngx_http_request_t *r,
    ngx_http_lrt_srv_conf_t *lscf, ngx_str_t *text);

typedef struct {
    ngx_str_t                        name;
    ngx_uint_t                       locked;
    ngx_http_lrt_test_pt             handler;
} ngx_http_lrt_test_op_t;


#define NGX_HTTP_LRT_TEST_TEXT       65536


static ngx_int_t ngx_http_lrt_test_handler(ngx_http_request_t *r);
static ngx_uint_t ngx_http_lrt_test_run(ngx_http_request_t *r,
    ngx_http_lrt_test_op_t *op, ngx_str_t *text);
static ngx_http_lrt_srv_conf_t *ngx_http_lrt_test_group(
    ngx_http_request_t *r);
static ngx_int_t ngx_http_lrt_test_arg(ngx_http_request_t *r,
    const char *name, ngx_int_t missing);
static uint32_t ngx_http_lrt_test_params(ngx_http_request_t *r,
    lrt_params_t *p);
static ngx_uint_t ngx_http_lrt_test_commit(ngx_http_lrt_srv_conf_t *lscf,
    lrt_change_t *c, ngx_str_t *text);

static ngx_uint_t ngx_http_lrt_test_add(ngx_http_request_t *r,
    ngx_http_lrt_srv_conf_t *lscf, ngx_str_t *text);
static ngx_uint_t ngx_http_lrt_test_set(ngx_http_request_t *r,
    ngx_http_lrt_srv_conf_t *lscf, ngx_str_t *text);
static ngx_uint_t ngx_http_lrt_test_remove(ngx_http_request_t *r,
    ngx_http_lrt_srv_conf_t *lscf, ngx_str_t *text);
static ngx_uint_t ngx_http_lrt_test_method(ngx_http_request_t *r,
    ngx_http_lrt_srv_conf_t *lscf, ngx_str_t *text);
static ngx_uint_t ngx_http_lrt_test_dump(ngx_http_request_t *r,
    ngx_http_lrt_srv_conf_t *lscf, ngx_str_t *text);
static ngx_uint_t ngx_http_lrt_test_stats(ngx_http_request_t *r,
    ngx_http_lrt_srv_conf_t *lscf, ngx_str_t *text);
static ngx_uint_t ngx_http_lrt_test_validate(ngx_http_request_t *r,
    ngx_http_lrt_srv_conf_t *lscf, ngx_str_t *text);
static ngx_uint_t ngx_http_lrt_test_hook(ngx_http_request_t *r,
    ngx_http_lrt_srv_conf_t *lscf, ngx_str_t *text);
static ngx_uint_t ngx_http_lrt_test_die_locked(ngx_http_request_t *r,
    ngx_http_lrt_srv_conf_t *lscf, ngx_str_t *text);
static ngx_uint_t ngx_http_lrt_test_hold(ngx_http_request_t *r,
    ngx_http_lrt_srv_conf_t *lscf, ngx_str_t *text);


static ngx_http_lrt_test_op_t  ngx_http_lrt_test_ops[] = {
    { ngx_string("add"), 1, ngx_http_lrt_test_add },
    { ngx_string("set"), 1, ngx_http_lrt_test_set },
    { ngx_string("remove"), 1, ngx_http_lrt_test_remove },
    { ngx_string("method"), 1, ngx_http_lrt_test_method },
    { ngx_string("dump"), 0, ngx_http_lrt_test_dump },
    { ngx_string("stats"), 0, ngx_http_lrt_test_stats },
    { ngx_string("validate"), 1, ngx_http_lrt_test_validate },
    { ngx_string("hook"), 0, ngx_http_lrt_test_hook },
    { ngx_string("die_locked"), 1, ngx_http_lrt_test_die_locked },
    { ngx_string("hold"), 1, ngx_http_lrt_test_hold },
    { ngx_null_string, 0, NULL }
};


/* by lrt_rc_t */

static struct {
    ngx_uint_t                       status;
    ngx_str_t                        text;
} ngx_http_lrt_test_rc[] = {
    { 200, ngx_string("ok") },
    { 503, ngx_string("busy") },
    { 507, ngx_string("full") },
    { 409, ngx_string("exists") },
    { 404, ngx_string("missing") },
    { 409, ngx_string("conflict") },
    { 400, ngx_string("invalid") },
    { 503, ngx_string("superseded") }
};


char *
ngx_http_lrt_test(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_core_loc_conf_t  *clcf;

    clcf = ngx_http_conf_get_module_loc_conf(cf, ngx_http_core_module);
    clcf->handler = ngx_http_lrt_test_handler;

    return NGX_CONF_OK;
}


/* armed by ?op=hook, for one process of the instance; never the master */

void
lrt_test_point(unsigned point)
{
    uint64_t                   armed;
    ngx_http_lrt_main_conf_t  *lmcf;

    if (ngx_process != NGX_PROCESS_WORKER) {
        return;
    }

    lmcf = ngx_http_cycle_get_module_main_conf(ngx_cycle,
                                               ngx_http_lrt_upstream_module);
    armed = point;

    if (lmcf && lmcf->registry
        && lrt_load(&lmcf->registry->reserved[0]) == armed
        && lrt_cas(&lmcf->registry->reserved[0], armed, 0))
    {
        (void) kill(ngx_pid, SIGKILL);
    }
}


static ngx_int_t
ngx_http_lrt_test_handler(ngx_http_request_t *r)
{
    ngx_int_t                rc;
    ngx_buf_t               *b;
    ngx_str_t                name, text;
    ngx_uint_t               status;
    ngx_chain_t              out;
    ngx_http_lrt_test_op_t  *op;

    rc = ngx_http_discard_request_body(r);
    if (rc != NGX_OK) {
        return rc;
    }

    text.data = ngx_pnalloc(r->pool, NGX_HTTP_LRT_TEST_TEXT);
    b = ngx_calloc_buf(r->pool);

    if (text.data == NULL || b == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    text.len = 0;
    status = NGX_HTTP_BAD_REQUEST;

    if (ngx_http_arg(r, (u_char *) "op", 2, &name) == NGX_OK) {
        for (op = ngx_http_lrt_test_ops; op->name.len; op++) {
            if (op->name.len == name.len
                && ngx_strncmp(op->name.data, name.data, name.len) == 0)
            {
                status = ngx_http_lrt_test_run(r, op, &text);
                break;
            }
        }
    }

    text.data[text.len++] = '\n';

    r->headers_out.status = status;
    r->headers_out.content_length_n = text.len;

    rc = ngx_http_send_header(r);

    if (rc == NGX_ERROR || rc > NGX_OK || r->header_only) {
        return rc;
    }

    b->pos = text.data;
    b->last = text.data + text.len;
    b->memory = 1;
    b->last_buf = (r == r->main);
    b->last_in_chain = 1;

    out.buf = b;
    out.next = NULL;

    return ngx_http_output_filter(r, &out);
}


static ngx_uint_t
ngx_http_lrt_test_run(ngx_http_request_t *r, ngx_http_lrt_test_op_t *op,
    ngx_str_t *text)
{
    ngx_uint_t                status;
    ngx_http_lrt_srv_conf_t  *lscf;

    lscf = ngx_http_lrt_test_group(r);

    if (lscf == NULL && op->handler != ngx_http_lrt_test_hook) {
        return NGX_HTTP_NOT_FOUND;
    }

    if (lscf && lscf->table.head == NULL) {
        return NGX_HTTP_SERVICE_UNAVAILABLE;
    }

    if (!op->locked) {
        return op->handler(r, lscf, text);
    }

    if (!ngx_http_lrt_trylock(lscf)) {
        return NGX_HTTP_SERVICE_UNAVAILABLE;
    }

    status = op->handler(r, lscf, text);

    ngx_http_lrt_unlock(lscf);

    return status;
}


static ngx_http_lrt_srv_conf_t *
ngx_http_lrt_test_group(ngx_http_request_t *r)
{
    ngx_str_t                   name;
    ngx_uint_t                  i;
    ngx_http_lrt_srv_conf_t   **lscfp;
    ngx_http_lrt_main_conf_t   *lmcf;

    if (ngx_http_arg(r, (u_char *) "group", 5, &name) != NGX_OK) {
        return NULL;
    }

    lmcf = ngx_http_get_module_main_conf(r, ngx_http_lrt_upstream_module);
    lscfp = lmcf->groups.elts;

    for (i = 0; i < lmcf->groups.nelts; i++) {
        if (lscfp[i]->upstream->host.len == name.len
            && ngx_strncmp(lscfp[i]->upstream->host.data, name.data, name.len)
               == 0)
        {
            return lscfp[i];
        }
    }

    return NULL;
}


static ngx_int_t
ngx_http_lrt_test_arg(ngx_http_request_t *r, const char *name,
    ngx_int_t missing)
{
    ngx_str_t  value;

    if (ngx_http_arg(r, (u_char *) name, ngx_strlen(name), &value) != NGX_OK) {
        return missing;
    }

    return ngx_atoi(value.data, value.len);
}


/* sets what the request names, and returns the mask of it */

static uint32_t
ngx_http_lrt_test_params(ngx_http_request_t *r, lrt_params_t *p)
{
    uint32_t  fields;

    fields = 0;

#define ngx_http_lrt_test_param(member, type, mask)                           \
    if (ngx_http_lrt_test_arg(r, #member, -2) != -2) {                        \
        p->member = (type) ngx_http_lrt_test_arg(r, #member, 0);              \
        fields |= mask;                                                       \
    }

    ngx_http_lrt_test_param(weight, uint32_t, LRT_F_WEIGHT)
    ngx_http_lrt_test_param(max_conns, uint32_t, LRT_F_MAX_CONNS)
    ngx_http_lrt_test_param(max_fails, uint32_t, LRT_F_MAX_FAILS)
    ngx_http_lrt_test_param(fail_timeout, uint64_t, LRT_F_FAIL_TIMEOUT)
    ngx_http_lrt_test_param(down, uint8_t, LRT_F_DOWN)
    ngx_http_lrt_test_param(drain, uint8_t, LRT_F_DRAIN)
    ngx_http_lrt_test_param(backup, uint8_t, 0)

#undef ngx_http_lrt_test_param

    return fields;
}


static ngx_uint_t
ngx_http_lrt_test_commit(ngx_http_lrt_srv_conf_t *lscf, lrt_change_t *c,
    ngx_str_t *text)
{
    lrt_rc_t          rc;
    lrt_change_set_t  set;

    ngx_memzero(&set, sizeof(lrt_change_set_t));

    set.change = c;
    set.n = 1;

    rc = lrt_change_commit(&lscf->table, &set, ngx_http_lrt_now() / 1000);

    text->len = ngx_sprintf(text->data, "%V id=%L generation=%uL",
                            &ngx_http_lrt_test_rc[rc].text,
                            (int64_t) c->ident - 1, set.generation)
                - text->data;

    return ngx_http_lrt_test_rc[rc].status;
}


static ngx_uint_t
ngx_http_lrt_test_add(ngx_http_request_t *r, ngx_http_lrt_srv_conf_t *lscf,
    ngx_str_t *text)
{
    ngx_str_t      server;
    ngx_url_t      u;
    lrt_change_t   c;

    ngx_memzero(&u, sizeof(ngx_url_t));

    if (ngx_http_arg(r, (u_char *) "server", 6, &server) != NGX_OK) {
        return NGX_HTTP_BAD_REQUEST;
    }

    u.url = server;
    u.default_port = 80;
    u.no_resolve = 1;

    if (ngx_parse_url(r->pool, &u) != NGX_OK || u.naddrs == 0) {
        return NGX_HTTP_BAD_REQUEST;
    }

    ngx_memzero(&c, sizeof(lrt_change_t));

    c.type = LRT_ADD;
    c.server.server.len = server.len;
    c.server.server.data = (const char *) server.data;

    ngx_http_lrt_server_defaults(&c.server.params);

    if (ngx_http_lrt_server_address(r->pool, &u.addrs[0], &c.server)
        != NGX_OK)
    {
        return NGX_HTTP_BAD_REQUEST;
    }

    (void) ngx_http_lrt_test_params(r, &c.server.params);

    return ngx_http_lrt_test_commit(lscf, &c, text);
}


static ngx_uint_t
ngx_http_lrt_test_set(ngx_http_request_t *r, ngx_http_lrt_srv_conf_t *lscf,
    ngx_str_t *text)
{
    lrt_change_t  c;

    ngx_memzero(&c, sizeof(lrt_change_t));

    c.type = LRT_MODIFY;
    c.ident = (uint64_t) ngx_http_lrt_test_arg(r, "id", -1) + 1;
    c.slot = LRT_NONE;
    c.fields = ngx_http_lrt_test_params(r, &c.server.params);

    return ngx_http_lrt_test_commit(lscf, &c, text);
}


static ngx_uint_t
ngx_http_lrt_test_remove(ngx_http_request_t *r, ngx_http_lrt_srv_conf_t *lscf,
    ngx_str_t *text)
{
    lrt_change_t  c;

    ngx_memzero(&c, sizeof(lrt_change_t));

    c.type = LRT_REMOVE;
    c.ident = (uint64_t) ngx_http_lrt_test_arg(r, "id", -1) + 1;
    c.slot = LRT_NONE;

    return ngx_http_lrt_test_commit(lscf, &c, text);
}


static ngx_uint_t
ngx_http_lrt_test_method(ngx_http_request_t *r, ngx_http_lrt_srv_conf_t *lscf,
    ngx_str_t *text)
{
    ngx_str_t     name;
    lrt_change_t  c;

    if (ngx_http_arg(r, (u_char *) "name", 4, &name) != NGX_OK) {
        return NGX_HTTP_BAD_REQUEST;
    }

    ngx_memzero(&c, sizeof(lrt_change_t));

    c.type = LRT_SET_POLICY;
    c.policy.method = lrt_method_find((const char *) name.data, name.len);

    return ngx_http_lrt_test_commit(lscf, &c, text);
}


static ngx_uint_t
ngx_http_lrt_test_dump(ngx_http_request_t *r, ngx_http_lrt_srv_conf_t *lscf,
    ngx_str_t *text)
{
    char  *p;

    (void) r;

    p = (char *) text->data;
    text->len = lrt_table_dump(&lscf->table, p,
                               p + NGX_HTTP_LRT_TEST_TEXT - 1) - p;

    return NGX_HTTP_OK;
}


static ngx_uint_t
ngx_http_lrt_test_stats(ngx_http_request_t *r, ngx_http_lrt_srv_conf_t *lscf,
    ngx_str_t *text)
{
    u_char        *p;
    uint32_t       i, slot;
    uint64_t       samples, ident;
    lrt_stats_t   *st;

    ident = (uint64_t) ngx_http_lrt_test_arg(r, "id", -1) + 1;

    slot = lrt_table_find_ident(&lscf->table,
                                lrt_table_generation(&lscf->table), ident);

    if (slot == LRT_NONE) {
        return NGX_HTTP_NOT_FOUND;
    }

    st = &lscf->table.detail[slot].stats;
    samples = 0;

    for (i = 0; i < LRT_HIST_BUCKETS; i++) {
        samples += st->times[i];
    }

    p = ngx_sprintf(text->data, "requests=%uL 1xx=%uL 2xx=%uL 3xx=%uL "
                    "4xx=%uL 5xx=%uL sent=%uL received=%uL fails=%uL "
                    "unavail=%uL selected=%uL samples=%uL p50=%uL",
                    st->requests, lrt_stats_responses(st, 0),
                    lrt_stats_responses(st, 1), lrt_stats_responses(st, 2),
                    lrt_stats_responses(st, 3), lrt_stats_responses(st, 4),
                    st->sent, st->received, st->fails, st->unavail,
                    st->selected, samples,
                    lrt_hist_quantile(st->times, 500));

    for (i = 0; i < LRT_CODES && st->codes[i]; i++) {
        p = ngx_sprintf(p, " code%uD=%uL",
                        lrt_stats_code_status(st->codes[i]),
                        lrt_stats_code_count(st->codes[i]));
    }

    text->len = p - text->data;

    return NGX_HTTP_OK;
}


static ngx_uint_t
ngx_http_lrt_test_validate(ngx_http_request_t *r,
    ngx_http_lrt_srv_conf_t *lscf, ngx_str_t *text)
{
    const char  *why;

    why = lrt_table_validate(&lscf->table, lscf->main->registry,
                             ngx_http_lrt_test_arg(r, "quiet", 0) == 1,
                             ngx_http_lrt_now() / 1000);

    text->len = ngx_sprintf(text->data, "%s", why ? why : "valid")
                - text->data;

    return why ? NGX_HTTP_INTERNAL_SERVER_ERROR : NGX_HTTP_OK;
}


static ngx_uint_t
ngx_http_lrt_test_hook(ngx_http_request_t *r, ngx_http_lrt_srv_conf_t *lscf,
    ngx_str_t *text)
{
    ngx_int_t                  point;
    ngx_http_lrt_main_conf_t  *lmcf;

    (void) lscf;
    (void) text;

    lmcf = ngx_http_get_module_main_conf(r, ngx_http_lrt_upstream_module);
    point = ngx_http_lrt_test_arg(r, "point", 0);

    lrt_store(&lmcf->registry->reserved[0], (uint64_t) point);

    return NGX_HTTP_OK;
}


static ngx_uint_t
ngx_http_lrt_test_die_locked(ngx_http_request_t *r,
    ngx_http_lrt_srv_conf_t *lscf, ngx_str_t *text)
{
    (void) r;
    (void) lscf;
    (void) text;

    (void) kill(ngx_pid, SIGKILL);

    return NGX_HTTP_OK;
}


static ngx_uint_t
ngx_http_lrt_test_hold(ngx_http_request_t *r, ngx_http_lrt_srv_conf_t *lscf,
    ngx_str_t *text)
{
    (void) lscf;
    (void) text;

    ngx_msleep((ngx_msec_t) ngx_http_lrt_test_arg(r, "ms", 0));

    return NGX_HTTP_OK;
}


#endif
