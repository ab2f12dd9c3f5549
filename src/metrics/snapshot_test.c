/* snapshot_test - a registry comes back from its payload; anything else is refused. */
#include "metrics/snapshot.h"
#include "testing/test.h"

#include <stdio.h>

static struct metrics *sample_registry(void)
{
    struct metrics *metrics = metrics_new();
    struct metric *h = metrics_get(metrics, METRIC_HISTOGRAM, "h_seconds", "H.", "m=\"\xc3\xa9\"");
    metric_add(metrics_get(metrics, METRIC_COUNTER, "c_total", "C.", ""), 3);
    metric_add(metrics_get(metrics, METRIC_COUNTER, "c_total", "C.", "x=\"1\""), 0.5);
    metric_set(metrics_get(metrics, METRIC_GAUGE, "g", "", "y=\"\\\"\""), -1e-300);
    metric_observe(h, 0.02);
    metric_observe(h, 1000);
    return metrics;
}

static struct text payload_of(const struct metrics *metrics)
{
    struct text out;
    text_init(&out, SNAPSHOT_MAX_BYTES);
    snapshot_write(metrics, &out);
    CHECK_OK(text_status(&out));
    return out;
}

TEST(a_registry_comes_back)
{
    struct metrics *metrics = sample_registry(), *again = metrics_new();
    struct text payload = payload_of(metrics);
    struct snapshot_reader reader = snapshot_reader_of(text_slice(&payload));
    struct metric_sample sample;
    enum err err;
    CHECK_OK(snapshot_check(text_slice(&payload)));
    while ((err = snapshot_next(&reader, &sample)) == ERR_OK)
        CHECK_OK(metrics_merge(again, &sample));
    CHECK(err == ERR_AGAIN);
    CHECK_ERR(snapshot_next(&reader, &sample), ERR_AGAIN);
    struct text second = payload_of(again);
    CHECK_SLICES(text_slice(&second), text_slice(&payload));
    text_fini(&payload);
    text_fini(&second);
    metrics_free(metrics);
    metrics_free(again);
}

TEST(merging_adds_values_and_buckets)
{
    struct metrics *metrics = sample_registry(), *sum = metrics_new();
    struct text payload = payload_of(metrics);
    for (int round = 0; round < 3; round++) {
        struct snapshot_reader reader = snapshot_reader_of(text_slice(&payload));
        struct metric_sample sample;
        while (snapshot_next(&reader, &sample) == ERR_OK)
            CHECK_OK(metrics_merge(sum, &sample));
    }
    struct metric *h = metrics_get(sum, METRIC_HISTOGRAM, "h_seconds", "", "m=\"\xc3\xa9\"");
    CHECK(metric_value(metrics_get(sum, METRIC_COUNTER, "c_total", "", "x=\"1\"")) == 1.5);
    CHECK_EQ(metric_value(h), 6);
    CHECK_EQ(h->buckets[4], 3);
    CHECK_EQ(h->buckets[METRIC_SECONDS_BUCKETS - 1], 3);
    CHECK_NEAR(h->value, 3000.06, 1e-9);
    CHECK_EQ(sum->series_count, metrics->series_count);
    text_fini(&payload);
    metrics_free(metrics);
    metrics_free(sum);
}

TEST(a_payload_that_is_cut_anywhere_is_refused)
{
    struct metrics *metrics = sample_registry();
    struct text payload = payload_of(metrics);
    for (size_t len = 0; len < payload.len; len++)
        CHECK_ERR(snapshot_check(slice_first(text_slice(&payload), len)), ERR_PROTOCOL);
    text_add_byte(&payload, 0);
    CHECK_ERR(snapshot_check(text_slice(&payload)), ERR_PROTOCOL);
    text_fini(&payload);
    metrics_free(metrics);
}

TEST(a_reader_that_failed_stays_failed)
{
    struct snapshot_reader reader = snapshot_reader_of(SLICE("\x01\x00\x07"));
    struct metric_sample sample;
    CHECK_ERR(snapshot_next(&reader, &sample), ERR_PROTOCOL);
    CHECK_ERR(snapshot_next(&reader, &sample), ERR_PROTOCOL);
}

/* One family, one series; each case spoils one thing in it. Octal: "\1a" is two bytes, "\x01a" one
 * number that is too large for a byte. */
TEST(what_could_not_be_shown_is_refused)
{
#define FAMILY(kind, name, help, series) SLICE("\1\0" kind name help series)
#define ONE                              "\0\0\0\0\0\0\360\77"
    static const struct {
        const char *what;
        struct slice payload;
        enum err err;
    } cases[] = {
        {"good", FAMILY("\0", "\1a", "\0", "\1\0\0\0" ONE), ERR_OK},
        {"empty", SLICE("\0\0"), ERR_OK},
        {"kind", FAMILY("\3", "\1a", "\0", "\1\0\0\0" ONE), ERR_PROTOCOL},
        {"no name", FAMILY("\0", "\0", "\0", "\1\0\0\0" ONE), ERR_PROTOCOL},
        {"name", FAMILY("\0", "\1-", "\0", "\1\0\0\0" ONE), ERR_PROTOCOL},
        {"help", FAMILY("\0", "\1a", "\1\n", "\1\0\0\0" ONE), ERR_PROTOCOL},
        {"no series", FAMILY("\0", "\1a", "\0", "\0\0"), ERR_PROTOCOL},
        {"labels", FAMILY("\0", "\1a", "\0", "\1\0\1\0x" ONE), ERR_PROTOCOL},
        {"negative", FAMILY("\0", "\1a", "\0", "\1\0\0\0\0\0\0\0\0\0\360\277"), ERR_PROTOCOL},
        {"negative gauge", FAMILY("\1", "\1a", "\0", "\1\0\0\0\0\0\0\0\0\0\360\277"), ERR_OK},
        {"infinite", FAMILY("\1", "\1a", "\0", "\1\0\0\0\0\0\0\0\0\0\360\177"), ERR_PROTOCOL},
        {"no number", FAMILY("\1", "\1a", "\0", "\1\0\0\0\0\0\0\0\0\0\370\177"), ERR_PROTOCOL},
        {"buckets", FAMILY("\2", "\1a", "\0", "\1\0\0\0" ONE "\17"), ERR_PROTOCOL},
    };
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++)
        test_check_err(snapshot_check(cases[i].payload), cases[i].err, cases[i].what, __FILE__,
                       __LINE__);
}

TEST(a_bucket_holds_at_most_what_can_be_added_up)
{
    for (uint64_t over = 0; over < 2; over++) {
        struct metrics *metrics = metrics_new();
        metrics_get(metrics, METRIC_HISTOGRAM, "h_seconds", "H.", "")->buckets[3] =
            ((uint64_t)1 << 48) + over;
        struct text payload = payload_of(metrics);
        CHECK_ERR(snapshot_check(text_slice(&payload)), over ? ERR_PROTOCOL : ERR_OK);
        text_fini(&payload);
        metrics_free(metrics);
    }
}

TEST(a_full_registry_fits_and_one_series_more_is_refused)
{
    struct metrics *metrics = metrics_new();
    for (int i = 0; i < METRICS_SERIES_MAX; i++) {
        char labels[32];
        snprintf(labels, sizeof(labels), "n=\"%d\"", i);
        (void)metrics_get(metrics, METRIC_HISTOGRAM, "n_seconds", "N.", labels);
    }
    struct text payload = payload_of(metrics);
    CHECK_OK(snapshot_check(text_slice(&payload)));
    payload.data[0] = 2; /* one more family, of one counter */
    text_add(&payload, SLICE("\0\x01"
                             "a\0\x01\0\0\0\0\0\0\0\0\0\xf0\x3f"));
    CHECK_ERR(snapshot_check(text_slice(&payload)), ERR_LIMIT);
    text_fini(&payload);
    metrics_free(metrics);
}

TEST(a_name_of_two_kinds_is_not_merged)
{
    struct metrics *metrics = sample_registry();
    struct metric_sample other = {.kind = METRIC_GAUGE, .name = SLICE("c_total"), .value = 9};
    CHECK_ERR(metrics_merge(metrics, &other), ERR_REFUSED);
    other.labels = SLICE("new=\"1\"");
    CHECK_ERR(metrics_merge(metrics, &other), ERR_REFUSED);
    metrics_free(metrics);
}
