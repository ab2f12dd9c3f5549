/* task_params - reading what tasks have in common. */
#include "gateway/task_params.h"

static enum err too_large(struct api_error *out_error, const char *key)
{
    return api_error_set(out_error, 413, "body_too_large", key, "%s is too large", key);
}

enum err task_param_common(struct call *call, const struct dialect_input *input,
                           enum task_kind kind, struct api_error *out_error)
{
    static const struct param_refusal refusals[] = {{"stream", param_is_false},
                                                    {"lora", param_is_false}};
    TRY(param_object(input->body, out_error));
    TRY(param_string(call, input->body, "model", &call->request.model, out_error));
    TRY(param_priority(call, input->body, out_error));
    call->request.task.kind = kind;
    return param_refuse(input->body, refusals, ARRAY_COUNT(refusals), out_error);
}

enum err task_param_tokens(struct call *call, const json_t *list, const char *key, size_t *room,
                           struct task_input *out_input, struct api_error *out_error)
{
    size_t count = json_array_size(list);
    if (count > *room)
        return api_error_set(out_error, 400, "invalid_value", key,
                             "%s: more than %d token ids in one request", key, TASK_TOKENS_MAX);
    int32_t *tokens = arena_array(call->arena, count, sizeof(*tokens));
    if (!tokens)
        return too_large(out_error, key);
    for (size_t i = 0; i < count; i++) {
        const json_t *token = json_array_get(list, i);
        if (!json_is_integer(token) || json_integer_value(token) < 0 ||
            json_integer_value(token) > INT32_MAX)
            return api_error_set(out_error, 400, "invalid_type", key,
                                 "%s[%zu] must be a token id: an integer from 0", key, i);
        tokens[i] = (int32_t)json_integer_value(token);
    }
    *room -= count;
    *out_input = (struct task_input){.is_tokens = true, .tokens = tokens, .token_count = count};
    return ERR_OK;
}

enum err task_param_text(struct call *call, const json_t *text, const char *key,
                         struct task_input *out_input, struct api_error *out_error)
{
    *out_input = (struct task_input){0};
    if (arena_dup(call->arena, json_slice(text), &out_input->text) != ERR_OK)
        return too_large(out_error, key);
    return ERR_OK;
}

enum err task_param_inputs(struct call *call, size_t count, const char *key,
                           struct task_input **out_inputs, struct api_error *out_error)
{
    if (count == 0 || count > TASK_INPUTS_MAX)
        return api_error_set(out_error, 400, "invalid_value", key,
                             "%s has %zu entries: allowed are 1..%d", key, count, TASK_INPUTS_MAX);
    struct task_input *inputs = arena_array(call->arena, count, sizeof(*inputs));
    if (!inputs)
        return too_large(out_error, key);
    call->request.task.inputs = inputs;
    call->request.task.input_count = count;
    *out_inputs = inputs;
    return ERR_OK;
}
