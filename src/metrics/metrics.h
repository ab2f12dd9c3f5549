/* metrics - what is counted on one loop thread: counters, gauges, histograms, each with a name, one
 * line of help and its labels. Pure: no I/O, no clock, no locks; a registry belongs to one thread.
 * feed.h sends it to everybody, table.h puts all of them together.
 *
 * Names and units are Prometheus' own (base units, _total, _seconds, _bytes). A label's value comes
 * from what we know (models, roles, route templates, reasons), never from a client: else a client
 * could make series without end. */
#pragma once

#include "base/slice.h"
#include "base/text.h"

enum { METRICS_SERIES_MAX = 1024, METRIC_BUCKETS_MAX = 24 };

struct metrics;
struct metric;

struct metrics *metrics_new(void);
void metrics_free(struct metrics *metrics); /* NULL is fine */

enum metric_kind { METRIC_COUNTER, METRIC_GAUGE, METRIC_HISTOGRAM };

/* The series with that name and these labels, made at the first call; `labels` is what stands
 * between the braces (metrics_label() makes it), empty for none. `name` and `help` are literals.
 * NULL registry, or more than METRICS_SERIES_MAX series: NULL, which the calls below ignore. A
 * histogram has the bounds of metric_seconds_bounds. The pointer stays good: whoever counts often
 * asks once. Labels in another order are another series. ASSERT: the name exists with another kind;
 * name, help or labels that could not be shown (label.h). */
struct metric *metrics_get(struct metrics *metrics, enum metric_kind kind, const char *name,
                           const char *help, const char *labels);
void metric_add(struct metric *metric, double amount); /* counter: >= 0; gauge: any */
void metric_set(struct metric *metric, double value);  /* gauge */
void metric_observe(struct metric *metric, double seconds);
double metric_value(const struct metric *metric); /* histogram: how many were observed */

/* key="value", escaped (and invalid UTF-8 replaced); a second one is appended with a comma. Behind
 * it stands a NUL that is not counted: labels->data is what metrics_get() takes. One that does not
 * fit is left out whole, which shows in text_status(). */
void metrics_label(struct text *labels, const char *key, struct slice value);

/* Upper bounds in seconds: 0.001 0.0025 0.005 0.01 0.025 0.05 0.1 0.25 0.5 1 2.5 5 10 30 60 +Inf */
extern const double metric_seconds_bounds[];
extern const size_t metric_seconds_bound_count; /* without +Inf */
