
/*
 * Copyright (C) the ngx_http_lrt_upstream_module authors
 */


#include "lrt_rules.h"
#include "lrt_census.h"


/* a function of its own, so that the short way saves no registers */

static unsigned lrt_rules_closely(const lrt_params_t *params,
    const lrt_hot_t *hot, const lrt_rules_t *rules, uint64_t now)
    __attribute__((noinline));


void
lrt_rules(const lrt_table_t *t, uint64_t generation, lrt_tier_e tier,
    lrt_rules_t *rules)
{
    uint64_t           census;
    const lrt_side_t  *side;

    side = lrt_table_side(t, generation);
    census = lrt_load(&t->head->census.value);

    rules->slow_start = lrt_load(&side->settings.slow_start);
    rules->lone = lrt_load(&side->tier[tier].lone);
    rules->panic = lrt_census_panic(census, tier);
    rules->carried = lrt_census_carried(census, tier);
}


unsigned
lrt_usable(const lrt_entry_t *entry, const lrt_hot_t *hot,
    const lrt_rules_t *rules, uint64_t now)
{
    if (entry->params.drain) {
        return 0;
    }

    return lrt_usable_bound(entry, hot, rules, now);
}


unsigned
lrt_usable_bound(const lrt_entry_t *entry, const lrt_hot_t *hot,
    const lrt_rules_t *rules, uint64_t now)
{
    const lrt_params_t  *params;

    params = &entry->params;

    if (entry->ident == 0
        || params->down
        || params->forced == LRT_FORCED_DOWN)
    {
        return 0;
    }

    /* most servers, most of the time */

    if (params->max_conns == 0
        && (rules->panic || lrt_well(params, hot, rules->lone)))
    {
        return 1;
    }

    return lrt_rules_closely(params, hot, rules, now);
}


/* one that max_fails alone has shut out is usable when it is due for a trial */

static unsigned
lrt_rules_closely(const lrt_params_t *params, const lrt_hot_t *hot,
    const lrt_rules_t *rules, uint64_t now)
{
    if (!rules->panic
        && !lrt_well(params, hot, rules->lone)
        && ((lrt_load(&hot->health) & LRT_HEALTH_OUT)
            || lrt_passive_blocked(params, hot, now)))
    {
        return 0;
    }

    return params->max_conns == 0
           || lrt_load(&hot->inflight)
              < (int32_t) lrt_rules_conns(rules, params, hot, now);
}


uint32_t
lrt_rules_conns(const lrt_rules_t *rules, const lrt_params_t *params,
    const lrt_hot_t *hot, uint64_t now)
{
    return (rules->carried && lrt_ramping(hot))
           ? lrt_ramp_conns(params, hot, rules->slow_start, now)
           : params->max_conns;
}
