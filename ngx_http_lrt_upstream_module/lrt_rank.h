
/*
 * Copyright (C) the ngx_http_lrt_upstream_module authors
 *
 * Ranks of servers in shared memory: a key for each slot, and the minimum of
 * each block of them, so that the best of 10,000 is found by looking at some
 * two hundred words.
 *
 * Keys are kept up by whoever changes what they are made of, without a lock:
 * store, then compute again, until both agree.  The last one to store saw the
 * last change, so once all are through, keys and minima are exact; if one of
 * them dies in between, the next audit does it.
 */


#ifndef _LRT_RANK_H_INCLUDED_
#define _LRT_RANK_H_INCLUDED_


#include "lrt_method.h"


/* to be called after each change of a slot */

void lrt_rank_touch(lrt_table_t *t, uint32_t slot, uint64_t now);

/* all slots; also finds out when the next shut out server is due */

void lrt_rank_refresh(lrt_table_t *t, uint64_t now);

/* brings back servers whose fail_timeout is over; cheap if there are none */

void lrt_rank_wake(lrt_table_t *t, uint64_t now);
void lrt_rank_wake_at(lrt_table_t *t, uint64_t when);

/* the best key of the tier that this request has not tried */

uint64_t lrt_rank_best(const lrt_view_t *view, uint32_t *blocks);


#endif /* _LRT_RANK_H_INCLUDED_ */
