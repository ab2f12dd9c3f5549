/* llama_params - what libllama is asked for: the parameters of a model and of its context, from our
 * options and what fits (llama_geometry). Beyond its defaults only what is set here. */
#pragma once

#include "engine/engine.h"
#include "engine/llama_api.h"
#include "engine/llama_geometry.h"

/* is_repacked: this processor wants the weights in another order (llama_forecast.h). ERR_LIMIT: GPU
 * layers are asked for, and there is no GPU. */
MUST_USE enum err llama_params_of_model(const struct llama_api *api,
                                        const struct engine_llama_options *options,
                                        bool is_repacked, struct llama_model_params *out_params,
                                        struct err_note *out_note);
struct llama_context_params llama_params_of_context(const struct llama_api *api,
                                                    const struct engine_llama_options *options,
                                                    const struct llama_geometry *geometry);
