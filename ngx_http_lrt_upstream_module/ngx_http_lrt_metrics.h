
/*
 * Copyright (C) the ngx_http_lrt_upstream_module authors
 *
 * Metrics: what there are (ngx_http_lrt_metrics_samples.c), and how they are
 * written (ngx_http_lrt_metrics.c).
 */


#ifndef _NGX_HTTP_LRT_METRICS_H_INCLUDED_
#define _NGX_HTTP_LRT_METRICS_H_INCLUDED_


#include "ngx_http_lrt_api.h"


typedef struct {
    ngx_http_lrt_srv_conf_t     *group;
    lrt_snapshot_t               snap;
    uint32_t                     states[LRT_STATES];
    ngx_str_t                    labels;         /* up to its own */
} ngx_http_lrt_metrics_group_t;


typedef struct {
    ngx_http_lrt_metrics_group_t *group;
    lrt_peer_t                    peer;
    ngx_str_t                     labels;        /* up to its own */
} ngx_http_lrt_metrics_peer_t;


typedef struct ngx_http_lrt_metric_s  ngx_http_lrt_metric_t;

/* samples of one metric, of one server or group */

typedef void (*ngx_http_lrt_metrics_peer_pt)(ngx_http_lrt_api_t *api,
    const ngx_http_lrt_metric_t *m, const ngx_http_lrt_metrics_peer_t *mp);
typedef void (*ngx_http_lrt_metrics_group_pt)(ngx_http_lrt_api_t *api,
    const ngx_http_lrt_metric_t *m, const ngx_http_lrt_metrics_group_t *mg);

struct ngx_http_lrt_metric_s {
    const char                     *name;
    const char                     *type;
    const char                     *help;
    ngx_http_lrt_metrics_peer_pt    peer;
    ngx_http_lrt_metrics_group_pt   group;
    size_t                          offset;      /* of a member */
};


/* ends with a name of NULL */

extern const ngx_http_lrt_metric_t  ngx_http_lrt_metrics_all[];

/* a sample up to its value, with a label of its own or NULL */

void ngx_http_lrt_metrics_server(ngx_http_lrt_api_t *api,
    const char *name, const char *suffix,
    const ngx_http_lrt_metrics_peer_t *mp, const char *label,
    const char *value);
void ngx_http_lrt_metrics_upstream(ngx_http_lrt_api_t *api,
    const char *name, const ngx_http_lrt_metrics_group_t *mg,
    const char *label, const char *value);

/* the value */

void ngx_http_lrt_metrics_end(ngx_http_lrt_out_t *o, uint64_t n);
void ngx_http_lrt_metrics_seconds(ngx_http_lrt_out_t *o, uint64_t us);


#endif /* _NGX_HTTP_LRT_METRICS_H_INCLUDED_ */
