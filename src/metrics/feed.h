/* feed - sends one thread's registry to everybody (WIRE_METRICS on "state.metrics") every second,
 * and counts what every loop has: its lag (a deadline every 100 ms, how late it came) and, when it
 * is the process's first (is_process), resident memory and open descriptors. One per endpoint. */
#pragma once

#include "bus/bus.h"
#include "metrics/metrics.h"

enum { METRICS_INTERVAL_MS = 1000, METRICS_DEAD_MS = 5000 };

struct metrics_feed;
/* role: "gateway", "manager", "worker", "host"; node: unique, as the role calls itself. Both are
 * labels of the series that the feed itself adds. `metrics` is borrowed. on_collect (may be NULL)
 * is called before each snapshot, to set gauges from state that is kept anyway. */
struct metrics_feed *metrics_feed_start(struct bus *bus, struct metrics *metrics, const char *role,
                                        const char *node, bool is_process,
                                        void (*on_collect)(void *ctx), void *ctx);
/* Another on_collect than the one of the start, for whoever is opened after the feed; NULL: none.
 */
void metrics_feed_on_collect(struct metrics_feed *feed, void (*on_collect)(void *ctx), void *ctx);
/* Sends a last snapshot, flagged as the last. Sets it NULL; NULL inside is fine. */
void metrics_feed_stop(struct metrics_feed **feed);
/* The node's own registry as it is now, for who shows it. */
void metrics_feed_collect(struct metrics_feed *feed);
