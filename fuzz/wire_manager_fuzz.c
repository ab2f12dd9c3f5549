/* wire_manager_fuzz - what workers, managers and callers say beside the streams. The first byte is
 * the record's type (of calls: 128 and 129), the rest its payload: one that is accepted survives
 * being written and read again; one that is not is refused, also for want of room. */
#include "base/mem.h"
#include "choice.h"
#include "wire/assigned.h"
#include "wire/call.h"
#include "wire/load.h"
#include "wire/manager_state.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { ROOM = 1 << 22, STREAM = 0x31, EPOCH = 2, CALL_BYTE = 128, ANSWER_BYTE = 129 };

static enum err pass_on_call(const struct wire_record *record, struct wire_writer *writer)
{
    json_t *object = NULL;
    TRY(record->type == WIRE_CALL ? wire_read_call(record, &object)
                                  : wire_read_answer(record, &object));
    ASSERT(json_is_object(object));
    wire_add(writer, record); /* of calls only the payload travels: there is no second form */
    json_decref(object);
    return ERR_OK;
}

static enum err pass_on_taken(const struct wire_record *record, struct arena *arena,
                              struct wire_writer *writer)
{
    struct wire_taken taken;
    TRY(wire_read_taken(record, arena, &taken));
    ASSERT(taken.id.low == record->stream && taken.held.state < HELD_STATE_COUNT);
    ASSERT(taken.inbox.len > 0);
    wire_add_taken(writer, record->epoch, &taken);
    return ERR_OK;
}

static enum err pass_on_manager_state(const struct wire_record *record, struct arena *arena,
                                      struct wire_writer *writer)
{
    struct manager_state state;
    TRY(manager_state_decode(record->payload, arena, &state));
    ASSERT(state.control.len > 0 && state.queue_count <= MANAGER_STATE_QUEUES_MAX);
    wire_open_record(writer, &(struct wire_record){.type = WIRE_MANAGER_STATE});
    manager_state_encode(&state, writer->out);
    wire_close_record(writer);
    return ERR_OK;
}

static enum err pass_on_assigned(const struct wire_record *record, size_t room,
                                 struct wire_writer *writer)
{
    struct text scratch;
    struct slice control;
    text_init(&scratch, room);
    enum err err = wire_read_assigned(record, &scratch, &control);
    if (err == ERR_OK) {
        ASSERT(control.len > 0);
        wire_add_assigned(writer, record->stream, record->epoch, control);
    }
    text_fini(&scratch);
    return err;
}

static enum err pass_on_numbers(const struct wire_record *record, struct wire_writer *writer)
{
    struct wire_load load;
    struct wire_held held;
    struct wire_released released;
    if (record->type == WIRE_LOAD) {
        TRY(wire_read_load(record, &load));
        wire_add_load(writer, record->seq, &load, false);
    } else if (record->type == WIRE_HELD) {
        TRY(wire_read_held(record, &held));
        wire_add_held(writer, record->stream, record->epoch, &held);
    } else {
        TRY(wire_read_released(record, &released));
        wire_add_released(writer, record->stream, record->epoch, &released);
    }
    return ERR_OK;
}

/* Reads the record and writes what it has read; `room` is for its strings. ERR_PROTOCOL also for a
 * type that is none of these. */
static enum err pass_on(const struct wire_record *record, size_t room, struct wire_writer *writer)
{
    struct arena *arena = arena_new(room);
    enum err err = ERR_PROTOCOL;
    if (record->type == WIRE_CALL || record->type == WIRE_ANSWER)
        err = pass_on_call(record, writer);
    else if (record->type == WIRE_TAKEN)
        err = pass_on_taken(record, arena, writer);
    else if (record->type == WIRE_MANAGER_STATE)
        err = pass_on_manager_state(record, arena, writer);
    else if (record->type == WIRE_ASSIGNED)
        err = pass_on_assigned(record, room, writer);
    else
        err = pass_on_numbers(record, writer);
    ASSERT(err == ERR_OK || err == ERR_PROTOCOL || err == ERR_LIMIT);
    arena_free(arena);
    return err;
}

/* Into a frame of its own; *out_record is what the other side gets. */
static enum err send(const struct wire_record *record, size_t room, struct text *out,
                     struct wire_record *out_record)
{
    struct wire_writer writer;
    struct wire_reader reader;
    text_init(out, ROOM);
    wire_begin(&writer, out, WIRE_CONTROL);
    TRY(pass_on(record, room, &writer));
    ASSERT(wire_finish(&writer) == ERR_OK);
    ASSERT(wire_open(text_slice(out), &reader) == ERR_OK);
    ASSERT(wire_next(&reader, out_record) == ERR_OK);
    ASSERT(out_record->type == record->type);
    return ERR_OK;
}

static void check_survives_writing(const struct wire_record *record)
{
    struct text first, second;
    struct wire_record once, twice;
    if (send(record, ROOM, &first, &once) == ERR_OK) {
        ASSERT(send(&once, ROOM, &second, &twice) == ERR_OK);
        ASSERT(slice_eq(once.payload, twice.payload));
        text_fini(&second);
    }
    text_fini(&first);
}

static void check_without_room(const struct wire_record *record, uint64_t choice)
{
    struct text out;
    struct wire_writer writer;
    text_init(&out, ROOM);
    wire_begin(&writer, &out, WIRE_CONTROL);
    (void)text_reserve(&out, 4096 + record->payload.len * 6); /* the writer is not what fails */
    mem_test_fail_nth(1 + choice_next(&choice, 32));
    (void)pass_on(record, choice_next(&choice, 512), &writer);
    mem_test_fail_nth(0);
    text_fini(&out);
}

static uint16_t type_of(uint8_t byte)
{
    if (byte == CALL_BYTE || byte == ANSWER_BYTE)
        return byte == CALL_BYTE ? WIRE_CALL : WIRE_ANSWER;
    return byte;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0)
        return 0;
    struct wire_record record = {.stream = STREAM,
                                 .seq = 3,
                                 .epoch = EPOCH,
                                 .type = type_of(data[0]),
                                 .payload = slice_after(slice_of(data, size), 1)};
    check_survives_writing(&record);
    check_without_room(&record, choice_of(data, size));
    return 0;
}
