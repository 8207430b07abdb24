
/*
 * Copyright (C) the ngx_http_lrt_upstream_module authors
 *
 * Logarithms without floating point: the same on every machine, which keeps
 * clients on their servers.  A logarithm is good to 17 bits, a power to 20.
 */


#ifndef _LRT_FIXED_H_INCLUDED_
#define _LRT_FIXED_H_INCLUDED_


#include "lrt_types.h"


/* log2(v) with 32 bits of fraction; v must not be 0 */

uint64_t lrt_log2(uint64_t v);

/*
 * What is missing from v to 2^64, in the same unit; accurate even if that is
 * next to nothing.
 */

uint64_t lrt_log2_below(uint64_t v);

/* 2^y, y below 63 with 32 bits of fraction, rounded down */

uint64_t lrt_exp2(uint64_t y);

/* the integer root, but never 0 */

uint64_t lrt_sqrt(uint64_t v);


#endif /* _LRT_FIXED_H_INCLUDED_ */
