
/*
 * Copyright (C) the ngx_http_lrt_upstream_module authors
 *
 * SHA-256 (FIPS 180-4), since nginx may be built without a library that has
 * it.
 */


#ifndef _LRT_SHA256_H_INCLUDED_
#define _LRT_SHA256_H_INCLUDED_


#include "lrt_types.h"


#define LRT_SHA256_LEN  32


void lrt_sha256(const void *data, size_t len, uint8_t hash[LRT_SHA256_LEN]);


#endif /* _LRT_SHA256_H_INCLUDED_ */
