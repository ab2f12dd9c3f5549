#include "engine/adapters_effect.h"

#include "testing/test.h"

enum { WORDS = 40, ADAPTERS = 3 };

/* Its logits are the sum of what it holds and of what the adapter in use adds to that. */
struct model {
    struct engine engine;
    struct engine_adapter adapters[ADAPTERS];
    float added[ADAPTERS];
    enum err fails; /* decode() with adapters */
    float in_use, logits[WORDS];
    uint32_t held, decodes;
    int patience; /* of may_go_on() */
};

static struct model *model_of(struct engine *engine)
{
    return CONTAINER_OF(engine, struct model, engine);
}

static void use_adapters(struct engine *engine, const struct engine_adapter_set *set)
{
    struct model *model = model_of(engine);
    model->in_use = set->count ? model->added[set->uses[0].index] * set->uses[0].scale : 0;
}

static enum err decode(struct engine *engine, const struct engine_row *rows, size_t count)
{
    struct model *model = model_of(engine);
    CHECK(count <= engine->info.batch_tokens && count <= engine->info.context_tokens && count > 1);
    if (model->in_use != 0 && model->fails != ERR_OK)
        return model->fails;
    model->decodes++;
    for (size_t i = 0; i < count; i++) {
        CHECK(rows[i].slot == 0 && rows[i].position == i &&
              rows[i].wants_logits == (i == count - 1));
        CHECK(i == 0 || rows[i].token > rows[i - 1].token); /* no two alike */
        CHECK(rows[i].token < WORDS);
        model->held++;
    }
    for (int i = 0; i < WORDS; i++)
        model->logits[i] = (float)i + (i == WORDS - 1 ? model->in_use : 0);
    return ERR_OK;
}

static const float *logits(struct engine *engine, size_t row)
{
    CHECK_EQ(row + 1, model_of(engine)->held);
    return model_of(engine)->logits;
}

static uint32_t seq_tokens(struct engine *engine, uint32_t slot)
{
    CHECK_EQ(slot, 0);
    return model_of(engine)->held;
}

static enum err seq_cut(struct engine *engine, uint32_t slot, uint32_t keep_tokens)
{
    CHECK(slot == 0 && keep_tokens == 0);
    model_of(engine)->held = 0;
    return ERR_OK;
}

static const struct engine_ops ops = {.use_adapters = use_adapters,
                                      .decode = decode,
                                      .logits = logits,
                                      .seq_tokens = seq_tokens,
                                      .seq_cut = seq_cut};
static const struct engine_adapter_file files[ADAPTERS] = {
    {"one", "/1.gguf", 0}, {"two", "/2.gguf", 0}, {"three", "/3.gguf", 0}};

static void init(struct model *model)
{
    *model = (struct model){.added = {1e-5f, -1, 1e30f}, .patience = ADAPTERS};
    model->engine = (struct engine){.ops = &ops,
                                    .info = {.slots = 1,
                                             .context_tokens = 64,
                                             .batch_tokens = 64,
                                             .vocab_size = WORDS,
                                             .adapters = model->adapters,
                                             .adapter_count = ADAPTERS}};
}

static bool may_go_on(void *ctx)
{
    struct model *model = ctx;
    return model->patience-- > 0;
}

static enum err check(struct model *model, struct err_note *note)
{
    enum err err = adapters_effect_check(&model->engine, files, may_go_on, model, note);
    CHECK_EQ(model->held, 0);
    return err;
}

TEST(adapters_that_change_something_are_fine_at_a_decode_each)
{
    struct model model;
    struct err_note note = {{0}};
    init(&model);
    CHECK_OK(check(&model, &note));
    CHECK_EQ(model.decodes, 1 + ADAPTERS);
}

TEST(without_adapters_nothing_is_computed)
{
    struct model model;
    init(&model);
    model.engine.info.adapter_count = 0;
    CHECK_OK(check(&model, NULL));
    CHECK_EQ(model.decodes, 0);
}

TEST(one_that_changes_nothing_is_named)
{
    struct model model;
    struct err_note note = {{0}};
    init(&model);
    model.added[1] = 0;
    CHECK_ERR(check(&model, &note), ERR_PROTOCOL);
    CHECK(strstr(note.text, "the adapter 'two' (/2.gguf) cannot be used: it changes nothing"));
    CHECK_EQ(model.decodes, 3);
}

/* Of one token nothing could be told: attention over it is that token. */
TEST(a_context_or_batch_of_two_tokens_is_enough_and_one_is_not_tried)
{
    for (uint32_t tokens = 1; tokens <= 9; tokens++) {
        struct model model;
        init(&model);
        model.engine.info.context_tokens = tokens;
        model.engine.info.batch_tokens = 10 - tokens;
        CHECK_OK(check(&model, NULL));
        CHECK_EQ(model.decodes, tokens == 1 || tokens == 9 ? 0 : 1 + ADAPTERS);
    }
}

TEST(an_engine_that_fails_with_one_says_so)
{
    struct model model;
    struct err_note note = {{0}};
    init(&model);
    model.fails = ERR_SYSTEM;
    CHECK_ERR(check(&model, &note), ERR_SYSTEM);
    CHECK(strstr(note.text, "the adapter 'one'"));
}

TEST(who_is_told_to_stop_stops_before_the_next_one)
{
    struct model model;
    init(&model);
    model.patience = 1;
    CHECK_ERR(check(&model, NULL), ERR_CANCELLED);
    CHECK_EQ(model.decodes, 2);
}
