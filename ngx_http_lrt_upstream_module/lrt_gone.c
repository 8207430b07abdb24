
/*
 * Copyright (C) the ngx_http_lrt_upstream_module authors
 */


#include "lrt_gone.h"


lrt_gone_t *
lrt_gone_find(const lrt_table_t *t, uint64_t hash)
{
    uint64_t  i;

    for (i = 0; i < t->head->ngone; i++) {
        if (t->gone[i].hash == hash) {
            return &t->gone[i];
        }
    }

    return NULL;
}


void
lrt_gone_add(lrt_table_t *t, uint64_t hash, const lrt_params_t *conf)
{
    lrt_gone_t  *gone;

    gone = lrt_gone_find(t, hash);

    if (gone) {

        /* of a removal that did not come to pass, since its writer died */

        gone->conf = *conf;
        return;
    }

    if (t->head->ngone == t->capacity) {
        return;
    }

    gone = &t->gone[t->head->ngone];
    gone->hash = hash;
    gone->conf = *conf;

    lrt_store(&t->head->ngone, t->head->ngone + 1);
}


void
lrt_gone_drop(lrt_table_t *t, lrt_gone_t *gone)
{
    uint64_t  last;

    last = t->head->ngone - 1;
    *gone = t->gone[last];

    lrt_store(&t->head->ngone, last);
}
