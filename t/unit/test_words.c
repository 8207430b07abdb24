
/*
 * Copyright (C) the ngx_http_lrt_upstream_module authors
 *
 * Minima and equal words: as this processor does it, without AVX2, and one
 * word after the other.
 */


#include "tap.h"
#include "lrt_words.h"


/* the same file, for processors that have none of it */

#define LRT_WORDS_PLAIN
#define lrt_words_least      plain_words_least
#define lrt_words_equal      plain_words_equal

static uint64_t plain_words_least(const uint64_t *p, uint32_t n);
static uint64_t plain_words_equal(const uint64_t *p, uint32_t n,
    uint64_t value);

#include "lrt_words.c"

#undef lrt_words_least
#undef lrt_words_equal


#define MOST                 200

/* around it words are compared by their signs, or not */

#define HALF                 ((uint64_t) 1 << 63)


static void test_least(void);
static void test_equal(void);
static void test_sets(void);
static void random_words(uint64_t *p, uint32_t n);


int
main(void)
{
    tap_begin();

    run(test_least);
    run(test_equal);
    run(test_sets);

    return tap_end();
}


static void
test_least(void)
{
    uint32_t  i, j, n;
    uint64_t  least, words[MOST + 1];

    for (i = 0; i < tap_times(20000); i++) {

        n = tap_below(MOST + 1);
        random_words(words, n + 1);

        /* what comes behind does not count */

        words[n] = 0;
        least = UINT64_MAX;

        for (j = 0; j < n; j++) {
            least = (words[j] < least) ? words[j] : least;
        }

        if (!check(lrt_words_least(words, n) == least
                   && plain_words_least(words, n) == least,
                   "the least of %u", n))
        {
            return;
        }
    }

    ok(1, "%u minima of up to %u words", i, MOST);
}


static void
test_equal(void)
{
    uint32_t  i, j, n;
    uint64_t  set, value, words[LRT_WORDS + 1];

    for (i = 0; i < tap_times(20000); i++) {

        n = tap_below(LRT_WORDS + 1);
        random_words(words, n + 1);

        value = words[tap_below(n + 1)];
        words[n] = value;
        set = 0;

        for (j = 0; j < n; j++) {
            set |= (uint64_t) (words[j] == value) << j;
        }

        if (!check(lrt_words_equal(words, n, value) == set
                   && plain_words_equal(words, n, value) == set,
                   "equal ones of %u", n))
        {
            return;
        }
    }

    ok(1, "%u sets of up to %u words", i, LRT_WORDS);
}


static void
test_sets(void)
{
    uint64_t  set;

    set = 0;
    is_u64(lrt_words_count(set), 0, "none");

    set = (uint64_t) 1 << 63;
    is_u64(lrt_words_count(set), 1, "one");
    is_u64(lrt_words_first(set), 63, "the last");
    is_u64(lrt_words_rest(set), 0, "and no other");

    set = UINT64_MAX;
    is_u64(lrt_words_count(set), 64, "all");
    is_u64(lrt_words_first(set), 0, "the first");
    is_u64(lrt_words_rest(set), UINT64_MAX - 1, "and the others");
}


/* few values, so that many are equal, small ones, large ones and the most */

static void
random_words(uint64_t *p, uint32_t n)
{
    uint32_t  i;

    for (i = 0; i < n; i++) {
        p[i] = tap_once_in(4) ? UINT64_MAX
               : tap_once_in(3) ? HALF + tap_below(5) - 2 : tap_below(5);
    }
}
