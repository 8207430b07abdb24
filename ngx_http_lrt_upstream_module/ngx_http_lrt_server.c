
/*
 * Copyright (C) the ngx_http_lrt_upstream_module authors
 *
 * A server in the form in which tables take it, whoever names it.
 */


#include "ngx_http_lrt.h"


/*
 * Addresses are compared byte by byte: no padding, no flow label.  The route
 * must be known.  NGX_DECLINED: the address is longer than any may be.
 */

ngx_int_t
ngx_http_lrt_server_address(ngx_pool_t *pool, const ngx_addr_t *addr,
    lrt_server_t *server)
{
    u_char            buf[NGX_HTTP_LRT_SID_LEN];
    ngx_str_t         sid;
    struct sockaddr  *sockaddr;

    if (addr->socklen > LRT_SOCKADDR_LEN) {
        return NGX_DECLINED;
    }

    sockaddr = ngx_pcalloc(pool, addr->socklen);
    if (sockaddr == NULL) {
        return NGX_ERROR;
    }

    ngx_memcpy(sockaddr, addr->sockaddr, addr->socklen);

    if (sockaddr->sa_family == AF_INET) {
        ngx_memzero(((struct sockaddr_in *) sockaddr)->sin_zero,
                    sizeof(((struct sockaddr_in *) sockaddr)->sin_zero));
    }

#if (NGX_HAVE_INET6)
    if (sockaddr->sa_family == AF_INET6) {
        ((struct sockaddr_in6 *) sockaddr)->sin6_flowinfo = 0;
    }
#endif

    server->sockaddr = sockaddr;
    server->socklen = addr->socklen;

    server->name.len = addr->name.len;
    server->name.data = (const char *) addr->name.data;

    sid = ngx_http_lrt_sid(&server->name, &server->route, buf);
    server->sid = ngx_http_lrt_sid_hash(&sid);

    return NGX_OK;
}


/* what stock nginx takes for granted */

void
ngx_http_lrt_server_defaults(lrt_params_t *params)
{
    ngx_memzero(params, sizeof(lrt_params_t));

    params->weight = 1;
    params->max_fails = 1;
    params->fail_timeout = 10000;
}
