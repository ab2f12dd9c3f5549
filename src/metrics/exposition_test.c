/* exposition_test - the text format, to the byte. */
#include "metrics/exposition.h"
#include "testing/test.h"

static struct text written(const struct metrics *metrics)
{
    struct text out;
    text_init(&out, 1024 * 1024);
    exposition_write(metrics, &out);
    CHECK_OK(text_status(&out));
    return out;
}

TEST(families_stand_in_order_of_their_names_each_with_help_and_type_once)
{
    struct metrics *metrics = metrics_new();
    metric_add(metrics_get(metrics, METRIC_COUNTER, "b_total", "Bs, \"all\".", "x=\"2\""), 2);
    metric_set(metrics_get(metrics, METRIC_GAUGE, "a", "As.", ""), -0.25);
    metric_add(metrics_get(metrics, METRIC_COUNTER, "b_total", "Bs, \"all\".", "x=\"10\""), 1e16);
    metric_add(metrics_get(metrics, METRIC_COUNTER, "b_total", "Bs, \"all\".", ""), 0.1);
    struct text out = written(metrics);
    CHECK_SLICE(text_slice(&out), "# HELP a As.\n"
                                  "# TYPE a gauge\n"
                                  "a -0.25\n"
                                  "# HELP b_total Bs, \"all\".\n"
                                  "# TYPE b_total counter\n"
                                  "b_total 0.1\n"
                                  "b_total{x=\"10\"} 1e+16\n"
                                  "b_total{x=\"2\"} 2\n");
    text_fini(&out);
    metrics_free(metrics);
}

TEST(buckets_add_up_to_the_count)
{
    struct metrics *metrics = metrics_new();
    struct metric *h = metrics_get(metrics, METRIC_HISTOGRAM, "h_seconds", "H.", "m=\"x\"");
    metric_observe(h, 0.001);
    metric_observe(h, 0.002);
    metric_observe(h, 30.5);
    metric_observe(h, 100);
    struct text out = written(metrics);
    CHECK_SLICE(text_slice(&out), "# HELP h_seconds H.\n"
                                  "# TYPE h_seconds histogram\n"
                                  "h_seconds_bucket{m=\"x\",le=\"0.001\"} 1\n"
                                  "h_seconds_bucket{m=\"x\",le=\"0.0025\"} 2\n"
                                  "h_seconds_bucket{m=\"x\",le=\"0.005\"} 2\n"
                                  "h_seconds_bucket{m=\"x\",le=\"0.01\"} 2\n"
                                  "h_seconds_bucket{m=\"x\",le=\"0.025\"} 2\n"
                                  "h_seconds_bucket{m=\"x\",le=\"0.05\"} 2\n"
                                  "h_seconds_bucket{m=\"x\",le=\"0.1\"} 2\n"
                                  "h_seconds_bucket{m=\"x\",le=\"0.25\"} 2\n"
                                  "h_seconds_bucket{m=\"x\",le=\"0.5\"} 2\n"
                                  "h_seconds_bucket{m=\"x\",le=\"1\"} 2\n"
                                  "h_seconds_bucket{m=\"x\",le=\"2.5\"} 2\n"
                                  "h_seconds_bucket{m=\"x\",le=\"5\"} 2\n"
                                  "h_seconds_bucket{m=\"x\",le=\"10\"} 2\n"
                                  "h_seconds_bucket{m=\"x\",le=\"30\"} 2\n"
                                  "h_seconds_bucket{m=\"x\",le=\"60\"} 3\n"
                                  "h_seconds_bucket{m=\"x\",le=\"+Inf\"} 4\n"
                                  "h_seconds_sum{m=\"x\"} 130.503\n"
                                  "h_seconds_count{m=\"x\"} 4\n");
    text_fini(&out);
    metrics_free(metrics);
}

TEST(a_histogram_without_labels_has_braces_for_its_bounds_only)
{
    struct metrics *metrics = metrics_new();
    (void)metrics_get(metrics, METRIC_HISTOGRAM, "h_seconds", "H.", "");
    struct text out = written(metrics);
    CHECK(slice_find(text_slice(&out), SLICE("\nh_seconds_bucket{le=\"0.001\"} 0\n")) !=
          SLICE_NPOS);
    CHECK(slice_ends_with(text_slice(&out), SLICE("\nh_seconds_sum 0\nh_seconds_count 0\n")));
    text_fini(&out);
    metrics_free(metrics);
}

TEST(sums_that_left_the_numbers_are_written_in_the_words_of_the_format)
{
    struct metrics *metrics = metrics_new();
    metrics_get(metrics, METRIC_GAUGE, "a", "A.", "")->value = 1e308 * 10;
    metrics_get(metrics, METRIC_GAUGE, "b", "B.", "")->value = -1e308 * 10;
    metrics_get(metrics, METRIC_GAUGE, "c", "C.", "")->value = __builtin_nan("");
    struct text out = written(metrics);
    CHECK(slice_find(text_slice(&out), SLICE("\na +Inf\n")) != SLICE_NPOS);
    CHECK(slice_find(text_slice(&out), SLICE("\nb -Inf\n")) != SLICE_NPOS);
    CHECK(slice_find(text_slice(&out), SLICE("\nc NaN\n")) != SLICE_NPOS);
    text_fini(&out);
    metrics_free(metrics);
}

TEST(an_empty_registry_is_an_empty_page)
{
    struct metrics *metrics = metrics_new();
    struct text out = written(metrics);
    CHECK_EQ(out.len, 0);
    text_fini(&out);
    metrics_free(metrics);
}
