
/*
 * Copyright (C) the ngx_http_lrt_upstream_module authors
 */


#include "lrt_plan.h"

#include <string.h>


static lrt_change_t *lrt_plan_push(lrt_change_set_t *set, lrt_change_e type);


uint32_t
lrt_plan_max(const lrt_table_t *t, uint32_t n)
{
    const lrt_side_t  *side;

    side = lrt_table_side(t, lrt_table_generation(t));

    return n + side->tier[LRT_PRIMARY].n + side->tier[LRT_BACKUP].n;
}


lrt_rc_t
lrt_plan(const lrt_table_t *t, const lrt_server_t *want, uint32_t n,
    uint8_t *seen, lrt_change_set_t *set, lrt_plan_t *plan)
{
    uint32_t            i, slot, fields;
    uint64_t            hash, generation;
    lrt_change_t       *c;
    const lrt_entry_t  *entry;

    memset(plan, 0, sizeof(lrt_plan_t));
    memset(seen, 0, t->capacity);

    generation = lrt_table_generation(t);
    entry = lrt_table_entries(t, generation);

    for (i = 0; i < n; i++) {

        plan->refused = i;

        hash = lrt_table_hash(want[i].sockaddr, want[i].socklen,
                              want[i].params.backup);

        slot = lrt_table_find(t, (unsigned) generation & 1, &want[i], hash);

        if (slot == LRT_NONE) {
            plan->added++;
            lrt_plan_push(set, LRT_ADD)->server = want[i];
            continue;
        }

        if (seen[slot]) {
            return LRT_EXISTS;
        }

        seen[slot] = 1;

        /* how often a configuration lists it is not for others to say */

        fields = lrt_params_diff(&want[i].params, &entry[slot].params)
                 & ~(uint32_t) LRT_F_TWINS;

        if (fields == 0) {
            plan->unchanged++;
            continue;
        }

        plan->updated++;

        c = lrt_plan_push(set, LRT_MODIFY);
        c->ident = entry[slot].ident;
        c->slot = slot;
        c->fields = fields;
        c->server = want[i];
    }

    plan->refused = n;

    for (slot = 0; slot < t->capacity; slot++) {

        if (entry[slot].ident == 0 || seen[slot]) {
            continue;
        }

        plan->removed++;

        c = lrt_plan_push(set, LRT_REMOVE);
        c->ident = entry[slot].ident;
        c->slot = slot;
    }

    return (plan->added <= lrt_change_room(t)) ? LRT_OK : LRT_FULL;
}


static lrt_change_t *
lrt_plan_push(lrt_change_set_t *set, lrt_change_e type)
{
    lrt_change_t  *c;

    c = &set->change[set->n++];

    memset(c, 0, sizeof(lrt_change_t));

    c->type = type;
    c->slot = LRT_NONE;

    return c;
}
