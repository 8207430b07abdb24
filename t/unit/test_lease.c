
/*
 * Copyright (C) the ngx_http_lrt_upstream_module authors
 *
 * Who does something for all: one at a time, and another one when he is late.
 */


#include "tap.h"
#include "lrt_lease.h"


#define A  1234
#define B  4194303                       /* the largest pid of Linux */


static void test_one_at_a_time(void);
static void test_length(void);
static void test_give(void);
static void test_never_had(void);
static void test_clocks(void);
static void test_wrap(void);


int
main(void)
{
    tap_begin();

    run(test_one_at_a_time);
    run(test_length);
    run(test_give);
    run(test_never_had);
    run(test_clocks);
    run(test_wrap);

    return tap_end();
}


static void
test_one_at_a_time(void)
{
    uint64_t  lease;

    lease = 0;

    ok(!lrt_lease_taken(&lease, 1000), "nobody has it");
    ok(!lrt_lease_mine(&lease, A), "nor he");
    ok(lrt_lease_take(&lease, A, 1000, 600), "one takes it");
    ok(lrt_lease_taken(&lease, 1000) && lrt_lease_mine(&lease, A), "has it");
    ok(!lrt_lease_take(&lease, B, 1001, 600), "another one cannot");
    ok(lrt_lease_take(&lease, A, 1500, 600), "he renews it");
    ok(!lrt_lease_take(&lease, B, 2099, 600), "good for so long");
    is_u64(lrt_lease_silent(&lease, 2099), 599, "since then");
    is_u64(lrt_lease_vacant(&lease, 2099), 0, "not vacant");

    ok(!lrt_lease_taken(&lease, 2100), "and no longer");
    ok(lrt_lease_mine(&lease, A), "but nobody else has it");
    is_u64(lrt_lease_vacant(&lease, 2150), 50, "vacant since then");
    ok(lrt_lease_take(&lease, B, 2150, 600), "the other one takes it");
    ok(!lrt_lease_mine(&lease, A), "that is seen");
    ok(!lrt_lease_take(&lease, A, 2151, 600), "who was late has lost it");
}


/* that of who has it counts, not what others would say */

static void
test_length(void)
{
    uint64_t  lease;

    lease = 0;

    (void) lrt_lease_take(&lease, B, 1000, 100);
    ok(!lrt_lease_take(&lease, A, 1099, 600), "a short one");
    ok(lrt_lease_mine(&lease, B), "of a large number");
    ok(lrt_lease_take(&lease, A, 1100, 600), "ends as it was said");
    ok(!lrt_lease_take(&lease, B, 1699, 100), "and so does a long one");
    ok(lrt_lease_take(&lease, B, 1700, 5000), "at its time");
    ok(lrt_lease_taken(&lease, 1700 + LRT_LEASE_MAX - 1), "the longest");
    ok(!lrt_lease_taken(&lease, 1700 + LRT_LEASE_MAX), "of all");
}


static void
test_give(void)
{
    uint64_t  lease;

    lease = 0;

    (void) lrt_lease_take(&lease, A, 1000, 600);
    lrt_lease_give(&lease, B, 1100);
    ok(lrt_lease_mine(&lease, A), "not his to give");
    lrt_lease_give(&lease, A, 1100);
    ok(!lrt_lease_mine(&lease, A) && !lrt_lease_taken(&lease, 1100), "his");
    is_u64(lrt_lease_vacant(&lease, 1130), 30, "vacant from then on");
    ok(lrt_lease_take(&lease, B, 1130, 600), "the next one need not wait");
}


static void
test_never_had(void)
{
    uint64_t  lease;

    lease = 0;

    is_u64(lrt_lease_vacant(&lease, 5000), 0, "the first one who asks");
    is_u64(lrt_lease_vacant(&lease, 5100), 100, "since then");
    ok(lrt_lease_take(&lease, A, 5100, 600), "it can be had");
}


/* of processes that have read them a moment ago */

static void
test_clocks(void)
{
    uint64_t  lease;

    lease = 0;

    (void) lrt_lease_take(&lease, A, 1005, 100);
    ok(lrt_lease_taken(&lease, 1000), "from later");
    is_u64(lrt_lease_silent(&lease, 1000), 0, "is new");
    is_u64(lrt_lease_vacant(&lease, 1000), 0, "and not vacant");
    ok(!lrt_lease_take(&lease, B, 1000, 100), "nor to be had");
}


/* 32 bits of ms are seven weeks */

static void
test_wrap(void)
{
    uint64_t  lease, now;

    lease = 0;
    now = ((uint64_t) 1 << 32) - 50;

    (void) lrt_lease_take(&lease, A, now, 100);
    ok(lrt_lease_taken(&lease, now + 99), "over the end");
    ok(!lrt_lease_taken(&lease, now + 100), "of them");
    is_u64(lrt_lease_vacant(&lease, now + 130), 30, "since");

    ok(!lrt_lease_taken(&lease, now + ((uint64_t) 5 << 29)), "weeks ago");
    ok(lrt_lease_vacant(&lease, now + ((uint64_t) 5 << 29)) > 1000,
       "is long ago");
    ok(lrt_lease_take(&lease, B, now + ((uint64_t) 5 << 29), 100), "free");
}
