/* Tests of the dummy engine, through the calls that all engines share. */
#include "engine/engine.h"

#include "base/clock.h"
#include "base/mem.h"
#include "testing/test.h"

#include <stdlib.h>

static struct engine *open_dummy(const struct engine_dummy_options *options)
{
    struct engine *engine = NULL;
    struct err_note note = {{0}};
    CHECK_OK(engine_dummy_open(options, NULL, NULL, &engine, &note));
    return engine;
}

static struct engine_dummy_options quick_options(void)
{
    struct engine_dummy_options options = engine_dummy_options_default();
    options.delay_us = 0;
    return options;
}

static token_id likeliest(struct engine *engine, size_t row)
{
    const float *logits = engine_logits(engine, row);
    token_id best = 0;
    for (token_id i = 1; i < (token_id)engine->info.vocab_size; i++)
        if (logits[i] > logits[best])
            best = i;
    return best;
}

static token_id step(struct engine *engine, uint32_t slot, token_id token)
{
    struct engine_row row = {.token = token,
                             .position = engine_seq_tokens(engine, slot),
                             .slot = slot,
                             .wants_logits = true};
    CHECK_OK(engine_decode(engine, &row, 1));
    return likeliest(engine, 0);
}

/* Decodes from `token` on until the end; appends the text, returns the number of tokens. */
static uint32_t run(struct engine *engine, uint32_t slot, token_id token, struct text *out)
{
    uint32_t count = 0;
    char scratch[8];
    for (token = step(engine, slot, token); !engine_is_end(engine, token);
         token = step(engine, slot, token)) {
        text_add(out, engine_piece(engine, token, scratch, sizeof(scratch)));
        count++;
    }
    return count;
}

static void check_script(struct engine_dummy_options options, const char *expected,
                         uint32_t expected_tokens)
{
    struct engine *engine = open_dummy(&options);
    struct text out;
    text_init(&out, 1 << 16);
    CHECK_EQ(run(engine, 0, 1 + 'x', &out), expected_tokens);
    CHECK_SLICES(text_slice(&out), slice_str(expected));
    text_fini(&out);
    engine_close(&engine);
    CHECK(engine == NULL);
}

TEST(default_script_counts_its_twenty_tokens)
{
    check_script(quick_options(),
                 "tok1 tok2 tok3 tok4 tok5 tok6 tok7 tok8 tok9 tok10 tok11 tok12 tok13 tok14 "
                 "tok15 tok16 tok17 tok18 tok19 tok20",
                 20);
}

TEST(script_comes_back_whole_however_it_is_cut)
{
    const char *script =
        "h\xc3\xa9 \xf0\x9f\x8c\x8a \xe6\xb0\xb4"; /* cuts fall inside characters */
    for (uint32_t tokens = 1; tokens <= 20; tokens++) {
        struct engine_dummy_options options = quick_options();
        options.script = slice_str(script);
        options.tokens = tokens;
        uint32_t bytes = (uint32_t)strlen(script);
        check_script(options, script, tokens < bytes ? tokens : bytes);
    }
}

TEST(script_of_no_tokens_ends_at_once)
{
    struct engine_dummy_options options = quick_options();
    options.tokens = 0;
    check_script(options, "", 0);
}

TEST(a_dummy_that_says_the_time_says_when_its_step_was_done)
{
    struct engine_dummy_options options = quick_options();
    options.says_time = true;
    options.tokens = 3;
    struct engine *engine = open_dummy(&options);
    char scratch[1], text[24] = "", *end = text;
    for (token_id token = 1; token != 0;) {
        uint64_t before_us = clock_monotonic_us();
        token = step(engine, 0, token);
        uint64_t after_us = clock_monotonic_us();
        if (token == 0)
            break;
        struct slice piece = engine_piece(engine, token, scratch, sizeof(scratch));
        CHECK(piece.len < sizeof(text));
        memcpy(text, piece.data, piece.len);
        uint64_t said_us = strtoull(text, &end, 10);
        CHECK_EQ(end - text, piece.len - 1);
        CHECK_EQ(*end, ' ');
        CHECK(before_us <= said_us && said_us <= after_us);
    }
    CHECK_EQ(engine_seq_tokens(engine, 0), 4);
    CHECK(*end == ' ');
    engine_close(&engine);
}

TEST(script_may_go_after_open)
{
    char script[] = "abc";
    struct engine_dummy_options options = quick_options();
    options.script = slice_str(script);
    struct engine *engine = open_dummy(&options);
    memset(script, '#', 3);
    char scratch[1];
    token_id first = step(engine, 0, 1);
    CHECK_SLICE(engine_piece(engine, first, scratch, sizeof(scratch)), "a");
    engine_close(&engine);
}

TEST(replayed_prefix_goes_on_where_it_ended)
{
    struct engine_dummy_options options = quick_options();
    struct engine *engine = open_dummy(&options);
    token_id third = 0, token = 1 + 'p';
    for (int i = 0; i < 3; i++)
        third = token = step(engine, 0, token);
    token_id fourth = step(engine, 0, third);

    struct engine_row replay[4] = {{.token = 1 + 'p'},
                                   {.token = third - 2},
                                   {.token = third - 1},
                                   {.token = third, .wants_logits = true}};
    for (uint32_t i = 0; i < 4; i++)
        replay[i].position = i, replay[i].slot = 5;
    CHECK_OK(engine_decode(engine, replay, 4));
    CHECK_EQ(likeliest(engine, 3), fourth);
    engine_close(&engine);
}

TEST(rows_of_a_batch_keep_their_own_logits)
{
    struct engine_dummy_options options = quick_options();
    options.slots = 513; /* more rows than the usual batch */
    options.tokens = 600;
    struct engine *engine = open_dummy(&options);
    CHECK_EQ(engine->info.batch_tokens, 513);
    struct engine_row rows[513];
    for (uint32_t i = 0; i < 513; i++)
        rows[i] =
            (struct engine_row){.token = 257 + (token_id)i, .slot = i, .wants_logits = i % 7 != 3};
    CHECK_OK(engine_decode(engine, rows, 513));
    for (uint32_t i = 0; i < 513; i++)
        if (rows[i].wants_logits)
            CHECK_EQ(likeliest(engine, i), 258 + i);
    engine_close(&engine);
}

TEST(bytes_are_tokens_and_a_short_array_learns_the_count)
{
    struct engine_dummy_options options = quick_options();
    struct engine *engine = open_dummy(&options);
    token_id tokens[4] = {-1, -1, -1, -1};
    size_t count = 0;
    CHECK_ERR(engine_tokenize(engine, SLICE("a\0\xff"), true, true, tokens, 2, &count), ERR_LIMIT);
    CHECK_EQ(count, 3);
    CHECK_EQ(tokens[0], -1);
    CHECK_OK(engine_tokenize(engine, SLICE("a\0\xff"), true, true, tokens, 3, &count));
    CHECK_EQ(count, 3);
    CHECK_EQ(tokens[3], -1);
    char scratch[1], back[3];
    for (size_t i = 0; i < 3; i++)
        back[i] = engine_piece(engine, tokens[i], scratch, sizeof(scratch)).data[0];
    CHECK_SLICE(slice_of(back, 3), "a\0\xff");
    CHECK_EQ(engine_piece(engine, 0, scratch, sizeof(scratch)).len, 0);
    CHECK_OK(engine_tokenize(engine, (struct slice){0}, true, true, NULL, 0, &count));
    CHECK_EQ(count, 0);
    engine_close(&engine);
}

TEST(chat_renders_messages_and_refuses_to_outgrow_its_text)
{
    struct engine_dummy_options options = quick_options();
    struct engine *engine = open_dummy(&options);
    struct engine_chat_message messages[] = {{SLICE("system"), SLICE("be brief")},
                                             {SLICE("user"), SLICE("hi")}};
    const char *expected = "system: be brief\nuser: hi\nassistant: ";
    for (size_t room = strlen(expected) - 1; room <= strlen(expected) + 1; room++) {
        struct text out;
        struct err_note note = {{0}};
        text_init(&out, room);
        enum err err = engine_chat(engine, messages, 2, &out, &note);
        if (room < strlen(expected)) {
            CHECK_ERR(err, ERR_LIMIT);
            CHECK(note.text[0]);
        } else {
            CHECK_OK(err);
            CHECK_SLICES(text_slice(&out), slice_str(expected));
        }
        text_fini(&out);
    }
    engine_close(&engine);
}

TEST(full_slot_takes_nothing)
{
    struct engine_dummy_options options = quick_options();
    options.context_tokens = 3;
    struct engine *engine = open_dummy(&options);
    struct engine_row rows[4];
    for (uint32_t i = 0; i < 4; i++)
        rows[i] = (struct engine_row){.token = 1, .position = i, .wants_logits = i == 3};
    CHECK_ERR(engine_decode(engine, rows, 4), ERR_FULL);
    CHECK_EQ(engine_seq_tokens(engine, 0), 0);
    CHECK_OK(engine_decode(engine, rows, 3));
    CHECK_ERR(engine_decode(engine, rows + 3, 1), ERR_FULL);
    CHECK_EQ(engine_seq_tokens(engine, 0), 3);
    CHECK_OK(engine_seq_cut(engine, 0, 2));
    CHECK_OK(engine_decode(engine, rows + 2, 1));
    engine_close(&engine);
}

TEST(saved_slot_goes_on_in_another_engine)
{
    struct engine_dummy_options options = quick_options();
    struct engine *first = open_dummy(&options);
    token_id token = step(first, 2, step(first, 2, 1));
    void *blob = NULL;
    size_t bytes = 0;
    CHECK_OK(engine_seq_save(first, 2, &blob, &bytes));
    token_id expected = step(first, 2, token);

    struct engine *second = open_dummy(&options);
    CHECK_OK(engine_seq_restore(second, 7, blob, bytes));
    CHECK_EQ(engine_seq_tokens(second, 7), 2);
    CHECK_EQ(step(second, 7, token), expected);
    mem_free(blob);
    engine_close(&first);
    engine_close(&second);
}

TEST(copied_slot_goes_on_like_the_first_and_alone)
{
    struct engine_dummy_options options = quick_options();
    struct engine *engine = open_dummy(&options);
    CHECK(engine->info.can_cut);
    token_id token = step(engine, 2, step(engine, 2, 1));
    engine_seq_copy(engine, 2, 5);
    CHECK_EQ(engine_seq_tokens(engine, 5), 2);
    token_id expected = step(engine, 2, token);
    CHECK_EQ(step(engine, 5, token), expected);
    CHECK_OK(engine_seq_cut(engine, 5, 1));
    CHECK_EQ(engine_seq_tokens(engine, 5), 1);
    CHECK_EQ(engine_seq_tokens(engine, 2), 3);
    engine_close(&engine);
}

TEST(restore_refuses_what_is_not_a_saved_slot)
{
    struct engine_dummy_options options = quick_options();
    struct engine *big = open_dummy(&options);
    options.context_tokens = 1;
    struct engine *small = open_dummy(&options);
    step(big, 0, 1), step(big, 0, 1);
    unsigned char *blob = NULL;
    size_t bytes = 0;
    CHECK_OK(engine_seq_save(big, 0, (void **)&blob, &bytes));
    CHECK_ERR(engine_seq_restore(small, 0, blob, bytes), ERR_FULL);
    for (size_t len = 0; len < bytes; len++)
        CHECK_ERR(engine_seq_restore(small, 0, blob, len), ERR_PROTOCOL);
    blob[0] ^= 1;
    CHECK_ERR(engine_seq_restore(small, 0, blob, bytes), ERR_PROTOCOL);
    CHECK_EQ(engine_seq_tokens(small, 0), 0);
    mem_free(blob);
    mem_test_fail_nth(1);
    CHECK_ERR(engine_seq_save(big, 0, (void **)&blob, &bytes), ERR_NO_MEMORY);
    mem_test_fail_nth(0);
    engine_close(&big);
    engine_close(&small);
}

TEST(step_takes_its_delay_only_behind_a_sampled_piece)
{
    struct engine_dummy_options options = quick_options();
    options.delay_us = 20000;
    struct engine *engine = open_dummy(&options);
    /* That the prompt does not wait is seen in the abort test below, whose delay is an hour. */
    token_id token = step(engine, 0, 1);
    uint64_t start_us = clock_monotonic_us();
    step(engine, 0, token);
    CHECK(clock_monotonic_us() - start_us >= 20000);
    engine_close(&engine);
}

TEST(prefill_takes_its_time_per_token)
{
    struct engine_dummy_options options = quick_options();
    options.prefill_us_per_token = 2000;
    struct engine *engine = open_dummy(&options);
    struct engine_row rows[5];
    for (uint32_t i = 0; i < 5; i++)
        rows[i] = (struct engine_row){.token = 1, .position = i, .wants_logits = i == 4};
    uint64_t start_us = clock_monotonic_us();
    CHECK_OK(engine_decode(engine, rows, 5));
    CHECK(clock_monotonic_us() - start_us >= 10000);
    engine_close(&engine);
}

struct abort_after {
    uint32_t asked, limit;
};

static bool abort_after(void *ctx)
{
    struct abort_after *after = ctx;
    return ++after->asked > after->limit;
}

TEST(abort_in_prefill_keeps_the_rows_before_it)
{
    struct engine_dummy_options options = quick_options();
    options.prefill_us_per_token = 1; /* asked at least once a row */
    struct engine *engine = open_dummy(&options);
    struct engine_row rows[100];
    for (uint32_t i = 0; i < 100; i++)
        rows[i] = (struct engine_row){.token = 1, .position = i, .wants_logits = i == 99};
    struct abort_after after = {.limit = 20};
    engine->should_abort = abort_after;
    engine->abort_ctx = &after;
    CHECK_ERR(engine_decode(engine, rows, 100), ERR_CANCELLED);
    uint32_t held = engine_seq_tokens(engine, 0);
    CHECK(held > 0 && held < 20);

    after = (struct abort_after){.limit = UINT32_MAX};
    CHECK_OK(engine_decode(engine, rows + held, 100 - held));
    CHECK_EQ(likeliest(engine, 99 - held), 257);
    engine_close(&engine);
}

TEST(abort_in_a_long_step_is_seen_at_the_next_poll)
{
    struct engine_dummy_options options = quick_options();
    options.delay_us = UINT32_MAX; /* more than an hour: only the abort can end it */
    struct engine *engine = open_dummy(&options);
    token_id token = step(engine, 0, 1);
    struct abort_after after = {.limit = 5};
    engine->should_abort = abort_after;
    engine->abort_ctx = &after;
    struct engine_row row = {.token = token, .position = 1, .wants_logits = true};
    CHECK_ERR(engine_decode(engine, &row, 1), ERR_CANCELLED);
    CHECK_EQ(after.asked, 6);
    CHECK_EQ(engine_seq_tokens(engine, 0), 1);
    engine_close(&engine);
}

TEST(failure_comes_where_the_script_says_and_takes_nothing)
{
    struct engine_dummy_options options = quick_options();
    options.fail_at = 3;
    struct engine *engine = open_dummy(&options);
    token_id token = step(engine, 0, 1);
    token = step(engine, 0, token);
    struct engine_row row = {.token = token, .position = 2, .wants_logits = true};
    CHECK_ERR(engine_decode(engine, &row, 1), ERR_SYSTEM);
    CHECK_EQ(engine_seq_tokens(engine, 0), 2);
    engine_close(&engine);
}

TEST(failure_at_the_first_piece_lets_the_prompt_in)
{
    struct engine_dummy_options options = quick_options();
    options.fail_at = 1;
    struct engine *engine = open_dummy(&options);
    struct engine_row row = {.token = 1};
    CHECK_OK(engine_decode(engine, &row, 1)); /* wants no logits: a prefill chunk */
    row = (struct engine_row){.token = 1, .position = 1, .wants_logits = true};
    CHECK_ERR(engine_decode(engine, &row, 1), ERR_SYSTEM);
    engine_close(&engine);
}

TEST(stall_lasts_until_the_abort)
{
    struct engine_dummy_options options = quick_options();
    options.stall_at = 2;
    struct engine *engine = open_dummy(&options);
    struct abort_after after = {.limit = UINT32_MAX};
    engine->should_abort = abort_after;
    engine->abort_ctx = &after;
    token_id token = step(engine, 0, 1);
    after = (struct abort_after){.limit = 10};
    struct engine_row row = {.token = token, .position = 1, .wants_logits = true};
    CHECK_ERR(engine_decode(engine, &row, 1), ERR_CANCELLED);
    CHECK_EQ(after.asked, 11);
    engine_close(&engine);
}

struct progress_log {
    float last;
    uint32_t calls;
    float stop_at;
    bool rises;
};

static bool on_progress(void *ctx, float fraction)
{
    struct progress_log *log = ctx;
    log->rises = (log->calls++ == 0 || fraction >= log->last) && fraction >= 0 && fraction <= 1;
    log->last = fraction;
    return fraction < log->stop_at;
}

TEST(load_takes_its_time_with_progress)
{
    struct engine_dummy_options options = quick_options();
    options.load_ms = 20;
    struct progress_log log = {.stop_at = 2};
    struct engine *engine = NULL;
    uint64_t start_us = clock_monotonic_us();
    CHECK_OK(engine_dummy_open(&options, on_progress, &log, &engine, NULL));
    CHECK(clock_monotonic_us() - start_us >= 20000);
    CHECK(log.rises);
    CHECK(log.calls >= 2);
    CHECK_NEAR(log.last, 1.0, 0);
    engine_close(&engine);
}

TEST(load_can_be_stopped_in_the_middle)
{
    struct engine_dummy_options options = quick_options();
    options.load_ms = 3600 * 1000;
    struct progress_log log = {.stop_at = 1e-7f};
    struct engine *engine = NULL;
    struct err_note note = {{0}};
    CHECK_ERR(engine_dummy_open(&options, on_progress, &log, &engine, &note), ERR_CANCELLED);
    CHECK(engine == NULL);
    CHECK(note.text[0]);
}

static enum err try_open(uint32_t slots, uint32_t context_tokens, uint32_t tokens)
{
    struct engine_dummy_options options = quick_options();
    options.slots = slots;
    options.context_tokens = context_tokens;
    options.tokens = tokens;
    struct engine *engine = NULL;
    struct err_note note = {{0}};
    enum err err = engine_dummy_open(&options, NULL, NULL, &engine, &note);
    CHECK((err == ERR_OK) == (engine != NULL));
    CHECK((err == ERR_OK) == (note.text[0] == '\0'));
    engine_close(&engine);
    return err;
}

TEST(limits_of_the_options_hold)
{
    CHECK_ERR(try_open(0, 8, 8), ERR_LIMIT);
    CHECK_OK(try_open(1, 8, 8));
    CHECK_OK(try_open(16384, 8, 8));
    CHECK_ERR(try_open(16385, 8, 8), ERR_LIMIT);
    CHECK_ERR(try_open(8, 0, 8), ERR_LIMIT);
    CHECK_OK(try_open(8, INT32_MAX, 8));
    CHECK_ERR(try_open(8, INT32_MAX + 1u, 8), ERR_LIMIT);
    CHECK_OK(try_open(8, 8, 1 << 20));
    CHECK_ERR(try_open(8, 8, (1 << 20) + 1), ERR_LIMIT);
}

TEST(a_text_is_counted_and_a_pair_compared)
{
    struct engine_dummy_options options = quick_options();
    struct engine *engine = open_dummy(&options);
    float numbers[8], score;
    token_id tokens[16];
    size_t count = 0;
    CHECK_EQ(engine->info.embed_numbers, 8);
    CHECK_EQ(engine->info.pooling, ENGINE_POOL_MEAN);
    CHECK_OK(engine_tokenize(engine, SLICE("aah"), false, false, tokens, 16, &count));
    CHECK_OK(engine_embed(engine, tokens, count, ENGINE_POOL_MEAN, NULL, NULL, numbers, NULL));
    CHECK(numbers[('a' + 1) % 8] == 2 && numbers[('h' + 1) % 8] == 1);
    CHECK_OK(engine_embed(engine, tokens, count, ENGINE_POOL_LAST, NULL, NULL, numbers, NULL));
    CHECK(numbers[('a' + 1) % 8] == 0 && numbers[('h' + 1) % 8] == 1);
    engine_close(&engine);

    options.ranks = true;
    engine = open_dummy(&options);
    CHECK_OK(engine_pair(engine, SLICE("abc"), SLICE("xbcd"), tokens, 16, &count));
    CHECK_EQ(count, 8);
    CHECK_OK(engine_embed(engine, tokens, count, ENGINE_POOL_RANK, NULL, NULL, &score, NULL));
    CHECK(score == 2);
    CHECK_ERR(engine_pair(engine, SLICE("abc"), SLICE("xbcd"), tokens, 7, &count), ERR_LIMIT);
    CHECK_EQ(count, 8);
    engine_close(&engine);
}
