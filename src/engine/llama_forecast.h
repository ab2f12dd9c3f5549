/* llama_forecast - what a model will take, before any of it is taken: libllama goes through the
 * load with the file's header and vocabulary alone, lays out its largest batch, and says how large
 * the buffer for computing becomes. Its own sum, so it is exact where ours is an estimate; it costs
 * the vocabulary once more (10 ms for the shipped model, 0.1 s for 32000 tokens). */
#pragma once

#include "engine/llama_params.h"

struct llama_forecast {
    uint64_t compute_bytes;
    bool is_repacked; /* this processor wants the weights in another order: they are copied */
    /* Of those, what stays as it was besides: a table of embeddings that is the output, too. Rows
     * are looked up in the one and multiplied with the other. */
    uint64_t twice_bytes;
};

/* On the thread that opens, between no other llama_log_begin() and _end(). ERR_LIMIT: see
 * llama_params; ERR_PROTOCOL: libllama refuses the model or such a context (note). */
MUST_USE enum err llama_forecast_make(const struct llama_api *api,
                                      const struct engine_llama_options *options,
                                      const struct llama_geometry *geometry,
                                      struct llama_forecast *out_forecast,
                                      struct err_note *out_note);
