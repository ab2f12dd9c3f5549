/* adapters_test - what is wished of adapters comes back as it was; every field is checked. */
#include "testing/test.h"
#include "wire/adapters.h"
#include "wire/fields.h"

static enum err decode(const char *text, struct arena *arena, struct adapters_wish *out_wish,
                       struct err_note *note)
{
    json_t *root = NULL;
    CHECK_OK(fields_parse(slice_str(text), &root, note));
    struct fields fields = {.object = root, .arena = arena, .note = note};
    adapters_decode(&fields, out_wish);
    json_decref(root);
    return fields.err;
}

static void check_back(const struct adapters_wish *wish, const char *expected)
{
    struct text text;
    struct arena *arena = arena_new(1 << 16);
    struct adapters_wish read = {0};
    struct err_note note = {""};
    text_init(&text, 4096);
    text_add_str(&text, "{\"lora\":");
    struct json_out json = json_out_to(&text);
    adapters_encode(wish, &json);
    text_add_str(&text, "}");
    CHECK_SLICES(text_slice(&text), slice_str(expected));
    text_add_byte(&text, '\0');
    CHECK_OK(decode(text.data, arena, &read, &note));
    CHECK(read.is_said);
    CHECK_EQ(read.count, wish->count);
    for (size_t i = 0; i < wish->count; i++) {
        CHECK_SLICES(read.items[i].name, wish->items[i].name);
        CHECK_EQ(read.items[i].id, wish->items[i].id);
        CHECK(read.items[i].scale == wish->items[i].scale);
    }
    text_fini(&text);
    arena_free(arena);
}

TEST(what_is_wished_comes_back)
{
    const struct adapter_wish items[] = {
        {.name = SLICE("sql"), .scale = 0.1f}, {.id = 7, .scale = -100}, {.id = 0, .scale = 0}};
    struct adapters_wish wish = {true, items, 3};
    check_back(&wish, "{\"lora\":[{\"name\":\"sql\",\"scale\":0.10000000149011612},"
                      "{\"id\":7,\"scale\":-100},{\"id\":0,\"scale\":0}]}");
    wish.count = 0;
    check_back(&wish, "{\"lora\":[]}");
}

TEST(nothing_said_stays_nothing)
{
    struct arena *arena = arena_new(1 << 16);
    struct adapters_wish wish = {0};
    CHECK_OK(decode("{}", arena, &wish, NULL));
    CHECK(!wish.is_said);
    arena_free(arena);
}

TEST(what_is_wrong_is_refused)
{
    static const struct {
        const char *text, *why;
        enum err err;
    } cases[] = {
        {"{\"lora\":{}}", "lora", ERR_PROTOCOL},
        {"{\"lora\":[7]}", "an object was expected", ERR_PROTOCOL},
        {"{\"lora\":[{\"scale\":1}]}", "either a name or an id", ERR_PROTOCOL},
        {"{\"lora\":[{\"name\":\"a\",\"id\":1,\"scale\":1}]}", "either a name or an id",
         ERR_PROTOCOL},
        {"{\"lora\":[{\"name\":\"\",\"scale\":1}]}", "id", ERR_PROTOCOL},
        {"{\"lora\":[{\"id\":-1,\"scale\":1}]}", "id is -1", ERR_LIMIT},
        {"{\"lora\":[{\"id\":1}]}", "scale", ERR_PROTOCOL},
        {"{\"lora\":[{\"id\":1,\"scale\":100.5}]}", "scale is 100.5", ERR_LIMIT},
        {"{\"lora\":[1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1]}", "lora", ERR_LIMIT},
    };
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        struct arena *arena = arena_new(1 << 16);
        struct adapters_wish wish = {0};
        struct err_note note = {""};
        CHECK_ERR(decode(cases[i].text, arena, &wish, &note), cases[i].err);
        if (!strstr(note.text, cases[i].why))
            CHECK_STR(note.text, cases[i].why);
        CHECK(!wish.is_said);
        arena_free(arena);
    }
}
