/* bus_unix_test - what only bus_unix promises: exact caps, lazy acknowledgements, order when a
 * callback waits, frames in pieces, no switch, threads. bus_unix_life_test: who dies, or stops. */
#include "base/clock.h"
#include "bus/bus_link.h"
#include "bus/bus_unix_rig.h"
#include "testing/test.h"

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { CAP = 64 * 1024 };

/* --- waking up --- */

enum { BURST = 100 };

TEST(a_burst_arrives_whole_at_a_loop_that_sleeps)
{
    struct bus_rig rig;
    struct end a, b;
    bus_rig_start(&rig, CAP, RIG_NEVER_MS);
    end_open(&a, &rig);
    end_open(&b, &rig);
    end_subscribe(&b, "b");
    for (size_t round = 1; round <= 3; round++) {
        for (int i = 0; i < BURST; i++)
            end_publish(&a, "b", 100);
        end_wait(&b, &b.count, round * BURST);
        CHECK_EQ(b.count, round * BURST);
        CHECK_OK(bus_unix_sync(b.bus)); /* room again: a burst is more than half of the cap */
    }
    end_close(&b);
    end_close(&a);
    bus_rig_stop(&rig);
}

/* --- the cap --- */

static void check_cap(size_t cap, size_t sent, size_t delivered)
{
    struct bus_rig rig;
    struct end a, b;
    bus_rig_start(&rig, cap, RIG_NEVER_MS);
    end_open(&a, &rig);
    end_open(&b, &rig);
    end_subscribe(&b, "b");
    for (size_t i = 0; i < sent; i++)
        end_publish(&a, "b", 1000);
    CHECK_OK(bus_unix_sync(a.bus)); /* b has not turned */
    CHECK_EQ(bus_switch_count(rig.bus_switch).delivered, delivered);
    end_wait(&a, &a.bounced, sent - delivered);
    CHECK_EQ(a.bounced, sent - delivered);
    CHECK(sent == delivered || a.why == ERR_FULL);
    end_wait(&b, &b.count, delivered);
    CHECK_OK(bus_unix_sync(b.bus)); /* its acknowledgement is there: room again */
    end_publish(&a, "b", 1000);
    end_wait(&b, &b.count, delivered + 1);
    end_close(&b);
    end_close(&a);
    bus_rig_stop(&rig);
}

TEST(the_cap_is_exact)
{
    const struct envelope envelope = {.subject = {"b", 1}};
    size_t ten = 10 * bus_cost(&envelope, 1000);
    check_cap(ten - 1, 10, 9);
    check_cap(ten, 10, 10);
    check_cap(ten, 11, 10);
    check_cap(ten + 1, 11, 10);
}

TEST(the_largest_frame_is_exact)
{
    struct bus_rig rig;
    struct end a;
    static char block[CAP];
    size_t most = CAP - BUS_OVERHEAD_MAX;
    bus_rig_start(&rig, CAP, RIG_NEVER_MS);
    end_open(&a, &rig);
    end_subscribe(&a, "a");
    for (size_t len = most - 1; len <= most + 1; len++)
        CHECK_ERR(bus_publish(a.bus, SLICE("a"), (struct slice){0}, slice_of(block, len)),
                  len <= most ? ERR_OK : ERR_LIMIT);
    end_wait(&a, &a.count, 1);
    end_wait(&a, &a.bounced, 1); /* two do not fit at once */
    end_close(&a);
    bus_rig_stop(&rig);
}

/* --- acknowledging --- */

static size_t waiting_at(const struct bus_rig *rig)
{
    return bus_switch_count(rig->bus_switch).waiting;
}

TEST(few_small_frames_are_acknowledged_with_what_is_said_next)
{
    struct bus_rig rig;
    struct end a, b;
    bus_rig_start(&rig, CAP, RIG_NEVER_MS);
    end_open(&a, &rig);
    end_open(&b, &rig);
    end_subscribe(&b, "b");
    for (int i = 0; i < 10; i++)
        end_publish(&a, "b", 10);
    end_wait(&b, &b.count, 10);
    CHECK_OK(bus_unix_sync(a.bus));
    CHECK_EQ(waiting_at(&rig), 10);
    CHECK_OK(bus_unix_sync(b.bus));
    CHECK_EQ(waiting_at(&rig), 0);
    end_close(&b);
    end_close(&a);
    bus_rig_stop(&rig);
}

TEST(many_bytes_are_acknowledged_at_once)
{
    struct bus_rig rig;
    struct end a, b;
    bus_rig_start(&rig, CAP, RIG_NEVER_MS);
    end_open(&a, &rig);
    end_open(&b, &rig);
    end_subscribe(&b, "b");
    for (size_t i = 1; i <= 1000; i++) { /* 20 caps, and b says nothing */
        end_publish(&a, "b", 1000);
        end_wait(&b, &b.count, i);
        CHECK_OK(bus_unix_sync(a.bus)); /* the switch has read what b said before that */
        CHECK(waiting_at(&rig) <= CAP / 4 / 1000);
    }
    (void)loop_turn(a.loop, false);
    CHECK_EQ(a.bounced, 0);
    end_close(&b);
    end_close(&a);
    bus_rig_stop(&rig);
}

struct answerer {
    struct end end;
    struct bus_subscription *subscription;
};

static void answer(void *ctx, const struct bus_message *message)
{
    struct answerer *answerer = ctx;
    CHECK_OK(bus_publish(answerer->end.bus, message->reply, (struct slice){0}, message->frame));
}

TEST(who_hears_of_a_frames_effect_knows_that_it_is_acknowledged)
{
    struct bus_rig rig;
    struct end a;
    struct answerer b;
    uint64_t until_us = clock_monotonic_us() + RIG_PATIENCE_US;
    bus_rig_start(&rig, CAP, RIG_NEVER_MS);
    end_open(&a, &rig);
    end_open(&b.end, &rig);
    end_subscribe(&a, "a");
    CHECK_OK(bus_subscribe(b.end.bus, SLICE("b"), (struct slice){0}, answer, &b, &b.subscription));
    for (size_t i = 1; i <= 100; i++) {
        CHECK_OK(bus_publish(a.bus, SLICE("b"), SLICE("a"), SLICE("question")));
        (void)loop_turn(a.loop, false);
        while (bus_switch_count(rig.bus_switch).delivered < 2 * i &&
               clock_monotonic_us() < until_us) {
            deadline_after(&b.end.alarm, 1000);
            (void)loop_turn(b.end.loop, true);
        }
        end_wait(&a, &a.count, i);
        CHECK_EQ(waiting_at(&rig), 1); /* the answer itself */
        CHECK_OK(bus_unix_sync(a.bus));
    }
    end_close(&b.end);
    end_close(&a);
    bus_rig_stop(&rig);
}

/* --- what comes while a callback waits for the switch --- */

enum { NUMBERED = 200 };

struct counter {
    struct end end;
    struct bus_subscription *numbers, *later[NUMBERED];
    uint32_t next;
    bool broken;
};

static void count_and_subscribe(void *ctx, const struct bus_message *message)
{
    struct counter *counter = ctx;
    uint32_t number;
    memcpy(&number, message->frame.data, sizeof(number));
    counter->broken |= number != counter->next++;
    if (number % 50 == 3)
        CHECK_OK(bus_subscribe(counter->end.bus, SLICE("later"), (struct slice){0},
                               count_and_subscribe, counter, &counter->later[number]));
}

TEST(order_holds_when_a_callback_subscribes)
{
    struct bus_rig rig;
    struct end a;
    static struct counter b;
    bus_rig_start(&rig, CAP * 4, RIG_NEVER_MS);
    end_open(&a, &rig);
    end_open(&b.end, &rig);
    CHECK_OK(bus_subscribe(b.end.bus, SLICE("numbers"), (struct slice){0}, count_and_subscribe, &b,
                           &b.numbers));
    for (uint32_t i = 0; i < NUMBERED; i++)
        CHECK_OK(bus_publish(a.bus, SLICE("numbers"), (struct slice){0}, slice_of(&i, sizeof(i))));
    CHECK_OK(bus_unix_sync(a.bus)); /* all of it lies before b */
    uint64_t until_us = clock_monotonic_us() + RIG_PATIENCE_US;
    while (b.next < NUMBERED && clock_monotonic_us() < until_us) {
        deadline_after(&b.end.alarm, 1000);
        (void)loop_turn(b.end.loop, true);
    }
    CHECK_EQ(b.next, NUMBERED);
    CHECK(!b.broken);
    end_close(&b.end);
    end_close(&a);
    bus_rig_stop(&rig);
}

/* --- frames that are larger than a socket takes --- */

enum { LARGE = 3 * 1024 * 1024, LARGE_COUNT = 4 };

static char large_byte(size_t number, size_t at)
{
    return (char)(uint8_t)(number * 31 + at * 7 + at / 256);
}

static void check_large(void *ctx, const struct bus_message *message)
{
    size_t *count = ctx;
    CHECK_EQ(message->frame.len, LARGE);
    for (size_t at = 0; at < LARGE; at++)
        if (message->frame.data[at] != large_byte(*count, at))
            CHECK(!"it is not what was sent");
    ++*count;
}

TEST(large_frames_pass_in_pieces_and_others_between_them)
{
    struct bus_rig rig;
    struct end a, b, c;
    size_t count = 0;
    struct bus_subscription *subscription;
    char *bytes = malloc(LARGE);
    bus_rig_start(&rig, 2 * LARGE_COUNT * LARGE, RIG_NEVER_MS);
    end_open(&a, &rig);
    end_open(&b, &rig);
    end_open(&c, &rig);
    end_subscribe(&c, "c");
    CHECK_OK(
        bus_subscribe(b.bus, SLICE("b"), (struct slice){0}, check_large, &count, &subscription));
    for (size_t number = 0; number < LARGE_COUNT; number++) {
        for (size_t at = 0; at < LARGE; at++)
            bytes[at] = large_byte(number, at);
        CHECK_OK(bus_publish(a.bus, SLICE("b"), (struct slice){0}, slice_of(bytes, LARGE)));
    }
    CHECK_OK(bus_unix_sync(a.bus)); /* b does not read: the switch keeps what the socket does not */
    end_publish(&a, "c", 10);
    end_wait(&c, &c.count, 1);
    end_wait(&b, &count, LARGE_COUNT);
    free(bytes);
    end_close(&c);
    end_close(&b);
    end_close(&a);
    bus_rig_stop(&rig);
}

/* --- no switch --- */

TEST(without_a_switch_opening_ends_in_time)
{
    struct bus_rig rig;
    struct bus_unix *bus_unix;
    struct bus *bus = NULL;
    bus_rig_make_directory(&rig);
    CHECK_OK(bus_unix_new(rig.directory, &bus_unix));
    struct loop *loop = loop_new();
    CHECK_ERR(bus_unix_open(bus_unix, loop, 50, &bus), ERR_TIMEOUT);
    CHECK(bus == NULL);
    loop_free(loop);
    bus_unix_free(bus_unix);
    CHECK(rmdir(rig.directory) == 0);
}

static void on_none(void *ctx, const struct bus_message *message)
{
    (void)ctx; /* it is never subscribed */
    (void)message;
}

TEST(when_the_switch_is_back_the_endpoints_join_with_their_subscriptions)
{
    struct bus_rig rig;
    struct end a;
    bus_rig_start(&rig, CAP, 500);
    end_open(&a, &rig);
    end_subscribe(&a, "a");
    bus_rig_stop_switch(&rig);
    struct bus_subscription *none;
    CHECK_ERR(bus_subscribe(a.bus, SLICE("b"), (struct slice){0}, on_none, NULL, &none),
              ERR_TIMEOUT);
    uint64_t until_us = clock_monotonic_us() + RIG_PATIENCE_US;
    enum err err = ERR_OK;
    while (err != ERR_FULL && clock_monotonic_us() < until_us) {
        (void)loop_turn(a.loop, true);
        err = bus_publish(a.bus, SLICE("a"), (struct slice){0}, (struct slice){0});
    }
    CHECK_ERR(err, ERR_FULL); /* it has noticed: no way out */
    bus_rig_start_in(&rig, CAP, 500);
    while (a.count == 0 && clock_monotonic_us() < until_us) {
        (void)bus_publish(a.bus, SLICE("a"), (struct slice){0}, (struct slice){0}); /* ERR_FULL */
        (void)loop_turn(a.loop, true);
    }
    CHECK(a.count > 0);
    end_close(&a);
    bus_rig_stop(&rig);
}

/* --- threads --- */

enum { THREADS = 4, MESSAGES = 5000 };

struct crowd {
    const struct bus_rig *rig;
    atomic_size_t received, settled;
};

static void on_crowd_message(void *ctx, const struct bus_message *message)
{
    struct crowd *crowd = ctx;
    ASSERT(message->frame.len == 100 && message->frame.data[99] == 'x');
    atomic_fetch_add(&crowd->received, 1);
}

static void on_crowd_bounce(void *ctx, const struct bus_message *message, enum err why)
{
    struct crowd *crowd = ctx;
    (void)message; /* counting is enough */
    ASSERT_MSG(why == ERR_FULL, "%s", err_name(why));
    atomic_fetch_add(&crowd->settled, 1);
}

/* Publishes to all, one of whom gets each; a member of the crowd leaves when all has arrived. */
static void run_member(void *ctx)
{
    struct crowd *crowd = ctx;
    struct end end = {0};
    char frame[100];
    memset(frame, 'x', sizeof(frame));
    end_open(&end, crowd->rig);
    bus_on_bounce(end.bus, on_crowd_bounce, crowd);
    ASSERT(bus_subscribe(end.bus, SLICE("work"), SLICE("crowd"), on_crowd_message, crowd,
                         &end.subscription) == ERR_OK);
    uint64_t until_us = clock_monotonic_us() + RIG_PATIENCE_US;
    for (size_t sent = 0; sent < MESSAGES && clock_monotonic_us() < until_us;) {
        enum err err =
            bus_publish(end.bus, SLICE("work"), (struct slice){0}, slice_of(frame, sizeof(frame)));
        sent += err == ERR_OK;
        if (err == ERR_FULL || sent % 16 == 0)
            (void)loop_turn(end.loop, false);
    }
    while (atomic_load(&crowd->received) + atomic_load(&crowd->settled) < THREADS * MESSAGES &&
           clock_monotonic_us() < until_us) {
        deadline_after(&end.alarm, 1000);
        (void)loop_turn(end.loop, true);
    }
    end_close(&end);
}

TEST(between_threads_every_message_ends_once)
{
    struct bus_rig rig;
    struct thread *threads[THREADS];
    bus_rig_start(&rig, CAP, RIG_NEVER_MS);
    struct crowd crowd = {.rig = &rig};
    for (int i = 0; i < THREADS; i++)
        CHECK_OK(thread_start("member", run_member, &crowd, &threads[i]));
    for (int i = 0; i < THREADS; i++)
        thread_join(&threads[i]);
    CHECK_EQ(atomic_load(&crowd.received) + atomic_load(&crowd.settled), THREADS * MESSAGES);
    bus_rig_stop(&rig);
}
