
/*
 * Copyright (C) the ngx_http_lrt_upstream_module authors
 *
 * Least connections by weight, over all workers; servers that are equal take
 * turns in weighted order.
 */


#include "lrt_rank.h"


#define LRT_LEAST_CONN_SHIFT  40
#define LRT_LEAST_CONN_MAX    0x7fffff
#define LRT_LEAST_CONN_TRIES  4


static uint64_t lrt_least_conn_key(const lrt_params_t *params,
    const lrt_hot_t *hot);
static uint32_t lrt_least_conn_pick(const lrt_view_t *view);
static uint32_t lrt_least_conn_among(const lrt_view_t *view, uint64_t best,
    uint32_t blocks);
static unsigned lrt_least_conn_accept(const lrt_view_t *view, uint32_t slot,
    uint64_t key);
static unsigned lrt_least_conn_open(const lrt_view_t *view, uint32_t slot,
    uint64_t key);


const lrt_method_t  lrt_least_conn_method = {
    "least_conn_ext",
    lrt_least_conn_key,
    lrt_least_conn_pick
};


/*
 * Different quotients of counts and weights differ by at least one over the
 * product of the weights, so with weights up to 2^20 the key is exact: equal
 * only if the quotients are.
 */

static uint64_t
lrt_least_conn_key(const lrt_params_t *params, const lrt_hot_t *hot)
{
    int32_t   inflight;
    uint64_t  count;

    inflight = lrt_load(&hot->inflight);
    count = (inflight > 0) ? (uint64_t) inflight : 0;

    if (count > LRT_LEAST_CONN_MAX) {
        count = LRT_LEAST_CONN_MAX;
    }

    return (count << LRT_LEAST_CONN_SHIFT) / params->weight;
}


static uint32_t
lrt_least_conn_pick(const lrt_view_t *view)
{
    uint32_t  i, slot, blocks;
    uint64_t  best, before;

    before = LRT_KEY_NEVER;

    for (i = 0; i < LRT_LEAST_CONN_TRIES; i++) {

        best = lrt_rank_best(view, &blocks);

        if (best == LRT_KEY_NEVER) {
            break;
        }

        slot = lrt_least_conn_among(view, best, blocks);

        if (slot != LRT_NONE) {
            return slot;
        }

        /*
         * The rank was good and the server is not: another request was
         * faster, or, if it stays so, a worker died before it could tell.
         */

        if (best == before) {
            lrt_rank_refresh(view->table, view->now);
        }

        before = best;
    }

    /*
     * There may be no ranks yet, since the method is new or all servers are.
     * Before the writer gets to them, a request must not be refused.
     */

    slot = lrt_view_scan(view, NULL, lrt_least_conn_open, 0);

    if (slot != LRT_NONE) {
        lrt_rank_refresh(view->table, view->now);
    }

    return slot;
}


static uint32_t
lrt_least_conn_among(const lrt_view_t *view, uint64_t best, uint32_t blocks)
{
    uint32_t         slot;
    const uint64_t  *low;

    /* turns are worth drawing only if a good part of all servers is equal */

    if (blocks > lrt_blocks(view->top) / 8) {
        slot = lrt_view_draw(view, lrt_least_conn_accept, best);

        if (slot != LRT_NONE) {
            return slot;
        }
    }

    /* a block's minimum may be that of a server which was tried */

    low = view->ntried ? NULL : view->table->low[view->tier];

    return lrt_view_scan(view, low, lrt_least_conn_accept, best);
}


static unsigned
lrt_least_conn_accept(const lrt_view_t *view, uint32_t slot, uint64_t key)
{
    return lrt_load(&view->table->key[view->tier][slot]) == key
           && lrt_view_open(view, slot);
}


static unsigned
lrt_least_conn_open(const lrt_view_t *view, uint32_t slot, uint64_t key)
{
    (void) key;

    return lrt_view_open(view, slot);
}
