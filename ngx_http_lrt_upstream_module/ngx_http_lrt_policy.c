
/*
 * Copyright (C) the ngx_http_lrt_upstream_module authors
 *
 * Parameters of a method directive.
 */


#include "ngx_http_lrt.h"


typedef ngx_int_t (*ngx_http_lrt_param_pt)(ngx_conf_t *cf,
    ngx_http_lrt_srv_conf_t *lscf, ngx_str_t *value);


/* a name that ends with "=" has a value behind it */

typedef struct {
    ngx_str_t                name;
    uint32_t                 takes;
    ngx_http_lrt_param_pt    set;
} ngx_http_lrt_param_t;


static ngx_http_lrt_param_t *ngx_http_lrt_param(ngx_str_t *arg,
    uint32_t takes);
static ngx_int_t ngx_http_lrt_set_header(ngx_conf_t *cf,
    ngx_http_lrt_srv_conf_t *lscf, ngx_str_t *value);
static ngx_int_t ngx_http_lrt_set_last_byte(ngx_conf_t *cf,
    ngx_http_lrt_srv_conf_t *lscf, ngx_str_t *value);
static ngx_int_t ngx_http_lrt_set_inflight(ngx_conf_t *cf,
    ngx_http_lrt_srv_conf_t *lscf, ngx_str_t *value);
static ngx_int_t ngx_http_lrt_set_key(ngx_conf_t *cf,
    ngx_http_lrt_srv_conf_t *lscf, ngx_str_t *value);
static ngx_int_t ngx_http_lrt_set_ipv4(ngx_conf_t *cf,
    ngx_http_lrt_srv_conf_t *lscf, ngx_str_t *value);
static ngx_int_t ngx_http_lrt_set_ipv6(ngx_conf_t *cf,
    ngx_http_lrt_srv_conf_t *lscf, ngx_str_t *value);
static ngx_int_t ngx_http_lrt_set_balance(ngx_conf_t *cf,
    ngx_http_lrt_srv_conf_t *lscf, ngx_str_t *value);
static ngx_int_t ngx_http_lrt_bits(ngx_str_t *value, ngx_int_t max,
    uint8_t *bits);


static ngx_http_lrt_param_t  ngx_http_lrt_params[] = {
    { ngx_string("header"), LRT_TAKES_TIME, ngx_http_lrt_set_header },
    { ngx_string("last_byte"), LRT_TAKES_TIME, ngx_http_lrt_set_last_byte },
    { ngx_string("inflight"), LRT_TAKES_INFLIGHT, ngx_http_lrt_set_inflight },
    { ngx_string("key="), LRT_TAKES_CLIENT, ngx_http_lrt_set_key },
    { ngx_string("ipv4="), LRT_TAKES_CLIENT, ngx_http_lrt_set_ipv4 },
    { ngx_string("ipv6="), LRT_TAKES_CLIENT, ngx_http_lrt_set_ipv6 },
    { ngx_string("balance="), LRT_TAKES_BALANCE, ngx_http_lrt_set_balance },
    { ngx_null_string, 0, NULL }
};


ngx_int_t
ngx_http_lrt_policy(ngx_conf_t *cf, ngx_command_t *cmd,
    ngx_http_lrt_srv_conf_t *lscf)
{
    uint32_t               takes, given;
    ngx_str_t             *value, rest;
    ngx_uint_t             i;
    lrt_policy_t          *policy;
    ngx_http_lrt_param_t  *param;

    policy = &lscf->conf.policy;

    policy->method = (uint32_t) lscf->method;

    takes = lrt_method(policy->method)->takes;
    given = 0;

    if (takes & LRT_TAKES_CLIENT) {
        policy->ipv4 = 32;
        policy->ipv6 = 64;
    }

    value = cf->args->elts;

    if (cf->args->nelts > 1 && (takes & ~LRT_NO_BACKUP) == 0) {
        goto number;
    }

    for (i = 1; i < cf->args->nelts; i++) {

        param = ngx_http_lrt_param(&value[i], takes);

        /* the time comes first, and nothing stands there twice */

        if (param == NULL
            || ((param->takes & LRT_TAKES_TIME) != 0)
               != (i == 1 && (takes & LRT_TAKES_TIME)))
        {
            goto invalid;
        }

        rest.data = value[i].data + param->name.len;
        rest.len = value[i].len - param->name.len;

        if (param->set(cf, lscf, &rest) != NGX_OK) {
            goto invalid;
        }

        given |= param->takes;
    }

    if ((takes & LRT_TAKES_TIME) && !(given & LRT_TAKES_TIME)) {
        goto number;
    }

    return NGX_OK;

number:

    ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                       "invalid number of arguments in \"%V\" directive",
                       &cmd->name);
    return NGX_ERROR;

invalid:

    ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                       "invalid parameter \"%V\" of \"%V\"", &value[i],
                       &cmd->name);
    return NGX_ERROR;
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
ngx_http_lrt_set_header(ngx_conf_t *cf, ngx_http_lrt_srv_conf_t *lscf,
    ngx_str_t *value)
{
    lscf->conf.policy.last_byte = 0;
    return NGX_OK;
}


static ngx_int_t
ngx_http_lrt_set_last_byte(ngx_conf_t *cf, ngx_http_lrt_srv_conf_t *lscf,
    ngx_str_t *value)
{
    lscf->conf.policy.last_byte = 1;
    return NGX_OK;
}


static ngx_int_t
ngx_http_lrt_set_inflight(ngx_conf_t *cf, ngx_http_lrt_srv_conf_t *lscf,
    ngx_str_t *value)
{
    if (lscf->conf.policy.inflight) {
        return NGX_ERROR;
    }

    lscf->conf.policy.inflight = 1;
    return NGX_OK;
}


static ngx_int_t
ngx_http_lrt_set_key(ngx_conf_t *cf, ngx_http_lrt_srv_conf_t *lscf,
    ngx_str_t *value)
{
    ngx_http_compile_complex_value_t   ccv;

    if (lscf->key) {
        return NGX_ERROR;
    }

    lscf->key = ngx_pcalloc(cf->pool, sizeof(ngx_http_complex_value_t));
    if (lscf->key == NULL) {
        return NGX_ERROR;
    }

    ngx_memzero(&ccv, sizeof(ngx_http_compile_complex_value_t));

    ccv.cf = cf;
    ccv.value = value;
    ccv.complex_value = lscf->key;

    return ngx_http_compile_complex_value(&ccv);
}


static ngx_int_t
ngx_http_lrt_set_ipv4(ngx_conf_t *cf, ngx_http_lrt_srv_conf_t *lscf,
    ngx_str_t *value)
{
    return ngx_http_lrt_bits(value, 32, &lscf->conf.policy.ipv4);
}


static ngx_int_t
ngx_http_lrt_set_ipv6(ngx_conf_t *cf, ngx_http_lrt_srv_conf_t *lscf,
    ngx_str_t *value)
{
    return ngx_http_lrt_bits(value, 128, &lscf->conf.policy.ipv6);
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
ngx_http_lrt_set_balance(ngx_conf_t *cf, ngx_http_lrt_srv_conf_t *lscf,
    ngx_str_t *value)
{
    ngx_int_t  n;

    n = ngx_atofp(value->data, value->len, 3);

    if (n < 1000 || n > 1000000) {
        return NGX_ERROR;
    }

    lscf->conf.policy.balance = (uint32_t) n;

    return NGX_OK;
}
