
/*
 * Copyright (C) the ngx_http_lrt_upstream_module authors
 */


#include "lrt_estimate.h"
#include "lrt_fixed.h"


/*
 * A server's word: logarithm (20 bits), effective number of samples with four
 * bits of fraction (12), time of the last sample in milliseconds (32).
 */

#define LRT_COUNT_ONE        16
#define LRT_COUNT_MAX        0xfff
#define LRT_COUNT_FEW        (10 * LRT_COUNT_ONE)

#define lrt_word(log, count, stamp)                                           \
    ((uint64_t) (log) << 44 | (uint64_t) (count) << 32 | (uint32_t) (stamp))
#define lrt_word_count(word) ((uint32_t) ((word) >> 32) & LRT_COUNT_MAX)


/* weights of a new sample, in 16 bits of fraction */

#define LRT_GAIN_ONE         65536
#define LRT_GAIN_MIN         (LRT_GAIN_ONE / 75)
#define LRT_GAIN_MAX         (LRT_GAIN_ONE / 2)

#define LRT_MEMORY           2000            /* ms in which it fades to 1/e */
#define LRT_FRESH            500             /* ms in which many say enough */
#define LRT_LATE             60000           /* ms that clocks may be apart */
#define LRT_LOG2_E           6196328019ull   /* 32 bits of fraction */

/* squares of 30 octaves, in units of 1/128, have room in 32 bits */

#define LRT_SPREAD_SAMPLES   512
#define LRT_SPREAD_SHIFT     8
#define LRT_SQUARE_SHIFT     7

/* what answers differ by before any came, as if that were known from some */

#define LRT_SPREAD_FIRST     (LRT_LOG_ONE * 3 / 2)
#define LRT_SPREAD_SUPPOSED  16

/*
 * A difference of a third of an octave is never sure, and of few samples, over
 * their number, a longer time by some octaves, or a shorter one: in logarithms
 * answers that are much too short are less rare.
 */

#define LRT_TOLERANCE        (LRT_LOG_ONE * 5 / 16)
#define LRT_FEW_LONGER       (6 * LRT_LOG_ONE * LRT_COUNT_ONE)
#define LRT_FEW_SHORTER      (8 * LRT_LOG_ONE * LRT_COUNT_ONE)

/*
 * What chance may do is known from answers that do not depend on each other;
 * those of one queue do, and so it may do as much again.
 */

#define LRT_CHANCE           2

/* a failure is worth so many octaves */

#define LRT_FAILURE          (4 * LRT_LOG_ONE)
#define LRT_USUAL_SAMPLES    256

/* times above 2^62 us are not told apart: lrt_exp2() ends below 63 octaves */

#define LRT_LOG_MAX          (62 * LRT_LOG_ONE)


static uint64_t lrt_estimate_move(uint64_t word, uint32_t log, uint32_t idle,
    uint64_t now);
static uint32_t lrt_estimate_kind(uint32_t log, const lrt_norm_t *norm);
static uint32_t lrt_estimate_likely(uint64_t word, const lrt_norm_t *norm);
static unsigned lrt_estimate_vague(uint64_t word, uint64_t now);
static uint64_t lrt_estimate_gain(uint32_t count, uint32_t idle);


uint64_t
lrt_estimate_add(uint64_t word, uint64_t us, uint64_t now)
{
    return lrt_estimate_move(word, lrt_estimate_us(us),
                             lrt_estimate_age(word, now), now);
}


uint64_t
lrt_estimate_add_rare(uint64_t word, uint64_t us, uint64_t now)
{
    return lrt_estimate_move(word, lrt_estimate_us(us), 0, now);
}


uint64_t
lrt_estimate_add_tailed(uint64_t word, uint64_t us, uint64_t now)
{
    uint32_t  idle;
    uint64_t  usual, longer;

    idle = lrt_estimate_age(word, now);

    usual = lrt_estimate_time(lrt_estimate_log(word));
    longer = (us > usual) ? (us - usual) / 1000 : 0;

    idle = (idle > longer) ? idle - (uint32_t) longer : 0;

    return lrt_estimate_move(word, lrt_estimate_us(us), idle, now);
}


uint64_t
lrt_estimate_fail(uint64_t word, uint32_t usual, uint64_t now)
{
    uint32_t  log;

    if (usual == 0) {
        return word;
    }

    log = usual + LRT_FAILURE;
    log = (log < LRT_LOG_LIMIT) ? log : LRT_LOG_LIMIT;

    /* who is slower than that anyway does not become faster */

    if (log < lrt_estimate_log(word)) {
        log = lrt_estimate_log(word);
    }

    return lrt_estimate_move(word, log, lrt_estimate_age(word, now), now);
}


uint64_t
lrt_estimate_make(uint32_t log, uint32_t samples, uint64_t then)
{
    return lrt_word(log, samples * LRT_COUNT_ONE, then);
}


uint64_t
lrt_usual_add(uint64_t usual, uint64_t us)
{
    int64_t  log;

    log = lrt_estimate_us(us);

    return usual ? (uint64_t) ((int64_t) usual
                               + (log - (int64_t) usual) / LRT_USUAL_SAMPLES)
                 : (uint64_t) log;
}


static uint64_t
lrt_estimate_move(uint64_t word, uint32_t log, uint32_t idle, uint64_t now)
{
    uint32_t  count;
    uint64_t  gain, rest, inverse;
    int64_t   step;

    if (word == 0) {
        return lrt_word(log, LRT_COUNT_ONE, now);
    }

    count = lrt_word_count(word);
    gain = lrt_estimate_gain(count, idle);

    step = ((int64_t) log - (int64_t) lrt_estimate_log(word)) * (int64_t) gain;
    log = (uint32_t) ((int64_t) lrt_estimate_log(word) + step / LRT_GAIN_ONE);

    /* 1/n' = (1 - a)^2 / n + a^2, for samples of equal variance */

    rest = LRT_GAIN_ONE - gain;
    inverse = rest * rest * LRT_COUNT_ONE / count + gain * gain;
    count = (uint32_t) (((uint64_t) LRT_COUNT_ONE << 32) / inverse);

    if (count > LRT_COUNT_MAX) {
        count = LRT_COUNT_MAX;
    }

    return lrt_word(log, count, now);
}


uint32_t
lrt_estimate_log(uint64_t word)
{
    return (uint32_t) (word >> 44);
}


uint32_t
lrt_estimate_samples(uint64_t word)
{
    return lrt_word_count(word) / LRT_COUNT_ONE;
}


uint32_t
lrt_estimate_stamp(uint64_t word)
{
    return (uint32_t) word;
}


uint32_t
lrt_estimate_age(uint64_t word, uint64_t now)
{
    return lrt_age(lrt_estimate_stamp(word), now);
}


uint32_t
lrt_age(uint32_t stamp, uint64_t now)
{
    uint32_t  age;

    age = (uint32_t) now - stamp;

    return (age > UINT32_MAX - LRT_LATE) ? 0 : age;
}


uint32_t
lrt_estimate_deviation(uint64_t word, uint64_t us)
{
    uint32_t  a, b;

    if (word == 0) {
        return 0;
    }

    a = lrt_estimate_log(word);
    b = lrt_estimate_us(us);

    return (a > b) ? a - b : b - a;
}


uint32_t
lrt_estimate_above(uint64_t word, uint64_t us)
{
    return (word && lrt_estimate_us(us) > lrt_estimate_log(word))
           ? lrt_estimate_us(us) - lrt_estimate_log(word) : 0;
}


/*
 * A mean of squares: of answers that are nearly all alike, but for a few that
 * take a hundred times as long, it is the few that count.  The first answers
 * of a group say little of it, and the first one of each server may well be
 * the longest.
 */

uint64_t
lrt_spread_add(uint64_t word, uint32_t deviation)
{
    int64_t   mean, square;
    uint64_t  samples, among;

    samples = (uint64_t) lrt_spread_samples(word) + 1;
    mean = word ? (uint32_t) word : lrt_estimate_square(LRT_SPREAD_FIRST);

    /* a count that wraps forgets nothing */

    samples = (samples > UINT32_MAX) ? LRT_SPREAD_SAMPLES : samples;

    among = samples + LRT_SPREAD_SUPPOSED;
    among = (among < LRT_SPREAD_SAMPLES) ? among : LRT_SPREAD_SAMPLES;

    square = lrt_estimate_square(deviation);
    mean += (square - mean) / (int64_t) among;

    return samples << 32 | (uint64_t) mean;
}


/* rounded, so that the deviation of the word is the one that was given */

uint64_t
lrt_spread_make(uint32_t samples, uint32_t deviation)
{
    uint64_t  square;

    square = (uint64_t) deviation * deviation;
    square += (uint64_t) 1 << (2 * LRT_SPREAD_SHIFT - LRT_SQUARE_SHIFT - 1);

    return (uint64_t) samples << 32
           | (square >> (2 * LRT_SPREAD_SHIFT - LRT_SQUARE_SHIFT));
}


uint32_t
lrt_spread_samples(uint64_t word)
{
    return (uint32_t) (word >> 32);
}


uint32_t
lrt_spread_deviation(uint64_t word)
{
    uint64_t  square;

    square = (uint32_t) word;

    return square ? (uint32_t) lrt_sqrt(square << (2 * LRT_SPREAD_SHIFT
                                                   - LRT_SQUARE_SHIFT))
                  : 0;
}


uint32_t
lrt_estimate_square(uint32_t difference)
{
    difference >>= LRT_SPREAD_SHIFT;

    return (difference * difference) << LRT_SQUARE_SHIFT;
}


uint64_t
lrt_estimate_chance(uint64_t word, uint64_t spread)
{
    return LRT_CHANCE * (uint64_t) (uint32_t) spread * LRT_COUNT_ONE
           / lrt_word_count(word);
}


/*
 * The mean of n samples lies, by chance, within the standard deviation over
 * the root of n.  The deviation itself is not known well from few samples: for
 * want of more, a single one may be some octaves away.  What is beyond counts
 * in full: to take the part off that may be chance would make slow servers look
 * faster.
 */

uint32_t
lrt_estimate_judge(uint64_t word, const lrt_norm_t *norm)
{
    uint32_t  log, kind, half;
    uint64_t  difference, least, deviation, count;

    if (word == 0 || norm->typical == 0) {
        return norm->typical;
    }

    log = lrt_estimate_log(word);
    kind = lrt_estimate_kind(log, norm);
    count = lrt_word_count(word);
    least = LRT_TOLERANCE;

    if (log > kind) {
        difference = log - kind;
        least += LRT_FEW_LONGER / count;

    } else {
        difference = kind - log;
        least += LRT_FEW_SHORTER / count;
    }

    if (difference <= least) {
        return lrt_estimate_likely(word, norm);
    }

    difference -= least;

    /* over the root of the count, whose fraction has four bits, times 1024 */

    deviation = (uint64_t) lrt_spread_deviation(norm->spread) * 1024;
    count <<= 16;

    /* mostly a power of two on either side of the root is enough to know */

    half = (63 - (uint32_t) __builtin_clzll(count | 1)) / 2;

    if (difference <= deviation >> (half + 1)) {
        return lrt_estimate_likely(word, norm);
    }

    if (difference > deviation >> half
        || difference > deviation / lrt_sqrt(count))
    {
        return log;
    }

    return lrt_estimate_likely(word, norm);
}


/* what is typical of those that it is nearer to */

static uint32_t
lrt_estimate_kind(uint32_t log, const lrt_norm_t *norm)
{
    return norm->kind[log > norm->kind[0] / 2 + norm->kind[1] / 2];
}


/*
 * A difference that may be chance: of what is seen, that part is real which
 * the real differences between servers have of all that is to be seen.
 */

static uint32_t
lrt_estimate_likely(uint64_t word, const lrt_norm_t *norm)
{
    int64_t   difference;
    uint32_t  kind;
    uint64_t  between;

    kind = lrt_estimate_kind(lrt_estimate_log(word), norm);
    between = norm->between;

    if (between == 0) {
        return kind;
    }

    difference = (int64_t) lrt_estimate_log(word) - kind;
    difference = difference * (int64_t) between
                 / (int64_t) (between + lrt_estimate_chance(word,
                                                            norm->spread));

    return (uint32_t) (kind + difference);
}


lrt_recovers_e
lrt_estimate_recovers(uint64_t word, uint64_t us, const lrt_norm_t *norm,
    uint64_t now)
{
    uint32_t  slow, typical;

    typical = norm->typical;

    if (word == 0 || typical == 0) {
        return LRT_RECOVERS_NOTHING;
    }

    if (!lrt_estimate_vague(word, now)) {
        return LRT_RECOVERS_IN_USE;
    }

    slow = lrt_estimate_judge(word, norm);

    if (slow <= typical) {
        return LRT_RECOVERS_NOTHING;
    }

    if (lrt_estimate_us(us) >= slow - (slow - typical) / 3) {
        return LRT_RECOVERS_NOT;
    }

    return (lrt_estimate_log(word) > norm->slow) ? LRT_RECOVERS_SURELY
                                                 : LRT_RECOVERS_MAYBE;
}


uint64_t
lrt_estimate_doubt(uint64_t word, const lrt_norm_t *norm, uint64_t now)
{
    if (word == 0
        || norm->typical == 0
        || !lrt_estimate_vague(word, now)
        || lrt_estimate_judge(word, norm) <= norm->typical)
    {
        return word;
    }

    return lrt_word(lrt_estimate_log(word), LRT_COUNT_ONE,
                    lrt_estimate_stamp(word));
}


/* little is known of it, or little of late */

static unsigned
lrt_estimate_vague(uint64_t word, uint64_t now)
{
    return lrt_word_count(word) < LRT_COUNT_FEW
           || lrt_estimate_age(word, now) >= LRT_FRESH;
}


uint64_t
lrt_estimate_time(uint32_t log)
{
    log = (log < LRT_LOG_MAX) ? log : LRT_LOG_MAX;

    return log ? lrt_exp2((uint64_t) log << (32 - LRT_LOG_SHIFT)) : 0;
}


uint32_t
lrt_estimate_us(uint64_t us)
{
    /* 2 us and more: 0 is unknown, and 18 minutes are too long for 20 bits */

    us = (us < 2) ? 2 : us;
    us = (us < (1 << 30)) ? us : (1 << 30);

    return (uint32_t) (lrt_log2(us) >> (32 - LRT_LOG_SHIFT));
}


/*
 * The first samples count alike, then each for a 75th, and more if time
 * has passed since the last one.  Never more than half: one answer is not
 * enough to forget what was known.
 */

static uint64_t
lrt_estimate_gain(uint32_t count, uint32_t idle)
{
    uint64_t  gain, kept, faded;

    gain = (uint64_t) LRT_GAIN_ONE * LRT_COUNT_ONE / (count + LRT_COUNT_ONE);

    if (gain < LRT_GAIN_MIN) {
        gain = LRT_GAIN_MIN;
    }

    faded = idle * (LRT_LOG2_E / LRT_MEMORY);

    kept = (faded < (uint64_t) 16 << 32)
           ? lrt_exp2(((uint64_t) 16 << 32) - faded) : 0;

    if (gain < LRT_GAIN_ONE - kept) {
        gain = LRT_GAIN_ONE - kept;
    }

    return (gain < LRT_GAIN_MAX) ? gain : LRT_GAIN_MAX;
}
