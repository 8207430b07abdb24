
/*
 * Copyright (C) the ngx_http_lrt_upstream_module authors
 */


#include "lrt_rank.h"
#include "lrt_errors.h"
#include "lrt_estimate.h"
#include "lrt_passive.h"
#include "lrt_typical.h"
#include "lrt_words.h"

#include <string.h>


/* what is typical of the group changed so much that all ranks do, too */

#define LRT_TYPICAL_STEP     (LRT_LOG_ONE / 8)

/* and so many samples may make somebody due for a trial */

#define LRT_LEARNED_SAMPLES  4

/* slots that all picks together may look at beside the audit */

#define LRT_REFRESH_PER_MS   16


/* keys that are looked at before those of the whole block, which is dearer */

#define LRT_RANK_NEAR        16


/* a line of what is known of a server, in words */

#define LRT_HOT_WORDS        (sizeof(lrt_hot_t) / sizeof(uint64_t))

typedef uint64_t __attribute__((may_alias))  lrt_alias_t;


/* what a key is made of, beside what the audit alone changes */

typedef struct {
    uint64_t             generation;
    uint64_t             census;
    uint64_t             typical;
    uint64_t             cost;
    uint64_t             hot[LRT_HOT_WORDS];
} lrt_causes_t;


/* the least key that was replaced, and the one that came in the end */

typedef struct {
    uint64_t             gone;
    uint64_t             come;
} lrt_moved_t;


static const lrt_method_t *lrt_rank_method(const lrt_table_t *t);
static uint64_t lrt_rank_key(const lrt_table_t *t, uint32_t slot,
    lrt_tier_e tier, uint64_t now);
static uint64_t lrt_rank_cost(const lrt_table_t *t, uint32_t slot,
    uint64_t now);
static uint64_t lrt_rank_due(const lrt_table_t *t, const lrt_entry_t *entry,
    uint32_t slot, uint64_t now);
static unsigned lrt_rank_none(const lrt_table_t *t, uint32_t slot);
static void lrt_rank_set_cost(lrt_table_t *t, uint32_t slot, uint64_t now);
static unsigned lrt_rank_set_key(lrt_table_t *t, uint32_t slot,
    lrt_tier_e tier, uint64_t now, lrt_moved_t *moved);
static void lrt_rank_causes(const lrt_table_t *t, uint32_t slot,
    lrt_causes_t *causes);
static unsigned lrt_rank_same(const lrt_table_t *t, uint32_t slot,
    const lrt_causes_t *causes);
static void lrt_rank_moved(lrt_table_t *t, uint32_t slot, lrt_tier_e tier,
    const lrt_moved_t *moved);
static uint64_t lrt_rank_near(const lrt_table_t *t, uint32_t slot,
    lrt_tier_e tier);
static void lrt_rank_set_low(lrt_table_t *t, uint32_t block, lrt_tier_e tier);
static unsigned lrt_rank_afford(lrt_table_t *t, uint64_t now);


void
lrt_rank_touch(lrt_table_t *t, uint32_t slot, uint64_t now)
{
    if (lrt_rank_method(t)->cost) {
        lrt_rank_set_cost(t, slot, now);
    }

    lrt_rank_counted(t, slot, now);
}


/* in the other tier it has no rank, and who gave it to this one saw to that */

void
lrt_rank_counted(lrt_table_t *t, uint32_t slot, uint64_t now)
{
    uint64_t     generation;
    lrt_tier_e   tier;
    lrt_moved_t  moved;

    if (lrt_rank_method(t)->key == NULL) {
        return;
    }

    generation = lrt_table_generation(t);
    tier = lrt_table_entries(t, generation)[slot].params.backup ? LRT_BACKUP
                                                                : LRT_PRIMARY;

    if (lrt_rank_set_key(t, slot, tier, now, &moved)) {
        lrt_point(LRT_POINT_RANK_KEY);
        lrt_rank_moved(t, slot, tier, &moved);
    }
}


void
lrt_rank_refresh(lrt_table_t *t, uint64_t now)
{
    uint32_t            slot, block;
    uint64_t            generation, until, next;
    lrt_tier_e          tier;
    lrt_moved_t         moved;
    const lrt_entry_t  *entry;

    if (lrt_rank_method(t)->key == NULL) {
        return;
    }

    lrt_store(&t->head->refreshed, now);

    lrt_typical(t);

    next = UINT64_MAX;
    generation = lrt_table_generation(t);
    entry = lrt_table_entries(t, generation);

    for (slot = 0; slot < t->capacity; slot++) {

        if (entry[slot].ident == 0 && lrt_rank_none(t, slot)) {
            continue;
        }

        lrt_rank_set_cost(t, slot, now);

        for (tier = LRT_PRIMARY; tier < LRT_TIERS; tier++) {
            (void) lrt_rank_set_key(t, slot, tier, now, &moved);
        }

        if (entry[slot].ident) {
            until = lrt_rank_due(t, &entry[slot], slot, now);

            if (until < next) {
                next = until;
            }
        }
    }

    for (block = 0; block < lrt_blocks(t->capacity); block++) {
        for (tier = LRT_PRIMARY; tier < LRT_TIERS; tier++) {
            lrt_rank_set_low(t, block, tier);
        }
    }

    lrt_rank_wake_at(t, next);
}


void
lrt_rank_learned(lrt_table_t *t, uint64_t before, uint64_t after, uint64_t now)
{
    uint64_t  n, sum, mean, old, samples;

    /* for ranks without times, what the audit finds is early enough */

    if (!(lrt_rank_method(t)->takes & LRT_TAKES_TIME)) {
        return;
    }

    n = (before == 0) ? lrt_add(&t->head->known.value, 1) + 1
                      : lrt_load(&t->head->known.value);

    sum = lrt_estimate_log(after);
    sum -= before ? lrt_estimate_log(before) : 0;
    sum += lrt_add(&t->head->learned.sum, sum);

    mean = n ? sum / n : 0;
    old = lrt_load(&t->head->learned.mean);

    samples = lrt_spread_samples(lrt_load(&t->head->learned.spread));

    if (mean + LRT_TYPICAL_STEP >= old
        && old + LRT_TYPICAL_STEP >= mean
        && samples % LRT_LEARNED_SAMPLES != 0)
    {
        return;
    }

    if (lrt_rank_afford(t, now)) {
        lrt_rank_refresh(t, now);
    }
}


void
lrt_rank_wake(lrt_table_t *t, uint64_t now)
{
    uint64_t  when;

    when = lrt_load(&t->head->wake.value);

    if (now < when || (lrt_rank_method(t)->due && !lrt_rank_afford(t, now))) {
        return;
    }

    /* one process looks at all slots; it finds the next time as well */

    if (lrt_cas(&t->head->wake.value, when, UINT64_MAX)) {
        lrt_rank_refresh(t, now);
    }
}


void
lrt_rank_wake_at(lrt_table_t *t, uint64_t when)
{
    uint64_t  old;

    old = lrt_load(&t->head->wake.value);

    while (when < old && !lrt_cas(&t->head->wake.value, old, when)) {
        /* "old" was reloaded */
    }
}


/*
 * Where ranks change by time, there is always one of very many servers that is
 * due: it waits until it can be afforded to look at all, or for the audit.
 */

static unsigned
lrt_rank_afford(lrt_table_t *t, uint64_t now)
{
    uint32_t  top;

    top = lrt_load(&lrt_table_side(t, lrt_table_generation(t))->top);

    return now >= lrt_load(&t->head->refreshed) + top / LRT_REFRESH_PER_MS;
}


static const lrt_method_t *
lrt_rank_method(const lrt_table_t *t)
{
    const lrt_side_t  *side;

    side = lrt_table_side(t, lrt_table_generation(t));

    return lrt_method(side->policy.method);
}


static uint64_t
lrt_rank_key(const lrt_table_t *t, uint32_t slot, lrt_tier_e tier,
    uint64_t now)
{
    uint64_t             generation;
    lrt_rules_t          rules;
    lrt_score_t          score;
    lrt_entry_t          entry;
    const lrt_side_t    *side;
    const lrt_method_t  *method;

    generation = lrt_table_generation(t);

    if (lrt_table_entries(t, generation)[slot].params.backup
        != (tier == LRT_BACKUP))
    {
        return LRT_KEY_NEVER;
    }

    /* a copy: a writer two generations ahead may be clearing the entry */

    entry = lrt_table_entries(t, generation)[slot];

    side = lrt_table_side(t, generation);
    method = lrt_method(lrt_load(&side->policy.method));

    if (method->key == NULL
        || entry.params.weight == 0
        || entry.params.backup != (tier == LRT_BACKUP))
    {
        return LRT_KEY_NEVER;
    }

    if (!lrt_usable_anyway(&entry, &t->hot[slot])) {

        lrt_rules(t, generation, tier, &rules);

        if (!lrt_usable(&entry, &t->hot[slot], &rules, now)) {
            return LRT_KEY_NEVER;
        }
    }

    /* what answers change is in lines that other workers have at that time */

    if (method->takes & LRT_TAKES_TIME) {
        lrt_rank_score_slot(t, &score, &side->policy, &entry.params, slot,
                            now);
        score.cost = lrt_load(&t->cost[slot]);

    } else {
        memset(&score, 0, sizeof(lrt_score_t));

        score.policy = &side->policy;
        score.params = &entry.params;
        score.hot = &t->hot[slot];
        score.now = now;
        score.slow_start = lrt_load(&side->settings.slow_start);
    }

    return method->key(&score);
}


/* when the server may be asked again, or have another rank */

static uint64_t
lrt_rank_due(const lrt_table_t *t, const lrt_entry_t *entry, uint32_t slot,
    uint64_t now)
{
    uint64_t              due, until;
    lrt_score_t           score;
    const lrt_side_t     *side;
    const lrt_method_t   *method;

    side = lrt_table_side(t, lrt_table_generation(t));
    method = lrt_method(lrt_load(&side->policy.method));

    until = lrt_passive_until(&entry->params, &t->hot[slot]);
    until = (until > now) ? until : UINT64_MAX;

    if (method->due == NULL) {
        return until;
    }

    lrt_rank_score_slot(t, &score, &side->policy, &entry->params, slot, now);
    due = method->due(&score);

    return (due < until) ? due : until;
}


void
lrt_rank_score(const lrt_table_t *t, lrt_score_t *score,
    const lrt_policy_t *policy, const lrt_params_t *params,
    const lrt_hot_t *hot, uint64_t now)
{
    const lrt_side_t  *side;

    score->policy = policy;
    score->params = params;
    score->hot = hot;
    lrt_typical_norm(t, &score->norm);
    score->weight = (uint32_t) lrt_load(&t->head->typical.weight);
    score->slope = (uint32_t) lrt_load(&t->head->typical.slope);
    score->power = (uint32_t) lrt_load(&t->head->typical.power);
    score->known = (uint32_t) lrt_load(&t->head->known.value);
    score->now = now;
    score->slow_start = 0;
    score->probes = NULL;
    score->errors = 0;
    score->usual = 0;
    score->cost = 0;

    if (lrt_ramping(hot)) {
        side = lrt_table_side(t, lrt_table_generation(t));
        score->slow_start = lrt_load(&side->settings.slow_start);
    }
}


void
lrt_rank_score_slot(const lrt_table_t *t, lrt_score_t *score,
    const lrt_policy_t *policy, const lrt_params_t *params, uint32_t slot,
    uint64_t now)
{
    lrt_rank_score(t, score, policy, params, &t->hot[slot], now);

    score->probes = t;
    score->slot = slot;

    /* where no times are known nobody is tried, and could make them good */

    if (score->norm.typical == 0) {
        return;
    }

    score->errors = lrt_load(&t->health[slot].errors);

    if (lrt_errors_part(score->errors)) {
        score->usual = lrt_errors_usual(score->errors,
                                        lrt_load(&t->head->learned.errors),
                                        score->known);
    }
}


/* a table may have far more slots than servers */

static unsigned
lrt_rank_none(const lrt_table_t *t, uint32_t slot)
{
    return lrt_load(&t->key[LRT_PRIMARY][slot]) == LRT_KEY_NEVER
           && lrt_load(&t->key[LRT_BACKUP][slot]) == LRT_KEY_NEVER;
}


/* 0 where there is nobody, or the method has none */

static uint64_t
lrt_rank_cost(const lrt_table_t *t, uint32_t slot, uint64_t now)
{
    uint64_t             generation;
    lrt_score_t          score;
    lrt_entry_t          entry;
    const lrt_side_t    *side;
    const lrt_method_t  *method;

    generation = lrt_table_generation(t);
    side = lrt_table_side(t, generation);
    method = lrt_method(lrt_load(&side->policy.method));

    if (method->cost == NULL) {
        return 0;
    }

    entry = lrt_table_entries(t, generation)[slot];

    if (entry.params.weight == 0) {
        return 0;
    }

    lrt_rank_score_slot(t, &score, &side->policy, &entry.params, slot, now);

    return method->cost(&score);
}


/*
 * As with keys, one level above: whoever changes what a cost is made of comes
 * here, and the last one to store saw the last change, since he computes it
 * again: it is made of too much to look at all of that.  And as he comes to the
 * key after that, the key follows the last cost.
 */

static void
lrt_rank_set_cost(lrt_table_t *t, uint32_t slot, uint64_t now)
{
    uint64_t  cost, *p;

    p = &t->cost[slot];

    for ( ;; ) {
        cost = lrt_rank_cost(t, slot, now);

        if (lrt_load(p) == cost) {
            return;
        }

        (void) lrt_swap(p, cost);

        lrt_point(LRT_POINT_RANK_COST);
    }
}


/*
 * Exchanged and not stored: what is replaced may be a key that came after the
 * load, and the minimum of the block.
 *
 * Whoever stored a key looks again what it was made of: the last one to store
 * saw the last change.
 */

static unsigned
lrt_rank_set_key(lrt_table_t *t, uint32_t slot, lrt_tier_e tier, uint64_t now,
    lrt_moved_t *moved)
{
    uint64_t      old, *p;
    unsigned      changed;
    lrt_causes_t  causes;

    moved->gone = LRT_KEY_NEVER;

    changed = 0;
    p = &t->key[tier][slot];

    for ( ;; ) {
        lrt_rank_causes(t, slot, &causes);

        moved->come = lrt_rank_key(t, slot, tier, now);

        if (lrt_load(p) == moved->come) {
            return changed;
        }

        old = lrt_swap(p, moved->come);

        moved->gone = (old < moved->gone) ? old : moved->gone;
        changed = 1;

        if (lrt_rank_same(t, slot, &causes)) {
            return changed;
        }
    }
}


static void
lrt_rank_causes(const lrt_table_t *t, uint32_t slot, lrt_causes_t *causes)
{
    uint32_t            i;
    const lrt_alias_t  *word;

    causes->generation = lrt_table_generation(t);
    causes->census = lrt_load(&t->head->census.value);
    causes->typical = lrt_load(&t->head->typical.time);
    causes->cost = lrt_load(&t->cost[slot]);

    word = (const lrt_alias_t *) &t->hot[slot];

    for (i = 0; i < LRT_HOT_WORDS; i++) {
        causes->hot[i] = lrt_load(&word[i]);
    }
}


static unsigned
lrt_rank_same(const lrt_table_t *t, uint32_t slot, const lrt_causes_t *causes)
{
    uint32_t            i;
    uint64_t            differ;
    const lrt_alias_t  *word;

    differ = (causes->generation ^ lrt_table_generation(t))
             | (causes->census ^ lrt_load(&t->head->census.value))
             | (causes->typical ^ lrt_load(&t->head->typical.time))
             | (causes->cost ^ lrt_load(&t->cost[slot]));

    word = (const lrt_alias_t *) &t->hot[slot];

    for (i = 0; i < LRT_HOT_WORDS; i++) {
        differ |= causes->hot[i] ^ lrt_load(&word[i]);
    }

    return differ == 0;
}


/*
 * What a minimum owes to the one who has stored a key: that it is not above
 * his key, and that it is not one that he has taken away.  Whoever stored
 * another key owes the rest.
 *
 * A minimum is lowered by compare-and-swap only, so never raised by mistake.
 * He who lowers it looks whether the key is still there: if not, the one who
 * took it away may have seen the old minimum, and gone.
 */

static void
lrt_rank_moved(lrt_table_t *t, uint32_t slot, lrt_tier_e tier,
    const lrt_moved_t *moved)
{
    uint64_t  low, *p;

    p = &t->low[tier][slot / LRT_BLOCK];
    low = lrt_load(p);

    while (moved->come < low) {

        if (lrt_cas(p, low, moved->come)) {

            if (lrt_load(&t->key[tier][slot]) != moved->come) {
                lrt_rank_set_low(t, slot / LRT_BLOCK, tier);
            }

            return;
        }
    }

    /* one that he did not take away, or that others have as well, may stay */

    if (low >= moved->gone && lrt_rank_near(t, slot, tier) > low) {
        lrt_rank_set_low(t, slot / LRT_BLOCK, tier);
    }
}


/* the least of the keys beside one: most are equal, or none is */

static uint64_t
lrt_rank_near(const lrt_table_t *t, uint32_t slot, lrt_tier_e tier)
{
    uint32_t  first, n;

    first = slot - slot % LRT_RANK_NEAR;

    n = t->capacity - first;
    n = (n < LRT_RANK_NEAR) ? n : LRT_RANK_NEAR;

    return lrt_words_least(t->key[tier] + first, n);
}


/*
 * Who raises a minimum looks at all keys again after that.  Whoever stored a
 * lower one, and left since the minimum was low enough then, did so before.
 */

static void
lrt_rank_set_low(lrt_table_t *t, uint32_t block, lrt_tier_e tier)
{
    uint32_t         n;
    uint64_t         low, *p;
    const uint64_t  *keys;

    p = &t->low[tier][block];
    keys = t->key[tier] + block * LRT_BLOCK;

    n = t->capacity - block * LRT_BLOCK;
    n = (n < LRT_BLOCK) ? n : LRT_BLOCK;

    for ( ;; ) {
        low = lrt_words_least(keys, n);

        if (lrt_load(p) == low) {
            return;
        }

        (void) lrt_swap(p, low);
    }
}
