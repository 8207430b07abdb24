
/*
 * Copyright (C) the ngx_http_lrt_upstream_module authors
 *
 * Why a server was chosen, in numbers.
 */


#ifndef _LRT_REASON_H_INCLUDED_
#define _LRT_REASON_H_INCLUDED_


#include "lrt_method.h"


typedef enum {
    LRT_WHY_TURN = 0,                /* its turn in weighted order */
    LRT_WHY_BEST,                    /* the best rank */
    LRT_WHY_TIE,                     /* its turn among the best */
    LRT_WHY_TRIAL,                   /* slow, to see whether it still is */
    LRT_WHY_OWNER,                   /* the client is its */
    LRT_WHY_SPILL,                   /* the client's server takes none */
    LRT_WHY_NO_CLIENT,               /* its turn, for want of a key */
    LRT_WHY_SHARE,                   /* its share of those sent on */
    LRT_WHY_BOUND                    /* the request knows it by name */
} lrt_why_e;


/* a server at the moment of the choice */

typedef struct {
    uint32_t             slot;       /* or LRT_NONE */
    uint32_t             weight;
    uint32_t             inflight;   /* without this request */
    uint64_t             estimate;   /* see lrt_estimate.h */
    uint64_t             key;
} lrt_candidate_t;


/* microseconds; 0: unknown */

#define lrt_candidate_time(c)                                                 \
    lrt_estimate_time(lrt_estimate_log((c)->estimate))


typedef struct {
    uint32_t             method;
    lrt_why_e            why;
    lrt_candidate_t      chosen;
    lrt_candidate_t      next;       /* what it would have been else */
} lrt_reason_t;


/* the numbers of the chosen server only; costs next to nothing */

void lrt_reason_chosen(const lrt_view_t *view, uint32_t slot,
    lrt_reason_t *reason);

/* the rest; looks at all servers */

void lrt_reason_explain(const lrt_view_t *view, unsigned point,
    lrt_reason_t *reason);


#endif /* _LRT_REASON_H_INCLUDED_ */
