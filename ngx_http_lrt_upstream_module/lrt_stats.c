
/*
 * Copyright (C) the ngx_http_lrt_upstream_module authors
 */


#include "lrt_stats.h"
#include "lrt_atomic.h"

#include <string.h>


#define LRT_MEAN_SHIFT       4


static void lrt_stats_count_code(lrt_stats_t *st, uint32_t status);
static void lrt_stats_mean(uint32_t *mean, uint64_t us);


void
lrt_stats_selected(lrt_stats_t *st, uint64_t wall_ms)
{
    (void) lrt_add(&st->requests, 1);
    lrt_store(&st->selected, wall_ms);
}


void
lrt_stats_finished(lrt_stats_t *st, const lrt_outcome_t *out)
{
    if (out->status >= 100 && out->status < 600) {
        lrt_stats_count_code(st, out->status);
    }

    if (out->sent) {
        (void) lrt_add(&st->sent, out->sent);
    }

    if (out->received) {
        (void) lrt_add(&st->received, out->received);
    }

    if (out->failed) {
        (void) lrt_add(&st->fails, 1);
    }

    if (out->header) {
        lrt_stats_mean(&st->header_mean, out->header);
    }

    if (out->complete) {
        lrt_stats_mean(&st->response_mean, out->time);
        (void) lrt_add(&st->times[lrt_hist_index(out->time)], 1);
        (void) lrt_add(&st->time_sum, out->time);
    }
}


/* what is counted in this moment may be lost */

void
lrt_stats_reset(lrt_stats_t *st)
{
    uint64_t  selected;

    selected = lrt_load(&st->selected);
    memset(st, 0, sizeof(lrt_stats_t));
    lrt_store(&st->selected, selected);
}


/*
 * The first statuses seen get a counter of their own; when all places are
 * taken, a new status is counted with the rest of its class.
 */

static void
lrt_stats_count_code(lrt_stats_t *st, uint32_t status)
{
    uint32_t  i;
    uint64_t  code, first;

    first = (uint64_t) status << 48 | 1;

    for (i = 0; i < LRT_CODES; i++) {
        code = lrt_load(&st->codes[i]);

        if (code == 0 && lrt_cas(&st->codes[i], code, first)) {
            return;
        }

        if (lrt_stats_code_status(code) == status) {
            (void) lrt_add(&st->codes[i], 1);
            return;
        }
    }

    (void) lrt_add(&st->rest[status / 100 - 1], 1);
}


uint64_t
lrt_stats_responses(const lrt_stats_t *st, uint32_t class)
{
    uint32_t  i;
    uint64_t  sum, code;

    sum = lrt_load(&st->rest[class]);

    for (i = 0; i < LRT_CODES; i++) {
        code = lrt_load(&st->codes[i]);

        if (lrt_stats_code_status(code) / 100 == class + 1) {
            sum += lrt_stats_code_count(code);
        }
    }

    return sum;
}


/* a sample that another worker overwrites is no more than one less */

static void
lrt_stats_mean(uint32_t *mean, uint64_t us)
{
    int64_t  old, new;

    old = lrt_load(mean);
    new = (us < INT32_MAX) ? (int64_t) us : INT32_MAX;

    if (old) {
        new = old + (new - old) / (1 << LRT_MEAN_SHIFT);
    }

    lrt_store(mean, new ? (uint32_t) new : 1);
}
