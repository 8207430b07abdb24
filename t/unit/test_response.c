
/*
 * Copyright (C) the ngx_http_lrt_upstream_module authors
 *
 * A response is cut in all ways there are, and each piece lies in memory of
 * its own, so that a step beyond its end, or into an earlier one, is seen.
 */


#include "tap.h"
#include "lrt_header.h"
#include "lrt_response.h"


#define OUT_LEN      (LRT_RESPONSE_HEAD + LRT_RESPONSE_BODY)

#define HEAD         "HTTP/1.1 200 OK\r\n"
#define CHUNKED      HEAD "Transfer-Encoding: chunked\r\n\r\n"
#define NOTE         "Transfer-Encoding=chunked;"


/* what came out of a response, and how it ended */

typedef struct {
    char                 headers[OUT_LEN];
    char                 body[OUT_LEN];
    size_t               nheaders;
    size_t               nbody;
    char                 open[64];       /* as long as nobody closes */
    char                 closed[64];
} result_t;


typedef struct {
    const char          *text;
    size_t               len;
    const char          *open;
    const char          *closed;
    const char          *headers;        /* NULL: it does not matter */
    const char          *body;
} case_t;


static void test_cases(void);
static void test_reused(void);
static void test_header_bytes(void);
static void test_status_bytes(void);
static void test_every_status(void);
static void test_interim(void);
static void test_line_limit(void);
static void test_head_limit(void);
static void test_body_limit(void);
static void test_framing_limit(void);
static void test_garbage(void);
static void test_reasons(void);
static unsigned is_case(const case_t *c);
static unsigned is_limit(const char *text, size_t len, const char *open,
    const char *closed);
static unsigned all_cuts(const char *text, size_t len, const result_t *want);
static unsigned is_result(const result_t *r, const result_t *want);
static void parse(result_t *r, const char *text, size_t len, size_t first,
    size_t rest);
static void parse_piece(lrt_response_t *response, const char *p, size_t n,
    result_t *r);
static void on_header(void *data, const lrt_str_t *name,
    const lrt_str_t *value);
static void on_body(void *data, const char *p, size_t len);
static void verdict(char *out, const lrt_response_t *r, lrt_response_rc_e rc);


#define bytes(s)                 s, sizeof(s) - 1

#define good(s, open, headers, body)  { bytes(s), open, "200", headers, body }
#define wrong(s, reason)              { bytes(s), reason, reason, NULL, NULL }
#define cut(s, reason)                { bytes(s), "again", reason, NULL, NULL }


#define STATUS_LINE  "malformed status line"
#define VERSION      "unsupported version of http"
#define HEADER       "malformed header line"
#define BARE_LF      "line ends without a carriage return"
#define LENGTH       "bad content length"
#define CODING       "unknown transfer encoding"
#define CHUNK        "malformed chunk"
#define CLOSED       "connection closed before a full response header"
#define TRUNCATED    "connection closed within the response body"


static const case_t  cases[] = {

    /* framed by length */

    good(HEAD "Content-Length: 5\r\n\r\nhello", "200 keep",
         "Content-Length=5;", "hello"),
    good(HEAD "content-length:5\r\n\r\nhello", "200 keep",
         "content-length=5;", "hello"),
    good(HEAD "Content-Length: 0\r\n\r\n", "200 keep",
         "Content-Length=0;", ""),
    good(HEAD "Content-Length: 000000000000000000000001\r\n\r\nx", "200 keep",
         "Content-Length=000000000000000000000001;", "x"),

    /* framed by the connection */

    { bytes(HEAD "\r\n"), "again", "200", "", "" },
    { bytes(HEAD "A: b\r\n\r\nto the end\n"), "again", "200", "A=b;",
      "to the end\n" },
    { bytes("HTTP/1.0 200 OK\r\nConnection: keep-alive\r\n\r\nx"), "again",
      "200", "Connection=keep-alive;", "x" },

    /* framed by chunks */

    good(CHUNKED "5\r\nhello\r\n0\r\n\r\n", "200 keep", NOTE, "hello"),
    good(CHUNKED "0\r\n\r\n", "200 keep", NOTE, ""),
    good(CHUNKED "1\r\na\r\n02\r\nbc\r\n000\r\n\r\n", "200 keep", NOTE, "abc"),
    good(CHUNKED "A\r\n0123456789\r\nb\r\n0123456789a\r\n0\r\n\r\n",
         "200 keep", NOTE, "01234567890123456789a"),
    good(CHUNKED "2\r\n\r\n\r\n0\r\n\r\n", "200 keep", NOTE, "\r\n"),
    good(CHUNKED "1;a=b;c=\"d\"\r\nx\r\n0 ; e\r\n\r\n", "200 keep", NOTE, "x"),
    good(CHUNKED "1  \t\r\nx\r\n0\r\n\r\n", "200 keep", NOTE, "x"),
    good(CHUNKED "1\r\nx\r\n0\r\nA: b\r\nContent-Length: 7\r\n\r\n",
         "200 keep", NOTE, "x"),
    good(HEAD "Transfer-Encoding: Chunked\r\n\r\n0\r\n\r\n", "200 keep",
         "Transfer-Encoding=Chunked;", ""),

    /* headers */

    good(HEAD "A:\r\nB: \t \r\nC: \t c c \t\r\nContent-Length: 0\r\n\r\n",
         "200 keep", "A=;B=;C=c c;Content-Length=0;", ""),
    good(HEAD "A: a:b\r\nA: \x80\xff\tb\r\nContent-Length: 0\r\n\r\n",
         "200 keep", "A=a:b;A=\x80\xff\tb;Content-Length=0;", ""),

    /* status lines */

    good("HTTP/1.1 200\r\nContent-Length: 0\r\n\r\n", "200 keep", NULL, ""),
    good("HTTP/1.1 200 \r\nContent-Length: 0\r\n\r\n", "200 keep", NULL, ""),
    good("HTTP/1.1 200 \xc3\xa4\t !\r\nContent-Length: 0\r\n\r\n", "200 keep",
         NULL, ""),

    /* the connection */

    good(HEAD "Content-Length: 0\r\nConnection: close\r\n\r\n", "200", NULL,
         ""),
    good(HEAD "Content-Length: 0\r\nConnection: a, CLOSE ,b\r\n\r\n", "200",
         NULL, ""),
    good(HEAD "Content-Length: 0\r\nConnection: close, keep-alive\r\n\r\n",
         "200", NULL, ""),
    good(HEAD "Content-Length: 0\r\nConnection: closed,,\r\n\r\n", "200 keep",
         NULL, ""),
    good(HEAD "Content-Length: 0\r\nConnection: a\r\nConnection: close\r\n\r\n",
         "200", NULL, ""),
    good("HTTP/1.0 200 OK\r\nContent-Length: 1\r\n\r\nx", "200", NULL, "x"),
    good("HTTP/1.0 200 OK\r\nContent-Length: 1\r\nConnection: Keep-Alive\r\n"
         "\r\nx", "200 keep", NULL, "x"),
    good("HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n"
         "Connection: keep-alive\r\n\r\n1\r\nx\r\n0\r\n\r\n", "200", NULL,
         "x"),

    /* what comes after the end */

    good(HEAD "Content-Length: 1\r\n\r\nx!", "200", NULL, "x"),
    good(HEAD "Content-Length: 0\r\n\r\n\n", "200", NULL, ""),
    good(CHUNKED "0\r\n\r\n\r\n", "200", NULL, ""),
    good(HEAD "Content-Length: 1\r\n\r\nx" HEAD "\r\n", "200", NULL, "x"),

    /* without a body, whatever is said of it */

    { bytes("HTTP/1.1 204 No\r\n\r\n"), "204 keep", "204", "", "" },
    { bytes("HTTP/1.1 204 No\r\nContent-Length: 5\r\n\r\n"), "204 keep",
      "204", NULL, "" },
    { bytes("HTTP/1.1 304 No\r\nTransfer-Encoding: chunked\r\n\r\n"),
      "304 keep", "304", NULL, "" },
    { bytes("HTTP/1.1 304 No\r\nContent-Length: 5\r\n\r\nhello"), "304",
      "304", NULL, "" },

    /* 1xx, of which nothing is left */

    good("HTTP/1.1 100 Continue\r\n\r\n" HEAD "Content-Length: 1\r\n\r\nx",
         "200 keep", "Content-Length=1;", "x"),
    good("HTTP/1.1 103 Early\r\nLink: a\r\nContent-Length: 9\r\n"
         "Transfer-Encoding: x\r\nConnection: close\r\n\r\n"
         "HTTP/1.1 102 x\r\n\r\n" HEAD "Content-Length: 1\r\n\r\nx",
         "200 keep", "Content-Length=1;", "x"),
    wrong("HTTP/1.1 101 Switching\r\nUpgrade: x\r\n\r\n",
          "switches protocols unasked"),
    wrong("HTTP/1.1 100 Continue\r\nA b\r\n\r\n", HEADER),
    cut("HTTP/1.1 100 Continue\r\n\r\n", CLOSED),

    /* no response at all */

    cut("", CLOSED),
    wrong("\r\n" HEAD, STATUS_LINE),
    wrong("\n", STATUS_LINE),
    wrong("hello", STATUS_LINE),
    wrong("<html>", STATUS_LINE),
    wrong("SSH-2.0-OpenSSH\r\n", STATUS_LINE),
    wrong("220 ready\r\n", STATUS_LINE),
    wrong("\x15\x03\x01\x00\x02\x02\x28", STATUS_LINE),
    wrong("http/1.1 200 OK\r\n", STATUS_LINE),
    wrong("HTTPS/1.1 200 OK\r\n", STATUS_LINE),
    wrong("HTTP\r\n", STATUS_LINE),
    wrong(" " HEAD, STATUS_LINE),
    wrong("A: b\r\n\r\n", STATUS_LINE),

    wrong("HTTP/\r\n", STATUS_LINE),
    wrong("HTTP/x.1 200 OK\r\n", STATUS_LINE),
    wrong("HTTP/ 1.1 200 OK\r\n", STATUS_LINE),
    wrong("HTTP/9.9 999\r\n", VERSION),
    wrong("HTTP/2 200\r\n", VERSION),
    wrong("HTTP/2.0 200 OK\r\n", VERSION),
    wrong("HTTP/1.2 200 OK\r\n", VERSION),
    wrong("HTTP/0.9 200 OK\r\n", VERSION),
    wrong("HTTP/01.1 200 OK\r\n", VERSION),
    wrong("HTTP/1\r\n", VERSION),

    wrong("HTTP/1.1\r\n", STATUS_LINE),
    wrong("HTTP/1.1 \r\n", STATUS_LINE),
    wrong("HTTP/1.1 20\r\n", STATUS_LINE),
    wrong("HTTP/1.1 2000 OK\r\n", STATUS_LINE),
    wrong("HTTP/1.1  200 OK\r\n", STATUS_LINE),
    wrong("HTTP/1.1\t200 OK\r\n", STATUS_LINE),
    wrong("HTTP/1.11 200 OK\r\n", STATUS_LINE),
    wrong("HTTP/1.1 200OK\r\n", STATUS_LINE),
    wrong("HTTP/1.1 -20 OK\r\n", STATUS_LINE),
    wrong("HTTP/1.1 099 OK\r\n", STATUS_LINE),
    wrong("HTTP/1.1 600 OK\r\n", STATUS_LINE),
    wrong("HTTP/1.1 999 OK\r\n", STATUS_LINE),
    wrong("HTTP/1.1 2x0 OK\r\n", STATUS_LINE),
    wrong("HTTP/1.1 20x OK\r\n", STATUS_LINE),
    wrong("HTTP/1.1 200 O\x00K\r\n", STATUS_LINE),
    wrong("HTTP/1.1 200 O\rK\r\n", STATUS_LINE),
    wrong("HTTP/1.1 200 OK\r\r\n", STATUS_LINE),

    /* lines */

    wrong("HTTP/1.1 200 OK\n\n", BARE_LF),
    wrong(HEAD "A: b\n\r\n", BARE_LF),
    wrong(HEAD "\n", BARE_LF),
    wrong(HEAD "A: b\r\n\n", BARE_LF),
    wrong(CHUNKED "1\nx\r\n0\r\n\r\n", BARE_LF),
    wrong(CHUNKED "1\r\nx\n0\r\n\r\n", BARE_LF),
    wrong(CHUNKED "1\r\nx\r\n0\r\n\n", BARE_LF),

    wrong(HEAD "A\r\n", HEADER),
    wrong(HEAD ": b\r\n", HEADER),
    wrong(HEAD "A : b\r\n", HEADER),
    wrong(HEAD " A: b\r\n", HEADER),
    wrong(HEAD "A b: c\r\n", HEADER),
    wrong(HEAD "A: b\r\n c\r\n", HEADER),
    wrong(HEAD "A: b\r\n\tc: d\r\n", HEADER),
    wrong(HEAD "A: b\x00\r\n", HEADER),
    wrong(HEAD "A\x00: b\r\n", HEADER),
    wrong(HEAD "A: b\rC: d\r\n", HEADER),
    wrong(HEAD "A: \x7f\r\n", HEADER),
    wrong(HEAD "\r\r\n", HEADER),
    wrong(CHUNKED "0\r\nA b\r\n\r\n", HEADER),
    wrong(CHUNKED "0\r\n A: b\r\n\r\n", HEADER),

    /* lengths */

    wrong(HEAD "Content-Length:\r\n\r\n", LENGTH),
    wrong(HEAD "Content-Length: -1\r\n\r\n", LENGTH),
    wrong(HEAD "Content-Length: +1\r\n\r\n", LENGTH),
    wrong(HEAD "Content-Length: 0x1\r\n\r\n", LENGTH),
    wrong(HEAD "Content-Length: 1 1\r\n\r\n", LENGTH),
    wrong(HEAD "Content-Length: 1,1\r\n\r\n", LENGTH),
    wrong(HEAD "Content-Length: 9223372036854775808\r\n\r\n", LENGTH),
    wrong(HEAD "Content-Length: 18446744073709551615\r\n\r\n", LENGTH),
    wrong(HEAD "Content-Length: 18446744073709551617\r\n\r\n", LENGTH),
    wrong(HEAD "Content-Length: 99999999999999999999999999\r\n\r\n", LENGTH),
    wrong(HEAD "Content-Length: 1\r\nContent-Length: 2\r\n\r\n", LENGTH),
    wrong(HEAD "Content-Length: 1\r\nContent-Length: 1\r\n\r\nx", LENGTH),
    wrong(HEAD "Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
          LENGTH),
    wrong(HEAD "Transfer-Encoding: chunked\r\nContent-Length: 1\r\n\r\n",
          LENGTH),
    wrong("HTTP/1.1 204 No\r\nContent-Length: x\r\n\r\n", LENGTH),

    cut(HEAD "Content-Length: 9223372036854775807\r\n\r\nx", TRUNCATED),
    cut(HEAD "Content-Length: 5\r\n\r\nhell", TRUNCATED),
    cut(HEAD "Content-Length: 5\r\n\r\n", TRUNCATED),
    cut(HEAD "Content-Length: 5\r\n\r", CLOSED),
    cut(HEAD, CLOSED),
    cut("HTTP/1.1 200 O", CLOSED),
    cut("H", CLOSED),

    /* codings */

    wrong(HEAD "Transfer-Encoding: gzip\r\n\r\n", CODING),
    wrong(HEAD "Transfer-Encoding: gzip, chunked\r\n\r\n", CODING),
    wrong(HEAD "Transfer-Encoding: chunked, chunked\r\n\r\n", CODING),
    wrong(HEAD "Transfer-Encoding: xchunked\r\n\r\n", CODING),
    wrong(HEAD "Transfer-Encoding:\r\n\r\n", CODING),
    wrong(HEAD "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n"
          "\r\n0\r\n\r\n", CODING),

    /* chunks */

    wrong(CHUNKED "\r\n", CHUNK),
    wrong(CHUNKED ";a\r\n", CHUNK),
    wrong(CHUNKED " 1\r\nx\r\n", CHUNK),
    wrong(CHUNKED "g\r\n", CHUNK),
    wrong(CHUNKED "-1\r\n", CHUNK),
    wrong(CHUNKED "0x1\r\nx\r\n", CHUNK),
    wrong(CHUNKED "1 1\r\nx\r\n", CHUNK),
    wrong(CHUNKED "1;\x00\r\nx\r\n", CHUNK),
    wrong(CHUNKED "1;a\rb\r\nx\r\n", CHUNK),
    wrong(CHUNKED "8000000000000000\r\n", CHUNK),
    wrong(CHUNKED "ffffffffffffffff\r\n", CHUNK),
    wrong(CHUNKED "10000000000000001\r\nx\r\n", CHUNK),
    wrong(CHUNKED "100000000000000000000000000000001\r\nx\r\n", CHUNK),
    wrong(CHUNKED "1\r\nxy\r\n", CHUNK),
    wrong(CHUNKED "1\r\nx0\r\n\r\n", CHUNK),
    wrong(CHUNKED "1\r\nx\rx", CHUNK),

    cut(CHUNKED, TRUNCATED),
    cut(CHUNKED "7fffffffffffffff\r\nx", TRUNCATED),
    cut(CHUNKED "1\r\nx\r", TRUNCATED),
    cut(CHUNKED "1\r\nx\r\n", TRUNCATED),
    cut(CHUNKED "1\r\nx\r\n0\r\n", TRUNCATED),
    cut(CHUNKED "1\r\nx\r\n0\r\nA: b\r\n", TRUNCATED),
};


int
main(void)
{
    tap_begin();

    run(test_cases);
    run(test_reused);
    run(test_header_bytes);
    run(test_status_bytes);
    run(test_every_status);
    run(test_interim);
    run(test_line_limit);
    run(test_head_limit);
    run(test_body_limit);
    run(test_framing_limit);
    run(test_garbage);
    run(test_reasons);

    return tap_end();
}


static void
test_cases(void)
{
    uint32_t  i, n;

    n = sizeof(cases) / sizeof(cases[0]);

    for (i = 0; i < n; i++) {
        if (!check(is_case(&cases[i]), "'%s'", cases[i].text)) {
            return;
        }
    }

    ok(1, "%u responses, each cut in all ways", n);
}


/* handlers are for who wants them; late bytes are late whenever they come */

static void
test_reused(void)
{
    char                    line[LRT_RESPONSE_LINE];
    lrt_response_t          r;
    lrt_response_handler_t  none;

    static const char  text[] = HEAD "Content-Length: 1\r\n\r\nx";

    memset(&none, 0, sizeof(lrt_response_handler_t));

    lrt_response_start(&r, line);

    is_u64(lrt_response_read(&r, text, 0, &none), LRT_RESPONSE_AGAIN,
           "nothing says nothing");
    is_u64(lrt_response_read(&r, text, sizeof(text) - 1, &none),
           LRT_RESPONSE_DONE, "a response that nobody looks at");
    is_u64(r.status, 200, "has a status");
    ok(r.keep, "and leaves a connection for the next one");

    is_u64(lrt_response_read(&r, "", 0, &none), LRT_RESPONSE_DONE,
           "no more bytes");
    ok(r.keep, "do no harm");

    is_u64(lrt_response_read(&r, "H", 1, &none), LRT_RESPONSE_DONE,
           "a byte that comes late");
    ok(!r.keep, "spoils it");

    lrt_response_start(&r, line);

    is_u64(lrt_response_read(&r, "x", 1, &none), LRT_RESPONSE_FAILED,
           "what is wrong");
    is_u64(lrt_response_read(&r, text, sizeof(text) - 1, &none),
           LRT_RESPONSE_FAILED, "is not healed by what follows");
    is_u64(r.reason, LRT_CHECK_STATUS_LINE, "and keeps its reason");
    is_u64(r.status, 0, "and its status");
}


/* each byte at the end of a name, and within a value */

static void
test_header_bytes(void)
{
    char      text[64];
    size_t    at, n;
    uint32_t  c, i;
    unsigned  fine;
    result_t  r;

    static const char  token[] = "!#$%&'*+-.^_`|~0123456789"
                                 "abcdefghijklmnopqrstuvwxyz"
                                 "ABCDEFGHIJKLMNOPQRSTUVWXYZ";

    for (i = 0; i < 2; i++) {

        n = (size_t) sprintf(text, HEAD "Ax: bxb\r\nContent-Length: 0\r\n\r\n");
        at = sizeof(HEAD) - 1 + (i ? 5 : 1);

        for (c = 0; c < 256; c++) {

            /* "A::" is a name and a value that begins with a colon */

            fine = i ? (c >= ' ' || c == '\t') && c != 0x7f
                     : (c && strchr(token, (int) c)) || c == ':';

            text[at] = (char) c;
            parse(&r, text, n, n, n);

            if (!check(strcmp(r.open, fine ? "200 keep" : HEADER) == 0
                       || (c == '\n' && strcmp(r.open, BARE_LF) == 0),
                       "byte %u in a %s: %s", c, i ? "value" : "name", r.open))
            {
                return;
            }
        }
    }

    ok(1, "names are tokens, values are text");
}


static void
test_status_bytes(void)
{
    size_t    at, n;
    uint32_t  c;
    result_t  r;

    char  text[] = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";

    n = sizeof(text) - 1;

    /* up to the blank after the status, one byte and no other */

    for (at = 0; at < 13; at++) {

        for (c = 0; c < 256; c++) {
            char  was = text[at];

            text[at] = (char) c;
            parse(&r, text, n, n, n);
            text[at] = was;

            if ((char) c == was
                || (at == 7 && c == '0')
                || (at == 9 && c >= '1' && c <= '5')
                || ((at == 10 || at == 11) && c >= '0' && c <= '9'))
            {
                continue;
            }

            if (!check(strncmp(r.open, "200", 3) != 0
                       && strcmp(r.open, "again") != 0,
                       "byte %u at %u: %s", c, (unsigned) at, r.open))
            {
                return;
            }
        }
    }

    ok(1, "no other byte will do");
}


static void
test_every_status(void)
{
    int       n;
    char      text[64], want[64];
    uint32_t  i;
    result_t  r;

    for (i = 0; i < 1000; i++) {
        n = sprintf(text, "HTTP/1.1 %03u x\r\nContent-Length: 0\r\n\r\n", i);
        parse(&r, text, (size_t) n, (size_t) n, 1);

        sprintf(want, (i < 100 || i > 599) ? STATUS_LINE
                      : (i == 101) ? "switches protocols unasked"
                      : (i < 200) ? "again" : "%u keep", i);

        if (!check(strcmp(r.open, want) == 0, "status %u: %s", i, r.open)) {
            return;
        }
    }

    ok(1, "100 to 599");
}


static void
test_interim(void)
{
    char        text[1024];
    size_t      len;
    uint32_t    i, n;
    result_t    r;

    for (n = 0; n < 21; n++) {

        for (i = 0, len = 0; i < n; i++) {
            len += (size_t) sprintf(text + len, "HTTP/1.1 %u x\r\n\r\n",
                                    i & 1 ? 103 : 100);
        }

        len += (size_t) sprintf(text + len, HEAD "Content-Length: 0\r\n\r\n");
        parse(&r, text, len, len, 1);

        if (!check(strcmp(r.open, n > 8 ? "too many 1xx responses"
                                        : "200 keep") == 0,
                   "%u of 1xx: %s", n, r.open)
            || !check(all_cuts(text, len, &r), "%u of 1xx, in pieces", n))
        {
            return;
        }
    }

    ok(1, "8 and no more are skipped");
}


static void
test_line_limit(void)
{
    char     *text;
    size_t    at, len, extra;
    unsigned  i;

    static const char  *prefix[] = {
        "HTTP/1.1 200 ", HEAD "A:", CHUNKED "0\r\nA:"
    };

    text = malloc(2 * LRT_RESPONSE_LINE);

    for (i = 0; i < 3; i++) {

        /* where the line begins */

        len = strlen(prefix[i]);
        for (at = len; at && prefix[i][at - 1] != '\n'; at--) { /* void */ }

        for (extra = 0; extra < 2; extra++) {
            memset(text, 'x', 2 * LRT_RESPONSE_LINE);
            memcpy(text, prefix[i], len);
            memcpy(text + at + LRT_RESPONSE_LINE - 2 + extra, "\r\n\r\n", 4);

            ok(is_limit(text, at + LRT_RESPONSE_LINE + extra,
                        extra ? "too long header line" : "again",
                        extra ? "too long header line"
                        : (i == 2) ? TRUNCATED : CLOSED),
               "line %u of %u bytes", i,
               (unsigned) (LRT_RESPONSE_LINE + extra));
        }

        memset(text + len, 'x', 2 * LRT_RESPONSE_LINE - len);

        ok(is_limit(text, 2 * LRT_RESPONSE_LINE, "too long header line",
                    "too long header line"),
           "line %u that never ends", i);
    }

    len = strlen(CHUNKED "1;");
    at = strlen(CHUNKED);

    for (extra = 0; extra < 2; extra++) {
        memset(text, 'x', LRT_RESPONSE_LINE);
        memcpy(text, CHUNKED "1;", len);
        memcpy(text + at + LRT_RESPONSE_CHUNK - 2 + extra,
               "\r\nx\r\n0\r\n\r\n", 10);

        ok(is_limit(text, at + LRT_RESPONSE_CHUNK + 8 + extra,
                    extra ? CHUNK : "200 keep", extra ? CHUNK : "200"),
           "a chunk's extensions, %u more", (unsigned) extra);
    }

    free(text);
}


/* 1xx and the response itself share what there is for heads */

static void
test_head_limit(void)
{
    char      *text;
    size_t     len, line, extra;
    uint32_t   i, interim;

    text = malloc(2 * LRT_RESPONSE_HEAD);

    for (interim = 0; interim < 2; interim++) {
        for (extra = 0; extra < 2; extra++) {

            len = 0;

            if (interim) {
                len = (size_t) sprintf(text, "HTTP/1.1 100 x\r\n");

                for (i = 0; i < 500; i++) {
                    len += (size_t) sprintf(text + len, "Link: %060u\r\n", i);
                }

                len += (size_t) sprintf(text + len, "\r\n");
            }

            len += (size_t) sprintf(text + len, HEAD "Content-Length: 0\r\n");

            while (len < LRT_RESPONSE_HEAD + extra - 2) {
                line = LRT_RESPONSE_HEAD + extra - 2 - len;
                line = (line > 2000) ? 1000 : line;

                memset(text + len, 'x', line);
                text[len + 1] = ':';
                memcpy(text + len + line - 2, "\r\n", 2);
                len += line;
            }

            len += (size_t) sprintf(text + len, "\r\n");

            ok(is_limit(text, len,
                        extra ? "too large response header" : "200 keep",
                        extra ? "too large response header" : "200"),
               "a head of %u bytes%s", (unsigned) len,
               interim ? ", half of them in 1xx" : "");
        }
    }

    free(text);
}


static void
test_body_limit(void)
{
    char    *text;
    size_t   len, size;

    static const struct {
        const char  *head;
        int          more;           /* than the limit */
        const char  *open;
        const char  *closed;
    } limits[] = {
        { HEAD "Content-Length: 262144\r\n\r\n", 0, "200 keep", "200" },
        { HEAD "Content-Length: 262144\r\n\r\n", 1, "200", "200" },
        { HEAD "Content-Length: 262144\r\n\r\n", -1, "again", TRUNCATED },
        { HEAD "Content-Length: 262145\r\n\r\n", -1, "again", TRUNCATED },
        { HEAD "Content-Length: 262145\r\n\r\n", 0, "200", "200" },
        { HEAD "Content-Length: 10737418240\r\n\r\n", 100000, "200", "200" },
        { HEAD "\r\n", -1, "again", "200" },
        { HEAD "\r\n", 0, "200", "200" },
        { HEAD "\r\n", 100000, "200", "200" }
    };

    unsigned  i;
    result_t  r;

    text = malloc(2 * LRT_RESPONSE_BODY);

    for (i = 0; i < sizeof(limits) / sizeof(limits[0]); i++) {

        len = (size_t) sprintf(text, "%s", limits[i].head);
        size = (size_t) (LRT_RESPONSE_BODY + limits[i].more);
        memset(text + len, 'x', size);

        ok(is_limit(text, len + size, limits[i].open, limits[i].closed),
           "%d more than is looked at: '%s'", limits[i].more, limits[i].open);

        parse(&r, text, len + size, len + size, 1);
        is_u64(r.nbody, limits[i].more < 0 ? size : LRT_RESPONSE_BODY,
               "so much is given to the handler");
    }

    free(text);
}


/* chunks of one byte, and chunks of which there is no end */

static void
test_framing_limit(void)
{
    char      *text;
    size_t     len, begin;
    result_t   r;

    text = malloc(2 * LRT_RESPONSE_BODY);
    begin = (size_t) sprintf(text, CHUNKED);

    for (len = begin; len < begin + LRT_RESPONSE_BODY; len += 6) {
        memcpy(text + len, "1\r\nx\r\n", 6);
    }

    ok(is_limit(text, len, "200", "200"), "chunks of a byte have an end");

    parse(&r, text, len, len, 1);
    is_u64(r.nbody, LRT_RESPONSE_BODY / 6 + 1, "and that many bytes");

    for (len = begin; len < begin + LRT_RESPONSE_BODY; len += 255) {
        memset(text + len, 'x', 255);
        memcpy(text + len, "1;", 2);
        memcpy(text + len + 250, "\r\nx\r\n", 5);
    }

    ok(is_limit(text, len, "200", "200"), "and so have extensions");

    len = begin + (size_t) sprintf(text + begin, "0\r\n");

    for (/* void */; len < begin + LRT_RESPONSE_BODY; len += 100) {
        memset(text + len, 'x', 100);
        memcpy(text + len, "A:", 2);
        memcpy(text + len + 98, "\r\n", 2);
    }

    ok(is_limit(text, len, "200", "200"), "and trailers");

    free(text);
}


/* good responses that have suffered: pieces make no difference */

static void
test_garbage(void)
{
    char        text[256];
    size_t      len;
    uint32_t    i, j;
    result_t    r;

    static const char  common[] = "HTTP/1.1 200\r\n\r\n::;;  \t09afAF,\x00\xff";

    for (i = 0; i < tap_times(20000); i++) {

        do {
            j = tap_below(sizeof(cases) / sizeof(cases[0]));
            len = cases[j].len;

        } while (len > sizeof(text));

        memcpy(text, cases[j].text, len);

        for (j = tap_below(4); j && len; j--) {
            text[tap_below((uint32_t) len)] =
                tap_once_in(4) ? (char) tap_below(256)
                               : common[tap_below(sizeof(common))];
        }

        if (tap_once_in(4)) {
            len = tap_below((uint32_t) len + 1);
        }

        parse(&r, text, len, len, 1);

        if (!check(all_cuts(text, len, &r), "garbage of %u bytes",
                   (unsigned) len))
        {
            return;
        }
    }

    ok(1, "garbage");
}


static void
test_reasons(void)
{
    uint32_t     i, j;
    const char  *text;

    is_u64(LRT_CHECK_PASSED, 0, "0 is a pass");
    ok(LRT_CHECK_REASONS <= 64, "6 bits are enough");

    for (i = 0; i < LRT_CHECK_REASONS; i++) {
        text = lrt_check_reason_text(i);

        if (!check(text && *text && strlen(text) < 64, "reason %u", i)) {
            return;
        }

        for (j = 0; j < i; j++) {
            if (!check(strcmp(text, lrt_check_reason_text(j)) != 0,
                       "reasons %u and %u are both '%s'", i, j, text))
            {
                return;
            }
        }
    }

    ok(strcmp(lrt_check_reason_text(LRT_CHECK_REASONS), "unknown") == 0,
       "what is none has a text");

    ok(!lrt_check_reason_local(LRT_CHECK_PASSED)
       && !lrt_check_reason_local(LRT_CHECK_UNREACHABLE)
       && !lrt_check_reason_local(LRT_CHECK_TLS_BEFORE)
       && !lrt_check_reason_local(LRT_CHECK_REASONS),
       "the server's faults are not local");

    ok(lrt_check_reason_local(LRT_CHECK_LOCAL_FILES)
       && lrt_check_reason_local(LRT_CHECK_LOCAL_OTHER)
       && lrt_check_reason_local(LRT_CHECK_LATE), "our own are");
}


static unsigned
is_case(const case_t *c)
{
    result_t  r;

    parse(&r, c->text, c->len, c->len, 1);

    if (strcmp(r.open, c->open) != 0 || strcmp(r.closed, c->closed) != 0) {
        tap_note("    got '%s' and '%s' at the end, want '%s' and '%s'",
                 r.open, r.closed, c->open, c->closed);
        return 0;
    }

    if (c->headers && strcmp(r.headers, c->headers) != 0) {
        tap_note("    got headers '%s', want '%s'", r.headers, c->headers);
        return 0;
    }

    if (c->body && strcmp(r.body, c->body) != 0) {
        tap_note("    got body '%s', want '%s'", r.body, c->body);
        return 0;
    }

    return all_cuts(c->text, c->len, &r);
}


/* texts that are too long to be cut in all ways */

static unsigned
is_limit(const char *text, size_t len, const char *open, const char *closed)
{
    size_t      first, rest;
    uint32_t    i;
    result_t   *r, *want;
    unsigned    good;

    r = malloc(2 * sizeof(result_t));
    want = r + 1;

    parse(want, text, len, len, 1);

    good = (strcmp(want->open, open) == 0
            && strcmp(want->closed, closed) == 0);

    if (!good) {
        tap_note("    got '%s' and '%s' at the end", want->open, want->closed);
    }

    for (i = 0; good && i < 8; i++) {
        first = i ? tap_between(1, (uint32_t) len) : 1;
        rest = i ? tap_between(1, 1 << (2 * i + 2)) : 1;

        parse(r, text, len, first, rest);
        good = is_result(r, want);
    }

    free(r);

    return good;
}


/* in two pieces, and byte by byte */

static unsigned
all_cuts(const char *text, size_t len, const result_t *want)
{
    size_t    i;
    result_t  r;

    for (i = 1; i < len; i++) {

        parse(&r, text, len, i, len);

        if (!is_result(&r, want)) {
            tap_note("    cut at byte %u", (unsigned) i);
            return 0;
        }
    }

    for (i = 1; i < 4; i++) {

        parse(&r, text, len, i, i);

        if (!is_result(&r, want)) {
            tap_note("    in pieces of %u", (unsigned) i);
            return 0;
        }
    }

    return 1;
}


static unsigned
is_result(const result_t *r, const result_t *want)
{
    if (strcmp(r->open, want->open) == 0
        && strcmp(r->closed, want->closed) == 0
        && r->nheaders == want->nheaders
        && memcmp(r->headers, want->headers, want->nheaders) == 0
        && r->nbody == want->nbody
        && memcmp(r->body, want->body, want->nbody) == 0)
    {
        return 1;
    }

    tap_note("    got '%s', '%s' and a body of %u bytes, in one piece '%s', "
             "'%s' and %u", r->open, r->closed, (unsigned) r->nbody,
             want->open, want->closed, (unsigned) want->nbody);

    return 0;
}


static void
parse(result_t *r, const char *text, size_t len, size_t first, size_t rest)
{
    char            *line;
    size_t           n, at;
    lrt_response_t   response;

    r->nheaders = 0;
    r->nbody = 0;

    line = malloc(LRT_RESPONSE_LINE);
    lrt_response_start(&response, line);

    for (at = 0; at < len; at += n) {
        n = (at == 0) ? first : rest;
        n = (n < len - at) ? n : len - at;

        parse_piece(&response, text + at, n, r);
    }

    r->headers[r->nheaders] = '\0';
    r->body[r->nbody] = '\0';

    verdict(r->open, &response, (lrt_response_rc_e) response.rc);
    verdict(r->closed, &response, lrt_response_eof(&response));

    free(line);
}


static void
parse_piece(lrt_response_t *response, const char *p, size_t n, result_t *r)
{
    char                    *copy;
    lrt_response_rc_e        rc;
    lrt_response_handler_t   handler;

    handler.header = on_header;
    handler.body = on_body;
    handler.data = r;

    copy = malloc(n);
    memcpy(copy, p, n);

    rc = lrt_response_read(response, copy, n, &handler);

    if (rc != response->rc) {
        abort();
    }

    free(copy);
}


static void
on_header(void *data, const lrt_str_t *name, const lrt_str_t *value)
{
    result_t  *r = data;

    r->nheaders += (size_t) sprintf(r->headers + r->nheaders, "%.*s=%.*s;",
                                    (int) name->len, name->data,
                                    (int) value->len, value->data);
}


static void
on_body(void *data, const char *p, size_t len)
{
    result_t  *r = data;

    memcpy(r->body + r->nbody, p, len);
    r->nbody += len;
}


static void
verdict(char *out, const lrt_response_t *r, lrt_response_rc_e rc)
{
    switch (rc) {

    case LRT_RESPONSE_AGAIN:
        sprintf(out, "again%s", r->keep ? " keep" : "");
        break;

    case LRT_RESPONSE_DONE:
        sprintf(out, "%u%s", r->status, r->keep ? " keep" : "");
        break;

    default:
        sprintf(out, "%s%s", lrt_check_reason_text(r->reason),
                r->keep ? " keep" : "");
        break;
    }
}
