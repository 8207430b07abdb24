
/*
 * Copyright (C) the ngx_http_lrt_upstream_module authors
 */


#include "lrt_inspect.h"
#include "lrt_census.h"
#include "lrt_health.h"
#include "lrt_passive.h"
#include "lrt_rank.h"

#include <string.h>


#define LRT_SNAPSHOT_TRIES   64


static lrt_rc_t lrt_peer_present(const lrt_table_t *t, const lrt_peer_t *peer);
static const char *lrt_validate_entries(const lrt_table_t *t,
    uint64_t generation);
static const char *lrt_validate_tier(const lrt_table_t *t, uint64_t generation,
    lrt_tier_e tier);
static const char *lrt_validate_schedule(const lrt_table_t *t,
    uint64_t generation, lrt_tier_e tier);
static const char *lrt_validate_clear(const lrt_table_t *t);
static const char *lrt_validate_counts(const lrt_table_t *t,
    const lrt_registry_t *reg);
static const char *lrt_validate_ranks(const lrt_table_t *t,
    uint64_t generation, uint64_t now);
static char *lrt_dump_str(char *p, char *last, const char *s, size_t len);
static char *lrt_dump_num(char *p, char *last, const char *name,
    uint64_t value);


lrt_rc_t
lrt_snapshot(const lrt_table_t *t, lrt_snapshot_t *snap, lrt_peer_t *peer,
    uint32_t max, uint64_t now)
{
    uint32_t             i, n, try, slot;
    lrt_tier_e           tier;
    uint64_t             generation;
    const uint32_t      *order;
    const lrt_side_t    *side;
    const lrt_entry_t   *entry;

    for (try = 0; try < LRT_SNAPSHOT_TRIES; try++) {

        generation = lrt_table_generation(t);
        side = lrt_table_side(t, generation);
        entry = lrt_table_entries(t, generation);
        order = t->order[generation & 1];

        n = lrt_load(&side->tier[LRT_PRIMARY].n)
            + lrt_load(&side->tier[LRT_BACKUP].n);

        memset(snap, 0, sizeof(lrt_snapshot_t));

        snap->generation = generation;
        snap->policy = side->policy;
        snap->settings = side->settings;
        snap->n = n;

        for (i = 0; i < n && i < t->capacity && i < max; i++) {
            slot = lrt_load(&order[i]);

            if (slot >= t->capacity) {
                break;
            }

            peer[i].slot = slot;
            peer[i].entry = entry[slot];
        }

        snap->copied = i;

        for (tier = LRT_PRIMARY; tier < LRT_TIERS; tier++) {
            lrt_rules(t, generation, tier, &snap->rules[tier]);
            snap->well[tier] = lrt_census_well(
                                  lrt_load(&t->head->census.value), tier);
        }

        for (slot = 0; slot < t->capacity; slot++) {
            if (entry[slot].ident == 0) {
                if (lrt_load(&t->hot[slot].inflight) > 0) {
                    snap->zombies++;

                } else {
                    snap->room++;
                }
            }
        }

        lrt_fence();

        if (lrt_table_generation(t) == generation) {

            for (i = 0; i < snap->copied; i++) {
                tier = peer[i].entry.params.backup ? LRT_BACKUP : LRT_PRIMARY;
                snap->shares[tier] += lrt_peer_share(t, snap, &peer[i], now);
            }

            return LRT_OK;
        }
    }

    return LRT_BUSY;
}


lrt_state_e
lrt_peer_state(const lrt_snapshot_t *snap, const lrt_peer_t *peer,
    const lrt_hot_t *hot, uint64_t now)
{
    const lrt_params_t  *params;

    params = &peer->entry.params;

    if (params->down) {
        return LRT_STATE_DOWN;
    }

    if (params->drain) {
        return LRT_STATE_DRAINING;
    }

    if (params->forced == LRT_FORCED_DOWN) {
        return LRT_STATE_UNHEALTHY;
    }

    if (params->forced == LRT_FORCED_UP) {
        return LRT_STATE_UP;
    }

    switch (lrt_health_use(lrt_load(&hot->health))) {

    case LRT_USE_FAILING:
        return LRT_STATE_UNHEALTHY;

    case LRT_USE_PENDING:
        return LRT_STATE_CHECKING;

    default:
        break;
    }

    if (!snap->rules[params->backup ? LRT_BACKUP : LRT_PRIMARY].lone
        && lrt_passive_blocked(params, hot, now))
    {
        return LRT_STATE_UNAVAIL;
    }

    return LRT_STATE_UP;
}


uint64_t
lrt_peer_out_since(lrt_state_e state, const lrt_hot_t *hot)
{
    uint64_t  health;

    health = lrt_load(&hot->health);

    if (lrt_health_use(health) != LRT_USE_FREE) {
        return lrt_health_since(health);
    }

    return (state == LRT_STATE_UNAVAIL) ? lrt_load(&hot->checked) : 0;
}


uint64_t
lrt_peer_downtime(lrt_state_e state, const lrt_hot_t *hot,
    const lrt_health_t *health, uint64_t now)
{
    uint64_t  since;

    since = lrt_peer_out_since(state, hot);

    return health->downtime + ((since && since < now) ? now - since : 0);
}


uint32_t
lrt_peer_ramp(const lrt_snapshot_t *snap, const lrt_peer_t *peer,
    const lrt_hot_t *hot, uint64_t now)
{
    const lrt_rules_t  *rules;

    rules = &snap->rules[peer->entry.params.backup ? LRT_BACKUP : LRT_PRIMARY];

    return rules->lone ? LRT_RAMP_FULL
                       : lrt_ramp_permille(&peer->entry.params, hot,
                                           rules->slow_start, now);
}


unsigned
lrt_peer_busy(const lrt_peer_t *peer, const lrt_hot_t *hot)
{
    return peer->entry.params.max_conns
           && lrt_load(&hot->inflight)
              >= (int32_t) peer->entry.params.max_conns;
}


unsigned
lrt_peer_twin(const lrt_table_t *t, const lrt_peer_t *peer)
{
    lrt_server_t         twin;
    const lrt_detail_t  *d;

    d = &t->detail[peer->slot];

    twin.sockaddr = lrt_table_sockaddr(d);
    twin.socklen = d->socklen;
    twin.params.backup = !peer->entry.params.backup;

    return lrt_table_find(t, (unsigned) lrt_table_generation(t) & 1, &twin,
                          lrt_table_hash(twin.sockaddr, twin.socklen,
                                         twin.params.backup))
           != LRT_NONE;
}


uint64_t
lrt_peer_share(const lrt_table_t *t, const lrt_snapshot_t *snap,
    const lrt_peer_t *peer, uint64_t now)
{
    lrt_score_t          score;
    const lrt_hot_t     *hot;
    const lrt_rules_t   *rules;
    const lrt_entry_t   *entry;
    const lrt_method_t  *method;

    hot = &t->hot[peer->slot];
    entry = &peer->entry;

    rules = &snap->rules[entry->params.backup ? LRT_BACKUP : LRT_PRIMARY];

    if (!lrt_usable(entry, hot, rules, now)) {
        return 0;
    }

    method = lrt_method(snap->policy.method);

    if (method->share == NULL) {
        return lrt_ramp_weight(&entry->params, hot, rules->slow_start, now);
    }

    lrt_rank_score_slot(t, &score, &snap->policy, &entry->params, peer->slot,
                        now);

    return method->share(&score);
}


lrt_rc_t
lrt_peer_copy(const lrt_table_t *t, const lrt_peer_t *peer, lrt_hot_t *hot,
    lrt_detail_t *detail)
{
    if (hot) {
        *hot = t->hot[peer->slot];
    }

    if (detail) {
        *detail = t->detail[peer->slot];
    }

    return lrt_peer_present(t, peer);
}


lrt_rc_t
lrt_peer_health(const lrt_table_t *t, const lrt_peer_t *peer,
    lrt_health_t *health)
{
    *health = t->health[peer->slot];

    return lrt_peer_present(t, peer);
}


/*
 * A writer clears a slot only while it is not in use in the generation in
 * force, so what was copied is whole if the server is in use now.
 */

static lrt_rc_t
lrt_peer_present(const lrt_table_t *t, const lrt_peer_t *peer)
{
    uint64_t  generation;

    do {
        lrt_fence();
        generation = lrt_table_generation(t);

        if (lrt_load(&lrt_table_entries(t, generation)[peer->slot].ident)
            != peer->entry.ident)
        {
            return LRT_MISSING;
        }

        lrt_fence();
    } while (lrt_table_generation(t) != generation);

    return LRT_OK;
}


const char *
lrt_table_validate(const lrt_table_t *t, const lrt_registry_t *reg,
    unsigned quiet, uint64_t now)
{
    uint64_t     generation;
    lrt_tier_e   tier;
    const char  *why;

    generation = lrt_table_generation(t);

    if (t->head->magic != LRT_TABLE_MAGIC) {
        return "magic number";
    }

    if (generation
        && lrt_table_side(t, generation)->generation != generation)
    {
        return "generation of the published side";
    }

    why = lrt_validate_entries(t, generation);

    for (tier = LRT_PRIMARY; why == NULL && tier < LRT_TIERS; tier++) {
        why = lrt_validate_tier(t, generation, tier);

        if (why == NULL) {
            why = lrt_validate_schedule(t, generation, tier);
        }
    }

    if (why == NULL && quiet) {
        why = lrt_validate_clear(t);
    }

    if (why == NULL && quiet) {
        why = lrt_validate_counts(t, reg);
    }

    if (why == NULL && quiet) {
        why = lrt_validate_ranks(t, generation, now);
    }

    return why;
}


static const char *
lrt_validate_entries(const lrt_table_t *t, uint64_t generation)
{
    uint32_t             slot, n;
    lrt_server_t         server;
    const lrt_side_t    *side;
    const lrt_entry_t   *entry;
    const lrt_detail_t  *d;

    n = 0;
    side = lrt_table_side(t, generation);
    memset(&server, 0, sizeof(lrt_server_t));

    for (slot = 0; slot < t->capacity; slot++) {

        entry = &lrt_table_entries(t, generation)[slot];
        d = &t->detail[slot];

        if (entry->ident == 0) {
            continue;
        }

        n++;

        if (slot >= side->top) {
            return "server above the top slot";
        }

        if (entry->ident >= t->head->next_ident) {
            return "id not given out yet";
        }

        if (!lrt_params_valid(&entry->params)) {
            return "parameters out of range";
        }

        if (d->socklen > LRT_SOCKADDR_LEN
            || d->socklen + d->name_len + d->server_len + d->route_len
               > LRT_DATA_LEN)
        {
            return "lengths of address or strings";
        }

        if (entry->hash != lrt_table_hash(d->data, d->socklen,
                                          entry->params.backup))
        {
            return "hash of the address";
        }

        server.params = entry->params;
        server.sockaddr = d->data;
        server.socklen = d->socklen;

        if (lrt_table_find(t, generation & 1, &server, entry->hash) != slot) {
            return "server not found by its address";
        }
    }

    if (n != side->tier[LRT_PRIMARY].n + side->tier[LRT_BACKUP].n) {
        return "number of servers in order";
    }

    return NULL;
}


static const char *
lrt_validate_tier(const lrt_table_t *t, uint64_t generation, lrt_tier_e tier)
{
    uint32_t             i, slot, active, tries;
    uint64_t             ident;
    const uint32_t      *order;
    const lrt_tier_t    *lt;
    const lrt_entry_t   *entry;

    lt = &lrt_table_side(t, generation)->tier[tier];
    order = t->order[generation & 1] + lt->first;

    active = 0;
    tries = 0;
    ident = 0;

    if (lt->first > t->capacity || lt->n > t->capacity - lt->first) {
        return "place of a tier in order";
    }

    for (i = 0; i < lt->n; i++) {
        slot = order[i];

        if (slot >= t->capacity) {
            return "slot in order out of range";
        }

        entry = &lrt_table_entries(t, generation)[slot];

        if (entry->ident <= ident) {
            return "order is not by age, or a slot stands in it twice";
        }

        if (entry->params.backup != (tier == LRT_BACKUP)) {
            return "server in the wrong tier";
        }

        ident = entry->ident;

        if (lrt_params_active(&entry->params)) {
            active++;
            tries += 1 + entry->params.twins;
        }
    }

    if (active != lt->active || tries != lt->tries) {
        return "number of active servers";
    }

    return NULL;
}


static const char *
lrt_validate_schedule(const lrt_table_t *t, uint64_t generation,
    lrt_tier_e tier)
{
    uint32_t               i;
    uint64_t               before;
    lrt_schedule_t         s;
    const uint32_t        *order;
    const lrt_params_t    *params;

    lrt_table_schedule(t, generation, tier, &s);

    order = t->order[generation & 1]
            + lrt_table_side(t, generation)->tier[tier].first;
    before = 0;

    for (i = 0; i < s.n; i++) {
        params = &lrt_table_entries(t, generation)[order[i]].params;

        if (s.reach[i] < before) {
            return "schedule goes back";
        }

        if ((s.reach[i] > before) != lrt_params_active(params)) {
            return "turns of a server that is down, or none of another";
        }

        before = s.reach[i];
    }

    if (before != s.total) {
        return "total of the schedule";
    }

    return NULL;
}


static const char *
lrt_validate_clear(const lrt_table_t *t)
{
    size_t               i;
    uint32_t             slot;
    const char          *p;
    const lrt_detail_t  *d;

    for (slot = 0; slot < t->capacity; slot++) {

        d = &t->detail[slot];
        p = (const char *) d;

        for (i = 0; d->born == 0 && i < sizeof(lrt_detail_t); i++) {
            if (p[i]) {
                return "something in a slot without a server before";
            }
        }
    }

    return NULL;
}


static const char *
lrt_validate_counts(const lrt_table_t *t, const lrt_registry_t *reg)
{
    uint32_t  row, slot;
    int64_t   sum;
    uint64_t  cell;

    for (slot = 0; slot < t->capacity; slot++) {

        sum = 0;

        for (row = 0; row < t->rows; row++) {
            cell = lrt_load(lrt_table_cell(t, row, slot));

            if (lrt_cell_count(cell) == 0) {
                continue;
            }

            if (!lrt_registry_serial_alive(reg, row, lrt_cell_serial(cell))) {
                return "requests of a dead worker";
            }

            sum += lrt_cell_count(cell);
        }

        if (sum != lrt_load(&t->hot[slot].inflight)) {
            return "total of requests in flight";
        }
    }

    return NULL;
}


static const char *
lrt_validate_ranks(const lrt_table_t *t, uint64_t generation, uint64_t now)
{
    uint32_t             slot;
    uint64_t             key, low, want;
    lrt_rules_t          rules;
    lrt_score_t          score;
    lrt_tier_e           tier;
    const lrt_side_t    *side;
    const lrt_entry_t   *entry;
    const lrt_method_t  *method;

    side = lrt_table_side(t, generation);
    method = lrt_method(side->policy.method);

    if (method->key == NULL) {
        return NULL;
    }

    for (tier = LRT_PRIMARY; tier < LRT_TIERS; tier++) {

        lrt_rules(t, generation, tier, &rules);
        low = LRT_KEY_NEVER;

        for (slot = 0; slot < t->capacity; slot++) {
            entry = &lrt_table_entries(t, generation)[slot];
            key = lrt_load(&t->key[tier][slot]);

            want = LRT_KEY_NEVER;

            if (entry->params.backup == (tier == LRT_BACKUP)
                && lrt_usable(entry, &t->hot[slot], &rules, now))
            {
                lrt_rank_score_slot(t, &score, &side->policy, &entry->params,
                                    slot, now);
                want = method->key(&score);
            }

            /* that of a ramp falls with time, and is kept up by audits */

            if (key != want && !(lrt_ramping(&t->hot[slot]) && key > want)) {
                return "rank of a server";
            }

            low = (key < low) ? key : low;

            if (slot % LRT_BLOCK == LRT_BLOCK - 1 || slot == t->capacity - 1) {
                if (lrt_load(&t->low[tier][slot / LRT_BLOCK]) != low) {
                    return "lowest rank of a block";
                }

                low = LRT_KEY_NEVER;
            }
        }
    }

    return NULL;
}


char *
lrt_table_dump(const lrt_table_t *t, char *p, char *last)
{
    uint32_t             slot;
    uint64_t             generation;
    lrt_str_t            name;
    const lrt_hot_t     *hot;
    const lrt_side_t    *side;
    const lrt_entry_t   *entry;
    const char          *method;

    generation = lrt_table_generation(t);
    side = lrt_table_side(t, generation);
    method = lrt_method(side->policy.method)->name;

    p = lrt_dump_num(p, last, "generation=", generation);
    p = lrt_dump_str(p, last, " method=", 8);
    p = lrt_dump_str(p, last, method, strlen(method));
    p = lrt_dump_num(p, last, " capacity=", t->capacity);
    p = lrt_dump_num(p, last, " primaries=", side->tier[LRT_PRIMARY].n);
    p = lrt_dump_num(p, last, " backups=", side->tier[LRT_BACKUP].n);
    p = lrt_dump_num(p, last, " gone=", t->head->ngone);
    p = lrt_dump_num(p, last, " merged=", t->head->merged);
    p = lrt_dump_str(p, last, "\n", 1);

    for (slot = 0; slot < t->capacity; slot++) {
        entry = &lrt_table_entries(t, generation)[slot];
        hot = &t->hot[slot];
        name = lrt_table_name(&t->detail[slot]);

        if (entry->ident == 0 && lrt_load(&hot->inflight) == 0) {
            continue;
        }

        p = lrt_dump_num(p, last, "slot=", slot);

        if (entry->ident) {
            p = lrt_dump_num(p, last, " id=", entry->ident - 1);

        } else {
            p = lrt_dump_str(p, last, " zombie", 7);
        }

        p = lrt_dump_str(p, last, " name=", 6);
        p = lrt_dump_str(p, last, name.data, name.len);
        p = lrt_dump_num(p, last, " weight=", entry->params.weight);
        p = lrt_dump_num(p, last, " max_conns=", entry->params.max_conns);
        p = lrt_dump_num(p, last, " max_fails=", entry->params.max_fails);
        p = lrt_dump_num(p, last, " backup=", entry->params.backup);
        p = lrt_dump_num(p, last, " down=", entry->params.down);
        p = lrt_dump_num(p, last, " drain=", entry->params.drain);
        p = lrt_dump_num(p, last, " in_conf=", t->detail[slot].in_conf);
        p = lrt_dump_num(p, last, " fails=", lrt_load(&hot->fails));

        /* the negative count of a moment is printed as it is, in 32 bits */

        p = lrt_dump_num(p, last, " inflight=",
                         (uint32_t) lrt_load(&hot->inflight));
        p = lrt_dump_num(p, last, " requests=",
                         lrt_load(&t->detail[slot].stats.requests));
        p = lrt_dump_str(p, last, "\n", 1);
    }

    return p;
}


static char *
lrt_dump_str(char *p, char *last, const char *s, size_t len)
{
    if ((size_t) (last - p) < len) {
        len = (size_t) (last - p);
    }

    memcpy(p, s, len);

    return p + len;
}


static char *
lrt_dump_num(char *p, char *last, const char *name, uint64_t value)
{
    char    digits[20];
    size_t  n;

    n = sizeof(digits);

    do {
        digits[--n] = (char) ('0' + value % 10);
        value /= 10;
    } while (value);

    p = lrt_dump_str(p, last, name, strlen(name));

    return lrt_dump_str(p, last, digits + n, sizeof(digits) - n);
}
