#include "testing/test.h"

#include "nano/answer_llama.h"

enum { CASES = 40, ALONE = 5 }; /* more than there are seats, and a few of them */

static const char model_path[] = SOURCE_ROOT "/models/nano.gguf";
static const struct exam_options copying = {.seed = 11, .cases = CASES, .family = &family_copying};

static struct answer_llama *open_model(void)
{
    struct answer_llama *answer = NULL;
    struct err_note note = {{0}};
    enum err err = answer_llama_open(model_path, 1, &answer, &note);
    if (err == ERR_NOT_FOUND)
        SKIP("%s", note.text);
    CHECK_STR(note.text, "");
    CHECK_OK(err);
    return answer;
}

/* The table must not depend on which cases sat together. */
TEST(an_answer_is_the_same_alone_and_in_company)
{
    struct answer_llama *answer = open_model();
    struct exam *together = exam_new(&copying), *alone = exam_new(&copying);
    CHECK_OK(exam_sit(together, answer_llama_all, answer, NULL));
    for (size_t i = 0; i < ALONE; i++) {
        size_t index = CASES - 1 - i; /* those that waited for a seat */
        CHECK_OK(answer_llama_all(answer, &alone->cases[index], 1, NULL));
        CHECK_SLICES(text_slice(&alone->cases[index].answer),
                     text_slice(&together->cases[index].answer));
    }
    exam_free(together);
    exam_free(alone);
    answer_llama_close(&answer);
}

TEST(every_case_is_answered_and_counted)
{
    struct answer_llama *answer = open_model();
    struct exam *exam = exam_new(&copying);
    CHECK_OK(exam_sit(exam, answer_llama_all, answer, NULL));
    size_t bytes = 0;
    for (size_t i = 0; i < exam->count; i++)
        bytes += exam->cases[i].answer.len;
    struct answer_llama_cost cost = answer_llama_cost(answer);
    CHECK(bytes > 0 && cost.answer_tokens > 0 && cost.prompt_tokens > exam->count);
    CHECK(cost.answer_tokens <= (uint64_t)CASES * ANSWER_TOKENS_MAX);
    CHECK(cost.steps < cost.answer_tokens + cost.prompt_tokens); /* they were in batches */
    exam_free(exam);
    answer_llama_close(&answer);
}

TEST(a_prompt_that_does_not_fit_is_not_answered_and_counted)
{
    struct answer_llama *answer = open_model();
    struct exam_case cases[2] = {{.family = &family_copying, .index = 7},
                                 {.family = &family_copying, .index = 8}};
    for (size_t i = 0; i < 2; i++) {
        text_init(&cases[i].prompt, 64 * 1024);
        text_init(&cases[i].answer, 64 * 1024);
    }
    for (int i = 0; i < 8000; i++)
        text_add_str(&cases[0].prompt, "7 ");
    text_add_str(&cases[1].prompt, "<|im_start|>user\nSay 7<|im_end|>\n<|im_start|>assistant\n");
    CHECK_OK(answer_llama_all(answer, cases, 2, NULL));
    CHECK_EQ(answer_llama_cost(answer).too_long, 1);
    CHECK_EQ(cases[0].answer.len, 0);
    CHECK(cases[1].answer.len > 0);
    for (size_t i = 0; i < 2; i++) {
        text_fini(&cases[i].prompt);
        text_fini(&cases[i].answer);
    }
    answer_llama_close(&answer);
}

TEST(a_file_that_is_no_model_is_refused)
{
    struct answer_llama *answer = open_model();
    answer_llama_close(&answer);
    struct err_note note;
    CHECK(answer_llama_open(SOURCE_ROOT "/meson.build", 1, &answer, &note) != ERR_OK);
}
