/* An adapter's file from anywhere, for a model's file from anywhere: what is accepted is written so
 * that it is a sound file again, of the promised size, for the same model. Input: u32 bytes of the
 * model, the model, the adapter. */
#include "engine/lora.h"

#include "base/mem.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static enum err add_bytes(void *ctx, const struct gguf_tensor *tensor)
{
    *(uint64_t *)ctx += tensor->bytes;
    ASSERT(tensor->dimension_count <= 2);
    return ERR_OK;
}

static void check_written(const struct lora *lora, const struct gguf_map *model)
{
    char *bytes = NULL;
    size_t count = 0;
    uint64_t sum = 0;
    struct gguf_summary summary;
    struct lora again = {0};
    FILE *out = open_memstream(&bytes, &count);
    ASSERT(out);
    ASSERT(lora_write(lora, out) == ERR_OK);
    ASSERT(fclose(out) == 0);
    struct slice written = slice_of(bytes, count);
    ASSERT(gguf_check(written, count, &summary, NULL) == ERR_OK);
    ASSERT(gguf_each_tensor(written, count, add_bytes, &sum) == ERR_OK);
    ASSERT(sum == lora->written_bytes);
    struct err_note note;
    enum err err = lora_check(written, model, &again, &note);
    /* Only a rank at the limit has become larger. */
    ASSERT_MSG(err == ERR_OK || strstr(note.text, "at most"), "%s", note.text);
    ASSERT(err != ERR_OK || again.written_bytes == sum);
    lora_fini(&again);
    free(bytes);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint32_t model_bytes;
    struct gguf_summary summary;
    struct lora lora = {0};
    struct err_note note = {{0}};
    if (size < sizeof(model_bytes))
        return 0;
    memcpy(&model_bytes, data, sizeof(model_bytes));
    struct slice rest = slice_of(data + sizeof(model_bytes), size - sizeof(model_bytes));
    if (model_bytes > rest.len)
        return 0;
    struct gguf_map model = {slice_first(rest, model_bytes), model_bytes};
    if (gguf_check(model.head, model.file_bytes, &summary, NULL) != ERR_OK)
        return 0;
    enum err err = lora_check(slice_after(rest, model_bytes), &model, &lora, &note);
    ASSERT(err == ERR_OK || (err == ERR_PROTOCOL && note.text[0]));
    if (err == ERR_OK)
        check_written(&lora, &model);
    lora_fini(&lora);
    return 0;
}
