
/*
 * Copyright (C) the ngx_http_lrt_upstream_module authors
 *
 * From a list of servers as somebody wants it to the changes that lead there:
 * who is in the list and in the group stays, with all that is known of him.
 *
 *     lrt_plan_begin(), lrt_plan_want() for each, lrt_plan_end()
 *
 * A plan leads from one generation to the next.  It may be made without the
 * writers' lock, and is worth something only if that generation is still in
 * force when the lock is held: with another one it, and its errors as well,
 * may be wrong.
 */


#ifndef _LRT_PLAN_H_INCLUDED_
#define _LRT_PLAN_H_INCLUDED_


#include "lrt_change.h"


typedef struct {
    const lrt_table_t   *table;
    lrt_change_set_t    *set;
    uint8_t             *seen;           /* [capacity] */
    uint64_t             generation;
    uint32_t             added;
    uint32_t             removed;
    uint32_t             updated;
    uint32_t             unchanged;
} lrt_plan_t;


/* changes that n wanted servers may lead to, in whatever generation */

size_t lrt_plan_max(const lrt_table_t *t, uint32_t n);

/*
 * Changes are filled in set->change behind those that are there already;
 * lrt_change_commit() checks the rest.  "seen" is memory of t->capacity bytes.
 */

void lrt_plan_begin(lrt_plan_t *plan, const lrt_table_t *t, uint8_t *seen,
    lrt_change_set_t *set);

/* LRT_EXISTS: the address was wanted before */

lrt_rc_t lrt_plan_want(lrt_plan_t *plan, const lrt_server_t *server);

/*
 * LRT_FULL: there is no room for the new servers, "added" says how many there
 * are.
 */

lrt_rc_t lrt_plan_end(lrt_plan_t *plan);


#endif /* _LRT_PLAN_H_INCLUDED_ */
