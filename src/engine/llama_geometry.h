/* llama_geometry - how many sequences of what length fit into memory, decided from the model file's
 * header before anything is loaded. libllama allocates and touches the whole cache when it starts,
 * so what does not fit must be refused here, with the sums. Pure.
 *
 * weights + adapters + cache (slots x context x bytes of a token) + compute buffers must be at most
 * what is available; the cache alone at most kv_memory. In profile exact the attention scores of a
 * batch are held whole, batch x context x heads floats, the largest part of the compute buffers: an
 * estimate, until llama_forecast knows them. */
#pragma once

#include "engine/engine.h"
#include "engine/gguf.h"

struct llama_wish {
    uint32_t slots;           /* 0: as many as fit, at most LLAMA_SLOTS_DEFAULT_MAX */
    uint32_t context_tokens;  /* of one sequence; 0: what the model was trained for, also its cap */
    uint32_t batch_tokens;    /* more than 0 */
    uint64_t kv_memory_bytes; /* 0: a quarter of what is available, shared by `workers` */
    uint32_t workers;         /* that load it at once, and see the same memory; 0: one */
    uint64_t memory_available_bytes; /* UINT64_MAX: unknown, everything fits */
    uint64_t adapter_bytes;          /* beside the weights */
    bool fast;
    enum engine_kv_type kv_key, kv_value;
};

struct llama_geometry {
    uint32_t slots;
    uint32_t context_tokens; /* of one sequence, as promised outside */
    uint32_t cells;          /* of all slots together, as libllama wants it: n_ctx */
    uint32_t batch_tokens;   /* at least a row for each slot */
    uint64_t token_bytes;    /* of the cache */
    uint64_t weights_bytes, adapter_bytes, kv_bytes;
    uint64_t compute_bytes; /* estimated; with scratch_bytes */
    uint64_t scratch_bytes; /* what back-ends take beside libllama's own buffer */
};

enum { LLAMA_SLOTS_DEFAULT_MAX = 8, LLAMA_SLOTS_MAX = 256 };

/* ERR_NO_MEMORY: does not fit; ERR_LIMIT: more slots than LLAMA_SLOTS_MAX, or a type of cache that
 * the profile or the model cannot have; ERR_PROTOCOL: the header lacks what the sums need. */
MUST_USE enum err llama_geometry_plan(const struct gguf_summary *summary,
                                      const struct llama_wish *wish,
                                      struct llama_geometry *out_geometry,
                                      struct err_note *out_note);
/* Once compute_bytes is better known: whether it still fits. ERR_NO_MEMORY: no. */
MUST_USE enum err llama_geometry_check(const struct llama_geometry *geometry,
                                       const struct llama_wish *wish, struct err_note *out_note);
