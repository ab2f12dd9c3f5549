/* Tests of the exported file: our own check takes it, and libllama tokenises and computes as we do.
 */
#include "nano/export.h"

#include "base/mem.h"
#include "base/utf8.h"
#include "engine/engine.h"
#include "engine/gguf.h"
#include "nano/choice.h"
#include "nano/cpu.h"
#include "nano/pass.h"
#include "nano/q8.h"
#include "nano/unicode_class.h"
#include "testing/test.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { TOKENS_MAX = 1024, VOCAB = 512 };

static const char *const scraps[] = {
    "the",
    " server",
    " streams",
    " tokens",
    " a",
    "I'll",
    "don't",
    " WE'VE",
    "'s",
    "'",
    "\"",
    "{\"id\":",
    " -12.5",
    "007",
    "0x3f",
    "/v1/chat",
    "_",
    "--",
    "==",
    "...",
    "\n",
    "\n\n",
    "\r\n",
    "\t",
    " ",
    "  ",
    "    ",
    "caf\xc3\xa9",
    " na\xc3\xafve",
    " gr\xc3\xbc\xc3\x9f",
    "\xe4\xbd\xa0\xe5\xa5\xbd",
    "\xef\xbc\x8c",
    "\xe6\xb5\x81\xe5\xbc\x8f",
    "\xf0\x9f\x98\x80",
    " \xf0\x9f\xa6\x8a",
    "\xe2\x80\xa6",
    "\xe2\x80\x94",
    "\xc2\xa0",
    "\xc2\xb2",
    "e\xcc\x81",
    "\xe3\x80\x82\n",
    "<",
    "<|",
    "<tools>",
    "</tool_call>",
    "<|im_start|>",
    "<|im_end|>\n",
    "\xe2\x9d\xa4\xef\xb8\x8f",
    "\xd0\xbc\xd0\xb8\xd1\x80",
    "x",
    "Q",
};

static void add_random_text(struct text *text, struct choice *choice)
{
    for (size_t left = 1 + choice_below(choice, 60); left > 0; left--)
        text_add_str(text, CHOICE_OF(choice, scraps));
}

static struct tokenizer *learned(void)
{
    struct tokenizer_lesson *lesson = tokenizer_lesson_new();
    struct text text;
    text_init(&text, 64 * 1024);
    struct choice choice = {1};
    for (int i = 0; i < 3000; i++, text_clear(&text)) {
        add_random_text(&text, &choice);
        tokenizer_lesson_add(lesson, text_slice(&text));
    }
    text_fini(&text);
    struct tokenizer *tokenizer = NULL;
    CHECK_OK(tokenizer_learn(lesson, VOCAB, &tokenizer, NULL));
    tokenizer_lesson_free(lesson);
    return tokenizer;
}

struct exported { /* a model of random weights, as it is here and as a file */
    char path[64];
    struct tokenizer *tokenizer;
    struct model model;
    float *params;
};

static struct exported exported(bool is_exact)
{
    cpu_or_skip(); /* blocks of 8 bits are nano_math's */
    struct exported exported = {.path = "/tmp/nano-export-XXXXXX", .tokenizer = learned()};
    int fd = mkstemp(exported.path);
    CHECK(fd >= 0);
    close(fd);
    const struct shape shape = {
        .vocab = VOCAB, .width = 128, .layers = 2, .heads = 4, .kv_heads = 2, .hidden = 192};
    model_init(&exported.model, &shape);
    exported.params = mem_array(exported.model.param_count, sizeof(float));
    model_draw(&exported.model, 7, exported.params);
    for (size_t i = 0; i < exported.model.param_count; i++)
        exported.params[i] *= 3; /* so that every part has a say in the logits */
    CHECK_OK(export_write(&(struct export_parts){.model = &exported.model,
                                                 .params = exported.params,
                                                 .tokenizer = exported.tokenizer,
                                                 .chat_template = SLICE("{{ messages }}"),
                                                 .is_exact = is_exact},
                          exported.path, NULL));
    return exported;
}

static void exported_fini(struct exported *exported)
{
    unlink(exported->path);
    tokenizer_free(exported->tokenizer);
    mem_free(exported->params);
}

/* Skips the test where there is no libllama. */
static struct engine *engine_of(struct exported *exported)
{
    static const char *const search[] = {SOURCE_ROOT "/build/deps/engine/lib", NULL};
    struct engine_llama_options options = {.library_dir = getenv("MILLRACE_ENGINE_DIR"),
                                           .search = search,
                                           .model_path = exported->path,
                                           .slots = 1,
                                           .threads = 1,
                                           .threads_batch = 1};
    struct engine *engine = NULL;
    struct err_note note = {{0}};
    enum err err = engine_llama_open(&options, NULL, NULL, &engine, &note);
    if (err == ERR_NOT_FOUND || err == ERR_REFUSED) {
        exported_fini(exported);
        SKIP("%s", note.text);
    }
    CHECK_STR(note.text, "");
    CHECK_OK(err);
    return engine;
}

TEST(file_keeps_its_own_promises)
{
    struct exported exported_model = exported(false);
    struct gguf_summary summary;
    struct err_note note = {{0}};
    enum err err = gguf_check_file(exported_model.path, &summary, &note);
    CHECK_STR(note.text, "");
    CHECK_OK(err);
    CHECK_STR(summary.architecture, "llama");
    CHECK_EQ(summary.version, 3);
    CHECK_EQ(summary.tensor_count, exported_model.model.tensor_count);
    CHECK_EQ(summary.context_length, 1024);
    CHECK_EQ(summary.block_count, 2);
    CHECK_EQ(summary.embedding_length, 128);
    CHECK_EQ(summary.head_count, 4);
    CHECK_EQ(summary.head_count_kv, 2);
    CHECK(summary.has_chat_template);
    exported_fini(&exported_model);
}

static void check_tokens(struct engine *engine, const struct tokenizer *tokenizer,
                         struct slice text)
{
    static token_id theirs[TOKENS_MAX];
    static uint16_t ours[TOKENS_MAX];
    size_t their_count = 0;
    CHECK_OK(engine_tokenize(engine, text, false, true, theirs, TOKENS_MAX, &their_count));
    size_t count = tokenizer_encode(tokenizer, text, ours, NULL, TOKENS_MAX);
    bool same = count == their_count;
    for (size_t i = 0; same && i < count; i++)
        same = ours[i] == theirs[i];
    if (!same)
        fprintf(stderr, "%zu tokens, libllama has %zu, of \"" SLICE_FMT "\"\n", count, their_count,
                SLICE_ARG(text));
    CHECK(same);
}

TEST(tokens_are_those_of_libllama)
{
    struct exported exported_model = exported(false);
    struct engine *engine = engine_of(&exported_model);
    struct text text;
    text_init(&text, 64 * 1024);
    struct choice choice = {2};
    for (int i = 0; i < 5000; i++, text_clear(&text)) {
        add_random_text(&text, &choice);
        check_tokens(engine, exported_model.tokenizer, text_slice(&text));
    }
    text_fini(&text);
    engine_close(&engine);
    exported_fini(&exported_model);
}

/* Each character that documents may have, beside a letter, a digit, a space, and itself. */
TEST(every_known_character_is_cut_as_libllama_cuts)
{
    struct exported exported_model = exported(false);
    struct engine *engine = engine_of(&exported_model);
    struct text text;
    text_init(&text, 1024);
    for (uint32_t codepoint = 1; codepoint < 0x20000; codepoint++, text_clear(&text)) {
        if (unicode_class_of(codepoint) == UNICODE_UNKNOWN || codepoint % 5 == 1)
            codepoint += codepoint >= 0x4E00 && codepoint < 0xD7A3 ? 37 : 0; /* all alike */
        if (unicode_class_of(codepoint) == UNICODE_UNKNOWN)
            continue;
        static const char *const before[] = {"a", " ", "1", "\n", ".", "  ", "'"};
        for (size_t i = 0; i < ARRAY_COUNT(before); i++) {
            text_add_str(&text, before[i]);
            utf8_add_codepoint(&text, codepoint);
            utf8_add_codepoint(&text, codepoint);
            text_add_str(&text, "b");
        }
        check_tokens(engine, exported_model.tokenizer, text_slice(&text));
    }
    text_fini(&text);
    engine_close(&engine);
    exported_fini(&exported_model);
}

static void round_matrices(struct exported *exported)
{
    for (size_t i = 0; i < exported->model.tensor_count; i++) {
        const struct tensor *tensor = &exported->model.tensors[i];
        float *params = exported->params + tensor->begin;
        if (!tensor_is_norm(tensor))
            q8_round(params, tensor_count(tensor), params);
    }
}

/* How far libllama's logits behind random tokens are from ours, by their size. */
static double distance(struct exported *exported, struct engine *engine)
{
    enum { COUNT = 90 };
    uint16_t tokens[COUNT];
    struct engine_row rows[COUNT];
    struct choice choice = {3};
    for (uint32_t i = 0; i < COUNT; i++) {
        tokens[i] = (uint16_t)choice_below(&choice, VOCAB);
        rows[i] = (struct engine_row){.token = tokens[i], .position = i, .wants_logits = true};
    }
    struct pass *pass = pass_new(&exported->model, COUNT);
    float *ours = mem_array(COUNT * VOCAB, sizeof(*ours));
    pass_logits(pass, exported->params, tokens, COUNT, ours);
    CHECK_OK(engine_decode(engine, rows, COUNT));
    double difference = 0, size = 0;
    for (size_t i = 0; i < COUNT; i++) {
        const float *theirs = engine_logits(engine, i);
        for (size_t k = 0; k < VOCAB; k++) {
            difference += pow((double)(theirs[k] - ours[i * VOCAB + k]), 2);
            size += pow((double)ours[i * VOCAB + k], 2);
        }
    }
    CHECK(size > 0.2 * COUNT * VOCAB); /* they say something */
    mem_free(ours);
    pass_free(pass);
    return sqrt(difference / size);
}

/* libllama keeps keys and values at half precision. */
TEST(logits_of_libllama_are_those_of_training)
{
    struct exported exported_model = exported(true);
    struct engine *engine = engine_of(&exported_model);
    CHECK_NEAR(distance(&exported_model, engine), 0, 2e-3);
    engine_close(&engine);
    exported_fini(&exported_model);
}

/* And rounds what it multiplies with 8-bit weights to 8 bits as well. */
TEST(logits_as_shipped_are_those_of_training_through_rounded_weights)
{
    struct exported exported_model = exported(false);
    struct engine *engine = engine_of(&exported_model);
    round_matrices(&exported_model);
    CHECK_NEAR(distance(&exported_model, engine), 0, 0.03);
    engine_close(&engine);
    exported_fini(&exported_model);
}
