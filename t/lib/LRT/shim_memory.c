
/*
 * Memory that is refused: calls of malloc() and the like from the program
 * itself are counted, over all its processes, and some of them fail.  What
 * libraries ask for on their own account is not ours to test.  Loaded with
 * LD_PRELOAD; see Shim.pm.
 */


#define _GNU_SOURCE

#include <errno.h>
#include <link.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>


typedef struct {
    int64_t  asked;                  /* calls so far */
    int64_t  refuse;                 /* the number of the one that fails */
    int64_t  all;                    /* and those that follow */
    int64_t  refused;
} shim_t;


#include "shim.h"


static uintptr_t  low, high;         /* the code of the program */


void *__libc_malloc(size_t size);
void *__libc_calloc(size_t n, size_t size);
void *__libc_realloc(void *p, size_t size);
void *__libc_memalign(size_t align, size_t size);


/* the first object is the program */

static int
shim_program(struct dl_phdr_info *info, size_t size, void *data)
{
    int                 i;
    uintptr_t           at;
    const ElfW(Phdr)   *ph;

    for (i = 0; i < info->dlpi_phnum; i++) {
        ph = &info->dlpi_phdr[i];

        if (ph->p_type == PT_LOAD && (ph->p_flags & PF_X)) {
            at = info->dlpi_addr + ph->p_vaddr;
            low = at;
            high = at + ph->p_memsz;
        }
    }

    return 1;
}


__attribute__((constructor)) static void
shim_find_program(void)
{
    dl_iterate_phdr(shim_program, NULL);
}


static int
shim_refuses(void *caller)
{
    int64_t    n;
    uintptr_t  at = (uintptr_t) caller;

    if (at < low || at >= high) {
        return 0;
    }

    n = __atomic_add_fetch(&shim->asked, 1, __ATOMIC_SEQ_CST);

    if (n == shim->refuse || (shim->all && shim->refuse && n > shim->refuse)) {
        __atomic_add_fetch(&shim->refused, 1, __ATOMIC_SEQ_CST);
        errno = ENOMEM;
        return 1;
    }

    return 0;
}


#define refuses()  shim_refuses(__builtin_return_address(0))


void *
malloc(size_t size)
{
    return refuses() ? NULL : __libc_malloc(size);
}


void *
calloc(size_t n, size_t size)
{
    return refuses() ? NULL : __libc_calloc(n, size);
}


void *
realloc(void *p, size_t size)
{
    return refuses() ? NULL : __libc_realloc(p, size);
}


int
posix_memalign(void **p, size_t align, size_t size)
{
    if (refuses()) {
        return ENOMEM;
    }

    *p = __libc_memalign(align, size);

    return *p ? 0 : ENOMEM;
}


void *
mmap(void *at, size_t len, int prot, int flags, int fd, off_t offset)
{
    return refuses() ? MAP_FAILED
                     : (void *) syscall(SYS_mmap, at, len, prot, flags, fd,
                                        offset);
}
