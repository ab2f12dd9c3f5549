/* node_state_test - a node's description comes back; others are refused. */
#include "base/mem.h"
#include "testing/test.h"
#include "wire/node_state.h"

static struct node_state sample(void)
{
    return (struct node_state){.node = SLICE("llama.7f3a"),
                               .model = SLICE("llama"),
                               .engine = SLICE("dummy"),
                               .detail = SLICE("nano \"v1\" 3 MB"),
                               .control = SLICE("control.7f3a"),
                               .phase = NODE_READY,
                               .load_fraction = 0.25f,
                               .layers = 32,
                               .reads_only = true,
                               .context_tokens = 4096,
                               .slots = 8,
                               .slots_busy = 3,
                               .queued = 2,
                               .parked = 1,
                               .created_s = 1700000000,
                               .size_bytes = 5000000000,
                               .tokens_total = UINT64_MAX,
                               .last_token_ms = 1700000000123,
                               .numerics = {.profile = SLICE("exact"),
                                            .determinism = NODE_COMPATIBLE,
                                            .width_max = 3,
                                            .fingerprint = SLICE("0123456789abcdef")}};
}

TEST(a_state_comes_back)
{
    struct node_state state = sample(), read = {0};
    struct arena *arena = arena_new(64 * 1024);
    struct text out;
    text_init(&out, 64 * 1024);
    node_state_encode(&state, &out);
    CHECK_OK(text_status(&out));
    CHECK_OK(node_state_decode(text_slice(&out), arena, &read));
    CHECK_SLICES(read.node, state.node);
    CHECK_SLICES(read.model, state.model);
    CHECK_SLICES(read.engine, state.engine);
    CHECK_SLICES(read.detail, state.detail);
    CHECK_SLICES(read.control, state.control);
    CHECK(read.phase == NODE_READY && read.load_fraction == 0.25f);
    CHECK(read.layers == 32 && read.reads_only);
    CHECK(read.context_tokens == 4096 && read.slots == 8 && read.slots_busy == 3);
    CHECK(read.queued == 2 && read.parked == 1 && read.created_s == 1700000000);
    CHECK(read.size_bytes == 5000000000 && read.last_token_ms == 1700000000123);
    CHECK(read.tokens_total == (uint64_t)1 << 53); /* clamped to what JSON holds */
    CHECK_SLICES(read.numerics.profile, state.numerics.profile);
    CHECK_SLICES(read.numerics.fingerprint, state.numerics.fingerprint);
    CHECK(read.numerics.determinism == NODE_COMPATIBLE && read.numerics.width_max == 3);
    text_fini(&out);
    arena_free(arena);
}

TEST(a_long_detail_is_cut_by_the_encoder_at_a_whole_character)
{
    struct text detail, out;
    struct arena *arena = arena_new(64 * 1024);
    struct node_state state = sample(), read;
    text_init(&detail, 64 * 1024);
    text_init(&out, 64 * 1024);
    text_add_byte(&detail, 'x'); /* so that the cut is inside a character */
    for (int i = 0; i < 3000; i++)
        text_add_str(&detail, "\xc3\xa9");
    state.detail = text_slice(&detail);
    node_state_encode(&state, &out);
    CHECK_OK(node_state_decode(text_slice(&out), arena, &read));
    CHECK(read.detail.len > 1000 && read.detail.len <= 4096);
    CHECK(slice_starts_with(state.detail, read.detail));
    text_fini(&detail);
    text_fini(&out);
    arena_free(arena);
}

TEST(adapters_come_back_in_their_order)
{
    static const struct node_adapter adapters[] = {{SLICE("sql"), 0}, {SLICE("chat"), -0.5f}};
    struct node_state state = sample(), read;
    struct arena *arena = arena_new(64 * 1024);
    struct text out;
    text_init(&out, 64 * 1024);
    state.adapters = adapters;
    state.adapter_count = 2;
    node_state_encode(&state, &out);
    CHECK_OK(node_state_decode(text_slice(&out), arena, &read));
    CHECK_EQ(read.adapter_count, 2);
    for (size_t i = 0; i < 2; i++) {
        CHECK_SLICES(read.adapters[i].name, adapters[i].name);
        CHECK(read.adapters[i].scale == adapters[i].scale);
    }
    text_clear(&out);
    state.adapter_count = 0;
    node_state_encode(&state, &out);
    CHECK(slice_find(text_slice(&out), SLICE("adapters")) == SLICE_NPOS);
    CHECK_OK(node_state_decode(text_slice(&out), arena, &read));
    CHECK_EQ(read.adapter_count, 0);
    text_fini(&out);
    arena_free(arena);
}

TEST(a_state_that_says_nothing_of_numerics_is_one)
{
    struct node_state state = sample(), read;
    struct arena *arena = arena_new(64 * 1024);
    struct text out;
    text_init(&out, 64 * 1024);
    state.numerics = (struct node_numerics){0};
    node_state_encode(&state, &out);
    CHECK(slice_find(text_slice(&out), SLICE("numerics")) == SLICE_NPOS);
    CHECK_OK(node_state_decode(text_slice(&out), arena, &read));
    CHECK_EQ(read.numerics.profile.len, 0);
    CHECK_EQ(read.numerics.determinism, NODE_DETERMINISM_UNKNOWN);
    text_fini(&out);
    arena_free(arena);
}

TEST(a_state_of_an_older_worker_is_one)
{
    struct node_state read;
    struct arena *arena = arena_new(64 * 1024);
    CHECK_OK(node_state_decode(
        SLICE("{\"node\":\"a\",\"model\":\"m\",\"engine\":\"dummy\",\"detail\":\"\","
              "\"control\":\"c\",\"phase\":\"loading\",\"load_fraction\":0.5,"
              "\"context_tokens\":0,\"slots\":0,\"slots_busy\":0,\"queued\":0,\"parked\":0,"
              "\"created_s\":0,\"size_bytes\":0,\"tokens_total\":0,\"last_token_ms\":0}"),
        arena, &read));
    CHECK(read.layers == 0 && !read.reads_only);
    arena_free(arena);
}

static enum err decode_with(const char *numerics)
{
    struct node_state state = sample(), read;
    struct arena *arena = arena_new(64 * 1024);
    struct text out;
    text_init(&out, 64 * 1024);
    state.numerics = (struct node_numerics){0};
    node_state_encode(&state, &out);
    text_shrink(&out, out.len - 1); /* the last brace */
    text_add_f(&out, ",\"numerics\":%s}", numerics);
    enum err err = node_state_decode(text_slice(&out), arena, &read);
    arena_free(arena);
    text_fini(&out);
    return err;
}

TEST(numerics_that_are_not_as_they_should_be_are_refused)
{
    CHECK_OK(decode_with("{\"profile\":\"exact\",\"determinism\":\"exact\",\"width_max\":8,"
                         "\"fingerprint\":\"\",\"later\":1}"));
    CHECK_ERR(decode_with("7"), ERR_PROTOCOL);
    CHECK_ERR(decode_with("{}"), ERR_PROTOCOL);
    CHECK_ERR(decode_with("{\"profile\":\"exact\",\"determinism\":\"perhaps\","
                          "\"width_max\":8,\"fingerprint\":\"\"}"),
              ERR_PROTOCOL);
    CHECK_ERR(decode_with("{\"profile\":\"exact\",\"determinism\":\"exact\",\"width_max\":8,"
                          "\"fingerprint\":\"0123456789abcdef0123456789abcdef0\"}"),
              ERR_LIMIT);
}

static enum err decode_cut(struct slice bytes, size_t len)
{
    struct arena *arena = arena_new(64 * 1024);
    struct node_state read;
    enum err err = node_state_decode(slice_first(bytes, len), arena, &read);
    arena_free(arena);
    return err;
}

TEST(a_state_cut_anywhere_is_refused)
{
    struct node_state state = sample();
    struct text out;
    text_init(&out, 64 * 1024);
    node_state_encode(&state, &out);
    for (size_t cut = 0; cut < out.len; cut++)
        CHECK_ERR(decode_cut(text_slice(&out), cut), ERR_PROTOCOL);
    text_fini(&out);
}

TEST(an_arena_without_room_is_a_limit)
{
    struct node_state state = sample(), read;
    struct arena *arena = arena_new(16);
    struct text out;
    text_init(&out, 64 * 1024);
    node_state_encode(&state, &out);
    CHECK_ERR(node_state_decode(text_slice(&out), arena, &read), ERR_LIMIT);
    text_fini(&out);
    arena_free(arena);
}

TEST(phases_and_determinism_have_names)
{
    CHECK_STR(node_phase_name(NODE_LOADING), "loading");
    CHECK_STR(node_phase_name(NODE_DRAINING), "draining");
    CHECK_STR(node_phase_name(NODE_PHASE_COUNT), "?");
    CHECK_STR(node_determinism_name(NODE_EXACT), "exact");
    CHECK_STR(node_determinism_name(NODE_DETERMINISM_COUNT), "?");
}
