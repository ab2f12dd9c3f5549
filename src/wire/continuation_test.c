/* continuation_test - what of an answer is there already comes back as it was; a field that is
 * missing or out of range is refused by name. */
#include "base/mem.h"
#include "testing/test.h"
#include "wire/continuation.h"
#include "wire/fields.h"

static struct text encoded(const struct continuation *continuation)
{
    struct text out;
    text_init(&out, 1 << 20);
    struct json_out json = json_out_to(&out);
    continuation_encode(continuation, &json);
    CHECK_OK(text_status(&out));
    return out;
}

static enum err decode(struct slice text, struct arena *arena, struct continuation *out,
                       struct err_note *note)
{
    json_t *root = NULL;
    CHECK_OK(fields_parse(text, &root, note));
    struct fields fields = {.object = root, .arena = arena, .note = note};
    continuation_decode(&fields, out);
    json_decref(root);
    return fields.err;
}

static void check_back(const struct continuation *continuation)
{
    struct arena *arena = arena_new(1 << 20);
    struct continuation read = {0};
    struct err_note note = {""};
    struct text text = encoded(continuation);
    CHECK_EQ(text.len, continuation_bytes(continuation));
    CHECK_OK(decode(text_slice(&text), arena, &read, &note));
    CHECK(read.is_wanted && read.seed == continuation->seed);
    CHECK_EQ(read.text_bytes, continuation->text_bytes);
    CHECK_EQ(read.token_count, continuation->token_count);
    for (size_t i = 0; i < read.token_count; i++)
        CHECK_EQ(read.tokens[i], continuation->tokens[i]);
    text_fini(&text);
    arena_free(arena);
}

TEST(what_was_said_comes_back)
{
    static const int32_t tokens[] = {0, 1, 151935, INT32_MAX};
    check_back(&(struct continuation){.is_wanted = true, .seed = 7});
    check_back(&(struct continuation){.is_wanted = true,
                                      .seed = UINT64_MAX,
                                      .tokens = tokens,
                                      .token_count = ARRAY_COUNT(tokens),
                                      .text_bytes = (uint64_t)FIELDS_INTEGER_MAX});
}

TEST(what_is_missing_or_out_of_range_is_refused_by_name)
{
    static const struct {
        const char *json, *note;
    } cases[] = {
        {"{\"seed\":\"1\",\"text_bytes\":0}", "tokens: an array is required"},
        {"{\"seed\":\"1\",\"tokens\":3,\"text_bytes\":0}", "tokens"},
        {"{\"seed\":\"1\",\"tokens\":[-1],\"text_bytes\":0}", "tokens"},
        {"{\"seed\":\"1\",\"tokens\":[1,2147483648],\"text_bytes\":0}", "tokens"},
        {"{\"seed\":\"1\",\"tokens\":[\"1\"],\"text_bytes\":0}", "tokens"},
        {"{\"tokens\":[],\"text_bytes\":0}", "seed"},
        {"{\"seed\":1,\"tokens\":[],\"text_bytes\":0}", "seed"},
        {"{\"seed\":\"18446744073709551616\",\"tokens\":[],\"text_bytes\":0}", "seed"},
        {"{\"seed\":\"1\",\"tokens\":[]}", "text_bytes"},
        {"{\"seed\":\"1\",\"tokens\":[],\"text_bytes\":-1}", "text_bytes"},
        {"{\"seed\":\"1\",\"tokens\":[],\"text_bytes\":9007199254740993}", "text_bytes"},
    };
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        struct arena *arena = arena_new(1 << 16);
        struct continuation read = {.text_bytes = 99};
        struct err_note note = {""};
        enum err err = decode(slice_str(cases[i].json), arena, &read, &note);
        CHECK(err == ERR_PROTOCOL || err == ERR_LIMIT);
        CHECK(slice_starts_with(slice_str(note.text), slice_str(cases[i].note)));
        CHECK(read.text_bytes == 99 && !read.is_wanted);
        arena_free(arena);
    }
}

TEST(a_continuation_without_room_is_refused)
{
    struct arena *arena = arena_new(8);
    struct continuation read = {0};
    struct err_note note = {""};
    CHECK_ERR(
        decode(SLICE("{\"seed\":\"1\",\"tokens\":[1,2,3],\"text_bytes\":4}"), arena, &read, &note),
        ERR_LIMIT);
    arena_free(arena);
}
