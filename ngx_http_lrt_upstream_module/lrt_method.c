
/*
 * Copyright (C) the ngx_http_lrt_upstream_module authors
 */


#include "lrt_method.h"

#include <string.h>


/* turns that are drawn before all servers are looked at, which may be many */

#define LRT_DRAWS            16
#define LRT_DRAWS_MANY       48

/* equal servers that share a turn, and blocks that are looked at for them */

#define LRT_TIES             192
#define LRT_TIES_BLOCKS      16


/* a walk over servers that chooses one by its share of all that fit */

typedef struct {
    lrt_accept_pt        accept;
    uint64_t             key;
    lrt_share_pt         share;
} lrt_walk_t;


/* servers that are equal, and the sum of their shares up to each */

typedef struct {
    uint32_t             n;
    uint32_t             slot[LRT_TIES];
    uint64_t             reach[LRT_TIES];
} lrt_ties_t;


static unsigned lrt_view_ramped(const lrt_view_t *view, uint32_t slot,
    uint32_t n, uint64_t turn);
static uint64_t lrt_view_weight(const lrt_view_t *view, uint32_t slot);
static void lrt_view_ties(const lrt_view_t *view, uint32_t block,
    uint64_t key, lrt_ties_t *ties);
static uint32_t lrt_view_walk(const lrt_view_t *view, const lrt_walk_t *walk);
static uint64_t lrt_view_turn(const lrt_view_t *view, lrt_cursor_e cursor);


static const lrt_method_t  *lrt_methods[] = {
#define LRT_METHOD(directive, name)  &name##_method,
#include "lrt_methods.h"
#undef LRT_METHOD
};


const lrt_method_t *
lrt_method(uint32_t number)
{
    return lrt_methods[number < LRT_METHODS ? number : 0];
}


uint32_t
lrt_method_find(const char *name, size_t len)
{
    uint32_t  i;

    for (i = 0; i < LRT_METHODS; i++) {
        if (strlen(lrt_methods[i]->name) == len
            && memcmp(lrt_methods[i]->name, name, len) == 0)
        {
            break;
        }
    }

    return i;
}


uint64_t
lrt_ramp_key(const lrt_score_t *score, uint64_t key)
{
    uint32_t  ramp;

    ramp = lrt_ramp_permille(score->params, score->hot, score->slow_start,
                             score->now);

    /* one that is over leaves the key as exact as it was */

    if (ramp == LRT_RAMP_FULL) {
        return key;
    }

    /* rounded up, so that it never rises as time goes on */

    key = key / ramp + (key % ramp != 0);

    return (key < LRT_KEY_NEVER / LRT_RAMP_FULL) ? key * LRT_RAMP_FULL
                                                 : LRT_KEY_NEVER - 1;
}


unsigned
lrt_view_open(const lrt_view_t *view, uint32_t slot)
{
    return slot < view->table->capacity
           && view->entry[slot].params.backup == (view->tier == LRT_BACKUP)
           && lrt_usable(&view->entry[slot], &view->table->hot[slot],
                         &view->rules, view->now)
           && !lrt_view_tried(view, slot);
}


unsigned
lrt_view_tried(const lrt_view_t *view, uint32_t slot)
{
    uint32_t            i, n;
    const lrt_entry_t  *entry;

    entry = &view->entry[slot];
    n = 0;

    for (i = 0; i < view->ntried; i++) {
        n += (view->tried[i].slot == slot
              && view->tried[i].ident == entry->ident);
    }

    return n > entry->params.twins;
}


uint32_t
lrt_view_draw(const lrt_view_t *view, lrt_accept_pt accept, uint64_t key)
{
    uint32_t      i, n, slot, draws, spare;
    uint64_t      turn;
    lrt_cursor_e  cursor;

    if (view->schedule.total == 0) {
        return LRT_NONE;
    }

    cursor = view->ntried ? LRT_CURSOR_RETRY : LRT_CURSOR_FIRST;
    draws = (view->schedule.n > LRT_BLOCK) ? LRT_DRAWS_MANY : LRT_DRAWS;
    spare = LRT_NONE;

    for (i = 0; i < draws; i++) {
        turn = lrt_view_turn(view, cursor);
        n = lrt_schedule_at(&view->schedule, turn);
        slot = view->order[n];

        if (slot >= view->table->capacity || !accept(view, slot, key)) {
            continue;
        }

        if (!lrt_ramping(&view->table->hot[slot])
            || lrt_view_ramped(view, slot, n, turn))
        {
            return slot;
        }

        spare = slot;
    }

    /* one that gives up its turns for others is better than none */

    return spare;
}


/*
 * A server in its slow start takes a part of its turns, which are numbered:
 * so many in each round of the schedule.  And it takes none while it has more
 * than that part of its share of all requests in flight, as it may still be
 * slower than the others.
 */

static unsigned
lrt_view_ramped(const lrt_view_t *view, uint32_t slot, uint32_t n,
    uint64_t turn)
{
    int64_t                held;
    uint32_t               ramp;
    uint64_t               points, limit;
    const lrt_hot_t       *hot;
    const lrt_params_t    *params;
    const lrt_schedule_t  *s;

    s = &view->schedule;
    hot = &view->table->hot[slot];
    params = &view->entry[slot].params;
    ramp = lrt_ramp_permille(params, hot, view->rules.slow_start, view->now);

    points = s->reach[n] - (n ? s->reach[n - 1] : 0);
    turn = turn / s->total * points + turn % s->total * points / s->total;

    if (lrt_schedule_point(turn, LRT_RAMP_FULL) >= ramp) {
        return 0;
    }

    if (ramp == LRT_RAMP_FULL || view->weight == 0) {
        return 1;
    }

    held = (int64_t) lrt_load(&view->table->head->held.value);

    limit = (held > 0) ? (uint64_t) held * params->weight / view->weight : 0;
    limit = 1 + limit * ramp / LRT_RAMP_FULL;

    return lrt_load(&hot->inflight) < (int64_t) limit;
}


uint32_t
lrt_view_scan(const lrt_view_t *view, lrt_accept_pt accept, uint64_t key)
{
    lrt_walk_t  walk;

    walk.accept = accept;
    walk.key = key;
    walk.share = lrt_view_weight;

    return lrt_view_walk(view, &walk);
}


/*
 * Turns are points of a line from 0 to 2^32, at even distances.  The line is
 * cut into as many parts as blocks have this minimum, and the part on which
 * the point falls into the servers that are found from its block on.  If there
 * are no more than are looked at, that is all of them, whatever the block.
 */

uint32_t
lrt_view_ranked(const lrt_view_t *view, uint64_t key, uint32_t blocks)
{
    uint32_t         i, n, all, block;
    uint64_t         sum, point;
    lrt_ties_t       ties;
    const uint64_t  *low;

    low = view->table->low[view->tier];
    all = lrt_blocks(view->top);

    point = (uint32_t) (lrt_view_turn(view, LRT_CURSOR_SPARSE) * 2654435769u);
    point *= blocks;

    n = (uint32_t) (point >> 32);
    point &= UINT32_MAX;

    for (block = 0; block < all; block++) {
        if (lrt_load(&low[block]) == key && n-- == 0) {
            break;
        }
    }

    n = 0;
    ties.n = 0;

    for (i = 0; i < all && ties.n <= LRT_TIES - LRT_BLOCK; i++, block++) {

        block = (block < all) ? block : 0;

        if (lrt_load(&low[block]) != key) {
            continue;
        }

        lrt_view_ties(view, block, key, &ties);

        if (++n >= LRT_TIES_BLOCKS && ties.n) {
            break;
        }
    }

    if (ties.n == 0) {
        return LRT_NONE;
    }

    sum = ties.reach[ties.n - 1];
    point = (sum >> 32) * point + ((sum & UINT32_MAX) * point >> 32);

    for (i = 0; i < ties.n - 1 && ties.reach[i] <= point; i++) {
        /* void */
    }

    return ties.slot[i];
}


static void
lrt_view_ties(const lrt_view_t *view, uint32_t block, uint64_t key,
    lrt_ties_t *ties)
{
    uint32_t         slot, end;
    uint64_t         sum;
    const uint64_t  *keys;

    keys = view->table->key[view->tier];
    sum = ties->n ? ties->reach[ties->n - 1] : 0;

    end = (block + 1) * LRT_BLOCK;
    end = (end < view->top) ? end : view->top;

    for (slot = block * LRT_BLOCK; slot < end; slot++) {

        if (lrt_load(&keys[slot]) == key && lrt_view_open(view, slot)) {
            sum += lrt_view_weight(view, slot);

            ties->slot[ties->n] = slot;
            ties->reach[ties->n++] = sum;
        }
    }
}


uint32_t
lrt_view_share(const lrt_view_t *view, lrt_share_pt share)
{
    lrt_walk_t  walk;

    walk.accept = lrt_view_any;
    walk.key = 0;
    walk.share = share;

    return lrt_view_walk(view, &walk);
}


unsigned
lrt_view_any(const lrt_view_t *view, uint32_t slot, uint64_t key)
{
    (void) key;

    return lrt_view_open(view, slot);
}


static uint64_t
lrt_view_weight(const lrt_view_t *view, uint32_t slot)
{
    return lrt_ramp_weight(&view->entry[slot].params,
                           &view->table->hot[slot], view->rules.slow_start,
                           view->now);
}


/*
 * Two passes without memory: the shares of all that fit, and then the one on
 * which the turn falls.  What fits may change in between; then the last one
 * that fitted is taken.
 */

static uint32_t
lrt_view_walk(const lrt_view_t *view, const lrt_walk_t *walk)
{
    uint32_t  slot, found, pass;
    uint64_t  point, seen;

    point = UINT64_MAX;
    found = LRT_NONE;

    for (pass = 0; pass < 2; pass++) {

        seen = 0;

        for (slot = 0; slot < view->top; slot++) {

            if (!walk->accept(view, slot, walk->key)) {
                continue;
            }

            found = slot;
            seen += walk->share(view, slot);

            if (seen > point) {
                return slot;
            }
        }

        if (seen == 0) {
            return found;
        }

        point = lrt_schedule_point(lrt_view_turn(view, LRT_CURSOR_SPARSE),
                                   seen);
    }

    return found;
}


static uint64_t
lrt_view_turn(const lrt_view_t *view, lrt_cursor_e cursor)
{
    return lrt_add(&view->table->head->cursor[view->tier][cursor].value, 1);
}
