
/*
 * Copyright (C) the ngx_http_lrt_upstream_module authors
 *
 * A state file when a worker leaves: nothing that was changed may be lost, and
 * nobody may have to wait for him.
 */


#include "ngx_http_lrt_state.h"


#define NGX_HTTP_LRT_STATE_QUIT   4000       /* all groups together */
#define NGX_HTTP_LRT_STATE_TERM   1000       /* a master kills after 1550 */


static ngx_uint_t ngx_http_lrt_state_retire(ngx_http_lrt_srv_conf_t *lscf);
static ngx_uint_t ngx_http_lrt_state_may_leave(ngx_http_lrt_srv_conf_t *lscf,
    uint64_t now);
static ngx_uint_t ngx_http_lrt_state_has_more(ngx_http_lrt_srv_conf_t *lscf);
static ngx_uint_t ngx_http_lrt_state_unsaved(ngx_http_lrt_srv_conf_t *lscf);
static void ngx_http_lrt_state_tell_unsaved(ngx_http_lrt_srv_conf_t *lscf);


/*
 * The table was replaced, and new workers save what is in the new one; who is
 * here for requests only must not keep the lock.
 */

void
ngx_http_lrt_state_leave(ngx_http_lrt_srv_conf_t *lscf)
{
    ngx_http_lrt_job_t    *job;
    ngx_http_lrt_state_t  *state;

    state = lscf->state;

    if (state == NULL
        || lscf->table.head == NULL
        || !lrt_load(&lscf->table.head->superseded))
    {
        return;
    }

    if (state->job) {
        job = ngx_http_lrt_state_ended(state);

        if (job == NULL) {
            return;
        }

        ngx_http_lrt_state_free(job);
    }

    ngx_http_lrt_state_unlock(state, 0);
}


/*
 * A worker that leaves may still have requests for hours: what was changed is
 * saved now, and then others look after the file, those of another instance
 * as well.
 */

void
ngx_http_lrt_state_leaving(ngx_http_lrt_srv_conf_t *lscf, uint64_t now)
{
    if (lscf->state->job || ngx_http_lrt_state_unsaved(lscf)) {

        if (ngx_http_lrt_state_collect(lscf, now)
            && ngx_http_lrt_state_unsaved(lscf))
        {
            ngx_http_lrt_state_work(lscf, now);
        }

    } else if (ngx_http_lrt_state_retire(lscf)) {
        ngx_http_lrt_state_give(lscf, now);
    }
}


/*
 * Nothing is left to be saved, and nothing more comes: who writes looks under
 * the same lock whether changes are taken here.
 */

static ngx_uint_t
ngx_http_lrt_state_retire(ngx_http_lrt_srv_conf_t *lscf)
{
    uint64_t    *writer;
    ngx_uint_t   saved, relieved;

    writer = &lscf->table.head->state_writer;
    relieved = ngx_http_lrt_state_relieved(lscf);

    if (!relieved
        && lscf->state->lock != -1
        && lrt_load(writer) == LRT_WRITER_SELF)
    {
        if (!ngx_http_lrt_trylock(lscf)) {
            return 0;
        }

        saved = !ngx_http_lrt_state_unsaved(lscf);

        if (saved) {
            lrt_store(writer, LRT_WRITER_UNKNOWN);
        }

        ngx_http_lrt_unlock(lscf);

        if (!saved) {
            return 0;
        }
    }

    ngx_http_lrt_state_unlock(lscf->state, !relieved);

    return 1;
}


/*
 * What was changed in the last moment has to be there at the next start.  Who
 * leaves does not rely on another one to save it, who may just be leaving as
 * well, be stopped, or not have seen the last change: he waits until it is
 * saved, and does it himself as soon as the lease is free.  After a reload new
 * workers do this, and mostly have done so long ago.
 */

void
ngx_http_lrt_state_exit(ngx_http_lrt_main_conf_t *lmcf)
{
    uint64_t                    now, begin;
    ngx_uint_t                  i, n;
    ngx_http_lrt_srv_conf_t   **lscf;

    lscf = lmcf->groups.elts;
    begin = ngx_http_lrt_now() / 1000;

    for (i = 0; i < lmcf->groups.nelts; i++) {
        if (lscf[i]->state) {
            lscf[i]->state->retry = 0;
            lscf[i]->state->teach = (lscf[i]->table.head
                                     && ngx_http_lrt_state_live(lscf[i])
                                     && !ngx_http_lrt_state_relieved(lscf[i]));
        }
    }

    for ( ;; ) {
        now = ngx_http_lrt_now() / 1000;
        n = 0;

        for (i = 0; i < lmcf->groups.nelts; i++) {
            if (lscf[i]->state && lscf[i]->table.head) {
                n += !ngx_http_lrt_state_may_leave(lscf[i], now);
            }
        }

        if (n == 0
            || now - begin > (ngx_terminate ? NGX_HTTP_LRT_STATE_TERM
                                            : NGX_HTTP_LRT_STATE_QUIT))
        {
            break;
        }

        ngx_msleep(1);
    }

    for (i = 0; i < lmcf->groups.nelts; i++) {
        if (lscf[i]->state && lscf[i]->table.head) {
            ngx_http_lrt_state_tell_unsaved(lscf[i]);
            (void) ngx_http_lrt_state_retire(lscf[i]);
            ngx_http_lrt_state_give(lscf[i], now);
        }
    }
}


static ngx_uint_t
ngx_http_lrt_state_may_leave(ngx_http_lrt_srv_conf_t *lscf, uint64_t now)
{
    ngx_http_lrt_job_t    *job;
    ngx_http_lrt_state_t  *state;

    state = lscf->state;

    if (ngx_http_lrt_state_live(lscf)
        && (state->job || ngx_http_lrt_state_has_more(lscf))
        && ngx_http_lrt_state_collect(lscf, now)
        && ngx_http_lrt_state_has_more(lscf))
    {
        ngx_http_lrt_state_work(lscf, now);
    }

    /*
     * The configuration that its thread reads is freed when he has left; and
     * what has just been done is looked at the next time.
     */

    if (state->job) {

        if (ngx_http_lrt_state_live(lscf)) {
            return 0;
        }

        job = ngx_http_lrt_state_ended(state);

        if (job == NULL) {
            return 0;
        }

        ngx_http_lrt_state_free(job);
    }

    if (ngx_http_lrt_state_has_more(lscf)
        || !ngx_http_lrt_state_retire(lscf))
    {
        /* it was tried, or it must not be */

        return state->retry || lrt_load(&lscf->table.head->state_bad);
    }

    ngx_http_lrt_state_give(lscf, now);

    return 1;
}


/* of what was learned only this worker knows whether he saw to it */

static ngx_uint_t
ngx_http_lrt_state_has_more(ngx_http_lrt_srv_conf_t *lscf)
{
    return ngx_http_lrt_state_unsaved(lscf)
           || (lscf->state->teach
               && lrt_load(&lscf->table.head->state_writer)
                  != LRT_WRITER_OTHER);
}


/* what another instance writes is not for this one to save */

static ngx_uint_t
ngx_http_lrt_state_unsaved(ngx_http_lrt_srv_conf_t *lscf)
{
    return ngx_http_lrt_state_live(lscf)
           && !ngx_http_lrt_state_relieved(lscf)
           && lrt_load(&lscf->table.head->state_writer) != LRT_WRITER_OTHER
           && lrt_load(&lscf->table.head->state_saved)
              != lrt_table_generation(&lscf->table);
}


/* if another one leads, he does it or tells it */

static void
ngx_http_lrt_state_tell_unsaved(ngx_http_lrt_srv_conf_t *lscf)
{
    lrt_head_t  *head;

    head = lscf->table.head;

    if (ngx_http_lrt_state_unsaved(lscf)
        && lrt_lease_mine(&head->state_lease, (uint32_t) ngx_pid))
    {
        ngx_log_error(NGX_LOG_ERR, ngx_cycle->log, 0,
                      "state file \"%V\" of upstream \"%V\" lacks what was "
                      "changed last, generation %uL, as this worker leaves",
                      &lscf->state->path, &lscf->upstream->host,
                      lrt_table_generation(&lscf->table));
    }
}
