
/*
 * Copyright (C) the ngx_http_lrt_upstream_module authors
 *
 * A server as people write it in JSON, for the API and for state files.  A new
 * parameter is a line here.
 */


#include "ngx_http_lrt_spec.h"


const char *const  ngx_http_lrt_forced_words[] = {
    "auto", "up", "down", NULL
};


#define ngx_http_lrt_offset(member)                                           \
    offsetof(ngx_http_lrt_spec_t, member)

#define ngx_http_lrt_param(name, kind, member, field, max, code)              \
    { name, NGX_HTTP_LRT_##kind, ngx_http_lrt_offset(server.params.member),   \
      field, max, code, NULL }


static const ngx_http_lrt_field_t  ngx_http_lrt_spec_more[] = {

    { "health", NGX_HTTP_LRT_WORD, ngx_http_lrt_offset(server.params.forced),
      LRT_F_FORCED, 0, NULL, ngx_http_lrt_forced_words },

    { NULL, 0, 0, 0, 0, NULL, NULL }
};


const ngx_http_lrt_field_t  ngx_http_lrt_spec_fields[] = {

    { "id", NGX_HTTP_LRT_UINT64, ngx_http_lrt_offset(id),
      NGX_HTTP_LRT_GIVEN_ID, NGX_HTTP_LRT_MAX_ID, NULL, NULL },
    { "server", NGX_HTTP_LRT_TEXT, ngx_http_lrt_offset(address),
      NGX_HTTP_LRT_GIVEN_SERVER, LRT_DATA_LEN, "UpstreamBadAddress", NULL },
    { "host", NGX_HTTP_LRT_TEXT, ngx_http_lrt_offset(host),
      NGX_HTTP_LRT_GIVEN_HOST, LRT_DATA_LEN, "UpstreamBadAddress", NULL },
    { "port", NGX_HTTP_LRT_UINT32, ngx_http_lrt_offset(port),
      NGX_HTTP_LRT_GIVEN_HOST, 65535, "UpstreamBadAddress", NULL },
    { "service", NGX_HTTP_LRT_TEXT, ngx_http_lrt_offset(service),
      NGX_HTTP_LRT_GIVEN_SERVICE, LRT_DATA_LEN, "UpstreamBadService", NULL },
    { "route", NGX_HTTP_LRT_TEXT, ngx_http_lrt_offset(route),
      NGX_HTTP_LRT_GIVEN_ROUTE, LRT_ROUTE_LEN, "UpstreamBadRoute", NULL },

    ngx_http_lrt_param("weight", UINT32, weight, LRT_F_WEIGHT,
                       LRT_MAX_WEIGHT, "UpstreamBadWeight"),
    ngx_http_lrt_param("max_conns", UINT32, max_conns, LRT_F_MAX_CONNS,
                       LRT_MAX_CONNS, "UpstreamBadMaxConns"),
    ngx_http_lrt_param("max_fails", UINT32, max_fails, LRT_F_MAX_FAILS,
                       LRT_MAX_FAILS, "UpstreamBadMaxFails"),
    ngx_http_lrt_param("fail_timeout", PERIOD, fail_timeout,
                       LRT_F_FAIL_TIMEOUT, LRT_MAX_TIME,
                       "UpstreamBadFailTimeout"),
    ngx_http_lrt_param("slow_start", PERIOD32, slow_start, LRT_F_SLOW_START,
                       UINT32_MAX, "UpstreamBadSlowStart"),
    ngx_http_lrt_param("backup", FLAG, backup, NGX_HTTP_LRT_GIVEN_BACKUP,
                       0, NULL),
    ngx_http_lrt_param("down", FLAG, down, LRT_F_DOWN, 0, NULL),
    ngx_http_lrt_param("drain", FLAG, drain, LRT_F_DRAIN, 0, NULL),

    { "lrt", NGX_HTTP_LRT_NESTED, 0, 0, 0, NULL,
      ngx_http_lrt_spec_more },

    { NULL, 0, 0, 0, 0, NULL, NULL }
};


ngx_int_t
ngx_http_lrt_spec_check(ngx_pool_t *pool, ngx_http_lrt_spec_t *spec,
    ngx_http_lrt_fault_t *fault)
{
    u_char         c;
    size_t         i;
    ngx_int_t      rc;
    ngx_addr_t     addr;
    lrt_server_t  *server;

    server = &spec->server;

    if (server->params.weight == 0) {
        return ngx_http_lrt_fault(pool, fault, NGX_HTTP_BAD_REQUEST,
                                  "UpstreamBadWeight",
                                  "invalid value of \"weight\"");
    }

    if (spec->service.len) {
        return ngx_http_lrt_fault(pool, fault, NGX_HTTP_BAD_REQUEST,
                                  "UpstreamConfNoResolver",
                                  "services are not resolved");
    }

    /* it goes into cookies, and into lines of a configuration */

    for (i = 0; i < spec->route.len; i++) {
        c = spec->route.data[i];

        if (c <= 0x20 || c == 0x7f || strchr(";{}\"'#$\\", c)) {
            return ngx_http_lrt_fault(pool, fault, NGX_HTTP_BAD_REQUEST,
                                      "UpstreamBadRoute",
                                      "invalid value of \"route\"");
        }
    }

    server->route.data = (char *) spec->route.data;
    server->route.len = spec->route.len;

    if (!(spec->given & NGX_HTTP_LRT_GIVEN_SERVER)) {
        return NGX_OK;
    }

    server->server.data = (char *) spec->address.data;
    server->server.len = spec->address.len;

    rc = ngx_http_lrt_spec_address(pool, &spec->address, &addr, fault);

    if (rc != NGX_OK) {
        return rc;
    }

    rc = ngx_http_lrt_server_address(pool, &addr, server);

    if (rc == NGX_DECLINED || (rc == NGX_OK && !lrt_table_fits(server))) {
        return ngx_http_lrt_fault(pool, fault, NGX_HTTP_BAD_REQUEST,
                                  "UpstreamBadAddress",
                                  "address \"%V\" is too long",
                                  &spec->address);
    }

    return rc;
}


ngx_int_t
ngx_http_lrt_spec_address(ngx_pool_t *pool, ngx_str_t *text, ngx_addr_t *addr,
    ngx_http_lrt_fault_t *fault)
{
    u_char     *p;
    ngx_url_t   u;

    /* a path may hold anything, but it has to fit into a line of a log */

    for (p = text->data; p < text->data + text->len; p++) {

        if (*p < 0x20 || *p == 0x7f) {
            return ngx_http_lrt_fault(pool, fault, NGX_HTTP_BAD_REQUEST,
                                      "UpstreamBadAddress",
                                      "control character in address \"%V\"",
                                      text);
        }
    }

    ngx_memzero(&u, sizeof(ngx_url_t));

    u.url = *text;
    u.default_port = 80;
    u.no_resolve = 1;

    if (text->len == 0 || ngx_parse_url(pool, &u) != NGX_OK) {

        /* what is wrong with an address it says, of memory it says nothing */

        if (text->len && u.err == NULL) {
            return NGX_ERROR;
        }

        return ngx_http_lrt_fault(pool, fault, NGX_HTTP_BAD_REQUEST,
                                  "UpstreamBadAddress",
                                  "invalid address \"%V\"%s%s", text,
                                  u.err ? ": " : "", u.err ? u.err : "");
    }

    /* a worker does not wait for DNS */

    if (u.naddrs == 0) {
        return ngx_http_lrt_fault(pool, fault, NGX_HTTP_BAD_REQUEST,
                                  "UpstreamConfNoResolver",
                                  "no address but a name, which is not "
                                  "resolved: \"%V\"", text);
    }

    *addr = u.addrs[0];

    return NGX_OK;
}


void
ngx_http_lrt_spec_write(ngx_http_lrt_out_t *o, const lrt_peer_t *peer,
    const lrt_detail_t *detail)
{
    const lrt_params_t  *p;

    p = &peer->entry.params;

    ngx_http_lrt_json_open(o, NULL, '{');
    ngx_http_lrt_json_uint(o, "id", peer->entry.ident - 1);
    ngx_http_lrt_json_lrt_str(o, "server", lrt_table_name(detail));
    ngx_http_lrt_json_uint(o, "weight", p->weight);
    ngx_http_lrt_json_uint(o, "max_conns", p->max_conns);
    ngx_http_lrt_json_uint(o, "max_fails", p->max_fails);
    ngx_http_lrt_json_period(o, "fail_timeout", p->fail_timeout);
    ngx_http_lrt_json_period(o, "slow_start", p->slow_start);
    ngx_http_lrt_json_lrt_str(o, "route", lrt_table_route(detail));
    ngx_http_lrt_json_bool(o, "backup", p->backup);
    ngx_http_lrt_json_bool(o, "down", p->down);

    if (p->drain) {
        ngx_http_lrt_json_bool(o, "drain", 1);
    }

    if (p->forced) {
        ngx_http_lrt_json_open(o, "lrt", '{');
        ngx_http_lrt_json_text(o, "health",
                               ngx_http_lrt_forced_words[p->forced]);
        ngx_http_lrt_json_close(o, '}');
    }

    ngx_http_lrt_json_close(o, '}');
}


/*
 * An address twice in a list: "at" is the second.  In a configuration it may be
 * a primary server and a backup as well, for tools that would be two of one
 * name.
 */

ngx_int_t
ngx_http_lrt_spec_twice(ngx_pool_t *pool, ngx_http_lrt_spec_t *spec,
    ngx_uint_t n, ngx_uint_t tiers, ngx_uint_t *at,
    ngx_http_lrt_fault_t *fault)
{
    uint32_t             *index, mask;
    ngx_uint_t            i, j;
    ngx_http_lrt_spec_t  *other;

    for (mask = 15; mask < 2 * n; mask = 2 * mask + 1) { /* void */ }

    index = ngx_pcalloc(pool, (mask + 1) * sizeof(uint32_t));
    if (index == NULL) {
        return NGX_ERROR;
    }

    for (i = 0; i < n; i++) {

        j = lrt_table_hash(spec[i].server.sockaddr, spec[i].server.socklen, 0)
            & mask;

        for ( /* void */ ; index[j]; j = (j + 1) & mask) {
            other = &spec[index[j] - 1];

            if (other->server.socklen == spec[i].server.socklen
                && (!tiers || other->server.params.backup
                              == spec[i].server.params.backup)
                && ngx_memcmp(other->server.sockaddr, spec[i].server.sockaddr,
                              spec[i].server.socklen)
                   == 0)
            {
                *at = i + 1;

                return ngx_http_lrt_fault(pool, fault, NGX_HTTP_CONFLICT,
                                          "EntryExists",
                                          "server \"%V\" is listed twice",
                                          &spec[i].address);
            }
        }

        index[j] = (uint32_t) i + 1;
    }

    return NGX_OK;
}
