/* task - what a request asks for that generates nothing, to and from JSON. */
#include "wire/task.h"

#include "wire/fields.h"

static const char *const names[TASK_COUNT] = {[TASK_NONE] = "",
                                              [TASK_TOKENIZE] = "tokenize",
                                              [TASK_DETOKENIZE] = "detokenize",
                                              [TASK_EMBED] = "embed",
                                              [TASK_RERANK] = "rerank"};

static const char *const pooling_names[TASK_POOLING_COUNT] = {
    [TASK_POOLING_DEFAULT] = "", [TASK_MEAN] = "mean", [TASK_CLS] = "cls", [TASK_LAST] = "last"};

const char *task_name(enum task_kind kind)
{
    return (unsigned)kind < TASK_COUNT ? names[kind] : "?";
}

const char *task_pooling_name(enum task_pooling pooling)
{
    return (unsigned)pooling < TASK_POOLING_COUNT ? pooling_names[pooling] : "?";
}

/* --- encoding --- */

static void encode_input(const struct task_input *input, struct json_out *json)
{
    if (!input->is_tokens) {
        json_out_string(json, input->text);
        return;
    }
    json_out_begin_array(json);
    for (size_t i = 0; i < input->token_count; i++)
        json_out_i64(json, input->tokens[i]);
    json_out_end_array(json);
}

void task_encode(const struct task *task, struct json_out *json)
{
    json_out_begin_object(json);
    json_out_key(json, "inputs");
    json_out_begin_array(json);
    for (size_t i = 0; i < task->input_count; i++)
        encode_input(&task->inputs[i], json);
    json_out_end_array(json);
    if (task->kind == TASK_TOKENIZE) {
        json_out_add_bool(json, "add_special", task->add_special);
        json_out_add_bool(json, "parse_special", task->parse_special);
        json_out_add_bool(json, "with_pieces", task->with_pieces);
    }
    if (task->kind == TASK_EMBED && task->pooling != TASK_POOLING_DEFAULT)
        json_out_add_string(json, "pooling", slice_str(pooling_names[task->pooling]));
    if (task->kind == TASK_RERANK)
        json_out_add_string(json, "query", task->query);
    json_out_end_object(json);
}

/* --- decoding --- */

static bool may_be(enum task_kind kind, const json_t *item)
{
    bool takes_text = kind != TASK_DETOKENIZE;
    bool takes_tokens = kind == TASK_DETOKENIZE || kind == TASK_EMBED;
    return (takes_text && json_is_string(item)) || (takes_tokens && json_is_array(item));
}

/* `room`: ids that all inputs may still have. */
static void decode_tokens(struct fields *fields, const json_t *array, size_t *room,
                          struct task_input *input)
{
    size_t count = json_array_size(array);
    if (count > *room) {
        fields_fail(fields, ERR_LIMIT, "inputs", "too many token ids");
        return;
    }
    int32_t *tokens = fields_memory(fields, "inputs", count, sizeof(*tokens));
    for (size_t i = 0; tokens && i < count; i++)
        tokens[i] = fields_token(fields, "inputs", json_array_get(array, i));
    *input = (struct task_input){.is_tokens = true, .tokens = tokens, .token_count = count};
    *room -= count;
}

static void decode_inputs(struct fields *fields, struct task *task)
{
    const json_t *array = fields_optional_array(fields, "inputs", TASK_INPUTS_MAX);
    size_t count = json_array_size(array), room = TASK_TOKENS_MAX;
    bool is_one = task->kind == TASK_TOKENIZE || task->kind == TASK_DETOKENIZE;
    if (count == 0 || (is_one && count > 1)) {
        fields_fail(fields, ERR_PROTOCOL, "inputs", "a list of one or, where it may be, more");
        return;
    }
    struct task_input *inputs = fields_memory(fields, "inputs", count, sizeof(*inputs));
    for (size_t i = 0; inputs && i < count && fields->err == ERR_OK; i++) {
        const json_t *item = json_array_get(array, i);
        if (!may_be(task->kind, item))
            fields_fail(fields, ERR_PROTOCOL, "inputs", "of the wrong type for this task");
        else if (json_is_array(item))
            decode_tokens(fields, item, &room, &inputs[i]);
        else
            inputs[i] =
                (struct task_input){.text = fields_item_string(fields, "inputs", item, SIZE_MAX)};
    }
    task->inputs = inputs;
    task->input_count = count;
}

static enum task_pooling decode_pooling(struct fields *fields)
{
    if (!fields_has(fields, "pooling"))
        return TASK_POOLING_DEFAULT;
    return (enum task_pooling)(TASK_MEAN + fields_choice(fields, "pooling",
                                                         pooling_names + TASK_MEAN,
                                                         TASK_POOLING_COUNT - TASK_MEAN));
}

void task_decode(struct fields *fields, enum task_kind kind, struct task *out_task)
{
    struct task task = {.kind = kind};
    decode_inputs(fields, &task);
    if (kind == TASK_TOKENIZE) {
        task.add_special = fields_bool(fields, "add_special");
        task.parse_special = fields_bool(fields, "parse_special");
        task.with_pieces = fields_bool(fields, "with_pieces");
    }
    if (kind == TASK_EMBED)
        task.pooling = decode_pooling(fields);
    if (kind == TASK_RERANK)
        task.query = fields_string(fields, "query", SIZE_MAX);
    if (fields->err == ERR_OK)
        *out_task = task;
}

enum task_kind task_decode_kind(struct fields *fields)
{
    if (!fields_has(fields, "task"))
        return TASK_NONE;
    return (enum task_kind)(TASK_TOKENIZE + fields_choice(fields, "task", names + TASK_TOKENIZE,
                                                          TASK_COUNT - TASK_TOKENIZE));
}
