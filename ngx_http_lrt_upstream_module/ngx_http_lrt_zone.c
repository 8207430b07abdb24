
/*
 * Copyright (C) the ngx_http_lrt_upstream_module authors
 *
 * Shared memory zones: one for the table of each group, named after the group
 * so that it outlives any change of the "zone" directive, and one for the
 * registry of workers.
 *
 * Everything is allocated in one piece when a zone is made.  The allocator of
 * the zone is never used again: a worker killed inside it would leave its
 * lists broken.
 */


#include "ngx_http_lrt.h"

#include <sys/wait.h>


/* the master gives up after this many milliseconds and leaves it to workers */

#define NGX_HTTP_LRT_MASTER_WAIT  1500
#define NGX_HTTP_LRT_MASTER_STEP  5

#define NGX_HTTP_LRT_MIN_PEERS    64

/* of all zones, see ngx_init_zone_pool() */

#define NGX_HTTP_LRT_SLAB_MIN_SHIFT  3


static ngx_int_t ngx_http_lrt_add_registry_zone(ngx_conf_t *cf,
    ngx_http_lrt_main_conf_t *lmcf);
static uint32_t ngx_http_lrt_rows(ngx_conf_t *cf);
static ngx_int_t ngx_http_lrt_init_registry_zone(ngx_shm_zone_t *shm_zone,
    void *data);
static ngx_int_t ngx_http_lrt_init_table_zone(ngx_shm_zone_t *shm_zone,
    void *data);
static ngx_int_t ngx_http_lrt_check_capacity(ngx_shm_zone_t *shm_zone,
    ngx_http_lrt_srv_conf_t *lscf, uint32_t capacity, uint32_t need);
static size_t ngx_http_lrt_zone_size(size_t size);


static ngx_str_t  ngx_http_lrt_registry_name = ngx_string("lrt:");


ngx_int_t
ngx_http_lrt_add_zones(ngx_conf_t *cf, ngx_http_lrt_srv_conf_t *lscf,
    ngx_shm_zone_t *declared)
{
    size_t                      size, running;
    uint32_t                    n;
    ngx_str_t                   name, *host;
    ngx_shm_zone_t             *shm_zone;
    ngx_http_lrt_main_conf_t   *lmcf;
    ngx_http_lrt_srv_conf_t   **lscfp;

    lmcf = ngx_http_conf_get_module_main_conf(cf, ngx_http_lrt_upstream_module);

    if (ngx_http_lrt_add_registry_zone(cf, lmcf) != NGX_OK) {
        return NGX_ERROR;
    }

    host = &lscf->upstream->host;

    name.len = sizeof("lrt:") - 1 + host->len;
    name.data = ngx_pnalloc(cf->pool, name.len);
    if (name.data == NULL) {
        return NGX_ERROR;
    }

    ngx_sprintf(name.data, "lrt:%V", host);

    if (declared) {
        lscf->zone_name = declared->shm.name;
        size = declared->shm.size;

    } else {
        lscf->zone_name = *host;

        n = ngx_max(2 * lscf->conf.n, NGX_HTTP_LRT_MIN_PEERS);
        size = ngx_http_lrt_zone_size(lrt_table_size(n, lmcf->rows));

        /* a zone that shrinks would have to be copied at each reload */

        (void) ngx_http_lrt_zone_find(cf->cycle->old_cycle, &name, &running);
        size = ngx_max(size, running);
    }

    shm_zone = ngx_shared_memory_add(cf, &name, size,
                                     &ngx_http_lrt_upstream_module);
    if (shm_zone == NULL) {
        return NGX_ERROR;
    }

    shm_zone->init = ngx_http_lrt_init_table_zone;
    shm_zone->data = lscf;

    lscf->shm_zone = shm_zone;

    lscfp = ngx_array_push(&lmcf->groups);
    if (lscfp == NULL) {
        return NGX_ERROR;
    }

    *lscfp = lscf;

    return NGX_OK;
}


static ngx_int_t
ngx_http_lrt_add_registry_zone(ngx_conf_t *cf, ngx_http_lrt_main_conf_t *lmcf)
{
    size_t            size;
    lrt_registry_t   *reg;
    ngx_slab_pool_t  *shpool;

    if (lmcf->shm_zone) {
        return NGX_OK;
    }

    /* for ever as large as at start: the ledgers have no more rows */

    shpool = ngx_http_lrt_zone_find(cf->cycle->old_cycle,
                                    &ngx_http_lrt_registry_name, &size);

    reg = shpool ? shpool->data : NULL;

    if (reg && lrt_registry_valid(reg, ngx_http_lrt_zone_rest(shpool, size))) {
        lmcf->rows = reg->rows;

    } else {
        lmcf->rows = ngx_http_lrt_rows(cf);
        size = ngx_http_lrt_zone_size(lrt_registry_size(lmcf->rows));
    }

    lmcf->shm_zone = ngx_shared_memory_add(cf, &ngx_http_lrt_registry_name,
                                           size,
                                           &ngx_http_lrt_upstream_module);
    if (lmcf->shm_zone == NULL) {
        return NGX_ERROR;
    }

    lmcf->shm_zone->init = ngx_http_lrt_init_registry_zone;
    lmcf->shm_zone->data = lmcf;

    return NGX_OK;
}


/* rows for workers of several generations side by side */

static uint32_t
ngx_http_lrt_rows(ngx_conf_t *cf)
{
    ngx_int_t         workers;
    ngx_core_conf_t  *ccf;

    ccf = (ngx_core_conf_t *) ngx_get_conf(cf->cycle->conf_ctx,
                                           ngx_core_module);

    workers = ccf->worker_processes;

    /* it stands behind "http", or "auto" is the default of a fork */

    if (workers == NGX_CONF_UNSET) {
        workers = ngx_ncpu;
    }

    return (uint32_t) ngx_min(ngx_max(8 * workers, LRT_MIN_ROWS),
                              LRT_MAX_ROWS);
}


static ngx_int_t
ngx_http_lrt_init_registry_zone(ngx_shm_zone_t *shm_zone, void *data)
{
    ngx_http_lrt_main_conf_t  *lmcf = shm_zone->data;

    ngx_slab_pool_t  *shpool;

    shpool = (ngx_slab_pool_t *) shm_zone->shm.addr;

    if (data == NULL) {
        shpool->log_nomem = 0;
        shpool->data = ngx_slab_alloc(shpool, lrt_registry_size(lmcf->rows));

        if (shpool->data == NULL) {
            ngx_log_error(NGX_LOG_EMERG, shm_zone->shm.log, 0,
                          "no memory for %uD workers in zone \"%V\"",
                          lmcf->rows, &shm_zone->shm.name);
            return NGX_ERROR;
        }

        lrt_registry_format(shpool->data, lmcf->rows);
    }

    lmcf->registry = shpool->data;

    return NGX_OK;
}


/*
 * May still be followed by an error that makes nginx drop this configuration,
 * so a zone in use is only looked at.
 */

static ngx_int_t
ngx_http_lrt_init_table_zone(ngx_shm_zone_t *shm_zone, void *data)
{
    ngx_http_lrt_srv_conf_t  *lscf = shm_zone->data;

    void             *base;
    size_t            size;
    uint32_t          capacity, rows, need;
    lrt_table_t       before;
    ngx_slab_pool_t  *shpool, *old;

    rows = lscf->main->rows;
    shpool = (ngx_slab_pool_t *) shm_zone->shm.addr;

    if (data) {

        if (lrt_table_attach(&lscf->table, shpool->data, shm_zone->shm.size)
            != LRT_OK
            || lscf->table.rows < rows)
        {
            ngx_log_error(NGX_LOG_EMERG, shm_zone->shm.log, 0,
                          "zone \"%V\" holds no table of this version",
                          &shm_zone->shm.name);
            return NGX_ERROR;
        }

        lscf->conf.keeps = ngx_http_lrt_state_decides(lscf, lscf->table.head);

        return ngx_http_lrt_check_capacity(shm_zone, lscf,
                                  lscf->table.capacity,
                                  lrt_merge_need(&lscf->table, &lscf->conf));
    }

    need = lscf->conf.n;

    old = ngx_http_lrt_zone_find((ngx_cycle_t *) ngx_cycle,
                                 &shm_zone->shm.name, &size);

    if (old
        && lrt_table_attach(&before, old->data,
                            ngx_http_lrt_zone_rest(old, size))
           == LRT_OK)
    {
        lscf->conf.keeps = ngx_http_lrt_state_decides(lscf, before.head);
        need = lrt_merge_need(&before, &lscf->conf);
    }

    size = shpool->pfree * ngx_pagesize;
    capacity = lrt_table_capacity(size, rows);

    if (ngx_http_lrt_check_capacity(shm_zone, lscf, capacity, need)
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    shpool->log_nomem = 0;

    base = ngx_slab_alloc(shpool, lrt_table_size(capacity, rows));

    if (base == NULL) {
        return ngx_http_lrt_check_capacity(shm_zone, lscf, 0, need);
    }

    lrt_table_format(base, capacity, rows);
    ((lrt_head_t *) base)->epoch = ngx_http_lrt_now() ^ (uint64_t) ngx_time()
                                                        << 32;
    shpool->data = base;

    (void) lrt_table_attach(&lscf->table, base, size);

    return NGX_OK;
}


static ngx_int_t
ngx_http_lrt_check_capacity(ngx_shm_zone_t *shm_zone,
    ngx_http_lrt_srv_conf_t *lscf, uint32_t capacity, uint32_t need)
{
    size_t  size;

    need = ngx_max(need, LRT_MIN_CAPACITY);

    if (need <= capacity) {
        return NGX_OK;
    }

    size = ngx_http_lrt_zone_need(lscf, need);

    ngx_log_error(NGX_LOG_EMERG, shm_zone->shm.log, 0,
                  "zone \"%V\" of upstream \"%V\" is too small: "
                  "%uz bytes hold %uD servers, for %uD it must be at least "
                  "%uzk in %s:%ui",
                  &lscf->zone_name, &lscf->upstream->host, shm_zone->shm.size,
                  capacity, need, size / 1024,
                  lscf->upstream->file_name, lscf->upstream->line);

    return NGX_ERROR;
}


/* the smallest zone for so many servers, in whole KiB */

size_t
ngx_http_lrt_zone_need(ngx_http_lrt_srv_conf_t *lscf, uint32_t n)
{
    size_t  size;

    size = ngx_http_lrt_zone_size(lrt_table_size(n, lscf->main->rows));

    return ngx_align(size, 1024);
}


/* the smallest zone in which so many bytes can be allocated in one piece */

static size_t
ngx_http_lrt_zone_size(size_t size)
{
    size_t  pages, head;

    pages = (size + ngx_pagesize - 1) / ngx_pagesize;

    /* what ngx_slab_init() puts before the first page */

    head = sizeof(ngx_slab_pool_t)
           + (ngx_pagesize_shift - NGX_HTTP_LRT_SLAB_MIN_SHIFT)
             * (sizeof(ngx_slab_page_t) + sizeof(ngx_slab_stat_t))
           + pages * sizeof(ngx_slab_page_t);

    return pages * ngx_pagesize + ngx_align(head, ngx_pagesize);
}


/* pool of a zone of ours in a cycle that is in force, or NULL */

ngx_slab_pool_t *
ngx_http_lrt_zone_find(ngx_cycle_t *cycle, ngx_str_t *name, size_t *size)
{
    ngx_uint_t        i;
    ngx_list_part_t  *part;
    ngx_shm_zone_t   *zone;
    ngx_slab_pool_t  *shpool;

    if (size) {
        *size = 0;
    }

    if (cycle == NULL || cycle->conf_ctx == NULL) {
        return NULL;
    }

    part = &cycle->shared_memory.part;
    zone = part->elts;

    for (i = 0; /* void */ ; i++) {

        if (i >= part->nelts) {
            if (part->next == NULL) {
                return NULL;
            }

            part = part->next;
            zone = part->elts;
            i = 0;
        }

        if (zone[i].shm.name.len != name->len
            || ngx_strncmp(zone[i].shm.name.data, name->data, name->len) != 0
            || zone[i].shm.addr == NULL)
        {
            continue;
        }

        /*
         * The tag differs when the module was loaded from another file: then
         * what the pool points to must lie in the zone, and look like ours.
         */

        shpool = (ngx_slab_pool_t *) zone[i].shm.addr;

        if ((u_char *) shpool->data < zone[i].shm.addr
            || (u_char *) shpool->data + sizeof(lrt_registry_t)
               > zone[i].shm.addr + zone[i].shm.size)
        {
            return NULL;
        }

        if (size) {
            *size = zone[i].shm.size;
        }

        return shpool;
    }
}


ngx_uint_t
ngx_http_lrt_zone_live(ngx_cycle_t *cycle, ngx_http_lrt_srv_conf_t *lscf,
    lrt_table_t *t)
{
    u_char            buf[NGX_MAX_ERROR_STR];
    size_t            size;
    ngx_str_t         name;
    ngx_slab_pool_t  *shpool;

    name.data = buf;
    name.len = ngx_slprintf(buf, buf + sizeof(buf), "lrt:%V",
                            &lscf->upstream->host)
               - buf;

    shpool = ngx_http_lrt_zone_find(cycle, &name, &size);

    return shpool
           && lrt_table_attach(t, shpool->data,
                               ngx_http_lrt_zone_rest(shpool, size))
              == LRT_OK;
}


/*
 * The writers' lock of a table: the mutex of its zone, since that is the one
 * which nginx releases when its owner dies.  A worker never waits for it, but
 * comes back later.
 */

ngx_uint_t
ngx_http_lrt_trylock(ngx_http_lrt_srv_conf_t *lscf)
{
    ngx_slab_pool_t  *shpool;

    /* the table is gone, and its lock with it */

    if (lscf->table.head == NULL) {
        return 0;
    }

    shpool = (ngx_slab_pool_t *) lscf->shm_zone->shm.addr;

    return ngx_shmtx_trylock(&shpool->mutex);
}


void
ngx_http_lrt_unlock(ngx_http_lrt_srv_conf_t *lscf)
{
    ngx_slab_pool_t  *shpool;

    shpool = (ngx_slab_pool_t *) lscf->shm_zone->shm.addr;

    ngx_shmtx_unlock(&shpool->mutex);
}


/*
 * In the master SIGCHLD is blocked while a configuration is applied: a worker
 * that dies now with the lock is a zombie until later, and nobody but us can
 * release what it held.
 */

ngx_uint_t
ngx_http_lrt_master_lock(ngx_slab_pool_t *shpool)
{
    pid_t      owner;
    uint64_t   end;
    siginfo_t  si;

    /* by the clock: on a busy system each step takes longer than asked for */

    end = ngx_http_lrt_now() + NGX_HTTP_LRT_MASTER_WAIT * 1000;

    do {
        if (ngx_shmtx_trylock(&shpool->mutex)) {
            return 1;
        }

        owner = (pid_t) *shpool->mutex.lock;
        si.si_pid = 0;

        if (owner
            && waitid(P_PID, owner, &si, WEXITED|WNOHANG|WNOWAIT) == 0
            && si.si_pid == owner)
        {
            (void) ngx_shmtx_force_unlock(&shpool->mutex, owner);
            continue;
        }

        ngx_msleep(NGX_HTTP_LRT_MASTER_STEP);

    } while (ngx_http_lrt_now() < end);

    return 0;
}
