
/*
 * Copyright (C) the ngx_http_lrt_upstream_module authors
 *
 * The peer table of one upstream in a block of shared memory.
 *
 * A server lives in a slot from the commit that adds it until the commit that
 * removes it, and the slot is not given to another server before the last
 * request has left it.  What a slot holds is split by who writes it:
 *
 *   entry   parameters; two sides, the writer fills the idle one and then
 *           publishes it whole by a store of the generation
 *   hot     what each request changes, one cache line a slot
 *   cost    the part of its rank that requests in flight do not change, and
 *   key     its rank in its tier, both dense, see lrt_rank.h
 *   health  what active checks have found, see lrt_health.h
 *   detail  identity and counters, read by people rather than by picks
 *   cell    who holds how many requests, see lrt_ledger.h
 *
 * Nothing in the block is a pointer.  lrt_table_t is the view of a process.
 */


#ifndef _LRT_TABLE_H_INCLUDED_
#define _LRT_TABLE_H_INCLUDED_


#include "lrt_atomic.h"
#include "lrt_schedule.h"
#include "lrt_stats.h"


#define LRT_TABLE_MAGIC      0x314c4241542d5452ull       /* "RT-TABL1" */
#define LRT_TABLE_VERSION    6

#define LRT_CACHE_LINE       64
#define LRT_BLOCK            64              /* slots a block minimum covers */
#define LRT_MIN_CAPACITY     4
#define LRT_MAX_CAPACITY     (1 << 20)

#define LRT_WHY_LEN          192

#define LRT_KEY_NEVER        UINT64_MAX      /* the server takes no request */


/* "ident" is the id that users see plus one; 0: the slot is not in use */

typedef struct {
    uint64_t             ident;
    uint64_t             hash;           /* of address and tier */
    uint64_t             since;          /* generation that gave the weight */
    uint64_t             sid;            /* see lrt_server_t */
    lrt_params_t         params;
} lrt_entry_t;


typedef struct {
    int32_t              inflight;       /* a cache of the sum of the cells */
    uint32_t             fails;          /* see lrt_passive.h */
    uint64_t             accessed;
    uint64_t             checked;
    uint64_t             estimate;       /* see lrt_estimate.h */
    uint64_t             lag;
    uint64_t             trial;          /* ms */
    int32_t              drift;          /* see lrt_ledger.h */
    uint16_t             drift_seen;
    uint16_t             crowd;          /* see lrt_crowd.h */
    uint64_t             health;         /* see lrt_health.h */
} lrt_hot_t;


/* what is known of a server: active checks, by number, and failed requests */

typedef struct {
    uint64_t             verdict[LRT_CHECKS];
    uint32_t             started[LRT_CHECKS];    /* see lrt_rhythm.h */
    uint32_t             checks;
    uint32_t             fails;
    uint32_t             unhealthy;      /* times it became so */
    uint32_t             turns;          /* in or out of use */
    uint64_t             downtime;       /* ms, without that of now */
    uint64_t             pace;           /* see lrt_pace.h */
    uint64_t             errors;         /* of requests; see lrt_errors.h */
} lrt_health_t;


/* a configured server that was removed at run time, and must stay away */

typedef struct {
    uint64_t             hash;
    lrt_params_t         conf;
} lrt_gone_t;


/* "born" is a generation; 0: nobody was here, and the rest is 0 as well */

typedef struct {
    uint64_t             born;
    lrt_stats_t          stats;
    uint16_t             socklen;
    uint16_t             name_len;
    uint16_t             server_len;
    uint8_t              route_len;
    uint8_t              in_conf;        /* the configuration lists it */
    uint64_t             leaving;        /* see lrt_change.h; 0: it stays */
    lrt_params_t         conf;           /* what it said when last applied */
    char                 data[LRT_DATA_LEN];
} lrt_detail_t;


/* primaries, or backups, within the order of a side */

typedef struct {
    uint32_t             first;
    uint32_t             n;
    uint32_t             active;         /* neither down nor draining */
    uint32_t             tries;          /* that a request may make of them */
    uint64_t             weight;         /* of the active ones */
    uint64_t             total;          /* of the schedule */
    uint32_t             stride;
    uint32_t             lone;           /* never shut out by max_fails */
} lrt_tier_t;


typedef struct {
    uint64_t             generation;
    lrt_policy_t         policy;
    lrt_settings_t       settings;
    uint64_t             asks;           /* generation that gave the checks */
    uint32_t             top;            /* all servers are in slots below */
    uint32_t             reserved;
    uint64_t             changed;        /* last one with other weights */
    lrt_tier_t           tier[LRT_TIERS];
} lrt_side_t;


/* streams of turns; a retry must not take the turn of a new request */

typedef enum {
    LRT_CURSOR_FIRST = 0,
    LRT_CURSOR_RETRY,
    LRT_CURSOR_SPARSE,
    LRT_CURSORS
} lrt_cursor_e;


typedef struct {
    uint64_t             value;
    uint64_t             padding[7];
} lrt_line_t;


/* what is typical of servers, found now and then: see lrt_typical.h */

typedef struct {
    uint64_t             time;           /* a logarithm; 0: unknown */
    uint64_t             between;        /* how much times differ, a square */
    uint64_t             weight;         /* a logarithm */
    uint64_t             slope;          /* what times say of weights */
    uint64_t             slow;           /* a logarithm */
    uint64_t             kinds;          /* two of them */
    uint64_t             power;          /* see lrt_crowd.h */
    uint64_t             padding;
} lrt_typical_t;


/* what each answer changes, in one line that goes from worker to worker */

typedef struct {
    uint64_t             spread;         /* see lrt_estimate.h */
    uint64_t             usual;
    uint64_t             sum;            /* of logarithms of all estimates */
    uint64_t             mean;           /* when it was last counted */
    uint64_t             errors;         /* of the parts that fail */
    uint64_t             tail;           /* see lrt_tail.h */
    uint64_t             product;        /* see lrt_crowd.h */
    uint64_t             square;
} lrt_learned_t;


/* whether this instance of nginx writes the state file; 0: not known yet */

typedef enum {
    LRT_WRITER_UNKNOWN = 0,
    LRT_WRITER_SELF,
    LRT_WRITER_OTHER
} lrt_writer_e;


typedef struct {
    uint64_t             magic;
    uint32_t             version;
    uint32_t             capacity;
    uint32_t             rows;           /* of the ledger */
    uint32_t             rows_used;
    uint64_t             size;
    uint64_t             epoch;          /* of tables that follow each other */
    uint64_t             next_ident;
    uint64_t             merged;         /* configuration applied last */
    lrt_policy_t         conf_policy;    /* and the method it named */
    lrt_settings_t       conf_settings;

    /* the checks that verdicts belong to, and their "asks"; see lrt_health.h */

    uint64_t             asked;
    uint32_t             nasked;
    uint32_t             superseded;
    lrt_check_t          ask[LRT_CHECKS];
    uint16_t             held_seen;      /* see lrt_ledger.h */
    int32_t              held_drift;
    int32_t              held_more;
    uint64_t             panics;         /* in the log, see lrt_quiet.h */
    uint64_t             ngone;
    uint64_t             audited;        /* ms */
    uint64_t             refreshed;      /* ms; see lrt_rank.h */
    uint64_t             leaving;        /* some server is */
    uint64_t             cuts;           /* times that requests were cut off */
    uint64_t             hook;           /* kill point of a test build */

    uint64_t             check_lease;    /* see ngx_http_lrt_check.c */
    uint64_t             check_asked;    /* counts wishes for a probe now */

    uint64_t             counted;        /* ms; see lrt_census.h */
    uint64_t             told;           /* tiers in panic, by the log */

    /* the state file: see ngx_http_lrt_state.c */

    uint64_t             state_lease;
    uint64_t             state_hash;     /* of what is known to be there */
    uint64_t             state_next;     /* of what is being written, or 0 */
    uint64_t             state_saved;    /* generation */
    uint64_t             state_good;     /* generation of the good copy */
    uint64_t             state_bad;      /* hash of what was refused, or 0 */
    char                 state_why[LRT_WHY_LEN];

    lrt_side_t           side[2];

    uint64_t             state_writer;   /* lrt_writer_e */
    uint64_t             learned_hash;   /* of what FILE.learned has */
    uint64_t             learned_at;     /* ms, when it was looked at last */

    uint64_t             reserved;       /* lines are lines of the cache */

    lrt_line_t           generation;
    lrt_line_t           wake;           /* ms; see lrt_rank.h */
    lrt_typical_t        typical;
    lrt_line_t           census;         /* see lrt_census.h */
    lrt_line_t           pace;           /* typical one, see lrt_pace.h */
    lrt_line_t           known;          /* servers with an estimate */
    lrt_learned_t        learned;
    lrt_line_t           cursor[LRT_TIERS][LRT_CURSORS];
} lrt_head_t;


typedef struct {
    lrt_head_t          *head;
    lrt_hot_t           *hot;
    uint64_t            *cost;               /* [capacity] */
    uint64_t            *key[LRT_TIERS];     /* [capacity] */
    uint64_t            *low[LRT_TIERS];     /* [blocks] */
    lrt_entry_t         *entry[2];           /* [capacity] */
    uint32_t            *order[2];           /* [capacity] slots, by age */
    uint64_t            *reach[2];           /* [capacity] */
    uint32_t            *guide[2];           /* [capacity] */
    uint32_t            *index[2];           /* [index_size] slot + 1 */
    uint32_t            *sids[2];            /* [index_size] the same by sid */
    lrt_health_t        *health;             /* [capacity] */
    lrt_detail_t        *detail;             /* [capacity] */
    lrt_gone_t          *gone;               /* [capacity] */
    uint64_t            *cell;               /* [rows][stride] */

    uint32_t             capacity;
    uint32_t             stride;             /* cells of a row, whole lines */
    uint32_t             rows;
    uint32_t             index_size;         /* a power of two */
} lrt_table_t;


#define lrt_blocks(slots)    (((slots) + LRT_BLOCK - 1) / LRT_BLOCK)

#define lrt_table_generation(t)   lrt_load(&(t)->head->generation.value)
#define lrt_table_side(t, gen)    (&(t)->head->side[(gen) & 1])
#define lrt_table_entries(t, gen) ((t)->entry[(gen) & 1])
#define lrt_table_cell(t, row, slot)                                          \
    (&(t)->cell[(size_t) (row) * (t)->stride + (slot)])

/* of a row: its requests on all servers */

#define lrt_table_row(t, row)                                                 \
    lrt_table_cell(t, row, (t)->capacity)


/* bytes for so many servers, and servers that fit into so many bytes */

size_t lrt_table_size(uint32_t capacity, uint32_t rows);
uint32_t lrt_table_capacity(size_t size, uint32_t rows);

/* makes an empty table of generation 0; the memory must be aligned to 64 */

void lrt_table_format(void *base, uint32_t capacity, uint32_t rows);

/* a view of a table; LRT_INVALID if there is none of this layout */

lrt_rc_t lrt_table_attach(lrt_table_t *t, void *base, size_t size);

/* hash of an identity; never 0 */

uint64_t lrt_table_hash(const void *sockaddr, uint32_t socklen,
    unsigned backup);

/* slot of the server with this identity in one side, or LRT_NONE */

uint32_t lrt_table_find(const lrt_table_t *t, unsigned side,
    const lrt_server_t *server, uint64_t hash);

/*
 * Slots of servers by their sid, which several may share, one at each call
 * and then LRT_NONE; *probe counts the calls' steps and starts with 0.
 */

uint32_t lrt_table_next_sid(const lrt_table_t *t, unsigned side, uint64_t sid,
    uint32_t *probe);

/* slot of a server by its ident, or LRT_NONE */

uint32_t lrt_table_find_ident(const lrt_table_t *t, uint64_t generation,
    uint64_t ident);

/* the schedule of one tier, as a view */

void lrt_table_schedule(const lrt_table_t *t, uint64_t generation,
    lrt_tier_e tier, lrt_schedule_t *s);

/* address and strings of a slot; they point into the table */

const void *lrt_table_sockaddr(const lrt_detail_t *d);

lrt_str_t lrt_table_name(const lrt_detail_t *d);
lrt_str_t lrt_table_server(const lrt_detail_t *d);
lrt_str_t lrt_table_route(const lrt_detail_t *d);

/* whether address and strings of a server fit into a slot */

unsigned lrt_table_fits(const lrt_server_t *server);
void lrt_table_set_data(lrt_detail_t *d, const lrt_server_t *server);


#endif /* _LRT_TABLE_H_INCLUDED_ */
