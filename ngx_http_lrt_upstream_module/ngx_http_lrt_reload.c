
/*
 * Copyright (C) the ngx_http_lrt_upstream_module authors
 *
 * The configuration meets the tables that are in use.  init_module is the
 * first moment at which nginx can no longer go back to the old configuration;
 * it must neither fail nor wait long, so what cannot be done there is left to
 * the workers, which inherit the proposal.
 */


#include "ngx_http_lrt.h"

#include "lrt_health.h"


#define NGX_HTTP_LRT_LEAVE_SLICE  2000       /* us */


static ngx_http_lrt_main_conf_t *ngx_http_lrt_conf_before(
    ngx_cycle_t *cycle);
static void ngx_http_lrt_reload_group(ngx_cycle_t *cycle,
    ngx_http_lrt_srv_conf_t *lscf);
static void ngx_http_lrt_reload_move(ngx_cycle_t *cycle,
    ngx_http_lrt_srv_conf_t *lscf);
static void ngx_http_lrt_reload_merge(ngx_http_lrt_srv_conf_t *lscf,
    ngx_log_t *log);


ngx_int_t
ngx_http_lrt_init_module(ngx_cycle_t *cycle)
{
    ngx_uint_t                  i;
    ngx_http_lrt_main_conf_t   *lmcf, *before;
    ngx_http_lrt_srv_conf_t   **lscfp;

    if (ngx_test_config) {
        return NGX_OK;
    }

    lmcf = ngx_http_cycle_get_module_main_conf(cycle,
                                               ngx_http_lrt_upstream_module);

    before = ngx_http_lrt_conf_before(cycle);

    if (lmcf && lmcf->registry) {

        lmcf->loaded = (uint64_t) ngx_time() * 1000;
        lmcf->generation = lrt_add(&lmcf->registry->generation, 1) + 1;

        lscfp = lmcf->groups.elts;

        for (i = 0; i < lmcf->groups.nelts; i++) {
            lscfp[i]->conf.number = lmcf->generation;
            ngx_http_lrt_reload_group(cycle, lscfp[i]);
        }
    }

    if (before) {
        ngx_http_lrt_take_over(cycle, before);
    }

    return NGX_OK;
}


static ngx_http_lrt_main_conf_t *
ngx_http_lrt_conf_before(ngx_cycle_t *cycle)
{
    ngx_uint_t    i;
    ngx_cycle_t  *old;

    old = cycle->old_cycle;

    if (old == NULL || old->conf_ctx == NULL) {
        return NULL;
    }

    /* a module that "load_module" just brought has no place there */

    for (i = 0; i < old->modules_n; i++) {
        if (old->modules[i] == &ngx_http_lrt_upstream_module) {
            return ngx_http_cycle_get_module_main_conf(old,
                                               ngx_http_lrt_upstream_module);
        }
    }

    return NULL;
}


/* a worker's part, whenever its timer runs */

void
ngx_http_lrt_merge_pending(ngx_http_lrt_main_conf_t *lmcf)
{
    ngx_uint_t                  i;
    ngx_http_lrt_srv_conf_t   **lscfp;

    lscfp = lmcf->groups.elts;

    for (i = 0; i < lmcf->groups.nelts; i++) {

        /* in a table that was replaced there is nothing to change any more */

        if (lscfp[i]->table.head == NULL
            || lrt_load(&lscfp[i]->table.head->superseded)
            || (lrt_load(&lscfp[i]->table.head->merged)
                >= lscfp[i]->conf.number
                && !lrt_health_behind(&lscfp[i]->table))
            || !ngx_http_lrt_trylock(lscfp[i]))
        {
            continue;
        }

        if (lscfp[i]->table.head->merged < lscfp[i]->conf.number) {
            ngx_http_lrt_reload_merge(lscfp[i], ngx_cycle->log);
        }

        /* what a writer who died has not come to */

        lrt_health_follow(&lscfp[i]->table, ngx_http_lrt_now() / 1000);

        ngx_http_lrt_unlock(lscfp[i]);
    }
}


/* servers that drained, whoever asked for it and wherever he is now */

void
ngx_http_lrt_leave_pending(ngx_http_lrt_main_conf_t *lmcf, uint64_t now)
{
    uint32_t                    slot;
    uint64_t                    since;
    lrt_str_t                   name;
    ngx_uint_t                  i;
    lrt_table_t                *t;
    lrt_change_t                c;
    lrt_change_set_t            set;
    ngx_http_lrt_srv_conf_t   **lscf;

    lscf = lmcf->groups.elts;

    for (i = 0; i < lmcf->groups.nelts; i++) {

        t = &lscf[i]->table;

        if (t->head == NULL
            || !lrt_load(&t->head->leaving)
            || lrt_load(&t->head->superseded)
            || !ngx_http_lrt_state_writes(lscf[i])
            || !ngx_http_lrt_trylock(lscf[i]))
        {
            continue;
        }

        slot = 0;
        since = ngx_http_lrt_now();

        /* the rest of many that leave at once has its turn at the next tick */

        while (ngx_http_lrt_now() - since < NGX_HTTP_LRT_LEAVE_SLICE
               && lrt_change_leaves(t, &slot, now, &c))
        {

            ngx_memzero(&set, sizeof(lrt_change_set_t));

            set.change = &c;
            set.n = 1;
            set.from_conf = (lscf[i]->state != NULL);

            if (lrt_change_commit(t, &set, now) != LRT_OK) {
                break;
            }

            name = lrt_table_name(&t->detail[slot]);

            ngx_log_error(NGX_LOG_NOTICE, ngx_cycle->log, 0,
                          "upstream \"%V\": server %*s, id %uL, removed after "
                          "draining; generation %uL",
                          &lscf[i]->upstream->host, name.len, name.data,
                          c.ident - 1, set.generation);
        }

        ngx_http_lrt_unlock(lscf[i]);
    }
}


/* servers that drain and have nothing left to do may be stopped */

void
ngx_http_lrt_report_drained(ngx_http_lrt_main_conf_t *lmcf)
{
    uint32_t                    slot, next;
    lrt_str_t                   name;
    ngx_uint_t                  i;
    lrt_table_t                *t;
    ngx_http_lrt_srv_conf_t   **lscf;

    lscf = lmcf->groups.elts;

    for (i = 0; i < lmcf->groups.nelts; i++) {

        t = &lscf[i]->table;

        if (t->head == NULL || lrt_load(&t->head->superseded)) {
            continue;
        }

        next = 0;

        while ((slot = lrt_health_drained(t, &next)) != LRT_NONE) {

            name = lrt_table_name(&t->detail[slot]);

            ngx_log_error(NGX_LOG_NOTICE, ngx_cycle->log, 0,
                          "upstream \"%V\": server %*s drains and is idle",
                          &lscf[i]->upstream->host, name.len, name.data);
        }
    }
}


static void
ngx_http_lrt_reload_group(ngx_cycle_t *cycle, ngx_http_lrt_srv_conf_t *lscf)
{
    ngx_slab_pool_t  *shpool;

    ngx_http_lrt_reload_move(cycle, lscf);

    shpool = (ngx_slab_pool_t *) lscf->shm_zone->shm.addr;

    if (!ngx_http_lrt_master_lock(shpool)) {
        ngx_log_error(NGX_LOG_WARN, cycle->log, 0,
                      "table of upstream \"%V\" is locked, "
                      "workers will merge the new configuration",
                      &lscf->upstream->host);
        return;
    }

    ngx_http_lrt_reload_merge(lscf, cycle->log);
    ngx_http_lrt_unlock(lscf);
}


/* a zone of another size is a new one: what the old one knows moves there */

static void
ngx_http_lrt_reload_move(ngx_cycle_t *cycle, ngx_http_lrt_srv_conf_t *lscf)
{
    size_t                    size;
    ngx_uint_t                locked;
    lrt_table_t               before;
    ngx_slab_pool_t          *shpool, *old;

    shpool = (ngx_slab_pool_t *) lscf->shm_zone->shm.addr;

    old = ngx_http_lrt_zone_find(cycle->old_cycle, &lscf->shm_zone->shm.name,
                                 &size);

    if (old == NULL
        || old == shpool
        || lrt_table_attach(&before, old->data,
                            ngx_http_lrt_zone_rest(old, size))
           != LRT_OK)
    {
        return;
    }

    locked = ngx_http_lrt_master_lock(old);

    lscf->conf.keeps = ngx_http_lrt_state_decides(lscf, before.head);

    if (lrt_merge_move(&lscf->table, &before, &lscf->conf) != LRT_OK) {
        ngx_log_error(NGX_LOG_ERR, cycle->log, 0,
                      "upstream \"%V\" got too many servers while its zone "
                      "was replaced, it starts as configured",
                      &lscf->upstream->host);
    }

    if (locked) {
        ngx_shmtx_unlock(&old->mutex);
    }
}


/* the lock is held */

static void
ngx_http_lrt_reload_merge(ngx_http_lrt_srv_conf_t *lscf, ngx_log_t *log)
{
    lrt_rc_t       rc;
    uint64_t       before;
    lrt_head_t    *head;
    lrt_change_t  *changes;

    head = lscf->table.head;
    before = head->merged;

    /* should a file come back one day, it is a new one */

    if (lscf->state == NULL) {
        lrt_store(&head->state_hash, 0);
        lrt_store(&head->state_next, 0);
        lrt_store(&head->state_saved, 0);
        lrt_store(&head->state_bad, 0);
        lrt_store(&head->state_writer, LRT_WRITER_UNKNOWN);
    }

    /* what a file decides, a configuration does not; it is looked at anyway */

    if (before && ngx_http_lrt_state_decides(lscf, head)) {
        ngx_http_lrt_state_reload(lscf, log);
        lrt_store(&head->merged, lscf->conf.number);
        return;
    }

    changes = ngx_alloc(lrt_merge_max(&lscf->table, &lscf->conf)
                        * sizeof(lrt_change_t), log);
    if (changes == NULL) {
        return;
    }

    rc = lrt_merge(&lscf->table, &lscf->conf, changes,
                   ngx_http_lrt_now() / 1000);

    ngx_free(changes);

    if (lscf->state && before == 0 && rc == LRT_OK) {
        ngx_http_lrt_state_filled(lscf);
        ngx_http_lrt_learned_load(lscf, log);
    }

    switch (rc) {

    case LRT_OK:
        break;

    case LRT_BUSY:
        ngx_log_error(NGX_LOG_INFO, log, 0,
                      "new servers of upstream \"%V\" wait until requests "
                      "have left old ones: zone \"%V\" has no more room",
                      &lscf->upstream->host, &lscf->zone_name);
        break;

    default:
        ngx_log_error(NGX_LOG_ERR, log, 0,
                      "configuration of upstream \"%V\" could not be merged: "
                      "%d", &lscf->upstream->host, rc);
        break;
    }
}
