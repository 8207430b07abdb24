
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


#include "ngx_http_lrt_check.h"
#include "ngx_http_lrt_state.h"


static ngx_int_t ngx_http_lrt_state_load(ngx_conf_t *cf,
    ngx_http_lrt_srv_conf_t *lscf, const char *path,
    ngx_http_lrt_state_doc_t *doc, ngx_str_t *why);
static void ngx_http_lrt_state_compare_conf(ngx_conf_t *cf,
    ngx_http_lrt_srv_conf_t *lscf, const ngx_http_lrt_state_doc_t *doc);
static ngx_int_t ngx_http_lrt_state_adopt(ngx_conf_t *cf,
    ngx_http_lrt_srv_conf_t *lscf, ngx_http_lrt_state_doc_t *doc);
static void ngx_http_lrt_state_compare_settings(ngx_conf_t *cf,
    ngx_http_lrt_srv_conf_t *lscf, ngx_http_lrt_state_doc_t *doc);
static void ngx_http_lrt_state_check_folder(ngx_conf_t *cf,
    ngx_http_lrt_state_t *state);


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
    state->given = NGX_HTTP_LRT_GIVEN_SETTINGS;
    state->file_name = cf->conf_file->file.name;
    state->line = cf->conf_file->line;

    if (ngx_conf_full_name(cf->cycle, &state->path, 0) != NGX_OK) {
        return NGX_CONF_ERROR;
    }

    state->good = ngx_pnalloc(cf->pool, state->path.len + sizeof(".good"));
    if (state->good == NULL) {
        return NGX_CONF_ERROR;
    }

    ngx_sprintf((u_char *) state->good, "%V.good%Z", &state->path);

    state->learned = ngx_pnalloc(cf->pool,
                                 state->path.len + sizeof(".learned"));
    if (state->learned == NULL) {
        return NGX_CONF_ERROR;
    }

    ngx_sprintf((u_char *) state->learned, "%V.learned%Z", &state->path);

    state->lock = -1;

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
    lrt_table_t                 t;
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
                          &state->file_name, state->line);
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
        ngx_http_lrt_state_compare_settings(cf, lscf, &doc);
        return ngx_http_lrt_state_adopt(cf, lscf, &doc);
    }

    live = (ngx_http_lrt_zone_live(cf->cycle->old_cycle, lscf, &t) != 0);

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
    lrt_settings_t        settings;
    ngx_http_lrt_job_t    job;

    ngx_memzero(doc, sizeof(ngx_http_lrt_state_doc_t));
    ngx_memzero(&job, sizeof(ngx_http_lrt_job_t));

    doc->pool = cf->pool;
    doc->policy = lscf->conf.policy;

    job.path = (char *) path;

    ngx_http_lrt_disk_read(&job);

    rc = NGX_DONE;

    if (job.rc == NGX_HTTP_LRT_JOB_AGAIN) {
        rc = NGX_ERROR;

    } else if (job.rc == NGX_HTTP_LRT_JOB_FAILED) {

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

        /* certificates that its checks name are read now or never */

        if (rc == NGX_OK) {
            ngx_http_lrt_check_trusts(cf, &doc->settings);

            settings = lscf->conf.settings;
            rc = ngx_http_lrt_state_settings(lscf, doc, &settings);
        }

        *why = doc->why;
    }

    if (rc == NGX_ERROR) {
        ngx_log_error(NGX_LOG_EMERG, cf->log, 0,
                      "no memory to read state file \"%s\" of upstream "
                      "\"%V\"", path, &lscf->upstream->host);
    }

    free(job.text);

    return rc;
}


static ngx_int_t
ngx_http_lrt_state_adopt(ngx_conf_t *cf, ngx_http_lrt_srv_conf_t *lscf,
    ngx_http_lrt_state_doc_t *doc)
{
    ngx_uint_t   i;
    lrt_conf_t  *conf;

    conf = &lscf->conf;

    conf->server = doc->server;
    conf->n = doc->n;

    if (doc->has_policy) {
        conf->policy = doc->policy;
    }

    /* it was looked at when the file was read */

    (void) ngx_http_lrt_state_settings(lscf, doc, &conf->settings);

    for (i = 0; i < doc->settings.nchecks; i++) {
        lscf->check_file[i] = lscf->state->path;
        lscf->check_line[i] = doc->check_line[i];
    }

    lscf->state->given = doc->given;
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


/* the same of other directives of the block */

static void
ngx_http_lrt_state_compare_settings(ngx_conf_t *cf,
    ngx_http_lrt_srv_conf_t *lscf, ngx_http_lrt_state_doc_t *doc)
{
    lrt_settings_t         settings;
    const lrt_settings_t  *conf;

    conf = &lscf->conf.settings;
    settings = *conf;

    (void) ngx_http_lrt_state_settings(lscf, doc, &settings);

#define ngx_http_lrt_overridden(directive, condition)                         \
    if (condition) {                                                          \
        ngx_log_error(NGX_LOG_WARN, cf->log, 0,                               \
                      "\"" directive "\" of upstream \"%V\" is overridden by " \
                      "state file \"%V\" in %s:%ui", &lscf->upstream->host,   \
                      &lscf->state->path, lscf->upstream->file_name,          \
                      lscf->upstream->line);                                  \
    }

    ngx_http_lrt_overridden("lrt_slow_start",
                            conf->slow_start
                            && conf->slow_start != settings.slow_start)
    ngx_http_lrt_overridden("lrt_panic",
                            conf->panic && conf->panic != settings.panic)
    ngx_http_lrt_overridden("lrt_health_check",
                            conf->nchecks
                            && (conf->nchecks != settings.nchecks
                                || ngx_memcmp(conf->check, settings.check,
                                              sizeof(conf->check))
                                   != 0))

#undef ngx_http_lrt_overridden
}


/* what a reload has to say where a file decides, in terms of the last one */

lrt_settings_t
ngx_http_lrt_state_conf(ngx_http_lrt_srv_conf_t *lscf,
    const lrt_settings_t *before)
{
    lrt_settings_t  conf;

    conf = lscf->conf.settings;

    if (lscf->state->given & NGX_HTTP_LRT_GIVEN_SLOW_START) {
        conf.slow_start = before->slow_start;
    }

    if (lscf->state->given & NGX_HTTP_LRT_GIVEN_PANIC) {
        conf.panic = before->panic;
    }

    if (lscf->state->given & NGX_HTTP_LRT_GIVEN_CHECKS) {
        conf.nchecks = before->nchecks;
        ngx_memcpy(conf.check, before->check, sizeof(conf.check));
    }

    return conf;
}


/*
 * At a reload: what a file says nothing about is still for the configuration
 * to say.  It will be in the file from then on.  The writers' lock is held.
 */

void
ngx_http_lrt_state_reload(ngx_http_lrt_srv_conf_t *lscf, ngx_log_t *log)
{
    lrt_table_t       *t;
    lrt_change_t       change;
    lrt_settings_t     live, before, conf;
    lrt_change_set_t   set;

    t = &lscf->table;
    live = lrt_table_side(t, lrt_table_generation(t))->settings;
    before = t->head->conf_settings;
    conf = ngx_http_lrt_state_conf(lscf, &before);

    lrt_settings_merge(&live, &before, &conf);

    t->head->conf_settings = conf;

    ngx_memzero(&change, sizeof(lrt_change_t));
    ngx_memzero(&set, sizeof(lrt_change_set_t));

    change.type = LRT_SET_SETTINGS;
    change.settings = &live;

    set.change = &change;
    set.n = 1;

    if (!lrt_settings_equal(&live, &lrt_table_side(t, lrt_table_generation(t))
                                                                  ->settings)
        && lrt_change_commit(t, &set, ngx_http_lrt_now() / 1000) != LRT_OK)
    {
        ngx_log_error(NGX_LOG_ERR, log, 0,
                      "settings of upstream \"%V\" could not be merged",
                      &lscf->upstream->host);
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
                      &state->file_name, state->line);
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
                      &state->path, ccf->username, &state->file_name,
                      state->line);
    }
}


/* who is in a table that runs is there because of a file, be it broken now */

ngx_uint_t
ngx_http_lrt_state_decides(ngx_http_lrt_srv_conf_t *lscf, lrt_head_t *head)
{
    return lscf->state && (lscf->state->found || lrt_load(&head->state_saved));
}


/* the file is another one than that in force, so workers will take it up */

ngx_uint_t
ngx_http_lrt_state_is_new(ngx_http_lrt_srv_conf_t *lscf, lrt_head_t *head)
{
    return lscf->state
           && lscf->state->hash
           && lscf->state->hash != lrt_load(&head->state_hash);
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


void
ngx_http_lrt_state_set_why(lrt_head_t *head, const ngx_str_t *why)
{
    size_t  len;

    len = ngx_min(why->len, LRT_WHY_LEN - 1);

    ngx_memcpy(head->state_why, why->data, len);
    head->state_why[len] = '\0';
}


/* or there is no file that another instance may write */

ngx_uint_t
ngx_http_lrt_state_writes(ngx_http_lrt_srv_conf_t *lscf)
{
    return lscf->state == NULL
           || lrt_load(&lscf->table.head->state_writer) == LRT_WRITER_SELF;
}


ngx_str_t *
ngx_http_lrt_state_path(ngx_http_lrt_srv_conf_t *lscf)
{
    return lscf->state ? &lscf->state->path : NULL;
}
