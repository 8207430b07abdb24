
/*
 * Copyright (C) the ngx_http_lrt_upstream_module authors
 *
 * FILE.learned: what was learned about the servers of a group with a state
 * file, which would be lost with its table.  It is written now and then by the
 * worker that writes the state file, and read once, when the table is filled.
 * What is wrong with it stops nobody: then there is nothing known.
 */


#include "ngx_http_lrt_check.h"
#include "ngx_http_lrt_state.h"
#include "lrt_learned.h"
#include "lrt_pace.h"

#include <sys/stat.h>


#define NGX_HTTP_LRT_LEARNED_VERSION  1

/* a server takes less than half of that, and all of them together this */

#define NGX_HTTP_LRT_LEARNED_SERVER   512
#define NGX_HTTP_LRT_LEARNED_MAX      (4 * 1024 * 1024)

/* at most so often, and for more than 1000 servers so many a second, ms */

#define NGX_HTTP_LRT_LEARNED_PERIOD   10000
#define NGX_HTTP_LRT_LEARNED_EACH     10


typedef struct {
    ngx_str_t                    address;
    uint8_t                      backup;
    lrt_learned_server_t         known;
    uint32_t                     given;
    uint32_t                     slot;
} ngx_http_lrt_learned_server_t;


typedef struct {
    uint32_t                     version;
    ngx_str_t                    upstream;
    uint64_t                     written;        /* ms since the epoch */
    ngx_str_t                    check;
    lrt_learned_group_t          group;
    ngx_array_t                  servers;   /* ngx_http_lrt_learned_server_t */
} ngx_http_lrt_learned_head_t;

#define NGX_HTTP_LRT_LEARNED_GIVEN_VERSION  0x01
#define NGX_HTTP_LRT_LEARNED_GIVEN_WRITTEN  0x02
#define NGX_HTTP_LRT_LEARNED_GIVEN_SERVERS  0x04
#define NGX_HTTP_LRT_LEARNED_GIVEN_ADDRESS  0x01


static void ngx_http_lrt_learned_begin(void *element);
static ngx_int_t ngx_http_lrt_learned_parse(ngx_pool_t *pool, ngx_str_t *text,
    ngx_http_lrt_learned_head_t *head, ngx_http_lrt_fault_t *fault);
static ngx_int_t ngx_http_lrt_learned_find(ngx_pool_t *pool,
    const lrt_table_t *t, ngx_array_t *servers, ngx_http_lrt_fault_t *fault);
static uint32_t ngx_http_lrt_learned_fill(lrt_table_t *t,
    ngx_http_lrt_learned_head_t *head, uint64_t elapsed);
static ngx_str_t ngx_http_lrt_learned_check(const lrt_settings_t *settings,
    u_char *text);
static uint64_t ngx_http_lrt_learned_clock(void);


#define ngx_http_lrt_learned_field(name, kind, member, field, max)            \
    { name, NGX_HTTP_LRT_##kind,                                              \
      offsetof(ngx_http_lrt_learned_head_t, member), field, max, NULL, NULL }

#define ngx_http_lrt_learned_of(name, kind, member, field, max)               \
    { name, NGX_HTTP_LRT_##kind,                                              \
      offsetof(ngx_http_lrt_learned_server_t, member), field, max, NULL, NULL }


static const ngx_http_lrt_field_t  ngx_http_lrt_learned_server_fields[] = {
    ngx_http_lrt_learned_of("server", TEXT, address,
                            NGX_HTTP_LRT_LEARNED_GIVEN_ADDRESS, LRT_DATA_LEN),
    ngx_http_lrt_learned_of("backup", FLAG, backup, 0, 0),
    ngx_http_lrt_learned_of("estimate_us", UINT64, known.estimate, 0,
                            LRT_LEARNED_TIME),
    ngx_http_lrt_learned_of("samples", UINT32, known.samples, 0,
                            LRT_LEARNED_SAMPLES),
    ngx_http_lrt_learned_of("age_ms", UINT64, known.age, 0, UINT32_MAX),
    ngx_http_lrt_learned_of("errors_ppm", UINT32, known.errors, 0,
                            LRT_LEARNED_PARTS),
    ngx_http_lrt_learned_of("suspected", FLAG, known.suspected, 0, 0),
    ngx_http_lrt_learned_of("stalls_ppm", UINT32, known.stalls, 0,
                            LRT_LEARNED_PARTS),
    ngx_http_lrt_learned_of("stalling", FLAG, known.stalling, 0, 0),
    ngx_http_lrt_learned_of("probe_us", UINT64, known.probe, 0,
                            LRT_LEARNED_TIME),
    ngx_http_lrt_learned_of("probe_then_us", UINT64, known.probe_then, 0,
                            LRT_LEARNED_TIME),
    ngx_http_lrt_learned_of("probes", UINT32, known.probes, 0, UINT16_MAX),
    { NULL, 0, 0, 0, 0, NULL, NULL }
};


static const ngx_http_lrt_list_t  ngx_http_lrt_learned_list = {
    "server",
    1,
    ngx_http_lrt_learned_server_fields,
    offsetof(ngx_http_lrt_learned_server_t, given),
    0,
    0,
    ngx_http_lrt_learned_begin
};


static const ngx_http_lrt_field_t  ngx_http_lrt_learned_fields[] = {
    ngx_http_lrt_learned_field("version", UINT32, version,
                               NGX_HTTP_LRT_LEARNED_GIVEN_VERSION, UINT32_MAX),
    ngx_http_lrt_learned_field("upstream", TEXT, upstream, 0, 4096),
    ngx_http_lrt_learned_field("written_ms", UINT64, written,
                               NGX_HTTP_LRT_LEARNED_GIVEN_WRITTEN,
                               NGX_HTTP_LRT_MAX_ID),
    ngx_http_lrt_learned_field("usual_us", UINT64, group.usual, 0,
                               LRT_LEARNED_TIME),
    ngx_http_lrt_learned_field("answers", UINT32, group.answers, 0,
                               UINT32_MAX),
    ngx_http_lrt_learned_field("spread_millioctaves", UINT32, group.spread, 0,
                               LRT_LEARNED_SPREAD),
    ngx_http_lrt_learned_field("far_ppm", UINT32, group.far, 0,
                               LRT_LEARNED_PARTS),
    ngx_http_lrt_learned_field("stalls_ppm", UINT32, group.stalls, 0,
                               LRT_LEARNED_PARTS),
    ngx_http_lrt_learned_field("check", TEXT, check, 0, NGX_MAX_ERROR_STR),

    { "servers", NGX_HTTP_LRT_LIST,
      offsetof(ngx_http_lrt_learned_head_t, servers),
      NGX_HTTP_LRT_LEARNED_GIVEN_SERVERS, LRT_MAX_CAPACITY / 2, NULL,
      &ngx_http_lrt_learned_list },

    { NULL, 0, 0, 0, 0, NULL, NULL }
};


/*
 * The table was just filled, and nobody else knows of it.  Whatever happens is
 * no reason not to start.
 */

void
ngx_http_lrt_learned_load(ngx_http_lrt_srv_conf_t *lscf, ngx_log_t *log)
{
    u_char               buf[NGX_MAX_ERROR_STR];
    uint32_t             n;
    uint64_t             age;
    ngx_str_t            text, why;
    ngx_pool_t          *pool;
    ngx_http_lrt_job_t   job;

    ngx_memzero(&job, sizeof(ngx_http_lrt_job_t));

    job.path = lscf->state->learned;
    job.plain = 1;
    job.max = NGX_HTTP_LRT_LEARNED_MAX
              + (size_t) lscf->table.capacity * NGX_HTTP_LRT_LEARNED_SERVER;

    ngx_http_lrt_disk_read(&job);

    if (job.rc == NGX_HTTP_LRT_JOB_MISSING) {
        return;
    }

    n = 0;
    age = 0;
    pool = NULL;
    ngx_str_set(&why, "no memory");

    if (job.rc == NGX_HTTP_LRT_JOB_FAILED) {
        why.data = buf;
        why.len = ngx_http_lrt_disk_why(buf, buf + sizeof(buf), &job) - buf;

    } else if (job.text) {
        pool = ngx_create_pool(4096, log);
        text.data = job.text;
        text.len = job.len;

        if (pool
            && ngx_http_lrt_learned_read(lscf, pool, &text, &n, &age, &why)
               == NGX_OK)
        {
            ngx_str_null(&why);
        }
    }

    if (why.len) {
        ngx_log_error(NGX_LOG_WARN, log, 0,
                      "file \"%s\" of what was learned in upstream \"%V\" is "
                      "ignored: %V", job.path, &lscf->upstream->host, &why);
    } else {
        ngx_log_error(NGX_LOG_NOTICE, log, 0,
                      "upstream \"%V\": file \"%s\" tells what was learned of "
                      "%uD servers, up to %uL s ago",
                      &lscf->upstream->host, job.path, n, age / 1000);
    }

    if (pool) {
        ngx_destroy_pool(pool);
    }

    free(job.text);
}


ngx_int_t
ngx_http_lrt_learned_read(ngx_http_lrt_srv_conf_t *lscf, ngx_pool_t *pool,
    ngx_str_t *text, uint32_t *n, uint64_t *age, ngx_str_t *why)
{
    u_char                        buf[NGX_MAX_ERROR_STR];
    uint64_t                      now;
    ngx_int_t                     rc;
    ngx_str_t                     check;
    ngx_uint_t                    i;
    lrt_table_t                  *t;
    ngx_http_lrt_fault_t          fault;
    ngx_http_lrt_learned_head_t   head;
    ngx_http_lrt_learned_server_t  *server;

    t = &lscf->table;

    ngx_memzero(&fault, sizeof(ngx_http_lrt_fault_t));
    ngx_memzero(&head, sizeof(ngx_http_lrt_learned_head_t));

    rc = ngx_http_lrt_learned_parse(pool, text, &head, &fault);

    if (rc == NGX_OK) {
        rc = ngx_http_lrt_learned_find(pool, t, &head.servers, &fault);
    }

    if (rc == NGX_DECLINED) {
        return ngx_http_lrt_state_where_wrong(pool, text, &fault, why);
    }

    if (rc != NGX_OK) {
        return rc;
    }

    /* another check asks for something else, which takes another time */

    check = ngx_http_lrt_learned_check(
                  &lrt_table_side(t, lrt_table_generation(t))->settings, buf);

    if (check.len != head.check.len
        || (check.len
            && ngx_memcmp(check.data, head.check.data, check.len) != 0))
    {
        server = head.servers.elts;

        for (i = 0; i < head.servers.nelts; i++) {
            server[i].known.probe = 0;
        }
    }

    /* a clock that went back says nothing of the time in between */

    now = ngx_http_lrt_learned_clock();
    *age = (now > head.written) ? now - head.written : 0;
    *n = ngx_http_lrt_learned_fill(t, &head, *age);

    return NGX_OK;
}


static ngx_int_t
ngx_http_lrt_learned_parse(ngx_pool_t *pool, ngx_str_t *text,
    ngx_http_lrt_learned_head_t *head, ngx_http_lrt_fault_t *fault)
{
    uint32_t  given;

    if (ngx_array_init(&head->servers, pool, 64,
                       sizeof(ngx_http_lrt_learned_server_t))
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    if (ngx_http_lrt_json_read(pool, text, ngx_http_lrt_learned_fields, head,
                               &given, fault)
        != NGX_OK)
    {
        return NGX_DECLINED;
    }

    if (!(given & NGX_HTTP_LRT_LEARNED_GIVEN_VERSION)
        || head->version != NGX_HTTP_LRT_LEARNED_VERSION)
    {
        ngx_str_set(&fault->member, "version");
        return ngx_http_lrt_fault(pool, fault, 0, "",
                                  "\"version\" %uD is not known",
                                  head->version);
    }

    if (!(given & NGX_HTTP_LRT_LEARNED_GIVEN_WRITTEN)
        || !(given & NGX_HTTP_LRT_LEARNED_GIVEN_SERVERS))
    {
        return ngx_http_lrt_fault(pool, fault, 0, "",
                                  "an object with \"written_ms\" and a list "
                                  "\"servers\" is expected");
    }

    if (!lrt_learned_group_sound(&head->group)) {
        ngx_str_set(&fault->member, "usual_us");
        return ngx_http_lrt_fault(pool, fault, 0, "",
                                  "the numbers of the group do not fit "
                                  "together");
    }

    return NGX_OK;
}


/* those of servers that are there; the others are read as strictly */

static ngx_int_t
ngx_http_lrt_learned_find(ngx_pool_t *pool, const lrt_table_t *t,
    ngx_array_t *servers, ngx_http_lrt_fault_t *fault)
{
    uint8_t                        *seen;
    uint64_t                        hash;
    ngx_int_t                       rc;
    ngx_uint_t                      i;
    ngx_addr_t                      addr;
    lrt_server_t                    server;
    ngx_http_lrt_learned_server_t  *known;

    known = servers->elts;

    ngx_str_set(&fault->member, "servers");
    fault->list = &ngx_http_lrt_learned_list;

    seen = ngx_pcalloc(pool, t->capacity);
    if (seen == NULL) {
        return NGX_ERROR;
    }

    for (i = 0; i < servers->nelts; i++) {

        fault->element = i + 1;

        if (!(known[i].given & NGX_HTTP_LRT_LEARNED_GIVEN_ADDRESS)) {
            return ngx_http_lrt_fault(pool, fault, 0, "",
                                      "missing \"server\"");
        }

        if (!lrt_learned_sound(&known[i].known)) {
            return ngx_http_lrt_fault(pool, fault, 0, "",
                                      "the numbers of \"%V\" do not fit "
                                      "together", &known[i].address);
        }

        rc = ngx_http_lrt_spec_address(pool, &known[i].address, &addr, fault);

        if (rc != NGX_OK) {
            return rc;
        }

        ngx_memzero(&server, sizeof(lrt_server_t));

        server.sockaddr = addr.sockaddr;
        server.socklen = addr.socklen;
        server.params.backup = known[i].backup;

        hash = lrt_table_hash(addr.sockaddr, addr.socklen, known[i].backup);

        known[i].slot = lrt_table_find(t,
                                       (unsigned) lrt_table_generation(t) & 1,
                                       &server, hash);

        if (known[i].slot == LRT_NONE) {
            continue;
        }

        if (seen[known[i].slot]++) {
            return ngx_http_lrt_fault(pool, fault, 0, "",
                                      "server \"%V\" is listed twice",
                                      &known[i].address);
        }
    }

    return NGX_OK;
}


static uint32_t
ngx_http_lrt_learned_fill(lrt_table_t *t, ngx_http_lrt_learned_head_t *head,
    uint64_t elapsed)
{
    uint32_t                        n;
    uint64_t                        now;
    ngx_uint_t                      i;
    ngx_http_lrt_learned_server_t  *server;

    n = 0;
    now = ngx_http_lrt_now() / 1000;
    server = head->servers.elts;

    lrt_learned_set_group(t, &head->group);

    for (i = 0; i < head->servers.nelts; i++) {

        if (server[i].slot != LRT_NONE) {
            lrt_learned_set(t, server[i].slot, &server[i].known, elapsed, now);
            n++;
        }
    }

    lrt_learned_done(t, now);

    /* the file says so already */

    lrt_store(&t->head->learned_hash, lrt_learned_hash(t));

    return n;
}


static void
ngx_http_lrt_learned_begin(void *element)
{
    ngx_memzero(element, sizeof(ngx_http_lrt_learned_server_t));
}


/* the first check of a group, whose times the servers' "probe_us" are */

static ngx_str_t
ngx_http_lrt_learned_check(const lrt_settings_t *settings, u_char *text)
{
    ngx_str_t  s;

    s.data = text;
    s.len = 0;

    if (settings->nchecks) {
        s.len = ngx_http_lrt_check_params_text(text, text + NGX_MAX_ERROR_STR,
                                          &settings->check[LRT_PACE_CHECK])
                - text;
    }

    return s;
}


/* of the wall, which nginx' own copy is too old for in a thread */

static uint64_t
ngx_http_lrt_learned_clock(void)
{
    struct timespec  ts;

    (void) clock_gettime(CLOCK_REALTIME, &ts);

    return (uint64_t) ts.tv_sec * 1000 + (uint64_t) ts.tv_nsec / 1000000;
}


ngx_uint_t
ngx_http_lrt_learned_is_due(lrt_table_t *t, uint64_t now)
{
    uint32_t           n;
    uint64_t           period;
    const lrt_side_t  *side;

    side = lrt_table_side(t, lrt_table_generation(t));

    n = lrt_load(&side->tier[LRT_PRIMARY].n)
        + lrt_load(&side->tier[LRT_BACKUP].n);

    period = (uint64_t) n * NGX_HTTP_LRT_LEARNED_EACH;
    period = ngx_max(period, NGX_HTTP_LRT_LEARNED_PERIOD);

    return now >= lrt_load(&t->head->learned_at) + period
           || lrt_load(&t->head->learned_at) == 0;
}


/* of the thread: nothing is written if nothing is new */

void
ngx_http_lrt_learned_job(ngx_http_lrt_job_t *job)
{
    struct stat               st;
    lrt_head_t               *head;
    ngx_http_lrt_srv_conf_t  *lscf;

    lscf = job->data;
    head = lscf->table.head;

    job->hash = lrt_learned_hash(&lscf->table);

    if (job->hash == job->known
        || ngx_http_lrt_state_text(lscf, job, ngx_http_lrt_learned_print)
           != NGX_OK)
    {
        job->rc = NGX_HTTP_LRT_JOB_AGAIN;
        return;
    }

    job->number = job->hash;
    job->mode = (stat((char *) lscf->state->path.data, &st) == 0)
                ? st.st_mode & 0777 : 0640;
    job->over = 1;
    job->plain = 1;

    /* the configuration may go, see ngx_http_lrt_state_write_job() */

    job->data = head;
    job->may = ngx_http_lrt_state_leads;

    ngx_http_lrt_disk_write(job);
}


/* an estimate that was never made, and errors that never were, are left out */

uint64_t
ngx_http_lrt_learned_print(ngx_http_lrt_srv_conf_t *lscf,
    ngx_http_lrt_out_t *o)
{
    u_char                 text[NGX_MAX_ERROR_STR];
    uint32_t               i;
    uint64_t               now;
    ngx_str_t              check;
    lrt_table_t           *t;
    lrt_detail_t          *detail;
    lrt_snapshot_t         snap;
    lrt_peer_t            *peer;
    lrt_learned_group_t    group;
    lrt_learned_server_t   known;

    t = &lscf->table;
    now = ngx_http_lrt_now() / 1000;

    peer = ngx_http_lrt_state_snapshot(lscf, o->pool, &snap);
    detail = ngx_palloc(o->pool, sizeof(lrt_detail_t));

    if (peer == NULL || detail == NULL) {
        return 0;
    }

    lrt_learned_group(t, &group);
    check = ngx_http_lrt_learned_check(&snap.settings, text);

    o->lines = 2;

    ngx_http_lrt_json_open(o, NULL, '{');
    ngx_http_lrt_json_uint(o, "version", NGX_HTTP_LRT_LEARNED_VERSION);
    ngx_http_lrt_json_str(o, "upstream", &lscf->upstream->host);
    ngx_http_lrt_json_uint(o, "written_ms", ngx_http_lrt_learned_clock());
    ngx_http_lrt_json_uint(o, "usual_us", group.usual);
    ngx_http_lrt_json_uint(o, "answers", group.answers);
    ngx_http_lrt_json_uint(o, "spread_millioctaves", group.spread);
    ngx_http_lrt_json_uint(o, "far_ppm", group.far);
    ngx_http_lrt_json_uint(o, "stalls_ppm", group.stalls);

    if (check.len) {
        ngx_http_lrt_json_str(o, "check", &check);
    }

    ngx_http_lrt_json_open(o, "servers", '[');

    for (i = 0; i < snap.copied; i++) {

        if (!lrt_learned_server(t, peer[i].slot, &known, now)) {
            continue;
        }

        /* the group has changed, and is to be printed anew */

        if (lrt_peer_copy(t, &peer[i], NULL, detail) != LRT_OK) {
            return 0;
        }

        ngx_http_lrt_json_open(o, NULL, '{');
        ngx_http_lrt_json_lrt_str(o, "server", lrt_table_name(detail));

        if (peer[i].entry.params.backup) {
            ngx_http_lrt_json_bool(o, "backup", 1);
        }

        if (known.estimate) {
            ngx_http_lrt_json_uint(o, "estimate_us", known.estimate);
            ngx_http_lrt_json_uint(o, "samples", known.samples);
            ngx_http_lrt_json_uint(o, "age_ms", known.age);
        }

        if (known.errors || known.suspected) {
            ngx_http_lrt_json_uint(o, "errors_ppm", known.errors);
            ngx_http_lrt_json_bool(o, "suspected", known.suspected);
        }

        if (known.stalls || known.stalling) {
            ngx_http_lrt_json_uint(o, "stalls_ppm", known.stalls);
            ngx_http_lrt_json_bool(o, "stalling", known.stalling);
        }

        if (known.probe) {
            ngx_http_lrt_json_uint(o, "probe_us", known.probe);
            ngx_http_lrt_json_uint(o, "probe_then_us", known.probe_then);
            ngx_http_lrt_json_uint(o, "probes", known.probes);
        }

        ngx_http_lrt_json_close(o, '}');
    }

    ngx_http_lrt_json_close(o, ']');
    ngx_http_lrt_json_close(o, '}');
    ngx_http_lrt_out_str(o, "\n");

    return o->failed ? 0 : snap.generation;
}
