/* tokenizer - byte-level byte-pair encoding as llama.cpp does it for tokenizer.ggml.model "gpt2",
 * tokenizer.ggml.pre "qwen2" (single digits, so that numbers are copied digit by digit). A test
 * holds it to libllama's on an exported file.
 *
 * 1. Ids: the special tokens first, then the 256 bytes, then the merges in order of rank. The lower
 *    rank is applied first, of equal ones the leftmost.
 * 2. Learning is a pure function of the texts it was given: no ties are left to chance.
 * 3. Texts are ours: they are UTF-8 of the blocks that unicode_class knows (ASSERT).
 *
 * A tokenizer does not change once it is made: any thread may use it. A lesson belongs to one. */
#pragma once

#include "base/text.h"

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

enum {
#define X(name, text) TOKEN_##name,
    TOKENIZER_SPECIALS(X)
#undef X
        TOKENIZER_SPECIAL_COUNT,
    TOKENIZER_FIRST_BYTE = TOKENIZER_SPECIAL_COUNT,
    TOKENIZER_FIRST_MERGE = TOKENIZER_FIRST_BYTE + 256,
    TOKENIZER_SIZE_MIN = 288, /* a size is a multiple of 32: rows of the model's matrices */
    TOKENIZER_SIZE_MAX = 4096,
    TOKENIZER_TOKEN_BYTES_MAX = 64, /* no longer token is learned */
};

struct tokenizer;

/* Counts pieces (pieces.h) of texts; at most 1M different ones, later new ones are not counted. */
struct tokenizer_lesson;
struct tokenizer_lesson *tokenizer_lesson_new(void);
void tokenizer_lesson_free(struct tokenizer_lesson *lesson);
void tokenizer_lesson_add(struct tokenizer_lesson *lesson, struct slice text);

/* The most frequent pair becomes a token, until there are `size` (of equally frequent ones that of
 * the lower ids). ERR_REFUSED: what was counted has not as many pairs that occur twice. */
MUST_USE enum err tokenizer_learn(const struct tokenizer_lesson *lesson, uint32_t size,
                                  struct tokenizer **out_tokenizer, struct err_note *out_note);
void tokenizer_free(struct tokenizer *tokenizer);

uint32_t tokenizer_size(const struct tokenizer *tokenizer);
/* The bytes a token stands for; a special's name. */
struct slice tokenizer_token(const struct tokenizer *tokenizer, uint16_t token);
/* The two tokens that a merge (token >= TOKENIZER_FIRST_MERGE) joins. */
void tokenizer_merge(const struct tokenizer *tokenizer, uint16_t token, uint16_t *out_left,
                     uint16_t *out_right);
/* Of all of the above: equal for equal tokenizers only, but for chance. */
uint64_t tokenizer_hash(const struct tokenizer *tokenizer);

/* Text with specials parsed. Returns how many tokens there are; only the first max_tokens are
 * written, and where each ends in the text (out_ends may be NULL). */
size_t tokenizer_encode(const struct tokenizer *tokenizer, struct slice text, uint16_t *out_tokens,
                        uint32_t *out_ends, size_t max_tokens);

/* A file of a line per merge. save(): whole or not at all. */
MUST_USE enum err tokenizer_save(const struct tokenizer *tokenizer, const char *path,
                                 struct err_note *out_note);
/* ERR_NOT_FOUND, ERR_SYSTEM; ERR_PROTOCOL: not such a file, the note names the line. */
MUST_USE enum err tokenizer_load(const char *path, struct tokenizer **out_tokenizer,
                                 struct err_note *out_note);
