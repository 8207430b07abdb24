
/*
 * Copyright (C) the ngx_http_lrt_upstream_module authors
 *
 * TLS of checks: whom they trust, and whether a server is who it should be.
 */


#include "ngx_http_lrt_check.h"


#define NGX_HTTP_LRT_TRUST_DEPTH  9


#if (NGX_HTTP_SSL)


typedef struct {
    ngx_str_t                path;           /* empty: what the system trusts */
    ngx_ssl_t                ssl;
} ngx_http_lrt_trust_t;


static ngx_str_t ngx_http_lrt_trust_host(const ngx_str_t *host);
static ngx_http_lrt_trust_t *ngx_http_lrt_trust_of(
    ngx_http_lrt_main_conf_t *lmcf, const ngx_str_t *path);
static ngx_uint_t ngx_http_lrt_trust_name(X509 *cert, const char *name);


ngx_int_t
ngx_http_lrt_trust_add(ngx_conf_t *cf, const lrt_check_t *check,
    lrt_str_t *text)
{
    ngx_str_t                  path;
    ngx_pool_cleanup_t        *cln;
    ngx_http_lrt_trust_t      *trust, **trustp;
    ngx_http_lrt_main_conf_t  *lmcf;

    if (check->type != LRT_CHECK_HTTPS) {
        return NGX_OK;
    }

    /* texts of a state file are gone soon, and end nowhere */

    path.len = text[LRT_CHECK_SSL_CA].len;
    path.data = ngx_pnalloc(cf->pool, path.len + 1);
    if (path.data == NULL) {
        return NGX_ERROR;
    }

    if (path.len) {
        ngx_memcpy(path.data, text[LRT_CHECK_SSL_CA].data, path.len);
    }

    path.data[path.len] = '\0';

    if (path.len && ngx_conf_full_name(cf->cycle, &path, 1) != NGX_OK) {
        return NGX_ERROR;
    }

    text[LRT_CHECK_SSL_CA].data = (char *) path.data;
    text[LRT_CHECK_SSL_CA].len = path.len;

    lmcf = ngx_http_conf_get_module_main_conf(cf, ngx_http_lrt_upstream_module);

    if (ngx_http_lrt_trust_of(lmcf, &path)) {
        return NGX_OK;
    }

    trust = ngx_pcalloc(cf->pool, sizeof(ngx_http_lrt_trust_t));
    if (trust == NULL) {
        return NGX_ERROR;
    }

    trust->path = path;
    trust->ssl.log = cf->log;

    if (ngx_ssl_create(&trust->ssl, NGX_SSL_TLSv1_2|NGX_SSL_TLSv1_3, NULL)
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    cln = ngx_pool_cleanup_add(cf->pool, 0);
    if (cln == NULL) {
        ngx_ssl_cleanup_ctx(&trust->ssl);
        return NGX_ERROR;
    }

    cln->handler = ngx_ssl_cleanup_ctx;
    cln->data = &trust->ssl;

    if (path.len) {

        if (ngx_ssl_trusted_certificate(cf, &trust->ssl, &path,
                                        NGX_HTTP_LRT_TRUST_DEPTH)
            != NGX_OK)
        {
            return NGX_ERROR;
        }

    } else if (SSL_CTX_set_default_verify_paths(trust->ssl.ctx) == 0) {
        ngx_ssl_error(NGX_LOG_EMERG, cf->log, 0,
                      "SSL_CTX_set_default_verify_paths() failed");
        return NGX_ERROR;
    }

    trustp = ngx_array_push(&lmcf->trusts);
    if (trustp == NULL) {
        return NGX_ERROR;
    }

    *trustp = trust;

    return NGX_OK;
}


ngx_ssl_t *
ngx_http_lrt_trust_find(ngx_http_lrt_main_conf_t *lmcf,
    const lrt_check_t *check)
{
    lrt_str_t              s;
    ngx_str_t              path;
    ngx_http_lrt_trust_t  *trust;

    s = lrt_check_string(check, LRT_CHECK_SSL_CA);

    path.data = (u_char *) s.data;
    path.len = s.len;

    trust = ngx_http_lrt_trust_of(lmcf, &path);

    return trust ? &trust->ssl : NULL;
}


ngx_str_t
ngx_http_lrt_trust_called(const ngx_http_lrt_srv_conf_t *lscf,
    const lrt_check_t *check)
{
    lrt_str_t  s;
    ngx_str_t  name;

    s = lrt_check_string(check, LRT_CHECK_SSL_NAME);

    name.data = (u_char *) s.data;
    name.len = s.len;

    if (name.len) {
        return name;
    }

    s = lrt_check_string(check, LRT_CHECK_HOST);

    name.data = (u_char *) s.data;
    name.len = s.len;

    return ngx_http_lrt_trust_host(name.len ? &name : &lscf->upstream->host);
}


/* the name in a "Host" header */

static ngx_str_t
ngx_http_lrt_trust_host(const ngx_str_t *host)
{
    u_char     *p;
    ngx_str_t   name;

    name = *host;

    if (name.len && name.data[0] == '[') {
        p = ngx_strlchr(name.data, name.data + name.len, ']');
        name.data++;
        name.len = p ? (size_t) (p - name.data) : name.len - 1;

        return name;
    }

    /* its colons begin no port */

    if (ngx_http_lrt_trust_is_address(&name)) {
        return name;
    }

    p = ngx_strlchr(name.data, name.data + name.len, ':');

    if (p) {
        name.len = p - name.data;
    }

    return name;
}


/* addresses are not sent as a name */

ngx_uint_t
ngx_http_lrt_trust_is_address(const ngx_str_t *name)
{
#if (NGX_HAVE_INET6)
    u_char  inet6[16];

    if (ngx_inet6_addr(name->data, name->len, inet6) == NGX_OK) {
        return 1;
    }
#endif

    return ngx_inet_addr(name->data, name->len) != INADDR_NONE;
}


static ngx_http_lrt_trust_t *
ngx_http_lrt_trust_of(ngx_http_lrt_main_conf_t *lmcf, const ngx_str_t *path)
{
    ngx_uint_t              i;
    ngx_http_lrt_trust_t  **trust;

    trust = lmcf->trusts.elts;

    for (i = 0; i < lmcf->trusts.nelts; i++) {
        if (trust[i]->path.len == path->len
            && (path->len == 0
                || ngx_memcmp(trust[i]->path.data, path->data, path->len) == 0))
        {
            return trust[i];
        }
    }

    return NULL;
}


lrt_check_reason_e
ngx_http_lrt_trust_verify(ngx_connection_t *c, const char *name)
{
    X509        *cert;
    ngx_uint_t   matches;

    switch (SSL_get_verify_result(c->ssl->connection)) {

    case X509_V_OK:
        break;

    case X509_V_ERR_CERT_HAS_EXPIRED:
        return LRT_CHECK_TLS_EXPIRED;

    case X509_V_ERR_CERT_NOT_YET_VALID:
        return LRT_CHECK_TLS_NOT_YET;

    case X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT:
    case X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN:
        return LRT_CHECK_TLS_SELF_SIGNED;

    default:
        return LRT_CHECK_TLS_UNTRUSTED;
    }

    cert = SSL_get_peer_certificate(c->ssl->connection);

    if (cert == NULL) {
        return LRT_CHECK_TLS_UNTRUSTED;
    }

    matches = ngx_http_lrt_trust_name(cert, name);

    X509_free(cert);

    return matches ? LRT_CHECK_PASSED : LRT_CHECK_TLS_NAME;
}


static ngx_uint_t
ngx_http_lrt_trust_name(X509 *cert, const char *name)
{
    return X509_check_host(cert, name, 0, 0, NULL) == 1
           || X509_check_ip_asc(cert, name, 0) == 1;
}


#else


ngx_int_t
ngx_http_lrt_trust_add(ngx_conf_t *cf, const lrt_check_t *check,
    lrt_str_t *text)
{
    return NGX_OK;
}


#endif
