
/*
 * Copyright (C) the ngx_http_lrt_upstream_module authors
 */


#include "tap.h"
#include "timed.h"
#include "lrt_errors.h"


/* answers of each of three others that pay for a trial of one of 80 ms */

#define LATER                345


static void test_trial_wait(void);
static void test_trial_later(void);
static void test_trial_seldom(void);
static void test_trial_row(void);
static void disappoint(fx_t *fx, uint32_t ms, uint32_t times);
static void later(fx_t *fx, uint32_t times);
static uint32_t samples(fx_t *fx);
static void test_trial(void);
static void test_trial_well(void);
static void trial_well(uint32_t n);
static void test_stall_after_pause(void);
static void test_stall_of_new(void);
static void test_cleared(void);
static void test_stalls_become_slow(void);
static void open_stalling(fx_t *fx);
static void stall(fx_t *fx, uint32_t times);
static void test_trial_fails(void);
static void test_trial_new(void);
static void test_lag(void);
static void test_lag_ignored(void);
static void test_lag_limits(void);
static void is_ms(fx_t *fx, uint32_t slot, uint64_t ms, const char *what);


int
main(void)
{
    tap_begin();

    run(test_trial_wait);
    run(test_trial_later);
    run(test_trial_seldom);
    run(test_trial_row);
    run(test_trial);
    run(test_trial_well);
    run(test_stall_after_pause);
    run(test_stall_of_new);
    run(test_cleared);
    run(test_stalls_become_slow);
    run(test_trial_fails);
    run(test_trial_new);
    run(test_lag);
    run(test_lag_ignored);
    run(test_lag_limits);

    return tap_end();
}


/* as long as the server takes to answer, 1 to 10 s */

static void
test_trial_wait(void)
{
    uint32_t             i;
    uint64_t             now;
    lrt_hot_t            hot;
    lrt_score_t          s;
    lrt_params_t         p;
    lrt_policy_t         pol;
    const lrt_method_t  *method;

    static const struct {
        uint64_t         us;
        uint32_t         wait;               /* ms */
    } known[] = {
        { 1 << 10, 1000 }, { 1 << 20, 1000 }, { 1 << 22, 3145 },
        { 1 << 23, 6291 }, { 1 << 24, 10000 }, { 1 << 30, 10000 }
    };

    method = lrt_method(LT);
    now = 5000000;
    p = fx_params(1);

    memset(&pol, 0, sizeof(lrt_policy_t));
    memset(&hot, 0, sizeof(lrt_hot_t));
    memset(&s, 0, sizeof(lrt_score_t));

    s.policy = &pol;
    s.hot = &hot;
    s.params = &p;
    s.norm.typical = 13 * LRT_LOG_ONE;

    for (i = 0; i < 100; i++) {
        s.norm.spread = lrt_spread_add(s.norm.spread, LRT_LOG_ONE);
    }

    for (i = 0; i < sizeof(known) / sizeof(known[0]); i++) {

        hot.trial = lrt_trial(now, 15, 0);
        hot.estimate = lrt_estimate_add(0, known[i].us, now);
        hot.inflight = 0;

        s.now = now + 1;

        is_u64(method->due(&s), now + known[i].wait,
               "%u ms of idling after answers of %llu ms", known[i].wait,
               (unsigned long long) known[i].us / 1000);

        s.now = now + known[i].wait - 1;

        check(method->key(&s) > 0, "%u ms: not before", known[i].wait);

        s.now++;
        is_u64(method->key(&s), 0, "then it is before all others");
        is_u64(method->due(&s), UINT64_MAX, "and nothing is to come");

        hot.inflight = 1;
        check(method->key(&s) > 0, "not while it has a request");
        is_u64(method->due(&s), UINT64_MAX, "nor with a request there");
    }

    hot.trial = lrt_trial(s.now + 3, 15, 0);
    hot.inflight = 0;
    check(method->key(&s) > 0, "asked by one whose clock was read later");

    /* a sample that came late is as good as a pick */

    hot.inflight = 0;
    hot.trial = lrt_trial(now, 15, 0);
    hot.estimate = lrt_estimate_add(0, 1 << 10, now + 700);
    s.now = now + 1000;

    is_u64(method->due(&s), now + 1700, "idle since its last answer");

    /* others have to answer in the meantime */

    hot.trial = lrt_trial(now, 15, 85);
    s.now = now + 60000;
    ok(method->key(&s) > 0, "15 samples of others: no trial");
    is_u64(method->due(&s), s.now + 1000, "it is looked at again later");

    hot.trial = lrt_trial(now, 15, 84);
    is_u64(method->key(&s), 0, "16 samples: a trial");

    s.norm.typical = 0;
    ok(method->key(&s) > 0, "in a group that knows nothing there is none");
}


/* who never was in use comes later, and so does who disappoints too often */

static void
test_trial_later(void)
{
    fx_t        fx;
    uint32_t    i;
    uint64_t   *trial;
    lrt_pick_t  pick;

    lt_open(&fx, 4, 1, 0);
    trial = &fx.table.hot[1].trial;

    for (i = 0; i < 4; i++) {
        lt_answer(&fx, i, (i == 1 ? 80 : 10) * LT_MS, 9);
    }

    disappoint(&fx, 500, 2);
    is_u64(lrt_trial_credit(*trial), 0, "eleven answers are no use of it");

    fx.now += 2998;
    later(&fx, LATER);
    ok(lt_next(&fx) != 1, "it always was slow: no trial for three seconds");

    later(&fx, 1);
    (void) fx_pick(&fx, &pick);
    is_u64(pick.slot, 1, "then it is tried");
    lt_finish(&fx, &pick, 80 * LT_MS);

    lt_answer(&fx, 1, 10 * LT_MS, LT_SURE);
    is_u64(lrt_trial_credit(*trial), LRT_TRIAL_CREDIT, "it is in use");

    lt_answer(&fx, 1, 80 * LT_MS, LT_SURE);

    for (i = LRT_TRIAL_CREDIT; i >= LRT_TRIAL_POOR - 1; i--) {

        disappoint(&fx, 1000, 1);

        if (!check(lrt_trial_credit(*trial)
                   == (i >= LRT_TRIAL_POOR ? i - 1 : 0), "it is slow"))
        {
            return;
        }
    }

    /* what was long ago does not count any more */

    ok(lrt_estimate_samples(fx.table.hot[1].estimate) < 10, "few answers");

    while (lrt_estimate_samples(fx.table.hot[1].estimate) < 10) {
        disappoint(&fx, 500, 1);
    }

    fx.now += 2998;
    later(&fx, LATER);
    ok(lt_next(&fx) != 1, "after fourteen and some it has to wait again");

    later(&fx, 1);
    ok(lt_next(&fx) == 1, "for three seconds");
    ok(fx_quiet(&fx) == NULL, "valid");

    fx_close(&fx);

    /* the first answers of a server may be its longest */

    lt_open(&fx, 4, 1, 0);

    for (i = 0; i < 4; i++) {
        lt_answer(&fx, i, (i == 1 ? 400 : 10) * LT_MS, i == 1 ? 1 : LT_SURE);
    }

    fx.now += 998;
    later(&fx, 32);
    ok(lt_next(&fx) != 1, "a single answer, and that long");

    later(&fx, 1);
    ok(lt_next(&fx) == 1, "it is tried after a second");

    fx_close(&fx);
}


/* it is tried after so many ms, not before, and is slow */

static void
disappoint(fx_t *fx, uint32_t ms, uint32_t times)
{
    uint32_t    i;
    lrt_pick_t  pick;

    for (i = 0; i < times; i++) {

        fx->now += ms - 2;
        later(fx, LATER / 2);

        if (!check(lt_next(fx) != 1, "not before %u ms", ms)) {
            return;
        }

        later(fx, 1);
        (void) fx_pick(fx, &pick);

        if (!check(pick.slot == 1, "a trial after %u ms", ms)) {
            return;
        }

        lt_finish(fx, &pick, 80 * LT_MS);
    }
}


/* in a group with few requests, until these pay for the time of a slow one */

static void
test_trial_seldom(void)
{
    fx_t      fx;
    uint32_t  i;

    lt_open(&fx, 4, 1, 0);

    for (i = 0; i < 4; i++) {
        lt_answer(&fx, i, (i == 1 ? 80 : 10) * LT_MS, LT_SURE);
    }

    /* eight times as slow, 32 answers, four servers */

    fx.now += 20000;
    later(&fx, 1);
    fx.table.hot[1].trial = lrt_trial(fx.now - 4000, 0, samples(&fx) - 1000);
    lrt_rank_refresh(&fx.table, fx.now);
    ok(lt_next(&fx) != 1, "1000 answers: no trial after four seconds");

    fx.table.hot[1].trial = lrt_trial(fx.now - 4000, 0, samples(&fx) - 1040);
    lrt_rank_refresh(&fx.table, fx.now);
    ok(lt_next(&fx) == 1, "1040: a trial");

    fx.table.hot[1].trial = lrt_trial(fx.now - 19999, 0, samples(&fx) - 40);
    lrt_rank_refresh(&fx.table, fx.now);
    ok(lt_next(&fx) != 1, "40 in nearly 20 seconds: none");

    fx.table.hot[1].trial = lrt_trial(fx.now - 20000, 0, samples(&fx) - 40);
    lrt_rank_refresh(&fx.table, fx.now);
    ok(lt_next(&fx) == 1, "in 20 seconds: one");

    fx.table.hot[1].trial = lrt_trial(fx.now - 4000, LRT_TRIAL_CREDIT,
                                      samples(&fx) - 40);
    lrt_rank_refresh(&fx.table, fx.now);
    ok(lt_next(&fx) == 1, "who was in use need not wait for that");
    ok(fx_quiet(&fx) == NULL, "valid");

    fx_close(&fx);
}


/* a slow machine may be fast by chance, and not three times in a row */

static void
test_trial_row(void)
{
    fx_t      fx;
    uint32_t  i, known;
    uint64_t  *trial, *estimate;

    lt_open(&fx, 4, 1, 0);
    trial = &fx.table.hot[1].trial;
    estimate = &fx.table.hot[1].estimate;

    for (i = 0; i < 4; i++) {
        lt_answer(&fx, i, (i == 1 ? 40 : 10) * LT_MS, LT_SURE);
    }

    *trial = lrt_trial(fx.now, 0, samples(&fx));
    fx.now += 3000;
    known = lrt_estimate_log(*estimate);

    lt_answer(&fx, 1, 10 * LT_MS, 1);
    is_u64(lrt_trial_credit(*trial), 1, "a good answer");
    ok(lrt_trial_stamp(*trial) != UINT32_MAX, "asks for no other");
    ok(lrt_estimate_log(*estimate) > known - LRT_LOG_ONE / 8,
       "and is one of many");

    fx.now += 1000;
    lt_answer(&fx, 1, 10 * LT_MS, 1);
    is_u64(lrt_trial_credit(*trial), 2, "two");

    fx.now += 1000;
    lt_answer(&fx, 1, 40 * LT_MS, 1);
    is_u64(lrt_trial_credit(*trial), 0, "and a slow one");
    ok(lrt_estimate_log(*estimate) > known - LRT_LOG_ONE / 8,
       "it is as slow as ever");

    for (i = 1; i <= 3; i++) {
        fx.now += 1000;
        lt_answer(&fx, 1, 10 * LT_MS, 1);
    }

    is_u64(lrt_estimate_samples(*estimate), 1, "three in a row");
    ok(lrt_estimate_time(lrt_estimate_log(*estimate)) < 10100,
       "it begins anew with the last of them");
    ok(fx_quiet(&fx) == NULL, "valid");

    fx_close(&fx);
}


static uint32_t
samples(fx_t *fx)
{
    return lrt_spread_samples(fx->table.head->learned.spread);
}


/* a millisecond later the others have answered so many */

static void
later(fx_t *fx, uint32_t times)
{
    fx->now++;

    lt_answer(fx, 0, 10 * LT_MS, times);
    lt_answer(fx, 2, 10 * LT_MS, times);
    lt_answer(fx, 3, 10 * LT_MS, times);
}


/* a slow server gets one request when it is due, and one only */

static void
test_trial(void)
{
    fx_t        fx;
    uint32_t    i;
    lrt_pick_t  trial, pick;

    lt_open(&fx, 2, 1, 0);

    lt_answer(&fx, 1, 200 * LT_MS, 32);
    lt_answer(&fx, 0, 10 * LT_MS, 32);

    for (i = 0; i < 999; i++) {
        fx.now++;
        lt_answer(&fx, 0, 10 * LT_MS, 1);

        if (!check(lt_next(&fx) == 0, "%u ms: not the slow one", i + 1)) {
            return;
        }
    }

    fx.now++;
    (void) fx_pick(&fx, &trial);
    is_u64(trial.slot, 1, "after a second it is the slow one's turn");
    is_u64(trial.reason.chosen.key, 0, "as a trial");

    /* nobody follows */

    for (i = 0; i < 2000; i++) {
        fx.now += 10;
        lt_answer(&fx, 0, 10 * LT_MS, 1);

        if (!check(lt_next(&fx) == 0, "%u ms into the trial", 10 * i)) {
            return;
        }
    }

    ok(1, "as long as that is not answered there is no other");

    lt_finish(&fx, &trial, 200 * LT_MS);
    is_u64(lt_next(&fx), 0, "when it is answered, slowly, neither");

    /* one that was fast half counts, and the others follow soon */

    lt_answer(&fx, 1, 50 * LT_MS, LT_SURE);
    lt_answer(&fx, 0, 10 * LT_MS, LT_SURE);
    fx.now += 1001;

    for (i = 0; i < 20; i++) {

        lt_answer(&fx, 0, 10 * LT_MS, 32);
        (void) fx_pick(&fx, &pick);

        if (pick.slot != 1 || pick.reason.chosen.key != 0) {
            break;
        }

        lt_finish(&fx, &pick, 10 * LT_MS);
    }

    (void) fx_end(&fx, &pick, LRT_ENDED_UNKNOWN);

    ok(i >= 3 && i < 10, "after %u of them it is as good as the other", i);

    /* many others: half of the time will do */

    lt_answer(&fx, 1, 200 * LT_MS, 100);
    lt_answer(&fx, 0, 10 * LT_MS, 2300);
    fx.now += 501;
    is_u64(lt_next(&fx), 0, "half a second and 2,400 answers");

    lt_answer(&fx, 0, 10 * LT_MS, 104);
    is_u64(lt_next(&fx), 1, "and a hundred more");

    ok(lt_expected(&fx, 1) > lt_expected(&fx, 0),
       "%llu us are expected of it, %llu us of the other",
       (unsigned long long) lt_expected(&fx, 1),
       (unsigned long long) lt_expected(&fx, 0));

    ok(fx_quiet(&fx) == NULL, "valid");

    fx_close(&fx);
}


/* so good an answer that the server must be another one: a new beginning */

static void
test_trial_well(void)
{
    trial_well(2);
    trial_well(4);
}


static void
trial_well(uint32_t n)
{
    fx_t        fx;
    uint32_t    i;
    lrt_pick_t  trial;

    lt_open(&fx, n, 1, 0);

    for (i = 0; i < n; i++) {
        lt_answer(&fx, i, 10 * LT_MS, LT_SURE);
    }

    stall(&fx, 4);
    lt_answer(&fx, 1, 2000 * LT_MS, LT_SURE);
    ok(lt_expected(&fx, 1) > 1000 * LT_MS, "200 times slower than others");
    ok(lrt_stalls_stalling(fx.table.health[1].errors),
       "that began with what looked like stalls");

    fx.now += 2001;
    lt_answer(&fx, 0, 10 * LT_MS, 32);

    (void) fx_pick(&fx, &trial);
    is_u64(trial.slot, 1, "a trial, of %u servers", n);

    lt_finish(&fx, &trial, 11 * LT_MS);

    is_u64(lrt_estimate_samples(fx.table.hot[1].estimate), 1,
           "one good answer is all that is known");
    is_u64(lrt_estimate_log(fx.table.hot[1].estimate),
           lrt_estimate_us(11 * LT_MS), "as long as it took");
    is_u64(lrt_stalls_part(fx.table.health[1].errors), 0, "without stalls");
    is_u64(lt_expected(&fx, 1), lt_expected(&fx, 0), "and it is typical");

    fx_close(&fx);
}


/* one long answer after a pause is a stall, two are a change */

static void
test_stall_after_pause(void)
{
    fx_t      fx;
    uint32_t  i;

    lt_open(&fx, 4, 1, 0);

    for (i = 0; i < 4; i++) {
        lt_answer(&fx, i, 10 * LT_MS, LT_SURE);
    }

    fx.now += 2000;
    lt_answer(&fx, 1, 1000 * LT_MS, 1);

    ok(lrt_estimate_time(lrt_estimate_log(fx.table.hot[1].estimate))
       < 12 * LT_MS, "a hundred times as long, once");

    fx.now += 2000;
    lt_answer(&fx, 1, 1000 * LT_MS, 1);

    ok(lrt_estimate_time(lrt_estimate_log(fx.table.hot[1].estimate))
       > 80 * LT_MS, "twice: ten times slower");

    fx_close(&fx);
}


/* of a server that is new nobody knows what is long */

static void
test_stall_of_new(void)
{
    fx_t  fx;

    lt_open(&fx, 2, 1, 0);

    lt_answer(&fx, 0, 10 * LT_MS, LT_SURE);

    lt_answer(&fx, 1, 1, 2);
    lt_answer(&fx, 1, 10 * LT_MS, 1);
    is_u64(lrt_stalls_part(fx.table.health[1].errors), 0,
           "two short answers, and one that is not");

    lt_answer(&fx, 1, 10 * LT_MS, LT_SURE);
    lt_answer(&fx, 1, 2000 * LT_MS, 1);
    ok(lrt_stalls_part(fx.table.health[1].errors) > 0, "later it is a stall");

    fx_close(&fx);
}


/* what failures made of a server's time is of no use when it is well again */

static void
test_cleared(void)
{
    fx_t           fx;
    uint32_t       i;
    lrt_outcome_t  out;

    lt_open(&fx, 4, 1, 0);

    for (i = 0; i < 4; i++) {
        lt_answer(&fx, i, 10 * LT_MS, LT_SURE);
    }

    memset(&out, 0, sizeof(lrt_outcome_t));
    out.failed = 1;
    out.time = 1;

    for (i = 0; i < 400; i++) {
        lt_end(&fx, 1, LRT_ENDED_FAILED, &out);
    }

    ok(lrt_errors_suspected(fx.table.health[1].errors), "it fails");
    ok(lt_expected(&fx, 1) > 100 * LT_MS, "and is taken for slow");

    for (i = 0; i < 20; i++) {

        if (!lrt_errors_suspected(fx.table.health[1].errors)) {
            break;
        }

        if (!check(lt_expected(&fx, 1) > 50 * LT_MS, "%u: it still is", i)) {
            return;
        }

        lt_answer(&fx, 1, 10 * LT_MS, 1);
    }

    ok(i > 3 && i < 12, "%u good answers clear it", i);
    is_u64(lt_expected(&fx, 1), lt_expected(&fx, 0), "of all that");

    fx_close(&fx);
}


/* a server that is known for stalls has become slow, and is well again */

static void
test_stalls_become_slow(void)
{
    fx_t        fx;
    uint32_t    i;
    uint64_t    log, slow;
    lrt_pick_t  trial;

    open_stalling(&fx);

    for (i = 0; i < 4; i++) {
        fx.now += 1000;
        lt_answer(&fx, 1, 2000 * LT_MS, 1);
    }

    log = lrt_estimate_log(fx.table.hot[1].estimate);
    slow = lrt_load(&fx.table.head->typical.slow);
    ok(log > slow, "four slow answers in four seconds: it is slow");

    fx.now += 2001;
    lt_answer(&fx, 0, 10 * LT_MS, 32);

    (void) fx_pick(&fx, &trial);
    is_u64(trial.slot, 1, "a trial");
    lt_finish(&fx, &trial, 10 * LT_MS);

    is_u64(lt_expected(&fx, 1), lt_expected(&fx, 0), "and all is forgotten");

    fx_close(&fx);
}


/* four servers, the second of which stalls now and then */

static void
open_stalling(fx_t *fx)
{
    uint32_t  i;

    lt_open(fx, 4, 1, 0);

    for (i = 0; i < 4; i++) {
        lt_answer(fx, i, 10 * LT_MS, LT_SURE);
    }

    stall(fx, 4);
    ok(lrt_stalls_stalling(fx->table.health[1].errors), "it stalls");
}


static void
stall(fx_t *fx, uint32_t times)
{
    while (times--) {
        lt_answer(fx, 1, 2000 * LT_MS, 1);
        lt_answer(fx, 1, 10 * LT_MS, 1);
    }
}


/* a trial that fails makes it no better, and the next one waits */

static void
test_trial_fails(void)
{
    fx_t        fx;
    uint32_t    i, trials;
    uint64_t    before;
    lrt_pick_t  pick;

    lt_open(&fx, 2, 1, 0);

    lt_answer(&fx, 1, 200 * LT_MS, 32);
    lt_answer(&fx, 0, 10 * LT_MS, 32);

    before = fx.table.hot[1].estimate;
    trials = 0;

    for (i = 0; i < 1000; i++) {
        fx.now += 10;
        (void) fx_pick(&fx, &pick);

        if (pick.slot == 0) {
            lt_finish(&fx, &pick, 10 * LT_MS);
            continue;
        }

        trials++;
        (void) fx_end(&fx, &pick, LRT_ENDED_FAILED);
    }

    ok(trials >= 3 && trials <= 10, "%u trials in ten seconds", trials);
    ok(lrt_estimate_log(fx.table.hot[1].estimate) >= lrt_estimate_log(before),
       "it is no faster for them");

    fx_close(&fx);
}


/* a server that is new is tried as soon as enough is known of the others */

static void
test_trial_new(void)
{
    fx_t          fx;
    uint64_t      ident;
    lrt_pick_t    pick;
    lrt_params_t  p;

    lt_open(&fx, 2, 1, 0);

    lt_answer(&fx, 0, 10 * LT_MS, 32);
    lt_answer(&fx, 1, 10 * LT_MS, 32);

    p = fx_params(1);
    ident = fx_add(&fx, 1000, &p);
    lrt_rank_refresh(&fx.table, fx.now);

    (void) fx_pick(&fx, &pick);
    is_u64(pick.ident, ident, "the next request goes to the new server");
    is_u64(pick.reason.chosen.key, 0, "as a trial");

    (void) fx_pick(&fx, &pick);
    ok(pick.ident != ident, "and the next one to another");

    fx_close(&fx);
}


/* "inflight": what is not answered raises what is expected, for a while */

static void
test_lag(void)
{
    fx_t      fx;
    uint32_t  i;
    uint64_t  time;

    lt_open(&fx, 3, 1, 1);

    for (i = 0; i < 3; i++) {
        lt_answer(&fx, i, 10 * LT_MS, LT_SURE);
    }

    time = lt_expected(&fx, 0);
    lrt_least_time_lag(&fx.table, 0, 0, 15 * LT_MS, fx.now);
    is_u64(lt_expected(&fx, 0), time,
           "a request that is a little late is none");

    lrt_least_time_lag(&fx.table, 0, 0, 900 * LT_MS, fx.now);
    is_ms(&fx, 0, 900,
           "a second is not what was expected");

    lrt_least_time_lag(&fx.table, 0, 0, 400 * LT_MS, fx.now);
    is_ms(&fx, 0, 900, "a younger one changes nothing");

    lrt_least_time_lag(&fx.table, 0, 1, 950 * LT_MS, fx.now);
    is_ms(&fx, 0, 950,
           "one with a header counts as well");

    for (i = 0; i < 30; i++) {
        if (!check(lt_next(&fx) != 0, "request %u goes elsewhere", i)) {
            return;
        }
    }

    fx.now += 299;
    is_ms(&fx, 0, 950, "it holds for 299 ms");

    lrt_least_time_lag(&fx.table, 1, 0, 500 * LT_MS, fx.now);

    fx.now++;
    is_u64(lt_expected(&fx, 0), time, "not for 300");
    is_ms(&fx, 1, 500, "that of another server does");

    lrt_least_time_lag(&fx.table, 0, 0, 400 * LT_MS, fx.now);
    is_ms(&fx, 0, 400,
           "when it is over a younger one counts");

    /* what is known to be slow does not become better */

    lt_answer(&fx, 2, 60000 * LT_MS, LT_SURE);
    time = lt_expected(&fx, 2);
    lrt_store(&fx.table.hot[2].lag, lrt_lag(fx.now, 1));
    is_u64(lt_expected(&fx, 2), time, "it never lowers what is expected");

    fx_close(&fx);
}


static void
test_lag_ignored(void)
{
    fx_t      fx;
    uint64_t  time;

    lt_open(&fx, 2, 1, 1);
    lrt_least_time_lag(&fx.table, 0, 0, 900 * LT_MS, fx.now);
    is_u64(fx.table.hot[0].lag, 0, "nothing is known of the group: no word");
    fx_close(&fx);

    lt_open(&fx, 2, 1, 0);
    lt_answer(&fx, 0, 10 * LT_MS, LT_SURE);
    time = lt_expected(&fx, 0);

    lrt_least_time_lag(&fx.table, 0, 0, 900 * LT_MS, fx.now);
    is_u64(fx.table.hot[0].lag, 0, "without \"inflight\": no word");

    fx.table.hot[0].lag = lrt_lag(fx.now, 900);
    is_u64(lt_expected(&fx, 0), time, "and one that is there does not count");
    fx_close(&fx);

    lt_open(&fx, 2, 0, 1);
    lt_answer(&fx, 0, 10 * LT_MS, LT_SURE);
    lrt_least_time_lag(&fx.table, 0, 1, 900 * LT_MS, fx.now);
    is_u64(fx.table.hot[0].lag, 0,
           "\"header\": a request whose header came is not late");

    lrt_least_time_lag(&fx.table, 0, 0, 900 * LT_MS, fx.now);
    is_ms(&fx, 0, 900,
           "one whose header did not come is");
    fx_close(&fx);
}


static void
test_lag_limits(void)
{
    fx_t      fx;
    uint32_t  i;

    /* no two answers are alike: nothing is so late that it says something */

    lt_open(&fx, 2, 1, 1);

    for (i = 0; i < 200; i++) {
        fx.now += 3600 * 1000;
        lt_answer(&fx, 0, (i & 1) ? UINT64_MAX : 0, 1);
    }

    lrt_least_time_lag(&fx.table, 0, 0, (uint64_t) 1 << 40, fx.now);
    is_u64(fx.table.hot[0].lag, 0,
           "answers of 2 us and of 18 minutes in turn");
    fx_close(&fx);

    lt_open(&fx, 2, 1, 1);
    lt_answer(&fx, 0, 10 * LT_MS, LT_SURE);
    lt_answer(&fx, 1, 10 * LT_MS, LT_SURE);

    lrt_least_time_lag(&fx.table, 0, 0, (uint64_t) 1 << 40, fx.now);
    ok(lt_expected(&fx, 0) > 60000 * LT_MS && lt_expected(&fx, 0) <= 1 << 28,
       "a request that is days old");
    is_u64(lt_next(&fx), 1, "the other server is better");
    fx_close(&fx);
}


/* a time that went through a logarithm */

static void
is_ms(fx_t *fx, uint32_t slot, uint64_t ms, const char *what)
{
    uint64_t  us;

    us = lt_expected(fx, slot);

    ok(us <= ms * LT_MS && us >= ms * (LT_MS - 1), "%s: %llu us", what,
       (unsigned long long) us);
}
