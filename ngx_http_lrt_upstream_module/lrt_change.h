
/*
 * Copyright (C) the ngx_http_lrt_upstream_module authors
 *
 * Changes of a table.  Whatever its source - configuration, API, state file -
 * a change set is checked in full and then comes into force in one step, or
 * it is refused and nothing has changed.
 *
 * The caller holds the writers' lock.  If he dies in between, the lock is
 * taken from him and the old generation stays in force.
 */


#ifndef _LRT_CHANGE_H_INCLUDED_
#define _LRT_CHANGE_H_INCLUDED_


#include "lrt_params.h"
#include "lrt_table.h"


typedef enum {
    LRT_ADD = 0,
    LRT_REMOVE,
    LRT_MODIFY,
    LRT_SET_POLICY,
    LRT_SET_SETTINGS,
    LRT_KEEP                         /* for "conf" only */
} lrt_change_e;


typedef struct {
    lrt_change_e         type;
    lrt_rc_t             rc;             /* why it was refused */

    uint64_t             ident;          /* of REMOVE, MODIFY; set by ADD */
    uint32_t             slot;           /* hint, or LRT_NONE; set by ADD */
    uint32_t             fields;         /* of MODIFY: LRT_F_... */
    lrt_policy_t         policy;         /* of SET_POLICY */
    const lrt_settings_t *settings;      /* of SET_SETTINGS */

    lrt_server_t         server;         /* of ADD; MODIFY: its params */
    uint64_t             leaving;        /* of REMOVE, MODIFY of "drain" */

    /* what the configuration says of the server, if it is the source */

    const lrt_params_t  *conf;
} lrt_change_t;


typedef struct {
    lrt_change_t        *change;
    uint32_t             n;

    uint64_t             expected;       /* generation, or 0 for any */

    /*
     * The source is the configuration: servers that it drops may come back
     * when it lists them again, while those that were removed at run time
     * stay away as long as it goes on to list them.
     */

    unsigned             from_conf:1;
    unsigned             dry:1;          /* only find out what would come */

    uint64_t             generation;     /* set: the one now in force */
    uint32_t             refused;        /* set: the change at fault, or n */
} lrt_change_set_t;


lrt_rc_t lrt_change_commit(lrt_table_t *t, lrt_change_set_t *set,
    uint64_t now);

/*
 * A server that drains may be due to leave: when it is idle, or at a time, ms,
 * at the latest.  Those who are then still busy with it are cut off if "cut".
 */

#define lrt_leaving(when, cut)   ((uint64_t) (when) << 1 | (cut))
#define lrt_leaving_when(word)   ((word) >> 1)
#define lrt_leaving_cut(word)    ((word) & 1)

/*
 * The next server that has to leave, from *slot on, or LRT_NONE, as a change
 * that does it.  The writers' lock is held.
 */

unsigned lrt_change_leaves(lrt_table_t *t, uint32_t *slot, uint64_t now,
    lrt_change_t *c);

/* slots that a commit could give to new servers now */

uint32_t lrt_change_room(const lrt_table_t *t);

/*
 * Clears what former servers have left in free slots, from *slot on and in no
 * more than n, so that a commit that gives them to others need not.  Returns
 * how many of them are free.  The writers' lock is held.
 */

uint32_t lrt_change_clear(lrt_table_t *t, uint32_t *slot, uint32_t n);

/*
 * All servers with what is known of them, but for those that "leaves" says
 * stay behind, into a freshly formatted table; nobody may use that yet.
 * LRT_FULL if it is too small.  Requests in flight stay with the old table,
 * which is marked as superseded.
 */

typedef unsigned (*lrt_leaves_pt)(const lrt_table_t *t, uint32_t slot,
    const void *data);

lrt_rc_t lrt_change_move(lrt_table_t *dst, lrt_table_t *src,
    lrt_leaves_pt leaves, const void *data);


#endif /* _LRT_CHANGE_H_INCLUDED_ */
