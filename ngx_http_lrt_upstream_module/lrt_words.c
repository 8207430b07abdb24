
/*
 * Copyright (C) the ngx_http_lrt_upstream_module authors
 */


#include "lrt_words.h"
#include "lrt_atomic.h"

/* a test takes the other way, which is that of all other processors */

#if defined(__x86_64__) && defined(__GNUC__) && !defined(LRT_WORDS_PLAIN)
#define LRT_WORDS_AVX2       1
#include <immintrin.h>
#endif


/* a minimum waits for the one before: so many at a time do not */

#define LRT_WORDS_CHAINS     4

/* "word" is evaluated once, as others may change it */

#define lrt_words_lower(least, value)                                         \
    word = (value);                                                           \
    (least) = (word < (least)) ? word : (least)


static uint64_t lrt_words_least_of(const uint64_t *least);


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
    uint64_t  word, least[LRT_WORDS_CHAINS];

#if (LRT_WORDS_AVX2)
    if (n >= LRT_WORDS_FOUR && lrt_words_avx2()) {
        return lrt_words_least_avx2(p, n);
    }
#endif

    for (i = 0; i < LRT_WORDS_CHAINS; i++) {
        least[i] = UINT64_MAX;
    }

    for (i = 0; i + LRT_WORDS_CHAINS <= n; i += LRT_WORDS_CHAINS) {
        lrt_words_lower(least[0], lrt_load(&p[i]));
        lrt_words_lower(least[1], lrt_load(&p[i + 1]));
        lrt_words_lower(least[2], lrt_load(&p[i + 2]));
        lrt_words_lower(least[3], lrt_load(&p[i + 3]));
    }

    for ( /* void */ ; i < n; i++) {
        lrt_words_lower(least[0], lrt_load(&p[i]));
    }

    return lrt_words_least_of(least);
}


static uint64_t
lrt_words_least_of(const uint64_t *least)
{
    uint64_t  a, b;

    a = (least[0] < least[1]) ? least[0] : least[1];
    b = (least[2] < least[3]) ? least[2] : least[3];

    return (a < b) ? a : b;
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
    uint32_t  i, j;
    uint64_t  words[LRT_WORDS_FOUR];
    __m256i   sign, four, low[LRT_WORDS_CHAINS];

#define lrt_words_lower_four(low, p)                                          \
    four = _mm256_xor_si256(lrt_words_load(p), sign);                         \
    low = _mm256_blendv_epi8(low, four, _mm256_cmpgt_epi64(low, four))

    sign = _mm256_set1_epi64x(INT64_MIN);
    low[0] = _mm256_xor_si256(lrt_words_load(p + n - LRT_WORDS_FOUR), sign);

    for (j = 1; j < LRT_WORDS_CHAINS; j++) {
        low[j] = low[0];
    }

    for (i = 0; i + 4 * LRT_WORDS_FOUR <= n; i += 4 * LRT_WORDS_FOUR) {
        lrt_words_lower_four(low[0], p + i);
        lrt_words_lower_four(low[1], p + i + 4);
        lrt_words_lower_four(low[2], p + i + 8);
        lrt_words_lower_four(low[3], p + i + 12);
    }

    for ( /* void */ ; i + LRT_WORDS_FOUR <= n; i += LRT_WORDS_FOUR) {
        lrt_words_lower_four(low[0], p + i);
    }

#undef lrt_words_lower_four

    for (j = 1; j < LRT_WORDS_CHAINS; j++) {
        low[0] = _mm256_blendv_epi8(low[0], low[j],
                                    _mm256_cmpgt_epi64(low[0], low[j]));
    }

    _mm256_storeu_si256((__m256i *) words, _mm256_xor_si256(low[0], sign));

    return lrt_words_least_of(words);
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
