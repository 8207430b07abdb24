
/*
 * Copyright (C) the ngx_http_lrt_upstream_module authors
 *
 * Ranks of servers in shared memory: a key for each slot, and the minimum of
 * each block of them, so that the best of 10,000 is found by looking at some
 * two hundred words (see lrt_best.h).
 *
 * Keys are kept up by whoever changes what they are made of, without a lock:
 * store, then compute again, until both agree.  The last one to store saw the
 * last change, so once all are through, keys and minima are exact; if one of
 * them dies in between, the next audit does it.
 *
 * The part of a key that costs most to compute and that requests in flight do
 * not change is kept as well, as the cost of the slot, in the same way.
 */


#ifndef _LRT_RANK_H_INCLUDED_
#define _LRT_RANK_H_INCLUDED_


#include "lrt_method.h"


/* to be called after each change of a slot */

void lrt_rank_touch(lrt_table_t *t, uint32_t slot, uint64_t now);

/* after one that does not change its cost, as a request that comes or goes */

void lrt_rank_counted(lrt_table_t *t, uint32_t slot, uint64_t now);

/* all slots; also finds out when the next shut out server is due */

void lrt_rank_refresh(lrt_table_t *t, uint64_t now);

/* the estimate of a server changed, and so what is typical of the group */

void lrt_rank_learned(lrt_table_t *t, uint64_t before, uint64_t after,
    uint64_t now);

/* brings back servers whose fail_timeout is over; cheap if there are none */

void lrt_rank_wake(lrt_table_t *t, uint64_t now);
void lrt_rank_wake_at(lrt_table_t *t, uint64_t when);

/*
 * What the rank of a server is made of now: for people, who may have a copy
 * of "hot"; and for a rank, with what its probes say.
 */

void lrt_rank_score(const lrt_table_t *t, lrt_score_t *score,
    const lrt_policy_t *policy, const lrt_params_t *params,
    const lrt_hot_t *hot, uint64_t now);
void lrt_rank_score_slot(const lrt_table_t *t, lrt_score_t *score,
    const lrt_policy_t *policy, const lrt_params_t *params, uint32_t slot,
    uint64_t now);


#endif /* _LRT_RANK_H_INCLUDED_ */
