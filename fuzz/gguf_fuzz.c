/* A model file from anywhere: the whole of it, and as the head of a longer one. */
#include "engine/gguf.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct gguf_summary summary;
    struct err_note note = {{0}};
    enum err whole = gguf_check(slice_of(data, size), size, &summary, &note);
    ASSERT(whole == ERR_OK || whole == ERR_PROTOCOL);
    ASSERT((whole == ERR_OK) == (note.text[0] == '\0'));
    if (whole == ERR_OK)
        ASSERT(summary.tensor_count == 0 || summary.data_offset + summary.data_bytes == size);

    /* What is sound stays so with more data behind it. */
    enum err longer = gguf_check(slice_of(data, size), (uint64_t)size + 4096, &summary, NULL);
    ASSERT(whole != ERR_OK || longer == ERR_OK);

    struct slice value;
    if (gguf_find(slice_of(data, size), SLICE("general.architecture"), &value) == ERR_OK)
        ASSERT((const uint8_t *)value.data >= data && value.len <= size);
    return 0;
}
