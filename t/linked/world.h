
/*
 * Copyright (C) the ngx_http_lrt_upstream_module authors
 *
 * As much of nginx as the files of the module need that read what others
 * write: a cycle, a group "u" with a table, requests to the API.  Nothing runs.
 */


#ifndef _WORLD_H_INCLUDED_
#define _WORLD_H_INCLUDED_


#include "ngx_http_lrt_api.h"
#include "ngx_http_lrt_check.h"
#include "ngx_http_lrt_state.h"


#define WORLD_CAPACITY       64


typedef struct {
    ngx_http_request_t           request;
    ngx_http_request_body_t      body;
    ngx_connection_t             connection;
    void                        *conf[256];
    ngx_http_core_loc_conf_t     location;
    ngx_http_lrt_loc_conf_t      own;
    ngx_http_lrt_api_t           api;
} world_request_t;


extern ngx_log_t                  world_log;
extern ngx_cycle_t                world_cycle;
extern ngx_http_lrt_main_conf_t   world_main;
extern ngx_http_lrt_srv_conf_t    world_group;


/* once; and then the table of the group is empty after each "reset" */

void world_begin(void);
void world_reset(void);
void world_end(void);

ngx_pool_t *world_pool(void);

/*
 * Requests for memory, counted from here on; the n-th is refused, and with
 * "all" each one after it.  0: none.
 */

void world_refuse(ngx_uint_t n, ngx_uint_t all);
extern ngx_uint_t  world_asked;
extern ngx_uint_t  world_refused;

/* a request to "location /api { lrt_api write=on; }", with an api to it */

void world_request(world_request_t *w, ngx_pool_t *pool, ngx_uint_t method,
    const void *uri, size_t len);

/*
 * Its body in pieces of so many bytes in turn, each in memory of its own; then
 * all steps of reading it.
 */

ngx_int_t world_body(world_request_t *w, const void *text, size_t len,
    const uint8_t *sizes, ngx_uint_t n);

/*
 * A state file is read, and if it is good filled into the table, written and
 * read again.  NULL if all is as it should be, or what is not; "rc" is what the
 * reader said, "why" its reason, world_servers how many it found, with these
 * weights.
 */

#define WORLD_WHY            4096

extern uint32_t  world_servers;
extern uint32_t  world_weights[WORLD_CAPACITY];

const char *world_state(const void *text, size_t len, ngx_int_t *rc,
    char *why);

/*
 * The same of FILE.learned, for a group of three servers: 127.0.0.1:8081,
 * 127.0.0.1:8082 and [2001:db8::17]:80, a backup.  What is refused must leave
 * the table as it was.
 */

const char *world_learned(const void *text, size_t len, ngx_int_t *rc,
    char *why);


#endif /* _WORLD_H_INCLUDED_ */
