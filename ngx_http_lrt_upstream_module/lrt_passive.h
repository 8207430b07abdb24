
/*
 * Copyright (C) the ngx_http_lrt_upstream_module authors
 *
 * max_fails and fail_timeout as stock nginx knows them, with its windows in
 * milliseconds instead of whole seconds: "fails" counts the failures of the
 * current window, "accessed" is the time of the last one, "checked" the start
 * of the window.  A server with max_fails of them gets no request until
 * fail_timeout has passed, and then one trial request in each fail_timeout
 * until one succeeds.
 */


#ifndef _LRT_PASSIVE_H_INCLUDED_
#define _LRT_PASSIVE_H_INCLUDED_


#include "lrt_table.h"


/* max_fails has shut it out, and no trial has succeeded since then */

#define lrt_passive_full(params, hot)                                         \
    ((params)->max_fails && lrt_load(&(hot)->fails) >= (params)->max_fails)

/* and it is not due for a trial */

unsigned lrt_passive_blocked(const lrt_params_t *params, const lrt_hot_t *hot,
    uint64_t now);

/* when a blocked server may be tried again; UINT64_MAX if it is not blocked */

uint64_t lrt_passive_until(const lrt_params_t *params, const lrt_hot_t *hot);

/*
 * Called for the server that was picked.  False if it is due for one trial
 * request and another request has just become that trial.
 */

unsigned lrt_passive_pick(const lrt_params_t *params, lrt_hot_t *hot,
    uint64_t now);

/* what a failure does: nothing yet, it shuts the server out, or keeps it so */

typedef enum {
    LRT_PASSIVE_COUNTED = 0,
    LRT_PASSIVE_SHUT_OUT,
    LRT_PASSIVE_STILL_OUT
} lrt_passive_e;

lrt_passive_e lrt_passive_failed(const lrt_params_t *params, lrt_hot_t *hot,
    uint64_t now);

/* a success: true if it brings back a server that was shut out */

unsigned lrt_passive_passed(const lrt_params_t *params, lrt_hot_t *hot);


#endif /* _LRT_PASSIVE_H_INCLUDED_ */
