
/*
 * Copyright (C) the ngx_http_lrt_upstream_module authors
 */


#include "tap.h"
#include "fixture.h"

#include <string.h>


static void test_verdicts(void);
static void test_unclear(void);
static void test_strings(void);
static void test_merge(void);
static void test_out_and_back(void);
static void test_falls(void);
static void test_two_checks(void);
static void test_mandatory(void);
static void test_other_settings(void);
static void test_persistent(void);
static void test_late_prober(void);
static void test_removed_meanwhile(void);
static void test_readmit(void);
static void test_forced(void);
static void test_move(void);
static void test_flaps(void);
static void test_drained(void);
static void test_place(void);
static void test_old_answer(void);
static void test_killed_before_following(void);
static void test_downtime(void);
static uint64_t add(fx_t *fx, uint32_t number);
static lrt_rc_t set_checks(fx_t *fx, const lrt_check_t *check, uint32_t n);
static lrt_rc_t probe(fx_t *fx, uint32_t slot, uint32_t check,
    lrt_probed_e how, lrt_turn_t *turn);
static lrt_state_e state_of(fx_t *fx, uint32_t i);
static unsigned takes_requests(fx_t *fx, uint32_t slot);


int
main(void)
{
    tap_begin();

    run(test_verdicts);
    run(test_unclear);
    run(test_strings);
    run(test_merge);
    run(test_out_and_back);
    run(test_falls);
    run(test_two_checks);
    run(test_mandatory);
    run(test_other_settings);
    run(test_persistent);
    run(test_late_prober);
    run(test_removed_meanwhile);
    run(test_readmit);
    run(test_forced);
    run(test_move);
    run(test_flaps);
    run(test_drained);
    run(test_place);
    run(test_old_answer);
    run(test_killed_before_following);
    run(test_downtime);

    return tap_end();
}


static uint64_t
step(uint64_t word, const lrt_check_t *check, lrt_probed_e how)
{
    lrt_result_t  result;

    memset(&result, 0, sizeof(lrt_result_t));
    result.how = how;
    result.reason = how;

    return lrt_verdict_next(word, check, &result);
}


/* a verdict turns after so many results in a row against it, and not before */

static void
test_verdicts(void)
{
    uint32_t      i, fails, passes;
    uint64_t      word;
    lrt_check_t   check;

    for (fails = 1; fails < 5; fails++) {
        for (passes = 1; passes < 5; passes++) {

            check = fx_check(fails, passes);
            word = 0;

            for (i = 1; i <= fails; i++) {
                word = step(word, &check, LRT_PROBE_FAILED);
                is_u64(lrt_verdict(word),
                       i < fails ? LRT_UNCHECKED : LRT_FAILING,
                       "%u of %u fails at first", i, fails);
            }

            for (i = 1; i <= passes; i++) {
                word = step(word, &check, LRT_PROBE_PASSED);
                is_u64(lrt_verdict(word),
                       i < passes ? LRT_FAILING : LRT_PASSING,
                       "%u of %u passes", i, passes);
            }

            /* one in between makes the count begin again */

            for (i = 1; i < fails; i++) {
                word = step(word, &check, LRT_PROBE_FAILED);
            }

            word = step(word, &check, LRT_PROBE_PASSED);
            is_u64(lrt_verdict_run(word), 0, "a pass between fails");

            for (i = 1; i <= fails; i++) {
                is_u64(lrt_verdict(word), LRT_PASSING, "still well");
                word = step(word, &check, LRT_PROBE_FAILED);
            }

            is_u64(lrt_verdict(word), LRT_FAILING, "and not well");
        }
    }

    check = fx_check(3, 3);
    is_u64(lrt_verdict(step(0, &check, LRT_PROBE_PASSED)), LRT_PASSING,
           "the first pass is enough for who was not checked");
}


static void
test_unclear(void)
{
    uint64_t      word;
    lrt_check_t   check;

    check = fx_check(2, 2);

    word = step(0, &check, LRT_PROBE_PASSED);
    word = step(word, &check, LRT_PROBE_FAILED);
    word = step(word, &check, LRT_PROBE_UNCLEAR);

    is_u64(lrt_verdict(word), LRT_PASSING, "neither a failure");
    is_u64(lrt_verdict_run(word), 1, "nor a pass");
    is_u64(lrt_verdict_reason(word), LRT_PROBE_UNCLEAR, "but to be seen");

    word = step(word, &check, LRT_PROBE_FAILED);
    is_u64(lrt_verdict(word), LRT_FAILING, "the next one counts on");
}


static void
test_strings(void)
{
    uint32_t      i, j;
    lrt_str_t     s[LRT_CHECK_STRINGS], got;
    char          text[LRT_CHECK_DATA_LEN + 1];
    lrt_check_t   check;

    memset(text, 'x', sizeof(text));

    for (i = 0; i < 200; i++) {

        for (j = 0; j < LRT_CHECK_STRINGS; j++) {
            text[j] = (char) ('a' + j);
            s[j].data = text + j;
            s[j].len = tap_below(100);
        }

        if (!check(lrt_check_set_strings(&check, s), "they fit")) {
            return;
        }

        for (j = 0; j < LRT_CHECK_STRINGS; j++) {
            got = lrt_check_string(&check, j);

            if (!check(got.len == s[j].len
                       && memcmp(got.data, s[j].data, got.len) == 0,
                       "string %u comes back", j))
            {
                return;
            }
        }
    }

    memset(s, 0, sizeof(s));
    s[4].data = text;
    s[4].len = LRT_CHECK_DATA_LEN;
    ok(lrt_check_set_strings(&check, s), "all there is room for");

    s[0].data = text;
    s[0].len = 1;
    ok(!lrt_check_set_strings(&check, s), "and one too many");
}


static void
test_merge(void)
{
    lrt_settings_t  live, before, conf;

    memset(&before, 0, sizeof(lrt_settings_t));

    before.slow_start = 1000;
    before.nchecks = 1;
    before.check[0] = fx_check(1, 1);
    conf = before;

    live = before;
    live.panic = 500;
    live.check[0].interval = 77;

    lrt_settings_merge(&live, &before, &conf);
    is_u64(live.panic, 500, "what was changed at run time stays");
    is_u64(live.check[0].interval, 77, "in a check, too");

    conf.slow_start = 2000;
    lrt_settings_merge(&live, &before, &conf);
    is_u64(live.slow_start, 2000, "what the configuration changes comes");
    is_u64(live.check[0].interval, 77, "and nothing else");

    conf.check[0].fails = 9;
    lrt_settings_merge(&live, &before, &conf);
    ok(memcmp(&live.check, &conf.check, sizeof(conf.check)) == 0,
       "checks come as one");
}


static void
test_out_and_back(void)
{
    fx_t         fx;
    uint32_t     i;
    lrt_turn_t   turn;
    lrt_check_t  check;

    fx_open(&fx, 8);
    add(&fx, 0);
    add(&fx, 1);

    check = fx_check(3, 2);
    is_u64(set_checks(&fx, &check, 1), LRT_OK, "a check");
    is_u64(state_of(&fx, 0), LRT_STATE_UP, "up before any probe");

    for (i = 1; i <= 3; i++) {
        ok(takes_requests(&fx, 0), "in use after %u fails", i - 1);
        fx.now += 1000;
        probe(&fx, 0, 0, LRT_PROBE_FAILED, &turn);
        is_u64(turn.turned, i == 3, "turned");
    }

    is_u64(turn.state, LRT_USE_FAILING, "and how");
    ok(!takes_requests(&fx, 0), "out of use");
    ok(takes_requests(&fx, 1), "the other is not");
    is_u64(state_of(&fx, 0), LRT_STATE_UNHEALTHY, "as the API says");

    fx.now += 5000;
    probe(&fx, 0, 0, LRT_PROBE_PASSED, &turn);
    ok(!turn.turned && !takes_requests(&fx, 0), "one pass");
    fx.now += 5000;
    probe(&fx, 0, 0, LRT_PROBE_PASSED, &turn);
    ok(turn.turned && takes_requests(&fx, 0), "two of them");
    is_u64(turn.lasted, 10000, "how long it was out");

    is_u64(fx.table.health[0].downtime, 10000, "downtime");
    is_u64(fx.table.health[0].checks, 5, "checks");
    is_u64(fx.table.health[0].fails, 3, "fails");
    is_u64(fx.table.health[0].unhealthy, 1, "unhealthy");
    is_u64(fx.table.health[0].turns, 2, "turns");
    ok(fx.table.hot[0].health & LRT_HEALTH_RAMP, "it starts slowly");
    ok(fx_quiet(&fx) == NULL, "valid at the end");

    fx_close(&fx);
}


/* how often in a row it did not stay: all else is as if it never had failed */

static void
test_falls(void)
{
    fx_t         fx;
    uint32_t     i;
    lrt_hot_t   *hot;
    lrt_turn_t   turn;
    lrt_check_t  check;

    fx_open(&fx, 8);
    add(&fx, 0);
    add(&fx, 1);

    hot = &fx.table.hot[0];
    check = fx_check(1, 1);
    check.mandatory = 1;
    set_checks(&fx, &check, 1);
    probe(&fx, 0, 0, LRT_PROBE_PASSED, &turn);
    hot->health &= ~(uint64_t) LRT_HEALTH_RAMP;

    for (i = 1; i <= LRT_HEALTH_FALLS_MAX + 2; i++) {
        fx.now += 1000;
        probe(&fx, 0, 0, LRT_PROBE_FAILED, &turn);
        ok(turn.turned && !takes_requests(&fx, 0), "out at once");
        is_u64(turn.state, LRT_USE_FAILING, "as failing");

        fx.now += 1000;
        probe(&fx, 0, 0, LRT_PROBE_PASSED, &turn);
        ok(turn.turned && takes_requests(&fx, 0), "back at once");
        is_u64(lrt_health_falls(hot->health),
               (i < LRT_HEALTH_FALLS_MAX) ? i : LRT_HEALTH_FALLS_MAX, "falls");

        /* the slow start is over, or there is none */

        hot->health &= ~(uint64_t) LRT_HEALTH_RAMP;
    }

    is_u64(fx.table.health[0].turns, 2 + 2 * (i - 1), "each turn is counted");

    fx.now += LRT_HEALTH_STEADY;
    probe(&fx, 0, 0, LRT_PROBE_FAILED, &turn);
    is_u64(lrt_health_falls(hot->health), 1, "after a steady time");

    probe(&fx, 0, 0, LRT_PROBE_PASSED, &turn);
    fx.now += LRT_HEALTH_STEADY;
    ok(hot->health & LRT_HEALTH_RAMP, "within a slow start");
    probe(&fx, 0, 0, LRT_PROBE_FAILED, &turn);
    is_u64(lrt_health_falls(hot->health), 2, "however long that takes");

    ok(fx_quiet(&fx) == NULL, "valid at the end");

    fx_close(&fx);
}


static void
test_two_checks(void)
{
    fx_t         fx;
    lrt_turn_t   turn;
    lrt_check_t  check[2];

    fx_open(&fx, 8);
    add(&fx, 0);

    check[0] = check[1] = fx_check(1, 1);
    check[1].port = 81;
    set_checks(&fx, check, 2);

    probe(&fx, 0, 0, LRT_PROBE_FAILED, &turn);
    probe(&fx, 0, 1, LRT_PROBE_FAILED, &turn);
    ok(!turn.turned, "out already");
    probe(&fx, 0, 0, LRT_PROBE_PASSED, &turn);
    ok(!takes_requests(&fx, 0), "all have to pass");
    probe(&fx, 0, 1, LRT_PROBE_PASSED, &turn);
    ok(takes_requests(&fx, 0), "all do");
    is_u64(fx.table.health[0].unhealthy, 1, "unhealthy once");

    fx_close(&fx);
}


static void
test_mandatory(void)
{
    fx_t         fx;
    lrt_turn_t   turn;
    lrt_check_t  check;

    fx_open(&fx, 8);

    check = fx_check(2, 2);
    check.mandatory = 1;
    set_checks(&fx, &check, 1);
    add(&fx, 0);

    is_u64(state_of(&fx, 0), LRT_STATE_CHECKING, "it waits for a probe");
    ok(!takes_requests(&fx, 0), "without requests");

    probe(&fx, 0, 0, LRT_PROBE_FAILED, &turn);
    is_u64(state_of(&fx, 0), LRT_STATE_CHECKING, "a failure");
    probe(&fx, 0, 0, LRT_PROBE_PASSED, &turn);
    ok(turn.turned && takes_requests(&fx, 0), "a pass lets it in");
    ok(fx.table.hot[0].health & LRT_HEALTH_RAMP,
       "slowly, as it was added at run time");

    fx_close(&fx);
}


/* a check that asks something else has not seen the servers yet */

static void
test_other_settings(void)
{
    fx_t         fx;
    lrt_turn_t   turn;
    lrt_check_t  check;

    fx_open(&fx, 8);
    add(&fx, 0);
    add(&fx, 1);

    check = fx_check(1, 1);
    set_checks(&fx, &check, 1);
    probe(&fx, 0, 0, LRT_PROBE_FAILED, &turn);
    probe(&fx, 1, 0, LRT_PROBE_PASSED, &turn);

    check.interval = 7000;
    check.fails = 3;
    set_checks(&fx, &check, 1);
    ok(!takes_requests(&fx, 0), "the same question, more often");

    check.port = 8080;
    set_checks(&fx, &check, 1);
    ok(takes_requests(&fx, 0), "another one");

    probe(&fx, 0, 0, LRT_PROBE_FAILED, &turn);
    probe(&fx, 0, 0, LRT_PROBE_FAILED, &turn);
    probe(&fx, 0, 0, LRT_PROBE_FAILED, &turn);
    ok(!takes_requests(&fx, 0), "has its own answer");

    set_checks(&fx, NULL, 0);
    ok(takes_requests(&fx, 0), "no check, no reason to keep it out");
    ok(fx_quiet(&fx) == NULL, "valid at the end");

    fx_close(&fx);
}


static void
test_persistent(void)
{
    fx_t         fx;
    unsigned     persistent;
    lrt_turn_t   turn;
    lrt_check_t  check;

    for (persistent = 0; persistent < 2; persistent++) {

        fx_open(&fx, 8);
        add(&fx, 0);
        add(&fx, 1);

        check = fx_check(1, 1);
        check.mandatory = 1;
        check.persistent = persistent;
        set_checks(&fx, &check, 1);

        probe(&fx, 0, 0, LRT_PROBE_PASSED, &turn);
        probe(&fx, 1, 0, LRT_PROBE_FAILED, &turn);

        check.port = 81;
        set_checks(&fx, &check, 1);

        is_u64(takes_requests(&fx, 0), persistent, "who was well");
        ok(!takes_requests(&fx, 1), "who was not");

        fx_close(&fx);
    }
}


/* one who was stopped in the middle of a probe brings his result too late */

static void
test_late_prober(void)
{
    fx_t          fx;
    lrt_turn_t    turn;
    lrt_probe_t   old, new;
    lrt_check_t   check;
    lrt_result_t  result;

    fx_open(&fx, 8);
    add(&fx, 0);

    check = fx_check(2, 1);
    set_checks(&fx, &check, 1);

    memset(&old, 0, sizeof(lrt_probe_t));
    old.asks = fx.table.head->asked;
    old.ident = fx_entry(&fx, 0)->ident;
    new = old;

    memset(&result, 0, sizeof(lrt_result_t));
    result.how = LRT_PROBE_FAILED;

    is_u64(lrt_health_begin(&fx.table, &old, fx.now), LRT_OK, "one begins");
    is_u64(lrt_health_begin(&fx.table, &new, fx.now), LRT_OK, "another, too");
    is_u64(lrt_health_result(&fx.table, &new, &result, fx.now, &turn), LRT_OK,
           "and brings a result");
    is_u64(lrt_health_result(&fx.table, &old, &result, fx.now, &turn),
           LRT_CONFLICT, "the first one does not");
    ok(takes_requests(&fx, 0), "one failure was counted once");

    fx_close(&fx);
}


static void
test_removed_meanwhile(void)
{
    fx_t          fx;
    uint64_t      ident;
    lrt_turn_t    turn;
    lrt_probe_t   old;
    lrt_check_t   check;
    lrt_result_t  result;

    fx_open(&fx, 4);
    ident = add(&fx, 0);

    check = fx_check(1, 1);
    set_checks(&fx, &check, 1);

    memset(&old, 0, sizeof(lrt_probe_t));
    old.asks = fx.table.head->asked;
    old.ident = ident;
    lrt_health_begin(&fx.table, &old, fx.now);

    fx_remove(&fx, ident);
    add(&fx, 1);
    is_u64(fx_entry(&fx, 0)->ident, ident + 1, "another has the slot");

    memset(&result, 0, sizeof(lrt_result_t));
    result.how = LRT_PROBE_FAILED;

    is_u64(lrt_health_result(&fx.table, &old, &result, fx.now, &turn),
           LRT_MISSING, "the result is of no use");
    is_u64(lrt_health_begin(&fx.table, &old, fx.now), LRT_MISSING,
           "nor is a new probe");
    ok(takes_requests(&fx, 0), "and does nothing to the new one");

    fx_close(&fx);
}


static void
test_readmit(void)
{
    fx_t          fx;
    lrt_pick_t    pick;
    lrt_turn_t    turn;
    lrt_check_t   check;
    lrt_params_t  params;

    fx_open(&fx, 4);

    params = fx_params(1);
    params.max_fails = 1;
    params.fail_timeout = 100000;
    fx_add(&fx, 0, &params);
    fx_add(&fx, 1, &params);

    check = fx_check(3, 2);
    set_checks(&fx, &check, 1);

    if (!check(fx_pick(&fx, &pick) == LRT_OK, "a request")) {
        return;
    }

    fx_end(&fx, &pick, LRT_ENDED_FAILED);
    is_u64(state_of(&fx, pick.slot), LRT_STATE_UNAVAIL, "shut out");

    probe(&fx, pick.slot, 0, LRT_PROBE_FAILED, &turn);
    is_u64(state_of(&fx, pick.slot), LRT_STATE_UNAVAIL, "a failed probe");

    probe(&fx, pick.slot, 0, LRT_PROBE_PASSED, &turn);
    ok(turn.readmitted, "a pass");
    is_u64(state_of(&fx, pick.slot), LRT_STATE_UP, "lets it in again");
    ok(fx_quiet(&fx) == NULL, "valid at the end");

    fx_close(&fx);
}


static void
test_forced(void)
{
    fx_t          fx;
    lrt_turn_t    turn;
    lrt_check_t   check;
    lrt_params_t  params;

    fx_open(&fx, 4);
    add(&fx, 0);

    check = fx_check(1, 1);
    set_checks(&fx, &check, 1);
    probe(&fx, 0, 0, LRT_PROBE_FAILED, &turn);

    params = fx_params(1);
    params.forced = LRT_FORCED_UP;
    fx_modify(&fx, fx_entry(&fx, 0)->ident, &params, LRT_F_FORCED);
    ok(takes_requests(&fx, 0), "an operator knows better");
    is_u64(state_of(&fx, 0), LRT_STATE_UP, "up");

    params.forced = LRT_AUTO;
    fx_modify(&fx, fx_entry(&fx, 0)->ident, &params, LRT_F_FORCED);
    ok(!takes_requests(&fx, 0), "until he says no more");

    fx_close(&fx);
}


static unsigned
nobody(const lrt_table_t *t, uint32_t slot, const void *data)
{
    (void) t;
    (void) slot;
    (void) data;

    return 0;
}


static void
test_move(void)
{
    fx_t         fx, to;
    lrt_turn_t   turn;
    lrt_check_t  check;

    fx_open(&fx, 4);
    fx_open(&to, 16);

    add(&fx, 0);
    add(&fx, 1);

    check = fx_check(1, 1);
    set_checks(&fx, &check, 1);
    probe(&fx, 1, 0, LRT_PROBE_FAILED, &turn);

    is_u64(lrt_change_move(&to.table, &fx.table, nobody, NULL), LRT_OK,
           "into another zone");

    to.now = fx.now;
    ok(takes_requests(&to, 0) && !takes_requests(&to, 1), "health as before");
    is_u64(lrt_table_side(&to.table, lrt_table_generation(&to.table))
           ->settings.nchecks, 1, "and the check");

    probe(&to, 1, 0, LRT_PROBE_PASSED, &turn);
    ok(takes_requests(&to, 1), "which goes on");

    fx_close(&fx);
    fx_close(&to);
}


static void
test_downtime(void)
{
    fx_t           fx;
    lrt_hot_t     *hot;
    lrt_turn_t     turn;
    lrt_check_t    check;
    lrt_health_t   health;

    fx_open(&fx, 8);
    add(&fx, 0);
    add(&fx, 1);

    check = fx_check(1, 1);
    set_checks(&fx, &check, 1);

    fx_snapshot(&fx);
    hot = &fx.table.hot[0];

    is_u64(lrt_peer_out_since(LRT_STATE_UP, hot), 0, "it is in use");

    fx.now += 1000;
    probe(&fx, 0, 0, LRT_PROBE_FAILED, &turn);
    fx.now += 300;

    is_u64(lrt_peer_out_since(LRT_STATE_UNHEALTHY, hot), fx.now - 300,
           "since when it is not");
    is_u64(lrt_peer_health(&fx.table, &fx.item[0], &health), LRT_OK, "health");
    is_u64(lrt_peer_downtime(LRT_STATE_UNHEALTHY, hot, &health, fx.now), 300,
           "downtime that goes on");
    is_u64(lrt_peer_downtime(LRT_STATE_UNHEALTHY, hot, &health, fx.now - 400),
           0, "seen by a clock that is late");

    probe(&fx, 0, 0, LRT_PROBE_PASSED, &turn);
    fx.now += 5000;
    (void) lrt_peer_health(&fx.table, &fx.item[0], &health);

    is_u64(lrt_peer_downtime(LRT_STATE_UP, hot, &health, fx.now), 300,
           "downtime that has ended");

    lrt_health_clear(&fx.table.health[0]);

    is_u64(fx.table.health[0].downtime + fx.table.health[0].checks
           + fx.table.health[0].fails + fx.table.health[0].turns
           + fx.table.health[0].unhealthy, 0, "counters begin anew");
    is_u64(lrt_verdict(fx.table.health[0].verdict[0]), LRT_PASSING,
           "the verdict stays");

    /* failures of requests */

    lrt_store(&hot->checked, fx.now - 20);

    is_u64(lrt_peer_out_since(LRT_STATE_UNAVAIL, hot), fx.now - 20,
           "shut out by requests");
    is_u64(lrt_peer_out_since(LRT_STATE_UNHEALTHY, hot), 0, "forced down");

    (void) fx_remove(&fx, fx.item[0].entry.ident);

    is_u64(lrt_peer_health(&fx.table, &fx.item[0], &health), LRT_MISSING,
           "it is gone");

    fx_close(&fx);
}


static void
test_flaps(void)
{
    fx_t         fx;
    uint32_t     i, turns;
    lrt_turn_t   turn;
    lrt_check_t  check;

    fx_open(&fx, 4);
    add(&fx, 0);

    check = fx_check(2, 2);
    set_checks(&fx, &check, 1);

    for (i = 0; i < 1000; i++) {
        fx.now += 1000;
        probe(&fx, 0, 0, i % 2 ? LRT_PROBE_PASSED : LRT_PROBE_FAILED, &turn);
    }

    is_u64(fx.table.health[0].turns, 0, "never two in a row: no turn");

    turns = 0;

    for (i = 0; i < 1000; i++) {
        fx.now += 1000;
        probe(&fx, 0, 0, i / 2 % 2 ? LRT_PROBE_PASSED : LRT_PROBE_FAILED,
              &turn);
        turns += turn.turned;
    }

    is_u64(turns, 500, "two in a row: one in two");
    is_u64(fx.table.health[0].turns, 500, "all are counted");

    fx_close(&fx);
}


static void
test_drained(void)
{
    fx_t          fx;
    uint32_t      i, slot;
    uint64_t      ident;
    lrt_pick_t    pick;
    lrt_params_t  params;

    fx_open(&fx, 4);
    ident = add(&fx, 0);

    params = fx_params(1);
    params.drain = 1;

    for (i = 0; i < 2; i++) {

        if (!check(fx_pick(&fx, &pick) == LRT_OK, "a request")) {
            return;
        }

        params.drain = 1;
        fx_modify(&fx, ident, &params, LRT_F_DRAIN);

        slot = 0;
        is_u64(lrt_health_drained(&fx.table, &slot), LRT_NONE, "busy");

        fx_end(&fx, &pick, LRT_ENDED_WELL);

        slot = 0;
        is_u64(lrt_health_drained(&fx.table, &slot), 0, "idle");

        slot = 0;
        is_u64(lrt_health_drained(&fx.table, &slot), LRT_NONE, "told once");

        params.drain = 0;
        fx_modify(&fx, ident, &params, LRT_F_DRAIN);

        slot = 0;
        is_u64(lrt_health_drained(&fx.table, &slot), LRT_NONE, "over");
    }

    fx_close(&fx);
}


/* a check keeps what it has found, wherever it stands in the list */

static void
test_place(void)
{
    fx_t         fx;
    lrt_turn_t   turn;
    lrt_check_t  check[2];

    fx_open(&fx, 8);
    add(&fx, 0);

    check[1] = fx_check(1, 1);
    set_checks(&fx, &check[1], 1);
    probe(&fx, 0, 0, LRT_PROBE_FAILED, &turn);

    check[0] = fx_check(1, 1);
    check[0].port = 81;
    check[1].interval = 30000;
    set_checks(&fx, check, 2);

    ok(!takes_requests(&fx, 0), "another one in front of it");
    is_u64(lrt_verdict(fx.table.health[0].verdict[0]), LRT_UNCHECKED,
           "which is new");
    is_u64(fx.table.health[0].started[0], 0, "and due at once");
    is_u64(lrt_verdict(fx.table.health[0].verdict[1]), LRT_FAILING,
           "while the other one is where it was");
    is_u64(fx.table.health[0].turns, 1, "nothing has turned");

    set_checks(&fx, &check[1], 1);
    ok(!takes_requests(&fx, 0), "back again");

    fx_close(&fx);
}


/* an answer to what was asked before is none to what is asked now */

static void
test_old_answer(void)
{
    fx_t          fx;
    lrt_turn_t    turn;
    lrt_probe_t   old;
    lrt_check_t   check;
    lrt_result_t  result;

    fx_open(&fx, 4);
    add(&fx, 0);

    check = fx_check(1, 1);
    check.mandatory = 1;
    set_checks(&fx, &check, 1);

    memset(&old, 0, sizeof(lrt_probe_t));
    old.asks = fx.table.head->asked;
    old.ident = fx_entry(&fx, 0)->ident;
    is_u64(lrt_health_begin(&fx.table, &old, fx.now), LRT_OK, "a probe");

    check.port = 81;
    set_checks(&fx, &check, 1);

    memset(&result, 0, sizeof(lrt_result_t));
    is_u64(lrt_health_result(&fx.table, &old, &result, fx.now, &turn),
           LRT_MISSING, "passes too late");
    ok(!takes_requests(&fx, 0), "the new check has not passed");
    is_u64(lrt_health_begin(&fx.table, &old, fx.now), LRT_MISSING,
           "nor can another one of the old ones begin");

    fx_close(&fx);
}


/* the writer dies when others see the new checks, and verdicts do not yet */

static void
test_killed_before_following(void)
{
    fx_t            fx;
    lrt_turn_t      turn;
    lrt_check_t     check;
    lrt_change_t    c;
    lrt_settings_t  none;

    fx_open(&fx, 4);
    add(&fx, 0);

    check = fx_check(1, 1);
    set_checks(&fx, &check, 1);
    probe(&fx, 0, 0, LRT_PROBE_FAILED, &turn);

    memset(&none, 0, sizeof(lrt_settings_t));
    memset(&c, 0, sizeof(lrt_change_t));
    c.type = LRT_SET_SETTINGS;
    c.settings = &none;

    ok(fx_commit_killed(&fx, LRT_POINT_COMMIT_PUBLISHED, &c, 1), "killed");
    ok(!takes_requests(&fx, 0), "an old verdict is left");
    ok(lrt_health_behind(&fx.table), "others can tell");

    lrt_health_follow(&fx.table, fx.now);

    ok(takes_requests(&fx, 0), "and do what he has not come to");
    ok(!lrt_health_behind(&fx.table), "once");

    fx_close(&fx);
}


static uint64_t
add(fx_t *fx, uint32_t number)
{
    lrt_params_t  params;

    params = fx_params(1);

    return fx_add(fx, number, &params);
}


static lrt_rc_t
set_checks(fx_t *fx, const lrt_check_t *check, uint32_t n)
{
    lrt_settings_t  settings;

    memset(&settings, 0, sizeof(lrt_settings_t));

    settings.nchecks = n;
    settings.slow_start = 10000;

    if (n) {
        memcpy(settings.check, check, n * sizeof(lrt_check_t));
    }

    return fx_settings(fx, &settings);
}


static lrt_rc_t
probe(fx_t *fx, uint32_t slot, uint32_t check, lrt_probed_e how,
    lrt_turn_t *turn)
{
    return fx_probe(fx, slot, check, how, 1000, turn);
}


static lrt_state_e
state_of(fx_t *fx, uint32_t i)
{
    fx_snapshot(fx);

    return lrt_peer_state(&fx->snap, &fx->item[i], &fx->peer[i].hot, fx->now);
}


static unsigned
takes_requests(fx_t *fx, uint32_t slot)
{
    lrt_rules_t  rules;

    lrt_rules(&fx->table, lrt_table_generation(&fx->table), LRT_PRIMARY,
              &rules);
    rules.lone = 0;

    return lrt_usable(fx_entry(fx, slot), &fx->table.hot[slot], &rules,
                      fx->now);
}
