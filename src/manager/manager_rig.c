/* manager_rig - see manager_rig.h. */
#include "manager/manager_rig.h"

#include "base/clock.h"
#include "base/mem.h"
#include "testing/test.h"
#include "wire/assigned.h"
#include "wire/manager_state.h"

#include <stdio.h>

enum { PEER_BYTES_MAX = 8 << 20, STATE_ARENA_BYTES = 64 * 1024, GREETING_MS = 1600 };

/* --- hearing --- */

static void keep_text(struct heard *heard, struct slice text)
{
    snprintf(heard->text, sizeof(heard->text), SLICE_FMT, SLICE_ARG(text));
}

/* False: a test has memory run out, and it was here. */
static bool read_event(const struct wire_record *record, struct heard *heard)
{
    struct text scratch;
    struct event event;
    text_init(&scratch, 1 << 16);
    enum err err = event_decode(record, &scratch, &event);
    if (err == ERR_LIMIT) {
        text_fini(&scratch);
        return false;
    }
    CHECK_OK(err);
    if (event.type == EVENT_QUEUED)
        heard->position = event.queued.position;
    if (event.type == EVENT_LOADING)
        heard->fraction = event.loading.fraction;
    if (event.type == EVENT_DONE)
        heard->reason = event.done.reason;
    if (event.type == EVENT_ERROR) {
        heard->fault = event.error.fault;
        heard->retry_after_ms = event.error.retry_after_ms;
        keep_text(heard, event.error.message);
    }
    text_fini(&scratch);
    return true;
}

static void read_assigned(const struct wire_record *record, struct heard *heard)
{
    struct text scratch;
    struct slice control;
    text_init(&scratch, 1 << 12);
    CHECK_OK(wire_read_assigned(record, &scratch, &control));
    keep_text(heard, control);
    text_fini(&scratch);
}

static void hear(struct peer *peer, const struct wire_record *record)
{
    struct heard *heard = &peer->heard[peer->heard_count++ % RIG_HEARD_MAX];
    *heard = (struct heard){.type = record->type,
                            .flags = record->flags,
                            .stream = record->stream,
                            .seq = record->seq,
                            .epoch = record->epoch,
                            .at_us = loop_now_us(peer->rig->loop),
                            .frame = peer->frames_heard};
    if (record->type >= WIRE_EVENT && record->type <= WIRE_EVENT_LAST &&
        !read_event(record, heard)) {
        peer->heard_count--;
        return;
    }
    if (record->type == WIRE_ASSIGNED)
        read_assigned(record, heard);
    if (record->type == WIRE_ANSWER)
        keep_text(heard, record->payload);
    if (record->type == WIRE_SUBMIT || record->type == WIRE_ANSWER) {
        text_clear(&peer->submit);
        text_add(&peer->submit, record->payload);
    }
    if (peer->on_record)
        peer->on_record(peer, record);
}

static void on_message(void *ctx, const struct bus_message *message)
{
    struct peer *peer = ctx;
    struct wire_reader reader;
    struct wire_record record;
    CHECK_OK(wire_open(message->frame, &reader));
    peer->frames_heard++;
    snprintf(peer->reply, sizeof(peer->reply), SLICE_FMT, SLICE_ARG(message->reply));
    enum err err;
    while ((err = wire_next(&reader, &record)) == ERR_OK)
        if (record.type != WIRE_PING)
            hear(peer, &record);
    CHECK_ERR(err, ERR_AGAIN);
}

static void on_manager_state(void *ctx, const struct bus_message *message)
{
    struct rig *rig = ctx;
    struct wire_reader reader;
    struct wire_record record;
    struct manager_state state;
    struct arena *arena = arena_new(STATE_ARENA_BYTES);
    CHECK_OK(wire_open(message->frame, &reader));
    CHECK_EQ(reader.kind, WIRE_STATE);
    CHECK_OK(wire_next(&reader, &record));
    CHECK_OK(manager_state_decode(record.payload, arena, &state));
    snprintf(rig->manager_control, sizeof(rig->manager_control), SLICE_FMT,
             SLICE_ARG(state.control));
    snprintf(rig->manager_name, sizeof(rig->manager_name), SLICE_FMT, SLICE_ARG(state.manager));
    rig->queued_told = 0;
    for (size_t i = 0; i < state.queue_count; i++)
        rig->queued_told += state.queues[i].queued;
    rig->states_heard++;
    arena_free(arena);
}

const struct heard *heard_last(const struct peer *peer, uint16_t type)
{
    size_t first = peer->heard_count > RIG_HEARD_MAX ? peer->heard_count - RIG_HEARD_MAX : 0;
    for (size_t i = peer->heard_count; i-- > first;)
        if (peer->heard[i % RIG_HEARD_MAX].type == type)
            return &peer->heard[i % RIG_HEARD_MAX];
    return NULL;
}

static size_t count_heard(const struct peer *peer, uint16_t type, bool is_any, uint64_t stream)
{
    CHECK(peer->heard_count <= RIG_HEARD_MAX);
    size_t count = 0;
    for (size_t i = 0; i < peer->heard_count; i++)
        count += peer->heard[i].type == type && (is_any || peer->heard[i].stream == stream);
    return count;
}

size_t heard_count(const struct peer *peer, uint16_t type)
{
    return count_heard(peer, type, true, 0);
}

size_t heard_for(const struct peer *peer, uint16_t type, uint64_t stream)
{
    return count_heard(peer, type, false, stream);
}

void check_error(const struct peer *asker, uint64_t stream, enum fault fault)
{
    const struct heard *heard = heard_last(asker, RIG_ERROR);
    CHECK(heard != NULL);
    if (!heard)
        return;
    CHECK_STR(fault_name(heard->fault), fault_name(fault));
    CHECK_EQ(heard->stream, stream);
    CHECK_EQ(heard->seq, 1);
}

/* --- life --- */

void rig_init(struct rig *rig)
{
    *rig = (struct rig){.options = manager_options_default(), .peer_bytes_max = PEER_BYTES_MAX};
}

static void open_manager(struct rig *rig)
{
    rig->bus = bus_mem_open(rig->bus_mem, rig->loop);
    rig->opened_us = loop_now_us(rig->loop);
    CHECK_OK(manager_open(rig->bus, &rig->options, &rig->manager));
    rig_run(rig, 0);
}

void rig_open(struct rig *rig)
{
    struct bus_subscription *until_closed;
    rig->loop = loop_new_virtual(1000000);
    rig->bus_mem = bus_mem_new(rig->peer_bytes_max);
    rig->metrics = rig->options.metrics = metrics_new();
    rig->watcher = rig_peer(rig);
    CHECK_OK(bus_subscribe(rig->watcher->bus, SLICE("state.manager"), (struct slice){0},
                           on_manager_state, rig, &until_closed));
    open_manager(rig);
    CHECK_SLICES(slice_str(rig->manager_control), bus_inbox(rig->bus));
}

void rig_open_greeted(struct rig *rig)
{
    rig_open(rig);
    rig_run(rig, GREETING_MS);
}

void rig_restart_manager(struct rig *rig)
{
    manager_close(&rig->manager);
    bus_close(&rig->bus);
    rig_run(rig, 0);
    open_manager(rig);
}

static void on_drained(void *ctx)
{
    struct rig *rig = ctx;
    CHECK(!rig->is_drained);
    rig->is_drained = true;
}

void rig_drain(struct rig *rig)
{
    manager_drain(rig->manager, on_drained, rig);
    CHECK(!rig->is_drained); /* never inside the call */
    rig_run(rig, 0);
}

void rig_close(struct rig *rig)
{
    manager_close(&rig->manager);
    bus_close(&rig->bus);
    for (size_t i = 0; i < rig->peer_count; i++) {
        peer_leave(&rig->peers[i]);
        mem_free(rig->peers[i].heard);
        text_fini(&rig->peers[i].submit);
        text_fini(&rig->peers[i].out);
    }
    rig_run(rig, 0);
    metrics_free(rig->metrics);
    bus_mem_free(rig->bus_mem);
    loop_free(rig->loop);
}

void rig_run(struct rig *rig, uint64_t ms)
{
    loop_advance(rig->loop, ms * 1000);
}

struct peer *rig_peer(struct rig *rig)
{
    return rig_peer_on(rig, rig->loop);
}

struct peer *rig_peer_on(struct rig *rig, struct loop *loop)
{
    CHECK(rig->peer_count < RIG_PEERS_MAX);
    struct peer *peer = &rig->peers[rig->peer_count++];
    *peer = (struct peer){.rig = rig, .bus = bus_mem_open(rig->bus_mem, loop)};
    peer->heard = mem_array(RIG_HEARD_MAX, sizeof(*peer->heard));
    text_init(&peer->submit, 16 << 20);
    text_init(&peer->out, 16 << 20);
    snprintf(peer->control, sizeof(peer->control), SLICE_FMT, SLICE_ARG(bus_inbox(peer->bus)));
    CHECK_OK(bus_subscribe(peer->bus, bus_inbox(peer->bus), (struct slice){0}, on_message, peer,
                           &peer->inbox));
    return peer;
}

void peer_leave(struct peer *peer)
{
    bus_close(&peer->bus);
}

/* --- saying --- */

struct wire_writer *peer_frame(struct peer *peer, enum wire_kind kind)
{
    text_clear(&peer->out);
    wire_begin(&peer->writer, &peer->out, kind);
    return &peer->writer;
}

void peer_send_bytes(struct peer *peer, const char *subject, struct slice frame)
{
    CHECK_OK(bus_publish(peer->bus, slice_str(subject), bus_inbox(peer->bus), frame));
    rig_run(peer->rig, 0);
}

void peer_send(struct peer *peer, const char *subject)
{
    CHECK_OK(wire_finish(&peer->writer));
    peer_send_bytes(peer, subject, text_slice(&peer->out));
}

void peer_say(struct peer *peer, uint16_t type, uint64_t stream, uint32_t epoch)
{
    wire_add(peer_frame(peer, WIRE_CONTROL),
             &(struct wire_record){.stream = stream, .epoch = epoch, .type = type});
    peer_send(peer, "submit");
}

void peer_acknowledge(struct peer *peer, uint64_t stream, uint32_t epoch)
{
    struct wire_credit credit = {.acked_seq = 1, .seq_limit = 64, .byte_limit = 65536};
    wire_add_credit(peer_frame(peer, WIRE_CONTROL), stream, epoch, &credit, false);
    peer_send(peer, peer->rig->manager_control);
}

struct request rig_request(const struct peer *asker, uint64_t stream)
{
    return (struct request){.id = {0xabcdef, stream},
                            .epoch = 1,
                            .inbox = bus_inbox(asker->bus),
                            .model = SLICE("m"),
                            .prompt_kind = PROMPT_TEXT,
                            .prompt = SLICE("say it"),
                            .sampling = sampling_default(),
                            .max_tokens = 10,
                            .arrival_ms = clock_wall_ms() + 1000, /* after any manager's start */
                            .credit_events = 64,
                            .credit_bytes = 65536};
}

void rig_submit(struct peer *asker, const struct request *request)
{
    struct wire_writer *writer = peer_frame(asker, WIRE_CONTROL);
    wire_open_record(writer, &(struct wire_record){.stream = request_stream(request),
                                                   .epoch = request->epoch,
                                                   .type = WIRE_SUBMIT});
    request_encode(request, writer->out);
    wire_close_record(writer);
    peer_send(asker, "submit");
}

void rig_ask(struct peer *asker, uint64_t stream)
{
    struct request request = rig_request(asker, stream);
    rig_submit(asker, &request);
}

/* --- workers --- */

struct peer *rig_worker(struct rig *rig, const char *model)
{
    struct peer *worker = rig_peer(rig);
    worker->model = model;
    snprintf(worker->node, sizeof(worker->node), "%s-%zu", model, rig->peer_count);
    return worker;
}

void worker_state_from(struct peer *host, const char *node, const char *model,
                       enum node_phase phase, float fraction, const char *detail)
{
    static const struct node_adapter adapter = {.name = {"sql", 3}};
    struct node_state state = {.node = slice_str(node),
                               .model = slice_str(model),
                               .engine = SLICE("dummy"),
                               .detail = slice_str(detail),
                               .control = slice_str(host->control),
                               .phase = phase,
                               .load_fraction = fraction,
                               .adapters = &adapter,
                               .adapter_count = host->has_adapters};
    if (host->numerics)
        state.numerics = (struct node_numerics){.profile = SLICE("exact"),
                                                .determinism = NODE_EXACT,
                                                .fingerprint = slice_str(host->numerics)};
    struct wire_writer *writer = peer_frame(host, WIRE_STATE);
    wire_open_record(writer, &(struct wire_record){.type = WIRE_NODE_STATE});
    node_state_encode(&state, writer->out);
    wire_close_record(writer);
    peer_send(host, "state.nodes");
}

void worker_state(struct peer *worker, enum node_phase phase, const char *detail)
{
    worker_state_from(worker, worker->node, worker->model, phase, phase == NODE_LOADING ? 0 : 1,
                      detail);
}

struct wire_writer *worker_load(struct peer *worker, uint64_t seen, uint32_t slots, uint32_t room,
                                bool is_all)
{
    struct wire_writer *writer = peer_frame(worker, WIRE_CONTROL);
    wire_add_load(writer, seen, &(struct wire_load){.slots = slots, .room = room}, is_all);
    return writer;
}

void worker_report(struct peer *worker)
{
    peer_send(worker, worker->rig->manager_control);
}

void worker_say_load(struct peer *worker, uint64_t seen, uint32_t slots, uint32_t room)
{
    (void)worker_load(worker, seen, slots, room, false); /* nothing more in it */
    worker_report(worker);
}

void worker_say_released(struct peer *worker, uint64_t seen, uint32_t slots, uint32_t room,
                         uint64_t stream, uint64_t kept_us)
{
    wire_add_released(worker_load(worker, seen, slots, room, false), stream, 1,
                      &(struct wire_released){.tokens = 3, .kept_us = kept_us});
    worker_report(worker);
}

struct peer *rig_ready_worker(struct rig *rig, const char *model, uint32_t slots, uint32_t room)
{
    struct peer *worker = rig_worker(rig, model);
    worker_state(worker, NODE_READY, "");
    worker_say_load(worker, 0, slots, room);
    return worker;
}

struct wire_taken rig_taken(const struct peer *asker, uint64_t stream)
{
    return (struct wire_taken){.id = {0xabcdef, stream},
                               .held = {HELD_RUNNING, 7},
                               .inbox = slice_str(asker->control),
                               .tenant = SLICE("tenant"),
                               .arrival_ms = 1};
}
