/* llama_forecast - a load without the weights. */
#include "engine/llama_forecast.h"

static enum err lay_out(const struct llama_api *api, const struct engine_llama_options *options,
                        const struct llama_geometry *geometry, struct err_note *out_note)
{
    struct llama_model_params params;
    TRY(llama_params_of_model(api, options, false, &params, out_note));
    params.no_alloc = true;
    params.load_mode = LLAMA_LOAD_MODE_NONE; /* there is nothing to map */
    struct llama_model *model = api->llama_model_load_from_file(options->model_path, params);
    if (!model)
        return ERR_PROTOCOL;
    struct llama_context *context =
        api->llama_init_from_model(model, llama_params_of_context(api, options, geometry));
    if (context)
        api->llama_free(context);
    api->llama_model_free(model);
    return context ? ERR_OK : ERR_PROTOCOL;
}

struct tied {
    uint32_t embed_type, block_type;
    uint64_t embed_bytes;
    bool has_output;
};

static enum err look_at_tensor(void *ctx, const struct gguf_tensor *tensor)
{
    struct tied *tied = ctx;
    if (slice_eq(tensor->name, SLICE("token_embd.weight"))) {
        tied->embed_type = tensor->type;
        tied->embed_bytes = tensor->bytes;
    } else if (slice_eq(tensor->name, SLICE("output.weight"))) {
        tied->has_output = true;
    } else if (slice_eq(tensor->name, SLICE("blk.0.attn_q.weight")) ||
               slice_eq(tensor->name, SLICE("blk.0.attn_qkv.weight"))) {
        tied->block_type = tensor->type;
    }
    return ERR_OK;
}

/* Taken for repacked if it is of the type of the first block's matrices. 0: it is not, or not tied.
 */
static uint64_t twice_bytes(const char *path)
{
    struct gguf_map map;
    struct tied tied = {0};
    if (gguf_map(path, &map, NULL) != ERR_OK)
        return 0; /* the load will say why */
    enum err err = gguf_each_tensor(map.head, map.file_bytes, look_at_tensor, &tied);
    gguf_unmap(&map);
    bool is_twice = err == ERR_OK && !tied.has_output && tied.embed_type == tied.block_type;
    return is_twice ? tied.embed_bytes : 0;
}

enum err llama_forecast_make(const struct llama_api *api,
                             const struct engine_llama_options *options,
                             const struct llama_geometry *geometry,
                             struct llama_forecast *out_forecast, struct err_note *out_note)
{
    struct llama_log log;
    llama_log_begin(&log);
    enum err err = lay_out(api, options, geometry, out_note);
    llama_log_end();
    if (err == ERR_PROTOCOL)
        return err_note_fail(out_note, err, "libllama refuses %s: %s", options->model_path,
                             log.first_error[0] ? log.first_error : "it does not say why");
    TRY(err);
    *out_forecast = (struct llama_forecast){
        .compute_bytes = log.compute_bytes,
        .is_repacked = log.is_repacked,
        .twice_bytes = log.is_repacked ? twice_bytes(options->model_path) : 0};
    return ERR_OK;
}
