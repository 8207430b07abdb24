
/*
 * Copyright (C) the ngx_http_lrt_upstream_module authors
 *
 * What was learned, as numbers for a file and back: the same after any number
 * of times, with its age, and within bounds whatever is put in.
 */


#include "tap.h"
#include "timed.h"
#include "lrt_errors.h"
#include "lrt_estimate.h"
#include "lrt_learned.h"
#include "lrt_least_time.h"
#include "lrt_pace.h"


#define DAY                  (24ull * 3600 * 1000)


static void test_round_trip(void);
static void test_each_time(void);
static void test_each_share(void);
static void test_each_spread(void);
static void test_ages(void);
static void test_wrap(void);
static void test_bounds(void);
static void test_errors(void);
static void test_first_picks(void);
static void test_hash(void);
static void copy(fx_t *to, fx_t *from, uint64_t elapsed);
static lrt_learned_server_t of(fx_t *fx, uint32_t slot);
static lrt_learned_server_t set(fx_t *fx, const lrt_learned_server_t *server,
    uint64_t elapsed, uint64_t now);


int
main(void)
{
    tap_begin();

    run(test_round_trip);
    run(test_each_time);
    run(test_each_share);
    run(test_each_spread);
    run(test_ages);
    run(test_wrap);
    run(test_bounds);
    run(test_errors);
    run(test_first_picks);
    run(test_hash);

    return tap_end();
}


static void
test_round_trip(void)
{
    fx_t                   a, b;
    uint32_t               i;
    uint64_t               before;
    lrt_turn_t             turn;
    lrt_settings_t         settings;
    lrt_learned_group_t    one, two;
    lrt_learned_server_t   first, second;

    lt_open(&a, 3, 1, 0);
    lt_open(&b, 3, 1, 0);

    memset(&settings, 0, sizeof(lrt_settings_t));
    settings.nchecks = 1;
    settings.check[0] = fx_check(1, 1);
    (void) fx_settings(&a, &settings);
    (void) fx_settings(&b, &settings);

    (void) fx_probe(&a, 0, 0, LRT_PROBE_PASSED, 3 * LT_MS, &turn);
    lt_answer(&a, 0, 20 * LT_MS, LT_SURE);
    lt_answer(&a, 1, 300 * LT_MS, LT_SURE);
    (void) fx_probe(&a, 0, 0, LRT_PROBE_PASSED, 5 * LT_MS, &turn);
    a.now += 1234;

    before = lt_expected(&a, 1);
    copy(&b, &a, 0);

    memset(&one, 0, sizeof(one));
    memset(&two, 0, sizeof(two));

    lrt_learned_group(&a.table, &one);
    lrt_learned_group(&b.table, &two);
    ok(memcmp(&one, &two, sizeof(one)) == 0, "the group");

    for (i = 0; i < 3; i++) {
        first = of(&a, i);
        second = of(&b, i);
        ok(memcmp(&first, &second, sizeof(first)) == 0, "server %u", i);
    }

    is_u64(of(&b, 0).age, 1234, "its age");
    ok(of(&b, 0).probe && of(&b, 0).probe_then, "its probes");
    is_u64(of(&b, 2).estimate, 0, "who is not known stays so");
    ok(lt_expected(&b, 1) + 10 >= before && lt_expected(&b, 1) <= before + 10,
       "it is judged as before: %u, %u us", (unsigned) lt_expected(&b, 1),
       (unsigned) before);
    ok(fx_quiet(&b) == NULL, "the table is valid");

    fx_close(&a);
    fx_close(&b);
}


/* any logarithm that a word can have, and then the same ever after */

static void
test_each_time(void)
{
    fx_t                   fx;
    uint32_t               log, n;
    uint64_t               us;
    lrt_learned_server_t   server;

    lt_open(&fx, 1, 1, 0);
    n = 0;

    for (log = LRT_LOG_ONE; log <= LRT_LOG_LIMIT; log += 1 + tap_below(20)) {

        fx.table.hot[0].estimate = lrt_estimate_make(log, 1, fx.now);
        server = of(&fx, 0);
        us = server.estimate;

        if (!check(lrt_learned_sound(&server), "%u: %u us", log,
                   (unsigned) us))
        {
            return;
        }

        server = set(&fx, &server, 0, fx.now);
        n++;

        if (!check(server.estimate == us
                   && lrt_estimate_log(fx.table.hot[0].estimate) + 1 >= log
                                       - LRT_LOG_ONE * 2 / us
                   && lrt_estimate_log(fx.table.hot[0].estimate)
                      <= log + LRT_LOG_ONE * 2 / us + 1,
                   "%u: %u us become %u us, %u", log, (unsigned) us,
                   (unsigned) server.estimate,
                   lrt_estimate_log(fx.table.hot[0].estimate)))
        {
            return;
        }
    }

    ok(n > 10000, "%u times", n);

    fx_close(&fx);
}


static void
test_each_share(void)
{
    fx_t                   fx;
    uint32_t               share;
    lrt_learned_server_t   server, before;

    lt_open(&fx, 1, 1, 0);
    memset(&before, 0, sizeof(before));

    for (share = 0; share <= LRT_LEARNED_PARTS; share += 1 + tap_below(50)) {
        before.errors = share;
        before.stalls = share;
        before.suspected = share & 1;
        before.stalling = share >> 1 & 1;

        before = set(&fx, &before, 0, fx.now);
        server = set(&fx, &before, 0, fx.now);

        if (!check(memcmp(&server, &before, sizeof(server)) == 0
                   && before.stalls + 1 >= share && before.stalls <= share
                   && before.errors + 16 >= share
                   && before.errors <= share + 16
                   && before.suspected == (share & 1)
                   && before.stalling == (share >> 1 & 1),
                   "%u: %u %u", share, before.errors, before.stalls))
        {
            return;
        }
    }

    ok(share > LRT_LEARNED_PARTS, "all shares");

    fx_close(&fx);
}


static void
test_each_spread(void)
{
    fx_t                  fx;
    uint32_t              spread;
    lrt_learned_group_t   before, after;

    lt_open(&fx, 1, 1, 0);
    memset(&before, 0, sizeof(before));
    memset(&after, 0, sizeof(after));
    before.answers = UINT32_MAX;
    before.far = 1900;
    before.stalls = 77;

    for (spread = 0; spread <= LRT_LEARNED_SPREAD; spread++) {
        before.spread = spread;
        lrt_learned_set_group(&fx.table, &before);
        lrt_learned_group(&fx.table, &after);

        if (!check(memcmp(&before, &after, sizeof(after)) == 0, "%u: %u",
                   spread, after.spread))
        {
            return;
        }
    }

    ok(lrt_learned_group_sound(&before), "the largest is sound");
    before.spread++;
    ok(!lrt_learned_group_sound(&before), "one more is not");

    fx_close(&fx);
}


static void
test_ages(void)
{
    fx_t                   fx;
    uint32_t               i;
    lrt_learned_server_t   server, after;

    static const struct {
        uint64_t  age, elapsed;
    } cases[] = {
        { 0, 0 }, { 5, 0 }, { 0, 5 }, { 60000, 3600000 }, { 0, 7 * DAY },
        { 10 * DAY, 10 * DAY }, { 0, LRT_LEARNED_OLD }, { 1, LRT_LEARNED_OLD },
        { UINT32_MAX, 0 }, { 0, UINT64_MAX }, { UINT32_MAX, UINT64_MAX },
        { 0, 5000 * DAY }
    };

    lt_open(&fx, 1, 1, 0);
    memset(&server, 0, sizeof(server));
    server.estimate = 1000;
    server.samples = LRT_LEARNED_SAMPLES;

    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        server.age = cases[i].age;
        after = set(&fx, &server, cases[i].elapsed, fx.now);

        if (cases[i].elapsed > LRT_LEARNED_OLD
            || cases[i].age + cases[i].elapsed > LRT_LEARNED_OLD)
        {
            is_u64(after.estimate, 0, "case %u: too old", i);

        } else {
            is_u64(after.age, cases[i].age + cases[i].elapsed, "case %u", i);
            is_u64(after.samples, LRT_LEARNED_SAMPLES, "case %u: samples", i);
        }
    }

    fx_close(&fx);
}


/* a machine that was just started, and one whose stamps begin anew */

static void
test_wrap(void)
{
    fx_t                   fx;
    uint32_t               i;
    lrt_learned_server_t   server, after;

    static const uint64_t  now[] = {
        0, 1, 1000, UINT32_MAX - 1ull, UINT32_MAX, UINT32_MAX + 1ull,
        UINT32_MAX + 5000ull, 7ull * UINT32_MAX
    };

    lt_open(&fx, 1, 1, 0);
    memset(&server, 0, sizeof(server));
    server.estimate = 1000;
    server.samples = 7;

    for (i = 0; i < sizeof(now) / sizeof(now[0]); i++) {
        fx.now = now[i];

        server.age = 19 * DAY;
        after = set(&fx, &server, 3600000, now[i]);
        is_u64(after.age, 19 * DAY + 3600000, "long ago, at %u",
               (unsigned) i);

        server.age = 0;
        after = set(&fx, &server, 0, now[i]);
        is_u64(after.age, 0, "just now, at %u", (unsigned) i);
    }

    fx_close(&fx);
}


static void
test_bounds(void)
{
    lrt_learned_group_t    group;
    lrt_learned_server_t   good, s;

    memset(&good, 0, sizeof(good));
    ok(lrt_learned_sound(&good), "nothing");

    good.estimate = 2;
    good.samples = 1;
    good.probe = LRT_LEARNED_TIME;
    good.probe_then = 2;
    good.probes = LRT_PACE_SAMPLES;
    good.errors = LRT_LEARNED_PARTS;
    good.stalls = LRT_LEARNED_PARTS;
    ok(lrt_learned_sound(&good), "something of all");

#define wrong(member, value)                                                  \
    s = good;                                                                 \
    s.member = value;                                                         \
    ok(!lrt_learned_sound(&s), #member " " #value)

    wrong(estimate, 0);
    wrong(estimate, 1);
    wrong(estimate, LRT_LEARNED_TIME + 1);
    wrong(estimate, UINT64_MAX);
    wrong(samples, 0);
    wrong(samples, LRT_LEARNED_SAMPLES + 1);
    wrong(probe, 0);
    wrong(probe, 1);
    wrong(probe, UINT64_MAX);
    wrong(probe_then, 1);
    wrong(probe_then, UINT64_MAX);
    wrong(probes, 0);
    wrong(probes, LRT_PACE_SAMPLES + 1);
    wrong(errors, LRT_LEARNED_PARTS + 1);
    wrong(stalls, UINT32_MAX);
    wrong(suspected, 2);
    wrong(stalling, 2);

#undef wrong

    memset(&group, 0, sizeof(group));
    ok(lrt_learned_group_sound(&group), "a group of which nothing is known");
    group.usual = 1;
    ok(!lrt_learned_group_sound(&group), "a time of nothing");
    group.usual = UINT64_MAX;
    ok(!lrt_learned_group_sound(&group), "a time of all");
    group.usual = 2;
    group.stalls = LRT_LEARNED_PARTS + 1;
    ok(!lrt_learned_group_sound(&group), "more stalls than answers");
    group.stalls = LRT_LEARNED_PARTS;
    group.far = LRT_LEARNED_PARTS + 1;
    ok(!lrt_learned_group_sound(&group), "more long answers than answers");
}


static void
test_errors(void)
{
    fx_t           a, b;
    lrt_outcome_t  out;

    lt_open(&a, 3, 1, 0);
    lt_open(&b, 3, 1, 0);

    memset(&out, 0, sizeof(out));

    lt_answer(&a, 0, 20 * LT_MS, LT_SURE);
    lt_answer(&a, 1, 20 * LT_MS, LT_SURE);
    lt_answer(&a, 2, 20 * LT_MS, LT_SURE);

    a.table.health[2].errors = lrt_errors_make(LRT_ERRORS_ONE / 2, 1,
                                               LRT_STALLS_ONE / 64, 1);
    copy(&b, &a, 60000);

    ok(lrt_errors_suspected(b.table.health[2].errors), "suspected as before");
    ok(lrt_stalls_cost(b.table.health[2].errors)
       == lrt_stalls_cost(a.table.health[2].errors), "its stalls cost as much");
    is_u64(b.table.head->learned.errors,
           lrt_errors_part(b.table.health[2].errors), "the sum of the group");
    ok(fx_quiet(&b) == NULL, "the table is valid");

    fx_close(&a);
    fx_close(&b);
}


static void
test_first_picks(void)
{
    fx_t      a, b;
    uint32_t  i, slow;

    lt_open(&a, 4, 1, 0);
    lt_open(&b, 4, 1, 0);

    for (i = 0; i < 4; i++) {
        lt_answer(&a, i, (i == 3 ? 900 : 10) * LT_MS, LT_SURE);
    }

    copy(&b, &a, 3600000);

    for (i = 0, slow = 0; i < 12; i++) {
        slow += (lt_next(&b) == 3);
    }

    is_u64(slow, 0, "the slow one is known at once");

    lt_answer(&b, 0, 10 * LT_MS, 40);

    for (i = 0; i < 12; i++) {
        slow += (lt_next(&b) == 3);
    }

    is_u64(slow, 1, "and tried once, when others have answered");

    fx_close(&a);
    fx_close(&b);
}


static void
test_hash(void)
{
    fx_t      fx;
    uint64_t  hash;

    lt_open(&fx, 2, 1, 0);
    is_u64(lrt_learned_hash(&fx.table), 0, "nothing is known");

    lt_answer(&fx, 0, 10 * LT_MS, 1);
    hash = lrt_learned_hash(&fx.table);
    ok(hash, "something is");

    fx.now += 100000;
    is_u64(lrt_learned_hash(&fx.table), hash, "time alone is nothing new");

    lt_answer(&fx, 0, 10 * LT_MS, 1);
    ok(lrt_learned_hash(&fx.table) != hash, "one more answer is");

    hash = lrt_learned_hash(&fx.table);
    fx.table.health[1].errors = 1;
    ok(lrt_learned_hash(&fx.table) != hash, "so is a failure");

    hash = lrt_learned_hash(&fx.table);
    (void) fx_remove(&fx, fx_entry(&fx, 1)->ident);
    ok(lrt_learned_hash(&fx.table) != hash, "and a server that left");

    fx_close(&fx);
}


/* as through a file, into a table of the same servers */

static void
copy(fx_t *to, fx_t *from, uint64_t elapsed)
{
    uint32_t               i;
    lrt_learned_group_t    group;
    lrt_learned_server_t   server;

    lrt_learned_group(&from->table, &group);
    ok(lrt_learned_group_sound(&group), "what is written of the group");

    lrt_learned_set_group(&to->table, &group);

    for (i = 0; i < from->table.capacity; i++) {

        if (lrt_learned_server(&from->table, i, &server, from->now)) {
            ok(lrt_learned_sound(&server), "what is written of server %u", i);
            lrt_learned_set(&to->table, i, &server, elapsed, to->now);
        }
    }

    lrt_learned_done(&to->table, to->now);
}


static lrt_learned_server_t
of(fx_t *fx, uint32_t slot)
{
    lrt_learned_server_t  server;

    memset(&server, 0, sizeof(server));
    (void) lrt_learned_server(&fx->table, slot, &server, fx->now);

    return server;
}


static lrt_learned_server_t
set(fx_t *fx, const lrt_learned_server_t *server, uint64_t elapsed,
    uint64_t now)
{
    fx->table.hot[0].estimate = 0;
    fx->table.health[0].errors = 0;
    fx->table.health[0].pace = 0;

    lrt_learned_set(&fx->table, 0, server, elapsed, now);

    return of(fx, 0);
}
