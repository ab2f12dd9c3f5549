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
    *out_forecast =
        (struct llama_forecast){.compute_bytes = log.compute_bytes, .is_repacked = log.is_repacked};
    return ERR_OK;
}
