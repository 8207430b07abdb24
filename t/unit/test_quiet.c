
/*
 * Copyright (C) the ngx_http_lrt_upstream_module authors
 *
 * Lines of the log about what happens all the time.
 */


#include "tap.h"
#include "lrt_quiet.h"


static void test_few(void);
static void test_many(void);
static void test_next_minute(void);
static void test_long_after(void);
static void test_wrap(void);


int
main(void)
{
    tap_begin();

    run(test_few);
    run(test_many);
    run(test_next_minute);
    run(test_long_after);
    run(test_wrap);

    return tap_end();
}


static void
test_few(void)
{
    uint32_t  i;
    uint64_t  word, now;

    word = 0;

    for (i = 0, now = 1000; i < 100; i++, now += LRT_QUIET_TIME / 4) {
        if (!check(lrt_quiet_over(&word, now) == 0
                   && lrt_quiet(&word, now) == LRT_QUIET_SAY, "line %u", i))
        {
            return;
        }
    }

    ok(1, "a line now and then is always said");
}


static void
test_many(void)
{
    uint32_t  i;
    uint64_t  word;

    word = 0;

    for (i = 1; i < LRT_QUIET_LINES; i++) {
        is_u64(lrt_quiet(&word, 1000 + i), LRT_QUIET_SAY, "line %u", i);
    }

    is_u64(lrt_quiet(&word, 1100), LRT_QUIET_LAST, "the last one");

    for (i = 0; i < 94; i++) {
        if (!check(lrt_quiet(&word, 2000 + i) == LRT_QUIET_NOT, "none")) {
            return;
        }
    }

    is_u64(lrt_quiet_over(&word, 1001 + LRT_QUIET_TIME - 1), 0, "not yet");
    is_u64(lrt_quiet_over(&word, 1001 + LRT_QUIET_TIME), 100, "how many");
    is_u64(lrt_quiet_over(&word, 1001 + LRT_QUIET_TIME), 0, "and once");
}


static void
test_next_minute(void)
{
    uint32_t  i;
    uint64_t  word;

    word = 0;

    for (i = 0; i < 10; i++) {
        (void) lrt_quiet(&word, 1000);
    }

    (void) lrt_quiet_over(&word, 1000 + LRT_QUIET_TIME);
    is_u64(lrt_quiet(&word, 1000 + LRT_QUIET_TIME), LRT_QUIET_SAY,
           "another minute");

    word = 0;

    for (i = 0; i < LRT_QUIET_LINES; i++) {
        (void) lrt_quiet(&word, 1000);
    }

    is_u64(lrt_quiet_over(&word, 1000 + LRT_QUIET_TIME), 0,
           "nothing to be told if nothing was left out");
}


static void
test_long_after(void)
{
    uint32_t  i;
    uint64_t  word;

    word = 0;

    for (i = 0; i < LRT_QUIET_LINES; i++) {
        (void) lrt_quiet(&word, 1000);
    }

    is_u64(lrt_quiet(&word, (uint64_t) 1 << 31), LRT_QUIET_SAY,
           "weeks later it is a new one");
    is_u64(lrt_quiet(&word, ((uint64_t) 1 << 31) - 5), LRT_QUIET_SAY,
           "also for one whose clock is late");
}


static void
test_wrap(void)
{
    uint32_t  i;
    uint64_t  word, now;

    word = 0;
    now = ((uint64_t) 1 << 32) - 100;

    for (i = 0; i < 2 * LRT_QUIET_LINES; i++) {
        (void) lrt_quiet(&word, now);
    }

    is_u64(lrt_quiet_over(&word, now + LRT_QUIET_TIME), 2 * LRT_QUIET_LINES,
           "over the end of 32 bits");
}
