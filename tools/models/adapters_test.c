/* LoRA adapters on libllama: what they do to a model's logits, that company still does not (profile
 * exact), and that files which are not what they say are refused with a sentence. */
#include "base/hash.h"
#include "base/mem.h"
#include "models/rig.h"
#include "nano/file.h"

#include <math.h>

enum { SLOTS = 4, CONTEXT = 256, PROMPT = 40, STEPS = 16 };

static const struct engine_adapter_set nobody = {0};

static struct engine_adapter_set only(uint32_t index, float scale)
{
    return (struct engine_adapter_set){.count = 1, .uses = {{index, scale}}};
}

struct subject {
    struct made model, first, second;
    struct engine_adapter_file files[2];
    struct engine_llama_options options;
};

static struct subject subject_of(struct made model)
{
    struct subject subject = {.model = model};
    struct random_lora lora = random_lora_default(subject.model.path);
    subject.first = made_lora(&lora);
    lora.seed = 2;
    lora.rank = 5; /* the other way of being written (lora.h rule 2) */
    lora.alpha = 3;
    lora.type = GGUF_TENSOR_Q8_0;
    subject.second = made_lora(&lora);
    return subject;
}

static struct engine *open_subject(struct subject *subject)
{
    subject->files[0] = (struct engine_adapter_file){"first", subject->first.path, 0};
    subject->files[1] = (struct engine_adapter_file){"second", subject->second.path, 0};
    subject->options = (struct engine_llama_options){
        .slots = SLOTS, .context_tokens = CONTEXT, .adapters = subject->files, .adapter_count = 2};
    return made_open(&subject->model, subject->options);
}

static void subject_fini(struct subject *subject)
{
    made_fini(&subject->model);
    made_fini(&subject->first);
    made_fini(&subject->second);
}

/* --- one sequence, and a fingerprint of all the logits it has got --- */

struct sequence {
    uint32_t slot, seed;
    token_id last;
    uint32_t count;
    token_id ids[STEPS];
    uint64_t prints[STEPS];
};

static token_id prompt_token(uint32_t seed, uint32_t position)
{
    return (token_id)(10 + (seed * 131 + position * 37) % 900);
}

/* Its whole prompt, or its last token. */
static size_t add_rows(struct engine *engine, const struct sequence *sequence,
                       struct engine_row *rows)
{
    uint32_t at = engine_seq_tokens(engine, sequence->slot);
    if (at > 0) {
        rows[0] = (struct engine_row){sequence->last, at, sequence->slot, true};
        return 1;
    }
    for (uint32_t i = 0; i < PROMPT; i++)
        rows[i] = (struct engine_row){prompt_token(sequence->seed, i), i, sequence->slot,
                                      i + 1 == PROMPT};
    return PROMPT;
}

static void take_logits(struct engine *engine, struct sequence *sequence, size_t row)
{
    const float *logits = engine_logits(engine, row);
    uint32_t vocab_size = engine->info.vocab_size;
    token_id best = 0;
    for (token_id i = 0; i < (token_id)vocab_size; i++) {
        CHECK(isfinite(logits[i]));
        if (logits[i] > logits[best])
            best = i;
    }
    sequence->prints[sequence->count] = hash_bytes(slice_of(logits, vocab_size * sizeof(*logits)));
    sequence->ids[sequence->count++] = sequence->last = best;
}

static void step(struct engine *engine, struct sequence *sequences, size_t count)
{
    struct engine_row rows[SLOTS * PROMPT];
    size_t ends[SLOTS], len = 0;
    for (size_t i = 0; i < count; i++)
        ends[i] = len += add_rows(engine, &sequences[i], rows + len);
    CHECK_OK(engine_decode(engine, rows, len));
    for (size_t i = 0; i < count; i++)
        take_logits(engine, &sequences[i], ends[i] - 1);
}

static struct sequence run_alone(struct engine *engine, uint32_t seed,
                                 const struct engine_adapter_set *set)
{
    struct sequence sequence = {.seed = seed};
    engine_use_adapters(engine, set);
    while (sequence.count < STEPS)
        step(engine, &sequence, 1);
    CHECK_OK(engine_seq_cut(engine, 0, 0));
    return sequence;
}

static bool is_same(const struct sequence *a, const struct sequence *b)
{
    return memcmp(a->prints, b->prints, sizeof(a->prints)) == 0 &&
           memcmp(a->ids, b->ids, sizeof(a->ids)) == 0;
}

/* --- what they do --- */

TEST(an_adapter_changes_what_a_model_says_and_its_absence_does_not)
{
    struct subject subject = subject_of(made_kind(RANDOM_LLAMA));
    struct engine *engine = open_subject(&subject);
    struct engine_adapter_set first = only(0, 1), second = only(1, 1), less = only(0, 0.5f);
    struct engine_adapter_set both = {.count = 2, .uses = {{0, 1}, {1, -0.5f}}};
    const struct engine_adapter_set *sets[] = {&nobody, &first, &second, &less, &both};
    struct sequence said[ARRAY_COUNT(sets)];
    for (size_t i = 0; i < ARRAY_COUNT(sets); i++)
        said[i] = run_alone(engine, 3, sets[i]);
    for (size_t i = 0; i < ARRAY_COUNT(sets); i++) {
        for (size_t j = 0; j < i; j++)
            CHECK(said[i].prints[0] != said[j].prints[0]);
        struct sequence again = run_alone(engine, 3, sets[i]);
        CHECK(is_same(&again, &said[i]));
    }
    engine_close(&engine);

    struct engine *plain = made_open(
        &subject.model, (struct engine_llama_options){.slots = SLOTS, .context_tokens = CONTEXT});
    CHECK_EQ(plain->info.adapter_count, 0);
    struct sequence undisturbed = run_alone(plain, 3, &nobody);
    CHECK(is_same(&undisturbed, &said[0]));
    engine_close(&plain);

    engine = open_subject(&subject); /* elsewhere in memory */
    struct sequence elsewhere = run_alone(engine, 3, &both);
    CHECK(is_same(&elsewhere, &said[4]));
    engine_close(&engine);
    subject_fini(&subject);
}

TEST(info_tells_of_the_adapters)
{
    struct subject subject = subject_of(made_kind(RANDOM_LLAMA));
    struct engine *engine = open_subject(&subject);
    const struct engine_info *info = &engine->info;
    CHECK_EQ(info->adapter_count, 2);
    CHECK_STR(info->adapters[0].name, "first");
    CHECK_STR(info->adapters[1].name, "second");
    /* 64 wide, 2 layers: q 64 x 64, v 64 x 32, up 64 x 128, down 128 x 64; ranks become 9 and 5. */
    const uint64_t sum = 2 * (128 + 96 + 192 + 192) * sizeof(float);
    CHECK_EQ(info->adapters[0].bytes, sum * 9);
    CHECK_EQ(info->adapters[1].bytes, sum * 5);
    CHECK_EQ(info->adapter_bytes, sum * 14);
    CHECK(memcmp(info->adapters[0].digest, info->adapters[1].digest, 32) != 0);
    engine_close(&engine);
    subject_fini(&subject);
}

/* With a scale of its own it is there from the beginning. */
TEST(an_adapter_with_a_scale_is_used_unless_another_set_is)
{
    struct subject subject = subject_of(made_kind(RANDOM_LLAMA));
    struct engine *engine = open_subject(&subject);
    struct engine_adapter_set first = only(0, 0.75f);
    struct sequence expected = run_alone(engine, 3, &first);
    engine_close(&engine);
    subject.files[0].scale = 0.75f;
    engine = made_open(&subject.model, subject.options);
    struct engine_adapter_set set = engine_default_adapters(&engine->info);
    CHECK(engine_adapter_set_eq(&set, &first));
    struct sequence sequence = {.seed = 3};
    while (sequence.count < STEPS)
        step(engine, &sequence, 1);
    CHECK(is_same(&sequence, &expected));
    engine_close(&engine);
    subject_fini(&subject);
}

/* --- company: the same bits, also of adapters of an even rank and of sixteen bits --- */

static void check_company(struct made model)
{
    struct subject subject = subject_of(model);
    struct engine *engine = open_subject(&subject);
    struct engine_adapter_set both = {.count = 2, .uses = {{0, 1}, {1, 0.5f}}};
    struct engine_adapter_set sets[] = {nobody, only(0, 1), only(1, 1), both};
    for (size_t i = 0; i < ARRAY_COUNT(sets); i++) {
        struct sequence alone[SLOTS], together[SLOTS] = {0};
        for (uint32_t slot = 0; slot < SLOTS; slot++)
            alone[slot] = run_alone(engine, slot, &sets[i]);
        for (uint32_t slot = 0; slot < SLOTS; slot++) { /* each joins a step after the last */
            together[slot] = (struct sequence){.slot = slot, .seed = slot};
            step(engine, together, slot + 1);
        }
        while (together[0].count < STEPS)
            step(engine, together, SLOTS);
        while (together[SLOTS - 1].count < STEPS) /* and the last are alone again */
            step(engine, &together[SLOTS - 1], 1);
        for (uint32_t slot = 0; slot < SLOTS; slot++) {
            CHECK(memcmp(together[slot].prints, alone[slot].prints,
                         together[slot].count * sizeof(uint64_t)) == 0);
            CHECK_OK(engine_seq_cut(engine, slot, 0));
        }
    }
    engine_close(&engine);
    subject_fini(&subject);
}

TEST(company_does_not_change_a_sequence_with_adapters)
{
    check_company(made_kind(RANDOM_LLAMA));
    check_company(made_kind(RANDOM_WINDOW));
}

static struct made nano(void)
{
    struct made made = {"/tmp/millrace-nano-XXXXXX"};
    struct text bytes;
    int fd = mkstemp(made.path);
    CHECK(fd >= 0);
    close(fd);
    text_init(&bytes, 16 << 20);
    CHECK_OK(file_read(SOURCE_ROOT "/models/nano.gguf", &bytes, NULL));
    struct slice whole = text_slice(&bytes);
    CHECK_OK(file_write(made.path, &whole, 1, NULL));
    text_fini(&bytes);
    return made;
}

TEST(company_does_not_change_the_shipped_model_with_adapters)
{
    check_company(nano());
}

/* --- sets in turn: each sequence as alone, however often the others come between --- */

TEST(sets_in_turn_do_not_change_each_other)
{
    struct subject subject = subject_of(made_kind(RANDOM_LLAMA));
    struct engine *engine = open_subject(&subject);
    struct engine_adapter_set sets[3] = {nobody, only(0, 1), only(1, 1)};
    struct sequence alone[3], turns[3] = {0};
    for (uint32_t i = 0; i < 3; i++)
        alone[i] = run_alone(engine, 7, &sets[i]);
    for (uint32_t i = 0; i < 3; i++)
        turns[i] = (struct sequence){.slot = i, .seed = 7};
    for (uint32_t at = 0; turns[0].count + turns[1].count + turns[2].count < 3 * STEPS; at++) {
        uint32_t i = (at * 7 + at / 3) % 3;
        if (turns[i].count == STEPS)
            continue;
        engine_use_adapters(engine, &sets[(i + 1) % 3]); /* named, and not computed with */
        engine_use_adapters(engine, &sets[i]);
        step(engine, &turns[i], 1);
    }
    for (uint32_t i = 0; i < 3; i++)
        CHECK(is_same(&turns[i], &alone[i]));
    engine_close(&engine);
    subject_fini(&subject);
}

/* --- a set that computes what is not finite --- */

/* Its numbers are finite, and what comes of them is not. */
static struct subject endless_subject(struct made model)
{
    struct subject subject = {.model = model};
    struct random_lora lora = random_lora_default(subject.model.path);
    subject.first = made_lora(&lora);
    lora.strength = 1e30f;
    subject.second = made_lora(&lora);
    return subject;
}

static void put_in(struct engine *engine, uint32_t slot, uint32_t count, bool wants_logits)
{
    struct engine_row rows[CONTEXT];
    for (uint32_t i = 0; i < count; i++)
        rows[i] = (struct engine_row){prompt_token(9, i), i, slot, wants_logits && i + 1 == count};
    CHECK_OK(engine_decode(engine, rows, count));
    bool is_finite = true;
    for (uint32_t i = 0; wants_logits && i < engine->info.vocab_size; i++)
        is_finite = is_finite && isfinite(engine_logits(engine, count - 1)[i]);
    CHECK(is_finite != wants_logits);
}

/* In slots 0.. of `spoilt`, with or without a look at the logits; then others come there, beside
 * one in the last slot that was there before and goes on as if nothing had been. */
static void check_spoilt(struct made model, uint32_t spoilt, bool wants_logits)
{
    struct subject subject = endless_subject(model);
    struct engine *engine = open_subject(&subject);
    struct engine_adapter_set endless = only(1, 1);
    struct sequence alone = run_alone(engine, 3, &nobody), beside = {.slot = SLOTS - 1, .seed = 3};
    void *blob;
    size_t bytes;
    while (beside.count < STEPS / 2)
        step(engine, &beside, 1);
    engine_use_adapters(engine, &endless);
    for (uint32_t slot = 0; slot < spoilt; slot++) {
        put_in(engine, slot, 200, wants_logits);
        if (wants_logits)
            CHECK_ERR(engine_seq_save(engine, slot, &blob, &bytes), ERR_REFUSED);
        CHECK_ERR(engine_seq_cut(engine, slot, 100), wants_logits ? ERR_REFUSED : ERR_OK);
        CHECK_OK(engine_seq_cut(engine, slot, 0));
    }
    engine_use_adapters(engine, &nobody);
    for (uint32_t slot = 0; slot < spoilt; slot++) {
        struct sequence next = {.slot = slot, .seed = 3};
        while (next.count < STEPS)
            step(engine, &next, 1);
        CHECK(is_same(&next, &alone));
        CHECK_OK(engine_seq_cut(engine, slot, 0));
    }
    while (beside.count < STEPS)
        step(engine, &beside, 1);
    CHECK(is_same(&beside, &alone));
    engine_close(&engine);
    subject_fini(&subject);
}

TEST(what_is_not_finite_does_not_stay_in_a_slot)
{
    check_spoilt(made_kind(RANDOM_LLAMA), 1, true);
    check_spoilt(made_kind(RANDOM_LLAMA), SLOTS - 1, true);
    check_spoilt(made_kind(RANDOM_LLAMA), SLOTS - 1, false);
}

TEST(nor_where_streams_cannot_be_copied)
{
    check_spoilt(made_kind(RANDOM_WINDOW), SLOTS - 1, true);
    check_spoilt(made_kind(RANDOM_HYBRID), 1, true);
    check_spoilt(made_kind(RANDOM_RECURRENT), 1, true);
}

/* --- files that are not what they say --- */

struct replacing {
    struct subject *subject;
    struct text bytes; /* of its second adapter: the first becomes that, too */
    bool is_done;
};

static bool replace(void *ctx, float fraction)
{
    struct replacing *replacing = ctx;
    struct slice bytes = text_slice(&replacing->bytes);
    if (fraction > 0 && !replacing->is_done) {
        CHECK_OK(file_write(replacing->subject->first.path, &bytes, 1, NULL));
        replacing->is_done = true;
    }
    return true;
}

static bool stop_at_third(void *ctx, float fraction)
{
    uint32_t *asked = ctx;
    CHECK(fraction == 0);
    return ++*asked < 3;
}

/* Behind two pieces of three: what is in the file is not looked at. */
TEST(a_stop_is_heard_in_the_middle_of_an_adapter)
{
    struct subject subject = subject_of(made_kind(RANDOM_LLAMA));
    struct engine *engine = open_subject(&subject); /* or the test is skipped */
    static const char *const search[] = {SOURCE_ROOT "/build/deps/engine/lib", NULL};
    struct err_note note = {{0}};
    uint32_t asked = 0;
    engine_close(&engine);
    CHECK_EQ(truncate(subject.first.path, 40 << 20), 0);
    subject.options.model_path = subject.model.path;
    subject.options.search = search;
    subject.options.library_dir = getenv("MILLRACE_ENGINE_DIR");
    subject.options.threads = subject.options.threads_batch = 1;
    CHECK_ERR(engine_llama_open(&subject.options, stop_at_third, &asked, &engine, &note),
              ERR_CANCELLED);
    CHECK_EQ(asked, 3);
    CHECK(strstr(note.text, "was stopped"));
    subject_fini(&subject);
}

/* What libllama gets is written when the weights are there, and all had been found to fit. */
TEST(a_file_that_is_replaced_while_the_model_is_loaded_is_refused)
{
    struct subject subject = subject_of(made_kind(RANDOM_LLAMA));
    struct replacing replacing = {.subject = &subject};
    struct err_note note = {{0}};
    struct engine *engine = open_subject(&subject); /* or the test is skipped */
    engine_close(&engine);
    text_init(&replacing.bytes, 16 << 20);
    CHECK_OK(file_read(subject.second.path, &replacing.bytes, NULL));
    static const char *const search[] = {SOURCE_ROOT "/build/deps/engine/lib", NULL};
    subject.options.model_path = subject.model.path;
    subject.options.search = search;
    subject.options.library_dir = getenv("MILLRACE_ENGINE_DIR");
    subject.options.threads = subject.options.threads_batch = 1;
    CHECK_ERR(engine_llama_open(&subject.options, replace, &replacing, &engine, &note),
              ERR_PROTOCOL);
    CHECK(replacing.is_done);
    CHECK(strstr(note.text, "the adapter 'first'"));
    CHECK(strstr(note.text, "it has changed while the model was loaded"));
    text_fini(&replacing.bytes);
    subject_fini(&subject);
}

static void check_refused(const struct subject *subject, const char *path, const char *why)
{
    static const char *const search[] = {SOURCE_ROOT "/build/deps/engine/lib", NULL};
    struct engine_adapter_file file = {"bad", path, 0};
    struct engine_llama_options options = subject->options;
    struct err_note note = {{0}};
    struct engine *engine = NULL;
    options.model_path = subject->model.path;
    options.search = search;
    options.library_dir = getenv("MILLRACE_ENGINE_DIR");
    options.threads = options.threads_batch = 1;
    options.adapters = &file;
    options.adapter_count = 1;
    CHECK_ERR(engine_llama_open(&options, NULL, NULL, &engine, &note), ERR_PROTOCOL);
    CHECK(strstr(note.text, "the adapter 'bad'"));
    if (!strstr(note.text, why))
        CHECK_STR(note.text, why);
}

TEST(files_that_are_no_adapter_of_the_model_are_refused)
{
    struct subject subject = subject_of(made_kind(RANDOM_LLAMA));
    struct engine *engine = open_subject(&subject); /* or the test is skipped */
    engine_close(&engine);
    check_refused(&subject, "/nowhere/at/all.gguf", "cannot be opened: No such file");
    check_refused(&subject, "/", "it is not a regular file");
    check_refused(&subject, subject.model.path, "its general.type is model");

    struct made other = made_kind(RANDOM_WINDOW);
    struct random_lora lora = random_lora_default(other.path);
    struct made wrong = made_lora(&lora);
    check_refused(&subject, wrong.path, "it is for models of kind gemma3, and this one is llama");
    made_fini(&wrong);
    made_fini(&other);

    lora = random_lora_default(SOURCE_ROOT "/models/nano.gguf");
    wrong = made_lora(&lora);
    check_refused(&subject, wrong.path, "is it for another model?");
    made_fini(&wrong);

    lora = random_lora_default(subject.model.path);
    lora.strength = 0;
    wrong = made_lora(&lora);
    check_refused(&subject, wrong.path, "it changes nothing: its matrices are zeros, or");
    made_fini(&wrong);

    struct text bytes;
    text_init(&bytes, 16 << 20);
    CHECK_OK(file_read(subject.first.path, &bytes, NULL));
    for (size_t part = 0; part < 4; part++) {
        struct slice cut = slice_first(text_slice(&bytes), bytes.len * part / 4);
        CHECK_OK(file_write(subject.second.path, &cut, 1, NULL));
        check_refused(&subject, subject.second.path, part == 0 ? "it is empty" : "it is cut off");
    }
    text_fini(&bytes);
    subject_fini(&subject);
}
