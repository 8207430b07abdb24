
/*
 * Copyright (C) the ngx_http_lrt_upstream_module authors
 *
 * What a check asks, made once for all servers.
 */


#include "ngx_http_lrt_checker.h"


ngx_int_t
ngx_http_lrt_checker_ask(ngx_http_lrt_checker_t *checker, ngx_uint_t i)
{
    u_char                   *p, why[NGX_HTTP_LRT_CHECK_WHY];
    u_char                    text[NGX_HTTP_LRT_CHECK_WHY + 64];
    lrt_str_t                 s;
    ngx_str_t                 host, uri, name;
    lrt_check_t              *check;
    ngx_http_lrt_match_t     *match;
    ngx_http_lrt_srv_conf_t  *lscf;
    ngx_http_lrt_question_t  *question;

    lscf = checker->group;
    question = &checker->question[i];
    check = &question->check;

    /*
     * A configuration may have been read since, and lack what it needs.  The
     * other checks have nothing to do with that.
     */

    if (!ngx_http_lrt_check_sound(lscf, check, why)) {
        ngx_snprintf(text, sizeof(text), "check %ui is left out: %s%Z", i, why);
        ngx_http_lrt_checker_complain(checker, ngx_http_lrt_now() / 1000,
                                      (char *) text);
        question->skipped = 1;
        return NGX_OK;
    }

    s = lrt_check_string(check, LRT_CHECK_MATCH);
    name.data = (u_char *) s.data;
    name.len = s.len;

    match = name.len ? ngx_http_lrt_match_find(lscf->main, &name) : NULL;
    question->match = match ? &match->match : &lrt_match_default;

    s = lrt_check_string(check, LRT_CHECK_HOST);
    host.data = (u_char *) s.data;
    host.len = s.len;

    if (host.len == 0) {
        host = lscf->upstream->host;
    }

    s = lrt_check_string(check, LRT_CHECK_URI);
    uri.data = (u_char *) s.data;
    uri.len = s.len;

    p = ngx_pnalloc(checker->pool, uri.len + host.len
                    + sizeof("GET  HTTP/1.1" CRLF "Host: " CRLF
                             "User-Agent: nginx-lrt-check" CRLF
                             "Accept: */*" CRLF
                             "Connection: keep-alive" CRLF CRLF));
    if (p == NULL) {
        return NGX_ERROR;
    }

    question->request.data = p;
    question->request.len = ngx_sprintf(p, "GET %V HTTP/1.1" CRLF
                                        "Host: %V" CRLF
                                        "User-Agent: nginx-lrt-check" CRLF
                                        "Accept: */*" CRLF
                                        "Connection: %s" CRLF CRLF,
                                        &uri, &host,
                                        check->keepalive ? "keep-alive"
                                                         : "close")
                            - p;

#if (NGX_HTTP_SSL)

    if (check->type != LRT_CHECK_HTTPS) {
        return NGX_OK;
    }

    question->ssl = ngx_http_lrt_trust_find(lscf->main, check);

    name = ngx_http_lrt_trust_called(lscf, check);

    question->name = ngx_pnalloc(checker->pool, name.len + 1);
    if (question->name == NULL) {
        return NGX_ERROR;
    }

    *ngx_cpymem(question->name, name.data, name.len) = '\0';

    question->sni = !ngx_http_lrt_trust_is_address(&name);

#endif

    return NGX_OK;
}
