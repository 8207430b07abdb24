
/*
 * Copyright (C) the ngx_http_lrt_upstream_module authors
 *
 * One process at a time does something for all: a word in shared memory says
 * who, when he last said so, and for how long that is good.  Who is late may
 * lose it.  As the word says how long, processes that would give another
 * length, of another configuration, agree on whether somebody is late.
 */


#ifndef _LRT_LEASE_H_INCLUDED_
#define _LRT_LEASE_H_INCLUDED_


#include "lrt_types.h"


#define LRT_LEASE_MAX  1023                  /* ms */


/* takes or renews it; false if somebody else has it.  Times are ms */

unsigned lrt_lease_take(uint64_t *lease, uint32_t who, uint64_t now,
    uint32_t valid);

/* whether he was the last to have it, and whether anybody has it now */

unsigned lrt_lease_mine(const uint64_t *lease, uint32_t who);
unsigned lrt_lease_taken(const uint64_t *lease, uint64_t now);

/* since it was last taken, renewed or given away */

uint32_t lrt_lease_silent(const uint64_t *lease, uint64_t now);

/*
 * For how long nobody has had it, 0: somebody has.  With one that nobody ever
 * had this begins when it is first asked.
 */

uint32_t lrt_lease_vacant(uint64_t *lease, uint64_t now);

/* the next one need not wait */

void lrt_lease_give(uint64_t *lease, uint32_t who, uint64_t now);


#endif /* _LRT_LEASE_H_INCLUDED_ */
