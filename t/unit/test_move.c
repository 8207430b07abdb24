
/*
 * Copyright (C) the ngx_http_lrt_upstream_module authors
 */


#include "tap.h"
#include "fixture.h"


static void test_all_is_kept(void);
static void test_larger_and_smaller(void);
static void test_too_small(void);
static void test_old_table(void);
static void test_requests_stay_behind(void);
static void test_ranks(void);
static void test_removed_stay_removed(void);
static void test_nobody_leaves(void);
static void test_who_leaves(void);
static void make(fx_t *fx, uint32_t capacity, uint32_t n, uint32_t method);
static unsigned nobody(const lrt_table_t *t, uint32_t slot, const void *data);
static unsigned odd(const lrt_table_t *t, uint32_t slot, const void *data);


int
main(void)
{
    tap_begin();

    run(test_all_is_kept);
    run(test_larger_and_smaller);
    run(test_too_small);
    run(test_old_table);
    run(test_requests_stay_behind);
    run(test_ranks);
    run(test_removed_stay_removed);
    run(test_nobody_leaves);
    run(test_who_leaves);

    return tap_end();
}


static void
test_all_is_kept(void)
{
    fx_t           src, dst;
    uint32_t       i, n, round, tier, cursor;
    lrt_pick_t     pick;
    fx_peer_t    *a, *b;

    for (round = 0; round < tap_times(200); round++) {

        make(&src, 64, tap_between(0, 50), tap_below(2));

        /* some history: requests, failures, removed servers */

        for (i = 0; i < 200; i++) {
            if (fx_pick(&src, &pick) == LRT_OK) {
                (void) fx_end(&src, &pick, tap_once_in(4) ? LRT_ENDED_FAILED
                                                          : LRT_ENDED_WELL);
            }
        }

        for (i = 0; i < 10; i++) {
            (void) fx_remove(&src, tap_between(1, 50));
        }

        fx_open(&dst, 64);
        dst.now = src.now;

        fx_snapshot(&src);

        if (!check(lrt_change_move(&dst.table, &src.table, nobody, NULL)
                   == LRT_OK, "moved"))
        {
            return;
        }

        fx_snapshot(&dst);

        /* servers, in the same order, with all that is known of them */

        n = src.snap.n;

        if (!check(dst.snap.n == n
                   && dst.snap.policy.method == src.snap.policy.method
                   && dst.snap.generation == src.snap.generation + 1,
                   "numbers"))
        {
            return;
        }

        for (i = 0; i < n; i++) {
            a = &src.peer[i];
            b = &dst.peer[i];

            if (!check(a->entry.ident == b->entry.ident
                       && lrt_params_diff(&a->entry.params, &b->entry.params)
                          == 0
                       && memcmp(&a->detail, &b->detail, sizeof(lrt_detail_t))
                          == 0, "server %u", i)
                || !check(a->hot.fails == b->hot.fails
                          && a->hot.accessed == b->hot.accessed
                          && a->hot.checked == b->hot.checked
                          && a->hot.estimate == b->hot.estimate
                          && b->hot.inflight == 0, "history of server %u", i))
            {
                return;
            }
        }

        /* turns go on where they were, ids too */

        for (tier = 0; tier < LRT_TIERS; tier++) {
            for (cursor = 0; cursor < LRT_CURSORS; cursor++) {
                if (!check(src.table.head->cursor[tier][cursor].value
                           == dst.table.head->cursor[tier][cursor].value,
                           "cursor %u of tier %u", cursor, tier))
                {
                    return;
                }
            }
        }

        if (!check(src.table.head->next_ident == dst.table.head->next_ident,
                   "next id"))
        {
            return;
        }

        lrt_rank_refresh(&dst.table, dst.now);

        if (!check(fx_quiet(&dst) == NULL, "valid")) {
            return;
        }

        fx_close(&src);
        fx_close(&dst);
    }

    ok(1, "random groups");
}


static void
test_larger_and_smaller(void)
{
    fx_t      src, dst;
    uint32_t  capacity;

    /* any capacity that holds the servers will do */

    for (capacity = 20; capacity < 400; capacity = capacity * 3 / 2) {

        make(&src, 100, 20, LC);
        fx_open(&dst, capacity);

        is_u64(lrt_change_move(&dst.table, &src.table, nobody, NULL), LRT_OK,
               "100 places to %u", capacity);

        is_u64(lrt_change_room(&dst.table), capacity - 20, "room");
        ok(fx_add(&dst, 1000, &src.peer[0].entry.params) != 0
           || capacity == 20, "servers can be added");

        lrt_rank_refresh(&dst.table, dst.now);
        ok(fx_quiet(&dst) == NULL, "valid");

        fx_close(&src);
        fx_close(&dst);
    }
}


static void
test_too_small(void)
{
    fx_t          src, dst;
    lrt_params_t  params;

    make(&src, 100, 20, RR);
    fx_open(&dst, 19);

    /* one place too few: nothing happens on either side */

    is_u64(lrt_change_move(&dst.table, &src.table, nobody, NULL), LRT_FULL,
           "20 servers to 19 places");
    is_u64(lrt_table_generation(&dst.table), 0, "the new table is empty");
    ok(fx_quiet(&dst) == NULL, "and valid");

    params = fx_params(1);
    ok(fx_add(&src, 1000, &params) != 0, "the old one is in use");
    ok(fx_quiet(&src) == NULL, "and valid");

    fx_close(&src);
    fx_close(&dst);
}


static void
test_old_table(void)
{
    fx_t          src, dst;
    lrt_pick_t    pick;
    lrt_params_t  params;

    make(&src, 10, 5, RR);
    fx_open(&dst, 20);

    (void) lrt_change_move(&dst.table, &src.table, nobody, NULL);

    /* changes would be lost there, but requests may end */

    params = fx_params(1);

    is_u64(fx_add(&src, 1000, &params), 0, "nothing is added");
    is_u64(fx_remove(&src, 1), LRT_SUPERSEDED, "nothing is removed");
    is_u64(fx_method(&src, LC), LRT_SUPERSEDED, "nothing is set");

    is_u64(fx_pick(&src, &pick), LRT_OK, "a request may begin");
    (void) fx_end(&src, &pick, LRT_ENDED_WELL);
    ok(fx_quiet(&src) == NULL, "valid");

    ok(fx_add(&dst, 1000, &params) == 6, "the new table goes on with ids");

    fx_close(&src);
    fx_close(&dst);
}


static void
test_requests_stay_behind(void)
{
    fx_t         src, dst;
    lrt_pick_t   a, b;

    make(&src, 10, 5, LC);
    (void) fx_pick(&src, &a);
    (void) fx_pick(&src, &b);

    fx_open(&dst, 10);
    (void) lrt_change_move(&dst.table, &src.table, nobody, NULL);
    lrt_rank_refresh(&dst.table, dst.now);

    /* each table counts its own */

    ok(fx_quiet(&dst) == NULL, "no requests in the new table");

    (void) fx_end(&src, &a, LRT_ENDED_WELL);
    (void) fx_end(&src, &b, LRT_ENDED_WELL);

    ok(fx_quiet(&src) == NULL, "none in the old one when they are over");
    ok(fx_quiet(&dst) == NULL, "and the new one did not notice");

    fx_close(&src);
    fx_close(&dst);
}


static void
test_ranks(void)
{
    fx_t         src, dst;
    uint32_t     i;
    uint64_t     seen;
    lrt_pick_t   pick;

    make(&src, 10, 3, LC);
    fx_open(&dst, 10);
    (void) lrt_change_move(&dst.table, &src.table, nobody, NULL);

    /* ranks were not moved, but servers are found, and all of them */

    seen = 0;

    for (i = 0; i < 3; i++) {
        if (!check(fx_pick(&dst, &pick) == LRT_OK, "pick %u", i)) {
            return;
        }

        seen |= (uint64_t) 1 << pick.slot;
    }

    is_u64(seen, 7, "three requests, three servers");
    ok(fx_quiet(&dst) == NULL, "valid");

    fx_close(&src);
    fx_close(&dst);
}


static void
test_removed_stay_removed(void)
{
    fx_t           src, dst;
    uint32_t       i, index[64];
    uint64_t       generation;
    lrt_conf_t     conf;
    fx_server_t    s[8];
    lrt_server_t   server[8];
    lrt_change_t   changes[64];

    fx_open(&src, 16);

    for (i = 0; i < 8; i++) {
        fx_server(&s[i], i, 0);
        server[i] = s[i].server;
    }

    memset(&conf, 0, sizeof(lrt_conf_t));
    conf.server = server;
    conf.n = 8;
    conf.number = 1;
    conf.index = index;
    conf.index_size = 64;

    lrt_merge_index(&conf);
    (void) lrt_merge(&src.table, &conf, changes, src.now);

    for (i = 1; i <= 5; i++) {
        (void) fx_remove(&src, i);
    }

    fx_open(&dst, 12);

    is_u64(lrt_merge_move(&dst.table, &src.table, &conf), LRT_OK, "moved");

    /* what was removed at run time stays away in the new table */

    generation = lrt_table_generation(&dst.table);
    conf.number = 2;

    is_u64(lrt_merge_need(&dst.table, &conf), 3, "places needed");
    is_u64(lrt_merge(&dst.table, &conf, changes, dst.now), LRT_OK, "merged");
    is_u64(lrt_table_generation(&dst.table), generation, "nothing to do");

    fx_snapshot(&dst);
    is_u64(dst.snap.n, 3, "servers");

    fx_close(&src);
    fx_close(&dst);
}


/* a file decides, and the configuration is not asked */

static void
test_nobody_leaves(void)
{
    fx_t           src, dst;
    uint32_t       i, index[64];
    lrt_conf_t     conf;
    fx_server_t    s[8];
    lrt_server_t   server[8];
    lrt_change_t   changes[64];

    fx_open(&src, 16);

    for (i = 0; i < 8; i++) {
        fx_server(&s[i], i, 0);
        server[i] = s[i].server;
    }

    memset(&conf, 0, sizeof(lrt_conf_t));
    conf.server = server;
    conf.n = 8;
    conf.number = 1;
    conf.index = index;
    conf.index_size = 64;

    lrt_merge_index(&conf);
    (void) lrt_merge(&src.table, &conf, changes, src.now);

    conf.n = 2;
    lrt_merge_index(&conf);

    is_u64(lrt_merge_need(&src.table, &conf), 2, "places of a configuration");
    conf.keeps = 1;
    is_u64(lrt_merge_need(&src.table, &conf), 8, "places of a file");

    fx_open(&dst, 8);
    is_u64(lrt_merge_move(&dst.table, &src.table, &conf), LRT_OK, "moved");

    fx_snapshot(&dst);
    is_u64(dst.snap.n, 8, "servers");

    fx_close(&src);
    fx_close(&dst);
}


static void
test_who_leaves(void)
{
    fx_t      src, dst;
    uint32_t  i;

    make(&src, 20, 20, RR);
    fx_snapshot(&src);

    fx_open(&dst, 10);

    /* only those who stay need a place */

    is_u64(lrt_change_move(&dst.table, &src.table, odd, NULL), LRT_OK,
           "half of 20 servers to 10 places");

    fx_snapshot(&dst);
    is_u64(dst.snap.n, 10, "servers");

    for (i = 0; i < 10; i++) {
        if (!check(dst.peer[i].entry.ident % 2 == 0
                   && (i == 0 || dst.peer[i].entry.params.backup
                       || dst.peer[i].entry.ident
                          > dst.peer[i - 1].entry.ident), "server %u", i))
        {
            return;
        }
    }

    ok(1, "they are the right ones");
    ok(fx_quiet(&dst) == NULL, "valid");

    fx_close(&src);
    fx_close(&dst);
}


static void
make(fx_t *fx, uint32_t capacity, uint32_t n, uint32_t method)
{
    uint32_t      i;
    lrt_params_t  params[100];

    fx_open(fx, capacity);

    for (i = 0; i < n; i++) {
        params[i] = fx_params(tap_between(1, 20));
        params[i].max_fails = tap_below(3);
        params[i].backup = (i % 7 == 3);
    }

    (void) fx_fill(fx, params, n);
    (void) fx_method(fx, method);

    fx_snapshot(fx);
}


static unsigned
nobody(const lrt_table_t *t, uint32_t slot, const void *data)
{
    (void) t;
    (void) slot;
    (void) data;

    return 0;
}


static unsigned
odd(const lrt_table_t *t, uint32_t slot, const void *data)
{
    (void) data;

    return lrt_table_entries(t, lrt_table_generation(t))[slot].ident & 1;
}
