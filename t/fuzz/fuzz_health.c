/* sources: lrt_*.c */
/* flags: -fno-sanitize-coverage=trace-cmp */

/*
 * Copyright (C) the ngx_http_lrt_upstream_module authors
 *
 * A script of events in the life of a group with checks: probes that begin and
 * end, of two probers who do not know of each other, servers that come and go,
 * settings that change, a clock that the script moves.  A model that is too
 * simple to be wrong says what must come of it.
 *
 * An input is a row of pairs of bytes: what happens, and to whom.  No number in
 * it is compared with a large one, so comparisons need not be traced; what is
 * behind the first LONGEST bytes would only take time.
 */


#include "lrt_change.h"
#include "lrt_health.h"
#include "lrt_inspect.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>


#define SERVERS      4
#define ROWS         4
#define PROBERS      2
#define LONGEST      1024            /* bytes */

#define must(condition)                                                       \
    do {                                                                      \
        if (!(condition)) {                                                   \
            fprintf(stderr, "line %d: not so: %s\n", __LINE__, #condition);   \
            abort();                                                          \
        }                                                                     \
    } while (0)


/* one check of one server: "version" counts the results that were taken */

typedef struct {
    lrt_verdict_e        verdict;
    uint32_t             run;
    uint32_t             version;
} model_check_t;


typedef struct {
    uint64_t             ident;          /* 0: it is not in the group */
    model_check_t        check[LRT_CHECKS];
    uint32_t             checks;
    uint32_t             fails;
    uint32_t             turns;
    uint64_t             downtime;
    uint64_t             since;
    lrt_use_e            use;
} model_server_t;


typedef struct {
    lrt_probe_t          probe;
    uint32_t             version;
    unsigned             open;
} model_probe_t;


static lrt_table_t       table;
static void             *block;
static uint64_t          now;
static uint64_t          unique;         /* times of results, all different */
static lrt_settings_t    settings;
static model_server_t    model[SERVERS];
static model_probe_t     probe[PROBERS][SERVERS][LRT_CHECKS];


static void begin(void);
static void add(uint32_t number);
static void removed(uint32_t number);
static void modify_settings(uint8_t arg);
static void probe_begins(uint32_t prober, uint32_t number, uint32_t check);
static void probe_ends(uint32_t prober, uint32_t number, uint32_t check,
    lrt_probed_e how);
static lrt_use_e model_use(const model_server_t *m);
static void model_turns(model_server_t *m);
static uint32_t slot_of(uint64_t ident);
static void compare(void);


int
LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
    size_t    i;
    uint32_t  who, check;
    uint8_t   arg;

    n = (n < LONGEST) ? n : LONGEST;

    begin();

    for (i = 0; i + 1 < n; i += 2) {

        arg = p[i + 1];
        who = arg % SERVERS;
        check = arg / SERVERS % LRT_CHECKS;

        switch (p[i] % 10) {

        case 0:
            add(who);
            break;

        case 1:
            removed(who);
            break;

        case 2:
            modify_settings(arg);
            break;

        case 3:
        case 4:
            probe_begins(p[i] % 2, who, check);
            break;

        case 5:
        case 6:
            probe_ends(p[i] % 2, who, check, LRT_PROBE_PASSED);
            break;

        case 7:
        case 8:
            probe_ends(p[i] % 2, who, check,
                       arg >= 0x80 ? LRT_PROBE_UNCLEAR : LRT_PROBE_FAILED);
            break;

        default:
            now += (uint64_t) arg * arg;
            break;
        }

        compare();
    }

    free(block);

    return 0;
}


static void
begin(void)
{
    size_t  size;

    size = lrt_table_size(2 * SERVERS, ROWS);
    block = aligned_alloc(LRT_CACHE_LINE, size);

    lrt_table_format(block, 2 * SERVERS, ROWS);
    must(lrt_table_attach(&table, block, size) == LRT_OK);

    now = 1000000;
    unique = 0;

    memset(&settings, 0, sizeof(lrt_settings_t));
    memset(model, 0, sizeof(model));
    memset(probe, 0, sizeof(probe));

    modify_settings(0);
}


static void
commit(lrt_change_t *c)
{
    lrt_change_set_t  set;

    memset(&set, 0, sizeof(lrt_change_set_t));
    set.change = c;
    set.n = 1;

    must(lrt_change_commit(&table, &set, now) == LRT_OK);
}


static void
add(uint32_t number)
{
    char          name[2];
    uint8_t       address[8];
    lrt_change_t  c;

    if (model[number].ident) {
        return;
    }

    memset(address, 0, sizeof(address));
    address[7] = (uint8_t) number;
    name[0] = (char) ('a' + number);

    memset(&c, 0, sizeof(lrt_change_t));

    c.type = LRT_ADD;
    c.server.params.weight = 1;
    c.server.sockaddr = address;
    c.server.socklen = sizeof(address);
    c.server.name.data = name;
    c.server.name.len = 1;

    commit(&c);

    memset(&model[number], 0, sizeof(model_server_t));
    model[number].ident = c.ident;
    model[number].since = now;
    model[number].use = model_use(&model[number]);
}


static void
removed(uint32_t number)
{
    lrt_change_t  c;

    if (model[number].ident == 0) {
        return;
    }

    memset(&c, 0, sizeof(lrt_change_t));

    c.type = LRT_REMOVE;
    c.ident = model[number].ident;
    c.slot = LRT_NONE;

    commit(&c);

    model[number].ident = 0;
}


/* "arg": how many checks, which of them changes, and into what */

static void
modify_settings(uint8_t arg)
{
    uint32_t        i, j, k, from[LRT_CHECKS];
    lrt_str_t       s[LRT_CHECK_STRINGS];
    lrt_check_t    *check;
    lrt_change_t    c;
    lrt_settings_t  before;
    model_server_t  old;

    before = settings;

    memset(&settings, 0, sizeof(lrt_settings_t));
    memset(s, 0, sizeof(s));

    settings.nchecks = arg % (LRT_CHECKS + 1);
    s[LRT_CHECK_URI].data = "/";
    s[LRT_CHECK_URI].len = 1;

    for (i = 0; i < settings.nchecks; i++) {
        check = &settings.check[i];

        check->interval = 1000;
        check->timeout = 1000;
        check->fails = (uint16_t) (1 + arg / 8 % 3);
        check->passes = (uint16_t) (1 + arg / 16 % 3);
        check->mandatory = (arg >> i) & 1;
        check->persistent = check->mandatory && arg >= 0x80;
        check->port = (uint16_t) (arg / 64);

        must(lrt_check_set_strings(check, s));
    }

    memset(&c, 0, sizeof(lrt_change_t));
    c.type = LRT_SET_SETTINGS;
    c.settings = &settings;

    commit(&c);

    if (lrt_settings_equal(&before, &settings)) {
        return;
    }

    for (j = 0; j < LRT_CHECKS; j++) {

        /* the same question, wherever it stood */

        from[j] = LRT_NONE;

        for (k = 0; j < settings.nchecks && k < before.nchecks; k++) {
            for (i = 0; i < j && from[i] != k; i++) { /* void */ }

            if (i == j && before.check[k].port == settings.check[j].port) {
                from[j] = k;
                break;
            }
        }
    }

    for (i = 0; i < SERVERS; i++) {
        old = model[i];

        for (j = 0; j < LRT_CHECKS; j++) {

            if (from[j] != LRT_NONE) {
                model[i].check[j] = old.check[from[j]];

            } else {
                memset(&model[i].check[j], 0, sizeof(model_check_t));

                if (j < settings.nchecks && settings.check[j].persistent
                    && old.use == LRT_USE_FREE)
                {
                    model[i].check[j].verdict = LRT_PASSING;
                }
            }

            /* no probe that began before may end here */

            model[i].check[j].version = (uint32_t) ++unique;
        }

        if (model[i].ident) {
            model_turns(&model[i]);
        }
    }
}


static void
probe_begins(uint32_t prober, uint32_t number, uint32_t check)
{
    lrt_rc_t        rc;
    model_probe_t  *p;

    p = &probe[prober][number][check];

    if (model[number].ident == 0) {

        /* a prober who has not heard of it yet */

        if (p->probe.ident) {
            must(lrt_health_begin(&table, &p->probe, now) == LRT_MISSING);
        }

        return;
    }

    p->probe.ident = model[number].ident;
    p->probe.slot = slot_of(model[number].ident);
    p->probe.check = check;
    p->probe.asks = table.head->asked;

    rc = lrt_health_begin(&table, &p->probe, now);

    must(rc == LRT_OK);

    p->version = model[number].check[check].version;
    p->open = 1;
}


static void
probe_ends(uint32_t prober, uint32_t number, uint32_t check, lrt_probed_e how)
{
    lrt_rc_t         rc;
    uint32_t         turns;
    lrt_turn_t       turn;
    lrt_result_t     result;
    model_check_t   *mc;
    model_probe_t   *p;
    model_server_t  *m;

    p = &probe[prober][number][check];
    m = &model[number];
    mc = &m->check[check];

    if (!p->open) {
        return;
    }

    p->open = 0;

    memset(&result, 0, sizeof(lrt_result_t));
    result.how = how;
    result.time = ++unique;

    rc = lrt_health_result(&table, &p->probe, &result, now, &turn);

    if (m->ident != p->probe.ident || check >= settings.nchecks) {
        must(rc == LRT_MISSING);
        return;
    }

    if (p->probe.asks != table.head->asked) {
        must(rc == LRT_MISSING);
        return;
    }

    if (mc->version != p->version) {
        must(rc == LRT_CONFLICT);
        return;
    }

    must(rc == LRT_OK);

    mc->version = (uint32_t) ++unique;

    if (how == LRT_PROBE_UNCLEAR) {
        must(!turn.turned);
        return;
    }

    m->checks++;
    m->fails += (how == LRT_PROBE_FAILED);

    if ((how == LRT_PROBE_FAILED) == (mc->verdict == LRT_FAILING)) {
        mc->run = 0;
        mc->verdict = (how == LRT_PROBE_FAILED) ? LRT_FAILING : LRT_PASSING;

    } else if (how == LRT_PROBE_FAILED) {

        if (++mc->run >= settings.check[check].fails) {
            mc->verdict = LRT_FAILING;
            mc->run = 0;
        }

    } else if (++mc->run >= settings.check[check].passes) {
        mc->verdict = LRT_PASSING;
        mc->run = 0;
    }

    turns = m->turns;
    model_turns(m);
    must(turn.turned == (turns != m->turns));
}


static lrt_use_e
model_use(const model_server_t *m)
{
    uint32_t   i;
    lrt_use_e  use;

    use = LRT_USE_FREE;

    for (i = 0; i < settings.nchecks; i++) {

        if (m->check[i].verdict == LRT_FAILING) {
            return LRT_USE_FAILING;
        }

        if (m->check[i].verdict == LRT_UNCHECKED
            && settings.check[i].mandatory)
        {
            use = LRT_USE_PENDING;
        }
    }

    return use;
}


static void
model_turns(model_server_t *m)
{
    lrt_use_e  use;

    use = model_use(m);

    if (use == m->use) {
        return;
    }

    if (m->use != LRT_USE_FREE) {
        m->downtime += now - m->since;
    }

    m->use = use;
    m->since = now;
    m->turns++;
}


static uint32_t
slot_of(uint64_t ident)
{
    return lrt_table_find_ident(&table, lrt_table_generation(&table), ident);
}


static void
compare(void)
{
    uint32_t               i, j, slot;
    uint64_t               health;
    const lrt_health_t    *h;
    const model_server_t  *m;

    for (i = 0; i < SERVERS; i++) {
        m = &model[i];

        if (m->ident == 0) {
            continue;
        }

        slot = slot_of(m->ident);
        must(slot != LRT_NONE);

        h = &table.health[slot];
        health = table.hot[slot].health;

        for (j = 0; j < settings.nchecks; j++) {
            must(lrt_verdict(h->verdict[j]) == m->check[j].verdict);
            must(lrt_verdict_run(h->verdict[j]) == m->check[j].run);
        }

        must(lrt_health_use(health) == m->use);
        must(lrt_health_since(health) == m->since);
        must(h->checks == m->checks);
        must(h->fails == m->fails);
        must(h->turns == m->turns);
        must(h->downtime == m->downtime);
    }
}
