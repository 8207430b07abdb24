/* sources: ngx_http_lrt_api_status.c ngx_http_lrt_api_peers.c ngx_http_lrt_api_config.c ngx_http_lrt_out.c */

/*
 * Copyright (C) the ngx_http_lrt_upstream_module authors
 *
 * Path and query of a request to the API: each part lies within the path, one
 * route at most takes it, and what is read is answered or refused with a
 * reason.
 *
 * The first byte of an input chooses the method, and whether it may write.
 * Requests that change something end where their body would be read.
 */


#include "../../ngx_http_lrt_upstream_module/ngx_http_lrt_api_route.c"

#include "world.h"


#define WAITS        100

#define must(condition)                                                       \
    do {                                                                      \
        if (!(condition)) {                                                   \
            fprintf(stderr, "line %d: not so: %s\n", __LINE__, #condition);   \
            abort();                                                          \
        }                                                                     \
    } while (0)


static void check_parts(ngx_http_lrt_api_t *api, ngx_str_t *path);
static ngx_uint_t check_routes(ngx_http_lrt_api_t *api,
    const ngx_http_lrt_api_route_t *route, ngx_str_t *part, ngx_uint_t n);
static unsigned is_in(const ngx_str_t *s, const ngx_str_t *whole);
static void add_servers(void);


int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);


int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    u_char           *copy, *mark;
    ngx_int_t         rc;
    ngx_str_t         path;
    ngx_uint_t        i;
    ngx_pool_t       *pool;
    world_request_t   w;

    static const ngx_uint_t  methods[] = {
        NGX_HTTP_GET, NGX_HTTP_POST, NGX_HTTP_PUT, NGX_HTTP_PATCH,
        NGX_HTTP_DELETE, NGX_HTTP_HEAD, NGX_HTTP_OPTIONS, NGX_HTTP_UNKNOWN
    };

    static ngx_uint_t  begun;

    if (len == 0) {
        return 0;
    }

    if (!begun) {
        begun = 1;
        world_begin();
        add_servers();
    }

    pool = world_pool();
    copy = malloc(len);

    path.data = copy;
    path.len = len - 1;
    memcpy(path.data, data + 1, path.len);

    mark = memchr(path.data, '?', path.len);

    if (mark) {
        path.len = mark - path.data;
    }

    world_request(&w, pool, methods[data[0] % 8], path.data, path.len);

    if (mark) {
        w.request.args.data = mark + 1;
        w.request.args.len = copy + len - 1 - (mark + 1);
    }

    /* "/api/", as prefix of a location that ends so, or without the slash */

    w.location.name.len = (data[0] & 8) ? 5 : 4;
    w.location.name.data = (u_char *) "/api/";
    w.own.write = 0;
    w.api.group = NULL;

    check_parts(&w.api, &path);

    w.api.upstream.len = 0;
    w.api.id.len = 0;

    rc = ngx_http_lrt_api_route(&w.api);

    for (i = 0; rc == NGX_AGAIN && i < WAITS; i++) {
        rc = w.api.step(&w.api);
    }

    while (rc == NGX_OK && w.api.write && i++ < WAITS) {
        if (w.api.write(&w.api) != NGX_AGAIN) {
            break;
        }
    }

    must(!w.api.out.failed);

    if (rc == NGX_DECLINED) {
        must(w.api.fault.status >= 400 && w.api.fault.status < 500);
        must(w.api.fault.text.len);

    } else {
        must(rc == NGX_OK || rc == NGX_AGAIN);
    }

    free(copy);
    ngx_destroy_pool(pool);

    return 0;
}


static void
check_parts(ngx_http_lrt_api_t *api, ngx_str_t *path)
{
    ngx_str_t   part[NGX_HTTP_LRT_API_PARTS];
    ngx_uint_t  i, n;

    n = ngx_http_lrt_api_parts(path, part);

    must(n <= NGX_HTTP_LRT_API_PARTS + 1);

    for (i = 0; i < n && i < NGX_HTTP_LRT_API_PARTS; i++) {
        must(is_in(&part[i], path));
    }

    if (n > NGX_HTTP_LRT_API_PARTS) {
        return;
    }

    for (i = 0; i < n; i++) {
        must(check_routes(api, ngx_http_lrt_api_routes, part + i, n - i) <= 1);
        must(check_routes(api, ngx_http_lrt_api_own_routes, part + i, n - i)
             <= 1);
    }
}


static ngx_uint_t
check_routes(ngx_http_lrt_api_t *api, const ngx_http_lrt_api_route_t *route,
    ngx_str_t *part, ngx_uint_t n)
{
    ngx_uint_t  found;

    for (found = 0; route->pattern; route++) {

        ngx_str_null(&api->upstream);
        ngx_str_null(&api->id);

        if (ngx_http_lrt_api_match(api, route->pattern, part, n)) {
            found++;
            must(strchr(route->pattern, 'U') == NULL || api->upstream.len);
            must(strchr(route->pattern, 'S') == NULL || api->id.len);
        }
    }

    return found;
}


static unsigned
is_in(const ngx_str_t *s, const ngx_str_t *whole)
{
    return s->data >= whole->data
           && s->data + s->len <= whole->data + whole->len;
}


static void
add_servers(void)
{
    char          why[WORLD_WHY];
    ngx_int_t     rc;

    static const char  servers[] =
        "{\"servers\":[\"127.0.0.1:81\",{\"server\":\"unix:/run/a.sock\","
        "\"route\":\"r\",\"weight\":3},{\"server\":\"[::1]:82\","
        "\"backup\":true}],\"method\":\"least_time header\"}";

    must(world_state(servers, sizeof(servers) - 1, &rc, why) == NULL);
    must(rc == NGX_OK);
}
