#include "base/mem.h"
#include "bus/bus_mem.h"
#include "testing/test.h"
#include "worker/outbox.h"

/* An outbox, and askers that only look: what arrives is kept as (type, seq) in order. */

enum { STREAM = 7, EPOCH = 1, SEEN_MAX = 16384, ASKERS = 2, SECOND_US = 1000000 };

struct seen {
    uint16_t type;
    uint64_t stream, seq;
    size_t payload_bytes;
};

struct asker {
    struct bus *bus;
    struct bus_subscription *inbox;
    struct seen seen[SEEN_MAX];
    size_t count, frames, largest_frame;
    struct slice expected_reply;
};

struct rig {
    struct loop *loop;
    struct bus_mem *bus_mem;
    struct bus *bus;
    struct outbox *outbox;
    struct asker askers[ASKERS];
    struct outbox_stream *streams[8]; /* closed when gone */
    size_t gone_count;
};

static void on_frame(void *ctx, const struct bus_message *message)
{
    struct asker *asker = ctx;
    struct wire_reader reader;
    struct wire_record record;
    CHECK_OK(wire_open(message->frame, &reader));
    CHECK_EQ(reader.kind, WIRE_EVENTS);
    CHECK_SLICES(message->reply, asker->expected_reply);
    asker->frames++;
    if (message->frame.len > asker->largest_frame)
        asker->largest_frame = message->frame.len;
    while (wire_next(&reader, &record) == ERR_OK) {
        ASSERT(asker->count < SEEN_MAX);
        asker->seen[asker->count++] =
            (struct seen){record.type, record.stream, record.seq, record.payload.len};
        CHECK_EQ(record.epoch, EPOCH);
    }
}

static void on_gone(void *ctx, void *owner)
{
    struct rig *rig = ctx;
    rig->gone_count++;
    outbox_close(owner);
}

static void on_bounce(void *ctx, const struct bus_message *message, enum err why)
{
    outbox_bounced(((struct rig *)ctx)->outbox, message, why);
}

static void listen(struct rig *rig, struct asker *asker)
{
    asker->bus = bus_mem_open(rig->bus_mem, rig->loop);
    asker->expected_reply = bus_inbox(rig->bus);
    CHECK_OK(bus_subscribe(asker->bus, bus_inbox(asker->bus), (struct slice){0}, on_frame, asker,
                           &asker->inbox));
}

static struct rig *rig_open_with(size_t peer_bytes_max)
{
    struct rig *rig = mem_alloc(sizeof(*rig));
    rig->loop = loop_new_virtual(SECOND_US);
    rig->bus_mem = bus_mem_new(peer_bytes_max);
    rig->bus = bus_mem_open(rig->bus_mem, rig->loop);
    rig->outbox = outbox_new(rig->bus, on_gone, rig);
    bus_on_bounce(rig->bus, on_bounce, rig);
    for (int i = 0; i < ASKERS; i++)
        listen(rig, &rig->askers[i]);
    return rig;
}

static struct rig *rig_open(void)
{
    return rig_open_with(8 << 20);
}

static void rig_close(struct rig *rig)
{
    for (size_t i = 0; i < ARRAY_COUNT(rig->streams); i++)
        outbox_close(&rig->streams[i]);
    outbox_free(rig->outbox);
    for (int i = 0; i < ASKERS; i++)
        bus_close(&rig->askers[i].bus);
    bus_close(&rig->bus);
    loop_advance(rig->loop, 0);
    bus_mem_free(rig->bus_mem);
    loop_free(rig->loop);
    mem_free(rig);
}

static struct outbox_stream *open_stream(struct rig *rig, int index, int asker,
                                         uint32_t credit_events, uint32_t credit_bytes)
{
    rig->streams[index] = outbox_open(
        rig->outbox, &(struct outbox_stream_options){.stream = STREAM + (uint64_t)index,
                                                     .epoch = EPOCH,
                                                     .inbox = bus_inbox(rig->askers[asker].bus),
                                                     .credit_events = credit_events,
                                                     .credit_bytes = credit_bytes,
                                                     .owner = &rig->streams[index]});
    return rig->streams[index];
}

static void turn(struct rig *rig)
{
    loop_advance(rig->loop, 0);
}

static void add_accepted(struct outbox_stream *stream)
{
    struct event event = {.type = EVENT_ACCEPTED};
    event.accepted.worker = SLICE("w");
    event.accepted.control = SLICE("c");
    outbox_add(stream, &event, NULL);
}

enum { DELTA_BYTES = 4 + 4 + 3 };

static void add_delta(struct outbox_stream *stream)
{
    static const int32_t token = 5;
    struct event event = {.type = EVENT_DELTA};
    event.delta.token_count = 1;
    event.delta.text = SLICE("abc");
    outbox_add(stream, &event, &token);
}

static void add_deltas(struct outbox_stream *stream, int count)
{
    for (int i = 0; i < count; i++)
        add_delta(stream);
}

static void add_end(struct outbox_stream *stream)
{
    struct event event = {.type = EVENT_DONE};
    event.done.reason = DONE_EOS;
    outbox_add(stream, &event, NULL);
}

static void credit(struct outbox_stream *stream, uint64_t acked_seq, uint64_t seq_limit,
                   uint64_t byte_limit, bool resend)
{
    outbox_credit(stream, &(struct wire_credit){acked_seq, seq_limit, byte_limit}, resend);
}

/* The numbers that arrived since `from` are first..last without holes. */
static void check_seqs(const struct asker *asker, size_t from, uint64_t first, uint64_t last)
{
    CHECK_EQ(asker->count - from, last - first + 1);
    for (size_t i = from; i < asker->count; i++)
        CHECK_EQ(asker->seen[i].seq, first + (i - from));
}

TEST(events_are_numbered_from_1_and_leave_in_one_frame_a_turn)
{
    struct rig *rig = rig_open();
    struct outbox_stream *stream = open_stream(rig, 0, 0, 64, 65536);
    add_accepted(stream);
    add_deltas(stream, 3);
    CHECK_EQ(rig->askers[0].count, 0);
    turn(rig);
    check_seqs(&rig->askers[0], 0, 1, 4);
    CHECK_EQ(rig->askers[0].frames, 1);
    CHECK_EQ(rig->askers[0].seen[0].type, WIRE_EVENT + EVENT_ACCEPTED);
    CHECK_EQ(rig->askers[0].seen[3].type, WIRE_EVENT + EVENT_DELTA);
    CHECK_EQ(rig->askers[0].seen[3].payload_bytes, DELTA_BYTES);
    turn(rig);
    CHECK_EQ(rig->askers[0].frames, 1);
    rig_close(rig);
}

TEST(the_streams_of_one_inbox_share_a_frame_and_others_get_their_own)
{
    struct rig *rig = rig_open();
    for (int i = 0; i < 6; i++)
        add_accepted(open_stream(rig, i, i % 2, 64, 65536));
    for (int i = 0; i < 6; i++)
        add_delta(rig->streams[i]);
    turn(rig);
    for (int asker = 0; asker < ASKERS; asker++) {
        CHECK_EQ(rig->askers[asker].frames, 1);
        CHECK_EQ(rig->askers[asker].count, 6);
    }
    rig_close(rig);
}

TEST(a_delta_waits_for_credit_in_events_and_others_need_none)
{
    struct rig *rig = rig_open();
    struct outbox_stream *stream = open_stream(rig, 0, 0, 4, 65536);
    add_accepted(stream);
    add_deltas(stream, 5);
    turn(rig);
    check_seqs(&rig->askers[0], 0, 1, 4); /* N - 1, N, and not N + 1 */
    credit(stream, 4, 5, 65536, false);
    turn(rig);
    check_seqs(&rig->askers[0], 0, 1, 5);
    credit(stream, 5, 6, 65536, false);
    turn(rig);
    check_seqs(&rig->askers[0], 0, 1, 6);
    add_end(stream); /* beyond the limit of 6 */
    turn(rig);
    check_seqs(&rig->askers[0], 0, 1, 7);
    CHECK(outbox_end_is_sent(stream));
    CHECK(!outbox_end_is_acked(stream));
    credit(stream, 7, 6, 65536, false);
    CHECK(outbox_end_is_acked(stream));
    CHECK_EQ(outbox_kept_bytes(stream), 0);
    rig_close(rig);
}

TEST(a_delta_goes_while_the_bytes_before_it_are_below_the_limit)
{
    for (int more = -1; more <= 1; more++) {
        struct rig *rig = rig_open();
        struct outbox_stream *probe = open_stream(rig, 0, 0, 64, 65536);
        add_accepted(probe);
        size_t accepted_bytes = outbox_kept_bytes(probe);
        uint32_t limit = (uint32_t)((int)accepted_bytes + 2 * DELTA_BYTES + more);
        struct outbox_stream *stream = open_stream(rig, 1, 1, 64, limit);
        add_accepted(stream);
        add_deltas(stream, 5);
        turn(rig);
        /* The third delta has accepted and two deltas before it. */
        check_seqs(&rig->askers[1], 0, 1, more == 1 ? 4 : 3);
        credit(stream, 0, 0, limit + 1000, false);
        turn(rig);
        check_seqs(&rig->askers[1], 0, 1, 6);
        rig_close(rig);
    }
}

TEST(the_core_is_told_deltas_alone)
{
    struct rig *rig = rig_open();
    struct outbox_stream *stream = open_stream(rig, 0, 0, 10, 1000);
    CHECK_EQ(outbox_limits(stream).delta_events, 10);
    CHECK_EQ(outbox_limits(stream).delta_bytes, 1000);
    add_accepted(stream);
    size_t accepted_bytes = outbox_kept_bytes(stream);
    CHECK_EQ(outbox_limits(stream).delta_events, 9);
    CHECK_EQ(outbox_limits(stream).delta_bytes, 1000 - accepted_bytes);
    add_deltas(stream, 9);
    CHECK_EQ(outbox_limits(stream).delta_events, 9);
    turn(rig);
    check_seqs(&rig->askers[0], 0, 1, 10);
    credit(stream, 10, 30, 5000, false);
    CHECK_EQ(outbox_limits(stream).delta_events, 29);
    CHECK_EQ(outbox_limits(stream).delta_bytes, 5000 - accepted_bytes);
    rig_close(rig);
}

TEST(limits_below_what_was_made_are_zero_and_not_huge)
{
    struct rig *rig = rig_open();
    struct outbox_stream *stream = open_stream(rig, 0, 0, 1, 1);
    add_accepted(stream);
    add_accepted(stream);
    CHECK_EQ(outbox_limits(stream).delta_events, 0);
    CHECK_EQ(outbox_limits(stream).delta_bytes, 0);
    rig_close(rig);
}

TEST(a_resend_brings_back_all_that_is_not_acknowledged_and_nothing_else)
{
    struct rig *rig = rig_open();
    struct outbox_stream *stream = open_stream(rig, 0, 0, 64, 65536);
    add_accepted(stream);
    add_deltas(stream, 9);
    turn(rig);
    size_t before = rig->askers[0].count;
    credit(stream, 6, 64, 65536, true);
    turn(rig);
    check_seqs(&rig->askers[0], before, 7, 10);
    before = rig->askers[0].count;
    credit(stream, 10, 64, 65536, true);
    turn(rig);
    CHECK_EQ(rig->askers[0].count, before);
    add_delta(stream);
    turn(rig);
    check_seqs(&rig->askers[0], before, 11, 11);
    before = rig->askers[0].count;
    outbox_resend(stream);
    turn(rig);
    check_seqs(&rig->askers[0], before, 11, 11);
    rig_close(rig);
}

TEST(a_resend_does_not_pass_the_credit)
{
    struct rig *rig = rig_open();
    struct outbox_stream *stream = open_stream(rig, 0, 0, 3, 65536);
    add_accepted(stream);
    add_deltas(stream, 5);
    turn(rig);
    credit(stream, 0, 3, 65536, true);
    turn(rig);
    CHECK_EQ(rig->askers[0].count, 6);
    CHECK_EQ(rig->askers[0].seen[5].seq, 3);
    rig_close(rig);
}

TEST(old_credit_and_nonsense_change_nothing)
{
    struct rig *rig = rig_open();
    struct outbox_stream *stream = open_stream(rig, 0, 0, 8, 65536);
    add_accepted(stream);
    add_deltas(stream, 5);
    turn(rig);
    credit(stream, 4, 20, 70000, false);
    size_t kept = outbox_kept_bytes(stream);
    struct outbox_limits limits = outbox_limits(stream);
    credit(stream, 2, 10, 66000, false);             /* came late */
    credit(stream, 7, UINT64_MAX, UINT64_MAX, true); /* 7 was never sent */
    credit(stream, UINT64_MAX, UINT64_MAX, UINT64_MAX, true);
    CHECK_EQ(outbox_kept_bytes(stream), kept);
    CHECK_EQ(outbox_limits(stream).delta_events, limits.delta_events);
    CHECK_EQ(outbox_limits(stream).delta_bytes, limits.delta_bytes);
    turn(rig);
    check_seqs(&rig->askers[0], 0, 1, 6);
    rig_close(rig);
}

TEST(what_is_kept_is_bounded_however_much_is_granted)
{
    struct rig *rig = rig_open();
    struct outbox_stream *stream = open_stream(rig, 0, 0, UINT32_MAX, UINT32_MAX);
    CHECK_EQ(outbox_limits(stream).delta_events, OUTBOX_EVENTS_MAX);
    CHECK_EQ(outbox_limits(stream).delta_bytes, OUTBOX_BYTES_MAX);
    add_deltas(stream, OUTBOX_EVENTS_MAX + 1);
    turn(rig);
    check_seqs(&rig->askers[0], 0, 1, OUTBOX_EVENTS_MAX);
    credit(stream, 1, UINT64_MAX, UINT64_MAX, false);
    turn(rig);
    check_seqs(&rig->askers[0], 0, 1, OUTBOX_EVENTS_MAX + 1);
    rig_close(rig);
}

TEST(much_at_once_leaves_in_several_frames_of_bounded_size)
{
    struct rig *rig = rig_open();
    struct outbox_stream *stream = open_stream(rig, 0, 0, 4096, 1 << 20);
    add_deltas(stream, 4000);
    turn(rig);
    check_seqs(&rig->askers[0], 0, 1, 4000);
    CHECK(rig->askers[0].frames > 1);
    CHECK(rig->askers[0].largest_frame < OUTBOX_FRAME_BYTES + 1024);
    rig_close(rig);
}

TEST(a_heartbeat_says_the_highest_number_sent_also_when_more_was_made)
{
    struct rig *rig = rig_open();
    struct outbox_stream *stream = open_stream(rig, 0, 0, 3, 65536);
    add_accepted(stream);
    add_deltas(stream, 5);
    turn(rig);
    outbox_beat(stream);
    outbox_beat(stream);
    turn(rig);
    CHECK_EQ(rig->askers[0].count, 4);
    CHECK_EQ(rig->askers[0].seen[3].type, WIRE_HEARTBEAT);
    CHECK_EQ(rig->askers[0].seen[3].seq, 3);
    rig_close(rig);
}

TEST(what_waits_for_credit_can_be_unmade_and_its_numbers_are_used_again)
{
    struct rig *rig = rig_open();
    struct outbox_stream *stream = open_stream(rig, 0, 0, 3, 65536);
    add_accepted(stream);
    outbox_drop_waiting(stream); /* it needs no credit: stays, though not sent yet */
    turn(rig);
    add_deltas(stream, 5);
    turn(rig);
    add_delta(stream);
    outbox_drop_waiting(stream);
    add_end(stream);
    turn(rig);
    check_seqs(&rig->askers[0], 0, 1, 4);
    CHECK_EQ(rig->askers[0].seen[3].type, WIRE_EVENT + EVENT_DONE);
    CHECK(outbox_end_is_sent(stream));
    rig_close(rig);
}

TEST(unmaking_takes_back_what_was_counted)
{
    struct rig *rig = rig_open();
    struct outbox_stream *stream = open_stream(rig, 0, 0, 2, 65536);
    add_accepted(stream);
    add_delta(stream);
    size_t kept = outbox_kept_bytes(stream);
    struct outbox_limits limits = outbox_limits(stream);
    add_delta(stream);
    add_accepted(stream); /* any that is no delta, behind one that waits */
    outbox_drop_waiting(stream);
    CHECK_EQ(outbox_kept_bytes(stream), kept);
    CHECK_EQ(outbox_limits(stream).delta_events, limits.delta_events);
    CHECK_EQ(outbox_limits(stream).delta_bytes, limits.delta_bytes);
    rig_close(rig);
}

TEST(nothing_comes_after_the_end)
{
    struct rig *rig = rig_open();
    struct outbox_stream *stream = open_stream(rig, 0, 0, 3, 65536);
    add_end(stream);
    CHECK_ABORTS(add_delta(stream), "has_ended");
    rig_close(rig);
}

TEST(progress_stops_at_half_the_credit_until_it_is_acknowledged)
{
    for (uint32_t events = 1; events <= 5; events++) {
        struct rig *rig = rig_open();
        struct outbox_stream *stream = open_stream(rig, 0, 0, events, 65536);
        uint64_t made = 0;
        for (; outbox_has_room_for_progress(stream); made++)
            add_accepted(stream);
        CHECK_EQ(made, (events + 1) / 2);
        turn(rig);
        credit(stream, 1, 0, 0, false);
        CHECK(outbox_has_room_for_progress(stream));
        rig_close(rig);
    }
}

TEST(an_inbox_that_is_gone_takes_all_its_streams_and_no_others)
{
    struct rig *rig = rig_open();
    for (int i = 0; i < 6; i++)
        add_accepted(open_stream(rig, i, i % 2, 64, 65536));
    turn(rig);
    bus_close(&rig->askers[0].bus);
    add_delta(rig->streams[0]);
    add_delta(rig->streams[1]);
    turn(rig);
    CHECK_EQ(rig->gone_count, 3);
    for (int i = 0; i < 6; i++)
        CHECK_EQ(rig->streams[i] == NULL, i % 2 == 0);
    CHECK_EQ(rig->askers[1].count, 4);
    rig_close(rig);
}

TEST(what_a_full_receiver_lost_comes_again_when_it_asks)
{
    struct rig *rig = rig_open_with(4096);
    struct outbox_stream *stream = open_stream(rig, 0, 0, 4096, 1 << 20);
    add_accepted(stream);
    add_deltas(stream, 200); /* one frame, larger than what may wait for a receiver */
    turn(rig);
    CHECK_EQ(rig->askers[0].count, 0);
    CHECK_EQ(rig->gone_count, 0);
    rig_close(rig);

    rig = rig_open_with(8192);
    stream = open_stream(rig, 0, 0, 4096, 1 << 20);
    add_deltas(stream, 100);
    outbox_flush(rig->outbox);
    add_deltas(stream, 100);
    outbox_flush(rig->outbox); /* the receiver has not read the first frame: this one bounces */
    turn(rig);
    check_seqs(&rig->askers[0], 0, 1, 100);
    CHECK_EQ(rig->gone_count, 0);
    outbox_beat(stream);
    turn(rig);
    CHECK_EQ(rig->askers[0].seen[100].seq, 200);
    credit(stream, 100, 0, 0, true);
    turn(rig);
    check_seqs(&rig->askers[0], 101, 101, 200);
    rig_close(rig);
}

TEST(a_frame_that_was_lost_on_the_way_says_nothing_of_its_receiver)
{
    struct rig *rig = rig_open();
    open_stream(rig, 0, 0, 10, 1000);
    struct bus_message lost = {.subject = bus_inbox(rig->askers[0].bus)};
    outbox_bounced(rig->outbox, &lost, ERR_AGAIN);
    CHECK_EQ(rig->gone_count, 0);
    outbox_bounced(rig->outbox, &lost, ERR_CLOSED);
    CHECK_EQ(rig->gone_count, 1);
    rig_close(rig);
}

TEST(quiet_is_counted_from_the_last_word_of_either_side)
{
    struct rig *rig = rig_open();
    struct outbox_stream *stream = open_stream(rig, 0, 0, 64, 65536);
    CHECK_EQ(outbox_quiet_since_us(stream), SECOND_US);
    loop_advance(rig->loop, 1000);
    add_accepted(stream);
    turn(rig);
    CHECK_EQ(outbox_quiet_since_us(stream), SECOND_US + 1000);
    loop_advance(rig->loop, 1000);
    outbox_beat(stream); /* says nothing new */
    turn(rig);
    CHECK_EQ(outbox_quiet_since_us(stream), SECOND_US + 1000);
    credit(stream, 1, 64, 65536, false);
    CHECK_EQ(outbox_quiet_since_us(stream), SECOND_US + 2000);
    loop_advance(rig->loop, 1000);
    outbox_resend(stream);
    CHECK_EQ(outbox_quiet_since_us(stream), SECOND_US + 3000);
    rig_close(rig);
}
