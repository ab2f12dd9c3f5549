/* engine - the calls every engine answers: what must hold is checked here, once for all of them. */
#include "engine/engine.h"

#include <math.h>

void engine_close(struct engine **engine)
{
    if (!*engine)
        return;
    (*engine)->ops->close(*engine);
    *engine = NULL;
}

enum err engine_tokenize(struct engine *engine, struct slice text, bool add_special,
                         bool parse_special, token_id *out_tokens, size_t max_tokens,
                         size_t *out_count)
{
    ASSERT(out_tokens || max_tokens == 0);
    return engine->ops->tokenize(engine, text, add_special, parse_special, out_tokens, max_tokens,
                                 out_count);
}

static bool token_is_known(const struct engine *engine, token_id token)
{
    return token >= 0 && (uint32_t)token < engine->info.vocab_size;
}

struct slice engine_piece(struct engine *engine, token_id token, char *scratch,
                          size_t scratch_bytes)
{
    ASSERT_MSG(token_is_known(engine, token), "token %d", token);
    return engine->ops->piece(engine, token, scratch, scratch_bytes);
}

bool engine_is_end(struct engine *engine, token_id token)
{
    ASSERT_MSG(token_is_known(engine, token), "token %d", token);
    return engine->ops->is_end(engine, token);
}

enum err engine_chat(struct engine *engine, const struct engine_chat_message *messages,
                     size_t count, struct text *out_prompt, struct err_note *out_note)
{
    return engine->ops->chat(engine, messages, count, out_prompt, out_note);
}

enum err engine_decode(struct engine *engine, const struct engine_row *rows, size_t count)
{
    ASSERT_MSG(count > 0 && count <= engine->info.batch_tokens, "%zu rows of at most %u", count,
               engine->info.batch_tokens);
    for (size_t i = 0; i < count; i++) {
        ASSERT_MSG(rows[i].slot < engine->info.slots, "row %zu: slot %u", i, rows[i].slot);
        ASSERT_MSG(token_is_known(engine, rows[i].token), "row %zu: token %d", i, rows[i].token);
    }
    return engine->ops->decode(engine, rows, count);
}

const float *engine_logits(struct engine *engine, size_t row)
{
    ASSERT(row < engine->info.batch_tokens);
    return engine->ops->logits(engine, row);
}

uint32_t engine_seq_tokens(struct engine *engine, uint32_t slot)
{
    ASSERT_MSG(slot < engine->info.slots, "slot %u", slot);
    return engine->ops->seq_tokens(engine, slot);
}

enum err engine_seq_cut(struct engine *engine, uint32_t slot, uint32_t keep_tokens)
{
    ASSERT_MSG(slot < engine->info.slots, "slot %u", slot);
    ASSERT_MSG(keep_tokens <= engine_seq_tokens(engine, slot), "keep %u", keep_tokens);
    return engine->ops->seq_cut(engine, slot, keep_tokens);
}

enum err engine_seq_save(struct engine *engine, uint32_t slot, void **out_blob, size_t *out_bytes)
{
    ASSERT(engine->info.can_save);
    ASSERT_MSG(slot < engine->info.slots, "slot %u", slot);
    return engine->ops->seq_save(engine, slot, out_blob, out_bytes);
}

enum err engine_seq_restore(struct engine *engine, uint32_t slot, const void *blob, size_t bytes)
{
    ASSERT(engine->info.can_save);
    ASSERT_MSG(slot < engine->info.slots, "slot %u", slot);
    ASSERT_MSG(engine_seq_tokens(engine, slot) == 0, "slot %u is not empty", slot);
    return engine->ops->seq_restore(engine, slot, blob, bytes);
}

void engine_seq_copy(struct engine *engine, uint32_t from, uint32_t to)
{
    ASSERT(engine->info.can_cut);
    ASSERT_MSG(from < engine->info.slots && to < engine->info.slots && from != to, "slot %u to %u",
               from, to);
    ASSERT_MSG(engine_seq_tokens(engine, to) == 0, "slot %u is not empty", to);
    engine->ops->seq_copy(engine, from, to);
}

enum err engine_embed(struct engine *engine, const token_id *tokens, size_t count,
                      enum engine_pooling pooling, bool (*should_abort)(void *ctx), void *ctx,
                      float *out_numbers, struct err_note *out_note)
{
    ASSERT(engine->info.embed_numbers > 0 && pooling != ENGINE_POOL_NONE);
    ASSERT((pooling == ENGINE_POOL_RANK) == (engine->info.pooling == ENGINE_POOL_RANK));
    ASSERT_MSG(count > 0 && count <= engine->info.embed_tokens, "%zu tokens of at most %u", count,
               engine->info.embed_tokens);
    for (size_t i = 0; i < count; i++)
        ASSERT_MSG(token_is_known(engine, tokens[i]), "token %d", tokens[i]);
    return engine->ops->embed(engine, tokens, count, pooling, should_abort, ctx, out_numbers,
                              out_note);
}

enum err engine_pair(struct engine *engine, struct slice query, struct slice document,
                     token_id *out_tokens, size_t max_tokens, size_t *out_count)
{
    ASSERT(engine->info.pooling == ENGINE_POOL_RANK);
    return engine->ops->pair(engine, query, document, out_tokens, max_tokens, out_count);
}

bool engine_adapter_set_eq(const struct engine_adapter_set *a, const struct engine_adapter_set *b)
{
    if (a->count != b->count)
        return false;
    for (uint32_t i = 0; i < a->count; i++)
        if (a->uses[i].index != b->uses[i].index || a->uses[i].scale != b->uses[i].scale)
            return false;
    return true;
}

struct engine_adapter_set engine_default_adapters(const struct engine_info *info)
{
    struct engine_adapter_set set = {0};
    for (uint32_t i = 0; i < info->adapter_count; i++) {
        if (info->adapters[i].scale == 0)
            continue;
        ASSERT(set.count < ENGINE_ADAPTERS_AT_ONCE);
        set.uses[set.count++] = (struct engine_adapter_use){i, info->adapters[i].scale};
    }
    return set;
}

void engine_use_adapters(struct engine *engine, const struct engine_adapter_set *set)
{
    ASSERT(set->count <= ENGINE_ADAPTERS_AT_ONCE);
    for (uint32_t i = 0; i < set->count; i++) {
        ASSERT_MSG(set->uses[i].index < engine->info.adapter_count, "adapter %u of %u",
                   set->uses[i].index, engine->info.adapter_count);
        ASSERT(i == 0 || set->uses[i].index > set->uses[i - 1].index);
        ASSERT(isfinite(set->uses[i].scale) && set->uses[i].scale != 0);
    }
    if (engine->info.adapter_count > 0)
        engine->ops->use_adapters(engine, set);
}
