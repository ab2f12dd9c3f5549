/* tell - what askers are told: not numbered while their request waits, numbered when it ends here.
 */
#include "manager/manager_impl.h"

#include "wire/assigned.h"

enum { EVENT_BYTES = 256 /* about; what post.h wants to know */ };

static struct wire_writer *to(const struct manager *manager, struct slice inbox)
{
    return post_to(manager->post, WIRE_EVENTS, inbox, EVENT_BYTES);
}

static void tell_event(const struct manager *manager, struct slice inbox, uint64_t stream,
                       uint32_t epoch, const struct event *event)
{
    struct wire_writer *writer = to(manager, inbox);
    if (writer)
        event_encode(writer, stream, epoch, event, NULL);
}

static void say_queued(const struct ticket *ticket, struct slice inbox)
{
    const struct ticket_life *life = ticket->life;
    struct event event = {.type = EVENT_QUEUED};
    if (ticket->state == TICKET_QUEUED && life->model) {
        event.queued.position = life->place.position;
        event.queued.eta_ms = queue_eta_ms(&life->model->queue, life->place.position);
    }
    tell_event(life->manager, inbox, ticket->id.low, ticket->epoch, &event);
}

void tell_queued(struct ticket *ticket)
{
    ticket->life->told_position = ticket->life->place.position;
    say_queued(ticket, ticket->life->inbox);
}

void tell_loading(struct ticket *ticket)
{
    struct ticket_life *life = ticket->life;
    struct event event = {.type = EVENT_LOADING};
    event.loading.fraction = life->told_fraction = life->model->sched.load_fraction;
    tell_event(life->manager, life->inbox, ticket->id.low, ticket->epoch, &event);
}

static void say_end(const struct ticket *ticket, struct slice inbox)
{
    const struct ticket_life *life = ticket->life;
    struct event event = {.type = EVENT_DONE, .seq = 1};
    event.done.reason = DONE_CANCELLED;
    if (life->is_error) {
        event = (struct event){.type = EVENT_ERROR, .seq = 1};
        event.error.fault = life->fault;
        event.error.message = slice_str(life->message ? life->message : fault_name(life->fault));
        event.error.retry_after_ms = life->retry_after_ms;
    }
    tell_event(life->manager, inbox, ticket->id.low, ticket->epoch, &event);
}

void tell_end(struct ticket *ticket)
{
    ticket->life->told_us = loop_now_us(ticket->life->manager->loop);
    say_end(ticket, ticket->life->inbox);
}

void tell_unknown(struct manager *manager, struct slice inbox, uint64_t stream, uint32_t epoch)
{
    struct wire_writer *writer = to(manager, inbox);
    if (writer)
        wire_add(writer, &(struct wire_record){
                             .stream = stream, .epoch = epoch, .type = WIRE_UNKNOWN_STREAM});
}

void tell_refused(struct manager *manager, struct slice inbox, const struct wire_record *record,
                  enum fault fault, struct slice message)
{
    struct event event = {.type = EVENT_ERROR, .seq = 1};
    event.error.fault = fault;
    event.error.message = message;
    manager->stats.refused++;
    count_refused(manager, fault, 0);
    tell_event(manager, inbox, record->stream, record->epoch, &event);
}

/* The asker turns to that worker itself, so it must know the request by now: before it has seen the
 * assignment it would say that it has no such stream. */
static void say_assigned(struct manager *manager, const struct ticket *ticket, struct slice inbox)
{
    struct wire_writer *writer = to(manager, inbox);
    if (writer)
        wire_add_assigned(writer, ticket->id.low, ticket->epoch, ticket->node->control);
}

void tell_where(struct manager *manager, const struct ticket *ticket, struct slice reply)
{
    switch (ticket->state) {
    case TICKET_QUEUED:
        say_queued(ticket, reply);
        return;
    case TICKET_ASSIGNED:
        if (list_is_linked(&ticket->life->unseen_link))
            say_queued(ticket, reply);
        else
            say_assigned(manager, ticket, reply);
        return;
    case TICKET_ENDING:
        say_end(ticket, reply);
        return;
    case TICKET_ENDED: /* its worker remembers it longer than its asker needs */
        if (ticket->node)
            say_assigned(manager, ticket, reply);
        else
            tell_unknown(manager, reply, ticket->id.low, ticket->epoch);
        return;
    }
}

static void tell_news(struct ticket *ticket)
{
    const struct ticket_life *life = ticket->life;
    if (life->told_position != life->place.position)
        tell_queued(ticket);
    if (life->model->sched.outlook == OUTLOOK_LOADING &&
        life->told_fraction != life->model->sched.load_fraction)
        tell_loading(ticket);
}

void tell_progress(struct model *model)
{
    queue_number(&model->queue);
    for (struct queue_place *place = NULL; (place = queue_after(&model->queue, place));)
        if (ticket_of_place(place)->life->wants_progress)
            tell_news(ticket_of_place(place));
}
