/* llama_embed_test - what the shipped model makes of whole texts. Skipped where there is no
 * libllama. */
#include "testing/test.h"

#include "engine/engine_llama_test_open.h"

#include <math.h>

enum { NUMBERS_MAX = 4096, LONG = 150 /* parts of 64 */ };

static struct engine *engine;
static uint32_t size;
static token_id tokens[LONG];

static void open_it(void)
{
    engine = open_default();
    size = engine->info.embed_numbers;
    CHECK(size > 0 && size <= NUMBERS_MAX);
    for (int i = 0; i < LONG; i++)
        tokens[i] = (token_id)((unsigned)(i * 37 + 5) % engine->info.vocab_size);
}

static void embed(const token_id *from, size_t count, enum engine_pooling pooling, float *out)
{
    struct err_note note = {{0}};
    enum err err = engine_embed(engine, from, count, pooling, NULL, NULL, out, &note);
    CHECK_STR(note.text, "");
    CHECK_OK(err);
    for (uint32_t i = 0; i < size; i++)
        CHECK(isfinite(out[i]));
}

static void check_same(const float *a, const float *b)
{
    CHECK(memcmp(a, b, size * sizeof(*a)) == 0);
}

static bool are_near(const float *a, const float *b)
{
    double off = 0, length = 0;
    for (uint32_t i = 0; i < size; i++) {
        off += ((double)a[i] - (double)b[i]) * ((double)a[i] - (double)b[i]);
        length += (double)b[i] * (double)b[i];
    }
    CHECK(length > 0);
    return off <= 1e-6 * length;
}

TEST(a_model_that_writes_does_not_say_how_to_pool)
{
    open_it();
    CHECK_EQ(engine->info.pooling, ENGINE_POOL_NONE);
    CHECK(!engine->info.reads_only);
    CHECK_EQ(engine->info.embed_tokens, engine->info.context_tokens);
    engine_close(&engine);
}

TEST(of_one_token_all_ways_to_pool_are_one)
{
    float mean[NUMBERS_MAX], cls[NUMBERS_MAX], last[NUMBERS_MAX];
    open_it();
    embed(tokens, 1, ENGINE_POOL_MEAN, mean);
    embed(tokens, 1, ENGINE_POOL_CLS, cls);
    embed(tokens, 1, ENGINE_POOL_LAST, last);
    check_same(mean, cls);
    check_same(mean, last);
    engine_close(&engine);
}

/* It sees what came before, and nothing that comes after. */
TEST(the_first_row_knows_itself_and_the_last_one_all)
{
    float first[NUMBERS_MAX], alone[NUMBERS_MAX], last[NUMBERS_MAX], other[NUMBERS_MAX];
    open_it();
    embed(tokens, LONG, ENGINE_POOL_CLS, first);
    embed(tokens, 1, ENGINE_POOL_CLS, alone);
    CHECK(are_near(first, alone));
    embed(tokens, LONG, ENGINE_POOL_LAST, last);
    token_id before = tokens[0];
    tokens[0] = before + 1;
    embed(tokens, LONG, ENGINE_POOL_LAST, other);
    CHECK(!are_near(last, other));
    engine_close(&engine);
}

/* The mean of all prefixes' last rows, which is how a long text shows that its parts are joined. */
TEST(the_mean_is_of_all_rows)
{
    enum { SHORT = 70 }; /* two parts */
    static double sum[NUMBERS_MAX];
    float mean[NUMBERS_MAX], row[NUMBERS_MAX];
    open_it();
    for (size_t count = 1; count <= SHORT; count++) {
        embed(tokens, count, ENGINE_POOL_LAST, row);
        for (uint32_t i = 0; i < size; i++)
            sum[i] += (double)row[i] / SHORT;
    }
    for (uint32_t i = 0; i < size; i++)
        row[i] = (float)sum[i];
    embed(tokens, SHORT, ENGINE_POOL_MEAN, mean);
    CHECK(are_near(mean, row));
    engine_close(&engine);
}

static bool abort_at_once(void *ctx)
{
    (*(int *)ctx)++;
    return true;
}

TEST(an_abort_ends_it_and_the_next_text_is_read)
{
    int asked = 0;
    float before[NUMBERS_MAX], after[NUMBERS_MAX], none[NUMBERS_MAX];
    struct err_note note = {{0}};
    open_it();
    embed(tokens, LONG, ENGINE_POOL_MEAN, before);
    CHECK_ERR(
        engine_embed(engine, tokens, LONG, ENGINE_POOL_MEAN, abort_at_once, &asked, none, &note),
        ERR_CANCELLED);
    CHECK(asked > 0);
    embed(tokens, LONG, ENGINE_POOL_MEAN, after);
    check_same(before, after);
    engine_close(&engine);
}

static void copy_logits(uint32_t position, float *out)
{
    struct engine_row row = {
        .token = tokens[position], .position = position, .slot = 0, .wants_logits = true};
    CHECK_OK(engine_decode(engine, &row, 1));
    memcpy(out, engine_logits(engine, 0), engine->info.vocab_size * sizeof(*out));
}

TEST(who_generates_beside_it_does_not_notice)
{
    float numbers[NUMBERS_MAX];
    open_it();
    size_t bytes = engine->info.vocab_size * sizeof(float);
    float *alone = malloc(2 * bytes), *beside = malloc(2 * bytes);
    copy_logits(0, alone);
    copy_logits(1, alone + engine->info.vocab_size);
    CHECK_OK(engine_seq_cut(engine, 0, 0));
    copy_logits(0, beside);
    embed(tokens, LONG, ENGINE_POOL_MEAN, numbers);
    copy_logits(1, beside + engine->info.vocab_size);
    CHECK(memcmp(alone, beside, 2 * bytes) == 0);
    free(alone);
    free(beside);
    engine_close(&engine);
}

TEST(a_whole_context_is_read)
{
    float numbers[NUMBERS_MAX];
    open_it();
    uint32_t count = engine->info.embed_tokens;
    token_id *many = calloc(count, sizeof(*many));
    for (uint32_t i = 0; i < count; i++)
        many[i] = tokens[i % LONG];
    embed(many, count, ENGINE_POOL_MEAN, numbers);
    free(many);
    engine_close(&engine);
}
