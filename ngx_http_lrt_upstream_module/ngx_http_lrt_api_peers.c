
/*
 * Copyright (C) the ngx_http_lrt_upstream_module authors
 *
 * Groups and their servers, as people and programs read them.
 */


#include "ngx_http_lrt_api.h"
#include "lrt_estimate.h"


/* upper limits of the latency histogram in the wire format, ms */

static const uint32_t  ngx_http_lrt_api_times[] = {
    5, 10, 25, 50, 75, 100, 250, 500, 750, 1000, 2500, 5000, 7500, 10000
};

#define NGX_HTTP_LRT_API_TIMES                                                \
    (sizeof(ngx_http_lrt_api_times) / sizeof(ngx_http_lrt_api_times[0]))


const char *const  ngx_http_lrt_state_words[] = {
    "up", "draining", "down", "unavail", "checking", "unhealthy"
};

static ngx_int_t ngx_http_lrt_api_write_upstreams(ngx_http_lrt_api_t *api);
static ngx_int_t ngx_http_lrt_api_write_names(ngx_http_lrt_api_t *api);
static ngx_int_t ngx_http_lrt_api_write_upstream(ngx_http_lrt_api_t *api);
static ngx_int_t ngx_http_lrt_api_write_peers(ngx_http_lrt_api_t *api,
    const ngx_str_t *key);
static void ngx_http_lrt_api_peer(ngx_http_lrt_api_t *api,
    const lrt_peer_t *peer);
static void ngx_http_lrt_api_responses(ngx_http_lrt_api_t *api,
    const lrt_stats_t *st);
static void ngx_http_lrt_api_times_hist(ngx_http_lrt_api_t *api,
    const lrt_stats_t *st);
static void ngx_http_lrt_api_peer_more(ngx_http_lrt_api_t *api,
    const lrt_peer_t *peer, lrt_state_e state);
static void ngx_http_lrt_api_group_more(ngx_http_lrt_api_t *api);


/* all groups, or with an empty "fields" just their names */

ngx_int_t
ngx_http_lrt_api_upstreams(ngx_http_lrt_api_t *api)
{
    api->write = ngx_http_lrt_api_write_upstreams;

    if (ngx_http_lrt_api_arg(api, "fields", &api->fields) == NGX_OK) {

        if (api->fields.len == 0) {
            api->write = ngx_http_lrt_api_write_names;
            return NGX_OK;
        }

        api->out.fields = &api->fields;
        api->out.fields_depth = 2;
    }

    return NGX_OK;
}


static ngx_int_t
ngx_http_lrt_api_write_names(ngx_http_lrt_api_t *api)
{
    ngx_uint_t                 i;
    ngx_http_lrt_srv_conf_t  **lscf;

    lscf = api->main->groups.elts;

    ngx_http_lrt_json_open(&api->out, NULL, '[');

    for (i = 0; i < api->main->groups.nelts; i++) {
        ngx_http_lrt_json_str(&api->out, NULL, &lscf[i]->upstream->host);
    }

    ngx_http_lrt_json_close(&api->out, ']');

    return NGX_OK;
}


static ngx_int_t
ngx_http_lrt_api_write_upstreams(ngx_http_lrt_api_t *api)
{
    ngx_int_t                  rc;
    ngx_http_lrt_srv_conf_t  **lscf;

    lscf = api->main->groups.elts;

    if (api->group == NULL) {
        ngx_http_lrt_json_open(&api->out, NULL, '{');
    }

    for ( /* void */ ; api->n < api->main->groups.nelts; api->n++) {

        if (!api->opened) {
            api->group = lscf[api->n];

            if (api->group->table.head == NULL) {
                continue;
            }

            rc = ngx_http_lrt_api_snapshot(api);

            if (rc == NGX_ERROR) {
                return NGX_ERROR;
            }

            if (rc == NGX_DECLINED) {
                continue;
            }
        }

        if (ngx_http_lrt_api_write_peers(api, &api->group->upstream->host)
            == NGX_AGAIN)
        {
            return NGX_AGAIN;
        }
    }

    ngx_http_lrt_json_close(&api->out, '}');

    return NGX_OK;
}


ngx_int_t
ngx_http_lrt_api_upstream(ngx_http_lrt_api_t *api)
{
    ngx_int_t  rc;

    rc = ngx_http_lrt_api_wait_changed(api);

    return (rc == NGX_DONE) ? ngx_http_lrt_api_one_upstream(api) : rc;
}


ngx_int_t
ngx_http_lrt_api_one_upstream(ngx_http_lrt_api_t *api)
{
    ngx_int_t  rc;

    if (ngx_http_lrt_api_arg(api, "fields", &api->fields) == NGX_OK) {
        api->out.fields = &api->fields;
        api->out.fields_depth = 1;
    }

    rc = ngx_http_lrt_api_snapshot(api);

    api->tag = api->snap.generation;
    api->write = ngx_http_lrt_api_write_upstream;

    return rc;
}


static ngx_int_t
ngx_http_lrt_api_write_upstream(ngx_http_lrt_api_t *api)
{
    ngx_str_t  none = ngx_null_string;

    return ngx_http_lrt_api_write_peers(api, &none);
}


/* a group that was copied, from where it was left */

static ngx_int_t
ngx_http_lrt_api_write_peers(ngx_http_lrt_api_t *api, const ngx_str_t *key)
{
    uint64_t             since;
    lrt_peer_t          *peer;
    ngx_http_lrt_out_t  *o;

    o = &api->out;
    since = ngx_http_lrt_now();

    if (!api->opened) {
        api->opened = 1;
        api->next = 0;
        ngx_http_lrt_json_open_str(o, key, '{');
        ngx_http_lrt_json_open(o, "peers", '[');
    }

    while (api->next < api->snap.copied) {

        peer = &api->peer[api->next++];

        if (o->muted) {
            continue;
        }

        /* who was removed meanwhile is not mentioned */

        if (lrt_peer_health(&api->group->table, peer, &api->health) == LRT_OK
            && lrt_peer_copy(&api->group->table, peer, &api->hot,
                             &api->detail)
               == LRT_OK)
        {
            ngx_http_lrt_api_peer(api, peer);
        }

        if (o->size > NGX_HTTP_LRT_API_CHUNK || ngx_http_lrt_api_tired(since))
        {
            return NGX_AGAIN;
        }
    }

    ngx_http_lrt_json_close(o, ']');

    ngx_http_lrt_json_uint(o, "keepalive", 0);
    ngx_http_lrt_json_uint(o, "zombies", api->snap.zombies);
    ngx_http_lrt_json_str(o, "zone", &api->group->zone_name);
    ngx_http_lrt_api_group_more(api);
    ngx_http_lrt_json_close(o, '}');

    api->opened = 0;

    return NGX_OK;
}


static void
ngx_http_lrt_api_peer(ngx_http_lrt_api_t *api, const lrt_peer_t *peer)
{
    int32_t              active;
    lrt_state_e          state;
    lrt_stats_t         *st;
    lrt_detail_t        *d;
    ngx_http_lrt_out_t  *o;

    o = &api->out;
    d = &api->detail;
    st = &d->stats;

    state = lrt_peer_state(&api->snap, peer, &api->hot, api->now);
    active = api->hot.inflight;

    ngx_http_lrt_json_open(o, NULL, '{');

    ngx_http_lrt_json_uint(o, "id", peer->entry.ident - 1);
    ngx_http_lrt_json_lrt_str(o, "server", lrt_table_name(d));
    ngx_http_lrt_json_lrt_str(o, "name", lrt_table_server(d));
    ngx_http_lrt_json_bool(o, "backup", peer->entry.params.backup);
    ngx_http_lrt_json_uint(o, "weight", peer->entry.params.weight);
    ngx_http_lrt_json_text(o, "state", ngx_http_lrt_state_words[state]);
    ngx_http_lrt_json_uint(o, "active", active > 0 ? (uint64_t) active : 0);

    if (peer->entry.params.max_conns) {
        ngx_http_lrt_json_uint(o, "max_conns", peer->entry.params.max_conns);
    }

    ngx_http_lrt_json_uint(o, "requests", st->requests);

    /* whole milliseconds, and a fast server still has answered */

    if (st->header_mean) {
        ngx_http_lrt_json_uint(o, "header_time",
                               (st->header_mean + 500) / 1000);
    }

    if (st->response_mean) {
        ngx_http_lrt_json_uint(o, "response_time",
                               (st->response_mean + 500) / 1000);
        ngx_http_lrt_api_times_hist(api, st);
    }

    ngx_http_lrt_api_responses(api, st);

    ngx_http_lrt_json_uint(o, "sent", st->sent);
    ngx_http_lrt_json_uint(o, "received", st->received);
    ngx_http_lrt_json_uint(o, "fails", st->fails);
    ngx_http_lrt_json_uint(o, "unavail", st->unavail);

    ngx_http_lrt_api_health(api, state);

    if (st->selected) {
        ngx_http_lrt_json_moment(o, "selected", st->selected);
    }

    ngx_http_lrt_api_peer_more(api, peer, state);

    ngx_http_lrt_json_close(o, '}');
}


static void
ngx_http_lrt_api_responses(ngx_http_lrt_api_t *api, const lrt_stats_t *st)
{
    u_char               key[NGX_INT64_LEN + 1];
    uint32_t             i;
    uint64_t             n, total;
    ngx_http_lrt_out_t  *o;

    static const char *const  names[] = { "1xx", "2xx", "3xx", "4xx", "5xx" };

    o = &api->out;
    total = 0;

    ngx_http_lrt_json_open(o, "responses", '{');

    for (i = 0; i < 5; i++) {
        n = lrt_stats_responses(st, i);
        total += n;

        ngx_http_lrt_json_uint(o, names[i], n);
    }

    ngx_http_lrt_json_open(o, "codes", '{');

    for (i = 0; i < LRT_CODES && st->codes[i]; i++) {
        ngx_sprintf(key, "%uD%Z", lrt_stats_code_status(st->codes[i]));
        ngx_http_lrt_json_uint(o, (char *) key,
                               lrt_stats_code_count(st->codes[i]));
    }

    ngx_http_lrt_json_close(o, '}');
    ngx_http_lrt_json_uint(o, "total", total);
    ngx_http_lrt_json_close(o, '}');
}


static void
ngx_http_lrt_api_times_hist(ngx_http_lrt_api_t *api, const lrt_stats_t *st)
{
    u_char               key[NGX_INT64_LEN + 1];
    uint64_t             n, below, total;
    ngx_uint_t           i;
    ngx_http_lrt_out_t  *o;

    o = &api->out;
    total = 0;
    below = 0;

    for (i = 0; i < LRT_HIST_BUCKETS; i++) {
        total += st->times[i];
    }

    ngx_http_lrt_json_open(o, "response_time_hist", '{');
    ngx_http_lrt_json_uint(o, "count", total);
    ngx_http_lrt_json_uint(o, "sum", st->time_sum / 1000);
    ngx_http_lrt_json_open(o, "buckets", '{');

    for (i = 0; i < NGX_HTTP_LRT_API_TIMES; i++) {
        n = lrt_hist_below(st->times,
                           (uint64_t) ngx_http_lrt_api_times[i] * 1000);

        ngx_sprintf(key, "%uD%Z", ngx_http_lrt_api_times[i]);
        ngx_http_lrt_json_uint(o, (char *) key, n - below);
        below = n;
    }

    ngx_http_lrt_json_uint(o, "inf", total - below);
    ngx_http_lrt_json_close(o, '}');
    ngx_http_lrt_json_close(o, '}');
}


/* what the wire format has no place for */

static void
ngx_http_lrt_api_peer_more(ngx_http_lrt_api_t *api, const lrt_peer_t *peer,
    lrt_state_e state)
{
    uint32_t             ramp;
    uint64_t             key, shares;
    lrt_tier_e           tier;
    ngx_uint_t           i;
    lrt_stats_t         *st;
    const char          *substate;
    lrt_score_t          score;
    lrt_table_t         *t;
    ngx_http_lrt_out_t  *o;

    static const struct {
        const char  *name;
        uint32_t     permille;
    } quantiles[] = {
        { "p50", 500 }, { "p90", 900 }, { "p95", 950 }, { "p99", 990 },
        { "p999", 999 }, { "max", 1000 }
    };

    o = &api->out;
    st = &api->detail.stats;
    t = &api->group->table;
    tier = peer->entry.params.backup ? LRT_BACKUP : LRT_PRIMARY;

    substate = ngx_http_lrt_state_words[state];

    if (state == LRT_STATE_UP && lrt_peer_busy(peer, &api->hot)) {
        substate = "busy";

    } else if (state == LRT_STATE_DRAINING && api->hot.inflight <= 0) {
        substate = "drained";
    }

    lrt_rank_score(t, &score, &api->snap.policy, &peer->entry.params,
                   &api->hot, api->now);

    ngx_http_lrt_json_open(o, "lrt", '{');
    ngx_http_lrt_json_text(o, "substate", substate);
    ngx_http_lrt_json_text(o, "health",
                        ngx_http_lrt_forced_words[peer->entry.params.forced]);
    ngx_http_lrt_json_uint(o, "generation", api->detail.born);
    ngx_http_lrt_json_bool(o, "configured", api->detail.in_conf != 0);
    ngx_http_lrt_json_uint(o, "inflight", api->hot.inflight > 0
                                          ? (uint64_t) api->hot.inflight : 0);
    ngx_http_lrt_json_uint(o, "window_fails", api->hot.fails);

    ramp = lrt_peer_ramp(&api->snap, peer, &api->hot, api->now);

    if (ramp < LRT_RAMP_FULL) {
        ngx_http_lrt_json_uint(o, "ramp_permille", ramp);
    }

    ngx_http_lrt_api_health_more(api);

    if (lrt_least_time_known(&score)) {
        ngx_http_lrt_json_uint(o, "estimate_us", lrt_least_time_known(&score));
        ngx_http_lrt_json_uint(o, "estimate_age_ms",
                               lrt_estimate_age(api->hot.estimate, api->now));
    }

    key = lrt_load(&t->key[tier][peer->slot]);

    if (lrt_method(api->snap.policy.method)->key && key != LRT_KEY_NEVER) {
        ngx_http_lrt_json_uint(o, "score",
                      lrt_method_score(api->snap.policy.method, key));
    }

    /* backups are asked when there is no primary */

    shares = (tier == LRT_BACKUP && api->snap.shares[LRT_PRIMARY])
             ? 0 : api->snap.shares[tier];

    ngx_http_lrt_json_uint(o, "share_permille",
                           shares ? lrt_peer_share(t, &api->snap, peer,
                                                   api->now)
                                    * 1000 / shares
                                  : 0);

    ngx_http_lrt_json_open(o, "latency_us", '{');

    for (i = 0; i < sizeof(quantiles) / sizeof(quantiles[0]); i++) {
        ngx_http_lrt_json_uint(o, quantiles[i].name,
                               lrt_hist_quantile(st->times,
                                                 quantiles[i].permille));
    }

    ngx_http_lrt_json_close(o, '}');
    ngx_http_lrt_json_close(o, '}');
}


void
ngx_http_lrt_api_method_text(ngx_http_lrt_api_t *api, const char *key,
    const lrt_policy_t *policy)
{
    u_char     text[NGX_MAX_ERROR_STR];
    ngx_str_t  s;

    s.data = text;
    s.len = ngx_http_lrt_policy_text(text, text + sizeof(text), policy) - text;

    ngx_http_lrt_json_str(&api->out, key, &s);
}


static void
ngx_http_lrt_api_group_more(ngx_http_lrt_api_t *api)
{
    lrt_table_t         *t;
    ngx_http_lrt_out_t  *o;

    o = &api->out;
    t = &api->group->table;

    ngx_http_lrt_json_open(o, "lrt", '{');
    ngx_http_lrt_json_uint(o, "generation", api->snap.generation);
    ngx_http_lrt_api_method_text(api, "method", &api->snap.policy);
    ngx_http_lrt_group_write(o, &api->snap.settings);
    ngx_http_lrt_api_skipped(api);
    ngx_http_lrt_json_bool(o, "in_panic", api->snap.rules[LRT_PRIMARY].panic
                                          || api->snap.rules[LRT_BACKUP].panic);

    if (api->group->state) {
        ngx_http_lrt_json_open(o, "state", '{');
        ngx_http_lrt_json_str(o, "file", ngx_http_lrt_state_path(api->group));
        ngx_http_lrt_json_bool(o, "valid", lrt_load(&t->head->state_bad) == 0);
        ngx_http_lrt_json_bool(o, "saved", lrt_load(&t->head->state_saved)
                                           == api->snap.generation);

        if (lrt_load(&t->head->state_bad)) {
            ngx_http_lrt_json_text(o, "error", t->head->state_why);
        }

        ngx_http_lrt_json_close(o, '}');
    }

    ngx_http_lrt_json_uint(o, "capacity", t->capacity);
    ngx_http_lrt_json_uint(o, "room", api->snap.room);
    ngx_http_lrt_json_uint(o, "bytes", t->head->size);
    ngx_http_lrt_json_close(o, '}');
}


ngx_int_t
ngx_http_lrt_api_servers(ngx_http_lrt_api_t *api)
{
    ngx_int_t  rc;

    rc = ngx_http_lrt_api_snapshot(api);

    api->tag = api->snap.generation;
    api->write = ngx_http_lrt_api_write_servers;

    return rc;
}


ngx_int_t
ngx_http_lrt_api_write_servers(ngx_http_lrt_api_t *api)
{
    uint64_t             since;
    lrt_peer_t          *peer;
    ngx_http_lrt_out_t  *o;

    o = &api->out;
    since = ngx_http_lrt_now();

    if (!api->opened) {
        api->opened = 1;
        ngx_http_lrt_json_open(o, api->list_key, '[');
    }

    while (api->next < api->snap.copied) {

        peer = &api->peer[api->next++];

        if (peer->entry.ident != api->hidden
            && lrt_peer_copy(&api->group->table, peer, NULL, &api->detail)
               == LRT_OK)
        {
            ngx_http_lrt_spec_write(&api->out, peer, &api->detail);
        }

        if (o->size > NGX_HTTP_LRT_API_CHUNK || ngx_http_lrt_api_tired(since))
        {
            return NGX_AGAIN;
        }
    }

    ngx_http_lrt_json_close(o, ']');

    return NGX_OK;
}


ngx_int_t
ngx_http_lrt_api_server(ngx_http_lrt_api_t *api)
{
    ngx_int_t   rc;
    lrt_peer_t  peer;

    rc = ngx_http_lrt_api_wait_idle(api);

    if (rc != NGX_DONE) {
        return rc;
    }

    rc = ngx_http_lrt_api_find(api, &peer);

    return (rc == NGX_OK) ? ngx_http_lrt_api_one_server(api, &peer) : rc;
}


ngx_int_t
ngx_http_lrt_api_one_server(ngx_http_lrt_api_t *api, const lrt_peer_t *peer)
{
    if (lrt_peer_copy(&api->group->table, peer, NULL, &api->detail) != LRT_OK)
    {
        return ngx_http_lrt_api_not_found(api);
    }

    ngx_http_lrt_spec_write(&api->out, peer, &api->detail);

    return NGX_OK;
}


ngx_int_t
ngx_http_lrt_api_snapshot(ngx_http_lrt_api_t *api)
{
    lrt_rc_t  rc;

    api->now = ngx_http_lrt_now() / 1000;

    for ( ;; ) {
        rc = lrt_snapshot(&api->group->table, &api->snap, api->peer,
                          api->npeers, api->now);

        if (rc != LRT_OK) {
            return ngx_http_lrt_fault(api->request->pool, &api->fault,
                                      NGX_HTTP_SERVICE_UNAVAILABLE,
                                      "UpstreamBusy",
                                      "the group is changing all the time");
        }

        if (api->snap.copied == api->snap.n) {
            return NGX_OK;
        }

        /* some more may come until the next time */

        api->npeers = api->snap.n + 64;
        api->peer = ngx_palloc(api->request->pool,
                               api->npeers * sizeof(lrt_peer_t));

        if (api->peer == NULL) {
            return NGX_ERROR;
        }
    }
}


ngx_int_t
ngx_http_lrt_api_find(ngx_http_lrt_api_t *api, lrt_peer_t *peer)
{
    ngx_int_t      rc;
    uint32_t       slot;
    uint64_t       generation;
    ngx_int_t      id;
    ngx_addr_t     addr;
    lrt_server_t   server;
    lrt_table_t   *t;

    t = &api->group->table;
    id = ngx_atoi(api->id.data, api->id.len);

    if (id == NGX_ERROR) {

        rc = ngx_http_lrt_spec_address(api->request->pool, &api->id, &addr,
                                       &api->fault);

        if (rc == NGX_OK) {
            ngx_memzero(&server, sizeof(lrt_server_t));
            rc = ngx_http_lrt_server_address(api->request->pool, &addr,
                                             &server);
        }

        if (rc == NGX_ERROR) {
            return NGX_ERROR;
        }

        if (rc != NGX_OK) {
            return ngx_http_lrt_api_not_found(api);
        }
    }

    do {
        generation = lrt_table_generation(t);

        if (id == NGX_ERROR) {

            for (server.params.backup = 0; /* void */ ;
                 server.params.backup++)
            {
                slot = lrt_table_find(t, (unsigned) generation & 1, &server,
                                      lrt_table_hash(server.sockaddr,
                                                     server.socklen,
                                                     server.params.backup));

                if (slot != LRT_NONE || server.params.backup) {
                    break;
                }
            }

        } else {
            slot = lrt_table_find_ident(t, generation, (uint64_t) id + 1);
        }

        peer->slot = slot;

        if (slot != LRT_NONE) {
            peer->entry = lrt_table_entries(t, generation)[slot];
        }

        lrt_fence();

    } while (lrt_table_generation(t) != generation);

    if (slot == LRT_NONE) {
        return ngx_http_lrt_api_not_found(api);
    }

    return NGX_OK;
}


/* an address is an id that somebody made up */

ngx_int_t
ngx_http_lrt_api_not_found(ngx_http_lrt_api_t *api)
{
    if (ngx_atoi(api->id.data, api->id.len) == NGX_ERROR) {
        return ngx_http_lrt_fault(api->request->pool, &api->fault,
                                  NGX_HTTP_BAD_REQUEST, "UpstreamBadServerId",
                                  "invalid server id");
    }

    return ngx_http_lrt_fault(api->request->pool, &api->fault,
                              NGX_HTTP_NOT_FOUND, "UpstreamServerNotFound",
                              "server with ID \"%V\" not found", &api->id);
}
