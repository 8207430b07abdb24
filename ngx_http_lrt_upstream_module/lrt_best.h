
/*
 * Copyright (C) the ngx_http_lrt_upstream_module authors
 *
 * The search for the best rank (see lrt_rank.h) among the servers of a tier,
 * and the choice among those that share it.
 */


#ifndef _LRT_BEST_H_INCLUDED_
#define _LRT_BEST_H_INCLUDED_


#include "lrt_method.h"


#define LRT_BEST_SETS        4

/* the best rank of servers that the request has not tried */

typedef struct {
    uint64_t             key;                /* LRT_KEY_NEVER: there is none */
    uint32_t             blocks;             /* that hold it */
    uint64_t             set[LRT_BEST_SETS]; /* which of the first ones do */
} lrt_best_t;


void lrt_best_find(const lrt_view_t *view, lrt_best_t *best);

/* the pick of methods that take the best rank; equal ones take turns */

uint32_t lrt_best_pick(const lrt_view_t *view);


#endif /* _LRT_BEST_H_INCLUDED_ */
