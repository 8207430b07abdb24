
/*
 * Copyright (C) the ngx_http_lrt_upstream_module authors
 *
 * How long probes of a server take.  They are other work than requests, so
 * their times are never mixed: what counts is only by how much they changed
 * since requests were last measured, or by how much they differ from those of
 * other servers.
 */


#ifndef _LRT_PACE_H_INCLUDED_
#define _LRT_PACE_H_INCLUDED_


#include "lrt_types.h"


/* the first check of a group sets the pace, as each asks something else */

#define LRT_PACE_CHECK       0

/*
 * An estimate of this age, ms, is stale.  Under least_time a server that is
 * worse than others is tried as often, so probes do not speak before that.
 */

#define LRT_PACE_STALE       10000


/*
 * The word of a server, 0: unknown.  "fresh": its estimate is, and the pace
 * of now is the one that belongs to it.
 */

uint64_t lrt_pace_add(uint64_t word, uint64_t us, unsigned fresh);

/* a probe that clearly took less than those before: something has changed */

unsigned lrt_pace_recovers(uint64_t word, uint64_t us);

/* logarithms as in lrt_estimate.h: of now, and with the estimate, or 0 */

uint32_t lrt_pace_now(uint64_t word);
uint32_t lrt_pace_then(uint64_t word);

/* how many of them the average has, and a word that was kept elsewhere */

#define LRT_PACE_SAMPLES     8

uint32_t lrt_pace_samples(uint64_t word);
uint64_t lrt_pace_make(uint32_t now, uint32_t then, uint32_t samples);

/* "log" for a server whose probes take "pace" instead of "usual" */

uint32_t lrt_pace_scale(uint32_t log, uint32_t pace, uint32_t usual);


#endif /* _LRT_PACE_H_INCLUDED_ */
