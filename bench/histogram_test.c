/* histogram_test - buckets cover every value, closely, and percentiles come out of them. */
#include "histogram.h"
#include "testing/test.h"

static void check_value(uint64_t value)
{
    struct histogram histogram = {0};
    size_t bucket = histogram_bucket(value);
    CHECK(bucket < ARRAY_COUNT(histogram.counts));
    uint64_t start = histogram_bucket_start(bucket);
    CHECK(start <= value);
    CHECK(value - start <= value / HISTOGRAM_SUBS);
    CHECK_EQ(histogram_bucket(start), bucket);
    CHECK(start == 0 || histogram_bucket(start - 1) == bucket - 1);
}

TEST(every_value_has_a_bucket_close_below_it)
{
    for (uint64_t value = 0; value < 100000; value++)
        check_value(value);
    for (int bit = 0; bit < 64; bit++)
        for (int near = -1; near <= 1; near++)
            check_value((UINT64_C(1) << bit) + (uint64_t)near);
}

TEST(percentiles_are_those_of_the_sorted_values)
{
    static struct histogram histogram;
    CHECK_EQ(histogram_percentile(&histogram, 50), 0);
    for (uint64_t value = 1; value <= 20; value++) /* below HISTOGRAM_SUBS: exact */
        histogram_add(&histogram, value);
    CHECK_EQ(histogram.total, 20);
    CHECK_EQ(histogram_percentile(&histogram, 1), 1);
    CHECK_EQ(histogram_percentile(&histogram, 50), 10);
    CHECK_EQ(histogram_percentile(&histogram, 95), 19);
    CHECK_EQ(histogram_percentile(&histogram, 99), 20);
    CHECK_EQ(histogram_percentile(&histogram, 100), 20);
    histogram_add(&histogram, 1000000);
    CHECK_NEAR((double)histogram_percentile(&histogram, 100), 1e6, 1e6 / HISTOGRAM_SUBS);
    CHECK_EQ(histogram.max, 1000000); /* as it is, not its bucket */
}
