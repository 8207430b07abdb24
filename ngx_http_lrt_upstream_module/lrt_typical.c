
/*
 * Copyright (C) the ngx_http_lrt_upstream_module authors
 */


#include "lrt_typical.h"
#include "lrt_crowd.h"
#include "lrt_errors.h"
#include "lrt_fixed.h"
#include "lrt_pace.h"

#include <string.h>


/* how far from the median a server may be to be one that is typical */

#define LRT_MIDDLE           (LRT_LOG_ONE * 3 / 4)

/* no good answer of a server that is so much slower than others is chance */

#define LRT_SLOW             (LRT_LOG_ONE * 5 / 2)

/*
 * Two kinds are at least an octave apart, with two servers each, by more than
 * chance, and so far that the square of it is that many times the variance
 * within them; of what is spread evenly it is twelve times that.
 */

#define LRT_KINDS_APART      LRT_LOG_ONE
#define LRT_KINDS_CLEAR      20
#define LRT_KINDS_SHIFT      8

/* a steeper slope is an accident of few servers */

#define LRT_SLOPE_MAX        (2 * LRT_LOG_ONE)

/* a part of what weights say counts anyway */

#define LRT_SLOPE_PART       4               /* of 5 */

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
static uint32_t lrt_typical_median(lrt_table_t *t, const lrt_entry_t *entry,
    lrt_quarters_t *quarter);
static void lrt_typical_middle(lrt_table_t *t, const lrt_entry_t *entry,
    const lrt_quarters_t *quarter, uint32_t median);
static void lrt_typical_sum(lrt_sums_t *sums, int64_t distance,
    uint64_t chance, uint32_t weight);
static uint32_t lrt_typical_slow(const lrt_sums_t *sums, int64_t n);
static uint64_t lrt_typical_kinds(const lrt_quarters_t *quarter,
    const lrt_sums_t *sums, uint64_t *between);
static int64_t lrt_typical_variance(const lrt_sums_t *sums);
static uint64_t lrt_typical_between(int64_t variance, int64_t freedom,
    const lrt_sums_t *sums);
static uint64_t lrt_typical_slope(const lrt_sums_t *sums);
static void lrt_typical_pace(lrt_table_t *t, const lrt_entry_t *entry);


void
lrt_typical(lrt_table_t *t)
{
    uint32_t            median;
    lrt_quarters_t      quarter;
    lrt_learned_t      *learned;
    const lrt_entry_t  *entry;

    learned = &t->head->learned;
    entry = lrt_table_entries(t, lrt_table_generation(t));

    median = lrt_typical_median(t, entry, &quarter);

    lrt_typical_middle(t, entry, &quarter, median);
    lrt_typical_pace(t, entry);

    lrt_store(&t->head->typical.power,
              lrt_crowd_power(lrt_load(&learned->product),
                              lrt_load(&learned->square)));
}


void
lrt_typical_norm(const lrt_table_t *t, lrt_norm_t *norm)
{
    uint64_t  kinds;

    kinds = lrt_load(&t->head->typical.kinds);

    norm->kind[0] = (uint32_t) (kinds >> 32);
    norm->kind[1] = (uint32_t) kinds;
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
lrt_typical_median(lrt_table_t *t, const lrt_entry_t *entry,
    lrt_quarters_t *quarter)
{
    uint32_t  slot, top, n, i, half;
    uint64_t  sum, errors, word;
    unsigned  failing;

    n = 0;
    sum = 0;
    errors = 0;
    memset(quarter, 0, sizeof(lrt_quarters_t));

    top = lrt_typical_top(t);
    failing = (lrt_load(&t->head->learned.errors) != 0);

    for (slot = 0; slot < top; slot++) {

        if (entry[slot].ident == 0) {
            continue;
        }

        word = lrt_load(&t->hot[slot].estimate);

        if (word) {
            i = lrt_estimate_log(word) >> LRT_QUARTER_SHIFT;
            quarter->sum[i] += lrt_estimate_log(word);
            quarter->n[i]++;

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
        half += quarter->n[i];

        if (half > n / 2) {
            break;
        }
    }

    return (uint32_t) (quarter->sum[i] / quarter->n[i]);
}


/*
 * Typical are those that are not far from the median, if most are: a few that
 * are much slower must not make all others seem to be slower than they are,
 * nor to differ.
 */

static void
lrt_typical_middle(lrt_table_t *t, const lrt_entry_t *entry,
    const lrt_quarters_t *quarter, uint32_t median)
{
    int64_t       distance;
    uint32_t      slot, top, weight, mean;
    uint64_t      word, spread, chance, kinds, between;
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

    kinds = lrt_typical_kinds(quarter, &all, &between);

    if (kinds == 0) {
        kinds = (uint64_t) mean << 32 | mean;
        between = some->n ? lrt_typical_between(lrt_typical_variance(some),
                                                some->n - 1, some)
                          : 0;
    }

    lrt_store(&t->head->typical.time, mean);
    lrt_store(&t->head->typical.slow, mean + lrt_typical_slow(some, all.n));
    lrt_store(&t->head->typical.kinds, kinds);
    lrt_store(&t->head->typical.between, between);
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


/*
 * Where the variance between two parts is greatest, and so that within them
 * least.  Returns 0 if that makes no kinds of them, and else what is typical of
 * both, and how much servers of a kind differ.
 */

static uint64_t
lrt_typical_kinds(const lrt_quarters_t *quarter, const lrt_sums_t *sums,
    uint64_t *between)
{
    int64_t   within;
    uint32_t  i, n, few, fast, slow, gap;
    uint64_t  sum, part, most, variance, kinds;

    n = 0;
    sum = 0;

    for (i = 0; i < LRT_QUARTERS; i++) {
        n += quarter->n[i];
        sum += quarter->sum[i];
    }

    few = 0;
    part = 0;
    most = 0;
    kinds = 0;

    for (i = 0; i < LRT_QUARTERS; i++) {

        if (quarter->n[i] == 0) {
            continue;
        }

        few += quarter->n[i];
        part += quarter->sum[i];

        if (few < 2 || few + 2 > n) {
            continue;
        }

        fast = (uint32_t) (part / few);
        slow = (uint32_t) ((sum - part) / (n - few));
        gap = (slow - fast) >> LRT_KINDS_SHIFT;

        variance = (uint64_t) gap * gap * few * (n - few);

        if (variance > most) {
            most = variance;
            kinds = (uint64_t) fast << 32 | slow;
        }
    }

    /* some may have gone since they were counted */

    if (most == 0 || sums->n < n) {
        return 0;
    }

    gap = (uint32_t) kinds - (uint32_t) (kinds >> 32);

    within = lrt_typical_variance(sums)
             - (int64_t) (most / n
                          * lrt_estimate_square(1 << LRT_KINDS_SHIFT));

    if (gap < LRT_KINDS_APART
        || lrt_estimate_square(gap) < sums->chance / n
        || within * LRT_KINDS_CLEAR > (int64_t) n * lrt_estimate_square(gap))
    {
        return 0;
    }

    /* with two servers each there are four of them */

    *between = lrt_typical_between(within, n - 2, sums);

    return kinds;
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
lrt_typical_between(int64_t variance, int64_t freedom, const lrt_sums_t *sums)
{
    int64_t  between;

    if (freedom < 1) {
        return 0;
    }

    between = variance / freedom - sums->chance / sums->n;

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
    slope = (slope < LRT_SLOPE_MAX) ? slope : LRT_SLOPE_MAX;

    return (slope > 0) ? (uint64_t) slope * LRT_SLOPE_PART / 5 : 0;
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
