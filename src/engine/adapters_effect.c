/* adapters_effect - see adapters_effect.h. */
#include "engine/adapters_effect.h"

#include "base/mem.h"

/* One would say nothing of keys and queries: attention over one token gives that token, whatever
 * they are. Different ones, or all values were equal and the same held. */
enum { TRIAL_TOKENS = 8 };

static uint32_t least(uint32_t a, uint32_t b)
{
    return a < b ? a : b;
}

static uint32_t trial_tokens(const struct engine_info *info)
{
    uint32_t count = least(TRIAL_TOKENS, info->vocab_size);
    return least(count, least(info->context_tokens, info->batch_tokens));
}

/* The logits of its last token are the engine's until the next decode(). */
MUST_USE static enum err decode_trial(struct engine *engine, const struct engine_adapter_set *set,
                                      const float **out_logits)
{
    struct engine_row rows[TRIAL_TOKENS];
    uint32_t count = trial_tokens(&engine->info);
    for (uint32_t i = 0; i < count; i++)
        rows[i] = (struct engine_row){.token = (token_id)(engine->info.vocab_size / count * i),
                                      .position = i,
                                      .wants_logits = i + 1 == count};
    engine_use_adapters(engine, set);
    TRY(engine_decode(engine, rows, count));
    *out_logits = engine_logits(engine, count - 1);
    return engine_seq_cut(engine, 0, 0);
}

MUST_USE static enum err check_one(struct engine *engine, uint32_t index, const float *without,
                                   struct err_note *note)
{
    const struct engine_adapter_set set = {.count = 1, .uses = {{index, 1}}};
    const float *with;
    enum err err = decode_trial(engine, &set, &with);
    if (err != ERR_OK)
        return err_note_fail(note, err, "the model cannot be computed with it (%s)", err_name(err));
    if (memcmp(with, without, engine->info.vocab_size * sizeof(*with)) != 0)
        return ERR_OK;
    return err_note_fail(note, ERR_PROTOCOL,
                         "it changes nothing: its matrices are zeros, or libllama does not look "
                         "for them where it computes this kind of model");
}

MUST_USE static enum err check_each(struct engine *engine, const struct engine_adapter_file *files,
                                    const float *without, bool (*may_go_on)(void *ctx), void *ctx,
                                    struct err_note *out_note)
{
    for (uint32_t i = 0; i < engine->info.adapter_count; i++) {
        struct err_note why = {{0}};
        if (!may_go_on(ctx))
            return ERR_CANCELLED;
        enum err err = check_one(engine, i, without, &why);
        if (err != ERR_OK)
            return err_note_fail(out_note, err, "the adapter '%s' (%s) cannot be used: %s",
                                 files[i].name, files[i].path, why.text);
    }
    return ERR_OK;
}

enum err adapters_effect_check(struct engine *engine, const struct engine_adapter_file *files,
                               bool (*may_go_on)(void *ctx), void *ctx, struct err_note *out_note)
{
    const struct engine_adapter_set nobody = {0};
    const float *logits;
    if (engine->info.adapter_count == 0 || trial_tokens(&engine->info) < 2)
        return ERR_OK;
    enum err err = decode_trial(engine, &nobody, &logits);
    if (err != ERR_OK)
        return err_note_fail(out_note, err, "the model cannot be computed (%s)", err_name(err));
    float *without = mem_array(engine->info.vocab_size, sizeof(*without));
    memcpy(without, logits, engine->info.vocab_size * sizeof(*without));
    err = check_each(engine, files, without, may_go_on, ctx, out_note);
    mem_free(without);
    return err;
}
