/* manager_state - the manager's broadcast, to and from JSON. */
#include "wire/manager_state.h"

#include "wire/fields.h"
#include "wire/request.h"

void manager_state_encode(const struct manager_state *state, struct text *out)
{
    struct json_out json = json_out_to(out);
    json_out_begin_object(&json);
    json_out_add_string(&json, "manager", state->manager);
    json_out_add_string(&json, "control", state->control);
    json_out_key(&json, "queues");
    json_out_begin_array(&json);
    for (size_t i = 0; i < state->queue_count && i < MANAGER_STATE_QUEUES_MAX; i++) {
        json_out_begin_object(&json);
        json_out_add_string(&json, "model", state->queues[i].model);
        fields_add_count(&json, "queued", state->queues[i].queued);
        json_out_end_object(&json);
    }
    json_out_end_array(&json);
    json_out_end_object(&json);
}

static struct slice name_member(struct fields *fields, const char *key, size_t max_bytes)
{
    struct slice name = fields_string(fields, key, max_bytes);
    if (name.len == 0)
        fields_fail(fields, ERR_PROTOCOL, key, "is empty");
    return name;
}

static struct manager_queue queue_from(struct fields *fields, const json_t *item)
{
    struct fields inside = fields_inside(fields, item);
    struct manager_queue queue = {
        .model = name_member(&inside, "model", REQUEST_NAME_MAX_BYTES),
        .queued = fields_u32(&inside, "queued"),
    };
    fields->err = inside.err;
    return queue;
}

static void decode_queues(struct fields *fields, struct manager_state *state)
{
    const json_t *array = fields_optional_array(fields, "queues", MANAGER_STATE_QUEUES_MAX);
    if (!array) {
        fields_fail(fields, ERR_PROTOCOL, "queues", "an array is required");
        return;
    }
    size_t count = json_array_size(array);
    struct manager_queue *queues = arena_array(fields->arena, count, sizeof(*queues));
    if (!queues)
        fields_fail(fields, ERR_LIMIT, "queues", "no room for it");
    for (size_t i = 0; queues && i < count; i++)
        queues[i] = queue_from(fields, json_array_get(array, i));
    state->queues = queues;
    state->queue_count = count;
}

enum err manager_state_decode(struct slice payload, struct arena *arena,
                              struct manager_state *out_state)
{
    json_t *root = NULL;
    TRY(fields_parse(payload, &root, NULL));
    struct fields fields = {.object = root, .arena = arena};
    struct manager_state state = {0};
    state.manager = name_member(&fields, "manager", REQUEST_NAME_MAX_BYTES);
    state.control = name_member(&fields, "control", REQUEST_INBOX_MAX_BYTES);
    decode_queues(&fields, &state);
    json_decref(root);
    TRY(fields.err);
    *out_state = state;
    return ERR_OK;
}
