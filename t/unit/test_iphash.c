
/*
 * Copyright (C) the ngx_http_lrt_upstream_module authors
 */


#include "tap.h"
#include "fixture.h"
#include "lrt_iphash.h"


#define IPHASH               LRT_METHOD_iphash_ext

#define CLIENTS              20000
#define OWNED                (1 << 14)


typedef struct {
    fx_t             fx;
    lrt_policy_t     policy;
    lrt_owned_t      owned[OWNED];
    uint8_t          client[CLIENTS][16];
    uint64_t         ident[CLIENTS];     /* of the server that it got last */
    uint32_t         bits;
    uint32_t         len;
} group_t;


static void test_remove(void);
static void test_add(void);
static void test_weights(void);
static void test_weight_changes(void);
static void test_down(void);
static void test_spill(void);
static void test_even(void);
static void test_small_memory(void);
static void test_bits(void);
static void test_no_client(void);
static void test_no_memory(void);
static void test_balance(void);
static void test_balance_extremes(void);
static void test_same_elsewhere(void);
static void test_ten_thousand(void);

static void bound(group_t *g, uint32_t permille);
static group_t *group(uint32_t capacity, uint32_t n, uint32_t weight);
static void discard(group_t *g);
static uint64_t ask(group_t *g, const uint8_t *client, unsigned keep);
static uint32_t moved(group_t *g, uint64_t from, uint64_t to);
static uint32_t count(group_t *g, uint64_t ident);


int
main(void)
{
    tap_begin();

    run(test_remove);
    run(test_add);
    run(test_weights);
    run(test_weight_changes);
    run(test_down);
    run(test_spill);
    run(test_even);
    run(test_small_memory);
    run(test_bits);
    run(test_no_client);
    run(test_no_memory);
    run(test_balance);
    run(test_balance_extremes);
    run(test_same_elsewhere);
    run(test_ten_thousand);

    return tap_end();
}


/* whoever was not on the server that goes stays where he was */

static void
test_remove(void)
{
    group_t   *g;
    uint32_t   of_it, n;

    g = group(64, 50, 1);

    of_it = count(g, 8);
    fx_remove(&g->fx, 8);

    n = moved(g, 8, 0);

    is_u64(n, of_it, "all clients of the removed server move, no other");
    is_u64(count(g, 8), 0, "and none comes back to it");

    discard(g);
}


/* a new server takes its share, and nobody moves between the old ones */

static void
test_add(void)
{
    group_t       *g;
    uint32_t       n;
    uint64_t       ident;
    lrt_params_t   params;

    g = group(64, 50, 1);

    params = fx_params(1);
    ident = fx_add(&g->fx, 1000, &params);

    n = moved(g, 0, ident);

    tap_note("%u of %u clients moved, %u would be 1/(n+1)", n, CLIENTS,
             CLIENTS / 51);
    ok(n > CLIENTS / 51 * 7 / 10 && n < CLIENTS / 51 * 13 / 10,
       "about 1/(n+1) of the clients move");
    is_u64(count(g, ident), n, "all of them to the new server");

    fx_remove(&g->fx, ident);
    is_u64(moved(g, ident, 0), n, "and only they move when it goes again");

    discard(g);
}


static void
test_weights(void)
{
    group_t   *g;
    uint32_t   n;

    g = group(64, 10, 3);

    /* the first server has weight 3, nine have 1: a quarter */

    n = count(g, 1);

    tap_note("%u of %u clients on a server with a quarter of the weight", n,
             CLIENTS);
    ok(n > CLIENTS / 4 * 9 / 10 && n < CLIENTS / 4 * 11 / 10,
       "shares follow weights");

    discard(g);
}


/* more weight attracts clients, less gives some up; nobody else moves */

static void
test_weight_changes(void)
{
    group_t       *g;
    uint32_t       n, before;
    lrt_params_t   params;

    g = group(64, 20, 1);

    before = count(g, 5);
    params = fx_params(3);
    fx_modify(&g->fx, 5, &params, LRT_F_WEIGHT);

    n = moved(g, 0, 5);
    ok(n > before, "clients come to a server with more weight");
    is_u64(count(g, 5), before + n, "and none of its own leaves");

    params.weight = 1;
    fx_modify(&g->fx, 5, &params, LRT_F_WEIGHT);

    is_u64(moved(g, 5, 0), n, "the same clients leave when it is taken back");
    is_u64(count(g, 5), before, "and the old ones stay");

    discard(g);
}


/* clients of a server that is down go elsewhere and come back */

static void
test_down(void)
{
    group_t       *g;
    uint32_t       of_it;
    lrt_params_t   params;

    g = group(64, 20, 1);

    of_it = count(g, 7);
    params = fx_params(1);
    params.down = 1;
    fx_modify(&g->fx, 7, &params, LRT_F_DOWN);

    is_u64(moved(g, 7, 0), of_it, "only its clients move");

    params.down = 0;
    fx_modify(&g->fx, 7, &params, LRT_F_DOWN);

    is_u64(moved(g, 0, 7), of_it, "and they come back");
    is_u64(count(g, 7), of_it, "all of them");

    discard(g);
}


/* most servers are down: the rest share the clients, each keeps its own */

static void
test_spill(void)
{
    group_t       *g;
    uint32_t       i, a, b;
    uint64_t       got;
    lrt_params_t   params;

    g = group(64, 50, 1);

    params = fx_params(1);
    params.down = 1;

    for (i = 1; i <= 48; i++) {
        fx_modify(&g->fx, i, &params, LRT_F_DOWN);
    }

    for (i = 0; i < CLIENTS; i++) {
        g->ident[i] = ask(g, g->client[i], 0);
    }

    a = count(g, 49);
    b = count(g, 50);

    is_u64(a + b, CLIENTS, "all clients are on the two that are left");
    ok(a > CLIENTS * 4 / 10 && b > CLIENTS * 4 / 10, "about half on each");

    for (i = 0; i < CLIENTS; i++) {
        got = ask(g, g->client[i], 0);

        if (!check(got == g->ident[i], "client %u stays", i)) {
            break;
        }
    }

    discard(g);
}


/* the points are enough of them to be fair among a hundred */

static void
test_even(void)
{
    group_t   *g;
    uint32_t   i, n, most, least;

    g = group(128, 100, 1);

    most = 0;
    least = CLIENTS;

    for (i = 1; i <= 100; i++) {
        n = count(g, i);
        most = (n > most) ? n : most;
        least = (n < least) ? n : least;
    }

    tap_note("%u clients on 100 servers: %u to %u", CLIENTS, least, most);
    ok(most < 2 * CLIENTS / 100 && least > CLIENTS / 100 / 2,
       "no server has half or twice its share");

    discard(g);
}


/* less memory costs time, and changes nothing */

static void
test_small_memory(void)
{
    group_t    *g;
    uint32_t    i;
    lrt_ask_t   a;
    lrt_pick_t  pick;

    g = group(64, 20, 1);

    memset(g->owned, 0, sizeof(g->owned));

    for (i = 0; i < CLIENTS / 10; i++) {
        memset(&a, 0, sizeof(lrt_ask_t));

        a.client.data = g->client[i];
        a.client.len = 4;
        a.client.bits = 32;
        a.owned = g->owned;
        a.owned_mask = 3;

        if (!check(lrt_select(&g->fx.table, &g->fx.owner, &a, &pick) == LRT_OK
                   && pick.ident == g->ident[i], "client %u", i))
        {
            break;
        }

        fx_end(&g->fx, &pick, LRT_ENDED_WELL);
    }

    ok(1, "the same servers with room for four points");

    discard(g);
}


/* what is behind the bits does not count, what is before does */

static void
test_bits(void)
{
    group_t   *g;
    uint8_t    a[16] = { 0x20, 1, 0xd, 0xb8, 1, 2, 3, 4, 5 };
    uint8_t    b[16] = { 0x20, 1, 0xd, 0xb8, 1, 2, 3, 4, 9, 9, 9 };
    uint32_t   i, other;
    uint64_t   got;

    g = group(64, 50, 1);

    g->len = 16;
    g->bits = 64;
    got = ask(g, a, 0);

    is_u64(ask(g, b, 0), got, "one /64, one server");

    other = 0;

    for (i = 0; i < 100; i++) {
        b[7] = (uint8_t) (i + 5);
        other += (ask(g, b, 0) != got);
    }

    ok(other > 80, "other /64, other servers");

    /* 60 bits: the last four of the eighth byte are behind them */

    g->bits = 60;
    a[7] = 0x40;
    b[7] = 0x4f;
    is_u64(ask(g, a, 0), ask(g, b, 0), "bits within a byte");

    discard(g);
}


/* without a key it is round robin */

static void
test_no_client(void)
{
    group_t   *g;
    uint32_t   i;

    g = group(64, 10, 1);
    g->len = 0;

    for (i = 0; i < 100; i++) {
        if (!check(ask(g, g->client[0], 0) == i % 10 + 1, "turn %u", i)) {
            break;
        }
    }

    ok(1, "servers take turns");

    discard(g);
}


/* a worker that gets no memory for owners still finds servers, and tells */

static void
test_no_memory(void)
{
    group_t    *g;
    uint32_t    i;
    lrt_ask_t   a;
    lrt_pick_t  pick;

    g = group(64, 10, 1);

    memset(&a, 0, sizeof(lrt_ask_t));

    a.client.data = g->client[0];
    a.client.len = 4;
    a.client.bits = 32;
    a.owned_mask = OWNED - 1;
    a.explain = 1;

    for (i = 0; i < 20; i++) {
        if (!check(lrt_select(&g->fx.table, &g->fx.owner, &a, &pick) == LRT_OK
                   && pick.reason.why == LRT_WHY_TURN, "turn %u", i))
        {
            break;
        }

        fx_end(&g->fx, &pick, LRT_ENDED_WELL);
    }

    ok(1, "servers take turns");

    discard(g);
}


/* one client asks all the time: its server gets no more than its bound */

static void
test_balance(void)
{
    group_t   *g;
    uint32_t   i, slot, limit;

    g = group(64, 10, 1);
    bound(g, 1250);

    for (i = 0; i < 1000; i++) {
        (void) ask(g, g->client[0], 1);

        limit = ((i + 1) * 1250 + 10 * 1000 - 1) / (10 * 1000);

        for (slot = 0; slot < 10; slot++) {
            if (!check(g->fx.table.hot[slot].inflight <= (int32_t) limit,
                       "request %u: %d on slot %u, at most %u", i,
                       g->fx.table.hot[slot].inflight, slot, limit))
            {
                discard(g);
                return;
            }
        }
    }

    ok(1, "never more than 1.25 of the mean, rounded up");

    discard(g);
}


/* two servers share what there is; the second has nothing to do yet */

static void
test_balance_extremes(void)
{
    group_t            *g;
    uint32_t            i, j, own;
    uint64_t            full, ident;
    lrt_params_t        params;

    static const struct {
        uint32_t        weight;
        int32_t         held;
    } all[] = {
        { 65535, 1 << 20 }, { LRT_MAX_WEIGHT, 1 << 20 },
        { 1, INT32_MAX - 1 }, { 65535, INT32_MAX - 1 },
        { LRT_MAX_WEIGHT, INT32_MAX - 1 },
    };

    for (i = 0; i < sizeof(all) / sizeof(all[0]); i++) {

        g = group(64, 2, all[i].weight);
        params = fx_params(all[i].weight);
        fx_modify(&g->fx, 2, &params, LRT_F_WEIGHT);
        bound(g, 1250);

        /* of all requests it may have 5 of 8 */

        lrt_store(&g->fx.table.head->held_more, all[i].held);
        full = ((uint64_t) all[i].held + 1) * 5 / 8;
        own = 0;

        for (j = 0; j < CLIENTS; j++) {

            lrt_store(&g->fx.table.hot[0].inflight, 0);
            ident = ask(g, g->client[j], 0);

            lrt_store(&g->fx.table.hot[0].inflight, (int32_t) full - 1);

            if (!check(ask(g, g->client[j], 0) == ident,
                       "weight %u, %llu requests: not yet full",
                       all[i].weight, (unsigned long long) full - 1))
            {
                discard(g);
                return;
            }

            lrt_store(&g->fx.table.hot[0].inflight, (int32_t) full + 1);

            if (!check(ask(g, g->client[j], 0) == 2,
                       "weight %u, %llu requests: full",
                       all[i].weight, (unsigned long long) full + 1))
            {
                discard(g);
                return;
            }

            own += (ident == 1);
        }

        if (!check(own > CLIENTS / 4 && own < CLIENTS * 3 / 4,
                   "weight %u: %u of %u clients", all[i].weight, own, CLIENTS))
        {
            discard(g);
            return;
        }

        discard(g);
    }

    ok(1, "the largest weights with the most requests have their bounds");
}


static void
bound(group_t *g, uint32_t permille)
{
    lrt_change_t  c;

    memset(&c, 0, sizeof(lrt_change_t));

    c.type = LRT_SET_POLICY;
    c.policy.method = IPHASH;
    c.policy.balance = permille;
    c.policy.ipv4 = 32;

    fx_commit(&g->fx, &c, 1);
}


/* other idents, another order, another table: owners are the same */

static void
test_same_elsewhere(void)
{
    group_t       *a, *b;
    uint32_t       i;
    uint64_t       x, y;
    lrt_params_t   params;

    a = group(64, 20, 1);
    b = group(128, 0, 1);

    params = fx_params(1);

    for (i = 20; i > 0; i--) {
        (void) fx_add(&b->fx, i - 1, &params);
    }

    for (i = 0; i < CLIENTS; i++) {
        x = ask(a, a->client[i], 0);
        y = ask(b, a->client[i], 0);

        if (!check(x + y == 21, "client %u: server %u and %u from behind", i,
                   (unsigned) x, (unsigned) y))
        {
            break;
        }
    }

    ok(1, "the same server for each client");

    discard(a);
    discard(b);
}


/* the first look at a point costs a walk over all servers, the next does not */

static void
test_ten_thousand(void)
{
    group_t          *g;
    uint32_t          i, n;
    struct timespec   t0, t1;
    double            first, next;

    g = group(10000, 10000, 1);
    n = 200;

    memset(g->owned, 0, sizeof(g->owned));

    clock_gettime(CLOCK_MONOTONIC, &t0);

    for (i = 0; i < n; i++) {
        (void) ask(g, g->client[i], 0);
    }

    clock_gettime(CLOCK_MONOTONIC, &t1);
    first = (double) (t1.tv_sec - t0.tv_sec) * 1e6
            + (double) (t1.tv_nsec - t0.tv_nsec) / 1e3;

    clock_gettime(CLOCK_MONOTONIC, &t0);

    for (i = 0; i < n; i++) {
        (void) ask(g, g->client[i], 0);
    }

    clock_gettime(CLOCK_MONOTONIC, &t1);
    next = (double) (t1.tv_sec - t0.tv_sec) * 1e6
           + (double) (t1.tv_nsec - t0.tv_nsec) / 1e3;

    tap_note("10,000 servers: %.1f us for a new point, %.2f us for a known one,"
             " sanitizers on", first / n, next / n);
    ok(next < first, "a known point is found without the walk");

    discard(g);
}


static group_t *
group(uint32_t capacity, uint32_t n, uint32_t weight)
{
    group_t       *g;
    uint32_t       i, j;
    lrt_params_t  *params;

    g = calloc(1, sizeof(group_t));
    params = calloc(n + 1, sizeof(lrt_params_t));

    fx_open(&g->fx, capacity);
    fx_method(&g->fx, IPHASH);

    for (i = 0; i < n; i++) {
        params[i] = fx_params(i ? 1 : weight);
    }

    if (n) {
        fx_fill(&g->fx, params, n);
    }

    free(params);

    g->len = 4;
    g->bits = 32;

    for (i = 0; i < CLIENTS; i++) {
        for (j = 0; j < 4; j++) {
            g->client[i][j] = (uint8_t) tap_below(256);
        }

        if (n && n < 1000) {
            g->ident[i] = ask(g, g->client[i], 0);
        }
    }

    return g;
}


static void
discard(group_t *g)
{
    fx_close(&g->fx);
    free(g);
}


static uint64_t
ask(group_t *g, const uint8_t *client, unsigned keep)
{
    lrt_ask_t   a;
    lrt_pick_t  pick;

    memset(&a, 0, sizeof(lrt_ask_t));

    a.client.data = client;
    a.client.len = g->len;
    a.client.bits = g->bits;
    a.owned = g->owned;
    a.owned_mask = OWNED - 1;

    if (lrt_select(&g->fx.table, &g->fx.owner, &a, &pick) != LRT_OK) {
        return 0;
    }

    if (!keep) {
        fx_end(&g->fx, &pick, LRT_ENDED_WELL);
    }

    return pick.ident;
}


/*
 * Asks for all clients again and counts those with another server; each must
 * have left "from", if that is given, and be on "to".
 */

static uint32_t
moved(group_t *g, uint64_t from, uint64_t to)
{
    uint32_t  i, n;
    uint64_t  got;

    n = 0;

    for (i = 0; i < CLIENTS; i++) {
        got = ask(g, g->client[i], 0);

        if (got == g->ident[i]) {
            continue;
        }

        n++;

        if (!check((from == 0 || g->ident[i] == from)
                   && (to == 0 || got == to),
                   "client %u went from %u to %u", i,
                   (unsigned) g->ident[i], (unsigned) got))
        {
            return n;
        }

        g->ident[i] = got;
    }

    return n;
}


static uint32_t
count(group_t *g, uint64_t ident)
{
    uint32_t  i, n;

    for (i = 0, n = 0; i < CLIENTS; i++) {
        n += (g->ident[i] == ident);
    }

    return n;
}
