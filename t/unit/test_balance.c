
/*
 * Copyright (C) the ngx_http_lrt_upstream_module authors
 *
 * Both methods, pick by pick, against the slow reference: random groups,
 * weights, limits, failures, tried servers and changes in between.
 */


#include "tap.h"
#include "reference.h"


#define MOST         10000
#define TRIED        12


static void test_round_robin(void);
static void test_least_conn(void);
static void test_nobody(void);
static void test_backups(void);
static void test_tried(void);
static void test_tried_twins(void);
static void test_tries(void);
static void balance(uint32_t method);
static uint32_t balance_group(uint32_t method, uint32_t n, uint32_t draws);
static unsigned balance_step(ref_t *ref);
static uint32_t random_tried(ref_t *ref, lrt_tried_t *tried);
static void random_change(ref_t *ref);
static lrt_params_t random_params(uint32_t n);


int
main(void)
{
    tap_begin();

    run(test_round_robin);
    run(test_least_conn);
    run(test_nobody);
    run(test_backups);
    run(test_tried);
    run(test_tried_twins);
    run(test_tries);

    return tap_end();
}


static void
test_round_robin(void)
{
    balance(RR);
}


static void
test_least_conn(void)
{
    balance(LC);
}


static void
test_nobody(void)
{
    fx_t          fx;
    uint32_t      method;
    lrt_pick_t    pick;
    lrt_params_t  p[4];

    /* down, draining, full: nobody is left, and each comes back by itself */

    for (method = 0; method < 2; method++) {

        fx_open(&fx, 8);

        p[0] = p[1] = p[2] = p[3] = fx_params(1);
        p[0].down = 1;
        p[1].drain = 1;
        p[2].max_conns = 1;
        p[3].backup = 1;
        p[3].down = 1;

        (void) fx_fill(&fx, p, 4);
        (void) fx_method(&fx, method);

        is_u64(fx_pick(&fx, &pick), LRT_OK, "method %u: one server", method);
        is_u64(pick.ident, 3, "the one with a place");

        is_u64(fx_pick(&fx, &pick), LRT_BUSY, "nobody");
        p[0].down = 0;
        (void) fx_modify(&fx, 1, &p[0], LRT_F_DOWN);
        is_u64(fx_pick(&fx, &pick), LRT_OK, "the one that was down");
        is_u64(pick.ident, 1, "it is that one");

        p[0].down = 1;
        (void) fx_modify(&fx, 1, &p[0], LRT_F_DOWN);
        is_u64(fx_pick(&fx, &pick), LRT_BUSY, "nobody again");

        p[2].max_conns = 2;
        (void) fx_modify(&fx, 3, &p[2], LRT_F_MAX_CONNS);
        is_u64(fx_pick(&fx, &pick), LRT_OK, "the one with another place");
        is_u64(pick.ident, 3, "it is that one");
        is_u64(pick.inflight, 2, "with two requests");

        (void) fx_end(&fx, &pick, LRT_ENDED_WELL);
        is_u64(fx_pick(&fx, &pick), LRT_OK, "the place is free again");

        fx_close(&fx);
    }
}


static void
test_backups(void)
{
    fx_t          fx;
    uint32_t      i, method;
    lrt_pick_t    pick;
    lrt_params_t  p[4];

    /* backups are asked when no primary can take the request, not before */

    for (method = 0; method < 2; method++) {

        fx_open(&fx, 8);

        for (i = 0; i < 4; i++) {
            p[i] = fx_params(i + 1);
            p[i].max_conns = 2;
            p[i].backup = (i & 1);
        }

        (void) fx_fill(&fx, p, 4);
        (void) fx_method(&fx, method);

        for (i = 0; i < 8; i++) {
            if (!check(fx_pick(&fx, &pick) == LRT_OK, "pick %u", i)
                || !check(p[pick.ident - 1].backup == (i >= 4),
                          "method %u: tier of pick %u", method, i))
            {
                return;
            }
        }

        is_u64(fx_pick(&fx, &pick), LRT_BUSY, "method %u: all are full",
               method);

        fx_close(&fx);
    }
}


static void
test_tried(void)
{
    fx_t          fx;
    uint32_t      i, j, method;
    lrt_pick_t    pick;
    lrt_tried_t   tried[200];
    lrt_params_t  p[200];

    /* a request that fails everywhere sees each server once */

    for (method = 0; method < 2; method++) {

        fx_open(&fx, 200);

        for (i = 0; i < 200; i++) {
            p[i] = fx_params(tap_between(1, 1000));
            p[i].backup = (i >= 150);
        }

        (void) fx_fill(&fx, p, 200);
        (void) fx_method(&fx, method);

        for (i = 0; i < 200; i++) {

            if (!check(fx_retry(&fx, tried, i, &pick) == LRT_OK,
                       "method %u: try %u", method, i)
                || !check(p[pick.ident - 1].backup == (i >= 150),
                          "method %u: tier of try %u", method, i))
            {
                return;
            }

            for (j = 0; j < i; j++) {
                if (!check(tried[j].slot != pick.slot, "method %u: try %u is "
                           "try %u again", method, i, j))
                {
                    return;
                }
            }

            tried[i].slot = pick.slot;
            tried[i].ident = pick.ident;

            (void) fx_end(&fx, &pick, LRT_ENDED_FAILED);
        }

        is_u64(fx_retry(&fx, tried, 200, &pick), LRT_BUSY,
               "method %u: each server was tried once", method);

        /* one that comes into a tried slot was not tried */

        (void) fx_remove(&fx, tried[7].ident);
        (void) fx_add(&fx, 1000, &p[0]);

        is_u64(fx_retry(&fx, tried, 200, &pick), LRT_OK,
               "method %u: a new server in the slot of a tried one", method);
        is_u64(pick.slot, tried[7].slot, "it is the same slot");
        is_u64(pick.ident, 201, "it is the new server");

        fx_close(&fx);
    }
}


static void
test_tried_twins(void)
{
    fx_t          fx;
    uint32_t      i, method, n[3];
    lrt_pick_t    pick;
    lrt_tried_t   tried[7];
    lrt_params_t  p[3];

    /* a server that is listed twice more may be tried twice more */

    for (method = 0; method < 2; method++) {

        fx_open(&fx, 4);

        p[0] = p[1] = p[2] = fx_params(1);
        p[1].twins = 2;

        (void) fx_fill(&fx, p, 3);
        (void) fx_method(&fx, method);

        memset(n, 0, sizeof(n));

        for (i = 0; i < 5; i++) {
            if (!check(fx_retry(&fx, tried, i, &pick) == LRT_OK, "try %u", i))
            {
                return;
            }

            tried[i].slot = pick.slot;
            tried[i].ident = pick.ident;
            n[pick.ident - 1]++;

            (void) fx_end(&fx, &pick, LRT_ENDED_FAILED);
        }

        is_u64(fx_retry(&fx, tried, 5, &pick), LRT_BUSY,
               "method %u: no more tries", method);
        is_u64(n[1], 3, "tries of the one with twins");
        is_u64(lrt_tries(&fx.table), 5, "tries that a request may make");

        fx_close(&fx);
    }
}


static void
test_tries(void)
{
    fx_t          fx;
    lrt_params_t  params;

    fx_open(&fx, 8);

    /* tries are those servers that are neither down nor draining */

    params = fx_params(1);
    (void) fx_add(&fx, 1, &params);
    is_u64(lrt_tries(&fx.table), 1, "one server");

    params.down = 1;
    (void) fx_add(&fx, 2, &params);
    is_u64(lrt_tries(&fx.table), 1, "one that is down");

    params.down = 0;
    params.backup = 1;
    (void) fx_add(&fx, 3, &params);
    is_u64(lrt_tries(&fx.table), 2, "a backup");

    fx_close(&fx);
}


static void
balance(uint32_t method)
{
    uint32_t  i, n, draws, total;

    static const uint32_t  sizes[] = { 1, 2, 3, 7, 30, 63, 64, 65, 300, 1000,
                                       MOST };

    total = 0;

    for (i = 0; i < 200 && total < tap_times(250000); i++) {

        if (i < sizeof(sizes) / sizeof(sizes[0])) {
            n = sizes[i];

        } else {
            n = tap_once_in(8) ? tap_between(1, 2000) : tap_between(1, 100);
        }

        draws = tap_times(n > 2000 ? 6000 : n > 500 ? 8000 : 6000);
        draws = balance_group(method, n, draws);

        if (draws == 0) {
            tap_note("group %u of %u servers", i, n);
            return;
        }

        total += draws;
    }

    ok(1, "%u picks of %u groups are what the reference allows", total, i);
}


static uint32_t
balance_group(uint32_t method, uint32_t n, uint32_t draws)
{
    fx_t           fx;
    ref_t          ref;
    uint32_t       i, slot;
    const char    *why;
    lrt_params_t  *params;

    fx_open(&fx, (n > 1000) ? n : n + tap_between(3, 20));

    params = calloc(n, sizeof(lrt_params_t));

    for (i = 0; i < n; i++) {
        params[i] = random_params(n);
    }

    (void) fx_fill(&fx, params, n);
    (void) fx_method(&fx, method);

    free(params);

    ref_open(&ref, &fx, tap_between(1, 3 * n + 20));

    for (i = 0; i < draws; i++) {
        if (!balance_step(&ref)) {
            tap_note("draw %u, method %u, %u servers", i, method, n);
            return 0;
        }
    }

    while (ref.nheld) {
        (void) ref_end(&ref, 0, LRT_ENDED_WELL);
    }

    /* all requests are over: nobody is counted anywhere */

    for (slot = 0; slot < fx.table.capacity; slot++) {
        if (!check(fx.table.hot[slot].inflight == 0, "in flight at the end"))
        {
            return 0;
        }
    }

    lrt_rank_refresh(&fx.table, fx.now);
    why = fx_quiet(&fx);

    if (!check(why == NULL, "valid at the end: %s", why)) {
        return 0;
    }

    ref_close(&ref);
    fx_close(&fx);

    return draws;
}


static unsigned
balance_step(ref_t *ref)
{
    uint32_t      n;
    lrt_rc_t      rc;
    const char   *why;
    lrt_ended_e   how;
    lrt_tried_t   tried[TRIED];

    ref->fx->now += tap_once_in(100) ? tap_below(1000) : tap_once_in(4);

    if (tap_once_in(ref->fx->table.capacity > 1000 ? 300 : 50)) {
        random_change(ref);
    }

    n = tap_once_in(4) ? random_tried(ref, tried) : 0;
    why = ref_pick(ref, tried, n, &rc);

    if (!check(why == NULL, "pick: %s", why)) {
        return 0;
    }

    /* the number of requests wanders between none and the most */

    while (ref->nheld
           && (ref->nheld >= ref->most || rc == LRT_BUSY || tap_once_in(3)))
    {
        how = tap_once_in(5) ? LRT_ENDED_FAILED
                             : tap_once_in(5) ? LRT_ENDED_UNKNOWN
                                              : LRT_ENDED_WELL;

        why = ref_end(ref, tap_below(ref->nheld), how);

        if (!check(why == NULL, "end: %s", why)) {
            return 0;
        }

        if (tap_once_in(2)) {
            break;
        }
    }

    return 1;
}


static uint32_t
random_tried(ref_t *ref, lrt_tried_t *tried)
{
    uint32_t  i, n, top;

    n = tap_between(1, TRIED);
    top = ref->fx->table.capacity;

    for (i = 0; i < n; i++) {

        tried[i].slot = tap_below(tap_once_in(2) ? top : 1 + top / 2);
        tried[i].ident = fx_entry(ref->fx, tried[i].slot)->ident;

        if (tap_once_in(8)) {
            tried[i].ident++;
        }

        if (i && tap_once_in(6)) {
            tried[i] = tried[i - 1];
        }
    }

    return n;
}


static void
random_change(ref_t *ref)
{
    uint32_t      slot;
    uint64_t      ident;
    lrt_params_t  params;

    slot = tap_below(ref->fx->table.capacity);
    ident = fx_entry(ref->fx, slot)->ident;
    params = random_params(ref->fx->table.capacity);

    switch (tap_below(6)) {

    case 0:
    case 1:
        (void) fx_add(ref->fx, tap_below(4 * ref->fx->table.capacity),
                      &params);
        break;

    case 2:
        (void) fx_remove(ref->fx, ident);
        break;

    case 3:
        params.down = 1;
        (void) fx_modify(ref->fx, ident, &params, LRT_F_DOWN);
        break;

    default:
        (void) fx_modify(ref->fx, ident, &params, LRT_F_ALL);
    }

    ref_changed(ref);
}


static lrt_params_t
random_params(uint32_t n)
{
    lrt_params_t  params;

    params = fx_params(tap_between(1, tap_once_in(2) ? 1000 : 5));

    if (tap_once_in(50)) {
        params.weight = tap_between(1000, 1 << 20);
    }

    params.max_conns = tap_once_in(3) ? tap_between(1, 6) : 0;
    params.max_fails = tap_once_in(3) ? 0 : tap_between(1, 3);
    params.fail_timeout = tap_below(500);
    params.backup = tap_once_in(n < 5 ? 3 : 10);
    params.down = tap_once_in(10);
    params.drain = tap_once_in(20);
    params.twins = tap_once_in(10) ? tap_between(1, 3) : 0;

    return params;
}
