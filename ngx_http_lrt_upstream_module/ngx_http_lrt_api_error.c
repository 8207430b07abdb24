
/*
 * Copyright (C) the ngx_http_lrt_upstream_module authors
 *
 * Errors as clients of NGINX Plus know them.  They read each answer as JSON,
 * so those that nginx itself gives in our locations - a body too large, a
 * missing password - are put into the same form.
 */


#include "ngx_http_lrt_api.h"


#define NGX_HTTP_LRT_API_HREF                                                 \
    "https://nginx.org/en/docs/http/ngx_http_api_module.html"


static const struct {
    ngx_uint_t           status;
    const char          *code;
    const char          *text;
} ngx_http_lrt_api_pages[] = {
    { 400, "BadRequest", "bad request" },
    { 401, "Unauthorized", "authorization required" },
    { 403, "Forbidden", "forbidden" },
    { 404, "PathNotFound", "path not found" },
    { 405, "MethodNotAllowed", "method not allowed" },
    { 408, "BodyReadError", "request timed out" },
    { 411, "BodyReadError", "length required" },
    { 412, "PreconditionFailed", "precondition failed" },
    { 413, "BodyTooLarge",
      "the body is larger than \"client_max_body_size\" allows" },
    { 429, "TooManyRequests", "too many requests" },
    { 503, "Unavailable", "service unavailable" },
    { 0, "InternalError", "error" }
};


void
ngx_http_lrt_api_fault_place(ngx_http_lrt_api_t *api)
{
    ngx_http_lrt_fault_t  *fault;

    fault = &api->fault;

    if (fault->line) {
        (void) ngx_http_lrt_fault(api->request->pool, fault, fault->status,
                                  fault->code, "%V at line %d, column %d",
                                  &fault->text, fault->line, fault->column);

    } else if (fault->element) {
        (void) ngx_http_lrt_fault(api->request->pool, fault, fault->status,
                                  fault->code, "%s %ui: %V",
                                  ngx_http_lrt_fault_element(fault),
                                  &fault->text);
    }
}


void
ngx_http_lrt_api_refuse(ngx_http_lrt_api_t *api)
{
    ngx_str_t                   id;
    ngx_http_lrt_out_t         *o;
    ngx_http_variable_value_t  *vv;

    static ngx_str_t            name = ngx_string("request_id");

    ngx_http_lrt_out_init(&api->out, api->request->pool);

    api->status = api->fault.status;
    api->write = NULL;
    api->tag = 0;
    o = &api->out;

    id.len = 0;
    id.data = NULL;

    vv = ngx_http_get_variable(api->request, &name,
                               ngx_hash_key(name.data, name.len));

    if (vv && !vv->not_found && vv->valid) {
        id.data = vv->data;
        id.len = vv->len;
    }

    ngx_http_lrt_json_open(o, NULL, '{');
    ngx_http_lrt_json_open(o, "error", '{');
    ngx_http_lrt_json_uint(o, "status", api->fault.status);
    ngx_http_lrt_json_str(o, "text", &api->fault.text);
    ngx_http_lrt_json_text(o, "code", api->fault.code);
    ngx_http_lrt_json_close(o, '}');
    ngx_http_lrt_json_str(o, "request_id", &id);
    ngx_http_lrt_json_text(o, "href", NGX_HTTP_LRT_API_HREF);
    ngx_http_lrt_json_close(o, '}');
}


ngx_int_t
ngx_http_lrt_api_page(ngx_http_request_t *r)
{
    ngx_uint_t                i;
    ngx_http_lrt_api_t       *api;
    ngx_http_lrt_loc_conf_t  *llcf;

    llcf = ngx_http_get_module_loc_conf(r, ngx_http_lrt_upstream_module);

    if (!llcf->api || r->headers_out.status < NGX_HTTP_BAD_REQUEST) {
        return NGX_DECLINED;
    }

    api = ngx_http_get_module_ctx(r, ngx_http_lrt_filter_module);

    if (api == NULL) {
        api = ngx_pcalloc(r->pool, sizeof(ngx_http_lrt_api_t));
        if (api == NULL) {
            return NGX_ERROR;
        }

        api->request = r;
        ngx_http_set_ctx(r, api, ngx_http_lrt_filter_module);
    }

    if (api->answered) {
        return NGX_DECLINED;
    }

    for (i = 0; ngx_http_lrt_api_pages[i].status; i++) {
        if (ngx_http_lrt_api_pages[i].status == r->headers_out.status) {
            break;
        }
    }

    (void) ngx_http_lrt_fault(r->pool, &api->fault, r->headers_out.status,
                              ngx_http_lrt_api_pages[i].code, "%s",
                              ngx_http_lrt_api_pages[i].text);

    ngx_http_lrt_api_refuse(api);

    if (api->out.failed) {
        return NGX_ERROR;
    }

    api->page = 1;

    ngx_str_set(&r->headers_out.content_type, "application/json");
    r->headers_out.content_type_len = r->headers_out.content_type.len;
    r->headers_out.content_type_lowcase = NULL;

    ngx_http_clear_content_length(r);
    r->headers_out.content_length_n = api->out.size;

    return NGX_OK;
}


/* the page that nginx brings is passed over */

ngx_int_t
ngx_http_lrt_api_page_body(ngx_http_request_t *r, ngx_chain_t *in,
    ngx_chain_t **out)
{
    ngx_chain_t         *cl;
    ngx_http_lrt_api_t  *api;

    api = ngx_http_get_module_ctx(r, ngx_http_lrt_filter_module);

    if (api == NULL || !api->page) {
        return NGX_DECLINED;
    }

    for ( /* void */ ; in; in = in->next) {
        in->buf->pos = in->buf->last;
    }

    *out = ngx_http_lrt_out_take(&api->out);

    for (cl = *out; cl; cl = cl->next) {
        if (cl->next == NULL) {
            cl->buf->last_buf = (r == r->main);
            cl->buf->last_in_chain = 1;
        }
    }

    return NGX_OK;
}
