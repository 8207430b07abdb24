
/*
 * Copyright (C) the ngx_http_lrt_upstream_module authors
 *
 * The metrics, one row each.
 */


#include "ngx_http_lrt_metrics.h"


static void ngx_http_lrt_metrics_state(ngx_http_lrt_api_t *api,
    const ngx_http_lrt_metric_t *m, const ngx_http_lrt_metrics_peer_t *mp);
static void ngx_http_lrt_metrics_active(ngx_http_lrt_api_t *api,
    const ngx_http_lrt_metric_t *m, const ngx_http_lrt_metrics_peer_t *mp);
static void ngx_http_lrt_metrics_param(ngx_http_lrt_api_t *api,
    const ngx_http_lrt_metric_t *m, const ngx_http_lrt_metrics_peer_t *mp);
static void ngx_http_lrt_metrics_counter(ngx_http_lrt_api_t *api,
    const ngx_http_lrt_metric_t *m, const ngx_http_lrt_metrics_peer_t *mp);
static void ngx_http_lrt_metrics_responses(ngx_http_lrt_api_t *api,
    const ngx_http_lrt_metric_t *m, const ngx_http_lrt_metrics_peer_t *mp);
static void ngx_http_lrt_metrics_mean(ngx_http_lrt_api_t *api,
    const ngx_http_lrt_metric_t *m, const ngx_http_lrt_metrics_peer_t *mp);
static void ngx_http_lrt_metrics_duration(ngx_http_lrt_api_t *api,
    const ngx_http_lrt_metric_t *m, const ngx_http_lrt_metrics_peer_t *mp);

static void ngx_http_lrt_metrics_checks(ngx_http_lrt_api_t *api,
    const ngx_http_lrt_metric_t *m, const ngx_http_lrt_metrics_peer_t *mp);
static void ngx_http_lrt_metrics_check_duration(ngx_http_lrt_api_t *api,
    const ngx_http_lrt_metric_t *m, const ngx_http_lrt_metrics_peer_t *mp);
static void ngx_http_lrt_metrics_check_time(ngx_http_lrt_api_t *api,
    const ngx_http_lrt_metric_t *m, const ngx_http_lrt_metrics_peer_t *mp);
static void ngx_http_lrt_metrics_of_check(ngx_http_lrt_api_t *api,
    const ngx_http_lrt_metric_t *m, const ngx_http_lrt_metrics_peer_t *mp,
    ngx_uint_t i);
static void ngx_http_lrt_metrics_turns(ngx_http_lrt_api_t *api,
    const ngx_http_lrt_metric_t *m, const ngx_http_lrt_metrics_peer_t *mp);
static void ngx_http_lrt_metrics_downtime(ngx_http_lrt_api_t *api,
    const ngx_http_lrt_metric_t *m, const ngx_http_lrt_metrics_peer_t *mp);

static void ngx_http_lrt_metrics_states(ngx_http_lrt_api_t *api,
    const ngx_http_lrt_metric_t *m, const ngx_http_lrt_metrics_group_t *mg);
static void ngx_http_lrt_metrics_zombies(ngx_http_lrt_api_t *api,
    const ngx_http_lrt_metric_t *m, const ngx_http_lrt_metrics_group_t *mg);
static void ngx_http_lrt_metrics_generation(ngx_http_lrt_api_t *api,
    const ngx_http_lrt_metric_t *m, const ngx_http_lrt_metrics_group_t *mg);
static void ngx_http_lrt_metrics_bytes(ngx_http_lrt_api_t *api,
    const ngx_http_lrt_metric_t *m, const ngx_http_lrt_metrics_group_t *mg);


#define ngx_http_lrt_server_metric(name, type, function, member, help)        \
    { "nginx_lrt_upstream_server_" name, type, help,                          \
      ngx_http_lrt_metrics_##function, NULL, member }

#define ngx_http_lrt_param_metric(member, help)                               \
    ngx_http_lrt_server_metric(#member, "gauge", param,                       \
                               offsetof(lrt_params_t, member), help)

#define ngx_http_lrt_stats_metric(name, type, function, member, help)         \
    ngx_http_lrt_server_metric(name, type, function,                          \
                               offsetof(lrt_stats_t, member), help)

#define ngx_http_lrt_group_metric(name, function, help)                       \
    { "nginx_lrt_upstream_" name, "gauge", help,                              \
      NULL, ngx_http_lrt_metrics_##function, 0 }


const ngx_http_lrt_metric_t  ngx_http_lrt_metrics_all[] = {

    ngx_http_lrt_server_metric("state", "gauge", state, 0,
        "State of the server: 1 for the one it is in."),
    ngx_http_lrt_server_metric("active", "gauge", active, 0,
        "Requests that the server is working on."),
    ngx_http_lrt_param_metric(max_conns,
        "Limit of requests at once, 0 without one."),
    ngx_http_lrt_param_metric(weight,
        "Weight of the server."),

    ngx_http_lrt_stats_metric("requests_total", "counter", counter, requests,
        "Requests sent to the server."),
    ngx_http_lrt_server_metric("responses_total", "counter", responses, 0,
        "Responses of the server by class of their status."),
    ngx_http_lrt_stats_metric("sent_bytes_total", "counter", counter, sent,
        "Bytes sent to the server."),
    ngx_http_lrt_stats_metric("received_bytes_total", "counter", counter,
        received, "Bytes received from the server."),
    ngx_http_lrt_stats_metric("fails_total", "counter", counter, fails,
        "Attempts that failed."),
    ngx_http_lrt_stats_metric("unavailable_total", "counter", counter,
        unavail, "How often failures shut the server out."),
    ngx_http_lrt_stats_metric("header_time_seconds", "gauge", mean,
        header_mean,
        "Moving average of the time to the header of a response."),
    ngx_http_lrt_stats_metric("response_time_seconds", "gauge", mean,
        response_mean,
        "Moving average of the time to the end of a response."),
    ngx_http_lrt_stats_metric("response_duration_seconds", "histogram",
        duration, times, "Times to the end of a response."),

    ngx_http_lrt_server_metric("health_checks_total", "counter", checks, 0,
        "Health probes by result."),
    ngx_http_lrt_server_metric("health_check_duration_seconds", "gauge",
        check_duration, 0, "Time that the last probe of a check took."),
    ngx_http_lrt_server_metric("last_check_timestamp_seconds", "gauge",
        check_time, 0, "When the last probe of a check began."),
    ngx_http_lrt_server_metric("health_transitions_total", "counter", turns, 0,
        "How often checks took the server out of use or back into it."),
    ngx_http_lrt_server_metric("downtime_seconds_total", "counter", downtime,
        0, "Time that checks kept the server out of use."),

    ngx_http_lrt_group_metric("peers", states,
        "Servers of the group by state."),
    ngx_http_lrt_group_metric("zombies", zombies,
        "Removed servers that still have requests."),
    ngx_http_lrt_group_metric("generation", generation,
        "Number of the last change of the group."),
    ngx_http_lrt_group_metric("zone_bytes", bytes,
        "Shared memory of the group, free for more servers or not."),

    { NULL, NULL, NULL, NULL, NULL, 0 }
};


static void
ngx_http_lrt_metrics_state(ngx_http_lrt_api_t *api,
    const ngx_http_lrt_metric_t *m, const ngx_http_lrt_metrics_peer_t *mp)
{
    unsigned     busy;
    lrt_state_e  i, state;

    state = lrt_peer_state(&mp->group->snap, &mp->peer, &api->hot, api->now);

    busy = (state == LRT_STATE_UP && lrt_peer_busy(&mp->peer, &api->hot));

    for (i = LRT_STATE_UP; i < LRT_STATES; i++) {
        ngx_http_lrt_metrics_server(api, m->name, "", mp, "state",
                                    ngx_http_lrt_state_words[i]);
        ngx_http_lrt_metrics_end(&api->out, i == state && !busy);
    }

    ngx_http_lrt_metrics_server(api, m->name, "", mp, "state", "busy");
    ngx_http_lrt_metrics_end(&api->out, busy);
}


static void
ngx_http_lrt_metrics_active(ngx_http_lrt_api_t *api,
    const ngx_http_lrt_metric_t *m, const ngx_http_lrt_metrics_peer_t *mp)
{
    ngx_http_lrt_metrics_server(api, m->name, "", mp, NULL, NULL);
    ngx_http_lrt_metrics_end(&api->out, api->hot.inflight > 0
                                        ? (uint64_t) api->hot.inflight : 0);
}


static void
ngx_http_lrt_metrics_param(ngx_http_lrt_api_t *api,
    const ngx_http_lrt_metric_t *m, const ngx_http_lrt_metrics_peer_t *mp)
{
    ngx_http_lrt_metrics_server(api, m->name, "", mp, NULL, NULL);
    ngx_http_lrt_metrics_end(&api->out,
                             *(uint32_t *) ((char *) &mp->peer.entry.params
                                            + m->offset));
}


static void
ngx_http_lrt_metrics_counter(ngx_http_lrt_api_t *api,
    const ngx_http_lrt_metric_t *m, const ngx_http_lrt_metrics_peer_t *mp)
{
    ngx_http_lrt_metrics_server(api, m->name, "", mp, NULL, NULL);
    ngx_http_lrt_metrics_end(&api->out,
                             *(uint64_t *) ((char *) &api->detail.stats
                                            + m->offset));
}


static void
ngx_http_lrt_metrics_responses(ngx_http_lrt_api_t *api,
    const ngx_http_lrt_metric_t *m, const ngx_http_lrt_metrics_peer_t *mp)
{
    ngx_uint_t  i;

    static const char *const  codes[] = { "1xx", "2xx", "3xx", "4xx", "5xx" };

    for (i = 0; i < 5; i++) {
        ngx_http_lrt_metrics_server(api, m->name, "", mp, "code", codes[i]);
        ngx_http_lrt_metrics_end(&api->out,
                                 lrt_stats_responses(&api->detail.stats, i));
    }
}


/* nothing is said of servers that have not answered yet */

static void
ngx_http_lrt_metrics_mean(ngx_http_lrt_api_t *api,
    const ngx_http_lrt_metric_t *m, const ngx_http_lrt_metrics_peer_t *mp)
{
    uint32_t  us;

    us = *(uint32_t *) ((char *) &api->detail.stats + m->offset);

    if (us) {
        ngx_http_lrt_metrics_server(api, m->name, "", mp, NULL, NULL);
        ngx_http_lrt_metrics_seconds(&api->out, us);
    }
}


static void
ngx_http_lrt_metrics_duration(ngx_http_lrt_api_t *api,
    const ngx_http_lrt_metric_t *m, const ngx_http_lrt_metrics_peer_t *mp)
{
    uint64_t             total;
    ngx_uint_t           i;
    const lrt_stats_t   *st;

    static const struct {
        const char  *le;
        uint32_t     us;
    } limits[] = {
        { "0.005", 5000 }, { "0.01", 10000 }, { "0.025", 25000 },
        { "0.05", 50000 }, { "0.075", 75000 }, { "0.1", 100000 },
        { "0.25", 250000 }, { "0.5", 500000 }, { "0.75", 750000 },
        { "1", 1000000 }, { "2.5", 2500000 }, { "5", 5000000 },
        { "7.5", 7500000 }, { "10", 10000000 }
    };

    st = &api->detail.stats;
    total = 0;

    for (i = 0; i < LRT_HIST_BUCKETS; i++) {
        total += st->times[i];
    }

    for (i = 0; i < sizeof(limits) / sizeof(limits[0]); i++) {
        ngx_http_lrt_metrics_server(api, m->name, "_bucket", mp, "le",
                                    limits[i].le);
        ngx_http_lrt_metrics_end(&api->out,
                                 lrt_hist_below(st->times, limits[i].us));
    }

    ngx_http_lrt_metrics_server(api, m->name, "_bucket", mp, "le", "+Inf");
    ngx_http_lrt_metrics_end(&api->out, total);

    ngx_http_lrt_metrics_server(api, m->name, "_sum", mp, NULL, NULL);
    ngx_http_lrt_metrics_seconds(&api->out, st->time_sum);

    ngx_http_lrt_metrics_server(api, m->name, "_count", mp, NULL, NULL);
    ngx_http_lrt_metrics_end(&api->out, total);
}


/* of groups without checks there is nothing to say */

static void
ngx_http_lrt_metrics_checks(ngx_http_lrt_api_t *api,
    const ngx_http_lrt_metric_t *m, const ngx_http_lrt_metrics_peer_t *mp)
{
    uint64_t  fails;

    if (mp->group->snap.settings.nchecks == 0) {
        return;
    }

    /* a probe may just be counted in one of them only */

    fails = ngx_min(api->health.fails, api->health.checks);

    ngx_http_lrt_metrics_server(api, m->name, "", mp, "result", "pass");
    ngx_http_lrt_metrics_end(&api->out, api->health.checks - fails);

    ngx_http_lrt_metrics_server(api, m->name, "", mp, "result", "fail");
    ngx_http_lrt_metrics_end(&api->out, fails);
}


static void
ngx_http_lrt_metrics_check_duration(ngx_http_lrt_api_t *api,
    const ngx_http_lrt_metric_t *m, const ngx_http_lrt_metrics_peer_t *mp)
{
    ngx_uint_t  i;

    for (i = 0; i < mp->group->snap.settings.nchecks; i++) {
        if (api->health.verdict[i]) {
            ngx_http_lrt_metrics_of_check(api, m, mp, i);
            ngx_http_lrt_metrics_seconds(&api->out,
                                    lrt_verdict_time(api->health.verdict[i]));
        }
    }
}


static void
ngx_http_lrt_metrics_check_time(ngx_http_lrt_api_t *api,
    const ngx_http_lrt_metric_t *m, const ngx_http_lrt_metrics_peer_t *mp)
{
    ngx_uint_t  i;

    for (i = 0; i < mp->group->snap.settings.nchecks; i++) {
        if (api->health.verdict[i]) {
            ngx_http_lrt_metrics_of_check(api, m, mp, i);
            ngx_http_lrt_metrics_seconds(&api->out,
                      1000 * ngx_http_lrt_api_wall(api,
                                         ngx_http_lrt_api_checked(api, i)));
        }
    }
}


static void
ngx_http_lrt_metrics_of_check(ngx_http_lrt_api_t *api,
    const ngx_http_lrt_metric_t *m, const ngx_http_lrt_metrics_peer_t *mp,
    ngx_uint_t i)
{
    u_char  number[NGX_INT_T_LEN + 1];

    ngx_sprintf(number, "%ui%Z", i);

    ngx_http_lrt_metrics_server(api, m->name, "", mp, "check",
                                (char *) number);
}


static void
ngx_http_lrt_metrics_turns(ngx_http_lrt_api_t *api,
    const ngx_http_lrt_metric_t *m, const ngx_http_lrt_metrics_peer_t *mp)
{
    if (mp->group->snap.settings.nchecks) {
        ngx_http_lrt_metrics_server(api, m->name, "", mp, NULL, NULL);
        ngx_http_lrt_metrics_end(&api->out, api->health.turns);
    }
}


/* what requests have found is not added up, and so is not part of it */

static void
ngx_http_lrt_metrics_downtime(ngx_http_lrt_api_t *api,
    const ngx_http_lrt_metric_t *m, const ngx_http_lrt_metrics_peer_t *mp)
{
    if (mp->group->snap.settings.nchecks) {
        ngx_http_lrt_metrics_server(api, m->name, "", mp, NULL, NULL);
        ngx_http_lrt_metrics_seconds(&api->out,
                   1000 * lrt_peer_downtime(LRT_STATE_UP, &api->hot,
                                            &api->health, api->now));
    }
}


static void
ngx_http_lrt_metrics_states(ngx_http_lrt_api_t *api,
    const ngx_http_lrt_metric_t *m, const ngx_http_lrt_metrics_group_t *mg)
{
    lrt_state_e  i;

    for (i = LRT_STATE_UP; i < LRT_STATES; i++) {
        ngx_http_lrt_metrics_upstream(api, m->name, mg, "state",
                                      ngx_http_lrt_state_words[i]);
        ngx_http_lrt_metrics_end(&api->out, mg->states[i]);
    }
}


static void
ngx_http_lrt_metrics_zombies(ngx_http_lrt_api_t *api,
    const ngx_http_lrt_metric_t *m, const ngx_http_lrt_metrics_group_t *mg)
{
    ngx_http_lrt_metrics_upstream(api, m->name, mg, NULL, NULL);
    ngx_http_lrt_metrics_end(&api->out, mg->snap.zombies);
}


static void
ngx_http_lrt_metrics_generation(ngx_http_lrt_api_t *api,
    const ngx_http_lrt_metric_t *m, const ngx_http_lrt_metrics_group_t *mg)
{
    ngx_http_lrt_metrics_upstream(api, m->name, mg, NULL, NULL);
    ngx_http_lrt_metrics_end(&api->out, mg->snap.generation);
}


static void
ngx_http_lrt_metrics_bytes(ngx_http_lrt_api_t *api,
    const ngx_http_lrt_metric_t *m, const ngx_http_lrt_metrics_group_t *mg)
{
    uint64_t            left;
    const lrt_table_t  *t;

    t = &mg->group->table;
    left = t->head->size / t->capacity * mg->snap.room;

    ngx_http_lrt_metrics_upstream(api, m->name, mg, "kind", "used");
    ngx_http_lrt_metrics_end(&api->out, t->head->size - left);

    ngx_http_lrt_metrics_upstream(api, m->name, mg, "kind", "free");
    ngx_http_lrt_metrics_end(&api->out, left);
}
