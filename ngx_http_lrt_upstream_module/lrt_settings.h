
/*
 * Copyright (C) the ngx_http_lrt_upstream_module authors
 *
 * Settings of a group beside its method: active checks, slow start, panic.
 */


#ifndef _LRT_SETTINGS_H_INCLUDED_
#define _LRT_SETTINGS_H_INCLUDED_


#include "lrt_types.h"


#define LRT_CHECK_MIN_INTERVAL  10           /* ms */
#define LRT_CHECK_MAX_INTERVAL  ((uint64_t) 7 * 24 * 3600 * 1000)
#define LRT_CHECK_MAX_RUN       10000        /* fails, passes */
#define LRT_CHECK_MAX_JITTER    1000         /* permille */
#define LRT_MAX_PANIC           1000         /* permille */


lrt_str_t lrt_check_string(const lrt_check_t *check, lrt_check_string_e which);

/* all strings of a check at once; false if they are too long together */

unsigned lrt_check_set_strings(lrt_check_t *check,
    const lrt_str_t s[LRT_CHECK_STRINGS]);

/* whether both ask a server the same, however often */

unsigned lrt_check_same(const lrt_check_t *a, const lrt_check_t *b);

unsigned lrt_checks_equal(const lrt_settings_t *a, const lrt_settings_t *b);
unsigned lrt_settings_equal(const lrt_settings_t *a, const lrt_settings_t *b);
unsigned lrt_settings_valid(const lrt_settings_t *s);

/*
 * Three ways, per setting, the checks as one: what "conf" says differently
 * from "before" wins, the rest stays as it is in "live".
 */

void lrt_settings_merge(lrt_settings_t *live, const lrt_settings_t *before,
    const lrt_settings_t *conf);


#endif /* _LRT_SETTINGS_H_INCLUDED_ */
