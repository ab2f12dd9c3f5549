/* bus - the front of every transport: checks what is the same for all of them and calls down. */
#include "bus/bus_transport.h"

void bus_init(struct bus *bus, const struct bus_ops *ops, struct loop *loop, struct slice inbox,
              size_t frame_max_bytes)
{
    ASSERT(inbox.len <= sizeof(bus->inbox));
    bus->ops = ops;
    bus->loop = loop;
    bus->frame_max_bytes =
        frame_max_bytes < BUS_FRAME_MAX_BYTES ? frame_max_bytes : BUS_FRAME_MAX_BYTES;
    list_init(&bus->subscriptions);
    memcpy(bus->inbox, inbox.data, inbox.len);
    bus->inbox_bytes = inbox.len;
}

static bool is_subject(struct slice subject)
{
    return subject.len >= 1 && subject.len <= BUS_SUBJECT_MAX_BYTES;
}

size_t bus_frame_max_bytes(const struct bus *bus)
{
    return bus->frame_max_bytes;
}

enum err bus_publish(struct bus *bus, struct slice subject, struct slice reply, struct slice frame)
{
    if (!is_subject(subject) || reply.len > BUS_SUBJECT_MAX_BYTES ||
        frame.len > bus->frame_max_bytes)
        return ERR_LIMIT;
    return bus->ops->publish(bus, subject, reply, frame);
}

enum err bus_subscribe(struct bus *bus, struct slice subject, struct slice group,
                       bus_message_fn *on_message, void *ctx,
                       struct bus_subscription **out_subscription)
{
    if (!is_subject(subject) || group.len > BUS_SUBJECT_MAX_BYTES)
        return ERR_LIMIT;
    struct bus_subscription *subscription = NULL;
    TRY(bus->ops->subscribe(bus, subject, group, &subscription));
    subscription->bus = bus;
    subscription->on_message = on_message;
    subscription->ctx = ctx;
    list_push_back(&bus->subscriptions, &subscription->link);
    *out_subscription = subscription;
    return ERR_OK;
}

void bus_unsubscribe(struct bus_subscription **subscription)
{
    struct bus_subscription *going = *subscription;
    *subscription = NULL;
    if (!going)
        return;
    list_remove(&going->link);
    going->bus->ops->unsubscribe(going);
}

void bus_on_bounce(struct bus *bus, bus_bounce_fn *on_bounce, void *ctx)
{
    bus->on_bounce = on_bounce;
    bus->bounce_ctx = ctx;
}

struct slice bus_inbox(const struct bus *bus)
{
    return slice_of(bus->inbox, bus->inbox_bytes);
}

struct loop *bus_loop(const struct bus *bus)
{
    return bus->loop;
}

void bus_close(struct bus **bus)
{
    struct bus *closing = *bus;
    *bus = NULL;
    if (!closing)
        return;
    closing->on_bounce = NULL;
    LIST_FOREACH_SAFE (link, &closing->subscriptions) {
        struct bus_subscription *subscription = CONTAINER_OF(link, struct bus_subscription, link);
        bus_unsubscribe(&subscription);
    }
    closing->ops->close(closing);
}
