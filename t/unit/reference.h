
/*
 * Copyright (C) the ngx_http_lrt_upstream_module authors
 *
 * A second opinion on each pick: it looks at all servers, keeps its own
 * counts, and knows max_fails as stock nginx has it.
 */


#ifndef _REFERENCE_H_INCLUDED_
#define _REFERENCE_H_INCLUDED_


#include "fixture.h"


typedef struct {
    uint64_t             ident;
    uint32_t             inflight;
    uint32_t             fails;
    uint64_t             accessed;
    uint64_t             checked;
} ref_slot_t;


typedef struct {
    fx_t                *fx;
    ref_slot_t          *slot;           /* [capacity] */

    lrt_pick_t          *held;
    uint32_t             nheld;
    uint32_t             most;           /* to be held at a time */

    unsigned             lone[LRT_TIERS];

    /* what the last pick should be */

    lrt_tier_e           tier;
    uint32_t             usable;         /* 0: nobody */
    uint64_t             least;          /* the least loaded: in flight, */
    uint64_t             weight;         /* and weight */
} ref_t;


void ref_open(ref_t *ref, fx_t *fx, uint32_t most);
void ref_close(ref_t *ref);

/* whether the server may take the request, whatever its tier */

unsigned ref_usable(ref_t *ref, uint32_t slot, const lrt_tried_t *tried,
    uint32_t ntried);

/* looks at all servers before a pick */

void ref_expect(ref_t *ref, const lrt_tried_t *tried, uint32_t ntried);

/*
 * A pick, checked: NULL, or what is wrong with it.  "rc" is the answer; with
 * LRT_OK the request is held.
 */

const char *ref_pick(ref_t *ref, const lrt_tried_t *tried, uint32_t ntried,
    lrt_rc_t *rc);

/* the end of a held request */

const char *ref_end(ref_t *ref, uint32_t i, lrt_ended_e how);

/* to be called after each commit */

void ref_changed(ref_t *ref);


#endif /* _REFERENCE_H_INCLUDED_ */
