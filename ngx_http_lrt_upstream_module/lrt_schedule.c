
/*
 * Copyright (C) the ngx_http_lrt_upstream_module authors
 */


#include "lrt_schedule.h"


/* strides to look at, and a largest partial quotient that is good enough */

#define LRT_STRIDES          128
#define LRT_QUOTIENT         5


static uint64_t lrt_gcd(uint64_t a, uint64_t b);
static uint32_t lrt_schedule_stride(uint64_t total);
static uint64_t lrt_schedule_quotient(uint64_t total, uint64_t stride);
static uint64_t lrt_schedule_reduce(uint64_t *weight, uint32_t n);


void
lrt_schedule_build(lrt_schedule_t *s, uint64_t *reach, uint32_t *guide,
    uint32_t n)
{
    uint32_t  i, part, turns;
    uint64_t  total, start;

    total = lrt_schedule_reduce(reach, n);

    s->n = n;
    s->total = total;
    s->reach = reach;
    s->guide = guide;

    turns = 0;
    start = 0;

    for (i = 0; i < n; i++) {
        turns += (reach[i] != 0);
        start += reach[i];
        reach[i] = start;
    }

    if (total == 0) {
        s->stride = 0;
        s->even = 0;
        return;
    }

    s->stride = (turns == total) ? 1 : lrt_schedule_stride(total);
    s->even = (turns == n && total == n);

    i = 0;

    for (part = 0; part < n; part++) {
        while (reach[i] <= part * total / n) {
            i++;
        }

        guide[part] = i;
    }
}


uint32_t
lrt_schedule_at(const lrt_schedule_t *s, uint64_t turn)
{
    return lrt_schedule_entry(s, lrt_schedule_start(s, turn));
}


uint32_t
lrt_schedule_entry(const lrt_schedule_t *s, uint64_t point)
{
    uint32_t  low, high, middle, part;

    if (s->even) {
        return (uint32_t) point;
    }

    part = (uint32_t) (point * s->n / s->total);

    /*
     * The entry lies between the first ones of this part and of the next.
     * A writer may be filling the arrays for another generation right now:
     * then the answer is of no use, but it must be one of the n.
     */

    high = (part + 1 < s->n) ? s->guide[part + 1] : s->n - 1;
    high = (high < s->n) ? high : s->n - 1;
    low = s->guide[part];
    low = (low < high) ? low : high;

    while (low < high) {
        middle = low + (high - low) / 2;

        if (s->reach[middle] <= point) {
            low = middle + 1;

        } else {
            high = middle;
        }
    }

    return low;
}


uint64_t
lrt_schedule_point(uint64_t turn, uint64_t total)
{
    uint64_t  part;

    if (total > UINT32_MAX) {

        /* the golden ratio of 2^32, and the total in units of that */

        part = (uint32_t) (turn * 2654435769u);

        return (total >> 32) * part + ((total & UINT32_MAX) * part >> 32);
    }

    return turn % total * lrt_schedule_stride(total) % total;
}


/*
 * Divides the weights by their common divisor, and shifts them when their sum
 * would not fit into 32 bits: then the largest weights are rounded, and the
 * smallest keep at least one point.  Returns the sum.
 */

static uint64_t
lrt_schedule_reduce(uint64_t *weight, uint32_t n)
{
    uint32_t  i, shift;
    uint64_t  sum, divisor, total;

    sum = 0;
    divisor = 0;

    for (i = 0; i < n; i++) {
        sum += weight[i];
        divisor = lrt_gcd(weight[i], divisor);
    }

    if (sum == 0) {
        return 0;
    }

    shift = 0;

    while (((sum / divisor) >> shift) + n > UINT32_MAX) {
        shift++;
    }

    total = 0;

    for (i = 0; i < n; i++) {

        if (weight[i] == 0) {
            continue;
        }

        weight[i] = (weight[i] / divisor) >> shift;
        weight[i] += (weight[i] == 0);

        total += weight[i];
    }

    return total;
}


/*
 * Distances are even if stride / total has small partial quotients, as the
 * golden ratio has.  Being near it is not enough: a large quotient makes the
 * turns nearly periodic, so that for a long time they go to few entries.
 */

static uint32_t
lrt_schedule_stride(uint64_t total)
{
    uint32_t  i;
    uint64_t  golden, stride, best, quotient, least;

    /* 0.6180339887 of the total, in 32 bits of fraction */

    golden = (total * 2654435769u) >> 32;

    best = 1;
    least = UINT64_MAX;

    for (i = 0; i < LRT_STRIDES && least > LRT_QUOTIENT; i++) {

        /* an offset too far below wraps around, and is too large as well */

        stride = (i & 1) ? golden - i / 2 : golden + 1 + i / 2;

        if (stride == 0 || stride >= total) {
            continue;
        }

        quotient = lrt_schedule_quotient(total, stride);

        if (quotient < least) {
            least = quotient;
            best = stride;
        }
    }

    return (uint32_t) best;
}


/* the largest partial quotient, or UINT64_MAX if there is a common divisor */

static uint64_t
lrt_schedule_quotient(uint64_t total, uint64_t stride)
{
    uint64_t  rest, largest;

    largest = 0;

    while (stride) {
        if (total / stride > largest) {
            largest = total / stride;
        }

        rest = total % stride;
        total = stride;
        stride = rest;
    }

    return (total == 1) ? largest : UINT64_MAX;
}


static uint64_t
lrt_gcd(uint64_t a, uint64_t b)
{
    uint64_t  rest;

    while (b) {
        rest = a % b;
        a = b;
        b = rest;
    }

    return a;
}
