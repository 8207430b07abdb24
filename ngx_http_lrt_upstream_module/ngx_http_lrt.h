
/*
 * Copyright (C) the ngx_http_lrt_upstream_module authors
 *
 * What the files that know nginx share.
 */


#ifndef _NGX_HTTP_LRT_H_INCLUDED_
#define _NGX_HTTP_LRT_H_INCLUDED_


#include "ngx_http_lrt_compat.h"

#include "lrt_inspect.h"
#include "lrt_iphash.h"
#include "lrt_least_time.h"
#include "lrt_match.h"
#include "lrt_merge.h"
#include "lrt_plan.h"
#include "lrt_rank.h"
#include "lrt_select.h"


/* as "build" in the API, where clients look for a release of NGINX Plus */

#define NGX_HTTP_LRT_BUILD  "lrt-r1"


typedef struct ngx_http_lrt_session_s  ngx_http_lrt_session_t;
typedef struct ngx_http_lrt_state_s  ngx_http_lrt_state_t;
typedef struct ngx_http_lrt_checker_s  ngx_http_lrt_checker_t;
typedef struct ngx_http_lrt_page_s  ngx_http_lrt_page_t;


/* one configuration, and this process as one of those that run it */

typedef struct {
    ngx_array_t                      groups;     /* ngx_http_lrt_srv_conf_t * */
    ngx_shm_zone_t                  *shm_zone;   /* of the registry */
    lrt_registry_t                  *registry;
    uint32_t                         rows;       /* of registry and ledgers */
    uint64_t                         generation; /* of this configuration */
    uint64_t                         loaded;     /* ms since the epoch */

    lrt_owner_t                      owner;      /* of this process */
    ngx_event_t                      tick;
    ngx_event_t                      checks;
    ngx_uint_t                       leads;      /* groups that it probes */
    ngx_array_t                      trusts;     /* see ngx_http_lrt_trust.c */
    ngx_connection_t                 dumb;       /* for debug lines of "tick" */

    ngx_queue_t                      open;       /* attempts, by age */
    ngx_flag_t                       explain;    /* $lrt_choice is in use */
    ngx_array_t                      redirects;  /* ngx_http_lrt_loc_conf_t * */
    ngx_array_t                      matches;    /* ngx_http_lrt_match_t * */
} ngx_http_lrt_main_conf_t;


/* handlers of locations */

typedef struct {
    ngx_http_handler_pt              handler;

    /* lrt_api */

    ngx_flag_t                       api;
    ngx_flag_t                       write;
    ngx_flag_t                       unix_sockets;
    ngx_array_t                     *networks;   /* ngx_cidr_t; NULL: any */
    off_t                            body;       /* default of its limit */

    /* lrt_redirect */

    ngx_str_t                        name;
    ngx_http_upstream_srv_conf_t    *upstream;   /* of that name */
    ngx_uint_t                       code;
    ngx_http_complex_value_t        *scheme;
    ngx_http_complex_value_t        *host;

    /* lrt_dashboard */

    ngx_http_lrt_page_t             *page;

    ngx_str_t                        file_name;
    ngx_uint_t                       line;
} ngx_http_lrt_loc_conf_t;


/* what the log says of probes that were not made; more than there are texts */

#define NGX_HTTP_LRT_COMPLAINTS  16

typedef struct {
    uint32_t                         what;       /* hash of the text */
    uint64_t                         when;       /* ms; 0: never */
} ngx_http_lrt_complaint_t;


/* an upstream of ours: configuration, and this process' view of its table */

typedef struct {
    ngx_uint_t                       method;     /* NGX_CONF_UNSET_UINT: none */
    ngx_uint_t                       implied;    /* by another directive */
    ngx_http_lrt_state_t            *state;      /* or NULL */

    ngx_http_lrt_main_conf_t        *main;
    ngx_http_upstream_srv_conf_t    *upstream;
    ngx_http_upstream_init_pt        wrapper;    /* keepalive, if before us */
    ngx_http_upstream_init_peer_pt   wrapped_init;

    ngx_http_complex_value_t        *key;        /* of the client, or NULL */

    ngx_str_t                        zone_name;
    ngx_shm_zone_t                  *shm_zone;
    lrt_conf_t                       conf;       /* what the block says */
    unsigned                         slow_start:1;   /* it says something */
    unsigned                         panic:1;
    ngx_str_t                        check_file[LRT_CHECKS];
    ngx_uint_t                       check_line[LRT_CHECKS];

    /* head is NULL when the table is gone: without a master, after a reload */

    lrt_table_t                      table;
    ngx_http_lrt_session_t          *sessions;   /* by slot */
    lrt_owned_t                     *owned;      /* see lrt_view_t */
    uint32_t                         owned_mask;
    uint64_t                         cuts;       /* seen by this process */
    ngx_http_lrt_checker_t          *checker;    /* NULL: another one probes */
    ngx_msec_t                       beat;      /* until somebody looks again */
    ngx_http_lrt_complaint_t         complaint[NGX_HTTP_LRT_COMPLAINTS];
} ngx_http_lrt_srv_conf_t;


/* directives and module */

extern ngx_module_t  ngx_http_lrt_upstream_module;
extern ngx_module_t  ngx_http_lrt_filter_module;

/* a block gets a balancer of ours, be it by a directive that needs one */

char *ngx_http_lrt_claim_group(ngx_conf_t *cf, ngx_str_t *directive,
    ngx_http_lrt_srv_conf_t *lscf);

/* a location gets a handler of ours, and may have just one */

char *ngx_http_lrt_set_handler(ngx_conf_t *cf, ngx_http_lrt_loc_conf_t *llcf,
    ngx_http_handler_pt handler);

/* ngx_http_lrt_policy.c: parameters of the method */

ngx_int_t ngx_http_lrt_policy(ngx_conf_t *cf, ngx_command_t *cmd,
    ngx_http_lrt_srv_conf_t *lscf);
ngx_int_t ngx_http_lrt_policy_read(lrt_policy_t *policy, ngx_str_t *value,
    ngx_uint_t n, ngx_str_t **wrong, ngx_str_t *key);
ngx_int_t ngx_http_lrt_policy_words(lrt_policy_t *policy, ngx_str_t *text);
u_char *ngx_http_lrt_policy_text(u_char *p, u_char *last,
    const lrt_policy_t *policy);

/* ngx_http_lrt_group.c: an upstream block becomes a group */

ngx_int_t ngx_http_lrt_init_upstream(ngx_conf_t *cf,
    ngx_http_upstream_srv_conf_t *us);
ngx_int_t ngx_http_lrt_index_conf(ngx_conf_t *cf, lrt_conf_t *conf);
ngx_int_t ngx_http_lrt_push_placeholder(ngx_http_upstream_srv_conf_t *us);

/* ngx_http_lrt_server.c: a server as tables take it */

ngx_int_t ngx_http_lrt_server_address(ngx_pool_t *pool, const ngx_addr_t *addr,
    lrt_server_t *server);
void ngx_http_lrt_server_defaults(lrt_params_t *params);

/* ngx_http_lrt_zone.c: zones, and the writers' lock in them */

ngx_int_t ngx_http_lrt_add_zones(ngx_conf_t *cf, ngx_http_lrt_srv_conf_t *lscf,
    ngx_shm_zone_t *declared);
ngx_slab_pool_t *ngx_http_lrt_zone_find(ngx_cycle_t *cycle, ngx_str_t *name,
    size_t *size);

/* bytes of a zone of that size behind what its pool points to */

#define ngx_http_lrt_zone_rest(shpool, size)                                  \
    ((size) - ((u_char *) (shpool)->data - (u_char *) (shpool)))

ngx_uint_t ngx_http_lrt_trylock(ngx_http_lrt_srv_conf_t *lscf);
size_t ngx_http_lrt_zone_need(ngx_http_lrt_srv_conf_t *lscf, uint32_t n);
void ngx_http_lrt_unlock(ngx_http_lrt_srv_conf_t *lscf);
ngx_uint_t ngx_http_lrt_master_lock(ngx_slab_pool_t *shpool);

/* whether the group has a table that is in use, and a view of it */

ngx_uint_t ngx_http_lrt_zone_live(ngx_cycle_t *cycle,
    ngx_http_lrt_srv_conf_t *lscf, lrt_table_t *t);

/* ngx_http_lrt_state.c: the file of a group */

char *ngx_http_lrt_state(ngx_conf_t *cf, ngx_command_t *cmd, void *conf);
ngx_int_t ngx_http_lrt_state_init(ngx_conf_t *cf,
    ngx_http_lrt_srv_conf_t *lscf);
ngx_uint_t ngx_http_lrt_state_decides(ngx_http_lrt_srv_conf_t *lscf,
    lrt_head_t *head);
void ngx_http_lrt_state_filled(ngx_http_lrt_srv_conf_t *lscf);
void ngx_http_lrt_state_stop(ngx_http_lrt_main_conf_t *lmcf);
ngx_uint_t ngx_http_lrt_state_is_new(ngx_http_lrt_srv_conf_t *lscf,
    lrt_head_t *head);
lrt_settings_t ngx_http_lrt_state_conf(ngx_http_lrt_srv_conf_t *lscf,
    const lrt_settings_t *before);
void ngx_http_lrt_state_reload(ngx_http_lrt_srv_conf_t *lscf, ngx_log_t *log);
void ngx_http_lrt_learned_load(ngx_http_lrt_srv_conf_t *lscf, ngx_log_t *log);
void ngx_http_lrt_state_exit(ngx_http_lrt_main_conf_t *lmcf);
void ngx_http_lrt_state_tick(ngx_http_lrt_main_conf_t *lmcf, uint64_t now);
ngx_uint_t ngx_http_lrt_state_writes(ngx_http_lrt_srv_conf_t *lscf);
ngx_str_t *ngx_http_lrt_state_path(ngx_http_lrt_srv_conf_t *lscf);

/* ngx_http_lrt_settings.c */

char *ngx_http_lrt_health_check(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
char *ngx_http_lrt_slow_start(ngx_conf_t *cf, ngx_command_t *cmd, void *conf);
char *ngx_http_lrt_panic(ngx_conf_t *cf, ngx_command_t *cmd, void *conf);
ngx_int_t ngx_http_lrt_check_settings(ngx_conf_t *cf,
    ngx_http_lrt_srv_conf_t *lscf);

/* ngx_http_lrt_check.c: probes of this process */

void ngx_http_lrt_check_tick(ngx_http_lrt_main_conf_t *lmcf, uint64_t now);
void ngx_http_lrt_check_stop(ngx_http_lrt_main_conf_t *lmcf);

/* ngx_http_lrt_reload.c: the configuration meets the tables */

ngx_int_t ngx_http_lrt_init_module(ngx_cycle_t *cycle);
void ngx_http_lrt_merge_pending(ngx_http_lrt_main_conf_t *lmcf);
void ngx_http_lrt_leave_pending(ngx_http_lrt_main_conf_t *lmcf, uint64_t now);
void ngx_http_lrt_report_drained(ngx_http_lrt_main_conf_t *lmcf);

/* ngx_http_lrt_worker.c: this process among the others */

uint64_t ngx_http_lrt_now(void);             /* us, same for all processes */

/* of /proc: the state of a process, and when it began, in ticks of the clock */

ngx_int_t ngx_http_lrt_process_stat(uint64_t pid, u_char *state,
    uint64_t *start);
unsigned ngx_http_lrt_dead(uint64_t pid, uint64_t start);

ngx_int_t ngx_http_lrt_init_process(ngx_cycle_t *cycle);
void ngx_http_lrt_exit_process(ngx_cycle_t *cycle);
void ngx_http_lrt_take_over(ngx_cycle_t *cycle,
    ngx_http_lrt_main_conf_t *before);

/* ngx_http_lrt_balancer.c: requests */

ngx_int_t ngx_http_lrt_init_peer(ngx_http_request_t *r,
    ngx_http_upstream_srv_conf_t *us);

/* ends attempts with servers that had to leave */

void ngx_http_lrt_cut_off(ngx_http_lrt_main_conf_t *lmcf);

void ngx_http_lrt_publish_lag(ngx_http_lrt_main_conf_t *lmcf, uint64_t now);

/* ngx_http_lrt_ask.c: what a request tells the methods */

ngx_int_t ngx_http_lrt_ask(ngx_http_request_t *r,
    ngx_http_lrt_srv_conf_t *lscf, uint64_t now, lrt_ask_t *ask);

/* ngx_http_lrt_sid.c: names of servers in cookies, as of stock methods */

#define NGX_HTTP_LRT_SID_LEN  32

ngx_str_t ngx_http_lrt_sid(const lrt_str_t *name, const lrt_str_t *route,
    u_char *buf);
uint64_t ngx_http_lrt_sid_hash(const ngx_str_t *sid);

/* ngx_http_lrt_api.c */

char *ngx_http_lrt_api(ngx_conf_t *cf, ngx_command_t *cmd, void *conf);

/* an error page of nginx in such a location becomes JSON, or NGX_DECLINED */

ngx_int_t ngx_http_lrt_api_page(ngx_http_request_t *r);
ngx_int_t ngx_http_lrt_api_page_body(ngx_http_request_t *r, ngx_chain_t *in,
    ngx_chain_t **out);

/* ngx_http_lrt_metrics.c */

char *ngx_http_lrt_metrics(ngx_conf_t *cf, ngx_command_t *cmd, void *conf);

/* ngx_http_lrt_dashboard.c */

char *ngx_http_lrt_dashboard(ngx_conf_t *cf, ngx_command_t *cmd, void *conf);

/* ngx_http_lrt_redirect.c */

char *ngx_http_lrt_redirect(ngx_conf_t *cf, ngx_command_t *cmd, void *conf);
ngx_int_t ngx_http_lrt_check_redirects(ngx_conf_t *cf,
    ngx_http_lrt_main_conf_t *lmcf);

/* ngx_http_lrt_match.c: what responses to health probes have to be like */

typedef struct {
    ngx_str_t                        name;
    lrt_match_t                      match;
} ngx_http_lrt_match_t;

char *ngx_http_lrt_match(ngx_conf_t *cf, ngx_command_t *cmd, void *conf);
ngx_http_lrt_match_t *ngx_http_lrt_match_find(ngx_http_lrt_main_conf_t *lmcf,
    ngx_str_t *name);

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
    ngx_str_t                        next;       /* the second best, if known */
    lrt_pick_t                       pick;
    ngx_uint_t                       held;

    uint64_t                         started;    /* us; 0: not yet */
    uint64_t                         ready;      /* the connection is */
    uint64_t                         header;
} ngx_http_lrt_record_t;

/* records do not move: a pointer is good as long as the request */

ngx_http_lrt_record_t *ngx_http_lrt_record(ngx_http_request_t *r);
ngx_http_lrt_record_t *ngx_http_lrt_last_record(ngx_http_request_t *r);
void ngx_http_lrt_name_next(ngx_http_request_t *r, lrt_table_t *t,
    ngx_http_lrt_record_t *record);
ngx_int_t ngx_http_lrt_add_variables(ngx_conf_t *cf);
ngx_int_t ngx_http_lrt_find_variables(ngx_conf_t *cf);

/* ngx_http_lrt_outcome.c: how an attempt ended */

lrt_ended_e ngx_http_lrt_outcome(ngx_http_request_t *r,
    ngx_peer_connection_t *pc, ngx_uint_t state,
    const ngx_http_lrt_record_t *record, lrt_outcome_t *out);

#if (LRT_TEST)
char *ngx_http_lrt_test(ngx_conf_t *cf, ngx_command_t *cmd, void *conf);
#endif


#endif /* _NGX_HTTP_LRT_H_INCLUDED_ */
