
/*
 * Copyright (C) the ngx_http_lrt_upstream_module authors
 *
 * Header lines of HTTP/1.x, taken by the letter of RFC 9110 and 9112.
 */


#ifndef _LRT_HEADER_H_INCLUDED_
#define _LRT_HEADER_H_INCLUDED_


#include "lrt_types.h"


/* a name (a token) and a value without blanks around it; 0: it is no header */

unsigned lrt_header_split(const lrt_str_t *line, lrt_str_t *name,
    lrt_str_t *value);

/* may be the name of a header */

unsigned lrt_header_name(const lrt_str_t *name);

/* no control characters, but tabs */

unsigned lrt_header_text(const lrt_str_t *text);

/* the same name, in whatever case */

unsigned lrt_header_is(const lrt_str_t *name, const lrt_str_t *other);

/* the value is a list, separated by commas, with this token */

unsigned lrt_header_lists(const lrt_str_t *value, const lrt_str_t *token);


#endif /* _LRT_HEADER_H_INCLUDED_ */
