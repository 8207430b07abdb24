
/*
 * Copyright (C) the ngx_http_lrt_upstream_module authors
 */


#include "lrt_passive.h"


static unsigned lrt_passive_over(const lrt_params_t *params, uint64_t checked,
    uint64_t now);


unsigned
lrt_passive_blocked(const lrt_params_t *params, const lrt_hot_t *hot,
    uint64_t now)
{
    return lrt_passive_full(params, hot)
           && !lrt_passive_over(params, lrt_load(&hot->checked), now);
}


uint64_t
lrt_passive_until(const lrt_params_t *params, const lrt_hot_t *hot)
{
    if (!lrt_passive_full(params, hot)) {
        return UINT64_MAX;
    }

    return lrt_load(&hot->checked) + params->fail_timeout + 1;
}


unsigned
lrt_passive_pick(const lrt_params_t *params, lrt_hot_t *hot, uint64_t now)
{
    uint64_t  checked;

    if (lrt_load(&hot->fails) == 0) {
        return 1;
    }

    checked = lrt_load(&hot->checked);

    if (!lrt_passive_over(params, checked, now)) {
        return !lrt_passive_full(params, hot);
    }

    /* a new window; the one who opens it is the trial */

    return lrt_cas(&hot->checked, checked, now)
           || !lrt_passive_full(params, hot);
}


lrt_passive_e
lrt_passive_failed(const lrt_params_t *params, lrt_hot_t *hot, uint64_t now)
{
    uint32_t  fails;

    /* times first: with an old one the last failure would ask for a trial */

    lrt_store(&hot->accessed, now);
    lrt_store(&hot->checked, now);

    fails = lrt_add(&hot->fails, 1) + 1;

    if (params->max_fails == 0 || fails < params->max_fails) {
        return LRT_PASSIVE_COUNTED;
    }

    return (fails == params->max_fails) ? LRT_PASSIVE_SHUT_OUT
                                        : LRT_PASSIVE_STILL_OUT;
}


unsigned
lrt_passive_passed(const lrt_params_t *params, lrt_hot_t *hot)
{
    uint32_t  fails;

    fails = lrt_load(&hot->fails);

    /*
     * A success clears only the failures of an earlier window, and not one
     * that is counted right now.
     */

    return fails
           && lrt_load(&hot->accessed) < lrt_load(&hot->checked)
           && lrt_cas(&hot->fails, fails, 0)
           && params->max_fails
           && fails >= params->max_fails;
}


static unsigned
lrt_passive_over(const lrt_params_t *params, uint64_t checked, uint64_t now)
{
    /* "now" of another worker may be some milliseconds older */

    return now > checked && now - checked > params->fail_timeout;
}
