/* load - a worker's account of itself, to and from records. */
#include "wire/load.h"

#include "wire/fields.h"
#include "wire/little.h"
#include "wire/request.h"

enum { LOAD_BYTES = 20, HELD_BYTES = 8, RELEASED_BYTES = 16 };

static const char *const state_names[HELD_STATE_COUNT] = {
    [HELD_WAITING] = "waiting", [HELD_RUNNING] = "running", [HELD_PARKED] = "parked"};

const char *held_state_name(enum held_state state)
{
    return (unsigned)state < HELD_STATE_COUNT ? state_names[state] : "?";
}

/* --- load --- */

void wire_add_load(struct wire_writer *writer, uint64_t seen, const struct wire_load *load,
                   bool is_all)
{
    char payload[LOAD_BYTES];
    little_put32(payload, load->slots);
    little_put32(payload + 4, load->room);
    little_put32(payload + 8, load->running);
    little_put32(payload + 12, load->waiting);
    little_put32(payload + 16, load->parked);
    wire_add(writer, &(struct wire_record){.seq = seen,
                                           .type = WIRE_LOAD,
                                           .flags = is_all ? WIRE_FLAG_ALL : 0,
                                           .payload = slice_of(payload, sizeof(payload))});
}

enum err wire_read_load(const struct wire_record *record, struct wire_load *out_load)
{
    if (record->type != WIRE_LOAD || record->payload.len != LOAD_BYTES)
        return ERR_PROTOCOL;
    const char *payload = record->payload.data;
    *out_load = (struct wire_load){
        .slots = little_get32(payload),
        .room = little_get32(payload + 4),
        .running = little_get32(payload + 8),
        .waiting = little_get32(payload + 12),
        .parked = little_get32(payload + 16),
    };
    return ERR_OK;
}

/* --- held --- */

void wire_add_held(struct wire_writer *writer, uint64_t stream, uint32_t epoch,
                   const struct wire_held *held)
{
    char payload[HELD_BYTES] = {(char)held->state};
    little_put32(payload + 4, held->tokens);
    wire_add(writer, &(struct wire_record){.stream = stream,
                                           .epoch = epoch,
                                           .type = WIRE_HELD,
                                           .payload = slice_of(payload, sizeof(payload))});
}

enum err wire_read_held(const struct wire_record *record, struct wire_held *out_held)
{
    if (record->type != WIRE_HELD || record->payload.len != HELD_BYTES)
        return ERR_PROTOCOL;
    const char *payload = record->payload.data;
    uint32_t state = little_get32(payload); /* with its three bytes of 0 */
    if (state >= HELD_STATE_COUNT)
        return ERR_PROTOCOL;
    *out_held = (struct wire_held){(enum held_state)state, little_get32(payload + 4)};
    return ERR_OK;
}

/* --- taken --- */

static void add_optional_string(struct json_out *json, const char *key, struct slice value)
{
    if (value.len)
        json_out_add_string(json, key, value);
}

void wire_add_taken(struct wire_writer *writer, uint32_t epoch, const struct wire_taken *taken)
{
    char id[ID_TEXT_BYTES + 1];
    wire_open_record(
        writer, &(struct wire_record){.stream = taken->id.low, .epoch = epoch, .type = WIRE_TAKEN});
    struct json_out json = json_out_to(writer->out);
    json_out_begin_object(&json);
    json_out_add_string(&json, "id", id_format(taken->id, id));
    json_out_add_string(&json, "state", slice_str(held_state_name(taken->held.state)));
    fields_add_count(&json, "tokens", taken->held.tokens);
    add_optional_string(&json, "tenant", taken->tenant);
    add_optional_string(&json, "session", taken->session);
    add_optional_string(&json, "label", taken->label);
    json_out_add_string(&json, "inbox", taken->inbox);
    fields_add_count(&json, "arrival_ms", taken->arrival_ms > 0 ? (uint64_t)taken->arrival_ms : 0);
    json_out_end_object(&json);
    wire_close_record(writer);
}

static void decode_taken(struct fields *fields, struct wire_taken *taken)
{
    if (id_parse(fields_string(fields, "id", ID_TEXT_BYTES), &taken->id) != ERR_OK)
        fields_fail(fields, ERR_PROTOCOL, "id", "32 hex digits, not all 0, are required");
    taken->held.state =
        (enum held_state)fields_choice(fields, "state", state_names, HELD_STATE_COUNT);
    taken->held.tokens = fields_u32(fields, "tokens");
    taken->tenant = fields_optional_string(fields, "tenant", REQUEST_NAME_MAX_BYTES);
    taken->session = fields_optional_string(fields, "session", REQUEST_NAME_MAX_BYTES);
    taken->label = fields_optional_string(fields, "label", REQUEST_NAME_MAX_BYTES);
    taken->inbox = fields_string(fields, "inbox", REQUEST_INBOX_MAX_BYTES);
    if (taken->inbox.len == 0)
        fields_fail(fields, ERR_PROTOCOL, "inbox", "is empty");
    taken->arrival_ms = fields_i64(fields, "arrival_ms", 0, FIELDS_INTEGER_MAX);
}

enum err wire_read_taken(const struct wire_record *record, struct arena *arena,
                         struct wire_taken *out_taken)
{
    if (record->type != WIRE_TAKEN)
        return ERR_PROTOCOL;
    json_t *root = NULL;
    TRY(fields_parse(record->payload, &root, NULL));
    struct fields fields = {.object = root, .arena = arena};
    struct wire_taken taken = {0};
    decode_taken(&fields, &taken);
    json_decref(root);
    TRY(fields.err);
    if (taken.id.low != record->stream)
        return ERR_PROTOCOL;
    *out_taken = taken;
    return ERR_OK;
}

/* --- released --- */

void wire_add_released(struct wire_writer *writer, uint64_t stream, uint32_t epoch,
                       const struct wire_released *released)
{
    char payload[RELEASED_BYTES];
    little_put32(payload, released->tokens);
    little_put32(payload + 4, 0);
    little_put64(payload + 8, released->kept_us);
    wire_add(writer, &(struct wire_record){.stream = stream,
                                           .epoch = epoch,
                                           .type = WIRE_RELEASED,
                                           .payload = slice_of(payload, sizeof(payload))});
}

enum err wire_read_released(const struct wire_record *record, struct wire_released *out_released)
{
    if (record->type != WIRE_RELEASED || record->payload.len != RELEASED_BYTES)
        return ERR_PROTOCOL;
    const char *payload = record->payload.data;
    if (little_get32(payload + 4) != 0)
        return ERR_PROTOCOL;
    *out_released = (struct wire_released){little_get32(payload), little_get64(payload + 8)};
    return ERR_OK;
}
