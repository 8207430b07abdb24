
/*
 * Copyright (C) the ngx_http_lrt_upstream_module authors
 *
 * What differs between nginx 1.22 .. 1.31 and Angie, under names of what it
 * is for.  LRT_HAVE_* come from probes of the source tree in "config"; no
 * other file tests versions or macros of nginx features.
 */


#ifndef _NGX_HTTP_LRT_COMPAT_H_INCLUDED_
#define _NGX_HTTP_LRT_COMPAT_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>


/* the zone of an upstream, taken off the group: stock code then skips it */

static ngx_inline ngx_shm_zone_t *
ngx_http_lrt_take_zone(ngx_http_upstream_srv_conf_t *us)
{
#if (NGX_HTTP_UPSTREAM_ZONE)
    ngx_shm_zone_t  *zone;

    zone = us->shm_zone;
    us->shm_zone = NULL;

    return zone;
#else
    (void) us;
    return NULL;
#endif
}


#define NGX_HTTP_LRT_NGINX_VERSION  NGINX_VERSION


/* counters of the instance, if nginx was built to have them */

typedef struct {
    uint64_t  accepted;
    uint64_t  handled;
    uint64_t  active;
    uint64_t  waiting;
    uint64_t  reading;
    uint64_t  writing;
    uint64_t  requests;
} ngx_http_lrt_stub_t;

static ngx_inline void
ngx_http_lrt_stub_status(ngx_http_lrt_stub_t *stub)
{
    ngx_memzero(stub, sizeof(ngx_http_lrt_stub_t));

#if (NGX_STAT_STUB)
    stub->accepted = *ngx_stat_accepted;
    stub->handled = *ngx_stat_handled;
    stub->active = *ngx_stat_active;
    stub->waiting = ngx_min(*ngx_stat_waiting, *ngx_stat_active);
    stub->reading = *ngx_stat_reading;
    stub->writing = *ngx_stat_writing;
    stub->requests = *ngx_stat_requests;
#endif
}


/* what "server" may say in a group of ours */

#ifdef NGX_HTTP_UPSTREAM_MODIFY
#define NGX_HTTP_LRT_MODIFY  NGX_HTTP_UPSTREAM_MODIFY
#elif defined NGX_HTTP_UPSTREAM_CONF
#define NGX_HTTP_LRT_MODIFY  NGX_HTTP_UPSTREAM_CONF
#else
#define NGX_HTTP_LRT_MODIFY  0
#endif


/* "server name resolve" leaves the host here, and no address */

static ngx_inline ngx_uint_t
ngx_http_lrt_server_resolves(ngx_http_upstream_server_t *server)
{
#if (LRT_HAVE_SERVER_HOST)
    return server->host.len != 0;
#else
    (void) server;
    return 0;
#endif
}


static ngx_inline ngx_uint_t
ngx_http_lrt_server_drains(ngx_http_upstream_server_t *server)
{
#ifdef NGX_HTTP_UPSTREAM_DRAINING
    return server->down == NGX_HTTP_UPSTREAM_DRAINING;
#else
    (void) server;
    return 0;
#endif
}


static ngx_inline ngx_str_t
ngx_http_lrt_server_route(ngx_http_upstream_server_t *server)
{
    ngx_str_t  route = ngx_null_string;

#if (LRT_HAVE_SERVER_SID)
    route = server->sid;
#else
    (void) server;
#endif

    return route;
}


/*
 * "sticky" of 1.29.6 and later: the name of the server that a request would
 * like, valid during the call only, and of the one that it gets.
 */

static ngx_inline ngx_str_t *
ngx_http_lrt_hint(ngx_peer_connection_t *pc)
{
#if (LRT_HAVE_PEER_HINT)
    return pc->hint;
#else
    (void) pc;
    return NULL;
#endif
}


#if (LRT_HAVE_PEER_HINT)
#define ngx_http_lrt_set_sid(pc, s)  (pc)->sid = (s)
#else
#define ngx_http_lrt_set_sid(pc, s)
#endif


/* since 1.23 headers of one name are linked */

#if (LRT_HAVE_TABLE_ELT_NEXT)
#define ngx_http_lrt_header_last(h)  (h)->next = NULL
#else
#define ngx_http_lrt_header_last(h)
#endif


/* Angie's keepalive reads the request from the peer connection */

#if (LRT_HAVE_PEER_CTX)
#define ngx_http_lrt_set_peer_ctx(pc, r)  (pc)->ctx = (r)
#else
#define ngx_http_lrt_set_peer_ctx(pc, r)
#endif


/*
 * Below 1.29.7 "keepalive" wraps the balancer where it stands, so when it
 * comes before our directive there is something to keep.  Its configuration
 * is its own business, but what it wraps is written there: the functions of
 * round robin, unless there is another method as well.
 */

#define NGX_HTTP_LRT_KEEPALIVE_WORDS  10

static ngx_inline ngx_uint_t
ngx_http_lrt_keepalive_wraps(ngx_conf_t *cf, ngx_http_upstream_srv_conf_t *us,
    uintptr_t function)
{
    uintptr_t     *word;
    ngx_uint_t     i, j;
    ngx_module_t  *module;

    for (i = 0; cf->cycle->modules[i]; i++) {
        module = cf->cycle->modules[i];

        if (ngx_strcmp(module->name, "ngx_http_upstream_keepalive_module")
            != 0)
        {
            continue;
        }

        word = us->srv_conf[module->ctx_index];

        for (j = 0; j < NGX_HTTP_LRT_KEEPALIVE_WORDS; j++) {
            if (word[j] == function) {
                return 1;
            }
        }
    }

    return 0;
}


#endif /* _NGX_HTTP_LRT_COMPAT_H_INCLUDED_ */
