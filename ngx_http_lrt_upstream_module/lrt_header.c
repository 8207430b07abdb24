
/*
 * Copyright (C) the ngx_http_lrt_upstream_module authors
 */


#include "lrt_header.h"

#include <string.h>


static unsigned lrt_header_token_char(uint8_t c);
static uint8_t lrt_header_lower(char c);
static void lrt_header_trim(lrt_str_t *s);


unsigned
lrt_header_split(const lrt_str_t *line, lrt_str_t *name, lrt_str_t *value)
{
    const char  *colon;

    colon = memchr(line->data, ':', line->len);

    if (colon == NULL) {
        return 0;
    }

    name->data = line->data;
    name->len = (size_t) (colon - line->data);

    value->data = colon + 1;
    value->len = line->len - name->len - 1;

    lrt_header_trim(value);

    return lrt_header_name(name) && lrt_header_text(value);
}


unsigned
lrt_header_name(const lrt_str_t *name)
{
    size_t  i;

    for (i = 0; i < name->len; i++) {
        if (!lrt_header_token_char((uint8_t) name->data[i])) {
            return 0;
        }
    }

    return name->len != 0;
}


unsigned
lrt_header_text(const lrt_str_t *text)
{
    size_t   i;
    uint8_t  c;

    for (i = 0; i < text->len; i++) {
        c = (uint8_t) text->data[i];

        if ((c < ' ' && c != '\t') || c == 0x7f) {
            return 0;
        }
    }

    return 1;
}


unsigned
lrt_header_is(const lrt_str_t *name, const lrt_str_t *other)
{
    size_t  i;

    if (name->len != other->len) {
        return 0;
    }

    for (i = 0; i < name->len; i++) {
        if (lrt_header_lower(name->data[i])
            != lrt_header_lower(other->data[i]))
        {
            return 0;
        }
    }

    return 1;
}


unsigned
lrt_header_lists(const lrt_str_t *value, const lrt_str_t *token)
{
    lrt_str_t    item;
    const char  *p, *end, *comma;

    end = value->data + value->len;

    for (p = value->data; p < end; p = comma + 1) {

        comma = memchr(p, ',', (size_t) (end - p));

        if (comma == NULL) {
            comma = end;
        }

        item.data = p;
        item.len = (size_t) (comma - p);

        lrt_header_trim(&item);

        if (lrt_header_is(&item, token)) {
            return 1;
        }

        if (comma == end) {
            break;
        }
    }

    return 0;
}


static unsigned
lrt_header_token_char(uint8_t c)
{
    static const uint32_t  token[] = {
        0x00000000,

                    /* ?>=< ;:98 7654 3210  /.-, +*)( '&%$ #"!  */
        0x03ff6cfa, /* 0000 0011 1111 1111  0110 1100 1111 1010 */

                    /* _^]\ [ZYX WVUT SRQP  ONML KJIH GFED CBA@ */
        0xc7fffffe, /* 1100 0111 1111 1111  1111 1111 1111 1110 */

                    /*  ~}| {zyx wvut srqp  onml kjih gfed cba` */
        0x57ffffff, /* 0101 0111 1111 1111  1111 1111 1111 1111 */
    };

    return c < 0x80 && (token[c >> 5] & (uint32_t) 1 << (c & 0x1f));
}


static uint8_t
lrt_header_lower(char c)
{
    return (uint8_t) ((c >= 'A' && c <= 'Z') ? c | 0x20 : c);
}


static void
lrt_header_trim(lrt_str_t *s)
{
    while (s->len && (s->data[0] == ' ' || s->data[0] == '\t')) {
        s->data++;
        s->len--;
    }

    while (s->len
           && (s->data[s->len - 1] == ' ' || s->data[s->len - 1] == '\t'))
    {
        s->len--;
    }
}
