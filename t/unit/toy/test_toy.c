
/*
 * Copyright (C) the ngx_http_lrt_upstream_module authors
 */


#include "tap.h"
#include "fixture.h"


static void test_name(void);
static void test_oldest(void);
static void test_retries(void);


int
main(void)
{
    tap_begin();

    run(test_name);
    run(test_oldest);
    run(test_retries);

    return tap_end();
}


static void
test_name(void)
{
    /* a row and a file make a method, and the others keep their numbers */

    is_u64(lrt_method_find("toy_oldest", 10), LRT_METHOD_toy_oldest,
           "found by its name");
    ok(strcmp(lrt_method(LRT_METHOD_toy_oldest)->name, "toy_oldest") == 0,
       "and by its number");

    is_u64(lrt_method_find("round_robin_ext", 15), 0, "the first one");
    is_u64(lrt_method_find("least_conn_ext", 14), 1, "the second one");
    is_u64(lrt_method_find("toy", 3), LRT_METHODS, "no other name");
}


static void
test_oldest(void)
{
    fx_t          fx;
    uint32_t      i;
    lrt_pick_t    pick[8];
    lrt_params_t  params;

    fx_open(&fx, 8);

    for (i = 0; i < 4; i++) {
        params = fx_params(9 - i);
        params.max_conns = 2;
        params.backup = (i == 1);
        (void) fx_add(&fx, i, &params);
    }

    is_u64(fx_method(&fx, LRT_METHOD_toy_oldest), LRT_OK, "chosen");

    /* what the method does not care about works: limits, tiers, counts */

    static const uint64_t  want[8] = { 1, 1, 3, 3, 4, 4, 2, 2 };

    for (i = 0; i < 8; i++) {
        is_u64(fx_pick(&fx, &pick[i]), LRT_OK, "request %u", i);
        is_u64(pick[i].ident, want[i], "the oldest that has a place");
    }

    is_u64(fx_pick(&fx, &pick[0]), LRT_BUSY, "nobody has a place");

    for (i = 0; i < 8; i++) {
        (void) fx_end(&fx, &pick[i], LRT_ENDED_WELL);
    }

    (void) fx_remove(&fx, 1);
    (void) fx_pick(&fx, &pick[0]);
    is_u64(pick[0].ident, 3, "the oldest that is left");
    (void) fx_end(&fx, &pick[0], LRT_ENDED_WELL);

    ok(fx_quiet(&fx) == NULL, "valid at the end");

    fx_close(&fx);
}


static void
test_retries(void)
{
    fx_t          fx;
    uint32_t      i;
    lrt_pick_t    pick;
    lrt_tried_t   tried[3];
    lrt_params_t  params;

    fx_open(&fx, 8);

    for (i = 0; i < 3; i++) {
        params = fx_params(1);
        params.max_fails = 1;
        (void) fx_add(&fx, i, &params);
    }

    (void) fx_method(&fx, LRT_METHOD_toy_oldest);

    /* so do retries and failures */

    for (i = 0; i < 3; i++) {
        (void) fx_retry(&fx, tried, i, &pick);
        is_u64(pick.ident, i + 1, "try %u", i);

        tried[i].slot = pick.slot;
        tried[i].ident = pick.ident;

        (void) fx_end(&fx, &pick, LRT_ENDED_UNKNOWN);
    }

    is_u64(fx_retry(&fx, tried, 3, &pick), LRT_BUSY, "no more servers");

    (void) fx_pick(&fx, &pick);
    (void) fx_end(&fx, &pick, LRT_ENDED_FAILED);
    (void) fx_pick(&fx, &pick);
    is_u64(pick.ident, 2, "the oldest failed");
    (void) fx_end(&fx, &pick, LRT_ENDED_WELL);

    fx_close(&fx);
}
