
/*
 * Copyright (C) the ngx_http_lrt_upstream_module authors
 *
 * How long a server takes: a moving average of the logarithm of its times,
 * which a rare long answer does not spoil, and a judgement: what a server's
 * mean differs from that of the group counts in full if it is more than chance
 * explains, and else as far as servers of this group are known to differ.
 * Where they do not, they are equal, and so the choice is by load.
 *
 * All of it for one server is one word, so that workers need no lock; a
 * sample that is lost when two of them write at once does no harm.
 */


#ifndef _LRT_ESTIMATE_H_INCLUDED_
#define _LRT_ESTIMATE_H_INCLUDED_


#include "lrt_types.h"


/* logarithms of microseconds, 15 bits of fraction */

#define LRT_LOG_SHIFT        15
#define LRT_LOG_ONE          (1 << LRT_LOG_SHIFT)
#define LRT_LOG_LIMIT        (30 * LRT_LOG_ONE)      /* 20 bits, 18 minutes */


/* what is known of the servers of a group, see lrt_typical.h */

typedef struct {
    uint32_t             typical;        /* a logarithm; 0: unknown */
    uint32_t             slow;           /* of one that is surely slower */
    uint32_t             kind[2];        /* of the faster, and the slower */
    uint32_t             between;        /* how much they differ, a square */
    uint64_t             spread;         /* how much their answers do */
} lrt_norm_t;


/* the word of a server: 0 is unknown */

uint64_t lrt_estimate_add(uint64_t word, uint64_t us, uint64_t now);

/*
 * One that is no sign of a change, as far as it is known: it counts as one of
 * many, however long the server was idle before.
 */

uint64_t lrt_estimate_add_rare(uint64_t word, uint64_t us, uint64_t now);

/*
 * One of a group where long answers are usual: that it took longer than others
 * of its server is no time without answers, or it would count for more as well.
 */

uint64_t lrt_estimate_add_tailed(uint64_t word, uint64_t us, uint64_t now);

/*
 * A failure is a sample, too: one of a multiple of what answers of the group
 * take.  However fast it came, it never makes a server look better, and who
 * fails often is slow.  "usual" is a logarithm; 0 is unknown.
 */

uint64_t lrt_estimate_fail(uint64_t word, uint32_t usual, uint64_t now);

/* one that was kept elsewhere: so many samples, 1 to 255, the last at "then" */

uint64_t lrt_estimate_make(uint32_t log, uint32_t samples, uint64_t then);

/* the word of a group: a moving mean of the logarithms of all its answers */

uint64_t lrt_usual_add(uint64_t usual, uint64_t us);
uint32_t lrt_estimate_log(uint64_t word);
uint32_t lrt_estimate_samples(uint64_t word);    /* as much as they say */
uint32_t lrt_estimate_stamp(uint64_t word);      /* ms, 32 bits of it */
uint32_t lrt_estimate_age(uint64_t word, uint64_t now);

/* ms since a stamp, which may be of a worker whose clock was read later */

uint32_t lrt_age(uint32_t stamp, uint64_t now);

/*
 * How far a sample lies from what the word says, and how far above it; 0 if
 * that is nothing.
 */

uint32_t lrt_estimate_deviation(uint64_t word, uint64_t us);
uint32_t lrt_estimate_above(uint64_t word, uint64_t us);

/* the word of a group: number of samples, and their standard deviation */

uint64_t lrt_spread_add(uint64_t word, uint32_t deviation);
uint64_t lrt_spread_make(uint32_t samples, uint32_t deviation);
uint32_t lrt_spread_samples(uint64_t word);
uint32_t lrt_spread_deviation(uint64_t word);

/*
 * Squares of differences of logarithms, for variances in 32 bits: of one, and
 * of what chance makes of the word of a server.
 */

uint32_t lrt_estimate_square(uint32_t difference);
uint64_t lrt_estimate_chance(uint64_t word, uint64_t spread);

/*
 * The logarithm that counts: of the server if it is surely different from
 * those of its kind, else between what is typical of these and its own: the
 * nearer to its own, the more they differ at all.  0 is unknown.
 */

uint32_t lrt_estimate_judge(uint64_t word, const lrt_norm_t *norm);

/*
 * A server that was held for slow, and of which little is known of late, gave
 * an answer that is nearer to what is typical, by a third at least.
 */

typedef enum {
    LRT_RECOVERS_NOTHING = 0,            /* it was not slow, or is not known */
    LRT_RECOVERS_IN_USE,                 /* there are many answers of late */
    LRT_RECOVERS_NOT,
    LRT_RECOVERS_MAYBE,
    LRT_RECOVERS_SURELY                  /* it was too slow for that before */
} lrt_recovers_e;

lrt_recovers_e lrt_estimate_recovers(uint64_t word, uint64_t us,
    const lrt_norm_t *norm, uint64_t now);

/*
 * There is a sign that such a server is well again, but no answer: what is
 * known of it counts as one.
 */

uint64_t lrt_estimate_doubt(uint64_t word, const lrt_norm_t *norm,
    uint64_t now);

/* microseconds of a logarithm */

uint64_t lrt_estimate_time(uint32_t log);
uint32_t lrt_estimate_us(uint64_t us);           /* and back, for a sample */


#endif /* _LRT_ESTIMATE_H_INCLUDED_ */
