/* traceparent_fuzz - a field that is read is written in the form of version 00 and read again the
 * same; one of version 00 is written byte for byte, but for the flags that we do not know. */
#include "gateway/trace.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct slice field = slice_of(data, size);
    struct trace trace, again;
    char text[TRACE_TEXT_BYTES + 1];
    if (trace_parse(field, &trace) != ERR_OK)
        return 0;
    struct slice written = trace_format(&trace, text);
    ASSERT(trace_parse(written, &again) == ERR_OK);
    ASSERT(id_eq(trace.trace_id, again.trace_id) && trace.parent_id == again.parent_id &&
           trace.is_sampled == again.is_sampled);
    ASSERT(
        slice_eq(slice_first(slice_after(written, 2), 51), slice_first(slice_after(field, 2), 51)));
    ASSERT(!slice_starts_with(field, SLICE("00")) || field.len == TRACE_TEXT_BYTES);
    return 0;
}
