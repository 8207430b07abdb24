
/*
 * Copyright (C) the ngx_http_lrt_upstream_module authors
 *
 * Sockets, sleeping with the precision of microseconds, and headers.
 */


#ifndef _NET_H_INCLUDED_
#define _NET_H_INCLUDED_


#include <netinet/in.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/epoll.h>


/* that much of a wait is spent awake, in nanoseconds */

extern uint64_t  net_spin;


/* precise timers, many descriptors, and no signal for closed connections */

void net_init(void);

/* the kernel lets nobody but other such processes go first; needs root */

void net_realtime(void);

/* these return -1 and set errno */

int net_listen(struct sockaddr_in *address);
int net_connect(const struct sockaddr_in *address);

int net_epoll(void);
void net_watch(int epoll, int op, int fd, uint32_t events, void *data);
int net_wait(int epoll, struct epoll_event *events, int n, uint64_t until);

/*
 * The length of a head up to its empty line, or 0 if it is not yet complete;
 * "from" is how much was there when it was looked for last.
 */

size_t head_end(const char *buffer, size_t n, size_t from);

/*
 * The lines after the first one: sets name (of "length" bytes) and value and
 * returns the next line, or NULL at the end.
 */

const char *head_line(const char *line, const char *end, const char **name,
    size_t *length, const char **value);
int head_is(const char *name, size_t length, const char *wanted);


#endif /* _NET_H_INCLUDED_ */
