/* node_state - a worker's description of itself, to and from JSON. */
#include "wire/node_state.h"

#include "base/utf8.h"
#include "wire/fields.h"

enum { NAME_MAX_BYTES = 256, DETAIL_MAX_BYTES = 4096, PROFILE_MAX_BYTES = 32, SCALE_MAX = 100 };

static const char *const phase_names[NODE_PHASE_COUNT] = {[NODE_LOADING] = "loading",
                                                          [NODE_READY] = "ready",
                                                          [NODE_FAILED] = "failed",
                                                          [NODE_DRAINING] = "draining"};

static const char *const determinism_names[NODE_DETERMINISM_COUNT] = {
    [NODE_DETERMINISM_UNKNOWN] = "unknown",
    [NODE_EXACT] = "exact",
    [NODE_COMPATIBLE] = "compatible"};

const char *node_phase_name(enum node_phase phase)
{
    return (unsigned)phase < NODE_PHASE_COUNT ? phase_names[phase] : "?";
}

const char *node_determinism_name(enum node_determinism determinism)
{
    return (unsigned)determinism < NODE_DETERMINISM_COUNT ? determinism_names[determinism] : "?";
}

static void add_time(struct json_out *json, const char *key, int64_t time)
{
    fields_add_count(json, key, time > 0 ? (uint64_t)time : 0);
}

/* Invalid bytes become U+FFFD, 3 bytes for one: cut so that the decoder's limit holds even then. */
static struct slice cut_detail(struct slice detail)
{
    struct slice cut = slice_first(detail, DETAIL_MAX_BYTES / 3);
    return cut.len < detail.len ? slice_first(cut, utf8_settled(cut)) : cut;
}

static void add_numerics(struct json_out *json, const struct node_numerics *numerics)
{
    json_out_key(json, "numerics");
    json_out_begin_object(json);
    json_out_add_string(json, "profile", numerics->profile);
    json_out_add_string(json, "determinism",
                        slice_str(node_determinism_name(numerics->determinism)));
    fields_add_count(json, "width_max", numerics->width_max);
    json_out_add_string(json, "fingerprint", numerics->fingerprint);
    json_out_end_object(json);
}

static void add_adapters(struct json_out *json, const struct node_state *state)
{
    json_out_key(json, "adapters");
    json_out_begin_array(json);
    for (size_t i = 0; i < state->adapter_count; i++) {
        json_out_begin_object(json);
        json_out_add_string(json, "name", state->adapters[i].name);
        json_out_add_double(json, "scale", (double)state->adapters[i].scale);
        json_out_end_object(json);
    }
    json_out_end_array(json);
}

void node_state_encode(const struct node_state *state, struct text *out)
{
    struct json_out json = json_out_to(out);
    json_out_begin_object(&json);
    json_out_add_string(&json, "node", state->node);
    json_out_add_string(&json, "model", state->model);
    json_out_add_string(&json, "engine", state->engine);
    json_out_add_string(&json, "detail", cut_detail(state->detail));
    json_out_add_string(&json, "control", state->control);
    json_out_add_string(&json, "phase", slice_str(node_phase_name(state->phase)));
    json_out_add_double(&json, "load_fraction", (double)state->load_fraction);
    fields_add_count(&json, "layers", state->layers);
    json_out_add_bool(&json, "reads_only", state->reads_only);
    fields_add_count(&json, "context_tokens", state->context_tokens);
    fields_add_count(&json, "slots", state->slots);
    fields_add_count(&json, "slots_busy", state->slots_busy);
    fields_add_count(&json, "queued", state->queued);
    fields_add_count(&json, "parked", state->parked);
    add_time(&json, "created_s", state->created_s);
    fields_add_count(&json, "size_bytes", state->size_bytes);
    fields_add_count(&json, "tokens_total", state->tokens_total);
    add_time(&json, "last_token_ms", state->last_token_ms);
    if (state->numerics.profile.len > 0)
        add_numerics(&json, &state->numerics);
    if (state->adapter_count > 0)
        add_adapters(&json, state);
    json_out_end_object(&json);
}

/* What an older worker does not say. */
static void decode_later(struct fields *fields, struct node_state *state)
{
    if (fields_has(fields, "layers"))
        state->layers = fields_u32(fields, "layers");
    if (fields_has(fields, "reads_only"))
        state->reads_only = fields_bool(fields, "reads_only");
}

/* Absent: an older worker, or one that has nothing to say of it. */
static void decode_numerics(struct fields *fields, struct node_numerics *numerics)
{
    if (!fields_has(fields, "numerics"))
        return;
    struct fields inside = fields_inside(fields, fields_object(fields, "numerics"));
    numerics->profile = fields_string(&inside, "profile", PROFILE_MAX_BYTES);
    numerics->determinism = (enum node_determinism)fields_choice(
        &inside, "determinism", determinism_names, NODE_DETERMINISM_COUNT);
    numerics->width_max = fields_u32(&inside, "width_max");
    numerics->fingerprint = fields_string(&inside, "fingerprint", NODE_FINGERPRINT_BYTES);
    fields->err = inside.err;
}

static struct node_adapter adapter_from(struct fields *fields, const json_t *value)
{
    struct fields inside = fields_inside(fields, value);
    struct node_adapter adapter = {.name = fields_string(&inside, "name", NAME_MAX_BYTES),
                                   .scale = fields_float(&inside, "scale", -SCALE_MAX, SCALE_MAX)};
    fields->err = inside.err;
    return adapter;
}

/* Absent: it has none. */
static void decode_adapters(struct fields *fields, struct node_state *state)
{
    const json_t *array = fields_optional_array(fields, "adapters", NODE_ADAPTERS_MAX);
    size_t count = json_array_size(array);
    if (!array)
        return;
    struct node_adapter *adapters = fields_memory(fields, "adapters", count, sizeof(*adapters));
    for (size_t i = 0; adapters && i < count; i++)
        adapters[i] = adapter_from(fields, json_array_get(array, i));
    state->adapters = adapters;
    state->adapter_count = adapters ? count : 0;
}

static void decode(struct fields *fields, struct node_state *state)
{
    state->node = fields_string(fields, "node", NAME_MAX_BYTES);
    state->model = fields_string(fields, "model", NAME_MAX_BYTES);
    state->engine = fields_string(fields, "engine", NAME_MAX_BYTES);
    state->detail = fields_string(fields, "detail", DETAIL_MAX_BYTES);
    state->control = fields_string(fields, "control", NAME_MAX_BYTES);
    state->phase = (enum node_phase)fields_choice(fields, "phase", phase_names, NODE_PHASE_COUNT);
    state->load_fraction = fields_float(fields, "load_fraction", 0, 1);
    state->context_tokens = fields_u32(fields, "context_tokens");
    state->slots = fields_u32(fields, "slots");
    state->slots_busy = fields_u32(fields, "slots_busy");
    state->queued = fields_u32(fields, "queued");
    state->parked = fields_u32(fields, "parked");
    state->created_s = (int64_t)fields_u64(fields, "created_s");
    state->size_bytes = fields_u64(fields, "size_bytes");
    state->tokens_total = fields_u64(fields, "tokens_total");
    state->last_token_ms = (int64_t)fields_u64(fields, "last_token_ms");
    decode_later(fields, state);
    decode_numerics(fields, &state->numerics);
    decode_adapters(fields, state);
}

enum err node_state_decode(struct slice payload, struct arena *arena, struct node_state *out_state)
{
    json_t *root = NULL;
    TRY(fields_parse(payload, &root, NULL));
    struct fields fields = {.object = root, .arena = arena};
    struct node_state state = {0};
    decode(&fields, &state);
    json_decref(root);
    TRY(fields.err);
    *out_state = state;
    return ERR_OK;
}
