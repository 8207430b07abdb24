
/*
 * Copyright (C) the ngx_http_lrt_upstream_module authors
 */


#include "lrt_fixed.h"


#define LRT_ONE              ((int64_t) 1 << 32)


static int64_t lrt_poly(const int64_t *c, int n, int64_t x);


/* x in 32 bits of fraction, below 1; coefficients below a half */

static int64_t
lrt_poly(const int64_t *c, int n, int64_t x)
{
    int64_t  sum;

    sum = c[--n];

    while (n) {
        sum = c[--n] + (sum * x) / LRT_ONE;
    }

    return sum;
}


uint64_t
lrt_log2(uint64_t v)
{
    return ((uint64_t) 64 << 32) - lrt_log2_below(v);
}


/*
 * log2(1 + x) is nearly x + x (1 - x) q(x), so what is missing to 1 is
 * (1 - x) (1 - x q(x)): both factors are exact where it becomes small.
 */

uint64_t
lrt_log2_below(uint64_t v)
{
    int      octave;
    int64_t  x, rest;

    static const int64_t  q[] = {
        1901184765, -1187856971, 790707039, -417478697, 110343133
    };

    octave = 63 - __builtin_clzll(v);

    x = (int64_t) (((v << (63 - octave)) << 1) >> 32);

    rest = LRT_ONE - (lrt_poly(q, 5, x) * (x >> 1)) / (LRT_ONE >> 1);
    rest = ((LRT_ONE - x) >> 1) * (rest >> 1) / (LRT_ONE >> 2);

    return ((uint64_t) (63 - octave) << 32) + (uint64_t) rest;
}


uint64_t
lrt_exp2(uint64_t y)
{
    uint64_t  x, part, poly, value;
    unsigned  octave;

    octave = (unsigned) (y >> 32);
    x = y & UINT32_MAX;

    /* nothing here is ever below 0, so shifts are exact divisions */

    part = ((LRT_ONE - x) >> 1) * (x >> 1) >> 30;

    poly = 46671918 + (8145238 * x >> 32);
    poly = 286380939 + (poly * x >> 32);
    poly = 1317915831 + (poly * x >> 32);

    value = LRT_ONE + x - (poly * (part >> 1) >> 31);

    return (octave < 32) ? value >> (32 - octave) : value << (octave - 32);
}


uint64_t
lrt_sqrt(uint64_t v)
{
    uint64_t  root, bit;

    root = 0;
    bit = (uint64_t) 1 << (63 - __builtin_clzll(v | 1)) / 2;

    for ( /* void */ ; bit; bit >>= 1) {
        if ((root + bit) * (root + bit) <= v) {
            root += bit;
        }
    }

    return root ? root : 1;
}
