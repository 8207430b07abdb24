
/*
 * Copyright (C) the ngx_http_lrt_upstream_module authors
 */


#include "lrt_reason.h"
#include "lrt_iphash.h"
#include "lrt_rank.h"


static void lrt_reason_candidate(const lrt_view_t *view, uint32_t slot,
    lrt_candidate_t *c);
static void lrt_reason_next(const lrt_view_t *view, lrt_reason_t *reason);


void
lrt_reason_chosen(const lrt_view_t *view, uint32_t slot, lrt_reason_t *reason)
{
    reason->method = view->policy->method;
    reason->why = LRT_WHY_TURN;
    reason->next.slot = LRT_NONE;

    lrt_reason_candidate(view, slot, &reason->chosen);
}


void
lrt_reason_explain(const lrt_view_t *view, unsigned point,
    lrt_reason_t *reason)
{
    const lrt_method_t  *method;

    method = lrt_method(reason->method);

    if (method->takes & LRT_TAKES_CLIENT) {

        if (view->client->len == 0) {
            reason->why = LRT_WHY_NO_CLIENT;

        } else if (view->owned) {
            reason->why = (lrt_iphash_home(view) == reason->chosen.slot)
                          ? LRT_WHY_OWNER : LRT_WHY_SPILL;
        }

        return;
    }

    if (point) {
        reason->why = LRT_WHY_SHARE;
        return;
    }

    if (method->key == NULL) {
        return;
    }

    lrt_reason_next(view, reason);

    reason->why = (reason->chosen.key == 0 && method->due) ? LRT_WHY_TRIAL
                  : (reason->next.slot != LRT_NONE
                     && reason->next.key == reason->chosen.key)
                     ? LRT_WHY_TIE : LRT_WHY_BEST;
}


static void
lrt_reason_candidate(const lrt_view_t *view, uint32_t slot, lrt_candidate_t *c)
{
    int32_t             inflight;
    const lrt_hot_t    *hot;
    const lrt_entry_t  *entry;

    hot = &view->table->hot[slot];
    entry = &view->entry[slot];
    inflight = lrt_load(&hot->inflight);

    c->slot = slot;
    c->weight = entry->params.weight;
    c->inflight = (inflight > 0) ? (uint32_t) inflight : 0;
    c->estimate = lrt_load(&hot->estimate);

    /* another method may have left ranks behind */

    c->key = lrt_method(view->policy->method)->key
             ? lrt_load(&view->table->key[view->tier][slot]) : LRT_KEY_NEVER;
}


static void
lrt_reason_next(const lrt_view_t *view, lrt_reason_t *reason)
{
    uint32_t  slot, next;
    uint64_t  key, best;

    next = LRT_NONE;
    best = LRT_KEY_NEVER;

    for (slot = 0; slot < view->top; slot++) {

        key = lrt_load(&view->table->key[view->tier][slot]);

        if (key < best
            && slot != reason->chosen.slot
            && lrt_view_open(view, slot))
        {
            best = key;
            next = slot;
        }
    }

    if (next != LRT_NONE) {
        lrt_reason_candidate(view, next, &reason->next);
    }
}
