
/*
 * Copyright (C) the ngx_http_lrt_upstream_module authors
 */


#include "ngx_http_lrt_out.h"


#define NGX_HTTP_LRT_OUT_PAGE  16384


static ngx_int_t ngx_http_lrt_out_page(ngx_http_lrt_out_t *o);
static ngx_uint_t ngx_http_lrt_json_begin(ngx_http_lrt_out_t *o,
    const void *key, size_t len);
static void ngx_http_lrt_json_line(ngx_http_lrt_out_t *o);
static ngx_uint_t ngx_http_lrt_json_wanted(ngx_http_lrt_out_t *o,
    const void *key, size_t len);
static void ngx_http_lrt_json_quote(ngx_http_lrt_out_t *o, const void *data,
    size_t len);
static size_t ngx_http_lrt_json_len(const char *key);


void
ngx_http_lrt_out_init(ngx_http_lrt_out_t *o, ngx_pool_t *pool)
{
    ngx_memzero(o, sizeof(ngx_http_lrt_out_t));

    o->pool = pool;
    o->last = &o->chain;
}


void
ngx_http_lrt_out_mem(ngx_http_lrt_out_t *o, const void *data, size_t len)
{
    size_t         n;
    const u_char  *p;

    p = data;

    while (len) {

        if ((o->buf == NULL || o->buf->last == o->buf->end)
            && ngx_http_lrt_out_page(o) != NGX_OK)
        {
            return;
        }

        n = ngx_min(len, (size_t) (o->buf->end - o->buf->last));

        o->buf->last = ngx_cpymem(o->buf->last, p, n);
        o->size += n;
        p += n;
        len -= n;
    }
}


static ngx_int_t
ngx_http_lrt_out_page(ngx_http_lrt_out_t *o)
{
    ngx_chain_t  *cl;

    cl = o->spare;

    if (cl) {
        o->spare = cl->next;
        cl->buf->pos = cl->buf->start;
        cl->buf->last = cl->buf->start;

    } else {
        cl = ngx_alloc_chain_link(o->pool);

        if (cl) {
            cl->buf = ngx_create_temp_buf(o->pool, NGX_HTTP_LRT_OUT_PAGE);
        }

        if (cl == NULL || cl->buf == NULL) {
            o->failed = 1;
            return NGX_ERROR;
        }

        cl->buf->tag = (ngx_buf_tag_t) &ngx_http_lrt_out_page;
    }

    cl->next = NULL;

    *o->last = cl;
    o->last = &cl->next;
    o->buf = cl->buf;

    return NGX_OK;
}


ngx_int_t
ngx_http_lrt_out_reserve(ngx_http_lrt_out_t *o)
{
    return o->buf ? NGX_OK : ngx_http_lrt_out_page(o);
}


void
ngx_http_lrt_out_str(ngx_http_lrt_out_t *o, const char *s)
{
    ngx_http_lrt_out_mem(o, s, ngx_strlen(s));
}


void
ngx_http_lrt_out_uint(ngx_http_lrt_out_t *o, uint64_t n)
{
    u_char  *p, buf[NGX_INT64_LEN + 1];

    p = ngx_sprintf(buf, "%uL", n);

    ngx_http_lrt_out_mem(o, buf, p - buf);
}


ngx_chain_t *
ngx_http_lrt_out_take(ngx_http_lrt_out_t *o)
{
    o->taken = o->chain;

    o->chain = NULL;
    o->last = &o->chain;
    o->buf = NULL;
    o->size = 0;

    return o->taken;
}


void
ngx_http_lrt_out_sent(ngx_http_lrt_out_t *o)
{
    ngx_chain_update_chains(o->pool, &o->spare, &o->busy, &o->taken,
                            (ngx_buf_tag_t) &ngx_http_lrt_out_page);
}


void
ngx_http_lrt_json_open(ngx_http_lrt_out_t *o, const char *key, int brace)
{
    ngx_str_t  s;

    s.data = (u_char *) key;
    s.len = ngx_http_lrt_json_len(key);

    ngx_http_lrt_json_open_str(o, &s, brace);
}


void
ngx_http_lrt_json_open_str(ngx_http_lrt_out_t *o, const ngx_str_t *key,
    int brace)
{
    char  c = (char) brace;

    o->depth++;

    if (o->muted) {
        return;
    }

    /* the key belongs to what is around */

    o->depth--;

    if (ngx_http_lrt_json_begin(o, key->data, key->len)) {
        o->depth++;
        ngx_http_lrt_out_mem(o, &c, 1);
        o->comma = 0;

    } else {
        o->depth++;
        o->muted = o->depth;
    }
}


void
ngx_http_lrt_json_close(ngx_http_lrt_out_t *o, int brace)
{
    char  c = (char) brace;

    if (o->muted) {

        if (o->muted == o->depth) {
            o->muted = 0;
        }

        o->depth--;
        return;
    }

    o->depth--;

    if (o->comma && o->depth < o->lines) {
        ngx_http_lrt_json_line(o);
    }

    o->comma = 1;

    ngx_http_lrt_out_mem(o, &c, 1);
}


/* comma and key; false if the value is not wanted */

static ngx_uint_t
ngx_http_lrt_json_begin(ngx_http_lrt_out_t *o, const void *key, size_t len)
{
    if (o->muted || !ngx_http_lrt_json_wanted(o, key, len)) {
        return 0;
    }

    if (o->comma) {
        ngx_http_lrt_out_mem(o, ",", 1);
    }

    o->comma = 1;

    if (o->depth && o->depth <= o->lines) {
        ngx_http_lrt_json_line(o);
    }

    if (key) {
        ngx_http_lrt_json_quote(o, key, len);
        ngx_http_lrt_out_mem(o, ":", 1);
    }

    return 1;
}


static void
ngx_http_lrt_json_line(ngx_http_lrt_out_t *o)
{
    ngx_uint_t  i;

    ngx_http_lrt_out_mem(o, "\n", 1);

    for (i = 0; i < o->depth; i++) {
        ngx_http_lrt_out_mem(o, "  ", 2);
    }
}


static ngx_uint_t
ngx_http_lrt_json_wanted(ngx_http_lrt_out_t *o, const void *key, size_t len)
{
    u_char  *p, *next, *end;

    if (o->fields == NULL || o->depth != o->fields_depth || key == NULL) {
        return 1;
    }

    end = o->fields->data + o->fields->len;

    for (p = o->fields->data; p < end; p = next + 1) {

        next = ngx_strlchr(p, end, ',');
        next = next ? next : end;

        if ((size_t) (next - p) == len && ngx_memcmp(p, key, len) == 0) {
            return 1;
        }
    }

    return 0;
}


void
ngx_http_lrt_json_uint(ngx_http_lrt_out_t *o, const char *key, uint64_t n)
{
    if (ngx_http_lrt_json_begin(o, key, ngx_http_lrt_json_len(key))) {
        ngx_http_lrt_out_uint(o, n);
    }
}


void
ngx_http_lrt_json_key_uint(ngx_http_lrt_out_t *o, const ngx_str_t *key,
    uint64_t n)
{
    if (ngx_http_lrt_json_begin(o, key->data, key->len)) {
        ngx_http_lrt_out_uint(o, n);
    }
}


void
ngx_http_lrt_json_bool(ngx_http_lrt_out_t *o, const char *key,
    ngx_uint_t flag)
{
    if (ngx_http_lrt_json_begin(o, key, ngx_http_lrt_json_len(key))) {
        ngx_http_lrt_out_str(o, flag ? "true" : "false");
    }
}


void
ngx_http_lrt_json_text(ngx_http_lrt_out_t *o, const char *key, const char *s)
{
    ngx_str_t  str;

    str.data = (u_char *) s;
    str.len = ngx_strlen(s);

    ngx_http_lrt_json_str(o, key, &str);
}


void
ngx_http_lrt_json_str(ngx_http_lrt_out_t *o, const char *key,
    const ngx_str_t *s)
{
    if (ngx_http_lrt_json_begin(o, key, ngx_http_lrt_json_len(key))) {
        ngx_http_lrt_json_quote(o, s->data, s->len);
    }
}


void
ngx_http_lrt_json_lrt_str(ngx_http_lrt_out_t *o, const char *key, lrt_str_t s)
{
    ngx_str_t  str;

    str.data = (u_char *) s.data;
    str.len = s.len;

    ngx_http_lrt_json_str(o, key, &str);
}


void
ngx_http_lrt_json_period(ngx_http_lrt_out_t *o, const char *key, uint64_t ms)
{
    u_char     buf[NGX_INT64_LEN + sizeof("ms")];
    ngx_str_t  s;

    s.data = buf;
    s.len = ngx_http_lrt_period_text(buf, buf + sizeof(buf), ms) - buf;

    ngx_http_lrt_json_str(o, key, &s);
}


u_char *
ngx_http_lrt_period_text(u_char *p, u_char *last, uint64_t ms)
{
    return (ms % 1000) ? ngx_slprintf(p, last, "%uLms", ms)
                       : ngx_slprintf(p, last, "%uLs", ms / 1000);
}


u_char *
ngx_http_lrt_percents_text(u_char *p, u_char *last, uint64_t permille)
{
    return (permille % 10)
           ? ngx_slprintf(p, last, "%uL.%uL%%", permille / 10, permille % 10)
           : ngx_slprintf(p, last, "%uL%%", permille / 10);
}


void
ngx_http_lrt_json_moment(ngx_http_lrt_out_t *o, const char *key, uint64_t ms)
{
    u_char     buf[sizeof("1970-01-01T00:00:00.000Z") + NGX_INT64_LEN];
    ngx_tm_t   tm;
    ngx_str_t  s;

    ngx_gmtime((time_t) (ms / 1000), &tm);

    s.data = buf;
    s.len = ngx_sprintf(buf, "%4d-%02d-%02dT%02d:%02d:%02d.%03dZ",
                        tm.ngx_tm_year, tm.ngx_tm_mon, tm.ngx_tm_mday,
                        tm.ngx_tm_hour, tm.ngx_tm_min, tm.ngx_tm_sec,
                        (int) (ms % 1000))
            - buf;

    ngx_http_lrt_json_str(o, key, &s);
}


u_char *
ngx_http_lrt_utf8_skip(u_char *p, u_char *end)
{
    uint32_t  c;

    if (*p < 0x80) {
        return p + 1;
    }

    c = ngx_utf8_decode(&p, end - p);

    /* halves of surrogate pairs are no characters */

    return (c <= 0x10ffff && (c < 0xd800 || c > 0xdfff)) ? p : NULL;
}


/* names may hold anything; what is no UTF-8 becomes U+FFFD */

static void
ngx_http_lrt_json_quote(ngx_http_lrt_out_t *o, const void *data, size_t len)
{
    u_char        *p, *plain, *last, *next, *end, buf[sizeof("\\u0000")];
    const char    *escape;

    ngx_http_lrt_out_mem(o, "\"", 1);

    /* an empty text may lie nowhere, and that has no end */

    p = (u_char *) (len ? data : "");
    end = p + len;
    plain = p;

    while (p < end) {

        last = p;

        if (*p >= 0x80) {

            next = ngx_http_lrt_utf8_skip(p, end);

            if (next) {
                p = next;
                continue;
            }

            p++;
            escape = "\\ufffd";

        } else if (*p == '"') {
            escape = "\\\"";
            p++;

        } else if (*p == '\\') {
            escape = "\\\\";
            p++;

        } else if (*p < 0x20) {
            ngx_sprintf(buf, "\\u%04xd%Z", (int) *p);
            escape = (char *) buf;
            p++;

        } else {
            p++;
            continue;
        }

        ngx_http_lrt_out_mem(o, plain, last - plain);
        ngx_http_lrt_out_str(o, escape);
        plain = p;
    }

    ngx_http_lrt_out_mem(o, plain, end - plain);
    ngx_http_lrt_out_mem(o, "\"", 1);
}


static size_t
ngx_http_lrt_json_len(const char *key)
{
    return key ? ngx_strlen(key) : 0;
}
