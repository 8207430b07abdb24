
/*
 * Copyright (C) the ngx_http_lrt_upstream_module authors
 *
 * How a health probe ended, for all parts of the checker, logs and the API.
 */


#ifndef _LRT_CHECK_REASON_H_INCLUDED_
#define _LRT_CHECK_REASON_H_INCLUDED_


typedef enum {
    LRT_CHECK_PASSED = 0,

    /* the connection */

    LRT_CHECK_CONNECT_TIMEOUT,
    LRT_CHECK_ANSWER_TIMEOUT,
    LRT_CHECK_REFUSED,
    LRT_CHECK_UNREACHABLE,
    LRT_CHECK_RESET,
    LRT_CHECK_CLOSED,
    LRT_CHECK_UNIX_PORT,             /* a unix socket has no port */

    /* the response is none */

    LRT_CHECK_STATUS_LINE,
    LRT_CHECK_VERSION,
    LRT_CHECK_HEADER,
    LRT_CHECK_BARE_LF,
    LRT_CHECK_LINE_LONG,
    LRT_CHECK_HEAD_LARGE,
    LRT_CHECK_LENGTH,
    LRT_CHECK_CODING,
    LRT_CHECK_CHUNK,
    LRT_CHECK_INTERIM,               /* too many 1xx */
    LRT_CHECK_SWITCHING,
    LRT_CHECK_TRUNCATED,

    /* it is one, but not a good one */

    LRT_CHECK_STATUS,
    LRT_CHECK_HEADER_TEST,
    LRT_CHECK_BODY_TEST,

    LRT_CHECK_TLS_EXPIRED,
    LRT_CHECK_TLS_NOT_YET,
    LRT_CHECK_TLS_NAME,
    LRT_CHECK_TLS_UNTRUSTED,
    LRT_CHECK_TLS_SELF_SIGNED,
    LRT_CHECK_TLS_PLAIN,
    LRT_CHECK_TLS_FAILED,
    LRT_CHECK_TLS_TIMEOUT,
    LRT_CHECK_TLS_CLOSED,
    LRT_CHECK_TLS_BEFORE,            /* data that TLS does not cover */

    /* from here on it is our own fault, see lrt_check_reason_local() */

    LRT_CHECK_LOCAL_FILES,
    LRT_CHECK_LOCAL_CONNECTIONS,
    LRT_CHECK_LOCAL_ROUTE,
    LRT_CHECK_LOCAL_MEMORY,
    LRT_CHECK_LOCAL_PORT,
    LRT_CHECK_LOCAL_OTHER,
    LRT_CHECK_LATE,                  /* this process did not run in time */

    LRT_CHECK_REASONS                /* at most 64: they are stored in 6 bits */
} lrt_check_reason_e;


/* a few words in lower case */

const char *lrt_check_reason_text(unsigned reason);

/* says nothing about the server, and so never counts against it */

unsigned lrt_check_reason_local(unsigned reason);


#endif /* _LRT_CHECK_REASON_H_INCLUDED_ */
