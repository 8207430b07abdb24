
/*
 * Copyright (C) the ngx_http_lrt_upstream_module authors
 */


#include "tap.h"
#include "lrt_estimate.h"


#define SERVERS              8

/* fields of the word of a server, as lrt_estimate.c has them */

#define count_of(word)       ((uint32_t) ((word) >> 32) & 0xfff)
#define COUNT_ONE            16


/* servers that answer in turn, and what their group knows of them */

typedef struct {
    uint64_t   word[SERVERS];
    uint64_t   spread;
    uint64_t   now;
} group_t;


static void test_nothing(void);
static void test_first(void);
static void test_few(void);
static void test_constant(void);
static void test_converges(void);
static void test_one_long_answer(void);
static void test_idle(void);
static void test_count(void);
static void test_clock_back(void);
static void test_clock_wraps(void);
static void test_extremes(void);
static void test_any_word(void);
static void test_spread(void);
static void test_unknown(void);
static void test_judge_limits(void);
static void test_likely(void);
static void test_rare(void);
static void test_recovers(void);
static void test_doubt(void);
static void test_equal_means(void);
static void test_factor_two(void);
static void test_judge_one_sample(void);
static void test_judge_kinds(void);

static lrt_norm_t norm_of(uint64_t us);
static uint32_t judge(uint64_t word, uint32_t typical, uint64_t spread,
    uint32_t between);
static uint64_t noisy(uint64_t us, uint32_t octaves);
static void answer(group_t *g, uint32_t i, uint64_t us, uint64_t ms);
static uint32_t typical(const group_t *g);
static uint64_t time_of(uint64_t word);
static unsigned near(uint64_t got, uint64_t want, uint32_t permille);


int
main(void)
{
    tap_begin();

    run(test_nothing);
    run(test_first);
    run(test_few);
    run(test_constant);
    run(test_converges);
    run(test_one_long_answer);
    run(test_idle);
    run(test_count);
    run(test_clock_back);
    run(test_clock_wraps);
    run(test_extremes);
    run(test_any_word);
    run(test_spread);
    run(test_unknown);
    run(test_judge_limits);
    run(test_likely);
    run(test_rare);
    run(test_recovers);
    run(test_doubt);
    run(test_equal_means);
    run(test_factor_two);
    run(test_judge_one_sample);
    run(test_judge_kinds);

    return tap_end();
}


static void
test_nothing(void)
{
    is_u64(lrt_estimate_log(0), 0, "without samples there is no logarithm");
    is_u64(lrt_estimate_time(0), 0, "and no time");
    is_u64(lrt_estimate_deviation(0, 12345), 0, "nothing deviates from it");
    is_u64(lrt_spread_samples(0), 0, "nor has the group any");
}


static void
test_first(void)
{
    uint32_t  i;
    uint64_t  us, word;

    for (i = 0; i < 10000; i++) {
        us = tap_between(2, 100000000);
        word = lrt_estimate_add(0, us, i);

        if (!check(near(time_of(word), us, 1), "%llu is known as %llu",
                   (unsigned long long) us,
                   (unsigned long long) time_of(word))
            || !check(count_of(word) == COUNT_ONE, "one sample counts as one")
            || !check(lrt_estimate_stamp(word) == i, "the time is kept"))
        {
            return;
        }
    }

    ok(1, "the first sample is the estimate");
}


/* the first ones count alike: the mean of the logarithms */

static void
test_few(void)
{
    uint32_t  i;
    uint64_t  word;

    /* 1, 2, 4 ... 128 ms: the geometric mean is 2^3.5 ms */

    word = 0;

    for (i = 0; i < 8; i++) {
        word = lrt_estimate_add(word, (uint64_t) 1000 << i, 7);
    }

    ok(near(time_of(word), 11314, 20), "eight samples at once: their mean, %llu",
       (unsigned long long) time_of(word));
    ok(count_of(word) > 7 * COUNT_ONE && count_of(word) <= 9 * COUNT_ONE,
       "which counts as eight: %u / 16", count_of(word));
}


static void
test_constant(void)
{
    uint32_t  i, first, log;
    uint64_t  word, now;

    now = 1000000;
    word = lrt_estimate_add(0, 5000, now);
    first = lrt_estimate_log(word);

    for (i = 0; i < 100000; i++) {
        now += tap_below(3000);
        word = lrt_estimate_add(word, 5000, now);
        log = lrt_estimate_log(word);

        if (!check(log == first, "sample %u: %u, not %u", i, log, first)) {
            return;
        }
    }

    ok(1, "what does not change is kept exactly");
}


/* whatever was there before, up and down, at any rate of requests */

static void
test_converges(void)
{
    uint32_t  i, j, gap, n;
    uint64_t  word, now, from, to, last, t;

    static const uint32_t  gaps[] = { 0, 1, 10, 100, 1000, 100000 };

    for (i = 0; i < 600; i++) {
        gap = gaps[i % 6];
        from = tap_between(2, 10000000);
        to = tap_between(2, 10000000);
        now = tap_random() >> 8;

        word = 0;
        for (j = 0; j < 200; j++) {
            now += gap;
            word = lrt_estimate_add(word, from, now);
        }

        n = 0;
        last = time_of(word);

        while (!near(time_of(word), to, 50) && n < 2000) {
            now += gap;
            word = lrt_estimate_add(word, to, now);
            t = time_of(word);
            n++;

            /* never past it, and never away from it */

            if (!check(from < to ? t >= last && t <= to + to / 1000 + 1
                                 : t <= last && t + to / 1000 + 1 >= to,
                       "%llu, %llu on the way from %llu to %llu",
                       (unsigned long long) last, (unsigned long long) t,
                       (unsigned long long) from, (unsigned long long) to))
            {
                return;
            }

            last = t;
        }

        if (!check(n < (gap < 100 ? 1050u : gap < 1000 ? 160u : 20u),
                   "from %llu to %llu, one each %u ms: %u samples",
                   (unsigned long long) from, (unsigned long long) to, gap, n))
        {
            return;
        }
    }

    ok(1, "it comes within 5 percent, straight, with no more samples than due");
}


static void
test_one_long_answer(void)
{
    uint32_t  i;
    uint64_t  word;

    word = 0;

    for (i = 0; i < 200; i++) {
        word = lrt_estimate_add(word, 1000, i);
    }

    word = lrt_estimate_add(word, 1000000, 200);

    ok(time_of(word) < 1200,
       "a thousand times the usual, once: %llu instead of 1000 us",
       (unsigned long long) time_of(word));
}


/* the longer nothing came, the more a sample says, but half at most */

static void
test_idle(void)
{
    uint32_t  i, idle;
    uint64_t  word, before, after;

    word = 0;

    for (i = 0; i < 300; i++) {
        word = lrt_estimate_add(word, 1000, 1000);
    }

    before = 0;

    for (idle = 0; idle < 100000; idle = idle * 2 + 1) {
        after = time_of(lrt_estimate_add(word, 4000, 1000 + idle));

        if (!check(after >= before, "after %u ms: %llu, less than %llu", idle,
                   (unsigned long long) after, (unsigned long long) before)
            || !check(after <= 2010, "after %u ms: %llu", idle,
                      (unsigned long long) after))
        {
            return;
        }

        before = after;
    }

    ok(near(before, 2000, 10), "after long it is the mean of both: %llu",
       (unsigned long long) before);
    ok(time_of(lrt_estimate_add(word, 4000, 1000)) < 1040,
       "at once it is next to nothing");
}


/* the effective number: grows to what the smallest weight allows */

static void
test_count(void)
{
    uint32_t  i, count, last;
    uint64_t  word;

    word = 0;
    last = 0;

    for (i = 0; i < 2000; i++) {
        word = lrt_estimate_add(word, 1000, 1);
        count = count_of(word);

        if (!check(count + 1 >= last, "%u samples: %u after %u", i, count,
                   last))
        {
            return;
        }

        last = count;
    }

    /* an exponential mean of weight 1/75 has the variance of 149 samples */

    ok(last > 128 * COUNT_ONE && last < 158 * COUNT_ONE,
       "2000 samples count as %u / 16", last);

    for (i = 0; i < 50; i++) {
        word = lrt_estimate_add(word, 1000, 1 + (i + 1) * 60000);
    }

    last = count_of(word);
    ok(last >= 2 * COUNT_ONE && last <= 4 * COUNT_ONE,
       "one each minute counts as three: %u / 16", last);
}


/* other processes may be a little behind */

static void
test_clock_back(void)
{
    uint32_t  i;
    uint64_t  word, t;

    word = 0;

    for (i = 0; i < 300; i++) {
        word = lrt_estimate_add(word, 1000, 50000);
    }

    word = lrt_estimate_add(word, 1000000, 49999);
    t = time_of(word);

    ok(t >= 1000 && t < 1200,
       "a sample of a millisecond earlier is one of the same time: %llu us",
       (unsigned long long) t);
    is_u64(lrt_estimate_stamp(word), 49999, "and the new time is kept");

    for (i = 0; i < 300; i++) {
        word = lrt_estimate_add(word, 1000, 49999 - i % 2);
    }

    ok(near(time_of(word), 1000, 10), "and all is forgotten afterwards: %llu",
       (unsigned long long) time_of(word));
}


static void
test_clock_wraps(void)
{
    uint32_t  i;
    uint64_t  word, across, now;

    word = 0;

    for (i = 0; i < 300; i++) {
        word = lrt_estimate_add(word, 1000, UINT32_MAX - 300 + i);
    }

    now = (uint64_t) UINT32_MAX + 3;
    across = lrt_estimate_add(word, 1000000, now);

    ok(time_of(across) < 1200, "32 bits of milliseconds wrap: 4 ms are 4 ms");
    is_u64(lrt_estimate_stamp(across), 2, "and the stamp is the low half");
}


static void
test_extremes(void)
{
    uint32_t  i;
    uint64_t  word, us;

    static const uint64_t  times[] = {
        0, 1, 2, 3, (1 << 30) - 1, 1 << 30, (1 << 30) + 1,
        (uint64_t) 1 << 40, (uint64_t) 1 << 63, UINT64_MAX
    };

    for (i = 0; i < sizeof(times) / sizeof(times[0]); i++) {
        us = times[i];
        word = lrt_estimate_add(0, us, 0);

        if (!check(word != 0, "%llu is something",
                   (unsigned long long) us)
            || !check(lrt_estimate_log(word) != 0, "%llu has a logarithm",
                      (unsigned long long) us)
            || !check(time_of(word) >= 1 && time_of(word) <= 1 << 30,
                      "%llu becomes %llu", (unsigned long long) us,
                      (unsigned long long) time_of(word))
            || !check(lrt_estimate_log(word) < 1 << 20, "in 20 bits"))
        {
            return;
        }
    }

    ok(1, "no time is too short or too long");
}


/* two workers at once, or a table of before: any word may stand there */

static void
test_any_word(void)
{
    uint32_t  i, n, judged;
    uint64_t  word, after, us;

    n = tap_times(300000);

    for (i = 0; i < n; i++) {
        word = tap_random();
        us = tap_random() >> tap_below(64);

        /* a count below one sample is written by nobody */

        word |= (uint64_t) COUNT_ONE << 32;

        after = lrt_estimate_add(word, us, tap_random());

        if (!check(count_of(after) >= COUNT_ONE, "%llx and %llu: %u samples",
                   (unsigned long long) word, (unsigned long long) us,
                   count_of(after)))
        {
            return;
        }

        judged = judge(after, tap_below((1 << 20) - 1) + 1,
                       tap_random() & 0xffffffff000fffffull,
                       (uint32_t) tap_random() >> tap_below(32));

        if (!check(judged > 0 && judged < 1 << 20, "judged as %u", judged)) {
            return;
        }

        (void) lrt_estimate_deviation(word, us);
    }

    ok(1, "whatever is there gives something of sense");
}


static void
test_spread(void)
{
    uint32_t  i;
    uint64_t  spread, before;

    spread = 0;

    for (i = 1; i <= 30; i++) {
        spread = lrt_spread_add(spread, i * 10000);
    }

    is_u64(lrt_spread_samples(spread), 30, "samples are counted");
    ok(near(lrt_spread_deviation(spread), 177500, 500),
       "the first ones have the standard deviation");

    for (i = 0; i < 10000; i++) {
        spread = lrt_spread_add(spread, 5000);
    }

    ok(near(lrt_spread_deviation(spread), 5000, 600),
       "the old ones are forgotten: %u", lrt_spread_deviation(spread));

    for (i = 0; i < 10000; i++) {
        spread = lrt_spread_add(spread, 30 * LRT_LOG_ONE);
    }

    ok(near(lrt_spread_deviation(spread), 30 * LRT_LOG_ONE, 500),
       "the largest one that there is");

    spread = 0;

    for (i = 0; i < 100; i++) {
        spread = lrt_spread_add(spread, LRT_LOG_ONE / 10);

        if (i == 0) {
            ok(lrt_spread_deviation(spread) > LRT_LOG_ONE,
               "one answer does not say that all are alike");
        }
    }

    ok(lrt_spread_deviation(spread) < LRT_LOG_ONE * 2 / 3, "a hundred may");

    /* one of a hundred that is far off */

    spread = 0;

    for (i = 1; i <= 10000; i++) {
        spread = lrt_spread_add(spread, i % 100 ? 0 : 7 * LRT_LOG_ONE);
    }

    ok(lrt_spread_deviation(spread) > LRT_LOG_ONE / 3, "rare ones count");

    before = lrt_spread_add(spread, lrt_spread_deviation(spread));
    spread = (uint64_t) UINT32_MAX << 32 | (uint32_t) before;
    spread = lrt_spread_add(spread, lrt_spread_deviation(spread));

    ok(near(lrt_spread_deviation(spread), lrt_spread_deviation(before), 500),
       "the number of samples wraps, and the deviation stays");

    spread = lrt_spread_add((uint64_t) UINT32_MAX << 32 | (uint32_t) before, 0);
    spread = lrt_spread_add(spread, 0);

    ok(lrt_spread_deviation(spread) > lrt_spread_deviation(before) * 9 / 10,
       "no single sample replaces all that was known");

    is_u64(lrt_age(1000, 1003), 3, "the age of a stamp");
    is_u64(lrt_age(1003, 1000), 0, "of one that is newer than now");
    is_u64(lrt_age(UINT32_MAX, ((uint64_t) 1 << 32) + 1), 2, "after a wrap");

    spread = (uint64_t) (UINT32_MAX - 1) << 32 | 1000000;
    spread = lrt_spread_add(spread, 0);
    is_u64(lrt_spread_samples(spread), UINT32_MAX, "as far as it goes");
}


static void
test_unknown(void)
{
    uint64_t  word;

    word = lrt_estimate_add(0, 1000, 0);

    is_u64(judge(0, 0, 0, 1), 0, "of nobody anything is known");
    is_u64(judge(0, 12345, 0, 1), 12345, "an unknown server is typical");
    is_u64(judge(word, 0, 0, 1), 0,
           "nobody can be told from an unknown group");
}


/* never past what was measured, and nearer to it with more samples */

static void
test_judge_limits(void)
{
    uint32_t  i, j, log, mean, judged, last, between;
    uint64_t  word, spread;

    for (i = 0; i < 2000; i++) {
        mean = tap_between(1, (1 << 20) - 1);
        between = (i & 1) ? (uint32_t) tap_random() >> tap_below(32) : 0;
        spread = (uint64_t) 100 << 32 | tap_below(3 * LRT_LOG_ONE);
        word = 0;
        last = mean;

        for (j = 0; j < 60; j++) {
            word = lrt_estimate_add(word, 30000, 0);
            log = lrt_estimate_log(word);
            judged = judge(word, mean, spread, between);

            if (!check(log > mean ? judged >= mean && judged <= log
                                  : judged <= mean && judged >= log,
                       "%u is between %u and %u", judged, mean, log)
                || !check(log > mean ? judged >= last : judged <= last,
                          "more samples, less doubt: %u after %u", judged,
                          last))
            {
                return;
            }

            last = judged;
        }
    }

    ok(1, "between the group and the server, and nearer with more samples");
}


/* what may be chance counts as far as servers differ otherwise */

static void
test_likely(void)
{
    double    part, want;
    uint32_t  i, mean, judged, between, deviation, n;
    uint64_t  word, spread;

    for (i = 0; i < 2000; i++) {
        n = tap_between(1, 90);
        deviation = tap_between(LRT_LOG_ONE / 2, 3 * LRT_LOG_ONE);
        between = lrt_estimate_square(tap_below(LRT_LOG_ONE));
        spread = lrt_spread_make(1000, deviation);

        /* a quarter of an octave is never sure */

        word = lrt_estimate_make(13 * LRT_LOG_ONE, n, 0);
        mean = 13 * LRT_LOG_ONE + LRT_LOG_ONE / 4 - (i & 1) * LRT_LOG_ONE / 2;

        judged = judge(word, mean, spread, between);

        part = between
               / (between + 2. * lrt_estimate_square(deviation) / n);
        want = mean + (13. * LRT_LOG_ONE - mean) * part;

        if (!check(judged > want - 80 && judged < want + 80,
                   "%u samples, %u apart by chance, %u beyond: %u, not %.0f",
                   n, deviation, between, judged, want))
        {
            return;
        }
    }

    ok(1, "the part of the difference that is not chance");

    is_u64(judge(word, mean, spread, 0), mean, "none where nobody differs");
}


/* a long answer that is no sign of more of them */

static void
test_rare(void)
{
    uint32_t  i;
    uint64_t  word;

    word = 0;

    for (i = 0; i < 300; i++) {
        word = lrt_estimate_add(word, 1000, 1000);
    }

    ok(time_of(lrt_estimate_add(word, 100000, 3000)) > 9000,
       "a hundred times as long after two seconds: ten times slower");
    ok(time_of(lrt_estimate_add_rare(word, 100000, 3000)) < 1110,
       "unless it is one of many, whatever the time: %llu us",
       (unsigned long long) time_of(lrt_estimate_add_rare(word, 100000,
                                                          3000)));
    is_u64(lrt_estimate_stamp(lrt_estimate_add_rare(word, 100000, 3000)), 3000,
           "and the time is kept");
}


static void
test_recovers(void)
{
    uint32_t    i;
    uint64_t    slow, slower, busy;
    lrt_norm_t  norm;

    norm = norm_of(1000);
    slow = lrt_estimate_make(lrt_estimate_us(4000), 5, 1000);
    slower = lrt_estimate_make(lrt_estimate_us(20000), 5, 1000);

    is_u64(lrt_estimate_recovers(slow, 2600, &norm, 2000), LRT_RECOVERS_NOT,
           "4 times slower, and answers in 2.6 times the usual time");
    is_u64(lrt_estimate_recovers(slow, 2400, &norm, 2000),
           LRT_RECOVERS_MAYBE, "nearer by a third: maybe it is well again");
    is_u64(lrt_estimate_recovers(slow, 1, &norm, 2000), LRT_RECOVERS_MAYBE,
           "in no time: that may be chance as well");

    is_u64(lrt_estimate_recovers(slower, 7600, &norm, 2000), LRT_RECOVERS_NOT,
           "20 times slower, and in 7.6 times the usual time");
    is_u64(lrt_estimate_recovers(slower, 7200, &norm, 2000),
           LRT_RECOVERS_SURELY, "in less: it is another one");

    busy = 0;

    for (i = 0; i < 100; i++) {
        busy = lrt_estimate_add(busy, 20000, 1000);
    }

    is_u64(lrt_estimate_recovers(busy, 1000, &norm, 1499),
           LRT_RECOVERS_IN_USE,
           "a hundred slow answers half a second ago say more than one");
    is_u64(lrt_estimate_recovers(busy, 1000, &norm, 1500),
           LRT_RECOVERS_SURELY, "later they do not");

    is_u64(lrt_estimate_recovers(lrt_estimate_make(norm.typical, 5, 1000), 1,
                                 &norm, 2000), LRT_RECOVERS_NOTHING,
           "one that is not slow");

    is_u64(lrt_estimate_recovers(0, 1, &norm, 2000), LRT_RECOVERS_NOTHING,
           "nobody knows what it was like before");

    norm.typical = 0;
    is_u64(lrt_estimate_recovers(slower, 1, &norm, 2000), LRT_RECOVERS_NOTHING,
           "or the others");
}


/* what was known of a slow server is no more than one answer any more */

static void
test_doubt(void)
{
    uint32_t    log;
    uint64_t    slow, usual, doubt;
    lrt_norm_t  norm;

    norm = norm_of(1000);
    log = lrt_estimate_us(20000);
    slow = lrt_estimate_make(log, 100, 1000);
    usual = lrt_estimate_make(norm.typical, 5, 1000);

    is_u64(lrt_estimate_doubt(slow, &norm, 1499), slow,
           "a hundred answers half a second ago");

    doubt = lrt_estimate_doubt(slow, &norm, 1500);
    is_u64(lrt_estimate_log(doubt), log, "later: it is slow");
    is_u64(lrt_estimate_samples(doubt), 1, "as far as one answer says");
    is_u64(lrt_estimate_stamp(doubt), 1000, "of then");

    doubt = lrt_estimate_make(log, 5, 1499);
    is_u64(lrt_estimate_samples(lrt_estimate_doubt(doubt, &norm, 1500)), 1,
           "five answers are few at any time");

    is_u64(lrt_estimate_doubt(usual, &norm, 9000), usual,
           "one that is not slow");
    is_u64(lrt_estimate_doubt(0, &norm, 9000), 0, "one that is unknown");

    norm.typical = 0;
    is_u64(lrt_estimate_doubt(slow, &norm, 9000), slow,
           "nobody knows what is slow");
}


/* the same server eight times: it must not be thought different */

static void
test_equal_means(void)
{
    uint32_t  i, j, k, same, all, n, octaves;
    group_t   g;

    n = tap_times(1000);

    for (octaves = 1; octaves <= 4; octaves++) {
        same = 0;
        all = 0;

        for (i = 0; i < n; i++) {
            memset(&g, 0, sizeof(group_t));

            for (j = 0; j < 40; j++) {
                for (k = 0; k < SERVERS; k++) {
                    answer(&g, k, noisy(10000, octaves), 1);
                }
            }

            for (k = 0; k < SERVERS; k++) {
                all++;
                same += (judge(g.word[k], typical(&g), g.spread, 0)
                         == typical(&g));
            }
        }

        ok(same >= all / 20 * 19,
           "times over %u octaves: %u of %u are thought equal", octaves, same,
           all);
    }
}


/* twice as long as the others, after 30 samples of each */

static void
test_factor_two(void)
{
    uint32_t  i, j, k, found, better, n;
    group_t   g;

    n = tap_times(1000);
    found = 0;
    better = 0;

    for (i = 0; i < n; i++) {
        memset(&g, 0, sizeof(group_t));

        for (j = 0; j < 30; j++) {
            for (k = 0; k < SERVERS; k++) {
                answer(&g, k, noisy(k == 0 ? 20000 : k == 1 ? 5000 : 10000, 1),
                       1);
            }
        }

        found += (judge(g.word[0], typical(&g), g.spread, 0) > typical(&g));
        better += (judge(g.word[1], typical(&g), g.spread, 0) < typical(&g));
    }

    ok(found >= n * 19 / 20, "twice the time is seen in %u of %u draws", found,
       n);
    ok(better >= n * 19 / 20, "half of it in %u", better);
}


static void
test_judge_one_sample(void)
{
    uint32_t  mean;
    uint64_t  word;

    mean = lrt_estimate_log(lrt_estimate_add(0, 1000, 0));

    word = lrt_estimate_add(0, 75000, 0);
    is_u64(judge(word, mean, (uint64_t) 1 << 32, 0), mean,
           "one answer of 75 times the usual is no proof");

    word = lrt_estimate_add(0, 83000, 0);
    is_u64(judge(word, mean, (uint64_t) 1 << 32, 0),
           lrt_estimate_log(word), "one of 83 times is, and in full");

    mean = lrt_estimate_log(lrt_estimate_add(0, 100000, 0));

    word = lrt_estimate_add(0, 330, 0);
    is_u64(judge(word, mean, (uint64_t) 1 << 32, 0), mean,
           "nor is one of a 300th");

    word = lrt_estimate_add(0, 300, 0);
    is_u64(judge(word, mean, (uint64_t) 1 << 32, 0),
           lrt_estimate_log(word), "one of a 330th is");
}


/* what is not sure is as the servers are that it is nearer to */

static void
test_judge_kinds(void)
{
    lrt_norm_t  norm;

    norm.typical = 12 * LRT_LOG_ONE;
    norm.kind[0] = 11 * LRT_LOG_ONE;
    norm.kind[1] = 13 * LRT_LOG_ONE;
    norm.between = 0;
    norm.spread = lrt_spread_make(1000, LRT_LOG_ONE);

    is_u64(lrt_estimate_judge(lrt_estimate_make(12 * LRT_LOG_ONE - 1000, 2, 0),
                              &norm),
           norm.kind[0], "nearer to the faster ones");
    is_u64(lrt_estimate_judge(lrt_estimate_make(12 * LRT_LOG_ONE + 1000, 2, 0),
                              &norm),
           norm.kind[1], "nearer to the slower ones");
    is_u64(lrt_estimate_judge(lrt_estimate_make(15 * LRT_LOG_ONE, 200, 0),
                              &norm),
           15 * LRT_LOG_ONE, "surely slower than even these");
    is_u64(lrt_estimate_judge(0, &norm), norm.typical, "not known");

    /* the variance of a mean of 128 is 2/128 */

    norm.between = lrt_estimate_square(LRT_LOG_ONE) / 64;

    is_u64(lrt_estimate_judge(lrt_estimate_make(11 * LRT_LOG_ONE + 2000, 128,
                                                0), &norm),
           11 * LRT_LOG_ONE + 1000, "as much chance as difference: half of it");
}


/* servers that take so long, with answers that differ by an octave */

static lrt_norm_t
norm_of(uint64_t us)
{
    lrt_norm_t  norm;

    memset(&norm, 0, sizeof(lrt_norm_t));

    norm.typical = lrt_estimate_us(us);
    norm.slow = norm.typical + 5 * LRT_LOG_ONE / 2;
    norm.kind[0] = norm.typical;
    norm.kind[1] = norm.typical;
    norm.spread = lrt_spread_make(1000, LRT_LOG_ONE);

    return norm;
}


static uint32_t
judge(uint64_t word, uint32_t typical, uint64_t spread, uint32_t between)
{
    lrt_norm_t  norm;

    norm.typical = typical;
    norm.kind[0] = typical;
    norm.kind[1] = typical;
    norm.between = between;
    norm.spread = spread;

    return lrt_estimate_judge(word, &norm);
}


/* us times 2 to something between plus and minus half the octaves */

static uint64_t
noisy(uint64_t us, uint32_t octaves)
{
    uint32_t  log, range;

    log = lrt_estimate_log(lrt_estimate_add(0, us, 0));
    range = octaves * LRT_LOG_ONE;

    return lrt_estimate_time(log - range / 2 + tap_below(range));
}


static void
answer(group_t *g, uint32_t i, uint64_t us, uint64_t ms)
{
    g->spread = lrt_spread_add(g->spread,
                               lrt_estimate_deviation(g->word[i], us));
    g->now += ms;
    g->word[i] = lrt_estimate_add(g->word[i], us, g->now);
}


static uint32_t
typical(const group_t *g)
{
    uint32_t  i;
    uint64_t  sum;

    sum = 0;

    for (i = 0; i < SERVERS; i++) {
        sum += lrt_estimate_log(g->word[i]);
    }

    return (uint32_t) (sum / SERVERS);
}


static uint64_t
time_of(uint64_t word)
{
    return lrt_estimate_time(lrt_estimate_log(word));
}


/* and a microsecond for what was rounded down */

static unsigned
near(uint64_t got, uint64_t want, uint32_t permille)
{
    uint64_t  apart;

    apart = (got > want) ? got - want : want - got;

    return apart <= want * permille / 1000 + 1;
}
