
/*
 * Copyright (C) the ngx_http_lrt_upstream_module authors
 *
 * Least response time: the server with the least time for a request by
 * weight, times the requests that it has to work on.
 */


#include "lrt_best.h"
#include "lrt_crowd.h"
#include "lrt_errors.h"
#include "lrt_estimate.h"
#include "lrt_fixed.h"
#include "lrt_least_time.h"
#include "lrt_pace.h"
#include "lrt_rank.h"
#include "lrt_typical.h"


#define LRT_LEAST_TIME_MAX     (28 * LRT_LOG_ONE)        /* 268 s */
#define LRT_LEAST_TIME_QUEUE   0xfffff

/* requests by weight, and the most octaves that weights take off them */

#define LRT_LEAST_TIME_SHIFT   35
#define LRT_LEAST_TIME_WEIGHT  ((uint64_t) 32 << 32)

/* what times may say more than a server's weight does: an octave */

#define LRT_LEAST_TIME_DOUBT   LRT_LOG_ONE

/* a server is new until it answered so often; a request there counts as many */

#define LRT_PROBATION_SAMPLES  3
#define LRT_PROBATION_COST     16

/* costs from here on are those of suspects: all others go before them */

#define LRT_LEAST_TIME_LAST    ((uint64_t) 1 << 40)

/* the logarithm of 1/8192 us, in which people are shown ranks */

#define LRT_LEAST_TIME_PARTS   ((uint64_t) 13 << 32)
#define LRT_LEAST_TIME_SHOWN   ((uint64_t) 61 << 32)

/* shares: one of the longest time is 1; a million of the largest fit 64 bits */

#define LRT_SHARE_SHIFT        28
#define LRT_SHARE_MAX          ((uint64_t) 1 << 43)

/* when a server that is slow and gets no requests is tried again, ms */

#define LRT_TRIAL_MIN          1000
#define LRT_TRIAL_MAX          10000
#define LRT_TRIAL_LEAST        16
#define LRT_TRIAL_MANY         2500

/*
 * Who always was slow comes so many times later, and not before the group got,
 * for each server, so many answers in the time that one of it takes, which is
 * so many times what is typical at most.  At the latest he comes then, ms.  But
 * before so many answers it may have been bad luck.
 */

#define LRT_TRIAL_KNOWN        10
#define LRT_TRIAL_LATER        3
#define LRT_TRIAL_ANSWERS      32
#define LRT_TRIAL_SLOWER       24
#define LRT_TRIAL_LATEST       20000
#define LRT_TRIAL_FRACTION     4           /* bits */

/* instead of the time of the last pick */

#define LRT_TRIAL_SOON         UINT32_MAX

/* how long a worker's word about unfinished requests counts, ms */

#define LRT_LAG_VALID          300
#define LRT_LAG_DEVIATIONS     3


static uint64_t lrt_least_time_cost(const lrt_score_t *score);
static uint64_t lrt_least_time_key(const lrt_score_t *score);
static uint64_t lrt_least_time_shown(uint64_t key);
static uint64_t lrt_least_time_due(const lrt_score_t *score);
static uint32_t lrt_least_time_point(const lrt_view_t *view);
static uint64_t lrt_least_time_share(const lrt_score_t *score);
static uint64_t lrt_least_time_of(const lrt_view_t *view, uint32_t slot);
static uint64_t lrt_least_time_ramped(const lrt_score_t *score,
    uint64_t share);
static uint32_t lrt_least_time_log(const lrt_score_t *score);
static uint32_t lrt_least_time_once(const lrt_score_t *score, int64_t power);
static int64_t lrt_least_time_twice(const lrt_score_t *score);
static uint32_t lrt_least_time_answers(const lrt_score_t *score);
static unsigned lrt_least_time_probation(const lrt_score_t *score);
static uint64_t lrt_least_time_trial(const lrt_score_t *score);
static uint32_t lrt_least_time_always(const lrt_score_t *score, uint64_t word,
    uint64_t last);
static uint32_t lrt_least_time_seldom(const lrt_score_t *score,
    uint32_t above);


const lrt_method_t  lrt_least_time_method = {
    "least_time",
    LRT_TAKES_TIME|LRT_TAKES_INFLIGHT,
    lrt_least_time_cost,
    lrt_least_time_key,
    lrt_least_time_due,
    lrt_least_time_share,
    lrt_least_time_shown,
    lrt_best_pick,
    lrt_least_time_point
};


/* logarithms with 32 bits of fraction: of the time, and what comes on top */

static uint64_t
lrt_least_time_cost(const lrt_score_t *score)
{
    uint64_t  cost;

    cost = (uint64_t) lrt_least_time_once(score, score->power)
           << (32 - LRT_LOG_SHIFT);

    if (lrt_ramping(score->hot)) {
        cost += (lrt_log2(LRT_RAMP_FULL)
                 - lrt_log2(lrt_ramp_permille(score->params, score->hot,
                                              score->slow_start, score->now)))
                * score->power / LRT_CROWD_ONE;
    }

    /* 0 is unknown */

    return cost + 1
           + (lrt_errors_suspected(score->errors) ? LRT_LEAST_TIME_LAST : 0);
}


/*
 * And the power of the requests that it would have.  These and the weight are
 * divided first: equal quotients make equal ranks.  They may be less than 1,
 * and ranks stay above 0.
 */

static uint64_t
lrt_least_time_key(const lrt_score_t *score)
{
    uint64_t  cost, queue, requests, one;

    if (lrt_least_time_trial(score) <= score->now) {
        return 0;
    }

    queue = lrt_least_time_queue(score);

    if (lrt_least_time_probation(score)) {
        queue *= LRT_PROBATION_COST;
        queue = (queue < LRT_LEAST_TIME_QUEUE) ? queue : LRT_LEAST_TIME_QUEUE;
    }

    cost = score->cost ? score->cost : lrt_least_time_cost(score);

    queue <<= LRT_LEAST_TIME_SHIFT;

    /* a division is dear, and most servers weigh 1 */

    if (score->params->weight != 1) {
        queue /= score->params->weight;
    }

    requests = lrt_log2(queue) * score->power / LRT_CROWD_ONE;
    one = ((uint64_t) LRT_LEAST_TIME_SHIFT << 32) * score->power
          / LRT_CROWD_ONE;

    return cost + LRT_LEAST_TIME_WEIGHT + requests - one;
}


/* no logarithm any more, in parts of a microsecond; suspects have a high bit */

static uint64_t
lrt_least_time_shown(uint64_t key)
{
    uint64_t  log;

    if (key == 0) {
        return 0;
    }

    log = (key & (LRT_LEAST_TIME_LAST - 1)) + LRT_LEAST_TIME_PARTS;
    log = (log > LRT_LEAST_TIME_WEIGHT) ? log - LRT_LEAST_TIME_WEIGHT : 0;

    /* for a moment it may be the rank of another method */

    log = (log < LRT_LEAST_TIME_SHOWN) ? log : LRT_LEAST_TIME_SHOWN;

    return lrt_exp2(log)
           | (key >= LRT_LEAST_TIME_LAST ? (uint64_t) 1 << 62 : 0);
}


static uint64_t
lrt_least_time_due(const lrt_score_t *score)
{
    uint64_t  trial;

    trial = lrt_least_time_trial(score);

    return (trial > score->now) ? trial : UINT64_MAX;
}


/* weight over time, instead of the minimum that all would follow */

static uint32_t
lrt_least_time_point(const lrt_view_t *view)
{
    return lrt_view_share(view, lrt_least_time_of);
}


static uint64_t
lrt_least_time_of(const lrt_view_t *view, uint32_t slot)
{
    lrt_score_t  score;

    lrt_rank_score_slot(view->table, &score, view->policy,
                        &view->entry[slot].params, slot, view->now);

    return lrt_least_time_share(&score);
}


static uint64_t
lrt_least_time_share(const lrt_score_t *score)
{
    uint64_t  share, time;

    time = lrt_estimate_time(lrt_least_time_once(score, LRT_CROWD_ONE));

    share = ((uint64_t) score->params->weight << LRT_SHARE_SHIFT)
            / (time ? time : 1);

    share = (share < LRT_SHARE_MAX) ? share : LRT_SHARE_MAX;

    if (lrt_ramping(score->hot)) {
        share = lrt_least_time_ramped(score, share);
    }

    return lrt_errors_suspected(score->errors) ? 1 : share;
}


static uint64_t
lrt_least_time_ramped(const lrt_score_t *score, uint64_t share)
{
    share *= lrt_ramp_permille(score->params, score->hot, score->slow_start,
                               score->now);

    return (share + LRT_RAMP_FULL - 1) / LRT_RAMP_FULL;
}


uint64_t
lrt_least_time_expected(const lrt_score_t *score)
{
    uint64_t  time;

    time = lrt_estimate_time(lrt_least_time_log(score));

    /* unknown servers are equal */

    return time ? time : 1;
}


static uint32_t
lrt_least_time_log(const lrt_score_t *score)
{
    uint32_t  log, age;
    uint64_t  lag;

    log = lrt_least_time_answers(score);
    log += lrt_stalls_cost(score->errors);
    log += lrt_errors_cost(score->errors, score->usual);

    if (score->policy->inflight) {
        lag = lrt_load(&score->hot->lag);

        if (lrt_age(lrt_lag_stamp(lag), score->now) < LRT_LAG_VALID) {
            age = lrt_estimate_us((uint64_t) lrt_lag_age(lag) * 1000);
            log = (age > log) ? age : log;
        }
    }

    return (log < LRT_LEAST_TIME_MAX) ? log : LRT_LEAST_TIME_MAX;
}


/* where the weight counts by this power, of LRT_CROWD_ONE */

static uint32_t
lrt_least_time_once(const lrt_score_t *score, int64_t power)
{
    int64_t  log;

    log = lrt_least_time_log(score);
    log += lrt_least_time_twice(score) * power / LRT_CROWD_ONE;

    return (log > 0) ? (uint32_t) log : 0;
}


/*
 * Weights mean capacity, and who is faster has more of it: what weights of the
 * group say as well as times must not count twice.  Of a server that is not
 * as fast as its weight says, it is not much more than that says.  Returns a
 * logarithm to be added to that of the time, with its sign.
 */

static int64_t
lrt_least_time_twice(const lrt_score_t *score)
{
    int64_t   said, most;
    uint32_t  weight;

    if (score->slope == 0 || score->norm.typical == 0) {
        return 0;
    }

    said = (int64_t) score->norm.typical - lrt_least_time_answers(score);
    said = said * (int64_t) score->slope / LRT_LOG_ONE;

    /* the weight of a server that is being removed may be 0 */

    weight = score->params->weight ? score->params->weight : 1;

    most = (int64_t) (lrt_log2(weight) >> (32 - LRT_LOG_SHIFT));
    most -= score->weight;
    most = (most < 0 ? -most : most) + LRT_LEAST_TIME_DOUBT;

    return (said > most) ? most : (said < -most) ? -most : said;
}


/*
 * Requests have the last word as long as they are fresh.  Then probes say how
 * the server has changed since, or how it differs from others; and all that
 * is known if no response is ever seen here, as with redirects.
 */

static uint32_t
lrt_least_time_answers(const lrt_score_t *score)
{
    uint32_t  log, probed;
    uint64_t  word, pace;

    word = lrt_load(&score->hot->estimate);
    log = lrt_estimate_judge(word, &score->norm);

    if (score->probes == NULL
        || (word && lrt_estimate_age(word, score->now) <= LRT_PACE_STALE))
    {
        return log;
    }

    pace = lrt_load(&score->probes->health[score->slot].pace);
    probed = (uint32_t) lrt_load(&score->probes->head->pace.value);

    return lrt_pace_scale(log ? log : probed, lrt_pace_now(pace),
                          word ? lrt_pace_then(pace) : probed);
}


void
lrt_least_time_lag(lrt_table_t *t, uint32_t slot, unsigned header,
    uint64_t age, uint64_t now)
{
    uint32_t             deviation;
    uint64_t             lag, *p;
    lrt_hot_t           *hot;
    lrt_norm_t           norm;
    const lrt_policy_t  *policy;

    hot = &t->hot[slot];
    policy = &lrt_table_side(t, lrt_table_generation(t))->policy;

    if (!policy->inflight || (header && !policy->last_byte)) {
        return;
    }

    lrt_typical_norm(t, &norm);
    deviation = lrt_spread_deviation(norm.spread);

    if (norm.typical == 0
        || age < lrt_estimate_time(norm.typical + LRT_LAG_DEVIATIONS * deviation
                                   + LRT_LOG_ONE))
    {
        return;
    }

    p = &hot->lag;
    lag = lrt_load(p);
    age /= 1000;

    /* another worker may know of an older one */

    if (lrt_age(lrt_lag_stamp(lag), now) < LRT_LAG_VALID
        && lrt_lag_age(lag) > age)
    {
        return;
    }

    lrt_store(p, lrt_lag(now, age));
    lrt_rank_touch(t, slot, now);
}


uint64_t
lrt_least_time_known(const lrt_score_t *score)
{
    uint64_t  word;

    word = lrt_load(&score->hot->estimate);

    return word ? lrt_estimate_time(lrt_estimate_log(word)) : 0;
}


lrt_recovers_e
lrt_least_time_answered(lrt_hot_t *hot, lrt_recovers_e recovers)
{
    uint32_t  credit;
    uint64_t  last;

    last = lrt_load(&hot->trial);
    credit = lrt_trial_credit(last);

    switch (recovers) {

    case LRT_RECOVERS_NOTHING:
        return recovers;

    case LRT_RECOVERS_IN_USE:
        credit = LRT_TRIAL_CREDIT;
        break;

    case LRT_RECOVERS_NOT:
        credit = (credit < LRT_TRIAL_POOR) ? 0 : credit - 1;
        break;

    case LRT_RECOVERS_MAYBE:

        /* by chance, a slow machine is fast once in a while */

        if (credit < LRT_TRIAL_POOR) {
            credit++;
            recovers = (credit == LRT_TRIAL_POOR) ? LRT_RECOVERS_SURELY
                                                  : recovers;
            break;
        }

        /* fall through */

    default:
        lrt_least_time_ask(hot);
        return recovers;
    }

    if (credit != lrt_trial_credit(last)) {
        lrt_store(&hot->trial, lrt_trial(lrt_trial_stamp(last), credit,
                                         lrt_trial_samples(last)));
    }

    return recovers;
}


unsigned
lrt_least_time_poor(const lrt_hot_t *hot, lrt_recovers_e recovers)
{
    return (recovers == LRT_RECOVERS_NOT || recovers == LRT_RECOVERS_MAYBE)
           && lrt_trial_credit(lrt_load(&hot->trial)) < LRT_TRIAL_POOR;
}


void
lrt_least_time_ask(lrt_hot_t *hot)
{
    uint64_t  last;

    last = lrt_load(&hot->trial);

    lrt_store(&hot->trial,
              lrt_trial(LRT_TRIAL_SOON, lrt_trial_credit(last),
                        lrt_trial_samples(last)));
}


void
lrt_least_time_doubt(lrt_table_t *t, uint32_t slot, uint64_t now)
{
    uint64_t     before, after, *errors;
    lrt_hot_t   *hot;
    lrt_norm_t   norm;

    hot = &t->hot[slot];
    errors = &t->health[slot].errors;

    lrt_typical_norm(t, &norm);

    before = lrt_load(&hot->estimate);
    after = lrt_estimate_doubt(before, &norm, now);

    if (after == before) {
        return;
    }

    lrt_store(&hot->estimate, after);
    lrt_store(errors, lrt_stalls_forget(lrt_load(errors)));
    lrt_least_time_ask(hot);
}


uint64_t
lrt_least_time_queue(const lrt_score_t *score)
{
    int32_t  inflight;

    inflight = lrt_load(&score->hot->inflight);

    if (inflight < 0) {
        return 1;
    }

    return (inflight < LRT_LEAST_TIME_QUEUE) ? (uint64_t) inflight + 1
                                             : LRT_LEAST_TIME_QUEUE;
}


/*
 * Nobody knows what a new server is like: up to its third answer it has one
 * request more than it answered, and others only if the rest is that busy.
 */

static unsigned
lrt_least_time_probation(const lrt_score_t *score)
{
    uint32_t  samples;

    samples = lrt_estimate_samples(lrt_load(&score->hot->estimate));

    return samples < LRT_PROBATION_SAMPLES
           && score->norm.typical
           && lrt_load(&score->hot->inflight) > (int32_t) samples;
}


/*
 * A server that is not among the best gets no requests, and so nobody finds
 * out when it is well again, or whether a new one is any good.  One request
 * is sent there now and then: when it has not been asked for about as long as
 * it takes to answer, and others have answered more in the meantime than its
 * turn would be.  One that was never in use, or disappointed often since, is
 * likely to be a slow machine, but its first answers alone do not say so.
 */

static uint64_t
lrt_least_time_trial(const lrt_score_t *score)
{
    uint32_t  idle, wait, others, least, above;
    uint64_t  word, last, time;
    unsigned  known;

    if (score->norm.typical == 0 || lrt_load(&score->hot->inflight) > 0) {
        return UINT64_MAX;
    }

    word = lrt_load(&score->hot->estimate);

    /* what a suspect is taken for is no time that an answer takes */

    time = lrt_errors_suspected(score->errors)
           ? 0 : lrt_least_time_known(score) * 3 / 4 / 1000;

    wait = (time < LRT_TRIAL_MIN) ? LRT_TRIAL_MIN
           : (time > LRT_TRIAL_MAX) ? LRT_TRIAL_MAX : (uint32_t) time;

    last = lrt_load(&score->hot->trial);
    idle = lrt_age(lrt_trial_stamp(last), score->now);

    /* a sample may be younger than the pick that it came from */

    if (word && idle > lrt_estimate_age(word, score->now)) {
        idle = lrt_estimate_age(word, score->now);
    }

    others = (lrt_spread_samples(score->norm.spread)
              - lrt_trial_samples(last)) & LRT_TRIAL_SAMPLES;

    /* who gets half of what he would if all were equal is in use */

    least = score->known * 2;

    if (lrt_trial_stamp(last) == LRT_TRIAL_SOON) {
        wait = 0;

    } else {

        above = lrt_least_time_always(score, word, last);
        known = (lrt_estimate_samples(word) >= LRT_TRIAL_KNOWN);

        /* among so many requests, one more is not noticed */

        if (others >= LRT_TRIAL_MANY || (above && !known)) {
            wait /= 2;
        }

        if (above && known) {
            wait *= LRT_TRIAL_LATER;
        }

        if (above && idle < LRT_TRIAL_LATEST) {
            least = lrt_least_time_seldom(score, above) / (known ? 1 : 2);
        }
    }

    if (idle < wait) {
        return score->now + wait - idle;
    }

    least = (least > LRT_TRIAL_LEAST) ? least : LRT_TRIAL_LEAST;

    return (others < least) ? score->now + LRT_TRIAL_MIN : score->now;
}


/* how much slower than others one is that always was so; else 0, or too new */

static uint32_t
lrt_least_time_always(const lrt_score_t *score, uint64_t word, uint64_t last)
{
    uint32_t  log;

    if (lrt_trial_credit(last)
        || lrt_estimate_samples(word) < LRT_PROBATION_SAMPLES)
    {
        return 0;
    }

    log = lrt_estimate_judge(word, &score->norm);

    return (log > score->norm.typical) ? log - score->norm.typical : 0;
}


/*
 * Answers of a group that pay for a trial: the longer it takes, the more.  In a
 * group with few requests the trials of slow machines would be a good part of
 * these.
 */

static uint32_t
lrt_least_time_seldom(const lrt_score_t *score, uint32_t above)
{
    uint64_t  slower, most;

    slower = LRT_TRIAL_ANSWERS
             * (lrt_exp2(((uint64_t) above << (32 - LRT_LOG_SHIFT))
                         + ((uint64_t) LRT_TRIAL_FRACTION << 32)));
    slower >>= LRT_TRIAL_FRACTION;

    most = LRT_TRIAL_ANSWERS * LRT_TRIAL_SLOWER;

    return score->known * (uint32_t) (slower < most ? slower : most);
}
