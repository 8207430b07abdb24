
/*
 * Copyright (C) the ngx_http_lrt_upstream_module authors
 *
 * Which servers may take requests, and how much of their part: health,
 * max_fails, max_conns, slow start and panic meet here and nowhere else.
 */


#ifndef _LRT_RULES_H_INCLUDED_
#define _LRT_RULES_H_INCLUDED_


#include "lrt_passive.h"
#include "lrt_ramp.h"


/* what holds in a tier at a moment, beside what is known of each server */

typedef struct {
    uint64_t             slow_start;         /* ms, without one of its own */
    uint32_t             lone;               /* never shut out by max_fails */
    uint32_t             panic;              /* health does not count */
    uint32_t             carried;            /* see lrt_rules_conns() */
} lrt_rules_t;


void lrt_rules(const lrt_table_t *t, uint64_t generation, lrt_tier_e tier,
    lrt_rules_t *rules);

/*
 * Whether the server in the slot may take this request; every method and the
 * ranks ask here and nowhere else.
 */

unsigned lrt_usable(const lrt_entry_t *entry, const lrt_hot_t *hot,
    const lrt_rules_t *rules, uint64_t now);

/* whatever the rules are: most servers, most of the time */

#define lrt_usable_anyway(entry, hot)                                         \
    ((entry)->ident                                                           \
     && !(entry)->params.drain                                                \
     && !(entry)->params.down                                                 \
     && (entry)->params.forced != LRT_FORCED_DOWN                             \
     && (entry)->params.max_conns == 0                                        \
     && lrt_well(&(entry)->params, hot, 0))

/* the same for clients that are bound to it, which may finish on a drain */

unsigned lrt_usable_bound(const lrt_entry_t *entry, const lrt_hot_t *hot,
    const lrt_rules_t *rules, uint64_t now);

/*
 * Nothing is known against an active server.  One that max_fails has shut out
 * is not well before a trial has succeeded, so this changes by events only.
 */

#define lrt_well(params, hot, lone)                                           \
    ((params)->forced == LRT_FORCED_UP                                        \
     || (!(lrt_load(&(hot)->health) & LRT_HEALTH_OUT)                         \
         && ((lone) || !lrt_passive_full(params, hot))))

/*
 * Requests that the server may have at a time, 0: any number.  In its slow
 * start it has a part of max_conns, if "carried": as long as another one of
 * the tier is well and carries its whole load.  Else nobody would be helped.
 */

uint32_t lrt_rules_conns(const lrt_rules_t *rules, const lrt_params_t *params,
    const lrt_hot_t *hot, uint64_t now);


#endif /* _LRT_RULES_H_INCLUDED_ */
