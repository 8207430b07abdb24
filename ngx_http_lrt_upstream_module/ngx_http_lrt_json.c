
/*
 * Copyright (C) the ngx_http_lrt_upstream_module authors
 *
 * The only file that knows the JSON library.
 */


#include "ngx_http_lrt_json.h"

#include <jansson.h>


#define NGX_HTTP_LRT_BAD_FORMAT  "UpstreamConfFormatError"
#define NGX_HTTP_LRT_NO_MEMORY   "BodyReadError"


static void *ngx_http_lrt_json_malloc(size_t size);
static ngx_int_t ngx_http_lrt_json_object(ngx_pool_t *pool, json_t *from,
    const ngx_http_lrt_field_t *fields, void *object, uint32_t *given,
    ngx_http_lrt_fault_t *fault);
static ngx_int_t ngx_http_lrt_json_elements(ngx_pool_t *pool, json_t *all,
    const ngx_http_lrt_field_t *field, ngx_array_t *elements,
    ngx_http_lrt_fault_t *fault);
static ngx_int_t ngx_http_lrt_json_element(ngx_pool_t *pool, json_t *from,
    const ngx_http_lrt_list_t *list, char *element,
    ngx_http_lrt_fault_t *fault);
static ngx_int_t ngx_http_lrt_json_copy(ngx_pool_t *pool, json_t *from,
    ngx_str_t *s, ngx_http_lrt_fault_t *fault);
static const ngx_http_lrt_field_t *ngx_http_lrt_json_field(
    const ngx_http_lrt_field_t *field, const char *key);
static ngx_int_t ngx_http_lrt_json_member(ngx_pool_t *pool,
    ngx_http_lrt_fault_t *fault, const char *key);
static ngx_int_t ngx_http_lrt_json_value(ngx_pool_t *pool, json_t *from,
    const ngx_http_lrt_field_t *field, void *object, uint32_t *given,
    ngx_http_lrt_fault_t *fault);
static ngx_int_t ngx_http_lrt_json_no_memory(ngx_pool_t *pool,
    ngx_http_lrt_fault_t *fault);
static ngx_int_t ngx_http_lrt_json_period_value(json_t *from, uint64_t *ms);
static ngx_int_t ngx_http_lrt_json_percents(json_t *from, uint64_t *permille);
static ngx_int_t ngx_http_lrt_json_word(json_t *from, const char *const *words,
    uint8_t *number);


/* what the library took memory with before, and whether there was none */

static json_malloc_t      ngx_http_lrt_json_memory;
static __thread unsigned  ngx_http_lrt_json_refused;


/*
 * The library does not look at each result of malloc(): a text for which there
 * is no memory is cut off, an address with it.  So we look.
 */

void
ngx_http_lrt_json_init(void)
{
    json_free_t  release;

    if (ngx_http_lrt_json_memory) {
        return;
    }

    json_get_alloc_funcs(&ngx_http_lrt_json_memory, &release);
    json_set_alloc_funcs(ngx_http_lrt_json_malloc, release);
}


static void *
ngx_http_lrt_json_malloc(size_t size)
{
    void  *p;

    p = ngx_http_lrt_json_memory(size);

    if (p == NULL) {
        ngx_http_lrt_json_refused = 1;
    }

    return p;
}


ngx_int_t
ngx_http_lrt_json_read(ngx_pool_t *pool, ngx_str_t *text,
    const ngx_http_lrt_field_t *fields, void *object, uint32_t *given,
    ngx_http_lrt_fault_t *fault)
{
    json_t        *root;
    ngx_int_t      rc;
    json_error_t   error;

    ngx_http_lrt_json_refused = 0;

    root = json_loadb((char *) text->data, text->len,
                      JSON_REJECT_DUPLICATES|JSON_DECODE_ANY, &error);

    if (ngx_http_lrt_json_refused) {
        json_decref(root);
        return ngx_http_lrt_json_no_memory(pool, fault);
    }

    if (root == NULL) {
        fault->line = error.line;
        fault->column = error.column;

        return ngx_http_lrt_fault(pool, fault,
                                  NGX_HTTP_UNSUPPORTED_MEDIA_TYPE, "JsonError",
                                  "%s", error.text);
    }

    *given = 0;

    if (json_is_object(root)) {
        rc = ngx_http_lrt_json_object(pool, root, fields, object, given,
                                      fault);
    } else {
        rc = ngx_http_lrt_fault(pool, fault, NGX_HTTP_BAD_REQUEST,
                                NGX_HTTP_LRT_BAD_FORMAT,
                                "an object is expected");
    }

    json_decref(root);

    return rc;
}


static ngx_int_t
ngx_http_lrt_json_elements(ngx_pool_t *pool, json_t *all,
    const ngx_http_lrt_field_t *field, ngx_array_t *elements,
    ngx_http_lrt_fault_t *fault)
{
    char                       *element;
    size_t                      i;
    json_t                     *from;
    ngx_int_t                   rc;
    const ngx_http_lrt_list_t  *list;

    if (json_array_size(all) > field->max) {
        return ngx_http_lrt_fault(pool, fault, NGX_HTTP_BAD_REQUEST,
                                  NGX_HTTP_LRT_BAD_FORMAT,
                                  "\"%s\" has more than %uL elements",
                                  field->name, field->max);
    }

    list = field->words;

    json_array_foreach(all, i, from) {

        element = ngx_array_push(elements);

        if (element == NULL) {
            return ngx_http_lrt_json_no_memory(pool, fault);
        }

        list->begin(element);

        rc = ngx_http_lrt_json_element(pool, from, list, element, fault);

        if (rc != NGX_OK) {
            fault->list = list;
            fault->element = i + 1;
            return rc;
        }
    }

    return NGX_OK;
}


static ngx_int_t
ngx_http_lrt_json_element(ngx_pool_t *pool, json_t *from,
    const ngx_http_lrt_list_t *list, char *element,
    ngx_http_lrt_fault_t *fault)
{
    uint32_t  *given;

    given = (uint32_t *) (element + list->given);

    if (json_is_object(from)) {
        return ngx_http_lrt_json_object(pool, from, list->fields, element,
                                        given, fault);
    }

    if (json_is_string(from) && list->text_given) {
        *given = list->text_given;
        return ngx_http_lrt_json_copy(pool, from,
                                      (ngx_str_t *) (element + list->text),
                                      fault);
    }

    return ngx_http_lrt_fault(pool, fault, NGX_HTTP_BAD_REQUEST,
                              NGX_HTTP_LRT_BAD_FORMAT,
                              list->text_given
                              ? "an object or a text is expected"
                              : "an object is expected");
}


static ngx_int_t
ngx_http_lrt_json_copy(ngx_pool_t *pool, json_t *from, ngx_str_t *s,
    ngx_http_lrt_fault_t *fault)
{
    s->len = json_string_length(from);
    s->data = ngx_pnalloc(pool, s->len + 1);

    if (s->data == NULL) {
        return ngx_http_lrt_json_no_memory(pool, fault);
    }

    ngx_memcpy(s->data, json_string_value(from), s->len + 1);

    return NGX_OK;
}


static ngx_int_t
ngx_http_lrt_json_no_memory(ngx_pool_t *pool, ngx_http_lrt_fault_t *fault)
{
    return ngx_http_lrt_fault(pool, fault, NGX_HTTP_INTERNAL_SERVER_ERROR,
                              NGX_HTTP_LRT_NO_MEMORY, "no memory");
}


static ngx_int_t
ngx_http_lrt_json_object(ngx_pool_t *pool, json_t *from,
    const ngx_http_lrt_field_t *fields, void *object, uint32_t *given,
    ngx_http_lrt_fault_t *fault)
{
    json_t                      *value;
    ngx_int_t                    rc;
    const char                  *key;
    const ngx_http_lrt_field_t  *field;

    json_object_foreach(from, key, value) {

        field = ngx_http_lrt_json_field(fields, key);

        if (field == NULL) {
            rc = ngx_http_lrt_fault(pool, fault, NGX_HTTP_BAD_REQUEST,
                                    NGX_HTTP_LRT_BAD_FORMAT,
                                    "unknown parameter \"%s\"", key);
        } else {
            rc = ngx_http_lrt_json_value(pool, value, field, object, given,
                                         fault);
        }

        if (rc == NGX_ERROR) {
            rc = ngx_http_lrt_fault(pool, fault, NGX_HTTP_BAD_REQUEST,
                                    field->code ? field->code
                                                : NGX_HTTP_LRT_BAD_FORMAT,
                                    "invalid value of \"%s\"", key);
        }

        if (rc != NGX_OK) {
            return ngx_http_lrt_json_member(pool, fault, key);
        }

        *given |= field->field;
    }

    return NGX_OK;
}


static const ngx_http_lrt_field_t *
ngx_http_lrt_json_field(const ngx_http_lrt_field_t *field, const char *key)
{
    while (field->name == NULL || ngx_strcmp(field->name, key) != 0) {

        field = field->name ? field + 1 : field->words;

        if (field == NULL) {
            return NULL;
        }
    }

    return field;
}


/* NGX_DECLINED */

static ngx_int_t
ngx_http_lrt_json_member(ngx_pool_t *pool, ngx_http_lrt_fault_t *fault,
    const char *key)
{
    fault->member.len = ngx_strlen(key);
    fault->member.data = ngx_pnalloc(pool, fault->member.len + 1);

    if (fault->member.data == NULL) {
        fault->member.len = 0;
        return ngx_http_lrt_json_no_memory(pool, fault);
    }

    ngx_memcpy(fault->member.data, key, fault->member.len + 1);

    return NGX_DECLINED;
}


/* NGX_ERROR: the value is not possible; NGX_DECLINED: "fault" says more */

static ngx_int_t
ngx_http_lrt_json_value(ngx_pool_t *pool, json_t *from,
    const ngx_http_lrt_field_t *field, void *object, uint32_t *given,
    ngx_http_lrt_fault_t *fault)
{
    char      *p;
    uint64_t   n;

    p = (char *) object + field->offset;
    n = 0;

    if (field->kind == NGX_HTTP_LRT_LIST && !json_is_array(from)) {
        return ngx_http_lrt_fault(pool, fault, NGX_HTTP_BAD_REQUEST,
                                  NGX_HTTP_LRT_BAD_FORMAT,
                                  "a list \"%s\" is expected", field->name);
    }

    if ((json_is_object(from) && field->kind != NGX_HTTP_LRT_NESTED)
        || (json_is_array(from) && field->kind != NGX_HTTP_LRT_LIST))
    {
        return ngx_http_lrt_fault(pool, fault, NGX_HTTP_BAD_REQUEST,
                                  NGX_HTTP_LRT_BAD_FORMAT,
                                  "nested object or list in \"%s\"",
                                  field->name);
    }

    switch (field->kind) {

    case NGX_HTTP_LRT_UINT16:
    case NGX_HTTP_LRT_UINT32:
    case NGX_HTTP_LRT_UINT64:

        if (!json_is_integer(from) || json_integer_value(from) < 0) {
            return NGX_ERROR;
        }

        n = (uint64_t) json_integer_value(from);
        break;

    case NGX_HTTP_LRT_PERIOD:
    case NGX_HTTP_LRT_PERIOD32:

        if (ngx_http_lrt_json_period_value(from, &n) != NGX_OK) {
            return NGX_ERROR;
        }

        break;

    case NGX_HTTP_LRT_PERCENTS:

        if (ngx_http_lrt_json_percents(from, &n) != NGX_OK) {
            return NGX_ERROR;
        }

        break;

    case NGX_HTTP_LRT_FLAG:

        if (!json_is_boolean(from)) {
            return NGX_ERROR;
        }

        *(uint8_t *) p = json_is_true(from);
        return NGX_OK;

    case NGX_HTTP_LRT_WORD:
        return ngx_http_lrt_json_word(from, field->words, (uint8_t *) p);

    case NGX_HTTP_LRT_NESTED:

        if (!json_is_object(from)) {
            return NGX_ERROR;
        }

        return ngx_http_lrt_json_object(pool, from, field->words, object,
                                        given, fault);

    case NGX_HTTP_LRT_LIST:
        return ngx_http_lrt_json_elements(pool, from, field,
                                          (ngx_array_t *) p, fault);

    default: /* NGX_HTTP_LRT_TEXT */

        if (!json_is_string(from) || json_string_length(from) > field->max) {
            return NGX_ERROR;
        }

        return ngx_http_lrt_json_copy(pool, from, (ngx_str_t *) p, fault);
    }

    if (n > field->max) {
        return NGX_ERROR;
    }

    switch (field->kind) {

    case NGX_HTTP_LRT_UINT16:
    case NGX_HTTP_LRT_PERCENTS:
        *(uint16_t *) p = (uint16_t) n;
        break;

    case NGX_HTTP_LRT_UINT32:
    case NGX_HTTP_LRT_PERIOD32:
        *(uint32_t *) p = (uint32_t) n;
        break;

    default: /* UINT64, PERIOD */
        *(uint64_t *) p = n;
        break;
    }

    return NGX_OK;
}


static ngx_int_t
ngx_http_lrt_json_period_value(json_t *from, uint64_t *ms)
{
    ngx_str_t  s;

    if (json_is_integer(from)) {

        if (json_integer_value(from) < 0
            || json_integer_value(from) > INT64_MAX / 1000)
        {
            return NGX_ERROR;
        }

        *ms = (uint64_t) json_integer_value(from) * 1000;
        return NGX_OK;
    }

    if (!json_is_string(from)) {
        return NGX_ERROR;
    }

    s.data = (u_char *) json_string_value(from);
    s.len = json_string_length(from);

    return ngx_http_lrt_period(&s, ms);
}


ngx_int_t
ngx_http_lrt_period(const ngx_str_t *text, uint64_t *ms)
{
    ngx_int_t  n;
    ngx_str_t  s;

    s = *text;

    if (s.len == 0) {
        return NGX_ERROR;
    }

    /* nginx' own "ms" is bare in milliseconds only, in seconds it is none */

    n = ngx_parse_time(&s, 1);

    if (n >= 0) {
        *ms = (uint64_t) n * 1000;
        return NGX_OK;
    }

    n = ngx_parse_time(&s, 0);

    if (n < 0) {
        return NGX_ERROR;
    }

    *ms = (uint64_t) n;

    return NGX_OK;
}


static ngx_int_t
ngx_http_lrt_json_percents(json_t *from, uint64_t *permille)
{
    ngx_int_t  n;
    ngx_str_t  s;

    if (!json_is_string(from)) {
        return NGX_ERROR;
    }

    s.data = (u_char *) json_string_value(from);
    s.len = json_string_length(from);

    if (s.len == 3 && ngx_strncmp(s.data, "off", 3) == 0) {
        *permille = 0;
        return NGX_OK;
    }

    if (ngx_http_lrt_percents(&s, &n) != NGX_OK) {
        return NGX_ERROR;
    }

    *permille = (uint64_t) n;

    return NGX_OK;
}


ngx_int_t
ngx_http_lrt_percents(const ngx_str_t *text, ngx_int_t *permille)
{
    if (text->len < 2 || text->data[text->len - 1] != '%') {
        return NGX_ERROR;
    }

    *permille = ngx_atofp(text->data, text->len - 1, 1);

    return (*permille == NGX_ERROR) ? NGX_ERROR : NGX_OK;
}


static ngx_int_t
ngx_http_lrt_json_word(json_t *from, const char *const *words, uint8_t *number)
{
    uint8_t  i;

    if (!json_is_string(from)) {
        return NGX_ERROR;
    }

    for (i = 0; words[i]; i++) {
        if (ngx_strcmp(words[i], json_string_value(from)) == 0) {
            *number = i;
            return NGX_OK;
        }
    }

    return NGX_ERROR;
}


/* the text is escaped when it is answered, so it may quote what was sent */

ngx_int_t
ngx_http_lrt_fault(ngx_pool_t *pool, ngx_http_lrt_fault_t *fault,
    ngx_uint_t status, const char *code, const char *fmt, ...)
{
    u_char    buf[NGX_MAX_ERROR_STR];
    va_list   args;

    fault->status = status;
    fault->code = code;

    va_start(args, fmt);
    fault->text.len = ngx_vslprintf(buf, buf + sizeof(buf), fmt, args) - buf;
    va_end(args);

    fault->text.data = ngx_pnalloc(pool, fault->text.len);

    if (fault->text.data == NULL) {

        /* half of a reason is none */

        fault->status = NGX_HTTP_INTERNAL_SERVER_ERROR;
        fault->code = NGX_HTTP_LRT_NO_MEMORY;
        ngx_str_set(&fault->text, "no memory");

        return NGX_DECLINED;
    }

    ngx_memcpy(fault->text.data, buf, fault->text.len);

    return NGX_DECLINED;
}
