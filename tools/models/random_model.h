/* random_model - a GGUF file of random weights that libllama loads and computes with: one of each
 * kind of model that millrace must treat in its own way, small enough to be made in a test, and two
 * of llama's architecture of the size that benchmarks want.
 *
 * The file is a pure function of the options, the vocabulary and the processor's rounding. It holds
 * the shipped model's tokenizer, so text works; what it says is noise, the same noise each time. */
#pragma once

#include "nano/gguf_write.h"

enum random_kind {
    RANDOM_LLAMA,     /* llama: plain attention; a slot can be cut anywhere */
    RANDOM_RECURRENT, /* mamba: one state per sequence; cannot be cut */
    RANDOM_HYBRID,    /* lfm2: short convolutions (states) and attention in turn; cannot be cut */
    RANDOM_WINDOW,    /* gemma3: attention to the last 64 tokens and to all, in turn */
    RANDOM_EMBEDDING, /* bert: reads, does not write; the mean over a text */
    RANDOM_RERANK,    /* bert with a head that gives a score */
    RANDOM_KIND_COUNT,
};

enum random_size {              /* the latter two of llama alone */
                   RANDOM_TINY, /* 2 to 4 layers of 64: made in milliseconds */
                   RANDOM_15M,  /* 6 layers of 288, 32000 tokens: 15.2M weights */
                   RANDOM_110M, /* 12 layers of 768, 32000 tokens: 109.5M weights */
                   RANDOM_SIZE_COUNT,
};

enum {
    RANDOM_CONTEXT_TOKENS = 8192, /* context_length of those that write; others have 512 */
    RANDOM_WINDOW_TOKENS = 64,
};

struct random_model {
    enum random_kind kind;
    enum random_size size;
    enum gguf_tensor_type type; /* of the matrices, where their rows are whole blocks */
    uint64_t seed;
    bool quotes;            /* llama of 15m or 110m: it says again what stood before (quoting.h) */
    const char *vocabulary; /* path of the file whose tokenizer it gets: models/nano.gguf */
};

extern const char *const random_kind_names[RANDOM_KIND_COUNT];
extern const char *const random_size_names[RANDOM_SIZE_COUNT];

/* Whole or not at all. ERR_REFUSED: there is no such size of that kind, or none that quotes, or
 * this processor cannot pack (nano/cpu.h); else what reading the vocabulary and writing may give.
 */
MUST_USE enum err random_model_write(const struct random_model *model, const char *path,
                                     struct err_note *note);
