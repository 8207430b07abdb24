
/*
 * Copyright (C) the ngx_http_lrt_upstream_module authors
 *
 * Slow start: a server that is new or comes back has a part of its weight and
 * of its max_conns, which rises over a time.
 */


#ifndef _LRT_RAMP_H_INCLUDED_
#define _LRT_RAMP_H_INCLUDED_


#include "lrt_health.h"
#include "lrt_table.h"


#define LRT_RAMP_FULL        1000            /* permille */
#define LRT_RAMP_FLOOR       100

/*
 * A server that falls again and again takes twice as long each time, up to so
 * many times.  Without a slow start it has one of this time, ms, from so many
 * falls on.
 */

#define LRT_RAMP_DOUBLINGS   3
#define LRT_RAMP_FLAPS       3
#define LRT_RAMP_FLAPPING    10000

/* what an ordinary pick asks, in the line of the server that it reads anyway */

#define lrt_ramping(hot)     (lrt_load(&(hot)->health) & LRT_HEALTH_RAMP)


/* how long it takes, ms; "slow_start" is the time of the group */

uint64_t lrt_ramp_time(const lrt_params_t *params, const lrt_hot_t *hot,
    uint64_t slow_start);

/* the part that it has now */

uint32_t lrt_ramp_permille(const lrt_params_t *params, const lrt_hot_t *hot,
    uint64_t slow_start, uint64_t now);

/* its weight, in thousandths, and its max_conns */

uint64_t lrt_ramp_weight(const lrt_params_t *params, const lrt_hot_t *hot,
    uint64_t slow_start, uint64_t now);
uint32_t lrt_ramp_conns(const lrt_params_t *params, const lrt_hot_t *hot,
    uint64_t slow_start, uint64_t now);

/* ramps that are over are forgotten: true if this was one */

unsigned lrt_ramp_end(const lrt_params_t *params, lrt_hot_t *hot,
    uint64_t slow_start, uint64_t now);


#endif /* _LRT_RAMP_H_INCLUDED_ */
