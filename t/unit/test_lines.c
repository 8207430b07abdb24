
/*
 * Copyright (C) the ngx_http_lrt_upstream_module authors
 *
 * Lines in a JSON text: documents are written at random, and where each
 * element and each name was put is remembered.
 */


#include "tap.h"

#include "lrt_split.h"


#define TEXT                 65536
#define ELEMENTS             20


typedef struct {
    char                 text[TEXT];
    size_t               len;
    uint32_t             line;
    uint32_t             element[ELEMENTS];
    uint32_t             n;
    uint32_t             name;           /* line of the list's name */
} doc_t;


static void test_lines(void);
static void test_by_hand(void);
static void test_any_bytes(void);
static void generate(doc_t *d);
static void put(doc_t *d, const char *text);
static void space(doc_t *d);
static void string(doc_t *d);
static void value(doc_t *d, unsigned depth);
static void member(doc_t *d, const char *name);
static uint32_t line(const char *text, const char *name, uint32_t n);


static doc_t  doc;


int
main(void)
{
    tap_begin();

    run(test_lines);
    run(test_by_hand);
    run(test_any_bytes);

    return tap_end();
}


static void
test_lines(void)
{
    uint32_t  i, k, times;

    times = tap_times(5000);

    for (k = 0; k < times; k++) {

        generate(&doc);

        for (i = 0; i < doc.n; i++) {
            if (!check(line(doc.text, "servers", i) == doc.element[i],
                       "element %u is on line %u, not %u:\n%s", i,
                       doc.element[i], line(doc.text, "servers", i), doc.text))
            {
                return;
            }
        }

        if (!check(line(doc.text, "servers", LRT_SPLIT_NAME) == doc.name,
                   "the name is on line %u:\n%s", doc.name, doc.text))
        {
            return;
        }
    }

    ok(1, "%u documents", times);
}


static void
test_by_hand(void)
{
    is_u64(line("{\"servers\":[1,\n2]}", "servers", 0), 1, "the first");
    is_u64(line("{\"servers\":[1,\n2]}", "servers", 1), 2, "the second");
    is_u64(line("{\"servers\":\n[\n\n{\n},\n[\n]]}", "servers", 1), 6,
           "a list in the list");
    is_u64(line("{\"a\":\"servers\",\n\"servers\":[\n1]}", "servers", 0), 3,
           "a value that reads like the name");
    is_u64(line("{\"a\":\"servers\",\n\"servers\":[\n1]}", "servers",
                LRT_SPLIT_NAME), 2, "which is not the name");
    is_u64(line("{\"a\":{\"servers\":[\n1]},\n\"servers\":[\n1]}", "servers",
                0), 4, "the same name further inside");
    is_u64(line("{\"servers\":[\"\\\"],\",\n2]}", "servers", 1), 2,
           "an escaped quote");

    /* what is not there is at the end */

    is_u64(line("{\n\n}", "servers", 0), 3, "no list");
    is_u64(line("{\"servers\":[\n1\n]\n}", "servers", 7), 4, "no such element");
    is_u64(line("", "servers", 0), 1, "nothing");
}


/* it is called for good texts only, but should survive any */

static void
test_any_bytes(void)
{
    uint32_t           i, k, n, lines, times;
    uint8_t           *text;
    static const char  some[] = "{}[]\",:\\\n servers1";

    times = tap_times(20000);

    for (k = 0; k < times; k++) {

        n = tap_below(60);
        lines = 1;

        /* the sanitizer sees a step over its end */

        text = malloc(n);

        for (i = 0; i < n; i++) {
            text[i] = (uint8_t) some[tap_below(sizeof(some) - 1)];
            lines += (text[i] == '\n');
        }

        i = lrt_split_line(text, n, "servers", tap_below(4));

        if (!check(i >= 1 && i <= lines, "line %u of %u", i, lines)) {
            return;
        }

        free(text);
    }

    ok(1, "%u texts", times);
}


static void
generate(doc_t *d)
{
    uint32_t  i, before, after;

    d->len = 0;
    d->line = 1;
    d->n = tap_below(ELEMENTS + 1);

    before = tap_below(4);
    after = tap_below(4);

    space(d);
    put(d, "{");

    for (i = 0; i < before; i++) {
        member(d, NULL);
        put(d, ",");
    }

    space(d);
    d->name = d->line;
    put(d, "\"servers\"");
    space(d);
    put(d, ":");
    space(d);
    put(d, "[");

    for (i = 0; i < d->n; i++) {
        space(d);
        d->element[i] = d->line;
        value(d, 0);
        space(d);
        put(d, i + 1 < d->n ? "," : "");
    }

    space(d);
    put(d, "]");

    for (i = 0; i < after; i++) {
        put(d, ",");
        member(d, NULL);
    }

    space(d);
    put(d, "}");
    space(d);
}


static void
put(doc_t *d, const char *text)
{
    size_t  i, len;

    len = strlen(text);

    for (i = 0; i < len; i++) {
        d->line += (text[i] == '\n');
    }

    memcpy(d->text + d->len, text, len + 1);
    d->len += len;
}


static void
space(doc_t *d)
{
    static const char *const  some[] = { "", "", " ", "\n", "\t", "\r\n" };

    while (!tap_once_in(3)) {
        put(d, some[tap_below(6)]);
    }
}


static void
string(doc_t *d)
{
    static const char *const  some[] = {
        "a", "servers", "\\\"", "\\\\", "[", "]", "{", "}", ",", ":", "\\n"
    };

    put(d, "\"x");

    while (!tap_once_in(3)) {
        put(d, some[tap_below(11)]);
    }

    put(d, "\"");
}


static void
value(doc_t *d, unsigned depth)
{
    uint32_t  n;

    switch (tap_below(depth < 3 ? 5 : 2)) {

    case 0:
        put(d, "-12.5e3");
        return;

    case 1:
        string(d);
        return;

    case 2:
        put(d, "\"servers\"");
        return;

    case 3:
        put(d, "[");
        space(d);

        for (n = tap_below(4); n; n--) {
            value(d, depth + 1);
            space(d);
            put(d, n > 1 ? "," : "");
            space(d);
        }

        put(d, "]");
        return;

    default:
        put(d, "{");
        space(d);

        for (n = tap_below(4); n; n--) {
            member(d, tap_once_in(3) ? "\"servers\"" : NULL);
            put(d, n > 1 ? "," : "");
        }

        space(d);
        put(d, "}");
        return;
    }
}


static void
member(doc_t *d, const char *name)
{
    space(d);

    if (name) {
        put(d, name);

    } else {
        string(d);
    }

    space(d);
    put(d, ":");
    space(d);
    value(d, 1);
    space(d);
}


static uint32_t
line(const char *text, const char *name, uint32_t n)
{
    return lrt_split_line((const uint8_t *) text, strlen(text), name, n);
}
