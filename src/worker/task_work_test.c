/* task_work_test - what becomes of a task on the pool: its results, its bounds, its refusals. */
#include "worker/task_work.h"

#include "base/mem.h"
#include "testing/test.h"
#include "wire/result.h"

enum { VOCAB = 4, MARK = 300 };

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

static const struct engine_ops ops = {.tokenize = tokenize, .piece = piece};

static struct engine few(void)
{
    return (struct engine){.ops = &ops, .info = {.vocab_size = VOCAB, .context_tokens = 8}};
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
