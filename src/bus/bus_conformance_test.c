/* bus_conformance_test - what every transport promises in bus.h. A transport joins by a line in
 * `transports`: how to open endpoints on a few loops, and how to let everything under way arrive.
 */
#include "base/mem.h"
#include "bus/bus_world.h"
#include "testing/test.h"

#include <stdlib.h>

enum { PEER_BYTES_MAX = WORLD_PEER_BYTES_MAX };

static const struct transport *transport; /* the one that is being tested */

static struct world world_open(void)
{
    struct world world = {0};
    transport->open(&world);
    return world;
}

static void settle(struct world *world)
{
    transport->settle(world);
}

static void world_close(struct world *world)
{
    bus_close(&world->a);
    bus_close(&world->b);
    bus_close(&world->c);
    settle(world);
    transport->close(world);
}

/* A TEST that runs against every transport. */
#define CONFORMS(name)                                                                             \
    static void name##_on_one(void);                                                               \
    TEST(name)                                                                                     \
    {                                                                                              \
        for (size_t i = 0; i < transport_count; i++) {                                             \
            transport = &transports[i];                                                            \
            name##_on_one();                                                                       \
        }                                                                                          \
    }                                                                                              \
    static void name##_on_one(void)

/* What came, by message or by bounce; the last one copied. */
struct log {
    size_t count;
    size_t bytes;
    char subject[256], reply[256], frame[256];
    enum err why;
    struct bus_subscription *subscription;
};

static void copy(char *to, struct slice from)
{
    size_t len = from.len < 255 ? from.len : 255;
    if (len)
        memcpy(to, from.data, len);
    to[len] = 0;
}

static void log_message(void *ctx, const struct bus_message *message)
{
    struct log *log = ctx;
    log->count++;
    log->bytes += message->frame.len;
    copy(log->subject, message->subject);
    copy(log->reply, message->reply);
    copy(log->frame, message->frame);
}

static void log_bounce(void *ctx, const struct bus_message *message, enum err why)
{
    struct log *log = ctx;
    log_message(ctx, message);
    log->why = why;
}

static void subscribe(struct bus *bus, const char *subject, const char *group, struct log *log)
{
    CHECK_OK(bus_subscribe(bus, slice_str(subject), slice_str(group), log_message, log,
                           &log->subscription));
}

static void publish(struct bus *bus, const char *subject, const char *frame)
{
    CHECK_OK(bus_publish(bus, slice_str(subject), SLICE("reply.here"), slice_str(frame)));
}

/* --- delivering --- */

CONFORMS(a_message_arrives_as_it_was_sent_and_from_the_loop)
{
    struct world world = world_open();
    struct log log = {0};
    subscribe(world.b, "one.subject", "", &log);
    publish(world.a, "one.subject", "a frame");
    CHECK_EQ(log.count, 0);
    settle(&world);
    CHECK_EQ(log.count, 1);
    CHECK_STR(log.subject, "one.subject");
    CHECK_STR(log.reply, "reply.here");
    CHECK_STR(log.frame, "a frame");
    world_close(&world);
}

CONFORMS(the_frame_is_copied_when_it_is_published)
{
    struct world world = world_open();
    struct log log = {0};
    char frame[] = "before", subject[] = "s";
    subscribe(world.b, "s", "", &log);
    CHECK_OK(bus_publish(world.a, slice_str(subject), (struct slice){0}, slice_str(frame)));
    memcpy(frame, "after!", 6);
    subject[0] = 'x';
    settle(&world);
    CHECK_STR(log.subject, "s");
    CHECK_STR(log.reply, "");
    CHECK_STR(log.frame, "before");
    world_close(&world);
}

CONFORMS(an_empty_frame_is_a_message)
{
    struct world world = world_open();
    struct log log = {0};
    subscribe(world.b, "s", "", &log);
    CHECK_OK(bus_publish(world.a, SLICE("s"), (struct slice){0}, (struct slice){0}));
    settle(&world);
    CHECK_EQ(log.count, 1);
    CHECK_EQ(log.bytes, 0);
    world_close(&world);
}

CONFORMS(without_a_group_everybody_gets_it_the_sender_too)
{
    struct world world = world_open();
    struct log logs[4] = {0};
    subscribe(world.a, "news", "", &logs[0]);
    subscribe(world.b, "news", "", &logs[1]);
    subscribe(world.c, "news", "", &logs[2]);
    subscribe(world.c, "news", "", &logs[3]);
    publish(world.a, "news", "x");
    settle(&world);
    for (int i = 0; i < 4; i++)
        CHECK_EQ(logs[i].count, 1);
    world_close(&world);
}

CONFORMS(a_group_shares_its_messages_evenly)
{
    struct world world = world_open();
    struct log b = {0}, c = {0}, other = {0}, alone = {0}, bounced = {0};
    subscribe(world.b, "work", "workers", &b);
    subscribe(world.a, "work", "", &alone);
    subscribe(world.c, "work", "workers", &c);
    subscribe(world.c, "work", "others", &other);
    bus_on_bounce(world.a, log_bounce, &bounced);
    for (int i = 0; i < 10; i++)
        publish(world.a, "work", "x");
    settle(&world);
    CHECK_EQ(b.count, 5);
    CHECK_EQ(c.count, 5);
    CHECK_EQ(other.count, 10);
    CHECK_EQ(alone.count, 10);
    CHECK_EQ(bounced.count, 0);
    world_close(&world);
}

CONFORMS(a_subject_is_matched_whole)
{
    struct world world = world_open();
    struct log log = {0}, bounced = {0};
    subscribe(world.b, "submit.llama", "", &log);
    bus_on_bounce(world.a, log_bounce, &bounced);
    publish(world.a, "submit", "x");
    publish(world.a, "submit.llama2", "x");
    publish(world.a, "submit.llam", "x");
    publish(world.a, "submit.*", "x");
    settle(&world);
    CHECK_EQ(log.count, 0);
    CHECK_EQ(bounced.count, 4);
    world_close(&world);
}

struct order {
    uint32_t next;
    bool broken;
};

static void check_order(void *ctx, const struct bus_message *message)
{
    struct order *order = ctx;
    uint32_t number;
    memcpy(&number, message->frame.data, sizeof(number));
    order->broken |= number != order->next;
    order->next = number + 1;
}

CONFORMS(frames_of_one_sender_keep_their_order)
{
    struct world world = world_open();
    struct order order = {0};
    struct bus_subscription *subscription;
    CHECK_OK(
        bus_subscribe(world.b, SLICE("s"), (struct slice){0}, check_order, &order, &subscription));
    for (uint32_t i = 0; i < 5000; i++) {
        CHECK_OK(bus_publish(world.a, SLICE("s"), (struct slice){0}, slice_of(&i, sizeof(i))));
        if (i % 97 == 0)
            settle(&world);
    }
    settle(&world);
    CHECK_EQ(order.next, 5000);
    CHECK(!order.broken);
    world_close(&world);
}

static void answer(void *ctx, const struct bus_message *message)
{
    CHECK_OK(bus_publish(ctx, message->reply, (struct slice){0}, SLICE("answer")));
}

CONFORMS(an_inbox_is_where_answers_reach_one_endpoint)
{
    struct world world = world_open();
    struct log log = {0};
    struct bus_subscription *subscription;
    CHECK(!slice_eq(bus_inbox(world.a), bus_inbox(world.b)));
    CHECK(bus_inbox(world.a).len <= BUS_SUBJECT_MAX_BYTES);
    CHECK(bus_loop(world.a) == world.loop_of_a);
    CHECK_OK(bus_subscribe(world.a, bus_inbox(world.a), (struct slice){0}, log_message, &log,
                           &log.subscription));
    CHECK_OK(
        bus_subscribe(world.b, SLICE("ask"), (struct slice){0}, answer, world.b, &subscription));
    CHECK_OK(bus_publish(world.a, SLICE("ask"), bus_inbox(world.a), SLICE("question")));
    settle(&world);
    CHECK_EQ(log.count, 1);
    CHECK_STR(log.frame, "answer");
    world_close(&world);
}

/* --- bouncing --- */

CONFORMS(what_nobody_subscribed_to_comes_back_once_from_the_loop)
{
    struct world world = world_open();
    struct log bounced = {0}, others = {0};
    bus_on_bounce(world.a, log_bounce, &bounced);
    bus_on_bounce(world.b, log_bounce, &others);
    publish(world.a, "nobody", "lost");
    CHECK_EQ(bounced.count, 0);
    settle(&world);
    CHECK_EQ(bounced.count, 1);
    CHECK_EQ(bounced.why, ERR_NOT_FOUND);
    CHECK_STR(bounced.subject, "nobody");
    CHECK_STR(bounced.reply, "reply.here");
    CHECK_STR(bounced.frame, "lost");
    CHECK_EQ(others.count, 0);
    world_close(&world);
}

CONFORMS(without_a_bounce_handler_nothing_happens)
{
    struct world world = world_open();
    publish(world.a, "nobody", "lost");
    settle(&world);
    world_close(&world);
}

CONFORMS(after_unsubscribe_nothing_comes_not_even_what_was_under_way)
{
    struct world world = world_open();
    struct log log = {0}, bounced = {0};
    bus_on_bounce(world.a, log_bounce, &bounced);
    subscribe(world.b, "s", "", &log);
    publish(world.a, "s", "x");
    bus_unsubscribe(&log.subscription);
    CHECK(log.subscription == NULL);
    bus_unsubscribe(&log.subscription); /* harmless */
    settle(&world);
    CHECK_EQ(log.count, 0);
    CHECK_EQ(bounced.count, 1);
    CHECK_EQ(bounced.why, ERR_NOT_FOUND);
    subscribe(world.b, "s", "", &log);
    publish(world.a, "s", "y");
    settle(&world);
    CHECK_EQ(log.count, 1);
    CHECK_STR(log.frame, "y");
    world_close(&world);
}

CONFORMS(what_waits_for_an_endpoint_that_closes_comes_back)
{
    struct world world = world_open();
    struct log log = {0}, bounced = {0};
    bus_on_bounce(world.a, log_bounce, &bounced);
    subscribe(world.b, "s", "", &log);
    publish(world.a, "s", "1");
    publish(world.a, "s", "2");
    transport->arrive(&world);
    bus_close(&world.b);
    CHECK(world.b == NULL);
    settle(&world);
    CHECK_EQ(log.count, 0);
    CHECK_EQ(bounced.count, 2);
    CHECK_EQ(bounced.why, ERR_CLOSED);
    CHECK_STR(bounced.frame, "2");
    publish(world.a, "s", "3");
    settle(&world);
    CHECK_EQ(bounced.count, 3);
    CHECK_EQ(bounced.why, ERR_NOT_FOUND);
    world_close(&world);
}

CONFORMS(a_sender_that_closes_takes_its_bounces_along)
{
    struct world world = world_open();
    struct log log = {0}, bounced = {0};
    bus_on_bounce(world.a, log_bounce, &bounced);
    subscribe(world.b, "s", "", &log);
    publish(world.a, "nobody", "1");
    publish(world.a, "s", "2");
    bus_close(&world.a);
    settle(&world);
    CHECK_EQ(bounced.count, 0);
    CHECK_EQ(log.count, 1); /* what it had sent is delivered */
    world_close(&world);
}

/* --- what is full --- */

static char block[1024];

static void publish_block(struct bus *bus, const char *subject)
{
    CHECK_OK(
        bus_publish(bus, slice_str(subject), (struct slice){0}, slice_of(block, sizeof(block))));
}

/* More than fits, without the receiver's loop turning; returns how many were taken. */
static size_t fill(struct bus *bus, const char *subject)
{
    size_t taken = 0;
    for (size_t sent = 0; sent < 4 * PEER_BYTES_MAX / sizeof(block); sent++) {
        enum err err =
            bus_publish(bus, slice_str(subject), (struct slice){0}, slice_of(block, sizeof(block)));
        CHECK(err == ERR_OK || err == ERR_FULL);
        taken += err == ERR_OK;
    }
    return taken;
}

CONFORMS(a_full_receiver_bounces_and_holds_up_nobody)
{
    struct world world = world_open();
    struct log b = {0}, c = {0}, bounced = {0};
    bus_on_bounce(world.a, log_bounce, &bounced);
    subscribe(world.b, "b", "", &b);
    subscribe(world.c, "c", "", &c);
    size_t taken = fill(world.a, "b");
    publish(world.a, "c", "still goes");
    settle(&world);
    CHECK_EQ(b.count + bounced.count, taken);
    CHECK(bounced.count > 0);
    CHECK(b.bytes > PEER_BYTES_MAX / 2); /* most of the cap is for frames */
    CHECK(b.bytes <= PEER_BYTES_MAX);
    CHECK_EQ(bounced.why, ERR_FULL);
    CHECK_EQ(c.count, 1);
    size_t before = b.count;
    publish_block(world.a, "b"); /* room again */
    settle(&world);
    CHECK_EQ(b.count, before + 1);
    world_close(&world);
}

CONFORMS(a_broadcast_reaches_the_others_when_one_is_full)
{
    struct world world = world_open();
    struct log b = {0}, b_news = {0}, c_news = {0}, bounced = {0};
    bus_on_bounce(world.a, log_bounce, &bounced);
    subscribe(world.b, "b", "", &b);
    subscribe(world.b, "news", "", &b_news);
    subscribe(world.c, "news", "", &c_news);
    (void)fill(world.a, "b");
    publish_block(world.a, "news");
    settle(&world);
    CHECK_EQ(b_news.count, 0);
    CHECK_EQ(c_news.count, 1);
    CHECK_STR(bounced.subject, "news"); /* b's copy, the last to come back */
    CHECK_EQ(bounced.why, ERR_FULL);
    world_close(&world);
}

CONFORMS(a_group_passes_over_its_full_member)
{
    struct world world = world_open();
    struct log b = {0}, b_work = {0}, c_work = {0}, bounced = {0};
    bus_on_bounce(world.a, log_bounce, &bounced);
    subscribe(world.b, "b", "", &b);
    subscribe(world.b, "work", "workers", &b_work);
    subscribe(world.c, "work", "workers", &c_work);
    (void)fill(world.a, "b");
    for (int i = 0; i < 10; i++)
        publish_block(world.a, "work");
    settle(&world);
    CHECK_EQ(b_work.count + c_work.count, 10);
    CHECK_EQ(c_work.count, 10);
    world_close(&world);
}

/* As many as are taken in one go, without the loop turning in between. */
static size_t publish_to_nobody_until_full(struct bus *bus)
{
    for (size_t count = 0; count < 1000000; count++) {
        enum err err = bus_publish(bus, SLICE("nobody"), (struct slice){0}, SLICE("x"));
        if (err == ERR_OK)
            continue;
        CHECK_ERR(err, ERR_FULL);
        return count;
    }
    CHECK(!"bounces are without bound");
    return 0;
}

CONFORMS(a_sender_that_does_not_look_at_its_bounces_is_refused)
{
    struct world world = world_open();
    struct log bounced = {0};
    bus_on_bounce(world.a, log_bounce, &bounced);
    size_t taken = publish_to_nobody_until_full(world.a);
    settle(&world);
    CHECK_EQ(bounced.count, taken); /* and none was lost */
    publish(world.a, "nobody", "x");
    settle(&world);
    CHECK_EQ(bounced.count, taken + 1);
    world_close(&world);
}

CONFORMS(lengths_are_held_to_their_limits)
{
    struct world world = world_open();
    struct bus_subscription *subscription = NULL;
    struct log log = {0};
    char *bytes = calloc(1, PEER_BYTES_MAX + 1);
    for (size_t len = 0; len <= BUS_SUBJECT_MAX_BYTES + 1; len++) {
        struct slice subject = slice_of(memset(bytes, 'x', len), len);
        bool fits = len >= 1 && len <= BUS_SUBJECT_MAX_BYTES;
        CHECK_ERR(bus_publish(world.a, subject, (struct slice){0}, SLICE("")),
                  fits ? ERR_OK : ERR_LIMIT);
        CHECK_ERR(
            bus_subscribe(world.b, subject, (struct slice){0}, log_message, &log, &subscription),
            fits ? ERR_OK : ERR_LIMIT);
        bus_unsubscribe(&subscription);
    }
    struct slice longest = slice_of(bytes, BUS_SUBJECT_MAX_BYTES);
    struct slice too_long = slice_of(bytes, BUS_SUBJECT_MAX_BYTES + 1);
    CHECK_OK(bus_publish(world.a, SLICE("s"), longest, SLICE("")));
    CHECK_ERR(bus_publish(world.a, SLICE("s"), too_long, SLICE("")), ERR_LIMIT);
    CHECK_ERR(bus_subscribe(world.b, SLICE("s"), too_long, log_message, &log, &subscription),
              ERR_LIMIT);
    CHECK_OK(bus_subscribe(world.b, SLICE("s"), longest, log_message, &log, &subscription));

    struct slice too_large = slice_of(bytes, PEER_BYTES_MAX + 1);
    CHECK_ERR(bus_publish(world.a, SLICE("s"), (struct slice){0}, too_large), ERR_LIMIT);
    free(bytes);
    world_close(&world);
}

CONFORMS(the_largest_frame_that_is_taken_arrives)
{
    struct world world = world_open();
    struct log log = {0};
    char *bytes = calloc(1, PEER_BYTES_MAX);
    size_t len = PEER_BYTES_MAX;
    subscribe(world.b, "s", "", &log);
    while (bus_publish(world.a, SLICE("s"), (struct slice){0}, slice_of(bytes, len)) != ERR_OK)
        CHECK(--len > PEER_BYTES_MAX / 2);
    settle(&world);
    CHECK_EQ(log.bytes, len);
    free(bytes);
    world_close(&world);
}

CONFORMS(without_memory_publish_is_refused_and_nothing_happens)
{
    struct world world = world_open();
    struct log log = {0}, bounced = {0};
    bus_on_bounce(world.a, log_bounce, &bounced);
    subscribe(world.b, "s", "", &log);
    mem_test_fail_nth(1);
    CHECK_ERR(bus_publish(world.a, SLICE("s"), (struct slice){0}, SLICE("x")), ERR_LIMIT);
    mem_test_fail_nth(0);
    settle(&world);
    CHECK_EQ(log.count + bounced.count, 0);
    world_close(&world);
}

/* --- callbacks that change what is around them --- */

struct actor {
    struct world *world;
    struct bus_subscription *subscription;
    size_t count;
};

static void unsubscribe_self(void *ctx, const struct bus_message *message)
{
    struct actor *actor = ctx;
    (void)message;
    actor->count++;
    bus_unsubscribe(&actor->subscription);
}

CONFORMS(a_callback_may_unsubscribe_itself)
{
    struct world world = world_open();
    struct actor actor = {.world = &world};
    struct log bounced = {0};
    bus_on_bounce(world.a, log_bounce, &bounced);
    CHECK_OK(bus_subscribe(world.b, SLICE("s"), (struct slice){0}, unsubscribe_self, &actor,
                           &actor.subscription));
    publish(world.a, "s", "1");
    publish(world.a, "s", "2");
    settle(&world);
    CHECK_EQ(actor.count, 1);
    CHECK_EQ(bounced.count, 1);
    world_close(&world);
}

static void close_b(void *ctx, const struct bus_message *message)
{
    struct actor *actor = ctx;
    (void)message;
    actor->count++;
    bus_close(&actor->world->b);
}

CONFORMS(a_callback_may_close_its_endpoint)
{
    struct world world = world_open();
    struct actor actor = {.world = &world};
    struct log bounced = {0};
    bus_on_bounce(world.a, log_bounce, &bounced);
    CHECK_OK(bus_subscribe(world.b, SLICE("s"), (struct slice){0}, close_b, &actor,
                           &actor.subscription));
    publish(world.a, "s", "1");
    publish(world.a, "s", "2");
    settle(&world);
    CHECK_EQ(actor.count, 1);
    CHECK_EQ(bounced.count, 1);
    CHECK_EQ(bounced.why, ERR_CLOSED);
    world_close(&world);
}

static void close_a_on_bounce(void *ctx, const struct bus_message *message, enum err why)
{
    struct actor *actor = ctx;
    (void)message;
    CHECK_EQ(why, ERR_NOT_FOUND);
    actor->count++;
    bus_close(&actor->world->a);
}

CONFORMS(a_bounce_handler_may_close_its_endpoint)
{
    struct world world = world_open();
    struct actor actor = {.world = &world};
    bus_on_bounce(world.a, close_a_on_bounce, &actor);
    publish(world.a, "nobody", "1");
    publish(world.a, "nobody", "2");
    settle(&world);
    CHECK_EQ(actor.count, 1);
    world_close(&world);
}
