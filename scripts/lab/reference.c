
/*
 * Copyright (C) the ngx_http_lrt_upstream_module authors
 *
 * The same requests and servers as in a live run, with balancers that know
 * what no balancer knows, and without a machine in between.
 */


#define _GNU_SOURCE

#include <getopt.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "model.h"
#include "ours.h"
#include "report.h"


/* what a probe takes on a server of speed 1 */

#define PROBE_TIME  (2 * MILLISECOND)


typedef struct {
    job_t       job;                    /* must be first */
    unsigned    over:1;
} task_t;


/* a server for request i, or -1 to let it wait */

typedef int64_t (*policy_pt)(uint32_t i);


static void run(void);
static void probe(uint64_t now);
static void arrive(uint32_t i, uint64_t now);
static void give(uint32_t i, uint32_t server, uint64_t now);
static void give_waiting(uint64_t now);
static void miss(uint32_t i, uint64_t now);
static void answer(model_t *m, job_t *job, uint32_t status);
static void changed(model_t *m, uint32_t server);
static void finish(uint32_t i, uint32_t outcome, uint32_t server,
    uint64_t now);
static int64_t central(uint32_t i);
static int64_t sed(uint32_t i);
static int64_t lwl(uint32_t i);
static int64_t lct(uint32_t i);
static int64_t jsq(uint32_t i);
static int64_t rr(uint32_t i);
static int64_t uniform(uint32_t i);
static int64_t ours(uint32_t i);
static int64_t least(double (*score)(const host_t *h));
static double sed_score(const host_t *h);
static double lwl_score(const host_t *h);
static double lct_score(const host_t *h);
static double wait_of(const host_t *h);
static double jsq_score(const host_t *h);
static unsigned is_sound(const host_t *h);
static double rate_of(const host_t *h);
static void usage(FILE *out);


static const struct {
    const char  *name;
    policy_pt    choose;
} policies[] = {
    { "central", central },
    { "sed", sed },
    { "lwl", lwl },
    { "lct", lct },
    { "jsq", jsq },
    { "rr", rr },
    { "random", uniform },
    { NULL, NULL }
};


static scenario_t   scenario;
static schedule_t   schedule;
static model_t      model;
static task_t      *tasks;
static record_t    *records;
static policy_pt    choose = central;
static const char  *method;             /* of the module, or NULL */
static uint32_t     max_fails = 1;
static uint64_t     probes;             /* the time between two of a server */
static uint64_t     next_probe = NEVER;
static uint32_t     probed;             /* the next one */
static uint64_t     current;
static uint32_t     first_waiting;      /* of the central queue */
static uint32_t     arrived;
static uint32_t     turn;
static double       chosen_work;
static uint32_t     starts;             /* where ties are looked for */


int
main(int argc, char **argv)
{
    int         option, i;
    report_t    report;
    uint32_t    k;

    static const struct option  options[] = {
        { "policy", required_argument, NULL, 'p' },
        { "max-fails", required_argument, NULL, 'm' },
        { "probes", required_argument, NULL, 'c' },
        { "raw", required_argument, NULL, 'r' },
        { "windows", required_argument, NULL, 'w' },
        { "help", no_argument, NULL, 'h' },
        { NULL, 0, NULL, 0 }
    };

    memset(&report, 0, sizeof(report_t));
    report.program = "reference";
    scenario_init(&scenario);

    while ((option = getopt_long(argc, argv, "f:e:h", options, NULL)) != -1) {
        switch (option) {

        case 'f':
            scenario_file(&scenario, optarg);
            break;

        case 'e':
            scenario_line(&scenario, optarg);
            break;

        case 'p':
            for (i = 0; policies[i].name; i++) {
                if (strcmp(policies[i].name, optarg) == 0) {
                    break;
                }
            }

            method = policies[i].name ? NULL : optarg;
            choose = policies[i].name ? policies[i].choose : ours;
            break;

        case 'm':
            max_fails = (uint32_t) strtoul(optarg, NULL, 10);
            break;

        case 'c':
            probes = strtoul(optarg, NULL, 10) * MILLISECOND;
            break;

        case 'r':
            report.raw = optarg;
            break;

        case 'w':
            report.windows = optarg;
            break;

        case 'h':
            usage(stdout);
            return 0;

        default:
            usage(stderr);
            return 2;
        }
    }

    if (optind < argc) {
        usage(stderr);
        return 2;
    }

    scenario_ready(&scenario);

    if (scenario.nservers == 0) {
        die("no servers");
    }

    schedule_make(&schedule, &scenario.traffic);

    tasks = grow(NULL, schedule.n, sizeof(task_t));
    records = grow(NULL, schedule.n, sizeof(record_t));
    memset(tasks, 0, (schedule.n + !schedule.n) * sizeof(task_t));
    memset(records, 0, (schedule.n + !schedule.n) * sizeof(record_t));

    if (method && !ours_open(method, &scenario, schedule.n, max_fails)) {
        die("there is no policy \"%s\"", method);
    }

    if (method && probes) {
        ours_check();
        next_probe = (uint64_t) (unit(mix(scenario.traffic.seed, 22))
                                 * (double) probes);
    }

    model_init(&model, &scenario, answer, changed);
    run();

    report.scenario = &scenario;
    report.schedule = &schedule;
    report.records = records;
    report.nnames = scenario.nservers;
    report.names = grow(NULL, scenario.nservers, sizeof(char *));

    for (k = 0; k < scenario.nservers; k++) {
        report.names[k] = scenario.servers[k].name;
    }

    report_print(stdout, &report);

    return 0;
}


/*
 * Every request is over at its deadline, and deadlines come in the order of
 * the requests.
 */

static void
run(void)
{
    uint32_t            oldest;
    uint64_t            due, deadline, next, tick;
    const request_t    *requests;

    requests = schedule.requests;
    oldest = 0;

    model_start(&model, 0);

    for ( ;; ) {
        while (oldest < arrived && tasks[oldest].over) {
            oldest++;
        }

        due = arrived < schedule.n ? requests[arrived].due : NEVER;
        deadline = oldest < arrived
                   ? requests[oldest].due + scenario.traffic.deadline : NEVER;

        if (due == NEVER && deadline == NEVER) {
            return;
        }

        next = model_next(&model);
        tick = method ? ours_tick(current) : NEVER;
        tick = tick < next_probe ? tick : next_probe;

        if (tick < due && tick < deadline && tick < next) {
            current = tick;
            probe(current);

        } else if (next <= due && next <= deadline) {
            current = next;
            model_run(&model, next);

        } else if (deadline <= due) {
            current = deadline;
            miss(oldest, deadline);

        } else {
            current = due;
            arrive(arrived++, due);
        }

        give_waiting(current);
    }
}


/* of one server after the other */

static void
probe(uint64_t now)
{
    host_t  *h;

    if (now < next_probe) {
        return;
    }

    h = &model.hosts[probed];

    ours_probed(probed, is_sound(h) ? (uint64_t) (PROBE_TIME / rate_of(h)) : 0,
                now);

    probed = (probed + 1) % scenario.nservers;
    next_probe = now + probes / scenario.nservers;
}


static void
arrive(uint32_t i, uint64_t now)
{
    int64_t  server;

    /* a central queue is served in order */

    if (choose == central) {
        return;
    }

    server = choose(i);

    if (server == -1) {
        finish(i, OUTCOME_REFUSED, NO_SERVER, now);
        return;
    }

    give(i, (uint32_t) server, now);
}


static void
give(uint32_t i, uint32_t server, uint64_t now)
{
    host_t     *h;
    request_t  *r;

    h = &model.hosts[server];
    r = &schedule.requests[i];

    if (h->down || h->refusing) {
        finish(i, OUTCOME_REFUSED, NO_SERVER, now);
        return;
    }

    model_offer(&model, &tasks[i].job, server, r->id, r->work, now);
}


static void
give_waiting(uint64_t now)
{
    int64_t  server;

    if (choose != central) {
        return;
    }

    for ( /* void */ ; first_waiting < arrived; first_waiting++) {
        if (tasks[first_waiting].over) {
            continue;
        }

        server = central(first_waiting);

        if (server == -1) {
            return;
        }

        give(first_waiting, (uint32_t) server, now);
    }
}


static void
miss(uint32_t i, uint64_t now)
{
    model_cancel(&model, &tasks[i].job, now);
    finish(i, OUTCOME_TIMEOUT, NO_SERVER, now);
}


static void
answer(model_t *m, job_t *job, uint32_t status)
{
    (void) m;

    finish((uint32_t) ((task_t *) job - tasks),
           status ? status : OUTCOME_CLOSED,
           status ? job->server : NO_SERVER, current);
}


static void
changed(model_t *m, uint32_t server)
{
    (void) m;
    (void) server;
}


static void
finish(uint32_t i, uint32_t outcome, uint32_t server, uint64_t now)
{
    if (method) {
        ours_ended(i, outcome, now);
    }

    tasks[i].over = 1;
    records[i].outcome = (uint16_t) outcome;
    records[i].server = (uint16_t) server;
    records[i].latency = now - schedule.requests[i].due;
}


/* the fastest idle server; nobody is given to one that will not answer */

static int64_t
central(uint32_t i)
{
    host_t    *h;
    double     best;
    int64_t    found;
    uint32_t   k;

    (void) i;
    found = -1;
    best = 0;

    for (k = 0; k < scenario.nservers; k++) {
        h = &model.hosts[k];

        if (is_sound(h) && h->n[LIST_SERVED] < h->spec->slots
            && rate_of(h) > best)
        {
            best = rate_of(h);
            found = k;
        }
    }

    return found;
}


/* the shortest expected delay, for who knows speeds but not works */

static int64_t
sed(uint32_t i)
{
    (void) i;

    return least(sed_score);
}


static double
sed_score(const host_t *h)
{
    double  present, slots;

    present = h->n[LIST_SERVED] + h->n[LIST_QUEUE];
    slots = h->spec->slots;

    return (1 + (present < slots ? 0 : (present - slots + 1) / slots))
           / rate_of(h);
}


/* the shortest wait, for who knows works, too; the fastest of idle servers */

static int64_t
lwl(uint32_t i)
{
    (void) i;

    return least(lwl_score);
}


static double
lwl_score(const host_t *h)
{
    return h->n[LIST_SERVED] < h->spec->slots ? -rate_of(h) : wait_of(h);
}


/* the earliest answer */

static int64_t
lct(uint32_t i)
{
    chosen_work = schedule.requests[i].work * 1e3;

    return least(lct_score);
}


static double
lct_score(const host_t *h)
{
    return wait_of(h) + chosen_work / rate_of(h);
}


/* until a slot is free for one more */

static double
wait_of(const host_t *h)
{
    job_t          *job;
    double          least;
    uint32_t        i, n, first;
    static double  *left;
    static size_t   room;

    if (h->n[LIST_SERVED] < h->spec->slots) {
        return 0;
    }

    n = h->spec->slots;

    if (n > room) {
        room = n;
        left = grow(left, room, sizeof(double));
    }

    i = 0;

    for (job = h->first[LIST_SERVED]; job != NULL; job = job->next) {
        left[i++] = job->left - (double) (current - job->since) * h->rate;
    }

    job = h->first[LIST_QUEUE];

    for ( ;; ) {
        first = 0;

        for (i = 1; i < n; i++) {
            first = left[i] < left[first] ? i : first;
        }

        least = left[first];

        if (job == NULL) {
            return least / rate_of(h);
        }

        left[first] += job->left;
        job = job->next;
    }
}


/* the shortest queue by slots, whatever becomes of those who join it */

static int64_t
jsq(uint32_t i)
{
    (void) i;

    return least(jsq_score);
}


static double
jsq_score(const host_t *h)
{
    return (h->n[LIST_SERVED] + h->n[LIST_QUEUE] + h->n[LIST_LOST] + 1.0)
           / h->spec->slots;
}


/* ties in turn; unsound servers only if there are no others */

static int64_t
least(double (*score)(const host_t *h))
{
    host_t    *h;
    double     s, best;
    int64_t    found;
    uint32_t   k, n, blind, sound;

    n = scenario.nservers;
    sound = 0;

    for (k = 0; k < n; k++) {
        sound += is_sound(&model.hosts[k]);
    }

    blind = score == jsq_score || sound == 0;
    found = -1;
    best = INFINITY;
    starts++;

    for (k = 0; k < n; k++) {
        h = &model.hosts[(k + starts) % n];

        if (!blind && !is_sound(h)) {
            continue;
        }

        s = score(h);

        if (found == -1 || s < best) {
            best = s;
            found = (k + starts) % n;
        }
    }

    return found;
}


static int64_t
rr(uint32_t i)
{
    (void) i;

    return turn++ % scenario.nservers;
}


static int64_t
uniform(uint32_t i)
{
    return (int64_t) (unit(mix(schedule.requests[i].id, 21))
                      * scenario.nservers);
}


/* a method of the module, which knows no more than in nginx */

static int64_t
ours(uint32_t i)
{
    return ours_choose(i, current);
}


static unsigned
is_sound(const host_t *h)
{
    return !h->down && !h->refusing && !h->hung && !h->stalled
           && h->fail_share == 0;
}


static double
rate_of(const host_t *h)
{
    return h->spec->speed / h->slow;
}


static void
usage(FILE *out)
{
    fputs("usage: reference [--policy NAME] [--max-fails N] [--probes MS]\n"
          "                 [--raw FILE] [--windows NAME,..]\n"
          "                 [-f FILE | -e LINE] ..\n"
          "\n"
          "Computes what \"load\" and \"backends\" would do in the same\n"
          "scenario, and prints the same figures.  Policies:\n"
          "\n"
          "  central  one queue, in order, to the fastest idle server\n"
          "  sed      shortest expected delay by true speeds\n"
          "  lwl      least work left, or the fastest of idle servers\n"
          "  lct      earliest answer, by true speeds and works\n"
          "  jsq      fewest requests by slots\n"
          "  rr       in turn\n"
          "  random   to any\n"
          "\n"
          "and the methods of the module by their names, such as least_time,\n"
          "with max_fails=1 fail_timeout=10s, or as --max-fails says, and a\n"
          "probe of each server every so many ms, which takes as many times\n"
          "2 ms as its requests take longer, or fails if some of them do.\n"
          "\n"
          "The first four give nothing to a server that stalls, hangs,\n"
          "fails or is down; with the others requests to it fail.\n"
          "\n" SCENARIO_HELP, out);
}
