/* pace_test - who speaks now and then, who speaks all the time, and who floods. */
#include "host/pace.h"
#include "testing/test.h"

enum {
    MS = 1000,
    START_US = 1000 * 1000,
    TURN_BYTES = 64 * 1024,
    TURNS_PER_WINDOW = PACE_WINDOW_BYTES / TURN_BYTES
};

TEST(who_speaks_now_and_then_is_heard_at_once)
{
    struct pace pace = {0};
    for (uint64_t now_us = START_US; now_us < START_US + 1000 * MS; now_us += 20 * MS)
        CHECK_EQ(pace_step(&pace, now_us, 100, false), 0);
}

TEST(who_spoke_a_moment_ago_is_heard_after_a_pause)
{
    for (uint64_t after_us = 20 * MS - 1; after_us <= 20 * MS; after_us++) {
        struct pace pace = {0};
        uint64_t again_us = START_US + after_us;
        CHECK_EQ(pace_step(&pace, START_US, 100, false), 0);
        CHECK_EQ(pace_step(&pace, again_us, 100, false),
                 after_us < 20 * MS ? again_us + PACE_PAUSE_MS * MS : 0);
    }
}

TEST(a_turn_that_its_own_bound_has_cut_goes_on_in_the_next)
{
    struct pace pace = {0};
    for (int i = 0; i < TURNS_PER_WINDOW - 1; i++)
        CHECK_EQ(pace_step(&pace, START_US, TURN_BYTES, true), 0);
    CHECK_EQ(pace_step(&pace, START_US, 1, false), START_US + PACE_PAUSE_MS * MS);
}

TEST(a_flood_waits_for_the_end_of_its_window_and_then_has_another)
{
    struct pace pace = {0};
    uint64_t now_us = START_US;
    for (int window = 0; window < 3; window++, now_us += PACE_WINDOW_MS * MS) {
        for (int i = 0; i < TURNS_PER_WINDOW - 1; i++)
            CHECK_EQ(pace_step(&pace, now_us + (uint64_t)i, TURN_BYTES, true), 0);
        CHECK_EQ(pace_step(&pace, now_us + 5 * MS, TURN_BYTES, true), now_us + PACE_WINDOW_MS * MS);
    }
}

/* As much as may be, less a byte, in each window: a pause of 10 ms each time, and never more. */
TEST(who_stays_below_the_limit_never_waits_for_the_window)
{
    struct pace pace = {0};
    const size_t share = (PACE_WINDOW_BYTES - 1) / 10;
    uint64_t now_us = START_US;
    for (int i = 0; i < 1000; i++, now_us += PACE_PAUSE_MS * MS) {
        uint64_t next_us = pace_step(&pace, now_us, TURN_BYTES, true);
        CHECK_EQ(next_us, 0);
        next_us = pace_step(&pace, now_us, share - TURN_BYTES, false);
        CHECK_EQ(next_us, now_us + PACE_PAUSE_MS * MS);
    }
}
