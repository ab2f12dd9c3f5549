/* replay_test - what is there of an answer: what is wrong with it is refused in words, where it was
 * whole it ends the same, and of its text nothing is said twice. */
#include "testing/test.h"
#include "base/mem.h"
#include "worker/replay.h"
#include "worker/toy_engine.h"

#include <stdio.h>

enum { A = 1, B = 2, HALF = 6, OTHER_HALF = 7, S = 12, T = 13, OP = 17, X = 19 };

static struct toy_engine toy;
static const struct slice stop[] = {SLICE("STOP")};

static struct core_job *job_of(const token_id *said, uint32_t count)
{
    toy_engine_init(&toy, 1, TOY_CONTEXT_MAX, 8);
    struct core_job *job = mem_alloc(sizeof(*job));
    job->prompt = mem_array(1 + count, sizeof(token_id));
    job->prompt[0] = X;
    if (count > 0)
        memcpy(job->prompt + 1, said, count * sizeof(token_id));
    job->prompt_count = 1;
    job->said.count = count;
    job->sampling = sampling_default();
    job->stops = stop;
    job->stop_count = ARRAY_COUNT(stop);
    job->max_tokens = 8;
    return job;
}

#define JOB(...)                                                                                   \
    job_of((const token_id[]){__VA_ARGS__}, sizeof((token_id[]){__VA_ARGS__}) / sizeof(token_id))

static void give_grammar(struct core_job *job, const char *text)
{
    struct grammar *grammar;
    CHECK_OK(grammar_parse(slice_str(text), &grammar, NULL));
    CHECK_OK(grammar_match_new(grammar, NULL, &job->match));
    grammar_unref(grammar);
}

static void check_refused(struct core_job *job, uint64_t text_bytes, const char *why)
{
    struct err_note note = {{0}};
    CHECK_ERR(replay_said(&toy.engine, job, text_bytes, &note), ERR_REFUSED);
    CHECK_STR(note.text, why);
    core_job_free(&job);
}

static void check_goes_on(struct core_job *job, uint64_t text_bytes, const char *unsaid,
                          uint32_t skip_bytes)
{
    struct err_note note = {{0}};
    CHECK_OK(replay_said(&toy.engine, job, text_bytes, &note));
    CHECK(!job->said.is_over);
    CHECK_SLICES(text_slice(&job->said.unsaid), slice_str(unsaid));
    CHECK_EQ(job->said.skip_bytes, skip_bytes);
    core_job_free(&job);
}

static void check_over(struct core_job *job, uint64_t text_bytes, enum done_reason reason,
                       const char *unsaid)
{
    struct err_note note = {{0}};
    CHECK_OK(replay_said(&toy.engine, job, text_bytes, &note));
    CHECK(job->said.is_over && job->said.reason == reason);
    CHECK_SLICES(text_slice(&job->said.unsaid), slice_str(unsaid));
    CHECK_SLICES(job->said.stop, reason == DONE_STOP ? stop[0] : (struct slice){0});
    core_job_free(&job);
}

TEST(text_that_the_asker_does_not_have_comes_with_the_next_token)
{
    check_goes_on(JOB(A, B, X), 3, "", 0);
    check_goes_on(JOB(A, B, X), 1, "bx", 0);
    check_goes_on(JOB(A, B, X), 0, "abx", 0);
    check_goes_on(JOB(A, S, T), 0, "a", 0); /* "ST" may become a stop */
    check_goes_on(job_of(NULL, 0), 0, "", 0);
}

/* The end was on its way: it had let go of what was held back. */
TEST(text_that_the_asker_has_too_much_of_is_left_out)
{
    check_goes_on(JOB(A, S, T), 3, "", 2);
    check_goes_on(JOB(A, S, T), 2, "", 1);
    check_goes_on(JOB(HALF), 3, "", 3); /* U+FFFD */
}

TEST(text_that_was_never_made_is_refused)
{
    check_refused(JOB(A, B), 3, "text_bytes is 3, but the answer so far has 2");
    check_refused(JOB(A, S, T), 4, "text_bytes is 4, but the answer so far has 1");
    check_refused(job_of(NULL, 0), 1, "text_bytes is 1, but the answer so far has 0");
    check_refused(JOB(A), UINT64_MAX,
                  "text_bytes is 18446744073709551615, but the answer so far has 1");
    check_refused(JOB(S, T, OP), 4, "text_bytes is 4, but the answer so far has 0");
    check_refused(JOB(HALF, OTHER_HALF), 2,
                  "text_bytes 2 of the answer so far ends within a character");
    check_refused(JOB(HALF), 1, "text_bytes is 1, but the answer so far has 0");
}

TEST(an_answer_that_was_whole_is_over_for_the_same_reason)
{
    check_over(JOB(A, S, T, OP), 0, DONE_STOP, "a");
    check_over(JOB(A, S, T, OP), 1, DONE_STOP, "");
    check_over(JOB(A, A, A, A, A, A, S, T), 6, DONE_LENGTH, "ST"); /* max_tokens lets go of it */
    check_over(JOB(A, A, A, A, A, A, A, HALF), 7, DONE_LENGTH, "\xEF\xBF\xBD");
    struct core_job *job = JOB(A, B);
    give_grammar(job, "root ::= \"ab\"");
    check_over(job, 2, DONE_EOS, "");
}

TEST(a_token_behind_the_end_or_that_is_one_is_refused)
{
    check_refused(JOB(S, T, OP, A), 0, "token 3 of the answer so far (id 1) stands behind its end");
    check_refused(JOB(A, TOY_END), 0,
                  "token 1 of the answer so far (id 0) is an end token, which is no part of an "
                  "answer");
    struct core_job *job = JOB(A, B, A);
    give_grammar(job, "root ::= \"ab\"");
    check_refused(job, 0, "token 2 of the answer so far (id 1) stands behind its end");
    job = JOB(A, X);
    give_grammar(job, "root ::= [ab]+");
    check_refused(job, 0,
                  "token 1 of the answer so far (id 19) is not what the grammar allows there");
}

/* The core follows it there, with the logits. */
TEST(with_mirostat_the_grammar_stays_at_its_beginning)
{
    for (uint8_t mirostat = 0; mirostat <= 2; mirostat++) {
        struct core_job *job = JOB(A, B);
        struct err_note note = {{0}};
        give_grammar(job, "root ::= [ab]+ \"x\"");
        uint64_t beginning = grammar_match_hash(job->match);
        job->sampling.mirostat = mirostat;
        CHECK_OK(replay_said(&toy.engine, job, 2, &note));
        CHECK_EQ(grammar_match_hash(job->match) == beginning, mirostat > 0);
        core_job_free(&job);
    }
}
