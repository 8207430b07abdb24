
/*
 * Copyright (C) the ngx_http_lrt_upstream_module authors
 *
 * A request asks for a server, and gives it back.
 */


#include "ngx_http_lrt.h"


/* requests younger than this are never late, us */

#define NGX_HTTP_LRT_LAG_MIN          100000


/* what one attempt needs; it is read until the request is logged */

typedef struct {
    ngx_str_t                         name;
    ngx_str_t                         sid;
    u_char                            sid_text[NGX_HTTP_LRT_SID_LEN];
    u_char                            sockaddr[LRT_SOCKADDR_LEN];
    u_char                            text[LRT_DATA_LEN];
} ngx_http_lrt_attempt_t;


typedef struct {

    /* must be first: Angie's sticky takes us for round robin without peers */

    ngx_http_upstream_rr_peer_data_t  rrp;

    ngx_http_request_t               *request;
    ngx_http_lrt_srv_conf_t          *group;

    ngx_http_lrt_record_t            *record;    /* of the attempt, or NULL */
    ngx_array_t                       tried;     /* of lrt_tried_t */
    ngx_queue_t                       open;      /* while a server is held */

    /* the end of the chain that sends requests, below us */

    ngx_output_chain_filter_pt        output;
    void                             *output_ctx;

    /* a wrapper that came before us, over one peer: the chosen one */

    ngx_event_get_peer_pt             wrapped_get;
    ngx_event_free_peer_pt            wrapped_free;
    void                             *wrapped_data;
    ngx_http_upstream_rr_peers_t      one;
    ngx_http_upstream_rr_peer_t       peer;
} ngx_http_lrt_peer_data_t;


static ngx_int_t ngx_http_lrt_wrapped_init(ngx_http_request_t *r,
    ngx_http_upstream_srv_conf_t *us, ngx_http_lrt_peer_data_t *lp);
static ngx_int_t ngx_http_lrt_output(void *data, ngx_chain_t *in);
static ngx_int_t ngx_http_lrt_get_peer(ngx_peer_connection_t *pc, void *data);
static void ngx_http_lrt_describe(ngx_http_lrt_peer_data_t *lp,
    ngx_http_lrt_attempt_t *attempt);
static ngx_int_t ngx_http_lrt_wrapped_get(ngx_peer_connection_t *pc,
    ngx_http_lrt_peer_data_t *lp);
static void ngx_http_lrt_free_peer(ngx_peer_connection_t *pc, void *data,
    ngx_uint_t state);
static void ngx_http_lrt_add_tried(ngx_http_lrt_peer_data_t *lp,
    const lrt_pick_t *pick);

#if (NGX_HTTP_SSL)
static ngx_int_t ngx_http_lrt_set_peer_session(ngx_peer_connection_t *pc,
    void *data);
static void ngx_http_lrt_save_peer_session(ngx_peer_connection_t *pc,
    void *data);
#endif


ngx_int_t
ngx_http_lrt_init_peer(ngx_http_request_t *r, ngx_http_upstream_srv_conf_t *us)
{
    ngx_peer_connection_t     *pc;
    ngx_http_lrt_peer_data_t  *lp;

    lp = ngx_pcalloc(r->pool, sizeof(ngx_http_lrt_peer_data_t));
    if (lp == NULL) {
        return NGX_ERROR;
    }

    lp->rrp.peers = us->peer.data;
    lp->rrp.tried = &lp->rrp.data;

    lp->request = r;
    lp->group = ngx_http_conf_upstream_srv_conf(us,
                                                ngx_http_lrt_upstream_module);

    pc = &r->upstream->peer;

    if (lp->group->wrapped_init
        && ngx_http_lrt_wrapped_init(r, us, lp) != NGX_OK)
    {
        return NGX_ERROR;
    }

    lp->output = r->upstream->output.output_filter;
    lp->output_ctx = r->upstream->output.filter_ctx;

    r->upstream->output.output_filter = ngx_http_lrt_output;
    r->upstream->output.filter_ctx = lp;

    pc->data = lp;
    pc->get = ngx_http_lrt_get_peer;
    pc->free = ngx_http_lrt_free_peer;
    pc->tries = lp->group->table.head ? lrt_tries(&lp->group->table) : 0;

#if (NGX_HTTP_SSL)
    pc->set_session = ngx_http_lrt_set_peer_session;
    pc->save_session = ngx_http_lrt_save_peer_session;
#endif

    ngx_http_lrt_set_peer_ctx(pc, r);

    return NGX_OK;
}


static ngx_int_t
ngx_http_lrt_wrapped_init(ngx_http_request_t *r,
    ngx_http_upstream_srv_conf_t *us, ngx_http_lrt_peer_data_t *lp)
{
    ngx_peer_connection_t  *pc;

    pc = &r->upstream->peer;

    /* round robin below the wrapper uses this instead of its own */

    pc->data = &lp->rrp;

    if (lp->group->wrapped_init(r, us) != NGX_OK) {
        return NGX_ERROR;
    }

    lp->wrapped_get = pc->get;
    lp->wrapped_free = pc->free;
    lp->wrapped_data = pc->data;

    return NGX_OK;
}


/* the first byte of the request goes out: connected, and TLS is set up */

static ngx_int_t
ngx_http_lrt_output(void *data, ngx_chain_t *in)
{
    ngx_http_lrt_peer_data_t  *lp = data;

    if (lp->record && lp->record->ready == 0) {
        lp->record->ready = ngx_http_lrt_now();
    }

    return lp->output(lp->output_ctx, in);
}


static ngx_int_t
ngx_http_lrt_get_peer(ngx_peer_connection_t *pc, void *data)
{
    ngx_http_lrt_peer_data_t  *lp = data;

    lrt_ask_t                ask;
    ngx_str_t               *hint;
    lrt_table_t             *t;
    ngx_http_lrt_record_t   *record;
    ngx_http_lrt_attempt_t  *attempt;

    ngx_log_debug1(NGX_LOG_DEBUG_HTTP, pc->log, 0,
                   "lrt balancer: get peer, try: %ui", pc->tries);

    pc->cached = 0;
    pc->connection = NULL;

    t = &lp->group->table;

    if (t->head == NULL) {
        goto busy;
    }

    /* counted last: nothing may fail after it, or nobody would count it out */

    attempt = ngx_palloc(lp->request->pool, sizeof(ngx_http_lrt_attempt_t));
    record = ngx_http_lrt_record(lp->request);

    if (attempt == NULL || record == NULL) {
        return NGX_ERROR;
    }

    record->started = ngx_http_lrt_now();

    if (ngx_http_lrt_ask(lp->request, lp->group, record->started, &ask)
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    hint = ngx_http_lrt_hint(pc);

    ask.tried = lp->tried.elts;
    ask.ntried = (uint32_t) lp->tried.nelts;
    ask.sid = hint ? ngx_http_lrt_sid_hash(hint) : 0;

    if (lrt_select(t, &lp->group->main->owner, &ask, &record->pick) != LRT_OK) {
        goto busy;
    }

    record->held = 1;
    lp->record = record;

    ngx_queue_insert_tail(&lp->group->main->open, &lp->open);

    ngx_http_lrt_describe(lp, attempt);

    pc->sockaddr = (struct sockaddr *) attempt->sockaddr;
    pc->socklen = t->detail[record->pick.slot].socklen;
    pc->name = &attempt->name;

    ngx_http_lrt_set_sid(pc, &attempt->sid);

    ngx_log_debug4(NGX_LOG_DEBUG_HTTP, pc->log, 0,
                   "lrt balancer: peer %V, id: %uL, in flight: %uD, "
                   "generation: %uL", pc->name, record->pick.ident - 1,
                   record->pick.inflight, record->pick.generation);

    return lp->wrapped_get ? ngx_http_lrt_wrapped_get(pc, lp) : NGX_OK;

busy:

    pc->name = &lp->group->upstream->host;

    return NGX_BUSY;
}


/* copies what is read after the server was given back, for logs say */

static void
ngx_http_lrt_describe(ngx_http_lrt_peer_data_t *lp,
    ngx_http_lrt_attempt_t *attempt)
{
    ngx_str_t               sid;
    lrt_str_t               name, route;
    lrt_table_t            *t;
    lrt_detail_t           *detail;
    ngx_http_lrt_record_t  *record;

    t = &lp->group->table;
    record = lp->record;
    detail = &t->detail[record->pick.slot];

    name = lrt_table_name(detail);

    ngx_memcpy(attempt->sockaddr, lrt_table_sockaddr(detail), detail->socklen);
    ngx_memcpy(attempt->text, name.data, name.len);

    attempt->name.data = attempt->text;
    attempt->name.len = name.len;

    route = lrt_table_route(detail);
    sid = ngx_http_lrt_sid(&name, &route, attempt->sid_text);

    if (sid.data != attempt->sid_text) {
        ngx_memcpy(attempt->sid_text, sid.data, sid.len);
    }

    attempt->sid.data = attempt->sid_text;
    attempt->sid.len = sid.len;

    record->peer = &attempt->name;

    ngx_http_lrt_name_next(lp->request, t, record);
}


static ngx_int_t
ngx_http_lrt_wrapped_get(ngx_peer_connection_t *pc,
    ngx_http_lrt_peer_data_t *lp)
{
    ngx_int_t   rc;
    ngx_str_t  *name;

    name = pc->name;

    ngx_memzero(&lp->one, sizeof(ngx_http_upstream_rr_peers_t));
    ngx_memzero(&lp->peer, sizeof(ngx_http_upstream_rr_peer_t));

    lp->peer.sockaddr = pc->sockaddr;
    lp->peer.socklen = pc->socklen;
    lp->peer.name = *pc->name;
    lp->peer.weight = 1;
    lp->peer.effective_weight = 1;

    lp->one.number = 1;
    lp->one.single = 1;
    lp->one.name = pc->name;
    lp->one.peer = &lp->peer;

    lp->rrp.peers = &lp->one;

    rc = lp->wrapped_get(pc, lp->wrapped_data);

    /* not that of the one peer: variables read the names of all attempts */

    pc->name = name;

    return rc;
}


static void
ngx_http_lrt_free_peer(ngx_peer_connection_t *pc, void *data, ngx_uint_t state)
{
    ngx_http_lrt_peer_data_t  *lp = data;

    ngx_uint_t              tries;
    lrt_ended_e             how;
    lrt_outcome_t           out;
    ngx_http_lrt_record_t  *record;

    ngx_log_debug2(NGX_LOG_DEBUG_HTTP, pc->log, 0,
                   "lrt balancer: free peer, tries: %ui, state: %ui",
                   pc->tries, state);

    record = lp->record;

    if (record == NULL) {
        return;
    }

    lp->record = NULL;
    record->held = 0;

    ngx_queue_remove(&lp->open);

    /* the one peer of a wrapper is "single", which means no more tries */

    if (lp->wrapped_free) {
        tries = pc->tries;
        lp->wrapped_free(pc, lp->wrapped_data, state);
        pc->tries = tries;
    }

    if (pc->tries) {
        pc->tries--;
    }

    if (lp->group->table.head == NULL) {
        return;
    }

    how = ngx_http_lrt_outcome(lp->request, pc, state, record, &out);

    /* after a stale connection the same server may be asked again */

    if (how != LRT_ENDED_UNKNOWN) {
        ngx_http_lrt_add_tried(lp, &record->pick);
    }

    how = lrt_release(&lp->group->table, &record->pick, how, &out,
                      (record->started + out.time) / 1000);

    if (how == LRT_ENDED_SHUT_OUT) {
        ngx_log_error(NGX_LOG_WARN, pc->log, 0,
                      "upstream server temporarily disabled");
    }
}


/*
 * "inflight" of least_time: an answer that is later than what the group has
 * seen so far explains says something before it comes.  Each worker tells of
 * its own requests, for a short time, so that nothing of a dead one stays.
 */

/* the server seems to close its connection: what nginx does then is right */

void
ngx_http_lrt_cut_off(ngx_http_lrt_main_conf_t *lmcf)
{
    uint64_t                    leaving;
    ngx_uint_t                  i, n;
    ngx_queue_t                *q;
    lrt_pick_t                 *pick;
    lrt_table_t                *t;
    ngx_connection_t           *c;
    ngx_http_lrt_srv_conf_t   **lscf;
    ngx_http_lrt_peer_data_t   *lp;

    lscf = lmcf->groups.elts;
    n = 0;

    for (i = 0; i < lmcf->groups.nelts; i++) {
        t = &lscf[i]->table;

        if (t->head && lrt_load(&t->head->cuts) != lscf[i]->cuts) {
            lscf[i]->cuts = lrt_load(&t->head->cuts);
            n++;
        }
    }

    if (n == 0) {
        return;
    }

    for (q = ngx_queue_head(&lmcf->open);
         q != ngx_queue_sentinel(&lmcf->open);
         q = ngx_queue_next(q))
    {
        lp = ngx_queue_data(q, ngx_http_lrt_peer_data_t, open);
        t = &lp->group->table;
        c = lp->request->upstream->peer.connection;
        pick = &lp->record->pick;

        if (t->head == NULL || c == NULL) {
            continue;
        }

        leaving = lrt_load(&t->detail[pick->slot].leaving);

        if (lrt_leaving_cut(leaving)
            && lrt_load(&lrt_table_entries(t, lrt_table_generation(t))
                                                           [pick->slot].ident)
               != pick->ident)
        {
            (void) ngx_shutdown_socket(c->fd, SHUT_RDWR);
        }
    }
}


void
ngx_http_lrt_publish_lag(ngx_http_lrt_main_conf_t *lmcf, uint64_t now)
{
    uint64_t                    age;
    ngx_queue_t                *q;
    lrt_table_t                *t;
    ngx_http_lrt_peer_data_t   *lp;

    for (q = ngx_queue_head(&lmcf->open);
         q != ngx_queue_sentinel(&lmcf->open);
         q = ngx_queue_next(q))
    {
        lp = ngx_queue_data(q, ngx_http_lrt_peer_data_t, open);
        t = &lp->group->table;

        age = now - lp->record->started;

        /* the others are younger still */

        if (age < NGX_HTTP_LRT_LAG_MIN) {
            break;
        }

        if (t->head) {
            lrt_least_time_lag(t, lp->record->pick.slot,
                               lp->record->header != 0, age, now / 1000);
        }
    }
}


static void
ngx_http_lrt_add_tried(ngx_http_lrt_peer_data_t *lp, const lrt_pick_t *pick)
{
    lrt_tried_t  *tried;

    if (lp->tried.elts == NULL
        && ngx_array_init(&lp->tried, lp->request->pool, 4,
                          sizeof(lrt_tried_t))
           != NGX_OK)
    {
        return;
    }

    tried = ngx_array_push(&lp->tried);
    if (tried == NULL) {
        return;
    }

    tried->slot = pick->slot;
    tried->ident = pick->ident;
}


#if (NGX_HTTP_SSL)

static ngx_int_t
ngx_http_lrt_set_peer_session(ngx_peer_connection_t *pc, void *data)
{
    ngx_http_lrt_peer_data_t  *lp = data;

    return ngx_http_lrt_set_session(lp->group, &lp->record->pick,
                                    pc->connection);
}


static void
ngx_http_lrt_save_peer_session(ngx_peer_connection_t *pc, void *data)
{
    ngx_http_lrt_peer_data_t  *lp = data;

    /* with TLS 1.3 a ticket may come when the server was given back */

    if (lp->record) {
        ngx_http_lrt_save_session(lp->group, &lp->record->pick,
                                  pc->connection);
    }
}

#endif
