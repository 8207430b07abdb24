
/*
 * Copyright (C) the ngx_http_lrt_upstream_module authors
 *
 * Text of any length in a chain of buffers, and JSON on top of it.
 */


#ifndef _NGX_HTTP_LRT_OUT_H_INCLUDED_
#define _NGX_HTTP_LRT_OUT_H_INCLUDED_


#include "ngx_http_lrt_compat.h"

#include "lrt_types.h"


typedef struct {
    ngx_pool_t          *pool;
    ngx_chain_t         *chain;          /* what was written */
    ngx_chain_t        **last;
    ngx_chain_t         *spare;          /* buffers to be used again */
    ngx_chain_t         *busy;           /* that are being sent */
    ngx_chain_t         *taken;          /* by the sender, just now */
    ngx_buf_t           *buf;            /* the last of the chain */
    size_t               size;           /* of the chain */

    /* JSON */

    ngx_uint_t           depth;          /* of open objects and arrays */
    ngx_str_t           *fields;         /* comma separated; NULL: all */
    ngx_uint_t           fields_depth;   /* where they are keys */
    ngx_uint_t           muted;          /* depth of what is left out, or 0 */
    ngx_uint_t           lines;          /* depth of values on own lines */
    unsigned             comma:1;
    unsigned             failed:1;       /* no memory */
} ngx_http_lrt_out_t;


void ngx_http_lrt_out_init(ngx_http_lrt_out_t *o, ngx_pool_t *pool);

/* memory for what is short, before it is needed; NGX_ERROR */

ngx_int_t ngx_http_lrt_out_reserve(ngx_http_lrt_out_t *o);

void ngx_http_lrt_out_mem(ngx_http_lrt_out_t *o, const void *data, size_t len);
void ngx_http_lrt_out_str(ngx_http_lrt_out_t *o, const char *s);
void ngx_http_lrt_out_uint(ngx_http_lrt_out_t *o, uint64_t n);

/* what was written, to be passed on; then "sent" brings buffers back */

ngx_chain_t *ngx_http_lrt_out_take(ngx_http_lrt_out_t *o);
void ngx_http_lrt_out_sent(ngx_http_lrt_out_t *o);


/* values of an object have a key, those of an array NULL */

void ngx_http_lrt_json_open(ngx_http_lrt_out_t *o, const char *key, int brace);
void ngx_http_lrt_json_open_str(ngx_http_lrt_out_t *o, const ngx_str_t *key,
    int brace);
void ngx_http_lrt_json_close(ngx_http_lrt_out_t *o, int brace);

void ngx_http_lrt_json_uint(ngx_http_lrt_out_t *o, const char *key,
    uint64_t n);
void ngx_http_lrt_json_key_uint(ngx_http_lrt_out_t *o, const ngx_str_t *key,
    uint64_t n);
void ngx_http_lrt_json_bool(ngx_http_lrt_out_t *o, const char *key,
    ngx_uint_t flag);
void ngx_http_lrt_json_text(ngx_http_lrt_out_t *o, const char *key,
    const char *s);
void ngx_http_lrt_json_str(ngx_http_lrt_out_t *o, const char *key,
    const ngx_str_t *s);
void ngx_http_lrt_json_lrt_str(ngx_http_lrt_out_t *o, const char *key,
    lrt_str_t s);

/* behind a character of UTF-8, or NULL if none is there */

u_char *ngx_http_lrt_utf8_skip(u_char *p, u_char *end);


/* whole seconds as "10s", anything else as "1500ms"; and tenths of percents */

u_char *ngx_http_lrt_period_text(u_char *p, u_char *last, uint64_t ms);
u_char *ngx_http_lrt_percents_text(u_char *p, u_char *last, uint64_t permille);

void ngx_http_lrt_json_period(ngx_http_lrt_out_t *o, const char *key,
    uint64_t ms);

/* ISO 8601 in UTC, of milliseconds since the epoch */

void ngx_http_lrt_json_moment(ngx_http_lrt_out_t *o, const char *key,
    uint64_t ms);


#endif /* _NGX_HTTP_LRT_OUT_H_INCLUDED_ */
