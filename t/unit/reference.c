
/*
 * Copyright (C) the ngx_http_lrt_upstream_module authors
 */


#include "reference.h"
#include "lrt_health.h"

#include <stdlib.h>
#include <string.h>


static unsigned ref_full(const lrt_params_t *params, const ref_slot_t *s);


void
ref_open(ref_t *ref, fx_t *fx, uint32_t most)
{
    memset(ref, 0, sizeof(ref_t));

    ref->fx = fx;
    ref->most = most;
    ref->slot = calloc(fx->table.capacity, sizeof(ref_slot_t));
    ref->held = calloc(most + 1, sizeof(lrt_pick_t));

    ref_changed(ref);
}


void
ref_close(ref_t *ref)
{
    free(ref->slot);
    free(ref->held);
}


unsigned
ref_usable(ref_t *ref, uint32_t slot, const lrt_tried_t *tried,
    uint32_t ntried)
{
    uint32_t             i, n;
    ref_slot_t          *s;
    const lrt_entry_t   *e;

    e = fx_entry(ref->fx, slot);
    s = &ref->slot[slot];

    if (e->ident == 0 || e->params.down || e->params.drain) {
        return 0;
    }

    if (e->params.max_conns && s->inflight >= e->params.max_conns) {
        return 0;
    }

    if (ref_full(&e->params, s)
        && ref->fx->now - s->checked <= e->params.fail_timeout
        && !ref->lone[e->params.backup])
    {
        return 0;
    }

    n = 0;

    for (i = 0; i < ntried; i++) {
        n += (tried[i].slot == slot && tried[i].ident == e->ident);
    }

    return n <= e->params.twins;
}


void
ref_expect(ref_t *ref, const lrt_tried_t *tried, uint32_t ntried)
{
    uint32_t             slot;
    lrt_tier_e           tier;
    ref_slot_t          *s;
    const lrt_entry_t   *e, *entry;

    entry = fx_entry(ref->fx, 0);

    for (tier = LRT_PRIMARY; tier < LRT_TIERS; tier++) {

        ref->tier = tier;
        ref->usable = 0;

        for (slot = 0; slot < ref->fx->table.capacity; slot++) {

            e = &entry[slot];
            s = &ref->slot[slot];

            if (e->ident == 0
                || e->params.backup != tier
                || !ref_usable(ref, slot, tried, ntried))
            {
                continue;
            }

            if (ref->usable++ == 0
                || (uint64_t) s->inflight * ref->weight
                   < ref->least * e->params.weight)
            {
                ref->least = s->inflight;
                ref->weight = e->params.weight;
            }
        }

        if (ref->usable) {
            return;
        }
    }
}


const char *
ref_pick(ref_t *ref, const lrt_tried_t *tried, uint32_t ntried, lrt_rc_t *rc)
{
    lrt_pick_t          *pick;
    ref_slot_t          *s;
    const lrt_entry_t   *e;

    ref_expect(ref, tried, ntried);

    pick = &ref->held[ref->nheld];
    *rc = fx_retry(ref->fx, tried, ntried, pick);

    if (*rc == LRT_BUSY) {
        return ref->usable ? "no server, but there is one" : NULL;
    }

    if (*rc != LRT_OK) {
        return "another answer";
    }

    if (ref->usable == 0) {
        return "a server, but there is none";
    }

    e = fx_entry(ref->fx, pick->slot);
    s = &ref->slot[pick->slot];

    if (e->ident != pick->ident) {
        return "a server that is not there";
    }

    if (e->params.backup != ref->tier) {
        return "the wrong tier";
    }

    if (!ref_usable(ref, pick->slot, tried, ntried)) {
        return "a server that may not be used";
    }

    if (lrt_table_side(&ref->fx->table, pick->generation)->policy.method == LC
        && (uint64_t) s->inflight * ref->weight
           != ref->least * e->params.weight)
    {
        return "a server that has not the least connections";
    }

    /* stock nginx: a new window begins with the request */

    if (ref->fx->now - s->checked > e->params.fail_timeout) {
        s->checked = ref->fx->now;
    }

    s->inflight++;
    ref->nheld++;

    return (pick->inflight == s->inflight) ? NULL : "the number in flight";
}


const char *
ref_end(ref_t *ref, uint32_t i, lrt_ended_e how)
{
    unsigned             shut_out;
    lrt_pick_t           pick;
    ref_slot_t          *s;
    lrt_ended_e          rc;
    const lrt_entry_t   *e;

    pick = ref->held[i];
    ref->held[i] = ref->held[--ref->nheld];

    s = &ref->slot[pick.slot];
    e = fx_entry(ref->fx, pick.slot);

    shut_out = 0;

    if (e->ident == pick.ident) {

        if (how == LRT_ENDED_WELL && s->accessed < s->checked) {
            s->fails = 0;
        }

        if (how == LRT_ENDED_FAILED && !ref->lone[e->params.backup]) {
            s->fails++;
            s->accessed = ref->fx->now;
            s->checked = ref->fx->now;

            shut_out = ref_full(&e->params, s);
        }
    }

    s->inflight--;

    rc = fx_end(ref->fx, &pick, how);

    /*
     * Who comes back again and again has a slow start although none is
     * configured: that is for other tests, here nobody is known for it.
     */

    (void) lrt_and(&ref->fx->table.hot[pick.slot].health,
                   ~(uint64_t) LRT_HEALTH_FALLS);

    return (rc == (shut_out ? LRT_ENDED_SHUT_OUT : how)) ? NULL
                                                         : "how it ended";
}


void
ref_changed(ref_t *ref)
{
    uint32_t             slot, active[LRT_TIERS];
    ref_slot_t          *s;
    const lrt_entry_t   *e;

    memset(active, 0, sizeof(active));

    for (slot = 0; slot < ref->fx->table.capacity; slot++) {

        s = &ref->slot[slot];
        e = fx_entry(ref->fx, slot);

        if (e->ident == 0) {
            continue;
        }

        if (e->ident != s->ident) {
            memset(s, 0, sizeof(ref_slot_t));
            s->ident = e->ident;
        }

        if (!e->params.down && !e->params.drain) {
            active[e->params.backup]++;
        }
    }

    ref->lone[LRT_PRIMARY] = (active[LRT_PRIMARY] == 1
                              && active[LRT_BACKUP] == 0);
    ref->lone[LRT_BACKUP] = (active[LRT_BACKUP] == 1);
}


static unsigned
ref_full(const lrt_params_t *params, const ref_slot_t *s)
{
    return params->max_fails && s->fails >= params->max_fails;
}
