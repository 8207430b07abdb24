
/*
 * A slow disk: fsync() takes as long as the test says.  Loaded with LD_PRELOAD;
 * see Shim.pm.
 */


#define _GNU_SOURCE

#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>


/* the order is known to Shim.pm */

typedef struct {
    int64_t  delay;                  /* ms */
    int64_t  syncs;                  /* begun so far */
} shim_t;


static shim_t   shim_none;
static shim_t  *shim = &shim_none;


__attribute__((constructor)) static void
shim_open(void)
{
    int          fd;
    void        *p;
    const char  *path;

    path = getenv("LRT_SHIM");
    fd = path ? open(path, O_RDWR) : -1;

    if (fd == -1) {
        return;
    }

    p = mmap(NULL, sizeof(shim_t), PROT_READ|PROT_WRITE, MAP_SHARED, fd, 0);

    close(fd);

    if (p != MAP_FAILED) {
        shim = p;
    }
}


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
