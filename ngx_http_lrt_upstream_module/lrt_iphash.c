
/*
 * Copyright (C) the ngx_http_lrt_upstream_module authors
 *
 * Client affinity.  A client falls on one of 2^20 points, and each point
 * belongs to the server that draws the highest lot for it (weighted
 * rendezvous): who comes or goes moves only the clients that he gains or
 * loses.  Lots depend on addresses and weights only, so all workers, and all
 * instances with the same servers, agree without talking.
 *
 * Owners are drawn when a point is first met and kept in memory of the
 * process; after a change a kept owner has to stand against the changed
 * servers only.  Health does not count for ownership: while its server cannot
 * take requests, a client goes to the owner of another point of its own, and
 * comes back.
 */


#include "lrt_iphash.h"
#include "lrt_fixed.h"
#include "lrt_ledger.h"


#define LRT_POINTS_TRIED     8

#define LRT_LOT_NONE         UINT64_MAX


static uint32_t lrt_iphash_pick(const lrt_view_t *view);
static uint64_t lrt_iphash_client(const lrt_client_t *client);
static uint64_t lrt_iphash_mix(uint64_t v);
static uint32_t lrt_iphash_point(uint64_t client, uint32_t number);
static uint32_t lrt_iphash_owner(const lrt_view_t *view, uint32_t point);
static uint32_t lrt_iphash_draw(const lrt_view_t *view, uint32_t point,
    uint64_t since, uint32_t owner);
static uint64_t lrt_iphash_lot(const lrt_entry_t *entry, uint64_t seed);
static uint32_t lrt_iphash_spill(const lrt_view_t *view, uint64_t client,
    unsigned bounded);
static unsigned lrt_iphash_room(const lrt_view_t *view, uint32_t slot);


const lrt_method_t  lrt_iphash_method = {
    "iphash_ext",
    LRT_TAKES_CLIENT|LRT_TAKES_BALANCE|LRT_NO_BACKUP,
    NULL,
    NULL,
    NULL,
    NULL,
    NULL,
    lrt_iphash_pick,
    lrt_iphash_pick
};


static uint32_t
lrt_iphash_pick(const lrt_view_t *view)
{
    uint32_t  i, slot;
    uint64_t  client;

    if (view->client->len == 0 || view->owned == NULL) {
        return lrt_round_robin_pick(view);
    }

    client = lrt_iphash_client(view->client);

    for (i = 0; i < LRT_POINTS_TRIED; i++) {

        slot = lrt_iphash_owner(view, lrt_iphash_point(client, i));

        if (slot == LRT_NONE) {
            return LRT_NONE;
        }

        if (lrt_view_open(view, slot) && lrt_iphash_room(view, slot)) {
            return slot;
        }
    }

    slot = lrt_iphash_spill(view, client, 1);

    return (slot != LRT_NONE) ? slot : lrt_iphash_spill(view, client, 0);
}


uint32_t
lrt_iphash_home(const lrt_view_t *view)
{
    return lrt_iphash_owner(view,
                         lrt_iphash_point(lrt_iphash_client(view->client), 0));
}


/* a client has a row of points: the next one counts if no owner is there */

static uint32_t
lrt_iphash_point(uint64_t client, uint32_t number)
{
    return (uint32_t) (lrt_iphash_mix(client + number)
                       >> (64 - LRT_POINT_BITS));
}


/* only the leading bits of an address tell clients apart */

static uint64_t
lrt_iphash_client(const lrt_client_t *client)
{
    uint32_t  i, bits;
    uint64_t  hash;
    uint8_t   byte;

    hash = 0xcbf29ce484222325ull;
    bits = client->bits;

    for (i = 0; i < client->len && bits; i++) {

        byte = client->data[i];

        if (bits < 8) {
            byte &= (uint8_t) (0xff << (8 - bits));
            bits = 8;
        }

        bits -= 8;
        hash = (hash ^ byte) * 0x100000001b3ull;
    }

    return lrt_iphash_mix(hash);
}


static uint64_t
lrt_iphash_mix(uint64_t v)
{
    v = (v ^ (v >> 30)) * 0xbf58476d1ce4e5b9ull;
    v = (v ^ (v >> 27)) * 0x94d049bb133111ebull;

    return v ^ (v >> 31);
}


static uint32_t
lrt_iphash_owner(const lrt_view_t *view, uint32_t point)
{
    uint32_t             slot;
    lrt_owned_t         *owned;
    const lrt_entry_t   *entry;

    owned = &view->owned[point & view->owned_mask];
    slot = owned->slot;

    if (owned->point == point
        && owned->seen == view->changed
        && slot < view->table->capacity)
    {
        return slot;
    }

    if (owned->point == point
        && owned->seen
        && owned->seen < view->changed
        && slot < view->table->capacity)
    {
        entry = &view->entry[slot];

        if (entry->ident && entry->since <= owned->seen) {
            slot = lrt_iphash_draw(view, point, owned->seen, slot);

        } else {
            slot = lrt_iphash_draw(view, point, 0, LRT_NONE);
        }

    } else {
        slot = lrt_iphash_draw(view, point, 0, LRT_NONE);
    }

    owned->point = point;
    owned->slot = slot;
    owned->seen = (slot != LRT_NONE) ? view->changed : 0;

    return slot;
}


/* the lowest lot of servers that changed after "since", and of the owner */

static uint32_t
lrt_iphash_draw(const lrt_view_t *view, uint32_t point, uint64_t since,
    uint32_t owner)
{
    uint32_t            i, slot;
    uint64_t            lot, best, seed;
    const lrt_entry_t  *entry;

    seed = lrt_iphash_mix(point + 1);
    best = (owner != LRT_NONE) ? lrt_iphash_lot(&view->entry[owner], seed)
                               : LRT_LOT_NONE;

    for (i = 0; i < view->schedule.n; i++) {

        slot = view->order[i];

        if (slot >= view->table->capacity) {
            continue;
        }

        entry = &view->entry[slot];

        if (entry->ident == 0 || entry->since <= since) {
            continue;
        }

        lot = lrt_iphash_lot(entry, seed);

        if (lot < best) {
            best = lot;
            owner = slot;
        }
    }

    return owner;
}


/*
 * -log2(u) / weight of a uniform u is exponential with the weight as its
 * rate, so a server has the least of all with a chance of its share.
 */

static uint64_t
lrt_iphash_lot(const lrt_entry_t *entry, uint64_t seed)
{
    uint64_t  u;

    u = lrt_iphash_mix(entry->hash ^ seed);

    return (lrt_log2_below(u | 1) << 20)
           / (entry->params.weight + (entry->params.weight == 0));
}


/* most servers cannot take requests: the client's own lots among the rest */

static uint32_t
lrt_iphash_spill(const lrt_view_t *view, uint64_t client, unsigned bounded)
{
    uint32_t  i, slot, found;
    uint64_t  lot, best;

    best = LRT_LOT_NONE;
    found = LRT_NONE;

    for (i = 0; i < view->schedule.n; i++) {

        slot = view->order[i];

        if (!lrt_view_open(view, slot)
            || (bounded && !lrt_iphash_room(view, slot)))
        {
            continue;
        }

        lot = lrt_iphash_lot(&view->entry[slot], client);

        if (lot < best) {
            best = lot;
            found = slot;
        }
    }

    return found;
}


/*
 * A server may have "balance" permille of its share of all requests in
 * flight, this one included, and always one.
 */

static unsigned
lrt_iphash_room(const lrt_view_t *view, uint32_t slot)
{
    int64_t   inflight;
    uint64_t  share, limit, whole, weight;

    if (view->policy->balance == 0 || view->weight == 0) {
        return 1;
    }

    weight = view->entry[slot].params.weight;
    share = (lrt_ledger_held(view->table) + 1) * view->policy->balance;
    inflight = lrt_load(&view->table->hot[slot].inflight);

    whole = view->weight * 1000;

    /* of so many, the last ones do not matter */

    while (weight && share > INT64_MAX / weight) {
        share /= 2;
        whole /= 2;
    }

    limit = (share * weight + whole - 1) / whole;

    return inflight < (int64_t) limit;
}
