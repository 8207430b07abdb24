
/*
 * Copyright (C) the ngx_http_lrt_upstream_module authors
 *
 * One probe of one server: a connection, a request, the response; one timer
 * for all of it.  What the server sends is in the hands of lrt_response.c;
 * here it is bounded in time.
 */


#include "ngx_http_lrt_check.h"


#define NGX_HTTP_LRT_PROBE_BUFFER  16384
#define NGX_HTTP_LRT_PROBE_TURN    (4 * NGX_HTTP_LRT_PROBE_BUFFER)
#define NGX_HTTP_LRT_PROBE_BODY    4096      /* at first */

/* a timer may be so late before that says more of us than of the server */

#define NGX_HTTP_LRT_PROBE_SLACK   100       /* ms */


typedef enum {
    NGX_HTTP_LRT_PROBE_CONNECT = 0,
    NGX_HTTP_LRT_PROBE_HANDSHAKE,
    NGX_HTTP_LRT_PROBE_ASK,
    NGX_HTTP_LRT_PROBE_READ,
    NGX_HTTP_LRT_PROBE_IDLE
} ngx_http_lrt_probe_phase_e;


struct ngx_http_lrt_probe_s {
    ngx_http_lrt_probe_t       **owner;
    ngx_http_lrt_errand_t        errand;
    ngx_connection_t            *connection;

    ngx_http_lrt_probe_phase_e   phase;
    unsigned                     reused:1;       /* connection of another one */
    unsigned                     answered:1;

    uint64_t                     deadline;       /* ms */
    uint64_t                     opened;         /* ms, the connection */
    uint64_t                     asked;          /* us */

    size_t                       sent;
    lrt_response_t               response;
    lrt_match_run_t              run;
    char                        *line;
    char                        *body;
    size_t                       size;
    size_t                       len;
    ngx_sockaddr_t               sockaddr;       /* to connect once more */

#if (NGX_HTTP_SSL)
    unsigned long                ssl_error;
#endif
};


static void ngx_http_lrt_probe_connect(ngx_http_lrt_probe_t *probe);
static lrt_check_reason_e ngx_http_lrt_probe_fault(ngx_err_t err);
static void ngx_http_lrt_probe_write_handler(ngx_event_t *wev);
static void ngx_http_lrt_probe_read_handler(ngx_event_t *rev);
static ngx_uint_t ngx_http_lrt_probe_silent(ngx_connection_t *c);
static void ngx_http_lrt_probe_idle_handler(ngx_event_t *rev);
static void ngx_http_lrt_probe_empty_handler(ngx_event_t *ev);
static void ngx_http_lrt_probe_connected(ngx_http_lrt_probe_t *probe);
static void ngx_http_lrt_probe_ask(ngx_http_lrt_probe_t *probe);
static void ngx_http_lrt_probe_read(ngx_http_lrt_probe_t *probe);
static void ngx_http_lrt_probe_broken(ngx_http_lrt_probe_t *probe,
    lrt_check_reason_e reason);
static void ngx_http_lrt_probe_timed_out(ngx_http_lrt_probe_t *probe);
static void ngx_http_lrt_probe_header(void *data, const lrt_str_t *name,
    const lrt_str_t *value);
static void ngx_http_lrt_probe_body(void *data, const char *p, size_t len);
static void ngx_http_lrt_probe_judge(ngx_http_lrt_probe_t *probe);
static void ngx_http_lrt_probe_done(ngx_http_lrt_probe_t *probe,
    lrt_check_reason_e reason);
static void ngx_http_lrt_probe_close(ngx_http_lrt_probe_t *probe);
static void ngx_http_lrt_probe_free_buffers(ngx_http_lrt_probe_t *probe);

#if (NGX_HTTP_SSL)
static void ngx_http_lrt_probe_handshake(ngx_http_lrt_probe_t *probe);
static void ngx_http_lrt_probe_handshaked(ngx_connection_t *c);
static void ngx_http_lrt_probe_ssl_info(const ngx_ssl_conn_t *ssl, int where,
    int ret);
static lrt_check_reason_e ngx_http_lrt_probe_ssl_fault(
    ngx_http_lrt_probe_t *probe);
#endif


/* connections of this process that no probe uses right now */

static ngx_uint_t  ngx_http_lrt_probes_kept;


ngx_uint_t
ngx_http_lrt_probes_max(void)
{
    return ngx_cycle->connection_n / 2;
}


void
ngx_http_lrt_probe_start(ngx_http_lrt_probe_t **owner,
    const ngx_http_lrt_errand_t *errand)
{
    uint64_t               now;
    lrt_result_t           result;
    ngx_connection_t      *c;
    const lrt_check_t     *check;
    ngx_http_lrt_probe_t  *probe;

    now = ngx_http_lrt_now() / 1000;
    check = &errand->question->check;
    probe = *owner;

    if (probe == NULL) {
        probe = ngx_calloc(sizeof(ngx_http_lrt_probe_t), errand->log);
    }

    if (probe) {
        probe->line = ngx_alloc(LRT_RESPONSE_LINE, errand->log);
    }

    if (probe == NULL || probe->line == NULL) {
        ngx_http_lrt_probe_end(&probe);
        *owner = NULL;

        ngx_memzero(&result, sizeof(lrt_result_t));
        result.how = LRT_PROBE_UNCLEAR;
        result.reason = LRT_CHECK_LOCAL_MEMORY;

        errand->done(errand->data, &result);
        return;
    }

    *owner = probe;

    probe->owner = owner;
    probe->errand = *errand;
    probe->deadline = now + check->timeout;
    probe->asked = 0;

    ngx_memcpy(&probe->sockaddr, errand->sockaddr, errand->socklen);
    probe->errand.sockaddr = &probe->sockaddr.sockaddr;

    c = probe->connection;

    if (c && now - probe->opened >= check->keepalive) {
        ngx_http_lrt_probe_close(probe);
        c = NULL;
    }

    if (c == NULL) {
        ngx_http_lrt_probe_connect(probe);
        return;
    }

    probe->reused = 1;

    ngx_http_lrt_probes_kept--;
    ngx_reusable_connection(c, 0);

    c->read->handler = ngx_http_lrt_probe_read_handler;
    c->write->handler = ngx_http_lrt_probe_write_handler;

    ngx_add_timer(c->read, (ngx_msec_t) check->timeout);

    ngx_http_lrt_probe_ask(probe);
}


void
ngx_http_lrt_probe_end(ngx_http_lrt_probe_t **owner)
{
    if (*owner) {
        ngx_http_lrt_probe_close(*owner);
        ngx_http_lrt_probe_free_buffers(*owner);
        ngx_free(*owner);
        *owner = NULL;
    }
}


ngx_uint_t
ngx_http_lrt_probe_busy(const ngx_http_lrt_probe_t *probe)
{
    return probe && probe->phase != NGX_HTTP_LRT_PROBE_IDLE;
}


static void
ngx_http_lrt_probe_connect(ngx_http_lrt_probe_t *probe)
{
    uint64_t                now;
    ngx_int_t               rc;
    ngx_str_t               name;
    ngx_connection_t       *c;
    ngx_peer_connection_t   pc;

    now = ngx_http_lrt_now();

    ngx_str_set(&name, "server under test");

    ngx_memzero(&pc, sizeof(ngx_peer_connection_t));

    pc.sockaddr = probe->errand.sockaddr;
    pc.socklen = probe->errand.socklen;
    pc.name = &name;
    pc.get = ngx_event_get_peer;
    pc.log = probe->errand.log;
    pc.log_error = NGX_ERROR_ERR;

    probe->phase = NGX_HTTP_LRT_PROBE_CONNECT;
    probe->reused = 0;
    probe->opened = now / 1000;
    probe->asked = now;

    /* the last connections are for requests */

    if (ngx_cycle->free_connection_n + ngx_cycle->reusable_connections_n
        <= ngx_cycle->connection_n / 16)
    {
        ngx_http_lrt_probe_done(probe, LRT_CHECK_LOCAL_CONNECTIONS);
        return;
    }

    ngx_set_errno(0);

    rc = ngx_event_connect_peer(&pc);

    if (rc != NGX_OK && rc != NGX_AGAIN) {
        ngx_http_lrt_probe_done(probe, ngx_http_lrt_probe_fault(ngx_errno));
        return;
    }

    c = pc.connection;

    c->data = probe;
    c->read->handler = ngx_http_lrt_probe_read_handler;
    c->write->handler = ngx_http_lrt_probe_write_handler;
    c->read->cancelable = 1;
    c->sendfile = 0;

    probe->connection = c;

    now /= 1000;
    ngx_add_timer(c->read, (now < probe->deadline)
                           ? (ngx_msec_t) (probe->deadline - now) : 1);

    if (rc == NGX_OK) {
        ngx_http_lrt_probe_connected(probe);
    }
}


/* a server that is not there, or what this machine cannot do right now */

static lrt_check_reason_e
ngx_http_lrt_probe_fault(ngx_err_t err)
{
    switch (err) {

    case NGX_ECONNREFUSED:
    case NGX_ENOENT:                         /* unix sockets */
    case NGX_EAGAIN:
        return LRT_CHECK_REFUSED;

    case NGX_ECONNRESET:
    case NGX_EPIPE:
        return LRT_CHECK_RESET;

    case NGX_ETIMEDOUT:
        return LRT_CHECK_CONNECT_TIMEOUT;

    case NGX_EHOSTUNREACH:
    case NGX_EHOSTDOWN:
        return LRT_CHECK_UNREACHABLE;

    case NGX_ENETUNREACH:
    case NGX_ENETDOWN:
        return LRT_CHECK_LOCAL_ROUTE;

    case NGX_EMFILE:
    case NGX_ENFILE:
        return LRT_CHECK_LOCAL_FILES;

    case NGX_ENOMEM:
    case ENOBUFS:
        return LRT_CHECK_LOCAL_MEMORY;

    case EADDRNOTAVAIL:
    case NGX_EADDRINUSE:
        return LRT_CHECK_LOCAL_PORT;

    default:
        return LRT_CHECK_LOCAL_OTHER;
    }
}


static void
ngx_http_lrt_probe_write_handler(ngx_event_t *wev)
{
    int                    err;
    socklen_t              len;
    ngx_connection_t      *c;
    ngx_http_lrt_probe_t  *probe;

    c = wev->data;
    probe = c->data;

    if (probe->phase == NGX_HTTP_LRT_PROBE_ASK) {
        ngx_http_lrt_probe_ask(probe);
        return;
    }

    if (probe->phase != NGX_HTTP_LRT_PROBE_CONNECT) {
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

    ngx_http_lrt_probe_connected(probe);
}


static void
ngx_http_lrt_probe_connected(ngx_http_lrt_probe_t *probe)
{
    switch (probe->errand.question->check.type) {

    case LRT_CHECK_TCP:
        ngx_http_lrt_probe_done(probe, LRT_CHECK_PASSED);
        return;

#if (NGX_HTTP_SSL)
    case LRT_CHECK_HTTPS:
        ngx_http_lrt_probe_handshake(probe);
        return;
#endif

    default:
        ngx_http_lrt_probe_ask(probe);
        return;
    }
}


static void
ngx_http_lrt_probe_ask(ngx_http_lrt_probe_t *probe)
{
    ssize_t            n;
    ngx_connection_t  *c;
    const ngx_str_t   *request;

    c = probe->connection;
    request = &probe->errand.question->request;

    if (probe->phase != NGX_HTTP_LRT_PROBE_ASK) {
        probe->phase = NGX_HTTP_LRT_PROBE_ASK;
        probe->asked = ngx_http_lrt_now();
        probe->sent = 0;
        probe->answered = 0;
        probe->len = 0;
        probe->run.met = 0;

        lrt_response_start(&probe->response, probe->line);
    }

    while (probe->sent < request->len) {

        n = c->send(c, request->data + probe->sent,
                    request->len - probe->sent);

        if (n == NGX_AGAIN) {
            if (ngx_handle_write_event(c->write, 0) != NGX_OK) {
                ngx_http_lrt_probe_done(probe, LRT_CHECK_LOCAL_OTHER);
            }

            return;
        }

        if (n <= 0) {
            ngx_http_lrt_probe_broken(probe, LRT_CHECK_RESET);
            return;
        }

        probe->sent += n;
    }

    probe->phase = NGX_HTTP_LRT_PROBE_READ;

    if (c->read->ready) {
        ngx_http_lrt_probe_read(probe);
        return;
    }

    if (ngx_handle_read_event(c->read, 0) != NGX_OK) {
        ngx_http_lrt_probe_done(probe, LRT_CHECK_LOCAL_OTHER);
    }
}


static void
ngx_http_lrt_probe_read_handler(ngx_event_t *rev)
{
    ngx_connection_t      *c;
    ngx_http_lrt_probe_t  *probe;

    c = rev->data;
    probe = c->data;

    if (rev->timedout) {
        ngx_http_lrt_probe_timed_out(probe);
        return;
    }

    /* a response that does not wait for the whole request is read later */

    if (probe->phase == NGX_HTTP_LRT_PROBE_READ) {
        ngx_http_lrt_probe_read(probe);
    }
}


static void
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

        /* others have their turn, too */

        if (turn >= NGX_HTTP_LRT_PROBE_TURN) {
            ngx_post_event(rev, &ngx_posted_next_events);
            return;
        }

    } while (rev->ready);

    if (ngx_handle_read_event(rev, 0) != NGX_OK) {
        ngx_http_lrt_probe_done(probe, LRT_CHECK_LOCAL_OTHER);
    }
}


/*
 * A server may close a kept connection at any time, also in the moment in
 * which a request is on its way: that is asked again, and once.
 */

static void
ngx_http_lrt_probe_broken(ngx_http_lrt_probe_t *probe,
    lrt_check_reason_e reason)
{
    if (probe->reused && !probe->answered) {
        ngx_http_lrt_probe_close(probe);
        ngx_http_lrt_probe_connect(probe);
        return;
    }

    ngx_http_lrt_probe_done(probe, reason);
}


/* what came in time was read before, as timers run after events */

static void
ngx_http_lrt_probe_timed_out(ngx_http_lrt_probe_t *probe)
{
    lrt_check_reason_e  reason;

    /* a body that nobody asked about may come when it likes */

    if (probe->phase == NGX_HTTP_LRT_PROBE_READ
        && lrt_response_headed(&probe->response)
        && !lrt_match_wants_body(probe->errand.question->match))
    {
        ngx_http_lrt_probe_judge(probe);
        return;
    }

    if (ngx_http_lrt_now() / 1000
        > probe->deadline + NGX_HTTP_LRT_PROBE_SLACK)
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


static void
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


/* whoever is told may end the probe, or start the next one */

static void
ngx_http_lrt_probe_done(ngx_http_lrt_probe_t *probe,
    lrt_check_reason_e reason)
{
    lrt_result_t            result;
    ngx_connection_t       *c;
    ngx_http_lrt_errand_t   errand;

    c = probe->connection;
    errand = probe->errand;

    ngx_memzero(&result, sizeof(lrt_result_t));

    result.how = (reason == LRT_CHECK_PASSED)     ? LRT_PROBE_PASSED
                 : lrt_check_reason_local(reason) ? LRT_PROBE_UNCLEAR
                                                  : LRT_PROBE_FAILED;
    result.reason = reason;
    result.time = ngx_http_lrt_now() - probe->asked;

    if (probe->phase == NGX_HTTP_LRT_PROBE_READ
        && (probe->response.rc != LRT_RESPONSE_AGAIN
            || lrt_response_headed(&probe->response)))
    {
        result.status = probe->response.status;
    }

    if (c
        && errand.question->check.keepalive
        && probe->phase == NGX_HTTP_LRT_PROBE_READ
        && probe->response.rc == LRT_RESPONSE_DONE
        && probe->response.keep
        && !c->read->eof
        && ngx_http_lrt_probe_silent(c)
        && ngx_http_lrt_probes_kept < ngx_http_lrt_probes_max())
    {
        ngx_http_lrt_probes_kept++;

        if (c->read->timer_set) {
            ngx_del_timer(c->read);
        }

        c->read->handler = ngx_http_lrt_probe_idle_handler;
        c->write->handler = ngx_http_lrt_probe_empty_handler;

        probe->phase = NGX_HTTP_LRT_PROBE_IDLE;
        ngx_http_lrt_probe_free_buffers(probe);
        ngx_reusable_connection(c, 1);

    } else {
        ngx_http_lrt_probe_end(probe->owner);
    }

    errand.done(errand.data, &result);
}


/* nothing came after the response: its end may be that of what was read */

static ngx_uint_t
ngx_http_lrt_probe_silent(ngx_connection_t *c)
{
    char  buf[1];

#if (NGX_HTTP_SSL)
    if (c->ssl && SSL_pending(c->ssl->connection)) {
        return 0;
    }
#endif

    if (!c->read->ready) {
        return 1;
    }

    if (recv(c->fd, buf, 1, MSG_PEEK) == -1
        && ngx_socket_errno == NGX_EAGAIN)
    {
        c->read->ready = 0;
        return 1;
    }

    return 0;
}


/* the server has closed it, or says what nobody asked, or nginx needs it */

static void
ngx_http_lrt_probe_idle_handler(ngx_event_t *rev)
{
    char               buf[1];
    ssize_t            n;
    ngx_connection_t  *c;

    c = rev->data;

    if (!c->close) {
        n = recv(c->fd, buf, 1, MSG_PEEK);

        if (n == -1 && ngx_socket_errno == NGX_EAGAIN) {
            rev->ready = 0;

            if (ngx_handle_read_event(rev, 0) == NGX_OK) {
                return;
            }
        }
    }

    ngx_http_lrt_probe_end(((ngx_http_lrt_probe_t *) c->data)->owner);
}


static void
ngx_http_lrt_probe_empty_handler(ngx_event_t *ev)
{
}


static void
ngx_http_lrt_probe_close(ngx_http_lrt_probe_t *probe)
{
    ngx_pool_t        *pool;
    ngx_connection_t  *c;

    c = probe->connection;

    if (c == NULL) {
        return;
    }

    probe->connection = NULL;
    pool = c->pool;

    if (probe->phase == NGX_HTTP_LRT_PROBE_IDLE) {
        ngx_http_lrt_probes_kept--;
    }

#if (NGX_HTTP_SSL)
    if (c->ssl) {
        c->ssl->no_wait_shutdown = 1;
        c->ssl->no_send_shutdown = !c->ssl->handshaked;
        (void) ngx_ssl_shutdown(c);
    }
#endif

    ngx_close_connection(c);

    if (pool) {
        ngx_destroy_pool(pool);
    }
}


static void
ngx_http_lrt_probe_free_buffers(ngx_http_lrt_probe_t *probe)
{
    if (probe->line) {
        ngx_free(probe->line);
        probe->line = NULL;
    }

    if (probe->body) {
        ngx_free(probe->body);
        probe->body = NULL;
        probe->size = 0;
    }
}


#if (NGX_HTTP_SSL)

static void
ngx_http_lrt_probe_handshake(ngx_http_lrt_probe_t *probe)
{
    char                            buf[1];
    ngx_int_t                       rc;
    ngx_connection_t               *c;
    const ngx_http_lrt_question_t  *question;

    c = probe->connection;
    question = probe->errand.question;

    probe->phase = NGX_HTTP_LRT_PROBE_HANDSHAKE;
    probe->ssl_error = 0;

    /* what somebody put in front of TLS would not be covered by it */

    if (recv(c->fd, buf, 1, MSG_PEEK) > 0) {
        ngx_http_lrt_probe_done(probe, LRT_CHECK_TLS_BEFORE);
        return;
    }

    c->pool = ngx_create_pool(512, c->log);

    if (c->pool == NULL
        || ngx_ssl_create_connection(question->ssl, c,
                                     NGX_SSL_BUFFER|NGX_SSL_CLIENT)
           != NGX_OK)
    {
        ngx_http_lrt_probe_done(probe, LRT_CHECK_LOCAL_MEMORY);
        return;
    }

    /* nginx clears errors when it has logged them */

    SSL_set_info_callback(c->ssl->connection, ngx_http_lrt_probe_ssl_info);

#ifdef SSL_CTRL_SET_TLSEXT_HOSTNAME

    if (question->sni
        && SSL_set_tlsext_host_name(c->ssl->connection, question->name) == 0)
    {
        ngx_http_lrt_probe_done(probe, LRT_CHECK_LOCAL_MEMORY);
        return;
    }

#endif

    rc = ngx_ssl_handshake(c);

    if (rc == NGX_AGAIN) {
        c->ssl->handler = ngx_http_lrt_probe_handshaked;
        return;
    }

    ngx_http_lrt_probe_handshaked(c);
}


static void
ngx_http_lrt_probe_handshaked(ngx_connection_t *c)
{
    lrt_check_reason_e              reason;
    ngx_http_lrt_probe_t           *probe;
    const ngx_http_lrt_question_t  *question;

    probe = c->data;
    question = probe->errand.question;

    if (c->read->timedout) {
        ngx_http_lrt_probe_timed_out(probe);
        return;
    }

    if (!c->ssl->handshaked) {
        ngx_http_lrt_probe_done(probe, ngx_http_lrt_probe_ssl_fault(probe));
        return;
    }

    if (question->check.ssl_verify) {
        reason = ngx_http_lrt_trust_verify(c, question->name);

        if (reason != LRT_CHECK_PASSED) {
            ngx_http_lrt_probe_done(probe, reason);
            return;
        }
    }

    c->read->handler = ngx_http_lrt_probe_read_handler;
    c->write->handler = ngx_http_lrt_probe_write_handler;

    ngx_http_lrt_probe_ask(probe);
}


static void
ngx_http_lrt_probe_ssl_info(const ngx_ssl_conn_t *ssl, int where, int ret)
{
    ngx_connection_t      *c;
    ngx_http_lrt_probe_t  *probe;

    if ((where & SSL_CB_EXIT) && ret <= 0) {
        c = ngx_ssl_get_connection((ngx_ssl_conn_t *) ssl);
        probe = c->data;
        probe->ssl_error = ERR_peek_error();
    }
}


static lrt_check_reason_e
ngx_http_lrt_probe_ssl_fault(ngx_http_lrt_probe_t *probe)
{
    if (probe->ssl_error == 0) {
        return LRT_CHECK_TLS_CLOSED;
    }

    switch (ERR_GET_REASON(probe->ssl_error)) {

    case SSL_R_WRONG_VERSION_NUMBER:
    case SSL_R_HTTP_REQUEST:
    case SSL_R_PACKET_LENGTH_TOO_LONG:
        return LRT_CHECK_TLS_PLAIN;

    default:
        return LRT_CHECK_TLS_FAILED;
    }
}

#endif
