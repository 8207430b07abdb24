
/*
 * Copyright (C) the ngx_http_lrt_upstream_module authors
 *
 * The way of an answer to the client, however long it is and slow he is; its
 * tag, and what a client demands of it.
 */


#include "ngx_http_lrt_api.h"


#define NGX_HTTP_LRT_TAG_LEN     (2 * NGX_INT64_LEN + sizeof("\"-\""))


static ngx_int_t ngx_http_lrt_api_send_header(ngx_http_lrt_api_t *api);
static ngx_int_t ngx_http_lrt_api_add_tag(ngx_http_lrt_api_t *api);
static u_char *ngx_http_lrt_api_tag(ngx_http_lrt_api_t *api, u_char *p);
static ngx_uint_t ngx_http_lrt_api_blank(u_char *p, u_char *end);
static ngx_int_t ngx_http_lrt_api_mark(ngx_http_lrt_api_t *api,
    ngx_chain_t **chain);
static void ngx_http_lrt_api_writable(ngx_http_request_t *r);


void
ngx_http_lrt_api_answer(ngx_http_lrt_api_t *api)
{
    ngx_int_t            rc;
    ngx_http_request_t  *r;

    r = api->request;

    rc = api->write ? api->write(api) : NGX_OK;

    if (rc == NGX_ERROR || api->out.failed) {
        ngx_http_finalize_request(r, NGX_HTTP_INTERNAL_SERVER_ERROR);
        return;
    }

    api->complete = (rc == NGX_OK);

    api->answered = 1;

    rc = ngx_http_lrt_api_send_header(api);

    if (rc == NGX_ERROR || rc > NGX_OK || r->header_only) {
        ngx_http_finalize_request(r, rc);
        return;
    }

    ngx_http_lrt_api_send(api);
}


static ngx_int_t
ngx_http_lrt_api_send_header(ngx_http_lrt_api_t *api)
{
    ngx_http_request_t  *r;

    r = api->request;

    r->headers_out.status = api->status;
    r->headers_out.content_type = api->type;
    r->headers_out.content_type_len = api->type.len;
    r->headers_out.content_type_lowcase = NULL;

    ngx_http_clear_content_length(r);

    if (api->status == NGX_HTTP_NO_CONTENT) {
        r->header_only = 1;

    } else if (api->complete) {
        r->headers_out.content_length_n = api->out.size;
    }

    /* conditions of a write were met before it came to pass */

    r->disable_not_modified = !(r->method & (NGX_HTTP_GET|NGX_HTTP_HEAD));

    if (api->tag && ngx_http_lrt_api_add_tag(api) != NGX_OK) {
        return NGX_ERROR;
    }

    /* figures that a browser kept would be wrong */

    if (ngx_http_lrt_api_add_header(r, "Cache-Control", "no-store") == NULL) {
        return NGX_ERROR;
    }

    return ngx_http_send_header(r);
}


/* nginx itself compares it with If-None-Match */

static ngx_int_t
ngx_http_lrt_api_add_tag(ngx_http_lrt_api_t *api)
{
    u_char              *tag, *index;
    ngx_http_request_t  *r;

    r = api->request;

    tag = ngx_pnalloc(r->pool, NGX_HTTP_LRT_TAG_LEN);
    index = ngx_pnalloc(r->pool, NGX_INT64_LEN + 1);

    if (tag == NULL || index == NULL) {
        return NGX_ERROR;
    }

    *ngx_http_lrt_api_tag(api, tag) = '\0';
    ngx_sprintf(index, "%uL%Z", api->tag);

    r->headers_out.etag = ngx_http_lrt_api_add_header(r, "ETag", (char *) tag);

    if (r->headers_out.etag == NULL
        || ngx_http_lrt_api_add_header(r, "X-Lrt-Index", (char *) index)
           == NULL)
    {
        return NGX_ERROR;
    }

    return NGX_OK;
}


static u_char *
ngx_http_lrt_api_tag(ngx_http_lrt_api_t *api, u_char *p)
{
    return ngx_sprintf(p, "\"%xL-%uL\"", api->group->table.head->epoch,
                       api->tag);
}


ngx_int_t
ngx_http_lrt_api_expected(ngx_http_lrt_api_t *api, uint64_t *generation)
{
    u_char     *p, *next, *end, *last, tag[NGX_HTTP_LRT_TAG_LEN];
    ngx_str_t  *match;

    *generation = 0;
    match = ngx_http_lrt_api_header(api->request, "if-match");

    if (match == NULL || (match->len == 1 && match->data[0] == '*')) {
        return NGX_OK;
    }

    api->tag = lrt_table_generation(&api->group->table);
    last = ngx_http_lrt_api_tag(api, tag);

    end = match->data + match->len;

    for (p = match->data; p < end; p = next + 1) {

        while (p < end && (*p == ' ' || *p == '\t')) {
            p++;
        }

        next = ngx_strlchr(p, end, ',');
        next = next ? next : end;

        /* "gzip" makes tags weak; those of settings are as good as before */

        if (next - p > 2 && p[0] == 'W' && p[1] == '/') {
            p += 2;
        }

        if (next - p >= last - tag
            && ngx_memcmp(p, tag, last - tag) == 0
            && ngx_http_lrt_api_blank(p + (last - tag), next))
        {
            *generation = api->tag;
            return NGX_OK;
        }
    }

    return ngx_http_lrt_fault(api->request->pool, &api->fault,
                              NGX_HTTP_PRECONDITION_FAILED,
                              "PreconditionFailed",
                              "the group has changed, its tag is now %*s",
                              last - tag, tag);
}


static ngx_uint_t
ngx_http_lrt_api_blank(u_char *p, u_char *end)
{
    while (p < end && (*p == ' ' || *p == '\t')) {
        p++;
    }

    return p == end;
}


ngx_table_elt_t *
ngx_http_lrt_api_add_header(ngx_http_request_t *r, const char *name,
    const char *value)
{
    ngx_table_elt_t  *h;

    h = ngx_list_push(&r->headers_out.headers);
    if (h == NULL) {
        return NULL;
    }

    h->hash = 1;
    ngx_http_lrt_header_last(h);
    h->key.data = (u_char *) name;
    h->key.len = ngx_strlen(name);
    h->value.data = (u_char *) value;
    h->value.len = ngx_strlen(value);

    return h;
}


/* what is there, and then more of it */

void
ngx_http_lrt_api_send(ngx_http_lrt_api_t *api)
{
    ngx_int_t            rc;
    ngx_chain_t         *chain;
    ngx_http_request_t  *r;

    r = api->request;

    /* without a master, a reload takes the table away */

    if (!api->complete && api->group && api->group->table.head == NULL) {
        ngx_http_finalize_request(r, NGX_ERROR);
        return;
    }

    if (!api->complete && api->out.chain == NULL) {
        rc = api->write(api);

        if (rc == NGX_ERROR || api->out.failed) {
            ngx_http_finalize_request(r, NGX_ERROR);
            return;
        }

        api->complete = (rc == NGX_OK);
    }

    chain = ngx_http_lrt_out_take(&api->out);

    if (ngx_http_lrt_api_mark(api, &chain) != NGX_OK) {
        ngx_http_finalize_request(r, NGX_ERROR);
        return;
    }

    rc = ngx_http_output_filter(r, chain);

    if (rc == NGX_ERROR || api->complete) {
        ngx_http_finalize_request(r, rc);
        return;
    }

    ngx_http_lrt_out_sent(&api->out);

    r->read_event_handler = ngx_http_test_reading;
    r->write_event_handler = ngx_http_lrt_api_writable;

    if (api->out.busy) {
        ngx_http_lrt_api_writable(r);
        return;
    }

    ngx_http_lrt_api_later(api, 0);
}


static ngx_int_t
ngx_http_lrt_api_mark(ngx_http_lrt_api_t *api, ngx_chain_t **chain)
{
    ngx_buf_t    *b;
    ngx_chain_t  *cl;

    if (*chain) {
        for (cl = *chain; cl->next; cl = cl->next) { /* void */ }

        b = cl->buf;

    } else {
        cl = ngx_alloc_chain_link(api->request->pool);
        b = ngx_calloc_buf(api->request->pool);

        if (cl == NULL || b == NULL) {
            return NGX_ERROR;
        }

        b->sync = api->complete;
        cl->buf = b;
        cl->next = NULL;
        *chain = cl;
    }

    /* nginx would keep a small piece until more comes, and we wait for it */

    b->flush = !api->complete;

    if (api->complete) {
        b->last_buf = (api->request == api->request->main);
        b->last_in_chain = 1;
    }

    return NGX_OK;
}


/* the client takes its time */

static void
ngx_http_lrt_api_writable(ngx_http_request_t *r)
{
    ngx_event_t               *wev;
    ngx_connection_t          *c;
    ngx_http_lrt_api_t        *api;
    ngx_http_core_loc_conf_t  *clcf;

    c = r->connection;
    wev = c->write;
    api = ngx_http_get_module_ctx(r, ngx_http_lrt_filter_module);
    clcf = ngx_http_get_module_loc_conf(r, ngx_http_core_module);

    if (api->event.posted) {
        return;
    }

    if (wev->timedout) {
        ngx_log_error(NGX_LOG_INFO, c->log, NGX_ETIMEDOUT, "client timed out");
        c->timedout = 1;
        ngx_http_finalize_request(r, NGX_HTTP_REQUEST_TIME_OUT);
        return;
    }

    if (ngx_http_output_filter(r, NULL) == NGX_ERROR) {
        ngx_http_finalize_request(r, NGX_ERROR);
        return;
    }

    ngx_http_lrt_out_sent(&api->out);

    if (api->out.busy) {

        if (!wev->delayed) {
            ngx_add_timer(wev, clcf->send_timeout);
        }

        if (ngx_handle_write_event(wev, clcf->send_lowat) != NGX_OK) {
            ngx_http_finalize_request(r, NGX_ERROR);
        }

        return;
    }

    if (wev->timer_set && !wev->delayed) {
        ngx_del_timer(wev);
    }

    ngx_http_lrt_api_later(api, 0);
}
