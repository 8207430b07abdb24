
/*
 * Copyright (C) the ngx_http_lrt_upstream_module authors
 */


#include "tap.h"
#include "fixture.h"
#include "lrt_best.h"


#define CAPACITY     200             /* three blocks and a part of one */


static void test_each_operation(void);
static void test_repair(void);
static void test_best(void);
static void test_wake(void);
static void test_wake_at(void);
static void test_not_kept(void);
static void test_killed(void);
static void open_group(uint32_t n);
static uint64_t slow_best(const lrt_view_t *view);
static void pick_and_end(void *arg);


static fx_t  fx;


int
main(void)
{
    tap_begin();

    run(test_each_operation);
    run(test_repair);
    run(test_best);
    run(test_wake);
    run(test_wake_at);
    run(test_not_kept);
    run(test_killed);

    return tap_end();
}


static void
test_each_operation(void)
{
    uint32_t      i, n, steps;
    const char   *why;
    lrt_pick_t    pick[500];
    lrt_params_t  params;

    open_group(CAPACITY - 10);

    n = 0;
    steps = tap_times(20000);

    /* whatever is done, ranks and lowest ranks are exact when it is done */

    for (i = 0; i < steps; i++) {

        switch (tap_below(10)) {

        case 0:
            fx.now += tap_below(20);
            lrt_rank_wake(&fx.table, fx.now);
            break;

        case 1:
            params = fx_params(tap_between(1, 100));
            params.max_conns = tap_below(5);
            params.max_fails = tap_below(3);
            params.fail_timeout = tap_below(100);
            params.down = tap_once_in(5);
            params.backup = tap_once_in(5);

            if (tap_once_in(2)) {
                (void) fx_add(&fx, tap_below(CAPACITY * 2), &params);
                break;
            }

            (void) fx_modify(&fx, tap_below(fx.table.head->next_ident),
                             &params, LRT_F_ALL);
            break;

        case 2:
            if (tap_once_in(4)) {
                (void) fx_remove(&fx, tap_below(fx.table.head->next_ident));
            }

            break;

        case 3:
            if (tap_once_in(10)) {
                fx.now += LRT_AUDIT_PERIOD;
                lrt_ledger_audit(&fx.table, fx.reg, fx.now);
            }

            break;

        case 4:
        case 5:
        case 6:
            if (n < 500) {
                n += (fx_pick(&fx, &pick[n]) == LRT_OK);
            }

            break;

        default:
            if (n) {
                uint32_t  j;

                j = tap_below(n);

                (void) fx_end(&fx, &pick[j],
                              tap_below(LRT_ENDED_UNKNOWN + 1));
                pick[j] = pick[--n];
            }
        }

        lrt_rank_wake(&fx.table, fx.now);

        why = fx_quiet(&fx);

        if (!check(why == NULL, "step %u: %s", i, why)) {
            return;
        }
    }

    ok(1, "%u operations", steps);
    fx_close(&fx);
}


static void
test_repair(void)
{
    uint32_t  i, j, tier;

    open_group(CAPACITY - 10);

    /* a refresh does not care what it finds */

    for (i = 0; i < 200; i++) {

        for (tier = 0; tier < LRT_TIERS; tier++) {

            for (j = 0; j < CAPACITY; j++) {
                if (tap_once_in(3)) {
                    fx.table.key[tier][j] = tap_once_in(2) ? LRT_KEY_NEVER
                                                           : tap_random();
                }
            }

            for (j = 0; j < lrt_blocks(CAPACITY); j++) {
                if (tap_once_in(2)) {
                    fx.table.low[tier][j] = tap_random();
                }
            }
        }

        lrt_rank_refresh(&fx.table, fx.now);

        if (!check(fx_quiet(&fx) == NULL, "valid after a refresh")) {
            return;
        }
    }

    ok(1, "garbage is repaired");

    /* nor does a request: it gets a server, and the ranks are right again */

    for (i = 0; i < 200; i++) {
        lrt_pick_t  pick;

        for (j = 0; j < CAPACITY; j++) {
            fx.table.key[0][j] = tap_once_in(2) ? LRT_KEY_NEVER : tap_random();
        }

        for (j = 0; j < lrt_blocks(CAPACITY); j++) {
            fx.table.low[0][j] = tap_once_in(2) ? LRT_KEY_NEVER : tap_random();
        }

        if (!check(fx_pick(&fx, &pick) == LRT_OK, "a server")) {
            return;
        }

        (void) fx_end(&fx, &pick, LRT_ENDED_WELL);
    }

    ok(1, "requests find servers whatever the ranks say");

    fx_close(&fx);
}


static void
test_best(void)
{
    uint32_t      i, j;
    lrt_best_t    best;
    lrt_view_t    view;
    lrt_pick_t    pick;
    lrt_tried_t   tried[10];

    open_group(CAPACITY - 10);

    for (i = 0; i < 3000; i++) {
        (void) fx_pick(&fx, &pick);
    }

    /* the best rank of those that were not tried, by looking at all of them */

    for (i = 0; i < tap_times(10000); i++) {

        memset(&view, 0, sizeof(lrt_view_t));

        view.table = &fx.table;
        view.generation = lrt_table_generation(&fx.table);
        view.entry = lrt_table_entries(&fx.table, view.generation);
        view.top = lrt_table_side(&fx.table, view.generation)->top;
        view.tried = tried;
        view.ntried = tap_below(10);

        for (j = 0; j < view.ntried; j++) {
            tried[j].slot = tap_below(CAPACITY);
            tried[j].ident = fx_entry(&fx, tried[j].slot)->ident;

            if (tap_once_in(2)) {

                /* those that matter are those that are good */

                tried[j].slot = (uint32_t) (i * 7 + j) % 40;
                tried[j].ident = fx_entry(&fx, tried[j].slot)->ident;
            }
        }

        lrt_best_find(&view, &best);

        if (!check(best.key == slow_best(&view) && best.blocks > 0,
                   "best rank %llu, is %llu", (unsigned long long) best.key,
                   (unsigned long long) slow_best(&view)))
        {
            return;
        }

        if (tap_once_in(3)) {
            (void) fx_pick(&fx, &pick);
        }
    }

    ok(1, "random tried servers");
    fx_close(&fx);
}


static void
test_wake(void)
{
    uint32_t      i;
    lrt_pick_t    pick[3];
    lrt_params_t  params;

    fx_open(&fx, CAPACITY);

    for (i = 0; i < 3; i++) {
        params = fx_params(1);
        params.max_fails = 1;
        params.fail_timeout = 100 * (i + 1);
        (void) fx_add(&fx, i, &params);
    }

    (void) fx_method(&fx, LC);

    for (i = 0; i < 3; i++) {
        (void) fx_pick(&fx, &pick[i]);
    }

    for (i = 0; i < 3; i++) {
        (void) fx_end(&fx, &pick[i], LRT_ENDED_FAILED);
    }

    /* each comes back at its time, without an audit */

    is_u64(fx.table.head->wake.value, fx.now + 101, "the first one is due");

    for (i = 0; i < 3; i++) {

        fx.now += (i == 0) ? 100 : 99;
        is_u64(fx_pick(&fx, &pick[0]), LRT_BUSY, "server %u, too soon", i);

        fx.now++;
        is_u64(fx_pick(&fx, &pick[0]), LRT_OK, "server %u, in time", i);
        is_u64(pick[0].ident, i + 1, "it is that one");

        params.max_conns = 1;
        (void) fx_modify(&fx, i + 1, &params, LRT_F_MAX_CONNS);
    }

    fx_close(&fx);
}


static void
test_wake_at(void)
{
    open_group(1);

    is_u64(fx.table.head->wake.value, UINT64_MAX, "nothing is due");

    /* the earliest time wins */

    lrt_rank_wake_at(&fx.table, fx.now + 50);
    lrt_rank_wake_at(&fx.table, fx.now + 70);
    is_u64(fx.table.head->wake.value, fx.now + 50, "50 ms, not 70");

    lrt_rank_wake_at(&fx.table, fx.now + 30);
    is_u64(fx.table.head->wake.value, fx.now + 30, "30 ms");

    lrt_rank_wake(&fx.table, fx.now + 29);
    is_u64(fx.table.head->wake.value, fx.now + 30, "not yet");

    lrt_rank_wake(&fx.table, fx.now + 30);
    is_u64(fx.table.head->wake.value, UINT64_MAX, "done");

    fx_close(&fx);
}


static void
test_not_kept(void)
{
    lrt_pick_t  pick;

    open_group(4);

    /* round robin wants no ranks; whoever wants them gets them anew */

    (void) fx_method(&fx, RR);
    (void) fx_pick(&fx, &pick);
    (void) fx_pick(&fx, &pick);
    ok(fx_quiet(&fx) == NULL, "valid with round robin");

    (void) fx_method(&fx, LC);
    ok(fx_quiet(&fx) == NULL, "valid with least connections");

    fx_close(&fx);
}


static void
test_killed(void)
{
    uint32_t    i;

    open_group(CAPACITY - 10);

    /* a worker that dies between rank and lowest rank: the audit does it */

    for (i = 0; i < 100; i++) {

        if (!check(fx_killed(LRT_POINT_RANK_KEY, pick_and_end, NULL),
                   "killed"))
        {
            return;
        }

        (void) lrt_registry_release(fx.reg, &fx.owner);
        fx.owner = fx_claim(&fx, 2 + i);

        fx.now += LRT_AUDIT_PERIOD;
        lrt_ledger_audit(&fx.table, fx.reg, fx.now);

        if (!check(fx_quiet(&fx) == NULL, "valid after an audit")) {
            return;
        }
    }

    ok(1, "killed 100 times");
    fx_close(&fx);
}


static void
open_group(uint32_t n)
{
    uint32_t      i;
    lrt_params_t  params[CAPACITY];

    fx_open(&fx, CAPACITY);

    for (i = 0; i < n; i++) {
        params[i] = fx_params(tap_between(1, 100));
    }

    (void) fx_fill(&fx, params, n);
    (void) fx_method(&fx, LC);
}


static uint64_t
slow_best(const lrt_view_t *view)
{
    uint32_t  i, slot;
    uint64_t  best;
    unsigned  tried;

    best = LRT_KEY_NEVER;

    for (slot = 0; slot < view->top; slot++) {

        tried = 0;

        for (i = 0; i < view->ntried; i++) {
            tried |= (view->tried[i].slot == slot
                      && view->tried[i].ident == view->entry[slot].ident);
        }

        if (!tried && view->table->key[0][slot] < best) {
            best = view->table->key[0][slot];
        }
    }

    return best;
}


static void
pick_and_end(void *arg)
{
    lrt_pick_t  pick;

    (void) arg;

    (void) fx_pick(&fx, &pick);
    (void) fx_end(&fx, &pick, LRT_ENDED_WELL);
}
