
/*
 * Copyright (C) the ngx_http_lrt_upstream_module authors
 */


#include "lrt_registry.h"
#include "lrt_atomic.h"

#include <string.h>


static void lrt_registry_free(lrt_row_t *row, uint64_t pid);
static uint32_t lrt_registry_serial(lrt_registry_t *reg);


size_t
lrt_registry_size(uint32_t rows)
{
    return offsetof(lrt_registry_t, row) + rows * sizeof(lrt_row_t);
}


void
lrt_registry_format(lrt_registry_t *reg, uint32_t rows)
{
    memset(reg, 0, lrt_registry_size(rows));

    reg->rows = rows;
    reg->row[rows - 1].serial = LRT_SERIAL_SHARED;

    lrt_store(&reg->magic, LRT_REGISTRY_MAGIC);
}


unsigned
lrt_registry_valid(const lrt_registry_t *reg, size_t size)
{
    return size >= lrt_registry_size(LRT_MIN_ROWS)
           && lrt_load(&reg->magic) == LRT_REGISTRY_MAGIC
           && reg->rows >= LRT_MIN_ROWS
           && reg->rows <= LRT_MAX_ROWS
           && lrt_registry_size(reg->rows) <= size;
}


lrt_rc_t
lrt_registry_claim(lrt_registry_t *reg, const lrt_claim_t *claim, uint64_t now,
    lrt_owner_t *owner)
{
    uint32_t    i, shared;
    uint64_t    pid;
    lrt_row_t  *row;

    shared = reg->rows - 1;

    for (i = 0; i < shared; i++) {
        row = &reg->row[i];
        pid = lrt_load(&row->pid);

        if (pid && pid != claim->pid
            && lrt_load(&row->serial)
            && row->generation == claim->generation
            && row->worker == claim->worker)
        {
            lrt_registry_free(row, pid);
        }
    }

    for (i = 0; i < shared; i++) {
        row = &reg->row[i];
        pid = 0;

        if (!lrt_cas(&row->pid, pid, claim->pid)) {
            continue;
        }

        row->start = claim->start;
        row->generation = claim->generation;
        row->worker = claim->worker;
        lrt_store(&row->heartbeat, now);

        owner->row = i;
        owner->serial = lrt_registry_serial(reg);
        lrt_store(&row->serial, owner->serial);

        return LRT_OK;
    }

    (void) lrt_add(&reg->exhausted, 1);

    owner->row = shared;
    owner->serial = LRT_SERIAL_SHARED;

    return LRT_FULL;
}


void
lrt_registry_release(lrt_registry_t *reg, const lrt_owner_t *owner)
{
    lrt_row_t  *row;

    if (owner->serial == LRT_SERIAL_SHARED) {
        return;
    }

    row = &reg->row[owner->row];

    lrt_registry_free(row, lrt_load(&row->pid));
}


void
lrt_registry_beat(lrt_registry_t *reg, const lrt_owner_t *owner, uint64_t now)
{
    if (owner->serial != LRT_SERIAL_SHARED) {
        lrt_store(&reg->row[owner->row].heartbeat, now);
    }
}


uint32_t
lrt_registry_reap(lrt_registry_t *reg, uint64_t now, lrt_dead_pt dead)
{
    uint32_t    i, n;
    uint64_t    pid, beat;
    lrt_row_t  *row;

    n = 0;

    for (i = 0; i < reg->rows - 1; i++) {
        row = &reg->row[i];

        pid = lrt_load(&row->pid);
        beat = lrt_load(&row->heartbeat);

        if (pid == 0 || now < beat + LRT_STALE) {
            continue;
        }

        /* before the claim is complete the start time is not known */

        if (!dead(pid, lrt_load(&row->serial) ? row->start : 0)) {
            continue;
        }

        lrt_registry_free(row, pid);
        n++;
    }

    return n;
}


unsigned
lrt_registry_serial_alive(const lrt_registry_t *reg, uint32_t row,
    uint32_t serial)
{
    return row < reg->rows && lrt_load(&reg->row[row].serial) == serial;
}


/*
 * The serial goes first: from then on the counts of the row are nobody's.
 * A row that is claimed anew in between has another pid, and is left alone.
 */

static void
lrt_registry_free(lrt_row_t *row, uint64_t pid)
{
    uint32_t  serial;

    serial = lrt_load(&row->serial);

    if (lrt_load(&row->pid) != pid) {
        return;
    }

    (void) lrt_cas(&row->serial, serial, 0);
    (void) lrt_cas(&row->pid, pid, 0);
}


static uint32_t
lrt_registry_serial(lrt_registry_t *reg)
{
    uint32_t  serial;

    do {
        serial = lrt_add(&reg->next_serial, 1) + 1;
    } while (serial == 0 || serial == LRT_SERIAL_SHARED);

    return serial;
}
