/* outbox - numbered events, kept until acknowledged, grouped by receiver. */
#include "worker/outbox.h"

#include "base/mem.h"

/* One event, encoded. */
struct entry {
    struct list link;
    uint64_t seq;
    uint64_t bytes_before; /* payload bytes of all events of the stream before it */
    uint16_t type;
    size_t payload_bytes;
    char payload[];
};

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

    struct list entries; /* acked_seq + 1 .. made_seq */
    uint64_t acked_seq, sent_seq, made_seq;
    struct list *next; /* the first entry to put in a frame; &entries: none is left */
    uint64_t acked_bytes, made_bytes;     /* payloads, summed up */
    uint64_t other_events, other_payload; /* of them: those that are no deltas */
    uint64_t seq_limit, byte_limit;
    uint32_t progress_max; /* unacknowledged events beyond which progress is not worth it */
    uint64_t quiet_since_us;
    bool beat_is_due, has_ended;
};

static struct entry *entry_of(struct list *link)
{
    return CONTAINER_OF(link, struct entry, link);
}

static void forget(struct outbox_stream *stream, struct entry *entry)
{
    if (stream->next == &entry->link)
        stream->next = entry->link.next;
    list_remove(&entry->link);
    mem_free(entry);
}

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
    list_init(&stream->entries);
    stream->next = &stream->entries;
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
    while (!list_is_empty(&closing->entries))
        forget(closing, entry_of(closing->entries.next));
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

static struct entry *entry_new(struct outbox_stream *stream, const struct event *event,
                               struct slice payload)
{
    struct entry *entry = mem_alloc(sizeof(*entry) + payload.len);
    *entry = (struct entry){.seq = event->seq,
                            .bytes_before = stream->made_bytes,
                            .type = (uint16_t)(WIRE_EVENT + event->type),
                            .payload_bytes = payload.len};
    memcpy(entry->payload, payload.data, payload.len);
    return entry;
}

void outbox_add(struct outbox_stream *stream, const struct event *event, const int32_t *tokens)
{
    ASSERT(!stream->has_ended);
    struct event numbered = *event;
    numbered.seq = ++stream->made_seq;
    struct slice payload = encode(stream, &numbered, tokens);
    struct entry *entry = entry_new(stream, &numbered, payload);
    list_push_back(&stream->entries, &entry->link);
    if (stream->next == &stream->entries)
        stream->next = &entry->link;
    stream->made_bytes += payload.len;
    if (event->type != EVENT_DELTA) {
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
    uint64_t most = stream->acked_seq + OUTBOX_EVENTS_MAX;
    return stream->seq_limit < most ? stream->seq_limit : most;
}

static uint64_t byte_limit(const struct outbox_stream *stream)
{
    uint64_t most = stream->acked_bytes + OUTBOX_BYTES_MAX;
    return stream->byte_limit < most ? stream->byte_limit : most;
}

static bool is_covered(const struct outbox_stream *stream, const struct entry *entry)
{
    return entry->type != WIRE_EVENT + EVENT_DELTA ||
           (entry->seq <= seq_limit(stream) && entry->bytes_before < byte_limit(stream));
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
    return stream->made_seq - stream->acked_seq < stream->progress_max;
}

static void unmake_last(struct outbox_stream *stream)
{
    struct entry *last = entry_of(stream->entries.prev);
    stream->made_seq--;
    stream->made_bytes -= last->payload_bytes;
    if (last->type != WIRE_EVENT + EVENT_DELTA) {
        stream->other_events--;
        stream->other_payload -= last->payload_bytes;
    }
    forget(stream, last);
}

void outbox_drop_waiting(struct outbox_stream *stream)
{
    struct list *link = stream->next;
    while (link != &stream->entries && is_covered(stream, entry_of(link)))
        link = link->next;
    if (link == &stream->entries)
        return;
    uint64_t first_seq = entry_of(link)->seq;
    ASSERT(first_seq > stream->sent_seq && !stream->has_ended);
    while (stream->made_seq >= first_seq)
        unmake_last(stream);
}

static void acknowledge(struct outbox_stream *stream, uint64_t acked_seq)
{
    while (stream->acked_seq < acked_seq) {
        struct entry *first = entry_of(stream->entries.next);
        stream->acked_seq = first->seq;
        stream->acked_bytes += first->payload_bytes;
        forget(stream, first);
    }
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
        stream->next = stream->entries.next;
    if (stream->next != &stream->entries)
        is_due(stream);
}

void outbox_resend(struct outbox_stream *stream)
{
    stream->quiet_since_us = loop_now_us(bus_loop(stream->outbox->bus));
    stream->next = stream->entries.next;
    is_due(stream);
}

void outbox_beat(struct outbox_stream *stream)
{
    stream->beat_is_due = true;
    is_due(stream);
}

bool outbox_end_is_sent(const struct outbox_stream *stream)
{
    return stream->has_ended && stream->sent_seq == stream->made_seq;
}

bool outbox_end_is_acked(const struct outbox_stream *stream)
{
    return stream->has_ended && stream->acked_seq == stream->made_seq;
}

uint64_t outbox_quiet_since_us(const struct outbox_stream *stream)
{
    return stream->quiet_since_us;
}

size_t outbox_kept_bytes(const struct outbox_stream *stream)
{
    return stream->made_bytes - stream->acked_bytes;
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

static void add(struct outbox_stream *stream, struct wire_writer *writer,
                const struct wire_record *record)
{
    struct outbox *outbox = stream->outbox;
    if (outbox->frame.len >= OUTBOX_FRAME_BYTES) {
        publish(outbox, stream->peer, writer);
        begin(outbox, writer);
    }
    wire_add(writer, record);
}

static void write_stream(struct outbox_stream *stream, struct wire_writer *writer)
{
    for (; stream->next != &stream->entries; stream->next = stream->next->next) {
        const struct entry *entry = entry_of(stream->next);
        if (!is_covered(stream, entry))
            break;
        add(stream, writer,
            &(struct wire_record){.stream = stream->stream,
                                  .epoch = stream->epoch,
                                  .seq = entry->seq,
                                  .type = entry->type,
                                  .payload = slice_of(entry->payload, entry->payload_bytes)});
        if (entry->seq > stream->sent_seq)
            stream->sent_seq = entry->seq;
    }
    if (stream->beat_is_due)
        add(stream, writer,
            &(struct wire_record){.stream = stream->stream,
                                  .epoch = stream->epoch,
                                  .seq = stream->sent_seq,
                                  .type = WIRE_HEARTBEAT});
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
