
/*
 * Copyright (C) the ngx_http_lrt_upstream_module authors
 */


#include "lrt_ledger.h"
#include "lrt_census.h"
#include "lrt_rank.h"


/* times to read a slot until nobody changes it meanwhile */

#define LRT_AUDIT_READS      8


static uint32_t lrt_ledger_sum(lrt_table_t *t, const lrt_registry_t *reg,
    uint32_t slot);
static void lrt_ledger_settle(lrt_table_t *t, const lrt_registry_t *reg,
    uint32_t slot);
static void lrt_ledger_settle_held(lrt_table_t *t, const lrt_registry_t *reg);
static int32_t lrt_ledger_held_sum(const lrt_table_t *t);
static uint32_t lrt_ledger_count_in(const lrt_owner_t *owner, uint64_t *cell);
static void lrt_ledger_count_out(const lrt_owner_t *owner, uint64_t *cell);
static unsigned lrt_ledger_alone(const lrt_owner_t *owner, uint64_t value);
static unsigned lrt_ledger_drifted(int32_t drift, int32_t *last,
    uint16_t *seen);


int32_t
lrt_ledger_enter(lrt_table_t *t, const lrt_owner_t *owner, uint32_t slot)
{
    uint32_t  used, left;

    used = lrt_load(&t->head->rows_used);

    while (used <= owner->row
           && !lrt_cas(&t->head->rows_used, used, owner->row + 1))
    {
        /* "used" was reloaded */
    }

    (void) lrt_ledger_count_in(owner, lrt_table_row(t, owner->row));

    left = lrt_ledger_count_in(owner, lrt_table_cell(t, owner->row, slot));

    if (left) {
        (void) lrt_sub(&t->hot[slot].inflight, (int32_t) left);
    }

    lrt_point(LRT_POINT_COUNT_IN_CELL);

    return lrt_add(&t->hot[slot].inflight, 1);
}


void
lrt_ledger_leave(lrt_table_t *t, const lrt_owner_t *owner, uint32_t slot)
{
    (void) lrt_sub(&t->hot[slot].inflight, 1);

    lrt_point(LRT_POINT_COUNT_OUT_TOTAL);

    lrt_ledger_count_out(owner, lrt_table_cell(t, owner->row, slot));
    lrt_ledger_count_out(owner, lrt_table_row(t, owner->row));
}


/* returns what a dead owner of the row has left, which is now the caller's */

static uint32_t
lrt_ledger_count_in(const lrt_owner_t *owner, uint64_t *cell)
{
    unsigned  own;
    uint64_t  old, next;

    old = lrt_load(cell);

    if (lrt_ledger_alone(owner, old)) {
        lrt_store(cell, old + 1);
        return 0;
    }

    /* it may be zapped at the same time */

    do {
        own = (lrt_cell_serial(old) == owner->serial);
        next = own ? old + 1 : lrt_cell(owner->serial, 1);
    } while (!lrt_cas(cell, old, next));

    return own ? 0 : lrt_cell_count(old);
}


static void
lrt_ledger_count_out(const lrt_owner_t *owner, uint64_t *cell)
{
    uint64_t  old;

    old = lrt_load(cell);

    if (lrt_cell_serial(old) != owner->serial || lrt_cell_count(old) == 0) {
        return;
    }

    if (lrt_ledger_alone(owner, old)) {
        lrt_store(cell, old - 1);

    } else {
        (void) lrt_sub(cell, 1);
    }
}


/*
 * Nobody else writes a cell with the serial of a living owner, unless all that
 * found no row share it: to count there takes no lock of the line.  If he was
 * taken for dead by mistake, what is zapped in the same nanosecond comes back,
 * with his serial: it is no more than he would count in anyway, and the total
 * is corrected by audits.
 */

static unsigned
lrt_ledger_alone(const lrt_owner_t *owner, uint64_t value)
{
    return owner->serial != LRT_SERIAL_SHARED
           && lrt_cell_serial(value) == owner->serial;
}


uint64_t
lrt_ledger_held(const lrt_table_t *t)
{
    int32_t  held;

    held = lrt_ledger_held_sum(t);

    return (held > 0) ? (uint64_t) held : 0;
}


static int32_t
lrt_ledger_held_sum(const lrt_table_t *t)
{
    uint32_t  row, used, sum;

    sum = (uint32_t) lrt_load(&t->head->held_more);
    used = lrt_load(&t->head->rows_used);

    for (row = 0; row < used && row < t->rows; row++) {
        sum += lrt_cell_count(lrt_load(lrt_table_row(t, row)));
    }

    return (int32_t) sum;
}


unsigned
lrt_ledger_idle(const lrt_table_t *t, uint32_t slot)
{
    uint32_t  row, used;

    lrt_fence();

    if (lrt_load(&t->hot[slot].inflight) != 0) {
        return 0;
    }

    used = lrt_load(&t->head->rows_used);

    for (row = 0; row < used && row < t->rows; row++) {
        if (lrt_cell_count(lrt_load(lrt_table_cell(t, row, slot)))) {
            return 0;
        }
    }

    return 1;
}


void
lrt_ledger_audit(lrt_table_t *t, const lrt_registry_t *reg, uint64_t now)
{
    uint32_t  slot;
    uint64_t  last;

    last = lrt_load(&t->head->audited);

    if (now < last + LRT_AUDIT_PERIOD || !lrt_cas(&t->head->audited, last, now))
    {
        return;
    }

    for (slot = 0; slot < t->capacity; slot++) {
        lrt_ledger_settle(t, reg, slot);
    }

    lrt_ledger_settle_held(t, reg);

    (void) lrt_census(t, now);
    lrt_rank_refresh(t, now);
}


void
lrt_ledger_recover(lrt_table_t *t, const lrt_registry_t *reg, uint64_t now)
{
    uint32_t  slot;

    for (slot = 0; slot < t->capacity; slot++) {
        (void) lrt_ledger_sum(t, reg, slot);
    }

    lrt_rank_refresh(t, now);
}


/* requests that living workers hold; zaps the cells of dead ones */

static uint32_t
lrt_ledger_sum(lrt_table_t *t, const lrt_registry_t *reg, uint32_t slot)
{
    uint32_t   row, used, sum;
    uint64_t  *cell, value;

    sum = 0;
    used = lrt_load(&t->head->rows_used);

    for (row = 0; row < used && row < t->rows; row++) {

        cell = lrt_table_cell(t, row, slot);
        value = lrt_load(cell);

        if (lrt_cell_count(value) == 0) {
            continue;
        }

        /*
         * The cell is read before the registry: an owner enters its serial
         * there before it counts anything.
         */

        if (lrt_registry_serial_alive(reg, row, lrt_cell_serial(value))) {
            sum += lrt_cell_count(value);
            continue;
        }

        if (lrt_cas(cell, value, 0)) {
            lrt_point(LRT_POINT_ZAP_CELL);
            (void) lrt_sub(&t->hot[slot].inflight,
                           (int32_t) lrt_cell_count(value));
        }
    }

    return sum;
}


static void
lrt_ledger_settle(lrt_table_t *t, const lrt_registry_t *reg, uint32_t slot)
{
    int32_t     drift, total;
    uint32_t    i;
    lrt_hot_t  *hot;

    hot = &t->hot[slot];

    /* what requests change while it is being read says nothing */

    for (i = 0; i < LRT_AUDIT_READS; i++) {

        total = lrt_load(&hot->inflight);
        drift = total - (int32_t) lrt_ledger_sum(t, reg, slot);

        if (lrt_load(&hot->inflight) != total) {
            continue;
        }

        if (lrt_ledger_drifted(drift, &hot->drift, &hot->drift_seen)) {
            (void) lrt_sub(&hot->inflight, drift);
        }

        return;
    }
}


/*
 * A row's own sum may differ from that of its cells after its owner was taken
 * for dead and lives: what is missing in all rows together is kept apart.
 */

static void
lrt_ledger_settle_held(lrt_table_t *t, const lrt_registry_t *reg)
{
    int32_t      held, sum;
    uint32_t     row, slot, used;
    uint64_t    *cell, value;
    lrt_head_t  *head;

    head = t->head;
    used = lrt_load(&head->rows_used);

    for (row = 0; row < used && row < t->rows; row++) {

        cell = lrt_table_row(t, row);
        value = lrt_load(cell);

        if (lrt_cell_count(value)
            && !lrt_registry_serial_alive(reg, row, lrt_cell_serial(value)))
        {
            (void) lrt_cas(cell, value, 0);
        }
    }

    held = lrt_ledger_held_sum(t);
    sum = 0;

    for (slot = 0; slot < t->capacity; slot++) {
        sum += lrt_load(&t->hot[slot].inflight);
    }

    if (lrt_ledger_held_sum(t) == held
        && lrt_ledger_drifted(held - sum, &head->held_drift,
                              &head->held_seen))
    {
        (void) lrt_sub(&head->held_more, held - sum);
    }
}


/*
 * A worker killed between its two counts leaves them different for ever,
 * while the difference that a living one makes is gone in nanoseconds: only
 * one that stays the same for several audits is corrected.  The memory of it
 * is in the table, since auditors die too.
 */

static unsigned
lrt_ledger_drifted(int32_t drift, int32_t *last, uint16_t *seen)
{
    if (drift == 0) {
        if (*seen) {
            *seen = 0;
        }

        return 0;
    }

    if (*seen == 0 || *last != drift) {
        *last = drift;
        *seen = 1;
        return 0;
    }

    if (++*seen < LRT_AUDIT_TICKS) {
        return 0;
    }

    *seen = 0;

    return 1;
}
