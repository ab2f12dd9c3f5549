/* table - keeps each node's last snapshot as it came, and puts them together when asked. */
#include "metrics/table.h"

#include "base/map.h"
#include "base/mem.h"
#include "metrics/exposition.h"
#include "metrics/feed_impl.h"
#include "metrics/snapshot.h"
#include "wire/frame.h"

enum {
    SNAPSHOTS_MAX_BYTES = 64 * 1024 * 1024, /* of all nodes together */
    SHOWN_SERIES_MAX = 16384,               /* different ones, over all nodes */
};

struct node {
    struct list link; /* metrics_table.nodes: who spoke last is last */
    uint64_t feed_id, number;
    uint64_t heard_us;
    bool has_ended;
    struct text snapshot; /* checked */
};

struct metrics_table {
    struct loop *loop;
    struct metrics_feed *own; /* may be NULL */
    struct bus_subscription *subscription;
    struct map *by_feed; /* feed_id -> struct node */
    struct list nodes;
    size_t snapshot_bytes;
    struct metrics *gone; /* counters of nodes that had to make room */
    struct metric *malformed, *refused;
    struct text scratch; /* a snapshot made for a question: our own, or `gone` */
};

/* --- nodes --- */

static bool is_alive(const struct metrics_table *table, const struct node *node)
{
    return !node->has_ended &&
           loop_now_us(table->loop) - node->heard_us <= METRICS_DEAD_MS * 1000ull;
}

static void node_free(struct metrics_table *table, struct node *node)
{
    table->snapshot_bytes -= node->snapshot.len;
    (void)map_remove(table->by_feed, node->feed_id); /* it is there */
    list_remove(&node->link);
    text_fini(&node->snapshot);
    mem_free(node);
}

/* What counts of a node that is gone: a counter must not go back, and a gauge says what is. */
static bool outlives_its_node(const struct metric_sample *sample)
{
    return sample->kind != METRIC_GAUGE;
}

static void keep_counters(struct metrics_table *table, const struct node *node)
{
    struct snapshot_reader reader = snapshot_reader_of(text_slice(&node->snapshot));
    struct metric_sample sample;
    while (snapshot_next(&reader, &sample) == ERR_OK)
        if (outlives_its_node(&sample))
            (void)metrics_merge(table->gone, &sample); /* full: the bound of what is kept */
}

/* The one that has been silent longest; false when all live. */
static bool forget_one(struct metrics_table *table)
{
    LIST_FOREACH (link, &table->nodes) {
        struct node *node = CONTAINER_OF(link, struct node, link);
        if (is_alive(table, node))
            continue;
        keep_counters(table, node);
        node_free(table, node);
        return true;
    }
    return false;
}

/* A worker that is killed again and again would leave 5 KiB each time, and work for each question.
 */
static void forget_surplus(struct metrics_table *table)
{
    size_t gone = 0;
    LIST_FOREACH (link, &table->nodes)
        gone += !is_alive(table, CONTAINER_OF(link, struct node, link));
    for (; gone > METRICS_GONE_MAX; gone--)
        (void)forget_one(table); /* there is one */
}

static struct node *node_new(struct metrics_table *table, uint64_t feed_id)
{
    forget_surplus(table);
    while (map_count(table->by_feed) >= METRICS_NODES_MAX)
        if (!forget_one(table))
            return NULL;
    struct node *node = mem_alloc(sizeof(*node));
    node->feed_id = feed_id;
    node->heard_us = loop_now_us(table->loop);
    text_init(&node->snapshot, SNAPSHOT_MAX_BYTES);
    list_push_back(&table->nodes, &node->link);
    ASSERT(map_put(table->by_feed, feed_id, node) == ERR_OK);
    return node;
}

/* Its old snapshot stays when there is no memory for the new one. */
MUST_USE static enum err keep_snapshot(struct metrics_table *table, struct node *node,
                                       struct slice payload)
{
    struct text copy;
    text_init(&copy, SNAPSHOT_MAX_BYTES);
    text_add(&copy, payload);
    if (text_status(&copy) != ERR_OK) {
        text_fini(&copy);
        return ERR_LIMIT;
    }
    table->snapshot_bytes += copy.len - node->snapshot.len; /* unsigned: wraps back */
    text_fini(&node->snapshot);
    node->snapshot = copy;
    return ERR_OK;
}

MUST_USE static enum err take_snapshot(struct metrics_table *table,
                                       const struct wire_record *record)
{
    struct node *node = map_get(table->by_feed, record->stream);
    if (node && record->seq <= node->number)
        return ERR_OK; /* we know more already */
    if (node) {        /* first of all it lives: it must not have to make room for itself */
        node->heard_us = loop_now_us(table->loop);
        node->has_ended = false;
    }
    while (table->snapshot_bytes + record->payload.len > SNAPSHOTS_MAX_BYTES)
        if (!forget_one(table))
            return ERR_FULL;
    if (!node && !(node = node_new(table, record->stream)))
        return ERR_FULL;
    TRY(keep_snapshot(table, node, record->payload));
    node->number = record->seq;
    node->has_ended = (record->flags & SNAPSHOT_FLAG_LAST) != 0;
    list_remove(&node->link);
    list_push_back(&table->nodes, &node->link);
    return ERR_OK;
}

static void on_record(struct metrics_table *table, const struct wire_record *record)
{
    if (record->type != WIRE_METRICS ||
        (table->own && record->stream == metrics_feed_id(table->own)))
        return;
    if (snapshot_check(record->payload) != ERR_OK)
        metric_add(table->malformed, 1);
    else if (take_snapshot(table, record) != ERR_OK)
        metric_add(table->refused, 1);
}

static void on_message(void *ctx, const struct bus_message *message)
{
    struct metrics_table *table = ctx;
    struct wire_reader reader;
    struct wire_record record;
    enum err err = wire_open(message->frame, &reader);
    while (err == ERR_OK && (err = wire_next(&reader, &record)) == ERR_OK)
        on_record(table, &record);
    if (err != ERR_AGAIN)
        metric_add(table->malformed, 1);
}

/* --- questions --- */

typedef void sample_fn(void *ctx, const struct metric_sample *sample);

static void each_of(struct slice snapshot, bool is_alive, sample_fn *on_sample, void *ctx)
{
    struct snapshot_reader reader = snapshot_reader_of(snapshot);
    struct metric_sample sample;
    while (snapshot_next(&reader, &sample) == ERR_OK)
        if (is_alive || outlives_its_node(&sample))
            on_sample(ctx, &sample);
}

static void each_of_registry(struct metrics_table *table, const struct metrics *metrics,
                             sample_fn *on_sample, void *ctx)
{
    text_clear(&table->scratch);
    snapshot_write(metrics, &table->scratch);
    each_of(text_slice(&table->scratch), true, on_sample, ctx);
}

/* Our own first: the words of help are ours where a name is told by several. */
static void each_sample(struct metrics_table *table, sample_fn *on_sample, void *ctx)
{
    if (table->own) {
        metrics_feed_collect(table->own);
        each_of_registry(table, metrics_feed_registry(table->own), on_sample, ctx);
    }
    each_of_registry(table, table->gone, on_sample, ctx);
    LIST_FOREACH (link, &table->nodes) {
        const struct node *node = CONTAINER_OF(link, struct node, link);
        each_of(text_slice(&node->snapshot), is_alive(table, node), on_sample, ctx);
    }
}

struct page {
    struct metrics *metrics;
    uint64_t unshown;
};

static void add_to_page(void *ctx, const struct metric_sample *sample)
{
    struct page *page = ctx;
    if (metrics_merge(page->metrics, sample) != ERR_OK)
        page->unshown++;
}

void metrics_table_write(struct metrics_table *table, struct text *out)
{
    struct page page = {.metrics = metrics_new_sized(SHOWN_SERIES_MAX)};
    struct metric *unshown =
        metrics_get(page.metrics, METRIC_GAUGE, "millrace_metrics_unshown_series",
                    "Series that are missing here: too many, or a name of two kinds.", "");
    each_sample(table, add_to_page, &page);
    metric_add(unshown, (double)page.unshown);
    exposition_write(page.metrics, out);
    metrics_free(page.metrics);
}

struct total {
    struct slice name;
    double count, seconds;
};

static void add_to_total(void *ctx, const struct metric_sample *sample)
{
    struct total *total = ctx;
    if (!slice_eq(sample->name, total->name))
        return;
    if (sample->kind != METRIC_HISTOGRAM) {
        total->count += sample->value;
        return;
    }
    total->seconds += sample->value;
    for (size_t i = 0; i < METRIC_SECONDS_BUCKETS; i++)
        total->count += (double)sample->buckets[i];
}

static struct total total_of(struct metrics_table *table, const char *name)
{
    struct total total = {.name = slice_str(name)};
    each_sample(table, add_to_total, &total);
    return total;
}

double metrics_table_total(struct metrics_table *table, const char *name)
{
    return total_of(table, name).count;
}

double metrics_table_sum_seconds(struct metrics_table *table, const char *name)
{
    return total_of(table, name).seconds;
}

size_t metrics_table_nodes(const struct metrics_table *table)
{
    return map_count(table->by_feed);
}

/* --- life --- */

static void make_series(struct metrics_table *table)
{
    struct metrics *metrics = table->own ? metrics_feed_registry(table->own) : table->gone;
    static const char name[] = "millrace_metrics_ignored_total",
                      help[] = "Snapshots of metrics that were not taken.";
    table->malformed = metrics_get(metrics, METRIC_COUNTER, name, help, "reason=\"malformed\"");
    table->refused = metrics_get(metrics, METRIC_COUNTER, name, help, "reason=\"full\"");
}

enum err metrics_table_new(struct bus *bus, struct metrics_feed *own,
                           struct metrics_table **out_table)
{
    struct metrics_table *table = mem_alloc(sizeof(*table));
    table->loop = bus_loop(bus);
    table->own = own;
    table->by_feed = map_new(METRICS_NODES_MAX);
    table->gone = metrics_new();
    list_init(&table->nodes);
    text_init(&table->scratch, SNAPSHOT_MAX_BYTES);
    make_series(table);
    enum err err =
        bus_subscribe(bus, METRICS_SUBJECT, SLICE(""), on_message, table, &table->subscription);
    if (err != ERR_OK) {
        metrics_table_free(table);
        return err;
    }
    *out_table = table;
    return ERR_OK;
}

void metrics_table_free(struct metrics_table *table)
{
    if (!table)
        return;
    bus_unsubscribe(&table->subscription);
    LIST_FOREACH_SAFE (link, &table->nodes)
        node_free(table, CONTAINER_OF(link, struct node, link));
    map_free(table->by_feed);
    metrics_free(table->gone);
    text_fini(&table->scratch);
    mem_free(table);
}
