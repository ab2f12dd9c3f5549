/* tool_invented - tools that nobody offers: their names, parameters and wordings are drawn, so that
 * only a reader of the schema can call them. */
#include "nano/tool.h"

#include "nano/coin.h"
#include "nano/words.h"

static const char *const verbs[] = {
    "rotate",   "archive",  "publish", "sync",     "merge",     "split",  "export",   "import",
    "approve",  "reject",   "pause",   "resume",   "lock",      "unlock", "validate", "compress",
    "encrypt",  "tag",      "rename",  "move",     "index",     "mount",  "scan",     "count",
    "inspect",  "refresh",  "freeze",  "audit",    "measure",   "sort",   "group",    "filter",
    "enable",   "disable",  "attach",  "detach",   "clone",     "purge",  "renew",    "revoke",
    "grant",    "transfer", "reserve", "release",  "calibrate", "water",  "feed",     "paint",
    "brew",     "bake",     "polish",  "recycle",  "inflate",   "charge", "park",     "wrap",
    "classify", "label",    "sample",  "escalate",
};
static const char *const nouns[] = {
    "keys",        "project",  "article",   "folder",       "record",   "shift",    "table",
    "customer",    "request",  "campaign",  "pipeline",     "door",     "account",  "dataset",
    "volume",      "label",    "channel",   "device",       "document", "network",  "shelf",
    "inventory",   "contract", "cache",     "snapshot",     "budget",   "sensor",   "vote",
    "candidate",   "queue",    "feature",   "subscription", "wallet",   "token",    "license",
    "permission",  "seat",     "pump",      "plant",        "fish",     "wall",     "coffee",
    "cake",        "lens",     "bottle",    "balloon",      "scooter",  "car",      "gift",
    "gallery",     "playlist", "incident",  "survey",       "template", "workflow", "backup",
    "certificate", "vehicle",  "warehouse", "greenhouse",
};

enum { INVENTED_ASKS = 3 };

/* What parameters are called, and what they hold. */
static const struct parameter examples[] = {
    {"name", "string", THING_TITLE, NULL, "Its name", false},
    {"id", "string", THING_ID, NULL, "Its id", false},
    {"limit", "integer", THING_COUNT, NULL, "Most entries", false},
    {"owner", "string", THING_PERSON, NULL, "Who it belongs to", false},
    {"email", "string", THING_EMAIL, NULL, "E-mail address", false},
    {"path", "string", THING_PATH, NULL, "Where it is", false},
    {"target", "string", THING_SERVICE, NULL, "What it is for", false},
    {"note", "string", THING_PHRASE, NULL, "A remark", false},
    {"comment", "string", THING_SENTENCE, NULL, "A remark", false},
    {"start_date", "string", THING_DATE, NULL, "First day", false},
    {"end_date", "string", THING_DATE, NULL, "Last day", false},
    {"at", "string", THING_TIME, NULL, "Time of day", false},
    {"amount", "number", THING_NUMBER, NULL, "How much", false},
    {"price", "number", THING_DECIMAL, NULL, "Price of one", false},
    {"weight", "number", THING_DECIMAL, NULL, "Weight in kg", false},
    {"offset", "number", THING_NUMBER, NULL, "Where to begin", false},
    {"threshold", "number", THING_DECIMAL, NULL, "Least value", false},
    {"width", "integer", THING_INTEGER, NULL, "Width", false},
    {"priority", "string", THING_WORD, "low|normal|high", "How urgent", false},
    {"color", "string", THING_WORD, "red|green|blue|black", "Color", false},
    {"mode", "string", THING_WORD, "fast|safe|full", "How it is done", false},
    {"format", "string", THING_WORD, "csv|json|xml", "Format", false},
    {"size", "string", THING_WORD, "small|medium|large", "Size", false},
    {"dry_run", "boolean", THING_WORD, "true|false", "Only say what would be done", false},
    {"verbose", "boolean", THING_WORD, "true|false", "Say more", false},
    {"notify", "boolean", THING_WORD, "true|false", "Tell the owner", false},
    {"region", "string", THING_CITY, NULL, "Region", false},
    {"host", "string", THING_HOST, NULL, "Host name", false},
    {"address", "string", THING_IP, NULL, "Address", false},
    {"source", "string", THING_URL, NULL, "Where it comes from", false},
    {"version", "string", THING_VERSION, NULL, "Version", false},
    {"count", "integer", THING_COUNT, NULL, "How many", false},
    {"days", "integer", THING_COUNT, NULL, "For how many days", false},
    {"code", "string", THING_INTEGER, NULL, "Code", false},
    {"file", "string", THING_FILE, NULL, "File", false},
    {"language", "string", THING_LANGUAGE, NULL, "Language", false},
    {"topic", "string", THING_TERM, NULL, "Topic", false},
    {"batch_size", "integer", THING_INTEGER, NULL, "How many at once", false},
    {"ratio", "number", THING_DECIMAL, NULL, "Part of the whole", false},
    {"user_id", "string", THING_ID, NULL, "Id of the user", false},
};

/* -- strings that live as long as the tool ---------------------------------- */

/* Copies what is in `text` and clears it. */
static const char *keep(struct invented_tool *tool, struct text *text)
{
    ASSERT(text_status(text) == ERR_OK && tool->used + text->len < INVENTED_BYTES);
    char *copy = tool->bytes + tool->used;
    memcpy(copy, text->data, text->len);
    copy[text->len] = 0;
    tool->used += text->len + 1;
    text_clear(text);
    return copy;
}

static void add_upper_first(struct text *out, const char *word)
{
    text_add_byte(out, (char)(word[0] - 'a' + 'A'));
    text_add_str(out, word + 1);
}

enum { COINED_PERCENT = 45 };

static const char *coined(struct invented_tool *tool, struct choice *choice, enum split split)
{
    struct text word;
    text_init(&word, 128);
    coin_add_word(&word, choice, split);
    const char *kept = keep(tool, &word);
    text_fini(&word);
    return kept;
}

/* -- the name --------------------------------------------------------------- */

static void draw_subject(struct invented_tool *out, const struct invented_tool *like,
                         struct choice *choice, enum split split)
{
    do {
        out->verb = LIST_PART(choice, verbs, split);
        out->noun = LIST_PART(choice, nouns, split);
        if (choice_percent(choice, COINED_PERCENT))
            out->verb = coined(out, choice, split);
        if (choice_percent(choice, COINED_PERCENT))
            out->noun = coined(out, choice, split);
        if (like && choice_percent(choice, 50))
            out->verb = like->verb;
        else if (like)
            out->noun = like->noun;
    } while (like && out->verb == like->verb && out->noun == like->noun);
}

static void add_name(struct text *text, const struct invented_tool *tool, struct choice *choice,
                     enum split split)
{
    switch (choice_below(choice, 10)) {
    case 0:
        text_add_str(text, tool->verb);
        add_upper_first(text, tool->noun);
        break;
    case 1:
        text_add_f(text, "%s-%s", tool->verb, tool->noun);
        break;
    case 2:
        text_add_f(text, "%s_%s", tool->noun, tool->verb);
        break;
    case 3: /* says nothing: only the description tells what it does */
    case 4:
        word_add_syllables(text, choice, split, 2, 3);
        if (choice_percent(choice, 50)) {
            text_add_byte(text, '_');
            word_add_syllables(text, choice, split, 2, 3);
        }
        break;
    default:
        text_add_f(text, "%s_%s", tool->verb, tool->noun);
    }
}

/* -- parameters ------------------------------------------------------------- */

static bool has_parameter(const struct invented_tool *tool, size_t count, const char *name)
{
    for (size_t i = 0; i < count; i++) {
        if (strcmp(tool->tool.parameters[i].name, name) == 0)
            return true;
    }
    return false;
}

static void draw_parameter(struct invented_tool *tool, size_t index, struct text *scratch,
                           struct choice *choice, enum split split)
{
    struct parameter parameter;
    do {
        parameter = CHOICE_OF(choice, examples);
        if (choice_percent(choice, 50)) {
            coin_add_field(scratch, choice, split);
            parameter.name = keep(tool, scratch);
            text_add_f(scratch, "The %s", parameter.name);
            parameter.description = keep(tool, scratch);
        }
    } while (has_parameter(tool, index, parameter.name));
    if (choice_percent(choice, 15))
        parameter.description = NULL;
    parameter.is_optional = choice_percent(choice, 30);
    tool->tool.parameters[index] = parameter;
}

/* -- how one asks for it ---------------------------------------------------- */

static bool needs_quotes(const struct parameter *parameter)
{
    return parameter->thing == THING_PHRASE || parameter->thing == THING_SENTENCE;
}

static void add_place(struct text *out, const struct parameter *parameter)
{
    text_add_f(out, needs_quotes(parameter) ? "\"<%s>\"" : "<%s>", parameter->name);
}

/* " with limit <limit>" and the like: always says the parameter's name, as words or as it is. */
static void add_mention(struct text *out, const struct parameter *parameter, struct choice *choice)
{
    static const char *const joints[][2] = {
        {" with ", " "},     {", ", ": "},          {", ", "="},           {" and ", " "},
        {" with ", " of "},  {", the ", " is "},    {", set ", " to "},    {" where ", " is "},
        {" with the ", " "}, {" and ", " set to "}, {", ", " should be "}, {" for ", " "},
    };
    const char *const *joint = CHOICE_OF(choice, joints);
    text_add_str(out, joint[0]);
    if (choice_percent(choice, 70))
        word_add_spaced(out, parameter->name);
    else
        text_add_str(out, parameter->name);
    text_add_str(out, joint[1]);
    add_place(out, parameter);
}

static void add_flag_mention(struct text *out, const struct parameter *parameter,
                             struct choice *choice)
{
    bool is_on = choice_percent(choice, 60);
    text_add_str(out, choice_percent(choice, 50) ? ", " : is_on ? " with " : " and ");
    word_add_spaced(out, parameter->name);
    text_add_f(out, " %s<%s=%s>", is_on ? "on" : "off", parameter->name, is_on ? "true" : "false");
}

static void add_parameter_words(struct text *out, const struct parameter *parameter,
                                struct choice *choice)
{
    bool is_left_out = parameter->is_optional && choice_percent(choice, 50);
    if (is_left_out)
        return;
    if (strcmp(parameter->type, "boolean") == 0 && choice_percent(choice, 60))
        add_flag_mention(out, parameter, choice);
    else
        add_mention(out, parameter, choice);
}

/* "rotate the keys", "keys: rotate". */
static void add_subject(struct text *out, const struct invented_tool *tool, struct choice *choice)
{
    static const char *const fronts[] = {"Please ", "Can you ", "I want to ", "Could you please ",
                                         "Now ",    "",         "Let us ",    "We have to "};
    static const char *const articles[] = {"the ", "a ", "my ", "our ", "this ", ""};
    if (choice_percent(choice, 45)) {
        add_upper_first(out, tool->verb);
    } else {
        text_add_str(out, CHOICE_OF(choice, fronts));
        text_add_str(out, tool->verb);
    }
    text_add_f(out, " %s%s", CHOICE_OF(choice, articles), tool->noun);
}

/* "Rotate the keys kaluto": what comes first needs no name. Only one may be left without. */
static bool is_said_bare(const struct tool *tool, struct choice *choice)
{
    const struct parameter *first = &tool->parameters[0];
    return first->name && !first->is_optional && strcmp(first->type, "string") == 0 &&
           !first->choices && choice_percent(choice, 40);
}

static void add_ask(struct text *out, const struct invented_tool *tool, struct choice *choice)
{
    const struct parameter *parameters = tool->tool.parameters;
    size_t count = tool_parameter_count(&tool->tool);
    if (choice_percent(choice, 12))
        text_add_f(out, "%s %s", choice_percent(choice, 50) ? "Call" : "Use", tool->tool.name);
    else
        add_subject(out, tool, choice);
    size_t begin = 0;
    if (is_said_bare(&tool->tool, choice)) {
        text_add_byte(out, ' ');
        add_place(out, &parameters[0]);
        begin = 1;
    }
    size_t turned = choice_percent(choice, 35) ? choice_below(choice, count + 1) : 0;
    for (size_t i = begin; i < count; i++)
        add_parameter_words(out, &parameters[begin + (i - begin + turned) % (count - begin)],
                            choice);
    if (choice_percent(choice, 50))
        text_add_byte(out, '.');
}

void tool_invent(struct invented_tool *out, const struct invented_tool *like, struct choice *choice,
                 enum split split)
{
    static const size_t counts[] = {0, 1, 1, 1, 2, 2, 2, 3, 3, 4};
    *out = (struct invented_tool){0};
    struct text text;
    text_init(&text, INVENTED_BYTES);
    draw_subject(out, like, choice, split);
    add_name(&text, out, choice, split);
    out->tool.name = out->tool.group = keep(out, &text);
    add_upper_first(&text, out->verb);
    text_add_f(&text, choice_percent(choice, 50) ? " the %s" : " a %s", out->noun);
    out->tool.description = keep(out, &text);
    size_t count = CHOICE_OF(choice, counts);
    for (size_t i = 0; i < count; i++)
        draw_parameter(out, i, &text, choice, split);
    for (size_t i = 0; i < INVENTED_ASKS; i++) {
        add_ask(&text, out, choice);
        out->tool.asks[i] = keep(out, &text);
    }
    text_fini(&text);
}

bool invented_is_like(const struct invented_tool *a, const struct invented_tool *b)
{
    return a->verb == b->verb || a->noun == b->noun;
}
