/* phrase - reads a pattern from left to right; of a bracket's choices one is gone into. */
#include "nano/phrase.h"

enum { DEPTH_MAX = 8 };

/* The end of the piece that begins at `at`: the next '|' or ']' of this depth, or the end. */
static size_t piece_end(struct slice pattern, size_t at)
{
    int depth = 0;
    for (; at < pattern.len; at++) {
        char byte = pattern.data[at];
        if (byte == '\\')
            at++;
        else if (byte == '[')
            depth++;
        else if (byte == ']' && depth-- == 0)
            return at;
        else if (byte == '|' && depth == 0)
            return at;
    }
    return pattern.len;
}

static struct slice slice_between(struct slice slice, size_t begin, size_t end)
{
    return slice_first(slice_after(slice, begin), end - begin);
}

/* Behind the ']' of the bracket whose inside begins at `at`; how many choices it has. */
static size_t bracket_end(struct slice pattern, size_t at, size_t *out_choices)
{
    *out_choices = 0;
    for (;;) {
        at = piece_end(pattern, at);
        ++*out_choices;
        ASSERT_MSG(at < pattern.len, "an open bracket in \"" SLICE_FMT "\"", SLICE_ARG(pattern));
        if (pattern.data[at++] == ']')
            return at;
    }
}

static struct slice nth_choice(struct slice pattern, size_t at, size_t nth)
{
    while (nth-- > 0)
        at = piece_end(pattern, at) + 1;
    return slice_between(pattern, at, piece_end(pattern, at));
}

static struct slice slot_value(struct slice key, const struct slot *slots, size_t slot_count)
{
    for (size_t i = 0; i < slot_count; i++) {
        if (slice_eq_str(key, slots[i].key))
            return slots[i].value;
    }
    ASSERT_MSG(false, "no slot {" SLICE_FMT "}", SLICE_ARG(key));
    return (struct slice){0};
}

void phrase_add(struct text *out, struct choice *choice, struct slice pattern,
                const struct slot *slots, size_t slot_count)
{
    for (size_t at = 0; at < pattern.len;) {
        char byte = pattern.data[at++];
        if (byte == '\\' && at < pattern.len) {
            char escaped = pattern.data[at++];
            text_add_byte(out, escaped == 'n' ? '\n' : escaped);
        } else if (byte == '[') {
            size_t choices;
            size_t end = bracket_end(pattern, at, &choices);
            phrase_add(out, choice, nth_choice(pattern, at, choice_below(choice, choices)), slots,
                       slot_count);
            at = end;
        } else if (byte == '{') {
            size_t len = slice_find_byte(slice_after(pattern, at), '}');
            ASSERT_MSG(len != SLICE_NPOS, "an open { in \"" SLICE_FMT "\"", SLICE_ARG(pattern));
            text_add(out, slot_value(slice_between(pattern, at, at + len), slots, slot_count));
            at += len + 1;
        } else {
            text_add_byte(out, byte);
        }
    }
}

static size_t count_times(size_t a, size_t b)
{
    return b != 0 && a > SIZE_MAX / b ? SIZE_MAX : a * b;
}

size_t phrase_count(struct slice pattern)
{
    size_t count = 1;
    for (size_t at = 0; at < pattern.len; at++) {
        if (pattern.data[at] == '\\') {
            at++;
        } else if (pattern.data[at] == '[') {
            size_t choices, sum = 0;
            size_t end = bracket_end(pattern, at + 1, &choices);
            for (size_t i = 0; i < choices; i++) {
                size_t more = phrase_count(nth_choice(pattern, at + 1, i));
                sum = sum > SIZE_MAX - more ? SIZE_MAX : sum + more;
            }
            count = count_times(count, sum);
            at = end - 1;
        }
    }
    return count;
}

/* -- patterns from a file --------------------------------------------------- */

static bool is_known(struct slice key, const char *const *keys)
{
    for (; *keys; keys++) {
        if (slice_eq_str(key, *keys))
            return true;
    }
    return false;
}

static enum err check_slot(struct slice rest, const char *const *keys, size_t *out_bytes,
                           struct err_note *out_note)
{
    size_t len = slice_find_byte(rest, '}');
    if (len == SLICE_NPOS)
        return err_note_fail(out_note, ERR_PROTOCOL, "a { without its }");
    if (!is_known(slice_first(rest, len), keys))
        return err_note_fail(out_note, ERR_PROTOCOL, "there is no slot {" SLICE_FMT "}",
                             SLICE_ARG(slice_first(rest, len)));
    *out_bytes = len + 1;
    return ERR_OK;
}

enum err phrase_check(struct slice pattern, const char *const *keys, struct err_note *out_note)
{
    int depth = 0;
    for (size_t at = 0; at < pattern.len; at++) {
        switch (pattern.data[at]) {
        case '\\':
            if (++at == pattern.len)
                return err_note_fail(out_note, ERR_PROTOCOL, "a \\ with nothing behind it");
            break;
        case '[':
            if (++depth > DEPTH_MAX)
                return err_note_fail(out_note, ERR_PROTOCOL, "brackets more than %d deep",
                                     DEPTH_MAX);
            break;
        case ']':
            if (depth-- == 0)
                return err_note_fail(out_note, ERR_PROTOCOL, "a ] without its [");
            break;
        case '|':
            if (depth == 0)
                return err_note_fail(out_note, ERR_PROTOCOL, "a | outside of brackets");
            break;
        case '{': {
            size_t bytes = 0; /* gcc -O3 does not see that a success writes it */
            TRY(check_slot(slice_after(pattern, at + 1), keys, &bytes, out_note));
            at += bytes;
            break;
        }
        default:
            break;
        }
    }
    return depth ? err_note_fail(out_note, ERR_PROTOCOL, "a [ without its ]") : ERR_OK;
}
