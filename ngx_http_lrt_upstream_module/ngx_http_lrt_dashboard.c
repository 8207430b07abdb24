
/*
 * Copyright (C) the ngx_http_lrt_upstream_module authors
 *
 * "lrt_dashboard": one page that a browser needs nothing else for but the API.
 * The page is the same for everybody; it is made when the configuration is
 * read, with the policy that lets its own script and style run and no other.
 */


#include "ngx_http_lrt_api.h"
#include "lrt_sha256.h"
#include "lrt_dashboard_html.h"


#define NGX_HTTP_LRT_DASHBOARD_API   "/api"

/* where the page has its API from; the value goes behind it */

#define NGX_HTTP_LRT_DASHBOARD_HOLE  "<meta name=\"lrt-api\" content=\""

#define NGX_HTTP_LRT_DASHBOARD_TAG   16      /* bytes of the hash */


/* what the page may do: be itself, and ask where it comes from */

#define NGX_HTTP_LRT_DASHBOARD_POLICY                                         \
    "default-src 'none'; script-src 'sha256-%V'; style-src 'sha256-%V'; "     \
    "img-src data:; connect-src 'self'; base-uri 'none'; "                    \
    "form-action 'none'; frame-ancestors 'none'; "                            \
    "require-trusted-types-for 'script'; trusted-types 'none'%Z"


struct ngx_http_lrt_page_s {
    ngx_str_t    text;
    const char  *tag;
    const char  *policy;
};


static ngx_http_lrt_page_t *ngx_http_lrt_dashboard_page(ngx_conf_t *cf,
    ngx_str_t *api);
static ngx_int_t ngx_http_lrt_dashboard_text(ngx_conf_t *cf, ngx_str_t *text,
    ngx_str_t *api);
static ngx_int_t ngx_http_lrt_dashboard_seal(ngx_conf_t *cf,
    ngx_http_lrt_page_t *page);
static ngx_int_t ngx_http_lrt_dashboard_hash(ngx_conf_t *cf,
    const ngx_str_t *text, const char *open, const char *close,
    ngx_str_t *hash);
static u_char *ngx_http_lrt_dashboard_find(const ngx_str_t *text, u_char *from,
    const char *what);
static ngx_int_t ngx_http_lrt_dashboard_handler(ngx_http_request_t *r);
static ngx_uint_t ngx_http_lrt_dashboard_is_here(ngx_http_request_t *r);
static ngx_int_t ngx_http_lrt_dashboard_headers(ngx_http_request_t *r,
    const ngx_http_lrt_page_t *page);


char *
ngx_http_lrt_dashboard(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_lrt_loc_conf_t  *llcf = conf;

    u_char     *p;
    ngx_str_t  *value, api;

    ngx_str_set(&api, NGX_HTTP_LRT_DASHBOARD_API);

    if (cf->args->nelts == 2) {
        value = cf->args->elts;
        api = value[1];

        p = api.data;
        p += (p[0] == '.') + (p[0] == '.' && p[1] == '.');

        /* a browser lets the page ask nobody but its own host */

        if (p[0] != '/' || p[1] == '/' || strpbrk((char *) p, "?#\\")) {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "invalid path \"%V\" of the API, it must be "
                               "one of this host that begins with \"/\", "
                               "\"./\" or \"../\"", &api);
            return NGX_CONF_ERROR;
        }
    }

    llcf->page = ngx_http_lrt_dashboard_page(cf, &api);

    if (llcf->page == NULL) {
        return NGX_CONF_ERROR;
    }

    return ngx_http_lrt_set_handler(cf, llcf, ngx_http_lrt_dashboard_handler);
}


static ngx_http_lrt_page_t *
ngx_http_lrt_dashboard_page(ngx_conf_t *cf, ngx_str_t *api)
{
    ngx_http_lrt_page_t  *page;

    page = ngx_palloc(cf->pool, sizeof(ngx_http_lrt_page_t));

    if (page == NULL
        || ngx_http_lrt_dashboard_text(cf, &page->text, api) != NGX_OK
        || ngx_http_lrt_dashboard_seal(cf, page) != NGX_OK)
    {
        return NULL;
    }

    return page;
}


/* the page with the path of the API in it */

static ngx_int_t
ngx_http_lrt_dashboard_text(ngx_conf_t *cf, ngx_str_t *text, ngx_str_t *api)
{
    u_char     *p, *hole;
    size_t      len;
    ngx_str_t   html;

    html.data = (u_char *) lrt_dashboard_html;
    html.len = sizeof(lrt_dashboard_html);

    hole = ngx_http_lrt_dashboard_find(&html, html.data,
                                       NGX_HTTP_LRT_DASHBOARD_HOLE);
    if (hole == NULL) {
        return NGX_ERROR;
    }

    hole += sizeof(NGX_HTTP_LRT_DASHBOARD_HOLE) - 1;
    len = api->len + ngx_escape_html(NULL, api->data, api->len);

    text->len = html.len + len;
    text->data = ngx_pnalloc(cf->pool, text->len);

    if (text->data == NULL) {
        return NGX_ERROR;
    }

    p = ngx_cpymem(text->data, html.data, hole - html.data);
    p = (u_char *) ngx_escape_html(p, api->data, api->len);
    ngx_memcpy(p, hole, html.data + html.len - hole);

    return NGX_OK;
}


static ngx_int_t
ngx_http_lrt_dashboard_seal(ngx_conf_t *cf, ngx_http_lrt_page_t *page)
{
    u_char     *policy, *tag, *p, hash[LRT_SHA256_LEN];
    ngx_str_t   script, style;

    if (ngx_http_lrt_dashboard_hash(cf, &page->text, "<script>", "</script>",
                                    &script)
        != NGX_OK
        || ngx_http_lrt_dashboard_hash(cf, &page->text, "<style>", "</style>",
                                       &style)
           != NGX_OK)
    {
        return NGX_ERROR;
    }

    policy = ngx_pnalloc(cf->pool, sizeof(NGX_HTTP_LRT_DASHBOARD_POLICY)
                                   + script.len + style.len);
    tag = ngx_pnalloc(cf->pool, sizeof("\"\"")
                                + 2 * NGX_HTTP_LRT_DASHBOARD_TAG);

    if (policy == NULL || tag == NULL) {
        return NGX_ERROR;
    }

    ngx_sprintf(policy, NGX_HTTP_LRT_DASHBOARD_POLICY, &script, &style);

    lrt_sha256(page->text.data, page->text.len, hash);

    p = tag;
    *p++ = '"';
    p = ngx_hex_dump(p, hash, NGX_HTTP_LRT_DASHBOARD_TAG);
    *p++ = '"';
    *p = '\0';

    page->policy = (char *) policy;
    page->tag = (char *) tag;

    return NGX_OK;
}


/* what stands between two tags, as a policy names it */

static ngx_int_t
ngx_http_lrt_dashboard_hash(ngx_conf_t *cf, const ngx_str_t *text,
    const char *open, const char *close, ngx_str_t *base64)
{
    u_char     *p, *end, hash[LRT_SHA256_LEN];
    ngx_str_t   bytes;

    p = ngx_http_lrt_dashboard_find(text, text->data, open);
    end = p ? ngx_http_lrt_dashboard_find(text, p, close) : NULL;

    if (end == NULL) {
        return NGX_ERROR;
    }

    p += ngx_strlen(open);
    lrt_sha256(p, end - p, hash);

    bytes.data = hash;
    bytes.len = LRT_SHA256_LEN;

    base64->data = ngx_pnalloc(cf->pool, ngx_base64_encoded_length(bytes.len));
    if (base64->data == NULL) {
        return NGX_ERROR;
    }

    ngx_encode_base64(base64, &bytes);

    return NGX_OK;
}


static u_char *
ngx_http_lrt_dashboard_find(const ngx_str_t *text, u_char *from,
    const char *what)
{
    u_char  *p, *end;
    size_t   len;

    len = ngx_strlen(what);
    end = text->data + text->len;

    for (p = from; p + len <= end; p++) {
        if (ngx_memcmp(p, what, len) == 0) {
            return p;
        }
    }

    return NULL;
}


static ngx_int_t
ngx_http_lrt_dashboard_handler(ngx_http_request_t *r)
{
    ngx_int_t                 rc;
    ngx_buf_t                *b;
    ngx_chain_t               out;
    ngx_http_lrt_page_t      *page;
    ngx_http_lrt_loc_conf_t  *llcf;

    if (!(r->method & (NGX_HTTP_GET|NGX_HTTP_HEAD))) {

        if (ngx_http_lrt_api_add_header(r, "Allow", "GET, HEAD") == NULL) {
            return NGX_HTTP_INTERNAL_SERVER_ERROR;
        }

        return NGX_HTTP_NOT_ALLOWED;
    }

    if (!ngx_http_lrt_dashboard_is_here(r)) {
        return NGX_HTTP_NOT_FOUND;
    }

    rc = ngx_http_discard_request_body(r);
    if (rc != NGX_OK) {
        return rc;
    }

    llcf = ngx_http_get_module_loc_conf(r, ngx_http_lrt_upstream_module);
    page = llcf->page;

    r->headers_out.status = NGX_HTTP_OK;
    r->headers_out.content_length_n = page->text.len;
    ngx_str_set(&r->headers_out.content_type, "text/html");
    r->headers_out.content_type_len = r->headers_out.content_type.len;
    ngx_str_set(&r->headers_out.charset, "utf-8");

    if (ngx_http_lrt_dashboard_headers(r, page) != NGX_OK) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    rc = ngx_http_send_header(r);

    if (rc == NGX_ERROR || rc > NGX_OK || r->header_only) {
        return rc;
    }

    b = ngx_calloc_buf(r->pool);
    if (b == NULL) {
        return NGX_ERROR;
    }

    b->pos = page->text.data;
    b->last = page->text.data + page->text.len;
    b->memory = 1;
    b->last_buf = (r == r->main);
    b->last_in_chain = 1;

    out.buf = b;
    out.next = NULL;

    return ngx_http_output_filter(r, &out);
}


/* "location /dashboard" takes /dashboards and what is below it as well */

static ngx_uint_t
ngx_http_lrt_dashboard_is_here(ngx_http_request_t *r)
{
    size_t                     len;
    ngx_http_core_loc_conf_t  *clcf;

    clcf = ngx_http_get_module_loc_conf(r, ngx_http_core_module);
    len = clcf->name.len;

    if (clcf->named
        || clcf->noname
#if (NGX_PCRE)
        || clcf->regex
#endif
        )
    {
        return 1;
    }

    return r->uri.len <= len
           || (r->uri.len == len + 1 && r->uri.data[len] == '/');
}


static ngx_int_t
ngx_http_lrt_dashboard_headers(ngx_http_request_t *r,
    const ngx_http_lrt_page_t *page)
{
    ngx_uint_t  i;

    static const struct {
        const char  *name;
        const char  *value;
    } headers[] = {
        { "Cache-Control", "no-cache" },
        { "X-Content-Type-Options", "nosniff" },
        { "X-Frame-Options", "DENY" },
        { "Referrer-Policy", "no-referrer" },
        { "Cross-Origin-Opener-Policy", "same-origin" },
        { "Cross-Origin-Resource-Policy", "same-origin" }
    };

    for (i = 0; i < sizeof(headers) / sizeof(headers[0]); i++) {
        if (ngx_http_lrt_api_add_header(r, headers[i].name, headers[i].value)
            == NULL)
        {
            return NGX_ERROR;
        }
    }

    /* nginx itself compares the tag with If-None-Match */

    r->headers_out.etag = ngx_http_lrt_api_add_header(r, "ETag", page->tag);

    if (r->headers_out.etag == NULL
        || ngx_http_lrt_api_add_header(r, "Content-Security-Policy",
                                       page->policy)
           == NULL)
    {
        return NGX_ERROR;
    }

    return NGX_OK;
}
