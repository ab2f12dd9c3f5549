/* table - everybody's metrics, put together: what "state.metrics" told last of each node, our own
 * as it is now. Counters and histograms of a node that is gone are kept in the sum (a counter must
 * not go back), its gauges are not. Of those that are gone the last METRICS_GONE_MAX are kept as
 * they were, since one may only have been stopped; what others counted is in one sum. Bounded:
 * METRICS_NODES_MAX nodes, METRICS_SERIES_MAX series each; more are ignored and counted. */
#pragma once

#include "bus/bus.h"
#include "metrics/feed.h"

enum { METRICS_NODES_MAX = 512, METRICS_GONE_MAX = 16 };
#define METRICS_CONTENT_TYPE "text/plain; version=0.0.4; charset=utf-8"

struct metrics_table;
/* `own` (may be NULL): our own feed, read afresh at every question. */
MUST_USE enum err metrics_table_new(struct bus *bus, struct metrics_feed *own,
                                    struct metrics_table **out_table);
void metrics_table_free(struct metrics_table *table);

/* Series of the same name and labels are summed over all nodes. */
/* Prometheus text exposition format 0.0.4: HELP, TYPE, samples; names in order. */
void metrics_table_write(struct metrics_table *table, struct text *out);
/* The sum over all nodes and labels; 0 when there is none. For histograms: count and sum. */
double metrics_table_total(struct metrics_table *table, const char *name);
double metrics_table_sum_seconds(struct metrics_table *table, const char *name);
/* How many nodes it keeps a snapshot of, living and gone. */
size_t metrics_table_nodes(const struct metrics_table *table);
