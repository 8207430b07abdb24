
/*
 * Copyright (C) the ngx_http_lrt_upstream_module authors
 *
 * The response of HTTP/1.x to a GET of a health probe, in pieces as they come
 * from the network.  A server under test may send anything: what is not by the
 * letter is refused with a reason, and memory and work are bounded.  How the
 * bytes are cut into pieces makes no difference.
 */


#ifndef _LRT_RESPONSE_H_INCLUDED_
#define _LRT_RESPONSE_H_INCLUDED_


#include "lrt_check_reason.h"
#include "lrt_types.h"


#define LRT_RESPONSE_LINE    8192            /* with its CRLF */
#define LRT_RESPONSE_HEAD    (64 * 1024)     /* all heads, those of 1xx too */
#define LRT_RESPONSE_BODY    (256 * 1024)    /* with the framing of chunks */
#define LRT_RESPONSE_CHUNK   256             /* line of a size, extensions */
#define LRT_RESPONSE_INTERIM 8               /* 1xx that are skipped */


typedef enum {
    LRT_RESPONSE_AGAIN = 0,
    LRT_RESPONSE_DONE,
    LRT_RESPONSE_FAILED
} lrt_response_rc_e;


typedef enum {
    LRT_RESPONSE_AT_STATUS = 0,
    LRT_RESPONSE_AT_HEADER,
    LRT_RESPONSE_AT_CHUNK,           /* from here on: the body */
    LRT_RESPONSE_AT_CHUNK_END,
    LRT_RESPONSE_AT_TRAILER,
    LRT_RESPONSE_AT_DATA
} lrt_response_state_e;

/* status and headers are known */

#define lrt_response_headed(r)  ((r)->state >= LRT_RESPONSE_AT_CHUNK)


/*
 * Status, reason and keep are for the caller: the first two are good when the
 * response is done or has failed; keep says that the connection may take
 * another request.  It is taken back when bytes come after the end.
 */

typedef struct {
    uint16_t             status;
    uint8_t              reason;         /* lrt_check_reason_e */
    uint8_t              keep;

    uint8_t              rc;             /* lrt_response_rc_e */
    uint8_t              state;          /* lrt_response_state_e */
    uint8_t              interim;        /* 1xx so far */
    unsigned             minor:1;        /* HTTP/1.1 */
    unsigned             chunked:1;
    unsigned             close:1;
    unsigned             keepalive:1;

    uint32_t             seen;           /* bytes of the head, or of the body */
    uint32_t             held;           /* bytes of a line that came in part */
    uint64_t             left;           /* of the body, or of a chunk */
    char                *line;
} lrt_response_t;


/*
 * What is called with headers of the final response, and with pieces of its
 * body without the framing.  Either may be NULL.  The bytes are good for the
 * time of the call.
 */

typedef struct {
    void               (*header)(void *data, const lrt_str_t *name,
                                 const lrt_str_t *value);
    void               (*body)(void *data, const char *p, size_t len);
    void                *data;
} lrt_response_handler_t;


/* line: LRT_RESPONSE_LINE bytes that stay as long as the response is read */

void lrt_response_start(lrt_response_t *r, char *line);

/* to be called even if the response is done: see keep */

lrt_response_rc_e lrt_response_read(lrt_response_t *r, const char *data,
    size_t len, const lrt_response_handler_t *handler);

/* the connection has ended: the answer is DONE or FAILED */

lrt_response_rc_e lrt_response_eof(lrt_response_t *r);


#endif /* _LRT_RESPONSE_H_INCLUDED_ */
