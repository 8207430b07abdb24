
/*
 * Copyright (C) the ngx_http_lrt_upstream_module authors
 *
 * JSON that somebody sends us, into structures that tables describe.
 */


#ifndef _NGX_HTTP_LRT_JSON_H_INCLUDED_
#define _NGX_HTTP_LRT_JSON_H_INCLUDED_


#include "ngx_http_lrt_compat.h"


typedef enum {
    NGX_HTTP_LRT_UINT16 = 0,
    NGX_HTTP_LRT_UINT32,
    NGX_HTTP_LRT_UINT64,
    NGX_HTTP_LRT_PERCENTS,           /* uint16_t permille of "12.5%", "off" */
    NGX_HTTP_LRT_FLAG,               /* uint8_t of true or false */
    NGX_HTTP_LRT_PERIOD,             /* uint64_t ms of "10s", or seconds */
    NGX_HTTP_LRT_PERIOD32,           /* the same as uint32_t */
    NGX_HTTP_LRT_TEXT,               /* ngx_str_t */
    NGX_HTTP_LRT_WORD,               /* uint8_t, place in "words" */
    NGX_HTTP_LRT_NESTED,             /* an object whose fields are "words" */
    NGX_HTTP_LRT_LIST                /* ngx_array_t, "words" is a list_t */
} ngx_http_lrt_kind_e;


typedef struct {
    const char          *name;       /* NULL ends a table, see below */
    ngx_http_lrt_kind_e  kind;
    size_t               offset;
    uint32_t             field;      /* bit in the mask of what was given */
    uint64_t             max;        /* of numbers, lengths and elements */
    const char          *code;       /* what an invalid value is called */
    const void          *words;
} ngx_http_lrt_field_t;

/* "words" of the end is NULL, or a table that goes on with the same object */


/*
 * A list of objects, or of texts in their place if "text_given" is not 0.  Each
 * element is pushed to the array, and "begin" makes it empty.
 */

typedef struct {
    const char                  *what;       /* an element is, in messages */
    ngx_uint_t                   first;      /* number of the first one */
    const ngx_http_lrt_field_t  *fields;
    size_t                       given;      /* where the mask is */
    size_t                       text;       /* field for a text */
    uint32_t                     text_given;
    void                       (*begin)(void *element);
} ngx_http_lrt_list_t;


/* what is wrong with a request, as it will be answered */

typedef struct {
    ngx_uint_t           status;
    const char          *code;
    ngx_str_t            text;

    /* where, as far as it is known */

    int                  line;       /* it is no JSON */
    int                  column;
    ngx_str_t            member;     /* of the outermost object */
    ngx_uint_t           element;    /* of "list", from 1 */
    const ngx_http_lrt_list_t  *list;
} ngx_http_lrt_fault_t;

/* the element as it is called: format "%s %ui" */

#define ngx_http_lrt_fault_element(fault)                                     \
    (fault)->list->what, (fault)->element - 1 + (fault)->list->first


/* before anything is read, in each process or in one that it comes from */

void ngx_http_lrt_json_init(void);

/*
 * One object of the text; "given" gets the bits of fields that are there, and
 * "object" their values.  NGX_DECLINED: "fault" says why.
 */

ngx_int_t ngx_http_lrt_json_read(ngx_pool_t *pool, ngx_str_t *text,
    const ngx_http_lrt_field_t *fields, void *object, uint32_t *given,
    ngx_http_lrt_fault_t *fault);

/* "10s", "500ms", "1m30s", or a number of seconds; NGX_ERROR */

ngx_int_t ngx_http_lrt_period(const ngx_str_t *text, uint64_t *ms);

/* "10%", or "12.5%"; NGX_ERROR */

ngx_int_t ngx_http_lrt_percents(const ngx_str_t *text, ngx_int_t *permille);


/* NGX_DECLINED, for callers to return */

ngx_int_t ngx_http_lrt_fault(ngx_pool_t *pool, ngx_http_lrt_fault_t *fault,
    ngx_uint_t status, const char *code, const char *fmt, ...);


#endif /* _NGX_HTTP_LRT_JSON_H_INCLUDED_ */
