/* params - reading one member of a request body, with an error that names it. */
#include "gateway/params.h"

#include "gateway/form_params.h"
#include "gateway/lora_params.h"
#include "gateway/sampling_params.h"

enum { MAX_TOKENS_MAX = 1024 * 1024, QUERY_VALUE_MAX = 16 };

const json_t *param_member(const json_t *body, const char *key)
{
    const json_t *value = json_object_get(body, key);
    return json_is_null(value) ? NULL : value;
}

enum err param_wrong_type(struct api_error *out_error, const char *key, const char *wanted)
{
    return api_error_set(out_error, 400, "invalid_type", key, "%s must be %s", key, wanted);
}

enum err param_string(struct call *call, const json_t *body, const char *key,
                      struct slice *out_value, struct api_error *out_error)
{
    const json_t *value = param_member(body, key);
    if (!value)
        return ERR_OK;
    if (!json_is_string(value))
        return param_wrong_type(out_error, key, "a string");
    if (arena_dup(call->arena, json_slice(value), out_value) != ERR_OK)
        return api_error_set(out_error, 413, "body_too_large", key, "%s is too large", key);
    return ERR_OK;
}

enum err param_bool(const json_t *body, const char *key, bool *out_value,
                    struct api_error *out_error)
{
    const json_t *value = param_member(body, key);
    if (!value)
        return ERR_OK;
    if (!json_is_boolean(value))
        return param_wrong_type(out_error, key, "true or false");
    *out_value = json_is_true(value);
    return ERR_OK;
}

enum err param_integer(const json_t *body, const char *key, int64_t min, int64_t max,
                       int64_t *out_value, struct api_error *out_error)
{
    const json_t *value = param_member(body, key);
    if (!value)
        return ERR_OK;
    if (!json_is_integer(value))
        return param_wrong_type(out_error, key, "an integer");
    int64_t number = json_integer_value(value);
    if (number < min || number > max)
        return api_error_set(out_error, 400, "invalid_value", key,
                             "%s is %lld: allowed is %lld..%lld", key, (long long)number,
                             (long long)min, (long long)max);
    *out_value = number;
    return ERR_OK;
}

enum err param_number(const json_t *body, const char *key, double min, double max, float *out_value,
                      struct api_error *out_error)
{
    const json_t *value = param_member(body, key);
    if (!value)
        return ERR_OK;
    if (!json_is_number(value))
        return param_wrong_type(out_error, key, "a number");
    double number = json_number_value(value);
    if (!(number >= min && number <= max)) /* also refuses NaN */
        return api_error_set(out_error, 400, "invalid_value", key, "%s is %g: allowed is %g..%g",
                             key, number, min, max);
    *out_value = (float)number;
    return ERR_OK;
}

enum err param_object(const json_t *body, struct api_error *out_error)
{
    if (json_is_object(body))
        return ERR_OK;
    return api_error_set(out_error, 400, "invalid_type", NULL, "the body must be a JSON object");
}

/* --- lists of strings --- */

MUST_USE static enum err not_strings(struct api_error *out_error, const struct param_list *wanted)
{
    return param_wrong_type(out_error, wanted->key,
                            wanted->may_be_one ? "a string or a list of strings"
                                               : "a list of strings");
}

MUST_USE static enum err read_item(struct call *call, const json_t *value,
                                   const struct param_list *wanted, struct slice *out_string,
                                   struct api_error *out_error)
{
    struct slice string = json_slice(value);
    if (!json_is_string(value))
        return not_strings(out_error, wanted);
    if (string.len == 0 || string.len > wanted->bytes_max)
        return api_error_set(out_error, 400, "invalid_value", wanted->key,
                             "a string of %s has %zu bytes: allowed are 1..%zu", wanted->key,
                             string.len, wanted->bytes_max);
    if (arena_dup(call->arena, string, out_string) != ERR_OK)
        return api_error_set(out_error, 413, "body_too_large", wanted->key, "%s is too large",
                             wanted->key);
    return ERR_OK;
}

enum err param_strings(struct call *call, const json_t *body, const struct param_list *wanted,
                       const struct slice **out_strings, size_t *out_count,
                       struct api_error *out_error)
{
    const json_t *value = param_member(body, wanted->key);
    if (!value)
        return ERR_OK;
    bool is_list = json_is_array(value);
    if (!is_list && !wanted->may_be_one)
        return not_strings(out_error, wanted);
    size_t count = is_list ? json_array_size(value) : 1;
    if (count > wanted->count_max)
        return api_error_set(out_error, 400, "invalid_value", wanted->key,
                             "%s has %zu strings: allowed are %zu", wanted->key, count,
                             wanted->count_max);
    struct slice *strings = arena_array(call->arena, count + 1, sizeof(*strings));
    if (!strings)
        return api_error_set(out_error, 413, "body_too_large", wanted->key, "out of memory");
    for (size_t i = 0; i < count; i++)
        TRY(read_item(call, is_list ? json_array_get(value, i) : value, wanted, &strings[i],
                      out_error));
    *out_strings = strings;
    *out_count = count;
    return ERR_OK;
}

/* --- the rest of what all surfaces share --- */

enum err param_priority(struct call *call, const json_t *body, struct api_error *out_error)
{
    static const char *const names[] = {
        [PRIORITY_NORMAL] = "normal", [PRIORITY_HIGH] = "high", [PRIORITY_LOW] = "low"};
    struct slice name = SLICE("normal");
    TRY(param_string(call, body, "priority", &name, out_error));
    for (size_t i = 0; i < ARRAY_COUNT(names); i++)
        if (slice_eq_str(name, names[i])) {
            call->request.priority = (enum request_priority)i;
            return ERR_OK;
        }
    return api_error_set(out_error, 400, "invalid_value", "priority",
                         "priority must be high, normal or low");
}

/* In the body or the X-Session-Id field. */
MUST_USE static enum err param_session(struct call *call, const struct dialect_input *input,
                                       struct api_error *out_error)
{
    struct slice *session = &call->request.session;
    *session = input->session_id;
    TRY(param_string(call, input->body, "session_id", session, out_error));
    if (session->len <= REQUEST_NAME_MAX_BYTES)
        return ERR_OK;
    return api_error_set(out_error, 400, "invalid_value", "session_id",
                         "session_id has %zu bytes: allowed are %d", session->len,
                         REQUEST_NAME_MAX_BYTES);
}

enum err param_generation(struct call *call, const struct dialect_input *input,
                          struct api_error *out_error)
{
    static const struct param_list stops = {"stop", REQUEST_STOPS_MAX, REQUEST_STOP_MAX_BYTES,
                                            true};
    struct request *request = &call->request;
    int64_t max_tokens = request->max_tokens;
    TRY(param_string(call, input->body, "model", &request->model, out_error));
    TRY(param_session(call, input, out_error));
    TRY(param_integer(input->body, "max_tokens", 1, MAX_TOKENS_MAX, &max_tokens, out_error));
    TRY(param_bool(input->body, "ignore_eos", &request->ignore_eos, out_error));
    TRY(sampling_params(call, input->body, out_error));
    TRY(form_params(call, input->body, out_error));
    TRY(lora_params(call, input->body, out_error));
    TRY(param_strings(call, input->body, &stops, &request->stops, &request->stop_count, out_error));
    TRY(param_priority(call, input->body, out_error));
    request->max_tokens = (uint32_t)max_tokens;
    return ERR_OK;
}

enum err param_prompt(struct call *call, const json_t *body, struct api_error *out_error)
{
    if (!param_member(body, "prompt"))
        return api_error_set(out_error, 400, "missing_parameter", "prompt", "prompt is missing");
    call->request.prompt_kind = PROMPT_TEXT;
    return param_string(call, body, "prompt", &call->request.prompt, out_error);
}

/* ?stream=true, false, 1 or 0; anything else is a mistake worth telling. */
MUST_USE static enum err query_flag(struct slice query, const char *key, bool *out_value,
                                    struct api_error *out_error)
{
    struct text value;
    text_init(&value, QUERY_VALUE_MAX);
    enum err err = http_query_value(query, key, &value);
    struct slice word = text_slice(&value);
    bool yes = slice_eq_str(word, "true") || slice_eq_str(word, "1");
    bool no = slice_eq_str(word, "false") || slice_eq_str(word, "0");
    text_fini(&value);
    if (err == ERR_NOT_FOUND)
        return ERR_OK;
    if (err != ERR_OK || (!yes && !no))
        return api_error_set(out_error, 400, "invalid_value", key,
                             "%s in the query must be true or false", key);
    *out_value = yes;
    return ERR_OK;
}

enum err param_stream(struct call *call, const struct dialect_input *input,
                      struct api_error *out_error)
{
    bool from_query = false;
    TRY(param_bool(input->body, "stream", &call->stream, out_error));
    TRY(query_flag(input->query, "stream", &from_query, out_error));
    bool body_says = param_member(input->body, "stream") != NULL;
    call->query_stream = from_query && !body_says;
    if (from_query || (input->accepts_event_stream && !body_says))
        call->stream = true;
    const json_t *options = param_member(input->body, "stream_options");
    if (!options)
        return ERR_OK;
    if (!json_is_object(options))
        return param_wrong_type(out_error, "stream_options", "an object");
    TRY(param_bool(options, "include_usage", &call->include_usage, out_error));
    return param_bool(options, "include_progress", &call->include_progress, out_error);
}

bool param_is_false(const json_t *value)
{
    return json_is_false(value) || json_is_null(value) ||
           (json_is_integer(value) && json_integer_value(value) == 0) ||
           (json_is_string(value) && json_string_length(value) == 0) ||
           (json_is_array(value) && json_array_size(value) == 0) ||
           (json_is_object(value) && json_object_size(value) == 0);
}

bool param_is_one(const json_t *value)
{
    return json_is_null(value) || (json_is_integer(value) && json_integer_value(value) == 1);
}

enum err param_refuse(const json_t *body, const struct param_refusal *refusals, size_t count,
                      struct api_error *out_error)
{
    for (size_t i = 0; i < count; i++) {
        const json_t *value = json_object_get(body, refusals[i].key);
        if (value && !refusals[i].is_harmless(value))
            return api_error_set(out_error, 400, "unsupported_parameter", refusals[i].key,
                                 "%s is not supported", refusals[i].key);
    }
    return ERR_OK;
}
