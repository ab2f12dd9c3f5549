/* ticket - one request as the manager knows it: its states, and what is kept in each. */
#include "manager/manager_impl.h"

#include "base/mem.h"

enum { MESSAGE_MAX_BYTES = 512 };

/* --- states --- */

static struct manager *manager_of(const struct ticket *ticket)
{
    return ticket->life->manager;
}

static void leave_queue(struct ticket *ticket)
{
    struct ticket_life *life = ticket->life;
    struct model *model = life->model;
    if (!model)
        return;
    queue_leave(&model->queue, &life->place);
    if (model->queue.count != model->told_count)
        manager_state_changed(life->manager);
}

static void leave_node(struct ticket *ticket)
{
    struct list *unseen = &ticket->life->unseen_link;
    if (!list_is_linked(unseen))
        return;
    list_remove(unseen);
    ticket->node->sched.given--;
}

static void count(struct manager *manager, enum ticket_state state, int by)
{
    uint32_t *const counts[] = {[TICKET_QUEUED] = &manager->queued_count,
                                [TICKET_ASSIGNED] = &manager->assigned_count,
                                [TICKET_ENDING] = &manager->ending_count,
                                [TICKET_ENDED] = &manager->ended_count};
    *counts[state] += (uint32_t)by;
}

static struct list *list_for(struct manager *manager, struct ticket *ticket)
{
    switch (ticket->state) {
    case TICKET_QUEUED:
        return &manager->queued;
    case TICKET_ASSIGNED:
        return &ticket->node->tickets;
    case TICKET_ENDING:
        return &manager->ending;
    case TICKET_ENDED:
        break;
    }
    return &manager->ended;
}

#define TO(state) (1u << TICKET_##state)
static const uint8_t allowed[] = {[TICKET_QUEUED] = TO(ASSIGNED) | TO(ENDING) | TO(ENDED),
                                  [TICKET_ASSIGNED] = TO(ENDED),
                                  [TICKET_ENDING] = TO(ENDED),
                                  [TICKET_ENDED] = 0};

static void set_state(struct ticket *ticket, enum ticket_state next) /* the only writer of it */
{
    struct manager *manager = manager_of(ticket);
    ASSERT_MSG(allowed[ticket->state] & (1u << next), "from %d to %d", (int)ticket->state,
               (int)next);
    if (ticket->state == TICKET_QUEUED)
        leave_queue(ticket);
    if (ticket->state == TICKET_ASSIGNED)
        leave_node(ticket);
    count(manager, ticket->state, -1);
    ticket->state = next;
    count(manager, next, +1);
    list_remove(&ticket->link);
    list_push_back(list_for(manager, ticket), &ticket->link);
}

/* --- payload --- */

bool ticket_keep_payload(struct ticket *ticket, struct slice payload)
{
    struct ticket_life *life = ticket->life;
    life->payload = mem_peer_alloc(payload.len ? payload.len : 1);
    if (!life->payload)
        return false;
    if (payload.len)
        memcpy(life->payload, payload.data, payload.len);
    life->payload_bytes = payload.len;
    life->manager->waiting_bytes += payload.len;
    return true;
}

void ticket_drop_payload(struct ticket *ticket)
{
    struct ticket_life *life = ticket->life;
    if (!life->payload)
        return;
    life->manager->waiting_bytes -= life->payload_bytes;
    mem_free(life->payload);
    life->payload = NULL;
    life->payload_bytes = 0;
}

/* --- beginning --- */

static struct slice keep_word(char **room, struct slice word)
{
    struct slice kept = {*room, word.len};
    if (word.len)
        memcpy(*room, word.data, word.len);
    *room += word.len;
    return kept;
}

static bool keep_words(struct ticket_life *life, const struct ticket_words *words)
{
    size_t bytes = words->inbox.len + words->tenant.len + words->session.len + words->label.len;
    char *room = life->words = mem_peer_alloc(bytes + 1);
    if (!room)
        return false;
    life->inbox = keep_word(&room, words->inbox);
    life->tenant = keep_word(&room, words->tenant);
    life->session = keep_word(&room, words->session);
    life->label = keep_word(&room, words->label);
    return true;
}

static struct ticket_life *life_new(struct manager *manager, const struct ticket_words *words)
{
    struct ticket_life *life = mem_alloc(sizeof(*life));
    *life = (struct ticket_life){.manager = manager,
                                 .arrival_ms = words->arrival_ms,
                                 .heard_us = loop_now_us(manager->loop),
                                 .told_position = -1,
                                 .told_fraction = -1};
    list_init(&life->unseen_link);
    if (keep_words(life, words))
        return life;
    mem_free(life);
    return NULL;
}

static void life_free(struct ticket *ticket)
{
    struct ticket_life *life = ticket->life;
    ticket_drop_payload(ticket);
    mem_free(life->message);
    mem_free(life->words);
    mem_free(life);
    ticket->life = NULL;
}

struct ticket *ticket_new(struct manager *manager, const struct ticket_words *words)
{
    if (manager->queued_count + manager->assigned_count >= MANAGER_LIVING_MAX)
        return NULL;
    struct ticket_life *life = life_new(manager, words);
    if (!life)
        return NULL;
    struct ticket *ticket = mem_alloc(sizeof(*ticket));
    *ticket = (struct ticket){.id = words->id, .epoch = words->epoch, .life = life};
    life->ticket = ticket;
    enum err err = map_put(manager->tickets, ticket->id.low, ticket);
    ASSERT(err == ERR_OK); /* it has room for the living and the ended */
    list_push_back(&manager->queued, &ticket->link);
    count(manager, TICKET_QUEUED, +1);
    return ticket;
}

struct ticket *ticket_find(const struct manager *manager, uint64_t stream)
{
    return map_get(manager->tickets, stream);
}

void ticket_assign(struct ticket *ticket, struct node *node)
{
    ticket->node = node;
    set_state(ticket, TICKET_ASSIGNED);
    ticket->life->given_us = loop_now_us(manager_of(ticket)->loop);
}

/* --- end --- */

static void begin_end(struct ticket *ticket)
{
    struct manager *manager = manager_of(ticket);
    set_state(ticket, TICKET_ENDING);
    ticket_drop_payload(ticket);
    ticket->ended_us = loop_now_us(manager->loop);
    manager->stats.ended++;
    tell_end(ticket);
    tickets_forget_old(manager);
}

/* Without memory for the words the fault alone has to say it. */
static char *keep_message(struct slice message)
{
    message = slice_first(message, MESSAGE_MAX_BYTES);
    char *kept = mem_peer_alloc(message.len + 1);
    if (!kept)
        return NULL;
    if (message.len)
        memcpy(kept, message.data, message.len);
    kept[message.len] = 0;
    return kept;
}

void ticket_fail(struct ticket *ticket, enum fault fault, struct slice message,
                 uint32_t retry_after_ms)
{
    struct ticket_life *life = ticket->life;
    life->is_error = true;
    life->fault = fault;
    life->message = keep_message(message);
    life->retry_after_ms = retry_after_ms;
    life->manager->stats.refused++;
    count_refused(life->manager, fault, retry_after_ms);
    begin_end(ticket);
}

void ticket_end_cancelled(struct ticket *ticket)
{
    manager_of(ticket)->stats.cancelled++;
    begin_end(ticket);
}

void ticket_end(struct ticket *ticket)
{
    struct manager *manager = manager_of(ticket);
    if (ticket->state != TICKET_ENDING) {
        ticket->ended_us = loop_now_us(manager->loop);
        manager->stats.ended++;
    }
    set_state(ticket, TICKET_ENDED);
    life_free(ticket);
    tickets_forget_old(manager);
}

void ticket_free(struct manager *manager, struct ticket *ticket)
{
    void *removed = map_remove(manager->tickets, ticket->id.low);
    ASSERT(removed == ticket);
    count(manager, ticket->state, -1);
    list_remove(&ticket->link);
    if (ticket->life) {
        if (ticket->state == TICKET_QUEUED)
            leave_queue(ticket);
        leave_node(ticket);
        life_free(ticket);
    }
    mem_free(ticket);
}

static struct ticket *oldest(struct list *tickets)
{
    return list_is_empty(tickets) ? NULL : ticket_of_link(tickets->next);
}

void tickets_forget_old(struct manager *manager)
{
    uint64_t now_us = loop_now_us(manager->loop);
    struct ticket *ticket;
    while ((ticket = oldest(&manager->ended)) &&
           (now_us - ticket->ended_us >= manager_ms(MANAGER_ENDED_MS) ||
            manager->ended_count + manager->ending_count > MANAGER_ENDED_MAX))
        ticket_free(manager, ticket);
    while (manager->ending_count > MANAGER_ENDED_MAX) /* its asker asks once more */
        ticket_free(manager, oldest(&manager->ending));
}

void tickets_forget_node(struct manager *manager, const struct node *node)
{
    LIST_FOREACH (link, &manager->ended)
        if (ticket_of_link(link)->node == node)
            ticket_of_link(link)->node = NULL;
}

static void release_all(struct manager *manager, struct list *tickets)
{
    while (!list_is_empty(tickets))
        ticket_free(manager, oldest(tickets));
}

void tickets_free(struct manager *manager)
{
    release_all(manager, &manager->queued);
    LIST_FOREACH (link, &manager->nodes)
        release_all(manager, &node_of_link(link)->tickets);
    release_all(manager, &manager->ending);
    release_all(manager, &manager->ended);
}
