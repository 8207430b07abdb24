
/*
 * Copyright (C) the ngx_http_lrt_upstream_module authors
 */


#include "tap.h"
#include "fixture.h"


#define SET          40              /* changes in a set, at most */
#define HELD         64


/* what a table should hold, in the plainest way */

typedef struct {
    uint64_t             ident;
    uint32_t             number;
    lrt_params_t         params;
} entry_t;


typedef struct {
    entry_t             *server;     /* in order of age */
    uint32_t             n;
    uint32_t             method;
    uint32_t             room;
    uint64_t             next_ident;
    uint64_t             generation;
} model_t;


/* a request, and the address that it went to */

typedef struct {
    lrt_pick_t           pick;
    uint32_t             number;
} hold_t;


typedef struct {
    fx_t                 fx;
    model_t              model;
    model_t              draft;
    fx_server_t          server[SET];
    lrt_change_t         change[SET];
    hold_t               held[HELD];
    uint32_t             nheld;
    uint32_t             count[LRT_SUPERSEDED + 1];
} script_t;


static void test_script_4(void);
static void test_script_64(void);
static void test_script_10000(void);
static void test_refused(void);
static void test_limits(void);
static void test_strings(void);
static void test_held_slots(void);
static void test_replacing(void);
static void test_new_servers_start_anew(void);
static void test_clear(void);
static void test_cycles(void);
static void test_killed_clearing(void);
static void clear_all(void *arg);
static void test_order(void);
static void test_hints(void);
static void test_killed_writer(void);
static void test_lone(void);
static void test_params(void);
static void script(uint32_t capacity, uint32_t steps, uint32_t most);
static unsigned script_step(script_t *sc, uint32_t most);
static unsigned script_holds(script_t *sc);
static uint32_t held_number(script_t *sc, const hold_t *h);
static void script_change(script_t *sc, uint32_t i);
static lrt_rc_t draft_apply(script_t *sc, const lrt_change_t *c);
static entry_t *draft_find(model_t *m, uint64_t ident);
static unsigned compare(script_t *sc);
static lrt_params_t random_params(void);
static void copy(model_t *dst, const model_t *src);
static uint32_t room(script_t *sc);
static uint64_t fingerprint(fx_t *fx);
static uint64_t mix(uint64_t hash, const void *data, size_t size);
static lrt_change_t add(fx_server_t *s, uint32_t number);
static lrt_change_t remove_(uint64_t ident);


int
main(void)
{
    tap_begin();

    run(test_script_4);
    run(test_script_64);
    run(test_script_10000);
    run(test_refused);
    run(test_limits);
    run(test_strings);
    run(test_held_slots);
    run(test_replacing);
    run(test_new_servers_start_anew);
    run(test_clear);
    run(test_cycles);
    run(test_killed_clearing);
    run(test_order);
    run(test_hints);
    run(test_killed_writer);
    run(test_lone);
    run(test_params);

    return tap_end();
}


static void
test_script_4(void)
{
    script(LRT_MIN_CAPACITY, tap_times(15000), 4);
}


static void
test_script_64(void)
{
    script(64, tap_times(6000), 12);
}


static void
test_script_10000(void)
{
    script(10000, tap_times(100), SET);
}


static void
test_refused(void)
{
    fx_t              fx;
    uint32_t          i, j, where;
    uint64_t          before;
    lrt_rc_t          rc;
    lrt_pick_t        pick;
    fx_server_t       s[16];
    lrt_params_t      params;
    lrt_change_t      set[5], bad[9];
    lrt_change_set_t  cs;

    static lrt_rc_t   want[9] = { LRT_EXISTS, LRT_MISSING, LRT_MISSING,
                                  LRT_MISSING, LRT_INVALID, LRT_INVALID,
                                  LRT_INVALID, LRT_INVALID, LRT_FULL };

    /* eight places: five servers, a request on one of them */

    fx_open(&fx, 8);

    params = fx_params(5);
    params.max_fails = 1;

    for (i = 0; i < 5; i++) {
        (void) fx_add(&fx, i, &params);
    }

    (void) fx_pick(&fx, &pick);

    /* all that may be wrong with one change */

    bad[0] = add(&s[0], 3);
    bad[1] = remove_(77);
    bad[2] = remove_(77);
    bad[2].type = LRT_MODIFY;
    bad[3] = remove_(0);
    bad[4] = add(&s[4], 104);
    bad[4].server.params.weight = 0;
    bad[5] = remove_(2);
    bad[5].type = LRT_MODIFY;
    bad[5].fields = LRT_F_WEIGHT;
    bad[5].server.params.weight = (uint32_t) LRT_MAX_WEIGHT + 1;
    bad[6] = remove_(0);
    bad[6].type = LRT_SET_POLICY;
    bad[6].policy.method = LRT_METHODS;
    bad[7] = add(&s[7], 107);
    bad[7].server.socklen = LRT_SOCKADDR_LEN + 1;
    bad[8] = add(&s[8], 108);

    /* wherever it stands in a set, the set is refused and nothing changes */

    for (i = 0; i < 9; i++) {
        for (where = 0; where < 5; where++) {

            j = 0;

            set[j++] = add(&s[10], 200);
            set[j++] = remove_(1);
            set[j] = remove_(4);
            set[j].type = LRT_MODIFY;
            set[j].fields = LRT_F_ALL;
            set[j++].server.params = fx_params(9);
            set[j] = remove_(0);
            set[j].type = LRT_SET_POLICY;
            set[j++].policy.method = LC;

            memmove(&set[where + 1], &set[where],
                    (4 - where) * sizeof(lrt_change_t));
            set[where] = bad[i];

            if (want[i] == LRT_FULL) {

                /* it needs more places than there are */

                if (where != 4) {
                    continue;
                }

                set[1] = add(&s[11], 201);
                set[2] = add(&s[12], 202);
            }

            memset(&cs, 0, sizeof(lrt_change_set_t));
            cs.change = set;
            cs.n = 5;

            before = fingerprint(&fx);
            rc = lrt_change_commit(&fx.table, &cs, fx.now);

            if (!check(rc == want[i] && set[where].rc == want[i]
                       && cs.refused == where
                       && cs.generation == lrt_table_generation(&fx.table),
                       "fault %u in change %u: answer %u, refused %u", i,
                       where, rc, cs.refused)
                || !check(fingerprint(&fx) == before,
                          "fault %u in change %u left a trace", i, where))
            {
                return;
            }
        }
    }

    ok(1, "9 faults in changes 0 .. 4");

    /* so it is when the set was made for another generation */

    memset(&cs, 0, sizeof(lrt_change_set_t));
    cs.change = set;
    cs.n = 1;
    set[0] = add(&s[10], 200);

    for (i = 0; i < 3; i++) {
        cs.expected = lrt_table_generation(&fx.table) + i - 1;

        if (i == 1) {
            continue;
        }

        before = fingerprint(&fx);

        is_u64(lrt_change_commit(&fx.table, &cs, fx.now), LRT_CONFLICT,
               "another generation");
        ok(fingerprint(&fx) == before, "nothing changed");
        is_u64(cs.generation, 5, "the one in force is told");
    }

    cs.expected = lrt_table_generation(&fx.table);
    is_u64(lrt_change_commit(&fx.table, &cs, fx.now), LRT_OK,
           "the right generation");
    is_u64(cs.generation, 6, "the new one is told");

    /* and when the table is not in use any more */

    fx.table.head->superseded = 1;
    set[0] = add(&s[10], 203);
    cs.expected = 0;
    before = fingerprint(&fx);

    is_u64(lrt_change_commit(&fx.table, &cs, fx.now), LRT_SUPERSEDED,
           "a superseded table");
    ok(fingerprint(&fx) == before, "nothing changed");

    (void) fx_end(&fx, &pick, LRT_ENDED_WELL);
    ok(fx_quiet(&fx) == NULL, "valid at the end");

    fx_close(&fx);
}


static void
test_limits(void)
{
    fx_t          fx;
    uint32_t      i;
    lrt_params_t  p, good;

    fx_open(&fx, 64);

    good = fx_params(1);
    i = 0;

#define accepts(member, value)                                                \
    p = good;                                                                 \
    p.member = (value);                                                       \
    ok(fx_add(&fx, i++, &p) != 0, #member " is " #value)

#define refuses(member, value)                                                \
    p = good;                                                                 \
    p.member = (value);                                                       \
    is_u64(fx_add(&fx, i++, &p), 0, #member " is not " #value)

    /* parameters up to their limits, and not beyond */

    accepts(weight, 1);
    accepts(weight, LRT_MAX_WEIGHT);
    refuses(weight, 0);
    refuses(weight, (uint32_t) LRT_MAX_WEIGHT + 1);
    accepts(max_conns, LRT_MAX_CONNS);
    refuses(max_conns, (uint32_t) LRT_MAX_CONNS + 1);
    accepts(max_fails, LRT_MAX_FAILS);
    refuses(max_fails, UINT32_MAX);
    accepts(fail_timeout, 0);
    accepts(fail_timeout, LRT_MAX_TIME);
    refuses(fail_timeout, LRT_MAX_TIME + 1);
    accepts(slow_start, UINT32_MAX);
    accepts(backup, 1);
    refuses(backup, 2);
    accepts(down, 1);
    refuses(down, 255);
    accepts(drain, 1);
    refuses(drain, 2);

#undef accepts
#undef refuses

    ok(fx_quiet(&fx) == NULL, "valid at the end");

    fx_close(&fx);
}


static void
test_strings(void)
{
    fx_t           fx;
    char           text[LRT_DATA_LEN + 2];
    uint8_t        address[LRT_SOCKADDR_LEN + 1];
    fx_server_t    s;
    lrt_change_t   c;

    fx_open(&fx, 4);

    memset(text, 'n', sizeof(text));
    memset(address, 1, sizeof(address));

    /* names and addresses up to the room that a slot has for them */

    c = add(&s, 1);
    c.server.name.data = text;
    c.server.name.len = LRT_DATA_LEN - LRT_SOCKADDR_LEN - LRT_ROUTE_LEN;
    c.server.route.data = text;
    c.server.route.len = LRT_ROUTE_LEN;
    c.server.sockaddr = address;
    c.server.socklen = LRT_SOCKADDR_LEN;

    is_u64(fx_commit(&fx, &c, 1), LRT_OK, "all as long as it may be");

    fx_snapshot(&fx);
    is_u64(fx.peer[0].detail.socklen, LRT_SOCKADDR_LEN, "length of address");
    ok(memcmp(fx.peer[0].detail.data, address, LRT_SOCKADDR_LEN) == 0,
       "address");
    is_u64(lrt_table_name(&fx.peer[0].detail).len,
           LRT_DATA_LEN - LRT_SOCKADDR_LEN - LRT_ROUTE_LEN, "length of name");
    ok(memcmp(lrt_table_name(&fx.peer[0].detail).data, text,
              LRT_DATA_LEN - LRT_SOCKADDR_LEN - LRT_ROUTE_LEN) == 0, "name");
    is_u64(lrt_table_route(&fx.peer[0].detail).len, LRT_ROUTE_LEN,
           "length of route");

    address[0] = 2;
    c.server.name.len++;
    is_u64(fx_commit(&fx, &c, 1), LRT_INVALID, "a byte more of name");

    c.server.name.len--;
    c.server.route.len++;
    is_u64(fx_commit(&fx, &c, 1), LRT_INVALID, "a byte more of route");

    c.server.route.len--;
    c.server.sockaddr = address;
    c.server.socklen = LRT_SOCKADDR_LEN + 1;
    is_u64(fx_commit(&fx, &c, 1), LRT_INVALID, "a byte more of address");

    ok(fx_quiet(&fx) == NULL, "valid at the end");

    fx_close(&fx);
}


static void
test_held_slots(void)
{
    fx_t          fx;
    uint32_t      i, n;
    uint64_t      ident[4];
    lrt_pick_t    pick[4];
    lrt_params_t  params;

    fx_open(&fx, 4);
    params = fx_params(1);

    for (i = 0; i < 4; i++) {
        ident[i] = fx_add(&fx, i, &params);
    }

    /* a request on each; then all servers are removed */

    for (i = 0; i < 4; i++) {
        (void) fx_pick(&fx, &pick[i]);
    }

    for (i = 0; i < 4; i++) {
        (void) fx_remove(&fx, ident[i]);
    }

    /* nobody gets a slot that is held */

    is_u64(lrt_change_room(&fx.table), 0, "no room");
    is_u64(fx_add(&fx, 10, &params), 0, "no server can be added");
    is_u64(fx_pick(&fx, &pick[0]), LRT_BUSY, "none takes a request");

    fx_snapshot(&fx);
    is_u64(fx.snap.n, 0, "no servers");
    is_u64(fx.snap.zombies, 4, "four that are gone but held");

    /* what they were can still be read by those who hold them */

    for (i = 0; i < 4; i++) {
        if (!check(fx_number(fx.table.detail[pick[i].slot].data)
                   == pick[i].ident - 1, "address of held slot %u", i))
        {
            return;
        }
    }

    ok(1, "addresses of held slots are still there");

    /* each request that ends makes room for one */

    for (i = 0; i < 4; i++) {
        (void) fx_end(&fx, &pick[i], LRT_ENDED_FAILED);

        n = 0;

        while (fx_add(&fx, 20 + 10 * i + n, &params)) {
            n++;
        }

        if (!check(n == 1, "%u servers after release %u", n, i)) {
            return;
        }
    }

    ok(1, "each release makes room for one server");
    ok(fx_quiet(&fx) == NULL, "valid at the end");

    fx_close(&fx);
}


static void
test_replacing(void)
{
    fx_t          fx;
    uint32_t      slot;
    uint64_t      ident;
    fx_server_t   s;
    lrt_params_t  params;
    lrt_change_t  c[2];

    fx_open(&fx, 4);
    params = fx_params(3);

    ident = fx_add(&fx, 1, &params);
    slot = lrt_table_find_ident(&fx.table, 1, ident);

    /* removed and added in one set: another server, in another slot */

    c[0] = remove_(ident);
    c[1] = add(&s, 1);

    is_u64(fx_commit(&fx, c, 2), LRT_OK, "the same address in one set");
    ok(c[1].ident > ident, "it is a new server");
    ok(c[1].slot != slot, "in a new slot");
    is_u64(lrt_table_generation(&fx.table), 2, "in one step");

    /* the other way round the address is still taken */

    c[0] = add(&s, 1);
    c[1] = remove_(2);
    is_u64(fx_commit(&fx, c, 2), LRT_EXISTS, "added before it is removed");

    /* one that was removed in the same set cannot be changed any more */

    c[0] = remove_(2);
    c[1] = remove_(2);
    is_u64(fx_commit(&fx, c, 2), LRT_MISSING, "removed twice");

    c[1].type = LRT_MODIFY;
    is_u64(fx_commit(&fx, c, 2), LRT_MISSING, "modified when removed");

    /* the tiers do not know each other */

    params.backup = 1;
    ok(fx_add(&fx, 1, &params) != 0, "the same address as backup");

    fx_snapshot(&fx);
    is_u64(fx.snap.n, 2, "two servers");
    ok(fx_quiet(&fx) == NULL, "valid at the end");

    fx_close(&fx);
}


static void
test_new_servers_start_anew(void)
{
    fx_t          fx;
    uint32_t      i;
    lrt_pick_t    pick;
    lrt_params_t  params;

    fx_open(&fx, 4);

    params = fx_params(1);
    params.max_fails = 1;

    (void) fx_add(&fx, 1, &params);
    (void) fx_add(&fx, 2, &params);

    for (i = 0; i < 2; i++) {
        (void) fx_pick(&fx, &pick);
        (void) fx_end(&fx, &pick, LRT_ENDED_FAILED);
    }

    is_u64(fx_pick(&fx, &pick), LRT_BUSY, "both are shut out");

    (void) fx_remove(&fx, 1);
    (void) fx_remove(&fx, 2);
    (void) fx_add(&fx, 3, &params);

    /* the new owner of a slot inherits nothing */

    fx_snapshot(&fx);

    is_u64(fx.peer[0].slot, 0, "the slot is the old one");
    is_u64(fx.peer[0].hot.fails, 0, "no failures");
    is_u64(fx.peer[0].detail.stats.requests, 0, "no requests");
    is_u64(fx.peer[0].detail.stats.fails, 0, "no failed requests");
    is_u64(fx.peer[0].detail.born, 5, "born with this generation");
    is_u64(fx.peer[0].detail.in_conf, 0, "not configured");
    is_u64(fx_pick(&fx, &pick), LRT_OK, "it takes requests");

    fx_close(&fx);
}


static void
test_clear(void)
{
    fx_t          fx;
    uint32_t      i, slot;
    lrt_pick_t    pick;
    lrt_params_t  params;

    fx_open(&fx, 4);
    params = fx_params(1);

    for (i = 0; i < 4; i++) {
        (void) fx_add(&fx, i, &params);
    }

    slot = 0;
    is_u64(lrt_change_clear(&fx.table, &slot, 4), 0, "no slot is free");
    is_u64(slot, 4, "all were looked at");

    /* one that is held stays as it is */

    (void) fx_pick(&fx, &pick);

    for (i = 1; i <= 4; i++) {
        (void) fx_remove(&fx, i);
    }

    slot = 0;
    is_u64(lrt_change_clear(&fx.table, &slot, 3), 2, "two of three are");
    is_u64(slot, 3, "three were looked at");
    is_u64(lrt_change_clear(&fx.table, &slot, UINT32_MAX), 1, "the last one");
    is_u64(slot, 4, "up to the end");

    for (i = 0; i < 4; i++) {
        ok((fx.table.detail[i].born != 0) == (i == pick.slot),
           "slot %u is clear, or held", i);
    }

    is_u64(fx_number(fx.table.detail[pick.slot].data), pick.ident - 1,
           "its address is still there");

    (void) fx_end(&fx, &pick, LRT_ENDED_FAILED);
    slot = pick.slot;
    is_u64(lrt_change_clear(&fx.table, &slot, 1), 1, "and then that one");
    is_u64(fx.table.detail[pick.slot].born, 0, "which is clear as well");
    ok(fx_quiet(&fx) == NULL, "nothing is left in any of them");

    for (i = 0; i < 4; i++) {
        (void) fx_add(&fx, 10 + i, &params);
    }

    fx_snapshot(&fx);
    is_u64(fx.snap.n, 4, "they are given to others");
    ok(fx_quiet(&fx) == NULL, "valid at the end");

    fx_close(&fx);
}


/* in a table that is full, and stays so, one after another is replaced */

static void
test_cycles(void)
{
    fx_t          fx;
    uint32_t      i, k, n;
    uint64_t      ident[8], last;
    lrt_pick_t    pick;
    lrt_params_t  params;

    fx_open(&fx, 8);
    params = fx_params(1);

    for (k = 0; k < 8; k++) {
        ident[k] = fx_add(&fx, k, &params);
    }

    last = ident[7];
    n = tap_times(100000);

    for (i = 0; i < n; i++) {
        k = i % 8;

        if (!check(fx_add(&fx, 8 + i, &params) == 0, "cycle %u: full", i)
            || !check(fx_remove(&fx, ident[k]) == LRT_OK,
                      "cycle %u: one less", i))
        {
            break;
        }

        /* a request may have been there */

        if (fx_pick(&fx, &pick) == LRT_OK) {
            (void) fx_end(&fx, &pick, LRT_ENDED_WELL);
        }

        ident[k] = fx_add(&fx, 8 + i, &params);

        if (!check(ident[k] > last, "cycle %u: one more", i)) {
            break;
        }

        last = ident[k];
    }

    is_u64(i, n, "servers came and went");
    is_u64(lrt_change_room(&fx.table), 0, "the room is as it was");
    ok(fx_quiet(&fx) == NULL, "valid at the end");

    fx_close(&fx);
}


static void
test_killed_clearing(void)
{
    fx_t          fx;
    uint32_t      i, slot;
    lrt_params_t  params;

    fx_open(&fx, 4);
    params = fx_params(1);

    for (i = 0; i < 4; i++) {
        (void) fx_add(&fx, i, &params);
    }

    for (i = 0; i < 3; i++) {
        (void) fx_remove(&fx, i + 1);
    }

    ok(fx_killed(LRT_POINT_SLOT_CLEARED, clear_all, &fx), "killed");
    ok(fx.table.detail[0].born != 0, "a slot is not yet said to be clear");
    ok(fx_quiet(&fx) == NULL, "valid");

    slot = 0;
    is_u64(lrt_change_clear(&fx.table, &slot, 1), 1, "it is cleared again");
    is_u64(fx.table.detail[0].born, 0, "and says so");

    for (i = 0; i < 3; i++) {
        (void) fx_add(&fx, 10 + i, &params);
    }

    is_u64(lrt_change_room(&fx.table), 0, "no slot is lost");
    ok(fx_quiet(&fx) == NULL, "valid at the end");

    fx_close(&fx);
}


static void
clear_all(void *arg)
{
    fx_t      *fx = arg;

    uint32_t   slot;

    slot = 0;
    (void) lrt_change_clear(&fx->table, &slot, fx->table.capacity);
}


static void
test_order(void)
{
    fx_t          fx;
    uint32_t      i, n;
    lrt_pick_t    pick;
    lrt_params_t  params;

    fx_open(&fx, 8);
    params = fx_params(1);

    for (i = 0; i < 6; i++) {
        (void) fx_add(&fx, i, &params);
    }

    (void) fx_remove(&fx, 2);
    (void) fx_remove(&fx, 4);

    /* these two get the slots in the middle, but their turns come last */

    (void) fx_add(&fx, 6, &params);
    (void) fx_add(&fx, 7, &params);

    static const uint32_t  want[6] = { 0, 2, 4, 5, 6, 7 };

    fx_snapshot(&fx);

    for (i = 0; i < 6; i++) {
        if (!check(fx_number(fx.peer[i].detail.data) == want[i],
                   "place %u is that of server %u", i,
                   fx_number(fx.peer[i].detail.data)))
        {
            return;
        }
    }

    ok(1, "order is by age");

    fx.table.head->cursor[0][0].value = 0;

    for (i = 0; i < 6; i++) {
        (void) fx_pick(&fx, &pick);
        n = fx_number(fx.table.detail[pick.slot].data);
        (void) fx_end(&fx, &pick, LRT_ENDED_WELL);

        if (!check(n == want[i], "turn %u is that of server %u", i, n)) {
            return;
        }
    }

    ok(1, "and so are turns");

    fx_close(&fx);
}


static void
test_hints(void)
{
    fx_t          fx;
    uint32_t      i;
    lrt_params_t  params;
    lrt_change_t  c;

    fx_open(&fx, 64);
    params = fx_params(1);

    for (i = 0; i < 64; i++) {
        (void) fx_add(&fx, i, &params);
    }

    /* a wrong slot beside an ident is no more than a wrong hint */

    for (i = 0; i < 64; i++) {
        c = remove_(64 - i);
        c.slot = tap_once_in(3) ? LRT_NONE : tap_below(100);

        if (!check(fx_commit(&fx, &c, 1) == LRT_OK && c.slot == 63 - i,
                   "removal %u found slot %u", i, c.slot))
        {
            return;
        }
    }

    ok(1, "servers are found with wrong hints");

    fx_close(&fx);
}


static void
test_killed_writer(void)
{
    fx_t          fx;
    uint32_t      point, i;
    uint64_t      ident, generation;
    fx_server_t   s[3];
    lrt_params_t  params;
    lrt_change_t  c[4];

    for (point = LRT_POINT_COMMIT_BEGIN; point <= LRT_POINT_COMMIT_DONE;
         point++)
    {
        fx_open(&fx, 8);
        params = fx_params(1);

        for (i = 0; i < 4; i++) {
            (void) fx_add(&fx, i, &params);
        }

        (void) fx_method(&fx, LC);

        generation = lrt_table_generation(&fx.table);

        c[0] = remove_(2);
        c[1] = add(&s[0], 10);
        c[2] = add(&s[1], 11);
        c[3] = remove_(3);
        c[3].type = LRT_MODIFY;
        c[3].fields = LRT_F_WEIGHT;
        c[3].server.params.weight = 9;

        if (!check(fx_commit_killed(&fx, point, c, 4), "killed at %u",
                   point))
        {
            return;
        }

        fx_snapshot(&fx);

        /* either the whole set is in force or nothing of it */

        if (point < LRT_POINT_COMMIT_PUBLISHED) {
            is_u64(fx.snap.generation, generation,
                   "killed at %u, generation", point);
            is_u64(fx.snap.n, 4, "killed at %u, servers", point);
            is_u64(fx.peer[2].entry.params.weight, 1,
                   "killed at %u, weight", point);

        } else {
            is_u64(fx.snap.generation, generation + 1,
                   "killed at %u, generation", point);
            is_u64(fx.snap.n, 5, "killed at %u, servers", point);
            is_u64(fx.peer[1].entry.params.weight, 9,
                   "killed at %u, weight", point);
        }

        ok(lrt_table_validate(&fx.table, fx.reg, 0, fx.now) == NULL,
           "killed at %u, valid", point);

        /* the next writer gets on, and gives no id a second time */

        ident = fx_add(&fx, 12, &params);

        ok(ident >= ((point >= LRT_POINT_COMMIT_BUILT) ? 7 : 5),
           "killed at %u, next id", point);
        ok(fx_quiet(&fx) == NULL, "killed at %u, valid after a commit",
           point);

        fx_close(&fx);
    }
}


static void
test_lone(void)
{
    fx_t                fx;
    uint32_t            primaries, backups;
    lrt_params_t        params;
    const lrt_side_t   *side;

    /* the only server of a group, and the only backup, are not shut out */

    for (primaries = 0; primaries < 3; primaries++) {
        for (backups = 0; backups < 3; backups++) {

            fx_open(&fx, 8);
            params = fx_params(1);

            while (fx.table.head->next_ident <= primaries) {
                (void) fx_add(&fx, (uint32_t) fx.table.head->next_ident,
                              &params);
            }

            params.backup = 1;

            while (fx.table.head->next_ident <= primaries + backups) {
                (void) fx_add(&fx, (uint32_t) fx.table.head->next_ident,
                              &params);
            }

            /* servers that are down or draining are not there */

            params.down = 1;
            (void) fx_add(&fx, 20, &params);

            params.down = 0;
            params.backup = 0;
            params.drain = 1;
            (void) fx_add(&fx, 21, &params);

            side = lrt_table_side(&fx.table, lrt_table_generation(&fx.table));

            ok((side->tier[LRT_PRIMARY].lone != 0)
               == (primaries == 1 && backups == 0),
               "lone primary of %u and %u", primaries, backups);
            ok((side->tier[LRT_BACKUP].lone != 0) == (backups == 1),
               "lone backup of %u and %u", primaries, backups);
            is_u64(lrt_tries(&fx.table), primaries + backups,
                   "tries of %u and %u", primaries, backups);

            fx_close(&fx);
        }
    }
}


static void
test_params(void)
{
    uint32_t      i, fields, diff;
    lrt_params_t  a, b, c;

    /* what differs, once copied, differs no more */

    for (i = 0; i < tap_times(10000); i++) {
        a = random_params();
        b = random_params();
        fields = tap_below(LRT_F_ALL + 1);
        diff = lrt_params_diff(&a, &b);

        c = a;
        lrt_params_copy(&c, &b, fields);

        if (!check(lrt_params_diff(&c, &b) == (diff & ~fields),
                   "fields %x of difference %x", fields, diff)
            || !check(lrt_params_diff(&c, &a) == (diff & fields),
                      "other fields than %x of %x", fields, diff)
            || !check(c.backup == a.backup, "the tier is no field"))
        {
            return;
        }
    }

    ok(1, "copies of random fields");
}


static void
script(uint32_t capacity, uint32_t steps, uint32_t most)
{
    uint32_t   i;
    script_t  *sc;

    sc = calloc(1, sizeof(script_t));

    fx_open(&sc->fx, capacity);

    sc->model.server = calloc(capacity, sizeof(entry_t));
    sc->draft.server = calloc(capacity, sizeof(entry_t));
    sc->model.next_ident = 1;

    if (capacity > 1000) {

        /* most of the places are taken in the beginning */

        for (i = 0; i < capacity - 100; i++) {
            if (i % SET == 0 && i) {
                (void) fx_commit(&sc->fx, sc->change, SET);
            }

            sc->change[i % SET] = add(&sc->server[i % SET], i);
            sc->model.server[i].ident = i + 1;
            sc->model.server[i].number = i;
            sc->model.server[i].params = fx_params(1);
        }

        (void) fx_commit(&sc->fx, sc->change, (i - 1) % SET + 1);

        sc->model.n = i;
        sc->model.next_ident = i + 1;
        sc->model.generation = lrt_table_generation(&sc->fx.table);
    }

    /*
     * Sets of random changes, right and wrong ones, and random requests: the
     * table does what a plain list of servers does.
     */

    for (i = 0; i < steps; i++) {
        sc->fx.now += tap_below(3);

        if (!script_holds(sc) || !script_step(sc, most)) {
            tap_note("in step %u", i);
            return;
        }
    }

    ok(1, "%u sets of changes", steps);

    tap_note("done %u, full %u, exists %u, missing %u, conflict %u, "
             "invalid %u", sc->count[LRT_OK], sc->count[LRT_FULL],
             sc->count[LRT_EXISTS], sc->count[LRT_MISSING],
             sc->count[LRT_CONFLICT], sc->count[LRT_INVALID]);

    while (sc->nheld) {
        (void) fx_end(&sc->fx, &sc->held[--sc->nheld].pick, LRT_ENDED_WELL);
    }

    ok(fx_quiet(&sc->fx) == NULL, "valid at the end");
    is_u64(lrt_change_room(&sc->fx.table), capacity - sc->model.n,
           "all places are free again");

    fx_close(&sc->fx);
    free(sc->model.server);
    free(sc->draft.server);
    free(sc);
}


static unsigned
script_step(script_t *sc, uint32_t most)
{
    uint32_t          i, n, refused, slot;
    uint64_t          before;
    lrt_rc_t          rc, want;
    lrt_change_set_t  set;

    if (tap_once_in(4)) {
        slot = tap_below(sc->fx.table.capacity);
        (void) lrt_change_clear(&sc->fx.table, &slot, tap_between(1, 100));
    }

    n = tap_once_in(4) ? tap_between(0, most) : 1;

    copy(&sc->draft, &sc->model);
    sc->draft.room = room(sc);

    for (i = 0; i < n; i++) {
        script_change(sc, i);
    }

    memset(&set, 0, sizeof(lrt_change_set_t));

    set.change = sc->change;
    set.n = n;

    switch (tap_below(20)) {

    case 0:
        set.expected = sc->model.generation + tap_between(1, 3);
        break;

    case 1:
        set.expected = sc->model.generation;
        break;

    default:
        break;
    }

    want = LRT_OK;
    refused = n;

    if (set.expected > sc->model.generation) {
        want = LRT_CONFLICT;

    } else {
        for (i = 0; i < n; i++) {
            want = draft_apply(sc, &sc->change[i]);

            if (want != LRT_OK) {
                refused = i;
                break;
            }
        }
    }

    before = (want == LRT_OK) ? 0 : fingerprint(&sc->fx);

    rc = lrt_change_commit(&sc->fx.table, &set, sc->fx.now);

    sc->count[rc <= LRT_SUPERSEDED ? rc : 0]++;

    if (!check(rc == want && set.refused == refused,
               "answer %u to change %u, should be %u to %u", rc, set.refused,
               want, refused))
    {
        return 0;
    }

    if (want == LRT_OK) {
        sc->draft.generation++;
        copy(&sc->model, &sc->draft);

    } else if (!check(fingerprint(&sc->fx) == before,
                      "a refused set left a trace"))
    {
        return 0;
    }

    return check(set.generation == sc->model.generation, "generation told")
           && compare(sc);
}


/* requests come and stay for a while */

static unsigned
script_holds(script_t *sc)
{
    hold_t  *h;

    if (sc->nheld < HELD && tap_once_in(3)) {
        h = &sc->held[sc->nheld];

        if (fx_pick(&sc->fx, &h->pick) == LRT_OK) {
            h->number = held_number(sc, h);
            sc->nheld++;
        }
    }

    if (sc->nheld == 0 || !tap_once_in(sc->fx.table.capacity < 10 ? 2 : 4)) {
        return 1;
    }

    h = &sc->held[tap_below(sc->nheld)];

    if (!check(held_number(sc, h) == h->number, "address of a held slot")) {
        return 0;
    }

    (void) fx_end(&sc->fx, &h->pick, tap_below(LRT_ENDED_UNKNOWN + 1));
    *h = sc->held[--sc->nheld];

    return 1;
}


static uint32_t
held_number(script_t *sc, const hold_t *h)
{
    return fx_number(sc->fx.table.detail[h->pick.slot].data);
}


static void
script_change(script_t *sc, uint32_t i)
{
    uint32_t       number, kind;
    model_t       *m;
    lrt_change_t  *c;

    m = &sc->model;
    c = &sc->change[i];

    kind = tap_below(100);

    if (kind < 45) {

        /* sometimes of an address that is there already */

        number = (m->n && tap_once_in(8))
                 ? m->server[tap_below(m->n)].number
                 : tap_below(4 * sc->fx.table.capacity);

        *c = add(&sc->server[i], number);
        c->server.params = random_params();

        if (tap_once_in(40)) {
            c->server.params.weight = 0;
        }

        return;
    }

    *c = remove_(tap_below((uint32_t) m->next_ident + 2));

    if (m->n && !tap_once_in(10)) {
        c->ident = m->server[tap_below(m->n)].ident;
    }

    c->slot = tap_once_in(3) ? tap_below(sc->fx.table.capacity) : LRT_NONE;

    if (kind < 75) {
        c->type = LRT_REMOVE;

    } else if (kind < 95) {
        c->type = LRT_MODIFY;
        c->fields = tap_below(LRT_F_ALL + 1);
        c->server.params = random_params();

        if (tap_once_in(20)) {
            c->server.params.drain = 2;
        }

    } else {
        c->type = LRT_SET_POLICY;
        c->policy.method = tap_below(20) ? tap_below(2) : LRT_METHODS;
    }
}


static lrt_rc_t
draft_apply(script_t *sc, const lrt_change_t *c)
{
    uint32_t       i;
    model_t       *m;
    entry_t       *e;
    lrt_params_t   params;

    m = &sc->draft;

    switch (c->type) {

    case LRT_SET_POLICY:

        if (c->policy.method >= LRT_METHODS) {
            return LRT_INVALID;
        }

        m->method = c->policy.method;
        return LRT_OK;

    case LRT_ADD:

        if (c->server.params.weight == 0) {
            return LRT_INVALID;
        }

        for (i = 0; i < m->n; i++) {
            if (m->server[i].number
                == fx_number(c->server.sockaddr)
                && m->server[i].params.backup == c->server.params.backup)
            {
                return LRT_EXISTS;
            }
        }

        if (m->room == 0) {
            return LRT_FULL;
        }

        m->room--;

        e = &m->server[m->n++];
        e->ident = m->next_ident++;
        e->number = fx_number(c->server.sockaddr);
        e->params = c->server.params;
        return LRT_OK;

    default:
        break;
    }

    e = draft_find(m, c->ident);

    if (e == NULL) {
        return LRT_MISSING;
    }

    if (c->type == LRT_REMOVE) {
        m->n--;
        memmove(e, e + 1, (size_t) ((char *) &m->server[m->n] - (char *) e));
        return LRT_OK;
    }

    params = e->params;
    lrt_params_copy(&params, &c->server.params, c->fields);

    if (params.drain > 1) {
        return LRT_INVALID;
    }

    e->params = params;

    return LRT_OK;
}


static entry_t *
draft_find(model_t *m, uint64_t ident)
{
    uint32_t  i;

    for (i = 0; i < m->n; i++) {
        if (m->server[i].ident == ident) {
            return &m->server[i];
        }
    }

    return NULL;
}


static unsigned
compare(script_t *sc)
{
    uint32_t            i, j, tier;
    const char         *why;
    const entry_t      *e;
    const model_t      *m;
    const fx_peer_t    *p;

    m = &sc->model;

    lrt_rank_wake(&sc->fx.table, sc->fx.now);

    why = fx_quiet(&sc->fx);

    if (!check(why == NULL, "valid: %s", why)) {
        return 0;
    }

    fx_snapshot(&sc->fx);

    if (!check(sc->fx.snap.generation == m->generation
               && sc->fx.snap.policy.method == m->method
               && sc->fx.snap.n == m->n
               && sc->fx.snap.copied == m->n
               && sc->fx.snap.room == room(sc)
               && sc->fx.table.head->next_ident == m->next_ident,
               "generation, method, number of servers, next id"))
    {
        return 0;
    }

    j = 0;

    for (tier = 0; tier < LRT_TIERS; tier++) {
        for (i = 0; i < m->n; i++) {

            e = &m->server[i];

            if (e->params.backup != tier) {
                continue;
            }

            p = &sc->fx.peer[j++];

            if (!check(p->entry.ident == e->ident
                       && fx_number(p->detail.data) == e->number
                       && p->entry.params.backup == e->params.backup
                       && lrt_params_diff(&p->entry.params, &e->params) == 0,
                       "server %u", i))
            {
                return 0;
            }
        }
    }

    return 1;
}


/* slots for new servers, by what is known of requests */

static uint32_t
room(script_t *sc)
{
    uint32_t  i, j, slot, zombies;

    zombies = 0;

    for (i = 0; i < sc->nheld; i++) {

        slot = sc->held[i].pick.slot;

        for (j = 0; j < i && sc->held[j].pick.slot != slot; j++) {
            /* void */
        }

        if (j == i && draft_find(&sc->model, sc->held[i].pick.ident) == NULL) {
            zombies++;
        }
    }

    return sc->fx.table.capacity - sc->model.n - zombies;
}


static lrt_params_t
random_params(void)
{
    lrt_params_t  params;

    memset(&params, 0, sizeof(lrt_params_t));

    params.weight = tap_once_in(10) ? LRT_MAX_WEIGHT : tap_between(1, 1000);
    params.max_conns = tap_once_in(2) ? 0 : tap_below(10);
    params.max_fails = tap_below(3);
    params.fail_timeout = tap_below(10);
    params.slow_start = tap_below(3);
    params.backup = tap_once_in(4);
    params.down = tap_once_in(10);
    params.drain = tap_once_in(10);
    params.twins = tap_once_in(10) ? tap_below(256) : 0;

    return params;
}


static void
copy(model_t *dst, const model_t *src)
{
    entry_t  *server;

    server = dst->server;

    *dst = *src;
    dst->server = server;

    memcpy(server, src->server, src->n * sizeof(entry_t));
}


/* of everything that is in force, or that anybody can see */

static uint64_t
fingerprint(fx_t *fx)
{
    uint32_t      slot, tier, live;
    uint64_t      hash;
    lrt_head_t    head;
    lrt_table_t  *t;

    t = &fx->table;
    live = (uint32_t) (lrt_table_generation(t) & 1);

    head = *t->head;
    memset(&head.side[!live], 0, sizeof(lrt_side_t));

    hash = mix(1, &head, sizeof(lrt_head_t));

    for (tier = 0; tier < LRT_TIERS; tier++) {
        hash = mix(hash, t->key[tier], t->capacity * sizeof(uint64_t));
        hash = mix(hash, t->low[tier],
                   lrt_blocks(t->capacity) * sizeof(uint64_t));
    }

    hash = mix(hash, t->entry[live], t->capacity * sizeof(lrt_entry_t));
    hash = mix(hash, t->order[live], t->capacity * sizeof(uint32_t));
    hash = mix(hash, t->reach[live], t->capacity * sizeof(uint64_t));
    hash = mix(hash, t->guide[live], t->capacity * sizeof(uint32_t));
    hash = mix(hash, t->index[live], t->index_size * sizeof(uint32_t));
    hash = mix(hash, t->gone, t->head->ngone * sizeof(lrt_gone_t));

    for (slot = 0; slot < t->capacity; slot++) {

        if (t->entry[live][slot].ident || !lrt_ledger_idle(t, slot)) {
            hash = mix(hash, &t->hot[slot], sizeof(lrt_hot_t));
            hash = mix(hash, &t->detail[slot], sizeof(lrt_detail_t));
            hash = mix(hash, lrt_table_cell(t, fx->owner.row, slot),
                       sizeof(uint64_t));
        }
    }

    return hash;
}


static uint64_t
mix(uint64_t hash, const void *data, size_t size)
{
    uint32_t         i, *word;

    word = (uint32_t *) data;

    for (i = 0; i < size / sizeof(uint32_t); i++) {
        hash = (hash ^ word[i]) * 0x9e3779b97f4a7c15ull;
        hash ^= hash >> 29;
    }

    return hash;
}


static lrt_change_t
add(fx_server_t *s, uint32_t number)
{
    lrt_change_t  c;

    memset(&c, 0, sizeof(lrt_change_t));

    fx_server(s, number, 0);

    c.type = LRT_ADD;
    c.server = s->server;

    return c;
}


static lrt_change_t
remove_(uint64_t ident)
{
    lrt_change_t  c;

    memset(&c, 0, sizeof(lrt_change_t));

    c.type = LRT_REMOVE;
    c.ident = ident;
    c.slot = LRT_NONE;

    return c;
}
