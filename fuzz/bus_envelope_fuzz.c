/* bus_envelope_fuzz - an envelope decodes or is refused, and what decodes encodes to the same
 * bytes. */
#include "base/mem.h"
#include "bus/bus_envelope.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *exact = mem_alloc(size ? size : 1); /* alone in its memory: overreading is seen */
    if (size)
        memcpy(exact, data, size);
    struct envelope envelope;
    if (envelope_decode(slice_of(exact, size), &envelope) == ERR_OK) {
        char bytes[ENVELOPE_MAX_BYTES];
        size_t len = envelope_encode(&envelope, bytes);
        ASSERT(slice_eq(slice_of(bytes, len), slice_of(exact, size)));
        ASSERT(envelope.kind > 0 && envelope.kind < ENVELOPE_KIND_END);
    }
    mem_free(exact);
    return 0;
}
