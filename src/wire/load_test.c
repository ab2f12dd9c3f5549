/* load_test - what a worker says of itself comes back; what is not of that shape is refused. */
#include "base/json.h"
#include "base/mem.h"
#include "testing/test.h"
#include "wire/load.h"

enum { ROOM = 1 << 16 };

/* The records of one control frame, written by the test and read back. */
struct sent {
    struct text out;
    struct wire_writer writer;
    struct wire_reader reader;
};

static void begin(struct sent *sent)
{
    text_init(&sent->out, ROOM);
    wire_begin(&sent->writer, &sent->out, WIRE_CONTROL);
}

static void arrive(struct sent *sent)
{
    CHECK_OK(wire_finish(&sent->writer));
    CHECK_OK(wire_open(text_slice(&sent->out), &sent->reader));
    CHECK_EQ(sent->reader.kind, WIRE_CONTROL);
}

static struct wire_record next(struct sent *sent)
{
    struct wire_record record;
    CHECK_OK(wire_next(&sent->reader, &record));
    return record;
}

static struct wire_taken sample(void)
{
    return (struct wire_taken){.id = {0x0123456789abcdef, 0xfedcba9876543210},
                               .held = {HELD_PARKED, 99},
                               .tenant = SLICE("t"),
                               .session = SLICE("s"),
                               .label = SLICE("l \"quoted\""),
                               .inbox = SLICE("inbox.1"),
                               .arrival_ms = 1700000000000};
}

TEST(a_worker_s_account_comes_back_record_by_record)
{
    struct sent sent;
    struct wire_load load = {1, 2, 3, 4, UINT32_MAX}, load_read;
    struct wire_held held = {HELD_RUNNING, UINT32_MAX}, held_read;
    struct wire_released released = {7, UINT64_MAX}, released_read;
    begin(&sent);
    wire_add_load(&sent.writer, UINT64_MAX, &load, true);
    wire_add_load(&sent.writer, 0, &load, false);
    wire_add_held(&sent.writer, 5, 2, &held);
    wire_add_released(&sent.writer, 6, 3, &released);
    arrive(&sent);
    struct wire_record record = next(&sent);
    CHECK(record.type == WIRE_LOAD && record.seq == UINT64_MAX && record.flags == WIRE_FLAG_ALL);
    CHECK_OK(wire_read_load(&record, &load_read));
    CHECK(load_read.slots == 1 && load_read.room == 2 && load_read.running == 3);
    CHECK(load_read.waiting == 4 && load_read.parked == UINT32_MAX);
    record = next(&sent);
    CHECK(record.type == WIRE_LOAD && record.seq == 0 && record.flags == 0);
    record = next(&sent);
    CHECK(record.type == WIRE_HELD && record.stream == 5 && record.epoch == 2);
    CHECK_OK(wire_read_held(&record, &held_read));
    CHECK(held_read.state == HELD_RUNNING && held_read.tokens == UINT32_MAX);
    record = next(&sent);
    CHECK(record.type == WIRE_RELEASED && record.stream == 6 && record.epoch == 3);
    CHECK_OK(wire_read_released(&record, &released_read));
    CHECK(released_read.tokens == 7 && released_read.kept_us == UINT64_MAX);
    text_fini(&sent.out);
}

TEST(a_taken_stream_comes_back_in_full)
{
    struct sent sent;
    struct wire_taken taken = sample(), read;
    struct arena *arena = arena_new(ROOM);
    begin(&sent);
    wire_add_taken(&sent.writer, 4, &taken);
    arrive(&sent);
    struct wire_record record = next(&sent);
    CHECK(record.type == WIRE_TAKEN && record.stream == taken.id.low && record.epoch == 4);
    CHECK_OK(wire_read_taken(&record, arena, &read));
    CHECK(id_eq(read.id, taken.id) && read.held.state == HELD_PARKED && read.held.tokens == 99);
    CHECK_SLICE(read.tenant, "t");
    CHECK_SLICE(read.session, "s");
    CHECK_SLICE(read.label, "l \"quoted\"");
    CHECK_SLICE(read.inbox, "inbox.1");
    CHECK_EQ(read.arrival_ms, 1700000000000);
    text_fini(&sent.out);
    arena_free(arena);
}

/* --- what is refused --- */

static enum err read_as(uint16_t type, struct slice payload)
{
    struct wire_record record = {.stream = 0xfedcba9876543210, .type = type, .payload = payload};
    struct wire_load load;
    struct wire_held held;
    struct wire_released released;
    switch (type) {
    case WIRE_LOAD:
        return wire_read_load(&record, &load);
    case WIRE_HELD:
        return wire_read_held(&record, &held);
    default:
        return wire_read_released(&record, &released);
    }
}

TEST(binary_payloads_have_one_length)
{
    static const struct {
        uint16_t type;
        size_t bytes;
    } cases[] = {{WIRE_LOAD, 20}, {WIRE_HELD, 8}, {WIRE_RELEASED, 16}};
    static const char zeros[21];
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        for (size_t len = 0; len <= cases[i].bytes + 1; len++)
            CHECK_ERR(read_as(cases[i].type, slice_of(zeros, len)),
                      len == cases[i].bytes ? ERR_OK : ERR_PROTOCOL);
    }
}

TEST(unknown_states_and_reserved_bytes_are_refused)
{
    CHECK_OK(read_as(WIRE_HELD, SLICE("\2\0\0\0\1\0\0\0")));
    CHECK_ERR(read_as(WIRE_HELD, SLICE("\3\0\0\0\1\0\0\0")), ERR_PROTOCOL);
    CHECK_ERR(read_as(WIRE_HELD, SLICE("\1\1\0\0\1\0\0\0")), ERR_PROTOCOL);
    CHECK_ERR(read_as(WIRE_HELD, SLICE("\1\0\0\1\1\0\0\0")), ERR_PROTOCOL);
    CHECK_OK(read_as(WIRE_RELEASED, SLICE("\1\0\0\0\0\0\0\0\1\0\0\0\0\0\0\0")));
    CHECK_ERR(read_as(WIRE_RELEASED, SLICE("\1\0\0\0\1\0\0\0\1\0\0\0\0\0\0\0")), ERR_PROTOCOL);
}

TEST(a_record_of_another_type_is_refused)
{
    static const char zeros[20];
    struct arena *arena = arena_new(ROOM);
    struct wire_record record = {.type = WIRE_CREDIT, .payload = slice_of(zeros, sizeof(zeros))};
    struct wire_load load;
    struct wire_held held;
    struct wire_taken taken;
    struct wire_released released;
    CHECK_ERR(wire_read_load(&record, &load), ERR_PROTOCOL);
    record.payload.len = 8;
    CHECK_ERR(wire_read_held(&record, &held), ERR_PROTOCOL);
    record.payload.len = 16;
    CHECK_ERR(wire_read_released(&record, &released), ERR_PROTOCOL);
    CHECK_ERR(wire_read_taken(&record, arena, &taken), ERR_PROTOCOL);
    arena_free(arena);
}

/* The sample's payload with one member replaced or, for NULL, gone. */
static enum err read_taken_with(const char *key, const char *value)
{
    struct sent sent;
    struct wire_taken taken = sample(), read;
    struct arena *arena = arena_new(ROOM);
    json_t *root = NULL;
    struct err_note note;
    begin(&sent);
    wire_add_taken(&sent.writer, 1, &taken);
    arrive(&sent);
    struct wire_record record = next(&sent);
    CHECK_OK(json_read(record.payload, 8, &root, &note));
    if (value)
        CHECK_EQ(json_object_set_new(root, key, json_loads(value, JSON_DECODE_ANY, NULL)), 0);
    else
        CHECK_EQ(json_object_del(root, key), 0);
    char *changed = json_dumps(root, 0);
    record.payload = slice_str(changed);
    enum err err = wire_read_taken(&record, arena, &read);
    mem_free(changed);
    json_decref(root);
    text_fini(&sent.out);
    arena_free(arena);
    return err;
}

TEST(members_of_a_taken_stream_are_checked)
{
    CHECK_OK(read_taken_with("tenant", NULL));
    CHECK_OK(read_taken_with("session", NULL));
    CHECK_OK(read_taken_with("label", NULL));
    CHECK_OK(read_taken_with("of_tomorrow", "[]"));
    static const char *const required[] = {"id", "state", "tokens", "inbox", "arrival_ms"};
    for (size_t i = 0; i < ARRAY_COUNT(required); i++)
        CHECK_ERR(read_taken_with(required[i], NULL), ERR_PROTOCOL);
    CHECK_ERR(read_taken_with("state", "\"asleep\""), ERR_PROTOCOL);
    CHECK_ERR(read_taken_with("inbox", "\"\""), ERR_PROTOCOL);
    CHECK_ERR(read_taken_with("tokens", "4294967296"), ERR_LIMIT);
    CHECK_ERR(read_taken_with("arrival_ms", "-1"), ERR_LIMIT);
    CHECK_ERR(read_taken_with("tenant", "7"), ERR_PROTOCOL);
}

TEST(an_id_that_is_not_the_stream_s_is_refused)
{
    CHECK_OK(read_taken_with("id", "\"ffffffffffffffff"
                                   "fedcba9876543210\""));
    CHECK_ERR(read_taken_with("id", "\"0123456789abcdef"
                                    "fedcba9876543211\""),
              ERR_PROTOCOL);
    CHECK_ERR(read_taken_with("id", "\"00000000000000000000000000000000\""), ERR_PROTOCOL);
    CHECK_ERR(read_taken_with("id", "\"0123\""), ERR_PROTOCOL);
}

TEST(a_taken_stream_that_does_not_fit_is_a_limit)
{
    struct sent sent;
    struct wire_taken taken = sample(), read;
    begin(&sent);
    wire_add_taken(&sent.writer, 1, &taken);
    arrive(&sent);
    struct wire_record record = next(&sent);
    struct arena *arena = arena_new(ROOM);
    CHECK_OK(wire_read_taken(&record, arena, &read));
    size_t needed = arena_used(arena);
    arena_free(arena);
    for (size_t room = 0; room <= needed; room++) {
        arena = arena_new(room);
        CHECK_ERR(wire_read_taken(&record, arena, &read), room < needed ? ERR_LIMIT : ERR_OK);
        arena_free(arena);
    }
    text_fini(&sent.out);
}

TEST(states_have_names)
{
    CHECK_STR(held_state_name(HELD_WAITING), "waiting");
    CHECK_STR(held_state_name(HELD_PARKED), "parked");
    CHECK_STR(held_state_name(HELD_STATE_COUNT), "?");
}
