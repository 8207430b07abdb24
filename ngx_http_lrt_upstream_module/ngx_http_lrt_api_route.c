
/*
 * Copyright (C) the ngx_http_lrt_upstream_module authors
 *
 * Paths and methods, and who may use them.
 */


#include "ngx_http_lrt_api.h"


#define NGX_HTTP_LRT_API_FIRST   4           /* versions */
#define NGX_HTTP_LRT_API_LAST    9
#define NGX_HTTP_LRT_API_PARTS   8


/* in a pattern "U" stands for an upstream and "S" for a server */

typedef struct {
    const char              *pattern;
    ngx_http_lrt_api_pt      get;
    ngx_http_lrt_api_pt      post;
    ngx_http_lrt_api_pt      put;
    ngx_http_lrt_api_pt      patch;
    ngx_http_lrt_api_pt      delete;
} ngx_http_lrt_api_route_t;


static ngx_uint_t ngx_http_lrt_api_parts(ngx_str_t *path, ngx_str_t *part);
static ngx_uint_t ngx_http_lrt_api_match(ngx_http_lrt_api_t *api,
    const char *pattern, ngx_str_t *part, ngx_uint_t n);
static ngx_int_t ngx_http_lrt_api_method(ngx_http_lrt_api_t *api,
    const ngx_http_lrt_api_route_t *route);
static ngx_uint_t ngx_http_lrt_api_foreign(ngx_http_request_t *r);
static ngx_int_t ngx_http_lrt_api_versions(ngx_http_lrt_api_t *api);


static const ngx_http_lrt_api_route_t  ngx_http_lrt_api_routes[] = {

    { "", ngx_http_lrt_api_root, NULL, NULL, NULL, NULL },
    { "nginx", ngx_http_lrt_api_nginx, NULL, NULL, NULL, NULL },
    { "processes", ngx_http_lrt_api_processes, NULL, NULL, NULL, NULL },
    { "connections", ngx_http_lrt_api_connections, NULL, NULL, NULL, NULL },
    { "slabs", ngx_http_lrt_api_slabs, NULL, NULL, NULL, NULL },
    { "slabs/S", ngx_http_lrt_api_slab, NULL, NULL, NULL, NULL },
    { "ssl", ngx_http_lrt_api_empty, NULL, NULL, NULL, NULL },
    { "resolvers", ngx_http_lrt_api_empty, NULL, NULL, NULL, NULL },
    { "workers", ngx_http_lrt_api_empty_list, NULL, NULL, NULL, NULL },

    { "http", ngx_http_lrt_api_http, NULL, NULL, NULL, NULL },
    { "http/requests", ngx_http_lrt_api_requests, NULL, NULL, NULL, NULL },
    { "http/server_zones", ngx_http_lrt_api_empty, NULL, NULL, NULL, NULL },
    { "http/location_zones", ngx_http_lrt_api_empty, NULL, NULL, NULL, NULL },
    { "http/caches", ngx_http_lrt_api_empty, NULL, NULL, NULL, NULL },
    { "http/limit_conns", ngx_http_lrt_api_empty, NULL, NULL, NULL, NULL },
    { "http/limit_reqs", ngx_http_lrt_api_empty, NULL, NULL, NULL, NULL },
    { "http/keyvals", ngx_http_lrt_api_empty, NULL, NULL, NULL, NULL },

    { "http/upstreams", ngx_http_lrt_api_upstreams, NULL, NULL, NULL, NULL },
    { "http/upstreams/U", ngx_http_lrt_api_upstream, NULL, NULL,
      ngx_http_lrt_api_set_group, ngx_http_lrt_api_reset },
    { "http/upstreams/U/servers", ngx_http_lrt_api_servers,
      ngx_http_lrt_api_add, ngx_http_lrt_api_replace, NULL, NULL },
    { "http/upstreams/U/servers/S", ngx_http_lrt_api_server, NULL, NULL,
      ngx_http_lrt_api_modify, ngx_http_lrt_api_remove },

    { NULL, NULL, NULL, NULL, NULL, NULL }
};


/* behind "lrt/1", which is no version of NGINX Plus */

static const ngx_http_lrt_api_route_t  ngx_http_lrt_api_own_routes[] = {

    { "ready", ngx_http_lrt_api_ready, NULL, NULL, NULL, NULL },
    { "upstreams/U/config", ngx_http_lrt_api_config, NULL, NULL, NULL, NULL },
    { "upstreams/U/servers/S/check", NULL, ngx_http_lrt_api_check, NULL, NULL,
      NULL },
    { "upstreams/U/servers/S/stats", NULL, NULL, NULL, NULL,
      ngx_http_lrt_api_reset_server },

    { NULL, NULL, NULL, NULL, NULL, NULL }
};


/* the first step */

ngx_int_t
ngx_http_lrt_api_route(ngx_http_lrt_api_t *api)
{
    ngx_int_t                        version;
    ngx_str_t                        path, part[NGX_HTTP_LRT_API_PARTS];
    ngx_uint_t                       n, first;
    ngx_http_request_t              *r;
    ngx_http_core_loc_conf_t        *clcf;
    const ngx_http_lrt_api_route_t  *route;

    r = api->request;
    clcf = ngx_http_get_module_loc_conf(r, ngx_http_core_module);

    path = r->uri;
    path.data += ngx_min(clcf->name.len, path.len);
    path.len -= ngx_min(clcf->name.len, path.len);

    /* "location /api" takes /apis as well */

    if (path.len && path.data[0] != '/' && clcf->name.len
        && clcf->name.data[clcf->name.len - 1] != '/')
    {
        goto missing;
    }

    n = ngx_http_lrt_api_parts(&path, part);

    if (n == 0) {
        static const ngx_http_lrt_api_route_t  versions = {
            "", ngx_http_lrt_api_versions, NULL, NULL, NULL, NULL
        };

        return ngx_http_lrt_api_method(api, &versions);
    }

    if (n > NGX_HTTP_LRT_API_PARTS) {
        goto missing;
    }

    first = 1;
    route = ngx_http_lrt_api_routes;

    if (n >= 2
        && part[0].len == 3 && ngx_strncmp(part[0].data, "lrt", 3) == 0
        && part[1].len == 1 && part[1].data[0] == '1')
    {
        first = 2;
        route = ngx_http_lrt_api_own_routes;
        version = NGX_HTTP_LRT_API_LAST;

    } else {
        version = ngx_atoi(part[0].data, part[0].len);
    }

    if (version == NGX_ERROR) {
        goto missing;
    }

    if (version < NGX_HTTP_LRT_API_FIRST || version > NGX_HTTP_LRT_API_LAST) {
        return ngx_http_lrt_fault(r->pool, &api->fault, NGX_HTTP_NOT_FOUND,
                                  "UnknownVersion", "unknown version");
    }

    for ( /* void */ ; route->pattern; route++) {
        if (ngx_http_lrt_api_match(api, route->pattern, &part[first],
                                   n - first))
        {
            return ngx_http_lrt_api_method(api, route);
        }
    }

missing:

    return ngx_http_lrt_fault(r->pool, &api->fault, NGX_HTTP_NOT_FOUND,
                              "PathNotFound", "path not found");
}


/* parts between slashes, a last one does not count; more than fit: one more */

static ngx_uint_t
ngx_http_lrt_api_parts(ngx_str_t *path, ngx_str_t *part)
{
    u_char      *p, *next, *end;
    ngx_uint_t   n;

    p = path->data;
    end = p + path->len;
    n = 0;

    if (p < end && *p == '/') {
        p++;
    }

    while (p < end) {

        if (n == NGX_HTTP_LRT_API_PARTS) {
            return n + 1;
        }

        /* the path of a socket is part of the name of a server */

        if (end - p > 5 && ngx_strncmp(p, "unix:", 5) == 0) {
            next = end - (end[-1] == '/');

        } else {
            next = ngx_strlchr(p, end, '/');
            next = next ? next : end;
        }

        part[n].data = p;
        part[n++].len = next - p;
        p = next + 1;
    }

    return n;
}


static ngx_uint_t
ngx_http_lrt_api_match(ngx_http_lrt_api_t *api, const char *pattern,
    ngx_str_t *part, ngx_uint_t n)
{
    size_t       len, tail;
    const char  *p, *next;

    for (p = pattern; *p; p = next + (*next == '/')) {

        for (next = p; *next && *next != '/'; next++) { /* void */ }

        if (n == 0) {
            return 0;
        }

        len = next - p;

        /* between two slashes, where nginx was told to leave them alone */

        if (part->len == 0) {
            return 0;
        }

        if (len == 1 && *p == 'U') {
            api->upstream = *part;

        } else if (len == 1 && *p == 'S') {
            api->id = *part;

            /* the path of a socket has swallowed what follows */

            if (*next && n == 1 && part->len > ngx_strlen(next)) {
                tail = part->len - ngx_strlen(next);

                if (ngx_strncmp(part->data + tail, next, part->len - tail)
                    == 0)
                {
                    api->id.len = tail;
                    return 1;
                }
            }

        } else if (part->len != len || ngx_memcmp(part->data, p, len) != 0) {
            return 0;
        }

        part++;
        n--;
    }

    return n == 0;
}


static ngx_int_t
ngx_http_lrt_api_method(ngx_http_lrt_api_t *api,
    const ngx_http_lrt_api_route_t *route)
{
    ngx_int_t            rc;
    ngx_http_request_t  *r;

    r = api->request;

    switch (r->method) {

    case NGX_HTTP_GET:
    case NGX_HTTP_HEAD:
        api->step = route->get;
        break;

    case NGX_HTTP_POST:
        api->step = route->post;
        break;

    case NGX_HTTP_PUT:
        api->step = route->put;
        break;

    case NGX_HTTP_PATCH:
        api->step = route->patch;
        break;

    case NGX_HTTP_DELETE:
        api->step = route->delete;
        break;

    default:
        api->step = NULL;
        break;
    }

    if (api->step == NULL) {
        return ngx_http_lrt_fault(r->pool, &api->fault, NGX_HTTP_NOT_ALLOWED,
                                  "MethodNotAllowed", "method not allowed");
    }

    /* before anything is looked for: this is how clients find it out */

    if (!(r->method & (NGX_HTTP_GET|NGX_HTTP_HEAD))) {

        if (!api->conf->write) {
            return ngx_http_lrt_fault(r->pool, &api->fault,
                                      NGX_HTTP_NOT_ALLOWED, "MethodDisabled",
                                      "method disabled");
        }

        if (ngx_http_lrt_api_foreign(r)) {
            return ngx_http_lrt_fault(r->pool, &api->fault,
                                      NGX_HTTP_FORBIDDEN, "ForeignOrigin",
                                      "a page of another origin may not "
                                      "change anything");
        }
    }

    if (api->upstream.len) {
        rc = ngx_http_lrt_api_group(api);
        if (rc != NGX_OK) {
            return rc;
        }
    }

    return api->step(api);
}


ngx_int_t
ngx_http_lrt_api_group(ngx_http_lrt_api_t *api)
{
    ngx_str_t                       *host;
    ngx_uint_t                       i;
    ngx_http_lrt_srv_conf_t        **lscf;
    ngx_http_upstream_srv_conf_t   **uscf;
    ngx_http_upstream_main_conf_t   *umcf;

    lscf = api->main->groups.elts;

    for (i = 0; i < api->main->groups.nelts; i++) {
        host = &lscf[i]->upstream->host;

        if (host->len == api->upstream.len
            && ngx_strncmp(host->data, api->upstream.data, host->len) == 0)
        {
            api->group = lscf[i];

            if (api->group->table.head) {
                return NGX_OK;
            }

            return ngx_http_lrt_fault(api->request->pool, &api->fault,
                                      NGX_HTTP_SERVICE_UNAVAILABLE,
                                      "UpstreamReplaced",
                                      "the configuration was replaced");
        }
    }

    umcf = ngx_http_get_module_main_conf(api->request,
                                         ngx_http_upstream_module);
    uscf = umcf->upstreams.elts;

    for (i = 0; i < umcf->upstreams.nelts; i++) {
        host = &uscf[i]->host;

        if (uscf[i]->srv_conf
            && host->len == api->upstream.len
            && ngx_strncmp(host->data, api->upstream.data, host->len) == 0)
        {
            return ngx_http_lrt_fault(api->request->pool, &api->fault,
                                      NGX_HTTP_BAD_REQUEST, "UpstreamStatic",
                                      "upstream is static");
        }
    }

    return ngx_http_lrt_fault(api->request->pool, &api->fault,
                              NGX_HTTP_NOT_FOUND, "UpstreamNotFound",
                              "upstream not found");
}


/* a browser says whose page it is that wants to write */

static ngx_uint_t
ngx_http_lrt_api_foreign(ngx_http_request_t *r)
{
    u_char     *p;
    ngx_str_t  *site, *origin, host;

    site = ngx_http_lrt_api_header(r, "sec-fetch-site");

    /* no page can forge this one, but not all browsers send it */

    if (site) {
        return !(site->len == 11
                 && ngx_strncmp(site->data, "same-origin", 11) == 0)
               && !(site->len == 4
                    && ngx_strncmp(site->data, "none", 4) == 0);
    }

    origin = ngx_http_lrt_api_header(r, "origin");

    if (origin == NULL) {
        return 0;
    }

    p = ngx_strlcasestrn(origin->data, origin->data + origin->len,
                         (u_char *) "://", 2);

    if (p == NULL || r->headers_in.host == NULL) {
        return 1;
    }

    host.data = p + 3;
    host.len = origin->data + origin->len - host.data;

    return host.len != r->headers_in.host->value.len
           || ngx_strncasecmp(host.data, r->headers_in.host->value.data,
                              host.len)
              != 0;
}


ngx_str_t *
ngx_http_lrt_api_header(ngx_http_request_t *r, const char *name)
{
    size_t            len;
    ngx_uint_t        i;
    ngx_list_part_t  *part;
    ngx_table_elt_t  *header;

    len = ngx_strlen(name);
    part = &r->headers_in.headers.part;

    for ( /* void */ ; part; part = part->next) {
        header = part->elts;

        for (i = 0; i < part->nelts; i++) {
            if (header[i].key.len == len
                && ngx_strncasecmp(header[i].key.data, (u_char *) name, len)
                   == 0)
            {
                return &header[i].value;
            }
        }
    }

    return NULL;
}


/* ngx_http_arg() does not see a name without a value */

ngx_int_t
ngx_http_lrt_api_arg(ngx_http_lrt_api_t *api, const char *name,
    ngx_str_t *value)
{
    u_char     *p, *next, *end, *dst;
    size_t      len;
    ngx_str_t  *args;

    args = &api->request->args;

    if (args->len == 0) {
        return NGX_DECLINED;
    }

    len = ngx_strlen(name);
    end = args->data + args->len;

    for (p = args->data; p < end; p = next + 1) {

        next = ngx_strlchr(p, end, '&');
        next = next ? next : end;

        if ((size_t) (next - p) < len || ngx_strncmp(p, name, len) != 0) {
            continue;
        }

        p += len;

        if (p < next && *p++ != '=') {
            continue;
        }

        value->data = ngx_pnalloc(api->request->pool, next - p + 1);
        if (value->data == NULL) {
            return NGX_ERROR;
        }

        dst = value->data;
        ngx_unescape_uri(&dst, &p, next - p, 0);
        value->len = dst - value->data;

        return NGX_OK;
    }

    return NGX_DECLINED;
}


ngx_uint_t
ngx_http_lrt_api_dry(ngx_http_lrt_api_t *api)
{
    ngx_str_t  value;

    ngx_str_null(&value);

    return ngx_http_lrt_api_arg(api, "dry_run", &value) != NGX_DECLINED
           && !(value.len == 1 && value.data[0] == '0');
}


static ngx_int_t
ngx_http_lrt_api_versions(ngx_http_lrt_api_t *api)
{
    ngx_uint_t  i;

    ngx_http_lrt_json_open(&api->out, NULL, '[');

    for (i = NGX_HTTP_LRT_API_FIRST; i <= NGX_HTTP_LRT_API_LAST; i++) {
        ngx_http_lrt_json_uint(&api->out, NULL, i);
    }

    ngx_http_lrt_json_close(&api->out, ']');

    return NGX_OK;
}
