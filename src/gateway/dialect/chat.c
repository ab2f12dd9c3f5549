/* chat - POST /v1/chat/completions, in OpenAI's form. */
#include "gateway/dialect/dialects.h"
#include "gateway/dialect/openai.h"
#include "gateway/params.h"

static void open_text(uint32_t choice, struct text *out)
{
    text_add_f(out, "{\"index\":%u,\"delta\":{\"content\":", choice);
}

static void close_text(uint32_t choice, struct text *out)
{
    (void)choice; /* it has been told */
    text_add(out, SLICE("},\"logprobs\":null,\"finish_reason\":null}"));
}

static const struct openai_kind kind = {"chatcmpl-", "chat.completion.chunk", "chat.completion",
                                        open_text, close_text};

/* --- messages --- */

MUST_USE static enum err bad_message(struct api_error *out_error, size_t index, const char *what)
{
    return api_error_set(out_error, 400, "invalid_messages", "messages", "messages[%zu]%s", index,
                         what);
}

/* Text parts are joined; what is not text needs a model that takes it. */
MUST_USE static enum err read_parts(struct call *call, size_t index, const json_t *parts,
                                    struct slice *out_content, struct api_error *out_error)
{
    struct text joined;
    size_t count = json_array_size(parts);
    enum err err = ERR_OK;
    text_init(&joined, SIZE_MAX / 2); /* no longer than the body it comes from */
    for (size_t i = 0; i < count && err == ERR_OK; i++) {
        const json_t *part = json_array_get(parts, i), *text = json_object_get(part, "text");
        struct slice type = json_slice(json_object_get(part, "type"));
        if (slice_eq_str(type, "text") && json_is_string(text))
            text_add(&joined, json_slice(text));
        else if (slice_is_empty(type) || slice_eq_str(type, "text"))
            err = bad_message(out_error, index, ".content must be a string or a list of parts");
        else
            err = api_error_set(
                out_error, 400, "unsupported_content", "messages",
                "the model '" SLICE_FMT "' does not take parts of type '" SLICE_FMT "'",
                SLICE_ARG(slice_first(call->request.model, 64)), SLICE_ARG(slice_first(type, 32)));
    }
    if (err == ERR_OK && arena_dup(call->arena, text_slice(&joined), out_content) != ERR_OK)
        err = api_error_set(out_error, 413, "body_too_large", "messages", "messages are too large");
    text_fini(&joined);
    return err;
}

static bool is_known_role(struct slice role)
{
    static const char *const roles[] = {"system", "developer", "user", "assistant", "tool"};
    for (size_t i = 0; i < ARRAY_COUNT(roles); i++)
        if (slice_eq_str(role, roles[i]))
            return true;
    return false;
}

MUST_USE static enum err read_content(struct call *call, size_t index, const json_t *content,
                                      struct slice *out_content, struct api_error *out_error)
{
    if (json_is_array(content))
        return read_parts(call, index, content, out_content, out_error);
    if (!json_is_string(content))
        return bad_message(out_error, index, ".content must be a string or a list of parts");
    if (arena_dup(call->arena, json_slice(content), out_content) != ERR_OK)
        return api_error_set(out_error, 413, "body_too_large", "messages",
                             "messages are too large");
    return ERR_OK;
}

MUST_USE static enum err read_message(struct call *call, size_t index, const json_t *value,
                                      struct chat_message *out_message, struct api_error *out_error)
{
    if (!json_is_object(value))
        return bad_message(out_error, index, " must be an object");
    const json_t *tool_calls = json_object_get(value, "tool_calls");
    if (tool_calls && !param_is_false(tool_calls))
        return api_error_set(out_error, 400, "unsupported_parameter", "messages",
                             "messages[%zu].tool_calls is not supported", index);
    struct slice role = json_slice(json_object_get(value, "role"));
    if (!is_known_role(role))
        return bad_message(out_error, index,
                           ".role must be system, developer, user, assistant or tool");
    struct slice name = json_slice(json_object_get(value, "name"));
    if (name.len > REQUEST_NAME_MAX_BYTES)
        return bad_message(out_error, index, ".name is too long: allowed are 256 bytes");
    if (arena_dup(call->arena, role, &out_message->role) != ERR_OK ||
        arena_dup(call->arena, name, &out_message->name) != ERR_OK)
        return api_error_set(out_error, 413, "body_too_large", "messages",
                             "messages are too large");
    return read_content(call, index, json_object_get(value, "content"), &out_message->content,
                        out_error);
}

MUST_USE static enum err read_messages(struct call *call, const json_t *list,
                                       struct api_error *out_error)
{
    if (!json_is_array(list))
        return api_error_set(out_error, 400, "invalid_messages", "messages",
                             "messages must be array");
    size_t count = json_array_size(list);
    if (count == 0 || count > REQUEST_MESSAGES_MAX)
        return api_error_set(out_error, 400, "invalid_messages", "messages",
                             "messages has %zu entries: allowed are 1..%d", count,
                             REQUEST_MESSAGES_MAX);
    struct chat_message *messages = arena_array(call->arena, count, sizeof(*messages));
    if (!messages)
        return api_error_set(out_error, 413, "body_too_large", "messages",
                             "messages are too large");
    for (size_t i = 0; i < count; i++)
        TRY(read_message(call, i, json_array_get(list, i), &messages[i], out_error));
    call->request.prompt_kind = PROMPT_CHAT;
    call->request.messages = messages;
    call->request.message_count = count;
    return ERR_OK;
}

MUST_USE static enum err parse(struct call *call, const struct dialect_input *input,
                               struct api_error *out_error)
{
    int64_t max_tokens;
    TRY(openai_parse(call, input, out_error));
    max_tokens = call->request.max_tokens; /* max_completion_tokens is its new name, and wins */
    TRY(param_integer(input->body, "max_completion_tokens", 1, 1024 * 1024, &max_tokens,
                      out_error));
    call->request.max_tokens = (uint32_t)max_tokens;
    TRY(openai_choices(call, input->body, 1, out_error));
    return read_messages(call, json_object_get(input->body, "messages"), out_error);
}

/* --- stream --- */

static void stream_begin(struct call *call, uint32_t choice, struct text *out)
{
    openai_chunk_open(call, &kind, choice, out);
    text_add_f(out,
               "{\"index\":%u,\"delta\":{\"role\":\"assistant\",\"content\":\"\"},"
               "\"logprobs\":null,\"finish_reason\":null}",
               choice);
    openai_choices_close(call, out);
    openai_chunk_end(out);
}

static void add_delta(struct call *call, uint32_t choice, struct slice text, struct text *out)
{
    openai_text(call, &kind, choice, text, out);
    openai_chunk_end(out);
}

static void add_done(struct call *call, uint32_t choice, enum done_reason reason, struct text *out)
{
    openai_chunk_open(call, &kind, choice, out);
    text_add_f(out, "{\"index\":%u,\"delta\":{},\"logprobs\":null,\"finish_reason\":\"%s\"}",
               choice, openai_finish_reason(reason));
    openai_choices_close(call, out);
    openai_chunk_end(out);
}

static void stream_event(struct call *call, uint32_t choice, const struct event *event,
                         struct text *out)
{
    if (event->type == EVENT_DELTA)
        add_delta(call, choice, event->delta.text, out);
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
        text_add_f(out, "%s{\"index\":%u,\"message\":{\"role\":\"assistant\",\"content\":",
                   i > 0 ? "," : "", i);
        json_add_string(out, text_slice(&call->choice[i].whole));
        text_add_f(out, ",\"refusal\":null},\"logprobs\":null,\"finish_reason\":\"%s\"}",
                   openai_finish_reason(call->choice[i].reason));
    }
    openai_whole_close(call, out);
}

const struct dialect dialect_chat = {
    .name = "chat",
    .parse = parse,
    .stream_begin = stream_begin,
    .stream_event = stream_event,
    .stream_fault = openai_stream_fault,
    .stream_end = stream_end,
    .whole = whole,
};
