
/*
 * Copyright (C) the ngx_http_lrt_upstream_module authors
 */


#include <math.h>
#include <string.h>

#include "schedule.h"


enum {
    STREAM_ARRIVALS = 1,
    STREAM_BURSTS,
    STREAM_WORK,
    STREAM_ID
};


/* the rate, which is constant up to "until" */

typedef struct {
    const traffic_t  *traffic;
    draw_t            draw;
    double            average;      /* requests in a nanosecond */
    double            low;          /* of a burst */
    unsigned          high;
    double            turn;         /* of bursts */
    double            rate;
    double            until;
} pace_t;


static void pace_init(pace_t *p, const traffic_t *t);
static void pace_next(pace_t *p, double now);


/*
 * Works and arrivals come from streams of their own: another rate or another
 * shape of the one leaves the other as it was.
 */

void
schedule_make(schedule_t *s, const traffic_t *t)
{
    draw_t      arrivals, work;
    pace_t      pace;
    double      now, end, left, us;
    uint32_t    room;
    request_t  *r;

    memset(s, 0, sizeof(schedule_t));

    arrivals = draw_init(t->seed, STREAM_ARRIVALS);
    work = draw_init(t->seed, STREAM_WORK);
    pace_init(&pace, t);

    now = 0;
    end = (double) (t->warmup + t->duration);
    room = 0;

    for ( ;; ) {
        left = t->arrivals == ARRIVALS_CONSTANT ? 1 : draw_exp(&arrivals);

        while (left > (pace.until - now) * pace.rate && now < end) {
            left -= (pace.until - now) * pace.rate;
            now = pace.until;
            pace_next(&pace, now);
        }

        now += left / pace.rate;

        if (!(now < end)) {
            return;
        }

        if (s->n == room) {
            room = room ? room * 2 : 4096;
            s->requests = grow(s->requests, room, sizeof(request_t));
        }

        us = draw_dist(&work, &t->work);

        r = &s->requests[s->n];
        r->due = (uint64_t) now;
        r->id = mix(mix(t->seed, STREAM_ID), s->n);
        r->work = us < 1 ? 1 : us > UINT32_MAX ? UINT32_MAX
                                               : (uint32_t) lround(us);

        if (t->work.kind == DIST_NONE) {
            r->work = 0;
        }

        s->checksum = mix(mix(s->checksum, r->due), r->work);
        s->warmup += (r->due < t->warmup);
        s->n++;
    }
}


static void
pace_init(pace_t *p, const traffic_t *t)
{
    p->traffic = t;
    p->draw = draw_init(t->seed, STREAM_BURSTS);
    p->average = t->rate / SECOND;
    p->high = 1;
    p->turn = INFINITY;
    p->low = p->average;

    if (t->arrivals == ARRIVALS_BURST) {
        p->low *= (double) (t->high + t->low)
                  / (t->ratio * (double) t->high + (double) t->low);
        p->turn = 0;

        /* the state that it leaves now */

        p->high = draw_unit(&p->draw) * (double) (t->high + t->low)
                  > (double) t->high;
    }

    pace_next(p, 0);
}


static void
pace_next(pace_t *p, double now)
{
    double            step, until;
    uint32_t          i;
    const traffic_t  *t;

    t = p->traffic;

    if (now >= p->turn) {
        p->high = !p->high;
        p->turn = now + draw_exp(&p->draw)
                        * (double) (p->high ? t->high : t->low);
    }

    p->rate = p->low;
    p->until = p->turn;

    if (t->arrivals == ARRIVALS_BURST && p->high) {
        p->rate *= t->ratio;
    }

    /* the first step is for the warm-up, too */

    for (i = 0; i < t->nsteps; i++) {
        step = (double) t->duration / t->nsteps;
        until = (double) t->warmup + step * (i + 1);

        if (now < until || i == t->nsteps - 1) {
            p->rate *= t->steps[i];

            if (now < until && until < p->until) {
                p->until = until;
            }

            break;
        }
    }
}
