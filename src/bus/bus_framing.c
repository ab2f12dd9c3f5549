/* bus_framing - cuts a stream of bytes into messages. See bus_framing.h. */
#include "bus/bus_framing.h"

#include "base/mem.h"

/* --- parcels --- */

struct parcel *parcel_new(size_t len)
{
    struct parcel *parcel = mem_peer_alloc(sizeof(*parcel) + len);
    if (!parcel)
        return NULL;
    parcel->refs = 1;
    parcel->len = len;
    return parcel;
}

struct parcel *parcel_ref(struct parcel *parcel)
{
    parcel->refs++;
    return parcel;
}

void parcel_unref(struct parcel *parcel)
{
    if (parcel && --parcel->refs == 0)
        mem_free(parcel);
}

struct parcel *framed_keep(const struct framed *framed)
{
    if (framed->parcel)
        return parcel_ref(framed->parcel);
    struct parcel *parcel = parcel_new(framed->bytes.len);
    if (parcel)
        memcpy(parcel->bytes, framed->bytes.data, framed->bytes.len);
    return parcel;
}

/* --- cutting --- */

void framing_init(struct framing *framing, size_t message_max)
{
    *framing = (struct framing){.message_max = message_max};
}

void framing_fini(struct framing *framing)
{
    parcel_unref(framing->partial);
    framing_init(framing, framing->message_max);
}

size_t framing_room(struct framing *framing, char **out_bytes)
{
    if (!framing->partial)
        return 0;
    *out_bytes = framing->partial->bytes + framing->partial_got;
    return framing->partial->len - framing->partial_got;
}

static size_t get_length(const char *at)
{
    const uint8_t *bytes = (const uint8_t *)at;
    return (size_t)bytes[0] | (size_t)bytes[1] << 8 | (size_t)bytes[2] << 16 |
           (size_t)bytes[3] << 24;
}

static void put_length(size_t length, char *at)
{
    for (int i = 0; i < FRAMING_LENGTH_BYTES; i++)
        at[i] = (char)(uint8_t)(length >> (8 * i));
}

static bool length_is_sane(const struct framing *framing, size_t length)
{
    return length >= ENVELOPE_HEAD_BYTES && length <= framing->message_max;
}

static enum err hand_over(struct framing *framing, struct slice bytes, struct parcel *parcel,
                          framed_fn *on_message, void *ctx)
{
    struct framed framed = {.bytes = bytes, .parcel = parcel};
    TRY(envelope_decode_front(bytes, &framed.envelope, &framed.frame));
    if (framed.frame.len > 0 && !envelope_has_frame(framed.envelope.kind))
        return ERR_PROTOCOL;
    if (!on_message(ctx, &framed))
        framing_fini(framing);
    return ERR_OK;
}

static enum err hand_over_partial(struct framing *framing, framed_fn *on_message, void *ctx)
{
    struct parcel *parcel = framing->partial;
    if (!parcel || framing->partial_got < parcel->len)
        return ERR_OK;
    framing->partial = NULL;
    framing->partial_got = 0;
    enum err err =
        hand_over(framing, slice_of(parcel->bytes, parcel->len), parcel, on_message, ctx);
    parcel_unref(parcel);
    return err;
}

static enum err begin_partial(struct framing *framing)
{
    size_t length = get_length(framing->length);
    framing->length_got = 0;
    if (!length_is_sane(framing, length))
        return ERR_PROTOCOL;
    framing->partial = parcel_new(length);
    return framing->partial ? ERR_OK : ERR_LIMIT;
}

/* Moves up to `wanted` bytes of the rest. */
static size_t move_rest(struct framing *framing, char *to, size_t wanted)
{
    struct slice piece = slice_first(framing->rest, wanted);
    memcpy(to, piece.data, piece.len);
    framing->rest = slice_after(framing->rest, piece.len);
    return piece.len;
}

/* The rest is not empty. One message, or one step towards it. */
static enum err step(struct framing *framing, framed_fn *on_message, void *ctx)
{
    if (framing->partial) {
        char *room = NULL;
        size_t wanted = framing_room(framing, &room);
        framing->partial_got += move_rest(framing, room, wanted);
        return hand_over_partial(framing, on_message, ctx);
    }
    if (framing->length_got == 0 && framing->rest.len >= FRAMING_LENGTH_BYTES) {
        size_t length = get_length(framing->rest.data);
        struct slice bytes = slice_after(framing->rest, FRAMING_LENGTH_BYTES);
        if (!length_is_sane(framing, length))
            return ERR_PROTOCOL;
        if (bytes.len >= length) {
            framing->rest = slice_after(bytes, length);
            return hand_over(framing, slice_first(bytes, length), NULL, on_message, ctx);
        }
    }
    framing->length_got += move_rest(framing, framing->length + framing->length_got,
                                     FRAMING_LENGTH_BYTES - framing->length_got);
    return framing->length_got == FRAMING_LENGTH_BYTES ? begin_partial(framing) : ERR_OK;
}

static enum err take_rest(struct framing *framing, framed_fn *on_message, void *ctx)
{
    while (framing->rest.len > 0)
        TRY(step(framing, on_message, ctx));
    return ERR_OK;
}

enum err framing_take(struct framing *framing, size_t in_room, struct slice more,
                      framed_fn *on_message, void *ctx)
{
    ASSERT(in_room + more.len == 0 || framing->rest.len == 0);
    if (more.len > 0)
        framing->rest = more;
    framing->partial_got += in_room;
    TRY(hand_over_partial(framing, on_message, ctx));
    return take_rest(framing, on_message, ctx);
}

void framing_put_head(const struct envelope *envelope, size_t frame_bytes,
                      char out_head[FRAMING_HEAD_BYTES])
{
    size_t envelope_bytes = ENVELOPE_HEAD_BYTES + envelope->subject.len + envelope->reply.len;
    put_length(envelope_bytes + frame_bytes, out_head);
    envelope_encode_head(envelope, out_head + FRAMING_LENGTH_BYTES);
}
