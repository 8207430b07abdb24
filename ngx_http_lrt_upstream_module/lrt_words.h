
/*
 * Copyright (C) the ngx_http_lrt_upstream_module authors
 *
 * A look at many words that others change meanwhile: each is read once, and
 * several at a time, for speed.
 */


#ifndef _LRT_WORDS_H_INCLUDED_
#define _LRT_WORDS_H_INCLUDED_


#include "lrt_types.h"


/* the least of n words, UINT64_MAX of none */

uint64_t lrt_words_least(const uint64_t *p, uint32_t n);

/* the next word that has the value, or the end */

const uint64_t *lrt_words_next(const uint64_t *p, const uint64_t *end,
    uint64_t value);

/* how many have it */

uint32_t lrt_words_count(const uint64_t *p, const uint64_t *end,
    uint64_t value);


#endif /* _LRT_WORDS_H_INCLUDED_ */
