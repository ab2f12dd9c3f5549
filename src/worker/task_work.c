/* task_work - from a submit to the results of its task. */
#include "worker/task_work.h"

#include "base/mem.h"
#include "wire/result.h"

#include <math.h>
#include <stdio.h>

enum {
    ARENA_FACTOR = 4, /* decoded, per byte of JSON: "1," is an id of 4 bytes */
    ARENA_SLACK = 64 * 1024,
    SPECIAL_TOKENS_MAX = 16, /* what a tokenizer adds to the tokens of a text */
    PART_LENGTH_BYTES = 4,
};

/* What the steps of one task share. */
struct task_work {
    struct engine *engine;
    const struct task *task;
    struct cancel_flag *cancel;
    struct task_answer *answer;
    struct prep_refusal *refusal;
    struct text data; /* of the part that is being made */
};

static enum err refuse(struct task_work *work, enum fault fault, const char *param,
                       const char *format, ...) PRINTF_LIKE(4, 5);

static enum err refuse(struct task_work *work, enum fault fault, const char *param,
                       const char *format, ...)
{
    va_list args;
    va_start(args, format);
    work->refusal->fault = fault;
    work->refusal->param = param;
    vsnprintf(work->refusal->message, sizeof(work->refusal->message), format, args);
    va_end(args);
    return ERR_REFUSED;
}

static enum err refuse_memory(struct task_work *work)
{
    return refuse(work, FAULT_INSUFFICIENT_MEMORY, NULL, "no memory for the task");
}

/* --- results --- */

/* Its length and its payload, behind those before it. */
static void end_part(struct task_work *work, uint32_t input, enum result_kind kind)
{
    struct result result = {.input = input, .kind = kind, .data = text_slice(&work->data)};
    result_add_token(&work->answer->parts, (int32_t)result_bytes(&result));
    result_encode(&result, &work->answer->parts);
    text_clear(&work->data);
}

static void end_part_if_full(struct task_work *work, uint32_t input, enum result_kind kind)
{
    if (work->data.len >= TASK_RESULT_PART_BYTES)
        end_part(work, input, kind);
}

bool task_answer_next(struct slice *rest, struct result *out_result)
{
    struct result length;
    if (rest->len == 0)
        return false;
    length = (struct result){.kind = RESULT_TOKENS, .data = slice_first(*rest, PART_LENGTH_BYTES)};
    struct slice behind = slice_after(*rest, PART_LENGTH_BYTES);
    size_t bytes = (size_t)result_token(&length, 0);
    enum err err = result_decode(slice_first(behind, bytes), out_result);
    ASSERT(err == ERR_OK); /* we wrote it */
    *rest = slice_after(behind, bytes);
    return true;
}

void task_answer_fini(struct task_answer *answer)
{
    text_fini(&answer->parts);
}

/* --- text to tokens --- */

struct tokens { /* mem_free(data) */
    token_id *data;
    size_t count;
};

/* Few texts have as many tokens as bytes, and none has many more. */
static enum err read_text(struct task_work *work, struct slice text, bool add_special,
                          bool parse_special, const char *param, struct tokens *out_tokens)
{
    size_t room = text.len + SPECIAL_TOKENS_MAX, count = 0;
    if (room > TASK_TOKENS_MAX)
        room = TASK_TOKENS_MAX;
    token_id *tokens = mem_peer_alloc(room * sizeof(*tokens));
    if (!tokens)
        return refuse_memory(work);
    enum err err =
        engine_tokenize(work->engine, text, add_special, parse_special, tokens, room, &count);
    if (err == ERR_OK) {
        *out_tokens = (struct tokens){tokens, count};
        return ERR_OK;
    }
    mem_free(tokens);
    if (err == ERR_LIMIT)
        return refuse(work, FAULT_INVALID_REQUEST, param,
                      "%s has %zu tokens: allowed are %zu in one request", param, count, room);
    return refuse(work, FAULT_INVALID_REQUEST, param, "%s cannot be tokenised (%s)", param,
                  err_name(err));
}

/* Some engines make pieces as they go: another thread cannot ask for them. */
static enum err check_pieces(struct task_work *work, const char *param)
{
    if (!work->engine->info.changing_pieces)
        return ERR_OK;
    return refuse(work, FAULT_UNSUPPORTED_PARAMETER, param,
                  "this model's tokens do not always stand for the same text");
}

static struct slice piece_of(const struct task_work *work, token_id token, char scratch[1])
{
    return engine_piece(work->engine, token, scratch, 1);
}

static void add_tokens(struct task_work *work, const struct tokens *tokens)
{
    enum result_kind kind = work->task->with_pieces ? RESULT_PIECES : RESULT_TOKENS;
    char scratch[1];
    for (size_t i = 0; i < tokens->count; i++) {
        if (kind == RESULT_TOKENS)
            result_add_token(&work->data, tokens->data[i]);
        else
            result_add_piece(&work->data, tokens->data[i],
                             piece_of(work, tokens->data[i], scratch));
        end_part_if_full(work, 0, kind);
    }
    end_part(work, 0, kind);
}

static enum err tokenize(struct task_work *work)
{
    const struct task *task = work->task;
    struct tokens tokens = {0};
    if (task->with_pieces)
        TRY(check_pieces(work, "with_pieces"));
    TRY(read_text(work, task->inputs[0].text, task->add_special, task->parse_special, "content",
                  &tokens));
    work->answer->prompt_tokens = (uint32_t)tokens.count;
    add_tokens(work, &tokens);
    mem_free(tokens.data);
    return ERR_OK;
}

/* --- tokens to text --- */

static enum err check_tokens(struct task_work *work, const struct task_input *input,
                             const char *param)
{
    uint32_t vocab = work->engine->info.vocab_size;
    for (size_t i = 0; i < input->token_count; i++)
        if (input->tokens[i] < 0 || (uint32_t)input->tokens[i] >= vocab)
            return refuse(work, FAULT_INVALID_REQUEST, param,
                          "%s[%zu] is %d: the model's vocabulary is 0..%u", param, i,
                          input->tokens[i], vocab - 1);
    return ERR_OK;
}

static enum err detokenize(struct task_work *work)
{
    const struct task_input *input = &work->task->inputs[0];
    char scratch[1];
    TRY(check_pieces(work, "tokens"));
    TRY(check_tokens(work, input, "tokens"));
    for (size_t i = 0; i < input->token_count && text_status(&work->answer->parts) == ERR_OK; i++) {
        text_add(&work->data, piece_of(work, input->tokens[i], scratch));
        end_part_if_full(work, 0, RESULT_TEXT);
    }
    end_part(work, 0, RESULT_TEXT);
    work->answer->prompt_tokens = (uint32_t)input->token_count;
    return ERR_OK;
}

/* --- embeddings --- */

static bool is_cancelled(void *ctx)
{
    const struct cancel_flag *cancel = ctx;
    return atomic_load(&cancel->cancelled);
}

static enum err choose_pooling(struct task_work *work, enum engine_pooling *out_pooling)
{
    static const enum engine_pooling wished[TASK_POOLING_COUNT] = {[TASK_MEAN] = ENGINE_POOL_MEAN,
                                                                   [TASK_CLS] = ENGINE_POOL_CLS,
                                                                   [TASK_LAST] = ENGINE_POOL_LAST};
    const struct engine_info *info = &work->engine->info;
    if (info->embed_numbers == 0)
        return refuse(work, FAULT_UNSUPPORTED_PARAMETER, "model",
                      "this model's engine makes no embeddings");
    if (info->pooling == ENGINE_POOL_RANK)
        return refuse(work, FAULT_UNSUPPORTED_PARAMETER, "model",
                      "this model makes no embeddings: it ranks documents (/v1/rerank)");
    *out_pooling = work->task->pooling ? wished[work->task->pooling] : info->pooling;
    if (*out_pooling == ENGINE_POOL_NONE)
        return refuse(work, FAULT_INVALID_REQUEST, "pooling",
                      "the model does not say how the vectors of a text's tokens become one: give "
                      "pooling, which may be mean, cls or last");
    return ERR_OK;
}

/* Before any of it is computed. */
static enum err check_numbers(struct task_work *work, const char *param)
{
    uint64_t part_bytes = RESULT_HEADER_BYTES + PART_LENGTH_BYTES;
    uint64_t parts = work->engine->info.embed_numbers * sizeof(float) / TASK_RESULT_PART_BYTES + 1;
    uint64_t bytes = work->task->input_count *
                     (work->engine->info.embed_numbers * sizeof(float) + parts * part_bytes);
    if (bytes <= TASK_RESULTS_MAX_BYTES)
        return ERR_OK;
    return refuse(work, FAULT_INVALID_REQUEST, param,
                  "%zu vectors of %u numbers are %llu bytes: allowed are %d in one request",
                  work->task->input_count, work->engine->info.embed_numbers,
                  (unsigned long long)bytes, TASK_RESULTS_MAX_BYTES);
}

static enum err check_length(struct task_work *work, size_t index, size_t count, const char *param)
{
    uint32_t most = work->engine->info.embed_tokens;
    if (count == 0)
        return refuse(work, FAULT_INVALID_REQUEST, param, "%s[%zu] has no tokens", param, index);
    if (count <= most)
        return ERR_OK;
    return refuse(work, FAULT_CONTEXT_LENGTH_EXCEEDED, param,
                  "%s[%zu] has %zu tokens: the model reads at most %u", param, index, count, most);
}

/* To the length 1, as OpenAI's are: then the product of two is their cosine. All zero stays so. */
static void normalise(float *numbers, size_t count)
{
    double sum = 0;
    for (size_t i = 0; i < count; i++)
        sum += (double)numbers[i] * (double)numbers[i];
    double factor = sum > 0 ? 1 / sqrt(sum) : 0;
    for (size_t i = 0; i < count; i++)
        numbers[i] = (float)((double)numbers[i] * factor);
}

static enum err refuse_engine(struct task_work *work, enum err err, const struct err_note *note)
{
    if (err == ERR_CANCELLED)
        return err;
    return refuse(work, err == ERR_NO_MEMORY ? FAULT_INSUFFICIENT_MEMORY : FAULT_INTERNAL_ERROR,
                  NULL, "%s", note->text);
}

/* What the model makes of the tokens, as a result of that input. */
static enum err read_numbers(struct task_work *work, size_t index, const struct tokens *tokens,
                             enum engine_pooling pooling, float *numbers)
{
    uint32_t count = work->engine->info.embed_numbers;
    struct err_note note = {{0}};
    enum err err = engine_embed(work->engine, tokens->data, tokens->count, pooling, is_cancelled,
                                work->cancel, numbers, &note);
    if (err != ERR_OK)
        return refuse_engine(work, err, &note);
    if (pooling != ENGINE_POOL_RANK)
        normalise(numbers, count);
    for (uint32_t i = 0; i < count; i++) {
        if (!isfinite(numbers[i]))
            return refuse(work, FAULT_INTERNAL_ERROR, NULL,
                          "the model made something that is no number of input %zu", index);
        result_add_number(&work->data, numbers[i]);
        if (i + 1 < count)
            end_part_if_full(work, (uint32_t)index, RESULT_NUMBERS);
    }
    end_part(work, (uint32_t)index, RESULT_NUMBERS);
    work->answer->prompt_tokens += (uint32_t)tokens->count;
    return ERR_OK;
}

static enum err copy_tokens(struct task_work *work, size_t index, const struct task_input *input,
                            struct tokens *out_tokens)
{
    char param[32];
    snprintf(param, sizeof(param), "input[%zu]", index);
    enum err err = check_tokens(work, input, param);
    work->refusal->param = "input"; /* whoever blames it has only the name */
    TRY(err);
    size_t bytes = input->token_count * sizeof(token_id);
    token_id *tokens = mem_peer_alloc(bytes + 1);
    if (!tokens)
        return refuse_memory(work);
    if (bytes)
        memcpy(tokens, input->tokens, bytes);
    *out_tokens = (struct tokens){tokens, input->token_count};
    return ERR_OK;
}

static enum err embed_input(struct task_work *work, size_t index, enum engine_pooling pooling,
                            float *numbers)
{
    const struct task_input *input = &work->task->inputs[index];
    struct tokens tokens = {0};
    if (input->is_tokens)
        TRY(copy_tokens(work, index, input, &tokens));
    else
        TRY(read_text(work, input->text, true, true, "input", &tokens));
    enum err err = check_length(work, index, tokens.count, "input");
    if (err == ERR_OK)
        err = read_numbers(work, index, &tokens, pooling, numbers);
    mem_free(tokens.data);
    return err;
}

static enum err embed(struct task_work *work)
{
    enum engine_pooling pooling = ENGINE_POOL_NONE;
    TRY(choose_pooling(work, &pooling));
    TRY(check_numbers(work, "input"));
    float *numbers = mem_array(work->engine->info.embed_numbers, sizeof(*numbers));
    enum err err = ERR_OK;
    for (size_t i = 0; err == ERR_OK && i < work->task->input_count; i++)
        err = embed_input(work, i, pooling, numbers);
    mem_free(numbers);
    return err;
}

/* --- rerank --- */

static enum err read_pair(struct task_work *work, size_t index, struct tokens *out_tokens)
{
    struct slice query = work->task->query, document = work->task->inputs[index].text;
    size_t room = work->engine->info.embed_tokens, count = 0;
    token_id *tokens = mem_peer_alloc(room * sizeof(*tokens));
    if (!tokens)
        return refuse_memory(work);
    enum err err = engine_pair(work->engine, query, document, tokens, room, &count);
    if (err == ERR_LIMIT)
        err = refuse(work, FAULT_CONTEXT_LENGTH_EXCEEDED, "documents",
                     "documents[%zu] and the query have %zu tokens: the model reads at most %zu",
                     index, count, room);
    else if (err != ERR_OK)
        err = refuse(work, FAULT_INVALID_REQUEST, "documents",
                     "documents[%zu] cannot be tokenised (%s)", index, err_name(err));
    else
        err = check_length(work, index, count, "documents");
    *out_tokens = (struct tokens){tokens, count};
    if (err != ERR_OK)
        mem_free(tokens);
    return err;
}

static enum err rerank(struct task_work *work)
{
    float score = 0;
    if (work->engine->info.pooling != ENGINE_POOL_RANK)
        return refuse(work, FAULT_UNSUPPORTED_PARAMETER, "model",
                      "this model cannot rank: it has no head that scores a query and a document "
                      "(pooling_type rank in its file)");
    for (size_t i = 0; i < work->task->input_count; i++) {
        struct tokens tokens = {0};
        TRY(read_pair(work, i, &tokens));
        enum err err = read_numbers(work, i, &tokens, ENGINE_POOL_RANK, &score);
        mem_free(tokens.data);
        TRY(err);
    }
    return ERR_OK;
}

/* --- all of them --- */

static enum err do_task(struct task_work *work)
{
    if (atomic_load(&work->cancel->cancelled))
        return ERR_CANCELLED;
    switch (work->task->kind) {
    case TASK_TOKENIZE:
        return tokenize(work);
    case TASK_DETOKENIZE:
        return detokenize(work);
    case TASK_EMBED:
        return embed(work);
    case TASK_RERANK:
        return rerank(work);
    case TASK_NONE:
    case TASK_COUNT:
        break;
    }
    return refuse(work, FAULT_INTERNAL_ERROR, NULL, "a task of no kind");
}

/* A piece of one token may be of any length, and so may a part: the answer as a whole may not. */
static enum err check_size(struct task_work *work)
{
    if (text_status(&work->data) == ERR_OK && text_status(&work->answer->parts) == ERR_OK)
        return ERR_OK;
    return refuse(work, FAULT_INVALID_REQUEST, NULL,
                  "the answer has more than %d bytes, which is the most", TASK_RESULTS_MAX_BYTES);
}

static enum err decode(struct slice submit, enum task_kind kind, struct arena *arena,
                       struct request *out_request, struct prep_refusal *refusal)
{
    struct err_note note = {0};
    struct request request = {.task.kind = kind};
    if (request_decode_body(submit, arena, &request, &note) == ERR_OK) {
        *out_request = request;
        return ERR_OK;
    }
    refusal->fault = FAULT_INVALID_REQUEST;
    refusal->param = NULL;
    snprintf(refusal->message, sizeof(refusal->message), "%s", note.text);
    return ERR_REFUSED;
}

enum err task_work_do(struct engine *engine, struct slice submit, enum task_kind kind,
                      struct cancel_flag *cancel, struct task_answer *out_answer,
                      struct prep_refusal *out_refusal)
{
    struct arena *arena = arena_new(ARENA_FACTOR * submit.len + ARENA_SLACK);
    struct task_answer answer = {0};
    struct request request;
    struct task_work work = {.engine = engine,
                             .task = &request.task,
                             .cancel = cancel,
                             .answer = &answer,
                             .refusal = out_refusal};
    text_init(&answer.parts, TASK_RESULTS_MAX_BYTES);
    text_init(&work.data, TASK_RESULTS_MAX_BYTES);
    enum err err = decode(submit, kind, arena, &request, out_refusal);
    if (err == ERR_OK)
        err = do_task(&work);
    if (err == ERR_OK)
        err = check_size(&work);
    if (err == ERR_OK)
        *out_answer = answer;
    else
        task_answer_fini(&answer);
    text_fini(&work.data);
    arena_free(arena);
    return err;
}
