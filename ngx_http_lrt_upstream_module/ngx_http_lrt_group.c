
/*
 * Copyright (C) the ngx_http_lrt_upstream_module authors
 *
 * An upstream block becomes a proposal: the servers that it lists, in the
 * form in which they can be merged into a table.
 */


#include "ngx_http_lrt.h"


static ngx_int_t ngx_http_lrt_group_servers(ngx_conf_t *cf,
    ngx_http_upstream_srv_conf_t *us, ngx_http_lrt_srv_conf_t *lscf);
static ngx_int_t ngx_http_lrt_group_server(ngx_conf_t *cf,
    ngx_http_upstream_srv_conf_t *us, ngx_http_upstream_server_t *from,
    ngx_addr_t *addr, lrt_server_t *server);
static ngx_int_t ngx_http_lrt_alloc_index(ngx_conf_t *cf, lrt_conf_t *conf,
    ngx_uint_t n);
static ngx_int_t ngx_http_lrt_group_twice(ngx_conf_t *cf,
    ngx_http_upstream_srv_conf_t *us, lrt_server_t *first,
    lrt_server_t *second);
static lrt_server_t *ngx_http_lrt_group_find(lrt_conf_t *conf,
    lrt_server_t *server);
static ngx_int_t ngx_http_lrt_group_wrap(ngx_conf_t *cf,
    ngx_http_upstream_srv_conf_t *us, ngx_http_lrt_srv_conf_t *lscf);


/* stands in the array of servers of a group that may be empty */

static u_char  ngx_http_lrt_placeholder[] = "none";


ngx_int_t
ngx_http_lrt_push_placeholder(ngx_http_upstream_srv_conf_t *us)
{
    ngx_http_upstream_server_t  *server;

    server = ngx_array_push(us->servers);
    if (server == NULL) {
        return NGX_ERROR;
    }

    ngx_memzero(server, sizeof(ngx_http_upstream_server_t));

    server->name.data = ngx_http_lrt_placeholder;
    server->name.len = sizeof(ngx_http_lrt_placeholder) - 1;
    server->weight = 1;
    server->down = 1;

    return NGX_OK;
}


ngx_int_t
ngx_http_lrt_init_upstream(ngx_conf_t *cf, ngx_http_upstream_srv_conf_t *us)
{
    ngx_uint_t                      i, n;
    ngx_shm_zone_t                 *declared;
    ngx_http_lrt_srv_conf_t        *lscf;
    ngx_http_upstream_server_t     *server;
    ngx_http_upstream_rr_peers_t   *decoy;

    lscf = ngx_http_conf_upstream_srv_conf(us, ngx_http_lrt_upstream_module);

    lscf->upstream = us;
    lscf->main = ngx_http_conf_get_module_main_conf(cf,
                                                ngx_http_lrt_upstream_module);
    declared = ngx_http_lrt_take_zone(us);

    /* the array may have moved since, but not the name */

    server = us->servers->elts;

    for (i = 0, n = 0; i < us->servers->nelts; i++) {
        if (server[i].name.data != ngx_http_lrt_placeholder) {
            server[n++] = server[i];
        }
    }

    us->servers->nelts = n;

    if (ngx_http_lrt_group_servers(cf, us, lscf) != NGX_OK) {
        return NGX_ERROR;
    }

    if (ngx_http_lrt_group_wrap(cf, us, lscf) != NGX_OK) {
        return NGX_ERROR;
    }

    if (ngx_http_lrt_state_init(cf, lscf) != NGX_OK) {
        return NGX_ERROR;
    }

    /* for foreign code that walks peers: there are none */

    decoy = ngx_pcalloc(cf->pool, sizeof(ngx_http_upstream_rr_peers_t));
    if (decoy == NULL) {
        return NGX_ERROR;
    }

    decoy->name = &us->host;

    us->peer.data = decoy;
    us->peer.init = ngx_http_lrt_init_peer;

    return ngx_http_lrt_add_zones(cf, lscf, declared);
}


static ngx_int_t
ngx_http_lrt_group_servers(ngx_conf_t *cf, ngx_http_upstream_srv_conf_t *us,
    ngx_http_lrt_srv_conf_t *lscf)
{
    ngx_uint_t                   i, j, n;
    lrt_conf_t                  *conf;
    lrt_server_t                *servers, *twin;
    ngx_http_upstream_server_t  *from;

    from = us->servers->elts;
    n = 0;

    for (i = 0; i < us->servers->nelts; i++) {

        if (ngx_http_lrt_server_resolves(&from[i])) {
            ngx_log_error(NGX_LOG_EMERG, cf->log, 0,
                          "\"resolve\" of server \"%V\" is not supported by "
                          "\"%s\", remove it to resolve the name at start, "
                          "in upstream \"%V\" in %s:%ui", &from[i].name,
                          lrt_method((uint32_t) lscf->method)->name,
                          &us->host, us->file_name, us->line);
            return NGX_ERROR;
        }

        /* the line may stand before the method, and is then not refused */

        if (from[i].backup
            && (lrt_method((uint32_t) lscf->method)->takes & LRT_NO_BACKUP))
        {
            ngx_log_error(NGX_LOG_EMERG, cf->log, 0,
                          "\"%s\" does not support parameter \"backup\" of "
                          "server \"%V\" in upstream \"%V\" in %s:%ui",
                          lrt_method((uint32_t) lscf->method)->name,
                          &from[i].name, &us->host, us->file_name, us->line);
            return NGX_ERROR;
        }

        n += from[i].naddrs;
    }

    if (n > LRT_MAX_CAPACITY / 2) {
        ngx_log_error(NGX_LOG_EMERG, cf->log, 0,
                      "upstream \"%V\" has %ui servers, more than %d, "
                      "in %s:%ui", &us->host, n, LRT_MAX_CAPACITY / 2,
                      us->file_name, us->line);
        return NGX_ERROR;
    }

    conf = &lscf->conf;
    servers = ngx_pcalloc(cf->pool, (n + 1) * sizeof(lrt_server_t));

    if (servers == NULL || ngx_http_lrt_alloc_index(cf, conf, n) != NGX_OK) {
        return NGX_ERROR;
    }

    conf->server = servers;

    for (i = 0; i < us->servers->nelts; i++) {
        for (j = 0; j < from[i].naddrs; j++) {

            if (ngx_http_lrt_group_server(cf, us, &from[i], &from[i].addrs[j],
                                          &servers[conf->n])
                != NGX_OK)
            {
                return NGX_ERROR;
            }

            twin = ngx_http_lrt_group_find(conf, &servers[conf->n]);

            if (twin == NULL) {
                conf->n++;
                continue;
            }

            if (ngx_http_lrt_group_twice(cf, us, twin, &servers[conf->n])
                != NGX_OK)
            {
                return NGX_ERROR;
            }
        }
    }

    lrt_merge_index(conf);

    return NGX_OK;
}


static ngx_int_t
ngx_http_lrt_alloc_index(ngx_conf_t *cf, lrt_conf_t *conf, ngx_uint_t n)
{
    conf->index_size = 16;

    while (conf->index_size < 2 * n) {
        conf->index_size *= 2;
    }

    conf->index = ngx_pcalloc(cf->pool, conf->index_size * sizeof(uint32_t));

    return conf->index ? NGX_OK : NGX_ERROR;
}


/* servers that come from elsewhere */

ngx_int_t
ngx_http_lrt_index_conf(ngx_conf_t *cf, lrt_conf_t *conf)
{
    if (ngx_http_lrt_alloc_index(cf, conf, conf->n) != NGX_OK) {
        return NGX_ERROR;
    }

    lrt_merge_index(conf);

    return NGX_OK;
}


static ngx_int_t
ngx_http_lrt_group_server(ngx_conf_t *cf, ngx_http_upstream_srv_conf_t *us,
    ngx_http_upstream_server_t *from, ngx_addr_t *addr, lrt_server_t *server)
{
    ngx_int_t      rc;
    ngx_str_t      route;
    lrt_params_t  *params;

    route = ngx_http_lrt_server_route(from);

    server->server.len = from->name.len;
    server->server.data = (const char *) from->name.data;
    server->route.len = route.len;
    server->route.data = (const char *) route.data;

    rc = ngx_http_lrt_server_address(cf->pool, addr, server);

    if (rc == NGX_ERROR) {
        return NGX_ERROR;
    }

    if (rc == NGX_DECLINED) {
        ngx_log_error(NGX_LOG_EMERG, cf->log, 0,
                      "address of server \"%V\" is too long "
                      "in upstream \"%V\" in %s:%ui", &from->name,
                      &us->host, us->file_name, us->line);
        return NGX_ERROR;
    }

    if (from->weight > LRT_MAX_WEIGHT
        || from->max_conns > LRT_MAX_CONNS
        || from->max_fails > LRT_MAX_FAILS)
    {
        ngx_log_error(NGX_LOG_EMERG, cf->log, 0,
                      "weight, max_conns or max_fails of server \"%V\" is "
                      "above %d in upstream \"%V\" in %s:%ui", &from->name,
                      LRT_MAX_WEIGHT, &us->host, us->file_name, us->line);
        return NGX_ERROR;
    }

    if (!lrt_table_fits(server)) {
        ngx_log_error(NGX_LOG_EMERG, cf->log, 0,
                      "name of server \"%V\" is too long: it may have %uz "
                      "characters in upstream \"%V\" in %s:%ui", &from->name,
                      LRT_DATA_LEN - addr->socklen - addr->name.len
                      - route.len,
                      &us->host, us->file_name, us->line);
        return NGX_ERROR;
    }

    params = &server->params;

    ngx_memzero(params, sizeof(lrt_params_t));

    params->weight = (uint32_t) from->weight;
    params->max_conns = (uint32_t) from->max_conns;
    params->max_fails = (uint32_t) from->max_fails;
    params->fail_timeout = (uint64_t) from->fail_timeout * 1000;
    params->backup = from->backup;
    params->drain = (uint8_t) ngx_http_lrt_server_drains(from);
    params->down = (from->down && !params->drain);

    if (params->fail_timeout > LRT_MAX_TIME) {
        params->fail_timeout = LRT_MAX_TIME;
    }

    return NGX_OK;
}


/*
 * An address that stands in the block twice, mostly since two names resolve
 * to it, is one server with the sum of what both may take.
 */

static ngx_int_t
ngx_http_lrt_group_twice(ngx_conf_t *cf, ngx_http_upstream_srv_conf_t *us,
    lrt_server_t *first, lrt_server_t *second)
{
    uint32_t       fields;
    ngx_str_t      name;
    lrt_params_t  *a, *b;

    a = &first->params;
    b = &second->params;

    name.len = first->name.len;
    name.data = (u_char *) first->name.data;

    fields = lrt_params_diff(a, b)
             & ~(LRT_F_WEIGHT|LRT_F_MAX_CONNS|LRT_F_TWINS);

    if (fields) {
        ngx_log_error(NGX_LOG_EMERG, cf->log, 0,
                      "server \"%V\" is listed twice with different "
                      "parameters, leave one of them, "
                      "in upstream \"%V\" in %s:%ui", &name,
                      &us->host, us->file_name, us->line);
        return NGX_ERROR;
    }

    ngx_log_error(NGX_LOG_WARN, cf->log, 0,
                  "server \"%V\" is listed twice, weights are added, "
                  "in upstream \"%V\" in %s:%ui", &name,
                  &us->host, us->file_name, us->line);

    if (b->weight > LRT_MAX_WEIGHT - a->weight
        || b->max_conns > LRT_MAX_CONNS - a->max_conns)
    {
        ngx_log_error(NGX_LOG_EMERG, cf->log, 0,
                      "weight or max_conns of server \"%V\" is above %d "
                      "in upstream \"%V\" in %s:%ui", &name,
                      LRT_MAX_WEIGHT, &us->host, us->file_name, us->line);
        return NGX_ERROR;
    }

    a->weight += b->weight;
    a->twins += (a->twins < UINT8_MAX);

    /* 0 is no limit */

    a->max_conns = (a->max_conns && b->max_conns)
                   ? a->max_conns + b->max_conns : 0;

    return NGX_OK;
}


/* the index is filled on the way, and made anew when all servers are known */

static lrt_server_t *
ngx_http_lrt_group_find(lrt_conf_t *conf, lrt_server_t *server)
{
    uint32_t       i, mask;
    lrt_server_t  *twin;

    mask = conf->index_size - 1;

    i = (uint32_t) lrt_table_hash(server->sockaddr, server->socklen,
                                  server->params.backup) & mask;

    for ( /* void */ ; conf->index[i]; i = (i + 1) & mask) {

        twin = (lrt_server_t *) &conf->server[conf->index[i] - 1];

        if (twin->params.backup == server->params.backup
            && twin->socklen == server->socklen
            && ngx_memcmp(twin->sockaddr, server->sockaddr, server->socklen)
               == 0)
        {
            return twin;
        }
    }

    conf->index[i] = conf->n + 1;

    return NULL;
}


/*
 * "keepalive" before our directive, below 1.29.7: it is initialized over
 * stock round robin with one server that is never used, and gets the chosen
 * server of each request from us in the same way, see ngx_http_lrt_balancer.c.
 */

static ngx_int_t
ngx_http_lrt_group_wrap(ngx_conf_t *cf, ngx_http_upstream_srv_conf_t *us,
    ngx_http_lrt_srv_conf_t *lscf)
{
    ngx_int_t                    rc;
    ngx_addr_t                   addr;
    ngx_array_t                 *servers, stub;
    ngx_http_upstream_server_t   server;

    static struct sockaddr_in    nowhere;
    static ngx_str_t             name = ngx_string("none");

    if (lscf->wrapper == NULL) {
        return NGX_OK;
    }

    nowhere.sin_family = AF_INET;

    addr.sockaddr = (struct sockaddr *) &nowhere;
    addr.socklen = sizeof(struct sockaddr_in);
    addr.name = name;

    ngx_memzero(&server, sizeof(ngx_http_upstream_server_t));

    server.name = name;
    server.addrs = &addr;
    server.naddrs = 1;
    server.weight = 1;

    ngx_memzero(&stub, sizeof(ngx_array_t));

    stub.elts = &server;
    stub.nelts = 1;
    stub.nalloc = 1;
    stub.size = sizeof(ngx_http_upstream_server_t);
    stub.pool = cf->pool;

    servers = us->servers;
    us->servers = &stub;

    rc = lscf->wrapper(cf, us);

    us->servers = servers;
    lscf->wrapped_init = us->peer.init;

    if (rc != NGX_OK) {
        return rc;
    }

    /* a method between keepalive and ours has put keepalive aside */

    if (!ngx_http_lrt_keepalive_wraps(cf, us,
                          (uintptr_t) ngx_http_upstream_init_round_robin_peer))
    {
        ngx_log_error(NGX_LOG_EMERG, cf->log, 0,
                      "upstream \"%V\" has another load balancing method "
                      "beside \"%s\", leave one of them in %s:%ui",
                      &us->host, lrt_method((uint32_t) lscf->method)->name,
                      us->file_name, us->line);
        return NGX_ERROR;
    }

    return NGX_OK;
}
