/* stage - the scripted manager and worker and the writing-down owner of the ask tests. */
#include "ask/stage.h"

#include "base/arena.h"
#include "wire/assigned.h"

/* --- they hear --- */

static void note(struct stage *stage, const struct wire_record *record, struct heard where)
{
    ASSERT(stage->heard_count < STAGE_HEARD_MAX);
    struct heard *heard = &stage->heard[stage->heard_count++];
    *heard = where;
    heard->type = record->type;
    heard->flags = record->flags;
    heard->stream = record->stream;
    heard->epoch = record->epoch;
    heard->at_us = loop_now_us(stage->loop);
    heard->frame = stage->frames_heard;
    if (record->type == WIRE_CREDIT)
        ASSERT(wire_read_credit(record, &heard->credit) == ERR_OK);
    if (record->type == WIRE_SUBMIT) {
        text_clear(&stage->last_submit);
        text_add(&stage->last_submit, record->payload);
    }
}

static void hear(struct stage *stage, const struct bus_message *message, struct heard where)
{
    struct wire_reader reader;
    struct wire_record record;
    ASSERT(wire_open(message->frame, &reader) == ERR_OK);
    ASSERT(reader.kind == WIRE_CONTROL);
    ASSERT(slice_eq(message->reply, bus_inbox(stage->asker)));
    bool is_ping = false;
    stage->frames_heard++;
    enum err err;
    while ((err = wire_next(&reader, &record)) == ERR_OK) {
        is_ping = record.type == WIRE_PING;
        if (!is_ping)
            note(stage, &record, where);
    }
    ASSERT(err == ERR_AGAIN);
    stage->pings += is_ping;
    stage->frames_heard -= is_ping; /* they come by the clock: not what is counted in frames */
}

static void on_submit(void *ctx, const struct bus_message *message)
{
    hear(ctx, message, (struct heard){0});
}

static void on_manager(void *ctx, const struct bus_message *message)
{
    hear(ctx, message, (struct heard){.on_manager = true});
}

static void on_control(void *ctx, const struct bus_message *message)
{
    hear(ctx, message, (struct heard){.on_control = true});
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

size_t heard_in_epoch(const struct stage *stage, uint16_t type, uint32_t epoch)
{
    size_t count = 0;
    for (size_t i = 0; i < stage->heard_count; i++)
        count += stage->heard[i].type == type && stage->heard[i].epoch == epoch;
    return count;
}

void check_last_submit(const struct stage *stage, const struct owner *owner, uint32_t epoch)
{
    struct arena *arena = arena_new(1 << 16);
    struct request request;
    ASSERT(request_decode(text_slice(&stage->last_submit), arena, &request, NULL) == ERR_OK);
    ASSERT(id_eq(request.id, owner->id));
    ASSERT_MSG(request.epoch == epoch, "epoch %u, not %u", request.epoch, epoch);
    ASSERT(request.arrival_ms == 1700000000000);
    ASSERT(slice_eq_str(request.prompt, "hello"));
    ASSERT(slice_eq(request.inbox, bus_inbox(stage->asker)));
    arena_free(arena);
}

/* --- they say --- */

void say_bytes(struct stage *stage, struct slice frame)
{
    /* Whoever is there says it: of one that has left the last words are still on their way. */
    struct bus *voice = bus_mem_open(stage->bus_mem, stage->loop);
    ASSERT(bus_publish(voice, bus_inbox(stage->asker), stage->reply, frame) == ERR_OK);
    stage_run(stage, 0);
    bus_close(&voice);
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
    event_encode(&writer, owner->id.low, stage->epoch, event, &token);
    say_writer(stage, &writer);
}

void say_accepted(struct stage *stage, const struct owner *owner, uint64_t seq)
{
    struct event event = {.type = EVENT_ACCEPTED, .seq = seq};
    event.accepted.worker = SLICE("w");
    event.accepted.control = stage->reply;
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
    say_record(stage, &(struct wire_record){.stream = owner->id.low,
                                            .seq = seq,
                                            .epoch = stage->epoch,
                                            .type = WIRE_HEARTBEAT});
}

void say_unknown(struct stage *stage, const struct owner *owner)
{
    say_record(stage, &(struct wire_record){.stream = owner->id.low,
                                            .epoch = stage->epoch,
                                            .type = WIRE_UNKNOWN_STREAM});
}

static struct slice speak_as_manager(struct stage *stage)
{
    struct slice before = stage->reply;
    stage->reply = SLICE("control.m");
    return before;
}

void manager_say_queued(struct stage *stage, const struct owner *owner)
{
    struct slice before = speak_as_manager(stage);
    say(stage, owner, &(struct event){.type = EVENT_QUEUED, .queued = {3, 0}});
    stage->reply = before;
}

void manager_say_assigned(struct stage *stage, const struct owner *owner, struct slice control)
{
    struct text out;
    struct wire_writer writer;
    struct slice before = speak_as_manager(stage);
    text_init(&out, WIRE_FRAME_MAX_BYTES);
    wire_begin(&writer, &out, WIRE_EVENTS);
    wire_add_assigned(&writer, owner->id.low, stage->epoch, control);
    say_writer(stage, &writer);
    stage->reply = before;
}

void manager_say_unknown(struct stage *stage, const struct owner *owner)
{
    struct slice before = speak_as_manager(stage);
    say_unknown(stage, owner);
    stage->reply = before;
}

/* --- the stage --- */

void stage_init(struct stage *stage)
{
    *stage = (struct stage){.options = ask_options_default(),
                            .peer_bytes_max = 8 * 1024 * 1024,
                            .reply = SLICE("control.w"),
                            .epoch = 1};
    text_init(&stage->last_submit, WIRE_FRAME_MAX_BYTES);
}

static struct bus *open_endpoint(struct stage *stage)
{
    return bus_mem_open(stage->bus_mem, stage->away_loop ? stage->away_loop : stage->loop);
}

void stage_worker_comes(struct stage *stage)
{
    stage->worker = open_endpoint(stage);
    ASSERT(bus_subscribe(stage->worker, SLICE("control.w"), (struct slice){0}, on_control, stage,
                         &stage->on_control) == ERR_OK);
}

void stage_worker_leaves(struct stage *stage)
{
    bus_close(&stage->worker);
}

void stage_manager_comes(struct stage *stage)
{
    stage->manager = open_endpoint(stage);
    ASSERT(bus_subscribe(stage->manager, SLICE("submit"), SLICE("managers"), on_submit, stage,
                         &stage->on_submit) == ERR_OK);
    ASSERT(bus_subscribe(stage->manager, SLICE("control.m"), (struct slice){0}, on_manager, stage,
                         &stage->on_manager) == ERR_OK);
}

void stage_manager_leaves(struct stage *stage)
{
    bus_close(&stage->manager);
}

void stage_open(struct stage *stage)
{
    stage->loop = loop_new_virtual(1000000);
    stage->bus_mem = bus_mem_new(stage->peer_bytes_max);
    stage->asker = bus_mem_open(stage->bus_mem, stage->loop);
    ASSERT(ask_hub_new(stage->asker, &stage->options, &stage->hub) == ERR_OK);
    stage_manager_comes(stage);
    stage_worker_comes(stage);
}

void stage_open_default(struct stage *stage)
{
    stage_init(stage);
    stage_open(stage);
}

void stage_close(struct stage *stage)
{
    ask_hub_free(stage->hub);
    bus_close(&stage->worker);
    bus_close(&stage->manager);
    bus_close(&stage->asker);
    loop_free(stage->loop);
    loop_free(stage->away_loop);
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

struct owner owner_eager(void)
{
    return (struct owner){.consumes = true};
}

void owner_submit(struct owner *owner, struct stage *stage)
{
    owner_ask(owner, stage);
    stage_run(stage, 0);
}

void owner_queue(struct owner *owner, struct stage *stage)
{
    owner_submit(owner, stage);
    manager_say_queued(stage, owner);
}

void owner_start(struct owner *owner, struct stage *stage)
{
    owner_submit(owner, stage);
    say_accepted(stage, owner, 1);
    ASSERT(owner->count > 0 && owner->types[owner->count - 1] == EVENT_ACCEPTED);
}

void owner_finish(struct owner *owner, struct stage *stage, uint32_t epoch)
{
    stage->epoch = epoch;
    say_accepted(stage, owner, 1);
    say_delta(stage, owner, 2, "x");
    say_done(stage, owner, 3, DONE_EOS);
    ASSERT(owner->ends == 1 && owner->fault == 0 && owner->reason == DONE_EOS);
    ASSERT_MSG(strcmp(owner->text, "x") == 0, "the text is '%s'", owner->text);
}

size_t owner_events(const struct owner *owner, enum event_type type)
{
    size_t count = 0;
    for (size_t i = 0; i < owner->count; i++)
        count += owner->types[i] == type;
    return count;
}

static void take_end(struct owner *owner, const struct event *event)
{
    owner->ends++;
    owner->ask = NULL;
    if (event->type == EVENT_DONE) {
        owner->reason = event->done.reason;
        return;
    }
    owner->fault = event->error.fault;
    owner->retry_after_ms = event->error.retry_after_ms;
}

static void take_delta(struct owner *owner, const struct event *event)
{
    struct slice text = event->delta.text;
    ASSERT(owner->text_bytes + text.len < STAGE_TEXT_MAX);
    if (text.len)
        memcpy(owner->text + owner->text_bytes, text.data, text.len);
    owner->text_bytes += text.len;
    if (owner->consumes)
        ask_consumed(owner->ask, 1, event_credit_bytes(event));
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
