/* worker_load - what a worker tells the manager: its room, its streams, what it let go
 * (wire/load.h).
 *
 * Nothing here depends on a frame's arrival. Changes are told as they come; every load_ms the whole
 * is told, which repairs what was lost. There is a manager, for us, from its broadcast until a
 * report comes back because nobody is there. */
#include "worker/worker_impl.h"

#include "base/mem.h"
#include "wire/manager_state.h"

enum {
    US_PER_MS = 1000,
    STATE_ARENA_BYTES = 256 * 1024, /* of the longest broadcast: its queues' names */
    /* Names of streams beyond this are told to nobody: a frame has to fit what may wait for one
     * receiver (8 MiB by default), numbers and all. */
    TAKEN_BYTES_MAX = 4 * 1024 * 1024,
};

static struct slice control_of(const struct worker_manager *manager)
{
    return slice_of(manager->control, manager->control_bytes);
}

/* --- managers --- */

static struct worker_manager *find_manager(struct worker *worker, struct slice control)
{
    for (size_t i = 0; i < WORKER_MANAGERS_MAX; i++) {
        struct worker_manager *manager = &worker->managers[i];
        if (manager->id && slice_eq(control_of(manager), control))
            return manager;
    }
    return NULL;
}

/* The one met first makes way, but for the present one: its numbers count. */
static struct worker_manager *place_for_manager(struct worker *worker)
{
    struct worker_manager *oldest = NULL;
    for (size_t i = 0; i < WORKER_MANAGERS_MAX; i++) {
        struct worker_manager *manager = &worker->managers[i];
        if (manager != worker->manager && (!oldest || manager->id < oldest->id))
            oldest = manager;
    }
    return oldest;
}

static struct worker_manager *manager_of(struct worker *worker, struct slice control)
{
    struct worker_manager *manager = find_manager(worker, control);
    if (manager)
        return manager;
    manager = place_for_manager(worker);
    *manager =
        (struct worker_manager){.id = ++worker->last_manager_id, .control_bytes = control.len};
    memcpy(manager->control, control.data, control.len);
    return manager;
}

uint32_t worker_load_assigned(struct worker *worker, struct slice control, uint64_t number)
{
    if (control.len == 0 || control.len > BUS_SUBJECT_MAX_BYTES)
        return 0;
    struct worker_manager *manager = manager_of(worker, control);
    if (number > manager->seen)
        manager->seen = number;
    return manager->id;
}

static void lose_manager(struct worker *worker)
{
    worker->manager = NULL;
    worker->released_count = 0; /* its successor hears of those that are left */
    deadline_clear(&worker->load_due);
    deferred_cancel(&worker->load_flush);
}

void worker_load_register(struct worker *worker)
{
    if (!worker->manager)
        return;
    worker->registers = true;
    loop_before_sleep(worker->loop, &worker->load_flush);
    worker_state_again(worker); /* the list does not say which model it is that we run */
}

static void on_manager(struct worker *worker, struct slice control)
{
    if (worker->manager && slice_eq(control_of(worker->manager), control))
        return;
    lose_manager(worker);
    worker->manager = manager_of(worker, control);
    worker_load_register(worker);
}

static void on_broadcast(void *ctx, const struct bus_message *message)
{
    struct wire_reader reader;
    struct wire_record record;
    struct manager_state state;
    if (wire_open(message->frame, &reader) != ERR_OK || reader.kind != WIRE_STATE ||
        wire_next(&reader, &record) != ERR_OK || record.type != WIRE_MANAGER_STATE)
        return; /* not a manager, or of a later version */
    struct arena *arena = arena_new(STATE_ARENA_BYTES);
    if (manager_state_decode(record.payload, arena, &state) == ERR_OK)
        on_manager(ctx, state.control);
    arena_free(arena);
}

/* The last one that was heard is gone when what we say to it comes back: then whoever speaks next
 * is it. */
void worker_load_bounced(struct worker *worker, const struct bus_message *message, enum err why)
{
    if ((why == ERR_CLOSED || why == ERR_NOT_FOUND) && worker->manager &&
        slice_eq(message->subject, control_of(worker->manager)))
        lose_manager(worker);
}

/* --- what there is to tell --- */

static struct wire_load load_now(const struct worker *worker)
{
    bool is_ready = worker->phase == NODE_READY;
    uint32_t waiting = worker_waiting(worker);
    struct wire_load load = {.slots = is_ready ? worker->slots : 0,
                             .running = worker->in_core - worker->core_parked,
                             .waiting = waiting,
                             .parked = worker->core_parked};
    if (is_ready && !worker->is_draining && worker->slots_free > waiting)
        load.room = worker->slots_free - waiting;
    return load;
}

void worker_load_released(struct worker *worker, uint64_t stream, uint32_t epoch,
                          const struct wire_released *what)
{
    if (!worker->manager || worker->released_count == WORKER_RELEASED_MAX)
        return; /* the next full list says it */
    if (worker->released_count == worker->released_max) {
        worker->released_max = worker->released_max ? 2 * worker->released_max : 64;
        worker->released =
            mem_grow(worker->released, worker->released_max * sizeof(worker->released[0]));
    }
    worker->released[worker->released_count++] =
        (struct worker_release){.stream = stream, .epoch = epoch, .what = *what};
    loop_before_sleep(worker->loop, &worker->load_flush);
}

static bool is_news(const struct worker *worker)
{
    struct wire_load now = load_now(worker);
    const struct wire_load *told = &worker->told;
    return worker->manager->seen != worker->told_seen || now.slots != told->slots ||
           now.room != told->room || now.running != told->running || now.waiting != told->waiting ||
           now.parked != told->parked;
}

void worker_load_changed(struct worker *worker)
{
    if (worker->manager && is_news(worker))
        loop_before_sleep(worker->loop, &worker->load_flush);
}

/* --- telling it --- */

static void begin(struct worker *worker, struct wire_writer *writer, bool is_all)
{
    worker->told = load_now(worker);
    worker->told_seen = worker->manager->seen;
    text_clear(&worker->load_frame);
    wire_begin(writer, &worker->load_frame, WIRE_CONTROL);
    wire_add_load(writer, worker->told_seen, &worker->told, is_all);
}

static void publish(struct worker *worker, struct wire_writer *writer)
{
    if (wire_finish(writer) == ERR_OK) /* else no memory now: the next one is soon */
        (void)bus_publish(worker->bus, control_of(worker->manager), bus_inbox(worker->bus),
                          text_slice(&worker->load_frame)); /* lost: the next list says it all */
}

static void tell_changes(struct worker *worker)
{
    struct wire_writer writer;
    begin(worker, &writer, false);
    for (size_t i = 0; i < worker->released_count; i++) {
        const struct worker_release *release = &worker->released[i];
        wire_add_released(&writer, release->stream, release->epoch, &release->what);
    }
    worker->released_count = 0;
    publish(worker, &writer);
}

static struct wire_taken taken_of(const struct stream *stream)
{
    const struct stream_names *names = stream->names;
    return (struct wire_taken){.id = stream->id,
                               .held = worker_stream_held(stream),
                               .tenant = names->tenant,
                               .session = names->session,
                               .label = names->label,
                               .inbox = names->inbox,
                               .arrival_ms = names->arrival_ms};
}

/* A manager knows what it assigned itself by its number; of all others it is told the names, each
 * time, so that no frame has to arrive. */
static void add_stream(struct worker *worker, struct wire_writer *writer,
                       const struct stream *stream)
{
    bool is_its_own = !worker->registers && stream->manager_id == worker->manager->id;
    if (is_its_own || worker->load_frame.len > TAKEN_BYTES_MAX) {
        struct wire_held held = worker_stream_held(stream);
        wire_add_held(writer, stream->id.low, stream->epoch, &held);
    } else {
        struct wire_taken taken = taken_of(stream);
        wire_add_taken(writer, stream->epoch, &taken);
    }
}

static void tell_all(struct worker *worker)
{
    struct wire_writer writer;
    begin(worker, &writer, true);
    LIST_FOREACH (link, &worker->living)
        add_stream(worker, &writer, CONTAINER_OF(link, struct stream, link));
    worker->registers = false;
    publish(worker, &writer);
    deadline_round(&worker->load_due, worker->pace.load_ms * (uint64_t)US_PER_MS);
}

static void on_flush(void *ctx)
{
    struct worker *worker = ctx;
    if (!worker->manager)
        return;
    if (worker->released_count > 0 || (!worker->registers && is_news(worker)))
        tell_changes(worker);
    if (worker->registers)
        tell_all(worker);
}

static void on_load_due(void *ctx)
{
    struct worker *worker = ctx;
    if (worker->released_count > 0)
        tell_changes(worker);
    tell_all(worker);
}

/* --- life --- */

enum err worker_load_open(struct worker *worker)
{
    text_init(&worker->load_frame, WIRE_FRAME_MAX_BYTES);
    deferred_init(&worker->load_flush, on_flush, worker);
    deadline_init(&worker->load_due, worker->loop, on_load_due, worker);
    return bus_subscribe(worker->bus, SLICE("state.manager"), (struct slice){0}, on_broadcast,
                         worker, &worker->managers_heard);
}

void worker_load_close(struct worker *worker)
{
    bus_unsubscribe(&worker->managers_heard);
    if (!worker->manager)
        return;
    on_flush(worker);
    lose_manager(worker);
}

void worker_load_free(struct worker *worker)
{
    bus_unsubscribe(&worker->managers_heard);
    deadline_clear(&worker->load_due);
    deferred_cancel(&worker->load_flush);
    mem_free(worker->released);
    text_fini(&worker->load_frame);
}
