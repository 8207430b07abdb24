
/*
 * Copyright (C) the ngx_http_lrt_upstream_module authors
 *
 * How many servers of each tier are well, and what follows for all of them:
 * whether so few are that health is ignored (panic), and whether anybody
 * carries the load of those in their slow start.
 *
 * All of it is one word in the table, which picks read.  It is a function of
 * the table, counted anew by whoever changes that, and in each audit; nobody
 * adds or subtracts, so it is right again whoever died in between.
 */


#ifndef _LRT_CENSUS_H_INCLUDED_
#define _LRT_CENSUS_H_INCLUDED_


#include "lrt_table.h"


/* the word: two bits for each tier, and how many are well there */

#define LRT_CENSUS_FLAGS     0xff

#define lrt_census_panic(word, tier)    ((uint32_t) ((word) >> (tier)) & 1)
#define lrt_census_carried(word, tier)  ((uint32_t) ((word) >> 4 >> (tier)) & 1)
#define lrt_census_well(word, tier)                                           \
    ((uint32_t) ((word) >> (8 + 24 * (tier))) & 0xffffff)


/* looks at all servers; true if ranks have to follow */

unsigned lrt_census(lrt_table_t *t, uint64_t now);

/*
 * The same at a turn of one server, ranks included.  When many of a large
 * group turn at once, most leave it to the next one or to the audit.
 */

void lrt_census_turned(lrt_table_t *t, uint64_t now);

/*
 * Panic of the tiers has begun or ended since somebody told, as a bit for
 * each: true for the one who shall tell now.
 */

unsigned lrt_census_news(lrt_table_t *t, unsigned *before, unsigned *after);


#endif /* _LRT_CENSUS_H_INCLUDED_ */
