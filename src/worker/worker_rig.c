/* worker_rig - see worker_rig.h. */
#include "worker/worker_rig.h"

#include "base/clock.h"
#include "base/mem.h"
#include "testing/test.h"
#include "wire/frame.h"

#include <stdio.h>

enum { PEER_BYTES_MAX = 8 << 20, STATE_ARENA_BYTES = 64 * 1024 };

/* --- what the worker says of itself --- */

static void on_state(void *ctx, const struct bus_message *message)
{
    struct rig *rig = ctx;
    struct wire_reader reader;
    struct wire_record record;
    CHECK_OK(wire_open(message->frame, &reader));
    CHECK_EQ(reader.kind, WIRE_STATE);
    CHECK_OK(wire_next(&reader, &record));
    CHECK_EQ(record.type, WIRE_NODE_STATE);
    arena_free(rig->state_arena);
    rig->state_arena = arena_new(STATE_ARENA_BYTES);
    CHECK_OK(node_state_decode(record.payload, rig->state_arena, &rig->state));
    rig->state_count++;
}

static void on_ready(void *ctx)
{
    struct rig *rig = ctx;
    rig->is_ready = true;
}

static void on_failed(void *ctx, enum err why, const char *note)
{
    struct rig *rig = ctx;
    CHECK(!rig->has_failed);
    rig->has_failed = true;
    rig->failed_why = why;
    snprintf(rig->failed_note, sizeof(rig->failed_note), "%s", note);
}

static void on_stopped(void *ctx)
{
    struct rig *rig = ctx;
    CHECK(!rig->has_stopped);
    rig->has_stopped = true;
}

/* --- the relay: two buses, and a way between them that loses frames --- */

static bool is_lost(struct rig *rig)
{
    rig->relayed++;
    bool lost = test_random(&rig->random) % rig->lose_one_in == 0;
    rig->lost += lost;
    return lost;
}

static void on_far_frame(void *ctx, const struct bus_message *message)
{
    struct rig *rig = ctx;
    if (!is_lost(rig))
        CHECK_OK(bus_publish(rig->relay_near, message->subject, message->reply, message->frame));
}

static void on_near_frame(void *ctx, const struct bus_message *message)
{
    struct rig *rig = ctx;
    if (!is_lost(rig))
        CHECK_OK(bus_publish(rig->relay_far, message->subject, message->reply, message->frame));
}

static void start_relay(struct rig *rig)
{
    struct bus_subscription *until_closed;
    rig->relay_near = bus_mem_open(rig->bus_mem, rig->loop);
    rig->relay_far = bus_mem_open(rig->far_mem, rig->loop);
    CHECK_OK(bus_subscribe(rig->relay_far, SLICE("submit"), (struct slice){0}, on_far_frame, rig,
                           &until_closed));
    CHECK_OK(bus_subscribe(rig->relay_far, bus_inbox(rig->manager->bus), (struct slice){0},
                           on_far_frame, rig, &until_closed));
    CHECK_OK(bus_subscribe(rig->relay_far, bus_inbox(rig->worker_bus), (struct slice){0},
                           on_far_frame, rig, &until_closed));
    CHECK_OK(bus_subscribe(rig->relay_near, bus_inbox(rig->asker_bus), (struct slice){0},
                           on_near_frame, rig, &until_closed));
}

/* --- life --- */

static enum err open_engine(void *ctx, engine_progress_fn *on_progress, void *progress_ctx,
                            struct engine **out_engine, struct err_note *out_note)
{
    const struct rig *rig = ctx;
    if (rig->loads_badly)
        return err_note_fail(out_note, ERR_PROTOCOL, "the model file is torn");
    return engine_dummy_open(&rig->engine, on_progress, progress_ctx, out_engine, out_note);
}

struct rig *rig_new(void)
{
    struct rig *rig = mem_alloc(sizeof(*rig));
    rig->loop = loop_new();
    rig->random = 1;
    rig->engine = engine_dummy_options_default();
    rig->engine.slots = 1;
    rig->engine.delay_us = 0;
    rig->options = worker_options_default();
    rig->options.model = "dummy";
    rig->options.engine_kind = "dummy";
    rig->options.open_engine = open_engine;
    rig->options.open_ctx = rig;
    rig->ask = ask_options_default();
    return rig;
}

void rig_start(struct rig *rig)
{
    rig->bus_mem = bus_mem_new(PEER_BYTES_MAX);
    if (rig->lose_one_in)
        rig->far_mem = bus_mem_new(PEER_BYTES_MAX);
    rig->worker_bus = bus_mem_open(rig->bus_mem, rig->loop);
    rig->watcher_bus = bus_mem_open(rig->bus_mem, rig->loop);
    rig->asker_bus = bus_mem_open(rig->far_mem ? rig->far_mem : rig->bus_mem, rig->loop);
    CHECK_OK(bus_subscribe(rig->watcher_bus, SLICE("state.nodes"), (struct slice){0}, on_state, rig,
                           &rig->watch));
    CHECK_OK(ask_hub_new(rig->asker_bus, &rig->ask, &rig->hub));
    CHECK_OK(worker_start(rig->worker_bus, &rig->options, on_ready, on_failed, rig, &rig->worker));
    rig->manager = manager_rig_open(bus_mem_open(rig->bus_mem, rig->loop));
    if (rig->far_mem)
        start_relay(rig);
}

void rig_replace_manager(struct rig *rig)
{
    manager_rig_close(&rig->manager);
    rig->manager = manager_rig_open(bus_mem_open(rig->bus_mem, rig->loop));
}

static bool is_ready(void *ctx)
{
    const struct rig *rig = ctx;
    return rig->is_ready && rig->manager->load.slots > 0;
}

void rig_start_ready(struct rig *rig)
{
    rig_start(rig);
    rig_until(rig, is_ready, rig);
}

void rig_stop(struct rig *rig, uint32_t drain_ms)
{
    worker_stop(rig->worker, drain_ms, on_stopped, rig);
    CHECK(!rig->has_stopped); /* never inside the call */
}

static bool has_stopped(void *ctx)
{
    return ((struct rig *)ctx)->has_stopped;
}

void rig_until_stopped(struct rig *rig)
{
    rig_until(rig, has_stopped, rig);
    worker_free(&rig->worker);
}

static bool hub_is_empty(void *ctx)
{
    return ask_hub_count(((struct rig *)ctx)->hub) == 0;
}

void rig_free(struct rig *rig)
{
    if (rig->worker) {
        rig_stop(rig, 0);
        rig_until_stopped(rig);
    }
    if (rig->hub)
        ask_hub_drain(rig->hub, NULL, NULL);
    if (rig->hub)
        rig_until(rig, hub_is_empty, rig);
    ask_hub_free(rig->hub);
    for (int i = 0; i < RIG_ANSWERS_MAX; i++)
        text_fini(&rig->answers[i].text);
    manager_rig_close(&rig->manager);
    bus_close(&rig->asker_bus);
    bus_close(&rig->watcher_bus);
    bus_close(&rig->worker_bus);
    bus_close(&rig->relay_near);
    bus_close(&rig->relay_far);
    loop_turn(rig->loop, false);
    bus_mem_free(rig->bus_mem);
    bus_mem_free(rig->far_mem);
    arena_free(rig->state_arena);
    loop_free(rig->loop);
    mem_free(rig);
}

/* --- waiting --- */

void rig_until(struct rig *rig, bool (*is_so)(void *ctx), void *ctx)
{
    uint64_t until_us = clock_monotonic_us() + RIG_PATIENCE_S * 1000000ull;
    while (!is_so(ctx)) {
        CHECK(clock_monotonic_us() < until_us);
        loop_turn(rig->loop, true); /* the worker's own timers wake it twice a second */
    }
}

void rig_turns(struct rig *rig)
{
    while (loop_turn(rig->loop, false))
        ;
}

static bool has_ended(void *ctx)
{
    return ((struct answer *)ctx)->has_ended;
}

static bool is_started(void *ctx)
{
    const struct answer *answer = ctx;
    return answer->is_started || answer->has_ended;
}

static bool has_text(void *ctx)
{
    const struct answer *answer = ctx;
    return answer->text.len > 0 || answer->has_ended;
}

void rig_until_ended(struct answer *answer)
{
    rig_until(answer->rig, has_ended, answer);
}

void rig_until_started(struct answer *answer)
{
    rig_until(answer->rig, is_started, answer);
    CHECK(!answer->has_ended);
}

void rig_until_first_text(struct answer *answer)
{
    rig_until(answer->rig, has_text, answer);
    CHECK(!answer->has_ended);
}

static bool is_idle(void *ctx)
{
    const struct rig *rig = ctx;
    struct worker_stats stats = worker_stats(rig->worker);
    return stats.running == 0 && stats.queued == 0 && stats.parked == 0 &&
           stats.slots_free == rig->engine.slots && rig->state.slots == rig->engine.slots &&
           rig->state.slots_busy == 0 && rig->state.queued == 0 && rig->state.parked == 0 &&
           rig->manager->load.room == rig->engine.slots;
}

void rig_until_idle(struct rig *rig)
{
    rig_until(rig, is_idle, rig);
}

/* --- asking --- */

static void hold(struct answer *answer, const struct event *event)
{
    answer->held_events++;
    answer->held_bytes += event_credit_bytes(event);
    if (answer->reads)
        rig_read_on(answer);
}

static void take_delta(struct answer *answer, const struct event *event)
{
    text_add(&answer->text, event->delta.text);
    answer->token_count += event->delta.token_count;
    hold(answer, event);
}

static void take_result(struct answer *answer, const struct event *event)
{
    text_add(&answer->text, event->result.data);
    answer->result_count++;
    hold(answer, event);
}

static void take_error(struct answer *answer, const struct event *event)
{
    answer->is_error = true;
    answer->fault = event->error.fault;
    snprintf(answer->message, sizeof(answer->message), SLICE_FMT, SLICE_ARG(event->error.message));
    snprintf(answer->param, sizeof(answer->param), SLICE_FMT, SLICE_ARG(event->error.param));
}

static void take_event(struct answer *answer, const struct event *event)
{
    switch (event->type) {
    case EVENT_ACCEPTED:
        return;
    case EVENT_PREFILL:
        answer->prefill_count++;
        CHECK(event->prefill.done_tokens > answer->prefill_tokens);
        answer->prefill_tokens = event->prefill.done_tokens;
        return;
    case EVENT_STARTED:
        answer->is_started = true;
        answer->seed = event->started.seed;
        answer->cached_tokens = event->started.cached_tokens;
        return;
    case EVENT_DELTA:
        take_delta(answer, event);
        return;
    case EVENT_RESULT:
        take_result(answer, event);
        return;
    case EVENT_USAGE:
        answer->completion_tokens = event->usage.completion_tokens;
        answer->prompt_tokens = event->usage.prompt_tokens;
        CHECK(!answer->is_started || answer->cached_tokens == event->usage.cached_tokens);
        return;
    case EVENT_DONE:
        answer->reason = event->done.reason;
        return;
    case EVENT_ERROR:
        take_error(answer, event);
        return;
    case EVENT_QUEUED:
    case EVENT_LOADING:
    case EVENT_TYPE_COUNT:
        break;
    }
    CHECK(!"an event that a worker makes");
}

static void on_event(void *ctx, const struct event *event)
{
    struct answer *answer = ctx;
    CHECK(!answer->has_ended);
    if (event->seq == 0)
        return; /* the manager says that it waits */
    CHECK_EQ(event->seq, answer->event_count + 1);
    CHECK(answer->event_count < RIG_EVENTS_MAX);
    answer->types[answer->event_count++] = (uint8_t)event->type;
    take_event(answer, event);
    answer->has_ended = event_is_end(event->type);
    if (!answer->has_ended)
        return;
    answer->ask = NULL;
    answer->ended_us = clock_monotonic_us();
}

void rig_read_on(struct answer *answer)
{
    uint32_t events = answer->held_events, bytes = answer->held_bytes;
    answer->reads = true;
    answer->held_events = answer->held_bytes = 0;
    if (answer->ask)
        ask_consumed(answer->ask, events, bytes);
}

struct answer *rig_occupy(struct rig *rig, int index)
{
    struct request request = rig_request();
    struct answer *answer = rig_ask(rig, index, &request);
    rig_until_first_text(answer);
    return answer;
}

struct rig *rig_start_stalling(void)
{
    struct rig *rig = rig_new();
    rig->engine.stall_at = 3;
    rig_start_ready(rig);
    return rig;
}

struct request rig_request(void)
{
    return (struct request){.id = id_new(),
                            .model = SLICE("dummy"),
                            .prompt_kind = PROMPT_TEXT,
                            .prompt = SLICE("say it"),
                            .sampling = sampling_default(),
                            .max_tokens = 1000};
}

struct answer *rig_ask(struct rig *rig, int index, const struct request *request)
{
    struct answer *answer = &rig->answers[index];
    text_fini(&answer->text);
    *answer = (struct answer){.rig = rig, .reads = true, .opened_us = clock_monotonic_us()};
    text_init(&answer->text, 1 << 20);
    CHECK_OK(ask_open(rig->hub, request, on_event, answer, &answer->ask));
    return answer;
}

static void expected_script(const struct rig *rig, struct text *out)
{
    text_init(out, 1 << 20);
    for (uint32_t n = 1; n <= rig->engine.tokens; n++)
        text_add_f(out, "%stok%u", n > 1 ? " " : "", n);
}

void rig_check_whole(const struct answer *answer)
{
    struct text script;
    expected_script(answer->rig, &script);
    CHECK_STR(answer->message, "");
    CHECK(answer->has_ended && !answer->is_error);
    CHECK_EQ(answer->reason, DONE_EOS);
    CHECK_SLICES(text_slice(&answer->text), text_slice(&script));
    CHECK_EQ(answer->token_count, answer->rig->engine.tokens);
    text_fini(&script);
}

void rig_check_error(const struct answer *answer, enum fault fault)
{
    CHECK(answer->has_ended && answer->is_error);
    CHECK_STR(fault_name(answer->fault), fault_name(fault));
}
