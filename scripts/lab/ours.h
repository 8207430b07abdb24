
/*
 * Copyright (C) the ngx_http_lrt_upstream_module authors
 *
 * The methods of the module, its own files of pure decisions, as balancers of
 * a computed run.
 */


#ifndef _OURS_H_INCLUDED_
#define _OURS_H_INCLUDED_


#include "model.h"


/* false if there is no such method; max_fails of all servers */

unsigned ours_open(const char *method, const scenario_t *s, uint32_t requests,
    uint32_t max_fails);

/* all servers are probed; to be called before the first request */

void ours_check(void);

/* what a probe said; its time if it passed, or 0 */

void ours_probed(uint32_t server, uint64_t time, uint64_t now);

/* times are nanoseconds since the start; a server, or -1 */

int64_t ours_choose(uint32_t request, uint64_t now);

/* "outcome" as in reports */

void ours_ended(uint32_t request, uint32_t outcome, uint64_t now);

/* what comes by itself: to be called at that time, which is the next one */

uint64_t ours_tick(uint64_t now);


#endif /* _OURS_H_INCLUDED_ */
