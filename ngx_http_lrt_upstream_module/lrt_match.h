
/*
 * Copyright (C) the ngx_http_lrt_upstream_module authors
 *
 * What the response to a health probe has to be like: tests of its status, its
 * headers and the beginning of its body.
 *
 * A header may come several times.  A test holds if one of the values has what
 * it asks for; a negated test holds if none has it, and so also if there is no
 * such header at all.
 */


#ifndef _LRT_MATCH_H_INCLUDED_
#define _LRT_MATCH_H_INCLUDED_


#include "lrt_check_reason.h"
#include "lrt_types.h"


#define LRT_MATCH_STATUSES   32
#define LRT_MATCH_HEADERS    32              /* bits of lrt_match_run_t */
#define LRT_MATCH_BODIES     8


/* whether a regular expression matches; who knows them is above this layer */

typedef unsigned (*lrt_match_regex_pt)(void *regex, const char *data,
    size_t len);


typedef struct {
    uint16_t             low;
    uint16_t             high;
} lrt_match_status_t;


typedef enum {
    LRT_MATCH_PRESENT = 0,
    LRT_MATCH_EQUAL,
    LRT_MATCH_REGEX
} lrt_match_op_e;


typedef struct {
    lrt_match_op_e       op;
    unsigned             negated:1;
    lrt_str_t            name;
    lrt_str_t            value;          /* LRT_MATCH_EQUAL, byte by byte */
    void                *regex;
} lrt_match_header_t;


typedef struct {
    unsigned             negated:1;
    void                *regex;
} lrt_match_body_t;


/* all tests have to hold; without one of its status any will do */

typedef struct {
    lrt_match_regex_pt   regex;

    uint32_t             statuses;
    uint32_t             headers;
    uint32_t             bodies;

    unsigned             negated:1;      /* none of the statuses */
    lrt_match_status_t   status[LRT_MATCH_STATUSES];
    lrt_match_header_t   header[LRT_MATCH_HEADERS];
    lrt_match_body_t     body[LRT_MATCH_BODIES];
} lrt_match_t;


/* one response; zeroes are the start */

typedef struct {
    uint32_t             met;            /* headers that were seen, as bits */
} lrt_match_run_t;


typedef struct {
    lrt_check_reason_e   reason;
    uint32_t             test;           /* of its kind, from 0 */
} lrt_match_verdict_t;


/* where nothing else was said: status 200-399 */

extern const lrt_match_t  lrt_match_default;


/* with each header as it comes */

void lrt_match_header(const lrt_match_t *m, lrt_match_run_t *run,
    const lrt_str_t *name, const lrt_str_t *value);

/* the verdict will need the body */

unsigned lrt_match_wants_body(const lrt_match_t *m);

/* at the end: the first test that fails */

lrt_match_verdict_t lrt_match_verdict(const lrt_match_t *m,
    const lrt_match_run_t *run, uint32_t status, const lrt_str_t *body);


#endif /* _LRT_MATCH_H_INCLUDED_ */
