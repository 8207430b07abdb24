
/*
 * Copyright (C) the ngx_http_lrt_upstream_module authors
 *
 * State files: what the files about them share.
 */


#ifndef _NGX_HTTP_LRT_STATE_H_INCLUDED_
#define _NGX_HTTP_LRT_STATE_H_INCLUDED_


#include "ngx_http_lrt_disk.h"
#include "ngx_http_lrt_spec.h"
#include "lrt_lease.h"
#include "lrt_split.h"


struct ngx_http_lrt_state_s {
    ngx_str_t                 path;          /* ends with a null */
    char                     *good;
    char                     *learned;
    ngx_str_t                 file_name;     /* of the directive */
    ngx_uint_t                line;

    ngx_uint_t                found;
    uint64_t                  hash;          /* of what was read at start */
    uint64_t                  next_ident;
    uint32_t                  given;         /* settings that it decides */
    uint64_t                  bad;           /* hash of what is of no use */
    ngx_str_t                 why;

    /* of a worker with the lease */

    ngx_http_lrt_job_t       *job;
    uint64_t                  check;         /* ms, when to look again */
    uint64_t                  retry;
    uint64_t                  complained;    /* generation */
    ngx_uint_t                edited;        /* look before it is written */
    ngx_uint_t                teach;        /* learned values, before it ends */
    ngx_uint_t                unlearned;     /* they could not be saved */
    int                       lock;          /* of FILE.lock, or -1 */
    uint32_t                  vacant;        /* looks that found it free */
};


/* what a file says; in a pool of its own */

typedef struct {
    ngx_pool_t               *pool;
    lrt_server_t             *server;
    uint32_t                  n;
    uint64_t                  next_ident;    /* or 0 */
    lrt_policy_t              policy;        /* if it says nothing: of before */
    ngx_uint_t                has_policy;
    lrt_settings_t            settings;      /* those that are given */
    uint32_t                  given;         /* NGX_HTTP_LRT_GIVEN_... */

    /* of the short form: for the first check, whatever the others are */

    ngx_str_t                 check_url;
    uint64_t                  check_interval;

    ngx_uint_t                check_line[LRT_CHECKS];
    ngx_uint_t                unix_server;   /* the first one, or 0 */
    ngx_uint_t                unix_line;

    uint64_t                  hash;
    ngx_str_t                 why;           /* it is of no use */
} ngx_http_lrt_state_doc_t;


/*
 * NGX_OK, NGX_DECLINED with doc->why, or NGX_ERROR.  Needs nothing of nginx
 * but the pool, so a thread may call it.
 */

ngx_int_t ngx_http_lrt_state_parse(ngx_http_lrt_state_doc_t *doc,
    ngx_str_t *text);

/*
 * What the document makes of the settings of the group: NGX_DECLINED with
 * doc->why if they cannot be in force here.  Not for a thread.
 */

ngx_int_t ngx_http_lrt_state_settings(ngx_http_lrt_srv_conf_t *lscf,
    ngx_http_lrt_state_doc_t *doc, lrt_settings_t *settings);

/* what is wrong with a text, and on which line: NGX_DECLINED, or NGX_ERROR */

ngx_int_t ngx_http_lrt_state_where_wrong(ngx_pool_t *pool, ngx_str_t *text,
    ngx_http_lrt_fault_t *fault, ngx_str_t *why);

/* all servers of the group, or NULL if there was no time or memory */

lrt_peer_t *ngx_http_lrt_state_snapshot(ngx_http_lrt_srv_conf_t *lscf,
    ngx_pool_t *pool, lrt_snapshot_t *snap);

/* the table as a text; its generation, or 0 if there was no time or memory */

uint64_t ngx_http_lrt_state_print(ngx_http_lrt_srv_conf_t *lscf,
    ngx_http_lrt_out_t *o);

typedef uint64_t (*ngx_http_lrt_print_pt)(ngx_http_lrt_srv_conf_t *lscf,
    ngx_http_lrt_out_t *o);

/*
 * Works of the thread: the table into the file and its copy, into the copy
 * only, and the file into a document, which "free" frees with the job.
 */

void ngx_http_lrt_state_write_job(ngx_http_lrt_job_t *job);
void ngx_http_lrt_state_copy_job(ngx_http_lrt_job_t *job);
void ngx_http_lrt_state_read_job(ngx_http_lrt_job_t *job);
void ngx_http_lrt_state_free(ngx_http_lrt_job_t *job);

/* text of a job, printed by a function like the one above */

ngx_int_t ngx_http_lrt_state_text(ngx_http_lrt_srv_conf_t *lscf,
    ngx_http_lrt_job_t *job, ngx_http_lrt_print_pt print);

/* "may" of jobs with the head of a table as data */

ngx_uint_t ngx_http_lrt_state_leads(ngx_http_lrt_job_t *job);

/* why the file is of no use, for the API */

void ngx_http_lrt_state_set_why(lrt_head_t *head, const ngx_str_t *why);

/*
 * ngx_http_lrt_state_apply.c: what a job has read comes into force, or is
 * refused (NGX_DECLINED); NGX_AGAIN: a writer has the lock, next time.
 */

ngx_int_t ngx_http_lrt_state_edited(ngx_http_lrt_srv_conf_t *lscf,
    ngx_http_lrt_job_t *job);

/* once for each content */

void ngx_http_lrt_state_refuse(ngx_http_lrt_srv_conf_t *lscf, uint64_t hash,
    const ngx_str_t *why);

/*
 * ngx_http_lrt_state_learned.c.  "read" puts the whole of a text into the
 * table, "n" servers of it that are "age" ms old, or says why not: then nothing
 * has changed.
 */

ngx_int_t ngx_http_lrt_learned_read(ngx_http_lrt_srv_conf_t *lscf,
    ngx_pool_t *pool, ngx_str_t *text, uint32_t *n, uint64_t *age,
    ngx_str_t *why);
uint64_t ngx_http_lrt_learned_print(ngx_http_lrt_srv_conf_t *lscf,
    ngx_http_lrt_out_t *o);

/* whether it is time to look for something new, and the job that does */

ngx_uint_t ngx_http_lrt_learned_is_due(lrt_table_t *t, uint64_t now);
void ngx_http_lrt_learned_job(ngx_http_lrt_job_t *job);

/*
 * ngx_http_lrt_state_lock.c: of several instances of nginx on one file, one
 * writes it.  A thread finds out which, before it reads the file.
 */

void ngx_http_lrt_state_lock(ngx_http_lrt_job_t *job);

/* "saved": nothing of this instance is left for its other workers to save */

void ngx_http_lrt_state_unlock(ngx_http_lrt_state_t *state, ngx_uint_t saved);


/* ngx_http_lrt_state_worker.c */

ngx_uint_t ngx_http_lrt_state_live(ngx_http_lrt_srv_conf_t *lscf);

/* workers of a newer configuration see to the file, and know its checks */

ngx_uint_t ngx_http_lrt_state_relieved(ngx_http_lrt_srv_conf_t *lscf);

/* true: this worker has the lease, and its thread has nothing to do */

ngx_uint_t ngx_http_lrt_state_collect(ngx_http_lrt_srv_conf_t *lscf,
    uint64_t now);

/* what is due, of one for whom the above is true */

void ngx_http_lrt_state_work(ngx_http_lrt_srv_conf_t *lscf, uint64_t now);

/* the thread's job, if it is done, after what it had of the worker */

ngx_http_lrt_job_t *ngx_http_lrt_state_ended(ngx_http_lrt_state_t *state);

/* the next one need not wait */

void ngx_http_lrt_state_give(ngx_http_lrt_srv_conf_t *lscf, uint64_t now);

/* ngx_http_lrt_state_leave.c: an old worker; one whose table was replaced */

void ngx_http_lrt_state_leaving(ngx_http_lrt_srv_conf_t *lscf, uint64_t now);
void ngx_http_lrt_state_leave(ngx_http_lrt_srv_conf_t *lscf);


#endif /* _NGX_HTTP_LRT_STATE_H_INCLUDED_ */
