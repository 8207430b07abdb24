
/*
 * Copyright (C) the ngx_http_lrt_upstream_module authors
 *
 * Real processes on one table: workers whose requests come and go, a writer
 * who changes servers all the time, and kills.
 */


#include "tap.h"
#include "timed.h"

#include <errno.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>

#if (__linux__)
#include <sys/prctl.h>
#endif


#define CAPACITY     16
#define WORKERS      4
#define WRITER       WORKERS         /* the last process of the crew */
#define CREW         (WORKERS + 1)
#define HELD         12
#define IDENTS       (1 << 20)
#define ANCHOR       1               /* ident of a server that always stays */


/* what the processes of a test share beside the table */

typedef struct {
    uint64_t             now;
    uint64_t             lock;           /* pid of the writer */
    uint64_t             victim;         /* pid of him who dies at the hook */
    uint64_t             pause;
    uint64_t             stop;
    uint64_t             failed;
    char                 error[256];

    struct {
        uint64_t         operations;
        uint64_t         paused;
        uint64_t         busy;
        uint64_t         padding[5];
    } process[CREW + 1];

    uint32_t             number[IDENTS];     /* address, by ident */
    uint64_t             removed[IDENTS];    /* generation, by ident */
} crew_t;


typedef struct {
    lrt_pick_t           pick;
    uint32_t             number;
} held_t;


static void test_traffic_rr(void);
static void test_traffic_lc(void);
static void test_traffic_lt(void);
static void test_traffic_and_clock(void);
static void test_killed_at_points(void);
static void test_killed_at_random(void);
static void traffic(uint32_t method, unsigned clock);
static unsigned killed_at(uint32_t method, unsigned point);
static void crew_open(uint32_t method);
static void crew_close(void);
static void crew_start(uint32_t i);
static unsigned crew_progress(uint64_t n);
static unsigned crew_pause(void);
static void crew_stop(void);
static void crew_reap(unsigned all);
static void crew_kill(uint32_t i);
static void worker(uint32_t i);
static void worker_pick(uint32_t i, held_t *held, uint32_t *n);
static void worker_end(held_t *held, uint32_t *n);
static void worker_wait(uint32_t i);
static void writer(uint32_t i);
static void writer_change(uint32_t changes);
static unsigned writer_commit(void);
static void auditor(void);
static void fail(const char *what, uint64_t a, uint64_t b);
static unsigned is_dead(uint64_t pid, uint64_t start);
static void audit(void);


static const uint32_t  methods[] = { RR, LC, LT };


static fx_t      fx;
static crew_t   *crew;
static pid_t     pid[CREW + 1];
static unsigned  tick;               /* workers move the clock and audit */


int
main(void)
{
    tap_begin();

    /* nobody hangs; if somebody does, the test ends */

    alarm(120);

    run(test_traffic_rr);
    run(test_traffic_lc);
    run(test_traffic_lt);
    run(test_traffic_and_clock);
    run(test_killed_at_points);
    run(test_killed_at_random);

    return tap_end();
}


void
lrt_test_point(unsigned point)
{
    if (crew
        && lrt_load(&fx.table.head->hook) == point
        && lrt_load(&crew->victim) == (uint64_t) getpid())
    {
        (void) kill(getpid(), SIGKILL);
    }
}


static void
test_traffic_rr(void)
{
    traffic(RR, 0);
}


static void
test_traffic_lc(void)
{
    traffic(LC, 0);
}


static void
test_traffic_lt(void)
{
    traffic(LT, 0);
}


static void
test_traffic_and_clock(void)
{
    traffic(LC, 1);
}


static void
test_killed_at_points(void)
{
    uint32_t  method, point;

    /* a short run looks at the method that has all points */

    for (method = (tap_times(10) < 10) ? LC : RR; method <= LC; method++) {
        for (point = 1; point < LRT_POINTS; point++) {

            if (point == LRT_POINT_RANK_COST
                || (point == LRT_POINT_RANK_KEY && method == RR))
            {
                continue;
            }

            if (!ok(killed_at(method, point),
                    "method %u, killed at point %u: right a second later",
                    method, point))
            {
                return;
            }
        }
    }

    ok(killed_at(LT, LRT_POINT_RANK_COST),
       "killed between a cost and its rank");
}


static void
test_killed_at_random(void)
{
    uint32_t  i, kills;

    crew_open(LC);
    tick = 1;

    for (i = 0; i < CREW; i++) {
        crew_start(i);
    }

    /* a process is killed every 5 ms, and another one takes its place */

    for (kills = 0; kills < tap_times(400); kills++) {

        usleep(5000);

        i = tap_below(CREW);

        crew_kill(i);
        crew_start(i);

        if (lrt_load(&crew->failed)) {
            break;
        }
    }

    if (!ok(crew_progress(20), "all who are left get on")) {
        return;
    }

    crew_stop();

    ok(!crew->failed, "%u kills: no wrong server, none missing%s%s", kills,
       crew->failed ? ": " : "", crew->error);

    for (i = 0; i < 10; i++) {
        audit();
    }

    ok(fx_quiet(&fx) == NULL, "valid a second later");
    ok(writer_commit(), "the next writer gets on");

    for (i = 0; i < CAPACITY; i++) {
        if (!check(fx.table.hot[i].inflight == 0, "slot %u: %d in flight", i,
                   fx.table.hot[i].inflight))
        {
            return;
        }
    }

    ok(1, "nothing is in flight");

    crew_close();
}


static void
traffic(uint32_t method, unsigned clock)
{
    uint32_t     i, n;
    uint64_t     busy, operations;
    const char  *why;

    crew_open(method);
    tick = clock;

    for (i = 0; i < CREW; i++) {
        crew_start(i);
    }

    (void) crew_progress(tap_times(60000));
    crew_stop();

    /*
     * A server is never given to a request after its removal, and its slot to
     * nobody else as long as the request holds it; the server that is always
     * there is always found.
     */

    operations = 0;
    busy = 0;

    for (i = 0; i < CREW; i++) {
        operations += crew->process[i].operations;
        busy += crew->process[i].busy;
    }

    ok(!crew->failed, "%llu operations, %llu changes: no wrong server%s%s",
       (unsigned long long) operations,
       (unsigned long long) lrt_table_generation(&fx.table),
       crew->failed ? ": " : "", crew->error);

    is_u64(busy, 0, "no request was refused");

    /*
     * All are through: without any audit, counts and ranks are exact.  But if
     * there were audits, they may have taken one who had to wait for his turn
     * in the middle of counting for a dead one.
     */

    for (i = 0; clock && i <= LRT_AUDIT_TICKS; i++) {
        audit();
    }

    fx.now = crew->now;
    why = fx_quiet(&fx);

    ok(why == NULL, "valid at the end%s%s", why ? ": " : "", why ? why : "");

    for (i = 0, n = 0; i < CAPACITY; i++) {
        n += (fx.table.hot[i].inflight != 0);
    }

    is_u64(n, 0, "slots with requests");

    crew_close();
}


static unsigned
killed_at(uint32_t method, unsigned point)
{
    uint32_t     victim, audits;
    const char  *why;

    crew_open(method);
    tick = 0;

    for (victim = 0; victim < CREW; victim++) {
        crew_start(victim);
    }

    (void) crew_progress(50);

    /* one of them dies at the point; the others do not stop for that */

    victim = 0;

    if ((point >= LRT_POINT_COMMIT_BEGIN && point <= LRT_POINT_COMMIT_DONE)
        || point == LRT_POINT_SLOT_CLEARED
        || point == LRT_POINT_RANK_COST)
    {
        victim = WRITER;
    }

    if (point == LRT_POINT_ZAP_CELL) {

        /* to have something to zap, another one must die before */

        crew_kill(0);
        (void) lrt_add(&crew->now, 2 * LRT_STALE);

        victim = CREW;
        pid[CREW] = fork();

        if (pid[CREW] == 0) {
            while (lrt_load(&crew->victim) != (uint64_t) getpid()) {
                usleep(100);
            }

            auditor();
            _exit(0);
        }
    }

    lrt_store(&fx.table.head->hook, point);
    lrt_store(&crew->victim, (uint64_t) pid[victim]);

    while (pid[victim]) {
        crew_reap(0);
        usleep(100);
    }

    if (!check(crew_progress(20), "the others get on")) {
        return 0;
    }

    /* a second: ten audits, and between them everybody goes on */

    for (audits = 0; audits < 10; audits++) {

        lrt_store(&crew->pause, 0);

        if (!check(crew_progress(20), "all get on")
            || !check(crew_pause(), "all can be stopped"))
        {
            return 0;
        }

        audit();
    }

    /* counts of those who live are in the table, and no others */

    fx.now = crew->now;
    why = fx_quiet(&fx);

    if (!check(why == NULL, "valid: %s", why)
        || !check(writer_commit(), "the next writer gets on"))
    {
        return 0;
    }

    lrt_store(&crew->pause, 0);
    crew_stop();

    if (!check(!crew->failed, "%s", crew->error)
        || !check(fx_quiet(&fx) == NULL, "valid at the end"))
    {
        return 0;
    }

    crew_close();

    return 1;
}


static void
crew_open(uint32_t method)
{
    lrt_params_t  params;

    fx_open_shared(&fx, CAPACITY);

    crew = mmap(NULL, sizeof(crew_t), PROT_READ|PROT_WRITE,
                MAP_ANON|MAP_SHARED, -1, 0);

    if (crew == MAP_FAILED) {
        abort();
    }

    crew->now = fx.now;

    params = fx_params(3);
    (void) fx_add(&fx, 0, &params);
    (void) fx_method(&fx, method);
}


static void
crew_close(void)
{
    munmap(crew, sizeof(crew_t));
    crew = NULL;

    fx_close(&fx);
}


static void
crew_start(uint32_t i)
{
    uint64_t  seed;

    seed = tap_random();

    pid[i] = fork();

    if (pid[i] != 0) {
        return;
    }

#if (__linux__)
    (void) prctl(PR_SET_PDEATHSIG, SIGKILL);
#endif

    tap_state = seed | 1;

    if (i == WRITER) {
        writer(i);

    } else {
        worker(i);
    }

    _exit(0);
}


/* waits until each of them did so much more */

static unsigned
crew_progress(uint64_t n)
{
    uint32_t  i;
    uint64_t  want[CREW];

    for (i = 0; i < CREW; i++) {
        want[i] = lrt_load(&crew->process[i].operations)
                  + ((i == WRITER) ? n / 100 + 1 : n);
    }

    for (i = 0; i < CREW; i++) {
        while (pid[i]
               && lrt_load(&crew->process[i].operations) < want[i])
        {
            usleep(100);

            if (lrt_load(&crew->failed)) {
                return 0;
            }
        }
    }

    return 1;
}


static unsigned
crew_pause(void)
{
    uint32_t  i;

    lrt_store(&crew->pause, 1);

    for (i = 0; i < CREW; i++) {
        while (pid[i] && !lrt_load(&crew->process[i].paused)) {
            usleep(100);

            if (lrt_load(&crew->failed)) {
                return 0;
            }
        }
    }

    return 1;
}


static void
crew_stop(void)
{
    lrt_store(&crew->stop, 1);

    crew_reap(1);
}


/* takes from the dead what only their parent can take from them */

static void
crew_reap(unsigned all)
{
    pid_t     p;
    uint32_t  i;
    uint64_t  owner;

    for (i = 0; i <= CREW; i++) {

        if (pid[i] == 0) {
            continue;
        }

        do {
            p = waitpid(pid[i], NULL, all ? 0 : WNOHANG);
        } while (p == -1 && errno == EINTR);

        if (p == pid[i]) {
            owner = (uint64_t) p;
            (void) lrt_cas(&crew->lock, owner, 0);
            crew->process[i].paused = 0;
            pid[i] = 0;
        }
    }
}


static void
crew_kill(uint32_t i)
{
    (void) kill(pid[i], SIGKILL);

    while (pid[i]) {
        crew_reap(0);
    }
}


static void
worker(uint32_t i)
{
    uint32_t      n;
    held_t        held[HELD];
    lrt_claim_t   claim;

    claim.pid = (uint64_t) getpid();
    claim.start = 1;
    claim.generation = 7;
    claim.worker = i;

    fx.now = lrt_load(&crew->now);

    if (lrt_registry_claim(fx.reg, &claim, fx.now, &fx.owner) != LRT_OK) {
        fail("no row in the registry", i, 0);
    }

    n = 0;

    while (!lrt_load(&crew->stop)) {

        if (lrt_load(&crew->pause)) {
            worker_wait(i);
        }

        fx.now = lrt_load(&crew->now);

        if (tick) {

            /* the clocks of workers are not quite the same */

            fx.now -= tap_below(3);

            if (tap_once_in(200)) {
                (void) lrt_add(&crew->now, 1);
                lrt_registry_beat(fx.reg, &fx.owner, fx.now);
                lrt_ledger_audit(&fx.table, fx.reg, fx.now);
            }
        }

        if (n < HELD && (n == 0 || tap_once_in(2))) {
            worker_pick(i, held, &n);

        } else {
            worker_end(held, &n);
        }

        lrt_store(&crew->process[i].operations,
                  crew->process[i].operations + 1);
    }

    while (n) {
        worker_end(held, &n);
    }

    lrt_registry_release(fx.reg, &fx.owner);
}


static void
worker_pick(uint32_t i, held_t *held, uint32_t *n)
{
    uint32_t      ntried;
    uint64_t      before, removed;
    held_t       *h;
    lrt_rc_t      rc;
    lrt_tried_t   tried;

    h = &held[*n];
    ntried = 0;
    before = lrt_table_generation(&fx.table);

    /* sometimes a second try, after another server than the anchor */

    if (*n && held[0].pick.ident != ANCHOR && tap_once_in(4)) {
        tried.slot = held[0].pick.slot;
        tried.ident = held[0].pick.ident;
        ntried = 1;
    }

    rc = fx_retry(&fx, &tried, ntried, &h->pick);

    if (rc != LRT_OK) {
        crew->process[i].busy++;
        fail("no server", rc, before);
    }

    h->number = fx_number(fx.table.detail[h->pick.slot].data);

    if (h->number != lrt_load(&crew->number[h->pick.ident])) {
        fail("a slot of another server", h->pick.ident, h->number);
    }

    removed = lrt_load(&crew->removed[h->pick.ident]);

    if (removed && removed <= before) {
        fail("a removed server", removed, before);
    }

    if (ntried && h->pick.ident == tried.ident) {
        fail("a server that was tried", tried.ident, 0);
    }

    (*n)++;
}


static void
worker_end(held_t *held, uint32_t *n)
{
    held_t       *h;
    lrt_ended_e   how;

    h = &held[tap_below(*n)];

    if (fx_number(fx.table.detail[h->pick.slot].data) != h->number) {
        fail("a slot was given away while it was held", h->pick.ident,
             h->number);
    }

    how = tap_once_in(8) ? LRT_ENDED_FAILED : LRT_ENDED_WELL;
    how = tap_once_in(8) ? LRT_ENDED_UNKNOWN : how;

    (void) fx_end(&fx, &h->pick, how);

    *h = held[--(*n)];
}


static void
worker_wait(uint32_t i)
{
    lrt_store(&crew->process[i].paused, 1);

    while (lrt_load(&crew->pause)) {
        usleep(100);
    }

    lrt_store(&crew->process[i].paused, 0);
}


static void
writer(uint32_t i)
{
    uint64_t  free, self;

    self = (uint64_t) getpid();

    while (!lrt_load(&crew->stop)) {

        if (lrt_load(&crew->pause)) {
            worker_wait(i);
        }

        fx.now = lrt_load(&crew->now);
        free = 0;

        if (!lrt_cas(&crew->lock, free, self)) {
            usleep(100);
            continue;
        }

        writer_change(tap_between(1, 3));

        lrt_store(&crew->lock, 0);

        lrt_store(&crew->process[i].operations,
                  crew->process[i].operations + 1);

        if (tap_once_in(10)) {
            usleep(100);
        }
    }
}


static void
writer_change(uint32_t changes)
{
    uint32_t             i, slot;
    uint64_t             ident, next;
    fx_server_t          s[3];
    lrt_change_t         c[3];
    lrt_change_set_t     set;

    memset(&set, 0, sizeof(lrt_change_set_t));
    memset(c, 0, sizeof(c));

    set.change = c;
    set.n = changes;

    next = fx.table.head->next_ident;

    if (next + changes >= IDENTS) {
        return;
    }

    for (i = 0; i < changes; i++) {

        slot = tap_below(CAPACITY);
        ident = fx_entry(&fx, slot)->ident;

        fx_server(&s[i], tap_between(1, 1000), 0);
        c[i].server = s[i].server;
        c[i].server.params.weight = tap_between(1, 9);
        c[i].server.params.max_conns = tap_below(4);
        c[i].server.params.max_fails = tap_below(2);
        c[i].server.params.fail_timeout = tap_below(20);
        c[i].server.params.backup = tap_once_in(5);
        c[i].server.params.down = tap_once_in(8);

        c[i].ident = ident;
        c[i].slot = slot;
        c[i].fields = LRT_F_ALL;

        if (ident && ident != ANCHOR && !tap_once_in(4)) {
            c[i].type = tap_once_in(3) ? LRT_MODIFY : LRT_REMOVE;

        } else if (tap_once_in(20)) {
            c[i].type = LRT_SET_POLICY;
            c[i].policy.method = methods[tap_below(3)];

        } else {
            c[i].type = LRT_ADD;
            lrt_store(&crew->number[next],
                      fx_number(c[i].server.sockaddr));
            next++;
        }
    }

    if (lrt_change_commit(&fx.table, &set, fx.now) != LRT_OK) {
        return;
    }

    for (i = 0; i < changes; i++) {
        if (c[i].type == LRT_REMOVE) {
            lrt_store(&crew->removed[c[i].ident], set.generation);
        }
    }
}


static unsigned
writer_commit(void)
{
    uint64_t      generation;
    lrt_params_t  params;

    generation = lrt_table_generation(&fx.table);
    params = fx_params(3);

    if (lrt_load(&crew->lock) != 0) {
        return 0;
    }

    (void) fx_modify(&fx, ANCHOR, &params, LRT_F_WEIGHT);

    return lrt_table_generation(&fx.table) == generation + 1
           && fx_quiet(&fx) == NULL;
}


/* what a worker does by timer */

static void
auditor(void)
{
    fx.now = lrt_load(&crew->now);

    if (lrt_registry_reap(fx.reg, fx.now, is_dead)) {
        lrt_ledger_recover(&fx.table, fx.reg, fx.now);
    }

    lrt_ledger_audit(&fx.table, fx.reg, fx.now);
}


static void
fail(const char *what, uint64_t a, uint64_t b)
{
    if (lrt_add(&crew->failed, 1) == 0) {
        snprintf(crew->error, sizeof(crew->error), "%s (%llu, %llu)", what,
                 (unsigned long long) a, (unsigned long long) b);
    }

    _exit(1);
}


static unsigned
is_dead(uint64_t p, uint64_t start)
{
    (void) start;

    return kill((pid_t) p, 0) == -1 && errno == ESRCH;
}


/* a tenth of a second later */

static void
audit(void)
{
    (void) lrt_add(&crew->now, LRT_AUDIT_PERIOD);

    auditor();
}
