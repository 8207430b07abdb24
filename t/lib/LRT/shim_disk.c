
/*
 * A disk that is slow, full or broken, and processes that die at it.  fsync()
 * takes as long as the test says.  A call on a temporary file of a state file,
 * not of its good copy, fails in the way that the test wants; or the process is
 * killed there, once.  Loaded with LD_PRELOAD; see Shim.pm.
 */


#define _GNU_SOURCE

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>


typedef struct {
    int64_t  delay;                  /* ms */
    int64_t  syncs;                  /* begun so far */
    int64_t  at;                     /* which call, see below */
    int64_t  error;                  /* errno that it has, 0 is SIGKILL */
} shim_t;


#include "shim.h"


/* the calls that save a file, one after another; "at" has a number of these */

enum { NOWHERE, WRITE, FSYNC, CLOSE, RENAME, RENAMED };


static int fails(int64_t call);
static int is_temporary(int fd);
static int is_temporary_name(const char *path);


/* what there is room for goes to the disk before it is full */

ssize_t
write(int fd, const void *data, size_t len)
{
    if (len && is_temporary(fd) && fails(WRITE)) {

        if (len == 1) {
            return -1;
        }

        len /= 2;
    }

    return syscall(SYS_write, fd, data, len);
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

    if (is_temporary(fd) && fails(FSYNC)) {
        return -1;
    }

    return (int) syscall(SYS_fsync, fd);
}


int
close(int fd)
{
    int  failed, error;

    failed = is_temporary(fd) && fails(CLOSE);
    error = errno;

    if (syscall(SYS_close, fd) == -1) {
        return -1;
    }

    errno = error;

    return failed ? -1 : 0;
}


int
rename(const char *from, const char *to)
{
    int  rc;

    if (is_temporary_name(from) && fails(RENAME)) {
        return -1;
    }

    rc = renameat(AT_FDCWD, from, AT_FDCWD, to);

    if (rc == 0 && is_temporary_name(from)) {
        (void) fails(RENAMED);
    }

    return rc;
}


static int
fails(int64_t call)
{
    int64_t  error, at = call;

    error = __atomic_load_n(&shim->error, __ATOMIC_ACQUIRE);

    if (__atomic_load_n(&shim->at, __ATOMIC_ACQUIRE) != call) {
        return 0;
    }

    if (error == 0
        && __atomic_compare_exchange_n(&shim->at, &at, NOWHERE, 0,
                                       __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST))
    {
        kill(getpid(), SIGKILL);
    }

    errno = (int) error;

    return 1;
}


static int
is_temporary(int fd)
{
    char     name[64], path[4096];
    ssize_t  n;

    if (__atomic_load_n(&shim->at, __ATOMIC_ACQUIRE) == NOWHERE) {
        return 0;
    }

    snprintf(name, sizeof(name), "/proc/self/fd/%d", fd);
    n = readlink(name, path, sizeof(path) - 1);

    if (n < 0) {
        return 0;
    }

    path[n] = '\0';

    return is_temporary_name(path);
}


static int
is_temporary_name(const char *path)
{
    size_t  n = strlen(path);

    return n > 4 && strcmp(path + n - 4, ".tmp") == 0
           && strstr(path, ".json.") && strstr(path, ".good.") == NULL;
}
