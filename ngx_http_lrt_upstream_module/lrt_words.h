
/*
 * Copyright (C) the ngx_http_lrt_upstream_module authors
 *
 * A look at many words that others change meanwhile, several at a time, for
 * speed.
 */


#ifndef _LRT_WORDS_H_INCLUDED_
#define _LRT_WORDS_H_INCLUDED_


#include "lrt_types.h"


#define LRT_WORDS            64              /* of which one can be a set */


/* the least of n words, UINT64_MAX of none */

uint64_t lrt_words_least(const uint64_t *p, uint32_t n);

/* which of LRT_WORDS words at most have the value, a bit for each */

uint64_t lrt_words_equal(const uint64_t *p, uint32_t n, uint64_t value);

/* how many are in a set, the first one, and the others */

#define lrt_words_count(set)                                                  \
    (lrt_words_rest(set) ? (uint32_t) __builtin_popcountll(set)               \
                         : (uint32_t) ((set) != 0))
#define lrt_words_first(set)  ((uint32_t) __builtin_ctzll(set))
#define lrt_words_rest(set)   ((set) & ((set) - 1))


#endif /* _LRT_WORDS_H_INCLUDED_ */
