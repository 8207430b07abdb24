
/*
 * Copyright (C) the ngx_http_lrt_upstream_module authors
 *
 * Log-linear histogram of times in microseconds: four buckets an octave from
 * 32 us to 67 s, one below and one above.  The middle of a bucket is at most
 * 12.5 % away from any time in it.
 */


#ifndef _LRT_HIST_H_INCLUDED_
#define _LRT_HIST_H_INCLUDED_


#include "lrt_types.h"


#define LRT_HIST_FIRST       5               /* 2^5 us */
#define LRT_HIST_LAST        26              /* 2^26 us */
#define LRT_HIST_BUCKETS     ((LRT_HIST_LAST - LRT_HIST_FIRST) * 4 + 2)


uint32_t lrt_hist_index(uint64_t us);

/* a bucket holds lower <= us < upper; the last one has no upper limit */

uint64_t lrt_hist_lower(uint32_t index);
uint64_t lrt_hist_upper(uint32_t index);

/* how many samples are below a time, as far as buckets tell */

uint64_t lrt_hist_below(const uint64_t *buckets, uint64_t us);

/* the time below which "permille" of 1000 samples lie; 0 without samples */

uint64_t lrt_hist_quantile(const uint64_t *buckets, uint32_t permille);


#endif /* _LRT_HIST_H_INCLUDED_ */
