
/*
 * Copyright (C) the ngx_http_lrt_upstream_module authors
 *
 * TLS sessions of servers, kept by each worker for itself: no lock, no copies
 * and no room in the zone.  A slot may get another server; the session of the
 * old one is then dropped.
 */


#include "ngx_http_lrt.h"


#if (NGX_HTTP_SSL)


struct ngx_http_lrt_session_s {
    uint64_t             ident;
    ngx_ssl_session_t   *session;
};


static ngx_int_t ngx_http_lrt_init_sessions(ngx_http_lrt_srv_conf_t *lscf);
static void ngx_http_lrt_free_sessions(void *data);


ngx_int_t
ngx_http_lrt_set_session(ngx_http_lrt_srv_conf_t *lscf,
    const lrt_pick_t *pick, ngx_connection_t *c)
{
    ngx_http_lrt_session_t  *s;

    if (lscf->sessions == NULL) {
        return NGX_OK;
    }

    s = &lscf->sessions[pick->slot];

    if (s->session == NULL || s->ident != pick->ident) {
        return NGX_OK;
    }

    return ngx_ssl_set_session(c, s->session);
}


void
ngx_http_lrt_save_session(ngx_http_lrt_srv_conf_t *lscf,
    const lrt_pick_t *pick, ngx_connection_t *c)
{
    ngx_ssl_session_t       *session, *before;
    ngx_http_lrt_session_t  *s;

    if (lscf->sessions == NULL && ngx_http_lrt_init_sessions(lscf) != NGX_OK) {
        return;
    }

    session = ngx_ssl_get_session(c);

    if (session == NULL) {
        return;
    }

    s = &lscf->sessions[pick->slot];

    before = s->session;

    s->session = session;
    s->ident = pick->ident;

    if (before) {
        ngx_ssl_free_session(before);
    }
}


static ngx_int_t
ngx_http_lrt_init_sessions(ngx_http_lrt_srv_conf_t *lscf)
{
    ngx_pool_cleanup_t  *cln;

    cln = ngx_pool_cleanup_add(ngx_cycle->pool, 0);
    if (cln == NULL) {
        return NGX_ERROR;
    }

    lscf->sessions = ngx_pcalloc(ngx_cycle->pool,
                                 lscf->table.capacity
                                 * sizeof(ngx_http_lrt_session_t));
    if (lscf->sessions == NULL) {
        return NGX_ERROR;
    }

    cln->handler = ngx_http_lrt_free_sessions;
    cln->data = lscf;

    return NGX_OK;
}


static void
ngx_http_lrt_free_sessions(void *data)
{
    ngx_http_lrt_srv_conf_t  *lscf = data;

    uint32_t  i;

    for (i = 0; i < lscf->table.capacity; i++) {
        if (lscf->sessions[i].session) {
            ngx_ssl_free_session(lscf->sessions[i].session);
        }
    }

    lscf->sessions = NULL;
}


#endif
