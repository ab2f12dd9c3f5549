/* bus_transport - what the transports share with bus.c: the endpoint and the subscription as it
 * sees them, and the calls a transport has to offer. Included by bus*.c only.
 *
 * A transport embeds `struct bus` and `struct bus_subscription` as first members of its own. bus.c
 * has checked lengths before it calls down; it keeps the list of subscriptions. */
#pragma once

#include "base/list.h"
#include "bus/bus.h"

struct bus_ops {
    enum err (*publish)(struct bus *bus, struct slice subject, struct slice reply,
                        struct slice frame);
    /* Allocates. bus.c fills in the base members before anything can be delivered. */
    enum err (*subscribe)(struct bus *bus, struct slice subject, struct slice group,
                          struct bus_subscription **out_subscription);
    void (*unsubscribe)(struct bus_subscription *subscription); /* frees it */
    void (*close)(struct bus *bus); /* frees it, at the end of the turn; no subscription is left */
};

struct bus {
    const struct bus_ops *ops;
    struct loop *loop;
    struct list subscriptions; /* struct bus_subscription.link */
    bus_bounce_fn *on_bounce;  /* may be NULL */
    void *bounce_ctx;
    size_t frame_max_bytes; /* what a larger frame gets is ERR_LIMIT */
    char inbox[BUS_SUBJECT_MAX_BYTES];
    size_t inbox_bytes;
};

struct bus_subscription {
    struct bus *bus;
    struct list link;
    bus_message_fn *on_message;
    void *ctx;
};

/* The transport has set everything else to 0. */
void bus_init(struct bus *bus, const struct bus_ops *ops, struct loop *loop, struct slice inbox,
              size_t frame_max_bytes);

/* From the loop. The subscription, or the endpoint, may be gone when they return. */
static inline void bus_deliver(const struct bus_subscription *subscription,
                               const struct bus_message *message)
{
    subscription->on_message(subscription->ctx, message);
}

static inline void bus_bounce(const struct bus *bus, const struct bus_message *message,
                              enum err why)
{
    if (bus->on_bounce)
        bus->on_bounce(bus->bounce_ctx, message, why);
}
