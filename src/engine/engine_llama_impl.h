/* engine_llama_impl - what running and opening an engine on libllama share. Only the two include
 * it. */
#pragma once

#include "engine/engine.h"
#include "engine/llama_adapters.h"
#include "engine/llama_api.h"
#include "engine/llama_cells.h"
#include "engine/llama_embed.h"
#include "engine/llama_rows.h"
#include "engine/llama_text.h"
#include "engine/llama_threads.h"
#include "engine/thread_cpus.h"

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

/* What it does once it is open; close() takes one that is open in part. */
extern const struct engine_ops engine_llama_ops;
/* libllama's abort callback; ctx: the engine. */
bool engine_llama_wants_abort(void *ctx);
