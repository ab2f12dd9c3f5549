/* llama_embed - what the model's file says of embedding, a second context on the same model, and
 * the pooling of what it gives. */
#include "engine/llama_embed.h"

#include "base/mem.h"
#include "engine/memory_available.h"
#include "engine/thread_cpus.h"

#include <stdio.h>
#include <stdlib.h>

struct llama_embed {
    struct llama_embed_options options;
    bool ranks;
    cpu_set_t cpus;                /* what options.cpus points to */
    struct llama_context *context; /* NULL: not needed yet */
    uint32_t size;                 /* of a vector */
    uint32_t part_tokens;
    struct llama_batch batch; /* our arrays, part_tokens long */
    llama_seq_id sequence;    /* 0: all rows are of it */
    bool (*should_abort)(void *ctx);
    void *abort_ctx;
};

/* --- what the model's file says --- */

/* Of <architecture>.NAME; `absent` where there is no such key. */
static long model_number(const struct llama_embed_options *options, const char *name, long absent)
{
    char key[96], value[32];
    snprintf(key, sizeof(key), "%s.%s", options->architecture, name);
    if (options->api->llama_model_meta_val_str(options->model, key, value, sizeof(value)) < 0)
        return absent;
    return strcmp(value, "false") == 0  ? 0
           : strcmp(value, "true") == 0 ? 1
                                        : strtol(value, NULL, 10);
}

static enum engine_pooling pooling_of(long type) /* as the file has it: llama_pooling_type */
{
    switch (type) {
    case LLAMA_POOLING_TYPE_MEAN:
        return ENGINE_POOL_MEAN;
    case LLAMA_POOLING_TYPE_CLS:
        return ENGINE_POOL_CLS;
    case LLAMA_POOLING_TYPE_LAST:
        return ENGINE_POOL_LAST;
    case LLAMA_POOLING_TYPE_RANK:
        return ENGINE_POOL_RANK;
    default:
        return ENGINE_POOL_NONE;
    }
}

/* Rule 2. */
static uint32_t part_tokens_of(const struct llama_embed_options *options, bool ranks)
{
    bool is_causal = model_number(options, "attention.causal", !options->reads_only) != 0;
    bool is_whole = !is_causal || options->reads_only || ranks;
    return is_whole || options->context_tokens < LLAMA_EMBED_PART ? options->context_tokens
                                                                  : LLAMA_EMBED_PART;
}

struct llama_embed *llama_embed_new(const struct llama_embed_options *options,
                                    struct engine_info *info)
{
    struct llama_embed *embed = mem_alloc(sizeof(*embed));
    info->pooling = pooling_of(model_number(options, "pooling_type", LLAMA_POOLING_TYPE_NONE));
    embed->options = *options;
    embed->options.architecture = NULL; /* borrowed */
    if (options->cpus) {
        embed->cpus = *options->cpus;
        embed->options.cpus = &embed->cpus;
    }
    embed->ranks = info->pooling == ENGINE_POOL_RANK;
    embed->size = (uint32_t)options->api->llama_model_n_embd_out(options->model);
    embed->part_tokens = part_tokens_of(options, embed->ranks);
    info->embed_tokens = options->context_tokens;
    info->embed_numbers = embed->ranks ? 1 : embed->size;
    return embed;
}

void llama_embed_free(struct llama_embed *embed)
{
    if (!embed)
        return;
    if (embed->context)
        embed->options.api->llama_free(embed->context);
    mem_free(embed->batch.token);
    mem_free(embed->batch.pos);
    mem_free(embed->batch.n_seq_id);
    mem_free(embed->batch.seq_id);
    mem_free(embed->batch.logits);
    mem_free(embed);
}

/* --- the context --- */

static bool wants_abort(void *ctx)
{
    const struct llama_embed *embed = ctx;
    return embed->should_abort && embed->should_abort(embed->abort_ctx);
}

static struct llama_context_params params_of(struct llama_embed *embed)
{
    const struct llama_embed_options *options = &embed->options;
    struct llama_context_params params = options->api->llama_context_default_params();
    params.n_ctx = options->context_tokens;
    params.n_batch = params.n_ubatch = embed->part_tokens;
    params.n_seq_max = 1;
    params.n_threads = params.n_threads_batch = (int32_t)options->threads;
    params.embeddings = true;
    params.pooling_type = embed->ranks ? LLAMA_POOLING_TYPE_RANK : LLAMA_POOLING_TYPE_NONE;
    params.flash_attn_type = LLAMA_FLASH_ATTN_TYPE_DISABLED;
    params.abort_callback = wants_abort;
    params.abort_callback_data = embed;
    return params;
}

/* The cache, the scores of attention and the rows that come out: most of what it takes. */
static enum err check_memory(const struct llama_embed *embed, struct err_note *out_note)
{
    const struct llama_embed_options *options = &embed->options;
    const struct llama_api *api = options->api;
    uint64_t vocab =
        (uint64_t)api->llama_vocab_n_tokens(api->llama_model_get_vocab(options->model));
    uint64_t needed = options->context_tokens * options->token_bytes +
                      embed->part_tokens * sizeof(float) *
                          (options->context_tokens * options->heads + vocab + embed->size);
    uint64_t available = memory_available_bytes("");
    if (needed <= available)
        return ERR_OK;
    return err_note_fail(out_note, ERR_NO_MEMORY,
                         "embeddings need a context of %llu MiB beside the model's, and %llu MiB "
                         "are free",
                         (unsigned long long)(needed >> 20), (unsigned long long)(available >> 20));
}

static void make_batch(struct llama_embed *embed)
{
    struct llama_batch *batch = &embed->batch;
    batch->token = mem_array(embed->part_tokens, sizeof(*batch->token));
    batch->pos = mem_array(embed->part_tokens, sizeof(*batch->pos));
    batch->n_seq_id = mem_array(embed->part_tokens, sizeof(*batch->n_seq_id));
    batch->seq_id = mem_array(embed->part_tokens, sizeof(*batch->seq_id));
    batch->logits = mem_array(embed->part_tokens, sizeof(*batch->logits));
    for (uint32_t i = 0; i < embed->part_tokens; i++) {
        batch->n_seq_id[i] = 1;
        batch->seq_id[i] = &embed->sequence;
        batch->logits[i] = true;
    }
}

static enum err make_context(struct llama_embed *embed, struct err_note *out_note)
{
    struct llama_log log;
    if (embed->context)
        return ERR_OK;
    TRY(check_memory(embed, out_note));
    llama_log_begin(&log);
    embed->context =
        embed->options.api->llama_init_from_model(embed->options.model, params_of(embed));
    llama_log_end();
    if (!embed->context)
        return err_note_fail(out_note, ERR_NO_MEMORY,
                             "libllama makes no context for embeddings: %s",
                             log.first_error[0] ? log.first_error : "it does not say why");
    make_batch(embed);
    return ERR_OK;
}

/* --- reading --- */

static enum err decode_part(struct llama_embed *embed, const token_id *tokens, size_t first,
                            size_t count, struct err_note *out_note)
{
    struct llama_batch *batch = &embed->batch;
    batch->n_tokens = (int32_t)count;
    for (size_t i = 0; i < count; i++) {
        batch->token[i] = tokens[first + i];
        batch->pos[i] = (llama_pos)(first + i);
    }
    int32_t result = embed->options.api->llama_decode(embed->context, *batch);
    if (result == 0)
        return ERR_OK;
    if (wants_abort(embed)) /* a model without a cache says only that it failed */
        return ERR_CANCELLED;
    return err_note_fail(out_note, ERR_SYSTEM, "libllama could not read the text (%d)", result);
}

static enum err pool_row(const struct llama_embed *embed, enum engine_pooling pooling, size_t row,
                         float *numbers, struct err_note *out_note)
{
    const float *vector =
        embed->options.api->llama_get_embeddings_ith(embed->context, (int32_t)row);
    if (!vector)
        return err_note_fail(out_note, ERR_SYSTEM, "libllama gives no vector for row %zu", row);
    for (uint32_t i = 0; i < embed->size; i++)
        numbers[i] = pooling == ENGINE_POOL_MEAN ? numbers[i] + vector[i] : vector[i];
    return ERR_OK;
}

/* The rows of the text that count: all of them, the first, or the last. */
static enum err pool_part(const struct llama_embed *embed, enum engine_pooling pooling,
                          size_t first, size_t count, bool is_last, float *numbers,
                          struct err_note *out_note)
{
    size_t begin = 0, end = count;
    if (pooling == ENGINE_POOL_CLS)
        end = first == 0 ? 1 : 0;
    if (pooling == ENGINE_POOL_LAST)
        begin = is_last ? count - 1 : count;
    for (size_t row = begin; row < end; row++)
        TRY(pool_row(embed, pooling, row, numbers, out_note));
    return ERR_OK;
}

static enum err take_rank(const struct llama_embed *embed, float *out_number,
                          struct err_note *out_note)
{
    const float *score = embed->options.api->llama_get_embeddings_seq(embed->context, 0);
    if (!score)
        return err_note_fail(out_note, ERR_SYSTEM, "libllama gives no score");
    *out_number = score[0];
    return ERR_OK;
}

static enum err read_text(struct llama_embed *embed, const token_id *tokens, size_t count,
                          enum engine_pooling pooling, float *numbers, struct err_note *out_note)
{
    for (size_t first = 0; first < count; first += embed->part_tokens) {
        size_t part = count - first < embed->part_tokens ? count - first : embed->part_tokens;
        TRY(decode_part(embed, tokens, first, part, out_note));
        if (pooling != ENGINE_POOL_RANK)
            TRY(pool_part(embed, pooling, first, part, first + part == count, numbers, out_note));
    }
    if (pooling == ENGINE_POOL_RANK)
        return take_rank(embed, numbers, out_note);
    for (uint32_t i = 0; pooling == ENGINE_POOL_MEAN && i < embed->size; i++)
        numbers[i] /= (float)count;
    return ERR_OK;
}

static enum err start_and_read(struct llama_embed *embed, const token_id *tokens, size_t count,
                               enum engine_pooling pooling, float *out_numbers,
                               struct err_note *out_note)
{
    TRY(make_context(embed, out_note));
    llama_memory_t memory = embed->options.api->llama_get_memory(embed->context);
    if (memory) /* the text before; a model that only reads has none */
        (void)embed->options.api->llama_memory_seq_rm(memory, 0, -1, -1); /* whole: never fails */
    if (pooling != ENGINE_POOL_RANK)
        memset(out_numbers, 0, embed->size * sizeof(*out_numbers));
    return read_text(embed, tokens, count, pooling, out_numbers, out_note);
}

/* The context's threads are started for each part, by this one. */
enum err llama_embed_text(struct llama_embed *embed, const token_id *tokens, size_t count,
                          enum engine_pooling pooling, bool (*should_abort)(void *ctx), void *ctx,
                          float *out_numbers, struct err_note *out_note)
{
    struct thread_cpus own = {0};
    if (thread_cpus_set(embed->options.cpus, &own, out_note) != ERR_OK)
        return ERR_SYSTEM;
    embed->should_abort = should_abort;
    embed->abort_ctx = ctx;
    enum err err = start_and_read(embed, tokens, count, pooling, out_numbers, out_note);
    thread_cpus_undo(&own);
    return err;
}
