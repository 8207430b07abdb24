
/*
 * Copyright (C) the ngx_http_lrt_upstream_module authors
 *
 * Sends requests when they are due, whether or not earlier ones have been
 * answered.
 */


#define _GNU_SOURCE

#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

#include "net.h"
#include "report.h"


#define EVENTS       128
#define BUFFER_SIZE  4096
#define TARGETS      64
#define NAMES        4096           /* of servers, a power of two */
#define LEAD         (20 * MILLISECOND)
#define NOBODY       UINT32_MAX


typedef struct connection_s  connection_t;

struct connection_s {
    int             fd;
    uint32_t        target;
    uint32_t        request;        /* or NOBODY */
    unsigned        connecting:1;
    unsigned        head:1;         /* has been read */
    unsigned        close:1;
    unsigned        open_end:1;     /* the end of the body is that of all */
    uint16_t        status;
    uint16_t        server;
    uint64_t        body;           /* bytes still to come */
    size_t          n;
    connection_t   *next;           /* idle ones, or closed ones */
    char            buffer[BUFFER_SIZE];
};


static void run(void);
static void arrive(void);
static void send_waiting(void);
static void expire(void);
static connection_t *connection_get(uint32_t target);
static void connection_ready(connection_t *c, uint32_t events);
static void connection_send(connection_t *c);
static void connection_read(connection_t *c);
static unsigned connection_head(connection_t *c, size_t head);
static void connection_done(connection_t *c);
static void connection_fail(connection_t *c, uint32_t outcome);
static void connection_close(connection_t *c);
static void finish(uint32_t i, uint32_t outcome, uint32_t server);
static uint32_t name_index(const char *name, size_t length);
static void print_report(void);
static void usage(FILE *out);


static scenario_t          scenario;
static schedule_t          schedule;
static record_t           *records;
static connection_t      **carriers;        /* of each request */

static struct sockaddr_in  targets[TARGETS];
static uint32_t            ntargets;
static connection_t       *idle[TARGETS];
static connection_t       *graves;
static uint32_t            nconnections, max_connections = 4096;
static uint32_t            opened, most, waited, last_waited = NOBODY;

static char               *names[NAMES];    /* in the order of appearance */
static uint32_t            nnames;
static uint16_t            slots[NAMES * 2];

static int                 epoll;
static uint64_t            start;
static uint32_t            arrived;         /* that many are due */
static uint32_t            sent;
static uint32_t            oldest;          /* all before it are over */
static char                prefix[512];
static size_t              nprefix;
static report_t            report;
static unsigned            quiet;


int
main(int argc, char **argv)
{
    int          option;
    uint32_t     k;
    const char  *uri, *host;

    static const struct option  options[] = {
        { "target", required_argument, NULL, 't' },
        { "connections", required_argument, NULL, 'c' },
        { "uri", required_argument, NULL, 'u' },
        { "host", required_argument, NULL, 'H' },
        { "raw", required_argument, NULL, 'r' },
        { "windows", required_argument, NULL, 'w' },
        { "spin", required_argument, NULL, 's' },
        { "realtime", no_argument, NULL, 'R' },
        { "quiet", no_argument, NULL, 'q' },
        { "help", no_argument, NULL, 'h' },
        { NULL, 0, NULL, 0 }
    };

    uri = "/";
    host = "lab";
    scenario_init(&scenario);
    net_init();

    while ((option = getopt_long(argc, argv, "f:e:h", options, NULL)) != -1) {
        switch (option) {

        case 'f':
            scenario_file(&scenario, optarg);
            break;

        case 'e':
            scenario_line(&scenario, optarg);
            break;

        case 't':
            if (ntargets == TARGETS) {
                die("more than %d targets", TARGETS);
            }

            targets[ntargets++] = parse_address(optarg);
            break;

        case 'c':
            max_connections = (uint32_t) parse_number(optarg, "--connections");
            break;

        case 'u':
            uri = optarg;
            break;

        case 'H':
            host = optarg;
            break;

        case 'r':
            report.raw = optarg;
            break;

        case 'w':
            report.windows = optarg;
            break;

        case 's':
            net_spin = parse_time(optarg, "--spin");
            break;

        case 'R':
            net_realtime();
            break;

        case 'q':
            quiet = 1;
            break;

        case 'h':
            usage(stdout);
            return 0;

        default:
            usage(stderr);
            return 2;
        }
    }

    if (optind < argc || ntargets == 0 || max_connections < ntargets) {
        usage(stderr);
        return 2;
    }

    scenario_ready(&scenario);
    schedule_make(&schedule, &scenario.traffic);

    for (k = 0; k < scenario.nservers; k++) {
        (void) name_index(scenario.servers[k].name,
                          strlen(scenario.servers[k].name));
    }

    records = grow(NULL, schedule.n, sizeof(record_t));
    carriers = grow(NULL, schedule.n, sizeof(connection_t *));
    memset(records, 0, (schedule.n + !schedule.n) * sizeof(record_t));
    memset(carriers, 0, (schedule.n + !schedule.n) * sizeof(connection_t *));

    start = clock_ns() + LEAD;
    nprefix = (size_t) snprintf(prefix, sizeof(prefix),
                                "GET %s HTTP/1.1\r\nHost: %s\r\n"
                                "X-Start: %llu\r\n", uri, host,
                                (unsigned long long) start);

    if (nprefix >= sizeof(prefix)) {
        die("the URI is too long");
    }

    epoll = net_epoll();
    run();
    print_report();

    return 0;
}


static void
run(void)
{
    int                  i, n;
    uint64_t             due, deadline;
    connection_t        *c;
    struct epoll_event   events[EVENTS];

    for ( ;; ) {
        arrive();
        send_waiting();
        expire();

        due = arrived < schedule.n ? start + schedule.requests[arrived].due
                                   : NEVER;
        deadline = oldest < arrived
                   ? start + schedule.requests[oldest].due
                     + scenario.traffic.deadline
                   : NEVER;

        if (due == NEVER && deadline == NEVER) {
            return;
        }

        n = net_wait(epoll, events, EVENTS, due < deadline ? due : deadline);

        /* due requests first: answers can wait, their time will not be so */

        for (i = 0; i < n; i++) {
            c = events[i].data.ptr;

            if (c->fd != -1) {
                connection_ready(c, events[i].events);
            }
        }

        while ((c = graves)) {
            graves = c->next;
            free(c);
        }
    }
}


static void
arrive(void)
{
    uint64_t  now, due;

    now = clock_ns();

    while (arrived < schedule.n) {
        due = start + schedule.requests[arrived].due;

        if (due > now) {
            return;
        }

        records[arrived].late = now - due;
        records[arrived].server = NO_SERVER;
        arrived++;
    }
}


/* in order; who finds all connections busy waits for one, and it counts */

static void
send_waiting(void)
{
    connection_t  *c;

    for ( /* void */ ; sent < arrived; sent++) {
        if (records[sent].outcome != OUTCOME_NONE) {
            continue;
        }

        c = connection_get(sent % ntargets);

        if (c == NULL) {
            if (records[sent].outcome != OUTCOME_NONE) {
                continue;
            }

            waited += (last_waited != sent);
            last_waited = sent;
            return;
        }

        c->request = sent;
        carriers[sent] = c;

        if (!c->connecting) {
            connection_send(c);
        }
    }
}


/* Deadlines come in the order of the requests. */

static void
expire(void)
{
    uint64_t  now, deadline;

    now = clock_ns();

    for ( /* void */ ; oldest < arrived; oldest++) {
        if (records[oldest].outcome != OUTCOME_NONE) {
            continue;
        }

        deadline = start + schedule.requests[oldest].due
                   + scenario.traffic.deadline;

        if (now < deadline) {
            return;
        }

        if (carriers[oldest]) {
            connection_fail(carriers[oldest], OUTCOME_TIMEOUT);

        } else {
            finish(oldest, OUTCOME_TIMEOUT, NO_SERVER);
        }
    }
}


/* NULL if there may not be another one, or if the request has failed */

static connection_t *
connection_get(uint32_t target)
{
    int            fd;
    connection_t  *c;

    c = idle[target];

    if (c) {
        idle[target] = c->next;
        return c;
    }

    if (nconnections == max_connections) {
        return NULL;
    }

    fd = net_connect(&targets[target]);

    if (fd == -1) {
        finish(sent, OUTCOME_REFUSED, NO_SERVER);
        return NULL;
    }

    c = grow(NULL, 1, sizeof(connection_t));

    c->fd = fd;
    c->target = target;
    c->request = NOBODY;
    c->connecting = 1;
    c->head = 0;
    c->n = 0;

    opened++;
    nconnections++;
    most = nconnections > most ? nconnections : most;

    net_watch(epoll, EPOLL_CTL_ADD, fd, EPOLLIN | EPOLLOUT, c);

    return c;
}


static void
connection_ready(connection_t *c, uint32_t events)
{
    int        error;
    socklen_t  size;

    if (c->connecting) {
        size = sizeof(error);

        if (getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &error, &size) == -1
            || error)
        {
            connection_fail(c, OUTCOME_REFUSED);
            return;
        }

        if (events & EPOLLOUT) {
            c->connecting = 0;
            net_watch(epoll, EPOLL_CTL_MOD, c->fd, EPOLLIN, c);
            connection_send(c);
        }

        return;
    }

    connection_read(c);
}


static void
connection_send(connection_t *c)
{
    int         n;
    char        text[sizeof(prefix) + 128];
    request_t  *r;

    r = &schedule.requests[c->request];

    memcpy(text, prefix, nprefix);
    n = (int) nprefix;

    if (r->work) {
        n += sprintf(text + n, "X-Work-us: %u\r\n", r->work);
    }

    n += sprintf(text + n, "X-Id: %016llx\r\n\r\n",
                 (unsigned long long) r->id);

    c->n = 0;
    c->head = 0;

    if (send(c->fd, text, (size_t) n, MSG_NOSIGNAL) != n) {
        connection_fail(c, OUTCOME_CLOSED);
    }
}


static void
connection_read(connection_t *c)
{
    size_t   from, head;
    ssize_t  n;

    n = recv(c->fd, c->buffer + c->n, BUFFER_SIZE - c->n, 0);

    if (n == -1 && (errno == EAGAIN || errno == EINTR)) {
        return;
    }

    if (c->request == NOBODY) {
        connection_fail(c, OUTCOME_NONE);
        return;
    }

    if (n <= 0) {
        if (n == 0 && c->head && c->open_end) {
            c->close = 1;
            connection_done(c);

        } else {
            connection_fail(c, OUTCOME_CLOSED);
        }

        return;
    }

    from = c->n;
    c->n += (size_t) n;

    if (!c->head) {
        head = head_end(c->buffer, c->n, from);

        if (head == 0) {
            if (c->n == BUFFER_SIZE) {
                connection_fail(c, OUTCOME_STRANGE);
            }

            return;
        }

        if (!connection_head(c, head)) {
            connection_fail(c, OUTCOME_STRANGE);
            return;
        }

        c->head = 1;
        c->n -= head;
    }

    /* only the length of a body is of interest */

    if (c->open_end) {
        c->n = 0;
        return;
    }

    if (c->n > c->body) {
        connection_fail(c, OUTCOME_STRANGE);
        return;
    }

    c->body -= c->n;
    c->n = 0;

    if (c->body == 0) {
        connection_done(c);
    }
}


static unsigned
connection_head(connection_t *c, size_t head)
{
    size_t       length;
    const char  *line, *end, *name, *value;

    end = c->buffer + head;

    if (head < 16 || memcmp(c->buffer, "HTTP/1.", 7) != 0) {
        return 0;
    }

    c->status = (uint16_t) strtoul(c->buffer + 9, NULL, 10);
    c->server = NO_SERVER;
    c->close = 0;
    c->open_end = 1;
    c->body = 0;

    if (c->status < 200 || c->status > 599) {
        return 0;
    }

    line = (char *) memchr(c->buffer, '\n', head) + 1;

    while ((line = head_line(line, end, &name, &length, &value))) {
        if (head_is(name, length, "content-length")) {
            c->body = strtoull(value, NULL, 10);
            c->open_end = 0;

        } else if (head_is(name, length, "transfer-encoding")) {
            return 0;

        } else if (head_is(name, length, "x-server")) {
            c->server = (uint16_t) name_index(value, strcspn(value, " \r\n"));

        } else if (head_is(name, length, "connection")) {
            c->close = strncasecmp(value, "close", 5) == 0;
        }
    }

    return 1;
}


static void
connection_done(connection_t *c)
{
    finish(c->request, c->status, c->server);

    c->request = NOBODY;
    c->n = 0;

    if (c->close) {
        connection_close(c);

    } else {
        c->next = idle[c->target];
        idle[c->target] = c;
    }

    send_waiting();
}


static void
connection_fail(connection_t *c, uint32_t outcome)
{
    connection_t  **p;

    if (c->request != NOBODY) {
        finish(c->request, outcome, NO_SERVER);
        c->request = NOBODY;

    } else {
        for (p = &idle[c->target]; *p != NULL; p = &(*p)->next) {
            if (*p == c) {
                *p = c->next;
                break;
            }
        }
    }

    connection_close(c);
}


/* It may be anywhere in the list of events: its memory stays for a while. */

static void
connection_close(connection_t *c)
{
    close(c->fd);
    c->fd = -1;
    c->next = graves;
    graves = c;
    nconnections--;
}


static void
finish(uint32_t i, uint32_t outcome, uint32_t server)
{
    uint64_t  latency, deadline;

    latency = clock_ns() - start - schedule.requests[i].due;
    deadline = scenario.traffic.deadline;

    if (latency >= deadline) {
        outcome = OUTCOME_TIMEOUT;
        latency = deadline;
    }

    carriers[i] = NULL;
    records[i].outcome = (uint16_t) outcome;
    records[i].server = (uint16_t) server;
    records[i].latency = latency;
}


static uint32_t
name_index(const char *name, size_t length)
{
    size_t    i;
    uint64_t  hash;
    uint32_t  slot, k;

    hash = length;

    for (i = 0; i < length; i++) {
        hash = hash * 31 + (unsigned char) name[i];
    }

    for (slot = mix(hash, 0) % (NAMES * 2); slots[slot];
         slot = (slot + 1) % (NAMES * 2))
    {
        k = slots[slot] - 1u;

        if (strncmp(names[k], name, length) == 0 && names[k][length] == '\0') {
            return k;
        }
    }

    if (nnames == NAMES) {
        die("more than %d servers", NAMES);
    }

    names[nnames] = strndup(name, length);

    /* it becomes part of the report as it is */

    for (i = 0; i < length; i++) {
        if (strchr("\"\\", names[nnames][i]) || names[nnames][i] < ' ') {
            names[nnames][i] = '_';
        }
    }

    slots[slot] = (uint16_t) ++nnames;

    return nnames - 1;
}


static void
print_report(void)
{
    FILE      *file;
    char      *more;
    size_t     size;
    uint32_t   i, n;
    uint64_t  *late, *ok, median, latest;

    n = schedule.n - schedule.warmup;
    late = grow(NULL, n, sizeof(uint64_t));
    ok = grow(NULL, n, sizeof(uint64_t));

    for (i = 0; i < n; i++) {
        late[i] = records[schedule.warmup + i].late;
        ok[i] = records[schedule.warmup + i].latency;
    }

    file = open_memstream(&more, &size);

    if (file == NULL) {
        die("no memory");
    }

    report_times(file, "late_ms", late, n);
    fprintf(file, ",\"connections\":{\"opened\":%u,\"most\":%u,"
            "\"waited\":%u}", opened, most, waited);
    fclose(file);

    report.program = "load";
    report.scenario = &scenario;
    report.schedule = &schedule;
    report.records = records;
    report.names = names;
    report.nnames = nnames;
    report.more = more;

    report_print(stdout, &report);

    report_sort(ok, n);
    median = report_quantile(ok, n, 0.5);
    latest = report_quantile(late, n, 0.99);

    if (!quiet && latest > MILLISECOND && latest > median / 10) {
        fprintf(stderr, "load: of 100 requests one was sent %.1f ms late or "
                "more, at a median latency of %.1f ms: the machine is too "
                "busy\n", (double) latest / MILLISECOND,
                (double) median / MILLISECOND);
    }

    free(late);
    free(ok);
    free(more);
}


static void
usage(FILE *out)
{
    fputs("usage: load --target ADDRESS:PORT [--target ..] [--uri URI]\n"
          "            [--host NAME] [--connections N] [--raw FILE]\n"
          "            [--windows NAME,..] [--realtime] [--spin TIME]\n"
          "            [--quiet] [-f FILE | -e LINE] ..\n"
          "\n"
          "Sends the traffic of a scenario to the targets in turn, and\n"
          "prints what became of it as JSON.  All requests are drawn in\n"
          "advance; the same traffic has the same checksum.  Latency is the\n"
          "time since a request was due.  In \"latency_ms\" who gets no\n"
          "answer below 400 counts as the deadline, in \"latency_ok_ms\"\n"
          "not at all; \"late_ms\" is what this program itself lost.\n"
          "\n"
          "  --connections  not more than that, 4096 if not given; who finds\n"
          "                 all of them busy waits, and that counts\n"
          "  --raw          a file for a line about each request\n"
          "  --windows      answers of servers by when requests were due, in\n"
          "                 windows of 100 ms; \"*\" is all\n"
          "  --realtime     run before other processes; needs root\n"
          "  --spin         do not sleep for the last part of a wait\n"
          "  --quiet        no warning when requests were sent too late\n"
          "\n" SCENARIO_HELP, out);
}
