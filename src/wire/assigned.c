/* assigned - where an asker finds the worker that has its request. */
#include "wire/assigned.h"

#include "wire/fields.h"
#include "wire/request.h"

void wire_add_assigned(struct wire_writer *writer, uint64_t stream, uint32_t epoch,
                       struct slice control)
{
    wire_open_record(
        writer, &(struct wire_record){.stream = stream, .epoch = epoch, .type = WIRE_ASSIGNED});
    struct json_out json = json_out_to(writer->out);
    json_out_begin_object(&json);
    json_out_add_string(&json, "control", control);
    json_out_end_object(&json);
    wire_close_record(writer);
}

enum err wire_read_assigned(const struct wire_record *record, struct text *scratch,
                            struct slice *out_control)
{
    if (record->type != WIRE_ASSIGNED)
        return ERR_PROTOCOL;
    text_clear(scratch);
    if (!text_reserve(scratch, record->payload.len)) /* no string is longer than its JSON */
        return ERR_LIMIT;
    json_t *root = NULL;
    TRY(fields_parse(record->payload, &root, NULL));
    struct fields fields = {.object = root, .scratch = scratch};
    struct slice control = fields_string(&fields, "control", REQUEST_INBOX_MAX_BYTES);
    if (control.len == 0)
        fields_fail(&fields, ERR_PROTOCOL, "control", "is empty");
    json_decref(root);
    TRY(fields.err);
    *out_control = control;
    return ERR_OK;
}
