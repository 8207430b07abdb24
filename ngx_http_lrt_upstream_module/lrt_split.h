
/*
 * Copyright (C) the ngx_http_lrt_upstream_module authors
 *
 * A JSON text that comes in pieces, cut into its objects: either it is one
 * object, or an array of them.  What is in an object is for a parser to
 * check; a list of any length can so be read in steps, and with the memory of
 * one object.
 */


#ifndef _LRT_SPLIT_H_INCLUDED_
#define _LRT_SPLIT_H_INCLUDED_


#include "lrt_types.h"


typedef enum {
    LRT_SPLIT_START = 0,
    LRT_SPLIT_FIRST,                 /* after "[" */
    LRT_SPLIT_INSIDE,
    LRT_SPLIT_STRING,
    LRT_SPLIT_ESCAPE,
    LRT_SPLIT_AFTER,                 /* an object of an array */
    LRT_SPLIT_NEXT,                  /* after "," */
    LRT_SPLIT_END,
    LRT_SPLIT_WRONG
} lrt_split_e;


/* zeroes are the start of a text */

typedef struct {
    lrt_split_e          state;
    uint32_t             depth;
    uint8_t              list;           /* it is an array */
} lrt_split_t;


/* what belongs to an object of the bytes that were looked at */

typedef struct {
    const uint8_t       *data;
    size_t               len;
    unsigned             done:1;         /* the object ends here */
} lrt_span_t;


/*
 * Looks at the bytes up to the end of an object or of the piece, and returns
 * how many these are.  With the state LRT_SPLIT_WRONG the last one is where
 * no such text can go on.
 */

size_t lrt_split(lrt_split_t *s, const uint8_t *p, size_t n, lrt_span_t *span);

/*
 * For messages about a text that was parsed as a whole: the line on which the
 * n-th element, from 0, of the list "name" in the outermost object begins, or
 * the line of that name.
 */

#define LRT_SPLIT_NAME       UINT32_MAX

uint32_t lrt_split_line(const uint8_t *text, size_t len, const char *name,
    uint32_t n);


#endif /* _LRT_SPLIT_H_INCLUDED_ */
