
/*
 * Copyright (C) the ngx_http_lrt_upstream_module authors
 */


#include "lrt_change.h"
#include "lrt_census.h"
#include "lrt_gone.h"
#include "lrt_health.h"
#include "lrt_ledger.h"
#include "lrt_rank.h"

#include <string.h>


/* a commit in the making: the side that nobody reads yet */

typedef struct {
    lrt_table_t         *table;
    lrt_entry_t         *entry;
    const lrt_entry_t   *live;
    lrt_side_t          *side;
    unsigned             number;         /* of the side, 0 or 1 */
    uint32_t             next_free;      /* no free slot below */
    uint64_t             next_ident;
    uint64_t             generation;
} lrt_draft_t;


static void lrt_draft_leaving(lrt_table_t *t, const lrt_change_t *c);
static void lrt_draft_health(lrt_draft_t *d, const lrt_change_t *c,
    unsigned reload, uint64_t now);
static void lrt_draft_begin(lrt_draft_t *d, lrt_table_t *t,
    uint64_t generation);
static lrt_rc_t lrt_draft_apply(lrt_draft_t *d, lrt_change_t *c);
static lrt_rc_t lrt_draft_add(lrt_draft_t *d, lrt_change_t *c);
static void lrt_draft_clear(lrt_detail_t *detail);
static uint64_t lrt_draft_ident(lrt_draft_t *d, uint64_t wanted);
static uint32_t lrt_draft_free_slot(lrt_draft_t *d);
static uint32_t lrt_draft_find(lrt_draft_t *d, lrt_change_t *c);
static void lrt_draft_index(lrt_draft_t *d, uint32_t slot);
static void lrt_draft_insert(uint32_t *index, uint32_t size, uint64_t hash,
    uint32_t slot);
static void lrt_draft_build(lrt_draft_t *d);
static uint32_t lrt_draft_order(lrt_draft_t *d, uint32_t *order, uint32_t first,
    lrt_tier_e tier);
static void lrt_draft_tier(lrt_draft_t *d, lrt_tier_e tier);
static void lrt_draft_tidy(lrt_draft_t *d, lrt_change_set_t *set,
    uint64_t now);


lrt_rc_t
lrt_change_commit(lrt_table_t *t, lrt_change_set_t *set, uint64_t now)
{
    uint32_t     i;
    uint64_t     generation;
    lrt_rc_t     rc;
    lrt_draft_t  d;

    generation = lrt_table_generation(t);

    set->generation = generation;
    set->refused = set->n;

    if (t->head->superseded) {
        return LRT_SUPERSEDED;
    }

    if (set->expected && set->expected != generation) {
        return LRT_CONFLICT;
    }

    lrt_point(LRT_POINT_COMMIT_BEGIN);

    lrt_draft_begin(&d, t, generation + 1);

    for (i = 0; i < set->n; i++) {
        rc = lrt_draft_apply(&d, &set->change[i]);
        set->change[i].rc = rc;

        if (rc != LRT_OK) {
            set->refused = i;
            return rc;
        }
    }

    /* a draft in the idle side, and in slots that nobody has, is no change */

    if (set->dry) {
        return LRT_OK;
    }

    lrt_point(LRT_POINT_COMMIT_ENTRIES);

    lrt_draft_build(&d);

    for (i = 0; i < set->n; i++) {
        lrt_draft_leaving(t, &set->change[i]);
        lrt_draft_health(&d, &set->change[i], set->reload, now);
    }

    /* a removal must be remembered before it can be seen */

    for (i = 0; i < set->n && !set->from_conf; i++) {
        if (set->change[i].type == LRT_REMOVE
            && t->detail[set->change[i].slot].in_conf)
        {
            lrt_gone_add(t, d.live[set->change[i].slot].hash,
                         &t->detail[set->change[i].slot].conf);
        }
    }

    /* an id must never be given twice, even if nobody sees this commit */

    lrt_store(&t->head->next_ident, d.next_ident);

    lrt_point(LRT_POINT_COMMIT_BUILT);

    lrt_fence();
    lrt_store(&t->head->generation.value, d.generation);
    lrt_fence();

    set->generation = d.generation;

    lrt_point(LRT_POINT_COMMIT_PUBLISHED);

    lrt_draft_tidy(&d, set, now);

    lrt_point(LRT_POINT_COMMIT_DONE);

    return LRT_OK;
}


unsigned
lrt_change_leaves(lrt_table_t *t, uint32_t *slot, uint64_t now,
    lrt_change_t *c)
{
    uint32_t             from;
    unsigned             waiting;
    uint64_t             leaving;
    const lrt_entry_t   *entry;

    entry = lrt_table_entries(t, lrt_table_generation(t));
    from = *slot;
    waiting = 0;

    for ( /* void */ ; *slot < t->capacity; (*slot)++) {

        leaving = t->detail[*slot].leaving;

        if (leaving == 0
            || entry[*slot].ident == 0
            || !entry[*slot].params.drain)
        {
            continue;
        }

        if (now < lrt_leaving_when(leaving)
            && !lrt_ledger_idle(t, *slot))
        {
            waiting = 1;
            continue;
        }

        memset(c, 0, sizeof(lrt_change_t));

        c->type = LRT_REMOVE;
        c->ident = entry[*slot].ident;
        c->slot = *slot;
        c->leaving = leaving;

        return 1;
    }

    /* who looks at some only does not know about the others */

    if (!waiting && from == 0) {
        lrt_store(&t->head->leaving, 0);
    }

    return 0;
}


uint32_t
lrt_change_room(const lrt_table_t *t)
{
    uint32_t            slot, n;
    const lrt_entry_t  *entry;

    n = 0;
    entry = lrt_table_entries(t, lrt_table_generation(t));

    for (slot = 0; slot < t->capacity; slot++) {
        n += (entry[slot].ident == 0 && lrt_ledger_idle(t, slot));
    }

    return n;
}


uint32_t
lrt_change_clear(lrt_table_t *t, uint32_t *slot, uint32_t n)
{
    uint32_t            end, free;
    const lrt_entry_t  *entry;

    free = 0;
    end = (n < t->capacity - *slot) ? *slot + n : t->capacity;
    entry = lrt_table_entries(t, lrt_table_generation(t));

    for ( /* void */ ; *slot < end; (*slot)++) {

        if (entry[*slot].ident == 0 && lrt_ledger_idle(t, *slot)) {
            lrt_draft_clear(&t->detail[*slot]);
            free++;
        }
    }

    return free;
}


lrt_rc_t
lrt_change_move(lrt_table_t *dst, lrt_table_t *src, lrt_leaves_pt leaves,
    const void *data)
{
    uint32_t            i, n, slot, to, tier;
    uint64_t            generation;
    lrt_hot_t          *hot;
    lrt_draft_t         d;
    const uint32_t     *order;
    const lrt_side_t   *side;
    const lrt_entry_t  *entry;

    generation = lrt_table_generation(src);
    side = lrt_table_side(src, generation);
    order = src->order[generation & 1];
    entry = lrt_table_entries(src, generation);

    n = side->tier[LRT_PRIMARY].n + side->tier[LRT_BACKUP].n;

    for (i = 0, to = 0; i < n; i++) {
        to += !leaves(src, order[i], data);
    }

    if (to > dst->capacity) {
        return LRT_FULL;
    }

    lrt_store(&src->head->superseded, 1);

    lrt_draft_begin(&d, dst, generation + 1);

    for (i = 0, to = 0; i < n; i++) {
        slot = order[i];

        if (leaves(src, slot, data)) {
            continue;
        }

        d.entry[to] = entry[slot];
        dst->detail[to] = src->detail[slot];

        hot = &dst->hot[to];
        hot->fails = src->hot[slot].fails;
        hot->accessed = src->hot[slot].accessed;
        hot->checked = src->hot[slot].checked;
        hot->estimate = src->hot[slot].estimate;
        hot->crowd = src->hot[slot].crowd;
        hot->trial = src->hot[slot].trial;
        hot->health = src->hot[slot].health;

        dst->health[to] = src->health[slot];

        lrt_draft_index(&d, to++);
    }

    /* what the new zone has no room for comes back with a reload, no more */

    for (i = 0; i < src->head->ngone; i++) {
        lrt_gone_add(dst, src->gone[i].hash, &src->gone[i].conf);
    }

    for (tier = 0; tier < LRT_TIERS; tier++) {
        for (i = 0; i < LRT_CURSORS; i++) {
            dst->head->cursor[tier][i] = src->head->cursor[tier][i];
        }
    }

    dst->head->typical = src->head->typical;
    dst->head->known.value = src->head->known.value;
    dst->head->learned = src->head->learned;
    dst->head->census.value = src->head->census.value;
    dst->head->told = src->head->told;
    dst->head->pace.value = src->head->pace.value;

    d.side->policy = side->policy;
    d.side->settings = side->settings;
    d.side->asks = side->asks;
    d.side->changed = d.generation;
    dst->head->epoch = src->head->epoch;
    dst->head->leaving = src->head->leaving;
    dst->head->state_hash = src->head->state_hash;
    dst->head->state_next = src->head->state_next;
    dst->head->state_saved = (src->head->state_saved == generation)
                             ? d.generation
                             : src->head->state_saved ? UINT64_MAX : 0;
    dst->head->state_bad = src->head->state_bad;
    dst->head->state_writer = src->head->state_writer;
    memcpy(dst->head->state_why, src->head->state_why, LRT_WHY_LEN);
    dst->head->next_ident = src->head->next_ident;
    dst->head->merged = src->head->merged;
    dst->head->conf_policy = src->head->conf_policy;
    dst->head->conf_settings = src->head->conf_settings;
    dst->head->asked = src->head->asked;
    dst->head->nasked = src->head->nasked;
    memcpy(dst->head->ask, src->head->ask, sizeof(src->head->ask));

    lrt_draft_build(&d);
    lrt_store(&dst->head->generation.value, d.generation);

    return LRT_OK;
}


/* before it can be seen, as it is lost if the writer dies in between */

static void
lrt_draft_leaving(lrt_table_t *t, const lrt_change_t *c)
{
    if (c->type == LRT_REMOVE
        || (c->type == LRT_MODIFY && (c->fields & LRT_F_DRAIN)))
    {
        t->detail[c->slot].leaving = c->leaving;

        if (c->leaving) {
            lrt_store(&t->head->leaving, 1);
        }

    }
}


/*
 * A new server takes no request before its mandatory checks have passed, and
 * few at first, so that is there before the server can be seen.  It is the
 * same for one that an operator brings back: nobody asks it meanwhile.
 */

static void
lrt_draft_health(lrt_draft_t *d, const lrt_change_t *c, unsigned reload,
    uint64_t now)
{
    if (c->type == LRT_ADD) {
        lrt_store(&d->table->hot[c->slot].health,
                  lrt_health_fresh(&d->side->settings, !reload, now));

    } else if (c->type == LRT_MODIFY
               && !reload
               && lrt_params_active(&d->entry[c->slot].params)
               && !lrt_params_active(&d->live[c->slot].params))
    {
        lrt_health_ramp(&d->table->hot[c->slot], now);
    }
}


/* the idle side becomes a copy of the one in force, whatever it held */

static void
lrt_draft_begin(lrt_draft_t *d, lrt_table_t *t, uint64_t generation)
{
    uint32_t           slot;
    const lrt_side_t  *live;

    d->table = t;
    d->generation = generation;
    d->number = (unsigned) generation & 1;
    d->side = &t->head->side[d->number];
    d->entry = t->entry[d->number];
    d->live = t->entry[!d->number];
    d->next_free = 0;
    d->next_ident = t->head->next_ident;

    live = &t->head->side[!d->number];

    d->side->policy = live->policy;
    d->side->settings = live->settings;
    d->side->asks = live->asks;
    d->side->changed = live->changed;

    memcpy(d->entry, d->live, t->capacity * sizeof(lrt_entry_t));
    memset(t->index[d->number], 0, t->index_size * sizeof(uint32_t));
    memset(t->sids[d->number], 0, t->index_size * sizeof(uint32_t));

    for (slot = 0; slot < live->top; slot++) {
        if (d->entry[slot].ident) {
            lrt_draft_index(d, slot);
        }
    }
}


static lrt_rc_t
lrt_draft_apply(lrt_draft_t *d, lrt_change_t *c)
{
    lrt_params_t  params;

    switch (c->type) {

    case LRT_ADD:
        return lrt_draft_add(d, c);

    case LRT_SET_POLICY:

        if (!lrt_policy_valid(&c->policy)) {
            return LRT_INVALID;
        }

        d->side->policy = c->policy;
        return LRT_OK;

    case LRT_SET_SETTINGS:

        if (!lrt_settings_valid(c->settings)) {
            return LRT_INVALID;
        }

        if (!lrt_checks_equal(&d->side->settings, c->settings)) {
            d->side->asks = d->generation;
        }

        d->side->settings = *c->settings;
        return LRT_OK;

    default: /* REMOVE, MODIFY, KEEP */
        break;
    }

    c->slot = lrt_draft_find(d, c);

    if (c->slot == LRT_NONE) {
        return LRT_MISSING;
    }

    if (c->type == LRT_REMOVE) {
        d->entry[c->slot].ident = 0;
        d->side->changed = d->generation;
        return LRT_OK;
    }

    if (c->type == LRT_MODIFY) {
        params = d->entry[c->slot].params;
        lrt_params_copy(&params, &c->server.params, c->fields);

        if (!lrt_params_valid(&params)) {
            return LRT_INVALID;
        }

        if (params.weight != d->entry[c->slot].params.weight) {
            d->entry[c->slot].since = d->generation;
            d->side->changed = d->generation;
        }

        d->entry[c->slot].params = params;
    }

    return LRT_OK;
}


static lrt_rc_t
lrt_draft_add(lrt_draft_t *d, lrt_change_t *c)
{
    uint32_t       slot;
    uint64_t       hash;
    lrt_hot_t     *hot;
    lrt_gone_t    *gone;
    lrt_entry_t   *entry;
    lrt_table_t   *t;
    lrt_detail_t  *detail;

    t = d->table;

    if (!lrt_params_valid(&c->server.params)
        || !lrt_table_fits(&c->server))
    {
        return LRT_INVALID;
    }

    hash = lrt_table_hash(c->server.sockaddr, c->server.socklen,
                          c->server.params.backup);

    if (lrt_table_find(t, d->number, &c->server, hash) != LRT_NONE) {
        return LRT_EXISTS;
    }

    slot = lrt_draft_free_slot(d);

    if (slot == LRT_NONE) {
        return LRT_FULL;
    }

    /*
     * Nobody holds or sees the slot.  But one who chose its last owner long
     * ago may just be stepping in and back: his count is left alone.
     */

    hot = &t->hot[slot];

    hot->fails = 0;
    hot->accessed = 0;
    hot->checked = 0;
    hot->estimate = 0;
    hot->lag = 0;
    hot->trial = 0;
    hot->crowd = 0;

    memset(&t->health[slot], 0, sizeof(lrt_health_t));

    detail = &t->detail[slot];

    lrt_draft_clear(detail);
    lrt_store(&detail->born, d->generation);
    lrt_fence();

    lrt_table_set_data(detail, &c->server);

    gone = lrt_gone_find(t, hash);

    if (c->conf || gone) {
        detail->in_conf = 1;
        detail->conf = c->conf ? *c->conf : gone->conf;
    }

    entry = &d->entry[slot];
    entry->hash = hash;
    entry->since = d->generation;
    entry->sid = c->server.sid;
    entry->params = c->server.params;
    entry->ident = lrt_draft_ident(d, c->server.ident);

    lrt_draft_index(d, slot);
    d->side->changed = d->generation;

    c->slot = slot;
    c->ident = entry->ident;

    return LRT_OK;
}


/* "born" is the last to go and the first to come: writers may die in between */

static void
lrt_draft_clear(lrt_detail_t *detail)
{
    if (detail->born == 0) {
        return;
    }

    memset(&detail->born + 1, 0, sizeof(lrt_detail_t) - sizeof(detail->born));

    lrt_point(LRT_POINT_SLOT_CLEARED);

    lrt_store(&detail->born, 0);
}


/*
 * No id is given twice: one that a server had before counts in an empty table,
 * where nobody else can have got it, or if it is new.
 */

static uint64_t
lrt_draft_ident(lrt_draft_t *d, uint64_t wanted)
{
    if (wanted >= d->next_ident) {
        d->next_ident = wanted + 1;
        return wanted;
    }

    if (wanted && d->generation == 1) {
        return wanted;
    }

    return d->next_ident++;
}


static uint32_t
lrt_draft_free_slot(lrt_draft_t *d)
{
    uint32_t  slot;

    for (slot = d->next_free; slot < d->table->capacity; slot++) {

        /* one that this very commit empties is still in use */

        if (d->entry[slot].ident == 0
            && d->live[slot].ident == 0
            && lrt_ledger_idle(d->table, slot))
        {
            d->next_free = slot + 1;
            return slot;
        }
    }

    return LRT_NONE;
}


static uint32_t
lrt_draft_find(lrt_draft_t *d, lrt_change_t *c)
{
    uint32_t  slot;

    if (c->ident == 0) {
        return LRT_NONE;
    }

    if (c->slot < d->table->capacity && d->entry[c->slot].ident == c->ident) {
        return c->slot;
    }

    for (slot = 0; slot < d->table->capacity; slot++) {
        if (d->entry[slot].ident == c->ident) {
            return slot;
        }
    }

    return LRT_NONE;
}


static void
lrt_draft_index(lrt_draft_t *d, uint32_t slot)
{
    lrt_table_t        *t;
    const lrt_entry_t  *entry;

    t = d->table;
    entry = &d->entry[slot];

    lrt_draft_insert(t->index[d->number], t->index_size, entry->hash, slot);

    if (entry->sid) {
        lrt_draft_insert(t->sids[d->number], t->index_size, entry->sid, slot);
    }
}


static void
lrt_draft_insert(uint32_t *index, uint32_t size, uint64_t hash, uint32_t slot)
{
    uint32_t  i;

    for (i = (uint32_t) hash & (size - 1); index[i]; i = (i + 1) & (size - 1)) {
        /* void */
    }

    index[i] = slot + 1;
}


/* order, schedules and the rest of what picks read beside the entries */

static void
lrt_draft_build(lrt_draft_t *d)
{
    uint32_t     n, slot, *order;
    lrt_side_t  *side;

    side = d->side;
    order = d->table->order[d->number];

    side->generation = d->generation;
    side->top = 0;

    for (slot = 0; slot < d->table->capacity; slot++) {
        if (d->entry[slot].ident) {
            side->top = slot + 1;
        }
    }

    n = lrt_draft_order(d, order, 0, LRT_PRIMARY);
    (void) lrt_draft_order(d, order, n, LRT_BACKUP);

    lrt_draft_tier(d, LRT_PRIMARY);
    lrt_draft_tier(d, LRT_BACKUP);

    /*
     * The only server that a request can go to is never shut out; a backup
     * is the only one when it is alone among the backups, as in stock nginx.
     */

    side->tier[LRT_PRIMARY].lone = (side->tier[LRT_PRIMARY].active == 1
                                    && side->tier[LRT_BACKUP].active == 0);
    side->tier[LRT_BACKUP].lone = (side->tier[LRT_BACKUP].active == 1);
}


/*
 * Slots of the tier by age of their servers, so that turns go in the order in
 * which servers were configured and added, whatever slots they got: those
 * that were there before in their old order, then the new ones.
 */

static uint32_t
lrt_draft_order(lrt_draft_t *d, uint32_t *order, uint32_t first,
    lrt_tier_e tier)
{
    uint32_t            i, j, n, end, slot;
    const uint32_t     *before;
    const lrt_tier_t   *old;

    old = &d->table->head->side[!d->number].tier[tier];
    before = d->table->order[!d->number] + old->first;

    n = first;

    for (i = 0; i < old->n; i++) {
        slot = before[i];

        if (d->entry[slot].ident
            && d->entry[slot].ident == d->live[slot].ident)
        {
            order[n++] = slot;
        }
    }

    end = n;

    for (slot = 0; slot < d->side->top; slot++) {

        if (d->entry[slot].ident
            && d->entry[slot].ident != d->live[slot].ident
            && d->entry[slot].params.backup == (tier == LRT_BACKUP))
        {
            /* mostly in order already: slots are given out from below */

            for (j = n++; j > end; j--) {
                if (d->entry[order[j - 1]].ident < d->entry[slot].ident) {
                    break;
                }

                order[j] = order[j - 1];
            }

            order[j] = slot;
        }
    }

    d->side->tier[tier].first = first;
    d->side->tier[tier].n = n - first;

    return n;
}


static void
lrt_draft_tier(lrt_draft_t *d, lrt_tier_e tier)
{
    uint32_t             i, *guide;
    uint64_t            *reach;
    lrt_tier_t          *lt;
    lrt_schedule_t       s;
    const uint32_t      *order;
    const lrt_params_t  *params;

    lt = &d->side->tier[tier];

    order = d->table->order[d->number] + lt->first;
    reach = d->table->reach[d->number] + lt->first;
    guide = d->table->guide[d->number] + lt->first;

    lt->active = 0;
    lt->tries = 0;
    lt->weight = 0;

    for (i = 0; i < lt->n; i++) {
        params = &d->entry[order[i]].params;

        if (!lrt_params_active(params)) {
            reach[i] = 0;

        } else {
            reach[i] = params->weight;
            lt->active++;
            lt->weight += params->weight;
            lt->tries += 1 + params->twins;
        }
    }

    lrt_schedule_build(&s, reach, guide, lt->n);

    lt->total = s.total;
    lt->stride = s.stride;
}


/*
 * What follows from the new generation but is not part of it.  All of it can
 * be lost without harm: ranks are kept up by the audit, and the next merge
 * comes to the same result.
 */

static void
lrt_draft_tidy(lrt_draft_t *d, lrt_change_set_t *set, uint64_t now)
{
    uint32_t       i;
    lrt_gone_t    *gone;
    lrt_table_t   *t;
    lrt_change_t  *c;

    t = d->table;

    for (i = 0; i < set->n; i++) {
        c = &set->change[i];

        if (c->type == LRT_SET_POLICY || c->type == LRT_SET_SETTINGS) {
            continue;
        }

        /* workers look once for each, so not before the server is gone */

        if (c->type == LRT_REMOVE && lrt_leaving_cut(c->leaving)) {
            (void) lrt_add(&t->head->cuts, 1);
        }

        /* a drain that begins anew ends anew */

        if (c->type == LRT_MODIFY && (c->fields & LRT_F_DRAIN)) {
            (void) lrt_and(&t->hot[c->slot].health,
                           ~(uint64_t) LRT_HEALTH_DRAINED);
        }

        if (c->type == LRT_ADD) {
            gone = lrt_gone_find(t, d->entry[c->slot].hash);

            if (gone) {
                lrt_gone_drop(t, gone);
            }

        } else if (c->type != LRT_REMOVE && c->conf) {
            t->detail[c->slot].in_conf = 1;
            t->detail[c->slot].conf = *c->conf;
        }
    }

    lrt_health_follow(t, now);

    /* "lone", the method or any parameter may have changed */

    (void) lrt_census(t, now);
    lrt_rank_refresh(t, now);
}
