/* sources: ngx_http_lrt_json.c ngx_http_lrt_state_text.c ngx_http_lrt_out.c ngx_http_lrt_spec.c ngx_http_lrt_spec_group.c ngx_http_lrt_api_body.c */

/*
 * Copyright (C) the ngx_http_lrt_upstream_module authors
 *
 * Each request for memory is refused in turn, and then it and all that follow:
 * what reads JSON, and writes it, either has done all of it or says that there
 * was no memory.  What came of it is compared with what comes of it otherwise.
 */


#include "world.h"

#include "tap.h"



typedef struct {
    ngx_int_t                    rc;
    uint64_t                     hash;       /* of all that was read */
    ngx_uint_t                   status;     /* of the answer */
} outcome_t;

typedef outcome_t (*what_pt)(const char *text);


static const char  state[] =
    "{\"version\":1,\"upstream\":\"u\",\"next_id\":9,"
    "\"method\":\"least_time last_byte inflight\",\"slow_start\":\"30s\","
    "\"panic\":\"20%\",\"health_checks\":[{\"type\":\"http\","
    "\"uri\":\"/a/path/that/is/longer/than/a/buffer\",\"interval\":\"2s\"}],"
    "\"servers\":["
    "{\"id\":1,\"server\":\"127.0.0.123:18081\",\"weight\":2},"
    "{\"id\":4,\"server\":\"[2001:db8:1234:5678::9]:8082\","
    "\"route\":\"a_route_of_some_length\"},"
    "{\"host\":\"127.0.0.124\",\"port\":18082,\"backup\":true},"
    "\"http://127.0.0.125:18083/\"]}";

static const char  wrong[] =
    "{\"servers\":[\"127.0.0.123:18081\",\n"
    "{\"server\":\"127.0.0.124:18081\",\"a name of a field\":1}]}";

static const char  body[] =
    "[{\"server\":\"127.0.0.123:18081\",\"weight\":2,"
    "\"route\":\"a_route_of_some_length\"},"
    "{\"server\":\"unix:/a/path/that/is/longer/than/a/buffer\"}]";

static const char  group[] =
    "{\"method\":\"least_time last_byte inflight\",\"slow_start\":\"30s\","
    "\"health_checks\":[{\"uri\":\"/a/path/that/is/longer/than/a/buffer\"}]}";


static void reading_a_file(void);
static void a_file_that_is_wrong(void);
static void servers_of_a_request(void);
static void settings_of_a_request(void);
static void writing_a_file(void);
static void an_answer(void);
static void each(what_pt what, const char *text, ngx_int_t rc);
static outcome_t read_file(const char *text);
static outcome_t read_body(const char *text);
static outcome_t read_group(const char *text);
static outcome_t write_file(const char *text);
static outcome_t get(const char *uri);
static uint64_t out_hash(ngx_http_lrt_out_t *out);
static uint64_t with(uint64_t hash, const void *data, size_t len);


int
main(void)
{
    ngx_int_t    rc;
    char         why[WORLD_WHY];

    tap_begin();
    world_begin();

    run(reading_a_file);
    run(a_file_that_is_wrong);
    run(servers_of_a_request);
    run(settings_of_a_request);

    ok(world_state(state, sizeof(state) - 1, &rc, why) == NULL && rc == NGX_OK,
       "a table to write: %s", why);

    run(writing_a_file);
    run(an_answer);

    world_end();

    return tap_end();
}


static void
reading_a_file(void)
{
    each(read_file, state, NGX_OK);
}


static void
a_file_that_is_wrong(void)
{
    each(read_file, wrong, NGX_DECLINED);
}


static void
servers_of_a_request(void)
{
    each(read_body, body, NGX_OK);
}


static void
settings_of_a_request(void)
{
    each(read_group, group, NGX_OK);
}


static void
writing_a_file(void)
{
    each(write_file, NULL, NGX_OK);
}


static void
an_answer(void)
{
    each(get, "/api/9/http/upstreams/u/servers", NGX_OK);
}


/* the pool for it is there; what is refused is what is done in it */

static void
each(what_pt what, const char *text, ngx_int_t rc)
{
    ngx_uint_t  n, all, all_of;
    outcome_t   whole, o;

    world_refuse(0, 0);
    whole = what(text);
    all_of = world_asked;

    ok(whole.rc == rc && all_of, "%lu requests for memory", all_of);

    for (all = 0; all < 2; all++) {

        for (n = 1; n <= all_of; n++) {

            world_refuse(n, all);
            o = what(text);

            if (!check(world_refused, "request %lu was made", n)) {
                break;
            }

            /* all of it, nothing at all, or an answer that says so */

            if (!check((o.rc == rc && o.hash == whole.hash)
                       || o.rc == NGX_ERROR
                       || (o.rc == NGX_DECLINED && o.status == 500),
                       "request %lu%s refused: answer %ld, status %lu, %s", n,
                       all ? " and all others" : "", o.rc, o.status,
                       o.hash == whole.hash ? "the same" : "something else"))
            {
                break;
            }
        }

        ok(n > all_of, "%s", all ? "memory ends at some time"
                                 : "memory is refused once");
    }

    world_refuse(0, 0);
    o = what(text);

    ok(o.rc == rc && o.hash == whole.hash, "and then it works as before");
}


static outcome_t
read_file(const char *text)
{
    uint32_t                    i;
    outcome_t                   o;
    ngx_str_t                   s;
    ngx_pool_t                 *pool;
    lrt_settings_t              settings;
    const lrt_server_t         *server;
    ngx_http_lrt_state_doc_t    doc;

    ngx_memzero(&o, sizeof(outcome_t));
    ngx_memzero(&doc, sizeof(ngx_http_lrt_state_doc_t));
    ngx_memzero(&settings, sizeof(lrt_settings_t));

    o.rc = NGX_ERROR;
    pool = world_pool();

    if (pool == NULL) {
        return o;
    }

    s.data = (u_char *) text;
    s.len = strlen(text);
    doc.pool = pool;

    o.rc = ngx_http_lrt_state_parse(&doc, &s);

    if (o.rc == NGX_OK) {
        o.rc = ngx_http_lrt_state_settings(&world_group, &doc, &settings);
    }

    o.hash = with(doc.n, doc.why.data, doc.why.len);
    o.hash = with(o.hash, &settings, sizeof(lrt_settings_t));
    o.hash = with(o.hash, &doc.policy, sizeof(lrt_policy_t));
    o.hash = with(o.hash, &doc.next_ident, sizeof(uint64_t));

    for (i = 0; i < doc.n && o.rc == NGX_OK; i++) {
        server = &doc.server[i];
        o.hash = with(o.hash, &server->params, sizeof(lrt_params_t));
        o.hash = with(o.hash, server->sockaddr, server->socklen);
        o.hash = with(o.hash, server->route.data, server->route.len);
        o.hash = with(o.hash, &server->ident, sizeof(uint64_t));
    }

    ngx_destroy_pool(pool);

    return o;
}


static outcome_t
read_body(const char *text)
{
    outcome_t             o;
    ngx_uint_t            i;
    ngx_pool_t           *pool;
    world_request_t       w;
    ngx_http_lrt_spec_t  *spec;

    ngx_memzero(&o, sizeof(outcome_t));

    o.rc = NGX_ERROR;
    pool = world_pool();

    if (pool == NULL) {
        return o;
    }

    world_request(&w, pool, NGX_HTTP_POST, "/api/9", 6);
    w.own.unix_sockets = 1;

    o.rc = world_body(&w, text, strlen(text), (uint8_t *) "\x06", 1);
    o.status = w.api.fault.status;

    spec = w.api.specs.elts;
    o.hash = w.api.specs.nelts;

    for (i = 0; i < w.api.specs.nelts && o.rc == NGX_OK; i++) {
        o.hash = with(o.hash, &spec[i].server.params, sizeof(lrt_params_t));
        o.hash = with(o.hash, spec[i].server.sockaddr, spec[i].server.socklen);
        o.hash = with(o.hash, spec[i].address.data, spec[i].address.len);
        o.hash = with(o.hash, spec[i].route.data, spec[i].route.len);
    }

    ngx_destroy_pool(pool);

    return o;
}


static outcome_t
read_group(const char *text)
{
    outcome_t                   o;
    ngx_pool_t                 *pool;
    lrt_settings_t              settings;
    world_request_t             w;
    ngx_http_lrt_fault_t        fault;
    ngx_http_lrt_group_spec_t   spec;

    ngx_memzero(&o, sizeof(outcome_t));
    ngx_memzero(&fault, sizeof(ngx_http_lrt_fault_t));
    ngx_memzero(&settings, sizeof(lrt_settings_t));
    ngx_memzero(&spec, sizeof(ngx_http_lrt_group_spec_t));

    o.rc = NGX_ERROR;
    pool = world_pool();

    if (pool == NULL) {
        return o;
    }

    world_request(&w, pool, NGX_HTTP_PATCH, "/api/9", 6);

    if (ngx_http_lrt_group_begin(pool, &spec) == NGX_OK) {
        w.api.settings = &spec;
        o.rc = world_body(&w, text, strlen(text), NULL, 0);
        o.status = w.api.fault.status;
    }

    if (o.rc == NGX_OK) {
        o.rc = ngx_http_lrt_group_settings(pool, &spec, &settings, &fault);
        o.status = fault.status;
    }

    o.hash = with(spec.given, &settings, sizeof(lrt_settings_t));

    if (o.rc == NGX_OK) {
        o.hash = with(o.hash, spec.method.data, spec.method.len);
    }

    ngx_destroy_pool(pool);

    return o;
}


static outcome_t
write_file(const char *text)
{
    outcome_t            o;
    ngx_pool_t          *pool;
    ngx_http_lrt_out_t   out;

    (void) text;

    ngx_memzero(&o, sizeof(outcome_t));

    o.rc = NGX_ERROR;
    pool = world_pool();

    if (pool == NULL) {
        return o;
    }

    ngx_http_lrt_out_init(&out, pool);

    if (ngx_http_lrt_state_print(&world_group, &out)) {
        o.rc = NGX_OK;
        o.hash = out_hash(&out);
    }

    ngx_destroy_pool(pool);

    return o;
}


static outcome_t
get(const char *uri)
{
    outcome_t         o;
    ngx_pool_t       *pool;
    world_request_t   w;

    ngx_memzero(&o, sizeof(outcome_t));

    o.rc = NGX_ERROR;
    pool = world_pool();

    if (pool == NULL) {
        return o;
    }

    world_request(&w, pool, NGX_HTTP_GET, uri, strlen(uri));

    o.rc = ngx_http_lrt_api_route(&w.api);

    if (o.rc == NGX_OK && w.api.write) {
        while (w.api.write(&w.api) == NGX_AGAIN) { /* void */ }
    }

    o.status = w.api.fault.status;
    o.hash = out_hash(&w.api.out);

    /* whoever sends it gives up then */

    if (w.api.out.failed) {
        o.rc = NGX_ERROR;
    }

    ngx_destroy_pool(pool);

    return o;
}


static uint64_t
out_hash(ngx_http_lrt_out_t *out)
{
    uint64_t      hash;
    ngx_chain_t  *cl;

    hash = 1;

    for (cl = out->chain; cl; cl = cl->next) {
        hash = with(hash, cl->buf->pos, cl->buf->last - cl->buf->pos);
    }

    return hash;
}


static uint64_t
with(uint64_t hash, const void *data, size_t len)
{
    return hash * 31 + lrt_table_hash(data, (uint32_t) len, 0);
}
