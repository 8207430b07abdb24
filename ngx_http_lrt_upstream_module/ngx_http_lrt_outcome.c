
/*
 * Copyright (C) the ngx_http_lrt_upstream_module authors
 *
 * How an attempt ended, as far as nginx lets a balancer know when the peer is
 * given back.
 */


#include "ngx_http_lrt.h"


static ngx_uint_t ngx_http_lrt_fault(ngx_http_request_t *r);
static void ngx_http_lrt_samples(ngx_http_request_t *r,
    const ngx_http_lrt_record_t *record, uint64_t now, lrt_outcome_t *out);
static ngx_uint_t ngx_http_lrt_complete(ngx_http_request_t *r,
    ngx_peer_connection_t *pc);


/*
 * A kept-alive connection that the server had closed says nothing about the
 * server, nor does an attempt that ended before there was an answer, because
 * the client left or no connection could be made for a reason of our own.
 */

lrt_ended_e
ngx_http_lrt_outcome(ngx_http_request_t *r, ngx_peer_connection_t *pc,
    ngx_uint_t state, const ngx_http_lrt_record_t *record, lrt_outcome_t *out)
{
    uint64_t              now;
    ngx_uint_t            header;
    ngx_connection_t     *c;
    ngx_http_upstream_t  *u;

    u = r->upstream;
    c = pc->connection;

    ngx_memzero(out, sizeof(lrt_outcome_t));

    header = (u->state->header_time != (ngx_msec_t) -1);

    now = ngx_http_lrt_now();

    out->time = now - record->started;
    out->sent = (uint64_t) u->state->bytes_sent;
    out->received = (uint64_t) u->state->bytes_received;
    out->status = header ? (uint32_t) u->state->status : 0;

    if (state & NGX_PEER_FAILED) {

        if (pc->cached && !header && u->state->bytes_received == 0
            && !(c && (c->read->timedout || c->write->timedout)))
        {
            return LRT_ENDED_UNKNOWN;
        }

        out->failed = 1;

        return LRT_ENDED_FAILED;
    }

    if (!header) {
        return LRT_ENDED_UNKNOWN;
    }

    out->complete = ngx_http_lrt_complete(r, pc);

    if (!ngx_http_lrt_fault(r) && !r->connection->error) {
        ngx_http_lrt_samples(r, record, now, out);
    }

    return LRT_ENDED_WELL;
}


/*
 * Statuses with which a server says that it did not do what was asked: the
 * answer was easy, and its time is no promise.  The status of the attempt is
 * meant, which a cached response may stand for by now.
 */

static ngx_uint_t
ngx_http_lrt_fault(ngx_http_request_t *r)
{
    ngx_uint_t  status;

    status = r->upstream->state->status;

    return status >= NGX_HTTP_INTERNAL_SERVER_ERROR
           || status == NGX_HTTP_TOO_MANY_REQUESTS;
}


/*
 * Times from the moment at which the connection could take the request, so
 * that new and kept connections are alike.  The header is seen by a filter;
 * an answer that was not passed on has just arrived.
 */

static void
ngx_http_lrt_samples(ngx_http_request_t *r,
    const ngx_http_lrt_record_t *record, uint64_t now, lrt_outcome_t *out)
{
    uint64_t  from, header;

    from = record->ready ? record->ready : record->started;
    header = record->header ? record->header : now;

    out->header = (header > from) ? header - from : 1;

    /* unbuffered answers run at the pace of the client */

    if (out->complete && r->upstream->buffering) {
        out->last_byte = (now > from) ? now - from : 1;
    }
}


/* the response came to its end, so its time can be compared with others */

static ngx_uint_t
ngx_http_lrt_complete(ngx_http_request_t *r, ngx_peer_connection_t *pc)
{
    ngx_event_pipe_t     *p;
    ngx_http_upstream_t  *u;

    u = r->upstream;

    if (u->upgrade
        || !u->header_sent
        || r->connection->error
        || r->connection->timedout)
    {
        return 0;
    }

    /* keepalive has taken it, which it does for complete responses only */

    if (pc->connection == NULL || r->header_only) {
        return 1;
    }

    p = u->pipe;

    if (u->buffering && p) {
        return p->upstream_done || (p->upstream_eof && p->length == -1);
    }

    return u->length == 0 || (u->length == -1 && pc->connection->read->eof);
}
