
/*
 * Copyright (C) the ngx_http_lrt_upstream_module authors
 *
 * What has become of each request, and the figures made of it, the same for
 * requests that were sent and for those that were computed.
 */


#ifndef _REPORT_H_INCLUDED_
#define _REPORT_H_INCLUDED_


#include <stdio.h>

#include "schedule.h"


#define NO_SERVER  UINT16_MAX


/* outcomes are statuses of HTTP, or these */

enum {
    OUTCOME_NONE = 0,
    OUTCOME_TIMEOUT,            /* no answer up to the deadline */
    OUTCOME_REFUSED,            /* no connection */
    OUTCOME_CLOSED,             /* closed before the end of the answer */
    OUTCOME_STRANGE             /* that is not how an answer looks */
};


typedef struct {
    uint64_t           latency;     /* since the request was due */
    uint64_t           late;        /* when it was looked at */
    uint16_t           outcome;
    uint16_t           server;      /* a name's index, or NO_SERVER */
} record_t;


typedef struct {
    const char        *program;
    const scenario_t  *scenario;
    const schedule_t  *schedule;
    record_t          *records;     /* as many as the schedule has */

    char             **names;       /* of servers */
    uint32_t           nnames;

    const char        *raw;         /* a file for all records, or NULL */
    const char        *windows;     /* of servers "a,b", "*" or NULL */
    const char        *more;        /* members of the JSON object, or NULL */
} report_t;


void report_print(FILE *out, report_t *r);

/* whether a name is in a list "a,b", or the list is "*" */

int report_wants(const char *list, const char *name);

void report_sort(uint64_t *values, size_t n);
uint64_t report_quantile(const uint64_t *sorted, size_t n, double q);

/* "name":{"mean":..}, in milliseconds; sorts the values */

void report_times(FILE *out, const char *name, uint64_t *values, size_t n);

/* "name":[..] */

void report_list(FILE *out, const char *name, const uint32_t *values,
    uint32_t n);


#endif /* _REPORT_H_INCLUDED_ */
