/* worker_inbox - what comes to the control subject: assignments from managers, credit and cancel
 * from askers; and how an assignment becomes a stream. Of a submit only the head is read here: the
 * rest may be megabytes, and is prep's, on the pool when it is long. */
#include "worker/worker_impl.h"

#include "base/log.h"

enum { HEAD_ARENA_BYTES = 64 * 1024 }; /* names, decoded */

/* --- answers --- */

void worker_say_unknown(struct worker *worker, struct slice inbox, uint64_t stream, uint32_t epoch)
{
    struct text frame;
    struct wire_writer writer;
    text_init(&frame, WIRE_FRAME_HEADER_BYTES + WIRE_RECORD_HEADER_BYTES + 1);
    wire_begin(&writer, &frame, WIRE_EVENTS);
    wire_add(&writer,
             &(struct wire_record){.stream = stream, .epoch = epoch, .type = WIRE_UNKNOWN_STREAM});
    if (wire_finish(&writer) == ERR_OK)
        (void)bus_publish(worker->bus, inbox, bus_inbox(worker->bus),
                          text_slice(&frame)); /* lost: the manager tells it, when it asks */
    text_fini(&frame);
}

static void say_released(struct worker *worker, const struct wire_record *record)
{
    worker_load_released(worker, record->stream, record->epoch, &(struct wire_released){0});
}

/* --- from assignment to stream --- */

/* The manager has read this head before us. */
static void refuse_unreadable(struct worker *worker, const struct wire_record *record,
                              const struct err_note *note)
{
    log_event(LOG_WARN, "assignment_malformed", "model=%s note=%s",
              log_quote(slice_str(worker->model), 64), log_quote(slice_str(note->text), 256));
    say_released(worker, record);
}

/* A manager only assigns where it was told of room: what comes all the same was on its way while
 * the engine broke or the drain began, and may run elsewhere at once. */
static bool can_take(const struct worker *worker)
{
    return worker->phase == NODE_READY && !worker->is_draining;
}

static void take(struct worker *worker, const struct wire_record *record,
                 const struct request *head, uint32_t manager_id)
{
    struct stream *earlier = map_get(worker->streams, record->stream);
    if (earlier && id_eq(earlier->id, head->id)) {
        worker_stream_supersede(earlier);
        earlier = NULL;
    }
    struct stream *stream = NULL;
    if (!earlier && can_take(worker)) /* two requests with one handle: not both here */
        stream = worker_stream_new(worker, head, manager_id);
    if (stream) {
        worker_stream_prepare(stream, record->payload, head);
        return;
    }
    worker->stats.handed_back++;
    worker_say_unknown(worker, head->inbox, record->stream, record->epoch);
    say_released(worker, record);
}

static void on_new(struct worker *worker, const struct wire_record *record, uint32_t manager_id)
{
    struct request head;
    struct err_note note = {0};
    struct arena *arena = arena_new(HEAD_ARENA_BYTES);
    enum err err = request_decode_head(record->payload, arena, &head, &note);
    if (err == ERR_OK && (request_stream(&head) != record->stream || head.epoch != record->epoch))
        err = err_note_fail(&note, ERR_PROTOCOL, "submit: the record names another request");
    if (err == ERR_OK)
        take(worker, record, &head, manager_id);
    else
        refuse_unreadable(worker, record, &note);
    arena_free(arena);
}

/* Assigned before. One that has ended is released again: that may be what got lost. */
static void on_known(struct worker *worker, const struct wire_record *record, struct stream *stream)
{
    bool is_this_epoch = record->epoch == stream->epoch;
    if (is_this_epoch && stream->out)
        outbox_resend(stream->out);
    if (!is_this_epoch || stream->state == STREAM_ENDED)
        say_released(worker, record);
}

static void on_assignment(struct worker *worker, const struct bus_message *message,
                          const struct wire_record *record)
{
    uint32_t manager_id = worker_load_assigned(worker, message->reply, record->seq);
    struct stream *known = map_get(worker->streams, record->stream);
    if (known && record->epoch <= known->epoch)
        on_known(worker, record, known);
    else
        on_new(worker, record, manager_id);
}

/* --- records --- */

/* False: there is no such stream, or none that its asker should wait for. */
static bool on_cancel_or_credit(struct worker *worker, const struct wire_record *record)
{
    struct stream *stream = map_get(worker->streams, record->stream);
    if (!stream || stream->epoch != record->epoch || stream->is_handed_back)
        return false;
    if (record->type == WIRE_CANCEL)
        worker_stream_cancel(stream);
    else
        worker_stream_credit(stream, record);
    return true;
}

/* `unknown`: where to say of a stream that it is not here. */
static void on_record(struct worker *worker, const struct bus_message *message,
                      const struct wire_record *record, struct wire_writer *unknown)
{
    switch (record->type) {
    case WIRE_SUBMIT:
        on_assignment(worker, message, record);
        return;
    case WIRE_CANCEL:
    case WIRE_CREDIT:
        if (!on_cancel_or_credit(worker, record))
            wire_add(unknown, &(struct wire_record){.stream = record->stream,
                                                    .epoch = record->epoch,
                                                    .type = WIRE_UNKNOWN_STREAM});
        return;
    default:
        return; /* a ping, or of a later version */
    }
}

static void on_control_message(void *ctx, const struct bus_message *message)
{
    struct worker *worker = ctx;
    struct wire_reader reader;
    struct wire_record record;
    struct wire_writer unknown;
    if (wire_open(message->frame, &reader) != ERR_OK || reader.kind != WIRE_CONTROL)
        return; /* not for us: who sent it repeats what matters */
    text_clear(&worker->refusals);
    wire_begin(&unknown, &worker->refusals, WIRE_EVENTS);
    while (wire_next(&reader, &record) == ERR_OK)
        on_record(worker, message, &record, &unknown);
    if (unknown.record_count > 0 && message->reply.len > 0 && wire_finish(&unknown) == ERR_OK)
        (void)bus_publish(worker->bus, message->reply, bus_inbox(worker->bus),
                          text_slice(&worker->refusals)); /* lost: they ask again */
    worker_pump(worker);
}

/* --- life --- */

enum err worker_inbox_open(struct worker *worker)
{
    text_init(&worker->refusals, WIRE_FRAME_MAX_BYTES);
    return bus_subscribe(worker->bus, bus_inbox(worker->bus), (struct slice){0}, on_control_message,
                         worker, &worker->control);
}

void worker_inbox_close(struct worker *worker)
{
    bus_unsubscribe(&worker->control);
}

void worker_inbox_free(struct worker *worker)
{
    worker_inbox_close(worker);
    text_fini(&worker->refusals);
}
