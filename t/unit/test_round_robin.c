
/*
 * Copyright (C) the ngx_http_lrt_upstream_module authors
 */


#include "tap.h"
#include "fixture.h"


#define MOST         10000


static void test_full_periods(void);
static void test_random_groups(void);
static void test_plain_order(void);
static void test_retries(void);
static void test_shut_out(void);
static void test_full_servers(void);
static void test_few_left(void);
static void test_few_heavy_left(void);
static void test_workers(void);
static void test_changes(void);
static uint64_t fill(fx_t *fx, uint32_t n, uint32_t most);
static unsigned period(fx_t *fx, uint64_t picks, const uint64_t *want,
    const char *what);
static void shut_out(fx_t *fx, uint64_t ident);
static uint64_t gcd(uint64_t a, uint64_t b);


static uint32_t      servers;
static lrt_params_t  params[MOST];
static uint64_t      share[MOST];    /* weights without their divisor */
static uint64_t      count[MOST];


int
main(void)
{
    tap_begin();

    run(test_full_periods);
    run(test_random_groups);
    run(test_plain_order);
    run(test_retries);
    run(test_shut_out);
    run(test_full_servers);
    run(test_few_left);
    run(test_few_heavy_left);
    run(test_workers);
    run(test_changes);

    return tap_end();
}


static void
test_full_periods(void)
{
    fx_t      fx;
    uint64_t  total;

    /* 10,000 servers of random weights: in a period each gets its weight */

    total = fill(&fx, MOST, 20);
    ok(period(&fx, total, share, "of 10,000"), "%llu picks of 10,000 servers",
       (unsigned long long) total);
    fx_close(&fx);

    total = fill(&fx, 300, 1000);
    ok(period(&fx, total, share, "of 300"), "%llu picks of 300 servers",
       (unsigned long long) total);
    fx_close(&fx);
}


static void
test_random_groups(void)
{
    fx_t      fx;
    uint32_t  i, groups;
    uint64_t  total, picks;

    groups = 0;

    /* wherever the period begins */

    for (picks = 0; picks < tap_times(300000); picks += 2 * total) {

        total = fill(&fx, tap_between(1, 200), tap_between(1, 1000));

        for (i = tap_below(100); i > 0; i--) {
            lrt_pick_t  pick;

            (void) fx_pick(&fx, &pick);
            (void) fx_end(&fx, &pick, LRT_ENDED_WELL);
        }

        if (!period(&fx, total, share, "first period")
            || !period(&fx, total, share, "second period"))
        {
            return;
        }

        fx_close(&fx);
        groups++;
    }

    ok(1, "%llu picks of %u groups", (unsigned long long) picks, groups);
}


static void
test_plain_order(void)
{
    fx_t        fx;
    uint32_t    i;
    lrt_pick_t  pick;

    (void) fill(&fx, 100, 1);

    /* equal weights: one after the other, as they were configured */

    for (i = 0; i < 300; i++) {
        (void) fx_pick(&fx, &pick);

        if (!check(pick.ident == i % 100 + 1, "pick %u is server %u", i,
                   (uint32_t) pick.ident))
        {
            return;
        }

        (void) fx_end(&fx, &pick, LRT_ENDED_WELL);
    }

    ok(1, "in order of configuration");
    fx_close(&fx);
}


static void
test_retries(void)
{
    fx_t          fx;
    uint32_t      i;
    uint64_t      total;
    lrt_pick_t    pick, again;
    lrt_tried_t   tried;

    total = fill(&fx, 20, 10);

    memset(count, 0, sizeof(count));

    for (i = 0; i < total; i++) {

        (void) fx_pick(&fx, &pick);
        count[pick.ident - 1]++;

        /* retries do not take the turns of other requests */

        if (tap_once_in(3)) {
            tried.slot = pick.slot;
            tried.ident = pick.ident;

            (void) fx_retry(&fx, &tried, 1, &again);
            (void) fx_end(&fx, &again, LRT_ENDED_WELL);
        }

        (void) fx_end(&fx, &pick, LRT_ENDED_UNKNOWN);
    }

    for (i = 0; i < servers; i++) {
        if (!check(count[i] == share[i], "server %u: %u picks", i,
                   (uint32_t) count[i]))
        {
            return;
        }
    }

    ok(1, "first tries of a period are exact whatever is tried again");

    /* and go to the other servers by weight */

    memset(count, 0, sizeof(count));
    total -= share[7];

    tried.ident = 8;
    tried.slot = lrt_table_find_ident(&fx.table,
                                      lrt_table_generation(&fx.table), 8);

    for (i = 0; i < total; i++) {
        (void) fx_retry(&fx, &tried, 1, &again);
        (void) fx_end(&fx, &again, LRT_ENDED_WELL);
        count[again.ident - 1]++;
    }

    for (i = 0; i < servers; i++) {
        if (!check(count[i] == ((i == 7) ? 0 : share[i]),
                   "server %u: %u retries", i, (uint32_t) count[i]))
        {
            return;
        }
    }

    ok(1, "retries of a period are exact as well");

    fx_close(&fx);
}


static void
test_shut_out(void)
{
    fx_t      fx;
    uint32_t  i, j, n;
    uint64_t  total, sum;

    /* some are shut out: their turns go to nobody, the others' are exact */

    for (i = 0; i < tap_times(100); i++) {

        total = fill(&fx, tap_between(4, 60), tap_between(1, 30));
        sum = 0;
        n = 0;

        for (j = 0; j < servers; j++) {

            if (sum * 3 < total && share[j] * 6 < total && tap_once_in(3)) {
                shut_out(&fx, j + 1);

                sum += share[j];
                share[j] = 0;
                n++;
            }
        }

        if (!period(&fx, total - sum, share, "others")) {
            tap_note("%u of %u are shut out", n, servers);
            return;
        }

        fx_close(&fx);
    }

    ok(1, "random groups, up to a third of the weight shut out");
}


static void
test_full_servers(void)
{
    fx_t        fx;
    uint32_t    i, n;
    uint64_t    total;
    lrt_pick_t  pick[400];

    fx_open(&fx, 40);

    for (i = 0; i < 40; i++) {
        params[i] = fx_params(tap_between(1, 9));
        params[i].max_conns = (i < 20) ? tap_between(1, params[i].weight) : 0;
    }

    (void) fx_fill(&fx, params, 40);

    /* no server ever has more requests than it may have */

    for (n = 0; n < 400; n++) {
        (void) fx_pick(&fx, &pick[n]);

        if (!check(params[pick[n].ident - 1].max_conns == 0
                   || pick[n].inflight <= params[pick[n].ident - 1].max_conns,
                   "server %u has %u requests", (uint32_t) pick[n].ident,
                   pick[n].inflight))
        {
            return;
        }
    }

    ok(1, "400 requests at a time, half of the servers limited");

    /* and those that are full are passed over */

    servers = 40;
    total = 0;

    for (i = 0; i < 40; i++) {
        share[i] = 0;

        if (params[i].max_conns == 0) {
            share[i] = params[i].weight;
            total += share[i];
        }
    }

    for (i = 0; i < 20; i++) {
        if (!check(fx.table.hot[i].inflight == (int) params[i].max_conns,
                   "server %u is full", i))
        {
            return;
        }
    }

    ok(1, "the limited servers are full");
    ok(period(&fx, total, share, "unlimited"), "the others are exact");

    for (n = 0; n < 400; n++) {
        (void) fx_end(&fx, &pick[n], LRT_ENDED_WELL);
    }

    ok(fx_quiet(&fx) == NULL, "valid at the end");

    fx_close(&fx);
}


static void
test_few_left(void)
{
    fx_t        fx;
    double      got, want;
    uint32_t    i, n;
    uint64_t    total;
    lrt_pick_t  pick;

    /* a few of many are left: turns do not find them, but they are fair */

    fx_open(&fx, 2000);

    total = 0;

    for (i = 0; i < 2000; i++) {
        params[i] = fx_params(tap_between(1, 20));
        params[i].max_fails = 1;

        if (i % 300 == 7) {
            params[i].max_fails = 0;
            total += params[i].weight;
        }
    }

    (void) fx_fill(&fx, params, 2000);

    for (i = 0; i < 2000; i++) {
        fx.table.hot[i].fails = 1;
        fx.table.hot[i].checked = fx.now;
    }

    memset(count, 0, sizeof(count));
    n = tap_times(20000);

    for (i = 0; i < n; i++) {
        (void) fx_pick(&fx, &pick);
        count[pick.ident - 1]++;
        (void) fx_end(&fx, &pick, LRT_ENDED_UNKNOWN);
    }

    for (i = 0; i < 2000; i++) {

        if (params[i].max_fails) {
            if (!check(count[i] == 0, "server %u is out", i)) {
                return;
            }

            continue;
        }

        got = (double) count[i] / n;
        want = (double) params[i].weight / (double) total;

        if (!check(got > want * 0.8 - 0.01 && got < want * 1.2 + 0.01,
                   "server %u: %.3f of all picks, weight is %.3f", i, got,
                   want))
        {
            return;
        }
    }

    ok(1, "7 of 2000 share by weight");
    fx_close(&fx);
}


static void
test_few_heavy_left(void)
{
    fx_t        fx;
    uint32_t    i, n;
    lrt_pick_t  pick;

    /* the same when their weights are the largest */

    fx_open(&fx, 2000);

    for (i = 0; i < 2000; i++) {
        params[i] = fx_params(LRT_MAX_WEIGHT);
        params[i].max_fails = (i % 300 == 7) ? 0 : 1;
    }

    (void) fx_fill(&fx, params, 2000);

    for (i = 0; i < 2000; i++) {
        fx.table.hot[i].fails = 1;
        fx.table.hot[i].checked = fx.now;
    }

    memset(count, 0, sizeof(count));
    n = tap_times(20000);

    for (i = 0; i < n; i++) {
        (void) fx_pick(&fx, &pick);
        count[pick.ident - 1]++;
        (void) fx_end(&fx, &pick, LRT_ENDED_UNKNOWN);
    }

    for (i = 7; i < 2000; i += 300) {
        if (!check(count[i] > n / 7 * 8 / 10 && count[i] < n / 7 * 12 / 10,
                   "server %u: %u of %u picks", i, (uint32_t) count[i], n))
        {
            return;
        }
    }

    ok(1, "7 of 2000 with the largest weights share alike");
    fx_close(&fx);
}


static void
test_workers(void)
{
    fx_t         fx;
    uint32_t     i;
    uint64_t     total;
    lrt_ask_t    ask;
    lrt_pick_t   pick;
    lrt_owner_t  owner[4];

    total = fill(&fx, 50, 9);

    memset(&ask, 0, sizeof(lrt_ask_t));
    memset(count, 0, sizeof(count));

    ask.now = fx.now;

    for (i = 0; i < 4; i++) {
        owner[i] = fx_claim(&fx, 100 + i);
    }

    /* workers draw from one order: it is exact over all of them */

    for (i = 0; i < total; i++) {
        (void) lrt_select(&fx.table, &owner[tap_below(4)], &ask, &pick);
        (void) fx_end(&fx, &pick, LRT_ENDED_WELL);
        count[pick.ident - 1]++;
    }

    for (i = 0; i < 50; i++) {
        if (!check(count[i] == share[i], "server %u", i)) {
            return;
        }
    }

    ok(1, "a period drawn by four workers");
    ok(fx_quiet(&fx) == NULL, "valid at the end");

    fx_close(&fx);
}


static void
test_changes(void)
{
    fx_t          fx;
    uint32_t      i, n;
    uint64_t      total, divisor, ident;
    lrt_params_t  p;

    /* after each change the new weights are as exact as the old ones were */

    for (n = 0; n < tap_times(50); n++) {

        (void) fill(&fx, tap_between(2, 40), 10);

        for (i = 0; i < servers; i++) {
            share[i] = params[i].weight;
        }

        for (i = 0; i < 5; i++) {

            ident = tap_between(1, servers);
            p = fx_params(tap_between(1, 12));

            if (tap_once_in(3)) {
                p.down = 1;
            }

            (void) fx_modify(&fx, ident, &p, LRT_F_WEIGHT|LRT_F_DOWN);
            share[ident - 1] = p.down ? 0 : p.weight;
        }

        total = 0;
        divisor = 0;

        for (i = 0; i < servers; i++) {
            total += share[i];
            divisor = gcd(share[i], divisor);
        }

        for (i = 0; total && i < servers; i++) {
            share[i] /= divisor;
        }

        if (total && !period(&fx, total / divisor, share, "changed")) {
            return;
        }

        fx_close(&fx);
    }

    ok(1, "random changes of weights, some down");
}


/* a group of random weights; returns the length of its period */

static uint64_t
fill(fx_t *fx, uint32_t n, uint32_t most)
{
    uint32_t  i;
    uint64_t  total, divisor;

    fx_open(fx, n + LRT_MIN_CAPACITY);

    total = 0;
    divisor = 0;
    servers = n;

    for (i = 0; i < n; i++) {
        params[i] = fx_params(tap_between(1, most));
        params[i].max_fails = 1;

        total += params[i].weight;
        divisor = gcd(params[i].weight, divisor);
    }

    for (i = 0; i < n; i++) {
        share[i] = params[i].weight / divisor;
    }

    (void) fx_fill(fx, params, n);

    return total / divisor;
}


static unsigned
period(fx_t *fx, uint64_t picks, const uint64_t *want, const char *what)
{
    uint32_t    i;
    uint64_t    n;
    lrt_pick_t  pick;

    memset(count, 0, servers * sizeof(uint64_t));

    for (n = 0; n < picks; n++) {

        if (!check(fx_pick(fx, &pick) == LRT_OK, "%s: a server", what)) {
            return 0;
        }

        count[pick.ident - 1]++;
        (void) fx_end(fx, &pick, LRT_ENDED_UNKNOWN);
    }

    for (i = 0; i < servers; i++) {
        if (!check(count[i] == want[i], "%s: server %u of %u got %u picks "
                   "instead of %u", what, i, servers, (uint32_t) count[i],
                   (uint32_t) want[i]))
        {
            return 0;
        }
    }

    return 1;
}


static void
shut_out(fx_t *fx, uint64_t ident)
{
    uint32_t  slot;

    slot = lrt_table_find_ident(&fx->table, lrt_table_generation(&fx->table),
                                ident);

    (void) lrt_passive_failed(&fx_entry(fx, slot)->params,
                              &fx->table.hot[slot], fx->now);
}


static uint64_t
gcd(uint64_t a, uint64_t b)
{
    return b ? gcd(b, a % b) : a;
}
