/* models_page - GET /v1/models and /v1/models/{id}. */
#include "gateway/models_page.h"

#include "base/json.h"
#include "gateway/reply.h"

static void add_string_or_null(struct json_out *json, const char *key, struct slice value)
{
    json_out_key(json, key);
    if (value.len > 0)
        json_out_string(json, value);
    else
        json_out_null(json);
}

/* Whether an answer depends on what else runs, or on which worker makes it. The fingerprint is null
 * until it is known; both are, where the workers differ. */
static void add_numerics(struct json_out *json, struct model_table *models, struct slice model)
{
    struct model_numerics numerics = model_table_numerics(models, model);
    if (!numerics.is_told)
        return;
    json_out_key(json, "numerics");
    json_out_begin_object(json);
    add_string_or_null(json, "profile", numerics.common.profile);
    json_out_add_string(json, "determinism",
                        slice_str(node_determinism_name(numerics.common.determinism)));
    json_out_add_u64(json, "width_max", numerics.common.width_max);
    add_string_or_null(json, "fingerprint", numerics.common.fingerprint);
    json_out_end_object(json);
}

/* What `lora` of a request may name, by id or name; the scale is that of requests that do not. */
static void add_adapters(struct json_out *json, const struct node_state *state)
{
    if (state->adapter_count == 0)
        return;
    json_out_key(json, "adapters");
    json_out_begin_array(json);
    for (size_t i = 0; i < state->adapter_count; i++) {
        json_out_begin_object(json);
        json_out_add_u64(json, "id", i);
        json_out_add_string(json, "name", state->adapters[i].name);
        json_out_add_double(json, "scale", (double)state->adapters[i].scale);
        json_out_end_object(json);
    }
    json_out_end_array(json);
}

/* Several workers may serve one model: it is listed once, by its best node; but what an answer may
 * rely on is what holds for all of them. */
static void add_model(struct json_out *json, struct model_table *models,
                      const struct node_state *state)
{
    json_out_begin_object(json);
    json_out_add_string(json, "id", state->model);
    json_out_add_string(json, "object", SLICE("model"));
    json_out_add_i64(json, "created", state->created_s);
    json_out_add_string(json, "owned_by", SLICE("millrace"));
    json_out_add_string(json, "state", slice_str(node_phase_name(state->phase)));
    json_out_add_string(json, "engine", state->engine);
    json_out_add_string(json, "description", state->detail);
    json_out_add_u64(json, "context_length", state->context_tokens);
    json_out_add_u64(json, "size_bytes", state->size_bytes);
    add_numerics(json, models, state->model);
    add_adapters(json, state);
    json_out_end_object(json);
}

void models_page_list(struct gateway *gateway, struct http_conn *conn,
                      const struct http_request *request, const struct route_match *match)
{
    (void)request;
    (void)match;
    struct text body;
    text_init(&body, MODEL_PAGE_MAX_BYTES);
    struct json_out json = json_out_to(&body);
    json_out_begin_object(&json);
    json_out_add_string(&json, "object", SLICE("list"));
    json_out_key(&json, "data");
    json_out_begin_array(&json);
    const struct node_state *state;
    for (size_t cursor = 0; (state = model_table_next(gateway->models, &cursor));)
        if (model_table_find(gateway->models, state->model) == state)
            add_model(&json, gateway->models, state);
    json_out_end_array(&json);
    json_out_end_object(&json);
    reply_json(conn, 200, SLICE(""), &body);
}

void models_page_one(struct gateway *gateway, struct http_conn *conn,
                     const struct http_request *request, const struct route_match *match)
{
    (void)request;
    const struct node_state *state = model_table_find(gateway->models, match->params[0]);
    if (!state) {
        struct api_error error;
        (void)api_error_set(&error, 404, "model_not_found", "model", /* the code is in the error */
                            "the model '" SLICE_FMT "' does not exist",
                            SLICE_ARG(match->params[0]));
        gateway_refuse(gateway, conn, &error, SLICE(""));
        return;
    }
    struct text body;
    text_init(&body, MODEL_PAGE_MAX_BYTES);
    struct json_out json = json_out_to(&body);
    add_model(&json, gateway->models, state);
    reply_json(conn, 200, SLICE(""), &body);
}
