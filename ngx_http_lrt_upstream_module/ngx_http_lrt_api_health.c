
/*
 * Copyright (C) the ngx_http_lrt_upstream_module authors
 *
 * What active checks have found of a server, and a probe now.
 */


#include "ngx_http_lrt_api.h"
#include "ngx_http_lrt_check.h"

#include "lrt_check_reason.h"
#include "lrt_rhythm.h"


static ngx_uint_t ngx_http_lrt_api_can_ask(ngx_http_lrt_api_t *api,
    ngx_uint_t i, u_char *why);
static ngx_uint_t ngx_http_lrt_api_last_passed(uint64_t word);
static void ngx_http_lrt_api_last_check(ngx_http_lrt_api_t *api, ngx_uint_t i);
static ngx_int_t ngx_http_lrt_api_until_checked(ngx_http_lrt_api_t *api);
static ngx_uint_t ngx_http_lrt_api_answered(ngx_http_lrt_api_t *api,
    const lrt_peer_t *peer);
static ngx_int_t ngx_http_lrt_api_write_checked(ngx_http_lrt_api_t *api,
    const lrt_peer_t *peer);


void
ngx_http_lrt_api_health(ngx_http_lrt_api_t *api, lrt_state_e state)
{
    uint64_t             since, word;
    ngx_uint_t           i, checked, passed;
    ngx_http_lrt_out_t  *o;

    o = &api->out;
    checked = 0;
    passed = 1;

    for (i = 0; i < api->snap.settings.nchecks; i++) {
        word = api->health.verdict[i];

        if (word) {
            checked = 1;
            passed = passed && ngx_http_lrt_api_last_passed(word);
        }
    }

    ngx_http_lrt_json_open(o, "health_checks", '{');
    ngx_http_lrt_json_uint(o, "checks", api->health.checks);
    ngx_http_lrt_json_uint(o, "fails", api->health.fails);
    ngx_http_lrt_json_uint(o, "unhealthy", api->health.unhealthy);

    if (checked) {
        ngx_http_lrt_json_bool(o, "last_passed", passed);
    }

    ngx_http_lrt_json_close(o, '}');

    ngx_http_lrt_json_uint(o, "downtime",
                           lrt_peer_downtime(state, &api->hot, &api->health,
                                             api->now));

    since = lrt_peer_out_since(state, &api->hot);

    if (since && state >= LRT_STATE_UNAVAIL) {
        ngx_http_lrt_json_moment(o, "downstart",
                                 ngx_http_lrt_api_wall(api, since));
    }
}


void
ngx_http_lrt_api_skipped(ngx_http_lrt_api_t *api)
{
    u_char               why[NGX_HTTP_LRT_CHECK_WHY];
    ngx_uint_t           i, n;
    ngx_http_lrt_out_t  *o;

    o = &api->out;
    n = 0;

    for (i = 0; i < api->snap.settings.nchecks; i++) {

        if (ngx_http_lrt_api_can_ask(api, i, why)) {
            continue;
        }

        if (n++ == 0) {
            ngx_http_lrt_json_open(o, "skipped_checks", '[');
        }

        ngx_http_lrt_json_open(o, NULL, '{');
        ngx_http_lrt_json_uint(o, "check", i);
        ngx_http_lrt_json_text(o, "reason", (char *) why);
        ngx_http_lrt_json_close(o, '}');
    }

    if (n) {
        ngx_http_lrt_json_close(o, ']');
    }
}


static ngx_uint_t
ngx_http_lrt_api_can_ask(ngx_http_lrt_api_t *api, ngx_uint_t i, u_char *why)
{
    return ngx_http_lrt_check_sound(api->group, &api->snap.settings.check[i],
                                    why);
}


/* a probe that ended through a fault of ours leaves things as they were */

static ngx_uint_t
ngx_http_lrt_api_last_passed(uint64_t word)
{
    uint32_t  reason;

    reason = lrt_verdict_reason(word);

    return lrt_check_reason_local(reason) ? lrt_verdict(word) != LRT_FAILING
                                          : reason == LRT_CHECK_PASSED;
}


void
ngx_http_lrt_api_health_more(ngx_http_lrt_api_t *api)
{
    ngx_uint_t  i;

    if (api->snap.settings.nchecks == 0) {
        return;
    }

    ngx_http_lrt_json_uint(&api->out, "turns", api->health.turns);
    ngx_http_lrt_json_open(&api->out, "last_check", '[');

    for (i = 0; i < api->snap.settings.nchecks; i++) {
        ngx_http_lrt_api_last_check(api, i);
    }

    ngx_http_lrt_json_close(&api->out, ']');
}


static void
ngx_http_lrt_api_last_check(ngx_http_lrt_api_t *api, ngx_uint_t i)
{
    uint32_t             reason;
    uint64_t             word;
    ngx_http_lrt_out_t  *o;

    static const char *const  verdicts[] = {
        "unchecked", "passing", "failing"
    };

    o = &api->out;
    word = api->health.verdict[i];
    reason = lrt_verdict_reason(word);

    ngx_http_lrt_json_open(o, NULL, '{');
    ngx_http_lrt_json_uint(o, "check", i);
    ngx_http_lrt_json_text(o, "verdict", verdicts[lrt_verdict(word)]);

    if (word) {
        ngx_http_lrt_json_uint(o, "against", lrt_verdict_run(word));
        ngx_http_lrt_json_moment(o, "time", ngx_http_lrt_api_wall(api,
                                          ngx_http_lrt_api_checked(api, i)));
        ngx_http_lrt_json_uint(o, "duration_us", lrt_verdict_time(word));

        if (!lrt_check_reason_local(reason)) {
            ngx_http_lrt_json_bool(o, "passed", reason == LRT_CHECK_PASSED);
        }

        if (lrt_verdict_status(word)) {
            ngx_http_lrt_json_uint(o, "status", lrt_verdict_status(word));
        }

        ngx_http_lrt_json_text(o, "reason", lrt_check_reason_text(reason));
    }

    ngx_http_lrt_json_close(o, '}');
}


uint64_t
ngx_http_lrt_api_wall(ngx_http_lrt_api_t *api, uint64_t ms)
{
    ngx_time_t  *tp;

    tp = ngx_timeofday();

    return (uint64_t) tp->sec * 1000 + tp->msec + ms - api->now;
}


/* 32 bits are kept of it, which are enough for the longest interval */

uint64_t
ngx_http_lrt_api_checked(ngx_http_lrt_api_t *api, ngx_uint_t check)
{
    if (api->health.verdict[check] == 0) {
        return 0;
    }

    return api->now - (uint32_t) ((uint32_t) api->now
                              - lrt_started_time(api->health.started[check]));
}


ngx_int_t
ngx_http_lrt_api_check(ngx_http_lrt_api_t *api)
{
    u_char                why[NGX_HTTP_LRT_CHECK_WHY];
    uint64_t              generation;
    ngx_int_t             rc;
    ngx_uint_t            i;
    lrt_peer_t            peer;
    lrt_table_t          *t;
    ngx_http_request_t   *r;

    r = api->request;
    t = &api->group->table;

    rc = ngx_http_lrt_api_expected(api, &generation);

    if (rc == NGX_OK) {
        rc = ngx_http_lrt_api_find(api, &peer);
    }

    if (rc == NGX_OK) {
        rc = ngx_http_lrt_api_wait(api, "wait", 0);
    }

    if (rc == NGX_OK) {
        rc = ngx_http_lrt_api_snapshot(api);
    }

    if (rc != NGX_OK) {
        return rc;
    }

    for (i = 0; i < api->snap.settings.nchecks; i++) {
        if (ngx_http_lrt_api_can_ask(api, i, why)) {
            api->probes |= 1 << i;
        }
    }

    if (api->probes == 0) {
        return ngx_http_lrt_fault(r->pool, &api->fault, NGX_HTTP_CONFLICT,
                                  "UpstreamNoChecks",
                                  "upstream \"%V\" has no health checks%s",
                                  &api->group->upstream->host,
                                  api->snap.settings.nchecks
                                  ? " that can be asked" : "");
    }

    if (peer.entry.params.down) {
        return ngx_http_lrt_fault(r->pool, &api->fault, NGX_HTTP_CONFLICT,
                                  "UpstreamServerDown",
                                  "server \"%V\" is down, and is not checked",
                                  &api->id);
    }

    api->status = NGX_HTTP_ACCEPTED;

    if (ngx_http_lrt_api_dry(api)) {
        return ngx_http_lrt_api_write_checked(api, &peer);
    }

    if (lrt_peer_health(t, &peer, &api->health) != LRT_OK) {
        return ngx_http_lrt_api_not_found(api);
    }

    lrt_health_ask(t, peer.slot);

    api->step = ngx_http_lrt_api_until_checked;

    return api->step(api);
}


static ngx_int_t
ngx_http_lrt_api_until_checked(ngx_http_lrt_api_t *api)
{
    ngx_int_t   rc;
    lrt_peer_t  peer;

    rc = ngx_http_lrt_api_find(api, &peer);

    if (rc != NGX_OK) {
        return rc;
    }

    rc = ngx_http_lrt_api_poll(api, ngx_http_lrt_api_answered(api, &peer));

    if (rc == NGX_AGAIN) {
        return rc;
    }

    if (rc == NGX_OK) {
        api->status = NGX_HTTP_OK;
    }

    return ngx_http_lrt_api_write_checked(api, &peer);
}


/*
 * Each check has another result than before; or each has begun a probe, and as
 * many results have come as there are checks, as two may be alike.
 */

static ngx_uint_t
ngx_http_lrt_api_answered(ngx_http_lrt_api_t *api, const lrt_peer_t *peer)
{
    uint32_t             i, n, begun, other;
    lrt_table_t         *t;
    lrt_health_t         health;
    const lrt_health_t  *before;

    t = &api->group->table;
    before = &api->health;
    if (lrt_peer_health(t, peer, &health) != LRT_OK) {
        return 0;
    }

    n = 0;
    begun = 0;
    other = 0;

    for (i = 0; i < api->snap.settings.nchecks; i++) {

        if (!(api->probes & 1 << i)) {
            continue;
        }

        n++;
        begun += (lrt_started_time(health.started[i])
                  != lrt_started_time(before->started[i]));
        other += (health.verdict[i] != before->verdict[i]);
    }

    return n && (other == n
                 || (begun == n && health.checks - before->checks >= n));
}


static ngx_int_t
ngx_http_lrt_api_write_checked(ngx_http_lrt_api_t *api, const lrt_peer_t *peer)
{
    ngx_int_t            rc;
    lrt_state_e          state;
    ngx_http_lrt_out_t  *o;

    o = &api->out;
    rc = ngx_http_lrt_api_snapshot(api);

    if (rc != NGX_OK) {
        return rc;
    }

    if (lrt_peer_health(&api->group->table, peer, &api->health) != LRT_OK
        || lrt_peer_copy(&api->group->table, peer, &api->hot, &api->detail)
           != LRT_OK)
    {
        return ngx_http_lrt_api_not_found(api);
    }

    state = lrt_peer_state(&api->snap, peer, &api->hot, api->now);

    ngx_http_lrt_json_open(o, NULL, '{');
    ngx_http_lrt_json_uint(o, "id", peer->entry.ident - 1);
    ngx_http_lrt_json_lrt_str(o, "server", lrt_table_name(&api->detail));
    ngx_http_lrt_json_text(o, "state", ngx_http_lrt_state_words[state]);
    ngx_http_lrt_api_health(api, state);
    ngx_http_lrt_api_health_more(api);
    ngx_http_lrt_json_close(o, '}');

    return NGX_OK;
}
