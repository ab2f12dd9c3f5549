/* tokens - POST /tokenize and /detokenize, in llama-server's form:
 * {"content":"text","add_special":false,"parse_special":true,"with_pieces":false} ->
 * {"tokens":[...]}
 * {"tokens":[...]} -> {"content":"text"}.
 * With pieces a token is {"id":1,"piece":"a"}, and {"id":2,"piece":[195]} where its bytes are no
 * whole characters. Control tokens have no text, here as in answers. */
#include "base/utf8.h"
#include "gateway/dialect/dialects.h"
#include "gateway/task_params.h"

/* --- /tokenize --- */

MUST_USE static enum err parse_tokenize(struct call *call, const struct dialect_input *input,
                                        struct api_error *out_error)
{
    struct task *task = &call->request.task;
    struct task_input *inputs;
    TRY(task_param_common(call, input, TASK_TOKENIZE, out_error));
    const json_t *content = param_member(input->body, "content");
    if (!content)
        return api_error_set(out_error, 400, "missing_parameter", "content", "content is missing");
    if (!json_is_string(content))
        return param_wrong_type(out_error, "content", "a string");
    task->parse_special = true;
    TRY(param_bool(input->body, "add_special", &task->add_special, out_error));
    TRY(param_bool(input->body, "parse_special", &task->parse_special, out_error));
    TRY(param_bool(input->body, "with_pieces", &task->with_pieces, out_error));
    TRY(task_param_inputs(call, 1, "content", &inputs, out_error));
    return task_param_text(call, content, "content", inputs, out_error);
}

static void add_comma(struct text *list)
{
    if (list->len > 0)
        text_add_byte(list, ',');
}

static void add_bytes(struct text *list, struct slice bytes)
{
    text_add_byte(list, '[');
    for (size_t i = 0; i < bytes.len; i++)
        text_add_f(list, "%s%u", i ? "," : "", (unsigned)(unsigned char)bytes.data[i]);
    text_add_byte(list, ']');
}

static void add_piece(struct text *list, int32_t token, struct slice bytes)
{
    add_comma(list);
    text_add_f(list, "{\"id\":%d,\"piece\":", token);
    if (utf8_is_valid(bytes))
        json_add_string(list, bytes);
    else
        add_bytes(list, bytes);
    text_add_byte(list, '}');
}

static void take_tokens(struct call *call, const struct result *result)
{
    struct text *list = &call->choice[0].whole;
    struct slice rest = result->data, bytes;
    int32_t token;
    size_t count = result->kind == RESULT_TOKENS ? result_count(result) : 0;
    for (size_t i = 0; i < count; i++) {
        add_comma(list);
        text_add_i64(list, result_token(result, i));
    }
    while (result->kind == RESULT_PIECES && result_next_piece(&rest, &token, &bytes))
        add_piece(list, token, bytes);
}

static void whole_tokens(struct call *call, struct text *out)
{
    text_add(out, SLICE("{\"tokens\":["));
    text_add(out, text_slice(&call->choice[0].whole));
    text_add(out, SLICE("]}"));
}

/* --- /detokenize --- */

MUST_USE static enum err parse_detokenize(struct call *call, const struct dialect_input *input,
                                          struct api_error *out_error)
{
    struct task_input *inputs;
    size_t room = TASK_TOKENS_MAX;
    TRY(task_param_common(call, input, TASK_DETOKENIZE, out_error));
    const json_t *tokens = param_member(input->body, "tokens");
    if (!tokens)
        return api_error_set(out_error, 400, "missing_parameter", "tokens", "tokens is missing");
    if (!json_is_array(tokens))
        return param_wrong_type(out_error, "tokens", "a list of token ids");
    TRY(task_param_inputs(call, 1, "tokens", &inputs, out_error));
    return task_param_tokens(call, tokens, "tokens", &room, inputs, out_error);
}

/* Characters may be cut between parts: they are whole, or repaired, at the end. */
static void take_text(struct call *call, const struct result *result)
{
    if (result->kind == RESULT_TEXT)
        text_add(&call->choice[0].whole, result->data);
}

static void whole_text(struct call *call, struct text *out)
{
    text_add(out, SLICE("{\"content\":"));
    json_add_string(out, text_slice(&call->choice[0].whole));
    text_add_byte(out, '}');
}

const struct dialect dialect_tokenize = {
    .name = "tokenize",
    .parse = parse_tokenize,
    .take_result = take_tokens,
    .whole = whole_tokens,
};

const struct dialect dialect_detokenize = {
    .name = "detokenize",
    .parse = parse_detokenize,
    .take_result = take_text,
    .whole = whole_text,
};
