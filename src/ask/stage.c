/* stage - the scripted worker and the writing-down owner of the ask tests. */
#include "ask/stage.h"

/* --- the worker hears --- */

static void hear(struct stage *stage, const struct bus_message *message, bool on_control)
{
    struct wire_reader reader;
    struct wire_record record;
    ASSERT(wire_open(message->frame, &reader) == ERR_OK);
    ASSERT(reader.kind == WIRE_CONTROL);
    ASSERT(slice_eq(message->reply, bus_inbox(stage->asker)));
    stage->frames_heard++;
    enum err err;
    while ((err = wire_next(&reader, &record)) == ERR_OK) {
        ASSERT(stage->heard_count < STAGE_HEARD_MAX);
        struct heard *heard = &stage->heard[stage->heard_count++];
        *heard = (struct heard){on_control,
                                record.type,
                                record.flags,
                                record.stream,
                                record.epoch,
                                .at_us = loop_now_us(stage->loop),
                                .frame = stage->frames_heard};
        if (record.type == WIRE_CREDIT)
            ASSERT(wire_read_credit(&record, &heard->credit) == ERR_OK);
        if (record.type == WIRE_SUBMIT) {
            text_clear(&stage->last_submit);
            text_add(&stage->last_submit, record.payload);
        }
    }
    ASSERT(err == ERR_AGAIN);
}

static void on_submit(void *ctx, const struct bus_message *message)
{
    hear(ctx, message, false);
}

static void on_control(void *ctx, const struct bus_message *message)
{
    hear(ctx, message, true);
}

size_t heard_count(const struct stage *stage, uint16_t type)
{
    size_t count = 0;
    for (size_t i = 0; i < stage->heard_count; i++)
        count += stage->heard[i].type == type;
    return count;
}

const struct heard *heard_last(const struct stage *stage, uint16_t type)
{
    for (size_t i = stage->heard_count; i-- > 0;) {
        if (stage->heard[i].type == type)
            return &stage->heard[i];
    }
    return NULL;
}

/* --- the worker says --- */

void say_bytes(struct stage *stage, struct slice frame)
{
    ASSERT(bus_publish(stage->worker, bus_inbox(stage->asker), stage->reply, frame) == ERR_OK);
    stage_run(stage, 0);
}

static void say_writer(struct stage *stage, struct wire_writer *writer)
{
    ASSERT(wire_finish(writer) == ERR_OK);
    say_bytes(stage, text_slice(writer->out));
    text_fini(writer->out);
}

void say(struct stage *stage, const struct owner *owner, const struct event *event)
{
    static const int32_t token = 7;
    struct text out;
    struct wire_writer writer;
    text_init(&out, WIRE_FRAME_MAX_BYTES);
    wire_begin(&writer, &out, WIRE_EVENTS);
    event_encode(&writer, owner->id.low, 1, event, &token);
    say_writer(stage, &writer);
}

void say_accepted(struct stage *stage, const struct owner *owner, uint64_t seq)
{
    struct event event = {.type = EVENT_ACCEPTED, .seq = seq};
    event.accepted.worker = SLICE("w");
    event.accepted.control = SLICE("control.w");
    say(stage, owner, &event);
}

void say_delta(struct stage *stage, const struct owner *owner, uint64_t seq, const char *text)
{
    struct event event = {.type = EVENT_DELTA, .seq = seq};
    event.delta.token_count = 1;
    event.delta.text = slice_str(text);
    say(stage, owner, &event);
}

void say_done(struct stage *stage, const struct owner *owner, uint64_t seq, enum done_reason reason)
{
    struct event event = {.type = EVENT_DONE, .seq = seq};
    event.done.reason = reason;
    say(stage, owner, &event);
}

void say_record(struct stage *stage, const struct wire_record *record)
{
    struct text out;
    struct wire_writer writer;
    text_init(&out, WIRE_FRAME_MAX_BYTES);
    wire_begin(&writer, &out, WIRE_EVENTS);
    wire_add(&writer, record);
    say_writer(stage, &writer);
}

void say_heartbeat(struct stage *stage, const struct owner *owner, uint64_t seq)
{
    say_record(stage, &(struct wire_record){
                          .stream = owner->id.low, .seq = seq, .epoch = 1, .type = WIRE_HEARTBEAT});
}

void say_unknown(struct stage *stage, const struct owner *owner)
{
    say_record(stage, &(struct wire_record){
                          .stream = owner->id.low, .epoch = 1, .type = WIRE_UNKNOWN_STREAM});
}

/* --- the stage --- */

void stage_init(struct stage *stage)
{
    *stage = (struct stage){.options = ask_options_default(), .peer_bytes_max = 8 * 1024 * 1024};
    text_init(&stage->last_submit, WIRE_FRAME_MAX_BYTES);
}

void stage_worker_comes(struct stage *stage)
{
    stage->worker =
        bus_mem_open(stage->bus_mem, stage->worker_loop ? stage->worker_loop : stage->loop);
    ASSERT(bus_subscribe(stage->worker, SLICE("submit.m"), SLICE("workers"), on_submit, stage,
                         &stage->on_submit) == ERR_OK);
    ASSERT(bus_subscribe(stage->worker, SLICE("control.w"), (struct slice){0}, on_control, stage,
                         &stage->on_control) == ERR_OK);
}

void stage_worker_leaves(struct stage *stage)
{
    bus_close(&stage->worker);
}

void stage_open(struct stage *stage)
{
    stage->loop = loop_new_virtual(1000000);
    stage->bus_mem = bus_mem_new(stage->peer_bytes_max);
    stage->asker = bus_mem_open(stage->bus_mem, stage->loop);
    ASSERT(ask_hub_new(stage->asker, &stage->options, &stage->hub) == ERR_OK);
    stage_worker_comes(stage);
}

void stage_close(struct stage *stage)
{
    ask_hub_free(stage->hub);
    bus_close(&stage->worker);
    bus_close(&stage->asker);
    loop_free(stage->loop);
    loop_free(stage->worker_loop);
    bus_mem_free(stage->bus_mem);
    text_fini(&stage->last_submit);
}

void stage_run(struct stage *stage, uint64_t ms)
{
    loop_advance(stage->loop, ms * 1000);
}

/* --- the owner --- */

struct request stage_request(struct id id)
{
    return (struct request){.id = id,
                            .model = SLICE("m"),
                            .prompt = SLICE("hello"),
                            .sampling = sampling_default(),
                            .arrival_ms = 1700000000000};
}

void owner_ask(struct owner *owner, struct stage *stage)
{
    owner->stage = stage;
    owner->id = id_new();
    struct request request = stage_request(owner->id);
    ASSERT(ask_open(stage->hub, &request, owner_on_event, owner, &owner->ask) == ERR_OK);
}

static void take_end(struct owner *owner, const struct event *event)
{
    owner->ends++;
    owner->ask = NULL;
    if (event->type == EVENT_DONE)
        owner->reason = event->done.reason;
    else
        owner->fault = event->error.fault;
}

static void take_delta(struct owner *owner, const struct event *event)
{
    struct slice text = event->delta.text;
    ASSERT(owner->text_bytes + text.len < STAGE_TEXT_MAX);
    if (text.len)
        memcpy(owner->text + owner->text_bytes, text.data, text.len);
    owner->text_bytes += text.len;
    if (owner->consumes)
        ask_consumed(owner->ask, 1, event_delta_bytes(event));
}

void owner_on_event(void *ctx, const struct event *event)
{
    struct owner *owner = ctx;
    ASSERT(owner->ends == 0);
    ASSERT(owner->count < STAGE_EVENTS_MAX);
    owner->types[owner->count] = event->type;
    owner->seqs[owner->count++] = event->seq;
    if (event->type == EVENT_DELTA)
        take_delta(owner, event);
    else if (event_is_end(event->type))
        take_end(owner, event);
    if (owner->on_event)
        owner->on_event(owner, event);
}
