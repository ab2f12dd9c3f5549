/* alarm_test - what ends the sleep of a real loop: the next deadline, and nothing before it. */
#include "base/mem.h"
#include "loop/mailbox.h"
#include "loop/thread.h"
#include "testing/test.h"

#include <uv.h>

enum { ROUNDS = 300 };

struct sleeper {
    struct loop *loop;
    struct chan *go;
    uv_prepare_t before_poll;
    int polls; /* how often the kernel was asked */
    struct deadline deadline;
    int fired;
};

static void on_before_poll(uv_prepare_t *before_poll)
{
    struct sleeper *sleeper = before_poll->data;
    sleeper->polls++;
}

static void on_deadline(void *ctx)
{
    struct sleeper *sleeper = ctx;
    sleeper->fired++;
}

static struct sleeper *sleeper_new(void)
{
    struct sleeper *sleeper = mem_alloc(sizeof(*sleeper));
    sleeper->loop = loop_new();
    sleeper->go = chan_new(1);
    sleeper->before_poll.data = sleeper;
    CHECK_EQ(uv_prepare_init(loop_uv(sleeper->loop), &sleeper->before_poll), 0);
    CHECK_EQ(uv_prepare_start(&sleeper->before_poll, on_before_poll), 0);
    deadline_init(&sleeper->deadline, sleeper->loop, on_deadline, sleeper);
    return sleeper;
}

static void sleeper_free(struct sleeper *sleeper)
{
    deadline_clear(&sleeper->deadline);
    chan_free(sleeper->go);
    loop_free(sleeper->loop);
    mem_free(sleeper);
}

static void wake_when_told(void *ctx)
{
    struct sleeper *sleeper = ctx;
    for (int round = 0; round < ROUNDS; round++) {
        (void)chan_take(sleeper->go, UINT64_MAX); /* the mail is on the other thread's stack */
        loop_stop(sleeper->loop);
    }
}

/* Sleeps until another thread wakes it, many times; returns how often the kernel was asked. */
static int sleep_and_wake(struct sleeper *sleeper)
{
    struct thread *thread;
    sleeper->polls = 0;
    CHECK_OK(thread_start("waker", wake_when_told, sleeper, &thread));
    for (int round = 0; round < ROUNDS; round++) {
        struct mail mail, *go = &mail;
        CHECK_OK(chan_post(sleeper->go, &go));
        loop_run(sleeper->loop);
    }
    thread_join(&thread);
    return sleeper->polls;
}

/* A loop that does not sleep asks the kernel thousands of times until the other thread has run. */
TEST(a_deadline_that_is_far_away_wakes_nobody)
{
    static const uint64_t far_us[] = {UINT64_MAX, UINT64_MAX - 1000, UINT64_MAX / 1000,
                                      (uint64_t)INT64_MAX / 1000, 3600ull * 1000 * 1000};
    struct sleeper *sleeper = sleeper_new();
    CHECK(sleep_and_wake(sleeper) <= 2 * ROUNDS);
    for (size_t i = 0; i < ARRAY_COUNT(far_us); i++) {
        deadline_after(&sleeper->deadline, far_us[i]);
        CHECK(sleep_and_wake(sleeper) <= 2 * ROUNDS);
        CHECK_EQ(sleeper->fired, 0);
    }
    sleeper_free(sleeper);
}

TEST(a_deadline_that_was_taken_back_wakes_at_most_once)
{
    struct sleeper *sleeper = sleeper_new();
    int most = 0;
    for (int i = 0; i < 20; i++) {
        deadline_after(&sleeper->deadline, 1000);
        loop_stop(sleeper->loop);
        loop_run(sleeper->loop);
        deadline_clear(&sleeper->deadline);
        int polls = sleep_and_wake(sleeper);
        most = polls > most ? polls : most;
    }
    CHECK(most <= 2 * ROUNDS + 1);
    sleeper_free(sleeper);
}

/* Whatever the sleeps before were set to. */
TEST(a_deadline_that_comes_nearer_is_not_missed)
{
    struct sleeper *sleeper = sleeper_new();
    for (uint64_t after_us = 64 * 1000; after_us >= 1000; after_us /= 2) {
        int fired = sleeper->fired;
        deadline_after(&sleeper->deadline, 3600ull * 1000 * 1000);
        (void)sleep_and_wake(sleeper); /* sleeps with the far one */
        deadline_after(&sleeper->deadline, after_us);
        while (sleeper->fired == fired)
            loop_turn(sleeper->loop, true); /* hangs if nothing rings */
        CHECK_EQ(sleeper->fired, fired + 1);
    }
    sleeper_free(sleeper);
}
