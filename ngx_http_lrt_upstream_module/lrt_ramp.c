
/*
 * Copyright (C) the ngx_http_lrt_upstream_module authors
 */


#include "lrt_ramp.h"


uint64_t
lrt_ramp_time(const lrt_params_t *params, const lrt_hot_t *hot,
    uint64_t slow_start)
{
    uint32_t  falls, doublings;
    uint64_t  time;

    falls = lrt_health_falls(lrt_load(&hot->health));
    time = params->slow_start ? params->slow_start : slow_start;

    if (time == 0) {

        if (falls < LRT_RAMP_FLAPS) {
            return 0;
        }

        time = LRT_RAMP_FLAPPING;
        falls -= LRT_RAMP_FLAPS - 1;
    }

    doublings = (falls > 1) ? falls - 1 : 0;
    doublings = (doublings < LRT_RAMP_DOUBLINGS) ? doublings
                                                 : LRT_RAMP_DOUBLINGS;

    return (time < LRT_MAX_TIME >> doublings) ? time << doublings
                                              : LRT_MAX_TIME;
}


uint32_t
lrt_ramp_permille(const lrt_params_t *params, const lrt_hot_t *hot,
    uint64_t slow_start, uint64_t now)
{
    uint64_t  word, time, passed;

    word = lrt_load(&hot->health);

    if (!(word & LRT_HEALTH_RAMP)) {
        return LRT_RAMP_FULL;
    }

    time = lrt_ramp_time(params, hot, slow_start);

    /* "now" of another worker may be some milliseconds older */

    passed = (now > lrt_health_since(word)) ? now - lrt_health_since(word) : 0;

    if (passed >= time) {
        return LRT_RAMP_FULL;
    }

    return LRT_RAMP_FLOOR
           + (uint32_t) ((LRT_RAMP_FULL - LRT_RAMP_FLOOR) * passed / time);
}


uint64_t
lrt_ramp_weight(const lrt_params_t *params, const lrt_hot_t *hot,
    uint64_t slow_start, uint64_t now)
{
    return (uint64_t) params->weight
           * lrt_ramp_permille(params, hot, slow_start, now);
}


uint32_t
lrt_ramp_conns(const lrt_params_t *params, const lrt_hot_t *hot,
    uint64_t slow_start, uint64_t now)
{
    uint64_t  conns;

    conns = (uint64_t) params->max_conns
            * lrt_ramp_permille(params, hot, slow_start, now);

    return (uint32_t) ((conns + LRT_RAMP_FULL - 1) / LRT_RAMP_FULL);
}


/*
 * A ramp that is over would cost each pick a look at the clock, and begin
 * again with a longer time.  Who is out of use has not begun his.
 */

unsigned
lrt_ramp_end(const lrt_params_t *params, lrt_hot_t *hot, uint64_t slow_start,
    uint64_t now)
{
    uint64_t  word;

    word = lrt_load(&hot->health);

    return (word & LRT_HEALTH_RAMP)
           && !(word & LRT_HEALTH_OUT)
           && lrt_ramp_permille(params, hot, slow_start, now) == LRT_RAMP_FULL
           && lrt_cas(&hot->health, word, word & ~(uint64_t) LRT_HEALTH_RAMP);
}
