
/*
 * Copyright (C) the ngx_http_lrt_upstream_module authors
 *
 * Looking at a table that is alive: a consistent copy for those who print it,
 * and a check of all that must hold in it.
 */


#ifndef _LRT_INSPECT_H_INCLUDED_
#define _LRT_INSPECT_H_INCLUDED_


#include "lrt_change.h"
#include "lrt_ledger.h"
#include "lrt_method.h"


typedef struct {
    uint32_t             slot;
    lrt_entry_t          entry;
} lrt_peer_t;


typedef struct {
    uint64_t             generation;
    lrt_policy_t         policy;
    lrt_settings_t       settings;
    uint32_t             n;              /* servers in the group */
    uint32_t             copied;         /* those that "peer" had room for */
    uint32_t             zombies;        /* removed, but still held */
    uint32_t             room;           /* slots for new servers */
    lrt_rules_t          rules[LRT_TIERS];
    uint32_t             well[LRT_TIERS];    /* see lrt_census.h */
    uint64_t             shares[LRT_TIERS];  /* sum of lrt_peer_share() */
} lrt_snapshot_t;


/* the words of NGINX Plus, worst last */

typedef enum {
    LRT_STATE_UP = 0,
    LRT_STATE_DRAINING,
    LRT_STATE_DOWN,
    LRT_STATE_UNAVAIL,
    LRT_STATE_CHECKING,
    LRT_STATE_UNHEALTHY,
    LRT_STATES
} lrt_state_e;


/*
 * Servers in order of age, primaries first; all of one generation.  LRT_BUSY
 * if writers came between each time.
 */

lrt_rc_t lrt_snapshot(const lrt_table_t *t, lrt_snapshot_t *snap,
    lrt_peer_t *peer, uint32_t max, uint64_t now);

/*
 * The rest of a server, of this moment; either may be NULL.  LRT_MISSING if it
 * was removed meanwhile.
 */

lrt_rc_t lrt_peer_copy(const lrt_table_t *t, const lrt_peer_t *peer,
    lrt_hot_t *hot, lrt_detail_t *detail);

/* the same of what checks have found; LRT_MISSING */

lrt_rc_t lrt_peer_health(const lrt_table_t *t, const lrt_peer_t *peer,
    lrt_health_t *health);

lrt_state_e lrt_peer_state(const lrt_snapshot_t *snap, const lrt_peer_t *peer,
    const lrt_hot_t *hot, uint64_t now);

/*
 * Since when requests have not gone there, ms: because of checks, or in
 * "unavail" of the last failure.  0: they do, or somebody wants it so.
 */

uint64_t lrt_peer_out_since(lrt_state_e state, const lrt_hot_t *hot);

/* all the time that it was so, ms; of what requests have found, that of now */

uint64_t lrt_peer_downtime(lrt_state_e state, const lrt_hot_t *hot,
    const lrt_health_t *health, uint64_t now);

/* the part of its load that a server in its slow start gets; 1000: all */

uint32_t lrt_peer_ramp(const lrt_snapshot_t *snap, const lrt_peer_t *peer,
    const lrt_hot_t *hot, uint64_t now);

/* as many requests as it may have */

unsigned lrt_peer_busy(const lrt_peer_t *peer, const lrt_hot_t *hot);

/* its address is in the other tier as well */

unsigned lrt_peer_twin(const lrt_table_t *t, const lrt_peer_t *peer);

/* the requests that it should get now, in parts of those of its tier */

uint64_t lrt_peer_share(const lrt_table_t *t, const lrt_snapshot_t *snap,
    const lrt_peer_t *peer, uint64_t now);

/*
 * NULL, or what is wrong.  The writers' lock must be held.  "quiet": no
 * request is being picked or ended, so counts and ranks must agree as well.
 */

const char *lrt_table_validate(const lrt_table_t *t, const lrt_registry_t *reg,
    unsigned quiet, uint64_t now);

/* a text of one line per server, for tests and debugging; returns its end */

char *lrt_table_dump(const lrt_table_t *t, char *p, char *last);


#endif /* _LRT_INSPECT_H_INCLUDED_ */
