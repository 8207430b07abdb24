
/*
 * Copyright (C) the ngx_http_lrt_upstream_module authors
 *
 * Panic: when so few servers are well that health is ignored, against the
 * words of the manual; and the census that says so.
 */


#include "tap.h"
#include "fixture.h"
#include "lrt_census.h"


#define MAX_PRIMARIES  4
#define MAX_BACKUPS    3
#define SLOTS          (MAX_PRIMARIES + MAX_BACKUPS)
#define MANY           1000


static void test_checks(void);
static void test_max_fails(void);
static void test_boundary(void);
static void test_never(void);
static void test_tried(void);
static void test_max_conns(void);
static void test_recovery(void);
static void test_news(void);
static void test_seen(void);
static void test_many_turn(void);
static void test_garbage(void);
static void test_killed(void);
static void table_of_cases(uint32_t method, void (*fall)(fx_t *fx,
    uint32_t slot));
static void fail_check(fx_t *fx, uint32_t slot);
static void fail_requests(fx_t *fx, uint32_t slot);
static void open_group(fx_t *fx, uint32_t method, uint32_t primaries,
    uint32_t backups, uint32_t panic);
static uint32_t expected(uint32_t panic, uint32_t np, uint32_t hp, uint32_t nb,
    uint32_t hb);
static uint32_t bits(uint32_t from, uint32_t n);
static uint32_t chosen(fx_t *fx);
static unsigned panics(fx_t *fx, lrt_tier_e tier);


int
main(void)
{
    tap_begin();

    run(test_checks);
    run(test_max_fails);
    run(test_boundary);
    run(test_never);
    run(test_tried);
    run(test_max_conns);
    run(test_recovery);
    run(test_news);
    run(test_seen);
    run(test_many_turn);
    run(test_garbage);
    run(test_killed);

    return tap_end();
}


static void
test_checks(void)
{
    table_of_cases(RR, fail_check);
    table_of_cases(LC, fail_check);
    table_of_cases(LRT_METHOD_least_time, fail_check);
}


static void
test_max_fails(void)
{
    table_of_cases(RR, fail_requests);
    table_of_cases(LC, fail_requests);
}


static void
test_boundary(void)
{
    fx_t  fx;

    open_group(&fx, RR, 4, 0, 500);

    fail_check(&fx, 0);
    fail_check(&fx, 1);
    ok(!panics(&fx, LRT_PRIMARY), "a half of 50 %%");
    is_u64(chosen(&fx), 0xc, "the healthy ones");

    fail_check(&fx, 2);
    ok(panics(&fx, LRT_PRIMARY), "less than that");
    is_u64(chosen(&fx), 0xf, "all");

    fx_close(&fx);
}


/* what an operator has said counts, and those servers are not counted */

static void
test_never(void)
{
    fx_t          fx;
    uint32_t      i;
    lrt_params_t  params;

    static const uint32_t  fields[] = { LRT_F_DOWN, LRT_F_DRAIN, LRT_F_FORCED };

    for (i = 0; i < 3; i++) {

        open_group(&fx, RR, 4, 0, 500);

        params = fx_params(1);
        params.down = 1;
        params.drain = 1;
        params.forced = LRT_FORCED_DOWN;

        (void) fx_modify(&fx, fx_entry(&fx, 0)->ident, &params, fields[i]);
        (void) fx_modify(&fx, fx_entry(&fx, 1)->ident, &params, fields[i]);

        fail_check(&fx, 2);
        ok(!panics(&fx, LRT_PRIMARY), "one of two is well");
        fail_check(&fx, 3);
        ok(panics(&fx, LRT_PRIMARY), "none");
        is_u64(chosen(&fx), 0xc, "two that an operator wants");

        fx_close(&fx);
    }

    open_group(&fx, RR, 4, 0, 500);

    params = fx_params(1);
    params.forced = LRT_FORCED_UP;
    (void) fx_modify(&fx, fx_entry(&fx, 0)->ident, &params, LRT_F_FORCED);
    (void) fx_modify(&fx, fx_entry(&fx, 1)->ident, &params, LRT_F_FORCED);

    for (i = 0; i < 4; i++) {
        fail_check(&fx, i);
    }

    is_u64(chosen(&fx), 0x3, "two are well by order");

    fx_close(&fx);
}


static void
test_tried(void)
{
    fx_t         fx;
    uint32_t     i;
    lrt_pick_t   pick;
    lrt_tried_t  tried[5];

    open_group(&fx, LC, 3, 2, 500);

    for (i = 0; i < 5; i++) {
        fail_check(&fx, i);
        tried[i].slot = i;
        tried[i].ident = fx_entry(&fx, i)->ident;
    }

    is_u64(fx_retry(&fx, tried, 2, &pick), LRT_OK, "a retry");
    is_u64(pick.slot, 2, "the one that was not tried");
    (void) fx_end(&fx, &pick, LRT_ENDED_WELL);

    is_u64(fx_retry(&fx, tried, 3, &pick), LRT_OK, "another");
    ok(pick.slot > 2, "then backups");
    (void) fx_end(&fx, &pick, LRT_ENDED_WELL);

    is_u64(fx_retry(&fx, tried, 5, &pick), LRT_BUSY, "all were tried");

    fx_close(&fx);
}


static void
test_max_conns(void)
{
    fx_t          fx;
    uint32_t      i;
    lrt_pick_t    pick[6];
    lrt_params_t  params;

    open_group(&fx, RR, 2, 0, 500);

    params = fx_params(1);
    params.max_conns = 2;

    for (i = 0; i < 2; i++) {
        (void) fx_modify(&fx, fx_entry(&fx, i)->ident, &params,
                         LRT_F_MAX_CONNS);
        fail_check(&fx, i);
    }

    for (i = 0; i < 4; i++) {
        is_u64(fx_pick(&fx, &pick[i]), LRT_OK, "request %u of 4", i);
    }

    is_u64(fx_pick(&fx, &pick[4]), LRT_BUSY, "both are full");

    fx_close(&fx);
}


/* a success after fail_timeout ends it, as it would without panic */

static void
test_recovery(void)
{
    fx_t        fx;
    uint32_t    i;
    lrt_pick_t  pick;

    open_group(&fx, LC, 2, 0, 500);

    fail_requests(&fx, 0);
    fail_requests(&fx, 1);
    ok(panics(&fx, LRT_PRIMARY), "both are shut out");

    for (i = 0; i < 4; i++) {
        is_u64(fx_pick(&fx, &pick), LRT_OK, "a request all the same");
        (void) fx_end(&fx, &pick, LRT_ENDED_WELL);
    }

    fx.now += 10001;

    for (i = 0; i < 4; i++) {
        is_u64(fx_pick(&fx, &pick), LRT_OK, "one when the time is over");
        (void) fx_end(&fx, &pick, LRT_ENDED_WELL);
    }

    ok(!panics(&fx, LRT_PRIMARY), "both are back");
    is_u64(chosen(&fx), 0x3, "and take requests");
    ok(fx_quiet(&fx) == NULL, "valid");

    fx_close(&fx);
}


static void
test_news(void)
{
    fx_t        fx;
    unsigned    before, after;
    lrt_turn_t  turn;

    open_group(&fx, RR, 2, 1, 1000);

    ok(!lrt_census_news(&fx.table, &before, &after), "nothing to tell");

    fail_check(&fx, 0);
    ok(lrt_census_news(&fx.table, &before, &after), "panic");
    is_u64(before, 0, "there was none");
    is_u64(after, 1, "among primaries");
    ok(!lrt_census_news(&fx.table, &before, &after), "told once");

    (void) fx_probe(&fx, 0, 0, LRT_PROBE_PASSED, 1000, &turn);
    ok(lrt_census_news(&fx.table, &before, &after), "its end");
    is_u64(before, 1, "there was one");
    is_u64(after, 0, "there is none");

    fail_check(&fx, 0);
    fx.table.head->superseded = 1;
    ok(!lrt_census_news(&fx.table, &before, &after), "of an old table: none");

    fx_close(&fx);
}


static void
test_seen(void)
{
    fx_t  fx;

    open_group(&fx, RR, 3, 2, 500);
    fail_check(&fx, 0);
    fail_check(&fx, 1);
    fail_check(&fx, 3);
    fx_snapshot(&fx);

    is_u64(fx.snap.well[LRT_PRIMARY], 1, "primaries that are well");
    is_u64(fx.snap.well[LRT_BACKUP], 1, "backups");
    ok(fx.snap.rules[LRT_PRIMARY].panic, "panic");
    ok(!fx.snap.rules[LRT_BACKUP].panic, "none there");
    is_u64(lrt_peer_state(&fx.snap, &fx.item[0], &fx.peer[0].hot, fx.now),
           LRT_STATE_UNHEALTHY, "they are what they are");
    ok(lrt_peer_share(&fx.table, &fx.snap, &fx.item[0], fx.now),
       "but have a share");

    fx_close(&fx);
}


/* each turn of many does not count them all */

static void
test_many_turn(void)
{
    fx_t      fx;
    uint32_t  i, counts, last;

    open_group(&fx, RR, MANY, 0, 500);

    last = MANY;
    counts = 0;

    for (i = 0; i < MANY; i++) {
        fail_check(&fx, i);
        fx_snapshot(&fx);
        counts += (fx.snap.well[LRT_PRIMARY] != last);
        last = fx.snap.well[LRT_PRIMARY];
    }

    ok(counts <= 1, "at the same moment: %u counts", counts);

    fx.now += 100;
    lrt_ledger_audit(&fx.table, fx.reg, fx.now);
    fx_snapshot(&fx);
    is_u64(fx.snap.well[LRT_PRIMARY], 0, "an audit brings the rest");
    ok(panics(&fx, LRT_PRIMARY), "and panic");

    fx_close(&fx);
}


static void
test_garbage(void)
{
    fx_t      fx;
    uint64_t  right;

    open_group(&fx, LC, 3, 2, 500);
    fail_check(&fx, 0);
    right = fx.table.head->census.value;

    fx.table.head->census.value = UINT64_MAX;
    fx.now += 100;
    lrt_ledger_audit(&fx.table, fx.reg, fx.now);

    ok(fx.table.head->census.value == right, "an audit puts it right");
    ok(fx_quiet(&fx) == NULL, "and ranks");

    fx_close(&fx);
}


/* the one who brings a result dies before he has counted */

static void
test_killed(void)
{
    fx_t        fx;
    lrt_turn_t  turn;

    open_group(&fx, LC, 2, 1, 500);
    fail_check(&fx, 0);

    fx.table.health[1].verdict[0] = LRT_FAILING;
    fx.table.hot[1].health |= LRT_HEALTH_FAILING & 1;

    fx.now += 100;
    lrt_ledger_audit(&fx.table, fx.reg, fx.now);

    ok(fx_quiet(&fx) == NULL, "valid after an audit");
    ok(!panics(&fx, LRT_PRIMARY), "the backup is well");
    is_u64(chosen(&fx), 0x4, "and takes requests");

    fail_check(&fx, 2);
    ok(panics(&fx, LRT_PRIMARY) && panics(&fx, LRT_BACKUP), "nobody is");
    is_u64(chosen(&fx), 0x3, "primaries");

    (void) fx_probe(&fx, 2, 0, LRT_PROBE_PASSED, 1000, &turn);
    is_u64(chosen(&fx), 0x4, "the backup is back");

    fx_close(&fx);
}


/* all numbers of servers, and of those that are well, in both tiers */

static void
table_of_cases(uint32_t method, void (*fall)(fx_t *fx, uint32_t slot))
{
    fx_t      fx;
    uint32_t  i, np, hp, nb, hb, p, got, want, cases;

    static const uint32_t  percents[] = { 0, 1, 250, 500, 501, 667, 1000 };

    cases = 0;

    for (p = 0; p < sizeof(percents) / sizeof(percents[0]); p++) {
        for (np = 0; np <= MAX_PRIMARIES; np++) {
            for (nb = 0; nb <= MAX_BACKUPS; nb++) {
                for (hp = 0; hp <= np; hp++) {
                    for (hb = 0; hb <= nb; hb++) {

                        /* max_fails does not shut out a lone server */

                        if (fall == fail_requests
                            && ((np == 1 && nb == 0) || nb == 1))
                        {
                            continue;
                        }

                        open_group(&fx, method, np, nb, percents[p]);

                        for (i = hp; i < np; i++) {
                            fall(&fx, i);
                        }

                        for (i = np + hb; i < np + nb; i++) {
                            fall(&fx, i);
                        }

                        got = chosen(&fx);
                        want = expected(percents[p], np, hp, nb, hb);
                        cases++;

                        if (!check(got == want && fx_quiet(&fx) == NULL,
                                   "panic %u, %u of %u, backups %u of %u: "
                                   "0x%x instead of 0x%x", percents[p], hp, np,
                                   hb, nb, got, want))
                        {
                            return;
                        }

                        fx_close(&fx);
                    }
                }
            }
        }
    }

    ok(1, "%s: %u cases", lrt_method(method)->name, cases);
}


static void
fail_check(fx_t *fx, uint32_t slot)
{
    lrt_turn_t  turn;

    (void) fx_probe(fx, slot, 0, LRT_PROBE_FAILED, 1000, &turn);
}


static void
fail_requests(fx_t *fx, uint32_t slot)
{
    lrt_pick_t     pick;
    lrt_outcome_t  out;

    memset(&pick, 0, sizeof(lrt_pick_t));
    memset(&out, 0, sizeof(lrt_outcome_t));

    pick.slot = slot;
    pick.ident = fx_entry(fx, slot)->ident;
    pick.owner = fx->owner;
    out.failed = 1;

    (void) lrt_ledger_enter(&fx->table, &fx->owner, slot);
    (void) lrt_release(&fx->table, &pick, LRT_ENDED_FAILED, &out, fx->now);
}


static void
open_group(fx_t *fx, uint32_t method, uint32_t primaries, uint32_t backups,
    uint32_t panic)
{
    uint32_t         i, n;
    lrt_params_t    *params;
    lrt_settings_t   settings;

    n = primaries + backups;

    fx_open(fx, n + LRT_MIN_CAPACITY);
    (void) fx_method(fx, method);

    params = calloc(n + 1, sizeof(lrt_params_t));

    for (i = 0; i < n; i++) {
        params[i] = fx_params(1);
        params[i].max_fails = 1;
        params[i].backup = (i >= primaries);
    }

    (void) fx_fill(fx, params, n);
    free(params);

    memset(&settings, 0, sizeof(lrt_settings_t));
    settings.panic = panic;
    settings.nchecks = 1;
    settings.check[0] = fx_check(1, 1);

    (void) fx_settings(fx, &settings);
}


/* the manual, word by word: a mask of slots */

static uint32_t
expected(uint32_t panic, uint32_t np, uint32_t hp, uint32_t nb, uint32_t hb)
{
    if (hp && hp * 1000 >= panic * np) {
        return bits(0, hp);
    }

    if (hp) {
        return bits(0, np);
    }

    if (hb && hb * 1000 >= panic * nb) {
        return bits(np, hb);
    }

    if (panic) {
        return np ? bits(0, np) : bits(0, nb);
    }

    return 0;
}


static uint32_t
bits(uint32_t from, uint32_t n)
{
    return ((1u << n) - 1) << from;
}


/* who gets requests */

static uint32_t
chosen(fx_t *fx)
{
    uint32_t    i, mask;
    lrt_pick_t  pick;

    for (i = 0, mask = 0; i < 4 * SLOTS; i++) {

        if (fx_pick(fx, &pick) == LRT_OK) {
            mask |= 1u << pick.slot;
            (void) fx_end(fx, &pick, LRT_ENDED_UNKNOWN);
        }
    }

    return mask;
}


static unsigned
panics(fx_t *fx, lrt_tier_e tier)
{
    return lrt_census_panic(fx->table.head->census.value, tier);
}
