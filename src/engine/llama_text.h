/* llama_text - what a model on libllama knows of text: its tokens, its chat template, and how it
 * wants a query and a document together. Any thread, once it is made: a vocabulary does not change.
 * The functions do what those of the same name in engine.h say. */
#pragma once

#include "engine/engine.h"
#include "engine/llama_api.h"

struct llama_text {
    const struct llama_api *api;
    const struct llama_vocab *vocab; /* the model's, as is */
    const char *chat_template;       /* NULL: none that llama_chat_apply_template() knows */
    uint32_t vocab_size;
    struct text pieces; /* the texts of all tokens, one behind the other: then piece() is a look-up,
                           whatever the length of a token's text */
    uint32_t *piece_ends; /* end of each in them */
};

/* Borrows the model until fini(). ERR_NO_MEMORY: for the texts of its tokens; fini() is due then,
 * too. */
MUST_USE enum err llama_text_init(struct llama_text *self, const struct llama_api *api,
                                  const struct llama_model *model);
void llama_text_fini(struct llama_text *self); /* of a zeroed one: harmless */

MUST_USE enum err llama_text_tokenize(const struct llama_text *self, struct slice text,
                                      bool add_special, bool parse_special, token_id *out_tokens,
                                      size_t max_tokens, size_t *out_count);
struct slice llama_text_piece(const struct llama_text *self, token_id token);
MUST_USE enum err llama_text_chat(const struct llama_text *self,
                                  const struct engine_chat_message *messages, size_t count,
                                  struct text *out_prompt, struct err_note *out_note);
MUST_USE enum err llama_text_pair(const struct llama_text *self, struct slice query,
                                  struct slice document, token_id *out_tokens, size_t max_tokens,
                                  size_t *out_count);
