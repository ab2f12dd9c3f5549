/* llama_embed - what a model on libllama makes of a whole text: one vector, or one score. In a
 * context of its own, beside the one that generates: that one is told to give logits, is cut into
 * slots, and belongs to the engine thread.
 *
 * 1. The context is made by the first call that needs it: most models are never asked, and it costs
 *    the cache of one sequence and compute buffers (a chat model of 110M parameters and 4096
 * tokens: some 200 MB). What does not fit is refused then; what fits stays until the end.
 * 2. A causal model reads a text in parts of LLAMA_EMBED_PART tokens: libllama computes the logits
 *    of every row along with its vector, and a vocabulary of 150 000 has 0.6 MB of them. One that
 *    sees the whole text at once must get it so.
 * 3. Pooling is done here, but for RANK, which is a part of the graph.
 * 4. Any thread, one call at a time. */
#pragma once

#include "engine/engine.h"
#include "engine/llama_api.h"

enum { LLAMA_EMBED_PART = 64 };

struct llama_embed_options {
    const struct llama_api *api;
    struct llama_model *model;
    const char *architecture; /* what the keys of its file begin with; until new() returns */
    uint32_t context_tokens;
    uint32_t threads;
    const cpu_set_t *cpus;       /* where they run; NULL: where the caller may; copied */
    uint64_t token_bytes, heads; /* of the cache; of attention: to see whether it fits */
    bool reads_only;             /* it has no cache, and sees the whole text unless it says not */
};

struct llama_embed;
/* Never NULL. Says in *info what embed() can do: pooling, embed_tokens, embed_numbers. */
struct llama_embed *llama_embed_new(const struct llama_embed_options *options,
                                    struct engine_info *info);
void llama_embed_free(struct llama_embed *embed); /* NULL is fine */
/* As engine_embed(). */
MUST_USE enum err llama_embed_text(struct llama_embed *embed, const token_id *tokens, size_t count,
                                   enum engine_pooling pooling, bool (*should_abort)(void *ctx),
                                   void *ctx, float *out_numbers, struct err_note *out_note);
