
/*
 * Copyright (C) the ngx_http_lrt_upstream_module authors
 */


#include "lrt_hist.h"
#include "lrt_atomic.h"


uint32_t
lrt_hist_index(uint64_t us)
{
    uint32_t  octave;

    if (us < (uint64_t) 1 << LRT_HIST_FIRST) {
        return 0;
    }

    if (us >= (uint64_t) 1 << LRT_HIST_LAST) {
        return LRT_HIST_BUCKETS - 1;
    }

    octave = 63 - (uint32_t) __builtin_clzll(us);

    return 1 + (octave - LRT_HIST_FIRST) * 4
             + (uint32_t) ((us >> (octave - 2)) & 3);
}


uint64_t
lrt_hist_lower(uint32_t index)
{
    uint32_t  octave;

    if (index == 0) {
        return 0;
    }

    octave = LRT_HIST_FIRST + (index - 1) / 4;

    return (uint64_t) (4 + (index - 1) % 4) << (octave - 2);
}


uint64_t
lrt_hist_upper(uint32_t index)
{
    if (index >= LRT_HIST_BUCKETS - 1) {
        return UINT64_MAX;
    }

    return lrt_hist_lower(index + 1);
}


uint64_t
lrt_hist_quantile(const uint64_t *buckets, uint32_t permille)
{
    uint32_t  i;
    uint64_t  total, rank, seen;

    total = 0;

    for (i = 0; i < LRT_HIST_BUCKETS; i++) {
        total += lrt_load(&buckets[i]);
    }

    if (total == 0) {
        return 0;
    }

    /* divided first: a total of years of requests must not overflow */

    rank = total / 1000 * permille + total % 1000 * permille / 1000;

    seen = 0;

    for (i = 0; i < LRT_HIST_BUCKETS - 1; i++) {
        seen += lrt_load(&buckets[i]);

        if (seen > rank || seen >= total) {
            return (lrt_hist_lower(i) + lrt_hist_upper(i)) / 2;
        }
    }

    return lrt_hist_lower(i);
}


/* within a bucket samples are thought to be spread evenly */

uint64_t
lrt_hist_below(const uint64_t *buckets, uint64_t us)
{
    uint32_t  i, index;
    uint64_t  n, from, width;

    n = 0;
    index = lrt_hist_index(us);

    for (i = 0; i < index; i++) {
        n += buckets[i];
    }

    /* the last bucket has no end */

    if (index == LRT_HIST_BUCKETS - 1) {
        return n;
    }

    from = lrt_hist_lower(index);
    width = lrt_hist_upper(index) - from;

    return n + buckets[index] / width * (us - from)
             + buckets[index] % width * (us - from) / width;
}
