
/*
 * Copyright (C) the ngx_http_lrt_upstream_module authors
 *
 * The body of a request, in memory or in a file, into servers: one object, or
 * a list of them that is read in steps.
 */


#include "ngx_http_lrt_api.h"


#define NGX_HTTP_LRT_API_OBJECT  8192        /* bytes of one server */
#define NGX_HTTP_LRT_API_PIECE   16384

/* the text of a server takes so many bytes at least; servers to expect */

#define NGX_HTTP_LRT_API_SHORT   20
#define NGX_HTTP_LRT_API_MANY    65536


static ngx_int_t ngx_http_lrt_api_read_more(ngx_http_lrt_api_t *api);
static ngx_int_t ngx_http_lrt_api_piece(ngx_http_lrt_api_t *api,
    ngx_str_t *piece);
static ngx_int_t ngx_http_lrt_api_collect(ngx_http_lrt_api_t *api,
    const lrt_span_t *span);
static ngx_int_t ngx_http_lrt_api_object(ngx_http_lrt_api_t *api);
static ngx_int_t ngx_http_lrt_api_group_spec(ngx_http_lrt_api_t *api,
    ngx_str_t *text);
static ngx_int_t ngx_http_lrt_api_spec(ngx_http_lrt_api_t *api,
    ngx_str_t *text);
static ngx_uint_t ngx_http_lrt_api_permits(ngx_http_lrt_loc_conf_t *llcf,
    struct sockaddr *sa);


ngx_int_t
ngx_http_lrt_api_read_body(ngx_http_lrt_api_t *api, ngx_http_lrt_api_pt then)
{
    ngx_uint_t           n;
    ngx_http_request_t  *r;

    r = api->request;

    /*
     * An array that grows is copied, which for thousands takes longer than a
     * step may; memory that is not used in the end is not touched either.
     */

    n = 4;

    if (r->headers_in.content_length_n > 0) {
        n += ngx_min(r->headers_in.content_length_n / NGX_HTTP_LRT_API_SHORT,
                     ngx_min(api->group->table.capacity,
                             NGX_HTTP_LRT_API_MANY));
    }

    if (ngx_array_init(&api->specs, r->pool, n, sizeof(ngx_http_lrt_spec_t))
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    api->object = ngx_create_temp_buf(r->pool, NGX_HTTP_LRT_API_OBJECT);
    api->piece = ngx_palloc(r->pool, NGX_HTTP_LRT_API_PIECE);

    if (api->object == NULL || api->piece == NULL) {
        return NGX_ERROR;
    }

    api->dry = ngx_http_lrt_api_dry(api);
    api->body = r->request_body ? r->request_body->bufs : NULL;
    api->then = then;
    api->step = ngx_http_lrt_api_read_more;

    return api->step(api);
}


static ngx_int_t
ngx_http_lrt_api_read_more(ngx_http_lrt_api_t *api)
{
    size_t       n;
    uint64_t     since;
    ngx_int_t    rc;
    ngx_str_t    piece;
    lrt_span_t   span;

    since = ngx_http_lrt_now();

    for ( ;; ) {
        rc = ngx_http_lrt_api_piece(api, &piece);

        if (rc == NGX_ERROR) {
            return NGX_ERROR;
        }

        if (rc == NGX_DONE) {
            break;
        }

        while (piece.len) {
            n = lrt_split(&api->split, piece.data, piece.len, &span);

            api->body_pos += n;
            api->bytes += n;
            piece.data += n;
            piece.len -= n;

            if (api->split.state == LRT_SPLIT_WRONG) {
                return ngx_http_lrt_fault(api->request->pool, &api->fault,
                                          NGX_HTTP_UNSUPPORTED_MEDIA_TYPE,
                                          "JsonError",
                                          "an object, or a list of objects, "
                                          "is expected at byte %uL",
                                          api->bytes);
            }

            rc = ngx_http_lrt_api_collect(api, &span);

            if (rc != NGX_OK) {
                return rc;
            }

            if (ngx_http_lrt_api_tired(since)) {
                api->wait = 0;
                return NGX_AGAIN;
            }
        }
    }

    if (api->split.state != LRT_SPLIT_END) {
        return ngx_http_lrt_fault(api->request->pool, &api->fault,
                                  NGX_HTTP_UNSUPPORTED_MEDIA_TYPE, "JsonError",
                                  "unexpected end of the text");
    }

    if (api->extra) {
        return ngx_http_lrt_api_full(api, (uint32_t) api->specs.nelts
                                          + api->extra);
    }

    return ngx_http_lrt_api_next(api, api->then);
}


/* the next bytes of the body, not too many; NGX_DONE at its end */

static ngx_int_t
ngx_http_lrt_api_piece(ngx_http_lrt_api_t *api, ngx_str_t *piece)
{
    off_t       left;
    ssize_t     n;
    ngx_buf_t  *b;

    for ( /* void */ ; api->body; api->body = api->body->next) {

        b = api->body->buf;
        left = ngx_buf_size(b) - api->body_pos;

        if (left <= 0) {
            api->body_pos = 0;
            continue;
        }

        if (ngx_buf_in_memory(b)) {
            piece->data = b->pos + api->body_pos;
            piece->len = (size_t) ngx_min(left, NGX_HTTP_LRT_API_PIECE);
            return NGX_OK;
        }

        n = ngx_read_file(b->file, api->piece,
                          (size_t) ngx_min(left, NGX_HTTP_LRT_API_PIECE),
                          b->file_pos + api->body_pos);

        if (n <= 0) {
            return NGX_ERROR;
        }

        piece->data = api->piece;
        piece->len = (size_t) n;
        return NGX_OK;
    }

    return NGX_DONE;
}


static ngx_int_t
ngx_http_lrt_api_collect(ngx_http_lrt_api_t *api, const lrt_span_t *span)
{
    ngx_buf_t  *b;

    b = api->object;

    if (span->len > (size_t) (b->end - b->last)) {
        return ngx_http_lrt_fault(api->request->pool, &api->fault,
                                  NGX_HTTP_BAD_REQUEST,
                                  "UpstreamConfFormatError",
                                  "an object is longer than %d bytes",
                                  NGX_HTTP_LRT_API_OBJECT);
    }

    b->last = ngx_cpymem(b->last, span->data, span->len);

    if (!span->done) {
        return NGX_OK;
    }

    return ngx_http_lrt_api_object(api);
}


static ngx_int_t
ngx_http_lrt_api_object(ngx_http_lrt_api_t *api)
{
    ngx_str_t  text;

    text.data = api->object->pos;
    text.len = api->object->last - api->object->pos;

    api->object->last = api->object->pos;

    return api->settings ? ngx_http_lrt_api_group_spec(api, &text)
                         : ngx_http_lrt_api_spec(api, &text);
}


static ngx_int_t
ngx_http_lrt_api_group_spec(ngx_http_lrt_api_t *api, ngx_str_t *text)
{
    ngx_int_t                   rc;
    ngx_http_lrt_group_spec_t  *spec;

    spec = api->settings;

    /* of a list, which is no group */

    if (api->split.list) {
        return NGX_OK;
    }

    rc = ngx_http_lrt_json_read(api->request->pool, text,
                                ngx_http_lrt_group_fields, spec, &spec->given,
                                &api->fault);

    if (rc == NGX_DECLINED) {
        ngx_http_lrt_api_fault_place(api);
    }

    return rc;
}


static ngx_int_t
ngx_http_lrt_api_spec(ngx_http_lrt_api_t *api, ngx_str_t *text)
{
    ngx_int_t             rc;
    ngx_http_lrt_spec_t  *spec, extra;

    /* what no zone of this size can hold is looked at, and forgotten */

    if (api->specs.nelts == api->group->table.capacity) {
        api->extra++;
        spec = &extra;

    } else {
        spec = ngx_array_push(&api->specs);
        if (spec == NULL) {
            return NGX_ERROR;
        }
    }

    ngx_memzero(spec, sizeof(ngx_http_lrt_spec_t));
    ngx_http_lrt_server_defaults(&spec->server.params);

    rc = ngx_http_lrt_json_read(api->request->pool, text,
                                ngx_http_lrt_spec_fields, spec, &spec->given,
                                &api->fault);

    if (rc == NGX_DECLINED) {
        ngx_http_lrt_api_fault_place(api);
    }

    if (rc == NGX_OK) {
        rc = ngx_http_lrt_spec_check(api->request->pool, spec, &api->fault);
    }

    if (rc != NGX_OK) {
        return rc;
    }

    if (spec->given & NGX_HTTP_LRT_GIVEN_HOST) {
        return ngx_http_lrt_fault(api->request->pool, &api->fault,
                                  NGX_HTTP_BAD_REQUEST,
                                  "UpstreamConfFormatError",
                                  "unknown parameter \"host\" or \"port\"");
    }

    if ((spec->given & NGX_HTTP_LRT_GIVEN_SERVER)
        && !ngx_http_lrt_api_permits(api->conf, (struct sockaddr *)
                                                spec->server.sockaddr)
        && !ngx_http_lrt_api_has(api, &spec->server))
    {
        return ngx_http_lrt_fault(api->request->pool, &api->fault,
                                  NGX_HTTP_BAD_REQUEST, "UpstreamBadAddress",
                                  "address \"%V\" is not permitted here",
                                  &spec->address);
    }

    return NGX_OK;
}


static ngx_uint_t
ngx_http_lrt_api_permits(ngx_http_lrt_loc_conf_t *llcf, struct sockaddr *sa)
{
    if (sa->sa_family == AF_UNIX) {
        return llcf->unix_sockets;
    }

    return llcf->networks == NULL
           || ngx_cidr_match(sa, llcf->networks) == NGX_OK;
}
