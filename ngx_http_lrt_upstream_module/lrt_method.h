
/*
 * Copyright (C) the ngx_http_lrt_upstream_module authors
 *
 * What a balancing method is: a choice among the servers of one tier, and, if
 * it wants the servers ranked, the rank of a server.
 */


#ifndef _LRT_METHOD_H_INCLUDED_
#define _LRT_METHOD_H_INCLUDED_


#include "lrt_estimate.h"
#include "lrt_params.h"
#include "lrt_ramp.h"
#include "lrt_rules.h"


/* one tier of one generation, as a request sees it */

/* who asks, for methods that bind clients to servers */

typedef struct {
    const uint8_t       *data;              /* in network order if an address */
    uint32_t             len;                /* 0: nobody can tell */
    uint32_t             bits;               /* that count */
} lrt_client_t;


/* memory of a process for such a method; freed and forgotten at will */

typedef struct {
    uint64_t             seen;               /* generation */
    uint32_t             point;
    uint32_t             slot;
} lrt_owned_t;


typedef struct {
    lrt_table_t         *table;
    uint64_t             generation;
    uint64_t             now;                /* ms */
    const lrt_policy_t  *policy;
    uint64_t             changed;            /* see lrt_side_t */
    uint64_t             weight;             /* of all that are active */
    const lrt_client_t  *client;
    lrt_owned_t         *owned;              /* [owned_mask + 1], or NULL */
    uint32_t             owned_mask;
    const lrt_entry_t   *entry;              /* by slot */
    const uint32_t      *order;              /* slots, by turn */
    lrt_schedule_t       schedule;
    lrt_tier_e           tier;
    uint32_t             top;
    const lrt_tried_t   *tried;
    uint32_t             ntried;
    lrt_rules_t          rules;
    unsigned             bound:1;            /* the request knew the server */
} lrt_view_t;


/* what the rank of a server is made of */

typedef struct {
    const lrt_policy_t  *policy;
    const lrt_params_t  *params;
    const lrt_hot_t     *hot;
    lrt_norm_t           norm;               /* see lrt_estimate.h */
    uint32_t             weight;             /* see lrt_typical.h */
    uint32_t             slope;
    uint32_t             power;              /* see lrt_crowd.h */
    uint32_t             known;              /* servers with an estimate */
    uint64_t             now;                /* ms */
    uint64_t             slow_start;         /* ms, see lrt_ramp.h */
    const lrt_table_t   *probes;             /* or NULL: they do not count */
    uint32_t             slot;               /* there */
    uint64_t             errors;             /* see lrt_errors.h */
    uint32_t             usual;              /* of the others, ditto */
    uint64_t             cost;               /* kept there; 0: not known */
} lrt_score_t;


/* parameters that a directive may or must have */

#define LRT_TAKES_TIME       0x01            /* header|last_byte, required */
#define LRT_TAKES_INFLIGHT   0x02
#define LRT_TAKES_CLIENT     0x04            /* key, ipv4, ipv6 */
#define LRT_TAKES_BALANCE    0x08
#define LRT_NO_BACKUP        0x10            /* "server" takes none */


typedef struct {
    const char          *name;
    uint32_t             takes;

    /*
     * The part of the rank that requests in flight do not change, not 0.
     * Computed anew whenever estimate or parameters of the server change, and
     * for all servers in each audit; NULL: it is not worth being kept.
     */

    uint64_t           (*cost)(const lrt_score_t *score);

    /*
     * The rank of a server that may take requests, below LRT_KEY_NEVER: less
     * is better.  Computed anew whenever requests or the cost change, and for
     * all servers in each audit, which alone follows what else it is made of.
     * NULL: no ranks are kept.
     */

    uint64_t           (*key)(const lrt_score_t *score);

    /* when the rank will change by itself, or UINT64_MAX; may be NULL */

    uint64_t           (*due)(const lrt_score_t *score);

    /* part of the requests that it should get; NULL: its weight */

    uint64_t           (*share)(const lrt_score_t *score);

    /* the rank as people read it, in the same order; NULL: as it is */

    uint64_t           (*shown)(uint64_t key);

    /*
     * The slot of a server that lrt_view_open() accepts, or LRT_NONE.  What
     * it reads may change meanwhile; the caller validates the answer.
     */

    uint32_t           (*pick)(const lrt_view_t *view);

    /*
     * The same for requests that will not be counted, as those which are
     * only told where to go: no server may be the best for all of them.
     */

    uint32_t           (*point)(const lrt_view_t *view);
} lrt_method_t;


typedef enum {
#define LRT_METHOD(directive, name)  LRT_METHOD_##directive,
#include "lrt_methods.h"
#undef LRT_METHOD
    LRT_METHODS
} lrt_method_e;


#define LRT_METHOD(directive, name)                                           \
    extern const lrt_method_t  name##_method;
#include "lrt_methods.h"
#undef LRT_METHOD


const lrt_method_t *lrt_method(uint32_t number);

/* the plain weighted order, for methods that have none of their own */

uint32_t lrt_round_robin_pick(const lrt_view_t *view);

/* what people are shown of a rank */

uint64_t lrt_method_score(uint32_t number, uint64_t key);

/* number of a method by its name, or LRT_METHODS */

uint32_t lrt_method_find(const char *name, size_t len);


/* the rank of a server in its slow start, as if its weight were less */

uint64_t lrt_ramp_key(const lrt_score_t *score, uint64_t key);

unsigned lrt_view_open(const lrt_view_t *view, uint32_t slot);

/* it was tried as often as it is listed */

unsigned lrt_view_tried(const lrt_view_t *view, uint32_t slot);

/*
 * The next server in weighted order that "accept" takes, or LRT_NONE: turns
 * are drawn until one fits, and when most do not, "scan" chooses.
 */

typedef unsigned (*lrt_accept_pt)(const lrt_view_t *view, uint32_t slot,
    uint64_t key);

unsigned lrt_view_any(const lrt_view_t *view, uint32_t slot, uint64_t key);

#define LRT_DRAWS            16
#define LRT_DRAWS_MANY       48              /* in large groups */

uint32_t lrt_view_draw(const lrt_view_t *view, lrt_accept_pt accept,
    uint64_t key);

/*
 * One of the servers that "accept" takes, by weight, when draws do not find
 * them: looks at all slots.
 */

uint32_t lrt_view_scan(const lrt_view_t *view, lrt_accept_pt accept,
    uint64_t key);

/* a share for each server that is not its weight */

typedef uint64_t (*lrt_share_pt)(const lrt_view_t *view, uint32_t slot);

uint32_t lrt_view_share(const lrt_view_t *view, lrt_share_pt share);

/* the next number of a stream; the weight of a server, in thousandths */

uint64_t lrt_view_turn(const lrt_view_t *view, lrt_cursor_e cursor);
uint64_t lrt_view_weight(const lrt_view_t *view, uint32_t slot);


#endif /* _LRT_METHOD_H_INCLUDED_ */
