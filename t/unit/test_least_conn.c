
/*
 * Copyright (C) the ngx_http_lrt_upstream_module authors
 */


#include "tap.h"
#include "reference.h"


#define MOST         10000


static void test_balanced(void);
static void test_large_groups(void);
static void test_ties_of_all(void);
static void test_ties_of_few(void);
static void test_ties_of_blocks(void);
static void test_ties_of_heavy(void);
static void test_exact_key(void);
static uint64_t key_of(const lrt_method_t *method,
    const lrt_params_t *params, const lrt_hot_t *hot);
static void test_many_requests(void);
static void test_after_changes(void);
static void fill(fx_t *fx, uint32_t n, uint32_t most);


static lrt_params_t  params[MOST];
static uint64_t      count[MOST];


int
main(void)
{
    tap_begin();

    run(test_balanced);
    run(test_large_groups);
    run(test_ties_of_all);
    run(test_ties_of_few);
    run(test_ties_of_blocks);
    run(test_ties_of_heavy);
    run(test_exact_key);
    run(test_many_requests);
    run(test_after_changes);

    return tap_end();
}


static void
test_balanced(void)
{
    fx_t         fx;
    double       low, high, q;
    uint32_t     i, n;
    lrt_pick_t  *pick;

    fill(&fx, 100, 20);

    n = 20000;
    pick = calloc(n, sizeof(lrt_pick_t));

    for (i = 0; i < n; i++) {
        (void) fx_pick(&fx, &pick[i]);
    }

    /* requests that stay are spread by weight: no server is one off */

    low = 1e9;
    high = 0;

    for (i = 0; i < 100; i++) {
        q = (double) fx.table.hot[i].inflight / params[i].weight;

        if (!check((double) fx.table.hot[i].inflight - 1
                   <= (double) fx.table.hot[0].inflight / params[0].weight
                      * params[i].weight + params[i].weight, "server %u", i))
        {
            return;
        }

        low = (q < low) ? q : low;
        high = (q > high) ? q : high;
    }

    ok(high - low <= 1, "requests by weight are %.2f .. %.2f", low, high);

    for (i = 0; i < n; i++) {
        (void) fx_end(&fx, &pick[i], LRT_ENDED_WELL);
    }

    ok(fx_quiet(&fx) == NULL, "valid at the end");

    free(pick);
    fx_close(&fx);
}


static void
test_large_groups(void)
{
    fx_t         fx;
    ref_t        ref;
    uint32_t     i, n;
    lrt_rc_t     rc;
    const char  *why;

    fill(&fx, MOST, 1000);
    ref_open(&ref, &fx, 30000);

    n = tap_times(5000);

    /* the minimum of 10,000 is found wherever it is */

    for (i = 0; i < n; i++) {
        why = ref_pick(&ref, NULL, 0, &rc);

        if (!check(why == NULL && rc == LRT_OK, "pick %u: %s", i, why)) {
            return;
        }

        if (ref.nheld > 3000) {
            (void) ref_end(&ref, tap_below(ref.nheld), LRT_ENDED_WELL);
        }
    }

    while (ref.nheld) {
        (void) ref_end(&ref, 0, LRT_ENDED_WELL);
    }

    ok(1, "%u picks of 10,000 servers", n);
    ok(fx_quiet(&fx) == NULL, "valid at the end");

    ref_close(&ref);
    fx_close(&fx);
}


static void
test_ties_of_all(void)
{
    fx_t        fx;
    uint32_t    i, j, n, total, divisor, a, b, rest;
    lrt_pick_t  pick;

    /* all are idle all the time: turns go round by weight, exactly */

    for (i = 0; i < tap_times(50); i++) {

        n = tap_between(1, 100);
        fill(&fx, n, 20);

        total = 0;
        divisor = 0;

        for (j = 0; j < n; j++) {
            total += params[j].weight;

            for (a = params[j].weight, b = divisor; b;
                 rest = a % b, a = b, b = rest)
            {
                /* void */
            }

            divisor = a;
        }

        memset(count, 0, sizeof(count));

        for (j = 0; j < total / divisor; j++) {
            (void) fx_pick(&fx, &pick);
            (void) fx_end(&fx, &pick, LRT_ENDED_WELL);
            count[pick.ident - 1]++;
        }

        for (j = 0; j < n; j++) {
            if (!check(count[j] == params[j].weight / divisor,
                       "server %u of %u: %u picks, weight %u", j, n,
                       (uint32_t) count[j], params[j].weight / divisor))
            {
                return;
            }
        }

        fx_close(&fx);
    }

    ok(1, "random groups without load");
}


static void
test_ties_of_few(void)
{
    fx_t         fx;
    double       got, want;
    uint32_t     i, draws, total;
    lrt_pick_t  *held, pick;

    /* most have a request: the idle ones of 3000 share by weight */

    fill(&fx, 3000, 20);

    held = calloc(3000, sizeof(lrt_pick_t));
    total = 0;

    for (i = 0; i < 3000; i++) {
        (void) fx_pick(&fx, &held[i]);
    }

    for (i = 0; i < 3000; i++) {
        if (held[i].ident % 200 == 3) {
            (void) fx_end(&fx, &held[i], LRT_ENDED_WELL);
            total += params[held[i].ident - 1].weight;
        }
    }

    memset(count, 0, sizeof(count));
    draws = tap_times(20000);

    for (i = 0; i < draws; i++) {
        (void) fx_pick(&fx, &pick);
        (void) fx_end(&fx, &pick, LRT_ENDED_WELL);
        count[pick.ident - 1]++;
    }

    for (i = 0; i < 3000; i++) {

        if ((i + 1) % 200 != 3) {
            if (!check(count[i] == 0, "server %u is busy", i)) {
                return;
            }

            continue;
        }

        got = (double) count[i] / draws;
        want = (double) params[i].weight / total;

        if (!check(got > want * 0.8 - 0.01 && got < want * 1.2 + 0.01,
                   "server %u: %.3f of all picks, weight is %.3f", i, got,
                   want))
        {
            return;
        }
    }

    ok(1, "15 idle servers of 3000");

    for (i = 0; i < 3000; i++) {
        if (held[i].ident % 200 != 3) {
            (void) fx_end(&fx, &held[i], LRT_ENDED_WELL);
        }
    }

    ok(fx_quiet(&fx) == NULL, "valid at the end");

    free(held);
    fx_close(&fx);
}


static void
test_ties_of_blocks(void)
{
    fx_t         fx;
    double       got, want;
    uint32_t     i, draws, seen;
    uint64_t     heavy, total;
    lrt_pick_t  *held, pick;

    /* the idle ones are in more blocks than are looked at for one pick */

    fill(&fx, MOST, 20);

    held = calloc(MOST, sizeof(lrt_pick_t));
    heavy = 0;
    total = 0;

    for (i = 0; i < MOST; i++) {
        (void) fx_pick(&fx, &held[i]);
    }

    for (i = 0; i < MOST; i++) {
        if (held[i].ident % 100 == 3) {
            (void) fx_end(&fx, &held[i], LRT_ENDED_WELL);

            total += params[held[i].ident - 1].weight;

            if (params[held[i].ident - 1].weight > 10) {
                heavy += params[held[i].ident - 1].weight;
            }
        }
    }

    memset(count, 0, sizeof(count));
    draws = tap_times(20000);

    for (i = 0; i < draws; i++) {
        (void) fx_pick(&fx, &pick);
        (void) fx_end(&fx, &pick, LRT_ENDED_WELL);
        count[pick.ident - 1]++;
    }

    got = 0;
    want = (double) heavy / (double) total;
    seen = 0;

    for (i = 0; i < MOST; i++) {

        if (!check(count[i] == 0 || (i + 1) % 100 == 3, "server %u is busy", i))
        {
            return;
        }

        seen += (count[i] != 0);

        if (params[i].weight > 10) {
            got += (double) count[i] / draws;
        }
    }

    ok(seen > 90, "%u of 100 idle servers of %u", seen, MOST);
    ok(got > want - 0.05 && got < want + 0.05,
       "heavy ones had %.3f of all picks, weight is %.3f", got, want);

    for (i = 0; i < MOST; i++) {
        if (held[i].ident % 100 != 3) {
            (void) fx_end(&fx, &held[i], LRT_ENDED_WELL);
        }
    }

    ok(fx_quiet(&fx) == NULL, "valid at the end");

    free(held);
    fx_close(&fx);
}


static void
test_ties_of_heavy(void)
{
    fx_t        fx;
    uint32_t    i, j, draws;
    lrt_pick_t  pick;

    /* also when weights are so large that their sum is above 2^32 */

    fx_open(&fx, 3000);

    for (i = 0; i < 3000; i++) {
        params[i] = fx_params(LRT_MAX_WEIGHT);
        params[i].down = (i % 1000 >= 2);
    }

    (void) fx_fill(&fx, params, 3000);
    (void) fx_method(&fx, LC);

    memset(count, 0, sizeof(count));
    draws = 6000;

    for (i = 0; i < draws; i++) {
        (void) fx_pick(&fx, &pick);
        (void) fx_end(&fx, &pick, LRT_ENDED_WELL);
        count[pick.ident - 1]++;
    }

    for (i = 0; i < 3; i++) {
        for (j = 0; j < 2; j++) {
            if (!check(count[i * 1000 + j] > 900 && count[i * 1000 + j] < 1100,
                       "server %u: %u of %u picks", i * 1000 + j,
                       (uint32_t) count[i * 1000 + j], draws))
            {
                return;
            }
        }
    }

    ok(1, "6 servers of the largest weight");
    fx_close(&fx);
}


static void
test_exact_key(void)
{
    uint32_t             i, n, same;
    uint64_t             a, b, ka, kb, near;
    lrt_hot_t            one, two;
    lrt_params_t         p, q;
    const lrt_method_t  *method;

    method = lrt_method(LC);
    same = 0;

    memset(&one, 0, sizeof(lrt_hot_t));
    memset(&two, 0, sizeof(lrt_hot_t));

    /* ranks compare as the quotients do, and are equal only if those are */

    n = tap_times(500000);

    for (i = 0; i < n; i++) {

        p = fx_params(tap_between(1, 1 << tap_between(0, 20)));
        q = fx_params(tap_between(1, 1 << tap_between(0, 20)));

        one.inflight = (int32_t) tap_below(1 << tap_between(0, 23));

        /* the nearest neighbour is the hardest to tell */

        near = (uint64_t) one.inflight * q.weight / p.weight + tap_below(2);

        if (near >= 1 << 23) {
            continue;
        }

        two.inflight = (int32_t) near;

        a = (uint64_t) one.inflight * q.weight;
        b = (uint64_t) two.inflight * p.weight;

        ka = key_of(method, &p, &one);
        kb = key_of(method, &q, &two);

        if (!check((a < b) == (ka < kb) && (a == b) == (ka == kb),
                   "%d / %u and %d / %u", one.inflight, p.weight,
                   two.inflight, q.weight))
        {
            return;
        }

        same += (a == b);
    }

    ok(1, "%u pairs of quotients, %u of them equal", n, same);

    /* counts that are off for a moment are no worse than the nearest right */

    p = fx_params(5);
    one.inflight = -3;
    two.inflight = 0;
    is_u64(key_of(method, &p, &one), key_of(method, &p, &two), "below zero");

    one.inflight = INT32_MAX;
    ok(key_of(method, &p, &one) < LRT_KEY_NEVER, "above all");
}


static uint64_t
key_of(const lrt_method_t *method, const lrt_params_t *params,
    const lrt_hot_t *hot)
{
    lrt_score_t  score;

    memset(&score, 0, sizeof(lrt_score_t));

    score.params = params;
    score.hot = hot;

    return method->key(&score);
}


static void
test_many_requests(void)
{
    fx_t        fx;
    uint32_t    i;
    lrt_pick_t  pick;

    /* two servers with millions of requests on them: the lesser one gets it */

    fill(&fx, 2, 1);

    for (i = 0; i < 100; i++) {
        fx.table.hot[0].inflight = (int32_t) tap_below(8000000);
        fx.table.hot[1].inflight = (int32_t) tap_below(8000000);

        lrt_rank_refresh(&fx.table, fx.now);

        (void) fx_pick(&fx, &pick);
        (void) fx_end(&fx, &pick, LRT_ENDED_WELL);

        if (!check(fx.table.hot[pick.slot].inflight
                   <= fx.table.hot[!pick.slot].inflight, "%d and %d",
                   fx.table.hot[0].inflight, fx.table.hot[1].inflight))
        {
            return;
        }
    }

    ok(1, "millions of requests");
    fx_close(&fx);
}


static void
test_after_changes(void)
{
    fx_t          fx;
    lrt_pick_t    a, b, c;
    lrt_params_t  p;

    fill(&fx, 2, 1);

    (void) fx_pick(&fx, &a);
    (void) fx_pick(&fx, &b);

    /* a new server is the least loaded, and a heavier one has more room */

    p = fx_params(1);
    (void) fx_add(&fx, 10, &p);

    (void) fx_pick(&fx, &c);
    is_u64(c.ident, 3, "the new server");

    p.weight = 10;
    (void) fx_modify(&fx, 2, &p, LRT_F_WEIGHT);

    (void) fx_pick(&fx, &c);
    is_u64(c.ident, 2, "the one whose weight has grown");

    (void) fx_pick(&fx, &c);
    is_u64(c.ident, 2, "once more");

    ok(fx_quiet(&fx) == NULL, "valid");

    fx_close(&fx);
}


static void
fill(fx_t *fx, uint32_t n, uint32_t most)
{
    uint32_t  i;

    fx_open(fx, n + LRT_MIN_CAPACITY);

    for (i = 0; i < n; i++) {
        params[i] = fx_params(tap_between(1, most));
    }

    (void) fx_fill(fx, params, n);
    (void) fx_method(fx, LC);
}
