/* bus_mem_test - what only bus_mem promises: several threads (meant for TSan too), and the bounds
 * of its table. */
#include "base/clock.h"
#include "base/mem.h"
#include "bus/bus_mem.h"
#include "bus/bus_mem_routes.h"
#include "loop/thread.h"
#include "testing/test.h"

#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>

/* --- threads that publish, receive and close ---
 *
 * Each has one endpoint that sends for as long as the test runs, and one that receives and is
 * closed and opened again all the time. Every message has to arrive once: at a receiver or as a
 * bounce. */

enum { THREADS = 4, MESSAGES = 20000, MESSAGES_PER_LIFE = 50, PATIENCE_S = 60 };

struct crowd {
    struct bus_mem *bus_mem;
    atomic_size_t received, bounced;
    atomic_size_t news; /* broadcast, not counted on */
};

struct member {
    struct crowd *crowd;
    struct loop *loop;
    struct bus *sender, *receiver;
    size_t published;
    size_t refused; /* ERR_FULL: tried again */
    bool in_time;
};

static void on_work(void *ctx, const struct bus_message *message)
{
    struct crowd *crowd = ctx;
    ASSERT(slice_eq_str(message->frame, "work"));
    atomic_fetch_add(&crowd->received, 1);
}

static void on_news(void *ctx, const struct bus_message *message)
{
    struct crowd *crowd = ctx;
    ASSERT(slice_eq_str(message->frame, "news"));
    atomic_fetch_add(&crowd->news, 1);
}

static void on_bounce(void *ctx, const struct bus_message *message, enum err why)
{
    struct crowd *crowd = ctx;
    ASSERT(why == ERR_NOT_FOUND || why == ERR_FULL || why == ERR_CLOSED);
    if (slice_eq_str(message->subject, "work"))
        atomic_fetch_add(&crowd->bounced, 1);
}

static void receiver_open(struct member *member)
{
    struct bus_subscription *subscription;
    member->receiver = bus_mem_open(member->crowd->bus_mem, member->loop);
    enum err err = bus_subscribe(member->receiver, SLICE("work"), SLICE("workers"), on_work,
                                 member->crowd, &subscription);
    ASSERT(err == ERR_OK);
    err = bus_subscribe(member->receiver, SLICE("news"), (struct slice){0}, on_news, member->crowd,
                        &subscription);
    ASSERT(err == ERR_OK);
}

static void publish_one(struct member *member)
{
    enum err err = bus_publish(member->sender, SLICE("work"), (struct slice){0}, SLICE("work"));
    ASSERT(err == ERR_OK || err == ERR_FULL);
    member->published += err == ERR_OK;
    member->refused += err == ERR_FULL;
    (void)bus_publish(member->sender, SLICE("news"), (struct slice){0}, SLICE("news"));
}

static bool all_have_arrived(const struct crowd *crowd)
{
    return atomic_load(&crowd->received) + atomic_load(&crowd->bounced) ==
           (size_t)THREADS * MESSAGES;
}

static void live(struct member *member)
{
    uint64_t give_up_us = clock_monotonic_us() + PATIENCE_S * UINT64_C(1000000);
    while (!all_have_arrived(member->crowd) && clock_monotonic_us() < give_up_us) {
        receiver_open(member);
        for (int i = 0; i < MESSAGES_PER_LIFE; i++) {
            if (member->published < MESSAGES)
                publish_one(member);
            if (i % 8 == 0)
                (void)loop_turn(member->loop, false);
        }
        bus_close(&member->receiver);
        sched_yield();
    }
    member->in_time = clock_monotonic_us() < give_up_us;
}

static void run_member(void *ctx)
{
    struct member *member = ctx;
    member->loop = loop_new();
    member->sender = bus_mem_open(member->crowd->bus_mem, member->loop);
    bus_on_bounce(member->sender, on_bounce, member->crowd);
    live(member);
    bus_close(&member->sender);
    while (loop_turn(member->loop, false))
        continue;
    loop_free(member->loop);
}

TEST(threads_that_publish_and_close_lose_nothing)
{
    struct crowd crowd = {.bus_mem = bus_mem_new(64 * 1024)};
    struct member members[THREADS] = {0};
    struct thread *threads[THREADS];
    for (int i = 0; i < THREADS; i++) {
        members[i].crowd = &crowd;
        CHECK_OK(thread_start("bus_mem_test", run_member, &members[i], &threads[i]));
    }
    for (int i = 0; i < THREADS; i++)
        thread_join(&threads[i]);
    for (int i = 0; i < THREADS; i++)
        CHECK(members[i].in_time);
    CHECK(all_have_arrived(&crowd));
    CHECK(atomic_load(&crowd.received) > 0);
    bus_mem_free(crowd.bus_mem);
}

/* --- the bounds of the table --- */

static void ignore(void *ctx, const struct bus_message *message)
{
    (void)ctx;
    (void)message;
}

TEST(subjects_are_bounded_and_given_back)
{
    struct loop *loop = loop_new_virtual(0);
    struct bus_mem *bus_mem = bus_mem_new(64 * 1024);
    struct bus *bus = bus_mem_open(bus_mem, loop), *other = bus_mem_open(bus_mem, loop);
    struct bus_subscription *last = NULL, *more = NULL;
    char subject[16];
    for (int i = 0; i < ROUTES_SUBJECTS_MAX; i++) {
        int len = snprintf(subject, sizeof(subject), "s.%d", i);
        CHECK_OK(bus_subscribe(bus, slice_of(subject, (size_t)len), (struct slice){0}, ignore, NULL,
                               &last));
    }
    CHECK_ERR(bus_subscribe(other, SLICE("t"), (struct slice){0}, ignore, NULL, &more), ERR_FULL);
    CHECK_OK(bus_subscribe(other, SLICE("s.7"), (struct slice){0}, ignore, NULL, &more));
    bus_unsubscribe(&more);
    CHECK_ERR(bus_subscribe(bus, SLICE("s.7"), (struct slice){0}, ignore, NULL, &more), ERR_FULL);
    bus_unsubscribe(&last);
    CHECK_OK(bus_subscribe(other, SLICE("t"), (struct slice){0}, ignore, NULL, &more));
    bus_close(&bus);
    bus_close(&other);
    loop_free(loop);
    bus_mem_free(bus_mem);
}

/* Long runs must not grow: what is delivered, bounced and closed is freed (LeakSanitizer sees the
 * rest), and the room it took is given back. */
TEST(the_room_of_delivered_and_bounced_frames_comes_back)
{
    struct loop *loop = loop_new_virtual(0);
    struct bus_mem *bus_mem = bus_mem_new(4096);
    struct bus *bus = bus_mem_open(bus_mem, loop);
    struct bus_subscription *subscription;
    char frame[1024] = {0};
    CHECK_OK(bus_subscribe(bus, SLICE("s"), (struct slice){0}, ignore, NULL, &subscription));
    for (int i = 0; i < 10000; i++) {
        CHECK_OK(bus_publish(bus, SLICE("s"), (struct slice){0}, slice_of(frame, sizeof(frame))));
        CHECK_OK(bus_publish(bus, SLICE("no"), (struct slice){0}, slice_of(frame, sizeof(frame))));
        loop_advance(loop, 0);
    }
    bus_close(&bus);
    loop_free(loop);
    bus_mem_free(bus_mem);
}
