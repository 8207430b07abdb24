
/*
 * Copyright (C) the ngx_http_lrt_upstream_module authors
 *
 * What happens when one process comes between two steps of another: at each
 * kill point of an operation a whole other operation is done, in one process
 * and so the same way each time.
 */


#include "tap.h"
#include "fixture.h"


#define CAPACITY     8


static void test_remove_in_select(void);
static void test_replace_in_select(void);
static void test_commits_in_commit(void);
static void test_select_in_select(void);
static void test_last_connection(void);
static void test_last_trial(void);
static void test_release_in_release(void);
static void test_remove_in_release(void);
static void test_stopped_worker(void);
static void test_method_changes(void);
static void test_random(void);
static void test_mixed_generations(void);
static void test_mixed_numbers(void);
static void remove_held(unsigned point);
static void replace_held(unsigned point);
static void select_one(unsigned point);
static void release_one(unsigned point);
static void remove_one(unsigned point);
static void audit_thrice(unsigned point);
static void pick_in_commit(unsigned point);
static void something(unsigned point);
static void audit(uint32_t n);
static void open_group(uint32_t n, uint32_t method);
static uint32_t held_slot(void);


static fx_t         fx;
static lrt_owner_t  other;
static unsigned     at;              /* the point at which to come between */
static unsigned     came;
static lrt_rc_t     rc;
static lrt_pick_t   second;
static lrt_pick_t   held[64];
static uint32_t     nheld;
static uint64_t     victim;
static uint32_t     busy;


int
main(void)
{
    tap_begin();

    run(test_remove_in_select);
    run(test_replace_in_select);
    run(test_commits_in_commit);
    run(test_select_in_select);
    run(test_last_connection);
    run(test_last_trial);
    run(test_release_in_release);
    run(test_remove_in_release);
    run(test_stopped_worker);
    run(test_method_changes);
    run(test_random);
    run(test_mixed_generations);
    run(test_mixed_numbers);

    return tap_end();
}


static void
test_remove_in_select(void)
{
    uint32_t    method;
    lrt_pick_t  pick;

    /*
     * The server that a request has counted itself in at is removed.  Before
     * the pick is validated it must go to another one; afterwards it may stay.
     */

    for (method = 0; method < 2; method++) {
        for (at = LRT_POINT_COUNT_IN_CELL; at <= LRT_POINT_PICKED; at++) {

            open_group(4, method);

            came = 0;
            fx_between = remove_held;
            rc = fx_pick(&fx, &pick);
            fx_between = NULL;

            is_u64(rc, LRT_OK, "method %u, point %u: there is a server",
                   method, at);
            is_u64(came, 1, "somebody came between");

            if (at == LRT_POINT_PICKED) {
                is_u64(pick.ident, victim, "the removed one is kept");

            } else {
                ok(pick.ident != victim, "it is not the removed one");
            }

            (void) fx_end(&fx, &pick, LRT_ENDED_WELL);

            ok(fx_quiet(&fx) == NULL, "valid at the end");
            is_u64(lrt_change_room(&fx.table), CAPACITY - 3, "room");

            fx_close(&fx);
        }
    }
}


static void
test_replace_in_select(void)
{
    uint32_t    method, slot;
    uint64_t    ident;
    lrt_pick_t  pick;

    /* and its slot is not given away while the request is counted in there */

    for (method = 0; method < 2; method++) {
        for (at = LRT_POINT_COUNT_IN_CELL; at <= LRT_POINT_PICKED; at++) {

            open_group(4, method);

            fx_between = replace_held;
            rc = fx_pick(&fx, &pick);
            fx_between = NULL;

            slot = lrt_table_find_ident(&fx.table,
                                        lrt_table_generation(&fx.table),
                                        pick.ident);
            ident = fx.table.head->next_ident;

            is_u64(rc, LRT_OK, "method %u, point %u: there is a server",
                   method, at);

            if (at == LRT_POINT_PICKED) {
                is_u64(slot, LRT_NONE, "it is the one that was removed");
                ok(fx_entry(&fx, pick.slot)->ident == 0,
                   "nobody else has its slot");

            } else {
                is_u64(slot, pick.slot, "it is in the group");
            }

            is_u64(ident, CAPACITY + 1, "all slots but that one have owners");

            (void) fx_end(&fx, &pick, LRT_ENDED_WELL);
            ok(fx_quiet(&fx) == NULL, "valid at the end");

            fx_close(&fx);
        }
    }
}


static void
test_commits_in_commit(void)
{
    uint32_t      method, i;
    lrt_pick_t    pick;
    lrt_change_t  c;

    /* requests come and go while a writer is at each of his steps */

    for (method = 0; method < 2; method++) {
        for (at = LRT_POINT_COMMIT_BEGIN; at <= LRT_POINT_COMMIT_DONE; at++) {

            open_group(4, method);

            nheld = 0;
            fx_between = pick_in_commit;

            memset(&c, 0, sizeof(lrt_change_t));
            c.type = LRT_REMOVE;
            c.ident = 2;

            is_u64(fx_commit(&fx, &c, 1), LRT_OK, "method %u, point %u",
                   method, at);

            fx_between = NULL;

            is_u64(nheld, 12, "requests in between");

            for (i = 0; i < nheld; i++) {
                if (!check(at < LRT_POINT_COMMIT_PUBLISHED
                           || held[i].ident != 2,
                           "a removed server got a request"))
                {
                    return;
                }
            }

            for (i = 0; i < 12; i++) {
                (void) fx_pick(&fx, &pick);
                (void) fx_end(&fx, &pick, LRT_ENDED_WELL);

                if (!check(pick.ident != 2, "a removed server got a request"))
                {
                    return;
                }
            }

            while (nheld) {
                (void) fx_end(&fx, &held[--nheld], LRT_ENDED_WELL);
            }

            ok(fx_quiet(&fx) == NULL, "valid at the end");

            fx_close(&fx);
        }
    }
}


static void
test_select_in_select(void)
{
    uint32_t    method;
    lrt_pick_t  pick;

    for (method = 0; method < 2; method++) {
        for (at = LRT_POINT_COUNT_IN_CELL; at <= LRT_POINT_RANK_KEY; at++) {

            if (at == LRT_POINT_RANK_KEY && method == RR) {
                continue;
            }

            open_group(2, method);

            came = 0;
            fx_between = select_one;
            rc = fx_pick(&fx, &pick);
            fx_between = NULL;

            /* two requests at once: both find a server, counts are right */

            is_u64(rc, LRT_OK, "method %u, point %u: the first", method, at);
            is_u64(came, 1, "somebody came between");
            ok(fx_quiet(&fx) == NULL, "valid with both");

            (void) fx_end(&fx, &pick, LRT_ENDED_WELL);
            (void) fx_end(&fx, &second, LRT_ENDED_WELL);

            ok(fx_quiet(&fx) == NULL, "valid without");

            fx_close(&fx);
        }
    }
}


static void
test_last_connection(void)
{
    uint32_t      method;
    lrt_rc_t      rc1;
    lrt_pick_t    pick;
    lrt_params_t  params;

    /* two requests for the last place: one gets it, and never both */

    for (method = 0; method < 2; method++) {
        for (at = LRT_POINT_COUNT_IN_CELL; at <= LRT_POINT_PICKED; at++) {

            open_group(1, method);

            params = fx_params(1);
            params.max_conns = 1;
            (void) fx_modify(&fx, 1, &params, LRT_F_MAX_CONNS);

            came = 0;
            fx_between = select_one;
            rc1 = fx_pick(&fx, &pick);
            fx_between = NULL;

            is_u64((rc1 == LRT_OK) + (rc == LRT_OK), 1,
                   "method %u, point %u: one of two got it", method, at);
            is_u64(fx.table.hot[0].inflight, 1, "one request is counted");

            (void) fx_end(&fx, (rc1 == LRT_OK) ? &pick : &second,
                          LRT_ENDED_WELL);

            ok(fx_quiet(&fx) == NULL, "valid at the end");
            is_u64(fx_pick(&fx, &pick), LRT_OK, "the place is free again");

            (void) fx_end(&fx, &pick, LRT_ENDED_WELL);

            fx_close(&fx);
        }
    }
}


static void
test_last_trial(void)
{
    uint32_t      method;
    lrt_rc_t      rc1;
    lrt_pick_t    pick;
    lrt_params_t  params;

    /* two requests for the one trial of a server that had failed */

    for (method = 0; method < 2; method++) {
        for (at = LRT_POINT_COUNT_IN_CELL; at <= LRT_POINT_PICKED; at++) {

            open_group(2, method);

            params = fx_params(1);
            params.max_fails = 1;
            (void) fx_modify(&fx, 1, &params, LRT_F_MAX_FAILS);
            (void) fx_remove(&fx, 2);

            /* a backup that is full, so that the other is not alone */

            params.backup = 1;
            params.max_conns = 1;
            (void) fx_add(&fx, 9, &params);

            (void) fx_pick(&fx, &pick);
            (void) fx_end(&fx, &pick, LRT_ENDED_FAILED);
            (void) fx_pick(&fx, &held[0]);

            is_u64(held[0].ident, 3, "the backup");
            is_u64(fx_pick(&fx, &pick), LRT_BUSY, "no more servers");

            fx.now += params.fail_timeout + 1;

            came = 0;
            fx_between = select_one;
            rc1 = fx_pick(&fx, &pick);
            fx_between = NULL;

            is_u64((rc1 == LRT_OK) + (rc == LRT_OK), 1,
                   "method %u, point %u: one of two is the trial", method, at);

            (void) fx_end(&fx, (rc1 == LRT_OK) ? &pick : &second,
                          LRT_ENDED_WELL);
            (void) fx_end(&fx, &held[0], LRT_ENDED_WELL);

            ok(fx_quiet(&fx) == NULL, "valid at the end");

            fx_close(&fx);
        }
    }
}


static void
test_release_in_release(void)
{
    uint32_t    method;
    lrt_pick_t  pick;

    for (method = 0; method < 2; method++) {
        for (at = LRT_POINT_RANK_KEY; at <= LRT_POINT_COUNT_OUT_CELL; at++) {

            if (at == LRT_POINT_RANK_KEY && method == RR) {
                continue;
            }

            open_group(1, method);

            (void) fx_pick(&fx, &pick);

            nheld = 1;
            (void) fx_pick(&fx, &held[0]);

            came = 0;
            fx_between = release_one;
            (void) fx_end(&fx, &pick, LRT_ENDED_WELL);
            fx_between = NULL;

            /* the last two requests of a server end at once */

            is_u64(came, 1, "method %u, point %u", method, at);
            ok(fx_quiet(&fx) == NULL, "valid at the end");
            is_u64(fx.table.hot[0].inflight, 0, "nobody is there");

            fx_close(&fx);
        }
    }
}


static void
test_remove_in_release(void)
{
    uint32_t    method;
    lrt_pick_t  pick;

    for (method = 0; method < 2; method++) {
        for (at = LRT_POINT_RANK_KEY; at <= LRT_POINT_COUNT_OUT_CELL; at++) {

            if (at == LRT_POINT_RANK_KEY && method == RR) {
                continue;
            }

            open_group(4, method);

            (void) fx_pick(&fx, &pick);
            victim = pick.ident;

            came = 0;
            fx_between = remove_one;
            (void) fx_end(&fx, &pick, LRT_ENDED_WELL);
            fx_between = NULL;

            /* a server is removed and replaced while a request leaves it */

            is_u64(came, 1, "method %u, point %u", method, at);
            ok(fx_quiet(&fx) == NULL, "valid at the end");

            fx_snapshot(&fx);
            is_u64(fx.snap.zombies, 0, "no slot is lost");

            fx_close(&fx);
        }
    }
}


static void
test_stopped_worker(void)
{
    uint32_t    i, method, point;
    lrt_pick_t  pick;

    static unsigned  points[] = {
        LRT_POINT_COUNT_IN_CELL,
        LRT_POINT_COUNT_IN_TOTAL,
        LRT_POINT_PICKED,
        LRT_POINT_COUNT_OUT_TOTAL,
        LRT_POINT_COUNT_OUT_CELL
    };

    for (method = 0; method < 2; method++) {
        for (i = 0; i < sizeof(points) / sizeof(points[0]); i++) {

            open_group(3, method);
            point = points[i];

            /*
             * A worker that stands still between its counts for so long that
             * the audit takes him for dead, and then goes on.
             */

            at = point;
            came = 0;
            fx_between = audit_thrice;

            (void) fx_pick(&fx, &pick);
            (void) fx_end(&fx, &pick, LRT_ENDED_WELL);

            fx_between = NULL;

            is_u64(came, 1, "method %u, stopped at point %u", method, point);

            audit(LRT_AUDIT_TICKS + 1);
            ok(fx_quiet(&fx) == NULL, "and right again soon");

            fx_close(&fx);
        }
    }
}


static void
test_method_changes(void)
{
    uint32_t    i;

    /*
     * When the method changes, ranks of the new one are not there yet: no
     * request may be refused for that.
     */

    for (at = LRT_POINT_COMMIT_BEGIN; at <= LRT_POINT_COMMIT_DONE; at++) {

        open_group(4, RR);

        busy = 0;
        nheld = 0;
        fx_between = pick_in_commit;

        (void) fx_method(&fx, LC);

        fx_between = NULL;

        is_u64(nheld, 12, "point %u: requests in between", at);
        is_u64(busy, 0, "all of them found a server");

        for (i = 0; i < nheld; i++) {
            (void) fx_end(&fx, &held[i], LRT_ENDED_WELL);
        }

        ok(fx_quiet(&fx) == NULL, "valid at the end");

        fx_close(&fx);
    }

    /* so it is when all servers are replaced in one step */

    for (at = LRT_POINT_COMMIT_BEGIN; at <= LRT_POINT_COMMIT_DONE; at++) {

        lrt_change_t  c[4];
        fx_server_t   s[2];

        open_group(2, LC);

        memset(c, 0, sizeof(c));

        for (i = 0; i < 2; i++) {
            c[i].type = LRT_REMOVE;
            c[i].ident = i + 1;
            fx_server(&s[i], 20 + i, 0);
            c[2 + i].type = LRT_ADD;
            c[2 + i].server = s[i].server;
        }

        busy = 0;
        nheld = 0;
        fx_between = pick_in_commit;

        (void) fx_commit(&fx, c, 4);

        fx_between = NULL;

        is_u64(nheld, 12, "point %u: requests while all is replaced", at);
        is_u64(busy, 0, "all of them found a server");

        for (i = 0; i < nheld; i++) {
            (void) fx_end(&fx, &held[i], LRT_ENDED_WELL);
        }

        ok(fx_quiet(&fx) == NULL, "valid at the end");

        fx_close(&fx);
    }
}


static void
test_random(void)
{
    uint32_t      i, n, steps;
    const char   *why;
    lrt_pick_t    pick;
    lrt_params_t  params;

    /* anything in anything */

    steps = tap_times(40000);
    n = 0;
    nheld = 0;

    open_group(4, LC);

    for (i = 0; i < steps; i++) {

        at = tap_between(1, LRT_POINTS - 1);
        came = 0;
        fx_between = something;

        switch (tap_below(8)) {

        case 0:
            params = fx_params(tap_between(1, 5));
            params.max_fails = tap_below(2);
            params.max_conns = tap_below(4);
            params.backup = tap_once_in(4);
            params.fail_timeout = 5;
            (void) fx_add(&fx, tap_below(20), &params);
            break;

        case 1:
            (void) fx_remove(&fx, fx_entry(&fx, tap_below(CAPACITY))->ident);
            break;

        case 2:
            if (tap_once_in(20)) {
                (void) fx_method(&fx, tap_below(2));
            }

            break;

        case 3:
            audit(1);
            break;

        default:
            if (fx_pick(&fx, &pick) == LRT_OK) {
                (void) fx_end(&fx, &pick, tap_below(LRT_ENDED_UNKNOWN + 1));
            }
        }

        fx_between = NULL;
        fx.now++;
        n += came;

        /* left alone, everything comes to be right */

        if (tap_once_in(50)) {

            audit(LRT_AUDIT_TICKS + 1);
            why = fx_quiet(&fx);

            if (!check(why == NULL, "step %u: %s", i, why)) {
                return;
            }
        }
    }

    while (nheld) {
        (void) fx_end(&fx, &held[--nheld], LRT_ENDED_WELL);
    }

    audit(LRT_AUDIT_TICKS + 1);

    ok(1, "%u operations, %u times another one in between", steps, n);
    ok(fx_quiet(&fx) == NULL, "valid at the end");

    fx_snapshot(&fx);
    is_u64(fx.snap.room, CAPACITY - fx.snap.n, "all slots are free again");

    fx_close(&fx);
}


/* where a request stops in the middle of reading, a writer may have been */

static void
test_mixed_generations(void)
{
    uint32_t     i, j, n, w, method, tier, words;
    uint64_t     live, idle;
    lrt_side_t   a, b, *side;
    lrt_pick_t   pick[4];

    union {
        lrt_side_t  side;
        uint32_t    word[sizeof(lrt_side_t) / sizeof(uint32_t)];
    } mixed, one, two;

    words = sizeof(lrt_side_t) / sizeof(uint32_t);

    for (i = 0; i < tap_times(20000); i++) {

        method = tap_below(2);
        open_group(tap_between(0, CAPACITY - 1), method);

        for (j = tap_below(4); j > 0; j--) {
            (void) fx_remove(&fx, tap_between(1, CAPACITY));
        }

        if (tap_once_in(4)) {
            lrt_params_t  params;

            params = fx_params(3);
            params.backup = 1;
            (void) fx_add(&fx, 50, &params);
        }

        live = lrt_table_generation(&fx.table) & 1;
        idle = !live;

        side = &fx.table.head->side[live];
        a = *side;
        b = fx.table.head->side[idle];

        one.side = a;
        two.side = b;

        for (w = 0; w < words; w++) {
            mixed.word[w] = tap_once_in(2) ? one.word[w] : two.word[w];
        }

        mixed.side.policy.method = method;
        *side = mixed.side;

        for (tier = 0; tier < LRT_TIERS; tier++) {
            fx.table.head->cursor[tier][0].value = tap_below(20);
        }

        /* it finds a server, or it finds none, but it does not run away */

        for (n = 0; n < 4; n++) {
            if (fx_pick(&fx, &pick[n]) != LRT_OK) {
                break;
            }

            if (!check(pick[n].slot < CAPACITY, "slot %u", pick[n].slot)) {
                return;
            }
        }

        *side = a;

        while (n) {
            (void) fx_end(&fx, &pick[--n], LRT_ENDED_WELL);
        }

        lrt_rank_refresh(&fx.table, fx.now);

        if (!check(fx_quiet(&fx) == NULL, "valid")) {
            return;
        }

        fx_close(&fx);
    }

    ok(1, "numbers of two generations");
}


static void
test_mixed_numbers(void)
{
    uint32_t      i, j, n, live;
    lrt_pick_t    pick;
    lrt_side_t   *side;

    /* the same with arrays that are being written, full of any numbers */

    for (i = 0; i < tap_times(5000); i++) {

        open_group(CAPACITY - 1, tap_below(2));

        live = lrt_table_generation(&fx.table) & 1;
        side = &fx.table.head->side[live];

        for (j = 0; j < CAPACITY; j++) {

            if (tap_once_in(2)) {
                fx.table.order[live][j] = (uint32_t) tap_random();
            }

            if (tap_once_in(2)) {
                fx.table.reach[live][j] = tap_random() >> tap_below(60);
            }

            if (tap_once_in(2)) {
                fx.table.guide[live][j] = (uint32_t) tap_random();
            }
        }

        side->tier[tap_below(2)].first = tap_below(CAPACITY + 5);
        side->tier[tap_below(2)].n = tap_below(CAPACITY + 5);
        side->tier[tap_below(2)].total = tap_below(20);
        side->tier[tap_below(2)].stride = tap_below(20);
        side->top = tap_below(CAPACITY + 5);

        for (n = 0; n < 4; n++) {
            if (fx_pick(&fx, &pick) == LRT_OK) {
                (void) fx_end(&fx, &pick, LRT_ENDED_WELL);
            }

            (void) lrt_snapshot(&fx.table, &fx.snap, fx.item, CAPACITY,
                                fx.now);
        }

        for (j = 0; j < CAPACITY; j++) {
            if (!check(fx.table.hot[j].inflight == 0, "counts")) {
                return;
            }
        }

        fx_close(&fx);
    }

    ok(1, "any numbers");
}


static void
remove_held(unsigned point)
{
    if (point != at || came) {
        return;
    }

    came = 1;
    victim = fx_entry(&fx, held_slot())->ident;

    (void) fx_remove(&fx, victim);
}


static void
replace_held(unsigned point)
{
    uint32_t      i;
    lrt_params_t  params;

    if (point != at || fx.table.head->next_ident > 5) {
        return;
    }

    /* more than one commit: the side that the request reads is overwritten */

    (void) fx_remove(&fx, fx_entry(&fx, held_slot())->ident);

    params = fx_params(2);

    for (i = 0; i < 2 * CAPACITY; i++) {
        (void) fx_add(&fx, 100 + i, &params);
    }
}


static void
select_one(unsigned point)
{
    lrt_ask_t  ask;

    if (point != at || came) {
        return;
    }

    came = 1;

    memset(&ask, 0, sizeof(lrt_ask_t));
    ask.now = fx.now;

    rc = lrt_select(&fx.table, &other, &ask, &second);
}


static void
release_one(unsigned point)
{
    if (point != at || came) {
        return;
    }

    came = 1;
    (void) fx_end(&fx, &held[--nheld], LRT_ENDED_WELL);
}


static void
remove_one(unsigned point)
{
    uint32_t      i;
    lrt_params_t  params;

    if (point != at || came) {
        return;
    }

    came = 1;
    (void) fx_remove(&fx, victim);

    params = fx_params(2);

    for (i = 0; i < 2 * CAPACITY; i++) {
        (void) fx_add(&fx, 100 + i, &params);
    }
}


static void
audit_thrice(unsigned point)
{
    if (point != at || came) {
        return;
    }

    came = 1;
    audit(LRT_AUDIT_TICKS);
}


static void
pick_in_commit(unsigned point)
{
    uint32_t  i;

    if (point != at) {
        return;
    }

    for (i = 0; i < 12; i++) {
        if (fx_pick(&fx, &held[nheld]) == LRT_OK) {
            nheld++;

        } else {
            busy++;
        }
    }
}


/* in a commit, or an audit, no other one: there is a lock and a clock */

static void
something(unsigned point)
{
    lrt_params_t  params;

    if (point != at || came || tap_once_in(2)) {
        return;
    }

    came = 1;

    switch (tap_below(6)) {

    case 0:
        if (point < LRT_POINT_COMMIT_BEGIN || point > LRT_POINT_COMMIT_DONE) {
            params = fx_params(tap_between(1, 5));
            params.max_conns = tap_below(3);
            params.max_fails = 1;
            (void) fx_add(&fx, tap_below(20), &params);
        }

        break;

    case 1:
        if (point < LRT_POINT_COMMIT_BEGIN || point > LRT_POINT_COMMIT_DONE) {
            (void) fx_remove(&fx, fx_entry(&fx, tap_below(CAPACITY))->ident);
        }

        break;

    case 2:
        audit(tap_between(1, 3));
        break;

    case 3:
        fx.now += tap_below(10);
        lrt_ledger_recover(&fx.table, fx.reg, fx.now);
        break;

    default:

        if (nheld < 20 && tap_once_in(2)) {
            nheld += (fx_pick(&fx, &held[nheld]) == LRT_OK);
        }

        if (nheld && tap_once_in(2)) {
            (void) fx_end(&fx, &held[--nheld],
                          tap_below(LRT_ENDED_UNKNOWN + 1));
        }
    }
}


static void
audit(uint32_t n)
{
    while (n--) {
        fx.now += LRT_AUDIT_PERIOD;
        lrt_ledger_audit(&fx.table, fx.reg, fx.now);
    }
}


static void
open_group(uint32_t n, uint32_t method)
{
    uint32_t      i;
    lrt_params_t  params[CAPACITY];

    fx_open(&fx, CAPACITY);

    other = fx_claim(&fx, 2);

    for (i = 0; i < n; i++) {
        params[i] = fx_params(i + 1);
    }

    (void) fx_fill(&fx, params, n);
    (void) fx_method(&fx, method);
}


/* where the fixture's worker is counted in */

static uint32_t
held_slot(void)
{
    uint32_t  slot;

    for (slot = 0; slot < CAPACITY; slot++) {
        if (lrt_cell_count(*lrt_table_cell(&fx.table, fx.owner.row, slot))) {
            return slot;
        }
    }

    abort();
}
