/* grammar_text - GBNF to a draft: the text is read once, from front to back, by descent. */
#include "base/hash.h"
#include "base/hex.h"
#include "base/utf8.h"
#include "grammar/grammar_draft.h"

#include <stdarg.h>
#include <stdio.h>

enum {
    NAME_MAX_BYTES = 256,
    REPETITIONS_IN_A_ROW_MAX = 4,
    ROOT = 0 /* the rule that is asked for first */
};

/* --- where, and what is wrong --- */

enum err draft_fail(struct draft *draft, size_t at, enum err err, const char *format, ...)
{
    size_t line = 1, column = 1;
    for (size_t i = 0; i < at && i < draft->text.len; i++) {
        uint8_t byte = (uint8_t)draft->text.data[i];
        column = byte == '\n' ? 1 : column + ((byte & 0xC0) != 0x80);
        line += byte == '\n';
    }
    char message[384];
    va_list args;
    va_start(args, format);
    vsnprintf(message, sizeof(message), format, args);
    va_end(args);
    return err_note_fail(draft->note, err, "grammar: line %zu, column %zu: %s", line, column,
                         message);
}

/* What stands there, in words that are safe to print. */
static const char *found_at(const struct draft *draft, size_t at, char words[24])
{
    if (at >= draft->text.len)
        return "the end";
    uint8_t byte = (uint8_t)draft->text.data[at];
    if (byte == '\n' || byte == '\r')
        return "the end of the line";
    snprintf(words, 24, byte > 0x20 && byte < 0x7F ? "'%c'" : "byte 0x%02X", byte);
    return words;
}

static enum err fail_expected(struct draft *draft, const char *what)
{
    char words[24];
    return draft_fail(draft, draft->at, ERR_PROTOCOL, "expected %s, found %s", what,
                      found_at(draft, draft->at, words));
}

static enum err no_memory(enum err err, struct draft *draft)
{
    if (err == ERR_FULL)
        return err_note_fail(draft->note, ERR_FULL, "grammar: no memory for it");
    return err;
}

/* --- bytes --- */

static int peek(const struct draft *draft) /* -1: the end */
{
    return draft->at < draft->text.len ? (uint8_t)draft->text.data[draft->at] : -1;
}

static bool take(struct draft *draft, char wanted)
{
    if (peek(draft) != (uint8_t)wanted)
        return false;
    draft->at++;
    return true;
}

static void skip_space(struct draft *draft, bool over_lines)
{
    for (int byte; (byte = peek(draft)) >= 0;) {
        if (byte == '#') {
            while (peek(draft) >= 0 && peek(draft) != '\n' && peek(draft) != '\r')
                draft->at++;
        } else if (byte == ' ' || byte == '\t' || (over_lines && (byte == '\n' || byte == '\r'))) {
            draft->at++;
        } else {
            return;
        }
    }
}

static bool is_name_byte(int byte)
{
    return (byte >= 'a' && byte <= 'z') || (byte >= 'A' && byte <= 'Z') ||
           (byte >= '0' && byte <= '9') || byte == '-' || byte == '_';
}

/* --- single characters --- */

static enum err read_hex(struct draft *draft, int digits, uint32_t *out_code)
{
    uint32_t code = 0;
    size_t begin = draft->at - 2;
    for (int i = 0; i < digits; i++) {
        int digit = peek(draft) < 0 ? -1 : hex_value((char)peek(draft));
        if (digit < 0)
            return fail_expected(draft, "a hexadecimal digit");
        code = code << 4 | (uint32_t)digit;
        draft->at++;
    }
    if (code > 0x10FFFF || (code >= 0xD800 && code <= 0xDFFF))
        return draft_fail(draft, begin, ERR_PROTOCOL, "U+%04X is no character", code);
    *out_code = code;
    return ERR_OK;
}

static enum err read_escape(struct draft *draft, uint32_t *out_code)
{
    int byte = peek(draft);
    draft->at += byte >= 0;
    switch (byte) {
    case 'x':
        return read_hex(draft, 2, out_code);
    case 'u':
        return read_hex(draft, 4, out_code);
    case 'U':
        return read_hex(draft, 8, out_code);
    case 'n':
        *out_code = '\n';
        return ERR_OK;
    case 'r':
        *out_code = '\r';
        return ERR_OK;
    case 't':
        *out_code = '\t';
        return ERR_OK;
    case '\\':
    case '"':
    case '[':
    case ']':
    case '-':
        *out_code = (uint32_t)byte;
        return ERR_OK;
    default:
        draft->at -= byte >= 0;
        return fail_expected(draft, "one of n r t x u U \\ \" [ ] - behind the backslash");
    }
}

static enum err read_char(struct draft *draft, uint32_t *out_code)
{
    if (take(draft, '\\'))
        return read_escape(draft, out_code);
    struct slice rest = slice_after(draft->text, draft->at);
    struct slice character = slice_first(rest, utf8_first(rest).len); /* the text is valid UTF-8 */
    *out_code = utf8_codepoint(character);
    draft->at += character.len;
    return ERR_OK;
}

/* --- items --- */

static enum err add_item(struct draft *draft, uint32_t kind, uint32_t arg, uint32_t *out_item)
{
    if (draft->item_count == GRAMMAR_ITEMS_MAX)
        return draft_fail(draft, draft->at, ERR_LIMIT, "more than %d characters and items",
                          GRAMMAR_ITEMS_MAX);
    TRY(GROW(draft->items, draft->item_count, draft->item_capacity));
    *out_item = draft->item_count++;
    draft->items[*out_item] = (struct item){kind, arg, NO_ITEM, 1, 1};
    return ERR_OK;
}

/* The items of one sequence or choice, while they are being read. */
struct chain {
    uint32_t parent, last;
};

static enum err begin_chain(struct draft *draft, uint32_t kind, struct chain *out_chain)
{
    out_chain->last = NO_ITEM;
    return add_item(draft, kind, NO_ITEM, &out_chain->parent);
}

static void chain_add(struct draft *draft, struct chain *chain, uint32_t item)
{
    if (chain->last == NO_ITEM)
        draft->items[chain->parent].arg = item;
    else
        draft->items[chain->last].sibling = item;
    chain->last = item;
}

/* One class for equal sets. */
static enum err class_of(struct draft *draft, const struct char_range *ranges, uint32_t count,
                         uint32_t *out_class)
{
    uint8_t digest[SHA256_BYTES];
    uint64_t key;
    sha256_of(slice_of(ranges, count * sizeof(ranges[0])), digest);
    memcpy(&key, digest, sizeof(key));
    uintptr_t known = (uintptr_t)map_get(draft->classes_by_content, key);
    if (known != 0) {
        *out_class = (uint32_t)(known - 1);
        return ERR_OK;
    }
    TRY(char_class_add(draft->grammar, ranges, count, out_class));
    return map_put(draft->classes_by_content, key, (void *)(uintptr_t)(*out_class + 1));
}

static enum err add_chars(struct draft *draft, struct char_range *ranges, uint32_t count,
                          bool is_negated, uint32_t *out_item)
{
    uint32_t class = 0;
    TRY(class_of(draft, ranges, char_ranges_normalise(ranges, count, is_negated), &class));
    return add_item(draft, ITEM_CHARS, class, out_item);
}

static enum err add_letter(struct draft *draft, uint32_t code, uint32_t *out_item)
{
    struct char_range ranges[1 + CHAR_RANGES_SPARE] = {{code, code}};
    uint32_t *known = code < 128 ? &draft->ascii_classes[code] : NULL;
    if (known && *known > 0)
        return add_item(draft, ITEM_CHARS, *known - 1, out_item);
    TRY(add_chars(draft, ranges, 1, false, out_item));
    if (known)
        *known = draft->items[*out_item].arg + 1;
    return ERR_OK;
}

static enum err read_literal(struct draft *draft, uint32_t *out_item)
{
    size_t begin = draft->at - 1;
    struct chain chain;
    size_t count = 0;
    TRY(begin_chain(draft, ITEM_SEQUENCE, &chain));
    while (!take(draft, '"')) {
        if (peek(draft) < 0)
            return draft_fail(draft, begin, ERR_PROTOCOL, "this literal has no closing quote");
        uint32_t code, item = NO_ITEM;
        TRY(read_char(draft, &code));
        TRY(add_letter(draft, code, &item));
        chain_add(draft, &chain, item);
        count++;
    }
    *out_item = count == 1 ? chain.last : chain.parent; /* one letter can be repeated as it is */
    return ERR_OK;
}

static enum err read_range(struct draft *draft, struct char_range *out_range)
{
    size_t begin = draft->at;
    TRY(read_char(draft, &out_range->low));
    out_range->high = out_range->low;
    struct slice rest = slice_after(draft->text, draft->at);
    if (rest.len < 2 || rest.data[0] != '-' || rest.data[1] == ']')
        return ERR_OK;
    draft->at++;
    TRY(read_char(draft, &out_range->high));
    if (out_range->high < out_range->low)
        return draft_fail(draft, begin, ERR_PROTOCOL, "this range runs backwards");
    return ERR_OK;
}

static enum err read_class(struct draft *draft, uint32_t *out_item)
{
    size_t begin = draft->at - 1;
    struct char_range ranges[GRAMMAR_CLASS_RANGES_MAX + CHAR_RANGES_SPARE];
    uint32_t count = 0;
    bool is_negated = take(draft, '^');
    while (!take(draft, ']')) {
        if (peek(draft) < 0)
            return draft_fail(draft, begin, ERR_PROTOCOL, "this class has no closing ]");
        if (count == GRAMMAR_CLASS_RANGES_MAX)
            return draft_fail(draft, begin, ERR_LIMIT, "this class has more than %d ranges",
                              GRAMMAR_CLASS_RANGES_MAX);
        TRY(read_range(draft, &ranges[count++]));
    }
    if (count == 0)
        return draft_fail(draft, begin, ERR_PROTOCOL, "an empty class matches nothing");
    return add_chars(draft, ranges, count, is_negated, out_item);
}

/* --- rules --- */

static enum err read_name(struct draft *draft, struct slice *out_name)
{
    size_t begin = draft->at;
    while (is_name_byte(peek(draft)))
        draft->at++;
    *out_name = slice_of(draft->text.data + begin, draft->at - begin);
    if (out_name->len == 0)
        return fail_expected(draft, "the name of a rule");
    if (out_name->len > NAME_MAX_BYTES)
        return draft_fail(draft, begin, ERR_LIMIT, "a name has at most %d bytes", NAME_MAX_BYTES);
    return ERR_OK;
}

static enum err rule_named(struct draft *draft, struct slice name, size_t use, uint32_t *out_rule)
{
    uint64_t key = hash_bytes(name);
    for (uintptr_t known; (known = (uintptr_t)map_get(draft->rules_by_name, key)) != 0; key++) {
        *out_rule = (uint32_t)(known - 1);
        if (slice_eq(draft->rules[*out_rule].name, name))
            return ERR_OK;
    }
    if (draft->rule_count == GRAMMAR_RULES_MAX)
        return draft_fail(draft, use, ERR_LIMIT, "more than %d rules", GRAMMAR_RULES_MAX);
    TRY(GROW(draft->rules, draft->rule_count, draft->rule_capacity));
    *out_rule = draft->rule_count++;
    draft->rules[*out_rule] = (struct rule){.name = name, .first_use = use, .body = NO_ITEM};
    return map_put(draft->rules_by_name, key, (void *)(uintptr_t)(*out_rule + 1));
}

static enum err read_reference(struct draft *draft, uint32_t *out_item)
{
    size_t begin = draft->at;
    struct slice name;
    uint32_t rule = 0;
    TRY(read_name(draft, &name));
    TRY(rule_named(draft, name, begin, &rule));
    return add_item(draft, ITEM_RULE, rule, out_item);
}

static enum err read_choice(struct draft *draft, bool is_nested, uint32_t *out_item);

static enum err read_group(struct draft *draft, uint32_t *out_item)
{
    size_t begin = draft->at - 1;
    if (draft->nesting == GRAMMAR_NESTING_MAX)
        return draft_fail(draft, begin, ERR_LIMIT, "more than %d parentheses inside each other",
                          GRAMMAR_NESTING_MAX);
    draft->nesting++;
    skip_space(draft, true);
    TRY(read_choice(draft, true, out_item));
    draft->nesting--;
    if (!take(draft, ')'))
        return fail_expected(draft, "an item, | or )");
    return ERR_OK;
}

/* --- repetition --- */

static enum err read_number(struct draft *draft, uint32_t *out_number)
{
    size_t begin = draft->at;
    struct slice digits;
    uint64_t number;
    while (peek(draft) >= '0' && peek(draft) <= '9')
        draft->at++;
    digits = slice_of(draft->text.data + begin, draft->at - begin);
    if (digits.len == 0)
        return fail_expected(draft, "a number");
    if (slice_parse_u64(digits, GRAMMAR_REPEAT_MAX, &number) != ERR_OK)
        return draft_fail(draft, begin, ERR_LIMIT, "at most %d times", GRAMMAR_REPEAT_MAX);
    *out_number = (uint32_t)number;
    return ERR_OK;
}

/* Behind the brace. */
static enum err read_counts(struct draft *draft, uint32_t *out_min, uint32_t *out_max)
{
    size_t begin = draft->at;
    *out_min = 0;
    skip_space(draft, false);
    if (peek(draft) != ',')
        TRY(read_number(draft, out_min));
    *out_max = *out_min;
    skip_space(draft, false);
    if (take(draft, ',')) {
        *out_max = REPEAT_NO_END;
        skip_space(draft, false);
        if (peek(draft) != '}')
            TRY(read_number(draft, out_max));
        skip_space(draft, false);
    }
    if (!take(draft, '}'))
        return fail_expected(draft, "}");
    if (*out_max < *out_min)
        return draft_fail(draft, begin, ERR_PROTOCOL, "at least %u, at most %u times", *out_min,
                          *out_max);
    return ERR_OK;
}

static bool is_repetition(int byte)
{
    return byte == '*' || byte == '+' || byte == '?' || byte == '{';
}

static enum err read_repetition(struct draft *draft, uint32_t *out_min, uint32_t *out_max)
{
    *out_min = 0;
    *out_max = REPEAT_NO_END;
    if (take(draft, '{'))
        return read_counts(draft, out_min, out_max);
    if (take(draft, '+'))
        *out_min = 1;
    else if (take(draft, '?'))
        *out_max = 1;
    else
        draft->at++; /* the star */
    return ERR_OK;
}

/* Those that stand behind *item: each is about all before it, so that the second and later ones
 * take a group each. */
static enum err read_repetitions(struct draft *draft, bool is_nested, uint32_t *item)
{
    skip_space(draft, is_nested);
    for (int count = 0; is_repetition(peek(draft)); count++) {
        uint32_t min, max;
        if (count == REPETITIONS_IN_A_ROW_MAX)
            return draft_fail(draft, draft->at, ERR_LIMIT,
                              "more than %d repetitions behind one another",
                              REPETITIONS_IN_A_ROW_MAX);
        TRY(read_repetition(draft, &min, &max));
        if (count > 0) {
            uint32_t repeated = *item;
            TRY(add_item(draft, ITEM_SEQUENCE, repeated, item));
        }
        draft->items[*item].min = min;
        draft->items[*item].max = max;
        skip_space(draft, is_nested);
    }
    return ERR_OK;
}

/* --- sequences, alternatives, lines --- */

static enum err read_item(struct draft *draft, uint32_t *out_item)
{
    struct char_range any[1 + CHAR_RANGES_SPARE] = {{0, 0}}; /* negated: all but U+0000 */
    if (take(draft, '"'))
        return read_literal(draft, out_item);
    if (take(draft, '['))
        return read_class(draft, out_item);
    if (take(draft, '('))
        return read_group(draft, out_item);
    if (take(draft, '.'))
        return add_chars(draft, any, 1, true, out_item);
    return read_reference(draft, out_item);
}

static bool is_item_begin(int byte)
{
    return byte == '"' || byte == '[' || byte == '(' || byte == '.' || is_name_byte(byte);
}

static enum err read_sequence(struct draft *draft, bool is_nested, uint32_t *out_item)
{
    struct chain chain;
    TRY(begin_chain(draft, ITEM_SEQUENCE, &chain));
    while (is_item_begin(peek(draft))) {
        uint32_t item = NO_ITEM;
        TRY(read_item(draft, &item));
        TRY(read_repetitions(draft, is_nested, &item));
        chain_add(draft, &chain, item);
    }
    if (peek(draft) == '<' || peek(draft) == '!')
        return draft_fail(
            draft, draft->at, ERR_REFUSED,
            "references to tokens (<...>) are not supported: what is matched is text");
    *out_item = chain.parent;
    return ERR_OK;
}

static enum err read_choice(struct draft *draft, bool is_nested, uint32_t *out_item)
{
    struct chain chain;
    TRY(begin_chain(draft, ITEM_CHOICE, &chain));
    do {
        uint32_t item = NO_ITEM;
        skip_space(draft, is_nested || chain.last != NO_ITEM);
        TRY(read_sequence(draft, is_nested, &item));
        chain_add(draft, &chain, item);
    } while (take(draft, '|'));
    *out_item = chain.parent;
    return ERR_OK;
}

static enum err read_rule(struct draft *draft)
{
    size_t begin = draft->at;
    struct slice name;
    uint32_t rule, body = NO_ITEM;
    TRY(read_name(draft, &name));
    TRY(rule_named(draft, name, begin, &rule));
    if (draft->rules[rule].body != NO_ITEM)
        return draft_fail(draft, begin, ERR_PROTOCOL, "rule " SLICE_FMT " is defined twice",
                          SLICE_ARG(slice_first(name, 64)));
    skip_space(draft, false);
    if (!slice_starts_with(slice_after(draft->text, draft->at), SLICE("::=")))
        return fail_expected(draft, "::=");
    draft->at += 3;
    skip_space(draft, true);
    TRY(read_choice(draft, false, &body));
    draft->rules[rule].body = body;
    draft->rules[rule].defined = begin;
    if (peek(draft) >= 0 && peek(draft) != '\n' && peek(draft) != '\r')
        return fail_expected(draft, "an item, | or the end of the line");
    return ERR_OK;
}

static enum err check_rules_are_there(struct draft *draft)
{
    if (draft->rules[ROOT].body == NO_ITEM)
        return err_note_fail(draft->note, ERR_PROTOCOL,
                             "grammar: there is no rule named root, with which the text begins");
    for (uint32_t i = 0; i < draft->rule_count; i++) {
        const struct rule *rule = &draft->rules[i];
        if (rule->body == NO_ITEM)
            return draft_fail(draft, rule->first_use, ERR_PROTOCOL,
                              "there is no rule named " SLICE_FMT,
                              SLICE_ARG(slice_first(rule->name, 64)));
    }
    return ERR_OK;
}

static enum err read_rules(struct draft *draft)
{
    uint32_t root = NO_ITEM;
    TRY(rule_named(draft, SLICE("root"), 0, &root));
    ASSERT(root == ROOT);
    for (skip_space(draft, true); peek(draft) >= 0; skip_space(draft, true))
        TRY(read_rule(draft));
    return check_rules_are_there(draft);
}

enum err draft_read(struct draft *draft)
{
    if (draft->text.len > GRAMMAR_TEXT_MAX_BYTES)
        return err_note_fail(draft->note, ERR_LIMIT, "grammar: %zu bytes: allowed are %d",
                             draft->text.len, GRAMMAR_TEXT_MAX_BYTES);
    if (!utf8_is_valid(draft->text))
        return err_note_fail(draft->note, ERR_PROTOCOL, "grammar: its text is not valid UTF-8");
    return no_memory(read_rules(draft), draft);
}
