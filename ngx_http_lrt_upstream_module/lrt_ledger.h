
/*
 * Copyright (C) the ngx_http_lrt_upstream_module authors
 *
 * Who holds how many requests.  Each worker owns one row of the ledger under
 * a serial number that no other worker ever had, and each cell of the row
 * carries that number beside the count, so that the counts of a dead owner
 * can be told from those of the next one whatever dies when.  Cells are the
 * truth; "inflight" of a slot is their sum, kept for picks, and repaired by
 * an audit.
 */


#ifndef _LRT_LEDGER_H_INCLUDED_
#define _LRT_LEDGER_H_INCLUDED_


#include "lrt_registry.h"
#include "lrt_table.h"


#define LRT_AUDIT_PERIOD     100             /* ms */
#define LRT_AUDIT_TICKS      3               /* same drift so often: real */


#define lrt_cell(serial, count)  ((uint64_t) (serial) << 32 | (count))
#define lrt_cell_serial(cell)    ((uint32_t) ((cell) >> 32))
#define lrt_cell_count(cell)     ((uint32_t) (cell))


/* returns the number of requests on the slot before this one */

int32_t lrt_ledger_enter(lrt_table_t *t, const lrt_owner_t *owner,
    uint32_t slot);
void lrt_ledger_leave(lrt_table_t *t, const lrt_owner_t *owner, uint32_t slot);

/* requests on all servers, by what each row says of itself; never below 0 */

uint64_t lrt_ledger_held(const lrt_table_t *t);

/*
 * Whether nobody holds the slot.  Exact for a slot that is in no published
 * generation: whoever picks it late finds that out after he entered it.
 */

unsigned lrt_ledger_idle(const lrt_table_t *t, uint32_t slot);

/*
 * Takes the counts of dead owners out and repairs totals.  Called by every
 * worker every LRT_AUDIT_PERIOD; the first one to come does the work, so it
 * goes on whoever dies.
 */

void lrt_ledger_audit(lrt_table_t *t, const lrt_registry_t *reg, uint64_t now);

/* only takes the counts of dead owners out, and does so at once */

void lrt_ledger_recover(lrt_table_t *t, const lrt_registry_t *reg,
    uint64_t now);


#endif /* _LRT_LEDGER_H_INCLUDED_ */
