/* sources: lrt_response.c lrt_header.c lrt_match.c lrt_check_reason.c */

/*
 * Copyright (C) the ngx_http_lrt_upstream_module authors
 *
 * The response to a health probe: how it is cut into pieces makes no
 * difference, and nothing is out of bounds.
 *
 * The first bytes of an input say how to cut: SIZES sizes of pieces, which are
 * taken in turn.  Four more may choose a part of the text that is repeated,
 * since the limits of the parser are far above the length of inputs; by a sum
 * of all bytes it is not done too often, and pieces of long texts are longer,
 * since all that takes time.
 */


#include "lrt_header.h"
#include "lrt_match.h"
#include "lrt_response.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>


#define SIZES        8
#define REPEAT       4
#define RARE         16
#define PIECES       1024                    /* and less than as many more */
#define TEXT_LEN     (LRT_RESPONSE_HEAD + LRT_RESPONSE_BODY + 65536)

#define must(condition)                                                       \
    do {                                                                      \
        if (!(condition)) {                                                   \
            fprintf(stderr, "line %d: not so: %s\n", __LINE__, #condition);   \
            abort();                                                          \
        }                                                                     \
    } while (0)


typedef struct {
    lrt_response_t       open;           /* as long as nobody closes */
    lrt_response_t       closed;
    lrt_match_run_t      run;
    lrt_match_verdict_t  verdict;
    size_t               nheaders;
    size_t               nbody;
    char                 headers[LRT_RESPONSE_HEAD];
    char                 body[LRT_RESPONSE_BODY];
} result_t;


static size_t expand(const uint8_t *p, size_t n);
static void parse(result_t *r, const uint8_t *sizes, size_t len);
static void on_header(void *data, const lrt_str_t *name,
    const lrt_str_t *value);
static void on_body(void *data, const char *p, size_t len);
static void check(const result_t *r);
static void compare(const result_t *a, const result_t *b);
static void is_same(const lrt_response_t *a, const lrt_response_t *b);
static unsigned find_word(void *regex, const char *data, size_t len);


static const lrt_match_t  match = {
    .regex = find_word,
    .statuses = 2,
    .status = { { 200, 299 }, { 503, 503 } },
    .headers = 3,
    .header = {
        { .op = LRT_MATCH_REGEX, .name = { 4, "Type" }, .regex = "html" },
        { .op = LRT_MATCH_EQUAL, .name = { 4, "type" }, .value = { 1, "x" },
          .negated = 1 },
        { .op = LRT_MATCH_PRESENT, .name = { 1, "A" }, .negated = 1 }
    },
    .bodies = 1,
    .body = { { .regex = "ok" } }
};

static char      text[TEXT_LEN];
static result_t  whole, pieces;


int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);


int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    size_t  n;

    if (len < SIZES + REPEAT) {
        return 0;
    }

    n = expand(data + SIZES, len - SIZES);

    parse(&whole, NULL, n);
    parse(&pieces, data, n);

    check(&whole);
    compare(&pieces, &whole);

    return 0;
}


static size_t
expand(const uint8_t *p, size_t n)
{
    size_t    at, size, times, len, i;
    unsigned  sum;

    for (sum = 0, i = 0; i < n; i++) {
        sum += p[i];
    }

    times = (p[0] < 0xfe || sum % RARE) ? 1
            : (p[0] == 0xfe)            ? 1 << 11 : 1 << 15;
    at = (size_t) p[1] << 8 | p[2];
    size = p[3];

    p += REPEAT;
    n -= REPEAT;

    at = n ? at % n : 0;
    size = (size < n - at) ? size : n - at;

    /* what does not fit is left out, from the end of what is repeated */

    n = (n < TEXT_LEN / 2) ? n : TEXT_LEN / 2;
    at = (at < n) ? at : n;
    size = (size < n - at) ? size : n - at;

    memcpy(text, p, at);
    len = at;

    for ( /* void */ ; times && len + n <= TEXT_LEN; times--) {
        memcpy(text + len, p + at, size);
        len += size;
    }

    memcpy(text + len, p + at + size, n - at - size);

    return len + n - at - size;
}


/* each piece, and the line, in memory of its own; without sizes it is one */

static void
parse(result_t *r, const uint8_t *sizes, size_t len)
{
    char                    *line, *copy;
    size_t                   n, at, scale;
    uint32_t                 i;
    lrt_str_t                body;
    lrt_response_rc_e        rc;
    lrt_response_handler_t   handler;

    r->nheaders = 0;
    r->nbody = 0;
    r->run.met = 0;

    handler.header = on_header;
    handler.body = on_body;
    handler.data = r;

    line = malloc(LRT_RESPONSE_LINE);
    lrt_response_start(&r->open, line);

    scale = len / PIECES + 1;

    for (at = 0, i = 0; at < len; at += n, i++) {
        n = sizes ? (sizes[i % SIZES] + 1) * scale : len;
        n = (n < len - at) ? n : len - at;

        copy = malloc(n);
        memcpy(copy, text + at, n);

        rc = lrt_response_read(&r->open, copy, n, &handler);
        must(rc == r->open.rc);

        free(copy);
    }

    r->closed = r->open;
    rc = lrt_response_eof(&r->closed);
    must(rc == r->closed.rc);

    body.data = r->body;
    body.len = r->nbody;

    r->verdict = lrt_match_verdict(&match, &r->run, r->open.status, &body);

    free(line);
}


static void
on_header(void *data, const lrt_str_t *name, const lrt_str_t *value)
{
    result_t  *r = data;

    must(r->nheaders + name->len + value->len + 2 <= LRT_RESPONSE_HEAD);
    must(lrt_header_name(name) && lrt_header_text(value));

    memcpy(r->headers + r->nheaders, name->data, name->len);
    r->nheaders += name->len;
    r->headers[r->nheaders++] = ':';

    memcpy(r->headers + r->nheaders, value->data, value->len);
    r->nheaders += value->len;
    r->headers[r->nheaders++] = '\n';

    lrt_match_header(&match, &r->run, name, value);
}


static void
on_body(void *data, const char *p, size_t len)
{
    result_t  *r = data;

    must(len && r->nbody + len <= LRT_RESPONSE_BODY);

    memcpy(r->body + r->nbody, p, len);
    r->nbody += len;
}


/* what is so of any response */

static void
check(const result_t *r)
{
    const lrt_response_t  *open = &r->open;
    const lrt_response_t  *closed = &r->closed;

    must(open->seen <= LRT_RESPONSE_BODY);
    must(open->held <= LRT_RESPONSE_LINE);
    must(open->interim <= LRT_RESPONSE_INTERIM + 1);

    must((open->rc == LRT_RESPONSE_FAILED) == (open->reason != 0));
    must((closed->rc == LRT_RESPONSE_FAILED) == (closed->reason != 0));
    must(closed->reason < LRT_CHECK_REASONS);
    must(!lrt_check_reason_local(closed->reason));

    must(open->rc == LRT_RESPONSE_AGAIN || closed->rc == open->rc);
    must(closed->rc != LRT_RESPONSE_AGAIN);

    must(closed->rc != LRT_RESPONSE_DONE
         || (open->status >= 200 && open->status <= 599));

    must(!open->keep || open->rc == LRT_RESPONSE_DONE);
    must(!closed->keep);
}


static void
compare(const result_t *a, const result_t *b)
{
    is_same(&a->open, &b->open);
    is_same(&a->closed, &b->closed);

    must(a->nheaders == b->nheaders);
    must(memcmp(a->headers, b->headers, b->nheaders) == 0);

    must(a->nbody == b->nbody);
    must(memcmp(a->body, b->body, b->nbody) == 0);

    must(a->run.met == b->run.met);
    must(a->verdict.reason == b->verdict.reason);
    must(a->verdict.test == b->verdict.test);
}


static void
is_same(const lrt_response_t *a, const lrt_response_t *b)
{
    must(a->rc == b->rc);
    must(a->reason == b->reason);
    must(a->status == b->status);
    must(a->keep == b->keep);
    must(a->state == b->state);
    must(a->left == b->left);
}


static unsigned
find_word(void *regex, const char *data, size_t len)
{
    return memmem(data, len, regex, strlen(regex)) != NULL;
}
