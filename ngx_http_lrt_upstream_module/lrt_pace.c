
/*
 * Copyright (C) the ngx_http_lrt_upstream_module authors
 */


#include "lrt_pace.h"
#include "lrt_estimate.h"


/* the word: two logarithms of 20 bits, and the number of samples */

#define LRT_PACE_BITS        20
#define LRT_PACE_MASK        (((uint64_t) 1 << LRT_PACE_BITS) - 1)

/* less than a quarter of an octave is chance, more than three say no more */

#define LRT_PACE_CHANCE      (LRT_LOG_ONE / 4)
#define LRT_PACE_MOST        (3 * LRT_LOG_ONE)

/* so much less than the mean is no chance */

#define LRT_PACE_CLEARLY     (LRT_LOG_ONE * 5 / 4)


uint64_t
lrt_pace_add(uint64_t word, uint64_t us, unsigned fresh)
{
    int64_t   now, log;
    uint64_t  n, then;

    n = lrt_pace_samples(word);
    n += (n < LRT_PACE_SAMPLES);

    now = lrt_pace_now(word);
    log = lrt_estimate_us(us);

    now += (log - now) / (int64_t) n;
    then = fresh ? (uint64_t) now : lrt_pace_then(word);

    return lrt_pace_make((uint32_t) now, (uint32_t) then, (uint32_t) n);
}


unsigned
lrt_pace_recovers(uint64_t word, uint64_t us)
{
    return lrt_pace_now(word) > lrt_estimate_us(us) + LRT_PACE_CLEARLY;
}


uint64_t
lrt_pace_make(uint32_t now, uint32_t then, uint32_t samples)
{
    return (uint64_t) samples << (2 * LRT_PACE_BITS)
           | (uint64_t) then << LRT_PACE_BITS | now;
}


uint32_t
lrt_pace_samples(uint64_t word)
{
    return (uint32_t) (word >> (2 * LRT_PACE_BITS));
}


uint32_t
lrt_pace_now(uint64_t word)
{
    return (uint32_t) (word & LRT_PACE_MASK);
}


uint32_t
lrt_pace_then(uint64_t word)
{
    return (uint32_t) (word >> LRT_PACE_BITS & LRT_PACE_MASK);
}


uint32_t
lrt_pace_scale(uint32_t log, uint32_t pace, uint32_t usual)
{
    int64_t  change, scaled;

    if (pace == 0 || usual == 0) {
        return log;
    }

    change = (int64_t) pace - usual;

    if (change > LRT_PACE_CHANCE) {
        change -= LRT_PACE_CHANCE;

    } else if (change < -LRT_PACE_CHANCE) {
        change += LRT_PACE_CHANCE;

    } else {
        return log;
    }

    change = (change < LRT_PACE_MOST) ? change : LRT_PACE_MOST;
    change = (change > -LRT_PACE_MOST) ? change : -LRT_PACE_MOST;

    /* 0 is unknown */

    scaled = (int64_t) log + change;

    return (scaled > 0) ? (uint32_t) scaled : 1;
}
