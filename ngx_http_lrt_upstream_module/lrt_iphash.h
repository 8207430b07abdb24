
/*
 * Copyright (C) the ngx_http_lrt_upstream_module authors
 */


#ifndef _LRT_IPHASH_H_INCLUDED_
#define _LRT_IPHASH_H_INCLUDED_


#include "lrt_method.h"


#define LRT_POINT_BITS       20


/* the slot of the client's own server, whether it takes requests or not */

uint32_t lrt_iphash_home(const lrt_view_t *view);


#endif /* _LRT_IPHASH_H_INCLUDED_ */
