
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

/* the table as a text; its generation, or 0 if there was no time or memory */

uint64_t ngx_http_lrt_state_print(ngx_http_lrt_srv_conf_t *lscf,
    ngx_http_lrt_out_t *o);

/*
 * Works of the thread: the table into the file and its copy, into the copy
 * only, and the file into a document, which "free" frees with the job.
 */

void ngx_http_lrt_state_write_job(ngx_http_lrt_job_t *job);
void ngx_http_lrt_state_copy_job(ngx_http_lrt_job_t *job);
void ngx_http_lrt_state_read_job(ngx_http_lrt_job_t *job);
void ngx_http_lrt_state_free(ngx_http_lrt_job_t *job);

/* why the file is of no use, for the API */

void ngx_http_lrt_state_set_why(lrt_head_t *head, const ngx_str_t *why);


#endif /* _NGX_HTTP_LRT_STATE_H_INCLUDED_ */
