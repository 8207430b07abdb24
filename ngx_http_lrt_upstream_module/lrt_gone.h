
/*
 * Copyright (C) the ngx_http_lrt_upstream_module authors
 *
 * Servers that were removed at run time, but are still configured.  The
 * writers' lock is held.
 */


#ifndef _LRT_GONE_H_INCLUDED_
#define _LRT_GONE_H_INCLUDED_


#include "lrt_table.h"


/* "add" does nothing without room: no group can have more than servers */

lrt_gone_t *lrt_gone_find(const lrt_table_t *t, uint64_t hash);
void lrt_gone_add(lrt_table_t *t, uint64_t hash, const lrt_params_t *conf);
void lrt_gone_drop(lrt_table_t *t, lrt_gone_t *gone);


#endif /* _LRT_GONE_H_INCLUDED_ */
