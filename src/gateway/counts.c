/* counts - makes and finds the series of a gateway. */
#include "gateway/counts.h"

#include "base/mem.h"
#include "gateway/loading_page.h"
#include "gateway/reply_state.h"
#include "gateway/routes.h"

enum { LABELS_MAX_BYTES = 2048 };

struct counts {
    struct metrics *metrics;
    struct list models; /* struct model_counts.link */
    uint32_t model_count;
    struct model_counts nobody; /* no model was found */
    struct metric *in_flight, *streams_open, *connections, *deltas_unsent, *subscribers;
    struct metric *started, *streams, *errors, *cancelled, *stalled;
};

/* --- answers --- */

void counts_answer(struct counts *counts, uint32_t mark, int status)
{
    const struct route *route = route_of_mark(mark);
    struct text labels, digits;
    if (!counts->metrics)
        return;
    text_init(&labels, LABELS_MAX_BYTES);
    text_init(&digits, 16);
    text_add_i64(&digits, status);
    metrics_label(&labels, "route", slice_str(route ? route->pattern : ""));
    metrics_label(&labels, "method", slice_str(route_mark_method(mark)));
    metrics_label(&labels, "status", text_slice(&digits));
    metric_add(metrics_get(counts->metrics, METRIC_COUNTER, "millrace_http_requests_total",
                           "Answers of the HTTP server; an empty route is none of ours.",
                           labels.data),
               1);
    text_fini(&labels);
    text_fini(&digits);
}

/* --- requests to models --- */

static struct model_counts *model_new(struct counts *counts, struct slice name)
{
    struct model_counts *model = mem_alloc(sizeof(*model) + name.len);
    struct text labels;
    memcpy(model + 1, name.data, name.len);
    model->name = slice_of(model + 1, name.len);
    text_init(&labels, LABELS_MAX_BYTES);
    metrics_label(&labels, "model", name);
    model->ttft_seconds =
        metrics_get(counts->metrics, METRIC_HISTOGRAM, "millrace_ttft_seconds",
                    "From the arrival of a request to the first token.", labels.data);
    model->inter_token_seconds =
        metrics_get(counts->metrics, METRIC_HISTOGRAM, "millrace_inter_token_seconds",
                    "Between two tokens of a stream, as they reach the gateway.", labels.data);
    model->request_seconds =
        metrics_get(counts->metrics, METRIC_HISTOGRAM, "millrace_request_seconds",
                    "From the arrival of a request to its end, whatever that was.", labels.data);
    text_fini(&labels);
    list_push_back(&counts->models, &model->link);
    counts->model_count++;
    return model;
}

const struct model_counts *counts_model(struct counts *counts, struct slice model)
{
    if (slice_is_empty(model))
        return &counts->nobody;
    LIST_FOREACH (node, &counts->models) {
        struct model_counts *known = CONTAINER_OF(node, struct model_counts, link);
        if (slice_eq(known->name, model))
            return known;
    }
    return counts->model_count < COUNTS_MODELS_MAX ? model_new(counts, model) : &counts->nobody;
}

void counts_end(struct counts *counts, const struct model_counts *model, const char *dialect,
                const char *end, double seconds)
{
    struct text labels;
    if (!counts->metrics)
        return;
    text_init(&labels, LABELS_MAX_BYTES);
    metrics_label(&labels, "model", model->name);
    metrics_label(&labels, "dialect", slice_str(dialect));
    metrics_label(&labels, "end", slice_str(end));
    metric_add(metrics_get(counts->metrics, METRIC_COUNTER, "millrace_requests_total",
                           "Requests to models that are over, by how they ended.", labels.data),
               1);
    metric_observe(model->request_seconds, seconds);
    text_fini(&labels);
}

/* --- what is known anyway --- */

static void count_up_to(struct metric *counter, uint64_t value)
{
    metric_add(counter, (double)value - metric_value(counter));
}

/* Two additions for each reply, once a second: cheaper than keeping account at every token. */
static void collect_streams(struct counts *counts, const struct gateway *gateway)
{
    uint64_t streams = 0, deltas = 0;
    LIST_FOREACH (node, &gateway->replies) {
        const struct reply *reply = CONTAINER_OF(node, struct reply, link);
        streams += reply->state == REPLY_STREAMING;
        deltas += reply->marks.count;
    }
    metric_set(counts->streams_open, (double)streams);
    metric_set(counts->deltas_unsent, (double)deltas);
}

void counts_collect(struct counts *counts, const struct gateway *gateway)
{
    struct gateway_stats stats = gateway_stats(gateway);
    collect_streams(counts, gateway);
    metric_set(counts->in_flight, stats.in_flight);
    metric_set(counts->connections, stats.connections);
    metric_set(counts->subscribers, (double)loading_subscribers(gateway->loading));
    count_up_to(counts->started, stats.requests);
    count_up_to(counts->streams, stats.streams);
    count_up_to(counts->errors, stats.errors);
    count_up_to(counts->cancelled, stats.cancelled);
    if (gateway->server)
        count_up_to(counts->stalled, http_server_stats(gateway->server).stalled);
}

/* --- life --- */

static struct metric *counter(struct counts *counts, const char *name, const char *help)
{
    return metrics_get(counts->metrics, METRIC_COUNTER, name, help, "");
}

static struct metric *gauge(struct counts *counts, const char *name, const char *help)
{
    return metrics_get(counts->metrics, METRIC_GAUGE, name, help, "");
}

static void make_series(struct counts *counts)
{
    counts->in_flight =
        gauge(counts, "millrace_requests_in_flight", "Requests to models that are not over yet.");
    counts->streams_open =
        gauge(counts, "millrace_streams_open", "Streams whose head is out and whose end is not.");
    counts->connections =
        gauge(counts, "millrace_connections", "Open connections of HTTP clients.");
    counts->subscribers =
        metrics_get(counts->metrics, METRIC_GAUGE, "millrace_subscribers",
                    "Clients that follow what happens to the service.", "feed=\"loading\"");
    counts->deltas_unsent =
        gauge(counts, "millrace_deltas_unsent",
              "Deltas that have come from workers and have not left for their clients: credit "
              "that is held back.");
    counts->started = counter(counts, "millrace_requests_started_total",
                              "Requests to models, counted when they came.");
    counts->streams =
        counter(counts, "millrace_streams_started_total", "Streams whose head has left.");
    counts->errors = counter(counts, "millrace_request_errors_total",
                             "Requests of any kind refused, and streams that ended with an error.");
    counts->cancelled = counter(counts, "millrace_requests_cancelled_total",
                                "Requests to models whose client left before the end.");
    counts->stalled =
        counter(counts, "millrace_stalled_clients_total",
                "Connections closed because the client did not read what waited for it.");
}

struct counts *counts_new(struct metrics *metrics)
{
    struct counts *counts = mem_alloc(sizeof(*counts));
    counts->metrics = metrics;
    list_init(&counts->models);
    make_series(counts);
    return counts;
}

void counts_free(struct counts *counts)
{
    if (!counts)
        return;
    LIST_FOREACH_SAFE (node, &counts->models)
        mem_free(CONTAINER_OF(node, struct model_counts, link));
    mem_free(counts);
}
