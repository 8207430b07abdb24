
/*
 * Copyright (C) the ngx_http_lrt_upstream_module authors
 *
 * Counters of one server.  They only grow; every worker adds to them without
 * a lock, so a reader may see one request in some of them and not yet in
 * others.
 */


#ifndef _LRT_STATS_H_INCLUDED_
#define _LRT_STATS_H_INCLUDED_


#include "lrt_hist.h"


#define LRT_CODES            10


/*
 * What nearly every attempt changes comes first: with what stands before it in
 * a slot (see lrt_detail_t) it fills one line of the cache.
 */

typedef struct {
    uint64_t             requests;           /* attempts sent here */
    uint64_t             selected;           /* wall clock, ms */
    uint64_t             sent;
    uint64_t             received;
    uint64_t             time_sum;           /* us, of what is in "times" */
    uint32_t             header_mean;        /* us, moving */
    uint32_t             response_mean;
    uint64_t             codes[LRT_CODES];   /* status << 48 | count */
    uint64_t             rest[5];            /* 1xx .. 5xx not in "codes" */
    uint64_t             fails;
    uint64_t             unavail;            /* times shut out by max_fails */
    uint64_t             times[LRT_HIST_BUCKETS];
} lrt_stats_t;


/* how one attempt ended */

typedef struct {
    uint64_t             sent;
    uint64_t             received;
    uint64_t             time;               /* us, pick to last byte */
    uint64_t             header;             /* us, request to header; or 0 */
    uint64_t             last_byte;         /* us, request to last byte; or 0 */
    uint32_t             status;             /* 0: no response */
    unsigned             failed:1;
    unsigned             complete:1;         /* "time" is that of a response */
} lrt_outcome_t;


/* the server did not do what was asked */

#define lrt_outcome_failed(out)                                               \
    ((out)->failed || (out)->status >= 500 || (out)->status == 429)


#define lrt_stats_code_status(code)   ((uint32_t) ((code) >> 48))
#define lrt_stats_code_count(code)    ((code) & (((uint64_t) 1 << 48) - 1))


/* all responses of a class: 0 is 1xx */

uint64_t lrt_stats_responses(const lrt_stats_t *st, uint32_t class);

void lrt_stats_selected(lrt_stats_t *st, uint64_t wall_ms);
void lrt_stats_reset(lrt_stats_t *st);
void lrt_stats_finished(lrt_stats_t *st, const lrt_outcome_t *out);


#endif /* _LRT_STATS_H_INCLUDED_ */
