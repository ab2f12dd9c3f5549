/* manager - its life: subjects, what happens when, the broadcast, draining. */
#include "manager/manager_impl.h"

#include "base/clock.h"
#include "base/id.h"
#include "base/log.h"
#include "base/mem.h"
#include "wire/manager_state.h"

#include <stdio.h>

enum { STATE_FRAME_MAX_BYTES = 256 * 1024 };

_Static_assert((int)MANAGER_MODELS_MAX <= (int)MANAGER_STATE_QUEUES_MAX, "all models fit into it");

struct manager_options manager_options_default(void)
{
    return (struct manager_options){.queue_max = 64,
                                    .queue_wait_ms = 2000,
                                    .load_timeout_ms = 300000,
                                    .node_lease_ms = 5000,
                                    .model_lease_ms = 90000,
                                    .waiting_bytes_max = (size_t)256 << 20};
}

/* --- the broadcast --- */

static size_t list_queues(const struct manager *manager, struct manager_queue *queues)
{
    size_t count = 0;
    LIST_FOREACH (link, &manager->models) {
        struct model *model = model_of_link(link);
        model->told_count = model->queue.count;
        if (model->queue.count > 0)
            queues[count++] = (struct manager_queue){model->name, model->queue.count};
    }
    return count;
}

static void publish_state(struct manager *manager)
{
    struct manager_queue queues[MANAGER_MODELS_MAX];
    struct manager_state state = {.manager = slice_str(manager->name),
                                  .control = bus_inbox(manager->bus),
                                  .queues = queues,
                                  .queue_count = list_queues(manager, queues)};
    struct wire_writer writer;
    deferred_cancel(&manager->state_flush);
    text_clear(&manager->state_frame);
    wire_begin(&writer, &manager->state_frame, WIRE_STATE);
    wire_open_record(&writer, &(struct wire_record){.type = WIRE_MANAGER_STATE});
    manager_state_encode(&state, &manager->state_frame);
    wire_close_record(&writer);
    if (wire_finish(&writer) == ERR_OK) /* else no memory now: the next one is soon */
        (void)bus_publish(manager->bus, SLICE("state.manager"), (struct slice){0},
                          text_slice(&manager->state_frame)); /* lost: the next one says it all */
    manager->state_at_us = loop_now_us(manager->loop);
    deadline_round(&manager->state_due, manager_ms(MANAGER_STATE_INTERVAL_MS));
}

static void on_publish(void *ctx)
{
    publish_state(ctx);
}

void manager_greet(struct manager *manager)
{
    if (!manager->is_draining)
        loop_before_sleep(manager->loop, &manager->state_flush);
}

void manager_state_changed(struct manager *manager)
{
    uint64_t earliest_us = manager->state_at_us + manager_ms(MANAGER_STATE_MS);
    if (manager->is_draining)
        return;
    if (loop_now_us(manager->loop) >= earliest_us)
        loop_before_sleep(manager->loop, &manager->state_flush);
    else if (!deadline_is_armed(&manager->state_due) || manager->state_due.at_us > earliest_us)
        deadline_at(&manager->state_due, earliest_us);
}

/* --- what comes --- */

static void on_message(void *ctx, const struct bus_message *message)
{
    struct manager *manager = ctx;
    struct wire_reader reader;
    struct wire_record record;
    if (wire_open(message->frame, &reader) != ERR_OK || reader.kind != WIRE_CONTROL)
        return; /* not for us: who sent it repeats what matters */
    while (wire_next(&reader, &record) == ERR_OK) {
        if (record.type == WIRE_LOAD) { /* the rest of the frame belongs to it */
            account_on_frame(manager, message->reply, &record, &reader);
            return;
        }
        submit_on_record(manager, &record, message->reply);
    }
}

static void on_bounce(void *ctx, const struct bus_message *message, enum err why)
{
    struct manager *manager = ctx;
    struct wire_reader reader;
    bool is_gone = why == ERR_CLOSED || why == ERR_NOT_FOUND; /* else the frame alone was lost */
    if (wire_open(message->frame, &reader) != ERR_OK)
        return;
    struct node *node = registry_find(manager, message->subject);
    if (reader.kind == WIRE_EVENTS && is_gone)
        submit_asker_is_gone(manager, message->subject);
    else if (reader.kind == WIRE_CONTROL && node && is_gone)
        registry_remove_node(node, "bounced");
    else if (reader.kind == WIRE_CONTROL && node)
        assign_on_lost(node, message->frame);
}

/* --- what time brings --- */

static bool is_due(const struct manager *manager, uint64_t since_us, uint32_t ms)
{
    return loop_now_us(manager->loop) - since_us >= manager_ms(ms);
}

static void repeat_ends(struct manager *manager)
{
    LIST_FOREACH_SAFE (link, &manager->ending) {
        struct ticket *ticket = ticket_of_link(link);
        if (is_due(manager, ticket->ended_us, MANAGER_END_PATIENCE_MS))
            ticket_end(ticket);
        else if (is_due(manager, ticket->life->told_us, MANAGER_END_REPEAT_MS))
            tell_end(ticket);
    }
}

static void serve_nodes(struct manager *manager)
{
    LIST_FOREACH (link, &manager->nodes) {
        struct node *node = node_of_link(link);
        if (!node->sched.is_worker)
            continue; /* spoken of by its host */
        assign_ping(node);
        assign_repeat(node);
    }
}

/* A look that comes late says that we did not run (SIGSTOP, a suspended machine); a frame that the
 * bus did not take, that perhaps nobody is connected (a switch that stands still). What others
 * could not say in that time is not their silence. */
static void notice_own_pause(struct manager *manager)
{
    uint64_t lost = post_stats(manager->post).lost;
    if (is_due(manager, manager->looked_us, 3 * MANAGER_TICK_MS) || lost != manager->frames_lost)
        registry_forgive_silence(manager);
    manager->frames_lost = lost;
    manager->looked_us = loop_now_us(manager->loop);
}

static void on_tick(void *ctx)
{
    struct manager *manager = ctx;
    if (manager->is_draining)
        return; /* what runs is its successor's */
    notice_own_pause(manager);
    registry_tick(manager);
    serve_nodes(manager);
    repeat_ends(manager);
    tickets_forget_old(manager);
    count_gauges(manager);
    deadline_round(&manager->tick, manager_ms(MANAGER_TICK_MS));
}

void manager_arm_progress(struct manager *manager)
{
    if (manager->queued_count > 0 && !deadline_is_armed(&manager->progress))
        deadline_round(&manager->progress, manager_ms(MANAGER_PROGRESS_MS));
}

static void drop_silent(struct manager *manager)
{
    LIST_FOREACH_SAFE (link, &manager->queued) {
        struct ticket *ticket = ticket_of_link(link);
        if (is_due(manager, ticket->life->heard_us, MANAGER_ASKER_SILENCE_MS))
            ticket_end(ticket);
    }
}

static void on_progress(void *ctx)
{
    struct manager *manager = ctx;
    notice_own_pause(manager); /* the tick may be behind this in the same turn */
    drop_silent(manager);
    LIST_FOREACH (link, &manager->models)
        tell_progress(model_of_link(link));
    manager_arm_progress(manager);
}

static void on_greeted(void *ctx)
{
    struct manager *manager = ctx;
    if (is_due(manager, manager->opened_us, MANAGER_GREET_MS)) {
        registry_end_greeting(manager);
        return;
    }
    LIST_FOREACH (link, &manager->models) /* settled: what was held back may go */
        model_review(model_of_link(link));
    deadline_at(&manager->greeted, manager->opened_us + manager_ms(MANAGER_GREET_MS));
}

/* --- draining --- */

static void on_drained(void *ctx)
{
    struct manager *manager = ctx;
    manager->on_drained(manager->drained_ctx); /* may close us */
}

static void let_go(struct ticket *ticket)
{
    tell_unknown(ticket->life->manager, ticket->life->inbox, ticket->id.low, ticket->epoch);
    ticket_end(ticket);
}

void manager_drain(struct manager *manager, void (*on_done)(void *ctx), void *ctx)
{
    ASSERT(!manager->is_draining);
    manager->is_draining = true;
    manager->on_drained = on_done;
    manager->drained_ctx = ctx;
    bus_unsubscribe(&manager->submits); /* the next manager hears from now on */
    bus_unsubscribe(&manager->calls);
    deadline_clear(&manager->state_due);
    deferred_cancel(&manager->state_flush);
    LIST_FOREACH_SAFE (link, &manager->queued)
        let_go(ticket_of_link(link));
    post_flush(manager->post);
    log_event(LOG_INFO, "manager_drained", "manager=%s assigned=%u", manager->name,
              manager->assigned_count);
    loop_defer(manager->loop, &manager->drained);
}

/* --- life --- */

static enum err subscribe(struct manager *manager)
{
    struct bus *bus = manager->bus;
    struct slice alone = {0}, group = SLICE("managers");
    TRY(bus_subscribe(bus, bus_inbox(bus), alone, on_message, manager, &manager->control));
    TRY(bus_subscribe(bus, SLICE("state.nodes"), alone, registry_on_states, manager,
                      &manager->states));
    TRY(bus_subscribe(bus, SLICE("manager.calls"), group, calls_on_message, manager,
                      &manager->calls));
    return bus_subscribe(bus, SLICE("submit"), group, on_message, manager, &manager->submits);
}

static void init(struct manager *manager, struct bus *bus, const struct manager_options *options)
{
    manager->options = *options;
    manager->bus = bus;
    manager->loop = bus_loop(bus);
    manager->post = post_new(bus);
    manager->opened_us = manager->looked_us = loop_now_us(manager->loop);
    manager->opened_wall_ms = clock_wall_ms();
    snprintf(manager->name, sizeof(manager->name), "manager-%08x", (unsigned)random_u64());
    manager->tickets = map_new(MANAGER_LIVING_MAX + MANAGER_ENDED_MAX + 2);
    list_init(&manager->queued);
    list_init(&manager->ending);
    list_init(&manager->ended);
    text_init(&manager->state_frame, STATE_FRAME_MAX_BYTES);
    registry_init(manager);
    deadline_init(&manager->tick, manager->loop, on_tick, manager);
    deadline_init(&manager->progress, manager->loop, on_progress, manager);
    deadline_init(&manager->state_due, manager->loop, on_publish, manager);
    deadline_init(&manager->greeted, manager->loop, on_greeted, manager);
    deferred_init(&manager->state_flush, on_publish, manager);
    deferred_init(&manager->drained, on_drained, manager);
}

enum err manager_open(struct bus *bus, const struct manager_options *options,
                      struct manager **out_manager)
{
    struct manager *manager = mem_alloc(sizeof(*manager));
    init(manager, bus, options);
    enum err err = subscribe(manager);
    if (err != ERR_OK) {
        manager_close(&manager);
        return err;
    }
    bus_on_bounce(bus, on_bounce, manager);
    deadline_round(&manager->tick, manager_ms(MANAGER_TICK_MS));
    deadline_after(&manager->greeted, manager_ms(MANAGER_SETTLE_MS));
    manager_greet(manager);
    log_event(LOG_INFO, "manager_started", "manager=%s", manager->name);
    *out_manager = manager;
    return ERR_OK;
}

void manager_close(struct manager **in_manager)
{
    struct manager *manager = *in_manager;
    if (!manager)
        return;
    *in_manager = NULL;
    bus_on_bounce(manager->bus, NULL, NULL);
    bus_unsubscribe(&manager->submits);
    bus_unsubscribe(&manager->calls);
    bus_unsubscribe(&manager->states);
    bus_unsubscribe(&manager->control);
    manager->is_draining = true; /* nothing is broadcast any more */
    tickets_free(manager);
    registry_fini(manager);
    deadline_clear(&manager->tick);
    deadline_clear(&manager->progress);
    deadline_clear(&manager->state_due);
    deadline_clear(&manager->greeted);
    deferred_cancel(&manager->state_flush);
    deferred_cancel(&manager->drained);
    post_flush(manager->post); /* the last ends and answers */
    post_free(manager->post);
    text_fini(&manager->state_frame);
    map_free(manager->tickets);
    mem_free(manager);
}

void manager_set_limits(struct manager *manager, const struct manager_limits *limits)
{
    manager->options.queue_max = limits->queue_max;
    manager->options.queue_wait_ms = limits->queue_wait_ms;
    manager->options.load_timeout_ms = limits->load_timeout_ms;
    LIST_FOREACH (link, &manager->models)
        model_of_link(link)->queue.options = registry_queue_options(manager);
}

struct manager_stats manager_stats(const struct manager *manager)
{
    struct manager_stats stats = manager->stats;
    stats.nodes = manager->node_count;
    stats.models = manager->model_count;
    stats.queued = manager->queued_count;
    stats.assigned = manager->assigned_count;
    return stats;
}
