
/*
 * Copyright (C) the ngx_http_lrt_upstream_module authors
 */


#include "lrt_typical.h"
#include "lrt_errors.h"
#include "lrt_fixed.h"
#include "lrt_pace.h"

#include <string.h>


/* how far from the median a server may be to be one that is typical */

#define LRT_MIDDLE           (LRT_LOG_ONE * 3 / 4)

/* no good answer of a server that is so much slower than others is chance */

#define LRT_SLOW             (LRT_LOG_ONE * 5 / 2)

/* a steeper slope is an accident of few servers */

#define LRT_SLOPE_MAX        (2 * LRT_LOG_ONE)

/* from the unit of a product to that of a square, of slopes */

#define LRT_SLOPE_SHIFT      6


/* quarters of an octave, for the median */

#define LRT_QUARTERS         128
#define LRT_QUARTER_SHIFT    (LRT_LOG_SHIFT - 2)


typedef struct {
    uint32_t             n[LRT_QUARTERS];
    uint64_t             sum[LRT_QUARTERS];
} lrt_quarters_t;


/* of servers: distances from the median, and what chance makes of these */

typedef struct {
    int64_t              n;
    int64_t              distance;
    int64_t              square;
    int64_t              chance;
    int64_t              weight;         /* logarithms */
    int64_t              product;        /* of both */
} lrt_sums_t;


static uint32_t lrt_typical_top(const lrt_table_t *t);
static uint32_t lrt_typical_median(lrt_table_t *t, const lrt_entry_t *entry);
static void lrt_typical_middle(lrt_table_t *t, const lrt_entry_t *entry,
    uint32_t median);
static void lrt_typical_sum(lrt_sums_t *sums, int64_t distance,
    uint64_t chance, uint32_t weight);
static uint32_t lrt_typical_slow(const lrt_sums_t *sums, int64_t n);
static int64_t lrt_typical_variance(const lrt_sums_t *sums);
static uint64_t lrt_typical_between(const lrt_sums_t *sums);
static uint64_t lrt_typical_slope(const lrt_sums_t *sums);
static void lrt_typical_pace(lrt_table_t *t, const lrt_entry_t *entry);


void
lrt_typical(lrt_table_t *t)
{
    const lrt_entry_t  *entry;

    entry = lrt_table_entries(t, lrt_table_generation(t));

    lrt_typical_middle(t, entry, lrt_typical_median(t, entry));
    lrt_typical_pace(t, entry);
}


void
lrt_typical_norm(const lrt_table_t *t, lrt_norm_t *norm)
{
    norm->typical = (uint32_t) lrt_load(&t->head->typical.time);
    norm->slow = (uint32_t) lrt_load(&t->head->typical.slow);
    norm->between = (uint32_t) lrt_load(&t->head->typical.between);
    norm->spread = lrt_load(&t->head->learned.spread);
}


/* a table may have far more slots than servers */

static uint32_t
lrt_typical_top(const lrt_table_t *t)
{
    uint32_t  top;

    top = lrt_load(&lrt_table_side(t, lrt_table_generation(t))->top);

    return (top < t->capacity) ? top : t->capacity;
}


/*
 * Of all estimates.  What each answer changes is put right here as well; the
 * mean is kept to see how far answers have moved it.
 */

static uint32_t
lrt_typical_median(lrt_table_t *t, const lrt_entry_t *entry)
{
    uint32_t        slot, top, n, i, half;
    uint64_t        sum, errors, word;
    unsigned        failing;
    lrt_quarters_t  quarter;

    n = 0;
    sum = 0;
    errors = 0;
    memset(&quarter, 0, sizeof(lrt_quarters_t));

    top = lrt_typical_top(t);
    failing = (lrt_load(&t->head->learned.errors) != 0);

    for (slot = 0; slot < top; slot++) {

        if (entry[slot].ident == 0) {
            continue;
        }

        word = lrt_load(&t->hot[slot].estimate);

        if (word) {
            i = lrt_estimate_log(word) >> LRT_QUARTER_SHIFT;
            quarter.sum[i] += lrt_estimate_log(word);
            quarter.n[i]++;

            sum += lrt_estimate_log(word);
            n++;
        }

        if (failing) {
            errors += lrt_errors_part(lrt_load(&t->health[slot].errors));
        }
    }

    lrt_store(&t->head->learned.errors, errors);
    lrt_store(&t->head->known.value, n);
    lrt_store(&t->head->learned.sum, sum);
    lrt_store(&t->head->learned.mean, n ? sum / n : 0);

    if (n == 0) {
        return 0;
    }

    half = 0;

    for (i = 0; i < LRT_QUARTERS - 1; i++) {
        half += quarter.n[i];

        if (half > n / 2) {
            break;
        }
    }

    return (uint32_t) (quarter.sum[i] / quarter.n[i]);
}


/*
 * Typical are those that are not far from the median, if most are: a few that
 * are much slower must not make all others seem to be slower than they are,
 * nor to differ.
 */

static void
lrt_typical_middle(lrt_table_t *t, const lrt_entry_t *entry, uint32_t median)
{
    int64_t       distance;
    uint32_t      slot, top, weight, mean;
    uint64_t      word, spread, chance;
    lrt_sums_t    all, middle, *some;

    top = lrt_typical_top(t);
    spread = lrt_load(&t->head->learned.spread);

    memset(&all, 0, sizeof(lrt_sums_t));
    middle = all;

    for (slot = 0; slot < top; slot++) {

        word = entry[slot].ident ? lrt_load(&t->hot[slot].estimate) : 0;

        if (word == 0) {
            continue;
        }

        distance = (int64_t) lrt_estimate_log(word) - median;
        chance = lrt_estimate_chance(word, spread);
        weight = lrt_load(&entry[slot].params.weight);

        lrt_typical_sum(&all, distance, chance, weight);

        if (distance <= LRT_MIDDLE && distance >= -LRT_MIDDLE) {
            lrt_typical_sum(&middle, distance, chance, weight);
        }
    }

    some = (middle.n > all.n / 2) ? &middle : &all;

    mean = some->n ? (uint32_t) (median + some->distance / some->n) : 0;

    lrt_store(&t->head->typical.time, mean);
    lrt_store(&t->head->typical.slow, mean + lrt_typical_slow(some, all.n));
    lrt_store(&t->head->typical.between, lrt_typical_between(some));
    lrt_store(&t->head->typical.weight,
              some->n ? (uint64_t) (some->weight / some->n) : 0);
    lrt_store(&t->head->typical.slope, lrt_typical_slope(some));
}


static void
lrt_typical_sum(lrt_sums_t *sums, int64_t distance, uint64_t chance,
    uint32_t weight)
{
    int64_t  log;

    sums->n++;
    sums->distance += distance;
    sums->square += lrt_estimate_square((uint32_t) (distance < 0 ? -distance
                                                                 : distance));
    sums->chance += (int64_t) chance;

    /* a logarithm is dear, and most servers weigh 1 */

    if (weight > 1) {
        log = (int64_t) (lrt_log2(weight) >> (32 - LRT_LOG_SHIFT));
        sums->weight += log;
        sums->product += log * distance;
    }
}


/*
 * Above the mean, which a slow server moves as well if it is among those that
 * it was made of: of two servers, half of the way.
 */

static uint32_t
lrt_typical_slow(const lrt_sums_t *sums, int64_t n)
{
    return (sums->n == n) ? (uint32_t) (LRT_SLOW * (n - 1) / (n ? n : 1))
                          : LRT_SLOW;
}


/* that is seen, as a sum over all of them */

static int64_t
lrt_typical_variance(const lrt_sums_t *sums)
{
    int64_t  mean;

    mean = sums->distance / sums->n;
    mean = lrt_estimate_square((uint32_t) (mean < 0 ? -mean : mean));

    return sums->square - sums->n * mean;
}


/* without that which chance would make */

static uint64_t
lrt_typical_between(const lrt_sums_t *sums)
{
    int64_t  between;

    if (sums->n < 2) {
        return 0;
    }

    between = lrt_typical_variance(sums) / (sums->n - 1)
              - sums->chance / sums->n;

    return (between > 0) ? (uint64_t) between : 0;
}


static uint64_t
lrt_typical_slope(const lrt_sums_t *sums)
{
    int64_t  variance, covariance, slope;

    variance = sums->n ? lrt_typical_variance(sums) : 0;

    if (variance <= 0) {
        return 0;
    }

    covariance = sums->product - sums->weight / sums->n * sums->distance;

    slope = -covariance / ((variance >> LRT_SLOPE_SHIFT) + 1);

    return (slope < 0) ? 0
           : (slope < LRT_SLOPE_MAX) ? (uint64_t) slope : LRT_SLOPE_MAX;
}


static void
lrt_typical_pace(lrt_table_t *t, const lrt_entry_t *entry)
{
    uint32_t           slot, top, n;
    uint64_t           sum, word;
    const lrt_side_t  *side;

    n = 0;
    sum = 0;

    side = lrt_table_side(t, lrt_table_generation(t));

    /* without checks, what is left of earlier ones counts no more */

    top = lrt_load(&side->settings.nchecks) ? lrt_typical_top(t) : 0;

    for (slot = 0; slot < top; slot++) {
        word = lrt_load(&t->health[slot].pace);

        if (entry[slot].ident && word) {
            sum += lrt_pace_now(word);
            n++;
        }
    }

    lrt_store(&t->head->pace.value, n ? sum / n : 0);
}
