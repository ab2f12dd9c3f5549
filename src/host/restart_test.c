/* restart_test - every rule of restart.h in virtual time, and thousands of random histories. */
#include "host/restart.h"
#include "testing/test.h"

#include <stdio.h>

enum { MS = 1000, S = 1000 * 1000 };

static struct restart new_restart(void)
{
    struct restart restart;
    restart_init(&restart, false, false, 0);
    return restart;
}

/* Ready at once, ended after `life_us`; returns what the end brought. */
static enum restart_action live(struct restart *restart, uint64_t *now_us, uint64_t life_us)
{
    CHECK_EQ(restart_step(restart, RESTART_IS_READY, *now_us), RESTART_NOTHING);
    *now_us += life_us;
    return restart_step(restart, RESTART_CRASHED, *now_us);
}

TEST(the_first_crash_is_answered_at_once)
{
    struct restart restart = new_restart();
    uint64_t now_us = 0;
    CHECK_EQ(live(&restart, &now_us, 5), RESTART_START);
    CHECK_EQ(restart.state, RESTART_STARTING);
    CHECK_EQ(restart.restarts, 1);
}

TEST(starts_keep_a_distance_that_grows_to_a_second)
{
    static const uint64_t distances_ms[] = {0, 250, 500, 1000, 1000, 1000};
    struct restart restart = new_restart();
    uint64_t now_us = 7 * S;
    restart.started_us = now_us;
    for (size_t i = 0; i < ARRAY_COUNT(distances_ms); i++) {
        uint64_t started_us = now_us;
        CHECK_EQ(live(&restart, &now_us, RESTART_SERVED_US),
                 i == 0 ? RESTART_START : RESTART_NOTHING);
        if (i == 0)
            continue;
        CHECK_EQ(restart_due_us(&restart), started_us + distances_ms[i] * MS);
        CHECK_EQ(restart_step(&restart, RESTART_TIME, restart_due_us(&restart) - 1),
                 RESTART_NOTHING);
        now_us = restart_due_us(&restart);
        CHECK_EQ(restart_step(&restart, RESTART_TIME, now_us), RESTART_START);
    }
}

/* As when somebody kills it all the time: never slower than at once, never held back. */
TEST(who_served_for_a_second_is_always_replaced_at_once)
{
    struct restart restart = new_restart();
    uint64_t now_us = 0;
    for (int i = 0; i < 500; i++)
        CHECK_EQ(live(&restart, &now_us, S), RESTART_START);
}

TEST(a_long_life_begins_a_new_row)
{
    struct restart restart = new_restart();
    uint64_t now_us = 0;
    const uint64_t served_us = RESTART_SERVED_US;
    CHECK_EQ(live(&restart, &now_us, served_us), RESTART_START);
    CHECK_EQ(live(&restart, &now_us, RESTART_PROVEN_US), RESTART_START);
    CHECK_EQ(live(&restart, &now_us, served_us), RESTART_START);
    CHECK_EQ(live(&restart, &now_us, served_us), RESTART_NOTHING);
}

/* Crashes before ready until it is held back; returns when. */
static uint64_t crash_until_held(struct restart *restart, uint64_t now_us, int crashes)
{
    for (int i = 1; i < crashes; i++) {
        enum restart_action action = restart_step(restart, RESTART_CRASHED, now_us);
        if (action == RESTART_NOTHING) {
            now_us = restart_due_us(restart);
            action = restart_step(restart, RESTART_TIME, now_us);
        }
        CHECK_EQ(action, RESTART_START);
    }
    CHECK_EQ(restart_step(restart, RESTART_CRASHED, now_us), RESTART_HOLD);
    CHECK_EQ(restart->state, RESTART_HELD_BACK);
    return now_us;
}

TEST(three_crashes_before_ready_hold_it_back_longer_each_time)
{
    static const uint64_t holds_s[] = {30, 60, 120, 240, 300, 300};
    struct restart restart = new_restart();
    uint64_t now_us = crash_until_held(&restart, 0, 3);
    for (size_t i = 0; i < ARRAY_COUNT(holds_s); i++) {
        CHECK_EQ(restart_due_us(&restart), now_us + holds_s[i] * S);
        now_us = restart_due_us(&restart);
        CHECK_EQ(restart_step(&restart, RESTART_TIME, now_us - 1), RESTART_NOTHING);
        CHECK_EQ(restart_step(&restart, RESTART_TIME, now_us), RESTART_START);
        now_us = crash_until_held(&restart, now_us, 1); /* one more is enough now */
    }
}

TEST(a_retry_starts_who_is_held_back_and_nobody_else)
{
    struct restart restart = new_restart();
    CHECK_EQ(restart_step(&restart, RESTART_RETRY, 1), RESTART_NOTHING);
    uint64_t now_us = crash_until_held(&restart, 0, 3);
    CHECK_EQ(restart_step(&restart, RESTART_RETRY, now_us + 1), RESTART_START);
    CHECK_EQ(restart_due_us(&restart), UINT64_MAX);
}

TEST(having_served_begins_a_new_row)
{
    struct restart restart = new_restart();
    uint64_t now_us = crash_until_held(&restart, 0, 3);
    CHECK_EQ(restart_step(&restart, RESTART_RETRY, now_us), RESTART_START);
    now_us += RESTART_PROVEN_US;
    CHECK_EQ(live(&restart, &now_us, RESTART_SERVED_US), RESTART_START);
    now_us = crash_until_held(&restart, now_us, 2); /* with that crash it is three */
    CHECK_EQ(restart_due_us(&restart), now_us + RESTART_HOLD_US);
}

TEST(who_ends_just_after_it_was_ready_did_not_serve)
{
    struct restart restart = new_restart();
    uint64_t now_us = 0;
    CHECK_EQ(live(&restart, &now_us, RESTART_SERVED_US - 1), RESTART_START);
    CHECK_EQ(live(&restart, &now_us, RESTART_SERVED_US - 1), RESTART_NOTHING);
    CHECK_EQ(restart_step(&restart, RESTART_TIME, now_us + S), RESTART_START);
    now_us += S;
    CHECK_EQ(live(&restart, &now_us, RESTART_SERVED_US - 1), RESTART_HOLD);
}

TEST(a_vital_role_that_cannot_start_ends_the_service)
{
    struct restart restart;
    restart_init(&restart, true, true, 0);
    CHECK_EQ(restart_step(&restart, RESTART_CRASHED, 1), RESTART_START);
    CHECK_EQ(restart_step(&restart, RESTART_CRASHED, 2), RESTART_NOTHING);
    CHECK_EQ(restart_step(&restart, RESTART_TIME, S), RESTART_START);
    CHECK_EQ(restart_step(&restart, RESTART_CRASHED, S), RESTART_GIVE_UP);
}

/* As with a request that kills whoever it is given to: nobody else is to pay for it. */
TEST(who_was_given_work_served_however_soon_it_ends)
{
    struct restart restart = new_restart();
    uint64_t now_us = 0;
    CHECK_EQ(restart_step(&restart, RESTART_WORKS, now_us), RESTART_NOTHING);
    for (int i = 0; i < 100; i++) {
        CHECK_EQ(restart_step(&restart, RESTART_IS_READY, now_us), RESTART_NOTHING);
        CHECK_EQ(restart_step(&restart, RESTART_WORKS, now_us), RESTART_NOTHING);
        CHECK_EQ(restart_step(&restart, RESTART_CRASHED, now_us),
                 i == 0 ? RESTART_START : RESTART_NOTHING);
        if (i > 0) {
            now_us = restart_due_us(&restart);
            CHECK_EQ(restart_step(&restart, RESTART_TIME, now_us), RESTART_START);
        }
        CHECK(!restart.is_proven); /* the next one has to show it again */
    }
}

TEST(a_vital_role_that_ever_served_ends_the_service_only_if_it_cannot_start)
{
    struct restart restart;
    uint64_t now_us = 0;
    restart_init(&restart, true, true, 0);
    CHECK_EQ(live(&restart, &now_us, RESTART_SERVED_US), RESTART_START);
    for (int i = 0; i < 100; i++) {
        CHECK_EQ(live(&restart, &now_us, 1), RESTART_NOTHING);
        now_us = restart_due_us(&restart);
        CHECK_EQ(restart_step(&restart, RESTART_TIME, now_us), RESTART_START);
    }
    CHECK_EQ(restart_step(&restart, RESTART_CRASHED, now_us), RESTART_NOTHING);
    now_us = restart_due_us(&restart);
    CHECK_EQ(restart_step(&restart, RESTART_TIME, now_us), RESTART_START);
    CHECK_EQ(restart_step(&restart, RESTART_CRASHED, now_us), RESTART_GIVE_UP);
}

TEST(who_breaks_while_it_drains_has_crashed)
{
    struct restart restart = new_restart();
    for (int i = 0; i < 2; i++) {
        CHECK_EQ(restart_step(&restart, RESTART_IS_READY, 1), RESTART_NOTHING);
        CHECK_EQ(restart_step(&restart, RESTART_DRAINS, 2), RESTART_NOTHING);
        CHECK_EQ(restart_step(&restart, RESTART_CRASHED, 3),
                 i == 0 ? RESTART_START : RESTART_NOTHING);
    }
    CHECK_EQ(restart.state, RESTART_DEAD);
    CHECK_EQ(restart.useless_row, 2);
}

TEST(who_drains_is_replaced_after_its_end_without_a_crash)
{
    struct restart restart = new_restart();
    for (int i = 0; i < 10; i++) {
        CHECK_EQ(restart_step(&restart, RESTART_IS_READY, 1), RESTART_NOTHING);
        CHECK_EQ(restart_step(&restart, RESTART_DRAINS, 2), RESTART_NOTHING);
        CHECK_EQ(restart.state, RESTART_DRAINING);
        CHECK_EQ(restart_step(&restart, RESTART_DRAINS, 2), RESTART_NOTHING);
        CHECK_EQ(restart_step(&restart, RESTART_ENDED, 3), RESTART_START);
    }
    CHECK_EQ(restart.quick_row, 0);
}

TEST(who_overlaps_gets_a_successor_as_soon_as_it_drains)
{
    struct restart restart;
    restart_init(&restart, true, true, 0);
    CHECK_EQ(restart_step(&restart, RESTART_IS_READY, 1), RESTART_NOTHING);
    CHECK_EQ(restart_step(&restart, RESTART_DRAINS, 2), RESTART_START_ANOTHER);
    CHECK_EQ(restart.state, RESTART_STARTING);
    CHECK_EQ(restart.started_us, 2);
}

/* What holds after every step of any history. */
struct model {
    unsigned processes; /* alive, of this object's business */
    uint64_t starts, last_start_us;
    bool gave_up;
};

static void apply(struct model *model, enum restart_action action, uint64_t now_us)
{
    switch (action) {
    case RESTART_START:
    case RESTART_START_ANOTHER:
        if (action == RESTART_START_ANOTHER)
            model->processes--;        /* let go */
        CHECK_EQ(model->processes, 0); /* rule 1 */
        model->processes++;
        model->starts++;
        model->last_start_us = now_us;
        break;
    case RESTART_GIVE_UP:
        model->gave_up = true;
        break;
    case RESTART_HOLD:
        CHECK_EQ(model->processes, 0);
        break;
    case RESTART_NOTHING:
        break;
    }
}

static void one_history(uint64_t seed)
{
    uint64_t random = seed, now_us = test_random(&random) % S;
    struct restart restart;
    struct model model = {.processes = 1, .starts = 0, .last_start_us = now_us};
    restart_init(&restart, test_random(&random) % 2, test_random(&random) % 2, now_us);
    for (int i = 0; i < 200 && !model.gave_up; i++) {
        enum restart_event event = (enum restart_event)(test_random(&random) % RESTART_EVENT_COUNT);
        now_us += test_random(&random) % (1ull << (test_random(&random) % 26));
        bool is_end = event == RESTART_ENDED || event == RESTART_CRASHED;
        if (is_end && model.processes == 0)
            continue; /* nobody is there who could end */
        model.processes -= is_end;
        apply(&model, restart_step(&restart, event, now_us), now_us);
        bool waits = restart.state == RESTART_DEAD || restart.state == RESTART_HELD_BACK;
        if (!model.gave_up)
            CHECK_EQ(model.processes, !waits); /* it runs, or there is a time when it will */
        CHECK_EQ(restart_due_us(&restart) != UINT64_MAX, waits);
        CHECK_EQ(restart.restarts, model.starts);
        CHECK_EQ(restart.started_us, model.last_start_us);
        if (restart.state == RESTART_DEAD)
            CHECK(restart.due_us <= restart.started_us + RESTART_SPACING_MAX_US);
        if (restart.state == RESTART_HELD_BACK)
            CHECK(restart.due_us <= now_us + RESTART_HOLD_MAX_US);
        CHECK(restart.overlaps ? restart.state != RESTART_DRAINING : true);
        CHECK(!restart.is_vital || restart.state != RESTART_HELD_BACK);
    }
}

TEST(random_histories_keep_the_rules)
{
    for (uint64_t seed = 1; seed <= 5000; seed++)
        one_history(seed);
}

TEST(states_have_names)
{
    CHECK_STR(restart_state_name(RESTART_HELD_BACK), "held_back");
    CHECK_STR(restart_state_name(RESTART_STATE_COUNT), "?");
}
