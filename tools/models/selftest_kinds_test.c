/* The self-test of real models, with whatever libllama there is: which ones it finds to be exact,
 * and how long it takes them (printed; ./check judges nothing by it). */
#include "base/clock.h"
#include "models/rig.h"
#include "worker/selftest.h"

enum { SLOTS = 8, CONTEXT = 256 };

static struct engine_llama_options options_of(bool is_fast)
{
    return (struct engine_llama_options){.slots = SLOTS,
                                         .context_tokens = CONTEXT,
                                         .fast = is_fast,
                                         .logits_per_slot = 1,
                                         .logits_extra = is_fast ? SELFTEST_DRAFT_ROWS_MAX - 1 : 0};
}

static struct selftest_result test_of(struct engine *engine, bool is_fast)
{
    struct selftest test;
    enum selftest_next next;
    uint64_t begin_us = clock_monotonic_us();
    selftest_init(&test, engine, is_fast);
    while ((next = selftest_step(&test)) <= SELFTEST_EMPTY) {
        for (uint32_t slot = 0; slot < SLOTS && next == SELFTEST_EMPTY; slot++)
            CHECK_OK(engine_seq_cut(engine, slot, 0));
    }
    CHECK_EQ(next, SELFTEST_OVER);
    struct selftest_result result = selftest_result(&test);
    CHECK_EQ(strlen(result.fingerprint), NODE_FINGERPRINT_BYTES);
    printf("%s: %s, width_max %u, draft_rows_exact_max %u, %s, %llu ms; %s\n",
           engine->info.description, node_determinism_name(result.determinism), result.width_max,
           result.draft_rows_exact_max, result.fingerprint,
           (unsigned long long)(clock_monotonic_us() - begin_us) / 1000, engine->info.build);
    selftest_fini(&test);
    return result;
}

static struct selftest_result result_of(const struct random_model *model, bool is_fast)
{
    struct made made = made_of(model);
    struct engine *engine = made_open(&made, options_of(is_fast));
    struct selftest_result result = test_of(engine, is_fast);
    engine_close(&engine);
    made_fini(&made);
    return result;
}

static struct engine *open_nano(void)
{
    static const char *const search[] = {SOURCE_ROOT "/build/deps/engine/lib", NULL};
    struct engine_llama_options options = options_of(false);
    struct engine *engine = NULL;
    struct err_note note = {{0}};
    options.library_dir = getenv("MILLRACE_ENGINE_DIR");
    options.search = search;
    options.model_path = SOURCE_ROOT "/models/nano.gguf";
    options.threads = options.threads_batch = 1;
    enum err err = engine_llama_open(&options, NULL, NULL, &engine, &note);
    if (err == ERR_NOT_FOUND || err == ERR_REFUSED)
        SKIP("%s", note.text);
    CHECK_OK(err);
    return engine;
}

/* What the service promises for the model that comes with it. */
TEST(the_shipped_model_is_exact_and_has_one_fingerprint)
{
    struct engine *engine = open_nano();
    struct selftest_result first = test_of(engine, false);
    engine_close(&engine);
    CHECK_EQ(first.determinism, NODE_EXACT);
    CHECK_EQ(first.width_max, SLOTS);
    CHECK_EQ(first.draft_rows_exact_max, 1); /* its single rows differ */
    engine = open_nano();
    CHECK_STR(test_of(engine, false).fingerprint, first.fingerprint);
    engine_close(&engine);
}

/* With matrices of F16 a product of one row takes another kernel than one of several, so two
 * streams that decode together are not as one that is alone. */
TEST(a_model_of_f16_is_found_to_depend_on_its_company)
{
    struct random_model model = {.kind = RANDOM_LLAMA, .type = GGUF_TENSOR_F16, .seed = 1};
    struct selftest_result result = result_of(&model, false);
    CHECK_EQ(result.determinism, NODE_COMPATIBLE);
    CHECK(result.width_max <= 1);
    result = result_of(&model, true);
    CHECK_EQ(result.draft_rows_exact_max, 1); /* and so do rows of one stream: nothing is drafted */
}

TEST(fingerprints_tell_models_and_profiles_apart)
{
    struct random_model model = {.kind = RANDOM_LLAMA, .type = GGUF_TENSOR_Q8_0, .seed = 1};
    struct selftest_result first = result_of(&model, false), fast = result_of(&model, true);
    CHECK_EQ(fast.determinism, NODE_COMPATIBLE);
    model.seed = 2;
    CHECK(strcmp(result_of(&model, false).fingerprint, first.fingerprint) != 0);
}
