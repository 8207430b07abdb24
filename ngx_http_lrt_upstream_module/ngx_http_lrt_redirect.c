
/*
 * Copyright (C) the ngx_http_lrt_upstream_module authors
 *
 * Tells a client which server to ask instead of asking for it.
 */


#include "ngx_http_lrt.h"


static ngx_int_t ngx_http_lrt_redirect_handler(ngx_http_request_t *r);
static ngx_int_t ngx_http_lrt_redirect_to(ngx_http_request_t *r,
    ngx_http_lrt_loc_conf_t *llcf, ngx_str_t *host);
static char *ngx_http_lrt_redirect_value(ngx_conf_t *cf, ngx_str_t *value,
    ngx_http_complex_value_t **cv);


char *
ngx_http_lrt_redirect(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_lrt_loc_conf_t  *llcf = conf;

    ngx_str_t                 *value, s;
    ngx_uint_t                 i;
    ngx_http_lrt_loc_conf_t  **llcfp;
    ngx_http_lrt_main_conf_t  *lmcf;

    value = cf->args->elts;
    llcf->code = NGX_HTTP_TEMPORARY_REDIRECT;

    for (i = 2; i < cf->args->nelts; i++) {

        if (ngx_strncmp(value[i].data, "code=", 5) == 0) {

            llcf->code = (ngx_uint_t) ngx_atoi(value[i].data + 5,
                                               value[i].len - 5);

            switch (llcf->code) {
            case NGX_HTTP_MOVED_PERMANENTLY:
            case NGX_HTTP_MOVED_TEMPORARILY:
            case NGX_HTTP_SEE_OTHER:
            case NGX_HTTP_TEMPORARY_REDIRECT:
            case NGX_HTTP_PERMANENT_REDIRECT:
                continue;
            }

            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "invalid code \"%V\", it must be 301, 302, "
                               "303, 307 or 308", &value[i]);
            return NGX_CONF_ERROR;
        }

        if (ngx_strncmp(value[i].data, "scheme=", 7) == 0) {
            s.data = value[i].data + 7;
            s.len = value[i].len - 7;

            if (ngx_http_lrt_redirect_value(cf, &s, &llcf->scheme)
                != NGX_CONF_OK)
            {
                return NGX_CONF_ERROR;
            }

            continue;
        }

        if (ngx_strncmp(value[i].data, "host=", 5) == 0) {
            s.data = value[i].data + 5;
            s.len = value[i].len - 5;

            if (ngx_http_lrt_redirect_value(cf, &s, &llcf->host)
                != NGX_CONF_OK)
            {
                return NGX_CONF_ERROR;
            }

            continue;
        }

        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "invalid parameter \"%V\" of \"%V\"", &value[i],
                           &cmd->name);
        return NGX_CONF_ERROR;
    }

    /* the block may stand behind this */

    llcf->name = value[1];
    llcf->file_name = cf->conf_file->file.name;
    llcf->line = cf->conf_file->line;

    lmcf = ngx_http_conf_get_module_main_conf(cf, ngx_http_lrt_upstream_module);

    llcfp = ngx_array_push(&lmcf->redirects);
    if (llcfp == NULL) {
        return NGX_CONF_ERROR;
    }

    *llcfp = llcf;

    return ngx_http_lrt_set_handler(cf, llcf, ngx_http_lrt_redirect_handler);
}


/* when all blocks are known */

ngx_int_t
ngx_http_lrt_check_redirects(ngx_conf_t *cf, ngx_http_lrt_main_conf_t *lmcf)
{
    ngx_uint_t                  i, j;
    ngx_http_lrt_srv_conf_t   **lscf;
    ngx_http_lrt_loc_conf_t   **llcf;

    llcf = lmcf->redirects.elts;
    lscf = lmcf->groups.elts;

    for (i = 0; i < lmcf->redirects.nelts; i++) {

        for (j = 0; j < lmcf->groups.nelts; j++) {
            if (lscf[j]->upstream->host.len == llcf[i]->name.len
                && ngx_strncasecmp(lscf[j]->upstream->host.data,
                                   llcf[i]->name.data, llcf[i]->name.len)
                   == 0)
            {
                llcf[i]->upstream = lscf[j]->upstream;
            }
        }

        if (llcf[i]->upstream == NULL) {
            ngx_log_error(NGX_LOG_EMERG, cf->log, 0,
                          "\"lrt_redirect\" needs an upstream with one of this "
                          "module's methods, \"%V\" is none, in %V:%ui",
                          &llcf[i]->name, &llcf[i]->file_name, llcf[i]->line);
            return NGX_ERROR;
        }
    }

    return NGX_OK;
}


static char *
ngx_http_lrt_redirect_value(ngx_conf_t *cf, ngx_str_t *value,
    ngx_http_complex_value_t **cv)
{
    ngx_http_compile_complex_value_t  ccv;

    *cv = ngx_pcalloc(cf->pool, sizeof(ngx_http_complex_value_t));
    if (*cv == NULL) {
        return NGX_CONF_ERROR;
    }

    ngx_memzero(&ccv, sizeof(ngx_http_compile_complex_value_t));

    ccv.cf = cf;
    ccv.value = value;
    ccv.complex_value = *cv;

    if (ngx_http_compile_complex_value(&ccv) != NGX_OK) {
        return NGX_CONF_ERROR;
    }

    return NGX_CONF_OK;
}


static ngx_int_t
ngx_http_lrt_redirect_handler(ngx_http_request_t *r)
{
    ngx_int_t                 rc;
    ngx_str_t                *peer;
    lrt_ask_t                 ask;
    lrt_str_t                 name;
    lrt_table_t              *t;
    lrt_detail_t             *detail;
    ngx_http_lrt_record_t    *record;
    ngx_http_lrt_loc_conf_t  *llcf;
    ngx_http_lrt_srv_conf_t  *lscf;

    rc = ngx_http_discard_request_body(r);
    if (rc != NGX_OK) {
        return rc;
    }

    llcf = ngx_http_get_module_loc_conf(r, ngx_http_lrt_upstream_module);
    lscf = ngx_http_conf_upstream_srv_conf(llcf->upstream,
                                           ngx_http_lrt_upstream_module);

    t = &lscf->table;
    record = ngx_http_lrt_record(r);
    detail = ngx_palloc(r->pool, sizeof(lrt_detail_t));
    peer = ngx_palloc(r->pool, sizeof(ngx_str_t));

    if (record == NULL || detail == NULL || peer == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    if (t->head == NULL) {
        return NGX_HTTP_SERVICE_UNAVAILABLE;
    }

    if (ngx_http_lrt_ask(r, lscf, ngx_http_lrt_now(), &ask) != NGX_OK) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    if (lrt_select_point(t, &ask, &record->pick, detail) != LRT_OK) {
        ngx_log_error(NGX_LOG_ERR, r->connection->log, 0,
                      "no live upstreams in \"%V\" to redirect to",
                      &llcf->upstream->host);
        return NGX_HTTP_BAD_GATEWAY;
    }

    name = lrt_table_name(detail);
    peer->len = name.len;
    peer->data = (u_char *) name.data;

    record->peer = peer;
    ngx_http_lrt_name_next(r, t, record);

    if (((struct sockaddr *) lrt_table_sockaddr(detail))->sa_family == AF_UNIX
        && llcf->host == NULL)
    {
        ngx_log_error(NGX_LOG_ERR, r->connection->log, 0,
                      "cannot redirect to \"%V\" without \"host=\"", peer);
        return NGX_HTTP_BAD_GATEWAY;
    }

    return ngx_http_lrt_redirect_to(r, llcf, peer);
}


static ngx_int_t
ngx_http_lrt_redirect_to(ngx_http_request_t *r, ngx_http_lrt_loc_conf_t *llcf,
    ngx_str_t *host)
{
    u_char           *p;
    ngx_str_t         scheme, name;
    ngx_table_elt_t  *location;

    ngx_str_set(&scheme, "http");

#if (NGX_HTTP_SSL)
    if (r->connection->ssl) {
        ngx_str_set(&scheme, "https");
    }
#endif

    name = *host;

    if ((llcf->scheme
         && ngx_http_complex_value(r, llcf->scheme, &scheme) != NGX_OK)
        || (llcf->host
            && ngx_http_complex_value(r, llcf->host, &name) != NGX_OK))
    {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    location = ngx_list_push(&r->headers_out.headers);
    if (location == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    p = ngx_pnalloc(r->pool, scheme.len + sizeof("://") - 1 + name.len
                             + r->unparsed_uri.len);
    if (p == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    location->value.data = p;

    p = ngx_cpymem(p, scheme.data, scheme.len);
    p = ngx_cpymem(p, "://", sizeof("://") - 1);
    p = ngx_cpymem(p, name.data, name.len);
    p = ngx_cpymem(p, r->unparsed_uri.data, r->unparsed_uri.len);

    location->value.len = p - location->value.data;
    location->hash = 1;
    ngx_http_lrt_header_last(location);
    ngx_str_set(&location->key, "Location");

    ngx_http_clear_location(r);
    r->headers_out.location = location;

    return llcf->code;
}
