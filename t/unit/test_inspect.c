
/*
 * Copyright (C) the ngx_http_lrt_upstream_module authors
 *
 * What people are told of a server agrees with what requests see of it: its
 * state, its share, and a health that an operator has forced.
 */


#include "tap.h"
#include "fixture.h"
#include "lrt_least_time.h"


#define CAPACITY     16


static void test_states(void);
static void test_state_and_requests(void);
static void test_busy(void);
static void test_forced_down(void);
static void test_forced_up(void);
static void test_forced_invalid(void);
static void test_forced_merge(void);
static void test_share_by_weight(void);
static void test_share_by_time(void);
static void test_share_of_tiers(void);
static void test_share_random(void);
static void test_copy_of_removed(void);
static void test_twin(void);
static lrt_peer_t a_peer(const lrt_params_t *params);
static void set_forced(uint64_t ident, lrt_forced_e forced);
static void fail(uint64_t ident);
static void answer(uint32_t slot, uint64_t us, uint64_t others);
static uint64_t expected(uint32_t i);
static uint64_t share(uint32_t i);
static unsigned picked(uint64_t ident, uint32_t requests);


static const uint32_t  methods[] = {
    LRT_METHOD_round_robin_ext,
    LRT_METHOD_least_conn_ext,
    LRT_METHOD_least_time
};

#define METHODS  (sizeof(methods) / sizeof(methods[0]))


static fx_t  fx;


int
main(void)
{
    tap_begin();

    run(test_states);
    run(test_state_and_requests);
    run(test_busy);
    run(test_forced_down);
    run(test_forced_up);
    run(test_forced_invalid);
    run(test_forced_merge);
    run(test_share_by_weight);
    run(test_share_by_time);
    run(test_share_of_tiers);
    run(test_share_random);
    run(test_copy_of_removed);
    run(test_twin);

    return tap_end();
}


static void
test_states(void)
{
    uint32_t        i;
    lrt_hot_t       hot;
    lrt_peer_t      peer;
    lrt_params_t    params;
    lrt_snapshot_t  snap;

    static const struct {
        const char  *name;
        uint8_t      down;
        uint8_t      drain;
        uint8_t      forced;
        uint8_t      fails;
        uint8_t      lone;
        lrt_state_e  state;
    } states[] = {
        { "in order", 0, 0, LRT_AUTO, 0, 0, LRT_STATE_UP },
        { "draining", 0, 1, LRT_AUTO, 0, 0, LRT_STATE_DRAINING },
        { "down", 1, 0, LRT_AUTO, 0, 0, LRT_STATE_DOWN },
        { "down and draining", 1, 1, LRT_AUTO, 1, 0, LRT_STATE_DOWN },
        { "has failed", 0, 0, LRT_AUTO, 1, 0, LRT_STATE_UNAVAIL },
        { "draining, has failed", 0, 1, LRT_AUTO, 1, 0, LRT_STATE_DRAINING },
        { "has failed, but is alone", 0, 0, LRT_AUTO, 1, 1, LRT_STATE_UP },
        { "forced up", 0, 0, LRT_FORCED_UP, 0, 0, LRT_STATE_UP },
        { "forced up, has failed", 0, 0, LRT_FORCED_UP, 1, 0, LRT_STATE_UP },
        { "forced up, down", 1, 0, LRT_FORCED_UP, 0, 0, LRT_STATE_DOWN },
        { "forced up, draining", 0, 1, LRT_FORCED_UP, 0, 0,
          LRT_STATE_DRAINING },
        { "forced down", 0, 0, LRT_FORCED_DOWN, 0, 0, LRT_STATE_UNHEALTHY },
        { "forced down, alone", 0, 0, LRT_FORCED_DOWN, 0, 1,
          LRT_STATE_UNHEALTHY },
        { "forced down, down", 1, 0, LRT_FORCED_DOWN, 0, 0, LRT_STATE_DOWN },
        { "forced down, has failed", 0, 0, LRT_FORCED_DOWN, 1, 0,
          LRT_STATE_UNHEALTHY }
    };

    for (i = 0; i < sizeof(states) / sizeof(states[0]); i++) {

        params = fx_params(1);
        params.max_fails = 1;
        params.down = states[i].down;
        params.drain = states[i].drain;
        params.forced = states[i].forced;

        memset(&hot, 0, sizeof(lrt_hot_t));
        hot.fails = states[i].fails;
        hot.checked = 1000;

        memset(&snap, 0, sizeof(lrt_snapshot_t));
        snap.rules[LRT_PRIMARY].lone = states[i].lone & 1;

        peer = a_peer(&params);
        is_u64(lrt_peer_state(&snap, &peer, &hot, 1000), states[i].state,
               "%s", states[i].name);
    }

    /* each tier has its lone server; a failure is forgotten in time */

    params = fx_params(1);
    params.max_fails = 1;
    params.backup = 1;
    hot.fails = 1;
    hot.checked = 1000;
    memset(&snap, 0, sizeof(lrt_snapshot_t));
    snap.rules[LRT_PRIMARY].lone = 1;
    peer = a_peer(&params);

    is_u64(lrt_peer_state(&snap, &peer, &hot, 1000), LRT_STATE_UNAVAIL,
           "a backup beside a lone primary");
    snap.rules[LRT_BACKUP].lone = 1;
    is_u64(lrt_peer_state(&snap, &peer, &hot, 1000), LRT_STATE_UP,
           "a lone backup");
    snap.rules[LRT_BACKUP].lone = 0;
    is_u64(lrt_peer_state(&snap, &peer, &hot, 1000 + 10001), LRT_STATE_UP,
           "after fail_timeout");
}


/* "up" is who may get requests, but for his limit */

static void
test_state_and_requests(void)
{
    uint32_t        i;
    uint64_t        now;
    unsigned        up, usable;
    lrt_hot_t       hot;
    lrt_peer_t      peer;
    lrt_params_t    params;
    lrt_snapshot_t  snap;

    for (i = 0; i < tap_times(100000); i++) {

        params = fx_params(1);
        params.max_fails = tap_below(3);
        params.max_conns = tap_below(3);
        params.backup = (uint8_t) tap_below(2);
        params.down = tap_once_in(4);
        params.drain = tap_once_in(4);
        params.forced = (uint8_t) tap_below(LRT_FORCED);

        memset(&hot, 0, sizeof(lrt_hot_t));
        hot.fails = tap_below(4);
        hot.checked = 1000000;
        hot.inflight = (int32_t) tap_below(4);
        now = hot.checked + tap_below(3) * 10000;

        memset(&snap, 0, sizeof(lrt_snapshot_t));
        snap.rules[params.backup].lone = tap_below(2) & 1;

        peer = a_peer(&params);

        up = lrt_peer_state(&snap, &peer, &hot, now) == LRT_STATE_UP
             && !lrt_peer_busy(&peer, &hot);
        usable = lrt_usable(&peer.entry, &hot, &snap.rules[params.backup], now);

        if (!check(up == usable, "state %d, usable %u",
                   (int) lrt_peer_state(&snap, &peer, &hot, now), usable))
        {
            return;
        }
    }

    ok(1, "who is up, and not busy, is who may get requests");
}


static void
test_busy(void)
{
    lrt_hot_t     hot;
    lrt_peer_t    peer;
    lrt_params_t  params;

    memset(&hot, 0, sizeof(lrt_hot_t));
    params = fx_params(1);
    hot.inflight = 1000;

    peer = a_peer(&params);
    ok(!lrt_peer_busy(&peer, &hot), "without a limit never");

    params.max_conns = 2;
    peer = a_peer(&params);
    hot.inflight = 1;
    ok(!lrt_peer_busy(&peer, &hot), "one of two");
    hot.inflight = 2;
    ok(lrt_peer_busy(&peer, &hot), "two of two");
    hot.inflight = -1;
    ok(!lrt_peer_busy(&peer, &hot), "a count below 0, for a moment");
}


static void
test_forced_down(void)
{
    uint32_t      i;
    uint64_t      ident[2];
    lrt_pick_t    pick;
    lrt_params_t  params;

    for (i = 0; i < METHODS; i++) {

        fx_open(&fx, CAPACITY);
        (void) fx_method(&fx, methods[i]);

        params = fx_params(1);
        ident[0] = fx_add(&fx, 0, &params);
        ident[1] = fx_add(&fx, 1, &params);

        set_forced(ident[0], LRT_FORCED_DOWN);
        is_u64(picked(ident[0], 50), 0, "%s: no requests",
               lrt_method(methods[i])->name);
        is_u64(picked(ident[1], 50), 50, "%s: the other has them",
               lrt_method(methods[i])->name);

        /* a lone server is not shut out by failures, but by an operator */

        set_forced(ident[1], LRT_FORCED_DOWN);
        is_u64(fx_pick(&fx, &pick), LRT_BUSY, "%s: nobody is left",
               lrt_method(methods[i])->name);

        set_forced(ident[0], LRT_AUTO);
        is_u64(picked(ident[0], 10), 10, "%s: no longer forced",
               lrt_method(methods[i])->name);
        ok(fx_quiet(&fx) == NULL, "%s: the table is valid",
           lrt_method(methods[i])->name);

        fx_close(&fx);
    }
}


static void
test_forced_up(void)
{
    uint32_t      i;
    uint64_t      ident[2];
    const char   *name;
    lrt_params_t  params;

    for (i = 0; i < METHODS; i++) {

        name = lrt_method(methods[i])->name;

        fx_open(&fx, CAPACITY);
        (void) fx_method(&fx, methods[i]);

        params = fx_params(1);
        params.max_fails = 1;
        ident[0] = fx_add(&fx, 0, &params);
        ident[1] = fx_add(&fx, 1, &params);

        fail(ident[0]);
        is_u64(picked(ident[0], 50), 0, "%s: failures shut it out", name);

        set_forced(ident[0], LRT_FORCED_UP);
        ok(picked(ident[0], 50) > 0, "%s: unless it is forced up", name);

        set_forced(ident[0], LRT_AUTO);
        is_u64(picked(ident[0], 50), 0, "%s: no longer forced", name);

        /* down is down */

        set_forced(ident[0], LRT_FORCED_UP);
        params.down = 1;
        (void) fx_modify(&fx, ident[0], &params, LRT_F_DOWN);
        is_u64(picked(ident[0], 50), 0, "%s: forced up, but down", name);

        fx_snapshot(&fx);
        is_u64(fx.peer[0].entry.params.forced, LRT_FORCED_UP,
               "%s: it stays forced", name);

        fx_close(&fx);
    }
}


static void
test_forced_invalid(void)
{
    uint64_t      ident;
    lrt_params_t  params;

    fx_open(&fx, CAPACITY);

    params = fx_params(1);
    ident = fx_add(&fx, 0, &params);

    params.forced = LRT_FORCED;
    is_u64(fx_modify(&fx, ident, &params, LRT_F_FORCED), LRT_INVALID,
           "what there is not cannot be forced");
    is_u64(fx_modify(&fx, ident, &params, LRT_F_WEIGHT), LRT_OK,
           "nobody looks at it unless it is meant");
    fx_snapshot(&fx);
    is_u64(fx.peer[0].entry.params.forced, LRT_AUTO, "nothing is forced");

    fx_close(&fx);
}


/* no configuration forces anything, so none ends it */

static void
test_forced_merge(void)
{
    uint32_t      index[4];
    lrt_conf_t    conf;
    fx_server_t   s;
    lrt_change_t  changes[8];

    fx_open(&fx, CAPACITY);

    memset(&conf, 0, sizeof(lrt_conf_t));
    fx_server(&s, 0, 0);
    conf.server = &s.server;
    conf.n = 1;
    conf.number = 1;
    conf.index = index;
    conf.index_size = 4;

    lrt_merge_index(&conf);
    is_u64(lrt_merge(&fx.table, &conf, changes, fx.now), LRT_OK, "configured");
    fx_snapshot(&fx);
    set_forced(fx.peer[0].entry.ident, LRT_FORCED_DOWN);

    s.server.params.weight = 5;
    conf.number = 2;
    is_u64(lrt_merge(&fx.table, &conf, changes, fx.now), LRT_OK, "reloaded");
    fx_snapshot(&fx);
    is_u64(fx.peer[0].entry.params.weight, 5, "with another weight");
    is_u64(fx.peer[0].entry.params.forced, LRT_FORCED_DOWN, "still forced");

    fx_close(&fx);
}


static void
test_share_by_weight(void)
{
    uint32_t      i;
    uint64_t      ident;
    lrt_params_t  params;

    fx_open(&fx, CAPACITY);

    for (i = 0; i < 4; i++) {
        params = fx_params(i + 1);
        (void) fx_add(&fx, i, &params);
    }

    fx_snapshot(&fx);
    is_u64(fx.snap.shares[LRT_PRIMARY], 10 * LRT_RAMP_FULL,
           "the sum of weights");
    is_u64(fx.snap.shares[LRT_BACKUP], 0, "no backups");

    for (i = 0; i < 4; i++) {
        is_u64(share(i), (i + 1) * LRT_RAMP_FULL, "the weight of server %u", i);
    }

    /* who may get none has no share */

    ident = fx.peer[3].entry.ident;
    set_forced(ident, LRT_FORCED_DOWN);
    fx_snapshot(&fx);
    is_u64(share(3), 0, "forced down");
    is_u64(fx.snap.shares[LRT_PRIMARY], 6 * LRT_RAMP_FULL,
           "the others have it");

    params = fx_params(3);
    params.drain = 1;
    (void) fx_modify(&fx, fx.peer[2].entry.ident, &params, LRT_F_DRAIN);
    fx_snapshot(&fx);
    is_u64(share(2), 0, "draining");
    is_u64(fx.snap.shares[LRT_PRIMARY], 3 * LRT_RAMP_FULL,
           "the others have it");

    fx_close(&fx);
}


static void
test_share_by_time(void)
{
    uint32_t      i;
    uint64_t      fast, slow, heavy;
    lrt_params_t  params;

    fx_open(&fx, CAPACITY);
    (void) fx_method(&fx, LRT_METHOD_least_time);

    params = fx_params(1);
    (void) fx_add(&fx, 0, &params);
    (void) fx_add(&fx, 1, &params);
    fx_snapshot(&fx);

    ok(share(0) > 0 && share(0) == share(1), "unknown servers are equal");

    for (i = 0; i < 400; i++) {
        answer(fx.peer[0].slot, 1000, 100000);
    }

    fx_snapshot(&fx);
    fast = share(0) * expected(0);
    slow = share(1) * expected(1);
    ok(expected(1) > 2 * expected(0), "one is slower than the other");
    ok(fast / 100 * 99 <= slow && slow <= fast / 100 * 101,
       "and gets less by as much");

    params.weight = 4;
    (void) fx_modify(&fx, fx.peer[1].entry.ident, &params, LRT_F_WEIGHT);
    fx_snapshot(&fx);
    heavy = share(1) * expected(1);
    ok(slow / 100 * 396 <= heavy && heavy <= slow / 100 * 404,
       "four times as much with four times the weight");

    fx_close(&fx);
}


static void
test_share_of_tiers(void)
{
    lrt_params_t  params;

    fx_open(&fx, CAPACITY);

    params = fx_params(3);
    (void) fx_add(&fx, 0, &params);
    params.weight = 5;
    params.backup = 1;
    (void) fx_add(&fx, 1, &params);

    fx_snapshot(&fx);
    is_u64(fx.snap.shares[LRT_PRIMARY], 3 * LRT_RAMP_FULL, "primaries");
    is_u64(fx.snap.shares[LRT_BACKUP], 5 * LRT_RAMP_FULL, "backups");

    fx_close(&fx);
}


/* the sum of a snapshot is that of its servers, whatever these are */

static void
test_share_random(void)
{
    uint32_t      i, j, n;
    uint64_t      sum[LRT_TIERS];
    lrt_params_t  params[CAPACITY];

    for (i = 0; i < tap_times(500); i++) {

        fx_open(&fx, CAPACITY);
        (void) fx_method(&fx, methods[tap_below(METHODS)]);

        n = tap_below(CAPACITY + 1);

        for (j = 0; j < n; j++) {
            params[j] = fx_params(tap_once_in(4) ? LRT_MAX_WEIGHT
                                                 : tap_between(1, 100));
            params[j].backup = tap_once_in(3);
            params[j].down = tap_once_in(5);
            params[j].forced = (uint8_t) tap_below(LRT_FORCED);
        }

        if (!check(fx_fill(&fx, params, n) == LRT_OK, "a group of %u", n)) {
            return;
        }

        fx_snapshot(&fx);
        memset(sum, 0, sizeof(sum));

        for (j = 0; j < fx.snap.n; j++) {
            sum[fx.peer[j].entry.params.backup] += share(j);

            if (!check((share(j) == 0)
                       == (fx.peer[j].entry.params.down
                           || fx.peer[j].entry.params.forced
                              == LRT_FORCED_DOWN),
                       "share %llu", (unsigned long long) share(j)))
            {
                return;
            }
        }

        if (!check(sum[LRT_PRIMARY] == fx.snap.shares[LRT_PRIMARY]
                   && sum[LRT_BACKUP] == fx.snap.shares[LRT_BACKUP],
                   "sums of %u servers", n))
        {
            return;
        }

        fx_close(&fx);
    }

    ok(1, "sums of random groups");
}


static void
test_copy_of_removed(void)
{
    lrt_hot_t     hot;
    lrt_detail_t  detail;
    lrt_params_t  params;

    fx_open(&fx, CAPACITY);

    params = fx_params(1);
    (void) fx_add(&fx, 0, &params);
    fx_snapshot(&fx);

    is_u64(lrt_peer_copy(&fx.table, &fx.item[0], &hot, &detail), LRT_OK,
           "a server");
    is_u64(fx_number(lrt_table_sockaddr(&detail)), 0, "is the one it was");

    (void) fx_remove(&fx, fx.peer[0].entry.ident);
    is_u64(lrt_peer_copy(&fx.table, &fx.item[0], &hot, &detail), LRT_MISSING,
           "a removed one");

    (void) fx_add(&fx, 1, &params);
    is_u64(lrt_peer_copy(&fx.table, &fx.item[0], NULL, &detail), LRT_MISSING,
           "and its place has another");

    fx_close(&fx);
}


static void
test_twin(void)
{
    lrt_params_t  params;

    fx_open(&fx, CAPACITY);

    params = fx_params(1);
    (void) fx_add(&fx, 0, &params);
    (void) fx_add(&fx, 1, &params);
    params.backup = 1;
    (void) fx_add(&fx, 1, &params);
    fx_snapshot(&fx);

    ok(!lrt_peer_twin(&fx.table, &fx.item[0]), "in one tier");
    ok(lrt_peer_twin(&fx.table, &fx.item[1]), "in both");
    ok(lrt_peer_twin(&fx.table, &fx.item[2]), "also the backup");

    fx_close(&fx);
}


static lrt_peer_t
a_peer(const lrt_params_t *params)
{
    lrt_peer_t  peer;

    memset(&peer, 0, sizeof(lrt_peer_t));

    peer.entry.ident = 1;
    peer.entry.params = *params;

    return peer;
}


static void
set_forced(uint64_t ident, lrt_forced_e forced)
{
    lrt_params_t  params;

    params = fx_params(1);
    params.forced = (uint8_t) forced;

    if (fx_modify(&fx, ident, &params, LRT_F_FORCED) != LRT_OK) {
        abort();
    }
}


/* requests until one of this server's has failed */

static void
fail(uint64_t ident)
{
    lrt_pick_t  pick;

    do {
        if (fx_pick(&fx, &pick) != LRT_OK) {
            abort();
        }

        (void) fx_end(&fx, &pick, pick.ident == ident ? LRT_ENDED_FAILED
                                                      : LRT_ENDED_UNKNOWN);
    } while (pick.ident != ident);
}


/* a request, and how long it takes the server in the slot, or another */

static void
answer(uint32_t slot, uint64_t us, uint64_t others)
{
    lrt_pick_t     pick;
    lrt_outcome_t  out;

    fx.now += 5;

    if (fx_pick(&fx, &pick) != LRT_OK) {
        abort();
    }

    memset(&out, 0, sizeof(lrt_outcome_t));

    out.status = 200;
    out.header = (pick.slot == slot) ? us : others;

    (void) lrt_release(&fx.table, &pick, LRT_ENDED_WELL, &out, fx.now);
}


/* us that a server of the snapshot is thought to take */

static uint64_t
expected(uint32_t i)
{
    lrt_score_t  score;

    lrt_rank_score(&fx.table, &score, &fx.snap.policy,
                   &fx.item[i].entry.params, &fx.table.hot[fx.item[i].slot],
                   fx.now);

    return lrt_least_time_expected(&score);
}


static uint64_t
share(uint32_t i)
{
    return lrt_peer_share(&fx.table, &fx.snap, &fx.item[i], fx.now);
}


/* how many of so many requests one after the other a server gets */

static unsigned
picked(uint64_t ident, uint32_t requests)
{
    uint32_t    i, n;
    lrt_pick_t  pick;

    for (i = 0, n = 0; i < requests; i++) {

        if (fx_pick(&fx, &pick) == LRT_OK) {
            n += (pick.ident == ident);
            (void) fx_end(&fx, &pick, LRT_ENDED_UNKNOWN);
        }
    }

    return n;
}
