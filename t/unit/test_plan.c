
/*
 * Copyright (C) the ngx_http_lrt_upstream_module authors
 *
 * Lists that somebody wants, against a reference that looks up each server of
 * each list in the other one.
 */


#include "tap.h"
#include "fixture.h"
#include "lrt_plan.h"


#define CAPACITY     64
#define ADDRESSES    40              /* each in both tiers */
#define WANTED       (2 * ADDRESSES)
#define DUMP_LEN     65536


static void test_nothing(void);
static void test_twice(void);
static void test_full(void);
static void test_behind_others(void);
static void test_outdated(void);
static void test_twins(void);
static void test_held(void);
static void test_random(void);
static void test_dry(void);
static void group(uint32_t n);
static void want(uint32_t i, uint32_t number, unsigned backup,
    uint32_t weight);
static void want_random(void);
static void random_params(lrt_params_t *params);
static lrt_rc_t plan(void);
static lrt_rc_t plan_more(void);
static lrt_rc_t commit(unsigned dry);
static unsigned counts(uint32_t added, uint32_t removed, uint32_t updated,
    uint32_t unchanged);
static unsigned random_step(void);
static unsigned random_compare(const fx_peer_t *before, uint32_t n,
    uint64_t next_ident);
static const fx_peer_t *find(const fx_peer_t *peer, uint32_t n,
    const lrt_server_t *server);
static unsigned same_server(const lrt_detail_t *d, const lrt_entry_t *entry,
    const lrt_server_t *server);
static void dump(char *p);


static fx_t              fx;
static fx_server_t       memory[WANTED];
static lrt_server_t      wanted[WANTED];
static uint32_t          nwanted;
static uint8_t           seen[CAPACITY];
static lrt_change_t      changes[WANTED + CAPACITY + 2];
static lrt_change_set_t  set;
static lrt_plan_t        result;
static uint32_t          refused;


int
main(void)
{
    tap_begin();

    run(test_nothing);
    run(test_twice);
    run(test_full);
    run(test_behind_others);
    run(test_outdated);
    run(test_twins);
    run(test_held);
    run(test_random);
    run(test_dry);

    return tap_end();
}


static void
test_nothing(void)
{
    fx_open(&fx, CAPACITY);

    nwanted = 0;
    is_u64(plan(), LRT_OK, "nothing for an empty group");
    ok(counts(0, 0, 0, 0), "no change");

    group(5);
    is_u64(plan(), LRT_OK, "nothing for a group of five");
    ok(counts(0, 5, 0, 0), "all are removed");
    is_u64(commit(0), LRT_OK, "which can be done");
    is_u64(fx.snap.n, 0, "nobody is left");

    group(5);

    for (nwanted = 0; nwanted < 5; nwanted++) {
        want(nwanted, nwanted, 0, 1);
    }

    is_u64(plan(), LRT_OK, "what there is");
    ok(counts(0, 0, 0, 5), "no change");
    is_u64(set.n, 0, "none at all");

    fx_close(&fx);
}


static void
test_twice(void)
{
    char  before[DUMP_LEN], after[DUMP_LEN];

    fx_open(&fx, CAPACITY);
    group(3);

    want(0, 1, 0, 1);
    want(1, 2, 0, 1);
    want(2, 1, 0, 1);
    nwanted = 3;
    is_u64(plan(), LRT_EXISTS, "a server of the group twice");
    is_u64(refused, 2, "and which of them");

    /* in the other tier it is another server */

    want(2, 1, 1, 1);
    is_u64(plan(), LRT_OK, "in both tiers");
    ok(counts(1, 1, 0, 2), "it is one more");

    want(1, 9, 0, 1);
    want(2, 9, 0, 1);
    is_u64(plan(), LRT_OK, "a new one twice is for the commit");
    dump(before);
    is_u64(commit(0), LRT_EXISTS, "which refuses it");
    dump(after);
    ok(strcmp(before, after) == 0, "and changes nothing");

    fx_close(&fx);
}


static void
test_full(void)
{
    uint32_t  i;

    fx_open(&fx, 8);
    group(5);

    for (i = 0; i < 8; i++) {
        want(i, i, 0, 1);
    }

    nwanted = 8;
    is_u64(plan(), LRT_OK, "as many as there are slots");
    is_u64(commit(0), LRT_OK, "fit");

    /* a slot becomes free when its server is gone, not earlier */

    want(7, 20, 0, 1);
    is_u64(plan(), LRT_FULL, "one instead of another");
    is_u64(result.added, 1, "is one too many");

    nwanted = 7;
    is_u64(plan(), LRT_OK, "one less");
    is_u64(commit(0), LRT_OK, "can be done");
    nwanted = 8;
    is_u64(plan(), LRT_OK, "and then the other");
    is_u64(commit(0), LRT_OK, "as well");

    for (i = 0; i < 8; i++) {
        want(i, 30 + i, 0, 1);
    }

    is_u64(plan(), LRT_FULL, "all of them");
    is_u64(result.added, 8, "how many slots that would need");

    fx_close(&fx);
}


static void
test_behind_others(void)
{
    fx_open(&fx, CAPACITY);
    group(2);

    want(0, 0, 0, 1);
    want(1, 1, 0, 5);
    nwanted = 2;

    memset(&set, 0, sizeof(lrt_change_set_t));
    set.change = changes;
    set.n = 1;
    memset(&changes[0], 0, sizeof(lrt_change_t));
    changes[0].type = LRT_SET_POLICY;
    changes[0].policy.method = LC;

    is_u64(plan_more(), LRT_OK, "a plan behind another change");
    is_u64(set.n, 2, "is added to it");
    is_u64(lrt_change_commit(&fx.table, &set, fx.now), LRT_OK, "and commits");

    fx_snapshot(&fx);
    is_u64(fx.snap.policy.method, LC, "the change before it");
    is_u64(fx.peer[1].entry.params.weight, 5, "and its own");

    fx_close(&fx);
}


/* without the lock, whatever others do meanwhile */

static void
test_outdated(void)
{
    uint32_t      i;
    lrt_params_t  params;

    fx_open(&fx, CAPACITY);
    group(CAPACITY / 4);

    for (nwanted = 0; nwanted < CAPACITY / 4; nwanted++) {
        want(nwanted, nwanted, 0, 2);
    }

    memset(&set, 0, sizeof(lrt_change_set_t));
    set.change = changes;

    lrt_plan_begin(&result, &fx.table, seen, &set);

    /* those that it has found already go, and others come */

    for (i = 0; i < nwanted; i++) {
        (void) lrt_plan_want(&result, &wanted[i]);

        (void) fx_remove(&fx, i + 1);
        params = fx_params(1);
        (void) fx_add(&fx, WANTED + i, &params);
    }

    (void) lrt_plan_end(&result);

    ok(set.n <= lrt_plan_max(&fx.table, nwanted), "no more changes than room");
    ok(result.generation != lrt_table_generation(&fx.table),
       "it is worth nothing");

    set.expected = result.generation;
    is_u64(commit(0), LRT_CONFLICT, "and refused");

    is_u64(plan(), LRT_OK, "another one");
    is_u64(commit(0), LRT_OK, "is made, and done");
    ok(counts(nwanted, nwanted, 0, 0), "all are new, and all others go");

    fx_close(&fx);
}


/* how often a configuration lists a server is not part of a list */

static void
test_twins(void)
{
    lrt_params_t  params;

    fx_open(&fx, CAPACITY);

    params = fx_params(1);
    params.twins = 2;
    (void) fx_add(&fx, 0, &params);

    want(0, 0, 0, 1);
    nwanted = 1;
    is_u64(plan(), LRT_OK, "a server that is listed thrice");
    ok(counts(0, 0, 0, 1), "is no other");

    want(0, 0, 0, 7);
    is_u64(plan(), LRT_OK, "with another weight");
    ok(counts(0, 0, 1, 0), "it is changed");
    is_u64(commit(0), LRT_OK, "which can be done");
    is_u64(fx.peer[0].entry.params.weight, 7, "has the new weight");
    is_u64(fx.peer[0].entry.params.twins, 2, "and is listed thrice");

    fx_close(&fx);
}


static void
test_held(void)
{
    uint64_t    ident;
    lrt_pick_t  pick;

    fx_open(&fx, CAPACITY);
    group(1);

    is_u64(fx_pick(&fx, &pick), LRT_OK, "a request");
    ident = pick.ident;

    want(0, 0, 0, 3);
    want(1, 1, 0, 1);
    nwanted = 2;
    is_u64(plan(), LRT_OK, "a list with its server");
    is_u64(commit(0), LRT_OK, "is put in force");
    is_u64(fx_entry(&fx, pick.slot)->ident, ident, "who keeps his place");
    is_u64(fx.table.hot[pick.slot].inflight, 1, "and the request");

    want(0, 2, 0, 1);
    is_u64(plan(), LRT_OK, "a list without its server");
    is_u64(commit(0), LRT_OK, "is put in force");
    is_u64(fx.snap.zombies, 1, "who is still in use");

    (void) fx_end(&fx, &pick, LRT_ENDED_WELL);
    fx_snapshot(&fx);
    is_u64(fx.snap.zombies, 0, "until the request ends");
    ok(fx_quiet(&fx) == NULL, "the table is valid");

    fx_close(&fx);
}


static void
test_random(void)
{
    uint32_t  i;

    fx_open(&fx, CAPACITY);
    fx_snapshot(&fx);

    for (i = 0; i < tap_times(3000); i++) {
        if (!random_step()) {
            return;
        }
    }

    ok(1, "lists become groups as the reference says");

    fx_close(&fx);
}


static unsigned
random_step(void)
{
    uint32_t          i, n, kept, same;
    uint64_t          next_ident;
    lrt_rc_t          rc;
    fx_peer_t         before[CAPACITY];
    const fx_peer_t  *peer;

    n = fx.snap.n;
    memcpy(before, fx.peer, n * sizeof(fx_peer_t));
    next_ident = fx.table.head->next_ident;

    want_random();

    for (i = 0, kept = 0, same = 0; i < nwanted; i++) {
        peer = find(before, n, &wanted[i]);

        kept += (peer != NULL);
        same += (peer
                 && lrt_params_diff(&peer->entry.params, &wanted[i].params)
                    == 0);
    }

    rc = plan();

    if (!check(counts(nwanted - kept, n - kept, kept - same, same),
               "counts of %u wanted of %u", nwanted, n)
        || !check(rc == (nwanted - kept > CAPACITY - n ? LRT_FULL : LRT_OK),
                  "plan of %u new servers beside %u: %d", nwanted - kept, n,
                  (int) rc))
    {
        return 0;
    }

    if (rc == LRT_FULL) {
        nwanted = 0;
        (void) plan();
        return check(commit(0) == LRT_OK, "an empty list");
    }

    return check(commit(0) == LRT_OK, "commit")
           && random_compare(before, n, next_ident);
}


/* exactly what was wanted, and what was known of those that stay */

static unsigned
random_compare(const fx_peer_t *before, uint32_t n, uint64_t next_ident)
{
    uint32_t          i;
    uint64_t          requests, ident;
    const fx_peer_t  *was, *is;

    if (!check(fx.snap.n == nwanted, "%u servers, wanted %u", fx.snap.n,
               nwanted)
        || !check(fx_quiet(&fx) == NULL, "invalid: %s", fx_quiet(&fx)))
    {
        return 0;
    }

    for (i = 0; i < nwanted; i++) {
        is = find(fx.peer, fx.snap.n, &wanted[i]);
        was = find(before, n, &wanted[i]);

        if (!check(is != NULL, "wanted server %u", i)
            || !check(lrt_params_diff(&is->entry.params, &wanted[i].params)
                      == 0, "its parameters"))
        {
            return 0;
        }

        ident = is->entry.ident;
        requests = is->detail.stats.requests;

        if (!check(was ? ident == was->entry.ident : ident >= next_ident,
                   "ident %llu", (unsigned long long) ident)
            || !check(requests == (was ? was->detail.stats.requests : 0),
                      "%llu requests", (unsigned long long) requests)
            || !check(was == NULL || is->slot == was->slot, "slot"))
        {
            return 0;
        }

        fx.table.detail[is->slot].stats.requests = tap_between(1, 1000);
    }

    fx_snapshot(&fx);

    return 1;
}


/* finding out what would come leaves no trace */

static void
test_dry(void)
{
    char        before[DUMP_LEN], after[DUMP_LEN];
    uint32_t    i, n;
    uint64_t    generation, next_ident;
    lrt_rc_t    rc, really;
    lrt_pick_t  pick;

    fx_open(&fx, CAPACITY);
    group(20);

    for (i = 0; i < tap_times(1000); i++) {

        want_random();

        if (plan() != LRT_OK) {
            continue;
        }

        dump(before);
        generation = lrt_table_generation(&fx.table);
        next_ident = fx.table.head->next_ident;

        rc = commit(1);
        dump(after);
        n = fx.snap.n;

        if (!check(strcmp(before, after) == 0, "the table")
            || !check(lrt_table_generation(&fx.table) == generation,
                      "the generation")
            || !check(fx.table.head->next_ident == next_ident, "the next id")
            || !check(fx_quiet(&fx) == NULL, "invalid: %s", fx_quiet(&fx)))
        {
            return;
        }

        /* requests see nothing of it */

        if (n && fx_pick(&fx, &pick) == LRT_OK) {
            (void) fx_end(&fx, &pick, LRT_ENDED_WELL);
        }

        (void) plan();
        really = commit(0);

        if (!check(rc == really, "dry %d, in fact %d", (int) rc,
                   (int) really))
        {
            return;
        }
    }

    ok(1, "dry runs");

    fx_close(&fx);
}


/* servers 0 .. n - 1 in place of those that are there */

static void
group(uint32_t n)
{
    uint32_t      i;
    lrt_params_t  params[CAPACITY];

    for (i = 0; i < n; i++) {
        params[i] = fx_params(1);
    }

    if (fx_fill(&fx, params, n) != LRT_OK) {
        abort();
    }

    fx_snapshot(&fx);
}


static void
want(uint32_t i, uint32_t number, unsigned backup, uint32_t weight)
{
    fx_server(&memory[i], number, backup);
    wanted[i] = memory[i].server;
    wanted[i].params.weight = weight;
}


/* a random part of what is possible, in a random order */

static void
want_random(void)
{
    uint32_t      i, j, part;
    lrt_server_t  s;

    part = tap_between(1, 4);
    nwanted = 0;

    for (i = 0; i < WANTED; i++) {

        if (!tap_once_in(part)) {
            continue;
        }

        want(nwanted, i / 2, i % 2, 1);
        random_params(&wanted[nwanted++].params);
    }

    for (i = nwanted; i > 1; i--) {
        j = tap_below(i);
        s = wanted[i - 1];
        wanted[i - 1] = wanted[j];
        wanted[j] = s;
    }
}


static void
random_params(lrt_params_t *params)
{
    params->weight = tap_between(1, 2);
    params->down = tap_once_in(8);
    params->drain = tap_once_in(8);
    params->forced = tap_once_in(8) ? (uint8_t) tap_below(LRT_FORCED) : 0;
    params->max_conns = tap_once_in(8) ? tap_below(3) : 0;
}


static lrt_rc_t
plan(void)
{
    memset(&set, 0, sizeof(lrt_change_set_t));

    set.change = changes;

    return plan_more();
}


/* "refused" is the wanted server at fault */

static lrt_rc_t
plan_more(void)
{
    lrt_rc_t  rc;

    lrt_plan_begin(&result, &fx.table, seen, &set);

    for (refused = 0; refused < nwanted; refused++) {
        rc = lrt_plan_want(&result, &wanted[refused]);

        if (rc != LRT_OK) {
            return rc;
        }
    }

    return lrt_plan_end(&result);
}


static lrt_rc_t
commit(unsigned dry)
{
    lrt_rc_t  rc;

    set.dry = (dry != 0);

    rc = lrt_change_commit(&fx.table, &set, fx.now);

    fx_snapshot(&fx);

    return rc;
}


static unsigned
counts(uint32_t added, uint32_t removed, uint32_t updated, uint32_t unchanged)
{
    if (result.added == added && result.removed == removed
        && result.updated == updated && result.unchanged == unchanged
        && set.n == added + removed + updated)
    {
        return 1;
    }

    tap_note("    added %u, removed %u, updated %u, unchanged %u; "
             "want %u %u %u %u", result.added, result.removed,
             result.updated, result.unchanged, added, removed, updated,
             unchanged);

    return 0;
}


static const fx_peer_t *
find(const fx_peer_t *peer, uint32_t n, const lrt_server_t *server)
{
    uint32_t  i;

    for (i = 0; i < n; i++) {
        if (same_server(&peer[i].detail, &peer[i].entry, server)) {
            return &peer[i];
        }
    }

    return NULL;
}


static unsigned
same_server(const lrt_detail_t *d, const lrt_entry_t *entry,
    const lrt_server_t *server)
{
    return d->socklen == server->socklen
           && memcmp(lrt_table_sockaddr(d), server->sockaddr, d->socklen) == 0
           && entry->params.backup == server->params.backup;
}


static void
dump(char *p)
{
    *lrt_table_dump(&fx.table, p, p + DUMP_LEN - 1) = '\0';
}
