
/*
 * Copyright (C) the ngx_http_lrt_upstream_module authors
 */


#include "lrt_rhythm.h"


static uint64_t lrt_rhythm_spare(const lrt_check_t *check);
static uint32_t lrt_rhythm_between(uint64_t ms, uint32_t min, uint32_t max);


/*
 * What two intervals leave when the next probe was about to begin: a half is
 * for the lease, an eighth for the turn.  The rest is for looking at it, for
 * spreading what is late, and for machines that are busy.
 */

void
lrt_rhythm(const lrt_settings_t *settings, lrt_rhythm_t *rhythm)
{
    uint32_t  i;
    uint64_t  least, spare;

    least = UINT64_MAX;

    for (i = 0; i < settings->nchecks && i < LRT_CHECKS; i++) {
        spare = lrt_rhythm_spare(&settings->check[i]);
        least = (spare < least) ? spare : least;
    }

    rhythm->lease = lrt_rhythm_between(least / 2, LRT_RHYTHM_MIN_LEASE,
                                       LRT_RHYTHM_MAX_LEASE);
    rhythm->wait = lrt_rhythm_between(least / 8, LRT_RHYTHM_MIN_WAIT,
                                      LRT_RHYTHM_MAX_WAIT);
    rhythm->beat = lrt_rhythm_between(rhythm->lease / 4, 1,
                                      LRT_RHYTHM_MAX_BEAT);
}


/* the mean is the interval, so that a group is probed as often as it says */

uint64_t
lrt_rhythm_delay(const lrt_check_t *check, uint64_t random)
{
    uint64_t  width;

    width = check->interval * check->jitter / 1000;

    return check->interval - width / 2 + random % (width + 1);
}


uint64_t
lrt_rhythm_first(const lrt_check_t *check, uint32_t started, uint64_t window,
    uint64_t now, uint64_t random)
{
    uint64_t  age, delay;

    window = (window < check->interval) ? window : check->interval;

    if (started == 0) {
        return now + random % (window + 1);
    }

    /* "now" of another process may be some milliseconds older */

    age = (uint32_t) ((uint32_t) now - lrt_started_time(started));
    age = (age < UINT32_MAX - LRT_RHYTHM_MAX_LEASE) ? age : 0;

    /* nobody knows whether the server has seen it; there are not so many */

    if (lrt_started_open(started)) {
        window = (window < check->interval / 16) ? window
                                                 : check->interval / 16;
        return now + random % (window + 1);
    }

    delay = lrt_rhythm_delay(check, random);

    if (age < delay) {
        return now + delay - age;
    }

    /* as soon as it has to be, but not all at once */

    delay = (age < 2 * check->interval) ? (2 * check->interval - age) / 2
                                        : check->interval / 4;
    window = (window < delay) ? window : delay;

    return now + random % (window + 1);
}


void
lrt_rhythm_extra(lrt_due_t *due, uint64_t n, uint64_t window, uint64_t now,
    uint64_t random)
{
    uint64_t  at;

    if (due->extra == 0) {
        due->regular = due->next;
    }

    n += due->extra;
    due->extra = lrt_rhythm_between(n, 0, LRT_RHYTHM_MAX_EXTRA);

    at = now + random % (window + 1);

    if (at < due->next) {
        due->next = at;
    }
}


void
lrt_rhythm_next(lrt_due_t *due, uint64_t delay, uint64_t window, uint64_t now,
    uint64_t random)
{
    uint64_t  at;

    if (due->extra && due->next < due->regular) {
        due->extra--;

    } else {
        due->regular = (due->next + delay > now) ? due->next + delay
                                                 : now + delay;
    }

    at = now + window / 2 + random % (window + 1);

    due->next = (due->extra && at < due->regular) ? at : due->regular;
}


static uint64_t
lrt_rhythm_spare(const lrt_check_t *check)
{
    uint64_t  width;

    width = (check->jitter < LRT_CHECK_MAX_JITTER) ? check->jitter
                                                   : LRT_CHECK_MAX_JITTER;
    width = check->interval * width / 1000;

    return check->interval - width / 2;
}


static uint32_t
lrt_rhythm_between(uint64_t ms, uint32_t min, uint32_t max)
{
    return (ms < min) ? min : (ms > max) ? max : (uint32_t) ms;
}
