
/*
 * Copyright (C) the ngx_http_lrt_upstream_module authors
 *
 * Servers that fail: who is suspected and cleared, and what least_time makes
 * of it.
 */


#include "tap.h"
#include "timed.h"
#include "lrt_errors.h"
#include "lrt_rank.h"


static void test_part(void);
static void test_usual(void);
static void test_cost(void);
static void test_suspect(void);
static void test_all_alike(void);
static void test_half(void);
static void test_ranks(void);
static void test_crowded(void);
static void test_clearing(void);
static void test_unmeasured(void);
static void test_mean(void);
static void test_stalls(void);
static void test_stalls_slow(void);
static void test_stalls_alone(void);
static void test_stalls_alike(void);
static void test_stalls_forgotten(void);
static void test_stalls_ranks(void);
static uint64_t stalls(uint64_t word, uint32_t times, uint32_t every,
    uint64_t usual);
static uint64_t after(uint64_t word, uint32_t failed, uint32_t good,
    uint32_t usual);
static void fail(fx_t *fx, uint32_t slot, uint32_t times);
static unsigned suspected(fx_t *fx, uint32_t slot);


int
main(void)
{
    tap_begin();

    run(test_part);
    run(test_usual);
    run(test_cost);
    run(test_suspect);
    run(test_all_alike);
    run(test_half);
    run(test_ranks);
    run(test_crowded);
    run(test_clearing);
    run(test_unmeasured);
    run(test_mean);
    run(test_stalls);
    run(test_stalls_slow);
    run(test_stalls_alone);
    run(test_stalls_alike);
    run(test_stalls_forgotten);
    run(test_stalls_ranks);

    return tap_end();
}


static void
test_part(void)
{
    uint64_t  word;

    is_u64(lrt_errors_add(0, 0, 0), 0, "a good answer of a good server");

    word = lrt_errors_add(0, 1, 0);
    is_u64(lrt_errors_part(word), LRT_ERRORS_ONE / 8, "one failure");

    word = after(0, 1000, 0, 0);
    ok(lrt_errors_part(word) > LRT_ERRORS_ONE * 99 / 100
       && lrt_errors_part(word) <= LRT_ERRORS_ONE, "nothing but failures");

    is_u64(after(word, 0, 1000, 0), 0, "nothing is left of them");
}


static void
test_usual(void)
{
    uint64_t  word;

    word = lrt_errors_add(0, 1, 0);

    is_u64(lrt_errors_usual(word, LRT_ERRORS_ONE / 2, 4), LRT_ERRORS_ONE / 8,
           "half in all, an eighth of it by one of four: the others as often");
    is_u64(lrt_errors_usual(word, LRT_ERRORS_ONE / 8, 4), 0, "it alone");
    is_u64(lrt_errors_usual(word, LRT_ERRORS_ONE, 1), 0, "there are no others");
    is_u64(lrt_errors_usual(word, 0, 4), 0, "a sum that is too small");
    is_u64(lrt_errors_usual(word, (uint64_t) 0 - 1, 4), 0, "below nothing");
    is_u64(lrt_errors_usual(0, (uint64_t) LRT_ERRORS_ONE * 1048575, 1048576),
           LRT_ERRORS_ONE, "as many as there may be");
}


/* one of a tenth costs nearly twice as much as a server without */

static void
test_cost(void)
{
    uint64_t  word;

    is_u64(lrt_errors_cost(0, 0), 0, "no failures");

    word = lrt_errors_add(0, 1, 0);
    is_u64(lrt_errors_cost(word, 0), LRT_LOG_ONE, "an eighth: twice as much");
    is_u64(lrt_errors_cost(word, LRT_ERRORS_ONE / 16), 0,
           "others fail half as often: chance");
    ok(lrt_errors_cost(word, LRT_ERRORS_ONE / 32) > LRT_LOG_ONE / 2
       && lrt_errors_cost(word, LRT_ERRORS_ONE / 32) < LRT_LOG_ONE * 3 / 4,
       "a fourth: a part of it counts");
    is_u64(lrt_errors_cost(word, LRT_ERRORS_ONE), 0, "others fail all");

    word = after(0, 1000, 0, 0);
    ok(lrt_errors_cost(word, 0) > 3 * LRT_LOG_ONE
       && lrt_errors_cost(word, 0) < 3.2 * LRT_LOG_ONE, "all: nine times");
    is_u64(lrt_errors_cost(word, UINT32_MAX), 0, "any number is defined");
}


static void
test_suspect(void)
{
    uint64_t  word;

    ok(!lrt_errors_suspected(after(0, 3, 0, 0)), "three in a row: chance");
    ok(lrt_errors_suspected(after(0, 4, 0, 0)), "four: a suspect");

    word = after(0, 1000, 0, 0);
    ok(lrt_errors_suspected(after(word, 0, 5, 0)), "five good answers");
    ok(!lrt_errors_suspected(after(word, 0, 6, 0)), "six: it is cleared");

    word = after(0, 4, 0, 0);
    ok(lrt_errors_suspected(after(word, 0, 1, 0)),
       "one answer is not enough after four failures");
}


static void
test_all_alike(void)
{
    ok(!lrt_errors_suspected(after(0, 1000, 0, LRT_ERRORS_ONE)),
       "all fail everything: nobody is suspected");

    ok(!lrt_errors_suspected(after(0, 5, 0, LRT_ERRORS_ONE / 2)),
       "all fail half of it: five in a row are chance");

    ok(lrt_errors_suspected(after(0, 1000, 0, LRT_ERRORS_ONE / 2)),
       "half of the servers fail everything: those are suspected");

    ok(!lrt_errors_suspected(after(after(0, 1000, 0, 0), 1, 1,
                                   LRT_ERRORS_ONE)),
       "and cleared when all do");
}


/* who fails every other request stays suspected */

static void
test_half(void)
{
    uint32_t  i, free;
    uint64_t  word;

    word = 0;
    free = 0;

    for (i = 0; i < 1000; i++) {
        word = after(word, 1, 1, 0);
        free += !lrt_errors_suspected(word);
    }

    ok(free < 10, "unsuspected after %u of 1000 pairs", free);
}


/* suspects come after all others, however busy these are */

static void
test_ranks(void)
{
    fx_t        fx;
    uint32_t    i;
    lrt_pick_t  pick;

    lt_open(&fx, 3, 1, 0);

    for (i = 0; i < 3; i++) {
        lt_answer(&fx, i, 10 * LT_MS, LT_SURE);
    }

    fail(&fx, 1, 4);
    ok(suspected(&fx, 1), "a server that failed four requests");

    for (i = 0; i < 1000; i++) {
        if (!check(fx_pick(&fx, &pick) == LRT_OK && pick.slot != 1,
                   "request %u goes elsewhere", i))
        {
            return;
        }
    }

    ok(1, "none of 1000 requests at once goes there");
    ok(fx_quiet(&fx) == NULL, "valid");

    fx_close(&fx);
}


/* if nobody else is left, they are asked */

static void
test_crowded(void)
{
    fx_t          fx;
    lrt_pick_t    pick;
    lrt_params_t  p;

    lt_open(&fx, 2, 1, 0);

    lt_answer(&fx, 0, 10 * LT_MS, LT_SURE);
    lt_answer(&fx, 1, 10 * LT_MS, LT_SURE);

    fail(&fx, 1, 4);
    ok(suspected(&fx, 1), "one of two");

    p = fx_params(1);
    p.down = 1;
    (void) fx_modify(&fx, fx_entry(&fx, 0)->ident, &p, LRT_F_DOWN);

    is_u64(fx_pick(&fx, &pick), LRT_OK, "the other one is down");
    is_u64(pick.slot, 1, "the suspect is asked");

    fx_close(&fx);
}


/* a good answer of a suspect makes the next one due soon, until it is cleared */

static void
test_clearing(void)
{
    fx_t        fx;
    uint32_t    i;
    lrt_pick_t  pick;

    lt_open(&fx, 2, 1, 0);

    lt_answer(&fx, 0, 10 * LT_MS, LT_SURE);
    lt_answer(&fx, 1, 10 * LT_MS, LT_SURE);

    fail(&fx, 1, 100);

    for (i = 0; i < 1000; i++) {
        fx.now++;
        lt_answer(&fx, 0, 10 * LT_MS, 1);

        if (fx_pick(&fx, &pick) == LRT_OK && pick.slot == 1) {
            break;
        }

        lt_finish(&fx, &pick, 10 * LT_MS);
    }

    is_u64(i, 999, "it is tried after a second, whatever it is taken for");
    lt_finish(&fx, &pick, 10 * LT_MS);

    for (i = 1; i < 20 && suspected(&fx, 1); i++) {

        lt_answer(&fx, 0, 10 * LT_MS, 14);

        if (!check(lt_next(&fx) == 0, "not before others have answered")) {
            return;
        }

        lt_answer(&fx, 0, 10 * LT_MS, 6);

        if (!check(fx_pick(&fx, &pick) == LRT_OK && pick.slot == 1,
                   "answer %u is asked for after those", i + 1))
        {
            return;
        }

        lt_finish(&fx, &pick, 10 * LT_MS);
    }

    ok(i < 10, "it is cleared after %u good answers", i);
    ok(fx_quiet(&fx) == NULL, "valid");

    fx_close(&fx);
}


/* answers that have no time, as those at the pace of clients */

static void
test_unmeasured(void)
{
    fx_t           fx;
    uint32_t       i, of[2];
    lrt_pick_t     pick;
    lrt_outcome_t  out;

    lt_open(&fx, 2, 1, 0);
    memset(of, 0, sizeof(of));

    fail(&fx, 1, 4);
    ok(suspected(&fx, 1), "one of two failed four requests");

    for (i = 0; i < 100; i++) {
        (void) fx_pick(&fx, &pick);
        (void) fx_end(&fx, &pick, LRT_ENDED_UNKNOWN);
        of[pick.slot]++;
    }

    ok(of[0] == 50 && of[1] == 50, "no times are known: it has its turns");

    lt_answer(&fx, 0, 10 * LT_MS, LT_SURE);
    (void) fx_pick(&fx, &pick);
    (void) fx_pick(&fx, &pick);
    is_u64(pick.slot, 0, "once they are, others go before it");

    memset(&out, 0, sizeof(lrt_outcome_t));
    out.status = 200;
    out.header = 10 * LT_MS;

    for (i = 0; i < 6; i++) {
        lt_end(&fx, 1, LRT_ENDED_WELL, &out);
    }

    ok(!suspected(&fx, 1), "six good headers clear it");
    ok(fx_quiet(&fx) == NULL, "valid");

    fx_close(&fx);
}


/* the sum of the group is what its servers have, and the audit counts anew */

static void
test_mean(void)
{
    fx_t      fx;
    uint32_t  i;
    uint64_t  sum;

    lt_open(&fx, 4, 1, 0);

    for (i = 0; i < 4; i++) {
        lt_answer(&fx, i, 10 * LT_MS, LT_SURE);
        fail(&fx, i, i);
    }

    sum = 0;

    for (i = 0; i < 4; i++) {
        sum += lrt_errors_part(fx.table.health[i].errors);
    }

    ok(sum > 0, "three of four have failed");
    is_u64(fx.table.head->learned.errors, sum, "the sum of the group");

    fx.table.head->learned.errors = 1;
    lrt_rank_refresh(&fx.table, fx.now);
    is_u64(fx.table.head->learned.errors, sum, "a wrong sum is made good");

    fx_close(&fx);
}


/* one of twenty takes a hundred times as long */

static void
test_stalls(void)
{
    uint64_t  word;

    is_u64(stalls(0, 1000, 0, 0), 0, "a server that never stalls");
    is_u64(lrt_stalls_cost(stalls(0, 100, 100, 0)), 0,
           "one stall of a hundred answers: chance");

    word = stalls(0, 400, 20, 0);
    ok(lrt_stalls_cost(word) > LRT_LOG_ONE
       && lrt_stalls_cost(word) < 3 * LRT_LOG_ONE,
       "one of twenty: it is some times as slow as it seems");

    ok(!lrt_errors_suspected(word) && lrt_errors_part(word) == 0,
       "it has not failed");

    word = lrt_errors_add(word, 1, 0);
    ok(lrt_stalls_cost(word) > LRT_LOG_ONE
       && lrt_errors_part(word) == LRT_ERRORS_ONE / 8,
       "both can be told apart");

    ok(lrt_stalls_cost(stalls(word, 2000, 1, 0)) < 7.1 * LRT_LOG_ONE,
       "nothing but stalls: 129 times");
    is_u64(lrt_stalls_cost(stalls(0, 2000, 1, 0)), 0,
           "nothing else from the beginning: it is slow");
}


/* what is long before it, but no stall, says that the server is slow */

static void
test_stalls_slow(void)
{
    uint32_t  i;
    uint64_t  word;

    word = lrt_stalls_add(0, LRT_LOG_ONE * 9 / 4, 1, 0);
    is_u64(word, 0, "4.8 times as long: as nothing");

    word = lrt_stalls_add(0, LRT_LOG_ONE * 9 / 4 + 1, 1, 0);
    ok(!lrt_stalls_alone(word, 7 * LRT_LOG_ONE), "more: a long answer");
    is_u64(lrt_stalls_part(word), 0, "that is no stall");

    for (i = 0; i < 200; i++) {
        word = lrt_stalls_add(word, 7 * LRT_LOG_ONE, 1, 0);
        word = lrt_stalls_add(word, 3 * LRT_LOG_ONE, 1000, 0);
    }

    ok(lrt_stalls_part(word) == 0 && !lrt_stalls_stalling(word),
       "nor are 200 with nothing but such answers between them");

    word = lrt_stalls_add(word, 0, 1, 0);
    is_u64(word, 0, "after a good answer it is forgotten");
}


/* a stall after an answer that was none says nothing of the next one */

static void
test_stalls_alone(void)
{
    uint32_t  i;
    uint64_t  word;

    word = lrt_errors_add(0, 1, 0);

    ok(!lrt_stalls_alone(word, 5 * LRT_LOG_ONE), "32 times as long: no stall");
    ok(lrt_stalls_alone(word, 5 * LRT_LOG_ONE + 1), "more: one, alone");

    word = lrt_stalls_add(word, 7 * LRT_LOG_ONE, 1, 0);
    ok(!lrt_stalls_alone(word, 7 * LRT_LOG_ONE), "the next one is not");

    word = lrt_stalls_add(word, 0, 1, 0);
    ok(lrt_stalls_alone(word, 7 * LRT_LOG_ONE), "after a good answer it is");

    word = stalls(word, 400, 20, 0);
    word = lrt_stalls_add(word, 0, 1, 0);

    for (i = 0; i < 20; i++) {
        word = lrt_stalls_add(word, 7 * LRT_LOG_ONE, 249, 0);

        if (!check(lrt_stalls_alone(word, 7 * LRT_LOG_ONE), "stall %u", i)) {
            return;
        }
    }

    ok(1, "of a server that stalls now and then, many at a time are stalls");

    word = lrt_stalls_add(word, 7 * LRT_LOG_ONE, 250, 0);
    ok(!lrt_stalls_alone(word, 7 * LRT_LOG_ONE),
       "but not the third of which each came by itself");
    ok(!lrt_stalls_alone(lrt_stalls_add(word, 7 * LRT_LOG_ONE, 60000, 0),
                         7 * LRT_LOG_ONE), "nor any that follows");
    ok(lrt_stalls_alone(lrt_stalls_add(word, 0, 1, 0), 7 * LRT_LOG_ONE),
       "until there is a good answer");

    word = lrt_stalls_forget(word);
    ok(lrt_stalls_cost(word) == 0 && lrt_stalls_part(word) == 0
       && lrt_stalls_alone(word, 7 * LRT_LOG_ONE), "all of it is forgotten");
    is_u64(lrt_errors_part(word), LRT_ERRORS_ONE / 8, "but not what failed");
}


/* what all do is no fault of one */

static void
test_stalls_alike(void)
{
    uint64_t  usual;

    usual = LRT_STALLS_ONE / 50;

    is_u64(lrt_stalls_cost(stalls(0, 1000, 50, usual)), 0,
           "a server that stalls as often as the others");
    ok(lrt_stalls_cost(stalls(0, 1000, 5, usual)) > LRT_LOG_ONE,
       "one that does so ten times as often");
}


/* without requests there is nothing that would disprove it, but time */

static void
test_stalls_forgotten(void)
{
    uint32_t  i;
    uint64_t  word;

    word = stalls(0, 400, 20, 0);

    for (i = 0; i < 5; i++) {
        word = lrt_stalls_add(word, 0, 1000, 0);
    }

    ok(lrt_stalls_cost(word) > 0, "five good answers in five seconds");

    for (i = 0; i < 40; i++) {
        word = lrt_stalls_add(word, 0, 1000, 0);
    }

    is_u64(lrt_stalls_cost(word), 0, "after 45 it has another chance");

    word = lrt_stalls_add(stalls(0, 400, 20, 0), 0, UINT32_MAX, 0);
    is_u64(lrt_stalls_cost(word), 0, "or after a very long time");
}


static void
test_stalls_ranks(void)
{
    fx_t      fx;
    uint32_t  i;

    lt_open(&fx, 3, 1, 0);

    for (i = 1; i <= 400; i++) {
        fx.now++;
        lt_answer(&fx, 0, 10 * LT_MS, 1);
        lt_answer(&fx, 1, (i % 20 ? 10 : 1000) * LT_MS, 1);
        lt_answer(&fx, 2, 10 * LT_MS, 1);
    }

    ok(fx.table.key[LRT_PRIMARY][1] > fx.table.key[LRT_PRIMARY][0]
       && fx.table.key[LRT_PRIMARY][1] > fx.table.key[LRT_PRIMARY][2],
       "who stalls comes after the others");
    ok(fx_quiet(&fx) == NULL, "valid");

    fx_close(&fx);
}


static uint64_t
stalls(uint64_t word, uint32_t times, uint32_t every, uint64_t usual)
{
    uint32_t  i;

    for (i = 1; i <= times; i++) {
        word = lrt_stalls_add(word, (every && i % every == 0)
                                    ? 7 * LRT_LOG_ONE : 0, 1, usual);
    }

    return word;
}


static uint64_t
after(uint64_t word, uint32_t failed, uint32_t good, uint32_t usual)
{
    while (failed--) {
        word = lrt_errors_add(word, 1, usual);
    }

    while (good--) {
        word = lrt_errors_add(word, 0, usual);
    }

    return word;
}


static void
fail(fx_t *fx, uint32_t slot, uint32_t times)
{
    lrt_outcome_t  out;

    memset(&out, 0, sizeof(lrt_outcome_t));

    out.status = 500;
    out.complete = 1;

    while (times--) {
        lt_end(fx, slot, LRT_ENDED_WELL, &out);
    }
}


static unsigned
suspected(fx_t *fx, uint32_t slot)
{
    return lrt_errors_suspected(fx->table.health[slot].errors);
}
