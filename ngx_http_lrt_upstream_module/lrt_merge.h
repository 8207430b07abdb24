
/*
 * Copyright (C) the ngx_http_lrt_upstream_module authors
 *
 * A configuration comes into a table that is alive: three ways, per server
 * and per parameter.  What the configuration says differently from the last
 * time wins; what it says as before leaves run-time changes as they are.
 */


#ifndef _LRT_MERGE_H_INCLUDED_
#define _LRT_MERGE_H_INCLUDED_


#include "lrt_change.h"


typedef struct {
    const lrt_server_t  *server;         /* no address twice in a tier */
    uint32_t             n;
    lrt_policy_t         policy;
    lrt_settings_t       settings;
    uint64_t             number;         /* of the configuration, from 1 */
    unsigned             keeps:1;        /* nobody leaves who is not listed */

    /* memory for lrt_merge_index(): a power of two, at least 2 n */

    uint32_t            *index;
    uint32_t             index_size;
} lrt_conf_t;


void lrt_merge_index(const lrt_conf_t *conf);

/* slots that the group will need; reads only, the table may be alive */

uint32_t lrt_merge_need(const lrt_table_t *t, const lrt_conf_t *conf);

/*
 * See lrt_change_move().  Servers that left the configuration stay behind:
 * the new table need not have room for them.
 */

lrt_rc_t lrt_merge_move(lrt_table_t *dst, lrt_table_t *src,
    const lrt_conf_t *conf);

/* room for so many changes is needed */

uint32_t lrt_merge_max(const lrt_table_t *t, const lrt_conf_t *conf);

/*
 * One transaction under the writers' lock.  LRT_OK also if the configuration
 * was merged before.  LRT_BUSY: some of the new servers wait for slots of old
 * ones that requests still hold; all else is done, merge again later.
 */

lrt_rc_t lrt_merge(lrt_table_t *t, const lrt_conf_t *conf,
    lrt_change_t *changes, uint64_t now);


#endif /* _LRT_MERGE_H_INCLUDED_ */
