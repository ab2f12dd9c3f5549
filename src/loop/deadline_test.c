/* deadline_test - deadlines in real and in virtual time, and loop_advance(). */
#include "loop/loop.h"

#include "base/mem.h"
#include "testing/test.h"

struct timer {
    struct deadline deadline;
    struct loop *loop;
    uint64_t fired_us; /* when it last did */
    int fired;
    int again;         /* how many times the callback arms it anew ... */
    uint64_t again_us; /* ... and after how long */
    struct timer *clears, *arms;
};

static void on_timer(void *ctx)
{
    struct timer *timer = ctx;
    timer->fired++;
    timer->fired_us = loop_now_us(timer->loop);
    CHECK(!deadline_is_armed(&timer->deadline));
    if (timer->again-- > 0)
        deadline_after(&timer->deadline, timer->again_us);
    if (timer->clears)
        deadline_clear(&timer->clears->deadline);
    if (timer->arms)
        deadline_after(&timer->arms->deadline, 0);
}

static void timer_init(struct timer *timer, struct loop *loop)
{
    *timer = (struct timer){.loop = loop};
    deadline_init(&timer->deadline, loop, on_timer, timer);
}

TEST(a_virtual_deadline_fires_at_its_microsecond_and_not_before)
{
    static const uint64_t starts[] = {0, 1, 999, 1000, 1234567, UINT64_MAX / 2};
    for (size_t i = 0; i < ARRAY_COUNT(starts); i++) {
        struct timer timer;
        timer_init(&timer, loop_new_virtual(starts[i]));
        deadline_after(&timer.deadline, 1500);
        loop_advance(timer.loop, 1499);
        CHECK_EQ(timer.fired, 0);
        CHECK(deadline_is_armed(&timer.deadline));
        loop_advance(timer.loop, 1);
        CHECK_EQ(timer.fired, 1);
        CHECK_EQ(timer.fired_us, starts[i] + 1500);
        loop_advance(timer.loop, 1000000);
        CHECK_EQ(timer.fired, 1); /* once */
        loop_free(timer.loop);
    }
}

TEST(deadlines_that_come_round_fall_together)
{
    struct timer early, late, rarer;
    struct loop *loop = loop_new_virtual(1000);
    timer_init(&early, loop);
    timer_init(&late, loop);
    timer_init(&rarer, loop);
    deadline_round(&early.deadline, 50000); /* at 1000: 51000, so 50000 */
    loop_advance(loop, 48999);
    CHECK_EQ(early.fired, 0);
    loop_advance(loop, 1);
    CHECK_EQ(early.fired_us, 50000);
    loop_advance(loop, 24999);
    deadline_round(&early.deadline, 50000); /* at 74999: 124999, so 100000 */
    loop_advance(loop, 1);
    deadline_round(&late.deadline, 50000); /* at 75000: 125000, so 150000 */
    deadline_round(&rarer.deadline, 100000);
    loop_advance(loop, 1000000);
    CHECK_EQ(early.fired_us, 100000);
    CHECK_EQ(late.fired_us, 150000);
    CHECK_EQ(rarer.fired_us, 200000);
    loop_free(loop);
}

TEST(a_period_that_fires_a_little_late_stays_as_long_as_it_is)
{
    struct timer timer;
    timer_init(&timer, loop_new_virtual(1000));
    deadline_round(&timer.deadline, 100000);
    for (size_t i = 1; i <= 10; i++) {
        loop_skip(timer.loop, i * 100000 + 300 - loop_now_us(timer.loop));
        loop_advance(timer.loop, 10);
        CHECK_EQ(timer.fired, i);
        deadline_round(&timer.deadline, 100000);
    }
    deadline_clear(&timer.deadline);
    loop_free(timer.loop);
}

TEST(a_deadline_that_was_slept_through_fires_late_and_once)
{
    struct timer timer;
    timer_init(&timer, loop_new_virtual(1000));
    deadline_after(&timer.deadline, 1500);
    loop_skip(timer.loop, 1000000);
    CHECK_EQ(timer.fired, 0);
    loop_advance(timer.loop, 10);
    CHECK_EQ(timer.fired, 1);
    CHECK_EQ(timer.fired_us, 1001000);
    CHECK_EQ(loop_now_us(timer.loop), 1001010);
    loop_free(timer.loop);
}

TEST(advance_stops_at_every_deadline_on_the_way_in_order)
{
    struct loop *loop = loop_new_virtual(77);
    struct timer timers[50];
    for (size_t i = 0; i < ARRAY_COUNT(timers); i++) { /* armed in a mixed-up order */
        timer_init(&timers[i], loop);
        deadline_at(&timers[i].deadline, 100 + (i * 7919) % 50 * 40000);
    }
    loop_advance(loop, 10000000);
    for (size_t i = 0; i < ARRAY_COUNT(timers); i++)
        CHECK_EQ(timers[i].fired_us, 100 + (i * 7919) % 50 * 40000);
    CHECK_EQ(loop_now_us(loop), 10000077);
    loop_free(loop);
}

TEST(a_deadline_rearmed_in_its_own_callback_fires_each_period)
{
    struct timer timer;
    timer_init(&timer, loop_new_virtual(0));
    timer.again = 9;
    timer.again_us = 1000;
    deadline_after(&timer.deadline, 1000);
    loop_advance(timer.loop, 9999);
    CHECK_EQ(timer.fired, 9);
    loop_advance(timer.loop, 1);
    CHECK_EQ(timer.fired, 10);
    CHECK_EQ(timer.fired_us, 10000);
    loop_free(timer.loop);
}

TEST(a_deadline_rearmed_for_now_waits_for_the_next_turn)
{
    struct timer timer;
    timer_init(&timer, loop_new_virtual(0));
    timer.again = 1;
    deadline_at(&timer.deadline, 0);
    CHECK_EQ(timer.fired, 0); /* never inside the call */
    CHECK(deadline_is_armed(&timer.deadline));
    CHECK(loop_turn(timer.loop, false));
    CHECK_EQ(timer.fired, 1);
    CHECK(loop_turn(timer.loop, false));
    CHECK_EQ(timer.fired, 2);
    CHECK(!loop_turn(timer.loop, false));
    loop_free(timer.loop);
}

TEST(arming_an_armed_one_moves_it_both_ways)
{
    struct timer timer;
    timer_init(&timer, loop_new_virtual(0));
    deadline_at(&timer.deadline, 1000);
    deadline_at(&timer.deadline, 5000000);
    loop_advance(timer.loop, 4999999);
    CHECK_EQ(timer.fired, 0);
    deadline_at(&timer.deadline, 9000000);
    deadline_at(&timer.deadline, 5000000);
    loop_advance(timer.loop, 1);
    CHECK_EQ(timer.fired_us, 5000000);
    CHECK_EQ(timer.fired, 1);
    loop_free(timer.loop);
}

TEST(a_cleared_deadline_never_fires)
{
    struct timer timer;
    timer_init(&timer, loop_new_virtual(0));
    deadline_after(&timer.deadline, 10);
    deadline_clear(&timer.deadline);
    deadline_clear(&timer.deadline);
    CHECK(!deadline_is_armed(&timer.deadline));
    loop_advance(timer.loop, 1000000);
    CHECK_EQ(timer.fired, 0);
    loop_free(timer.loop);
}

TEST(a_callback_may_clear_or_rearm_one_that_is_due_in_the_same_turn)
{
    struct loop *loop = loop_new_virtual(0);
    struct timer first, cleared, moved;
    timer_init(&first, loop);
    timer_init(&cleared, loop);
    timer_init(&moved, loop);
    first.clears = &cleared;
    first.arms = &moved;
    deadline_at(&first.deadline, 500);
    deadline_at(&cleared.deadline, 500);
    deadline_at(&moved.deadline, 500);
    loop_advance(loop, 500);
    CHECK_EQ(first.fired, 1);
    CHECK_EQ(cleared.fired, 0);
    CHECK_EQ(moved.fired, 1); /* not twice */
    loop_free(loop);
}

static void free_owner(void *ctx)
{
    mem_free(ctx);
}

TEST(a_callback_may_free_its_own_deadline)
{
    struct loop *loop = loop_new_virtual(0);
    struct timer *timer = mem_alloc(sizeof *timer);
    deadline_init(&timer->deadline, loop, free_owner, timer);
    deadline_after(&timer->deadline, 5);
    loop_advance(loop, 5); /* the address sanitizer is the check */
    CHECK(!loop_turn(loop, false));
    loop_free(loop);
}

TEST(the_end_of_time_is_never_reached_and_does_not_wrap)
{
    struct timer timer;
    timer_init(&timer, loop_new_virtual(1000));
    deadline_after(&timer.deadline, UINT64_MAX);
    loop_advance(timer.loop, UINT64_MAX / 2);
    CHECK_EQ(timer.fired, 0);
    CHECK(deadline_is_armed(&timer.deadline));
    deadline_clear(&timer.deadline);
    loop_free(timer.loop);
}

static void count_turn(void *ctx)
{
    ++*(int *)ctx;
}

TEST(advance_finishes_what_can_happen_now_before_it_moves_time)
{
    struct timer timer;
    struct deferred deferred;
    int runs = 0;
    timer_init(&timer, loop_new_virtual(0));
    deferred_init(&deferred, count_turn, &runs);
    loop_defer(timer.loop, &deferred);
    loop_advance(timer.loop, 0);
    CHECK_EQ(runs, 1);
    CHECK_EQ(loop_now_us(timer.loop), 0);
    loop_free(timer.loop);
}

/* --- real time: a few milliseconds, and nothing depends on how many --- */

TEST(a_real_deadline_is_never_early_and_wakes_a_sleeping_loop)
{
    struct timer timer;
    timer_init(&timer, loop_new());
    for (int i = 0; i < 5; i++) {
        uint64_t armed_us = loop_now_us(timer.loop);
        deadline_after(&timer.deadline, 1234);
        int turns = 0;
        for (; deadline_is_armed(&timer.deadline); turns++)
            loop_turn(timer.loop, true);
        CHECK(timer.fired_us >= armed_us + 1234);
        CHECK(turns <= 3); /* it slept: no turn but the first and those that were woken */
    }
    CHECK_EQ(timer.fired, 5);
    loop_free(timer.loop);
}

static void rearm_in_the_past(void *ctx)
{
    struct timer *timer = ctx;
    if (++timer->fired < 50)
        deadline_at(&timer->deadline, 1);
}

/* The alarm that woke the loop is used up, also when the next is for the very same tick. */
TEST(a_deadline_rearmed_for_the_past_does_not_let_the_loop_sleep)
{
    struct timer timer = {.loop = loop_new()};
    deadline_init(&timer.deadline, timer.loop, rearm_in_the_past, &timer);
    deadline_after(&timer.deadline, 1000);
    while (timer.fired < 50)
        loop_turn(timer.loop, true);
    loop_free(timer.loop);
}

TEST(real_deadlines_fire_in_the_order_of_their_ticks)
{
    struct loop *loop = loop_new();
    struct timer late, early, gone;
    timer_init(&late, loop);
    timer_init(&early, loop);
    timer_init(&gone, loop);
    deadline_after(&gone.deadline, 1000); /* the alarm is set for it, then it goes */
    loop_turn(loop, false);
    deadline_clear(&gone.deadline);
    deadline_after(&late.deadline, 6000);
    deadline_after(&early.deadline, 2000);
    while (early.fired == 0)
        loop_turn(loop, true);
    CHECK(late.fired == 0 || late.fired_us >= early.fired_us);
    while (late.fired == 0)
        loop_turn(loop, true);
    CHECK_EQ(gone.fired, 0);
    loop_free(loop);
}
