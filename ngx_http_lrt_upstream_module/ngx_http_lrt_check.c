
/*
 * Copyright (C) the ngx_http_lrt_upstream_module authors
 *
 * Who probes.  One worker at a time holds the lease of a group's checks, and
 * with it a task for each check of each server: when it is due, and the
 * connection that its last probe left open.  All that has to survive him -
 * verdicts, counters, the time of the last probe - is in the table, so whoever
 * takes over goes on where he was.
 */


#include "ngx_http_lrt_checker.h"
#include "lrt_lease.h"


#define NGX_HTTP_LRT_CHECK_SLEPT    LRT_RHYTHM_MAX_LEASE     /* too long */


static void ngx_http_lrt_check_handler(ngx_event_t *ev);
static void ngx_http_lrt_check_arm(ngx_http_lrt_main_conf_t *lmcf,
    ngx_msec_t delay);
static ngx_http_lrt_checker_t *ngx_http_lrt_check_group(
    ngx_http_lrt_srv_conf_t *lscf, ngx_uint_t number, uint64_t now);
static ngx_uint_t ngx_http_lrt_check_lead(ngx_http_lrt_srv_conf_t *lscf,
    ngx_uint_t number, uint64_t now, const lrt_rhythm_t *rhythm);
static ngx_uint_t ngx_http_lrt_check_turn(ngx_uint_t number);
static ngx_int_t ngx_http_lrt_checker_start(ngx_http_lrt_srv_conf_t *lscf,
    uint64_t now);


/* a worker's timer: takes groups that nobody looks after */

void
ngx_http_lrt_check_tick(ngx_http_lrt_main_conf_t *lmcf, uint64_t now)
{
    ngx_uint_t                  i, leads, soon;
    ngx_http_lrt_checker_t     *checker;
    ngx_http_lrt_srv_conf_t   **lscf;

    lscf = lmcf->groups.elts;
    leads = 0;
    soon = 0;

    for (i = 0; i < lmcf->groups.nelts; i++) {

        checker = ngx_http_lrt_check_group(lscf[i], i, now);

        if (checker) {
            ngx_http_lrt_checker_sync(checker, now);
            checker = lscf[i]->checker;
        }

        if (checker) {
            soon |= ngx_http_lrt_checker_wishes(checker, now);
            ngx_http_lrt_checker_count(checker, now);
            leads++;
        }

        if (!lmcf->checks.timer_set) {
            soon |= (checker || lscf[i]->beat < LRT_RHYTHM_MAX_BEAT);
        }
    }

    lmcf->leads = leads;

    if (soon) {
        ngx_http_lrt_check_arm(lmcf, 1);
    }
}


void
ngx_http_lrt_check_stop(ngx_http_lrt_main_conf_t *lmcf)
{
    uint64_t                    now;
    ngx_uint_t                  i;
    ngx_http_lrt_srv_conf_t   **lscf;

    now = ngx_http_lrt_now() / 1000;

    if (lmcf->checks.timer_set) {
        ngx_del_timer(&lmcf->checks);
    }

    lscf = lmcf->groups.elts;

    for (i = 0; i < lmcf->groups.nelts; i++) {
        ngx_http_lrt_checker_stop(lscf[i], now);
    }
}


/*
 * What is due, in groups that this worker looks after; and a look at others
 * that need one more often than a worker's timer runs.
 */

static void
ngx_http_lrt_check_handler(ngx_event_t *ev)
{
    uint64_t                    now, left, had;
    ngx_uint_t                  i, n, last;
    ngx_msec_t                  delay, next;
    ngx_connection_t           *dumb;
    ngx_http_lrt_checker_t     *checker;
    ngx_http_lrt_srv_conf_t   **lscf;
    ngx_http_lrt_main_conf_t   *lmcf;

    static uint64_t    over;                 /* us, when no time was left */
    static ngx_uint_t  first;

    dumb = ev->data;
    lmcf = dumb->data;
    lscf = lmcf->groups.elts;

    next = NGX_TIMER_INFINITE;
    last = 0;

    /* all share a slice of time: who finds none left comes first next time */

    now = ngx_http_lrt_now();
    left = ngx_http_lrt_probe_slice(over ? now - over : 0);
    over = 0;

    for (n = 0; n < lmcf->groups.nelts; n++) {

        i = (first + n) % lmcf->groups.nelts;

        if (lscf[i]->checker == NULL && lscf[i]->beat >= LRT_RHYTHM_MAX_BEAT) {
            continue;
        }

        now = ngx_http_lrt_now() / 1000;
        checker = ngx_http_lrt_check_group(lscf[i], i, now);

        if (checker) {
            had = left;
            delay = ngx_http_lrt_checker_run(checker, now, &left);
            next = ngx_min(next, delay);

            if (had && left == 0) {
                over = ngx_http_lrt_now();
                last = i;
            }
        }

        next = ngx_min(next, lscf[i]->beat);
    }

    if (over) {
        first = last + 1;
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


/* the checker of a group if this worker probes it */

static ngx_http_lrt_checker_t *
ngx_http_lrt_check_group(ngx_http_lrt_srv_conf_t *lscf, ngx_uint_t number,
    uint64_t now)
{
    uint64_t               generation;
    lrt_rhythm_t           rhythm;
    const lrt_settings_t  *settings;

    lscf->beat = LRT_RHYTHM_MAX_BEAT;

    if (lscf->table.head == NULL) {
        ngx_http_lrt_checker_stop(lscf, now);
        return NULL;
    }

    generation = lrt_table_generation(&lscf->table);
    settings = &lrt_table_side(&lscf->table, generation)->settings;

    if (lrt_load(&settings->nchecks) == 0) {
        ngx_http_lrt_checker_stop(lscf, now);
        return NULL;
    }

    lrt_rhythm(settings, &rhythm);

    lscf->beat = rhythm.beat;

    if (!ngx_http_lrt_check_lead(lscf, number, now, &rhythm)) {
        ngx_http_lrt_checker_stop(lscf, now);

    } else if (lscf->checker == NULL
               && ngx_http_lrt_checker_start(lscf, now) == NGX_OK)
    {
        ngx_http_lrt_checker_sync(lscf->checker, now);
    }

    return lscf->checker;
}


/*
 * Who leads goes on to do so until another one finds him late.  Groups are
 * dealt out among the workers, so a vacant one is left to its own for a moment.
 */

static ngx_uint_t
ngx_http_lrt_check_lead(ngx_http_lrt_srv_conf_t *lscf, ngx_uint_t number,
    uint64_t now, const lrt_rhythm_t *rhythm)
{
    uint32_t     vacant;
    lrt_head_t  *head;

    head = lscf->table.head;

    if (ngx_exiting
        || ngx_terminate
        || lrt_load(&head->superseded)
        || lrt_load(&head->merged) == 0)
    {
        return 0;
    }

    if (!lrt_lease_mine(&head->check_lease, (uint32_t) ngx_pid)) {

        if (lrt_lease_taken(&head->check_lease, now)) {
            return 0;
        }

        vacant = lrt_lease_vacant(&head->check_lease, now);

        if (vacant < rhythm->wait && !ngx_http_lrt_check_turn(number)) {
            return 0;
        }

        ngx_http_lrt_checker_stop(lscf, now);

    /* who slept too long begins anew, as probes of his are of no use now */

    } else if (lrt_lease_silent(&head->check_lease, now)
               >= NGX_HTTP_LRT_CHECK_SLEPT)
    {
        ngx_http_lrt_checker_stop(lscf, now);
    }

    return lrt_lease_take(&head->check_lease, (uint32_t) ngx_pid, now,
                          rhythm->lease);
}


static ngx_uint_t
ngx_http_lrt_check_turn(ngx_uint_t number)
{
    ngx_core_conf_t  *ccf;

    ccf = (ngx_core_conf_t *) ngx_get_conf(ngx_cycle->conf_ctx,
                                           ngx_core_module);

    return ccf->worker_processes <= 1
           || number % ccf->worker_processes == ngx_worker;
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
    checker->asks = lrt_table_side(t, generation)->asks;

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

    ngx_http_lrt_checker_stop(lscf, now);

    return NGX_ERROR;
}


void
ngx_http_lrt_checker_stop(ngx_http_lrt_srv_conf_t *lscf, uint64_t now)
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
            ngx_http_lrt_task_drop(&checker->task[i]);
        }

        ngx_free(checker->task);
    }

    if (checker->pool) {
        ngx_destroy_pool(checker->pool);
    }

    if (lscf->table.head) {
        lrt_lease_give(&lscf->table.head->check_lease, (uint32_t) ngx_pid,
                       now);
    }

    ngx_free(checker);
}


ngx_uint_t
ngx_http_lrt_checker_leads(const ngx_http_lrt_checker_t *checker, uint64_t now)
{
    const uint64_t  *lease;

    lease = &checker->group->table.head->check_lease;

    return lrt_lease_mine(lease, (uint32_t) ngx_pid)
           && lrt_lease_silent(lease, now) < NGX_HTTP_LRT_CHECK_SLEPT;
}


void
ngx_http_lrt_checker_complain(ngx_http_lrt_checker_t *checker, uint64_t now,
    const char *why)
{
    uint32_t                   what;
    ngx_uint_t                 i;
    ngx_http_lrt_complaint_t  *complaint, *oldest;

    what = ngx_crc32_short((u_char *) why, ngx_strlen(why));
    complaint = checker->group->complaint;
    oldest = complaint;

    for (i = 0; i < NGX_HTTP_LRT_COMPLAINTS; i++) {

        if (complaint[i].when
            && complaint[i].what == what
            && now - complaint[i].when < NGX_HTTP_LRT_CHECK_MINUTE)
        {
            return;
        }

        if (complaint[i].when < oldest->when) {
            oldest = &complaint[i];
        }
    }

    oldest->what = what;
    oldest->when = now;

    ngx_log_error(NGX_LOG_ERR, ngx_cycle->log, 0,
                  "checks of upstream \"%V\": %s",
                  &checker->group->upstream->host, why);
}
