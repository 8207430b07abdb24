
/*
 * Copyright (C) the ngx_http_lrt_upstream_module authors
 */


#include "tap.h"
#include "lrt_hist.h"


#define SAMPLES  2000


static void test_boundaries(void);
static void test_error(void);
static void test_empty(void);
static void test_quantile(void);
static void test_quantile_error(void);
static void test_large_counts(void);
static void test_below(void);
static uint64_t random_time(void);
static void sort_times(uint64_t *times, uint32_t n);
static int compare_times(const void *one, const void *two);


int
main(void)
{
    tap_begin();

    run(test_boundaries);
    run(test_error);
    run(test_empty);
    run(test_quantile);
    run(test_quantile_error);
    run(test_large_counts);
    run(test_below);

    return tap_end();
}


static void
test_boundaries(void)
{
    uint32_t  i;

    /* a time belongs to the bucket whose limits enclose it */

    for (i = 0; i < LRT_HIST_BUCKETS; i++) {

        if (!check(lrt_hist_index(lrt_hist_lower(i)) == i,
                   "first time of bucket %u", i))
        {
            return;
        }

        if (!check(lrt_hist_index(lrt_hist_upper(i) - 1) == i,
                   "last time of bucket %u", i))
        {
            return;
        }

        if (i && !check(lrt_hist_index(lrt_hist_lower(i) - 1) == i - 1,
                        "time before bucket %u", i))
        {
            return;
        }

        if (i && !check(lrt_hist_lower(i) == lrt_hist_upper(i - 1),
                        "no gap before bucket %u", i))
        {
            return;
        }
    }

    ok(1, "all %d buckets begin and end where they should", LRT_HIST_BUCKETS);

    /* the range is 50 us to 60 s at least, outside of it nothing is lost */

    is_u64(lrt_hist_index(0), 0, "zero is in the first bucket");
    is_u64(lrt_hist_index(31), 0, "31 us is in the first bucket");
    ok(lrt_hist_index(50) > 0, "50 us is not in the bucket below all");
    ok(lrt_hist_index(60000000) < LRT_HIST_BUCKETS - 1,
       "60 s is not in the bucket above all");
    is_u64(lrt_hist_index(UINT64_MAX), LRT_HIST_BUCKETS - 1,
           "the longest time is in the last bucket");
    is_u64(lrt_hist_upper(LRT_HIST_BUCKETS - 1), UINT64_MAX,
           "the last bucket has no end");
}


static void
test_error(void)
{
    uint32_t  i, n, index;
    uint64_t  time, middle, error;

    /* the middle of a bucket is at most an eighth away from what is in it */

    n = tap_times(1000000);

    for (i = 0; i < n; i++) {
        time = random_time();

        index = lrt_hist_index(time);
        middle = (lrt_hist_lower(index) + lrt_hist_upper(index)) / 2;
        error = (middle > time) ? middle - time : time - middle;

        if (!check(error * 8 <= time, "time %llu, middle %llu",
                   (unsigned long long) time, (unsigned long long) middle))
        {
            return;
        }
    }

    ok(1, "%u random times of 50 us .. 60 s are at most 12.5 %% off", n);
}


static void
test_empty(void)
{
    uint64_t  buckets[LRT_HIST_BUCKETS];

    memset(buckets, 0, sizeof(buckets));

    /* nothing measured is no time at all */

    is_u64(lrt_hist_quantile(buckets, 500), 0, "median of nothing");
    is_u64(lrt_hist_quantile(buckets, 1000), 0, "maximum of nothing");
}


static void
test_quantile(void)
{
    uint32_t  i, j, n, rank, permille;
    uint64_t  quantile, buckets[LRT_HIST_BUCKETS], times[SAMPLES];

    /* the quantile lies in the bucket of the sample that sorting finds */

    for (i = 0; i < tap_times(2000); i++) {

        memset(buckets, 0, sizeof(buckets));
        n = tap_between(1, tap_once_in(4) ? SAMPLES : 20);

        for (j = 0; j < n; j++) {

            switch (tap_below(10)) {

            case 0:
                times[j] = tap_below(64);
                break;

            case 1:
                times[j] = 60000000 + tap_random() % 100000000;
                break;

            default:
                times[j] = random_time();
            }

            buckets[lrt_hist_index(times[j])]++;
        }

        sort_times(times, n);

        for (j = 0; j < 20; j++) {
            permille = (j == 0) ? 0 : (j == 1) ? 1000 : tap_below(1001);

            rank = n * permille / 1000;
            rank = (rank < n) ? rank : n - 1;

            quantile = lrt_hist_quantile(buckets, permille);

            if (!check(lrt_hist_index(quantile) == lrt_hist_index(times[rank]),
                       "quantile %u of %u samples: %llu, sorted: %llu",
                       permille, n, (unsigned long long) quantile,
                       (unsigned long long) times[rank]))
            {
                return;
            }
        }
    }

    ok(1, "quantiles of random samples are those of sorting");
}


static void
test_quantile_error(void)
{
    uint32_t  i, rank, permille;
    uint64_t  got, want, error, buckets[LRT_HIST_BUCKETS], times[SAMPLES];

    /* and it is at most 12.5 % away from it */

    memset(buckets, 0, sizeof(buckets));

    for (i = 0; i < SAMPLES; i++) {
        times[i] = random_time();
        buckets[lrt_hist_index(times[i])]++;
    }

    sort_times(times, SAMPLES);

    for (permille = 0; permille <= 1000; permille++) {

        rank = SAMPLES * permille / 1000;
        rank = (rank < SAMPLES) ? rank : SAMPLES - 1;

        got = lrt_hist_quantile(buckets, permille);
        want = times[rank];
        error = (got > want) ? got - want : want - got;

        if (!check(error * 8 <= want, "quantile %u: %llu, sorted %llu",
                   permille, (unsigned long long) got,
                   (unsigned long long) want))
        {
            return;
        }
    }

    ok(1, "quantiles 0 .. 1000 of %d samples are at most 12.5 %% off",
       SAMPLES);
}


static void
test_large_counts(void)
{
    uint32_t  low, high;
    uint64_t  buckets[LRT_HIST_BUCKETS];

    memset(buckets, 0, sizeof(buckets));

    low = lrt_hist_index(1000);
    high = lrt_hist_index(1000000);

    buckets[low] = (uint64_t) 9 << 56;
    buckets[high] = (uint64_t) 1 << 56;

    /* ranks of more samples than a year of requests do not overflow */

    is_u64(lrt_hist_index(lrt_hist_quantile(buckets, 899)), low,
           "899 permille of 2^59 samples");
    is_u64(lrt_hist_index(lrt_hist_quantile(buckets, 901)), high,
           "901 permille of 2^59 samples");
    is_u64(lrt_hist_index(lrt_hist_quantile(buckets, 1000)), high,
           "the largest of 2^59 samples");
}


static void
test_below(void)
{
    uint32_t  i, j, index;
    uint64_t  n, got, last, time, buckets[LRT_HIST_BUCKETS];

    memset(buckets, 0, sizeof(buckets));
    is_u64(lrt_hist_below(buckets, 1000000), 0, "nothing of nothing");

    /* at the limits of buckets it is known exactly */

    for (i = 0; i < SAMPLES; i++) {
        buckets[lrt_hist_index(random_time())]++;
    }

    for (i = 0, n = 0; i < LRT_HIST_BUCKETS; i++) {

        got = lrt_hist_below(buckets, lrt_hist_lower(i));

        if (!check(got == n, "below bucket %u: %llu, counted %llu", i,
                   (unsigned long long) got, (unsigned long long) n))
        {
            return;
        }

        n += buckets[i];
    }

    is_u64(n, SAMPLES, "all %d buckets", LRT_HIST_BUCKETS);

    /* and between them never less for a longer time */

    for (i = 0, last = 0, time = 0; time < 70000000; i++) {

        got = lrt_hist_below(buckets, time);
        index = lrt_hist_index(time);

        if (!check(got >= last && got <= SAMPLES,
                   "below %llu us: %llu, before that %llu",
                   (unsigned long long) time, (unsigned long long) got,
                   (unsigned long long) last)
            || !check(got >= lrt_hist_below(buckets, lrt_hist_lower(index)),
                      "less than below its bucket"))
        {
            return;
        }

        last = got;
        time += 1 + time / 200 + tap_below(10);
    }

    /* evenly within a bucket, also in numbers that fill a word */

    memset(buckets, 0, sizeof(buckets));
    index = lrt_hist_index(1000000);
    n = lrt_hist_upper(index) - lrt_hist_lower(index);

    for (j = 0; j < 2; j++) {
        buckets[index] = j ? (uint64_t) 1 << 62 : 1000;
        got = lrt_hist_below(buckets, lrt_hist_lower(index) + n / 4);
        is_u64(got, buckets[index] / 4, "a quarter of a bucket of %s",
               j ? "2^62" : "1000");
    }

    /* of what is beyond all limits nothing is known */

    memset(buckets, 0, sizeof(buckets));
    buckets[LRT_HIST_BUCKETS - 1] = 5;
    is_u64(lrt_hist_below(buckets, UINT64_MAX), 0, "the last bucket");
}


/* 50 us .. 60 s, all magnitudes alike */

static uint64_t
random_time(void)
{
    uint64_t  low;

    low = (uint64_t) 50 << tap_below(21);

    return (low + tap_random() % low) % 60000000 + 50;
}


static void
sort_times(uint64_t *times, uint32_t n)
{
    qsort(times, n, sizeof(uint64_t), compare_times);
}


static int
compare_times(const void *one, const void *two)
{
    uint64_t  a, b;

    a = *(const uint64_t *) one;
    b = *(const uint64_t *) two;

    return (a > b) - (a < b);
}
