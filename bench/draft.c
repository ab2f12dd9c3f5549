/* draft - what guessing tokens from the text itself is worth (docs/design/023).
 *
 *     draft MODEL.gguf PROMPT TOKENS ROUNDS DRAFTS [TEMPERATURE]
 *
 * has the core make TOKENS of an answer to the file PROMPT, which is a chat's user message, at
 * TEMPERATURE (0) and beyond the end of the turn, in profile fast, in one slot, with one engine
 * thread and what steps cost learned; ROUNDS times, each with a seed of its own, without drafts and
 * with up to DRAFTS in a step, in turn. As in a worker the self-test says how many rows of a stream
 * a step may have. Prints one JSON object: that number; steps, drafted tokens and right ones of all
 * rounds; microseconds of CPU a token of both (the median of the rounds); how many times faster it
 * was, with the interval of 95 %; in how many rounds both said the same, token by token; and what a
 * guess takes.
 *
 * A model that quotes and is too large for a core's caches: make_model --quotes (tools/models). At
 * temperature 2 it takes one token in some for another, as who corrects a text does. */
#include "estimate.h"
#include "open_model.h"

#include "base/mem.h"
#include "worker/core.h"
#include "worker/draft.h"
#include "worker/selftest.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

enum {
    ARGUMENTS = 6,
    CONTEXT = 4096,
    PROMPT_MAX = 3000,
    TOKENS_MAX = 1000,
    ROUNDS_MAX = ESTIMATE_VALUES_MAX
};

struct way { /* of making the answer */
    struct core *core;
    token_id answer[TOKENS_MAX];
    uint32_t answer_count;
    double us[ROUNDS_MAX];
    uint64_t steps, drafted, right; /* of the answer; and of all rounds: */
    uint64_t all_steps, all_drafted, all_right;
};

struct bench {
    struct engine *engine;
    token_id prompt[PROMPT_MAX];
    size_t prompt_count;
    uint32_t tokens, rounds, drafts, rows, same_rounds;
    uint64_t seed;
    float temperature;
    struct way ways[2]; /* without drafts, with */
};

MUST_USE static int fail(const char *what)
{
    (void)fprintf(stderr, "draft: %s\n", what); /* it ends in any case */
    return 1;
}

/* Of the thread that computes: neighbours disturb it less than the time of day. */
static uint64_t clock_us(void *host)
{
    struct timespec now;
    (void)host;
    ASSERT(clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now) == 0);
    return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
}

static uint32_t number(const char *text, uint32_t most)
{
    char *end;
    unsigned long value = strtoul(text, &end, 10);
    return *text && *end == 0 && value <= most ? (uint32_t)value : UINT32_MAX;
}

/* --- the prompt --- */

static bool read_file(const char *path, struct text *out)
{
    char part[4096];
    size_t count;
    FILE *file = fopen(path, "rb");
    if (!file)
        return false;
    while ((count = fread(part, 1, sizeof(part), file)) > 0)
        text_add(out, slice_of(part, count));
    (void)fclose(file); /* it was only read */
    return text_status(out) == ERR_OK;
}

MUST_USE static enum err make_prompt(struct bench *bench, struct slice message)
{
    struct text prompt;
    struct err_note note = {{0}};
    text_init(&prompt, 1 << 20);
    struct engine_chat_message user = {.role = SLICE("user"), .content = message};
    if (!bench->engine->info.has_chat)
        text_add(&prompt, message);
    enum err err = bench->engine->info.has_chat
                       ? engine_chat(bench->engine, &user, 1, &prompt, &note)
                       : ERR_OK;
    if (err == ERR_OK)
        err = engine_tokenize(bench->engine, text_slice(&prompt), true, true, bench->prompt,
                              PROMPT_MAX, &bench->prompt_count);
    text_fini(&prompt);
    return err;
}

/* --- a round --- */

static struct core_job *new_job(const struct bench *bench)
{
    struct core_job *job = mem_alloc(sizeof(*job));
    *job = (struct core_job){.key = 1,
                             .prompt = mem_array(bench->prompt_count, sizeof(token_id)),
                             .prompt_count = (uint32_t)bench->prompt_count,
                             .sampling = sampling_default(),
                             .max_tokens = bench->tokens,
                             .ignore_eos = true,
                             .cancel = cancel_flag_new(),
                             .event_limit = UINT64_MAX,
                             .byte_limit = UINT64_MAX};
    job->sampling.temperature = bench->temperature;
    job->sampling.seed = bench->seed;
    memcpy(job->prompt, bench->prompt, bench->prompt_count * sizeof(token_id));
    return job;
}

/* Returns microseconds a token, from the first one on. */
static double run_answer(const struct bench *bench, struct way *way)
{
    struct core_report report;
    struct core_job *job = new_job(bench);
    uint64_t begin_us = 0, wake_us;
    core_report_init(&report);
    core_start(way->core, &job);
    way->answer_count = 0;
    way->steps = way->drafted = way->right = 0;
    while (core_has_work(way->core, clock_us(NULL), &wake_us)) {
        way->steps += begin_us > 0;
        if (!core_step(way->core, clock_us(NULL), &report))
            continue;
        for (size_t i = 0; i < report.result_count; i++)
            if (report.results[i].token_count > 0)
                way->answer[way->answer_count++] = report.results[i].token;
        way->drafted += report.tokens_drafted;
        way->right += report.drafts_right;
        if (begin_us == 0 && way->answer_count > 0)
            begin_us = clock_us(NULL);
    }
    core_report_fini(&report);
    return (double)(clock_us(NULL) - begin_us) / (way->answer_count - 1);
}

/* As the worker's self-test finds it (docs/design/022). */
static uint32_t rows_that_are_exact(struct engine *engine)
{
    struct selftest test;
    enum selftest_next next;
    selftest_init(&test, engine, true);
    while ((next = selftest_step(&test)) <= SELFTEST_EMPTY)
        ASSERT(next == SELFTEST_STEP || engine_seq_cut(engine, 0, 0) == ERR_OK);
    ASSERT(next == SELFTEST_OVER && engine_seq_cut(engine, 0, 0) == ERR_OK);
    uint32_t rows = selftest_result(&test).draft_rows_exact_max;
    selftest_fini(&test);
    return rows;
}

/* Twice: what steps cost is learned from the first. */
static double run_way(const struct bench *bench, struct way *way, uint32_t drafts)
{
    struct core_options options = core_options_default();
    options.learns_steps = true;
    options.clock_us = clock_us;
    options.draft_tokens_max = drafts;
    options.draft_is_exact = true;
    way->core = core_new(bench->engine, &options);
    core_set_draft_rows_exact_max(way->core, bench->rows);
    (void)run_answer(bench, way); /* its time is not a warm one's */
    double us = run_answer(bench, way);
    core_free(way->core);
    way->all_steps += way->steps;
    way->all_drafted += way->drafted;
    way->all_right += way->right;
    return us;
}

static bool are_same(const struct way *a, const struct way *b)
{
    return a->answer_count == b->answer_count &&
           memcmp(a->answer, b->answer, a->answer_count * sizeof(a->answer[0])) == 0;
}

static void run_rounds(struct bench *bench)
{
    for (uint32_t round = 0; round < bench->rounds; round++) {
        bench->seed = round + 1;
        for (uint32_t i = 0; i < 2; i++) {
            uint32_t way = (round + i) % 2; /* each is first as often as second */
            bench->ways[way].us[round] =
                run_way(bench, &bench->ways[way], way == 0 ? 0 : bench->drafts);
        }
        bench->same_rounds += are_same(&bench->ways[0], &bench->ways[1]);
    }
}

/* --- what came of it --- */

/* Microseconds of a guess, over the text as it came. */
static double guess_us(const struct bench *bench)
{
    const struct way *with = &bench->ways[1];
    uint32_t count = (uint32_t)bench->prompt_count, all = count + with->answer_count;
    token_id *text = mem_array(all, sizeof(*text));
    struct draft *draft = draft_new(all);
    ASSERT(draft);
    memcpy(text, bench->prompt, count * sizeof(*text));
    memcpy(text + count, with->answer, with->answer_count * sizeof(*text));
    (void)draft_follow(draft, text, count); /* brings the prompt in; what it guesses is not asked */
    uint64_t begin_us = clock_us(NULL);
    for (uint32_t i = count + 1; i <= all; i++)
        (void)draft_follow(draft, text, i); /* only its time is wanted */
    double us = (double)(clock_us(NULL) - begin_us) / with->answer_count;
    draft_free(draft);
    mem_free(text);
    return us;
}

static void print(const struct bench *bench)
{
    const struct way *without = &bench->ways[0], *with = &bench->ways[1];
    struct estimate faster = estimate_of_ratios(without->us, with->us, bench->rounds);
    printf("{\"model\": \"%s\", \"prompt_tokens\": %zu, \"tokens\": %u, \"rounds\": %u, "
           "\"rows\": %u, \"same_rounds\": %u, \"steps\": %" PRIu64 ", \"steps_without\": %" PRIu64
           ", \"drafted\": %" PRIu64 ", \"right\": %" PRIu64
           ", \"token_us\": %.1f, \"token_us_without\": %.1f, \"times_faster\": %.3f, "
           "\"times_faster_95\": [%.3f, %.3f], \"guess_us\": %.2f}\n",
           bench->engine->info.description, bench->prompt_count, with->answer_count, bench->rounds,
           bench->rows, bench->same_rounds, with->all_steps, without->all_steps, with->all_drafted,
           with->all_right, estimate_of(with->us, bench->rounds).mid,
           estimate_of(without->us, bench->rounds).mid, faster.mid, faster.low, faster.high,
           guess_us(bench));
}

static bool read_temperature(const char *text, float *out)
{
    char *end;
    *out = strtof(text, &end);
    return *text && *end == 0 && *out >= 0 && *out <= 2;
}

static bool read_arguments(struct bench *bench, int argc, char **argv)
{
    if (argc < ARGUMENTS || argc > ARGUMENTS + 1)
        return false;
    bench->tokens = number(argv[3], TOKENS_MAX);
    bench->rounds = number(argv[4], ROUNDS_MAX);
    bench->drafts = number(argv[5], DRAFT_MAX);
    return bench->tokens >= 2 && bench->tokens <= TOKENS_MAX && bench->rounds >= 1 &&
           bench->rounds <= ROUNDS_MAX && bench->drafts <= DRAFT_MAX &&
           (argc == ARGUMENTS || read_temperature(argv[ARGUMENTS], &bench->temperature));
}

int main(int argc, char **argv)
{
    struct bench *bench = mem_alloc(sizeof(*bench));
    struct text message;
    text_init(&message, 1 << 20);
    if (!read_arguments(bench, argc, argv))
        return fail("usage: draft MODEL.gguf PROMPT TOKENS(2..1000) ROUNDS(1..99) DRAFTS(0..15) "
                    "[TEMPERATURE(0..2)]");
    if (!read_file(argv[2], &message))
        return fail("the prompt cannot be read, or has more than 1 MiB");
    bench->engine = open_model(&(struct engine_llama_options){.model_path = argv[1],
                                                              .slots = 1,
                                                              .context_tokens = CONTEXT,
                                                              .fast = true,
                                                              .logits_per_slot = 1,
                                                              .logits_extra = bench->drafts});
    if (make_prompt(bench, text_slice(&message)) != ERR_OK)
        return fail("the prompt has more than 3000 tokens, or the model has no template for it");
    if (bench->prompt_count + bench->tokens > bench->engine->info.context_tokens)
        return fail("prompt and answer are longer than the model's context");
    bench->rows = rows_that_are_exact(bench->engine);
    run_rounds(bench);
    print(bench);
    engine_close(&bench->engine);
    text_fini(&message);
    mem_free(bench);
    return 0;
}
