
/*
 * Copyright (C) the ngx_http_lrt_upstream_module authors
 */


#include "lrt_tail.h"
#include "lrt_errors.h"
#include "lrt_estimate.h"


/* 11 times as long is far, in octaves */

#define LRT_TAIL_FAR         (LRT_LOG_ONE * 7 / 2)

/* weights of an answer */

#define LRT_TAIL_ANSWERS     1024

/*
 * Where answers differ by chance alone, however much, about a fourth or less of
 * those that are far are even 32 times as long.
 */

#define LRT_TAIL_STALLS      4

/* of exponential times one in 570 is far, of lognormal ones, cv 2, one in 36 */

#define LRT_TAIL_HEAVY       (LRT_STALLS_ONE / 32)


#define lrt_tail(far, stalls) ((uint64_t) (far) << 32 | (stalls))


static uint32_t lrt_tail_mean(uint32_t part, unsigned one);


uint64_t
lrt_tail_add(uint64_t word, uint32_t above)
{
    return lrt_tail(lrt_tail_mean(lrt_tail_far(word), above > LRT_TAIL_FAR),
                    lrt_tail_mean(lrt_tail_stalls(word), above > LRT_STALL));
}


uint32_t
lrt_tail_far(uint64_t word)
{
    return (uint32_t) (word >> 32);
}


uint32_t
lrt_tail_stalls(uint64_t word)
{
    return (uint32_t) word;
}


uint64_t
lrt_tail_make(uint32_t far, uint32_t stalls)
{
    return lrt_tail(far, stalls);
}


uint32_t
lrt_tail_usual(uint64_t word)
{
    uint32_t  likely;

    likely = lrt_tail_far(word) / LRT_TAIL_STALLS;

    return (lrt_tail_stalls(word) > likely) ? lrt_tail_stalls(word) : likely;
}


unsigned
lrt_tail_heavy(uint64_t word)
{
    return lrt_tail_far(word) > LRT_TAIL_HEAVY;
}


static uint32_t
lrt_tail_mean(uint32_t part, unsigned one)
{
    part -= part / LRT_TAIL_ANSWERS;

    return one ? part + LRT_STALLS_ONE / LRT_TAIL_ANSWERS : part;
}
