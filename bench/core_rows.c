/* core_rows - rows of the table beside llama-server (vs_llama_server.py), in the core alone and in
 * the CPU time of its one thread, so that they can be looked at on a machine that has other work:
 * what they count is exact there, and their times are near what a quiet one shows.
 *
 *     core_rows MODEL.gguf 1|2 [trace]
 *
 * 1: 4 streams run, then two prompts of 2000 tokens come, one after the other. 2: 32 prompts of 200
 * tokens (100 of a model above 20 MB) at once, with 48 tokens of an answer each. Steps are
 * calibrated first, as a worker does when it is idle. `trace`: a line for each step that had rows
 * of prompts: what it took, what decode() took and was foretold to take, what was saved and
 * restored before it, and the rows of each slot. */
#include "open_model.h"

#include "base/mem.h"
#include "base/splitmix.h"
#include "worker/calibration.h"
#include "worker/core.h"
#include "worker/core_host.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

enum { STREAMS_MAX = 40, CONTEXT = 4096, LONG = 2000, LARGE_BYTES = 20 << 20 };

static uint64_t thread_us(void *host)
{
    struct timespec now;
    (void)host;
    ASSERT(clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now) == 0);
    return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
}

/* --- the engine, watched --- */

static struct watch { /* of the step that runs */
    const struct engine_ops *ops;
    struct engine_ops watched;
    struct step_cost cost; /* learns what the core's does */
    struct step_shape shape;
    uint32_t rows[STREAMS_MAX], position[STREAMS_MAX]; /* of each slot */
    uint64_t decode_us, keep_us;
    double foretold_us;
    uint64_t kept_bytes;
} watch;

static enum err watch_decode(struct engine *engine, const struct engine_row *rows, size_t count)
{
    watch.shape = (struct step_shape){0};
    memset(watch.rows, 0, sizeof(watch.rows));
    for (size_t i = 0; i < count; i++)
        watch.position[rows[i].slot] = rows[i].position + 1 - ++watch.rows[rows[i].slot];
    for (uint32_t slot = 0; slot < engine->info.slots; slot++) {
        if (watch.rows[slot] == 1)
            step_shape_add_decode(&watch.shape, watch.position[slot]);
        else
            step_shape_add_prompt(&watch.shape, watch.position[slot], watch.rows[slot]);
    }
    watch.foretold_us = step_cost_us(&watch.cost, &watch.shape);
    uint64_t begin_us = thread_us(NULL);
    enum err err = watch.ops->decode(engine, rows, count);
    watch.decode_us = thread_us(NULL) - begin_us;
    step_cost_learn(&watch.cost, &watch.shape, watch.decode_us);
    return err;
}

static enum err watch_save(struct engine *engine, uint32_t slot, void **out_blob, size_t *out_bytes)
{
    uint64_t begin_us = thread_us(NULL);
    enum err err = watch.ops->seq_save(engine, slot, out_blob, out_bytes);
    watch.keep_us += thread_us(NULL) - begin_us;
    watch.kept_bytes += *out_bytes;
    return err;
}

static enum err watch_restore(struct engine *engine, uint32_t slot, const void *blob, size_t bytes)
{
    uint64_t begin_us = thread_us(NULL);
    enum err err = watch.ops->seq_restore(engine, slot, blob, bytes);
    watch.keep_us += thread_us(NULL) - begin_us;
    watch.kept_bytes += bytes;
    return err;
}

static void watch_engine(struct engine *engine)
{
    watch.ops = engine->ops;
    watch.watched = *engine->ops;
    watch.watched.decode = watch_decode;
    watch.watched.seq_save = watch_save;
    watch.watched.seq_restore = watch_restore;
    engine->ops = &watch.watched;
    step_cost_init(&watch.cost);
}

/* --- streams --- */

struct stream {
    uint32_t tokens; /* of its answer, so far */
    uint64_t start_us, first_us, last_us, worst_gap_us;
    bool is_over;
};

struct bench {
    struct engine *engine;
    struct core *core;
    struct core_report report;
    struct stream streams[STREAMS_MAX];
    uint32_t count;
    uint64_t random;
    bool has_trace;
};

/* Its key is its index. Returns it. */
static uint32_t start(struct bench *bench, uint32_t prompt_count, uint32_t answer)
{
    struct core_job *job = mem_alloc(sizeof(*job));
    *job = (struct core_job){.key = bench->count,
                             .prompt = mem_array(prompt_count, sizeof(token_id)),
                             .prompt_count = prompt_count,
                             .sampling = sampling_default(),
                             .max_tokens = answer,
                             .ignore_eos = true,
                             .cancel = cancel_flag_new(),
                             .event_limit = UINT64_MAX,
                             .byte_limit = UINT64_MAX};
    job->sampling.temperature = 0;
    for (uint32_t i = 0; i < prompt_count; i++)
        job->prompt[i] = (token_id)(splitmix_next(&bench->random) % bench->engine->info.vocab_size);
    ASSERT(bench->count < STREAMS_MAX);
    bench->streams[bench->count] = (struct stream){.start_us = thread_us(NULL)};
    core_start(bench->core, &job);
    return bench->count++;
}

static void print_step(uint64_t us)
{
    printf("%7.2f ms: decode %7.2f, foretold %7.2f; %5.2f for %llu KiB kept;", (double)us / 1000,
           (double)watch.decode_us / 1000, watch.foretold_us / 1000, (double)watch.keep_us / 1000,
           (unsigned long long)watch.kept_bytes / 1024);
    for (uint32_t slot = 0; slot < STREAMS_MAX; slot++) {
        if (watch.rows[slot] > 1)
            printf(" %u at %u", watch.rows[slot], watch.position[slot]);
    }
    printf(" + %u\n", watch.shape.decode_rows);
}

static void take(struct bench *bench, const struct core_result *result)
{
    struct stream *stream = &bench->streams[result->key];
    uint64_t now_us = thread_us(NULL);
    stream->is_over |= result->kind == CORE_DONE || result->kind == CORE_FAILED;
    if (result->kind != CORE_DELTA || result->token_count == 0)
        return;
    if (stream->tokens++ == 0)
        stream->first_us = now_us;
    else if (now_us - stream->last_us > stream->worst_gap_us)
        stream->worst_gap_us = now_us - stream->last_us;
    stream->last_us = now_us;
}

static void step(struct bench *bench)
{
    uint64_t begin_us = thread_us(NULL);
    watch.decode_us = watch.keep_us = watch.kept_bytes = 0;
    if (!core_step(bench->core, begin_us, &bench->report))
        bench->report.result_count = 0;
    for (size_t i = 0; i < bench->report.result_count; i++)
        take(bench, &bench->report.results[i]);
    if (bench->has_trace && (watch.shape.prompt_rows > 0 || watch.keep_us > 0))
        print_step(thread_us(NULL) - begin_us);
}

static void run_to_end(struct bench *bench, uint32_t index)
{
    while (!bench->streams[index].is_over)
        step(bench);
}

static double ttft_ms(const struct bench *bench, uint32_t index)
{
    const struct stream *stream = &bench->streams[index];
    return (double)(stream->first_us - stream->start_us) / 1000;
}

/* --- the core, as a worker has it behind its calibration --- */

static void calibrate(struct bench *bench)
{
    struct calibration calibration;
    struct step_shape shape;
    uint32_t count;
    struct engine_row *rows = mem_array(bench->engine->info.batch_tokens, sizeof(*rows));
    calibration_init(&calibration, &bench->engine->info);
    while (calibration_next(&calibration, rows, &count, &shape)) {
        ASSERT(engine_decode(bench->engine, rows, count) == ERR_OK);
        core_learn_step(bench->core, &shape, watch.decode_us);
    }
    core_empty_slots(bench->core, calibration_slots(&calibration));
    mem_free(rows);
}

static void open_core(struct bench *bench, const char *path, uint32_t slots, uint32_t context)
{
    struct core_options options = core_options_default();
    options.learns_steps = true;
    options.prefix_bytes_max = (size_t)1 << 30;
    options.clock_us = thread_us;
    bench->engine = open_model(&(struct engine_llama_options){.model_path = path,
                                                              .slots = slots,
                                                              .context_tokens = context,
                                                              .kv_memory_bytes = UINT64_MAX - 1,
                                                              .logits_per_slot = 1});
    watch_engine(bench->engine);
    bench->core = core_new(bench->engine, &options);
    core_report_init(&bench->report);
    bench->random = 1;
    calibrate(bench);
}

static void close_core(struct bench *bench)
{
    core_free(bench->core);
    core_report_fini(&bench->report);
    engine_close(&bench->engine);
}

/* --- row 1 --- */

enum { RUNNERS = 4, QUIET_STEPS = 100, PROMPTS = 2 };

static double longest_ttft_ms(struct bench *bench, uint32_t prompt_count)
{
    double longest = 0;
    for (int i = 0; i < PROMPTS; i++) {
        uint32_t index = start(bench, prompt_count, 4);
        run_to_end(bench, index);
        double ms = ttft_ms(bench, index);
        longest = ms > longest ? ms : longest;
    }
    return longest;
}

static void run_row1(struct bench *bench)
{
    uint32_t context = bench->engine->info.context_tokens;
    uint32_t prompt_count = LONG < context / 2 ? LONG : context / 2;
    double alone_ms = longest_ttft_ms(bench, prompt_count), gap_ms = 0;
    uint32_t first = bench->count;
    for (int i = 0; i < RUNNERS; i++)
        (void)start(bench, 20, context - 20); /* known by their keys: the next ones */
    while (bench->streams[first + RUNNERS - 1].tokens < 2)
        step(bench);
    uint64_t begin_us = thread_us(NULL);
    for (int i = 0; i < QUIET_STEPS; i++)
        step(bench);
    double step_ms = (double)(thread_us(NULL) - begin_us) / 1000 / QUIET_STEPS;
    for (int i = 0; i < RUNNERS; i++)
        bench->streams[first + (uint32_t)i].worst_gap_us = 0;
    double beside_ms = longest_ttft_ms(bench, prompt_count);
    for (int i = 0; i < RUNNERS; i++) {
        double ms = (double)bench->streams[first + (uint32_t)i].worst_gap_us / 1000;
        gap_ms = ms > gap_ms ? ms : gap_ms;
    }
    printf(
        "row 1: normal step %.2f ms, worst gap %.2f ms: %.2f of them; first token of a prompt of "
        "%u tokens %.0f ms, alone %.0f ms: %.2f times\n",
        step_ms, gap_ms, gap_ms / step_ms, prompt_count, beside_ms, alone_ms, beside_ms / alone_ms);
}

/* --- row 2 --- */

enum { CROWD = 32, CROWD_ANSWER = 48 };

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static void run_row2(struct bench *bench, uint32_t prompt_count)
{
    double first_ms[CROWD];
    uint64_t begin_us = thread_us(NULL);
    uint32_t steps = 0;
    for (int i = 0; i < CROWD; i++)
        (void)start(bench, prompt_count, CROWD_ANSWER); /* known by their keys: from 0 on */
    for (uint32_t i = 0; i < CROWD; i++) {
        for (; !bench->streams[i].is_over; steps++)
            step(bench);
    }
    double all_ms = (double)(thread_us(NULL) - begin_us) / 1000;
    for (uint32_t i = 0; i < CROWD; i++)
        first_ms[i] = ttft_ms(bench, i);
    qsort(first_ms, CROWD, sizeof(first_ms[0]), by_value);
    printf(
        "row 2: %d prompts of %u tokens at once: first token %.0f ms (median), %.0f ms (last); all "
        "over after %.0f ms and %u steps: %.0f tokens/s\n",
        CROWD, prompt_count, first_ms[CROWD / 2], first_ms[CROWD - 1], all_ms, steps,
        1000.0 * CROWD * CROWD_ANSWER / all_ms);
}

int main(int argc, char **argv)
{
    bool has_trace = argc == 4 && strcmp(argv[3], "trace") == 0;
    bool is_row1 = argc >= 3 && strcmp(argv[2], "1") == 0;
    if (argc < 3 || argc > 4 || (argc == 4 && !has_trace) ||
        !(is_row1 || strcmp(argv[2], "2") == 0)) {
        fprintf(stderr, "usage: core_rows MODEL.gguf 1|2 [trace]\n");
        return 2;
    }
    struct bench *bench = mem_alloc(sizeof(*bench));
    if (is_row1)
        open_core(bench, argv[1], RUNNERS + 1, CONTEXT);
    else
        open_core(bench, argv[1], CROWD, 512);
    bench->has_trace = has_trace;
    if (is_row1)
        run_row1(bench);
    else
        run_row2(bench, bench->engine->info.weights_bytes > LARGE_BYTES ? 100 : 200);
    close_core(bench);
    mem_free(bench);
    return 0;
}
