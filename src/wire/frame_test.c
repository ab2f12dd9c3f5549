/* frame_test - frames and records: exact bytes, lying lengths, limits. */
#include "base/mem.h"
#include "testing/test.h"
#include "wire/frame.h"

#include <stdlib.h>

static struct text frame_of_two_records(void)
{
    struct text out;
    struct wire_writer writer;
    text_init(&out, WIRE_FRAME_MAX_BYTES);
    wire_begin(&writer, &out, WIRE_EVENTS);
    wire_add(&writer, &(struct wire_record){.stream = 0x1122334455667788,
                                            .seq = 7,
                                            .epoch = 2,
                                            .type = WIRE_EVENT,
                                            .flags = 0x8001,
                                            .payload = SLICE("abc")});
    wire_add(&writer, &(struct wire_record){.stream = 1, .seq = 9, .type = WIRE_HEARTBEAT});
    CHECK_OK(wire_finish(&writer));
    return out;
}

TEST(a_frame_is_these_bytes)
{
    static const char expected[] = "MR\x01\x02\0\0\0\0\x02\0\0\0\x43\0\0\0"
                                   "\x88\x77\x66\x55\x44\x33\x22\x11\x07\0\0\0\0\0\0\0"
                                   "\x02\0\0\0\x03\0\0\0\x10\0\x01\x80\0\0\0\0abc"
                                   "\x01\0\0\0\0\0\0\0\x09\0\0\0\0\0\0\0"
                                   "\0\0\0\0\0\0\0\0\x04\0\0\0\0\0\0";
    struct text frame = frame_of_two_records();
    CHECK_SLICES(text_slice(&frame), slice_of(expected, sizeof(expected)));
    text_fini(&frame);
}

TEST(what_was_written_is_read)
{
    struct text frame = frame_of_two_records();
    struct wire_reader reader;
    struct wire_record record;
    CHECK_OK(wire_open(text_slice(&frame), &reader));
    CHECK_EQ(reader.kind, WIRE_EVENTS);
    CHECK_EQ(reader.records_left, 2);
    CHECK_OK(wire_next(&reader, &record));
    CHECK(record.stream == 0x1122334455667788 && record.seq == 7 && record.epoch == 2);
    CHECK(record.type == WIRE_EVENT && record.flags == 0x8001);
    CHECK_SLICE(record.payload, "abc");
    CHECK_OK(wire_next(&reader, &record));
    CHECK(record.stream == 1 && record.seq == 9 && record.type == WIRE_HEARTBEAT);
    CHECK_EQ(record.payload.len, 0);
    CHECK_ERR(wire_next(&reader, &record), ERR_AGAIN);
    CHECK_ERR(wire_next(&reader, &record), ERR_AGAIN);
    text_fini(&frame);
}

/* All records, from memory that ends where the frame does, so that the sanitizer sees any step
 * beyond it. */
static enum err read_all(struct slice frame)
{
    char *exact = malloc(frame.len ? frame.len : 1);
    struct wire_reader reader;
    struct wire_record record;
    if (frame.len)
        memcpy(exact, frame.data, frame.len);
    enum err err = wire_open(slice_of(exact, frame.len), &reader);
    while (err == ERR_OK)
        err = wire_next(&reader, &record);
    free(exact);
    return err;
}

TEST(a_frame_cut_anywhere_or_with_a_byte_more_is_refused)
{
    struct text frame = frame_of_two_records();
    for (size_t cut = 0; cut < frame.len; cut++)
        CHECK_ERR(read_all(slice_first(text_slice(&frame), cut)), ERR_PROTOCOL);
    CHECK_ERR(read_all(text_slice(&frame)), ERR_AGAIN);
    text_add_byte(&frame, 0);
    CHECK_ERR(read_all(text_slice(&frame)), ERR_PROTOCOL);
    text_fini(&frame);
}

TEST(every_byte_of_the_frame_header_counts)
{
    for (size_t at = 0; at < WIRE_FRAME_HEADER_BYTES; at++) {
        struct text frame = frame_of_two_records();
        frame.data[at] ^= 0x40;
        CHECK_ERR(read_all(text_slice(&frame)), ERR_PROTOCOL);
        text_fini(&frame);
    }
}

static void check_patched(size_t at, uint8_t value, enum err expected)
{
    struct text frame = frame_of_two_records();
    frame.data[at] = (char)value;
    CHECK_ERR(read_all(text_slice(&frame)), expected);
    text_fini(&frame);
}

TEST(lengths_that_lie_are_refused)
{
    enum { RECORD_COUNT = 8, FIRST_PAYLOAD_BYTES = 16 + 20, FIRST_RESERVED = 16 + 28 };
    check_patched(RECORD_COUNT, 1, ERR_PROTOCOL); /* bytes are left */
    check_patched(RECORD_COUNT, 3, ERR_PROTOCOL);
    check_patched(RECORD_COUNT + 3, 0x80, ERR_PROTOCOL);
    check_patched(FIRST_PAYLOAD_BYTES, 2, ERR_PROTOCOL);
    check_patched(FIRST_PAYLOAD_BYTES, 4, ERR_PROTOCOL);
    check_patched(FIRST_PAYLOAD_BYTES, 36, ERR_PROTOCOL); /* past the end */
    check_patched(FIRST_PAYLOAD_BYTES + 3, 0xff, ERR_PROTOCOL);
    check_patched(FIRST_RESERVED, 1, ERR_PROTOCOL);
    check_patched(FIRST_PAYLOAD_BYTES, 3, ERR_AGAIN); /* unchanged */
}

TEST(a_reader_that_failed_fails_again)
{
    struct text frame = frame_of_two_records();
    struct wire_reader reader;
    struct wire_record record;
    frame.data[16 + 28] = 1;
    CHECK_OK(wire_open(text_slice(&frame), &reader));
    CHECK_ERR(wire_next(&reader, &record), ERR_PROTOCOL);
    CHECK_ERR(wire_next(&reader, &record), ERR_PROTOCOL);
    text_fini(&frame);
}

TEST(records_before_a_bad_one_are_fine)
{
    struct text frame = frame_of_two_records();
    struct wire_reader reader;
    struct wire_record record;
    frame.data[frame.len - 1] = 1; /* reserved field of the second record */
    CHECK_OK(wire_open(text_slice(&frame), &reader));
    CHECK_OK(wire_next(&reader, &record));
    CHECK_SLICE(record.payload, "abc");
    CHECK_ERR(wire_next(&reader, &record), ERR_PROTOCOL);
    text_fini(&frame);
}

TEST(an_empty_frame_has_no_records)
{
    struct text out;
    struct wire_writer writer;
    text_init(&out, 16);
    wire_begin(&writer, &out, WIRE_STATE);
    CHECK_OK(wire_finish(&writer));
    CHECK_EQ(out.len, WIRE_FRAME_HEADER_BYTES);
    CHECK_ERR(read_all(text_slice(&out)), ERR_AGAIN);
    text_fini(&out);
}

TEST(a_frame_may_follow_other_bytes_in_its_text)
{
    struct text out;
    struct wire_writer writer;
    text_init(&out, 1024);
    text_add_str(&out, "before");
    wire_begin(&writer, &out, WIRE_CONTROL);
    wire_open_record(&writer, &(struct wire_record){.stream = 5, .type = WIRE_SUBMIT});
    text_add_str(&out, "in ");
    text_add_str(&out, "place");
    wire_close_record(&writer);
    CHECK_OK(wire_finish(&writer));

    struct wire_reader reader;
    struct wire_record record;
    CHECK_OK(wire_open(slice_after(text_slice(&out), 6), &reader));
    CHECK_OK(wire_next(&reader, &record));
    CHECK_SLICE(record.payload, "in place");
    text_fini(&out);
}

static enum err finish_with_payload(size_t payload_bytes)
{
    char *payload = calloc(1, payload_bytes);
    struct text out;
    struct wire_writer writer;
    text_init(&out, 2 * (size_t)WIRE_FRAME_MAX_BYTES);
    wire_begin(&writer, &out, WIRE_CONTROL);
    wire_add(&writer, &(struct wire_record){.payload = slice_of(payload, payload_bytes)});
    enum err err = wire_finish(&writer);
    if (err == ERR_OK)
        CHECK_ERR(read_all(text_slice(&out)), ERR_AGAIN);
    text_fini(&out);
    free(payload);
    return err;
}

TEST(the_largest_frame_passes_and_one_byte_more_does_not)
{
    size_t most = WIRE_FRAME_MAX_BYTES - WIRE_FRAME_HEADER_BYTES - WIRE_RECORD_HEADER_BYTES;
    CHECK_OK(finish_with_payload(most - 1));
    CHECK_OK(finish_with_payload(most));
    CHECK_ERR(finish_with_payload(most + 1), ERR_LIMIT);
}

static enum err finish_with_records(uint32_t count)
{
    struct text out;
    struct wire_writer writer;
    text_init(&out, WIRE_FRAME_MAX_BYTES);
    wire_begin(&writer, &out, WIRE_CONTROL);
    for (uint32_t i = 0; i < count; i++)
        wire_add(&writer, &(struct wire_record){.type = WIRE_CANCEL});
    enum err err = wire_finish(&writer);
    if (err == ERR_OK)
        CHECK_ERR(read_all(text_slice(&out)), ERR_AGAIN);
    text_fini(&out);
    return err;
}

TEST(the_most_records_pass_and_one_more_does_not)
{
    CHECK_OK(finish_with_records(WIRE_RECORDS_MAX - 1));
    CHECK_OK(finish_with_records(WIRE_RECORDS_MAX));
    CHECK_ERR(finish_with_records(WIRE_RECORDS_MAX + 1), ERR_LIMIT);
}

TEST(a_text_that_overflows_at_any_byte_is_reported_by_finish)
{
    struct text whole = frame_of_two_records();
    for (size_t room = 0; room <= whole.len; room++) {
        struct text out;
        struct wire_writer writer;
        text_init(&out, room);
        wire_begin(&writer, &out, WIRE_EVENTS);
        wire_add(&writer, &(struct wire_record){.payload = SLICE("abc")});
        wire_add(&writer, &(struct wire_record){.type = WIRE_HEARTBEAT});
        CHECK_ERR(wire_finish(&writer), room < whole.len ? ERR_LIMIT : ERR_OK);
        text_fini(&out);
    }
    text_fini(&whole);
}

TEST(a_frame_without_memory_is_reported_by_finish)
{
    struct text out;
    struct wire_writer writer;
    text_init(&out, 1024);
    mem_test_fail_nth(1);
    wire_begin(&writer, &out, WIRE_EVENTS);
    wire_add(&writer, &(struct wire_record){.payload = SLICE("abc")});
    mem_test_fail_nth(0);
    CHECK_ERR(wire_finish(&writer), ERR_LIMIT);
    text_fini(&out);
}

TEST(credit_is_24_bytes_and_only_that)
{
    struct text out;
    struct wire_writer writer;
    struct wire_reader reader;
    struct wire_record record;
    struct wire_credit credit = {1, 0x0200000000000000, 0xffffffffffffffff}, read = {0};
    text_init(&out, 1024);
    wire_begin(&writer, &out, WIRE_CONTROL);
    wire_add_credit(&writer, 77, 3, &credit, true);
    CHECK_OK(wire_finish(&writer));
    CHECK_OK(wire_open(text_slice(&out), &reader));
    CHECK_OK(wire_next(&reader, &record));
    CHECK(record.stream == 77 && record.epoch == 3 && record.seq == 0);
    CHECK_EQ(record.flags, WIRE_FLAG_RESEND);
    CHECK_EQ(record.payload.len, 24);
    CHECK_OK(wire_read_credit(&record, &read));
    CHECK(memcmp(&read, &credit, sizeof(read)) == 0);

    char wrong[32] = {0};
    for (size_t bytes = 0; bytes <= sizeof(wrong); bytes++) {
        struct wire_record other = {.type = WIRE_CREDIT, .payload = slice_of(wrong, bytes)};
        CHECK_ERR(wire_read_credit(&other, &read), bytes == 24 ? ERR_OK : ERR_PROTOCOL);
    }
    record.type = WIRE_CANCEL;
    CHECK_ERR(wire_read_credit(&record, &read), ERR_PROTOCOL);
    text_fini(&out);
}
