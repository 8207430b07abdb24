
/*
 * Copyright (C) the ngx_http_lrt_upstream_module authors
 */


#define _GNU_SOURCE

#include <stdlib.h>
#include <string.h>

#include "lrt_change.h"
#include "lrt_health.h"
#include "lrt_ledger.h"
#include "lrt_rank.h"
#include "lrt_select.h"

#include "ours.h"
#include "report.h"


/* the module's clock is that of a machine, which never begins at zero */

#define EPOCH   (1000 * SECOND)

#define ms(t)   (((t) + EPOCH) / MILLISECOND)


typedef struct {
    lrt_pick_t   pick;
    uint64_t     begun;
    unsigned     open;
} request_pick_t;


static lrt_table_t      table;
static lrt_registry_t  *registry;
static lrt_owner_t      owner;
static request_pick_t  *picks;
static uint32_t        *servers;        /* by slot */
static uint32_t        *slots;          /* and back */
static uint64_t         next_tick;


static void add_servers(const scenario_t *s, uint32_t method,
    uint32_t max_fails);


unsigned
ours_open(const char *name, const scenario_t *s, uint32_t requests,
    uint32_t max_fails)
{
    size_t       size;
    uint32_t     method, capacity;
    lrt_claim_t  claim;

    method = lrt_method_find(name, strlen(name));

    if (method == LRT_METHODS) {
        return 0;
    }

    capacity = s->nservers < LRT_MIN_CAPACITY ? LRT_MIN_CAPACITY : s->nservers;
    size = lrt_registry_size(LRT_MIN_ROWS);
    registry = aligned_alloc(64, (size + 63) / 64 * 64);
    lrt_registry_format(registry, LRT_MIN_ROWS);

    memset(&claim, 0, sizeof(lrt_claim_t));
    claim.pid = 1;
    (void) lrt_registry_claim(registry, &claim, ms(0), &owner);

    size = lrt_table_size(capacity, LRT_MIN_ROWS);
    table.head = aligned_alloc(64, size);
    lrt_table_format(table.head, capacity, LRT_MIN_ROWS);

    if (lrt_table_attach(&table, table.head, size) != LRT_OK) {
        die("no table");
    }

    picks = grow(NULL, requests, sizeof(request_pick_t));
    memset(picks, 0, (requests + !requests) * sizeof(request_pick_t));
    servers = grow(NULL, capacity, sizeof(uint32_t));
    slots = grow(NULL, capacity, sizeof(uint32_t));

    add_servers(s, method, max_fails);

    return 1;
}


static void
add_servers(const scenario_t *s, uint32_t method, uint32_t max_fails)
{
    uint32_t           i;
    lrt_change_t      *changes, *c;
    lrt_change_set_t   set;

    changes = grow(NULL, s->nservers + 1, sizeof(lrt_change_t));
    memset(changes, 0, (s->nservers + 1) * sizeof(lrt_change_t));

    for (i = 0; i < s->nservers; i++) {
        c = &changes[i];

        c->type = LRT_ADD;
        c->server.params.weight = s->servers[i].weight;
        c->server.params.max_fails = max_fails;
        c->server.params.fail_timeout = 10000;
        c->server.sockaddr = &s->servers[i].address;
        c->server.socklen = sizeof(s->servers[i].address);
        c->server.name.data = s->servers[i].name;
        c->server.name.len = strlen(s->servers[i].name);
    }

    c = &changes[s->nservers];
    c->type = LRT_SET_POLICY;
    c->policy.method = method;
    c->policy.ipv4 = 32;
    c->policy.ipv6 = 64;

    memset(&set, 0, sizeof(lrt_change_set_t));

    set.change = changes;
    set.n = s->nservers + 1;
    set.from_conf = 1;
    set.reload = 1;

    if (lrt_change_commit(&table, &set, ms(0)) != LRT_OK) {
        die("the servers of the scenario are no servers of a group");
    }

    for (i = 0; i < s->nservers; i++) {
        servers[changes[i].slot] = i;
        slots[i] = changes[i].slot;
    }

    free(changes);
}


void
ours_check(void)
{
    lrt_change_t      change;
    lrt_settings_t    settings;
    lrt_change_set_t  set;

    static const lrt_str_t  strings[LRT_CHECK_STRINGS] = {
        [LRT_CHECK_URI] = { sizeof("/health") - 1, "/health" }
    };

    memset(&settings, 0, sizeof(lrt_settings_t));
    memset(&change, 0, sizeof(lrt_change_t));
    memset(&set, 0, sizeof(lrt_change_set_t));

    settings.nchecks = 1;
    settings.check[0].interval = 1000;
    settings.check[0].timeout = 1000;
    settings.check[0].fails = 1;
    settings.check[0].passes = 1;
    (void) lrt_check_set_strings(&settings.check[0], strings);

    change.type = LRT_SET_SETTINGS;
    change.settings = &settings;
    set.change = &change;
    set.n = 1;

    if (lrt_change_commit(&table, &set, ms(0)) != LRT_OK) {
        die("no checks");
    }
}


void
ours_probed(uint32_t server, uint64_t time, uint64_t now)
{
    lrt_turn_t    turn;
    lrt_probe_t   probe;
    lrt_result_t  result;

    memset(&probe, 0, sizeof(lrt_probe_t));
    memset(&result, 0, sizeof(lrt_result_t));

    probe.slot = slots[server];
    probe.ident = lrt_table_entries(&table,
                               lrt_table_generation(&table))[probe.slot].ident;
    probe.asks = lrt_load(&table.head->asked);

    result.how = time ? LRT_PROBE_PASSED : LRT_PROBE_FAILED;
    result.time = time / MICROSECOND;

    if (lrt_health_begin(&table, &probe, ms(now)) != LRT_OK
        || lrt_health_result(&table, &probe, &result, ms(now), &turn)
           != LRT_OK)
    {
        die("a probe came to nothing");
    }
}


int64_t
ours_choose(uint32_t request, uint64_t now)
{
    lrt_ask_t        ask;
    request_pick_t  *p;

    p = &picks[request];

    memset(&ask, 0, sizeof(lrt_ask_t));
    ask.now = ms(now);
    ask.wall = ms(now);

    if (lrt_select(&table, &owner, &ask, &p->pick) != LRT_OK) {
        return -1;
    }

    p->begun = now;
    p->open = 1;

    return servers[p->pick.slot];
}


void
ours_ended(uint32_t request, uint32_t outcome, uint64_t now)
{
    uint64_t         us;
    lrt_ended_e      how;
    lrt_outcome_t    out;
    request_pick_t  *p;

    p = &picks[request];

    if (!p->open) {
        return;
    }

    p->open = 0;
    how = LRT_ENDED_FAILED;
    us = (now - p->begun) / MICROSECOND;

    memset(&out, 0, sizeof(lrt_outcome_t));
    out.time = us;

    if (outcome >= 100 && outcome < 600) {
        how = LRT_ENDED_WELL;
        out.status = outcome;
        out.complete = 1;

        if (outcome < 500 && outcome != 429) {
            out.header = us ? us : 1;
            out.last_byte = out.header;
        }

    } else {
        out.failed = 1;
    }

    (void) lrt_release(&table, &p->pick, how, &out, ms(now));
}


uint64_t
ours_tick(uint64_t now)
{
    if (now >= next_tick) {
        lrt_registry_beat(registry, &owner, ms(now));
        lrt_ledger_audit(&table, registry, ms(now));

        next_tick = now + LRT_AUDIT_PERIOD * MILLISECOND;
    }

    return next_tick;
}
