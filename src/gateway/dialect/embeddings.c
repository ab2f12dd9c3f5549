/* embeddings - POST /v1/embeddings, in OpenAI's form. `input` is a text, a list of texts, a list of
 * token ids, or a list of such lists. `pooling` (mean, cls, last) is ours: for a model that does
 * not say how the vectors of a text's tokens become one. Vectors have length 1. */
#include "gateway/base64.h"
#include "gateway/dialect/dialects.h"
#include "gateway/task_params.h"

#include <math.h>
#include <stdio.h>

/* --- request --- */

MUST_USE static enum err wrong_input(struct api_error *out_error)
{
    return param_wrong_type(out_error, "input",
                            "a string, a list of strings, a list of token ids, or a list of those");
}

/* All of one kind, as the first is. */
MUST_USE static enum err read_list(struct call *call, const json_t *list,
                                   struct api_error *out_error)
{
    struct task_input *inputs;
    size_t room = TASK_TOKENS_MAX;
    bool are_tokens = json_is_array(json_array_get(list, 0));
    TRY(task_param_inputs(call, json_array_size(list), "input", &inputs, out_error));
    for (size_t i = 0; i < call->request.task.input_count; i++) {
        const json_t *item = json_array_get(list, i);
        char key[32];
        snprintf(key, sizeof(key), "input[%zu]", i);
        if (are_tokens ? !json_is_array(item) : !json_is_string(item))
            return api_error_set(out_error, 400, "invalid_type", "input", "%s must be %s", key,
                                 are_tokens ? "a list of token ids, as the first" : "a string");
        if (are_tokens)
            TRY(task_param_tokens(call, item, key, &room, &inputs[i], out_error));
        else
            TRY(task_param_text(call, item, key, &inputs[i], out_error));
    }
    return ERR_OK;
}

MUST_USE static enum err read_input(struct call *call, const json_t *body,
                                    struct api_error *out_error)
{
    const json_t *input = param_member(body, "input"), *first = json_array_get(input, 0);
    struct task_input *inputs;
    size_t room = TASK_TOKENS_MAX;
    if (!input)
        return api_error_set(out_error, 400, "missing_parameter", "input", "input is missing");
    if (json_is_array(input) && !json_is_integer(first))
        return read_list(call, input, out_error);
    if (!json_is_array(input) && !json_is_string(input))
        return wrong_input(out_error);
    TRY(task_param_inputs(call, 1, "input", &inputs, out_error));
    return json_is_string(input)
               ? task_param_text(call, input, "input", inputs, out_error)
               : task_param_tokens(call, input, "input", &room, inputs, out_error);
}

MUST_USE static enum err read_format(struct call *call, const json_t *body,
                                     struct api_error *out_error)
{
    struct slice format = SLICE("float");
    TRY(param_string(call, body, "encoding_format", &format, out_error));
    call->is_base64 = slice_eq_str(format, "base64");
    if (call->is_base64 || slice_eq_str(format, "float"))
        return ERR_OK;
    return api_error_set(out_error, 400, "invalid_value", "encoding_format",
                         "encoding_format must be float or base64");
}

MUST_USE static enum err read_pooling(struct call *call, const json_t *body,
                                      struct api_error *out_error)
{
    struct slice name = SLICE("");
    TRY(param_string(call, body, "pooling", &name, out_error));
    for (int pooling = 0; pooling < TASK_POOLING_COUNT; pooling++)
        if (slice_eq_str(name, task_pooling_name((enum task_pooling)pooling))) {
            call->request.task.pooling = (enum task_pooling)pooling;
            return ERR_OK;
        }
    return api_error_set(out_error, 400, "invalid_value", "pooling",
                         "pooling must be mean, cls or last");
}

/* A vector that is cut is only good if the model was trained for that, which its file does not say:
 * so `dimensions` is refused. */
MUST_USE static enum err parse(struct call *call, const struct dialect_input *input,
                               struct api_error *out_error)
{
    static const struct param_refusal refusals[] = {{"dimensions", param_is_false}};
    TRY(task_param_common(call, input, TASK_EMBED, out_error));
    TRY(param_refuse(input->body, refusals, ARRAY_COUNT(refusals), out_error));
    TRY(read_format(call, input->body, out_error));
    TRY(read_pooling(call, input->body, out_error));
    return read_input(call, input->body, out_error);
}

/* --- answer --- */

static void close_vector(const struct call *call, struct text *out)
{
    text_add(out, call->is_base64 ? SLICE("\"}") : SLICE("]}"));
}

static void open_vector(const struct call *call, uint32_t index, struct text *out)
{
    text_add_f(out, "%s{\"object\":\"embedding\",\"index\":%u,\"embedding\":%c", index ? "," : "",
               index, call->is_base64 ? '"' : '[');
}

/* Of vectors of length 1 nine places after the point are all there is (a float has 2^-24), and take
 * a tenth of the time of %.9g: a request may have two million of them. */
static void add_number(float number, struct text *out)
{
    enum { PLACES = 9, UNIT = 1000000000 };
    if (!(fabsf(number) < 2)) {
        text_add_f(out, "%.9g", (double)number);
        return;
    }
    int64_t value = llrint(fabs((double)number) * UNIT);
    char digits[PLACES + 3] = "-0.";
    digits[1] = (char)('0' + value / UNIT);
    value %= UNIT;
    for (int i = PLACES - 1; i >= 0; i--, value /= 10)
        digits[3 + i] = (char)('0' + value % 10);
    bool is_negative = number < 0;
    text_add(out, slice_of(digits + !is_negative, sizeof(digits) - !is_negative));
}

/* `pieces` counts the vectors that have begun. */
static void take_numbers(struct call *call, const struct result *result)
{
    struct call_choice *choice = &call->choice[0];
    struct text *out = &choice->whole;
    if (result->kind != RESULT_NUMBERS)
        return;
    bool begins = result->input >= choice->pieces;
    if (begins && choice->pieces > 0)
        close_vector(call, out);
    if (begins)
        open_vector(call, choice->pieces++, out);
    if (call->is_base64) {
        base64_add(out, result->data); /* little-endian floats, as OpenAI has them */
        return;
    }
    for (size_t i = 0; i < result_count(result); i++) {
        if (i > 0 || !begins)
            text_add_byte(out, ',');
        add_number(result_number(result, i), out);
    }
}

static void whole(struct call *call, struct text *out)
{
    const struct call_choice *choice = &call->choice[0];
    text_add(out, SLICE("{\"object\":\"list\",\"data\":["));
    text_add(out, text_slice(&choice->whole));
    if (choice->pieces > 0)
        close_vector(call, out);
    text_add(out, SLICE("],\"model\":"));
    json_add_string(out, call->request.model);
    text_add_f(out, ",\"usage\":{\"prompt_tokens\":%u,\"total_tokens\":%u}}", choice->prompt_tokens,
               choice->prompt_tokens);
}

const struct dialect dialect_embeddings = {
    .name = "embeddings",
    .parse = parse,
    .take_result = take_numbers,
    .whole = whole,
};
