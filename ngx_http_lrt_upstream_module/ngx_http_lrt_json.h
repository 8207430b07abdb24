
/*
 * Copyright (C) the ngx_http_lrt_upstream_module authors
 *
 * JSON that somebody sends us, into structures that tables describe.
 */


#ifndef _NGX_HTTP_LRT_JSON_H_INCLUDED_
#define _NGX_HTTP_LRT_JSON_H_INCLUDED_


#include "ngx_http_lrt_compat.h"


typedef enum {
    NGX_HTTP_LRT_UINT32 = 0,
    NGX_HTTP_LRT_UINT64,
    NGX_HTTP_LRT_FLAG,               /* uint8_t of true or false */
    NGX_HTTP_LRT_PERIOD,             /* uint64_t ms of "10s", or seconds */
    NGX_HTTP_LRT_PERIOD32,           /* the same as uint32_t */
    NGX_HTTP_LRT_TEXT,               /* ngx_str_t */
    NGX_HTTP_LRT_WORD,               /* uint8_t, place in "words" */
    NGX_HTTP_LRT_NESTED              /* an object whose fields are "words" */
} ngx_http_lrt_kind_e;


typedef struct {
    const char          *name;       /* NULL ends a table */
    ngx_http_lrt_kind_e  kind;
    size_t               offset;
    uint32_t             field;      /* bit in the mask of what was given */
    uint64_t             max;        /* of numbers and lengths */
    const char          *code;       /* what an invalid value is called */
    const void          *words;
} ngx_http_lrt_field_t;


/* what is wrong with a request, as it will be answered */

typedef struct {
    ngx_uint_t           status;
    const char          *code;
    ngx_str_t            text;
    ngx_str_t            member;     /* of the outermost object, if known */
} ngx_http_lrt_fault_t;


/*
 * One object of the text; "given" gets the bits of fields that are there, and
 * "object" their values.  NGX_DECLINED: "fault" says why.
 */

ngx_int_t ngx_http_lrt_json_read(ngx_pool_t *pool, ngx_str_t *text,
    const ngx_http_lrt_field_t *fields, void *object, uint32_t *given,
    ngx_http_lrt_fault_t *fault);

/*
 * A document: an object, one field of which is a list of objects, or of texts
 * instead.  Each element is pushed to the array, and "begin" makes it empty.
 */

typedef struct {
    const char                  *name;
    const ngx_http_lrt_field_t  *fields;
    size_t                       given;      /* where the mask is */
    size_t                       text;       /* field for a text */
    uint32_t                     text_given;
    void                       (*begin)(void *element);
} ngx_http_lrt_list_t;

ngx_int_t ngx_http_lrt_json_document(ngx_pool_t *pool, ngx_str_t *text,
    const ngx_http_lrt_field_t *fields, void *object, uint32_t *given,
    const ngx_http_lrt_list_t *list, ngx_array_t *elements,
    ngx_http_lrt_fault_t *fault);

/* "10s", "500ms", "1m30s", or a number of seconds; NGX_ERROR */

ngx_int_t ngx_http_lrt_period(const ngx_str_t *text, uint64_t *ms);


/* NGX_DECLINED, for callers to return */

ngx_int_t ngx_http_lrt_fault(ngx_pool_t *pool, ngx_http_lrt_fault_t *fault,
    ngx_uint_t status, const char *code, const char *fmt, ...);


#endif /* _NGX_HTTP_LRT_JSON_H_INCLUDED_ */
