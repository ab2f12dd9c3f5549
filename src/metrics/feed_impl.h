/* feed_impl - what the table asks of its own feed. */
#pragma once

#include "metrics/feed.h"

#define METRICS_SUBJECT SLICE("state.metrics")

uint64_t metrics_feed_id(const struct metrics_feed *feed);
struct metrics *metrics_feed_registry(const struct metrics_feed *feed);
