/* json_string_fuzz - any bytes written as a JSON string are one line of JSON that reads back as
 * those bytes, repaired. */
#include "base/json.h"
#include "base/utf8.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct slice bytes = slice_of(data, size);
    struct text written, repaired;
    text_init(&written, 6 * size + 2); /* the worst case: every byte becomes \u00XX */
    text_init(&repaired, 3 * size);
    json_add_string(&written, bytes);
    utf8_add_repaired(&repaired, bytes);
    ASSERT(text_status(&written) == ERR_OK && text_status(&repaired) == ERR_OK);
    for (size_t i = 0; i < written.len; i++)
        ASSERT((uint8_t)written.data[i] >= 0x20);

    json_t *value = NULL;
    enum err err = json_read(text_slice(&written), 1, &value, NULL);
    if (slice_find_byte(bytes, '\0') != SLICE_NPOS) {
        ASSERT(err == ERR_PROTOCOL); /* our own reader refuses \u0000 */
    } else {
        ASSERT(err == ERR_OK);
        ASSERT(slice_eq(json_slice(value), text_slice(&repaired)));
        json_decref(value);
    }
    text_fini(&written);
    text_fini(&repaired);
    return 0;
}
