
/*
 * Copyright (C) the ngx_http_lrt_upstream_module authors
 *
 * When servers are probed, and that two intervals are kept when the one who
 * probes is gone.
 */


#include "tap.h"
#include "fixture.h"
#include "lrt_rhythm.h"


/* from a timer to the beginning of a probe, ms */

#define TIMER  10


static void test_delay(void);
static void test_limits(void);
static void test_shortest_counts(void);
static void test_torn(void);
static void test_first(void);
static void test_goes_on(void);
static void test_lost(void);
static void test_overdue(void);
static void test_clocks(void);
static void test_two_intervals(void);
static void test_extra(void);
static lrt_rhythm_t rhythm_of(uint64_t interval, uint16_t jitter);
static uint64_t latest(const lrt_check_t *check, uint32_t started,
    uint64_t now);
static unsigned kept(uint64_t interval, uint16_t jitter);


int
main(void)
{
    tap_begin();

    run(test_delay);
    run(test_limits);
    run(test_shortest_counts);
    run(test_torn);
    run(test_first);
    run(test_goes_on);
    run(test_lost);
    run(test_overdue);
    run(test_clocks);
    run(test_two_intervals);
    run(test_extra);

    return tap_end();
}


static void
test_delay(void)
{
    uint64_t      i, delay, low, high, sum;
    lrt_check_t   check;

    check = fx_check(1, 1);
    check.interval = 5000;
    check.jitter = 100;

    low = UINT64_MAX;
    high = 0;
    sum = 0;

    for (i = 0; i < 100000; i++) {
        delay = lrt_rhythm_delay(&check, tap_random());
        low = (delay < low) ? delay : low;
        high = (delay > high) ? delay : high;
        sum += delay;
    }

    is_u64(low, 4750, "the shortest");
    is_u64(high, 5250, "the longest");
    ok(sum / i >= 4995 && sum / i <= 5005, "the interval in the mean");

    check.jitter = 0;
    is_u64(lrt_rhythm_delay(&check, UINT64_MAX), 5000, "none");
}


static void
test_extra(void)
{
    uint64_t   now;
    uint32_t   n, regular;
    lrt_due_t  due;

    memset(&due, 0, sizeof(lrt_due_t));
    due.next = 1000;

    lrt_rhythm_extra(&due, 2, 100, 500, 30);
    is_u64(due.next, 530, "an extra probe");
    lrt_rhythm_extra(&due, 1, 100, 510, 90);
    is_u64(due.next, 530, "does not wait for another one");

    lrt_rhythm_next(&due, 1000, 100, 530, 50);
    is_u64(due.next, 630, "the second one, a window later");
    lrt_rhythm_next(&due, 1000, 100, 630, 50);
    is_u64(due.next, 730, "the third one");
    lrt_rhythm_next(&due, 1000, 100, 730, 50);
    is_u64(due.next, 1000, "then what was due before");
    lrt_rhythm_next(&due, 1000, 100, 1004, 50);
    is_u64(due.next, 2000, "and goes on from there");
    lrt_rhythm_next(&due, 1000, 100, 3100, 50);
    is_u64(due.next, 4100, "if that is not over yet");

    due.next = 2000;
    lrt_rhythm_extra(&due, 1000000, 100, 1500, 0);

    for (n = 0, regular = 0; due.next < 3500; n++) {
        now = due.next;
        regular += (now % 1000 == 0);
        lrt_rhythm_next(&due, 1000, 100, now, 50);
    }

    is_u64(regular, 2, "the regular ones come as ever");
    is_u64(n - regular, LRT_RHYTHM_MAX_EXTRA, "no more extra ones than that");
    is_u64(due.next, 4000, "and then none");

    due.next = 5000;
    lrt_rhythm_extra(&due, 1, 100, 5000, 0);
    lrt_rhythm_next(&due, 1000, 100, 5000, 50);
    is_u64(due.next, 5100, "one that is due already is not an extra one");
    lrt_rhythm_next(&due, 1000, 100, 5100, 50);
    is_u64(due.next, 6000, "which comes behind it");
}


static void
test_limits(void)
{
    lrt_rhythm_t  r;

    r = rhythm_of(LRT_CHECK_MAX_INTERVAL, 100);
    is_u64(r.lease, LRT_RHYTHM_MAX_LEASE, "the longest lease");
    is_u64(r.wait, LRT_RHYTHM_MAX_WAIT, "the longest wait");
    is_u64(r.beat, LRT_RHYTHM_MAX_BEAT, "renewed by the worker's timer");

    r = rhythm_of(1000, 100);
    is_u64(r.lease, 475, "half of what is spare");
    is_u64(r.wait, 118, "an eighth");
    is_u64(r.beat, 100, "as ever");

    r = rhythm_of(LRT_CHECK_MIN_INTERVAL, 1000);
    is_u64(r.lease, LRT_RHYTHM_MIN_LEASE, "the shortest lease");
    is_u64(r.wait, LRT_RHYTHM_MIN_WAIT, "the shortest wait");
    is_u64(r.beat, LRT_RHYTHM_MIN_LEASE / 4, "renewed four times in it");
    ok(r.lease - r.beat > 50, "an event loop may stall for tens of ms");

    r = rhythm_of(1199, 0);
    is_u64(r.lease, 599, "just below a limit");
    r = rhythm_of(1200, 0);
    is_u64(r.lease, 600, "and at it");
}


static void
test_shortest_counts(void)
{
    lrt_rhythm_t    r;
    lrt_settings_t  settings;

    memset(&settings, 0, sizeof(lrt_settings_t));

    settings.nchecks = 3;
    settings.check[0] = settings.check[1] = settings.check[2] = fx_check(1, 1);
    settings.check[0].interval = 5000;
    settings.check[1].interval = 1000;
    settings.check[1].jitter = 1000;
    settings.check[2].interval = 800;
    settings.check[2].jitter = 0;

    lrt_rhythm(&settings, &r);
    is_u64(r.lease, 250, "jitter makes it shorter");

    settings.nchecks = 1;
    lrt_rhythm(&settings, &r);
    is_u64(r.lease, 600, "those that are not there do not count");
}


/* a writer may be at what is read */

static void
test_torn(void)
{
    uint32_t        i;
    lrt_rhythm_t    r;
    lrt_settings_t  settings;

    for (i = 0; i < 100000; i++) {
        settings.nchecks = (uint32_t) tap_random();
        settings.check[0].interval = tap_random() >> (tap_random() % 64);
        settings.check[0].jitter = (uint16_t) tap_random();
        settings.check[1] = settings.check[2] = settings.check[0];
        settings.check[3] = settings.check[0];

        lrt_rhythm(&settings, &r);

        if (!check(r.lease >= LRT_RHYTHM_MIN_LEASE
                   && r.lease <= LRT_RHYTHM_MAX_LEASE
                   && r.wait >= LRT_RHYTHM_MIN_WAIT
                   && r.wait <= LRT_RHYTHM_MAX_WAIT
                   && r.beat >= LRT_RHYTHM_MIN_LEASE / 4
                   && r.beat <= LRT_RHYTHM_MAX_BEAT, "limits"))
        {
            return;
        }
    }

    ok(1, "limits hold");
}


static void
test_first(void)
{
    lrt_check_t  check;

    check = fx_check(1, 1);
    check.interval = 5000;

    is_u64(lrt_rhythm_first(&check, 0, 1000, 7, 0), 7, "at once");
    is_u64(latest(&check, 0, 0), 1000, "within a second");
    check.interval = 200;
    is_u64(latest(&check, 0, 0), 200, "or the interval");
}


static void
test_goes_on(void)
{
    uint32_t     ended;
    lrt_check_t  check;

    check = fx_check(1, 1);
    check.interval = 5000;
    check.jitter = 0;
    ended = lrt_started_time(lrt_started(10000));

    is_u64(lrt_rhythm_first(&check, ended, 1000, 11000, 0), 15000,
           "where it was");
    is_u64(lrt_rhythm_first(&check, ended, 1000, 14999, 0), 15000,
           "to the last");
    ended = lrt_started_time(lrt_started(UINT32_MAX - 999));
    is_u64(lrt_rhythm_first(&check, ended, 1000, (uint64_t) 1 << 32, 0),
           ((uint64_t) 1 << 32) + 4000, "when 32 bits are full");
}


static void
test_lost(void)
{
    uint32_t     started;
    lrt_check_t  check;

    check = fx_check(1, 1);
    check.interval = 1600;
    started = lrt_started(10000);

    ok(lrt_started_open(started), "without a result");
    ok(!lrt_started_open(lrt_started_time(started)), "with one");
    ok(latest(&check, started, 10500) <= 10600, "it is asked again at once");
    ok(latest(&check, started, 90000) <= 90100, "also after a long time");
}


static void
test_overdue(void)
{
    uint32_t     ended;
    lrt_check_t  check;

    check = fx_check(1, 1);
    check.interval = 1000;
    check.jitter = 0;
    ended = lrt_started_time(lrt_started(10000));

    ok(latest(&check, ended, 11000) <= 11500, "before two intervals are over");
    ok(latest(&check, ended, 11990) <= 11995, "how little may be left");
    ok(latest(&check, ended, 12000) <= 12250, "or soon");
    ok(latest(&check, ended, 50000) >= 50200, "but never all at once");
}


static void
test_clocks(void)
{
    uint32_t     ended;
    lrt_check_t  check;

    check = fx_check(1, 1);
    check.interval = 1000;
    check.jitter = 0;
    ended = lrt_started_time(lrt_started(10000));

    is_u64(lrt_rhythm_first(&check, ended, 1000, 9995, 0), 10995,
           "begun by one whose clock is ahead");
}


/*
 * The one who probes renews his lease and dies just before a probe, or just
 * after he has begun one that the server does not see.
 */

static void
test_two_intervals(void)
{
    uint64_t  i;

    for (i = 200; i <= 3000; i += (i < 400) ? 1 : 100) {
        if (!check(kept(i, 100), "interval %u", (unsigned) i)) {
            return;
        }
    }

    ok(kept(LRT_CHECK_MAX_INTERVAL, 100), "from 200 ms on");
    ok(kept(180, 0), "without jitter from 180 ms on");
    ok(kept(400, 1000), "with all of it from 400 ms on");
    ok(!kept(100, 100), "which is not so for any interval");
}


static unsigned
kept(uint64_t interval, uint16_t jitter)
{
    uint32_t      started;
    uint64_t      due, now, last;
    lrt_check_t   check;
    lrt_rhythm_t  r;

    check = fx_check(1, 1);
    check.interval = interval;
    check.jitter = jitter;
    r = rhythm_of(interval, jitter);
    last = 10000;

    /* the longest delay that there is */

    due = last + interval + interval * jitter / 2000;
    now = due + r.lease + r.wait + r.beat + TIMER;

    started = lrt_started_time(lrt_started(last));

    if (latest(&check, started, now) > last + 2 * interval) {
        return 0;
    }

    started = lrt_started(due);

    return latest(&check, started, now) <= last + 2 * interval;
}


static uint64_t
latest(const lrt_check_t *check, uint32_t started, uint64_t now)
{
    uint64_t  i, due, last;

    last = 0;

    for (i = 0; i < 5000; i++) {
        due = lrt_rhythm_first(check, started, 1000, now, i);
        last = (due > last) ? due : last;
    }

    return last;
}


static lrt_rhythm_t
rhythm_of(uint64_t interval, uint16_t jitter)
{
    lrt_rhythm_t    r;
    lrt_settings_t  settings;

    memset(&settings, 0, sizeof(lrt_settings_t));

    settings.nchecks = 1;
    settings.check[0] = fx_check(1, 1);
    settings.check[0].interval = interval;
    settings.check[0].jitter = jitter;

    lrt_rhythm(&settings, &r);

    return r;
}
