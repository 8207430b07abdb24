
/*
 * Copyright (C) the ngx_http_lrt_upstream_module authors
 */


#include "lrt_lease.h"
#include "lrt_atomic.h"


#define lrt_lease_who(word)   ((uint32_t) (word))
#define lrt_lease_when(word)  ((uint32_t) ((word) >> 32))


static unsigned lrt_lease_fresh(uint64_t word, uint64_t now, uint32_t valid);


unsigned
lrt_lease_take(uint64_t *lease, uint32_t who, uint64_t now, uint32_t valid)
{
    uint64_t  word;

    word = lrt_load(lease);

    if (lrt_lease_who(word) != who && lrt_lease_fresh(word, now, valid)) {
        return 0;
    }

    return lrt_cas(lease, word, now << 32 | who);
}


unsigned
lrt_lease_mine(const uint64_t *lease, uint32_t who)
{
    return lrt_lease_who(lrt_load(lease)) == who;
}


unsigned
lrt_lease_taken(const uint64_t *lease, uint64_t now, uint32_t valid)
{
    return lrt_lease_fresh(lrt_load(lease), now, valid);
}


void
lrt_lease_give(uint64_t *lease, uint32_t who)
{
    uint64_t  word;

    word = lrt_load(lease);

    if (lrt_lease_who(word) == who) {
        (void) lrt_cas(lease, word, 0);
    }
}


/* it may just have been renewed, later than the clock was read here */

static unsigned
lrt_lease_fresh(uint64_t word, uint64_t now, uint32_t valid)
{
    int32_t  age;

    age = (int32_t) ((uint32_t) now - lrt_lease_when(word));

    return word && age < (int32_t) valid && age > -(int32_t) valid;
}
