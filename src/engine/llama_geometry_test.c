/* Tests of what fits into memory. */
#include "engine/llama_geometry.h"

#include "testing/test.h"

/* 4 blocks of 2 key/value heads of 16: 4 * 2 * (16 + 16) * 2 = 512 bytes a token. */
static struct gguf_summary small_model(void)
{
    return (struct gguf_summary){.architecture = "llama",
                                 .context_length = 1024,
                                 .block_count = 4,
                                 .embedding_length = 64,
                                 .head_count = 4,
                                 .head_count_kv = 2,
                                 .data_bytes = 1 << 20};
}

static struct llama_wish plenty(void)
{
    return (struct llama_wish){.batch_tokens = 512, .memory_available_bytes = UINT64_MAX};
}

/* Scores of 4 heads and a mask, in floats; the scores once more in f16. */
enum { SLOT_BYTES = 1024 * 512, COMPUTE_BYTES = 512 * 1024 * (5 * 4 + 4 * 2) };

TEST(model_decides_where_the_wish_is_silent)
{
    struct gguf_summary model = small_model();
    struct llama_wish wish = plenty();
    struct llama_geometry plan;
    CHECK_OK(llama_geometry_plan(&model, &wish, &plan, NULL));
    CHECK_EQ(plan.slots, 8);
    CHECK_EQ(plan.context_tokens, 1024);
    CHECK_EQ(plan.cells, 8 * 1024);
    CHECK_EQ(plan.batch_tokens, 512);
    CHECK_EQ(plan.token_bytes, 512);
    CHECK_EQ(plan.kv_bytes, 8 * SLOT_BYTES);
    CHECK_EQ(plan.weights_bytes, 1 << 20);
    CHECK_EQ(plan.compute_bytes, COMPUTE_BYTES);
    CHECK_EQ(plan.scratch_bytes, 512 * 1024 * 4 * 2);
}

TEST(context_is_capped_at_what_the_model_was_trained_for)
{
    struct gguf_summary model = small_model();
    struct llama_wish wish = plenty();
    struct llama_geometry plan;
    const uint32_t wished[] = {1023, 1024, 1025}, got[] = {1023, 1024, 1024};
    for (size_t i = 0; i < ARRAY_COUNT(wished); i++) {
        wish.context_tokens = wished[i];
        CHECK_OK(llama_geometry_plan(&model, &wish, &plan, NULL));
        CHECK_EQ(plan.context_tokens, got[i]);
    }
}

TEST(cells_are_rounded_up_per_stream)
{
    struct gguf_summary model = small_model();
    struct llama_wish wish = plenty();
    struct llama_geometry plan;
    wish.slots = 3;
    wish.context_tokens = 257;
    CHECK_OK(llama_geometry_plan(&model, &wish, &plan, NULL));
    CHECK_EQ(plan.cells, 3 * 512);
    wish.fast = true; /* one stream of 771 */
    CHECK_OK(llama_geometry_plan(&model, &wish, &plan, NULL));
    CHECK_EQ(plan.cells, 1024);
    CHECK_EQ(plan.kv_bytes, 1024 * 512);
}

TEST(batch_has_a_row_for_each_slot)
{
    struct gguf_summary model = small_model();
    struct llama_wish wish = plenty();
    struct llama_geometry plan;
    wish.slots = 256;
    wish.batch_tokens = 32;
    CHECK_OK(llama_geometry_plan(&model, &wish, &plan, NULL));
    CHECK_EQ(plan.batch_tokens, 256);
    wish.slots = 257;
    CHECK_ERR(llama_geometry_plan(&model, &wish, &plan, NULL), ERR_LIMIT);
}

TEST(slots_are_what_fits_the_cache_memory)
{
    struct gguf_summary model = small_model();
    struct llama_wish wish = plenty();
    struct llama_geometry plan;
    struct err_note note = {{0}};
    wish.kv_memory_bytes = 3 * SLOT_BYTES;
    CHECK_OK(llama_geometry_plan(&model, &wish, &plan, NULL));
    CHECK_EQ(plan.slots, 3);
    wish.kv_memory_bytes--;
    CHECK_OK(llama_geometry_plan(&model, &wish, &plan, NULL));
    CHECK_EQ(plan.slots, 2);
    wish.kv_memory_bytes = SLOT_BYTES - 1;
    CHECK_ERR(llama_geometry_plan(&model, &wish, &plan, &note), ERR_NO_MEMORY);
    CHECK_STR(note.text,
              "1 slots of 1024 tokens of 512 bytes need a cache of 0.5 MiB, but kv_memory "
              "is 0.5 MiB: take fewer slots, a shorter context or more kv_memory");
}

TEST(slots_asked_for_are_given_or_refused)
{
    struct gguf_summary model = small_model();
    struct llama_wish wish = plenty();
    struct llama_geometry plan;
    wish.slots = 3;
    wish.kv_memory_bytes = 3 * SLOT_BYTES;
    CHECK_OK(llama_geometry_plan(&model, &wish, &plan, NULL));
    wish.kv_memory_bytes--;
    CHECK_ERR(llama_geometry_plan(&model, &wish, &plan, NULL), ERR_NO_MEMORY);
}

TEST(cache_gets_a_quarter_of_the_memory_unless_told)
{
    struct gguf_summary model = small_model();
    struct llama_wish wish = plenty();
    struct llama_geometry plan;
    struct err_note note = {{0}};
    wish.slots = 8;
    wish.batch_tokens = 8;
    wish.memory_available_bytes = 4 * 8 * SLOT_BYTES;
    CHECK_OK(llama_geometry_plan(&model, &wish, &plan, NULL));
    wish.memory_available_bytes -= 4;
    CHECK_ERR(llama_geometry_plan(&model, &wish, &plan, &note), ERR_NO_MEMORY);
    CHECK(strstr(note.text, "(a quarter of what is available)"));
    wish.slots = 0;
    CHECK_OK(llama_geometry_plan(&model, &wish, &plan, NULL));
    CHECK_EQ(plan.slots, 7);
    wish.memory_available_bytes += 4;
    wish.workers = 1;
    CHECK_OK(llama_geometry_plan(&model, &wish, &plan, NULL));
    CHECK_EQ(plan.slots, 8);
    wish.workers = 4; /* each of them asks before any has taken its own */
    CHECK_OK(llama_geometry_plan(&model, &wish, &plan, NULL));
    CHECK_EQ(plan.slots, 2);
    wish.slots = 3;
    CHECK_ERR(llama_geometry_plan(&model, &wish, &plan, &note), ERR_NO_MEMORY);
    CHECK(strstr(note.text, "as one of llama_workers, of a quarter"));
}

/* 4 blocks of 1 head of 64: a token is 256 keys and 256 values. */
static struct gguf_summary model_of_long_heads(void)
{
    struct gguf_summary model = small_model();
    model.head_count = model.head_count_kv = 1;
    return model;
}

TEST(types_of_the_cache_are_counted_as_ggml_packs_them)
{
    struct gguf_summary model = model_of_long_heads();
    struct llama_wish wish = plenty();
    struct llama_geometry plan;
    wish.fast = true;
    static const uint64_t bytes[] = {[ENGINE_KV_F16] = 512,
                                     [ENGINE_KV_F32] = 1024,
                                     [ENGINE_KV_Q8_0] = 8 * 34,
                                     [ENGINE_KV_Q4_0] = 8 * 18};
    for (size_t key = 0; key < ARRAY_COUNT(bytes); key++) {
        for (size_t value = 0; value < ARRAY_COUNT(bytes); value++) {
            wish.kv_key = (enum engine_kv_type)key;
            wish.kv_value = (enum engine_kv_type)value;
            CHECK_OK(llama_geometry_plan(&model, &wish, &plan, NULL));
            CHECK_EQ(plan.token_bytes, bytes[key] + bytes[value]);
        }
    }
}

TEST(packed_values_are_of_profile_fast)
{
    struct gguf_summary model = model_of_long_heads();
    struct llama_wish wish = plenty();
    struct llama_geometry plan;
    struct err_note note = {{0}};
    wish.kv_key = ENGINE_KV_Q8_0;
    wish.kv_value = ENGINE_KV_F32;
    CHECK_OK(llama_geometry_plan(&model, &wish, &plan, NULL));
    wish.kv_value = ENGINE_KV_Q8_0;
    CHECK_ERR(llama_geometry_plan(&model, &wish, &plan, &note), ERR_LIMIT);
    CHECK_STR(note.text, "a cache of q8_0 values needs flash attention, which profile exact is "
                         "without: take f16 or f32, or profile fast");
}

TEST(heads_that_are_no_whole_blocks_cannot_be_packed)
{
    struct gguf_summary model = model_of_long_heads();
    struct llama_wish wish = plenty();
    struct llama_geometry plan;
    struct err_note note = {{0}};
    wish.fast = true;
    wish.kv_key = ENGINE_KV_Q4_0;
    model.key_length = 48;
    CHECK_ERR(llama_geometry_plan(&model, &wish, &plan, &note), ERR_LIMIT);
    CHECK_STR(note.text, "a cache of q4_0 keys packs 32 numbers together, and a key of this model "
                         "has 48: take f16 or f32");
    wish.kv_key = ENGINE_KV_F16;
    wish.kv_value = ENGINE_KV_Q8_0;
    CHECK_OK(llama_geometry_plan(&model, &wish, &plan, NULL));
    model.value_length = 48;
    CHECK_ERR(llama_geometry_plan(&model, &wish, &plan, &note), ERR_LIMIT);
    CHECK(strstr(note.text, "a value of this model has 48"));
}

TEST(what_computing_takes_is_checked_again_once_it_is_known)
{
    struct gguf_summary model = small_model();
    struct llama_wish wish = plenty();
    struct llama_geometry plan;
    struct err_note note = {{0}};
    wish.slots = 1;
    wish.kv_memory_bytes = 1ull << 40;
    CHECK_OK(llama_geometry_plan(&model, &wish, &plan, NULL));
    wish.memory_available_bytes = plan.weights_bytes + plan.kv_bytes + plan.compute_bytes;
    CHECK_OK(llama_geometry_check(&plan, &wish, NULL));
    plan.compute_bytes++;
    CHECK_ERR(llama_geometry_check(&plan, &wish, &note), ERR_NO_MEMORY);
    CHECK(strstr(note.text, "MiB to compute are more than"));
}

TEST(scores_are_turned_into_the_type_of_the_values_unless_it_is_theirs)
{
    struct gguf_summary model = small_model();
    struct llama_wish wish = plenty();
    struct llama_geometry plan;
    wish.kv_value = ENGINE_KV_F32;
    CHECK_OK(llama_geometry_plan(&model, &wish, &plan, NULL));
    CHECK_EQ(plan.scratch_bytes, 0);
    wish.kv_value = ENGINE_KV_F16;
    wish.fast = true;
    CHECK_OK(llama_geometry_plan(&model, &wish, &plan, NULL));
    CHECK_EQ(plan.scratch_bytes, 0);
}

TEST(everything_together_must_fit_the_memory)
{
    struct gguf_summary model = small_model();
    struct llama_wish wish = plenty();
    struct llama_geometry plan;
    struct err_note note = {{0}};
    wish.slots = 4;
    wish.kv_memory_bytes = 1ull << 40; /* as if it did not matter */
    uint64_t needed = model.data_bytes + 4 * SLOT_BYTES + COMPUTE_BYTES;
    wish.memory_available_bytes = needed;
    CHECK_OK(llama_geometry_plan(&model, &wish, &plan, NULL));
    wish.memory_available_bytes = needed - 1;
    CHECK_ERR(llama_geometry_plan(&model, &wish, &plan, &note), ERR_NO_MEMORY);
    CHECK_STR(note.text, "1.0 MiB of weights + 2.0 MiB of cache (4 slots of 1024 tokens) + about "
                         "14.0 MiB to compute are more than the 17.0 MiB of memory available: take "
                         "fewer slots, a shorter context or a smaller model");
    wish.slots = 0; /* what fits is less */
    CHECK_OK(llama_geometry_plan(&model, &wish, &plan, NULL));
    CHECK_EQ(plan.slots, 3);
}

TEST(heads_of_each_block_are_summed)
{
    struct gguf_summary model = small_model();
    struct llama_wish wish = plenty();
    struct llama_geometry plan;
    model.head_count_kv_sum = 3; /* a hybrid: most blocks have none */
    CHECK_OK(llama_geometry_plan(&model, &wish, &plan, NULL));
    CHECK_EQ(plan.token_bytes, 3 * (16 + 16) * 2);
    model.key_length = 32;
    model.value_length = 8;
    CHECK_OK(llama_geometry_plan(&model, &wish, &plan, NULL));
    CHECK_EQ(plan.token_bytes, 3 * (32 + 8) * 2);
}

TEST(headers_that_lie_fit_nowhere)
{
    struct gguf_summary model = small_model();
    struct llama_wish wish = plenty();
    struct llama_geometry plan;
    wish.memory_available_bytes = UINT64_MAX - 1;
    model.block_count = UINT64_MAX;
    CHECK_ERR(llama_geometry_plan(&model, &wish, &plan, NULL), ERR_NO_MEMORY);
    model = small_model();
    model.context_length = UINT64_MAX;
    CHECK_ERR(llama_geometry_plan(&model, &wish, &plan, NULL), ERR_NO_MEMORY);
    model = small_model();
    model.key_length = model.value_length = UINT64_MAX / 2;
    CHECK_ERR(llama_geometry_plan(&model, &wish, &plan, NULL), ERR_NO_MEMORY);
    model = small_model();
    model.head_count = UINT64_MAX;
    CHECK_ERR(llama_geometry_plan(&model, &wish, &plan, NULL), ERR_NO_MEMORY);
    model = small_model();
    model.context_length = 0;
    CHECK_ERR(llama_geometry_plan(&model, &wish, &plan, NULL), ERR_PROTOCOL);
}
