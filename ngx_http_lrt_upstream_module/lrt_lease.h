
/*
 * Copyright (C) the ngx_http_lrt_upstream_module authors
 *
 * One process at a time does something for all: a word in shared memory says
 * who, and when he last said so.  Who is late has lost it.
 */


#ifndef _LRT_LEASE_H_INCLUDED_
#define _LRT_LEASE_H_INCLUDED_


#include "lrt_types.h"


/* takes or renews it; false if somebody else has it.  Times are ms */

unsigned lrt_lease_take(uint64_t *lease, uint32_t who, uint64_t now,
    uint32_t valid);

/* whether he was the last to have it, and whether anybody has it now */

unsigned lrt_lease_mine(const uint64_t *lease, uint32_t who);
unsigned lrt_lease_taken(const uint64_t *lease, uint64_t now, uint32_t valid);

/* the next one need not wait */

void lrt_lease_give(uint64_t *lease, uint32_t who);


#endif /* _LRT_LEASE_H_INCLUDED_ */
