
/*
 * Copyright (C) the ngx_http_lrt_upstream_module authors
 */


#include "lrt_quiet.h"
#include "lrt_atomic.h"


/* the word: when the minute began, and its lines so far */

#define lrt_quiet_lines(word)  ((uint32_t) (word))
#define lrt_quiet_since(word)  ((uint32_t) ((word) >> 32))


static unsigned lrt_quiet_ended(uint64_t word, uint64_t now);


lrt_quiet_e
lrt_quiet(uint64_t *word, uint64_t now)
{
    uint32_t  lines;
    uint64_t  old, new;

    old = lrt_load(word);

    do {
        new = (old == 0 || lrt_quiet_ended(old, now)) ? now << 32 | 1 : old + 1;

    } while (!lrt_cas(word, old, new));

    lines = lrt_quiet_lines(new);

    return (lines < LRT_QUIET_LINES)    ? LRT_QUIET_SAY
           : (lines == LRT_QUIET_LINES) ? LRT_QUIET_LAST
                                        : LRT_QUIET_NOT;
}


uint32_t
lrt_quiet_over(uint64_t *word, uint64_t now)
{
    uint64_t  old;

    old = lrt_load(word);

    if (lrt_quiet_lines(old) <= LRT_QUIET_LINES
        || !lrt_quiet_ended(old, now)
        || !lrt_cas(word, old, 0))
    {
        return 0;
    }

    return lrt_quiet_lines(old);
}


/* "now" of another process may be some milliseconds older */

static unsigned
lrt_quiet_ended(uint64_t word, uint64_t now)
{
    uint32_t  age;

    age = (uint32_t) now - lrt_quiet_since(word);

    return age >= LRT_QUIET_TIME && age < UINT32_MAX - LRT_QUIET_TIME;
}
