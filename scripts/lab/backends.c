
/*
 * Copyright (C) the ngx_http_lrt_upstream_module authors
 *
 * Simulated servers: any number of addresses in one process, that serve
 * requests by sleeping for as long as their work takes.
 */


#define _GNU_SOURCE

#include <arpa/inet.h>
#include <errno.h>
#include <getopt.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "model.h"
#include "net.h"
#include "report.h"


#define EVENTS       128
#define HEAD_SIZE    8192
#define LINE_SIZE    512


typedef struct {
    int                 fd;
    void              (*ready)(void *of);
} watch_t;


typedef struct {
    watch_t             watch;          /* must be first */
    uint32_t            server;
    struct sockaddr_in  address;
} listener_t;


typedef struct connection_s  connection_t;

struct connection_s {
    watch_t             watch;          /* must be first */
    job_t               job;
    uint32_t            server;
    unsigned            busy:1;
    unsigned            close:1;        /* after the answer */
    unsigned            picture:1;      /* is what was asked for */
    connection_t       *prev;           /* of the same server */
    connection_t       *next;
    size_t              n;
    size_t              skip;           /* of a body */
    char                buffer[HEAD_SIZE];
};


typedef struct {
    uint64_t            id;
    uint64_t            start;
    uint32_t            work;
    size_t              body;
    unsigned            health:1;
    unsigned            picture:1;
    unsigned            close:1;
} head_t;


static void accept_ready(void *of);
static void connection_ready(void *of);
static void signal_ready(void *of);
static void control_ready(void *of);
static void control_line(const char *line);
static void connection_close(connection_t *c);
static void bury(void);
static void take(connection_t *c, size_t head);
static unsigned read_head(const char *p, const char *end, head_t *head);
static unsigned is_path(const char *uri, const char *path);
static void answer(model_t *m, job_t *job, uint32_t status);
static void changed(model_t *m, uint32_t server);
static void listen_on(listener_t *l);
static void print_ready(void);
static void print_counters(void);
static void usage(FILE *out);


static scenario_t      scenario;
static model_t         model;
static listener_t     *listeners;
static connection_t  **connections;     /* of each server */
static connection_t   *graves;          /* closed, to be freed */
static watch_t         signals, control;
static char            control_buffer[LINE_SIZE];
static size_t          control_n;
static int             epoll;
static unsigned        ending;
static const char     *windows;


int
main(int argc, char **argv)
{
    int                  option, i, n;
    sigset_t             set;
    uint32_t             k;
    watch_t             *watch;
    unsigned             controlled;
    struct epoll_event   events[EVENTS];

    static const struct option  options[] = {
        { "control", no_argument, NULL, 'c' },
        { "spin", required_argument, NULL, 's' },
        { "realtime", no_argument, NULL, 'r' },
        { "windows", required_argument, NULL, 'w' },
        { "help", no_argument, NULL, 'h' },
        { NULL, 0, NULL, 0 }
    };

    scenario_init(&scenario);
    net_init();
    controlled = 0;

    while ((option = getopt_long(argc, argv, "f:e:h", options, NULL)) != -1) {
        switch (option) {

        case 'f':
            scenario_file(&scenario, optarg);
            break;

        case 'e':
            scenario_line(&scenario, optarg);
            break;

        case 'c':
            controlled = 1;
            break;

        case 's':
            net_spin = parse_time(optarg, "--spin");
            break;

        case 'r':
            net_realtime();
            break;

        case 'w':
            windows = optarg;
            break;

        case 'h':
            usage(stdout);
            return 0;

        default:
            usage(stderr);
            return 2;
        }
    }

    if (optind < argc) {
        usage(stderr);
        return 2;
    }

    scenario_ready(&scenario);

    if (scenario.nservers == 0) {
        die("no servers");
    }

    epoll = net_epoll();
    listeners = grow(NULL, scenario.nservers, sizeof(listener_t));
    connections = grow(NULL, scenario.nservers, sizeof(connection_t *));

    for (k = 0; k < scenario.nservers; k++) {
        listeners[k].watch.fd = -1;
        listeners[k].watch.ready = accept_ready;
        listeners[k].server = k;
        listeners[k].address = scenario.servers[k].address;
        connections[k] = NULL;
        listen_on(&listeners[k]);
    }

    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGUSR1);
    sigprocmask(SIG_BLOCK, &set, NULL);

    signals.fd = signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
    signals.ready = signal_ready;
    net_watch(epoll, EPOLL_CTL_ADD, signals.fd, EPOLLIN, &signals);

    if (controlled) {
        control.fd = STDIN_FILENO;
        control.ready = control_ready;
        net_watch(epoll, EPOLL_CTL_ADD, control.fd, EPOLLIN, &control);
    }

    model_init(&model, &scenario, answer, changed);
    print_ready();

    while (!ending) {
        n = net_wait(epoll, events, EVENTS, model_next(&model));
        model_run(&model, clock_ns());

        for (i = 0; i < n; i++) {
            watch = events[i].data.ptr;

            if (watch->fd != -1) {
                watch->ready(watch);
            }
        }

        bury();
    }

    print_counters();

    return 0;
}


static void
accept_ready(void *of)
{
    int            fd, one;
    listener_t    *l;
    connection_t  *c;

    l = of;
    one = 1;

    while (l->watch.fd != -1) {
        fd = accept4(l->watch.fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);

        if (fd == -1) {
            if (errno != EAGAIN && errno != ECONNABORTED && errno != EINTR) {
                die("accept: %s", strerror(errno));
            }

            return;
        }

        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));

        c = grow(NULL, 1, sizeof(connection_t));

        c->watch.fd = fd;
        c->watch.ready = connection_ready;
        c->job.list = LIST_NONE;
        c->server = l->server;
        c->busy = 0;
        c->close = 0;
        c->n = 0;
        c->skip = 0;

        c->prev = NULL;
        c->next = connections[c->server];

        if (c->next) {
            c->next->prev = c;
        }

        connections[c->server] = c;
        net_watch(epoll, EPOLL_CTL_ADD, fd, EPOLLIN, c);
    }
}


/*
 * A client that closes gives up its request.  One request at a time: balancers
 * do not send the next one before the answer.
 */

static void
connection_ready(void *of)
{
    size_t         from, head, part;
    ssize_t        n;
    connection_t  *c;

    c = of;
    n = recv(c->watch.fd, c->buffer + c->n, HEAD_SIZE - c->n, 0);

    if (n == -1 && (errno == EAGAIN || errno == EINTR)) {
        return;
    }

    if (n <= 0) {
        connection_close(c);
        return;
    }

    from = c->n;
    c->n += (size_t) n;

    if (c->skip) {
        part = c->skip < c->n ? c->skip : c->n;
        memmove(c->buffer, c->buffer + part, c->n - part);
        c->skip -= part;
        c->n -= part;
        from = 0;
    }

    if (c->n == 0) {
        return;
    }

    head = c->busy ? 0 : head_end(c->buffer, c->n, from);

    if (head) {
        take(c, head);

    } else if (c->busy || c->n == HEAD_SIZE) {
        connection_close(c);
    }
}


static void
take(connection_t *c, size_t end)
{
    size_t     rest;
    head_t     head;
    uint64_t   now;

    if (!read_head(c->buffer, c->buffer + end, &head)) {
        connection_close(c);
        return;
    }

    rest = c->n - end;
    c->n = 0;

    if (rest > head.body) {
        connection_close(c);
        return;
    }

    c->skip = head.body - rest;
    c->busy = 1;
    c->close = head.close;
    c->picture = head.picture;

    now = clock_ns();
    model_run(&model, now);

    if (head.health) {
        model_health(&model, &c->job, c->server, now);
        return;
    }

    /* the first one of a run; what is late of an earlier run is only served */

    if (head.start == 0 && model.start == NEVER) {
        head.start = now;
    }

    if (head.start && head.start <= now
        && (model.start == NEVER || head.start > model.start))
    {
        model_start(&model, head.start);
        model_run(&model, now);
    }

    /* an event may just have closed the connection */

    if (c->watch.fd != -1) {
        model_offer(&model, &c->job, c->server, head.id, head.work, now);
    }
}


static unsigned
read_head(const char *p, const char *end, head_t *head)
{
    size_t           length;
    const char      *line, *name, *value, *query;
    static uint64_t  ids;

    memset(head, 0, sizeof(head_t));

    line = memchr(p, '\n', (size_t) (end - p));
    query = memchr(p, ' ', (size_t) (line - p));

    if (query == NULL || line - p < 14) {
        return 0;
    }

    query++;
    head->id = mix(1, ids++);
    head->close = (line[-2] == '0');            /* HTTP/1.0 */
    head->health = is_path(query, "/health");
    head->picture = is_path(query, "/picture.svg");

    query = memmem(query, (size_t) (line - query), "work-us=", 8);

    if (query) {
        head->work = (uint32_t) strtoul(query + 8, NULL, 10);
    }

    line++;

    while ((line = head_line(line, end, &name, &length, &value))) {
        if (head_is(name, length, "x-work-us")) {
            head->work = (uint32_t) strtoul(value, NULL, 10);

        } else if (head_is(name, length, "x-id")) {
            head->id = strtoull(value, NULL, 16);

        } else if (head_is(name, length, "x-start")) {
            head->start = strtoull(value, NULL, 10);

        } else if (head_is(name, length, "content-length")) {
            head->body = strtoul(value, NULL, 10);

        } else if (head_is(name, length, "transfer-encoding")) {
            return 0;

        } else if (head_is(name, length, "connection")) {
            if (strncasecmp(value, "close", 5) == 0) {
                head->close = 1;

            } else if (strncasecmp(value, "keep-alive", 10) == 0) {
                head->close = 0;
            }
        }
    }

    return 1;
}


static unsigned
is_path(const char *uri, const char *path)
{
    size_t  n;

    n = strlen(path);

    return strncmp(uri, path, n) == 0 && (uri[n] == ' ' || uri[n] == '?');
}


static void
answer(model_t *m, job_t *job, uint32_t status)
{
    int              n, size;
    char             text[1024], body[512];
    connection_t    *c;
    const server_t  *s;

    c = (connection_t *) ((char *) job - offsetof(connection_t, job));
    c->busy = 0;

    if (status == 0) {
        connection_close(c);
        return;
    }

    s = m->hosts[c->server].spec;
    c->picture = c->picture && status < 400;

    if (c->picture) {
        size = snprintf(body, sizeof(body),
                 "<svg xmlns=\"http://www.w3.org/2000/svg\" "
                 "viewBox=\"0 0 96 96\">"
                 "<rect width=\"96\" height=\"96\" rx=\"16\" "
                 "fill=\"hsl(%u 60%% 40%%)\"/>"
                 "<g fill=\"#fff\" font-family=\"sans-serif\" "
                 "text-anchor=\"middle\">"
                 "<text x=\"48\" y=\"58\" font-size=\"50\" "
                 "font-weight=\"bold\">%c</text>"
                 "<text x=\"48\" y=\"83\" font-size=\"19\">%s</text>"
                 "</g></svg>\n", s->hue, s->name[0], s->name);

    } else {
        size = snprintf(body, sizeof(body), "%s\n", s->name);
    }

    n = snprintf(text, sizeof(text),
                 "HTTP/1.1 %u %s\r\nX-Server: %s\r\nContent-Type: %s\r\n"
                 "Content-Length: %d\r\n%s\r\n%s",
                 status, status < 400 ? "OK" : "As Told", s->name,
                 c->picture ? "image/svg+xml" : "text/plain", size,
                 c->close ? "Connection: close\r\n" : "", body);

    if (send(c->watch.fd, text, (size_t) n, MSG_NOSIGNAL) != n || c->close) {
        connection_close(c);
    }
}


/* It may be anywhere in the list of events: its memory stays for a while. */

static void
connection_close(connection_t *c)
{
    if (c->watch.fd == -1) {
        return;
    }

    close(c->watch.fd);
    c->watch.fd = -1;

    if (c->prev) {
        c->prev->next = c->next;

    } else {
        connections[c->server] = c->next;
    }

    if (c->next) {
        c->next->prev = c->prev;
    }

    c->next = graves;
    graves = c;

    if (c->busy) {
        model_run(&model, clock_ns());
        model_cancel(&model, &c->job, clock_ns());
    }
}


static void
bury(void)
{
    connection_t  *c;

    while ((c = graves)) {
        graves = c->next;
        free(c);
    }
}


static void
changed(model_t *m, uint32_t server)
{
    host_t      *h;
    listener_t  *l;

    h = &m->hosts[server];
    l = &listeners[server];

    if ((h->refusing || h->down) && l->watch.fd != -1) {
        close(l->watch.fd);
        l->watch.fd = -1;

    } else if (!h->refusing && !h->down && l->watch.fd == -1) {
        listen_on(l);
    }

    while (h->down && connections[server]) {
        connection_close(connections[server]);
    }
}


static void
listen_on(listener_t *l)
{
    l->watch.fd = net_listen(&l->address);

    if (l->watch.fd == -1) {
        die("cannot listen on %s:%u: %s", inet_ntoa(l->address.sin_addr),
            ntohs(l->address.sin_port), strerror(errno));
    }

    net_watch(epoll, EPOLL_CTL_ADD, l->watch.fd, EPOLLIN, l);
}


static void
signal_ready(void *of)
{
    watch_t                  *watch;
    struct signalfd_siginfo   info;

    watch = of;

    if (read(watch->fd, &info, sizeof(info)) != sizeof(info)) {
        return;
    }

    if (info.ssi_signo == SIGUSR1) {
        print_counters();

    } else {
        ending = 1;
    }
}


static void
control_ready(void *of)
{
    char     *line, *end;
    size_t    left;
    ssize_t   n;
    watch_t  *watch;

    watch = of;
    left = sizeof(control_buffer) - 1 - control_n;
    n = read(watch->fd, control_buffer + control_n, left);

    if (n <= 0) {
        ending = 1;
        return;
    }

    control_n += (size_t) n;
    control_buffer[control_n] = '\0';
    line = control_buffer;

    while ((end = strchr(line, '\n'))) {
        *end = '\0';
        control_line(line);
        line = end + 1;
    }

    control_n = strlen(line);
    memmove(control_buffer, line, control_n);

    if (control_n == sizeof(control_buffer) - 1) {
        die("a line of more than %d bytes", LINE_SIZE);
    }
}


static void
control_line(const char *line)
{
    char        text[LINE_SIZE + 8];
    uint64_t    now;
    scenario_t  one;

    now = clock_ns();
    model_run(&model, now);

    if (strcmp(line, "start") == 0) {
        model_start(&model, now);

    } else if (strcmp(line, "counters") == 0) {
        print_counters();

    } else if (strcmp(line, "end") == 0) {
        ending = 1;

    } else if (strncmp(line, "now ", 4) == 0) {
        one = scenario;
        one.events = NULL;
        one.nevents = 0;

        snprintf(text, sizeof(text), "at 0 %s", line + 4);
        scenario_line(&one, text);

        while (one.nevents--) {
            if (one.events[one.nevents].at) {
                die("\"for\" is for events of a scenario");
            }

            model_event(&model, &one.events[one.nevents], now);
        }

        free(one.events);

    } else {
        die("what is \"%s\"", line);
    }
}


static void
print_ready(void)
{
    uint32_t             k;
    struct sockaddr_in  *address;

    printf("{\"listening\":[");

    for (k = 0; k < scenario.nservers; k++) {
        address = &listeners[k].address;

        printf("%s{\"name\":\"%s\",\"address\":\"%s:%u\"}",
               k ? "," : "", scenario.servers[k].name,
               inet_ntoa(address->sin_addr), ntohs(address->sin_port));
    }

    printf("]}\n");
    fflush(stdout);
}


static void
print_counters(void)
{
    host_t      *h;
    uint64_t     now;
    uint32_t     k;
    counters_t  *n;

    now = clock_ns();
    model_run(&model, now);
    model_count(&model, now);

    printf("{\"program\":\"backends\",\"seconds\":%.3f,\"servers\":{",
           model.start == NEVER ? 0 : (double) (now - model.start) / SECOND);

    for (k = 0; k < scenario.nservers; k++) {
        h = &model.hosts[k];
        n = &h->counters;

        printf("%s\"%s\":{\"requests\":%llu,\"answered\":%llu,\"failed\":%llu,"
               "\"rejected\":%llu,\"lost\":%llu,\"closed\":%llu,"
               "\"cancelled\":%llu,\"health\":%llu,\"busy_s\":%.6f,"
               "\"max_queue\":%u,\"max_present\":%u",
               k ? "," : "", h->spec->name,
               (unsigned long long) n->requests,
               (unsigned long long) n->answered,
               (unsigned long long) n->failed,
               (unsigned long long) n->rejected,
               (unsigned long long) n->lost,
               (unsigned long long) n->closed,
               (unsigned long long) n->cancelled,
               (unsigned long long) n->health,
               (double) n->busy / SECOND, n->max_queue, n->max_present);

        if (windows && report_wants(windows, h->spec->name)) {
            printf(",");
            report_list(stdout, "windows", h->windows, h->nwindows);
        }

        printf("}");
    }

    printf("}}\n");
    fflush(stdout);
}


static void
usage(FILE *out)
{
    fputs("usage: backends [--control] [--windows NAME,..] [--realtime]\n"
          "                [--spin TIME] [-f FILE | -e LINE] ..\n"
          "\n"
          "Serves HTTP on all servers of a scenario.  Prints a line when it\n"
          "listens; on SIGUSR1, SIGTERM and SIGINT counters since the start.\n"
          "\n"
          "  --control   commands on stdin: \"start\", \"counters\",\n"
          "              \"end\", and events as in a scenario, \"now NAME\n"
          "              EVENT\"; the program ends with stdin\n"
          "  --windows   count requests in windows of 100 ms; \"*\" is all\n"
          "  --realtime  run before other processes; needs root\n"
          "  --spin      do not sleep for the last part of a wait\n"
          "\n"
          "A request carries its work in the header X-Work-us or the\n"
          "argument \"work-us\", in microseconds; all draws for it depend on\n"
          "the header X-Id.  The time of events starts with the first\n"
          "request; when X-Start (CLOCK_MONOTONIC, ns) has a later time than\n"
          "before, that is the start and all is as new.  /health takes no\n"
          "slot.  X-Server in an answer is the server's name, as is its\n"
          "body; that of /picture.svg is a picture with the name.\n"
          "\n" SCENARIO_HELP, out);
}
