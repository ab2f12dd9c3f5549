/* schema_pattern - a regular expression (ECMA 262, as JSON Schema has them) as what stands for it
 * between the quotes of a JSON string. Those of the regular kind: no assertions inside, no
 * references back. A quote and a backslash are escaped there, and so are line ends and tabs; other
 * control characters are left out of every class. */
#include "base/utf8.h"
#include "grammar/grammar_impl.h"
#include "grammar/schema_impl.h"

enum { NESTING_MAX = 24, RANGES_MAX = 128 };

struct pattern {
    struct slice text; /* without its anchors */
    size_t at;
    int nesting;
    struct text *out;
    const char *words; /* what is wrong */
    enum err err;
};

struct set {
    struct char_range ranges[RANGES_MAX + CHAR_RANGES_SPARE];
    uint32_t count;
};

static bool fail(struct pattern *pattern, enum err err, const char *words)
{
    if (pattern->err == ERR_OK) {
        pattern->err = err;
        pattern->words = words;
    }
    return false;
}

static int peek(const struct pattern *pattern)
{
    return pattern->at < pattern->text.len ? (uint8_t)pattern->text.data[pattern->at] : -1;
}

static bool take(struct pattern *pattern, char wanted)
{
    if (peek(pattern) != (uint8_t)wanted)
        return false;
    pattern->at++;
    return true;
}

/* --- sets --- */

static bool add_range(struct pattern *pattern, struct set *set, uint32_t low, uint32_t high)
{
    if (set->count == RANGES_MAX)
        return fail(pattern, ERR_LIMIT, "a class of more than 128 ranges");
    set->ranges[set->count++] = (struct char_range){low, high};
    return true;
}

/* ECMA 262, WhiteSpace and LineTerminator: all of them, for what is missing here is in \S. */
static bool add_spaces(struct pattern *pattern, struct set *set)
{
    static const struct char_range spaces[] = {
        {'\t', '\r'},     {' ', ' '},       {0xA0, 0xA0},     {0x1680, 0x1680}, {0x2000, 0x200A},
        {0x2028, 0x2029}, {0x202F, 0x202F}, {0x205F, 0x205F}, {0x3000, 0x3000}, {0xFEFF, 0xFEFF}};
    bool fits = true;
    for (size_t i = 0; i < ARRAY_COUNT(spaces); i++)
        fits = fits && add_range(pattern, set, spaces[i].low, spaces[i].high);
    return fits;
}

static bool add_named(struct pattern *pattern, struct set *set, char name)
{
    if (name == 'd')
        return add_range(pattern, set, '0', '9');
    if (name == 's')
        return add_spaces(pattern, set);
    return add_range(pattern, set, '0', '9') && add_range(pattern, set, 'A', 'Z') &&
           add_range(pattern, set, '_', '_') && add_range(pattern, set, 'a', 'z');
}

static bool has(const struct set *set, uint32_t code)
{
    for (uint32_t i = 0; i < set->count; i++) {
        if (code >= set->ranges[i].low && code <= set->ranges[i].high)
            return true;
    }
    return false;
}

/* What stands for itself between quotes. */
static const struct char_range raw[] = {{0x20, '"' - 1}, {'"' + 1, '\\' - 1}, {'\\' + 1, 0x10FFFF}};

/* Returns how many ranges those are. */
static uint32_t write_raw(struct text *out, const struct set *set)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < set->count; i++) {
        for (size_t j = 0; j < ARRAY_COUNT(raw); j++) {
            uint32_t low = set->ranges[i].low, high = set->ranges[i].high;
            low = low > raw[j].low ? low : raw[j].low;
            high = high < raw[j].high ? high : raw[j].high;
            if (low > high)
                continue;
            text_add_f(out, "%s\\U%08X-\\U%08X", count++ == 0 ? "[" : "", low, high);
        }
    }
    text_add_str(out, count > 0 ? "]" : "");
    return count;
}

/* The set as alternatives: what stands for itself, then what is escaped. */
static bool write_set(struct pattern *pattern, struct set *set, bool is_negated)
{
    static const struct {
        uint32_t code;
        const char *literal;
    } escapes[] = {{'"', "\"\\\\\\\"\""},
                   {'\\', "\"\\\\\\\\\""},
                   {'\n', "\"\\\\n\""},
                   {'\r', "\"\\\\r\""},
                   {'\t', "\"\\\\t\""}};
    const char *separator = "";
    set->count = char_ranges_normalise(set->ranges, set->count, is_negated);
    text_add_str(pattern->out, "(");
    if (write_raw(pattern->out, set) > 0)
        separator = " | ";
    for (size_t i = 0; i < ARRAY_COUNT(escapes); i++) {
        if (!has(set, escapes[i].code))
            continue;
        text_add_f(pattern->out, "%s%s", separator, escapes[i].literal);
        separator = " | ";
    }
    if (separator[0] == '\0')
        return fail(pattern, ERR_REFUSED,
                    "a class that only control characters are in, or nothing");
    text_add_str(pattern->out, ")");
    return true;
}

/* --- characters --- */

static bool read_plain(struct pattern *pattern, uint32_t *out_code)
{
    struct slice rest = slice_after(pattern->text, pattern->at);
    struct slice character = slice_first(rest, utf8_first(rest).len);
    *out_code = utf8_codepoint(character);
    pattern->at += character.len;
    return true;
}

/* Behind the backslash, if it stands for one character. */
static bool read_escape(struct pattern *pattern, uint32_t *out_code)
{
    static const char punctuation[] = "^$\\.*+?()[]{}|/-\"'#&,:;<>=@%!~`_ ";
    int byte = peek(pattern);
    if (byte == 'n' || byte == 'r' || byte == 't')
        *out_code = byte == 'n' ? '\n' : byte == 'r' ? '\r' : '\t';
    else if (byte > 0 && strchr(punctuation, byte))
        *out_code = (uint32_t)byte;
    else
        return fail(pattern, ERR_REFUSED, "an escape that is not supported");
    pattern->at++;
    return true;
}

static bool is_named(int byte)
{
    return byte == 'd' || byte == 'w' || byte == 's';
}

static bool read_class_char(struct pattern *pattern, uint32_t *out_code)
{
    return take(pattern, '\\') ? read_escape(pattern, out_code) : read_plain(pattern, out_code);
}

static bool read_class_range(struct pattern *pattern, struct set *set)
{
    struct slice rest = slice_after(pattern->text, pattern->at);
    uint32_t low, high;
    if (rest.len >= 2 && rest.data[0] == '\\' && is_named(rest.data[1])) {
        pattern->at += 2;
        return add_named(pattern, set, rest.data[1]);
    }
    if (!read_class_char(pattern, &low))
        return false;
    rest = slice_after(pattern->text, pattern->at);
    if (rest.len < 2 || rest.data[0] != '-' || rest.data[1] == ']')
        return add_range(pattern, set, low, low);
    pattern->at++;
    if (!read_class_char(pattern, &high))
        return false;
    if (high < low)
        return fail(pattern, ERR_PROTOCOL, "a range that runs backwards");
    return add_range(pattern, set, low, high);
}

static bool read_class(struct pattern *pattern)
{
    struct set set = {.count = 0};
    bool is_negated = take(pattern, '^');
    while (!take(pattern, ']')) {
        if (peek(pattern) < 0)
            return fail(pattern, ERR_PROTOCOL, "a class without its ]");
        if (!read_class_range(pattern, &set))
            return false;
    }
    return write_set(pattern, &set, is_negated);
}

static bool write_char(struct pattern *pattern, uint32_t code)
{
    struct set set = {.ranges = {{code, code}}, .count = 1};
    return write_set(pattern, &set, false);
}

static bool read_escaped_atom(struct pattern *pattern)
{
    int byte = peek(pattern);
    uint32_t code;
    if (is_named(byte | 0x20) && (is_named(byte) || (byte >= 'A' && byte <= 'Z'))) {
        struct set set = {.count = 0};
        pattern->at++;
        return add_named(pattern, &set, (char)(byte | 0x20)) &&
               write_set(pattern, &set, byte >= 'A' && byte <= 'Z');
    }
    return read_escape(pattern, &code) && write_char(pattern, code);
}

/* --- structure --- */

static bool read_choice(struct pattern *pattern);

static bool read_group(struct pattern *pattern)
{
    if (take(pattern, '?') && !take(pattern, ':'))
        return fail(pattern, ERR_REFUSED, "of groups with ? only (?: is supported");
    if (pattern->nesting == NESTING_MAX)
        return fail(pattern, ERR_LIMIT, "more than 24 groups inside each other");
    pattern->nesting++;
    text_add_str(pattern->out, "(");
    if (!read_choice(pattern))
        return false;
    text_add_str(pattern->out, ")");
    pattern->nesting--;
    return take(pattern, ')') || fail(pattern, ERR_PROTOCOL, "a group without its )");
}

static bool read_atom(struct pattern *pattern)
{
    struct set line_ends = {.ranges = {{'\n', '\n'}, {'\r', '\r'}, {0x2028, 0x2029}}, .count = 3};
    uint32_t code;
    if (take(pattern, '('))
        return read_group(pattern);
    if (take(pattern, '['))
        return read_class(pattern);
    if (take(pattern, '.'))
        return write_set(pattern, &line_ends, true);
    if (take(pattern, '\\'))
        return read_escaped_atom(pattern);
    int byte = peek(pattern);
    if (byte == '^' || byte == '$')
        return fail(pattern, ERR_REFUSED, "^ and $ only at its ends are supported");
    if (byte == '*' || byte == '+' || byte == '?' || byte == '{' || byte == '}' || byte == ']')
        return fail(pattern, ERR_PROTOCOL, "* + ? { } or ] that belongs to nothing");
    return read_plain(pattern, &code) && write_char(pattern, code);
}

static bool read_number(struct pattern *pattern, uint64_t *out_number)
{
    size_t begin = pattern->at;
    while (peek(pattern) >= '0' && peek(pattern) <= '9')
        pattern->at++;
    struct slice digits = slice_of(pattern->text.data + begin, pattern->at - begin);
    if (digits.len == 0)
        return fail(pattern, ERR_PROTOCOL, "braces without a number");
    if (slice_parse_u64(digits, GRAMMAR_REPEAT_MAX, out_number) != ERR_OK)
        return fail(pattern, ERR_LIMIT, "a number above 16384 in braces");
    text_add_u64(pattern->out, *out_number);
    return true;
}

static bool read_braces(struct pattern *pattern)
{
    uint64_t min, max = UINT64_MAX;
    text_add_byte(pattern->out, '{');
    if (!read_number(pattern, &min))
        return false;
    if (take(pattern, ',')) {
        text_add_byte(pattern->out, ',');
        if (peek(pattern) != '}' && !read_number(pattern, &max))
            return false;
        if (max < min)
            return fail(pattern, ERR_PROTOCOL, "braces whose second number is the smaller one");
    }
    text_add_byte(pattern->out, '}');
    return take(pattern, '}') || fail(pattern, ERR_PROTOCOL, "a { without its }");
}

static bool read_quantifier(struct pattern *pattern)
{
    int byte = peek(pattern);
    if (byte == '*' || byte == '+' || byte == '?') {
        pattern->at++;
        text_add_byte(pattern->out, (char)byte);
    } else if (take(pattern, '{')) {
        if (!read_braces(pattern))
            return false;
    } else {
        return true;
    }
    byte = peek(pattern);
    if (byte == '?') { /* lazy: matches the same strings */
        pattern->at++;
        byte = peek(pattern);
    }
    if (byte == '*' || byte == '+' || byte == '?' || byte == '{')
        return fail(pattern, ERR_PROTOCOL, "two quantifiers behind one another");
    return true;
}

static bool read_sequence(struct pattern *pattern)
{
    text_add_str(pattern->out, "\"\" ");
    while (peek(pattern) >= 0 && peek(pattern) != '|' && peek(pattern) != ')') {
        if (!read_atom(pattern) || !read_quantifier(pattern))
            return false;
        text_add_byte(pattern->out, ' ');
    }
    return true;
}

static bool read_choice(struct pattern *pattern)
{
    if (!read_sequence(pattern))
        return false;
    while (take(pattern, '|')) {
        text_add_str(pattern->out, "| ");
        if (!read_sequence(pattern))
            return false;
    }
    return true;
}

/* The last $ is an anchor, if the backslashes before it are even in number. */
static bool is_anchored(struct slice text)
{
    size_t backslashes = 0;
    if (text.len < 2 || text.data[0] != '^' || text.data[text.len - 1] != '$')
        return false;
    for (size_t i = text.len - 1; i > 0 && text.data[i - 1] == '\\'; i--)
        backslashes++;
    return backslashes % 2 == 0;
}

enum err schema_add_pattern(struct slice text, struct text *out, const char **out_words)
{
    struct pattern pattern = {.out = out};
    if (!is_anchored(text)) {
        *out_words = "only patterns from ^ to $ are supported";
        return ERR_REFUSED;
    }
    pattern.text = slice_of(text.data + 1, text.len - 2);
    text_add_str(out, "(");
    bool is_read = read_sequence(&pattern);
    if (is_read && peek(&pattern) == '|') /* ^a|b$ is (^a)|(b$) */
        is_read = fail(&pattern, ERR_REFUSED, "alternatives only inside a group are supported");
    if (is_read && peek(&pattern) == ')')
        is_read = fail(&pattern, ERR_PROTOCOL, "a ) that belongs to nothing");
    text_add_str(out, ")");
    *out_words = pattern.words;
    return is_read ? ERR_OK : pattern.err;
}
