
/*
 * Copyright (C) the ngx_http_lrt_upstream_module authors
 */


#include "tap.h"
#include "lrt_fixed.h"


#define ONE                  ((uint64_t) 1 << 32)

/* what is promised: 17 bits of a logarithm, some 20 of a power */

#define LOG_ERROR_MAX        (ONE >> 17)
#define EXP_ERROR_MAX        (ONE >> 19)


static void test_powers(void);
static void test_reference(void);
static void test_monotone(void);
static void test_below(void);
static void test_exp(void);
static void test_exp_monotone(void);
static void test_round(void);
static void test_ends(void);

static uint64_t reference_log2(uint64_t v);
static uint64_t random_size(void);
static uint64_t apart(uint64_t a, uint64_t b);


int
main(void)
{
    tap_begin();

    run(test_powers);
    run(test_reference);
    run(test_monotone);
    run(test_below);
    run(test_exp);
    run(test_exp_monotone);
    run(test_round);
    run(test_ends);

    return tap_end();
}


static void
test_powers(void)
{
    uint32_t  i;

    for (i = 0; i < 64; i++) {
        if (!check(lrt_log2((uint64_t) 1 << i) == i * ONE, "log2 of 2^%u", i)) {
            return;
        }
    }

    for (i = 0; i < 63; i++) {
        if (!check(lrt_exp2(i * ONE) == (uint64_t) 1 << i, "2^%u", i)) {
            return;
        }
    }

    ok(1, "powers of two are exact, both ways");
}


/* against logarithms made by squaring, a bit at a time */

static void
test_reference(void)
{
    uint32_t  i, n;
    uint64_t  v, error, worst;

    worst = 0;
    n = tap_times(200000);

    for (i = 0; i < n; i++) {
        v = (i < 5000) ? i + 1 : random_size();
        error = apart(lrt_log2(v), reference_log2(v));
        worst = (error > worst) ? error : worst;
    }

    tap_note("largest error of log2: 2^32 / %llu",
             (unsigned long long) (ONE / (worst + 1)));
    ok(worst < LOG_ERROR_MAX, "log2 is right to 17 bits of fraction");
}


static void
test_monotone(void)
{
    uint32_t  i, n;
    uint64_t  v, step;

    n = tap_times(200000);

    for (i = 0; i < n; i++) {
        v = random_size() >> 1;
        v += (v == 0);
        step = tap_random() % v;

        if (!check(lrt_log2(v) <= lrt_log2(v + step), "log2 of %llu and of "
                   "%llu more", (unsigned long long) v,
                   (unsigned long long) step))
        {
            return;
        }
    }

    ok(1, "log2 of more is not less");
}


/* the distance to 2^64 keeps its relative accuracy down to one step */

static void
test_below(void)
{
    uint32_t  i, shift;
    uint64_t  v, got, want, last;

    last = 0;

    for (shift = 0; shift < 40; shift++) {

        /* 2^64 - d: the logarithm is short of 64 by d / 2^64 / ln 2 */

        v = UINT64_MAX - (((uint64_t) 1 << (63 - 16 - shift)) - 1);
        got = lrt_log2_below(v);
        want = (shift < 16) ? (uint64_t) 47274 >> shift : 0;

        /* 1 / ln 2 = 1.442695, times 2^32 / 2^17 */

        if (shift < 12) {
            if (!check(apart(got, want) <= want / 100 + 2,
                       "2^64 - 2^%u: %llu, not %llu", 47 - shift,
                       (unsigned long long) got, (unsigned long long) want))
            {
                return;
            }
        }

        if (!check(shift == 0 || got <= last, "nearer is not farther")) {
            return;
        }

        last = got;
    }

    ok(1, "just below 2^64 the distance is right to a hundredth");

    for (i = 0; i < tap_times(100000); i++) {
        v = random_size();

        if (!check(lrt_log2(v) + lrt_log2_below(v) == 64 * ONE,
                   "both logarithms of %llu", (unsigned long long) v))
        {
            return;
        }
    }

    ok(1, "both logarithms make 64");
}


static void
test_exp(void)
{
    uint32_t  i, n;
    uint64_t  y, v, error, worst;

    worst = 0;
    n = tap_times(100000);

    for (i = 0; i < n; i++) {

        /* large enough for rounding down not to matter */

        y = (uint64_t) tap_between(24, 62) << 32 | (tap_random() & UINT32_MAX);
        v = lrt_exp2(y);

        error = apart(reference_log2(v), y);
        worst = (error > worst) ? error : worst;
    }

    tap_note("largest error of exp2: 2^32 / %llu",
             (unsigned long long) (ONE / (worst + 1)));
    ok(worst < EXP_ERROR_MAX, "exp2 is right to 19 bits");
}


static void
test_exp_monotone(void)
{
    uint32_t  i, n;
    uint64_t  y, step;

    n = tap_times(200000);

    for (i = 0; i < n; i++) {
        y = (uint64_t) tap_below(62) << 32 | (tap_random() & UINT32_MAX);
        step = tap_random() >> tap_between(32, 60);

        if (!check(lrt_exp2(y) <= lrt_exp2(y + step),
                   "2^y of %llu and of %llu more", (unsigned long long) y,
                   (unsigned long long) step))
        {
            return;
        }
    }

    ok(1, "2^y of more is not less");
}


/* there and back again, as an estimate goes */

static void
test_round(void)
{
    uint32_t  i, n;
    uint64_t  us, back;

    n = tap_times(200000);

    for (i = 0; i < n; i++) {
        us = (i < 10000) ? i + 2 : tap_random() >> tap_between(34, 60);
        us = (us < 2) ? 2 : us;
        back = lrt_exp2(lrt_log2(us));

        if (!check(apart(back, us) <= us / 100000 + 1, "%llu comes back as %llu",
                   (unsigned long long) us, (unsigned long long) back))
        {
            return;
        }
    }

    ok(1, "2 us to 17 minutes come back, to one in 100,000 or a microsecond");
}


static void
test_ends(void)
{
    is_u64(lrt_log2(1), 0, "log2 of 1");
    is_u64(lrt_log2_below(1), 64 * ONE, "and what is missing to 64");
    ok(apart(lrt_log2(3), 6807362105ull) < LOG_ERROR_MAX, "log2 of 3");
    ok(apart(lrt_log2(10), 14267572527ull) < LOG_ERROR_MAX, "log2 of 10");
    ok(lrt_log2(UINT64_MAX) <= 64 * ONE, "of the largest number, at most 64");
    is_u64(lrt_log2_below(UINT64_MAX) > 1, 0, "nothing is missing to it");
    is_u64(lrt_exp2(0), 1, "2^0");
    is_u64(lrt_exp2(ONE - 1), 1, "2^y is rounded down");
    is_u64(lrt_exp2(63 * ONE - 1) >> 61, 3, "2^y just below 2^63");
}


/*
 * Bits of the fraction: x is squared, and whether it passes 2 is the next bit.
 * x has 62 bits of fraction.
 */

static uint64_t
reference_log2(uint64_t v)
{
    uint32_t           octave, i;
    uint64_t           x, fraction;
    unsigned __int128  square;

    octave = 63 - (uint32_t) __builtin_clzll(v);
    x = (v << (63 - octave)) >> 1;
    fraction = 0;

    for (i = 0; i < 32; i++) {
        square = (unsigned __int128) x * x >> 62;
        fraction <<= 1;

        if (square >> 63) {
            fraction |= 1;
            square >>= 1;
        }

        x = (uint64_t) square;
    }

    return (uint64_t) octave << 32 | fraction;
}


/* of any number of bits, never 0 */

static uint64_t
random_size(void)
{
    uint64_t  v;

    v = tap_random() >> tap_below(64);

    return v + (v == 0);
}


static uint64_t
apart(uint64_t a, uint64_t b)
{
    return (a > b) ? a - b : b - a;
}
