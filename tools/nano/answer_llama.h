/* answer_llama - answers the cases of an exam with a GGUF model: greedy, profile exact, on
 * src/engine. Many sequences at once: each decode() takes one token of every one that answers and
 * chunks of the prompts of those that do not yet. Belongs to one thread. */
#pragma once

#include "nano/exam.h"

struct answer_llama;

enum { ANSWER_TOKENS_MAX = 640 }; /* what is longer is cut there */

/* ERR_NOT_FOUND: there is no engine library (the note says how to get it); else as
 * engine_llama_open(). */
MUST_USE enum err answer_llama_open(const char *model_path, unsigned threads,
                                    struct answer_llama **out_answer, struct err_note *out_note);
void answer_llama_close(struct answer_llama **answer);
/* An exam_answer_fn; ctx is a struct answer_llama. A prompt that leaves no room in the model's
 * context is not answered: that is wrong, and counted (cost). */
enum err answer_llama_all(void *ctx, struct exam_case *cases, size_t count,
                          struct err_note *out_note);

struct answer_llama_cost {
    uint64_t prompt_tokens, answer_tokens, steps;
    uint64_t too_long; /* prompts that were not answered */
};
struct answer_llama_cost answer_llama_cost(const struct answer_llama *answer);
