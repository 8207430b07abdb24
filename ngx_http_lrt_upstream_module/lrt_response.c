
/*
 * Copyright (C) the ngx_http_lrt_upstream_module authors
 */


#include "lrt_response.h"
#include "lrt_header.h"

#include <string.h>


/* no length was given: the body ends with the connection */

#define LRT_RESPONSE_CLOSE   UINT64_MAX


typedef lrt_check_reason_e (*lrt_response_line_pt)(lrt_response_t *r,
    const lrt_str_t *line, const lrt_response_handler_t *handler);


static size_t lrt_response_room(const lrt_response_t *r);
static size_t lrt_response_line(lrt_response_t *r, const char *p, size_t n,
    const lrt_response_handler_t *handler);
static size_t lrt_response_data(lrt_response_t *r, const char *p, size_t n,
    const lrt_response_handler_t *handler);
static lrt_check_reason_e lrt_response_status(lrt_response_t *r,
    const lrt_str_t *line, const lrt_response_handler_t *handler);
static lrt_check_reason_e lrt_response_header(lrt_response_t *r,
    const lrt_str_t *line, const lrt_response_handler_t *handler);
static lrt_check_reason_e lrt_response_framing(lrt_response_t *r,
    const lrt_str_t *name, const lrt_str_t *value);
static lrt_check_reason_e lrt_response_length(lrt_response_t *r,
    const lrt_str_t *value);
static lrt_check_reason_e lrt_response_head_end(lrt_response_t *r);
static lrt_check_reason_e lrt_response_chunk(lrt_response_t *r,
    const lrt_str_t *line, const lrt_response_handler_t *handler);
static lrt_check_reason_e lrt_response_chunk_end(lrt_response_t *r,
    const lrt_str_t *line, const lrt_response_handler_t *handler);
static lrt_check_reason_e lrt_response_trailer(lrt_response_t *r,
    const lrt_str_t *line, const lrt_response_handler_t *handler);
static void lrt_response_end(lrt_response_t *r);
static void lrt_response_fail(lrt_response_t *r, lrt_check_reason_e reason);
static unsigned lrt_response_is_digit(char c);
static unsigned lrt_response_hex(char c);


/* by state: what comes in lines */

static const struct {
    uint32_t                 max;
    lrt_check_reason_e       longer;
    lrt_response_line_pt     read;
} lrt_response_lines[] = {
    { LRT_RESPONSE_LINE, LRT_CHECK_LINE_LONG, lrt_response_status },
    { LRT_RESPONSE_LINE, LRT_CHECK_LINE_LONG, lrt_response_header },
    { LRT_RESPONSE_CHUNK, LRT_CHECK_CHUNK, lrt_response_chunk },
    { sizeof("\r\n") - 1, LRT_CHECK_CHUNK, lrt_response_chunk_end },
    { LRT_RESPONSE_LINE, LRT_CHECK_LINE_LONG, lrt_response_trailer }
};


static const char  lrt_response_protocol[] = { 'H', 'T', 'T', 'P', '/' };

#define lrt_response_string(s)  { sizeof(s) - 1, s }

static const lrt_str_t  lrt_response_content_length =
    lrt_response_string("content-length");
static const lrt_str_t  lrt_response_transfer_encoding =
    lrt_response_string("transfer-encoding");
static const lrt_str_t  lrt_response_chunked = lrt_response_string("chunked");
static const lrt_str_t  lrt_response_connection =
    lrt_response_string("connection");
static const lrt_str_t  lrt_response_close = lrt_response_string("close");
static const lrt_str_t  lrt_response_keep_alive =
    lrt_response_string("keep-alive");


void
lrt_response_start(lrt_response_t *r, char *line)
{
    memset(r, 0, sizeof(lrt_response_t));

    r->line = line;
    r->left = LRT_RESPONSE_CLOSE;
}


lrt_response_rc_e
lrt_response_read(lrt_response_t *r, const char *data, size_t len,
    const lrt_response_handler_t *handler)
{
    size_t  n;

    while (len && r->rc == LRT_RESPONSE_AGAIN) {

        n = lrt_response_room(r);
        n = (n < len) ? n : len;

        n = (r->state == LRT_RESPONSE_AT_DATA)
            ? lrt_response_data(r, data, n, handler)
            : lrt_response_line(r, data, n, handler);

        data += n;
        len -= n;

        if (r->rc == LRT_RESPONSE_AGAIN && lrt_response_room(r) == 0) {

            if (r->state < LRT_RESPONSE_AT_CHUNK) {
                lrt_response_fail(r, LRT_CHECK_HEAD_LARGE);

            } else {
                r->rc = LRT_RESPONSE_DONE;
            }
        }
    }

    /* the next response would begin with these */

    if (len) {
        r->keep = 0;
    }

    return r->rc;
}


lrt_response_rc_e
lrt_response_eof(lrt_response_t *r)
{
    r->keep = 0;

    if (r->rc != LRT_RESPONSE_AGAIN) {
        return r->rc;
    }

    if (r->state == LRT_RESPONSE_AT_DATA && r->left == LRT_RESPONSE_CLOSE) {
        r->rc = LRT_RESPONSE_DONE;

    } else {
        lrt_response_fail(r, (r->state < LRT_RESPONSE_AT_CHUNK)
                             ? LRT_CHECK_CLOSED : LRT_CHECK_TRUNCATED);
    }

    return r->rc;
}


/* bytes of the head, or of the body, that may still be looked at */

static size_t
lrt_response_room(const lrt_response_t *r)
{
    return ((r->state < LRT_RESPONSE_AT_CHUNK) ? LRT_RESPONSE_HEAD
                                               : LRT_RESPONSE_BODY) - r->seen;
}


/* a line is read where it lies, if all of it is there */

static size_t
lrt_response_line(lrt_response_t *r, const char *p, size_t n,
    const lrt_response_handler_t *handler)
{
    size_t              max;
    lrt_str_t           line;
    const char         *lf;
    lrt_check_reason_e  reason;

    max = lrt_response_lines[r->state].max;
    n = (n < max - r->held) ? n : max - r->held;

    lf = memchr(p, '\n', n);

    if (lf) {
        n = (size_t) (lf - p) + 1;
    }

    r->seen += (uint32_t) n;

    line.data = p;
    line.len = n;

    if (r->held || lf == NULL) {
        memcpy(r->line + r->held, p, n);

        line.data = r->line;
        line.len += r->held;
    }

    r->held = (uint32_t) line.len;

    /* what speaks another protocol may never end a line */

    if (r->state == LRT_RESPONSE_AT_STATUS
        && memcmp(line.data, lrt_response_protocol,
                  line.len < sizeof(lrt_response_protocol)
                  ? line.len : sizeof(lrt_response_protocol))
           != 0)
    {
        lrt_response_fail(r, LRT_CHECK_STATUS_LINE);
        return n;
    }

    if (lf == NULL) {

        if (line.len == max) {
            lrt_response_fail(r, lrt_response_lines[r->state].longer);
        }

        return n;
    }

    r->held = 0;

    if (line.len < 2 || line.data[line.len - 2] != '\r') {
        lrt_response_fail(r, LRT_CHECK_BARE_LF);
        return n;
    }

    line.len -= 2;

    reason = lrt_response_lines[r->state].read(r, &line, handler);

    if (reason != LRT_CHECK_PASSED) {
        lrt_response_fail(r, reason);
    }

    return n;
}


static size_t
lrt_response_data(lrt_response_t *r, const char *p, size_t n,
    const lrt_response_handler_t *handler)
{
    if (r->left != LRT_RESPONSE_CLOSE) {
        n = (n < r->left) ? n : (size_t) r->left;
        r->left -= n;
    }

    r->seen += (uint32_t) n;

    if (handler->body) {
        handler->body(handler->data, p, n);
    }

    if (r->left) {
        return n;
    }

    if (r->chunked) {
        r->state = LRT_RESPONSE_AT_CHUNK_END;

    } else {
        lrt_response_end(r);
    }

    return n;
}


static lrt_check_reason_e
lrt_response_status(lrt_response_t *r, const lrt_str_t *line,
    const lrt_response_handler_t *handler)
{
    size_t       n;
    const char  *p;

    (void) handler;

    p = line->data + sizeof(lrt_response_protocol);
    n = line->len - sizeof(lrt_response_protocol);

    if (n < 3 || p[0] != '1' || p[1] != '.' || (p[2] != '0' && p[2] != '1')) {
        return (n && lrt_response_is_digit(p[0])) ? LRT_CHECK_VERSION
                                                  : LRT_CHECK_STATUS_LINE;
    }

    /* many leave out the blank before a text that is empty */

    if (n < 7 || p[3] != ' '
        || p[4] < '1' || p[4] > '5'
        || !lrt_response_is_digit(p[5]) || !lrt_response_is_digit(p[6])
        || (n > 7 && p[7] != ' ')
        || !lrt_header_text(line))
    {
        return LRT_CHECK_STATUS_LINE;
    }

    r->minor = (p[2] == '1');
    r->status = (uint16_t) ((p[4] - '0') * 100 + (p[5] - '0') * 10
                            + (p[6] - '0'));

    if (r->status == 101) {
        return LRT_CHECK_SWITCHING;
    }

    if (r->status < 200 && r->interim++ == LRT_RESPONSE_INTERIM) {
        return LRT_CHECK_INTERIM;
    }

    r->state = LRT_RESPONSE_AT_HEADER;

    return LRT_CHECK_PASSED;
}


static lrt_check_reason_e
lrt_response_header(lrt_response_t *r, const lrt_str_t *line,
    const lrt_response_handler_t *handler)
{
    lrt_str_t           name, value;
    lrt_check_reason_e  reason;

    if (line->len == 0) {
        return lrt_response_head_end(r);
    }

    if (!lrt_header_split(line, &name, &value)) {
        return LRT_CHECK_HEADER;
    }

    /* 1xx says nothing of the response that follows */

    if (r->status < 200) {
        return LRT_CHECK_PASSED;
    }

    reason = lrt_response_framing(r, &name, &value);

    if (reason == LRT_CHECK_PASSED && handler->header) {
        handler->header(handler->data, &name, &value);
    }

    return reason;
}


static lrt_check_reason_e
lrt_response_framing(lrt_response_t *r, const lrt_str_t *name,
    const lrt_str_t *value)
{
    if (lrt_header_is(name, &lrt_response_content_length)) {
        return lrt_response_length(r, value);
    }

    if (lrt_header_is(name, &lrt_response_transfer_encoding)) {

        if (r->chunked || !lrt_header_is(value, &lrt_response_chunked)) {
            return LRT_CHECK_CODING;
        }

        r->chunked = 1;

    } else if (lrt_header_is(name, &lrt_response_connection)) {

        if (lrt_header_lists(value, &lrt_response_close)) {
            r->close = 1;
        }

        if (lrt_header_lists(value, &lrt_response_keep_alive)) {
            r->keepalive = 1;
        }
    }

    return LRT_CHECK_PASSED;
}


/* a second one is refused even if it is equal, as nginx itself does it */

static lrt_check_reason_e
lrt_response_length(lrt_response_t *r, const lrt_str_t *value)
{
    size_t    i;
    uint64_t  length, digit;

    if (r->left != LRT_RESPONSE_CLOSE || value->len == 0) {
        return LRT_CHECK_LENGTH;
    }

    length = 0;

    for (i = 0; i < value->len; i++) {

        if (!lrt_response_is_digit(value->data[i])) {
            return LRT_CHECK_LENGTH;
        }

        digit = (uint64_t) (value->data[i] - '0');

        if (length > ((uint64_t) INT64_MAX - digit) / 10) {
            return LRT_CHECK_LENGTH;
        }

        length = length * 10 + digit;
    }

    r->left = length;

    return LRT_CHECK_PASSED;
}


static lrt_check_reason_e
lrt_response_head_end(lrt_response_t *r)
{
    if (r->status < 200) {
        r->state = LRT_RESPONSE_AT_STATUS;
        return LRT_CHECK_PASSED;
    }

    if (r->chunked && r->left != LRT_RESPONSE_CLOSE) {
        return LRT_CHECK_LENGTH;
    }

    r->seen = 0;
    r->state = r->chunked ? LRT_RESPONSE_AT_CHUNK : LRT_RESPONSE_AT_DATA;

    if (r->status == 204 || r->status == 304 || r->left == 0) {
        lrt_response_end(r);
    }

    return LRT_CHECK_PASSED;
}


static lrt_check_reason_e
lrt_response_chunk(lrt_response_t *r, const lrt_str_t *line,
    const lrt_response_handler_t *handler)
{
    size_t    i;
    uint64_t  size;
    unsigned  digit;

    (void) handler;

    size = 0;

    for (i = 0; i < line->len; i++) {

        digit = lrt_response_hex(line->data[i]);

        if (digit == 16) {
            break;
        }

        if (size > (uint64_t) INT64_MAX >> 4) {
            return LRT_CHECK_CHUNK;
        }

        size = size << 4 | digit;
    }

    if (i == 0) {
        return LRT_CHECK_CHUNK;
    }

    while (i < line->len && (line->data[i] == ' ' || line->data[i] == '\t')) {
        i++;
    }

    if ((i < line->len && line->data[i] != ';') || !lrt_header_text(line)) {
        return LRT_CHECK_CHUNK;
    }

    r->left = size;
    r->state = size ? LRT_RESPONSE_AT_DATA : LRT_RESPONSE_AT_TRAILER;

    return LRT_CHECK_PASSED;
}


/* a line that has no room for more than CRLF */

static lrt_check_reason_e
lrt_response_chunk_end(lrt_response_t *r, const lrt_str_t *line,
    const lrt_response_handler_t *handler)
{
    (void) line;
    (void) handler;

    r->state = LRT_RESPONSE_AT_CHUNK;

    return LRT_CHECK_PASSED;
}


static lrt_check_reason_e
lrt_response_trailer(lrt_response_t *r, const lrt_str_t *line,
    const lrt_response_handler_t *handler)
{
    lrt_str_t  name, value;

    (void) handler;

    if (line->len == 0) {
        lrt_response_end(r);
        return LRT_CHECK_PASSED;
    }

    return lrt_header_split(line, &name, &value) ? LRT_CHECK_PASSED
                                                 : LRT_CHECK_HEADER;
}


/* chunks in HTTP/1.0 are faulty, and who sends them is not to be trusted */

static void
lrt_response_end(lrt_response_t *r)
{
    r->rc = LRT_RESPONSE_DONE;
    r->keep = !r->close && (r->minor || (r->keepalive && !r->chunked));
}


static void
lrt_response_fail(lrt_response_t *r, lrt_check_reason_e reason)
{
    r->rc = LRT_RESPONSE_FAILED;
    r->reason = (uint8_t) reason;
}


static unsigned
lrt_response_is_digit(char c)
{
    return c >= '0' && c <= '9';
}


/* 16: it is none */

static unsigned
lrt_response_hex(char c)
{
    if (lrt_response_is_digit(c)) {
        return (unsigned) (c - '0');
    }

    c |= 0x20;

    return (c >= 'a' && c <= 'f') ? (unsigned) (c - 'a') + 10 : 16;
}
