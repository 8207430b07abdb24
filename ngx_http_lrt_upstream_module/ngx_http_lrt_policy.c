
/*
 * Copyright (C) the ngx_http_lrt_upstream_module authors
 *
 * Parameters of a method directive.
 */


#include "ngx_http_lrt.h"


#define NGX_HTTP_LRT_POLICY_WORDS  8


typedef ngx_int_t (*ngx_http_lrt_param_pt)(lrt_policy_t *policy,
    ngx_str_t *value);


/* a name that ends with "=" has a value behind it */

typedef struct {
    ngx_str_t                name;
    uint32_t                 takes;
    ngx_http_lrt_param_pt    set;
} ngx_http_lrt_param_t;


static ngx_http_lrt_param_t *ngx_http_lrt_param(ngx_str_t *arg,
    uint32_t takes);
static ngx_int_t ngx_http_lrt_set_header(lrt_policy_t *policy,
    ngx_str_t *value);
static ngx_int_t ngx_http_lrt_set_last_byte(lrt_policy_t *policy,
    ngx_str_t *value);
static ngx_int_t ngx_http_lrt_set_inflight(lrt_policy_t *policy,
    ngx_str_t *value);
static ngx_int_t ngx_http_lrt_set_ipv4(lrt_policy_t *policy,
    ngx_str_t *value);
static ngx_int_t ngx_http_lrt_set_ipv6(lrt_policy_t *policy,
    ngx_str_t *value);
static ngx_int_t ngx_http_lrt_set_balance(lrt_policy_t *policy,
    ngx_str_t *value);
static ngx_int_t ngx_http_lrt_bits(ngx_str_t *value, ngx_int_t max,
    uint8_t *bits);


static ngx_http_lrt_param_t  ngx_http_lrt_params[] = {
    { ngx_string("header"), LRT_TAKES_TIME, ngx_http_lrt_set_header },
    { ngx_string("last_byte"), LRT_TAKES_TIME, ngx_http_lrt_set_last_byte },
    { ngx_string("inflight"), LRT_TAKES_INFLIGHT, ngx_http_lrt_set_inflight },
    { ngx_string("key="), LRT_TAKES_CLIENT, NULL },
    { ngx_string("ipv4="), LRT_TAKES_CLIENT, ngx_http_lrt_set_ipv4 },
    { ngx_string("ipv6="), LRT_TAKES_CLIENT, ngx_http_lrt_set_ipv6 },
    { ngx_string("balance="), LRT_TAKES_BALANCE, ngx_http_lrt_set_balance },
    { ngx_null_string, 0, NULL }
};


ngx_int_t
ngx_http_lrt_policy(ngx_conf_t *cf, ngx_command_t *cmd,
    ngx_http_lrt_srv_conf_t *lscf)
{
    ngx_str_t                         *value, *wrong, key;
    ngx_http_compile_complex_value_t   ccv;

    value = cf->args->elts;

    if (ngx_http_lrt_policy_read(&lscf->conf.policy, value, cf->args->nelts,
                                 &wrong, &key)
        != NGX_OK)
    {
        if (wrong) {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "invalid parameter \"%V\" of \"%V\"", wrong,
                               &cmd->name);
        } else {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "invalid number of arguments in \"%V\" "
                               "directive", &cmd->name);
        }

        return NGX_ERROR;
    }

    if (key.len == 0) {
        return NGX_OK;
    }

    lscf->key = ngx_pcalloc(cf->pool, sizeof(ngx_http_complex_value_t));
    if (lscf->key == NULL) {
        return NGX_ERROR;
    }

    ngx_memzero(&ccv, sizeof(ngx_http_compile_complex_value_t));

    ccv.cf = cf;
    ccv.value = &key;
    ccv.complex_value = lscf->key;

    return ngx_http_compile_complex_value(&ccv);
}


/*
 * A method with its parameters, as the directive has them.  NGX_ERROR: "wrong"
 * is at fault, or, if it is NULL, there are too few or too many.
 */

ngx_int_t
ngx_http_lrt_policy_read(lrt_policy_t *policy, ngx_str_t *value, ngx_uint_t n,
    ngx_str_t **wrong, ngx_str_t *key)
{
    uint32_t               takes, given;
    ngx_str_t              rest;
    ngx_int_t              rc;
    ngx_uint_t             i;
    ngx_http_lrt_param_t  *param;

    ngx_memzero(policy, sizeof(lrt_policy_t));
    ngx_str_null(key);

    *wrong = &value[0];

    policy->method = lrt_method_find((char *) value[0].data, value[0].len);

    if (policy->method == LRT_METHODS) {
        return NGX_ERROR;
    }

    *wrong = NULL;

    takes = lrt_method(policy->method)->takes;
    given = 0;

    if (takes & LRT_TAKES_CLIENT) {
        policy->ipv4 = 32;
        policy->ipv6 = 64;
    }

    if (n > 1 && (takes & ~LRT_NO_BACKUP) == 0) {
        return NGX_ERROR;
    }

    for (i = 1; i < n; i++) {

        *wrong = &value[i];
        param = ngx_http_lrt_param(&value[i], takes);

        /* the time comes first, and nothing stands there twice */

        if (param == NULL
            || ((param->takes & LRT_TAKES_TIME) != 0)
               != (i == 1 && (takes & LRT_TAKES_TIME)))
        {
            return NGX_ERROR;
        }

        rest.data = value[i].data + param->name.len;
        rest.len = value[i].len - param->name.len;

        if (param->set) {
            rc = param->set(policy, &rest);

        } else {
            rc = key->len ? NGX_ERROR : NGX_OK;
            *key = rest;
        }

        if (rc != NGX_OK) {
            return NGX_ERROR;
        }

        given |= param->takes;
    }

    *wrong = NULL;

    if ((takes & LRT_TAKES_TIME) && !(given & LRT_TAKES_TIME)) {
        return NGX_ERROR;
    }

    return NGX_OK;
}


/* a text, without "key=": variables need a configuration */

ngx_int_t
ngx_http_lrt_policy_words(lrt_policy_t *policy, ngx_str_t *text)
{
    u_char      *p, *end;
    ngx_str_t    word[NGX_HTTP_LRT_POLICY_WORDS], *wrong, key;
    ngx_uint_t   n;

    p = text->data;
    end = p + text->len;

    for (n = 0; p < end; n++) {

        if (n == NGX_HTTP_LRT_POLICY_WORDS) {
            return NGX_ERROR;
        }

        word[n].data = p;

        while (p < end && *p != ' ') {
            p++;
        }

        word[n].len = p - word[n].data;

        while (p < end && *p == ' ') {
            p++;
        }
    }

    if (n == 0
        || ngx_http_lrt_policy_read(policy, word, n, &wrong, &key) != NGX_OK)
    {
        return NGX_ERROR;
    }

    return key.len ? NGX_ERROR : NGX_OK;
}


/* the same as a text; what is the default is left out */

u_char *
ngx_http_lrt_policy_text(u_char *p, u_char *last, const lrt_policy_t *policy)
{
    uint32_t  takes;

    takes = lrt_method(policy->method)->takes;

    p = ngx_slprintf(p, last, "%s", lrt_method(policy->method)->name);

    if (takes & LRT_TAKES_TIME) {
        p = ngx_slprintf(p, last, policy->last_byte ? " last_byte"
                                                    : " header");
    }

    if (policy->inflight) {
        p = ngx_slprintf(p, last, " inflight");
    }

    if ((takes & LRT_TAKES_CLIENT) && policy->ipv4 != 32) {
        p = ngx_slprintf(p, last, " ipv4=%d", (int) policy->ipv4);
    }

    if ((takes & LRT_TAKES_CLIENT) && policy->ipv6 != 64) {
        p = ngx_slprintf(p, last, " ipv6=%d", (int) policy->ipv6);
    }

    if (policy->balance) {
        p = ngx_slprintf(p, last, " balance=%uD.%03uD", policy->balance / 1000,
                         policy->balance % 1000);
    }

    return p;
}


static ngx_http_lrt_param_t *
ngx_http_lrt_param(ngx_str_t *arg, uint32_t takes)
{
    ngx_http_lrt_param_t  *p;

    for (p = ngx_http_lrt_params; p->name.len; p++) {

        if (!(p->takes & takes)
            || arg->len < p->name.len
            || ngx_strncmp(arg->data, p->name.data, p->name.len) != 0)
        {
            continue;
        }

        if (p->name.data[p->name.len - 1] == '='
            ? arg->len > p->name.len : arg->len == p->name.len)
        {
            return p;
        }
    }

    return NULL;
}


static ngx_int_t
ngx_http_lrt_set_header(lrt_policy_t *policy, ngx_str_t *value)
{
    policy->last_byte = 0;
    return NGX_OK;
}


static ngx_int_t
ngx_http_lrt_set_last_byte(lrt_policy_t *policy, ngx_str_t *value)
{
    policy->last_byte = 1;
    return NGX_OK;
}


static ngx_int_t
ngx_http_lrt_set_inflight(lrt_policy_t *policy, ngx_str_t *value)
{
    if (policy->inflight) {
        return NGX_ERROR;
    }

    policy->inflight = 1;
    return NGX_OK;
}


static ngx_int_t
ngx_http_lrt_set_ipv4(lrt_policy_t *policy, ngx_str_t *value)
{
    return ngx_http_lrt_bits(value, 32, &policy->ipv4);
}


static ngx_int_t
ngx_http_lrt_set_ipv6(lrt_policy_t *policy, ngx_str_t *value)
{
    return ngx_http_lrt_bits(value, 128, &policy->ipv6);
}


static ngx_int_t
ngx_http_lrt_bits(ngx_str_t *value, ngx_int_t max, uint8_t *bits)
{
    ngx_int_t  n;

    n = ngx_atoi(value->data, value->len);

    if (n < 1 || n > max) {
        return NGX_ERROR;
    }

    *bits = (uint8_t) n;

    return NGX_OK;
}


/* 1.25: at most a quarter above the mean */

static ngx_int_t
ngx_http_lrt_set_balance(lrt_policy_t *policy, ngx_str_t *value)
{
    ngx_int_t  n;

    n = ngx_atofp(value->data, value->len, 3);

    if (n < 1000 || n > 1000000) {
        return NGX_ERROR;
    }

    policy->balance = (uint32_t) n;

    return NGX_OK;
}
