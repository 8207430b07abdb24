
/*
 * Copyright (C) the ngx_http_lrt_upstream_module authors
 *
 * One probe of one server, as the files about it share it:
 *
 *   ngx_http_lrt_probe.c         from its start to its end
 *   ngx_http_lrt_probe_event.c   when it goes on, and when its time is over
 *   ngx_http_lrt_probe_answer.c  what it reads
 *   ngx_http_lrt_probe_tls.c     the handshake
 *
 * Whoever ends a probe has none any more when that returns.
 */


#ifndef _NGX_HTTP_LRT_PROBE_H_INCLUDED_
#define _NGX_HTTP_LRT_PROBE_H_INCLUDED_


#include "ngx_http_lrt_check.h"


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
    unsigned                     late:1;         /* we were, with a step */

    uint64_t                     deadline;       /* ms */
    uint64_t                     opened;         /* ms, the connection */
    uint64_t                     asked;          /* us */
    uint64_t                     queued[2];      /* us, to read, to write */
    uint64_t                     told;           /* of what goes on now */

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


/* ngx_http_lrt_probe.c */

/* a server that is not there, or what this machine cannot do right now */

lrt_check_reason_e ngx_http_lrt_probe_fault(ngx_err_t err);

/* these may end the probe, as all that follow */

void ngx_http_lrt_probe_connected(ngx_http_lrt_probe_t *probe);
void ngx_http_lrt_probe_ask(ngx_http_lrt_probe_t *probe);

/* the server has ended the connection */

void ngx_http_lrt_probe_broken(ngx_http_lrt_probe_t *probe,
    lrt_check_reason_e reason);
void ngx_http_lrt_probe_done(ngx_http_lrt_probe_t *probe,
    lrt_check_reason_e reason);

/* ngx_http_lrt_probe_event.c: the handler of all events of a connection */

void ngx_http_lrt_probe_handler(ngx_event_t *ev);
void ngx_http_lrt_probe_timed_out(ngx_http_lrt_probe_t *probe);

/* ngx_http_lrt_probe_answer.c */

void ngx_http_lrt_probe_read(ngx_http_lrt_probe_t *probe);
void ngx_http_lrt_probe_judge(ngx_http_lrt_probe_t *probe);

/* ngx_http_lrt_probe_tls.c: begins the handshake, or goes on with it */

#if (NGX_HTTP_SSL)
void ngx_http_lrt_probe_handshake(ngx_http_lrt_probe_t *probe);
#endif


#endif /* _NGX_HTTP_LRT_PROBE_H_INCLUDED_ */
