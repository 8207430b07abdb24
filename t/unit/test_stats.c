
/*
 * Copyright (C) the ngx_http_lrt_upstream_module authors
 */


#include "tap.h"
#include "lrt_stats.h"

#include <sys/mman.h>
#include <sys/wait.h>


#define PROCESSES  4


static void test_selected(void);
static void test_finished(void);
static void test_failed(void);
static void test_extremes(void);
static void test_codes(void);
static void test_processes(void);
static uint64_t count_of(const lrt_stats_t *st, uint32_t status);


int
main(void)
{
    tap_begin();

    run(test_selected);
    run(test_finished);
    run(test_failed);
    run(test_extremes);
    run(test_codes);
    run(test_processes);

    return tap_end();
}


static void
test_selected(void)
{
    lrt_stats_t  st;

    memset(&st, 0, sizeof(lrt_stats_t));

    lrt_stats_selected(&st, 5000);
    lrt_stats_selected(&st, 6000);

    /* each selection is a request, the last one is remembered */

    is_u64(st.requests, 2, "requests");
    is_u64(st.selected, 6000, "time of the last selection");
}


static void
test_finished(void)
{
    lrt_stats_t    st;
    lrt_outcome_t  out;

    memset(&st, 0, sizeof(lrt_stats_t));
    memset(&out, 0, sizeof(lrt_outcome_t));

    out.sent = 100;
    out.received = 2000;
    out.time = 1500;
    out.status = 404;
    out.complete = 1;

    lrt_stats_finished(&st, &out);
    lrt_stats_finished(&st, &out);

    /* a complete response leaves bytes, class, code and a time */

    is_u64(st.sent, 200, "bytes sent");
    is_u64(st.received, 4000, "bytes received");
    is_u64(lrt_stats_responses(&st, 3), 2, "responses of the class 4xx");
    is_u64(count_of(&st, 404), 2, "responses with the code");
    is_u64(st.times[lrt_hist_index(1500)], 2, "times");
    is_u64(st.time_sum, 3000, "sum of times");
    is_u64(st.fails, 0, "no failure");
}


static void
test_failed(void)
{
    uint32_t       i;
    uint64_t       times;
    lrt_stats_t    st;
    lrt_outcome_t  out;

    memset(&st, 0, sizeof(lrt_stats_t));
    memset(&out, 0, sizeof(lrt_outcome_t));

    out.time = 1500;
    out.failed = 1;

    lrt_stats_finished(&st, &out);

    out.status = 99;
    lrt_stats_finished(&st, &out);

    out.status = 600;
    lrt_stats_finished(&st, &out);

    /* a failure is counted, its time is no sample, a bad status no class */

    times = 0;

    for (i = 0; i < LRT_HIST_BUCKETS; i++) {
        times += st.times[i];
    }

    is_u64(st.fails, 3, "failures");
    is_u64(times, 0, "no times");
    is_u64(st.time_sum, 0, "no sum of times");

    for (i = 0; i < 5; i++) {
        is_u64(lrt_stats_responses(&st, i), 0, "no responses %uxx", i + 1);
    }

    is_u64(st.codes[0], 0, "no codes");
}


static void
test_extremes(void)
{
    uint32_t       i, j;
    uint64_t       us, times;
    lrt_stats_t    st;
    lrt_outcome_t  out;

    /* no time at all, what 32 bits of microseconds or ms hold, weeks, a wrap */

    static const uint64_t  all[] = {
        0, 1, UINT32_MAX, (uint64_t) UINT32_MAX + 1,
        (uint64_t) UINT32_MAX * 1000, (uint64_t) 8 * 7 * 86400 * 1000000,
        UINT64_MAX
    };

    memset(&out, 0, sizeof(lrt_outcome_t));

    out.status = 200;
    out.complete = 1;

    for (i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
        us = all[i];
        memset(&st, 0, sizeof(lrt_stats_t));

        out.time = us;
        out.header = us;
        lrt_stats_finished(&st, &out);

        if (!check(st.response_mean >= 1 && st.response_mean <= INT32_MAX
                   && (us > INT32_MAX || us == 0 || st.response_mean == us),
                   "%llu us are known as %u", (unsigned long long) us,
                   st.response_mean)
            || !check(st.header_mean == (us ? st.response_mean : 0),
                      "and to the header as %u", st.header_mean)
            || !check(st.times[lrt_hist_index(us)] == 1, "and counted once"))
        {
            return;
        }

        /* the means forget it, from wherever they come */

        out.time = 1000;
        out.header = 1000;

        for (j = 0; j < 500; j++) {
            lrt_stats_finished(&st, &out);
        }

        if (!check(st.response_mean > 980 && st.response_mean < 1020
                   && st.header_mean > 980 && st.header_mean < 1020,
                   "%llu us: afterwards %u and %u", (unsigned long long) us,
                   st.response_mean, st.header_mean))
        {
            return;
        }

        for (j = 0, times = 0; j < LRT_HIST_BUCKETS; j++) {
            times += st.times[j];
        }

        if (!check(times == 501, "%llu samples", (unsigned long long) times)) {
            return;
        }
    }

    ok(1, "no time is too short or too long");
}


static void
test_codes(void)
{
    uint32_t       i;
    uint64_t       sum;
    lrt_stats_t    st;
    lrt_outcome_t  out;

    memset(&st, 0, sizeof(lrt_stats_t));
    memset(&out, 0, sizeof(lrt_outcome_t));

    for (i = 0; i < 30; i++) {
        out.status = 200 + i % 15;
        lrt_stats_finished(&st, &out);
    }

    /* the first codes have counters, the others are in their class only */

    sum = 0;

    for (i = 0; i < LRT_CODES; i++) {
        sum += lrt_stats_code_count(st.codes[i]);

        if (!check(count_of(&st, 200 + i) == 2, "code %u", 200 + i)) {
            return;
        }
    }

    is_u64(sum, 2 * LRT_CODES, "responses in counters of codes");
    is_u64(count_of(&st, 200 + LRT_CODES), 0, "one code too many");
    is_u64(lrt_stats_responses(&st, 1), 30, "responses in the counter of the class");
}


static void
test_processes(void)
{
    uint32_t       i, n, p;
    uint64_t       sum;
    lrt_stats_t   *st;
    lrt_outcome_t  out;

    st = mmap(NULL, sizeof(lrt_stats_t), PROT_READ|PROT_WRITE,
              MAP_ANON|MAP_SHARED, -1, 0);

    n = tap_times(100000);

    memset(&out, 0, sizeof(lrt_outcome_t));
    out.complete = 1;
    out.sent = 3;

    for (p = 0; p < PROCESSES; p++) {
        if (fork() == 0) {

            for (i = 0; i < n; i++) {
                out.status = 200 + (i + p) % LRT_CODES;
                out.time = i;

                lrt_stats_selected(st, i);
                lrt_stats_finished(st, &out);
            }

            _exit(0);
        }
    }

    while (wait(NULL) > 0) { /* void */ }

    /* whoever counts at the same time, nothing is lost or counted twice */

    sum = 0;

    for (i = 0; i < LRT_CODES; i++) {
        sum += lrt_stats_code_count(st->codes[i]);

        if (!check(count_of(st, 200 + i), "code %u has a counter", 200 + i)) {
            return;
        }
    }

    is_u64(st->requests, PROCESSES * (uint64_t) n, "requests");
    is_u64(sum, PROCESSES * (uint64_t) n, "responses in codes");
    is_u64(lrt_stats_responses(st, 1), PROCESSES * (uint64_t) n, "responses of 2xx");
    is_u64(st->sent, 3 * PROCESSES * (uint64_t) n, "bytes sent");

    munmap(st, sizeof(lrt_stats_t));
}


static uint64_t
count_of(const lrt_stats_t *st, uint32_t status)
{
    uint32_t  i;

    for (i = 0; i < LRT_CODES; i++) {
        if (lrt_stats_code_status(st->codes[i]) == status) {
            return lrt_stats_code_count(st->codes[i]);
        }
    }

    return 0;
}
