
/*
 * Copyright (C) the ngx_http_lrt_upstream_module authors
 *
 * What is typical of the servers of a group: of their times, and how much
 * these differ beyond chance; of their weights, as a logarithm; of failures;
 * of what probes take.  It is found by looking at all of them, now and then.
 * If they clearly are of two kinds, as machines of two generations are, those
 * of a kind are alike, and there is something typical of each.
 *
 * And how far weights say the same as times: the slope is the octaves of
 * weight that a server has more, on average, if it is faster by one; in parts
 * of LRT_LOG_ONE, and 0 if the heavier ones are not faster.
 */


#ifndef _LRT_TYPICAL_H_INCLUDED_
#define _LRT_TYPICAL_H_INCLUDED_


#include "lrt_estimate.h"
#include "lrt_table.h"


void lrt_typical(lrt_table_t *t);

/* what was found when somebody looked last, for a judgement */

void lrt_typical_norm(const lrt_table_t *t, lrt_norm_t *norm);


#endif /* _LRT_TYPICAL_H_INCLUDED_ */
