
/*
 * Copyright (C) the ngx_http_lrt_upstream_module authors
 */


#include "tap.h"
#include "lrt_schedule.h"


#define MOST         10000

/* turns by which a count may be ahead of or behind its share, see below */

#define SMOOTH       5.0


typedef struct {
    lrt_schedule_t   s;
    uint32_t         n;
    uint64_t        *weight;         /* as built, without the divisor */
    uint64_t        *reach;
    uint32_t        *guide;
} schedule_t;


static void test_full_periods(void);
static void test_extremes(void);
static void test_sums_above_32_bits(void);
static void test_zero_weights(void);
static void test_equal_weights(void);
static void test_divisor(void);
static void test_guide(void);
static void test_smooth(void);
static void test_gaps(void);
static void test_strides(void);
static void test_garbage(void);
static void test_points(void);
static void test_points_of_long_lines(void);
static void build(schedule_t *sc, const uint64_t *weight, uint32_t n);
static void discard(schedule_t *sc);
static unsigned full_period(schedule_t *sc, uint64_t start);
static double smooth_wrr(const uint64_t *weight, uint32_t n, uint64_t total);
static double deviation(const uint64_t *count, const uint64_t *weight,
    uint32_t n, uint64_t turns, uint64_t total);
static uint64_t quotients(uint64_t a, uint64_t b, uint64_t *sum);


int
main(void)
{
    tap_begin();

    run(test_full_periods);
    run(test_extremes);
    run(test_sums_above_32_bits);
    run(test_zero_weights);
    run(test_equal_weights);
    run(test_divisor);
    run(test_guide);
    run(test_smooth);
    run(test_gaps);
    run(test_strides);
    run(test_garbage);
    run(test_points);
    run(test_points_of_long_lines);

    return tap_end();
}


static void
test_full_periods(void)
{
    uint32_t    i, n, most, cases;
    uint64_t    turns, limit, weight[MOST];
    schedule_t  sc;

    /* any "total" turns in a row meet each entry exactly weight times */

    cases = 0;
    limit = tap_times(6000000);

    for (turns = 0; turns < limit; turns += sc.s.total) {

        n = tap_once_in(4) ? tap_between(1, MOST) : tap_between(1, 100);
        most = tap_once_in(2) ? 1000 : tap_between(1, 20);
        most = (n > 2000) ? tap_between(1, 200) : most;

        for (i = 0; i < n; i++) {
            weight[i] = tap_between(1, most);
        }

        if (tap_once_in(8)) {
            weight[tap_below(n)] = 200000;
        }

        build(&sc, weight, n);

        if (!full_period(&sc, tap_random() >> 1)) {
            return;
        }

        discard(&sc);
        cases++;
    }

    ok(1, "%u schedules, %llu turns", cases, (unsigned long long) turns);
}


static void
test_extremes(void)
{
    uint32_t    i, n, light, heavy;
    uint64_t    start;
    schedule_t  sc;

    uint64_t    weight[2] = { 1, INT32_MAX };

    /* the smallest beside the largest: it has its turn, and only that one */

    build(&sc, weight, 2);

    is_u64(sc.weight[0], 1, "points of weight 1");
    is_u64(sc.weight[1], INT32_MAX, "points of the largest weight");

    n = tap_times(2000000);
    start = tap_random() >> 1;
    light = 0;

    for (i = 0; i < n; i++) {
        light += (lrt_schedule_at(&sc.s, start + i) == 0);
    }

    ok(light <= 1, "%u turns in %u of weight 1", light, n);

    discard(&sc);

    /* the same in a period that can be seen whole */

    weight[1] = 1999999;
    build(&sc, weight, 2);
    ok(full_period(&sc, 0), "1 beside 1999999");
    discard(&sc);

    /* the largest weights alone are equal ones, whatever their sum */

    weight[0] = INT32_MAX;
    weight[1] = INT32_MAX;
    build(&sc, weight, 2);

    is_u64(sc.s.total, 2, "two of the largest weights");

    heavy = 0;

    for (i = 0; i < 1000; i++) {
        heavy += lrt_schedule_at(&sc.s, i);
    }

    is_u64(heavy, 500, "half of the turns each");

    discard(&sc);
}


static void
test_sums_above_32_bits(void)
{
    uint32_t    i, j, n, slot, draws;
    double      sum, share, got;
    uint64_t    start, weight[MOST];
    schedule_t  sc;
    uint32_t   *count;

    count = malloc(MOST * sizeof(uint32_t));

    for (j = 0; j < tap_times(40); j++) {

        n = tap_once_in(4) ? MOST : tap_between(3, 40);
        sum = 0;

        for (i = 0; i < n; i++) {
            weight[i] = tap_once_in(3) ? INT32_MAX - tap_below(3)
                                       : 1 + (tap_random() >> tap_between(34,
                                                                          62));
            sum += (double) weight[i];
        }

        build(&sc, weight, n);

        /* the sum is made to fit, and nobody loses his last point */

        if (!check(sc.s.total && sc.s.total <= UINT32_MAX, "total %llu",
                   (unsigned long long) sc.s.total))
        {
            return;
        }

        for (i = 0; i < n; i++) {
            if (!check(sc.weight[i] > 0, "points of entry %u", i)) {
                return;
            }
        }

        /* shares stay what they were, but for rounding */

        memset(count, 0, MOST * sizeof(uint32_t));
        start = tap_random() >> 1;
        draws = tap_times(50000);

        for (i = 0; i < draws; i++) {
            slot = lrt_schedule_at(&sc.s, start + i);
            count[slot]++;
        }

        for (i = 0; i < n; i++) {
            share = (double) weight[i] / sum * draws;
            got = count[i];

            if (!check(got <= share * 1.02 + 20 && got >= share * 0.98 - 20,
                       "entry %u of %u: %.0f turns, share %.1f", i, n, got,
                       share))
            {
                return;
            }
        }

        discard(&sc);
    }

    free(count);

    ok(1, "weights up to 2^31 - 1 whose sum does not fit into 32 bits");
}


static void
test_zero_weights(void)
{
    uint32_t    i, n;
    uint64_t    weight[64];
    schedule_t  sc;

    /* whoever has no weight has no turn, wherever he stands */

    for (i = 0; i < 64; i++) {
        weight[i] = (i % 3 == 1) ? tap_between(1, 9) : 0;
    }

    build(&sc, weight, 64);
    ok(full_period(&sc, 12345), "zeroes first, last and in between");
    discard(&sc);

    memset(weight, 0, sizeof(weight));
    build(&sc, weight, 64);
    is_u64(sc.s.total, 0, "nobody has a turn if nobody has weight");
    discard(&sc);

    build(&sc, weight, 0);
    is_u64(sc.s.total, 0, "nor if nobody is there");
    discard(&sc);

    for (n = 0; n < tap_times(500); n++) {

        for (i = 0; i < 64; i++) {
            weight[i] = tap_once_in(2) ? tap_between(1, 50) : 0;
        }

        build(&sc, weight, 64);

        if (!full_period(&sc, tap_random() >> 1)) {
            return;
        }

        discard(&sc);
    }

    ok(1, "zeroes at random places");
}


static void
test_equal_weights(void)
{
    uint32_t    i, n;
    uint64_t    weight[MOST];
    schedule_t  sc;

    /* equal weights give the plain order, whatever the weight is */

    for (n = 1; n <= MOST; n = n * 3 + 1) {

        for (i = 0; i < n; i++) {
            weight[i] = (n & 1) ? INT32_MAX : 7;
        }

        build(&sc, weight, n);

        for (i = 0; i < 2 * n; i++) {
            if (!check(lrt_schedule_at(&sc.s, i) == i % n, "turn %u of %u",
                       i, n))
            {
                return;
            }
        }

        discard(&sc);
    }

    ok(1, "equal weights take turns in order");

    /* and so do those who are left when others are down */

    for (i = 0; i < 10; i++) {
        weight[i] = (i & 1) ? 5 : 0;
    }

    build(&sc, weight, 10);

    for (i = 0; i < 20; i++) {
        if (!check(lrt_schedule_at(&sc.s, i) == (2 * i + 1) % 10,
                   "turn %u without those of weight zero", i))
        {
            return;
        }
    }

    ok(1, "equal weights beside zeroes take turns in order");

    discard(&sc);
}


static void
test_divisor(void)
{
    schedule_t  sc;

    uint64_t    weight[4] = { 300, 0, 200, 700 };

    /* only the ratio of weights matters: the period is short */

    build(&sc, weight, 4);

    is_u64(sc.s.total, 12, "total of 300, 0, 200 and 700");
    is_u64(sc.weight[0], 3, "300");
    is_u64(sc.weight[1], 0, "0");
    is_u64(sc.weight[2], 2, "200");
    is_u64(sc.weight[3], 7, "700");

    discard(&sc);
}


static void
test_guide(void)
{
    uint32_t    i, j, n, slow;
    uint64_t    turn, point, weight[MOST];
    schedule_t  sc;

    /* the guided search finds what walking along the line finds */

    for (i = 0; i < tap_times(300); i++) {

        n = tap_once_in(10) ? tap_between(1, MOST) : tap_between(1, 50);

        for (j = 0; j < n; j++) {
            weight[j] = tap_once_in(3)
                        ? 0 : 1 + (tap_random() >> tap_between(33, 63));
        }

        weight[tap_below(n)] = 1;

        build(&sc, weight, n);

        for (j = 0; j < 20; j++) {
            turn = tap_random();

            point = turn % sc.s.total * sc.s.stride % sc.s.total;

            for (slow = 0; sc.reach[slow] <= point; slow++) { /* void */ }

            if (!check(lrt_schedule_at(&sc.s, turn) == slow,
                       "point %llu of %llu, %u entries",
                       (unsigned long long) point,
                       (unsigned long long) sc.s.total, n))
            {
                return;
            }
        }

        discard(&sc);
    }

    ok(1, "random schedules, random turns up to 2^64");
}


/*
 * The stride is chosen so that the partial quotients of stride / total are
 * small.  In q turns, q a denominator of a convergent, the number of turns of
 * an entry is less than two off its share (Denjoy and Koksma), and t turns are
 * a sum of such pieces, of which there are no more than the sum of all
 * quotients.  That is the proven limit; what random weights come to is far
 * less, and the unlucky case of a large quotient is far more.
 */

static void
test_smooth(void)
{
    double      ours, theirs, worst, reference, d;
    uint32_t    i, j, n, most;
    uint64_t    t, sum, count[64], weight[64];
    schedule_t  sc;

    worst = 0;
    reference = 0;

    for (i = 0; i < tap_times(4000); i++) {

        n = tap_between(2, 64);
        most = tap_between(1, 20);

        for (j = 0; j < n; j++) {
            weight[j] = tap_between(1, most);
        }

        if (i == 0) {

            /* 528 turns: the strides nearest to the golden ratio are bad */

            n = 53;

            for (j = 0; j < n; j++) {
                weight[j] = 10;
            }

            weight[0] = 20;
            weight[1] = 3;
            weight[2] = 5;
        }

        build(&sc, weight, n);

        memset(count, 0, sizeof(count));
        ours = 0;

        for (t = 0; t < sc.s.total; t++) {
            count[lrt_schedule_at(&sc.s, t)]++;

            d = deviation(count, sc.weight, n, t + 1, sc.s.total);
            ours = (d > ours) ? d : ours;
        }

        theirs = smooth_wrr(sc.weight, n, sc.s.total);

        /* no server gets far ahead of its share or behind it */

        (void) quotients(sc.s.total, sc.s.stride, &sum);

        if (!check(ours < SMOOTH && ours <= 2 * (double) sum,
                   "%.2f turns off, total %llu, stride %u", ours,
                   (unsigned long long) sc.s.total, sc.s.stride))
        {
            return;
        }

        worst = (ours > worst) ? ours : worst;
        reference = (theirs > reference) ? theirs : reference;

        discard(&sc);
    }

    ok(1, "at no time more than %.0f turns off the share", SMOOTH);

    tap_note("turns off the share: at most %.2f, with the smooth weighted "
             "round robin of stock nginx %.2f", worst, reference);
}


static void
test_gaps(void)
{
    double       waited, worst;
    uint32_t     i, n, slot;
    uint64_t     t, gap, sum, weight[1000], *last;
    schedule_t   sc;

    n = 1000;
    last = malloc(n * sizeof(uint64_t));
    worst = 0;

    for (i = 0, sum = 0; i < n; i++) {
        weight[i] = i ? tap_between(1, 1100) : 1;
        sum += weight[i];
    }

    /* again a total whose strides near the golden ratio are bad */

    while (sum != 554862) {
        i = tap_between(1, n - 1);

        if (sum < 554862) {
            weight[i]++;
            sum++;

        } else if (weight[i] > 1) {
            weight[i]--;
            sum--;
        }
    }

    build(&sc, weight, n);

    for (i = 0; i < n; i++) {
        last[i] = UINT64_MAX;
    }

    for (t = 0; t < sc.s.total; t++) {
        slot = lrt_schedule_at(&sc.s, t);

        if (last[slot] != UINT64_MAX) {
            gap = t - last[slot];
            waited = (double) gap * (double) sc.weight[slot]
                     / (double) sc.s.total;

            worst = (waited > worst) ? waited : worst;
        }

        last[slot] = t;
    }

    /*
     * The turns of an entry are at most three distances apart (Steinhaus), and
     * the longest is its mean distance times the largest quotient and two.
     */

    ok(worst < 13, "nobody waits long: at most %.1f times the mean", worst);

    free(last);
    discard(&sc);
}


static void
test_strides(void)
{
    uint32_t         i, guide[2];
    uint64_t         total, most, worst, sum, reach[2];
    lrt_schedule_t   s;

    static uint64_t  bad[] = { 528, 684, 223092870, 933337091, 1655640,
                               2115986512, 3234846615u, 4294967294u };

    worst = 0;

    for (i = 0; i < tap_times(100000); i++) {

        total = (i < sizeof(bad) / sizeof(bad[0]))
                ? bad[i] : 3 + (tap_random() >> tap_between(32, 56));

        reach[0] = total - total / 2 + (total % 4 == 2);
        reach[1] = total - reach[0];

        lrt_schedule_build(&s, reach, guide, 2);

        if (s.total != total) {
            continue;
        }

        most = quotients(total, s.stride, &sum);

        /* stride and total have no common divisor, and quotients are small */

        if (!check(most != 0, "stride %u of total %llu", s.stride,
                   (unsigned long long) total))
        {
            return;
        }

        if (!check(most <= 16 || total < 16, "largest quotient %llu, "
                   "stride %u, total %llu", (unsigned long long) most,
                   s.stride, (unsigned long long) total))
        {
            return;
        }

        worst = (most > worst) ? most : worst;
    }

    ok(1, "strides of random totals spread evenly, largest quotient %llu",
       (unsigned long long) worst);
}


static void
test_garbage(void)
{
    uint32_t         i, j, n, *guide;
    uint64_t        *reach;
    lrt_schedule_t   s;

    /* arrays that are being written lead nowhere, but not out of the n */

    for (i = 0; i < tap_times(20000); i++) {

        n = tap_between(1, tap_once_in(2) ? 5 : 200);

        reach = malloc(n * sizeof(uint64_t));
        guide = malloc(n * sizeof(uint32_t));

        for (j = 0; j < n; j++) {
            reach[j] = tap_random() >> tap_below(64);
            guide[j] = (uint32_t) (tap_random() >> tap_between(32, 63));
        }

        s.n = n;
        s.reach = reach;
        s.guide = guide;

        for (j = 0; j < 20; j++) {
            s.total = 1 + (tap_random() >> tap_between(33, 63));
            s.stride = (uint32_t) (tap_random() >> 32);

            if (!check(lrt_schedule_at(&s, tap_random()) < n,
                       "entry of %u", n))
            {
                return;
            }
        }

        free(reach);
        free(guide);
    }

    ok(1, "garbage in the arrays, the stride and the total");
}


static void
test_points(void)
{
    uint8_t   *seen;
    uint32_t   i;
    uint64_t   t, point, start, total;

    /* a line without a schedule: all points come once in "total" turns */

    for (i = 0; i < tap_times(100); i++) {

        total = (i < 10) ? i + 1 : tap_between(1, 20000);
        seen = calloc(total, 1);
        start = tap_random() >> 1;

        for (t = 0; t < total; t++) {
            point = lrt_schedule_point(start + t, total);

            if (!check(point < total && !seen[point], "point %llu of %llu",
                       (unsigned long long) point, (unsigned long long) total))
            {
                return;
            }

            seen[point] = 1;
        }

        free(seen);
    }

    ok(1, "each point once in a period");
}


static void
test_points_of_long_lines(void)
{
    uint32_t  i, j, n, part, count[10];
    uint64_t  total, point, start;

    /* also when it is longer than 2^32, each tenth of it gets a tenth */

    n = 10000;

    for (i = 0; i < tap_times(100); i++) {

        total = ((uint64_t) 1 << 32) + (tap_random() >> tap_between(13, 40));
        start = tap_once_in(2) ? tap_below(1000) : tap_random() >> 1;

        memset(count, 0, sizeof(count));

        for (j = 0; j < n; j++) {
            point = lrt_schedule_point(start + j, total);

            if (!check(point < total, "point %llu of %llu",
                       (unsigned long long) point, (unsigned long long) total))
            {
                return;
            }

            part = (uint32_t) ((double) point / (double) total * 10);
            count[part < 10 ? part : 9]++;
        }

        for (part = 0; part < 10; part++) {
            if (!check(count[part] > 900 && count[part] < 1100,
                       "%u of %u points in part %u of a line of %llu",
                       count[part], n, part, (unsigned long long) total))
            {
                return;
            }
        }
    }

    ok(1, "points of lines longer than 2^32 are spread evenly");
}


static void
build(schedule_t *sc, const uint64_t *weight, uint32_t n)
{
    uint32_t  i;
    uint64_t  divisor, a, b, rest, sum;

    sc->n = n;
    sc->weight = malloc((n + 1) * sizeof(uint64_t));
    sc->reach = malloc(n * sizeof(uint64_t));
    sc->guide = malloc(n * sizeof(uint32_t));

    memset(sc->guide, 0xbd, n * sizeof(uint32_t));

    sum = 0;
    divisor = 0;

    for (i = 0; i < n; i++) {
        sc->reach[i] = weight[i];
        sum += weight[i];

        for (a = weight[i], b = divisor; b; rest = a % b, a = b, b = rest) {
            /* void */
        }

        divisor = a;
    }

    lrt_schedule_build(&sc->s, sc->reach, sc->guide, n);

    for (i = 0; i < n; i++) {
        sc->weight[i] = sc->reach[i] - (i ? sc->reach[i - 1] : 0);

        /* when the sum fits, weights are only divided */

        if (divisor && sum / divisor + n <= UINT32_MAX) {
            (void) check(sc->weight[i] == weight[i] / divisor,
                         "points of entry %u", i);
        }
    }
}


static void
discard(schedule_t *sc)
{
    free(sc->weight);
    free(sc->reach);
    free(sc->guide);
}


static unsigned
full_period(schedule_t *sc, uint64_t start)
{
    uint32_t   i, entry;
    uint64_t   t, *count;
    unsigned   good;

    count = calloc(sc->n, sizeof(uint64_t));
    good = 1;

    for (t = 0; good && t < sc->s.total; t++) {
        entry = lrt_schedule_at(&sc->s, start + t);

        good = check(entry < sc->n, "entry %u of %u", entry, sc->n);

        if (good) {
            count[entry]++;
        }
    }

    for (i = 0; good && i < sc->n; i++) {
        good = check(count[i] == sc->weight[i],
                     "entry %u of %u: %llu turns, weight %llu", i, sc->n,
                     (unsigned long long) count[i],
                     (unsigned long long) sc->weight[i]);
    }

    free(count);

    return good;
}


/* how far stock nginx's algorithm goes off the shares */

static double
smooth_wrr(const uint64_t *weight, uint32_t n, uint64_t total)
{
    double    worst, d;
    int64_t   current[64];
    uint32_t  i, best;
    uint64_t  t, count[64];

    memset(current, 0, sizeof(current));
    memset(count, 0, sizeof(count));
    worst = 0;

    for (t = 0; t < total; t++) {

        best = 0;

        for (i = 0; i < n; i++) {
            current[i] += (int64_t) weight[i];

            if (current[i] > current[best]) {
                best = i;
            }
        }

        current[best] -= (int64_t) total;
        count[best]++;

        d = deviation(count, weight, n, t + 1, total);
        worst = (d > worst) ? d : worst;
    }

    return worst;
}


static double
deviation(const uint64_t *count, const uint64_t *weight, uint32_t n,
    uint64_t turns, uint64_t total)
{
    int64_t   d, worst;
    uint32_t  i;

    worst = 0;

    for (i = 0; i < n; i++) {
        d = (int64_t) (count[i] * total) - (int64_t) (turns * weight[i]);
        d = (d < 0) ? -d : d;
        worst = (d > worst) ? d : worst;
    }

    return (double) worst / (double) total;
}


/* the largest partial quotient of a / b, or 0 if they have a divisor */

static uint64_t
quotients(uint64_t a, uint64_t b, uint64_t *sum)
{
    uint64_t  rest, most;

    most = 0;
    *sum = 0;

    while (b) {
        most = (a / b > most) ? a / b : most;
        *sum += a / b;

        rest = a % b;
        a = b;
        b = rest;
    }

    return (a == 1) ? most : 0;
}
