
/*
 * Copyright (C) the ngx_http_lrt_upstream_module authors
 */


#include "lrt_words.h"
#include "lrt_atomic.h"

#if defined(__x86_64__) && defined(__GNUC__)
#define LRT_WORDS_AVX2       1
#include <immintrin.h>
#endif


#if (LRT_WORDS_AVX2)

#define LRT_WORDS_FOUR       4

/* most of a pick among thousands is spent here: with four at a time half */

#define lrt_words_avx2()     __builtin_cpu_supports("avx2")
#define lrt_words_with_avx2  __attribute__((target("avx2")))

/*
 * Each word of four is read at one go as it is aligned, and no later than what
 * comes after it, as all loads of these processors.
 */

#define lrt_words_load(p)    _mm256_loadu_si256((const __m256i *) (p))

static uint64_t lrt_words_least_avx2(const uint64_t *p, uint32_t n)
    lrt_words_with_avx2;
static uint64_t lrt_words_equal_avx2(const uint64_t *p, uint32_t n,
    uint64_t value) lrt_words_with_avx2;

#endif


uint64_t
lrt_words_least(const uint64_t *p, uint32_t n)
{
    uint32_t  i;
    uint64_t  word, least;

#if (LRT_WORDS_AVX2)
    if (n >= LRT_WORDS_FOUR && lrt_words_avx2()) {
        return lrt_words_least_avx2(p, n);
    }
#endif

#define lrt_words_lower(i)                                                    \
    word = lrt_load(&p[i]);                                                   \
    least = (word < least) ? word : least

    least = UINT64_MAX;

    for (i = 0; i + 4 <= n; i += 4) {
        lrt_words_lower(i);
        lrt_words_lower(i + 1);
        lrt_words_lower(i + 2);
        lrt_words_lower(i + 3);
    }

    for ( /* void */ ; i < n; i++) {
        lrt_words_lower(i);
    }

#undef lrt_words_lower

    return least;
}


uint64_t
lrt_words_equal(const uint64_t *p, uint32_t n, uint64_t value)
{
    uint32_t  i;
    uint64_t  set;

#if (LRT_WORDS_AVX2)
    if (n >= LRT_WORDS_FOUR && lrt_words_avx2()) {
        return lrt_words_equal_avx2(p, n, value);
    }
#endif

#define lrt_words_is(i)      ((uint64_t) (lrt_load(&p[i]) == value))

    set = 0;

    for (i = 0; i + 4 <= n; i += 4) {

        /* mostly none of them has it */

        if (lrt_words_is(i) || lrt_words_is(i + 1)
            || lrt_words_is(i + 2) || lrt_words_is(i + 3))
        {
            set |= (lrt_words_is(i)
                    | lrt_words_is(i + 1) << 1
                    | lrt_words_is(i + 2) << 2
                    | lrt_words_is(i + 3) << 3) << i;
        }
    }

    for ( /* void */ ; i < n; i++) {
        set |= lrt_words_is(i) << i;
    }

#undef lrt_words_is

    return set;
}


#if (LRT_WORDS_AVX2)

/* the last four overlap those before; they are compared with their signs */

static uint64_t
lrt_words_least_avx2(const uint64_t *p, uint32_t n)
{
    uint32_t  i;
    uint64_t  word, least, words[LRT_WORDS_FOUR];
    __m256i   sign, four, low;

    sign = _mm256_set1_epi64x(INT64_MIN);
    low = _mm256_xor_si256(lrt_words_load(p + n - LRT_WORDS_FOUR), sign);

    for (i = 0; i + LRT_WORDS_FOUR <= n; i += LRT_WORDS_FOUR) {
        four = _mm256_xor_si256(lrt_words_load(p + i), sign);
        low = _mm256_blendv_epi8(low, four, _mm256_cmpgt_epi64(low, four));
    }

    _mm256_storeu_si256((__m256i *) words, _mm256_xor_si256(low, sign));

    least = words[0];

    for (i = 1; i < LRT_WORDS_FOUR; i++) {
        word = words[i];
        least = (word < least) ? word : least;
    }

    return least;
}


static uint64_t
lrt_words_equal_avx2(const uint64_t *p, uint32_t n, uint64_t value)
{
    uint32_t  i;
    uint64_t  set;
    __m256i   values;

#define lrt_words_bits(p)                                                     \
    ((uint64_t) _mm256_movemask_pd(_mm256_castsi256_pd(                       \
         _mm256_cmpeq_epi64(lrt_words_load(p), values))))

    values = _mm256_set1_epi64x((int64_t) value);

    set = lrt_words_bits(p + n - LRT_WORDS_FOUR) << (n - LRT_WORDS_FOUR);

    for (i = 0; i + 4 * LRT_WORDS_FOUR <= n; i += 4 * LRT_WORDS_FOUR) {
        set |= (lrt_words_bits(p + i)
                | lrt_words_bits(p + i + 4) << 4
                | lrt_words_bits(p + i + 8) << 8
                | lrt_words_bits(p + i + 12) << 12) << i;
    }

    for ( /* void */ ; i + LRT_WORDS_FOUR <= n; i += LRT_WORDS_FOUR) {
        set |= lrt_words_bits(p + i) << i;
    }

#undef lrt_words_bits

    return set;
}

#endif
