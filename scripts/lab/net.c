
/*
 * Copyright (C) the ngx_http_lrt_upstream_module authors
 */


#define _GNU_SOURCE

#include <errno.h>
#include <netinet/tcp.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <strings.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "net.h"
#include "util.h"


uint64_t  net_spin;


void
net_init(void)
{
    struct rlimit  limit;

    if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
        limit.rlim_cur = limit.rlim_max;
        (void) setrlimit(RLIMIT_NOFILE, &limit);
    }

    signal(SIGPIPE, SIG_IGN);

    /* the kernel else adds up to 50 us to find others to wake up with */

    (void) prctl(PR_SET_TIMERSLACK, 1);
}


void
net_realtime(void)
{
    struct sched_param  param;

    param.sched_priority = 1;

    if (sched_setscheduler(0, SCHED_FIFO, &param) == -1) {
        die("--realtime: %s", strerror(errno));
    }
}


int
net_listen(struct sockaddr_in *address)
{
    int        fd, one;
    socklen_t  size;

    one = 1;
    size = sizeof(struct sockaddr_in);
    fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

    if (fd == -1) {
        return -1;
    }

    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));

    if (bind(fd, (struct sockaddr *) address, size) == -1
        || listen(fd, 4096) == -1
        || getsockname(fd, (struct sockaddr *) address, &size) == -1)
    {
        one = errno;
        close(fd);
        errno = one;
        return -1;
    }

    return fd;
}


int
net_connect(const struct sockaddr_in *address)
{
    int  fd, one;

    one = 1;
    fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

    if (fd == -1) {
        return -1;
    }

    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));

    if (connect(fd, (const struct sockaddr *) address, sizeof(*address)) == -1
        && errno != EINPROGRESS)
    {
        one = errno;
        close(fd);
        errno = one;
        return -1;
    }

    return fd;
}


int
net_epoll(void)
{
    int  epoll;

    epoll = epoll_create1(EPOLL_CLOEXEC);

    if (epoll == -1) {
        die("epoll: %s", strerror(errno));
    }

    return epoll;
}


void
net_watch(int epoll, int op, int fd, uint32_t events, void *data)
{
    struct epoll_event  event;

    event.events = events;
    event.data.ptr = data;

    if (epoll_ctl(epoll, op, fd, &event) == -1) {
        die("epoll_ctl: %s", strerror(errno));
    }
}


int
net_wait(int epoll, struct epoll_event *events, int n, uint64_t until)
{
    int              found;
    uint64_t         now, left;
    struct timespec  ts;

    for ( ;; ) {
        now = clock_ns();
        left = until > now ? until - now : 0;
        left = left > net_spin ? left - net_spin : 0;

        ts.tv_sec = (time_t) (left / SECOND);
        ts.tv_nsec = (long) (left % SECOND);

        found = epoll_pwait2(epoll, events, n, until == NEVER ? NULL : &ts,
                             NULL);

        if (found == -1 && errno != EINTR) {
            die("epoll_pwait2: %s", strerror(errno));
        }

        if (found > 0) {
            return found;
        }

        if (found == 0 && clock_ns() >= until) {
            return 0;
        }
    }
}


size_t
head_end(const char *buffer, size_t n, size_t from)
{
    const char  *p;

    from = from > 3 ? from - 3 : 0;
    p = memmem(buffer + from, n - from, "\r\n\r\n", 4);

    return p ? (size_t) (p - buffer) + 4 : 0;
}


const char *
head_line(const char *line, const char *end, const char **name,
    size_t *length, const char **value)
{
    const char  *p, *next;

    next = memchr(line, '\n', (size_t) (end - line));

    if (next == NULL || next - line < 2) {
        return NULL;
    }

    p = memchr(line, ':', (size_t) (next - line));

    *name = line;
    *length = p ? (size_t) (p - line) : 0;

    p = p ? p + 1 : line;

    while (*p == ' ') {
        p++;
    }

    *value = p;

    return next + 1;
}


int
head_is(const char *name, size_t length, const char *wanted)
{
    return strlen(wanted) == length && strncasecmp(name, wanted, length) == 0;
}
