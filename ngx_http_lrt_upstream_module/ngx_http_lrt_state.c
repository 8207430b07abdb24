
/*
 * Copyright (C) the ngx_http_lrt_upstream_module authors
 *
 * "lrt_state": what a group is stands in a file.  It is read before the group
 * begins; from then on one worker at a time, who holds a lease in the table,
 * writes each change there and looks for changes that others make to it.
 *
 * A second file, FILE.good, holds what was last in force: a start with a file
 * that is of no use takes that.
 */


#include "ngx_http_lrt_state.h"


#define NGX_HTTP_LRT_STATE_LEASE  600        /* ms */
#define NGX_HTTP_LRT_STATE_CHECK  500
#define NGX_HTTP_LRT_STATE_RETRY  2000
#define NGX_HTTP_LRT_STATE_EXIT   1000       /* all groups together */
#define NGX_HTTP_LRT_STATE_NAMES  16         /* in one line of the log */


struct ngx_http_lrt_state_s {
    ngx_str_t                 path;          /* ends with a null */
    char                     *good;
    ngx_str_t                *file_name;     /* of the directive */
    ngx_uint_t                line;

    ngx_uint_t                found;
    uint64_t                  hash;          /* of what was read at start */
    uint64_t                  next_ident;
    uint64_t                  bad;           /* hash of what is of no use */
    ngx_str_t                 why;

    /* of a worker with the lease */

    ngx_http_lrt_job_t       *job;
    uint64_t                  check;         /* ms, when to look again */
    uint64_t                  retry;
    uint64_t                  complained;    /* generation */
    ngx_uint_t                edited;        /* look before it is written */
};


static ngx_int_t ngx_http_lrt_state_load(ngx_conf_t *cf,
    ngx_http_lrt_srv_conf_t *lscf, const char *path,
    ngx_http_lrt_state_doc_t *doc, ngx_str_t *why);
static void ngx_http_lrt_state_compare_conf(ngx_conf_t *cf,
    ngx_http_lrt_srv_conf_t *lscf, const ngx_http_lrt_state_doc_t *doc);
static ngx_int_t ngx_http_lrt_state_adopt(ngx_conf_t *cf,
    ngx_http_lrt_srv_conf_t *lscf, const ngx_http_lrt_state_doc_t *doc);
static void ngx_http_lrt_state_check_folder(ngx_conf_t *cf,
    ngx_http_lrt_state_t *state);

static ngx_uint_t ngx_http_lrt_state_lead(lrt_table_t *t, uint64_t now);
static void ngx_http_lrt_state_work(ngx_http_lrt_srv_conf_t *lscf,
    uint64_t now);
static void ngx_http_lrt_state_save(ngx_http_lrt_srv_conf_t *lscf,
    void (*work)(ngx_http_lrt_job_t *job));
static ngx_http_lrt_job_t *ngx_http_lrt_state_text_job(
    ngx_http_lrt_srv_conf_t *lscf, void (*work)(ngx_http_lrt_job_t *job));
static void ngx_http_lrt_state_save_last(ngx_http_lrt_srv_conf_t *lscf,
    ngx_uint_t *patience);
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
    const ngx_http_lrt_state_doc_t *doc, ngx_str_t *why);
static void ngx_http_lrt_state_log(ngx_http_lrt_srv_conf_t *lscf,
    const lrt_change_set_t *set, const lrt_plan_t *plan);
static void ngx_http_lrt_state_refuse(ngx_http_lrt_srv_conf_t *lscf,
    uint64_t hash, const ngx_str_t *why);
static void ngx_http_lrt_state_set_why(lrt_head_t *head,
    const ngx_str_t *why);
static void ngx_http_lrt_state_read_job(ngx_http_lrt_job_t *job);
static void ngx_http_lrt_state_write_job(ngx_http_lrt_job_t *job);
static void ngx_http_lrt_state_copy_job(ngx_http_lrt_job_t *job);


char *
ngx_http_lrt_state(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_lrt_srv_conf_t  *lscf = conf;

    ngx_str_t             *value;
    ngx_http_lrt_state_t  *state;

    if (lscf->state) {
        return "is duplicate";
    }

    value = cf->args->elts;

    state = ngx_pcalloc(cf->pool, sizeof(ngx_http_lrt_state_t));
    if (state == NULL) {
        return NGX_CONF_ERROR;
    }

    state->path = value[1];
    state->file_name = &cf->conf_file->file.name;
    state->line = cf->conf_file->line;

    if (ngx_conf_full_name(cf->cycle, &state->path, 0) != NGX_OK) {
        return NGX_CONF_ERROR;
    }

    state->good = ngx_pnalloc(cf->pool, state->path.len + sizeof(".good"));
    if (state->good == NULL) {
        return NGX_CONF_ERROR;
    }

    ngx_sprintf((u_char *) state->good, "%V.good%Z", &state->path);

    lscf->state = state;

    return ngx_http_lrt_claim_group(cf, &cmd->name, lscf);
}


/*
 * The group's servers are known.  If there is a file, they are those of the
 * file; at a reload this is of no use, since what runs is as new.
 */

ngx_int_t
ngx_http_lrt_state_init(ngx_conf_t *cf, ngx_http_lrt_srv_conf_t *lscf)
{
    ngx_int_t                   rc;
    ngx_str_t                   why, good_why;
    ngx_uint_t                  i, live;
    ngx_http_lrt_state_t       *state;
    ngx_http_lrt_srv_conf_t   **other;
    ngx_http_lrt_state_doc_t    doc, good;
    ngx_http_lrt_main_conf_t   *lmcf;

    state = lscf->state;

    if (state == NULL) {
        return NGX_OK;
    }

    lmcf = ngx_http_conf_get_module_main_conf(cf, ngx_http_lrt_upstream_module);
    other = lmcf->groups.elts;

    for (i = 0; i < lmcf->groups.nelts; i++) {
        if (other[i]->state
            && other[i]->state->path.len == state->path.len
            && ngx_strncmp(other[i]->state->path.data, state->path.data,
                           state->path.len)
               == 0)
        {
            ngx_log_error(NGX_LOG_EMERG, cf->log, 0,
                          "\"lrt_state\" of upstream \"%V\" is the file of "
                          "upstream \"%V\" as well, in %V:%ui",
                          &lscf->upstream->host, &other[i]->upstream->host,
                          state->file_name, state->line);
            return NGX_ERROR;
        }
    }

    ngx_http_lrt_state_check_folder(cf, state);

    rc = ngx_http_lrt_state_load(cf, lscf, (char *) state->path.data, &doc,
                                 &why);

    if (rc == NGX_ERROR || rc == NGX_DONE) {
        return (rc == NGX_DONE) ? NGX_OK : NGX_ERROR;
    }

    state->found = 1;

    if (rc == NGX_OK) {
        ngx_http_lrt_state_compare_conf(cf, lscf, &doc);
        return ngx_http_lrt_state_adopt(cf, lscf, &doc);
    }

    live = (ngx_http_lrt_zone_live(cf->cycle->old_cycle, lscf) != 0);

    if (ngx_test_config) {
        ngx_log_error(NGX_LOG_EMERG, cf->log, 0,
                      "state file \"%V\" of upstream \"%V\": %V",
                      &state->path, &lscf->upstream->host, &why);
        return NGX_ERROR;
    }

    /* what runs goes on, and a worker will complain */

    if (live) {
        return NGX_OK;
    }

    if (ngx_http_lrt_state_load(cf, lscf, state->good, &good, &good_why)
        != NGX_OK)
    {
        ngx_log_error(NGX_LOG_EMERG, cf->log, 0,
                      "state file \"%V\" of upstream \"%V\": %V, "
                      "and there is no good copy of it",
                      &state->path, &lscf->upstream->host, &why);
        return NGX_ERROR;
    }

    ngx_log_error(NGX_LOG_ERR, cf->log, 0,
                  "state file \"%V\" of upstream \"%V\": %V, "
                  "the last good copy \"%s\" is used",
                  &state->path, &lscf->upstream->host, &why, state->good);

    state->bad = doc.hash ? doc.hash : 1;
    state->why = why;

    return ngx_http_lrt_state_adopt(cf, lscf, &good);
}


/* NGX_DONE: there is no file; NGX_DECLINED: "why" it is of no use */

static ngx_int_t
ngx_http_lrt_state_load(ngx_conf_t *cf, ngx_http_lrt_srv_conf_t *lscf,
    const char *path, ngx_http_lrt_state_doc_t *doc, ngx_str_t *why)
{
    ngx_int_t             rc;
    ngx_str_t             text;
    ngx_http_lrt_job_t    job;

    ngx_memzero(doc, sizeof(ngx_http_lrt_state_doc_t));
    ngx_memzero(&job, sizeof(ngx_http_lrt_job_t));

    doc->pool = cf->pool;
    doc->policy = lscf->conf.policy;

    job.path = (char *) path;

    ngx_http_lrt_disk_read(&job);

    rc = NGX_DONE;

    if (job.rc == NGX_HTTP_LRT_JOB_FAILED) {

        why->data = ngx_pnalloc(cf->pool, NGX_MAX_ERROR_STR);
        if (why->data == NULL) {
            return NGX_ERROR;
        }

        why->len = ngx_http_lrt_disk_why(why->data,
                                         why->data + NGX_MAX_ERROR_STR, &job)
                   - why->data;
        rc = NGX_DECLINED;

    } else if (job.rc != NGX_HTTP_LRT_JOB_MISSING) {

        text.data = job.text;
        text.len = job.len;

        rc = ngx_http_lrt_state_parse(doc, &text);
        *why = doc->why;
    }

    free(job.text);

    return rc;
}


static ngx_int_t
ngx_http_lrt_state_adopt(ngx_conf_t *cf, ngx_http_lrt_srv_conf_t *lscf,
    const ngx_http_lrt_state_doc_t *doc)
{
    lrt_conf_t  *conf;

    conf = &lscf->conf;

    conf->server = doc->server;
    conf->n = doc->n;

    if (doc->has_policy) {
        conf->policy = doc->policy;
    }

    lscf->state->hash = doc->hash;
    lscf->state->next_ident = doc->next_ident;

    return ngx_http_lrt_index_conf(cf, conf);
}


/* each "server" line that does not hold */

static void
ngx_http_lrt_state_compare_conf(ngx_conf_t *cf, ngx_http_lrt_srv_conf_t *lscf,
    const ngx_http_lrt_state_doc_t *doc)
{
    uint32_t             i, j;
    ngx_str_t            name;
    const lrt_server_t  *server;

    for (i = 0; i < lscf->conf.n; i++) {

        server = &lscf->conf.server[i];

        for (j = 0; j < doc->n; j++) {
            if (doc->server[j].socklen == server->socklen
                && doc->server[j].params.backup == server->params.backup
                && ngx_memcmp(doc->server[j].sockaddr, server->sockaddr,
                              server->socklen)
                   == 0)
            {
                break;
            }
        }

        if (j < doc->n
            && (lrt_params_diff(&doc->server[j].params, &server->params)
                & ~(uint32_t) LRT_F_TWINS)
               == 0)
        {
            continue;
        }

        name.len = server->server.len;
        name.data = (u_char *) server->server.data;

        ngx_log_error(NGX_LOG_WARN, cf->log, 0,
                      "\"server %V\" of upstream \"%V\" is overridden by state "
                      "file \"%V\", which %s, in %s:%ui", &name,
                      &lscf->upstream->host, &lscf->state->path,
                      j < doc->n ? "has other parameters" : "does not list it",
                      lscf->upstream->file_name, lscf->upstream->line);
    }
}


/* workers write there, under their own name */

static void
ngx_http_lrt_state_check_folder(ngx_conf_t *cf, ngx_http_lrt_state_t *state)
{
    char             *slash, folder[NGX_MAX_PATH];
    ngx_uint_t        bit;
    struct stat       st;
    ngx_core_conf_t  *ccf;

    (void) ngx_cpystrn((u_char *) folder, state->path.data, sizeof(folder));

    slash = strrchr(folder, '/');

    if (slash) {
        slash[slash == folder] = '\0';
    }

    ccf = (ngx_core_conf_t *) ngx_get_conf(cf->cycle->conf_ctx,
                                           ngx_core_module);

    if (stat(folder, &st) == -1) {
        ngx_log_error(NGX_LOG_WARN, cf->log, ngx_errno,
                      "folder of state file \"%V\" in %V:%ui", &state->path,
                      state->file_name, state->line);
        return;
    }

    /* "user" may stand behind "http": then nothing is known of it yet */

    if (geteuid() != 0
        || ccf->user == (ngx_uid_t) NGX_CONF_UNSET_UINT
        || ccf->user == 0)
    {
        return;
    }

    bit = (st.st_uid == ccf->user) ? S_IWUSR
          : (st.st_gid == ccf->group) ? S_IWGRP : S_IWOTH;

    if (!(st.st_mode & bit)) {
        ngx_log_error(NGX_LOG_WARN, cf->log, 0,
                      "folder of state file \"%V\" is not writable for "
                      "\"%s\", so changes will not be saved, in %V:%ui",
                      &state->path, ccf->username, state->file_name,
                      state->line);
    }
}


/* who is in a table that runs is there because of a file, be it broken now */

ngx_uint_t
ngx_http_lrt_state_decides(ngx_http_lrt_srv_conf_t *lscf, lrt_head_t *head)
{
    return lscf->state && (lscf->state->found || lrt_load(&head->state_saved));
}


/* the table was filled from the file: there is nothing to save */

void
ngx_http_lrt_state_filled(ngx_http_lrt_srv_conf_t *lscf)
{
    lrt_head_t  *head;

    if (lscf->state == NULL || lscf->state->next_ident == 0) {
        return;
    }

    head = lscf->table.head;

    if (head->next_ident < lscf->state->next_ident) {
        lrt_store(&head->next_ident, lscf->state->next_ident);
    }

    lrt_store(&head->state_saved, lrt_table_generation(&lscf->table));

    if (lscf->state->bad) {
        ngx_http_lrt_state_set_why(head, &lscf->state->why);
        head->state_bad = lscf->state->bad;

    } else {
        head->state_hash = lscf->state->hash;
    }
}


/* the worker's timer */

void
ngx_http_lrt_state_tick(ngx_http_lrt_main_conf_t *lmcf, uint64_t now)
{
    ngx_uint_t                  i;
    ngx_http_lrt_srv_conf_t   **lscf;

    lscf = lmcf->groups.elts;

    for (i = 0; i < lmcf->groups.nelts; i++) {

        if (lscf[i]->state
            && lscf[i]->table.head
            && !lrt_load(&lscf[i]->table.head->superseded)
            && lrt_load(&lscf[i]->table.head->merged)
            && (lscf[i]->state->job
                || ngx_http_lrt_state_lead(&lscf[i]->table, now)))
        {
            ngx_http_lrt_state_work(lscf[i], now);
        }
    }
}


/* who leads goes on to do so until he is late; an old worker never does */

static ngx_uint_t
ngx_http_lrt_state_lead(lrt_table_t *t, uint64_t now)
{
    uint64_t  lease, mine;

    if (ngx_exiting || ngx_terminate) {
        return 0;
    }

    lease = lrt_load(&t->head->state_lease);
    mine = (uint64_t) (uint32_t) now << 32 | (uint32_t) ngx_pid;

    if ((uint32_t) lease != (uint32_t) ngx_pid
        && (uint32_t) now - (uint32_t) (lease >> 32) < NGX_HTTP_LRT_STATE_LEASE
        && lease)
    {
        return 0;
    }

    return lrt_cas(&t->head->state_lease, lease, mine);
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

    if (state->job) {

        if (!lrt_load(&state->job->finished)) {

            /* a slow disk is no reason for others to try as well */

            (void) ngx_http_lrt_state_lead(&lscf->table, now);
            return;
        }

        job = state->job;
        state->job = NULL;

        ngx_http_lrt_state_finish(lscf, job, now);

        if (!ngx_http_lrt_state_lead(&lscf->table, now)) {
            return;
        }
    }

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

    job = ngx_http_lrt_state_text_job(lscf, work);

    if (job) {
        ngx_http_lrt_state_start(lscf, job);
    }
}


static ngx_http_lrt_job_t *
ngx_http_lrt_state_text_job(ngx_http_lrt_srv_conf_t *lscf,
    void (*work)(ngx_http_lrt_job_t *job))
{
    u_char              *p;
    ngx_pool_t          *pool;
    ngx_chain_t         *cl;
    ngx_http_lrt_job_t  *job;
    ngx_http_lrt_out_t   out;

    pool = ngx_create_pool(4096, ngx_cycle->log);
    job = ngx_http_lrt_disk_job((char *) lscf->state->path.data,
                                ngx_cycle->log);

    if (pool == NULL || job == NULL) {
        goto failed;
    }

    ngx_http_lrt_out_init(&out, pool);

    job->number = ngx_http_lrt_state_print(lscf, &out);

    if (job->number == 0) {
        goto failed;
    }

    job->text = ngx_alloc(out.size + 1, ngx_cycle->log);

    if (job->text == NULL) {
        goto failed;
    }

    p = job->text;

    for (cl = out.chain; cl; cl = cl->next) {
        p = ngx_cpymem(p, cl->buf->pos, cl->buf->last - cl->buf->pos);
    }

    job->len = p - job->text;
    job->known = lrt_load(&lscf->table.head->state_hash);
    job->work = work;

    if (work == ngx_http_lrt_state_write_job) {
        lrt_store(&lscf->table.head->state_next,
                  ngx_http_lrt_disk_hash(job->text, job->len));
    }

    ngx_destroy_pool(pool);

    return job;

failed:

    if (job) {
        ngx_http_lrt_disk_free(job);
    }

    if (pool) {
        ngx_destroy_pool(pool);
    }

    return NULL;
}


/*
 * What was changed in the last moment has to be there at the next start.  After
 * a reload new workers do this, and mostly have done so long ago.
 */

void
ngx_http_lrt_state_exit(ngx_http_lrt_main_conf_t *lmcf)
{
    uint64_t                    lease;
    ngx_uint_t                  i, patience;
    ngx_http_lrt_srv_conf_t   **lscf;

    lscf = lmcf->groups.elts;
    patience = NGX_HTTP_LRT_STATE_EXIT;

    for (i = 0; i < lmcf->groups.nelts; i++) {

        if (lscf[i]->state == NULL || lscf[i]->table.head == NULL) {
            continue;
        }

        ngx_http_lrt_state_save_last(lscf[i], &patience);

        /* the next one need not wait */

        lease = lrt_load(&lscf[i]->table.head->state_lease);

        if ((uint32_t) lease == (uint32_t) ngx_pid) {
            (void) lrt_cas(&lscf[i]->table.head->state_lease, lease, 0);
        }
    }
}


static void
ngx_http_lrt_state_save_last(ngx_http_lrt_srv_conf_t *lscf,
    ngx_uint_t *patience)
{
    uint64_t               now, lease;
    lrt_head_t            *head;
    ngx_http_lrt_job_t    *job;
    ngx_http_lrt_state_t  *state;

    state = lscf->state;
    head = lscf->table.head;
    now = ngx_http_lrt_now() / 1000;

    job = state->job;

    if (job) {
        while (!lrt_load(&job->finished)) {

            if (*patience == 0) {
                return;
            }

            (*patience)--;
            ngx_msleep(1);
        }

        state->job = NULL;
        ngx_http_lrt_state_finish(lscf, job, now);
    }

    lease = lrt_load(&head->state_lease);

    if (((uint32_t) lease != (uint32_t) ngx_pid
         && (uint32_t) now - (uint32_t) (lease >> 32)
            < NGX_HTTP_LRT_STATE_LEASE)
        || lrt_load(&head->superseded)
        || lrt_load(&head->merged) == 0
        || lrt_load(&head->state_bad)
        || lrt_load(&head->state_next)
        || lrt_load(&head->state_saved) == lrt_table_generation(&lscf->table))
    {
        return;
    }

    job = ngx_http_lrt_state_text_job(lscf, ngx_http_lrt_state_write_job);

    if (job) {
        job->work(job);
        ngx_http_lrt_state_finish(lscf, job, now);
    }
}


/* in the thread */

static void
ngx_http_lrt_state_write_job(ngx_http_lrt_job_t *job)
{
    ngx_http_lrt_disk_write(job);

    if (job->rc == NGX_HTTP_LRT_JOB_DONE) {
        ngx_http_lrt_state_copy_job(job);
    }
}


/* the copy is a comfort: if it fails the file itself is still there */

static void
ngx_http_lrt_state_copy_job(ngx_http_lrt_job_t *job)
{
    char                 path[NGX_MAX_PATH];
    ngx_http_lrt_job_t   good;

    if (ngx_strlen(job->path) + sizeof(".good") > sizeof(path)) {
        return;
    }

    good = *job;
    good.path = path;
    good.over = 1;

    ngx_sprintf((u_char *) path, "%s.good%Z", job->path);

    ngx_http_lrt_disk_write(&good);
}


static void
ngx_http_lrt_state_read_job(ngx_http_lrt_job_t *job)
{
    ngx_str_t                  text;
    ngx_pool_t                *pool;
    ngx_http_lrt_state_doc_t  *doc;

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

    if (doc == NULL) {
        job->rc = NGX_HTTP_LRT_JOB_FAILED;
        job->what = "no memory";
        return;
    }

    doc->pool = pool;
    doc->policy = job->policy;
    job->data = doc;

    text.data = job->text;
    text.len = job->len;

    (void) ngx_http_lrt_state_parse(doc, &text);
}


static void
ngx_http_lrt_state_finish(ngx_http_lrt_srv_conf_t *lscf,
    ngx_http_lrt_job_t *job, uint64_t now)
{
    lrt_head_t                *head;
    ngx_str_t                  why;
    u_char                     text[NGX_MAX_ERROR_STR];
    ngx_http_lrt_state_doc_t  *doc;

    head = lscf->table.head;
    doc = job->data;

    if (job->work == ngx_http_lrt_state_copy_job) {
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
        lrt_store(&head->state_saved, 0);

    } else if (job->rc == NGX_HTTP_LRT_JOB_FAILED) {

        why.data = text;
        why.len = ngx_http_lrt_disk_why(text, text + sizeof(text), job) - text;

        ngx_http_lrt_state_refuse(lscf,
                                  ngx_http_lrt_disk_hash(text, why.len), &why);

    } else if (doc) {
        ngx_http_lrt_state_edited(lscf, job);
    }

    if (job->work != ngx_http_lrt_state_copy_job) {
        lrt_store(&head->state_next, 0);
    }

    if (doc) {
        ngx_destroy_pool(doc->pool);
    }

    ngx_http_lrt_disk_free(job);
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
    const ngx_http_lrt_state_doc_t *doc, ngx_str_t *why)
{
    uint8_t           *seen;
    lrt_rc_t           rc;
    lrt_plan_t         plan;
    lrt_table_t       *t;
    lrt_policy_t       policy;
    lrt_change_t      *c;
    lrt_change_set_t   set;

    t = &lscf->table;

    ngx_memzero(&set, sizeof(lrt_change_set_t));

    if (!ngx_http_lrt_trylock(lscf)) {
        return NGX_AGAIN;
    }

    /* and one for the method */

    seen = ngx_palloc(doc->pool, t->capacity);
    set.change = ngx_palloc(doc->pool, (lrt_plan_max(t, doc->n) + 1)
                                       * sizeof(lrt_change_t));

    if (seen == NULL || set.change == NULL) {
        ngx_http_lrt_unlock(lscf);
        return NGX_AGAIN;
    }

    set.from_conf = 1;

    policy = ngx_http_lrt_state_policy(t);

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

    rc = lrt_plan(t, doc->server, doc->n, seen, &set, &plan);

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


static void
ngx_http_lrt_state_set_why(lrt_head_t *head, const ngx_str_t *why)
{
    size_t  len;

    len = ngx_min(why->len, LRT_WHY_LEN - 1);

    ngx_memcpy(head->state_why, why->data, len);
    head->state_why[len] = '\0';
}


ngx_str_t *
ngx_http_lrt_state_path(ngx_http_lrt_srv_conf_t *lscf)
{
    return lscf->state ? &lscf->state->path : NULL;
}
