
/*
 * Copyright (C) the ngx_http_lrt_upstream_module authors
 */


#include "world.h"

#include <jansson.h>

#include "ngx_http_lrt_json.h"
#include "lrt_learned.h"


typedef struct {
    ngx_pool_t                  *pool;
    ngx_http_lrt_state_doc_t     doc;
    lrt_settings_t               settings;
} world_doc_t;


static void world_module(ngx_module_t *module, ngx_uint_t index);
static ngx_int_t world_then(ngx_http_lrt_api_t *api);
static ngx_int_t world_read(world_doc_t *d, const void *text, size_t len);
static const char *world_reason(const ngx_str_t *why, const u_char *text,
    size_t len);
static const char *world_sound(const world_doc_t *d);
static int world_compare(const void *one, const void *two);
static const char *world_again(world_doc_t *d);
static const char *world_fill(const world_doc_t *d);
static ngx_str_t world_print(ngx_pool_t *pool, ngx_http_lrt_print_pt print);
static ngx_int_t world_teach(const void *text, size_t len, ngx_pool_t *pool,
    ngx_str_t *why);
static const char *world_taught(ngx_pool_t *pool);
static void world_known(lrt_learned_server_t *known);
static unsigned world_same(const lrt_learned_server_t *one,
    const lrt_learned_server_t *two);
static unsigned world_refuses(void);


ngx_log_t                             world_log;
ngx_cycle_t                           world_cycle;
ngx_http_lrt_main_conf_t              world_main;
ngx_http_lrt_srv_conf_t               world_group;
ngx_uint_t                            world_asked;
ngx_uint_t                            world_refused;
uint32_t                              world_servers;
uint32_t                              world_weights[WORLD_CAPACITY];

static ngx_http_upstream_main_conf_t  world_upstreams;
static ngx_http_upstream_srv_conf_t   world_upstream;
static ngx_http_lrt_state_t           world_file;
static ngx_shm_zone_t                 world_zone;
static u_char                         world_slabs[16 * 4096]
                                                __attribute__((aligned(4096)));
static void                          *world_mains[256];
static void                          *world_block;
static size_t                         world_size;
static ngx_uint_t                     world_fails_at;
static ngx_uint_t                     world_fails_all;


void *__real_malloc(size_t size);
void *__wrap_malloc(size_t size);
void *__real_calloc(size_t n, size_t size);
void *__wrap_calloc(size_t n, size_t size);
int __real_posix_memalign(void **p, size_t align, size_t size);
int __wrap_posix_memalign(void **p, size_t align, size_t size);


static unsigned
world_refuses(void)
{
    world_asked++;

    if (world_fails_at
        && (world_asked == world_fails_at
            || (world_fails_all && world_asked > world_fails_at)))
    {
        world_refused++;
        errno = ENOMEM;
        return 1;
    }

    return 0;
}


void *
__wrap_malloc(size_t size)
{
    return world_refuses() ? NULL : __real_malloc(size);
}


void *
__wrap_calloc(size_t n, size_t size)
{
    return world_refuses() ? NULL : __real_calloc(n, size);
}


int
__wrap_posix_memalign(void **p, size_t align, size_t size)
{
    return world_refuses() ? ENOMEM : __real_posix_memalign(p, align, size);
}


void
world_refuse(ngx_uint_t n, ngx_uint_t all)
{
    world_asked = 0;
    world_refused = 0;
    world_fails_at = n;
    world_fails_all = all;
}


void
world_begin(void)
{
    ngx_array_t                   *groups;
    ngx_slab_pool_t               *slabs;
    ngx_http_lrt_srv_conf_t      **group;

    ngx_pagesize = 4096;
    ngx_pagesize_shift = 12;
    ngx_cacheline_size = 64;
    ngx_pid = 1;
    ngx_time_init();

    world_cycle.log = &world_log;
    world_cycle.pool = world_pool();
    ngx_cycle = &world_cycle;

    /* as the library has it, but counted */

    json_set_alloc_funcs(__wrap_malloc, free);
    ngx_http_lrt_json_init();

    world_module(&ngx_http_core_module, 0);
    world_module(&ngx_http_upstream_module, 1);
    world_module(&ngx_http_lrt_upstream_module, 2);
    world_module(&ngx_http_lrt_filter_module, 3);

    groups = &world_main.groups;
    ngx_array_init(groups, world_cycle.pool, 1, sizeof(void *));
    ngx_array_init(&world_main.trusts, world_cycle.pool, 1, sizeof(void *));
    ngx_array_init(&world_main.matches, world_cycle.pool, 1, sizeof(void *));
    ngx_array_init(&world_upstreams.upstreams, world_cycle.pool, 1,
                   sizeof(void *));

    group = ngx_array_push(groups);
    *group = &world_group;

    ngx_str_set(&world_upstream.host, "u");
    world_upstream.srv_conf = world_mains;
    world_group.main = &world_main;
    world_group.upstream = &world_upstream;
    world_group.state = &world_file;
    world_group.shm_zone = &world_zone;
    ngx_str_set(&world_group.zone_name, "z");
    ngx_str_set(&world_zone.shm.name, "lrt:u");
    world_zone.shm.addr = world_slabs;
    ngx_str_set(&world_file.path, "u.json");

    slabs = (ngx_slab_pool_t *) world_slabs;
    slabs->addr = world_slabs;
    slabs->end = world_slabs + sizeof(world_slabs);
    slabs->min_shift = 3;
    ngx_slab_sizes_init();
    ngx_slab_init(slabs);

    world_mains[1] = &world_upstreams;
    world_mains[2] = &world_main;

    world_size = lrt_table_size(WORLD_CAPACITY, LRT_MIN_ROWS);

    if (posix_memalign(&world_block, 64, world_size) != 0) {
        abort();
    }

    world_reset();
}


static void
world_module(ngx_module_t *module, ngx_uint_t index)
{
    module->ctx_index = index;
}


void
world_reset(void)
{
    lrt_table_format(world_block, WORLD_CAPACITY, LRT_MIN_ROWS);

    if (lrt_table_attach(&world_group.table, world_block, world_size)
        != LRT_OK)
    {
        abort();
    }
}


void
world_end(void)
{
    free(world_block);
    ngx_destroy_pool(world_cycle.pool);
}


ngx_pool_t *
world_pool(void)
{
    return ngx_create_pool(1024, &world_log);
}


void
world_request(world_request_t *w, ngx_pool_t *pool, ngx_uint_t method,
    const void *uri, size_t len)
{
    ngx_http_request_t  *r;

    static struct sockaddr_in  address = { .sin_family = AF_INET };

    ngx_memzero(w, sizeof(world_request_t));
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);

    r = &w->request;

    r->pool = pool;
    r->connection = &w->connection;
    r->main = r;
    r->method = method;
    r->uri.data = (u_char *) uri;
    r->uri.len = len;
    r->main_conf = world_mains;
    r->srv_conf = w->conf;
    r->loc_conf = w->conf;
    r->ctx = w->conf + 64;
    r->headers_in.content_length_n = -1;

    w->connection.log = &world_log;
    w->connection.local_sockaddr = (struct sockaddr *) &address;
    w->connection.local_socklen = sizeof(address);
    w->conf[0] = &w->location;
    w->conf[2] = &w->own;
    ngx_str_set(&w->location.name, "/api");
    w->own.write = 1;

    w->api.request = r;
    w->api.main = &world_main;
    w->api.conf = &w->own;
    w->api.group = &world_group;
    w->api.status = NGX_HTTP_OK;

    ngx_http_lrt_out_init(&w->api.out, pool);
}


ngx_int_t
world_body(world_request_t *w, const void *text, size_t len,
    const uint8_t *sizes, ngx_uint_t n)
{
    size_t         at, size;
    ngx_buf_t     *b;
    ngx_int_t      rc;
    ngx_uint_t     i;
    ngx_chain_t   *cl, **next;
    ngx_pool_t    *pool;

    pool = w->request.pool;
    next = &w->body.bufs;

    for (at = 0, i = 0; at < len; at += size, i++) {
        size = n ? sizes[i % n] + (size_t) 1 : len;
        size = ngx_min(size, len - at);

        cl = ngx_alloc_chain_link(pool);
        b = cl ? ngx_create_temp_buf(pool, size) : NULL;

        if (b == NULL) {
            return NGX_ERROR;
        }

        b->last = ngx_cpymem(b->pos, (u_char *) text + at, size);

        cl->buf = b;
        cl->next = NULL;
        *next = cl;
        next = &cl->next;
    }

    w->request.request_body = &w->body;
    w->request.headers_in.content_length_n = len;

    rc = ngx_http_lrt_api_read_body(&w->api, world_then);

    while (rc == NGX_AGAIN) {
        rc = w->api.step(&w->api);
    }

    return rc;
}


static ngx_int_t
world_then(ngx_http_lrt_api_t *api)
{
    (void) api;

    return NGX_OK;
}


const char *
world_state(const void *text, size_t len, ngx_int_t *rc, char *why)
{
    uint32_t      i;
    const char   *wrong;
    world_doc_t   d;

    *why = '\0';
    *rc = world_read(&d, text, len);
    world_servers = d.doc.n;

    if (d.pool == NULL) {
        return *rc == NGX_ERROR ? NULL : "read without a pool";
    }

    (void) snprintf(why, WORLD_WHY, "%.*s", (int) d.doc.why.len,
                    (char *) d.doc.why.data);

    switch (*rc) {

    case NGX_OK:
        for (i = 0; i < d.doc.n && i < WORLD_CAPACITY; i++) {
            world_weights[i] = d.doc.server[i].params.weight;
        }

        wrong = world_sound(&d);

        if (wrong == NULL && d.doc.n <= WORLD_CAPACITY) {
            wrong = world_again(&d);
        }

        break;

    case NGX_DECLINED:
        wrong = world_reason(&d.doc.why, text, len);
        break;

    default:
        wrong = world_refused ? NULL : "no memory, but nothing was refused";
        break;
    }

    ngx_destroy_pool(d.pool);

    return wrong;
}


static ngx_int_t
world_read(world_doc_t *d, const void *text, size_t len)
{
    u_char     *copy;
    ngx_int_t   rc;
    ngx_str_t   s;

    ngx_memzero(d, sizeof(world_doc_t));

    d->pool = world_pool();

    /* as it is read from the file, where no null ends it */

    copy = d->pool ? malloc(len ? len : 1) : NULL;

    if (copy == NULL) {
        return NGX_ERROR;
    }

    if (len) {
        ngx_memcpy(copy, text, len);
    }

    s.data = copy;
    s.len = len;
    d->doc.pool = d->pool;

    rc = ngx_http_lrt_state_parse(&d->doc, &s);

    free(copy);

    if (rc == NGX_OK) {
        rc = ngx_http_lrt_state_settings(&world_group, &d->doc, &d->settings);
    }

    return rc;
}


/* "line N: ", of a line that is there, and nothing that breaks a log */

static const char *
world_reason(const ngx_str_t *why, const u_char *text, size_t len)
{
    size_t        i;
    ngx_uint_t    lines;
    const char   *p;
    unsigned long line;
    char         *end;
    char          head[32];

    for (i = 0; i < why->len; i++) {
        if (why->data[i] < 0x20 || why->data[i] == 0x7f) {
            return "a control character in a reason";
        }
    }

    for (lines = 1, i = 0; i < len; i++) {
        lines += (text[i] == '\n');
    }

    (void) snprintf(head, sizeof(head), "%.*s", (int) why->len,
                    (char *) why->data);

    if (strncmp(head, "line ", 5) != 0) {
        return "a reason without a line";
    }

    p = head + 5;
    line = strtoul(p, &end, 10);

    if (end == p || strncmp(end, ": ", 2) != 0 || line < 1 || line > lines) {
        return "a line that is not there";
    }

    return NULL;
}


static const char *
world_sound(const world_doc_t *d)
{
    uint32_t                         i;
    uint64_t                        *ident;
    const char                      *wrong;
    const lrt_params_t              *p;
    const ngx_http_lrt_state_doc_t  *doc;

    doc = &d->doc;

    if (!lrt_settings_valid(&d->settings)) {
        return "settings out of their range";
    }

    ident = __real_calloc(doc->n + 1, sizeof(uint64_t));
    wrong = NULL;

    for (i = 0; i < doc->n; i++) {
        p = &doc->server[i].params;
        ident[i] = doc->server[i].ident;

        if (p->weight < 1 || p->weight > LRT_MAX_WEIGHT
            || p->max_conns > LRT_MAX_CONNS || p->max_fails > LRT_MAX_FAILS
            || p->fail_timeout > LRT_MAX_TIME || p->forced >= LRT_FORCED)
        {
            wrong = "a parameter out of its range";
        }

        if (ident[i] == 0 || ident[i] >= doc->next_ident) {
            wrong = "an id that may be given again";
        }

        if (doc->server[i].socklen == 0 || !lrt_table_fits(&doc->server[i])) {
            wrong = "a server without an address";
        }
    }

    qsort(ident, doc->n, sizeof(uint64_t), world_compare);

    for (i = 1; i < doc->n; i++) {
        if (ident[i] == ident[i - 1]) {
            wrong = "an id twice";
        }
    }

    free(ident);

    return wrong;
}


static int
world_compare(const void *one, const void *two)
{
    const uint64_t  *a = one, *b = two;

    return (*a > *b) - (*a < *b);
}


/* what the module writes of it says the same, and reads the same */

static const char *
world_again(world_doc_t *d)
{
    ngx_str_t     text, twice;
    const char   *wrong;
    world_doc_t   again;

    wrong = world_fill(d);

    if (wrong) {
        return wrong;
    }

    text = world_print(d->pool, ngx_http_lrt_state_print);

    if (text.len == 0) {
        return world_refused ? NULL : "it is not written";
    }

    if (world_read(&again, text.data, text.len) != NGX_OK) {
        wrong = "what was written is not read";

    } else if (again.doc.n != d->doc.n
               || again.doc.next_ident != d->doc.next_ident)
    {
        wrong = "what was written says something else";

    } else {
        wrong = world_fill(&again);
        twice = world_print(again.pool, ngx_http_lrt_state_print);

        if (wrong == NULL
            && (twice.len != text.len
                || ngx_memcmp(twice.data, text.data, text.len) != 0))
        {
            wrong = "what was written is written in another way";
        }
    }

    if (again.pool) {
        ngx_destroy_pool(again.pool);
    }

    return world_refused ? NULL : wrong;
}


static const char *
world_fill(const world_doc_t *d)
{
    lrt_rc_t       rc;
    lrt_conf_t    *conf;
    lrt_change_t  *changes;

    world_reset();

    conf = &world_group.conf;
    ngx_memzero(conf, sizeof(lrt_conf_t));

    conf->server = d->doc.server;
    conf->n = d->doc.n;
    conf->policy = d->doc.policy;
    conf->settings = d->settings;
    conf->number = 1;

    for (conf->index_size = 2; conf->index_size < 2 * conf->n; /* void */) {
        conf->index_size *= 2;
    }

    conf->index = __real_calloc(conf->index_size, sizeof(uint32_t));
    lrt_merge_index(conf);

    changes = __real_calloc(lrt_merge_max(&world_group.table, conf),
                            sizeof(lrt_change_t));

    rc = lrt_merge(&world_group.table, conf, changes, 1);

    free(changes);
    free(conf->index);

    world_file.next_ident = d->doc.next_ident;
    ngx_http_lrt_state_filled(&world_group);

    return rc == LRT_OK ? NULL : "a table does not take it";
}


static ngx_str_t
world_print(ngx_pool_t *pool, ngx_http_lrt_print_pt print)
{
    u_char              *p;
    ngx_str_t            text;
    ngx_chain_t         *cl;
    ngx_http_lrt_out_t   out;

    ngx_str_null(&text);
    ngx_http_lrt_out_init(&out, pool);

    if (print(&world_group, &out) == 0) {
        return text;
    }

    p = ngx_pnalloc(pool, out.size);

    if (p == NULL) {
        return text;
    }

    text.data = p;

    for (cl = out.chain; cl; cl = cl->next) {
        p = ngx_cpymem(p, cl->buf->pos, cl->buf->last - cl->buf->pos);
    }

    text.len = p - text.data;

    return text;
}


const char *
world_learned(const void *text, size_t len, ngx_int_t *rc, char *why)
{
    void        *before;
    ngx_str_t    reason;
    ngx_pool_t  *pool;
    const char  *wrong;

    *why = '\0';
    *rc = NGX_ERROR;
    pool = world_pool();
    before = malloc(world_size);

    if (pool == NULL || before == NULL) {
        abort();
    }

    ngx_str_null(&reason);
    *rc = world_teach(NULL, 0, pool, &reason);
    ngx_memcpy(before, world_block, world_size);

    *rc = world_teach(text, len, pool, &reason);

    (void) snprintf(why, WORLD_WHY, "%.*s", (int) reason.len,
                    (char *) reason.data);

    switch (*rc) {

    case NGX_OK:
        wrong = world_taught(pool);
        break;

    case NGX_DECLINED:
        wrong = world_reason(&reason, text, len);
        break;

    default:
        wrong = world_refused ? NULL : "no memory, but nothing was refused";
        break;
    }

    if (*rc != NGX_OK && ngx_memcmp(before, world_block, world_size) != 0) {
        wrong = "a part of what was refused is in the table";
    }

    free(before);
    ngx_destroy_pool(pool);

    return wrong;
}


/* into a new table; the text as it is read from the file */

static ngx_int_t
world_teach(const void *text, size_t len, ngx_pool_t *pool, ngx_str_t *why)
{
    u_char       *copy;
    uint64_t      age;
    ngx_int_t     rc;
    ngx_str_t     s;
    world_doc_t   d;

    static const char  group[] =
        "{\"method\":\"least_time header\",\"servers\":[\"127.0.0.1:8081\","
        "\"127.0.0.1:8082\",{\"server\":\"[2001:db8::17]:80\","
        "\"backup\":true}]}";

    if (world_read(&d, group, sizeof(group) - 1) != NGX_OK
        || world_fill(&d) != NULL)
    {
        abort();
    }

    ngx_destroy_pool(d.pool);

    if (text == NULL) {
        return NGX_OK;
    }

    copy = __real_malloc(len ? len : 1);
    ngx_memcpy(copy, text, len);

    s.data = copy;
    s.len = len;

    rc = ngx_http_lrt_learned_read(&world_group, pool, &s, &world_servers,
                                   &age, why);
    free(copy);

    return rc;
}


/* it can be written, and read as the same */

static const char *
world_taught(ngx_pool_t *pool)
{
    uint32_t               i;
    ngx_str_t              written, why;
    lrt_learned_group_t    group, again;
    lrt_learned_server_t   one[WORLD_CAPACITY], two[WORLD_CAPACITY];

    ngx_memzero(&group, sizeof(group));
    ngx_memzero(&again, sizeof(again));

    world_known(one);
    lrt_learned_group(&world_group.table, &group);
    written = world_print(pool, ngx_http_lrt_learned_print);

    if (written.len == 0) {
        return world_refused ? NULL : "it is not written";
    }

    if (world_teach(written.data, written.len, pool, &why) != NGX_OK) {
        return world_refused ? NULL : "what was written is not read";
    }

    world_known(two);
    lrt_learned_group(&world_group.table, &again);

    if (ngx_memcmp(&group, &again, sizeof(group)) != 0) {
        return "the group is another one when it is read again";
    }

    for (i = 0; i < WORLD_CAPACITY; i++) {
        if (!world_same(&one[i], &two[i])) {
            return "a server is another one when it is read again";
        }
    }

    return NULL;
}


static void
world_known(lrt_learned_server_t *known)
{
    uint32_t  i;

    for (i = 0; i < WORLD_CAPACITY; i++) {
        ngx_memzero(&known[i], sizeof(lrt_learned_server_t));
        (void) lrt_learned_server(&world_group.table, i, &known[i],
                                  ngx_http_lrt_now() / 1000);
    }
}


/* time goes on, and some of them become too old */

static unsigned
world_same(const lrt_learned_server_t *one, const lrt_learned_server_t *two)
{
    lrt_learned_server_t  s;

    if (one->age + 60000 > LRT_LEARNED_OLD) {
        return 1;
    }

    s = *one;

    if (two->age >= one->age && two->age < one->age + 60000) {
        s.age = two->age;
    }

    return ngx_memcmp(&s, two, sizeof(s)) == 0;
}
