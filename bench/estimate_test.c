#include "estimate.h"

#include "base/splitmix.h"
#include "testing/test.h"

TEST(the_median_lies_in_the_middle_and_in_its_interval)
{
    const double odd[] = {5, 1, 3}, even[] = {4, 1, 3, 2}, one[] = {7};
    CHECK_NEAR(estimate_of(odd, 3).mid, 3, 1e-9);
    CHECK_NEAR(estimate_of(even, 4).mid, 2.5, 1e-9);
    struct estimate alone = estimate_of(one, 1);
    CHECK_NEAR(alone.low, 7, 1e-9);
    CHECK_NEAR(alone.high, 7, 1e-9);
    struct estimate few = estimate_of(odd, 3);
    CHECK_NEAR(few.low, 1, 1e-9); /* three say nothing but "between these" */
    CHECK_NEAR(few.high, 5, 1e-9);
}

/* Of few values such an interval holds a little less than it claims. */
TEST(the_interval_holds_the_true_median_nearly_as_often_as_it_says)
{
    enum { TRIALS = 200, VALUES = 21 };
    uint64_t random = 5;
    uint32_t held = 0;
    for (uint32_t trial = 0; trial < TRIALS; trial++) {
        double values[VALUES];
        for (uint32_t i = 0; i < VALUES; i++)
            values[i] = splitmix_unit(&random);
        struct estimate found = estimate_of(values, VALUES);
        held += found.low <= 0.5 && found.high >= 0.5;
    }
    CHECK(held > TRIALS * 85 / 100);
    CHECK(held < TRIALS);
}

TEST(what_a_round_has_in_common_cancels)
{
    const double values[] = {2, 20, 6}, others[] = {1, 10, 3};
    struct estimate found = estimate_of_ratios(values, others, 3);
    CHECK_NEAR(found.low, 2, 1e-9);
    CHECK_NEAR(found.mid, 2, 1e-9);
    CHECK_NEAR(found.high, 2, 1e-9);
}
