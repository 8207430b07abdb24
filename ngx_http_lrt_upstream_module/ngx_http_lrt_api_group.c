
/*
 * Copyright (C) the ngx_http_lrt_upstream_module authors
 *
 * What goes beyond NGINX Plus: waiting, the method of a group, its servers as
 * a configuration, readiness.
 */


#include "ngx_http_lrt_api.h"


#define NGX_HTTP_LRT_API_POLL    50          /* ms */


static ngx_int_t ngx_http_lrt_api_wait(ngx_http_lrt_api_t *api,
    const char *name, uint64_t usual);
static ngx_int_t ngx_http_lrt_api_poll(ngx_http_lrt_api_t *api,
    ngx_uint_t done);
static ngx_int_t ngx_http_lrt_api_until_idle(ngx_http_lrt_api_t *api);
static ngx_int_t ngx_http_lrt_api_until_changed(ngx_http_lrt_api_t *api);
static ngx_int_t ngx_http_lrt_api_method_spec(ngx_http_lrt_api_t *api);
static ngx_int_t ngx_http_lrt_api_method_locked(ngx_http_lrt_api_t *api,
    lrt_change_set_t *set);
static ngx_int_t ngx_http_lrt_api_write_config(ngx_http_lrt_api_t *api);
static ngx_int_t ngx_http_lrt_api_write_lines(ngx_http_lrt_api_t *api);
static void ngx_http_lrt_api_line(ngx_http_lrt_out_t *o,
    const lrt_params_t *p, const lrt_detail_t *d);
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


static ngx_int_t
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

static ngx_int_t
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


/* PATCH of a group: another method */

ngx_int_t
ngx_http_lrt_api_set_method(ngx_http_lrt_api_t *api)
{
    api->method = 1;

    return ngx_http_lrt_api_read_body(api, ngx_http_lrt_api_method_spec);
}


static ngx_int_t
ngx_http_lrt_api_method_spec(ngx_http_lrt_api_t *api)
{
    ngx_http_lrt_spec_t  *spec;

    spec = api->specs.elts;

    if (api->split.list || spec->method.len == 0) {
        return ngx_http_lrt_fault(api->request->pool, &api->fault,
                                  NGX_HTTP_BAD_REQUEST,
                                  "UpstreamConfFormatError",
                                  "an object with \"method\" is expected");
    }

    return ngx_http_lrt_api_locked(api, 1, ngx_http_lrt_api_method_locked);
}


static ngx_int_t
ngx_http_lrt_api_method_locked(ngx_http_lrt_api_t *api, lrt_change_set_t *set)
{
    u_char                text[NGX_MAX_ERROR_STR], *p;
    ngx_int_t             rc;
    ngx_str_t            *method;
    lrt_policy_t          before;
    lrt_change_t         *c;
    lrt_table_t          *t;
    const lrt_side_t     *side;

    t = &api->group->table;
    side = lrt_table_side(t, lrt_table_generation(t));
    before = side->policy;

    method = &((ngx_http_lrt_spec_t *) api->specs.elts)->method;

    c = &set->change[set->n++];
    ngx_memzero(c, sizeof(lrt_change_t));

    c->type = LRT_SET_POLICY;

    if (ngx_http_lrt_policy_words(&c->policy, method) != NGX_OK) {
        return ngx_http_lrt_fault(api->request->pool, &api->fault,
                                  NGX_HTTP_BAD_REQUEST,
                                  "UpstreamConfFormatError",
                                  "invalid method \"%V\"", method);
    }

    if ((lrt_method(c->policy.method)->takes & LRT_NO_BACKUP)
        && side->tier[LRT_BACKUP].n)
    {
        return ngx_http_lrt_fault(api->request->pool, &api->fault,
                                  NGX_HTTP_BAD_REQUEST, "UpstreamNoBackup",
                                  "\"%s\" has no backup servers, "
                                  "remove them first",
                                  lrt_method(c->policy.method)->name);
    }

    if (ngx_memcmp(&before, &c->policy, sizeof(lrt_policy_t)) != 0) {

        rc = ngx_http_lrt_api_commit(api, set);

        if (rc != NGX_OK) {
            return rc;
        }

        p = ngx_http_lrt_policy_text(text, text + sizeof(text), &before);

        ngx_http_lrt_api_log(api, set, "method %*s -> %V", p - text, text,
                             method);
    }

    if (api->dry) {
        api->status = NGX_HTTP_NO_CONTENT;
        return NGX_OK;
    }

    return ngx_http_lrt_api_one_upstream(api);
}


/* the servers as a state file has them, or as lines of an upstream block */

ngx_int_t
ngx_http_lrt_api_config(ngx_http_lrt_api_t *api)
{
    ngx_int_t  rc;
    ngx_str_t  value;

    rc = ngx_http_lrt_api_snapshot(api);

    api->tag = api->snap.generation;
    api->write = ngx_http_lrt_api_write_config;

    if (ngx_http_lrt_api_arg(api, "format", &value) != NGX_OK
        || (value.len == 4 && ngx_strncmp(value.data, "json", 4) == 0))
    {
        return rc;
    }

    if (value.len == 5 && ngx_strncmp(value.data, "nginx", 5) == 0) {
        api->write = ngx_http_lrt_api_write_lines;
        ngx_str_set(&api->type, "text/plain");
        return rc;
    }

    return ngx_http_lrt_fault(api->request->pool, &api->fault,
                              NGX_HTTP_BAD_REQUEST, "BadArgument",
                              "\"format\" may be \"json\" or \"nginx\"");
}


static ngx_int_t
ngx_http_lrt_api_write_config(ngx_http_lrt_api_t *api)
{
    ngx_int_t  rc;

    if (!api->opened) {
        ngx_http_lrt_json_open(&api->out, NULL, '{');
        ngx_http_lrt_json_uint(&api->out, "version", 1);
        ngx_http_lrt_api_method_text(api, "method", &api->snap.policy);
        api->list_key = "servers";
    }

    rc = ngx_http_lrt_api_write_servers(api);

    if (rc == NGX_OK) {
        ngx_http_lrt_json_close(&api->out, '}');
    }

    return rc;
}


static ngx_int_t
ngx_http_lrt_api_write_lines(ngx_http_lrt_api_t *api)
{
    u_char               text[NGX_MAX_ERROR_STR], *p;
    uint64_t             since;
    lrt_peer_t          *peer;
    ngx_http_lrt_out_t  *o;

    o = &api->out;
    since = ngx_http_lrt_now();

    if (!api->opened) {
        api->opened = 1;

        p = ngx_http_lrt_policy_text(text, text + sizeof(text),
                                     &api->snap.policy);

        ngx_http_lrt_out_mem(o, text, p - text);
        ngx_http_lrt_out_str(o, ";\n");
    }

    while (api->next < api->snap.copied) {

        peer = &api->peer[api->next++];

        if (lrt_peer_copy(&api->group->table, peer, NULL, &api->detail)
            == LRT_OK)
        {
            ngx_http_lrt_api_line(o, &peer->entry.params, &api->detail);
        }

        if (o->size > NGX_HTTP_LRT_API_CHUNK || ngx_http_lrt_api_tired(since))
        {
            return NGX_AGAIN;
        }
    }

    return NGX_OK;
}


/* what "server" has no parameter for is a comment */

static void
ngx_http_lrt_api_line(ngx_http_lrt_out_t *o, const lrt_params_t *p,
    const lrt_detail_t *d)
{
    u_char        buf[LRT_DATA_LEN + 256], *b, *last;
    lrt_str_t     name, route;
    lrt_params_t  usual;

    ngx_http_lrt_server_defaults(&usual);

    name = lrt_table_name(d);
    route = lrt_table_route(d);

    last = buf + sizeof(buf);
    /* a path may hold what ends a word */

    b = ngx_slprintf(buf, last, ngx_strncmp(name.data, "unix:", 5) == 0
                                ? "server \"%*s\"" : "server %*s",
                     name.len, name.data);

    if (p->weight != usual.weight) {
        b = ngx_slprintf(b, last, " weight=%uD", p->weight);
    }

    if (p->max_conns != usual.max_conns) {
        b = ngx_slprintf(b, last, " max_conns=%uD", p->max_conns);
    }

    if (p->max_fails != usual.max_fails) {
        b = ngx_slprintf(b, last, " max_fails=%uD", p->max_fails);
    }

    /* whole seconds, as the directive has them */

    if (p->fail_timeout != usual.fail_timeout) {
        b = ngx_slprintf(b, last, " fail_timeout=%uLs",
                         (p->fail_timeout + 999) / 1000);
    }

    if (route.len) {
        b = ngx_slprintf(b, last, " route=%*s", route.len, route.data);
    }

    b = ngx_slprintf(b, last, "%s%s;", p->backup ? " backup" : "",
                     p->down ? " down" : "");

    if (p->slow_start) {
        b = ngx_slprintf(b, last, " # slow_start=%uLms", p->slow_start);
    }

    if (p->drain) {
        b = ngx_slprintf(b, last, " # drain");
    }

    if (p->forced) {
        b = ngx_slprintf(b, last, " # health=%s",
                         ngx_http_lrt_forced_words[p->forced]);
    }

    b = ngx_slprintf(b, last, "\n");

    ngx_http_lrt_out_mem(o, buf, b - buf);
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
    }

    set->generation = lrt_table_generation(&api->group->table);

    ngx_http_lrt_api_log(api, set, "statistics of server %uL reset",
                         peer.entry.ident - 1);

    api->status = NGX_HTTP_NO_CONTENT;

    return NGX_OK;
}
