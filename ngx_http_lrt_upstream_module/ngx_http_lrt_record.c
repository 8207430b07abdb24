
/*
 * Copyright (C) the ngx_http_lrt_upstream_module authors
 *
 * What the attempts of a request leave for variables.  Only numbers are kept;
 * text is made when a variable is read.
 */


#include "ngx_http_lrt.h"


typedef struct {
    ngx_http_request_t  *request;
    ngx_array_t          records;        /* of ngx_http_lrt_record_t * */
} ngx_http_lrt_ctx_t;


/* writes to p, or returns the most that it would write if that is NULL */

typedef size_t (*ngx_http_lrt_print_pt)(u_char *p,
    ngx_http_lrt_record_t *record);


static ngx_http_lrt_ctx_t *ngx_http_lrt_get_ctx(ngx_http_request_t *r);
static ngx_http_lrt_ctx_t *ngx_http_lrt_create_ctx(ngx_http_request_t *r);
static void ngx_http_lrt_ctx_cleanup(void *data);
static ngx_int_t ngx_http_lrt_variable(ngx_http_request_t *r,
    ngx_http_variable_value_t *v, uintptr_t data);
static size_t ngx_http_lrt_join(ngx_http_request_t *r,
    ngx_http_lrt_ctx_t *ctx, ngx_http_lrt_print_pt print, u_char *p);
static size_t ngx_http_lrt_put(u_char *p, size_t len, const char *text);
static size_t ngx_http_lrt_print_peer(u_char *p,
    ngx_http_lrt_record_t *record);
static size_t ngx_http_lrt_print_generation(u_char *p,
    ngx_http_lrt_record_t *record);
static size_t ngx_http_lrt_print_estimate(u_char *p,
    ngx_http_lrt_record_t *record);
static size_t ngx_http_lrt_print_inflight(u_char *p,
    ngx_http_lrt_record_t *record);
static size_t ngx_http_lrt_print_choice(u_char *p,
    ngx_http_lrt_record_t *record);
static u_char *ngx_http_lrt_print_candidate(u_char *p, uint32_t method,
    lrt_candidate_t *candidate);


static ngx_str_t  ngx_http_lrt_choice_name = ngx_string("lrt_choice");


static struct {
    ngx_str_t               name;
    ngx_http_lrt_print_pt   print;
} ngx_http_lrt_variables[] = {
    { ngx_string("lrt_peer"), ngx_http_lrt_print_peer },
    { ngx_string("lrt_generation"), ngx_http_lrt_print_generation },
    { ngx_string("lrt_estimate"), ngx_http_lrt_print_estimate },
    { ngx_string("lrt_inflight"), ngx_http_lrt_print_inflight },
    { ngx_string("lrt_choice"), ngx_http_lrt_print_choice },
    { ngx_null_string, NULL }
};


/* by lrt_why_e */

static const char  *ngx_http_lrt_why[] = {
    "its turn by weight",
    "the best",
    "its turn among the best",
    "a trial, it was slow and is idle",
    "the server of this client",
    "the server of this client takes no requests",
    "its turn by weight, the client has no key",
    "its share of redirects",
    "the server that the client has a cookie for"
};


ngx_int_t
ngx_http_lrt_add_variables(ngx_conf_t *cf)
{
    ngx_uint_t            i;
    ngx_http_variable_t  *var;

    for (i = 0; ngx_http_lrt_variables[i].name.len; i++) {

        var = ngx_http_add_variable(cf, &ngx_http_lrt_variables[i].name,
                                    NGX_HTTP_VAR_NOCACHEABLE);
        if (var == NULL) {
            return NGX_ERROR;
        }

        var->get_handler = ngx_http_lrt_variable;
        var->data = i;
    }

    return NGX_OK;
}


/* the second best server is looked for only if somebody wants to read of it */

ngx_int_t
ngx_http_lrt_find_variables(ngx_conf_t *cf)
{
    ngx_uint_t                  i;
    ngx_http_variable_t        *var;
    ngx_http_core_main_conf_t  *cmcf;
    ngx_http_lrt_main_conf_t   *lmcf;

    lmcf = ngx_http_conf_get_module_main_conf(cf, ngx_http_lrt_upstream_module);
    cmcf = ngx_http_conf_get_module_main_conf(cf, ngx_http_core_module);

    var = cmcf->variables.elts;

    for (i = 0; i < cmcf->variables.nelts; i++) {
        if (var[i].name.len == ngx_http_lrt_choice_name.len
            && ngx_strncmp(var[i].name.data, ngx_http_lrt_choice_name.data,
                           var[i].name.len)
               == 0)
        {
            lmcf->explain = 1;
        }
    }

    return NGX_OK;
}


/* a new record for the attempt that is being made */

ngx_http_lrt_record_t *
ngx_http_lrt_record(ngx_http_request_t *r)
{
    ngx_http_lrt_ctx_t      *ctx;
    ngx_http_lrt_record_t   *record, **recordp;

    ctx = ngx_http_lrt_get_ctx(r);

    if (ctx == NULL) {
        ctx = ngx_http_lrt_create_ctx(r);
        if (ctx == NULL) {
            return NULL;
        }
    }

    record = ngx_pcalloc(r->pool, sizeof(ngx_http_lrt_record_t));
    recordp = ngx_array_push(&ctx->records);

    if (record == NULL || recordp == NULL) {
        return NULL;
    }

    record->state = r->upstream_states ? r->upstream_states->nelts - 1
                                       : ctx->records.nelts - 1;
    *recordp = record;

    return record;
}


ngx_http_lrt_record_t *
ngx_http_lrt_last_record(ngx_http_request_t *r)
{
    ngx_http_lrt_ctx_t      *ctx;
    ngx_http_lrt_record_t  **record;

    ctx = ngx_http_get_module_ctx(r, ngx_http_lrt_upstream_module);

    if (ctx == NULL || ctx->records.nelts == 0) {
        return NULL;
    }

    record = ctx->records.elts;

    return record[ctx->records.nelts - 1];
}


/* the second best is not held: the name is that of the moment */

void
ngx_http_lrt_name_next(ngx_http_request_t *r, lrt_table_t *t,
    ngx_http_lrt_record_t *record)
{
    uint32_t   slot;
    lrt_str_t  name;

    slot = record->pick.reason.next.slot;

    if (slot >= t->capacity) {
        return;
    }

    name = lrt_table_name(&t->detail[slot]);

    record->next.data = ngx_pnalloc(r->pool, LRT_DATA_LEN);

    if (record->next.data && name.len <= LRT_DATA_LEN) {
        ngx_memcpy(record->next.data, name.data, name.len);
        record->next.len = name.len;
    }
}


/* an internal redirect clears r->ctx, but not the pool of the request */

static ngx_http_lrt_ctx_t *
ngx_http_lrt_get_ctx(ngx_http_request_t *r)
{
    ngx_pool_cleanup_t  *cln;
    ngx_http_lrt_ctx_t  *ctx;

    ctx = ngx_http_get_module_ctx(r, ngx_http_lrt_upstream_module);

    if (ctx || !r->internal) {
        return ctx;
    }

    for (cln = r->pool->cleanup; cln; cln = cln->next) {

        if (cln->handler != ngx_http_lrt_ctx_cleanup) {
            continue;
        }

        ctx = cln->data;

        if (ctx->request == r) {
            ngx_http_set_ctx(r, ctx, ngx_http_lrt_upstream_module);
            return ctx;
        }
    }

    return NULL;
}


static ngx_http_lrt_ctx_t *
ngx_http_lrt_create_ctx(ngx_http_request_t *r)
{
    ngx_pool_cleanup_t  *cln;
    ngx_http_lrt_ctx_t  *ctx;

    cln = ngx_pool_cleanup_add(r->pool, sizeof(ngx_http_lrt_ctx_t));
    if (cln == NULL) {
        return NULL;
    }

    ctx = cln->data;

    if (ngx_array_init(&ctx->records, r->pool, 2,
                       sizeof(ngx_http_lrt_record_t *))
        != NGX_OK)
    {
        return NULL;
    }

    ctx->request = r;
    cln->handler = ngx_http_lrt_ctx_cleanup;

    ngx_http_set_ctx(r, ctx, ngx_http_lrt_upstream_module);

    return ctx;
}


/* only a mark in the list of cleanups */

static void
ngx_http_lrt_ctx_cleanup(void *data)
{
    (void) data;
}


static ngx_int_t
ngx_http_lrt_variable(ngx_http_request_t *r, ngx_http_variable_value_t *v,
    uintptr_t data)
{
    size_t                  len;
    ngx_http_lrt_ctx_t     *ctx;
    ngx_http_lrt_print_pt   print;

    ctx = ngx_http_lrt_get_ctx(r);

    if (ctx == NULL || ctx->records.nelts == 0) {
        v->not_found = 1;
        return NGX_OK;
    }

    print = ngx_http_lrt_variables[data].print;

    len = ngx_http_lrt_join(r, ctx, print, NULL);

    v->data = ngx_pnalloc(r->pool, len);
    if (v->data == NULL) {
        return NGX_ERROR;
    }

    v->len = (unsigned) ngx_http_lrt_join(r, ctx, print, v->data);
    v->valid = 1;
    v->no_cacheable = 0;
    v->not_found = 0;

    return NGX_OK;
}


/*
 * As $upstream_addr: a comma between attempts, a colon between groups that
 * were asked one after another, "-" where we had no server to offer or were
 * not asked.  A redirected request has records, but no attempts.
 */

static size_t
ngx_http_lrt_join(ngx_http_request_t *r, ngx_http_lrt_ctx_t *ctx,
    ngx_http_lrt_print_pt print, u_char *p)
{
    size_t                       len;
    ngx_uint_t                   i, j, n;
    const char                  *separator;
    ngx_http_lrt_record_t      **record;
    ngx_http_upstream_state_t   *state;

    state = r->upstream_states ? r->upstream_states->elts : NULL;
    n = state ? r->upstream_states->nelts : ctx->records.nelts;
    record = ctx->records.elts;

    len = 0;
    j = 0;
    separator = "";

    for (i = 0; i < n; i++) {

        if (i && state && state[i].peer == NULL) {
            separator = " : ";
            continue;
        }

        len += ngx_http_lrt_put(p, len, separator);

        while (j < ctx->records.nelts && record[j]->state < i) {
            j++;
        }

        if (j < ctx->records.nelts && record[j]->state == i
            && record[j]->peer)
        {
            len += print(p ? p + len : NULL, record[j]);

        } else {
            len += ngx_http_lrt_put(p, len, "-");
        }

        separator = ", ";
    }

    return len;
}


static size_t
ngx_http_lrt_put(u_char *p, size_t len, const char *text)
{
    if (p) {
        ngx_memcpy(p + len, text, ngx_strlen(text));
    }

    return ngx_strlen(text);
}


static size_t
ngx_http_lrt_print_peer(u_char *p, ngx_http_lrt_record_t *record)
{
    if (p) {
        ngx_memcpy(p, record->peer->data, record->peer->len);
    }

    return record->peer->len;
}


static size_t
ngx_http_lrt_print_generation(u_char *p, ngx_http_lrt_record_t *record)
{
    if (p == NULL) {
        return NGX_INT64_LEN;
    }

    return ngx_sprintf(p, "%uL", record->pick.generation) - p;
}


/* seconds, as other times in logs, but down to the microsecond */

static size_t
ngx_http_lrt_print_estimate(u_char *p, ngx_http_lrt_record_t *record)
{
    uint64_t  us;

    if (p == NULL) {
        return NGX_INT64_LEN + sizeof(".000000") - 1;
    }

    us = lrt_candidate_time(&record->pick.reason.chosen);

    if (us == 0) {
        *p = '-';
        return 1;
    }

    return ngx_sprintf(p, "%uL.%06uL", us / 1000000, us % 1000000) - p;
}


static size_t
ngx_http_lrt_print_inflight(u_char *p, ngx_http_lrt_record_t *record)
{
    if (p == NULL) {
        return NGX_INT32_LEN;
    }

    return ngx_sprintf(p, "%uD", record->pick.inflight) - p;
}


/*
 * "127.0.0.1:81 least_conn_ext: the best (0.012 s, 1 in flight, weight 2);
 * next 127.0.0.1:82 (0.013 s, 3 in flight, weight 2)"
 */

static size_t
ngx_http_lrt_print_choice(u_char *p, ngx_http_lrt_record_t *record)
{
    u_char        *start;
    lrt_reason_t  *reason;

    if (p == NULL) {
        return record->peer->len + record->next.len + 320;
    }

    start = p;
    reason = &record->pick.reason;

    p = ngx_sprintf(p, "%V %s: %s", record->peer,
                    lrt_method(reason->method)->name,
                    ngx_http_lrt_why[reason->why]);

    p = ngx_http_lrt_print_candidate(p, reason->method, &reason->chosen);

    if (record->next.len) {
        p = ngx_sprintf(p, "; next %V", &record->next);
        p = ngx_http_lrt_print_candidate(p, reason->method, &reason->next);
    }

    return p - start;
}


static u_char *
ngx_http_lrt_print_candidate(u_char *p, uint32_t method,
    lrt_candidate_t *candidate)
{
    uint64_t  us;

    us = lrt_candidate_time(candidate);

    if (us) {
        p = ngx_sprintf(p, " (estimate %uL.%03uL ms", us / 1000, us % 1000);

    } else {
        p = ngx_sprintf(p, " (no estimate");
    }

    p = ngx_sprintf(p, "; %uD in flight; weight %uD", candidate->inflight,
                    candidate->weight);

    if (candidate->key != LRT_KEY_NEVER) {
        p = ngx_sprintf(p, "; score %uL",
                        lrt_method_score(method, candidate->key));
    }

    *p++ = ')';

    return p;
}
