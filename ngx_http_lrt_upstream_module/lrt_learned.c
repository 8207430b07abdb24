
/*
 * Copyright (C) the ngx_http_lrt_upstream_module authors
 */


#include "lrt_learned.h"
#include "lrt_errors.h"
#include "lrt_estimate.h"
#include "lrt_fixed.h"
#include "lrt_least_time.h"
#include "lrt_pace.h"
#include "lrt_rank.h"
#include "lrt_tail.h"


#define LRT_LEARNED_SHIFT    10              /* a time before it is rounded */
#define LRT_LEARNED_MIX      0x9e3779b97f4a7c15ull


static uint64_t lrt_learned_us(uint32_t log);
static uint32_t lrt_learned_log(uint64_t us);
static unsigned lrt_learned_time(uint64_t us);
static uint32_t lrt_learned_share(uint64_t part, uint32_t one);
static uint32_t lrt_learned_part(uint32_t share, uint32_t one);
static uint64_t lrt_learned_mix(uint64_t hash, uint64_t word);


void
lrt_learned_group(const lrt_table_t *t, lrt_learned_group_t *group)
{
    uint64_t              spread, deviation, tail;
    const lrt_learned_t  *learned;

    learned = &t->head->learned;
    spread = lrt_load(&learned->spread);
    deviation = lrt_spread_deviation(spread);

    group->usual = lrt_learned_us((uint32_t) lrt_load(&learned->usual));
    group->answers = lrt_spread_samples(spread);
    group->spread = (uint32_t) ((deviation * 1000 + LRT_LOG_ONE / 2)
                                / LRT_LOG_ONE);

    tail = lrt_load(&learned->tail);

    group->far = lrt_learned_share(lrt_tail_far(tail), LRT_STALLS_ONE);
    group->stalls = lrt_learned_share(lrt_tail_stalls(tail), LRT_STALLS_ONE);
}


unsigned
lrt_learned_server(const lrt_table_t *t, uint32_t slot,
    lrt_learned_server_t *server, uint64_t now)
{
    uint64_t  estimate, errors, pace;

    estimate = lrt_load(&t->hot[slot].estimate);
    errors = lrt_load(&t->health[slot].errors);
    pace = lrt_load(&t->health[slot].pace);

    server->estimate = lrt_learned_us(lrt_estimate_log(estimate));
    server->samples = lrt_estimate_samples(estimate);
    server->age = estimate ? lrt_estimate_age(estimate, now) : 0;

    server->errors = lrt_learned_share(lrt_errors_part(errors),
                                       LRT_ERRORS_ONE);
    server->stalls = lrt_learned_share(lrt_stalls_part(errors),
                                       LRT_STALLS_ONE);
    server->suspected = (uint8_t) lrt_errors_suspected(errors);
    server->stalling = (uint8_t) lrt_stalls_stalling(errors);

    server->probe = lrt_learned_us(lrt_pace_now(pace));
    server->probe_then = lrt_learned_us(lrt_pace_then(pace));
    server->probes = lrt_pace_samples(pace);

    return estimate || errors || pace;
}


uint64_t
lrt_learned_hash(const lrt_table_t *t)
{
    uint32_t            slot;
    uint64_t            hash, estimate, errors, pace;
    const lrt_entry_t  *entry;

    hash = lrt_learned_mix(0, lrt_load(&t->head->learned.usual));
    hash = lrt_learned_mix(hash, lrt_load(&t->head->learned.spread));
    hash = lrt_learned_mix(hash, lrt_load(&t->head->learned.tail));

    entry = lrt_table_entries(t, lrt_table_generation(t));

    for (slot = 0; slot < t->capacity; slot++) {

        estimate = lrt_load(&t->hot[slot].estimate);
        errors = lrt_load(&t->health[slot].errors);
        pace = lrt_load(&t->health[slot].pace);

        if (lrt_load(&entry[slot].ident) && (estimate || errors || pace)) {
            hash = lrt_learned_mix(hash, lrt_load(&entry[slot].hash));
            hash = lrt_learned_mix(hash, estimate);
            hash = lrt_learned_mix(hash, errors);
            hash = lrt_learned_mix(hash, pace);
        }
    }

    return hash;
}


unsigned
lrt_learned_sound(const lrt_learned_server_t *server)
{
    return (server->estimate
            ? lrt_learned_time(server->estimate)
              && server->samples >= 1
              && server->samples <= LRT_LEARNED_SAMPLES
            : server->samples == 0 && server->age == 0)
           && (server->probe
               ? lrt_learned_time(server->probe)
                 && server->probes >= 1
                 && server->probes <= LRT_PACE_SAMPLES
               : server->probes == 0 && server->probe_then == 0)
           && (server->probe_then == 0 || lrt_learned_time(server->probe_then))
           && server->errors <= LRT_LEARNED_PARTS
           && server->stalls <= LRT_LEARNED_PARTS
           && server->suspected <= 1
           && server->stalling <= 1;
}


unsigned
lrt_learned_group_sound(const lrt_learned_group_t *group)
{
    return (group->usual == 0 || lrt_learned_time(group->usual))
           && group->spread <= LRT_LEARNED_SPREAD
           && group->far <= LRT_LEARNED_PARTS
           && group->stalls <= LRT_LEARNED_PARTS;
}


void
lrt_learned_set_group(lrt_table_t *t, const lrt_learned_group_t *group)
{
    lrt_learned_t  *learned;

    learned = &t->head->learned;

    lrt_store(&learned->usual, lrt_learned_log(group->usual));
    lrt_store(&learned->spread,
              lrt_spread_make(group->answers,
                              (group->spread * LRT_LOG_ONE + 500) / 1000));
    lrt_store(&learned->tail,
              lrt_tail_make(lrt_learned_part(group->far, LRT_STALLS_ONE),
                            lrt_learned_part(group->stalls,
                                             LRT_STALLS_ONE)));
}


void
lrt_learned_set(lrt_table_t *t, uint32_t slot,
    const lrt_learned_server_t *server, uint64_t elapsed, uint64_t now)
{
    uint32_t  errors, answers;
    uint64_t  age;

    /* without an estimate the age is that of the file */

    age = (elapsed <= LRT_LEARNED_OLD) ? server->age + elapsed : elapsed;

    if (age > LRT_LEARNED_OLD) {
        return;
    }

    if (server->estimate) {
        lrt_store(&t->hot[slot].estimate,
                  lrt_estimate_make(lrt_learned_log(server->estimate),
                                    server->samples, now - age));

        /* the next trial waits until others have answered */

        answers = lrt_spread_samples(lrt_load(&t->head->learned.spread));
        lrt_store(&t->hot[slot].trial, lrt_trial(now - age, 0, answers));
    }

    errors = lrt_learned_part(server->errors, LRT_ERRORS_ONE);

    lrt_store(&t->health[slot].errors,
              lrt_errors_make(errors, server->suspected,
                              lrt_learned_part(server->stalls, LRT_STALLS_ONE),
                              server->stalling));
    (void) lrt_add(&t->head->learned.errors, errors);

    if (server->probe) {
        lrt_store(&t->health[slot].pace,
                  lrt_pace_make(lrt_learned_log(server->probe),
                                lrt_learned_log(server->probe_then),
                                server->probes));
    }
}


void
lrt_learned_done(lrt_table_t *t, uint64_t now)
{
    lrt_rank_refresh(t, now);
}


/* rounded, and not down: what is written and read many times must not shrink */

static uint64_t
lrt_learned_us(uint32_t log)
{
    uint64_t  us;

    if (log == 0) {
        return 0;
    }

    us = lrt_exp2(((uint64_t) log << (32 - LRT_LOG_SHIFT))
                  + ((uint64_t) LRT_LEARNED_SHIFT << 32));
    us = (us + (1 << LRT_LEARNED_SHIFT) / 2) >> LRT_LEARNED_SHIFT;

    us = (us < LRT_LEARNED_TIME) ? us : LRT_LEARNED_TIME;

    return (us < 2) ? 2 : us;
}


static uint32_t
lrt_learned_log(uint64_t us)
{
    uint32_t  log;

    if (us == 0) {
        return 0;
    }

    log = lrt_estimate_us(us);

    return (log < LRT_LOG_LIMIT
            && lrt_learned_us(log) != us
            && lrt_learned_us(log + 1) == us)
           ? log + 1 : log;
}


static unsigned
lrt_learned_time(uint64_t us)
{
    return us >= 2 && us <= LRT_LEARNED_TIME;
}


static uint32_t
lrt_learned_share(uint64_t part, uint32_t one)
{
    part = (part < one) ? part : one;

    return (uint32_t) ((part * LRT_LEARNED_PARTS + one / 2) / one);
}


/* less than all: a stall of each answer must still fit into 24 bits */

static uint32_t
lrt_learned_part(uint32_t share, uint32_t one)
{
    uint64_t  part;

    part = ((uint64_t) share * one + LRT_LEARNED_PARTS / 2)
           / LRT_LEARNED_PARTS;

    return (part < one) ? (uint32_t) part : one - 1;
}


/* nothing after nothing is nothing */

static uint64_t
lrt_learned_mix(uint64_t hash, uint64_t word)
{
    hash = (hash ^ word) * LRT_LEARNED_MIX;

    return hash ^ hash >> 32;
}
