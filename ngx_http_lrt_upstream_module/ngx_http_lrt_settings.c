
/*
 * Copyright (C) the ngx_http_lrt_upstream_module authors
 *
 * Directives of an upstream beside its method: lrt_health_check,
 * lrt_slow_start, lrt_panic.
 */


#include "ngx_http_lrt_check.h"
#include "ngx_http_lrt_json.h"
#include "ngx_http_lrt_out.h"

#include "lrt_gone.h"


#define NGX_HTTP_LRT_CHECK_INTERVAL  5000    /* ms */
#define NGX_HTTP_LRT_CHECK_TIMEOUT   1000
#define NGX_HTTP_LRT_CHECK_JITTER    100     /* permille */
#define NGX_HTTP_LRT_CHECK_FAILS     3
#define NGX_HTTP_LRT_CHECK_PASSES    2

#define NGX_HTTP_LRT_CHECK_NAME      255     /* bytes, as TLS has it */


typedef enum {
    NGX_HTTP_LRT_CHECK_TEXT = 0,     /* "place" is an lrt_check_string_e */
    NGX_HTTP_LRT_CHECK_TIME,         /* else an offset, of uint64_t ms */
    NGX_HTTP_LRT_CHECK_COUNT16,
    NGX_HTTP_LRT_CHECK_COUNT32,
    NGX_HTTP_LRT_CHECK_SPREAD,       /* percents, uint16_t permille */
    NGX_HTTP_LRT_CHECK_TYPE,
    NGX_HTTP_LRT_CHECK_SWITCH,       /* on or off, uint8_t */
    NGX_HTTP_LRT_CHECK_WORD          /* is there or not */
} ngx_http_lrt_check_kind_e;


/* a name that ends with "=" has a value behind it */

typedef struct {
    ngx_str_t                    name;
    ngx_http_lrt_check_kind_e    kind;
    size_t                       place;
    ngx_int_t                    max;
} ngx_http_lrt_check_param_t;


static ngx_int_t ngx_http_lrt_check_live(ngx_conf_t *cf,
    ngx_http_lrt_srv_conf_t *lscf, lrt_table_t *t);
static ngx_int_t ngx_http_lrt_check_port(ngx_conf_t *cf,
    ngx_http_lrt_srv_conf_t *lscf, lrt_table_t *t, ngx_uint_t check);
static ngx_int_t ngx_http_lrt_check_param(ngx_str_t *arg, lrt_check_t *check,
    lrt_str_t *text);
static ngx_int_t ngx_http_lrt_check_value(
    const ngx_http_lrt_check_param_t *param, ngx_str_t *value,
    lrt_check_t *check, lrt_str_t *text);
static ngx_int_t ngx_http_lrt_check_text(lrt_check_string_e which,
    const lrt_str_t *s);


const char *const  ngx_http_lrt_check_types[] = {
    "http", "https", "tcp", NULL
};

const char *const  ngx_http_lrt_check_texts[] = {
    "uri", "host", "match", "ssl_name", "ssl_ca", NULL
};


#define ngx_http_lrt_is_unix(sa)                                              \
    (((const struct sockaddr *) (sa))->sa_family == AF_UNIX)

#define ngx_http_lrt_check_at(member)  offsetof(lrt_check_t, member)

static const ngx_http_lrt_check_param_t  ngx_http_lrt_check_params[] = {
    { ngx_string("uri="), NGX_HTTP_LRT_CHECK_TEXT, LRT_CHECK_URI, 0 },
    { ngx_string("host="), NGX_HTTP_LRT_CHECK_TEXT, LRT_CHECK_HOST, 0 },
    { ngx_string("match="), NGX_HTTP_LRT_CHECK_TEXT, LRT_CHECK_MATCH, 0 },
    { ngx_string("ssl_name="), NGX_HTTP_LRT_CHECK_TEXT, LRT_CHECK_SSL_NAME, 0 },
    { ngx_string("ssl_ca="), NGX_HTTP_LRT_CHECK_TEXT, LRT_CHECK_SSL_CA, 0 },
    { ngx_string("ssl_verify="), NGX_HTTP_LRT_CHECK_SWITCH,
      ngx_http_lrt_check_at(ssl_verify), 0 },
    { ngx_string("interval="), NGX_HTTP_LRT_CHECK_TIME,
      ngx_http_lrt_check_at(interval), 0 },
    { ngx_string("timeout="), NGX_HTTP_LRT_CHECK_TIME,
      ngx_http_lrt_check_at(timeout), 0 },
    { ngx_string("keepalive_time="), NGX_HTTP_LRT_CHECK_TIME,
      ngx_http_lrt_check_at(keepalive), 0 },
    { ngx_string("jitter="), NGX_HTTP_LRT_CHECK_SPREAD,
      ngx_http_lrt_check_at(jitter), 0 },
    { ngx_string("fails="), NGX_HTTP_LRT_CHECK_COUNT16,
      ngx_http_lrt_check_at(fails), LRT_CHECK_MAX_RUN },
    { ngx_string("passes="), NGX_HTTP_LRT_CHECK_COUNT16,
      ngx_http_lrt_check_at(passes), LRT_CHECK_MAX_RUN },
    { ngx_string("port="), NGX_HTTP_LRT_CHECK_COUNT16,
      ngx_http_lrt_check_at(port), 65535 },
    { ngx_string("requests="), NGX_HTTP_LRT_CHECK_COUNT32,
      ngx_http_lrt_check_at(requests), NGX_MAX_INT32_VALUE },
    { ngx_string("type="), NGX_HTTP_LRT_CHECK_TYPE,
      ngx_http_lrt_check_at(type), 0 },
    { ngx_string("mandatory"), NGX_HTTP_LRT_CHECK_WORD,
      ngx_http_lrt_check_at(mandatory), 0 },
    { ngx_string("persistent"), NGX_HTTP_LRT_CHECK_WORD,
      ngx_http_lrt_check_at(persistent), 0 },
    { ngx_null_string, 0, 0, 0 }
};


char *
ngx_http_lrt_health_check(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_lrt_srv_conf_t  *lscf = conf;

    char         *rv;
    lrt_str_t     text[LRT_CHECK_STRINGS];
    ngx_str_t    *value;
    ngx_uint_t    i, n;
    lrt_check_t   check;

    rv = ngx_http_lrt_claim_group(cf, &cmd->name, lscf);

    if (rv != NGX_CONF_OK) {
        return rv;
    }

    n = lscf->conf.settings.nchecks;

    if (n == LRT_CHECKS) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "an upstream has at most %d checks", LRT_CHECKS);
        return NGX_CONF_ERROR;
    }

    ngx_http_lrt_check_defaults(&check);
    ngx_memzero(text, sizeof(text));

    value = cf->args->elts;

    for (i = 1; i < cf->args->nelts; i++) {
        if (ngx_http_lrt_check_param(&value[i], &check, text) != NGX_OK) {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "invalid parameter \"%V\" of \"%V\"",
                               &value[i], &cmd->name);
            return NGX_CONF_ERROR;
        }
    }

    if (ngx_http_lrt_trust_add(cf, &check, text) != NGX_OK) {
        return NGX_CONF_ERROR;
    }

    if (ngx_http_lrt_check_complete(&check, text) != NGX_OK) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "the texts of a check are longer than %d bytes "
                           "together", LRT_CHECK_DATA_LEN);
        return NGX_CONF_ERROR;
    }

    lscf->conf.settings.check[n] = check;
    lscf->conf.settings.nchecks++;

    lscf->check_file[n] = cf->conf_file->file.name;
    lscf->check_line[n] = cf->conf_file->line;

    return NGX_CONF_OK;
}


char *
ngx_http_lrt_slow_start(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_lrt_srv_conf_t  *lscf = conf;

    char       *rv;
    ngx_int_t   ms;
    ngx_str_t  *value;

    if (lscf->slow_start) {
        return "is duplicate";
    }

    lscf->slow_start = 1;

    rv = ngx_http_lrt_claim_group(cf, &cmd->name, lscf);

    if (rv != NGX_CONF_OK) {
        return rv;
    }

    value = cf->args->elts;
    ms = ngx_parse_time(&value[1], 0);

    if (ms == NGX_ERROR) {
        return "has an invalid time";
    }

    if ((uint64_t) ms > LRT_MAX_TIME) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"%V\" takes at most %uLms",
                           &cmd->name, LRT_MAX_TIME);
        return NGX_CONF_ERROR;
    }

    lscf->conf.settings.slow_start = ms;

    return NGX_CONF_OK;
}


char *
ngx_http_lrt_panic(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_lrt_srv_conf_t  *lscf = conf;

    char       *rv;
    ngx_int_t   permille;
    ngx_str_t  *value;

    if (lscf->panic) {
        return "is duplicate";
    }

    lscf->panic = 1;

    rv = ngx_http_lrt_claim_group(cf, &cmd->name, lscf);

    if (rv != NGX_CONF_OK) {
        return rv;
    }

    value = cf->args->elts;

    if (ngx_strcmp(value[1].data, "off") == 0) {
        return NGX_CONF_OK;
    }

    if (ngx_http_lrt_percents(&value[1], &permille) != NGX_OK
        || permille == 0
        || permille > LRT_MAX_PANIC)
    {
        return "takes \"off\" or percents from 0.1% to 100%";
    }

    lscf->conf.settings.panic = (uint32_t) permille;

    return NGX_CONF_OK;
}


/* what lrt_match and "server" say may stand behind a check, so it is late */

ngx_int_t
ngx_http_lrt_check_settings(ngx_conf_t *cf, ngx_http_lrt_srv_conf_t *lscf)
{
    u_char           why[NGX_HTTP_LRT_CHECK_WHY];
    lrt_str_t        name;
    ngx_uint_t       i, j, runs;
    lrt_check_t     *check;
    lrt_table_t      t;
    lrt_settings_t   live;

    runs = ngx_http_lrt_zone_live(cf->cycle->old_cycle, lscf, &t);

    if (runs) {
        live = lrt_table_side(&t, lrt_table_generation(&t))->settings;

        /* it may have checks that the new configuration does not name */

        if (lrt_settings_valid(&live)) {
            ngx_http_lrt_check_trusts(cf, &live);
        }
    }

    for (i = 0; i < lscf->conf.settings.nchecks; i++) {
        check = &lscf->conf.settings.check[i];

        if (!ngx_http_lrt_check_sound(lscf, check, why)) {
            ngx_log_error(NGX_LOG_EMERG, cf->log, 0,
                          "health check of upstream \"%V\": %s in %V:%ui",
                          &lscf->upstream->host, why, &lscf->check_file[i],
                          lscf->check_line[i]);
            return NGX_ERROR;
        }

        for (j = 0; check->port && j < lscf->conf.n; j++) {
            name = lscf->conf.server[j].name;

            if (ngx_http_lrt_is_unix(lscf->conf.server[j].sockaddr)) {
                ngx_log_error(NGX_LOG_EMERG, cf->log, 0,
                              "health check of upstream \"%V\": \"port=%ud\" "
                              "for the unix socket %*s in %V:%ui",
                              &lscf->upstream->host, check->port, name.len,
                              name.data, &lscf->check_file[i],
                              lscf->check_line[i]);
                return NGX_ERROR;
            }
        }
    }

    /* a table would not take them, and the group would have no servers */

    if (!lrt_settings_valid(&lscf->conf.settings)) {
        ngx_log_error(NGX_LOG_EMERG, cf->log, 0,
                      "settings of upstream \"%V\" are out of range in %s:%ui",
                      &lscf->upstream->host, lscf->upstream->file_name,
                      lscf->upstream->line);
        return NGX_ERROR;
    }

    return runs ? ngx_http_lrt_check_live(cf, lscf, &t) : NGX_OK;
}


/* what cannot be read is in the log, and such a check will not be sound */

void
ngx_http_lrt_check_trusts(ngx_conf_t *cf, const lrt_settings_t *settings)
{
    lrt_str_t           text[LRT_CHECK_STRINGS];
    ngx_uint_t          i;
    const lrt_check_t  *check;

    ngx_memzero(text, sizeof(text));

    for (i = 0; i < settings->nchecks; i++) {
        check = &settings->check[i];

        text[LRT_CHECK_SSL_CA] = lrt_check_string(check, LRT_CHECK_SSL_CA);

        (void) ngx_http_lrt_trust_add(cf, check, text);
    }
}


/*
 * What was set at run time stays, so the new configuration has to have what
 * it needs.  Otherwise nobody could probe.
 */

static ngx_int_t
ngx_http_lrt_check_live(ngx_conf_t *cf, ngx_http_lrt_srv_conf_t *lscf,
    lrt_table_t *t)
{
    u_char          why[NGX_HTTP_LRT_CHECK_WHY];
    ngx_uint_t      i;
    lrt_settings_t  live, before, conf;

    if (ngx_http_lrt_state_is_new(lscf, t->head)) {
        return NGX_OK;
    }

    live = lrt_table_side(t, lrt_table_generation(t))->settings;
    before = t->head->conf_settings;

    conf = ngx_http_lrt_state_decides(lscf, t->head)
           ? ngx_http_lrt_state_conf(lscf, &before) : lscf->conf.settings;

    lrt_settings_merge(&live, &before, &conf);

    /* a writer was at it */

    if (!lrt_settings_valid(&live)) {
        return NGX_OK;
    }

    for (i = 0; i < live.nchecks; i++) {

        if (!ngx_http_lrt_check_sound(lscf, &live.check[i], why)) {
            ngx_log_error(NGX_LOG_EMERG, cf->log, 0,
                          "health check %ui of upstream \"%V\", which was set "
                          "at run time: %s in %s:%ui", i,
                          &lscf->upstream->host, why,
                          lscf->upstream->file_name, lscf->upstream->line);
            return NGX_ERROR;
        }

        if (live.check[i].port
            && ngx_http_lrt_check_port(cf, lscf, t, i) != NGX_OK)
        {
            return NGX_ERROR;
        }
    }

    return NGX_OK;
}


/*
 * The check with the port, or the unix socket that has none, may be of run
 * time: then neither the configuration nor the API has met them together.
 */

static ngx_int_t
ngx_http_lrt_check_port(ngx_conf_t *cf, ngx_http_lrt_srv_conf_t *lscf,
    lrt_table_t *t, ngx_uint_t check)
{
    lrt_str_t            name;
    ngx_uint_t           i;
    const lrt_entry_t   *entry;
    const lrt_server_t  *server;

    name.len = 0;

    for (i = 0; i < lscf->conf.n && name.len == 0; i++) {
        server = &lscf->conf.server[i];

        if (ngx_http_lrt_is_unix(server->sockaddr)
            && !ngx_http_lrt_state_decides(lscf, t->head)
            && !lrt_gone_find(t, lrt_table_hash(server->sockaddr,
                                                server->socklen,
                                                server->params.backup)))
        {
            name = server->name;
        }
    }

    entry = lrt_table_entries(t, lrt_table_generation(t));

    for (i = 0; i < t->capacity && name.len == 0; i++) {
        if (entry[i].ident
            && !t->detail[i].in_conf
            && ngx_http_lrt_is_unix(lrt_table_sockaddr(&t->detail[i])))
        {
            name = lrt_table_name(&t->detail[i]);
        }
    }

    if (name.len == 0) {
        return NGX_OK;
    }

    ngx_log_error(NGX_LOG_EMERG, cf->log, 0,
                  "health check %ui of upstream \"%V\" has \"port\", and the "
                  "unix socket %*s has none: one of them was set at run time "
                  "in %s:%ui", check, &lscf->upstream->host, name.len,
                  name.data, lscf->upstream->file_name, lscf->upstream->line);

    return NGX_ERROR;
}


void
ngx_http_lrt_check_defaults(lrt_check_t *check)
{
    ngx_memzero(check, sizeof(lrt_check_t));

    check->interval = NGX_HTTP_LRT_CHECK_INTERVAL;
    check->jitter = NGX_HTTP_LRT_CHECK_JITTER;
    check->fails = NGX_HTTP_LRT_CHECK_FAILS;
    check->passes = NGX_HTTP_LRT_CHECK_PASSES;
    check->ssl_verify = 1;
}


/* what follows from other parameters, and the texts */

ngx_int_t
ngx_http_lrt_check_complete(lrt_check_t *check, lrt_str_t *text)
{
    if (check->timeout == 0) {
        check->timeout = ngx_min(check->interval, NGX_HTTP_LRT_CHECK_TIMEOUT);
    }

    if (check->type != LRT_CHECK_TCP && text[LRT_CHECK_URI].len == 0) {
        text[LRT_CHECK_URI].data = "/";
        text[LRT_CHECK_URI].len = 1;
    }

    if (check->type != LRT_CHECK_HTTPS) {
        check->ssl_verify = 0;
    }

    return lrt_check_set_strings(check, text) ? NGX_OK : NGX_ERROR;
}


/* whether a check can be run in this configuration; else "why" says why not */

ngx_uint_t
ngx_http_lrt_check_sound(ngx_http_lrt_srv_conf_t *lscf,
    const lrt_check_t *check, u_char *why)
{
    u_char     *last;
    lrt_str_t   s[LRT_CHECK_STRINGS];
    ngx_str_t   match;
    ngx_uint_t  i;
#if (NGX_HTTP_SSL)
    ngx_str_t   name;
#endif

    last = why + NGX_HTTP_LRT_CHECK_WHY - 1;

#define ngx_http_lrt_unsound(...)                                             \
    do {                                                                      \
        *ngx_slprintf(why, last, __VA_ARGS__) = '\0';                         \
        return 0;                                                             \
    } while (0)

    for (i = 0; i < LRT_CHECK_STRINGS; i++) {
        s[i] = lrt_check_string(check, (lrt_check_string_e) i);

        if (ngx_http_lrt_check_text((lrt_check_string_e) i, &s[i]) != NGX_OK) {
            ngx_http_lrt_unsound("invalid \"%s\"", ngx_http_lrt_check_texts[i]);
        }
    }

    if (check->interval < LRT_CHECK_MIN_INTERVAL
        || check->interval > LRT_CHECK_MAX_INTERVAL)
    {
        ngx_http_lrt_unsound("\"interval\" must be from %dms to 7d",
                             LRT_CHECK_MIN_INTERVAL);
    }

    if (check->timeout == 0 || check->timeout > check->interval) {
        ngx_http_lrt_unsound("\"timeout\" %uLms must be more than 0 and at "
                             "most \"interval\" %uLms, or probes would overlap",
                             check->timeout, check->interval);
    }

    if (check->keepalive > LRT_MAX_TIME) {
        ngx_http_lrt_unsound("\"keepalive_time\" must be at most %uLms",
                             LRT_MAX_TIME);
    }

    if (check->persistent && !check->mandatory) {
        ngx_http_lrt_unsound("\"persistent\" needs \"mandatory\"");
    }

    if (check->type == LRT_CHECK_TCP
        && (s[LRT_CHECK_URI].len || s[LRT_CHECK_HOST].len
            || s[LRT_CHECK_MATCH].len || check->keepalive))
    {
        ngx_http_lrt_unsound("a check of type \"tcp\" sends nothing: it takes "
                             "no \"uri\", \"host\", \"match\" or "
                             "\"keepalive_time\"");
    }

    if (check->type != LRT_CHECK_HTTPS
        && (s[LRT_CHECK_SSL_NAME].len || s[LRT_CHECK_SSL_CA].len))
    {
        ngx_http_lrt_unsound("\"ssl_name\" and \"ssl_ca\" need "
                             "\"type=https\"");
    }

    match.data = (u_char *) s[LRT_CHECK_MATCH].data;
    match.len = s[LRT_CHECK_MATCH].len;

    if (match.len && ngx_http_lrt_match_find(lscf->main, &match) == NULL) {
        ngx_http_lrt_unsound("there is no \"lrt_match %V\"", &match);
    }

    if (check->type == LRT_CHECK_HTTPS) {
#if (NGX_HTTP_SSL)
        name = ngx_http_lrt_trust_called(lscf, check);

        if (name.len == 0 || name.len > NGX_HTTP_LRT_CHECK_NAME) {
            ngx_http_lrt_unsound("the name of servers in TLS has %uz bytes, "
                                 "from 1 to %d are possible: see \"ssl_name\"",
                                 name.len, NGX_HTTP_LRT_CHECK_NAME);
        }

        if (ngx_http_lrt_trust_find(lscf->main, check) == NULL) {

            if (s[LRT_CHECK_SSL_CA].len == 0) {
                ngx_http_lrt_unsound("certificates that the system trusts are "
                                     "only read for a configuration that has "
                                     "a check of \"type=https\" without "
                                     "\"ssl_ca\"");
            }

            ngx_http_lrt_unsound("certificates of \"ssl_ca\" %*s are only "
                                 "read from a configuration",
                                 s[LRT_CHECK_SSL_CA].len,
                                 s[LRT_CHECK_SSL_CA].data);
        }
#else
        ngx_http_lrt_unsound("\"type=https\" needs an nginx that was built "
                             "with --with-http_ssl_module");
#endif
    }

#undef ngx_http_lrt_unsound

    return 1;
}


/*
 * They go into a request: no byte may end a line, or a field of it.  And into
 * JSON, where only what is UTF-8 comes back as it was.
 */

static ngx_int_t
ngx_http_lrt_check_text(lrt_check_string_e which, const lrt_str_t *s)
{
    u_char  *p, *end;

    p = (u_char *) s->data;
    end = p + s->len;

    while (p < end) {

        if (*p < 0x20 || *p == 0x7f
            || (*p == ' ' && which != LRT_CHECK_SSL_CA
                && which != LRT_CHECK_MATCH))
        {
            return NGX_ERROR;
        }

        p = ngx_http_lrt_utf8_skip(p, end);

        if (p == NULL) {
            return NGX_ERROR;
        }
    }

    if (which == LRT_CHECK_URI && s->len && s->data[0] != '/') {
        return NGX_ERROR;
    }

    return NGX_OK;
}


static ngx_int_t
ngx_http_lrt_check_param(ngx_str_t *arg, lrt_check_t *check, lrt_str_t *text)
{
    ngx_str_t                          value;
    const ngx_http_lrt_check_param_t  *param;

    for (param = ngx_http_lrt_check_params; param->name.len; param++) {

        if (arg->len < param->name.len
            || ngx_strncmp(arg->data, param->name.data, param->name.len) != 0)
        {
            continue;
        }

        value.data = arg->data + param->name.len;
        value.len = arg->len - param->name.len;

        return ngx_http_lrt_check_value(param, &value, check, text);
    }

    return NGX_ERROR;
}


static ngx_int_t
ngx_http_lrt_check_value(const ngx_http_lrt_check_param_t *param,
    ngx_str_t *value, lrt_check_t *check, lrt_str_t *text)
{
    void        *p;
    ngx_int_t    n;
    ngx_uint_t   i;

    p = (char *) check + param->place;

    if (param->kind == NGX_HTTP_LRT_CHECK_WORD) {
        *(uint8_t *) p = 1;
        return value->len ? NGX_ERROR : NGX_OK;
    }

    if (value->len == 0) {
        return NGX_ERROR;
    }

    switch (param->kind) {

    case NGX_HTTP_LRT_CHECK_TEXT:
        text[param->place].data = (char *) value->data;
        text[param->place].len = value->len;
        return NGX_OK;

    case NGX_HTTP_LRT_CHECK_TYPE:

        for (i = 0; ngx_http_lrt_check_types[i]; i++) {
            if (ngx_strcmp(value->data, ngx_http_lrt_check_types[i]) == 0) {
                *(uint8_t *) p = (uint8_t) i;
                return NGX_OK;
            }
        }

        return NGX_ERROR;

    case NGX_HTTP_LRT_CHECK_SWITCH:
        n = (ngx_strcmp(value->data, "on") == 0);
        *(uint8_t *) p = (uint8_t) n;
        return (n || ngx_strcmp(value->data, "off") == 0) ? NGX_OK : NGX_ERROR;

    case NGX_HTTP_LRT_CHECK_TIME:
        n = ngx_parse_time(value, 0);
        *(uint64_t *) p = n;
        return (n == NGX_ERROR || n == 0) ? NGX_ERROR : NGX_OK;

    case NGX_HTTP_LRT_CHECK_SPREAD:

        if (ngx_http_lrt_percents(value, &n) != NGX_OK
            || n > LRT_CHECK_MAX_JITTER)
        {
            return NGX_ERROR;
        }

        *(uint16_t *) p = (uint16_t) n;
        return NGX_OK;

    default: /* COUNT16, COUNT32 */
        n = ngx_atoi(value->data, value->len);

        if (n == NGX_ERROR || n == 0 || n > param->max) {
            return NGX_ERROR;
        }

        if (param->kind == NGX_HTTP_LRT_CHECK_COUNT16) {
            *(uint16_t *) p = (uint16_t) n;

        } else {
            *(uint32_t *) p = (uint32_t) n;
        }

        return NGX_OK;
    }
}
