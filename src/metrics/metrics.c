/* metrics - one thread's registry: finding a series, and counting in it. */
#include "metrics/metrics_impl.h"

#include "base/hash.h"
#include "base/mem.h"
#include "metrics/label.h"

#include <math.h>

const double metric_seconds_bounds[] = {0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25,
                                        0.5,   1,      2.5,   5,    10,    30,   60};
const size_t metric_seconds_bound_count = ARRAY_COUNT(metric_seconds_bounds);
_Static_assert(ARRAY_COUNT(metric_seconds_bounds) + 1 == METRIC_SECONDS_BUCKETS, "and +Inf");
_Static_assert((int)METRIC_SECONDS_BUCKETS <= (int)METRIC_BUCKETS_MAX, "what the header promises");

/* --- life --- */

struct metrics *metrics_new_sized(uint32_t series_max)
{
    struct metrics *metrics = mem_alloc(sizeof(*metrics));
    uint32_t slots = 64;
    while (slots < series_max / 2) /* chains of two when it is full */
        slots *= 2;
    list_init(&metrics->families);
    metrics->series_max = series_max;
    metrics->slot_mask = slots - 1;
    metrics->slots = mem_array(slots, sizeof(struct metric *));
    return metrics;
}

struct metrics *metrics_new(void)
{
    return metrics_new_sized(METRICS_SERIES_MAX);
}

static void family_free(struct metric_family *family)
{
    LIST_FOREACH_SAFE (node, &family->series)
        mem_free(CONTAINER_OF(node, struct metric, link));
    mem_free(family);
}

void metrics_free(struct metrics *metrics)
{
    if (!metrics)
        return;
    LIST_FOREACH_SAFE (node, &metrics->families)
        family_free(CONTAINER_OF(node, struct metric_family, link));
    mem_free(metrics->slots);
    mem_free(metrics);
}

/* --- finding --- */

static struct metric **slot_of(struct metrics *metrics, struct slice name, struct slice labels)
{
    uint64_t hash = hash_add(hash_bytes(name), labels);
    return &metrics->slots[(hash ^ hash >> 32) & metrics->slot_mask];
}

/* Copies behind an object; returns where the copy lies. */
static struct slice copy_to(char **room, struct slice source)
{
    struct slice copy = {*room, source.len};
    if (source.len > 0)
        memcpy(*room, source.data, source.len);
    *room += source.len;
    return copy;
}

static struct metric_family *family_new(struct metrics *metrics, enum metric_kind kind,
                                        struct slice name, struct slice help)
{
    struct metric_family *family = mem_alloc(sizeof(*family) + name.len + help.len);
    char *room = (char *)(family + 1);
    list_init(&family->series);
    family->kind = kind;
    family->name = copy_to(&room, name);
    family->help = copy_to(&room, help);
    list_push_back(&metrics->families, &family->link);
    metrics->family_count++;
    return family;
}

/* Families are few (dozens), and this is asked for new series only. */
static struct metric_family *family_find(const struct metrics *metrics, struct slice name)
{
    LIST_FOREACH (node, &metrics->families) {
        struct metric_family *family = CONTAINER_OF(node, struct metric_family, link);
        if (slice_eq(family->name, name))
            return family;
    }
    return NULL;
}

static struct metric *series_new(struct metric_family *family, struct slice labels)
{
    size_t buckets = family->kind == METRIC_HISTOGRAM ? METRIC_SECONDS_BUCKETS : 0;
    struct metric *metric =
        mem_alloc(sizeof(*metric) + buckets * sizeof(metric->buckets[0]) + labels.len);
    char *room = (char *)(metric->buckets + buckets);
    metric->family = family;
    metric->labels = copy_to(&room, labels);
    list_push_back(&family->series, &metric->link);
    family->series_count++;
    return metric;
}

enum err metrics_obtain(struct metrics *metrics, enum metric_kind kind, struct slice name,
                        struct slice help, struct slice labels, struct metric **out_metric)
{
    struct metric **slot = slot_of(metrics, name, labels);
    for (struct metric *metric = *slot; metric; metric = metric->next_in_slot) {
        if (!slice_eq(metric->labels, labels) || !slice_eq(metric->family->name, name))
            continue;
        *out_metric = metric;
        return metric->family->kind == kind ? ERR_OK : ERR_REFUSED;
    }
    struct metric_family *family = family_find(metrics, name);
    if (family && family->kind != kind)
        return ERR_REFUSED;
    if (metrics->series_count == metrics->series_max) {
        metrics->refused++;
        return ERR_FULL;
    }
    metrics->series_count++;
    *out_metric = series_new(family ? family : family_new(metrics, kind, name, help), labels);
    (*out_metric)->next_in_slot = *slot;
    *slot = *out_metric;
    return ERR_OK;
}

struct metric *metrics_get(struct metrics *metrics, enum metric_kind kind, const char *name,
                           const char *help, const char *labels)
{
    struct metric *metric = NULL;
    if (!metrics)
        return NULL;
    ASSERT_MSG(metric_name_is_valid(slice_str(name)), "%s", name);
    ASSERT_MSG(metric_help_is_valid(slice_str(help)), "%s: %s", name, help);
    ASSERT_MSG(metric_labels_are_valid(slice_str(labels)), "%s{%s}", name, labels);
    enum err err =
        metrics_obtain(metrics, kind, slice_str(name), slice_str(help), slice_str(labels), &metric);
    ASSERT_MSG(err != ERR_REFUSED, "%s exists with another kind", name);
    return err == ERR_OK ? metric : NULL;
}

/* --- counting --- */

void metric_add(struct metric *metric, double amount)
{
    if (!metric)
        return;
    ASSERT(metric->family->kind == METRIC_GAUGE ||
           (metric->family->kind == METRIC_COUNTER && amount >= 0));
    metric->value += amount;
}

void metric_set(struct metric *metric, double value)
{
    if (!metric)
        return;
    ASSERT(metric->family->kind == METRIC_GAUGE && isfinite(value));
    metric->value = value;
}

/* From the smallest bound up: what is measured most often is short. */
void metric_observe(struct metric *metric, double seconds)
{
    size_t bucket = 0;
    if (!metric)
        return;
    ASSERT(metric->family->kind == METRIC_HISTOGRAM && isfinite(seconds));
    while (bucket < ARRAY_COUNT(metric_seconds_bounds) && seconds > metric_seconds_bounds[bucket])
        bucket++;
    metric->buckets[bucket]++;
    metric->value += seconds;
}

uint64_t metric_observed(const struct metric *histogram)
{
    uint64_t count = 0;
    for (size_t i = 0; i < METRIC_SECONDS_BUCKETS; i++)
        count += histogram->buckets[i];
    return count;
}

double metric_value(const struct metric *metric)
{
    if (!metric)
        return 0;
    return metric->family->kind == METRIC_HISTOGRAM ? (double)metric_observed(metric)
                                                    : metric->value;
}
