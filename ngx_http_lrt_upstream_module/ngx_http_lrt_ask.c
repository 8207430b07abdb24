
/*
 * Copyright (C) the ngx_http_lrt_upstream_module authors
 *
 * What a request tells the methods: the time, and who the client is.
 */


#include "ngx_http_lrt.h"


/* the memory in which a worker keeps owners of clients, per server */

#define NGX_HTTP_LRT_OWNED_PER_PEER  128


static ngx_int_t ngx_http_lrt_ask_client(ngx_http_request_t *r,
    ngx_http_lrt_srv_conf_t *lscf, lrt_client_t *client);
static void ngx_http_lrt_ask_owned(ngx_http_lrt_srv_conf_t *lscf,
    lrt_ask_t *ask);
static lrt_owned_t *ngx_http_lrt_zeroed(size_t n);
static void ngx_http_lrt_free_zeroed(void *data);


ngx_int_t
ngx_http_lrt_ask(ngx_http_request_t *r, ngx_http_lrt_srv_conf_t *lscf,
    uint64_t now, lrt_ask_t *ask)
{
    uint32_t      method;
    uint64_t      generation;
    ngx_time_t   *tp;

    tp = ngx_timeofday();

    ngx_memzero(ask, sizeof(lrt_ask_t));

    ask->now = now / 1000;
    ask->wall = (uint64_t) tp->sec * 1000 + tp->msec;
    ask->explain = lscf->main->explain;

    /* the table tells, since the method may be changed at run time */

    generation = lrt_table_generation(&lscf->table);
    method = lrt_table_side(&lscf->table, generation)->policy.method;

    if (!(lrt_method(method)->takes & LRT_TAKES_CLIENT)) {
        return NGX_OK;
    }

    ngx_http_lrt_ask_owned(lscf, ask);

    return ngx_http_lrt_ask_client(r, lscf, &ask->client);
}


static ngx_int_t
ngx_http_lrt_ask_client(ngx_http_request_t *r, ngx_http_lrt_srv_conf_t *lscf,
    lrt_client_t *client)
{
    ngx_str_t             key;
    lrt_policy_t         *policy;
    struct sockaddr_in   *sin;
#if (NGX_HAVE_INET6)
    struct sockaddr_in6  *sin6;
#endif

    if (lscf->key) {

        if (ngx_http_complex_value(r, lscf->key, &key) != NGX_OK) {
            return NGX_ERROR;
        }

        client->data = key.data;
        client->len = (uint32_t) key.len;
        client->bits = (uint32_t) key.len * 8;

        return NGX_OK;
    }

    policy = &lrt_table_side(&lscf->table,
                             lrt_table_generation(&lscf->table))->policy;

    switch (r->connection->sockaddr->sa_family) {

    case AF_INET:
        sin = (struct sockaddr_in *) r->connection->sockaddr;

        client->data = (const uint8_t *) &sin->sin_addr.s_addr;
        client->len = 4;
        client->bits = policy->ipv4;
        break;

#if (NGX_HAVE_INET6)
    case AF_INET6:
        sin6 = (struct sockaddr_in6 *) r->connection->sockaddr;

        if (IN6_IS_ADDR_V4MAPPED(&sin6->sin6_addr)) {
            client->data = &sin6->sin6_addr.s6_addr[12];
            client->len = 4;
            client->bits = policy->ipv4;
            break;
        }

        client->data = sin6->sin6_addr.s6_addr;
        client->len = 16;
        client->bits = policy->ipv6;
        break;
#endif

    default:
        break;
    }

    return NGX_OK;
}


static void
ngx_http_lrt_ask_owned(ngx_http_lrt_srv_conf_t *lscf, lrt_ask_t *ask)
{
    size_t  n;

    if (lscf->owned == NULL) {

        n = 1024;

        while (n < lscf->table.capacity * NGX_HTTP_LRT_OWNED_PER_PEER
               && n < (1 << LRT_POINT_BITS))
        {
            n *= 2;
        }

        lscf->owned = ngx_http_lrt_zeroed(n);
        lscf->owned_mask = (uint32_t) n - 1;
    }

    ask->owned = lscf->owned;
    ask->owned_mask = lscf->owned_mask;
}


/*
 * Of a large block calloc() gives zeroed pages of the system, and what is not
 * used of them costs nothing; a pool would write to all of it.
 */

static lrt_owned_t *
ngx_http_lrt_zeroed(size_t n)
{
    ngx_pool_cleanup_t  *cln;

    cln = ngx_pool_cleanup_add(ngx_cycle->pool, 0);
    if (cln == NULL) {
        return NULL;
    }

    cln->data = calloc(n, sizeof(lrt_owned_t));
    cln->handler = ngx_http_lrt_free_zeroed;

    return cln->data;
}


static void
ngx_http_lrt_free_zeroed(void *data)
{
    free(data);
}
