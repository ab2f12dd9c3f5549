/* assigned_test - where the worker is comes back; anything else is refused. */
#include "base/mem.h"
#include "testing/test.h"
#include "wire/assigned.h"

#include <stdio.h>

enum { ROOM = 4096 };

static enum err read_payload(uint16_t type, struct slice payload, size_t room)
{
    struct wire_record record = {.stream = 1, .epoch = 1, .type = type, .payload = payload};
    struct slice control = SLICE("untouched");
    struct text scratch;
    text_init(&scratch, room);
    enum err err = wire_read_assigned(&record, &scratch, &control);
    CHECK(err == ERR_OK || slice_eq(control, SLICE("untouched")));
    text_fini(&scratch);
    return err;
}

TEST(the_control_subject_comes_back)
{
    struct text out, scratch;
    struct wire_writer writer;
    struct wire_reader reader;
    struct wire_record record;
    struct slice control;
    text_init(&out, ROOM);
    text_init(&scratch, ROOM);
    text_add_str(&scratch, "what was there before");
    wire_begin(&writer, &out, WIRE_EVENTS);
    wire_add_assigned(&writer, 7, 3, SLICE("inbox.5c1e.3"));
    CHECK_OK(wire_finish(&writer));
    CHECK_OK(wire_open(text_slice(&out), &reader));
    CHECK_OK(wire_next(&reader, &record));
    CHECK(record.type == WIRE_ASSIGNED && record.stream == 7 && record.epoch == 3);
    CHECK_EQ(record.seq, 0);
    CHECK_OK(wire_read_assigned(&record, &scratch, &control));
    CHECK_SLICE(control, "inbox.5c1e.3");
    text_fini(&out);
    text_fini(&scratch);
}

TEST(other_shapes_are_refused)
{
    CHECK_OK(read_payload(WIRE_ASSIGNED, SLICE("{\"control\":\"c\",\"new\":1}"), ROOM));
    CHECK_ERR(read_payload(WIRE_SUBMIT, SLICE("{\"control\":\"c\"}"), ROOM), ERR_PROTOCOL);
    CHECK_ERR(read_payload(WIRE_ASSIGNED, SLICE("{\"control\":\"\"}"), ROOM), ERR_PROTOCOL);
    CHECK_ERR(read_payload(WIRE_ASSIGNED, SLICE("{\"control\":1}"), ROOM), ERR_PROTOCOL);
    CHECK_ERR(read_payload(WIRE_ASSIGNED, SLICE("{}"), ROOM), ERR_PROTOCOL);
    CHECK_ERR(read_payload(WIRE_ASSIGNED, SLICE("[]"), ROOM), ERR_PROTOCOL);
    CHECK_ERR(read_payload(WIRE_ASSIGNED, SLICE(""), ROOM), ERR_PROTOCOL);
}

TEST(the_subject_is_held_to_its_limit_and_to_the_room)
{
    for (int len = 159; len <= 161; len++) {
        char payload[256];
        snprintf(payload, sizeof(payload), "{\"control\":\"%0*d\"}", len, 0);
        CHECK_ERR(read_payload(WIRE_ASSIGNED, slice_str(payload), ROOM),
                  len <= 160 ? ERR_OK : ERR_LIMIT);
        CHECK_ERR(read_payload(WIRE_ASSIGNED, slice_str(payload), 64), ERR_LIMIT);
    }
}
