
/*
 * Copyright (C) the ngx_http_lrt_upstream_module authors
 */


#include "lrt_split.h"

#include <string.h>


static lrt_split_e lrt_split_between(lrt_split_t *s, uint8_t c);
static lrt_split_e lrt_split_within(lrt_split_t *s, uint8_t c);


size_t
lrt_split(lrt_split_t *s, const uint8_t *p, size_t n, lrt_span_t *span)
{
    size_t    i;
    unsigned  inside;

    span->data = p;
    span->len = 0;
    span->done = 0;

    for (i = 0; i < n && s->state != LRT_SPLIT_WRONG; i++) {

        inside = (s->depth != 0);

        s->state = inside ? lrt_split_within(s, p[i])
                          : lrt_split_between(s, p[i]);

        if (s->depth == 0) {

            if (inside) {
                span->len++;
                span->done = 1;
                return i + 1;
            }

            continue;
        }

        if (!inside) {
            span->data = p + i;
        }

        span->len++;
    }

    return i;
}


static lrt_split_e
lrt_split_between(lrt_split_t *s, uint8_t c)
{
    if (c == ' ' || c == '\t' || c == '\n' || c == '\r') {
        return s->state;
    }

    switch (s->state) {

    case LRT_SPLIT_START:

        if (c == '[') {
            s->list = 1;
            return LRT_SPLIT_FIRST;
        }

        break;

    case LRT_SPLIT_FIRST:

        if (c == ']') {
            return LRT_SPLIT_END;
        }

        break;

    case LRT_SPLIT_NEXT:
        break;

    case LRT_SPLIT_AFTER:

        return (c == ',') ? LRT_SPLIT_NEXT
               : (c == ']') ? LRT_SPLIT_END : LRT_SPLIT_WRONG;

    default: /* LRT_SPLIT_END */
        return LRT_SPLIT_WRONG;
    }

    if (c != '{') {
        return LRT_SPLIT_WRONG;
    }

    s->depth = 1;

    return LRT_SPLIT_INSIDE;
}


static lrt_split_e
lrt_split_within(lrt_split_t *s, uint8_t c)
{
    switch (s->state) {

    case LRT_SPLIT_ESCAPE:
        return LRT_SPLIT_STRING;

    case LRT_SPLIT_STRING:

        return (c == '\\') ? LRT_SPLIT_ESCAPE
               : (c == '"') ? LRT_SPLIT_INSIDE : LRT_SPLIT_STRING;

    default: /* LRT_SPLIT_INSIDE */
        break;
    }

    switch (c) {

    case '"':
        return LRT_SPLIT_STRING;

    case '{':
    case '[':

        if (s->depth == UINT32_MAX) {
            return LRT_SPLIT_WRONG;
        }

        s->depth++;
        break;

    case '}':
    case ']':

        if (--s->depth == 0) {
            return s->list ? LRT_SPLIT_AFTER : LRT_SPLIT_END;
        }

        break;

    default:
        break;
    }

    return LRT_SPLIT_INSIDE;
}


uint32_t
lrt_split_line(const uint8_t *text, size_t len, const char *name, uint32_t n)
{
    size_t          i, from, size;
    uint32_t        line, depth, at;
    unsigned        string, named, list, begun;

    size = strlen(name);
    line = 1;
    depth = 0;
    at = 0;
    string = 0;
    named = 0;
    list = 0;
    begun = 0;
    from = 0;

    for (i = 0; i < len; i++) {

        if (text[i] == '\n') {
            line++;
        }

        if (string) {

            if (text[i] == '\\') {
                i++;

            } else if (text[i] == '"') {
                string = 0;

                if (depth == 1) {
                    named = (i - from == size
                             && memcmp(text + from, name, size) == 0);
                    at = line;
                }
            }

            continue;
        }

        /* the first byte of an element */

        if (list && depth == 2 && !begun && text[i] > ' ') {

            if (n-- == 0) {
                return line;
            }

            begun = 1;
        }

        switch (text[i]) {

        case '"':
            string = 1;
            from = i + 1;
            break;

        case '[':
        case '{':
            depth++;

            if (depth == 2 && named && text[i] == '[') {
                list = 1;
            }

            break;

        case ']':
        case '}':
            depth -= (depth != 0);

            if (depth == 1) {
                list = 0;
            }

            break;

        case ',':
            if (depth == 2) {
                begun = 0;
            }

            break;

        case ':':
            if (depth == 1 && named && n == LRT_SPLIT_NAME) {
                return at;
            }

            break;

        default:
            break;
        }
    }

    return line;
}
