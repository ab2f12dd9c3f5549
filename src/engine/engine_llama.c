/* engine_llama - a GGUF model on libllama.
 *
 * Profile exact: no flash attention and one stream of cells for each slot. Then a sequence's logits
 * are bit by bit the same alone and in company, and however its prompt was cut into batches, as
 * long as no part of it is a single row (models for which that is not so are found by the worker's
 * self-test). Profile fast gives that up. How one is opened: engine_llama_open.c. */
#include "engine/engine_llama_impl.h"

#include "base/mem.h"

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
bool engine_llama_wants_abort(void *ctx)
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

const struct engine_ops engine_llama_ops = {
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
