
/*
 * Copyright (C) the ngx_http_lrt_upstream_module authors
 */


#define _GNU_SOURCE

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "scenario.h"


#define WORDS   32


static void server_line(scenario_t *s, char **word, unsigned n);
static void traffic_line(traffic_t *t, char **word, unsigned n);
static void parse_arrivals(traffic_t *t, char *text);
static void parse_steps(traffic_t *t, char *text);
static void event_line(scenario_t *s, char **word, unsigned n);
static void add_event(scenario_t *s, const char *name, event_t *e);
static int is_named(const char *name, const char *pattern);
static const char *value_of(const char *word, const char *key);
static uint32_t parse_count(const char *text, const char *what);
static int compare_events(const void *one, const void *two);


static const char  *event_names[] = {
    "fail", "extra", "slow", "stall", "hang", "refuse", "down", "health",
    "recover", NULL
};


void
scenario_init(scenario_t *s)
{
    memset(s, 0, sizeof(scenario_t));

    s->traffic.seed = 1;
    s->traffic.rate = 100;
    s->traffic.duration = 10 * SECOND;
    s->traffic.deadline = 5 * SECOND;
    s->traffic.work.kind = DIST_EXP;
    s->traffic.work.a = 5000;
}


void
scenario_file(scenario_t *s, const char *path)
{
    FILE    *file;
    char    *line;
    size_t   size;

    file = fopen(path, "r");

    if (file == NULL) {
        die("%s: %s", path, strerror(errno));
    }

    line = NULL;
    size = 0;

    while (getline(&line, &size, file) != -1) {
        scenario_line(s, line);
    }

    free(line);
    fclose(file);
}


void
scenario_line(scenario_t *s, const char *line)
{
    char      *copy, *word[WORDS], *p, *rest;
    unsigned   n;

    copy = strdup(line);

    if (copy == NULL) {
        die("no memory");
    }

    copy[strcspn(copy, "#")] = '\0';
    n = 0;

    for (p = strtok_r(copy, " \t\r\n", &rest); p != NULL;
         p = strtok_r(NULL, " \t\r\n", &rest))
    {
        if (n == WORDS) {
            die("\"%s\" has too many words", line);
        }

        word[n++] = p;
    }

    if (n >= 2 && strcmp(word[0], "server") == 0) {
        server_line(s, word + 1, n - 1);

    } else if (n >= 1 && strcmp(word[0], "traffic") == 0) {
        traffic_line(&s->traffic, word + 1, n - 1);

    } else if (n >= 4 && strcmp(word[0], "at") == 0) {
        event_line(s, word + 1, n - 1);

    } else if (n > 0) {
        die("\"%s\" is no server, traffic or at", line);
    }

    free(copy);
}


static void
server_line(scenario_t *s, char **word, unsigned n)
{
    unsigned     i, count, port;
    server_t     server, *to;
    const char  *value;

    memset(&server, 0, sizeof(server_t));

    server.address = parse_address("127.0.0.1:0");
    server.slots = 1;
    server.queue = UINT32_MAX;
    server.speed = 1;
    server.weight = 1;
    server.work.kind = DIST_EXP;
    server.work.a = 5000;
    count = 0;

    for (i = 1; i < n; i++) {
        if ((value = value_of(word[i], "count"))) {
            count = parse_count(value, word[i]);

        } else if ((value = value_of(word[i], "listen"))) {
            server.address = parse_address(value);

        } else if ((value = value_of(word[i], "slots"))) {
            server.slots = parse_count(value, word[i]);

        } else if ((value = value_of(word[i], "queue"))) {
            server.queue = (uint32_t) parse_number(value, word[i]);

        } else if ((value = value_of(word[i], "speed"))) {
            server.speed = parse_number(value, word[i]);

        } else if ((value = value_of(word[i], "weight"))) {
            server.weight = parse_count(value, word[i]);

        } else if ((value = value_of(word[i], "work"))) {
            server.work = parse_dist(value);

            if (server.work.kind == DIST_NONE) {
                die("server: a server's work is a distribution");
            }

        } else if ((value = value_of(word[i], "hue"))) {
            server.hue = (uint32_t) parse_number(value, word[i]);

        } else {
            die("server: what is \"%s\"", word[i]);
        }
    }

    if (server.speed <= 0) {
        die("server %s: a speed is above zero", word[0]);
    }

    port = ntohs(server.address.sin_port);

    for (i = 0; i < (count ? count : 1); i++) {
        s->servers = grow(s->servers, s->nservers + 1, sizeof(server_t));
        to = &s->servers[s->nservers++];
        *to = server;

        if (snprintf(to->name, NAME_SIZE, "%s", word[0]) >= NAME_SIZE - 6) {
            die("server %s: the name is too long", word[0]);
        }

        if (count) {
            sprintf(to->name + strlen(to->name), "%u", i % 100000);
        }

        if (port) {
            to->address.sin_port = htons((uint16_t) (port + i));
        }
    }
}


static void
traffic_line(traffic_t *t, char **word, unsigned n)
{
    unsigned     i;
    const char  *value;

    for (i = 0; i < n; i++) {
        if ((value = value_of(word[i], "seed"))) {
            t->seed = strtoull(value, NULL, 0);

        } else if ((value = value_of(word[i], "rate"))) {
            t->rate = parse_number(value, word[i]);

        } else if ((value = value_of(word[i], "warmup"))) {
            t->warmup = parse_time(value, word[i]);

        } else if ((value = value_of(word[i], "duration"))) {
            t->duration = parse_time(value, word[i]);

        } else if ((value = value_of(word[i], "deadline"))) {
            t->deadline = parse_time(value, word[i]);

        } else if ((value = value_of(word[i], "work"))) {
            t->work = parse_dist(value);

        } else if ((value = value_of(word[i], "arrivals"))) {
            parse_arrivals(t, (char *) value);

        } else if ((value = value_of(word[i], "steps"))) {
            parse_steps(t, (char *) value);

        } else {
            die("traffic: what is \"%s\"", word[i]);
        }
    }

    if (t->rate <= 0 || t->duration == 0 || t->deadline == 0) {
        die("traffic: rate, duration and deadline are above zero");
    }
}


static void
parse_arrivals(traffic_t *t, char *text)
{
    char  *ratio, *high, *low;

    if (strcmp(text, "poisson") == 0) {
        t->arrivals = ARRIVALS_POISSON;
        return;
    }

    if (strcmp(text, "constant") == 0) {
        t->arrivals = ARRIVALS_CONSTANT;
        return;
    }

    if (strncmp(text, "burst:", 6) == 0
        && (ratio = strtok(text + 6, ":"))
        && (high = strtok(NULL, ":"))
        && (low = strtok(NULL, ":")))
    {
        t->arrivals = ARRIVALS_BURST;
        t->ratio = parse_number(ratio, "burst");
        t->high = parse_time(high, "burst");
        t->low = parse_time(low, "burst");

        if (t->high && t->low) {
            return;
        }
    }

    die("arrivals: poisson, constant or burst:RATIO:HIGH:LOW");
}


static void
parse_steps(traffic_t *t, char *text)
{
    char  *p;

    t->nsteps = 0;

    for (p = strtok(text, "/"); p != NULL; p = strtok(NULL, "/")) {
        if (t->nsteps == STEPS) {
            die("more than %d steps", STEPS);
        }

        t->steps[t->nsteps++] = parse_number(p, "steps");
    }
}


static void
event_line(scenario_t *s, char **word, unsigned n)
{
    unsigned      i;
    event_t       e;
    uint64_t      length;
    const char   *value;

    memset(&e, 0, sizeof(event_t));

    e.at = parse_time(word[0], "at");
    e.number = 1;
    length = 0;

    while (event_names[e.event]
           && strcmp(word[2], event_names[e.event]) != 0)
    {
        e.event++;
    }

    if (event_names[e.event] == NULL) {
        die("at: what is \"%s\"", word[2]);
    }

    i = 3;

    if (e.event <= EVENT_SLOW || e.event == EVENT_HEALTH) {
        if (i == n) {
            die("at: \"%s\" needs a value", word[2]);
        }

        if (e.event == EVENT_EXTRA) {
            e.time = parse_time(word[i], word[2]);

        } else if (e.event == EVENT_SLOW) {
            e.number = parse_number(word[i], word[2]);

            if (e.number <= 0) {
                die("at: slow is by a factor above zero, or it is a stall");
            }

        } else {
            e.status = parse_count(word[i], word[2]);

            if (e.status < 200 || e.status > 599) {
                die("at: %u is no status of an answer", e.status);
            }
        }

        i++;
    }

    for ( /* void */ ; i < n; i++) {
        if ((value = value_of(word[i], "for"))) {
            length = parse_time(value, word[i]);

        } else if (e.event <= EVENT_EXTRA
                   && (value = value_of(word[i], "share")))
        {
            e.number = parse_number(value, word[i]);

        } else if (e.event == EVENT_FAIL
                   && (value = value_of(word[i], "time")))
        {
            e.time = parse_time(value, word[i]);

        } else {
            die("at: %s has no \"%s\"", word[2], word[i]);
        }
    }

    add_event(s, word[1], &e);

    if (length) {
        e.at += length;
        e.event = EVENT_RECOVER;
        add_event(s, word[1], &e);
    }
}


static void
add_event(scenario_t *s, const char *name, event_t *e)
{
    unsigned  found;

    found = 0;

    for (e->server = 0; e->server < s->nservers; e->server++) {
        if (is_named(s->servers[e->server].name, name)) {
            s->events = grow(s->events, s->nevents + 1, sizeof(event_t));
            s->events[s->nevents++] = *e;
            found = 1;
        }
    }

    if (!found) {
        die("at: there is no server \"%s\" before this line", name);
    }
}


static int
is_named(const char *name, const char *pattern)
{
    size_t  n;

    n = strlen(pattern);

    if (n && pattern[n - 1] == '*') {
        return strncmp(name, pattern, n - 1) == 0;
    }

    return strcmp(name, pattern) == 0;
}


static const char *
value_of(const char *word, const char *key)
{
    size_t  n;

    n = strlen(key);

    return strncmp(word, key, n) == 0 && word[n] == '=' ? word + n + 1 : NULL;
}


static uint32_t
parse_count(const char *text, const char *what)
{
    double  number;

    number = parse_number(text, what);

    if (number < 1 || number > 1e6 || number != (uint32_t) number) {
        die("%s: \"%s\" is not a number of 1 to 1000000", what, text);
    }

    return (uint32_t) number;
}


struct sockaddr_in
parse_address(const char *text)
{
    char                 host[64];
    const char          *colon;
    struct sockaddr_in   address;

    memset(&address, 0, sizeof(address));

    address.sin_family = AF_INET;
    colon = strchr(text, ':');

    if (colon == NULL || colon - text >= (ptrdiff_t) sizeof(host)) {
        die("\"%s\" is not ADDRESS:PORT", text);
    }

    memcpy(host, text, (size_t) (colon - text));
    host[colon - text] = '\0';

    if (inet_pton(AF_INET, host, &address.sin_addr) != 1
        || ntohl(address.sin_addr.s_addr) >> 24 != 127)
    {
        die("\"%s\" is not an address of this machine, 127.x.y.z", host);
    }

    address.sin_port = htons((uint16_t) parse_number(colon + 1, text));

    return address;
}


void
scenario_ready(scenario_t *s)
{
    uint32_t  i, j;

    for (i = 0; i < s->nservers; i++) {
        for (j = 0; j < i; j++) {
            if (strcmp(s->servers[i].name, s->servers[j].name) == 0) {
                die("two servers are named %s", s->servers[i].name);
            }
        }
    }

    if (s->nevents) {
        qsort(s->events, s->nevents, sizeof(event_t), compare_events);
    }
}


/* an end comes before what begins at the same time */

static int
compare_events(const void *one, const void *two)
{
    const event_t  *a, *b;

    a = one;
    b = two;

    if (a->at != b->at) {
        return a->at < b->at ? -1 : 1;
    }

    if (a->server != b->server) {
        return a->server < b->server ? -1 : 1;
    }

    return (int) b->event - (int) a->event;
}


double
scenario_load(const scenario_t *s)
{
    double           capacity, mean;
    uint32_t         i;
    const server_t  *server;

    capacity = 0;

    for (i = 0; i < s->nservers; i++) {
        server = &s->servers[i];
        mean = dist_mean(s->traffic.work.kind == DIST_NONE ? &server->work
                                                           : &s->traffic.work);
        capacity += server->slots * server->speed * 1e6 / mean;
    }

    return capacity > 0 ? s->traffic.rate / capacity : 0;
}
