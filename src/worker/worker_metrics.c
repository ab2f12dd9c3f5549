/* worker_metrics - what a worker counts. */
#include "worker/worker_metrics.h"

enum { LABELS_MAX_BYTES = 4096 };

/* `key` NULL: the model is its only label. */
static struct metric *get_labelled(struct worker_metrics *metrics, enum metric_kind kind,
                                   const char *name, const char *help, const char *key,
                                   const char *value)
{
    struct text labels;
    struct metric *metric = NULL;
    text_init(&labels, LABELS_MAX_BYTES);
    metrics_label(&labels, "model", metrics->model);
    if (key)
        metrics_label(&labels, key, slice_str(value));
    if (text_status(&labels) == ERR_OK)
        metric = metrics_get(metrics->registry, kind, name, help, labels.data);
    text_fini(&labels);
    return metric;
}

static struct metric *get(struct worker_metrics *metrics, enum metric_kind kind, const char *name,
                          const char *help)
{
    return get_labelled(metrics, kind, name, help, NULL, NULL);
}

void worker_metrics_init(struct worker_metrics *metrics, struct metrics *registry,
                         struct slice model)
{
    *metrics = (struct worker_metrics){.registry = registry, .model = model};
    if (!registry)
        return;
    metrics->slots = get(metrics, METRIC_GAUGE, "millrace_slots", "Sequences at once.");
    metrics->slots_busy =
        get(metrics, METRIC_GAUGE, "millrace_slots_busy", "Slots that are taken.");
    metrics->parked =
        get(metrics, METRIC_GAUGE, "millrace_parked", "Sequences that wait for their reader.");
    metrics->tokens = get(metrics, METRIC_COUNTER, "millrace_tokens_total", "Tokens sampled.");
    metrics->prompt_tokens = get(metrics, METRIC_COUNTER, "millrace_prompt_tokens_total",
                                 "Tokens of prompts that are in.");
    metrics->cached_tokens = get(metrics, METRIC_COUNTER, "millrace_cached_tokens_total",
                                 "Of these, tokens that were there already.");
    metrics->prefix_hits = get(metrics, METRIC_COUNTER, "millrace_prefix_hits_total",
                               "Prompts of which a beginning was there already.");
    metrics->replayed_tokens =
        get(metrics, METRIC_COUNTER, "millrace_replayed_tokens_total",
            "Tokens of answers that were begun by another worker, put in again.");
    metrics->prefix_bytes = get(metrics, METRIC_GAUGE, "millrace_prefix_cache_bytes",
                                "Blobs of beginnings of prompts.");
    metrics->draft_tokens = get(metrics, METRIC_COUNTER, "millrace_draft_tokens_total",
                                "Tokens that were guessed and put in.");
    metrics->draft_right = get(metrics, METRIC_COUNTER, "millrace_draft_right_total",
                               "Of these, tokens that were then said.");
    metrics->settled_tokens =
        get(metrics, METRIC_COUNTER, "millrace_settled_tokens_total",
            "Tokens of answers put in again, for the next turn of their chat.");
    metrics->adapter_changes = get(metrics, METRIC_COUNTER, "millrace_adapter_changes_total",
                                   "Steps with another set of adapters than the one before.");
    metrics->prefill_seconds = get(metrics, METRIC_HISTOGRAM, "millrace_prefill_seconds",
                                   "Time of the batches that put a prompt in.");
    metrics->cancel_seconds = get(metrics, METRIC_HISTOGRAM, "millrace_cancel_seconds",
                                  "From the arrival of a cancel until the slot is free.");
}

void worker_metrics_set_determinism(struct worker_metrics *metrics, bool is_ready,
                                    enum node_determinism determinism)
{
    if (!metrics->registry)
        return;
    for (int i = 0; i < NODE_DETERMINISM_COUNT; i++) {
        const char *name = node_determinism_name((enum node_determinism)i);
        if (!metrics->numerics[i])
            metrics->numerics[i] = get_labelled(
                metrics, METRIC_GAUGE, "millrace_numerics_nodes",
                "Nodes that are ready, by what their self-test found.", "determinism", name);
        metric_set(metrics->numerics[i], is_ready && i == (int)determinism);
    }
}

static void make_disk_metrics(struct worker_metrics *metrics)
{
    metrics->disk_bytes = get(metrics, METRIC_GAUGE, "millrace_prefix_disk_bytes",
                              "Copies of beginnings of prompts on disk.");
    metrics->disk_written =
        get(metrics, METRIC_COUNTER, "millrace_prefix_disk_written_total", "Such copies written.");
    metrics->disk_fetched = get(metrics, METRIC_COUNTER, "millrace_prefix_disk_fetched_total",
                                "Such copies read back for a prompt.");
    metrics->disk_dropped = get(metrics, METRIC_COUNTER, "millrace_prefix_disk_dropped_total",
                                "Not written, for more waited than may.");
    metrics->disk_failed = get(metrics, METRIC_COUNTER, "millrace_prefix_disk_failed_total",
                               "Not written or not read: an error.");
}

void worker_metrics_count_disk(struct worker_metrics *metrics,
                               const struct prefix_disk_counts *counts)
{
    struct prefix_disk_counts was = metrics->disk_counted;
    if (!metrics->registry || memcmp(&was, counts, sizeof(was)) == 0)
        return;
    if (!metrics->disk_bytes)
        make_disk_metrics(metrics);
    metrics->disk_counted = *counts;
    metric_set(metrics->disk_bytes, (double)counts->bytes);
    metric_add(metrics->disk_written, (double)(counts->written - was.written));
    metric_add(metrics->disk_fetched, (double)(counts->fetched - was.fetched));
    metric_add(metrics->disk_dropped, (double)(counts->dropped - was.dropped));
    metric_add(metrics->disk_failed, (double)(counts->failed - was.failed));
}

static int index_of(const struct event *end)
{
    if (!end)
        return WORKER_ENDS - 1;
    return end->type == EVENT_DONE ? (int)end->done.reason
                                   : (int)DONE_REASON_COUNT + (int)end->error.fault;
}

static const char *name_of(const struct event *end)
{
    if (!end)
        return "handed_back";
    return end->type == EVENT_DONE ? done_reason_name(end->done.reason)
                                   : fault_name(end->error.fault);
}

void worker_metrics_count_end(struct worker_metrics *metrics, const struct event *end)
{
    struct metric **place = &metrics->ends[index_of(end)];
    if (!metrics->registry)
        return;
    if (!*place)
        *place = get_labelled(metrics, METRIC_COUNTER, "millrace_requests_finished_total",
                              "Requests that ended on a worker, by how.", "end", name_of(end));
    metric_add(*place, 1);
}
