/* submit - what askers say. A request costs one look into the table of tickets, one into that of
 * the models, and the JSON of its head; its body is passed on unread. */
#include "manager/manager_impl.h"

#include "base/arena.h"
#include "base/clock.h"

enum { HEAD_ARENA_BYTES = 64 * 1024 };

/* --- a new one --- */

/* The wall clocks of two machines differ: time on the way counts only as far as it makes sense. */
static uint64_t deadline_of(const struct manager *manager, const struct request *request)
{
    if (request->deadline_ms == 0)
        return UINT64_MAX;
    int64_t gone_ms = request->arrival_ms ? clock_wall_ms() - request->arrival_ms : 0;
    if (gone_ms < 0)
        gone_ms = 0;
    uint64_t left_ms =
        gone_ms < request->deadline_ms ? request->deadline_ms - (uint64_t)gone_ms : 0;
    return loop_now_us(manager->loop) + left_ms * MANAGER_US_PER_MS;
}

/* While nodes may not have spoken yet, a model that we do not know may be there all the same. */
static struct model *model_for(struct manager *manager, struct slice name)
{
    struct model *model = registry_model(manager, name);
    bool is_greeting =
        loop_now_us(manager->loop) - manager->opened_us < manager_ms(MANAGER_GREET_MS);
    return model || !is_greeting ? model : registry_add_model(manager, name);
}

static void refuse_full(struct ticket *ticket, const struct model *model, struct slice message)
{
    ticket_fail(ticket, FAULT_QUEUE_FULL, message, queue_retry_after_ms(&model->queue));
}

static void refuse_entry(struct ticket *ticket, const struct model *model, enum err err)
{
    if (err == ERR_LIMIT)
        ticket_fail(ticket, FAULT_WORKER_LOST,
                    SLICE("the worker is lost, and answers of too many numerics wait already"),
                    queue_retry_after_ms(&model->queue));
    else
        refuse_full(ticket, model, SLICE("too many requests wait for this model"));
}

/* Who was let in once is not sent away because of those that came since: its worker died, or our
 * predecessor. */
MUST_USE static enum err enter_queue(struct ticket *ticket, struct model *model,
                                     const struct request *request)
{
    struct ticket_life *life = ticket->life;
    struct queue_entry entry = {.priority = request->priority,
                                .arrived_ms = request->arrival_ms,
                                .is_again = life->is_inherited || request->epoch > 1,
                                .has_run = request->epoch > 1,
                                .deadline_us = deadline_of(model->manager, request),
                                .numerics = life->numerics};
    return queue_enter(&model->queue, &life->place, &entry, loop_now_us(model->manager->loop));
}

/* Who is given to a worker at once hears that from the worker: no frame of ours says that it waits,
 * none to everybody that a queue was longer for no time at all. */
static void settle(struct manager *manager, struct ticket *ticket)
{
    if (!ticket || ticket->state != TICKET_QUEUED)
        return;
    tell_queued(ticket);
    manager_state_changed(manager);
}

static void enter(struct ticket *ticket, struct model *model, const struct request *request,
                  struct slice payload)
{
    struct manager *manager = model->manager;
    struct ticket_life *life = ticket->life;
    enum err err;
    if (payload.len > manager->options.waiting_bytes_max - manager->waiting_bytes) {
        refuse_full(ticket, model, SLICE("too much waits already"));
    } else if (!ticket_keep_payload(ticket, payload)) {
        ticket_free(manager, ticket); /* no memory now: its asker repeats it */
    } else if ((err = enter_queue(ticket, model, request)) != ERR_OK) {
        refuse_entry(ticket, model, err);
    } else {
        uint64_t stream = ticket->id.low;
        life->model = model;
        model_review(model); /* may end it, or give it away */
        settle(manager, ticket_find(manager, stream));
    }
}

/* Asked for before we were here: an asker that repeats itself to us did so before it was silent for
 * too long. Later only a wall clock that was set back, or an asker's own, can say so, and then it
 * would be no reason to let everybody in. */
static bool is_inherited(const struct manager *manager, const struct request *request)
{
    return request->arrival_ms < manager->opened_wall_ms &&
           loop_now_us(manager->loop) - manager->opened_us < manager_ms(MANAGER_ASKER_SILENCE_MS);
}

static void admit(struct manager *manager, const struct request *request, struct slice payload)
{
    struct ticket *ticket =
        ticket_new(manager, &(struct ticket_words){.id = request->id,
                                                   .epoch = request->epoch,
                                                   .inbox = request->inbox,
                                                   .tenant = request->tenant,
                                                   .session = request->session,
                                                   .label = request->label,
                                                   .arrival_ms = request->arrival_ms});
    if (!ticket)
        return; /* no room for it now: its asker repeats it */
    manager->stats.submits++;
    ticket->life->wants_progress = request->want_progress;
    ticket->life->is_inherited = is_inherited(manager, request);
    if (request->continue_from.numerics.len == NODE_FINGERPRINT_BYTES)
        memcpy(ticket->life->numerics, request->continue_from.numerics.data,
               NODE_FINGERPRINT_BYTES); /* the byte behind is 0 */
    struct model *model = model_for(manager, request->model);
    if (model)
        enter(ticket, model, request, payload);
    else
        ticket_fail(ticket, FAULT_MODEL_NOT_FOUND, SLICE("nobody serves this model"), 0);
}

/* Its asker has given up the earlier epoch: mostly for the worker is gone, and we will notice in a
 * moment (the cancel comes back). To give it the next epoch would waste one of the few reruns. */
static void supersede(struct manager *manager, struct ticket *earlier)
{
    if (earlier->state == TICKET_ASSIGNED) {
        assign_cancel(earlier->node, earlier->id.low, earlier->epoch);
        earlier->node->sched.is_doubted = true;
    }
    ticket_free(manager, earlier);
}

static void on_new_submit(struct manager *manager, struct ticket *earlier,
                          const struct wire_record *record, struct slice reply)
{
    struct arena *arena = arena_new(HEAD_ARENA_BYTES);
    struct request request;
    struct err_note note = {0};
    enum err err = request_decode_head(record->payload, arena, &request, &note);
    if (err == ERR_OK &&
        (request_stream(&request) != record->stream || request.epoch != record->epoch))
        err = err_note_fail(&note, ERR_PROTOCOL, "the record names another request than the head");
    if (err != ERR_OK) {
        tell_refused(manager, reply, record, FAULT_INVALID_REQUEST, slice_str(note.text));
    } else if (!earlier || id_eq(earlier->id, request.id)) {
        if (earlier)
            supersede(manager, earlier);
        admit(manager, &request, record->payload);
    } /* else two requests with one handle: the later is not heard, and fails at its asker */
    arena_free(arena);
}

/* --- what is known --- */

static void on_submit(struct manager *manager, const struct wire_record *record, struct slice reply)
{
    struct ticket *known = ticket_find(manager, record->stream);
    if (!known || record->epoch > known->epoch) {
        on_new_submit(manager, known, record, reply);
    } else if (record->epoch == known->epoch) {
        if (known->life)
            known->life->heard_us = loop_now_us(manager->loop);
        tell_where(manager, known, reply);
    } /* else it was given up since */
}

static void on_waiting(struct manager *manager, const struct wire_record *record,
                       struct slice reply)
{
    struct ticket *known = ticket_find(manager, record->stream);
    if (!known || known->epoch != record->epoch) {
        tell_unknown(manager, reply, record->stream, record->epoch);
        return;
    }
    if (known->life)
        known->life->heard_us = loop_now_us(manager->loop);
    tell_where(manager, known, reply);
}

void submit_cancel(struct ticket *ticket)
{
    if (ticket->state == TICKET_QUEUED) {
        ticket_end_cancelled(ticket);
    } else if (ticket->state == TICKET_ASSIGNED) {
        ticket->life->is_cancelled = true; /* said again with every full list that names it */
        assign_cancel(ticket->node, ticket->id.low, ticket->epoch);
    }
}

/* Unknown to us may be known to a worker; but nobody who hears this waits for more than an end. A
 * cancel for what has ended here crossed the end, or comes from who knows the request no more and
 * says so: saying it again would go back and forth. Who missed the end asks again, and is told that
 * it is unknown. */
static void on_cancel(struct manager *manager, const struct wire_record *record, struct slice reply)
{
    struct ticket *known = ticket_find(manager, record->stream);
    if (!known || known->epoch != record->epoch || known->state == TICKET_ENDED)
        tell_unknown(manager, reply, record->stream, record->epoch);
    else if (known->state == TICKET_ENDING)
        ticket_end(known);
    else
        submit_cancel(known);
}

/* Silence for what is not ours: who runs at a worker must not hear from us that it is unknown. */
static void on_credit(struct manager *manager, const struct wire_record *record)
{
    struct wire_credit credit;
    struct ticket *known = ticket_find(manager, record->stream);
    if (known && known->epoch == record->epoch && known->state == TICKET_ENDING &&
        wire_read_credit(record, &credit) == ERR_OK && credit.acked_seq >= 1)
        ticket_end(known);
}

void submit_on_record(struct manager *manager, const struct wire_record *record, struct slice reply)
{
    switch (record->type) {
    case WIRE_SUBMIT:
        on_submit(manager, record, reply);
        return;
    case WIRE_WAITING:
        on_waiting(manager, record, reply);
        return;
    case WIRE_CANCEL:
        on_cancel(manager, record, reply);
        return;
    case WIRE_CREDIT:
        on_credit(manager, record);
        return;
    default:
        return; /* of a later version */
    }
}

void submit_asker_is_gone(struct manager *manager, struct slice inbox)
{
    LIST_FOREACH_SAFE (link, &manager->queued) {
        struct ticket *ticket = ticket_of_link(link);
        if (slice_eq(ticket->life->inbox, inbox))
            ticket_end(ticket);
    }
    LIST_FOREACH_SAFE (link, &manager->ending) {
        struct ticket *ticket = ticket_of_link(link);
        if (slice_eq(ticket->life->inbox, inbox))
            ticket_end(ticket);
    }
}
