/* health - is the gateway alive, and how is the service. */
#include "gateway/health.h"

#include "base/json.h"
#include "gateway/ready.h"
#include "gateway/reply.h"

const char *health_status(const struct gateway *gateway)
{
    const struct node_state *node =
        model_table_find(gateway->models, slice_str(gateway->options.default_model));
    if (gateway->draining)
        return "degraded";
    if (!node || node->phase == NODE_LOADING)
        return "loading";
    return node->phase == NODE_READY && !ready_has_failed(gateway->ready) ? "ok" : "degraded";
}

/* One entry per model: by its best node, with what all of its workers have and do. */
static void add_model(struct json_out *json, struct model_table *models,
                      const struct node_state *state)
{
    const struct model_sum sum = model_table_sum(models, state->model);
    json_out_begin_object(json);
    json_out_add_string(json, "id", state->model);
    json_out_add_string(json, "engine", state->engine);
    json_out_add_string(json, "state", slice_str(node_phase_name(state->phase)));
    json_out_add_string(json, "detail", state->detail);
    if (state->phase == NODE_LOADING) {
        json_out_add_double(json, "load_fraction", (double)state->load_fraction);
    }
    json_out_add_u64(json, "context_tokens", state->context_tokens);
    json_out_add_u64(json, "workers", sum.workers);
    json_out_add_u64(json, "slots", sum.slots);
    json_out_add_u64(json, "slots_busy", sum.slots_busy);
    json_out_add_u64(json, "queued", sum.queued);
    json_out_add_u64(json, "parked", sum.parked);
    json_out_add_u64(json, "tokens_total", sum.tokens_total);
    json_out_end_object(json);
}

void health_answer(struct gateway *gateway, struct http_conn *conn,
                   const struct http_request *request, const struct route_match *match)
{
    (void)request;
    (void)match;
    struct text body;
    text_init(&body, MODEL_PAGE_MAX_BYTES);
    struct json_out json = json_out_to(&body);
    json_out_begin_object(&json);
    json_out_add_string(&json, "status", slice_str(health_status(gateway)));
    json_out_add_bool(&json, "draining", gateway->draining);
    json_out_add_u64(&json, "uptime_ms",
                     (loop_now_us(gateway->loop) - gateway->options.started_us) / 1000);
    json_out_add_string(&json, "version", SLICE(MILLRACE_VERSION));
    json_out_key(&json, "models");
    json_out_begin_array(&json);
    const struct node_state *state;
    for (size_t cursor = 0; (state = model_table_next(gateway->models, &cursor));)
        if (model_table_find(gateway->models, state->model) == state)
            add_model(&json, gateway->models, state);
    json_out_end_array(&json);
    json_out_end_object(&json);
    reply_json(conn, 200, SLICE("Cache-Control: no-store\r\n"), &body);
}

void health_say_ok(struct http_conn *conn)
{
    http_conn_reply(conn, 200, SLICE("application/json"), SLICE("Cache-Control: no-store\r\n"),
                    SLICE("{\"status\":\"ok\"}"));
}

void health_live_answer(struct gateway *gateway, struct http_conn *conn,
                        const struct http_request *request, const struct route_match *match)
{
    (void)gateway;
    (void)request;
    (void)match;
    health_say_ok(conn);
}
