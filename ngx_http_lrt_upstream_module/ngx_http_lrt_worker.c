
/*
 * Copyright (C) the ngx_http_lrt_upstream_module authors
 *
 * This process among the others: its row in the registry, the clock, and a
 * timer in which each worker sees to it that nothing of a dead one is left.
 */


#include "ngx_http_lrt.h"
#include "lrt_census.h"
#include "lrt_quiet.h"


#define NGX_HTTP_LRT_TICK    100             /* ms */


static void ngx_http_lrt_claim(ngx_cycle_t *cycle,
    ngx_http_lrt_main_conf_t *lmcf);
static void ngx_http_lrt_start_tick(ngx_cycle_t *cycle,
    ngx_http_lrt_main_conf_t *lmcf);
static void ngx_http_lrt_tick(ngx_event_t *ev);
static void ngx_http_lrt_audit(ngx_http_lrt_main_conf_t *lmcf, uint64_t now,
    ngx_uint_t recover);
static void ngx_http_lrt_tell_panic(ngx_http_lrt_main_conf_t *lmcf);


uint64_t
ngx_http_lrt_now(void)
{
    struct timespec  ts;

    (void) clock_gettime(CLOCK_MONOTONIC, &ts);

    return (uint64_t) ts.tv_sec * 1000000 + (uint64_t) ts.tv_nsec / 1000;
}


ngx_int_t
ngx_http_lrt_init_process(ngx_cycle_t *cycle)
{
    ngx_http_lrt_main_conf_t  *lmcf;

    if (ngx_process != NGX_PROCESS_WORKER && ngx_process != NGX_PROCESS_SINGLE)
    {
        return NGX_OK;
    }

    lmcf = ngx_http_cycle_get_module_main_conf(cycle,
                                               ngx_http_lrt_upstream_module);

    if (lmcf == NULL || lmcf->registry == NULL) {
        return NGX_OK;
    }

    ngx_http_lrt_claim(cycle, lmcf);
    ngx_http_lrt_start_tick(cycle, lmcf);

    return NGX_OK;
}


/*
 * Requests that are still open when a worker is told to terminate are not
 * ended one by one; the others take their counts out when the row is free.
 */

void
ngx_http_lrt_exit_process(ngx_cycle_t *cycle)
{
    ngx_http_lrt_main_conf_t  *lmcf;

    lmcf = ngx_http_cycle_get_module_main_conf(cycle,
                                               ngx_http_lrt_upstream_module);

    if (lmcf == NULL || lmcf->registry == NULL || lmcf->owner.serial == 0) {
        return;
    }

    ngx_http_lrt_check_stop(lmcf);
    ngx_http_lrt_state_exit(lmcf);

    lrt_registry_release(lmcf->registry, &lmcf->owner);
    lmcf->owner.serial = 0;
}


/*
 * Without a master the process that reads the new configuration is also the
 * one that serves requests, and init_process is not called again.
 */

void
ngx_http_lrt_take_over(ngx_cycle_t *cycle, ngx_http_lrt_main_conf_t *before)
{
    ngx_uint_t                  i;
    ngx_http_lrt_main_conf_t   *lmcf;
    ngx_http_lrt_srv_conf_t   **lscfp;

    if (ngx_process != NGX_PROCESS_SINGLE || before->owner.serial == 0) {
        return;
    }

    if (before->tick.timer_set) {
        ngx_del_timer(&before->tick);
    }

    ngx_http_lrt_check_stop(before);
    ngx_http_lrt_state_stop(before);

    lmcf = ngx_http_cycle_get_module_main_conf(cycle,
                                               ngx_http_lrt_upstream_module);

    /* zones that the new cycle does not use are unmapped under our feet */

    lscfp = before->groups.elts;

    for (i = 0; i < before->groups.nelts; i++) {
        if (ngx_http_lrt_zone_find(cycle, &lscfp[i]->shm_zone->shm.name, NULL)
            != (ngx_slab_pool_t *) lscfp[i]->shm_zone->shm.addr)
        {
            lscfp[i]->table.head = NULL;
        }
    }

    if (lmcf == NULL || lmcf->registry == NULL) {
        return;
    }

    lmcf->owner = before->owner;
    ngx_http_lrt_start_tick(cycle, lmcf);
}


static void
ngx_http_lrt_claim(ngx_cycle_t *cycle, ngx_http_lrt_main_conf_t *lmcf)
{
    u_char       state;
    uint64_t     now;
    lrt_claim_t  claim;

    now = ngx_http_lrt_now() / 1000;

    claim.pid = (uint64_t) ngx_pid;
    claim.worker = (uint32_t) ngx_worker;
    claim.generation = lmcf->generation;

    if (ngx_http_lrt_process_stat(claim.pid, &state, &claim.start) != NGX_OK) {
        claim.start = 0;
    }

    if (lrt_registry_claim(lmcf->registry, &claim, now, &lmcf->owner)
        != LRT_OK)
    {
        ngx_log_error(NGX_LOG_ERR, cycle->log, 0,
                      "no free row for worker %ui among %uD: its requests "
                      "will be counted for ever if it is killed",
                      ngx_worker, lmcf->registry->rows);
    }

    /* what the worker held in whose place we are is free from now on */

    ngx_http_lrt_audit(lmcf, now, 1);
}


static void
ngx_http_lrt_start_tick(ngx_cycle_t *cycle, ngx_http_lrt_main_conf_t *lmcf)
{
    ngx_event_t  *ev;

    lmcf->dumb.fd = (ngx_socket_t) -1;
    lmcf->dumb.data = lmcf;

    ev = &lmcf->tick;

    ev->handler = ngx_http_lrt_tick;
    ev->data = &lmcf->dumb;
    ev->log = cycle->log;
    ev->cancelable = 1;

    ngx_add_timer(ev, NGX_HTTP_LRT_TICK);
}


static void
ngx_http_lrt_tick(ngx_event_t *ev)
{
    uint64_t                   now;
    ngx_uint_t                 reaped;
    ngx_connection_t          *dumb;
    ngx_http_lrt_main_conf_t  *lmcf;

    dumb = ev->data;
    lmcf = dumb->data;
    now = ngx_http_lrt_now() / 1000;

    lrt_registry_beat(lmcf->registry, &lmcf->owner, now);

    reaped = lrt_registry_reap(lmcf->registry, now, ngx_http_lrt_dead);

    ngx_http_lrt_audit(lmcf, now, reaped);
    ngx_http_lrt_merge_pending(lmcf);
    ngx_http_lrt_report_drained(lmcf);
    ngx_http_lrt_leave_pending(lmcf, now);
    ngx_http_lrt_cut_off(lmcf);
    ngx_http_lrt_state_tick(lmcf, now);
    ngx_http_lrt_check_tick(lmcf, now);
    ngx_http_lrt_publish_lag(lmcf, ngx_http_lrt_now());
    ngx_http_lrt_tell_panic(lmcf);

    ngx_add_timer(ev, NGX_HTTP_LRT_TICK);
}


static void
ngx_http_lrt_audit(ngx_http_lrt_main_conf_t *lmcf, uint64_t now,
    ngx_uint_t recover)
{
    ngx_uint_t                  i;
    ngx_http_lrt_srv_conf_t   **lscfp;

    lscfp = lmcf->groups.elts;

    for (i = 0; i < lmcf->groups.nelts; i++) {

        if (recover) {
            lrt_ledger_recover(&lscfp[i]->table, lmcf->registry, now);
        }

        lrt_ledger_audit(&lscfp[i]->table, lmcf->registry, now);
    }
}


/* one worker does, once for each begin and end, but not for ever */

static void
ngx_http_lrt_tell_panic(ngx_http_lrt_main_conf_t *lmcf)
{
    uint32_t                    n, well, active;
    uint64_t                    now, generation;
    unsigned                    before, after, bit;
    lrt_tier_e                  tier;
    ngx_uint_t                  i, level;
    lrt_quiet_e                 quiet;
    lrt_table_t                *t;
    ngx_http_lrt_srv_conf_t   **lscfp;

    static const char *const  tiers[] = { "", "backup " };

    lscfp = lmcf->groups.elts;
    now = ngx_http_lrt_now() / 1000;

    for (i = 0; i < lmcf->groups.nelts; i++) {

        t = &lscfp[i]->table;
        n = lrt_quiet_over(&t->head->panics, now);

        if (n) {
            ngx_log_error(NGX_LOG_WARN, ngx_cycle->log, 0,
                          "upstream \"%V\": panic began or ended %uD times in "
                          "the last minute", &lscfp[i]->upstream->host, n);
        }

        if (!lrt_census_news(t, &before, &after)) {
            continue;
        }

        generation = lrt_table_generation(t);

        for (tier = LRT_PRIMARY; tier < LRT_TIERS; tier++) {

            bit = 1 << tier;

            if (!((before ^ after) & bit)) {
                continue;
            }

            quiet = lrt_quiet(&t->head->panics, now);

            if (quiet == LRT_QUIET_NOT) {
                continue;
            }

            well = lrt_census_well(lrt_load(&t->head->census.value), tier);
            active = lrt_load(&lrt_table_side(t, generation)
                                   ->tier[tier].active);

            level = (after & bit) ? NGX_LOG_WARN : NGX_LOG_NOTICE;

            ngx_log_error(level, ngx_cycle->log, 0,
                          "upstream \"%V\": %uD of %uD %sservers %s healthy, "
                          "panic %s%s", &lscfp[i]->upstream->host, well,
                          active, tiers[tier], (well == 1) ? "is" : "are",
                          (after & bit) ? "begins: health is ignored"
                                        : "ends",
                          (quiet == LRT_QUIET_LAST)
                          ? "; no more lines about it for a while" : "");
        }
    }
}


/*
 * kill() does not tell a zombie, nor a process that got the number of a dead
 * one; /proc does.
 */

unsigned
ngx_http_lrt_dead(uint64_t pid, uint64_t start)
{
    u_char    state;
    uint64_t  started;

    if (kill((pid_t) pid, 0) == -1 && ngx_errno == NGX_ESRCH) {
        return 1;
    }

    if (ngx_http_lrt_process_stat(pid, &state, &started) != NGX_OK) {
        return 0;
    }

    return state == 'Z' || state == 'X' || (start && started != start);
}


/* fields 3 and 22 of /proc/<pid>/stat; the name in field 2 may hold anything */

ngx_int_t
ngx_http_lrt_process_stat(uint64_t pid, u_char *state, uint64_t *start)
{
    u_char      *p, *last, buf[1024], name[sizeof("/proc//stat")
                                           + NGX_INT64_LEN];
    ssize_t      n;
    ngx_fd_t     fd;
    ngx_uint_t   field;

    ngx_sprintf(name, "/proc/%uL/stat%Z", pid);

    fd = ngx_open_file(name, NGX_FILE_RDONLY, NGX_FILE_OPEN, 0);

    if (fd == NGX_INVALID_FILE) {
        return NGX_ERROR;
    }

    n = ngx_read_fd(fd, buf, sizeof(buf));

    (void) ngx_close_file(fd);

    if (n <= 0) {
        return NGX_ERROR;
    }

    last = buf + n;

    for (p = last - 1; p > buf && *p != ')'; p--) { /* void */ }

    if (last - p < 4) {
        return NGX_ERROR;
    }

    p += 2;
    *state = *p;

    for (field = 3; field < 22 && p < last; p++) {
        field += (*p == ' ');
    }

    *start = 0;

    for ( /* void */ ; p < last && *p >= '0' && *p <= '9'; p++) {
        *start = *start * 10 + (*p - '0');
    }

    return NGX_OK;
}
