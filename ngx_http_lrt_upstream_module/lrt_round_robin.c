
/*
 * Copyright (C) the ngx_http_lrt_upstream_module authors
 *
 * Smooth weighted round robin: the next turn of the group's schedule.  All
 * workers draw from the same counter, so the order is kept over all of them.
 */


#include "lrt_method.h"


const lrt_method_t  lrt_round_robin_method = {
    "round_robin_ext",
    0,
    NULL,
    NULL,
    NULL,
    NULL,
    NULL,
    lrt_round_robin_pick,
    lrt_round_robin_pick
};


uint32_t
lrt_round_robin_pick(const lrt_view_t *view)
{
    uint32_t  slot;

    slot = lrt_view_draw(view, lrt_view_any, 0);

    if (slot != LRT_NONE) {
        return slot;
    }

    return lrt_view_scan(view, lrt_view_any, 0);
}
