
/*
 * Copyright (C) the ngx_http_lrt_upstream_module authors
 *
 * What all programs of the lab need: errors, memory, numbers with units, and
 * random numbers that are the same everywhere for the same seed.
 */


#ifndef _UTIL_H_INCLUDED_
#define _UTIL_H_INCLUDED_


#include <stddef.h>
#include <stdint.h>


/* times are nanoseconds */

#define NEVER        UINT64_MAX
#define MICROSECOND  1000ull
#define MILLISECOND  1000000ull
#define SECOND       1000000000ull


typedef struct {
    uint64_t         state;
} draw_t;


/* the shape of a time, in microseconds */

typedef struct {
    enum {
        DIST_NONE = 0,          /* the server's own */
        DIST_CONST,             /* a */
        DIST_EXP,               /* mean a */
        DIST_LOGNORMAL,         /* mean a, coefficient of variation b */
        DIST_BIMODAL,           /* a, or b with the probability c */
        DIST_PARETO             /* exponent c, from a to b */
    }                kind;

    double           a;
    double           b;
    double           c;
} dist_t;


_Noreturn void die(const char *fmt, ...)
    __attribute__((format(printf, 1, 2)));
void *grow(void *p, size_t n, size_t size);

uint64_t clock_ns(void);

/* these end the program with a message that names "what" */

double parse_number(const char *text, const char *what);
uint64_t parse_time(const char *text, const char *what);
dist_t parse_dist(const char *text);

uint64_t mix(uint64_t a, uint64_t b);
double unit(uint64_t bits);

draw_t draw_init(uint64_t seed, uint64_t stream);
double draw_unit(draw_t *draw);
double draw_exp(draw_t *draw);
double draw_dist(draw_t *draw, const dist_t *dist);
double dist_mean(const dist_t *dist);


#endif /* _UTIL_H_INCLUDED_ */
