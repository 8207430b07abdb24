
/*
 * Copyright (C) the ngx_http_lrt_upstream_module authors
 *
 * When servers are probed: the time from one probe to the next, that of a
 * first one, and how soon another process goes on when the one that probes is
 * not heard of any more.  A server sees its next probe within two intervals of
 * the last one even then.
 */


#ifndef _LRT_RHYTHM_H_INCLUDED_
#define _LRT_RHYTHM_H_INCLUDED_


#include "lrt_settings.h"


/*
 * Limits, ms.  A lease outlives an event loop that stands still for some tens
 * of ms, as it is renewed four times in its length.
 */

#define LRT_RHYTHM_MIN_LEASE  100
#define LRT_RHYTHM_MAX_LEASE  600
#define LRT_RHYTHM_MIN_WAIT   20
#define LRT_RHYTHM_MAX_WAIT   300
#define LRT_RHYTHM_MAX_BEAT   100


/* of those who may probe a group, ms */

typedef struct {
    uint32_t             lease;          /* for how long one word is good */
    uint32_t             wait;           /* for the one whose turn it is */
    uint32_t             beat;           /* between words, and looks at them */
} lrt_rhythm_t;


/*
 * The word of a server's last probe, 0: none.  Its time, ms, and a bit as long
 * as nobody has brought its result: then it may be that it never will come.
 */

#define lrt_started(now)          (((uint32_t) (now) & ~(uint32_t) 1) | 1)
#define lrt_started_open(word)    ((word) & 1)
#define lrt_started_time(word)    ((word) & ~(uint32_t) 1)


/*
 * When a server is probed next, ms: regularly, and as often as extra probes are
 * owed to it in between.
 */

typedef struct {
    uint64_t             next;
    uint64_t             regular;        /* if there are extra ones */
    uint32_t             extra;
} lrt_due_t;

#define LRT_RHYTHM_MAX_EXTRA  10


void lrt_rhythm(const lrt_settings_t *settings, lrt_rhythm_t *rhythm);

/* ms from the beginning of a probe to that of the next one */

uint64_t lrt_rhythm_delay(const lrt_check_t *check, uint64_t random);

/*
 * When a process that begins to probe asks a server, ms.  "started" is the word
 * of its last probe, "window" the time in which probes come of servers that had
 * none.
 */

uint64_t lrt_rhythm_first(const lrt_check_t *check, uint32_t started,
    uint64_t window, uint64_t now, uint64_t random);

/*
 * Extra probes, so many: each comes in a window of its own, and what is due
 * regularly comes as ever.
 */

void lrt_rhythm_extra(lrt_due_t *due, uint64_t n, uint64_t window, uint64_t now,
    uint64_t random);

/* a probe begins: the next regular one is "delay" after this, if this is one */

void lrt_rhythm_next(lrt_due_t *due, uint64_t delay, uint64_t window,
    uint64_t now, uint64_t random);


#endif /* _LRT_RHYTHM_H_INCLUDED_ */
