/* engine_llama - a GGUF model on libllama.
 *
 * Profile exact: no flash attention and one stream of cells for each slot. Then a sequence's logits
 * are bit by bit the same alone and in company, and however its prompt was cut into batches, as
 * long as no part of it is a single row (models for which that is not so are found by the worker's
 * self-test). Profile fast gives that up. */
#include "engine/engine.h"

#include "base/mem.h"
#include "engine/llama_adapters.h"
#include "engine/llama_api.h"
#include "engine/llama_cells.h"
#include "engine/llama_embed.h"
#include "engine/llama_forecast.h"
#include "engine/llama_geometry.h"
#include "engine/llama_params.h"
#include "engine/llama_rows.h"
#include "engine/llama_text.h"
#include "engine/llama_threads.h"
#include "engine/memory_available.h"
#include "engine/read_ahead.h"
#include "engine/thread_cpus.h"

#include <stdio.h>
#include <stdlib.h>

enum {
    BATCH_TOKENS_DEFAULT = 512,
};

/* Of a load whose weights are mapped: what comes behind is nothing beside a disk, and a fifth of a
 * second for 220 MB that are all in the page cache already (reading those: 0.08 s). */
static const float READ_AHEAD_PART = 0.9f;

struct llama_engine {
    struct engine engine;
    const struct llama_api *api;
    struct llama_model *model;
    struct llama_context *context;
    llama_memory_t memory;
    struct llama_text text;
    struct llama_threads threads;
    struct llama_adapters adapters;
    struct thread_cpus own_cpus; /* the engine thread's, before it was told where to run */
    bool has_streams;            /* one of cells for each slot (profile exact), not one for all */
    struct llama_embed *embed;   /* makes its context when it is needed */
    bool cuts; /* false: its state holds more than cells, slots can only be emptied */
    char description[128], build[512];
    uint32_t *held;           /* tokens in each slot */
    bool *is_copied;          /* each slot: seq_copy() from or into it, and no decode() since */
    enum llama_cells *cells;  /* each slot's */
    struct llama_batch batch; /* our arrays, batch_tokens long */
    llama_seq_id *row_slots;  /* what batch.seq_id points into */
    struct llama_rows arranged;
    uint32_t logits_max;      /* rows of a decode() that may want them */
    const float **row_logits; /* of each row of the last decode() that wants them */
    float *kept_logits;       /* those of all calls of llama_decode() but the last */
};

static struct llama_engine *self_of(struct engine *engine)
{
    return CONTAINER_OF(engine, struct llama_engine, engine);
}

static void close_engine(struct engine *engine)
{
    struct llama_engine *self = self_of(engine);
    llama_embed_free(self->embed);
    if (self->context)
        self->api->llama_free(self->context);
    llama_threads_stop(&self->threads);
    if (self->model)
        self->api->llama_model_free(self->model);
    mem_free(self->held);
    mem_free(self->is_copied);
    mem_free(self->cells);
    mem_free(self->batch.token);
    mem_free(self->batch.pos);
    mem_free(self->batch.n_seq_id);
    mem_free(self->batch.seq_id);
    mem_free(self->batch.logits);
    mem_free(self->row_slots);
    llama_rows_fini(&self->arranged);
    mem_free(self->row_logits);
    mem_free(self->kept_logits);
    llama_text_fini(&self->text);
    thread_cpus_undo(&self->own_cpus);
    mem_free(self);
}

/* --- text and tokens; any thread --- */

static enum err tokenize(struct engine *engine, struct slice text, bool add_special,
                         bool parse_special, token_id *out_tokens, size_t max_tokens,
                         size_t *out_count)
{
    return llama_text_tokenize(&self_of(engine)->text, text, add_special, parse_special, out_tokens,
                               max_tokens, out_count);
}

static enum err pair(struct engine *engine, struct slice query, struct slice document,
                     token_id *out_tokens, size_t max_tokens, size_t *out_count)
{
    return llama_text_pair(&self_of(engine)->text, query, document, out_tokens, max_tokens,
                           out_count);
}

static struct slice piece(struct engine *engine, token_id token, char *scratch,
                          size_t scratch_bytes)
{
    (void)scratch, (void)scratch_bytes; /* a token's text may be of any length: it is in a table */
    return llama_text_piece(&self_of(engine)->text, token);
}

static bool is_end(struct engine *engine, token_id token)
{
    struct llama_engine *self = self_of(engine);
    return self->api->llama_vocab_is_eog(self->text.vocab, token);
}

static enum err chat(struct engine *engine, const struct engine_chat_message *messages,
                     size_t count, struct text *out_prompt, struct err_note *out_note)
{
    return llama_text_chat(&self_of(engine)->text, messages, count, out_prompt, out_note);
}

/* --- decoding; the engine thread --- */

/* llama.cpp asks after each node of the graph that it has computed. */
static bool wants_abort(void *ctx)
{
    const struct engine *engine = ctx;
    if (engine->on_progress)
        engine->on_progress(engine->abort_ctx);
    return engine->should_abort && engine->should_abort(engine->abort_ctx);
}

static void empty_slot(struct llama_engine *self, uint32_t slot)
{
    (void)self->api->llama_memory_seq_rm(self->memory, (llama_seq_id)slot, -1,
                                         -1); /* whole: never fails */
    self->held[slot] = 0;
}

/* After a failure libllama has taken back the part of the batch that failed, and kept what came
 * before it. A recurrent state cannot be taken back. */
static void learn_what_is_held(struct llama_engine *self)
{
    for (int32_t i = 0; i < self->batch.n_tokens; i++) {
        uint32_t slot = (uint32_t)self->row_slots[i];
        if (self->cuts)
            self->held[slot] =
                (uint32_t)(self->api->llama_memory_seq_pos_max(self->memory, (llama_seq_id)slot) +
                           1);
        else
            empty_slot(self, slot);
    }
}

/* `order` says which of the rows. */
static void fill_batch(struct llama_engine *self, const struct engine_row *rows,
                       const uint32_t *order, uint32_t count)
{
    struct llama_batch *batch = &self->batch;
    uint32_t wanted = 0;
    for (uint32_t i = 0; i < count; i++) {
        const struct engine_row *row = &rows[order[i]];
        ASSERT_MSG(row->position == self->held[row->slot], "slot %u holds %u, row is at %u",
                   row->slot, self->held[row->slot], row->position);
        self->held[row->slot]++;
        batch->token[i] = row->token;
        batch->pos[i] = (llama_pos)row->position;
        self->row_slots[i] = (llama_seq_id)row->slot;
        batch->logits[i] = row->wants_logits;
        wanted += row->wants_logits;
    }
    ASSERT_MSG(wanted <= self->logits_max, "%u rows want logits, of at most %u", wanted,
               self->logits_max);
    batch->n_tokens = (int32_t)count;
}

static enum err run_batch(struct llama_engine *self)
{
    int32_t result = self->api->llama_decode(self->context, self->batch);
    memset(self->is_copied, 0, self->engine.info.slots * sizeof(*self->is_copied));
    if (result == 0)
        return ERR_OK;
    learn_what_is_held(self);
    return result == 1 ? ERR_FULL : result == 2 ? ERR_CANCELLED : ERR_SYSTEM;
}

/* libllama keeps those of its last call only: there is room for those of the calls before it, which
 * are one row at most of each slot. */
static void make_room_for_logits(struct llama_engine *self, const struct engine_row *rows)
{
    const struct llama_rows *arranged = &self->arranged;
    size_t kept = 0;
    for (uint32_t i = 0; i < arranged->call_ends[arranged->call_count - 1]; i++) {
        self->row_logits[i] = NULL;
        bool is_kept =
            arranged->call_count > 1 && i < arranged->call_ends[arranged->call_count - 2];
        kept += is_kept && rows[arranged->order[i]].wants_logits;
    }
    if (kept > 0)
        self->kept_logits = mem_grow(self->kept_logits, kept * self->engine.info.vocab_size *
                                                            sizeof(*self->kept_logits));
}

/* Where the logits of the batch's rows lie; `copy_to`: they are copied there, and it moves on. */
static void find_logits(struct llama_engine *self, const uint32_t *order, float **copy_to)
{
    size_t vocab_size = self->engine.info.vocab_size;
    for (int32_t i = 0; i < self->batch.n_tokens; i++) {
        if (!self->batch.logits[i])
            continue;
        const float *found = self->api->llama_get_logits_ith(self->context, i);
        ASSERT(found);
        if (copy_to) {
            memcpy(*copy_to, found, vocab_size * sizeof(*found));
            found = *copy_to;
            *copy_to += vocab_size;
        }
        self->row_logits[order[i]] = found;
    }
}

/* --- cells that may hold what is not finite (llama_cells.h) --- */

static uint32_t find_clean_slot(const struct llama_engine *self)
{
    uint32_t slot = 0;
    while (slot < self->engine.info.slots && self->cells[slot] != LLAMA_CELLS_CLEAN)
        slot++;
    return slot;
}

static bool seq_save_into(struct llama_engine *self, uint32_t slot, void **out_blob,
                          size_t *out_bytes)
{
    bool is_wanted = self->held[slot] > 0 && !self->is_copied[slot];
    return is_wanted && engine_seq_save(&self->engine, slot, out_blob, out_bytes) == ERR_OK;
}

/* All cells become zeros, and then again what they held. A slot for which there is no memory, or
 * that holds what is not finite itself, is empty then: ERR_FULL. */
static enum err sweep_all(struct llama_engine *self)
{
    uint32_t slots = self->engine.info.slots;
    enum err err = ERR_OK;
    void **blobs = mem_array(slots, sizeof(*blobs));
    size_t *bytes = mem_array(slots, sizeof(*bytes));
    for (uint32_t slot = 0; slot < slots; slot++)
        if (!seq_save_into(self, slot, &blobs[slot], &bytes[slot]) && self->held[slot] > 0)
            err = ERR_FULL;
    self->api->llama_memory_clear(self->memory, true);
    memset(self->cells, 0, slots * sizeof(*self->cells));
    for (uint32_t slot = 0; slot < slots; slot++) {
        self->held[slot] = 0;
        if (blobs[slot] &&
            engine_seq_restore(&self->engine, slot, blobs[slot], bytes[slot]) != ERR_OK)
            err = ERR_FULL;
        mem_free(blobs[slot]);
    }
    mem_free(blobs);
    mem_free(bytes);
    return err;
}

/* The slot is empty. Another's stream is copied over all of its own when the decode() begins (110m,
 * 512 tokens: 18 MB), or else everybody's cells are. */
static enum err sweep(struct llama_engine *self, uint32_t slot)
{
    uint32_t clean = find_clean_slot(self);
    if (!self->has_streams || !self->engine.info.can_cut || clean == self->engine.info.slots)
        return sweep_all(self);
    self->api->llama_memory_seq_cp(self->memory, (llama_seq_id)clean, (llama_seq_id)slot, -1, -1);
    self->is_copied[clean] = self->is_copied[slot] = true;
    empty_slot(self, slot);
    self->cells[slot] = LLAMA_CELLS_CLEAN;
    return ERR_OK;
}

static enum err sweep_new(struct llama_engine *self, const struct engine_row *rows, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (rows[i].position == 0 && self->cells[rows[i].slot] != LLAMA_CELLS_CLEAN)
            TRY(sweep(self, rows[i].slot));
    return ERR_OK;
}

static enum err decode(struct engine *engine, const struct engine_row *rows, size_t count)
{
    struct llama_engine *self = self_of(engine);
    struct llama_rows *arranged = &self->arranged;
    for (size_t i = 0; i < count; i++)
        if (rows[i].position >= engine->info.context_tokens)
            return ERR_FULL;
    if (self->has_streams)
        llama_rows_arrange(arranged, rows, (uint32_t)count);
    else
        llama_rows_keep(arranged, (uint32_t)count);
    bool has_adapters = self->adapters.now.count > 0;
    TRY(sweep_new(self, rows, count));
    llama_cells_begin(self->cells, rows, count, has_adapters);
    make_room_for_logits(self, rows);
    float *kept = self->kept_logits;
    for (uint32_t call = 0, begin = 0; call < arranged->call_count; call++) {
        const uint32_t *order = arranged->order + begin;
        fill_batch(self, rows, order, arranged->call_ends[call] - begin);
        TRY(run_batch(self));
        find_logits(self, order, call + 1 < arranged->call_count ? &kept : NULL);
        begin = arranged->call_ends[call];
    }
    llama_cells_done(self->cells, rows, count, has_adapters, self->row_logits,
                     engine->info.vocab_size);
    return ERR_OK;
}

static const float *logits(struct engine *engine, size_t row)
{
    const float *found = self_of(engine)->row_logits[row];
    ASSERT_MSG(found, "row %zu has no logits", row);
    return found;
}

static uint32_t seq_tokens(struct engine *engine, uint32_t slot)
{
    return self_of(engine)->held[slot];
}

static enum err seq_cut(struct engine *engine, uint32_t slot, uint32_t keep_tokens)
{
    struct llama_engine *self = self_of(engine);
    if (keep_tokens == self->held[slot])
        return ERR_OK;
    bool may_keep = keep_tokens > 0 && self->cells[slot] != LLAMA_CELLS_SPOILT;
    if (may_keep && self->api->llama_memory_seq_rm(self->memory, (llama_seq_id)slot,
                                                   (llama_pos)keep_tokens, -1)) {
        self->held[slot] = keep_tokens;
        return ERR_OK;
    }
    empty_slot(self, slot);
    return keep_tokens == 0 ? ERR_OK : ERR_REFUSED;
}

static enum err seq_save(struct engine *engine, uint32_t slot, void **out_blob, size_t *out_bytes)
{
    struct llama_engine *self = self_of(engine);
    ASSERT_MSG(!self->is_copied[slot], "slot %u", slot);
    if (self->cells[slot] == LLAMA_CELLS_SPOILT)
        return ERR_REFUSED;
    size_t bytes = self->api->llama_state_seq_get_size(self->context, (llama_seq_id)slot);
    uint8_t *blob = bytes ? mem_peer_alloc(bytes) : NULL;
    if (!blob)
        return ERR_NO_MEMORY;
    if (self->api->llama_state_seq_get_data(self->context, blob, bytes, (llama_seq_id)slot) !=
        bytes) {
        mem_free(blob);
        return ERR_SYSTEM;
    }
    *out_blob = blob;
    *out_bytes = bytes;
    return ERR_OK;
}

static enum err seq_restore(struct engine *engine, uint32_t slot, const void *blob, size_t bytes)
{
    struct llama_engine *self = self_of(engine);
    ASSERT_MSG(!self->is_copied[slot], "slot %u", slot);
    if (self->cells[slot] != LLAMA_CELLS_CLEAN)
        return ERR_REFUSED;
    size_t used =
        self->api->llama_state_seq_set_data(self->context, blob, bytes, (llama_seq_id)slot);
    int64_t held = self->api->llama_memory_seq_pos_max(self->memory, (llama_seq_id)slot) + 1;
    bool was_read = used == bytes && bytes > 0;
    if (was_read && held <= engine->info.context_tokens) {
        self->held[slot] = (uint32_t)held;
        if (engine->info.adapter_count > 0)
            self->cells[slot] = LLAMA_CELLS_UNSEEN; /* nobody knows with which set it was made */
        return ERR_OK;
    }
    empty_slot(self, slot);
    return was_read ? ERR_FULL : ERR_PROTOCOL;
}

/* Between streams libllama copies whole ones only, and does it when the next decode() begins. */
static void seq_copy(struct engine *engine, uint32_t from, uint32_t to)
{
    struct llama_engine *self = self_of(engine);
    self->api->llama_memory_seq_cp(self->memory, (llama_seq_id)from, (llama_seq_id)to, -1, -1);
    self->held[to] = self->held[from];
    self->cells[to] = self->cells[from];
    self->is_copied[from] = self->is_copied[to] = true;
}

static void use_adapters(struct engine *engine, const struct engine_adapter_set *set)
{
    struct llama_engine *self = self_of(engine);
    llama_adapters_use(&self->adapters, self->api, self->context, set);
}

/* --- texts as a whole; any thread, one at a time --- */

static enum err embed(struct engine *engine, const token_id *tokens, size_t count,
                      enum engine_pooling pooling, bool (*should_abort)(void *ctx), void *ctx,
                      float *out_numbers, struct err_note *out_note)
{
    return llama_embed_text(self_of(engine)->embed, tokens, count, pooling, should_abort, ctx,
                            out_numbers, out_note);
}

static const struct engine_ops llama_ops = {
    .close = close_engine,
    .tokenize = tokenize,
    .piece = piece,
    .is_end = is_end,
    .chat = chat,
    .decode = decode,
    .logits = logits,
    .seq_tokens = seq_tokens,
    .seq_cut = seq_cut,
    .seq_save = seq_save,
    .seq_restore = seq_restore,
    .seq_copy = seq_copy,
    .use_adapters = use_adapters,
    .embed = embed,
    .pair = pair,
};

/* --- opening --- */

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
    params.abort_callback = wants_abort;
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
    struct engine_adapter_set set = engine_default_adapters(&self->engine.info);
    engine_use_adapters(&self->engine, &set);
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
    self->engine.ops = &llama_ops;
    enum err err = open_all(self, &load);
    if (err != ERR_OK) {
        close_engine(&self->engine);
        return err;
    }
    *out_engine = &self->engine;
    return ERR_OK;
}

bool engine_llama_is_built(void)
{
    return true;
}
