/* worker_metrics - what a worker counts. Every call is fine without a registry. Its loop. */
#pragma once

#include "metrics/metrics.h"
#include "wire/event.h"
#include "worker/prefix_disk.h"

enum { WORKER_ENDS = (int)DONE_REASON_COUNT + (int)FAULT_COUNT + 1 };

struct worker_metrics {
    struct metrics *registry; /* borrowed; NULL: nothing is counted */
    struct slice model;       /* borrowed */
    struct metric *slots, *slots_busy, *parked;
    struct metric *tokens, *prompt_tokens, *prefill_seconds, *cancel_seconds;
    struct metric *cached_tokens, *prefix_hits, *prefix_bytes;
    struct metric *replayed_tokens;
    struct metric *disk_bytes, *disk_written, *disk_fetched, *disk_dropped, *disk_failed;
    struct prefix_disk_counts disk_counted;
    struct metric *exact; /* made when it is known */
    struct metric *draft_tokens, *draft_right, *adapter_changes;
    struct metric *ends[WORKER_ENDS]; /* made when first met: most faults never are */
};
void worker_metrics_init(struct worker_metrics *metrics, struct metrics *registry,
                         struct slice model);
/* What the self-test found; nothing as long as it is not known. */
void worker_metrics_set_exact(struct worker_metrics *metrics, bool is_known, bool is_exact);
/* Where nothing was ever kept on disk there are no such metrics. */
void worker_metrics_count_disk(struct worker_metrics *metrics,
                               const struct prefix_disk_counts *counts);
/* NULL `end`: it was handed back. */
void worker_metrics_count_end(struct worker_metrics *metrics, const struct event *end);
