
/*
 * Copyright (C) the ngx_http_lrt_upstream_module authors
 */


#include "lrt_plan.h"
#include "lrt_ledger.h"

#include <string.h>


static lrt_change_t *lrt_plan_push(lrt_plan_t *plan, lrt_change_e type);


size_t
lrt_plan_max(const lrt_table_t *t, uint32_t n)
{
    return (size_t) n + t->capacity;
}


void
lrt_plan_begin(lrt_plan_t *plan, const lrt_table_t *t, uint8_t *seen,
    lrt_change_set_t *set)
{
    memset(plan, 0, sizeof(lrt_plan_t));
    memset(seen, 0, t->capacity);

    plan->table = t;
    plan->set = set;
    plan->seen = seen;
    plan->generation = lrt_table_generation(t);
}


lrt_rc_t
lrt_plan_want(lrt_plan_t *plan, const lrt_server_t *server)
{
    uint32_t            slot, fields;
    uint64_t            hash;
    lrt_change_t       *c;
    const lrt_entry_t  *entry;

    hash = lrt_table_hash(server->sockaddr, server->socklen,
                          server->params.backup);

    slot = lrt_table_find(plan->table, (unsigned) plan->generation & 1, server,
                          hash);

    if (slot == LRT_NONE) {
        plan->added++;
        lrt_plan_push(plan, LRT_ADD)->server = *server;
        return LRT_OK;
    }

    if (plan->seen[slot]) {
        return LRT_EXISTS;
    }

    plan->seen[slot] = 1;

    /* how often a configuration lists it is not for others to say */

    entry = &lrt_table_entries(plan->table, plan->generation)[slot];
    fields = lrt_params_diff(&server->params, &entry->params)
             & ~(uint32_t) LRT_F_TWINS;

    if (fields == 0) {
        plan->unchanged++;
        return LRT_OK;
    }

    plan->updated++;

    c = lrt_plan_push(plan, LRT_MODIFY);
    c->ident = entry->ident;
    c->slot = slot;
    c->fields = fields;
    c->server = *server;

    return LRT_OK;
}


lrt_rc_t
lrt_plan_end(lrt_plan_t *plan)
{
    uint32_t            slot, room;
    uint64_t            ident;
    lrt_change_t       *c;
    const lrt_entry_t  *entry;

    room = 0;
    entry = lrt_table_entries(plan->table, plan->generation);

    for (slot = 0; slot < plan->table->capacity; slot++) {

        ident = entry[slot].ident;

        if (ident == 0) {
            room += (room < plan->added && lrt_ledger_idle(plan->table, slot));
            continue;
        }

        if (plan->seen[slot]) {
            continue;
        }

        plan->removed++;

        c = lrt_plan_push(plan, LRT_REMOVE);
        c->ident = ident;
        c->slot = slot;
    }

    return (room == plan->added) ? LRT_OK : LRT_FULL;
}


static lrt_change_t *
lrt_plan_push(lrt_plan_t *plan, lrt_change_e type)
{
    lrt_change_t  *c;

    c = &plan->set->change[plan->set->n++];

    memset(c, 0, sizeof(lrt_change_t));

    c->type = type;
    c->slot = LRT_NONE;

    return c;
}
