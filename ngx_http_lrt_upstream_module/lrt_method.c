
/*
 * Copyright (C) the ngx_http_lrt_upstream_module authors
 */


#include "lrt_ledger.h"
#include "lrt_method.h"

#include <string.h>



/* a walk over servers that chooses one by its share of all that fit */

typedef struct {
    lrt_accept_pt        accept;
    uint64_t             key;
    lrt_share_pt         share;
} lrt_walk_t;


static unsigned lrt_view_ramped(const lrt_view_t *view, uint32_t slot,
    uint32_t n, uint64_t turn);
static uint32_t lrt_view_walk(const lrt_view_t *view, const lrt_walk_t *walk);


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


uint64_t
lrt_method_score(uint32_t number, uint64_t key)
{
    const lrt_method_t  *method;

    method = lrt_method(number);

    return method->shown ? method->shown(key) : key;
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
    uint32_t               i, n, slot, draws, spare;
    uint64_t               turn, point, from, *p;
    lrt_cursor_e           cursor;
    const lrt_schedule_t  *s;

    s = &view->schedule;

    if (s->total == 0) {
        return LRT_NONE;
    }

    cursor = view->ntried ? LRT_CURSOR_RETRY : LRT_CURSOR_FIRST;
    draws = (s->n > LRT_BLOCK) ? LRT_DRAWS_MANY : LRT_DRAWS;
    spare = LRT_NONE;

    p = &view->table->head->cursor[view->tier][cursor].value;

    from = lrt_view_turn(view, cursor);
    turn = from;
    point = lrt_schedule_start(s, turn);

    for (i = 0; i < draws; i++) {

        if (i == 1 && (from = lrt_load(p)) != turn) {
            turn = from;
            point = lrt_schedule_start(s, turn);
        }

        n = lrt_schedule_entry(s, point);
        slot = view->order[n];

        if (slot >= view->table->capacity || !accept(view, slot, key)) {
            /* void */

        } else if (lrt_ramping(&view->table->hot[slot])
                   && !lrt_view_ramped(view, slot, n, turn))
        {
            spare = slot;

        /* the first turn is ours, the others are passed at one go */

        } else if (i == 0 || lrt_cas(p, from, turn + 1)) {
            return slot;

        } else {
            turn = from - 1;
            point = lrt_schedule_start(s, turn);
        }

        turn++;
        point = lrt_schedule_step(s, point);
    }

    (void) lrt_cas(p, from, turn);

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

    limit = lrt_ledger_held(view->table) * params->weight / view->weight;
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


uint64_t
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


uint64_t
lrt_view_turn(const lrt_view_t *view, lrt_cursor_e cursor)
{
    return lrt_add(&view->table->head->cursor[view->tier][cursor].value, 1);
}
