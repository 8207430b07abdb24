
/*
 * Copyright (C) the ngx_http_lrt_upstream_module authors
 *
 * Configurations and run-time changes are written as text: "a b=2 c=3,10 d*
 * e-" is a server a, a server b of weight 2, a server c of weight 3 with
 * max_conns=10, a backup d, and a server e that is down.
 */


#include "tap.h"
#include "fixture.h"


#define LETTERS      26
#define SERVERS      (2 * LETTERS)   /* each address in both tiers */
#define STEPS        16


typedef struct {
    const char          *name;
    const char          *step[STEPS];
} case_t;


/* a configuration with memory for its servers */

typedef struct {
    lrt_conf_t           conf;
    lrt_server_t         server[SERVERS];
    fx_server_t          memory[SERVERS];
    uint32_t             index[128];
} conf_t;


/* what is known of one address in one tier */

typedef struct {
    unsigned             present:1;
    unsigned             in_conf:1;
    unsigned             gone:1;
    uint64_t             age;
    uint64_t             ident;
    lrt_params_t         params;
    lrt_params_t         conf;
} rule_t;


static void test_cases(void);
static void test_nothing_to_do(void);
static void test_older_configuration(void);
static void test_tight(void);
static void test_tight_method(void);
static void test_tight_served(void);
static void ask(unsigned point);
static void test_tight_removed(void);
static void test_killed_removal(void);
static void test_need(void);
static void test_statistics_stay(void);
static void test_twins(void);
static void test_large(void);
static void test_random(void);
static void test_random_and_killed(void);
static unsigned step(const char *text);
static void render(char *p, char *last);
static const char *parse(const char *p, fx_server_t *s);
static void conf_parse(conf_t *c, const char *text);
static lrt_rc_t merge(conf_t *c);
static void merge_arg(void *arg);
static uint64_t ident_of(const fx_server_t *s);
static void rules(unsigned killed);
static void rules_configure(conf_t *c);
static unsigned rules_run(unsigned killed);
static void rules_merge(conf_t *c);
static unsigned rules_compare(void);
static void random_values(lrt_params_t *params);


static case_t  cases[] = {

    { "a configured value that changes wins over one set at run time",
      { "conf a=2", "set a=5", "want a=5", "conf a=3", "want a=3" } },

    { "a configured value that stays leaves one set at run time",
      { "conf a=2 b", "set a=5", "conf a=2 b", "want a=5 b",
        "conf a=2 b=7", "want a=5 b=7" } },

    { "each parameter on its own",
      { "conf a=2,10", "set a=5,20", "conf a=2,30", "want a=5,30",
        "conf a=4,30", "want a=4,30" } },

    { "a value that goes away and comes back wins when it changes",
      { "conf a=2", "set a=5", "conf a", "want a", "conf a=2", "want a=2" } },

    { "removed at run time, it stays so",
      { "conf a b", "del a", "want b", "conf a b", "want b", "conf a b",
        "want b" } },

    { "removed at run time, it stays so whatever its values are",
      { "conf a b", "del a", "conf a=7 b", "want b" } },

    { "added at run time, it stays",
      { "conf a", "add b=3", "conf a", "want a b=3", "conf a=2",
        "want a=2 b=3" } },

    { "what leaves the configuration is removed",
      { "conf a b c", "conf a c", "want a c" } },

    { "also if it was changed at run time",
      { "conf a b", "set b=9", "conf a", "want a" } },

    { "what returns to the configuration is added as it says",
      { "conf a b", "set b=9", "conf a", "conf a b=4", "want a b=4" } },

    { "removed at run time, left, returned: it is added",
      { "conf a b", "del b", "conf a", "want a", "conf a b", "want a b" } },

    { "added again at run time, it keeps those values at a reload",
      { "conf a b=2", "del b", "add b=9", "conf a b=2", "want a b=9",
        "conf a b=3", "want a b=3" } },

    { "added again at run time, it leaves with the configuration",
      { "conf a b=2", "del b", "add b=9", "conf a", "want a" } },

    { "what changed in the configuration meanwhile is not news afterwards",
      { "conf a b=2", "del b", "conf a b=3", "add b=9", "conf a b=3",
        "want a b=9", "conf a b=2", "want a b=2" } },

    { "added at run time, then configured: as the configuration says",
      { "conf a", "add b=9", "conf a b=2", "want a b=2", "conf a",
        "want a" } },

    { "a primary becomes a backup, and a primary again",
      { "conf a b", "conf a b*", "want a b*", "conf a b", "want a b" } },

    { "a server of the other tier is another server",
      { "conf a b", "set b=9", "conf a b*", "want a b*" } },

    { "removed as primary, it may be a backup",
      { "conf a b", "del b", "conf a b*", "want a b*", "conf a b",
        "want a b" } },

    { "the same address in both tiers",
      { "conf a a*=2", "want a a*=2", "conf a*=3", "want a*=3" } },

    { "down at run time, and in the configuration",
      { "conf a b", "set a-", "want a- b", "conf a b", "want a- b",
        "conf a- b", "want a- b", "conf a b", "want a b" } },

    { "up at run time",
      { "conf a- b", "set a", "want a b", "conf a- b", "want a b" } },

    { "no servers at all",
      { "conf", "want", "add a", "want a", "conf", "want a", "del a", "conf",
        "want" } },

    { "all servers leave",
      { "conf a b c*", "conf", "want", "conf b", "want b" } },

    { "removed, added, removed",
      { "conf a b", "del a", "add a=5", "want b a=5", "del a", "conf a b",
        "want b" } },

    { "added and removed at run time, it was never there",
      { "conf a", "add b", "del b", "conf a", "want a", "conf a b",
        "want a b" } },

    { "the method of the configuration, when it changes",
      { "conf a", "want a", "lc a", "want/lc a", "conf a", "want a" } },

    { "a method set at run time stays",
      { "conf a", "method lc", "conf a", "want/lc a", "conf a b",
        "want/lc a b" } },

    { "until the configuration changes",
      { "lc a", "method rr", "lc a", "want a", "conf a", "want a",
        "lc a", "want/lc a" } },

    { "servers are replaced",
      { "conf a b c", "conf d e f", "want d e f", "conf a e", "want e a" } },
};


static fx_t      fx;
static uint64_t  number;
static uint32_t  asked;           /* requests between commits */
static uint32_t  refused;
static rule_t    rule[SERVERS];
static uint64_t  age;


int
main(void)
{
    tap_begin();

    run(test_cases);
    run(test_nothing_to_do);
    run(test_older_configuration);
    run(test_tight);
    run(test_tight_method);
    run(test_tight_served);
    run(test_tight_removed);
    run(test_killed_removal);
    run(test_need);
    run(test_statistics_stay);
    run(test_twins);
    run(test_large);
    run(test_random);
    run(test_random_and_killed);

    return tap_end();
}


static void
test_cases(void)
{
    uint32_t     i, j;
    unsigned     good;
    const char  *why;

    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {

        fx_open(&fx, 16);
        number = 0;
        good = 1;

        for (j = 0; good && j < STEPS && cases[i].step[j]; j++) {
            good = step(cases[i].step[j]);
            why = fx_quiet(&fx);
            good = good && check(why == NULL, "valid: %s", why);

            if (!good) {
                tap_note("    in step %u: %s", j + 1, cases[i].step[j]);
            }
        }

        ok(good, "%s", cases[i].name);
        fx_close(&fx);
    }
}


static void
test_nothing_to_do(void)
{
    conf_t    c;
    uint64_t  generation;

    fx_open(&fx, 16);

    number = 1;
    conf_parse(&c, "a=2 b c*");
    is_u64(merge(&c), LRT_OK, "the first time");
    generation = lrt_table_generation(&fx.table);

    is_u64(generation, 1, "one transaction");

    /* the same configuration again, and a new one that says the same */

    is_u64(merge(&c), LRT_OK, "merged before");
    is_u64(lrt_table_generation(&fx.table), generation, "nothing happens");

    number = 2;
    conf_parse(&c, "a=2 b c*");
    is_u64(merge(&c), LRT_OK, "a reload without changes");
    is_u64(lrt_table_generation(&fx.table), generation, "nothing happens");
    is_u64(fx.table.head->merged, 2, "but it is known");

    fx_close(&fx);
}


static void
test_older_configuration(void)
{
    conf_t  old, new;

    fx_open(&fx, 16);

    number = 1;
    conf_parse(&old, "a b");
    number = 2;
    conf_parse(&new, "a c");

    (void) merge(&new);

    /* a worker of the old configuration, late */

    is_u64(merge(&old), LRT_OK, "merged after a newer one");
    ok(step("want a c"), "it changes nothing");

    fx_close(&fx);
}


static void
test_tight(void)
{
    conf_t      c;
    uint64_t    generation;
    lrt_pick_t  pick;

    fx_open(&fx, 4);

    (void) step("conf a b c");
    (void) fx_pick(&fx, &pick);
    (void) fx_end(&fx, &pick, LRT_ENDED_WELL);
    (void) fx_pick(&fx, &pick);
    is_u64(pick.ident, 2, "a request on b");

    number++;
    conf_parse(&c, "a d e f");
    is_u64(lrt_merge_need(&fx.table, &c.conf), 4, "four places are enough");

    /* new servers come as the slots of old ones get free */

    is_u64(merge(&c), LRT_BUSY, "one free place, one that gets free");
    ok(step("want a d e"), "two new servers");

    generation = lrt_table_generation(&fx.table);

    is_u64(merge(&c), LRT_BUSY, "b is still held");
    ok(step("want a d e"), "nothing to do");
    is_u64(lrt_table_generation(&fx.table), generation, "so nothing is done");

    (void) fx_end(&fx, &pick, LRT_ENDED_WELL);

    is_u64(merge(&c), LRT_OK, "the place of b is free");
    ok(step("want a d e f"), "all are there");
    ok(fx_quiet(&fx) == NULL, "valid");

    fx_close(&fx);
}


static void
test_tight_method(void)
{
    conf_t      c;
    uint64_t    generation;
    lrt_pick_t  pick;

    fx_open(&fx, 4);

    (void) step("conf a b c d");
    (void) fx_pick(&fx, &pick);

    number++;
    conf_parse(&c, "e f g h");
    c.conf.policy.method = LC;

    /* waiting for places, the method is set once and not each time */

    is_u64(merge(&c), LRT_BUSY, "all leave, one is held");
    ok(step("want/lc e f g"), "three come with the new method");

    generation = lrt_table_generation(&fx.table);

    is_u64(merge(&c), LRT_BUSY, "one waits");
    is_u64(merge(&c), LRT_BUSY, "goes on to wait");
    is_u64(lrt_table_generation(&fx.table), generation, "nothing is done");

    (void) fx_end(&fx, &pick, LRT_ENDED_WELL);

    is_u64(merge(&c), LRT_OK, "and comes");
    ok(step("want/lc e f g h"), "all are there");

    fx_close(&fx);
}


/* a request that comes between the commits of a merge finds a server */

static void
test_tight_served(void)
{
    conf_t    c;
    uint32_t  i;

    static const char  *text[] = { "e f g h", "a b c d", "a e f g", "e" };

    fx_open(&fx, 4);

    (void) step("conf a b c d");

    for (i = 0; i < sizeof(text) / sizeof(text[0]); i++) {
        number++;
        conf_parse(&c, text[i]);

        asked = 0;
        refused = 0;
        fx_between = ask;

        is_u64(merge(&c), LRT_OK, "merged at once");

        fx_between = NULL;

        ok(asked > 0, "requests came between");
        is_u64(refused, 0, "and found a server");
    }

    ok(step("want e"), "the last one is there");
    ok(fx_quiet(&fx) == NULL, "valid");

    fx_close(&fx);
}


static void
ask(unsigned point)
{
    lrt_pick_t  pick;

    if (point != LRT_POINT_COMMIT_PUBLISHED) {
        return;
    }

    fx_between = NULL;
    asked++;

    if (fx_pick(&fx, &pick) == LRT_OK) {
        (void) fx_end(&fx, &pick, LRT_ENDED_WELL);

    } else {
        refused++;
    }

    fx_between = ask;
}


static void
test_tight_removed(void)
{
    conf_t      c;
    lrt_pick_t  pick;

    fx_open(&fx, 4);

    (void) step("conf a b c d");
    (void) fx_pick(&fx, &pick);
    is_u64(pick.ident, 1, "a request on a");
    (void) step("del b");
    (void) step("del a");

    /* b is no more removed at run time when it has left once */

    number++;
    conf_parse(&c, "c d e f");
    is_u64(merge(&c), LRT_BUSY, "one place for two");

    number++;
    conf_parse(&c, "b c d e");
    is_u64(merge(&c), LRT_BUSY, "the next one, before that was complete");

    (void) fx_end(&fx, &pick, LRT_ENDED_WELL);
    is_u64(merge(&c), LRT_OK, "now there is room");
    ok(step("want c d e b"), "b has returned");

    fx_close(&fx);
}


static void
test_killed_removal(void)
{
    fx_server_t   s;
    lrt_change_t  c;

    fx_open(&fx, 16);

    (void) step("conf a b=2");

    fx_server(&s, 1, 0);

    memset(&c, 0, sizeof(lrt_change_t));
    c.type = LRT_REMOVE;
    c.ident = ident_of(&s);
    c.slot = LRT_NONE;

    /* a writer dies when the removal is remembered, but not yet in force */

    ok(fx_commit_killed(&fx, LRT_POINT_COMMIT_BUILT, &c, 1), "killed");
    ok(step("want a b=2"), "nothing is removed");

    (void) step("conf a b=3");
    ok(step("want a b=3"), "nor later");

    /* what he remembered is not what counts when it is removed indeed */

    (void) step("del b");
    (void) step("add b=9");
    (void) step("conf a b=3");
    ok(step("want a b=9"), "the configuration of b has not changed");

    fx_close(&fx);
}


static void
test_need(void)
{
    conf_t    c;

    fx_open(&fx, 16);

    (void) step("conf a b c");
    (void) step("add d");
    (void) step("add e*");
    (void) step("del b");

    /* configured ones, those of run time, without those removed there */

    conf_parse(&c, "a b c");
    is_u64(lrt_merge_need(&fx.table, &c.conf), 4, "a c d e*");

    conf_parse(&c, "a b c d");
    is_u64(lrt_merge_need(&fx.table, &c.conf), 4, "a c d e*");

    conf_parse(&c, "a e f g");
    is_u64(lrt_merge_need(&fx.table, &c.conf), 6, "a d e e* f g");

    conf_parse(&c, "");
    is_u64(lrt_merge_need(&fx.table, &c.conf), 2, "d e*");

    fx_close(&fx);
}


static void
test_statistics_stay(void)
{
    uint64_t    ident;
    lrt_pick_t  pick;

    fx_open(&fx, 16);

    (void) step("conf a");
    (void) fx_pick(&fx, &pick);
    ident = pick.ident;

    /* the same server, whatever changes around it */

    (void) step("conf c b a=5");

    is_u64(fx_entry(&fx, pick.slot)->ident, ident, "its id");
    is_u64(fx.table.detail[pick.slot].stats.requests, 1, "its counters");
    is_u64(fx.table.hot[pick.slot].inflight, 1, "its requests");

    (void) fx_end(&fx, &pick, LRT_ENDED_WELL);
    is_u64(lrt_stats_responses(&fx.table.detail[pick.slot].stats, 1), 1,
           "its response");

    fx_close(&fx);
}


static void
test_twins(void)
{
    conf_t  c;

    fx_open(&fx, 16);

    number = 1;
    conf_parse(&c, "a b");
    c.server[1].params.twins = 1;
    (void) merge(&c);

    is_u64(lrt_tries(&fx.table), 3, "tries with b listed twice");

    number = 2;
    conf_parse(&c, "a b");
    (void) merge(&c);

    is_u64(lrt_tries(&fx.table), 2, "tries with b listed once");

    fx_close(&fx);
}


static void
test_large(void)
{
    uint32_t        i, n;
    lrt_conf_t      conf;
    fx_server_t    *s;
    lrt_change_t   *changes;
    lrt_server_t   *servers;

    n = 10000;
    fx_open(&fx, n);

    s = calloc(n, sizeof(fx_server_t));
    servers = calloc(n, sizeof(lrt_server_t));

    memset(&conf, 0, sizeof(lrt_conf_t));

    conf.server = servers;
    conf.n = n;
    conf.number = 1;
    conf.index_size = 32768;
    conf.index = calloc(conf.index_size, sizeof(uint32_t));

    for (i = 0; i < n; i++) {
        fx_server(&s[i], i, i % 10 == 0);
        servers[i] = s[i].server;
    }

    lrt_merge_index(&conf);

    changes = calloc(lrt_merge_max(&fx.table, &conf), sizeof(lrt_change_t));

    /* ten thousand servers in as many places, and the next configuration */

    is_u64(lrt_merge_need(&fx.table, &conf), n, "places needed");
    is_u64(lrt_merge(&fx.table, &conf, changes, fx.now), LRT_OK, "merged");
    is_u64(lrt_change_room(&fx.table), 0, "room");

    for (i = 0; i < n; i++) {
        servers[i].params.weight = 1 + i % 3;
    }

    conf.number = 2;
    conf.n = n - 5;
    lrt_merge_index(&conf);

    is_u64(lrt_merge(&fx.table, &conf, changes, fx.now), LRT_OK, "merged");

    fx_snapshot(&fx);
    is_u64(fx.snap.n, n - 5, "five have left");
    ok(fx_quiet(&fx) == NULL, "valid");

    free(s);
    free(servers);
    free(conf.index);
    free(changes);

    fx_close(&fx);
}


static void
test_random(void)
{
    rules(0);
}


/* writers that die in the middle, and others who do it again */

static void
test_random_and_killed(void)
{
    rules(1);
}


static unsigned
step(const char *text)
{
    char          got[512];
    conf_t        c;
    fx_server_t   s;
    lrt_rc_t      rc;

    if (strncmp(text, "conf", 4) == 0 || strncmp(text, "lc", 2) == 0) {

        number++;
        conf_parse(&c, text + ((text[0] == 'c') ? 4 : 2));
        c.conf.policy.method = (text[0] == 'c') ? RR : LC;

        return check(merge(&c) == LRT_OK, "merged");
    }

    if (strncmp(text, "want", 4) == 0) {

        memset(got, 0, sizeof(got));
        render(got, got + sizeof(got));

        return check(strcmp(got, text + 4) == 0, "got \"%s\", want \"%s\"",
                     got, text + 4);
    }

    if (strncmp(text, "method ", 7) == 0) {
        return check(fx_method(&fx, (text[7] == 'l') ? LC : RR) == LRT_OK,
                     "method");
    }

    (void) parse(text + 4, &s);

    if (strncmp(text, "add ", 4) == 0) {
        return check(fx_add(&fx, fx_number(s.sockaddr), &s.server.params),
                     "added");
    }

    if (strncmp(text, "del ", 4) == 0) {
        rc = fx_remove(&fx, ident_of(&s));

    } else {
        rc = fx_modify(&fx, ident_of(&s), &s.server.params,
                       LRT_F_WEIGHT|LRT_F_MAX_CONNS|LRT_F_DOWN);
    }

    return check(rc == LRT_OK, "%s", text);
}


static void
render(char *p, char *last)
{
    uint32_t             i;
    const lrt_params_t  *params;

    fx_snapshot(&fx);

    if (fx.snap.policy.method == LC) {
        p += snprintf(p, (size_t) (last - p), "/lc");
    }

    for (i = 0; i < fx.snap.n; i++) {

        params = &fx.peer[i].entry.params;

        p += snprintf(p, (size_t) (last - p), " %c%s",
                      (char) ('a' + fx_number(fx.peer[i].detail.data)),
                      params->backup ? "*" : "");

        if (params->weight > 1 || params->max_conns) {
            p += snprintf(p, (size_t) (last - p), "=%u", params->weight);
        }

        if (params->max_conns) {
            p += snprintf(p, (size_t) (last - p), ",%u", params->max_conns);
        }

        if (params->down) {
            p += snprintf(p, (size_t) (last - p), "-");
        }
    }
}


static const char *
parse(const char *p, fx_server_t *s)
{
    char  *end;

    fx_server(s, (uint32_t) (*p - 'a'), p[1] == '*');
    p += 1 + (p[1] == '*');

    if (*p == '=') {
        s->server.params.weight = (uint32_t) strtoul(p + 1, &end, 10);
        p = end;
    }

    if (*p == ',') {
        s->server.params.max_conns = (uint32_t) strtoul(p + 1, &end, 10);
        p = end;
    }

    if (*p == '-') {
        s->server.params.down = 1;
        p++;
    }

    return p;
}


static void
conf_parse(conf_t *c, const char *text)
{
    uint32_t  i;

    memset(c, 0, sizeof(conf_t));

    for (i = 0; *text; /* void */) {

        if (*text == ' ') {
            text++;
            continue;
        }

        text = parse(text, &c->memory[i]);
        c->server[i] = c->memory[i].server;
        i++;
    }

    c->conf.n = i;
    c->conf.number = number;
    c->conf.server = c->server;
    c->conf.index = c->index;
    c->conf.index_size = 128;

    lrt_merge_index(&c->conf);
}


static lrt_rc_t
merge(conf_t *c)
{
    lrt_rc_t       rc;
    lrt_change_t  *changes;

    /* to the byte: the sanitizer sees one too many */

    changes = malloc(lrt_merge_max(&fx.table, &c->conf)
                     * sizeof(lrt_change_t));

    rc = lrt_merge(&fx.table, &c->conf, changes, fx.now);

    free(changes);

    return rc;
}


static void
merge_arg(void *arg)
{
    static lrt_change_t  changes[SERVERS + 128];

    conf_t  *c = arg;

    (void) lrt_merge(&fx.table, &c->conf, changes, fx.now);
}


static uint64_t
ident_of(const fx_server_t *s)
{
    uint32_t  slot;
    uint64_t  hash, generation;

    generation = lrt_table_generation(&fx.table);

    hash = lrt_table_hash(s->server.sockaddr, s->server.socklen,
                          s->server.params.backup);
    slot = lrt_table_find(&fx.table, generation & 1, &s->server, hash);

    return (slot == LRT_NONE) ? 0 : fx_entry(&fx, slot)->ident;
}


/* random configurations and run-time changes, beside the rules in plain C */

static void
rules(unsigned killed)
{
    conf_t    c;
    uint32_t  i, steps;

    fx_open(&fx, 64);

    memset(rule, 0, sizeof(rule));
    number = 0;
    age = 0;

    steps = tap_times(8000);

    for (i = 0; i < steps; i++) {

        if (tap_once_in(5)) {

            number++;
            rules_configure(&c);

            if (killed && tap_once_in(2)) {
                (void) fx_killed(tap_between(LRT_POINT_COMMIT_BEGIN,
                                             LRT_POINT_COMMIT_DONE),
                                 merge_arg, &c);
            }

            if (!check(merge(&c) == LRT_OK, "merged")) {
                return;
            }

            rules_merge(&c);

        } else if (!rules_run(killed)) {
            return;
        }

        if (!rules_compare()) {
            tap_note("    in step %u", i);
            return;
        }
    }

    ok(1, "%u random steps", steps);
    fx_close(&fx);
}


static void
rules_configure(conf_t *c)
{
    uint32_t  i, n;

    memset(c, 0, sizeof(conf_t));

    for (i = 0, n = 0; i < SERVERS; i++) {

        if (i % LETTERS >= 8 || tap_once_in(2)) {
            continue;
        }

        fx_server(&c->memory[n], i % LETTERS, i >= LETTERS);

        if (tap_once_in(2)) {
            random_values(&c->memory[n].server.params);

        } else if (rule[i].in_conf || rule[i].gone) {
            c->memory[n].server.params = rule[i].conf;
        }

        c->server[n] = c->memory[n].server;
        n++;
    }

    c->conf.n = n;
    c->conf.number = number;
    c->conf.server = c->server;
    c->conf.index = c->index;
    c->conf.index_size = 128;

    lrt_merge_index(&c->conf);
}


static unsigned
rules_run(unsigned killed)
{
    uint32_t       i;
    uint64_t       generation;
    rule_t        *r;
    lrt_rc_t       rc;
    fx_server_t    s;
    lrt_change_t   change;

    i = tap_below(SERVERS);
    i = (i % LETTERS) % 10 + ((i >= LETTERS) ? LETTERS : 0);
    r = &rule[i];

    memset(&change, 0, sizeof(lrt_change_t));

    fx_server(&s, i % LETTERS, i >= LETTERS);
    random_values(&s.server.params);

    change.server = s.server;
    change.slot = LRT_NONE;
    change.ident = r->ident;
    change.fields = tap_below(LRT_F_ALL + 1);
    change.type = !r->present ? LRT_ADD
                              : tap_once_in(2) ? LRT_REMOVE : LRT_MODIFY;

    generation = lrt_table_generation(&fx.table);

    if (killed && tap_once_in(3)) {
        (void) fx_commit_killed(&fx, tap_between(LRT_POINT_COMMIT_BEGIN,
                                                 LRT_POINT_COMMIT_DONE),
                                &change, 1);

        if (lrt_table_generation(&fx.table) == generation) {
            return 1;
        }

    } else {
        rc = fx_commit(&fx, &change, 1);

        if (!check(rc == LRT_OK, "run-time change: %u", rc)) {
            return 0;
        }
    }

    switch (change.type) {

    case LRT_ADD:
        r->present = 1;
        r->params = s.server.params;
        r->in_conf = r->gone;
        r->gone = 0;
        r->age = ++age;
        r->ident = ident_of(&s);
        break;

    case LRT_REMOVE:
        r->present = 0;
        r->gone = r->in_conf;
        r->in_conf = 0;
        break;

    default:
        lrt_params_copy(&r->params, &s.server.params, change.fields);
    }

    return 1;
}


static void
rules_merge(conf_t *c)
{
    uint32_t             i, j;
    rule_t              *r;
    const lrt_params_t  *said;

    for (i = 0; i < SERVERS; i++) {
        r = &rule[i];
        said = NULL;

        for (j = 0; j < c->conf.n; j++) {
            if (fx_number(c->memory[j].sockaddr) == i % LETTERS
                && c->server[j].params.backup == (i >= LETTERS))
            {
                said = &c->server[j].params;
                break;
            }
        }

        if (said == NULL) {
            r->present = r->present && !r->in_conf;
            r->in_conf = 0;
            r->gone = 0;
            continue;
        }

        if (r->gone) {
            r->conf = *said;
            continue;
        }

        if (!r->present) {
            r->params = *said;
            r->age = ++age;

        } else if (!r->in_conf) {
            r->params = *said;

        } else {
            lrt_params_copy(&r->params, said,
                            lrt_params_diff(said, &r->conf));
        }

        r->present = 1;
        r->in_conf = 1;
        r->conf = *said;
        r->ident = ident_of(&c->memory[j]);
    }
}


static unsigned
rules_compare(void)
{
    uint32_t             i, j, n;
    const char          *why;
    const rule_t        *r;
    const fx_peer_t     *peer;

    why = fx_quiet(&fx);

    if (!check(why == NULL, "valid: %s", why)) {
        return 0;
    }

    fx_snapshot(&fx);

    n = 0;

    for (i = 0; i < SERVERS; i++) {
        n += rule[i].present;
    }

    if (!check(fx.snap.n == n, "%u servers, should be %u", fx.snap.n, n)) {
        return 0;
    }

    for (j = 0; j < n; j++) {

        peer = &fx.peer[j];

        i = fx_number(peer->detail.data)
            + (peer->entry.params.backup ? LETTERS : 0);
        r = &rule[i];

        if (!check(r->present, "%c%s is there", 'a' + i % LETTERS,
                   (i >= LETTERS) ? "*" : "")
            || !check(lrt_params_diff(&peer->entry.params, &r->params) == 0,
                      "%c%s: weight %u, should be %u", 'a' + i % LETTERS,
                      (i >= LETTERS) ? "*" : "", peer->entry.params.weight,
                      r->params.weight)
            || !check(peer->entry.ident == r->ident, "its id"))
        {
            return 0;
        }
    }

    return 1;
}


static void
random_values(lrt_params_t *params)
{
    params->weight = tap_between(1, 4);
    params->max_conns = tap_below(3);
    params->max_fails = tap_below(2);
    params->fail_timeout = tap_below(3);
    params->slow_start = tap_below(2);
    params->down = tap_once_in(4);
    params->drain = tap_once_in(4);
    params->twins = tap_below(2);
}
