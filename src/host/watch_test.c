/* watch_test - who is silent, stuck or too late, at the microsecond. */
#include "host/watch.h"
#include "testing/test.h"

enum { MS = 1000, START_US = 77 };

static const struct watch_rules rules = {.dead_ms = 1000, .stuck_max_ms = 500};

static enum watch_verdict look(const struct watch *watch, uint64_t now_us)
{
    return watch_look(watch, &rules, now_us);
}

TEST(the_first_beat_has_its_own_time)
{
    struct watch watch;
    watch_start(&watch, START_US);
    CHECK_EQ(look(&watch, START_US + WATCH_FIRST_BEAT_US - 1), WATCH_FINE);
    CHECK_EQ(look(&watch, START_US + WATCH_FIRST_BEAT_US), WATCH_NO_START);
}

TEST(who_does_not_beat_for_dead_ms_is_silent)
{
    struct watch watch;
    watch_start(&watch, START_US);
    watch_beat(&watch, 0, 5000);
    CHECK_EQ(look(&watch, 5000 + 1000 * MS - 1), WATCH_FINE);
    CHECK_EQ(look(&watch, 5000 + 1000 * MS), WATCH_SILENT);
    watch_beat(&watch, 0, 5000 + 1000 * MS);
    CHECK_EQ(look(&watch, 5000 + 1000 * MS), WATCH_FINE);
}

TEST(who_only_waits_for_a_processor_has_five_times_as_long)
{
    struct watch watch;
    watch_start(&watch, START_US);
    watch_beat(&watch, 0, 5000);
    CHECK_EQ(watch_look_hungry(&watch, &rules, 5000 + 5000 * MS - 1), WATCH_FINE);
    CHECK_EQ(watch_look_hungry(&watch, &rules, 5000 + 5000 * MS), WATCH_SILENT);
    watch_beat(&watch, 500, 6000); /* it beats, so it has what it needs */
    CHECK_EQ(watch_look_hungry(&watch, &rules, 6000), WATCH_STUCK);
}

TEST(who_beats_without_progress_is_stuck)
{
    struct watch watch;
    struct watch_rules never = {.dead_ms = 1000};
    watch_start(&watch, START_US);
    watch_beat(&watch, 499, 5000);
    CHECK_EQ(look(&watch, 5000), WATCH_FINE);
    watch_beat(&watch, 500, 6000);
    CHECK_EQ(look(&watch, 6000), WATCH_STUCK);
    CHECK_EQ(watch_look(&watch, &never, 6000), WATCH_FINE);
    watch_beat(&watch, 0, 7000);
    CHECK_EQ(look(&watch, 7000), WATCH_FINE);
}

TEST(a_pause_of_the_host_counts_against_nobody)
{
    struct watch beating, starting;
    watch_start(&beating, START_US);
    watch_start(&starting, START_US);
    watch_beat(&beating, 0, 5000);
    watch_forgive(&beating, 60 * 1000 * MS);
    watch_forgive(&starting, 60 * 1000 * MS);
    CHECK_EQ(look(&beating, 61 * 1000 * MS - 1), WATCH_FINE);
    CHECK_EQ(look(&beating, 61 * 1000 * MS), WATCH_SILENT);
    CHECK_EQ(look(&starting, 60 * 1000 * MS + WATCH_FIRST_BEAT_US - 1), WATCH_FINE);
}

TEST(who_has_to_end_has_until_then_and_may_be_silent_a_while)
{
    struct watch watch;
    watch_start(&watch, START_US);
    watch_beat(&watch, 0, 5000);
    watch_end_by(&watch, 10 * 1000 * MS);
    watch_end_by(&watch, 20 * 1000 * MS); /* the earlier one stays */
    CHECK_EQ(look(&watch, 5000 + 1000 * MS + WATCH_ENDING_US - 1), WATCH_FINE);
    CHECK_EQ(look(&watch, 5000 + 1000 * MS + WATCH_ENDING_US), WATCH_SILENT);
    watch_beat(&watch, 0, 9999 * MS);
    CHECK_EQ(look(&watch, 10 * 1000 * MS - 1), WATCH_FINE);
    CHECK_EQ(look(&watch, 10 * 1000 * MS), WATCH_TOO_LATE);
    CHECK_STR(watch_verdict_name(WATCH_TOO_LATE), "too_late");
}
