
/*
 * Copyright (C) the ngx_http_lrt_upstream_module authors
 */


#include "tap.h"
#include "timed.h"
#include "lrt_crowd.h"
#include "lrt_fixed.h"
#include "lrt_typical.h"

#define MOST                 64


static void test_key_order(void);
static double expected(const lrt_score_t *s);
static void test_key_limits(void);
static void test_unknown(void);
static void test_middle(void);
static void test_between(void);
static void test_weights(void);
static void test_kinds(void);
static void test_nothing_known(void);
static void test_first_answers(void);
static void test_better_wins(void);
static void test_sample(void);
static void test_failures(void);
static void test_limits_of_servers(void);
static void test_point(void);
static void test_point_extremes(void);


static lrt_params_t  params[MOST];


int
main(void)
{
    tap_begin();

    run(test_key_order);
    run(test_key_limits);
    run(test_unknown);
    run(test_middle);
    run(test_between);
    run(test_weights);
    run(test_kinds);
    run(test_nothing_known);
    run(test_first_answers);
    run(test_better_wins);
    run(test_sample);
    run(test_failures);
    run(test_limits_of_servers);
    run(test_point);
    run(test_point_extremes);

    return tap_end();
}


/* time, times a power of the requests by weight that it would have */

static void
test_key_order(void)
{
    double               a, b;
    uint32_t             i, n;
    uint64_t             ka, kb;
    lrt_hot_t            one, two;
    lrt_score_t          s, q;
    lrt_params_t         p[2];
    lrt_policy_t         pol;
    const lrt_method_t  *method;

    method = lrt_method(LT);
    n = tap_times(200000);

    memset(&pol, 0, sizeof(lrt_policy_t));
    memset(&one, 0, sizeof(lrt_hot_t));
    memset(&two, 0, sizeof(lrt_hot_t));
    memset(&s, 0, sizeof(lrt_score_t));

    s.policy = &pol;
    s.now = 1000;
    s.norm.typical = 13 * LRT_LOG_ONE;
    s.norm.kind[0] = s.norm.typical;
    s.norm.kind[1] = s.norm.typical;
    q = s;

    s.hot = &one;
    s.params = &p[0];
    q.hot = &two;
    q.params = &p[1];

    for (i = 0; i < n; i++) {

        p[0] = fx_params(tap_between(1, 1 << tap_between(0, 16)));
        p[1] = fx_params(tap_between(1, 1 << tap_between(0, 16)));

        one.estimate = lt_word(1 << tap_between(1, 27), 9);
        two.estimate = lt_word(1 << tap_between(1, 27), 9);
        one.inflight = (int32_t) tap_below(1 << tap_between(0, 20));
        two.inflight = (int32_t) tap_below(1 << tap_between(0, 20));

        s.power = tap_between(LRT_CROWD_ONE / 2, LRT_CROWD_ONE);
        q.power = s.power;

        a = expected(&s);
        b = expected(&q);

        ka = method->key(&s);
        kb = method->key(&q);

        if (!check((a + 1e-3 >= b || ka < kb) && (b + 1e-3 >= a || kb < ka),
                   "%g and %g octaves: %llu, %llu", a, b,
                   (unsigned long long) ka, (unsigned long long) kb)
            || !check(ka > 0 && ka < LRT_KEY_NEVER, "%g is a rank", a))
        {
            return;
        }
    }

    ok(1, "%u pairs", n);

    /* equal quotients of requests and weight are equal ranks */

    for (i = 1; i < 1000; i++) {
        one.inflight = (int32_t) i - 1;
        two.inflight = (int32_t) i * 7 - 1;
        two.estimate = one.estimate;
        p[0] = fx_params(3);
        p[1] = fx_params(21);

        if (!check(method->key(&s) == method->key(&q), "%u of 3", i)) {
            return;
        }
    }

    ok(1, "equal quotients");
}


/* the logarithm of the rank */

static double
expected(const lrt_score_t *s)
{
    double  load;

    load = (double) lrt_log2((uint64_t) s->hot->inflight + 1)
           - (double) lrt_log2(s->params->weight);

    load *= (double) s->power / LRT_CROWD_ONE;

    return ((double) lrt_log2(lrt_least_time_expected(s)) + load)
           / 4294967296.0;
}


static void
test_key_limits(void)
{
    uint32_t             i;
    uint64_t             least, most, key;
    lrt_hot_t            hot;
    lrt_score_t          s;
    lrt_params_t         p;
    lrt_policy_t         pol;
    const lrt_method_t  *method;

    method = lrt_method(LT);

    memset(&pol, 0, sizeof(lrt_policy_t));
    memset(&hot, 0, sizeof(lrt_hot_t));
    memset(&s, 0, sizeof(lrt_score_t));

    s.policy = &pol;
    s.hot = &hot;
    s.params = &p;
    s.now = 1000;
    s.norm.typical = 30 * LRT_LOG_ONE;
    s.norm.kind[0] = s.norm.typical;
    s.norm.kind[1] = s.norm.typical;
    s.norm.spread = lrt_spread_add(0, 0);
    s.power = LRT_CROWD_ONE;

    p = fx_params(1);
    hot.inflight = INT32_MAX;
    hot.estimate = lt_word(UINT64_MAX, LT_SURE);
    most = method->key(&s);

    ok(most < LRT_KEY_NEVER && most > (uint64_t) 44 << 32,
       "the longest time and all requests of the world");

    p = fx_params(LRT_MAX_WEIGHT);
    ok(method->key(&s) < most && method->key(&s) > 0, "the largest weight");

    s.norm.typical = LRT_LOG_ONE;
    s.norm.kind[0] = s.norm.typical;
    s.norm.kind[1] = s.norm.typical;
    hot.inflight = 0;
    hot.estimate = lt_word(0, LT_SURE);
    least = method->key(&s);
    ok(least > 0, "the least of all is above that of a trial");

    ok(lrt_method_score(LT, least) <= lrt_method_score(LT, most)
       && lrt_method_score(LT, most) < lrt_method_score(LT, LRT_KEY_NEVER - 1),
       "what is shown of them, and of a rank of another method");

    p = fx_params(1);
    hot.inflight = 0;
    least = method->key(&s);
    hot.inflight = -3;
    is_u64(method->key(&s), least, "a count that is off for a moment");

    /* whatever times say of weights; suspects alone are beyond 2^40 */

    for (i = 0; i < 100000; i++) {
        hot.inflight = (int32_t) tap_below(1 << 20);
        hot.estimate = lt_word(tap_random() >> tap_below(64), 9);
        p = fx_params(tap_between(1, LRT_MAX_WEIGHT) >> tap_below(31));
        p.weight += (p.weight == 0);

        s.norm.typical = tap_between(1, 30 * LRT_LOG_ONE);
        s.norm.kind[0] = tap_between(1, s.norm.typical);
        s.norm.kind[1] = tap_between(s.norm.typical, 30 * LRT_LOG_ONE);
        s.norm.between = (uint32_t) tap_random() >> tap_below(32);
        s.power = tap_between(LRT_CROWD_ONE / 2, LRT_CROWD_ONE);
        s.weight = tap_below(31 * LRT_LOG_ONE);
        s.slope = tap_below(2 * LRT_LOG_ONE + 1);

        key = method->key(&s);

        if (!check(key > 0 && key < (uint64_t) 1 << 40,
                   "weight %u, typical %u and %u, slope %u: %llx", p.weight,
                   s.norm.typical, s.weight, s.slope,
                   (unsigned long long) key)
            || !check(method->share(&s) <= (uint64_t) 1 << 43, "a share"))
        {
            return;
        }
    }

    ok(1, "ranks and shares of any weights and times");
}


/* who is not known is as the others are */

static void
test_unknown(void)
{
    fx_t      fx;
    uint32_t  typical;

    lt_open(&fx, 4, 1, 0);

    lt_answer(&fx, 0, 1 << 12, LT_SURE);
    lt_answer(&fx, 1, 1 << 14, LT_SURE);

    typical = (uint32_t) lrt_load(&fx.table.head->typical.time);

    is_u64(typical, 13 * LRT_LOG_ONE, "typical is the mean in octaves");
    is_u64(lt_expected(&fx, 2), 1 << 13, "an unknown server is typical");
    is_u64(lt_expected(&fx, 3), lt_expected(&fx, 2),
           "so all of them are equal");
    is_u64(lrt_load(&fx.table.head->typical.slow),
           typical + LRT_LOG_ONE * 5 / 4,
           "one is slow if 2.5 octaves above the other, not above the mean");
    ok(lt_expected(&fx, 0) < lt_expected(&fx, 2)
       && lt_expected(&fx, 1) > lt_expected(&fx, 2),
       "between those of which more is known");

    /* the next audit brings the mean to those that are left */

    (void) fx_remove(&fx, 2);
    lrt_rank_refresh(&fx.table, fx.now);

    is_u64(lrt_load(&fx.table.head->typical.time), 12 * LRT_LOG_ONE,
           "who was removed does not count");

    fx_close(&fx);
}


/*
 * How much servers differ, without what chance makes: times that are random
 * alike show nothing, and a server that is much slower is not counted.
 */

static void
test_between(void)
{
    fx_t      fx;
    uint32_t  i, j;
    uint64_t  got;

    lt_open(&fx, 8, 1, 0);

    for (j = 0; j < 200; j++) {
        for (i = 0; i < 8; i++) {
            lt_answer(&fx, i, 1 << tap_between(10, 16), 1);
            fx.now++;
        }
    }

    lrt_rank_refresh(&fx.table, fx.now);
    got = lrt_load(&fx.table.head->typical.between);

    ok(got < lrt_estimate_square(LRT_LOG_ONE / 3),
       "times that are spread alike: a variance of %llu",
       (unsigned long long) got);

    /* three of them half as slow again, one a thousand times */

    for (j = 0; j < 400; j++) {
        for (i = 0; i < 8; i++) {
            lt_answer(&fx, i, (i == 7) ? 1000 * LT_MS
                              : (i < 4) ? LT_MS : LT_MS * 3 / 2, 1);
            fx.now++;
        }
    }

    lrt_rank_refresh(&fx.table, fx.now);
    got = lrt_load(&fx.table.head->typical.between);

    ok(got > lrt_estimate_square(LRT_LOG_ONE / 4)
       && got < lrt_estimate_square(LRT_LOG_ONE * 2 / 5),
       "two kinds .58 of an octave apart: %llu is that of .3",
       (unsigned long long) got);

    /* one alone tells nothing of others */

    for (i = 1; i < 8; i++) {
        (void) fx_remove(&fx, i + 1);
    }

    lrt_rank_refresh(&fx.table, fx.now);
    is_u64(lrt_load(&fx.table.head->typical.between), 0, "of one: nothing");

    fx_close(&fx);
}


/*
 * Weights of servers that are fast as well, or slow as well, count for what
 * the times do not say; others in full.
 */

static void
test_weights(void)
{
    fx_t          fx;
    uint32_t      i, n[4];
    lrt_pick_t    pick;
    lrt_params_t  p;

    lt_open(&fx, 4, 1, 0);

    p = fx_params(4);

    for (i = 0; i < 4; i++) {
        lt_answer(&fx, i, (i < 2) ? 1 << 12 : 1 << 14, LT_SURE);

        if (i < 2) {
            (void) fx_modify(&fx, fx_entry(&fx, i)->ident, &p, LRT_F_WEIGHT);
        }
    }

    lrt_rank_refresh(&fx.table, fx.now);
    is_u64(lrt_load(&fx.table.head->typical.weight), LRT_LOG_ONE,
           "1 and 4: typical is 2");
    ok(lrt_load(&fx.table.head->typical.slope) > LRT_LOG_ONE * 79 / 100
       && lrt_load(&fx.table.head->typical.slope) < LRT_LOG_ONE * 81 / 100,
       "twice the weight for half of the time, of which a fifth counts");

    memset(n, 0, sizeof(n));

    /* a quarter of the time, by the power of .8: 7.5 requests for one */

    for (i = 0; i < 130; i++) {
        (void) fx_pick(&fx, &pick);
        n[pick.slot]++;
    }

    ok(n[0] + n[1] > 110 && n[0] + n[1] < 119,
       "four times as fast and as heavy: %u of 130, nearly as without weights",
       n[0] + n[1]);

    fx_close(&fx);

    /* of one speed: weights count */

    lt_open(&fx, 4, 1, 0);

    for (i = 0; i < 4; i++) {
        lt_answer(&fx, i, 1 << 13, LT_SURE);

        if (i < 2) {
            (void) fx_modify(&fx, fx_entry(&fx, i)->ident, &p, LRT_F_WEIGHT);
        }
    }

    lrt_rank_refresh(&fx.table, fx.now);
    memset(n, 0, sizeof(n));

    for (i = 0; i < 100; i++) {
        (void) fx_pick(&fx, &pick);
        n[pick.slot]++;
    }

    is_u64(n[0] + n[1], 80, "of one speed: four times the requests");

    fx_close(&fx);
}


/* servers of two speeds are alike within each, those of many are not */

static void
test_kinds(void)
{
    fx_t        fx;
    uint32_t    i, j;
    uint64_t    us;
    lrt_norm_t  norm;

    lt_open(&fx, 10, 1, 0);

    for (i = 0; i < 50; i++) {
        for (j = 0; j < 10; j++) {
            us = lrt_estimate_time((j < 5 ? 10 : 12) * LRT_LOG_ONE
                                   + tap_below(2 * LRT_LOG_ONE));
            lt_answer(&fx, j, us, 1);
        }
    }

    lrt_rank_refresh(&fx.table, fx.now);
    lrt_typical_norm(&fx.table, &norm);

    ok(norm.kind[0] > 11 * LRT_LOG_ONE - LRT_LOG_ONE / 3
       && norm.kind[0] < 11 * LRT_LOG_ONE + LRT_LOG_ONE / 3
       && norm.kind[1] > 13 * LRT_LOG_ONE - LRT_LOG_ONE / 3
       && norm.kind[1] < 13 * LRT_LOG_ONE + LRT_LOG_ONE / 3,
       "two kinds, of 2 and 8 ms");
    ok(norm.between < lrt_estimate_square(LRT_LOG_ONE / 8),
       "within which servers do not differ by more than chance");

    lt_answer(&fx, 9, 1 << 11, LT_SURE);
    lt_answer(&fx, 9, 1 << 11, LT_SURE);
    lrt_rank_refresh(&fx.table, fx.now);
    lrt_typical_norm(&fx.table, &norm);

    ok(lt_expected(&fx, 9) < lrt_estimate_time(12 * LRT_LOG_ONE),
       "who becomes as fast as the others is one of them");

    fx_close(&fx);

    /* spread evenly over two octaves */

    lt_open(&fx, 8, 1, 0);

    for (i = 0; i < 8; i++) {
        lt_answer(&fx, i, lrt_estimate_time(11 * LRT_LOG_ONE
                                            + i * LRT_LOG_ONE * 2 / 7),
                  LT_SURE);
    }

    lrt_rank_refresh(&fx.table, fx.now);
    lrt_typical_norm(&fx.table, &norm);

    is_u64(norm.kind[0], norm.typical, "many speeds: no kinds");
    is_u64(norm.kind[1], norm.typical, "nor another one");

    fx_close(&fx);

    /* one alone is none, nor are two of three */

    lt_open(&fx, 3, 1, 0);

    for (i = 0; i < 3; i++) {
        lt_answer(&fx, i, 1 << (i < 2 ? 11 : 15), LT_SURE);
    }

    lrt_rank_refresh(&fx.table, fx.now);
    lrt_typical_norm(&fx.table, &norm);

    is_u64(norm.kind[1], norm.typical, "a server that is slow is no kind");

    fx_close(&fx);
}


/* a few that are slow do not make the others seem to be slower */

static void
test_middle(void)
{
    fx_t      fx;
    uint32_t  i;

    lt_open(&fx, 6, 1, 0);

    for (i = 0; i < 6; i++) {
        lt_answer(&fx, i, 1 << (i < 4 ? 13 : 15), LT_SURE);
    }

    lrt_rank_refresh(&fx.table, fx.now);

    is_u64(lrt_load(&fx.table.head->typical.time), 13 * LRT_LOG_ONE,
           "two of six are slow: the others are typical");
    is_u64(lrt_load(&fx.table.head->typical.slow),
           13 * LRT_LOG_ONE + LRT_LOG_ONE * 5 / 2,
           "slow is who is 2.5 octaves above them");

    lt_answer(&fx, 3, 1 << 15, LT_SURE);
    lrt_rank_refresh(&fx.table, fx.now);

    ok(lrt_load(&fx.table.head->typical.time)
       > 13 * LRT_LOG_ONE + LRT_LOG_ONE / 2,
       "three of six: neither half is");

    fx_close(&fx);
}


/* before anything is known: the load alone, ties by weight */

static void
test_nothing_known(void)
{
    fx_t        fx;
    uint32_t    i, count[3];
    lrt_pick_t  pick[12], one;

    lt_open(&fx, 3, 1, 0);

    params[0] = fx_params(2);
    (void) fx_modify(&fx, 1, &params[0], LRT_F_WEIGHT);

    memset(count, 0, sizeof(count));

    for (i = 0; i < 12; i++) {
        (void) fx_pick(&fx, &pick[i]);
        count[pick[i].slot]++;
    }

    ok(count[0] == 6 && count[1] == 3 && count[2] == 3,
       "requests that stay: %u, %u, %u of 12 for weights 2, 1, 1", count[0],
       count[1], count[2]);

    for (i = 0; i < 12; i++) {
        (void) fx_end(&fx, &pick[i], LRT_ENDED_WELL);
    }

    memset(count, 0, sizeof(count));

    for (i = 0; i < 300; i++) {
        (void) fx_pick(&fx, &one);
        (void) fx_end(&fx, &one, LRT_ENDED_WELL);
        count[one.slot]++;
    }

    /* an idle heavy server is better than an idle light one */

    is_u64(count[0], 300, "requests one at a time: the heaviest server");

    ok(fx_quiet(&fx) == NULL, "valid");

    fx_close(&fx);
}


/* who happens to be slower once, when all is new, is no slow server */

static void
test_first_answers(void)
{
    fx_t        fx;
    uint32_t    i, count[2];
    lrt_pick_t  pick;

    memset(count, 0, sizeof(count));

    lt_open(&fx, 2, 1, 0);

    for (i = 0; i < 20; i++) {
        (void) fx_pick(&fx, &pick);
        lt_finish(&fx, &pick, (i == 0 ? 30 : 10) * LT_MS);
        count[pick.slot]++;
    }

    is_u64(count[0], 10, "requests one at a time: each server has half");
    is_u64(count[1], 10, "of them");
    fx_close(&fx);

    /* and who is that much slower each time does not need all of them */

    memset(count, 0, sizeof(count));

    lt_open(&fx, 2, 1, 0);

    for (i = 0; i < 100; i++) {
        (void) fx_pick(&fx, &pick);
        lt_finish(&fx, &pick, (pick.slot ? 10 : 50) * LT_MS);
        count[pick.slot]++;
    }

    ok(count[0] < 10, "five times as slow: %u of 100 requests", count[0]);
    fx_close(&fx);
}


/* a server that is five times as fast has five requests before another */

static void
test_better_wins(void)
{
    fx_t        fx;
    uint32_t    i, n;
    lrt_pick_t  pick[MOST];

    lt_open(&fx, 4, 1, 0);

    lt_answer(&fx, 0, 10 * LT_MS, LT_SURE);

    for (i = 1; i < 4; i++) {
        lt_answer(&fx, i, 100 * LT_MS, LT_SURE);
    }

    for (n = 0; n < MOST; n++) {
        (void) fx_pick(&fx, &pick[n]);

        if (pick[n].slot != 0) {
            break;
        }
    }

    tap_note("%u requests for the fast server before one for another: it is"
             " expected to take %llu us, they %llu us", n,
             (unsigned long long) lt_expected(&fx, 0),
             (unsigned long long) lt_expected(&fx, 1));

    is_u64(n, 17, "until 0.8 power of its queue is ten times as long");

    fx_close(&fx);
}


/* "header" and "last_byte" look at one time each */

static void
test_sample(void)
{
    fx_t           fx;
    lrt_outcome_t  out;

    memset(&out, 0, sizeof(lrt_outcome_t));

    out.status = 200;
    out.header = 1 << 10;
    out.last_byte = 1 << 15;

    lt_open(&fx, 2, 0, 0);
    lt_end(&fx, 0, LRT_ENDED_WELL, &out);
    is_u64(lrt_estimate_log(fx.table.hot[0].estimate), 10 * LRT_LOG_ONE,
           "header: the time to the header");
    fx_close(&fx);

    lt_open(&fx, 2, 1, 0);
    lt_end(&fx, 0, LRT_ENDED_WELL, &out);
    is_u64(lrt_estimate_log(fx.table.hot[0].estimate), 15 * LRT_LOG_ONE,
           "last_byte: the time to the end");

    /* an answer of which the end is not known says nothing */

    out.last_byte = 0;
    lt_end(&fx, 1, LRT_ENDED_WELL, &out);
    is_u64(fx.table.hot[1].estimate, 0, "last_byte: without an end nothing");

    is_u64(lrt_spread_samples(lrt_load(&fx.table.head->learned.spread)), 1,
           "nor is it counted as a sample");

    fx_close(&fx);
}


/* a failure never makes a server look better */

static void
test_failures(void)
{
    fx_t           fx;
    uint32_t       i;
    uint64_t       before, time, key;
    lrt_ended_e    how;
    lrt_outcome_t  out;

    lt_open(&fx, 2, 1, 0);

    lt_answer(&fx, 0, 50 * LT_MS, LT_SURE);
    lt_answer(&fx, 1, 10 * LT_MS, LT_SURE);

    /* who gives up says nothing */

    before = fx.table.hot[0].estimate;

    for (i = 0; i < 100; i++) {
        memset(&out, 0, sizeof(lrt_outcome_t));
        out.time = 1;
        lt_end(&fx, 0, LRT_ENDED_UNKNOWN, &out);
    }

    is_u64(fx.table.hot[0].estimate, before, "no end without an answer counts");

    time = lt_expected(&fx, 0);
    key = lrt_load(&fx.table.key[LRT_PRIMARY][0]);

    for (i = 0; i < 1000; i++) {
        memset(&out, 0, sizeof(lrt_outcome_t));

        how = (i % 3 == 0) ? LRT_ENDED_FAILED
              : (i % 3 == 1) ? LRT_ENDED_UNKNOWN : LRT_ENDED_WELL;

        out.failed = (how == LRT_ENDED_FAILED);
        out.status = (how == LRT_ENDED_WELL) ? 500 : 0;
        out.time = 1;

        lt_end(&fx, 0, how, &out);
    }

    ok(lrt_estimate_log(fx.table.hot[0].estimate)
       > lrt_estimate_log(before) + 2 * LRT_LOG_ONE,
       "failures, however fast, make it slower");
    ok(lt_expected(&fx, 0) > 4 * time, "in what is expected, too");
    ok(lrt_load(&fx.table.key[LRT_PRIMARY][0]) > 4 * key, "and in its rank");
    is_u64(lt_next(&fx), 1, "the other server is the better one");

    fx_close(&fx);
}


/* who may not take requests gets none, however fast he is */

static void
test_limits_of_servers(void)
{
    fx_t          fx;
    lrt_pick_t    pick, held;
    lrt_params_t  p;

    lt_open(&fx, 3, 1, 0);

    p = fx_params(1);
    p.backup = 1;
    (void) fx_add(&fx, 500, &p);

    lt_answer(&fx, 0, 10 * LT_MS, LT_SURE);
    lt_answer(&fx, 1, 200 * LT_MS, LT_SURE);
    lt_answer(&fx, 2, 2000 * LT_MS, LT_SURE);
    lt_answer(&fx, 3, 1 * LT_MS, LT_SURE);

    is_u64(lt_next(&fx), 0,
           "the fastest primary, although a backup is faster");

    p = fx_params(1);
    p.max_conns = 1;
    (void) fx_modify(&fx, 1, &p, LRT_F_MAX_CONNS);

    (void) fx_pick(&fx, &held);
    is_u64(held.slot, 0, "one request for max_conns=1");
    is_u64(lt_next(&fx), 1, "the next one to the second best");
    lt_finish(&fx, &held, 10 * LT_MS);
    is_u64(lt_next(&fx), 0, "and then the fastest again");

    p.drain = 1;
    (void) fx_modify(&fx, 1, &p, LRT_F_DRAIN);
    is_u64(lt_next(&fx), 1, "not the one that drains");

    p = fx_params(1);
    p.down = 1;
    (void) fx_modify(&fx, 2, &p, LRT_F_DOWN);
    is_u64(lt_next(&fx), 2, "nor one that is down");

    p = fx_params(1);
    p.max_fails = 1;
    (void) fx_modify(&fx, 3, &p, LRT_F_MAX_FAILS);
    p.drain = p.down = 0;
    (void) fx_modify(&fx, 1, &p, LRT_F_DRAIN);

    (void) fx_pick(&fx, &pick);
    (void) fx_end(&fx, &pick, LRT_ENDED_WELL);
    is_u64(pick.slot, 0, "the fastest is back");

    p.down = 1;
    (void) fx_modify(&fx, 1, &p, LRT_F_DOWN);
    (void) fx_modify(&fx, 3, &p, LRT_F_DOWN);
    is_u64(lt_next(&fx), 3, "no primary: the backup");

    fx_close(&fx);
}


/* for requests that are not counted: shares by weight over time */

static void
test_point(void)
{
    fx_t          fx;
    double        sum, share[4];
    uint32_t      i, n, count[4];
    lrt_ask_t     ask;
    lrt_pick_t    pick;
    lrt_detail_t  detail;

    lt_open(&fx, 4, 1, 0);

    params[0] = fx_params(3);
    (void) fx_modify(&fx, 1, &params[0], LRT_F_WEIGHT);
    (void) fx_modify(&fx, 4, &params[0], LRT_F_WEIGHT);

    /* times of a slow application, of which weights say nothing */

    lt_answer(&fx, 0, 40 * LT_MS, LT_SURE);
    lt_answer(&fx, 1, 40 * LT_MS, LT_SURE);
    lt_answer(&fx, 2, 400 * LT_MS, LT_SURE);
    lt_answer(&fx, 3, 4000 * LT_MS, LT_SURE);

    memset(&ask, 0, sizeof(lrt_ask_t));
    ask.now = fx.now;

    memset(count, 0, sizeof(count));
    n = 20000;

    for (i = 0; i < n; i++) {
        (void) lrt_select_point(&fx.table, &ask, &pick, &detail);
        count[pick.slot]++;
    }

    sum = 0;

    for (i = 0; i < 4; i++) {
        share[i] = (i % 3 ? 1.0 : 3.0) / (double) lt_expected(&fx, i);
        sum += share[i];
    }

    for (i = 0; i < 4; i++) {
        share[i] *= n / sum;

        ok(count[i] > share[i] * 0.95 - 2 && count[i] < share[i] * 1.05 + 2,
           "server %u is named %u times of %u, its share is %.0f", i, count[i],
           n, share[i]);
    }

    is_u64(fx.table.hot[0].inflight, 0, "and nobody is counted in");

    fx_close(&fx);
}


static void
test_point_extremes(void)
{
    fx_t          fx;
    uint32_t      i, n, count[MOST];
    lrt_ask_t     ask;
    lrt_pick_t    pick;
    lrt_detail_t  detail;

    lt_open(&fx, MOST, 1, 0);

    memset(&ask, 0, sizeof(lrt_ask_t));
    ask.now = fx.now;

    for (i = 0; i < MOST; i++) {
        params[i] = fx_params(LRT_MAX_WEIGHT);
        (void) fx_modify(&fx, i + 1, &params[i], LRT_F_WEIGHT);
    }

    memset(count, 0, sizeof(count));
    n = MOST * 100;

    for (i = 0; i < n; i++) {
        (void) lrt_select_point(&fx.table, &ask, &pick, &detail);
        count[pick.slot]++;
    }

    for (i = 0; i < MOST; i++) {
        if (!check(count[i] >= 95 && count[i] <= 105,
                   "server %u is named %u times of %u", i, count[i], n))
        {
            return;
        }
    }

    ok(1, "the largest weights, of nothing known");
    fx_close(&fx);

    lt_open(&fx, 2, 1, 0);
    lt_answer(&fx, 0, UINT64_MAX, LT_SURE);
    lt_answer(&fx, 1, UINT64_MAX, LT_SURE);

    memset(count, 0, sizeof(count));

    for (i = 0; i < 100; i++) {
        (void) lrt_select_point(&fx.table, &ask, &pick, &detail);
        count[pick.slot]++;
    }

    ok(count[0] == 50 && count[1] == 50, "the longest times: %u, %u",
       count[0], count[1]);
    fx_close(&fx);
}
