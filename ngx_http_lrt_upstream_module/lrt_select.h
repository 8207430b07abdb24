
/*
 * Copyright (C) the ngx_http_lrt_upstream_module authors
 *
 * From a request to a slot and back.  No lock: a pick reads one generation,
 * counts itself in, and steps back if the world has moved meanwhile.
 */


#ifndef _LRT_SELECT_H_INCLUDED_
#define _LRT_SELECT_H_INCLUDED_


#include "lrt_ledger.h"
#include "lrt_reason.h"


typedef struct {
    const lrt_tried_t   *tried;
    uint32_t             ntried;
    uint64_t             now;                /* ms */
    uint64_t             wall;               /* ms since the epoch */
    lrt_client_t         client;
    lrt_owned_t         *owned;              /* see lrt_view_t */
    uint32_t             owned_mask;
    uint64_t             sid;                /* server that it knows, or 0 */
    unsigned             explain;            /* fill in all of the reason */
} lrt_ask_t;


/*
 * A server held by a request.  Until lrt_release() its slot is not given to
 * another server, so address and counters may be used even if it is removed.
 */

typedef struct {
    uint64_t             ident;
    uint64_t             generation;
    uint32_t             slot;
    uint32_t             inflight;           /* with this request */
    lrt_owner_t          owner;
    lrt_reason_t         reason;
} lrt_pick_t;


typedef enum {
    LRT_ENDED_WELL = 0,
    LRT_ENDED_FAILED,                /* counts for max_fails */
    LRT_ENDED_SHUT_OUT,              /* and it was the last one allowed */
    LRT_ENDED_UNKNOWN                /* says nothing about the server */
} lrt_ended_e;


/* LRT_OK or LRT_BUSY */

lrt_rc_t lrt_select(lrt_table_t *t, const lrt_owner_t *owner,
    const lrt_ask_t *ask, lrt_pick_t *pick);

/* gives the server back; returns "how", or LRT_ENDED_SHUT_OUT */

lrt_ended_e lrt_release(lrt_table_t *t, const lrt_pick_t *pick,
    lrt_ended_e how, const lrt_outcome_t *out, uint64_t now);

/*
 * A server for a request that only wants to know it: not counted, nor held.
 * Its address is copied to "detail" while it is certain.
 */

lrt_rc_t lrt_select_point(lrt_table_t *t, const lrt_ask_t *ask,
    lrt_pick_t *pick, lrt_detail_t *detail);

/* attempts that a new request may make, as stock nginx counts them */

uint32_t lrt_tries(const lrt_table_t *t);


#endif /* _LRT_SELECT_H_INCLUDED_ */
