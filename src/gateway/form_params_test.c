/* form_params_test - every surface takes the same words about the form of an answer, and tells
 * mistakes by their path. */
#include "gateway/form_params.h"

#include "base/mem.h"
#include "gateway/dialect/dialects.h"
#include "testing/test.h"

#include <stdio.h>

struct fixture {
    struct call call;
    struct api_error error;
    json_t *body;
};

static void begin(struct fixture *fixture, const char *body)
{
    *fixture = (struct fixture){.call = {.choices = 1}};
    fixture->call.arena = arena_new(1 << 21);
    CHECK_OK(json_read(slice_str(body), JSON_DEPTH_MAX, &fixture->body, NULL));
}

static void end(struct fixture *fixture)
{
    json_decref(fixture->body);
    arena_free(fixture->call.arena);
}

static const struct form *read(struct fixture *fixture, const char *body)
{
    begin(fixture, body);
    enum err err = form_params(&fixture->call, fixture->body, &fixture->error);
    CHECK_STR(fixture->error.message, "");
    CHECK_OK(err);
    return &fixture->call.request.form;
}

static void check_form(const char *body, enum form_kind kind, const char *text, const char *param)
{
    struct fixture fixture;
    const struct form *form = read(&fixture, body);
    CHECK_EQ(form->kind, kind);
    CHECK_SLICES(form->text, slice_str(text));
    CHECK_SLICES(form->param, slice_str(param));
    CHECK_EQ(form->trigger_count, 0);
    end(&fixture);
}

TEST(what_asks_for_nothing_is_free)
{
    static const char *const bodies[] = {
        "{}",
        "{\"response_format\":null,\"grammar\":null,\"json_schema\":null}",
        "{\"response_format\":{\"type\":\"text\"},\"grammar\":\"\"}",
        "{\"grammar_lazy\":false,\"grammar_triggers\":[]}",
    };
    for (size_t i = 0; i < ARRAY_COUNT(bodies); i++)
        check_form(bodies[i], FORM_FREE, "", "");
}

TEST(openai_and_llama_server_ask_for_a_form)
{
    check_form("{\"response_format\":{\"type\":\"json_object\"}}", FORM_JSON_OBJECT, "",
               "response_format");
    check_form("{\"response_format\":{\"type\":\"json_object\",\"schema\":{\"type\":\"null\"}}}",
               FORM_JSON_SCHEMA, "{\"type\":\"null\"}", "response_format.schema");
    check_form("{\"response_format\":{\"type\":\"json_schema\",\"json_schema\":{\"name\":\"n\","
               "\"strict\":true,\"schema\":{\"z\":0.1,\"a\":[1, \"h\xc3\xa9\\n\"]}}}}",
               FORM_JSON_SCHEMA, "{\"z\":0.1,\"a\":[1,\"h\xc3\xa9\\n\"]}",
               "response_format.json_schema.schema");
    check_form("{\"json_schema\":{}}", FORM_JSON_SCHEMA, "{}", "json_schema");
    check_form("{\"grammar\":\"root ::= [a]\"}", FORM_GRAMMAR, "root ::= [a]", "grammar");
}

TEST(a_lazy_grammar_has_its_triggers)
{
    struct fixture fixture;
    const struct form *form =
        read(&fixture, "{\"grammar\":\"root ::= [a]\",\"grammar_lazy\":true,\"grammar_triggers\":["
                       "{\"type\":1,\"value\":\"<tool>\"},{\"type\":0,\"token\":7},"
                       "{\"type\":0,\"token\":8,\"value\":\"<x>\"}]}");
    CHECK_EQ(form->trigger_count, 3);
    CHECK_SLICE(form->triggers[0].word, "<tool>");
    CHECK_EQ(form->triggers[0].token, FORM_NO_TOKEN);
    CHECK(form->triggers[0].is_included && !form->triggers[0].only_at_start);
    CHECK_EQ(form->triggers[1].token, 7);
    CHECK_EQ(form->triggers[1].word.len, 0);
    CHECK_SLICE(form->triggers[2].word, "<x>");
    end(&fixture);
}

#define SCHEMA(members)                                                                            \
    "{\"response_format\":{\"type\":\"json_schema\",\"json_schema\":" members "}}"
#define LAZY(items) "{\"grammar\":\"g\",\"grammar_lazy\":true,\"grammar_triggers\":[" items "]}"

TEST(mistakes_are_told_by_their_path)
{
    static const struct {
        const char *body, *code, *param, *message;
    } cases[] = {
        {"{\"response_format\":\"json\"}", "invalid_type", "response_format",
         "response_format must be an object"},
        {"{\"response_format\":{\"type\":\"xml\"}}", "invalid_value", "response_format.type",
         "response_format.type must be text, json_object or json_schema"},
        {"{\"response_format\":{}}", "invalid_value", "response_format.type",
         "response_format.type must be text, json_object or json_schema"},
        {"{\"response_format\":{\"type\":\"json_schema\"}}", "invalid_type",
         "response_format.json_schema", "response_format.json_schema must be an object"},
        {SCHEMA("{\"name\":\"n\"}"), "invalid_type", "response_format.json_schema.schema",
         "response_format.json_schema.schema must be an object"},
        {SCHEMA("{\"name\":\"\",\"schema\":{}}"), "invalid_value",
         "response_format.json_schema.name",
         "response_format.json_schema.name has 0 bytes: allowed are 1..64"},
        {SCHEMA("{\"name\":7,\"schema\":{}}"), "invalid_type", "response_format.json_schema.name",
         "response_format.json_schema.name must be a string"},
        {SCHEMA("{\"strict\":\"yes\",\"schema\":{}}"), "invalid_type",
         "response_format.json_schema.strict",
         "response_format.json_schema.strict must be true or false"},
        {"{\"grammar\":[]}", "invalid_type", "grammar", "grammar must be a string"},
        {"{\"json_schema\":\"{}\"}", "invalid_type", "json_schema",
         "json_schema must be an object"},
        {"{\"grammar\":\"g\",\"json_schema\":{}}", "invalid_value", "json_schema",
         "json_schema and grammar exclude each other"},
        {"{\"grammar\":\"g\",\"response_format\":{\"type\":\"json_object\"}}", "invalid_value",
         "grammar", "grammar and response_format exclude each other"},
        {"{\"grammar\":\"g\",\"grammar_lazy\":true}", "invalid_value", "grammar_lazy",
         "grammar_lazy and grammar_triggers go together"},
        {"{\"grammar\":\"g\",\"grammar_triggers\":[{}]}", "invalid_value", "grammar_triggers",
         "grammar_lazy and grammar_triggers go together"},
        {"{\"grammar_lazy\":true,\"grammar_triggers\":[{}]}", "invalid_value", "grammar_lazy",
         "grammar_lazy needs a grammar or a schema"},
        {"{\"grammar_triggers\":{}}", "invalid_type", "grammar_triggers",
         "grammar_triggers must be a list"},
        {LAZY("7"), "invalid_type", "grammar_triggers", "grammar_triggers[0] must be an object"},
        {LAZY("{\"type\":1,\"value\":\"a\"},{\"value\":\"a\"}"), "invalid_value",
         "grammar_triggers", "grammar_triggers[1].type must be 0 (a token) or 1 (a word)"},
        {LAZY("{\"type\":2,\"value\":\"a\"}"), "unsupported_parameter", "grammar_triggers",
         "grammar_triggers[0].type is a pattern: only 0 (a token) and 1 (a word) are supported"},
        {LAZY("{\"type\":1}"), "invalid_value", "grammar_triggers",
         "grammar_triggers[0].value must be a string of 1..128 bytes"},
        {LAZY("{\"type\":0,\"token\":-1}"), "invalid_type", "grammar_triggers",
         "grammar_triggers[0].token must be a token id"},
        {LAZY("0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0"), "invalid_value", "grammar_triggers",
         "grammar_triggers has 17 entries: allowed are 16"},
    };
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        struct fixture fixture;
        begin(&fixture, cases[i].body);
        CHECK_ERR(form_params(&fixture.call, fixture.body, &fixture.error), ERR_REFUSED);
        CHECK_STR(fixture.error.message, cases[i].message);
        CHECK_EQ(fixture.error.status, 400);
        CHECK_STR(fixture.error.code, cases[i].code);
        CHECK_STR(fixture.error.param, cases[i].param);
        end(&fixture);
    }
}

/* As text, a schema is as long as it can be made by its description; a grammar is its own text. */
TEST(the_longest_texts_pass_and_a_byte_more_is_refused)
{
    static const struct {
        const char *before, *behind, *param;
        size_t own; /* bytes of the text around the letters */
    } cases[] = {
        {"{\"grammar\":\"", "\"}", "grammar", 0},
        {"{\"json_schema\":{\"title\":\"", "\"}}", "json_schema", sizeof("{\"title\":\"\"}") - 1}};
    for (size_t i = 0; i < 2 * ARRAY_COUNT(cases); i++) {
        struct fixture fixture;
        struct text body;
        bool is_too_long = i % 2;
        text_init(&body, 1 << 20);
        text_add(&body, slice_str(cases[i / 2].before));
        for (size_t n = cases[i / 2].own; n < FORM_TEXT_MAX_BYTES + (size_t)is_too_long; n++)
            text_add_byte(&body, 'a');
        text_add(&body, slice_str(cases[i / 2].behind));
        text_add_byte(&body, '\0');
        begin(&fixture, body.data);
        enum err err = form_params(&fixture.call, fixture.body, &fixture.error);
        CHECK_EQ(err, is_too_long ? ERR_REFUSED : ERR_OK);
        CHECK_STR(fixture.error.param, is_too_long ? cases[i / 2].param : "");
        end(&fixture);
        text_fini(&body);
    }
}

TEST(every_surface_takes_it)
{
    static const struct dialect *const all[] = {&dialect_chat,     &dialect_completions,
                                                &dialect_infer,    &dialect_inference,
                                                &dialect_generate, &dialect_generate_stream};
    for (size_t i = 0; i < ARRAY_COUNT(all); i++) {
        struct fixture fixture;
        begin(&fixture, "{\"prompt\":\"x\",\"messages\":[{\"role\":\"user\",\"content\":\"x\"}],"
                        "\"response_format\":{\"type\":\"json_object\"}}");
        struct dialect_input input = {.body = fixture.body};
        fixture.call.request.sampling = sampling_default();
        CHECK_OK(all[i]->parse(&fixture.call, &input, &fixture.error));
        CHECK_EQ(fixture.call.request.form.kind, FORM_JSON_OBJECT);
        end(&fixture);
    }
}
