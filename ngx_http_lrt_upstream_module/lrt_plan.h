
/*
 * Copyright (C) the ngx_http_lrt_upstream_module authors
 *
 * From a list of servers as somebody wants it to the changes that lead there:
 * who is in the list and in the group stays, with all that is known of him.
 */


#ifndef _LRT_PLAN_H_INCLUDED_
#define _LRT_PLAN_H_INCLUDED_


#include "lrt_change.h"


typedef struct {
    uint32_t             added;
    uint32_t             removed;
    uint32_t             updated;
    uint32_t             unchanged;
    uint32_t             refused;        /* the wanted server at fault */
} lrt_plan_t;


/* room for so many changes is needed; the writers' lock is held */

uint32_t lrt_plan_max(const lrt_table_t *t, uint32_t n);

/*
 * Fills in set->change behind those that are there already;
 * lrt_change_commit() checks the rest.  "seen" is memory of t->capacity bytes.
 * The writers' lock is held.
 *
 * LRT_EXISTS: an address is wanted twice; LRT_FULL: there is no room for the
 * new servers, "added" says how many there are.
 */

lrt_rc_t lrt_plan(const lrt_table_t *t, const lrt_server_t *want, uint32_t n,
    uint8_t *seen, lrt_change_set_t *set, lrt_plan_t *plan);


#endif /* _LRT_PLAN_H_INCLUDED_ */
