
/*
 * Copyright (C) the ngx_http_lrt_upstream_module authors
 */


#include "lrt_table.h"
#include "lrt_crowd.h"

#include <string.h>


#define LRT_PER_PEER_LIMIT   1536

/* what one server takes, without the ledger and the hash index */

#define LRT_PER_PEER                                                          \
    (sizeof(lrt_hot_t) + (1 + LRT_TIERS) * sizeof(uint64_t)                   \
     + 2 * (sizeof(lrt_entry_t) + 2 * sizeof(uint32_t) + sizeof(uint64_t))    \
     + sizeof(lrt_health_t) + sizeof(lrt_detail_t) + sizeof(lrt_gone_t))

typedef char  lrt_per_peer_is_in_budget[
                              (LRT_PER_PEER <= LRT_PER_PEER_LIMIT) ? 1 : -1];
typedef char  lrt_hot_is_one_line[
                              (sizeof(lrt_hot_t) == LRT_CACHE_LINE) ? 1 : -1];

typedef char  lrt_details_are_whole_lines[
                     (sizeof(lrt_detail_t) % LRT_CACHE_LINE == 0) ? 1 : -1];

typedef char  lrt_head_is_whole_lines[
                       (sizeof(lrt_head_t) % LRT_CACHE_LINE == 0) ? 1 : -1];


static size_t lrt_table_layout(lrt_table_t *t, uint32_t capacity,
    uint32_t rows);
static size_t lrt_table_server_len(const lrt_server_t *server);
static char *lrt_table_append(char *p, const lrt_str_t *s);


size_t
lrt_table_size(uint32_t capacity, uint32_t rows)
{
    lrt_table_t  t;

    t.head = NULL;

    return lrt_table_layout(&t, capacity, rows);
}


uint32_t
lrt_table_capacity(size_t size, uint32_t rows)
{
    uint32_t  low, high, middle;

    low = 0;
    high = LRT_MAX_CAPACITY;

    while (low < high) {
        middle = low + (high - low + 1) / 2;

        if (lrt_table_size(middle, rows) <= size) {
            low = middle;

        } else {
            high = middle - 1;
        }
    }

    return low;
}


void
lrt_table_format(void *base, uint32_t capacity, uint32_t rows)
{
    size_t        size;
    uint32_t      tier, block;
    lrt_table_t   t;

    memset(&t, 0, sizeof(lrt_table_t));
    size = lrt_table_size(capacity, rows);

    memset(base, 0, size);

    t.head = base;
    (void) lrt_table_layout(&t, capacity, rows);

    t.head->version = LRT_TABLE_VERSION;
    t.head->capacity = capacity;
    t.head->rows = rows;
    t.head->size = size;
    t.head->next_ident = 1;
    t.head->conf_policy.method = LRT_NONE;
    t.head->wake.value = UINT64_MAX;
    t.head->typical.power = lrt_crowd_power(0, 0);

    for (tier = 0; tier < LRT_TIERS; tier++) {
        memset(t.key[tier], 0xff, capacity * sizeof(uint64_t));

        for (block = 0; block < lrt_blocks(capacity); block++) {
            t.low[tier][block] = LRT_KEY_NEVER;
        }
    }

    lrt_store(&t.head->magic, LRT_TABLE_MAGIC);
}


lrt_rc_t
lrt_table_attach(lrt_table_t *t, void *base, size_t size)
{
    lrt_head_t  *head;

    head = base;

    if (size < sizeof(lrt_head_t)
        || lrt_load(&head->magic) != LRT_TABLE_MAGIC
        || head->version != LRT_TABLE_VERSION
        || head->size > size
        || head->capacity > LRT_MAX_CAPACITY
        || head->size != lrt_table_size(head->capacity, head->rows))
    {
        return LRT_INVALID;
    }

    t->head = head;
    (void) lrt_table_layout(t, head->capacity, head->rows);

    return LRT_OK;
}


/* sets the view's pointers from t->head and returns the size of the whole */

static size_t
lrt_table_layout(lrt_table_t *t, uint32_t capacity, uint32_t rows)
{
    size_t     offset;
    uint32_t   i, blocks;
    uintptr_t  base;

#define lrt_place(member, count)                                              \
    t->member = (void *) (base + offset);                                     \
    offset += (size_t) (count) * sizeof(*t->member);                          \
    offset = (offset + LRT_CACHE_LINE - 1) & ~(size_t) (LRT_CACHE_LINE - 1)

    t->capacity = capacity;
    t->rows = rows;
    t->stride = (capacity + 1 + LRT_CACHE_LINE / sizeof(uint64_t) - 1)
                & ~(uint32_t) (LRT_CACHE_LINE / sizeof(uint64_t) - 1);
    t->index_size = 16;

    while (t->index_size < 2 * capacity) {
        t->index_size *= 2;
    }

    base = (uintptr_t) t->head;
    blocks = lrt_blocks(capacity);
    offset = 0;

    lrt_place(head, 1);
    lrt_place(hot, capacity);
    lrt_place(cost, capacity);

    for (i = 0; i < LRT_TIERS; i++) {
        lrt_place(key[i], capacity);
        lrt_place(low[i], blocks);
    }

    for (i = 0; i < 2; i++) {
        lrt_place(entry[i], capacity);
        lrt_place(order[i], capacity);
        lrt_place(reach[i], capacity);
        lrt_place(guide[i], capacity);
        lrt_place(index[i], t->index_size);
        lrt_place(sids[i], t->index_size);
    }

    lrt_place(health, capacity);
    lrt_place(detail, capacity);
    lrt_place(gone, capacity);
    lrt_place(cell, (size_t) rows * t->stride);

#undef lrt_place

    return offset;
}


uint64_t
lrt_table_hash(const void *sockaddr, uint32_t socklen, unsigned backup)
{
    uint64_t        hash;
    uint32_t        i;
    const uint8_t  *p;

    /* FNV-1a, and a last mix since the index uses the low bits */

    p = sockaddr;
    hash = 0xcbf29ce484222325ull + backup;

    for (i = 0; i < socklen; i++) {
        hash = (hash ^ p[i]) * 0x100000001b3ull;
    }

    hash ^= hash >> 32;
    hash *= 0x9e3779b97f4a7c15ull;
    hash ^= hash >> 29;

    return hash ? hash : 1;
}


uint32_t
lrt_table_find(const lrt_table_t *t, unsigned side, const lrt_server_t *server,
    uint64_t hash)
{
    uint32_t             i, n, slot, mask;
    const lrt_entry_t   *entry;
    const lrt_detail_t  *d;

    mask = t->index_size - 1;
    i = (uint32_t) hash & mask;

    for (n = 0; n < t->index_size; n++, i = (i + 1) & mask) {

        if (t->index[side][i] == 0) {
            break;
        }

        slot = t->index[side][i] - 1;

        if (slot >= t->capacity) {
            break;
        }

        entry = &t->entry[side][slot];

        if (entry->ident == 0
            || entry->hash != hash
            || entry->params.backup != server->params.backup)
        {
            continue;
        }

        d = &t->detail[slot];

        if (d->socklen == server->socklen
            && memcmp(lrt_table_sockaddr(d), server->sockaddr, server->socklen)
               == 0)
        {
            return slot;
        }
    }

    return LRT_NONE;
}


uint32_t
lrt_table_next_sid(const lrt_table_t *t, unsigned side, uint64_t sid,
    uint32_t *probe)
{
    uint32_t            slot, mask;
    const lrt_entry_t  *entry;

    mask = t->index_size - 1;

    while (*probe < t->index_size) {

        slot = lrt_load(&t->sids[side][((uint32_t) sid + *probe) & mask]);

        if (slot == 0 || slot > t->capacity) {
            break;
        }

        (*probe)++;
        entry = &t->entry[side][slot - 1];

        if (entry->ident && entry->sid == sid) {
            return slot - 1;
        }
    }

    return LRT_NONE;
}


uint32_t
lrt_table_find_ident(const lrt_table_t *t, uint64_t generation, uint64_t ident)
{
    uint32_t            slot, top;
    const lrt_entry_t  *entry;

    entry = lrt_table_entries(t, generation);
    top = lrt_table_side(t, generation)->top;

    for (slot = 0; slot < top && slot < t->capacity; slot++) {
        if (entry[slot].ident == ident && ident) {
            return slot;
        }
    }

    return LRT_NONE;
}


void
lrt_table_schedule(const lrt_table_t *t, uint64_t generation, lrt_tier_e tier,
    lrt_schedule_t *s)
{
    uint32_t           first;
    const lrt_tier_t  *lt;

    /* loaded once each: the caller may not see a number change later */

    lt = &lrt_table_side(t, generation)->tier[tier];

    first = lrt_load(&lt->first);

    s->n = lrt_load(&lt->n);
    s->stride = lrt_load(&lt->stride);
    s->total = lrt_load(&lt->total);

    /*
     * Each has one point, if all have some.  Numbers of two generations, mixed,
     * would lead out of the arrays.
     */

    s->even = (s->total == s->n && lrt_load(&lt->active) == s->n);
    s->stride = (s->stride < s->total) ? s->stride : 1;
    s->reach = t->reach[generation & 1] + first;
    s->guide = t->guide[generation & 1] + first;
}


/*
 * Address, name, server, route.  The name is mostly the text of the directive
 * as well, and is then kept once.
 */

const void *
lrt_table_sockaddr(const lrt_detail_t *d)
{
    return d->data;
}


lrt_str_t
lrt_table_name(const lrt_detail_t *d)
{
    lrt_str_t  s;

    s.data = d->data + d->socklen;
    s.len = d->name_len;

    return s;
}


lrt_str_t
lrt_table_server(const lrt_detail_t *d)
{
    lrt_str_t  s;

    if (d->server_len == 0) {
        return lrt_table_name(d);
    }

    s.data = d->data + d->socklen + d->name_len;
    s.len = d->server_len;

    return s;
}


lrt_str_t
lrt_table_route(const lrt_detail_t *d)
{
    lrt_str_t  s;

    s.data = d->data + d->socklen + d->name_len + d->server_len;
    s.len = d->route_len;

    return s;
}


unsigned
lrt_table_fits(const lrt_server_t *server)
{
    size_t  len;

    len = lrt_table_server_len(server);

    /* each of them first: a sum may overflow */

    return server->route.len <= LRT_ROUTE_LEN
           && server->socklen <= LRT_SOCKADDR_LEN
           && server->name.len <= LRT_DATA_LEN
           && len <= LRT_DATA_LEN
           && server->socklen + server->name.len + len + server->route.len
              <= LRT_DATA_LEN;
}


void
lrt_table_set_data(lrt_detail_t *d, const lrt_server_t *server)
{
    char       *p;
    lrt_str_t   text;

    text = server->server;
    text.len = lrt_table_server_len(server);

    memcpy(d->data, server->sockaddr, server->socklen);

    p = lrt_table_append(d->data + server->socklen, &server->name);
    p = lrt_table_append(p, &text);
    (void) lrt_table_append(p, &server->route);

    d->socklen = (uint16_t) server->socklen;
    d->name_len = (uint16_t) server->name.len;
    d->server_len = (uint16_t) text.len;
    d->route_len = (uint8_t) server->route.len;
}


static size_t
lrt_table_server_len(const lrt_server_t *server)
{
    if (server->server.len == 0
        || (server->server.len == server->name.len
            && memcmp(server->server.data, server->name.data,
                      server->name.len) == 0))
    {
        return 0;
    }

    return server->server.len;
}


static char *
lrt_table_append(char *p, const lrt_str_t *s)
{
    if (s->len) {
        memcpy(p, s->data, s->len);
    }

    return p + s->len;
}
