
/*
 * Copyright (C) the ngx_http_lrt_upstream_module authors
 */


#include "lrt_settings.h"

#include <string.h>


static unsigned lrt_check_valid(const lrt_check_t *check);


lrt_str_t
lrt_check_string(const lrt_check_t *check, lrt_check_string_e which)
{
    uint32_t   i;
    lrt_str_t  s;

    s.data = check->data;
    s.len = check->len[which];

    for (i = 0; i < which; i++) {
        s.data += check->len[i];
    }

    return s;
}


unsigned
lrt_check_set_strings(lrt_check_t *check, const lrt_str_t s[LRT_CHECK_STRINGS])
{
    char      *p;
    size_t     rest;
    uint32_t   i;

    memset(check->data, 0, LRT_CHECK_DATA_LEN);

    p = check->data;
    rest = LRT_CHECK_DATA_LEN;

    for (i = 0; i < LRT_CHECK_STRINGS; i++) {

        if (s[i].len > rest) {
            return 0;
        }

        if (s[i].len) {
            memcpy(p, s[i].data, s[i].len);
        }

        check->len[i] = (uint16_t) s[i].len;
        p += s[i].len;
        rest -= s[i].len;
    }

    return 1;
}


unsigned
lrt_check_same(const lrt_check_t *a, const lrt_check_t *b)
{
    return a->type == b->type
           && a->port == b->port
           && a->ssl_verify == b->ssl_verify
           && memcmp(a->len, b->len, sizeof(a->len)) == 0
           && memcmp(a->data, b->data, LRT_CHECK_DATA_LEN) == 0;
}


unsigned
lrt_settings_equal(const lrt_settings_t *a, const lrt_settings_t *b)
{
    return a->slow_start == b->slow_start
           && a->panic == b->panic
           && lrt_checks_equal(a, b);
}


unsigned
lrt_settings_valid(const lrt_settings_t *s)
{
    uint32_t  i;

    if (s->slow_start > LRT_MAX_TIME
        || s->panic > LRT_MAX_PANIC
        || s->nchecks > LRT_CHECKS)
    {
        return 0;
    }

    for (i = 0; i < s->nchecks; i++) {
        if (!lrt_check_valid(&s->check[i])) {
            return 0;
        }
    }

    return 1;
}


void
lrt_settings_merge(lrt_settings_t *live, const lrt_settings_t *before,
    const lrt_settings_t *conf)
{
    if (conf->slow_start != before->slow_start) {
        live->slow_start = conf->slow_start;
    }

    if (conf->panic != before->panic) {
        live->panic = conf->panic;
    }

    if (!lrt_checks_equal(conf, before)) {
        live->nchecks = conf->nchecks;
        memcpy(live->check, conf->check, sizeof(live->check));
    }
}


static unsigned
lrt_check_valid(const lrt_check_t *check)
{
    uint32_t  i, len;

    len = 0;

    for (i = 0; i < LRT_CHECK_STRINGS; i++) {
        len += check->len[i];
    }

    return check->interval >= LRT_CHECK_MIN_INTERVAL
           && check->interval <= LRT_CHECK_MAX_INTERVAL
           && check->timeout > 0
           && check->timeout <= check->interval
           && check->keepalive <= LRT_MAX_TIME
           && check->jitter <= LRT_CHECK_MAX_JITTER
           && check->fails > 0
           && check->fails <= LRT_CHECK_MAX_RUN
           && check->passes > 0
           && check->passes <= LRT_CHECK_MAX_RUN
           && check->type < LRT_CHECK_TYPES
           && check->mandatory <= 1
           && check->persistent <= check->mandatory
           && check->ssl_verify <= 1
           && len <= LRT_CHECK_DATA_LEN;
}


/* checks that are not used are zero, and so are gaps in those that are */

unsigned
lrt_checks_equal(const lrt_settings_t *a, const lrt_settings_t *b)
{
    return a->nchecks == b->nchecks
           /* NOLINTNEXTLINE(bugprone-suspicious-memory-comparison) */
           && memcmp(a->check, b->check, sizeof(a->check)) == 0;
}
