/* completions - POST /v1/completions, in OpenAI's form; and in that of "Serving v2" when streaming
 * is chosen by the query alone: each chunk then carries a top-level "delta" too, and the last one
 * "done":true. Choices are numbered prompt by prompt. */
#include "gateway/dialect/dialects.h"
#include "gateway/dialect/openai.h"
#include "gateway/params.h"

static void open_text(uint32_t choice, struct text *out)
{
    (void)choice; /* close_text() tells it */
    text_add(out, SLICE("{\"text\":"));
}

static void close_text(uint32_t choice, struct text *out)
{
    text_add_f(out, ",\"index\":%u,\"logprobs\":null,\"finish_reason\":null}", choice);
}

static const struct openai_kind kind = {"cmpl-", "text_completion", "text_completion", open_text,
                                        close_text};

/* --- prompt: a string, a list of strings (a choice each), or one list of token ids --- */

MUST_USE static enum err read_tokens(struct call *call, const json_t *list,
                                     struct api_error *out_error)
{
    size_t count = json_array_size(list);
    if (count > REQUEST_TOKENS_MAX)
        return api_error_set(out_error, 400, "invalid_value", "prompt",
                             "prompt has %zu token ids: allowed are %d", count, REQUEST_TOKENS_MAX);
    int32_t *tokens = arena_array(call->arena, count, sizeof(*tokens));
    if (!tokens)
        return api_error_set(out_error, 413, "body_too_large", "prompt", "prompt is too large");
    for (size_t i = 0; i < count; i++) {
        const json_t *token = json_array_get(list, i);
        if (!json_is_integer(token) || json_integer_value(token) < 0 ||
            json_integer_value(token) > INT32_MAX)
            return api_error_set(out_error, 400, "invalid_type", "prompt",
                                 "prompt[%zu] must be a token id, as the ones before it", i);
        tokens[i] = (int32_t)json_integer_value(token);
    }
    call->request.prompt_kind = PROMPT_TOKENS;
    call->request.tokens = tokens;
    call->request.token_count = count;
    return ERR_OK;
}

MUST_USE static enum err read_strings(struct call *call, const json_t *list,
                                      struct api_error *out_error)
{
    size_t count = json_array_size(list);
    if (count > CALL_CHOICES_MAX)
        return api_error_set(out_error, 400, "invalid_value", "prompt",
                             "prompt has %zu strings: allowed are 1..%d", count, CALL_CHOICES_MAX);
    struct slice *prompts = arena_array(call->arena, count, sizeof(*prompts));
    if (!prompts)
        return api_error_set(out_error, 413, "body_too_large", "prompt", "prompt is too large");
    for (size_t i = 0; i < count; i++) {
        if (!json_is_string(json_array_get(list, i)))
            return api_error_set(out_error, 400, "invalid_type", "prompt",
                                 "prompt[%zu] must be a string, as the ones before it", i);
        if (arena_dup(call->arena, json_slice(json_array_get(list, i)), &prompts[i]) != ERR_OK)
            return api_error_set(out_error, 413, "body_too_large", "prompt", "prompt is too large");
    }
    call->request.prompt = prompts[0];
    call->more_prompts = prompts + 1;
    call->choices = (uint32_t)count; /* as far as this is known: `n` is another factor */
    return ERR_OK;
}

MUST_USE static enum err read_prompt(struct call *call, const json_t *body,
                                     struct api_error *out_error)
{
    const json_t *prompt = json_object_get(body, "prompt");
    if (!json_is_array(prompt))
        return param_prompt(call, body, out_error);
    const json_t *first = json_array_get(prompt, 0);
    if (json_is_array(first) && json_array_size(prompt) == 1) /* [[1, 2, 3]]: one of one */
        prompt = first, first = json_array_get(first, 0);
    if (json_is_integer(first))
        return read_tokens(call, prompt, out_error);
    if (json_is_string(first))
        return read_strings(call, prompt, out_error);
    return api_error_set(out_error, 400, "invalid_type", "prompt",
                         "prompt must be a string, a list of 1..%d strings, or a list of token ids",
                         CALL_CHOICES_MAX);
}

MUST_USE static enum err parse(struct call *call, const struct dialect_input *input,
                               struct api_error *out_error)
{
    TRY(openai_parse(call, input, out_error));
    TRY(param_bool(input->body, "echo", &call->echo, out_error));
    TRY(read_prompt(call, input->body, out_error));
    TRY(openai_choices(call, input->body, call->choices, out_error));
    if (call->echo && call->request.prompt_kind == PROMPT_TOKENS)
        return api_error_set(out_error, 400, "unsupported_parameter", "echo",
                             "echo is not supported for a prompt of token ids");
    return ERR_OK;
}

/* --- stream --- */

static void add_piece(struct call *call, uint32_t choice, struct slice text, struct text *out)
{
    openai_text(call, &kind, choice, text, out);
    if (call->query_stream) {
        text_add(out, SLICE(",\"delta\":"));
        json_add_string(out, text);
    }
    openai_chunk_end(out);
}

static bool is_last(const struct call *call)
{
    for (uint32_t i = 0; i < call->choices; i++)
        if (!call->choice[i].done)
            return false;
    return true;
}

static void add_done(struct call *call, uint32_t choice, enum done_reason reason, struct text *out)
{
    openai_chunk_open(call, &kind, choice, out);
    text_add_f(out, "{\"text\":\"\",\"index\":%u,\"logprobs\":null,\"finish_reason\":\"%s\"}",
               choice, openai_finish_reason(reason));
    openai_choices_close(call, out);
    if (call->query_stream)
        text_add(out,
                 is_last(call) ? SLICE(",\"delta\":\"\",\"done\":true") : SLICE(",\"delta\":\"\""));
    openai_chunk_end(out);
}

static void stream_begin(struct call *call, uint32_t choice, struct text *out)
{
    if (call->echo)
        add_piece(call, choice, call_prompt(call, choice), out);
}

static void stream_event(struct call *call, uint32_t choice, const struct event *event,
                         struct text *out)
{
    if (event->type == EVENT_DELTA)
        add_piece(call, choice, event->delta.text, out);
    else if (event->type == EVENT_DONE)
        add_done(call, choice, event->done.reason, out);
    else
        openai_progress(call, &kind, choice, event, out);
}

static void stream_end(struct call *call, struct text *out)
{
    openai_stream_end(call, &kind, out);
}

/* --- whole --- */

static void whole(struct call *call, struct text *out)
{
    openai_whole_open(call, &kind, out);
    for (uint32_t i = 0; i < call->choices; i++) {
        text_add(out, i > 0 ? SLICE(",{\"text\":\"") : SLICE("{\"text\":\""));
        if (call->echo)
            json_add_escaped(out, call_prompt(call, i));
        json_add_escaped(out, text_slice(&call->choice[i].whole));
        text_add_f(out, "\",\"index\":%u,\"logprobs\":null,\"finish_reason\":\"%s\"}", i,
                   openai_finish_reason(call->choice[i].reason));
    }
    openai_whole_close(call, out);
}

const struct dialect dialect_completions = {
    .name = "completions",
    .parse = parse,
    .stream_begin = stream_begin,
    .stream_event = stream_event,
    .stream_fault = openai_stream_fault,
    .stream_end = stream_end,
    .whole = whole,
};
