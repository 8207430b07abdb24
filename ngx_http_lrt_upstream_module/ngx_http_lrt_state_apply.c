
/*
 * Copyright (C) the ngx_http_lrt_upstream_module authors
 *
 * What somebody has written into the state file of a group that runs comes
 * into force, or is refused.
 */


#include "ngx_http_lrt_state.h"


#define NGX_HTTP_LRT_STATE_NAMES  16         /* in one line of the log */


static ngx_int_t ngx_http_lrt_state_apply(ngx_http_lrt_srv_conf_t *lscf,
    ngx_http_lrt_state_doc_t *doc, ngx_str_t *why);
static void ngx_http_lrt_state_log(ngx_http_lrt_srv_conf_t *lscf,
    const lrt_change_set_t *set, const lrt_plan_t *plan);


ngx_int_t
ngx_http_lrt_state_edited(ngx_http_lrt_srv_conf_t *lscf,
    ngx_http_lrt_job_t *job)
{
    ngx_int_t                  rc;
    ngx_str_t                  why;
    ngx_http_lrt_state_doc_t  *doc;

    doc = job->data;

    if (doc->why.len) {
        ngx_http_lrt_state_refuse(lscf, job->hash, &doc->why);
        return NGX_DECLINED;
    }

    rc = ngx_http_lrt_state_apply(lscf, doc, &why);

    if (rc == NGX_DECLINED) {
        ngx_http_lrt_state_refuse(lscf, job->hash, &why);
    }

    return rc;
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
                  "%uD removed, %uD updated, %uD unchanged; "
                  "generation %uL%*s%s",
                  &lscf->upstream->host, &lscf->state->path, plan->added,
                  plan->removed, plan->updated, plan->unchanged,
                  lrt_table_generation(&lscf->table), (size_t) (p - text),
                  text, i < set->n ? ", ..." : "");
}


void
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
