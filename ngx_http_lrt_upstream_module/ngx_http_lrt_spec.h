
/*
 * Copyright (C) the ngx_http_lrt_upstream_module authors
 */


#ifndef _NGX_HTTP_LRT_SPEC_H_INCLUDED_
#define _NGX_HTTP_LRT_SPEC_H_INCLUDED_


#include "ngx_http_lrt.h"
#include "ngx_http_lrt_json.h"
#include "ngx_http_lrt_out.h"
#include "lrt_settings.h"


/* that all readers of JSON can hold */

#define NGX_HTTP_LRT_MAX_ID          (((uint64_t) 1 << 53) - 1)


typedef struct {
    lrt_server_t                     server;
    ngx_str_t                        address;
    ngx_str_t                        host;       /* and port, instead of it */
    uint32_t                         port;
    ngx_str_t                        route;
    ngx_str_t                        service;
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



/* an active check of the group */

typedef struct {
    lrt_check_t                      check;
    ngx_str_t                        text[LRT_CHECK_STRINGS];
    uint32_t                         given;
} ngx_http_lrt_check_spec_t;


/* what holds for all servers of it */

typedef struct {
    ngx_str_t                        method;
    uint64_t                         slow_start;
    uint16_t                         panic;
    ngx_array_t                      checks;  /* ngx_http_lrt_check_spec_t */
    uint32_t                         given;
} ngx_http_lrt_group_spec_t;

#define NGX_HTTP_LRT_GIVEN_METHOD       0x01
#define NGX_HTTP_LRT_GIVEN_SLOW_START   0x02
#define NGX_HTTP_LRT_GIVEN_PANIC        0x04
#define NGX_HTTP_LRT_GIVEN_CHECKS       0x08
#define NGX_HTTP_LRT_GIVEN_SETTINGS     0x0e
#define NGX_HTTP_LRT_GIVEN_MORE         0x10     /* and above: for others */


extern const ngx_http_lrt_field_t  ngx_http_lrt_spec_fields[];
extern const ngx_http_lrt_field_t  ngx_http_lrt_group_fields[];
extern const ngx_http_lrt_list_t  ngx_http_lrt_check_list;

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

/* ngx_http_lrt_spec_group.c: the same for what holds for a group */

ngx_int_t ngx_http_lrt_group_begin(ngx_pool_t *pool,
    ngx_http_lrt_group_spec_t *spec);

/* what was given takes the place of what is in "settings": NGX_DECLINED */

ngx_int_t ngx_http_lrt_group_settings(ngx_pool_t *pool,
    ngx_http_lrt_group_spec_t *spec, lrt_settings_t *settings,
    ngx_http_lrt_fault_t *fault);

/* whether the checks can be run here: NGX_DECLINED */

ngx_int_t ngx_http_lrt_group_sound(ngx_pool_t *pool,
    ngx_http_lrt_srv_conf_t *lscf, const lrt_settings_t *settings,
    ngx_http_lrt_fault_t *fault);

/* whether such a server can be probed, beside a check with a port: the same */

ngx_int_t ngx_http_lrt_group_probes(ngx_pool_t *pool,
    const lrt_settings_t *settings, const void *sockaddr,
    ngx_http_lrt_fault_t *fault);

void ngx_http_lrt_group_write(ngx_http_lrt_out_t *o,
    const lrt_settings_t *settings);

/* parameters of a directive that makes it, each with a space before it */

u_char *ngx_http_lrt_check_params_text(u_char *p, u_char *last,
    const lrt_check_t *check);
u_char *ngx_http_lrt_panic_text(u_char *p, u_char *last, uint32_t permille);


#endif /* _NGX_HTTP_LRT_SPEC_H_INCLUDED_ */
