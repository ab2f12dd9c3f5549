/* schema_string - strings: by length, by format, by pattern. */
#include "grammar/schema_impl.h"

/* RFC 3339, each day one that there is: 29 February in leap years only. */
#define DATE                                                                                       \
    "([0-9]{4} \"-\" ((\"0\" [13578] | \"10\" | \"12\") \"-\" (\"0\" [1-9] | [12] [0-9] | \"3\" "  \
    "[01]) | (\"0\" [469] | \"11\") \"-\" (\"0\" [1-9] | [12] [0-9] | \"30\") | \"02-\" (\"0\" "   \
    "[1-9] | \"1\" [0-9] | \"2\" [0-8])) | ([0-9]{2} (\"0\" [48] | [2468] [048] | [13579] [26]) "  \
    "| (\"0\" [048] | [2468] [048] | [13579] [26]) \"00\") \"-02-29\")"
#define HOURS "([01] [0-9] | \"2\" [0-3]) \":\" [0-5] [0-9]"
#define TIME  HOURS " \":\" [0-5] [0-9] (\".\" [0-9]{1,9})? (\"Z\" | [+-] " HOURS ")"
#define BYTE  "([0-9] | [1-9] [0-9] | \"1\" [0-9]{2} | \"2\" [0-4] [0-9] | \"25\" [0-5])"

static const struct {
    const char *name, *grammar;
} formats[] = {{"date", DATE},
               {"time", TIME},
               {"date-time", DATE " \"T\" " TIME},
               {"uuid", "hex{8} \"-\" hex{4} \"-\" hex{4} \"-\" hex{4} \"-\" hex{12}"},
               {"ipv4", BYTE " (\".\" " BYTE "){3}"}};

enum err schema_read_count(struct conversion *conversion, const json_t *schema, const char *keyword,
                           uint32_t *out_count)
{
    const json_t *value = json_object_get(schema, keyword);
    if (!value)
        return ERR_OK;
    if (!json_is_integer(value) || json_integer_value(value) < 0)
        return schema_fail(conversion, ERR_PROTOCOL, "%s: expected an integer of at least 0",
                           keyword);
    if (json_integer_value(value) > GRAMMAR_REPEAT_MAX)
        return schema_fail(conversion, ERR_LIMIT, "%s: %lld: at most %d is supported", keyword,
                           (long long)json_integer_value(value), GRAMMAR_REPEAT_MAX);
    *out_count = (uint32_t)json_integer_value(value);
    return ERR_OK;
}

static enum err add_lengths(struct conversion *conversion, const json_t *schema)
{
    uint32_t min = 0, max = UINT32_MAX;
    TRY(schema_read_count(conversion, schema, "minLength", &min));
    TRY(schema_read_count(conversion, schema, "maxLength", &max));
    if (min > max)
        return schema_fail(conversion, ERR_REFUSED, "nothing satisfies its lengths");
    if (max == UINT32_MAX)
        text_add_f(conversion->out, "\"\\\"\" char{%u,} \"\\\"\"", min);
    else
        text_add_f(conversion->out, "\"\\\"\" char{%u,%u} \"\\\"\"", min, max);
    return ERR_OK;
}

static enum err add_format(struct conversion *conversion, const json_t *schema)
{
    struct slice name = json_slice(json_object_get(schema, "format"));
    for (size_t i = 0; i < ARRAY_COUNT(formats); i++) {
        if (!slice_eq_str(name, formats[i].name))
            continue;
        text_add_f(conversion->out, "\"\\\"\" (%s) \"\\\"\"", formats[i].grammar);
        return ERR_OK;
    }
    return schema_fail(conversion, ERR_REFUSED,
                       "format: supported are date, time, date-time, uuid, ipv4");
}

static enum err add_pattern(struct conversion *conversion, const json_t *schema)
{
    const json_t *pattern = json_object_get(schema, "pattern");
    const char *words = NULL;
    if (!json_is_string(pattern))
        return schema_fail(conversion, ERR_PROTOCOL, "pattern: expected a string");
    text_add_str(conversion->out, "\"\\\"\" ");
    enum err err = schema_add_pattern(json_slice(pattern), conversion->out, &words);
    if (err != ERR_OK)
        return schema_fail(conversion, err, "pattern: %s", words);
    text_add_str(conversion->out, " \"\\\"\"");
    return ERR_OK;
}

enum err schema_add_string(struct conversion *conversion, const json_t *schema)
{
    bool has_length = json_object_get(schema, "minLength") || json_object_get(schema, "maxLength");
    bool has_format = json_object_get(schema, "format"),
         has_pattern = json_object_get(schema, "pattern");
    if (has_length + has_format + has_pattern > 1)
        return schema_fail(conversion, ERR_REFUSED,
                           "only one of length, format and pattern is supported at a time");
    if (has_format)
        return add_format(conversion, schema);
    if (has_pattern)
        return add_pattern(conversion, schema);
    if (has_length)
        return add_lengths(conversion, schema);
    text_add_str(conversion->out, "string");
    return ERR_OK;
}
