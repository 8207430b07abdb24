
/*
 * Copyright (C) the ngx_http_lrt_upstream_module authors
 *
 * Long answers of a group: how many there are, and what is usual then.
 */


#include "tap.h"
#include "timed.h"
#include "lrt_errors.h"
#include "lrt_tail.h"


#define FAR                  (LRT_LOG_ONE * 7 / 2)


static void test_parts(void);
static void test_extremes(void);
static void test_usual(void);
static void test_heavy(void);
static void test_by_chance(void);
static void test_weights(void);
static uint64_t tail(uint32_t every, uint32_t above);


int
main(void)
{
    tap_begin();

    run(test_parts);
    run(test_extremes);
    run(test_usual);
    run(test_heavy);
    run(test_by_chance);
    run(test_weights);

    return tap_end();
}


static void
test_parts(void)
{
    uint64_t  word;

    word = tail(1, FAR);
    ok(lrt_tail_far(word) == 0 && lrt_tail_stalls(word) == 0,
       "11 times as long is not far");

    word = tail(50, FAR + 1);
    ok(lrt_tail_far(word) > LRT_STALLS_ONE / 60
       && lrt_tail_far(word) < LRT_STALLS_ONE / 40, "more is, one of 50");
    is_u64(lrt_tail_stalls(word), 0, "that is no stall");

    word = tail(50, LRT_STALL);
    is_u64(lrt_tail_stalls(word), 0, "nor is one of 32 times");

    word = tail(50, LRT_STALL + 1);
    ok(lrt_tail_far(word) == lrt_tail_stalls(word)
       && lrt_tail_far(word) > LRT_STALLS_ONE / 60
       && lrt_tail_far(word) < LRT_STALLS_ONE / 40, "more is both");

    word = lrt_tail_make(77, 4711);
    ok(lrt_tail_far(word) == 77 && lrt_tail_stalls(word) == 4711,
       "parts that were kept elsewhere");
}


static void
test_extremes(void)
{
    uint32_t  i;
    uint64_t  word;

    word = tail(1, UINT32_MAX);
    ok(lrt_tail_far(word) <= LRT_STALLS_ONE
       && lrt_tail_far(word) > LRT_STALLS_ONE - LRT_STALLS_ONE / 1000
       && lrt_tail_stalls(word) == lrt_tail_far(word),
       "nothing but stalls: all of it, and no more");

    for (i = 0; i < 20000; i++) {
        word = lrt_tail_add(word, 0);
    }

    ok(lrt_tail_far(word) < LRT_STALLS_ONE / 10000
       && lrt_tail_stalls(word) < LRT_STALLS_ONE / 10000, "and none any more");
}


static void
test_usual(void)
{
    uint32_t  far;

    is_u64(lrt_tail_usual(0), 0, "nothing");

    far = lrt_tail_far(tail(40, FAR + 1));
    is_u64(lrt_tail_usual(lrt_tail_make(far, 0)), far / 4,
           "of long answers, a fourth would be no surprise");
    is_u64(lrt_tail_usual(lrt_tail_make(far, far / 8)), far / 4,
           "though there were less");
    is_u64(lrt_tail_usual(lrt_tail_make(far, far / 2)), far / 2,
           "where there are more, those");
}


static void
test_heavy(void)
{
    ok(!lrt_tail_heavy(0), "nothing");
    ok(!lrt_tail_heavy(tail(40, FAR + 1)), "one of 40");
    ok(lrt_tail_heavy(tail(25, FAR + 1)), "one of 25");
    ok(!lrt_tail_heavy(tail(100, 7 * LRT_LOG_ONE)), "one of 100 that stalls");
}


/*
 * Times that differ by chance, by a lot: one of 36 is far, one of 320 as long
 * as a stall.  Four of these of 40 in a row are none that others do not have.
 */

static void
test_by_chance(void)
{
    uint32_t  i, far, stalls;
    uint64_t  word;

    far = LRT_STALLS_ONE / 36;
    stalls = LRT_STALLS_ONE / 320;
    word = 0;

    for (i = 0; i < 40; i++) {
        word = lrt_stalls_add(word, (i % 10 == 5) ? LRT_STALL + 1 : 0, 1,
                              stalls);
    }

    ok(lrt_stalls_stalling(word), "more than the others have");

    word = 0;

    for (i = 0; i < 40; i++) {
        word = lrt_stalls_add(word, (i % 10 == 5) ? LRT_STALL + 1 : 0, 1,
                              lrt_tail_usual(lrt_tail_make(far, stalls)));
    }

    ok(!lrt_stalls_stalling(word), "not where so many are nearly as long");
}


/* one that took long, when nobody else had answered meanwhile */

static void
test_weights(void)
{
    uint64_t  word;

    word = lt_word(1000, LT_SURE);

    ok(lrt_estimate_log(lrt_estimate_add(word, 2000000, 3000))
       > lrt_estimate_log(word) + 5 * LRT_LOG_ONE,
       "two seconds without answers: it counts for half");
    is_u64(lrt_estimate_log(lrt_estimate_add_tailed(word, 2000000, 3000)),
           lrt_estimate_log(lrt_estimate_add(word, 2000000, 1001)),
           "where such are usual, as one that came at once");
    is_u64(lrt_estimate_log(lrt_estimate_add_tailed(word, 2000000, 9000)),
           lrt_estimate_log(lrt_estimate_add(word, 2000000, 7001)),
           "the time before it counts as ever");
    is_u64(lrt_estimate_log(lrt_estimate_add_tailed(word, UINT64_MAX, 3000)),
           lrt_estimate_log(lrt_estimate_add(word, UINT64_MAX, 1000)),
           "of one that took ages none is left");
    is_u64(lrt_estimate_add_tailed(word, 800, 3000),
           lrt_estimate_add(word, 800, 3000), "a short one counts as ever");
    is_u64(lrt_estimate_add_tailed(0, 2000, 3000),
           lrt_estimate_add(0, 2000, 3000), "and so does the first one");
}


static uint64_t
tail(uint32_t every, uint32_t above)
{
    uint32_t  i;
    uint64_t  word;

    word = 0;

    for (i = 1; i <= 20000; i++) {
        word = lrt_tail_add(word, i % every == 0 ? above : 0);
    }

    return word;
}
