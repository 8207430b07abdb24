
/*
 * Copyright (C) the ngx_http_lrt_upstream_module authors
 */


#include "fixture.h"

#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>


typedef struct {
    fx_t           *fx;
    lrt_change_t   *changes;
    uint32_t        n;
} fx_commit_args_t;


void            (*fx_between)(unsigned point);

static unsigned   fx_die_at;
static jmp_buf    fx_dead;


static void fx_commit_args(void *arg);
static void *fx_piece(fx_t *fx, const void *from, size_t size);
static void *fx_memory(size_t size, size_t align);
static void fx_registry(fx_t *fx, void *memory);


/* the processes' tests have their own */

__attribute__((weak)) void
lrt_test_point(unsigned point)
{
    void  (*between)(unsigned point);

    if (fx_die_at == point) {
        fx_die_at = 0;
        longjmp(fx_dead, 1);
    }

    between = fx_between;

    if (between) {

        /* who comes between is alone */

        fx_between = NULL;
        between(point);
        fx_between = between;
    }
}


void
fx_open(fx_t *fx, uint32_t capacity)
{
    void         *block;
    size_t        size;
    unsigned      i;
    lrt_table_t   t;

    memset(fx, 0, sizeof(fx_t));

    size = lrt_table_size(capacity, FX_ROWS);
    block = fx_memory(size, LRT_CACHE_LINE);

    lrt_table_format(block, capacity, FX_ROWS);

    if (lrt_table_attach(&t, block, size) != LRT_OK) {
        abort();
    }

    fx->table = t;

#define fx_scatter(member, count)                                             \
    fx->table.member = fx_piece(fx, t.member, (count) * sizeof(*t.member))

    fx_scatter(head, 1);
    fx_scatter(hot, capacity);
    fx_scatter(cost, capacity);

    for (i = 0; i < 2; i++) {
        fx_scatter(key[i], capacity);
        fx_scatter(low[i], lrt_blocks(capacity));
        fx_scatter(entry[i], capacity);
        fx_scatter(order[i], capacity);
        fx_scatter(reach[i], capacity);
        fx_scatter(guide[i], capacity);
        fx_scatter(index[i], t.index_size);
        fx_scatter(sids[i], t.index_size);
    }

    fx_scatter(health, capacity);
    fx_scatter(detail, capacity);
    fx_scatter(gone, capacity);
    fx_scatter(cell, (size_t) FX_ROWS * t.stride);

#undef fx_scatter

    free(block);

    fx_registry(fx, fx_memory(lrt_registry_size(FX_ROWS), LRT_CACHE_LINE));

    fx->piece[fx->pieces++] = fx->reg;

    fx->item = fx_memory(capacity * sizeof(lrt_peer_t), 16);
    fx->piece[fx->pieces++] = fx->item;
    fx->peer = fx_memory(capacity * sizeof(fx_peer_t), 16);
    fx->piece[fx->pieces++] = fx->peer;
}


void
fx_open_shared(fx_t *fx, uint32_t capacity)
{
    void    *memory;
    size_t   table, reg;

    memset(fx, 0, sizeof(fx_t));

    table = lrt_table_size(capacity, FX_ROWS);
    reg = lrt_registry_size(FX_ROWS);

    memory = mmap(NULL, table + reg, PROT_READ|PROT_WRITE,
                  MAP_ANON|MAP_SHARED, -1, 0);

    if (memory == MAP_FAILED) {
        abort();
    }

    lrt_table_format(memory, capacity, FX_ROWS);

    if (lrt_table_attach(&fx->table, memory, table) != LRT_OK) {
        abort();
    }

    fx_registry(fx, (char *) memory + table);

    fx->item = fx_memory(capacity * sizeof(lrt_peer_t), 16);
    fx->piece[fx->pieces++] = fx->item;
    fx->peer = fx_memory(capacity * sizeof(fx_peer_t), 16);
    fx->piece[fx->pieces++] = fx->peer;
    fx->shared = 1;
}


void
fx_close(fx_t *fx)
{
    size_t    size;
    unsigned  i;

    if (fx->shared) {
        size = lrt_table_size(fx->table.capacity, FX_ROWS)
               + lrt_registry_size(FX_ROWS);
        munmap(fx->table.head, size);
    }

    for (i = 0; i < fx->pieces; i++) {
        free(fx->piece[i]);
    }

    memset(fx, 0, sizeof(fx_t));
}


lrt_owner_t
fx_claim(fx_t *fx, uint64_t pid)
{
    lrt_claim_t  claim;
    lrt_owner_t  owner;

    claim.pid = pid;
    claim.start = pid * 10;
    claim.generation = 1;
    claim.worker = (uint32_t) pid;

    if (lrt_registry_claim(fx->reg, &claim, fx->now, &owner) != LRT_OK) {
        abort();
    }

    return owner;
}


void
fx_server(fx_server_t *s, uint32_t number, unsigned backup)
{
    memset(s, 0, sizeof(fx_server_t));

    /* as a struct sockaddr_in looks */

    s->sockaddr[0] = 2;
    s->sockaddr[2] = (uint8_t) (number >> 24);
    s->sockaddr[3] = 80;
    s->sockaddr[4] = 127;
    s->sockaddr[5] = (uint8_t) (number >> 16);
    s->sockaddr[6] = (uint8_t) (number >> 8);
    s->sockaddr[7] = (uint8_t) number;

    s->server.name.data = s->name;
    s->server.name.len = (size_t) snprintf(s->name, sizeof(s->name),
                                           "127.%u.%u.%u:%u",
                                           s->sockaddr[5], s->sockaddr[6],
                                           s->sockaddr[7], 80);
    s->server.sockaddr = s->sockaddr;
    s->server.socklen = sizeof(s->sockaddr);

    s->server.params = fx_params(1);
    s->server.params.backup = (uint8_t) backup;
}


uint32_t
fx_number(const void *sockaddr)
{
    const uint8_t  *p;

    p = sockaddr;

    return (uint32_t) p[2] << 24 | (uint32_t) p[5] << 16
           | (uint32_t) p[6] << 8 | p[7];
}


lrt_rc_t
fx_commit(fx_t *fx, lrt_change_t *changes, uint32_t n)
{
    lrt_change_set_t  set;

    memset(&set, 0, sizeof(lrt_change_set_t));

    set.change = changes;
    set.n = n;

    return lrt_change_commit(&fx->table, &set, fx->now);
}


uint64_t
fx_add(fx_t *fx, uint32_t number, const lrt_params_t *params)
{
    fx_server_t   s;
    lrt_change_t  c;

    fx_server(&s, number, params->backup);

    memset(&c, 0, sizeof(lrt_change_t));

    c.type = LRT_ADD;
    c.server = s.server;
    c.server.params = *params;

    return (fx_commit(fx, &c, 1) == LRT_OK) ? c.ident : 0;
}


lrt_rc_t
fx_remove(fx_t *fx, uint64_t ident)
{
    lrt_change_t  c;

    memset(&c, 0, sizeof(lrt_change_t));

    c.type = LRT_REMOVE;
    c.ident = ident;
    c.slot = LRT_NONE;

    return fx_commit(fx, &c, 1);
}


lrt_rc_t
fx_modify(fx_t *fx, uint64_t ident, const lrt_params_t *params,
    uint32_t fields)
{
    lrt_change_t  c;

    memset(&c, 0, sizeof(lrt_change_t));

    c.type = LRT_MODIFY;
    c.ident = ident;
    c.slot = LRT_NONE;
    c.fields = fields;
    c.server.params = *params;

    return fx_commit(fx, &c, 1);
}


lrt_rc_t
fx_method(fx_t *fx, uint32_t method)
{
    lrt_change_t  c;

    memset(&c, 0, sizeof(lrt_change_t));

    c.type = LRT_SET_POLICY;
    c.policy.method = method;

    return fx_commit(fx, &c, 1);
}


lrt_rc_t
fx_settings(fx_t *fx, const lrt_settings_t *settings)
{
    lrt_change_t  c;

    memset(&c, 0, sizeof(lrt_change_t));

    c.type = LRT_SET_SETTINGS;
    c.settings = settings;

    return fx_commit(fx, &c, 1);
}


lrt_check_t
fx_check(unsigned fails, unsigned passes)
{
    lrt_str_t    s[LRT_CHECK_STRINGS];
    lrt_check_t  check;

    memset(&check, 0, sizeof(lrt_check_t));
    memset(s, 0, sizeof(s));

    s[LRT_CHECK_URI].data = "/";
    s[LRT_CHECK_URI].len = 1;
    (void) lrt_check_set_strings(&check, s);

    check.interval = 5000;
    check.timeout = 1000;
    check.fails = (uint16_t) fails;
    check.passes = (uint16_t) passes;

    return check;
}


lrt_rc_t
fx_probe(fx_t *fx, uint32_t slot, uint32_t check, lrt_probed_e how,
    uint64_t us, lrt_turn_t *turn)
{
    lrt_probe_t   p;
    lrt_result_t  result;

    memset(&p, 0, sizeof(lrt_probe_t));
    p.asks = fx->table.head->asked;
    p.ident = fx_entry(fx, slot)->ident;
    p.slot = slot;
    p.check = check;

    memset(&result, 0, sizeof(lrt_result_t));
    result.how = how;
    result.time = us;

    if (lrt_health_begin(&fx->table, &p, fx->now) != LRT_OK) {
        abort();
    }

    return lrt_health_result(&fx->table, &p, &result, fx->now, turn);
}


lrt_params_t
fx_params(uint32_t weight)
{
    lrt_params_t  params;

    memset(&params, 0, sizeof(lrt_params_t));

    params.weight = weight;
    params.fail_timeout = 10000;

    return params;
}


lrt_rc_t
fx_fill(fx_t *fx, const lrt_params_t *params, uint32_t n)
{
    uint32_t       i;
    lrt_rc_t       rc;
    fx_server_t   *s;
    lrt_change_t  *c;

    s = calloc(n, sizeof(fx_server_t));
    c = calloc(n, sizeof(lrt_change_t));

    for (i = 0; i < n; i++) {
        fx_server(&s[i], i, params[i].backup);

        c[i].type = LRT_ADD;
        c[i].server = s[i].server;
        c[i].server.params = params[i];
    }

    rc = fx_commit(fx, c, n);

    free(s);
    free(c);

    return rc;
}


lrt_rc_t
fx_pick(fx_t *fx, lrt_pick_t *pick)
{
    return fx_retry(fx, NULL, 0, pick);
}


lrt_rc_t
fx_retry(fx_t *fx, const lrt_tried_t *tried, uint32_t n, lrt_pick_t *pick)
{
    lrt_ask_t  ask;

    memset(&ask, 0, sizeof(lrt_ask_t));

    ask.tried = tried;
    ask.ntried = n;
    ask.now = fx->now;
    ask.wall = fx->now;

    return lrt_select(&fx->table, &fx->owner, &ask, pick);
}


lrt_ended_e
fx_end(fx_t *fx, const lrt_pick_t *pick, lrt_ended_e how)
{
    lrt_outcome_t  out;

    memset(&out, 0, sizeof(lrt_outcome_t));

    out.status = (how == LRT_ENDED_WELL) ? 200 : 0;
    out.failed = (how == LRT_ENDED_FAILED);

    return lrt_release(&fx->table, pick, how, &out, fx->now);
}


const char *
fx_quiet(fx_t *fx)
{
    return lrt_table_validate(&fx->table, fx->reg, 1, fx->now);
}


lrt_entry_t *
fx_entry(fx_t *fx, uint32_t slot)
{
    return &lrt_table_entries(&fx->table, lrt_table_generation(&fx->table))
                             [slot];
}


void
fx_snapshot(fx_t *fx)
{
    uint32_t    i;
    fx_peer_t  *p;

    if (lrt_snapshot(&fx->table, &fx->snap, fx->item, fx->table.capacity,
                     fx->now)
        != LRT_OK)
    {
        abort();
    }

    for (i = 0; i < fx->snap.copied; i++) {
        p = &fx->peer[i];
        p->slot = fx->item[i].slot;
        p->entry = fx->item[i].entry;

        if (lrt_peer_copy(&fx->table, &fx->item[i], &p->hot, &p->detail)
            != LRT_OK)
        {
            abort();
        }
    }
}


unsigned
fx_killed(unsigned point, void (*what)(void *), void *arg)
{
    fx_die_at = point;

    if (setjmp(fx_dead) == 0) {
        what(arg);
        fx_die_at = 0;

        return 0;
    }

    return 1;
}


unsigned
fx_commit_killed(fx_t *fx, unsigned point, lrt_change_t *changes, uint32_t n)
{
    fx_commit_args_t  args;

    args.fx = fx;
    args.changes = changes;
    args.n = n;

    return fx_killed(point, fx_commit_args, &args);
}


static void
fx_commit_args(void *arg)
{
    fx_commit_args_t  *args = arg;

    (void) fx_commit(args->fx, args->changes, args->n);
}


static void *
fx_piece(fx_t *fx, const void *from, size_t size)
{
    void  *p;

    p = fx_memory(size, LRT_CACHE_LINE);
    memcpy(p, from, size);

    fx->piece[fx->pieces++] = p;

    return p;
}


static void *
fx_memory(size_t size, size_t align)
{
    void  *p;

    if (posix_memalign(&p, align, size) != 0) {
        abort();
    }

    /* whoever counts on zeroes should not find them */

    memset(p, 0xbd, size);

    return p;
}


static void
fx_registry(fx_t *fx, void *memory)
{
    fx->reg = memory;
    fx->now = 1000000;

    lrt_registry_format(fx->reg, FX_ROWS);

    fx->owner = fx_claim(fx, 1);
}
