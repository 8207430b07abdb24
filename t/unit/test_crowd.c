
/*
 * Copyright (C) the ngx_http_lrt_upstream_module authors
 *
 * By which power of their number requests in flight count.
 */


#include "tap.h"
#include "fixture.h"
#include "lrt_crowd.h"
#include "lrt_estimate.h"
#include "lrt_fixed.h"


#define ANSWERS      20000
#define BETWEEN      500


static void test_usual(void);
static void test_power(void);
static void test_limits(void);
static void test_servers(void);
static uint32_t learned(uint32_t slots);
static double exponential(double mean);


int
main(void)
{
    tap_begin();

    run(test_usual);
    run(test_power);
    run(test_limits);
    run(test_servers);

    return tap_end();
}


static void
test_usual(void)
{
    uint32_t  i;
    uint16_t  usual;

    usual = lrt_crowd_usual(0, 8);

    is_u64(lrt_crowd_more(0, 8), 0, "nothing is more than what is not known");
    is_u64(lrt_crowd_more(usual, 8), 0, "8 after 8");
    is_u64(lrt_crowd_more(usual, 16), LRT_LOG_ONE, "16 are an octave more");
    ok(lrt_crowd_more(usual, 2) == -2 * LRT_LOG_ONE, "2 are two less");

    for (i = 0; i < 200; i++) {
        usual = lrt_crowd_usual(usual, 1);
    }

    ok(lrt_crowd_more(usual, 1) > -LRT_LOG_ONE / 50, "one, many times");

    usual = lrt_crowd_usual(0, 0);
    is_u64(lrt_crowd_more(usual, 1), 0, "none is one");
}


static void
test_power(void)
{
    uint32_t  i;
    uint64_t  product, square;

    is_u64(lrt_crowd_power(0, 0), LRT_CROWD_ONE * 4 / 5,
           "until it is known: the slope is 1");

    product = 0;
    square = 0;

    for (i = 0; i < 4000; i++) {
        product = lrt_crowd_add(product, LRT_LOG_ONE, LRT_LOG_ONE * 9 / 10);
        square = lrt_crowd_add(square, LRT_LOG_ONE, LRT_LOG_ONE);
    }

    ok(lrt_crowd_power(product, square) > 182
       && lrt_crowd_power(product, square) < 187, "0.8 of a slope of 0.9");

    for (i = 0; i < 4000; i++) {
        product = lrt_crowd_add(product, LRT_LOG_ONE, 0);
    }

    is_u64(lrt_crowd_power(product, square), LRT_CROWD_ONE * 2 / 3,
           "never below two thirds");

    for (i = 0; i < 4000; i++) {
        product = lrt_crowd_add(product, LRT_LOG_ONE, -2 * LRT_LOG_ONE);
    }

    is_u64(lrt_crowd_power(product, square), LRT_CROWD_ONE * 2 / 3,
           "not even if more requests make answers faster");

    for (i = 0; i < 4000; i++) {
        product = lrt_crowd_add(product, LRT_LOG_ONE, 2 * LRT_LOG_ONE);
    }

    is_u64(lrt_crowd_power(product, square), LRT_CROWD_ONE, "nor above 1");
}


static void
test_limits(void)
{
    int64_t   more, longer;
    uint32_t  i, power;
    uint16_t  usual;
    uint64_t  product, square;

    usual = 0;
    product = 0;
    square = 0;

    for (i = 0; i < 200000; i++) {
        more = lrt_crowd_more(usual, (uint32_t) (tap_random()
                                                 >> tap_below(64)));
        longer = (int64_t) tap_below(62 * LRT_LOG_ONE) - 31 * LRT_LOG_ONE;

        usual = lrt_crowd_usual(usual, (uint32_t) (tap_random()
                                                   >> tap_below(64)));
        product = lrt_crowd_add(product, more, longer);
        square = lrt_crowd_add(square, more, more);
        power = lrt_crowd_power(product, square);

        if (!check(usual > 0, "a mean is never 0")
            || !check((int64_t) square >= 0, "nor a square below it")
            || !check(power >= LRT_CROWD_ONE * 2 / 3 && power <= LRT_CROWD_ONE,
                      "a power of %u", power))
        {
            return;
        }
    }

    ok(1, "any requests and times");
}


/* real queues: of who works on one at a time, and of who is never full */

static void
test_servers(void)
{
    uint32_t  one, four, many;

    one = learned(1);
    four = learned(4);
    many = learned(64);

    ok(one > LRT_CROWD_ONE * 9 / 10, "one at a time: a power of %u", one);
    ok(four < LRT_CROWD_ONE * 3 / 4, "four: %u", four);
    ok(many < LRT_CROWD_ONE * 3 / 4, "64: %u", many);
}


/*
 * A server with so many slots and exponential times of 10 ms, requests at
 * random, 0.7 of what it can do.  Returns the mean of the powers that are found
 * on the way.
 */

static uint32_t
learned(uint32_t slots)
{
    double    now, least, begin, end[64], *ends;
    uint32_t  i, j, k, inflight, n, sum;
    uint16_t  usual;
    int64_t   more;
    uint64_t  word, us, product, square;

    n = 0;
    sum = 0;
    now = 0;
    usual = 0;
    word = 0;
    product = 0;
    square = 0;

    ends = calloc(ANSWERS, sizeof(double));
    memset(end, 0, sizeof(end));

    for (i = 0; i < ANSWERS; i++) {
        now += exponential(10000 / (.7 * slots));

        k = 0;

        for (j = 1; j < slots; j++) {
            k = (end[j] < end[k]) ? j : k;
        }

        least = end[k];
        begin = (least > now) ? least : now;
        end[k] = begin + exponential(10000);
        ends[i] = end[k];

        inflight = 1;

        for (j = (i > 1000) ? i - 1000 : 0; j < i; j++) {
            inflight += (ends[j] > now);
        }

        us = (uint64_t) (end[k] - now);

        if (word) {
            more = lrt_crowd_more(usual, inflight);
            product = lrt_crowd_add(product, more,
                                    (int64_t) lrt_estimate_us(us)
                                    - (int64_t) lrt_estimate_log(word));
            square = lrt_crowd_add(square, more, more);
        }

        usual = lrt_crowd_usual(usual, inflight);
        word = lrt_estimate_add(word, us, (uint64_t) (now / 1000));

        if (i % BETWEEN == 0 && i > 2 * BETWEEN) {
            sum += lrt_crowd_power(product, square);
            n++;
        }
    }

    free(ends);

    return sum / n;
}


static double
exponential(double mean)
{
    double  log;

    log = (double) lrt_log2(tap_random() | 1) / 4294967296.0;

    return mean * (64 - log) * 0.6931471805599453;
}
