/* manager_rig - see manager_rig.h. */
#include "worker/manager_rig.h"

#include "base/map.h"
#include "base/mem.h"
#include "testing/test.h"
#include "wire/assigned.h"
#include "wire/event.h"
#include "wire/manager_state.h"

#include <stdio.h>

enum { KNOWN_MAX = 65536, ARENA_BYTES = 64 * 1024, FRAME_MAX_BYTES = 16 << 20 };

struct pending {
    struct list link;
    uint64_t stream;
    uint32_t epoch;
    char inbox[BUS_SUBJECT_MAX_BYTES + 1];
    size_t bytes;
    char submit[];
};

static void keep(char *into, size_t bytes, struct slice text)
{
    snprintf(into, bytes, SLICE_FMT, SLICE_ARG(text));
}

/* --- to the worker --- */

static void send(struct manager_rig *manager, struct slice subject, enum wire_kind kind,
                 const struct wire_record *record)
{
    struct text frame;
    struct wire_writer writer;
    text_init(&frame, FRAME_MAX_BYTES);
    wire_begin(&writer, &frame, kind);
    wire_add(&writer, record);
    CHECK_OK(wire_finish(&writer));
    CHECK_OK(bus_publish(manager->bus, subject, bus_inbox(manager->bus), text_slice(&frame)));
    text_fini(&frame);
}

void manager_rig_broadcast(struct manager_rig *manager)
{
    struct text payload;
    text_init(&payload, 4096);
    manager_state_encode(
        &(struct manager_state){.manager = SLICE("manager"), .control = bus_inbox(manager->bus)},
        &payload);
    send(manager, SLICE("state.manager"), WIRE_STATE,
         &(struct wire_record){.type = WIRE_MANAGER_STATE, .payload = text_slice(&payload)});
    text_fini(&payload);
}

void manager_rig_assign_bytes(struct manager_rig *manager, uint64_t stream, uint32_t epoch,
                              struct slice submit)
{
    CHECK(manager->control[0]);
    send(manager, slice_str(manager->control), WIRE_CONTROL,
         &(struct wire_record){.stream = stream,
                               .seq = ++manager->number,
                               .epoch = epoch,
                               .type = WIRE_SUBMIT,
                               .payload = submit});
}

void manager_rig_assign(struct manager_rig *manager, const struct request *request)
{
    struct text submit;
    text_init(&submit, 1 << 20);
    request_encode(request, &submit);
    CHECK_OK(text_status(&submit));
    manager_rig_assign_bytes(manager, request_stream(request), request->epoch, text_slice(&submit));
    text_fini(&submit);
}

static bool has_room(const struct manager_rig *manager)
{
    if (manager->is_blind)
        return manager->control[0] != '\0';
    return manager->load.room > manager->number - manager->seen;
}

static void pump(struct manager_rig *manager)
{
    while (!list_is_empty(&manager->queue) && has_room(manager)) {
        struct pending *pending =
            CONTAINER_OF(list_pop_front(&manager->queue), struct pending, link);
        manager_rig_assign_bytes(manager, pending->stream, pending->epoch,
                                 slice_of(pending->submit, pending->bytes));
        mem_free(pending);
    }
}

/* --- from the asker --- */

static void say(struct manager_rig *manager, struct slice inbox, const struct wire_record *of,
                const struct event *event)
{
    struct text frame;
    struct wire_writer writer;
    text_init(&frame, 4096);
    wire_begin(&writer, &frame, WIRE_EVENTS);
    event_encode(&writer, of->stream, of->epoch, event, NULL);
    CHECK_OK(wire_finish(&writer));
    CHECK_OK(bus_publish(manager->bus, inbox, bus_inbox(manager->bus), text_slice(&frame)));
    text_fini(&frame);
}

static struct pending *find_pending(const struct manager_rig *manager, uint64_t stream)
{
    LIST_FOREACH (link, &manager->queue) {
        struct pending *pending = CONTAINER_OF(link, struct pending, link);
        if (pending->stream == stream)
            return pending;
    }
    return NULL;
}

static void say_where(struct manager_rig *manager, struct slice inbox,
                      const struct wire_record *record)
{
    struct text frame;
    struct wire_writer writer;
    if (find_pending(manager, record->stream)) {
        say(manager, inbox, record, &(struct event){.type = EVENT_QUEUED});
        return;
    }
    text_init(&frame, 4096);
    wire_begin(&writer, &frame, WIRE_EVENTS);
    wire_add_assigned(&writer, record->stream, record->epoch, slice_str(manager->control));
    CHECK_OK(wire_finish(&writer));
    CHECK_OK(bus_publish(manager->bus, inbox, bus_inbox(manager->bus), text_slice(&frame)));
    text_fini(&frame);
}

static bool is_known(const struct manager_rig *manager, const struct wire_record *record)
{
    return (uintptr_t)map_get(manager->known, record->stream) == record->epoch;
}

static void on_submit(struct manager_rig *manager, const struct bus_message *message,
                      const struct wire_record *record)
{
    if (is_known(manager, record)) {
        say_where(manager, message->reply, record);
        return;
    }
    struct pending *pending = mem_alloc(sizeof(*pending) + record->payload.len);
    pending->stream = record->stream;
    pending->epoch = record->epoch;
    pending->bytes = record->payload.len;
    memcpy(pending->submit, record->payload.data, record->payload.len);
    keep(pending->inbox, sizeof(pending->inbox), message->reply);
    list_push_back(&manager->queue, &pending->link);
    (void)map_remove(manager->known, record->stream); /* an earlier epoch */
    CHECK_OK(map_put(manager->known, record->stream,
                     (void *)(uintptr_t)record->epoch)); /* a number, kept as a pointer */
    pump(manager);
    if (find_pending(manager, record->stream))
        say_where(manager, message->reply, record);
}

static void on_cancel(struct manager_rig *manager, const struct bus_message *message,
                      const struct wire_record *record)
{
    struct pending *pending = find_pending(manager, record->stream);
    if (pending) {
        list_remove(&pending->link);
        mem_free(pending);
        struct event end = {.type = EVENT_DONE, .seq = 1, .done.reason = DONE_CANCELLED};
        say(manager, message->reply, record, &end);
    } else if (manager->control[0]) {
        send(manager, slice_str(manager->control), WIRE_CONTROL, record);
    }
}

static void on_waiting(struct manager_rig *manager, const struct bus_message *message,
                       const struct wire_record *record)
{
    if (is_known(manager, record))
        say_where(manager, message->reply, record);
    else
        send(manager, message->reply, WIRE_EVENTS,
             &(struct wire_record){
                 .stream = record->stream, .epoch = record->epoch, .type = WIRE_UNKNOWN_STREAM});
}

/* --- what the worker tells --- */

static void on_load(struct manager_rig *manager, const struct wire_record *record)
{
    CHECK_OK(wire_read_load(record, &manager->load));
    CHECK(record->seq >= manager->seen && record->seq <= manager->number);
    CHECK(manager->load.room <= manager->load.slots);
    manager->seen = record->seq;
    manager->load_count++;
    if (record->flags & WIRE_FLAG_ALL) {
        manager->list_count++;
        manager->listed = 0;
    }
}

static struct rig_listed *new_listed(struct manager_rig *manager, const struct wire_record *record)
{
    CHECK(manager->listed < RIG_LIST_MAX);
    struct rig_listed *listed = &manager->list[manager->listed++];
    *listed = (struct rig_listed){.stream = record->stream, .epoch = record->epoch};
    return listed;
}

static void on_taken(struct manager_rig *manager, const struct wire_record *record)
{
    struct wire_taken taken;
    struct arena *arena = arena_new(ARENA_BYTES);
    CHECK_OK(wire_read_taken(record, arena, &taken));
    struct rig_listed *listed = new_listed(manager, record);
    listed->is_taken = true;
    listed->held = taken.held;
    listed->arrival_ms = taken.arrival_ms;
    keep(listed->tenant, sizeof(listed->tenant), taken.tenant);
    keep(listed->session, sizeof(listed->session), taken.session);
    keep(listed->label, sizeof(listed->label), taken.label);
    keep(listed->inbox, sizeof(listed->inbox), taken.inbox);
    arena_free(arena);
}

static void on_released(struct manager_rig *manager, const struct wire_record *record)
{
    CHECK(manager->released_count < RIG_RELEASED_MAX);
    struct rig_released *released = &manager->released[manager->released_count++];
    *released = (struct rig_released){.stream = record->stream, .epoch = record->epoch};
    CHECK_OK(wire_read_released(record, &released->what));
}

static void on_record(struct manager_rig *manager, const struct bus_message *message,
                      const struct wire_record *record)
{
    switch (record->type) {
    case WIRE_SUBMIT:
        on_submit(manager, message, record);
        break;
    case WIRE_CANCEL:
        on_cancel(manager, message, record);
        break;
    case WIRE_WAITING:
        on_waiting(manager, message, record);
        break;
    case WIRE_LOAD:
        keep(manager->control, sizeof(manager->control), message->reply);
        on_load(manager, record);
        break;
    case WIRE_HELD:
        CHECK_OK(wire_read_held(record, &new_listed(manager, record)->held));
        break;
    case WIRE_TAKEN:
        on_taken(manager, record);
        break;
    case WIRE_RELEASED:
        on_released(manager, record);
        break;
    default:
        CHECK_EQ(record->type, WIRE_UNKNOWN_STREAM); /* for the cancel that we passed on */
    }
}

static bool is_report(const struct bus_message *message)
{
    struct wire_reader reader;
    struct wire_record record;
    CHECK_OK(wire_open(message->frame, &reader));
    return wire_next(&reader, &record) == ERR_OK && record.type == WIRE_LOAD;
}

static void on_message(void *ctx, const struct bus_message *message)
{
    struct manager_rig *manager = ctx;
    struct wire_reader reader;
    struct wire_record record;
    if (manager->is_deaf && is_report(message))
        return;
    CHECK_OK(wire_open(message->frame, &reader));
    while (wire_next(&reader, &record) == ERR_OK)
        on_record(manager, message, &record);
    pump(manager);
}

/* --- what the tests ask --- */

const struct rig_listed *manager_rig_listed(const struct manager_rig *manager, uint64_t stream)
{
    for (size_t i = 0; i < manager->listed; i++) {
        if (manager->list[i].stream == stream)
            return &manager->list[i];
    }
    return NULL;
}

const struct rig_released *manager_rig_released(const struct manager_rig *manager, uint64_t stream,
                                                uint32_t epoch)
{
    for (size_t i = 0; i < manager->released_count; i++) {
        const struct rig_released *released = &manager->released[i];
        if (released->stream == stream && released->epoch == epoch)
            return released;
    }
    return NULL;
}

/* --- life --- */

struct manager_rig *manager_rig_open(struct bus *bus)
{
    struct bus_subscription *until_closed;
    struct manager_rig *manager = mem_alloc(sizeof(*manager));
    manager->bus = bus;
    manager->known = map_new(KNOWN_MAX);
    list_init(&manager->queue);
    CHECK_OK(
        bus_subscribe(bus, SLICE("submit"), SLICE("managers"), on_message, manager, &until_closed));
    CHECK_OK(
        bus_subscribe(bus, bus_inbox(bus), (struct slice){0}, on_message, manager, &until_closed));
    manager_rig_broadcast(manager);
    return manager;
}

void manager_rig_close(struct manager_rig **manager)
{
    struct manager_rig *going = *manager;
    *manager = NULL;
    if (!going)
        return;
    for (struct list *link; (link = list_pop_front(&going->queue));)
        mem_free(CONTAINER_OF(link, struct pending, link));
    bus_close(&going->bus);
    map_free(going->known);
    mem_free(going);
}
