
/*
 * Copyright (C) the ngx_http_lrt_upstream_module authors
 *
 * Just enough TAP for C: run(function) names what ok() and is_u64() report;
 * check() is for loops and says nothing as long as all is well; random
 * numbers come from a seed that is printed and may be given in LRT_SEED.
 */


#ifndef _TAP_H_INCLUDED_
#define _TAP_H_INCLUDED_


#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>


#define TAP_UNUSED           __attribute__((unused))
#define TAP_FORMAT(n)        __attribute__((unused, format(printf, n, n + 1)))

#define ok(condition, ...)                                                    \
    tap_ok((condition) != 0, __FILE__, __LINE__, __VA_ARGS__)

#define is_u64(got, want, ...)                                                \
    tap_is_u64((uint64_t) (got), (uint64_t) (want), __FILE__, __LINE__,       \
               __VA_ARGS__)

/* false after the first failure of a function: "if (!check(...)) return;" */

#define check(condition, ...)                                                 \
    ((condition) ? 1 : tap_ok(0, __FILE__, __LINE__, __VA_ARGS__))

#define run(function)                                                         \
    do {                                                                      \
        tap_name = #function;                                                 \
        function();                                                           \
    } while (0)


static const char          *tap_name = "";
static unsigned             tap_count;
static unsigned             tap_failures;
static uint64_t             tap_state;


static TAP_FORMAT(1) void
tap_note(const char *fmt, ...)
{
    va_list  args;

    printf("# ");

    va_start(args, fmt);
    vprintf(fmt, args);
    va_end(args);

    printf("\n");
    fflush(stdout);
}


static TAP_FORMAT(4) unsigned
tap_ok(unsigned good, const char *file, int line, const char *fmt, ...)
{
    va_list  args;

    printf("%sok %u - %s: ", good ? "" : "not ", ++tap_count, tap_name);

    va_start(args, fmt);
    vprintf(fmt, args);
    va_end(args);

    printf("\n");

    if (!good) {
        tap_failures++;
        tap_note("    failed at %s line %d", file, line);
    }

    fflush(stdout);

    return good;
}


static TAP_FORMAT(5) unsigned
tap_is_u64(uint64_t got, uint64_t want, const char *file, int line,
    const char *fmt, ...)
{
    char     text[256];
    va_list  args;

    va_start(args, fmt);
    vsnprintf(text, sizeof(text), fmt, args);
    va_end(args);

    if (tap_ok(got == want, file, line, "%s", text)) {
        return 1;
    }

    tap_note("    got %llu, want %llu", (unsigned long long) got,
             (unsigned long long) want);

    return 0;
}


/* xorshift64* */

static TAP_UNUSED uint64_t
tap_random(void)
{
    tap_state ^= tap_state >> 12;
    tap_state ^= tap_state << 25;
    tap_state ^= tap_state >> 27;

    return tap_state * 2685821657736338717ull;
}


/* 0 .. n - 1 */

static TAP_UNUSED uint32_t
tap_below(uint32_t n)
{
    return (uint32_t) ((tap_random() >> 32) * n >> 32);
}


static TAP_UNUSED uint32_t
tap_between(uint32_t low, uint32_t high)
{
    return low + tap_below(high - low + 1);
}


/* true once in n times */

static TAP_UNUSED unsigned
tap_once_in(uint32_t n)
{
    return tap_below(n) == 0;
}


/* a number of repetitions; LRT_QUICK takes a tenth of them */

static TAP_UNUSED uint32_t
tap_times(uint32_t n)
{
    const char  *quick;

    quick = getenv("LRT_QUICK");

    if (quick && *quick && *quick != '0') {
        return (n + 9) / 10;
    }

    return n;
}


static void
tap_begin(void)
{
    const char       *seed;
    struct timespec   ts;

    /* who runs in circles is ended */

    (void) alarm(300);

    seed = getenv("LRT_SEED");

    if (seed && *seed) {
        tap_state = strtoull(seed, NULL, 0);

    } else {
        clock_gettime(CLOCK_REALTIME, &ts);
        tap_state = (uint64_t) ts.tv_sec * 1000000007u
                    ^ (uint64_t) ts.tv_nsec << 20 ^ (uint64_t) getpid();
        tap_state &= 0xffffffffffffull;
    }

    tap_note("LRT_SEED=%llu", (unsigned long long) tap_state);

    /* near seeds must not give near numbers, and zero none at all */

    tap_state = (tap_state + 1) * 0x9e3779b97f4a7c15ull;
    tap_state ^= tap_state >> 31;
    tap_state += (tap_state == 0);
}


static int
tap_end(void)
{
    printf("1..%u\n", tap_count);
    fflush(stdout);

    return tap_failures ? 1 : 0;
}


#endif /* _TAP_H_INCLUDED_ */
