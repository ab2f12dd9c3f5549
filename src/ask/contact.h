/* contact - somebody whom our asks talk to straight, known by its control subject: a worker or a
 * manager. One object for all asks that are with it. Used by hub.c and the ask files alone. */
#pragma once

#include "base/list.h"
#include "bus/bus.h"

struct contact {
    struct list link; /* in the hub's list of workers, or of managers */
    struct list asks; /* those that are with it now */
    uint32_t uses;    /* asks that point here; the last one to let go frees it */
    size_t control_bytes;
    char control[BUS_SUBJECT_MAX_BYTES];
};

/* NULL when nobody of `contacts` has that control subject. */
struct contact *contact_find(const struct list *contacts, struct slice control);
/* Finds or makes it; one use more. `control` has 1 to BUS_SUBJECT_MAX_BYTES bytes. */
struct contact *contact_ref(struct list *contacts, struct slice control);
/* Sets it NULL; NULL inside is fine. */
void contact_unref(struct contact **contact);

static inline struct slice contact_control(const struct contact *contact)
{
    return slice_of(contact->control, contact->control_bytes);
}
/* What a bounce says of its receiver. The other reasons are those of a lost frame: it lives. */
static inline bool contact_is_gone(enum err bounced)
{
    return bounced == ERR_NOT_FOUND || bounced == ERR_CLOSED;
}
static inline bool contact_is_at(const struct contact *contact, struct slice control)
{
    return contact && slice_eq(contact_control(contact), control);
}
