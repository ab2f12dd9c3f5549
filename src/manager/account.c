/* account - what workers say: how much room they have, which streams, which they let go. */
#include "manager/manager_impl.h"

#include "base/arena.h"

enum { TAKEN_ARENA_BYTES = 16 * 1024 };
/* No manager gives so many; one who has seen more makes the numbers wrap. */
static const uint64_t seen_max = UINT64_C(1) << 62;

/* One frame while it is read. */
struct report {
    struct node *node;
    uint64_t seen;
    bool is_all;   /* names every stream the worker has */
    bool is_stale; /* a later one has come already */
};

static void hold(struct report *report, struct ticket *ticket, const struct wire_held *held)
{
    struct ticket_life *life = ticket->life;
    life->held = *held;
    life->is_held = true;
    life->marked = report->node->lists;
    if (life->is_cancelled) /* the first one may have been lost */
        assign_cancel(report->node, ticket->id.low, ticket->epoch);
}

/* It has a stream that we know. What its asker has given up, or what we have ended, it shall not
 * run on; one that another worker has too is for the asker to decide (docs/design/008). One that we
 * took for lost with its worker may have gone on all the time (a switch that stood still): it is
 * left alone, and who asks for it hears where it is. */
static void on_known(struct report *report, struct ticket *ticket, const struct wire_record *record,
                     const struct wire_held *held)
{
    struct node *node = report->node;
    if (ticket->epoch > record->epoch || ticket->state == TICKET_ENDING) {
        assign_cancel(node, record->stream, record->epoch);
    } else if (ticket->epoch == record->epoch && ticket->state == TICKET_ASSIGNED) {
        if (ticket->node == node)
            hold(report, ticket, held);
    } else if (ticket->epoch == record->epoch && ticket->state == TICKET_ENDED && !ticket->node) {
        ticket->node = node;
    }
}

static void on_held(struct report *report, const struct wire_record *record)
{
    struct wire_held held;
    struct ticket *ticket = ticket_find(report->node->manager, record->stream);
    if (wire_read_held(record, &held) == ERR_OK && ticket)
        on_known(report, ticket, record, &held);
}

static struct ticket *adopt(struct report *report, const struct wire_record *record,
                            const struct wire_taken *taken)
{
    struct ticket *ticket =
        ticket_new(report->node->manager, &(struct ticket_words){.id = taken->id,
                                                                 .epoch = record->epoch,
                                                                 .inbox = taken->inbox,
                                                                 .tenant = taken->tenant,
                                                                 .session = taken->session,
                                                                 .label = taken->label,
                                                                 .arrival_ms = taken->arrival_ms});
    if (ticket)
        ticket_assign(ticket, report->node);
    return ticket; /* NULL: no room now; it is on the next full list too */
}

/* What our predecessor gave it. The asker may have asked us before the worker did. */
static void take(struct report *report, const struct wire_record *record,
                 const struct wire_taken *taken)
{
    struct manager *manager = report->node->manager;
    struct ticket *ticket = ticket_find(manager, record->stream);
    if (ticket && !id_eq(ticket->id, taken->id))
        return; /* two requests with one handle: the first is the one we know */
    if (ticket && ticket->epoch < record->epoch) {
        if (ticket->state == TICKET_ASSIGNED)
            assign_cancel(ticket->node, ticket->id.low, ticket->epoch);
        ticket_free(manager, ticket);
        ticket = NULL;
    }
    if (!ticket) {
        ticket = adopt(report, record, taken);
    } else if (ticket->epoch == record->epoch && ticket->state == TICKET_QUEUED) {
        ticket_assign(ticket, report->node);
        ticket_drop_payload(ticket);
    }
    if (ticket)
        on_known(report, ticket, record, &taken->held);
}

static void on_taken(struct report *report, const struct wire_record *record)
{
    struct arena *arena = arena_new(TAKEN_ARENA_BYTES);
    struct wire_taken taken;
    if (wire_read_taken(record, arena, &taken) == ERR_OK && !report->is_stale)
        take(report, record, &taken);
    arena_free(arena);
}

static void on_released(struct report *report, const struct wire_record *record)
{
    struct node *node = report->node;
    struct wire_released released;
    struct ticket *ticket = ticket_find(node->manager, record->stream);
    if (wire_read_released(record, &released) != ERR_OK || !ticket ||
        ticket->epoch != record->epoch || ticket->state != TICKET_ASSIGNED || ticket->node != node)
        return;
    if (released.kept_us > 0 && node->model)
        queue_count_served(&node->model->queue, released.kept_us);
    ticket_end(ticket);
}

static void on_record(struct report *report, const struct wire_record *record)
{
    switch (record->type) {
    case WIRE_HELD:
        on_held(report, record);
        return;
    case WIRE_TAKEN:
        on_taken(report, record);
        return;
    case WIRE_RELEASED:
        on_released(report, record);
        return;
    default:
        return; /* of a later version */
    }
}

/* What it has seen and does not name has ended: the RELEASED was lost. */
static void end_unnamed(const struct report *report)
{
    struct node *node = report->node;
    LIST_FOREACH_SAFE (link, &node->tickets) {
        struct ticket *ticket = ticket_of_link(link);
        if (ticket->life->number <= report->seen && ticket->life->marked != node->lists)
            ticket_end(ticket);
    }
}

static void take_load(struct report *report, const struct wire_load *load)
{
    struct node *node = report->node;
    node->heard_us = loop_now_us(node->manager->loop);
    report->is_stale = report->seen < node->seen;
    if (report->is_stale)
        return;
    if (report->seen > node->number) /* it was gone for a while: our numbers go on where it is */
        node->number = report->seen;
    sched_take_load(&node->sched, load);
    assign_seen(node, report->seen);
    node->lists += report->is_all;
}

void account_on_frame(struct manager *manager, struct slice control,
                      const struct wire_record *load_record, struct wire_reader *reader)
{
    struct wire_load load;
    struct wire_record record;
    if (wire_read_load(load_record, &load) != ERR_OK || load_record->seq > seen_max)
        return; /* a worker repeats it twice a second */
    struct node *node = registry_worker(manager, control);
    if (!node)
        return;
    struct report report = {.node = node,
                            .seen = load_record->seq,
                            .is_all = (load_record->flags & WIRE_FLAG_ALL) != 0};
    take_load(&report, &load);
    enum err err;
    while ((err = wire_next(reader, &record)) == ERR_OK)
        on_record(&report, &record);
    if (err == ERR_AGAIN && report.is_all && !report.is_stale)
        end_unnamed(&report);
    model_review(node->model);
}
