
/*
 * Copyright (C) the ngx_http_lrt_upstream_module authors
 *
 * Atomic access to words that several processes share.  nginx's own set has
 * no 32-bit exchange on 64-bit systems, and the pure files must not need
 * nginx, so these are thin names for what gcc and clang offer.
 */


#ifndef _LRT_ATOMIC_H_INCLUDED_
#define _LRT_ATOMIC_H_INCLUDED_


#define lrt_load(p)         __atomic_load_n((p), __ATOMIC_ACQUIRE)
#define lrt_store(p, v)     __atomic_store_n((p), (v), __ATOMIC_RELEASE)

/* a load that no other one, and none of those below, may seem to pass */

#define lrt_load_ordered(p) __atomic_load_n((p), __ATOMIC_SEQ_CST)

/* all of these return the old value and are full barriers */

#define lrt_add(p, v)       __atomic_fetch_add((p), (v), __ATOMIC_SEQ_CST)
#define lrt_or(p, v)        __atomic_fetch_or((p), (v), __ATOMIC_SEQ_CST)
#define lrt_and(p, v)       __atomic_fetch_and((p), (v), __ATOMIC_SEQ_CST)
#define lrt_sub(p, v)       __atomic_fetch_sub((p), (v), __ATOMIC_SEQ_CST)
#define lrt_swap(p, v)      __atomic_exchange_n((p), (v), __ATOMIC_SEQ_CST)

/* "old" is an lvalue; it receives what stood there when the swap fails */

#define lrt_cas(p, old, v)                                                    \
    __atomic_compare_exchange_n((p), &(old), (v), 0, __ATOMIC_SEQ_CST,        \
                                __ATOMIC_ACQUIRE)

#define lrt_fence()         __atomic_thread_fence(__ATOMIC_SEQ_CST)


/*
 * The places where a process may be killed between two stores that belong
 * together.  A test build gives each a number and dies there on request.
 */

#if (LRT_TEST)
void lrt_test_point(unsigned point);
#define lrt_point(n)        lrt_test_point(n)
#else
#define lrt_point(n)
#endif

#define LRT_POINT_COUNT_IN_CELL      1   /* own cell counted, total not */
#define LRT_POINT_COUNT_IN_TOTAL     2   /* both counted, pick not validated */
#define LRT_POINT_PICKED             3   /* validated, rank not refreshed */
#define LRT_POINT_RANK_KEY           4   /* key stored, block minimum not */
#define LRT_POINT_COUNT_OUT_TOTAL    5   /* total given back, cell not */
#define LRT_POINT_COUNT_OUT_CELL     6   /* both given back, rank not */
#define LRT_POINT_COMMIT_BEGIN       7   /* writer: lock held, nothing done */
#define LRT_POINT_COMMIT_ENTRIES     8   /* writer: entries of the new side */
#define LRT_POINT_COMMIT_BUILT       9   /* writer: side whole, unpublished */
#define LRT_POINT_COMMIT_PUBLISHED  10   /* writer: published, not tidied */
#define LRT_POINT_COMMIT_DONE       11   /* writer: tidied, lock held */
#define LRT_POINT_ZAP_CELL          12   /* dead cell taken, total not */
#define LRT_POINT_SLOT_CLEARED      13   /* writer: slot clear, not said so */
#define LRT_POINT_RANK_COST         14   /* cost stored, key not */
#define LRT_POINTS                  15


#endif /* _LRT_ATOMIC_H_INCLUDED_ */
