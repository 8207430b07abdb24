
/*
 * Copyright (C) the ngx_http_lrt_upstream_module authors
 *
 * What the thread does with state files.  Of a table it reads what all read
 * without a lock; printing thousands of servers would delay requests as well.
 */


#include "ngx_http_lrt_state.h"


static void ngx_http_lrt_state_copy(ngx_http_lrt_job_t *job);


void
ngx_http_lrt_state_write_job(ngx_http_lrt_job_t *job)
{
    lrt_head_t               *head;
    ngx_http_lrt_srv_conf_t  *lscf;

    lscf = job->data;
    head = lscf->table.head;

    if (ngx_http_lrt_state_text(lscf, job, ngx_http_lrt_state_print)
        != NGX_OK)
    {
        return;
    }

    /* a worker that leaves does not wait for ever: its configuration may go */

    job->data = head;

    if (!ngx_http_lrt_state_leads(job)) {
        job->rc = NGX_HTTP_LRT_JOB_EDITED;
        return;
    }

    /* if we do not live to tell, this text is known as ours */

    lrt_store(&head->state_next, ngx_http_lrt_disk_hash(job->text, job->len));

    job->may = ngx_http_lrt_state_leads;

    ngx_http_lrt_disk_write(job);

    if (job->rc == NGX_HTTP_LRT_JOB_DONE) {
        ngx_http_lrt_state_copy(job);
    }
}


/* who was stopped while he wrote must not bring back what was before */

ngx_uint_t
ngx_http_lrt_state_leads(ngx_http_lrt_job_t *job)
{
    lrt_head_t  *head;

    head = job->data;

    return lrt_lease_mine(&head->state_lease, (uint32_t) ngx_pid);
}


void
ngx_http_lrt_state_copy_job(ngx_http_lrt_job_t *job)
{
    if (ngx_http_lrt_state_text(job->data, job, ngx_http_lrt_state_print)
        == NGX_OK)
    {
        ngx_http_lrt_state_copy(job);
    }
}


ngx_int_t
ngx_http_lrt_state_text(ngx_http_lrt_srv_conf_t *lscf,
    ngx_http_lrt_job_t *job, ngx_http_lrt_print_pt print)
{
    u_char              *p;
    ngx_pool_t          *pool;
    ngx_chain_t         *cl;
    ngx_http_lrt_out_t   out;

    job->rc = NGX_HTTP_LRT_JOB_AGAIN;

    pool = ngx_create_pool(4096, ngx_cycle->log);
    if (pool == NULL) {
        return NGX_ERROR;
    }

    ngx_http_lrt_out_init(&out, pool);

    job->number = print(lscf, &out);
    job->text = job->number ? malloc(out.size + 1) : NULL;

    if (job->text) {
        p = job->text;

        for (cl = out.chain; cl; cl = cl->next) {
            p = ngx_cpymem(p, cl->buf->pos, cl->buf->last - cl->buf->pos);
        }

        job->len = p - job->text;
        job->rc = NGX_HTTP_LRT_JOB_DONE;
    }

    ngx_destroy_pool(pool);

    return job->text ? NGX_OK : NGX_ERROR;
}


/* the copy is a comfort: if it fails the file itself is still there */

static void
ngx_http_lrt_state_copy(ngx_http_lrt_job_t *job)
{
    char                 path[NGX_MAX_PATH];
    ngx_http_lrt_job_t   good;

    if (ngx_strlen(job->path) + sizeof(".good") > sizeof(path)) {
        return;
    }

    good = *job;
    good.path = path;
    good.over = 1;
    good.may = NULL;

    ngx_sprintf((u_char *) path, "%s.good%Z", job->path);

    ngx_http_lrt_disk_write(&good);
}


void
ngx_http_lrt_state_read_job(ngx_http_lrt_job_t *job)
{
    ngx_int_t                  rc;
    ngx_str_t                  text;
    ngx_pool_t                *pool;
    ngx_http_lrt_state_doc_t  *doc;

    /* what was there before it was locked is not the last word */

    ngx_http_lrt_state_lock(job);
    ngx_http_lrt_disk_read(job);

    if (job->rc != NGX_HTTP_LRT_JOB_EDITED
        || job->hash == job->number
        || job->hash == job->mine)
    {
        return;
    }

    /* the log of the pool is not used: memory that is short is no error here */

    pool = ngx_create_pool(4096, ngx_cycle->log);

    doc = pool ? ngx_pcalloc(pool, sizeof(ngx_http_lrt_state_doc_t)) : NULL;

    rc = NGX_ERROR;

    if (doc) {
        doc->pool = pool;
        doc->policy = job->policy;

        text.data = job->text;
        text.len = job->len;

        rc = ngx_http_lrt_state_parse(doc, &text);
    }

    /* what could not be read to its end says nothing */

    if (rc == NGX_OK || (rc == NGX_DECLINED && doc->why.len)) {
        job->data = doc;
        return;
    }

    if (pool) {
        ngx_destroy_pool(pool);
    }

    job->rc = NGX_HTTP_LRT_JOB_AGAIN;
}


void
ngx_http_lrt_state_free(ngx_http_lrt_job_t *job)
{
    ngx_http_lrt_state_doc_t  *doc;

    doc = (job->work == ngx_http_lrt_state_read_job) ? job->data : NULL;

    if (doc) {
        ngx_destroy_pool(doc->pool);
    }

    ngx_http_lrt_disk_free(job);
}
