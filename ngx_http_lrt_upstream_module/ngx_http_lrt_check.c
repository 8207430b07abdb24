
/*
 * Copyright (C) the ngx_http_lrt_upstream_module authors
 *
 * Who probes, when, and what comes of it.  One worker at a time holds the
 * lease of a group's checks, and with it a task for each check of each server:
 * when it is due, and the connection that its last probe left open.  All that
 * has to survive him - verdicts, counters, the time of the last probe - is in
 * the table, so whoever takes over goes on where he was.
 *
 * Tasks stand in a wheel of buckets of 10 ms each; those of a bucket whose
 * time has come queue up, and start as long as time and connections allow.
 */


#include "ngx_http_lrt_check.h"
#include "lrt_lease.h"


#define NGX_HTTP_LRT_CHECK_LEASE    600      /* ms */
#define NGX_HTTP_LRT_CHECK_WAIT     300      /* for the worker whose turn it is */

#define NGX_HTTP_LRT_WHEEL          1024     /* buckets */
#define NGX_HTTP_LRT_BUCKET         10       /* ms */

#define NGX_HTTP_LRT_CHECK_SLICE    2000     /* us of starts at a time */
#define NGX_HTTP_LRT_CHECK_BUSY     1024     /* probes on their way */
#define NGX_HTTP_LRT_CHECK_FIRST    1000     /* ms in which first probes start */

/* lines of the log about one server, and about all that goes wrong here */

#define NGX_HTTP_LRT_CHECK_LINES    6
#define NGX_HTTP_LRT_CHECK_MINUTE   60000    /* ms */


typedef struct {
    ngx_http_lrt_checker_t      *checker;
    ngx_http_lrt_probe_t        *probe;
    lrt_probe_t                  begun;
    uint64_t                     due;        /* ms */
    uint32_t                     next;       /* in a bucket, or in the queue */
    unsigned                     settled:1;  /* has its place in the interval */
    unsigned                     again:1;    /* one that came to nothing */

    uint32_t                     lines;      /* in the log since then */
    uint64_t                     since;
} ngx_http_lrt_task_t;


struct ngx_http_lrt_checker_s {
    ngx_http_lrt_srv_conf_t     *group;
    ngx_pool_t                  *pool;
    ngx_log_t                    log;

    uint64_t                     generation;
    uint64_t                     asked;
    uint64_t                     rounds[LRT_CHECKS];
    uint64_t                     seed;

    ngx_uint_t                   n;
    ngx_http_lrt_question_t      question[LRT_CHECKS];

    ngx_http_lrt_task_t         *task;       /* [capacity * n] */
    uint32_t                     top;        /* slots with tasks are below */
    ngx_uint_t                   busy;
    uint64_t                     position;   /* buckets since the clock began */
    uint32_t                     first;      /* of the queue */
    uint32_t                     last;
    uint32_t                     bucket[NGX_HTTP_LRT_WHEEL];
};


static void ngx_http_lrt_check_handler(ngx_event_t *ev);
static void ngx_http_lrt_check_arm(ngx_http_lrt_main_conf_t *lmcf,
    ngx_msec_t delay);
static ngx_uint_t ngx_http_lrt_check_lead(ngx_http_lrt_srv_conf_t *lscf,
    ngx_uint_t number, uint64_t now);
static ngx_uint_t ngx_http_lrt_check_turn(ngx_http_lrt_srv_conf_t *lscf,
    ngx_uint_t number, uint64_t now);
static ngx_int_t ngx_http_lrt_checker_start(ngx_http_lrt_srv_conf_t *lscf,
    uint64_t now);
static void ngx_http_lrt_checker_stop(ngx_http_lrt_srv_conf_t *lscf);
static ngx_int_t ngx_http_lrt_checker_ask(ngx_http_lrt_checker_t *checker,
    ngx_uint_t i);
static void ngx_http_lrt_checker_sync(ngx_http_lrt_checker_t *checker,
    uint64_t now);
static void ngx_http_lrt_checker_wishes(ngx_http_lrt_checker_t *checker,
    uint64_t now);
static void ngx_http_lrt_checker_count(ngx_http_lrt_checker_t *checker,
    uint64_t now);
static void ngx_http_lrt_checker_round(ngx_http_lrt_checker_t *checker,
    ngx_uint_t i, uint64_t now);
static void ngx_http_lrt_checker_refill(ngx_http_lrt_checker_t *checker,
    uint64_t now);
static ngx_msec_t ngx_http_lrt_checker_run(ngx_http_lrt_checker_t *checker,
    uint64_t now);
static void ngx_http_lrt_task_first(ngx_http_lrt_task_t *task, uint64_t now);
static void ngx_http_lrt_task_place(ngx_http_lrt_task_t *task, uint64_t now);
static void ngx_http_lrt_task_next(ngx_http_lrt_task_t *task, uint64_t now);
static void ngx_http_lrt_task_start(ngx_http_lrt_task_t *task, uint64_t now);
static void ngx_http_lrt_task_done(void *data, const lrt_result_t *result);
static void ngx_http_lrt_task_drop(ngx_http_lrt_task_t *task);
static void ngx_http_lrt_task_log(ngx_http_lrt_task_t *task,
    const lrt_turn_t *turn, const lrt_result_t *result, uint64_t now);
static void ngx_http_lrt_checker_complain(ngx_http_lrt_checker_t *checker,
    uint64_t now, const char *why);
static uint64_t ngx_http_lrt_checker_random(ngx_http_lrt_checker_t *checker);


static const char *const  ngx_http_lrt_uses[] = {
    "up", "checking", "unhealthy"
};


/* a worker's timer: takes groups that nobody looks after */

void
ngx_http_lrt_check_tick(ngx_http_lrt_main_conf_t *lmcf, uint64_t now)
{
    ngx_uint_t                  i, leads;
    ngx_http_lrt_srv_conf_t   **lscf;

    lscf = lmcf->groups.elts;
    leads = 0;

    for (i = 0; i < lmcf->groups.nelts; i++) {

        if (!ngx_http_lrt_check_lead(lscf[i], i, now)) {
            ngx_http_lrt_checker_stop(lscf[i]);
            continue;
        }

        if (lscf[i]->checker == NULL
            && ngx_http_lrt_checker_start(lscf[i], now) != NGX_OK)
        {
            continue;
        }

        ngx_http_lrt_checker_sync(lscf[i]->checker, now);

        if (lscf[i]->checker) {
            ngx_http_lrt_checker_wishes(lscf[i]->checker, now);
            ngx_http_lrt_checker_count(lscf[i]->checker, now);
            leads = 1;
        }
    }

    if (leads && !lmcf->checks.timer_set) {
        ngx_http_lrt_check_arm(lmcf, 1);
    }
}


void
ngx_http_lrt_check_stop(ngx_http_lrt_main_conf_t *lmcf)
{
    ngx_uint_t                  i;
    ngx_http_lrt_srv_conf_t   **lscf;

    if (lmcf->checks.timer_set) {
        ngx_del_timer(&lmcf->checks);
    }

    lscf = lmcf->groups.elts;

    for (i = 0; i < lmcf->groups.nelts; i++) {
        ngx_http_lrt_checker_stop(lscf[i]);
    }
}


/* what is due, in groups that this worker looks after */

static void
ngx_http_lrt_check_handler(ngx_event_t *ev)
{
    uint64_t                    now;
    ngx_uint_t                  i;
    ngx_msec_t                  delay, next;
    ngx_connection_t           *dumb;
    ngx_http_lrt_srv_conf_t   **lscf;
    ngx_http_lrt_main_conf_t   *lmcf;

    dumb = ev->data;
    lmcf = dumb->data;
    lscf = lmcf->groups.elts;

    next = NGX_TIMER_INFINITE;

    for (i = 0; i < lmcf->groups.nelts; i++) {

        if (lscf[i]->checker == NULL) {
            continue;
        }

        now = ngx_http_lrt_now() / 1000;

        if (!ngx_http_lrt_check_lead(lscf[i], i, now)) {
            ngx_http_lrt_checker_stop(lscf[i]);
            continue;
        }

        /* who slept too long begins anew with the next tick */

        if (lscf[i]->checker) {
            delay = ngx_http_lrt_checker_run(lscf[i]->checker, now);
            next = ngx_min(next, delay);
        }
    }

    if (next != NGX_TIMER_INFINITE) {
        ngx_http_lrt_check_arm(lmcf, next);
    }
}


static void
ngx_http_lrt_check_arm(ngx_http_lrt_main_conf_t *lmcf, ngx_msec_t delay)
{
    ngx_event_t  *ev;

    ev = &lmcf->checks;

    ev->handler = ngx_http_lrt_check_handler;
    ev->data = &lmcf->dumb;
    ev->log = ngx_cycle->log;
    ev->cancelable = 1;

    ngx_add_timer(ev, delay);
}


/*
 * Who leads goes on to do so until he is late.  Groups are dealt out among
 * the workers, so a vacant one is left to its own for a moment.
 */

static ngx_uint_t
ngx_http_lrt_check_lead(ngx_http_lrt_srv_conf_t *lscf, ngx_uint_t number,
    uint64_t now)
{
    uint64_t     generation;
    lrt_head_t  *head;

    head = lscf->table.head;

    if (head == NULL
        || ngx_exiting
        || ngx_terminate
        || lrt_load(&head->superseded)
        || lrt_load(&head->merged) == 0)
    {
        return 0;
    }

    generation = lrt_table_generation(&lscf->table);

    if (lrt_load(&lrt_table_side(&lscf->table, generation)->settings.nchecks)
        == 0)
    {
        return 0;
    }

    if (!lrt_lease_mine(&head->check_lease, (uint32_t) ngx_pid)
        && (lrt_lease_taken(&head->check_lease, now, NGX_HTTP_LRT_CHECK_LEASE)
            || !ngx_http_lrt_check_turn(lscf, number, now)))
    {
        return 0;
    }

    lscf->vacant = 0;

    /* who slept too long begins anew, as probes of his are of no use now */

    if (!lrt_lease_taken(&head->check_lease, now, NGX_HTTP_LRT_CHECK_LEASE)) {
        ngx_http_lrt_checker_stop(lscf);
    }

    return lrt_lease_take(&head->check_lease, (uint32_t) ngx_pid, now,
                          NGX_HTTP_LRT_CHECK_LEASE);
}


static ngx_uint_t
ngx_http_lrt_check_turn(ngx_http_lrt_srv_conf_t *lscf, ngx_uint_t number,
    uint64_t now)
{
    ngx_core_conf_t  *ccf;

    ccf = (ngx_core_conf_t *) ngx_get_conf(ngx_cycle->conf_ctx,
                                           ngx_core_module);

    if (ccf->worker_processes <= 1
        || number % ccf->worker_processes == ngx_worker)
    {
        return 1;
    }

    if (lscf->vacant == 0) {
        lscf->vacant = now;
    }

    return now - lscf->vacant >= NGX_HTTP_LRT_CHECK_WAIT;
}


static ngx_int_t
ngx_http_lrt_checker_start(ngx_http_lrt_srv_conf_t *lscf, uint64_t now)
{
    size_t                   size;
    uint64_t                 generation;
    ngx_uint_t               i, n;
    lrt_table_t             *t;
    const lrt_settings_t    *settings;
    ngx_http_lrt_checker_t  *checker;

    t = &lscf->table;

    checker = ngx_calloc(sizeof(ngx_http_lrt_checker_t), ngx_cycle->log);
    if (checker == NULL) {
        return NGX_ERROR;
    }

    lscf->checker = checker;

    checker->group = lscf;
    checker->seed = ngx_http_lrt_now() ^ (uint64_t) ngx_pid << 32;
    checker->asked = lrt_load(&t->head->check_asked) - 1;
    checker->position = now / NGX_HTTP_LRT_BUCKET;

    /* none that could be compared */

    ngx_memset(checker->rounds, 0xff, sizeof(checker->rounds));

    /* what core says of failed connections is said here, and once */

    checker->log = *ngx_cycle->log;

    if (!(checker->log.log_level & NGX_LOG_DEBUG_ALL)) {
        checker->log.log_level = NGX_LOG_EMERG;
    }

    checker->pool = ngx_create_pool(1024, ngx_cycle->log);
    if (checker->pool == NULL) {
        goto failed;
    }

    generation = lrt_table_generation(t);
    settings = &lrt_table_side(t, generation)->settings;
    n = ngx_min(settings->nchecks, LRT_CHECKS);

    for (i = 0; i < n; i++) {
        checker->question[i].check = settings->check[i];
    }

    lrt_fence();

    /* settings of the next but one generation may be in the making there */

    if (lrt_table_generation(t) != generation) {
        goto failed;
    }

    checker->n = n;

    for (i = 0; i < n; i++) {
        if (ngx_http_lrt_checker_ask(checker, i) != NGX_OK) {
            goto failed;
        }
    }

    size = (size_t) t->capacity * n * sizeof(ngx_http_lrt_task_t);

    checker->task = ngx_calloc(size, ngx_cycle->log);
    if (checker->task == NULL) {
        goto failed;
    }

    checker->first = LRT_NONE;
    ngx_memset(checker->bucket, 0xff, sizeof(checker->bucket));

    /* what one who died has left half done */

    lrt_health_refresh(t, now);

    return NGX_OK;

failed:

    ngx_http_lrt_checker_stop(lscf);

    return NGX_ERROR;
}


static void
ngx_http_lrt_checker_stop(ngx_http_lrt_srv_conf_t *lscf)
{
    ngx_uint_t               i;
    ngx_http_lrt_checker_t  *checker;

    checker = lscf->checker;

    if (checker == NULL) {
        return;
    }

    lscf->checker = NULL;

    if (checker->task) {
        for (i = 0; i < lscf->table.capacity * checker->n; i++) {
            ngx_http_lrt_probe_end(&checker->task[i].probe);
        }

        ngx_free(checker->task);
    }

    if (checker->pool) {
        ngx_destroy_pool(checker->pool);
    }

    if (lscf->table.head) {
        lrt_lease_give(&lscf->table.head->check_lease, (uint32_t) ngx_pid);
    }

    ngx_free(checker);
}


/* all that is the same for all servers */

static ngx_int_t
ngx_http_lrt_checker_ask(ngx_http_lrt_checker_t *checker, ngx_uint_t i)
{
    u_char                   *p, why[NGX_HTTP_LRT_CHECK_WHY];
    lrt_str_t                 s;
    ngx_str_t                 host, uri, name;
    lrt_check_t              *check;
    ngx_http_lrt_match_t     *match;
    ngx_http_lrt_srv_conf_t  *lscf;
    ngx_http_lrt_question_t  *question;

    lscf = checker->group;
    question = &checker->question[i];
    check = &question->check;

    /* a configuration may have been read since, and lack what it needs */

    if (!ngx_http_lrt_check_sound(lscf, check, why)) {
        ngx_http_lrt_checker_complain(checker, ngx_http_lrt_now() / 1000,
                                      (char *) why);
        return NGX_ERROR;
    }

    s = lrt_check_string(check, LRT_CHECK_MATCH);
    name.data = (u_char *) s.data;
    name.len = s.len;

    match = name.len ? ngx_http_lrt_match_find(lscf->main, &name) : NULL;
    question->match = match ? &match->match : &lrt_match_default;

    s = lrt_check_string(check, LRT_CHECK_HOST);
    host.data = (u_char *) s.data;
    host.len = s.len;

    if (host.len == 0) {
        host = lscf->upstream->host;
    }

    s = lrt_check_string(check, LRT_CHECK_URI);
    uri.data = (u_char *) s.data;
    uri.len = s.len;

    p = ngx_pnalloc(checker->pool, uri.len + host.len
                    + sizeof("GET  HTTP/1.1" CRLF "Host: " CRLF
                             "User-Agent: nginx-lrt-check" CRLF
                             "Accept: */*" CRLF
                             "Connection: keep-alive" CRLF CRLF));
    if (p == NULL) {
        return NGX_ERROR;
    }

    question->request.data = p;
    question->request.len = ngx_sprintf(p, "GET %V HTTP/1.1" CRLF
                                        "Host: %V" CRLF
                                        "User-Agent: nginx-lrt-check" CRLF
                                        "Accept: */*" CRLF
                                        "Connection: %s" CRLF CRLF,
                                        &uri, &host,
                                        check->keepalive ? "keep-alive"
                                                         : "close")
                            - p;

#if (NGX_HTTP_SSL)

    if (check->type != LRT_CHECK_HTTPS) {
        return NGX_OK;
    }

    question->ssl = ngx_http_lrt_trust_find(lscf->main, check);

    s = lrt_check_string(check, LRT_CHECK_SSL_NAME);
    name.data = (u_char *) s.data;
    name.len = s.len;

    if (name.len == 0) {
        name = ngx_http_lrt_trust_host(&host);
    }

    question->name = ngx_pnalloc(checker->pool, name.len + 1);
    if (question->name == NULL) {
        return NGX_ERROR;
    }

    *ngx_cpymem(question->name, name.data, name.len) = '\0';

    question->sni = !ngx_http_lrt_trust_is_address(&name);

#endif

    return NGX_OK;
}


/* tasks follow the servers of the group */

static void
ngx_http_lrt_checker_sync(ngx_http_lrt_checker_t *checker, uint64_t now)
{
    uint32_t                 slot, end;
    uint64_t                 ident, generation;
    ngx_uint_t               i, changed;
    lrt_table_t             *t;
    lrt_settings_t           settings;
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

    ngx_memzero(&settings, sizeof(lrt_settings_t));

    settings.slow_start = side->settings.slow_start;
    settings.panic = side->settings.panic;
    settings.nchecks = (uint32_t) checker->n;

    for (i = 0; i < checker->n; i++) {
        settings.check[i] = checker->question[i].check;
    }

    /* other checks: whoever leads next takes them up */

    if (!lrt_settings_equal(&side->settings, &settings)) {
        ngx_http_lrt_checker_stop(checker->group);
        return;
    }

    checker->generation = generation;

    /* those that left from the top have tasks to be dropped */

    end = ngx_max(side->top, checker->top);
    checker->top = side->top;
    changed = 0;

    for (slot = 0; slot < end && slot < t->capacity; slot++) {

        ident = entry[slot].params.down ? 0 : entry[slot].ident;

        for (i = 0; i < checker->n; i++) {
            task = &checker->task[slot * checker->n + i];

            if (task->begun.ident == ident) {
                continue;
            }

            ngx_http_lrt_task_drop(task);

            task->checker = checker;
            task->begun.ident = ident;
            task->begun.slot = slot;
            task->begun.check = (uint32_t) i;
            task->settled = 0;
            task->lines = 0;
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


/* probes that somebody asked for */

static void
ngx_http_lrt_checker_wishes(ngx_http_lrt_checker_t *checker, uint64_t now)
{
    uint32_t      slot;
    uint64_t      asked;
    ngx_uint_t    i;
    lrt_table_t  *t;

    t = &checker->group->table;
    asked = lrt_load(&t->head->check_asked);

    if (asked == checker->asked) {
        return;
    }

    checker->asked = asked;

    for (slot = 0; slot < t->capacity; slot++) {

        if (!lrt_health_asked(t, slot)) {
            continue;
        }

        for (i = 0; i < checker->n; i++) {
            checker->task[slot * checker->n + i].due = now;
        }
    }

    ngx_http_lrt_checker_refill(checker, now);
    ngx_http_lrt_check_arm(checker->group->main, 1);
}


/* extra rounds after so many requests of the group */

static void
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

    if (counts == 0) {
        return;
    }

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
            ngx_http_lrt_checker_round(checker, i, now);
        }

        /* counters go with their server, or are reset */

        checker->rounds[i] = n;
    }
}


static void
ngx_http_lrt_checker_round(ngx_http_lrt_checker_t *checker, ngx_uint_t i,
    uint64_t now)
{
    uint32_t              slot;
    ngx_http_lrt_task_t  *task;

    for (slot = 0; slot < checker->top; slot++) {
        task = &checker->task[slot * checker->n + i];

        if (task->begun.ident) {
            ngx_http_lrt_task_first(task, now);
        }
    }

    ngx_http_lrt_checker_refill(checker, now);
}


/* all tasks into their places, wherever they were */

static void
ngx_http_lrt_checker_refill(ngx_http_lrt_checker_t *checker, uint64_t now)
{
    ngx_uint_t            i;
    ngx_http_lrt_task_t  *task;

    checker->first = LRT_NONE;
    ngx_memset(checker->bucket, 0xff, sizeof(checker->bucket));

    for (i = 0; i < checker->top * checker->n; i++) {
        task = &checker->task[i];

        if (task->begun.ident) {
            ngx_http_lrt_task_place(task, now);
        }
    }
}


/* starts what is due, and tells when to come again */

static ngx_msec_t
ngx_http_lrt_checker_run(ngx_http_lrt_checker_t *checker, uint64_t now)
{
    uint32_t              n, next, *bucket;
    uint64_t              since;
    ngx_uint_t            i, limit;
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

    since = ngx_http_lrt_now();
    limit = ngx_min(ngx_cycle->connection_n / 4, NGX_HTTP_LRT_CHECK_BUSY);

    while (checker->first != LRT_NONE) {

        if (checker->busy >= limit) {
            ngx_http_lrt_checker_complain(checker, now,
                                          "probes have to wait, as so many are "
                                          "on their way that no more of "
                                          "worker_connections may be used");
            return NGX_HTTP_LRT_BUCKET;
        }

        if (ngx_http_lrt_now() - since > NGX_HTTP_LRT_CHECK_SLICE) {
            return 1;
        }

        task = &checker->task[checker->first];
        checker->first = task->next;

        if (task->begun.ident) {
            ngx_http_lrt_task_next(task, now);
            ngx_http_lrt_task_start(task, now);
        }
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
    uint64_t                 delay, window;
    lrt_table_t             *t;
    const lrt_check_t       *check;
    ngx_http_lrt_checker_t  *checker;

    checker = task->checker;
    check = &checker->question[task->begun.check].check;
    t = &checker->group->table;

    window = ngx_max(NGX_HTTP_LRT_CHECK_FIRST, checker->top);
    window = ngx_min(window, check->interval);

    task->due = now + ngx_http_lrt_checker_random(checker) % window;

    if (task->settled) {
        return;
    }

    /* the one before us has left the time of the last one */

    started = lrt_load(&t->health[task->begun.slot].started[task->begun.check]);

    if (started) {
        delay = lrt_check_delay(check, ngx_http_lrt_checker_random(checker));
        task->settled = 1;

        if ((uint32_t) now - started < delay) {
            task->due = now + delay - ((uint32_t) now - started);
        }
    }
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

    bucket = task->due / NGX_HTTP_LRT_BUCKET;

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

    delay = task->settled ? lrt_check_delay(check, random)
                          : check->interval / 2 + random % check->interval;

    task->settled = 1;
    task->due = (task->due + delay > now) ? task->due + delay : now + delay;

    ngx_http_lrt_task_place(task, now);
}


static void
ngx_http_lrt_task_start(ngx_http_lrt_task_t *task, uint64_t now)
{
    lrt_table_t             *t;
    lrt_result_t             result;
    ngx_sockaddr_t           sockaddr;
    ngx_http_lrt_errand_t    errand;
    ngx_http_lrt_checker_t  *checker;

    if (ngx_http_lrt_probe_busy(task->probe)) {
        return;
    }

    checker = task->checker;
    t = &checker->group->table;

    errand.question = &checker->question[task->begun.check];
    errand.sockaddr = &sockaddr.sockaddr;
    errand.socklen = t->detail[task->begun.slot].socklen;
    errand.log = &checker->log;
    errand.done = ngx_http_lrt_task_done;
    errand.data = task;

    errand.socklen = ngx_min(errand.socklen, sizeof(ngx_sockaddr_t));

    ngx_memcpy(&sockaddr, lrt_table_sockaddr(&t->detail[task->begun.slot]),
               errand.socklen);

    /* if it is still there, that was its address */

    if (lrt_health_begin(t, &task->begun, now) != LRT_OK) {
        return;
    }

    checker->busy++;

    if (errand.question->check.port) {

        if (sockaddr.sockaddr.sa_family == AF_UNIX) {
            ngx_memzero(&result, sizeof(lrt_result_t));
            result.how = LRT_PROBE_FAILED;
            result.reason = LRT_CHECK_UNIX_PORT;

            ngx_http_lrt_task_done(task, &result);
            return;
        }

        ngx_inet_set_port(&sockaddr.sockaddr, errand.question->check.port);
    }

    ngx_http_lrt_probe_start(&task->probe, &errand);
}


static void
ngx_http_lrt_task_done(void *data, const lrt_result_t *result)
{
    ngx_http_lrt_task_t *task = data;

    uint64_t                 now;
    lrt_turn_t               turn;
    lrt_table_t             *t;
    ngx_http_lrt_checker_t  *checker;

    checker = task->checker;
    checker->busy--;

    now = ngx_http_lrt_now() / 1000;
    t = &checker->group->table;

    /* who slept too long has no say */

    if (!lrt_lease_mine(&t->head->check_lease, (uint32_t) ngx_pid)
        || !lrt_lease_taken(&t->head->check_lease, now,
                            NGX_HTTP_LRT_CHECK_LEASE)
        || lrt_health_result(t, &task->begun, result, now, &turn) != LRT_OK)
    {
        return;
    }

    if (result->how == LRT_PROBE_UNCLEAR) {
        ngx_http_lrt_checker_complain(checker, now,
                                      lrt_check_reason_text(result->reason));
    }

    if (turn.turned || turn.readmitted) {
        ngx_http_lrt_task_log(task, &turn, result, now);
    }

    if (result->reason == LRT_CHECK_LATE && !task->again) {
        task->again = 1;
        ngx_http_lrt_task_start(task, now);
        return;
    }

    task->again = 0;
}


static void
ngx_http_lrt_task_drop(ngx_http_lrt_task_t *task)
{
    if (ngx_http_lrt_probe_busy(task->probe)) {
        task->checker->busy--;
    }

    ngx_http_lrt_probe_end(&task->probe);
    task->begun.ident = 0;
}


/* one line for each turn, but not for ever for a server that flaps */

static void
ngx_http_lrt_task_log(ngx_http_lrt_task_t *task, const lrt_turn_t *turn,
    const lrt_result_t *result, uint64_t now)
{
    u_char              *p, *last, text[NGX_MAX_ERROR_STR / 2];
    lrt_str_t            name, uri;
    ngx_uint_t           level;
    const lrt_table_t   *t;
    const lrt_check_t   *check;

    t = &task->checker->group->table;
    check = &task->checker->question[task->begun.check].check;
    name = lrt_table_name(&t->detail[task->begun.slot]);
    uri = lrt_check_string(check, LRT_CHECK_URI);

    p = text;
    last = text + sizeof(text);
    level = (turn->turned && turn->state == LRT_USE_FAILING) ? NGX_LOG_WARN
                                                             : NGX_LOG_NOTICE;

    if (task->lines == 0 || now - task->since > NGX_HTTP_LRT_CHECK_MINUTE) {
        task->since = now;
        task->lines = 0;
    }

    if (++task->lines > NGX_HTTP_LRT_CHECK_LINES) {
        return;
    }

    if (turn->turned) {
        p = ngx_slprintf(p, last, "%s -> %s", ngx_http_lrt_uses[turn->before],
                         ngx_http_lrt_uses[turn->state]);
    } else {
        p = ngx_slprintf(p, last, "unavail -> up");
    }

    p = ngx_slprintf(p, last, ": %s", lrt_check_reason_text(result->reason));

    if (result->status) {
        p = ngx_slprintf(p, last, ", status %uD", result->status);
    }

    p = ngx_slprintf(p, last, ", check %uD \"%s%s%*s\", %uL.%03uL ms",
                     task->begun.check,
                     ngx_http_lrt_check_types[check->type],
                     uri.len ? " " : "", uri.len, uri.data,
                     result->time / 1000, result->time % 1000);

    if (turn->turned) {
        p = ngx_slprintf(p, last, ", after %uL.%03uL s",
                         turn->lasted / 1000, turn->lasted % 1000);
    }

    if (task->lines == NGX_HTTP_LRT_CHECK_LINES) {
        p = ngx_slprintf(p, last, "; %uD turns so far, no more lines about it "
                         "for a minute", turn->turns);
    }

    ngx_log_error(level, ngx_cycle->log, 0,
                  "upstream \"%V\": server %*s, id %uL, %*s",
                  &task->checker->group->upstream->host, name.len, name.data,
                  task->begun.ident - 1, (size_t) (p - text), text);
}


/* what is wrong here, and not with a server: once a minute */

static void
ngx_http_lrt_checker_complain(ngx_http_lrt_checker_t *checker, uint64_t now,
    const char *why)
{
    if (checker->group->complained
        && now - checker->group->complained < NGX_HTTP_LRT_CHECK_MINUTE)
    {
        return;
    }

    checker->group->complained = now;

    ngx_log_error(NGX_LOG_ERR, ngx_cycle->log, 0,
                  "checks of upstream \"%V\": %s",
                  &checker->group->upstream->host, why);
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
