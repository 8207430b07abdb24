
/*
 * Copyright (C) the ngx_http_lrt_upstream_module authors
 */


#include "lrt_best.h"
#include "lrt_rank.h"
#include "lrt_words.h"


/* a pick that finds less than the ranks promised has them computed anew */

#define LRT_BEST_TRIES       4

/*
 * Equal servers that share a turn.  If they are in more blocks than so many,
 * so many steps lead to one of these.
 */

#define LRT_TIES             128
#define LRT_TIES_BLOCKS      8
#define LRT_TIES_STEPS       6

/* turns that cost as much as a block */

#define LRT_TIES_TURNS       6


typedef char  lrt_block_is_a_set[(LRT_BLOCK <= LRT_WORDS) ? 1 : -1];


/* servers that are equal, and the sum of their shares up to each */

typedef struct {
    uint32_t             n;
    uint32_t             slot[LRT_TIES];
    uint64_t             reach[LRT_TIES];
} lrt_ties_t;


static uint64_t lrt_best_least(const lrt_view_t *view);
static uint64_t lrt_best_set(const lrt_view_t *view, const lrt_best_t *best,
    uint32_t number);
static uint64_t lrt_best_equal(const lrt_view_t *view, uint64_t key,
    uint32_t number);
static uint32_t lrt_best_among(const lrt_view_t *view,
    const lrt_best_t *best);
static void lrt_best_collect(const lrt_view_t *view, uint64_t key,
    uint32_t block, uint32_t most, lrt_ties_t *ties);
static unsigned lrt_best_accept(const lrt_view_t *view, uint32_t slot,
    uint64_t key);
static uint32_t lrt_best_share(const lrt_view_t *view, lrt_ties_t *ties);
static uint32_t lrt_best_walk(const lrt_view_t *view, const lrt_best_t *best);
static uint32_t lrt_best_block(const lrt_view_t *view, const lrt_best_t *best,
    uint32_t number);
static uint64_t lrt_best_weigh(const lrt_view_t *view, lrt_ties_t *ties);
static uint32_t lrt_best_take(const lrt_view_t *view, const lrt_ties_t *ties,
    uint64_t point);
static uint64_t lrt_best_part(uint64_t sum, uint32_t point);
static uint64_t lrt_best_mix(uint64_t number);
static uint64_t lrt_best_low(const lrt_view_t *view, uint32_t block);
static uint32_t lrt_best_end(const lrt_view_t *view, uint32_t block);
static uint64_t lrt_best_untried(const lrt_view_t *view, uint32_t block);
static unsigned lrt_best_tried_in(const lrt_view_t *view, uint32_t block);


/* blocks come in sets of so many words */

#define lrt_best_sets(view)                                                   \
    ((lrt_blocks((view)->top) + LRT_WORDS - 1) / LRT_WORDS)


/*
 * Minima may change between two looks at them.  Whoever then finds nobody of
 * that rank looks again.
 */

void
lrt_best_find(const lrt_view_t *view, lrt_best_t *best)
{
    uint32_t  i;
    uint64_t  set;

    best->key = lrt_best_least(view);
    best->blocks = 0;

    for (i = 0; i < lrt_best_sets(view); i++) {

        set = lrt_best_equal(view, best->key, i);
        best->blocks += lrt_words_count(set);

        if (i < LRT_BEST_SETS) {
            best->set[i] = set;
        }
    }
}


static uint64_t
lrt_best_least(const lrt_view_t *view)
{
    uint32_t  block;
    uint64_t  low, least;

    if (view->ntried == 0) {
        return lrt_words_least(view->table->low[view->tier],
                               lrt_blocks(view->top));
    }

    least = LRT_KEY_NEVER;

    for (block = 0; block < lrt_blocks(view->top); block++) {
        low = lrt_best_low(view, block);
        least = (low < least) ? low : least;
    }

    return least;
}


/* blocks that have the best rank, of the first ones as they were found */

static uint64_t
lrt_best_set(const lrt_view_t *view, const lrt_best_t *best, uint32_t number)
{
    return (number < LRT_BEST_SETS) ? best->set[number]
                                    : lrt_best_equal(view, best->key, number);
}


static uint64_t
lrt_best_equal(const lrt_view_t *view, uint64_t key, uint32_t number)
{
    uint32_t  i, n, block;
    uint64_t  set;

    block = number * LRT_WORDS;
    n = lrt_blocks(view->top) - block;
    n = (n < LRT_WORDS) ? n : LRT_WORDS;

    if (view->ntried == 0) {
        return lrt_words_equal(view->table->low[view->tier] + block, n, key);
    }

    set = 0;

    for (i = 0; i < n; i++) {
        if (lrt_best_low(view, block + i) == key) {
            set |= (uint64_t) 1 << i;
        }
    }

    return set;
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
    uint32_t    i, slot, turns, most, looked;
    lrt_ties_t  ties;

    if (best->blocks == 0) {
        return LRT_NONE;
    }

    /* to look at the keys of a block costs as much as some turns */

    looked = (best->blocks <= LRT_TIES_BLOCKS) ? best->blocks : 1;
    turns = LRT_TIES_TURNS * best->blocks;
    turns = (turns < LRT_DRAWS_MANY) ? turns : LRT_DRAWS_MANY;

    most = view->schedule.n * looked / (turns * best->blocks) + 1;
    most = (most < LRT_TIES) ? most : LRT_TIES;

    ties.n = 0;

    for (i = 0; i < looked && ties.n < most; i++) {
        lrt_best_collect(view, best->key, lrt_best_block(view, best, i), most,
                         &ties);
    }

    if (ties.n == most) {
        slot = lrt_view_draw(view, lrt_best_accept, best->key);

        if (slot != LRT_NONE) {
            return slot;
        }

    } else if (looked == best->blocks) {
        return lrt_best_share(view, &ties);
    }

    return lrt_best_walk(view, best);
}


/* those of a block, until there are "most" */

static void
lrt_best_collect(const lrt_view_t *view, uint64_t key, uint32_t block,
    uint32_t most, lrt_ties_t *ties)
{
    uint32_t  slot, first;
    uint64_t  set;

    if (block == LRT_NONE) {
        return;
    }

    first = block * LRT_BLOCK;

    set = lrt_words_equal(view->table->key[view->tier] + first,
                          lrt_best_end(view, block) - first, key);

    for ( /* void */ ; set && ties->n < most; set = lrt_words_rest(set)) {

        slot = first + lrt_words_first(set);

        if (view->ntried == 0 || !lrt_view_tried(view, slot)) {
            ties->slot[ties->n++] = slot;
        }
    }
}


static unsigned
lrt_best_accept(const lrt_view_t *view, uint32_t slot, uint64_t key)
{
    return lrt_load(&view->table->key[view->tier][slot]) == key
           && lrt_view_open(view, slot);
}


/*
 * One of all that are equal, by weight.  Turns are points of a line, at even
 * distances.
 */

static uint32_t
lrt_best_share(const lrt_view_t *view, lrt_ties_t *ties)
{
    uint64_t  sum, turn;

    if (ties->n == 0) {
        return LRT_NONE;
    }

    /* the only one needs no turn */

    if (ties->n == 1) {
        return lrt_view_open(view, ties->slot[0]) ? ties->slot[0] : LRT_NONE;
    }

    sum = lrt_best_weigh(view, ties);
    turn = lrt_view_turn(view, LRT_CURSOR_SPARSE);

    return lrt_best_take(view, ties,
                         lrt_best_part(sum, (uint32_t) (turn * 2654435769u)));
}


/*
 * The same without looking at all of them: a walk over the blocks that have
 * the minimum.  It begins in any of them; each step looks at another one, and
 * goes there by the ratio of what those weigh that are equal here and there,
 * or stays.  So it is in each block as often as that block's part of the
 * weight is, whatever the weight of all is, but for what the beginning still
 * makes after some steps: next to nothing unless a few blocks outweigh all
 * others by far.
 */

static uint32_t
lrt_best_walk(const lrt_view_t *view, const lrt_best_t *best)
{
    uint32_t    i, number;
    uint64_t    dice, sum, weight;
    lrt_ties_t  ties[2], *here, *there, *left;

    dice = lrt_view_turn(view, LRT_CURSOR_SPARSE);

    here = &ties[0];
    there = &ties[1];

    here->n = 0;
    sum = 0;

    for (i = 0; i < LRT_TIES_STEPS; i++) {

        dice = lrt_best_mix(dice);
        number = (uint32_t) ((dice >> 32) * best->blocks >> 32);

        there->n = 0;
        lrt_best_collect(view, best->key, lrt_best_block(view, best, number),
                         LRT_TIES, there);

        weight = lrt_best_weigh(view, there);

        if (there->n && lrt_best_part(sum, (uint32_t) dice) <= weight) {
            left = here;
            here = there;
            there = left;
            sum = weight;
        }
    }

    dice = lrt_best_mix(dice);

    return lrt_best_take(view, here, lrt_best_part(sum, (uint32_t) dice));
}


/* the block of this number among those of the best rank; some may be gone */

static uint32_t
lrt_best_block(const lrt_view_t *view, const lrt_best_t *best, uint32_t number)
{
    uint32_t  i, n;
    uint64_t  set;

    for (i = 0; i < lrt_best_sets(view); i++) {

        set = lrt_best_set(view, best, i);
        n = lrt_words_count(set);

        if (number >= n) {
            number -= n;
            continue;
        }

        while (number--) {
            set = lrt_words_rest(set);
        }

        return i * LRT_WORDS + lrt_words_first(set);
    }

    return LRT_NONE;
}


static uint64_t
lrt_best_weigh(const lrt_view_t *view, lrt_ties_t *ties)
{
    uint32_t  i;
    uint64_t  sum;

    sum = 0;

    for (i = 0; i < ties->n; i++) {
        sum += lrt_view_weight(view, ties->slot[i]);
        ties->reach[i] = sum;
    }

    return sum;
}


/* the one on whose share the point falls */

static uint32_t
lrt_best_take(const lrt_view_t *view, const lrt_ties_t *ties, uint64_t point)
{
    uint32_t  i, n;

    for (i = 0; i + 1 < ties->n && ties->reach[i] <= point; i++) {
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


/* a point of a line from 0 to 2^32 on one of another length */

static uint64_t
lrt_best_part(uint64_t sum, uint32_t point)
{
    return (sum >> 32) * point + ((sum & UINT32_MAX) * point >> 32);
}


/* numbers that follow each other become such that have nothing in common */

static uint64_t
lrt_best_mix(uint64_t number)
{
    number += 0x9e3779b97f4a7c15ull;
    number = (number ^ (number >> 30)) * 0xbf58476d1ce4e5b9ull;
    number = (number ^ (number >> 27)) * 0x94d049bb133111ebull;

    return number ^ (number >> 31);
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
