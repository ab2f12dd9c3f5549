/* models - from config to the two workers' options: the llama model and the built-in dummy. */
#pragma once

#include "config/config.h"
#include "worker/worker.h"

struct models {
    struct worker_options llama, dummy;
    struct engine_llama_options llama_engine;
    struct engine_dummy_options dummy_engine;
    struct engine_adapter_file adapters[ENGINE_ADAPTERS_MAX];
    struct worker_file llama_file; /* the engine thread's until it is open */
    cpu_set_t llama_cpus;
    char model_path[4096 + 32], engine_search[2][4096 + 64];
    const char *search[3];
};
/* *out_models borrows from config and points into itself: it must stay where it is while workers
 * use it. */
void models_from_config(const struct config *config, unsigned cores, struct models *out_models);
