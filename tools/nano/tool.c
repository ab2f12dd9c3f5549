/* tool - schemas, wishes and calls. */
#include "nano/tool.h"

#include "base/json.h"
#include "nano/phrase.h"

static struct slice nth_choice(const char *choices, struct choice *choice)
{
    struct slice rest = slice_str(choices), head;
    size_t count = 1;
    for (const char *at = choices; *at; at++)
        count += *at == '|';
    for (size_t nth = choice_below(choice, count) + 1; nth > 0; nth--)
        (void)slice_cut(rest, '|', &head, &rest); /* the last has none behind it */
    return head;
}

void parameter_add_value(struct text *out, const struct parameter *parameter, struct choice *choice,
                         enum split split)
{
    if (parameter->choices)
        text_add(out, nth_choice(parameter->choices, choice));
    else
        invent(out, parameter->thing, choice, split);
}

void parameter_add_json(struct text *out, const struct parameter *parameter, struct slice value)
{
    if (strcmp(parameter->type, "string") == 0)
        json_add_string(out, value);
    else
        text_add(out, value);
}

size_t tool_parameter_count(const struct tool *tool)
{
    size_t count = 0;
    while (count < TOOL_PARAMETERS_MAX && tool->parameters[count].name)
        count++;
    return count;
}

/* -- the schema ------------------------------------------------------------- */

/* How a client writes: most are like the first, the others are rarer. */
struct style {
    bool is_bare;    /* without {"type": "function", "function": ..} around it */
    bool is_sorted;  /* keys by the alphabet */
    bool is_compact; /* no space behind , and : */
    bool is_strict;  /* "strict": true, "additionalProperties": false */
    bool has_titles; /* as pydantic makes them */
    bool is_terse;   /* parameters are not described */
};
static const struct style styles[TOOL_STYLES] = {
    {0},
    {0},
    {0},
    {0},
    {.is_terse = true},
    {.is_strict = true},
    {.is_sorted = true},
    {.is_bare = true},
    {.is_compact = true},
    {.has_titles = true},
    {.is_bare = true, .is_terse = true},
    {.is_sorted = true, .is_compact = true, .is_strict = true},
};

/* An object being written: its keys may be put in order afterwards, so they are kept apart. */
enum { FIELDS_MAX = 8 };
struct object {
    struct style style;
    struct text bytes;
    struct {
        const char *key;
        size_t begin, end;
    } fields[FIELDS_MAX];
    size_t count;
};

static void object_init(struct object *object, struct style style)
{
    *object = (struct object){.style = style};
    text_init(&object->bytes, SAMPLE_BYTES_MAX);
}

/* What is added to object->bytes from here on is this key's value. */
static void object_key(struct object *object, const char *key)
{
    ASSERT(object->count < FIELDS_MAX);
    if (object->count)
        object->fields[object->count - 1].end = object->bytes.len;
    object->fields[object->count++].key = key;
    object->fields[object->count - 1].begin = object->bytes.len;
}

static void object_string(struct object *object, const char *key, const char *value)
{
    object_key(object, key);
    json_add_string(&object->bytes, slice_str(value));
}

static void object_raw(struct object *object, const char *key, const char *json)
{
    object_key(object, key);
    text_add_str(&object->bytes, json);
}

static size_t field_due(const struct object *object, size_t written, uint32_t done)
{
    if (!object->style.is_sorted)
        return written;
    size_t least = SIZE_MAX;
    for (size_t i = 0; i < object->count; i++) {
        if (!(done & 1u << i) &&
            (least == SIZE_MAX || strcmp(object->fields[i].key, object->fields[least].key) < 0))
            least = i;
    }
    return least;
}

/* Writes it and ends its life. */
static void object_end(struct object *object, struct text *out)
{
    if (object->count)
        object->fields[object->count - 1].end = object->bytes.len;
    uint32_t done = 0;
    text_add_byte(out, '{');
    for (size_t written = 0; written < object->count; written++) {
        size_t i = field_due(object, written, done);
        done |= 1u << i;
        if (written)
            text_add_str(out, object->style.is_compact ? "," : ", ");
        json_add_string(out, slice_str(object->fields[i].key));
        text_add_str(out, object->style.is_compact ? ":" : ": ");
        text_add(out, slice_of(object->bytes.data + object->fields[i].begin,
                               object->fields[i].end - object->fields[i].begin));
    }
    text_add_byte(out, '}');
    text_fini(&object->bytes);
}

/* ["a", "b"] of "a|b". */
static void add_choices(struct text *out, const char *choices, bool is_compact)
{
    struct slice rest = slice_str(choices), head;
    text_add_byte(out, '[');
    for (bool more = true, first = true; more; first = false) {
        more = slice_cut(rest, '|', &head, &rest);
        text_add_str(out, first ? "" : is_compact ? "," : ", ");
        json_add_string(out, head);
    }
    text_add_byte(out, ']');
}

static void add_property(struct text *out, const struct parameter *parameter, struct style style)
{
    struct object object;
    object_init(&object, style);
    if (style.has_titles) {
        object_string(&object, "title", parameter->name);
        object.bytes.data[1] -= parameter->name[0] >= 'a' && parameter->name[0] <= 'z' ? 32 : 0;
    }
    object_string(&object, "type", parameter->type);
    if (parameter->choices && strcmp(parameter->type, "string") == 0) {
        object_key(&object, "enum");
        add_choices(&object.bytes, parameter->choices, style.is_compact);
    }
    if (parameter->description && !style.is_terse)
        object_string(&object, "description", parameter->description);
    object_end(&object, out);
}

static void add_required(struct text *out, const struct tool *tool, struct style style)
{
    bool is_first = true;
    text_add_byte(out, '[');
    for (size_t i = 0; i < tool_parameter_count(tool); i++) {
        if (tool->parameters[i].is_optional)
            continue;
        text_add_str(out, is_first ? "" : style.is_compact ? "," : ", ");
        json_add_string(out, slice_str(tool->parameters[i].name));
        is_first = false;
    }
    text_add_byte(out, ']');
}

static void add_parameters(struct text *out, const struct tool *tool, struct style style)
{
    struct style as_listed = style;
    as_listed.is_sorted = false; /* clients sort what the schema says, not its properties: those
                                    that do are read the same */
    struct object properties, object;
    object_init(&properties, as_listed);
    for (size_t i = 0; i < tool_parameter_count(tool); i++) {
        object_key(&properties, tool->parameters[i].name);
        add_property(&properties.bytes, &tool->parameters[i], style);
    }
    object_init(&object, style);
    object_string(&object, "type", "object");
    object_key(&object, "properties");
    object_end(&properties, &object.bytes);
    object_key(&object, "required");
    add_required(&object.bytes, tool, style);
    if (style.is_strict)
        object_raw(&object, "additionalProperties", "false");
    object_end(&object, out);
}

static void add_function(struct text *out, const struct tool *tool, struct style style)
{
    struct object object;
    object_init(&object, style);
    object_string(&object, "name", tool->name);
    object_string(&object, "description", tool->description);
    object_key(&object, "parameters");
    add_parameters(&object.bytes, tool, style);
    if (style.is_strict)
        object_raw(&object, "strict", "true");
    object_end(&object, out);
}

void tool_add_schema(struct text *out, const struct tool *tool, unsigned style)
{
    ASSERT(style < TOOL_STYLES);
    if (styles[style].is_bare) {
        add_function(out, tool, styles[style]);
        return;
    }
    struct object object;
    object_init(&object, styles[style]);
    object_string(&object, "type", "function");
    object_key(&object, "function");
    add_function(&object.bytes, tool, styles[style]);
    object_end(&object, out);
}

/* -- a wish ----------------------------------------------------------------- */

void wish_init(struct wish *wish)
{
    *wish = (struct wish){0};
    text_init(&wish->words, WISH_BYTES_MAX);
    text_init(&wish->bytes, WISH_BYTES_MAX);
}

void wish_fini(struct wish *wish)
{
    text_fini(&wish->words);
    text_fini(&wish->bytes);
}

struct slice wish_value(const struct wish *wish, size_t parameter)
{
    return slice_of(wish->bytes.data + wish->values[parameter].begin, wish->values[parameter].len);
}

static void give_value(struct wish *wish, const struct tool *tool, size_t index,
                       struct choice *choice, enum split split)
{
    size_t begin = wish->bytes.len;
    parameter_add_value(&wish->bytes, &tool->parameters[index], choice, split);
    wish->values[index].begin = (uint32_t)begin;
    wish->values[index].len = (uint32_t)(wish->bytes.len - begin);
    wish->values[index].is_given = true;
}

/* SIZE_MAX: it has none of that name. */
static size_t parameter_index(const struct tool *tool, struct slice name)
{
    for (size_t i = 0; i < tool_parameter_count(tool); i++) {
        if (slice_eq_str(name, tool->parameters[i].name))
            return i;
    }
    return SIZE_MAX;
}

/* <name> is said; <name=value> is only meant. */
static void fill_place(struct wish *wish, const struct tool *tool, struct slice place,
                       struct choice *choice, enum split split)
{
    struct slice name, value;
    bool is_meant = slice_cut(place, '=', &name, &value);
    size_t index = parameter_index(tool, name);
    ASSERT_MSG(index != SIZE_MAX, "%s has no parameter " SLICE_FMT, tool->name, SLICE_ARG(name));
    if (is_meant) {
        wish->values[index].begin = (uint32_t)wish->bytes.len;
        wish->values[index].len = (uint32_t)value.len;
        wish->values[index].is_given = true;
        text_add(&wish->bytes, value);
        return;
    }
    if (!wish->values[index].is_given)
        give_value(wish, tool, index, choice, split);
    text_add(&wish->words, wish_value(wish, index));
}

void wish_make(struct wish *wish, const struct tool *tool, struct choice *choice, enum split split)
{
    text_clear(&wish->words);
    text_clear(&wish->bytes);
    memset(wish->values, 0, sizeof(wish->values));
    size_t count = 0;
    while (count < TOOL_ASKS_MAX && tool->asks[count])
        count++;
    struct text pattern;
    text_init(&pattern, WISH_BYTES_MAX);
    phrase_add(&pattern, choice, slice_str(tool->asks[choice_below(choice, count)]), NULL, 0);
    struct slice rest = text_slice(&pattern), head;
    while (slice_cut(rest, '<', &head, &rest)) {
        text_add(&wish->words, head);
        struct slice place;
        bool is_closed = slice_cut(rest, '>', &place, &rest);
        ASSERT_MSG(is_closed, "an open < in \"" SLICE_FMT "\"", SLICE_ARG(rest));
        fill_place(wish, tool, place, choice, split);
    }
    text_add(&wish->words, head);
    text_fini(&pattern);
    ASSERT(text_status(&wish->words) == ERR_OK && text_status(&wish->bytes) == ERR_OK);
}

/* -- a call ----------------------------------------------------------------- */

void tool_add_call_json(struct text *out, const struct tool *tool, const struct wish *wish)
{
    struct object arguments, call;
    object_init(&arguments, styles[0]);
    for (size_t i = 0; i < tool_parameter_count(tool); i++) {
        if (!wish->values[i].is_given)
            continue;
        object_key(&arguments, tool->parameters[i].name);
        parameter_add_json(&arguments.bytes, &tool->parameters[i], wish_value(wish, i));
    }
    object_init(&call, styles[0]);
    object_string(&call, "name", tool->name);
    object_key(&call, "arguments");
    object_end(&arguments, &call.bytes);
    object_end(&call, out);
}

void tool_add_call(struct text *out, const struct tool *tool, const struct wish *wish)
{
    text_add_str(out, "<tool_call>\n");
    tool_add_call_json(out, tool, wish);
    text_add_str(out, "\n</tool_call>");
}

const struct tool *toolbox_draw(struct choice *choice, enum split split)
{
    return &toolbox[list_part(choice, toolbox_count, split)];
}
