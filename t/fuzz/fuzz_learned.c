/* sources: ngx_http_lrt_state_learned.c ngx_http_lrt_json.c ngx_http_lrt_spec.c ngx_http_lrt_out.c lrt_learned.c lrt_split.c */

/*
 * Copyright (C) the ngx_http_lrt_upstream_module authors
 *
 * FILE.learned: it is refused with a line and a reason, and the table is as it
 * was; or all of it is taken, and the same when it is written and read again.
 */


#include "world.h"


int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);


int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    char          why[WORLD_WHY];
    ngx_int_t     rc;
    const char   *wrong;

    static ngx_uint_t  begun;

    if (!begun) {
        begun = 1;
        world_begin();
    }

    wrong = world_learned(data, len, &rc, why);

    if (wrong) {
        fprintf(stderr, "%s; answer %d: %s\n", wrong, (int) rc, why);
        abort();
    }

    return 0;
}
