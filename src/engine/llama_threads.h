/* llama_threads - the pools of threads that a context computes with, besides the one that calls.
 *
 * Left to itself libllama starts and ends its threads in every decode(); a pool takes about a sixth
 * off a token of the shipped model on 2 threads (docs/design/004). It does not poll for work: that
 * would gain another tenth, at the price of a busy core beside an idle engine. Its threads run on
 * the processors of the thread that started them. */
#pragma once

#include "engine/llama_api.h"

struct llama_threads {               /* zero: nothing was started */
    ggml_threadpool_t decode, batch; /* NULL: none but the caller; may be the same */
    __typeof__(&ggml_threadpool_free) free_pool;
};

/* So many with the caller, while decoding and for prompts. A library without pools computes all the
 * same. */
void llama_threads_start(struct llama_threads *threads, const struct llama_api *api,
                         struct llama_context *context, uint32_t decode, uint32_t batch);
void llama_threads_stop(struct llama_threads *threads); /* behind llama_free() of the context */
