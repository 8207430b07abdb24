
/*
 * Copyright (C) the ngx_http_lrt_upstream_module authors
 *
 * A probe of a server from the side of the group: where it goes, and what
 * comes of it.
 */


#include "ngx_http_lrt_checker.h"


static void ngx_http_lrt_task_count(ngx_http_lrt_checker_t *checker,
    ngx_int_t n);
static void ngx_http_lrt_task_done(void *data, const lrt_result_t *result);
static uint64_t *ngx_http_lrt_task_quiet(ngx_http_lrt_task_t *task);
static void ngx_http_lrt_task_sum_up(ngx_http_lrt_task_t *task, uint64_t now);
static void ngx_http_lrt_task_log(ngx_http_lrt_task_t *task,
    const lrt_turn_t *turn, const lrt_result_t *result, uint64_t now);


static const char *const  ngx_http_lrt_uses[] = {
    "up", "checking", "unhealthy"
};


static ngx_uint_t  ngx_http_lrt_all_busy;


ngx_uint_t
ngx_http_lrt_tasks_busy(void)
{
    return ngx_http_lrt_all_busy;
}


static void
ngx_http_lrt_task_count(ngx_http_lrt_checker_t *checker, ngx_int_t n)
{
    checker->busy += n;
    ngx_http_lrt_all_busy += n;
}


void
ngx_http_lrt_task_start(ngx_http_lrt_task_t *task, uint64_t now)
{
    lrt_table_t             *t;
    lrt_result_t             result;
    ngx_sockaddr_t           sockaddr;
    ngx_http_lrt_errand_t    errand;
    ngx_http_lrt_checker_t  *checker;

    if (ngx_http_lrt_probe_busy(task->probe)) {
        task->waits = 1;
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

    ngx_http_lrt_task_count(checker, 1);

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
    ngx_http_lrt_task_count(checker, -1);

    now = ngx_http_lrt_now() / 1000;
    t = &checker->group->table;

    /* who slept too long has no say */

    if (!ngx_http_lrt_checker_leads(checker, now)
        || lrt_health_result(t, &task->begun, result, now, &turn) != LRT_OK)
    {
        return;
    }

    if (result->how == LRT_PROBE_UNCLEAR) {
        ngx_http_lrt_checker_complain(checker, now,
                                      lrt_check_reason_text(result->reason));
    }

    ngx_http_lrt_task_sum_up(task, now);

    if (turn.turned || turn.readmitted) {
        ngx_http_lrt_task_log(task, &turn, result, now);
    }

    if (task->waits || (result->reason == LRT_CHECK_LATE && !task->again)) {
        task->again = !task->waits;
        task->waits = 0;
        ngx_http_lrt_task_start(task, now);
        return;
    }

    task->again = 0;
}


void
ngx_http_lrt_task_drop(ngx_http_lrt_task_t *task)
{
    if (ngx_http_lrt_probe_busy(task->probe)) {
        ngx_http_lrt_task_count(task->checker, -1);
    }

    ngx_http_lrt_probe_end(&task->probe);
    task->begun.ident = 0;
}


/* lines about a server are counted together, whichever check they are of */

static uint64_t *
ngx_http_lrt_task_quiet(ngx_http_lrt_task_t *task)
{
    ngx_http_lrt_checker_t  *checker;

    checker = task->checker;

    return &checker->task[task->begun.slot * checker->n].quiet;
}


static void
ngx_http_lrt_task_sum_up(ngx_http_lrt_task_t *task, uint64_t now)
{
    uint32_t            n;
    uint64_t            word;
    lrt_str_t           name;
    const lrt_table_t  *t;

    n = lrt_quiet_over(ngx_http_lrt_task_quiet(task), now);

    if (n == 0) {
        return;
    }

    t = &task->checker->group->table;
    name = lrt_table_name(&t->detail[task->begun.slot]);
    word = lrt_load(&t->hot[task->begun.slot].health);

    ngx_log_error(NGX_LOG_WARN, ngx_cycle->log, 0,
                  "upstream \"%V\": server %*s, id %uL, changed state %uD "
                  "times in the last minute, and is %s; %uD turns so far",
                  &task->checker->group->upstream->host, name.len, name.data,
                  task->begun.ident - 1, n,
                  ngx_http_lrt_uses[lrt_health_use(word)],
                  lrt_load(&t->health[task->begun.slot].turns));
}


/* one line for each turn, but not for ever for a server that flaps */

static void
ngx_http_lrt_task_log(ngx_http_lrt_task_t *task, const lrt_turn_t *turn,
    const lrt_result_t *result, uint64_t now)
{
    u_char              *p, *last, text[NGX_MAX_ERROR_STR / 2];
    lrt_str_t            name, uri;
    ngx_uint_t           level;
    lrt_quiet_e          quiet;
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

    quiet = lrt_quiet(ngx_http_lrt_task_quiet(task), now);

    if (quiet == LRT_QUIET_NOT) {
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

    if (quiet == LRT_QUIET_LAST) {
        p = ngx_slprintf(p, last, "; no more lines about it for a while");
    }

    ngx_log_error(level, ngx_cycle->log, 0,
                  "upstream \"%V\": server %*s, id %uL, %*s",
                  &task->checker->group->upstream->host, name.len, name.data,
                  task->begun.ident - 1, (size_t) (p - text), text);
}
