
/*
 * Copyright (C) the ngx_http_lrt_upstream_module authors
 *
 * What the files that know nginx share.
 */


#ifndef _NGX_HTTP_LRT_H_INCLUDED_
#define _NGX_HTTP_LRT_H_INCLUDED_


#include "ngx_http_lrt_compat.h"

#include "lrt_inspect.h"
#include "lrt_merge.h"
#include "lrt_select.h"


typedef struct ngx_http_lrt_session_s  ngx_http_lrt_session_t;


/* one configuration, and this process as one of those that run it */

typedef struct {
    ngx_array_t                      groups;     /* ngx_http_lrt_srv_conf_t * */
    ngx_shm_zone_t                  *shm_zone;   /* of the registry */
    lrt_registry_t                  *registry;
    uint32_t                         rows;       /* of registry and ledgers */
    uint64_t                         generation; /* of this configuration */

    lrt_owner_t                      owner;      /* of this process */
    ngx_event_t                      tick;
    ngx_connection_t                 dumb;       /* for debug lines of "tick" */
} ngx_http_lrt_main_conf_t;


/* an upstream of ours: configuration, and this process' view of its table */

typedef struct {
    ngx_uint_t                       method;     /* NGX_CONF_UNSET_UINT: none */

    ngx_http_lrt_main_conf_t        *main;
    ngx_http_upstream_srv_conf_t    *upstream;
    ngx_http_upstream_init_pt        wrapper;    /* keepalive, if before us */
    ngx_http_upstream_init_peer_pt   wrapped_init;

    ngx_str_t                        zone_name;
    ngx_shm_zone_t                  *shm_zone;
    lrt_conf_t                       conf;       /* what the block says */

    /* head is NULL when the table is gone: without a master, after a reload */

    lrt_table_t                      table;
    ngx_http_lrt_session_t          *sessions;   /* by slot */
} ngx_http_lrt_srv_conf_t;


/* directives and module */

extern ngx_module_t  ngx_http_lrt_upstream_module;

/* ngx_http_lrt_group.c: an upstream block becomes a group */

ngx_int_t ngx_http_lrt_init_upstream(ngx_conf_t *cf,
    ngx_http_upstream_srv_conf_t *us);
ngx_int_t ngx_http_lrt_push_placeholder(ngx_http_upstream_srv_conf_t *us);

/* ngx_http_lrt_zone.c: zones, and the writers' lock in them */

ngx_int_t ngx_http_lrt_add_zones(ngx_conf_t *cf, ngx_http_lrt_srv_conf_t *lscf,
    ngx_shm_zone_t *declared);
ngx_slab_pool_t *ngx_http_lrt_zone_find(ngx_cycle_t *cycle, ngx_str_t *name,
    size_t *size);
ngx_uint_t ngx_http_lrt_trylock(ngx_http_lrt_srv_conf_t *lscf);
void ngx_http_lrt_unlock(ngx_http_lrt_srv_conf_t *lscf);
ngx_uint_t ngx_http_lrt_master_lock(ngx_slab_pool_t *shpool);

/* ngx_http_lrt_reload.c: the configuration meets the tables */

ngx_int_t ngx_http_lrt_init_module(ngx_cycle_t *cycle);
void ngx_http_lrt_merge_pending(ngx_http_lrt_main_conf_t *lmcf);

/* ngx_http_lrt_worker.c: this process among the others */

uint64_t ngx_http_lrt_now(void);             /* us, same for all processes */
ngx_int_t ngx_http_lrt_init_process(ngx_cycle_t *cycle);
void ngx_http_lrt_exit_process(ngx_cycle_t *cycle);
void ngx_http_lrt_take_over(ngx_cycle_t *cycle,
    ngx_http_lrt_main_conf_t *before);

/* ngx_http_lrt_balancer.c: requests */

ngx_int_t ngx_http_lrt_init_peer(ngx_http_request_t *r,
    ngx_http_upstream_srv_conf_t *us);

/* ngx_http_lrt_outcome.c: how an attempt ended */

lrt_ended_e ngx_http_lrt_outcome(ngx_http_request_t *r,
    ngx_peer_connection_t *pc, ngx_uint_t state, lrt_outcome_t *out);

/* ngx_http_lrt_session.c: TLS sessions of this process, by server */

#if (NGX_HTTP_SSL)
ngx_int_t ngx_http_lrt_set_session(ngx_http_lrt_srv_conf_t *lscf,
    const lrt_pick_t *pick, ngx_connection_t *c);
void ngx_http_lrt_save_session(ngx_http_lrt_srv_conf_t *lscf,
    const lrt_pick_t *pick, ngx_connection_t *c);
#endif

/* ngx_http_lrt_record.c: what attempts leave for variables */

typedef struct {
    ngx_uint_t                       state;      /* in r->upstream_states */
    ngx_str_t                       *peer;       /* NULL: no live server */
    lrt_pick_t                       pick;
} ngx_http_lrt_record_t;

ngx_http_lrt_record_t *ngx_http_lrt_record(ngx_http_request_t *r);
ngx_int_t ngx_http_lrt_add_variables(ngx_conf_t *cf);

#if (LRT_TEST)
char *ngx_http_lrt_test(ngx_conf_t *cf, ngx_command_t *cmd, void *conf);
#endif


#endif /* _NGX_HTTP_LRT_H_INCLUDED_ */
