/* Tests of text and tokens of the llama engine, on the shipped model. */
#include "testing/test.h"
#include "engine/engine_llama_test_open.h"

#include "base/mem.h"
#include "base/utf8.h"

#include <pthread.h>

static const char story[] = "<|im_start|>user\nTell me a story about a fox.<|im_end|>\n"
                            "<|im_start|>assistant\n";

TEST(pieces_of_the_tokens_make_the_text_again)
{
    struct engine *engine = open_default();
    const char *texts[] = {"", "a", " hello  world\n\n", "h\xc3\xa9 \xf0\x9f\x8c\x8a \xe6\xb0\xb4",
                           "12345 {\"a\": [1, 2]}"};
    for (size_t i = 0; i < ARRAY_COUNT(texts); i++) {
        token_id tokens[PROMPT_MAX];
        struct text back;
        text_init(&back, 1024);
        size_t count = tokens_of(engine, texts[i], tokens);
        for (size_t k = 0; k < count; k++)
            text_add(&back, engine_piece(engine, tokens[k], NULL, 0));
        CHECK_SLICES(text_slice(&back), slice_str(texts[i]));
        text_fini(&back);
    }
    engine_close(&engine);
}

TEST(control_tokens_are_parsed_only_when_asked_and_have_no_text)
{
    struct engine *engine = open_default();
    token_id tokens[16];
    size_t count = 0;
    CHECK_OK(engine_tokenize(engine, SLICE("<|im_end|>"), false, true, tokens, 16, &count));
    CHECK_EQ(count, 1);
    CHECK(engine_is_end(engine, tokens[0]));
    CHECK_EQ(engine_piece(engine, tokens[0], NULL, 0).len, 0);
    CHECK_OK(engine_tokenize(engine, SLICE("<|im_end|>"), false, false, tokens, 16, &count));
    CHECK(count > 1);
    engine_close(&engine);
}

TEST(short_array_learns_how_many_tokens_there_are)
{
    struct engine *engine = open_default();
    token_id tokens[PROMPT_MAX], some[8];
    size_t all = tokens_of(engine, story, tokens), count = 0;
    CHECK_ERR(engine_tokenize(engine, slice_str(story), true, true, NULL, 0, &count), ERR_LIMIT);
    CHECK_EQ(count, all);
    CHECK_ERR(engine_tokenize(engine, slice_str(story), true, true, some, 8, &count), ERR_LIMIT);
    CHECK_EQ(count, all);
    CHECK_OK(engine_tokenize(engine, slice_str(story), true, true, tokens, all, &count));
    engine_close(&engine);
}

/* libllama throws on bytes that are no UTF-8, which would end the process. */
TEST(any_bytes_can_be_tokenized)
{
    struct engine *engine = open_default();
    uint64_t seed = 2;
    for (uint32_t round = 0; round < 2000; round++) {
        struct text bytes;
        token_id tokens[1024];
        size_t count = 0, len = test_random(&seed) % 64;
        text_init(&bytes, 1024);
        for (size_t i = 0; i < len; i++)
            if (round % 2)
                text_add_byte(&bytes, (char)test_random(&seed));
            else
                utf8_add_codepoint(&bytes, test_random(&seed) % 0x110000);
        CHECK_OK(
            engine_tokenize(engine, text_slice(&bytes), true, round % 4 < 2, tokens, 1024, &count));
        text_fini(&bytes);
    }
    engine_close(&engine);
}

TEST(wrong_bytes_become_replacement_characters)
{
    struct engine *engine = open_default();
    token_id wrong[16], right[16];
    size_t wrong_count = 0, right_count = 0;
    CHECK_OK(engine_tokenize(engine, SLICE("a\xffz"), false, false, wrong, 16, &wrong_count));
    CHECK_OK(
        engine_tokenize(engine, SLICE("a\xef\xbf\xbdz"), false, false, right, 16, &right_count));
    CHECK_EQ(wrong_count, right_count);
    CHECK_EQ(memcmp(wrong, right, right_count * sizeof(*right)), 0);
    engine_close(&engine);
}

struct tokenizing {
    struct engine *engine;
    size_t expected, wrong;
};

static void *tokenize_often(void *ctx)
{
    struct tokenizing *work = ctx;
    struct engine_chat_message message = {SLICE("user"), SLICE("Tell me a story about a fox.")};
    for (int i = 0; i < 200; i++) {
        token_id tokens[PROMPT_MAX];
        size_t count = 0;
        struct text prompt;
        text_init(&prompt, 4096);
        if (engine_chat(work->engine, &message, 1, &prompt, NULL) != ERR_OK ||
            engine_tokenize(work->engine, text_slice(&prompt), true, true, tokens, PROMPT_MAX,
                            &count) != ERR_OK ||
            count != work->expected)
            work->wrong++;
        text_fini(&prompt);
    }
    return NULL;
}

TEST(threads_may_tokenize_while_the_engine_decodes)
{
    struct engine *engine = open_default();
    token_id tokens[PROMPT_MAX];
    size_t count = tokens_of(engine, story, tokens);
    struct tokenizing work[3];
    pthread_t threads[3];
    for (size_t i = 0; i < 3; i++) {
        work[i] = (struct tokenizing){.engine = engine, .expected = count};
        CHECK_EQ(pthread_create(&threads[i], NULL, tokenize_often, &work[i]), 0);
    }
    for (uint32_t i = 0; i < 100; i++) {
        struct engine_row row = {tokens[i % count], i, 0, true};
        CHECK_OK(engine_decode(engine, &row, 1));
    }
    for (size_t i = 0; i < 3; i++) {
        CHECK_EQ(pthread_join(threads[i], NULL), 0);
        CHECK_EQ(work[i].wrong, 0);
    }
    engine_close(&engine);
}

TEST(chat_refuses_what_it_cannot_render)
{
    struct engine *engine = open_default();
    struct err_note note = {{0}};
    struct text prompt;
    struct engine_chat_message nul = {SLICE("user"), SLICE("a\0b")},
                               plain = {SLICE("user"), SLICE("hi")};
    text_init(&prompt, 4096);
    CHECK_ERR(engine_chat(engine, &nul, 1, &prompt, &note), ERR_PROTOCOL);
    CHECK(strstr(note.text, "U+0000"));
    mem_test_fail_nth(1);
    CHECK_ERR(engine_chat(engine, &plain, 1, &prompt, &note), ERR_LIMIT);
    mem_test_fail_nth(0);
    CHECK_OK(engine_chat(engine, &plain, 1, &prompt, &note));
    size_t whole = prompt.len;
    text_fini(&prompt);
    for (size_t room = 0; room < whole; room++) {
        text_init(&prompt, room);
        CHECK_ERR(engine_chat(engine, &plain, 1, &prompt, &note), ERR_LIMIT);
        text_fini(&prompt);
    }
    engine_close(&engine);
}
