
/*
 * What a test shifts or breaks below nginx: the wall clock, and connect().
 * Loaded with LD_PRELOAD; see Shim.pm.
 */


#define _GNU_SOURCE

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>


typedef struct {
    int64_t  shift;                  /* s, of the wall clock */
    int64_t  error;                  /* of connect() ... */
    int64_t  port;                   /* ... to this port */
    int64_t  randoms;                /* calls of random(), srandom() */
    int64_t  srandoms;
} shim_t;


#include "shim.h"


int
clock_gettime(clockid_t id, struct timespec *ts)
{
    int  rc;

    rc = (int) syscall(SYS_clock_gettime, id, ts);

    if (rc == 0 && (id == CLOCK_REALTIME || id == CLOCK_REALTIME_COARSE)) {
        ts->tv_sec += shim->shift;
    }

    return rc;
}


int
gettimeofday(struct timeval *tv, void *tz)
{
    struct timespec  ts;

    (void) tz;

    clock_gettime(CLOCK_REALTIME, &ts);

    tv->tv_sec = ts.tv_sec;
    tv->tv_usec = ts.tv_nsec / 1000;

    return 0;
}


time_t
time(time_t *t)
{
    struct timespec  ts;

    clock_gettime(CLOCK_REALTIME, &ts);

    if (t) {
        *t = ts.tv_sec;
    }

    return ts.tv_sec;
}


int
connect(int fd, const struct sockaddr *sa, socklen_t len)
{
    if (shim->error
        && sa->sa_family == AF_INET
        && ntohs(((const struct sockaddr_in *) sa)->sin_port) == shim->port)
    {
        errno = (int) shim->error;
        return -1;
    }

    return (int) syscall(SYS_connect, fd, sa, len);
}


/* those of the system's library do the work, as other functions of theirs */

long
random(void)
{
    int32_t  n;

    static char                buf[128];
    static struct random_data  data;

    __atomic_fetch_add(&shim->randoms, 1, __ATOMIC_SEQ_CST);

    if (data.state == NULL) {
        initstate_r((unsigned) getpid(), buf, sizeof(buf), &data);
    }

    random_r(&data, &n);

    return n;
}


void
srandom(unsigned seed)
{
    (void) seed;

    __atomic_fetch_add(&shim->srandoms, 1, __ATOMIC_SEQ_CST);
}
