
/*
 * Copyright (C) the ngx_http_lrt_upstream_module authors
 *
 * How long a server takes: a moving average of the logarithm of its times,
 * which a rare long answer does not spoil, and a judgement: a server is held
 * for different from the group only if the difference is larger than chance
 * explains.  Servers that are not different are equal, and so the choice
 * among them is by load.
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


/* the word of a server: 0 is unknown */

uint64_t lrt_estimate_add(uint64_t word, uint64_t us, uint64_t now);

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
 * The logarithm that counts: of the server if it is different, else the
 * typical one of the group.  "typical" 0 is unknown, as is the answer 0.
 */

uint32_t lrt_estimate_judge(uint64_t word, uint32_t typical, uint64_t spread);

/*
 * A server that was held for slow, and of which little is known of late, gave
 * an answer that is nearer to what is typical: it may be well again.
 */

unsigned lrt_estimate_recovers(uint64_t word, uint64_t us, uint32_t typical,
    uint64_t spread, uint64_t now);

/* microseconds of a logarithm */

uint64_t lrt_estimate_time(uint32_t log);
uint32_t lrt_estimate_us(uint64_t us);           /* and back, for a sample */


#endif /* _LRT_ESTIMATE_H_INCLUDED_ */
