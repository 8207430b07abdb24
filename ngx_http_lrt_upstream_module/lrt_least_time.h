
/*
 * Copyright (C) the ngx_http_lrt_upstream_module authors
 *
 * Parts of the choice of least_time that are shown to people, and the words
 * that it keeps in lrt_hot_t.
 */


#ifndef _LRT_LEAST_TIME_H_INCLUDED_
#define _LRT_LEAST_TIME_H_INCLUDED_


#include "lrt_method.h"


/*
 * The last pick: time in ms, how many trials may still disappoint (4 bits), and
 * how many samples the group had (28).  With less than POOR the server is one
 * that always was slow, and it is the number of good trials in a row.
 */

#define LRT_TRIAL_CREDIT         15
#define LRT_TRIAL_POOR           3
#define LRT_TRIAL_SAMPLES        ((1 << 28) - 1)

#define lrt_trial(now, credit, samples)                                       \
    ((uint64_t) (uint32_t) (now) << 32 | (uint32_t) (credit) << 28            \
     | ((samples) & LRT_TRIAL_SAMPLES))
#define lrt_trial_stamp(word)    ((uint32_t) ((word) >> 32))
#define lrt_trial_credit(word)   ((uint32_t) (word) >> 28)
#define lrt_trial_samples(word)  ((uint32_t) (word) & LRT_TRIAL_SAMPLES)

/* the age of requests that take longer than they should, ms, and when */

#define lrt_lag(now, age)                                                     \
    ((uint64_t) (uint32_t) (now) << 32 | (uint32_t) (age))
#define lrt_lag_stamp(word)      ((uint32_t) ((word) >> 32))
#define lrt_lag_age(word)        ((uint32_t) (word))


/* microseconds that a request is expected to take there, without others */

uint64_t lrt_least_time_expected(const lrt_score_t *score);

/* the same without judgement for people, 0 if nothing is known */

uint64_t lrt_least_time_known(const lrt_score_t *score);

/*
 * A request of this age, us, is not done; "header" if its header has come.
 * Kept if that is longer than chance explains.
 */

void lrt_least_time_lag(lrt_table_t *t, uint32_t slot, unsigned header,
    uint64_t age, uint64_t now);

/*
 * What an answer says of the next trial.  Returns the same, or that after so
 * many good ones there is no doubt.
 */

lrt_recovers_e lrt_least_time_answered(lrt_hot_t *hot, lrt_recovers_e recovers);

/* an answer that is one of many, as it came from one that always was slow */

unsigned lrt_least_time_poor(const lrt_hot_t *hot, lrt_recovers_e recovers);

/* the server shall be tried as soon as others have answered some */

void lrt_least_time_ask(lrt_hot_t *hot);

/*
 * There is a sign that it is well again, if it was slow: requests shall find
 * out soon.  Ranks are brought up to date by the caller.
 */

void lrt_least_time_doubt(lrt_table_t *t, uint32_t slot, uint64_t now);

/* requests that it would have with this one */

uint64_t lrt_least_time_queue(const lrt_score_t *score);


#endif /* _LRT_LEAST_TIME_H_INCLUDED_ */
