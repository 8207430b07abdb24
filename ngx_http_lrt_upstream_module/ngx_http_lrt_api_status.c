
/*
 * Copyright (C) the ngx_http_lrt_upstream_module authors
 *
 * What is known of this nginx, and what clients of NGINX Plus want to be told
 * that there is none of.
 */


#include "ngx_http_lrt_api.h"


static ngx_int_t ngx_http_lrt_api_names(ngx_http_lrt_api_t *api,
    const char *const *name);
static void ngx_http_lrt_api_fields(ngx_http_lrt_api_t *api);
static ngx_str_t *ngx_http_lrt_api_zone(ngx_http_lrt_main_conf_t *lmcf,
    ngx_uint_t n);
static void ngx_http_lrt_api_zone_status(ngx_http_lrt_api_t *api,
    const ngx_str_t *key, ngx_http_lrt_srv_conf_t *lscf);


ngx_int_t
ngx_http_lrt_api_root(ngx_http_lrt_api_t *api)
{
    static const char *const  names[] = {
        "nginx", "processes", "connections", "slabs", "http", "resolvers",
        "ssl", "workers", NULL
    };

    return ngx_http_lrt_api_names(api, names);
}


ngx_int_t
ngx_http_lrt_api_http(ngx_http_lrt_api_t *api)
{
    static const char *const  names[] = {
        "requests", "server_zones", "location_zones", "caches", "limit_conns",
        "limit_reqs", "keyvals", "upstreams", NULL
    };

    return ngx_http_lrt_api_names(api, names);
}


static ngx_int_t
ngx_http_lrt_api_names(ngx_http_lrt_api_t *api, const char *const *name)
{
    ngx_http_lrt_json_open(&api->out, NULL, '[');

    for ( /* void */ ; *name; name++) {
        ngx_http_lrt_json_text(&api->out, NULL, *name);
    }

    ngx_http_lrt_json_close(&api->out, ']');

    return NGX_OK;
}


/* ?fields= for the keys of the outermost object */

static void
ngx_http_lrt_api_fields(ngx_http_lrt_api_t *api)
{
    if (ngx_http_lrt_api_arg(api, "fields", &api->fields) == NGX_OK) {
        api->out.fields = &api->fields;
        api->out.fields_depth = 1;
    }
}


ngx_int_t
ngx_http_lrt_api_nginx(ngx_http_lrt_api_t *api)
{
    u_char               text[NGX_SOCKADDR_STRLEN];
    uint64_t             now;
    ngx_str_t            address;
    ngx_time_t          *tp;
    ngx_http_request_t  *r;
    ngx_http_lrt_out_t  *o;

    r = api->request;
    o = &api->out;

    ngx_http_lrt_api_fields(api);

    address.data = text;
    address.len = NGX_SOCKADDR_STRLEN;

    if (ngx_connection_local_sockaddr(r->connection, &address, 0) != NGX_OK) {
        return NGX_ERROR;
    }

    tp = ngx_timeofday();
    now = (uint64_t) tp->sec * 1000 + tp->msec;

    ngx_http_lrt_json_open(o, NULL, '{');
    ngx_http_lrt_json_text(o, "version", NGX_HTTP_LRT_NGINX_VERSION);
    ngx_http_lrt_json_text(o, "build", NGX_HTTP_LRT_BUILD);
    ngx_http_lrt_json_str(o, "address", &address);
    ngx_http_lrt_json_uint(o, "generation", api->main->generation);
    ngx_http_lrt_json_moment(o, "load_timestamp", api->main->loaded);
    ngx_http_lrt_json_moment(o, "timestamp", now);
    ngx_http_lrt_json_uint(o, "pid", (uint64_t) ngx_pid);
    ngx_http_lrt_json_uint(o, "ppid", (uint64_t) ngx_parent);
    ngx_http_lrt_json_close(o, '}');

    return NGX_OK;
}


ngx_int_t
ngx_http_lrt_api_processes(ngx_http_lrt_api_t *api)
{
    ngx_http_lrt_json_open(&api->out, NULL, '{');
    ngx_http_lrt_json_uint(&api->out, "respawned", 0);
    ngx_http_lrt_json_close(&api->out, '}');

    return NGX_OK;
}


/* counted by nginx if it was built with stub_status, else all are 0 */

ngx_int_t
ngx_http_lrt_api_connections(ngx_http_lrt_api_t *api)
{
    ngx_http_lrt_out_t   *o;
    ngx_http_lrt_stub_t   stub;

    o = &api->out;

    ngx_http_lrt_api_fields(api);
    ngx_http_lrt_stub_status(&stub);

    ngx_http_lrt_json_open(o, NULL, '{');
    ngx_http_lrt_json_uint(o, "accepted", stub.accepted);
    ngx_http_lrt_json_uint(o, "dropped", stub.accepted - stub.handled);
    ngx_http_lrt_json_uint(o, "active", stub.active - stub.waiting);
    ngx_http_lrt_json_uint(o, "idle", stub.waiting);
    ngx_http_lrt_json_close(o, '}');

    return NGX_OK;
}


ngx_int_t
ngx_http_lrt_api_requests(ngx_http_lrt_api_t *api)
{
    ngx_http_lrt_out_t   *o;
    ngx_http_lrt_stub_t   stub;

    o = &api->out;

    ngx_http_lrt_api_fields(api);
    ngx_http_lrt_stub_status(&stub);

    ngx_http_lrt_json_open(o, NULL, '{');
    ngx_http_lrt_json_uint(o, "total", stub.requests);
    ngx_http_lrt_json_uint(o, "current", stub.reading + stub.writing);
    ngx_http_lrt_json_close(o, '}');

    return NGX_OK;
}


ngx_int_t
ngx_http_lrt_api_empty(ngx_http_lrt_api_t *api)
{
    ngx_http_lrt_json_open(&api->out, NULL, '{');
    ngx_http_lrt_json_close(&api->out, '}');

    return NGX_OK;
}


ngx_int_t
ngx_http_lrt_api_empty_list(ngx_http_lrt_api_t *api)
{
    ngx_http_lrt_json_open(&api->out, NULL, '[');
    ngx_http_lrt_json_close(&api->out, ']');

    return NGX_OK;
}


/* zones of our groups, under the names that the configuration gave them */

ngx_int_t
ngx_http_lrt_api_slabs(ngx_http_lrt_api_t *api)
{
    ngx_str_t                 *name;
    ngx_uint_t                 i;
    ngx_http_lrt_srv_conf_t  **lscf;

    lscf = api->main->groups.elts;

    ngx_http_lrt_json_open(&api->out, NULL, '{');

    for (i = 0; i < api->main->groups.nelts; i++) {
        name = ngx_http_lrt_api_zone(api->main, i);

        if (name) {
            ngx_http_lrt_api_zone_status(api, name, lscf[i]);
        }
    }

    ngx_http_lrt_json_close(&api->out, '}');

    return NGX_OK;
}


ngx_int_t
ngx_http_lrt_api_slab(ngx_http_lrt_api_t *api)
{
    ngx_str_t                 *name;
    ngx_uint_t                 i;
    ngx_http_lrt_srv_conf_t  **lscf;

    lscf = api->main->groups.elts;

    for (i = 0; i < api->main->groups.nelts; i++) {
        name = ngx_http_lrt_api_zone(api->main, i);

        if (name
            && name->len == api->id.len
            && ngx_strncmp(name->data, api->id.data, name->len) == 0)
        {
            ngx_http_lrt_api_fields(api);
            ngx_http_lrt_api_zone_status(api, NULL, lscf[i]);
            return NGX_OK;
        }
    }

    return ngx_http_lrt_fault(api->request->pool, &api->fault,
                              NGX_HTTP_NOT_FOUND, "SlabNotFound",
                              "slab not found");
}


/* name of a group's zone; NULL if the table is gone, its own if it is shared */

static ngx_str_t *
ngx_http_lrt_api_zone(ngx_http_lrt_main_conf_t *lmcf, ngx_uint_t n)
{
    ngx_str_t                 *name;
    ngx_uint_t                 i;
    ngx_http_lrt_srv_conf_t  **lscf;

    lscf = lmcf->groups.elts;

    if (lscf[n]->table.head == NULL) {
        return NULL;
    }

    name = &lscf[n]->zone_name;

    for (i = 0; i < n; i++) {
        if (lscf[i]->zone_name.len == name->len
            && ngx_strncmp(lscf[i]->zone_name.data, name->data, name->len)
               == 0)
        {
            return &lscf[n]->shm_zone->shm.name;
        }
    }

    return name;
}


static void
ngx_http_lrt_api_zone_status(ngx_http_lrt_api_t *api,
    const ngx_str_t *key, ngx_http_lrt_srv_conf_t *lscf)
{
    u_char               size[NGX_INT64_LEN + 1];
    uint64_t             pages, left;
    ngx_str_t            none = ngx_null_string;
    ngx_uint_t           i, n;
    lrt_table_t         *t;
    ngx_slab_pool_t     *shpool;
    ngx_http_lrt_out_t  *o;

    o = &api->out;
    t = &lscf->table;
    shpool = (ngx_slab_pool_t *) lscf->shm_zone->shm.addr;

    ngx_http_lrt_json_open_str(o, key ? key : &none, '{');

    /*
     * The table takes the whole zone from the start; what people want to know
     * is how much of it is left for more servers.
     */

    pages = shpool->last - shpool->pages;
    left = (pages - shpool->pfree) * lrt_change_room(t) / t->capacity
           + shpool->pfree;

    ngx_http_lrt_json_open(o, "pages", '{');
    ngx_http_lrt_json_uint(o, "used", pages - left);
    ngx_http_lrt_json_uint(o, "free", left);
    ngx_http_lrt_json_close(o, '}');

    ngx_http_lrt_json_open(o, "slots", '{');

    n = ngx_pagesize_shift - shpool->min_shift;

    for (i = 0; i < n; i++) {
        ngx_sprintf(size, "%uz%Z", (size_t) 1 << (i + shpool->min_shift));

        ngx_http_lrt_json_open(o, (char *) size, '{');
        ngx_http_lrt_json_uint(o, "used", shpool->stats[i].used);
        ngx_http_lrt_json_uint(o, "free", shpool->stats[i].total
                                          - shpool->stats[i].used);
        ngx_http_lrt_json_uint(o, "reqs", shpool->stats[i].reqs);
        ngx_http_lrt_json_uint(o, "fails", shpool->stats[i].fails);
        ngx_http_lrt_json_close(o, '}');
    }

    ngx_http_lrt_json_close(o, '}');
    ngx_http_lrt_json_close(o, '}');
}
