
/*
 * Copyright (C) the ngx_http_lrt_upstream_module authors
 */


#include "tap.h"
#include "lrt_registry.h"

#include <sys/mman.h>
#include <sys/wait.h>


#define ROWS         LRT_MIN_ROWS
#define PROCESSES    4


static void test_format(void);
static void test_claim(void);
static void test_release(void);
static void test_predecessor(void);
static void test_generations(void);
static void test_exhaustion(void);
static void test_reap(void);
static void test_reap_asks_the_stale(void);
static void test_start_time(void);
static void test_incomplete_claim(void);
static void test_serials(void);
static void test_shared_row(void);
static void test_processes(void);
static lrt_rc_t claim(uint64_t pid, uint64_t generation, uint32_t worker,
    lrt_owner_t *owner);
static unsigned is_dead(uint64_t pid, uint64_t start);
static unsigned is_reused(uint64_t pid, uint64_t start);
static void reset(void);


static lrt_registry_t  *reg;
static uint64_t         now;
static uint64_t         dead[ROWS];      /* pids */
static uint32_t         asked;
static uint64_t         asked_start;


int
main(void)
{
    tap_begin();

    reg = malloc(lrt_registry_size(ROWS));

    run(test_format);
    run(test_claim);
    run(test_release);
    run(test_predecessor);
    run(test_generations);
    run(test_exhaustion);
    run(test_reap);
    run(test_reap_asks_the_stale);
    run(test_start_time);
    run(test_incomplete_claim);
    run(test_serials);
    run(test_shared_row);
    run(test_processes);

    free(reg);

    return tap_end();
}


static void
test_format(void)
{
    size_t    size;
    uint32_t  i;

    size = lrt_registry_size(ROWS);

    /* a registry is known by its magic number, and must fit its block */

    for (i = 0; i < size; i++) {
        ((uint8_t *) reg)[i] = (uint8_t) tap_random();
    }

    ok(!lrt_registry_valid(reg, size), "random bytes");

    lrt_registry_format(reg, ROWS);

    ok(lrt_registry_valid(reg, size), "formatted");
    ok(lrt_registry_valid(reg, size + 100), "in a longer block");
    ok(!lrt_registry_valid(reg, size - 1), "in a shorter one");
    ok(!lrt_registry_valid(reg, 8), "in none");

    reg->rows = ROWS - 1;
    ok(!lrt_registry_valid(reg, size), "too few rows");

    reg->rows = LRT_MAX_ROWS + 1;
    ok(!lrt_registry_valid(reg, SIZE_MAX), "too many rows");

    reg->rows = ROWS + 1;
    ok(!lrt_registry_valid(reg, size), "more rows than fit");
}


static void
test_claim(void)
{
    lrt_owner_t  a, b;

    reset();

    /* each worker gets a row and a serial of its own, and is alive there */

    is_u64(claim(100, 1, 0, &a), LRT_OK, "the first worker");
    is_u64(claim(101, 1, 1, &b), LRT_OK, "the second one");

    ok(a.row != b.row, "rows");
    ok(a.serial != b.serial && a.serial && b.serial, "serials");

    ok(lrt_registry_serial_alive(reg, a.row, a.serial), "the first is alive");
    ok(!lrt_registry_serial_alive(reg, a.row, b.serial), "not the second");
    ok(!lrt_registry_serial_alive(reg, a.row, 0), "nor nobody");
    ok(!lrt_registry_serial_alive(reg, ROWS, a.serial), "nor outside");

    is_u64(reg->row[a.row].pid, 100, "pid");
    is_u64(reg->row[a.row].start, 1000, "start");
    is_u64(reg->row[a.row].generation, 1, "generation");
    is_u64(reg->row[b.row].worker, 1, "worker");
    is_u64(reg->row[a.row].heartbeat, now, "heartbeat");

    now += 50;
    lrt_registry_beat(reg, &a, now);
    is_u64(reg->row[a.row].heartbeat, now, "a later heartbeat");
    is_u64(reg->row[b.row].heartbeat, now - 50, "is not that of another");
}


static void
test_release(void)
{
    lrt_owner_t  a, b;

    reset();

    (void) claim(100, 1, 0, &a);
    lrt_registry_release(reg, &a);

    /* from then on nothing in the row is his */

    ok(!lrt_registry_serial_alive(reg, a.row, a.serial), "not alive");
    is_u64(reg->row[a.row].pid, 0, "the row is free");

    (void) claim(101, 1, 0, &b);
    is_u64(b.row, a.row, "it is given to the next one");
    ok(b.serial != a.serial, "with another serial");
    ok(!lrt_registry_serial_alive(reg, a.row, a.serial), "he is still dead");
}


static void
test_predecessor(void)
{
    lrt_owner_t  a, b, c;

    reset();

    (void) claim(100, 7, 3, &a);
    (void) claim(101, 7, 4, &b);
    (void) claim(102, 7, 3, &c);

    /* a worker in the place of another one: that one is gone */

    ok(!lrt_registry_serial_alive(reg, a.row, a.serial), "the predecessor");
    ok(lrt_registry_serial_alive(reg, b.row, b.serial), "not his neighbour");
    ok(lrt_registry_serial_alive(reg, c.row, c.serial), "the successor");
    is_u64(c.row, a.row, "has his row");
}


static void
test_generations(void)
{
    uint32_t     i, j, n;
    lrt_owner_t  owner[3][8];

    reset();

    /* old workers finish their requests beside new ones of the same numbers */

    for (i = 0; i < 3; i++) {
        for (j = 0; j < 8; j++) {
            (void) claim(100 + 10 * i + j, i + 1, j, &owner[i][j]);
        }
    }

    n = 0;

    for (i = 0; i < 3; i++) {
        for (j = 0; j < 8; j++) {
            n += lrt_registry_serial_alive(reg, owner[i][j].row,
                                           owner[i][j].serial);
        }
    }

    is_u64(n, 24, "workers of three configurations side by side");

    for (j = 0; j < 8; j++) {
        lrt_registry_release(reg, &owner[0][j]);
    }

    for (j = 0, n = 0; j < 8; j++) {
        n += lrt_registry_serial_alive(reg, owner[1][j].row,
                                       owner[1][j].serial);
        n += lrt_registry_serial_alive(reg, owner[0][j].row,
                                       owner[0][j].serial);
    }

    is_u64(n, 8, "the oldest are gone, the others are not");
}


static void
test_exhaustion(void)
{
    uint32_t     i;
    lrt_owner_t  owner, last;

    reset();

    for (i = 0; i < ROWS - 1; i++) {
        if (!check(claim(100 + i, 1, i, &owner) == LRT_OK, "claim %u", i)) {
            return;
        }
    }

    last = owner;

    /* who finds no row shares the last one, and it is told */

    is_u64(claim(500, 1, 500, &owner), LRT_FULL, "one too many");
    is_u64(owner.row, ROWS - 1, "the last row");
    is_u64(owner.serial, LRT_SERIAL_SHARED, "its serial");
    is_u64(reg->exhausted, 1, "it is counted");

    is_u64(claim(501, 1, 501, &owner), LRT_FULL, "another one");
    is_u64(owner.serial, LRT_SERIAL_SHARED, "shares it");
    is_u64(reg->exhausted, 2, "it is counted, too");

    ok(lrt_registry_serial_alive(reg, owner.row, owner.serial),
       "the shared row is always alive");

    lrt_registry_release(reg, &owner);
    lrt_registry_beat(reg, &owner, now);

    ok(lrt_registry_serial_alive(reg, owner.row, owner.serial),
       "whoever leaves it");

    /* a free row is found again */

    lrt_registry_release(reg, &last);
    is_u64(claim(502, 1, 502, &owner), LRT_OK, "when a row is free");
    is_u64(owner.row, last.row, "it is taken");
}


static void
test_reap(void)
{
    uint32_t     i, n;
    lrt_owner_t  owner[10];

    reset();

    for (i = 0; i < 10; i++) {
        (void) claim(100 + i, 1, i, &owner[i]);
    }

    dead[0] = 103;
    dead[1] = 107;
    now += LRT_STALE;

    /* the dead ones are freed, the others stay */

    is_u64(lrt_registry_reap(reg, now, is_dead), 2, "two of ten");

    for (i = 0, n = 0; i < 10; i++) {
        n += lrt_registry_serial_alive(reg, owner[i].row, owner[i].serial);
    }

    is_u64(n, 8, "eight are alive");
    ok(!lrt_registry_serial_alive(reg, owner[3].row, owner[3].serial),
       "103 is not");
    ok(!lrt_registry_serial_alive(reg, owner[7].row, owner[7].serial),
       "107 is not");

    is_u64(lrt_registry_reap(reg, now, is_dead), 0, "once");
}


static void
test_reap_asks_the_stale(void)
{
    lrt_owner_t  a, b;

    reset();

    (void) claim(100, 1, 0, &a);
    (void) claim(101, 1, 1, &b);

    dead[0] = 100;
    dead[1] = 101;

    /* nobody is suspected while his heart beats */

    now += LRT_STALE - 1;
    is_u64(lrt_registry_reap(reg, now, is_dead), 0, "not yet stale");
    is_u64(asked, 0, "nobody was asked about");

    lrt_registry_beat(reg, &b, now);

    now++;
    is_u64(lrt_registry_reap(reg, now, is_dead), 1, "one is stale");
    is_u64(asked, 1, "only that one was asked about");

    /* a clock that is behind suspects nobody */

    is_u64(lrt_registry_reap(reg, now - 100000, is_dead), 0, "in the past");
}


static void
test_start_time(void)
{
    lrt_owner_t  owner;

    reset();

    (void) claim(100, 1, 0, &owner);
    now += LRT_STALE;

    /* a process of that number is alive, but it is another one */

    is_u64(lrt_registry_reap(reg, now, is_reused), 1, "reaped");
    is_u64(asked_start, 1000, "the start time was asked for");
    ok(!lrt_registry_serial_alive(reg, owner.row, owner.serial), "dead");
}


static void
test_incomplete_claim(void)
{
    lrt_owner_t  owner;

    reset();

    (void) claim(100, 1, 0, &owner);

    /* a worker that died before its claim was complete */

    reg->row[5].pid = 77;
    reg->row[5].start = 123;
    reg->row[5].serial = 0;

    dead[0] = 77;
    now += LRT_STALE - 1;
    lrt_registry_beat(reg, &owner, now);

    is_u64(lrt_registry_reap(reg, now, is_dead), 1, "reaped");
    is_u64(asked_start, 0, "its start time is not believed");
    is_u64(reg->row[5].pid, 0, "the row is free");

    /* it is nobody's predecessor */

    reg->row[5].pid = 78;
    reg->row[5].generation = 9;
    reg->row[5].worker = 2;

    (void) claim(101, 9, 2, &owner);
    is_u64(reg->row[5].pid, 78, "a claim in the making is left alone");
}


static void
test_serials(void)
{
    uint32_t     i;
    lrt_owner_t  owner;

    reset();

    /* the numbers with a meaning are not given out */

    reg->next_serial = UINT32_MAX - 2;

    for (i = 0; i < 6; i++) {
        (void) claim(100, 1, 0, &owner);

        if (!check(owner.serial != 0 && owner.serial != LRT_SERIAL_SHARED,
                   "serial %u", owner.serial))
        {
            return;
        }

        lrt_registry_release(reg, &owner);
    }

    ok(1, "serials when they begin anew");
}


static void
test_shared_row(void)
{
    uint32_t  i;

    reset();

    /* it belongs to no process, so it is never reaped */

    for (i = 0; i < ROWS; i++) {
        dead[i] = 0;
    }

    now += 10 * LRT_STALE;

    is_u64(lrt_registry_reap(reg, now, is_dead), 0, "nobody is there");
    ok(lrt_registry_serial_alive(reg, ROWS - 1, LRT_SERIAL_SHARED), "alive");
}


static void
test_processes(void)
{
    uint8_t         *seen;
    uint32_t         i, j, n, p, *serials;
    lrt_owner_t      owner;
    lrt_claim_t      c;
    lrt_registry_t  *shared;

    n = tap_times(20000);

    shared = mmap(NULL, lrt_registry_size(ROWS), PROT_READ|PROT_WRITE,
                  MAP_ANON|MAP_SHARED, -1, 0);
    serials = mmap(NULL, PROCESSES * n * sizeof(uint32_t),
                   PROT_READ|PROT_WRITE, MAP_ANON|MAP_SHARED, -1, 0);

    lrt_registry_format(shared, ROWS);

    for (p = 0; p < PROCESSES; p++) {

        if (fork() != 0) {
            continue;
        }

        memset(&c, 0, sizeof(lrt_claim_t));

        c.pid = (uint64_t) getpid();
        c.start = 1;
        c.generation = 1;
        c.worker = p;

        for (i = 0; i < n; i++) {

            if (lrt_registry_claim(shared, &c, i, &owner) != LRT_OK
                || !lrt_registry_serial_alive(shared, owner.row, owner.serial)
                || shared->row[owner.row].pid != c.pid)
            {
                _exit(1);
            }

            serials[p * n + i] = owner.serial;
            lrt_registry_release(shared, &owner);
        }

        _exit(0);
    }

    /* claims at the same time: no row and no serial is given twice */

    for (p = 0, j = 0; p < PROCESSES; p++) {
        int  status;

        (void) wait(&status);
        j += (status == 0);
    }

    is_u64(j, PROCESSES, "processes whose rows were always their own");

    seen = calloc(PROCESSES * n + 1, 1);

    for (i = 0, j = 0; i < PROCESSES * n; i++) {
        j += (serials[i] == 0 || serials[i] > PROCESSES * n
              || seen[serials[i]]++);
    }

    is_u64(j, 0, "serials given twice, of %u", PROCESSES * n);
    free(seen);

    is_u64(shared->exhausted, 0, "claims that found no row");

    munmap(shared, lrt_registry_size(ROWS));
    munmap(serials, PROCESSES * n * sizeof(uint32_t));
}


static lrt_rc_t
claim(uint64_t pid, uint64_t generation, uint32_t worker, lrt_owner_t *owner)
{
    lrt_claim_t  c;

    c.pid = pid;
    c.start = pid * 10;
    c.generation = generation;
    c.worker = worker;

    return lrt_registry_claim(reg, &c, now, owner);
}


static unsigned
is_dead(uint64_t pid, uint64_t start)
{
    uint32_t  i;

    asked++;
    asked_start = start;

    for (i = 0; i < ROWS; i++) {
        if (dead[i] == pid) {
            return 1;
        }
    }

    return 0;
}


static unsigned
is_reused(uint64_t pid, uint64_t start)
{
    (void) pid;

    asked_start = start;

    return start && start != 5555;
}


static void
reset(void)
{
    lrt_registry_format(reg, ROWS);

    memset(dead, 0, sizeof(dead));

    now = 1000000;
    asked = 0;
    asked_start = 0;
}
