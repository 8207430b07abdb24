
/*
 * Copyright (C) the ngx_http_lrt_upstream_module authors
 *
 * A scenario is a text of lines that all programs of the lab read: servers,
 * the traffic they get, and what happens to them at what time.
 */


#ifndef _SCENARIO_H_INCLUDED_
#define _SCENARIO_H_INCLUDED_


#include <netinet/in.h>
#include <stdint.h>

#include "util.h"


#define NAME_SIZE    32
#define STEPS        32

#define SCENARIO_HELP                                                         \
    "Lines of a scenario, from files (-f FILE) and arguments (-e LINE):\n"    \
    "\n"                                                                      \
    "  server NAME [count=N] [listen=ADDRESS:PORT] [slots=K] [queue=N]\n"     \
    "         [speed=X] [weight=N] [work=DIST] [hue=DEGREES]\n"               \
    "      K requests at a time, the others wait, first in first out;\n"      \
    "      who finds N waiting gets 503 (no limit if not given).  It\n"       \
    "      takes the work of a request divided by X; that is what the\n"      \
    "      request says, else DIST.  count=N makes NAME0, NAME1 .. on\n"      \
    "      ports one after another; the system chooses for port 0.\n"         \
    "      The weight is what policies of the module are told, the hue\n"     \
    "      that of its picture.\n"                                            \
    "\n"                                                                      \
    "  traffic [seed=N] [rate=N] [warmup=TIME] [duration=TIME]\n"             \
    "          [work=DIST] [deadline=TIME] [steps=X/X/..]\n"                  \
    "          [arrivals=poisson|constant|burst:RATIO:HIGH:LOW]\n"            \
    "      Requests in a second for TIME, the warm-up is not counted.\n"      \
    "      A burst has the RATIO-fold rate for HIGH on average, then\n"       \
    "      LOW; rate is the average of both.  Steps multiply it in\n"         \
    "      equal parts of the duration.\n"                                    \
    "\n"                                                                      \
    "  at TIME NAME EVENT [for=TIME]\n"                                       \
    "      The time since the traffic began, warm-up included.  NAME\n"       \
    "      may end in \"*\".  \"for\" adds \"recover\" after it.  Events:\n"  \
    "      fail STATUS [share=P] [time=TIME]  that answer, no slot\n"         \
    "      extra TIME [share=P]  longer service, in a slot\n"                 \
    "      slow X         X times as long, also who is being served\n"        \
    "      stall          work stops and is continued at the end\n"           \
    "      hang           who is there or comes gets no answer, ever\n"       \
    "      refuse         new connections\n"                                  \
    "      down           refuse, and connections are closed\n"               \
    "      health STATUS  that answer to /health, which else is what\n"       \
    "                     a request without work would get\n"                 \
    "      recover        all of that ends\n"                                 \
    "\n"                                                                      \
    "DIST is const:T exp:T lognormal:T:CV bimodal:T:T:SHARE_OF_SECOND\n"      \
    "pareto:FROM:TO:EXPONENT; of traffic also \"server\", requests then\n"    \
    "do not tell their work.  TIME has the unit us, ms or s.\n"


typedef struct {
    char                name[NAME_SIZE];
    struct sockaddr_in  address;
    uint32_t            slots;
    uint32_t            queue;
    double              speed;
    uint32_t            weight;         /* for who knows weights */
    dist_t              work;
    uint32_t            hue;            /* of its picture, in degrees */
} server_t;


typedef enum {
    EVENT_FAIL = 0,
    EVENT_EXTRA,
    EVENT_SLOW,
    EVENT_STALL,
    EVENT_HANG,
    EVENT_REFUSE,
    EVENT_DOWN,
    EVENT_HEALTH,
    EVENT_RECOVER
} event_e;


typedef struct {
    uint64_t            at;
    uint32_t            server;
    event_e             event;
    uint32_t            status;
    double              number;         /* share, or factor */
    uint64_t            time;
} event_t;


typedef struct {
    uint64_t            seed;
    double              rate;
    uint64_t            warmup;
    uint64_t            duration;
    uint64_t            deadline;
    dist_t              work;

    enum {
        ARRIVALS_POISSON = 0,
        ARRIVALS_CONSTANT,
        ARRIVALS_BURST
    }                   arrivals;

    double              ratio;          /* of a burst */
    uint64_t            high;
    uint64_t            low;

    uint32_t            nsteps;
    double              steps[STEPS];
} traffic_t;


typedef struct {
    traffic_t           traffic;

    server_t           *servers;
    uint32_t            nservers;

    event_t            *events;         /* by their time */
    uint32_t            nevents;
} scenario_t;


void scenario_init(scenario_t *s);
void scenario_file(scenario_t *s, const char *path);
void scenario_line(scenario_t *s, const char *line);

/* to be called when all lines are read */

void scenario_ready(scenario_t *s);

/* part of the capacity of all servers that the traffic needs */

double scenario_load(const scenario_t *s);

struct sockaddr_in parse_address(const char *text);


#endif /* _SCENARIO_H_INCLUDED_ */
