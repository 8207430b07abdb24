
/*
 * Copyright (C) the ngx_http_lrt_upstream_module authors
 *
 * What active checks say of a server.  Each check has a verdict, which turns
 * after so many results against it; a server is in use while no check of the
 * group fails, and all mandatory ones have passed once.
 *
 * One process at a time probes a server (see ngx_http_lrt_check.c), but the
 * one before it may wake up late: a result counts only if nobody brought
 * another since its probe began.
 */


#ifndef _LRT_HEALTH_H_INCLUDED_
#define _LRT_HEALTH_H_INCLUDED_


#include "lrt_settings.h"
#include "lrt_table.h"


/* "health" of a slot: what keeps it out of use, and when that changed, ms */

#define LRT_HEALTH_FAILING      0x000f       /* a bit for each check */
#define LRT_HEALTH_PENDING      0x00f0       /* mandatory ones, the same */
#define LRT_HEALTH_OUT          0x00ff
#define LRT_HEALTH_RAMP         0x0100       /* slow start since then */
#define LRT_HEALTH_ASKED        0x0200       /* somebody wants a probe now */
#define LRT_HEALTH_DRAINED      0x0400       /* it was said that it is idle */
#define LRT_HEALTH_FALLS        0x3800       /* see lrt_health_falls() */
#define LRT_HEALTH_SHIFT        16

#define lrt_health_since(word)  ((word) >> LRT_HEALTH_SHIFT)


/*
 * How often in a row it failed soon after it came back: within this time, ms,
 * or within its slow start.  0: it never did, 1: once, after a longer time.
 */

#define LRT_HEALTH_STEADY       60000
#define LRT_HEALTH_FALLS_SHIFT  11
#define LRT_HEALTH_FALLS_MAX    7

#define lrt_health_falls(word)                                                \
    ((uint32_t) ((word) & LRT_HEALTH_FALLS) >> LRT_HEALTH_FALLS_SHIFT)


typedef enum {
    LRT_USE_FREE = 0,                /* checks have nothing against it */
    LRT_USE_PENDING,
    LRT_USE_FAILING
} lrt_use_e;

#define lrt_health_use(word)                                                  \
    (((word) & LRT_HEALTH_FAILING)   ? LRT_USE_FAILING                        \
     : ((word) & LRT_HEALTH_PENDING) ? LRT_USE_PENDING : LRT_USE_FREE)


/* the word of a check: verdict, results against it, and the last result */

typedef enum {
    LRT_UNCHECKED = 0,
    LRT_PASSING,
    LRT_FAILING
} lrt_verdict_e;

#define lrt_verdict(word)         ((lrt_verdict_e) ((word) & 3))
#define lrt_verdict_run(word)     ((uint32_t) ((word) >> 2) & 0x3fff)
#define lrt_verdict_reason(word)  ((uint32_t) ((word) >> 16) & 0x3f)
#define lrt_verdict_status(word)  ((uint32_t) ((word) >> 22) & 0x3ff)
#define lrt_verdict_time(word)    ((word) >> 32)               /* us */


typedef enum {
    LRT_PROBE_PASSED = 0,
    LRT_PROBE_FAILED,
    LRT_PROBE_UNCLEAR                /* no fault of the server's, nor a pass */
} lrt_probed_e;


typedef struct {
    lrt_probed_e         how;
    uint32_t             reason;         /* see lrt_check_reason.h */
    uint32_t             status;         /* of a response, or 0 */
    uint64_t             time;           /* us */
} lrt_result_t;


/* a probe on its way */

typedef struct {
    uint64_t             ident;
    uint64_t             asks;           /* of the side that it asks for */
    uint64_t             seen;           /* the word when it began */
    uint32_t             started;        /* what it said of itself then */
    uint32_t             slot;
    uint32_t             check;
} lrt_probe_t;


/* what a result has changed */

typedef struct {
    uint64_t             word;           /* of the check */
    uint64_t             lasted;         /* ms that it had been so before */
    uint32_t             turns;          /* of the server so far */
    unsigned             turned:1;       /* "state" is another */
    unsigned             before:2;       /* lrt_use_e */
    unsigned             state:2;
    unsigned             readmitted:1;   /* its max_fails are forgotten */
} lrt_turn_t;


uint64_t lrt_verdict_next(uint64_t word, const lrt_check_t *check,
    const lrt_result_t *result);

/* the health of a server that is new in a group */

uint64_t lrt_health_fresh(const lrt_settings_t *settings, unsigned ramp,
    uint64_t now);

/* LRT_MISSING if the server is not in the slot, or other checks are in force */

lrt_rc_t lrt_health_begin(lrt_table_t *t, lrt_probe_t *probe, uint64_t now);

/* LRT_CONFLICT: another process has brought a result in the meantime */

lrt_rc_t lrt_health_result(lrt_table_t *t, const lrt_probe_t *probe,
    const lrt_result_t *result, uint64_t now, lrt_turn_t *turn);

/*
 * Brings all servers in line with their verdicts: what one who died has left
 * undone.
 */

void lrt_health_refresh(lrt_table_t *t, uint64_t now);

/*
 * Verdicts follow the checks of the generation in force, wherever these stand
 * in the list now: one that asks what no check has asked before has no verdict
 * yet.  The writers' lock is held.  A writer who died may not have come to it:
 * "behind" tells.
 */

unsigned lrt_health_behind(const lrt_table_t *t);
void lrt_health_follow(lrt_table_t *t, uint64_t now);

/* a probe of the server as soon as may be, of all checks */

void lrt_health_ask(lrt_table_t *t, uint32_t slot);

/* whether it was asked for; the wish is taken back */

unsigned lrt_health_asked(lrt_table_t *t, uint32_t slot);

/* its counters start again; what is known of the server stays */

void lrt_health_clear(lrt_health_t *health);

/*
 * The next server that drains, from *slot on, and was found idle for the first
 * time since: LRT_NONE if there is none.  Each is told to one caller only.
 */

uint32_t lrt_health_drained(lrt_table_t *t, uint32_t *slot);

/*
 * A server comes back into use: its load rises slowly from now on.  With one
 * that checks keep out this begins when they pass.
 */

void lrt_health_ramp(lrt_hot_t *hot, uint64_t now);

/* the same for one that max_fails had shut out */

void lrt_health_readmit(lrt_hot_t *hot, uint64_t now);


#endif /* _LRT_HEALTH_H_INCLUDED_ */
