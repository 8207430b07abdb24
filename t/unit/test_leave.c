
/*
 * Copyright (C) the ngx_http_lrt_upstream_module authors
 *
 * Servers that leave when they have drained, and ids that servers bring along.
 */


#include "tap.h"
#include "fixture.h"


#define NEVER                (UINT64_MAX >> 1)


static void test_idle(void);
static void test_busy(void);
static void test_several(void);
static void test_taken_back(void);
static void test_place_is_reused(void);
static void test_moved(void);
static void test_idents_of_a_file(void);
static void test_idents_never_twice(void);
static lrt_rc_t drain(uint64_t ident, uint64_t when, unsigned cut);
static uint32_t left(void);
static unsigned nobody(const lrt_table_t *t, uint32_t slot, const void *data);
static uint64_t add(uint32_t number, uint64_t ident, unsigned drained);
static void hold(uint32_t slot, lrt_pick_t *pick);


static fx_t  fx;


int
main(void)
{
    tap_begin();

    run(test_idle);
    run(test_busy);
    run(test_several);
    run(test_taken_back);
    run(test_place_is_reused);
    run(test_moved);
    run(test_idents_of_a_file);
    run(test_idents_never_twice);

    return tap_end();
}


static void
test_idle(void)
{
    fx_open(&fx, 8);

    (void) add(1, 0, 0);
    (void) add(2, 0, 0);

    is_u64(left(), 0, "nobody is asked to leave");

    is_u64(drain(1, NEVER, 0), LRT_OK, "drained");
    is_u64(fx.table.head->leaving, 1, "somebody is to leave");
    is_u64(left(), 1, "who is idle leaves");
    is_u64(left(), 0, "once");
    is_u64(fx.table.head->leaving, 0, "nobody is left to look for");

    fx_snapshot(&fx);
    is_u64(fx.snap.n, 1, "servers");
    is_u64(fx.peer[0].entry.ident, 2, "the other one stays");
    ok(fx_quiet(&fx) == NULL, "valid");

    fx_close(&fx);
}


static void
test_busy(void)
{
    lrt_pick_t  pick;

    fx_open(&fx, 8);

    (void) add(1, 0, 0);
    hold(0, &pick);
    (void) add(2, 0, 0);

    (void) drain(1, fx.now + 1000, 0);
    is_u64(left(), 0, "who is busy stays");
    is_u64(fx.table.head->leaving, 1, "and is not forgotten");

    fx.now += 999;
    is_u64(left(), 0, "up to its time");

    fx.now += 1;
    is_u64(left(), 1, "and no longer");

    (void) fx_end(&fx, &pick, LRT_ENDED_WELL);
    ok(fx_quiet(&fx) == NULL, "valid");

    fx_close(&fx);

    /* or until its last request has ended */

    fx_open(&fx, 8);

    (void) add(1, 0, 0);
    hold(0, &pick);
    (void) drain(1, NEVER, 0);
    is_u64(left(), 0, "who is busy stays");

    (void) fx_end(&fx, &pick, LRT_ENDED_WELL);
    is_u64(left(), 1, "until it is idle");

    fx_close(&fx);
}


/* who is busy is not forgotten because another one behind it leaves */

static void
test_several(void)
{
    lrt_pick_t  pick;

    fx_open(&fx, 8);

    (void) add(1, 0, 0);
    hold(0, &pick);
    (void) add(2, 0, 0);
    (void) add(3, 0, 0);

    (void) drain(1, NEVER, 0);
    (void) drain(2, NEVER, 0);
    (void) drain(3, NEVER, 0);

    is_u64(left(), 2, "two are idle");
    is_u64(fx.table.head->leaving, 1, "one is still to leave");

    (void) fx_end(&fx, &pick, LRT_ENDED_WELL);
    is_u64(left(), 1, "it does so");

    (void) left();
    is_u64(fx.table.head->leaving, 0, "and nobody is left to look for");

    fx_close(&fx);
}


static void
test_taken_back(void)
{
    lrt_params_t  params;

    fx_open(&fx, 8);

    (void) add(1, 0, 0);
    (void) drain(1, NEVER, 0);

    params = fx_params(1);
    is_u64(fx_modify(&fx, 1, &params, LRT_F_DRAIN), LRT_OK, "no more drained");
    is_u64(left(), 0, "it stays");

    params.drain = 1;
    (void) fx_modify(&fx, 1, &params, LRT_F_DRAIN);
    is_u64(left(), 0, "drained without being asked to leave: it stays");

    fx_close(&fx);
}


static void
test_place_is_reused(void)
{
    fx_open(&fx, LRT_MIN_CAPACITY);

    (void) add(1, 0, 0);
    (void) drain(1, NEVER, 0);
    is_u64(left(), 1, "one leaves");

    while (lrt_change_room(&fx.table)) {
        if (!check(add(10 + lrt_change_room(&fx.table), 0, 1), "added")) {
            return;
        }
    }

    fx.table.head->leaving = 1;
    is_u64(left(), 0, "who comes to its place, drained as well, does not");

    fx_close(&fx);
}


static void
test_moved(void)
{
    fx_t        src;
    lrt_pick_t  pick;

    fx_open(&fx, 8);

    (void) add(1, 0, 0);
    hold(0, &pick);
    (void) drain(1, NEVER, 0);

    fx.table.head->state_hash = 11;
    fx.table.head->state_next = 12;
    fx.table.head->state_saved = lrt_table_generation(&fx.table);

    src = fx;
    fx_open(&fx, 16);

    is_u64(lrt_change_move(&fx.table, &src.table, nobody, NULL), LRT_OK,
           "moved");

    is_u64(fx.table.head->state_hash, 11, "what is known of the file");
    is_u64(fx.table.head->state_next, 12, "and what is on its way there");
    is_u64(fx.table.head->state_saved, lrt_table_generation(&fx.table),
           "it is saved");

    is_u64(left(), 1, "who is to leave does so in the new table");

    (void) fx_end(&src, &pick, LRT_ENDED_WELL);
    fx_close(&src);
    fx_close(&fx);
}


/* into an empty table servers come with the ids that they had */

static void
test_idents_of_a_file(void)
{
    uint32_t      i;
    fx_server_t   s[4];
    lrt_change_t  c[4];

    static const uint64_t  wanted[] = { 7, 3, 0, 5 };
    static const uint64_t  got[] = { 7, 3, 8, 5 };

    fx_open(&fx, 8);

    memset(c, 0, sizeof(c));

    for (i = 0; i < 4; i++) {
        fx_server(&s[i], i, 0);
        c[i].type = LRT_ADD;
        c[i].server = s[i].server;
        c[i].server.params = fx_params(1);
        c[i].server.ident = wanted[i];
    }

    is_u64(fx_commit(&fx, c, 4), LRT_OK, "added");

    for (i = 0; i < 4; i++) {
        is_u64(c[i].ident, got[i], "the id that it had, or a new one");
    }

    is_u64(add(10, 0, 0), 9, "the next one");
    ok(fx_quiet(&fx) == NULL, "valid");

    fx_close(&fx);
}


/* later on an id may have been given to somebody else, even if he is gone */

static void
test_idents_never_twice(void)
{
    uint32_t  i;
    uint64_t  ident, wanted;
    uint8_t   seen[20000];

    memset(seen, 0, sizeof(seen));

    fx_open(&fx, 32);

    is_u64(add(1, 0, 0), 1, "the first");
    is_u64(add(2, 1, 0), 2, "an id that is in use");
    (void) fx_remove(&fx, 2);
    is_u64(add(3, 2, 0), 3, "an id that was in use");
    is_u64(add(4, 100, 0), 100, "an id that nobody had");
    is_u64(add(5, 99, 0), 101, "one that may have been skipped");
    is_u64(add(6, 0, 0), 102, "the next one");

    for (i = 0; i < 2000; i++) {
        wanted = tap_once_in(3) ? 0
                 : fx.table.head->next_ident + tap_below(8) - 4;

        ident = add(100 + i, wanted, 0);

        if (!check(ident > 102 && ident < sizeof(seen) && !seen[ident],
                   "id %lu was given before", (unsigned long) ident))
        {
            return;
        }

        seen[ident] = 1;
        (void) fx_remove(&fx, ident);
    }

    ok(1, "no id is given twice");
    ok(fx_quiet(&fx) == NULL, "valid");

    fx_close(&fx);
}


static lrt_rc_t
drain(uint64_t ident, uint64_t when, unsigned cut)
{
    lrt_change_t  c;

    memset(&c, 0, sizeof(lrt_change_t));

    c.type = LRT_MODIFY;
    c.ident = ident;
    c.slot = LRT_NONE;
    c.fields = LRT_F_DRAIN;
    c.server.params = fx_params(1);
    c.server.params.drain = 1;
    c.leaving = lrt_leaving(when, cut);

    return fx_commit(&fx, &c, 1);
}


/* one round of a worker: how many have left */

static uint32_t
left(void)
{
    uint32_t      n, slot;
    lrt_change_t  c;

    n = 0;
    slot = 0;

    while (lrt_change_leaves(&fx.table, &slot, fx.now, &c)) {

        if (!check(fx_commit(&fx, &c, 1) == LRT_OK, "it leaves")) {
            return UINT32_MAX;
        }

        n++;
    }

    return n;
}


static unsigned
nobody(const lrt_table_t *t, uint32_t slot, const void *data)
{
    (void) t;
    (void) slot;
    (void) data;

    return 0;
}


static uint64_t
add(uint32_t number, uint64_t ident, unsigned drained)
{
    fx_server_t   s;
    lrt_change_t  c;

    fx_server(&s, number, 0);

    memset(&c, 0, sizeof(lrt_change_t));

    c.type = LRT_ADD;
    c.server = s.server;
    c.server.params = fx_params(1);
    c.server.params.drain = drained;
    c.server.ident = ident;

    return (fx_commit(&fx, &c, 1) == LRT_OK) ? c.ident : 0;
}


/* the only server gets a request */

static void
hold(uint32_t slot, lrt_pick_t *pick)
{
    ok(fx_pick(&fx, pick) == LRT_OK && pick->slot == slot, "a request");
}
