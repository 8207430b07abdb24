
/*
 * Copyright (C) the ngx_http_lrt_upstream_module authors
 */


#include "lrt_merge.h"
#include "lrt_gone.h"
#include "lrt_settings.h"

#include <string.h>


static uint64_t lrt_merge_hash(const lrt_server_t *server);
static unsigned lrt_merge_lists(const lrt_conf_t *conf, uint64_t hash);
static lrt_change_t *lrt_merge_push(lrt_change_set_t *set, lrt_change_e type);
static void lrt_merge_settings(lrt_table_t *t, const lrt_conf_t *conf,
    lrt_change_set_t *set, lrt_settings_t *settings);
static unsigned lrt_merge_leaves(const lrt_table_t *t, uint32_t slot,
    const void *data);
static void lrt_merge_removed(lrt_table_t *t, const lrt_conf_t *conf,
    lrt_change_set_t *set, unsigned keep);
static unsigned lrt_merge_serves(lrt_table_t *t, const lrt_conf_t *conf,
    const lrt_change_set_t *set);
static void lrt_merge_present(lrt_table_t *t, uint32_t slot,
    const lrt_server_t *server, lrt_change_set_t *set);
static uint32_t lrt_merge_servers(lrt_table_t *t, const lrt_conf_t *conf,
    lrt_change_set_t *set);
static void lrt_merge_done(lrt_table_t *t, const lrt_conf_t *conf);


void
lrt_merge_index(const lrt_conf_t *conf)
{
    uint32_t  i, j, mask;

    mask = conf->index_size - 1;
    memset(conf->index, 0, conf->index_size * sizeof(uint32_t));

    for (i = 0; i < conf->n; i++) {
        j = (uint32_t) lrt_merge_hash(&conf->server[i]) & mask;

        while (conf->index[j]) {
            j = (j + 1) & mask;
        }

        conf->index[j] = i + 1;
    }
}


uint32_t
lrt_merge_need(const lrt_table_t *t, const lrt_conf_t *conf)
{
    uint32_t            i, slot, n;
    uint64_t            hash, generation;
    const lrt_entry_t  *entry;

    generation = lrt_table_generation(t);
    entry = lrt_table_entries(t, generation);

    n = conf->n;

    for (slot = 0; slot < t->capacity; slot++) {
        if (entry[slot].ident
            && (conf->keeps || !t->detail[slot].in_conf)
            && !lrt_merge_lists(conf, entry[slot].hash))
        {
            n++;
        }
    }

    /* whose removal was remembered, but did not come to pass, is still here */

    for (i = 0; i < conf->n; i++) {
        hash = lrt_merge_hash(&conf->server[i]);

        if (lrt_gone_find(t, hash)
            && lrt_table_find(t, generation & 1, &conf->server[i], hash)
               == LRT_NONE)
        {
            n--;
        }
    }

    return n;
}


lrt_rc_t
lrt_merge_move(lrt_table_t *dst, lrt_table_t *src, const lrt_conf_t *conf)
{
    return lrt_change_move(dst, src, lrt_merge_leaves, conf);
}


uint32_t
lrt_merge_max(const lrt_table_t *t, const lrt_conf_t *conf)
{
    return conf->n + t->capacity + 2;
}


/*
 * What one commit empties is free for the next one, so a full table may take
 * several: first those leave that the group can do without.
 */

lrt_rc_t
lrt_merge(lrt_table_t *t, const lrt_conf_t *conf, lrt_change_t *changes,
    uint64_t now)
{
    uint32_t           i, waiting, moved;
    unsigned           keep;
    lrt_rc_t           rc;
    lrt_settings_t     settings;
    lrt_change_set_t   set;

    if (t->head->merged >= conf->number) {
        return LRT_OK;
    }

    keep = 1;

    for ( ;; ) {

        memset(&set, 0, sizeof(lrt_change_set_t));

        set.change = changes;
        set.from_conf = 1;
        set.reload = 1;

        if (memcmp(&t->head->conf_policy, &conf->policy,
                   sizeof(lrt_policy_t))
            != 0)
        {
            lrt_merge_push(&set, LRT_SET_POLICY)->policy = conf->policy;
        }

        lrt_merge_settings(t, conf, &set, &settings);

        waiting = lrt_merge_servers(t, conf, &set);

        lrt_merge_removed(t, conf, &set,
                          waiting && keep && !lrt_merge_serves(t, conf, &set));

        moved = 0;

        for (i = 0; i < set.n; i++) {
            moved += (changes[i].type == LRT_ADD
                      || changes[i].type == LRT_REMOVE);
        }

        if (set.n) {
            rc = lrt_change_commit(t, &set, now);

            /* a late request has stepped into a slot that was free: no harm */

            if (rc == LRT_FULL) {
                return LRT_BUSY;
            }

            if (rc != LRT_OK) {
                return rc;
            }

            /* another set of servers starts with the first, as at a start */

            lrt_store(&t->head->cursor[LRT_PRIMARY][LRT_CURSOR_FIRST].value,
                      0);
            lrt_store(&t->head->cursor[LRT_BACKUP][LRT_CURSOR_FIRST].value,
                      0);
        }

        /* new servers may have to wait, the rest of the list is applied */

        lrt_merge_done(t, conf);

        if (waiting == 0) {
            lrt_store(&t->head->merged, conf->number);
            return LRT_OK;
        }

        if (moved == 0) {

            if (keep == 0) {
                return LRT_BUSY;
            }

            keep = 0;
        }
    }
}


static void
lrt_merge_settings(lrt_table_t *t, const lrt_conf_t *conf,
    lrt_change_set_t *set, lrt_settings_t *settings)
{
    const lrt_settings_t  *live;

    live = &lrt_table_side(t, lrt_table_generation(t))->settings;
    *settings = *live;

    lrt_settings_merge(settings, &t->head->conf_settings, &conf->settings);

    if (!lrt_settings_equal(settings, live)) {
        lrt_merge_push(set, LRT_SET_SETTINGS)->settings = settings;
    }
}


/* was configured, and is no more */

static unsigned
lrt_merge_leaves(const lrt_table_t *t, uint32_t slot, const void *data)
{
    const lrt_conf_t   *conf = data;
    const lrt_entry_t  *entry;

    entry = &lrt_table_entries(t, lrt_table_generation(t))[slot];

    return entry->ident
           && !conf->keeps
           && t->detail[slot].in_conf
           && !lrt_merge_lists(conf, entry->hash);
}


/* with "keep", one that may take requests stays for now */

static void
lrt_merge_removed(lrt_table_t *t, const lrt_conf_t *conf,
    lrt_change_set_t *set, unsigned keep)
{
    uint32_t            slot;
    lrt_change_t       *c;
    const lrt_entry_t  *entry;

    entry = lrt_table_entries(t, lrt_table_generation(t));

    for (slot = 0; slot < t->capacity; slot++) {

        if (!lrt_merge_leaves(t, slot, conf)) {
            continue;
        }

        if (keep && lrt_params_active(&entry[slot].params)) {
            keep = 0;
            continue;
        }

        c = lrt_merge_push(set, LRT_REMOVE);
        c->ident = entry[slot].ident;
        c->slot = slot;
    }
}


/* whether the set leaves, or adds, a server that may take requests */

static unsigned
lrt_merge_serves(lrt_table_t *t, const lrt_conf_t *conf,
    const lrt_change_set_t *set)
{
    uint32_t             i, slot;
    const lrt_entry_t   *entry;
    const lrt_params_t  *params;

    for (i = 0; i < set->n; i++) {
        params = &set->change[i].server.params;

        if (set->change[i].type == LRT_ADD && lrt_params_active(params)) {
            return 1;
        }
    }

    entry = lrt_table_entries(t, lrt_table_generation(t));

    for (slot = 0; slot < t->capacity; slot++) {

        if (entry[slot].ident
            && lrt_params_active(&entry[slot].params)
            && !lrt_merge_leaves(t, slot, conf))
        {
            return 1;
        }
    }

    return 0;
}


/* returns the number of new servers for which there is no slot yet */

static uint32_t
lrt_merge_servers(lrt_table_t *t, const lrt_conf_t *conf,
    lrt_change_set_t *set)
{
    uint32_t             i, slot, room, waiting;
    uint64_t             hash, generation;
    lrt_gone_t          *gone;
    lrt_change_t        *c;
    const lrt_server_t  *server;

    generation = lrt_table_generation(t);
    room = lrt_change_room(t);
    waiting = 0;

    for (i = 0; i < conf->n; i++) {

        server = &conf->server[i];
        hash = lrt_merge_hash(server);

        slot = lrt_table_find(t, generation & 1, server, hash);

        if (slot != LRT_NONE) {
            lrt_merge_present(t, slot, server, set);
            continue;
        }

        gone = lrt_gone_find(t, hash);

        if (gone) {
            gone->conf = server->params;
            continue;
        }

        if (room == 0) {
            waiting++;
            continue;
        }

        room--;

        c = lrt_merge_push(set, LRT_ADD);
        c->server = *server;
        c->conf = &server->params;
    }

    return waiting;
}


static void
lrt_merge_present(lrt_table_t *t, uint32_t slot, const lrt_server_t *server,
    lrt_change_set_t *set)
{
    uint32_t             fields;
    lrt_change_t        *c;
    const lrt_entry_t   *entry;
    const lrt_detail_t  *d;

    d = &t->detail[slot];
    entry = &lrt_table_entries(t, lrt_table_generation(t))[slot];

    /* one that was added at run time and is now configured: all is new */

    fields = d->in_conf ? lrt_params_diff(&server->params, &d->conf)
                        : LRT_F_ALL;

    if (fields == 0) {
        return;
    }

    fields &= lrt_params_diff(&server->params, &entry->params);

    c = lrt_merge_push(set, fields ? LRT_MODIFY : LRT_KEEP);
    c->ident = entry->ident;
    c->slot = slot;
    c->fields = fields;
    c->server = *server;
    c->conf = &server->params;
}


static void
lrt_merge_done(lrt_table_t *t, const lrt_conf_t *conf)
{
    uint64_t  i;

    i = 0;

    while (i < t->head->ngone) {

        if (lrt_merge_lists(conf, t->gone[i].hash)) {
            i++;
            continue;
        }

        /* the last one takes its place */

        lrt_gone_drop(t, &t->gone[i]);
    }

    t->head->conf_policy = conf->policy;
    t->head->conf_settings = conf->settings;
}


static uint64_t
lrt_merge_hash(const lrt_server_t *server)
{
    return lrt_table_hash(server->sockaddr, server->socklen,
                          server->params.backup);
}


static unsigned
lrt_merge_lists(const lrt_conf_t *conf, uint64_t hash)
{
    uint32_t  j, mask;

    mask = conf->index_size - 1;

    for (j = (uint32_t) hash & mask; conf->index[j]; j = (j + 1) & mask) {
        if (lrt_merge_hash(&conf->server[conf->index[j] - 1]) == hash) {
            return 1;
        }
    }

    return 0;
}


static lrt_change_t *
lrt_merge_push(lrt_change_set_t *set, lrt_change_e type)
{
    lrt_change_t  *c;

    c = &set->change[set->n++];

    memset(c, 0, sizeof(lrt_change_t));
    c->type = type;

    return c;
}
