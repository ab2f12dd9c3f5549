/* bus_mem_peer - packets, and the capped mailbox of an endpoint. */
#include "bus/bus_mem_peer.h"

#include "base/mem.h"

struct peer {
    atomic_uint refs;
    struct mailbox *mailbox;
    size_t max_bytes;
    atomic_size_t waiting_bytes; /* of what is on its way to it; never above max_bytes */
    atomic_size_t bounced_bytes; /* of what came back and was not looked at yet */
};

struct peer *peer_new(struct loop *loop, size_t max_bytes, mailbox_fn *on_mail, void *ctx)
{
    struct peer *peer = mem_alloc(sizeof(*peer));
    atomic_init(&peer->refs, 1);
    /* The bound is in bytes, ours: every mail costs some. */
    peer->mailbox = mailbox_new(loop, SIZE_MAX, on_mail, ctx);
    peer->max_bytes = max_bytes;
    return peer;
}

struct peer *peer_ref(struct peer *peer)
{
    atomic_fetch_add(&peer->refs, 1);
    return peer;
}

void peer_unref(struct peer *peer)
{
    if (!peer || atomic_fetch_sub(&peer->refs, 1) != 1)
        return;
    mailbox_unref(peer->mailbox);
    mem_free(peer);
}

static void drop(void *ctx, struct mail *mail)
{
    struct delivery *delivery = CONTAINER_OF(mail, struct delivery, mail);
    if (delivery->bounce == ERR_OK)
        packet_bounce(delivery->packet, ERR_CLOSED);
    delivery_finish(ctx, delivery);
}

void peer_stop(struct peer *peer)
{
    mailbox_close(peer->mailbox, drop, peer);
}

/* --- packets --- */

static struct slice place(char **at, struct slice source)
{
    struct slice placed = slice_of(*at, source.len);
    if (source.len)
        memcpy(*at, source.data, source.len);
    *at += source.len;
    return placed;
}

struct packet *packet_new(struct peer *sender, struct slice subject, struct slice reply,
                          struct slice frame)
{
    size_t bytes = sizeof(struct packet) + subject.len + reply.len + frame.len;
    struct packet *packet = mem_peer_alloc(bytes);
    if (!packet)
        return NULL;
    atomic_init(&packet->refs, 1);
    packet->sender = peer_ref(sender);
    packet->cost = bytes + sizeof(struct delivery);
    char *at = packet->bytes;
    packet->message.subject = place(&at, subject);
    packet->message.reply = place(&at, reply);
    packet->message.frame = place(&at, frame);
    return packet;
}

void packet_unref(struct packet *packet)
{
    if (atomic_fetch_sub(&packet->refs, 1) != 1)
        return;
    peer_unref(packet->sender);
    mem_free(packet);
}

/* --- delivering --- */

static bool take_room(struct peer *peer, size_t cost)
{
    size_t waiting = atomic_load(&peer->waiting_bytes);
    do {
        if (cost > peer->max_bytes - waiting)
            return false;
    } while (!atomic_compare_exchange_weak(&peer->waiting_bytes, &waiting, waiting + cost));
    return true;
}

static atomic_size_t *account_of(struct peer *peer, const struct delivery *delivery)
{
    return delivery->bounce == ERR_OK ? &peer->waiting_bytes : &peer->bounced_bytes;
}

void delivery_finish(struct peer *peer, struct delivery *delivery)
{
    atomic_fetch_sub(account_of(peer, delivery), delivery->packet->cost);
    packet_unref(delivery->packet);
    mem_free(delivery);
}

/* The room is already taken; it is given back if the mail cannot be posted. */
static enum err post(struct peer *peer, struct packet *packet, uint64_t subscription_id,
                     enum err bounce)
{
    struct delivery *delivery = mem_alloc(sizeof(*delivery));
    atomic_fetch_add(&packet->refs, 1);
    *delivery =
        (struct delivery){.packet = packet, .subscription_id = subscription_id, .bounce = bounce};
    struct mail *mail = &delivery->mail;
    enum err err = mailbox_post(peer->mailbox, &mail);
    if (err != ERR_OK)
        delivery_finish(peer, delivery);
    return err;
}

enum err peer_deliver(struct peer *peer, struct packet *packet, uint64_t subscription_id)
{
    if (!take_room(peer, packet->cost))
        return ERR_FULL;
    return post(peer, packet, subscription_id, ERR_OK);
}

void packet_bounce(struct packet *packet, enum err why)
{
    struct peer *sender = packet->sender;
    atomic_fetch_add(&sender->bounced_bytes, packet->cost);
    (void)post(sender, packet, 0, why); /* closed: nobody is left to tell */
}

bool peer_bounces_are_full(const struct peer *peer)
{
    return atomic_load(&peer->bounced_bytes) >= peer->max_bytes;
}
