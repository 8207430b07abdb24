
/*
 * Copyright (C) the ngx_http_lrt_upstream_module authors
 */


#include "lrt_rank.h"
#include "lrt_errors.h"
#include "lrt_estimate.h"
#include "lrt_pace.h"
#include "lrt_passive.h"


/* a pick that finds less than the ranks promised has them computed anew */

#define LRT_RANK_TRIES       4

/* what is typical of the group changed so much that all ranks do, too */

#define LRT_TYPICAL_STEP     (LRT_LOG_ONE / 8)

/* and so many samples may make somebody due for a trial */

#define LRT_LEARNED_SAMPLES  4

/* slots that all picks together may look at beside the audit */

#define LRT_REFRESH_PER_MS   64


/* the least key that was replaced, and the least one that came instead */

typedef struct {
    uint64_t             gone;
    uint64_t             come;
} lrt_moved_t;


static uint32_t lrt_rank_among(const lrt_view_t *view, uint64_t best,
    uint32_t blocks);
static unsigned lrt_rank_accept(const lrt_view_t *view, uint32_t slot,
    uint64_t key);
static const lrt_method_t *lrt_rank_method(const lrt_table_t *t);
static uint64_t lrt_rank_key(const lrt_table_t *t, uint32_t slot,
    lrt_tier_e tier, uint64_t now);
static void lrt_rank_typical(lrt_table_t *t);
static void lrt_rank_pace(lrt_table_t *t);
static uint64_t lrt_rank_due(const lrt_table_t *t, const lrt_entry_t *entry,
    uint32_t slot, uint64_t now);
static unsigned lrt_rank_none(const lrt_table_t *t, uint32_t slot);
static unsigned lrt_rank_set_key(lrt_table_t *t, uint32_t slot,
    lrt_tier_e tier, uint64_t now, lrt_moved_t *moved);
static void lrt_rank_set_low(lrt_table_t *t, uint32_t block, lrt_tier_e tier,
    const lrt_moved_t *moved);
static unsigned lrt_rank_afford(lrt_table_t *t, uint64_t now);
static uint64_t lrt_rank_untried(const lrt_view_t *view, uint32_t block);
static unsigned lrt_rank_tried_in(const lrt_view_t *view, uint32_t block);


void
lrt_rank_touch(lrt_table_t *t, uint32_t slot, uint64_t now)
{
    lrt_tier_e   tier;
    lrt_moved_t  moved;

    if (lrt_rank_method(t)->key == NULL) {
        return;
    }

    for (tier = LRT_PRIMARY; tier < LRT_TIERS; tier++) {

        if (lrt_rank_set_key(t, slot, tier, now, &moved)) {
            lrt_point(LRT_POINT_RANK_KEY);
            lrt_rank_set_low(t, slot / LRT_BLOCK, tier, &moved);
        }
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

    lrt_rank_typical(t);

    next = UINT64_MAX;
    generation = lrt_table_generation(t);
    entry = lrt_table_entries(t, generation);

    for (slot = 0; slot < t->capacity; slot++) {

        if (entry[slot].ident == 0 && lrt_rank_none(t, slot)) {
            continue;
        }

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
            lrt_rank_set_low(t, block, tier, NULL);
        }
    }

    lrt_rank_wake_at(t, next);
}


void
lrt_rank_learned(lrt_table_t *t, uint64_t before, uint64_t after, uint64_t now)
{
    uint64_t  n, sum, typical, old, samples;

    /* for ranks without times, what the audit finds is early enough */

    if (!(lrt_rank_method(t)->takes & LRT_TAKES_TIME)) {
        return;
    }

    n = lrt_add(&t->head->known, (before == 0)) + (before == 0);

    sum = lrt_estimate_log(after);
    sum -= before ? lrt_estimate_log(before) : 0;
    sum += lrt_add(&t->head->known_sum, sum);

    typical = n ? sum / n : 0;
    old = lrt_load(&t->head->typical);

    samples = lrt_spread_samples(lrt_load(&t->head->spread));

    if (typical + LRT_TYPICAL_STEP >= old
        && old + LRT_TYPICAL_STEP >= typical
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

    when = lrt_load(&t->head->wake);

    if (now < when || (lrt_rank_method(t)->due && !lrt_rank_afford(t, now))) {
        return;
    }

    /* one process looks at all slots; it finds the next time as well */

    if (lrt_cas(&t->head->wake, when, UINT64_MAX)) {
        lrt_rank_refresh(t, now);
    }
}


void
lrt_rank_wake_at(lrt_table_t *t, uint64_t when)
{
    uint64_t  old;

    old = lrt_load(&t->head->wake);

    while (when < old && !lrt_cas(&t->head->wake, old, when)) {
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


uint64_t
lrt_rank_best(const lrt_view_t *view, uint32_t *blocks)
{
    uint32_t         block, n;
    uint64_t         key, best;
    const uint64_t  *low;

    n = 0;
    best = LRT_KEY_NEVER;
    low = view->table->low[view->tier];

    for (block = 0; block < lrt_blocks(view->top); block++) {

        key = lrt_load(&low[block]);

        if (key > best || key == LRT_KEY_NEVER) {
            continue;
        }

        if (view->ntried && lrt_rank_tried_in(view, block)) {
            key = lrt_rank_untried(view, block);
        }

        if (key < best) {
            best = key;
            n = 0;
        }

        n += (key == best);
    }

    *blocks = n;

    return best;
}


uint32_t
lrt_rank_pick(const lrt_view_t *view)
{
    uint32_t  i, slot, blocks;
    uint64_t  best, before;

    before = LRT_KEY_NEVER;

    for (i = 0; i < LRT_RANK_TRIES; i++) {

        best = lrt_rank_best(view, &blocks);

        if (best == LRT_KEY_NEVER) {
            break;
        }

        slot = lrt_rank_among(view, best, blocks);

        if (slot != LRT_NONE) {
            return slot;
        }

        /*
         * The rank was good and the server is not: another request was
         * faster, or, if it stays so, a worker died before it could tell.
         */

        if (best == before) {
            lrt_rank_refresh(view->table, view->now);
        }

        before = best;
    }

    /*
     * There may be no ranks yet, since the method is new or all servers are.
     * Before the writer gets to them, a request must not be refused.
     */

    slot = lrt_view_scan(view, lrt_view_any, 0);

    if (slot != LRT_NONE) {
        lrt_rank_refresh(view->table, view->now);
    }

    return slot;
}


static uint32_t
lrt_rank_among(const lrt_view_t *view, uint64_t best, uint32_t blocks)
{
    uint32_t  slot;

    slot = LRT_NONE;

    /* turns are worth drawing only if a good part of all servers is equal */

    if (blocks > lrt_blocks(view->top) / 8) {
        slot = lrt_view_draw(view, lrt_rank_accept, best);
    }

    /* a block's minimum may be that of a server which was tried */

    if (slot == LRT_NONE && view->ntried == 0) {
        slot = lrt_view_ranked(view, best, blocks);
    }

    return (slot != LRT_NONE) ? slot
                              : lrt_view_scan(view, lrt_rank_accept, best);
}


static unsigned
lrt_rank_accept(const lrt_view_t *view, uint32_t slot, uint64_t key)
{
    return lrt_load(&view->table->key[view->tier][slot]) == key
           && lrt_view_open(view, slot);
}


static const lrt_method_t *
lrt_rank_method(const lrt_table_t *t)
{
    return lrt_method(lrt_table_side(t, lrt_table_generation(t))->policy.method);
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

    lrt_rules(t, generation, tier, &rules);

    if (!lrt_usable(&entry, &t->hot[slot], &rules, now)) {
        return LRT_KEY_NEVER;
    }

    lrt_rank_score_slot(t, &score, &side->policy, &entry.params, slot, now);

    return method->key(&score);
}


/* what is typical of the servers: the means of their times and failures */

static void
lrt_rank_typical(lrt_table_t *t)
{
    uint32_t            slot, n;
    uint64_t            sum, errors, word;
    unsigned            failing;
    const lrt_entry_t  *entry;

    n = 0;
    sum = 0;
    errors = 0;

    failing = (lrt_load(&t->head->errors) != 0);
    entry = lrt_table_entries(t, lrt_table_generation(t));

    for (slot = 0; slot < t->capacity; slot++) {

        if (entry[slot].ident == 0) {
            continue;
        }

        word = lrt_load(&t->hot[slot].estimate);

        if (word) {
            sum += lrt_estimate_log(word);
            n++;
        }

        if (failing) {
            errors += lrt_errors_part(lrt_load(&t->health[slot].errors));
        }
    }

    lrt_store(&t->head->errors, errors);
    lrt_store(&t->head->known, n);
    lrt_store(&t->head->known_sum, sum);
    lrt_store(&t->head->typical, n ? sum / n : 0);

    lrt_rank_pace(t);
}


static void
lrt_rank_pace(lrt_table_t *t)
{
    uint32_t            slot, n;
    uint64_t            sum, word, generation;
    const lrt_entry_t  *entry;

    generation = lrt_table_generation(t);
    entry = lrt_table_entries(t, generation);

    n = 0;
    sum = 0;

    /* without checks, what is left of earlier ones counts no more */

    if (lrt_load(&lrt_table_side(t, generation)->settings.nchecks)) {

        for (slot = 0; slot < t->capacity; slot++) {
            word = lrt_load(&t->health[slot].pace);

            if (entry[slot].ident && word) {
                sum += lrt_pace_now(word);
                n++;
            }
        }
    }

    lrt_store(&t->head->pace, n ? sum / n : 0);
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
    score->typical = (uint32_t) lrt_load(&t->head->typical);
    score->spread = lrt_load(&t->head->spread);
    score->now = now;
    score->slow_start = 0;
    score->probes = NULL;
    score->errors = 0;

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
    score->errors = lrt_load(&t->health[slot].errors);
}


/* a table may have far more slots than servers */

static unsigned
lrt_rank_none(const lrt_table_t *t, uint32_t slot)
{
    return lrt_load(&t->key[LRT_PRIMARY][slot]) == LRT_KEY_NEVER
           && lrt_load(&t->key[LRT_BACKUP][slot]) == LRT_KEY_NEVER;
}


/*
 * Exchanged and not stored: what is replaced may be a key that came after the
 * load, and the minimum of the block.
 */

static unsigned
lrt_rank_set_key(lrt_table_t *t, uint32_t slot, lrt_tier_e tier, uint64_t now,
    lrt_moved_t *moved)
{
    uint64_t  key, old, *p;
    unsigned  changed;

    moved->gone = LRT_KEY_NEVER;
    moved->come = LRT_KEY_NEVER;

    changed = 0;
    p = &t->key[tier][slot];

    for ( ;; ) {
        key = lrt_rank_key(t, slot, tier, now);

        if (lrt_load(p) == key) {
            return changed;
        }

        old = lrt_swap(p, key);

        moved->gone = (old < moved->gone) ? old : moved->gone;
        moved->come = (key < moved->come) ? key : moved->come;
        changed = 1;
    }
}


/*
 * Nothing is to be done for a key that was not the minimum and is not less
 * now: whoever replaces the minimum looks at the block after that.
 */

static void
lrt_rank_set_low(lrt_table_t *t, uint32_t block, lrt_tier_e tier,
    const lrt_moved_t *moved)
{
    uint32_t         slot, end;
    uint64_t         key, low, *p;
    const uint64_t  *keys;

    p = &t->low[tier][block];
    keys = t->key[tier];

    if (moved) {
        low = lrt_load(p);

        if (low < moved->gone && low <= moved->come) {
            return;
        }
    }

    end = (block + 1) * LRT_BLOCK;
    end = (end < t->capacity) ? end : t->capacity;

    for ( ;; ) {
        low = LRT_KEY_NEVER;

        for (slot = block * LRT_BLOCK; slot < end; slot++) {
            key = lrt_load(&keys[slot]);
            low = (key < low) ? key : low;
        }

        if (lrt_load(p) == low) {
            return;
        }

        lrt_store(p, low);
        lrt_fence();
    }
}


/* the minimum of a block without the servers that the request has tried */

static uint64_t
lrt_rank_untried(const lrt_view_t *view, uint32_t block)
{
    uint32_t  slot, end;
    uint64_t  key, low;

    low = LRT_KEY_NEVER;

    end = (block + 1) * LRT_BLOCK;
    end = (end < view->top) ? end : view->top;

    for (slot = block * LRT_BLOCK; slot < end; slot++) {
        key = lrt_load(&view->table->key[view->tier][slot]);

        if (key < low && !lrt_view_tried(view, slot)) {
            low = key;
        }
    }

    return low;
}


static unsigned
lrt_rank_tried_in(const lrt_view_t *view, uint32_t block)
{
    uint32_t  i;

    for (i = 0; i < view->ntried; i++) {
        if (view->tried[i].slot / LRT_BLOCK == block) {
            return 1;
        }
    }

    return 0;
}
