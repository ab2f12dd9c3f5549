/* table_test - feeds and tables over one bus, on virtual time. */
#include "bus/bus_mem.h"
#include "metrics/feed_impl.h"
#include "metrics/metrics_rig.h"
#include "testing/test.h"
#include "wire/frame.h"

#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

enum { SECOND_US = 1000000 };

struct world {
    struct loop *loop;
    struct bus_mem *bus_mem;
    struct bus *bus;
};

static struct world world_open(void)
{
    struct world world = {loop_new_virtual(SECOND_US), bus_mem_new(64 * 1024 * 1024), NULL};
    world.bus = bus_mem_open(world.bus_mem, world.loop);
    return world;
}

static void world_close(struct world *world)
{
    bus_close(&world->bus);
    loop_advance(world->loop, 0);
    bus_mem_free(world->bus_mem);
    loop_free(world->loop);
}

static struct metrics_table *table_open(struct world *world, struct metrics_feed *own)
{
    struct metrics_table *table;
    CHECK_OK(metrics_table_new(world->bus, own, &table));
    return table;
}

/* --- a node that says what it is told to --- */

static void publish(struct world *world, const struct wire_record *record)
{
    struct wire_writer writer;
    struct text frame;
    text_init(&frame, WIRE_FRAME_MAX_BYTES);
    wire_begin(&writer, &frame, WIRE_STATE);
    wire_add(&writer, record);
    CHECK_OK(wire_finish(&writer));
    CHECK_OK(bus_publish(world->bus, METRICS_SUBJECT, SLICE(""), text_slice(&frame)));
    text_fini(&frame);
    loop_advance(world->loop, 0);
}

/* Snapshot `number` of the node: x_total, x and x_seconds have that value (and one observation). */
static void say(struct world *world, uint64_t node, uint64_t number, uint16_t flags, double value)
{
    struct metrics *metrics = metrics_new();
    struct text payload;
    text_init(&payload, SNAPSHOT_MAX_BYTES);
    metric_add(metrics_get(metrics, METRIC_COUNTER, "x_total", "X.", ""), value);
    metric_set(metrics_get(metrics, METRIC_GAUGE, "x", "X.", ""), value);
    metric_observe(metrics_get(metrics, METRIC_HISTOGRAM, "x_seconds", "X.", ""), value);
    snapshot_write(metrics, &payload);
    publish(world, &(struct wire_record){.stream = node,
                                         .seq = number,
                                         .type = WIRE_METRICS,
                                         .flags = flags,
                                         .payload = text_slice(&payload)});
    text_fini(&payload);
    metrics_free(metrics);
}

static void check_totals(struct metrics_table *table, double counters, double gauges,
                         double observed)
{
    CHECK(metrics_table_total(table, "x_total") == counters);
    CHECK(metrics_table_total(table, "x") == gauges);
    CHECK(metrics_table_sum_seconds(table, "x_seconds") == counters);
    CHECK(metrics_table_total(table, "x_seconds") == observed);
}

/* --- feeds --- */

TEST(a_feed_tells_the_table_every_second)
{
    struct world world = world_open();
    struct bus *bus = bus_mem_open(world.bus_mem, world.loop);
    struct metrics *metrics = metrics_new();
    struct metrics_table *table = table_open(&world, NULL);
    struct metrics_feed *feed = metrics_feed_start(bus, metrics, "worker", "w1", false, NULL, NULL);
    struct metric *counter = metrics_get(metrics, METRIC_COUNTER, "x_total", "X.", "");
    metric_add(counter, 5);
    loop_advance(world.loop, SECOND_US - 1);
    CHECK(metrics_table_total(table, "x_total") == 0);
    loop_advance(world.loop, 1);
    CHECK(metrics_table_total(table, "x_total") == 5);
    metric_add(counter, 1);
    loop_advance(world.loop, SECOND_US);
    CHECK(metrics_table_total(table, "x_total") == 6);
    CHECK(metrics_table_total(table, "no_such_series") == 0);
    metrics_feed_stop(&feed);
    CHECK(feed == NULL);
    metrics_feed_stop(&feed);
    bus_close(&bus);
    metrics_table_free(table);
    metrics_free(metrics);
    world_close(&world);
}

TEST(a_feed_says_its_last_word_when_it_stops)
{
    struct world world = world_open();
    struct bus *bus = bus_mem_open(world.bus_mem, world.loop);
    struct metrics *metrics = metrics_new();
    struct metrics_table *table = table_open(&world, NULL);
    struct metrics_feed *feed = metrics_feed_start(bus, metrics, "worker", "w1", false, NULL, NULL);
    metric_add(metrics_get(metrics, METRIC_COUNTER, "x_total", "X.", ""), 3);
    metric_set(metrics_get(metrics, METRIC_GAUGE, "x", "X.", ""), 4);
    metrics_feed_stop(&feed);
    loop_advance(world.loop, 0);
    CHECK(metrics_table_total(table, "x_total") == 3); /* and its gauge is gone with it: */
    CHECK(metrics_table_total(table, "x") == 0);
    bus_close(&bus);
    metrics_table_free(table);
    metrics_free(metrics);
    world_close(&world);
}

static void set_gauge(void *ctx)
{
    metric_add(metrics_get(ctx, METRIC_GAUGE, "x", "X.", ""), 1);
}

TEST(our_own_feed_is_read_afresh_and_counted_once)
{
    struct world world = world_open();
    struct metrics *metrics = metrics_new();
    struct metrics_feed *feed =
        metrics_feed_start(world.bus, metrics, "gateway", "g1", true, NULL, NULL);
    struct metrics_table *table = table_open(&world, feed);
    metrics_feed_on_collect(feed, set_gauge, metrics);
    metric_add(metrics_get(metrics, METRIC_COUNTER, "x_total", "X.", ""), 2);
    CHECK(metrics_table_total(table, "x_total") == 2);
    CHECK(metrics_table_total(table, "x") == 2); /* asked once more: collected once more */
    loop_advance(world.loop, SECOND_US);         /* now it hears itself */
    CHECK(metrics_table_total(table, "x_total") == 2);
    struct text page = page_of(table);
    CHECK(has_line(&page, "millrace_build_info{role=\"gateway\",node=\"g1\",version=\"" //
                   MILLRACE_VERSION "\"} 1"));
    CHECK(metrics_table_total(table, "millrace_process_resident_memory_bytes") > 1e6);
    CHECK(metrics_table_total(table, "millrace_process_open_fds") >= 3);
    text_fini(&page);
    metrics_feed_stop(&feed);
    metrics_table_free(table);
    metrics_free(metrics);
    world_close(&world);
}

TEST(the_process_is_looked_at_twice_a_second)
{
    struct world world = world_open();
    struct metrics *metrics = metrics_new();
    struct metrics_feed *feed =
        metrics_feed_start(world.bus, metrics, "gateway", "g1", true, NULL, NULL);
    struct metrics_table *table = table_open(&world, feed);
    static const char name[] = "millrace_process_open_fds";
    double before = metrics_table_total(table, name);
    int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
    CHECK(fd >= 0 && before >= 3);
    loop_advance(world.loop, SECOND_US / 2 - 1);
    CHECK(metrics_table_total(table, name) == before);
    loop_advance(world.loop, 1);
    CHECK(metrics_table_total(table, name) == before + 1);
    CHECK_EQ(close(fd), 0);
    metrics_feed_stop(&feed);
    metrics_table_free(table);
    metrics_free(metrics);
    world_close(&world);
}

TEST(a_loop_that_stood_still_shows_in_its_lag)
{
    struct world world = world_open();
    struct metrics *metrics = metrics_new();
    struct metrics_feed *feed =
        metrics_feed_start(world.bus, metrics, "gateway", "g1", false, NULL, NULL);
    struct metrics_table *table = table_open(&world, feed);
    static const char name[] = "millrace_event_loop_lag_seconds";
    loop_advance(world.loop, SECOND_US);
    CHECK(metrics_table_total(table, name) == 5);
    CHECK(metrics_table_sum_seconds(table, name) == 0);
    loop_skip(world.loop, 3 * SECOND_US);
    loop_advance(world.loop, 0);
    CHECK(metrics_table_total(table, name) == 6); /* once, not once for each that was missed */
    CHECK_NEAR(metrics_table_sum_seconds(table, name), 2.8, 1e-9);
    loop_advance(world.loop, SECOND_US);
    CHECK(metrics_table_total(table, name) == 11);
    CHECK_NEAR(metrics_table_sum_seconds(table, name), 2.8, 1e-9);
    metrics_feed_stop(&feed);
    metrics_table_free(table);
    metrics_free(metrics);
    world_close(&world);
}

TEST(series_that_did_not_fit_are_told_of)
{
    struct world world = world_open();
    struct metrics *metrics = metrics_new();
    struct metrics_feed *feed =
        metrics_feed_start(world.bus, metrics, "gateway", "g1", false, NULL, NULL);
    struct metrics_table *table = table_open(&world, feed);
    static const char name[] = "millrace_metrics_refused_total";
    CHECK(metrics_table_total(table, name) == 0);
    for (int i = 0; i < METRICS_SERIES_MAX; i++) { /* the feed and the table have some already */
        char labels[32];
        snprintf(labels, sizeof(labels), "n=\"%d\"", i);
        (void)metrics_get(metrics, METRIC_COUNTER, "x_total", "X.", labels);
    }
    CHECK(metrics_table_total(table, name) == 5);
    CHECK(metrics_table_total(table, name) == 5);
    metrics_feed_stop(&feed);
    metrics_table_free(table);
    metrics_free(metrics);
    world_close(&world);
}

/* A bus that takes only small frames: what it does not take is counted, and said when it fits. */
TEST(what_the_bus_does_not_take_is_counted)
{
    struct loop *loop = loop_new_virtual(SECOND_US);
    struct bus_mem *bus_mem = bus_mem_new(1024);
    struct bus *bus = bus_mem_open(bus_mem, loop);
    struct metrics *metrics = metrics_new();
    struct metrics_feed *feed = metrics_feed_start(bus, metrics, "worker", "w", false, NULL, NULL);
    for (int i = 0; i < 100; i++) {
        char labels[32];
        snprintf(labels, sizeof(labels), "n=\"%d\"", i);
        (void)metrics_get(metrics, METRIC_COUNTER, "x_total", "X.", labels);
    }
    loop_advance(loop, 3 * SECOND_US);
    CHECK(metric_value(metrics_get(metrics, METRIC_COUNTER, "millrace_metrics_unsent_total", "",
                                   "role=\"worker\"")) == 3);
    metrics_feed_stop(&feed);
    bus_close(&bus);
    metrics_free(metrics);
    bus_mem_free(bus_mem);
    loop_free(loop);
}

/* --- nodes that come and go --- */

TEST(the_same_series_of_all_nodes_are_one)
{
    struct world world = world_open();
    struct metrics_table *table = table_open(&world, NULL);
    say(&world, 1, 1, 0, 2);
    say(&world, 2, 1, 0, 3);
    check_totals(table, 5, 5, 2);
    struct text page = page_of(table);
    CHECK(has_line(&page, "# TYPE x_total counter") && has_line(&page, "x_total 5"));
    CHECK(has_line(&page, "x 5") && has_line(&page, "x_seconds_count 2"));
    CHECK(has_line(&page, "x_seconds_bucket{le=\"2.5\"} 1"));
    CHECK(has_line(&page, "millrace_metrics_unshown_series 0"));
    text_fini(&page);
    metrics_table_free(table);
    world_close(&world);
}

TEST(a_later_snapshot_replaces_and_an_earlier_one_does_not)
{
    struct world world = world_open();
    struct metrics_table *table = table_open(&world, NULL);
    say(&world, 1, 2, 0, 4);
    say(&world, 1, 1, 0, 1);
    say(&world, 1, 2, 0, 9);
    check_totals(table, 4, 4, 1);
    say(&world, 1, 3, 0, 6);
    check_totals(table, 6, 6, 1);
    metrics_table_free(table);
    world_close(&world);
}

TEST(counters_of_a_node_that_fell_silent_stay_and_its_gauges_go)
{
    struct world world = world_open();
    struct metrics_table *table = table_open(&world, NULL);
    say(&world, 1, 1, 0, 2);
    loop_advance(world.loop, METRICS_DEAD_MS * 1000ull);
    check_totals(table, 2, 2, 1);
    loop_advance(world.loop, 1);
    check_totals(table, 2, 0, 1);
    say(&world, 2, 1, 0, 3); /* its successor counts from nothing */
    check_totals(table, 5, 3, 2);
    metrics_table_free(table);
    world_close(&world);
}

/* SIGSTOP, and SIGCONT an hour later: absolute counters, so nothing is counted twice. */
TEST(a_node_that_speaks_again_is_the_same_node)
{
    struct world world = world_open();
    struct metrics_table *table = table_open(&world, NULL);
    say(&world, 1, 1, 0, 2);
    loop_advance(world.loop, 3600ull * SECOND_US);
    check_totals(table, 2, 0, 1);
    say(&world, 1, 2, 0, 4);
    check_totals(table, 4, 4, 1);
    metrics_table_free(table);
    world_close(&world);
}

TEST(a_graceful_end_takes_the_gauges_at_once)
{
    struct world world = world_open();
    struct metrics_table *table = table_open(&world, NULL);
    say(&world, 1, 1, 0, 2);
    say(&world, 1, 2, SNAPSHOT_FLAG_LAST, 5);
    check_totals(table, 5, 0, 1);
    metrics_table_free(table);
    world_close(&world);
}

TEST(a_worker_that_is_started_again_and_again_leaves_no_more_each_time)
{
    struct world world = world_open();
    struct metrics_table *table = table_open(&world, NULL);
    for (uint64_t start = 1; start <= 200; start++) {
        say(&world, start, 1, 0, 1);
        loop_advance(world.loop, METRICS_DEAD_MS * 1000ull + 1);
        check_totals(table, (int)start, 0, (int)start);
        CHECK(metrics_table_nodes(table) <= METRICS_GONE_MAX + 1);
    }
    say(&world, 200, 2, 0, 3); /* it was only stopped, and so were the others of the last ones */
    say(&world, 200 - METRICS_GONE_MAX, 2, 0, 3);
    check_totals(table, 200 + 2 + 2, 6, 200);
    metrics_table_free(table);
    world_close(&world);
}

TEST(the_dead_make_room_for_the_living_and_their_counters_stay)
{
    struct world world = world_open();
    struct metrics_table *table = table_open(&world, NULL);
    for (uint64_t node = 1; node <= METRICS_NODES_MAX; node++)
        say(&world, node, 1, node % 2 ? SNAPSHOT_FLAG_LAST : 0, 1);
    check_totals(table, METRICS_NODES_MAX, METRICS_NODES_MAX / 2, METRICS_NODES_MAX);
    for (uint64_t node = 1; node <= METRICS_NODES_MAX / 2; node++)
        say(&world, 10000 + node, 1, 0, 1);
    check_totals(table, METRICS_NODES_MAX * 3 / 2, METRICS_NODES_MAX, METRICS_NODES_MAX * 3 / 2);
    say(&world, 20000, 1, 0, 1); /* all live: there is no room for another */
    check_totals(table, METRICS_NODES_MAX * 3 / 2, METRICS_NODES_MAX, METRICS_NODES_MAX * 3 / 2);
    struct text page = page_of(table);
    CHECK(has_line(&page, "millrace_metrics_ignored_total{reason=\"full\"} 1"));
    CHECK(has_line(&page, "millrace_metrics_ignored_total{reason=\"malformed\"} 0"));
    text_fini(&page);
    say(&world, 2, 2, 0, 7); /* one that is known is heard still */
    check_totals(table, METRICS_NODES_MAX * 3 / 2 + 6, METRICS_NODES_MAX + 6,
                 METRICS_NODES_MAX * 3 / 2);
    metrics_table_free(table);
    world_close(&world);
}

TEST(nonsense_is_counted_and_changes_nothing)
{
    struct world world = world_open();
    struct metrics_table *table = table_open(&world, NULL);
    say(&world, 1, 1, 0, 2);
    CHECK_OK(bus_publish(world.bus, METRICS_SUBJECT, SLICE(""), SLICE("no frame")));
    publish(&world, &(struct wire_record){
                        .stream = 1, .seq = 2, .type = WIRE_METRICS, .payload = SLICE("\x01")});
    publish(&world, &(struct wire_record){.stream = 1, .seq = 3, .type = WIRE_NODE_STATE});
    check_totals(table, 2, 2, 1);
    struct text page = page_of(table);
    CHECK(has_line(&page, "millrace_metrics_ignored_total{reason=\"malformed\"} 2"));
    text_fini(&page);
    metrics_table_free(table);
    world_close(&world);
}

TEST(a_name_that_two_nodes_take_for_different_things_is_shown_as_the_first_says)
{
    struct world world = world_open();
    struct metrics_table *table = table_open(&world, NULL);
    say(&world, 1, 1, 0, 2);
    publish(&world, &(struct wire_record){.stream = 2,
                                          .seq = 1,
                                          .type = WIRE_METRICS,
                                          .payload = SLICE("\x01\0\x01\x07x_total\0\x01\0"
                                                           "\0\0\0\0\0\0\0\0\xf0\x3f")});
    struct text page = page_of(table);
    CHECK(has_line(&page, "# TYPE x_total counter") && has_line(&page, "x_total 2"));
    CHECK(has_line(&page, "millrace_metrics_unshown_series 1"));
    text_fini(&page);
    metrics_table_free(table);
    world_close(&world);
}

TEST(a_page_has_a_bound_and_says_how_much_is_missing)
{
    struct world world = world_open();
    struct metrics_table *table = table_open(&world, NULL);
    for (uint64_t node = 1; node <= 17; node++) { /* 17 x 1024 different series */
        struct metrics *metrics = metrics_new();
        struct text payload;
        text_init(&payload, SNAPSHOT_MAX_BYTES);
        for (int i = 0; i < METRICS_SERIES_MAX; i++) {
            char labels[64];
            snprintf(labels, sizeof(labels), "n=\"%d.%d\"", (int)node, i);
            metric_add(metrics_get(metrics, METRIC_COUNTER, "y_total", "Y.", labels), 1);
        }
        snapshot_write(metrics, &payload);
        publish(&world, &(struct wire_record){.stream = node,
                                              .seq = 1,
                                              .type = WIRE_METRICS,
                                              .payload = text_slice(&payload)});
        text_fini(&payload);
        metrics_free(metrics);
    }
    CHECK(metrics_table_total(table, "y_total") == 17 * METRICS_SERIES_MAX);
    struct text page = page_of(table); /* of 16384, three are the table's own */
    CHECK(has_line(&page, "millrace_metrics_unshown_series 1027"));
    text_fini(&page);
    metrics_table_free(table);
    world_close(&world);
}
