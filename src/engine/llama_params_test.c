/* Tests of what libllama is asked for, without one: its functions are ours. */
#include "engine/llama_params.h"

#include "testing/test.h"

static enum ggml_backend_dev_type device_there; /* beside the processor */

static struct llama_model_params model_defaults(void)
{
    return (struct llama_model_params){.n_gpu_layers = -1, .load_mode = LLAMA_LOAD_MODE_AUTO};
}

static struct llama_context_params context_defaults(void)
{
    return (struct llama_context_params){.type_k = GGML_TYPE_F16, .type_v = GGML_TYPE_F16};
}

static ggml_backend_dev_t device_by_type(enum ggml_backend_dev_type type)
{
    static char device;
    return type == device_there ? (ggml_backend_dev_t)(void *)&device : NULL;
}

static const struct llama_api api = {.llama_model_default_params = model_defaults,
                                     .llama_context_default_params = context_defaults,
                                     .ggml_backend_dev_by_type = device_by_type};

static struct llama_model_params model_params(const struct engine_llama_options *options,
                                              bool is_repacked)
{
    struct llama_model_params params;
    CHECK_OK(llama_params_of_model(&api, options, is_repacked, &params, NULL));
    return params;
}

TEST(no_gpu_is_used_unless_it_is_asked_for)
{
    struct engine_llama_options options = {.gpu_layers = 0};
    device_there = GGML_BACKEND_DEVICE_TYPE_GPU;
    struct llama_model_params params = model_params(&options, false);
    CHECK_EQ(params.n_gpu_layers, 0);
    CHECK(params.devices && !params.devices[0]); /* a list of none, not libllama's own */
}

TEST(gpu_layers_are_passed_on_where_there_is_a_gpu)
{
    static const enum ggml_backend_dev_type kinds[] = {GGML_BACKEND_DEVICE_TYPE_GPU,
                                                       GGML_BACKEND_DEVICE_TYPE_IGPU};
    for (size_t i = 0; i < ARRAY_COUNT(kinds); i++) {
        struct engine_llama_options options = {.gpu_layers = 20};
        device_there = kinds[i];
        struct llama_model_params params = model_params(&options, false);
        CHECK_EQ(params.n_gpu_layers, 20);
        CHECK(params.devices == NULL);
    }
}

TEST(gpu_layers_without_a_gpu_are_refused_in_words)
{
    struct engine_llama_options options = {.gpu_layers = 1};
    struct llama_model_params params;
    struct err_note note = {{0}};
    device_there = GGML_BACKEND_DEVICE_TYPE_ACCEL;
    CHECK_ERR(llama_params_of_model(&api, &options, false, &params, &note), ERR_LIMIT);
    CHECK(strstr(note.text, "1 layers are to be on a GPU (llama_n_gpu_layers)"));
    CHECK(strstr(note.text, "MILLRACE_ENGINE_DIR"));
}

TEST(weights_that_are_copied_anyway_are_not_mapped)
{
    static const struct {
        enum engine_load load;
        bool is_repacked;
        enum llama_load_mode mode;
    } cases[] = {{ENGINE_LOAD_AUTO, false, LLAMA_LOAD_MODE_AUTO},
                 {ENGINE_LOAD_AUTO, true, LLAMA_LOAD_MODE_NONE},
                 {ENGINE_LOAD_MAP, false, LLAMA_LOAD_MODE_MMAP},
                 {ENGINE_LOAD_MAP, true, LLAMA_LOAD_MODE_MMAP},
                 {ENGINE_LOAD_READ, false, LLAMA_LOAD_MODE_NONE}};
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        struct engine_llama_options options = {.load = cases[i].load};
        CHECK_EQ(model_params(&options, cases[i].is_repacked).load_mode, cases[i].mode);
    }
}

TEST(context_is_what_fits)
{
    struct engine_llama_options options = {
        .threads = 3, .threads_batch = 5, .kv_key = ENGINE_KV_Q8_0, .kv_value = ENGINE_KV_F32};
    struct llama_geometry geometry = {.slots = 4, .cells = 4096, .batch_tokens = 512};
    struct llama_context_params params = llama_params_of_context(&api, &options, &geometry);
    CHECK_EQ(params.n_ctx, 4096);
    CHECK_EQ(params.n_seq_max, 4);
    CHECK_EQ(params.n_batch, 512);
    CHECK_EQ(params.n_ubatch, 512);
    CHECK_EQ(params.n_threads, 3);
    CHECK_EQ(params.n_threads_batch, 5);
    CHECK_EQ(params.type_k, GGML_TYPE_Q8_0);
    CHECK_EQ(params.type_v, GGML_TYPE_F32);
    CHECK(!params.kv_unified);
    CHECK_EQ(params.flash_attn_type, LLAMA_FLASH_ATTN_TYPE_DISABLED);
    CHECK_EQ(params.n_outputs_max, 0); /* as many as rows */
    options.fast = true;
    params = llama_params_of_context(&api, &options, &geometry);
    CHECK(params.kv_unified);
    CHECK_EQ(params.flash_attn_type, LLAMA_FLASH_ATTN_TYPE_AUTO);
}

TEST(logits_have_room_for_what_each_slot_may_want)
{
    static const struct {
        uint32_t per_slot, extra, slots, expected;
    } cases[] = {{0, 0, 4, 0},   {1, 0, 4, 4},
                 {8, 0, 4, 32},  {1, 8, 4, 12},
                 {0, 8, 4, 0},   {1, 507, 4, 511},
                 {1, 508, 4, 0}, {127, 0, 4, 508},
                 {128, 0, 4, 0}, {UINT32_MAX, UINT32_MAX, 256, 0}};
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        struct engine_llama_options options = {.logits_per_slot = cases[i].per_slot,
                                               .logits_extra = cases[i].extra};
        struct llama_geometry geometry = {.slots = cases[i].slots, .batch_tokens = 512};
        CHECK_EQ(llama_params_of_context(&api, &options, &geometry).n_outputs_max,
                 cases[i].expected);
    }
}
