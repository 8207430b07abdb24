
/*
 * Copyright (C) the ngx_http_lrt_upstream_module authors
 */


#include "lrt_errors.h"
#include "lrt_fixed.h"


/*
 * The part that fails (17 bits), judgements, long answers in a row (2), and the
 * part that stalls (24).
 */

#define LRT_ERRORS_SUSPECTED ((uint64_t) 1 << 32)
#define LRT_ERRORS_STALLS    ((uint64_t) 1 << 33)
#define LRT_ERRORS_ROW       ((uint64_t) 1 << 34)
#define LRT_ERRORS_ROWS      ((uint64_t) 3 << 34)
#define LRT_STALLS_SHIFT     40
#define lrt_errors_of(word)  ((word) & (((uint64_t) 1 << LRT_STALLS_SHIFT) - 1))

/*
 * Weights of a request.  A suspect gets few: what is good counts for more
 * then, or it would take long to be cleared.
 */

#define LRT_ERRORS_GAIN      8
#define LRT_ERRORS_CLEARING  3

/* so much more than usual makes a suspect, and so much is as good as usual */

#define LRT_ERRORS_SUSPECT   (LRT_ERRORS_ONE * 3 / 8)
#define LRT_ERRORS_CLEARED   (LRT_ERRORS_ONE / 10)

/* a failure costs so many answers, if others fail no half as often */

#define LRT_ERRORS_COST      8
#define LRT_ERRORS_USUAL     2

/* less is nothing: the average would never get there */

#define LRT_ERRORS_NONE      (LRT_ERRORS_ONE / 256)

/*
 * So many octaves above the others are long for one that is no stall, 4.8
 * times.  The weight of an answer; what a server did is forgotten at the latest
 * in some seconds, as there may be no answers that disprove it.
 */

#define LRT_STALLS_LONG      (LRT_LOG_ONE * 9 / 4)
#define LRT_STALLS_GAIN      128
#define LRT_STALLS_MEMORY    12000           /* ms in which half is forgotten */

/*
 * Answers with so many ms between them are not of the same stall, and so many
 * of these in a row are no stalls.
 */

#define LRT_STALLS_APART     250
#define LRT_STALLS_ROW       (2 * LRT_ERRORS_ROW)

/* how many standard deviations are no chance, and the least that is usual */

#define LRT_STALLS_CHANCE    6
#define LRT_STALLS_RARE      (LRT_STALLS_ONE / 1024)

/* a stall costs so many answers */

#define LRT_STALLS_COST      128


/* workers who add at the same time may leave a sum that is none for a moment */

uint32_t
lrt_errors_usual(uint64_t word, uint64_t sum, uint32_t n)
{
    int64_t  others;

    others = (int64_t) sum - lrt_errors_part(word);

    return (n > 1 && others > 0) ? (uint32_t) (others / (n - 1)) : 0;
}


uint64_t
lrt_errors_add(uint64_t word, unsigned failed, uint32_t usual)
{
    uint32_t  part;
    unsigned  suspected;

    part = lrt_errors_part(word);
    suspected = lrt_errors_suspected(word);

    if (failed) {
        part += (LRT_ERRORS_ONE - part) / LRT_ERRORS_GAIN;

    } else {
        part -= part / (suspected ? LRT_ERRORS_CLEARING : LRT_ERRORS_GAIN);
    }

    if (part > usual + LRT_ERRORS_SUSPECT) {
        suspected = 1;

    } else if (part <= usual + LRT_ERRORS_CLEARED) {
        suspected = 0;
    }

    if (part < LRT_ERRORS_NONE) {
        part = 0;
    }

    word -= word & (LRT_ERRORS_SUSPECTED | UINT32_MAX);

    return word | part | (suspected ? LRT_ERRORS_SUSPECTED : 0);
}


uint32_t
lrt_errors_part(uint64_t word)
{
    return (uint32_t) word;
}


uint32_t
lrt_errors_cost(uint64_t word, uint32_t usual)
{
    uint64_t  part, cost;

    part = lrt_errors_part(word);

    if (part <= (uint64_t) usual * LRT_ERRORS_USUAL) {
        return 0;
    }

    part -= (uint64_t) usual * LRT_ERRORS_USUAL;
    cost = lrt_log2(LRT_ERRORS_ONE + part * LRT_ERRORS_COST);

    return (uint32_t) ((cost - ((uint64_t) 16 << 32))
                       >> (32 - LRT_LOG_SHIFT));
}


unsigned
lrt_errors_suspected(uint64_t word)
{
    return (word & LRT_ERRORS_SUSPECTED) != 0;
}


uint64_t
lrt_stalls_add(uint64_t word, uint32_t above, uint32_t idle, uint64_t usual)
{
    uint64_t  row, part, octaves, most;

    part = word >> LRT_STALLS_SHIFT;

    row = word & LRT_ERRORS_ROWS;

    if (part == 0 && row == 0 && above <= LRT_STALLS_LONG) {
        return word;
    }

    if (idle > LRT_STALLS_MEMORY / LRT_STALLS_GAIN) {
        octaves = ((uint64_t) idle << 32) / LRT_STALLS_MEMORY;
        part = (octaves < (uint64_t) 24 << 32)
               ? part * lrt_exp2(((uint64_t) 24 << 32) - octaves) >> 24 : 0;
    }

    part -= part / LRT_STALLS_GAIN;

    if (lrt_stalls_alone(word, above)) {
        part += LRT_STALLS_ONE / LRT_STALLS_GAIN - 1;
    }

    if (above <= LRT_STALLS_LONG) {
        row = 0;

    } else if (row == 0
               || (row < LRT_STALLS_ROW
                   && above > LRT_STALL && idle >= LRT_STALLS_APART))
    {
        row += LRT_ERRORS_ROW;
    }

    word = (word & ~LRT_ERRORS_ROWS) | row;

    usual = (usual > LRT_STALLS_RARE) ? usual : LRT_STALLS_RARE;

    /* the deviation of a mean of 256 that are "usual" at a time */

    most = usual + LRT_STALLS_CHANCE
                   * lrt_sqrt(usual * (LRT_STALLS_ONE / 256));

    if (part > most) {
        word |= LRT_ERRORS_STALLS;

    } else if (part < usual || part < most / 2) {
        word &= ~LRT_ERRORS_STALLS;
    }

    return part << LRT_STALLS_SHIFT | lrt_errors_of(word);
}


unsigned
lrt_stalls_alone(uint64_t word, uint32_t above)
{
    uint64_t  row;

    row = word & LRT_ERRORS_ROWS;

    return above > LRT_STALL
           && (row == 0
               || (row < LRT_STALLS_ROW && (word & LRT_ERRORS_STALLS)));
}


uint64_t
lrt_stalls_forget(uint64_t word)
{
    return lrt_errors_of(word) & ~(LRT_ERRORS_STALLS|LRT_ERRORS_ROWS);
}


uint32_t
lrt_stalls_part(uint64_t word)
{
    return (uint32_t) (word >> LRT_STALLS_SHIFT);
}


unsigned
lrt_stalls_stalling(uint64_t word)
{
    return (word & LRT_ERRORS_STALLS) != 0;
}


uint64_t
lrt_errors_make(uint32_t part, unsigned suspected, uint32_t stalls,
    unsigned stalling)
{
    return (uint64_t) stalls << LRT_STALLS_SHIFT
           | (stalling ? LRT_ERRORS_STALLS : 0)
           | (suspected ? LRT_ERRORS_SUSPECTED : 0)
           | part;
}


uint32_t
lrt_stalls_cost(uint64_t word)
{
    uint64_t  part, cost;

    if (!(word & LRT_ERRORS_STALLS)) {
        return 0;
    }

    part = word >> LRT_STALLS_SHIFT;
    cost = lrt_log2(LRT_STALLS_ONE + part * LRT_STALLS_COST);

    return (uint32_t) ((cost - ((uint64_t) 24 << 32))
                       >> (32 - LRT_LOG_SHIFT));
}
