/* Budgets of the outbox: what a turn may cost, in allocations. Those of the bus, which copies each
 * frame, are known by sending one without the outbox. */
#include "testing/test.h"
#include "base/mem.h"
#include "bus/bus_mem.h"
#include "testing/alloc_count.h"
#include "worker/outbox.h"

enum { STREAMS_MAX = 256, TURNS = 1000, CREDIT = 64 };

struct rig {
    struct loop *loop;
    struct bus_mem *bus_mem;
    struct bus *bus, *asker;
    struct bus_subscription *inbox;
    struct outbox *outbox;
    struct outbox_stream *streams[STREAMS_MAX];
    size_t stream_count, frames;
};

static void on_frame(void *ctx, const struct bus_message *message)
{
    (void)message; /* what is in it is outbox_test's */
    ((struct rig *)ctx)->frames++;
}

static void on_gone(void *ctx, void *owner)
{
    (void)ctx, (void)owner;
    CHECK(false);
}

static struct rig *rig_open(size_t stream_count)
{
    struct rig *rig = mem_alloc(sizeof(*rig));
    rig->loop = loop_new_virtual(1);
    rig->bus_mem = bus_mem_new(8 << 20);
    rig->bus = bus_mem_open(rig->bus_mem, rig->loop);
    rig->asker = bus_mem_open(rig->bus_mem, rig->loop);
    rig->outbox = outbox_new(rig->bus, on_gone, rig);
    rig->stream_count = stream_count;
    CHECK_OK(bus_subscribe(rig->asker, bus_inbox(rig->asker), (struct slice){0}, on_frame, rig,
                           &rig->inbox));
    for (size_t i = 0; i < stream_count; i++)
        rig->streams[i] =
            outbox_open(rig->outbox, &(struct outbox_stream_options){.stream = i + 1,
                                                                     .epoch = 1,
                                                                     .inbox = bus_inbox(rig->asker),
                                                                     .credit_events = CREDIT,
                                                                     .credit_bytes = 65536});
    return rig;
}

static void rig_close(struct rig *rig)
{
    for (size_t i = 0; i < rig->stream_count; i++)
        outbox_close(&rig->streams[i]);
    outbox_free(rig->outbox);
    bus_close(&rig->asker);
    bus_close(&rig->bus);
    loop_advance(rig->loop, 0);
    bus_mem_free(rig->bus_mem);
    loop_free(rig->loop);
    mem_free(rig);
}

static void add_delta(struct outbox_stream *stream)
{
    static const int32_t token = 5;
    struct event event = {.type = EVENT_DELTA};
    event.delta.token_count = 1;
    event.delta.text = SLICE(" token");
    outbox_add(stream, &event, &token);
}

/* As an asker does: anew when half is used up. */
static void acknowledge(struct outbox_stream *stream, uint64_t seq)
{
    if (seq % (CREDIT / 2) != 0)
        return;
    struct wire_credit credit = {
        .acked_seq = seq, .seq_limit = seq + CREDIT, .byte_limit = seq * 100 + 65536};
    outbox_credit(stream, &credit, false);
}

/* One token of every stream. */
static long allocations_of_a_step(struct rig *rig, uint64_t seq)
{
    alloc_count_resume();
    for (size_t i = 0; i < rig->stream_count; i++)
        add_delta(rig->streams[i]);
    loop_advance(rig->loop, 0);
    for (size_t i = 0; i < rig->stream_count; i++)
        acknowledge(rig->streams[i], seq);
    alloc_count_pause();
    return alloc_count_take();
}

static long allocations_of_a_frame(struct rig *rig)
{
    char bytes[1000] = {0};
    alloc_count_resume();
    CHECK_OK(bus_publish(rig->bus, bus_inbox(rig->asker), bus_inbox(rig->bus),
                         slice_of(bytes, sizeof(bytes))));
    loop_advance(rig->loop, 0);
    alloc_count_pause();
    return alloc_count_take();
}

static void check_steps_cost_one_frame(size_t stream_count)
{
    struct rig *rig = rig_open(stream_count);
    uint64_t seq = 0;
    alloc_count_pause();
    while (seq < 2 * CREDIT) /* the rings and the frame grow to what is needed */
        (void)allocations_of_a_step(rig, ++seq);
    (void)allocations_of_a_frame(rig);
    long budget = allocations_of_a_frame(rig);
    CHECK(budget > 0); /* it is counted */
    rig->frames = 0;
    for (int turn = 0; turn < TURNS; turn++)
        CHECK_EQ(allocations_of_a_step(rig, ++seq), budget);
    CHECK_EQ(rig->frames, TURNS);
    rig_close(rig);
}

TEST(a_step_of_running_streams_allocates_no_more_than_its_one_frame)
{
    check_steps_cost_one_frame(1);
    check_steps_cost_one_frame(32);
    check_steps_cost_one_frame(STREAMS_MAX);
}
