
/*
 * Copyright (C) the ngx_http_lrt_upstream_module authors
 *
 * "lrt_api": its location, and the steps of a request.
 */


#include "ngx_http_lrt_api.h"


#define NGX_HTTP_LRT_API_BODY    (16 * 1024 * 1024)
#define NGX_HTTP_LRT_API_GUARD   1000        /* ms */


static char *ngx_http_lrt_api_servers_param(ngx_conf_t *cf, ngx_str_t *value,
    ngx_http_lrt_loc_conf_t *llcf);
static ngx_int_t ngx_http_lrt_api_handler(ngx_http_request_t *r);
static void ngx_http_lrt_api_start(ngx_http_request_t *r);
static void ngx_http_lrt_api_run(ngx_http_lrt_api_t *api);
static void ngx_http_lrt_api_event(ngx_event_t *ev);
static void ngx_http_lrt_api_cleanup(void *data);


char *
ngx_http_lrt_api(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_lrt_loc_conf_t  *llcf = conf;

    ngx_str_t                 *value;
    ngx_uint_t                 i;
    ngx_http_core_loc_conf_t  *clcf;

    clcf = ngx_http_conf_get_module_loc_conf(cf, ngx_http_core_module);

    if (clcf->named
#if (NGX_PCRE)
        || clcf->regex
#endif
        )
    {
        return "needs a location with a plain prefix, since the paths "
               "of the API follow it";
    }

    value = cf->args->elts;

    for (i = 1; i < cf->args->nelts; i++) {

        if (ngx_strcmp(value[i].data, "write=on") == 0) {
            llcf->write = 1;

        } else if (ngx_strcmp(value[i].data, "write=off") == 0) {
            llcf->write = 0;

        } else if (ngx_strcmp(value[i].data, "unix=on") == 0) {
            llcf->unix_sockets = 1;

        } else if (ngx_strcmp(value[i].data, "unix=off") == 0) {
            llcf->unix_sockets = 0;

        } else if (ngx_strncmp(value[i].data, "servers=", 8) == 0) {

            if (ngx_http_lrt_api_servers_param(cf, &value[i], llcf)
                != NGX_CONF_OK)
            {
                return NGX_CONF_ERROR;
            }

        } else {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "invalid parameter \"%V\" of \"%V\"",
                               &value[i], &cmd->name);
            return NGX_CONF_ERROR;
        }
    }

    llcf->api = 1;
    llcf->body = NGX_HTTP_LRT_API_BODY;

    return ngx_http_lrt_set_handler(cf, llcf, ngx_http_lrt_api_handler);
}


static char *
ngx_http_lrt_api_servers_param(ngx_conf_t *cf, ngx_str_t *value,
    ngx_http_lrt_loc_conf_t *llcf)
{
    u_char      *p, *next, *end;
    ngx_str_t    text;
    ngx_cidr_t  *cidr;

    if (llcf->networks == NULL) {
        llcf->networks = ngx_array_create(cf->pool, 4, sizeof(ngx_cidr_t));
        if (llcf->networks == NULL) {
            return NGX_CONF_ERROR;
        }
    }

    end = value->data + value->len;

    for (p = value->data + sizeof("servers=") - 1; p <= end; p = next + 1) {

        next = ngx_strlchr(p, end, ',');
        next = next ? next : end;

        text.data = p;
        text.len = next - p;

        cidr = ngx_array_push(llcf->networks);
        if (cidr == NULL) {
            return NGX_CONF_ERROR;
        }

        if (ngx_ptocidr(&text, cidr) == NGX_ERROR) {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "invalid network \"%V\" in \"%V\"", &text,
                               value);
            return NGX_CONF_ERROR;
        }
    }

    return NGX_CONF_OK;
}


static ngx_int_t
ngx_http_lrt_api_handler(ngx_http_request_t *r)
{
    return ngx_http_lrt_api_begin(r, ngx_http_lrt_api_route);
}


ngx_int_t
ngx_http_lrt_api_begin(ngx_http_request_t *r, ngx_http_lrt_api_pt step)
{
    ngx_int_t            rc;
    ngx_pool_cleanup_t  *cln;
    ngx_http_lrt_api_t  *api;

    cln = ngx_pool_cleanup_add(r->pool, sizeof(ngx_http_lrt_api_t));
    if (cln == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    api = cln->data;
    ngx_memzero(api, sizeof(ngx_http_lrt_api_t));

    cln->handler = ngx_http_lrt_api_cleanup;

    api->request = r;
    api->main = ngx_http_get_module_main_conf(r, ngx_http_lrt_upstream_module);
    api->conf = ngx_http_get_module_loc_conf(r, ngx_http_lrt_upstream_module);
    api->status = NGX_HTTP_OK;
    api->step = step;
    ngx_str_set(&api->type, "application/json");

    api->event.handler = ngx_http_lrt_api_event;
    api->event.data = api;
    api->event.log = r->connection->log;

    ngx_http_lrt_out_init(&api->out, r->pool);
    ngx_http_set_ctx(r, api, ngx_http_lrt_filter_module);

    rc = ngx_http_read_client_request_body(r, ngx_http_lrt_api_start);

    return (rc >= NGX_HTTP_SPECIAL_RESPONSE) ? rc : NGX_DONE;
}


static void
ngx_http_lrt_api_start(ngx_http_request_t *r)
{
    ngx_http_lrt_api_run(ngx_http_get_module_ctx(r,
                                                 ngx_http_lrt_filter_module));
}


ngx_int_t
ngx_http_lrt_api_next(ngx_http_lrt_api_t *api, ngx_http_lrt_api_pt step)
{
    api->step = step;

    if (api->specs.nelts <= NGX_HTTP_LRT_API_FEW) {
        return step(api);
    }

    api->wait = 0;

    return NGX_AGAIN;
}


ngx_uint_t
ngx_http_lrt_api_tired(uint64_t since)
{
    return ngx_http_lrt_now() - since > NGX_HTTP_LRT_API_SLICE;
}


/* steps until there is an answer */

static void
ngx_http_lrt_api_run(ngx_http_lrt_api_t *api)
{
    ngx_http_request_t  *r;

    r = api->request;

    switch (api->step(api)) {

    case NGX_OK:
        ngx_http_lrt_api_answer(api);
        return;

    case NGX_DECLINED:
        ngx_http_lrt_api_refuse(api);
        ngx_http_lrt_api_answer(api);
        return;

    case NGX_AGAIN:

        /* notice when the client goes away */

        r->read_event_handler = ngx_http_test_reading;
        r->write_event_handler = ngx_http_request_empty_handler;

        ngx_http_lrt_api_later(api, api->wait);
        return;

    default: /* NGX_ERROR */
        ngx_http_finalize_request(r, NGX_HTTP_INTERNAL_SERVER_ERROR);
        return;
    }
}


/*
 * A worker that is told to leave waits for timers, but not for events that are
 * posted: one that should come at once has a timer as well.
 */

void
ngx_http_lrt_api_later(ngx_http_lrt_api_t *api, ngx_msec_t ms)
{
    ngx_add_timer(&api->event, ms ? ms : NGX_HTTP_LRT_API_GUARD);

    if (ms == 0) {
        ngx_post_event(&api->event, &ngx_posted_next_events);
    }
}


static void
ngx_http_lrt_api_event(ngx_event_t *ev)
{
    ngx_connection_t    *c;
    ngx_http_lrt_api_t  *api;

    api = ev->data;
    c = api->request->connection;

    ngx_http_lrt_api_cleanup(api);
    ev->timedout = 0;

    ngx_http_set_log_request(c->log, api->request);

    if (api->request->header_sent) {
        ngx_http_lrt_api_send(api);

    } else if (api->group && api->group->table.head == NULL) {

        /* without a master, a reload takes the table away */

        (void) ngx_http_lrt_fault(api->request->pool, &api->fault,
                                  NGX_HTTP_SERVICE_UNAVAILABLE,
                                  "UpstreamReplaced",
                                  "the configuration was replaced");
        ngx_http_lrt_api_refuse(api);
        ngx_http_lrt_api_answer(api);

    } else {
        ngx_http_lrt_api_run(api);
    }

    ngx_http_run_posted_requests(c);
}


/* neither timer nor posted, whichever was first */

static void
ngx_http_lrt_api_cleanup(void *data)
{
    ngx_http_lrt_api_t  *api = data;

    if (api->event.timer_set) {
        ngx_del_timer(&api->event);
    }

    if (api->event.posted) {
        ngx_delete_posted_event(&api->event);
    }
}
