
/*
 * Copyright (C) the ngx_http_lrt_upstream_module authors
 *
 * Groups under least_time, and servers that answered in so much time without
 * having been picked.
 */


#ifndef _TIMED_H_INCLUDED_
#define _TIMED_H_INCLUDED_


#include "fixture.h"
#include "lrt_estimate.h"
#include "lrt_least_time.h"


#define LT                   LRT_METHOD_least_time

#define LT_MS                1000            /* us */

/* answers after which an estimate is as sure as it becomes */

#define LT_SURE              200


/* n servers of weight 1 */

void lt_open(fx_t *fx, uint32_t n, unsigned last_byte, unsigned inflight);

/* requests of somebody else on a server, answered after so long */

void lt_answer(fx_t *fx, uint32_t slot, uint64_t us, uint32_t times);

/* one that ends in another way */

void lt_end(fx_t *fx, uint32_t slot, lrt_ended_e how,
    const lrt_outcome_t *out);

/* the answer to a request that was picked */

void lt_finish(fx_t *fx, const lrt_pick_t *pick, uint64_t us);

/* the slot of the next request, which ends at once and tells nothing */

uint32_t lt_next(fx_t *fx);

/* what the method expects of a server, us */

uint64_t lt_expected(fx_t *fx, uint32_t slot);

/* the word of a server after answers of the same time, the last one at 1 s */

uint64_t lt_word(uint64_t us, uint32_t samples);


#endif /* _TIMED_H_INCLUDED_ */
