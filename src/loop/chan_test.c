/* chan_test - the door of a plain thread: bounds, waiting, order. */
#include "loop/mailbox.h"

#include "base/clock.h"
#include "loop/thread.h"
#include "testing/test.h"

#include <sched.h>

struct letter {
    struct mail mail; /* first: a mail is its letter */
    int producer, number;
};

TEST(the_bound_holds_at_n_and_refuses_n_plus_1)
{
    struct chan *chan = chan_new(2);
    struct letter letters[3];
    for (int round = 0; round < 3; round++) {
        for (int i = 0; i < 2; i++) {
            struct mail *mail = &letters[i].mail;
            CHECK_OK(chan_post(chan, &mail));
            CHECK(mail == NULL);
        }
        struct mail *extra = &letters[2].mail;
        CHECK_ERR(chan_post(chan, &extra), ERR_FULL);
        CHECK(extra == &letters[2].mail);
        CHECK(chan_take(chan, 0) == &letters[0].mail);
        CHECK(chan_take(chan, UINT64_MAX) == &letters[1].mail);
        CHECK(chan_take(chan, 0) == NULL);
    }
    chan_free(chan);
    chan_free(NULL);
}

TEST(an_empty_chan_is_waited_on_for_the_whole_timeout)
{
    struct chan *chan = chan_new(1);
    uint64_t before_us = clock_monotonic_us();
    CHECK(chan_take(chan, 3000) == NULL);
    CHECK(clock_monotonic_us() >= before_us + 3000);
    chan_free(chan);
}

enum { PRODUCERS = 4, LETTERS = 4000 };

struct producer {
    struct chan *chan;
    int index;
    struct letter letters[LETTERS];
};

static void produce(void *ctx)
{
    struct producer *producer = ctx;
    for (int i = 0; i < LETTERS; i++) {
        struct mail *mail = &producer->letters[i].mail;
        producer->letters[i].producer = producer->index;
        producer->letters[i].number = i;
        while (chan_post(producer->chan, &mail) != ERR_OK)
            sched_yield();
    }
}

/* Long, endless and overflowing waits, and looking only: each gets its share. */
static struct mail *take_somehow(struct chan *chan, int count)
{
    static const uint64_t timeouts_us[] = {UINT64_MAX, 60000000, UINT64_MAX - 1};
    if (count % 4 < 3)
        return chan_take(chan, timeouts_us[count % 4]);
    struct mail *mail;
    while (!(mail = chan_take(chan, 0)))
        sched_yield();
    return mail;
}

TEST(four_threads_lose_nothing_and_each_keeps_its_order)
{
    static struct producer producers[PRODUCERS];
    struct thread *threads[PRODUCERS];
    struct chan *chan = chan_new(16);
    int next[PRODUCERS] = {0};
    for (int i = 0; i < PRODUCERS; i++) {
        producers[i].chan = chan;
        producers[i].index = i;
        CHECK_OK(thread_start("producer", produce, &producers[i], &threads[i]));
    }
    for (int count = 0; count < PRODUCERS * LETTERS; count++) {
        struct letter *letter = (struct letter *)take_somehow(chan, count);
        CHECK(letter != NULL);
        CHECK_EQ(letter->number, next[letter->producer]);
        next[letter->producer]++;
    }
    for (int i = 0; i < PRODUCERS; i++)
        thread_join(&threads[i]);
    CHECK(chan_take(chan, 0) == NULL);
    chan_free(chan);
}

struct echo {
    struct chan *there, *back;
};

static void echo_until_stopped(void *ctx)
{
    struct echo *echo = ctx;
    int number;
    do {
        struct mail *mail = chan_take(echo->there, UINT64_MAX);
        number = ((struct letter *)mail)->number;
        ASSERT(chan_post(echo->back, &mail) == ERR_OK);
    } while (number > 0);
}

/* Both sides fall asleep again and again: a lost wake-up would hang here. */
TEST(every_post_wakes_the_sleeper)
{
    struct echo echo = {chan_new(1), chan_new(1)};
    struct thread *thread;
    CHECK_OK(thread_start("echo", echo_until_stopped, &echo, &thread));
    for (int number = 2000; number >= 0; number--) {
        struct letter letter = {.number = number};
        struct mail *mail = &letter.mail;
        CHECK_OK(chan_post(echo.there, &mail));
        CHECK(chan_take(echo.back, number % 2 ? UINT64_MAX : 60000000) == &letter.mail);
    }
    thread_join(&thread);
    chan_free(echo.there);
    chan_free(echo.back);
}
