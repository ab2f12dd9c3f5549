/* metrics_impl - the inside of a registry, for the files of this folder: families (a name, its kind
 * and help) in the order they were made, each with its series in the order they were made. */
#pragma once

#include "base/list.h"
#include "metrics/metrics.h"

enum { METRIC_SECONDS_BUCKETS = 16 }; /* metric_seconds_bounds and +Inf */

struct metric_family {
    struct list link;   /* metrics.families */
    struct list series; /* struct metric.link */
    enum metric_kind kind;
    uint32_t series_count;
    struct slice name, help; /* own copies */
};

struct metric {
    struct list link; /* metric_family.series */
    struct metric *next_in_slot;
    const struct metric_family *family;
    struct slice labels; /* own copy, without braces */
    double value;        /* histogram: the sum of what was observed */
    /* How many fell into each, not cumulative; allocated for histograms only. */
    uint64_t buckets[];
};

struct metrics {
    struct list families; /* struct metric_family.link */
    uint32_t family_count;
    uint32_t series_count, series_max;
    uint64_t refused; /* how often a series was asked for that did not fit */
    uint32_t slot_mask;
    struct metric **slots; /* by the hash of name and labels */
};

struct metrics *metrics_new_sized(uint32_t series_max);
/* metrics_get() for a name that came from outside: the caller has checked it and the labels
 * (label.h). ERR_REFUSED: the name exists with another kind; ERR_FULL: series_max, counted. */
MUST_USE enum err metrics_obtain(struct metrics *metrics, enum metric_kind kind, struct slice name,
                                 struct slice help, struct slice labels,
                                 struct metric **out_metric);
uint64_t metric_observed(const struct metric *histogram);
