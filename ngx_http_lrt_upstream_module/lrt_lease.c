
/*
 * Copyright (C) the ngx_http_lrt_upstream_module authors
 */


#include "lrt_lease.h"
#include "lrt_atomic.h"


/*
 * The word: when, 32 bits; for how long, 10 bits; who, 22 bits, as Linux has no
 * more for a pid.  Nobody, since then: 0 as the lower half.
 */

#define LRT_LEASE_BITS        22

#define lrt_lease_who(word)   ((uint32_t) (word) & ((1 << LRT_LEASE_BITS) - 1))
#define lrt_lease_long(word)  ((uint32_t) (word) >> LRT_LEASE_BITS)
#define lrt_lease_when(word)  ((uint32_t) ((word) >> 32))


static uint64_t lrt_lease_word(uint32_t who, uint64_t now, uint32_t valid);
static int32_t lrt_lease_age(uint64_t word, uint64_t now);
static unsigned lrt_lease_fresh(uint64_t word, uint64_t now);


unsigned
lrt_lease_take(uint64_t *lease, uint32_t who, uint64_t now, uint32_t valid)
{
    uint64_t  word;

    word = lrt_load(lease);

    if (lrt_lease_who(word) != who && lrt_lease_fresh(word, now)) {
        return 0;
    }

    return lrt_cas(lease, word, lrt_lease_word(who, now, valid));
}


unsigned
lrt_lease_mine(const uint64_t *lease, uint32_t who)
{
    return lrt_lease_who(lrt_load(lease)) == who;
}


unsigned
lrt_lease_taken(const uint64_t *lease, uint64_t now)
{
    return lrt_lease_fresh(lrt_load(lease), now);
}


uint32_t
lrt_lease_silent(const uint64_t *lease, uint64_t now)
{
    int32_t  age;

    age = lrt_lease_age(lrt_load(lease), now);

    return (age > 0) ? (uint32_t) age : 0;
}


uint32_t
lrt_lease_vacant(uint64_t *lease, uint64_t now)
{
    int32_t   age;
    uint64_t  word;

    word = lrt_load(lease);

    if (word == 0) {
        (void) lrt_cas(lease, word, lrt_lease_word(0, now, 0));
        return 0;
    }

    age = lrt_lease_age(word, now) - (int32_t) lrt_lease_long(word);

    return (age > 0) ? (uint32_t) age : 0;
}


void
lrt_lease_give(uint64_t *lease, uint32_t who, uint64_t now)
{
    uint64_t  word;

    word = lrt_load(lease);

    if (lrt_lease_who(word) == who) {
        (void) lrt_cas(lease, word, lrt_lease_word(0, now, 0));
    }
}


static uint64_t
lrt_lease_word(uint32_t who, uint64_t now, uint32_t valid)
{
    valid = (valid < LRT_LEASE_MAX) ? valid : LRT_LEASE_MAX;

    return now << 32 | valid << LRT_LEASE_BITS | lrt_lease_who(who);
}


/*
 * It may just have been renewed, later than the clock was read here; what seems
 * to be from much later is from weeks ago.
 */

static int32_t
lrt_lease_age(uint64_t word, uint64_t now)
{
    int32_t  age;

    age = (int32_t) ((uint32_t) now - lrt_lease_when(word));

    return (age > -LRT_LEASE_MAX) ? age : INT32_MAX;
}


static unsigned
lrt_lease_fresh(uint64_t word, uint64_t now)
{
    return lrt_lease_who(word)
           && lrt_lease_age(word, now) < (int32_t) lrt_lease_long(word);
}
