
/*
 * Copyright (C) the ngx_http_lrt_upstream_module authors
 */


#include "lrt_select.h"
#include "lrt_census.h"
#include "lrt_crowd.h"
#include "lrt_estimate.h"
#include "lrt_health.h"
#include "lrt_errors.h"
#include "lrt_least_time.h"
#include "lrt_passive.h"
#include "lrt_rank.h"
#include "lrt_tail.h"
#include "lrt_typical.h"


/*
 * A pick is done again when a commit or another pick came between.  Each time
 * somebody else got on, so there is no need to go on for ever.
 */

#define LRT_SELECT_TRIES     128

/* of fewer answers nobody knows what is long for that server */

#define LRT_SELECT_KNOWN     3


static void lrt_select_stamp(const lrt_view_t *view, uint32_t slot);
static void lrt_select_reason(const lrt_view_t *view, const lrt_ask_t *ask,
    uint32_t slot, unsigned point, lrt_reason_t *reason);
static unsigned lrt_select_errors(lrt_table_t *t, uint32_t slot,
    unsigned failed);
static unsigned lrt_select_stalls(lrt_table_t *t, uint32_t slot,
    uint64_t before, uint64_t time, uint64_t now);
static uint64_t lrt_select_answered(lrt_table_t *t, uint32_t slot,
    uint64_t before, uint64_t time, uint64_t now);
static void lrt_select_crowd(lrt_table_t *t, const lrt_pick_t *pick,
    uint64_t before, uint64_t time);
static unsigned lrt_select_learn(lrt_table_t *t, const lrt_pick_t *pick,
    const lrt_policy_t *policy, const lrt_outcome_t *out, uint64_t now);
static void lrt_select_passed(lrt_table_t *t, const lrt_entry_t *entry,
    lrt_hot_t *hot, uint64_t now);
static lrt_ended_e lrt_select_failed(lrt_table_t *t, const lrt_entry_t *entry,
    lrt_hot_t *hot, lrt_stats_t *st, uint64_t now);
static uint32_t lrt_select_slot(lrt_table_t *t, uint64_t generation,
    const lrt_ask_t *ask, lrt_view_t *view, unsigned point);
static uint32_t lrt_select_bound(lrt_view_t *view, uint64_t sid);
static unsigned lrt_select_enter(const lrt_view_t *view,
    const lrt_owner_t *owner, uint32_t slot, lrt_pick_t *pick);


lrt_rc_t
lrt_select(lrt_table_t *t, const lrt_owner_t *owner, const lrt_ask_t *ask,
    lrt_pick_t *pick)
{
    uint32_t    i, slot;
    uint64_t    generation;
    lrt_view_t  view;

    lrt_rank_wake(t, ask->now);

    for (i = 0; i < LRT_SELECT_TRIES; i++) {

        generation = lrt_table_generation(t);
        slot = lrt_select_slot(t, generation, ask, &view, 0);

        if (slot == LRT_NONE) {

            lrt_fence();

            if (lrt_table_generation(t) == generation) {
                return LRT_BUSY;
            }

            continue;
        }

        lrt_select_reason(&view, ask, slot, 0, &pick->reason);

        if (!lrt_select_enter(&view, owner, slot, pick)) {
            lrt_ledger_leave(t, owner, slot);
            lrt_rank_counted(t, slot, ask->now);
            continue;
        }

        lrt_point(LRT_POINT_PICKED);

        lrt_select_stamp(&view, slot);

        /* if this is a trial, the server is due again whatever comes of it */

        if (lrt_load(&t->hot[slot].fails)) {
            lrt_rank_wake_at(t, lrt_passive_until(&view.entry[slot].params,
                                                  &t->hot[slot]));
        }

        lrt_rank_counted(t, slot, ask->now);
        lrt_stats_selected(&t->detail[slot].stats, ask->wall);

        return LRT_OK;
    }

    return LRT_BUSY;
}


lrt_rc_t
lrt_select_point(lrt_table_t *t, const lrt_ask_t *ask, lrt_pick_t *pick,
    lrt_detail_t *detail)
{
    uint32_t    i, slot;
    uint64_t    generation;
    lrt_view_t  view;

    lrt_rank_wake(t, ask->now);

    for (i = 0; i < LRT_SELECT_TRIES; i++) {

        generation = lrt_table_generation(t);
        slot = lrt_select_slot(t, generation, ask, &view, 1);

        if (slot != LRT_NONE) {
            pick->slot = slot;
            pick->ident = view.entry[slot].ident;
            pick->generation = generation;
            pick->inflight = 0;

            lrt_select_reason(&view, ask, slot, 1, &pick->reason);

            *detail = t->detail[slot];
        }

        lrt_fence();

        if (lrt_table_generation(t) != generation) {
            continue;
        }

        if (slot == LRT_NONE) {
            return LRT_BUSY;
        }

        lrt_stats_selected(&t->detail[slot].stats, ask->wall);

        return LRT_OK;
    }

    return LRT_BUSY;
}


lrt_ended_e
lrt_release(lrt_table_t *t, const lrt_pick_t *pick, lrt_ended_e how,
    const lrt_outcome_t *out, uint64_t now)
{
    uint64_t             generation;
    unsigned             learned;
    lrt_hot_t           *hot;
    lrt_stats_t         *st;
    const lrt_side_t    *side;
    const lrt_entry_t   *entry;

    hot = &t->hot[pick->slot];
    st = &t->detail[pick->slot].stats;

    lrt_stats_finished(st, out);

    generation = lrt_table_generation(t);
    side = lrt_table_side(t, generation);
    entry = &lrt_table_entries(t, generation)[pick->slot];

    /* a server that was removed meanwhile has no parameters any more */

    learned = 0;

    if (entry->ident == pick->ident) {

        learned = lrt_select_learn(t, pick, &side->policy, out, now);

        if (how == LRT_ENDED_WELL) {
            lrt_select_passed(t, entry, hot, now);

        } else if (how == LRT_ENDED_FAILED) {
            how = lrt_select_failed(t, entry, hot, st, now);
        }
    }

    lrt_ledger_leave(t, &pick->owner, pick->slot);

    lrt_point(LRT_POINT_COUNT_OUT_CELL);

    if (learned) {
        lrt_rank_touch(t, pick->slot, now);

    } else {
        lrt_rank_counted(t, pick->slot, now);
    }

    return how;
}


static void
lrt_select_passed(lrt_table_t *t, const lrt_entry_t *entry, lrt_hot_t *hot,
    uint64_t now)
{
    if (lrt_passive_passed(&entry->params, hot)) {

        /* who was in use all the while does not come back */

        if (entry->params.forced != LRT_FORCED_UP) {
            lrt_health_readmit(hot, now);
        }

        lrt_census_turned(t, now);
    }
}


/* what a lone server fails must not shut it out when another comes */

static lrt_ended_e
lrt_select_failed(lrt_table_t *t, const lrt_entry_t *entry, lrt_hot_t *hot,
    lrt_stats_t *st, uint64_t now)
{
    lrt_tier_e         tier;
    lrt_passive_e      state;
    const lrt_side_t  *side;

    side = lrt_table_side(t, lrt_table_generation(t));
    tier = entry->params.backup ? LRT_BACKUP : LRT_PRIMARY;

    if (lrt_load(&side->tier[tier].lone)) {
        return LRT_ENDED_FAILED;
    }

    state = lrt_passive_failed(&entry->params, hot, now);

    if (state == LRT_PASSIVE_COUNTED) {
        return LRT_ENDED_FAILED;
    }

    if (state == LRT_PASSIVE_SHUT_OUT) {
        (void) lrt_add(&st->unavail, 1);
        lrt_census_turned(t, now);
    }

    lrt_rank_wake_at(t, lrt_passive_until(&entry->params, hot));

    return LRT_ENDED_SHUT_OUT;
}


/* when it was asked; where nobody has trials, answers since do not matter */

static void
lrt_select_stamp(const lrt_view_t *view, uint32_t slot)
{
    uint32_t      samples;
    uint64_t      last;
    lrt_table_t  *t;

    t = view->table;
    last = lrt_load(&t->hot[slot].trial);

    samples = lrt_method(view->policy->method)->due
              ? lrt_spread_samples(lrt_load(&t->head->learned.spread))
              : lrt_trial_samples(last);

    lrt_store(&t->hot[slot].trial,
              lrt_trial(view->now, lrt_trial_credit(last), samples));
}


/* before the request is counted in: what is shown is what was compared */

static void
lrt_select_reason(const lrt_view_t *view, const lrt_ask_t *ask, uint32_t slot,
    unsigned point, lrt_reason_t *reason)
{
    lrt_reason_chosen(view, slot, reason);

    if (view->bound) {
        reason->why = LRT_WHY_BOUND;

    } else if (ask->explain) {
        lrt_reason_explain(view, point, reason);
    }
}


/*
 * Usual is what the others do, each of them, however many requests it has.  As
 * long as failures cost a server requests, those that disprove them shall come
 * soon.
 */

static unsigned
lrt_select_errors(lrt_table_t *t, uint32_t slot, unsigned failed)
{
    uint32_t  usual;
    uint64_t  before, after, *errors;

    errors = &t->health[slot].errors;
    before = lrt_load(errors);

    if (!failed && before == 0) {
        return 0;
    }

    usual = lrt_errors_usual(before, lrt_load(&t->head->learned.errors),
                             (uint32_t) lrt_load(&t->head->known.value));

    after = lrt_errors_add(before, failed, usual);

    lrt_store(errors, after);

    (void) lrt_add(&t->head->learned.errors, (uint64_t) lrt_errors_part(after)
                                              - lrt_errors_part(before));

    if (!failed
        && (lrt_errors_suspected(after) || lrt_errors_cost(after, usual)))
    {
        lrt_least_time_ask(&t->hot[slot]);
    }

    return lrt_errors_suspected(after);
}


/* returns whether it is a stall that says nothing yet about other answers */

static unsigned
lrt_select_stalls(lrt_table_t *t, uint32_t slot, uint64_t before, uint64_t time,
    uint64_t now)
{
    uint32_t  above, idle;
    uint64_t  old, new, tail, *word;

    if (lrt_estimate_samples(before) < LRT_SELECT_KNOWN) {
        return 0;
    }

    above = lrt_estimate_above(before, time);
    idle = lrt_estimate_age(before, now);

    /* usual is what was before: a stall does not make stalls usual at once */

    word = &t->head->learned.tail;

    tail = lrt_load(word);
    new = lrt_tail_add(tail, above);

    if (new != tail) {
        lrt_store(word, new);
    }

    word = &t->health[slot].errors;

    old = lrt_load(word);
    new = lrt_stalls_add(old, above, idle, lrt_tail_usual(tail));

    if (new != old) {
        lrt_store(word, new);
    }

    return lrt_stalls_alone(old, above);
}


/*
 * Returns the server's new estimate.  One good answer after a trial: others
 * shall tell soon whether it lasts.  If it is so good that the server must have
 * changed, or the last of those that clear a suspect, all that is known is of
 * another time.
 */

static uint64_t
lrt_select_answered(lrt_table_t *t, uint32_t slot, uint64_t before,
    uint64_t time, uint64_t now)
{
    unsigned         suspected, cleared, alone;
    uint64_t        *errors;
    lrt_norm_t       norm;
    lrt_recovers_e   recovers;

    errors = &t->health[slot].errors;

    cleared = lrt_errors_suspected(lrt_load(errors));
    suspected = lrt_select_errors(t, slot, 0);
    cleared = (cleared && !suspected);

    alone = lrt_select_stalls(t, slot, before, time, now);

    lrt_typical_norm(t, &norm);
    recovers = lrt_estimate_recovers(before, time, &norm, now);
    recovers = lrt_least_time_answered(&t->hot[slot], recovers);

    if (cleared || (recovers == LRT_RECOVERS_SURELY && !suspected)) {
        lrt_store(errors, lrt_stalls_forget(lrt_load(errors)));
        return lrt_estimate_add(0, time, now);
    }

    if (alone || lrt_least_time_poor(&t->hot[slot], recovers)) {
        return lrt_estimate_add_rare(before, time, now);
    }

    return lrt_tail_heavy(lrt_load(&t->head->learned.tail))
           ? lrt_estimate_add_tailed(before, time, now)
           : lrt_estimate_add(before, time, now);
}


/* was it longer than others of this server, if it had more requests? */

static void
lrt_select_crowd(lrt_table_t *t, const lrt_pick_t *pick, uint64_t before,
    uint64_t time)
{
    int64_t         more, longer;
    uint16_t       *usual;
    lrt_learned_t  *learned;

    learned = &t->head->learned;

    if (before == 0
        || lrt_spread_samples(lrt_load(&learned->spread)) % LRT_CROWD_EVERY)
    {
        return;
    }

    usual = &t->hot[pick->slot].crowd;
    more = lrt_crowd_more(lrt_load(usual), pick->inflight);
    longer = (int64_t) lrt_estimate_us(time)
             - (int64_t) lrt_estimate_log(before);

    lrt_store(usual, lrt_crowd_usual(lrt_load(usual), pick->inflight));

    lrt_store(&learned->product,
              lrt_crowd_add(lrt_load(&learned->product), more, longer));
    lrt_store(&learned->square,
              lrt_crowd_add(lrt_load(&learned->square), more, more));
}


/*
 * Returns whether the rank of the server is another one, maybe.  Two workers at
 * once may lose a sample, which is no more than one less.
 */

static unsigned
lrt_select_learn(lrt_table_t *t, const lrt_pick_t *pick,
    const lrt_policy_t *policy, const lrt_outcome_t *out, uint64_t now)
{
    uint32_t        slot;
    uint64_t        time, before, after;
    lrt_hot_t      *hot;
    lrt_learned_t  *learned;

    slot = pick->slot;
    hot = &t->hot[slot];
    time = policy->last_byte ? out->last_byte : out->header;
    before = lrt_load(&hot->estimate);
    learned = &t->head->learned;

    if (time == 0) {

        if (!lrt_outcome_failed(out)) {

            /* it answered, whatever its time says */

            if (out->header) {
                (void) lrt_select_errors(t, slot, 0);
            }

            return out->header != 0;
        }

        (void) lrt_select_errors(t, slot, 1);

        after = lrt_estimate_fail(before, (uint32_t) lrt_load(&learned->usual),
                                  now);

        if (after == before) {
            return 1;
        }

    } else {
        after = lrt_select_answered(t, slot, before, time, now);

        lrt_select_crowd(t, pick, before, time);

        lrt_store(&learned->usual,
                  lrt_usual_add(lrt_load(&learned->usual), time));

        lrt_store(&learned->spread,
                  lrt_spread_add(lrt_load(&learned->spread),
                                 lrt_estimate_deviation(before, time)));
    }

    lrt_store(&hot->estimate, after);
    lrt_rank_learned(t, before, after, now);

    return 1;
}


uint32_t
lrt_tries(const lrt_table_t *t)
{
    const lrt_side_t  *side;

    side = lrt_table_side(t, lrt_table_generation(t));

    return lrt_load(&side->tier[LRT_PRIMARY].tries)
           + lrt_load(&side->tier[LRT_BACKUP].tries);
}


static uint32_t
lrt_select_slot(lrt_table_t *t, uint64_t generation, const lrt_ask_t *ask,
    lrt_view_t *view, unsigned point)
{
    uint32_t             slot, first;
    lrt_tier_e           tier;
    const lrt_side_t    *side;
    const lrt_method_t  *method;

    side = lrt_table_side(t, generation);
    method = lrt_method(lrt_load(&side->policy.method));

    view->table = t;
    view->generation = generation;
    view->now = ask->now;
    view->entry = lrt_table_entries(t, generation);
    view->policy = &side->policy;
    view->changed = lrt_load(&side->changed);
    view->tried = ask->tried;
    view->ntried = ask->ntried;
    view->client = &ask->client;
    view->owned = ask->owned;
    view->owned_mask = ask->owned_mask;
    view->bound = 0;

    view->top = lrt_load(&side->top);
    view->top = (view->top < t->capacity) ? view->top : t->capacity;

    for (tier = LRT_PRIMARY; tier < LRT_TIERS; tier++) {

        view->tier = tier;
        lrt_rules(t, generation, tier, &view->rules);

        if (ask->sid) {
            slot = lrt_select_bound(view, ask->sid);

            if (slot != LRT_NONE) {
                return slot;
            }
        }

        lrt_table_schedule(t, generation, tier, &view->schedule);
        first = (uint32_t) (view->schedule.reach - t->reach[generation & 1]);

        /* numbers of two generations, mixed, would lead out of the arrays */

        if (view->schedule.total == 0
            || view->schedule.n == 0
            || first > t->capacity
            || view->schedule.n > t->capacity - first)
        {
            continue;
        }

        view->weight = lrt_load(&side->tier[tier].weight);
        view->order = t->order[generation & 1] + first;

        slot = point ? method->point(view) : method->pick(view);

        if (slot != LRT_NONE) {
            return slot;
        }
    }

    return LRT_NONE;
}


/* a server of the tier that the request knows, if it can still serve it */

static uint32_t
lrt_select_bound(lrt_view_t *view, uint64_t sid)
{
    uint32_t            slot, probe;
    const lrt_entry_t  *entry;

    probe = 0;

    for ( ;; ) {

        slot = lrt_table_next_sid(view->table,
                                  (unsigned) view->generation & 1, sid,
                                  &probe);
        if (slot == LRT_NONE) {
            return LRT_NONE;
        }

        entry = &view->entry[slot];

        if (entry->params.backup == (view->tier == LRT_BACKUP)
            && !lrt_view_tried(view, slot)
            && lrt_usable_bound(entry, &view->table->hot[slot], &view->rules,
                                view->now))
        {
            view->bound = 1;
            return slot;
        }
    }
}


/*
 * Counts the request in, and only then finds out whether it may stay: if the
 * generation is still the same, the server is in the group, and a writer that
 * removes it later sees the count before it gives the slot away.
 */

static unsigned
lrt_select_enter(const lrt_view_t *view, const lrt_owner_t *owner,
    uint32_t slot, lrt_pick_t *pick)
{
    int32_t              before;
    lrt_table_t         *t;
    const lrt_entry_t   *entry;

    t = view->table;
    entry = &view->entry[slot];

    before = lrt_ledger_enter(t, owner, slot);

    lrt_point(LRT_POINT_COUNT_IN_TOTAL);

    pick->slot = slot;
    pick->owner = *owner;
    pick->ident = entry->ident;
    pick->generation = view->generation;
    pick->inflight = (before > 0) ? (uint32_t) before + 1 : 1;

    if (entry->params.max_conns
        && before >= (int32_t) lrt_rules_conns(&view->rules, &entry->params,
                                               &t->hot[slot], view->now))
    {
        return 0;
    }

    /* in order behind the count, as both are in that of all processes */

    if (lrt_load_ordered(&t->head->generation.value) != view->generation) {
        return 0;
    }

    return lrt_passive_pick(&entry->params, &t->hot[slot], view->now)
           || entry->params.forced == LRT_FORCED_UP
           || view->rules.lone
           || view->rules.panic;
}
