/* form_test - the form of an answer comes back as it was; every field is checked. */
#include "base/mem.h"
#include "testing/test.h"
#include "wire/fields.h"
#include "wire/form.h"

static const struct form_trigger triggers[] = {
    {.word = SLICE("<tool>\n"), .token = FORM_NO_TOKEN, .is_included = true},
    {.token = INT32_MAX, .only_at_start = true},
    {.word = SLICE("{\"h\xc3\xa9"), .token = 0}};

static struct text encoded(const struct form *form)
{
    struct text out;
    text_init(&out, 1 << 20);
    struct json_out json = json_out_to(&out);
    form_encode(form, &json);
    CHECK_OK(text_status(&out));
    return out;
}

static enum err decode(struct slice text, struct arena *arena, struct form *out_form,
                       struct err_note *note)
{
    json_t *root = NULL;
    CHECK_OK(fields_parse(text, &root, note));
    struct fields fields = {.object = root, .arena = arena, .note = note};
    form_decode(&fields, out_form);
    json_decref(root);
    return fields.err;
}

static void check_back(const struct form *form)
{
    struct arena *arena = arena_new(1 << 20);
    struct form read;
    struct err_note note = {""};
    struct text text = encoded(form);
    CHECK_OK(decode(text_slice(&text), arena, &read, &note));
    CHECK_EQ(read.kind, form->kind);
    CHECK_SLICES(read.text, form->text);
    CHECK_SLICES(read.param, form->param);
    CHECK_EQ(read.trigger_count, form->trigger_count);
    for (size_t i = 0; i < form->trigger_count; i++) {
        CHECK_SLICES(read.triggers[i].word, form->triggers[i].word);
        CHECK_EQ(read.triggers[i].token, form->triggers[i].token);
        CHECK_EQ(read.triggers[i].only_at_start, form->triggers[i].only_at_start);
        CHECK_EQ(read.triggers[i].is_included, form->triggers[i].is_included);
    }
    text_fini(&text);
    arena_free(arena);
}

TEST(every_kind_comes_back)
{
    struct form form = {.kind = FORM_JSON_OBJECT};
    check_back(&form);
    form = (struct form){.kind = FORM_GRAMMAR,
                         .text = SLICE("root ::= \"\\x41\"\n"),
                         .param = SLICE("grammar"),
                         .triggers = triggers,
                         .trigger_count = ARRAY_COUNT(triggers)};
    check_back(&form);
    form.kind = FORM_JSON_SCHEMA;
    form.text = SLICE("{\"type\":\"object\"}");
    check_back(&form);
}

TEST(the_longest_text_comes_back_and_one_byte_more_is_refused)
{
    struct arena *arena = arena_new(1 << 20);
    struct form form = {.kind = FORM_GRAMMAR}, read;
    struct err_note note = {""};
    char *letters = mem_alloc(FORM_TEXT_MAX_BYTES + 1);
    memset(letters, 'a', FORM_TEXT_MAX_BYTES + 1);
    form.text = slice_of(letters, FORM_TEXT_MAX_BYTES);
    check_back(&form);
    form.text = slice_of(letters, FORM_TEXT_MAX_BYTES + 1);
    struct text text = encoded(&form);
    CHECK_ERR(decode(text_slice(&text), arena, &read, &note), ERR_LIMIT);
    CHECK_STR(note.text, "grammar has 262145 bytes: at most 262144");
    text_fini(&text);
    mem_free(letters);
    arena_free(arena);
}

TEST(what_is_wrong_is_named)
{
    static const struct {
        const char *json, *note;
        enum err err;
    } cases[] = {
        {"{}", "form: one of grammar, json_schema and json_object", ERR_PROTOCOL},
        {"{\"grammar\":\"\"}", "form: the text is empty", ERR_PROTOCOL},
        {"{\"grammar\":1}", "grammar: a string is required", ERR_PROTOCOL},
        {"{\"json_object\":false}", "json_object: is true, or not there", ERR_PROTOCOL},
        {"{\"grammar\":\"a\",\"json_object\":true}", "json_object: a second form", ERR_PROTOCOL},
        {"{\"grammar\":\"a\",\"json_schema\":\"b\"}", "json_schema: a second form", ERR_PROTOCOL},
        {"{\"grammar\":\"a\",\"triggers\":{}}", "triggers: an array is required", ERR_PROTOCOL},
        {"{\"grammar\":\"a\",\"triggers\":[1]}", "an object was expected", ERR_PROTOCOL},
        {"{\"grammar\":\"a\",\"triggers\":[{\"at_start\":true,\"included\":true}]}",
         "triggers: a word or a token is required", ERR_PROTOCOL},
        {"{\"grammar\":\"a\",\"triggers\":[{\"word\":\"a\",\"included\":true}]}",
         "at_start: true or false is required", ERR_PROTOCOL},
        {"{\"grammar\":\"a\",\"triggers\":[{\"token\":-1,\"at_start\":true,\"included\":true}]}",
         "token is -1: allowed are 0..2147483647", ERR_LIMIT},
        {"{\"grammar\":\"a\",\"triggers\":[0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0]}",
         "triggers has 17 items: at most 16", ERR_LIMIT},
    };
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        struct arena *arena = arena_new(1 << 16);
        struct form read = {.kind = FORM_GRAMMAR};
        struct err_note note = {""};
        CHECK_ERR(decode(slice_str(cases[i].json), arena, &read, &note), cases[i].err);
        CHECK_STR(note.text, cases[i].note);
        CHECK_EQ(read.kind, FORM_GRAMMAR); /* as it was */
        arena_free(arena);
    }
}
