/* metrics_test - a registry counts, finds its series again, and is full at its bound. */
#include "metrics/label.h"
#include "metrics/metrics_impl.h"
#include "testing/test.h"

#include <stdio.h>

TEST(a_series_is_made_once_and_found_by_name_and_labels)
{
    struct metrics *metrics = metrics_new();
    struct metric *a = metrics_get(metrics, METRIC_COUNTER, "a_total", "A.", "");
    struct metric *b = metrics_get(metrics, METRIC_COUNTER, "a_total", "A.", "x=\"1\"");
    CHECK(a != b);
    CHECK(metrics_get(metrics, METRIC_COUNTER, "a_total", "A.", "") == a);
    CHECK(metrics_get(metrics, METRIC_COUNTER, "a_total", "A.", NULL) == a);
    CHECK(metrics_get(metrics, METRIC_COUNTER, "a_total", "other help", "x=\"1\"") == b);
    CHECK_EQ(metrics->series_count, 2);
    CHECK_EQ(metrics->family_count, 1);
    metrics_free(metrics);
}

/* Name and labels are hashed one after the other: where one ends must matter. */
TEST(the_same_bytes_cut_elsewhere_are_another_series)
{
    struct metrics *metrics = metrics_new();
    struct metric *a, *b;
    CHECK_OK(metrics_obtain(metrics, METRIC_GAUGE, SLICE("ab"), SLICE(""), SLICE("c"), &a));
    CHECK_OK(metrics_obtain(metrics, METRIC_GAUGE, SLICE("a"), SLICE(""), SLICE("bc"), &b));
    CHECK(a != b);
    metrics_free(metrics);
}

TEST(counters_rise_and_gauges_go_both_ways)
{
    struct metrics *metrics = metrics_new();
    struct metric *counter = metrics_get(metrics, METRIC_COUNTER, "c_total", "C.", "");
    struct metric *gauge = metrics_get(metrics, METRIC_GAUGE, "g", "G.", "");
    metric_add(counter, 1);
    metric_add(counter, 0);
    metric_add(counter, 2.5);
    CHECK(metric_value(counter) == 3.5);
    metric_add(gauge, 3);
    metric_add(gauge, -4);
    CHECK(metric_value(gauge) == -1);
    metric_set(gauge, 7);
    CHECK(metric_value(gauge) == 7);
    metrics_free(metrics);
}

/* An upper bound belongs to its bucket (le: less or equal). */
TEST(an_observation_falls_into_the_first_bucket_that_holds_it)
{
    struct metrics *metrics = metrics_new();
    struct metric *h = metrics_get(metrics, METRIC_HISTOGRAM, "h_seconds", "H.", "");
    static const struct {
        double seconds;
        size_t bucket;
    } cases[] = {{-0.5, 0}, {0, 0}, {0.001, 0}, {0.0011, 1}, {0.05, 5}, {60, 14}, {60.1, 15}};
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        uint64_t before = h->buckets[cases[i].bucket];
        metric_observe(h, cases[i].seconds);
        CHECK_EQ(h->buckets[cases[i].bucket], before + 1);
        CHECK_EQ(metric_value(h), (long long)i + 1);
    }
    CHECK_EQ(metric_seconds_bound_count + 1, METRIC_SECONDS_BUCKETS);
    metrics_free(metrics);
}

TEST(without_a_registry_or_a_series_counting_does_nothing)
{
    struct metric *none = metrics_get(NULL, METRIC_COUNTER, "a_total", "A.", "");
    CHECK(none == NULL);
    metric_add(none, 1);
    metric_set(none, 1);
    metric_observe(none, 1);
    CHECK(metric_value(none) == 0);
    metrics_free(NULL);
}

TEST(a_full_registry_gives_no_more_and_counts_them)
{
    struct metrics *metrics = metrics_new();
    for (int i = 0; i < METRICS_SERIES_MAX; i++) {
        char labels[32];
        snprintf(labels, sizeof(labels), "n=\"%d\"", i);
        CHECK(metrics_get(metrics, METRIC_COUNTER, "n_total", "N.", labels) != NULL);
    }
    CHECK(metrics_get(metrics, METRIC_COUNTER, "n_total", "N.", "n=\"x\"") == NULL);
    CHECK(metrics_get(metrics, METRIC_COUNTER, "m_total", "M.", "") == NULL);
    CHECK(metrics_get(metrics, METRIC_COUNTER, "n_total", "N.", "n=\"7\"") != NULL);
    CHECK_EQ(metrics->series_count, METRICS_SERIES_MAX);
    CHECK_EQ(metrics->family_count, 1);
    CHECK_EQ(metrics->refused, 2);
    metrics_free(metrics);
}

TEST(what_is_our_own_mistake_aborts)
{
    struct metrics *metrics = metrics_new();
    struct metric *counter = metrics_get(metrics, METRIC_COUNTER, "c_total", "C.", "");
    struct metric *gauge = metrics_get(metrics, METRIC_GAUGE, "g", "G.", "");
    struct metric *h = metrics_get(metrics, METRIC_HISTOGRAM, "h_seconds", "H.", "");
    CHECK_ABORTS(metric_add(counter, -1), "amount");
    CHECK_ABORTS(metric_set(counter, 1), "METRIC_GAUGE");
    CHECK_ABORTS(metric_set(gauge, 0.0 / 0.0), "isfinite");
    CHECK_ABORTS(metric_add(h, 1), "kind");
    CHECK_ABORTS(metric_observe(gauge, 1), "METRIC_HISTOGRAM");
    CHECK_ABORTS(metrics_get(metrics, METRIC_GAUGE, "c_total", "C.", ""), "another kind");
    CHECK_ABORTS(metrics_get(metrics, METRIC_GAUGE, "c_total", "C.", "x=\"1\""), "another kind");
    CHECK_ABORTS(metrics_get(metrics, METRIC_GAUGE, "7up", "C.", ""), "7up");
    CHECK_ABORTS(metrics_get(metrics, METRIC_GAUGE, "x", "two\nlines", ""), "two");
    CHECK_ABORTS(metrics_get(metrics, METRIC_GAUGE, "x", "X.", "le=\"1\""), "le");
    metrics_free(metrics);
}

/* --- labels --- */

TEST(labels_are_escaped_and_joined)
{
    struct text labels;
    text_init(&labels, 256);
    metrics_label(&labels, "model", SLICE("a\\b\"c\nd"));
    CHECK_SLICE(text_slice(&labels), "model=\"a\\\\b\\\"c\\nd\"");
    metrics_label(&labels, "end", SLICE(""));
    CHECK_SLICE(text_slice(&labels), "model=\"a\\\\b\\\"c\\nd\",end=\"\"");
    CHECK_EQ(labels.data[labels.len], 0); /* so that metrics_get() takes it as it is */
    CHECK(metric_labels_are_valid(text_slice(&labels)));
    text_clear(&labels);
    metrics_label(&labels, "bad", SLICE("\xff\xc3\xa9"));
    CHECK_SLICE(text_slice(&labels), "bad=\"\xef\xbf\xbd\xc3\xa9\"");
    text_fini(&labels);
}

/* Half a label would be a label that nobody wrote. */
TEST(a_label_that_does_not_fit_is_left_out_whole)
{
    for (size_t max = 0; max < 40; max++) {
        struct text labels;
        text_init(&labels, max);
        metrics_label(&labels, "a", SLICE("12345"));
        metrics_label(&labels, "b", SLICE("\"\"\"\""));
        CHECK(metric_labels_are_valid(text_slice(&labels)));
        CHECK_EQ(text_status(&labels), labels.len < 9 + 13 ? ERR_LIMIT : ERR_OK);
        text_fini(&labels);
    }
}

TEST(names_and_labels_from_outside_are_checked_to_the_letter)
{
    static const char *const good[] = {"", "a=\"\"", "a=\"\\\\\\\"\\n\",_b1=\"x,y={}\"",
                                       "a=\"\xc3\xa9\""};
    static const char *const bad[] = {"a",
                                      "a=",
                                      "a=\"",
                                      "a=b",
                                      "=\"x\"",
                                      "1=\"x\"",
                                      "a:b=\"x\"",
                                      "a=\"x\",",
                                      ",a=\"x\"",
                                      "a=\"x\" ",
                                      "a=\"x\";b=\"y\"",
                                      "a=\"x\"b=\"y\"",
                                      "a=\"\\t\"",
                                      "a=\"\\",
                                      "a=\"x\\\"",
                                      "a=\"x\ny\"",
                                      "a=\"\xff\"",
                                      "le=\"1\"",
                                      "a=\"1\",a=\"2\""};
    for (size_t i = 0; i < ARRAY_COUNT(good); i++)
        test_check(metric_labels_are_valid(slice_str(good[i])), good[i], __FILE__, __LINE__);
    for (size_t i = 0; i < ARRAY_COUNT(bad); i++)
        test_check(!metric_labels_are_valid(slice_str(bad[i])), bad[i], __FILE__, __LINE__);
    CHECK(metric_name_is_valid(SLICE("_a:B9")) && metric_name_is_valid(SLICE(":")));
    CHECK(!metric_name_is_valid(SLICE("")) && !metric_name_is_valid(SLICE("9a")));
    CHECK(!metric_name_is_valid(SLICE("a-b")) && !metric_name_is_valid(SLICE("a\xc3\xa9")));
    CHECK(metric_help_is_valid(SLICE("\xc3\xa9 \"x\"")) && metric_help_is_valid(SLICE("")));
    CHECK(!metric_help_is_valid(SLICE("a\nb")) && !metric_help_is_valid(SLICE("a\\n")));
    CHECK(!metric_help_is_valid(SLICE("\xff")));
}

static struct text filled(size_t bytes, const char *head, const char *tail)
{
    struct text text;
    text_init(&text, bytes + 64);
    text_add_str(&text, head);
    while (text.len < bytes - strlen(tail))
        text_add_byte(&text, 'a');
    text_add_str(&text, tail);
    return text;
}

TEST(lengths_are_held_to_the_byte)
{
    for (size_t over = 0; over < 2; over++) {
        struct text name = filled(METRIC_NAME_MAX_BYTES + over, "", "");
        struct text help = filled(METRIC_HELP_MAX_BYTES + over, "", "");
        struct text labels = filled(METRIC_LABELS_MAX_BYTES + over, "a=\"", "\"");
        CHECK_EQ(metric_name_is_valid(text_slice(&name)), !over);
        CHECK_EQ(metric_help_is_valid(text_slice(&help)), !over);
        CHECK_EQ(metric_labels_are_valid(text_slice(&labels)), !over);
        text_fini(&name);
        text_fini(&help);
        text_fini(&labels);
    }
    for (int count = METRIC_LABELS_MAX; count <= METRIC_LABELS_MAX + 1; count++) {
        struct text labels;
        text_init(&labels, 1024);
        for (int i = 0; i < count; i++)
            text_add_f(&labels, "%sl%d=\"\"", i ? "," : "", i);
        CHECK_EQ(metric_labels_are_valid(text_slice(&labels)), count == METRIC_LABELS_MAX);
        text_fini(&labels);
    }
}
