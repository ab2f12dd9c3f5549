/* call_test - a question and its answer come back; what is none, or too long, is refused. */
#include "base/mem.h"
#include "testing/test.h"
#include "wire/call.h"

typedef enum err write_fn(struct text *out, uint64_t number, struct slice payload);
typedef enum err read_fn(const struct wire_record *record, json_t **out_object);

static struct wire_record only_record(const struct text *out, enum wire_kind kind)
{
    struct wire_reader reader;
    struct wire_record record, more;
    CHECK_OK(wire_open(text_slice(out), &reader));
    CHECK_EQ(reader.kind, kind);
    CHECK_OK(wire_next(&reader, &record));
    CHECK_ERR(wire_next(&reader, &more), ERR_AGAIN);
    return record;
}

static void check_round_trip(write_fn *write, read_fn *read, enum wire_kind kind, uint16_t type)
{
    struct text out;
    json_t *object = NULL;
    text_init(&out, 1 << 16);
    CHECK_OK(write(&out, UINT64_MAX, SLICE("{\"call\":\"roles\",\"n\":[1]}")));
    struct wire_record record = only_record(&out, kind);
    CHECK(record.type == type && record.stream == UINT64_MAX);
    CHECK_OK(read(&record, &object));
    CHECK_SLICE(json_slice(json_object_get(object, "call")), "roles");
    json_decref(object);
    text_fini(&out);
}

TEST(a_question_and_an_answer_come_back)
{
    check_round_trip(wire_write_call, wire_read_call, WIRE_CONTROL, WIRE_CALL);
    check_round_trip(wire_write_answer, wire_read_answer, WIRE_EVENTS, WIRE_ANSWER);
}

static enum err read_payload(read_fn *read, uint16_t type, const char *payload)
{
    struct wire_record record = {.type = type, .payload = slice_str(payload)};
    json_t *object = NULL;
    enum err err = read(&record, &object);
    CHECK((err == ERR_OK) == (object != NULL));
    json_decref(object);
    return err;
}

TEST(what_is_no_question_is_refused)
{
    CHECK_OK(read_payload(wire_read_call, WIRE_CALL, "{\"call\":\"\"}"));
    CHECK_ERR(read_payload(wire_read_call, WIRE_ANSWER, "{\"call\":\"x\"}"), ERR_PROTOCOL);
    CHECK_ERR(read_payload(wire_read_call, WIRE_CALL, "{}"), ERR_PROTOCOL);
    CHECK_ERR(read_payload(wire_read_call, WIRE_CALL, "{\"call\":1}"), ERR_PROTOCOL);
    CHECK_ERR(read_payload(wire_read_call, WIRE_CALL, "[\"call\"]"), ERR_PROTOCOL);
    CHECK_ERR(read_payload(wire_read_call, WIRE_CALL, ""), ERR_PROTOCOL);
}

TEST(what_is_no_answer_is_refused)
{
    CHECK_OK(read_payload(wire_read_answer, WIRE_ANSWER, "{}"));
    CHECK_ERR(read_payload(wire_read_answer, WIRE_CALL, "{}"), ERR_PROTOCOL);
    CHECK_ERR(read_payload(wire_read_answer, WIRE_ANSWER, "[]"), ERR_PROTOCOL);
    CHECK_ERR(read_payload(wire_read_answer, WIRE_ANSWER, "{\"a\":"), ERR_PROTOCOL);
    CHECK_ERR(read_payload(wire_read_answer, WIRE_ANSWER,
                           "{\"a\":[[[[[[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]]]]]]}"),
              ERR_LIMIT);
}

/* {"call":"xxx..."} of just that many bytes; the caller's. */
static struct text object_of(size_t bytes)
{
    struct text text;
    struct slice head = SLICE("{\"call\":\""), tail = SLICE("\"}");
    text_init(&text, bytes);
    text_add(&text, head);
    for (size_t i = head.len + tail.len; i < bytes; i++)
        text_add_byte(&text, 'x');
    text_add(&text, tail);
    CHECK_OK(text_status(&text));
    return text;
}

static void check_limit(write_fn *write, read_fn *read, uint16_t type, size_t max)
{
    for (size_t bytes = max - 1; bytes <= max + 1; bytes++) {
        enum err expected = bytes <= max ? ERR_OK : ERR_LIMIT;
        struct text payload = object_of(bytes), out;
        struct wire_record record = {.type = type, .payload = text_slice(&payload)};
        json_t *object = NULL;
        text_init(&out, WIRE_FRAME_MAX_BYTES);
        CHECK_ERR(write(&out, 1, text_slice(&payload)), expected);
        CHECK_ERR(read(&record, &object), expected);
        json_decref(object);
        text_fini(&out);
        text_fini(&payload);
    }
}

TEST(lengths_are_held_to_their_limits_by_both_sides)
{
    check_limit(wire_write_call, wire_read_call, WIRE_CALL, CALL_QUESTION_MAX_BYTES);
    check_limit(wire_write_answer, wire_read_answer, WIRE_ANSWER, CALL_ANSWER_MAX_BYTES);
}

TEST(a_text_without_room_is_a_limit)
{
    struct text out;
    text_init(&out, 40);
    CHECK_ERR(wire_write_call(&out, 1, SLICE("{\"call\":\"roles\"}")), ERR_LIMIT);
    text_fini(&out);
}
