/* core_grammar_test - what a sequence with a grammar says, on the toy engine: only what is allowed,
 * ended only where it may, and over when nothing is left to say. core_sim_test has random ones. */
#include "testing/test.h"
#include "worker/core_probe.h"
#include "worker/toy_engine.h"

#include <stdio.h>

struct rig {
    struct toy_engine toy;
    struct probes probes;
    struct grammar_vocab *vocab;
};

static const token_id prompt[] = {1, 2, 3};

static enum grammar_token_kind token_of(void *ctx, uint32_t token, struct slice *out_piece)
{
    (void)ctx;
    *out_piece = toy_engine_piece((token_id)token);
    bool is_end = token == TOY_END || token == TOY_END_OF_TEXT;
    return is_end ? GRAMMAR_TOKEN_END : GRAMMAR_TOKEN_TEXT;
}

static void open_rig(struct rig *rig)
{
    struct core_options options = core_options_default();
    toy_engine_init(&rig->toy, 2, TOY_CONTEXT_MAX, 64);
    probes_init(&rig->probes, &rig->toy.engine, &options);
    rig->vocab = grammar_vocab_new(TOY_VOCAB, token_of, NULL);
}

static void close_rig(struct rig *rig)
{
    probes_fini(&rig->probes);
    grammar_vocab_free(rig->vocab);
}

static struct probe *make(struct rig *rig, size_t index, const char *text,
                          const struct grammar_trigger *trigger)
{
    struct probe *probe = probe_make(&rig->probes, index, prompt, ARRAY_COUNT(prompt));
    struct grammar *grammar;
    struct grammar_triggers *triggers = NULL;
    CHECK_OK(grammar_parse(slice_str(text), &grammar, NULL));
    if (trigger)
        CHECK_OK(grammar_triggers_new(grammar, trigger, 1, &triggers, NULL));
    CHECK_OK(grammar_match_new(grammar, triggers, &probe->job.match));
    probe->job.vocab = rig->vocab;
    grammar_triggers_unref(triggers);
    grammar_unref(grammar);
    return probe;
}

static void run(struct rig *rig, size_t index)
{
    probe_start(&rig->probes, index);
    probes_run(&rig->probes);
}

TEST(it_says_what_is_allowed_and_is_over_without_a_step_for_the_end)
{
    struct rig rig;
    open_rig(&rig);
    struct probe *probe = make(&rig, 0, "root ::= \"xyz\" [S] \"T\"", NULL);
    run(&rig, 0);
    CHECK_SLICE(text_slice(&probe->text), "xyzST");
    CHECK(!probe->is_failed && probe->reason == DONE_EOS);
    CHECK_EQ(probe->completion_tokens, probe->id_count);
    CHECK_EQ(rig.toy.decodes, probe->id_count); /* the first came with the prompt */
    close_rig(&rig);
}

/* Whatever the end is worth, and with the last token that it may have. */
TEST(it_ends_where_it_may_and_not_before)
{
    struct rig rig;
    open_rig(&rig);
    static const struct logit_bias to_the_end[] = {{TOY_END, 100}};
    struct probe *probe = make(&rig, 0, "root ::= [ab]{5,}", NULL);
    probe->job.sampling.bias = to_the_end, probe->job.sampling.bias_count = 1;
    run(&rig, 0);
    CHECK(probe->text.len == 5 || probe->text.len == 6); /* the last piece may be "ab" */
    CHECK_EQ(probe->reason, DONE_EOS);

    probe = make(&rig, 1, "root ::= \"x\"{3}", NULL);
    probe->job.max_tokens = 3;
    run(&rig, 1);
    CHECK_SLICE(text_slice(&probe->text), "xxx");
    CHECK_EQ(probe->reason, DONE_EOS); /* said, not cut */

    probe = make(&rig, 2, "root ::= \"x\"{3}", NULL);
    probe->job.max_tokens = 2;
    run(&rig, 2);
    CHECK_EQ(probe->reason, DONE_LENGTH);
    close_rig(&rig);
}

TEST(ignoring_the_end_does_not_keep_it_from_being_over)
{
    struct rig rig;
    open_rig(&rig);
    struct probe *probe = make(&rig, 0, "root ::= [ab]{1,4}", NULL);
    probe->job.ignore_eos = true;
    run(&rig, 0);
    CHECK_EQ(probe->text.len, 4);
    CHECK_EQ(probe->reason, DONE_EOS);
    close_rig(&rig);
}

TEST(what_no_token_can_say_ends_with_an_error_and_the_others_go_on)
{
    struct rig rig;
    open_rig(&rig);
    struct probe *probe = make(&rig, 0, "root ::= [ab]{2} \"q\"", NULL);
    struct probe *other = make(&rig, 1, "root ::= [ab]{9}", NULL);
    probe_start(&rig.probes, 0);
    run(&rig, 1);
    CHECK(probe->is_failed && probe->id_count >= 1);
    CHECK_EQ(probe->fault, FAULT_INVALID_REQUEST);
    CHECK(slice_starts_with(slice_str(probe->message), SLICE("the grammar allows nothing here")));
    CHECK(!other->is_failed && other->text.len == 9);
    close_rig(&rig);
}

/* A model that has no numbers to tell is not the grammar's fault. */
TEST(a_row_without_numbers_is_the_models_fault)
{
    struct rig rig;
    open_rig(&rig);
    rig.toy.has_no_number = true;
    struct probe *probe = make(&rig, 0, "root ::= [ab]+", NULL);
    run(&rig, 0);
    CHECK(probe->is_failed);
    CHECK_EQ(probe->fault, FAULT_INTERNAL_ERROR);
    close_rig(&rig);
}

TEST(a_lazy_one_binds_behind_its_trigger)
{
    struct rig rig;
    open_rig(&rig);
    static const struct grammar_trigger trigger = {.word = SLICE("x"), .token = GRAMMAR_NO_TOKEN};
    uint32_t bound = 0;
    for (size_t i = 0; i < 20; i++) {
        struct probe *probe = make(&rig, i, "root ::= \"ab\"", &trigger);
        probe->job.sampling.temperature = 1.5f;
        probe->job.sampling.seed = i;
        probe->job.max_tokens = 60;
        probe->job.ignore_eos = true;
        run(&rig, i);
        struct slice text = text_slice(&probe->text);
        size_t at = slice_find_byte(text, 'x');
        CHECK(!probe->is_failed);
        if (at == SLICE_NPOS || probe->reason == DONE_LENGTH)
            continue;
        CHECK_SLICE(slice_after(text, at + 1), "ab");
        bound++;
    }
    CHECK(bound > 10);
    close_rig(&rig);
}
