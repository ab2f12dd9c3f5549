/* engine - the thing that computes tokens, behind one interface: engine_llama (libllama, opened at
 * run time), engine_dummy (deterministic, scriptable, no weights).
 *
 * 1. One engine = one loaded model with `slots` sequences of up to `context_tokens` each.
 * 2. Thread: open, decode, seq_*, logits and close belong to ONE thread (the engine thread).
 * tokenize, pair, piece, is_end, chat and info may be called from any thread while the engine is
 * open.
 * 3. A sequence lives in a slot (0..slots-1); positions count from 0 without holes.
 * 4. decode() takes at most batch_tokens tokens; it never gets more (ASSERT, as llama aborts on
 * it).
 * 5. After ERR_CANCELLED or any other failure of decode(), what the slots hold is what
 *    engine_seq_tokens() says: ask, then cut back to the last known good position.
 * 6. Token ids given are 0..vocab_size-1 and slots are 0..slots-1 (ASSERT): ids that come from
 *    outside are checked where they come in.
 * 7. What seq_copy() promises is there with the next decode(). Until then neither of the two slots
 *    is saved or restored into (ASSERT).
 * 8. All rows of a decode() go through the adapters that use_adapters() named last (at first: those
 *    with a scale of their own). What a slot holds is of those that were named when it was put in;
 *    to go on with others makes no sense, and nobody checks it.
 * 9. A set may bring numbers that are not finite into a slot. Whoever starts in it at position 0
 *    finds nothing of them. As long as they may lie there, seq_restore() refuses the slot, and if
 *    logits were not finite, seq_save() does, too, and seq_cut() empties the slot. */
#pragma once

#include "base/arena.h"
#include "base/slice.h"
#include "base/text.h"

#include <sched.h>

struct engine;

typedef int32_t token_id;

/* How the vectors of a text's tokens become the text's one; NONE: the model does not say. RANK: not
 * a vector but a score, of how well a document answers a query. */
enum engine_pooling {
    ENGINE_POOL_NONE,
    ENGINE_POOL_MEAN,
    ENGINE_POOL_CLS, /* the first token's */
    ENGINE_POOL_LAST,
    ENGINE_POOL_RANK
};

enum {
    ENGINE_ADAPTERS_MAX = 16,
    ENGINE_ADAPTER_NAME_MAX_BYTES = 64,
    /* Of more than two the order in which they are added up would be a matter of addresses: other
     * bits in another process (docs/design/027). */
    ENGINE_ADAPTERS_AT_ONCE = 2
};

struct engine_adapter { /* LoRA: matrices that are added to those of the model */
    const char *name;   /* unique, at most ENGINE_ADAPTER_NAME_MAX_BYTES */
    float scale;        /* for who names no adapters; 0: without it */
    uint64_t bytes;
    uint8_t digest[32]; /* of its file */
};

/* Rising indexes into info.adapters, scales other than 0 and finite; what is behind `count` is
 * 0. */
struct engine_adapter_set {
    uint32_t count;
    struct engine_adapter_use {
        uint32_t index;
        float scale;
    } uses[ENGINE_ADAPTERS_AT_ONCE];
};
bool engine_adapter_set_eq(const struct engine_adapter_set *a, const struct engine_adapter_set *b);

struct engine_info {         /* valid as long as the engine */
    const char *kind;        /* "llama", "dummy" */
    const char *description; /* "llama 2.6M Q8_0" */
    /* Its release, and what of the processor it uses: where equal, numbers are. NULL: not said. */
    const char *build;
    uint32_t slots;
    uint32_t context_tokens; /* of one sequence */
    uint32_t batch_tokens;   /* most tokens one decode() takes */
    uint32_t vocab_size;
    /* What it holds: the weights (what is kept in two orders counts twice), the adapters, the cache
     * of all slots, and what computing needs (0: it does not tell). */
    uint64_t weights_bytes, adapter_bytes, kv_bytes, compute_bytes;
    bool add_bos;
    bool has_chat; /* chat() works */
    bool can_save; /* seq_save/seq_restore work */
    /* seq_cut() to any length and seq_copy() work: false for models whose state is not one cell for
     * each token (recurrent, hybrid, sliding window). */
    bool can_cut;
    /* A row that decode() gets as the only one of its slot gives other bits than the same row
     * beside others of its slot; those of other slots never show, nor does how many there are. */
    bool single_rows_differ;
    /* Of those in a decode(), slots next to each other are computed together; each gap between them
     * costs as much again as the step had to do anyway. */
    bool gaps_cost;
    uint32_t logits_max; /* most rows of a decode() that may want logits, >= slots; 0: any */
    /* embed() gives so many numbers, of texts of up to embed_tokens; 0: it does not work. */
    uint32_t embed_numbers, embed_tokens;
    enum engine_pooling pooling; /* as the model says */
    bool reads_only; /* there is nothing but text and embed(): no slot may be used, no decode() */
    bool changing_pieces; /* what a token says is not always the same (engine_dummy: says_time) */
    const struct engine_adapter *adapters;
    uint32_t adapter_count;
};
/* Those with a scale of their own. */
struct engine_adapter_set engine_default_adapters(const struct engine_info *info);

struct engine_row { /* one token of a batch */
    token_id token;
    uint32_t position;
    uint32_t slot;
    bool wants_logits;
};

struct engine_chat_message {
    struct slice role, content;
};

struct engine_ops { /* what each engine supplies; others call the engine_* functions below */
    void (*close)(struct engine *engine);
    enum err (*tokenize)(struct engine *engine, struct slice text, bool add_special,
                         bool parse_special, token_id *out_tokens, size_t max_tokens,
                         size_t *out_count);
    struct slice (*piece)(struct engine *engine, token_id token, char *scratch,
                          size_t scratch_bytes);
    bool (*is_end)(struct engine *engine, token_id token);
    enum err (*chat)(struct engine *engine, const struct engine_chat_message *messages,
                     size_t count, struct text *out_prompt, struct err_note *out_note);
    enum err (*decode)(struct engine *engine, const struct engine_row *rows, size_t count);
    const float *(*logits)(struct engine *engine, size_t row);
    uint32_t (*seq_tokens)(struct engine *engine, uint32_t slot);
    enum err (*seq_cut)(struct engine *engine, uint32_t slot, uint32_t keep_tokens);
    enum err (*seq_save)(struct engine *engine, uint32_t slot, void **out_blob, size_t *out_bytes);
    enum err (*seq_restore)(struct engine *engine, uint32_t slot, const void *blob, size_t bytes);
    void (*seq_copy)(struct engine *engine, uint32_t from, uint32_t to);
    /* May be NULL without adapters. */
    void (*use_adapters)(struct engine *engine, const struct engine_adapter_set *set);
    /* May be NULL with info.embed_numbers 0, pair() also where pooling is not RANK. */
    enum err (*embed)(struct engine *engine, const token_id *tokens, size_t count,
                      enum engine_pooling pooling, bool (*should_abort)(void *ctx), void *ctx,
                      float *out_numbers, struct err_note *out_note);
    enum err (*pair)(struct engine *engine, struct slice query, struct slice document,
                     token_id *out_tokens, size_t max_tokens, size_t *out_count);
};

struct engine { /* first member of each engine's own struct */
    const struct engine_ops *ops;
    struct engine_info info;
    /* Asked between pieces of work inside decode(), on the engine thread (or one of its compute
     * threads): true makes decode() return ERR_CANCELLED soon. Set before the first decode(). */
    bool (*should_abort)(void *ctx);
    /* Told between pieces of work inside decode(), on the same threads; NULL: nobody listens. An
     * engine that only waits for something that does not come asks, and tells nothing. */
    void (*on_progress)(void *ctx);
    void *abort_ctx; /* of both */
};

void engine_close(struct engine **engine); /* NULL inside is fine */
/* ERR_LIMIT: more than max_tokens, *out_count then says how many there are. */
MUST_USE enum err engine_tokenize(struct engine *engine, struct slice text, bool add_special,
                                  bool parse_special, token_id *out_tokens, size_t max_tokens,
                                  size_t *out_count);
/* The token's bytes (maybe part of a character; empty for control tokens). In scratch, of which one
 * byte is enough, or the engine's own as long as it is open. */
struct slice engine_piece(struct engine *engine, token_id token, char *scratch,
                          size_t scratch_bytes);
bool engine_is_end(struct engine *engine, token_id token); /* end of turn or of text */
/* Messages through the model's template, ready for the assistant's answer. ERR_REFUSED: the model
 * has no template, or one this build does not know (note). */
MUST_USE enum err engine_chat(struct engine *engine, const struct engine_chat_message *messages,
                              size_t count, struct text *out_prompt, struct err_note *out_note);
/* ERR_OK; ERR_CANCELLED: aborted (rule 5); ERR_FULL: no room in the cache; ERR_SYSTEM: the engine
 * is broken, close it. Rows of one slot are in rising positions that continue what it holds. */
MUST_USE enum err engine_decode(struct engine *engine, const struct engine_row *rows, size_t count);
/* vocab_size floats of a row that wanted them, until the next decode(). */
const float *engine_logits(struct engine *engine, size_t row);
/* How many tokens the slot holds. */
uint32_t engine_seq_tokens(struct engine *engine, uint32_t slot);
/* Keeps the first keep_tokens (0 empties the slot). ERR_REFUSED: this model cannot cut there
 * (recurrent), or rule 9: the slot is then empty. */
MUST_USE enum err engine_seq_cut(struct engine *engine, uint32_t slot, uint32_t keep_tokens);
/* The slot's cells as a blob (mem_free it). ERR_NO_MEMORY: none for the blob; ERR_REFUSED: rule 9.
 */
MUST_USE enum err engine_seq_save(struct engine *engine, uint32_t slot, void **out_blob,
                                  size_t *out_bytes);
/* And back into an empty slot: decoding goes on exactly. ERR_PROTOCOL: not a blob of this model;
 * ERR_FULL: longer than this engine's context; ERR_REFUSED: rule 9. The slot is then still empty.
 */
MUST_USE enum err engine_seq_restore(struct engine *engine, uint32_t slot, const void *blob,
                                     size_t bytes);
/* All that `from` holds, into the empty slot `to`, which then is cut to what is wanted; only where
 * info.can_cut. It may cost a copy of the whole stream, whatever is in it (rule 7). */
void engine_seq_copy(struct engine *engine, uint32_t from, uint32_t to);

/* Of the decode()s that follow (rule 8). Another set than before makes the next decode() longer:
 * the graph is laid out anew, and its buffers are taken again (docs/design/027 has what that
 * costs). */
void engine_use_adapters(struct engine *engine, const struct engine_adapter_set *set);

/* What the model makes of 1..info.embed_tokens tokens, without adapters: info.embed_numbers numbers
 * as they come, not normalised; with RANK one number. Any thread, but one call at a time, and
 * beside decode(): it slows that down and does not wait for it. The first call may take memory that
 * is kept. `should_abort` is asked as it goes. RANK where info.pooling is RANK, and there alone
 * (ASSERT). ERR_CANCELLED; ERR_NO_MEMORY, ERR_SYSTEM with note. */
MUST_USE enum err engine_embed(struct engine *engine, const token_id *tokens, size_t count,
                               enum engine_pooling pooling, bool (*should_abort)(void *ctx),
                               void *ctx, float *out_numbers, struct err_note *out_note);
/* A query and a document as a model that ranks wants them. ERR_LIMIT as engine_tokenize(). */
MUST_USE enum err engine_pair(struct engine *engine, struct slice query, struct slice document,
                              token_id *out_tokens, size_t max_tokens, size_t *out_count);

/* Called during open, on the opening thread: 0..1; false stops the load (ERR_CANCELLED). */
typedef bool engine_progress_fn(void *ctx, float fraction);

/* --- dummy: no weights. Token ids: 0 end, 1..256 bytes, then its script, one piece per token. What
 * comes next depends on the last token only (a byte or nothing -> first piece; piece n -> n + 1;
 * the last -> end), so that a continuation by replay works as with a model. --- */
struct engine_dummy_options {
    uint32_t slots; /* 1..16384 */
    uint32_t context_tokens;
    uint32_t tokens; /* length of the script: 0..1048576; default 20 */
    /* Cut into `tokens` pieces of equal bytes, also inside characters (fewer pieces if it has not
     * as many bytes); empty: "tok1 tok2 ...". Copied. At most 16 MiB. */
    struct slice script;
    /* The text of each piece is instead when the last decode() was done: CLOCK_MONOTONIC in us and
     * a space, so that a client can tell how long an event was on its way. piece() of one is then
     * the engine thread's alone, and good until the next decode(). */
    bool says_time;
    uint32_t delay_us; /* of a decode() with at least one sequence past its prompt; default 20000 */
    uint32_t prefill_us_per_token;
    uint32_t fail_at;  /* ERR_SYSTEM when piece N (1..) would be sampled; 0 = never */
    uint32_t stall_at; /* decode() hangs there until aborted */
    uint32_t load_ms;  /* open takes so long, with progress */
    bool ranks;        /* its pooling is RANK: a score is how many bytes of the pair are equal */
};
struct engine_dummy_options engine_dummy_options_default(void);
MUST_USE enum err engine_dummy_open(const struct engine_dummy_options *options,
                                    engine_progress_fn *on_progress, void *progress_ctx,
                                    struct engine **out_engine, struct err_note *out_note);

/* --- llama: libllama of the pinned release, found at run time --- */

/* How the cache keeps keys or values. The last two take blocks of 32 values, so a head has to be a
 * multiple of that. */
enum engine_kv_type { ENGINE_KV_F16, ENGINE_KV_F32, ENGINE_KV_Q8_0, ENGINE_KV_Q4_0 };

struct engine_adapter_file {
    const char *name; /* 1..ENGINE_ADAPTER_NAME_MAX_BYTES, unique */
    const char *path; /* a GGUF file, as llama.cpp's convert_lora_to_gguf.py writes it */
    float scale;      /* engine_adapter.scale */
};

enum engine_load {
    ENGINE_LOAD_AUTO, /* mapped, unless this processor wants the weights in another order */
    ENGINE_LOAD_MAP,  /* shared with other processes; all of it is read ahead */
    ENGINE_LOAD_READ, /* into memory of its own */
};

struct engine_llama_options {
    const char *library_dir;   /* MILLRACE_ENGINE_DIR: must work if set; NULL: search */
    const char *const *search; /* NULL-terminated folders tried after the system's libraries */
    const char *model_path;
    uint32_t slots; /* 0: what fits kv_memory, at most 8; 1..256 */
    /* Of one sequence. Capped at what the model was trained for: info.context_tokens tells what it
     * became. 0: what the model was trained for. */
    uint32_t context_tokens;
    /* Bound for the cache of all slots; 0: a quarter of the memory that is available, shared by
     * `workers`: so many load the model at once, and see the same memory; 0: one. */
    uint64_t kv_memory_bytes;
    uint32_t workers;
    uint32_t threads, threads_batch; /* while decoding, for prompts: 1..512 */
    /* Where the engine thread and those that it starts run until it is closed, and whoever calls
     * embed() meanwhile; NULL: where the thread that opens may. Borrowed for the call. */
    const cpu_set_t *cpus;
    uint32_t batch_tokens; /* 0: 512; raised to a row for each slot */
    /* Profile: false = exact (no flash attention, one KV stream per sequence), true = fast. */
    bool fast;
    enum engine_kv_type kv_key, kv_value; /* value: f16 or f32 unless fast */
    enum engine_load load;
    uint32_t gpu_layers; /* 0: none, whatever devices there are; more than it has: all */
    /* So many rows of a decode() may want logits, for each slot; 0: any. A few save a row of the
     * vocabulary for each of the others. And logits_extra more, of whatever slots. */
    uint32_t logits_per_slot, logits_extra;
    /* At most ENGINE_ADAPTERS_MAX; at most ENGINE_ADAPTERS_AT_ONCE of them with a scale. */
    const struct engine_adapter_file *adapters;
    uint32_t adapter_count;
};
/* ERR_NOT_FOUND: no library (the note says what was tried and how to get it); ERR_REFUSED: a
 * library of another release; ERR_PROTOCOL: the file is not a usable GGUF model (missing,
 * truncated, lying), or an adapter's not one for it, or one that changes nothing; ERR_NO_MEMORY:
 * does not fit, with the sums; ERR_LIMIT: more than 256 slots, a type of cache that the model or
 * the profile cannot have, GPU layers where there is no GPU, CPUs that this thread may not use;
 * ERR_CANCELLED: on_progress said stop. */
MUST_USE enum err engine_llama_open(const struct engine_llama_options *options,
                                    engine_progress_fn *on_progress, void *progress_ctx,
                                    struct engine **out_engine, struct err_note *out_note);
/* False: this binary was built without llama's headers. */
bool engine_llama_is_built(void);
