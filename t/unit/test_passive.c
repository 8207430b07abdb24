
/*
 * Copyright (C) the ngx_http_lrt_upstream_module authors
 */


#include "tap.h"
#include "fixture.h"


#define START        1000000
#define TIMEOUT      10000


static void test_threshold(void);
static void test_window(void);
static void test_trial(void);
static void test_trial_fails(void);
static void test_trial_passes(void);
static void test_success_in_window(void);
static void test_no_limit(void);
static void test_clock_behind(void);
static void test_until(void);
static void test_one_trial_among_many(void);
static void test_trial_given_up(void);
static void test_shut_out_answer(void);
static void test_lone(void);
static void test_all_shut_out(void);
static void test_removed_meanwhile(void);
static void reset(uint32_t max_fails);
static void fail(uint32_t n);
static void open_group(fx_t *fx, uint32_t n, uint32_t method);


static lrt_hot_t     hot;
static lrt_params_t  params;
static uint64_t      now;


int
main(void)
{
    tap_begin();

    run(test_threshold);
    run(test_window);
    run(test_trial);
    run(test_trial_fails);
    run(test_trial_passes);
    run(test_success_in_window);
    run(test_no_limit);
    run(test_clock_behind);
    run(test_until);
    run(test_one_trial_among_many);
    run(test_trial_given_up);
    run(test_shut_out_answer);
    run(test_lone);
    run(test_all_shut_out);
    run(test_removed_meanwhile);

    return tap_end();
}


static void
test_threshold(void)
{
    uint32_t  i;

    /* the failure that is max_fails shuts the server out, none before */

    for (i = 1; i < 20; i++) {
        reset(i);
        fail(i - 1);

        if (!check(!lrt_passive_blocked(&params, &hot, now),
                   "%u failures of %u", i - 1, i)
            || !check(lrt_passive_pick(&params, &hot, now),
                      "picked after %u failures of %u", i - 1, i)
            || !check(lrt_passive_failed(&params, &hot, now),
                      "failure %u of %u is the last", i, i)
            || !check(lrt_passive_blocked(&params, &hot, now),
                      "%u failures of %u", i, i)
            || !check(!lrt_passive_pick(&params, &hot, now),
                      "picked after %u failures of %u", i, i))
        {
            return;
        }
    }

    ok(1, "max_fails of 1 .. 19");
}


static void
test_window(void)
{
    reset(1);
    fail(1);

    /* out for fail_timeout, to the millisecond */

    now = START + TIMEOUT;
    ok(lrt_passive_blocked(&params, &hot, now), "the last moment outside");

    now++;
    ok(!lrt_passive_blocked(&params, &hot, now), "the first one inside");

    /* a timeout of 0 is over with the next millisecond */

    reset(1);
    params.fail_timeout = 0;
    fail(1);
    ok(lrt_passive_blocked(&params, &hot, now), "no timeout, same moment");
    ok(!lrt_passive_blocked(&params, &hot, now + 1), "no timeout, the next");
}


static void
test_trial(void)
{
    uint32_t  i, trials;

    reset(1);
    fail(1);
    now += TIMEOUT + 1;

    /* of all who come when the time is over, one is the trial */

    for (i = 0, trials = 0; i < 100; i++) {
        trials += lrt_passive_pick(&params, &hot, now);
    }

    is_u64(trials, 1, "one trial at the first moment");

    for (i = 0; i <= TIMEOUT; i++) {
        trials += lrt_passive_pick(&params, &hot, now + i);
    }

    is_u64(trials, 1, "none in the window that the trial opened");

    for (i = 0; i < 100; i++) {
        trials += lrt_passive_pick(&params, &hot, now + TIMEOUT + 1);
    }

    is_u64(trials, 2, "and one more when that is over");
}


static void
test_trial_fails(void)
{
    reset(3);
    fail(3);
    now += TIMEOUT + 1;

    ok(lrt_passive_pick(&params, &hot, now), "trial");

    /* a failed trial shuts the server out again from that time on */

    now += 500;
    ok(lrt_passive_failed(&params, &hot, now) != LRT_PASSIVE_COUNTED,
       "it fails");
    ok(lrt_passive_blocked(&params, &hot, now + TIMEOUT), "out as long");
    ok(!lrt_passive_blocked(&params, &hot, now + TIMEOUT + 1), "no longer");
}


static void
test_trial_passes(void)
{
    reset(3);
    fail(3);
    now += TIMEOUT + 1;

    ok(lrt_passive_pick(&params, &hot, now), "trial");
    (void) lrt_passive_passed(&params, &hot);

    /* and all failures are forgotten */

    is_u64(hot.fails, 0, "failures");
    ok(!lrt_passive_blocked(&params, &hot, now), "open for all");
    ok(lrt_passive_pick(&params, &hot, now), "picked again");
}


static void
test_success_in_window(void)
{
    reset(3);
    fail(2);

    /* a success right after failures proves nothing */

    (void) lrt_passive_passed(&params, &hot);
    is_u64(hot.fails, 2, "success in the window of the failures");

    /* a request that began in a later window does */

    now += TIMEOUT + 1;
    ok(lrt_passive_pick(&params, &hot, now), "picked in a new window");
    (void) lrt_passive_passed(&params, &hot);
    is_u64(hot.fails, 0, "success in a new window");
}


static void
test_no_limit(void)
{
    reset(0);

    /* max_fails=0: failures are counted by nobody who would act on them */

    is_u64(lrt_passive_failed(&params, &hot, now), LRT_PASSIVE_COUNTED,
           "the first failure");
    fail(1000);
    ok(!lrt_passive_blocked(&params, &hot, now), "after 1001 failures");
    ok(lrt_passive_pick(&params, &hot, now), "picked");
    is_u64(lrt_passive_until(&params, &hot), UINT64_MAX, "no time to wait");
}


static void
test_clock_behind(void)
{
    uint32_t  i, trials;

    reset(1);
    fail(1);

    /* workers whose clocks are some milliseconds behind open nothing */

    for (i = 1; i < 50; i++) {
        if (!check(lrt_passive_blocked(&params, &hot, now - i),
                   "%u ms before the failure", i)
            || !check(!lrt_passive_pick(&params, &hot, now - i),
                      "picked %u ms before the failure", i))
        {
            return;
        }
    }

    now += TIMEOUT + 1;
    trials = 0;

    for (i = 0; i < 100; i++) {
        trials += lrt_passive_pick(&params, &hot, now - tap_below(3));
    }

    /* and do not make two trials of one */

    ok(trials <= 1, "%u trials by clocks that differ", trials);

    trials = lrt_passive_pick(&params, &hot, now);
    trials += lrt_passive_pick(&params, &hot, now - 5);
    ok(trials <= 1, "%u trials, the second one in the past", trials);

    ok(!lrt_passive_blocked(&params, &hot, UINT64_MAX), "the end of time");
    ok(lrt_passive_blocked(&params, &hot, 0), "the beginning of time");
}


static void
test_until(void)
{
    uint32_t  i;
    uint64_t  until;

    /* the time that is told is the first moment of a trial */

    for (i = 0; i < 1000; i++) {
        reset(tap_between(1, 3));
        params.fail_timeout = tap_below(20000);
        now += tap_below(100000);

        if (!check(lrt_passive_until(&params, &hot) == UINT64_MAX,
                   "nothing to wait for"))
        {
            return;
        }

        fail(params.max_fails);
        until = lrt_passive_until(&params, &hot);

        if (!check(lrt_passive_blocked(&params, &hot, until - 1)
                   && !lrt_passive_blocked(&params, &hot, until),
                   "until %llu", (unsigned long long) until))
        {
            return;
        }
    }

    ok(1, "random times");
}


static void
test_one_trial_among_many(void)
{
    fx_t         fx;
    uint32_t     i, method, trials;
    lrt_pick_t   pick[50];

    for (method = 0; method < 2; method++) {

        open_group(&fx, 3, method);

        (void) fx_pick(&fx, &pick[0]);
        (void) fx_end(&fx, &pick[0], LRT_ENDED_FAILED);

        fx.now += TIMEOUT + 1;

        /* many requests at once: one of them goes to the server in doubt */

        for (i = 0, trials = 0; i < 50; i++) {
            if (!check(fx_pick(&fx, &pick[i]) == LRT_OK, "request %u", i)) {
                return;
            }

            trials += (pick[i].ident == 1);
        }

        is_u64(trials, 1, "trials among 50 requests, method %u", method);

        for (i = 0; i < 50; i++) {
            (void) fx_end(&fx, &pick[i], LRT_ENDED_WELL);
        }

        /* which brings it back for all */

        for (i = 0, trials = 0; i < 48; i++) {
            (void) fx_pick(&fx, &pick[i]);
            trials += (pick[i].ident == 1);
        }

        is_u64(trials, 16, "its requests afterwards, method %u", method);

        fx_close(&fx);
    }
}


static void
test_trial_given_up(void)
{
    fx_t         fx;
    uint32_t     method, found;
    lrt_pick_t   pick;

    for (method = 0; method < 2; method++) {

        open_group(&fx, 2, method);

        (void) fx_pick(&fx, &pick);
        (void) fx_end(&fx, &pick, LRT_ENDED_FAILED);
        found = pick.slot;

        /* a trial whose client went away says nothing: the next one is due */

        fx.now += TIMEOUT + 1;

        do {
            (void) fx_pick(&fx, &pick);
            (void) fx_end(&fx, &pick, LRT_ENDED_UNKNOWN);
        } while (pick.slot != found);

        fx.now += TIMEOUT + 1;

        (void) fx_pick(&fx, &pick);

        if (pick.slot != found) {
            (void) fx_pick(&fx, &pick);
        }

        is_u64(pick.slot, found, "another trial, method %u", method);

        fx_close(&fx);
    }
}


static void
test_shut_out_answer(void)
{
    fx_t         fx;
    lrt_pick_t   pick, other;

    open_group(&fx, 2, RR);

    params = fx_params(1);
    params.max_fails = 2;
    params.fail_timeout = TIMEOUT;

    (void) fx_modify(&fx, 1, &params, LRT_F_MAX_FAILS);

    (void) fx_pick(&fx, &pick);
    (void) fx_pick(&fx, &other);
    (void) fx_end(&fx, &other, LRT_ENDED_WELL);
    is_u64(pick.ident, 1, "the first server");

    /* the caller learns from the failure which was the last one allowed */

    is_u64(fx_end(&fx, &pick, LRT_ENDED_FAILED), LRT_ENDED_FAILED,
           "first failure of two");
    is_u64(fx.table.detail[pick.slot].stats.unavail, 0, "not yet out");

    (void) fx_pick(&fx, &pick);
    is_u64(pick.ident, 1, "the first server again");
    is_u64(fx_end(&fx, &pick, LRT_ENDED_FAILED), LRT_ENDED_SHUT_OUT,
           "second failure of two");
    is_u64(fx.table.detail[pick.slot].stats.unavail, 1, "out for once");
    is_u64(fx.table.detail[pick.slot].stats.fails, 2, "failures");

    fx_close(&fx);
}


static void
test_lone(void)
{
    fx_t           fx;
    uint32_t       i;
    lrt_pick_t     pick;
    lrt_params_t   p;

    open_group(&fx, 1, LC);

    /* the only server is not shut out, however it fails */

    for (i = 0; i < 20; i++) {
        if (!check(fx_pick(&fx, &pick) == LRT_OK, "request %u", i)
            || !check(fx_end(&fx, &pick, LRT_ENDED_FAILED)
                      == LRT_ENDED_FAILED, "its end"))
        {
            return;
        }
    }

    ok(1, "20 failures of the only server");
    is_u64(fx.table.detail[pick.slot].stats.unavail, 0, "it was never out");
    is_u64(fx.table.detail[pick.slot].stats.fails, 20, "they were counted");

    /* nor do its failures count when it gets company */

    p = fx_params(1);
    (void) fx_add(&fx, 7, &p);

    for (i = 0; i < 2; i++) {
        (void) fx_pick(&fx, &pick);

        if (pick.ident == 1) {
            break;
        }
    }

    is_u64(pick.ident, 1, "it gets requests beside a second server");

    fx_close(&fx);
}


static void
test_all_shut_out(void)
{
    fx_t         fx;
    uint32_t     i, method;
    lrt_pick_t   pick;

    for (method = 0; method < 2; method++) {

        open_group(&fx, 5, method);

        for (i = 0; i < 5; i++) {
            (void) fx_pick(&fx, &pick);
            (void) fx_end(&fx, &pick, LRT_ENDED_FAILED);
        }

        /* nobody is left until the time is over */

        is_u64(fx_pick(&fx, &pick), LRT_BUSY, "all out, method %u", method);

        fx.now += TIMEOUT;
        is_u64(fx_pick(&fx, &pick), LRT_BUSY, "a moment before the end");

        fx.now++;

        for (i = 0; i < 5; i++) {
            if (!check(fx_pick(&fx, &pick) == LRT_OK, "trial %u", i)) {
                return;
            }
        }

        is_u64(fx_pick(&fx, &pick), LRT_BUSY, "a trial each and no more");

        fx_close(&fx);
    }
}


static void
test_removed_meanwhile(void)
{
    fx_t          fx;
    lrt_pick_t    pick;

    open_group(&fx, 2, RR);

    (void) fx_pick(&fx, &pick);
    (void) fx_remove(&fx, pick.ident);

    /* a removed server cannot be shut out */

    is_u64(fx_end(&fx, &pick, LRT_ENDED_FAILED), LRT_ENDED_FAILED,
           "failure of a removed server");
    is_u64(fx.table.hot[pick.slot].fails, 0, "it is not remembered");
    ok(fx_quiet(&fx) == NULL, "valid at the end");

    fx_close(&fx);
}


static void
reset(uint32_t max_fails)
{
    memset(&hot, 0, sizeof(lrt_hot_t));

    params = fx_params(1);
    params.max_fails = max_fails;
    params.fail_timeout = TIMEOUT;

    now = START;
}


static void
fail(uint32_t n)
{
    while (n--) {
        (void) lrt_passive_failed(&params, &hot, now);
    }
}


static void
open_group(fx_t *fx, uint32_t n, uint32_t method)
{
    uint32_t      i;
    lrt_params_t  p[8];

    fx_open(fx, 8);

    for (i = 0; i < n; i++) {
        p[i] = fx_params(1);
        p[i].max_fails = 1;
        p[i].fail_timeout = TIMEOUT;
    }

    (void) fx_fill(fx, p, n);
    (void) fx_method(fx, method);
}
