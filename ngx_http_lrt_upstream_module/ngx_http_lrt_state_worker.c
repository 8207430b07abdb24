
/*
 * Copyright (C) the ngx_http_lrt_upstream_module authors
 *
 * The worker that holds the lease of a group writes each change to the state
 * file, and looks for changes that others make to it.
 */


#include "ngx_http_lrt_state.h"


#define NGX_HTTP_LRT_STATE_LEASE  600        /* ms */
#define NGX_HTTP_LRT_STATE_CHECK  500
#define NGX_HTTP_LRT_STATE_STOP   1000
#define NGX_HTTP_LRT_STATE_RETRY  2000

/* no generation: what the file has is not what is in force */

#define NGX_HTTP_LRT_STATE_UNSAVED  UINT64_MAX


static ngx_uint_t ngx_http_lrt_state_write(ngx_http_lrt_srv_conf_t *lscf);
static ngx_uint_t ngx_http_lrt_state_learn(ngx_http_lrt_srv_conf_t *lscf,
    uint64_t now);
static void ngx_http_lrt_state_learned(ngx_http_lrt_srv_conf_t *lscf,
    ngx_http_lrt_job_t *job, uint64_t now);
static void ngx_http_lrt_state_save(ngx_http_lrt_srv_conf_t *lscf,
    void (*work)(ngx_http_lrt_job_t *job));
static lrt_policy_t ngx_http_lrt_state_policy(lrt_table_t *t);
static void ngx_http_lrt_state_start(ngx_http_lrt_srv_conf_t *lscf,
    ngx_http_lrt_job_t *job);
static void ngx_http_lrt_state_finish(ngx_http_lrt_srv_conf_t *lscf,
    ngx_http_lrt_job_t *job, uint64_t now);
static void ngx_http_lrt_state_saved(ngx_http_lrt_srv_conf_t *lscf,
    ngx_http_lrt_job_t *job, uint64_t now);


/* of this process: its thread has a job about what was learned */

static ngx_uint_t  ngx_http_lrt_learning;


/* the worker's timer; an old worker leads no more, but ends what he began */

void
ngx_http_lrt_state_tick(ngx_http_lrt_main_conf_t *lmcf, uint64_t now)
{
    ngx_uint_t                  i;
    ngx_http_lrt_srv_conf_t   **lscf;

    lscf = lmcf->groups.elts;

    for (i = 0; i < lmcf->groups.nelts; i++) {

        if (!ngx_http_lrt_state_live(lscf[i])) {
            ngx_http_lrt_state_leave(lscf[i]);
            continue;
        }

        if (!ngx_exiting && !ngx_terminate) {

            if (ngx_http_lrt_state_collect(lscf[i], now)) {
                ngx_http_lrt_state_work(lscf[i], now);
            }

        } else {
            ngx_http_lrt_state_leaving(lscf[i], now);
        }
    }
}


ngx_uint_t
ngx_http_lrt_state_live(ngx_http_lrt_srv_conf_t *lscf)
{
    lrt_head_t  *head;

    head = lscf->table.head;

    return lscf->state
           && head
           && !lrt_load(&head->superseded)
           && lrt_load(&head->merged);
}


ngx_uint_t
ngx_http_lrt_state_relieved(ngx_http_lrt_srv_conf_t *lscf)
{
    return lrt_load(&lscf->table.head->merged) > lscf->conf.number;
}


ngx_uint_t
ngx_http_lrt_state_collect(ngx_http_lrt_srv_conf_t *lscf, uint64_t now)
{
    ngx_uint_t           leads, mine;
    ngx_http_lrt_job_t  *job;

    mine = lrt_lease_mine(&lscf->table.head->state_lease, (uint32_t) ngx_pid);

    /* a slow disk is no reason for others to try as well */

    leads = lrt_lease_take(&lscf->table.head->state_lease, (uint32_t) ngx_pid,
                           ngx_http_lrt_now() / 1000,
                           NGX_HTTP_LRT_STATE_LEASE);

    job = lscf->state->job;

    if (job == NULL) {
        return leads;
    }

    /* what it found may be older than what another one has done since */

    job->late |= !mine;

    job = ngx_http_lrt_state_ended(lscf->state);

    if (job == NULL) {
        return 0;
    }

    if (leads && !job->late && !ngx_http_lrt_state_relieved(lscf)) {
        ngx_http_lrt_state_finish(lscf, job, now);
        return 1;
    }

    /* who leads instead will find out what has become of it */

    ngx_http_lrt_state_free(job);
    lscf->state->edited = 1;

    ngx_http_lrt_state_give(lscf, now);

    return 0;
}


ngx_http_lrt_job_t *
ngx_http_lrt_state_ended(ngx_http_lrt_state_t *state)
{
    ngx_http_lrt_job_t  *job;

    job = state->job;

    if (!lrt_load(&job->finished)) {
        return NULL;
    }

    state->job = NULL;

    if (job->work == ngx_http_lrt_state_read_job) {
        state->lock = job->lock;
        state->vacant = job->vacant;

    } else if (job->work == ngx_http_lrt_learned_job) {
        ngx_http_lrt_learning = 0;
    }

    return job;
}


void
ngx_http_lrt_state_give(ngx_http_lrt_srv_conf_t *lscf, uint64_t now)
{
    lrt_lease_give(&lscf->table.head->state_lease, (uint32_t) ngx_pid, now);
}


void
ngx_http_lrt_state_work(ngx_http_lrt_srv_conf_t *lscf, uint64_t now)
{
    uint64_t               writer;
    ngx_uint_t             unlocked;
    lrt_head_t            *head;
    ngx_http_lrt_job_t    *job;
    ngx_http_lrt_state_t  *state;

    state = lscf->state;
    head = lscf->table.head;
    writer = lrt_load(&head->state_writer);

    /* who was to write it is gone: whether he did so is to be seen */

    if (lrt_load(&head->state_next)) {
        state->edited = 1;
    }

    /* without the lock, others may not know that it is written here */

    unlocked = (state->lock == -1 && now >= state->check);

    if (writer == LRT_WRITER_SELF
        && !unlocked
        && ((now >= state->retry && ngx_http_lrt_state_write(lscf))
            || ngx_http_lrt_state_learn(lscf, now)))
    {
        return;
    }

    if (now < state->retry
        || (now < state->check && !state->edited
            && writer != LRT_WRITER_UNKNOWN))
    {
        return;
    }

    state->edited = 0;
    state->check = now + NGX_HTTP_LRT_STATE_CHECK;

    job = ngx_http_lrt_disk_job((char *) state->path.data, ngx_cycle->log);

    if (job) {
        job->work = ngx_http_lrt_state_read_job;
        job->known = lrt_load(&head->state_hash);
        job->mine = lrt_load(&head->state_next);
        job->number = lrt_load(&head->state_bad);
        job->policy = ngx_http_lrt_state_policy(&lscf->table);
        job->lock = state->lock;
        job->vacant = state->vacant;
        job->writer = (lrt_writer_e) writer;

        ngx_http_lrt_state_start(lscf, job);
    }
}


/* whether there was something to write, and it has begun */

static ngx_uint_t
ngx_http_lrt_state_write(ngx_http_lrt_srv_conf_t *lscf)
{
    uint64_t     generation;
    lrt_head_t  *head;

    head = lscf->table.head;

    if (lscf->state->edited || lrt_load(&head->state_bad)) {
        return 0;
    }

    generation = lrt_table_generation(&lscf->table);

    if (generation != lrt_load(&head->state_saved)) {
        ngx_http_lrt_state_save(lscf, ngx_http_lrt_state_write_job);
        return 1;
    }

    /* an edit was applied: the file stays as it is */

    if (generation != lrt_load(&head->state_good)) {
        ngx_http_lrt_state_save(lscf, ngx_http_lrt_state_copy_job);
        return 1;
    }

    return 0;
}


/*
 * The same of what was learned.  One group at a time, since the thread has
 * changes of others to save.
 */

static ngx_uint_t
ngx_http_lrt_state_learn(ngx_http_lrt_srv_conf_t *lscf, uint64_t now)
{
    ngx_http_lrt_job_t    *job;
    ngx_http_lrt_state_t  *state;

    state = lscf->state;

    if (ngx_http_lrt_learning
        || (!state->teach && !ngx_http_lrt_learned_is_due(&lscf->table, now)))
    {
        return 0;
    }

    job = ngx_http_lrt_disk_job(state->learned, ngx_cycle->log);

    if (job == NULL) {
        state->teach = 0;
        return 0;
    }

    job->work = ngx_http_lrt_learned_job;
    job->known = lrt_load(&lscf->table.head->learned_hash);
    job->data = lscf;

    ngx_http_lrt_learning = 1;
    ngx_http_lrt_state_start(lscf, job);

    return 1;
}


static void
ngx_http_lrt_state_learned(ngx_http_lrt_srv_conf_t *lscf,
    ngx_http_lrt_job_t *job, uint64_t now)
{
    ngx_http_lrt_state_t  *state;

    state = lscf->state;

    state->teach = 0;
    lrt_store(&lscf->table.head->learned_at, now);

    if (job->rc == NGX_HTTP_LRT_JOB_DONE) {
        lrt_store(&lscf->table.head->learned_hash, job->number);
        state->unlearned = 0;

    } else if (job->rc == NGX_HTTP_LRT_JOB_FAILED && !state->unlearned) {
        state->unlearned = 1;

        ngx_log_error(NGX_LOG_WARN, ngx_cycle->log, job->error,
                      "file \"%s\" of what was learned in upstream \"%V\" "
                      "could not be saved: %s", state->learned,
                      &lscf->upstream->host, job->what);
    }
}


static lrt_policy_t
ngx_http_lrt_state_policy(lrt_table_t *t)
{
    return lrt_table_side(t, lrt_table_generation(t))->policy;
}


static void
ngx_http_lrt_state_start(ngx_http_lrt_srv_conf_t *lscf,
    ngx_http_lrt_job_t *job)
{
    if (ngx_http_lrt_disk_start(job, ngx_cycle->log) == NGX_OK) {
        lscf->state->job = job;
        return;
    }

    ngx_http_lrt_disk_free(job);
    ngx_http_lrt_learning = 0;
    lscf->state->teach = 0;
    lrt_store(&lscf->table.head->state_next, 0);
    lrt_store(&lscf->table.head->state_writer, LRT_WRITER_SELF);
    lscf->state->retry = ngx_http_lrt_now() / 1000 + NGX_HTTP_LRT_STATE_RETRY;
}


static void
ngx_http_lrt_state_save(ngx_http_lrt_srv_conf_t *lscf,
    void (*work)(ngx_http_lrt_job_t *job))
{
    ngx_http_lrt_job_t  *job;

    job = ngx_http_lrt_disk_job((char *) lscf->state->path.data,
                                ngx_cycle->log);

    if (job == NULL) {
        lscf->state->retry = ngx_http_lrt_now() / 1000;
        return;
    }

    job->known = lrt_load(&lscf->table.head->state_hash);
    job->work = work;
    job->data = lscf;

    ngx_http_lrt_state_start(lscf, job);
}


/*
 * Without a master: the new configuration begins to look after its files, and
 * tables may go.  A thread that does not get on with a slow disk keeps what it
 * has.
 */

void
ngx_http_lrt_state_stop(ngx_http_lrt_main_conf_t *lmcf)
{
    ngx_uint_t                  i, n;
    ngx_http_lrt_job_t         *job;
    ngx_http_lrt_state_t       *state;
    ngx_http_lrt_srv_conf_t   **lscf;

    n = 0;
    lscf = lmcf->groups.elts;

    for (i = 0; i < lmcf->groups.nelts; i++) {
        state = lscf[i]->state;

        if (state == NULL) {
            continue;
        }

        while (state->job && n < NGX_HTTP_LRT_STATE_STOP) {

            job = ngx_http_lrt_state_ended(state);

            if (job) {
                ngx_http_lrt_state_free(job);

            } else {
                ngx_msleep(1);
                n++;
            }
        }

        if (state->job == NULL) {
            ngx_http_lrt_state_unlock(state, 0);
        }
    }

    ngx_http_lrt_learning = 0;
}


static void
ngx_http_lrt_state_finish(ngx_http_lrt_srv_conf_t *lscf,
    ngx_http_lrt_job_t *job, uint64_t now)
{
    lrt_head_t                *head;
    ngx_str_t                  why;
    u_char                     text[NGX_MAX_ERROR_STR];

    head = lscf->table.head;

    if (job->work == ngx_http_lrt_learned_job) {
        ngx_http_lrt_state_learned(lscf, job, now);
        ngx_http_lrt_state_free(job);
        return;
    }

    if (job->rc == NGX_HTTP_LRT_JOB_AGAIN) {

        /* the group was changing, or there is no memory: next time */

        lscf->state->edited = (job->work == ngx_http_lrt_state_read_job);

    } else if (job->work == ngx_http_lrt_state_copy_job) {
        lrt_store(&head->state_good, job->number);

    } else if (job->work == ngx_http_lrt_state_write_job) {
        ngx_http_lrt_state_saved(lscf, job, now);

    } else if (job->rc == NGX_HTTP_LRT_JOB_DONE
               || (job->mine && job->hash == job->mine))
    {
        /* what was wrong was taken back, or a worker died after writing */

        lrt_store(&head->state_hash, job->hash);
        lrt_store(&head->state_bad, 0);

    } else if (job->rc == NGX_HTTP_LRT_JOB_MISSING) {

        /* somebody wants it to be written anew */

        lrt_store(&head->state_bad, 0);
        lrt_store(&head->state_hash, 0);
        lrt_store(&head->state_saved, NGX_HTTP_LRT_STATE_UNSAVED);

    } else if (job->rc == NGX_HTTP_LRT_JOB_FAILED) {

        why.data = text;
        why.len = ngx_http_lrt_disk_why(text, text + sizeof(text), job) - text;

        ngx_http_lrt_state_refuse(lscf,
                                  ngx_http_lrt_disk_hash(text, why.len), &why);

    } else if (job->data) {
        lscf->state->edited = (ngx_http_lrt_state_edited(lscf, job)
                               == NGX_AGAIN);
    }

    /* changes are taken when what was there before them is in force */

    if (job->work == ngx_http_lrt_state_read_job
        && (job->writer == LRT_WRITER_OTHER
            || (job->writer == LRT_WRITER_SELF && !lscf->state->edited)))
    {
        lrt_store(&head->state_writer, job->writer);
    }

    if (job->work != ngx_http_lrt_state_copy_job) {
        lrt_store(&head->state_next, 0);
    }

    ngx_http_lrt_state_free(job);
}


static void
ngx_http_lrt_state_saved(ngx_http_lrt_srv_conf_t *lscf,
    ngx_http_lrt_job_t *job, uint64_t now)
{
    lrt_head_t            *head;
    ngx_http_lrt_state_t  *state;

    head = lscf->table.head;
    state = lscf->state;

    switch (job->rc) {

    case NGX_HTTP_LRT_JOB_DONE:
        lrt_store(&head->state_hash, job->hash);
        lrt_store(&head->state_saved, job->number);
        lrt_store(&head->state_good, job->number);
        state->complained = 0;

        if (job->what) {
            ngx_log_error(NGX_LOG_WARN, ngx_cycle->log, job->error,
                          "state file \"%V\" of upstream \"%V\" is saved, "
                          "but: %s", &state->path, &lscf->upstream->host,
                          job->what);
        }

        return;

    case NGX_HTTP_LRT_JOB_EDITED:

        /* the edit is looked at first, our change is part of what it meets */

        ngx_log_error(NGX_LOG_WARN, ngx_cycle->log, 0,
                      "state file \"%V\" of upstream \"%V\" was edited while "
                      "generation %uL was to be saved: the file decides",
                      &state->path, &lscf->upstream->host, job->number);

        state->edited = 1;
        return;

    default:
        state->retry = now + NGX_HTTP_LRT_STATE_RETRY;

        if (state->complained != job->number) {
            state->complained = job->number;

            ngx_log_error(NGX_LOG_CRIT, ngx_cycle->log, job->error,
                          "state file \"%V\" of upstream \"%V\" could not be "
                          "saved: %s", &state->path, &lscf->upstream->host,
                          job->what);
        }

        return;
    }
}
