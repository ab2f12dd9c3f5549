/* infer - /v1/infer of the rbee component: POST with a JSON body, or GET with the same names in the
 * query (a browser's EventSource can only GET). Stream: data: {"token":"Hello"} ..., data: [DONE].
 */
#include "gateway/dialect/data_event.h"
#include "gateway/dialect/dialects.h"
#include "gateway/params.h"

/* The query's names as a JSON body, so that one parser reads both. */
MUST_USE static enum err body_from_query(struct slice query, json_t **out_body,
                                         struct api_error *out_error)
{
    static const struct {
        const char *key;
        bool is_number;
    } names[] = {{"prompt", false},
                 {"model", false},
                 {"stop", false},
                 {"session_id", false},
                 {"samplers", false}, /* as letters */
                 {"grammar", false},
                 {"max_tokens", true},
                 {"temperature", true},
                 {"dynatemp_range", true},
                 {"dynatemp_exponent", true},
                 {"top_p", true},
                 {"top_k", true},
                 {"min_p", true},
                 {"typical_p", true},
                 {"top_n_sigma", true},
                 {"min_keep", true},
                 {"xtc_probability", true},
                 {"xtc_threshold", true},
                 {"repeat_penalty", true},
                 {"repeat_last_n", true},
                 {"frequency_penalty", true},
                 {"presence_penalty", true},
                 {"dry_multiplier", true},
                 {"dry_base", true},
                 {"dry_allowed_length", true},
                 {"dry_penalty_last_n", true},
                 {"mirostat", true},
                 {"mirostat_tau", true},
                 {"mirostat_eta", true},
                 {"seed", true}};
    struct text value;
    text_init(&value, 64 * 1024); /* the request head is smaller */
    *out_body = json_object();
    enum err err = ERR_OK;
    for (size_t i = 0; i < ARRAY_COUNT(names) && err == ERR_OK; i++) {
        text_clear(&value);
        enum err found = http_query_value(query, names[i].key, &value);
        if (found == ERR_NOT_FOUND)
            continue;
        json_t *member = NULL;
        if (slice_find_byte(text_slice(&value), '\0') != SLICE_NPOS)
            found = ERR_PROTOCOL; /* as in a JSON body */
        if (found == ERR_OK && names[i].is_number)
            found = json_read(text_slice(&value), 1, &member, NULL);
        else if (found == ERR_OK)
            member = json_stringn(value.data ? value.data : "", value.len);
        if (found != ERR_OK || json_object_set_new(*out_body, names[i].key, member) != 0)
            err = api_error_set(out_error, 400, "invalid_value", names[i].key,
                                "%s in the query is not %s", names[i].key,
                                names[i].is_number ? "a number" : "percent-encoded UTF-8");
    }
    text_fini(&value);
    return err;
}

MUST_USE static enum err parse_body(struct call *call, const struct dialect_input *input,
                                    struct api_error *out_error)
{
    TRY(param_object(input->body, out_error));
    TRY(param_generation(call, input, out_error));
    TRY(param_stream(call, input, out_error));
    return param_prompt(call, input->body, out_error);
}

MUST_USE static enum err parse(struct call *call, const struct dialect_input *input,
                               struct api_error *out_error)
{
    if (input->body)
        return parse_body(call, input, out_error);
    struct dialect_input from_query = *input;
    json_t *body;
    enum err err = body_from_query(input->query, &body, out_error);
    from_query.body = body;
    if (err == ERR_OK)
        err = parse_body(call, &from_query, out_error);
    json_decref(body);
    return err;
}

static void stream_event(struct call *call, uint32_t choice, const struct event *event,
                         struct text *out)
{
    (void)call;
    (void)choice;
    if (event->type == EVENT_DELTA)
        data_event_text(out, SLICE("data: {\"token\":"), event->delta.text);
}

static void whole(struct call *call, struct text *out)
{
    text_add(out, SLICE("{\"text\":"));
    json_add_string(out, text_slice(&call->choice[0].whole));
    text_add_f(out, ",\"tokens_generated\":%u,\"finish_reason\":\"%s\"}",
               call->choice[0].completion_tokens,
               call->choice[0].reason == DONE_LENGTH ? "length" : "stop");
}

const struct dialect dialect_infer = {
    .name = "infer",
    .parse = parse,
    .stream_event = stream_event,
    .stream_fault = data_event_fault,
    .stream_end = data_event_done,
    .whole = whole,
};
