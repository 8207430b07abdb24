
/*
 * Copyright (C) the ngx_http_lrt_upstream_module authors
 */


#include "lrt_health.h"
#include "lrt_census.h"
#include "lrt_estimate.h"
#include "lrt_least_time.h"
#include "lrt_ledger.h"
#include "lrt_pace.h"
#include "lrt_passive.h"
#include "lrt_rank.h"
#include "lrt_rhythm.h"

#include <string.h>


#define LRT_VERDICT_MAX_TIME  UINT32_MAX

#define LRT_ASKED_NONE        UINT64_MAX


static uint64_t lrt_health_bits(const lrt_settings_t *settings,
    const lrt_health_t *health);
static uint32_t lrt_health_same(const lrt_head_t *head,
    const lrt_settings_t *settings, uint32_t i, const uint32_t *from);
static void lrt_health_permute(lrt_table_t *t, const lrt_settings_t *settings,
    const uint32_t *from);
static void lrt_health_apply(lrt_table_t *t, uint32_t slot, uint64_t now,
    lrt_turn_t *turn);
static void lrt_health_pace(lrt_table_t *t, const lrt_probe_t *probe,
    const lrt_result_t *result, uint64_t now);
static void lrt_health_pardon(lrt_table_t *t, uint32_t slot,
    const lrt_params_t *params, uint64_t now, lrt_turn_t *turn);
static void lrt_health_back(lrt_hot_t *hot, uint64_t now, unsigned fell);
static uint64_t lrt_health_fell(uint64_t word, uint64_t now);


uint64_t
lrt_verdict_next(uint64_t word, const lrt_check_t *check,
    const lrt_result_t *result)
{
    uint32_t       run;
    uint64_t       time;
    lrt_verdict_e  verdict;

    verdict = lrt_verdict(word);
    run = lrt_verdict_run(word);

    switch (result->how) {

    case LRT_PROBE_PASSED:

        if (verdict != LRT_FAILING || ++run >= check->passes) {
            verdict = LRT_PASSING;
            run = 0;
        }

        break;

    case LRT_PROBE_FAILED:

        if (verdict == LRT_FAILING || ++run >= check->fails) {
            verdict = LRT_FAILING;
            run = 0;
        }

        break;

    default: /* UNCLEAR */
        break;
    }

    time = (result->time < LRT_VERDICT_MAX_TIME) ? result->time
                                                 : LRT_VERDICT_MAX_TIME;

    return (uint64_t) verdict
           | (uint64_t) run << 2
           | (uint64_t) (result->reason & 0x3f) << 16
           | (uint64_t) (result->status & 0x3ff) << 22
           | time << 32;
}


uint64_t
lrt_health_fresh(const lrt_settings_t *settings, unsigned ramp, uint64_t now)
{
    lrt_health_t  health;

    memset(&health, 0, sizeof(lrt_health_t));

    return lrt_health_bits(settings, &health)
           | (ramp ? LRT_HEALTH_RAMP : 0)
           | now << LRT_HEALTH_SHIFT;
}


lrt_rc_t
lrt_health_begin(lrt_table_t *t, lrt_probe_t *probe, uint64_t now)
{
    lrt_health_t       *health;
    const lrt_entry_t  *entry;

    entry = &lrt_table_entries(t, lrt_table_generation(t))[probe->slot];

    if (entry->ident != probe->ident
        || lrt_load(&t->head->asked) != probe->asks)
    {
        return LRT_MISSING;
    }

    health = &t->health[probe->slot];

    probe->seen = lrt_load(&health->verdict[probe->check]);
    probe->started = lrt_started(now);
    lrt_store(&health->started[probe->check], probe->started);

    /* who slept before that must not put off the next owner's probe */

    entry = &lrt_table_entries(t, lrt_table_generation(t))[probe->slot];

    if (entry->ident != probe->ident) {
        lrt_store(&health->started[probe->check], 0);
        return LRT_MISSING;
    }

    return LRT_OK;
}


lrt_rc_t
lrt_health_result(lrt_table_t *t, const lrt_probe_t *probe,
    const lrt_result_t *result, uint64_t now, lrt_turn_t *turn)
{
    uint32_t               started;
    uint64_t               seen, *word;
    lrt_entry_t            entry;
    lrt_health_t          *health;
    const lrt_settings_t  *settings;

    memset(turn, 0, sizeof(lrt_turn_t));

    settings = &lrt_table_side(t, lrt_table_generation(t))->settings;
    entry = lrt_table_entries(t, lrt_table_generation(t))[probe->slot];

    if (entry.ident != probe->ident
        || probe->check >= settings->nchecks
        || lrt_load(&t->head->asked) != probe->asks)
    {
        return LRT_MISSING;
    }

    health = &t->health[probe->slot];
    word = &health->verdict[probe->check];

    seen = probe->seen;
    turn->word = lrt_verdict_next(seen, &settings->check[probe->check],
                                  result);

    if (!lrt_cas(word, seen, turn->word)) {
        return LRT_CONFLICT;
    }

    /* who slept between these two steps may have met somebody else's */

    if (lrt_table_entries(t, lrt_table_generation(t))[probe->slot].ident
        != probe->ident
        || lrt_load(&t->head->asked) != probe->asks)
    {
        seen = turn->word;
        (void) lrt_cas(word, seen, 0);
        return LRT_MISSING;
    }

    started = probe->started;
    (void) lrt_cas(&health->started[probe->check], started,
                   lrt_started_time(started));

    if (result->how == LRT_PROBE_UNCLEAR) {
        return LRT_OK;
    }

    (void) lrt_add(&health->checks, 1);

    if (result->how == LRT_PROBE_FAILED) {
        (void) lrt_add(&health->fails, 1);
    }

    lrt_health_apply(t, probe->slot, now, turn);

    if (result->how == LRT_PROBE_PASSED) {
        lrt_health_pace(t, probe, result, now);
        lrt_health_pardon(t, probe->slot, &entry.params, now, turn);
    }

    return LRT_OK;
}


void
lrt_health_refresh(lrt_table_t *t, uint64_t now)
{
    uint32_t            slot;
    lrt_turn_t          turn;
    const lrt_entry_t  *entry;

    entry = lrt_table_entries(t, lrt_table_generation(t));

    for (slot = 0; slot < t->capacity; slot++) {
        if (entry[slot].ident) {
            lrt_health_apply(t, slot, now, &turn);
        }
    }
}


unsigned
lrt_health_behind(const lrt_table_t *t)
{
    return lrt_load(&t->head->asked)
           != lrt_load(&lrt_table_side(t, lrt_table_generation(t))->asks);
}


/*
 * Until all is done no result is taken: "asked" is that of no generation.  Who
 * dies in between leaves it so, and verdicts that may be anybody's are void.
 */

void
lrt_health_follow(lrt_table_t *t, uint64_t now)
{
    uint32_t              i, from[LRT_CHECKS];
    uint64_t              asked;
    lrt_head_t           *head;
    const lrt_settings_t *settings;

    head = t->head;
    asked = lrt_table_side(t, lrt_table_generation(t))->asks;
    settings = &lrt_table_side(t, lrt_table_generation(t))->settings;

    if (!lrt_health_behind(t)) {
        return;
    }

    for (i = 0; i < LRT_CHECKS; i++) {
        from[i] = (head->asked != LRT_ASKED_NONE)
                  ? lrt_health_same(head, settings, i, from) : LRT_NONE;
    }

    lrt_store(&head->asked, LRT_ASKED_NONE);

    lrt_health_permute(t, settings, from);

    memcpy(head->ask, settings->check, sizeof(head->ask));
    head->nasked = settings->nchecks;

    lrt_store(&head->asked, asked);

    lrt_health_refresh(t, now);
}


/* the check that asked the same before, and is nobody else's yet */

static uint32_t
lrt_health_same(const lrt_head_t *head, const lrt_settings_t *settings,
    uint32_t i, const uint32_t *from)
{
    uint32_t  j, k;

    if (i >= settings->nchecks) {
        return LRT_NONE;
    }

    for (j = 0; j < head->nasked; j++) {

        for (k = 0; k < i && from[k] != j; k++) { /* void */ }

        if (k == i && lrt_check_same(&head->ask[j], &settings->check[i])) {
            return j;
        }
    }

    return LRT_NONE;
}


static void
lrt_health_permute(lrt_table_t *t, const lrt_settings_t *settings,
    const uint32_t *from)
{
    uint32_t       i, slot;
    unsigned       used;
    lrt_health_t  *health, before;

    for (slot = 0; slot < t->capacity; slot++) {

        health = &t->health[slot];
        before = *health;
        used = !(lrt_load(&t->hot[slot].health) & LRT_HEALTH_OUT);

        for (i = 0; i < LRT_CHECKS; i++) {

            if (from[i] != LRT_NONE) {
                lrt_store(&health->verdict[i], before.verdict[from[i]]);
                lrt_store(&health->started[i], before.started[from[i]]);
                continue;
            }

            /* who was in use is held to be well until the new check fails */

            lrt_store(&health->verdict[i],
                      (uint64_t) (i < settings->nchecks && used
                                  && settings->check[i].persistent)
                      ? LRT_PASSING : LRT_UNCHECKED);
            lrt_store(&health->started[i], 0);
        }

        if (from[0] != 0) {
            lrt_store(&health->pace, 0);
        }
    }
}


void
lrt_health_ask(lrt_table_t *t, uint32_t slot)
{
    (void) lrt_or(&t->hot[slot].health, LRT_HEALTH_ASKED);
    (void) lrt_add(&t->head->check_asked, 1);
}


unsigned
lrt_health_asked(lrt_table_t *t, uint32_t slot)
{
    return (lrt_load(&t->hot[slot].health) & LRT_HEALTH_ASKED)
           && (lrt_and(&t->hot[slot].health, ~(uint64_t) LRT_HEALTH_ASKED)
               & LRT_HEALTH_ASKED);
}


uint32_t
lrt_health_drained(lrt_table_t *t, uint32_t *slot)
{
    uint32_t            n, top;
    uint64_t            generation, *health;
    const lrt_side_t   *side;
    const lrt_entry_t  *entry;

    generation = lrt_table_generation(t);
    side = lrt_table_side(t, generation);
    entry = lrt_table_entries(t, generation);

    if (side->tier[LRT_PRIMARY].n == side->tier[LRT_PRIMARY].active
        && side->tier[LRT_BACKUP].n == side->tier[LRT_BACKUP].active)
    {
        return LRT_NONE;
    }

    top = lrt_load(&side->top);

    while (*slot < top && *slot < t->capacity) {

        n = (*slot)++;
        health = &t->hot[n].health;

        if (entry[n].ident
            && entry[n].params.drain
            && !(lrt_load(health) & LRT_HEALTH_DRAINED)
            && lrt_ledger_idle(t, n)
            && !(lrt_or(health, LRT_HEALTH_DRAINED) & LRT_HEALTH_DRAINED))
        {
            return n;
        }
    }

    return LRT_NONE;
}


void
lrt_health_clear(lrt_health_t *health)
{
    lrt_store(&health->checks, 0);
    lrt_store(&health->fails, 0);
    lrt_store(&health->unhealthy, 0);
    lrt_store(&health->turns, 0);
    lrt_store(&health->downtime, 0);
}


void
lrt_health_ramp(lrt_hot_t *hot, uint64_t now)
{
    lrt_health_back(hot, now, 0);
}


/* who fails requests in a slow start had too many of them */

void
lrt_health_readmit(lrt_hot_t *hot, uint64_t now)
{
    lrt_health_back(hot, now, 1);
}


static void
lrt_health_back(lrt_hot_t *hot, uint64_t now, unsigned fell)
{
    uint64_t  old, new;

    old = lrt_load(&hot->health);

    do {
        if (old & LRT_HEALTH_OUT) {
            return;
        }

        new = (fell && (old & LRT_HEALTH_RAMP)) ? lrt_health_fell(old, now)
                                                : old;

        new = (new & (((uint64_t) 1 << LRT_HEALTH_SHIFT) - 1))
              | LRT_HEALTH_RAMP
              | now << LRT_HEALTH_SHIFT;

    } while (!lrt_cas(&hot->health, old, new));
}


/* the word of a server that was in use until now, with one fall more */

static uint64_t
lrt_health_fell(uint64_t word, uint64_t now)
{
    uint64_t  falls;

    falls = lrt_health_falls(word);

    if (falls
        && ((word & LRT_HEALTH_RAMP)
            || now < lrt_health_since(word) + LRT_HEALTH_STEADY))
    {
        falls += (falls < LRT_HEALTH_FALLS_MAX);

    } else {
        falls = 1;
    }

    return (word & ~(uint64_t) LRT_HEALTH_FALLS)
           | falls << LRT_HEALTH_FALLS_SHIFT;
}


static uint64_t
lrt_health_bits(const lrt_settings_t *settings, const lrt_health_t *health)
{
    uint32_t       i;
    uint64_t       bits;
    lrt_verdict_e  verdict;

    bits = 0;

    for (i = 0; i < settings->nchecks && i < LRT_CHECKS; i++) {
        verdict = lrt_verdict(lrt_load(&health->verdict[i]));

        if (verdict == LRT_FAILING) {
            bits |= (uint64_t) 1 << i;

        } else if (verdict == LRT_UNCHECKED && settings->check[i].mandatory) {
            bits |= (uint64_t) 1 << (LRT_CHECKS + i);
        }
    }

    return bits;
}


/*
 * Who has failed and comes back does so slowly, and who was added at run time.
 * One who was only waited for at the start takes his part at once, and one who
 * was in use all the while, by order, keeps it.
 */

static void
lrt_health_apply(lrt_table_t *t, uint32_t slot, uint64_t now, lrt_turn_t *turn)
{
    uint64_t               generation, bits, old, new;
    unsigned               forced;
    lrt_hot_t             *hot;
    lrt_health_t          *health;
    const lrt_settings_t  *settings;

    hot = &t->hot[slot];
    health = &t->health[slot];
    old = lrt_load(&hot->health);

    do {
        generation = lrt_table_generation(t);
        settings = &lrt_table_side(t, generation)->settings;
        forced = (lrt_table_entries(t, generation)[slot].params.forced
                  == LRT_FORCED_UP);
        bits = lrt_health_bits(settings, health);

        turn->state = lrt_health_use(bits);
        turn->before = lrt_health_use(old);
        turn->turned = (turn->state != turn->before);

        if (bits == (old & LRT_HEALTH_OUT)) {
            return;
        }

        new = (turn->before == LRT_USE_FREE && turn->state == LRT_USE_FAILING)
              ? lrt_health_fell(old, now) : old;

        new = (new & ~(uint64_t) LRT_HEALTH_OUT) | bits;

        if (turn->turned) {
            new = (new & (((uint64_t) 1 << LRT_HEALTH_SHIFT) - 1))
                  | now << LRT_HEALTH_SHIFT;

            if (turn->before == LRT_USE_FAILING && !forced) {
                new |= LRT_HEALTH_RAMP;
            }
        }

    } while (!lrt_cas(&hot->health, old, new));

    if (turn->turned) {
        turn->turns = lrt_add(&health->turns, 1) + 1;
        turn->lasted = (now > lrt_health_since(old))
                       ? now - lrt_health_since(old) : 0;

        if (turn->before != LRT_USE_FREE) {
            (void) lrt_add(&health->downtime, turn->lasted);
        }

        if (turn->state == LRT_USE_FAILING) {
            (void) lrt_add(&health->unhealthy, 1);
        }

        lrt_census_turned(t, now);
    }

    lrt_rank_touch(t, slot, now);
}


/* requests have failed there, but it answers: they may try again */

static void
lrt_health_pardon(lrt_table_t *t, uint32_t slot, const lrt_params_t *params,
    uint64_t now, lrt_turn_t *turn)
{
    lrt_hot_t  *hot;

    hot = &t->hot[slot];

    if (!lrt_passive_blocked(params, hot, now)) {
        return;
    }

    lrt_store(&hot->fails, 0);

    /* in use only if no other check is against it, and nobody forced it up */

    if ((lrt_load(&hot->health) & LRT_HEALTH_OUT)
        || params->forced == LRT_FORCED_UP)
    {
        return;
    }

    lrt_health_readmit(hot, now);
    lrt_census_turned(t, now);
    lrt_rank_touch(t, slot, now);

    turn->readmitted = 1;
}


static void
lrt_health_pace(lrt_table_t *t, const lrt_probe_t *probe,
    const lrt_result_t *result, uint64_t now)
{
    uint64_t   estimate, *word;
    unsigned   fresh;

    if (probe->check != LRT_PACE_CHECK) {
        return;
    }

    word = &t->health[probe->slot].pace;
    estimate = lrt_load(&t->hot[probe->slot].estimate);

    fresh = (estimate && lrt_estimate_age(estimate, now) <= LRT_PACE_STALE);

    if (lrt_pace_recovers(lrt_load(word), result->time)) {
        lrt_least_time_doubt(t, probe->slot, now);
    }

    lrt_store(word, lrt_pace_add(lrt_load(word), result->time, fresh));
    lrt_rank_touch(t, probe->slot, now);
}
