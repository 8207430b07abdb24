
/*
 * Copyright (C) the ngx_http_lrt_upstream_module authors
 */


#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "model.h"


enum {
    STREAM_FAIL = 11,
    STREAM_EXTRA,
    STREAM_SERVICE
};


static void host_reset(host_t *h);
static void host_count(host_t *h, uint64_t now);
static void host_rate(model_t *m, host_t *h, uint64_t now);
static void host_hang(model_t *m, host_t *h);
static void host_close(model_t *m, host_t *h, uint64_t now);
static void host_release(model_t *m, host_t *h, uint64_t now);
static void host_window(model_t *m, host_t *h, uint64_t now);
static double job_work(host_t *h, uint32_t server, uint64_t id,
    uint32_t work);
static void job_begin(model_t *m, host_t *h, job_t *job, uint64_t now);
static void job_finish(model_t *m, job_t *job);
static void job_out(model_t *m, job_t *job);
static void list_add(host_t *h, job_t *job, list_e list);
static void list_remove(host_t *h, job_t *job);
static void timer_add(model_t *m, job_t *job, uint64_t when);
static void timer_remove(model_t *m, job_t *job);
static void timer_move(model_t *m, job_t *job, uint32_t i);
static double draw_of(uint64_t id, uint32_t server, uint64_t stream);


void
model_init(model_t *m, const scenario_t *s, answer_pt answer,
    changed_pt changed)
{
    uint32_t  i;

    memset(m, 0, sizeof(model_t));

    m->scenario = s;
    m->answer = answer;
    m->changed = changed;
    m->hosts = grow(NULL, s->nservers, sizeof(host_t));

    for (i = 0; i < s->nservers; i++) {
        memset(&m->hosts[i], 0, sizeof(host_t));
        m->hosts[i].spec = &s->servers[i];
        host_reset(&m->hosts[i]);
    }

    m->start = NEVER;
}


void
model_start(model_t *m, uint64_t start)
{
    host_t    *h;
    uint32_t   i;

    for (i = 0; i < m->scenario->nservers; i++) {
        h = &m->hosts[i];

        host_reset(h);
        host_close(m, h, start);

        memset(&h->counters, 0, sizeof(counters_t));

        h->nwindows = 0;
        h->checked = start;

        m->changed(m, i);
    }

    m->start = start;
    m->event = 0;
}


static void
host_reset(host_t *h)
{
    h->slow = 1;
    h->stalled = 0;
    h->hung = 0;
    h->refusing = 0;
    h->down = 0;
    h->health = 0;
    h->fail_share = 0;
    h->extra_share = 0;
    h->rate = h->spec->speed;
}


uint64_t
model_next(const model_t *m)
{
    uint64_t  next, at;

    next = m->ntimers ? m->timers[0]->when : NEVER;

    if (m->start != NEVER && m->event < m->scenario->nevents) {
        at = m->start + m->scenario->events[m->event].at;
        next = at < next ? at : next;
    }

    return next;
}


/*
 * A slot is given to the next in the queue at the very time it gets free,
 * not when this is called: who sleeps too long does not make servers slow.
 */

void
model_run(model_t *m, uint64_t now)
{
    uint64_t        next;
    const event_t  *e;

    for ( ;; ) {
        next = model_next(m);

        if (next > now) {
            return;
        }

        if (m->ntimers && m->timers[0]->when == next) {
            job_finish(m, m->timers[0]);
            continue;
        }

        e = &m->scenario->events[m->event++];
        model_event(m, e, next);
    }
}


void
model_offer(model_t *m, job_t *job, uint32_t server, uint64_t id,
    uint32_t work, uint64_t now)
{
    host_t    *h;
    uint32_t   present;

    h = &m->hosts[server];

    job->server = server;
    job->list = LIST_NONE;
    job->timer = 0;

    h->counters.requests++;
    host_window(m, h, now);

    if (h->hung) {
        h->counters.lost++;
        list_add(h, job, LIST_LOST);
        return;
    }

    if (draw_of(id, server, STREAM_FAIL) < h->fail_share) {
        h->counters.failed++;
        job->status = h->fail_status;
        list_add(h, job, LIST_FAST);
        timer_add(m, job, now + h->fail_time);
        return;
    }

    if (h->n[LIST_SERVED] == h->spec->slots
        && h->n[LIST_QUEUE] >= h->spec->queue)
    {
        h->counters.rejected++;
        m->answer(m, job, 503);
        return;
    }

    job->status = 200;
    job->left = job_work(h, server, id, work);

    if (h->n[LIST_SERVED] < h->spec->slots) {
        job_begin(m, h, job, now);

    } else {
        list_add(h, job, LIST_QUEUE);

        if (h->n[LIST_QUEUE] > h->counters.max_queue) {
            h->counters.max_queue = h->n[LIST_QUEUE];
        }
    }

    present = h->n[LIST_SERVED] + h->n[LIST_QUEUE];

    if (present > h->counters.max_present) {
        h->counters.max_present = present;
    }
}


static double
job_work(host_t *h, uint32_t server, uint64_t id, uint32_t work)
{
    double  left;
    draw_t  draw;

    if (work) {
        left = work * 1e3;

    } else {
        draw = draw_init(mix(id, server), STREAM_SERVICE);
        left = draw_dist(&draw, &h->spec->work) * 1e3;
    }

    if (draw_of(id, server, STREAM_EXTRA) < h->extra_share) {
        left += (double) h->extra_time * h->spec->speed;
    }

    return left;
}


/* A probe is answered as a request without work would be that finds a slot. */

void
model_health(model_t *m, job_t *job, uint32_t server, uint64_t now)
{
    host_t  *h;

    h = &m->hosts[server];

    job->server = server;
    job->list = LIST_NONE;
    job->timer = 0;
    job->status = h->health ? h->health : 200;

    h->counters.health++;

    if (h->hung) {
        list_add(h, job, LIST_LOST);
        return;
    }

    if (h->stalled) {
        list_add(h, job, LIST_HELD);
        return;
    }

    if (h->health == 0
        && unit(mix(now, h->counters.health)) < h->fail_share)
    {
        job->status = h->fail_status;
        list_add(h, job, LIST_FAST);
        timer_add(m, job, now + h->fail_time);
        return;
    }

    m->answer(m, job, job->status);
}


void
model_cancel(model_t *m, job_t *job, uint64_t now)
{
    host_t  *h;

    if (job->list == LIST_NONE) {
        return;
    }

    h = &m->hosts[job->server];

    host_count(h, now);
    job_out(m, job);
    h->counters.cancelled++;

    host_release(m, h, now);
}


void
model_event(model_t *m, const event_t *e, uint64_t now)
{
    host_t  *h;

    h = &m->hosts[e->server];

    switch (e->event) {

    case EVENT_FAIL:
        h->fail_status = e->status;
        h->fail_share = e->number;
        h->fail_time = e->time;
        break;

    case EVENT_EXTRA:
        h->extra_share = e->number;
        h->extra_time = e->time;
        break;

    case EVENT_SLOW:
        h->slow = e->number;
        break;

    case EVENT_STALL:
        h->stalled = 1;
        break;

    case EVENT_HANG:
        h->hung = 1;
        host_count(h, now);
        host_hang(m, h);
        break;

    case EVENT_REFUSE:
        h->refusing = 1;
        break;

    case EVENT_DOWN:
        h->down = 1;
        host_close(m, h, now);
        break;

    case EVENT_HEALTH:
        h->health = e->status;
        break;

    case EVENT_RECOVER:
        host_reset(h);
        break;
    }

    host_rate(m, h, now);

    while (!h->stalled && h->first[LIST_HELD]) {
        job_finish(m, h->first[LIST_HELD]);
    }

    m->changed(m, e->server);
}


/* Another speed is also that of the jobs that are being served. */

static void
host_rate(model_t *m, host_t *h, uint64_t now)
{
    job_t   *job;
    double   rate;

    rate = h->stalled ? 0 : h->spec->speed / h->slow;

    for (job = h->first[LIST_SERVED]; job != NULL; job = job->next) {
        job->left -= (double) (now - job->since) * h->rate;
        job->left = job->left > 0 ? job->left : 0;
        job->since = now;

        timer_remove(m, job);

        if (rate > 0) {
            timer_add(m, job, now + (uint64_t) (job->left / rate));
        }
    }

    h->rate = rate;
}


/* Who has a slot or waits for one has lost it. */

static void
host_hang(model_t *m, host_t *h)
{
    job_t     *job;
    unsigned   list;

    for (list = LIST_QUEUE; list < LIST_LOST; list++) {
        while ((job = h->first[list])) {
            job_out(m, job);
            list_add(h, job, LIST_LOST);
            h->counters.lost++;
        }
    }
}


static void
host_close(model_t *m, host_t *h, uint64_t now)
{
    job_t     *job;
    unsigned   list;

    host_count(h, now);

    for (list = LIST_QUEUE; list < LISTS; list++) {
        while ((job = h->first[list])) {
            job_out(m, job);
            h->counters.closed++;
            m->answer(m, job, 0);
        }
    }
}


/* free slots go to those who wait longest */

static void
host_release(model_t *m, host_t *h, uint64_t now)
{
    job_t  *job;

    while (h->n[LIST_SERVED] < h->spec->slots
           && (job = h->first[LIST_QUEUE]))
    {
        list_remove(h, job);
        job_begin(m, h, job, now);
    }
}


static void
host_count(host_t *h, uint64_t now)
{
    if (now > h->checked) {
        h->counters.busy += h->n[LIST_SERVED] * (now - h->checked);
        h->checked = now;
    }
}


void
model_count(model_t *m, uint64_t now)
{
    uint32_t  i;

    for (i = 0; i < m->scenario->nservers; i++) {
        host_count(&m->hosts[i], now);
    }
}


static void
host_window(model_t *m, host_t *h, uint64_t now)
{
    uint32_t  i;

    if (m->start == NEVER || now < m->start) {
        return;
    }

    i = (uint32_t) ((now - m->start) / WINDOW);

    if (i >= h->nwindows) {
        h->windows = grow(h->windows, i + 1, sizeof(uint32_t));
        memset(h->windows + h->nwindows, 0,
               (i + 1 - h->nwindows) * sizeof(uint32_t));
        h->nwindows = i + 1;
    }

    h->windows[i]++;
}


static void
job_begin(model_t *m, host_t *h, job_t *job, uint64_t now)
{
    host_count(h, now);
    list_add(h, job, LIST_SERVED);

    job->since = now;

    if (h->rate > 0) {
        timer_add(m, job, now + (uint64_t) (job->left / h->rate));
    }
}


static void
job_finish(model_t *m, job_t *job)
{
    host_t    *h;
    list_e     list;
    uint64_t   now;

    h = &m->hosts[job->server];
    list = job->list;
    now = job->when;

    if (list == LIST_SERVED) {
        host_count(h, now);
        h->counters.answered++;
    }

    job_out(m, job);

    if (list == LIST_SERVED) {
        host_release(m, h, now);
    }

    m->answer(m, job, job->status);
}


static void
job_out(model_t *m, job_t *job)
{
    timer_remove(m, job);
    list_remove(&m->hosts[job->server], job);
}


static void
list_add(host_t *h, job_t *job, list_e list)
{
    job->list = list;
    job->next = NULL;
    job->prev = h->last[list];

    if (job->prev) {
        job->prev->next = job;

    } else {
        h->first[list] = job;
    }

    h->last[list] = job;
    h->n[list]++;
}


static void
list_remove(host_t *h, job_t *job)
{
    if (job->prev) {
        job->prev->next = job->next;

    } else {
        h->first[job->list] = job->next;
    }

    if (job->next) {
        job->next->prev = job->prev;

    } else {
        h->last[job->list] = job->prev;
    }

    h->n[job->list]--;
    job->list = LIST_NONE;
}


static void
timer_add(model_t *m, job_t *job, uint64_t when)
{
    if (m->ntimers == m->room) {
        m->room = m->room ? m->room * 2 : 256;
        m->timers = grow(m->timers, m->room, sizeof(job_t *));
    }

    job->when = when;
    timer_move(m, job, m->ntimers++);
}


static void
timer_remove(model_t *m, job_t *job)
{
    job_t     *last;
    uint32_t   i;

    if (job->timer == 0) {
        return;
    }

    i = job->timer - 1;
    job->timer = 0;
    last = m->timers[--m->ntimers];

    if (last != job) {
        timer_move(m, last, i);
    }
}


/* puts a job into place i or, to keep the order, above or below it */

static void
timer_move(model_t *m, job_t *job, uint32_t i)
{
    uint32_t  child, parent;

    while (i > 0) {
        parent = (i - 1) / 2;

        if (m->timers[parent]->when <= job->when) {
            break;
        }

        m->timers[i] = m->timers[parent];
        m->timers[i]->timer = i + 1;
        i = parent;
    }

    for ( ;; ) {
        child = 2 * i + 1;

        if (child + 1 < m->ntimers
            && m->timers[child + 1]->when < m->timers[child]->when)
        {
            child++;
        }

        if (child >= m->ntimers || m->timers[child]->when >= job->when) {
            break;
        }

        m->timers[i] = m->timers[child];
        m->timers[i]->timer = i + 1;
        i = child;
    }

    m->timers[i] = job;
    job->timer = i + 1;
}


static double
draw_of(uint64_t id, uint32_t server, uint64_t stream)
{
    return unit(mix(mix(id, server), stream));
}
