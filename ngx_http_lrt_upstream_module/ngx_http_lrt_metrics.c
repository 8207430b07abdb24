
/*
 * Copyright (C) the ngx_http_lrt_upstream_module authors
 *
 * "lrt_metrics": the text format of Prometheus.  All samples of a metric come
 * together, so the servers of all groups are copied once, and then gone over
 * for each metric.
 */


#include "ngx_http_lrt_metrics.h"


static ngx_int_t ngx_http_lrt_metrics_handler(ngx_http_request_t *r);
static ngx_int_t ngx_http_lrt_metrics_begin(ngx_http_lrt_api_t *api);
static ngx_int_t ngx_http_lrt_metrics_copy(ngx_http_lrt_api_t *api);
static ngx_int_t ngx_http_lrt_metrics_write(ngx_http_lrt_api_t *api);
static ngx_int_t ngx_http_lrt_metrics_peers(ngx_http_lrt_api_t *api,
    const ngx_http_lrt_metric_t *m, uint64_t since);
static ngx_int_t ngx_http_lrt_metrics_group_labels(ngx_http_lrt_api_t *api,
    ngx_http_lrt_metrics_group_t *mg);
static ngx_int_t ngx_http_lrt_metrics_labels(ngx_http_lrt_api_t *api,
    ngx_http_lrt_metrics_peer_t *mp);
static void ngx_http_lrt_metrics_own_label(ngx_http_lrt_out_t *o,
    const char *label, const char *value);
static u_char *ngx_http_lrt_metrics_escape(u_char *dst, const void *data,
    size_t len);


char *
ngx_http_lrt_metrics(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_lrt_loc_conf_t  *llcf = conf;

    return ngx_http_lrt_set_handler(cf, llcf, ngx_http_lrt_metrics_handler);
}


static ngx_int_t
ngx_http_lrt_metrics_handler(ngx_http_request_t *r)
{
    if (!(r->method & (NGX_HTTP_GET|NGX_HTTP_HEAD))) {
        return NGX_HTTP_NOT_ALLOWED;
    }

    return ngx_http_lrt_api_begin(r, ngx_http_lrt_metrics_begin);
}


static ngx_int_t
ngx_http_lrt_metrics_begin(ngx_http_lrt_api_t *api)
{
    ngx_str_set(&api->type, "text/plain; version=0.0.4; charset=utf-8");

    api->write = ngx_http_lrt_metrics_write;

    return ngx_http_lrt_metrics_copy(api);
}


static ngx_int_t
ngx_http_lrt_metrics_copy(ngx_http_lrt_api_t *api)
{
    uint32_t                       i;
    ngx_uint_t                     n;
    ngx_pool_t                    *pool;
    ngx_http_lrt_srv_conf_t      **lscf;
    ngx_http_lrt_metrics_peer_t   *mp;
    ngx_http_lrt_metrics_group_t  *mg;

    pool = api->request->pool;
    lscf = api->main->groups.elts;
    n = api->main->groups.nelts;

    if (ngx_array_init(&api->groups, pool, n ? n : 1,
                       sizeof(ngx_http_lrt_metrics_group_t))
        != NGX_OK
        || ngx_array_init(&api->peers, pool, 64,
                          sizeof(ngx_http_lrt_metrics_peer_t))
           != NGX_OK)
    {
        return NGX_ERROR;
    }

    for (n = 0; n < api->main->groups.nelts; n++) {

        api->group = lscf[n];

        if (api->group->table.head == NULL
            || ngx_http_lrt_api_snapshot(api) != NGX_OK)
        {
            continue;
        }

        mg = ngx_array_push(&api->groups);
        if (mg == NULL) {
            return NGX_ERROR;
        }

        ngx_memzero(mg, sizeof(ngx_http_lrt_metrics_group_t));

        mg->group = api->group;
        mg->snap = api->snap;

        if (ngx_http_lrt_metrics_group_labels(api, mg) != NGX_OK) {
            return NGX_ERROR;
        }

        mp = ngx_array_push_n(&api->peers, api->snap.copied);
        if (mp == NULL && api->snap.copied) {
            return NGX_ERROR;
        }

        for (i = 0; i < api->snap.copied; i++) {
            mp[i].group = mg;
            mp[i].peer = api->peer[i];
            mp[i].labels.len = 0;

            if (lrt_peer_copy(&api->group->table, &mp[i].peer, &api->hot,
                              &api->detail)
                == LRT_OK)
            {
                mg->states[lrt_peer_state(&mg->snap, &mp[i].peer, &api->hot,
                                          api->now)]++;

                if (ngx_http_lrt_metrics_labels(api, &mp[i]) != NGX_OK) {
                    return NGX_ERROR;
                }
            }
        }
    }

    return NGX_OK;
}


static ngx_int_t
ngx_http_lrt_metrics_write(ngx_http_lrt_api_t *api)
{
    uint64_t                       since;
    ngx_uint_t                     i;
    ngx_http_lrt_out_t            *o;
    const ngx_http_lrt_metric_t   *m;
    ngx_http_lrt_metrics_group_t  *mg;

    o = &api->out;
    since = ngx_http_lrt_now();

    for ( ;; ) {
        m = &ngx_http_lrt_metrics_all[api->n];

        if (m->name == NULL) {
            break;
        }

        if (!api->opened) {
            api->opened = 1;
            api->next = 0;

            ngx_http_lrt_out_str(o, "# HELP ");
            ngx_http_lrt_out_str(o, m->name);
            ngx_http_lrt_out_mem(o, " ", 1);
            ngx_http_lrt_out_str(o, m->help);
            ngx_http_lrt_out_str(o, "\n# TYPE ");
            ngx_http_lrt_out_str(o, m->name);
            ngx_http_lrt_out_mem(o, " ", 1);
            ngx_http_lrt_out_str(o, m->type);
            ngx_http_lrt_out_mem(o, "\n", 1);
        }

        if (m->peer && ngx_http_lrt_metrics_peers(api, m, since) == NGX_AGAIN)
        {
            return NGX_AGAIN;
        }

        mg = api->groups.elts;

        for (i = 0; m->group && i < api->groups.nelts; i++) {
            if (mg[i].group->table.head) {
                m->group(api, m, &mg[i]);
            }
        }

        api->opened = 0;
        api->n++;
    }

    ngx_http_lrt_out_str(o, "# HELP nginx_lrt_build_info "
                            "Versions of the module and of nginx.\n"
                            "# TYPE nginx_lrt_build_info gauge\n"
                            "nginx_lrt_build_info{version=\""
                            NGX_HTTP_LRT_BUILD "\",nginx=\""
                            NGX_HTTP_LRT_NGINX_VERSION "\"} 1\n");

    return NGX_OK;
}


static ngx_int_t
ngx_http_lrt_metrics_peers(ngx_http_lrt_api_t *api,
    const ngx_http_lrt_metric_t *m, uint64_t since)
{
    lrt_peer_t                   *peer;
    lrt_table_t                  *t;
    ngx_http_lrt_metrics_peer_t  *mp;

    mp = api->peers.elts;

    while (api->next < api->peers.nelts) {

        t = &mp[api->next].group->group->table;
        peer = &mp[api->next].peer;

        if (mp[api->next].labels.len
            && t->head
            && lrt_peer_health(t, peer, &api->health) == LRT_OK
            && lrt_peer_copy(t, peer, &api->hot, &api->detail) == LRT_OK)
        {
            m->peer(api, m, &mp[api->next]);
        }

        api->next++;

        if (api->out.size > NGX_HTTP_LRT_API_CHUNK
            || ngx_http_lrt_api_tired(since))
        {
            return NGX_AGAIN;
        }
    }

    return NGX_OK;
}


/* up to the value of a sample */

void
ngx_http_lrt_metrics_server(ngx_http_lrt_api_t *api, const char *name,
    const char *suffix, const ngx_http_lrt_metrics_peer_t *mp,
    const char *label, const char *value)
{
    ngx_http_lrt_out_t  *o;

    o = &api->out;

    ngx_http_lrt_out_str(o, name);
    ngx_http_lrt_out_str(o, suffix);
    ngx_http_lrt_out_mem(o, mp->labels.data, mp->labels.len);
    ngx_http_lrt_metrics_own_label(o, label, value);
}


/* the same in all samples of a group or a server, so they are made once */

static ngx_int_t
ngx_http_lrt_metrics_group_labels(ngx_http_lrt_api_t *api,
    ngx_http_lrt_metrics_group_t *mg)
{
    u_char     *p;
    ngx_str_t  *upstream;

    upstream = &mg->group->upstream->host;

    p = ngx_pnalloc(api->request->pool,
                    sizeof("{upstream=\"") + 3 * upstream->len);
    if (p == NULL) {
        return NGX_ERROR;
    }

    mg->labels.data = p;

    p = ngx_cpymem(p, "{upstream=\"", sizeof("{upstream=\"") - 1);
    p = ngx_http_lrt_metrics_escape(p, upstream->data, upstream->len);

    mg->labels.len = p - mg->labels.data;

    return NGX_OK;
}


static ngx_int_t
ngx_http_lrt_metrics_labels(ngx_http_lrt_api_t *api,
    ngx_http_lrt_metrics_peer_t *mp)
{
    u_char     *p;
    lrt_str_t   server;
    ngx_str_t  *group;

    group = &mp->group->labels;
    server = lrt_table_name(&api->detail);

    p = ngx_pnalloc(api->request->pool, group->len
                    + sizeof("\",server=\" backup") + 3 * server.len);
    if (p == NULL) {
        return NGX_ERROR;
    }

    mp->labels.data = p;

    p = ngx_cpymem(p, group->data, group->len);
    p = ngx_cpymem(p, "\",server=\"", sizeof("\",server=\"") - 1);
    p = ngx_http_lrt_metrics_escape(p, server.data, server.len);

    /* an address may be configured as primary and as backup */

    if (mp->peer.entry.params.backup && lrt_peer_twin(&mp->group->group->table,
                                                      &mp->peer))
    {
        p = ngx_cpymem(p, " backup", sizeof(" backup") - 1);
    }

    mp->labels.len = p - mp->labels.data;

    return NGX_OK;
}


void
ngx_http_lrt_metrics_upstream(ngx_http_lrt_api_t *api, const char *name,
    const ngx_http_lrt_metrics_group_t *mg, const char *label,
    const char *value)
{
    ngx_http_lrt_out_t  *o;

    o = &api->out;

    ngx_http_lrt_out_str(o, name);
    ngx_http_lrt_out_mem(o, mg->labels.data, mg->labels.len);
    ngx_http_lrt_metrics_own_label(o, label, value);
}


static void
ngx_http_lrt_metrics_own_label(ngx_http_lrt_out_t *o, const char *label,
    const char *value)
{
    if (label) {
        ngx_http_lrt_out_str(o, "\",");
        ngx_http_lrt_out_str(o, label);
        ngx_http_lrt_out_str(o, "=\"");
        ngx_http_lrt_out_str(o, value);
    }

    ngx_http_lrt_out_str(o, "\"}");
}


/* up to three times as long: what is no UTF-8 is written in hexadecimal */

static u_char *
ngx_http_lrt_metrics_escape(u_char *dst, const void *data, size_t len)
{
    u_char  *p, *next, *end;

    p = (u_char *) data;

    for (end = p + len; p < end; p = next) {

        next = p + 1;

        if (*p >= 0x80) {
            next = ngx_http_lrt_utf8_skip(p, end);

            if (next) {
                dst = ngx_cpymem(dst, p, next - p);
                continue;
            }

            next = p + 1;
            dst = ngx_sprintf(dst, "%%%02Xd", (int) *p);
            continue;
        }

        if (*p == '"' || *p == '\\' || *p == '\n') {
            *dst++ = '\\';
        }

        *dst++ = (*p == '\n') ? 'n' : *p;
    }

    return dst;
}


void
ngx_http_lrt_metrics_end(ngx_http_lrt_out_t *o, uint64_t n)
{
    ngx_http_lrt_out_mem(o, " ", 1);
    ngx_http_lrt_out_uint(o, n);
    ngx_http_lrt_out_mem(o, "\n", 1);
}


void
ngx_http_lrt_metrics_seconds(ngx_http_lrt_out_t *o, uint64_t us)
{
    u_char  *p, buf[NGX_INT64_LEN + sizeof(" .000000\n")];

    p = ngx_sprintf(buf, " %uL.%06uL\n", us / 1000000, us % 1000000);

    ngx_http_lrt_out_mem(o, buf, p - buf);
}
