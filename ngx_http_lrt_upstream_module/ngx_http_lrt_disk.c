
/*
 * Copyright (C) the ngx_http_lrt_upstream_module authors
 */


#include "ngx_http_lrt_disk.h"

#include <pthread.h>
#include <sys/file.h>


#define NGX_HTTP_LRT_DISK_LOCK  1000         /* ms */


static void *ngx_http_lrt_disk_thread(void *data);
static ngx_int_t ngx_http_lrt_disk_load(ngx_http_lrt_job_t *job,
    const char *path);
static ngx_int_t ngx_http_lrt_disk_store(ngx_http_lrt_job_t *job,
    const char *path);
static ngx_int_t ngx_http_lrt_disk_rename(ngx_http_lrt_job_t *job,
    const char *tmp, const char *path);
static int ngx_http_lrt_disk_lock(const char *path);
static ngx_uint_t ngx_http_lrt_disk_known(const ngx_http_lrt_job_t *job);
static ngx_int_t ngx_http_lrt_disk_sync_folder(ngx_http_lrt_job_t *job,
    const char *path);
static ngx_int_t ngx_http_lrt_disk_failed(ngx_http_lrt_job_t *job,
    const char *what);


/* of this process */

static pthread_mutex_t       ngx_http_lrt_disk_mutex =
                                                   PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t        ngx_http_lrt_disk_cond = PTHREAD_COND_INITIALIZER;
static ngx_http_lrt_job_t   *ngx_http_lrt_disk_jobs;
static pid_t                 ngx_http_lrt_disk_pid;


uint64_t
ngx_http_lrt_disk_hash(const void *text, size_t len)
{
    return lrt_table_hash(text, (uint32_t) len, 0);
}


ngx_http_lrt_job_t *
ngx_http_lrt_disk_job(const char *path, ngx_log_t *log)
{
    size_t               len;
    ngx_http_lrt_job_t  *job;

    len = ngx_strlen(path) + 1;

    job = ngx_calloc(sizeof(ngx_http_lrt_job_t) + len, log);

    if (job) {
        job->path = (char *) (job + 1);
        ngx_memcpy(job->path, path, len);
    }

    return job;
}


void
ngx_http_lrt_disk_free(ngx_http_lrt_job_t *job)
{
    ngx_free(job->text);
    ngx_free(job);
}


u_char *
ngx_http_lrt_disk_why(u_char *p, u_char *last, const ngx_http_lrt_job_t *job)
{
    p = ngx_slprintf(p, last, "%s", job->what);

    if (job->error) {
        p = ngx_slprintf(p, last, " (%d: %s)", job->error,
                         strerror(job->error));
    }

    return p;
}


ngx_int_t
ngx_http_lrt_disk_start(ngx_http_lrt_job_t *job, ngx_log_t *log)
{
    int                   rc;
    sigset_t              all, old;
    pthread_t             thread;
    pthread_attr_t        attr;
    ngx_http_lrt_job_t  **last;

    /* signals are for nginx' own thread; a fork has none of ours */

    if (ngx_http_lrt_disk_pid != ngx_pid) {

        sigfillset(&all);
        (void) pthread_sigmask(SIG_SETMASK, &all, &old);

        (void) pthread_attr_init(&attr);
        (void) pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);

        rc = pthread_create(&thread, &attr, ngx_http_lrt_disk_thread, NULL);

        (void) pthread_attr_destroy(&attr);
        (void) pthread_sigmask(SIG_SETMASK, &old, NULL);

        if (rc != 0) {
            ngx_log_error(NGX_LOG_ERR, log, rc,
                          "no thread for state files: pthread_create() failed");
            return NGX_ERROR;
        }

        ngx_http_lrt_disk_pid = ngx_pid;
    }

    (void) pthread_mutex_lock(&ngx_http_lrt_disk_mutex);

    for (last = &ngx_http_lrt_disk_jobs; *last; last = &(*last)->next) {
        /* void */
    }

    job->next = NULL;
    *last = job;

    (void) pthread_cond_signal(&ngx_http_lrt_disk_cond);
    (void) pthread_mutex_unlock(&ngx_http_lrt_disk_mutex);

    return NGX_OK;
}


static void *
ngx_http_lrt_disk_thread(void *data)
{
    ngx_http_lrt_job_t  *job;

    for ( ;; ) {
        (void) pthread_mutex_lock(&ngx_http_lrt_disk_mutex);

        while (ngx_http_lrt_disk_jobs == NULL) {
            (void) pthread_cond_wait(&ngx_http_lrt_disk_cond,
                                     &ngx_http_lrt_disk_mutex);
        }

        job = ngx_http_lrt_disk_jobs;
        ngx_http_lrt_disk_jobs = job->next;

        (void) pthread_mutex_unlock(&ngx_http_lrt_disk_mutex);

        job->work(job);

        lrt_store(&job->finished, 1);
    }

    return data;
}


void
ngx_http_lrt_disk_read(ngx_http_lrt_job_t *job)
{
    if (ngx_http_lrt_disk_load(job, job->path) != NGX_OK) {
        return;
    }

    job->hash = ngx_http_lrt_disk_hash(job->text, job->len);
    job->rc = (job->hash == job->known) ? NGX_HTTP_LRT_JOB_DONE
                                        : NGX_HTTP_LRT_JOB_EDITED;
}


void
ngx_http_lrt_disk_write(ngx_http_lrt_job_t *job)
{
    char  *target;

    job->hash = ngx_http_lrt_disk_hash(job->text, job->len);

    if (!ngx_http_lrt_disk_known(job)) {
        job->rc = NGX_HTTP_LRT_JOB_EDITED;
        return;
    }

    /* a link stays, and what it leads to is replaced */

    target = job->plain ? NULL : realpath(job->path, NULL);

    if (ngx_http_lrt_disk_store(job, target ? target : job->path) == NGX_OK) {
        job->rc = NGX_HTTP_LRT_JOB_DONE;
    }

    free(target);
}


/*
 * What somebody else has put there meanwhile is not for us to remove, least of
 * all if it cannot be read.
 */

static ngx_uint_t
ngx_http_lrt_disk_known(const ngx_http_lrt_job_t *job)
{
    ngx_http_lrt_job_t  old;

    if (job->over) {
        return 1;
    }

    ngx_memzero(&old, sizeof(ngx_http_lrt_job_t));
    old.path = job->path;
    old.known = job->known;

    ngx_http_lrt_disk_read(&old);
    ngx_free(old.text);

    return old.rc == NGX_HTTP_LRT_JOB_DONE
           || old.rc == NGX_HTTP_LRT_JOB_MISSING;
}


static ngx_int_t
ngx_http_lrt_disk_load(ngx_http_lrt_job_t *job, const char *path)
{
    int          fd;
    ssize_t      n;
    struct stat  st;

    fd = open(path, O_RDONLY|O_NONBLOCK|O_CLOEXEC
                    |(job->plain ? O_NOFOLLOW : 0));

    if (fd == -1) {
        (void) ngx_http_lrt_disk_failed(job, "open() failed");

        if (job->error == ENOENT) {
            job->rc = NGX_HTTP_LRT_JOB_MISSING;
        }

        return NGX_ERROR;
    }

    if (fstat(fd, &st) == -1) {
        (void) ngx_http_lrt_disk_failed(job, "fstat() failed");
        goto failed;
    }

    errno = 0;

    if (!S_ISREG(st.st_mode)) {
        (void) ngx_http_lrt_disk_failed(job, "it is no regular file");
        goto failed;
    }

    if (st.st_size > NGX_HTTP_LRT_DISK_MAX) {
        (void) ngx_http_lrt_disk_failed(job, "it is larger than 64 MiB");
        goto failed;
    }

    if (job->max && (size_t) st.st_size > job->max) {
        (void) ngx_http_lrt_disk_failed(job, "it is too large");
        goto failed;
    }

    job->text = malloc((size_t) st.st_size + 1);

    /* that says nothing of the file */

    if (job->text == NULL) {
        job->rc = NGX_HTTP_LRT_JOB_AGAIN;
        goto failed;
    }

    while (job->len < (size_t) st.st_size) {
        n = read(fd, job->text + job->len, (size_t) st.st_size - job->len);

        if (n == -1 && errno == EINTR) {
            continue;
        }

        if (n == -1) {
            (void) ngx_http_lrt_disk_failed(job, "read() failed");
            goto failed;
        }

        if (n == 0) {
            break;
        }

        job->len += (size_t) n;
    }

    (void) close(fd);

    return NGX_OK;

failed:

    (void) close(fd);

    return NGX_ERROR;
}


/* a temporary file, fsync, rename, fsync of the folder */

static ngx_int_t
ngx_http_lrt_disk_store(ngx_http_lrt_job_t *job, const char *path)
{
    int          fd;
    char         tmp[NGX_MAX_PATH];
    size_t       done;
    ssize_t      n;
    ngx_int_t    rc;
    struct stat  st;

    if (ngx_strlen(path) + NGX_INT64_LEN + sizeof("..tmp") > sizeof(tmp)) {
        errno = ENAMETOOLONG;
        return ngx_http_lrt_disk_failed(job, "name of temporary file");
    }

    /* during a binary upgrade another one may be writing as well */

    ngx_sprintf((u_char *) tmp, "%s.%P.tmp%Z", path, ngx_pid);

    (void) unlink(tmp);

    fd = open(tmp, O_WRONLY|O_CREAT|O_EXCL|O_NOFOLLOW|O_CLOEXEC, 0640);

    if (fd == -1) {
        return ngx_http_lrt_disk_failed(job, "open() of temporary file failed");
    }

    /* who could read it before can do so again */

    if (job->mode) {
        (void) fchmod(fd, job->mode);

    } else if (stat(path, &st) == 0) {
        (void) fchmod(fd, st.st_mode & 0777);
    }

    rc = NGX_OK;

    for (done = 0; done < job->len; done += (size_t) n) {
        n = write(fd, job->text + done, job->len - done);

        if (n == -1 && errno == EINTR) {
            n = 0;
            continue;
        }

        if (n == -1) {
            rc = ngx_http_lrt_disk_failed(job, "write() failed");
            break;
        }
    }

    if (rc == NGX_OK && fsync(fd) == -1) {
        rc = ngx_http_lrt_disk_failed(job, "fsync() failed");
    }

    if (close(fd) == -1 && rc == NGX_OK) {
        rc = ngx_http_lrt_disk_failed(job, "close() failed");
    }

    if (rc == NGX_OK) {
        rc = ngx_http_lrt_disk_rename(job, tmp, path);
    }

    if (rc != NGX_OK) {
        (void) unlink(tmp);
        return rc;
    }

    /* the file is there: that is no failure, but somebody should know */

    if (ngx_http_lrt_disk_sync_folder(job, path) != NGX_OK) {
        job->rc = NGX_HTTP_LRT_JOB_DONE;
    }

    return NGX_OK;
}


/* to write may have taken long, and others may have been here meanwhile */

static ngx_int_t
ngx_http_lrt_disk_rename(ngx_http_lrt_job_t *job, const char *tmp,
    const char *path)
{
    int        lock;
    ngx_int_t  rc;

    lock = job->over ? -1 : ngx_http_lrt_disk_lock(path);
    rc = NGX_OK;

    if ((job->may && !job->may(job)) || !ngx_http_lrt_disk_known(job)) {
        job->rc = NGX_HTTP_LRT_JOB_EDITED;
        rc = NGX_ERROR;

    } else if (rename(tmp, path) == -1) {
        rc = ngx_http_lrt_disk_failed(job, "rename() failed");
    }

    if (lock != -1) {
        (void) close(lock);
    }

    return rc;
}


/*
 * Two instances, as of a binary upgrade, look at the file and replace it one
 * after the other.  Who waited for the file that was replaced sees another one
 * then.  It is held for no longer than that takes; should somebody who keeps it
 * be stopped, or the file system have no locks, it goes without.
 */

static int
ngx_http_lrt_disk_lock(const char *path)
{
    int         fd;
    ngx_uint_t  i;

    fd = open(path, O_RDONLY|O_NONBLOCK|O_CLOEXEC);

    for (i = 0; fd != -1 && i < NGX_HTTP_LRT_DISK_LOCK; i++) {

        if (flock(fd, LOCK_EX|LOCK_NB) == 0 || errno != EWOULDBLOCK) {
            break;
        }

        ngx_msleep(1);
    }

    return fd;
}


static ngx_int_t
ngx_http_lrt_disk_sync_folder(ngx_http_lrt_job_t *job, const char *path)
{
    int          fd;
    char         folder[NGX_MAX_PATH], *slash;
    ngx_int_t    rc;

    (void) ngx_cpystrn((u_char *) folder, (u_char *) path, sizeof(folder));

    slash = strrchr(folder, '/');

    if (slash == NULL) {
        (void) ngx_cpystrn((u_char *) folder, (u_char *) ".", 2);

    } else {
        slash[slash == folder] = '\0';
    }

    fd = open(folder, O_RDONLY|O_DIRECTORY|O_CLOEXEC);

    if (fd == -1) {
        return ngx_http_lrt_disk_failed(job, "open() of folder failed");
    }

    rc = NGX_OK;

    /* some file systems cannot, and have no need to */

    if (fsync(fd) == -1 && errno != EINVAL && errno != ENOTSUP) {
        rc = ngx_http_lrt_disk_failed(job, "fsync() of folder failed");
    }

    (void) close(fd);

    return rc;
}


static ngx_int_t
ngx_http_lrt_disk_failed(ngx_http_lrt_job_t *job, const char *what)
{
    job->error = errno;
    job->what = what;
    job->rc = NGX_HTTP_LRT_JOB_FAILED;

    return NGX_ERROR;
}
