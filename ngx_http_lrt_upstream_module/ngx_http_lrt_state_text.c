
/*
 * Copyright (C) the ngx_http_lrt_upstream_module authors
 *
 * The text of a state file, in both directions.  Besides our own form it may
 * be the short one that people write: servers as host and port, as a text or
 * as a URL, and "algorithm" by a common name.
 */


#include "ngx_http_lrt_check.h"
#include "ngx_http_lrt_state.h"


#define NGX_HTTP_LRT_STATE_VERSION  1
#define NGX_HTTP_LRT_STATE_WORDS    8


typedef struct {
    ngx_http_lrt_group_spec_t    group;
    uint32_t                     version;
    uint64_t                     next_id;
    ngx_str_t                    upstream;
    ngx_str_t                    algorithm;
    ngx_str_t                    check_url;
    uint64_t                     check_interval;
    ngx_array_t                  servers;        /* ngx_http_lrt_spec_t */
} ngx_http_lrt_state_head_t;

/* beside those of a group */

#define NGX_HTTP_LRT_STATE_NEXT_ID   (NGX_HTTP_LRT_GIVEN_MORE)
#define NGX_HTTP_LRT_STATE_SERVERS   (NGX_HTTP_LRT_GIVEN_MORE << 1)
#define NGX_HTTP_LRT_STATE_URL       (NGX_HTTP_LRT_GIVEN_MORE << 2)
#define NGX_HTTP_LRT_STATE_INTERVAL  (NGX_HTTP_LRT_GIVEN_MORE << 3)
#define NGX_HTTP_LRT_STATE_SHORT     (NGX_HTTP_LRT_STATE_URL                  \
                                      |NGX_HTTP_LRT_STATE_INTERVAL)


static void ngx_http_lrt_state_begin(void *element);


static const ngx_http_lrt_list_t  ngx_http_lrt_state_list = {
    "server",
    1,
    ngx_http_lrt_spec_fields,
    offsetof(ngx_http_lrt_spec_t, given),
    offsetof(ngx_http_lrt_spec_t, address),
    NGX_HTTP_LRT_GIVEN_SERVER,
    ngx_http_lrt_state_begin
};


#define ngx_http_lrt_state_field(name, kind, member, field, max)              \
    { name, NGX_HTTP_LRT_##kind, offsetof(ngx_http_lrt_state_head_t, member), \
      field, max, NULL, NULL }


/* a group begins the head, so its fields may follow ours */

static const ngx_http_lrt_field_t  ngx_http_lrt_state_fields[] = {
    ngx_http_lrt_state_field("version", UINT32, version, 0, UINT32_MAX),
    ngx_http_lrt_state_field("upstream", TEXT, upstream, 0, 4096),
    ngx_http_lrt_state_field("next_id", UINT64, next_id,
                             NGX_HTTP_LRT_STATE_NEXT_ID,
                             NGX_HTTP_LRT_MAX_ID + 1),
    ngx_http_lrt_state_field("algorithm", TEXT, algorithm, 0, 256),
    ngx_http_lrt_state_field("health_check_url", TEXT, check_url,
                             NGX_HTTP_LRT_STATE_URL, LRT_CHECK_DATA_LEN),
    ngx_http_lrt_state_field("health_check_interval", PERIOD, check_interval,
                             NGX_HTTP_LRT_STATE_INTERVAL, LRT_MAX_TIME),

    { "servers", NGX_HTTP_LRT_LIST,
      offsetof(ngx_http_lrt_state_head_t, servers),
      NGX_HTTP_LRT_STATE_SERVERS, LRT_MAX_CAPACITY / 2, NULL,
      &ngx_http_lrt_state_list },

    { NULL, 0, 0, 0, 0, NULL, ngx_http_lrt_group_fields }
};


/* what others call our methods */

static const struct {
    const char  *algorithm;
    const char  *method;
} ngx_http_lrt_state_algorithms[] = {
    { "round_robin", "round_robin_ext" },
    { "least_connections", "least_conn_ext" },
    { "least_conn", "least_conn_ext" },
    { "hashing", "iphash_ext" },
    { "ip_hash", "iphash_ext" },
    { "least_response_time", "least_time header" },
    { "least_time", "least_time header" },
    { NULL, NULL }
};


static ngx_int_t ngx_http_lrt_state_read(ngx_http_lrt_state_doc_t *doc,
    ngx_str_t *text, ngx_http_lrt_state_head_t *head,
    ngx_http_lrt_fault_t *fault);
static ngx_int_t ngx_http_lrt_state_refused(ngx_http_lrt_fault_t *fault,
    ngx_str_t *why);
static ngx_int_t ngx_http_lrt_state_checks(ngx_http_lrt_state_doc_t *doc,
    ngx_str_t *text, ngx_http_lrt_state_head_t *head,
    ngx_http_lrt_fault_t *fault);
static ngx_int_t ngx_http_lrt_state_first_check(ngx_http_lrt_state_doc_t *doc,
    lrt_settings_t *settings, ngx_http_lrt_fault_t *fault);
static ngx_int_t ngx_http_lrt_state_method(ngx_http_lrt_state_doc_t *doc,
    ngx_http_lrt_state_head_t *head, ngx_http_lrt_fault_t *fault);
static ngx_int_t ngx_http_lrt_state_servers(ngx_http_lrt_state_doc_t *doc,
    ngx_str_t *text, ngx_array_t *specs, ngx_http_lrt_fault_t *fault);
static ngx_int_t ngx_http_lrt_state_where(ngx_pool_t *pool,
    ngx_http_lrt_spec_t *spec, ngx_http_lrt_fault_t *fault);
static ngx_int_t ngx_http_lrt_state_idents(ngx_http_lrt_state_doc_t *doc,
    ngx_array_t *specs, uint64_t next, ngx_http_lrt_fault_t *fault);
static int ngx_libc_cdecl ngx_http_lrt_state_compare(const void *one,
    const void *two);


ngx_int_t
ngx_http_lrt_state_parse(ngx_http_lrt_state_doc_t *doc, ngx_str_t *text)
{
    ngx_int_t                   rc;
    ngx_http_lrt_fault_t        fault;
    ngx_http_lrt_state_head_t   head;

    ngx_memzero(&fault, sizeof(ngx_http_lrt_fault_t));

    doc->hash = ngx_http_lrt_disk_hash(text->data, text->len);

    rc = ngx_http_lrt_state_read(doc, text, &head, &fault);

    if (rc == NGX_OK) {
        rc = ngx_http_lrt_state_method(doc, &head, &fault);
    }

    if (rc == NGX_OK) {
        rc = ngx_http_lrt_state_checks(doc, text, &head, &fault);
    }

    if (rc == NGX_OK) {
        rc = ngx_http_lrt_state_servers(doc, text, &head.servers, &fault);
    }

    if (rc == NGX_OK) {
        rc = ngx_http_lrt_state_idents(doc, &head.servers,
                                       (doc->given
                                        & NGX_HTTP_LRT_STATE_NEXT_ID)
                                       ? head.next_id + 1 : 1,
                                       &fault);
    }

    if (rc != NGX_DECLINED) {
        return rc;
    }

    /* no memory says nothing of the text */

    if (fault.status == NGX_HTTP_INTERNAL_SERVER_ERROR) {
        return NGX_ERROR;
    }

    return ngx_http_lrt_state_where_wrong(doc->pool, text, &fault, &doc->why);
}


static ngx_int_t
ngx_http_lrt_state_read(ngx_http_lrt_state_doc_t *doc, ngx_str_t *text,
    ngx_http_lrt_state_head_t *head, ngx_http_lrt_fault_t *fault)
{
    ngx_int_t  rc;

    ngx_memzero(head, sizeof(ngx_http_lrt_state_head_t));

    head->version = NGX_HTTP_LRT_STATE_VERSION;

    if (ngx_http_lrt_group_begin(doc->pool, &head->group) != NGX_OK
        || ngx_array_init(&head->servers, doc->pool, 64,
                          sizeof(ngx_http_lrt_spec_t))
           != NGX_OK)
    {
        return NGX_ERROR;
    }

    rc = ngx_http_lrt_json_read(doc->pool, text, ngx_http_lrt_state_fields,
                                head, &doc->given, fault);

    if (rc != NGX_OK) {
        return rc;
    }

    head->group.given = doc->given;

    if (head->version != NGX_HTTP_LRT_STATE_VERSION) {
        ngx_str_set(&fault->member, "version");
        return ngx_http_lrt_fault(doc->pool, fault, 0, "",
                                  "\"version\" %uD is not known",
                                  head->version);
    }

    if (!(doc->given & NGX_HTTP_LRT_STATE_SERVERS)) {
        return ngx_http_lrt_fault(doc->pool, fault, 0, "",
                                  "an object with a list \"servers\" is "
                                  "expected");
    }

    return NGX_OK;
}


ngx_int_t
ngx_http_lrt_state_where_wrong(ngx_pool_t *pool, ngx_str_t *text,
    ngx_http_lrt_fault_t *fault, ngx_str_t *why)
{
    uint32_t  line;

    line = (fault->line > 0) ? (uint32_t) fault->line : 1;

    if (fault->member.len) {
        line = lrt_split_line(text->data, text->len,
                              (char *) fault->member.data,
                              fault->element ? (uint32_t) fault->element - 1
                                             : LRT_SPLIT_NAME);
    }

    if (fault->element) {
        (void) ngx_http_lrt_fault(pool, fault, 0, "",
                                  "line %uD: %s %ui: %V", line,
                                  ngx_http_lrt_fault_element(fault),
                                  &fault->text);
    } else {
        (void) ngx_http_lrt_fault(pool, fault, 0, "", "line %uD: %V",
                                  line, &fault->text);
    }

    return ngx_http_lrt_state_refused(fault, why);
}


/* it becomes a part of one line of a log, whatever it quotes */

static ngx_int_t
ngx_http_lrt_state_refused(ngx_http_lrt_fault_t *fault, ngx_str_t *why)
{
    u_char  *p, *end;

    /* no memory says nothing of the text */

    if (fault->status == NGX_HTTP_INTERNAL_SERVER_ERROR) {
        return NGX_ERROR;
    }

    *why = fault->text;

    end = why->data + why->len;

    for (p = why->data; p < end; p++) {
        if (*p < 0x20 || *p == 0x7f) {
            *p = '?';
        }
    }

    return NGX_DECLINED;
}


static void
ngx_http_lrt_state_begin(void *element)
{
    ngx_http_lrt_spec_t  *spec = element;

    ngx_memzero(spec, sizeof(ngx_http_lrt_spec_t));
    ngx_http_lrt_server_defaults(&spec->server.params);
}


static ngx_int_t
ngx_http_lrt_state_method(ngx_http_lrt_state_doc_t *doc,
    ngx_http_lrt_state_head_t *head, ngx_http_lrt_fault_t *fault)
{
    ngx_str_t   method;
    ngx_uint_t  i;

    method = head->group.method;

    ngx_str_set(&fault->member, "method");

    if (head->algorithm.len) {

        ngx_str_set(&fault->member, "algorithm");

        if (method.len) {
            return ngx_http_lrt_fault(doc->pool, fault, 0, "",
                                      "both \"method\" and \"algorithm\"");
        }

        method = head->algorithm;

        for (i = 0; ngx_http_lrt_state_algorithms[i].algorithm; i++) {

            if (ngx_strcmp(ngx_http_lrt_state_algorithms[i].algorithm,
                           method.data)
                == 0)
            {
                method.data = (u_char *)
                                      ngx_http_lrt_state_algorithms[i].method;
                method.len = ngx_strlen(method.data);
                break;
            }
        }
    }

    if (method.len == 0) {
        return NGX_OK;
    }

    doc->has_policy = 1;

    if (ngx_http_lrt_policy_words(&doc->policy, &method) != NGX_OK) {
        return ngx_http_lrt_fault(doc->pool, fault, 0, "",
                                  "invalid method \"%V\"",
                                  head->algorithm.len ? &head->algorithm
                                                      : &head->group.method);
    }

    ngx_str_null(&fault->member);

    return NGX_OK;
}


/* settings are put together later, as it needs more than the text */

static ngx_int_t
ngx_http_lrt_state_checks(ngx_http_lrt_state_doc_t *doc, ngx_str_t *text,
    ngx_http_lrt_state_head_t *head, ngx_http_lrt_fault_t *fault)
{
    ngx_uint_t   i;
    const char  *name;

    name = (doc->given & NGX_HTTP_LRT_STATE_URL) ? "health_check_url"
                                                 : "health_check_interval";

    doc->check_url = head->check_url;
    doc->check_interval = head->check_interval;

    if ((doc->given & NGX_HTTP_LRT_STATE_SHORT)
        && (doc->given & NGX_HTTP_LRT_GIVEN_CHECKS))
    {
        ngx_str_set(&fault->member, "health_checks");
        return ngx_http_lrt_fault(doc->pool, fault, 0, "",
                                  "both \"%s\" and \"health_checks\"", name);
    }

    doc->check_line[0] = lrt_split_line(text->data, text->len, name,
                                        LRT_SPLIT_NAME);

    for (i = 0; i < head->group.checks.nelts; i++) {
        doc->check_line[i] = lrt_split_line(text->data, text->len,
                                            "health_checks", (uint32_t) i);
    }

    ngx_str_set(&fault->member, "health_checks");

    return ngx_http_lrt_group_settings(doc->pool, &head->group,
                                       &doc->settings, fault);
}


ngx_int_t
ngx_http_lrt_state_settings(ngx_http_lrt_srv_conf_t *lscf,
    ngx_http_lrt_state_doc_t *doc, lrt_settings_t *settings)
{
    ngx_int_t              rc;
    ngx_http_lrt_fault_t   fault;

    ngx_memzero(&fault, sizeof(ngx_http_lrt_fault_t));

    if (doc->given & NGX_HTTP_LRT_GIVEN_SLOW_START) {
        settings->slow_start = doc->settings.slow_start;
    }

    if (doc->given & NGX_HTTP_LRT_GIVEN_PANIC) {
        settings->panic = doc->settings.panic;
    }

    if (doc->given & NGX_HTTP_LRT_GIVEN_CHECKS) {
        settings->nchecks = doc->settings.nchecks;
        ngx_memcpy(settings->check, doc->settings.check,
                   sizeof(settings->check));
    }

    rc = NGX_OK;

    if (doc->given & NGX_HTTP_LRT_STATE_SHORT) {
        rc = ngx_http_lrt_state_first_check(doc, settings, &fault);
    }

    if (rc == NGX_OK
        && (doc->given & (NGX_HTTP_LRT_STATE_SHORT|NGX_HTTP_LRT_GIVEN_CHECKS)))
    {
        rc = ngx_http_lrt_group_sound(doc->pool, lscf, settings, &fault);
    }

    if (rc == NGX_DECLINED) {
        (void) ngx_http_lrt_fault(doc->pool, &fault, 0, "",
                                  "line %ui: %s %ui: %V",
                                  doc->check_line[fault.element - 1],
                                  ngx_http_lrt_fault_element(&fault),
                                  &fault.text);
    }

    if (rc == NGX_OK && doc->unix_server) {
        rc = ngx_http_lrt_group_probes(doc->pool, settings,
                              doc->server[doc->unix_server - 1].sockaddr,
                              &fault);

        if (rc == NGX_DECLINED) {
            (void) ngx_http_lrt_fault(doc->pool, &fault, 0, "",
                                      "line %ui: server %ui: %V",
                                      doc->unix_line, doc->unix_server,
                                      &fault.text);
        }
    }

    return (rc == NGX_DECLINED) ? ngx_http_lrt_state_refused(&fault, &doc->why)
                                : rc;
}


/* a group without checks gets one, as a directive makes it */

static ngx_int_t
ngx_http_lrt_state_first_check(ngx_http_lrt_state_doc_t *doc,
    lrt_settings_t *settings, ngx_http_lrt_fault_t *fault)
{
    lrt_str_t     text[LRT_CHECK_STRINGS];
    ngx_uint_t    i;
    lrt_check_t   check;

    ngx_http_lrt_check_defaults(&check);
    ngx_memzero(text, sizeof(text));

    if (settings->nchecks == 0) {
        settings->nchecks = 1;

    } else {
        check = settings->check[0];

        for (i = 0; i < LRT_CHECK_STRINGS; i++) {
            text[i] = lrt_check_string(&settings->check[0],
                                       (lrt_check_string_e) i);
        }
    }

    if (doc->given & NGX_HTTP_LRT_STATE_URL) {
        text[LRT_CHECK_URI].data = (char *) doc->check_url.data;
        text[LRT_CHECK_URI].len = doc->check_url.len;
    }

    if (doc->given & NGX_HTTP_LRT_STATE_INTERVAL) {
        check.interval = doc->check_interval;
        check.timeout = ngx_min(check.timeout, check.interval);
    }

    if (ngx_http_lrt_check_complete(&check, text) != NGX_OK) {
        fault->list = &ngx_http_lrt_check_list;
        fault->element = 1;

        return ngx_http_lrt_fault(doc->pool, fault, 0, "",
                                  "the texts are longer than %d bytes "
                                  "together", LRT_CHECK_DATA_LEN);
    }

    settings->check[0] = check;

    return NGX_OK;
}


static ngx_int_t
ngx_http_lrt_state_servers(ngx_http_lrt_state_doc_t *doc, ngx_str_t *text,
    ngx_array_t *specs, ngx_http_lrt_fault_t *fault)
{
    ngx_int_t                rc;
    ngx_uint_t               i;
    ngx_http_lrt_spec_t     *spec;
    const struct sockaddr   *sa;

    spec = specs->elts;

    ngx_str_set(&fault->member, "servers");
    fault->list = &ngx_http_lrt_state_list;

    doc->n = (uint32_t) specs->nelts;
    doc->server = ngx_pcalloc(doc->pool, (doc->n + 1) * sizeof(lrt_server_t));

    if (doc->server == NULL) {
        return NGX_ERROR;
    }

    for (i = 0; i < specs->nelts; i++) {

        fault->element = i + 1;

        rc = ngx_http_lrt_state_where(doc->pool, &spec[i], fault);

        if (rc == NGX_OK) {
            rc = ngx_http_lrt_spec_check(doc->pool, &spec[i], fault);
        }

        if (rc != NGX_OK) {
            return rc;
        }

        if (spec[i].server.params.backup
            && (lrt_method(doc->policy.method)->takes & LRT_NO_BACKUP))
        {
            return ngx_http_lrt_fault(doc->pool, fault, 0, "",
                                      "\"%s\" has no backup servers",
                                      lrt_method(doc->policy.method)->name);
        }

        doc->server[i] = spec[i].server;

        sa = spec[i].server.sockaddr;

        if (sa->sa_family == AF_UNIX && doc->unix_server == 0) {
            doc->unix_server = i + 1;
            doc->unix_line = lrt_split_line(text->data, text->len, "servers",
                                            (uint32_t) i);
        }
    }

    fault->element = 0;

    return ngx_http_lrt_spec_twice(doc->pool, spec, specs->nelts, 1,
                                   &fault->element, fault);
}


/* host and port, or a URL, become "server" */

static ngx_int_t
ngx_http_lrt_state_where(ngx_pool_t *pool, ngx_http_lrt_spec_t *spec,
    ngx_http_lrt_fault_t *fault)
{
    u_char     *p, *end;
    size_t      len;
    ngx_str_t  *text;

    text = &spec->address;

    if (spec->host.len) {

        if (spec->given & NGX_HTTP_LRT_GIVEN_SERVER) {
            return ngx_http_lrt_fault(pool, fault, 0, "",
                                      "both \"host\" and \"server\"");
        }

        len = spec->host.len + sizeof("[]:65535");

        text->data = ngx_pnalloc(pool, len);
        if (text->data == NULL) {
            return NGX_ERROR;
        }

        p = ngx_slprintf(text->data, text->data + len,
                         ngx_strlchr(spec->host.data,
                                     spec->host.data + spec->host.len, ':')
                         && spec->host.data[0] != '[' ? "[%V]" : "%V",
                         &spec->host);

        if (spec->port) {
            p = ngx_slprintf(p, text->data + len, ":%uD", spec->port);
        }

        text->len = p - text->data;
        spec->given |= NGX_HTTP_LRT_GIVEN_SERVER;

        return NGX_OK;
    }

    if (!(spec->given & NGX_HTTP_LRT_GIVEN_SERVER)) {
        return ngx_http_lrt_fault(pool, fault, 0, "",
                                  "missing \"server\", or \"host\"");
    }

    end = text->data + text->len;

    if (text->len > 7 && ngx_strncasecmp(text->data, (u_char *) "http://", 7)
                         == 0)
    {
        text->data += 7;

    } else if (text->len > 8
               && ngx_strncasecmp(text->data, (u_char *) "https://", 8) == 0)
    {
        return ngx_http_lrt_fault(pool, fault, 0, "",
                                  "whether TLS is used is up to \"proxy_pass\","
                                  " write host:port instead of \"%V\"", text);
    } else {
        return NGX_OK;
    }

    /* a path would be lost, the one of "/" is none */

    if (end > text->data && end[-1] == '/') {
        end--;
    }

    text->len = end - text->data;

    return NGX_OK;
}


/* ids are unique; who has none comes behind all that were given */

static ngx_int_t
ngx_http_lrt_state_idents(ngx_http_lrt_state_doc_t *doc, ngx_array_t *specs,
    uint64_t next, ngx_http_lrt_fault_t *fault)
{
    uint32_t              i, n;
    uint64_t             *ident;
    ngx_uint_t            at;
    ngx_http_lrt_spec_t  *spec;

    spec = specs->elts;
    n = 0;

    ident = ngx_palloc(doc->pool, (doc->n + 1) * sizeof(uint64_t));
    if (ident == NULL) {
        return NGX_ERROR;
    }

    for (i = 0; i < doc->n; i++) {
        if (spec[i].given & NGX_HTTP_LRT_GIVEN_ID) {
            ident[n++] = spec[i].id + 1;
        }
    }

    ngx_qsort(ident, n, sizeof(uint64_t), ngx_http_lrt_state_compare);

    for (i = 1; i < n; i++) {
        if (ident[i] == ident[i - 1]) {

            /* the last one who has it */

            for (at = doc->n;
                 !(spec[at - 1].given & NGX_HTTP_LRT_GIVEN_ID)
                 || spec[at - 1].id + 1 != ident[i];
                 at--)
            {
                /* void */
            }

            fault->element = at;

            return ngx_http_lrt_fault(doc->pool, fault, 0, "",
                                      "the id %uL is there twice",
                                      ident[i] - 1);
        }
    }

    if (n && ident[n - 1] >= next) {
        next = ident[n - 1] + 1;
    }

    for (i = 0; i < doc->n; i++) {
        doc->server[i].ident = (spec[i].given & NGX_HTTP_LRT_GIVEN_ID)
                               ? spec[i].id + 1 : next++;
    }

    /* what will be written has to be readable */

    if (next - 1 > NGX_HTTP_LRT_MAX_ID + 1) {
        ngx_str_set(&fault->member, "next_id");
        return ngx_http_lrt_fault(doc->pool, fault, 0, "",
                                  "there are no more ids");
    }

    doc->next_ident = next;

    return NGX_OK;
}


static int ngx_libc_cdecl
ngx_http_lrt_state_compare(const void *one, const void *two)
{
    const uint64_t  *a = one;
    const uint64_t  *b = two;

    return (*a > *b) - (*a < *b);
}


lrt_peer_t *
ngx_http_lrt_state_snapshot(ngx_http_lrt_srv_conf_t *lscf, ngx_pool_t *pool,
    lrt_snapshot_t *snap)
{
    uint32_t     n;
    uint64_t     now;
    lrt_peer_t  *peer;

    now = ngx_http_lrt_now() / 1000;
    n = 0;

    for ( ;; ) {
        n += 64;
        peer = ngx_palloc(pool, n * sizeof(lrt_peer_t));

        if (peer == NULL
            || lrt_snapshot(&lscf->table, snap, peer, n, now) != LRT_OK)
        {
            return NULL;
        }

        if (snap->copied == snap->n) {
            return peer;
        }

        n = snap->n;
    }
}


uint64_t
ngx_http_lrt_state_print(ngx_http_lrt_srv_conf_t *lscf, ngx_http_lrt_out_t *o)
{
    u_char           method[NGX_MAX_ERROR_STR], *p;
    uint32_t         i;
    uint64_t         next;
    ngx_str_t        s;
    lrt_table_t     *t;
    lrt_peer_t      *peer;
    lrt_detail_t    *detail;
    lrt_snapshot_t   snap;

    t = &lscf->table;

    peer = ngx_http_lrt_state_snapshot(lscf, o->pool, &snap);
    detail = ngx_palloc(o->pool, sizeof(lrt_detail_t));

    if (peer == NULL || detail == NULL) {
        return 0;
    }

    next = lrt_load(&t->head->next_ident) - 1;
    p = ngx_http_lrt_policy_text(method, method + sizeof(method),
                                 &snap.policy);
    s.data = method;
    s.len = p - method;

    o->lines = 2;

    ngx_http_lrt_json_open(o, NULL, '{');
    ngx_http_lrt_json_uint(o, "version", NGX_HTTP_LRT_STATE_VERSION);
    ngx_http_lrt_json_str(o, "upstream", &lscf->upstream->host);
    ngx_http_lrt_json_uint(o, "next_id", next);
    ngx_http_lrt_json_str(o, "method", &s);
    ngx_http_lrt_group_write(o, &snap.settings);
    ngx_http_lrt_json_open(o, "servers", '[');

    for (i = 0; i < snap.copied; i++) {

        /* the group has changed, and is to be printed anew */

        if (lrt_peer_copy(t, &peer[i], NULL, detail) != LRT_OK) {
            return 0;
        }

        ngx_http_lrt_spec_write(o, &peer[i], detail);
    }

    ngx_http_lrt_json_close(o, ']');
    ngx_http_lrt_json_close(o, '}');
    ngx_http_lrt_out_str(o, "\n");

    return o->failed ? 0 : snap.generation;
}
