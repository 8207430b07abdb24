
/*
 * Copyright (C) the ngx_http_lrt_upstream_module authors
 *
 * A request that has chosen a server and then has to wait, while the world
 * moves on, before it counts itself in there.  The file under test is included
 * under other names, with a step in between.
 */


#include "tap.h"
#include "fixture.h"


static int32_t late_enter(lrt_table_t *t, const lrt_owner_t *owner,
    uint32_t slot);

#define lrt_select           late_select
#define lrt_release          late_release
#define lrt_select_point     late_select_point
#define lrt_tries            late_tries
#define lrt_ledger_enter     late_enter

lrt_rc_t late_select(lrt_table_t *t, const lrt_owner_t *owner,
    const lrt_ask_t *ask, lrt_pick_t *pick);
lrt_ended_e late_release(lrt_table_t *t, const lrt_pick_t *pick,
    lrt_ended_e how, const lrt_outcome_t *out, uint64_t now);
lrt_rc_t late_select_point(lrt_table_t *t, const lrt_ask_t *ask,
    lrt_pick_t *pick, lrt_detail_t *detail);
uint32_t late_tries(const lrt_table_t *t);

#include "lrt_select.c"

#undef lrt_select
#undef lrt_release
#undef lrt_select_point
#undef lrt_tries
#undef lrt_ledger_enter


#define CAPACITY     8


static void test_removed(void);
static void test_replaced(void);
static void test_replaced_many_times(void);
static void test_other_tier(void);
static void test_limit_reached(void);
static void test_limit_of_the_next(void);
static void test_shut_out_meanwhile(void);
static void test_all_removed(void);
static void test_method_meanwhile(void);
static void test_random(void);
static void remove_it(uint32_t slot);
static void replace_it(uint32_t slot);
static void replace_all(uint32_t slot);
static void replace_by_backup(uint32_t slot);
static void fill_it(uint32_t slot);
static void replace_by_full(uint32_t slot);
static void fail_it(uint32_t slot);
static void remove_all(uint32_t slot);
static void change_method(uint32_t slot);
static void something(uint32_t slot);
static void open_group(uint32_t n, uint32_t method);
static lrt_rc_t pick_late(void (*between)(uint32_t slot), lrt_pick_t *pick);
static unsigned in_group(const lrt_pick_t *pick);
static unsigned only(const lrt_pick_t *pick);


static fx_t         fx;
static lrt_owner_t  other;
static lrt_pick_t   blocking;
static uint64_t     chosen;          /* ident of the first choice */
static uint32_t     number;
static void       (*late)(uint32_t slot);


int
main(void)
{
    tap_begin();

    run(test_removed);
    run(test_replaced);
    run(test_replaced_many_times);
    run(test_other_tier);
    run(test_limit_reached);
    run(test_limit_of_the_next);
    run(test_shut_out_meanwhile);
    run(test_all_removed);
    run(test_method_meanwhile);
    run(test_random);

    return tap_end();
}


static int32_t
late_enter(lrt_table_t *t, const lrt_owner_t *owner, uint32_t slot)
{
    void  (*between)(uint32_t slot);

    between = late;
    late = NULL;

    if (between) {
        chosen = fx_entry(&fx, slot)->ident;
        between(slot);
    }

    return lrt_ledger_enter(t, owner, slot);
}


static void
test_removed(void)
{
    uint32_t    method;
    lrt_pick_t  pick;

    for (method = 0; method < 2; method++) {

        open_group(4, method);

        /* the choice is gone: there are others */

        is_u64(pick_late(remove_it, &pick), LRT_OK, "method %u", method);
        ok(pick.ident != chosen, "not the removed one");
        ok(in_group(&pick), "one of the group");
        ok(only(&pick), "counted there and nowhere else");

        (void) fx_end(&fx, &pick, LRT_ENDED_WELL);
        is_u64(lrt_change_room(&fx.table), CAPACITY - 3, "no slot is lost");

        fx_close(&fx);
    }
}


static void
test_replaced(void)
{
    uint32_t    method, slot;
    lrt_pick_t  pick;

    for (method = 0; method < 2; method++) {

        open_group(4, method);

        /*
         * Another server lives in the slot by now.  The address that was read
         * before is not his: he is not touched but for a moment's count.
         */

        is_u64(pick_late(replace_it, &pick), LRT_OK, "method %u", method);
        ok(in_group(&pick), "one of the group");
        ok(only(&pick), "counted there and nowhere else");

        for (slot = 0; slot < CAPACITY; slot++) {
            if (!check(fx.table.detail[slot].stats.requests
                       == (slot == pick.slot), "requests of slot %u", slot))
            {
                return;
            }
        }

        ok(1, "it is a request of that server only");

        (void) fx_end(&fx, &pick, LRT_ENDED_WELL);

        fx_close(&fx);
    }
}


static void
test_replaced_many_times(void)
{
    uint32_t    method, i;
    lrt_pick_t  pick;

    for (method = 0; method < 2; method++) {

        open_group(4, method);

        /* every slot has a new owner, and each side was written again */

        for (i = 0; i < 10; i++) {
            if (!check(pick_late(replace_all, &pick) == LRT_OK, "a server")
                || !check(pick.ident != chosen && in_group(&pick),
                          "a new one")
                || !check(only(&pick), "counted there and nowhere else"))
            {
                return;
            }

            (void) fx_end(&fx, &pick, LRT_ENDED_WELL);
        }

        ok(1, "method %u", method);
        fx_close(&fx);
    }
}


static void
test_other_tier(void)
{
    uint32_t    method;
    lrt_pick_t  pick;

    for (method = 0; method < 2; method++) {

        open_group(2, method);

        /* the slot is that of a backup now */

        is_u64(pick_late(replace_by_backup, &pick), LRT_OK, "method %u",
               method);
        is_u64(fx_entry(&fx, pick.slot)->params.backup, 0,
               "a primary, since there is one");
        ok(only(&pick), "counted there and nowhere else");

        (void) fx_end(&fx, &pick, LRT_ENDED_WELL);

        fx_close(&fx);
    }
}


static void
test_limit_reached(void)
{
    uint32_t    method;
    lrt_pick_t  pick;

    for (method = 0; method < 2; method++) {

        open_group(2, method);

        /* another request took the last place */

        is_u64(pick_late(fill_it, &pick), LRT_OK, "method %u", method);
        ok(pick.ident != chosen, "the other server");
        is_u64(fx.table.hot[pick.slot].inflight, 1, "with one request");
        is_u64(fx.table.hot[blocking.slot].inflight, 1, "as the first one");

        (void) fx_end(&fx, &pick, LRT_ENDED_WELL);
        (void) fx_end(&fx, &blocking, LRT_ENDED_WELL);
        ok(fx_quiet(&fx) == NULL, "valid at the end");

        fx_close(&fx);
    }
}


static void
test_limit_of_the_next(void)
{
    uint32_t    method;
    lrt_pick_t  pick;

    for (method = 0; method < 2; method++) {

        open_group(1, method);

        /* the next owner of the slot is full: the request cannot stay */

        is_u64(pick_late(replace_by_full, &pick), LRT_BUSY, "method %u",
               method);

        (void) fx_end(&fx, &blocking, LRT_ENDED_WELL);
        ok(fx_quiet(&fx) == NULL, "valid at the end");

        fx_close(&fx);
    }
}


static void
test_shut_out_meanwhile(void)
{
    uint32_t    method;
    lrt_pick_t  pick;

    for (method = 0; method < 2; method++) {

        open_group(2, method);

        /* a failure of another request shut the server out */

        is_u64(pick_late(fail_it, &pick), LRT_OK, "method %u", method);
        ok(pick.ident != chosen, "the other server");

        (void) fx_end(&fx, &pick, LRT_ENDED_WELL);
        ok(fx_quiet(&fx) == NULL, "valid at the end");

        fx_close(&fx);
    }
}


static void
test_all_removed(void)
{
    uint32_t    method;
    lrt_pick_t  pick;

    for (method = 0; method < 2; method++) {

        open_group(4, method);

        is_u64(pick_late(remove_all, &pick), LRT_BUSY,
               "method %u: nobody is left", method);
        ok(fx_quiet(&fx) == NULL, "valid at the end");
        is_u64(lrt_change_room(&fx.table), CAPACITY, "no slot is lost");

        fx_close(&fx);
    }
}


static void
test_method_meanwhile(void)
{
    uint32_t    method;
    lrt_pick_t  pick;

    for (method = 0; method < 2; method++) {

        open_group(4, method);

        is_u64(pick_late(change_method, &pick), LRT_OK, "method %u", method);
        ok(only(&pick), "counted there and nowhere else");
        ok(fx_quiet(&fx) == NULL, "valid");

        fx_close(&fx);
    }
}


static void
test_random(void)
{
    uint32_t     i, n, rounds;
    lrt_rc_t     rc;
    lrt_pick_t   pick;

    open_group(4, LC);
    rounds = tap_times(30000);

    for (i = 0, n = 0; i < rounds; i++) {

        fx.now += tap_below(3);
        rc = pick_late(something, &pick);

        if (rc == LRT_OK) {
            if (!check(in_group(&pick), "round %u: one of the group", i)) {
                return;
            }

            (void) fx_end(&fx, &pick, tap_below(LRT_ENDED_UNKNOWN + 1));
            n++;
        }

        lrt_rank_wake(&fx.table, fx.now);

        if (!check(fx_quiet(&fx) == NULL, "round %u: valid", i)) {
            return;
        }
    }

    ok(1, "%u of %u requests found a server", n, rounds);
    fx_close(&fx);
}


static void
remove_it(uint32_t slot)
{
    (void) fx_remove(&fx, fx_entry(&fx, slot)->ident);
}


static void
replace_it(uint32_t slot)
{
    lrt_params_t  params;

    params = fx_params(7);

    remove_it(slot);
    (void) fx_add(&fx, number++, &params);

    ok(fx_entry(&fx, slot)->ident == fx.table.head->next_ident - 1,
       "the slot has a new owner");
}


static void
replace_all(uint32_t slot)
{
    uint32_t      i;
    lrt_params_t  params;

    (void) slot;

    params = fx_params(3);

    for (i = 0; i < CAPACITY; i++) {
        if (fx_entry(&fx, i)->ident) {
            remove_it(i);
            (void) fx_add(&fx, number++, &params);
        }
    }
}


static void
replace_by_backup(uint32_t slot)
{
    lrt_params_t  params;

    params = fx_params(7);
    params.backup = 1;

    remove_it(slot);
    (void) fx_add(&fx, number++, &params);
}


static void
fill_it(uint32_t slot)
{
    lrt_ask_t     ask;
    lrt_tried_t   tried;
    lrt_params_t  params;

    params = fx_params(1);
    params.max_conns = 1;

    (void) fx_modify(&fx, fx_entry(&fx, slot)->ident, &params,
                     LRT_F_MAX_CONNS);

    /* all but this one */

    memset(&ask, 0, sizeof(lrt_ask_t));

    tried.slot = !slot;
    tried.ident = fx_entry(&fx, !slot)->ident;

    ask.tried = &tried;
    ask.ntried = 1;
    ask.now = fx.now;

    (void) lrt_select(&fx.table, &other, &ask, &blocking);
}


static void
replace_by_full(uint32_t slot)
{
    lrt_ask_t     ask;
    lrt_params_t  params;

    params = fx_params(1);
    params.max_conns = 1;

    remove_it(slot);
    (void) fx_add(&fx, number++, &params);

    memset(&ask, 0, sizeof(lrt_ask_t));
    ask.now = fx.now;

    (void) lrt_select(&fx.table, &other, &ask, &blocking);
}


static void
fail_it(uint32_t slot)
{
    lrt_pick_t    pick;
    lrt_params_t  params;

    params = fx_params(1);
    params.max_fails = 1;

    (void) fx_modify(&fx, fx_entry(&fx, slot)->ident, &params,
                     LRT_F_MAX_FAILS);

    do {
        (void) fx_pick(&fx, &pick);
        (void) fx_end(&fx, &pick, (pick.slot == slot) ? LRT_ENDED_FAILED
                                                      : LRT_ENDED_WELL);
    } while (pick.slot != slot);
}


static void
remove_all(uint32_t slot)
{
    for (slot = 0; slot < CAPACITY; slot++) {
        (void) fx_remove(&fx, fx_entry(&fx, slot)->ident);
    }
}


static void
change_method(uint32_t slot)
{
    const lrt_side_t  *side;

    (void) slot;

    side = lrt_table_side(&fx.table, lrt_table_generation(&fx.table));

    (void) fx_method(&fx, !side->policy.method);
}


static void
something(uint32_t slot)
{
    uint32_t      i;
    lrt_params_t  params;

    for (i = tap_below(4); i > 0; i--) {

        params = fx_params(tap_between(1, 9));
        params.max_conns = tap_below(3);
        params.max_fails = tap_below(2);
        params.fail_timeout = tap_below(10);
        params.backup = tap_once_in(4);
        params.down = tap_once_in(6);

        switch (tap_below(5)) {

        case 0:
            remove_it(slot);
            break;

        case 1:
        case 2:
            (void) fx_add(&fx, tap_below(30), &params);
            break;

        case 3:
            (void) fx_modify(&fx, fx_entry(&fx, slot)->ident, &params,
                             LRT_F_ALL);
            break;

        default:
            if (tap_once_in(5)) {
                change_method(slot);
            }
        }
    }
}


static void
open_group(uint32_t n, uint32_t method)
{
    uint32_t      i;
    lrt_params_t  params[CAPACITY];

    fx_open(&fx, CAPACITY);
    other = fx_claim(&fx, 2);
    number = 1000;

    for (i = 0; i < n; i++) {
        params[i] = fx_params(1);
    }

    (void) fx_fill(&fx, params, n);
    (void) fx_method(&fx, method);
}


static lrt_rc_t
pick_late(void (*between)(uint32_t slot), lrt_pick_t *pick)
{
    lrt_rc_t   rc;
    lrt_ask_t  ask;

    memset(&ask, 0, sizeof(lrt_ask_t));
    ask.now = fx.now;

    late = between;
    rc = late_select(&fx.table, &fx.owner, &ask, pick);
    late = NULL;

    return rc;
}


static unsigned
in_group(const lrt_pick_t *pick)
{
    return fx_entry(&fx, pick->slot)->ident == pick->ident;
}


static unsigned
only(const lrt_pick_t *pick)
{
    uint32_t  slot;

    for (slot = 0; slot < CAPACITY; slot++) {
        if (fx.table.hot[slot].inflight != (slot == pick->slot)) {
            return 0;
        }
    }

    return 1;
}
