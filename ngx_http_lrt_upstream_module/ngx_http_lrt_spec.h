
/*
 * Copyright (C) the ngx_http_lrt_upstream_module authors
 */


#ifndef _NGX_HTTP_LRT_SPEC_H_INCLUDED_
#define _NGX_HTTP_LRT_SPEC_H_INCLUDED_


#include "ngx_http_lrt.h"
#include "ngx_http_lrt_json.h"
#include "ngx_http_lrt_out.h"


/* that all readers of JSON can hold */

#define NGX_HTTP_LRT_MAX_ID          (((uint64_t) 1 << 53) - 1)


typedef struct {
    lrt_server_t                     server;
    ngx_str_t                        address;
    ngx_str_t                        host;       /* and port, instead of it */
    uint32_t                         port;
    ngx_str_t                        route;
    ngx_str_t                        service;
    ngx_str_t                        method;     /* of the group */
    uint64_t                         id;
    uint32_t                         given;      /* NGX_HTTP_LRT_GIVEN_... */
} ngx_http_lrt_spec_t;

/* beside LRT_F_... */

#define NGX_HTTP_LRT_GIVEN_SERVER    0x010000
#define NGX_HTTP_LRT_GIVEN_BACKUP    0x020000
#define NGX_HTTP_LRT_GIVEN_ROUTE     0x040000
#define NGX_HTTP_LRT_GIVEN_SERVICE   0x080000
#define NGX_HTTP_LRT_GIVEN_ID        0x100000
#define NGX_HTTP_LRT_GIVEN_HOST      0x200000


extern const ngx_http_lrt_field_t  ngx_http_lrt_spec_fields[];

/* by lrt_forced_e */

extern const char *const  ngx_http_lrt_forced_words[];

/* what was read, into spec->server: NGX_DECLINED and "fault" */

ngx_int_t ngx_http_lrt_spec_check(ngx_pool_t *pool, ngx_http_lrt_spec_t *spec,
    ngx_http_lrt_fault_t *fault);
ngx_int_t ngx_http_lrt_spec_address(ngx_pool_t *pool, ngx_str_t *text,
    ngx_addr_t *addr, ngx_http_lrt_fault_t *fault);

ngx_int_t ngx_http_lrt_spec_twice(ngx_pool_t *pool, ngx_http_lrt_spec_t *spec,
    ngx_uint_t n, ngx_uint_t tiers, ngx_uint_t *at,
    ngx_http_lrt_fault_t *fault);

/* the same the other way round, as an element of a list */

void ngx_http_lrt_spec_write(ngx_http_lrt_out_t *o, const lrt_peer_t *peer,
    const lrt_detail_t *detail);


#endif /* _NGX_HTTP_LRT_SPEC_H_INCLUDED_ */
