/* vocabulary - the tokenizer and the chat template of the shipped model, for other models: its keys
 * are copied out of the file as they lie there, so that text is what it is for millrace's own.
 *
 * A model with more tokens gets made-up words behind them (" ka-mi-ro"): no text is ever cut into
 * them, for the tokenizer has no word with a hyphen inside, but sampling comes upon them. */
#pragma once

#include "nano/gguf_write.h"

enum {
    VOCABULARY_TOKENS_MAX = 65536,
    VOCABULARY_END_OF_TEXT = 0, /* nano/tokenizer.h: <|endoftext|>, <|im_end|> */
    VOCABULARY_END_OF_TURN = 2,
};

struct vocabulary {
    struct text file;
    uint32_t tokens;
};

/* ERR_NOT_FOUND, ERR_SYSTEM, ERR_PROTOCOL: not a model file with such a tokenizer; the note says
 * what is wrong. */
MUST_USE enum err vocabulary_open(const char *path, struct vocabulary *out, struct err_note *note);
void vocabulary_fini(struct vocabulary *vocabulary);

/* How a model begins and ends what it reads. */
enum vocabulary_use {
    VOCABULARY_CHAT, /* with the chat template; nothing is added to a text */
    VOCABULARY_READ, /* <|endoftext|> before each text, <|im_end|> behind it and between two */
};
/* `tokens` is at least the vocabulary's own, at most VOCABULARY_TOKENS_MAX. */
void vocabulary_add(const struct vocabulary *vocabulary, uint32_t tokens, enum vocabulary_use use,
                    struct gguf *gguf);
