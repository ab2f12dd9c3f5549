/* worker_inbox - what comes from askers: frames and their records, and how a submit becomes a
 * stream. A large submit is decoded on the pool: at 100 MB/s its JSON would hold up everybody's
 * tokens. */
#include "worker/worker_impl.h"

#include "base/clock.h"
#include "base/mem.h"

#include <stdio.h>

enum {
    US_PER_MS = 1000,
    DECODE_HERE_BYTES = 64 * 1024,     /* larger ones go to the pool, */
    DECODING_BYTES = 64 * 1024 * 1024, /* so many bytes at once; more are lost, and repeated */
    ARENA_FACTOR = 4, /* decoded, per byte of JSON: tokens and small messages grow most */
    ARENA_SLACK = 64 * 1024,
};

static const char *const queue_group = "workers";

/* A submit on its way to become a stream. */
struct submit {
    uint64_t stream;
    uint32_t epoch;
    struct slice reply;
    struct arena *arena; /* holds request */
    struct request request;
    enum err err; /* of decoding; then with a note */
    struct err_note note;
    bool is_cancelled;
};

/* One on the pool. */
struct decoding {
    struct worker *worker;
    struct loop_work *work;
    struct submit submit;
    struct slice payload;
    char bytes[]; /* payload, reply */
};

/* --- from submit to stream --- */

/* The wall clocks of two machines differ: time on the way counts only as far as it makes sense. */
static uint64_t deadline_of(const struct stream *stream)
{
    const struct request *request = &stream->request;
    if (request->deadline_ms == 0)
        return UINT64_MAX;
    int64_t gone_ms = request->arrival_ms ? clock_wall_ms() - request->arrival_ms : 0;
    if (gone_ms < 0)
        gone_ms = 0;
    uint64_t left_ms =
        gone_ms < request->deadline_ms ? request->deadline_ms - (uint64_t)gone_ms : 0;
    return stream->arrived_us + left_ms * US_PER_MS;
}

static void admit(struct stream *stream)
{
    struct worker *worker = stream->worker;
    if (worker->is_draining) {
        worker_stream_fail(stream, FAULT_DRAINING, SLICE("the worker is stopping"), NULL);
    } else if (worker->phase == NODE_FAILED) {
        worker_stream_fail(stream, FAULT_MODEL_FAILED, slice_str(worker->detail), NULL);
    } else if (worker->living_count > WORKER_LIVING_MAX ||
               admission_enter(&worker->admission, &stream->place, stream->request.priority,
                               deadline_of(stream), stream->arrived_us) != ERR_OK) {
        worker_stream_fail(stream, FAULT_QUEUE_FULL, SLICE("too many requests wait for this model"),
                           NULL);
    } else {
        worker->stats.accepted++;
        if (worker->engine)
            worker_stream_prepare(stream);
        else
            worker_stream_tell_progress(stream, 0);
    }
}

/* There may be no inbox in it to answer to: then to where the frame came from. */
static void refuse_malformed(struct worker *worker, const struct submit *submit)
{
    struct arena *arena = NULL;
    struct request request = {.id.low = submit->stream,
                              .epoch = submit->epoch,
                              .inbox = submit->reply,
                              .credit_events = 1,
                              .credit_bytes = 1};
    if (submit->reply.len == 0)
        return;
    struct stream *stream = worker_stream_new(worker, &arena, &request);
    worker_stream_fail(stream, FAULT_INVALID_REQUEST, slice_str(submit->note.text), NULL);
}

/* Any thread. */
static void decode(struct submit *submit, struct slice payload)
{
    submit->arena = arena_new(ARENA_FACTOR * payload.len + ARENA_SLACK);
    submit->err = request_decode(payload, submit->arena, &submit->request, &submit->note);
    if (submit->err == ERR_OK && (request_stream(&submit->request) != submit->stream ||
                                  submit->request.epoch != submit->epoch))
        submit->err =
            err_note_fail(&submit->note, ERR_PROTOCOL, "submit: the record names another request");
}

static void take(struct worker *worker, struct submit *submit)
{
    struct stream *earlier = map_get(worker->streams, submit->stream);
    bool is_bad = submit->err != ERR_OK;
    if (earlier &&
        (is_bad || submit->epoch <= earlier->epoch || !id_eq(earlier->id, submit->request.id)))
        return; /* two requests with one handle: the later is not heard, and may come again */
    if (is_bad) {
        refuse_malformed(worker, submit);
        return;
    }
    if (earlier)
        worker_stream_supersede(earlier);
    struct stream *stream = worker_stream_new(worker, &submit->arena, &submit->request);
    if (submit->is_cancelled)
        worker_stream_cancel(stream);
    else
        admit(stream);
}

/* --- large ones, by way of the pool --- */

static void on_pool(void *ctx)
{
    struct decoding *decoding = ctx;
    decode(&decoding->submit, decoding->payload);
}

static void on_decoded(void *ctx, enum err status)
{
    struct decoding *decoding = ctx;
    struct worker *worker = decoding->worker;
    ASSERT(status == ERR_OK); /* nobody cancels the work */
    (void)map_remove(worker->decodings, decoding->submit.stream);
    worker->decoding_bytes -= decoding->payload.len;
    worker->preparing--;
    take(worker, &decoding->submit);
    arena_free(decoding->submit.arena);
    mem_free(decoding);
    worker_pump(worker);
}

/* No room, no memory, or it is there already: the asker repeats it. */
static void decode_on_pool(struct worker *worker, const struct submit *submit, struct slice payload)
{
    if (worker->decoding_bytes + payload.len > DECODING_BYTES ||
        map_get(worker->decodings, submit->stream))
        return;
    struct decoding *decoding = mem_peer_alloc(sizeof(*decoding) + payload.len + submit->reply.len);
    if (!decoding)
        return;
    *decoding = (struct decoding){.worker = worker, .submit = *submit};
    memcpy(decoding->bytes, payload.data, payload.len);
    if (submit->reply.len)
        memcpy(decoding->bytes + payload.len, submit->reply.data, submit->reply.len);
    decoding->payload = slice_of(decoding->bytes, payload.len);
    decoding->submit.reply = slice_of(decoding->bytes + payload.len, submit->reply.len);
    enum err err = map_put(worker->decodings, submit->stream, decoding);
    ASSERT(err == ERR_OK); /* DECODING_BYTES of more than DECODE_HERE_BYTES each are few */
    worker->decoding_bytes += payload.len;
    worker->preparing++;
    decoding->work = loop_work_start(worker->loop, on_pool, on_decoded, decoding);
}

/* --- records --- */

static void on_new_submit(struct worker *worker, const struct bus_message *message,
                          const struct wire_record *record)
{
    struct submit submit = {
        .stream = record->stream, .epoch = record->epoch, .reply = message->reply};
    if (record->payload.len > DECODE_HERE_BYTES) {
        decode_on_pool(worker, &submit, record->payload);
        return;
    }
    decode(&submit, record->payload);
    take(worker, &submit);
    arena_free(submit.arena);
}

static void on_submit(struct worker *worker, const struct bus_message *message,
                      const struct wire_record *record)
{
    struct stream *known = map_get(worker->streams, record->stream);
    if (known && record->epoch < known->epoch)
        return; /* given up since */
    if (!known || record->epoch > known->epoch)
        on_new_submit(worker, message, record);
    else if (known->out)
        outbox_resend(known->out); /* else its end is acknowledged: this one comes late */
}

/* False: nothing of that name is being decoded. */
static bool cancel_decoding(struct worker *worker, const struct wire_record *record)
{
    struct decoding *decoding = map_get(worker->decodings, record->stream);
    if (!decoding || decoding->submit.epoch != record->epoch)
        return false;
    decoding->submit.is_cancelled = true;
    return true;
}

/* False: there is no such stream. */
static bool on_cancel_or_credit(struct worker *worker, const struct wire_record *record)
{
    struct stream *stream = map_get(worker->streams, record->stream);
    if (!stream || stream->epoch != record->epoch)
        return record->type == WIRE_CANCEL && cancel_decoding(worker, record);
    if (record->type == WIRE_CANCEL)
        worker_stream_cancel(stream);
    else
        worker_stream_credit(stream, record);
    return true;
}

/* `unknown`: where to say of a stream that it is not here. NULL: others may have it. */
static void on_record(struct worker *worker, const struct bus_message *message,
                      const struct wire_record *record, struct wire_writer *unknown)
{
    switch (record->type) {
    case WIRE_SUBMIT:
        on_submit(worker, message, record);
        return;
    case WIRE_CANCEL:
    case WIRE_CREDIT:
        if (!on_cancel_or_credit(worker, record) && unknown)
            wire_add(unknown, &(struct wire_record){.stream = record->stream,
                                                    .epoch = record->epoch,
                                                    .type = WIRE_UNKNOWN_STREAM});
        return;
    default:
        return; /* of a later version */
    }
}

static void read_frame(struct worker *worker, const struct bus_message *message,
                       struct wire_writer *unknown)
{
    struct wire_reader reader;
    struct wire_record record;
    if (wire_open(message->frame, &reader) != ERR_OK || reader.kind != WIRE_CONTROL)
        return; /* not for us: who sent it repeats what matters */
    while (wire_next(&reader, &record) == ERR_OK)
        on_record(worker, message, &record, unknown);
    worker_pump(worker);
}

static void on_submit_message(void *ctx, const struct bus_message *message)
{
    read_frame(ctx, message, NULL);
}

static void on_control_message(void *ctx, const struct bus_message *message)
{
    struct worker *worker = ctx;
    struct wire_writer unknown;
    text_clear(&worker->refusals);
    wire_begin(&unknown, &worker->refusals, WIRE_EVENTS);
    read_frame(worker, message, &unknown);
    if (unknown.record_count > 0 && message->reply.len > 0 && wire_finish(&unknown) == ERR_OK)
        (void)bus_publish(worker->bus, message->reply, bus_inbox(worker->bus),
                          text_slice(&worker->refusals)); /* lost: they ask again */
}

/* --- life --- */

enum err worker_inbox_open(struct worker *worker)
{
    char subject[sizeof("submit.") + WORKER_NAME_BYTES];
    int bytes = snprintf(subject, sizeof(subject), "submit.%s", worker->model);
    text_init(&worker->refusals, WIRE_FRAME_MAX_BYTES);
    worker->decodings = map_new(DECODING_BYTES / DECODE_HERE_BYTES);
    TRY(bus_subscribe(worker->bus, bus_inbox(worker->bus), (struct slice){0}, on_control_message,
                      worker, &worker->control));
    return bus_subscribe(worker->bus, slice_of(subject, (size_t)bytes), slice_str(queue_group),
                         on_submit_message, worker, &worker->submits);
}

void worker_inbox_close(struct worker *worker)
{
    bus_unsubscribe(&worker->submits);
    bus_unsubscribe(&worker->control);
}

void worker_inbox_free(struct worker *worker)
{
    worker_inbox_close(worker);
    map_free(worker->decodings);
    text_fini(&worker->refusals);
}
