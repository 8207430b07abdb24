
/*
 * Copyright (C) the ngx_http_lrt_upstream_module authors
 */


#include "tap.h"
#include "fixture.h"


#define PER_PEER     1536


static void test_size_and_capacity(void);
static void test_per_peer(void);
static void test_layout(void);
static void test_attach(void);
static void test_attach_garbage(void);
static void test_empty(void);
static void test_hash(void);
static void test_find(void);
static void test_strings(void);
static void test_dump(void);
static lrt_str_t string(const char *s);
static unsigned same(lrt_str_t a, lrt_str_t b);


int
main(void)
{
    tap_begin();

    run(test_size_and_capacity);
    run(test_per_peer);
    run(test_layout);
    run(test_attach);
    run(test_attach_garbage);
    run(test_empty);
    run(test_hash);
    run(test_find);
    run(test_strings);
    run(test_dump);

    return tap_end();
}


static void
test_size_and_capacity(void)
{
    size_t    size;
    uint32_t  i, capacity, rows;

    /* capacity is the largest number whose size still fits */

    for (i = 0; i < tap_times(20000); i++) {

        capacity = (i < 300) ? i + LRT_MIN_CAPACITY
                             : tap_between(LRT_MIN_CAPACITY, 1 + (i << 4));
        rows = tap_between(1, tap_once_in(2) ? LRT_MIN_ROWS : LRT_MAX_ROWS);

        size = lrt_table_size(capacity, rows);

        if (!check(lrt_table_capacity(size, rows) == capacity,
                   "capacity %u, %u rows", capacity, rows)
            || !check(lrt_table_capacity(size - 1, rows) == capacity - 1,
                      "a byte less than capacity %u, %u rows", capacity, rows))
        {
            return;
        }
    }

    ok(1, "size and capacity are inverse, to the byte");

    is_u64(lrt_table_capacity(0, 64), 0, "no memory, no server");
    is_u64(lrt_table_capacity(SIZE_MAX, 64), LRT_MAX_CAPACITY,
           "the largest capacity");
}


static void
test_per_peer(void)
{
    size_t        size, peers;
    uint32_t      capacity;
    lrt_table_t   t;
    uint64_t     *block;

    /* the budget of a server, without ledger and hash indexes */

    for (capacity = 16; capacity <= 16384; capacity *= 2) {

        size = lrt_table_size(capacity, 1);

        block = aligned_alloc(LRT_CACHE_LINE, size);
        lrt_table_format(block, capacity, 1);

        if (!check(lrt_table_attach(&t, block, size) == LRT_OK, "attach")) {
            return;
        }

        peers = size - sizeof(lrt_head_t) - t.stride * sizeof(uint64_t)
                - 4 * t.index_size * sizeof(uint32_t);

        if (!check(peers <= (size_t) capacity * PER_PEER, "%u servers take "
                   "%u bytes each", capacity, (unsigned) (peers / capacity)))
        {
            return;
        }

        free(block);
    }

    ok(1, "at most %d bytes a server", PER_PEER);

    tap_note("%u bytes a server, and in a ledger of %d rows %u more",
             (unsigned) (peers / (capacity / 2)), LRT_MIN_ROWS,
             (unsigned) (LRT_MIN_ROWS * sizeof(uint64_t)));
}


static void
test_layout(void)
{
    char         *base, *end;
    size_t        size;
    uint32_t      i, capacity;
    lrt_table_t   t;

    /* arrays follow each other in the block, aligned to cache lines */

    for (capacity = LRT_MIN_CAPACITY; capacity < 300; capacity++) {

        size = lrt_table_size(capacity, 3);
        base = aligned_alloc(LRT_CACHE_LINE, size);

        lrt_table_format(base, capacity, 3);

        if (!check(lrt_table_attach(&t, base, size) == LRT_OK, "attach")) {
            return;
        }

        end = (char *) (t.head + 1);

#define follows(member, count)                                                \
        if (!check((char *) t.member >= end                                   \
                   && (char *) t.member - end < LRT_CACHE_LINE                \
                   && ((uintptr_t) t.member & (LRT_CACHE_LINE - 1)) == 0,     \
                   "place of " #member ", capacity %u", capacity))            \
        {                                                                     \
            return;                                                           \
        }                                                                     \
                                                                              \
        end = (char *) (t.member + (count))

        follows(hot, capacity);
        follows(cost, capacity);

        for (i = 0; i < LRT_TIERS; i++) {
            follows(key[i], capacity);
            follows(low[i], lrt_blocks(capacity));
        }

        for (i = 0; i < 2; i++) {
            follows(entry[i], capacity);
            follows(order[i], capacity);
            follows(reach[i], capacity);
            follows(guide[i], capacity);
            follows(index[i], t.index_size);
            follows(sids[i], t.index_size);
        }

        follows(health, capacity);
        follows(detail, capacity);
        follows(gone, capacity);
        follows(cell, 3 * t.stride);

#undef follows

        if (!check(end <= base + size, "end of the block")
            || !check(t.index_size >= 2 * capacity
                      && (t.index_size & (t.index_size - 1)) == 0,
                      "size of the index"))
        {
            return;
        }

        free(base);
    }

    ok(1, "capacities %d .. 299", LRT_MIN_CAPACITY);
}


static void
test_attach(void)
{
    void         *block, *longer;
    size_t        size;
    lrt_table_t   t;

    size = lrt_table_size(100, 64);

    block = aligned_alloc(LRT_CACHE_LINE, size);
    lrt_table_format(block, 100, 64);

    /* a table is found in its block, or in a longer one */

    is_u64(lrt_table_attach(&t, block, size), LRT_OK, "a formatted block");
    is_u64(t.capacity, 100, "capacity");
    is_u64(t.rows, 64, "rows");
    ok(t.head == block, "head");

    is_u64(lrt_table_attach(&t, block, size + 1000), LRT_OK, "a longer block");

    /* not if the block ends too soon */

    is_u64(lrt_table_attach(&t, block, size - 1), LRT_INVALID,
           "a byte too short");
    is_u64(lrt_table_attach(&t, block, 10), LRT_INVALID, "no room for a head");

    /* it can be moved: nothing in it is a pointer */

    longer = aligned_alloc(LRT_CACHE_LINE, size);
    memcpy(longer, block, size);
    free(block);

    is_u64(lrt_table_attach(&t, longer, size), LRT_OK, "at another address");
    ok(lrt_table_validate(&t, NULL, 0, 0) == NULL, "valid there");

    free(longer);
}


static void
test_attach_garbage(void)
{
    size_t         size;
    uint32_t       i, j;
    uint64_t       word;
    lrt_head_t    *head;
    lrt_table_t    t;

    size = lrt_table_size(16, 64);
    head = aligned_alloc(LRT_CACHE_LINE, size);

    /* random bytes are no table, nor are zeroes */

    memset(head, 0, size);
    is_u64(lrt_table_attach(&t, head, size), LRT_INVALID, "zeroes");

    for (i = 0; i < 100; i++) {
        for (j = 0; j < sizeof(lrt_head_t); j++) {
            ((uint8_t *) head)[j] = (uint8_t) tap_random();
        }

        if (i & 1) {
            head->magic = LRT_TABLE_MAGIC;
            head->version = LRT_TABLE_VERSION;
        }

        if (!check(lrt_table_attach(&t, head, size) == LRT_INVALID,
                   "random bytes"))
        {
            return;
        }
    }

    ok(1, "random bytes, with and without the magic number");

    /* each word that describes the layout must fit to the others */

    lrt_table_format(head, 16, 64);

#define refuses(member, value)                                                \
    word = head->member;                                                      \
    head->member = (value);                                                   \
    is_u64(lrt_table_attach(&t, head, size), LRT_INVALID,                     \
           #member " is " #value);                                            \
    head->member = word

    refuses(magic, 0);
    refuses(magic, LRT_TABLE_MAGIC + 1);
    refuses(version, LRT_TABLE_VERSION + 1);
    refuses(version, 0);
    refuses(capacity, 15);
    refuses(capacity, 17);
    refuses(capacity, UINT32_MAX);
    refuses(rows, 63);
    refuses(rows, 65);
    refuses(rows, UINT32_MAX);
    refuses(size, size - 64);
    refuses(size, size + 64);
    refuses(size, UINT64_MAX);

#undef refuses

    is_u64(lrt_table_attach(&t, head, size), LRT_OK, "as it was");

    free(head);
}


static void
test_empty(void)
{
    fx_t        fx;
    lrt_pick_t  pick;

    fx_open(&fx, 64);

    /* a new table is valid, has no server, and says so */

    ok(fx_quiet(&fx) == NULL, "valid");
    is_u64(lrt_table_generation(&fx.table), 0, "generation");
    is_u64(lrt_change_room(&fx.table), 64, "room");
    is_u64(lrt_tries(&fx.table), 0, "tries");
    is_u64(fx_pick(&fx, &pick), LRT_BUSY, "nobody takes a request");

    fx_snapshot(&fx);
    is_u64(fx.snap.n, 0, "servers in a snapshot");
    is_u64(fx.snap.room, 64, "room in a snapshot");

    fx_close(&fx);
}


static void
test_hash(void)
{
    uint32_t     i, n, low[256];
    uint64_t     hash;
    fx_server_t  s;

    /* tiers are different identities, and addresses spread over the index */

    memset(low, 0, sizeof(low));
    n = 100000;

    for (i = 0; i < n; i++) {
        fx_server(&s, i, 0);
        hash = lrt_table_hash(s.sockaddr, sizeof(s.sockaddr), 0);

        if (!check(hash != 0, "hash of %s", s.name)
            || !check(hash != lrt_table_hash(s.sockaddr, sizeof(s.sockaddr),
                                             1),
                      "tiers of %s", s.name))
        {
            return;
        }

        low[hash & 255]++;
    }

    for (i = 0; i < 256; i++) {
        if (!check(low[i] > n / 512 && low[i] < n / 128,
                   "%u of %u hashes end with %u", low[i], n, i))
        {
            return;
        }
    }

    ok(1, "%u addresses", n);
}


static void
test_find(void)
{
    fx_t          fx;
    uint32_t      i, slot;
    uint64_t      ident[500], generation;
    lrt_params_t  params;
    fx_server_t   s;

    fx_open(&fx, 500);

    for (i = 0; i < 500; i++) {
        params = fx_params(1);
        params.backup = i & 1;
        ident[i] = fx_add(&fx, i, &params);
    }

    for (i = 0; i < 500; i += 3) {
        (void) fx_remove(&fx, ident[i]);
    }

    generation = lrt_table_generation(&fx.table);

    /* servers are found by identity and by id, removed ones are not */

    for (i = 0; i < 500; i++) {
        fx_server(&s, i, i & 1);

        slot = lrt_table_find(&fx.table, generation & 1, &s.server,
                              lrt_table_hash(s.sockaddr, sizeof(s.sockaddr),
                                             i & 1));

        if (!check((slot == LRT_NONE) == (i % 3 == 0), "server %u", i)
            || !check(slot == LRT_NONE
                      || fx_entry(&fx, slot)->ident == ident[i],
                      "ident of server %u", i)
            || !check(lrt_table_find_ident(&fx.table, generation, ident[i])
                      == slot, "server %u by its ident", i))
        {
            return;
        }

        fx_server(&s, i, !(i & 1));

        if (!check(lrt_table_find(&fx.table, generation & 1, &s.server,
                                  lrt_table_hash(s.sockaddr,
                                                 sizeof(s.sockaddr),
                                                 !(i & 1)))
                   == LRT_NONE, "server %u in the other tier", i))
        {
            return;
        }
    }

    ok(1, "500 servers, a third of them removed");

    is_u64(lrt_table_find_ident(&fx.table, generation, 0), LRT_NONE,
           "0 is nobody's ident");

    fx_close(&fx);
}


static void
test_strings(void)
{
    lrt_server_t  s;
    lrt_detail_t  d;
    char          text[LRT_DATA_LEN + 2];

    memset(text, 'x', sizeof(text));
    memset(&s, 0, sizeof(lrt_server_t));
    memset(&d, 0, sizeof(lrt_detail_t));

    s.sockaddr = "";

    /* three strings in one place */

    s.name = string("127.0.0.1:80");
    s.server = string("example.com:80");
    s.route = string("r1");

    ok(lrt_table_fits(&s), "three strings fit");
    lrt_table_set_data(&d, &s);

    ok(same(lrt_table_name(&d), s.name), "name");
    ok(same(lrt_table_server(&d), s.server), "server");
    ok(same(lrt_table_route(&d), s.route), "route");

    /* a server text that is the name, or absent, takes no room */

    s.server = string("127.0.0.1:80");
    lrt_table_set_data(&d, &s);

    is_u64(d.server_len, 0, "room for a server text that is the name");
    ok(same(lrt_table_server(&d), s.name), "server is the name");
    ok(same(lrt_table_route(&d), s.route), "route behind the name");

    s.server = string("");
    s.route = string("");
    lrt_table_set_data(&d, &s);

    ok(same(lrt_table_server(&d), s.name), "no server text");
    is_u64(lrt_table_route(&d).len, 0, "no route");

    /* to the byte */

    s.server.data = text;
    s.server.len = LRT_DATA_LEN - s.name.len;
    ok(lrt_table_fits(&s), "strings that just fit");

    lrt_table_set_data(&d, &s);
    ok(same(lrt_table_server(&d), s.server), "and are kept");

    s.server.len++;
    ok(!lrt_table_fits(&s), "a byte too long");

    s.server = string("");
    s.route.data = text;
    s.route.len = LRT_ROUTE_LEN;
    ok(lrt_table_fits(&s), "the longest route");

    s.route.len++;
    ok(!lrt_table_fits(&s), "a longer one");

    s.route.len = 0;
    s.name.data = text;
    s.name.len = LRT_DATA_LEN;
    s.server = s.name;
    ok(lrt_table_fits(&s), "the longest name, twice");

    s.name.len = SIZE_MAX - 4;
    s.server = string("12345678");
    ok(!lrt_table_fits(&s), "lengths whose sum overflows");
}


static void
test_dump(void)
{
    char     *p, text[4096];
    fx_t      fx;
    size_t    size;
    lrt_params_t  params;

    fx_open(&fx, 16);

    params = fx_params(7);
    (void) fx_add(&fx, 1, &params);
    (void) fx_add(&fx, 2, &params);

    p = lrt_table_dump(&fx.table, text, text + sizeof(text) - 1);
    *p = '\0';

    /* a line for the table and one a server */

    ok(strstr(text, "generation=2 method=round_robin_ext") == text,
       "what is in force");
    ok(strstr(text, "\nslot=0 id=0 name=127.0.0.1:80 weight=7 ") != NULL,
       "the first server");
    ok(strstr(text, "\nslot=1 id=1 name=127.0.0.2:80 weight=7 ") != NULL,
       "the second server");

    /* it ends where the buffer ends */

    for (size = 0; size < 300; size++) {
        memset(text, '!', sizeof(text));
        p = lrt_table_dump(&fx.table, text, text + size);

        if (!check(p <= text + size && text[size] == '!', "%u bytes",
                   (unsigned) size))
        {
            return;
        }
    }

    ok(1, "short buffers");

    fx_close(&fx);
}


static lrt_str_t
string(const char *s)
{
    lrt_str_t  str;

    str.data = s;
    str.len = strlen(s);

    return str;
}


static unsigned
same(lrt_str_t a, lrt_str_t b)
{
    return a.len == b.len && memcmp(a.data, b.data, a.len) == 0;
}
