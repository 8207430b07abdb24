
/*
 * Copyright (C) the ngx_http_lrt_upstream_module authors
 */


#include "timed.h"

#include <stdlib.h>
#include <string.h>


static lrt_outcome_t lt_outcome(uint64_t us);


void
lt_open(fx_t *fx, uint32_t n, unsigned last_byte, unsigned inflight)
{
    uint32_t       i;
    lrt_change_t   c;
    lrt_params_t  *params;

    fx_open(fx, n + LRT_MIN_CAPACITY);

    params = calloc(n, sizeof(lrt_params_t));

    for (i = 0; i < n; i++) {
        params[i] = fx_params(1);
    }

    (void) fx_fill(fx, params, n);

    free(params);

    memset(&c, 0, sizeof(lrt_change_t));

    c.type = LRT_SET_POLICY;
    c.policy.method = LT;
    c.policy.last_byte = (uint8_t) last_byte;
    c.policy.inflight = (uint8_t) inflight;

    (void) fx_commit(fx, &c, 1);
}


void
lt_answer(fx_t *fx, uint32_t slot, uint64_t us, uint32_t times)
{
    lrt_outcome_t  out;

    out = lt_outcome(us);

    while (times--) {
        lt_end(fx, slot, LRT_ENDED_WELL, &out);
    }
}


void
lt_end(fx_t *fx, uint32_t slot, lrt_ended_e how, const lrt_outcome_t *out)
{
    lrt_pick_t  pick;

    memset(&pick, 0, sizeof(lrt_pick_t));

    pick.slot = slot;
    pick.ident = fx_entry(fx, slot)->ident;
    pick.owner = fx->owner;

    (void) lrt_ledger_enter(&fx->table, &fx->owner, slot);
    (void) lrt_release(&fx->table, &pick, how, out, fx->now);
}


void
lt_finish(fx_t *fx, const lrt_pick_t *pick, uint64_t us)
{
    lrt_outcome_t  out;

    out = lt_outcome(us);

    (void) lrt_release(&fx->table, pick, LRT_ENDED_WELL, &out, fx->now);
}


uint32_t
lt_next(fx_t *fx)
{
    lrt_pick_t  pick;

    if (fx_pick(fx, &pick) != LRT_OK) {
        return LRT_NONE;
    }

    (void) fx_end(fx, &pick, LRT_ENDED_UNKNOWN);

    return pick.slot;
}


uint64_t
lt_expected(fx_t *fx, uint32_t slot)
{
    uint64_t     generation;
    lrt_score_t  score;

    generation = lrt_table_generation(&fx->table);

    lrt_rank_score(&fx->table, &score,
                   &lrt_table_side(&fx->table, generation)->policy,
                   &fx_entry(fx, slot)->params, &fx->table.hot[slot], fx->now);

    return lrt_least_time_expected(&score);
}


uint64_t
lt_word(uint64_t us, uint32_t samples)
{
    uint64_t  word;

    for (word = 0; samples; samples--) {
        word = lrt_estimate_add(word, us, 1000);
    }

    return word;
}


/* 0 would say that there was no answer */

static lrt_outcome_t
lt_outcome(uint64_t us)
{
    lrt_outcome_t  out;

    memset(&out, 0, sizeof(lrt_outcome_t));

    out.status = 200;
    out.complete = 1;
    out.header = us ? us : 1;
    out.last_byte = us ? us : 1;

    return out;
}
