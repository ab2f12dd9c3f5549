/* tokenizer - byte-level byte-pair encoding as llama.cpp does it for tokenizer.ggml.model "gpt2",
 * tokenizer.ggml.pre "qwen2" (single digits, so that numbers are copied digit by digit). A test
 * holds it to libllama's on the exported file.
 *
 * 1. Ids: the special tokens first, then the 256 bytes, then the merges in order of rank; filled up
 *    with unused "<|pad..|>" to a multiple of 32.
 * 2. Learning is a pure function of the bytes it was given: no ties are left to chance.
 * Read only after it was made: any thread. */
#pragma once

#include "base/text.h"

#include <stdio.h>

#define TOKENIZER_SPECIALS(X)                                                                      \
    X(END_OF_TEXT, "<|endoftext|>")                                                                \
    X(IM_START, "<|im_start|>")                                                                    \
    X(IM_END, "<|im_end|>")                                                                        \
    X(TOOL_CALL, "<tool_call>")                                                                    \
    X(TOOL_CALL_END, "</tool_call>")                                                               \
    X(TOOL_RESPONSE, "<tool_response>")                                                            \
    X(TOOL_RESPONSE_END, "</tool_response>")                                                       \
    X(TOOLS, "<tools>")                                                                            \
    X(TOOLS_END, "</tools>")

struct tokenizer;

/* Learns merges from counts of pieces of these texts until there are vocab_size tokens
 * (a multiple of 32, 512..8192). */
struct tokenizer_lesson;
struct tokenizer_lesson *tokenizer_lesson_new(void);
void tokenizer_lesson_add(struct tokenizer_lesson *lesson, struct slice text);
struct tokenizer *tokenizer_learn(struct tokenizer_lesson **lesson, uint32_t vocab_size);
void tokenizer_free(struct tokenizer *tokenizer);

uint32_t tokenizer_size(const struct tokenizer *tokenizer);
/* Text with specials parsed. Returns how many there are; only the first max_tokens are written. */
size_t tokenizer_encode(struct tokenizer *tokenizer, struct slice text, uint16_t *out_tokens,
                        uint32_t *out_ends, size_t max_tokens);
