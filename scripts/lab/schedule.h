
/*
 * Copyright (C) the ngx_http_lrt_upstream_module authors
 *
 * All requests of a run, drawn in advance: when each is due, and how much
 * work it is.  The same traffic gives the same requests in every program.
 */


#ifndef _SCHEDULE_H_INCLUDED_
#define _SCHEDULE_H_INCLUDED_


#include "scenario.h"


typedef struct {
    uint64_t   due;             /* since the beginning */
    uint64_t   id;
    uint32_t   work;            /* microseconds */
} request_t;


typedef struct {
    request_t  *requests;
    uint32_t    n;
    uint32_t    warmup;         /* that many first ones do not count */
    uint64_t    checksum;
} schedule_t;


void schedule_make(schedule_t *s, const traffic_t *t);


#endif /* _SCHEDULE_H_INCLUDED_ */
