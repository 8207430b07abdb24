
/*
 * Copyright (C) the ngx_http_lrt_upstream_module authors
 *
 * Of all answers of a group, the parts that took far longer than what their
 * server takes else, in a word: stalls, and all that are far above it.
 */


#ifndef _LRT_TAIL_H_INCLUDED_
#define _LRT_TAIL_H_INCLUDED_


#include "lrt_types.h"


/* an answer, so far above what its server takes else, as a logarithm */

uint64_t lrt_tail_add(uint64_t word, uint32_t above);

/* parts of LRT_STALLS_ONE: 11 times as long, and stalls, which are as well */

uint32_t lrt_tail_far(uint64_t word);
uint32_t lrt_tail_stalls(uint64_t word);

/* a word that was kept elsewhere, of two parts */

uint64_t lrt_tail_make(uint32_t far, uint32_t stalls);

/*
 * The part of stalls that is no fault of a server: that of the group, or as
 * many as there have to be where so many are nearly that long.
 */

uint32_t lrt_tail_usual(uint64_t word);

/* so many answers take long that one of them says little of its server */

unsigned lrt_tail_heavy(uint64_t word);


#endif /* _LRT_TAIL_H_INCLUDED_ */
