/* trace - traceparent: read strictly, continued or begun. */
#include "gateway/trace.h"

#include "base/hex.h"

#include <stdio.h>

enum {
    VERSION_BYTES = 2,
    TRACE_ID_AT = 3,
    PARENT_ID_AT = 36,
    PARENT_ID_BYTES = 16,
    FLAGS_AT = 53,
    FLAGS_BYTES = 2,
    FLAG_SAMPLED = 1,
};

/* Lower case only, as the standard has it. */
static bool parse_hex(struct slice digits, uint64_t *out_value)
{
    uint64_t value = 0;
    for (size_t i = 0; i < digits.len; i++) {
        int digit = hex_value(digits.data[i]);
        if (digit < 0 || digits.data[i] != hex_digit((unsigned)digit))
            return false;
        value = value << 4 | (uint64_t)digit;
    }
    *out_value = value;
    return true;
}

static bool parse_part(struct slice field, size_t at, size_t bytes, uint64_t *out_value)
{
    return parse_hex(slice_first(slice_after(field, at), bytes), out_value);
}

static bool has_dashes(struct slice field)
{
    return field.data[VERSION_BYTES] == '-' && field.data[PARENT_ID_AT - 1] == '-' &&
           field.data[FLAGS_AT - 1] == '-';
}

enum err trace_parse(struct slice field, struct trace *out_trace)
{
    uint64_t version, flags;
    struct trace trace;
    if (field.len < TRACE_TEXT_BYTES || !has_dashes(field) ||
        !parse_part(field, 0, VERSION_BYTES, &version) ||
        !parse_part(field, TRACE_ID_AT, 16, &trace.trace_id.high) ||
        !parse_part(field, TRACE_ID_AT + 16, 16, &trace.trace_id.low) ||
        !parse_part(field, PARENT_ID_AT, PARENT_ID_BYTES, &trace.parent_id) ||
        !parse_part(field, FLAGS_AT, FLAGS_BYTES, &flags))
        return ERR_PROTOCOL;
    /* A later version may add more, behind another dash; 00 may not, and ff is none at all. */
    if (field.len > TRACE_TEXT_BYTES && (version == 0 || field.data[TRACE_TEXT_BYTES] != '-'))
        return ERR_PROTOCOL;
    if (version == 0xff || id_is_zero(trace.trace_id) || trace.parent_id == 0)
        return ERR_PROTOCOL;
    trace.is_sampled = flags & FLAG_SAMPLED; /* the other bits mean nothing to level 1 */
    *out_trace = trace;
    return ERR_OK;
}

struct slice trace_format(const struct trace *trace, char out_text[TRACE_TEXT_BYTES + 1])
{
    char id[ID_TEXT_BYTES + 1];
    struct slice digits = id_format(trace->trace_id, id);
    snprintf(out_text, TRACE_TEXT_BYTES + 1, "00-" SLICE_FMT "-%016llx-%02x", SLICE_ARG(digits),
             (unsigned long long)trace->parent_id, trace->is_sampled ? FLAG_SAMPLED : 0u);
    return slice_of(out_text, TRACE_TEXT_BYTES);
}

/* The one field of that name; ERR_NOT_FOUND when there is none, or more than one. */
MUST_USE static enum err find_field(const struct http_request *request, struct slice *out_value)
{
    size_t count = 0;
    for (size_t i = 0; i < request->field_count; i++) {
        if (!slice_eq_ci(request->fields[i].name, SLICE("traceparent")))
            continue;
        *out_value = request->fields[i].value;
        count++;
    }
    return count == 1 ? ERR_OK : ERR_NOT_FOUND;
}

struct trace trace_join(const struct http_request *request, struct id id)
{
    struct slice field;
    struct trace trace;
    if (find_field(request, &field) != ERR_OK || trace_parse(field, &trace) != ERR_OK)
        trace = (struct trace){.trace_id = id};
    trace.parent_id = id.low ? id.low : 1; /* zero is no id, by the standard */
    return trace;
}
