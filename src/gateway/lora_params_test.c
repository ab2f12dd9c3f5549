/* lora_params_test - `lora` as llama-server's documentation has it and by name; every mistake with
 * its place. */
#include "gateway/lora_params.h"

#include "gateway/params.h"
#include "testing/test.h"

#include <math.h>

struct fixture {
    struct call call;
    struct api_error error;
    json_t *body;
};

static enum err read_body(struct fixture *fixture, const char *body)
{
    *fixture = (struct fixture){.call = {.choices = 1}};
    fixture->call.arena = arena_new(1 << 20);
    CHECK_OK(json_read(slice_str(body), JSON_DEPTH_MAX, &fixture->body, NULL));
    return lora_params(&fixture->call, fixture->body, &fixture->error);
}

static void end(struct fixture *fixture)
{
    json_decref(fixture->body);
    arena_free(fixture->call.arena);
}

TEST(adapters_are_named_by_id_or_name)
{
    struct fixture fixture;
    CHECK_OK(read_body(&fixture, "{\"lora\":[{\"id\":0,\"scale\":0.5},{\"name\":\"sql\"},"
                                 "{\"name\":\"x\",\"scale\":-0.0},{\"id\":15,\"scale\":null}]}"));
    const struct adapters_wish *adapters = &fixture.call.request.adapters;
    CHECK(adapters->is_said);
    CHECK_EQ(adapters->count, 4);
    CHECK_EQ(adapters->items[0].id, 0);
    CHECK(adapters->items[0].scale == 0.5f && adapters->items[0].name.len == 0);
    CHECK_SLICE(adapters->items[1].name, "sql");
    CHECK(adapters->items[1].scale == 1);
    CHECK(adapters->items[2].scale == 0 && !signbit(adapters->items[2].scale));
    CHECK_EQ(adapters->items[3].id, 15);
    end(&fixture);
}

TEST(an_empty_list_says_none_and_no_list_says_nothing)
{
    struct fixture fixture;
    CHECK_OK(read_body(&fixture, "{\"lora\":[]}"));
    CHECK(fixture.call.request.adapters.is_said);
    CHECK_EQ(fixture.call.request.adapters.count, 0);
    end(&fixture);
    CHECK_OK(read_body(&fixture, "{\"lora\":null}"));
    CHECK(!fixture.call.request.adapters.is_said);
    end(&fixture);
}

TEST(mistakes_are_told_with_their_place)
{
    static const struct {
        const char *body, *code, *message;
    } cases[] = {
        {"{\"lora\":{}}", "invalid_type",
         "lora must be a list of objects with id (or name) and scale"},
        {"{\"lora\":[{\"id\":0},7]}", "invalid_value",
         "lora[1] must be an object with a name or an id, and a scale"},
        {"{\"lora\":[{\"scale\":1}]}", "invalid_value", "lora[0] must have either a name or an id"},
        {"{\"lora\":[{\"id\":1,\"name\":\"a\"}]}", "invalid_value",
         "lora[0] must have either a name or an id"},
        {"{\"lora\":[{\"id\":16}]}", "invalid_value",
         "lora[0] has an id that is not an integer in 0..15"},
        {"{\"lora\":[{\"id\":0.5}]}", "invalid_value",
         "lora[0] has an id that is not an integer in 0..15"},
        {"{\"lora\":[{\"name\":\"\"}]}", "invalid_value",
         "lora[0] has a name that is not a string of 1..64 bytes"},
        {"{\"lora\":[{\"name\":7}]}", "invalid_value",
         "lora[0] has a name that is not a string of 1..64 bytes"},
        {"{\"lora\":[{\"id\":0,\"scale\":\"1\"}]}", "invalid_value",
         "lora[0] has a scale that is not a number in -100..100"},
        {"{\"lora\":[{\"id\":0,\"scale\":100.1}]}", "invalid_value",
         "lora[0] has a scale that is not a number in -100..100"},
        {"{\"lora\":[{\"id\":0},{\"id\":1,\"sclae\":0.1}]}", "invalid_value",
         "lora[1] has an unknown member 'sclae': id, name and scale are known"},
        {"{\"lora\":[1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1]}", "invalid_value",
         "lora has 17 entries: allowed are 16"},
    };
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        struct fixture fixture;
        CHECK_ERR(read_body(&fixture, cases[i].body), ERR_REFUSED);
        CHECK_EQ(fixture.error.status, 400);
        CHECK_STR(fixture.error.code, cases[i].code);
        CHECK_STR(fixture.error.param, "lora");
        CHECK_STR(fixture.error.message, cases[i].message);
        end(&fixture);
    }
}
