/* rerank - POST /v1/rerank, in Jina's form: how well each document answers the query, best first.
 * {"query":"...","documents":["...",{"text":"..."}],"top_n":3,"return_documents":false}. Scores are
 * the model's own: they order, and mean nothing across models. */
#include "gateway/dialect/dialects.h"
#include "gateway/task_params.h"

#include <stdio.h>
#include <stdlib.h>

struct scored {
    uint32_t index;
    float score;
};

struct ranking {
    struct scored *scored; /* of each document */
    uint32_t count, top;
    bool returns_documents;
};

/* --- request --- */

MUST_USE static enum err read_document(struct call *call, size_t index, const json_t *value,
                                       struct task_input *out_input, struct api_error *out_error)
{
    char key[32];
    snprintf(key, sizeof(key), "documents[%zu]", index);
    const json_t *text = json_is_object(value) ? json_object_get(value, "text") : value;
    if (!json_is_string(text))
        return api_error_set(out_error, 400, "invalid_type", "documents",
                             "%s must be a string, or an object with a string text", key);
    return task_param_text(call, text, key, out_input, out_error);
}

MUST_USE static enum err read_documents(struct call *call, const json_t *body,
                                        struct api_error *out_error)
{
    const json_t *documents = param_member(body, "documents");
    struct task_input *inputs;
    if (!documents)
        return api_error_set(out_error, 400, "missing_parameter", "documents",
                             "documents is missing");
    if (!json_is_array(documents))
        return param_wrong_type(out_error, "documents", "a list of strings");
    TRY(task_param_inputs(call, json_array_size(documents), "documents", &inputs, out_error));
    for (size_t i = 0; i < call->request.task.input_count; i++)
        TRY(read_document(call, i, json_array_get(documents, i), &inputs[i], out_error));
    return ERR_OK;
}

MUST_USE static enum err make_ranking(struct call *call, const json_t *body,
                                      struct api_error *out_error)
{
    uint32_t count = (uint32_t)call->request.task.input_count;
    int64_t top = count;
    struct ranking *ranking = arena_alloc(call->arena, sizeof(*ranking));
    struct scored *scored = arena_array(call->arena, count, sizeof(*scored));
    if (!ranking || !scored)
        return api_error_set(out_error, 413, "body_too_large", "documents",
                             "documents are too many");
    *ranking = (struct ranking){.scored = scored, .count = count};
    for (uint32_t i = 0; i < count; i++)
        scored[i] = (struct scored){.index = i};
    TRY(param_integer(body, "top_n", 1, INT32_MAX, &top, out_error));
    TRY(param_bool(body, "return_documents", &ranking->returns_documents, out_error));
    ranking->top = top < count ? (uint32_t)top : count;
    call->own = ranking;
    return ERR_OK;
}

MUST_USE static enum err parse(struct call *call, const struct dialect_input *input,
                               struct api_error *out_error)
{
    TRY(task_param_common(call, input, TASK_RERANK, out_error));
    if (!param_member(input->body, "query"))
        return api_error_set(out_error, 400, "missing_parameter", "query", "query is missing");
    TRY(param_string(call, input->body, "query", &call->request.task.query, out_error));
    TRY(read_documents(call, input->body, out_error));
    return make_ranking(call, input->body, out_error);
}

/* --- answer --- */

static void take_score(struct call *call, const struct result *result)
{
    struct ranking *ranking = call->own;
    if (result->kind == RESULT_NUMBERS && result_count(result) == 1 &&
        result->input < ranking->count)
        ranking->scored[result->input].score = result_number(result, 0);
}

static int best_first(const void *left, const void *right) /* equals: in their order */
{
    const struct scored *a = left, *b = right;
    if (a->score != b->score)
        return a->score > b->score ? -1 : 1;
    return a->index < b->index ? -1 : 1;
}

static void add_scored(const struct call *call, const struct scored *scored, struct text *out)
{
    const struct ranking *ranking = call->own;
    text_add_f(out, "{\"index\":%u,\"relevance_score\":%.9g", scored->index, (double)scored->score);
    if (ranking->returns_documents) {
        text_add(out, SLICE(",\"document\":{\"text\":"));
        json_add_string(out, call->request.task.inputs[scored->index].text);
        text_add_byte(out, '}');
    }
    text_add_byte(out, '}');
}

static void whole(struct call *call, struct text *out)
{
    struct ranking *ranking = call->own;
    uint32_t tokens = call->choice[0].prompt_tokens;
    qsort(ranking->scored, ranking->count, sizeof(*ranking->scored), best_first);
    text_add(out, SLICE("{\"object\":\"list\",\"model\":"));
    json_add_string(out, call->request.model);
    text_add_f(out, ",\"usage\":{\"prompt_tokens\":%u,\"total_tokens\":%u},\"results\":[", tokens,
               tokens);
    for (uint32_t i = 0; i < ranking->top; i++) {
        if (i > 0)
            text_add_byte(out, ',');
        add_scored(call, &ranking->scored[i], out);
    }
    text_add(out, SLICE("]}"));
}

const struct dialect dialect_rerank = {
    .name = "rerank",
    .repeats_prompt = true, /* its documents, if that is asked for; and its order lives there */
    .parse = parse,
    .take_result = take_score,
    .whole = whole,
};
