
/*
 * Copyright (C) the ngx_http_lrt_upstream_module authors
 */


#include "lrt_best.h"
#include "lrt_rank.h"
#include "lrt_words.h"


/* a pick that finds less than the ranks promised has them computed anew */

#define LRT_BEST_TRIES       4

/* equal servers that share a turn, and blocks that are looked at for them */

#define LRT_TIES             192
#define LRT_TIES_BLOCKS      8

/* turns that cost as much as a block */

#define LRT_TIES_TURNS       6


/* servers that are equal, and the sum of their shares up to each */

typedef struct {
    uint32_t             n;
    uint32_t             slot[LRT_TIES];
    uint64_t             reach[LRT_TIES];
} lrt_ties_t;


static void lrt_best_find_untried(const lrt_view_t *view, lrt_best_t *best);
static uint32_t lrt_best_among(const lrt_view_t *view,
    const lrt_best_t *best);
static void lrt_best_collect(const lrt_view_t *view, const lrt_best_t *best,
    uint32_t block, uint32_t blocks, uint32_t most, lrt_ties_t *ties);
static unsigned lrt_best_accept(const lrt_view_t *view, uint32_t slot,
    uint64_t key);
static uint32_t lrt_best_share(const lrt_view_t *view, const lrt_best_t *best,
    lrt_ties_t *ties, unsigned all);
static void lrt_best_some(const lrt_view_t *view, const lrt_best_t *best,
    uint32_t number, lrt_ties_t *ties);
static uint32_t lrt_best_next(const lrt_view_t *view, uint32_t block,
    uint64_t key);
static uint64_t lrt_best_low(const lrt_view_t *view, uint32_t block);
static uint32_t lrt_best_end(const lrt_view_t *view, uint32_t block);
static uint64_t lrt_best_untried(const lrt_view_t *view, uint32_t block);
static unsigned lrt_best_tried_in(const lrt_view_t *view, uint32_t block);


/*
 * Minima may change between two looks at them.  Whoever then finds nobody of
 * that rank looks again.
 */

void
lrt_best_find(const lrt_view_t *view, lrt_best_t *best)
{
    uint32_t         n, blocks;
    const uint64_t  *low, *first;

    if (view->ntried) {
        lrt_best_find_untried(view, best);
        return;
    }

    low = view->table->low[view->tier];
    blocks = lrt_blocks(view->top);

    best->key = lrt_words_least(low, blocks);

    first = lrt_words_next(low, low + blocks, best->key);

    n = lrt_words_count(first, low + blocks, best->key);

    best->first = n ? (uint32_t) (first - low) : 0;
    best->blocks = n ? n : 1;
}


static void
lrt_best_find_untried(const lrt_view_t *view, lrt_best_t *best)
{
    uint32_t  block;
    uint64_t  key;

    best->key = LRT_KEY_NEVER;
    best->blocks = 0;
    best->first = 0;

    for (block = 0; block < lrt_blocks(view->top); block++) {

        key = lrt_best_low(view, block);

        if (key < best->key) {
            best->key = key;
            best->blocks = 0;
            best->first = block;
        }

        best->blocks += (key == best->key);
    }
}


uint32_t
lrt_best_pick(const lrt_view_t *view)
{
    uint32_t    i, slot;
    uint64_t    before;
    lrt_best_t  best;

    before = LRT_KEY_NEVER;

    for (i = 0; i < LRT_BEST_TRIES; i++) {

        lrt_best_find(view, &best);

        if (best.key == LRT_KEY_NEVER) {
            break;
        }

        slot = lrt_best_among(view, &best);

        if (slot != LRT_NONE) {
            return slot;
        }

        /*
         * The rank was good and the server is not: another request was
         * faster, or, if it stays so, a worker died before it could tell.
         */

        if (best.key == before) {
            lrt_rank_refresh(view->table, view->now);
        }

        before = best.key;
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


/*
 * Turns in weighted order, if a good part of all servers is equal: of so many
 * turns one will fit.  Else, or if none does, those that are equal share.
 */

static uint32_t
lrt_best_among(const lrt_view_t *view, const lrt_best_t *best)
{
    uint32_t    slot, turns, most, looked;
    lrt_ties_t  ties;

    ties.n = 0;

    /* to look at the keys of a block costs as much as some turns */

    looked = (best->blocks <= LRT_TIES_BLOCKS) ? best->blocks : 1;
    turns = LRT_TIES_TURNS * best->blocks;
    turns = (turns < LRT_DRAWS_MANY) ? turns : LRT_DRAWS_MANY;

    most = (uint32_t) ((uint64_t) view->schedule.n * looked
                       / ((uint64_t) turns * best->blocks)) + 1;
    most = (most < LRT_TIES - LRT_BLOCK) ? most : LRT_TIES - LRT_BLOCK;

    lrt_best_collect(view, best, best->first, looked, most, &ties);

    if (ties.n == most) {
        slot = lrt_view_draw(view, lrt_best_accept, best->key);

        if (slot != LRT_NONE) {
            return slot;
        }
    }

    return lrt_best_share(view, best, &ties,
                          ties.n < most && looked == best->blocks);
}


/* those of so many blocks from this one on, until there are "most" */

static void
lrt_best_collect(const lrt_view_t *view, const lrt_best_t *best,
    uint32_t block, uint32_t blocks, uint32_t most, lrt_ties_t *ties)
{
    uint32_t         all, slot, pass;
    const uint64_t  *keys, *p, *end;

    all = lrt_blocks(view->top);
    keys = view->table->key[view->tier];

    /* round once at most, as minima change meanwhile */

    for (pass = 0; pass < 2; pass++) {

        while (block < all) {

            end = keys + lrt_best_end(view, block);

            for (p = lrt_words_next(keys + block * LRT_BLOCK, end, best->key);
                 p < end;
                 p = lrt_words_next(p + 1, end, best->key))
            {
                slot = (uint32_t) (p - keys);

                if (view->ntried && lrt_view_tried(view, slot)) {
                    continue;
                }

                ties->slot[ties->n++] = slot;

                if (ties->n == most) {
                    return;
                }
            }

            if (--blocks == 0) {
                return;
            }

            block = lrt_best_next(view, block + 1, best->key);
        }

        block = best->first;
    }
}


static unsigned
lrt_best_accept(const lrt_view_t *view, uint32_t slot, uint64_t key)
{
    return lrt_load(&view->table->key[view->tier][slot]) == key
           && lrt_view_open(view, slot);
}


/*
 * One of the servers of the best rank, by weight.  Turns are points of a line
 * from 0 to 2^32, at even distances.  If "ties" are not all, the line is cut
 * into as many parts as blocks have this minimum, and the part on which the
 * point falls into the servers that are found from its block on.
 */

static uint32_t
lrt_best_share(const lrt_view_t *view, const lrt_best_t *best,
    lrt_ties_t *ties, unsigned all)
{
    uint32_t  i, n;
    uint64_t  sum, point;

    /* the only one needs no turn */

    if (all && ties->n == 1) {
        return lrt_view_open(view, ties->slot[0]) ? ties->slot[0] : LRT_NONE;
    }

    point = (uint32_t) (lrt_view_turn(view, LRT_CURSOR_SPARSE) * 2654435769u);

    if (!all) {
        point *= best->blocks;
        lrt_best_some(view, best, (uint32_t) (point >> 32), ties);
        point &= UINT32_MAX;
    }

    if (ties->n == 0) {
        return LRT_NONE;
    }

    sum = 0;

    for (i = 0; i < ties->n; i++) {
        sum += lrt_view_weight(view, ties->slot[i]);
        ties->reach[i] = sum;
    }

    point = (sum >> 32) * point + ((sum & UINT32_MAX) * point >> 32);

    for (i = 0; i < ties->n - 1 && ties->reach[i] <= point; i++) {
        /* void */
    }

    /* mostly this one can take the request, as its rank says */

    for (n = 0; n < ties->n; n++, i++) {

        i = (i < ties->n) ? i : 0;

        if (lrt_view_open(view, ties->slot[i])) {
            return ties->slot[i];
        }
    }

    return LRT_NONE;
}


/* those of some blocks, from the one of this number on */

static void
lrt_best_some(const lrt_view_t *view, const lrt_best_t *best, uint32_t number,
    lrt_ties_t *ties)
{
    uint32_t  block, all, n;

    all = lrt_blocks(view->top);

    for (block = best->first; number && block < all; number--) {
        block = lrt_best_next(view, block + 1, best->key);
    }

    n = (best->blocks < LRT_TIES_BLOCKS) ? best->blocks : LRT_TIES_BLOCKS;

    ties->n = 0;
    lrt_best_collect(view, best, block, n, LRT_TIES, ties);
}


/* the next block, from this one on, that has the minimum */

static uint32_t
lrt_best_next(const lrt_view_t *view, uint32_t block, uint64_t key)
{
    uint32_t         all;
    const uint64_t  *low;

    low = view->table->low[view->tier];
    all = lrt_blocks(view->top);

    if (block >= all) {
        return all;
    }

    if (view->ntried == 0) {
        return (uint32_t) (lrt_words_next(low + block, low + all, key) - low);
    }

    while (block < all && lrt_best_low(view, block) != key) {
        block++;
    }

    return block;
}


/* the minimum of a block, without the servers that the request has tried */

static uint64_t
lrt_best_low(const lrt_view_t *view, uint32_t block)
{
    return (view->ntried && lrt_best_tried_in(view, block))
           ? lrt_best_untried(view, block)
           : lrt_load(&view->table->low[view->tier][block]);
}


static uint64_t
lrt_best_untried(const lrt_view_t *view, uint32_t block)
{
    uint32_t  slot, end;
    uint64_t  key, low;

    low = LRT_KEY_NEVER;
    end = lrt_best_end(view, block);

    for (slot = block * LRT_BLOCK; slot < end; slot++) {
        key = lrt_load(&view->table->key[view->tier][slot]);

        if (key < low && !lrt_view_tried(view, slot)) {
            low = key;
        }
    }

    return low;
}


static unsigned
lrt_best_tried_in(const lrt_view_t *view, uint32_t block)
{
    uint32_t  i;

    for (i = 0; i < view->ntried; i++) {
        if (view->tried[i].slot / LRT_BLOCK == block) {
            return 1;
        }
    }

    return 0;
}


static uint32_t
lrt_best_end(const lrt_view_t *view, uint32_t block)
{
    uint32_t  end;

    end = (block + 1) * LRT_BLOCK;

    return (end < view->top) ? end : view->top;
}
