
/*
 * Copyright (C) the ngx_http_lrt_upstream_module authors
 *
 * Looks at the clock when a header passes: the one place which all responses
 * of servers pass when their header is known, on every version of nginx.  And
 * where clients of the API would get nginx' error pages, they get JSON.
 */


#include "ngx_http_lrt.h"


static ngx_int_t ngx_http_lrt_header_filter(ngx_http_request_t *r);
static ngx_int_t ngx_http_lrt_body_filter(ngx_http_request_t *r,
    ngx_chain_t *in);
static ngx_int_t ngx_http_lrt_filter_init(ngx_conf_t *cf);


static ngx_http_module_t  ngx_http_lrt_filter_module_ctx = {
    NULL,                                  /* preconfiguration */
    ngx_http_lrt_filter_init,              /* postconfiguration */

    NULL,                                  /* create main configuration */
    NULL,                                  /* init main configuration */

    NULL,                                  /* create server configuration */
    NULL,                                  /* merge server configuration */

    NULL,                                  /* create location configuration */
    NULL                                   /* merge location configuration */
};


ngx_module_t  ngx_http_lrt_filter_module = {
    NGX_MODULE_V1,
    &ngx_http_lrt_filter_module_ctx,       /* module context */
    NULL,                                  /* module directives */
    NGX_HTTP_MODULE,                       /* module type */
    NULL,                                  /* init master */
    NULL,                                  /* init module */
    NULL,                                  /* init process */
    NULL,                                  /* init thread */
    NULL,                                  /* exit thread */
    NULL,                                  /* exit process */
    NULL,                                  /* exit master */
    NGX_MODULE_V1_PADDING
};


static ngx_http_output_header_filter_pt  ngx_http_next_header_filter;
static ngx_http_output_body_filter_pt    ngx_http_next_body_filter;


static ngx_int_t
ngx_http_lrt_header_filter(ngx_http_request_t *r)
{
    ngx_http_lrt_record_t  *record;

    record = ngx_http_lrt_last_record(r);

    if (record && record->held && record->header == 0) {
        record->header = ngx_http_lrt_now();
    }

    if (ngx_http_lrt_api_page(r) == NGX_ERROR) {
        return NGX_ERROR;
    }

    return ngx_http_next_header_filter(r);
}


static ngx_int_t
ngx_http_lrt_body_filter(ngx_http_request_t *r, ngx_chain_t *in)
{
    ngx_chain_t  *out;

    if (in && ngx_http_lrt_api_page_body(r, in, &out) == NGX_OK) {
        in = out;
    }

    return ngx_http_next_body_filter(r, in);
}


static ngx_int_t
ngx_http_lrt_filter_init(ngx_conf_t *cf)
{
    (void) cf;

    ngx_http_next_header_filter = ngx_http_top_header_filter;
    ngx_http_top_header_filter = ngx_http_lrt_header_filter;

    ngx_http_next_body_filter = ngx_http_top_body_filter;
    ngx_http_top_body_filter = ngx_http_lrt_body_filter;

    return NGX_OK;
}
