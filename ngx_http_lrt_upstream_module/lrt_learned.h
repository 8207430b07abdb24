
/*
 * Copyright (C) the ngx_http_lrt_upstream_module authors
 *
 * What was learned about servers, for a file that outlives a table: words of
 * the table into numbers with units, and back.  The words tell time by a clock
 * that may begin anew with the machine, so there are only ages.
 */


#ifndef _LRT_LEARNED_H_INCLUDED_
#define _LRT_LEARNED_H_INCLUDED_


#include "lrt_table.h"


/*
 * What is older says nothing any more.  It is also well below half of the
 * range of a stamp: those of a table are ms in 32 bits.
 */

#define LRT_LEARNED_OLD      (20ull * 24 * 3600 * 1000)      /* ms */

#define LRT_LEARNED_PARTS    1000000         /* shares are millionths */
#define LRT_LEARNED_TIME     (1 << 30)       /* us, the longest */
#define LRT_LEARNED_SAMPLES  255
#define LRT_LEARNED_SPREAD   30000           /* thousandths of an octave */


typedef struct {
    uint64_t             estimate;       /* us; 0: not known */
    uint32_t             samples;
    uint64_t             age;            /* ms since the last one */

    uint32_t             errors;         /* shares of its requests */
    uint32_t             stalls;
    uint8_t              suspected;      /* see lrt_errors.h */
    uint8_t              stalling;

    uint64_t             probe;          /* us; 0: not known */
    uint64_t             probe_then;     /* see lrt_pace.h */
    uint32_t             probes;
} lrt_learned_server_t;


typedef struct {
    uint64_t             usual;          /* us */
    uint32_t             answers;
    uint32_t             spread;         /* thousandths of an octave */
    uint32_t             far;            /* shares of answers */
    uint32_t             stalls;
} lrt_learned_group_t;


void lrt_learned_group(const lrt_table_t *t, lrt_learned_group_t *group);

/* false: nothing is known of it */

unsigned lrt_learned_server(const lrt_table_t *t, uint32_t slot,
    lrt_learned_server_t *server, uint64_t now);

/* changes with any of these, and not with time; 0: nothing is known */

uint64_t lrt_learned_hash(const lrt_table_t *t);

/* whether the table can have such values; those of a file may be anything */

unsigned lrt_learned_sound(const lrt_learned_server_t *server);
unsigned lrt_learned_group_sound(const lrt_learned_group_t *group);

/*
 * Into a table that nobody writes: the group, then servers, whose ages have
 * grown by "elapsed" since, and then "done".
 */

void lrt_learned_set_group(lrt_table_t *t, const lrt_learned_group_t *group);
void lrt_learned_set(lrt_table_t *t, uint32_t slot,
    const lrt_learned_server_t *server, uint64_t elapsed, uint64_t now);
void lrt_learned_done(lrt_table_t *t, uint64_t now);


#endif /* _LRT_LEARNED_H_INCLUDED_ */
