
/*
 * How long the turns of nginx's event loop are: from the return of
 * epoll_wait() to the next call, in processor time of the process.  Loaded
 * with LD_PRELOAD; see Shim.pm.
 */


#define _GNU_SOURCE

#include <stdint.h>
#include <sys/epoll.h>
#include <sys/syscall.h>
#include <time.h>


typedef struct {
    int64_t  turns;
    int64_t  longest;                /* us */
    int64_t  long_turns;             /* of a millisecond and more */
} shim_t;


#include "shim.h"


static int64_t
shim_processor(void)
{
    struct timespec  ts;

    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &ts);

    return (int64_t) ts.tv_sec * 1000000 + ts.tv_nsec / 1000;
}


int
epoll_wait(int ep, struct epoll_event *events, int n, int timeout)
{
    int      rc;
    int64_t  us;

    static int64_t  begun;

    if (begun) {
        us = shim_processor() - begun;

        shim->turns++;
        shim->long_turns += us >= 1000;

        if (us > shim->longest) {
            shim->longest = us;
        }
    }

    rc = (int) syscall(SYS_epoll_pwait, ep, events, n, timeout, NULL, 0);

    begun = shim_processor();

    return rc;
}
