/* contact - the few workers and managers that a hub's asks are with. */
#include "ask/contact.h"

#include "base/mem.h"

/* Along the list: a hub knows as many as there are workers with streams of its own, dozens. */
struct contact *contact_find(const struct list *contacts, struct slice control)
{
    LIST_FOREACH (link, contacts) {
        struct contact *contact = CONTAINER_OF(link, struct contact, link);
        if (contact_is_at(contact, control))
            return contact;
    }
    return NULL;
}

static struct contact *contact_new(struct list *contacts, struct slice control)
{
    struct contact *contact = mem_alloc(sizeof(*contact));
    ASSERT(control.len > 0 && control.len <= sizeof(contact->control));
    memcpy(contact->control, control.data, control.len);
    contact->control_bytes = control.len;
    list_init(&contact->asks);
    list_push_back(contacts, &contact->link);
    return contact;
}

struct contact *contact_ref(struct list *contacts, struct slice control)
{
    struct contact *contact = contact_find(contacts, control);
    if (!contact)
        contact = contact_new(contacts, control);
    contact->uses++;
    return contact;
}

void contact_unref(struct contact **contact)
{
    struct contact *left = *contact;
    *contact = NULL;
    if (!left || --left->uses > 0)
        return;
    ASSERT(list_is_empty(&left->asks));
    list_remove(&left->link);
    mem_free(left);
}
