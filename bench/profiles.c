/* profiles - what profile fast is worth: the engine as the worker opens it in profile exact, in
 * fast, and in fast with a packed cache, in turn (docs/design/031); the last only where a head is
 * of whole blocks of 32 numbers.
 *
 *     profiles SECONDS MODEL.gguf...
 *
 * Prompts, and decodes of 1, 4 and 8 streams, behind a short and a long context; rounds of all
 * three until SECONDS have gone for a model, three at least. Prints a table for each model:
 * tokens/s of the CPU time of the one engine thread, so that other work on the machine disturbs
 * less, and what fast has of exact in the median round, with its interval of 95 %. */
#include "estimate.h"
#include "open_model.h"

#include "base/mem.h"
#include "base/splitmix.h"
#include "engine/gguf.h"

#include <stdio.h>
#include <time.h>

enum {
    SLOTS = 8,
    CONTEXT = 1280,
    BATCH = 512,
    STEPS = 8,       /* of each width */
    SHORT_TIMES = 8, /* that the short prompt is put in: one alone is too soon over */
    ROUNDS_MIN = 3,
    ROUNDS_MAX = ESTIMATE_VALUES_MAX,
    SECONDS_MAX = 3600
};

static const uint32_t lengths[] = {64, 1024}; /* of the context */
static const uint32_t widths[] = {1, 4, SLOTS};
enum {
    LENGTHS = ARRAY_COUNT(lengths),
    WIDTHS = ARRAY_COUNT(widths),
};

enum way { EXACT, FAST, PACKED, WAY_COUNT };
static const char *const way_names[WAY_COUNT] = {"exact", "fast", "fast, q8_0 cache"};

struct rates { /* tokens/s, by round */
    double prompt[LENGTHS][ROUNDS_MAX], decode[LENGTHS][WIDTHS][ROUNDS_MAX];
};

struct bench {
    uint32_t ways; /* WAY_COUNT, or without PACKED */
    struct engine *engines[WAY_COUNT];
    struct rates rates[WAY_COUNT];
    uint32_t rounds;
    uint64_t random;
};

static double seconds_of(clockid_t clock)
{
    struct timespec now;
    ASSERT(clock_gettime(clock, &now) == 0);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

/* A figure of an engine that does not compute is none. */
static void must(enum err err)
{
    ASSERT_MSG(err == ERR_OK, "the engine: %s", err_name(err));
}

static void empty_slots(struct engine *engine)
{
    for (uint32_t slot = 0; slot < SLOTS; slot++)
        must(engine_seq_cut(engine, slot, 0));
}

static struct engine_row row_of(struct bench *bench, struct engine *engine, uint32_t slot,
                                uint32_t position)
{
    uint64_t token = splitmix_next(&bench->random) % engine->info.vocab_size;
    return (struct engine_row){.token = (token_id)token, .position = position, .slot = slot};
}

/* Into slot 0, whatever was in it. Returns how long it took. */
static double put_in_prompt(struct bench *bench, struct engine *engine, uint32_t length)
{
    struct engine_row rows[BATCH];
    double begin = seconds_of(CLOCK_THREAD_CPUTIME_ID);
    must(engine_seq_cut(engine, 0, 0));
    for (uint32_t done = 0; done < length;) {
        uint32_t count = 0;
        for (; count < BATCH && done < length; count++, done++)
            rows[count] = row_of(bench, engine, 0, done);
        rows[count - 1].wants_logits = done == length;
        must(engine_decode(engine, rows, count));
    }
    return seconds_of(CLOCK_THREAD_CPUTIME_ID) - begin;
}

/* What slot 0 holds, for `width` slots. */
static void share_prompt(struct engine *engine, uint32_t width)
{
    void *blob;
    size_t bytes;
    must(engine_seq_save(engine, 0, &blob, &bytes));
    for (uint32_t slot = 1; slot < width; slot++) {
        must(engine_seq_cut(engine, slot, 0));
        must(engine_seq_restore(engine, slot, blob, bytes));
    }
    mem_free(blob);
}

/* Tokens/s of STEPS steps behind one more, which warms up. The slots are then as they were. */
static double decode(struct bench *bench, struct engine *engine, uint32_t length, uint32_t width)
{
    struct engine_row rows[SLOTS];
    double begin = 0;
    for (uint32_t step = 0; step <= STEPS; step++) {
        for (uint32_t slot = 0; slot < width; slot++) {
            rows[slot] = row_of(bench, engine, slot, length + step);
            rows[slot].wants_logits = true;
        }
        begin = step == 1 ? seconds_of(CLOCK_THREAD_CPUTIME_ID) : begin;
        must(engine_decode(engine, rows, width));
    }
    double seconds = seconds_of(CLOCK_THREAD_CPUTIME_ID) - begin;
    for (uint32_t slot = 0; slot < width; slot++)
        must(engine_seq_cut(engine, slot, length));
    return STEPS * width / seconds;
}

/* As many slots are filled as run: the others of a server with one stream are empty, too, or their
 * cells are passed over. */
static void measure(struct bench *bench, enum way way, uint32_t length)
{
    struct engine *engine = bench->engines[way];
    struct rates *rates = &bench->rates[way];
    uint32_t tokens = lengths[length], times = tokens < BATCH ? SHORT_TIMES : 1;
    double seconds = 0;
    empty_slots(engine);
    for (uint32_t i = 0; i < times; i++)
        seconds += put_in_prompt(bench, engine, tokens);
    rates->prompt[length][bench->rounds] = times * tokens / seconds;
    for (uint32_t i = 0; i < WIDTHS; i++) {
        share_prompt(engine, widths[i]);
        rates->decode[length][i][bench->rounds] = decode(bench, engine, tokens, widths[i]);
    }
    empty_slots(engine);
}

/* Each way is first as often as last. */
static void run_round(struct bench *bench)
{
    for (uint32_t length = 0; length < LENGTHS; length++)
        for (uint32_t i = 0; i < bench->ways; i++)
            measure(bench, bench->rounds % 2 ? bench->ways - 1 - i : i, length);
    bench->rounds++;
}

/* --- the table --- */

static void print_rates(const struct bench *bench, const double *const rates[WAY_COUNT])
{
    for (uint32_t way = EXACT; way < bench->ways; way++)
        printf(" %.0f |", estimate_of(rates[way], bench->rounds).mid);
    for (uint32_t way = FAST; way < bench->ways; way++) {
        struct estimate ratio = estimate_of_ratios(rates[way], rates[EXACT], bench->rounds);
        printf(" %.2f (%.2f .. %.2f) |", ratio.mid, ratio.low, ratio.high);
    }
    printf("\n");
}

static void print_bytes(const struct bench *bench, const char *what,
                        const uint64_t bytes[WAY_COUNT])
{
    printf("| %s, MiB |", what);
    for (uint32_t way = EXACT; way < bench->ways; way++)
        printf(" %.1f |", (double)bytes[way] / (1 << 20));
    for (uint32_t way = FAST; way < bench->ways; way++)
        printf(" %.2f |", (double)bytes[way] / (double)bytes[EXACT]);
    printf("\n");
}

static void print_length(const struct bench *bench, uint32_t length)
{
    const double *rates[WAY_COUNT];
    for (uint32_t way = EXACT; way < WAY_COUNT; way++)
        rates[way] = bench->rates[way].prompt[length];
    printf("| prompt of %u tokens, tokens/s |", lengths[length]);
    print_rates(bench, rates);
    for (uint32_t i = 0; i < WIDTHS; i++) {
        for (uint32_t way = EXACT; way < WAY_COUNT; way++)
            rates[way] = bench->rates[way].decode[length][i];
        printf("| %u stream%s behind %u tokens each, tokens/s of all |", widths[i],
               widths[i] > 1 ? "s" : "", lengths[length]);
        print_rates(bench, rates);
    }
}

static void print_head(const struct bench *bench)
{
    printf("%s, %u rounds, 1 thread, %u slots of %u tokens\n\n| |",
           bench->engines[EXACT]->info.description, bench->rounds, SLOTS, CONTEXT);
    for (uint32_t way = EXACT; way < bench->ways; way++)
        printf(" %s |", way_names[way]);
    for (uint32_t way = FAST; way < bench->ways; way++)
        printf(" %s / exact (95 %%) |", way_names[way]);
    printf("\n|---|");
    for (uint32_t column = 1; column < 2 * bench->ways; column++)
        printf("---|");
    printf("\n");
}

static void print_table(const struct bench *bench)
{
    uint64_t cache[WAY_COUNT], computing[WAY_COUNT];
    print_head(bench);
    for (uint32_t length = 0; length < LENGTHS; length++)
        print_length(bench, length);
    for (uint32_t way = EXACT; way < bench->ways; way++) {
        cache[way] = bench->engines[way]->info.kv_bytes;
        computing[way] = bench->engines[way]->info.compute_bytes;
    }
    print_bytes(bench, "cache", cache);
    print_bytes(bench, "memory for computing", computing);
    printf("\n");
}

/* --- life --- */

static struct engine *open_way(const char *path, enum way way)
{
    enum engine_kv_type type = way == PACKED ? ENGINE_KV_Q8_0 : ENGINE_KV_F16;
    struct engine *engine = open_model(
        &(struct engine_llama_options){.model_path = path,
                                       .slots = SLOTS,
                                       .context_tokens = CONTEXT,
                                       .batch_tokens = BATCH,
                                       .kv_memory_bytes = UINT64_MAX - 1,
                                       .fast = way != EXACT,
                                       .kv_key = type,
                                       .kv_value = type,
                                       .logits_per_slot = 1,
                                       .logits_extra = way != EXACT ? 8 : 0}); /* draft_tokens */
    ASSERT_MSG(engine->info.context_tokens == CONTEXT, "%s: its context is below %d", path,
               CONTEXT);
    return engine;
}

static bool heads_can_be_packed(const char *path)
{
    struct gguf_summary summary;
    struct err_note note = {{0}};
    enum err err = gguf_check_file(path, &summary, &note);
    ASSERT_MSG(err == ERR_OK, "%s", note.text);
    return summary.head_count > 0 && summary.embedding_length / summary.head_count % 32 == 0;
}

static void run_model(const char *path, double seconds)
{
    struct bench *bench = mem_alloc(sizeof(*bench));
    bench->random = 1;
    bench->ways = heads_can_be_packed(path) ? WAY_COUNT : PACKED;
    for (enum way way = EXACT; way < bench->ways; way++)
        bench->engines[way] = open_way(path, way);
    run_round(bench); /* buffers are taken, pages touched */
    bench->rounds = 0;
    double end = seconds_of(CLOCK_MONOTONIC) + seconds;
    while (bench->rounds < ROUNDS_MIN ||
           (bench->rounds < ROUNDS_MAX && seconds_of(CLOCK_MONOTONIC) < end))
        run_round(bench);
    print_table(bench);
    for (enum way way = EXACT; way < bench->ways; way++)
        engine_close(&bench->engines[way]);
    mem_free(bench);
}

int main(int argc, char **argv)
{
    uint64_t seconds = 0;
    if (argc < 3 || slice_parse_u64(slice_str(argv[1]), SECONDS_MAX, &seconds) != ERR_OK) {
        fprintf(stderr, "usage: profiles SECONDS(0..%d) MODEL.gguf...\n", SECONDS_MAX);
        return 2;
    }
    for (int i = 2; i < argc; i++)
        run_model(argv[i], (double)seconds);
    return 0;
}
