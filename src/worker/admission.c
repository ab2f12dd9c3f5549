/* admission - the queue of a worker: places in order of service, and in order of expiry. */
#include "worker/admission.h"

enum {
    US_PER_MS = 1000,
    RETRY_UNKNOWN_MS = 1000,
    RETRY_MAX_MS = 60000,
    AVERAGE_OF = 8, /* requests the moving average remembers */
};

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

static uint64_t later(uint64_t now_us, uint32_t ms)
{
    return now_us + (uint64_t)ms * US_PER_MS;
}

void admission_init(struct admission *admission, const struct admission_options *options)
{
    *admission = (struct admission){.options = *options};
    for (unsigned i = 0; i < ADMISSION_PRIORITIES; i++)
        list_init(&admission->order[i]);
    list_init(&admission->expiry);
}

/* --- expiry --- */

static struct admission_place *place_of(struct list *expiry_link)
{
    return CONTAINER_OF(expiry_link, struct admission_place, expiry_link);
}

/* Nearly always at the end or close to it: the waits are the same for all. */
static void set_expiry(struct admission *admission, struct admission_place *place,
                       uint64_t expires_us)
{
    place->expires_us = expires_us < place->deadline_us ? expires_us : place->deadline_us;
    list_remove(&place->expiry_link);
    if (place->expires_us == UINT64_MAX)
        return;
    struct list *before = admission->expiry.prev;
    while (before != &admission->expiry && place_of(before)->expires_us > place->expires_us)
        before = before->prev;
    list_push_front(before, &place->expiry_link);
}

uint64_t admission_wake_us(const struct admission *admission)
{
    return list_is_empty(&admission->expiry) ? UINT64_MAX
                                             : place_of(admission->expiry.next)->expires_us;
}

struct admission_place *admission_expired(struct admission *admission, uint64_t now_us)
{
    if (admission_wake_us(admission) > now_us)
        return NULL;
    struct admission_place *place = place_of(admission->expiry.next);
    admission_leave(admission, place);
    return place;
}

/* --- in and out --- */

enum err admission_enter(struct admission *admission, struct admission_place *place,
                         enum request_priority priority, uint64_t deadline_us, uint64_t now_us)
{
    if (admission->count >= (uint64_t)admission->options.queue_max + admission->slots_free)
        return ERR_FULL;
    *place = (struct admission_place){
        .priority = priority, .is_waiting = true, .deadline_us = deadline_us};
    list_init(&place->expiry_link);
    list_push_back(&admission->order[rank(priority)], &place->order_link);
    admission->count++;
    place->phase = admission->is_loaded ? ADMISSION_PREPARING : ADMISSION_LOADING;
    set_expiry(admission, place,
               admission->is_loaded ? UINT64_MAX
                                    : later(now_us, admission->options.load_timeout_ms));
    return ERR_OK;
}

void admission_leave(struct admission *admission, struct admission_place *place)
{
    if (!place->is_waiting)
        return;
    place->is_waiting = false;
    list_remove(&place->order_link);
    list_remove(&place->expiry_link);
    admission->count--;
}

void admission_loaded(struct admission *admission, uint32_t slots)
{
    admission->is_loaded = true;
    admission->slots = admission->slots_free = slots;
    for (struct admission_place *place = NULL; (place = admission_after(admission, place));) {
        place->phase = ADMISSION_PREPARING;
        set_expiry(admission, place, UINT64_MAX);
    }
}

void admission_ready(struct admission *admission, struct admission_place *place, uint64_t now_us)
{
    ASSERT(place->phase == ADMISSION_PREPARING);
    place->phase = ADMISSION_READY;
    set_expiry(admission, place, later(now_us, admission->options.queue_wait_ms));
}

/* --- service --- */

void admission_set_slots_free(struct admission *admission, uint32_t slots_free, uint32_t given,
                              uint32_t counted)
{
    uint32_t under_way = given > counted ? given - counted : 0;
    admission->slots_free = slots_free > under_way ? slots_free - under_way : 0;
}

void admission_count_served(struct admission *admission, uint64_t kept_us)
{
    if (kept_us == 0)
        kept_us = 1; /* 0 says: not measured */
    if (admission->served_us == 0)
        admission->served_us = kept_us;
    else
        admission->served_us =
            (admission->served_us * (AVERAGE_OF - 1) + kept_us + AVERAGE_OF - 1) / AVERAGE_OF;
}

struct admission_place *admission_next(struct admission *admission)
{
    if (admission->slots_free == 0)
        return NULL;
    for (struct admission_place *place = NULL; (place = admission_after(admission, place));) {
        if (place->phase != ADMISSION_READY)
            continue;
        admission_leave(admission, place);
        admission->slots_free--;
        return place;
    }
    return NULL;
}

struct admission_place *admission_after(const struct admission *admission,
                                        const struct admission_place *place)
{
    unsigned priority = place ? rank(place->priority) : 0;
    const struct list *link = place ? place->order_link.next : admission->order[0].next;
    while (link == &admission->order[priority]) {
        if (++priority == ADMISSION_PRIORITIES)
            return NULL;
        link = admission->order[priority].next;
    }
    return CONTAINER_OF(link, struct admission_place, order_link);
}

/* --- estimates --- */

/* With all slots busy one comes free every served_us / slots. */
static uint64_t wait_ms(const struct admission *admission, uint64_t starts_before)
{
    if (admission->served_us == 0 || admission->slots == 0)
        return 0;
    uint64_t each_us = admission->served_us / admission->slots;
    uint64_t ms = (each_us * starts_before + US_PER_MS - 1) / US_PER_MS;
    return ms ? ms : 1;
}

uint32_t admission_eta_ms(const struct admission *admission, uint32_t position)
{
    uint64_t ms = wait_ms(admission, (uint64_t)position + 1);
    return ms < UINT32_MAX ? (uint32_t)ms : UINT32_MAX;
}

uint32_t admission_retry_after_ms(const struct admission *admission)
{
    uint64_t ms = wait_ms(admission, (uint64_t)admission->count + 1);
    if (ms == 0)
        return RETRY_UNKNOWN_MS;
    return ms < RETRY_MAX_MS ? (uint32_t)ms : RETRY_MAX_MS;
}
