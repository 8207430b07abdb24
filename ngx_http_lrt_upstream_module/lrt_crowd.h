
/*
 * Copyright (C) the ngx_http_lrt_upstream_module authors
 *
 * What a crowd does to answers.  Servers which work on one request at a time
 * take twice as long with twice the requests, others as long as before until
 * they are full; nobody says which of them these are.  So it is learned for a
 * group: by how much longer than a server's usual ones its answers are, if more
 * requests than usual were in flight there.  The slope of one over the other,
 * as logarithms, is a product over a square, both moving means.
 */


#ifndef _LRT_CROWD_H_INCLUDED_
#define _LRT_CROWD_H_INCLUDED_


#include "lrt_types.h"


#define LRT_CROWD_ONE        256

/* of the answers of a group, one of so many is enough to learn from */

#define LRT_CROWD_EVERY      4


/* the word of a server: requests in flight, usually; 0 is unknown */

uint16_t lrt_crowd_usual(uint16_t usual, uint32_t requests);

/* how far so many lie from that, as a logarithm of lrt_estimate.h */

int64_t lrt_crowd_more(uint16_t usual, uint32_t requests);

/* the words of a group, which both begin with 0, get another product */

uint64_t lrt_crowd_add(uint64_t mean, int64_t a, int64_t b);

/* requests in flight count by this power of their number, of LRT_CROWD_ONE */

uint32_t lrt_crowd_power(uint64_t product, uint64_t square);


#endif /* _LRT_CROWD_H_INCLUDED_ */
