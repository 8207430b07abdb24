
/*
 * Copyright (C) the ngx_http_lrt_upstream_module authors
 */


#include "lrt_match.h"
#include "lrt_header.h"

#include <string.h>


static unsigned lrt_match_status(const lrt_match_t *m, uint32_t status);
static unsigned lrt_match_value(const lrt_match_t *m,
    const lrt_match_header_t *header, const lrt_str_t *value);


const lrt_match_t  lrt_match_default = {
    .statuses = 1,
    .status = { { 200, 399 } }
};


void
lrt_match_header(const lrt_match_t *m, lrt_match_run_t *run,
    const lrt_str_t *name, const lrt_str_t *value)
{
    uint32_t  i, bit;

    for (i = 0; i < m->headers; i++) {
        bit = (uint32_t) 1 << i;

        if (!(run->met & bit)
            && lrt_header_is(name, &m->header[i].name)
            && lrt_match_value(m, &m->header[i], value))
        {
            run->met |= bit;
        }
    }
}


unsigned
lrt_match_wants_body(const lrt_match_t *m)
{
    return m->bodies != 0;
}


lrt_match_verdict_t
lrt_match_verdict(const lrt_match_t *m, const lrt_match_run_t *run,
    uint32_t status, const lrt_str_t *body)
{
    uint32_t             i;
    unsigned             met;
    lrt_match_verdict_t  verdict;

    verdict.reason = LRT_CHECK_PASSED;
    verdict.test = 0;

    if (m->statuses && !lrt_match_status(m, status)) {
        verdict.reason = LRT_CHECK_STATUS;
        return verdict;
    }

    for (i = 0; i < m->headers; i++) {
        met = run->met >> i & 1;

        if (met == m->header[i].negated) {
            verdict.reason = LRT_CHECK_HEADER_TEST;
            verdict.test = i;
            return verdict;
        }
    }

    for (i = 0; i < m->bodies; i++) {
        met = (m->regex(m->body[i].regex, body->data, body->len) != 0);

        if (met == m->body[i].negated) {
            verdict.reason = LRT_CHECK_BODY_TEST;
            verdict.test = i;
            return verdict;
        }
    }

    return verdict;
}


static unsigned
lrt_match_status(const lrt_match_t *m, uint32_t status)
{
    uint32_t  i;

    for (i = 0; i < m->statuses; i++) {
        if (status >= m->status[i].low && status <= m->status[i].high) {
            return !m->negated;
        }
    }

    return m->negated;
}


static unsigned
lrt_match_value(const lrt_match_t *m, const lrt_match_header_t *header,
    const lrt_str_t *value)
{
    switch (header->op) {

    case LRT_MATCH_EQUAL:
        return header->value.len == value->len
               && memcmp(header->value.data, value->data, value->len) == 0;

    case LRT_MATCH_REGEX:
        return m->regex(header->regex, value->data, value->len);

    default: /* LRT_MATCH_PRESENT */
        return 1;
    }
}
