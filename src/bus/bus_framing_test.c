/* bus_framing_test - messages come out of a stream as they went in, wherever it was cut. */
#include "bus/bus_framing.h"

#include "base/mem.h"
#include "testing/test.h"

enum { MESSAGE_MAX = 4096, STREAM_MAX = 16384 };

/* What came out: kind, number and frame of each, written one after the other. */
struct log {
    size_t count, stop_after, kept;
    size_t len;
    char bytes[STREAM_MAX];
};

static bool log_message(void *ctx, const struct framed *framed)
{
    struct log *log = ctx;
    CHECK(log->len + 16 + framed->bytes.len <= sizeof(log->bytes));
    log->bytes[log->len++] = (char)framed->envelope.kind;
    log->bytes[log->len++] = (char)framed->envelope.number;
    if (framed->frame.len)
        memcpy(log->bytes + log->len, framed->frame.data, framed->frame.len);
    log->len += framed->frame.len;
    log->kept += framed->parcel != NULL;
    log->count++;
    return log->count != log->stop_after;
}

struct stream {
    size_t len;
    char bytes[STREAM_MAX];
};

static void put(struct stream *stream, enum envelope_kind kind, uint64_t number, size_t frame_bytes)
{
    struct envelope envelope = {.kind = kind, .number = number};
    char *at = stream->bytes + stream->len;
    CHECK(stream->len + FRAMING_LENGTH_BYTES + ENVELOPE_MAX_BYTES + frame_bytes <= STREAM_MAX);
    if (envelope_has_frame(kind))
        envelope.subject = SLICE("subject");
    framing_put_head(&envelope, frame_bytes, at);
    size_t len = FRAMING_LENGTH_BYTES + envelope_encode(&envelope, at + FRAMING_LENGTH_BYTES);
    memset(at + len, (int)number, frame_bytes);
    stream->len += len + frame_bytes;
}

/* As a link reads: what completes a message goes into its place, the rest behind it. */
static enum err feed(struct framing *framing, struct slice bytes, struct log *log)
{
    char *room = NULL;
    struct slice first = slice_first(bytes, framing_room(framing, &room));
    if (first.len)
        memcpy(room, first.data, first.len);
    return framing_take(framing, first.len, slice_after(bytes, first.len), log_message, log);
}

static void make_stream(struct stream *stream)
{
    stream->len = 0;
    put(stream, ENVELOPE_PING, 1, 0);
    put(stream, ENVELOPE_PUBLISH, 2, 100);
    put(stream, ENVELOPE_PUBLISH, 3, 0);
    put(stream, ENVELOPE_ACK, 4, 0);
    put(stream, ENVELOPE_DELIVER, 5, 300);
}

static void feed_in_pieces(const struct stream *stream, size_t cut_a, size_t cut_b, struct log *log)
{
    struct slice all = slice_of(stream->bytes, stream->len);
    struct framing framing;
    framing_init(&framing, MESSAGE_MAX);
    CHECK_OK(feed(&framing, slice_first(all, cut_a), log));
    CHECK_OK(feed(&framing, slice_first(slice_after(all, cut_a), cut_b - cut_a), log));
    CHECK_OK(feed(&framing, slice_after(all, cut_b), log));
    framing_fini(&framing);
}

TEST(what_comes_out_does_not_depend_on_the_cuts)
{
    static struct stream stream;
    static struct log whole, cut;
    make_stream(&stream);
    feed_in_pieces(&stream, 0, 0, &whole);
    CHECK_EQ(whole.count, 5);
    CHECK_EQ(whole.kept, 0); /* all lay in what was read */
    for (size_t a = 0; a <= stream.len; a++)
        for (size_t b = a; b <= stream.len; b += 1 + (b % 7)) {
            cut.count = cut.len = 0;
            feed_in_pieces(&stream, a, b, &cut);
            CHECK_EQ(cut.count, 5);
            CHECK_SLICES(slice_of(cut.bytes, cut.len), slice_of(whole.bytes, whole.len));
        }
}

TEST(byte_by_byte_is_as_good)
{
    static struct stream stream;
    static struct log log;
    struct framing framing;
    make_stream(&stream);
    framing_init(&framing, MESSAGE_MAX);
    for (size_t i = 0; i < stream.len; i++)
        CHECK_OK(feed(&framing, slice_of(stream.bytes + i, 1), &log));
    CHECK_EQ(log.count, 5);
    framing_fini(&framing);
}

static enum err feed_one(size_t frame_bytes, size_t message_max, size_t cut)
{
    static struct stream stream;
    struct log log = {0};
    struct framing framing;
    stream.len = 0;
    put(&stream, ENVELOPE_PUBLISH, 1, frame_bytes);
    framing_init(&framing, message_max);
    enum err err = feed(&framing, slice_of(stream.bytes, cut), &log);
    if (err == ERR_OK)
        err = feed(&framing, slice_of(stream.bytes + cut, stream.len - cut), &log);
    CHECK_EQ(log.count, err == ERR_OK);
    framing_fini(&framing);
    return err;
}

TEST(a_message_is_as_long_as_it_may_be)
{
    size_t rest = ENVELOPE_HEAD_BYTES + strlen("subject");
    for (size_t cut = 0; cut <= 40; cut += 4) {
        CHECK_OK(feed_one(100, rest + 101, cut));
        CHECK_OK(feed_one(100, rest + 100, cut));
        CHECK_ERR(feed_one(100, rest + 99, cut), ERR_PROTOCOL);
    }
}

static enum err feed_raw(const char *bytes, size_t len)
{
    struct log log = {0};
    struct framing framing;
    framing_init(&framing, MESSAGE_MAX);
    enum err err = feed(&framing, slice_of(bytes, len), &log);
    CHECK_EQ(log.count, 0);
    framing_fini(&framing);
    return err;
}

TEST(what_is_no_message_is_refused)
{
    char bytes[128] = {0};
    CHECK_ERR(feed_raw("\37\0\0\0", 4), ERR_PROTOCOL); /* shorter than an envelope */
    CHECK_OK(feed_raw("\40\0\0\0", 4));                /* may become one */
    CHECK_ERR(feed_raw("\0\0\0\1", 4), ERR_PROTOCOL);  /* 16 MiB */
    CHECK_ERR(feed_raw("\40\0\0\0zzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzz", 36), ERR_PROTOCOL);
    const struct envelope ping = {.kind = ENVELOPE_PING};
    framing_put_head(&ping, 0, bytes);
    CHECK_OK(feed_raw(bytes, 35));
    framing_put_head(&ping, 1, bytes); /* with a frame, which it does not have */
    CHECK_ERR(feed_raw(bytes, 37), ERR_PROTOCOL);
    const struct envelope publish = {.kind = ENVELOPE_PUBLISH, .subject = SLICE("s")};
    framing_put_head(&publish, 0, bytes);
    bytes[0] = ENVELOPE_HEAD_BYTES; /* its subject would lie behind its end */
    CHECK_ERR(feed_raw(bytes, 36), ERR_PROTOCOL);
}

TEST(without_memory_a_cut_message_is_refused)
{
    mem_test_fail_nth(1);
    CHECK_ERR(feed_one(100, MESSAGE_MAX, 50), ERR_LIMIT);
    mem_test_fail_nth(0);
    CHECK_OK(feed_one(100, MESSAGE_MAX, 50));
}

TEST(who_stops_gets_no_more)
{
    static struct stream stream;
    static struct log log = {.stop_after = 2};
    struct framing framing;
    make_stream(&stream);
    framing_init(&framing, MESSAGE_MAX);
    CHECK_OK(feed(&framing, slice_of(stream.bytes, stream.len), &log));
    CHECK_EQ(log.count, 2);
    CHECK(!framing_has_rest(&framing));
    framing_fini(&framing);
}

/* --- a message that is taken while another one is handled --- */

struct nesting {
    struct framing framing;
    struct slice later; /* read by the inner call when the rest is done */
    struct log log;
};

static bool nest_once(void *ctx, const struct framed *framed)
{
    struct nesting *nesting = ctx;
    (void)log_message(&nesting->log, framed); /* it never stops */
    if (nesting->log.count == 1) {
        CHECK(framing_has_rest(&nesting->framing));
        CHECK_OK(framing_take(&nesting->framing, 0, (struct slice){0}, log_message, &nesting->log));
        CHECK_OK(feed(&nesting->framing, nesting->later, &nesting->log));
    }
    return true;
}

TEST(an_inner_call_goes_on_where_the_outer_one_stands)
{
    static struct stream stream;
    static struct nesting nesting;
    static struct log whole;
    make_stream(&stream);
    feed_in_pieces(&stream, 0, 0, &whole);
    for (size_t cut = 40; cut <= stream.len; cut++) { /* the first message is 36 bytes */
        nesting.log.count = nesting.log.len = 0;
        nesting.later = slice_of(stream.bytes + cut, stream.len - cut);
        framing_init(&nesting.framing, MESSAGE_MAX);
        CHECK_OK(
            framing_take(&nesting.framing, 0, slice_of(stream.bytes, cut), nest_once, &nesting));
        CHECK_SLICES(slice_of(nesting.log.bytes, nesting.log.len),
                     slice_of(whole.bytes, whole.len));
        framing_fini(&nesting.framing);
    }
}

/* --- keeping --- */

static bool keep_first(void *ctx, const struct framed *framed)
{
    struct parcel **kept = ctx;
    if (!*kept)
        *kept = framed_keep(framed);
    return true;
}

static void check_kept(size_t cut, bool is_copied)
{
    static struct stream stream;
    struct parcel *kept = NULL;
    struct framing framing;
    stream.len = 0;
    put(&stream, ENVELOPE_PUBLISH, 1, 50);
    framing_init(&framing, MESSAGE_MAX);
    uint64_t before = mem_peer_count();
    CHECK_OK(framing_take(&framing, 0, slice_of(stream.bytes, cut), keep_first, &kept));
    CHECK_OK(framing_take(&framing, 0, slice_of(stream.bytes + cut, stream.len - cut), keep_first,
                          &kept));
    CHECK_EQ(mem_peer_count() - before, 1); /* copied, or the one it was read into */
    CHECK_EQ(kept->refs, 1);
    CHECK_SLICES(slice_of(kept->bytes, kept->len),
                 slice_of(stream.bytes + FRAMING_LENGTH_BYTES, stream.len - FRAMING_LENGTH_BYTES));
    CHECK(is_copied == (cut == stream.len));
    parcel_unref(parcel_ref(kept));
    parcel_unref(kept);
    framing_fini(&framing);
}

TEST(who_keeps_a_message_has_one_copy_of_it)
{
    check_kept(FRAMING_HEAD_BYTES + 7 + 50, true);
    check_kept(20, false);
}
