
/*
 * Copyright (C) the ngx_http_lrt_upstream_module authors
 *
 * A method as small as it can be: always the oldest server that may take the
 * request.  With a row for it in lrt_methods.h this file is all that it takes.
 */


#include "lrt_method.h"


static uint32_t lrt_toy_pick(const lrt_view_t *view);


const lrt_method_t  lrt_toy_method = {
    "toy_oldest",
    0,
    NULL,
    NULL,
    NULL,
    NULL,
    NULL,
    lrt_toy_pick,
    lrt_toy_pick
};


static uint32_t
lrt_toy_pick(const lrt_view_t *view)
{
    uint32_t  i, slot;

    for (i = 0; i < view->schedule.n; i++) {

        slot = lrt_load(&view->order[i]);

        if (lrt_view_open(view, slot)) {
            return slot;
        }
    }

    return LRT_NONE;
}
