/* What a schema becomes: what satisfies it is accepted (in the narrower ways that schema.h names),
 * and nothing else ever. */
#include "base/json.h"
#include "base/mem.h"
#include "base/utf8.h"
#include "grammar/grammar_match.h"
#include "grammar/schema.h"
#include "testing/test.h"

#include <regex.h>
#include <stdio.h>
#include <time.h>

static struct grammar *grammar_of(struct slice schema)
{
    struct text text;
    struct grammar *grammar = NULL;
    struct err_note note = {{0}};
    text_init(&text, 1 << 20);
    enum err err = schema_to_grammar(schema, &text, &note);
    CHECK_STR(note.text, "");
    CHECK_OK(err);
    err = grammar_parse(text_slice(&text), &grammar, &note);
    if (err != ERR_OK)
        printf(SLICE_FMT, SLICE_ARG(text_slice(&text)));
    CHECK_STR(note.text, "");
    text_fini(&text);
    return grammar;
}

static bool accepts(struct grammar *grammar, struct slice json)
{
    struct grammar_match *match = NULL;
    CHECK_OK(grammar_match_new(grammar, NULL, &match));
    enum err err = grammar_match_accept(match, GRAMMAR_NO_TOKEN, json);
    CHECK(err == ERR_OK || err == ERR_REFUSED);
    bool is_accepted = err == ERR_OK && grammar_match_can_end(match);
    grammar_match_free(match);
    return is_accepted;
}

struct example {
    const char *schema, *yes[8], *no[8];
};

static void check_example(const struct example *example)
{
    struct grammar *grammar = grammar_of(slice_str(example->schema));
    for (size_t i = 0; i < 8 && example->yes[i]; i++) {
        if (!accepts(grammar, slice_str(example->yes[i])))
            CHECK_STR(example->yes[i], example->schema);
    }
    for (size_t i = 0; i < 8 && example->no[i]; i++) {
        if (accepts(grammar, slice_str(example->no[i])))
            CHECK_STR(example->no[i], example->schema);
    }
    grammar_unref(grammar);
}

static const struct example examples[] = {
    {"true", {"null", "[1, {\"a\":\"b\"}]", "-1.5e-3"}, {"", "nul", "[1,]", "{\"a\"}", "01"}},
    {"{}", {"{}", "\"\""}, {"{} "}},
    {"{\"type\":\"boolean\"}", {"true", "false"}, {"null", "\"true\""}},
    {"{\"type\":[\"null\",\"integer\"]}", {"null", "0", "-12"}, {"-0", "1.5", "true", "00"}},
    {"{\"enum\":[\"a\\\"b\\\\\",\"\\n\",1.5,null,{\"k\":[true,\"\\u00e9\"]}]}",
     {"\"a\\\"b\\\\\"", "\"\\n\"", "1.5", "null", "{\"k\":[true,\"\xC3\xA9\"]}"},
     {"\"a\"", "1", "{}"}},
    {"{\"const\":\"x\",\"type\":\"string\",\"title\":\"t\"}", {"\"x\""}, {"\"y\"", "x"}},
    {"{\"type\":\"integer\",\"enum\":[1,\"1\",2.5]}", {"1"}, {"\"1\"", "2.5"}},
    {"{\"type\":\"string\"}",
     {"\"\"", "\"\xF0\x9F\x98\x80\\ud83d\\uDE00\\u00e9\\/\"", "\"\\\"\""},
     {"\"\\ud83d\"", "\"\\u0000\"", "\"\n\"", "\"\\x\"", "\"\\ude00\"", "\"",
      "\"\\ud83d\\u0041\""}},
    {"{\"minLength\":2,\"maxLength\":3}",
     {"\"ab\"", "\"\xE2\x82\xAC\xE2\x82\xAC\xE2\x82\xAC\"", "\"\\ud83d\\ude00\\n\""},
     {"\"a\"", "\"abcd\"", "\"\\ud83d\\ude00\""}},
    {"{\"minLength\":1}", {"\"a\"", "\"abcdef\""}, {"\"\""}},
    {"{\"format\":\"date\"}",
     {"\"2024-02-29\"", "\"1999-12-31\"", "\"2000-02-29\"", "\"2023-04-30\"", "\"2023-10-31\""},
     {"\"2023-02-29\"", "\"1900-02-29\"", "\"2023-04-31\"", "\"2023-00-10\"", "\"2023-13-01\"",
      "\"2023-01-00\"", "\"2023-1-1\""}},
    {"{\"format\":\"time\"}",
     {"\"23:59:59Z\"", "\"00:00:00.123+01:30\""},
     {"\"24:00:00Z\"", "\"00:60:00Z\"", "\"00:00:00\"", "\"00:00Z\""}},
    {"{\"format\":\"date-time\"}", {"\"2024-02-29T23:59:59Z\""}, {"\"2024-02-29 23:59:59Z\""}},
    {"{\"format\":\"uuid\"}",
     {"\"123e4567-e89b-12d3-A456-426614174000\""},
     {"\"123e4567e89b12d3a456426614174000\"", "\"123e4567-e89b-12d3-a456-42661417400g\""}},
    {"{\"format\":\"ipv4\"}", {"\"0.10.199.255\""}, {"\"256.1.1.1\"", "\"1.1.1\"", "\"01.1.1.1\""}},
    {"{\"pattern\":\"^[A-Z]{2}-\\\\d+(x|y)?$\"}",
     {"\"AB-1\"", "\"ZZ-123x\""},
     {"\"AB-\"", "\"A-1\"", "\"AB-1z\"", "\"AB-1xy\""}},
    {"{\"pattern\":\"^a.\\\"[\\\\\\\\\\\\]\\\\t]*$\"}",
     {"\"ax\\\"\"", "\"a\\\\\\\"\\\\]\\t\"", "\"a\\\"\\\"\""},
     {"\"a\\\"\"", "\"a\\n\\\"\"", "\"ax\\\"x\""}},
    {"{\"pattern\":\"^\\\\w\\\\s\\\\D[^a-z]$\"}",
     {"\"_\\nAZ\"", "\"a .\\\"\""},
     {"\"_ 1Z\"", "\"_ Aa\""}},
    {"{\"type\":\"integer\",\"minimum\":-12,\"maximum\":345}",
     {"-12", "-9", "0", "9", "10", "345", "299"},
     {"-13", "346", "1000", "-0", "00", "999", "-20"}},
    {"{\"type\":\"integer\",\"exclusiveMinimum\":0}", {"1", "99"}, {"0", "-1"}},
    {"{\"type\":\"integer\",\"minimum\":0.5,\"exclusiveMaximum\":3}", {"1", "2"}, {"0", "3"}},
    {"{\"type\":\"integer\",\"minimum\":-9223372036854775808,\"maximum\":-9223372036854775807}",
     {"-9223372036854775808", "-9223372036854775807"},
     {"-9223372036854775809", "-9223372036854775806", "0"}},
    {"{\"type\":\"number\",\"minimum\":0,\"maximum\":10}",
     {"0", "0.5", "9.99", "10", "10.0", "3"},
     {"-1", "10.01", "11", "-0.5", "1e5"}},
    {"{\"type\":\"number\",\"minimum\":-2,\"maximum\":-1}",
     {"-1", "-2.0", "-1.5"},
     {"-0.5", "-2.1", "1"}},
    {"{\"maximum\":5}", {"5", "4.9", "-100.25"}, {"5.1", "6", "\"a\""}},
    {"{\"items\":{\"type\":\"integer\"},\"minItems\":1,\"maxItems\":3}",
     {"[1]", "[1, 2,3]", "[ 1\n ]"},
     {"[]", "[1,2,3,4]", "[\"a\"]", "[1 2]"}},
    {"{\"type\":\"array\",\"maxItems\":0}", {"[]", "[ ]"}, {"[1]"}},
    {"{\"type\":\"array\",\"maxItems\":1}", {"[]", "[null]"}, {"[1,1]"}},
    {"{\"type\":\"object\"}", {"{}", "{\"a\": 1}", "{\"a\":{},\"b\":[]}"}, {"[]", "{\"a\"}"}},
    {"{\"properties\":{\"a\":{\"type\":\"integer\"},\"b\":{\"type\":\"null\"},\"c\":true},"
     "\"required\":[\"b\"]}",
     {"{\"a\":1,\"b\":null,\"c\":[2]}", "{\"b\": null}", "{ \"a\": 1, \"b\": null }",
      "{\"b\":null,\"c\":1}"},
     {"{}", "{\"a\":1}", "{\"b\":null,\"a\":1}", "{\"b\":null,\"d\":1}", "{\"a\":1,}",
      "{\"b\":null,\"b\":null}"}},
    {"{\"properties\":{\"a\":true,\"b\":true}}", {"{}", "{\"a\":1}", "{\"b\":1}"}, {"{,\"b\":1}"}},
    {"{\"properties\":{},\"additionalProperties\":false}", {"{}"}, {"{\"a\":1}"}},
    {"{\"properties\":{\"ab\":{\"type\":\"integer\"},\"a\":{\"type\":\"null\"},\"^]\":{\"type\":"
     "\"null\"}},"
     "\"additionalProperties\":{\"type\":\"boolean\"}}",
     {"{\"ab\":1,\"x\":true}", "{\"a\":null,\"abc\":true,\"b\":false}", "{\"\":true}",
      "{\"b\":true}", "{\"^\":true}", "{\"^]]\":true}"},
     {"{\"ab\":true}", "{\"ab\":1,\"a\":true}", "{\"x\":1}", "{\"\\u0061\":true}",
      "{\"^]\":true}"}},
    {"{\"additionalProperties\":{\"type\":\"integer\"}}", {"{\"a\":1,\"b\":2}"}, {"{\"a\":true}"}},
    {"{\"anyOf\":[{\"type\":\"integer\"},{\"type\":\"null\"}]}", {"1", "null"}, {"true"}},
    {"{\"oneOf\":[{\"const\":1},{\"const\":12}]}", {"1", "12"}, {"2"}},
    {"{\"$ref\":\"#/$defs/n~1o~0de\",\"$defs\":{\"n/"
     "o~de\":{\"properties\":{\"v\":{\"type\":\"integer\"},"
     "\"next\":{\"anyOf\":[{\"$ref\":\"#/$defs/n~1o~0de\"},{\"type\":\"null\"}]}},"
     "\"required\":[\"v\",\"next\"]}}}",
     {"{\"v\":1,\"next\":null}", "{\"v\":1,\"next\":{\"v\":2,\"next\":{\"v\":3,\"next\":null}}}"},
     {"{\"v\":1}", "{\"v\":1,\"next\":1}"}},
    {"{\"properties\":{\"kids\":{\"items\":{\"$ref\":\"#\"}}}}",
     {"{\"kids\":[{\"kids\":[]},{}]}"},
     {"{\"kids\":[1]}"}},
    {"{\"allOf\":[{\"$ref\":\"#/$defs/a\"},{\"properties\":{\"y\":{\"type\":\"null\"}},"
     "\"required\":[\"y\"]}],\"required\":[\"x\"],\"$defs\":{\"a\":{\"type\":\"object\","
     "\"properties\":{\"x\":{\"type\":\"integer\"}}}}}",
     {"{\"x\":1,\"y\":null}"},
     {"{\"x\":1}", "{\"y\":null}"}},
    {"{\"allOf\":[{\"properties\":{\"a\":{\"type\":\"null\"},\"b\":{\"type\":\"null\"}},"
     "\"additionalProperties\":{\"type\":\"integer\"}},{\"properties\":{\"b\":{\"type\":\"null\"}},"
     "\"required\":[\"b\"]}]}",
     {"{\"b\":null}", "{\"a\":null,\"b\":null,\"c\":1}"},
     {"{\"a\":null}", "{\"b\":1}", "{\"b\":null,\"c\":null}"}},
    {"{\"allOf\":[{\"type\":\"string\"}]}", {"\"a\""}, {"1"}},
    {"{\"pattern\":\"^\\\\S[^\\\\s]\\\\s$\"}",
     {"\"aa\xC2\xA0\"", "\"a\xE2\x80\x8B\\t\"", "\"aa\xEF\xBB\xBF\""},
     {"\"a\xC2\xA0 \"", "\"\xE3\x80\x80\x61 \"", "\"\xE2\x80\xA8\x61 \"", "\"a\xEF\xBB\xBF \""}},
};

TEST(what_satisfies_a_schema_is_accepted_and_nothing_else)
{
    for (size_t i = 0; i < ARRAY_COUNT(examples); i++)
        check_example(&examples[i]);
}

TEST(what_cannot_be_said_is_refused_with_path_and_keyword)
{
    static const struct {
        const char *schema;
        enum err err;
        const char *words;
    } cases[] = {
        {"{\"properties\":{\"a\":{\"multipleOf\":2}}}", ERR_REFUSED,
         "schema: at #/properties/a: the keyword multipleOf is not supported"},
        {"{\"items\":{\"not\":{}}}", ERR_REFUSED,
         "schema: at #/items: the keyword not is not supported"},
        {"{\"type\":\"array\",\"uniqueItems\":true}", ERR_REFUSED,
         "schema: at #: the keyword uniqueItems is not supported"},
        {"{\"a\\nb\":1}", ERR_REFUSED, "schema: at #: the keyword a?b is not supported"},
        {"{\"anyOf\":[{\"type\":\"strin\"}]}", ERR_PROTOCOL,
         "schema: at #/anyOf/0: type: expected object, array, string, number, integer, boolean or "
         "null, or a list of them"},
        {"{\"type\":[]}", ERR_REFUSED, "schema: at #: no type is named: nothing satisfies it"},
        {"{\"anyOf\":[]}", ERR_PROTOCOL, "schema: at #: anyOf: expected a list of schemas"},
        {"{\"anyOf\":[{}],\"properties\":{}}", ERR_REFUSED,
         "schema: at #: the keyword properties is not supported beside anyOf"},
        {"{\"enum\":[]}", ERR_REFUSED,
         "schema: at #: no value of enum is of its type: nothing satisfies it"},
        {"{\"enum\":[\"a\"],\"minLength\":1}", ERR_REFUSED,
         "schema: at #: the keyword minLength is not supported beside enum"},
        {"{\"properties\":{\"x\":false}}", ERR_REFUSED,
         "schema: at #/properties/x: nothing satisfies false"},
        {"{\"required\":[\"z\"],\"properties\":{}}", ERR_REFUSED,
         "schema: at #: required: a name that is not among the properties"},
        {"{\"$ref\":\"http://x/y\"}", ERR_REFUSED,
         "schema: at #: $ref: expected # or #/..., a place in this document"},
        {"{\"$ref\":\"#/$defs/a\"}", ERR_PROTOCOL,
         "schema: at #: $ref: there is nothing at that place"},
        {"{\"$ref\":\"#\"}", ERR_REFUSED, "schema: at #: it refers to itself, and to nothing else"},
        {"{\"anyOf\":[{\"type\":\"null\"},{\"$ref\":\"#/anyOf/1\"}]}", ERR_REFUSED,
         "schema: at #/anyOf/1: it refers to itself, and to nothing else"},
        {"{\"minLength\":3,\"maxLength\":2}", ERR_REFUSED,
         "schema: at #: nothing satisfies its lengths"},
        {"{\"maxLength\":16385}", ERR_LIMIT,
         "schema: at #: maxLength: 16385: at most 16384 is supported"},
        {"{\"maxLength\":1.5}", ERR_PROTOCOL,
         "schema: at #: maxLength: expected an integer of at least 0"},
        {"{\"format\":\"email\"}", ERR_REFUSED,
         "schema: at #: format: supported are date, time, date-time, uuid, ipv4"},
        {"{\"pattern\":\"a\"}", ERR_REFUSED,
         "schema: at #: pattern: only patterns from ^ to $ are supported"},
        {"{\"pattern\":\"^a|b$\"}", ERR_REFUSED,
         "schema: at #: pattern: alternatives only inside a group are supported"},
        {"{\"pattern\":\"^(?=a)$\"}", ERR_REFUSED,
         "schema: at #: pattern: of groups with ? only (?: is supported"},
        {"{\"pattern\":\"^a{3,2}$\"}", ERR_PROTOCOL,
         "schema: at #: pattern: braces whose second number is the smaller one"},
        {"{\"type\":\"integer\",\"minimum\":3,\"maximum\":2}", ERR_REFUSED,
         "schema: at #: nothing satisfies its bounds"},
        {"{\"type\":\"number\",\"minimum\":0.5}", ERR_REFUSED,
         "schema: at #: minimum: for numbers that are no integers, an integer within 2^53 is "
         "supported only"},
        {"{\"allOf\":[{\"properties\":{\"a\":true}},{\"properties\":{\"a\":{}}}]}", ERR_REFUSED,
         "schema: at #: allOf: a property that two of them describe differently"},
        {"{\"allOf\":[{\"properties\":{\"a\":true},\"additionalProperties\":false},"
         "{\"properties\":{\"b\":true}}]}",
         ERR_REFUSED,
         "schema: at #: the keyword additionalProperties is not supported in a part of allOf that "
         "does not name all properties"},
        {"{\"allOf\":[{\"$ref\":\"#\"},{}]}", ERR_LIMIT,
         "schema: at #: allOf: more than 16 references and parts deep"},
        {"[]", ERR_PROTOCOL, "schema: at #: expected a schema: an object, true or false"},
    };
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        struct text text;
        struct err_note note = {{0}};
        text_init(&text, 1 << 20);
        enum err err = schema_to_grammar(slice_str(cases[i].schema), &text, &note);
        text_fini(&text);
        CHECK_STR(note.text, cases[i].words);
        CHECK_ERR(err, cases[i].err);
    }
}

TEST(places_are_limited)
{
    for (size_t over = 0; over < 2; over++) { /* one is the whole, one the items of all */
        struct text schema, text;
        struct err_note note = {{0}};
        text_init(&schema, 1 << 20);
        text_init(&text, 4 << 20);
        text_add_str(&schema, "{\"anyOf\":[");
        for (size_t i = 1; i < SCHEMA_PLACES_MAX + over; i++)
            text_add_str(&schema, i > 1 ? ",{\"type\":\"null\"}" : "{\"type\":\"null\"}");
        text_add_str(&schema, "]}");
        CHECK_ERR(schema_to_grammar(text_slice(&schema), &text, &note), over ? ERR_LIMIT : ERR_OK);
        text_fini(&schema);
        text_fini(&text);
    }
}

/* Taken as often as they are referred to, the last of these would be taken 40^7 times. */
TEST(parts_of_allof_that_many_refer_to_are_taken_once)
{
    struct text schema;
    text_init(&schema, 1 << 16);
    text_add_str(&schema, "{\"$ref\":\"#/$defs/0\",\"$defs\":{");
    for (int level = 0; level < 7; level++) {
        text_add_f(&schema, "\"%d\":{\"allOf\":[", level);
        for (int part = 0; part < 40; part++)
            text_add_f(&schema, "%s{\"$ref\":\"#/$defs/%d\"}", part > 0 ? "," : "", level + 1);
        text_add_str(&schema, "]},");
    }
    text_add_str(&schema, "\"7\":{\"properties\":{\"x\":{\"type\":\"null\"}}}}}");
    struct grammar *grammar = grammar_of(text_slice(&schema));
    CHECK(accepts(grammar, SLICE("{\"x\":null}")));
    CHECK(!accepts(grammar, SLICE("{\"x\":1}")));
    grammar_unref(grammar);
    text_fini(&schema);
}

/* Eight parts of 2048 properties are all that is put together, though they are always the same. */
TEST(the_properties_of_all_parts_are_limited)
{
    for (int over = 0; over < 2; over++) {
        struct text schema, text;
        struct err_note note = {{0}};
        text_init(&schema, 1 << 18);
        text_init(&text, 1 << 20);
        text_add_str(&schema, "{\"allOf\":[");
        for (int i = 0; i < 8 * 2048; i++)
            text_add_f(&schema, "%s\"%d\":true%s", i % 2048 > 0 ? "," : "{\"properties\":{",
                       i % 2048, i % 2048 == 2047 ? "}}," : "");
        text_add_f(&schema, "{\"properties\":{%s}}]}", over ? "\"0\":true" : "");
        CHECK_ERR(schema_to_grammar(text_slice(&schema), &text, &note), over ? ERR_LIMIT : ERR_OK);
        CHECK_STR(note.text,
                  over ? "schema: at #: allOf: more than 16384 properties in the parts of all of "
                         "them"
                       : "");
        text_fini(&schema);
        text_fini(&text);
    }
}

TEST(the_properties_of_an_object_are_limited)
{
    for (int over = 0; over < 2; over++) {
        struct text schema, text;
        struct err_note note = {{0}};
        text_init(&schema, 1 << 16);
        text_init(&text, 1 << 20);
        text_add_str(&schema, "{\"allOf\":[{\"properties\":{\"first\":true}},{\"properties\":{");
        for (int i = 0; i < 2047 + over; i++)
            text_add_f(&schema, "%s\"%d\":true", i > 0 ? "," : "", i);
        text_add_str(&schema, "}}]}");
        CHECK_ERR(schema_to_grammar(text_slice(&schema), &text, &note), over ? ERR_LIMIT : ERR_OK);
        CHECK_STR(note.text, over ? "schema: at #/allOf: more than 2048 properties" : "");
        text_fini(&schema);
        text_fini(&text);
    }
}

TEST(a_schema_that_finds_no_room_or_memory_is_refused)
{
    static const char json[] =
        "{\"allOf\":[{\"$ref\":\"#/$defs/a\"}],\"required\":[\"x\"],"
        "\"$defs\":{\"a\":{\"additionalProperties\":{\"enum\":[1,null]},"
        "\"properties\":{\"x\":{\"type\":\"integer\"},\"y\":{\"pattern\":\"^a$\"}}}}}";
    struct slice schema = slice_str(json);
    struct text whole;
    text_init(&whole, 1 << 20);
    CHECK_OK(schema_to_grammar(schema, &whole, NULL));
    for (size_t room = 0; room <= whole.len; room += room + 30 < whole.len ? 29 : 1) {
        struct text text;
        text_init(&text, room);
        CHECK_ERR(schema_to_grammar(schema, &text, NULL), room == whole.len ? ERR_OK : ERR_LIMIT);
        text_fini(&text);
    }
    bool has_failed = true;
    for (uint64_t nth = 1; has_failed; nth++) {
        struct text text;
        struct err_note note = {{0}};
        text_init(&text, 1 << 20);
        uint64_t before = mem_peer_count();
        mem_test_fail_nth(nth);
        enum err err = schema_to_grammar(schema, &text, &note);
        mem_test_fail_nth(0);
        has_failed = mem_peer_count() - before >= nth;
        /* jansson's own memory is ours that never fails, after the reading. */
        CHECK(err == ERR_OK || (has_failed && err == ERR_LIMIT && note.text[0]));
        if (err == ERR_OK)
            CHECK_SLICES(text_slice(&text), text_slice(&whole));
        text_fini(&text);
    }
    text_fini(&whole);
}

/* --- random schemas --- */

struct maker {
    uint64_t random;
    int depth;
    bool has_others; /* some object may have a key twice */
};

static uint64_t below(struct maker *maker, uint64_t limit)
{
    return test_random(&maker->random) % limit;
}

static json_t *random_scalar(struct maker *maker)
{
    static const char *const words[] = {"", "a", "b\"\\c", "\xC3\xA9\n", "long word", "42"};
    switch (below(maker, 4)) {
    case 0:
        return json_integer((json_int_t)below(maker, 2000) - 1000);
    case 1:
        return below(maker, 2) ? json_true() : json_null();
    case 2:
        return json_real((double)below(maker, 1000) / 8);
    default:
        return json_string(words[below(maker, ARRAY_COUNT(words))]);
    }
}

static json_t *random_schema(struct maker *maker);

static json_t *random_string_schema(struct maker *maker)
{
    /* That mean the same to POSIX, and in bytes as in characters. */
    static const char *const patterns[] = {"^[a-c]+$", "^(ab|c){1,3}x?$", "^[^0-9\"]*$",
                                           "^a.*b\\.$", "^[\\\\/\"x]*$"};
    json_t *schema = json_pack("{s:s}", "type", "string");
    uint64_t kind = below(maker, 5);
    if (kind == 0)
        json_object_set_new(schema, "pattern",
                            json_string(patterns[below(maker, ARRAY_COUNT(patterns))]));
    if (kind == 1)
        json_object_set_new(schema, "format", json_string("date"));
    if (kind == 2 || kind == 3)
        json_object_set_new(schema, "minLength", json_integer((json_int_t)below(maker, 4)));
    if (kind == 3)
        json_object_set_new(schema, "maxLength", json_integer(4 + (json_int_t)below(maker, 4)));
    return schema;
}

static json_t *random_number_schema(struct maker *maker)
{
    bool is_integer = below(maker, 2);
    uint64_t size = UINT64_C(1) << below(maker, is_integer ? 40 : 12);
    json_int_t low = (json_int_t)below(maker, 2 * size) - (json_int_t)size;
    json_t *schema = json_pack("{s:s}", "type", is_integer ? "integer" : "number");
    if (below(maker, 2))
        json_object_set_new(schema, "minimum", json_integer(low));
    if (below(maker, 2))
        json_object_set_new(schema, "maximum", json_integer(low + (json_int_t)below(maker, size)));
    if (is_integer && below(maker, 3) == 0)
        json_object_set_new(schema, "exclusiveMaximum",
                            json_integer(low + 1 + (json_int_t)below(maker, size)));
    return schema;
}

static json_t *random_object_schema(struct maker *maker)
{
    static const char *const names[] = {"a", "ab", "abc", "b", "\xC3\xA9", "q\"", "x y", "^"};
    json_t *schema = json_pack("{s:s}", "type", "object");
    json_t *properties = json_object(), *required = json_array();
    for (uint64_t i = below(maker, 5); i > 0; i--) {
        const char *name = names[below(maker, ARRAY_COUNT(names))];
        json_object_set_new(properties, name, random_schema(maker));
        if (below(maker, 2))
            json_array_append_new(required, json_string(name));
    }
    json_object_set_new(schema, "properties", properties);
    json_object_set_new(schema, "required", required);
    if (below(maker, 2))
        return schema;
    bool has_others = below(maker, 2);
    maker->has_others |= has_others;
    json_object_set_new(schema, "additionalProperties",
                        has_others ? random_schema(maker) : json_false());
    return schema;
}

static json_t *random_schema(struct maker *maker)
{
    json_t *schema, *list;
    if (maker->depth == 3)
        return below(maker, 2) ? random_string_schema(maker) : random_number_schema(maker);
    maker->depth++;
    switch (below(maker, 8)) {
    case 0:
    case 1:
        schema = random_object_schema(maker);
        break;
    case 2:
        schema = json_pack("{s:s,s:o,s:i,s:i}", "type", "array", "items", random_schema(maker),
                           "minItems", (int)below(maker, 2), "maxItems", 1 + (int)below(maker, 3));
        break;
    case 3:
        list = json_array();
        for (uint64_t i = 1 + below(maker, 4); i > 0; i--)
            json_array_append_new(list, random_scalar(maker));
        schema = json_pack("{s:o}", "enum", list);
        break;
    case 4:
        schema = json_pack("{s:[o,o]}", "anyOf", random_schema(maker), random_schema(maker));
        break;
    case 5:
        schema = json_pack("{s:[s,s]}", "type", "boolean", "null");
        break;
    case 6:
        schema = random_number_schema(maker);
        break;
    default:
        schema = random_string_schema(maker);
    }
    maker->depth--;
    return schema;
}

/* --- what satisfies them, by another way than through a grammar --- */

static bool is_date(const char *text)
{
    struct tm date = {0};
    char back[64];
    if (strlen(text) != 10 ||
        sscanf(text, "%4d-%2d-%2d", &date.tm_year, &date.tm_mon, &date.tm_mday) != 3)
        return false;
    int year = date.tm_year, month = date.tm_mon, day = date.tm_mday;
    date.tm_year -= 1900;
    date.tm_mon--;
    (void)timegm(&date); /* moves days that are not there to where they are */
    snprintf(back, sizeof(back), "%04d-%02d-%02d", year, month, day);
    return date.tm_mday == day && date.tm_mon + 1 == month && strcmp(back, text) == 0;
}

static bool fits_pattern(const char *pattern, const char *text)
{
    regex_t regex;
    char translated[64];
    /* In brackets POSIX takes a backslash for itself. */
    snprintf(translated, sizeof(translated), "%s",
             strcmp(pattern, "^[\\\\/\"x]*$") == 0 ? "^[\\/\"x]*$" : pattern);
    CHECK_EQ(regcomp(&regex, translated, REG_EXTENDED | REG_NOSUB), 0);
    bool fits = regexec(&regex, text, 0, NULL, 0) == 0;
    regfree(&regex);
    return fits;
}

static bool fits_string(const json_t *schema, const json_t *value)
{
    const json_t *min = json_object_get(schema, "minLength"),
                 *max = json_object_get(schema, "maxLength");
    const json_t *pattern = json_object_get(schema, "pattern");
    json_int_t count = (json_int_t)utf8_count(json_slice(value));
    if ((min && count < json_integer_value(min)) || (max && count > json_integer_value(max)))
        return false;
    if (json_object_get(schema, "format") && !is_date(json_string_value(value)))
        return false;
    return !pattern || fits_pattern(json_string_value(pattern), json_string_value(value));
}

static bool fits_number(const json_t *schema, const json_t *value)
{
    const json_t *min = json_object_get(schema, "minimum"),
                 *max = json_object_get(schema, "maximum");
    const json_t *over = json_object_get(schema, "exclusiveMaximum");
    double number = json_number_value(value);
    return (!min || number >= json_number_value(min)) &&
           (!max || number <= json_number_value(max)) &&
           (!over || number < json_number_value(over));
}

static bool fits(const json_t *schema, const json_t *value);

static bool fits_object(const json_t *schema, const json_t *value)
{
    json_t *properties = json_object_get(schema, "properties"), *item;
    json_t *others = json_object_get(schema, "additionalProperties");
    json_t *required = json_object_get(schema, "required");
    const char *key;
    for (size_t i = 0; i < json_array_size(required); i++) {
        if (!json_object_get(value, json_string_value(json_array_get(required, i))))
            return false;
    }
    json_object_foreach((json_t *)value, key, item)
    {
        json_t *of = json_object_get(properties, key);
        of = of ? of : others;
        if (of && !fits(of, item))
            return false;
    }
    return true;
}

static bool fits_array(const json_t *schema, const json_t *value)
{
    size_t count = json_array_size(value);
    for (size_t i = 0; i < count; i++) {
        if (!fits(json_object_get(schema, "items"), json_array_get(value, i)))
            return false;
    }
    return count >= (size_t)json_integer_value(json_object_get(schema, "minItems")) &&
           count <= (size_t)json_integer_value(json_object_get(schema, "maxItems"));
}

static bool fits_named_type(const json_t *schema, const char *type, const json_t *value)
{
    switch (type[0] == 'i' ? 'I' : type[0] == 'n' && type[2] == 'l' ? 'l' : type[0]) {
    case 'o':
        return json_is_object(value) && fits_object(schema, value);
    case 'a':
        return json_is_array(value) && fits_array(schema, value);
    case 's':
        return json_is_string(value) && fits_string(schema, value);
    case 'I':
        return json_is_integer(value) && fits_number(schema, value);
    case 'n':
        return json_is_number(value) && fits_number(schema, value);
    case 'b':
        return json_is_boolean(value);
    default:
        return json_is_null(value);
    }
}

/* 17.0 and 17 are the same number. */
static bool is_equal(const json_t *a, const json_t *b)
{
    if (json_is_number(a) && json_is_number(b))
        return json_number_value(a) == json_number_value(b);
    return json_equal(a, b) != 0;
}

static bool fits(const json_t *schema, const json_t *value)
{
    const json_t *list = json_object_get(schema, "enum"), *any = json_object_get(schema, "anyOf");
    const json_t *type = json_object_get(schema, "type");
    bool fits_one = false;
    if (json_is_boolean(schema))
        return json_is_true(schema);
    for (size_t i = 0; i < json_array_size(list); i++)
        fits_one |= is_equal(json_array_get(list, i), value);
    for (size_t i = 0; i < json_array_size(any); i++)
        fits_one |= fits(json_array_get(any, i), value);
    for (size_t i = 0; i < json_array_size(type); i++)
        fits_one |= fits_named_type(schema, json_string_value(json_array_get(type, i)), value);
    return fits_one ||
           (json_is_string(type) && fits_named_type(schema, json_string_value(type), value));
}

/* A document that is JSON and fits. Of keys that come twice jansson keeps the last: where that can
 * be, such a document counts as well. */
static bool satisfies(const struct maker *maker, const json_t *schema, struct slice text)
{
    json_t *value = NULL;
    if (json_read(text, JSON_DEPTH_MAX, &value, NULL) != ERR_OK) {
        value = maker->has_others ? json_loadb(text.data, text.len, JSON_DECODE_ANY, NULL) : NULL;
        json_decref(value);
        return value != NULL;
    }
    bool is_satisfied = fits(schema, value);
    json_decref(value);
    return is_satisfied;
}

/* --- random words of a grammar --- */

/* A byte that may come next: half of the time one that leads to the end soon. */
static int random_byte(struct maker *maker, struct grammar_match *match)
{
    static const char ends[] = "\"}]:,0123456789-\\";
    int allowed[256], count = 0, good[256], good_count = 0;
    for (int byte = 0; byte < 256; byte++) {
        char bytes[1] = {(char)byte};
        if (grammar_match_check(match, GRAMMAR_NO_TOKEN, slice_of(bytes, 1)) != ERR_OK)
            continue;
        allowed[count++] = byte;
        if (byte > 0 && strchr(ends, byte))
            good[good_count++] = byte;
    }
    if (count == 0)
        return -1;
    return good_count > 0 && below(maker, 2) ? good[below(maker, (uint64_t)good_count)]
                                             : allowed[below(maker, (uint64_t)count)];
}

/* False: it became too long. */
static bool random_word(struct maker *maker, struct grammar *grammar, struct text *out)
{
    struct grammar_match *match = NULL;
    CHECK_OK(grammar_match_new(grammar, NULL, &match));
    bool has_ended = false;
    while (!has_ended && out->len < 600) {
        int byte = random_byte(maker, match);
        has_ended = byte < 0 || (grammar_match_can_end(match) && below(maker, 2));
        if (has_ended)
            break;
        text_add_byte(out, (char)byte);
        CHECK_OK(
            grammar_match_accept(match, GRAMMAR_NO_TOKEN, slice_of(out->data + out->len - 1, 1)));
    }
    CHECK(!has_ended || grammar_match_can_end(match));
    grammar_match_free(match);
    return has_ended;
}

static void check_same(bool ok, const json_t *schema, struct slice word, const char *what)
{
    if (ok)
        return;
    char *text = json_dumps(schema, JSON_COMPACT);
    printf("schema %s\n%s: " SLICE_FMT "\n", text, what, SLICE_ARG(word));
    mem_free(text);
    CHECK(ok);
}

/* Its words are cut, changed and made longer in one byte; those that are then wrong are refused. */
static void corrupt(struct maker *maker, const json_t *schema, struct grammar *grammar,
                    struct text *word)
{
    static const char bytes[] = "\"\\{}[]:,019-.eE \nanbtu\xC3\xA9z";
    if (word->len == 0)
        return;
    size_t at = below(maker, word->len);
    word->data[at] = bytes[below(maker, sizeof(bytes) - 1)];
    if (below(maker, 3) == 0)
        text_shrink(word, word->len - 1);
    if (!satisfies(maker, schema, text_slice(word)))
        check_same(!accepts(grammar, text_slice(word)), schema, text_slice(word), "accepted");
}

static void check_schema(struct maker *maker, size_t *words)
{
    json_t *schema = random_schema(maker);
    char *text = json_dumps(schema, JSON_COMPACT);
    struct text gbnf, word;
    text_init(&gbnf, 1 << 20);
    text_init(&word, 1 << 12);
    enum err err = schema_to_grammar(slice_str(text), &gbnf, NULL);
    text_fini(&gbnf);
    if (err == ERR_OK) { /* else nothing satisfies its bounds */
        struct grammar *grammar = grammar_of(slice_str(text));
        for (int i = 0; i < 8; i++) {
            text_clear(&word);
            if (!random_word(maker, grammar, &word))
                continue;
            check_same(satisfies(maker, schema, text_slice(&word)), schema, text_slice(&word),
                       "made");
            check_same(accepts(grammar, text_slice(&word)), schema, text_slice(&word), "refused");
            corrupt(maker, schema, grammar, &word);
            ++*words;
        }
        grammar_unref(grammar);
    }
    CHECK(err == ERR_OK || err == ERR_REFUSED);
    text_fini(&word);
    mem_free(text);
    json_decref(schema);
}

TEST(every_word_of_the_grammar_satisfies_the_schema_and_corrupted_ones_are_refused)
{
    size_t words = 0;
    for (uint64_t seed = 1; seed <= 120; seed++) {
        struct maker maker = {.random = seed};
        check_schema(&maker, &words);
    }
    CHECK(words > 500);
}
