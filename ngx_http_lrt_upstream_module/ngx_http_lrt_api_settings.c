
/*
 * Copyright (C) the ngx_http_lrt_upstream_module authors
 *
 * PATCH of a group: what holds for all of its servers.
 */


#include "ngx_http_lrt_api.h"


static ngx_int_t ngx_http_lrt_api_settings_spec(ngx_http_lrt_api_t *api);
static ngx_int_t ngx_http_lrt_api_settings_locked(ngx_http_lrt_api_t *api,
    lrt_change_set_t *set);
static ngx_int_t ngx_http_lrt_api_plan_method(ngx_http_lrt_api_t *api,
    lrt_change_set_t *set, const lrt_side_t *side);
static ngx_int_t ngx_http_lrt_api_plan_settings(ngx_http_lrt_api_t *api,
    lrt_change_set_t *set, const lrt_side_t *side);
static ngx_int_t ngx_http_lrt_api_probes(ngx_http_lrt_api_t *api,
    const lrt_settings_t *settings);
static u_char *ngx_http_lrt_api_log_change(u_char *p, u_char *last,
    const lrt_change_t *c, const lrt_side_t *side);
static u_char *ngx_http_lrt_api_log_settings(u_char *p, u_char *last,
    const lrt_settings_t *from, const lrt_settings_t *to);
static u_char *ngx_http_lrt_api_log_checks(u_char *p, u_char *last,
    const lrt_settings_t *settings);


ngx_int_t
ngx_http_lrt_api_set_group(ngx_http_lrt_api_t *api)
{
    ngx_pool_t  *pool;

    pool = api->request->pool;

    api->settings = ngx_palloc(pool, sizeof(ngx_http_lrt_group_spec_t));

    if (api->settings == NULL
        || ngx_http_lrt_group_begin(pool, api->settings) != NGX_OK)
    {
        return NGX_ERROR;
    }

    return ngx_http_lrt_api_read_body(api, ngx_http_lrt_api_settings_spec);
}


static ngx_int_t
ngx_http_lrt_api_settings_spec(ngx_http_lrt_api_t *api)
{
    if (api->split.list || api->settings->given == 0) {
        return ngx_http_lrt_fault(api->request->pool, &api->fault,
                                  NGX_HTTP_BAD_REQUEST,
                                  "UpstreamConfFormatError",
                                  "an object with \"method\", "
                                  "\"slow_start\", \"panic\" or "
                                  "\"health_checks\" is expected");
    }

    return ngx_http_lrt_api_locked(api, 2, ngx_http_lrt_api_settings_locked);
}


static ngx_int_t
ngx_http_lrt_api_settings_locked(ngx_http_lrt_api_t *api,
    lrt_change_set_t *set)
{
    u_char             text[NGX_MAX_ERROR_STR], *p, *last;
    uint32_t           i;
    ngx_int_t          rc;
    lrt_table_t       *t;
    const lrt_side_t  *side;

    t = &api->group->table;
    side = lrt_table_side(t, lrt_table_generation(t));

    rc = ngx_http_lrt_api_plan_method(api, set, side);

    if (rc == NGX_OK) {
        rc = ngx_http_lrt_api_plan_settings(api, set, side);
    }

    /* of one generation back, and nobody else writes */

    if (rc == NGX_OK && set->n) {
        rc = ngx_http_lrt_api_commit(api, set);
    }

    if (rc != NGX_OK) {
        return rc;
    }

    p = text;
    last = text + sizeof(text);

    for (i = 0; i < set->n; i++) {
        p = ngx_http_lrt_api_log_change(p, last, &set->change[i], side);
    }

    if (p > text) {
        ngx_http_lrt_api_log(api, set, "%*s", p - text - 2, text + 2);
    }

    if (api->dry) {
        api->status = NGX_HTTP_NO_CONTENT;
        return NGX_OK;
    }

    return ngx_http_lrt_api_one_upstream(api);
}


static ngx_int_t
ngx_http_lrt_api_plan_method(ngx_http_lrt_api_t *api, lrt_change_set_t *set,
    const lrt_side_t *side)
{
    ngx_str_t     *method;
    lrt_policy_t   policy;

    if (!(api->settings->given & NGX_HTTP_LRT_GIVEN_METHOD)) {
        return NGX_OK;
    }

    method = &api->settings->method;

    if (ngx_http_lrt_policy_words(&policy, method) != NGX_OK) {
        return ngx_http_lrt_fault(api->request->pool, &api->fault,
                                  NGX_HTTP_BAD_REQUEST,
                                  "UpstreamConfFormatError",
                                  "invalid method \"%V\"", method);
    }

    if ((lrt_method(policy.method)->takes & LRT_NO_BACKUP)
        && side->tier[LRT_BACKUP].n)
    {
        return ngx_http_lrt_fault(api->request->pool, &api->fault,
                                  NGX_HTTP_BAD_REQUEST, "UpstreamNoBackup",
                                  "\"%s\" has no backup servers, "
                                  "remove them first",
                                  lrt_method(policy.method)->name);
    }

    if (ngx_memcmp(&side->policy, &policy, sizeof(lrt_policy_t)) != 0) {
        set->change[set->n].type = LRT_SET_POLICY;
        set->change[set->n++].policy = policy;
    }

    return NGX_OK;
}


static ngx_int_t
ngx_http_lrt_api_plan_settings(ngx_http_lrt_api_t *api, lrt_change_set_t *set,
    const lrt_side_t *side)
{
    ngx_int_t        rc;
    ngx_pool_t      *pool;
    lrt_settings_t  *settings;

    if (!(api->settings->given & NGX_HTTP_LRT_GIVEN_SETTINGS)) {
        return NGX_OK;
    }

    pool = api->request->pool;

    settings = ngx_palloc(pool, sizeof(lrt_settings_t));
    if (settings == NULL) {
        return NGX_ERROR;
    }

    *settings = side->settings;

    rc = ngx_http_lrt_group_settings(pool, api->settings, settings,
                                     &api->fault);

    if (rc == NGX_OK && (api->settings->given & NGX_HTTP_LRT_GIVEN_CHECKS)) {
        rc = ngx_http_lrt_group_sound(pool, api->group, settings, &api->fault);
    }

    if (rc == NGX_OK) {
        rc = ngx_http_lrt_api_probes(api, settings);
    }

    if (rc == NGX_DECLINED) {
        ngx_http_lrt_api_fault_place(api);
    }

    if (rc == NGX_OK && !lrt_settings_equal(&side->settings, settings)) {
        set->change[set->n].type = LRT_SET_SETTINGS;
        set->change[set->n++].settings = settings;
    }

    return rc;
}


static ngx_int_t
ngx_http_lrt_api_probes(ngx_http_lrt_api_t *api,
    const lrt_settings_t *settings)
{
    uint32_t            slot;
    ngx_int_t           rc;
    lrt_table_t        *t;
    const lrt_entry_t  *entry;

    t = &api->group->table;
    entry = lrt_table_entries(t, lrt_table_generation(t));
    rc = NGX_OK;

    for (slot = 0; slot < t->capacity && rc == NGX_OK; slot++) {
        if (entry[slot].ident) {
            rc = ngx_http_lrt_group_probes(api->request->pool, settings,
                                       lrt_table_sockaddr(&t->detail[slot]),
                                       &api->fault);
        }
    }

    return rc;
}


/* each with a comma before it */

static u_char *
ngx_http_lrt_api_log_change(u_char *p, u_char *last, const lrt_change_t *c,
    const lrt_side_t *side)
{
    if (c->type == LRT_SET_SETTINGS) {
        return ngx_http_lrt_api_log_settings(p, last, &side->settings,
                                             c->settings);
    }

    p = ngx_slprintf(p, last, ", method ");
    p = ngx_http_lrt_policy_text(p, last, &side->policy);
    p = ngx_slprintf(p, last, " -> ");

    return ngx_http_lrt_policy_text(p, last, &c->policy);
}


static u_char *
ngx_http_lrt_api_log_settings(u_char *p, u_char *last,
    const lrt_settings_t *from, const lrt_settings_t *to)
{
    if (from->slow_start != to->slow_start) {
        p = ngx_slprintf(p, last, ", slow_start ");
        p = ngx_http_lrt_period_text(p, last, from->slow_start);
        p = ngx_slprintf(p, last, " -> ");
        p = ngx_http_lrt_period_text(p, last, to->slow_start);
    }

    if (from->panic != to->panic) {
        p = ngx_slprintf(p, last, ", panic ");
        p = ngx_http_lrt_panic_text(p, last, from->panic);
        p = ngx_slprintf(p, last, " -> ");
        p = ngx_http_lrt_panic_text(p, last, to->panic);
    }

    if (from->nchecks != to->nchecks
        || ngx_memcmp(from->check, to->check, sizeof(from->check)) != 0)
    {
        p = ngx_slprintf(p, last, ", health_checks");
        p = ngx_http_lrt_api_log_checks(p, last, from);
        p = ngx_slprintf(p, last, " ->");
        p = ngx_http_lrt_api_log_checks(p, last, to);
    }

    return p;
}


static u_char *
ngx_http_lrt_api_log_checks(u_char *p, u_char *last,
    const lrt_settings_t *settings)
{
    ngx_uint_t  i;

    if (settings->nchecks == 0) {
        return ngx_slprintf(p, last, " none");
    }

    for (i = 0; i < settings->nchecks; i++) {
        p = ngx_slprintf(p, last, " (lrt_health_check");
        p = ngx_http_lrt_check_params_text(p, last, &settings->check[i]);
        p = ngx_slprintf(p, last, ")");
    }

    return p;
}
