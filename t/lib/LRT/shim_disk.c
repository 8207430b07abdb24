
/*
 * A slow disk: fsync() takes as long as the test says.  Loaded with LD_PRELOAD;
 * see Shim.pm.
 */


#define _GNU_SOURCE

#include <stdint.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>


typedef struct {
    int64_t  delay;                  /* ms */
    int64_t  syncs;                  /* begun so far */
} shim_t;


#include "shim.h"


/* it ends early if the test says that the disk is quick again */

int
fsync(int fd)
{
    int64_t          waited;
    struct timespec  ms = { 0, 1000000 };

    __atomic_add_fetch(&shim->syncs, 1, __ATOMIC_SEQ_CST);

    for (waited = 0;
         waited < __atomic_load_n(&shim->delay, __ATOMIC_ACQUIRE);
         waited++)
    {
        nanosleep(&ms, NULL);
    }

    return (int) syscall(SYS_fsync, fd);
}
