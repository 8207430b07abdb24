
/*
 * Copyright (C) the ngx_http_lrt_upstream_module authors
 *
 * Active checks: what the files about them share.
 *
 *   ngx_http_lrt_settings.c  directives, and what a check may be
 *   ngx_http_lrt_match.c     lrt_match
 *   ngx_http_lrt_trust.c     certificates
 *   ngx_http_lrt_check*.c    who probes, when, and what comes of it
 *   ngx_http_lrt_probe*.c    one probe: connection, request, response
 */


#ifndef _NGX_HTTP_LRT_CHECK_H_INCLUDED_
#define _NGX_HTTP_LRT_CHECK_H_INCLUDED_


#include "ngx_http_lrt.h"

#include "lrt_health.h"
#include "lrt_response.h"


#define NGX_HTTP_LRT_CHECK_WHY  256


/* a check as the worker that runs it knows it */

typedef struct {
    lrt_check_t              check;
    ngx_uint_t               skipped;        /* it cannot be asked here */
    const lrt_match_t       *match;
    ngx_str_t                request;
#if (NGX_HTTP_SSL)
    ngx_ssl_t               *ssl;
    char                    *name;           /* in certificates */
    ngx_uint_t               sni;            /* it is no address */
#endif
} ngx_http_lrt_question_t;


typedef struct ngx_http_lrt_probe_s  ngx_http_lrt_probe_t;


/*
 * What a probe is to do, and who is told how it ended: "done" is called once
 * for each start, and may be so before that returns.  All that it points to
 * lives as long as the probe, but for the address.
 */

typedef struct {
    const ngx_http_lrt_question_t  *question;
    struct sockaddr         *sockaddr;
    socklen_t                socklen;
    ngx_log_t               *log;
    void                   (*done)(void *data, const lrt_result_t *result);
    void                    *data;
} ngx_http_lrt_errand_t;


/*
 * "probe" is where the caller keeps one that holds a connection: NULL before
 * the first, and again whenever there is nothing left to hold.
 */

void ngx_http_lrt_probe_start(ngx_http_lrt_probe_t **probe,
    const ngx_http_lrt_errand_t *errand);

/* closes all without a result */

void ngx_http_lrt_probe_end(ngx_http_lrt_probe_t **probe);

/*
 * Microseconds that a turn of the event loop has for starts of probes, and for
 * their events; more where turns are long, by what these have waited for one.
 */

uint64_t ngx_http_lrt_probe_slice(uint64_t waited);

/* connections that may be kept while no probe uses them */

ngx_uint_t ngx_http_lrt_probes_max(void);

/* on its way, rather than just kept */

ngx_uint_t ngx_http_lrt_probe_busy(const ngx_http_lrt_probe_t *probe);


/* ngx_http_lrt_settings.c */

extern const char *const  ngx_http_lrt_check_types[];
extern const char *const  ngx_http_lrt_check_texts[];

void ngx_http_lrt_check_trusts(ngx_conf_t *cf, const lrt_settings_t *settings);
void ngx_http_lrt_check_defaults(lrt_check_t *check);
ngx_int_t ngx_http_lrt_check_complete(lrt_check_t *check, lrt_str_t *text);
ngx_uint_t ngx_http_lrt_check_sound(ngx_http_lrt_srv_conf_t *lscf,
    const lrt_check_t *check, u_char *why);


/* ngx_http_lrt_trust.c: certificates are read with the configuration only */

ngx_int_t ngx_http_lrt_trust_add(ngx_conf_t *cf, const lrt_check_t *check,
    lrt_str_t *text);

#if (NGX_HTTP_SSL)
ngx_ssl_t *ngx_http_lrt_trust_find(ngx_http_lrt_main_conf_t *lmcf,
    const lrt_check_t *check);

/* what a check calls a server, in TLS and in its certificate */

ngx_str_t ngx_http_lrt_trust_called(const ngx_http_lrt_srv_conf_t *lscf,
    const lrt_check_t *check);
ngx_uint_t ngx_http_lrt_trust_is_address(const ngx_str_t *name);
lrt_check_reason_e ngx_http_lrt_trust_verify(ngx_connection_t *c,
    const char *name);
#endif


#endif /* _NGX_HTTP_LRT_CHECK_H_INCLUDED_ */
