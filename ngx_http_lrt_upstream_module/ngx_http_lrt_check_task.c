
/*
 * Copyright (C) the ngx_http_lrt_upstream_module authors
 *
 * A probe of a server from the side of the group: where it goes, and what
 * comes of it.
 */


#include "ngx_http_lrt_checker.h"


#define NGX_HTTP_LRT_CHECK_LINES    6        /* about a server, in a minute */


static void ngx_http_lrt_task_count(ngx_http_lrt_checker_t *checker,
    ngx_int_t n);
static void ngx_http_lrt_task_done(void *data, const lrt_result_t *result);
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
