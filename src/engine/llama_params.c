/* llama_params - one place for what of libllama's many switches is turned. */
#include "engine/llama_params.h"

static bool has_gpu(const struct llama_api *api)
{
    return api->ggml_backend_dev_by_type(GGML_BACKEND_DEVICE_TYPE_GPU) ||
           api->ggml_backend_dev_by_type(GGML_BACKEND_DEVICE_TYPE_IGPU);
}

/* Weights that are repacked are copied, and their pages of the file stay with us for nothing: read,
 * a Q4_0 model takes half (docs/design/021). */
static enum llama_load_mode load_mode(enum engine_load load, bool is_repacked)
{
    switch (load) {
    case ENGINE_LOAD_MAP:
        return LLAMA_LOAD_MODE_MMAP;
    case ENGINE_LOAD_READ:
        return LLAMA_LOAD_MODE_NONE;
    case ENGINE_LOAD_AUTO:
        return is_repacked ? LLAMA_LOAD_MODE_NONE : LLAMA_LOAD_MODE_AUTO;
    }
    ASSERT(false);
    return LLAMA_LOAD_MODE_AUTO;
}

/* Left to itself libllama takes every GPU it finds, and the processor without a word if it finds
 * none. */
enum err llama_params_of_model(const struct llama_api *api,
                               const struct engine_llama_options *options, bool is_repacked,
                               struct llama_model_params *out_params, struct err_note *out_note)
{
    static ggml_backend_dev_t no_devices[] = {NULL};
    struct llama_model_params params = api->llama_model_default_params();
    params.load_mode = load_mode(options->load, is_repacked);
    params.n_gpu_layers =
        options->gpu_layers < INT32_MAX ? (int32_t)options->gpu_layers : INT32_MAX;
    if (options->gpu_layers == 0)
        params.devices = no_devices;
    else if (!has_gpu(api))
        return err_note_fail(
            out_note, ERR_LIMIT,
            "%u layers are to be on a GPU (llama_n_gpu_layers), and libllama finds "
            "none: set it to 0, or MILLRACE_ENGINE_DIR to a build of llama.cpp "
            "v" LLAMA_API_RELEASE " with a back-end for yours",
            options->gpu_layers);
    *out_params = params;
    return ERR_OK;
}

static enum ggml_type kv_type(enum engine_kv_type type)
{
    static const enum ggml_type types[] = {
        [ENGINE_KV_F16] = GGML_TYPE_F16,
        [ENGINE_KV_F32] = GGML_TYPE_F32,
        [ENGINE_KV_Q8_0] = GGML_TYPE_Q8_0,
        [ENGINE_KV_Q4_0] = GGML_TYPE_Q4_0,
    };
    return types[type];
}

/* A row of the vocabulary for each token of a batch would be most of the compute buffer: 64 MiB at
 * 32000 tokens. */
static uint32_t outputs_max(const struct engine_llama_options *options,
                            const struct llama_geometry *geometry)
{
    uint64_t rows = (uint64_t)options->logits_per_slot * geometry->slots + options->logits_extra;
    return options->logits_per_slot > 0 && rows < geometry->batch_tokens ? (uint32_t)rows
                                                                         : 0; /* 0: all */
}

struct llama_context_params llama_params_of_context(const struct llama_api *api,
                                                    const struct engine_llama_options *options,
                                                    const struct llama_geometry *geometry)
{
    struct llama_context_params params = api->llama_context_default_params();
    params.n_ctx = geometry->cells;
    params.n_batch = params.n_ubatch = geometry->batch_tokens;
    params.n_seq_max = geometry->slots;
    params.n_outputs_max = outputs_max(options, geometry);
    params.n_threads = (int32_t)options->threads;
    params.n_threads_batch = (int32_t)options->threads_batch;
    params.kv_unified = options->fast;
    params.flash_attn_type =
        options->fast ? LLAMA_FLASH_ATTN_TYPE_AUTO : LLAMA_FLASH_ATTN_TYPE_DISABLED;
    params.type_k = kv_type(options->kv_key);
    params.type_v = kv_type(options->kv_value);
    return params;
}
