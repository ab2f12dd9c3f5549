#include "testing/test.h"
#include "base/mem.h"
#include "worker/prep_mark.h"

static struct engine *open_engine(void)
{
    struct engine_dummy_options options = engine_dummy_options_default();
    struct engine *engine = NULL;
    options.context_tokens = 1000;
    CHECK_OK(engine_dummy_open(&options, NULL, NULL, &engine, NULL));
    return engine;
}

struct ways { /* of an engine that is not the dummy's */
    struct engine_ops ops;
    struct engine *engine;
};

static struct ways ways_of(void)
{
    struct ways ways = {.engine = open_engine()};
    ways.ops = *ways.engine->ops;
    return ways;
}

/* The mark of a chat, or of the same text as a prompt of the engine's. */
static uint32_t mark_of(struct engine *engine, const struct chat_message *messages, size_t count,
                        uint32_t least, size_t *out_tokens)
{
    struct request request = {
        .prompt_kind = PROMPT_CHAT, .messages = messages, .message_count = count};
    struct engine_chat_message list[8];
    token_id tokens[1000];
    struct text text;
    struct err_note note;
    text_init(&text, 10000);
    for (size_t i = 0; i < count; i++)
        list[i] = (struct engine_chat_message){messages[i].role, messages[i].content};
    CHECK_OK(engine_chat(engine, list, count, &text, &note));
    CHECK_OK(engine_tokenize(engine, text_slice(&text), true, true, tokens, ARRAY_COUNT(tokens),
                             out_tokens));
    uint32_t mark = prep_mark(engine, &request, text_slice(&text), tokens, *out_tokens, least);
    text_fini(&text);
    return mark;
}

static uint32_t mark(struct engine *engine, const struct chat_message *messages, size_t count)
{
    size_t tokens;
    return mark_of(engine, messages, count, 4, &tokens);
}

#define SYSTEM                                                                                     \
    {                                                                                              \
        SLICE("system"), SLICE("be brief"),                                                        \
        {                                                                                          \
            0                                                                                      \
        }                                                                                          \
    }
#define USER(content)                                                                              \
    {                                                                                              \
        SLICE("user"), SLICE(content),                                                             \
        {                                                                                          \
            0                                                                                      \
        }                                                                                          \
    }

/* The dummy's template: "system: be brief\nuser: hi\nassistant: ", a token a byte. */
TEST(it_ends_where_the_users_own_words_begin)
{
    struct engine *engine = open_engine();
    const uint32_t end = sizeof("system: be brief\nuser: ") - 1;
    const struct chat_message chat[] = {SYSTEM, USER("hi"), USER("there")};
    CHECK_EQ(mark(engine, chat, 2), end);
    CHECK_EQ(mark(engine, chat, 3), end);
    const struct chat_message words[][2] = {
        {SYSTEM, USER("a")}, {SYSTEM, USER("b")}, {SYSTEM, USER("")}};
    for (size_t i = 0; i < ARRAY_COUNT(words); i++)
        CHECK_EQ(mark(engine, words[i], 2), end);
    const struct chat_message developer[] = {{SLICE("developer"), SLICE("x"), {0}}, USER("hi")};
    CHECK_EQ(mark(engine, developer, 2), sizeof("developer: x\nuser: ") - 1);
    const struct chat_message two[] = {SYSTEM, SYSTEM, USER("hi")};
    CHECK_EQ(mark(engine, two, 3), sizeof("system: be brief\nsystem: be brief\nuser: ") - 1);
    engine_close(&engine);
}

TEST(without_a_system_prompt_or_anything_behind_it_there_is_none)
{
    struct engine *engine = open_engine();
    const struct chat_message user[] = {USER("hi"), SYSTEM}, system[] = {SYSTEM};
    CHECK_EQ(mark(engine, user, 1), 0);
    CHECK_EQ(mark(engine, user, 2), 0); /* it does not begin with it */
    CHECK_EQ(mark(engine, system, 1), 0);
    engine_close(&engine);
}

TEST(one_of_too_few_tokens_is_none)
{
    struct engine *engine = open_engine();
    const struct chat_message chat[] = {SYSTEM, USER("hi")};
    const uint32_t end = sizeof("system: be brief\nuser: ") - 1;
    size_t tokens;
    CHECK_EQ(mark_of(engine, chat, 2, end, &tokens), end);
    CHECK_EQ(mark_of(engine, chat, 2, end + 1, &tokens), 0);
    CHECK_EQ(mark_of(engine, chat, 2, 0, &tokens), 0); /* nobody wants to know */
    engine_close(&engine);
}

/* Without a place for system prompts, and white space around words goes. */
static enum err chat_of_one_turn(struct engine *engine, const struct engine_chat_message *messages,
                                 size_t count, struct text *out_prompt, struct err_note *out_note)
{
    (void)engine, (void)out_note;
    text_add_str(out_prompt, "[");
    for (size_t i = 0; i < count; i++) {
        struct slice words = messages[i].content;
        while (words.len > 0 && words.data[0] == ' ')
            words = slice_after(words, 1);
        text_add(out_prompt, words);
        text_add_str(out_prompt, i + 1 < count ? "|" : "]");
    }
    return text_status(out_prompt);
}

TEST(a_template_may_put_it_into_the_users_message)
{
    struct ways ways = ways_of();
    ways.ops.chat = chat_of_one_turn;
    ways.engine->ops = &ways.ops;
    const struct chat_message chat[] = {SYSTEM, USER("  another")};
    CHECK_EQ(mark(ways.engine, chat, 2), sizeof("[be brief|") - 1);
    engine_close(&ways.engine);
}

/* A token for two bytes, and for what is left. */
static enum err tokenize_pairs(struct engine *engine, struct slice text, bool add_special,
                               bool parse_special, token_id *out_tokens, size_t max_tokens,
                               size_t *out_count)
{
    (void)engine, (void)add_special, (void)parse_special;
    *out_count = (text.len + 1) / 2;
    if (*out_count > max_tokens)
        return ERR_LIMIT;
    for (size_t i = 0; i < *out_count; i++) {
        char second = 2 * i + 1 < text.len ? text.data[2 * i + 1] : 0;
        out_tokens[i] = text.data[2 * i] << 8 | second;
    }
    return ERR_OK;
}

TEST(of_a_token_that_goes_beyond_the_end_nothing_counts)
{
    struct ways ways = ways_of();
    ways.ops.chat = chat_of_one_turn;
    ways.ops.tokenize = tokenize_pairs;
    ways.engine->ops = &ways.ops;
    const struct chat_message even[] = {SYSTEM, USER("hi")}; /* "[be brief|" are ten bytes */
    const struct chat_message odd[] = {{SLICE("system"), SLICE("be short!"), {0}}, USER("hi")};
    CHECK_EQ(mark(ways.engine, even, 2), 5);
    CHECK_EQ(mark(ways.engine, odd, 2), 5); /* "[be short!|h": of eleven bytes the first ten */
    engine_close(&ways.engine);
}

TEST(without_memory_there_is_none)
{
    struct engine *engine = open_engine();
    const struct chat_message chat[] = {SYSTEM, USER("hi")};
    struct request request = {
        .prompt_kind = PROMPT_CHAT, .messages = chat, .message_count = ARRAY_COUNT(chat)};
    struct slice text = SLICE("system: be brief\nuser: hi\nassistant: ");
    token_id tokens[100];
    size_t count;
    CHECK_OK(engine_tokenize(engine, text, true, true, tokens, ARRAY_COUNT(tokens), &count));
    uint64_t nth = 0;
    uint32_t found;
    do {
        mem_test_fail_nth(++nth);
        found = prep_mark(engine, &request, text, tokens, count, 4);
        mem_test_fail_nth(0);
    } while (found == 0 && nth < 100);
    CHECK(nth > 2 && nth < 100);
    CHECK_EQ(found, sizeof("system: be brief\nuser: ") - 1);
    engine_close(&engine);
}
