/* wire_frame_fuzz - the frame decoder never reads past its input, and a frame that it accepts is
 * exactly what the encoder writes for the records it found. */
#include "wire/frame.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static volatile uint8_t touched; /* so that the reads below are not optimised away */

static void touch(struct slice bytes)
{
    for (size_t i = 0; i < bytes.len; i++)
        touched = (uint8_t)bytes.data[i];
}

static void check_credit(const struct wire_record *record)
{
    struct wire_credit credit;
    if (wire_read_credit(record, &credit) != ERR_OK)
        return;
    struct text out;
    struct wire_writer writer;
    text_init(&out, 256);
    wire_begin(&writer, &out, WIRE_CONTROL);
    wire_add_credit(&writer, record->stream, record->epoch, &credit, false);
    ASSERT(wire_finish(&writer) == ERR_OK);
    ASSERT(slice_ends_with(text_slice(&out), record->payload));
    text_fini(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct wire_reader reader;
    struct wire_record record;
    struct wire_writer writer;
    struct text again;
    if (wire_open(slice_of(data, size), &reader) != ERR_OK)
        return 0;
    text_init(&again, size);
    wire_begin(&writer, &again, reader.kind);
    enum err err;
    while ((err = wire_next(&reader, &record)) == ERR_OK) {
        touch(record.payload);
        check_credit(&record);
        wire_add(&writer, &record);
    }
    ASSERT(err == ERR_AGAIN || err == ERR_PROTOCOL);
    if (err == ERR_AGAIN) {
        ASSERT(wire_finish(&writer) == ERR_OK);
        ASSERT(slice_eq(text_slice(&again), slice_of(data, size)));
    }
    text_fini(&again);
    return 0;
}
