
/*
 * Copyright (C) the ngx_http_lrt_upstream_module authors
 *
 * What a pick costs, and with it the end of the request, in a group of so many
 * servers; and how many picks a second one process makes, and two at once,
 * with nothing between them or as much as nginx has to do for a request.
 * No test: it is run by scripts/bench, which counts the instructions of
 * cost_picks() and cost_releases() if it can.
 */


#define _GNU_SOURCE

#include "fixture.h"
#include "lrt_estimate.h"
#include "lrt_least_time.h"
#include "walk.h"

#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>


#define BATCH                16      /* requests in flight, beside the others */
#define ROUND                64      /* batches */
#define ROUNDS               301
#define CLIENTS              512

/* the model's clock: requests in a ms, and those of processes that race */

#define PER_MS               10
#define PER_MS_PARALLEL      1000
#define PER_MS_WORK          100

/* requests in flight on a server of a busy group: 1 to so many */

#define BUSY                 16

#define SAMPLES              200
#define TIMES                32      /* different ones: 5 to 20 ms */

/* two processes: the shorter, the more often is a round undisturbed */

#define RACES                2001
#define RACE_NS              1e6
#define RACE_LATE_NS         5e4
#define NOINLINE             __attribute__((noinline))


typedef struct {
    const char          *name;
    uint32_t             method;
    unsigned             walk:1;
    unsigned             differ:1;   /* times of servers */
} cost_what_t;


typedef struct {
    uint32_t             round;
    uint32_t             ready;
    double               begun;
    double               rate;       /* requests a ms */
    unsigned             alone:1;    /* nobody else wanted the processor */
} cost_shared_t;


static void cost_open(uint32_t n, unsigned busy);
static void cost_clients(uint32_t n);
static void cost_estimates(void);
static void cost_alone(uint32_t rounds);
static void cost_parallel(uint32_t rounds, uint32_t apart, double work);
static double cost_loop(double *from, unsigned *alone);
static void cost_worker(cost_shared_t *shared, uint32_t rounds);
static NOINLINE void cost_picks(void);
static NOINLINE void cost_releases(void);
static void cost_tick(void);
static void cost_work(void);
static void cost_pin(unsigned cpu);
static double cost_ns(clockid_t clock);
static uint32_t cost_random(void);
static double cost_middle(double *value, uint32_t n);
static int cost_compare(const void *a, const void *b);


static const cost_what_t  whats[] = {
    { "round_robin_ext",      LRT_METHOD_round_robin_ext, 0, 0 },
    { "least_conn_ext",       LRT_METHOD_least_conn_ext,  0, 0 },
    { "least_time",           LRT_METHOD_least_time,      0, 0 },
    { "least_time_different", LRT_METHOD_least_time,      0, 1 },
    { "iphash_ext",           LRT_METHOD_iphash_ext,      0, 0 },
    { "walk_round_robin",     0,                          1, 0 },
    { "walk_least_conn",      1,                          1, 0 }
};


static fx_t                fx;
static walk_t             *walk;
static const cost_what_t  *what;

static lrt_ask_t           ask;
static lrt_outcome_t       out;
static lrt_pick_t          picks[BATCH];
static walk_peer_t        *peers[BATCH];

static uint32_t            clients[CLIENTS];
static uint32_t            client;
static uint64_t            times[TIMES];
static uint64_t            requests;
static uint32_t            per_ms = PER_MS;
static uint64_t            begun;
static double              other_work;       /* ns, before each pick */


int
main(int argc, char **argv)
{
    uint32_t  i, n, rounds;

    if (argc < 4) {
        fprintf(stderr, "usage: cost_pick METHOD SERVERS idle|busy "
                        "[ROUNDS|parallel [MICROSECONDS]|apart]\n");
        return 2;
    }

    for (i = 0; i < sizeof(whats) / sizeof(whats[0]); i++) {
        if (strcmp(argv[1], whats[i].name) == 0) {
            what = &whats[i];
        }
    }

    n = (uint32_t) atoi(argv[2]);

    if (what == NULL || n == 0) {
        return 2;
    }

    cost_open(n, strcmp(argv[3], "busy") == 0);

    rounds = ROUNDS;

    if (argc > 4) {

        if (strcmp(argv[4], "parallel") == 0) {
            cost_parallel(RACES, 0, argc > 5 ? 1000 * atof(argv[5]) : 0);
            return 0;
        }

        if (strcmp(argv[4], "apart") == 0) {
            cost_parallel(RACES, n, 0);
            return 0;
        }

        rounds = (uint32_t) atoi(argv[4]);
    }

    cost_alone(rounds);

    return 0;
}


static void
cost_open(uint32_t n, unsigned busy)
{
    uint32_t       i, j, *count;
    lrt_change_t   c;
    lrt_params_t  *params;

    count = calloc(n, sizeof(uint32_t));
    params = calloc(n, sizeof(lrt_params_t));

    for (i = 0; i < n; i++) {
        params[i] = fx_params(1);
        count[i] = busy ? 1 + cost_random() % BUSY : 0;
    }

    for (i = 0; i < TIMES; i++) {
        times[i] = what->differ ? 5000 + 15000 * i / TIMES : 10000;
    }

    memset(&out, 0, sizeof(lrt_outcome_t));

    out.status = 200;
    out.complete = 1;
    out.sent = 300;
    out.received = 5000;

    if (what->walk) {
        walk = walk_open(n, count);
        return;
    }

    fx_open_shared(&fx, (n > LRT_MIN_CAPACITY) ? n : LRT_MIN_CAPACITY);
    begun = fx.now;

    memset(&c, 0, sizeof(lrt_change_t));

    c.type = LRT_SET_POLICY;
    c.policy.method = what->method;

    if (fx_commit(&fx, &c, 1) != LRT_OK || fx_fill(&fx, params, n) != LRT_OK) {
        abort();
    }

    if (what->method == LRT_METHOD_least_time) {
        cost_estimates();
    }

    for (i = 0; i < n; i++) {
        for (j = 0; j < count[i]; j++) {
            (void) lrt_ledger_enter(&fx.table, &fx.owner, i);
        }
    }

    lrt_rank_refresh(&fx.table, fx.now);

    if (what->method == LRT_METHOD_iphash_ext) {
        cost_clients(n);
    }

    free(count);
    free(params);
}


/* clients that have been seen before, in as much memory as a worker has */

static void
cost_clients(uint32_t n)
{
    uint32_t    i, mask;
    lrt_pick_t  pick;

    for (mask = 8191; mask < n * 256 && mask < (1 << 20) - 1; mask = 2 * mask + 1)
    {
        /* void */
    }

    ask.owned = calloc((size_t) mask + 1, sizeof(lrt_owned_t));
    ask.owned_mask = mask;
    ask.client.len = 4;
    ask.client.bits = 32;

    for (i = 0; i < CLIENTS; i++) {
        clients[i] = cost_random();

        ask.now = fx.now;
        ask.client.data = (const uint8_t *) &clients[i];

        if (lrt_select(&fx.table, &fx.owner, &ask, &pick) != LRT_OK) {
            abort();
        }

        (void) lrt_release(&fx.table, &pick, LRT_ENDED_WELL, &out, fx.now);
    }
}


static void
cost_estimates(void)
{
    uint32_t  i, j;
    uint64_t  word[TIMES], *spread;

    spread = &fx.table.head->learned.spread;

    for (i = 0; i < TIMES; i++) {
        word[i] = 0;

        for (j = 0; j < SAMPLES; j++) {
            word[i] = lrt_estimate_add(word[i], times[i], fx.now);
            *spread = lrt_spread_add(*spread, LRT_LOG_ONE / 4);
        }
    }

    for (i = 0; i < fx.table.capacity; i++) {
        fx.table.hot[i].estimate = word[i % TIMES];
        fx.table.hot[i].trial = lrt_trial(fx.now, 0,
                                          lrt_spread_samples(*spread));
    }
}


static void
cost_alone(uint32_t rounds)
{
    double    *pick, *all, from, middle, to;
    uint32_t   i, j;

    pick = calloc(rounds, sizeof(double));
    all = calloc(rounds, sizeof(double));

    for (i = 0; i < rounds; i++) {

        for (j = 0; j < ROUND; j++) {
            from = cost_ns(CLOCK_MONOTONIC);
            cost_picks();
            middle = cost_ns(CLOCK_MONOTONIC);
            cost_releases();
            to = cost_ns(CLOCK_MONOTONIC);

            pick[i] += middle - from;
            all[i] += to - from;

            /* as in a worker: that is no part of a request */

            if (!what->walk) {
                lrt_ledger_audit(&fx.table, fx.reg, ask.now);
            }
        }
    }

    printf("%.1f ns a pick, %.1f ns a request, %u requests\n",
           cost_middle(pick, rounds) / ROUND / BATCH,
           cost_middle(all, rounds) / ROUND / BATCH, rounds * ROUND * BATCH);
}


/*
 * One process and two, in turns.  A round counts if nobody else wanted the
 * processors, which are other work's as well.  "apart": so many servers of its
 * own for the second process, which shares nothing then, to see what the
 * machine does.  "work": ns that a process is busy otherwise before each pick.
 */

static void
cost_parallel(uint32_t rounds, uint32_t apart, double work)
{
    double          *one, *two, rate, from;
    uint32_t         i, ones, twos;
    unsigned         alone;
    cost_shared_t   *shared;

    shared = mmap(NULL, sizeof(cost_shared_t), PROT_READ|PROT_WRITE,
                  MAP_ANON|MAP_SHARED, -1, 0);

    one = calloc(rounds, sizeof(double));
    two = calloc(rounds, sizeof(double));

    if (shared == MAP_FAILED || one == NULL || two == NULL) {
        abort();
    }

    ones = 0;
    twos = 0;
    per_ms = work ? PER_MS_WORK : PER_MS_PARALLEL;
    other_work = work;

    if (fork() == 0) {
        cost_pin(1);

        if (apart) {
            cost_open(apart, 1);
        }

        cost_worker(shared, rounds);
        _exit(0);
    }

    cost_pin(0);

    for (i = 1; i <= rounds; i++) {

        rate = cost_loop(&from, &alone);

        if (alone) {
            one[ones++] = rate;
        }

        lrt_store(&shared->round, i);

        while (lrt_load(&shared->ready) < 2 * i - 1) {
            /* void */
        }

        rate = cost_loop(&from, &alone);

        while (lrt_load(&shared->ready) < 2 * i) {
            sched_yield();
        }

        from -= shared->begun;

        if (alone && shared->alone
            && from < RACE_LATE_NS && from > -RACE_LATE_NS)
        {
            two[twos++] = rate + shared->rate;
        }
    }

    (void) wait(NULL);

    printf("%.0f requests a ms, %.0f of two, %u and %u of %u rounds\n",
           cost_middle(one, ones), cost_middle(two, twos), ones, twos, rounds);
}


static void
cost_worker(cost_shared_t *shared, uint32_t rounds)
{
    uint32_t  i;
    unsigned  alone;

    if (!what->walk) {
        fx.owner = fx_claim(&fx, 2);
    }

    for (i = 1; i <= rounds; i++) {

        while (lrt_load(&shared->round) < i) {
            usleep(100);
        }

        lrt_store(&shared->ready, 2 * i - 1);
        shared->rate = cost_loop(&shared->begun, &alone);
        shared->alone = alone;
        lrt_store(&shared->ready, 2 * i);
    }
}


static double
cost_loop(double *from, unsigned *alone)
{
    double    used, passed;
    uint64_t  n;

    n = requests;
    *from = cost_ns(CLOCK_MONOTONIC);
    used = cost_ns(CLOCK_PROCESS_CPUTIME_ID);

    do {
        cost_picks();
        cost_releases();
        passed = cost_ns(CLOCK_MONOTONIC) - *from;
    } while (passed < RACE_NS);

    used = cost_ns(CLOCK_PROCESS_CPUTIME_ID) - used;
    *alone = used > 0.97 * passed;

    return (double) (requests - n) * 1e6 / passed;
}


static NOINLINE void
cost_picks(void)
{
    uint32_t  i;

    for (i = 0; i < BATCH; i++) {
        cost_tick();

        if (what->walk) {
            peers[i] = walk_pick(walk, what->method, ask.now);
            continue;
        }

        if (lrt_select(&fx.table, &fx.owner, &ask, &picks[i]) != LRT_OK) {
            abort();
        }
    }
}


static NOINLINE void
cost_releases(void)
{
    uint32_t  i;

    for (i = 0; i < BATCH; i++) {

        if (what->walk) {
            walk_release(walk, peers[i], ask.now);
            continue;
        }

        out.time = times[picks[i].slot % TIMES];
        out.header = out.time;
        out.last_byte = out.time;

        (void) lrt_release(&fx.table, &picks[i], LRT_ENDED_WELL, &out, ask.now);
    }
}


static void
cost_tick(void)
{
    ask.now = begun + requests++ / per_ms;
    ask.wall = ask.now;

    cost_work();

    if (ask.owned) {
        client = (client + 1) % CLIENTS;
        ask.client.data = (const uint8_t *) &clients[client];
    }
}


static void
cost_work(void)
{
    double  until;

    if (other_work == 0) {
        return;
    }

    until = cost_ns(CLOCK_MONOTONIC) + other_work;

    while (cost_ns(CLOCK_MONOTONIC) < until) {
        /* void */
    }
}


static void
cost_pin(unsigned cpu)
{
    cpu_set_t  set;

    CPU_ZERO(&set);
    CPU_SET(cpu, &set);

    (void) sched_setaffinity(0, sizeof(set), &set);
}


static double
cost_ns(clockid_t clock)
{
    struct timespec  ts;

    clock_gettime(clock, &ts);

    return (double) ts.tv_sec * 1e9 + (double) ts.tv_nsec;
}


/* the same ones in each run */

static uint32_t
cost_random(void)
{
    static uint32_t  x = 2463534242u;

    x ^= x << 13;
    x ^= x >> 17;
    x ^= x << 5;

    return x;
}


static double
cost_middle(double *value, uint32_t n)
{
    qsort(value, n, sizeof(double), cost_compare);

    return n ? value[n / 2] : 0;
}


static int
cost_compare(const void *a, const void *b)
{
    double  one = *(const double *) a, two = *(const double *) b;

    return (one > two) - (one < two);
}
