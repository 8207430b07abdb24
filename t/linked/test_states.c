/* sources: ngx_http_lrt_json.c ngx_http_lrt_state_text.c ngx_http_lrt_out.c ngx_http_lrt_spec.c ngx_http_lrt_spec_group.c ngx_http_lrt_policy.c ngx_http_lrt_disk.c lrt_split.c */

/*
 * Copyright (C) the ngx_http_lrt_upstream_module authors
 *
 * State files that were damaged: cut off at each byte, with bits that flipped,
 * with pieces that were lost, moved or repeated, of other versions, too large.
 * Each is refused with a line that it has, or taken as a whole: what is in
 * force then is what another parser finds in it.
 *
 * LRT_LONG=1: 100,000 of them, otherwise 10,000, or with LRT_QUICK=1 a tenth.
 */


#include "world.h"

#include <jansson.h>

#include "tap.h"


#define TEXT                 4096


static const char  full[] =
    "{\n"
    "  \"version\":1,\n"
    "  \"upstream\":\"u\",\n"
    "  \"next_id\":70,\n"
    "  \"method\":\"least_time last_byte inflight\",\n"
    "  \"slow_start\":\"30s\",\n"
    "  \"panic\":\"12.5%\",\n"
    "  \"health_checks\":[\n"
    "    {\"type\":\"http\",\"uri\":\"/health\",\"interval\":\"2s\","
        "\"timeout\":\"1s\",\"jitter\":\"10%\",\"fails\":3,\"passes\":2}\n"
    "  ],\n"
    "  \"servers\":[\n"
    "    {\"id\":0,\"server\":\"127.0.0.1:8081\",\"weight\":2,"
        "\"max_conns\":30,\"max_fails\":1,\"fail_timeout\":\"10s\","
        "\"slow_start\":\"0s\",\"route\":\"a\",\"backup\":false,"
        "\"down\":false},\n"
    "    {\"id\":24,\"server\":\"[2001:db8::17]:8082\",\"weight\":1,"
        "\"backup\":true,\"drain\":true,\"lrt\":{\"health\":\"down\"}}\n"
    "  ]\n"
    "}\n";

static const char  people[] =
    "{\"servers\":[\"127.0.0.1:8081\",{\"host\":\"127.0.0.1\",\"port\":8082},\n"
    "\"http://127.0.0.3/\",\"unix:/run/a.sock\"],\"algorithm\":\"hashing\",\n"
    "\"health_check_url\":\"/health\",\"health_check_interval\":10}";

static const char  *good[] = { full, people };

static ngx_uint_t  taken, refused;


static void whole(void);
static void cut_off(void);
static void bits(void);
static void versions(void);
static void damaged(void);
static void too_large(void);
static void large(void);
static unsigned is_right(const void *text, size_t len, const char *what);
static const char *found_by_another(const void *text, size_t len);
static size_t damage(char *text, size_t len);


int
main(void)
{
    tap_begin();
    world_begin();

    /* a table for each, the file of 64 MiB, and a busy machine */

    (void) alarm(1200);

    run(whole);
    run(cut_off);
    run(bits);
    run(versions);
    run(damaged);
    run(too_large);
    run(large);

    world_end();

    return tap_end();
}


static void
whole(void)
{
    unsigned  i;

    for (i = 0; i < 2; i++) {
        taken = 0;
        ok(is_right(good[i], strlen(good[i]), "a good one") && taken == 1,
           "a good one is taken");
    }
}


static void
cut_off(void)
{
    size_t    n, last;
    unsigned  i;

    for (i = 0; i < 2; i++) {

        /* without the end of its last line it is whole */

        last = strlen(good[i]) - (i == 0);
        taken = refused = 0;

        for (n = 0; n < last; n++) {
            if (!is_right(good[i], n, "cut off")) {
                return;
            }
        }

        is_u64(refused, last, "refused wherever it ends");
    }
}


static void
bits(void)
{
    char      text[TEXT];
    size_t    n, len;
    unsigned  i;

    taken = refused = 0;

    for (i = 0; i < 2; i++) {
        len = strlen(good[i]);

        for (n = 0; n < 8 * len; n++) {
            memcpy(text, good[i], len);
            text[n / 8] ^= (char) (1 << n % 8);

            if (!is_right(text, len, "a bit")) {
                return;
            }
        }
    }

    ok(taken && refused, "%lu refused, %lu are another file", refused, taken);
}


static void
versions(void)
{
    char        text[TEXT];
    int         len;
    unsigned    i;
    const char  *version;

    static const char  *others[] = {
        "0", "2", "3", "10", "4294967295", "4294967296", "4294967297",
        "18446744073709551617", "-1", "1.0", "1e0", "\"1\"", "null", "true",
        "[1]", "{}", "01", "+1", ""
    };

    for (i = 0; i < sizeof(others) / sizeof(others[0]); i++) {
        version = others[i];
        refused = 0;

        len = snprintf(text, sizeof(text), "{\"version\":%s%s", version,
                       full + strlen("{\n  \"version\":1"));

        ok(is_right(text, (size_t) len, "a version") && refused,
           "version %s is refused", version);
    }
}


static void
damaged(void)
{
    char         text[2 * TEXT];
    size_t       len;
    uint32_t     i, n;
    const char  *g, *more;

    more = getenv("LRT_LONG");
    n = tap_times(more && *more && *more != '0' ? 100000 : 10000);
    taken = refused = 0;

    for (i = 0; i < n; i++) {
        g = good[tap_below(2)];
        len = strlen(g);
        memcpy(text, g, len);

        do {
            len = damage(text, len);
        } while (!tap_once_in(3));

        if (!is_right(text, len, "damaged")) {
            return;
        }
    }

    ok(taken + refused == n, "%lu refused, %lu are another file", refused,
       taken);
}


static size_t
damage(char *text, size_t len)
{
    char    piece[TEXT];
    size_t  at, to, n;

    static const char  marks[] = "{}[]:,\"\\ \n0-19eE.tfnu/\0\x7f\xff\xc3";

    at = len ? tap_below((uint32_t) len) : 0;
    to = len ? tap_below((uint32_t) len) : 0;
    n = len - at ? tap_below((uint32_t) (len - at)) : 0;

    if (!tap_once_in(3)) {
        n %= 16;
    }

    switch (len ? tap_below(7) : 6) {

    case 0:
        text[at] ^= (char) (1 << tap_below(8));
        return len;

    case 1:
        text[at] = marks[tap_below(sizeof(marks) - 1)];
        return len;

    case 2:
        return at;

    case 3:
        memmove(text + at, text + at + n, len - at - n);
        return len - n;

    case 4:
        memset(text + at, 0, n);
        return len;

    case 5:
        memcpy(piece, text + at, n);
        n = (n < len - to) ? n : len - to;
        memcpy(text + to, piece, n);
        return len;

    default:
        if (len == TEXT) {
            return len;
        }

        memmove(text + at + 1, text + at, len - at);
        text[at] = marks[tap_below(sizeof(marks) - 1)];
        return len + 1;
    }
}


static void
too_large(void)
{
    int                  fd;
    char                 path[] = "/tmp/lrt-states-XXXXXX";
    ngx_http_lrt_job_t   job;

    fd = mkstemp(path);

    if (!ok(fd != -1 && ftruncate(fd, 100 * 1000 * 1000) == 0, "100 MB")) {
        return;
    }

    ngx_memzero(&job, sizeof(ngx_http_lrt_job_t));
    job.path = path;

    ngx_http_lrt_disk_read(&job);

    ok(job.rc == NGX_HTTP_LRT_JOB_FAILED && job.text == NULL
       && strcmp(job.what, "it is larger than 64 MiB") == 0, "%s", job.what);

    (void) close(fd);
    (void) unlink(path);
}


static void
large(void)
{
    char      *text;
    size_t     len;
    unsigned   i;

    static const char  begins[][16] = { " ", "[", "{\"servers\":[", "\"" };

    len = NGX_HTTP_LRT_DISK_MAX;
    text = malloc(len);

    for (i = 0; i < 4; i++) {
        memset(text, i == 1 ? '[' : ' ', len);
        memcpy(text, begins[i], strlen(begins[i]));

        refused = 0;
        ok(is_right(text, len, "large") && refused, "64 MiB of %s...",
           begins[i]);
    }

    free(text);
}


static unsigned
is_right(const void *text, size_t len, const char *what)
{
    char         why[WORLD_WHY];
    ngx_int_t    rc;
    const char  *wrong;

    wrong = world_state(text, len, &rc, why);

    if (rc == NGX_OK) {
        taken++;

        if (wrong == NULL) {
            wrong = found_by_another(text, len);
        }

    } else {
        refused++;
    }

    if (wrong) {
        tap_note("%s\n%.*s", why, (int) ngx_min(len, TEXT), (char *) text);
    }

    return check(wrong == NULL, "%s: %s", what, wrong);
}


/* no more servers and no fewer, and each with its weight */

static const char *
found_by_another(const void *text, size_t len)
{
    size_t       i;
    json_t      *root, *servers, *server, *weight;
    const char  *wrong;

    root = json_loadb(text, len, JSON_REJECT_DUPLICATES, NULL);
    servers = json_object_get(root, "servers");
    wrong = NULL;

    if (root == NULL) {
        wrong = "it is no JSON";

    } else if (json_array_size(servers) != world_servers) {
        wrong = "a part of the servers";
    }

    json_array_foreach(servers, i, server) {

        weight = json_object_get(server, "weight");

        if (wrong == NULL && i < WORLD_CAPACITY
            && world_weights[i] != (weight ? json_integer_value(weight) : 1))
        {
            wrong = "another weight";
        }
    }

    json_decref(root);

    return wrong;
}
