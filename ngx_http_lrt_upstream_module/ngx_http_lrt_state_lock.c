
/*
 * Copyright (C) the ngx_http_lrt_upstream_module authors
 *
 * FILE.lock: of several instances of nginx on one state file, as during a
 * binary upgrade, one writes it, and is the one that takes changes through the
 * API.  The others follow the file.  If two took changes in the same moment,
 * one of them would be lost.
 *
 * The worker that looks after the file has a lock on FILE.lock, and keeps it
 * until he leaves; the kernel ends it with him.  His master stands in it, so
 * others of the same instance know whose it is; or 0, if he has left nothing to
 * be saved.
 */


#include "ngx_http_lrt_state.h"

#include <sys/file.h>
#include <sys/stat.h>


/* looks, twice a second: the next worker of the instance is faster than that */

#define NGX_HTTP_LRT_LOCK_VACANT  4

#define NGX_HTTP_LRT_LOCK_LEN     64


/*
 * The master, which all its workers have in common, whatever it has loaded.
 * In containers all of them may have the same number, and numbers come again;
 * "start" is when it began, and 0 if that is not known.
 */

typedef struct {
    int64_t       pid;               /* 0: nobody's, with nothing to save */
    uint64_t      start;
} ngx_http_lrt_master_t;


static lrt_writer_e ngx_http_lrt_lock_take(ngx_http_lrt_job_t *job, int fd);
static ngx_uint_t ngx_http_lrt_lock_is_there(int fd, const char *path);
static void ngx_http_lrt_lock_read(int fd, ngx_http_lrt_master_t *master);
static void ngx_http_lrt_lock_write(int fd,
    const ngx_http_lrt_master_t *master);
static ngx_uint_t ngx_http_lrt_lock_is_own(const ngx_http_lrt_master_t *own,
    const ngx_http_lrt_master_t *other);
static void ngx_http_lrt_lock_own(ngx_http_lrt_master_t *own);


void
ngx_http_lrt_state_lock(ngx_http_lrt_job_t *job)
{
    int                    fd, error;
    char                   path[NGX_MAX_PATH];
    struct stat            st;
    ngx_http_lrt_master_t  own, there;

    /* where nothing can be locked, nothing is shared in this way, or saved */

    if (ngx_strlen(job->path) + sizeof(".lock") > sizeof(path)) {
        job->writer = LRT_WRITER_SELF;
        return;
    }

    ngx_sprintf((u_char *) path, "%s.lock%Z", job->path);

    if (job->lock != -1) {

        if (ngx_http_lrt_lock_is_there(job->lock, path)) {
            job->writer = LRT_WRITER_SELF;
            return;
        }

        /* others cannot see that one */

        (void) close(job->lock);
        job->lock = -1;
    }

    fd = open(path, O_RDWR|O_CREAT|O_NOFOLLOW|O_NONBLOCK|O_CLOEXEC, 0640);

    if (fd == -1 || fstat(fd, &st) == -1 || !S_ISREG(st.st_mode)) {
        job->writer = LRT_WRITER_SELF;

    } else if (flock(fd, LOCK_EX|LOCK_NB) == 0) {
        job->writer = ngx_http_lrt_lock_take(job, fd);

    } else {
        error = errno;
        job->vacant = 0;
        job->writer = LRT_WRITER_SELF;

        /* one of ours has it, who may be about to leave: he knows, not we */

        if (error == EWOULDBLOCK) {
            ngx_http_lrt_lock_own(&own);
            ngx_http_lrt_lock_read(fd, &there);

            job->writer = ngx_http_lrt_lock_is_own(&own, &there)
                          ? LRT_WRITER_UNKNOWN : LRT_WRITER_OTHER;
        }
    }

    if (fd != -1 && job->lock == -1) {
        (void) close(fd);
    }
}


void
ngx_http_lrt_state_unlock(ngx_http_lrt_state_t *state, ngx_uint_t saved)
{
    static const ngx_http_lrt_master_t  nobody;

    if (state->lock == -1) {
        return;
    }

    if (saved) {
        ngx_http_lrt_lock_write(state->lock, &nobody);
    }

    (void) close(state->lock);
    state->lock = -1;
}


/*
 * If another instance had it before, its worker may just have been killed: the
 * next one has changes to save, and goes first.  There is none if its master is
 * dead, too.
 */

static lrt_writer_e
ngx_http_lrt_lock_take(ngx_http_lrt_job_t *job, int fd)
{
    ngx_http_lrt_master_t  own, before;

    ngx_http_lrt_lock_own(&own);
    ngx_http_lrt_lock_read(fd, &before);

    if (before.pid > 0
        && !ngx_http_lrt_lock_is_own(&own, &before)
        && !ngx_http_lrt_dead((uint64_t) before.pid, before.start)
        && ++job->vacant < NGX_HTTP_LRT_LOCK_VACANT)
    {
        return LRT_WRITER_OTHER;
    }

    ngx_http_lrt_lock_write(fd, &own);

    job->lock = fd;
    job->vacant = 0;

    return LRT_WRITER_SELF;
}


/* somebody may have removed it, or put another one there */

static ngx_uint_t
ngx_http_lrt_lock_is_there(int fd, const char *path)
{
    struct stat  ours, there;

    return fstat(fd, &ours) == 0
           && lstat(path, &there) == 0
           && ours.st_ino == there.st_ino
           && ours.st_dev == there.st_dev;
}


static void
ngx_http_lrt_lock_read(int fd, ngx_http_lrt_master_t *master)
{
    char     text[NGX_HTTP_LRT_LOCK_LEN + 1], *p;
    ssize_t  n;

    n = pread(fd, text, NGX_HTTP_LRT_LOCK_LEN, 0);

    text[n > 0 ? n : 0] = '\0';

    master->pid = strtoll(text, &p, 10);
    master->start = strtoull(p, NULL, 10);
}


/* numbers of one length, so one takes the place of the other at once */

static void
ngx_http_lrt_lock_write(int fd, const ngx_http_lrt_master_t *master)
{
    u_char   text[NGX_HTTP_LRT_LOCK_LEN + 1], *p;
    ssize_t  n;

    p = ngx_sprintf(text, "%20L %20uL\n", master->pid, master->start);
    n = pwrite(fd, text, p - text, 0);

    /* on a full disk others wait longer, no more */

    (void) n;
}


static ngx_uint_t
ngx_http_lrt_lock_is_own(const ngx_http_lrt_master_t *own,
    const ngx_http_lrt_master_t *other)
{
    return own->pid == other->pid
           && (own->start == other->start
               || own->start == 0
               || other->start == 0);
}


static void
ngx_http_lrt_lock_own(ngx_http_lrt_master_t *own)
{
    u_char  state;

    own->pid = (ngx_process == NGX_PROCESS_SINGLE) ? ngx_pid : ngx_parent;

    if (ngx_http_lrt_process_stat((uint64_t) own->pid, &state, &own->start)
        != NGX_OK)
    {
        own->start = 0;
    }
}
