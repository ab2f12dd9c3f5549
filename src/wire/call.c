/* call - one question and its answer, as frames. */
#include "wire/call.h"

#include "wire/fields.h"

static enum err write_frame(struct text *out, enum wire_kind kind, const struct wire_record *record)
{
    struct wire_writer writer;
    wire_begin(&writer, out, kind);
    wire_add(&writer, record);
    return wire_finish(&writer);
}

enum err wire_write_call(struct text *out, uint64_t number, struct slice question)
{
    if (question.len > CALL_QUESTION_MAX_BYTES)
        return ERR_LIMIT;
    return write_frame(
        out, WIRE_CONTROL,
        &(struct wire_record){.stream = number, .type = WIRE_CALL, .payload = question});
}

enum err wire_write_answer(struct text *out, uint64_t number, struct slice answer)
{
    if (answer.len > CALL_ANSWER_MAX_BYTES)
        return ERR_LIMIT;
    return write_frame(
        out, WIRE_EVENTS,
        &(struct wire_record){.stream = number, .type = WIRE_ANSWER, .payload = answer});
}

static enum err read_object(const struct wire_record *record, uint16_t type, size_t max_bytes,
                            json_t **out_object)
{
    if (record->type != type)
        return ERR_PROTOCOL;
    if (record->payload.len > max_bytes)
        return ERR_LIMIT;
    return fields_parse(record->payload, out_object, NULL);
}

enum err wire_read_call(const struct wire_record *record, json_t **out_question)
{
    json_t *question = NULL;
    TRY(read_object(record, WIRE_CALL, CALL_QUESTION_MAX_BYTES, &question));
    if (!json_is_string(json_object_get(question, "call"))) {
        json_decref(question);
        return ERR_PROTOCOL;
    }
    *out_question = question;
    return ERR_OK;
}

enum err wire_read_answer(const struct wire_record *record, json_t **out_answer)
{
    return read_object(record, WIRE_ANSWER, CALL_ANSWER_MAX_BYTES, out_answer);
}
