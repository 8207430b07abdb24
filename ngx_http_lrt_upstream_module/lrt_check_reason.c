
/*
 * Copyright (C) the ngx_http_lrt_upstream_module authors
 */


#include "lrt_check_reason.h"

#include <stddef.h>


static const char  *const lrt_check_reasons[LRT_CHECK_REASONS] = {

    [LRT_CHECK_PASSED] = "passed",

    [LRT_CHECK_CONNECT_TIMEOUT] = "connect timed out",
    [LRT_CHECK_ANSWER_TIMEOUT] = "no full answer in time",
    [LRT_CHECK_REFUSED] = "connection refused",
    [LRT_CHECK_UNREACHABLE] = "host unreachable",
    [LRT_CHECK_RESET] = "connection reset",
    [LRT_CHECK_CLOSED] = "connection closed before a full response header",
    [LRT_CHECK_UNIX_PORT] = "port given for a unix socket",

    [LRT_CHECK_STATUS_LINE] = "malformed status line",
    [LRT_CHECK_VERSION] = "unsupported version of http",
    [LRT_CHECK_HEADER] = "malformed header line",
    [LRT_CHECK_BARE_LF] = "line ends without a carriage return",
    [LRT_CHECK_LINE_LONG] = "too long header line",
    [LRT_CHECK_HEAD_LARGE] = "too large response header",
    [LRT_CHECK_LENGTH] = "bad content length",
    [LRT_CHECK_CODING] = "unknown transfer encoding",
    [LRT_CHECK_CHUNK] = "malformed chunk",
    [LRT_CHECK_INTERIM] = "too many 1xx responses",
    [LRT_CHECK_SWITCHING] = "switches protocols unasked",
    [LRT_CHECK_TRUNCATED] = "connection closed within the response body",

    [LRT_CHECK_STATUS] = "unexpected status",
    [LRT_CHECK_HEADER_TEST] = "header test failed",
    [LRT_CHECK_BODY_TEST] = "body test failed",

    [LRT_CHECK_TLS_EXPIRED] = "certificate expired",
    [LRT_CHECK_TLS_NOT_YET] = "certificate not yet valid",
    [LRT_CHECK_TLS_NAME] = "certificate for another name",
    [LRT_CHECK_TLS_UNTRUSTED] = "certificate not trusted",
    [LRT_CHECK_TLS_SELF_SIGNED] = "self-signed certificate",
    [LRT_CHECK_TLS_PLAIN] = "no tls on this port",
    [LRT_CHECK_TLS_FAILED] = "tls handshake failed",
    [LRT_CHECK_TLS_TIMEOUT] = "tls handshake timed out",
    [LRT_CHECK_TLS_CLOSED] = "connection closed in tls handshake",
    [LRT_CHECK_TLS_BEFORE] = "data before tls",

    [LRT_CHECK_LOCAL_FILES] = "no file descriptors left",
    [LRT_CHECK_LOCAL_CONNECTIONS] = "no worker_connections left",
    [LRT_CHECK_LOCAL_ROUTE] = "no route from here",
    [LRT_CHECK_LOCAL_MEMORY] = "no memory left",
    [LRT_CHECK_LOCAL_PORT] = "no local port left",
    [LRT_CHECK_LOCAL_OTHER] = "local error",
    [LRT_CHECK_LATE] = "this process did not run in time"
};


const char *
lrt_check_reason_text(unsigned reason)
{
    return (reason < LRT_CHECK_REASONS) ? lrt_check_reasons[reason] : "unknown";
}


unsigned
lrt_check_reason_local(unsigned reason)
{
    return reason >= LRT_CHECK_LOCAL_FILES && reason < LRT_CHECK_REASONS;
}
