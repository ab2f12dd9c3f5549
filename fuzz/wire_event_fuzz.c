/* wire_event_fuzz - the first byte is the event's type, the rest its payload: an event that is
 * accepted survives being written and read again. */
#include "base/utf8.h"
#include "wire/event.h"

#include <math.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { ROOM = 1 << 24, STREAM = 1, EPOCH = 2, SEQ = 3 };

/* The frame with the event in it, and the payload inside that frame. */
static struct text write(const struct event *event, struct wire_record *out_record)
{
    struct text out;
    struct wire_writer writer;
    struct wire_reader reader;
    text_init(&out, ROOM);
    wire_begin(&writer, &out, WIRE_EVENTS);
    event_encode(&writer, STREAM, EPOCH, event, NULL);
    ASSERT(wire_finish(&writer) == ERR_OK);
    ASSERT(wire_open(text_slice(&out), &reader) == ERR_OK);
    ASSERT(wire_next(&reader, out_record) == ERR_OK);
    return out;
}

static void check_delta(const struct event *event)
{
    ASSERT(utf8_is_valid(event->delta.text));
    for (size_t i = 0; i < event->delta.token_count; i++)
        (void)event_delta_token(event, i); /* the sanitizer watches the read */
}

static void check_result(const struct result *result)
{
    struct slice rest = result->data, bytes;
    int32_t token;
    bool has_words = result->kind == RESULT_TOKENS || result->kind == RESULT_NUMBERS;
    for (size_t i = 0; has_words && i < result_count(result); i++)
        ASSERT(result->kind == RESULT_TOKENS ? result_token(result, i) >= 0
                                             : isfinite(result_number(result, i)));
    while (result->kind == RESULT_PIECES && result_next_piece(&rest, &token, &bytes))
        ASSERT(token >= 0 && bytes.len <= result->data.len);
    ASSERT(result->kind != RESULT_PIECES || rest.len == 0);
}

static void check_survives_writing(const struct event *event)
{
    struct wire_record record;
    struct event again;
    struct text scratch;
    text_init(&scratch, ROOM);
    struct text first = write(event, &record);
    ASSERT(event_decode(&record, &scratch, &again) == ERR_OK);
    struct text second = write(&again, &record);
    ASSERT(slice_eq(text_slice(&first), text_slice(&second)));
    text_fini(&first);
    text_fini(&second);
    text_fini(&scratch);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0)
        return 0;
    struct wire_record record = {.stream = STREAM,
                                 .epoch = EPOCH,
                                 .seq = SEQ,
                                 .type = (uint16_t)(WIRE_EVENT + data[0]),
                                 .payload = slice_after(slice_of(data, size), 1)};
    struct text scratch;
    struct event event;
    text_init(&scratch, ROOM);
    enum err err = event_decode(&record, &scratch, &event);
    if (err == ERR_OK) {
        if (event.type == EVENT_DELTA)
            check_delta(&event);
        if (event.type == EVENT_RESULT)
            check_result(&event.result);
        check_survives_writing(&event);
    } else {
        ASSERT(err == ERR_PROTOCOL || err == ERR_LIMIT);
    }
    text_fini(&scratch);
    return 0;
}
