
/*
 * Copyright (C) the ngx_http_lrt_upstream_module authors
 *
 * Which part of its requests a server fails: a moving average of the last
 * some tens, and a judgement with a memory: one that fails clearly more than
 * the servers of its group do is suspected, and is not cleared before it is
 * nearly as good as they are.  If all fail alike, it is not the servers.
 *
 * And which part of its answers takes many times as long as its others do,
 * which the mean of logarithms hardly sees: a server that stalls more often
 * than its group costs more than it seems to.
 *
 * All of it for one server is one word; 0: it has done neither of late.
 */


#ifndef _LRT_ERRORS_H_INCLUDED_
#define _LRT_ERRORS_H_INCLUDED_


#include "lrt_estimate.h"


#define LRT_ERRORS_ONE       65536
#define LRT_STALLS_ONE       (1 << 24)

/* so many octaves above what a server takes else is a stall, 32 times */

#define LRT_STALL            (5 * LRT_LOG_ONE)


/* the mean part of the n - 1 others; "sum" is that of all parts */

uint32_t lrt_errors_usual(uint64_t word, uint64_t sum, uint32_t n);

uint64_t lrt_errors_add(uint64_t word, unsigned failed, uint32_t usual);

uint32_t lrt_errors_part(uint64_t word);         /* of LRT_ERRORS_ONE */

/* what failures cost beyond the time of answers, if others fail less */

uint32_t lrt_errors_cost(uint64_t word, uint32_t usual);
unsigned lrt_errors_suspected(uint64_t word);

/*
 * An answer that was so far, as a logarithm, above what the server takes else;
 * "idle" is the time since the last one, ms; "usual" is what lrt_tail_usual()
 * says.  Only stalls that are alone count.
 */

uint64_t lrt_stalls_add(uint64_t word, uint32_t above, uint32_t idle,
    uint64_t usual);

/*
 * Whether that is a stall after an answer that was not long: then it says
 * nothing of the server's other answers.  Else the server is slow.  Of one that
 * is known for stalls those that follow are stalls, too, but for the third of
 * which each came by itself.
 */

unsigned lrt_stalls_alone(uint64_t word, uint32_t above);

/* the server was slow, and is well again: they were no stalls */

uint64_t lrt_stalls_forget(uint64_t word);

/* the part of a server's answers, of LRT_STALLS_ONE; more than by chance */

uint32_t lrt_stalls_part(uint64_t word);
unsigned lrt_stalls_stalling(uint64_t word);

/* a word that was kept elsewhere: below 65536 and 2^24, and both judgements */

uint64_t lrt_errors_make(uint32_t part, unsigned suspected, uint32_t stalls,
    unsigned stalling);

/* what they cost beyond its logarithm; 0 if the group was no better */

uint32_t lrt_stalls_cost(uint64_t word);


#endif /* _LRT_ERRORS_H_INCLUDED_ */
