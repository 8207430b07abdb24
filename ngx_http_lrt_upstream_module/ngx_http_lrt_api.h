
/*
 * Copyright (C) the ngx_http_lrt_upstream_module authors
 *
 * What the files of the API share.  A request is a chain of steps: each does
 * a bounded piece of work and says what comes next, so that a list of 10,000
 * servers delays nobody.
 */


#ifndef _NGX_HTTP_LRT_API_H_INCLUDED_
#define _NGX_HTTP_LRT_API_H_INCLUDED_


#include "ngx_http_lrt.h"
#include "ngx_http_lrt_out.h"
#include "ngx_http_lrt_spec.h"
#include "lrt_health.h"
#include "lrt_split.h"


/* a step works for so long, and writes so much, before others get a turn */

#define NGX_HTTP_LRT_API_SLICE   500        /* us */
#define NGX_HTTP_LRT_API_CHUNK   65536
#define NGX_HTTP_LRT_API_FEW     256         /* servers */


typedef struct ngx_http_lrt_api_s  ngx_http_lrt_api_t;

/*
 * NGX_OK        the answer is in "out", or "write" will bring it
 * NGX_DECLINED  "fault" is the answer
 * NGX_AGAIN     call api->step again after api->wait ms
 * NGX_ERROR     out of memory
 */

typedef ngx_int_t (*ngx_http_lrt_api_pt)(ngx_http_lrt_api_t *api);

typedef ngx_int_t (*ngx_http_lrt_api_commit_pt)(ngx_http_lrt_api_t *api,
    lrt_change_set_t *set);


struct ngx_http_lrt_api_s {
    ngx_http_request_t              *request;
    ngx_http_lrt_main_conf_t        *main;
    ngx_http_lrt_loc_conf_t         *conf;

    /* from the path */

    ngx_str_t                        upstream;
    ngx_str_t                        id;
    ngx_http_lrt_srv_conf_t         *group;

    ngx_http_lrt_api_pt              step;
    ngx_msec_t                       wait;
    ngx_event_t                      event;
    uint64_t                         deadline;   /* ms, of what is waited for */

    /* the answer */

    ngx_uint_t                       status;
    ngx_http_lrt_fault_t             fault;
    ngx_http_lrt_out_t               out;
    ngx_http_lrt_api_pt              write;      /* NGX_AGAIN: there is more */
    ngx_str_t                        type;
    ngx_str_t                        fields;
    uint64_t                         tag;        /* generation for ETag, or 0 */
    unsigned                         complete:1;
    unsigned                         answered:1;
    unsigned                         page:1;     /* in place of nginx' own */

    /* lists that are written in steps */

    ngx_uint_t                       n;          /* group */
    uint32_t                         next;       /* server of it */
    unsigned                         opened:1;
    lrt_snapshot_t                   snap;
    lrt_peer_t                      *peer;
    uint32_t                         npeers;     /* room in "peer" */
    uint64_t                         now;        /* ms, of the snapshot */
    lrt_detail_t                     detail;
    lrt_hot_t                        hot;
    lrt_health_t                     health;

    const char                      *list_key;
    uint64_t                         index;      /* that the client has */

    /* servers of all groups */

    ngx_array_t                      groups;
    ngx_array_t                      peers;

    /* changes */

    lrt_split_t                      split;
    ngx_chain_t                     *body;
    off_t                            body_pos;   /* within the buffer */
    uint64_t                         bytes;      /* looked at */
    u_char                          *piece;      /* of a body in a file */
    ngx_buf_t                       *object;     /* text of one */
    ngx_http_lrt_api_pt              then;
    ngx_array_t                      specs;      /* ngx_http_lrt_spec_t */
    uint32_t                         extra;     /* for which there is no room */
    lrt_change_t                    *changes;
    ngx_http_lrt_api_commit_pt       commit;
    lrt_plan_t                       plan;       /* of a list */
    lrt_change_set_t                 planned;
    uint8_t                         *seen;       /* slots; see lrt_plan.h */
    ngx_int_t                        verdict;    /* on it */
    ngx_uint_t                       outdated;   /* plans that were */
    uint32_t                         cleared;    /* free slots */
    ngx_uint_t                       dry;
    ngx_http_lrt_group_spec_t       *settings;   /* the body is of a group */
    ngx_uint_t                       probes;     /* checks that can be asked */
    uint64_t                         hidden;     /* ident, left out of lists */
    ngx_uint_t                       drain;
    uint64_t                         drain_time;     /* ms */
    ngx_uint_t                       force;
};


/* ngx_http_lrt_api.c: a request, from this step on */

ngx_int_t ngx_http_lrt_api_begin(ngx_http_request_t *r,
    ngx_http_lrt_api_pt step);

/* goes on after ms, 0: as soon as others had their turn */

void ngx_http_lrt_api_later(ngx_http_lrt_api_t *api, ngx_msec_t ms);

/* whether a step has worked long enough */

ngx_uint_t ngx_http_lrt_api_tired(uint64_t since);

/* another step; with many servers others have a turn before */

ngx_int_t ngx_http_lrt_api_next(ngx_http_lrt_api_t *api,
    ngx_http_lrt_api_pt step);

/* ngx_http_lrt_api_route.c: the first step */

ngx_int_t ngx_http_lrt_api_route(ngx_http_lrt_api_t *api);

/* the group that api->upstream names: NGX_DECLINED */

ngx_int_t ngx_http_lrt_api_group(ngx_http_lrt_api_t *api);

/* value of an argument of the query, decoded; NGX_DECLINED if it has none */

ngx_int_t ngx_http_lrt_api_arg(ngx_http_lrt_api_t *api, const char *name,
    ngx_str_t *value);

/* "dry_run" is in the query */

ngx_uint_t ngx_http_lrt_api_dry(ngx_http_lrt_api_t *api);

/* value of a request header, or NULL; the name in lower case */

ngx_str_t *ngx_http_lrt_api_header(ngx_http_request_t *r, const char *name);

/* ngx_http_lrt_api_answer.c: from the first byte, and from where it was left */

void ngx_http_lrt_api_answer(ngx_http_lrt_api_t *api);
void ngx_http_lrt_api_send(ngx_http_lrt_api_t *api);
ngx_table_elt_t *ngx_http_lrt_api_add_header(ngx_http_request_t *r,
    const char *name, const char *value);

/*
 * The generation that If-Match demands of the group, 0 for any; NGX_DECLINED
 * if it is not the one in force.
 */

ngx_int_t ngx_http_lrt_api_expected(ngx_http_lrt_api_t *api,
    uint64_t *generation);

/* ngx_http_lrt_api_error.c: api->fault into api->out */

void ngx_http_lrt_api_refuse(ngx_http_lrt_api_t *api);

/* says where in the body, or in a list, api->fault is */

void ngx_http_lrt_api_fault_place(ngx_http_lrt_api_t *api);

/* ngx_http_lrt_api_status.c: documents to read */

ngx_int_t ngx_http_lrt_api_root(ngx_http_lrt_api_t *api);
ngx_int_t ngx_http_lrt_api_http(ngx_http_lrt_api_t *api);
ngx_int_t ngx_http_lrt_api_nginx(ngx_http_lrt_api_t *api);
ngx_int_t ngx_http_lrt_api_processes(ngx_http_lrt_api_t *api);
ngx_int_t ngx_http_lrt_api_connections(ngx_http_lrt_api_t *api);
ngx_int_t ngx_http_lrt_api_requests(ngx_http_lrt_api_t *api);
ngx_int_t ngx_http_lrt_api_slabs(ngx_http_lrt_api_t *api);
ngx_int_t ngx_http_lrt_api_slab(ngx_http_lrt_api_t *api);
ngx_int_t ngx_http_lrt_api_empty(ngx_http_lrt_api_t *api);
ngx_int_t ngx_http_lrt_api_empty_list(ngx_http_lrt_api_t *api);

/* ngx_http_lrt_api_peers.c: groups and servers to read */

ngx_int_t ngx_http_lrt_api_upstreams(ngx_http_lrt_api_t *api);
ngx_int_t ngx_http_lrt_api_upstream(ngx_http_lrt_api_t *api);
ngx_int_t ngx_http_lrt_api_servers(ngx_http_lrt_api_t *api);
ngx_int_t ngx_http_lrt_api_server(ngx_http_lrt_api_t *api);
ngx_int_t ngx_http_lrt_api_one_upstream(ngx_http_lrt_api_t *api);
ngx_int_t ngx_http_lrt_api_one_server(ngx_http_lrt_api_t *api,
    const lrt_peer_t *peer);
ngx_int_t ngx_http_lrt_api_write_servers(ngx_http_lrt_api_t *api);
void ngx_http_lrt_api_method_text(ngx_http_lrt_api_t *api, const char *key,
    const lrt_policy_t *policy);

/* the group's servers into api->peer; NGX_DECLINED */

ngx_int_t ngx_http_lrt_api_snapshot(ngx_http_lrt_api_t *api);

/* the server that the path names, by id or address: NGX_DECLINED */

ngx_int_t ngx_http_lrt_api_find(ngx_http_lrt_api_t *api, lrt_peer_t *peer);
ngx_int_t ngx_http_lrt_api_not_found(ngx_http_lrt_api_t *api);

/* by lrt_state_e */

extern const char *const  ngx_http_lrt_state_words[];

/*
 * ngx_http_lrt_api_health.c: what is known of api->health and api->hot, in the
 * wire format and beyond it.
 */

void ngx_http_lrt_api_health(ngx_http_lrt_api_t *api, lrt_state_e state);
void ngx_http_lrt_api_health_more(ngx_http_lrt_api_t *api);

/* checks of the group that nobody can ask, left out if there are none */

void ngx_http_lrt_api_skipped(ngx_http_lrt_api_t *api);

/* POST: a probe now */

ngx_int_t ngx_http_lrt_api_check(ngx_http_lrt_api_t *api);

/* the time of day at a moment of our clock, both in ms */

uint64_t ngx_http_lrt_api_wall(ngx_http_lrt_api_t *api, uint64_t ms);

/* when the last probe of a check began, of our clock; 0 if none has ended */

uint64_t ngx_http_lrt_api_checked(ngx_http_lrt_api_t *api, ngx_uint_t check);

/*
 * ngx_http_lrt_api_commit.c: "commit" will be the next step, under the
 * writers' lock as soon as it is free, with room for n changes.
 */

ngx_int_t ngx_http_lrt_api_locked(ngx_http_lrt_api_t *api, ngx_uint_t n,
    ngx_http_lrt_api_commit_pt commit);
ngx_int_t ngx_http_lrt_api_commit(ngx_http_lrt_api_t *api,
    lrt_change_set_t *set);
ngx_int_t ngx_http_lrt_api_full(ngx_http_lrt_api_t *api, uint32_t added);

/* one line for each change: who, what, from, to, generation */

void ngx_http_lrt_api_log(ngx_http_lrt_api_t *api, const lrt_change_set_t *set,
    const char *fmt, ...);
u_char *ngx_http_lrt_api_log_params(u_char *p, u_char *last,
    const lrt_params_t *from, const lrt_params_t *to, uint32_t fields);

/* ngx_http_lrt_api_group.c: beyond NGINX Plus */

ngx_int_t ngx_http_lrt_api_wait_idle(ngx_http_lrt_api_t *api);
ngx_int_t ngx_http_lrt_api_wait_changed(ngx_http_lrt_api_t *api);
ngx_int_t ngx_http_lrt_api_ready(ngx_http_lrt_api_t *api);
ngx_int_t ngx_http_lrt_api_reset_server(ngx_http_lrt_api_t *api);

/* sets the end of waiting by an argument; then: NGX_DECLINED if it is over */

ngx_int_t ngx_http_lrt_api_wait(ngx_http_lrt_api_t *api, const char *name,
    uint64_t usual);
ngx_int_t ngx_http_lrt_api_poll(ngx_http_lrt_api_t *api, ngx_uint_t done);

/* ngx_http_lrt_api_settings.c: PATCH of a group */

ngx_int_t ngx_http_lrt_api_set_group(ngx_http_lrt_api_t *api);

/* ngx_http_lrt_api_config.c: a group as a configuration */

ngx_int_t ngx_http_lrt_api_config(ngx_http_lrt_api_t *api);

/* ngx_http_lrt_api_change.c */

/* its address is in the group, in whatever tier */

ngx_uint_t ngx_http_lrt_api_has(ngx_http_lrt_api_t *api,
    const lrt_server_t *server);

ngx_int_t ngx_http_lrt_api_add(ngx_http_lrt_api_t *api);
ngx_int_t ngx_http_lrt_api_replace(ngx_http_lrt_api_t *api);
ngx_int_t ngx_http_lrt_api_modify(ngx_http_lrt_api_t *api);
ngx_int_t ngx_http_lrt_api_remove(ngx_http_lrt_api_t *api);
ngx_int_t ngx_http_lrt_api_reset(ngx_http_lrt_api_t *api);

/* ngx_http_lrt_api_body.c: the request's body into api->specs, then "then" */

ngx_int_t ngx_http_lrt_api_read_body(ngx_http_lrt_api_t *api,
    ngx_http_lrt_api_pt then);


#endif /* _NGX_HTTP_LRT_API_H_INCLUDED_ */
