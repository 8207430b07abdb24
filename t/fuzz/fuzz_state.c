/* sources: ngx_http_lrt_state_text.c ngx_http_lrt_json.c ngx_http_lrt_spec.c ngx_http_lrt_spec_group.c ngx_http_lrt_policy.c ngx_http_lrt_out.c lrt_split.c lrt_merge.c */

/*
 * Copyright (C) the ngx_http_lrt_upstream_module authors
 *
 * A state file: it is refused with a line and a reason, or all of it is sound,
 * fills a table, and is the same after it was written and read again.
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

    wrong = world_state(data, len, &rc, why);

    if (wrong) {
        fprintf(stderr, "%s; answer %d: %s\n", wrong, (int) rc, why);
        abort();
    }

    return 0;
}
