
/*
 * Copyright (C) the ngx_http_lrt_upstream_module authors
 */


#include "walk.h"

#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>


#define WALK_WRITER          UINT32_MAX
#define WALK_SPINS           2048

/* what a slab allocator gives to a server of 330 bytes with its strings */

#define WALK_PLACE           512


struct walk_peer_s {
    void                *sockaddr;
    uint32_t             socklen;
    uint64_t             name[2];
    uint64_t             server[2];

    int64_t              current_weight;
    int64_t              effective_weight;
    int64_t              weight;

    uint64_t             conns;
    uint64_t             max_conns;

    uint64_t             fails;
    uint64_t             accessed;
    uint64_t             checked;

    uint64_t             max_fails;
    uint64_t             fail_timeout;
    uint64_t             slow_start;
    uint64_t             start_time;

    uint64_t             down;

    void                *session;
    uint64_t             session_len;
    uint32_t             lock;
    walk_peer_t         *next;
    uint64_t             more[18];
};


struct walk_s {
    uint32_t             lock;
    uint32_t             n;
    walk_peer_t         *peer;
};


static unsigned walk_out(const walk_peer_t *peer, uint64_t now);
static walk_peer_t *walk_round_robin(walk_t *w, uint64_t now);
static walk_peer_t *walk_least_conn(walk_t *w, uint64_t now);
static int walk_compare(const walk_peer_t *a, const walk_peer_t *b);
static void walk_write_lock(uint32_t *lock);
static void walk_read_lock(uint32_t *lock);
static void walk_unlock(uint32_t *lock);


walk_t *
walk_open(uint32_t n, const uint32_t *busy)
{
    char          *memory;
    size_t         size;
    walk_t        *w;
    uint32_t       i;
    walk_peer_t   *peer, **next;

    size = ((size_t) n + 1) * WALK_PLACE;

    memory = mmap(NULL, size, PROT_READ|PROT_WRITE, MAP_ANON|MAP_SHARED, -1, 0);

    if (memory == MAP_FAILED) {
        abort();
    }

    w = (walk_t *) memory;
    w->n = n;

    next = &w->peer;

    for (i = 0; i < n; i++) {
        peer = (walk_peer_t *) (memory + ((size_t) i + 1) * WALK_PLACE);

        peer->weight = 1;
        peer->effective_weight = 1;
        peer->fail_timeout = 10000;
        peer->conns = busy ? busy[i] : 0;

        *next = peer;
        next = &peer->next;
    }

    return w;
}


walk_peer_t *
walk_pick(walk_t *w, unsigned least_conn, uint64_t now)
{
    walk_peer_t  *best;

    walk_write_lock(&w->lock);

    best = least_conn ? walk_least_conn(w, now) : walk_round_robin(w, now);

    if (best) {
        best->conns++;

        if (now - best->checked > best->fail_timeout) {
            best->checked = now;
        }
    }

    walk_unlock(&w->lock);

    return best;
}


void
walk_release(walk_t *w, walk_peer_t *peer, uint64_t now)
{
    (void) now;

    walk_read_lock(&w->lock);
    walk_write_lock(&peer->lock);

    if (peer->accessed < peer->checked) {
        peer->fails = 0;
    }

    peer->conns--;

    walk_unlock(&peer->lock);
    walk_unlock(&w->lock);
}


static unsigned
walk_out(const walk_peer_t *peer, uint64_t now)
{
    return peer->down
           || (peer->max_fails
               && peer->fails >= peer->max_fails
               && now - peer->checked <= peer->fail_timeout)
           || (peer->max_conns && peer->conns >= peer->max_conns);
}


static walk_peer_t *
walk_round_robin(walk_t *w, uint64_t now)
{
    int64_t       total;
    walk_peer_t  *peer, *best;

    best = NULL;
    total = 0;

    for (peer = w->peer; peer; peer = peer->next) {

        if (walk_out(peer, now)) {
            continue;
        }

        peer->current_weight += peer->effective_weight;
        total += peer->effective_weight;

        if (peer->effective_weight < peer->weight) {
            peer->effective_weight++;
        }

        if (best == NULL || peer->current_weight > best->current_weight) {
            best = peer;
        }
    }

    if (best) {
        best->current_weight -= total;
    }

    return best;
}


/* equal ones take turns, which needs a second walk */

static walk_peer_t *
walk_least_conn(walk_t *w, uint64_t now)
{
    int           order;
    int64_t       total;
    unsigned      many;
    walk_peer_t  *peer, *best, *least;

    least = NULL;
    many = 0;

    for (peer = w->peer; peer; peer = peer->next) {

        if (walk_out(peer, now)) {
            continue;
        }

        order = least ? walk_compare(peer, least) : -1;

        if (order < 0) {
            least = peer;
            many = 0;

        } else if (order == 0) {
            many = 1;
        }
    }

    if (!many) {
        return least;
    }

    best = least;
    best->current_weight += best->effective_weight;
    total = best->effective_weight;

    for (peer = least->next; peer; peer = peer->next) {

        if (walk_out(peer, now) || walk_compare(peer, least) != 0) {
            continue;
        }

        peer->current_weight += peer->effective_weight;
        total += peer->effective_weight;

        if (peer->effective_weight < peer->weight) {
            peer->effective_weight++;
        }

        if (peer->current_weight > best->current_weight) {
            best = peer;
        }
    }

    best->current_weight -= total;

    return best;
}


static int
walk_compare(const walk_peer_t *a, const walk_peer_t *b)
{
    uint64_t  one, two;

    one = a->conns * (uint64_t) b->weight;
    two = b->conns * (uint64_t) a->weight;

    return (one > two) - (one < two);
}


static void
walk_write_lock(uint32_t *lock)
{
    uint32_t  i, free;

    for ( ;; ) {

        for (i = 0; i < WALK_SPINS; i++) {
            free = 0;

            if (__atomic_load_n(lock, __ATOMIC_RELAXED) == 0
                && __atomic_compare_exchange_n(lock, &free, WALK_WRITER, 0,
                                               __ATOMIC_SEQ_CST,
                                               __ATOMIC_RELAXED))
            {
                return;
            }
        }

        sched_yield();
    }
}


static void
walk_read_lock(uint32_t *lock)
{
    uint32_t  i, readers;

    for ( ;; ) {

        for (i = 0; i < WALK_SPINS; i++) {
            readers = __atomic_load_n(lock, __ATOMIC_RELAXED);

            if (readers != WALK_WRITER
                && __atomic_compare_exchange_n(lock, &readers, readers + 1, 0,
                                               __ATOMIC_SEQ_CST,
                                               __ATOMIC_RELAXED))
            {
                return;
            }
        }

        sched_yield();
    }
}


static void
walk_unlock(uint32_t *lock)
{
    uint32_t  writer;

    writer = WALK_WRITER;

    if (!__atomic_compare_exchange_n(lock, &writer, 0, 0, __ATOMIC_SEQ_CST,
                                     __ATOMIC_RELAXED))
    {
        (void) __atomic_fetch_sub(lock, 1, __ATOMIC_SEQ_CST);
    }
}
