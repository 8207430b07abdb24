
/*
 * Copyright (C) the ngx_http_lrt_upstream_module authors
 *
 * What a pick of iphash_ext costs in a group of so many servers: for clients
 * that are met for the first time, and for the same ones again.  No test: it
 * is run by scripts/affinity, which counts the instructions in cost_first()
 * and cost_again() if it can.
 */


#include "fixture.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>


#define PICKS                500
#define ROUNDS               200         /* of those that are known */
#define NOINLINE             __attribute__((noinline))


static NOINLINE void cost_first(void);
static NOINLINE void cost_again(void);
static void cost_pick(uint32_t client);
static void cost_release(void);
static double cost_ns(void (*what)(void));


static fx_t            fx;
static lrt_owned_t    *owned;
static uint32_t        owned_mask;
static lrt_pick_t      picks[PICKS];
static uint32_t        clients[PICKS];


int
main(int argc, char **argv)
{
    double         first, again;
    uint32_t       i, n, rounds;
    lrt_params_t  *params;

    n = (argc > 1) ? (uint32_t) atoi(argv[1]) : 10;
    rounds = (argc > 2) ? (uint32_t) atoi(argv[2]) : ROUNDS;

    params = calloc(n, sizeof(lrt_params_t));

    /* as much memory as a worker has for them */

    for (owned_mask = 8191; owned_mask < n * 256 && owned_mask < (1 << 20) - 1;
         owned_mask = 2 * owned_mask + 1)
    {
        /* void */
    }

    owned = calloc(owned_mask + 1, sizeof(lrt_owned_t));

    for (i = 0; i < n; i++) {
        params[i] = fx_params(1);
    }

    fx_open(&fx, (n > LRT_MIN_CAPACITY) ? n : LRT_MIN_CAPACITY);

    if (fx_method(&fx, LRT_METHOD_iphash_ext) != LRT_OK
        || fx_fill(&fx, params, n) != LRT_OK)
    {
        return 1;
    }

    for (i = 0; i < PICKS; i++) {
        clients[i] = i * 2654435769u;
    }

    first = cost_ns(cost_first);
    cost_release();

    again = 0;

    for (i = 0; i < rounds; i++) {
        again += cost_ns(cost_again);
        cost_release();
    }

    printf("%u servers: %.1f ns first, %.1f ns again, %u and %u picks\n", n,
           first / PICKS, again / PICKS / rounds, PICKS, PICKS * rounds);

    return 0;
}


static NOINLINE void
cost_first(void)
{
    uint32_t  i;

    for (i = 0; i < PICKS; i++) {
        cost_pick(i);
    }
}


static NOINLINE void
cost_again(void)
{
    uint32_t  i;

    for (i = 0; i < PICKS; i++) {
        cost_pick(i);
    }

    /* two functions, even for a compiler that merges equal ones */

    __asm__ volatile ("" : : "r" (i));
}


static void
cost_pick(uint32_t client)
{
    lrt_ask_t  ask;

    memset(&ask, 0, sizeof(lrt_ask_t));

    ask.now = fx.now;
    ask.wall = fx.now;
    ask.client.data = (const uint8_t *) &clients[client];
    ask.client.len = 4;
    ask.client.bits = 32;
    ask.owned = owned;
    ask.owned_mask = owned_mask;

    if (lrt_select(&fx.table, &fx.owner, &ask, &picks[client]) != LRT_OK) {
        abort();
    }
}


static void
cost_release(void)
{
    uint32_t  i;

    for (i = 0; i < PICKS; i++) {
        (void) fx_end(&fx, &picks[i], LRT_ENDED_WELL);
    }
}


static double
cost_ns(void (*what)(void))
{
    struct timespec  from, to;

    clock_gettime(CLOCK_MONOTONIC, &from);
    what();
    clock_gettime(CLOCK_MONOTONIC, &to);

    return (double) (to.tv_sec - from.tv_sec) * 1e9
           + (double) (to.tv_nsec - from.tv_nsec);
}
