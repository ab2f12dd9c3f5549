/* bus_framing_fuzz - what is cut out of a stream, and how it ends, does not depend on the pieces it
 * comes in; what comes out is whole. The first two bytes choose the pieces. */
#include "base/hash.h"
#include "base/mem.h"
#include "bus/bus_framing.h"

enum { MESSAGE_MAX = 2048 };

struct seen {
    uint64_t hash; /* of all messages */
    size_t count;
};

static bool on_message(void *ctx, const struct framed *framed)
{
    struct seen *seen = ctx;
    const struct envelope *envelope = &framed->envelope;
    size_t names = envelope->subject.len + envelope->reply.len;
    ASSERT(framed->bytes.len <= MESSAGE_MAX);
    ASSERT(framed->bytes.len == ENVELOPE_HEAD_BYTES + names + framed->frame.len);
    ASSERT(framed->frame.len == 0 || envelope_has_frame(envelope->kind));
    struct parcel *kept = framed_keep(framed);
    ASSERT(kept && slice_eq(slice_of(kept->bytes, kept->len), framed->bytes));
    parcel_unref(kept);
    uint64_t size = framed->bytes.len;
    seen->hash = hash_add(hash_add(seen->hash, slice_of(&size, sizeof(size))), framed->bytes);
    seen->count++;
    return true;
}

static enum err take_piece(struct framing *framing, struct slice piece, struct seen *seen)
{
    char *room = NULL;
    struct slice first = slice_first(piece, framing_room(framing, &room));
    if (first.len)
        memcpy(room, first.data, first.len);
    return framing_take(framing, first.len, slice_after(piece, first.len), on_message, seen);
}

static enum err take_all(struct slice bytes, size_t even, size_t odd, struct seen *out_seen)
{
    struct framing framing;
    enum err err = ERR_OK;
    *out_seen = (struct seen){.hash = HASH_START};
    framing_init(&framing, MESSAGE_MAX);
    for (size_t turn = 0; err == ERR_OK && bytes.len > 0; turn++) {
        size_t len = turn % 2 ? odd : even;
        struct slice piece = slice_first(bytes, len);
        char *exact = mem_alloc(piece.len); /* alone in its memory: overreading is seen */
        memcpy(exact, piece.data, piece.len);
        err = take_piece(&framing, slice_of(exact, piece.len), out_seen);
        mem_free(exact);
        bytes = slice_after(bytes, len);
    }
    framing_fini(&framing);
    return err;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct seen whole, cut;
    if (size < 3)
        return 0;
    struct slice bytes = slice_of(data + 2, size - 2);
    enum err err = take_all(bytes, bytes.len, bytes.len, &whole);
    ASSERT(take_all(bytes, 1 + data[0], 1 + data[1], &cut) == err);
    ASSERT(whole.count == cut.count && whole.hash == cut.hash);
    return 0;
}
