
/*
 * Copyright (C) the ngx_http_lrt_upstream_module authors
 */


#define _GNU_SOURCE

#include <errno.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "util.h"


#define GOLDEN  0x9e3779b97f4a7c15ull


static unsigned parse_parts(const char *text, char *copy, size_t size,
    char **part, unsigned max);
static double parse_us(const char *text);


_Noreturn void
die(const char *fmt, ...)
{
    va_list  args;

    fprintf(stderr, "%s: ", program_invocation_short_name);

    va_start(args, fmt);
    vfprintf(stderr, fmt, args);
    va_end(args);

    fprintf(stderr, "\n");
    exit(2);
}


/* memory for n elements; what is new is not cleared */

void *
grow(void *p, size_t n, size_t size)
{
    p = reallocarray(p, n ? n : 1, size);

    if (p == NULL) {
        die("no memory for %zu times %zu bytes", n, size);
    }

    return p;
}


uint64_t
clock_ns(void)
{
    struct timespec  ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);

    return (uint64_t) ts.tv_sec * SECOND + (uint64_t) ts.tv_nsec;
}


double
parse_number(const char *text, const char *what)
{
    char   *end;
    double  number;

    number = strtod(text, &end);

    if (end == text || *end != '\0' || !isfinite(number) || number < 0) {
        die("%s: \"%s\" is not a number of zero or more", what, text);
    }

    return number;
}


/* "5ms", "1.5s", "200us"; a number alone is in seconds */

uint64_t
parse_time(const char *text, const char *what)
{
    char    *end;
    double   number, scale;

    number = strtod(text, &end);

    if (end == text || !isfinite(number) || number < 0) {
        die("%s: \"%s\" is not a time", what, text);
    }

    if (*end == '\0' || strcmp(end, "s") == 0) {
        scale = SECOND;

    } else if (strcmp(end, "ms") == 0) {
        scale = MILLISECOND;

    } else if (strcmp(end, "us") == 0) {
        scale = MICROSECOND;

    } else {
        die("%s: \"%s\" has a unit other than us, ms, s", what, text);
    }

    if (number * scale > 1e17) {
        die("%s: \"%s\" is too long", what, text);
    }

    return (uint64_t) llround(number * scale);
}


dist_t
parse_dist(const char *text)
{
    char       copy[128], *part[4];
    dist_t     dist;
    unsigned   n;

    memset(&dist, 0, sizeof(dist_t));
    n = parse_parts(text, copy, sizeof(copy), part, 4);

    if (strcmp(part[0], "server") == 0 && n == 1) {
        dist.kind = DIST_NONE;

    } else if (strcmp(part[0], "const") == 0 && n == 2) {
        dist.kind = DIST_CONST;
        dist.a = parse_us(part[1]);

    } else if (strcmp(part[0], "exp") == 0 && n == 2) {
        dist.kind = DIST_EXP;
        dist.a = parse_us(part[1]);

    } else if (strcmp(part[0], "lognormal") == 0 && n == 3) {
        dist.kind = DIST_LOGNORMAL;
        dist.a = parse_us(part[1]);
        dist.b = parse_number(part[2], text);

    } else if (strcmp(part[0], "bimodal") == 0 && n == 4) {
        dist.kind = DIST_BIMODAL;
        dist.a = parse_us(part[1]);
        dist.b = parse_us(part[2]);
        dist.c = parse_number(part[3], text);

    } else if (strcmp(part[0], "pareto") == 0 && n == 4) {
        dist.kind = DIST_PARETO;
        dist.a = parse_us(part[1]);
        dist.b = parse_us(part[2]);
        dist.c = parse_number(part[3], text);

        if (dist.a <= 0 || dist.b <= dist.a || dist.c <= 0 || dist.c == 1) {
            die("\"%s\": pareto is from a time to a longer one, with an "
                "exponent other than 0 and 1", text);
        }

    } else {
        die("\"%s\" is none of const:T exp:T lognormal:T:CV "
            "bimodal:T:T:SHARE pareto:T:T:EXPONENT, or server", text);
    }

    return dist;
}


static unsigned
parse_parts(const char *text, char *copy, size_t size, char **part,
    unsigned max)
{
    char      *p;
    unsigned   n;

    if (strlen(text) >= size) {
        die("\"%s\" is too long", text);
    }

    strcpy(copy, text);

    part[0] = copy;
    n = 1;

    for (p = copy; *p != '\0'; p++) {
        if (*p != ':') {
            continue;
        }

        if (n == max) {
            die("\"%s\" has too many parts", text);
        }

        *p = '\0';
        part[n++] = p + 1;
    }

    return n;
}


static double
parse_us(const char *text)
{
    return (double) parse_time(text, "time") / MICROSECOND;
}


/* splitmix64 */

uint64_t
mix(uint64_t a, uint64_t b)
{
    uint64_t  z;

    z = a * GOLDEN + b + GOLDEN;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9ull;
    z = (z ^ z >> 27) * 0x94d049bb133111ebull;

    return z ^ z >> 31;
}


/* above 0 and below 1 */

double
unit(uint64_t bits)
{
    return ((double) (bits >> 11) + 0.5) * 0x1p-53;
}


draw_t
draw_init(uint64_t seed, uint64_t stream)
{
    draw_t  draw;

    draw.state = mix(mix(seed, 1), stream);

    return draw;
}


double
draw_unit(draw_t *draw)
{
    draw->state += GOLDEN;

    return unit(mix(0, draw->state));
}


double
draw_exp(draw_t *draw)
{
    return -log(draw_unit(draw));
}


/* each draw of a kind takes as many numbers, so that streams stay in step */

double
draw_dist(draw_t *draw, const dist_t *dist)
{
    double  u, v, variance, range;

    u = draw_unit(draw);

    switch (dist->kind) {

    case DIST_EXP:
        return -dist->a * log(u);

    case DIST_LOGNORMAL:
        v = draw_unit(draw);
        variance = log(1 + dist->b * dist->b);

        return dist->a * exp(sqrt(variance) * sqrt(-2 * log(u))
                             * cos(2 * M_PI * v) - variance / 2);

    case DIST_BIMODAL:
        return u < dist->c ? dist->b : dist->a;

    case DIST_PARETO:
        range = 1 - pow(dist->a / dist->b, dist->c);

        return dist->a * pow(1 - u * range, -1 / dist->c);

    default:
        return dist->a;
    }
}


double
dist_mean(const dist_t *dist)
{
    double  a, b, c;

    a = dist->a;
    b = dist->b;
    c = dist->c;

    switch (dist->kind) {

    case DIST_BIMODAL:
        return a * (1 - c) + b * c;

    case DIST_PARETO:
        return pow(a, c) / (1 - pow(a / b, c)) * c / (c - 1)
               * (pow(a, 1 - c) - pow(b, 1 - c));

    default:
        return a;
    }
}
