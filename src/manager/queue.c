/* queue - the queue of one model: lines in order of service, and all in order of expiry. */
#include "manager/queue.h"

#include <stdio.h>

enum {
    US_PER_MS = 1000,
    RETRY_UNKNOWN_MS = 1000,
    RETRY_MAX_MS = 60000,
    AVERAGE_OF = 8, /* requests the moving average remembers */
};
/* Longer than any request: keeps the average's arithmetic from overflowing, whatever a worker says.
 */
static const uint64_t kept_max_us = UINT64_C(1) << 48;

static unsigned rank(enum request_priority priority)
{
    switch (priority) {
    case PRIORITY_HIGH:
        return 0;
    case PRIORITY_LOW:
        return 2;
    case PRIORITY_NORMAL:
        break;
    }
    return 1;
}

void queue_init(struct queue *queue, const struct queue_options *options)
{
    *queue = (struct queue){.options = *options};
    for (unsigned line = 0; line < QUEUE_LINES_MAX; line++)
        for (unsigned i = 0; i < QUEUE_PRIORITIES; i++)
            list_init(&queue->lines[line].order[i]);
    for (unsigned i = 0; i < ARRAY_COUNT(queue->expiry); i++)
        list_init(&queue->expiry[i]);
}

/* --- expiry --- */

static struct queue_place *place_of(struct list *expiry_link)
{
    return CONTAINER_OF(expiry_link, struct queue_place, expiry_link);
}

static uint64_t end_of_wait(const struct queue *queue, const struct queue_place *place,
                            uint64_t now_us)
{
    uint64_t wait_us = queue->options.queue_wait_ms * (uint64_t)US_PER_MS;
    uint64_t load_us = queue->options.load_timeout_ms * (uint64_t)US_PER_MS;
    if (!queue->is_served)
        return now_us + load_us;
    return place->has_run && queue->is_coming ? place->entered_us + load_us : now_us + wait_us;
}

/* Nearly always at the end or close to it: the waits are the same for all of a list. */
static void set_expiry(struct queue *queue, struct queue_place *place, uint64_t now_us)
{
    uint64_t expires_us = end_of_wait(queue, place, now_us);
    place->expires_us = expires_us < place->deadline_us ? expires_us : place->deadline_us;
    list_remove(&place->expiry_link);
    struct list *expiry = &queue->expiry[place->has_run], *before = expiry->prev;
    while (before != expiry && place_of(before)->expires_us > place->expires_us)
        before = before->prev;
    list_push_front(before, &place->expiry_link);
}

/* NULL: nobody waits. */
static struct queue_place *first_to_expire(const struct queue *queue)
{
    struct queue_place *first = NULL;
    for (unsigned i = 0; i < ARRAY_COUNT(queue->expiry); i++) {
        const struct list *expiry = &queue->expiry[i];
        if (!list_is_empty(expiry) &&
            (!first || place_of(expiry->next)->expires_us < first->expires_us))
            first = place_of(expiry->next);
    }
    return first;
}

uint64_t queue_wake_us(const struct queue *queue)
{
    const struct queue_place *first = first_to_expire(queue);
    return first ? first->expires_us : UINT64_MAX;
}

struct queue_place *queue_expired(struct queue *queue, uint64_t now_us)
{
    struct queue_place *place = first_to_expire(queue);
    if (!place || place->expires_us > now_us)
        return NULL;
    queue_leave(queue, place);
    return place;
}

/* --- lines --- */

static uint32_t line_count(const struct queue_line *line)
{
    uint32_t count = 0;
    for (unsigned i = 0; i < QUEUE_PRIORITIES; i++)
        count += line->counts[i];
    return count;
}

/* QUEUE_LINES_MAX: there is none for them, and all are taken. */
static uint32_t line_for(const struct queue *queue, const char *numerics)
{
    uint32_t empty = QUEUE_LINES_MAX;
    if (!numerics || !numerics[0])
        return 0;
    for (uint32_t i = 1; i < QUEUE_LINES_MAX; i++) {
        const struct queue_line *line = &queue->lines[i];
        bool is_empty = line_count(line) == 0;
        if (!is_empty && strcmp(line->numerics, numerics) == 0)
            return i;
        if (is_empty && empty == QUEUE_LINES_MAX)
            empty = i;
    }
    return empty;
}

/* --- in and out --- */

static uint32_t position_at_end(const struct queue_line *line, enum request_priority priority)
{
    uint32_t position = 0;
    for (unsigned i = 0; i <= rank(priority); i++)
        position += line->counts[i];
    return position;
}

static struct queue_place *place_of_order(struct list *order_link)
{
    return CONTAINER_OF(order_link, struct queue_place, order_link);
}

/* Rule 2. As many steps as others wait that arrived later: those that come again come together. */
static void take_place(struct queue_line *line, struct queue_place *place, bool is_again)
{
    struct list *order = &line->order[rank(place->priority)], *before = order->prev;
    for (; is_again && before != order; before = before->prev, place->position--)
        if (place_of_order(before)->arrived_ms <= place->arrived_ms)
            break;
    list_push_front(before, &place->order_link);
    line->counts[rank(place->priority)]++;
}

enum err queue_enter(struct queue *queue, struct queue_place *place,
                     const struct queue_entry *entry, uint64_t now_us)
{
    uint32_t index = line_for(queue, entry->numerics);
    if (index == QUEUE_LINES_MAX)
        return ERR_LIMIT;
    struct queue_line *line = &queue->lines[index];
    if (!entry->is_again && line_count(line) >= (uint64_t)queue->options.queue_max + queue->room)
        return ERR_FULL;
    *place = (struct queue_place){.priority = entry->priority,
                                  .arrived_ms = entry->arrived_ms,
                                  .has_run = entry->has_run,
                                  .is_waiting = true,
                                  .line = index,
                                  .position = position_at_end(line, entry->priority),
                                  .entered_us = now_us,
                                  .deadline_us = entry->deadline_us};
    list_init(&place->expiry_link);
    if (index > 0)
        snprintf(line->numerics, sizeof(line->numerics), "%s", entry->numerics);
    take_place(line, place, entry->is_again);
    queue->count++;
    set_expiry(queue, place, now_us);
    return ERR_OK;
}

void queue_leave(struct queue *queue, struct queue_place *place)
{
    if (!place->is_waiting)
        return;
    place->is_waiting = false;
    list_remove(&place->order_link);
    list_remove(&place->expiry_link);
    queue->lines[place->line].counts[rank(place->priority)]--;
    queue->count--;
}

/* --- service --- */

void queue_set_service(struct queue *queue, bool is_served, uint32_t slots, uint32_t room,
                       uint64_t now_us)
{
    bool changes = queue->is_served != is_served;
    queue->is_served = is_served;
    queue->slots = slots;
    queue->room = room;
    if (!changes)
        return;
    for (struct queue_place *place = NULL; (place = queue_after(queue, place));)
        set_expiry(queue, place, now_us);
}

void queue_set_coming(struct queue *queue, bool is_coming, uint64_t now_us)
{
    if (queue->is_coming == is_coming)
        return;
    queue->is_coming = is_coming;
    for (struct queue_place *place = NULL; (place = queue_after(queue, place));)
        if (place->has_run && queue->is_served)
            set_expiry(queue, place, now_us);
}

void queue_count_served(struct queue *queue, uint64_t kept_us)
{
    if (kept_us == 0)
        kept_us = 1; /* 0 says: not measured */
    if (kept_us > kept_max_us)
        kept_us = kept_max_us;
    if (queue->served_us == 0)
        queue->served_us = kept_us;
    else
        queue->served_us =
            (queue->served_us * (AVERAGE_OF - 1) + kept_us + AVERAGE_OF - 1) / AVERAGE_OF;
}

/* --- visits --- */

/* NULL: nobody stands there. */
static struct queue_place *first_of(const struct queue_line *line)
{
    for (unsigned i = 0; i < QUEUE_PRIORITIES; i++)
        if (!list_is_empty(&line->order[i]))
            return place_of_order(line->order[i].next);
    return NULL;
}

static bool is_before(const struct queue_place *a, const struct queue_place *b)
{
    if (rank(a->priority) != rank(b->priority))
        return rank(a->priority) < rank(b->priority);
    return a->arrived_ms < b->arrived_ms;
}

struct queue_place *queue_first(const struct queue *queue, queue_may_go_fn *may_go, void *ctx)
{
    struct queue_place *first = NULL;
    for (unsigned i = 0; i < QUEUE_LINES_MAX; i++) {
        struct queue_place *place = first_of(&queue->lines[i]);
        if (place && (!first || is_before(place, first)) && may_go(ctx, queue->lines[i].numerics))
            first = place;
    }
    return first;
}

/* The next one of its line, or NULL. */
static struct queue_place *next_in_line(const struct queue_line *line,
                                        const struct queue_place *place)
{
    unsigned priority = rank(place->priority);
    if (place->order_link.next != &line->order[priority])
        return place_of_order(place->order_link.next);
    while (++priority < QUEUE_PRIORITIES)
        if (!list_is_empty(&line->order[priority]))
            return place_of_order(line->order[priority].next);
    return NULL;
}

struct queue_place *queue_after(const struct queue *queue, const struct queue_place *place)
{
    struct queue_place *next = place ? next_in_line(&queue->lines[place->line], place) : NULL;
    for (uint32_t line = place ? place->line + 1 : 0; !next && line < QUEUE_LINES_MAX; line++)
        next = first_of(&queue->lines[line]);
    return next;
}

void queue_number(struct queue *queue)
{
    uint32_t position = 0, line = 0;
    for (struct queue_place *place = NULL; (place = queue_after(queue, place));) {
        position = place->line == line ? position : 0;
        line = place->line;
        place->position = position++;
    }
}

/* --- estimates --- */

/* With all slots busy one comes free every served_us / slots. */
static uint64_t wait_ms(const struct queue *queue, uint64_t starts_before)
{
    if (queue->served_us == 0 || queue->slots == 0)
        return 0;
    /* Divided first: served_us * starts_before could be more than 64 bits hold. */
    uint64_t each_us = queue->served_us / queue->slots;
    if (each_us > kept_max_us / (starts_before + 1))
        return UINT32_MAX;
    uint64_t ms = (each_us * starts_before + US_PER_MS - 1) / US_PER_MS;
    return ms ? ms : 1;
}

uint32_t queue_eta_ms(const struct queue *queue, uint32_t position)
{
    uint64_t ms = wait_ms(queue, (uint64_t)position + 1);
    return ms < UINT32_MAX ? (uint32_t)ms : UINT32_MAX;
}

uint32_t queue_retry_after_ms(const struct queue *queue)
{
    uint64_t ms = wait_ms(queue, (uint64_t)line_count(&queue->lines[0]) + 1);
    if (ms == 0)
        return RETRY_UNKNOWN_MS;
    return ms < RETRY_MAX_MS ? (uint32_t)ms : RETRY_MAX_MS;
}
