
/*
 * Copyright (C) the ngx_http_lrt_upstream_module authors
 *
 * The writers' lock, a commit, what may refuse it, and a line in the log.
 */


#include "ngx_http_lrt_api.h"


/* a writer holds the lock for milliseconds at most */

#define NGX_HTTP_LRT_API_LOCK_STEP  2        /* ms */
#define NGX_HTTP_LRT_API_LOCK_WAIT  2000
#define NGX_HTTP_LRT_API_STATE_STEP 20


static ngx_int_t ngx_http_lrt_api_try(ngx_http_lrt_api_t *api);
static ngx_int_t ngx_http_lrt_api_state(ngx_http_lrt_api_t *api, uint64_t now);


ngx_int_t
ngx_http_lrt_api_locked(ngx_http_lrt_api_t *api, ngx_uint_t n,
    ngx_http_lrt_api_commit_pt commit)
{
    api->deadline = ngx_http_lrt_now() / 1000 + NGX_HTTP_LRT_API_LOCK_WAIT;
    api->changes = ngx_pcalloc(api->request->pool,
                               (n + 1) * sizeof(lrt_change_t));

    /* what has come into force has to be answered */

    if (api->changes == NULL
        || ngx_http_lrt_out_reserve(&api->out) != NGX_OK)
    {
        return NGX_ERROR;
    }

    api->commit = commit;

    return ngx_http_lrt_api_next(api, ngx_http_lrt_api_try);
}


static ngx_int_t
ngx_http_lrt_api_try(ngx_http_lrt_api_t *api)
{
    uint64_t          now;
    ngx_int_t         rc;
    lrt_change_set_t  set;

    now = ngx_http_lrt_now() / 1000;

    if (!ngx_http_lrt_trylock(api->group)) {

        if (now < api->deadline && api->group->table.head) {
            api->wait = NGX_HTTP_LRT_API_LOCK_STEP;
            return NGX_AGAIN;
        }

        return ngx_http_lrt_fault(api->request->pool, &api->fault,
                                  NGX_HTTP_SERVICE_UNAVAILABLE,
                                  "UpstreamLocked",
                                  "another change takes too long");
    }

    ngx_memzero(&set, sizeof(lrt_change_set_t));

    set.change = api->changes;
    set.dry = api->dry;

    /* with a state file nothing that was removed comes back by itself */

    set.from_conf = (api->group->state != NULL);

    rc = ngx_http_lrt_api_expected(api, &set.expected);

    if (rc == NGX_OK) {
        rc = ngx_http_lrt_api_state(api, now);
    }

    if (rc == NGX_OK) {
        rc = api->commit(api, &set);
    }

    ngx_http_lrt_unlock(api->group);

    return rc;
}


ngx_int_t
ngx_http_lrt_api_commit(ngx_http_lrt_api_t *api, lrt_change_set_t *set)
{
    lrt_rc_t        rc;
    lrt_change_t   *c;
    ngx_pool_t     *pool;

    pool = api->request->pool;

    /* a list of nothing is no change */

    if (set->n == 0) {
        api->tag = lrt_table_generation(&api->group->table);
        return NGX_OK;
    }

    rc = lrt_change_commit(&api->group->table, set, ngx_http_lrt_now() / 1000);

    c = &set->change[set->refused];

    switch (rc) {

    case LRT_OK:
        api->tag = set->generation;
        return NGX_OK;

    case LRT_FULL:
        return ngx_http_lrt_api_full(api, set->n);

    case LRT_EXISTS:
        return ngx_http_lrt_fault(pool, &api->fault, NGX_HTTP_CONFLICT,
                                  "EntryExists", "server \"%*s\" exists",
                                  c->server.name.len, c->server.name.data);

    case LRT_MISSING:
        return ngx_http_lrt_api_not_found(api);

    case LRT_SUPERSEDED:
        return ngx_http_lrt_fault(pool, &api->fault,
                                  NGX_HTTP_SERVICE_UNAVAILABLE,
                                  "UpstreamReplaced",
                                  "the zone of the group was replaced, "
                                  "ask a worker of the new configuration");

    default: /* LRT_INVALID */
        return ngx_http_lrt_fault(pool, &api->fault, NGX_HTTP_BAD_REQUEST,
                                  "UpstreamConfFormatError",
                                  "parameters of server \"%*s\" are out of "
                                  "range", c->server.name.len,
                                  c->server.name.data);
    }
}


/*
 * A file that somebody is about to edit is not to be overwritten; and what
 * another instance of nginx writes would take a change back that is made here.
 */

static ngx_int_t
ngx_http_lrt_api_state(ngx_http_lrt_api_t *api, uint64_t now)
{
    lrt_head_t    *head;
    lrt_writer_e   writer;

    head = api->group->table.head;

    if (api->group->state == NULL || lrt_load(&head->superseded)) {
        return NGX_OK;
    }

    if (lrt_load(&head->state_bad)) {
        return ngx_http_lrt_fault(api->request->pool, &api->fault,
                                  NGX_HTTP_CONFLICT, "StateInvalid",
                                  "state file \"%V\" has to be mended first: "
                                  "%s", ngx_http_lrt_state_path(api->group),
                                  head->state_why);
    }

    writer = (lrt_writer_e) lrt_load(&head->state_writer);

    if (writer == LRT_WRITER_SELF) {
        return NGX_OK;
    }

    /* right after a start a worker is about to find out */

    if (writer == LRT_WRITER_UNKNOWN && now < api->deadline) {
        api->wait = NGX_HTTP_LRT_API_STATE_STEP;
        return NGX_AGAIN;
    }

    return ngx_http_lrt_fault(api->request->pool, &api->fault,
                              NGX_HTTP_SERVICE_UNAVAILABLE, "StateElsewhere",
                              "state file \"%V\" is written by another "
                              "instance of nginx, ask that one, or again "
                              "when it has ended",
                              ngx_http_lrt_state_path(api->group));
}


ngx_int_t
ngx_http_lrt_api_full(ngx_http_lrt_api_t *api, uint32_t added)
{
    uint32_t      room;
    lrt_table_t  *t;

    t = &api->group->table;
    room = lrt_change_room(t);

    return ngx_http_lrt_fault(api->request->pool, &api->fault,
                              NGX_HTTP_BAD_REQUEST, "UpstreamOutOfMemory",
                              "zone \"%V\" has room for %uD more servers, "
                              "with %uzk there would be room for %uD",
                              &api->group->zone_name, room,
                              ngx_http_lrt_zone_need(api->group,
                                             t->capacity - room + added)
                              / 1024,
                              added);
}


void
ngx_http_lrt_api_log(ngx_http_lrt_api_t *api, const lrt_change_set_t *set,
    const char *fmt, ...)
{
    u_char               buf[NGX_MAX_ERROR_STR], *p;
    va_list              args;
    ngx_str_t            user;
    ngx_http_request_t  *r;

    if (api->dry) {
        return;
    }

    r = api->request;

    /* where no password was asked for, anything may stand there */

    user.data = r->headers_in.user.data;

    for (user.len = 0; user.len < r->headers_in.user.len; user.len++) {
        if (user.data[user.len] < 0x20 || user.data[user.len] == 0x7f) {
            break;
        }
    }

    va_start(args, fmt);
    p = ngx_vslprintf(buf, buf + sizeof(buf), fmt, args);
    va_end(args);

    ngx_log_error(NGX_LOG_NOTICE, r->connection->log, 0,
                  "upstream \"%V\": %*s; generation %uL%s%V",
                  &api->group->upstream->host, (size_t) (p - buf), buf,
                  set->generation, user.len ? ", by user " : "", &user);
}


u_char *
ngx_http_lrt_api_log_params(u_char *p, u_char *last, const lrt_params_t *from,
    const lrt_params_t *to, uint32_t fields)
{
#define ngx_http_lrt_log_value(name, field, format, from_value, to_value)     \
    if (fields & field) {                                                     \
        p = ngx_slprintf(p, last, ", " name);                                 \
        p = from ? ngx_slprintf(p, last, " " format " ->", from_value) : p;   \
        p = ngx_slprintf(p, last, " " format, to_value);                      \
    }

#define ngx_http_lrt_log_param(name, field, member)                           \
    ngx_http_lrt_log_value(name, field, "%uL", (uint64_t) from->member,       \
                           (uint64_t) to->member)

    ngx_http_lrt_log_param("weight", LRT_F_WEIGHT, weight)
    ngx_http_lrt_log_param("max_conns", LRT_F_MAX_CONNS, max_conns)
    ngx_http_lrt_log_param("max_fails", LRT_F_MAX_FAILS, max_fails)
    ngx_http_lrt_log_param("fail_timeout ms", LRT_F_FAIL_TIMEOUT, fail_timeout)
    ngx_http_lrt_log_param("slow_start ms", LRT_F_SLOW_START, slow_start)
    ngx_http_lrt_log_param("down", LRT_F_DOWN, down)
    ngx_http_lrt_log_param("drain", LRT_F_DRAIN, drain)
    ngx_http_lrt_log_value("health", LRT_F_FORCED, "%s",
                           ngx_http_lrt_forced_words[from->forced],
                           ngx_http_lrt_forced_words[to->forced])

#undef ngx_http_lrt_log_param
#undef ngx_http_lrt_log_value

    return p;
}
