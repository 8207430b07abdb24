
/*
 * Copyright (C) the ngx_http_lrt_upstream_module authors
 *
 * Plain types and limits that all files share.  No functions.
 */


#ifndef _LRT_TYPES_H_INCLUDED_
#define _LRT_TYPES_H_INCLUDED_


#include <stddef.h>
#include <stdint.h>


#define LRT_NONE             UINT32_MAX

#define LRT_MAX_WEIGHT       INT32_MAX
#define LRT_MAX_CONNS        INT32_MAX
#define LRT_MAX_FAILS        INT32_MAX
#define LRT_MAX_TIME         ((uint64_t) 1 << 52)      /* ms */

#define LRT_SOCKADDR_LEN     112
#define LRT_ROUTE_LEN        32
#define LRT_DATA_LEN         224             /* address and strings */

#define LRT_CHECKS           4               /* active checks of a group */
#define LRT_CHECK_DATA_LEN   512             /* strings of one */


/* what a change, a merge or a pick may answer */

typedef enum {
    LRT_OK = 0,
    LRT_BUSY,            /* no server may take the request */
    LRT_FULL,            /* no free slot */
    LRT_EXISTS,          /* the address is in the group already */
    LRT_MISSING,         /* no such server */
    LRT_CONFLICT,        /* the generation is not the expected one */
    LRT_INVALID,         /* a parameter is out of its range */
    LRT_SUPERSEDED       /* the table was replaced by another */
} lrt_rc_t;


/* primaries are asked first, backups when no primary can take a request */

typedef enum {
    LRT_PRIMARY = 0,
    LRT_BACKUP,
    LRT_TIERS
} lrt_tier_e;


typedef struct {
    size_t               len;
    const char          *data;
} lrt_str_t;


/* a balancing method with its parameters; compared as a whole */

typedef struct {
    uint32_t             method;
    uint32_t             balance;        /* permille of the mean; 0: no bound */
    uint8_t              last_byte;      /* least_time: or header */
    uint8_t              inflight;
    uint8_t              ipv4;           /* iphash_ext: bits of an address */
    uint8_t              ipv6;
    uint32_t             reserved;
} lrt_policy_t;


/* health as an operator wants it, whatever requests and checks say */

typedef enum {
    LRT_AUTO = 0,
    LRT_FORCED_UP,
    LRT_FORCED_DOWN,
    LRT_FORCED
} lrt_forced_e;


/* parameters of a server; times in milliseconds */

typedef struct {
    uint32_t             weight;
    uint32_t             max_conns;
    uint32_t             max_fails;
    uint8_t              backup;         /* part of the identity */
    uint8_t              down;
    uint8_t              drain;
    uint8_t              twins;          /* listed so often more: more tries */
    uint64_t             fail_timeout;
    uint32_t             slow_start;
    uint8_t              forced;         /* lrt_forced_e */
    uint8_t              reserved[3];
} lrt_params_t;


/* the parameters that may change while a server lives, as a mask */

#define LRT_F_WEIGHT         0x01
#define LRT_F_MAX_CONNS      0x02
#define LRT_F_MAX_FAILS      0x04
#define LRT_F_FAIL_TIMEOUT   0x08
#define LRT_F_SLOW_START     0x10
#define LRT_F_DOWN           0x20
#define LRT_F_DRAIN          0x40
#define LRT_F_TWINS          0x80
#define LRT_F_FORCED         0x100
#define LRT_F_ALL            0x1ff


/* an active check; compared as a whole, so what is not used is zero */

typedef enum {
    LRT_CHECK_HTTP = 0,
    LRT_CHECK_HTTPS,
    LRT_CHECK_TCP,
    LRT_CHECK_TYPES
} lrt_check_type_e;

typedef enum {
    LRT_CHECK_URI = 0,
    LRT_CHECK_HOST,                      /* empty: the name of the group */
    LRT_CHECK_MATCH,                     /* name of an lrt_match, or empty */
    LRT_CHECK_SSL_NAME,                  /* empty: the host */
    LRT_CHECK_SSL_CA,                    /* empty: what the system trusts */
    LRT_CHECK_STRINGS
} lrt_check_string_e;

typedef struct {
    uint64_t             interval;       /* ms, as all times here */
    uint64_t             timeout;
    uint64_t             keepalive;      /* how long a connection; 0: not */
    uint32_t             requests;       /* extra round after so many; 0: no */
    uint16_t             jitter;         /* permille of the interval */
    uint16_t             fails;
    uint16_t             passes;
    uint16_t             port;           /* 0: that of the server */
    uint8_t              type;           /* lrt_check_type_e */
    uint8_t              mandatory;
    uint8_t              persistent;
    uint8_t              ssl_verify;
    uint16_t             len[LRT_CHECK_STRINGS];
    uint16_t             reserved;
    char                 data[LRT_CHECK_DATA_LEN];
} lrt_check_t;


/* what holds for all servers of a group, beside its method */

typedef struct {
    uint64_t             slow_start;     /* ms, of servers without their own */
    uint32_t             panic;          /* permille of servers; 0: off */
    uint32_t             nchecks;
    lrt_check_t          check[LRT_CHECKS];
} lrt_settings_t;


/*
 * A server as somebody asks for it.  The address is compared byte by byte:
 * whoever fills it in must zero its padding.
 */

typedef struct {
    lrt_params_t         params;
    const void          *sockaddr;
    uint32_t             socklen;
    lrt_str_t            name;           /* printed address */
    lrt_str_t            server;         /* text of the "server" directive */
    lrt_str_t            route;
    uint64_t             sid;            /* hash of its name in cookies, or 0 */
    uint64_t             ident;         /* that it had before a restart, or 0 */
} lrt_server_t;


/*
 * What a request has tried before, once for each try; a slot alone may have a
 * new owner.
 */

typedef struct {
    uint64_t             ident;
    uint32_t             slot;
} lrt_tried_t;


#endif /* _LRT_TYPES_H_INCLUDED_ */
