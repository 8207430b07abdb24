
/*
 * Copyright (C) the ngx_http_lrt_upstream_module authors
 *
 * What goes beyond NGINX Plus: waiting, readiness, the counters of one server.
 */


#include "ngx_http_lrt_api.h"


#define NGX_HTTP_LRT_API_POLL    50          /* ms */


static ngx_int_t ngx_http_lrt_api_until_idle(ngx_http_lrt_api_t *api);
static ngx_int_t ngx_http_lrt_api_until_changed(ngx_http_lrt_api_t *api);
static ngx_uint_t ngx_http_lrt_api_live(ngx_http_lrt_api_t *api);
static ngx_int_t ngx_http_lrt_api_reset_server_locked(ngx_http_lrt_api_t *api,
    lrt_change_set_t *set);


/* GET of a server with ?wait=idle: NGX_DONE if that is not asked for */

ngx_int_t
ngx_http_lrt_api_wait_idle(ngx_http_lrt_api_t *api)
{
    ngx_int_t  rc;
    ngx_str_t  value;

    if (ngx_http_lrt_api_arg(api, "wait", &value) != NGX_OK) {
        return NGX_DONE;
    }

    if (value.len != 4 || ngx_strncmp(value.data, "idle", 4) != 0) {
        return ngx_http_lrt_fault(api->request->pool, &api->fault,
                                  NGX_HTTP_BAD_REQUEST, "BadArgument",
                                  "\"wait\" may be \"idle\" here");
    }

    rc = ngx_http_lrt_api_wait(api, "timeout", 10000);

    if (rc != NGX_OK) {
        return rc;
    }

    api->step = ngx_http_lrt_api_until_idle;

    return api->step(api);
}


static ngx_int_t
ngx_http_lrt_api_until_idle(ngx_http_lrt_api_t *api)
{
    ngx_int_t   rc;
    lrt_peer_t  peer;

    rc = ngx_http_lrt_api_find(api, &peer);

    if (rc != NGX_OK) {
        return rc;
    }

    rc = ngx_http_lrt_api_poll(api, lrt_load(&api->group->table.hot[peer.slot]
                                                                  .inflight)
                                    <= 0);

    if (rc == NGX_DECLINED) {
        return ngx_http_lrt_fault(api->request->pool, &api->fault,
                                  NGX_HTTP_REQUEST_TIME_OUT, "WaitTimeout",
                                  "server \"%V\" still has requests",
                                  &api->id);
    }

    return (rc == NGX_OK) ? ngx_http_lrt_api_one_server(api, &peer) : rc;
}


/* GET of a group with ?index=N&wait=30s: NGX_DONE if that is not asked for */

ngx_int_t
ngx_http_lrt_api_wait_changed(ngx_http_lrt_api_t *api)
{
    ngx_int_t  rc, index;
    ngx_str_t  value;

    if (ngx_http_lrt_api_arg(api, "index", &value) != NGX_OK) {
        return NGX_DONE;
    }

    index = ngx_atoi(value.data, value.len);

    if (index == NGX_ERROR) {
        return ngx_http_lrt_fault(api->request->pool, &api->fault,
                                  NGX_HTTP_BAD_REQUEST, "BadArgument",
                                  "\"index\" is not a number");
    }

    api->index = (uint64_t) index;

    rc = ngx_http_lrt_api_wait(api, "wait", 30000);

    if (rc != NGX_OK) {
        return rc;
    }

    api->step = ngx_http_lrt_api_until_changed;

    return api->step(api);
}


/* a number from the future is one of before a restart */

static ngx_int_t
ngx_http_lrt_api_until_changed(ngx_http_lrt_api_t *api)
{
    ngx_int_t  rc;

    rc = ngx_http_lrt_api_poll(api,
                               lrt_table_generation(&api->group->table)
                               != api->index);

    return (rc == NGX_AGAIN) ? rc : ngx_http_lrt_api_one_upstream(api);
}


ngx_int_t
ngx_http_lrt_api_wait(ngx_http_lrt_api_t *api, const char *name,
    uint64_t usual)
{
    uint64_t   ms;
    ngx_str_t  value;

    ms = usual;

    if (ngx_http_lrt_api_arg(api, name, &value) == NGX_OK
        && ngx_http_lrt_period(&value, &ms) != NGX_OK)
    {
        return ngx_http_lrt_fault(api->request->pool, &api->fault,
                                  NGX_HTTP_BAD_REQUEST, "BadArgument",
                                  "\"%s\" is not a time", name);
    }

    api->deadline = ngx_http_lrt_now() / 1000 + ngx_min(ms, 3600000);

    return NGX_OK;
}


/* an old worker after a reload must not be kept waiting */

ngx_int_t
ngx_http_lrt_api_poll(ngx_http_lrt_api_t *api, ngx_uint_t done)
{
    if (done) {
        return NGX_OK;
    }

    if (ngx_exiting
        || ngx_terminate
        || ngx_http_lrt_now() / 1000 >= api->deadline)
    {
        return NGX_DECLINED;
    }

    api->wait = NGX_HTTP_LRT_API_POLL;

    return NGX_AGAIN;
}


/* 200 if each group, or the one that is named, has enough servers that work */

ngx_int_t
ngx_http_lrt_api_ready(ngx_http_lrt_api_t *api)
{
    ngx_int_t                   rc, min;
    ngx_str_t                   name, value;
    ngx_uint_t                  i, live, ready;
    ngx_http_lrt_srv_conf_t   **lscf;

    min = 1;

    if (ngx_http_lrt_api_arg(api, "min", &value) == NGX_OK) {
        min = ngx_atoi(value.data, value.len);

        if (min == NGX_ERROR) {
            return ngx_http_lrt_fault(api->request->pool, &api->fault,
                                      NGX_HTTP_BAD_REQUEST, "BadArgument",
                                      "\"min\" is not a number");
        }
    }

    if (ngx_http_lrt_api_arg(api, "upstream", &name) == NGX_OK) {
        api->upstream = name;

        rc = ngx_http_lrt_api_group(api);

        if (rc != NGX_OK) {
            return rc;
        }
    }

    lscf = api->main->groups.elts;
    ready = 1;

    ngx_http_lrt_json_open(&api->out, NULL, '{');
    ngx_http_lrt_json_open(&api->out, "upstreams", '{');

    for (i = 0; i < api->main->groups.nelts; i++) {

        if (api->upstream.len && lscf[i] != api->group) {
            continue;
        }

        api->group = lscf[i];
        live = ngx_http_lrt_api_live(api);
        ready = ready && live >= (ngx_uint_t) min;

        ngx_http_lrt_json_key_uint(&api->out, &lscf[i]->upstream->host, live);

        if (api->upstream.len) {
            break;
        }
    }

    ngx_http_lrt_json_close(&api->out, '}');
    ngx_http_lrt_json_bool(&api->out, "ready", ready);
    ngx_http_lrt_json_close(&api->out, '}');

    api->status = ready ? NGX_HTTP_OK : NGX_HTTP_SERVICE_UNAVAILABLE;

    return NGX_OK;
}


static ngx_uint_t
ngx_http_lrt_api_live(ngx_http_lrt_api_t *api)
{
    uint32_t    i;
    ngx_uint_t  live;

    live = 0;

    if (api->group->table.head == NULL
        || ngx_http_lrt_api_snapshot(api) != NGX_OK)
    {
        return 0;
    }

    for (i = 0; i < api->snap.copied; i++) {
        live += (lrt_peer_state(&api->snap, &api->peer[i],
                                &api->group->table.hot[api->peer[i].slot],
                                api->now)
                 == LRT_STATE_UP);
    }

    return live;
}


/* DELETE of a server's counters */

ngx_int_t
ngx_http_lrt_api_reset_server(ngx_http_lrt_api_t *api)
{
    api->dry = ngx_http_lrt_api_dry(api);
    return ngx_http_lrt_api_locked(api, 0,
                                   ngx_http_lrt_api_reset_server_locked);
}


static ngx_int_t
ngx_http_lrt_api_reset_server_locked(ngx_http_lrt_api_t *api,
    lrt_change_set_t *set)
{
    ngx_int_t    rc;
    lrt_peer_t   peer;

    rc = ngx_http_lrt_api_find(api, &peer);

    if (rc != NGX_OK) {
        return rc;
    }

    if (!api->dry) {
        lrt_stats_reset(&api->group->table.detail[peer.slot].stats);
        lrt_health_clear(&api->group->table.health[peer.slot]);
    }

    set->generation = lrt_table_generation(&api->group->table);

    ngx_http_lrt_api_log(api, set, "statistics of server %uL reset",
                         peer.entry.ident - 1);

    api->status = NGX_HTTP_NO_CONTENT;

    return NGX_OK;
}
