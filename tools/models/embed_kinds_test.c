/* embed_kinds_test - models that read and do not write: what they make of texts, and what they are
 * not asked for. */
#include "models/rig.h"

#include <math.h>

enum { NUMBERS_MAX = 1024, ROOM = 600 };

static struct made made;
static struct engine *engine;

static void open_kind(enum random_kind kind)
{
    made = made_kind(kind);
    engine = made_open(&made, (struct engine_llama_options){.slots = 2});
    CHECK(engine->info.reads_only);
    CHECK(engine->info.embed_tokens > 64 && engine->info.embed_tokens <= ROOM);
    CHECK(engine->info.embed_numbers > 0 && engine->info.embed_numbers <= NUMBERS_MAX);
}

static void close_kind(void)
{
    engine_close(&engine);
    made_fini(&made);
}

static void embed(const token_id *tokens, size_t count, enum engine_pooling pooling, float *out)
{
    struct err_note note = {{0}};
    enum err err = engine_embed(engine, tokens, count, pooling, NULL, NULL, out, &note);
    CHECK_STR(note.text, "");
    CHECK_OK(err);
    for (uint32_t i = 0; i < engine->info.embed_numbers; i++)
        CHECK(isfinite(out[i]));
}

static size_t tokens_of(const char *text, token_id tokens[ROOM])
{
    size_t count = 0;
    CHECK_OK(engine_tokenize(engine, slice_str(text), true, true, tokens, ROOM, &count));
    CHECK(count > 2);
    return count;
}

static double cosine(const float *a, const float *b)
{
    double ab = 0, aa = 0, bb = 0;
    for (uint32_t i = 0; i < engine->info.embed_numbers; i++) {
        ab += (double)a[i] * (double)b[i];
        aa += (double)a[i] * (double)a[i];
        bb += (double)b[i] * (double)b[i];
    }
    CHECK(aa > 0 && bb > 0);
    return ab / sqrt(aa * bb);
}

TEST(an_embedding_model_tells_texts_apart)
{
    float one[NUMBERS_MAX], again[NUMBERS_MAX], other[NUMBERS_MAX];
    token_id tokens[ROOM];
    open_kind(RANDOM_EMBEDDING);
    CHECK_EQ(engine->info.pooling, ENGINE_POOL_MEAN);
    size_t count = tokens_of("A fox and a duck.", tokens);
    embed(tokens, count, ENGINE_POOL_MEAN, one);
    embed(tokens, tokens_of("The lamp is in room 7.", tokens), ENGINE_POOL_MEAN, other);
    embed(tokens, tokens_of("A fox and a duck.", tokens), ENGINE_POOL_MEAN, again);
    CHECK(memcmp(one, again, engine->info.embed_numbers * sizeof(float)) == 0);
    CHECK(cosine(one, other) < 0.999);
    close_kind();
}

/* It sees what comes after, too: the first row is another with another end. */
TEST(an_embedding_model_reads_the_whole_text_at_once)
{
    float one[NUMBERS_MAX], other[NUMBERS_MAX];
    token_id tokens[ROOM];
    open_kind(RANDOM_EMBEDDING);
    for (uint32_t i = 0; i < engine->info.embed_tokens; i++)
        tokens[i] = (token_id)(10 + i * 7 % 900);
    embed(tokens, engine->info.embed_tokens, ENGINE_POOL_CLS, one);
    for (uint32_t i = engine->info.embed_tokens / 2; i < engine->info.embed_tokens; i++)
        tokens[i] = 11;
    embed(tokens, engine->info.embed_tokens, ENGINE_POOL_CLS, other);
    CHECK(memcmp(one, other, engine->info.embed_numbers * sizeof(float)) != 0);
    close_kind();
}

static float score(const char *query, const char *document)
{
    token_id tokens[ROOM];
    size_t count = 0;
    float out = NAN;
    CHECK_OK(engine_pair(engine, slice_str(query), slice_str(document), tokens, ROOM, &count));
    embed(tokens, count, ENGINE_POOL_RANK, &out);
    return out;
}

TEST(a_reranker_gives_a_pair_one_number)
{
    open_kind(RANDOM_RERANK);
    CHECK_EQ(engine->info.pooling, ENGINE_POOL_RANK);
    CHECK_EQ(engine->info.embed_numbers, 1);
    float first = score("What is a fox?", "A fox is an animal.");
    CHECK(first == score("What is a fox?", "A fox is an animal."));
    CHECK(first != score("What is a fox?", "The lamp is in room 7."));
    CHECK(first != score("Where is the lamp?", "A fox is an animal."));
    close_kind();
}

TEST(a_pair_without_room_is_only_counted)
{
    token_id tokens[ROOM], few[3] = {-1, -1, -1};
    size_t count = 0, needed = 0;
    open_kind(RANDOM_RERANK);
    CHECK_OK(
        engine_pair(engine, SLICE("What is it?"), SLICE("It is a fox."), tokens, ROOM, &needed));
    CHECK(needed > 2);
    CHECK_ERR(engine_pair(engine, SLICE("What is it?"), SLICE("It is a fox."), few, 2, &count),
              ERR_LIMIT);
    CHECK_EQ(count, needed);
    CHECK_EQ(few[2], -1);
    close_kind();
}
