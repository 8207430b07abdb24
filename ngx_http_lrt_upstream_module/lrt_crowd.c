
/*
 * Copyright (C) the ngx_http_lrt_upstream_module authors
 */


#include "lrt_crowd.h"
#include "lrt_estimate.h"
#include "lrt_fixed.h"


/* twenty octaves and 11 bits of fraction have room in 16 bits */

#define LRT_CROWD_SHIFT      (LRT_LOG_SHIFT - 11)
#define LRT_CROWD_REQUESTS   (1 << 20)
#define LRT_CROWD_USUAL      16              /* answers that make a mean */
#define LRT_CROWD_SAMPLES    512

/* an answer that is further off, by octaves, has other reasons */

#define LRT_CROWD_FAR        (8 * LRT_LOG_ONE)

/* until answers weigh more than this, the slope is 1 */

#define LRT_CROWD_PRIOR      ((int64_t) LRT_LOG_ONE * LRT_LOG_ONE / 64)

/*
 * The power is 0.8 of the slope: times that a server is known by have waiting
 * in them already.  It is never so low that a queue would not matter, nor that
 * a server that is a little slower by chance would get next to nothing.
 */

#define LRT_CROWD_PART       (LRT_CROWD_ONE * 4 / 5)
#define LRT_CROWD_MIN        (LRT_CROWD_ONE * 2 / 3)


static int32_t lrt_crowd_log(uint32_t requests);


uint16_t
lrt_crowd_usual(uint16_t usual, uint32_t requests)
{
    int32_t  log;

    log = lrt_crowd_log(requests);

    return (uint16_t) (usual ? usual + (log - usual) / LRT_CROWD_USUAL : log);
}


int64_t
lrt_crowd_more(uint16_t usual, uint32_t requests)
{
    return usual ? (int64_t) (lrt_crowd_log(requests) - usual)
                   * (1 << LRT_CROWD_SHIFT)
                 : 0;
}


/* 0 is unknown */

static int32_t
lrt_crowd_log(uint32_t requests)
{
    requests = requests ? requests : 1;
    requests = (requests < LRT_CROWD_REQUESTS) ? requests : LRT_CROWD_REQUESTS;

    return (int32_t) (lrt_log2(requests)
                      >> (32 - LRT_LOG_SHIFT + LRT_CROWD_SHIFT)) + 1;
}


uint64_t
lrt_crowd_add(uint64_t mean, int64_t a, int64_t b)
{
    a = (a > LRT_CROWD_FAR) ? LRT_CROWD_FAR
        : (a < -LRT_CROWD_FAR) ? -LRT_CROWD_FAR : a;
    b = (b > LRT_CROWD_FAR) ? LRT_CROWD_FAR
        : (b < -LRT_CROWD_FAR) ? -LRT_CROWD_FAR : b;

    return (uint64_t) ((int64_t) mean
                       + (a * b - (int64_t) mean) / LRT_CROWD_SAMPLES);
}


uint32_t
lrt_crowd_power(uint64_t product, uint64_t square)
{
    int64_t  power;

    power = ((int64_t) product + LRT_CROWD_PRIOR) * LRT_CROWD_PART
            / ((int64_t) square + LRT_CROWD_PRIOR);

    return (power < LRT_CROWD_MIN) ? LRT_CROWD_MIN
           : (power > LRT_CROWD_ONE) ? LRT_CROWD_ONE : (uint32_t) power;
}
