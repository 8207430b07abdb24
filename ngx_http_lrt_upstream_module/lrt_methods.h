
/*
 * Copyright (C) the ngx_http_lrt_upstream_module authors
 *
 * The balancing methods: directive, and the pure file's lrt_method_t.  A row
 * here is all that a new method needs beside its file.  The position of a row
 * is the method's number in shared memory: add at the end.
 *
 * Included several times with another LRT_METHOD(); hence no guard.
 */


LRT_METHOD(round_robin_ext, lrt_round_robin)
LRT_METHOD(least_conn_ext, lrt_least_conn)
LRT_METHOD(least_time, lrt_least_time)
LRT_METHOD(iphash_ext, lrt_iphash)
