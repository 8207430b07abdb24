
/*
 * Copyright (C) the ngx_http_lrt_upstream_module authors
 *
 * When probes go on.  Whatever happens to their connections waits in a queue
 * of their own until a turn of the event loop has served all requests, and
 * then takes a slice of time; the next turn goes on where this one stopped.
 * After a stall a thousand answers may be there at once.
 */


#include "ngx_http_lrt_probe.h"


/* a timer may be so late before that says more of us than of the server */

#define NGX_HTTP_LRT_PROBE_SLACK   100       /* ms */

/* of a turn of the event loop, and of the time that something has waited */

#define NGX_HTTP_LRT_PROBE_SLICE   500       /* us */
#define NGX_HTTP_LRT_PROBE_PART    32
#define NGX_HTTP_LRT_PROBE_MORE    4000      /* us at most */


static void ngx_http_lrt_probe_later(ngx_event_t *ev);
static void ngx_http_lrt_probe_work(ngx_event_t *turn);
static void ngx_http_lrt_probe_go_on(ngx_http_lrt_probe_t *probe,
    ngx_event_t *ev);
static void ngx_http_lrt_probe_connect_go_on(ngx_http_lrt_probe_t *probe);
static void ngx_http_lrt_probe_idle_go_on(ngx_http_lrt_probe_t *probe);


static ngx_queue_t  ngx_http_lrt_probe_events;
static ngx_event_t  ngx_http_lrt_probe_turn;
static ngx_event_t  ngx_http_lrt_probe_next_turn;


void
ngx_http_lrt_probe_handler(ngx_event_t *ev)
{
    ngx_event_t           *turn;
    ngx_connection_t      *c;
    ngx_http_lrt_probe_t  *probe;

    c = ev->data;
    probe = c->data;

    /* nginx needs a connection that no probe uses right now */

    if (c->close) {
        ngx_http_lrt_probe_end(probe->owner);
        return;
    }

    /* each answer tells of room to write, too, in which nobody is interested */

    if (ev->write && probe->phase >= NGX_HTTP_LRT_PROBE_READ) {
        (void) ngx_handle_write_event(ev, 0);
        return;
    }

    turn = &ngx_http_lrt_probe_turn;

    if (turn->handler == NULL) {
        ngx_queue_init(&ngx_http_lrt_probe_events);
        turn->handler = ngx_http_lrt_probe_work;
        ngx_http_lrt_probe_next_turn.handler = ngx_http_lrt_probe_later;
    }

    /* in a queue of nginx it will be told again */

    if (!ev->posted) {
        probe->queued[ev->write] = ngx_http_lrt_now();
        ngx_post_event(ev, &ngx_http_lrt_probe_events);
    }

    turn->log = ngx_cycle->log;
    ngx_post_event(turn, &ngx_posted_events);
}


uint64_t
ngx_http_lrt_probe_slice(uint64_t waited)
{
    waited /= NGX_HTTP_LRT_PROBE_PART;

    return NGX_HTTP_LRT_PROBE_SLICE + ngx_min(waited, NGX_HTTP_LRT_PROBE_MORE);
}


/* what is posted for the next turn stands before all else there */

static void
ngx_http_lrt_probe_later(ngx_event_t *ev)
{
    ngx_post_event(&ngx_http_lrt_probe_turn, &ngx_posted_events);
}


static void
ngx_http_lrt_probe_work(ngx_event_t *turn)
{
    uint64_t               now, since, limit;
    ngx_event_t           *ev;
    ngx_queue_t           *q;
    ngx_connection_t      *c;
    ngx_http_lrt_probe_t  *probe;

    since = ngx_http_lrt_now();
    limit = 0;

    while (!ngx_queue_empty(&ngx_http_lrt_probe_events)) {

        q = ngx_queue_head(&ngx_http_lrt_probe_events);
        ev = ngx_queue_data(q, ngx_event_t, queue);
        c = ev->data;
        probe = c->data;

        now = ngx_http_lrt_now();

        if (limit == 0) {
            limit = ngx_http_lrt_probe_slice(since - probe->queued[ev->write]);

        } else if (now - since > limit) {

            /* who has more to read than it may at a time has posted it again */

            if (turn->posted) {
                ngx_delete_posted_event(turn);
            }

            ngx_http_lrt_probe_next_turn.log = ngx_cycle->log;
            ngx_post_event(&ngx_http_lrt_probe_next_turn,
                           &ngx_posted_next_events);
            return;
        }

        ngx_delete_posted_event(ev);
        probe->told = probe->queued[ev->write];

        /* a server cannot answer in time what we have not asked in time */

        probe->late |= (probe->phase < NGX_HTTP_LRT_PROBE_READ
                        && probe->told / 1000 < probe->deadline
                        && now / 1000 >= probe->deadline);

        ngx_http_lrt_probe_go_on(probe, ev);
    }
}


/*
 * The timer of a probe may be over while an event of before waits, so that one
 * is looked at first wherever there are both.
 */

static void
ngx_http_lrt_probe_go_on(ngx_http_lrt_probe_t *probe, ngx_event_t *ev)
{
    switch (probe->phase) {

    case NGX_HTTP_LRT_PROBE_CONNECT:
        ngx_http_lrt_probe_connect_go_on(probe);
        return;

#if (NGX_HTTP_SSL)
    case NGX_HTTP_LRT_PROBE_HANDSHAKE:
        ngx_http_lrt_probe_handshake(probe);
        return;
#endif

    case NGX_HTTP_LRT_PROBE_ASK:

        /* a response that does not wait for the whole request is read later */

        if (!ev->write) {
            (void) ngx_handle_read_event(ev, 0);
        }

        ngx_http_lrt_probe_ask(probe);
        return;

    case NGX_HTTP_LRT_PROBE_READ:
        ngx_http_lrt_probe_read(probe);
        return;

    default: /* NGX_HTTP_LRT_PROBE_IDLE */
        ngx_http_lrt_probe_idle_go_on(probe);
        return;
    }
}


static void
ngx_http_lrt_probe_connect_go_on(ngx_http_lrt_probe_t *probe)
{
    int                err;
    socklen_t          len;
    ngx_sockaddr_t     sa;
    ngx_connection_t  *c;

    c = probe->connection;

    if (!c->write->ready && !c->read->timedout) {
        return;
    }

    err = 0;
    len = sizeof(int);

    if (getsockopt(c->fd, SOL_SOCKET, SO_ERROR, (void *) &err, &len) == -1) {
        err = ngx_socket_errno;
    }

    if (err) {
        ngx_http_lrt_probe_done(probe, ngx_http_lrt_probe_fault(err));
        return;
    }

    /* of very many events nginx may not have been told all yet */

    len = sizeof(ngx_sockaddr_t);

    if (!c->write->ready && getpeername(c->fd, &sa.sockaddr, &len) == -1) {
        ngx_http_lrt_probe_timed_out(probe);
        return;
    }

    ngx_http_lrt_probe_connected(probe);
}


/* the server has closed it, or says what nobody asked */

static void
ngx_http_lrt_probe_idle_go_on(ngx_http_lrt_probe_t *probe)
{
    char               buf[1];
    ssize_t            n;
    ngx_connection_t  *c;

    c = probe->connection;
    n = recv(c->fd, buf, 1, MSG_PEEK);

    if (n == -1 && ngx_socket_errno == NGX_EAGAIN) {
        c->read->ready = 0;

        if (ngx_handle_read_event(c->read, 0) == NGX_OK) {
            return;
        }
    }

    ngx_http_lrt_probe_end(probe->owner);
}


void
ngx_http_lrt_probe_timed_out(ngx_http_lrt_probe_t *probe)
{
    uint64_t             now;
    ngx_event_t         *rev;
    lrt_check_reason_e   reason;

    /* nginx's timers count from when a turn began, which may be long ago */

    now = ngx_http_lrt_now() / 1000;

    if (now < probe->deadline) {
        rev = probe->connection->read;
        rev->timedout = 0;
        ngx_add_timer(rev, (ngx_msec_t) (probe->deadline - now));
        return;
    }

    /* a body that nobody asked about may come when it likes */

    if (probe->phase == NGX_HTTP_LRT_PROBE_READ
        && lrt_response_headed(&probe->response)
        && !lrt_match_wants_body(probe->errand.question->match))
    {
        ngx_http_lrt_probe_judge(probe);
        return;
    }

    if (probe->late
        || probe->told / 1000 > probe->deadline + NGX_HTTP_LRT_PROBE_SLACK)
    {
        reason = LRT_CHECK_LATE;

    } else if (probe->phase == NGX_HTTP_LRT_PROBE_CONNECT) {
        reason = LRT_CHECK_CONNECT_TIMEOUT;

    } else if (probe->phase == NGX_HTTP_LRT_PROBE_HANDSHAKE) {
        reason = LRT_CHECK_TLS_TIMEOUT;

    } else {
        reason = LRT_CHECK_ANSWER_TIMEOUT;
    }

    ngx_http_lrt_probe_done(probe, reason);
}
