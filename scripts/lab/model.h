
/*
 * Copyright (C) the ngx_http_lrt_upstream_module authors
 *
 * Servers with slots and queues, and what happens to them, as a pure thing
 * that is told the time: "backends" lives it, "reference" computes it.
 */


#ifndef _MODEL_H_INCLUDED_
#define _MODEL_H_INCLUDED_


#include "scenario.h"


#define WINDOW  (100 * MILLISECOND)


typedef struct job_s  job_t;


typedef enum {
    LIST_NONE = 0,
    LIST_QUEUE,                 /* waits for a slot */
    LIST_SERVED,                /* has one */
    LIST_FAST,                  /* will be answered at its time, without */
    LIST_HELD,                  /* will be answered when the stall ends */
    LIST_LOST,                  /* will not be answered */
    LISTS
} list_e;


struct job_s {
    job_t     *prev;
    job_t     *next;
    list_e     list;
    uint32_t   server;
    uint32_t   status;          /* that it will be answered with */
    uint32_t   timer;           /* place in the heap and one, or zero */
    uint64_t   when;            /* the timer's, or what its slot is free at */
    double     left;            /* nanoseconds at speed one */
    uint64_t   since;           /* the time of "left" */
};


typedef struct {
    uint64_t   requests;
    uint64_t   answered;        /* from a slot */
    uint64_t   failed;          /* as told */
    uint64_t   rejected;        /* the queue was full */
    uint64_t   lost;
    uint64_t   closed;          /* by us */
    uint64_t   cancelled;       /* by the client */
    uint64_t   health;
    uint64_t   busy;            /* nanoseconds, of all slots */
    uint32_t   max_queue;
    uint32_t   max_present;
} counters_t;


typedef struct {
    const server_t  *spec;

    job_t           *first[LISTS];
    job_t           *last[LISTS];
    uint32_t         n[LISTS];

    /* what is told */

    double           slow;
    unsigned         stalled:1;
    unsigned         hung:1;
    unsigned         refusing:1;
    unsigned         down:1;
    uint32_t         health;
    uint32_t         fail_status;
    double           fail_share;
    uint64_t         fail_time;
    double           extra_share;
    uint64_t         extra_time;

    double           rate;      /* of work, zero if stalled */
    uint64_t         checked;   /* the time that "busy" is counted up to */
    counters_t       counters;
    uint32_t        *windows;   /* requests in each, since the start */
    uint32_t         nwindows;
} host_t;


typedef struct model_s  model_t;

/* a job is over; status zero is a connection that is closed */

typedef void (*answer_pt)(model_t *m, job_t *job, uint32_t status);

/* a server may have begun or ceased to accept connections */

typedef void (*changed_pt)(model_t *m, uint32_t server);


struct model_s {
    const scenario_t  *scenario;
    host_t            *hosts;
    answer_pt          answer;
    changed_pt         changed;

    uint64_t           start;   /* of events; NEVER before they begin */
    uint32_t           event;   /* the next one */

    job_t            **timers;  /* a heap */
    uint32_t           ntimers;
    uint32_t           room;
};


void model_init(model_t *m, const scenario_t *s, answer_pt answer,
    changed_pt changed);

/* as new: no jobs, nothing told or counted; events are counted from here */

void model_start(model_t *m, uint64_t start);

/* all that happens up to now */

void model_run(model_t *m, uint64_t now);
uint64_t model_next(const model_t *m);

/*
 * These are for the time that model_run() was last called with.  A job may
 * be answered within model_offer().  Work is in microseconds, or zero if the
 * server has to draw it; the id decides on all draws.
 */

void model_offer(model_t *m, job_t *job, uint32_t server, uint64_t id,
    uint32_t work, uint64_t now);
void model_health(model_t *m, job_t *job, uint32_t server, uint64_t now);
void model_cancel(model_t *m, job_t *job, uint64_t now);
void model_event(model_t *m, const event_t *e, uint64_t now);

/* before statistics are read */

void model_count(model_t *m, uint64_t now);


#endif /* _MODEL_H_INCLUDED_ */
