/* bus_envelope_test - the codec: round trips, every cut, every limit. */
#include "bus/bus_envelope.h"

#include "testing/test.h"

static const struct envelope whole = {.kind = ENVELOPE_BOUNCE,
                                      .why = ERR_FULL,
                                      .number = 0x0102030405060708,
                                      .value = UINT64_MAX,
                                      .extra = 7,
                                      .subject = {"submit.llama", 12},
                                      .reply = {"inbox.1", 7}};

TEST(what_is_encoded_decodes_to_the_same)
{
    char bytes[ENVELOPE_MAX_BYTES];
    struct envelope back;
    size_t len = envelope_encode(&whole, bytes);
    CHECK_EQ(len, 32 + 12 + 7);
    CHECK_OK(envelope_decode(slice_of(bytes, len), &back));
    CHECK_EQ(back.kind, ENVELOPE_BOUNCE);
    CHECK_EQ(back.why, ERR_FULL);
    CHECK(back.number == whole.number && back.value == whole.value && back.extra == 7);
    CHECK_SLICE(back.subject, "submit.llama");
    CHECK_SLICE(back.reply, "inbox.1");
}

TEST(the_bytes_are_as_the_header_says)
{
    static const char expected[] = "\1\10\2\14\7\0\0\0"
                                   "\10\7\6\5\4\3\2\1"
                                   "\377\377\377\377\377\377\377\377"
                                   "\7\0\0\0\0\0\0\0"
                                   "submit.llamainbox.1";
    char bytes[ENVELOPE_MAX_BYTES];
    CHECK_SLICE(slice_of(bytes, envelope_encode(&whole, bytes)), expected);
}

TEST(every_cut_and_every_longer_one_is_refused)
{
    char bytes[ENVELOPE_MAX_BYTES + 1] = {0};
    struct envelope back;
    size_t len = envelope_encode(&whole, bytes);
    for (size_t cut = 0; cut < len; cut++)
        CHECK_ERR(envelope_decode(slice_of(bytes, cut), &back), ERR_PROTOCOL);
    CHECK_ERR(envelope_decode(slice_of(bytes, len + 1), &back), ERR_PROTOCOL);
}

static enum err decode_with(size_t at, uint8_t byte)
{
    char bytes[ENVELOPE_MAX_BYTES];
    struct envelope back;
    size_t len = envelope_encode(&whole, bytes);
    bytes[at] = (char)byte;
    return envelope_decode(slice_of(bytes, len), &back);
}

TEST(fields_out_of_range_are_refused)
{
    CHECK_ERR(decode_with(0, 0), ERR_PROTOCOL);
    CHECK_ERR(decode_with(0, 2), ERR_PROTOCOL);
    CHECK_ERR(decode_with(1, 0), ERR_PROTOCOL);
    CHECK_OK(decode_with(1, ENVELOPE_PUBLISH));
    CHECK_ERR(decode_with(1, ENVELOPE_PING), ERR_PROTOCOL); /* a subject where none belongs */
    CHECK_ERR(decode_with(1, ENVELOPE_KIND_END), ERR_PROTOCOL);
    CHECK_OK(decode_with(2, ERR_COUNT - 1));
    CHECK_ERR(decode_with(2, ERR_COUNT), ERR_PROTOCOL);
    for (size_t at = 5; at < 8; at++)
        CHECK_ERR(decode_with(at, 1), ERR_PROTOCOL);
}

TEST(names_are_held_to_their_limit)
{
    char bytes[ENVELOPE_MAX_BYTES + 2], name[BUS_SUBJECT_MAX_BYTES] = {'x'};
    struct envelope back;
    struct envelope longest = {.kind = ENVELOPE_PUBLISH,
                               .subject = slice_of(name, sizeof(name)),
                               .reply = slice_of(name, sizeof(name))};
    size_t len = envelope_encode(&longest, bytes);
    CHECK_EQ(len, ENVELOPE_MAX_BYTES);
    CHECK_OK(envelope_decode(slice_of(bytes, len), &back));
    CHECK_EQ(back.reply.len, BUS_SUBJECT_MAX_BYTES);
    bytes[3] = (char)(BUS_SUBJECT_MAX_BYTES + 1);
    CHECK_ERR(envelope_decode(slice_of(bytes, len + 1), &back), ERR_PROTOCOL);
    bytes[3] = (char)BUS_SUBJECT_MAX_BYTES;
    bytes[4] = (char)(BUS_SUBJECT_MAX_BYTES + 1);
    CHECK_ERR(envelope_decode(slice_of(bytes, len + 1), &back), ERR_PROTOCOL);
    longest.subject.len = 0;
    longest.reply.len = 0;
    len = envelope_encode(&longest, bytes); /* a PUBLISH without a subject */
    CHECK_ERR(envelope_decode(slice_of(bytes, len), &back), ERR_PROTOCOL);
}
