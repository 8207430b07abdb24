
/*
 * Copyright (C) the ngx_http_lrt_upstream_module authors
 *
 * What the attempts of a request leave for variables.  Only numbers are kept;
 * text is made when a variable is read.
 */


#include "ngx_http_lrt.h"


typedef struct {
    ngx_http_request_t  *request;
    ngx_array_t          records;        /* of ngx_http_lrt_record_t */
} ngx_http_lrt_ctx_t;


typedef size_t (*ngx_http_lrt_print_pt)(u_char *p,
    ngx_http_lrt_record_t *record);


static ngx_http_lrt_ctx_t *ngx_http_lrt_get_ctx(ngx_http_request_t *r);
static void ngx_http_lrt_ctx_cleanup(void *data);
static ngx_int_t ngx_http_lrt_variable(ngx_http_request_t *r,
    ngx_http_variable_value_t *v, uintptr_t data);
static size_t ngx_http_lrt_join(ngx_http_request_t *r,
    ngx_http_lrt_ctx_t *ctx, ngx_http_lrt_print_pt print, u_char *p);
static size_t ngx_http_lrt_print_peer(u_char *p,
    ngx_http_lrt_record_t *record);
static size_t ngx_http_lrt_print_generation(u_char *p,
    ngx_http_lrt_record_t *record);


static ngx_http_lrt_print_pt  ngx_http_lrt_printers[] = {
    ngx_http_lrt_print_peer,
    ngx_http_lrt_print_generation
};


static ngx_http_variable_t  ngx_http_lrt_variables[] = {

    { ngx_string("lrt_peer"), NULL, ngx_http_lrt_variable, 0,
      NGX_HTTP_VAR_NOCACHEABLE, 0 },

    { ngx_string("lrt_generation"), NULL, ngx_http_lrt_variable, 1,
      NGX_HTTP_VAR_NOCACHEABLE, 0 },

      ngx_http_null_variable
};


ngx_int_t
ngx_http_lrt_add_variables(ngx_conf_t *cf)
{
    ngx_http_variable_t  *var, *v;

    for (v = ngx_http_lrt_variables; v->name.len; v++) {

        var = ngx_http_add_variable(cf, &v->name, v->flags);
        if (var == NULL) {
            return NGX_ERROR;
        }

        var->get_handler = v->get_handler;
        var->data = v->data;
    }

    return NGX_OK;
}


/* a new record for the attempt that is being made */

ngx_http_lrt_record_t *
ngx_http_lrt_record(ngx_http_request_t *r)
{
    ngx_pool_cleanup_t     *cln;
    ngx_http_lrt_ctx_t     *ctx;
    ngx_http_lrt_record_t  *record;

    ctx = ngx_http_lrt_get_ctx(r);

    if (ctx == NULL) {
        cln = ngx_pool_cleanup_add(r->pool, sizeof(ngx_http_lrt_ctx_t));
        if (cln == NULL) {
            return NULL;
        }

        ctx = cln->data;
        ctx->request = NULL;

        if (ngx_array_init(&ctx->records, r->pool, 2,
                           sizeof(ngx_http_lrt_record_t))
            != NGX_OK)
        {
            return NULL;
        }

        ctx->request = r;
        cln->handler = ngx_http_lrt_ctx_cleanup;

        ngx_http_set_ctx(r, ctx, ngx_http_lrt_upstream_module);
    }

    record = ngx_array_push(&ctx->records);
    if (record == NULL) {
        return NULL;
    }

    ngx_memzero(record, sizeof(ngx_http_lrt_record_t));

    record->state = r->upstream_states->nelts - 1;

    return record;
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

    if (ctx == NULL || ctx->records.nelts == 0 || r->upstream_states == NULL) {
        v->not_found = 1;
        return NGX_OK;
    }

    print = ngx_http_lrt_printers[data];

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
 * not asked.  Returns the length; writes nothing if p is NULL.
 */

static size_t
ngx_http_lrt_join(ngx_http_request_t *r, ngx_http_lrt_ctx_t *ctx,
    ngx_http_lrt_print_pt print, u_char *p)
{
    size_t                      len;
    ngx_uint_t                  i, j, n;
    const char                 *separator;
    ngx_http_lrt_record_t      *record;
    ngx_http_upstream_state_t  *state;

    state = r->upstream_states->elts;
    n = r->upstream_states->nelts;
    record = ctx->records.elts;

    len = 0;
    j = 0;
    separator = NULL;

    for (i = 0; i < n; i++) {

        if (i && state[i].peer == NULL) {
            separator = " : ";
            continue;
        }

        if (separator) {
            if (p) {
                ngx_memcpy(p + len, separator, ngx_strlen(separator));
            }

            len += ngx_strlen(separator);
        }

        while (j < ctx->records.nelts && record[j].state < i) {
            j++;
        }

        if (j < ctx->records.nelts && record[j].state == i && record[j].peer) {
            len += print(p ? p + len : NULL, &record[j]);

        } else {
            if (p) {
                p[len] = '-';
            }

            len++;
        }

        separator = ", ";
    }

    return len;
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
    u_char  buf[NGX_INT64_LEN];

    if (p == NULL) {
        p = buf;
    }

    return ngx_sprintf(p, "%uL", record->pick.generation) - p;
}
