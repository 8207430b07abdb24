
/*
 * Copyright (C) the ngx_http_lrt_upstream_module authors
 *
 * One probe of one server: a connection, a request, the response; one timer
 * for all of it.
 */


#include "ngx_http_lrt_probe.h"


static void ngx_http_lrt_probe_connect(ngx_http_lrt_probe_t *probe);
static ngx_uint_t ngx_http_lrt_probe_silent(ngx_connection_t *c);
static void ngx_http_lrt_probe_close(ngx_http_lrt_probe_t *probe);
static void ngx_http_lrt_probe_free_buffers(ngx_http_lrt_probe_t *probe);


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
    probe->late = 0;

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
    c->read->handler = ngx_http_lrt_probe_handler;
    c->write->handler = ngx_http_lrt_probe_handler;
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


lrt_check_reason_e
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


void
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


void
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

            } else if (c->read->timedout) {
                ngx_http_lrt_probe_timed_out(probe);
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

    if (c->read->ready || c->read->timedout) {
        ngx_http_lrt_probe_read(probe);
        return;
    }

    if (ngx_handle_read_event(c->read, 0) != NGX_OK) {
        ngx_http_lrt_probe_done(probe, LRT_CHECK_LOCAL_OTHER);
    }
}


/*
 * A server may close a kept connection at any time, also in the moment in
 * which a request is on its way: that is asked again, and once.  If it is too
 * late for that, nobody knows what the server would say.
 */

void
ngx_http_lrt_probe_broken(ngx_http_lrt_probe_t *probe,
    lrt_check_reason_e reason)
{
    if (probe->reused && !probe->answered) {

        if (ngx_http_lrt_now() / 1000 >= probe->deadline) {
            ngx_http_lrt_probe_done(probe, LRT_CHECK_LATE);
            return;
        }

        ngx_http_lrt_probe_close(probe);
        ngx_http_lrt_probe_connect(probe);
        return;
    }

    ngx_http_lrt_probe_done(probe, reason);
}


/* whoever is told may end the probe, or start the next one */

void
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

    /* not what its answer has waited here for requests to be served */

    result.time = ((probe->told > probe->asked) ? probe->told
                                                : ngx_http_lrt_now())
                  - probe->asked;

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

        c->read->timedout = 0;

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
