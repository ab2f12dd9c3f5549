/* models - what the config's model keys mean for workers and engines. */
#include "role/models.h"

#include "base/cpu_list.h"
#include "base/log.h"
#include "engine/gguf.h"

#include <limits.h>
#include <stdio.h>

/* What all of our processes hold besides, measured with two models (docs/design/021): libraries,
 * what the roles keep, and a vocabulary with its merges. */
static uint64_t process_kib(const struct engine_info *info)
{
    enum { BASE_KIB = 12 * 1024, TOKEN_BYTES = 150 };
    return BASE_KIB + (uint64_t)info->vocab_size * TOKEN_BYTES / 1024;
}

/* What it costs, and where it differs from what was asked for (architecture.md, KV geometry). */
static void log_geometry(const struct engine_llama_options *asked, const struct engine_info *info)
{
    enum { KIB = 1024 };
    log_event(LOG_INFO, "model_memory",
              "weights_kib=%llu adapters_kib=%llu kv_kib=%llu compute_kib=%llu process_kib=%llu "
              "slots=%u context=%u threads=%u",
              (unsigned long long)info->weights_bytes / KIB,
              (unsigned long long)info->adapter_bytes / KIB,
              (unsigned long long)info->kv_bytes / KIB,
              (unsigned long long)info->compute_bytes / KIB, (unsigned long long)process_kib(info),
              info->slots, info->context_tokens, asked->threads);
    if (asked->context_tokens > info->context_tokens)
        log_event(LOG_INFO, "context_capped", "llama_n_ctx=%u trained_for=%u",
                  asked->context_tokens, info->context_tokens);
}

MUST_USE static enum err open_llama(void *ctx, engine_progress_fn *on_progress, void *progress_ctx,
                                    struct engine **out_engine, struct err_note *out_note)
{
    struct models *models = ctx;
    struct gguf_summary summary;
    /* The engine reads it again, and says what is wrong with it. */
    if (gguf_check_file(models->model_path, &summary, NULL) == ERR_OK)
        models->llama_file = (struct worker_file){.layers = (uint32_t)summary.block_count,
                                                  .weights_bytes = summary.data_bytes};
    TRY(engine_llama_open(&models->llama_engine, on_progress, progress_ctx, out_engine, out_note));
    log_geometry(&models->llama_engine, &(*out_engine)->info);
    return ERR_OK;
}

MUST_USE static enum err open_dummy(void *ctx, engine_progress_fn *on_progress, void *progress_ctx,
                                    struct engine **out_engine, struct err_note *out_note)
{
    struct models *models = ctx;
    return engine_dummy_open(&models->dummy_engine, on_progress, progress_ctx, out_engine,
                             out_note);
}

static struct worker_options worker_from_config(const struct config *config)
{
    struct worker_options options = worker_options_default();
    options.default_max_tokens = config->default_max_tokens;
    options.core.park_ms = config->park_ms;
    return options;
}

/* One core stays free for the loops: an engine that spins on all of them starves everything.
 * `cpus`: those that it stays on; two threads on one of them wait for each other at every node of
 * the graph. The workers of a model share both. */
static uint32_t default_threads(unsigned cores, unsigned cpus, uint32_t workers)
{
    uint32_t threads = cores > workers ? (cores - 1) / workers : 1;
    uint32_t places = cpus > workers ? cpus / workers : 1;
    threads = threads < places ? threads : places;
    return threads < 4 ? threads : 4;
}

/* Obeyed, but said: with an engine thread on every core the loops wait for their turn. */
static void warn_of_threads(const char *key, uint32_t threads, uint32_t workers, unsigned cores,
                            unsigned cpus)
{
    uint32_t all = threads * workers; /* 512 and 8 at most */
    if (all > cpus)
        log_event(LOG_WARN, "threads_above_cpus", "%s=%u llama_cpus=%u llama_workers=%u", key,
                  threads, cpus, workers);
    else if (all >= cores && cores > 1)
        log_event(LOG_WARN, "threads_not_below_cores", "%s=%u cores=%u llama_workers=%u", key,
                  threads, cores, workers);
}

/* How many it names; UINT_MAX: it says nothing. */
static unsigned cpus_from_config(const struct config *config, cpu_set_t *out_cpus)
{
    if (!config->llama_cpus[0])
        return UINT_MAX;
    enum err err = cpu_list_parse(slice_str(config->llama_cpus), out_cpus, NULL);
    ASSERT(err == ERR_OK); /* the config has read it */
    return (unsigned)CPU_COUNT(out_cpus);
}

/* The config has checked that it is one of them. */
static int index_of(const char *name, const char *const *names, int count)
{
    for (int i = 0; i < count; i++)
        if (strcmp(name, names[i]) == 0)
            return i;
    ASSERT_MSG(false, "%s", name);
    return 0;
}

static enum engine_kv_type kv_type_of(const char *name)
{
    static const char *const names[] = {[ENGINE_KV_F16] = "f16",
                                        [ENGINE_KV_F32] = "f32",
                                        [ENGINE_KV_Q8_0] = "q8_0",
                                        [ENGINE_KV_Q4_0] = "q4_0"};
    return (enum engine_kv_type)index_of(name, names, ARRAY_COUNT(names));
}

static enum engine_load load_of(const char *name)
{
    static const char *const names[] = {
        [ENGINE_LOAD_AUTO] = "auto", [ENGINE_LOAD_MAP] = "mmap", [ENGINE_LOAD_READ] = "read"};
    return (enum engine_load)index_of(name, names, ARRAY_COUNT(names));
}

_Static_assert((int)CONFIG_ADAPTERS_MAX == (int)ENGINE_ADAPTERS_MAX &&
                   (int)CONFIG_ADAPTERS_AT_ONCE == (int)ENGINE_ADAPTERS_AT_ONCE &&
                   (int)CONFIG_ADAPTER_NAME_MAX_BYTES == (int)ENGINE_ADAPTER_NAME_MAX_BYTES,
               "the config lets through what the engine takes");
static void adapters_from_config(const struct config *config, struct models *models)
{
    for (size_t i = 0; i < config->llama_lora_count; i++)
        models->adapters[i] = (struct engine_adapter_file){.name = config->llama_lora[i].name,
                                                           .path = config->llama_lora[i].path,
                                                           .scale = config->llama_lora[i].scale};
}

static bool is_fast(const struct config *config)
{
    return strcmp(config->engine_profile, "fast") == 0;
}

static void llama_from_config(const struct config *config, unsigned cores, struct models *models)
{
    unsigned cpus = cpus_from_config(config, &models->llama_cpus);
    uint32_t workers = config->llama_workers;
    warn_of_threads("llama_n_threads", config->llama_n_threads, workers, cores, cpus);
    warn_of_threads("llama_n_threads_batch", config->llama_n_threads_batch, workers, cores, cpus);
    if (config->llama_model_path[0])
        snprintf(models->model_path, sizeof(models->model_path), "%s", config->llama_model_path);
    else
        snprintf(models->model_path, sizeof(models->model_path), "%s/models/nano.gguf",
                 config->data_dir);
    snprintf(models->engine_search[0], sizeof(models->engine_search[0]), "%s/engine",
             config->data_dir);
    snprintf(models->engine_search[1], sizeof(models->engine_search[1]), "%s/build/deps/engine/lib",
             config->data_dir);
    models->search[0] = models->engine_search[0];
    models->search[1] = models->engine_search[1];
    adapters_from_config(config, models);
    uint32_t threads =
        config->llama_n_threads ? config->llama_n_threads : default_threads(cores, cpus, workers);
    models->llama_engine = (struct engine_llama_options){
        .library_dir = config->engine_dir[0] ? config->engine_dir : NULL,
        .search = models->search,
        .model_path = models->model_path,
        .slots = config->llama_slots,
        .context_tokens = config->llama_n_ctx,
        .kv_memory_bytes = config->kv_memory,
        .workers = workers,
        .threads = threads,
        .threads_batch = config->llama_n_threads_batch ? config->llama_n_threads_batch : threads,
        .cpus = config->llama_cpus[0] ? &models->llama_cpus : NULL,
        .batch_tokens = 512,
        .fast = is_fast(config),
        .kv_key = kv_type_of(config->kv_type_k),
        .kv_value = kv_type_of(config->kv_type_v),
        .load = load_of(config->llama_load),
        .gpu_layers = config->llama_n_gpu_layers,
        .logits_per_slot = 1, /* core.h: a step samples once for each sequence, */
        /* and from what is drafted; in profile exact single rows differ, and nothing is (020). */
        .logits_extra = is_fast(config) ? config->draft_tokens : 0,
        .adapters = models->adapters,
        .adapter_count = (uint32_t)config->llama_lora_count,
    };
}

static void dummy_from_config(const struct config *config, struct models *models)
{
    models->dummy_engine = engine_dummy_options_default();
    models->dummy_engine.slots = config->dummy_slots;
    models->dummy_engine.tokens = config->dummy_tokens;
    models->dummy_engine.delay_us = config->dummy_delay_ms * 1000;
    models->dummy_engine.prefill_us_per_token = config->dummy_prefill_us;
    models->dummy_engine.script = slice_str(config->dummy_text);
    models->dummy_engine.says_time = config->dummy_clock;
    models->dummy_engine.fail_at = config->dummy_fail_at;
    models->dummy_engine.stall_at = config->dummy_stall_at;
    models->dummy_engine.load_ms = config->dummy_load_ms;
}

void models_from_config(const struct config *config, unsigned cores, struct models *out_models)
{
    *out_models = (struct models){0};
    llama_from_config(config, cores, out_models);
    dummy_from_config(config, out_models);
    out_models->llama = worker_from_config(config);
    out_models->llama.model = config->default_model;
    out_models->llama.engine_kind = "llama";
    out_models->llama.open_engine = open_llama;
    out_models->llama.open_ctx = out_models;
    out_models->llama.file = &out_models->llama_file;
    out_models->llama.profile = config->engine_profile;
    out_models->llama.core.learns_steps = true;
    out_models->llama.core.target_itl_ms = config->target_itl_ms;
    out_models->llama.core.prefix_bytes_max =
        config->prefix_cache_bytes / config->llama_workers; /* each knows its own */
    out_models->llama.core.draft_tokens_max = config->draft_tokens;
    out_models->llama.core.draft_is_exact = true; /* once the self-test says that it is */
    out_models->dummy = worker_from_config(config);
    out_models->dummy.model = "dummy";
    out_models->dummy.engine_kind = "dummy";
    out_models->dummy.open_engine = open_dummy;
    out_models->dummy.open_ctx = out_models;
}
