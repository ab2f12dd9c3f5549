/* core_grammar - what a grammar adds to a step: microseconds of core_step() for one sequence on a
 * dummy engine that takes no time and has 150 000 tokens; without a grammar, with one that allows
 * all that the model says, and with one that refuses every pick (the worst: a second pick each
 * time). Best and median of 21 runs of 200 steps. One thread, no I/O. */
#include "base/clock.h"
#include "base/mem.h"
#include "worker/core.h"

#include <stdio.h>
#include <stdlib.h>

enum { TOKENS = 150000 - 257, RUNS = 21, STEPS = 200, ANSWER = RUNS * STEPS + 1 };

static enum grammar_token_kind token_of(void *ctx, uint32_t token, struct slice *out_piece)
{
    static char scratch[16];
    *out_piece = engine_piece(ctx, (token_id)token, scratch, sizeof(scratch));
    return engine_is_end(ctx, (token_id)token) ? GRAMMAR_TOKEN_END : GRAMMAR_TOKEN_TEXT;
}

static struct core_job *job_of(const char *text, const struct grammar_vocab *vocab,
                               float temperature)
{
    struct core_job *job = mem_alloc(sizeof(*job));
    job->key = 1;
    job->prompt = mem_array(1, sizeof(*job->prompt));
    job->prompt[0] = 'x' + 1;
    job->prompt_count = 1;
    job->sampling = sampling_default();
    job->sampling.temperature = temperature;
    job->sampling.has_seed = true;
    job->max_tokens = ANSWER;
    job->ignore_eos = true; /* [0-9]* may end anywhere */
    job->cancel = cancel_flag_new();
    job->event_limit = job->byte_limit = UINT64_MAX;
    if (text) {
        struct grammar *grammar;
        enum err err = grammar_parse(slice_str(text), &grammar, NULL);
        ASSERT(err == ERR_OK);
        err = grammar_match_new(grammar, NULL, &job->match);
        ASSERT(err == ERR_OK);
        grammar_unref(grammar);
        job->vocab = vocab;
    }
    return job;
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

static void measure(struct engine *engine, const struct grammar_vocab *vocab, const char *what,
                    const char *text, float temperature)
{
    struct core_options options = core_options_default();
    struct core *core = core_new(engine, &options);
    struct core_job *job = job_of(text, vocab, temperature);
    struct core_report report;
    double run_us[RUNS];
    core_report_init(&report);
    core_start(core, &job);
    bool says = core_step(core, 0, &report); /* the prompt, and the first mask */
    for (int run = 0; run < RUNS; run++) {
        uint64_t begin_us = clock_monotonic_us();
        for (int i = 0; i < STEPS; i++)
            says = core_step(core, 0, &report) && says;
        run_us[run] = (double)(clock_monotonic_us() - begin_us) / STEPS;
    }
    ASSERT(says);
    qsort(run_us, RUNS, sizeof(*run_us), by_value);
    printf("%-44s median %7.1f us   best %7.1f us\n", what, run_us[RUNS / 2], run_us[0]);
    core_report_fini(&report);
    core_free(core);
}

int main(void)
{
    static const char all[] = "root ::= .*", none[] = "root ::= [0-9]*";
    struct engine_dummy_options options = engine_dummy_options_default();
    struct engine *engine;
    options.slots = 1;
    options.context_tokens = ANSWER + 10;
    options.tokens = TOKENS;
    options.delay_us = 0;
    enum err err = engine_dummy_open(&options, NULL, NULL, &engine, NULL);
    ASSERT(err == ERR_OK);
    uint64_t begin_us = clock_monotonic_us();
    struct grammar_vocab *vocab = grammar_vocab_new(engine->info.vocab_size, token_of, engine);
    printf("the vocabulary's tree: %.0f ms\n", (double)(clock_monotonic_us() - begin_us) / 1000);
    for (int i = 0; i < 2; i++) {
        float temperature = i == 0 ? 0 : 0.8f;
        printf("temperature %.1f\n", (double)temperature);
        measure(engine, vocab, "  no grammar", NULL, temperature);
        measure(engine, vocab, "  all picks allowed", all, temperature);
        measure(engine, vocab, "  all picks refused, the mask kept", none, temperature);
    }
    grammar_vocab_free(vocab);
    engine_close(&engine);
    return 0;
}
