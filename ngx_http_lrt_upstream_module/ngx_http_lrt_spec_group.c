
/*
 * Copyright (C) the ngx_http_lrt_upstream_module authors
 *
 * What holds for a group, as people write it in JSON, for the API and for
 * state files.  A new parameter of a check is a line here, and one in
 * ngx_http_lrt_settings.c for the directive.
 */


#include "ngx_http_lrt_check.h"
#include "ngx_http_lrt_spec.h"


#define NGX_HTTP_LRT_BAD_CHECK      "UpstreamBadHealthCheck"

#define NGX_HTTP_LRT_GIVEN_TIMEOUT  0x01


static void ngx_http_lrt_check_begin(void *element);
static ngx_int_t ngx_http_lrt_check_done(ngx_pool_t *pool,
    ngx_http_lrt_check_spec_t *spec, lrt_check_t *check,
    ngx_http_lrt_fault_t *fault);
static void ngx_http_lrt_check_spec(ngx_http_lrt_check_spec_t *spec,
    const lrt_check_t *check);
static void ngx_http_lrt_check_usual(ngx_http_lrt_check_spec_t *spec,
    const lrt_check_t *check);
static uint64_t ngx_http_lrt_check_number(const ngx_http_lrt_field_t *field,
    const ngx_http_lrt_check_spec_t *spec);
static ngx_str_t *ngx_http_lrt_check_string(const ngx_http_lrt_field_t *field,
    const ngx_http_lrt_check_spec_t *spec);
static void ngx_http_lrt_check_write(ngx_http_lrt_out_t *o,
    const lrt_check_t *check);
static u_char *ngx_http_lrt_check_value_text(u_char *p, u_char *last,
    const ngx_http_lrt_field_t *field, const ngx_http_lrt_check_spec_t *spec);
static u_char *ngx_http_lrt_check_quote(u_char *p, u_char *last,
    const char *name, const ngx_str_t *value);


#define ngx_http_lrt_check_field(name, kind, member, max)                     \
    { name, NGX_HTTP_LRT_##kind,                                              \
      offsetof(ngx_http_lrt_check_spec_t, check.member), 0, max,              \
      NGX_HTTP_LRT_BAD_CHECK, NULL }

#define ngx_http_lrt_check_text(name, which)                                  \
    { name, NGX_HTTP_LRT_TEXT,                                                \
      offsetof(ngx_http_lrt_check_spec_t, text)                               \
      + which * sizeof(ngx_str_t), 0, LRT_CHECK_DATA_LEN,                     \
      NGX_HTTP_LRT_BAD_CHECK, NULL }


static const ngx_http_lrt_field_t  ngx_http_lrt_check_fields[] = {

    { "type", NGX_HTTP_LRT_WORD,
      offsetof(ngx_http_lrt_check_spec_t, check.type), 0, 0,
      NGX_HTTP_LRT_BAD_CHECK, ngx_http_lrt_check_types },

    ngx_http_lrt_check_text("uri", LRT_CHECK_URI),
    ngx_http_lrt_check_text("host", LRT_CHECK_HOST),
    ngx_http_lrt_check_field("port", UINT16, port, 65535),
    ngx_http_lrt_check_field("interval", PERIOD, interval, LRT_MAX_TIME),

    { "timeout", NGX_HTTP_LRT_PERIOD,
      offsetof(ngx_http_lrt_check_spec_t, check.timeout),
      NGX_HTTP_LRT_GIVEN_TIMEOUT, LRT_MAX_TIME, NGX_HTTP_LRT_BAD_CHECK, NULL },

    ngx_http_lrt_check_field("jitter", PERCENTS, jitter, LRT_CHECK_MAX_JITTER),
    ngx_http_lrt_check_field("fails", UINT16, fails, LRT_CHECK_MAX_RUN),
    ngx_http_lrt_check_field("passes", UINT16, passes, LRT_CHECK_MAX_RUN),
    ngx_http_lrt_check_text("match", LRT_CHECK_MATCH),
    ngx_http_lrt_check_field("mandatory", FLAG, mandatory, 0),
    ngx_http_lrt_check_field("persistent", FLAG, persistent, 0),
    ngx_http_lrt_check_field("keepalive_time", PERIOD, keepalive,
                             LRT_MAX_TIME),
    ngx_http_lrt_check_field("requests", UINT32, requests,
                             NGX_MAX_INT32_VALUE),
    ngx_http_lrt_check_text("ssl_name", LRT_CHECK_SSL_NAME),
    ngx_http_lrt_check_text("ssl_ca", LRT_CHECK_SSL_CA),
    ngx_http_lrt_check_field("ssl_verify", FLAG, ssl_verify, 0),

    { NULL, 0, 0, 0, 0, NULL, NULL }
};


/* numbers are those that logs and the API have */

const ngx_http_lrt_list_t  ngx_http_lrt_check_list = {
    "check",
    0,
    ngx_http_lrt_check_fields,
    offsetof(ngx_http_lrt_check_spec_t, given),
    0,
    0,
    ngx_http_lrt_check_begin
};


const ngx_http_lrt_field_t  ngx_http_lrt_group_fields[] = {

    { "method", NGX_HTTP_LRT_TEXT, offsetof(ngx_http_lrt_group_spec_t, method),
      NGX_HTTP_LRT_GIVEN_METHOD, 256, NULL, NULL },
    { "slow_start", NGX_HTTP_LRT_PERIOD,
      offsetof(ngx_http_lrt_group_spec_t, slow_start),
      NGX_HTTP_LRT_GIVEN_SLOW_START, LRT_MAX_TIME, "UpstreamBadSlowStart",
      NULL },
    { "panic", NGX_HTTP_LRT_PERCENTS,
      offsetof(ngx_http_lrt_group_spec_t, panic),
      NGX_HTTP_LRT_GIVEN_PANIC, LRT_MAX_PANIC, "UpstreamBadPanic", NULL },
    { "health_checks", NGX_HTTP_LRT_LIST,
      offsetof(ngx_http_lrt_group_spec_t, checks),
      NGX_HTTP_LRT_GIVEN_CHECKS, LRT_CHECKS, NGX_HTTP_LRT_BAD_CHECK,
      &ngx_http_lrt_check_list },

    { NULL, 0, 0, 0, 0, NULL, NULL }
};


ngx_int_t
ngx_http_lrt_group_begin(ngx_pool_t *pool, ngx_http_lrt_group_spec_t *spec)
{
    ngx_memzero(spec, sizeof(ngx_http_lrt_group_spec_t));

    return ngx_array_init(&spec->checks, pool, 1,
                          sizeof(ngx_http_lrt_check_spec_t));
}


static void
ngx_http_lrt_check_begin(void *element)
{
    ngx_http_lrt_check_spec_t  *spec = element;

    ngx_memzero(spec, sizeof(ngx_http_lrt_check_spec_t));
    ngx_http_lrt_check_defaults(&spec->check);
}


ngx_int_t
ngx_http_lrt_group_settings(ngx_pool_t *pool, ngx_http_lrt_group_spec_t *spec,
    lrt_settings_t *settings, ngx_http_lrt_fault_t *fault)
{
    ngx_int_t                   rc;
    ngx_uint_t                  i;
    ngx_http_lrt_check_spec_t  *check;

    if (spec->given & NGX_HTTP_LRT_GIVEN_SLOW_START) {
        settings->slow_start = spec->slow_start;
    }

    if (spec->given & NGX_HTTP_LRT_GIVEN_PANIC) {
        settings->panic = spec->panic;
    }

    if (!(spec->given & NGX_HTTP_LRT_GIVEN_CHECKS)) {
        return NGX_OK;
    }

    check = spec->checks.elts;

    settings->nchecks = (uint32_t) spec->checks.nelts;
    ngx_memzero(settings->check, sizeof(settings->check));

    for (i = 0; i < spec->checks.nelts; i++) {
        rc = ngx_http_lrt_check_done(pool, &check[i], &settings->check[i],
                                     fault);

        if (rc != NGX_OK) {
            fault->list = &ngx_http_lrt_check_list;
            fault->element = i + 1;
            return rc;
        }
    }

    return NGX_OK;
}


static ngx_int_t
ngx_http_lrt_check_done(ngx_pool_t *pool, ngx_http_lrt_check_spec_t *spec,
    lrt_check_t *check, ngx_http_lrt_fault_t *fault)
{
    lrt_str_t    text[LRT_CHECK_STRINGS];
    ngx_str_t   *ca;
    ngx_uint_t   i;
    const char  *zero;

    *check = spec->check;

    zero = (check->fails == 0) ? "fails"
           : (check->passes == 0) ? "passes"
           : (check->timeout == 0
              && (spec->given & NGX_HTTP_LRT_GIVEN_TIMEOUT)) ? "timeout"
           : NULL;

    if (zero) {
        return ngx_http_lrt_fault(pool, fault, NGX_HTTP_BAD_REQUEST,
                                  NGX_HTTP_LRT_BAD_CHECK,
                                  "invalid value of \"%s\"", zero);
    }

    /* certificates are known by the whole path */

    ca = &spec->text[LRT_CHECK_SSL_CA];

    if (ca->len
        && ngx_get_full_name(pool, (ngx_str_t *) &ngx_cycle->conf_prefix, ca)
           != NGX_OK)
    {
        return NGX_ERROR;
    }

    for (i = 0; i < LRT_CHECK_STRINGS; i++) {
        text[i].data = (char *) spec->text[i].data;
        text[i].len = spec->text[i].len;
    }

    if (ngx_http_lrt_check_complete(check, text) != NGX_OK) {
        return ngx_http_lrt_fault(pool, fault, NGX_HTTP_BAD_REQUEST,
                                  NGX_HTTP_LRT_BAD_CHECK,
                                  "the texts are longer than %d bytes "
                                  "together", LRT_CHECK_DATA_LEN);
    }

    return NGX_OK;
}


ngx_int_t
ngx_http_lrt_group_sound(ngx_pool_t *pool, ngx_http_lrt_srv_conf_t *lscf,
    const lrt_settings_t *settings, ngx_http_lrt_fault_t *fault)
{
    u_char      why[NGX_HTTP_LRT_CHECK_WHY];
    ngx_uint_t  i;

    for (i = 0; i < settings->nchecks; i++) {

        if (!ngx_http_lrt_check_sound(lscf, &settings->check[i], why)) {
            fault->list = &ngx_http_lrt_check_list;
            fault->element = i + 1;

            return ngx_http_lrt_fault(pool, fault, NGX_HTTP_BAD_REQUEST,
                                      NGX_HTTP_LRT_BAD_CHECK, "%s", why);
        }
    }

    return NGX_OK;
}


ngx_int_t
ngx_http_lrt_group_probes(ngx_pool_t *pool, const lrt_settings_t *settings,
    const void *sockaddr, ngx_http_lrt_fault_t *fault)
{
    ngx_uint_t              i;
    const struct sockaddr  *sa;

    sa = sockaddr;

    for (i = 0; i < settings->nchecks && sa->sa_family == AF_UNIX; i++) {

        if (settings->check[i].port) {
            return ngx_http_lrt_fault(pool, fault, NGX_HTTP_BAD_REQUEST,
                                      "UpstreamCheckPort",
                                      "\"port\" %ud of check %ui cannot be "
                                      "that of a unix socket",
                                      (unsigned) settings->check[i].port, i);
        }
    }

    return NGX_OK;
}


void
ngx_http_lrt_group_write(ngx_http_lrt_out_t *o, const lrt_settings_t *settings)
{
    u_char      buf[NGX_INT64_LEN + sizeof(".0%")];
    ngx_str_t   s;
    ngx_uint_t  i;

    s.data = buf;
    s.len = ngx_http_lrt_panic_text(buf, buf + sizeof(buf), settings->panic)
            - buf;

    ngx_http_lrt_json_period(o, "slow_start", settings->slow_start);
    ngx_http_lrt_json_str(o, "panic", &s);
    ngx_http_lrt_json_open(o, "health_checks", '[');

    for (i = 0; i < settings->nchecks; i++) {
        ngx_http_lrt_check_write(o, &settings->check[i]);
    }

    ngx_http_lrt_json_close(o, ']');
}


u_char *
ngx_http_lrt_panic_text(u_char *p, u_char *last, uint32_t permille)
{
    return permille ? ngx_http_lrt_percents_text(p, last, permille)
                    : ngx_slprintf(p, last, "off");
}


/* what is 0, or empty, is left out unless it means something then */

static void
ngx_http_lrt_check_write(ngx_http_lrt_out_t *o, const lrt_check_t *check)
{
    u_char                      buf[NGX_INT64_LEN + sizeof("ms")];
    uint64_t                    n;
    ngx_str_t                   s;
    const ngx_http_lrt_field_t *field;
    ngx_http_lrt_check_spec_t   spec, usual;

    ngx_http_lrt_check_spec(&spec, check);
    ngx_http_lrt_check_usual(&usual, check);

    ngx_http_lrt_json_open(o, NULL, '{');

    for (field = ngx_http_lrt_check_fields; field->name; field++) {

        if (field->kind == NGX_HTTP_LRT_TEXT) {
            if (ngx_http_lrt_check_string(field, &spec)->len) {
                ngx_http_lrt_json_str(o, field->name,
                                      ngx_http_lrt_check_string(field, &spec));
            }

            continue;
        }

        n = ngx_http_lrt_check_number(field, &spec);

        if (n == 0
            && field->kind != NGX_HTTP_LRT_WORD
            && ngx_http_lrt_check_number(field, &usual) == 0)
        {
            continue;
        }

        switch (field->kind) {

        case NGX_HTTP_LRT_FLAG:
            ngx_http_lrt_json_bool(o, field->name, n != 0);
            break;

        case NGX_HTTP_LRT_UINT16:
        case NGX_HTTP_LRT_UINT32:
            ngx_http_lrt_json_uint(o, field->name, n);
            break;

        default: /* WORD, PERIOD, PERCENTS */
            s.data = buf;
            s.len = ngx_http_lrt_check_value_text(buf, buf + sizeof(buf),
                                                  field, &spec)
                    - buf;
            ngx_http_lrt_json_str(o, field->name, &s);
            break;
        }
    }

    ngx_http_lrt_json_close(o, '}');
}


/* what is as it would be anyway is left out */

u_char *
ngx_http_lrt_check_params_text(u_char *p, u_char *last,
    const lrt_check_t *check)
{
    ngx_str_t                  *s, *other;
    const ngx_http_lrt_field_t *field;
    ngx_http_lrt_check_spec_t   spec, usual;

    ngx_http_lrt_check_spec(&spec, check);
    ngx_http_lrt_check_usual(&usual, check);

    for (field = ngx_http_lrt_check_fields; field->name; field++) {

        if (field->kind == NGX_HTTP_LRT_TEXT) {
            s = ngx_http_lrt_check_string(field, &spec);
            other = ngx_http_lrt_check_string(field, &usual);

            if (s->len
                && (s->len != other->len
                    || ngx_memcmp(s->data, other->data, s->len) != 0))
            {
                p = ngx_http_lrt_check_quote(p, last, field->name, s);
            }

            continue;
        }

        if (ngx_http_lrt_check_number(field, &spec)
            == ngx_http_lrt_check_number(field, &usual))
        {
            continue;
        }

        p = ngx_slprintf(p, last, " %s", field->name);

        if (field->kind != NGX_HTTP_LRT_FLAG) {
            p = ngx_slprintf(p, last, "=");
            p = ngx_http_lrt_check_value_text(p, last, field, &spec);

        } else if (ngx_http_lrt_check_number(field, &spec) == 0) {
            p = ngx_slprintf(p, last, "=off");
        }
    }

    return p;
}


/* texts stay where they are */

static void
ngx_http_lrt_check_spec(ngx_http_lrt_check_spec_t *spec,
    const lrt_check_t *check)
{
    lrt_str_t   s;
    ngx_uint_t  i;

    spec->check = *check;

    for (i = 0; i < LRT_CHECK_STRINGS; i++) {
        s = lrt_check_string(check, (lrt_check_string_e) i);

        spec->text[i].data = (u_char *) s.data;
        spec->text[i].len = s.len;
    }
}


/* the check that a directive makes which names but the type and the interval */

static void
ngx_http_lrt_check_usual(ngx_http_lrt_check_spec_t *spec,
    const lrt_check_t *check)
{
    uint8_t      type;
    uint64_t     interval;
    lrt_str_t    text[LRT_CHECK_STRINGS];
    ngx_uint_t   i;

    ngx_memzero(text, sizeof(text));
    ngx_http_lrt_check_defaults(&spec->check);

    type = spec->check.type;
    interval = spec->check.interval;

    spec->check.type = check->type;
    spec->check.interval = check->interval;

    (void) ngx_http_lrt_check_complete(&spec->check, text);

    spec->check.type = type;
    spec->check.interval = interval;

    for (i = 0; i < LRT_CHECK_STRINGS; i++) {
        spec->text[i].data = (u_char *) text[i].data;
        spec->text[i].len = text[i].len;
    }
}


static uint64_t
ngx_http_lrt_check_number(const ngx_http_lrt_field_t *field,
    const ngx_http_lrt_check_spec_t *spec)
{
    const char  *p;

    p = (const char *) spec + field->offset;

    switch (field->kind) {

    case NGX_HTTP_LRT_FLAG:
    case NGX_HTTP_LRT_WORD:
        return *(const uint8_t *) p;

    case NGX_HTTP_LRT_UINT16:
    case NGX_HTTP_LRT_PERCENTS:
        return *(const uint16_t *) p;

    case NGX_HTTP_LRT_UINT32:
        return *(const uint32_t *) p;

    default: /* PERIOD */
        return *(const uint64_t *) p;
    }
}


static ngx_str_t *
ngx_http_lrt_check_string(const ngx_http_lrt_field_t *field,
    const ngx_http_lrt_check_spec_t *spec)
{
    return (ngx_str_t *) ((char *) spec + field->offset);
}


static u_char *
ngx_http_lrt_check_value_text(u_char *p, u_char *last,
    const ngx_http_lrt_field_t *field, const ngx_http_lrt_check_spec_t *spec)
{
    uint64_t            n;
    const char *const  *words;

    n = ngx_http_lrt_check_number(field, spec);

    switch (field->kind) {

    case NGX_HTTP_LRT_WORD:
        words = field->words;
        return ngx_slprintf(p, last, "%s", words[n]);

    case NGX_HTTP_LRT_PERIOD:
        return ngx_http_lrt_period_text(p, last, n);

    case NGX_HTTP_LRT_PERCENTS:
        return ngx_http_lrt_percents_text(p, last, n);

    default: /* UINT16, UINT32 */
        return ngx_slprintf(p, last, "%uL", n);
    }
}


static u_char *
ngx_http_lrt_check_quote(u_char *p, u_char *last, const char *name,
    const ngx_str_t *value)
{
    size_t      i;
    ngx_uint_t  quote;

    quote = 0;

    for (i = 0; i < value->len; i++) {
        quote |= (strchr(" ;{}\"'#$\\", value->data[i]) != NULL);
    }

    p = ngx_slprintf(p, last, quote ? " \"%s=" : " %s=", name);

    for (i = 0; i < value->len; i++) {

        if (value->data[i] == '"' || value->data[i] == '\\') {
            p = ngx_slprintf(p, last, "\\");
        }

        p = ngx_slprintf(p, last, "%c", value->data[i]);
    }

    return ngx_slprintf(p, last, quote ? "\"" : "");
}
