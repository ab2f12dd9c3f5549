/* label - names and labels of the text format: written by metrics_label(), checked here. */
#include "metrics/label.h"

#include "base/utf8.h"
#include "metrics/metrics.h"

static bool is_name_byte(char byte, bool is_first)
{
    return (byte >= 'a' && byte <= 'z') || (byte >= 'A' && byte <= 'Z') || byte == '_' ||
           (!is_first && byte >= '0' && byte <= '9');
}

bool metric_name_is_valid(struct slice name)
{
    for (size_t i = 0; i < name.len; i++)
        if (!is_name_byte(name.data[i], i == 0) && name.data[i] != ':')
            return false;
    return name.len > 0 && name.len <= METRIC_NAME_MAX_BYTES;
}

bool metric_help_is_valid(struct slice help)
{
    return help.len <= METRIC_HELP_MAX_BYTES && utf8_is_valid(help) &&
           slice_find_byte(help, '\n') == SLICE_NPOS && slice_find_byte(help, '\\') == SLICE_NPOS;
}

/* --- labels --- */

/* Takes the key and its '='. */
static bool take_key(struct slice *rest, struct slice *out_key)
{
    size_t len = 0;
    while (len < rest->len && is_name_byte(rest->data[len], len == 0))
        len++;
    if (len == 0 || len == rest->len || rest->data[len] != '=')
        return false;
    *out_key = slice_first(*rest, len);
    *rest = slice_after(*rest, len + 1);
    return !slice_eq(*out_key, SLICE("le"));
}

/* Takes "value" with its quotes. */
static bool take_value(struct slice *rest)
{
    if (rest->len == 0 || rest->data[0] != '"')
        return false;
    for (size_t i = 1; i < rest->len; i++) {
        char byte = rest->data[i];
        if (byte == '"') {
            *rest = slice_after(*rest, i + 1);
            return true;
        }
        if (byte == '\n')
            return false;
        if (byte != '\\')
            continue;
        if (++i == rest->len || !memchr("\\\"n", rest->data[i], 3))
            return false;
    }
    return false;
}

static bool is_among(const struct slice *keys, size_t count, struct slice key)
{
    for (size_t i = 0; i < count; i++)
        if (slice_eq(keys[i], key))
            return true;
    return false;
}

bool metric_labels_are_valid(struct slice labels)
{
    struct slice keys[METRIC_LABELS_MAX], rest = labels;
    if (labels.len > METRIC_LABELS_MAX_BYTES || !utf8_is_valid(labels))
        return false;
    for (size_t count = 0; rest.len > 0; count++) {
        if (count > 0 && rest.data[0] != ',')
            return false;
        if (count > 0)
            rest = slice_after(rest, 1);
        if (count == METRIC_LABELS_MAX || !take_key(&rest, &keys[count]) ||
            is_among(keys, count, keys[count]) || !take_value(&rest))
            return false;
    }
    return true;
}

static void add_escaped(struct text *labels, struct slice value)
{
    for (size_t i = 0; i < value.len; i++) {
        char byte = value.data[i];
        if (byte == '\n')
            text_add(labels, SLICE("\\n"));
        else if (byte == '\\' || byte == '"')
            text_add(labels, slice_of((char[]){'\\', byte}, 2));
        else
            text_add_byte(labels, byte);
    }
}

void metrics_label(struct text *labels, const char *key, struct slice value)
{
    size_t before = labels->len;
    struct text repaired;
    text_init(&repaired, METRIC_LABELS_MAX_BYTES);
    utf8_add_repaired(&repaired, value);
    text_add_f(labels, "%s%s=\"", before > 0 ? "," : "", key);
    add_escaped(labels, text_slice(&repaired));
    text_add(labels, slice_of("\"", 2)); /* with its NUL, which is not counted */
    if (repaired.overflowed)
        labels->overflowed = true;
    text_shrink(labels, labels->overflowed ? before : labels->len - 1);
    text_fini(&repaired);
}
