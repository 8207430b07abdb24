
/*
 * Copyright (C) the ngx_http_lrt_upstream_module authors
 *
 * What a balancing method is: a choice among the servers of one tier, and, if
 * it wants the servers ranked, the rank of a server.
 */


#ifndef _LRT_METHOD_H_INCLUDED_
#define _LRT_METHOD_H_INCLUDED_


#include "lrt_table.h"


/* one tier of one generation, as a request sees it */

typedef struct {
    lrt_table_t         *table;
    uint64_t             generation;
    uint64_t             now;                /* ms */
    const lrt_entry_t   *entry;              /* by slot */
    const uint32_t      *order;              /* slots, by turn */
    lrt_schedule_t       schedule;
    lrt_tier_e           tier;
    uint32_t             top;
    const lrt_tried_t   *tried;
    uint32_t             ntried;
    unsigned             lone:1;
} lrt_view_t;


typedef struct {
    const char          *name;

    /*
     * The rank of a server that may take requests, below LRT_KEY_NEVER: less
     * is better.  Computed anew whenever requests or parameters of the server
     * change, so it may use nothing else.  NULL: no ranks are kept.
     */

    uint64_t           (*key)(const lrt_params_t *params,
                              const lrt_hot_t *hot);

    /*
     * The slot of a server that lrt_view_open() accepts, or LRT_NONE.  What
     * it reads may change meanwhile; the caller validates the answer.
     */

    uint32_t           (*pick)(const lrt_view_t *view);
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

/* number of a method by its name, or LRT_METHODS */

uint32_t lrt_method_find(const char *name, size_t len);


/*
 * Whether the server in the slot may take this request; every method and the
 * ranks ask here and nowhere else.
 */

unsigned lrt_usable(const lrt_entry_t *entry, const lrt_hot_t *hot,
    unsigned lone, uint64_t now);
unsigned lrt_view_open(const lrt_view_t *view, uint32_t slot);

/* it was tried as often as it is listed */

unsigned lrt_view_tried(const lrt_view_t *view, uint32_t slot);

/*
 * The next server in weighted order that "accept" takes, or LRT_NONE: turns
 * are drawn until one fits, and when most do not, "scan" chooses.
 */

typedef unsigned (*lrt_accept_pt)(const lrt_view_t *view, uint32_t slot,
    uint64_t key);

uint32_t lrt_view_draw(const lrt_view_t *view, lrt_accept_pt accept,
    uint64_t key);

/*
 * One of the servers that "accept" takes, by weight, when draws do not find
 * them: looks at all slots, or with "low" at blocks of that minimum only.
 */

uint32_t lrt_view_scan(const lrt_view_t *view, const uint64_t *low,
    lrt_accept_pt accept, uint64_t key);


#endif /* _LRT_METHOD_H_INCLUDED_ */
