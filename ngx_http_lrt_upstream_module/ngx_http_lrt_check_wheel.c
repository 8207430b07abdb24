
/*
 * Copyright (C) the ngx_http_lrt_upstream_module authors
 *
 * When a server is probed.  Tasks stand in a wheel of buckets of 10 ms each;
 * those of a bucket whose time has come queue up, and start as long as time
 * and connections allow.
 */


#include "ngx_http_lrt_checker.h"


#define NGX_HTTP_LRT_CHECK_BUSY     1024     /* probes on their way */
#define NGX_HTTP_LRT_CHECK_COUNT    500      /* ms between counts of requests */
#define NGX_HTTP_LRT_CHECK_PART     8        /* that a group may have */
#define NGX_HTTP_LRT_CHECK_FIRST    1000     /* ms in which first ones start */
#define NGX_HTTP_LRT_CHECK_EXTRA    100      /* ms in which extra ones do */


static void ngx_http_lrt_checker_rounds(ngx_http_lrt_checker_t *checker,
    ngx_uint_t i, uint64_t rounds, uint64_t now);
static uint64_t ngx_http_lrt_checker_window(
    const ngx_http_lrt_checker_t *checker);
static void ngx_http_lrt_checker_refill(ngx_http_lrt_checker_t *checker,
    uint64_t now);
static void ngx_http_lrt_task_first(ngx_http_lrt_task_t *task, uint64_t now);
static void ngx_http_lrt_task_place(ngx_http_lrt_task_t *task, uint64_t now);
static void ngx_http_lrt_task_next(ngx_http_lrt_task_t *task, uint64_t now);
static uint64_t ngx_http_lrt_checker_random(ngx_http_lrt_checker_t *checker);


/* tasks follow the servers of the group */

void
ngx_http_lrt_checker_sync(ngx_http_lrt_checker_t *checker, uint64_t now)
{
    uint32_t                 slot, end;
    uint64_t                 ident, generation;
    ngx_uint_t               i, changed;
    lrt_table_t             *t;
    ngx_http_lrt_task_t     *task;
    const lrt_side_t        *side;
    const lrt_entry_t       *entry;

    t = &checker->group->table;
    generation = lrt_table_generation(t);

    if (generation == checker->generation) {
        return;
    }

    side = lrt_table_side(t, generation);
    entry = lrt_table_entries(t, generation);

    /* other checks: whoever leads next takes them up */

    if (side->asks != checker->asks) {
        ngx_http_lrt_checker_stop(checker->group, now);
        return;
    }

    checker->generation = generation;

    /* those that left from the top have tasks to be dropped */

    end = ngx_max(side->top, checker->top);
    checker->top = side->top;
    changed = 0;

    for (slot = 0; slot < end && slot < t->capacity; slot++) {

        for (i = 0; i < checker->n; i++) {
            task = &checker->task[slot * checker->n + i];

            ident = (entry[slot].params.down || checker->question[i].skipped)
                    ? 0 : entry[slot].ident;

            if (task->begun.ident == ident) {
                continue;
            }

            ngx_http_lrt_task_drop(task);

            task->checker = checker;
            task->begun.ident = ident;
            task->begun.asks = checker->asks;
            task->begun.slot = slot;
            task->begun.check = (uint32_t) i;
            task->settled = 0;
            checker->task[slot * checker->n].quiet = 0;
            changed = 1;

            if (ident) {
                ngx_http_lrt_task_first(task, now);
            }
        }
    }

    if (changed) {
        ngx_http_lrt_checker_refill(checker, now);
    }
}


/* probes that somebody asked for; true if there are some */

ngx_uint_t
ngx_http_lrt_checker_wishes(ngx_http_lrt_checker_t *checker, uint64_t now)
{
    uint32_t      slot;
    uint64_t      asked;
    ngx_uint_t    i;
    lrt_table_t  *t;

    t = &checker->group->table;
    asked = lrt_load(&t->head->check_asked);

    if (asked == checker->asked) {
        return 0;
    }

    checker->asked = asked;

    for (slot = 0; slot < t->capacity; slot++) {

        if (!lrt_health_asked(t, slot)) {
            continue;
        }

        for (i = 0; i < checker->n; i++) {
            checker->task[slot * checker->n + i].due.next = now;
        }
    }

    ngx_http_lrt_checker_refill(checker, now);

    return 1;
}


/* extra rounds after so many requests of the group */

void
ngx_http_lrt_checker_count(ngx_http_lrt_checker_t *checker, uint64_t now)
{
    uint32_t            slot;
    uint64_t            n, requests;
    ngx_uint_t          i, counts;
    const lrt_table_t  *t;

    counts = 0;

    for (i = 0; i < checker->n; i++) {
        counts |= checker->question[i].check.requests;
    }

    /* a walk over counters that are far apart in memory */

    if (counts == 0 || now < checker->counted + NGX_HTTP_LRT_CHECK_COUNT) {
        return;
    }

    checker->counted = now;

    t = &checker->group->table;
    requests = 0;

    for (slot = 0; slot < t->capacity; slot++) {
        requests += lrt_load(&t->detail[slot].stats.requests);
    }

    for (i = 0; i < checker->n; i++) {
        n = checker->question[i].check.requests;

        if (n == 0) {
            continue;
        }

        /* whoever takes over goes on where the one before him was */

        n = requests / n;

        if (n > checker->rounds[i]) {
            ngx_http_lrt_checker_rounds(checker, i, n - checker->rounds[i],
                                        now);
        }

        /* counters go with their server, or are reset */

        checker->rounds[i] = n;
    }
}


static void
ngx_http_lrt_checker_rounds(ngx_http_lrt_checker_t *checker, ngx_uint_t i,
    uint64_t rounds, uint64_t now)
{
    uint32_t              slot;
    ngx_http_lrt_task_t  *task;

    for (slot = 0; slot < checker->top; slot++) {
        task = &checker->task[slot * checker->n + i];

        if (task->begun.ident) {
            lrt_rhythm_extra(&task->due, rounds,
                             ngx_http_lrt_checker_window(checker), now,
                             ngx_http_lrt_checker_random(checker));
        }
    }

    ngx_http_lrt_checker_refill(checker, now);
}


/* of extra probes; large groups take their time */

static uint64_t
ngx_http_lrt_checker_window(const ngx_http_lrt_checker_t *checker)
{
    return ngx_max(NGX_HTTP_LRT_CHECK_EXTRA, checker->top);
}


/*
 * All tasks into their places, wherever they were; of those that are due now
 * others come first each time.
 */

static void
ngx_http_lrt_checker_refill(ngx_http_lrt_checker_t *checker, uint64_t now)
{
    ngx_uint_t            i, n, from;
    ngx_http_lrt_task_t  *task;

    checker->first = LRT_NONE;
    ngx_memset(checker->bucket, 0xff, sizeof(checker->bucket));

    n = checker->top * checker->n;
    from = n ? ngx_http_lrt_checker_random(checker) % n : 0;

    for (i = 0; i < n; i++) {
        task = &checker->task[(from + i) % n];

        if (task->begun.ident) {
            ngx_http_lrt_task_place(task, now);
        }
    }
}


ngx_msec_t
ngx_http_lrt_checker_run(ngx_http_lrt_checker_t *checker, uint64_t now,
    uint64_t *left)
{
    uint32_t              n, next, *bucket;
    uint64_t              since, slice, spent;
    ngx_uint_t            i, limit, part;
    ngx_http_lrt_task_t  *task;

    if (now / NGX_HTTP_LRT_BUCKET > checker->position + NGX_HTTP_LRT_WHEEL) {
        checker->position = now / NGX_HTTP_LRT_BUCKET - NGX_HTTP_LRT_WHEEL;
    }

    while (checker->position < now / NGX_HTTP_LRT_BUCKET) {

        checker->position++;

        bucket = &checker->bucket[checker->position % NGX_HTTP_LRT_WHEEL];
        n = *bucket;
        *bucket = LRT_NONE;

        for ( /* void */ ; n != LRT_NONE; n = next) {
            next = checker->task[n].next;
            ngx_http_lrt_task_place(&checker->task[n], now);
        }
    }

    limit = ngx_min(ngx_cycle->connection_n / 4, NGX_HTTP_LRT_CHECK_BUSY);

    /* groups whose servers hang leave some to the others */

    part = ngx_max(limit / ngx_max(checker->group->main->leads, 1),
                   NGX_HTTP_LRT_CHECK_PART);

    since = ngx_http_lrt_now();
    slice = *left;

    while (checker->first != LRT_NONE) {

        if (checker->busy >= part || ngx_http_lrt_tasks_busy() >= limit) {
            ngx_http_lrt_checker_complain(checker, now,
                                          "probes have to wait, as so many are "
                                          "on their way that no more of "
                                          "worker_connections may be used");
            return NGX_HTTP_LRT_BUCKET;
        }

        if (*left == 0) {
            return 1;
        }

        task = &checker->task[checker->first];
        checker->first = task->next;

        if (task->begun.ident) {
            ngx_http_lrt_task_next(task, now);
            ngx_http_lrt_task_start(task, now);
        }

        spent = ngx_http_lrt_now() - since;
        *left = (spent < slice) ? slice - spent : 0;
    }

    for (i = 1; i < NGX_HTTP_LRT_BUCKET; i++) {
        if (checker->bucket[(checker->position + i) % NGX_HTTP_LRT_WHEEL]
            != LRT_NONE)
        {
            break;
        }
    }

    return (ngx_msec_t) ((checker->position + i) * NGX_HTTP_LRT_BUCKET - now);
}


/*
 * A probe whose time has come, or was missed, comes soon, but not with all
 * others: a large group takes as long as it takes in each interval.
 */

static void
ngx_http_lrt_task_first(ngx_http_lrt_task_t *task, uint64_t now)
{
    uint32_t                 started;
    uint64_t                 random, window;
    lrt_table_t             *t;
    const lrt_check_t       *check;
    ngx_http_lrt_checker_t  *checker;

    checker = task->checker;
    check = &checker->question[task->begun.check].check;
    t = &checker->group->table;

    window = ngx_max(NGX_HTTP_LRT_CHECK_FIRST, checker->top);
    random = ngx_http_lrt_checker_random(checker);

    /* the one before us has left the time of the last one */

    started = task->settled ? 0 : lrt_load(&t->health[task->begun.slot]
                                               .started[task->begun.check]);

    task->due.next = lrt_rhythm_first(check, started, window, now, random);
    task->due.extra = 0;
    task->settled |= (started != 0);
}


static void
ngx_http_lrt_task_place(ngx_http_lrt_task_t *task, uint64_t now)
{
    uint32_t                 n, *place;
    uint64_t                 bucket;
    ngx_http_lrt_checker_t  *checker;

    checker = task->checker;
    n = (uint32_t) (task - checker->task);

    /* at most a bucket too early */

    bucket = task->due.next / NGX_HTTP_LRT_BUCKET;

    if (bucket > checker->position) {
        place = &checker->bucket[bucket % NGX_HTTP_LRT_WHEEL];
        task->next = *place;
        *place = n;
        return;
    }

    task->next = LRT_NONE;

    if (checker->first == LRT_NONE) {
        checker->first = n;

    } else {
        checker->task[checker->last].next = n;
    }

    checker->last = n;
}


/* first probes are close together: the second ones fill the interval evenly */

static void
ngx_http_lrt_task_next(ngx_http_lrt_task_t *task, uint64_t now)
{
    uint64_t                 random, delay;
    const lrt_check_t       *check;
    ngx_http_lrt_checker_t  *checker;

    checker = task->checker;
    check = &checker->question[task->begun.check].check;
    random = ngx_http_lrt_checker_random(checker);

    delay = task->settled ? lrt_rhythm_delay(check, random)
                          : check->interval / 2 + random % check->interval;

    task->settled = 1;

    lrt_rhythm_next(&task->due, delay, ngx_http_lrt_checker_window(checker),
                    now, ngx_http_lrt_checker_random(checker));

    ngx_http_lrt_task_place(task, now);
}


/* of our own: those of nginx make ids of DNS queries, and are not for timing */

static uint64_t
ngx_http_lrt_checker_random(ngx_http_lrt_checker_t *checker)
{
    uint64_t  v;

    checker->seed += 0x9e3779b97f4a7c15ull;

    v = checker->seed;
    v = (v ^ (v >> 30)) * 0xbf58476d1ce4e5b9ull;
    v = (v ^ (v >> 27)) * 0x94d049bb133111ebull;

    return v ^ (v >> 31);
}
