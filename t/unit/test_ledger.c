
/*
 * Copyright (C) the ngx_http_lrt_upstream_module authors
 */


#include "tap.h"
#include "fixture.h"


#define CAPACITY     8


static void test_counts(void);
static void test_dead_owner(void);
static void test_successor(void);
static void test_left_by_the_dead(void);
static void test_drift(void);
static void test_drift_that_changes(void);
static void test_drift_under_load(void);
static void test_one_audit_a_period(void);
static void test_recover(void);
static void test_shared_row(void);
static void test_rows_used(void);
static void test_idle(void);
static void test_killed(void);
static void test_killed_auditor(void);
static void test_killed_at_random(void);
static void open_group(void);
static void audit(uint32_t n);
static unsigned only_that_one_is_dead(uint64_t pid, uint64_t start);
static void pick_and_end(void *arg);
static void audit_once(void *arg);


static fx_t      fx;
static uint64_t  dead;


int
main(void)
{
    tap_begin();

    run(test_counts);
    run(test_dead_owner);
    run(test_successor);
    run(test_left_by_the_dead);
    run(test_drift);
    run(test_drift_that_changes);
    run(test_drift_under_load);
    run(test_one_audit_a_period);
    run(test_recover);
    run(test_shared_row);
    run(test_rows_used);
    run(test_idle);
    run(test_killed);
    run(test_killed_auditor);
    run(test_killed_at_random);

    return tap_end();
}


static void
test_counts(void)
{
    uint64_t     *cell;
    lrt_owner_t   other;

    open_group();
    other = fx_claim(&fx, 2);

    /* each owner counts in his own cell, the total is the sum */

    is_u64(lrt_ledger_enter(&fx.table, &fx.owner, 3), 0, "nobody before");
    is_u64(lrt_ledger_enter(&fx.table, &fx.owner, 3), 1, "one before");
    is_u64(lrt_ledger_enter(&fx.table, &other, 3), 2, "two before");

    is_u64(fx.table.hot[3].inflight, 3, "total");

    cell = lrt_table_cell(&fx.table, fx.owner.row, 3);
    is_u64(lrt_cell_count(*cell), 2, "count of the first");
    is_u64(lrt_cell_serial(*cell), fx.owner.serial, "serial of the first");

    cell = lrt_table_cell(&fx.table, other.row, 3);
    is_u64(lrt_cell_count(*cell), 1, "count of the second");
    is_u64(lrt_cell_serial(*cell), other.serial, "serial of the second");

    lrt_ledger_leave(&fx.table, &other, 3);
    lrt_ledger_leave(&fx.table, &fx.owner, 3);
    lrt_ledger_leave(&fx.table, &fx.owner, 3);

    is_u64(fx.table.hot[3].inflight, 0, "total when all have left");
    is_u64(lrt_cell_count(*cell), 0, "count when all have left");
    ok(lrt_ledger_idle(&fx.table, 3), "idle");

    fx_close(&fx);
}


static void
test_dead_owner(void)
{
    uint32_t     i;
    lrt_owner_t  other;

    open_group();
    other = fx_claim(&fx, 2);

    for (i = 0; i < 5; i++) {
        (void) lrt_ledger_enter(&fx.table, &other, i);
        (void) lrt_ledger_enter(&fx.table, &other, i);
        (void) lrt_ledger_enter(&fx.table, &fx.owner, i);
    }

    audit(5);
    is_u64(fx.table.hot[0].inflight, 3, "counts of the living stay");

    /* what he held is given back by the first audit that finds him dead */

    lrt_registry_release(fx.reg, &other);
    audit(1);

    for (i = 0; i < 5; i++) {
        if (!check(fx.table.hot[i].inflight == 1, "slot %u", i)) {
            return;
        }
    }

    ok(1, "counts of a dead one are given back");
    ok(fx_quiet(&fx) == NULL, "valid");

    audit(10);
    is_u64(fx.table.hot[0].inflight, 1, "once");

    fx_close(&fx);
}


static void
test_successor(void)
{
    uint32_t      i;
    uint64_t     *cell;
    lrt_owner_t   old, new;

    /* the next owner of the row comes before an audit, or after */

    for (i = 0; i < 2; i++) {

        open_group();
        old = fx_claim(&fx, 2);

        (void) lrt_ledger_enter(&fx.table, &old, 3);
        (void) lrt_ledger_enter(&fx.table, &old, 3);

        lrt_registry_release(fx.reg, &old);
        new = fx_claim(&fx, 3);

        is_u64(new.row, old.row, "the successor has the row");

        if (i) {
            audit(1);
        }

        (void) lrt_ledger_enter(&fx.table, &new, 3);

        cell = lrt_table_cell(&fx.table, new.row, 3);

        is_u64(lrt_cell_count(*cell), 1, "he starts with his own request");
        is_u64(lrt_cell_serial(*cell), new.serial, "under his own serial");
        is_u64(fx.table.hot[3].inflight, 1, "and what was left is given back");

        audit(5);
        is_u64(fx.table.hot[3].inflight, 1, "once");
        ok(fx_quiet(&fx) == NULL, "valid");

        fx_close(&fx);
    }
}


static void
test_left_by_the_dead(void)
{
    lrt_owner_t  old, new;

    open_group();
    old = fx_claim(&fx, 2);

    (void) lrt_ledger_enter(&fx.table, &old, 3);

    lrt_registry_release(fx.reg, &old);
    new = fx_claim(&fx, 3);

    (void) lrt_ledger_enter(&fx.table, &new, 3);
    (void) lrt_ledger_enter(&fx.table, &new, 3);

    /* one who was taken for dead and leaves nevertheless */

    lrt_ledger_leave(&fx.table, &old, 3);

    is_u64(lrt_cell_count(*lrt_table_cell(&fx.table, new.row, 3)), 2,
           "takes nothing from his successor");

    audit(LRT_AUDIT_TICKS);
    is_u64(fx.table.hot[3].inflight, 2, "and the total is repaired");

    fx_close(&fx);
}


static void
test_drift(void)
{
    uint32_t  i;
    int32_t   drift;

    /* the same difference in so many audits is corrected, not before */

    for (drift = -3; drift <= 3; drift++) {

        open_group();

        (void) lrt_ledger_enter(&fx.table, &fx.owner, 3);
        fx.table.hot[3].inflight += drift;

        for (i = 1; i <= LRT_AUDIT_TICKS + 2; i++) {

            if (!check(fx.table.hot[3].inflight
                       == 1 + ((i <= LRT_AUDIT_TICKS) ? drift : 0),
                       "drift %d before audit %u", drift, i))
            {
                return;
            }

            audit(1);
        }

        ok(fx_quiet(&fx) == NULL, "a drift of %d is gone", drift);

        fx_close(&fx);
    }
}


static void
test_drift_that_changes(void)
{
    uint32_t  i;

    open_group();

    /* differences that come and go are those of the living */

    for (i = 0; i < 20; i++) {
        fx.table.hot[3].inflight = (i % 2) ? 1 : -1;
        audit(1);

        if (!check(fx.table.hot[3].inflight == ((i % 2) ? 1 : -1),
                   "audit %u", i))
        {
            return;
        }
    }

    ok(1, "a difference that changes is left alone");

    for (i = 0; i < 20; i++) {
        fx.table.hot[3].inflight = (i % LRT_AUDIT_TICKS) ? 1 : 0;
        audit(1);

        if (!check(fx.table.hot[3].inflight
                   == (int32_t) (i % LRT_AUDIT_TICKS ? 1 : 0), "audit %u", i))
        {
            return;
        }
    }

    ok(1, "so is one that is gone in between");

    fx.table.hot[3].inflight = 0;
    audit(1);
    ok(fx_quiet(&fx) == NULL, "valid at the end");

    fx_close(&fx);
}


static void
test_drift_under_load(void)
{
    uint32_t     i, n;
    lrt_pick_t   pick[50];

    open_group();

    fx.table.hot[3].inflight = -2;

    /* it is found while requests come and go, since it stays the same */

    n = 0;

    for (i = 0; i < 10 * LRT_AUDIT_TICKS; i++) {
        if (n < 50) {
            n += (fx_pick(&fx, &pick[n]) == LRT_OK);
        }

        if (tap_once_in(3)) {
            (void) fx_end(&fx, &pick[--n], LRT_ENDED_WELL);
        }

        if (i % 10 == 9) {
            audit(1);
        }
    }

    ok(fx_quiet(&fx) == NULL, "corrected");

    fx_close(&fx);
}


static void
test_one_audit_a_period(void)
{
    uint32_t  i;

    open_group();
    fx.table.hot[3].inflight = 1;

    /* many workers ask for it, one of them does it */

    for (i = 0; i < 20; i++) {
        lrt_ledger_audit(&fx.table, fx.reg, fx.now);
    }

    is_u64(fx.table.hot[3].drift_seen, 1, "20 calls at the same time");

    for (i = 0; i < LRT_AUDIT_PERIOD; i++) {
        lrt_ledger_audit(&fx.table, fx.reg, fx.now + i);
    }

    is_u64(fx.table.hot[3].drift_seen, 1, "calls within the period");

    lrt_ledger_audit(&fx.table, fx.reg, fx.now + LRT_AUDIT_PERIOD);
    is_u64(fx.table.hot[3].drift_seen, 2, "a call after the period");

    lrt_ledger_audit(&fx.table, fx.reg, fx.now);
    is_u64(fx.table.hot[3].drift_seen, 2, "a call in the past");

    fx_close(&fx);
}


static void
test_recover(void)
{
    lrt_owner_t  other;

    open_group();
    other = fx_claim(&fx, 2);

    (void) lrt_ledger_enter(&fx.table, &other, 3);
    (void) lrt_ledger_enter(&fx.table, &fx.owner, 3);
    audit(1);

    lrt_registry_release(fx.reg, &other);

    /* at once, whenever the last audit was; it judges no differences */

    fx.table.hot[2].inflight = 5;

    lrt_ledger_recover(&fx.table, fx.reg, fx.now);
    is_u64(fx.table.hot[3].inflight, 1, "given back");

    lrt_ledger_recover(&fx.table, fx.reg, fx.now);
    lrt_ledger_recover(&fx.table, fx.reg, fx.now);
    lrt_ledger_recover(&fx.table, fx.reg, fx.now);
    is_u64(fx.table.hot[2].inflight, 5, "a difference is left to audits");

    fx_close(&fx);
}


static void
test_shared_row(void)
{
    uint32_t     i;
    lrt_owner_t  shared, other;

    open_group();

    shared.row = FX_ROWS - 1;
    shared.serial = LRT_SERIAL_SHARED;
    other = shared;

    /* owners without a row of their own count together */

    (void) lrt_ledger_enter(&fx.table, &shared, 3);
    (void) lrt_ledger_enter(&fx.table, &other, 3);
    is_u64(fx.table.hot[3].inflight, 2, "total");

    audit(5);
    is_u64(fx.table.hot[3].inflight, 2, "audits take nothing from them");
    ok(fx_quiet(&fx) == NULL, "valid");
    ok(!lrt_ledger_idle(&fx.table, 3), "not idle");

    lrt_ledger_leave(&fx.table, &shared, 3);
    is_u64(fx.table.hot[3].inflight, 1, "one has left");
    ok(!lrt_ledger_idle(&fx.table, 3), "not idle yet");

    lrt_ledger_leave(&fx.table, &other, 3);
    is_u64(fx.table.hot[3].inflight, 0, "both have left");
    ok(lrt_ledger_idle(&fx.table, 3), "idle");

    audit(5);
    ok(fx_quiet(&fx) == NULL, "valid");

    for (i = 0; i < 1000; i++) {
        (void) lrt_ledger_enter(&fx.table, &shared, i % 8);
        lrt_ledger_leave(&fx.table, &other, i % 8);
    }

    ok(fx_quiet(&fx) == NULL, "valid after a thousand more");

    fx_close(&fx);
}


static void
test_rows_used(void)
{
    uint32_t     i;
    lrt_owner_t  owner[20];

    open_group();

    is_u64(fx.table.head->rows_used, 0, "no row is used yet");

    for (i = 0; i < 20; i++) {
        owner[i] = fx_claim(&fx, 10 + i);
    }

    /* only rows that were ever used are looked at */

    (void) lrt_ledger_enter(&fx.table, &owner[15], 1);
    is_u64(fx.table.head->rows_used, owner[15].row + 1, "the last one used");

    (void) lrt_ledger_enter(&fx.table, &owner[3], 1);
    is_u64(fx.table.head->rows_used, owner[15].row + 1, "an earlier one");

    lrt_ledger_leave(&fx.table, &owner[15], 1);
    is_u64(fx.table.head->rows_used, owner[15].row + 1, "it stays so");

    fx_close(&fx);
}


static void
test_idle(void)
{
    lrt_owner_t  owner;

    open_group();
    owner = fx_claim(&fx, 2);

    ok(lrt_ledger_idle(&fx.table, 3), "nobody was ever there");

    /* the total alone, or a cell alone, is enough to keep a slot */

    (void) lrt_ledger_enter(&fx.table, &owner, 3);
    fx.table.hot[3].inflight = 0;
    ok(!lrt_ledger_idle(&fx.table, 3), "counted in a cell only");

    lrt_ledger_leave(&fx.table, &owner, 3);
    ok(!lrt_ledger_idle(&fx.table, 3), "counted in the total only");

    fx.table.hot[3].inflight = 0;
    ok(lrt_ledger_idle(&fx.table, 3), "counted nowhere");

    fx_close(&fx);
}


static void
test_killed(void)
{
    uint32_t      i, point, method, audits;
    lrt_pick_t    before[3];
    lrt_owner_t   victim, survivor;

    for (method = 0; method < 2; method++) {
        for (point = LRT_POINT_COUNT_IN_CELL;
             point <= LRT_POINT_COUNT_OUT_CELL;
             point++)
        {
            if (point == LRT_POINT_RANK_KEY && method == RR) {
                continue;
            }

            open_group();
            (void) fx_method(&fx, method);

            survivor = fx.owner;
            victim = fx_claim(&fx, 2);

            /* both hold requests when one of them is killed */

            (void) fx_pick(&fx, &before[0]);

            fx.owner = victim;

            (void) fx_pick(&fx, &before[1]);
            (void) fx_pick(&fx, &before[2]);

            if (!check(fx_killed(point, pick_and_end, NULL),
                       "killed at point %u", point))
            {
                return;
            }

            fx.owner = survivor;
            dead = 2;

            /* a second later everything is as if he had never been there */

            for (audits = 1; audits <= 10; audits++) {

                lrt_registry_beat(fx.reg, &survivor, fx.now);

                fx.now += LRT_AUDIT_PERIOD;

                if (lrt_registry_reap(fx.reg, fx.now, only_that_one_is_dead)) {
                    lrt_ledger_recover(&fx.table, fx.reg, fx.now);
                }

                lrt_ledger_audit(&fx.table, fx.reg, fx.now);
            }

            ok(fx_quiet(&fx) == NULL, "method %u, killed at point %u, valid",
               method, point);

            for (i = 0, audits = 0; i < CAPACITY; i++) {
                audits += (uint32_t) fx.table.hot[i].inflight;
            }

            is_u64(audits, 1, "what the survivor holds is counted");

            (void) fx_end(&fx, &before[0], LRT_ENDED_WELL);

            ok(fx_quiet(&fx) == NULL, "valid when that is over");

            for (i = 1; i <= 5; i++) {
                (void) fx_remove(&fx, i);
            }

            is_u64(lrt_change_room(&fx.table), CAPACITY, "no slot is lost");

            fx_close(&fx);
        }
    }
}


static void
test_killed_auditor(void)
{
    uint32_t     i;
    lrt_owner_t  other;

    open_group();
    other = fx_claim(&fx, 2);

    for (i = 0; i < 4; i++) {
        (void) lrt_ledger_enter(&fx.table, &other, 1);
    }

    lrt_registry_release(fx.reg, &other);

    /* he dies when he has taken the counts, but not told the total */

    ok(fx_killed(LRT_POINT_ZAP_CELL, audit_once, NULL), "killed");
    is_u64(fx.table.hot[1].inflight, 4, "the total is too high");

    audit(LRT_AUDIT_TICKS);
    is_u64(fx.table.hot[1].inflight, 0, "the next ones repair it");
    ok(fx_quiet(&fx) == NULL, "valid");

    fx_close(&fx);
}


static void
test_killed_at_random(void)
{
    uint32_t      i, j, n, rounds, pid;
    const char   *why;
    lrt_owner_t   owner[4];
    lrt_pick_t    pick[4][20];
    uint32_t      held[4];

    open_group();
    (void) fx_method(&fx, LC);

    pid = 10;

    for (i = 0; i < 4; i++) {
        owner[i] = fx_claim(&fx, pid++);
        held[i] = 0;
    }

    rounds = tap_times(1000);

    /* four workers, one of them is killed somewhere, a new one comes */

    for (n = 0; n < rounds; n++) {

        for (j = 0; j < 30; j++) {

            i = tap_below(4);
            fx.owner = owner[i];

            if (held[i] < 20 && tap_once_in(2)) {
                held[i] += (fx_pick(&fx, &pick[i][held[i]]) == LRT_OK);

            } else if (held[i]) {
                (void) fx_end(&fx, &pick[i][--held[i]],
                              tap_below(LRT_ENDED_UNKNOWN + 1));
            }

            fx.now += tap_once_in(10);
        }

        i = tap_below(4);
        fx.owner = owner[i];

        if (tap_once_in(5)) {
            fx.now += LRT_AUDIT_PERIOD;
            (void) fx_killed(LRT_POINT_ZAP_CELL, audit_once, NULL);

        } else {
            (void) fx_killed(tap_between(LRT_POINT_COUNT_IN_CELL,
                                         LRT_POINT_COUNT_OUT_CELL),
                             pick_and_end, NULL);
        }

        lrt_registry_release(fx.reg, &owner[i]);
        held[i] = 0;

        if (tap_once_in(2)) {
            audit(1);
        }

        owner[i] = fx_claim(&fx, pid++);

        if (tap_once_in(5)) {

            audit(10);
            why = fx_quiet(&fx);

            if (!check(why == NULL, "round %u: %s", n, why)) {
                return;
            }
        }
    }

    ok(1, "%u workers killed", rounds);

    audit(10);
    ok(fx_quiet(&fx) == NULL, "valid a second later");

    fx_close(&fx);
}


/* five servers in eight places */

static void
open_group(void)
{
    uint32_t      i;
    lrt_params_t  params[5];

    fx_open(&fx, CAPACITY);

    for (i = 0; i < 5; i++) {
        params[i] = fx_params(1);
    }

    (void) fx_fill(&fx, params, 5);
}


static void
audit(uint32_t n)
{
    while (n--) {
        fx.now += LRT_AUDIT_PERIOD;
        lrt_ledger_audit(&fx.table, fx.reg, fx.now);
    }
}


static unsigned
only_that_one_is_dead(uint64_t pid, uint64_t start)
{
    return pid == dead && start == dead * 10;
}


static void
pick_and_end(void *arg)
{
    lrt_pick_t  pick;

    (void) arg;

    if (fx_pick(&fx, &pick) == LRT_OK) {
        (void) fx_end(&fx, &pick, LRT_ENDED_WELL);
    }
}


static void
audit_once(void *arg)
{
    (void) arg;

    lrt_ledger_audit(&fx.table, fx.reg, fx.now);
}
