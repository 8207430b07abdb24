
/*
 * Copyright (C) the ngx_http_lrt_upstream_module authors
 *
 * The TLS handshake of a probe, and what its failures say.
 */


#include "ngx_http_lrt_probe.h"


#if (NGX_HTTP_SSL)

static ngx_int_t ngx_http_lrt_probe_ssl_begin(ngx_http_lrt_probe_t *probe);
static void ngx_http_lrt_probe_ssl_info(const ngx_ssl_conn_t *ssl, int where,
    int ret);
static lrt_check_reason_e ngx_http_lrt_probe_ssl_fault(
    ngx_http_lrt_probe_t *probe);


void
ngx_http_lrt_probe_handshake(ngx_http_lrt_probe_t *probe)
{
    ngx_int_t                       rc;
    ngx_connection_t               *c;
    lrt_check_reason_e              reason;
    const ngx_http_lrt_question_t  *question;

    c = probe->connection;
    question = probe->errand.question;

    if (c->ssl == NULL && ngx_http_lrt_probe_ssl_begin(probe) != NGX_OK) {
        return;
    }

    rc = ngx_ssl_handshake(c);

    if (rc == NGX_AGAIN) {

        /* nginx has set handlers of its own, which do not wait their turn */

        c->read->handler = ngx_http_lrt_probe_handler;
        c->write->handler = ngx_http_lrt_probe_handler;

        if (c->read->timedout) {
            ngx_http_lrt_probe_timed_out(probe);
        }

        return;
    }

    if (rc != NGX_OK) {
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

    ngx_http_lrt_probe_ask(probe);
}


/* what does not come that far ends the probe */

static ngx_int_t
ngx_http_lrt_probe_ssl_begin(ngx_http_lrt_probe_t *probe)
{
    char                            buf[1];
    ngx_connection_t               *c;
    const ngx_http_lrt_question_t  *question;

    c = probe->connection;
    question = probe->errand.question;

    probe->phase = NGX_HTTP_LRT_PROBE_HANDSHAKE;
    probe->ssl_error = 0;

    /* what somebody put in front of TLS would not be covered by it */

    if (recv(c->fd, buf, 1, MSG_PEEK) > 0) {
        ngx_http_lrt_probe_done(probe, LRT_CHECK_TLS_BEFORE);
        return NGX_ERROR;
    }

    c->pool = ngx_create_pool(512, c->log);

    if (c->pool == NULL
        || ngx_ssl_create_connection(question->ssl, c,
                                     NGX_SSL_BUFFER|NGX_SSL_CLIENT)
           != NGX_OK)
    {
        goto failed;
    }

    /* nginx clears errors when it has logged them */

    SSL_set_info_callback(c->ssl->connection, ngx_http_lrt_probe_ssl_info);

#ifdef SSL_CTRL_SET_TLSEXT_HOSTNAME

    if (question->sni
        && SSL_set_tlsext_host_name(c->ssl->connection, question->name) == 0)
    {
        goto failed;
    }

#endif

    return NGX_OK;

failed:

    ngx_http_lrt_probe_done(probe, LRT_CHECK_LOCAL_MEMORY);

    return NGX_ERROR;
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
