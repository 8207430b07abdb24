
/*
 * Copyright (C) the ngx_http_lrt_upstream_module authors
 */


#include "lrt_census.h"
#include "lrt_params.h"
#include "lrt_ramp.h"
#include "lrt_rank.h"
#include "lrt_rules.h"

#include <string.h>


#define LRT_CENSUS_PER_MS    256             /* slots */
#define LRT_CENSUS_PANIC     3               /* bits of all tiers */


typedef struct {
    uint32_t             active;
    uint32_t             well;
    uint32_t             steady;             /* those without a ramp */
} lrt_count_t;


static uint64_t lrt_census_count(lrt_table_t *t, uint64_t now,
    unsigned *ended);
static unsigned lrt_census_few(const lrt_count_t *count, uint32_t panic);
static unsigned lrt_census_enough(const lrt_count_t *count, uint32_t panic);


/* as ranks are kept up: the last one to store saw the last change */

unsigned
lrt_census(lrt_table_t *t, uint64_t now)
{
    unsigned   changed;
    uint64_t  *p, word, old;

    p = &t->head->census.value;
    changed = 0;

    for ( ;; ) {
        word = lrt_census_count(t, now, &changed);
        old = lrt_load(p);

        if (old == word) {
            return changed;
        }

        if ((old ^ word) & LRT_CENSUS_FLAGS) {
            changed = 1;
        }

        lrt_store(p, word);
        lrt_fence();
    }
}


void
lrt_census_turned(lrt_table_t *t, uint64_t now)
{
    uint32_t  top;

    top = lrt_load(&lrt_table_side(t, lrt_table_generation(t))->top);

    if (now - lrt_load(&t->head->counted) < top / LRT_CENSUS_PER_MS) {
        return;
    }

    lrt_store(&t->head->counted, now);

    if (lrt_census(t, now)) {
        lrt_rank_refresh(t, now);
    }
}


unsigned
lrt_census_news(lrt_table_t *t, unsigned *before, unsigned *after)
{
    uint64_t  is, told;

    is = lrt_load(&t->head->census.value) & LRT_CENSUS_PANIC;
    told = lrt_load(&t->head->told);

    *before = (unsigned) told;
    *after = (unsigned) is;

    /* an old table has no say */

    return is != told
           && !lrt_load(&t->head->superseded)
           && lrt_cas(&t->head->told, told, is);
}


static uint64_t
lrt_census_count(lrt_table_t *t, uint64_t now, unsigned *ended)
{
    uint32_t             slot, panic;
    uint64_t             generation, word, slow_start;
    lrt_hot_t           *hot;
    lrt_tier_e           tier;
    lrt_count_t         *count, counts[LRT_TIERS];
    const lrt_side_t    *side;
    const lrt_entry_t   *entry;
    const lrt_params_t  *params;

    memset(counts, 0, sizeof(counts));

    generation = lrt_table_generation(t);
    side = lrt_table_side(t, generation);
    entry = lrt_table_entries(t, generation);

    slow_start = lrt_load(&side->settings.slow_start);
    panic = lrt_load(&side->settings.panic);

    for (slot = 0; slot < side->top && slot < t->capacity; slot++) {

        params = &entry[slot].params;
        hot = &t->hot[slot];

        if (entry[slot].ident == 0) {
            continue;
        }

        *ended |= lrt_ramp_end(params, hot, slow_start, now);

        if (!lrt_params_active(params)) {
            continue;
        }

        tier = params->backup ? LRT_BACKUP : LRT_PRIMARY;
        count = &counts[tier];

        count->active++;

        if (lrt_well(params, hot, lrt_load(&side->tier[tier].lone) != 0)) {
            count->well++;
            count->steady += !lrt_ramping(hot);
        }
    }

    word = 0;

    for (tier = LRT_PRIMARY; tier < LRT_TIERS; tier++) {
        count = &counts[tier];

        /* the few have it all, or nobody has, and the others are no help */

        if (lrt_census_few(count, panic)
            && (count->well
                || !lrt_census_enough(&counts[LRT_BACKUP - tier], panic)))
        {
            word |= (uint64_t) 1 << tier;
        }

        word |= (uint64_t) (count->steady != 0) << (4 + tier);
        word |= (uint64_t) count->well << (8 + 24 * tier);
    }

    return word;
}


static unsigned
lrt_census_few(const lrt_count_t *count, uint32_t panic)
{
    return (uint64_t) count->well * 1000 < (uint64_t) count->active * panic;
}


static unsigned
lrt_census_enough(const lrt_count_t *count, uint32_t panic)
{
    return count->well && !lrt_census_few(count, panic);
}
