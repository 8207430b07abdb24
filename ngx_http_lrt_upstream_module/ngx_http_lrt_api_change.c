
/*
 * Copyright (C) the ngx_http_lrt_upstream_module authors
 *
 * Changes that a client asks for: each request is one transaction.
 */


#include "ngx_http_lrt_api.h"


/* so many plans may be outdated; the next one is made under the lock */

#define NGX_HTTP_LRT_API_PLANS   3


static ngx_int_t ngx_http_lrt_api_add_specs(ngx_http_lrt_api_t *api);
static ngx_int_t ngx_http_lrt_api_add_locked(ngx_http_lrt_api_t *api,
    lrt_change_set_t *set);
static ngx_int_t ngx_http_lrt_api_replace_specs(ngx_http_lrt_api_t *api);
static ngx_int_t ngx_http_lrt_api_replace_plan(ngx_http_lrt_api_t *api);
static ngx_int_t ngx_http_lrt_api_plan(ngx_http_lrt_api_t *api,
    ngx_uint_t locked);
static ngx_int_t ngx_http_lrt_api_replace_clear(ngx_http_lrt_api_t *api);
static ngx_int_t ngx_http_lrt_api_replace_locked(ngx_http_lrt_api_t *api,
    lrt_change_set_t *set);
static ngx_int_t ngx_http_lrt_api_same_id(ngx_http_lrt_api_t *api,
    const ngx_http_lrt_spec_t *spec);
static ngx_int_t ngx_http_lrt_api_same_route(ngx_http_lrt_api_t *api,
    const ngx_http_lrt_spec_t *spec, const lrt_detail_t *detail);
static ngx_int_t ngx_http_lrt_api_modify_spec(ngx_http_lrt_api_t *api);
static ngx_int_t ngx_http_lrt_api_modify_locked(ngx_http_lrt_api_t *api,
    lrt_change_set_t *set);
static ngx_int_t ngx_http_lrt_api_same(ngx_http_lrt_api_t *api,
    const ngx_http_lrt_spec_t *spec, const lrt_peer_t *peer,
    const lrt_detail_t *detail);
static ngx_int_t ngx_http_lrt_api_remove_locked(ngx_http_lrt_api_t *api,
    lrt_change_set_t *set);
static ngx_int_t ngx_http_lrt_api_reset_locked(ngx_http_lrt_api_t *api,
    lrt_change_set_t *set);

static ngx_int_t ngx_http_lrt_api_wanted(ngx_http_lrt_api_t *api,
    ngx_uint_t listed);
static ngx_int_t ngx_http_lrt_api_exists(ngx_http_lrt_api_t *api,
    const lrt_server_t *server);
static ngx_int_t ngx_http_lrt_api_fits(ngx_http_lrt_api_t *api);


/* POST of one server, or of a list */

ngx_int_t
ngx_http_lrt_api_add(ngx_http_lrt_api_t *api)
{
    return ngx_http_lrt_api_read_body(api, ngx_http_lrt_api_add_specs);
}


static ngx_int_t
ngx_http_lrt_api_add_specs(ngx_http_lrt_api_t *api)
{
    ngx_int_t  rc;

    rc = ngx_http_lrt_api_wanted(api, 0);

    if (rc != NGX_OK) {
        return rc;
    }

    return ngx_http_lrt_api_locked(api, api->specs.nelts,
                                   ngx_http_lrt_api_add_locked);
}


static ngx_int_t
ngx_http_lrt_api_add_locked(ngx_http_lrt_api_t *api, lrt_change_set_t *set)
{
    u_char                buf[NGX_MAX_ERROR_STR], *p;
    ngx_int_t             rc;
    ngx_uint_t            i;
    lrt_peer_t            peer;
    lrt_change_t         *c;
    lrt_params_t          usual;
    ngx_http_lrt_spec_t  *spec;

    spec = api->specs.elts;

    rc = ngx_http_lrt_api_fits(api);

    for (i = 0; i < api->specs.nelts && rc == NGX_OK; i++) {

        c = &set->change[set->n++];
        ngx_memzero(c, sizeof(lrt_change_t));

        c->type = LRT_ADD;
        c->server = spec[i].server;

        rc = ngx_http_lrt_api_exists(api, &c->server);
    }

    if (rc == NGX_OK) {
        rc = ngx_http_lrt_api_commit(api, set);
    }

    if (rc != NGX_OK) {
        return rc;
    }

    api->status = NGX_HTTP_CREATED;

    ngx_http_lrt_server_defaults(&usual);

    if (api->split.list) {
        ngx_http_lrt_json_open(&api->out, NULL, '[');
    }

    for (i = 0; i < set->n; i++) {
        c = &set->change[i];

        ngx_memzero(&peer, sizeof(lrt_peer_t));
        peer.entry.ident = c->ident;
        peer.entry.params = c->server.params;

        lrt_table_set_data(&api->detail, &c->server);
        ngx_http_lrt_spec_write(&api->out, &peer, &api->detail);

        p = ngx_http_lrt_api_log_params(buf, buf + sizeof(buf), NULL,
                                        &c->server.params,
                                        lrt_params_diff(&usual,
                                                        &c->server.params));

        ngx_http_lrt_api_log(api, set, "server %*s added, id %uL%*s",
                             c->server.name.len, c->server.name.data,
                             c->ident - 1, p - buf, buf);
    }

    if (api->split.list) {
        ngx_http_lrt_json_close(&api->out, ']');
    }

    return NGX_OK;
}


/* PUT: the servers that there are to be */

ngx_int_t
ngx_http_lrt_api_replace(ngx_http_lrt_api_t *api)
{
    return ngx_http_lrt_api_read_body(api, ngx_http_lrt_api_replace_specs);
}


static ngx_int_t
ngx_http_lrt_api_replace_specs(ngx_http_lrt_api_t *api)
{
    ngx_int_t  rc;

    rc = ngx_http_lrt_api_wanted(api, 1);

    if (rc != NGX_OK) {
        return rc;
    }

    api->planned.change = ngx_palloc(api->request->pool,
                              lrt_plan_max(&api->group->table,
                                           (uint32_t) api->specs.nelts)
                              * sizeof(lrt_change_t));
    api->seen = ngx_palloc(api->request->pool, api->group->table.capacity);

    if (api->planned.change == NULL || api->seen == NULL) {
        return NGX_ERROR;
    }

    return ngx_http_lrt_api_next(api, ngx_http_lrt_api_replace_plan);
}


/* a plan takes a while, and is made before the lock is asked for */

static ngx_int_t
ngx_http_lrt_api_replace_plan(ngx_http_lrt_api_t *api)
{
    api->verdict = ngx_http_lrt_api_plan(api, 0);

    if (api->verdict == NGX_AGAIN) {
        api->wait = 0;
        return NGX_AGAIN;
    }

    api->next = 0;
    api->cleared = 0;

    /* whether it is right to refuse will be known with the lock */

    if (api->verdict != NGX_OK) {
        return ngx_http_lrt_api_locked(api, 0,
                                       ngx_http_lrt_api_replace_locked);
    }

    return ngx_http_lrt_api_next(api, ngx_http_lrt_api_replace_clear);
}


/* NGX_AGAIN: some of the list is left, and others want to work as well */

static ngx_int_t
ngx_http_lrt_api_plan(ngx_http_lrt_api_t *api, ngx_uint_t locked)
{
    uint64_t              since;
    ngx_int_t             rc;
    ngx_http_lrt_spec_t  *spec;

    since = ngx_http_lrt_now();
    spec = api->specs.elts;

    if (api->next == 0) {
        api->planned.n = 0;
        lrt_plan_begin(&api->plan, &api->group->table, api->seen,
                       &api->planned);
    }

    while (api->next < api->specs.nelts) {

        rc = ngx_http_lrt_api_same_id(api, &spec[api->next]);

        if (rc != NGX_OK) {
            return rc;
        }

        /* that no address is listed twice is known */

        (void) lrt_plan_want(&api->plan, &spec[api->next].server);

        if (++api->next % NGX_HTTP_LRT_API_FEW == 0
            && !locked
            && ngx_http_lrt_api_tired(since))
        {
            return NGX_AGAIN;
        }
    }

    rc = ngx_http_lrt_api_fits(api);

    if (rc == NGX_OK && lrt_plan_end(&api->plan) == LRT_FULL) {
        return ngx_http_lrt_api_full(api, api->plan.added);
    }

    return rc;
}


/* slots for the new servers: what can be done to them before the commit */

static ngx_int_t
ngx_http_lrt_api_replace_clear(ngx_http_lrt_api_t *api)
{
    uint64_t      since;
    lrt_table_t  *t;

    t = &api->group->table;
    since = ngx_http_lrt_now();

    while (api->cleared < api->plan.added
           && api->next < t->capacity
           && ngx_http_lrt_trylock(api->group))
    {
        api->cleared += lrt_change_clear(t, &api->next, NGX_HTTP_LRT_API_FEW);

        ngx_http_lrt_unlock(api->group);

        if (ngx_http_lrt_api_tired(since)) {
            api->wait = 0;
            return NGX_AGAIN;
        }
    }

    return ngx_http_lrt_api_locked(api, 0, ngx_http_lrt_api_replace_locked);
}


static ngx_int_t
ngx_http_lrt_api_replace_locked(ngx_http_lrt_api_t *api, lrt_change_set_t *set)
{
    ngx_int_t            rc;
    lrt_plan_t          *plan;
    ngx_http_lrt_out_t  *o;

    plan = &api->plan;

    if (plan->generation != lrt_table_generation(plan->table)) {
        api->next = 0;

        if (api->outdated++ < NGX_HTTP_LRT_API_PLANS) {
            api->step = ngx_http_lrt_api_replace_plan;
            api->wait = 0;
            return NGX_AGAIN;
        }

        api->verdict = ngx_http_lrt_api_plan(api, 1);
    }

    if (api->verdict != NGX_OK) {
        return api->verdict;
    }

    set->change = api->planned.change;
    set->n = api->planned.n;

    rc = ngx_http_lrt_api_commit(api, set);

    if (rc != NGX_OK) {
        return rc;
    }

    if (set->n) {
        ngx_http_lrt_api_log(api, set, "list of %ui servers: %uD added, "
                             "%uD removed, %uD updated, %uD unchanged",
                             api->specs.nelts, plan->added, plan->removed,
                             plan->updated, plan->unchanged);
    }

    o = &api->out;

    ngx_http_lrt_json_open(o, NULL, '{');
    ngx_http_lrt_json_uint(o, "added", plan->added);
    ngx_http_lrt_json_uint(o, "removed", plan->removed);
    ngx_http_lrt_json_uint(o, "updated", plan->updated);
    ngx_http_lrt_json_uint(o, "unchanged", plan->unchanged);
    ngx_http_lrt_json_close(o, '}');

    return NGX_OK;
}


/* a list that was read before may come with ids: they have to be right */

static ngx_int_t
ngx_http_lrt_api_same_id(ngx_http_lrt_api_t *api,
    const ngx_http_lrt_spec_t *spec)
{
    uint32_t             slot;
    uint64_t             generation;
    lrt_table_t         *t;
    const lrt_server_t  *s;

    if (!(spec->given & (NGX_HTTP_LRT_GIVEN_ID|NGX_HTTP_LRT_GIVEN_ROUTE))) {
        return NGX_OK;
    }

    s = &spec->server;
    t = &api->group->table;
    generation = lrt_table_generation(t);

    slot = lrt_table_find(t, (unsigned) generation & 1, s,
                          lrt_table_hash(s->sockaddr, s->socklen,
                                         s->params.backup));

    if ((spec->given & NGX_HTTP_LRT_GIVEN_ID)
        && (slot == LRT_NONE
            || lrt_table_entries(t, generation)[slot].ident != spec->id + 1))
    {
        return ngx_http_lrt_fault(api->request->pool, &api->fault,
                                  NGX_HTTP_BAD_REQUEST, "UpstreamBadServerId",
                                  "server \"%V\" does not have the id %uL",
                                  &spec->address, spec->id);
    }

    return (slot == LRT_NONE)
           ? NGX_OK : ngx_http_lrt_api_same_route(api, spec, &t->detail[slot]);
}


static ngx_int_t
ngx_http_lrt_api_same_route(ngx_http_lrt_api_t *api,
    const ngx_http_lrt_spec_t *spec, const lrt_detail_t *detail)
{
    lrt_str_t  route;

    route = lrt_table_route(detail);

    if ((spec->given & NGX_HTTP_LRT_GIVEN_ROUTE)
        && (spec->route.len != route.len
            || ngx_memcmp(spec->route.data, route.data, route.len) != 0))
    {
        return ngx_http_lrt_fault(api->request->pool, &api->fault,
                                  NGX_HTTP_BAD_REQUEST, "UpstreamBadRoute",
                                  "\"route\" of a server cannot be changed");
    }

    return NGX_OK;
}


ngx_int_t
ngx_http_lrt_api_modify(ngx_http_lrt_api_t *api)
{
    return ngx_http_lrt_api_read_body(api, ngx_http_lrt_api_modify_spec);
}


static ngx_int_t
ngx_http_lrt_api_modify_spec(ngx_http_lrt_api_t *api)
{
    if (api->split.list) {
        return ngx_http_lrt_fault(api->request->pool, &api->fault,
                                  NGX_HTTP_BAD_REQUEST,
                                  "UpstreamConfFormatError",
                                  "an object is expected");
    }

    return ngx_http_lrt_api_locked(api, 1, ngx_http_lrt_api_modify_locked);
}


static ngx_int_t
ngx_http_lrt_api_modify_locked(ngx_http_lrt_api_t *api, lrt_change_set_t *set)
{
    u_char                buf[NGX_MAX_ERROR_STR], *p;
    uint32_t              fields;
    ngx_int_t             rc;
    lrt_str_t             name;
    lrt_peer_t            peer;
    lrt_change_t         *c;
    lrt_detail_t         *detail;
    lrt_params_t          before;
    ngx_http_lrt_spec_t  *spec;

    spec = api->specs.elts;

    rc = ngx_http_lrt_api_find(api, &peer);

    if (rc != NGX_OK) {
        return rc;
    }

    detail = &api->group->table.detail[peer.slot];

    rc = ngx_http_lrt_api_same(api, spec, &peer, detail);

    if (rc != NGX_OK) {
        return rc;
    }

    before = peer.entry.params;
    fields = spec->given & LRT_F_ALL
             & lrt_params_diff(&before, &spec->server.params);

    if (fields) {
        c = &set->change[set->n++];
        ngx_memzero(c, sizeof(lrt_change_t));

        c->type = LRT_MODIFY;
        c->ident = peer.entry.ident;
        c->slot = peer.slot;
        c->fields = fields;
        c->server = spec->server;

        rc = ngx_http_lrt_api_commit(api, set);

        if (rc != NGX_OK) {
            return rc;
        }

        lrt_params_copy(&peer.entry.params, &spec->server.params, fields);

        name = lrt_table_name(detail);
        p = ngx_http_lrt_api_log_params(buf, buf + sizeof(buf), &before,
                                        &peer.entry.params, fields);

        ngx_http_lrt_api_log(api, set, "server %*s modified%*s", name.len,
                             name.data, p - buf, buf);
    }

    ngx_http_lrt_spec_write(&api->out, &peer, detail);

    return NGX_OK;
}


/* who sends back what he has read may change some of it */

static ngx_int_t
ngx_http_lrt_api_same(ngx_http_lrt_api_t *api, const ngx_http_lrt_spec_t *spec,
    const lrt_peer_t *peer, const lrt_detail_t *detail)
{
    ngx_pool_t  *pool;

    pool = api->request->pool;

    if (spec->given & NGX_HTTP_LRT_GIVEN_ID) {
        return ngx_http_lrt_fault(pool, &api->fault, NGX_HTTP_BAD_REQUEST,
                                  "UpstreamConfFormatError",
                                  "unknown parameter \"id\"");
    }

    if ((spec->given & NGX_HTTP_LRT_GIVEN_SERVER)
        && (spec->server.socklen != detail->socklen
            || ngx_memcmp(spec->server.sockaddr, lrt_table_sockaddr(detail),
                          detail->socklen)
               != 0))
    {
        return ngx_http_lrt_fault(pool, &api->fault, NGX_HTTP_BAD_REQUEST,
                                  "UpstreamServerImmutable",
                                  "the address of a server cannot be changed, "
                                  "add another server");
    }

    if ((spec->given & NGX_HTTP_LRT_GIVEN_BACKUP)
        && spec->server.params.backup != peer->entry.params.backup)
    {
        return ngx_http_lrt_fault(pool, &api->fault, NGX_HTTP_BAD_REQUEST,
                                  "UpstreamConfFormatError",
                                  "\"backup\" of a server cannot be changed");
    }

    return ngx_http_lrt_api_same_route(api, spec, detail);
}


ngx_int_t
ngx_http_lrt_api_remove(ngx_http_lrt_api_t *api)
{
    ngx_str_t  value;

    api->dry = ngx_http_lrt_api_dry(api);

    api->force = (ngx_http_lrt_api_arg(api, "force", &value) == NGX_OK
                  && !(value.len == 1 && value.data[0] == '0'));

    if (ngx_http_lrt_api_arg(api, "drain", &value) == NGX_OK) {
        api->drain = 1;

        if (ngx_http_lrt_period(&value, &api->drain_time) != NGX_OK
            || api->drain_time > LRT_MAX_TIME)
        {
            return ngx_http_lrt_fault(api->request->pool, &api->fault,
                                      NGX_HTTP_BAD_REQUEST, "BadArgument",
                                      "\"drain\" is not a time");
        }
    }

    return ngx_http_lrt_api_locked(api, 1, ngx_http_lrt_api_remove_locked);
}


/* the answer are those that stay */

static ngx_int_t
ngx_http_lrt_api_remove_locked(ngx_http_lrt_api_t *api, lrt_change_set_t *set)
{
    uint64_t       now;
    ngx_int_t      rc;
    lrt_str_t      name;
    lrt_peer_t     peer;
    lrt_change_t  *c;

    rc = ngx_http_lrt_api_find(api, &peer);

    if (rc != NGX_OK) {
        return rc;
    }

    c = &set->change[set->n++];
    ngx_memzero(c, sizeof(lrt_change_t));

    c->type = LRT_REMOVE;
    c->ident = peer.entry.ident;
    c->slot = peer.slot;

    now = ngx_http_lrt_now() / 1000;
    c->leaving = api->force ? lrt_leaving(now, 1) : 0;

    if (api->drain) {
        c->type = LRT_MODIFY;
        c->fields = LRT_F_DRAIN;
        c->server.params.drain = 1;
        c->leaving = lrt_leaving(now + api->drain_time, api->force);
    }

    rc = ngx_http_lrt_api_commit(api, set);

    if (rc != NGX_OK) {
        return rc;
    }

    if (api->drain) {
        ngx_http_lrt_api_log(api, set, "server %uL drains for %uL ms, and is "
                             "then removed%s", peer.entry.ident - 1,
                             api->drain_time,
                             api->force ? " by force" : "");

        api->status = NGX_HTTP_ACCEPTED;

        return ngx_http_lrt_api_servers(api);
    }

    /* of a server that is gone the slot is ours until the lock is free */

    name = lrt_table_name(&api->group->table.detail[peer.slot]);

    ngx_http_lrt_api_log(api, set, "server %*s, id %uL, removed", name.len,
                         name.data, peer.entry.ident - 1);

    api->hidden = peer.entry.ident;

    return ngx_http_lrt_api_servers(api);
}


/* DELETE of a group's status: its counters start again */

ngx_int_t
ngx_http_lrt_api_reset(ngx_http_lrt_api_t *api)
{
    api->dry = ngx_http_lrt_api_dry(api);
    return ngx_http_lrt_api_locked(api, 0, ngx_http_lrt_api_reset_locked);
}


static ngx_int_t
ngx_http_lrt_api_reset_locked(ngx_http_lrt_api_t *api, lrt_change_set_t *set)
{
    uint32_t      slot;
    lrt_table_t  *t;

    t = &api->group->table;

    for (slot = 0; slot < t->capacity && !api->dry; slot++) {
        lrt_stats_reset(&t->detail[slot].stats);
        lrt_health_clear(&t->health[slot]);
    }

    set->generation = lrt_table_generation(t);

    ngx_http_lrt_api_log(api, set, "statistics reset");

    api->status = NGX_HTTP_NO_CONTENT;

    return NGX_OK;
}


/* what every server of a list must have, or must not */

static ngx_int_t
ngx_http_lrt_api_wanted(ngx_http_lrt_api_t *api, ngx_uint_t listed)
{
    ngx_uint_t            i;
    ngx_pool_t           *pool;
    ngx_http_lrt_spec_t  *spec;

    pool = api->request->pool;
    spec = api->specs.elts;

    if (listed && !api->split.list) {
        return ngx_http_lrt_fault(pool, &api->fault, NGX_HTTP_BAD_REQUEST,
                                  "UpstreamConfFormatError",
                                  "a list of servers is expected");
    }

    for (i = 0; i < api->specs.nelts; i++) {

        if (!(spec[i].given & NGX_HTTP_LRT_GIVEN_SERVER)) {
            return ngx_http_lrt_fault(pool, &api->fault, NGX_HTTP_BAD_REQUEST,
                                      "UpstreamConfFormatError",
                                      "missing \"server\" argument");
        }

        if (!listed && (spec[i].given & NGX_HTTP_LRT_GIVEN_ID)) {
            return ngx_http_lrt_fault(pool, &api->fault, NGX_HTTP_BAD_REQUEST,
                                      "UpstreamConfFormatError",
                                      "unknown parameter \"id\"");
        }
    }

    return ngx_http_lrt_spec_twice(pool, spec, api->specs.nelts, 0, &i,
                                   &api->fault);
}


/* tools know a server by its address: no other tier may have it */

static ngx_int_t
ngx_http_lrt_api_exists(ngx_http_lrt_api_t *api, const lrt_server_t *server)
{
    if (!ngx_http_lrt_api_has(api, server)) {
        return NGX_OK;
    }

    return ngx_http_lrt_fault(api->request->pool, &api->fault,
                              NGX_HTTP_CONFLICT, "EntryExists",
                              "server \"%*s\" exists",
                              server->name.len, server->name.data);
}


ngx_uint_t
ngx_http_lrt_api_has(ngx_http_lrt_api_t *api, const lrt_server_t *server)
{
    uint8_t        backup;
    unsigned       side;
    lrt_table_t   *t;
    lrt_server_t   s;

    t = &api->group->table;
    side = (unsigned) lrt_table_generation(t) & 1;
    s = *server;

    for (backup = 0; backup <= 1; backup++) {
        s.params.backup = backup;

        if (lrt_table_find(t, side, &s,
                           lrt_table_hash(s.sockaddr, s.socklen, backup))
            != LRT_NONE)
        {
            return 1;
        }
    }

    return 0;
}


/* what method and checks of the group have against one of the servers */

static ngx_int_t
ngx_http_lrt_api_fits(ngx_http_lrt_api_t *api)
{
    ngx_int_t             rc;
    ngx_uint_t            i;
    lrt_table_t          *t;
    const lrt_side_t     *side;
    const lrt_method_t   *method;
    ngx_http_lrt_spec_t  *spec;

    t = &api->group->table;
    spec = api->specs.elts;
    side = lrt_table_side(t, lrt_table_generation(t));
    method = lrt_method(side->policy.method);

    for (i = 0; i < api->specs.nelts; i++) {

        if (spec[i].server.params.backup && (method->takes & LRT_NO_BACKUP)) {
            return ngx_http_lrt_fault(api->request->pool, &api->fault,
                                      NGX_HTTP_BAD_REQUEST, "UpstreamNoBackup",
                                      "\"%s\" has no backup servers",
                                      method->name);
        }

        rc = ngx_http_lrt_group_probes(api->request->pool, &side->settings,
                                       spec[i].server.sockaddr, &api->fault);

        if (rc != NGX_OK) {
            return rc;
        }
    }

    return NGX_OK;
}
