/* sources: ngx_http_lrt_api_body.c ngx_http_lrt_json.c ngx_http_lrt_spec.c ngx_http_lrt_spec_group.c ngx_http_lrt_policy.c lrt_split.c */

/*
 * Copyright (C) the ngx_http_lrt_upstream_module authors
 *
 * The body of a request that changes something: how it is cut into pieces makes
 * no difference, what is taken is within its bounds, and what is refused has a
 * reason.
 *
 * The first bytes of an input are SIZES sizes of pieces, which are taken in
 * turn, and one that says who reads.
 */


#include "world.h"


#define SIZES        8

#define GROUP        2               /* bits: settings of a group, not servers */
#define UNIX         4               /* sockets are permitted */
#define ARGS         8

#define must(condition)                                                       \
    do {                                                                      \
        if (!(condition)) {                                                   \
            fprintf(stderr, "line %d: not so: %s\n", __LINE__, #condition);   \
            abort();                                                          \
        }                                                                     \
    } while (0)


typedef struct {
    ngx_pool_t                  *pool;
    ngx_int_t                    rc;
    world_request_t              w;
    ngx_http_lrt_group_spec_t    group;
} read_t;


static void read_it(read_t *r, uint8_t mode, const uint8_t *text, size_t len,
    const uint8_t *sizes);
static void check(read_t *r);
static void compare(const read_t *a, const read_t *b);
static unsigned is_same(const ngx_str_t *a, const ngx_str_t *b);


int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);


int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    static read_t      whole, pieces;
    static ngx_uint_t  begun;

    if (len < SIZES + 1) {
        return 0;
    }

    if (!begun) {
        begun = 1;
        world_begin();
    }

    read_it(&whole, data[SIZES], data + SIZES + 1, len - SIZES - 1, NULL);
    read_it(&pieces, data[SIZES], data + SIZES + 1, len - SIZES - 1, data);

    check(&whole);
    compare(&whole, &pieces);

    ngx_destroy_pool(whole.pool);
    ngx_destroy_pool(pieces.pool);

    return 0;
}


static void
read_it(read_t *r, uint8_t mode, const uint8_t *text, size_t len,
    const uint8_t *sizes)
{
    ngx_memzero(&r->group, sizeof(ngx_http_lrt_group_spec_t));

    r->pool = world_pool();

    world_request(&r->w, r->pool, NGX_HTTP_POST, "/api/9", 6);

    r->w.own.unix_sockets = (mode & UNIX) != 0;

    if (mode & ARGS) {
        ngx_str_set(&r->w.request.args, "dry_run");
    }

    if (mode & GROUP) {
        must(ngx_http_lrt_group_begin(r->pool, &r->group) == NGX_OK);
        r->w.api.settings = &r->group;
    }

    r->rc = world_body(&r->w, text, len, sizes, sizes ? SIZES : 0);
}


static void
check(read_t *r)
{
    ngx_uint_t             i;
    lrt_settings_t         settings;
    ngx_http_lrt_fault_t   fault;
    ngx_http_lrt_spec_t   *spec;

    if (r->rc == NGX_DECLINED) {
        must(r->w.api.fault.status >= 400 && r->w.api.fault.status < 500);
        must(r->w.api.fault.text.len);
        must(r->w.api.fault.code[0]);
        return;
    }

    must(r->rc == NGX_OK);

    spec = r->w.api.specs.elts;

    for (i = 0; i < r->w.api.specs.nelts; i++) {
        must(spec[i].server.params.weight >= 1);
        must(spec[i].server.params.weight <= LRT_MAX_WEIGHT);
        must(spec[i].server.params.max_conns <= LRT_MAX_CONNS);
        must(spec[i].server.params.max_fails <= LRT_MAX_FAILS);
        must(spec[i].server.params.fail_timeout <= LRT_MAX_TIME);
        must(spec[i].server.params.forced < LRT_FORCED);
        must(spec[i].id <= NGX_HTTP_LRT_MAX_ID);

        if (spec[i].given & NGX_HTTP_LRT_GIVEN_SERVER) {
            must(spec[i].server.socklen && lrt_table_fits(&spec[i].server));
            must(r->w.own.unix_sockets
                 || ((struct sockaddr *) spec[i].server.sockaddr)->sa_family
                    != AF_UNIX);
        }
    }

    if (r->w.api.settings) {
        ngx_memzero(&settings, sizeof(lrt_settings_t));
        ngx_memzero(&fault, sizeof(ngx_http_lrt_fault_t));

        if (ngx_http_lrt_group_settings(r->pool, &r->group, &settings, &fault)
            == NGX_OK)
        {
            must(lrt_settings_valid(&settings));
        }
    }
}


static void
compare(const read_t *a, const read_t *b)
{
    ngx_uint_t            i;
    ngx_http_lrt_spec_t  *one, *two;

    must(a->rc == b->rc);
    must(is_same(&a->w.api.fault.text, &b->w.api.fault.text));
    must(a->w.api.fault.status == b->w.api.fault.status);
    must(a->w.api.specs.nelts == b->w.api.specs.nelts);
    must(a->w.api.extra == b->w.api.extra);
    must(a->group.given == b->group.given);

    one = a->w.api.specs.elts;
    two = b->w.api.specs.elts;

    for (i = 0; i < a->w.api.specs.nelts; i++) {
        must(one[i].given == two[i].given);
        must(one[i].id == two[i].id);
        must(is_same(&one[i].address, &two[i].address));
        must(is_same(&one[i].route, &two[i].route));
        must(memcmp(&one[i].server.params, &two[i].server.params,
                    sizeof(lrt_params_t)) == 0);
    }
}


static unsigned
is_same(const ngx_str_t *a, const ngx_str_t *b)
{
    return a->len == b->len
           && (a->len == 0 || memcmp(a->data, b->data, a->len) == 0);
}
