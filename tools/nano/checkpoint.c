/* checkpoint - a header, three arrays of floats, and a hash of all that. */
#include "nano/checkpoint.h"

#include "base/hash.h"
#include "base/mem.h"
#include "nano/file.h"

static const char magic[8] = "nanockp1";

struct header {
    char magic[sizeof(magic)];
    struct shape shape;
    uint64_t recipe, documents, steps_done, param_count;
};

enum { ARRAYS = 3, PARTS = 1 + ARRAYS + 1, FILE_BYTES_MAX = 1 << 30 };

enum err checkpoint_write(const struct checkpoint *checkpoint, const char *path,
                          struct err_note *out_note)
{
    struct header header = {.shape = checkpoint->shape,
                            .recipe = checkpoint->recipe,
                            .documents = checkpoint->documents,
                            .steps_done = checkpoint->steps_done,
                            .param_count = checkpoint->param_count};
    memcpy(header.magic, magic, sizeof(magic));
    size_t bytes = checkpoint->param_count * sizeof(float);
    uint64_t hash = HASH_START;
    struct slice parts[PARTS] = {
        slice_of(&header, sizeof(header)),  slice_of(checkpoint->params, bytes),
        slice_of(checkpoint->first, bytes), slice_of(checkpoint->second, bytes),
        slice_of(&hash, sizeof(hash)),
    };
    for (size_t i = 0; i + 1 < PARTS; i++)
        hash = hash_add(hash, parts[i]);
    return file_write(path, parts, PARTS, out_note);
}

/* The header and the bytes of the arrays, if they are whole. */
static enum err open_bytes(struct slice all, struct header *out_header, struct slice *out_arrays)
{
    struct header header;
    uint64_t hash;
    if (all.len < sizeof(header) + sizeof(hash))
        return ERR_PROTOCOL;
    struct slice hashed = slice_first(all, all.len - sizeof(hash));
    memcpy(&header, all.data, sizeof(header));
    memcpy(&hash, all.data + hashed.len, sizeof(hash));
    struct slice arrays = slice_after(hashed, sizeof(header));
    if (memcmp(header.magic, magic, sizeof(magic)) != 0 || hash_bytes(hashed) != hash ||
        arrays.len != ARRAYS * sizeof(float) * header.param_count)
        return ERR_PROTOCOL;
    *out_header = header;
    *out_arrays = arrays;
    return ERR_OK;
}

static enum err read_file(const char *path, struct text *all, struct header *out_header,
                          struct slice *out_arrays, struct err_note *out_note)
{
    text_init(all, FILE_BYTES_MAX);
    TRY(file_read(path, all, out_note));
    if (open_bytes(text_slice(all), out_header, out_arrays) == ERR_OK)
        return ERR_OK;
    return err_note_fail(out_note, ERR_PROTOCOL, "%s: not a checkpoint, or a damaged one", path);
}

static enum err check_header(const struct header *header, const struct checkpoint *expected,
                             const char *path, struct err_note *out_note)
{
    const char *other = NULL;
    if (header->recipe != expected->recipe || header->param_count != expected->param_count)
        other = "with another recipe (shape, steps, rates, seed)";
    else if (header->documents != expected->documents)
        other = "from other documents or with another tokenizer";
    if (!other)
        return ERR_OK;
    return err_note_fail(out_note, ERR_REFUSED,
                         "%s: a checkpoint of a training %s; go on with what made it, or remove it "
                         "to begin anew",
                         path, other);
}

enum err checkpoint_read(struct checkpoint *expected, const char *path, struct err_note *out_note)
{
    struct text all;
    struct header header = {0};
    struct slice arrays = {0};
    enum err err = read_file(path, &all, &header, &arrays, out_note);
    if (err == ERR_OK)
        err = check_header(&header, expected, path, out_note);
    if (err == ERR_OK) {
        size_t bytes = expected->param_count * sizeof(float);
        memcpy(expected->params, arrays.data, bytes);
        memcpy(expected->first, arrays.data + bytes, bytes);
        memcpy(expected->second, arrays.data + 2 * bytes, bytes);
        expected->steps_done = header.steps_done;
    }
    text_fini(&all);
    return err;
}

enum err checkpoint_params(const char *path, struct shape *out_shape, uint64_t *out_steps_done,
                           float **out_params, struct err_note *out_note)
{
    struct text all;
    struct header header = {0};
    struct slice arrays = {0};
    enum err err = read_file(path, &all, &header, &arrays, out_note);
    if (err == ERR_OK) {
        *out_shape = header.shape;
        *out_steps_done = header.steps_done;
        *out_params = mem_array(header.param_count, sizeof(float));
        memcpy(*out_params, arrays.data, header.param_count * sizeof(float));
    }
    text_fini(&all);
    return err;
}
