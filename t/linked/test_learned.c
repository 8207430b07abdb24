/* sources: ngx_http_lrt_state_learned.c ngx_http_lrt_json.c ngx_http_lrt_state_text.c ngx_http_lrt_out.c ngx_http_lrt_spec.c lrt_learned.c lrt_split.c */

/*
 * Copyright (C) the ngx_http_lrt_upstream_module authors
 *
 * Damaged contents of FILE.learned: cut off at each byte, with bits that
 * flipped, with pieces that were lost, moved or repeated.  Each is refused with
 * a line that it has, and the table is as it was; or all of it is taken, and is
 * the same when it is written and read once more.
 *
 * LRT_LONG=1: 100,000 of them, otherwise 10,000, or with LRT_QUICK=1 a tenth.
 */


#include "world.h"

#include "tap.h"


#define TEXT                 4096


static const char  good[] =
    "{\n"
    "  \"version\":1,\n"
    "  \"upstream\":\"u\",\n"
    "  \"written_ms\":9000000000000,\n"
    "  \"usual_us\":2345,\n"
    "  \"answers\":4711,\n"
    "  \"spread_millioctaves\":412,\n"
    "  \"far_ppm\":1900,\n"
    "  \"stalls_ppm\":77,\n"
    "  \"servers\":[\n"
    "    {\"server\":\"127.0.0.1:8081\",\"estimate_us\":2011,"
        "\"samples\":98,\"age_ms\":14},\n"
    "    {\"server\":\"127.0.0.1:8082\",\"estimate_us\":91000,"
        "\"samples\":3,\"age_ms\":200014,\"errors_ppm\":250000,"
        "\"suspected\":true,\"stalls_ppm\":9000,\"stalling\":false},\n"
    "    {\"server\":\"[2001:db8::17]:80\",\"backup\":true,"
        "\"probe_us\":900,\"probe_then_us\":0,\"probes\":8},\n"
    "    {\"server\":\"unix:/run/a.sock\",\"estimate_us\":2,"
        "\"samples\":255,\"age_ms\":0}\n"
    "  ]\n"
    "}\n";

static ngx_uint_t  taken, refused;


static void whole(void);
static void cut_off(void);
static void bits(void);
static void numbers(void);
static void damaged(void);
static unsigned is_right(const void *text, size_t len, const char *what);
static size_t damage(char *text, size_t len);


int
main(void)
{
    tap_begin();
    world_begin();

    (void) alarm(1200);

    run(whole);
    run(cut_off);
    run(bits);
    run(numbers);
    run(damaged);

    world_end();

    return tap_end();
}


static void
whole(void)
{
    ok(is_right(good, sizeof(good) - 1, "a good one") && taken == 1,
       "a good one is taken");
    is_u64(world_servers, 3, "of servers that are there");
}


/* without the end of its last line it is whole */

static void
cut_off(void)
{
    size_t  n;

    taken = refused = 0;

    for (n = 0; n < sizeof(good) - 2; n++) {
        if (!is_right(good, n, "cut off")) {
            return;
        }
    }

    is_u64(refused, sizeof(good) - 2, "refused wherever it ends");
}


static void
bits(void)
{
    char    text[TEXT];
    size_t  n;

    taken = refused = 0;

    for (n = 0; n < 8 * (sizeof(good) - 1); n++) {
        memcpy(text, good, sizeof(good));
        text[n / 8] ^= (char) (1 << n % 8);

        if (!is_right(text, sizeof(good) - 1, "a bit")) {
            return;
        }
    }

    ok(taken && refused, "%lu refused, %lu are another file", refused, taken);
}


/* in the place of each number, in turn */

static void
numbers(void)
{
    char         text[TEXT];
    size_t       at, end, len;
    unsigned     i;

    static const char  *others[] = {
        "0", "1", "-1", "2", "255", "256", "4294967295", "4294967296",
        "1073741824", "1073741825", "9007199254740991", "9007199254740992",
        "18446744073709551615", "18446744073709551616", "1.5", "1e3", "null",
        "true", "\"1\"", "[]", "{}", ""
    };

    taken = refused = 0;

    for (at = 1; at < sizeof(good) - 1; at++) {

        if (good[at - 1] != ':' || good[at] < '0' || good[at] > '9') {
            continue;
        }

        end = at + strspn(good + at, "0123456789");

        for (i = 0; i < sizeof(others) / sizeof(others[0]); i++) {
            len = (size_t) snprintf(text, sizeof(text), "%.*s%s%s", (int) at,
                                    good, others[i], good + end);

            if (!is_right(text, len, others[i])) {
                return;
            }
        }
    }

    ok(taken && refused, "%lu refused, %lu are another file", refused, taken);
}


static void
damaged(void)
{
    char         text[2 * TEXT];
    size_t       len;
    uint32_t     i, n;
    const char  *more;

    more = getenv("LRT_LONG");
    n = tap_times(more && *more && *more != '0' ? 100000 : 10000);
    taken = refused = 0;

    for (i = 0; i < n; i++) {
        len = sizeof(good) - 1;
        memcpy(text, good, len);

        do {
            len = damage(text, len);
        } while (!tap_once_in(3));

        if (!is_right(text, len, "damaged")) {
            return;
        }
    }

    ok(taken + refused == n, "%lu refused, %lu are another file", refused,
       taken);
}


/* digits mostly: what else is wrong a parser finds */

static size_t
damage(char *text, size_t len)
{
    size_t  at, n;

    static const char  marks[] = "0123456789{}[]:,\"- etf";

    at = len ? tap_below((uint32_t) len) : 0;
    n = tap_below((uint32_t) (len - at) + 1) % 16;

    switch (len > 1 ? tap_below(4) : 3) {

    case 0:
        text[at] = marks[tap_below(sizeof(marks) - 1)];
        return len;

    case 1:
        return tap_once_in(8) ? at : len;

    case 2:
        memmove(text + at, text + at + n, len - at - n);
        return len - n;

    default:
        if (len == TEXT) {
            return len;
        }

        memmove(text + at + 1, text + at, len - at);
        text[at] = marks[tap_below(sizeof(marks) - 1)];
        return len + 1;
    }
}


static unsigned
is_right(const void *text, size_t len, const char *what)
{
    char         why[WORLD_WHY];
    ngx_int_t    rc;
    const char  *wrong;

    wrong = world_learned(text, len, &rc, why);

    if (rc == NGX_OK) {
        taken++;

    } else {
        refused++;
    }

    if (wrong) {
        tap_note("%s\n%.*s", why, (int) ngx_min(len, TEXT), (char *) text);
    }

    return check(wrong == NULL, "%s: %s", what, wrong);
}
