/* feed - sends a registry every second, and counts the loop's lag in it. */
#include "metrics/feed_impl.h"

#include "base/id.h"
#include "base/mem.h"
#include "metrics/process.h"
#include "metrics/snapshot.h"
#include "wire/frame.h"

enum {
    LAG_INTERVAL_US = 200 * 1000,
    PROCESS_INTERVAL_US = 500 * 1000,
    /* Role and node come from us; a text that is longer would show as a missing label. */
    LABELS_MAX_BYTES = 1024,
};

struct metrics_feed {
    struct bus *bus;
    struct metrics *metrics;
    uint64_t id, number;
    struct text frame;
    struct deadline send, look;
    uint64_t look_due_us;
    struct metric *lag, *unsent, *refused;
    struct metric *resident_bytes, *open_fds; /* NULL but for the process's first */
    uint64_t process_read_us;                 /* when these were read; 0: never */
    void (*on_collect)(void *ctx);
    void *ctx;
};

uint64_t metrics_feed_id(const struct metrics_feed *feed)
{
    return feed->id;
}

struct metrics *metrics_feed_registry(const struct metrics_feed *feed)
{
    return feed->metrics;
}

/* Not at every question of a page that asks several: the kernel has to count. */
static void read_process(struct metrics_feed *feed)
{
    uint64_t now = loop_now_us(bus_loop(feed->bus));
    if (feed->process_read_us && now - feed->process_read_us < PROCESS_INTERVAL_US)
        return;
    feed->process_read_us = now;
    metric_set(feed->resident_bytes, (double)process_resident_bytes());
    metric_set(feed->open_fds, (double)process_open_fds());
}

void metrics_feed_collect(struct metrics_feed *feed)
{
    if (feed->on_collect)
        feed->on_collect(feed->ctx);
    metric_add(feed->refused, (double)feed->metrics->refused - metric_value(feed->refused));
    if (feed->resident_bytes || feed->open_fds)
        read_process(feed);
}

/* --- sending --- */

/* A snapshot that the bus does not take is not repeated: the next one says it all again. */
static void send_snapshot(struct metrics_feed *feed, uint16_t flags)
{
    struct wire_writer writer;
    metrics_feed_collect(feed);
    text_clear(&feed->frame);
    wire_begin(&writer, &feed->frame, WIRE_STATE);
    wire_open_record(&writer, &(struct wire_record){.stream = feed->id,
                                                    .seq = ++feed->number,
                                                    .type = WIRE_METRICS,
                                                    .flags = flags});
    snapshot_write(feed->metrics, &feed->frame);
    wire_close_record(&writer);
    if (wire_finish(&writer) != ERR_OK ||
        bus_publish(feed->bus, METRICS_SUBJECT, SLICE(""), text_slice(&feed->frame)) != ERR_OK)
        metric_add(feed->unsent, 1);
}

static void on_send(void *ctx)
{
    struct metrics_feed *feed = ctx;
    deadline_round(&feed->send, METRICS_INTERVAL_MS * 1000ull);
    send_snapshot(feed, 0);
}

static void arm_look(struct metrics_feed *feed)
{
    deadline_round(&feed->look, LAG_INTERVAL_US);
    feed->look_due_us = feed->look.at_us;
}

static void on_look(void *ctx)
{
    struct metrics_feed *feed = ctx;
    uint64_t now = loop_now_us(bus_loop(feed->bus));
    metric_observe(feed->lag, (double)(now - feed->look_due_us) / 1e6);
    arm_look(feed);
}

/* --- life --- */

static void make_series(struct metrics_feed *feed, const char *role, const char *node,
                        bool is_process)
{
    struct text labels;
    text_init(&labels, LABELS_MAX_BYTES);
    metrics_label(&labels, "role", slice_str(role));
    feed->lag = metrics_get(feed->metrics, METRIC_HISTOGRAM, "millrace_event_loop_lag_seconds",
                            "How late a timer of the event loop was.", labels.data);
    feed->unsent =
        metrics_get(feed->metrics, METRIC_COUNTER, "millrace_metrics_unsent_total",
                    "Snapshots of these metrics that the bus did not take.", labels.data);
    feed->refused =
        metrics_get(feed->metrics, METRIC_COUNTER, "millrace_metrics_refused_total",
                    "How often a series was asked for that did not fit any more.", labels.data);
    metrics_label(&labels, "node", slice_str(node));
    if (is_process) {
        feed->resident_bytes =
            metrics_get(feed->metrics, METRIC_GAUGE, "millrace_process_resident_memory_bytes",
                        "Resident memory of the process.", labels.data);
        feed->open_fds = metrics_get(feed->metrics, METRIC_GAUGE, "millrace_process_open_fds",
                                     "Open file descriptors of the process.", labels.data);
        metrics_label(&labels, "version", SLICE(MILLRACE_VERSION));
        metric_set(metrics_get(feed->metrics, METRIC_GAUGE, "millrace_build_info",
                               "1 for each process; the version is a label.", labels.data),
                   1);
    }
    text_fini(&labels);
}

struct metrics_feed *metrics_feed_start(struct bus *bus, struct metrics *metrics, const char *role,
                                        const char *node, bool is_process,
                                        void (*on_collect)(void *ctx), void *ctx)
{
    struct metrics_feed *feed = mem_alloc(sizeof(*feed));
    struct loop *loop = bus_loop(bus);
    feed->bus = bus;
    feed->metrics = metrics;
    feed->id = random_u64();
    feed->on_collect = on_collect;
    feed->ctx = ctx;
    text_init(&feed->frame, WIRE_FRAME_MAX_BYTES);
    make_series(feed, role, node, is_process);
    deadline_init(&feed->send, loop, on_send, feed);
    deadline_init(&feed->look, loop, on_look, feed);
    deadline_round(&feed->send, METRICS_INTERVAL_MS * 1000ull);
    arm_look(feed);
    return feed;
}

void metrics_feed_on_collect(struct metrics_feed *feed, void (*on_collect)(void *ctx), void *ctx)
{
    feed->on_collect = on_collect;
    feed->ctx = ctx;
}

void metrics_feed_stop(struct metrics_feed **feed_slot)
{
    struct metrics_feed *feed = *feed_slot;
    if (!feed)
        return;
    send_snapshot(feed, SNAPSHOT_FLAG_LAST);
    deadline_clear(&feed->send);
    deadline_clear(&feed->look);
    text_fini(&feed->frame);
    mem_free(feed);
    *feed_slot = NULL;
}
