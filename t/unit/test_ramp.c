
/*
 * Copyright (C) the ngx_http_lrt_upstream_module authors
 *
 * Slow start: who has one, how it rises, and what a server gets meanwhile.
 */


#include "tap.h"
#include "timed.h"


#define SLOW_START   10000
#define SERVERS      4
#define MOST         2000


static void test_fraction(void);
static void test_flapping(void);
static void test_falls_of_requests(void);
static void test_turns(void);
static void test_ties(void);
static void test_held(void);
static void test_pointed_at(void);
static void test_bound_of_turns(void);
static void test_max_conns(void);
static void test_nobody_else(void);
static void test_lone(void);
static void test_many_ramps(void);
static void test_at_start(void);
static void test_operator(void);
static void test_trial(void);
static void test_by_order(void);
static void test_over(void);
static void test_move(void);
static void open_group(fx_t *fx, uint32_t method, uint32_t n);
static void set_slow_start(fx_t *fx, uint64_t ms);
static void recover(fx_t *fx, uint32_t slot);
static void modify(fx_t *fx, uint32_t slot, const lrt_params_t *params,
    uint32_t fields);
static void shares_of(fx_t *fx, const char *what);
static void held_by(fx_t *fx, uint32_t n, uint32_t *of);
static unsigned ramps(fx_t *fx, uint32_t slot);


static lrt_pick_t  picks[MOST];


int
main(void)
{
    tap_begin();

    run(test_fraction);
    run(test_flapping);
    run(test_falls_of_requests);
    run(test_turns);
    run(test_ties);
    run(test_held);
    run(test_pointed_at);
    run(test_bound_of_turns);
    run(test_max_conns);
    run(test_nobody_else);
    run(test_lone);
    run(test_many_ramps);
    run(test_at_start);
    run(test_operator);
    run(test_trial);
    run(test_by_order);
    run(test_over);
    run(test_move);

    return tap_end();
}


static void
test_fraction(void)
{
    uint32_t      i, n, before;
    uint64_t      now;
    lrt_hot_t     hot;
    lrt_params_t  params;

    memset(&hot, 0, sizeof(lrt_hot_t));
    params = fx_params(1);

    is_u64(lrt_ramp_permille(&params, &hot, 1000, 5000), 1000, "no ramp");

    lrt_health_ramp(&hot, 5000);

    is_u64(lrt_ramp_permille(&params, &hot, 1000, 5000), 100, "the beginning");
    is_u64(lrt_ramp_permille(&params, &hot, 1000, 4990), 100,
           "for one whose clock is late");
    is_u64(lrt_ramp_permille(&params, &hot, 1000, 5500), 550, "halfway");
    is_u64(lrt_ramp_permille(&params, &hot, 1000, 5999), 999, "the last ms");
    is_u64(lrt_ramp_permille(&params, &hot, 1000, 6000), 1000, "the end");
    is_u64(lrt_ramp_permille(&params, &hot, 0, 5000), 1000, "no slow start");

    params.slow_start = 100;
    is_u64(lrt_ramp_permille(&params, &hot, 1000, 5050), 550, "its own time");
    is_u64(lrt_ramp_permille(&params, &hot, 0, 5050), 550, "and no other");
    params.slow_start = 0;

    is_u64(lrt_ramp_permille(&params, &hot, LRT_MAX_TIME,
                             5000 + LRT_MAX_TIME / 2),
           550, "the longest time");

    params.max_conns = 25;
    is_u64(lrt_ramp_conns(&params, &hot, 1000, 5000), 3, "a tenth of 25");
    is_u64(lrt_ramp_conns(&params, &hot, 1000, 6000), 25, "all of them");
    params.max_conns = 1;
    is_u64(lrt_ramp_conns(&params, &hot, 1000, 5000), 1, "a tenth of one");
    params.max_conns = LRT_MAX_CONNS;
    is_u64(lrt_ramp_conns(&params, &hot, 1000, 6000), LRT_MAX_CONNS, "of many");

    for (i = 0, before = 0, now = 5000; now <= 6000; now++, before = n) {
        n = lrt_ramp_permille(&params, &hot, 1000, now);
        i += (n < before);
    }

    is_u64(i, 0, "it never falls");
}


/* who falls again and again gets more slowly to what broke it */

static void
test_flapping(void)
{
    uint32_t      i;
    lrt_hot_t     hot;
    lrt_params_t  params;

    static const uint64_t  with[] = { 1, 1, 2, 4, 8, 8, 8, 8 };
    static const uint64_t  without[] = { 0, 0, 0, 10, 20, 40, 80, 80 };

    memset(&hot, 0, sizeof(lrt_hot_t));
    params = fx_params(1);

    for (i = 0; i <= LRT_HEALTH_FALLS_MAX; i++) {
        hot.health = LRT_HEALTH_RAMP | i << LRT_HEALTH_FALLS_SHIFT;

        is_u64(lrt_ramp_time(&params, &hot, 30000), 30000 * with[i],
               "%u falls", i);
        is_u64(lrt_ramp_time(&params, &hot, 0), 1000 * without[i],
               "without a slow start");
        is_u64(lrt_ramp_time(&params, &hot, LRT_MAX_TIME), LRT_MAX_TIME,
               "never more than that");
        is_u64(lrt_ramp_permille(&params, &hot, 1000, 500 * with[i]), 550,
               "halfway");
        is_u64(lrt_ramp_permille(&params, &hot, 0, 500 * without[i]),
               without[i] ? 550 : 1000, "halfway without one");
    }

    params.slow_start = 100;
    is_u64(lrt_ramp_time(&params, &hot, 30000), 800, "its own time");
}


/* max_fails counts only within a slow start, and an operator never does */

static void
test_falls_of_requests(void)
{
    lrt_hot_t  hot;

    memset(&hot, 0, sizeof(lrt_hot_t));

    lrt_health_readmit(&hot, 1000);
    is_u64(lrt_health_falls(hot.health), 0, "out of full use");
    lrt_health_readmit(&hot, 2000);
    is_u64(lrt_health_falls(hot.health), 1, "out of a slow start");
    lrt_health_ramp(&hot, 3000);
    is_u64(lrt_health_falls(hot.health), 1, "by order");
    lrt_health_readmit(&hot, 4000);
    lrt_health_readmit(&hot, 3000000);
    is_u64(lrt_health_falls(hot.health), 3, "however long that one took");
    hot.health &= ~(uint64_t) LRT_HEALTH_RAMP;
    lrt_health_readmit(&hot, 3010000);
    is_u64(lrt_health_falls(hot.health), 3, "out of full use again");
}


static void
test_turns(void)
{
    fx_t  fx;

    open_group(&fx, RR, SERVERS);
    shares_of(&fx, "round_robin_ext");
    fx_close(&fx);
}


/* servers without requests are equal, whatever their weights */

static void
test_ties(void)
{
    fx_t  fx;

    open_group(&fx, LC, SERVERS);
    shares_of(&fx, "least_conn_ext");
    fx_close(&fx);
}


/* with requests in flight a server has its part of those */

static void
test_held(void)
{
    fx_t      fx;
    double    want, part;
    uint32_t  i, m, step, of[SERVERS];

    static const uint32_t  methods[] = { LC, LT };

    for (m = 0; m < 2; m++) {

        open_group(&fx, methods[m], SERVERS);

        for (i = 0; i < SERVERS; i++) {
            lt_answer(&fx, i, 20 * LT_MS, LT_SURE);
        }

        recover(&fx, 1);

        for (step = 0; step <= 4; step++) {

            held_by(&fx, 400, of);

            part = (step == 4) ? 1 : 0.1 + 0.9 * step / 4;
            want = 400 * part / (SERVERS - 1 + part);

            ok(of[1] + 2 >= want && of[1] <= want + 2,
               "%s, %u/4: %u held, %.1f are fair",
               lrt_method(methods[m])->name, step, of[1], want);
            ok(fx_quiet(&fx) == NULL, "valid");

            fx.now += SLOW_START / 4;
            lrt_ledger_audit(&fx.table, fx.reg, fx.now);
        }

        fx_close(&fx);
    }
}


/* and of those that are only told where to go */

static void
test_pointed_at(void)
{
    fx_t           fx;
    double         want;
    uint32_t       m, i, n;
    lrt_ask_t      ask;
    lrt_pick_t     pick;
    lrt_detail_t   detail;

    static const uint32_t  methods[] = { RR, LC, LT };

    for (m = 0; m < 3; m++) {

        open_group(&fx, methods[m], SERVERS);
        recover(&fx, 1);
        fx.now += SLOW_START / 2;

        memset(&ask, 0, sizeof(lrt_ask_t));
        ask.now = fx.now;

        for (i = 0, n = 0; i < MOST; i++) {
            if (lrt_select_point(&fx.table, &ask, &pick, &detail) == LRT_OK) {
                n += (pick.slot == 1);
            }
        }

        want = MOST * 0.55 / (SERVERS - 1 + 0.55);

        ok(n > want * 0.95 && n < want * 1.05,
           "%s: %u redirects, %.0f are fair", lrt_method(methods[m])->name, n,
           want);

        fx_close(&fx);
    }
}


/* a server that is still slow does not pile up what its turns bring */

static void
test_bound_of_turns(void)
{
    fx_t        fx;
    uint32_t    i, n;
    lrt_pick_t  pick;

    open_group(&fx, RR, SERVERS);
    recover(&fx, 1);

    for (i = 0; i < 40; i++) {
        while (fx_pick(&fx, &picks[i]) == LRT_OK && picks[i].slot == 1) {
            (void) fx_end(&fx, &picks[i], LRT_ENDED_UNKNOWN);
        }
    }

    for (i = 0, n = 0; i < MOST; i++) {

        if (fx_pick(&fx, &pick) == LRT_OK && pick.slot == 1) {
            n++;

        } else {
            (void) fx_end(&fx, &pick, LRT_ENDED_UNKNOWN);
        }
    }

    is_u64(n, 2, "a tenth of 10, and one");

    fx_close(&fx);
}


static void
test_max_conns(void)
{
    fx_t          fx;
    uint32_t      m, step, of[SERVERS];
    lrt_params_t  params;

    static const uint32_t  methods[] = { RR, LC };
    static const uint32_t  most[] = { 2, 7, 11, 16, 20 };

    for (m = 0; m < 2; m++) {

        open_group(&fx, methods[m], SERVERS);

        params = fx_params(1);
        params.max_conns = 20;
        params.weight = 100;
        modify(&fx, 1, &params, LRT_F_MAX_CONNS|LRT_F_WEIGHT);
        recover(&fx, 1);

        for (step = 0; step <= 4; step++) {
            held_by(&fx, MOST, of);
            is_u64(of[1], most[step], "%s: so many at %u/4",
                   lrt_method(methods[m])->name, step);
            fx.now += SLOW_START / 4;
            lrt_ledger_audit(&fx.table, fx.reg, fx.now);
        }

        fx_close(&fx);
    }
}


/* a request is not refused for the sake of a slow start */

static void
test_nobody_else(void)
{
    fx_t          fx;
    uint32_t      i, of[SERVERS];
    lrt_turn_t    turn;
    lrt_params_t  params;

    open_group(&fx, LC, 2);

    params = fx_params(1);
    params.max_conns = 10;

    for (i = 0; i < 2; i++) {
        modify(&fx, i, &params, LRT_F_MAX_CONNS);
    }

    recover(&fx, 1);

    held_by(&fx, MOST, of);
    is_u64(of[0], 10, "the one that carries all");
    is_u64(of[1], 1, "the one that comes back");

    (void) fx_probe(&fx, 0, 0, LRT_PROBE_FAILED, 1000, &turn);

    held_by(&fx, MOST, of);
    is_u64(of[1], 10, "it is alone: all that it may have");

    (void) fx_probe(&fx, 0, 0, LRT_PROBE_PASSED, 1000, &turn);

    held_by(&fx, MOST, of);
    is_u64(of[0], 10, "both come back");
    is_u64(of[1], 10, "and nobody carries the rest");
    ok(fx_quiet(&fx) == NULL, "valid");

    fx_close(&fx);
}


static void
test_lone(void)
{
    fx_t          fx;
    uint32_t      of[SERVERS];
    lrt_params_t  params;

    open_group(&fx, RR, 1);

    params = fx_params(1);
    params.max_conns = 10;
    modify(&fx, 0, &params, LRT_F_MAX_CONNS);
    recover(&fx, 0);

    held_by(&fx, MOST, of);
    is_u64(of[0], 10, "a lone server has it all");

    fx_snapshot(&fx);
    is_u64(lrt_peer_ramp(&fx.snap, &fx.item[0], &fx.peer[0].hot, fx.now),
           LRT_RAMP_FULL, "as people see");

    fx_close(&fx);
}


/* most of a large group: turns that are given up cost no walk, nor requests */

static void
test_many_ramps(void)
{
    fx_t        fx;
    uint32_t    i, n;
    lrt_pick_t  pick;

    open_group(&fx, RR, 1000);

    for (i = 1; i < 1000; i++) {
        recover(&fx, i);
    }

    for (i = 0, n = 0; i < MOST; i++) {
        n += (fx_pick(&fx, &pick) == LRT_OK);
        (void) fx_end(&fx, &pick, LRT_ENDED_UNKNOWN);
    }

    is_u64(n, MOST, "all requests have a server");
    is_u64(fx.table.head->cursor[LRT_PRIMARY][LRT_CURSOR_SPARSE].value, 0,
           "found without a walk");

    fx_close(&fx);
}


/* what the configuration brings has its place from the first request */

static void
test_at_start(void)
{
    fx_t              fx;
    fx_server_t       s[2];
    lrt_change_t      c[2];
    lrt_params_t      params;
    lrt_change_set_t  set;

    fx_open(&fx, 8);
    set_slow_start(&fx, SLOW_START);

    memset(c, 0, sizeof(c));
    fx_server(&s[0], 0, 0);
    fx_server(&s[1], 1, 0);
    s[1].server.params.down = 1;

    c[0].type = c[1].type = LRT_ADD;
    c[0].server = s[0].server;
    c[1].server = s[1].server;

    memset(&set, 0, sizeof(lrt_change_set_t));
    set.change = c;
    set.n = 2;
    set.from_conf = 1;
    set.reload = 1;

    is_u64(lrt_change_commit(&fx.table, &set, fx.now), LRT_OK, "a start");
    ok(!ramps(&fx, 0) && !ramps(&fx, 1), "no slow start");

    c[0].type = LRT_MODIFY;
    c[0].ident = c[1].ident;
    c[0].slot = c[1].slot;
    c[0].fields = LRT_F_DOWN;
    set.n = 1;

    is_u64(lrt_change_commit(&fx.table, &set, fx.now), LRT_OK, "a reload");
    ok(!fx_entry(&fx, 1)->params.down && !ramps(&fx, 1),
       "none if the configuration says up");

    /* changes of a group with a state file are those of its configuration */

    c[0].server.params.down = 1;
    (void) lrt_change_commit(&fx.table, &set, fx.now);
    c[0].server.params.down = 0;
    set.reload = 0;
    (void) lrt_change_commit(&fx.table, &set, fx.now);
    ok(ramps(&fx, 1), "an edit of a state file is one of an operator");

    params = fx_params(1);
    (void) fx_add(&fx, 2, &params);
    ok(ramps(&fx, 2), "one that is added at run time has it");

    fx_close(&fx);
}


static void
test_operator(void)
{
    fx_t          fx;
    uint32_t      i;
    lrt_params_t  params;

    static const struct {
        uint32_t     field;
        uint8_t      down;
        uint8_t      drain;
        uint8_t      forced;
        uint8_t      then;
        const char  *what;
    } ways[] = {
        { LRT_F_DOWN,   1, 0, LRT_AUTO,        LRT_AUTO,      "down" },
        { LRT_F_DRAIN,  0, 1, LRT_AUTO,        LRT_AUTO,      "drain" },
        { LRT_F_FORCED, 0, 0, LRT_FORCED_DOWN, LRT_AUTO,      "forced down" },
        { LRT_F_FORCED, 0, 0, LRT_FORCED_DOWN, LRT_FORCED_UP, "forced up" },
    };

    for (i = 0; i < sizeof(ways) / sizeof(ways[0]); i++) {

        open_group(&fx, RR, SERVERS);

        params = fx_params(1);
        params.down = ways[i].down;
        params.drain = ways[i].drain;
        params.forced = ways[i].forced;
        modify(&fx, 1, &params, ways[i].field);

        fx.now += 1000;
        ok(!ramps(&fx, 1), "%s", ways[i].what);

        params = fx_params(1);
        params.forced = ways[i].then;
        modify(&fx, 1, &params, ways[i].field);
        ok(ramps(&fx, 1), "and back");

        params.max_conns = 100;
        modify(&fx, 0, &params, LRT_F_MAX_CONNS);
        ok(!ramps(&fx, 0), "another change is none of this kind");

        fx_close(&fx);
    }
}


/* max_fails: not when the time is over, but when a trial succeeds */

static void
test_trial(void)
{
    fx_t          fx;
    uint32_t      i;
    lrt_pick_t    pick;
    lrt_params_t  params;

    open_group(&fx, RR, 2);

    params = fx_params(1);
    params.max_fails = 1;
    modify(&fx, 1, &params, LRT_F_MAX_FAILS);

    for (i = 0; i < 2; i++) {
        (void) fx_pick(&fx, &pick);
        (void) fx_end(&fx, &pick,
                      pick.slot ? LRT_ENDED_FAILED : LRT_ENDED_WELL);
    }

    ok(fx.table.hot[1].fails && !ramps(&fx, 1), "it is shut out");

    fx.now += 10001;

    do {
        (void) fx_pick(&fx, &pick);

        if (pick.slot == 0) {
            (void) fx_end(&fx, &pick, LRT_ENDED_WELL);
        }

    } while (pick.slot == 0);

    ok(!ramps(&fx, 1), "a trial");
    (void) fx_end(&fx, &pick, LRT_ENDED_WELL);
    ok(ramps(&fx, 1), "that succeeds");

    for (i = 0; i < MOST; i++) {
        (void) fx_pick(&fx, &pick);
        (void) fx_end(&fx, &pick, LRT_ENDED_WELL);
    }

    fx.now += 1;
    (void) fx_pick(&fx, &pick);
    (void) fx_end(&fx, &pick, LRT_ENDED_WELL);
    is_u64(lrt_health_since(fx.table.hot[1].health), fx.now - 1,
           "later ones do not begin it again");

    fx_close(&fx);
}


/* who was in use in spite of failing checks has nothing to warm up */

static void
test_by_order(void)
{
    fx_t          fx;
    lrt_params_t  params;

    open_group(&fx, RR, 2);

    params = fx_params(1);
    params.forced = LRT_FORCED_UP;
    modify(&fx, 1, &params, LRT_F_FORCED);
    recover(&fx, 1);
    ok(!ramps(&fx, 1), "it was up by order");

    fx_close(&fx);
}


static void
test_over(void)
{
    fx_t        fx;
    lrt_turn_t  turn;

    open_group(&fx, LC, SERVERS);
    (void) fx_probe(&fx, 1, 0, LRT_PROBE_FAILED, 1000, &turn);

    fx.now += 2 * SLOW_START;
    lrt_ledger_audit(&fx.table, fx.reg, fx.now);
    (void) fx_probe(&fx, 1, 0, LRT_PROBE_PASSED, 1000, &turn);

    fx.now += SLOW_START - 1;
    lrt_ledger_audit(&fx.table, fx.reg, fx.now);
    ok(ramps(&fx, 1), "the last moment");

    fx.now += 100;
    lrt_ledger_audit(&fx.table, fx.reg, fx.now);
    ok(!ramps(&fx, 1), "it is over");
    ok(fx_quiet(&fx) == NULL, "valid");

    set_slow_start(&fx, 100 * SLOW_START);
    ok(!ramps(&fx, 1), "and a longer time does not bring it back");

    recover(&fx, 1);
    set_slow_start(&fx, 0);
    ok(!ramps(&fx, 1), "none without the setting");

    fx_close(&fx);
}


static unsigned
nobody_leaves(const lrt_table_t *t, uint32_t slot, const void *data)
{
    (void) t;
    (void) slot;
    (void) data;

    return 0;
}


static void
test_move(void)
{
    fx_t  fx, to;

    open_group(&fx, RR, SERVERS);
    recover(&fx, 1);
    fx.now += SLOW_START / 2;

    fx_open(&to, 2 * SERVERS);
    to.now = fx.now;

    is_u64(lrt_change_move(&to.table, &fx.table, nobody_leaves, NULL), LRT_OK,
           "another zone");

    fx_snapshot(&to);
    is_u64(lrt_peer_ramp(&to.snap, &to.item[1], &to.peer[1].hot, to.now), 550,
           "it goes on");
    is_u64(to.snap.well[LRT_PRIMARY], SERVERS, "all are well");

    fx_close(&to);
    fx_close(&fx);
}


/* n servers of weight 1 that have been there for long, with a check */

static void
open_group(fx_t *fx, uint32_t method, uint32_t n)
{
    uint32_t       i;
    lrt_params_t  *params;

    fx_open(fx, n + LRT_MIN_CAPACITY);
    fx_method(fx, method);

    params = calloc(n, sizeof(lrt_params_t));

    for (i = 0; i < n; i++) {
        params[i] = fx_params(1);
    }

    (void) fx_fill(fx, params, n);
    free(params);

    set_slow_start(fx, SLOW_START);
    fx->now += SLOW_START;
    lrt_ledger_audit(&fx->table, fx->reg, fx->now);
}


static void
set_slow_start(fx_t *fx, uint64_t ms)
{
    lrt_settings_t  settings;

    memset(&settings, 0, sizeof(lrt_settings_t));
    settings.slow_start = ms;
    settings.nchecks = 1;
    settings.check[0] = fx_check(1, 1);

    (void) fx_settings(fx, &settings);
}


static void
recover(fx_t *fx, uint32_t slot)
{
    lrt_turn_t  turn;

    (void) fx_probe(fx, slot, 0, LRT_PROBE_FAILED, 1000, &turn);
    (void) fx_probe(fx, slot, 0, LRT_PROBE_PASSED, 1000, &turn);
}


static void
modify(fx_t *fx, uint32_t slot, const lrt_params_t *params, uint32_t fields)
{
    is_u64(fx_modify(fx, fx_entry(fx, slot)->ident, params, fields), LRT_OK,
           "a change");
}


/* requests one after the other: counted, and as the API says */

static void
shares_of(fx_t *fx, const char *what)
{
    double      want, share, part;
    uint32_t    i, step, of[SERVERS];
    lrt_pick_t  pick;

    recover(fx, 1);

    for (step = 0; step <= 4; step++) {

        memset(of, 0, sizeof(of));

        for (i = 0; i < MOST; i++) {
            (void) fx_pick(fx, &pick);
            (void) fx_end(fx, &pick, LRT_ENDED_UNKNOWN);
            of[pick.slot]++;
        }

        part = (step == 4) ? 1 : 0.1 + 0.9 * step / 4;
        want = MOST * part / (SERVERS - 1 + part);

        ok(of[1] > want * 0.98 - 2 && of[1] < want * 1.02 + 2,
           "%s, %u/4: %u requests, %.1f are fair", what, step, of[1], want);
        ok(of[0] + 10 > of[2] && of[2] + 10 > of[3] && of[3] + 10 > of[0],
           "the others have alike: %u, %u, %u", of[0], of[2], of[3]);

        fx_snapshot(fx);
        share = (double) lrt_peer_share(&fx->table, &fx->snap, &fx->item[1],
                                        fx->now)
                / (double) fx->snap.shares[LRT_PRIMARY] * MOST;

        ok(share > want - 1 && share < want + 1, "and as people see: %.1f",
           share);

        fx->now += SLOW_START / 4;
        lrt_ledger_audit(&fx->table, fx->reg, fx->now);
    }
}


/* who has how many of so many requests at a time, or as many as there can be */

static void
held_by(fx_t *fx, uint32_t n, uint32_t *of)
{
    uint32_t  i, held;

    memset(of, 0, SERVERS * sizeof(uint32_t));

    for (held = 0; held < n; held++) {

        if (fx_pick(fx, &picks[held]) != LRT_OK) {
            break;
        }

        of[picks[held].slot]++;
    }

    for (i = 0; i < held; i++) {
        (void) fx_end(fx, &picks[i], LRT_ENDED_UNKNOWN);
    }
}


static unsigned
ramps(fx_t *fx, uint32_t slot)
{
    return lrt_ramping(&fx->table.hot[slot]) != 0;
}
