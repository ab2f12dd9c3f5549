/* values - "as JSON, please": objects and arrays of given values.
 *
 * Held out: every fifth name of a key, sentence and wording; made-up values (words.h). */
#include "nano/coin.h"
#include "nano/opening.h"
#include "nano/phrase.h"
#include "nano/words.h"

#include "base/json.h"

enum { FIELDS_MAX = 6, ITEMS_MAX = 10 };

static const char *const keys[] = {
    "name",       "age",        "city",      "country",   "email",       "id",       "price",
    "count",      "total",      "color",     "size",      "weight",      "height",   "status",
    "title",      "author",     "year",      "month",     "day",         "date",     "time",
    "phone",      "zip",        "street",    "active",    "enabled",     "done",     "paid",
    "visible",    "score",      "level",     "rank",      "speed",       "limit",    "offset",
    "page",       "tag",        "type",      "kind",      "version",     "port",     "host",
    "path",       "user",       "owner",     "team",      "role",        "group",    "model",
    "brand",      "amount",     "unit",      "rate",      "temperature", "pressure", "lat",
    "lon",        "message",    "comment",   "note",      "label",       "key",      "value",
    "code",       "first_name", "last_name", "user_id",   "order_id",    "is_admin", "max_tokens",
    "created_at", "unit_price", "in_stock",  "file_name", "line_count",  "is_open",  "retry_after",
    "birthYear",  "firstName",  "lastName",  "userId",    "isActive",    "zipCode",  "maxSize",
    "minValue",   "createdBy",  "quantity",  "currency",  "language",    "priority", "deadline",
    "capacity",   "duration",   "distance",  "category",  "address",     "company",  "product",
    "state",      "salary",     "mode",      "timeout",   "width",       "depth",    "length",
    "volume",     "fuel",       "engine",    "genre",     "rating",      "reviews",
};
static const char *const groups[] = {
    "user",    "address",  "config", "meta",   "owner",  "settings", "product",
    "server",  "position", "author", "limits", "item",   "point",    "profile",
    "options", "contact",  "device", "range",  "parent", "details",
};

/* {x}: "name is Mia, age is 42". */
static const char *const object_words[] = {
    "[Make|Create|Write|Give me|Build|Produce] a JSON object: {x}",
    "[Make|Create|Write|Give me|Build] [a JSON object|JSON|a JSON] with {x}",
    "JSON[:| object:| please:| for:| with] {x}",
    "[As|In] JSON[| please]: {x}",
    "[Turn|Convert|Put|Write] [this|the following] [in]to JSON: {x}",
    "[Please make|Please give me|I need|I want] [a JSON object|JSON] [with|for|of] {x}",
    "{x}\\n[As JSON|In JSON|Give it as JSON|Write that as JSON|JSON of that][|, please].",
    "[Write|Give|Format|Say] [this|these values|these fields] as [JSON|a JSON object]: {x}",
    "[Can|Could] you [give|make|write] [me |]JSON [of|for|from][:| this:] {x}",
    "[What is|What would be] the JSON [for|of]: {x}",
    "[Return|Answer with|Reply with|Respond with] [JSON only|only JSON|a JSON object|JSON]: {x}",
    "[Object|Fields|Values|Data]: {x}\\n[JSON|To JSON|As JSON][| please].",
    "[Build|Make] an object in JSON [of|from] [the values|the fields|these]: {x}",
    "[Encode|Serialize|Express] as JSON: {x}",
    "[From|Out of] [this|these values], make [JSON|a JSON object]: {x}",
    "[A|One] JSON object [with|of|for] {x}[|, please]",
    "[json|JSON] {x}",
    "[Show|Print|Output] [this |]as JSON: {x}",
    "[I have|There are|Here are] {x}. [Make JSON of it|As a JSON object|Give me the JSON].",
    "[Format|Put] [the following|it] as [a |]JSON[ object|]: {x}",
};
static const char *const array_words[] = {
    "[Make|Create|Write|Give me|Build] a JSON [array|list] [of|with][|:] {x}",
    "JSON [array|list][:| of| with] {x}",
    "[Put|Write|Turn|Convert] [this|these|the following] [in]to a JSON [array|list]: {x}",
    "[As|In] a JSON [array|list]: {x}",
    "{x}\\n[As a JSON array|As a JSON list|Give it as a JSON array][|, please].",
    "[Please make|I need|I want|Please give me] a JSON [array|list] [of|with|from]: {x}",
    "[Return|Answer with|Output] [only |]a JSON [array|list][:| of:] {x}",
    "[List|Items|Values]: {x}\\n[JSON array|As a JSON array|To a JSON list].",
    "[Can|Could] you [make|give me|write] a JSON [array|list] [of|from] {x}?",
    "[Format|Write|Encode] {x} as a JSON [array|list][|.]",
};
/* Sentences of a thing, with the object that they tell. */
static const struct {
    const char *said, *json;
} tales[] = {
    {"{person} is {small} years old and lives in {city}",
     "{\"name\": \"{person}\", \"age\": {small}, \"city\": \"{city}\"}"},
    {"{person} {surname} [works|is working] in {city} [since|from] {year}",
     "{\"first_name\": \"{person}\", \"last_name\": \"{surname}\", \"city\": \"{city}\", "
     "\"since\": {year}}"},
    {"[the|a] {thing} costs {price} and {small} of them are in stock",
     "{\"product\": \"{thing}\", \"price\": {price}, \"stock\": {small}}"},
    {"{person} [bought|ordered] {small} pieces of {thing} for {price}",
     "{\"customer\": \"{person}\", \"product\": \"{thing}\", \"count\": {small}, \"price\": "
     "{price}}"},
    {"the temperature in {city} is {degrees} degrees",
     "{\"city\": \"{city}\", \"temperature\": {degrees}}"},
    {"{person} from {city} has the number {number}",
     "{\"name\": \"{person}\", \"city\": \"{city}\", \"number\": {number}}"},
    {"the server {word} listens on port {number} and is {state}",
     "{\"server\": \"{word}\", \"port\": {number}, \"status\": \"{state}\"}"},
    {"[the file|file] {id} has {number} lines", "{\"file\": \"{id}\", \"lines\": {number}}"},
    {"{person} gave {thing} number {number} to {surname} in {year}",
     "{\"from\": \"{person}\", \"to\": \"{surname}\", \"thing\": \"{thing}\", \"number\": "
     "{number}, "
     "\"year\": {year}}"},
    {"the meeting with {person} in {city} [takes|lasts] {small} minutes",
     "{\"person\": \"{person}\", \"city\": \"{city}\", \"minutes\": {small}}"},
};
static const char *const tale_words[] = {
    "{x}. [As|In] JSON[| please], with {keys}.",
    "[Make|Give me|Write] JSON with {keys}: {x}.",
    "[Extract|Read|Take] {keys} as JSON: {x}.",
    "{x}.\\n[JSON|A JSON object] with the [keys|fields] {keys}[|, please].",
    "[Turn|Put] [this|the sentence] into JSON with {keys}: \"{x}.\"",
};

/* A request in the making: what is said, and what is right. */
struct request {
    struct text said, json;
};

static void add_key(struct text *out, struct choice *choice, enum split split)
{
    size_t kind = choice_below(choice, 100);
    if (kind < 40) {
        text_add_str(out, LIST_PART(choice, keys, split));
    } else if (kind < 60) {
        coin_add_word(out, choice, split);
    } else if (kind < 80) {
        coin_add_name(out, choice, split);
    } else {
        word_add_syllables(out, choice, split, 1, 3);
        if (choice_percent(choice, 20)) {
            text_add_byte(out, '_');
            word_add_syllables(out, choice, split, 1, 2);
        }
    }
}

/* Decimal, and never "-0", "007" or "1,204": what JSON cannot write. */
static void add_json_number(struct text *out, struct choice *choice)
{
    size_t kind = choice_below(choice, 10);
    if (kind < 2)
        text_add_byte(out, '-');
    size_t begin = out->len;
    do {
        text_shrink(out, begin);
        word_add_digits(out, choice, word_log_uniform(choice, 1, 7));
    } while (out->data[begin] == '0');
    if (kind == 1 || kind > 7) {
        text_add_byte(out, '.');
        word_add_digits(out, choice, (size_t)choice_between(choice, 1, 3));
        if (out->data[out->len - 1] == '0')
            out->data[out->len - 1] = '5';
    }
}

static void add_words(struct text *out, struct choice *choice, enum split split)
{
    size_t count = (size_t)choice_between(choice, 2, 5);
    for (size_t i = 0; i < count; i++) {
        text_add_str(out, i ? " " : "");
        if (choice_percent(choice, 40))
            word_add_syllables(out, choice, split, 1, 3);
        else
            word_add_english(out, choice);
    }
}

/* Strings that JSON must escape, said between single quotes. */
static void add_awkward(struct text *out, struct choice *choice, enum split split)
{
    switch (choice_below(choice, 3)) {
    case 0:
        add_words(out, choice, split);
        text_add_str(out, " \"");
        word_add_syllables(out, choice, split, 1, 3);
        text_add_str(out, "\"");
        break;
    case 1:
        text_add_str(out, choice_percent(choice, 50) ? "C:\\" : "D:\\");
        word_add_syllables(out, choice, split, 1, 3);
        text_add_byte(out, '\\');
        word_add_syllables(out, choice, split, 1, 3);
        break;
    default:
        text_add_byte(out, '"');
        word_add_syllables(out, choice, split, 1, 3);
        text_add_str(out, "\" ");
        add_words(out, choice, split);
    }
}

static void say_string(struct request *request, struct slice string, const char *quote)
{
    text_add_str(&request->said, quote);
    text_add(&request->said, string);
    text_add_str(&request->said, quote);
    json_add_string(&request->json, string);
}

static void add_string(struct request *request, struct choice *choice, enum split split)
{
    struct text string;
    const char *quote = choice_percent(choice, 15) ? "\"" : "";
    text_init(&string, 256);
    switch (choice_below(choice, 12)) {
    case 0:
    case 1:
        text_add_str(&string, word_person(choice, split));
        break;
    case 2:
        text_add_str(&string, word_city(choice, split));
        break;
    case 3:
        text_add_str(&string, word_thing(choice, split));
        break;
    case 4:
        word_add_id(&string, choice, split);
        quote = "\""; /* else 12e4 would be a number */
        break;
    case 5:
        add_words(&string, choice, split);
        break;
    case 6:
        add_awkward(&string, choice, split);
        quote = "'";
        break;
    case 7: /* a string because of its quotes */
        add_json_number(&string, choice);
        quote = "\"";
        break;
    case 8:
        word_add_foreign(&string, choice);
        break;
    default:
        word_add_syllables(&string, choice, split, 1, 4);
        if (choice_percent(choice, 40))
            word_capital(&string, 0);
    }
    say_string(request, text_slice(&string), quote);
    text_fini(&string);
}

static void add_same(struct request *request, const char *bytes)
{
    text_add_str(&request->said, bytes);
    text_add_str(&request->json, bytes);
}

static void add_scalar(struct request *request, struct choice *choice, enum split split)
{
    size_t kind = choice_below(choice, 100);
    if (kind < 50) {
        add_string(request, choice, split);
    } else if (kind < 82) {
        struct text number;
        text_init(&number, 64);
        add_json_number(&number, choice);
        text_add(&request->said, text_slice(&number));
        text_add(&request->json, text_slice(&number));
        text_fini(&number);
    } else if (kind < 94) {
        add_same(request, choice_percent(choice, 50) ? "true" : "false");
    } else {
        add_same(request, "null");
    }
}

/* The items of an array, of one sort or mixed. */
static void add_items(struct request *request, struct choice *choice, enum split split,
                      size_t count, const char *separator)
{
    size_t sort = choice_below(choice, 4);
    text_add_byte(&request->json, '[');
    for (size_t i = 0; i < count; i++) {
        text_add_str(&request->said, i ? separator : "");
        text_add_str(&request->json, i ? ", " : "");
        if (sort < 2) {
            add_string(request, choice, split);
        } else if (sort == 2) {
            size_t begin = request->said.len;
            add_json_number(&request->said, choice);
            text_add(&request->json,
                     slice_of(request->said.data + begin, request->said.len - begin));
        } else {
            add_scalar(request, choice, split);
        }
    }
    text_add_byte(&request->json, ']');
}

/* How a list of fields is written. */
struct style {
    const char *link, *separator,
        *last; /* between key and value, between fields, before the last */
};

static struct style draw_style(struct choice *choice)
{
    static const struct style styles[] = {
        {" is ", ", ", " and "}, {" is ", ", ", ", "},    {" = ", ", ", ", "},
        {"=", ", ", ", "},       {": ", ", ", ", "},      {": ", "\n", "\n"},
        {" ", ", ", " and "},    {"=", " ", " "},         {" = ", "\n", "\n"},
        {": ", "; ", "; "},      {" ", ", ", ", "},       {" -> ", ", ", ", "},
        {" is ", "; ", "; "},    {" of ", ", ", " and "},
    };
    return CHOICE_OF(choice, styles);
}

/* A key that the object does not have yet: one of JSON's keys counts once. */
static void add_new_key(struct request *request, struct choice *choice, enum split split,
                        struct text *used)
{
    struct text key;
    text_init(&key, 128);
    do {
        text_clear(&key);
        text_add_byte(&key, ' ');
        add_key(&key, choice, split);
        text_add_byte(&key, ' ');
    } while (slice_find(text_slice(used), text_slice(&key)) != SLICE_NPOS);
    text_add(used, text_slice(&key));
    struct slice bare = slice_trim(text_slice(&key));
    text_add(&request->said, bare);
    json_add_string(&request->json, bare);
    text_fini(&key);
}

static void add_fields(struct request *request, struct choice *choice, enum split split,
                       size_t count, const struct style *style, bool has_arrays)
{
    struct text used;
    text_init(&used, 1024);
    text_add_byte(&request->json, '{');
    for (size_t i = 0; i < count; i++) {
        if (i > 0) {
            text_add_str(&request->said, i + 1 == count ? style->last : style->separator);
            text_add_str(&request->json, ", ");
        }
        add_new_key(request, choice, split, &used);
        text_add_str(&request->said, style->link);
        text_add_str(&request->json, ": ");
        if (has_arrays && choice_percent(choice, 18)) {
            text_add_byte(&request->said, '[');
            add_items(request, choice, split, (size_t)choice_between(choice, 1, 4), ", ");
            text_add_byte(&request->said, ']');
        } else {
            add_scalar(request, choice, split);
        }
    }
    text_add_byte(&request->json, '}');
    text_fini(&used);
}

static void make_object(struct request *request, struct choice *choice, enum split split)
{
    struct style style = draw_style(choice);
    size_t count = word_log_uniform(choice, 1, FIELDS_MAX);
    add_fields(request, choice, split, count, &style, true);
}

static bool has_key(struct slice json, const char *key)
{
    struct text quoted;
    text_init(&quoted, 128);
    text_add_f(&quoted, "\"%s\": ", key);
    bool found = slice_find(json, text_slice(&quoted)) != SLICE_NPOS;
    text_fini(&quoted);
    return found;
}

/* "user with name Mia and age 42, and active true" */
static void make_nested(struct request *request, struct choice *choice, enum split split)
{
    static const char *const withs[] = {" with ", " (", ": (", " = {", " has ", ": {"};
    struct style style = draw_style(choice);
    size_t with = choice_below(choice, ARRAY_COUNT(withs));
    style.separator = style.last = ", ";
    struct request outer;
    text_init(&outer.said, 4096);
    text_init(&outer.json, 4096);
    size_t outside = choice_below(choice, 3);
    if (outside > 0)
        add_fields(&outer, choice, split, outside, &style, false);
    const char *group;
    do /* "address" may be a key outside, too */
        group = LIST_PART(choice, groups, split);
    while (has_key(text_slice(&outer.json), group));
    /* The fields outside come first; their object is closed behind the one inside. */
    text_add(&request->said, text_slice(&outer.said));
    text_add_str(&request->said, outside ? ", " : "");
    if (outside > 0)
        text_add(&request->json, slice_first(text_slice(&outer.json), outer.json.len - 1));
    text_add_f(&request->said, "%s%s", group, withs[with]);
    text_add_f(&request->json, "%s\"%s\": ", outside ? ", " : "{", group);
    add_fields(request, choice, split, (size_t)choice_between(choice, 1, 3), &style, false);
    text_add_str(&request->said, strchr(withs[with], '(')   ? ")"
                                 : strchr(withs[with], '{') ? "}"
                                                            : "");
    text_add_byte(&request->json, '}');
    text_fini(&outer.said);
    text_fini(&outer.json);
}

static void make_array(struct request *request, struct choice *choice, enum split split)
{
    static const char *const separators[] = {", ", ", ", ", ", "; ", "\n", " | "};
    add_items(request, choice, split, word_log_uniform(choice, 1, ITEMS_MAX),
              CHOICE_OF(choice, separators));
}

/* "name and age: Mia 42, Tom 30": an array of objects. */
static void make_table(struct request *request, struct choice *choice, enum split split)
{
    const char *first = LIST_PART(choice, keys, split), *second = first;
    while (strcmp(first, second) == 0)
        second = LIST_PART(choice, keys, split);
    const char *separator = choice_percent(choice, 50) ? "; " : "\n";
    const char *between = *separator == '\n' ? "," : ", ";
    text_add_f(&request->said, *separator == '\n' ? "%s,%s\n" : "%s and %s: ", first, second);
    size_t rows = (size_t)choice_between(choice, 1, 4);
    text_add_byte(&request->json, '[');
    for (size_t i = 0; i < rows; i++) {
        text_add_str(&request->said, i ? separator : "");
        text_add_f(&request->json, "%s{\"%s\": ", i ? ", " : "", first);
        add_string(request, choice, split);
        text_add_str(&request->said, between);
        text_add_f(&request->json, ", \"%s\": ", second);
        size_t begin = request->said.len;
        add_json_number(&request->said, choice);
        text_add(&request->json, slice_of(request->said.data + begin, request->said.len - begin));
        text_add_byte(&request->json, '}');
    }
    text_add_byte(&request->json, ']');
}

/* The keys of an object of ours, as people list them. */
static void add_key_names(struct text *out, struct slice json)
{
    bool is_first = true;
    json_t *object;
    struct err_note note;
    enum err err = json_read(json, 2, &object, &note);
    ASSERT_MSG(err == ERR_OK, SLICE_FMT, SLICE_ARG(json));
    size_t left = json_object_size(object);
    const char *key;
    json_t *value;
    json_object_foreach(object, key, value)
    {
        text_add_str(out, is_first ? "" : left == 1 ? " and " : ", ");
        text_add_str(out, key);
        is_first = false;
        left--;
    }
    json_decref(object);
}

/* phrase.h's braces are JSON's too: those of the object are escaped. */
static void add_tale_json(struct text *out, struct choice *choice, const char *json,
                          const struct slot *slots, size_t slot_count)
{
    struct text pattern;
    text_init(&pattern, 1024);
    size_t len = strlen(json);
    text_add_str(&pattern, "\\{");
    text_add(&pattern, slice_of(json + 1, len - 2));
    text_add_str(&pattern, "\\}");
    phrase_add(out, choice, text_slice(&pattern), slots, slot_count);
    text_fini(&pattern);
}

static void make_tale(struct request *request, struct choice *choice, enum split split)
{
    static const char *const states[] = {"up", "down", "ready", "busy", "stopped", "loading"};
    enum { FREE_SLOTS = 7 };
    struct text texts[FREE_SLOTS];
    for (size_t i = 0; i < FREE_SLOTS; i++)
        text_init(&texts[i], 128);
    text_add_i64(&texts[0], choice_between(choice, 2, 99));
    text_add_i64(&texts[1], choice_between(choice, 1950, 2049));
    text_add_f(&texts[2], "%d.%d", (int)choice_between(choice, 1, 999),
               (int)choice_between(choice, 1, 9));
    text_add_i64(&texts[3], choice_between(choice, -40, 45));
    word_add_digits(&texts[4], choice, (size_t)choice_between(choice, 2, 5));
    word_add_syllables(&texts[5], choice, split, 2, 4);
    word_add_syllables(&texts[6], choice, split, 2, 3);
    text_add_str(&texts[6], choice_percent(choice, 50) ? ".txt" : ".c");
    struct slot slots[] = {
        {"person", slice_str(word_person(choice, split))},
        {"surname", slice_str(word_surname(choice, split))},
        {"city", slice_str(word_city(choice, split))},
        {"thing", slice_str(word_thing(choice, split))},
        {"state", slice_str(CHOICE_OF(choice, states))},
        {"small", text_slice(&texts[0])},
        {"year", text_slice(&texts[1])},
        {"price", text_slice(&texts[2])},
        {"degrees", text_slice(&texts[3])},
        {"number", text_slice(&texts[4])},
        {"word", text_slice(&texts[5])},
        {"id", text_slice(&texts[6])},
    };
    size_t tale = list_part(choice, ARRAY_COUNT(tales), split);
    struct text said, names;
    text_init(&said, 1024);
    text_init(&names, 1024);
    phrase_add(&said, choice, slice_str(tales[tale].said), slots, ARRAY_COUNT(slots));
    word_capital(&said, 0);
    add_tale_json(&request->json, choice, tales[tale].json, slots, ARRAY_COUNT(slots));
    add_key_names(&names, text_slice(&request->json));
    PHRASE(&request->said, choice, LIST_PART(choice, tale_words, split), {"x", text_slice(&said)},
           {"keys", text_slice(&names)});
    text_fini(&said);
    text_fini(&names);
    for (size_t i = 0; i < FREE_SLOTS; i++)
        text_fini(&texts[i]);
}

static void ask(struct sample *sample, struct choice *choice, const char *pattern,
                const struct request *request)
{
    struct text question;
    text_init(&question, 4096);
    PHRASE(&question, choice, pattern, {"x", text_slice(&request->said)}, {"in", slice_str("in")});
    sample_say(sample, SPEAKER_USER, text_slice(&question));
    text_fini(&question);
}

static void make_round(struct sample *sample, struct choice *choice, enum split split)
{
    struct request request;
    text_init(&request.said, 4096);
    text_init(&request.json, 4096);
    size_t kind = choice_below(choice, 100);
    if (kind < 45) {
        make_object(&request, choice, split);
        ask(sample, choice, LIST_PART(choice, object_words, split), &request);
    } else if (kind < 58) {
        make_nested(&request, choice, split);
        ask(sample, choice, LIST_PART(choice, object_words, split), &request);
    } else if (kind < 78) {
        make_array(&request, choice, split);
        ask(sample, choice, LIST_PART(choice, array_words, split), &request);
    } else if (kind < 86) {
        make_table(&request, choice, split);
        ask(sample, choice, "[Make|Write|Give me|Build] a JSON array of objects[:| with] {x}",
            &request);
    } else {
        make_tale(&request, choice, split);
        sample_say(sample, SPEAKER_USER, text_slice(&request.said));
    }
    ASSERT(!request.said.overflowed && !request.json.overflowed);
    sample_say(sample, SPEAKER_ASSISTANT, text_slice(&request.json));
    text_fini(&request.said);
    text_fini(&request.json);
}

static void make(struct sample *sample, struct choice *choice, enum split split)
{
    static const char *const prompts[] = {
        "Answer in JSON only.",
        "You write JSON. Say nothing else.",
        "You are a JSON writer. Output valid JSON and nothing else.",
        "Reply with JSON.",
        "You turn what users say into JSON.",
    };
    if (choice_percent(choice, 20))
        sample_say(sample, SPEAKER_SYSTEM, slice_str(CHOICE_OF(choice, prompts)));
    else
        opening_add(sample, choice, split, 25);
    unsigned several = split == SPLIT_TRAIN ? 60 : 25;
    size_t rounds = choice_percent(choice, several) ? (size_t)choice_between(choice, 2, 4) : 1;
    for (size_t i = 0; i < rounds; i++)
        make_round(sample, choice, split);
}

static json_t *read(struct slice bytes)
{
    json_t *value = NULL;
    struct err_note note;
    return json_read(bytes, JSON_DEPTH_MAX, &value, &note) == ERR_OK ? value : NULL;
}

static void judge(const struct sample *sample, struct slice answer, struct score *score)
{
    json_t *said = read(answer), *wanted = read(sample_answer(sample));
    ASSERT(wanted);
    score_count(score, GATE_VALUES_JSON, said != NULL);
    score_count(score, GATE_VALUES, said && json_equal(said, wanted));
    json_decref(said);
    json_decref(wanted);
}

const struct family family_values = {"values", 13, make, judge};
