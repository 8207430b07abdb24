
/*
 * Copyright (C) the ngx_http_lrt_upstream_module authors
 *
 * What a list of servers costs: to find out what has to change, to clear slots
 * for new servers, and to commit it, in a group of twice the room that is empty
 * before, or after.  No test: it is run by scripts/bench.
 */


#include "fixture.h"
#include "lrt_plan.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>


#define ROUNDS               7


static void cost_list(const char *what, uint32_t n);
static double cost_ms(void);
static int cost_compare(const void *a, const void *b);


static fx_t            fx;
static lrt_server_t   *want;
static uint8_t        *seen;
static lrt_change_t   *changes;

static double          plans[2][ROUNDS];
static double          clears[2][ROUNDS];
static double          commits[2][ROUNDS];
static uint32_t        round;


int
main(int argc, char **argv)
{
    uint32_t      i, n;
    fx_server_t  *servers;

    n = (argc > 1) ? (uint32_t) atoi(argv[1]) : 10000;

    servers = calloc(n, sizeof(fx_server_t));
    want = calloc(n, sizeof(lrt_server_t));
    seen = calloc(2 * n, 1);
    changes = calloc(2 * n, sizeof(lrt_change_t));

    fx_open_shared(&fx, 2 * n);

    for (i = 0; i < n; i++) {
        fx_server(&servers[i], i, 0);
        want[i] = servers[i].server;
        want[i].params = fx_params(1 + i % 5);
    }

    for (round = 0; round < ROUNDS; round++) {
        cost_list("new", n);
        cost_list("gone", 0);
    }

    for (i = 0; i < 2; i++) {
        qsort(plans[i], ROUNDS, sizeof(double), cost_compare);
        qsort(clears[i], ROUNDS, sizeof(double), cost_compare);
        qsort(commits[i], ROUNDS, sizeof(double), cost_compare);

        printf("%s: plan %.2f ms, clear %.2f ms, commit %.2f ms, at most "
               "%.2f ms\n", i ? "gone" : "new", plans[i][ROUNDS / 2],
               clears[i][ROUNDS / 2], commits[i][ROUNDS / 2], commits[i][ROUNDS - 1]);
    }

    fx_close(&fx);

    return 0;
}


static void
cost_list(const char *what, uint32_t n)
{
    double            begun;
    uint32_t          i, kind, slot;
    lrt_plan_t        plan;
    lrt_change_set_t  set;

    kind = (n == 0);

    memset(&set, 0, sizeof(lrt_change_set_t));
    set.change = changes;

    begun = cost_ms();

    lrt_plan_begin(&plan, &fx.table, seen, &set);

    for (i = 0; i < n; i++) {
        (void) lrt_plan_want(&plan, &want[i]);
    }

    if (lrt_plan_end(&plan) != LRT_OK) {
        fprintf(stderr, "no plan: %s\n", what);
        exit(1);
    }

    plans[kind][round] = cost_ms() - begun;

    begun = cost_ms();

    slot = 0;
    (void) lrt_change_clear(&fx.table, &slot, plan.added);

    clears[kind][round] = cost_ms() - begun;

    begun = cost_ms();

    if (lrt_change_commit(&fx.table, &set, fx.now) != LRT_OK) {
        fprintf(stderr, "no commit: %s\n", what);
        exit(1);
    }

    commits[kind][round] = cost_ms() - begun;
}


static double
cost_ms(void)
{
    struct timespec  ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);

    return (double) ts.tv_sec * 1e3 + (double) ts.tv_nsec / 1e6;
}


static int
cost_compare(const void *a, const void *b)
{
    double  one = *(const double *) a, two = *(const double *) b;

    return (one > two) - (one < two);
}
