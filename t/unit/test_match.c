
/*
 * Copyright (C) the ngx_http_lrt_upstream_module authors
 *
 * Regular expressions are words here that have to be found in the text.
 */


#include "tap.h"
#include "lrt_header.h"
#include "lrt_match.h"


#define string(s)    { sizeof(s) - 1, s }


typedef struct {
    lrt_str_t            name;
    lrt_str_t            value;
} header_t;


static void test_default(void);
static void test_statuses(void);
static void test_header_tests(void);
static void test_all_bits(void);
static void test_bodies(void);
static void test_first_failure(void);
static void test_lists(void);
static void test_names(void);
static lrt_match_verdict_t verdict(const lrt_match_t *m, uint32_t status,
    const header_t *headers, uint32_t n, const char *body);
static unsigned passes(const lrt_match_t *m, uint32_t status,
    const header_t *headers, uint32_t n, const char *body);
static unsigned find_word(void *regex, const char *data, size_t len);
static lrt_str_t text(const char *s);


static uint32_t  regex_calls;


int
main(void)
{
    tap_begin();

    run(test_default);
    run(test_statuses);
    run(test_header_tests);
    run(test_all_bits);
    run(test_bodies);
    run(test_first_failure);
    run(test_lists);
    run(test_names);

    return tap_end();
}


static void
test_default(void)
{
    uint32_t  status;

    for (status = 100; status < 600; status++) {
        if (!check(passes(&lrt_match_default, status, NULL, 0, "")
                   == (status >= 200 && status <= 399), "status %u", status))
        {
            return;
        }
    }

    ok(!lrt_match_wants_body(&lrt_match_default), "200 to 399, and no more");
}


static void
test_statuses(void)
{
    uint32_t     status, listed;
    unsigned     negated;
    lrt_match_t  m;

    memset(&m, 0, sizeof(lrt_match_t));

    ok(passes(&m, 500, NULL, 0, ""), "without tests any status will do");

    for (negated = 0; negated < 2; negated++) {

        m.statuses = LRT_MATCH_STATUSES;
        m.negated = negated;

        /* 300-301, 304-305, .. 424-425 */

        for (listed = 0; listed < m.statuses; listed++) {
            m.status[listed].low = (uint16_t) (300 + 4 * listed);
            m.status[listed].high = (uint16_t) (301 + 4 * listed);
        }

        for (status = 100; status < 600; status++) {
            listed = (status >= 300 && status <= 425 && status % 4 < 2);

            if (!check(passes(&m, status, NULL, 0, "") == (listed ^ negated),
                       "status %u, negated: %u", status, negated))
            {
                return;
            }
        }
    }

    is_u64(verdict(&m, 300, NULL, 0, "").reason, LRT_CHECK_STATUS,
           "the reason is named");
}


static void
test_header_tests(void)
{
    uint32_t            i, j, want;
    lrt_match_t         m;
    lrt_match_header_t *test;

    static const struct {
        const char  *name;
        header_t     header[3];
        uint32_t     n;
    } responses[] = {
        { "none", { { string(""), string("") } }, 0 },
        { "another", { { string("Server"), string("a") } }, 1 },
        { "the value", { { string("type"), string("a") } }, 1 },
        { "in it", { { string("TYPE"), string("bab") } }, 1 },
        { "other case", { { string("Type"), string("A") } }, 1 },
        { "empty", { { string("Type"), string("") } }, 1 },
        { "twice", { { string("Type"), string("x") },
                     { string("Server"), string("y") },
                     { string("type"), string("a") } }, 3 },
        { "twice, the first", { { string("Type"), string("a") },
                                { string("Type"), string("x") } }, 2 },
        { "longer name", { { string("Types"), string("a") } }, 1 }
    };

    /* by response: one digit each for present, "= a" and "~ a" */

    static const char  *met[] = { "000", "000", "111", "101", "100", "100",
                                  "111", "111", "000" };

    memset(&m, 0, sizeof(lrt_match_t));

    m.regex = find_word;
    m.headers = 1;
    test = &m.header[0];
    test->name = text("Type");
    test->value = text("a");
    test->regex = "a";

    for (i = 0; i < sizeof(responses) / sizeof(responses[0]); i++) {

        for (j = 0; j < 6; j++) {
            test->op = (lrt_match_op_e) (j % 3);
            test->negated = (j >= 3);

            want = (uint32_t) (met[i][j % 3] - '0') ^ (j >= 3);

            if (!check(passes(&m, 500, responses[i].header, responses[i].n,
                              "") == want,
                       "%s: test %u, negated: %u", responses[i].name, j % 3,
                       j >= 3))
            {
                return;
            }
        }
    }

    ok(1, "present, = and ~, and their negations");
}


/* each test has a bit of its own */

static void
test_all_bits(void)
{
    uint32_t             i;
    header_t             headers[LRT_MATCH_HEADERS];
    lrt_match_t          m;
    lrt_match_verdict_t  v;

    static const char  name[] = "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx";

    memset(&m, 0, sizeof(lrt_match_t));

    m.headers = LRT_MATCH_HEADERS;

    for (i = 0; i < LRT_MATCH_HEADERS; i++) {
        m.header[i].name.data = name;
        m.header[i].name.len = i + 1;

        headers[i].name = m.header[i].name;
        headers[i].value = text("");
    }

    ok(passes(&m, 200, headers, LRT_MATCH_HEADERS, ""), "all of them");

    for (i = 0; i < LRT_MATCH_HEADERS; i++) {

        headers[i].name = text("y");
        v = verdict(&m, 200, headers, LRT_MATCH_HEADERS, "");
        headers[i].name = m.header[i].name;

        if (!check(v.reason == LRT_CHECK_HEADER_TEST && v.test == i,
                   "all but %u: reason %u, test %u", i, v.reason, v.test))
        {
            return;
        }
    }

    ok(1, "each one is missed");
}


static void
test_bodies(void)
{
    lrt_match_t  m;

    memset(&m, 0, sizeof(lrt_match_t));

    m.regex = find_word;
    ok(!lrt_match_wants_body(&m), "no test needs no body");

    m.bodies = 2;
    m.body[0].regex = "Welcome";
    m.body[1].regex = "error";
    m.body[1].negated = 1;

    ok(lrt_match_wants_body(&m), "a test needs it");
    ok(passes(&m, 200, NULL, 0, "Welcome to it"), "both hold");
    ok(!passes(&m, 200, NULL, 0, "Welcome to errors"), "what must not be");
    ok(!passes(&m, 200, NULL, 0, ""), "what is missing");

    is_u64(verdict(&m, 200, NULL, 0, "").test, 0, "it was the first");
    is_u64(verdict(&m, 200, NULL, 0, "Welcome, error").test, 1,
           "it was the second");
    is_u64(verdict(&m, 200, NULL, 0, "").reason, LRT_CHECK_BODY_TEST,
           "the reason is named");
}


static void
test_first_failure(void)
{
    lrt_match_t          m;
    lrt_match_verdict_t  v;

    static const header_t  headers[] = {
        { string("A"), string("b") }, { string("A"), string("c") }
    };

    memset(&m, 0, sizeof(lrt_match_t));

    m.regex = find_word;
    m.statuses = 1;
    m.status[0].low = 200;
    m.status[0].high = 200;
    m.headers = 2;
    m.header[0].name = text("A");
    m.header[1].name = text("A");
    m.header[1].op = LRT_MATCH_REGEX;
    m.header[1].regex = "b";
    m.header[1].negated = 1;
    m.bodies = 1;
    m.body[0].regex = "x";

    regex_calls = 0;

    v = verdict(&m, 500, headers, 2, "x");
    is_u64(v.reason, LRT_CHECK_STATUS, "the status goes first");

    v = verdict(&m, 200, headers, 2, "");
    is_u64(v.reason, LRT_CHECK_HEADER_TEST, "then headers");
    is_u64(v.test, 1, "and their second test");
    is_u64(regex_calls, 2, "which is decided by the first value");

    m.header[1].negated = 0;
    v = verdict(&m, 200, headers, 2, "");
    is_u64(v.reason, LRT_CHECK_BODY_TEST, "then the body");

    v = verdict(&m, 200, headers, 2, "x");
    is_u64(v.reason, LRT_CHECK_PASSED, "and then nothing");
}


static void
test_lists(void)
{
    uint32_t   i;
    lrt_str_t  value, token;

    static const struct {
        const char  *value;
        unsigned     found;
    } lists[] = {
        { "", 0 }, { ",", 0 }, { "close", 1 }, { "Close", 1 }, { " close ", 1 },
        { "a,close", 1 }, { "close,a", 1 }, { "a, \tclose\t ,b", 1 },
        { ",,close,,", 1 }, { "closed", 0 }, { "a close", 0 },
        { "close;a", 0 }, { "clos,e", 0 }
    };

    token = text("close");

    for (i = 0; i < sizeof(lists) / sizeof(lists[0]); i++) {
        value = text(lists[i].value);

        if (!check(lrt_header_lists(&value, &token) == lists[i].found, "'%s'",
                   lists[i].value))
        {
            return;
        }
    }

    ok(1, "a token in a list");
}


static void
test_names(void)
{
    lrt_str_t  a, b;

    a = text("");
    ok(!lrt_header_name(&a), "a name has a letter");

    a = text("X-Under_score.9");
    ok(lrt_header_name(&a), "and many others");

    b = text("x-uNDER_SCORE.9");
    ok(lrt_header_is(&a, &b), "case makes no difference");

    /* pairs that differ by 0x20 and are no letters */

    a = text("X^");
    b = text("X~");
    ok(!lrt_header_is(&a, &b), "to letters only");

    a = text("X@");
    b = text("X`");
    ok(!lrt_header_is(&a, &b), "and not next to them");
}


static lrt_match_verdict_t
verdict(const lrt_match_t *m, uint32_t status, const header_t *headers,
    uint32_t n, const char *body)
{
    uint32_t         i;
    lrt_str_t        s;
    lrt_match_run_t  r;

    memset(&r, 0, sizeof(lrt_match_run_t));

    for (i = 0; i < n; i++) {
        lrt_match_header(m, &r, &headers[i].name, &headers[i].value);
    }

    s = text(body);

    return lrt_match_verdict(m, &r, status, &s);
}


static unsigned
passes(const lrt_match_t *m, uint32_t status, const header_t *headers,
    uint32_t n, const char *body)
{
    return verdict(m, status, headers, n, body).reason == LRT_CHECK_PASSED;
}


/* what is true need not be 1 */

static unsigned
find_word(void *regex, const char *data, size_t len)
{
    size_t  i, n;

    regex_calls++;

    n = strlen(regex);

    for (i = 0; i + n <= len; i++) {
        if (memcmp(data + i, regex, n) == 0) {
            return 2;
        }
    }

    return 0;
}


static lrt_str_t
text(const char *s)
{
    lrt_str_t  r;

    r.data = s;
    r.len = strlen(s);

    return r;
}
