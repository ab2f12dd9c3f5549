/* engine_loop - the limit for one stream: the engine decodes, a token is picked, nobody is told.
 * What a server's stream costs above it is the serving.
 *
 *     engine_loop MODEL.gguf PROMPT TOKENS STREAMS CONTEXT
 *
 * puts in a prompt of PROMPT tokens and makes TOKENS of an answer, STREAMS times, one after the
 * other, in one slot of CONTEXT tokens, with one engine thread: as the worker does in profile
 * exact. Once with the worker's sampler as a request gets it that says nothing, once with the
 * likeliest token (a pass over the logits and no more). Prints one JSON object. */
#include "open_model.h"

#include "base/mem.h"
#include "base/splitmix.h"
#include "worker/sampler.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

enum { BATCH = 512, ARGUMENTS = 6, NUMBERS = 4 };

struct shape {
    uint64_t prompt, tokens, streams, context;
};

struct bench {
    struct shape shape;
    struct engine *engine;
    struct sampler *sampler; /* NULL: the likeliest */
    struct sampling sampling;
    struct engine_row rows[BATCH];
    token_id *history;
    uint64_t random;
};

static uint64_t process_ns(void)
{
    struct timespec now;
    ASSERT(clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now) == 0);
    return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

/* Ends the program: a figure of an engine that does not compute is none. */
static void must(enum err err, const char *what)
{
    if (err == ERR_OK)
        return;
    (void)fprintf(stderr, "engine_loop: %s: %s\n", what, err_name(err)); /* it ends in any case */
    exit(1);
}

static token_id likeliest(const float *logits, uint32_t count)
{
    uint32_t best = 0;
    for (uint32_t i = 1; i < count; i++)
        if (logits[i] > logits[best])
            best = i;
    return (token_id)best;
}

static token_id pick(struct bench *bench, size_t row, uint64_t index)
{
    const float *logits = engine_logits(bench->engine, row);
    token_id token = 0;
    struct sampler_input input = {.sampling = &bench->sampling,
                                  .logits = logits,
                                  .history = bench->history,
                                  .history_count = (size_t)(bench->shape.prompt + index),
                                  .index = index};
    if (!bench->sampler)
        return likeliest(logits, bench->engine->info.vocab_size);
    must(sampler_pick(bench->sampler, &input, &token), "sample");
    return token;
}

/* In chunks of a batch; returns the row whose logits come next. */
static size_t put_in_prompt(struct bench *bench)
{
    uint64_t done = 0;
    size_t count = 0;
    while (done < bench->shape.prompt) {
        for (count = 0; count < BATCH && done < bench->shape.prompt; count++, done++) {
            uint64_t token = splitmix_next(&bench->random) % bench->engine->info.vocab_size;
            bench->history[done] = (token_id)token;
            bench->rows[count] =
                (struct engine_row){.token = (token_id)token,
                                    .position = (uint32_t)done,
                                    .wants_logits = done + 1 == bench->shape.prompt};
        }
        must(engine_decode(bench->engine, bench->rows, count), "decode");
    }
    return count - 1;
}

static void run_stream(struct bench *bench)
{
    must(engine_seq_cut(bench->engine, 0, 0), "empty the slot");
    size_t row = put_in_prompt(bench);
    for (uint64_t index = 0; index < bench->shape.tokens; index++) {
        token_id token = pick(bench, row, index);
        uint64_t position = bench->shape.prompt + index;
        bench->history[position] = token;
        if (index + 1 == bench->shape.tokens)
            break; /* the last one is said, not put in */
        bench->rows[0] = (struct engine_row){
            .token = token, .position = (uint32_t)position, .wants_logits = true};
        must(engine_decode(bench->engine, bench->rows, 1), "decode");
        row = 0;
    }
}

/* Microseconds of CPU per token. The first stream warms up and does not count. */
static double measure(struct bench *bench)
{
    uint64_t start_ns = 0;
    for (uint64_t stream = 0; stream <= bench->shape.streams; stream++) {
        if (stream == 1)
            start_ns = process_ns();
        run_stream(bench);
    }
    uint64_t tokens = bench->shape.streams * bench->shape.tokens;
    return (double)(process_ns() - start_ns) / 1e3 / (double)tokens;
}

static enum err parse(int argc, char **argv, struct shape *out_shape, struct err_note *out_note)
{
    static const struct {
        const char *name;
        uint64_t max;
    } numbers[NUMBERS] = {
        {"PROMPT", 65536}, {"TOKENS", 65536}, {"STREAMS", 10000}, {"CONTEXT", 131072}};
    uint64_t values[NUMBERS];
    if (argc != ARGUMENTS)
        return err_note_fail(out_note, ERR_PROTOCOL,
                             "usage: engine_loop MODEL.gguf PROMPT TOKENS STREAMS CONTEXT");
    for (size_t i = 0; i < NUMBERS; i++)
        if (slice_parse_u64(slice_str(argv[i + 2]), numbers[i].max, &values[i]) != ERR_OK ||
            values[i] == 0)
            return err_note_fail(out_note, ERR_LIMIT, "%s %s: allowed are 1..%llu", numbers[i].name,
                                 argv[i + 2], (unsigned long long)numbers[i].max);
    if (values[0] + values[1] > values[3])
        return err_note_fail(out_note, ERR_LIMIT, "PROMPT and TOKENS do not fit into CONTEXT %s",
                             argv[ARGUMENTS - 1]);
    *out_shape = (struct shape){values[0], values[1], values[2], values[3]};
    return ERR_OK;
}

int main(int argc, char **argv)
{
    struct bench *bench = mem_alloc(sizeof(*bench));
    struct err_note note;
    if (parse(argc, argv, &bench->shape, &note) != ERR_OK) {
        (void)fprintf(stderr, "engine_loop: %s\n",
                      note.text); /* nobody is told if stderr is gone */
        mem_free(bench);
        return 2;
    }
    bench->engine =
        open_model(&(struct engine_llama_options){.model_path = argv[1],
                                                  .slots = 1,
                                                  .context_tokens = (uint32_t)bench->shape.context,
                                                  .batch_tokens = BATCH,
                                                  .logits_per_slot = 1});
    if (bench->shape.prompt + bench->shape.tokens > bench->engine->info.context_tokens)
        must(ERR_LIMIT, "the model's context is shorter than PROMPT and TOKENS");
    bench->sampling = sampling_default();
    bench->history = mem_array(bench->shape.prompt + bench->shape.tokens, sizeof *bench->history);
    double greedy_us = measure(bench);
    bench->sampler = sampler_new(bench->engine->info.vocab_size);
    double sampled_us = measure(bench);
    printf("{\"greedy_us_per_token\":%.3f,\"sampled_us_per_token\":%.3f}\n", greedy_us, sampled_us);
    sampler_free(bench->sampler);
    mem_free(bench->history);
    engine_close(&bench->engine);
    mem_free(bench);
}
