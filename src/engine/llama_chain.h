/* llama_chain - a chain of libllama's own samplers, run on a row of logits: what the tests compare
 * ours with. Linked into tests only; opaque, because nobody else may see llama.h. One thread. */
#pragma once

#include "engine/engine.h"

struct llama_chain_options {
    const char *library_dir;   /* as engine_llama_options, */
    const char *const *search; /* also this */
    const char *vocab_path; /* a model, for what needs its vocabulary: dry. NULL: none is loaded */
    uint32_t vocab_size;
};

struct llama_chain;
/* ERR_NOT_FOUND, ERR_REFUSED: as llama_api_load(). ERR_PROTOCOL: no such vocabulary. */
MUST_USE enum err llama_chain_new(const struct llama_chain_options *options,
                                  struct llama_chain **out_chain, struct err_note *out_note);
void llama_chain_free(struct llama_chain *chain);

/* Each adds one at the end, with libllama's parameters. */
void llama_chain_penalties(struct llama_chain *chain, int32_t last_n, float repeat, float frequency,
                           float presence);
void llama_chain_dry(struct llama_chain *chain, float multiplier, float base, int32_t allowed,
                     int32_t last_n, const char **breakers, size_t breaker_count);
void llama_chain_top_n_sigma(struct llama_chain *chain, float sigmas);
void llama_chain_top_k(struct llama_chain *chain, int32_t k);
void llama_chain_typical(struct llama_chain *chain, float p, size_t min_keep);
void llama_chain_top_p(struct llama_chain *chain, float p, size_t min_keep);
void llama_chain_min_p(struct llama_chain *chain, float p, size_t min_keep);
void llama_chain_xtc(struct llama_chain *chain, float probability, float threshold,
                     size_t min_keep);
void llama_chain_temperature(struct llama_chain *chain, float temperature, float range,
                             float exponent);
void llama_chain_mirostat(struct llama_chain *chain, int version, float tau, float eta);

/* A token of the history. */
void llama_chain_accept(struct llama_chain *chain, token_id token);
/* out_logits[id]: what the chain makes of logits[id]; -infinity for what it has dropped. */
void llama_chain_apply(struct llama_chain *chain, const float *logits, float *out_logits);
