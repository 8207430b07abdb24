
/*
 * Copyright (C) the ngx_http_lrt_upstream_module authors
 */


#include "tap.h"
#include "timed.h"


static void test_word_learns(void);
static void test_word_forgets(void);
static void test_word_limits(void);
static void test_word_clocks(void);
static void test_judge_rules(void);
static void test_judge_noise(void);


int
main(void)
{
    tap_begin();

    run(test_word_learns);
    run(test_word_forgets);
    run(test_word_limits);
    run(test_word_clocks);
    run(test_judge_rules);
    run(test_judge_noise);

    return tap_end();
}


/* the mean of the logarithm, the first samples alike */

static void
test_word_learns(void)
{
    uint32_t  i, log;
    uint64_t  w, us;

    w = lrt_estimate_add(0, 1 << 10, 5);
    is_u64(lrt_estimate_log(w), 10 * LRT_LOG_ONE, "the first sample as it is");
    is_u64(lrt_estimate_stamp(w), 5, "and its time");

    w = lrt_estimate_add(w, 1 << 12, 5);
    is_u64(lrt_estimate_log(w), 11 * LRT_LOG_ONE,
           "two samples: half way between, in octaves");

    w = lt_word(1 << 10, LT_SURE);
    w = lrt_estimate_add(w, 1 << 20, 1000);
    log = lrt_estimate_log(w);

    ok(log <= 10 * LRT_LOG_ONE + LRT_LOG_ONE / 5,
       "one that is a thousand times as long: a fiftieth of the way");

    /* noise around 2^13 us is averaged out */

    w = 0;

    for (i = 0; i < 2000; i++) {
        us = (uint64_t) 1 << tap_between(11, 15);
        w = lrt_estimate_add(w, us, 1000);
    }

    log = lrt_estimate_log(w);
    ok(log > 12.2 * LRT_LOG_ONE && log < 13.8 * LRT_LOG_ONE,
       "four octaves of noise: %.2f octaves, 13 is the mean",
       (double) log / LRT_LOG_ONE);
}


/* what is old counts less, but one answer is never all that is known */

static void
test_word_forgets(void)
{
    uint32_t  i, log, before;
    uint64_t  w, now;

    w = lt_word(1 << 10, LT_SURE);
    w = lrt_estimate_add(w, 1 << 20, 1000 + 3600 * 1000);

    log = lrt_estimate_log(w);
    ok(log <= 15 * LRT_LOG_ONE && log > 14.9 * LRT_LOG_ONE,
       "an hour later a sample counts for half");

    before = 10 * LRT_LOG_ONE;

    for (i = 0; i <= 1500; i += 100) {
        now = 1000 + i;
        w = lrt_estimate_add(lt_word(1 << 10, LT_SURE), 1 << 20, now);
        log = lrt_estimate_log(w);

        if (!check(log >= before, "%u ms later", i)) {
            return;
        }

        before = log;
    }

    ok(before > 14.5 * LRT_LOG_ONE, "the older, the more a new one counts");
}


static void
test_word_limits(void)
{
    uint32_t  i;
    uint64_t  w;

    w = lrt_estimate_add(0, 0, 1);
    ok(w != 0 && lrt_estimate_log(w) > 0, "no time at all is not unknown");
    is_u64(lrt_estimate_time(lrt_estimate_log(w)), 2, "but 2 us");

    w = lrt_estimate_add(0, UINT64_MAX, 1);
    is_u64(lrt_estimate_time(lrt_estimate_log(w)), 1 << 30,
           "for ever is 18 minutes");

    /* neither the number of samples nor the mean runs out of its bits */

    for (i = 0; i < 100000; i++) {
        w = lrt_estimate_add(w, (i & 1) ? UINT64_MAX : 0, i / 50);

        if (!check(lrt_estimate_log(w) >= LRT_LOG_ONE
                   && lrt_estimate_log(w) <= 30 * LRT_LOG_ONE,
                   "sample %u: %u", i, lrt_estimate_log(w)))
        {
            return;
        }
    }

    ok(1, "100,000 samples of both extremes");
}


/* of two workers, the one that is late by a moment brings no old news */

static void
test_word_clocks(void)
{
    uint32_t  log;
    uint64_t  w, now;

    w = lrt_estimate_add(lt_word(1 << 10, LT_SURE), 1 << 20, 999);
    log = lrt_estimate_log(w);

    ok(log <= 10 * LRT_LOG_ONE + LRT_LOG_ONE / 5,
       "a sample 1 ms older than the last one counts for a fiftieth");

    now = 1000 + (1ull << 32);

    w = lrt_estimate_add(lt_word(1 << 10, LT_SURE), 1 << 20, now - 1);
    w = lrt_estimate_add(w, 1 << 10, now);

    ok(lrt_estimate_log(w) >= 10 * LRT_LOG_ONE
       && lrt_estimate_log(w) <= 15 * LRT_LOG_ONE,
       "clocks of 32 bits go round");
}


static void
test_judge_rules(void)
{
    uint32_t  i, n, log, far, typical, judged, before;
    uint64_t  w, spread;

    typical = 14 * LRT_LOG_ONE;
    spread = lrt_spread_add(0, LRT_LOG_ONE);

    is_u64(lrt_estimate_judge(0, typical, spread), typical,
           "an unknown server is typical");
    is_u64(lrt_estimate_judge(lt_word(1 << 12, 1), 0, 0), 0,
           "without a group nothing is known");

    is_u64(lrt_estimate_judge(lt_word(1 << 17, 1), typical, spread), typical,
           "one sample, three octaves up, says nothing");
    is_u64(lrt_estimate_judge(lt_word(1 << 11, 1), typical, spread), typical,
           "nor does one three octaves down");

    w = lt_word(1 << 15, LT_SURE);
    ok(lrt_estimate_judge(w, typical, spread) > typical,
       "many samples, one octave up: slower");

    w = lt_word(1 << 13, LT_SURE);
    ok(lrt_estimate_judge(w, typical, spread) < typical,
       "many samples, one octave down: faster");

    w = lt_word(17000, LT_SURE);
    is_u64(lrt_estimate_judge(w, typical, 0), typical,
           "4 per cent are no difference, however sure");

    /* between typical and its own, and the nearer to that the more is known */

    for (i = 0; i < 2000; i++) {

        w = 0;
        far = tap_between(1, 1 << 29);
        spread = lrt_spread_add(0, tap_below(8 * LRT_LOG_ONE));
        before = typical;

        for (n = 0; n < 60; n++) {
            w = lrt_estimate_add(w, far, 1000);
            log = lrt_estimate_log(w);
            judged = lrt_estimate_judge(w, typical, spread);

            if (!check((judged >= typical && judged <= log)
                       || (judged <= typical && judged >= log),
                       "%u is judged %u", log, judged)
                || !check((log > typical) ? judged >= before
                                          : judged <= before,
                          "%u samples of %u us: %u", n + 1, far, judged))
            {
                return;
            }

            before = judged;
        }
    }

    ok(1, "judgements are between typical and the server's own, ever nearer");
}


/* servers that are the same are judged the same, in spite of noise */

static void
test_judge_noise(void)
{
    fx_t      fx;
    uint32_t  i, j, log, equal, typical;
    uint64_t  spread;

    lt_open(&fx, 17, 1, 0);

    /* 1 to 8 ms, evenly in octaves; the last server is four times as slow */

    for (j = 0; j < LT_SURE; j++) {
        for (i = 0; i < 17; i++) {
            log = 10 * LRT_LOG_ONE + tap_below(3 * LRT_LOG_ONE)
                  + (i == 16) * 2 * LRT_LOG_ONE;

            lt_answer(&fx, i, lrt_estimate_time(log), 1);
        }
    }

    typical = (uint32_t) lrt_load(&fx.table.head->typical.value);
    spread = lrt_load(&fx.table.head->spread.value);
    equal = 0;

    for (i = 0; i < 16; i++) {
        equal += (lrt_estimate_judge(fx.table.hot[i].estimate, typical, spread)
                  == typical);
    }

    ok(equal >= 13, "%u of 16 equal servers are equal", equal);
    ok(lt_expected(&fx, 16) > 2 * lrt_estimate_time(typical),
       "the one that is slow is not");

    fx_close(&fx);
}
