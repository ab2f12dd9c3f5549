/* task_work_test - what becomes of a task on the pool: its results, its bounds, its refusals. */
#include "worker/task_work.h"

#include "base/mem.h"
#include "testing/test.h"
#include "wire/result.h"

#include <math.h>

enum { VOCAB = 4, MARK = 300, NUMBERS = 3 };

/* An engine of few tokens: a letter is one, and what ends a text is another. The third is part of a
 * character, the last has no text. */
static struct slice piece(struct engine *engine, token_id token, char *scratch,
                          size_t scratch_bytes)
{
    static const struct slice pieces[VOCAB] = {SLICE("a"), SLICE("bc"), SLICE("\xc3"), {0}};
    (void)engine, (void)scratch, (void)scratch_bytes;
    return pieces[token];
}

static enum err tokenize(struct engine *engine, struct slice text, bool add_special,
                         bool parse_special, token_id *out_tokens, size_t max_tokens,
                         size_t *out_count)
{
    (void)engine, (void)parse_special;
    if (slice_eq_str(text, "bad"))
        return ERR_PROTOCOL;
    *out_count = text.len + (add_special ? 1 : 0);
    if (*out_count > max_tokens)
        return ERR_LIMIT;
    for (size_t i = 0; i < *out_count; i++)
        out_tokens[i] = i < text.len ? (text.data[i] == 'a' ? 0 : 2) : 3;
    return ERR_OK;
}

/* (how many tokens, 0, the first one), or for a pair the number of tokens. */
static enum err embed(struct engine *engine, const token_id *tokens, size_t count,
                      enum engine_pooling pooling, bool (*should_abort)(void *ctx), void *ctx,
                      float *out_numbers, struct err_note *out_note)
{
    if (should_abort(ctx))
        return ERR_CANCELLED;
    if (count == engine->info.embed_tokens) /* the worst that it can be asked for */
        return err_note_fail(out_note, ERR_NO_MEMORY, "no memory for that");
    out_numbers[0] = (float)count;
    if (pooling == ENGINE_POOL_RANK)
        return ERR_OK;
    out_numbers[1] = 0;
    out_numbers[2] = (float)tokens[0];
    return ERR_OK;
}

static enum err pair(struct engine *engine, struct slice query, struct slice document,
                     token_id *out_tokens, size_t max_tokens, size_t *out_count)
{
    *out_count = query.len + document.len;
    if (*out_count > max_tokens)
        return ERR_LIMIT;
    memset(out_tokens, 0, *out_count * sizeof(*out_tokens));
    return engine->info.vocab_size > 0 ? ERR_OK : ERR_PROTOCOL;
}

static const struct engine_ops ops = {
    .tokenize = tokenize, .piece = piece, .embed = embed, .pair = pair};

static struct engine few(void)
{
    return (struct engine){.ops = &ops,
                           .info = {.vocab_size = VOCAB,
                                    .context_tokens = 8,
                                    .embed_numbers = NUMBERS,
                                    .embed_tokens = 8,
                                    .pooling = ENGINE_POOL_MEAN}};
}

static struct text submit_of(const struct task *task)
{
    struct text submit;
    struct request request = {.id = {1, 2},
                              .epoch = 1,
                              .inbox = SLICE("i"),
                              .model = SLICE("m"),
                              .credit_events = 1,
                              .credit_bytes = 1,
                              .task = *task};
    text_init(&submit, 64 << 20);
    request_encode(&request, &submit);
    CHECK_OK(text_status(&submit));
    return submit;
}

static enum err try_task(struct engine *engine, const struct task *task,
                         struct task_answer *out_answer, struct prep_refusal *out_refusal)
{
    struct cancel_flag *cancel = cancel_flag_new();
    struct text submit = submit_of(task);
    enum err err =
        task_work_do(engine, text_slice(&submit), task->kind, cancel, out_answer, out_refusal);
    text_fini(&submit);
    cancel_flag_unref(cancel);
    return err;
}

/* The data of all parts, which are all of one kind and of the first input. */
static struct text done(struct engine *engine, const struct task *task, enum result_kind kind,
                        uint32_t prompt_tokens)
{
    struct task_answer answer;
    struct prep_refusal refusal = {0};
    struct text all;
    struct result part;
    CHECK_OK(try_task(engine, task, &answer, &refusal));
    CHECK_EQ(answer.prompt_tokens, prompt_tokens);
    text_init(&all, TASK_RESULTS_MAX_BYTES);
    struct slice rest = text_slice(&answer.parts);
    while (task_answer_next(&rest, &part)) {
        CHECK_EQ(part.kind, kind);
        CHECK_EQ(part.input, 0);
        CHECK(part.data.len < TASK_RESULT_PART_BYTES + MARK);
        text_add(&all, part.data);
    }
    task_answer_fini(&answer);
    return all;
}

static struct prep_refusal refused(struct engine *engine, const struct task *task)
{
    struct task_answer answer;
    struct prep_refusal refusal = {0};
    CHECK_ERR(try_task(engine, task, &answer, &refusal), ERR_REFUSED);
    CHECK(refusal.message[0]);
    return refusal;
}

/* The numbers of input `index`; how many there are. */
static size_t numbers_of(const struct task_answer *answer, uint32_t index, float *out_numbers)
{
    struct slice rest = text_slice(&answer->parts);
    struct result part;
    size_t count = 0;
    while (task_answer_next(&rest, &part)) {
        CHECK_EQ(part.kind, RESULT_NUMBERS);
        for (size_t i = 0; part.input == index && i < result_count(&part); i++)
            out_numbers[count++] = result_number(&part, i);
    }
    return count;
}

static struct task tokenize_task(const struct task_input *text)
{
    return (struct task){.kind = TASK_TOKENIZE, .inputs = text, .input_count = 1};
}

TEST(a_text_is_its_tokens)
{
    struct engine engine = few();
    struct task_input input = {.text = SLICE("aba")};
    struct task task = tokenize_task(&input);
    struct text data = done(&engine, &task, RESULT_TOKENS, 3);
    CHECK_SLICES(text_slice(&data), SLICE("\0\0\0\0\2\0\0\0\0\0\0\0"));
    text_fini(&data);
    task.add_special = true;
    data = done(&engine, &task, RESULT_TOKENS, 4);
    CHECK_EQ(data.len, 16);
    text_fini(&data);
}

TEST(tokens_come_with_their_bytes)
{
    struct engine engine = few();
    struct task_input input = {.text = SLICE("ab")};
    struct task task = tokenize_task(&input);
    task.with_pieces = task.add_special = true;
    struct text data = done(&engine, &task, RESULT_PIECES, 3);
    CHECK_SLICES(text_slice(&data), SLICE("\0\0\0\0\1\0\0\0a"
                                          "\2\0\0\0\1\0\0\0\xc3"
                                          "\3\0\0\0\0\0\0\0"));
    text_fini(&data);
}

TEST(a_long_text_has_several_parts)
{
    enum { MANY = 100000 };
    static char many[MANY];
    struct engine engine = few();
    memset(many, 'a', sizeof(many));
    struct task_input input = {.text = slice_of(many, sizeof(many))};
    struct task task = tokenize_task(&input);
    struct text data = done(&engine, &task, RESULT_TOKENS, MANY);
    CHECK_EQ(data.len, 4 * MANY);
    text_fini(&data);
}

TEST(tokens_are_their_text)
{
    static const int32_t tokens[] = {1, 3, 2, 0};
    struct engine engine = few();
    struct task_input input = {.is_tokens = true, .tokens = tokens, .token_count = 4};
    struct task task = {.kind = TASK_DETOKENIZE, .inputs = &input, .input_count = 1};
    struct text data = done(&engine, &task, RESULT_TEXT, 4);
    CHECK_SLICES(text_slice(&data), SLICE("bc\xc3"
                                          "a"));
    text_fini(&data);
    input.token_count = 0;
    data = done(&engine, &task, RESULT_TEXT, 0);
    CHECK_EQ(data.len, 0);
    text_fini(&data);
}

TEST(what_the_model_does_not_have_is_refused_by_name)
{
    static const int32_t tokens[] = {1, VOCAB};
    struct engine engine = few();
    struct task_input input = {.is_tokens = true, .tokens = tokens, .token_count = 2};
    struct task task = {.kind = TASK_DETOKENIZE, .inputs = &input, .input_count = 1};
    struct prep_refusal refusal = refused(&engine, &task);
    CHECK_EQ(refusal.fault, FAULT_INVALID_REQUEST);
    CHECK_STR(refusal.param, "tokens");
    CHECK(strstr(refusal.message, "tokens[1] is 4") && strstr(refusal.message, "0..3"));

    input = (struct task_input){.text = SLICE("bad")};
    task = tokenize_task(&input);
    refusal = refused(&engine, &task);
    CHECK_EQ(refusal.fault, FAULT_INVALID_REQUEST);
    CHECK_STR(refusal.param, "content");
}

TEST(an_engine_whose_pieces_change_is_not_asked_for_them)
{
    static const int32_t token = 1;
    struct engine engine = few();
    engine.info.changing_pieces = true;
    struct task_input input = {.is_tokens = true, .tokens = &token, .token_count = 1};
    struct task task = {.kind = TASK_DETOKENIZE, .inputs = &input, .input_count = 1};
    CHECK_EQ(refused(&engine, &task).fault, FAULT_UNSUPPORTED_PARAMETER);
    input = (struct task_input){.text = SLICE("a")};
    task = tokenize_task(&input);
    struct text data = done(&engine, &task, RESULT_TOKENS, 1);
    text_fini(&data);
    task.with_pieces = true;
    CHECK_STR(refused(&engine, &task).param, "with_pieces");
}

/* 9 bytes for each token, where a token alone has 4. */
TEST(an_answer_has_a_bound)
{
    enum { MANY = 1 << 20 };
    char *many = mem_alloc(MANY);
    struct engine engine = few();
    memset(many, 'a', MANY);
    struct task_input input = {.text = slice_of(many, MANY)};
    struct task task = tokenize_task(&input);
    task.with_pieces = true;
    struct prep_refusal refusal = refused(&engine, &task);
    CHECK_EQ(refusal.fault, FAULT_INVALID_REQUEST);
    CHECK(strstr(refusal.message, "8388608") != NULL);
    mem_free(many);
}

/* --- embeddings --- */

static const int32_t ids[] = {2, 0, 3};
static const struct task_input three[] = {{.text = SLICE("aba")},
                                          {.is_tokens = true, .tokens = ids, .token_count = 3},
                                          {.text = SLICE("b")}};

static bool is_near(float a, double b)
{
    return fabs((double)a - b) < 1e-6;
}

TEST(every_input_gets_a_vector_of_length_one)
{
    struct engine engine = few();
    struct task task = {.kind = TASK_EMBED, .inputs = three, .input_count = 3};
    struct task_answer answer;
    struct prep_refusal refusal;
    float numbers[NUMBERS];
    CHECK_OK(try_task(&engine, &task, &answer, &refusal));
    CHECK_EQ(answer.prompt_tokens, 4 + 3 + 2); /* a text with what ends it */
    CHECK_EQ(numbers_of(&answer, 0, numbers), NUMBERS);
    CHECK(numbers[0] == 1 && numbers[1] == 0 && numbers[2] == 0);
    CHECK_EQ(numbers_of(&answer, 1, numbers), NUMBERS);
    CHECK(is_near(numbers[0], 3 / sqrt(13)) && is_near(numbers[2], 2 / sqrt(13)));
    task_answer_fini(&answer);
}

TEST(a_model_that_does_not_say_how_to_pool_has_to_be_told)
{
    struct engine engine = few();
    struct task task = {.kind = TASK_EMBED, .inputs = three, .input_count = 1};
    struct task_answer answer;
    struct prep_refusal refusal;
    engine.info.pooling = ENGINE_POOL_NONE;
    refusal = refused(&engine, &task);
    CHECK_STR(refusal.param, "pooling");
    task.pooling = TASK_LAST;
    CHECK_OK(try_task(&engine, &task, &answer, &refusal));
    task_answer_fini(&answer);
}

TEST(what_cannot_be_embedded_is_refused_by_its_index)
{
    struct engine engine = few();
    struct task_input inputs[] = {{.text = SLICE("a")}, {.is_tokens = true}};
    struct task task = {.kind = TASK_EMBED, .inputs = inputs, .input_count = 2};
    struct prep_refusal refusal = refused(&engine, &task);
    CHECK_EQ(refusal.fault, FAULT_INVALID_REQUEST);
    CHECK(strstr(refusal.message, "input[1]") != NULL);
    CHECK_STR(refusal.param, "input");
    inputs[1] = (struct task_input){.text = SLICE("aaaaaaaa")}; /* and one more */
    refusal = refused(&engine, &task);
    CHECK_EQ(refusal.fault, FAULT_CONTEXT_LENGTH_EXCEEDED);
    CHECK(strstr(refusal.message, "input[1] has 9 tokens") && strstr(refusal.message, "at most 8"));
    static const int32_t unknown = VOCAB;
    inputs[1] = (struct task_input){.is_tokens = true, .tokens = &unknown, .token_count = 1};
    refusal = refused(&engine, &task);
    CHECK_EQ(refusal.fault, FAULT_INVALID_REQUEST);
    CHECK(strstr(refusal.message, "input[1][0] is 4") != NULL);
    inputs[1] = (struct task_input){.text = SLICE("aaaaaaa")}; /* the engine has no memory for it */
    refusal = refused(&engine, &task);
    CHECK_EQ(refusal.fault, FAULT_INSUFFICIENT_MEMORY);
    CHECK_STR(refusal.message, "no memory for that");
}

TEST(more_numbers_than_an_answer_may_have_are_not_computed)
{
    struct engine engine = few();
    struct task task = {.kind = TASK_EMBED, .inputs = three, .input_count = 3};
    engine.info.embed_numbers = 1 << 20;
    struct prep_refusal refusal = refused(&engine, &task);
    CHECK_EQ(refusal.fault, FAULT_INVALID_REQUEST);
    CHECK(strstr(refusal.message, "3 vectors of 1048576 numbers") != NULL);
}

TEST(an_engine_without_embeddings_says_so)
{
    struct engine engine = few();
    struct task task = {.kind = TASK_EMBED, .inputs = three, .input_count = 1};
    engine.info.embed_numbers = 0;
    CHECK_EQ(refused(&engine, &task).fault, FAULT_UNSUPPORTED_PARAMETER);
    engine = few();
    engine.info.pooling = ENGINE_POOL_RANK;
    CHECK(strstr(refused(&engine, &task).message, "/v1/rerank") != NULL);
}

TEST(documents_get_a_score_each)
{
    static const struct task_input documents[] = {{.text = SLICE("a")}, {.text = SLICE("aaa")}};
    struct engine engine = few();
    struct task task = {
        .kind = TASK_RERANK, .inputs = documents, .input_count = 2, .query = SLICE("ab")};
    struct task_answer answer;
    struct prep_refusal refusal;
    float score[NUMBERS];
    CHECK_STR(refused(&engine, &task).param, "model");
    engine.info.pooling = ENGINE_POOL_RANK;
    engine.info.embed_numbers = 1;
    CHECK_OK(try_task(&engine, &task, &answer, &refusal));
    CHECK_EQ(numbers_of(&answer, 0, score), 1);
    CHECK(score[0] == 3); /* as it is: a score is no vector */
    CHECK_EQ(numbers_of(&answer, 1, score), 1);
    CHECK(score[0] == 5);
    task_answer_fini(&answer);
    task.query = SLICE("aaaaaa");
    refusal = refused(&engine, &task);
    CHECK_EQ(refusal.fault, FAULT_CONTEXT_LENGTH_EXCEEDED);
    CHECK(strstr(refusal.message, "documents[1]") != NULL);
}

/* --- bodies, cancelling, memory --- */

TEST(a_body_that_cannot_be_read_is_refused)
{
    struct engine engine = few();
    struct cancel_flag *cancel = cancel_flag_new();
    struct task_answer answer;
    struct prep_refusal refusal = {0};
    CHECK_ERR(task_work_do(&engine, SLICE("\0\0\0\0{}"), TASK_TOKENIZE, cancel, &answer, &refusal),
              ERR_REFUSED);
    CHECK_EQ(refusal.fault, FAULT_INVALID_REQUEST);
    CHECK_ERR(task_work_do(&engine, SLICE("\0\0"), TASK_TOKENIZE, cancel, &answer, &refusal),
              ERR_REFUSED);
    cancel_flag_unref(cancel);
}

TEST(what_was_cancelled_before_it_began_is_not_done)
{
    struct engine engine = few();
    struct cancel_flag *cancel = cancel_flag_new();
    struct task_answer answer;
    struct prep_refusal refusal = {0};
    struct task_input input = {.text = SLICE("a")};
    struct task task = tokenize_task(&input);
    struct text submit = submit_of(&task);
    atomic_store(&cancel->cancelled, true);
    CHECK_ERR(task_work_do(&engine, text_slice(&submit), TASK_TOKENIZE, cancel, &answer, &refusal),
              ERR_CANCELLED);
    text_fini(&submit);
    cancel_flag_unref(cancel);
}

/* Wherever memory runs out it is a refusal, and nothing is lost. */
TEST(no_memory_is_a_refusal)
{
    struct engine engine = few();
    struct cancel_flag *cancel = cancel_flag_new();
    struct task_input input = {.text = SLICE("aba")};
    struct task task = tokenize_task(&input);
    struct text submit = submit_of(&task);
    struct task_answer answer;
    struct prep_refusal refusal = {0};
    uint64_t before = mem_peer_count();
    CHECK_OK(task_work_do(&engine, text_slice(&submit), TASK_TOKENIZE, cancel, &answer, &refusal));
    task_answer_fini(&answer);
    uint64_t count = mem_peer_count() - before;
    CHECK(count > 0);
    for (uint64_t nth = 1; nth <= count; nth++) {
        refusal = (struct prep_refusal){0};
        mem_test_fail_nth(nth);
        enum err err =
            task_work_do(&engine, text_slice(&submit), TASK_TOKENIZE, cancel, &answer, &refusal);
        mem_test_fail_nth(0);
        CHECK(err == ERR_OK || (err == ERR_REFUSED && refusal.message[0]));
        if (err == ERR_OK) /* it could do without: a buffer that stayed larger than it had to be */
            task_answer_fini(&answer);
    }
    text_fini(&submit);
    cancel_flag_unref(cancel);
}
