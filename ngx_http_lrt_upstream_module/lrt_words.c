
/*
 * Copyright (C) the ngx_http_lrt_upstream_module authors
 */


#include "lrt_words.h"
#include "lrt_atomic.h"


uint64_t
lrt_words_least(const uint64_t *p, uint32_t n)
{
    uint32_t  i;
    uint64_t  word, least;

#define lrt_words_lower(i)                                                    \
    word = lrt_load(&p[i]);                                                   \
    least = (word < least) ? word : least

    least = UINT64_MAX;

    for (i = 0; i + 4 <= n; i += 4) {
        lrt_words_lower(i);
        lrt_words_lower(i + 1);
        lrt_words_lower(i + 2);
        lrt_words_lower(i + 3);
    }

    for ( /* void */ ; i < n; i++) {
        lrt_words_lower(i);
    }

#undef lrt_words_lower

    return least;
}


const uint64_t *
lrt_words_next(const uint64_t *p, const uint64_t *end, uint64_t value)
{
    for ( /* void */ ; end - p >= 4; p += 4) {
        if (lrt_load(p) == value
            || lrt_load(p + 1) == value
            || lrt_load(p + 2) == value
            || lrt_load(p + 3) == value)
        {
            break;
        }
    }

    while (p < end && lrt_load(p) != value) {
        p++;
    }

    return p;
}


uint32_t
lrt_words_count(const uint64_t *p, const uint64_t *end, uint64_t value)
{
    uint32_t  n;

    n = 0;

    for ( /* void */ ; end - p >= 4; p += 4) {
        n += (lrt_load(p) == value)
             + (lrt_load(p + 1) == value)
             + (lrt_load(p + 2) == value)
             + (lrt_load(p + 3) == value);
    }

    for ( /* void */ ; p < end; p++) {
        n += (lrt_load(p) == value);
    }

    return n;
}
