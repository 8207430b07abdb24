
/*
 * Copyright (C) the ngx_http_lrt_upstream_module authors
 *
 * The name by which a client knows a server: its "route", or a digest of its
 * address.  Cookies that stock methods gave out stay good.
 */


#include "ngx_http_lrt.h"

#include <ngx_md5.h>


/* points to the route, or to "buf" */

ngx_str_t
ngx_http_lrt_sid(const lrt_str_t *name, const lrt_str_t *route, u_char *buf)
{
    u_char     hash[16];
    ngx_md5_t  md5;
    ngx_str_t  sid;

    if (route->len) {
        sid.len = ngx_min(route->len, NGX_HTTP_LRT_SID_LEN);
        sid.data = (u_char *) route->data;
        return sid;
    }

    ngx_md5_init(&md5);
    ngx_md5_update(&md5, name->data, name->len);
    ngx_md5_final(hash, &md5);

    ngx_hex_dump(buf, hash, sizeof(hash));

    sid.len = NGX_HTTP_LRT_SID_LEN;
    sid.data = buf;

    return sid;
}


/* never 0 */

uint64_t
ngx_http_lrt_sid_hash(const ngx_str_t *sid)
{
    return lrt_table_hash(sid->data, (uint32_t) sid->len, 0);
}
