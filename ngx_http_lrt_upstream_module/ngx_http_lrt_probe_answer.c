
/*
 * Copyright (C) the ngx_http_lrt_upstream_module authors
 *
 * What a server says to a probe: lrt_response.c takes it apart, lrt_match.c
 * has an opinion of it; here it is bounded in time and in memory.
 */


#include "ngx_http_lrt_probe.h"


#define NGX_HTTP_LRT_PROBE_BUFFER  16384
#define NGX_HTTP_LRT_PROBE_TURN    (4 * NGX_HTTP_LRT_PROBE_BUFFER)
#define NGX_HTTP_LRT_PROBE_BODY    4096      /* at first */


static void ngx_http_lrt_probe_header(void *data, const lrt_str_t *name,
    const lrt_str_t *value);
static void ngx_http_lrt_probe_body(void *data, const char *p, size_t len);


void
ngx_http_lrt_probe_read(ngx_http_lrt_probe_t *probe)
{
    size_t                  turn;
    ssize_t                 n;
    ngx_event_t            *rev;
    ngx_connection_t       *c;
    lrt_response_rc_e       rc;
    lrt_response_handler_t  handler;

    static u_char  buf[NGX_HTTP_LRT_PROBE_BUFFER];

    c = probe->connection;
    rev = c->read;

    handler.header = ngx_http_lrt_probe_header;
    handler.body = lrt_match_wants_body(probe->errand.question->match)
                   ? ngx_http_lrt_probe_body : NULL;
    handler.data = probe;

    turn = 0;

    /* of very many events nginx may not have been told all yet */

    if (rev->timedout) {
        rev->available = -1;
    }

    do {
        n = c->recv(c, buf, sizeof(buf));

        if (n == NGX_AGAIN) {
            break;
        }

        if (n == NGX_ERROR) {
            ngx_http_lrt_probe_broken(probe, LRT_CHECK_RESET);
            return;
        }

        if (n == 0) {

            if (lrt_response_eof(&probe->response) == LRT_RESPONSE_DONE) {
                ngx_http_lrt_probe_judge(probe);
                return;
            }

            ngx_http_lrt_probe_broken(probe, probe->response.reason);
            return;
        }

        probe->answered = 1;

        rc = lrt_response_read(&probe->response, (char *) buf, n, &handler);

        if (rc != LRT_RESPONSE_AGAIN) {
            ngx_http_lrt_probe_judge(probe);
            return;
        }

        turn += n;

    } while (rev->ready && turn < NGX_HTTP_LRT_PROBE_TURN);

    /* others have their turn, too */

    if ((n != NGX_AGAIN && rev->ready) || rev->posted) {
        ngx_http_lrt_probe_handler(rev);
        return;
    }

    if (ngx_handle_read_event(rev, 0) != NGX_OK) {
        ngx_http_lrt_probe_done(probe, LRT_CHECK_LOCAL_OTHER);
        return;
    }

    if (rev->timedout) {
        ngx_http_lrt_probe_timed_out(probe);
    }
}


static void
ngx_http_lrt_probe_header(void *data, const lrt_str_t *name,
    const lrt_str_t *value)
{
    ngx_http_lrt_probe_t  *probe = data;

    lrt_match_header(probe->errand.question->match, &probe->run, name, value);
}


/* no more than LRT_RESPONSE_BODY; without memory the rest is not seen */

static void
ngx_http_lrt_probe_body(void *data, const char *p, size_t len)
{
    ngx_http_lrt_probe_t  *probe = data;

    char    *body;
    size_t   size;

    if (probe->len + len > probe->size) {

        size = ngx_max(2 * probe->size, probe->len + len);
        size = ngx_max(size, NGX_HTTP_LRT_PROBE_BODY);

        body = ngx_alloc(size, probe->errand.log);
        if (body == NULL) {
            return;
        }

        if (probe->body) {
            ngx_memcpy(body, probe->body, probe->len);
            ngx_free(probe->body);
        }

        probe->body = body;
        probe->size = size;
    }

    ngx_memcpy(probe->body + probe->len, p, len);
    probe->len += len;
}


void
ngx_http_lrt_probe_judge(ngx_http_lrt_probe_t *probe)
{
    lrt_str_t            body;
    lrt_match_verdict_t  verdict;

    if (probe->response.rc == LRT_RESPONSE_FAILED) {
        ngx_http_lrt_probe_done(probe, probe->response.reason);
        return;
    }

    body.data = probe->body ? probe->body : "";
    body.len = probe->len;

    verdict = lrt_match_verdict(probe->errand.question->match, &probe->run,
                                probe->response.status, &body);

    ngx_http_lrt_probe_done(probe, verdict.reason);
}
