
/*
 * Copyright (C) the ngx_http_lrt_upstream_module authors
 */


#include "lrt_params.h"
#include "lrt_method.h"

#include <string.h>


static const struct {
    uint32_t             field;
    uint32_t             offset;
    uint32_t             size;
} lrt_params_fields[] = {

#define lrt_field(name, member)                                               \
    { name, offsetof(lrt_params_t, member),                                   \
      sizeof(((lrt_params_t *) 0)->member) }

    lrt_field(LRT_F_WEIGHT, weight),
    lrt_field(LRT_F_MAX_CONNS, max_conns),
    lrt_field(LRT_F_MAX_FAILS, max_fails),
    lrt_field(LRT_F_FAIL_TIMEOUT, fail_timeout),
    lrt_field(LRT_F_SLOW_START, slow_start),
    lrt_field(LRT_F_DOWN, down),
    lrt_field(LRT_F_DRAIN, drain),
    lrt_field(LRT_F_TWINS, twins),
    lrt_field(LRT_F_FORCED, forced),

#undef lrt_field
};

#define LRT_PARAMS_FIELDS                                                     \
    (sizeof(lrt_params_fields) / sizeof(lrt_params_fields[0]))


void
lrt_params_copy(lrt_params_t *dst, const lrt_params_t *src, uint32_t fields)
{
    uint32_t  i, offset;

    for (i = 0; i < LRT_PARAMS_FIELDS; i++) {
        if (fields & lrt_params_fields[i].field) {
            offset = lrt_params_fields[i].offset;
            memcpy((char *) dst + offset, (const char *) src + offset,
                   lrt_params_fields[i].size);
        }
    }
}


uint32_t
lrt_params_diff(const lrt_params_t *a, const lrt_params_t *b)
{
    uint32_t  i, offset, fields;

    fields = 0;

    for (i = 0; i < LRT_PARAMS_FIELDS; i++) {
        offset = lrt_params_fields[i].offset;

        if (memcmp((const char *) a + offset, (const char *) b + offset,
                   lrt_params_fields[i].size)
            != 0)
        {
            fields |= lrt_params_fields[i].field;
        }
    }

    return fields;
}


unsigned
lrt_params_active(const lrt_params_t *p)
{
    return !p->down && !p->drain && p->forced != LRT_FORCED_DOWN;
}


unsigned
lrt_policy_valid(const lrt_policy_t *p)
{
    return p->method < LRT_METHODS
           && p->ipv4 <= 32
           && p->ipv6 <= 128
           && (p->balance == 0 || p->balance >= 1000);
}


unsigned
lrt_params_valid(const lrt_params_t *p)
{
    return p->weight > 0
           && p->weight <= LRT_MAX_WEIGHT
           && p->max_conns <= LRT_MAX_CONNS
           && p->max_fails <= LRT_MAX_FAILS
           && p->fail_timeout <= LRT_MAX_TIME
           && p->backup <= 1
           && p->down <= 1
           && p->drain <= 1
           && p->forced < LRT_FORCED;
}
