/* What bus_sim promises beside its conformance to bus.h in the runs of sim_test: order, bounces,
 * and what death, stillness and bad weather do to frames. */
#include "testing/test.h"
#include "base/mem.h"
#include "testing/sim/bus_sim.h"

enum { ENDPOINTS = 3, HEARD_MAX = 1024, START_US = 1000 };

struct end { /* one endpoint, and what it heard */
    struct loop *loop;
    struct bus *bus;
    struct bus_subscription *subscription;
    char heard[HEARD_MAX];
    size_t heard_count;
    enum err bounce;
    size_t bounce_count;
};

struct rig {
    struct bus_sim *bus_sim;
    uint64_t now_us;
    size_t dropped;
    struct end a, b, c;
};

static void watch(void *ctx, const struct bus_sim_sight *sight)
{
    struct rig *rig = ctx;
    rig->dropped += sight->what == BUS_SIM_DROPPED;
}

static void on_message(void *ctx, const struct bus_message *message)
{
    struct end *end = ctx;
    CHECK(end->heard_count < HEARD_MAX && message->frame.len == 1);
    end->heard[end->heard_count++] = message->frame.data[0];
}

static void on_bounce(void *ctx, const struct bus_message *message, enum err why)
{
    struct end *end = ctx;
    (void)message;
    end->bounce = why;
    end->bounce_count++;
}

static void open_end(struct rig *rig, struct end *end, const char *name)
{
    end->loop = loop_new_virtual(START_US);
    end->bus = bus_sim_open(rig->bus_sim, end->loop, name);
    bus_on_bounce(end->bus, on_bounce, end);
    CHECK_OK(bus_subscribe(end->bus, slice_str(name), (struct slice){0}, on_message, end,
                           &end->subscription));
}

static struct rig *rig_new(void)
{
    struct rig *rig = mem_alloc(sizeof(*rig));
    rig->now_us = START_US;
    rig->bus_sim = bus_sim_new(1, START_US, 1 << 16, watch, rig);
    open_end(rig, &rig->a, "a");
    open_end(rig, &rig->b, "b");
    open_end(rig, &rig->c, "c");
    return rig;
}

static void close_end(struct end *end)
{
    bus_close(&end->bus);
    while (loop_turn(end->loop, false))
        continue;
    loop_free(end->loop);
}

static void rig_free(struct rig *rig)
{
    close_end(&rig->a);
    close_end(&rig->b);
    close_end(&rig->c);
    bus_sim_free(rig->bus_sim);
    mem_free(rig);
}

/* Lets that much time pass; all run but the frozen one (NULL: none is). */
static void pass(struct rig *rig, uint64_t us, const struct end *frozen)
{
    struct end *ends[ENDPOINTS] = {&rig->a, &rig->b, &rig->c};
    for (uint64_t until_us = rig->now_us + us; rig->now_us < until_us;) {
        uint64_t next_us = bus_sim_next_us(rig->bus_sim);
        rig->now_us = next_us < until_us ? next_us : until_us;
        bus_sim_run(rig->bus_sim, rig->now_us);
        for (int i = 0; i < ENDPOINTS; i++)
            while (ends[i] != frozen && loop_turn(ends[i]->loop, false))
                continue;
    }
}

static void say(struct end *end, const char *subject, const char *letters)
{
    for (; *letters; letters++)
        CHECK_OK(
            bus_publish(end->bus, slice_str(subject), (struct slice){0}, slice_of(letters, 1)));
}

TEST(frames_of_one_sender_on_one_subject_keep_their_order_whatever_their_delay)
{
    struct rig *rig = rig_new();
    const struct bus_sim_weather slow = {.delay_min_us = 1, .delay_max_us = 100000};
    bus_sim_set_weather(rig->bus_sim, &slow);
    say(&rig->a, "b", "abcdefghijklmnopqrstuvwxyz");
    pass(rig, 1000000, NULL);
    CHECK_SLICE(slice_of(rig->b.heard, rig->b.heard_count), "abcdefghijklmnopqrstuvwxyz");
    rig_free(rig);
}

TEST(what_nobody_hears_comes_back)
{
    struct rig *rig = rig_new();
    say(&rig->a, "nobody", "x");
    pass(rig, 10000, NULL);
    CHECK_ERR(rig->a.bounce, ERR_NOT_FOUND);
    rig_free(rig);
}

TEST(a_full_receiver_bounces_and_a_full_way_out_refuses)
{
    struct rig *rig = rig_new();
    bus_sim_set_full(rig->b.bus, true, false);
    say(&rig->a, "b", "x");
    pass(rig, 10000, NULL);
    CHECK_ERR(rig->a.bounce, ERR_FULL);
    bus_sim_set_full(rig->a.bus, false, true);
    CHECK_ERR(bus_publish(rig->a.bus, SLICE("b"), (struct slice){0}, SLICE("x")), ERR_FULL);
    rig_free(rig);
}

TEST(what_waits_for_a_killed_endpoint_comes_back_once_the_death_is_noticed)
{
    struct rig *rig = rig_new();
    bus_sim_kill(rig->b.bus);
    say(&rig->a, "b", "xyz");
    pass(rig, BUS_SIM_NOTICE_US + 10000, NULL);
    CHECK_EQ(rig->a.bounce_count, 3);
    CHECK(rig->a.bounce == ERR_CLOSED || rig->a.bounce == ERR_NOT_FOUND);
    CHECK_EQ(rig->b.heard_count, 0);
    rig_free(rig);
}

TEST(a_short_freeze_loses_nothing)
{
    struct rig *rig = rig_new();
    bus_sim_freeze(rig->b.bus);
    say(&rig->a, "b", "xyz");
    pass(rig, BUS_SIM_DEAD_US - 1, &rig->b);
    bus_sim_thaw(rig->b.bus);
    pass(rig, 1000000, NULL);
    CHECK_EQ(rig->a.bounce_count, 0);
    CHECK_SLICE(slice_of(rig->b.heard, rig->b.heard_count), "xyz");
    rig_free(rig);
}

TEST(a_long_freeze_is_a_death_after_which_the_endpoint_joins_again)
{
    struct rig *rig = rig_new();
    bus_sim_freeze(rig->b.bus);
    say(&rig->a, "b", "xyz");
    pass(rig, 2 * BUS_SIM_DEAD_US, &rig->b);
    CHECK_EQ(rig->a.bounce_count, 3);
    CHECK_ERR(rig->a.bounce, ERR_CLOSED);
    bus_sim_thaw(rig->b.bus);
    CHECK_ERR(bus_publish(rig->b.bus, SLICE("a"), (struct slice){0}, SLICE("x")), ERR_FULL);
    pass(rig, 100000, NULL);
    say(&rig->a, "b", "q");
    pass(rig, 100000, NULL);
    CHECK_SLICE(slice_of(rig->b.heard, rig->b.heard_count), "q");
    rig_free(rig);
}

TEST(bad_weather_drops_repeats_and_loses)
{
    struct rig *rig = rig_new();
    bus_sim_set_weather(rig->bus_sim, &(struct bus_sim_weather){.drop_per_1000 = 1000});
    say(&rig->a, "b", "x");
    bus_sim_set_weather(rig->bus_sim, &(struct bus_sim_weather){.repeat_per_1000 = 1000});
    say(&rig->a, "b", "y");
    bus_sim_set_weather(rig->bus_sim, &(struct bus_sim_weather){.lose_per_1000 = 1000});
    say(&rig->a, "b", "z");
    bus_sim_set_weather(rig->bus_sim, &(struct bus_sim_weather){.delay_max_us = 1});
    pass(rig, 1000000, NULL);
    CHECK_EQ(rig->dropped, 1);
    CHECK_SLICE(slice_of(rig->b.heard, rig->b.heard_count), "yy");
    CHECK_EQ(rig->a.bounce_count, 1);
    CHECK_ERR(rig->a.bounce, ERR_AGAIN);
    rig_free(rig);
}
