/* engine_llama_open - a GGUF file becomes an engine: what it says, what it will take, its weights,
 * adapters, a context. Each step can fail with a sentence, and most can be stopped. */
#include "engine/engine_llama_impl.h"

#include "base/mem.h"
#include "engine/adapters_effect.h"
#include "engine/llama_forecast.h"
#include "engine/llama_geometry.h"
#include "engine/llama_params.h"
#include "engine/memory_available.h"
#include "engine/read_ahead.h"

#include <stdio.h>
#include <stdlib.h>

enum {
    BATCH_TOKENS_DEFAULT = 512,
};

/* Of a load whose weights are mapped: what comes behind is nothing beside a disk, and a fifth of a
 * second for 220 MB that are all in the page cache already (reading those: 0.08 s). */
static const float READ_AHEAD_PART = 0.9f;

struct load { /* what the steps of engine_llama_open() share */
    const struct engine_llama_options *options;
    engine_progress_fn *on_progress;
    void *progress_ctx;
    bool was_stopped;
    float was_read; /* the part of the whole load that read_ahead() was: libllama does the rest */
    struct gguf_summary summary;
    struct llama_wish wish;
    struct llama_geometry geometry;
    struct llama_forecast forecast;
    struct llama_log log;
    struct err_note *note;
};

static bool say_progress(struct load *load, float fraction)
{
    if (load->on_progress && !load->on_progress(load->progress_ctx, fraction))
        load->was_stopped = true;
    return !load->was_stopped;
}

static bool on_read_ahead(void *ctx, float fraction)
{
    return say_progress(ctx, fraction * READ_AHEAD_PART);
}

static bool on_load_progress(float fraction, void *ctx)
{
    struct load *load = ctx;
    return say_progress(load, load->was_read + fraction * (1 - load->was_read));
}

static bool may_go_on(void *ctx)
{
    return say_progress(ctx, 0);
}

static bool may_still_go_on(void *ctx) /* the weights are there */
{
    return say_progress(ctx, 1);
}

/* Weights that libllama reads itself it counts, tensor by tensor. */
static enum err read_what_is_mapped(struct load *load, const struct llama_model_params *params)
{
    if (params->load_mode == LLAMA_LOAD_MODE_NONE)
        return ERR_OK;
    load->was_read = READ_AHEAD_PART;
    return read_ahead(load->options->model_path, on_read_ahead, load, load->note);
}

static enum err end_of_adapters(const struct load *load, enum err err)
{
    if (err == ERR_CANCELLED)
        return err_note_fail(load->note, err, "the load of %s was stopped",
                             load->options->model_path);
    return err;
}

static enum err look_at_adapters(struct llama_engine *self, struct load *load)
{
    return end_of_adapters(
        load, llama_adapters_look(&self->adapters, load->options, may_go_on, load, load->note));
}

static enum err load_adapters(struct llama_engine *self, struct load *load)
{
    return end_of_adapters(load, llama_adapters_load(&self->adapters, load->options, self->api,
                                                     self->model, &load->log, may_still_go_on, load,
                                                     load->note));
}

static enum err look_at_file(struct llama_engine *self, struct load *load)
{
    const struct engine_llama_options *options = load->options;
    /* Missing, unreadable or lying is the same to our caller: not a usable model. */
    if (gguf_check_file(options->model_path, &load->summary, load->note) != ERR_OK)
        return ERR_PROTOCOL;
    TRY(look_at_adapters(self, load));
    load->wish = (struct llama_wish){
        .slots = options->slots,
        .context_tokens = options->context_tokens,
        .batch_tokens = options->batch_tokens ? options->batch_tokens : BATCH_TOKENS_DEFAULT,
        .kv_memory_bytes = options->kv_memory_bytes,
        .workers = options->workers,
        /* What is on a GPU does not count here: libllama refuses what has no room there. */
        .memory_available_bytes = options->gpu_layers ? UINT64_MAX : memory_available_bytes(""),
        .adapter_bytes = self->adapters.bytes,
        .fast = options->fast,
        .kv_key = options->kv_key,
        .kv_value = options->kv_value};
    return llama_geometry_plan(&load->summary, &load->wish, &load->geometry, load->note);
}

static uint64_t adapter_compute_bytes(const struct llama_engine *self, const struct load *load)
{
    struct llama_context_params params =
        llama_params_of_context(self->api, load->options, &load->geometry);
    uint32_t batch = load->geometry.batch_tokens;
    return llama_adapters_compute_bytes(&self->adapters, batch,
                                        params.n_outputs_max ? params.n_outputs_max : batch);
}

/* Slots that nobody asked for make way when computing takes more than was estimated. */
static enum err forecast(struct llama_engine *self, struct load *load)
{
    for (;;) {
        TRY(llama_forecast_make(self->api, load->options, &load->geometry, &load->forecast,
                                load->note));
        load->geometry.compute_bytes = load->forecast.compute_bytes + load->geometry.scratch_bytes +
                                       adapter_compute_bytes(self, load);
        load->geometry.weights_bytes += load->forecast.twice_bytes;
        enum err err = llama_geometry_check(&load->geometry, &load->wish, load->note);
        if (err == ERR_OK || load->options->slots || load->geometry.slots == 1)
            return err;
        load->wish.slots = load->geometry.slots - 1;
        TRY(llama_geometry_plan(&load->summary, &load->wish, &load->geometry, load->note));
    }
}

/* Its reason is only in its log. Memory that it could not get is told from a file that it refuses.
 */
static enum err fail_as_logged(struct load *load)
{
    const char *error = load->log.first_error;
    return err_note_fail(load->note, strstr(error, "alloc") ? ERR_NO_MEMORY : ERR_PROTOCOL,
                         "libllama refuses %s: %s", load->options->model_path,
                         error[0] ? error : "it does not say why");
}

static enum err load_model(struct llama_engine *self, struct load *load)
{
    struct llama_model_params params;
    TRY(llama_params_of_model(self->api, load->options, load->forecast.is_repacked, &params,
                              load->note));
    TRY(read_what_is_mapped(load, &params));
    params.progress_callback = on_load_progress;
    params.progress_callback_user_data = load;
    self->model = self->api->llama_model_load_from_file(load->options->model_path, params);
    if (!self->model && load->was_stopped)
        return err_note_fail(load->note, ERR_CANCELLED, "the load of %s was stopped",
                             load->options->model_path);
    if (!self->model)
        return fail_as_logged(load);
    const struct llama_vocab *vocab = self->api->llama_model_get_vocab(self->model);
    self->cuts = !self->api->llama_model_is_recurrent(self->model) &&
                 !self->api->llama_model_is_hybrid(self->model);
    if (self->api->llama_model_has_encoder(self->model) ||
        !self->api->llama_model_has_decoder(self->model) ||
        self->api->llama_model_is_diffusion(self->model) ||
        self->api->llama_vocab_type(vocab) == LLAMA_VOCAB_TYPE_NONE)
        return err_note_fail(load->note, ERR_PROTOCOL,
                             "%s is of a kind that does not write text token by token (%s)",
                             load->options->model_path, load->summary.architecture);
    return ERR_OK;
}

static enum err make_context(struct llama_engine *self, struct load *load)
{
    const struct llama_geometry *geometry = &load->geometry;
    struct llama_context_params params =
        llama_params_of_context(self->api, load->options, geometry);
    self->logits_max = params.n_outputs_max ? params.n_outputs_max : geometry->batch_tokens;
    params.abort_callback = engine_llama_wants_abort;
    params.abort_callback_data = &self->engine;
    self->context = self->api->llama_init_from_model(self->model, params);
    if (!self->context)
        return fail_as_logged(load);
    self->memory = self->api->llama_get_memory(self->context);
    if (!self->memory) { /* it has nothing to remember a text with: it reads, and writes nothing */
        self->api->llama_free(self->context);
        self->context = NULL;
        self->engine.info.reads_only = true;
        return ERR_OK;
    }
    if (self->api->llama_n_ctx_seq(self->context) < geometry->context_tokens)
        return err_note_fail(load->note, ERR_PROTOCOL, "libllama gives %s no cache of %u tokens",
                             load->options->model_path, geometry->context_tokens);
    return ERR_OK;
}

static void make_batch(struct llama_engine *self, uint32_t batch_tokens)
{
    struct llama_batch *batch = &self->batch;
    batch->token = mem_array(batch_tokens, sizeof(*batch->token));
    batch->pos = mem_array(batch_tokens, sizeof(*batch->pos));
    batch->n_seq_id = mem_array(batch_tokens, sizeof(*batch->n_seq_id));
    batch->seq_id = mem_array(batch_tokens, sizeof(*batch->seq_id));
    batch->logits = mem_array(batch_tokens, sizeof(*batch->logits));
    self->row_slots = mem_array(batch_tokens, sizeof(*self->row_slots));
    for (uint32_t i = 0; i < batch_tokens; i++) {
        batch->n_seq_id[i] = 1;
        batch->seq_id[i] = &self->row_slots[i];
    }
}

static enum err make_text(struct llama_engine *self, struct load *load)
{
    enum err err = llama_text_init(&self->text, self->api, self->model);
    if (err != ERR_OK)
        return err_note_fail(load->note, err, "no memory for the %u tokens of %s",
                             self->text.vocab_size, load->options->model_path);
    self->engine.info.vocab_size = self->text.vocab_size;
    return ERR_OK;
}

static void describe(struct llama_engine *self, const struct load *load)
{
    struct engine_info *info = &self->engine.info;
    double params = (double)self->api->llama_model_n_params(self->model);
    snprintf(self->description, sizeof(self->description), "%s %.1f%c %s",
             load->summary.architecture, params < 1e9 ? params / 1e6 : params / 1e9,
             params < 1e9 ? 'M' : 'B',
             self->api->llama_ftype_name(self->api->llama_model_ftype(self->model)));
    info->kind = "llama";
    info->description = self->description;
    snprintf(self->build, sizeof(self->build), "%s %s", self->api->llama_version(),
             self->api->llama_print_system_info());
    info->build = self->build;
    info->slots = load->geometry.slots;
    info->context_tokens = load->geometry.context_tokens;
    info->batch_tokens = self->context ? self->api->llama_n_batch(self->context) /* may be less */
                                       : load->geometry.batch_tokens;
    info->weights_bytes = self->api->llama_model_size(self->model) + load->forecast.twice_bytes;
    info->kv_bytes = self->context ? load->geometry.kv_bytes : 0;
    info->compute_bytes =
        load->log.compute_bytes + load->geometry.scratch_bytes + adapter_compute_bytes(self, load);
    info->adapter_bytes = self->adapters.bytes;
    info->adapters = self->adapters.infos;
    info->adapter_count = self->context ? self->adapters.count : 0;
    info->add_bos = self->api->llama_vocab_get_add_bos(self->text.vocab);
    info->has_chat = self->text.chat_template != NULL;
    info->can_save = true;
    info->single_rows_differ = self->has_streams;
    info->logits_max = self->logits_max;
    info->gaps_cost = self->has_streams;
    info->can_cut = self->cuts && self->api->llama_model_n_swa(self->model) == 0;
}

/* Half the threads: whoever is generating beside it goes on, only slower. */
static void prepare_embed(struct llama_engine *self, const struct load *load)
{
    struct engine_info *info = &self->engine.info;
    struct llama_embed_options options = {.api = self->api,
                                          .model = self->model,
                                          .architecture = load->summary.architecture,
                                          .context_tokens = info->context_tokens,
                                          .threads = (load->options->threads_batch + 1) / 2,
                                          .cpus = load->options->cpus,
                                          .token_bytes = load->geometry.token_bytes,
                                          .heads = load->summary.head_count,
                                          .reads_only = info->reads_only};
    self->embed = llama_embed_new(&options, info);
}

/* Then those with a scale of their own are in use. */
static enum err try_adapters(struct llama_engine *self, struct load *load)
{
    TRY(end_of_adapters(load, adapters_effect_check(&self->engine, load->options->adapters,
                                                    may_still_go_on, load, load->note)));
    struct engine_adapter_set set = engine_default_adapters(&self->engine.info);
    engine_use_adapters(&self->engine, &set);
    return ERR_OK;
}

static enum err load_all(struct llama_engine *self, struct load *load)
{
    TRY(load_model(self, load));
    TRY(load_adapters(self, load));
    TRY(make_context(self, load));
    TRY(make_text(self, load));
    if (self->context)
        llama_threads_start(&self->threads, self->api, self->context, load->options->threads,
                            load->options->threads_batch);
    self->has_streams = !load->options->fast;
    make_batch(self, load->geometry.batch_tokens);
    llama_rows_init(&self->arranged, load->geometry.slots, load->geometry.batch_tokens);
    self->row_logits = mem_array(load->geometry.batch_tokens, sizeof(*self->row_logits));
    self->held = mem_array(load->geometry.slots, sizeof(*self->held));
    self->is_copied = mem_array(load->geometry.slots, sizeof(*self->is_copied));
    self->cells = mem_array(load->geometry.slots, sizeof(*self->cells));
    describe(self, load);
    prepare_embed(self, load);
    TRY(try_adapters(self, load));
    mem_give_back(); /* what the forecast took, and what weights were read through: 20 MB of Q4_0 */
    return ERR_OK;
}

static enum err open_all(struct llama_engine *self, struct load *load)
{
    TRY(thread_cpus_set(load->options->cpus, &self->own_cpus, load->note));
    TRY(look_at_file(self, load));
    TRY(forecast(self, load));
    llama_log_begin(&load->log);
    enum err err = load_all(self, load);
    llama_log_end();
    return err;
}

enum err engine_llama_open(const struct engine_llama_options *options,
                           engine_progress_fn *on_progress, void *progress_ctx,
                           struct engine **out_engine, struct err_note *out_note)
{
    ASSERT(options->threads > 0 && options->threads <= GGML_MAX_N_THREADS);
    ASSERT(options->threads_batch > 0 && options->threads_batch <= GGML_MAX_N_THREADS);
    ASSERT(options->adapter_count <= ENGINE_ADAPTERS_MAX);
    const struct llama_api *api = NULL;
    TRY(llama_api_load(options->library_dir, options->search, &api, out_note));
    mem_give_back_large();

    struct llama_engine *self = mem_alloc(sizeof(*self));
    struct load load = {.options = options,
                        .on_progress = on_progress,
                        .progress_ctx = progress_ctx,
                        .note = out_note};
    self->api = api;
    self->engine.ops = &engine_llama_ops;
    enum err err = open_all(self, &load);
    if (err != ERR_OK) {
        engine_llama_ops.close(&self->engine);
        return err;
    }
    *out_engine = &self->engine;
    return ERR_OK;
}

bool engine_llama_is_built(void)
{
    return true;
}
