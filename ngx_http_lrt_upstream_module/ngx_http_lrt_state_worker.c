
/*
 * Copyright (C) the ngx_http_lrt_upstream_module authors
 *
 * The worker that holds the lease of a group writes each change to the state
 * file, and looks for changes that others make to it.
 */


#include "ngx_http_lrt_state.h"


#define NGX_HTTP_LRT_STATE_LEASE  600        /* ms */
#define NGX_HTTP_LRT_STATE_CHECK  500
#define NGX_HTTP_LRT_STATE_RETRY  2000
#define NGX_HTTP_LRT_STATE_QUIT   4000       /* all groups together */
#define NGX_HTTP_LRT_STATE_TERM   1000       /* a master kills after 1550 */
#define NGX_HTTP_LRT_STATE_NAMES  16         /* in one line of the log */

/* no generation: what the file has is not what is in force */

#define NGX_HTTP_LRT_STATE_UNSAVED  UINT64_MAX


static ngx_uint_t ngx_http_lrt_state_live(ngx_http_lrt_srv_conf_t *lscf);
static ngx_uint_t ngx_http_lrt_state_relieved(ngx_http_lrt_srv_conf_t *lscf);
static ngx_uint_t ngx_http_lrt_state_collect(ngx_http_lrt_srv_conf_t *lscf,
    uint64_t now);
static void ngx_http_lrt_state_give(ngx_http_lrt_srv_conf_t *lscf,
    uint64_t now);
static void ngx_http_lrt_state_work(ngx_http_lrt_srv_conf_t *lscf,
    uint64_t now);
static void ngx_http_lrt_state_save(ngx_http_lrt_srv_conf_t *lscf,
    void (*work)(ngx_http_lrt_job_t *job));
static ngx_uint_t ngx_http_lrt_state_may_leave(ngx_http_lrt_srv_conf_t *lscf,
    uint64_t now);
static ngx_uint_t ngx_http_lrt_state_unsaved(ngx_http_lrt_srv_conf_t *lscf);
static void ngx_http_lrt_state_tell_unsaved(ngx_http_lrt_srv_conf_t *lscf);
static lrt_policy_t ngx_http_lrt_state_policy(lrt_table_t *t);
static void ngx_http_lrt_state_start(ngx_http_lrt_srv_conf_t *lscf,
    ngx_http_lrt_job_t *job);
static void ngx_http_lrt_state_finish(ngx_http_lrt_srv_conf_t *lscf,
    ngx_http_lrt_job_t *job, uint64_t now);
static void ngx_http_lrt_state_saved(ngx_http_lrt_srv_conf_t *lscf,
    ngx_http_lrt_job_t *job, uint64_t now);
static void ngx_http_lrt_state_edited(ngx_http_lrt_srv_conf_t *lscf,
    ngx_http_lrt_job_t *job);
static ngx_int_t ngx_http_lrt_state_apply(ngx_http_lrt_srv_conf_t *lscf,
    ngx_http_lrt_state_doc_t *doc, ngx_str_t *why);
static void ngx_http_lrt_state_log(ngx_http_lrt_srv_conf_t *lscf,
    const lrt_change_set_t *set, const lrt_plan_t *plan);
static void ngx_http_lrt_state_refuse(ngx_http_lrt_srv_conf_t *lscf,
    uint64_t hash, const ngx_str_t *why);


/* the worker's timer; an old worker leads no more, but ends what he began */

void
ngx_http_lrt_state_tick(ngx_http_lrt_main_conf_t *lmcf, uint64_t now)
{
    ngx_uint_t                  i;
    ngx_http_lrt_srv_conf_t   **lscf;

    lscf = lmcf->groups.elts;

    for (i = 0; i < lmcf->groups.nelts; i++) {

        if (!ngx_http_lrt_state_live(lscf[i])) {
            continue;
        }

        if (!ngx_exiting && !ngx_terminate) {

            if (ngx_http_lrt_state_collect(lscf[i], now)) {
                ngx_http_lrt_state_work(lscf[i], now);
            }

        } else if (lscf[i]->state->job
                   && ngx_http_lrt_state_collect(lscf[i], now))
        {
            ngx_http_lrt_state_give(lscf[i], now);
        }
    }
}


static ngx_uint_t
ngx_http_lrt_state_live(ngx_http_lrt_srv_conf_t *lscf)
{
    lrt_head_t  *head;

    head = lscf->table.head;

    return lscf->state
           && head
           && !lrt_load(&head->superseded)
           && lrt_load(&head->merged);
}


/* workers of a newer configuration see to the file, and know its checks */

static ngx_uint_t
ngx_http_lrt_state_relieved(ngx_http_lrt_srv_conf_t *lscf)
{
    return lrt_load(&lscf->table.head->merged) > lscf->conf.number;
}


/* true: this worker has the lease, and its thread has nothing to do */

static ngx_uint_t
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

    if (!lrt_load(&job->finished)) {
        return 0;
    }

    lscf->state->job = NULL;

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


/* the next one need not wait */

static void
ngx_http_lrt_state_give(ngx_http_lrt_srv_conf_t *lscf, uint64_t now)
{
    lrt_lease_give(&lscf->table.head->state_lease, (uint32_t) ngx_pid, now);
}


static void
ngx_http_lrt_state_work(ngx_http_lrt_srv_conf_t *lscf, uint64_t now)
{
    uint64_t               generation;
    lrt_head_t            *head;
    ngx_http_lrt_job_t    *job;
    ngx_http_lrt_state_t  *state;

    state = lscf->state;
    head = lscf->table.head;

    if (now < state->retry) {
        return;
    }

    /* who was to write it is gone: whether he did so is to be seen */

    if (lrt_load(&head->state_next)) {
        state->edited = 1;
    }

    if (!state->edited && !lrt_load(&head->state_bad)) {

        generation = lrt_table_generation(&lscf->table);

        if (generation != lrt_load(&head->state_saved)) {
            ngx_http_lrt_state_save(lscf, ngx_http_lrt_state_write_job);
            return;
        }

        /* an edit was applied: the file stays as it is */

        if (generation != lrt_load(&head->state_good)) {
            ngx_http_lrt_state_save(lscf, ngx_http_lrt_state_copy_job);
            return;
        }
    }

    if (now < state->check && !state->edited) {
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

        ngx_http_lrt_state_start(lscf, job);
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
    lrt_store(&lscf->table.head->state_next, 0);
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
            ngx_http_lrt_state_give(lscf[i], now);
        }
    }
}


static ngx_uint_t
ngx_http_lrt_state_may_leave(ngx_http_lrt_srv_conf_t *lscf, uint64_t now)
{
    ngx_http_lrt_state_t  *state;

    state = lscf->state;

    if (ngx_http_lrt_state_live(lscf)
        && (state->job || ngx_http_lrt_state_unsaved(lscf))
        && ngx_http_lrt_state_collect(lscf, now)
        && ngx_http_lrt_state_unsaved(lscf))
    {
        ngx_http_lrt_state_work(lscf, now);
    }

    /* the configuration that its thread reads is freed when he has left */

    if (state->job && !lrt_load(&state->job->finished)) {
        return 0;
    }

    if (!ngx_http_lrt_state_unsaved(lscf)) {
        ngx_http_lrt_state_give(lscf, now);
        return 1;
    }

    /* it was tried, or it must not be */

    return state->retry || lrt_load(&lscf->table.head->state_bad);
}


static ngx_uint_t
ngx_http_lrt_state_unsaved(ngx_http_lrt_srv_conf_t *lscf)
{
    return ngx_http_lrt_state_live(lscf)
           && !ngx_http_lrt_state_relieved(lscf)
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


static void
ngx_http_lrt_state_finish(ngx_http_lrt_srv_conf_t *lscf,
    ngx_http_lrt_job_t *job, uint64_t now)
{
    lrt_head_t                *head;
    ngx_str_t                  why;
    u_char                     text[NGX_MAX_ERROR_STR];

    head = lscf->table.head;

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
        ngx_http_lrt_state_edited(lscf, job);
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

        /* the edit is looked at first, and our change is part of what it meets */

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


static void
ngx_http_lrt_state_edited(ngx_http_lrt_srv_conf_t *lscf,
    ngx_http_lrt_job_t *job)
{
    ngx_int_t                  rc;
    ngx_str_t                  why;
    ngx_http_lrt_state_doc_t  *doc;

    doc = job->data;

    if (doc->why.len) {
        ngx_http_lrt_state_refuse(lscf, job->hash, &doc->why);
        return;
    }

    rc = ngx_http_lrt_state_apply(lscf, doc, &why);

    if (rc == NGX_DECLINED) {
        ngx_http_lrt_state_refuse(lscf, job->hash, &why);

    } else if (rc == NGX_AGAIN) {

        /* a writer has the lock: next time */

        lscf->state->edited = 1;
    }
}


/* one transaction, as everything else */

static ngx_int_t
ngx_http_lrt_state_apply(ngx_http_lrt_srv_conf_t *lscf,
    ngx_http_lrt_state_doc_t *doc, ngx_str_t *why)
{
    uint8_t           *seen;
    ngx_int_t          sound;
    lrt_rc_t           rc;
    uint32_t           i;
    lrt_plan_t         plan;
    lrt_table_t       *t;
    lrt_policy_t       policy;
    lrt_change_t      *c;
    lrt_settings_t     settings;
    const lrt_side_t  *side;
    lrt_change_set_t   set;

    t = &lscf->table;

    ngx_memzero(&set, sizeof(lrt_change_set_t));

    /* and one each for the method and the settings */

    seen = ngx_palloc(doc->pool, t->capacity);
    set.change = ngx_palloc(doc->pool, (lrt_plan_max(t, doc->n) + 2)
                                       * sizeof(lrt_change_t));

    if (seen == NULL || set.change == NULL || !ngx_http_lrt_trylock(lscf)) {
        return NGX_AGAIN;
    }

    set.from_conf = 1;

    side = lrt_table_side(t, lrt_table_generation(t));
    settings = side->settings;

    sound = ngx_http_lrt_state_settings(lscf, doc, &settings);

    if (sound != NGX_OK) {
        ngx_http_lrt_unlock(lscf);
        *why = doc->why;
        return (sound == NGX_DECLINED) ? NGX_DECLINED : NGX_AGAIN;
    }

    policy = side->policy;

    if (ngx_memcmp(&policy, &doc->policy, sizeof(lrt_policy_t)) != 0) {

        /* the method was changed meanwhile, so it has to be read once more */

        if (!doc->has_policy) {
            ngx_http_lrt_unlock(lscf);
            return NGX_AGAIN;
        }

        c = &set.change[set.n++];
        ngx_memzero(c, sizeof(lrt_change_t));
        c->type = LRT_SET_POLICY;
        c->policy = doc->policy;
    }

    if (!lrt_settings_equal(&settings, &side->settings)) {
        c = &set.change[set.n++];
        ngx_memzero(c, sizeof(lrt_change_t));
        c->type = LRT_SET_SETTINGS;
        c->settings = &settings;
    }

    rc = LRT_OK;
    lrt_plan_begin(&plan, t, seen, &set);

    for (i = 0; i < doc->n && rc == LRT_OK; i++) {
        rc = lrt_plan_want(&plan, &doc->server[i]);
    }

    if (rc == LRT_OK) {
        rc = lrt_plan_end(&plan);
    }

    if (rc == LRT_OK && set.n) {
        rc = lrt_change_commit(t, &set, ngx_http_lrt_now() / 1000);
    }

    if (rc == LRT_OK) {
        t->head->state_hash = doc->hash;
        t->head->state_bad = 0;
        lrt_store(&t->head->state_saved, lrt_table_generation(t));
    }

    ngx_http_lrt_unlock(lscf);

    if (rc == LRT_OK) {
        ngx_http_lrt_state_log(lscf, &set, &plan);
        return NGX_OK;
    }

    why->data = ngx_pnalloc(doc->pool, NGX_MAX_ERROR_STR);

    if (why->data == NULL) {
        return NGX_AGAIN;
    }

    why->len = ngx_slprintf(why->data, why->data + NGX_MAX_ERROR_STR,
                            rc == LRT_FULL
                            ? "zone \"%V\" has no room for %uD more servers"
                            : "it cannot be applied to zone \"%V\"",
                            &lscf->zone_name, plan.added)
               - why->data;

    return NGX_DECLINED;
}


/* who had added a server in the last moment can read here that it is gone */

static void
ngx_http_lrt_state_log(ngx_http_lrt_srv_conf_t *lscf,
    const lrt_change_set_t *set, const lrt_plan_t *plan)
{
    u_char     text[NGX_MAX_ERROR_STR], *p, *last;
    uint32_t   i;
    lrt_str_t  name;

    static const char *const  words[] = { "added", "removed", "changed" };

    p = text;
    last = text + sizeof(text);

    for (i = 0; i < set->n && i < NGX_HTTP_LRT_STATE_NAMES; i++) {

        if (set->change[i].type == LRT_SET_POLICY) {
            p = ngx_slprintf(p, last, ", method %s",
                             lrt_method(set->change[i].policy.method)->name);
            continue;
        }

        if (set->change[i].type == LRT_SET_SETTINGS) {
            p = ngx_slprintf(p, last, ", settings");
            continue;
        }

        name = lrt_table_name(&lscf->table.detail[set->change[i].slot]);

        p = ngx_slprintf(p, last, ", %*s %s", name.len, name.data,
                         words[set->change[i].type]);
    }

    ngx_log_error(NGX_LOG_NOTICE, ngx_cycle->log, 0,
                  "upstream \"%V\": state file \"%V\" applied: %uD added, "
                  "%uD removed, %uD updated, %uD unchanged; generation %uL%*s%s",
                  &lscf->upstream->host, &lscf->state->path, plan->added,
                  plan->removed, plan->updated, plan->unchanged,
                  lrt_table_generation(&lscf->table), (size_t) (p - text),
                  text, i < set->n ? ", ..." : "");
}


/* once for each content */

static void
ngx_http_lrt_state_refuse(ngx_http_lrt_srv_conf_t *lscf, uint64_t hash,
    const ngx_str_t *why)
{
    lrt_head_t  *head;

    head = lscf->table.head;

    if (lrt_load(&head->state_bad) == hash) {
        return;
    }

    ngx_http_lrt_state_set_why(head, why);
    lrt_store(&head->state_bad, hash);

    ngx_log_error(NGX_LOG_ERR, ngx_cycle->log, 0,
                  "state file \"%V\" of upstream \"%V\" is not applied: %V",
                  &lscf->state->path, &lscf->upstream->host, why);
}
