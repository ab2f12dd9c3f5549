/* hub - all asks of one bus endpoint: who gets which record, and what leaves at the end of a turn.
 */
#include "ask/ask_impl.h"

#include "base/map.h"
#include "base/mem.h"

enum {
    EVENT_TEXT_MAX_BYTES = 64 * 1024, /* the strings of one event */
    OUT_KEPT_BYTES = 64 * 1024,       /* memory kept between frames */
    RECORDS_PER_ASK = 2,              /* a cancel and a credit */
};

struct ask_options ask_options_default(void)
{
    return (struct ask_options){.repeat_ms = 250,
                                .submit_ms = 5000,
                                .silence_ms = 5000,
                                .cancel_ms = 2000,
                                .credit_events = 64,
                                .credit_bytes = 65536,
                                .asks_max = 10000};
}

/* --- sending --- */

enum err hub_publish(struct ask_hub *hub, struct slice subject, struct slice frame)
{
    return bus_publish(hub->bus, subject, bus_inbox(hub->bus), frame);
}

static void trim(struct text *text)
{
    if (text->capacity > OUT_KEPT_BYTES)
        text_fini(text);
}

static void publish_out(struct ask_hub *hub, struct slice subject, struct wire_writer *writer)
{
    if (wire_finish(writer) == ERR_OK)
        (void)hub_publish(hub, subject, text_slice(&hub->out)); /* a lost frame is repeated */
    trim(&hub->out);
}

static void begin_out(struct ask_hub *hub, struct wire_writer *writer)
{
    text_clear(&hub->out);
    wire_begin(writer, &hub->out, WIRE_CONTROL);
}

void hub_publish_cancel(struct ask_hub *hub, struct slice subject, const struct ask *ask)
{
    struct wire_writer writer;
    begin_out(hub, &writer);
    wire_add(&writer, &(struct wire_record){
                          .stream = ask->id.low, .epoch = ask->epoch, .type = WIRE_CANCEL});
    publish_out(hub, subject, &writer);
}

void hub_ask_is_due(struct ask *ask, unsigned due)
{
    ask->due |= due;
    if (!list_is_linked(&ask->due_link))
        list_push_back(&ask->hub->due, &ask->due_link);
    loop_before_sleep(bus_loop(ask->hub->bus), &ask->hub->flush);
}

void hub_forget(struct ask *ask)
{
    void *removed = map_remove(ask->hub->streams, ask->id.low);
    ASSERT(removed == ask);
    list_remove(&ask->link);
    ask->hub->stats.ended++;
}

static void write_one(struct ask *ask, struct wire_writer *writer)
{
    list_remove(&ask->due_link);
    ask_write_due(ask, writer);
    if (ask->state == ASK_ENDED)
        ask_free(ask);
}

/* Everything due for the worker at `control`, in one frame (rule 5). */
static void flush_to(struct ask_hub *hub, struct address control)
{
    struct wire_writer writer;
    begin_out(hub, &writer);
    LIST_FOREACH_SAFE (link, &hub->due) {
        struct ask *ask = CONTAINER_OF(link, struct ask, due_link);
        if (writer.record_count > WIRE_RECORDS_MAX - RECORDS_PER_ASK)
            break;
        if (slice_eq(address_slice(&ask->control), address_slice(&control)))
            write_one(ask, &writer);
    }
    if (control.len > 0 && writer.record_count > 0) /* else nobody has accepted: nobody to tell */
        publish_out(hub, address_slice(&control), &writer);
}

static void flush_all(struct ask_hub *hub)
{
    while (!list_is_empty(&hub->due))
        flush_to(hub, CONTAINER_OF(hub->due.next, struct ask, due_link)->control);
}

static void on_flush(void *ctx)
{
    struct ask_hub *hub = ctx;
    flush_all(hub);
    if (!hub->draining || map_count(hub->streams) > 0 || !hub->on_idle)
        return;
    void (*on_idle)(void *ctx) = hub->on_idle;
    hub->on_idle = NULL;
    on_idle(hub->idle_ctx); /* may free the hub */
}

/* --- receiving --- */

/* Somebody produces for an ask that is gone: it ended here, or by silence. The reply subject, where
 * the producer has given one, is where it hears that nobody wants it. */
static void refuse_stream(const struct wire_record *record, struct wire_writer *refusals)
{
    if (record->type == WIRE_UNKNOWN_STREAM)
        return; /* both forgot it: good */
    wire_add(refusals, &(struct wire_record){
                           .stream = record->stream, .epoch = record->epoch, .type = WIRE_CANCEL});
}

static void dispatch(struct ask_hub *hub, const struct wire_record *record,
                     struct wire_writer *refusals)
{
    struct ask *ask = map_get(hub->streams, record->stream);
    if (ask)
        ask_on_record(ask, record, &hub->scratch);
    else
        refuse_stream(record, refusals);
}

static void on_message(void *ctx, const struct bus_message *message)
{
    struct ask_hub *hub = ctx;
    struct wire_reader reader;
    struct wire_record record;
    struct wire_writer refusals;
    if (wire_open(message->frame, &reader) != ERR_OK || reader.kind != WIRE_EVENTS)
        return;                /* not a frame for us: what was in it is missed and fetched again */
    text_clear(&hub->refused); /* not hub->out: the owners publish through that meanwhile */
    wire_begin(&refusals, &hub->refused, WIRE_CONTROL);
    while (wire_next(&reader, &record) == ERR_OK)
        dispatch(hub, &record, &refusals);
    if (refusals.record_count > 0 && message->reply.len > 0 && wire_finish(&refusals) == ERR_OK)
        (void)hub_publish(hub, message->reply, text_slice(&hub->refused)); /* else its next frame */
    trim(&hub->refused);
}

static void on_bounce(void *ctx, const struct bus_message *message, enum err why)
{
    struct ask_hub *hub = ctx;
    struct wire_reader reader;
    struct wire_record record;
    if (wire_open(message->frame, &reader) != ERR_OK)
        return; /* not ours: somebody else publishes through this endpoint */
    while (wire_next(&reader, &record) == ERR_OK) {
        struct ask *ask = map_get(hub->streams, record.stream);
        if (ask)
            ask_on_bounce(ask, record.type, message->subject, why);
    }
}

/* --- life --- */

enum err ask_hub_new(struct bus *bus, const struct ask_options *options, struct ask_hub **out_hub)
{
    ASSERT(options->credit_events > 0 && options->credit_bytes > 0 && options->repeat_ms > 0);
    struct ask_hub *hub = mem_alloc(sizeof(*hub));
    hub->bus = bus;
    hub->options = *options;
    enum err err =
        bus_subscribe(bus, bus_inbox(bus), (struct slice){0}, on_message, hub, &hub->inbox);
    if (err != ERR_OK) {
        mem_free(hub);
        return err;
    }
    bus_on_bounce(bus, on_bounce, hub);
    hub->streams = map_new(options->asks_max);
    list_init(&hub->open);
    list_init(&hub->due);
    deferred_init(&hub->flush, on_flush, hub);
    text_init(&hub->out, WIRE_FRAME_MAX_BYTES);
    text_init(&hub->refused, WIRE_FRAME_MAX_BYTES);
    text_init(&hub->scratch, EVENT_TEXT_MAX_BYTES);
    *out_hub = hub;
    return ERR_OK;
}

void ask_hub_free(struct ask_hub *hub)
{
    if (!hub)
        return;
    ASSERT_MSG(map_count(hub->streams) == 0, "%zu asks are open", map_count(hub->streams));
    flush_all(hub);
    deferred_cancel(&hub->flush);
    bus_on_bounce(hub->bus, NULL, NULL);
    bus_unsubscribe(&hub->inbox);
    map_free(hub->streams);
    text_fini(&hub->out);
    text_fini(&hub->refused);
    text_fini(&hub->scratch);
    mem_free(hub);
}

size_t ask_hub_count(const struct ask_hub *hub)
{
    return map_count(hub->streams);
}

void ask_hub_drain(struct ask_hub *hub, void (*on_idle)(void *ctx), void *ctx)
{
    hub->draining = true;
    hub->on_idle = on_idle;
    hub->idle_ctx = ctx;
    LIST_FOREACH (link, &hub->open)
        ask_cancel(CONTAINER_OF(link, struct ask, link));
    loop_before_sleep(bus_loop(hub->bus), &hub->flush);
}

struct ask_stats ask_hub_stats(const struct ask_hub *hub)
{
    return hub->stats;
}
