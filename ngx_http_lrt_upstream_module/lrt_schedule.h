
/*
 * Copyright (C) the ngx_http_lrt_upstream_module authors
 *
 * A smooth weighted order of n entries that is not stored but computed: turn
 * t stands for the point t * stride (mod total) of a line on which each entry
 * owns as many points as it has weight.  As stride and total have no common
 * divisor, any "total" turns in a row meet every entry exactly weight times;
 * as stride / total is near the golden ratio, they meet it at even distances.
 * Equal weights give the plain order.
 *
 * A turn costs the same for any weights and any n, needs no state but a
 * counter, and so can be drawn by all workers without a lock.
 */


#ifndef _LRT_SCHEDULE_H_INCLUDED_
#define _LRT_SCHEDULE_H_INCLUDED_


#include "lrt_types.h"


typedef struct {
    uint32_t             n;
    uint32_t             stride;
    uint64_t             total;          /* below 2^32; 0: nobody has a turn */
    unsigned             even;           /* each entry has one point */
    const uint64_t      *reach;          /* [n] where an entry's points end */
    const uint32_t      *guide;          /* [n] first entry of an n-th part */
} lrt_schedule_t;


/*
 * Makes a schedule of the n weights in "reach", which is overwritten, as is
 * "guide".  An entry of weight 0 has no turns.
 */

void lrt_schedule_build(lrt_schedule_t *s, uint64_t *reach, uint32_t *guide,
    uint32_t n);

/* the entry whose turn it is; s->total must not be 0 */

uint32_t lrt_schedule_at(const lrt_schedule_t *s, uint64_t turn);

/*
 * The same in two steps, as turns that follow each other need no division; and
 * one needs only one where all weights are equal.
 */

#define lrt_schedule_start(s, turn)                                           \
    ((s)->stride == 1 ? (turn) % (s)->total                                   \
                      : (turn) % (s)->total * (s)->stride % (s)->total)

#define lrt_schedule_step(s, point)                                           \
    (((point) + (s)->stride < (s)->total) ? (point) + (s)->stride             \
                                          : (point) + (s)->stride - (s)->total)

uint32_t lrt_schedule_entry(const lrt_schedule_t *s, uint64_t point);

/* the same spreading for a line of any length, without a schedule */

uint64_t lrt_schedule_point(uint64_t turn, uint64_t total);


#endif /* _LRT_SCHEDULE_H_INCLUDED_ */
