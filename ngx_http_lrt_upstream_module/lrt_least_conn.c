
/*
 * Copyright (C) the ngx_http_lrt_upstream_module authors
 *
 * Least connections by weight, over all workers; servers that are equal take
 * turns in weighted order.
 */


#include "lrt_best.h"


#define LRT_LEAST_CONN_SHIFT  40
#define LRT_LEAST_CONN_MAX    0x7fffff


static uint64_t lrt_least_conn_key(const lrt_score_t *score);


const lrt_method_t  lrt_least_conn_method = {
    "least_conn_ext",
    0,
    NULL,
    lrt_least_conn_key,
    NULL,
    NULL,
    NULL,
    lrt_best_pick,
    lrt_round_robin_pick
};


/*
 * Different quotients of counts and weights differ by at least one over the
 * product of the weights, so with weights up to 2^20 the key is exact: equal
 * only if the quotients are.
 */

static uint64_t
lrt_least_conn_key(const lrt_score_t *score)
{
    int32_t   inflight;
    uint64_t  count, key;

    inflight = lrt_load(&score->hot->inflight);
    count = (inflight > 0) ? (uint64_t) inflight : 0;

    if (count > LRT_LEAST_CONN_MAX) {
        count = LRT_LEAST_CONN_MAX;
    }

    key = count << LRT_LEAST_CONN_SHIFT;

    /* a division is dear, and most servers weigh 1 */

    if (score->params->weight != 1) {
        key /= score->params->weight;
    }

    return lrt_ramping(score->hot) ? lrt_ramp_key(score, key) : key;
}
