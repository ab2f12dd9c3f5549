/* assign - what workers are given: the submit as it came, with a number, until they have seen it.
 */
#include "manager/manager_impl.h"

static void send_submit(struct ticket *ticket)
{
    struct ticket_life *life = ticket->life;
    struct node *node = ticket->node;
    struct wire_writer *writer =
        post_to(life->manager->post, WIRE_CONTROL, node->control, life->payload_bytes);
    life->sent_us = loop_now_us(life->manager->loop);
    if (writer)
        wire_add(writer,
                 &(struct wire_record){.stream = ticket->id.low,
                                       .seq = life->number,
                                       .epoch = ticket->epoch,
                                       .type = WIRE_SUBMIT,
                                       .payload = slice_of(life->payload, life->payload_bytes)});
}

static void number_anew(struct ticket *ticket)
{
    struct ticket_life *life = ticket->life;
    life->number = ++ticket->node->number;
    list_remove(&life->unseen_link);
    list_push_back(&ticket->node->unseen, &life->unseen_link);
}

/* sched_pick() has counted it as given. */
void assign_ticket(struct ticket *ticket, struct node *node)
{
    struct ticket_life *life = ticket->life;
    count_wait(life->model, loop_now_us(life->manager->loop) - life->place.entered_us);
    ticket_assign(ticket, node);
    number_anew(ticket);
    send_submit(ticket);
}

static struct ticket *unseen_ticket(struct list *link)
{
    return CONTAINER_OF(link, struct ticket_life, unseen_link)->ticket;
}

void assign_seen(struct node *node, uint64_t seen)
{
    node->seen = seen;
    while (!list_is_empty(&node->unseen)) {
        struct ticket *ticket = unseen_ticket(node->unseen.next);
        if (ticket->life->number > seen)
            return;
        list_remove(&ticket->life->unseen_link);
        node->sched.given--;
        ticket_drop_payload(ticket);
    }
}

void assign_repeat(struct node *node)
{
    uint64_t now_us = loop_now_us(node->manager->loop);
    size_t bytes = 0;
    LIST_FOREACH_SAFE (link, &node->unseen) {
        struct ticket *ticket = unseen_ticket(link);
        const struct ticket_life *life = ticket->life;
        if (now_us - life->given_us >= manager_ms(MANAGER_ASSIGN_PATIENCE_MS)) {
            assign_lose(ticket);
        } else if (now_us - life->sent_us >= manager_ms(MANAGER_ASSIGN_REPEAT_MS) &&
                   bytes < MANAGER_REPEAT_BYTES) {
            bytes += life->payload_bytes;
            send_submit(ticket);
        }
    }
}

static void send_empty(struct node *node, const struct wire_record *record)
{
    struct wire_writer *writer = post_to(node->manager->post, WIRE_CONTROL, node->control, 0);
    if (writer)
        wire_add(writer, record);
}

void assign_cancel(struct node *node, uint64_t stream, uint32_t epoch)
{
    send_empty(node, &(struct wire_record){.stream = stream, .epoch = epoch, .type = WIRE_CANCEL});
}

void assign_ping(struct node *node)
{
    send_empty(node, &(struct wire_record){.type = WIRE_PING});
}

void assign_lose(struct ticket *ticket)
{
    struct ticket_life *life = ticket->life;
    tell_unknown(life->manager, life->inbox, ticket->id.low, ticket->epoch);
    ticket_end(ticket);
    ticket->node = NULL;
}

/* Those behind it may have arrived, and the worker counts only the highest number: a new one says
 * that this was not seen. */
static void on_lost_submit(struct node *node, const struct wire_record *record)
{
    struct ticket *ticket = ticket_find(node->manager, record->stream);
    if (!ticket || ticket->state != TICKET_ASSIGNED || ticket->node != node ||
        ticket->epoch != record->epoch || ticket->life->number != record->seq)
        return;
    if (list_is_linked(&ticket->life->unseen_link))
        number_anew(ticket);
    else if (!ticket->life->is_held)
        assign_lose(ticket);
}

void assign_on_lost(struct node *node, struct slice frame)
{
    struct wire_reader reader;
    struct wire_record record;
    if (wire_open(frame, &reader) != ERR_OK)
        return; /* what we wrote is a frame: this is somebody's idea of a bounce */
    while (wire_next(&reader, &record) == ERR_OK)
        if (record.type == WIRE_SUBMIT)
            on_lost_submit(node, &record);
}
