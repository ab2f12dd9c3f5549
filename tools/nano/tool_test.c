#include "testing/test.h"

#include "nano/tool.h"

#include "base/json.h"

static const struct tool lookup = {
    "lookup",
    "Look a key up",
    "lookup",
    {{"key", "string", THING_WORD, "say \"hi\"", "What to look for", false},
     {"count", "integer", THING_WORD, "12", "Most entries", true},
     {"deep", "boolean", THING_WORD, "true|false", NULL, true}},
    {"find <key>, I mean <key>[|][|]"},
};

static struct tool asked(const char *ask)
{
    struct tool tool = lookup;
    tool.asks[0] = ask;
    return tool;
}

static void check_call(const char *ask, const char *words, const char *call)
{
    struct tool tool = asked(ask);
    struct choice choice = {1};
    struct wish wish;
    struct text text;
    wish_init(&wish);
    text_init(&text, 4096);
    wish_make(&wish, &tool, &choice, SPLIT_TRAIN);
    tool_add_call_json(&text, &tool, &wish);
    CHECK_SLICES(text_slice(&wish.words), slice_str(words));
    CHECK_SLICES(text_slice(&text), slice_str(call));
    text_fini(&text);
    wish_fini(&wish);
}

TEST(a_call_has_what_was_said_and_only_that)
{
    check_call("find <key>", "find say \"hi\"",
               "{\"name\": \"lookup\", \"arguments\": {\"key\": \"say \\\"hi\\\"\"}}");
    check_call("nothing", "nothing", "{\"name\": \"lookup\", \"arguments\": {}}");
}

TEST(numbers_and_flags_are_not_strings)
{
    check_call("<count> of <key><deep=true>", "12 of say \"hi\"",
               "{\"name\": \"lookup\", \"arguments\": {\"key\": \"say \\\"hi\\\"\", \"count\": 12, "
               "\"deep\": true}}");
}

TEST(a_place_that_comes_twice_has_one_value)
{
    check_call("<count>, I said <count>", "12, I said 12",
               "{\"name\": \"lookup\", \"arguments\": {\"count\": 12}}");
}

TEST(a_place_without_a_parameter_is_our_bug)
{
    struct tool tool = asked("find <nobody>");
    struct choice choice = {1};
    struct wish wish;
    wish_init(&wish);
    CHECK_ABORTS(wish_make(&wish, &tool, &choice, SPLIT_TRAIN), "lookup has no parameter nobody");
    wish_fini(&wish);
}

static void add_schema(struct text *text, unsigned style)
{
    text_clear(text);
    tool_add_schema(text, &lookup, style);
}

TEST(a_schema_is_as_openai_clients_send_it)
{
    struct text text;
    text_init(&text, 4096);
    add_schema(&text, 0);
    CHECK_SLICE(
        text_slice(&text),
        "{\"type\": \"function\", \"function\": {\"name\": \"lookup\", \"description\": \"Look a "
        "key up\", \"parameters\": {\"type\": \"object\", \"properties\": {\"key\": {\"type\": "
        "\"string\", \"enum\": [\"say \\\"hi\\\"\"], \"description\": \"What to look for\"}, "
        "\"count\": {\"type\": \"integer\", \"description\": \"Most entries\"}, \"deep\": "
        "{\"type\": \"boolean\"}}, \"required\": [\"key\"]}}}");
    text_fini(&text);
}

/* Whatever the style: the same tool, and its parameters in their order. */
TEST(every_style_says_the_same)
{
    struct text text;
    text_init(&text, 4096);
    for (unsigned style = 0; style < TOOL_STYLES; style++) {
        json_t *schema;
        add_schema(&text, style);
        CHECK_OK(json_read(text_slice(&text), JSON_DEPTH_MAX, &schema, NULL));
        const json_t *function = json_object_get(schema, "function");
        function = function ? function : schema;
        CHECK_SLICE(json_slice(json_object_get(function, "name")), "lookup");
        const json_t *parameters = json_object_get(function, "parameters");
        CHECK_EQ(json_object_size(json_object_get(parameters, "properties")), 3);
        CHECK_EQ(json_array_size(json_object_get(parameters, "required")), 1);
        json_decref(schema);
        size_t key = slice_find(text_slice(&text), SLICE("\"key\":")),
               count = slice_find(text_slice(&text), SLICE("\"count\":")),
               deep = slice_find(text_slice(&text), SLICE("\"deep\":"));
        CHECK(key < count && count < deep && deep != SLICE_NPOS);
    }
    text_fini(&text);
}

/* -- invented ones ---------------------------------------------------------- */

TEST(an_invented_tool_is_like_another_only_when_it_was_asked_to_be)
{
    static struct invented_tool one, like;
    for (uint64_t i = 0; i < 500; i++) {
        struct choice choice = {i};
        tool_invent(&one, NULL, &choice, SPLIT_TRAIN);
        tool_invent(&like, &one, &choice, SPLIT_TRAIN);
        CHECK(invented_is_like(&one, &like));
        CHECK(one.verb != like.verb || one.noun != like.noun);
    }
}

static bool is_required_said(const struct tool *tool, const struct wish *wish)
{
    for (size_t i = 0; i < tool_parameter_count(tool); i++) {
        if (!tool->parameters[i].is_optional && !wish->values[i].is_given)
            return false;
    }
    return true;
}

TEST(whoever_asks_for_an_invented_tool_says_all_that_it_requires)
{
    static struct invented_tool invented;
    struct wish wish;
    wish_init(&wish);
    for (uint64_t i = 0; i < 3000; i++) {
        struct choice choice = {i};
        tool_invent(&invented, NULL, &choice, i % 2 ? SPLIT_TEST : SPLIT_TRAIN);
        wish_make(&wish, &invented.tool, &choice, SPLIT_TRAIN);
        CHECK(is_required_said(&invented.tool, &wish));
    }
    wish_fini(&wish);
}
