
/*
 * Copyright (C) the ngx_http_lrt_upstream_module authors
 */


#include "ngx_http_lrt.h"
#include "ngx_http_lrt_json.h"


/* default of client_max_body_size */

#define NGX_HTTP_LRT_STOCK_BODY  (1 * 1024 * 1024)


static char *ngx_http_lrt_method(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
static void *ngx_http_lrt_create_main_conf(ngx_conf_t *cf);
static char *ngx_http_lrt_init_main_conf(ngx_conf_t *cf, void *conf);
static void *ngx_http_lrt_create_srv_conf(ngx_conf_t *cf);
static void *ngx_http_lrt_create_loc_conf(ngx_conf_t *cf);
static char *ngx_http_lrt_merge_loc_conf(ngx_conf_t *cf, void *parent,
    void *child);


static ngx_command_t  ngx_http_lrt_commands[] = {

#define LRT_METHOD(directive, name)                                           \
    { ngx_string(#directive),                                                 \
      NGX_HTTP_UPS_CONF|NGX_CONF_ANY,                                         \
      ngx_http_lrt_method,                                                    \
      NGX_HTTP_SRV_CONF_OFFSET,                                               \
      0,                                                                      \
      NULL },
#include "lrt_methods.h"
#undef LRT_METHOD

    { ngx_string("lrt_health_check"),
      NGX_HTTP_UPS_CONF|NGX_CONF_ANY,
      ngx_http_lrt_health_check,
      NGX_HTTP_SRV_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("lrt_slow_start"),
      NGX_HTTP_UPS_CONF|NGX_CONF_TAKE1,
      ngx_http_lrt_slow_start,
      NGX_HTTP_SRV_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("lrt_panic"),
      NGX_HTTP_UPS_CONF|NGX_CONF_TAKE1,
      ngx_http_lrt_panic,
      NGX_HTTP_SRV_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("lrt_state"),
      NGX_HTTP_UPS_CONF|NGX_CONF_TAKE1,
      ngx_http_lrt_state,
      NGX_HTTP_SRV_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("lrt_api"),
      NGX_HTTP_LOC_CONF|NGX_CONF_ANY,
      ngx_http_lrt_api,
      NGX_HTTP_LOC_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("lrt_metrics"),
      NGX_HTTP_LOC_CONF|NGX_CONF_NOARGS,
      ngx_http_lrt_metrics,
      NGX_HTTP_LOC_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("lrt_dashboard"),
      NGX_HTTP_LOC_CONF|NGX_CONF_NOARGS|NGX_CONF_TAKE1,
      ngx_http_lrt_dashboard,
      NGX_HTTP_LOC_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("lrt_redirect"),
      NGX_HTTP_LOC_CONF|NGX_HTTP_LIF_CONF|NGX_CONF_1MORE,
      ngx_http_lrt_redirect,
      NGX_HTTP_LOC_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("lrt_match"),
      NGX_HTTP_MAIN_CONF|NGX_CONF_BLOCK|NGX_CONF_TAKE1,
      ngx_http_lrt_match,
      NGX_HTTP_MAIN_CONF_OFFSET,
      0,
      NULL },

#if (LRT_TEST)
    { ngx_string("lrt_test"),
      NGX_HTTP_LOC_CONF|NGX_CONF_NOARGS,
      ngx_http_lrt_test,
      NGX_HTTP_LOC_CONF_OFFSET,
      0,
      NULL },
#endif

      ngx_null_command
};


static ngx_http_module_t  ngx_http_lrt_upstream_module_ctx = {
    ngx_http_lrt_add_variables,            /* preconfiguration */
    ngx_http_lrt_find_variables,           /* postconfiguration */

    ngx_http_lrt_create_main_conf,         /* create main configuration */
    ngx_http_lrt_init_main_conf,           /* init main configuration */

    ngx_http_lrt_create_srv_conf,          /* create server configuration */
    NULL,                                  /* merge server configuration */

    ngx_http_lrt_create_loc_conf,          /* create location configuration */
    ngx_http_lrt_merge_loc_conf            /* merge location configuration */
};


ngx_module_t  ngx_http_lrt_upstream_module = {
    NGX_MODULE_V1,
    &ngx_http_lrt_upstream_module_ctx,     /* module context */
    ngx_http_lrt_commands,                 /* module directives */
    NGX_HTTP_MODULE,                       /* module type */
    NULL,                                  /* init master */
    ngx_http_lrt_init_module,              /* init module */
    ngx_http_lrt_init_process,             /* init process */
    NULL,                                  /* init thread */
    NULL,                                  /* exit thread */
    ngx_http_lrt_exit_process,             /* exit process */
    NULL,                                  /* exit master */
    NGX_MODULE_V1_PADDING
};


static char *
ngx_http_lrt_method(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_lrt_srv_conf_t  *lscf = conf;

    char                          *rv;
    ngx_http_upstream_srv_conf_t  *uscf;

    if (lscf->method != NGX_CONF_UNSET_UINT && !lscf->implied) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"%V\" is a second load balancing method after "
                           "\"%s\", leave one of them", &cmd->name,
                           lrt_method((uint32_t) lscf->method)->name);
        return NGX_CONF_ERROR;
    }

    rv = ngx_http_lrt_claim_group(cf, &cmd->name, lscf);

    if (rv != NGX_CONF_OK) {
        return rv;
    }

    lscf->implied = 0;
    lscf->method = lrt_method_find((char *) cmd->name.data, cmd->name.len);

    if (ngx_http_lrt_policy(cf, cmd, lscf) != NGX_OK) {
        return NGX_CONF_ERROR;
    }

    uscf = ngx_http_conf_get_module_srv_conf(cf, ngx_http_upstream_module);

    if (lrt_method((uint32_t) lscf->method)->takes & LRT_NO_BACKUP) {
        uscf->flags &= ~NGX_HTTP_UPSTREAM_BACKUP;
    }

    return NGX_CONF_OK;
}


char *
ngx_http_lrt_claim_group(ngx_conf_t *cf, ngx_str_t *directive,
    ngx_http_lrt_srv_conf_t *lscf)
{
    ngx_http_upstream_srv_conf_t  *uscf;

    if (lscf->method != NGX_CONF_UNSET_UINT) {
        return NGX_CONF_OK;
    }

    uscf = ngx_http_conf_get_module_srv_conf(cf, ngx_http_upstream_module);

    if (uscf->peer.init_upstream) {

        if (!ngx_http_lrt_keepalive_wraps(cf, uscf,
                               (uintptr_t) ngx_http_upstream_init_round_robin))
        {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "\"%V\" must be the only load balancing method "
                               "of the upstream and stand before \"sticky\"",
                               directive);
            return NGX_CONF_ERROR;
        }

        lscf->wrapper = uscf->peer.init_upstream;
    }

    lscf->implied = 1;
    lscf->method = LRT_METHOD_round_robin_ext;
    lscf->conf.policy.method = LRT_METHOD_round_robin_ext;

    uscf->peer.init_upstream = ngx_http_lrt_init_upstream;

    uscf->flags = NGX_HTTP_UPSTREAM_CREATE
                  |NGX_HTTP_UPSTREAM_WEIGHT
                  |NGX_HTTP_UPSTREAM_MAX_CONNS
                  |NGX_HTTP_UPSTREAM_MAX_FAILS
                  |NGX_HTTP_UPSTREAM_FAIL_TIMEOUT
                  |NGX_HTTP_UPSTREAM_DOWN
                  |NGX_HTTP_UPSTREAM_BACKUP
                  |NGX_HTTP_LRT_MODIFY;

    if (ngx_http_lrt_push_placeholder(uscf) != NGX_OK) {
        return NGX_CONF_ERROR;
    }

    return NGX_CONF_OK;
}


static void *
ngx_http_lrt_create_main_conf(ngx_conf_t *cf)
{
    ngx_http_lrt_main_conf_t  *lmcf;

    ngx_http_lrt_json_init();

    lmcf = ngx_pcalloc(cf->pool, sizeof(ngx_http_lrt_main_conf_t));
    if (lmcf == NULL) {
        return NULL;
    }

    if (ngx_array_init(&lmcf->groups, cf->pool, 4,
                       sizeof(ngx_http_lrt_srv_conf_t *))
        != NGX_OK
        || ngx_array_init(&lmcf->trusts, cf->pool, 1, sizeof(void *)) != NGX_OK
        || ngx_array_init(&lmcf->redirects, cf->pool, 1,
                          sizeof(ngx_http_lrt_loc_conf_t *))
           != NGX_OK
        || ngx_array_init(&lmcf->matches, cf->pool, 1,
                          sizeof(ngx_http_lrt_match_t *))
           != NGX_OK)
    {
        return NULL;
    }

    ngx_queue_init(&lmcf->open);

    return lmcf;
}


/*
 * Runs after the upstream module has initialized all groups.  A stock method
 * that stands behind ours takes the group over with no more than a warning.
 */

static char *
ngx_http_lrt_init_main_conf(ngx_conf_t *cf, void *conf)
{
    ngx_uint_t                       i;
    ngx_http_lrt_srv_conf_t         *lscf;
    ngx_http_upstream_srv_conf_t   **uscfp;
    ngx_http_upstream_main_conf_t   *umcf;

    umcf = ngx_http_conf_get_module_main_conf(cf, ngx_http_upstream_module);
    uscfp = umcf->upstreams.elts;

    for (i = 0; i < umcf->upstreams.nelts; i++) {

        if (uscfp[i]->srv_conf == NULL) {
            continue;
        }

        lscf = ngx_http_conf_upstream_srv_conf(uscfp[i],
                                               ngx_http_lrt_upstream_module);

        if (lscf->method != NGX_CONF_UNSET_UINT && lscf->upstream == NULL) {
            ngx_log_error(NGX_LOG_EMERG, cf->log, 0,
                          "upstream \"%V\" has another load balancing method "
                          "beside \"%s\", leave one of them in %s:%ui",
                          &uscfp[i]->host,
                          lrt_method((uint32_t) lscf->method)->name,
                          uscfp[i]->file_name, uscfp[i]->line);
            return NGX_CONF_ERROR;
        }

        if (lscf->upstream
            && ngx_http_lrt_check_settings(cf, lscf) != NGX_OK)
        {
            return NGX_CONF_ERROR;
        }
    }

    if (ngx_http_lrt_check_redirects(cf, conf) != NGX_OK) {
        return NGX_CONF_ERROR;
    }

    return NGX_CONF_OK;
}


static void *
ngx_http_lrt_create_srv_conf(ngx_conf_t *cf)
{
    ngx_http_lrt_srv_conf_t  *lscf;

    lscf = ngx_pcalloc(cf->pool, sizeof(ngx_http_lrt_srv_conf_t));
    if (lscf == NULL) {
        return NULL;
    }

    lscf->method = NGX_CONF_UNSET_UINT;

    return lscf;
}


static void *
ngx_http_lrt_create_loc_conf(ngx_conf_t *cf)
{
    return ngx_pcalloc(cf->pool, sizeof(ngx_http_lrt_loc_conf_t));
}


char *
ngx_http_lrt_set_handler(ngx_conf_t *cf, ngx_http_lrt_loc_conf_t *llcf,
    ngx_http_handler_pt handler)
{
    ngx_http_core_loc_conf_t  *clcf;

    if (llcf->handler) {
        return "is duplicate, or beside another handler of this module";
    }

    clcf = ngx_http_conf_get_module_loc_conf(cf, ngx_http_core_module);

    llcf->handler = handler;
    clcf->handler = handler;

    return NGX_CONF_OK;
}


static char *
ngx_http_lrt_merge_loc_conf(ngx_conf_t *cf, void *parent, void *child)
{
    ngx_http_lrt_loc_conf_t  *prev = parent;
    ngx_http_lrt_loc_conf_t  *conf = child;

    ngx_http_core_loc_conf_t  *clcf;

    clcf = ngx_http_conf_get_module_loc_conf(cf, ngx_http_core_module);

    /* "limit_except" and "if" make locations without a handler */

    if (clcf->noname && clcf->handler == NULL && prev->handler) {
        *conf = *prev;
        clcf->handler = prev->handler;
    }

    /* a list of servers may be longer than what nginx takes for a request */

    if (conf->body && clcf->client_max_body_size == NGX_HTTP_LRT_STOCK_BODY) {
        clcf->client_max_body_size = conf->body;
    }

    return NGX_CONF_OK;
}
