
/*
 * Copyright (C) the ngx_http_lrt_upstream_module authors
 *
 * A text is cut in all ways there are, and each piece lies in memory of its
 * own, so that a step beyond its end is seen.
 */


#include "tap.h"
#include "lrt_split.h"


#define TEXT_LEN     8192


/* all objects of a text, each with "|" behind it, and how it ended */

typedef struct {
    char                 objects[2 * TEXT_LEN];
    size_t               len;
    lrt_split_e          state;
    unsigned             list;
    size_t               bytes;          /* looked at */
} result_t;


typedef struct {
    const char          *text;
    const char          *objects;
    lrt_split_e          state;
} case_t;


static void test_cases(void);
static void test_wrong_byte(void);
static void test_nothing_more(void);
static void test_random_lists(void);
static void test_garbage(void);
static unsigned all_cuts(const char *text, size_t len, const char *objects,
    lrt_split_e state);
static unsigned is_result(const result_t *r, const char *objects,
    lrt_split_e state);
static void split(result_t *r, const char *text, size_t len, size_t first,
    size_t rest);
static void split_piece(result_t *r, lrt_split_t *s, const char *p, size_t n);
static size_t random_object(char *p, unsigned depth);
static size_t random_string(char *p);
static size_t random_blank(char *p);


static const case_t  cases[] = {

    /* one object */

    { "{}", "{}|", LRT_SPLIT_END },
    { " \t\r\n{} \t\r\n", "{}|", LRT_SPLIT_END },
    { "{\"a\":1}", "{\"a\":1}|", LRT_SPLIT_END },
    { "{\"a\":{\"b\":[1,{},[]]}}", "{\"a\":{\"b\":[1,{},[]]}}|",
      LRT_SPLIT_END },

    /* strings hide what they hold */

    { "{\"}\":\"{[\"}", "{\"}\":\"{[\"}|", LRT_SPLIT_END },
    { "{\"\\\"}\":1}", "{\"\\\"}\":1}|", LRT_SPLIT_END },
    { "{\"\\\\\":1}", "{\"\\\\\":1}|", LRT_SPLIT_END },
    { "{\"\\\\\\\"}]\":1}", "{\"\\\\\\\"}]\":1}|", LRT_SPLIT_END },
    { "{\"\\u007d\":1}", "{\"\\u007d\":1}|", LRT_SPLIT_END },

    /* lists */

    { "[]", "", LRT_SPLIT_END },
    { " [ \n ] ", "", LRT_SPLIT_END },
    { "[{}]", "{}|", LRT_SPLIT_END },
    { "[{},{}]", "{}|{}|", LRT_SPLIT_END },
    { " [ {\"a\":[1]} , {\"b\":\",]\"} ] ", "{\"a\":[1]}|{\"b\":\",]\"}|",
      LRT_SPLIT_END },

    /* what is in an object is not looked at */

    { "{]", "{]|", LRT_SPLIT_END },
    { "[{x:y}]", "{x:y}|", LRT_SPLIT_END },

    /* not all of it is there */

    { "", "", LRT_SPLIT_START },
    { " ", "", LRT_SPLIT_START },
    { "[", "", LRT_SPLIT_FIRST },
    { "[ ", "", LRT_SPLIT_FIRST },
    { "{", "{", LRT_SPLIT_INSIDE },
    { "{\"a", "{\"a", LRT_SPLIT_STRING },
    { "{\"a\\", "{\"a\\", LRT_SPLIT_ESCAPE },
    { "{\"a\"", "{\"a\"", LRT_SPLIT_INSIDE },
    { "{[}", "{[}", LRT_SPLIT_INSIDE },
    { "[{}", "{}|", LRT_SPLIT_AFTER },
    { "[{},", "{}|", LRT_SPLIT_NEXT },
    { "[{}, {", "{}|{", LRT_SPLIT_INSIDE },

    /* there can be no such text */

    { "x", "", LRT_SPLIT_WRONG },
    { "1", "", LRT_SPLIT_WRONG },
    { "\"", "", LRT_SPLIT_WRONG },
    { "]", "", LRT_SPLIT_WRONG },
    { "}", "", LRT_SPLIT_WRONG },
    { ",", "", LRT_SPLIT_WRONG },
    { "\v{}", "", LRT_SPLIT_WRONG },
    { "\xef\xbb\xbf{}", "", LRT_SPLIT_WRONG },
    { "{}{}", "{}|", LRT_SPLIT_WRONG },
    { "{},", "{}|", LRT_SPLIT_WRONG },
    { "{}]", "{}|", LRT_SPLIT_WRONG },
    { "[,", "", LRT_SPLIT_WRONG },
    { "[[", "", LRT_SPLIT_WRONG },
    { "[1", "", LRT_SPLIT_WRONG },
    { "[{}{", "{}|", LRT_SPLIT_WRONG },
    { "[{}x", "{}|", LRT_SPLIT_WRONG },
    { "[{},]", "{}|", LRT_SPLIT_WRONG },
    { "[{},,", "{}|", LRT_SPLIT_WRONG },
    { "[{},1", "{}|", LRT_SPLIT_WRONG },
    { "[]]", "", LRT_SPLIT_WRONG },
    { "[] {", "", LRT_SPLIT_WRONG },
};


int
main(void)
{
    tap_begin();

    run(test_cases);
    run(test_wrong_byte);
    run(test_nothing_more);
    run(test_random_lists);
    run(test_garbage);

    return tap_end();
}


static void
test_cases(void)
{
    uint32_t     i, n;
    result_t     r;
    const char  *text;

    n = sizeof(cases) / sizeof(cases[0]);

    for (i = 0; i < n; i++) {
        text = cases[i].text;
        split(&r, text, strlen(text), 1, 1);

        if (!check(all_cuts(text, strlen(text), cases[i].objects,
                            cases[i].state), "'%s'", text)
            || !check(r.list == (text[strspn(text, " \t\r\n")] == '['),
                      "'%s' is a list, or not", text))
        {
            return;
        }
    }

    ok(1, "%u texts, each cut in all ways", n);
}


static void
test_wrong_byte(void)
{
    uint32_t     i;
    result_t     r;
    const char  *text;

    /* the last byte looked at is the one that cannot be there */

    static const struct {
        const char  *text;
        size_t       bytes;
    } wrong[] = {
        { "x{}", 1 }, { " \tx", 3 }, { "[1]", 2 }, { "[{}, {}x]", 8 },
        { "{\"a\":\"\\\"}\"} x y", 13 }, { "[{},]", 5 }, { "[]x[]", 3 }
    };

    for (i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        text = wrong[i].text;

        split(&r, text, strlen(text), strlen(text), 1);
        is_u64(r.bytes, wrong[i].bytes, "'%s', at once", text);

        split(&r, text, strlen(text), 1, 1);
        is_u64(r.bytes, wrong[i].bytes, "'%s', byte by byte", text);
    }
}


static void
test_nothing_more(void)
{
    size_t       n;
    lrt_span_t   span;
    lrt_split_t  s;

    memset(&s, 0, sizeof(lrt_split_t));

    n = lrt_split(&s, (const uint8_t *) "x{}", 3, &span);
    is_u64(n, 1, "looks no further than what is wrong");
    is_u64(s.state, LRT_SPLIT_WRONG, "which it is");

    n = lrt_split(&s, (const uint8_t *) "{}", 2, &span);
    is_u64(n, 0, "looks at nothing after it");
    is_u64(span.len, 0, "nothing is in an object");
    ok(!span.done, "and none ends");
    is_u64(s.state, LRT_SPLIT_WRONG, "it is still wrong");

    memset(&s, 0, sizeof(lrt_split_t));

    n = lrt_split(&s, NULL, 0, &span);
    is_u64(n, 0, "an empty piece");
    is_u64(s.state, LRT_SPLIT_START, "says nothing");
}


static void
test_random_lists(void)
{
    char      text[TEXT_LEN], objects[TEXT_LEN];
    size_t    len, wanted, n;
    uint32_t  i, j, count;

    for (i = 0; i < tap_times(3000); i++) {

        len = random_blank(text);
        text[len++] = '[';
        len += random_blank(text + len);

        wanted = 0;
        count = tap_below(5);

        for (j = 0; j < count; j++) {

            if (j) {
                text[len++] = ',';
                len += random_blank(text + len);
            }

            n = random_object(text + len, 0);
            memcpy(objects + wanted, text + len, n);
            wanted += n;
            objects[wanted++] = '|';

            len += n;
            len += random_blank(text + len);
        }

        text[len++] = ']';
        len += random_blank(text + len);
        objects[wanted] = '\0';

        if (!check(all_cuts(text, len, objects, LRT_SPLIT_END), "'%.*s'",
                   (int) len, text))
        {
            return;
        }
    }

    ok(1, "random lists, each cut in all ways");
}


/* whatever comes, pieces make no difference, and nothing is out of bounds */

static void
test_garbage(void)
{
    char      text[64];
    size_t    len;
    uint32_t  i, j;
    result_t  r;

    static const char  bytes[] = "{}{}[]\"\"\\,,:: \nax\x00\x80\xff";

    for (i = 0; i < tap_times(20000); i++) {
        len = tap_below(sizeof(text));

        for (j = 0; j < len; j++) {
            text[j] = tap_once_in(8) ? (char) tap_below(256)
                                     : bytes[tap_below(sizeof(bytes))];
        }

        if (len && !tap_once_in(4)) {
            text[0] = tap_once_in(2) ? '[' : '{';
        }

        split(&r, text, len, len, 1);

        if (!check(r.bytes == len || r.state == LRT_SPLIT_WRONG,
                   "stops where it need not")
            || !check(all_cuts(text, len, r.objects, r.state),
                      "garbage of %u bytes", (unsigned) len))
        {
            return;
        }
    }

    ok(1, "garbage");
}


/* in one piece, in two, and byte by byte */

static unsigned
all_cuts(const char *text, size_t len, const char *objects, lrt_split_e state)
{
    size_t    i;
    result_t  r;

    for (i = 0; i <= len; i++) {

        split(&r, text, len, i, len);

        if (!is_result(&r, objects, state)) {
            tap_note("    cut at byte %u", (unsigned) i);
            return 0;
        }
    }

    for (i = 1; i < 4; i++) {

        split(&r, text, len, i, i);

        if (!is_result(&r, objects, state)) {
            tap_note("    in pieces of %u", (unsigned) i);
            return 0;
        }
    }

    return 1;
}


static unsigned
is_result(const result_t *r, const char *objects, lrt_split_e state)
{
    if (strcmp(r->objects, objects) == 0 && r->state == state) {
        return 1;
    }

    tap_note("    got '%s' and state %d, want '%s' and %d", r->objects,
             (int) r->state, objects, (int) state);

    return 0;
}


static void
split(result_t *r, const char *text, size_t len, size_t first, size_t rest)
{
    size_t       n, at;
    lrt_split_t  s;

    r->len = 0;
    r->bytes = 0;

    memset(&s, 0, sizeof(lrt_split_t));

    for (at = 0; at < len; at += n) {
        n = (at == 0) ? first : rest;
        n = n ? n : rest;
        n = (n < len - at) ? n : len - at;

        split_piece(r, &s, text + at, n);
    }

    r->objects[r->len] = '\0';
    r->state = s.state;
    r->list = s.list;
}


static void
split_piece(result_t *r, lrt_split_t *s, const char *p, size_t n)
{
    size_t       i, done, left;
    uint8_t     *copy;
    lrt_span_t   span;

    copy = malloc(n);
    memcpy(copy, p, n);

    for (left = n; left; left -= done) {

        done = lrt_split(s, copy + n - left, left, &span);
        r->bytes += done;

        if (span.len
            && (span.data < copy + n - left
                || span.data + span.len > copy + n - left + done))
        {
            abort();
        }

        /* garbage has bytes that end a text of C */

        for (i = 0; i < span.len; i++) {
            r->objects[r->len++] = span.data[i] ? (char) span.data[i] : '0';
        }

        if (span.done) {
            r->objects[r->len++] = '|';
        }

        if (done == 0 || s->state == LRT_SPLIT_WRONG) {
            break;
        }
    }

    free(copy);
}


static size_t
random_object(char *p, unsigned depth)
{
    size_t    len;
    uint32_t  i, n;
    unsigned  list;

    len = 0;
    list = depth && tap_once_in(2);
    p[len++] = list ? '[' : '{';

    n = tap_below(4);

    for (i = 0; i < n; i++) {

        if (i) {
            p[len++] = ',';
        }

        if (!list) {
            len += random_string(p + len);
            p[len++] = ':';
        }

        len += (depth < 3 && tap_once_in(3))
               ? random_object(p + len, depth + 1) : random_string(p + len);
    }

    p[len++] = list ? ']' : '}';

    return len;
}


static size_t
random_string(char *p)
{
    size_t    len;
    uint32_t  i, n;

    static const char  bytes[] = "{}[],:ab \"\\";

    len = 0;
    p[len++] = '"';

    n = tap_below(6);

    for (i = 0; i < n; i++) {
        p[len] = bytes[tap_below(sizeof(bytes) - 1)];

        if (p[len] == '"' || p[len] == '\\') {
            p[len + 1] = p[len];
            p[len++] = '\\';
        }

        len++;
    }

    p[len++] = '"';

    return len;
}


static size_t
random_blank(char *p)
{
    uint32_t  i, n;

    n = tap_once_in(3) ? tap_below(4) : 0;

    for (i = 0; i < n; i++) {
        p[i] = " \t\r\n"[tap_below(4)];
    }

    return n;
}
