/* worker_metrics - what a worker counts. Every call is fine without a registry. Its loop. */
#pragma once

#include "metrics/metrics.h"
#include "wire/event.h"
#include "wire/node_state.h"
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
    struct metric *numerics[NODE_DETERMINISM_COUNT]; /* made when there is a profile to keep */
    struct metric *draft_tokens, *draft_right, *settled_tokens, *adapter_changes;
    struct metric *ends[WORKER_ENDS]; /* made when first met: most faults never are */
};
void worker_metrics_init(struct worker_metrics *metrics, struct metrics *registry,
                         struct slice model);
/* Of a worker that has a profile: it is counted under what its self-test found while it is ready.
 * A gauge that told the word itself would say nothing of several workers: gauges are added up. */
void worker_metrics_set_determinism(struct worker_metrics *metrics, bool is_ready,
                                    enum node_determinism determinism);
/* Where nothing was ever kept on disk there are no such metrics. */
void worker_metrics_count_disk(struct worker_metrics *metrics,
                               const struct prefix_disk_counts *counts);
/* NULL `end`: it was handed back. */
void worker_metrics_count_end(struct worker_metrics *metrics, const struct event *end);
