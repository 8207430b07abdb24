
/*
 * Copyright (C) the ngx_http_lrt_upstream_module authors
 *
 * The log tells what something does, but not for ever if it does it all the
 * time: so many lines in a minute, and how many there would have been.
 */


#ifndef _LRT_QUIET_H_INCLUDED_
#define _LRT_QUIET_H_INCLUDED_


#include "lrt_types.h"


#define LRT_QUIET_LINES  6
#define LRT_QUIET_TIME   60000               /* ms */


typedef enum {
    LRT_QUIET_SAY = 0,
    LRT_QUIET_LAST,                  /* and that it is the last one */
    LRT_QUIET_NOT
} lrt_quiet_e;


/* a line is due; the word is 0 at first, and may be shared by processes */

lrt_quiet_e lrt_quiet(uint64_t *word, uint64_t now);

/*
 * Lines of a minute that is over, if some of them were left out; 0 if not.
 * Each minute is told to one caller, who asks before lrt_quiet() begins anew.
 */

uint32_t lrt_quiet_over(uint64_t *word, uint64_t now);


#endif /* _LRT_QUIET_H_INCLUDED_ */
