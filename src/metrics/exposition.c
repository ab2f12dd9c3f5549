/* exposition - writes HELP, TYPE and samples. */
#include "metrics/exposition.h"

#include "base/json.h"
#include "base/mem.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

/* --- order --- */

static int compare(struct slice a, struct slice b)
{
    size_t both = a.len < b.len ? a.len : b.len;
    int order = both ? memcmp(a.data, b.data, both) : 0;
    return order ? order : (a.len > b.len) - (a.len < b.len);
}

static int compare_families(const void *a, const void *b)
{
    const struct metric_family *const *left = a, *const *right = b;
    return compare((*left)->name, (*right)->name);
}

static int compare_series(const void *a, const void *b)
{
    const struct metric *const *left = a, *const *right = b;
    return compare((*left)->labels, (*right)->labels);
}

/* --- lines --- */

/* The format's words for what is not a number: sums of what nodes say can get there. */
static void add_number(struct text *out, double value)
{
    struct json_out json = json_out_to(out);
    if (isnan(value))
        text_add_str(out, "NaN");
    else if (isinf(value))
        text_add_str(out, value > 0 ? "+Inf" : "-Inf");
    else
        json_out_double(&json, value);
}

/* name_suffix{labels,le="..."} with the space behind it. */
static void add_head(struct text *out, const struct metric *metric, const char *suffix,
                     const char *le)
{
    bool has_labels = metric->labels.len > 0;
    text_add(out, metric->family->name);
    text_add_str(out, suffix);
    if (has_labels || le)
        text_add_byte(out, '{');
    text_add(out, metric->labels);
    if (le)
        text_add_f(out, "%sle=\"%s\"", has_labels ? "," : "", le);
    text_add_str(out, has_labels || le ? "} " : " ");
}

static void write_histogram(const struct metric *metric, struct text *out)
{
    uint64_t below = 0;
    char le[32];
    for (size_t i = 0; i < METRIC_SECONDS_BUCKETS; i++) {
        below += metric->buckets[i];
        if (i < metric_seconds_bound_count)
            snprintf(le, sizeof(le), "%g", metric_seconds_bounds[i]);
        add_head(out, metric, "_bucket", i < metric_seconds_bound_count ? le : "+Inf");
        text_add_u64(out, below);
        text_add_byte(out, '\n');
    }
    add_head(out, metric, "_sum", NULL);
    add_number(out, metric->value);
    text_add_byte(out, '\n');
    add_head(out, metric, "_count", NULL);
    text_add_u64(out, below);
    text_add_byte(out, '\n');
}

static void write_series(const struct metric *metric, struct text *out)
{
    if (metric->family->kind == METRIC_HISTOGRAM) {
        write_histogram(metric, out);
        return;
    }
    add_head(out, metric, "", NULL);
    add_number(out, metric->value);
    text_add_byte(out, '\n');
}

static void write_family(const struct metric_family *family, struct text *out)
{
    static const char *const types[] = {
        [METRIC_COUNTER] = "counter", [METRIC_GAUGE] = "gauge", [METRIC_HISTOGRAM] = "histogram"};
    const struct metric **series = mem_array(family->series_count, sizeof(*series));
    size_t count = 0;
    LIST_FOREACH (node, &family->series)
        series[count++] = CONTAINER_OF(node, struct metric, link);
    qsort(series, count, sizeof(*series), compare_series);
    text_add_f(out, "# HELP " SLICE_FMT " " SLICE_FMT "\n", SLICE_ARG(family->name),
               SLICE_ARG(family->help));
    text_add_f(out, "# TYPE " SLICE_FMT " %s\n", SLICE_ARG(family->name), types[family->kind]);
    for (size_t i = 0; i < count; i++)
        write_series(series[i], out);
    mem_free(series);
}

void exposition_write(const struct metrics *metrics, struct text *out)
{
    const struct metric_family **families = mem_array(metrics->family_count, sizeof(*families));
    size_t count = 0;
    LIST_FOREACH (node, &metrics->families)
        families[count++] = CONTAINER_OF(node, struct metric_family, link);
    qsort(families, count, sizeof(*families), compare_families);
    for (size_t i = 0; i < count; i++)
        write_family(families[i], out);
    mem_free(families);
}
