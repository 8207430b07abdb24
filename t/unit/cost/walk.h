
/*
 * Copyright (C) the ngx_http_lrt_upstream_module authors
 *
 * A yardstick: a list of servers in shared memory, of which each pick walks
 * all under a spin lock, as balancers in the core of nginx do it with "zone".
 */


#ifndef _WALK_H_INCLUDED_
#define _WALK_H_INCLUDED_


#include <stdint.h>


typedef struct walk_s       walk_t;
typedef struct walk_peer_s  walk_peer_t;


/* "busy": requests in flight on each server, or NULL */

walk_t *walk_open(uint32_t n, const uint32_t *busy);

/* smooth weighted round robin, or the least connections by weight */

walk_peer_t *walk_pick(walk_t *w, unsigned least_conn, uint64_t now);
void walk_release(walk_t *w, walk_peer_t *peer, uint64_t now);


#endif /* _WALK_H_INCLUDED_ */
