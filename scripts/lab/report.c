
/*
 * Copyright (C) the ngx_http_lrt_upstream_module authors
 */


#define _GNU_SOURCE

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "model.h"
#include "report.h"


#define OUTCOMES  1000


static void print_latencies(FILE *out, const report_t *r);
static void print_outcomes(FILE *out, const report_t *r);
static void print_servers(FILE *out, const report_t *r);
static void print_windows(FILE *out, const report_t *r);
static void write_raw(const report_t *r);
static const char *outcome_name(uint32_t outcome, char *buffer);
static int is_good(const record_t *record);
static int compare_times(const void *one, const void *two);


void
report_print(FILE *out, report_t *r)
{
    fprintf(out, "{\"program\":\"%s\",\"seed\":%llu,"
            "\"checksum\":\"%016llx\",\"load\":%.4f",
            r->program, (unsigned long long) r->scenario->traffic.seed,
            (unsigned long long) r->schedule->checksum,
            scenario_load(r->scenario));

    print_outcomes(out, r);
    print_latencies(out, r);
    print_servers(out, r);

    if (r->windows) {
        print_windows(out, r);
    }

    fprintf(out, "%s}\n", r->more ? r->more : "");

    if (r->raw) {
        write_raw(r);
    }
}


static void
print_outcomes(FILE *out, const report_t *r)
{
    char        buffer[16];
    double      seconds;
    uint32_t    i, n, good, counts[OUTCOMES];
    const char *comma;

    memset(counts, 0, sizeof(counts));

    n = r->schedule->n - r->schedule->warmup;
    good = 0;

    for (i = r->schedule->warmup; i < r->schedule->n; i++) {
        counts[r->records[i].outcome % OUTCOMES]++;
        good += is_good(&r->records[i]);
    }

    seconds = (double) r->scenario->traffic.duration / SECOND;

    fprintf(out, ",\"requests\":%u,\"warmup\":%u,\"ok\":%u,"
            "\"deadline_misses\":%u,\"rate\":%.3f,\"goodput\":%.3f,"
            "\"errors\":{", n, r->schedule->warmup, good,
            counts[OUTCOME_TIMEOUT], n / seconds, good / seconds);

    comma = "";

    for (i = 0; i < OUTCOMES; i++) {
        if (counts[i] && !(i >= 200 && i < 400)) {
            fprintf(out, "%s\"%s\":%u", comma, outcome_name(i, buffer),
                    counts[i]);
            comma = ",";
        }
    }

    fprintf(out, "}");
}


/*
 * Who got an error has waited for nothing: among all, it counts as one who
 * has waited for the deadline.
 */

static void
print_latencies(FILE *out, const report_t *r)
{
    size_t     n, good;
    uint32_t   i;
    uint64_t  *all, *ok;

    all = grow(NULL, r->schedule->n, sizeof(uint64_t));
    ok = grow(NULL, r->schedule->n, sizeof(uint64_t));
    n = 0;
    good = 0;

    for (i = r->schedule->warmup; i < r->schedule->n; i++) {
        if (is_good(&r->records[i])) {
            ok[good++] = r->records[i].latency;
            all[n++] = r->records[i].latency;

        } else {
            all[n++] = r->scenario->traffic.deadline;
        }
    }

    report_times(out, "latency_ms", all, n);
    report_times(out, "latency_ok_ms", ok, good);

    free(all);
    free(ok);
}


static void
print_servers(FILE *out, const report_t *r)
{
    uint32_t         i, j, n, *answers, *good;
    const record_t  *record;

    n = r->schedule->n - r->schedule->warmup;
    answers = grow(NULL, r->nnames, sizeof(uint32_t));
    good = grow(NULL, r->nnames, sizeof(uint32_t));

    for (j = 0; j < r->nnames; j++) {
        answers[j] = 0;
        good[j] = 0;
    }

    for (i = r->schedule->warmup; i < r->schedule->n; i++) {
        record = &r->records[i];

        if (record->server != NO_SERVER) {
            answers[record->server]++;
            good[record->server] += is_good(record);
        }
    }

    fprintf(out, ",\"servers\":{");

    for (j = 0; j < r->nnames; j++) {
        fprintf(out, "%s\"%s\":{\"answers\":%u,\"ok\":%u,\"share\":%.5f}",
                j ? "," : "", r->names[j], answers[j], good[j],
                n ? (double) answers[j] / n : 0);
    }

    fprintf(out, "}");

    free(answers);
    free(good);
}


/* by the time when requests were due, warm-up included */

static void
print_windows(FILE *out, const report_t *r)
{
    uint32_t            i, j, n, *counts;
    uint64_t            length;
    const traffic_t    *t;
    const request_t    *requests;

    t = &r->scenario->traffic;
    requests = r->schedule->requests;
    length = t->warmup + t->duration;
    n = (uint32_t) ((length + WINDOW - 1) / WINDOW);
    counts = grow(NULL, n, sizeof(uint32_t));

    fprintf(out, ",\"window_ms\":%.0f,\"windows\":{",
            (double) WINDOW / MILLISECOND);

    memset(counts, 0, n * sizeof(uint32_t));

    for (i = 0; i < r->schedule->n; i++) {
        counts[requests[i].due / WINDOW]++;
    }

    report_list(out, "all", counts, n);

    for (j = 0; j < r->nnames; j++) {
        if (!report_wants(r->windows, r->names[j])) {
            continue;
        }

        memset(counts, 0, n * sizeof(uint32_t));

        for (i = 0; i < r->schedule->n; i++) {
            counts[requests[i].due / WINDOW] += (r->records[i].server == j);
        }

        fprintf(out, ",");
        report_list(out, r->names[j], counts, n);
    }

    fprintf(out, "}");
    free(counts);
}


void
report_list(FILE *out, const char *name, const uint32_t *values, uint32_t n)
{
    uint32_t  i;

    fprintf(out, "\"%s\":[", name);

    for (i = 0; i < n; i++) {
        fprintf(out, "%s%u", i ? "," : "", values[i]);
    }

    fprintf(out, "]");
}


int
report_wants(const char *list, const char *name)
{
    size_t       n;
    const char  *p;

    if (strcmp(list, "*") == 0) {
        return 1;
    }

    n = strlen(name);

    for (p = list; p != NULL; p = strchr(p, ',') ? strchr(p, ',') + 1 : NULL) {
        if (strncmp(p, name, n) == 0 && (p[n] == ',' || p[n] == '\0')) {
            return 1;
        }
    }

    return 0;
}


/* All values are there, so percentiles are those of the values themselves. */

void
report_times(FILE *out, const char *name, uint64_t *values, size_t n)
{
    double   sum;
    size_t   i;

    report_sort(values, n);
    sum = 0;

    for (i = 0; i < n; i++) {
        sum += (double) values[i];
    }

    fprintf(out, ",\"%s\":{\"mean\":%.4f,\"p50\":%.4f,\"p90\":%.4f,"
            "\"p99\":%.4f,\"p99.9\":%.4f,\"max\":%.4f}", name,
            n ? sum / (double) n / MILLISECOND : 0,
            (double) report_quantile(values, n, 0.5) / MILLISECOND,
            (double) report_quantile(values, n, 0.9) / MILLISECOND,
            (double) report_quantile(values, n, 0.99) / MILLISECOND,
            (double) report_quantile(values, n, 0.999) / MILLISECOND,
            (double) report_quantile(values, n, 1) / MILLISECOND);
}


void
report_sort(uint64_t *values, size_t n)
{
    qsort(values, n, sizeof(uint64_t), compare_times);
}


uint64_t
report_quantile(const uint64_t *sorted, size_t n, double q)
{
    size_t  rank;

    if (n == 0) {
        return 0;
    }

    rank = (size_t) (q * (double) n + 1 - 1e-9);
    rank = rank < 1 ? 1 : rank > n ? n : rank;

    return sorted[rank - 1];
}


static int
compare_times(const void *one, const void *two)
{
    uint64_t  a, b;

    a = *(const uint64_t *) one;
    b = *(const uint64_t *) two;

    return (a > b) - (a < b);
}


static void
write_raw(const report_t *r)
{
    FILE            *file;
    char             buffer[16];
    uint32_t         i;
    const record_t  *record;

    file = fopen(r->raw, "w");

    if (file == NULL) {
        die("%s: %s", r->raw, strerror(errno));
    }

    fprintf(file, "n\tdue_us\twork_us\tlate_us\tlatency_us\tserver\t"
            "outcome\n");

    for (i = 0; i < r->schedule->n; i++) {
        record = &r->records[i];

        fprintf(file, "%u\t%.3f\t%u\t%.3f\t%.3f\t%s\t%s\n", i,
                (double) r->schedule->requests[i].due / MICROSECOND,
                r->schedule->requests[i].work,
                (double) record->late / MICROSECOND,
                (double) record->latency / MICROSECOND,
                record->server == NO_SERVER ? "-" : r->names[record->server],
                outcome_name(record->outcome, buffer));
    }

    if (fclose(file) != 0) {
        die("%s: %s", r->raw, strerror(errno));
    }
}


static const char *
outcome_name(uint32_t outcome, char *buffer)
{
    switch (outcome) {

    case OUTCOME_NONE:
        return "none";

    case OUTCOME_TIMEOUT:
        return "timeout";

    case OUTCOME_REFUSED:
        return "refused";

    case OUTCOME_CLOSED:
        return "closed";

    case OUTCOME_STRANGE:
        return "strange";

    default:
        sprintf(buffer, "%u", outcome % OUTCOMES);
        return buffer;
    }
}


static int
is_good(const record_t *record)
{
    return record->outcome >= 200 && record->outcome < 400;
}
