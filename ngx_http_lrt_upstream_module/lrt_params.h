
/*
 * Copyright (C) the ngx_http_lrt_upstream_module authors
 *
 * Parameters of servers and methods: which differ, and which are possible.
 */


#ifndef _LRT_PARAMS_H_INCLUDED_
#define _LRT_PARAMS_H_INCLUDED_


#include "lrt_types.h"


/* parameters of src that the mask names, into dst */

void lrt_params_copy(lrt_params_t *dst, const lrt_params_t *src,
    uint32_t fields);

/* mask of the parameters that differ */

uint32_t lrt_params_diff(const lrt_params_t *a, const lrt_params_t *b);

/* whether requests without a bond to the server may go there */

unsigned lrt_params_active(const lrt_params_t *p);

unsigned lrt_params_valid(const lrt_params_t *p);
unsigned lrt_policy_valid(const lrt_policy_t *p);


#endif /* _LRT_PARAMS_H_INCLUDED_ */
