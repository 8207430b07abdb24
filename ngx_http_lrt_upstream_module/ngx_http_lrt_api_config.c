
/*
 * Copyright (C) the ngx_http_lrt_upstream_module authors
 *
 * A group as a configuration, to keep or to paste.
 */


#include "ngx_http_lrt_api.h"


static ngx_int_t ngx_http_lrt_api_write_config(ngx_http_lrt_api_t *api);
static ngx_int_t ngx_http_lrt_api_write_lines(ngx_http_lrt_api_t *api);
static void ngx_http_lrt_api_group_lines(ngx_http_lrt_out_t *o,
    const lrt_snapshot_t *snap);
static void ngx_http_lrt_api_line(ngx_http_lrt_out_t *o,
    const lrt_params_t *p, const lrt_detail_t *d);


/* the group as a state file has it, or as lines of an upstream block */

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
        ngx_http_lrt_group_write(&api->out, &api->snap.settings);
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
    uint64_t             since;
    lrt_peer_t          *peer;
    ngx_http_lrt_out_t  *o;

    o = &api->out;
    since = ngx_http_lrt_now();

    if (!api->opened) {
        api->opened = 1;
        ngx_http_lrt_api_group_lines(o, &api->snap);
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


static void
ngx_http_lrt_api_group_lines(ngx_http_lrt_out_t *o, const lrt_snapshot_t *snap)
{
    u_char                 text[NGX_MAX_ERROR_STR], *p, *last;
    ngx_uint_t             i;
    const lrt_settings_t  *settings;

    settings = &snap->settings;
    last = text + sizeof(text);

    p = ngx_http_lrt_policy_text(text, last, &snap->policy);
    p = ngx_slprintf(p, last, ";\n");

    if (settings->slow_start) {
        p = ngx_slprintf(p, last, "lrt_slow_start ");
        p = ngx_http_lrt_period_text(p, last, settings->slow_start);
        p = ngx_slprintf(p, last, ";\n");
    }

    if (settings->panic) {
        p = ngx_slprintf(p, last, "lrt_panic ");
        p = ngx_http_lrt_panic_text(p, last, settings->panic);
        p = ngx_slprintf(p, last, ";\n");
    }

    ngx_http_lrt_out_mem(o, text, p - text);

    for (i = 0; i < settings->nchecks; i++) {
        p = ngx_slprintf(text, last, "lrt_health_check");
        p = ngx_http_lrt_check_params_text(p, last, &settings->check[i]);
        p = ngx_slprintf(p, last, ";\n");

        ngx_http_lrt_out_mem(o, text, p - text);
    }
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
