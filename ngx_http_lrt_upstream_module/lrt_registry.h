
/*
 * Copyright (C) the ngx_http_lrt_upstream_module authors
 *
 * The workers of the instance, those of older configurations included: one
 * row each in a block of shared memory.  A worker claims a row under a serial
 * number; the rows of all ledgers are numbered alike.  Whether a process is
 * dead is for the caller to say.
 */


#ifndef _LRT_REGISTRY_H_INCLUDED_
#define _LRT_REGISTRY_H_INCLUDED_


#include "lrt_types.h"


#define LRT_REGISTRY_MAGIC   0x315942474552544cull       /* "LTREGBY1" */
#define LRT_MIN_ROWS         64
#define LRT_MAX_ROWS         4096

#define LRT_STALE            300         /* ms without a heartbeat */

/* serial of the last row, which all share that find no row of their own */

#define LRT_SERIAL_SHARED    UINT32_MAX


typedef struct {
    uint64_t             pid;            /* 0: free */
    uint64_t             start;          /* of the process */
    uint64_t             heartbeat;      /* ms */
    uint64_t             generation;     /* of the configuration */
    uint32_t             worker;         /* number within that */
    uint32_t             serial;         /* 0: claim not complete */
    uint64_t             reserved[3];
} lrt_row_t;


typedef struct {
    uint64_t             magic;
    uint32_t             rows;           /* the shared one included */
    uint32_t             next_serial;
    uint64_t             generation;     /* counts configurations */
    uint64_t             exhausted;      /* claims that found no row */
    uint64_t             reserved[4];
    lrt_row_t            row[1];
} lrt_registry_t;


typedef struct {
    uint32_t             row;
    uint32_t             serial;
} lrt_owner_t;


typedef struct {
    uint64_t             pid;
    uint64_t             start;
    uint64_t             generation;
    uint32_t             worker;
} lrt_claim_t;


typedef unsigned (*lrt_dead_pt)(uint64_t pid, uint64_t start);


size_t lrt_registry_size(uint32_t rows);
void lrt_registry_format(lrt_registry_t *reg, uint32_t rows);
unsigned lrt_registry_valid(const lrt_registry_t *reg, size_t size);

/*
 * Finds a row for this process and tells its owner; LRT_FULL if there is
 * none, and then the owner is the shared one.  The row of a predecessor, with
 * the same worker number in the same generation, is freed: nginx starts a
 * new worker only when the old one is gone.
 */

lrt_rc_t lrt_registry_claim(lrt_registry_t *reg, const lrt_claim_t *claim,
    uint64_t now, lrt_owner_t *owner);
void lrt_registry_release(lrt_registry_t *reg, const lrt_owner_t *owner);
void lrt_registry_beat(lrt_registry_t *reg, const lrt_owner_t *owner,
    uint64_t now);

/* frees the rows of dead processes and returns their number */

uint32_t lrt_registry_reap(lrt_registry_t *reg, uint64_t now,
    lrt_dead_pt dead);

unsigned lrt_registry_serial_alive(const lrt_registry_t *reg, uint32_t row,
    uint32_t serial);


#endif /* _LRT_REGISTRY_H_INCLUDED_ */
