
/*
 * Copyright (C) the ngx_http_lrt_upstream_module authors
 *
 * Files, read and written by a thread, so that a slow disk stops nobody else.
 * A job belongs to the thread from "start" until it is done.
 */


#ifndef _NGX_HTTP_LRT_DISK_H_INCLUDED_
#define _NGX_HTTP_LRT_DISK_H_INCLUDED_


#include "ngx_http_lrt_compat.h"

#include "lrt_atomic.h"
#include "lrt_table.h"


#define NGX_HTTP_LRT_DISK_MAX  (64 * 1024 * 1024)


typedef struct ngx_http_lrt_job_s  ngx_http_lrt_job_t;

typedef enum {
    NGX_HTTP_LRT_JOB_DONE = 0,
    NGX_HTTP_LRT_JOB_EDITED,         /* the file is not what it was */
    NGX_HTTP_LRT_JOB_MISSING,
    NGX_HTTP_LRT_JOB_FAILED,         /* "what" and "error" say why */
    NGX_HTTP_LRT_JOB_AGAIN           /* it was not the moment for it */
} ngx_http_lrt_job_e;


struct ngx_http_lrt_job_s {
    ngx_http_lrt_job_t    *next;
    void                 (*work)(ngx_http_lrt_job_t *job);
    uint32_t               finished;     /* by lrt_load() */

    char                  *path;         /* in the same piece of memory */
    uint64_t               known;       /* hash of the file; 0: there is none */
    size_t                 max;          /* of the file, 0: as any */
    mode_t                 mode;         /* of the file, 0: as it has */
    unsigned               over:1;       /* replace whatever is there */
    unsigned               plain:1;      /* a link is not followed */
    ngx_uint_t           (*may)(ngx_http_lrt_job_t *job);
                                         /* asked last before that, or NULL */

    ngx_http_lrt_job_e     rc;
    const char            *what;
    int                    error;

    u_char                *text;         /* to write; or what was read */
    size_t                 len;
    uint64_t               hash;         /* of the text */

    /* for the owner of the job */

    ngx_uint_t             late;         /* somebody else led meanwhile */
    uint64_t               mine;         /* as good as the known hash */
    uint64_t               number;
    int                    lock;         /* see ngx_http_lrt_state_lock.c */
    uint32_t               vacant;
    lrt_writer_e           writer;
    lrt_policy_t           policy;
    void                  *data;
};


/* hash of a text; never 0 */

uint64_t ngx_http_lrt_disk_hash(const void *text, size_t len);

ngx_http_lrt_job_t *ngx_http_lrt_disk_job(const char *path, ngx_log_t *log);
void ngx_http_lrt_disk_free(ngx_http_lrt_job_t *job);

/* what has failed, in words */

u_char *ngx_http_lrt_disk_why(u_char *p, u_char *last,
    const ngx_http_lrt_job_t *job);

/* NGX_ERROR: there is no thread, the job was not started */

ngx_int_t ngx_http_lrt_disk_start(ngx_http_lrt_job_t *job, ngx_log_t *log);

/*
 * Works of jobs, which may also be done at once.  "read" leaves the text if it
 * is not the one that is known; "write" replaces the file in one step, unless
 * it is not the one that is known.
 */

void ngx_http_lrt_disk_read(ngx_http_lrt_job_t *job);
void ngx_http_lrt_disk_write(ngx_http_lrt_job_t *job);


#endif /* _NGX_HTTP_LRT_DISK_H_INCLUDED_ */
