/* toy_engine - a model for tests of the core: its logits are a hash of all that was put into the
 * slot, so one wrong, missing or doubled token shows in everything that follows. It holds its users
 * to engine.h (ASSERT) and fails in the ways that engine.h allows. Test code only. */
#pragma once

#include "engine/engine.h"

enum {
    TOY_VOCAB = 24,
    TOY_SLOTS_MAX = 8,
    TOY_CONTEXT_MAX = 256,
    TOY_BATCH_MAX = 512,
    TOY_END = 0, /* two end tokens, as models have */
    TOY_END_OF_TEXT = 5,
};

struct toy_engine {
    struct engine engine;
    uint64_t hash[TOY_SLOTS_MAX][TOY_CONTEXT_MAX + 1]; /* of the first n tokens in the slot */
    uint32_t held[TOY_SLOTS_MAX];
    uint64_t row_hash[TOY_BATCH_MAX]; /* of the last batch; 0: no logits */
    token_id row_token[TOY_BATCH_MAX];
    float logits[TOY_VOCAB];
    uint32_t decodes, widest;         /* how many, and the most rows of one */
    uint64_t rows;                    /* of those that went well */
    uint32_t saves, restores, copies; /* that went well */

    /* toy_engine_add_adapters(): what the next rows go through is in their hash. */
    struct engine_adapter adapters[ENGINE_ADAPTERS_MAX];
    struct engine_adapter_set now;
    uint32_t changes; /* of the set */

    float habit; /* so much more likely is one token behind each: answers repeat themselves */

    /* What goes wrong. The first three: once. */
    enum err next_decode; /* at once, and nothing is put in */
    enum err next_save, next_restore;
    uint32_t rows_max;    /* ERR_FULL for more rows than that; 0: any */
    enum err empty_fails; /* for good */
    bool cut_refused;     /* slots can only be emptied, as with recurrent models */
    uint32_t lost_tokens; /* an abort loses so many more at the end of every slot */
    bool has_no_number;   /* logits are NaN */
};

void toy_engine_init(struct toy_engine *toy, uint32_t slots, uint32_t context_tokens,
                     uint32_t batch_tokens);
/* The logits after these tokens. */
void toy_engine_logits(const token_id *tokens, size_t count, float out_logits[TOY_VOCAB]);
/* The same with single_rows_differ, where those from `single_at` on went in one by one. */
void toy_engine_logits_of_rows(const token_id *tokens, size_t count, size_t single_at,
                               float out_logits[TOY_VOCAB]);
/* The same without, through these adapters. */
void toy_engine_logits_with(const token_id *tokens, size_t count,
                            const struct engine_adapter_set *adapters, float out_logits[TOY_VOCAB]);
/* Adapters "a", "b", .. without a scale of their own. */
void toy_engine_add_adapters(struct toy_engine *toy, uint32_t count);
/* What `habit` adds to those behind this token. */
void toy_engine_add_habit(float habit, token_id last, float logits[TOY_VOCAB]);
/* Letters, spaces, newlines, "STOP" in parts, whole, cut and broken characters. */
struct slice toy_engine_piece(token_id token);
