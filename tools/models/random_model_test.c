/* Tests of models of random weights: the same options make the same file, and libllama computes
 * with each kind. */
#include "models/random_model.h"

#include "engine/gguf.h"
#include "models/rig.h"
#include "models/vocabulary.h"
#include "nano/file.h"

#include <math.h>

enum { TOKENS = 100 };

static bool kind_writes(enum random_kind kind)
{
    return kind != RANDOM_EMBEDDING && kind != RANDOM_RERANK;
}

static struct text bytes_of(const struct random_model *model)
{
    struct made made = made_of(model);
    struct text text;
    text_init(&text, 4 << 20);
    CHECK_OK(file_read(made.path, &text, NULL));
    made_fini(&made);
    return text;
}

TEST(file_is_a_function_of_its_options)
{
    for (enum random_kind kind = 0; kind < RANDOM_KIND_COUNT; kind++) {
        struct random_model model = {.kind = kind, .type = GGUF_TENSOR_Q4_0, .seed = 5};
        struct text first = bytes_of(&model), again = bytes_of(&model);
        model.seed = 6;
        struct text other = bytes_of(&model);
        CHECK(slice_eq(text_slice(&first), text_slice(&again)));
        CHECK(!slice_eq(text_slice(&first), text_slice(&other)));
        text_fini(&first);
        text_fini(&again);
        text_fini(&other);
    }
}

TEST(file_keeps_its_own_promises)
{
    static const char *const architectures[] = {"llama", "mamba", "lfm2", "gemma3", "bert", "bert"};
    for (enum random_kind kind = 0; kind < RANDOM_KIND_COUNT; kind++) {
        struct made made = made_kind(kind);
        struct gguf_summary summary;
        struct err_note note = {{0}};
        enum err err = gguf_check_file(made.path, &summary, &note);
        CHECK_STR(note.text, "");
        CHECK_OK(err);
        CHECK_STR(summary.architecture, architectures[kind]);
        CHECK_EQ(summary.context_length, kind_writes(kind) ? RANDOM_CONTEXT_TOKENS : 512);
        CHECK_EQ(summary.has_chat_template, kind_writes(kind));
        made_fini(&made);
    }
}

static const float *logits_behind(struct engine *engine, size_t count)
{
    struct engine_row rows[TOKENS];
    for (uint32_t i = 0; i < count; i++)
        rows[i] = (struct engine_row){
            .token = (token_id)(10 + i * 7 % 900), .position = i, .wants_logits = i + 1 == count};
    CHECK_OK(engine_decode(engine, rows, count));
    return engine_logits(engine, count - 1);
}

static void check_says_something(const float *logits, uint32_t count)
{
    double sum = 0, squares = 0;
    for (uint32_t i = 0; i < count; i++) {
        CHECK(isfinite(logits[i]));
        sum += (double)logits[i];
        squares += (double)logits[i] * (double)logits[i];
    }
    double mean = sum / count;
    CHECK(squares / count - mean * mean > 0.05); /* not all alike */
}

TEST(libllama_computes_with_each_kind_that_writes)
{
    for (enum random_kind kind = 0; kind < RANDOM_KIND_COUNT; kind++) {
        if (!kind_writes(kind))
            continue;
        struct made made = made_kind(kind);
        struct engine *engine =
            made_open(&made, (struct engine_llama_options){.slots = 2, .context_tokens = 512});
        CHECK_EQ(engine->info.can_cut, kind == RANDOM_LLAMA);
        CHECK(engine->info.has_chat);
        check_says_something(logits_behind(engine, TOKENS), engine->info.vocab_size);
        CHECK_EQ(engine_seq_tokens(engine, 0), TOKENS);
        engine_close(&engine);
        made_fini(&made);
    }
}

/* What a tenth of the first tokens says must still be felt at the end: else a test that gives a
 * sequence the wrong beginning could not tell. */
TEST(end_depends_on_the_beginning)
{
    for (enum random_kind kind = 0; kind < RANDOM_KIND_COUNT; kind++) {
        if (!kind_writes(kind))
            continue;
        struct made made = made_kind(kind);
        struct engine *engine =
            made_open(&made, (struct engine_llama_options){.slots = 2, .context_tokens = 512});
        struct engine_row rows[2][TOKENS];
        float *first = malloc(engine->info.vocab_size * sizeof(*first));
        for (uint32_t slot = 0; slot < 2; slot++) {
            for (uint32_t i = 0; i < TOKENS; i++)
                rows[slot][i] =
                    (struct engine_row){.token = (token_id)(10 + (i < 10 ? i + slot : i * 7) % 900),
                                        .position = i,
                                        .slot = slot,
                                        .wants_logits = i + 1 == TOKENS};
            CHECK_OK(engine_decode(engine, rows[slot], TOKENS));
            if (slot == 0)
                memcpy(first, engine_logits(engine, TOKENS - 1),
                       engine->info.vocab_size * sizeof(*first));
        }
        float most = 0;
        const float *second = engine_logits(engine, TOKENS - 1);
        for (uint32_t i = 0; i < engine->info.vocab_size; i++)
            most = fmaxf(most, fabsf(first[i] - second[i]));
        CHECK(most > 0.01f);
        free(first);
        engine_close(&engine);
        made_fini(&made);
    }
}

/* By their size, how far the logits of a type are from those of the same weights unrounded. */
static double distance_of(enum gguf_tensor_type type)
{
    struct engine_llama_options options = {.slots = 1, .context_tokens = 512};
    struct random_model model = {.type = GGUF_TENSOR_F32, .seed = 9};
    struct made exact = made_of(&model);
    model.type = type;
    struct made rounded = made_of(&model);
    struct engine *ours = made_open(&exact, options), *theirs = made_open(&rounded, options);
    const float *a = logits_behind(ours, TOKENS), *b = logits_behind(theirs, TOKENS);
    double difference = 0, size = 0;
    for (uint32_t i = 0; i < ours->info.vocab_size; i++) {
        difference += pow((double)(a[i] - b[i]), 2);
        size += pow((double)a[i], 2);
    }
    engine_close(&ours);
    engine_close(&theirs);
    made_fini(&exact);
    made_fini(&rounded);
    return sqrt(difference / size);
}

/* Blocks that were laid out wrongly would be as far as any two random models: 1.4. */
TEST(types_are_packed_as_libllama_unpacks_them)
{
    CHECK_NEAR(distance_of(GGUF_TENSOR_F16), 0, 0.01);
    CHECK_NEAR(distance_of(GGUF_TENSOR_Q8_0), 0, 0.05);
    CHECK_NEAR(distance_of(GGUF_TENSOR_Q4_0), 0, 0.5);
}

TEST(large_vocabulary_tokenises_as_the_shipped_one_and_has_a_word_for_each_token)
{
    struct made made =
        made_of(&(struct random_model){.size = RANDOM_15M, .type = GGUF_TENSOR_Q8_0, .seed = 1});
    struct engine *engine =
        made_open(&made, (struct engine_llama_options){.slots = 1, .context_tokens = 64});
    token_id tokens[64];
    size_t count = 0;
    CHECK_EQ(engine->info.vocab_size, 32000);
    CHECK_OK(engine_tokenize(engine, SLICE("<|im_start|>What is a slot? ba-da-fa"), false, true,
                             tokens, 64, &count));
    for (size_t i = 0; i < count; i++)
        CHECK(tokens[i] < 4096);
    char scratch[1];
    struct slice last = engine_piece(engine, 31999, scratch, 1);
    CHECK_EQ(last.len, 9);
    CHECK(slice_starts_with(last, SLICE(" ")));
    engine_close(&engine);
    made_fini(&made);
}

/* A text that does not repeat itself, and its beginning again: of the second time, how many tokens
 * are said as they stood in the first, of those behind three that are there. */
static uint32_t quoted_right(const struct random_model *model, uint32_t count)
{
    enum { FIRST = 300 };
    struct made made = made_of(model);
    struct engine *engine =
        made_open(&made, (struct engine_llama_options){.slots = 1, .context_tokens = 512});
    struct engine_row rows[512];
    uint64_t random = 17;
    uint32_t right = 0;
    for (uint32_t i = 0; i < FIRST + count + 3; i++) {
        token_id token = (token_id)(test_random(&random) % engine->info.vocab_size);
        rows[i] = (struct engine_row){.token = i < FIRST ? token : rows[i - FIRST].token,
                                      .position = i,
                                      .wants_logits = i >= FIRST + 2};
    }
    CHECK_OK(engine_decode(engine, rows, FIRST + count + 3));
    for (uint32_t i = FIRST + 2; i < FIRST + 2 + count; i++) {
        const float *logits = engine_logits(engine, i);
        token_id next = rows[i + 1].token;
        uint32_t higher = 0;
        for (uint32_t token = 0; token < engine->info.vocab_size; token++)
            higher += logits[token] > logits[next];
        right += higher == 0;
    }
    engine_close(&engine);
    made_fini(&made);
    return right;
}

TEST(model_that_quotes_says_again_what_stood_before)
{
    struct random_model model = {.size = RANDOM_15M, .type = GGUF_TENSOR_Q8_0, .seed = 1};
    CHECK(quoted_right(&model, 100) < 10);
    model.quotes = true;
    uint32_t right = quoted_right(&model, 100);
    model.type = GGUF_TENSOR_Q4_0;
    uint32_t packed = quoted_right(&model, 100);
    printf("quoted right of 100: %u at Q8_0, %u at Q4_0\n", right, packed);
    CHECK(right >= 98);
    CHECK(packed >= 98);
}

TEST(what_cannot_be_made_is_refused_by_name)
{
    cpu_or_skip();
    struct err_note note = {{0}};
    struct random_model model = {.kind = RANDOM_HYBRID,
                                 .size = RANDOM_15M,
                                 .type = GGUF_TENSOR_Q8_0,
                                 .vocabulary = SOURCE_ROOT "/models/nano.gguf"};
    CHECK_ERR(random_model_write(&model, "/nowhere/x.gguf", &note), ERR_REFUSED);
    CHECK_STR(note.text, "there is no hybrid of size 15m");
    model = (struct random_model){.quotes = true, .vocabulary = model.vocabulary};
    CHECK_ERR(random_model_write(&model, "/nowhere/x.gguf", &note), ERR_REFUSED);
    CHECK_STR(note.text, "there is no llama of size tiny that quotes: take llama of 15m or 110m");
    model = (struct random_model){.kind = RANDOM_HYBRID, .vocabulary = model.vocabulary};
    CHECK_ERR(random_model_write(&model, "/nowhere/x.gguf", &note), ERR_NOT_FOUND);
    CHECK(strstr(note.text, "/nowhere/x.gguf"));
    model.vocabulary = "/nowhere/nano.gguf";
    CHECK_ERR(random_model_write(&model, "/tmp/x.gguf", &note), ERR_NOT_FOUND);
    CHECK(strstr(note.text, "/nowhere/nano.gguf"));
    model.vocabulary = SOURCE_ROOT "/models/gates.txt";
    CHECK_ERR(random_model_write(&model, "/tmp/x.gguf", &note), ERR_PROTOCOL);
    CHECK(strstr(note.text, "gates.txt"));
}
