
/*
 * Copyright (C) the ngx_http_lrt_upstream_module authors
 *
 * The worker that probes a group, as the files about it share it:
 *
 *   ngx_http_lrt_check.c           who it is
 *   ngx_http_lrt_check_wheel.c     when a server is probed
 *   ngx_http_lrt_check_task.c      a probe, and what comes of it
 *   ngx_http_lrt_check_question.c  what is asked
 */


#ifndef _NGX_HTTP_LRT_CHECKER_H_INCLUDED_
#define _NGX_HTTP_LRT_CHECKER_H_INCLUDED_


#include "ngx_http_lrt_check.h"

#include "lrt_quiet.h"
#include "lrt_rhythm.h"


#define NGX_HTTP_LRT_WHEEL          1024     /* buckets */
#define NGX_HTTP_LRT_BUCKET         10       /* ms */

#define NGX_HTTP_LRT_CHECK_MINUTE   60000    /* ms */


/* a check of a server */

typedef struct {
    ngx_http_lrt_checker_t      *checker;
    ngx_http_lrt_probe_t        *probe;
    lrt_probe_t                  begun;
    lrt_due_t                    due;
    uint32_t                     next;       /* in a bucket, or in the queue */
    unsigned                     settled:1;  /* has its place in the interval */
    unsigned                     again:1;    /* one that came to nothing */
    unsigned                     waits:1;    /* for the end of another one */

    uint64_t                     quiet;      /* of the first one of a server */
} ngx_http_lrt_task_t;


struct ngx_http_lrt_checker_s {
    ngx_http_lrt_srv_conf_t     *group;
    ngx_pool_t                  *pool;
    ngx_log_t                    log;

    uint64_t                     generation;
    uint64_t                     asks;       /* of the side it was made for */
    uint64_t                     asked;
    uint64_t                     rounds[LRT_CHECKS];
    uint64_t                     counted;    /* ms */
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


/* ngx_http_lrt_check.c */

void ngx_http_lrt_checker_stop(ngx_http_lrt_srv_conf_t *lscf, uint64_t now);

/* false for one who slept too long: others may have gone on */

ngx_uint_t ngx_http_lrt_checker_leads(const ngx_http_lrt_checker_t *checker,
    uint64_t now);

/* of what is wrong here, and not with a server: each once a minute */

void ngx_http_lrt_checker_complain(ngx_http_lrt_checker_t *checker,
    uint64_t now, const char *why);

/* ngx_http_lrt_check_question.c: asks nothing if that cannot be asked here */

ngx_int_t ngx_http_lrt_checker_ask(ngx_http_lrt_checker_t *checker,
    ngx_uint_t i);

/* ngx_http_lrt_check_wheel.c; after "sync" the checker may be gone */

void ngx_http_lrt_checker_sync(ngx_http_lrt_checker_t *checker, uint64_t now);
ngx_uint_t ngx_http_lrt_checker_wishes(ngx_http_lrt_checker_t *checker,
    uint64_t now);
void ngx_http_lrt_checker_count(ngx_http_lrt_checker_t *checker, uint64_t now);

/*
 * Starts what is due as long as something is left of the slice (us) of all
 * groups, and tells when to come again.
 */

ngx_msec_t ngx_http_lrt_checker_run(ngx_http_lrt_checker_t *checker,
    uint64_t now, uint64_t *left);

/* ngx_http_lrt_check_task.c */

void ngx_http_lrt_task_start(ngx_http_lrt_task_t *task, uint64_t now);
void ngx_http_lrt_task_drop(ngx_http_lrt_task_t *task);

/* probes of this process that are on their way */

ngx_uint_t ngx_http_lrt_tasks_busy(void);


#endif /* _NGX_HTTP_LRT_CHECKER_H_INCLUDED_ */
