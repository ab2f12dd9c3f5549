/* outbox - numbered events, kept until acknowledged, grouped by receiver. */
#include "worker/outbox.h"

#include "base/mem.h"
#include "worker/kept.h"

/* One receiver, as long as it has streams. */
struct peer {
    struct list link; /* in outbox->peers */
    struct list streams;
    struct list due; /* streams with something to say at the end of the turn */
    size_t inbox_bytes;
    char inbox[BUS_SUBJECT_MAX_BYTES];
};

struct outbox {
    struct bus *bus;
    struct list peers;
    struct deferred flush;
    struct text frame;   /* being written */
    struct text encoded; /* one event */
    size_t kept_bytes;   /* of all streams */
    outbox_gone_fn *on_gone;
    void *ctx;
};

struct outbox_stream {
    struct outbox *outbox;
    struct peer *peer;
    struct list peer_link, due_link;
    uint64_t stream;
    uint32_t epoch;
    void *owner;

    struct kept kept;
    uint64_t sent_seq;   /* the highest one */
    uint64_t next_seq;   /* the first event to put in a frame; made_seq + 1: none is left */
    uint64_t next_bytes; /* payload bytes of all events before that one */
    uint64_t other_events, other_payload; /* of them: those that are no deltas */
    uint64_t seq_limit, byte_limit;
    uint32_t progress_max; /* unacknowledged events beyond which progress is not worth it */
    uint64_t quiet_since_us;
    bool beat_is_due, has_ended;
};

/* --- life --- */

static void on_flush(void *ctx)
{
    outbox_flush(ctx);
}

static struct slice peer_inbox(const struct peer *peer)
{
    return slice_of(peer->inbox, peer->inbox_bytes);
}

/* They are as many as there are loops of gateways: few. */
static struct peer *find_peer(const struct outbox *outbox, struct slice inbox)
{
    LIST_FOREACH (link, &outbox->peers) {
        struct peer *peer = CONTAINER_OF(link, struct peer, link);
        if (slice_eq(peer_inbox(peer), inbox))
            return peer;
    }
    return NULL;
}

static struct peer *peer_new(struct outbox *outbox, struct slice inbox)
{
    ASSERT(inbox.len > 0 && inbox.len <= BUS_SUBJECT_MAX_BYTES);
    struct peer *peer = mem_alloc(sizeof(*peer));
    list_init(&peer->streams);
    list_init(&peer->due);
    memcpy(peer->inbox, inbox.data, inbox.len);
    peer->inbox_bytes = inbox.len;
    list_push_back(&outbox->peers, &peer->link);
    return peer;
}

/* on_gone() closes the stream, and with the last one the peer is gone: look anew each time. */
void outbox_bounced(struct outbox *outbox, const struct bus_message *message, enum err why)
{
    if (why != ERR_CLOSED && why != ERR_NOT_FOUND)
        return; /* rule 4 */
    for (struct peer *peer; (peer = find_peer(outbox, message->subject));) {
        struct list *first = peer->streams.next;
        outbox->on_gone(outbox->ctx, CONTAINER_OF(first, struct outbox_stream, peer_link)->owner);
    }
}

struct outbox *outbox_new(struct bus *bus, outbox_gone_fn *on_gone, void *ctx)
{
    struct outbox *outbox = mem_alloc(sizeof(*outbox));
    *outbox = (struct outbox){.bus = bus, .on_gone = on_gone, .ctx = ctx};
    list_init(&outbox->peers);
    deferred_init(&outbox->flush, on_flush, outbox);
    text_init(&outbox->frame, WIRE_FRAME_MAX_BYTES);
    text_init(&outbox->encoded, WIRE_FRAME_MAX_BYTES);
    return outbox;
}

void outbox_free(struct outbox *outbox)
{
    if (!outbox)
        return;
    ASSERT(list_is_empty(&outbox->peers));
    deferred_cancel(&outbox->flush);
    text_fini(&outbox->frame);
    text_fini(&outbox->encoded);
    mem_free(outbox);
}

struct outbox_stream *outbox_open(struct outbox *outbox,
                                  const struct outbox_stream_options *options)
{
    struct outbox_stream *stream = mem_alloc(sizeof(*stream));
    struct peer *peer = find_peer(outbox, options->inbox);
    *stream = (struct outbox_stream){
        .outbox = outbox,
        .peer = peer ? peer : peer_new(outbox, options->inbox),
        .stream = options->stream,
        .epoch = options->epoch,
        .owner = options->owner,
        .seq_limit = options->credit_events,
        .byte_limit = options->credit_bytes,
        .progress_max = options->credit_events / 2 + options->credit_events % 2,
        .quiet_since_us = loop_now_us(bus_loop(outbox->bus)),
    };
    stream->next_seq = 1;
    list_init(&stream->due_link);
    list_push_back(&stream->peer->streams, &stream->peer_link);
    return stream;
}

void outbox_close(struct outbox_stream **stream)
{
    struct outbox_stream *closing = *stream;
    *stream = NULL;
    if (!closing)
        return;
    struct peer *peer = closing->peer;
    closing->outbox->kept_bytes -= outbox_kept_bytes(closing);
    kept_fini(&closing->kept);
    list_remove(&closing->peer_link);
    list_remove(&closing->due_link);
    mem_free(closing);
    if (!list_is_empty(&peer->streams))
        return;
    list_remove(&peer->link);
    mem_free(peer);
}

/* --- making events --- */

static void is_due(struct outbox_stream *stream)
{
    if (!list_is_linked(&stream->due_link))
        list_push_back(&stream->peer->due, &stream->due_link);
    loop_before_sleep(bus_loop(stream->outbox->bus), &stream->outbox->flush);
}

/* As one frame of one record, of which the payload is what we keep. */
static struct slice encode(struct outbox_stream *stream, const struct event *event,
                           const int32_t *tokens)
{
    struct text *encoded = &stream->outbox->encoded;
    struct wire_writer writer;
    text_clear(encoded);
    wire_begin(&writer, encoded, WIRE_EVENTS);
    event_encode(&writer, stream->stream, stream->epoch, event, tokens);
    enum err err = wire_finish(&writer);
    ASSERT_MSG(err == ERR_OK, "an event of ours: %s", err_name(err)); /* we bound what is in it */
    return slice_after(text_slice(encoded), WIRE_FRAME_HEADER_BYTES + WIRE_RECORD_HEADER_BYTES);
}

void outbox_add(struct outbox_stream *stream, const struct event *event, const int32_t *tokens)
{
    ASSERT(!stream->has_ended);
    struct slice payload = encode(stream, event, tokens);
    kept_add(&stream->kept, (uint16_t)(WIRE_EVENT + event->type), payload);
    stream->outbox->kept_bytes += payload.len;
    if (!event_takes_credit(event->type)) {
        stream->other_events++;
        stream->other_payload += payload.len;
    }
    stream->has_ended = event_is_end(event->type);
    stream->quiet_since_us = loop_now_us(bus_loop(stream->outbox->bus));
    is_due(stream);
}

/* --- credit --- */

static uint64_t seq_limit(const struct outbox_stream *stream)
{
    uint64_t most = stream->kept.acked_seq + OUTBOX_EVENTS_MAX;
    return stream->seq_limit < most ? stream->seq_limit : most;
}

static uint64_t byte_limit(const struct outbox_stream *stream)
{
    uint64_t most = stream->kept.acked_bytes + OUTBOX_BYTES_MAX;
    return stream->byte_limit < most ? stream->byte_limit : most;
}

/* A delta, or a result. */
static bool needs_credit(struct kept_event event)
{
    return event_takes_credit((enum event_type)(event.type - WIRE_EVENT));
}

/* `bytes_before`: payload bytes of all events before it. */
static bool is_covered(const struct outbox_stream *stream, uint64_t seq, uint64_t bytes_before)
{
    return !needs_credit(kept_at(&stream->kept, seq)) ||
           (seq <= seq_limit(stream) && bytes_before < byte_limit(stream));
}

static uint64_t less(uint64_t limit, uint64_t taken)
{
    return limit > taken ? limit - taken : 0;
}

struct outbox_limits outbox_limits(const struct outbox_stream *stream)
{
    return (struct outbox_limits){
        .delta_events = less(seq_limit(stream), stream->other_events),
        .delta_bytes = less(byte_limit(stream), stream->other_payload),
    };
}

bool outbox_has_room_for_progress(const struct outbox_stream *stream)
{
    return stream->kept.made_seq - stream->kept.acked_seq < stream->progress_max;
}

static void unmake_last(struct outbox_stream *stream)
{
    struct kept_event last = kept_at(&stream->kept, stream->kept.made_seq);
    if (!needs_credit(last)) {
        stream->other_events--;
        stream->other_payload -= last.payload_bytes;
    }
    kept_drop_last(&stream->kept);
    stream->outbox->kept_bytes -= last.payload_bytes;
}

void outbox_drop_waiting(struct outbox_stream *stream)
{
    uint64_t seq = stream->next_seq, bytes = stream->next_bytes;
    while (seq <= stream->kept.made_seq && is_covered(stream, seq, bytes))
        bytes += kept_at(&stream->kept, seq++).payload_bytes;
    if (seq > stream->kept.made_seq)
        return;
    ASSERT(seq > stream->sent_seq && !stream->has_ended);
    while (stream->kept.made_seq >= seq)
        unmake_last(stream);
}

static void start_over(struct outbox_stream *stream)
{
    stream->next_seq = stream->kept.acked_seq + 1;
    stream->next_bytes = stream->kept.acked_bytes;
}

static void acknowledge(struct outbox_stream *stream, uint64_t acked_seq)
{
    size_t before = outbox_kept_bytes(stream);
    while (stream->kept.acked_seq < acked_seq)
        kept_drop_first(&stream->kept);
    stream->outbox->kept_bytes -= before - outbox_kept_bytes(stream);
    if (stream->next_seq <= stream->kept.acked_seq) /* it was to be sent again */
        start_over(stream);
}

static void is_due_if_any(struct outbox_stream *stream)
{
    if (stream->next_seq <= stream->kept.made_seq)
        is_due(stream);
}

void outbox_credit(struct outbox_stream *stream, const struct wire_credit *credit, bool resend)
{
    stream->quiet_since_us = loop_now_us(bus_loop(stream->outbox->bus));
    if (credit->acked_seq > stream->sent_seq)
        return;
    acknowledge(stream, credit->acked_seq);
    if (credit->seq_limit > stream->seq_limit)
        stream->seq_limit = credit->seq_limit;
    if (credit->byte_limit > stream->byte_limit)
        stream->byte_limit = credit->byte_limit;
    if (resend)
        start_over(stream);
    is_due_if_any(stream);
}

void outbox_resend(struct outbox_stream *stream)
{
    stream->quiet_since_us = loop_now_us(bus_loop(stream->outbox->bus));
    start_over(stream);
    is_due(stream);
}

void outbox_beat(struct outbox_stream *stream)
{
    stream->beat_is_due = true;
    is_due(stream);
}

bool outbox_end_is_sent(const struct outbox_stream *stream)
{
    return stream->has_ended && stream->sent_seq == stream->kept.made_seq;
}

bool outbox_end_is_acked(const struct outbox_stream *stream)
{
    return stream->has_ended && stream->kept.acked_seq == stream->kept.made_seq;
}

uint64_t outbox_quiet_since_us(const struct outbox_stream *stream)
{
    return stream->quiet_since_us;
}

size_t outbox_kept_bytes(const struct outbox_stream *stream)
{
    return stream->kept.made_bytes - stream->kept.acked_bytes;
}

size_t outbox_all_kept_bytes(const struct outbox *outbox)
{
    return outbox->kept_bytes;
}

/* --- sending --- */

static void publish(struct outbox *outbox, const struct peer *peer, struct wire_writer *writer)
{
    if (writer->record_count > 0 && wire_finish(writer) == ERR_OK)
        (void)bus_publish(outbox->bus, peer_inbox(peer), bus_inbox(outbox->bus),
                          text_slice(&outbox->frame)); /* not taken: lost, rule 4 */
}

static void begin(struct outbox *outbox, struct wire_writer *writer)
{
    text_clear(&outbox->frame);
    wire_begin(writer, &outbox->frame, WIRE_EVENTS);
}

/* The payload follows, then wire_close_record(). */
static void open_record(const struct outbox_stream *stream, struct wire_writer *writer,
                        uint64_t seq, uint16_t type)
{
    struct outbox *outbox = stream->outbox;
    if (outbox->frame.len >= OUTBOX_FRAME_BYTES) {
        publish(outbox, stream->peer, writer);
        begin(outbox, writer);
    }
    wire_open_record(
        writer, &(struct wire_record){
                    .stream = stream->stream, .epoch = stream->epoch, .seq = seq, .type = type});
}

static void write_next(struct outbox_stream *stream, struct wire_writer *writer)
{
    struct kept_event event = kept_at(&stream->kept, stream->next_seq);
    open_record(stream, writer, stream->next_seq, event.type);
    kept_write(&stream->kept, stream->next_bytes, event.payload_bytes, writer->out);
    wire_close_record(writer);
    if (stream->next_seq > stream->sent_seq)
        stream->sent_seq = stream->next_seq;
    stream->next_seq++;
    stream->next_bytes += event.payload_bytes;
}

static void write_stream(struct outbox_stream *stream, struct wire_writer *writer)
{
    while (stream->next_seq <= stream->kept.made_seq &&
           is_covered(stream, stream->next_seq, stream->next_bytes))
        write_next(stream, writer);
    if (stream->beat_is_due) {
        open_record(stream, writer, stream->sent_seq, WIRE_HEARTBEAT);
        wire_close_record(writer);
    }
    stream->beat_is_due = false;
}

static void flush_peer(struct outbox *outbox, struct peer *peer)
{
    struct wire_writer writer;
    if (list_is_empty(&peer->due))
        return;
    begin(outbox, &writer);
    for (struct list *link; (link = list_pop_front(&peer->due));)
        write_stream(CONTAINER_OF(link, struct outbox_stream, due_link), &writer);
    publish(outbox, peer, &writer);
}

void outbox_flush(struct outbox *outbox)
{
    LIST_FOREACH (link, &outbox->peers)
        flush_peer(outbox, CONTAINER_OF(link, struct peer, link));
}
