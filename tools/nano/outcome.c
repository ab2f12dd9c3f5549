/* outcome - shapes of tool results. */
#include "nano/outcome.h"

#include "base/json.h"
#include "nano/coin.h"
#include "nano/words.h"

enum { OUTCOME_BYTES_MAX = 4096, KEYS_MAX = 5, ITEMS_MAX = 4 };

static const struct parameter keys[] = {
    {"temperature", "number", THING_DECIMAL},
    {"humidity", "integer", THING_COUNT},
    {"sky", "string", THING_WORD, "sunny|cloudy|rainy|windy|clear|foggy"},
    {"wind_speed", "number", THING_NUMBER},
    {"city", "string", THING_CITY},
    {"price", "number", THING_DECIMAL},
    {"state", "string", THING_WORD, "open|closed|running|stopped|pending|shipped|ready"},
    {"id", "string", THING_ID},
    {"total", "number", THING_NUMBER},
    {"name", "string", THING_TITLE},
    {"owner", "string", THING_PERSON},
    {"email", "string", THING_EMAIL},
    {"date", "string", THING_DATE},
    {"time", "string", THING_TIME},
    {"version", "string", THING_VERSION},
    {"host", "string", THING_HOST},
    {"path", "string", THING_PATH},
    {"url", "string", THING_URL},
    {"load", "number", THING_DECIMAL},
    {"free_gb", "integer", THING_INTEGER},
    {"size", "integer", THING_INTEGER},
    {"latency_ms", "integer", THING_INTEGER},
    {"message", "string", THING_SENTENCE},
    {"currency", "string", THING_CURRENCY},
    {"score", "number", THING_DECIMAL},
    {"author", "string", THING_PERSON},
    {"title", "string", THING_PHRASE},
    {"updated_at", "string", THING_DATE},
    {"rows", "integer", THING_INTEGER},
    {"translation", "string", THING_PHRASE},
    {"service", "string", THING_SERVICE},
    {"address", "string", THING_IP},
    {"language", "string", THING_LANGUAGE},
    {"duration", "integer", THING_COUNT},
    {"balance", "number", THING_NUMBER},
    {"active", "boolean", THING_WORD, "true|false"},
    {"enabled", "boolean", THING_WORD, "true|false"},
    {"file", "string", THING_FILE},
    {"value", "number", THING_NUMBER},
    {"topic", "string", THING_TERM},
};
static const char *const wrappers[] = {"data", "result", "response", "current", "details",
                                       "item", "output", "payload",  "info",    "record"};
static const char *const list_keys[] = {"results", "items", "entries", "rows", "hits",
                                        "files",   "names", "matches", "data", "values"};
static const char *const failures[] = {
    "not found",           "permission denied",     "timed out",      "invalid argument",
    "service unavailable", "rate limit exceeded",   "quota exceeded", "unknown error",
    "connection refused",  "authentication failed",
};

void outcome_init(struct outcome *outcome)
{
    *outcome = (struct outcome){0};
    text_init(&outcome->answer, OUTCOME_BYTES_MAX);
    text_init(&outcome->sentence, OUTCOME_BYTES_MAX);
    text_init(&outcome->bytes, OUTCOME_BYTES_MAX);
}

void outcome_fini(struct outcome *outcome)
{
    text_fini(&outcome->answer);
    text_fini(&outcome->sentence);
    text_fini(&outcome->bytes);
}

struct slice outcome_value(const struct outcome *outcome, size_t index)
{
    ASSERT(index < outcome->value_count);
    return slice_of(outcome->bytes.data + outcome->values[index].begin, outcome->values[index].len);
}

/* -- values ----------------------------------------------------------------- */

/* What was added to outcome->bytes from `begin` on. */
static struct slice end_value(struct outcome *outcome, size_t begin)
{
    ASSERT(outcome->value_count < OUTCOME_VALUES_MAX);
    size_t index = outcome->value_count++;
    outcome->values[index].begin = (uint32_t)begin;
    outcome->values[index].len = (uint32_t)(outcome->bytes.len - begin);
    return outcome_value(outcome, index);
}

static struct slice add_value(struct outcome *outcome, const struct parameter *key,
                              struct choice *choice, enum split split)
{
    size_t begin = outcome->bytes.len;
    parameter_add_value(&outcome->bytes, key, choice, split);
    return end_value(outcome, begin);
}

enum { LIST_KEY_PERCENT = 45 };

/* A key from the list, or a made-up one in `scratch`. */
static struct parameter draw_key(struct text *scratch, struct choice *choice, enum split split)
{
    struct parameter key = LIST_PART(choice, keys, split);
    if (!choice_percent(choice, LIST_KEY_PERCENT)) {
        size_t begin = scratch->len;
        coin_add_field(scratch, choice, split);
        text_add_byte(scratch, 0);
        key.name = scratch->data + begin;
    }
    return key;
}

/* ", " or " and " before the last of several. */
static void add_joint(struct text *out, size_t index, size_t count)
{
    if (index > 0)
        text_add_str(out, index + 1 == count ? " and " : ", ");
}

struct fields {
    struct parameter keys[KEYS_MAX];
    size_t count;
    struct text names;
};

static bool has_key(const struct fields *fields, const char *name)
{
    for (size_t i = 0; i < fields->count; i++) {
        if (strcmp(fields->keys[i].name, name) == 0)
            return true;
    }
    return false;
}

static void draw_fields(struct fields *out, size_t count, struct choice *choice, enum split split)
{
    out->count = 0;
    text_init(&out->names, 1024);
    ASSERT(text_reserve(&out->names, 1024 - 1)); /* names are pointed into: they must not move */
    while (out->count < count) {
        struct parameter key = draw_key(&out->names, choice, split);
        if (!has_key(out, key.name))
            out->keys[out->count++] = key;
    }
}

/* "a": 1, "b": "x" and, in the sentence, "the a is 1 and the b is x". */
static void add_fields(struct outcome *outcome, const struct fields *fields, struct choice *choice,
                       enum split split)
{
    for (size_t i = 0; i < fields->count; i++) {
        const struct parameter *key = &fields->keys[i];
        struct slice value = add_value(outcome, key, choice, split);
        text_add_f(&outcome->answer, "%s\"%s\": ", i ? ", " : "", key->name);
        parameter_add_json(&outcome->answer, key, value);
        add_joint(&outcome->sentence, i, fields->count);
        text_add_str(&outcome->sentence, outcome->sentence.len ? "the " : "The ");
        word_add_spaced(&outcome->sentence, key->name);
        text_add_str(&outcome->sentence, " is ");
        text_add(&outcome->sentence, value);
    }
}

/* -- shapes ----------------------------------------------------------------- */

typedef void shape_fn(struct outcome *outcome, struct choice *choice, enum split split);

static void make_flat(struct outcome *outcome, struct choice *choice, enum split split)
{
    struct fields fields;
    draw_fields(&fields, choice_below(choice, 4) + 1, choice, split);
    text_add_byte(&outcome->answer, '{');
    add_fields(outcome, &fields, choice, split);
    text_add_byte(&outcome->answer, '}');
    text_add_byte(&outcome->sentence, '.');
    text_fini(&fields.names);
}

static void make_nested(struct outcome *outcome, struct choice *choice, enum split split)
{
    bool has_status = choice_percent(choice, 40);
    text_add_f(&outcome->answer, "{%s\"%s\": ", has_status ? "\"ok\": true, " : "",
               LIST_PART(choice, wrappers, split));
    make_flat(outcome, choice, split);
    text_add_byte(&outcome->answer, '}');
}

/* {"result": 42}, 42, or a line of text. */
static void make_scalar(struct outcome *outcome, struct choice *choice, enum split split)
{
    static const struct parameter scalars[] = {
        {"result", "number", THING_NUMBER},   {"result", "number", THING_DECIMAL},
        {"result", "string", THING_PHRASE},   {"result", "string", THING_SENTENCE},
        {"result", "integer", THING_INTEGER}, {"result", "string", THING_TIME},
    };
    struct parameter key = CHOICE_OF(choice, scalars);
    struct slice value = add_value(outcome, &key, choice, split);
    switch (choice_below(choice, 3)) {
    case 0:
        text_add_str(&outcome->answer, "{\"result\": ");
        parameter_add_json(&outcome->answer, &key, value);
        text_add_byte(&outcome->answer, '}');
        break;
    case 1:
        parameter_add_json(&outcome->answer, &key, value);
        break;
    default:
        text_add(&outcome->answer, value);
    }
    text_add_str(&outcome->sentence, "The result is ");
    text_add(&outcome->sentence, value);
    text_add_byte(&outcome->sentence, '.');
}

/* [.., ..] bare, or {"items": [..]}, or with a count. Returns what closes it. */
static const char *begin_list(struct outcome *outcome, size_t count, struct choice *choice,
                              enum split split)
{
    text_add_f(&outcome->sentence, "I found %zu result%s: ", count, count == 1 ? "" : "s");
    if (choice_percent(choice, 35)) {
        text_add_byte(&outcome->answer, '[');
        return "]";
    }
    text_add_byte(&outcome->answer, '{');
    if (choice_percent(choice, 30))
        text_add_f(&outcome->answer, "\"count\": %zu, ", count);
    text_add_f(&outcome->answer, "\"%s\": [", LIST_PART(choice, list_keys, split));
    return "]}";
}

static void make_list(struct outcome *outcome, struct choice *choice, enum split split)
{
    struct parameter key = {
        "item", "string",
        CHOICE_OF(choice, ((const enum thing[]){THING_FILE, THING_TITLE, THING_PERSON, THING_PHRASE,
                                                THING_SERVICE, THING_ID}))};
    size_t count = choice_below(choice, ITEMS_MAX) + 1;
    const char *end = begin_list(outcome, count, choice, split);
    for (size_t i = 0; i < count; i++) {
        struct slice value = add_value(outcome, &key, choice, split);
        text_add_str(&outcome->answer, i ? ", " : "");
        json_add_string(&outcome->answer, value);
        add_joint(&outcome->sentence, i, count);
        text_add(&outcome->sentence, value);
    }
    text_add_str(&outcome->answer, end);
    text_add_byte(&outcome->sentence, '.');
}

/* One of a list of objects: {"name": "x", "price": 3} and "name x, price 3". */
static void add_entry(struct outcome *outcome, const struct fields *fields, struct choice *choice,
                      enum split split)
{
    text_add_byte(&outcome->answer, '{');
    for (size_t i = 0; i < fields->count; i++) {
        const struct parameter *key = &fields->keys[i];
        struct slice value = add_value(outcome, key, choice, split);
        text_add_f(&outcome->answer, "%s\"%s\": ", i ? ", " : "", key->name);
        parameter_add_json(&outcome->answer, key, value);
        text_add_str(&outcome->sentence, i ? ", " : "");
        word_add_spaced(&outcome->sentence, key->name);
        text_add_byte(&outcome->sentence, ' ');
        text_add(&outcome->sentence, value);
    }
    text_add_byte(&outcome->answer, '}');
}

static void make_entries(struct outcome *outcome, struct choice *choice, enum split split)
{
    struct fields fields;
    draw_fields(&fields, choice_below(choice, 2) + 2, choice, split);
    size_t count = choice_below(choice, 3) + 1;
    const char *end = begin_list(outcome, count, choice, split);
    for (size_t i = 0; i < count; i++) {
        text_add_str(&outcome->answer, i ? ", " : "");
        text_add_str(&outcome->sentence, i ? "; " : "");
        add_entry(outcome, &fields, choice, split);
    }
    text_add_str(&outcome->answer, end);
    text_add_byte(&outcome->sentence, '.');
    text_fini(&fields.names);
}

static struct slice add_failure(struct outcome *outcome, struct choice *choice, enum split split)
{
    size_t begin = outcome->bytes.len;
    if (choice_percent(choice, 50)) {
        invent(&outcome->bytes,
               CHOICE_OF(choice, ((const enum thing[]){THING_SERVICE, THING_TERM, THING_PATH,
                                                       THING_HOST, THING_ID})),
               choice, split);
        text_add_str(&outcome->bytes, choice_percent(choice, 50) ? " " : ": ");
    }
    text_add_str(&outcome->bytes, LIST_PART(choice, failures, split));
    return end_value(outcome, begin);
}

static void make_error(struct outcome *outcome, struct choice *choice, enum split split)
{
    static const char *const shapes[][2] = {
        {"{\"error\": \"", "\"}"},
        {"{\"error\": {\"message\": \"", "\"}}"},
        {"{\"error\": {\"code\": 404, \"message\": \"", "\"}}"},
        {"{\"ok\": false, \"error\": \"", "\"}"},
        {"{\"success\": false, \"message\": \"", "\"}"},
        {"{\"status\": \"error\", \"message\": \"", "\"}"},
        {"{\"status\": \"failed\", \"reason\": \"", "\"}"},
        {"Error: ", ""},
        {"error: ", ""},
        {"{\"detail\": \"", "\", \"status\": 500}"},
    };
    const char *const *shape = CHOICE_OF(choice, shapes);
    struct slice failure = add_failure(outcome, choice, split);
    text_add_str(&outcome->answer, shape[0]);
    text_add(&outcome->answer, failure); /* nothing in it needs an escape */
    text_add_str(&outcome->answer, shape[1]);
    text_add_f(&outcome->sentence, "That did not work: " SLICE_FMT ".", SLICE_ARG(failure));
}

static void make_empty(struct outcome *outcome, struct choice *choice, enum split split)
{
    static const char *const bare[] = {"[]", "{}", "null", "[]"};
    if (choice_percent(choice, 40))
        text_add_str(&outcome->answer, CHOICE_OF(choice, bare));
    else
        text_add_f(&outcome->answer, "{%s\"%s\": []}",
                   choice_percent(choice, 40) ? "\"count\": 0, " : "",
                   LIST_PART(choice, list_keys, split));
    text_add_str(&outcome->sentence, "Nothing was found.");
    size_t begin = outcome->bytes.len;
    text_add_str(&outcome->bytes, "othing");
    (void)end_value(outcome, begin);
}

static void make_done(struct outcome *outcome, struct choice *choice, enum split split)
{
    static const char *const shapes[] = {"{\"ok\": true", "{\"success\": true",
                                         "{\"status\": \"ok\"", "{\"status\": \"success\""};
    text_add_str(&outcome->answer, CHOICE_OF(choice, shapes));
    size_t begin = outcome->bytes.len;
    text_add_str(&outcome->bytes, "Done");
    text_add(&outcome->sentence, end_value(outcome, begin));
    if (choice_percent(choice, 60)) {
        struct fields fields;
        draw_fields(&fields, choice_below(choice, 2) + 1, choice, split);
        text_add_str(&outcome->answer, ", ");
        text_add_str(&outcome->sentence, ": ");
        add_fields(outcome, &fields, choice, split);
        text_fini(&fields.names);
    }
    text_add_byte(&outcome->answer, '}');
    text_add_byte(&outcome->sentence, '.');
}

static void draw_outcome(struct outcome *outcome, struct choice *choice, enum split split)
{
    static shape_fn *const shapes[] = {
        make_flat,    make_flat,    make_flat,  make_nested, make_nested, make_list,  make_list,
        make_entries, make_entries, make_error, make_empty,  make_done,   make_scalar};
    text_clear(&outcome->answer);
    text_clear(&outcome->sentence);
    text_clear(&outcome->bytes);
    outcome->value_count = 0;
    CHOICE_OF(choice, shapes)(outcome, choice, split);
    ASSERT(text_status(&outcome->answer) == ERR_OK && text_status(&outcome->sentence) == ERR_OK &&
           text_status(&outcome->bytes) == ERR_OK);
}

void outcome_add_round(struct outcome *outcome, struct sample *sample, const struct tool *tool,
                       struct choice *choice, enum split split)
{
    struct wish wish;
    struct text call;
    wish_init(&wish);
    text_init(&call, WISH_BYTES_MAX);
    wish_make(&wish, tool, choice, split);
    tool_add_call(&call, tool, &wish);
    draw_outcome(outcome, choice, split);
    sample_say(sample, SPEAKER_USER, text_slice(&wish.words));
    sample_say(sample, SPEAKER_ASSISTANT, text_slice(&call));
    sample_say(sample, SPEAKER_TOOL, text_slice(&outcome->answer));
    sample_say(sample, SPEAKER_ASSISTANT, text_slice(&outcome->sentence));
    text_fini(&call);
    wish_fini(&wish);
}
