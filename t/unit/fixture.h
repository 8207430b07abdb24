
/*
 * Copyright (C) the ngx_http_lrt_upstream_module authors
 *
 * A table and a registry in memory, servers to put into them, changes in one
 * line, and what to do at a kill point.
 */


#ifndef _FIXTURE_H_INCLUDED_
#define _FIXTURE_H_INCLUDED_


#include "lrt_change.h"
#include "lrt_health.h"
#include "lrt_inspect.h"
#include "lrt_ledger.h"
#include "lrt_merge.h"
#include "lrt_method.h"
#include "lrt_passive.h"
#include "lrt_rank.h"
#include "lrt_registry.h"
#include "lrt_select.h"


#define FX_ROWS              LRT_MIN_ROWS

#define RR                   LRT_METHOD_round_robin_ext
#define LC                   LRT_METHOD_least_conn_ext


/* a server with memory for all that it points to */

typedef struct {
    lrt_server_t         server;
    uint8_t              sockaddr[16];
    char                 name[32];
} fx_server_t;


/* all that a snapshot leads to */

typedef struct {
    uint32_t             slot;
    lrt_entry_t          entry;
    lrt_hot_t            hot;
    lrt_detail_t         detail;
} fx_peer_t;


/*
 * In a private fixture each array of the table is a piece of memory of its
 * own, so that the address sanitizer sees a step from one into the next.
 */

typedef struct {
    lrt_table_t          table;
    lrt_registry_t      *reg;
    lrt_owner_t          owner;          /* a claimed row */
    lrt_peer_t          *item;           /* [capacity] for snapshots */
    fx_peer_t           *peer;
    lrt_snapshot_t       snap;
    uint64_t             now;
    void                *piece[32];
    unsigned             pieces;
    unsigned             shared:1;
} fx_t;


void fx_open(fx_t *fx, uint32_t capacity);

/* contiguous and shared with processes that are forked later */

void fx_open_shared(fx_t *fx, uint32_t capacity);
void fx_close(fx_t *fx);

/* another row of the registry, as another worker has */

lrt_owner_t fx_claim(fx_t *fx, uint64_t pid);

/* address and name follow from the number; weight 1, max_fails 0 */

void fx_server(fx_server_t *s, uint32_t number, unsigned backup);
uint32_t fx_number(const void *sockaddr);

/* single changes; "add" returns the ident or 0 */

lrt_rc_t fx_commit(fx_t *fx, lrt_change_t *changes, uint32_t n);
uint64_t fx_add(fx_t *fx, uint32_t number, const lrt_params_t *params);
lrt_rc_t fx_remove(fx_t *fx, uint64_t ident);
lrt_rc_t fx_modify(fx_t *fx, uint64_t ident, const lrt_params_t *params,
    uint32_t fields);
lrt_rc_t fx_method(fx_t *fx, uint32_t method);
lrt_params_t fx_params(uint32_t weight);

lrt_rc_t fx_settings(fx_t *fx, const lrt_settings_t *settings);

/* an http check of "/", and the end of a probe that took so long, us */

lrt_check_t fx_check(unsigned fails, unsigned passes);
lrt_rc_t fx_probe(fx_t *fx, uint32_t slot, uint32_t check, lrt_probed_e how,
    uint64_t us, lrt_turn_t *turn);

/* n servers with the given weights, in one commit */

lrt_rc_t fx_fill(fx_t *fx, const lrt_params_t *params, uint32_t n);

/* requests of the fixture's own worker */

lrt_rc_t fx_pick(fx_t *fx, lrt_pick_t *pick);
lrt_rc_t fx_retry(fx_t *fx, const lrt_tried_t *tried, uint32_t n,
    lrt_pick_t *pick);
lrt_ended_e fx_end(fx_t *fx, const lrt_pick_t *pick, lrt_ended_e how);

/* NULL if all holds that must hold when nothing is in between */

const char *fx_quiet(fx_t *fx);

lrt_entry_t *fx_entry(fx_t *fx, uint32_t slot);
void fx_snapshot(fx_t *fx);

/*
 * What happens at kill points: nothing, or a jump out of the function as if
 * its process had died, or a call of somebody else who comes between.
 */

extern void     (*fx_between)(unsigned point);

/* true if "what" came to the point and died there */

unsigned fx_killed(unsigned point, void (*what)(void *), void *arg);

/* a commit that is killed */

unsigned fx_commit_killed(fx_t *fx, unsigned point, lrt_change_t *changes,
    uint32_t n);


#endif /* _FIXTURE_H_INCLUDED_ */
