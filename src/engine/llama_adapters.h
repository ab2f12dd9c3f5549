/* llama_adapters - the LoRA adapters of a model on libllama: their files, read and checked before
 * the model is loaded (lora.h), then given to it, and which of them its context computes with.
 *
 * libllama frees them with the model. look() reads them all, and only says what they take: what
 * libllama is to have is written by load(), one after the other, into a file in memory that is
 * closed before the next is made. So nothing large lies there before the memory for all was found
 * to be enough. The engine thread's. */
#pragma once

#include "engine/engine.h"
#include "engine/llama_api.h"

#include <stdio.h>

enum { LLAMA_ADAPTER_FILE_MAX_BYTES = INT32_MAX }; /* of a file: 2 GiB */

struct llama_adapters {
    uint32_t count;
    struct engine_adapter infos[ENGINE_ADAPTERS_MAX];
    char names[ENGINE_ADAPTERS_MAX][ENGINE_ADAPTER_NAME_MAX_BYTES + 1];
    FILE *file; /* of the one that is being loaded */
    struct llama_adapter_lora *loaded[ENGINE_ADAPTERS_MAX];
    uint64_t bytes;                 /* of all */
    uint64_t widest, widest_output; /* lora.h, of any */
    struct engine_adapter_set now;
};

/* ERR_PROTOCOL, with the adapter's name and file in the note: it cannot be read, or lora_check()
 * says no; ERR_CANCELLED: `may_go_on`, asked every 16 MiB, said no. */
MUST_USE enum err llama_adapters_look(struct llama_adapters *adapters,
                                      const struct engine_llama_options *options,
                                      bool (*may_go_on)(void *ctx), void *ctx,
                                      struct err_note *out_note);
/* What computing with them takes beside the model's own buffer: an estimate, from above. */
uint64_t llama_adapters_compute_bytes(const struct llama_adapters *adapters, uint32_t batch_tokens,
                                      uint32_t logits_max);
/* Before the context is made: it has room for as many nodes as there are adapters then. As look(),
 * and ERR_PROTOCOL: another file than at the look, or libllama refuses one; ERR_SYSTEM: no file in
 * memory. `log` is what libllama says meanwhile. */
MUST_USE enum err llama_adapters_load(struct llama_adapters *adapters,
                                      const struct engine_llama_options *options,
                                      const struct llama_api *api, struct llama_model *model,
                                      const struct llama_log *log, bool (*may_go_on)(void *ctx),
                                      void *ctx, struct err_note *out_note);
/* As engine_use_adapters(). */
void llama_adapters_use(struct llama_adapters *adapters, const struct llama_api *api,
                        struct llama_context *context, const struct engine_adapter_set *set);
