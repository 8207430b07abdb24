
/*
 * Copyright (C) the ngx_http_lrt_upstream_module authors
 *
 * The block "lrt_match": what the response to a health probe has to be like.
 */


#include "ngx_http_lrt.h"

#include "lrt_header.h"


static char *ngx_http_lrt_match_test(ngx_conf_t *cf, ngx_command_t *dummy,
    void *conf);
static char *ngx_http_lrt_match_status(ngx_conf_t *cf, lrt_match_t *m);
static char *ngx_http_lrt_match_header(ngx_conf_t *cf, lrt_match_t *m);
static char *ngx_http_lrt_match_body(ngx_conf_t *cf, lrt_match_t *m);
static ngx_uint_t ngx_http_lrt_match_not(ngx_str_t **value, ngx_uint_t *n);
static ngx_int_t ngx_http_lrt_match_op(ngx_str_t *word, lrt_match_op_e *op,
    ngx_uint_t *negated);
static char *ngx_http_lrt_match_compile(ngx_conf_t *cf, lrt_match_t *m,
    ngx_str_t *pattern, void **regex);

#if (NGX_PCRE)
static unsigned ngx_http_lrt_match_exec(void *regex, const char *data,
    size_t len);
#endif


char *
ngx_http_lrt_match(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_lrt_main_conf_t  *lmcf = conf;

    char                   *rv;
    ngx_str_t              *value;
    ngx_conf_t              save;
    ngx_http_lrt_match_t   *match, **matchp;

    value = cf->args->elts;

    if (ngx_http_lrt_match_find(lmcf, &value[1])) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "duplicate \"lrt_match\" \"%V\"", &value[1]);
        return NGX_CONF_ERROR;
    }

    match = ngx_pcalloc(cf->pool, sizeof(ngx_http_lrt_match_t));
    if (match == NULL) {
        return NGX_CONF_ERROR;
    }

    match->name = value[1];

    save = *cf;
    cf->handler = ngx_http_lrt_match_test;
    cf->handler_conf = (char *) &match->match;

    rv = ngx_conf_parse(cf, NULL);

    *cf = save;

    if (rv != NGX_CONF_OK) {
        return rv;
    }

    if (match->match.statuses == 0 && match->match.headers == 0
        && match->match.bodies == 0)
    {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "no tests in \"lrt_match\" \"%V\"", &match->name);
        return NGX_CONF_ERROR;
    }

    matchp = ngx_array_push(&lmcf->matches);
    if (matchp == NULL) {
        return NGX_CONF_ERROR;
    }

    *matchp = match;

    return NGX_CONF_OK;
}


ngx_http_lrt_match_t *
ngx_http_lrt_match_find(ngx_http_lrt_main_conf_t *lmcf, ngx_str_t *name)
{
    ngx_uint_t              i;
    ngx_http_lrt_match_t  **match;

    match = lmcf->matches.elts;

    for (i = 0; i < lmcf->matches.nelts; i++) {
        if (match[i]->name.len == name->len
            && ngx_memcmp(match[i]->name.data, name->data, name->len) == 0)
        {
            return match[i];
        }
    }

    return NULL;
}


static char *
ngx_http_lrt_match_test(ngx_conf_t *cf, ngx_command_t *dummy, void *conf)
{
    lrt_match_t  *m = conf;

    ngx_str_t  *value;

    value = cf->args->elts;

    if (ngx_strcmp(value[0].data, "status") == 0) {
        return ngx_http_lrt_match_status(cf, m);
    }

    if (ngx_strcmp(value[0].data, "header") == 0) {
        return ngx_http_lrt_match_header(cf, m);
    }

    if (ngx_strcmp(value[0].data, "body") == 0) {
        return ngx_http_lrt_match_body(cf, m);
    }

    if (ngx_strcmp(value[0].data, "require") == 0) {
        return "\"require\" is not supported in \"lrt_match\": "
               "a probe has no request";
    }

    ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                       "unknown test \"%V\" in \"lrt_match\", it must be "
                       "\"status\", \"header\" or \"body\"", &value[0]);

    return NGX_CONF_ERROR;
}


static char *
ngx_http_lrt_match_status(ngx_conf_t *cf, lrt_match_t *m)
{
    u_char     *dash, *last;
    ngx_int_t   low, high;
    ngx_str_t  *value;
    ngx_uint_t  n;

    if (m->statuses) {
        return "\"status\" is duplicate, give all values in one";
    }

    value = cf->args->elts;
    value++;
    n = cf->args->nelts - 1;

    m->negated = ngx_http_lrt_match_not(&value, &n);

    if (n == 0) {
        return "\"status\" needs a value";
    }

    if (n > LRT_MATCH_STATUSES) {
        return "\"status\" has too many values";
    }

    for ( /* void */ ; n; value++, n--) {

        last = value->data + value->len;
        dash = ngx_strlchr(value->data, last, '-');

        if (dash) {
            low = ngx_atoi(value->data, dash - value->data);
            high = ngx_atoi(dash + 1, last - dash - 1);

        } else {
            low = ngx_atoi(value->data, value->len);
            high = low;
        }

        if (low < 100 || high > 599 || low > high) {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "invalid status \"%V\", it must be a number or "
                               "a range from 100 to 599", value);
            return NGX_CONF_ERROR;
        }

        m->status[m->statuses].low = (uint16_t) low;
        m->status[m->statuses].high = (uint16_t) high;
        m->statuses++;
    }

    return NGX_CONF_OK;
}


static char *
ngx_http_lrt_match_header(ngx_conf_t *cf, lrt_match_t *m)
{
    char                *rv;
    ngx_str_t           *value;
    ngx_uint_t           n, negated;
    lrt_match_header_t  *header;

    if (m->headers == LRT_MATCH_HEADERS) {
        return "too many tests of headers";
    }

    header = &m->header[m->headers];

    value = cf->args->elts;
    value++;
    n = cf->args->nelts - 1;

    negated = ngx_http_lrt_match_not(&value, &n);

    if (n != 1 && (n != 3 || negated)) {
        return "\"header\" needs \"name\", \"! name\" or "
               "\"name operator value\"";
    }

    header->name.data = (char *) value[0].data;
    header->name.len = value[0].len;

    if (!lrt_header_name(&header->name)) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "invalid header name \"%V\"", &value[0]);
        return NGX_CONF_ERROR;
    }

    if (n == 3) {

        if (ngx_http_lrt_match_op(&value[1], &header->op, &negated) != NGX_OK) {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "invalid operator \"%V\", it must be "
                               "\"=\", \"!=\", \"~\" or \"!~\"", &value[1]);
            return NGX_CONF_ERROR;
        }

        if (header->op == LRT_MATCH_REGEX) {
            rv = ngx_http_lrt_match_compile(cf, m, &value[2],
                                            &header->regex);

            if (rv != NGX_CONF_OK) {
                return rv;
            }

        } else {
            header->value.data = (char *) value[2].data;
            header->value.len = value[2].len;
        }
    }

    header->negated = negated;
    m->headers++;

    return NGX_CONF_OK;
}


static char *
ngx_http_lrt_match_body(ngx_conf_t *cf, lrt_match_t *m)
{
    char            *rv;
    ngx_str_t       *value;
    ngx_uint_t       negated;
    lrt_match_op_e   op;

    if (m->bodies == LRT_MATCH_BODIES) {
        return "too many tests of the body";
    }

    if (cf->args->nelts != 3) {
        return "\"body\" needs an operator and a regular expression";
    }

    value = cf->args->elts;

    if (ngx_http_lrt_match_op(&value[1], &op, &negated) != NGX_OK
        || op != LRT_MATCH_REGEX)
    {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "invalid operator \"%V\", it must be \"~\" or "
                           "\"!~\"", &value[1]);
        return NGX_CONF_ERROR;
    }

    rv = ngx_http_lrt_match_compile(cf, m, &value[2],
                                    &m->body[m->bodies].regex);

    if (rv != NGX_CONF_OK) {
        return rv;
    }

    m->body[m->bodies].negated = negated;
    m->bodies++;

    return NGX_CONF_OK;
}


/* takes a "!" away from words, be it one of its own or the first letter */

static ngx_uint_t
ngx_http_lrt_match_not(ngx_str_t **value, ngx_uint_t *n)
{
    ngx_str_t  *word;

    word = *value;

    if (*n == 0 || word->len == 0 || word->data[0] != '!') {
        return 0;
    }

    if (word->len == 1) {
        (*value)++;
        (*n)--;

    } else {
        word->data++;
        word->len--;
    }

    return 1;
}


static ngx_int_t
ngx_http_lrt_match_op(ngx_str_t *word, lrt_match_op_e *op, ngx_uint_t *negated)
{
    u_char  *p;

    p = word->data;
    *negated = (*p == '!');

    p += *negated;

    if (ngx_strcmp(p, "=") == 0) {
        *op = LRT_MATCH_EQUAL;
        return NGX_OK;
    }

    if (ngx_strcmp(p, "~") == 0) {
        *op = LRT_MATCH_REGEX;
        return NGX_OK;
    }

    return NGX_ERROR;
}


#if (NGX_PCRE)

static char *
ngx_http_lrt_match_compile(ngx_conf_t *cf, lrt_match_t *m, ngx_str_t *pattern,
    void **regex)
{
    u_char               errstr[NGX_MAX_CONF_ERRSTR];
    ngx_regex_compile_t  rc;

    ngx_memzero(&rc, sizeof(ngx_regex_compile_t));

    rc.pattern = *pattern;
    rc.pool = cf->pool;
    rc.err.len = NGX_MAX_CONF_ERRSTR;
    rc.err.data = errstr;

    if (ngx_regex_compile(&rc) != NGX_OK) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0, "%V", &rc.err);
        return NGX_CONF_ERROR;
    }

    m->regex = ngx_http_lrt_match_exec;
    *regex = rc.regex;

    return NGX_CONF_OK;
}


/* what takes the library too many steps has not been found */

static unsigned
ngx_http_lrt_match_exec(void *regex, const char *data, size_t len)
{
    ngx_int_t  n;
    ngx_str_t  s;

    /* an empty body may lie nowhere, which the library does not like */

    s.data = (u_char *) (len ? data : "");
    s.len = len;

    n = ngx_regex_exec((ngx_regex_t *) regex, &s, NULL, 0);

    if (n < 0 && n != NGX_REGEX_NO_MATCHED) {
        ngx_log_error(NGX_LOG_ERR, ngx_cycle->log, 0,
                      ngx_regex_exec_n " failed: %i on %uz bytes of a "
                      "response to a health probe", n, len);
    }

    return n >= 0;
}

#else

static char *
ngx_http_lrt_match_compile(ngx_conf_t *cf, lrt_match_t *m, ngx_str_t *pattern,
    void **regex)
{
    ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                       "using regex \"%V\" requires PCRE library", pattern);
    return NGX_CONF_ERROR;
}

#endif
