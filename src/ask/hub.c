/* hub - all asks of one bus endpoint: who gets which record, and what leaves at the end of a turn.
 */
#include "ask/ask_impl.h"

#include "base/map.h"
#include "base/mem.h"

enum {
    EVENT_TEXT_MAX_BYTES = 64 * 1024, /* the strings of one event */
    OUT_KEPT_BYTES = 64 * 1024,       /* memory kept between frames */
    RECORDS_PER_ASK = 2,              /* a cancel and a credit */
    WAITING_INTERVAL_MS = 500,
    US_PER_MS = 1000,
};

struct ask_options ask_options_default(void)
{
    return (struct ask_options){.repeat_ms = 250,
                                .submit_ms = 5000,
                                .silence_ms = 5000,
                                .cancel_ms = 2000,
                                .ping_ms = 200,
                                .reruns_max = 3,
                                .credit_events = 64,
                                .credit_bytes = 65536,
                                .asks_max = 10000};
}

/* --- sending --- */

/* Our inbox is the reply subject of all we say. */
static enum err publish(struct ask_hub *hub, struct slice subject, struct slice frame)
{
    return bus_publish(hub->bus, subject, bus_inbox(hub->bus), frame);
}

static void trim(struct text *text)
{
    if (text->capacity > OUT_KEPT_BYTES)
        text_fini(text);
}

static void begin_out(struct ask_hub *hub, struct wire_writer *writer)
{
    text_clear(&hub->out);
    wire_begin(writer, &hub->out, WIRE_CONTROL);
}

static enum err publish_out(struct ask_hub *hub, struct slice subject, struct wire_writer *writer)
{
    enum err err = wire_finish(writer);
    if (err == ERR_OK)
        err = publish(hub, subject, text_slice(&hub->out));
    trim(&hub->out);
    return err;
}

static void add_submit(const struct ask *ask, struct text *out)
{
    struct slice submit = slice_of(ask->submit, ask->submit_bytes);
    if (!ask->said || !ask->said->has_begun) {
        text_add(out, submit);
        return;
    }
    struct continuation continuation = said_continuation(ask->said);
    request_encode_continued(submit, &continuation, (uint32_t)ask->granted.seq_limit,
                             (uint32_t)ask->granted.byte_limit, out);
}

enum err hub_publish_submit(struct ask_hub *hub, const struct ask *ask)
{
    struct wire_writer writer;
    begin_out(hub, &writer);
    wire_open_record(&writer, &(struct wire_record){
                                  .stream = ask->id.low, .epoch = ask->epoch, .type = WIRE_SUBMIT});
    add_submit(ask, writer.out);
    wire_close_record(&writer);
    return publish_out(hub, SUBMIT_SUBJECT, &writer);
}

static void add_cancel(struct wire_writer *writer, const struct ask *ask)
{
    wire_add(writer, &(struct wire_record){
                         .stream = ask->id.low, .epoch = ask->epoch, .type = WIRE_CANCEL});
}

void hub_publish_cancel(struct ask_hub *hub, struct slice subject, const struct ask *ask)
{
    struct wire_writer writer;
    begin_out(hub, &writer);
    add_cancel(&writer, ask);
    (void)publish_out(hub, subject, &writer); /* lost: said again when the stream speaks */
}

/* --- what leaves at the end of a turn --- */

void hub_ask_is_due(struct ask *ask, unsigned due)
{
    ask->due |= (uint8_t)due;
    ask->hub->due_bits |= (uint8_t)due;
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

/* The cancels that `bit` stands for, of the asks with that manager (NULL: of all), in one frame.
 * More than a frame takes are said at the next repeat. */
static void flush_cancels(struct ask_hub *hub, struct slice subject, const struct contact *manager,
                          unsigned bit)
{
    struct wire_writer writer;
    begin_out(hub, &writer);
    LIST_FOREACH (link, &hub->due) {
        struct ask *ask = CONTAINER_OF(link, struct ask, due_link);
        bool is_meant = (ask->due & bit) && (!manager || ask->manager == manager);
        if (is_meant && writer.record_count < WIRE_RECORDS_MAX)
            add_cancel(&writer, ask);
    }
    if (writer.record_count > 0)
        (void)publish_out(hub, subject, &writer); /* lost: repeated */
}

static void write_one(struct ask *ask, struct wire_writer *writer)
{
    list_remove(&ask->due_link);
    ask_write_due(ask, writer);
    if (ask->state == ASK_ENDED)
        ask_free(ask);
}

/* Everything due for one worker, in one frame (rule 5). NULL: nobody is known, nobody is told. */
static void flush_to(struct ask_hub *hub, struct contact *worker)
{
    struct wire_writer writer;
    if (worker)
        worker->uses++; /* the last ask may go while it is written to */
    begin_out(hub, &writer);
    LIST_FOREACH_SAFE (link, &hub->due) {
        struct ask *ask = CONTAINER_OF(link, struct ask, due_link);
        if (writer.record_count > WIRE_RECORDS_MAX - RECORDS_PER_ASK)
            break;
        if (ask->worker == worker)
            write_one(ask, &writer);
    }
    if (worker && writer.record_count > 0)
        (void)publish_out(hub, contact_control(worker),
                          &writer); /* lost: repeated, or a heartbeat */
    contact_unref(&worker);
}

static void flush_all(struct ask_hub *hub)
{
    unsigned due_bits = hub->due_bits;
    hub->due_bits = 0;
    if (due_bits & DUE_CANCEL_SUBMIT)
        flush_cancels(hub, SUBMIT_SUBJECT, NULL, DUE_CANCEL_SUBMIT);
    if (due_bits & DUE_CANCEL_MANAGER) {
        LIST_FOREACH (link, &hub->managers) {
            struct contact *manager = CONTAINER_OF(link, struct contact, link);
            flush_cancels(hub, contact_control(manager), manager, DUE_CANCEL_MANAGER);
        }
    }
    while (!list_is_empty(&hub->due))
        flush_to(hub, CONTAINER_OF(hub->due.next, struct ask, due_link)->worker);
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

/* --- are they still there? --- */

static void watch(struct deadline *deadline, uint32_t every_ms)
{
    if (!deadline_is_armed(deadline))
        deadline_round(deadline, (uint64_t)every_ms * US_PER_MS);
}

void hub_watch_workers(struct ask_hub *hub)
{
    watch(&hub->ping, hub->options.ping_ms);
}

void hub_watch_managers(struct ask_hub *hub)
{
    watch(&hub->wait, WAITING_INTERVAL_MS);
}

/* Rule 8. */
static void on_ping(void *ctx)
{
    struct ask_hub *hub = ctx;
    LIST_FOREACH (link, &hub->workers) {
        struct contact *worker = CONTAINER_OF(link, struct contact, link);
        struct wire_writer writer;
        begin_out(hub, &writer);
        wire_add(&writer, &(struct wire_record){.type = WIRE_PING});
        (void)publish_out(hub, contact_control(worker), &writer); /* the next one will do */
    }
    if (!list_is_empty(&hub->workers))
        hub_watch_workers(hub);
}

/* Every ask that waits there, in one frame; what a frame does not take waits for the next time,
 * when the first ones have moved to the end. */
static void ask_manager(struct ask_hub *hub, struct contact *manager)
{
    struct wire_writer writer;
    struct list asked;
    list_init(&asked);
    begin_out(hub, &writer);
    while (writer.record_count < WIRE_RECORDS_MAX) {
        struct list *link = list_pop_front(&manager->asks);
        if (!link)
            break;
        struct ask *ask = CONTAINER_OF(link, struct ask, manager_link);
        list_push_back(&asked, link);
        if (ask->state == ASK_QUEUED)
            wire_add(&writer, &(struct wire_record){.stream = ask->id.low,
                                                    .epoch = ask->epoch,
                                                    .type = WIRE_WAITING});
    }
    for (struct list *link; (link = list_pop_front(&asked));)
        list_push_back(&manager->asks, link);
    if (writer.record_count > 0)
        (void)publish_out(hub, contact_control(manager), &writer); /* lost: asked again */
}

static void on_wait(void *ctx)
{
    struct ask_hub *hub = ctx;
    LIST_FOREACH (link, &hub->managers)
        ask_manager(hub, CONTAINER_OF(link, struct contact, link));
    if (!list_is_empty(&hub->managers))
        hub_watch_managers(hub);
}

static void on_ping_bounce(struct ask_hub *hub, struct slice subject, enum err why)
{
    struct contact *worker = contact_is_gone(why) ? contact_find(&hub->workers, subject) : NULL;
    if (!worker)
        return;
    worker->uses++; /* the last ask lets go of it while we look at it */
    while (!list_is_empty(&worker->asks)) {
        struct list *first = worker->asks.next;
        ask_on_lost(CONTAINER_OF(first, struct ask, worker_link), "the worker is gone");
        ASSERT(worker->asks.next != first); /* it has ended, or is asked for again */
    }
    contact_unref(&worker);
}

/* --- receiving --- */

/* Somebody produces for an ask that is gone (it ended here, or by silence), or that hears somebody
 * else. The reply subject, where the producer has given one, is where it hears that nobody wants
 * it. */
static void refuse_stream(const struct wire_record *record, struct wire_writer *refusals)
{
    if (record->type == WIRE_UNKNOWN_STREAM || record->type == WIRE_ANSWER)
        return; /* both forgot it: good; or it is no stream at all */
    wire_add(refusals, &(struct wire_record){
                           .stream = record->stream, .epoch = record->epoch, .type = WIRE_CANCEL});
}

static void dispatch(struct ask_hub *hub, const struct wire_record *record, struct slice from,
                     struct wire_writer *refusals)
{
    struct ask *ask = map_get(hub->streams, record->stream);
    if (!ask || ask_on_record(ask, record, from, &hub->scratch))
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
        dispatch(hub, &record, message->reply, &refusals);
    if (refusals.record_count > 0 && message->reply.len > 0 && wire_finish(&refusals) == ERR_OK)
        (void)publish(hub, message->reply, text_slice(&hub->refused)); /* else at its next frame */
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
        if (record.type == WIRE_CALL) { /* its stream is a number of the caller's */
            if (hub->on_call_bounce)
                hub->on_call_bounce(hub->call_ctx, message, why);
            return;
        }
        struct ask *ask = map_get(hub->streams, record.stream);
        if (record.type == WIRE_PING)
            on_ping_bounce(hub, message->subject, why);
        else if (ask)
            ask_on_bounce(ask, &record, message->subject, why);
    }
}

/* --- life --- */

enum err ask_hub_new(struct bus *bus, const struct ask_options *options, struct ask_hub **out_hub)
{
    ASSERT(options->credit_events > 0 && options->credit_bytes > 0);
    ASSERT(options->repeat_ms > 0 && options->ping_ms > 0);
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
    list_init(&hub->workers);
    list_init(&hub->managers);
    deadline_init(&hub->ping, bus_loop(bus), on_ping, hub);
    deadline_init(&hub->wait, bus_loop(bus), on_wait, hub);
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
    ASSERT(list_is_empty(&hub->workers) && list_is_empty(&hub->managers));
    deadline_clear(&hub->ping);
    deadline_clear(&hub->wait);
    deferred_cancel(&hub->flush);
    bus_on_bounce(hub->bus, NULL, NULL);
    bus_unsubscribe(&hub->inbox);
    map_free(hub->streams);
    text_fini(&hub->out);
    text_fini(&hub->refused);
    text_fini(&hub->scratch);
    mem_free(hub);
}

void ask_hub_on_call_bounce(struct ask_hub *hub, bus_bounce_fn *on_bounce_of_call, void *ctx)
{
    hub->on_call_bounce = on_bounce_of_call;
    hub->call_ctx = ctx;
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
