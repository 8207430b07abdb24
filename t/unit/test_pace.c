
/*
 * Copyright (C) the ngx_http_lrt_upstream_module authors
 *
 * Times of probes: how they are kept, and what least_time makes of them.
 */


#include "tap.h"
#include "timed.h"
#include "lrt_pace.h"


#define MS            1000               /* us */
#define PROBES        20

#define near(a, b)    ((a) * 100 >= (b) * 85 && (a) * 85 <= (b) * 100)


static void test_average(void);
static void test_scale(void);
static void test_recovers(void);
static void test_fresh(void);
static void test_stale(void);
static void test_never_asked(void);
static void test_only_probes(void);
static void test_failures(void);
static void test_other_check(void);
static void open_group(fx_t *fx, uint32_t n);
static void set_checks(fx_t *fx, uint32_t n, uint16_t port);
static void probes(fx_t *fx, uint32_t slot, uint64_t us);
static void probe(fx_t *fx, uint32_t slot, uint64_t us);
static uint64_t expected(fx_t *fx, uint32_t slot);


int
main(void)
{
    tap_begin();

    run(test_average);
    run(test_scale);
    run(test_recovers);
    run(test_fresh);
    run(test_stale);
    run(test_never_asked);
    run(test_only_probes);
    run(test_failures);
    run(test_other_check);

    return tap_end();
}


static void
test_average(void)
{
    uint32_t  i;
    uint64_t  word;

    word = lrt_pace_add(0, 4 * MS, 1);
    ok(near(lrt_estimate_time(lrt_pace_now(word)), 4 * MS), "the first");
    is_u64(lrt_pace_then(word), lrt_pace_now(word), "with an estimate");

    for (i = 0; i < 3; i++) {
        word = lrt_pace_add(word, 4 * MS, 1);
    }

    word = lrt_pace_add(word, 400 * MS, 0);
    ok(lrt_estimate_time(lrt_pace_now(word)) < 12 * MS, "a rare long one");
    ok(near(lrt_estimate_time(lrt_pace_then(word)), 4 * MS),
       "what belongs to the estimate stays");

    for (i = 0; i < 50; i++) {
        word = lrt_pace_add(word, 400 * MS, 0);
    }

    ok(near(lrt_estimate_time(lrt_pace_now(word)), 400 * MS), "many of them");

    ok(lrt_pace_add(0, 0, 0) && lrt_pace_now(lrt_pace_add(0, 0, 0)),
       "no time at all is known");
    ok(lrt_pace_now(lrt_pace_add(word, UINT64_MAX, 1)) > lrt_pace_now(word),
       "nor is the longest a problem");
}


static void
test_scale(void)
{
    uint32_t  log;

    log = 10 * LRT_LOG_ONE;

    is_u64(lrt_pace_scale(log, 0, log), log, "unknown");
    is_u64(lrt_pace_scale(log, log, 0), log, "nothing to compare with");
    is_u64(lrt_pace_scale(log, log + LRT_LOG_ONE / 4, log), log, "chance");
    is_u64(lrt_pace_scale(log, log - LRT_LOG_ONE / 4, log), log, "chance");
    is_u64(lrt_pace_scale(log, log + LRT_LOG_ONE * 5 / 4, log),
           log + LRT_LOG_ONE, "slower");
    is_u64(lrt_pace_scale(log, log - LRT_LOG_ONE * 5 / 4, log),
           log - LRT_LOG_ONE, "faster");
    is_u64(lrt_pace_scale(log, 2 * log, log), log + 3 * LRT_LOG_ONE,
           "eight times is the most");
    is_u64(lrt_pace_scale(log, 1, log), log - 3 * LRT_LOG_ONE,
           "and an eighth the least");
    is_u64(lrt_pace_scale(1, 1, log), 1, "never unknown");
}


/* a probe that took much less than those before asks for a request */

static void
test_recovers(void)
{
    fx_t        fx;
    uint64_t    word;
    lrt_hot_t  *hot;
    lrt_pick_t  pick;

    word = lrt_pace_add(0, 40 * MS, 1);
    ok(!lrt_pace_recovers(0, 1), "the first");
    ok(!lrt_pace_recovers(word, 17 * MS), "2.3 times as fast: chance");
    ok(lrt_pace_recovers(word, 16 * MS), "2.5 times: it is not");

    open_group(&fx, 3);
    hot = fx.table.hot;

    lt_answer(&fx, 0, 20 * MS, LT_SURE);
    lt_answer(&fx, 1, 400 * MS, LT_SURE);
    lt_answer(&fx, 2, 20 * MS, LT_SURE);
    probes(&fx, 0, 1 * MS);
    probes(&fx, 1, 20 * MS);

    fx.now += 1000;
    lt_answer(&fx, 0, 20 * MS, 8);
    lt_answer(&fx, 2, 20 * MS, 8);
    (void) fx_pick(&fx, &pick);
    is_u64(pick.slot, 1, "a slow server is tried");
    lt_finish(&fx, &pick, 400 * MS);

    lt_answer(&fx, 0, 20 * MS, 16);
    ok(lt_next(&fx) != 1, "it still is slow, and not tried for a second");

    probe(&fx, 1, 20 * MS);
    ok(lt_next(&fx) != 1, "a probe that takes as long as before");

    word = lrt_load(&hot[0].estimate);
    probe(&fx, 0, 20 * MS);
    probe(&fx, 0, 1 * MS);
    ok(lrt_load(&hot[0].estimate) == word, "one of a server that is not slow");

    word = lrt_load(&hot[1].estimate);
    probe(&fx, 1, 1 * MS);
    is_u64(lrt_estimate_log(lrt_load(&hot[1].estimate)), lrt_estimate_log(word),
           "a shorter one: it is slow");
    is_u64(lrt_estimate_samples(lrt_load(&hot[1].estimate)), 1,
           "but that is not sure any more");

    (void) fx_pick(&fx, &pick);
    is_u64(pick.slot, 1, "and it is tried at once");
    lt_finish(&fx, &pick, 20 * MS);

    is_u64(expected(&fx, 1), expected(&fx, 0), "and one good answer will do");
    ok(fx_quiet(&fx) == NULL, "valid");

    fx_close(&fx);
}


/* as long as requests are measured, probes do not count */

static void
test_fresh(void)
{
    fx_t      fx;
    uint64_t  before;

    open_group(&fx, 3);
    lt_answer(&fx, 0, 20 * MS, LT_SURE);
    lt_answer(&fx, 1, 20 * MS, LT_SURE);
    probes(&fx, 0, 1 * MS);
    probes(&fx, 1, 1 * MS);

    before = expected(&fx, 0);
    probes(&fx, 0, 500 * MS);
    is_u64(expected(&fx, 0), before, "a fresh estimate");

    fx.now += LRT_PACE_STALE;
    is_u64(expected(&fx, 0), before, "the last moment");

    fx_close(&fx);
}


static void
test_stale(void)
{
    fx_t      fx;
    uint64_t  before;

    open_group(&fx, 3);
    lt_answer(&fx, 0, 20 * MS, LT_SURE);
    lt_answer(&fx, 1, 20 * MS, LT_SURE);
    probes(&fx, 0, 1 * MS);
    probes(&fx, 1, 1 * MS);

    before = expected(&fx, 0);
    fx.now += LRT_PACE_STALE + 1;
    is_u64(expected(&fx, 0), before, "old, but probes are as they were");

    probes(&fx, 0, 4 * MS);
    ok(expected(&fx, 0) > 2 * before && expected(&fx, 0) < 4 * before,
       "probes take four times as long: %u us",
       (unsigned) expected(&fx, 0));

    probes(&fx, 0, 500 * MS);
    ok(near(expected(&fx, 0), 8 * before), "at most eight times as long");

    lt_answer(&fx, 0, 20 * MS, 1);
    ok(expected(&fx, 0) < 2 * before, "one answer has the last word");

    fx_close(&fx);
}


static void
test_never_asked(void)
{
    fx_t  fx;

    open_group(&fx, 3);
    lt_answer(&fx, 0, 20 * MS, LT_SURE);
    lt_answer(&fx, 1, 20 * MS, LT_SURE);
    ok(near(expected(&fx, 2), 20 * MS), "nothing known: typical");

    probes(&fx, 0, 1 * MS);
    probes(&fx, 1, 1 * MS);
    probes(&fx, 2, 64 * MS);
    lrt_rank_refresh(&fx.table, fx.now);

    ok(expected(&fx, 2) > 80 * MS, "its probes are slower than others': %u us",
       (unsigned) expected(&fx, 2));

    fx_close(&fx);
}


/* as with redirects, which are not seen again */

static void
test_only_probes(void)
{
    fx_t           fx;
    uint32_t       i, of[3];
    lrt_ask_t      ask;
    lrt_pick_t     pick;
    lrt_detail_t   detail;

    open_group(&fx, 3);
    probes(&fx, 0, 2 * MS);
    probes(&fx, 1, 2 * MS);
    probes(&fx, 2, 40 * MS);
    lrt_rank_refresh(&fx.table, fx.now);

    memset(&ask, 0, sizeof(lrt_ask_t));
    memset(of, 0, sizeof(of));
    ask.now = fx.now;

    for (i = 0; i < 3000; i++) {
        if (lrt_select_point(&fx.table, &ask, &pick, &detail) == LRT_OK) {
            of[pick.slot]++;
        }
    }

    ok(of[2] > 50 && of[2] < 300, "the slow one has few: %u", of[2]);
    ok(of[0] > 1300 && of[1] > 1300, "the fast ones have the rest: %u, %u",
       of[0], of[1]);

    ok(fx_quiet(&fx) == NULL, "valid");

    fx_close(&fx);
}


static void
test_failures(void)
{
    fx_t        fx;
    uint64_t    pace;
    lrt_turn_t  turn;

    open_group(&fx, 2);
    probes(&fx, 0, 2 * MS);
    pace = fx.table.health[0].pace;

    (void) fx_probe(&fx, 0, 0, LRT_PROBE_FAILED, 1, &turn);
    (void) fx_probe(&fx, 0, 0, LRT_PROBE_UNCLEAR, 1, &turn);
    ok(fx.table.health[0].pace == pace, "what fails says nothing of the pace");

    fx_close(&fx);
}


static void
test_other_check(void)
{
    fx_t        fx;
    uint64_t    pace;
    lrt_turn_t  turn;

    open_group(&fx, 2);
    set_checks(&fx, 2, 0);
    probes(&fx, 0, 2 * MS);
    pace = fx.table.health[0].pace;

    (void) fx_probe(&fx, 0, 1, LRT_PROBE_PASSED, 900 * MS, &turn);
    ok(fx.table.health[0].pace == pace, "a second check asks something else");

    set_checks(&fx, 1, 81);
    is_u64(fx.table.health[0].pace, 0, "so does one of another port");

    probes(&fx, 0, 2 * MS);
    set_checks(&fx, 0, 0);
    is_u64(fx.table.head->pace.value, 0, "nothing is left without checks");

    fx_close(&fx);
}


static void
open_group(fx_t *fx, uint32_t n)
{
    lt_open(fx, n, 1, 0);
    set_checks(fx, 1, 0);
}


static void
set_checks(fx_t *fx, uint32_t n, uint16_t port)
{
    uint32_t        i;
    lrt_settings_t  settings;

    memset(&settings, 0, sizeof(lrt_settings_t));
    settings.nchecks = n;

    for (i = 0; i < n; i++) {
        settings.check[i] = fx_check(1, 1);
        settings.check[i].port = (uint16_t) (port + i);
    }

    (void) fx_settings(fx, &settings);
}


static void
probes(fx_t *fx, uint32_t slot, uint64_t us)
{
    uint32_t  i;

    for (i = 0; i < PROBES; i++) {
        probe(fx, slot, us);
    }
}


static void
probe(fx_t *fx, uint32_t slot, uint64_t us)
{
    lrt_turn_t  turn;

    (void) fx_probe(fx, slot, 0, LRT_PROBE_PASSED, us, &turn);
}


static uint64_t
expected(fx_t *fx, uint32_t slot)
{
    uint64_t     generation;
    lrt_score_t  score;

    generation = lrt_table_generation(&fx->table);

    lrt_rank_score_slot(&fx->table, &score,
                        &lrt_table_side(&fx->table, generation)->policy,
                        &fx_entry(fx, slot)->params, slot, fx->now);

    return lrt_least_time_expected(&score);
}
