/* llama_adapters - see llama_adapters.h. */
#include "engine/llama_adapters.h"

#include "base/mem.h"
#include "base/sha256.h"
#include "engine/lora.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

/* --- reading a file --- */

enum { PIECE_BYTES = 16 << 20 }; /* whoever waits for a stop is asked between two: 10 ms or so */

struct patience {
    bool (*may_go_on)(void *ctx);
    void *ctx;
};

static enum err read_bytes(int fd, char *bytes, size_t count, const struct patience *patience,
                           struct err_note *note)
{
    for (size_t at = 0; at < count;) {
        if (!patience->may_go_on(patience->ctx))
            return ERR_CANCELLED;
        size_t wanted = count - at < PIECE_BYTES ? count - at : PIECE_BYTES;
        ssize_t got = pread(fd, bytes + at, wanted, (off_t)at);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            return err_note_fail(note, ERR_PROTOCOL, "cannot be read behind byte %zu: %s", at,
                                 got < 0 ? strerror(errno) : "it has become shorter");
        at += (size_t)got;
    }
    return ERR_OK;
}

static enum err read_open_file(int fd, const struct patience *patience, struct slice *out_bytes,
                               struct err_note *note)
{
    struct stat status;
    if (fstat(fd, &status) != 0)
        return err_note_fail(note, ERR_PROTOCOL, "%s", strerror(errno));
    if (!S_ISREG(status.st_mode) || status.st_size == 0)
        return err_note_fail(note, ERR_PROTOCOL, "it is %s",
                             S_ISREG(status.st_mode) ? "empty" : "not a regular file");
    if (status.st_size > LLAMA_ADAPTER_FILE_MAX_BYTES)
        return err_note_fail(note, ERR_PROTOCOL, "it has %lld bytes: allowed are %d",
                             (long long)status.st_size, LLAMA_ADAPTER_FILE_MAX_BYTES);
    size_t count = (size_t)status.st_size;
    char *bytes = mem_peer_alloc(count);
    if (!bytes)
        return err_note_fail(note, ERR_NO_MEMORY, "no memory for its %zu bytes", count);
    enum err err = read_bytes(fd, bytes, count, patience, note);
    if (err != ERR_OK) {
        mem_free(bytes);
        return err;
    }
    *out_bytes = slice_of(bytes, count);
    return ERR_OK;
}

/* Into memory (mem_free() it): one that changes later, or a disk that fails, is no matter then. */
static enum err read_file(const char *path, const struct patience *patience,
                          struct slice *out_bytes, struct err_note *note)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK); /* a FIFO must not hold us up */
    if (fd < 0)
        return err_note_fail(note, ERR_PROTOCOL, "cannot be opened: %s", strerror(errno));
    enum err err = read_open_file(fd, patience, out_bytes, note);
    close(fd);
    return err;
}

/* --- looking at them, and writing what libllama gets --- */

static enum err write_for_libllama(const struct lora *lora, FILE **out_file, struct err_note *note)
{
    int fd = memfd_create("lora", MFD_CLOEXEC);
    FILE *file = fd >= 0 ? fdopen(fd, "w+b") : NULL;
    if (!file && fd >= 0)
        close(fd);
    if (file && lora_write(lora, file) == ERR_OK && fseek(file, 0, SEEK_SET) == 0) {
        *out_file = file;
        return ERR_OK;
    }
    int error = errno;
    if (file)
        (void)fclose(file); /* it has failed already */
    return err_note_fail(note, ERR_SYSTEM, "no file in memory for it: %s", strerror(error));
}

static uint64_t larger(uint64_t a, uint64_t b)
{
    return a > b ? a : b;
}

/* Tells the slice's bytes from those of the look: a file may be replaced meanwhile. */
static enum err check_digest(const struct engine_adapter *info, struct slice bytes,
                             struct err_note *note)
{
    uint8_t digest[SHA256_BYTES];
    sha256_of(bytes, digest);
    if (memcmp(digest, info->digest, sizeof(digest)) == 0)
        return ERR_OK;
    return err_note_fail(note, ERR_PROTOCOL, "it has changed while the model was loaded");
}

static enum err look_at_bytes(struct llama_adapters *adapters, uint32_t index, struct slice bytes,
                              const struct gguf_map *model, struct err_note *note)
{
    struct lora lora = {0};
    TRY(lora_check(bytes, model, &lora, note));
    adapters->infos[index].bytes = lora.written_bytes;
    adapters->bytes += lora.written_bytes;
    adapters->widest = larger(adapters->widest, lora.widest);
    adapters->widest_output = larger(adapters->widest_output, lora.widest_output);
    sha256_of(bytes, adapters->infos[index].digest);
    lora_fini(&lora);
    return ERR_OK;
}

static enum err write_bytes(struct llama_adapters *adapters, uint32_t index, struct slice bytes,
                            const struct gguf_map *model, struct err_note *note)
{
    struct lora lora = {0};
    TRY(check_digest(&adapters->infos[index], bytes, note));
    TRY(lora_check(bytes, model, &lora, note));
    enum err err = write_for_libllama(&lora, &adapters->file, note);
    lora_fini(&lora);
    return err;
}

typedef enum err bytes_fn(struct llama_adapters *adapters, uint32_t index, struct slice bytes,
                          const struct gguf_map *model, struct err_note *note);

/* Its whole file in memory, for as long as `use` takes. */
static enum err with_bytes(struct llama_adapters *adapters, uint32_t index, bytes_fn *use,
                           const struct engine_adapter_file *file, const struct gguf_map *model,
                           const struct patience *patience, struct err_note *note)
{
    struct slice bytes = {0};
    struct err_note why = {{0}};
    enum err err = read_file(file->path, patience, &bytes, &why);
    if (err == ERR_OK)
        err = use(adapters, index, bytes, model, &why);
    mem_free((void *)(uintptr_t)bytes.data);
    if (err == ERR_OK || err == ERR_CANCELLED)
        return err;
    return err_note_fail(note, err, "the adapter '%s' (%s) cannot be used: %s", file->name,
                         file->path, why.text);
}

static enum err look_at(struct llama_adapters *adapters, const struct engine_adapter_file *file,
                        const struct gguf_map *model, const struct patience *patience,
                        struct err_note *note)
{
    uint32_t index = adapters->count;
    snprintf(adapters->names[index], sizeof(adapters->names[index]), "%s", file->name);
    adapters->infos[index] =
        (struct engine_adapter){.name = adapters->names[index], .scale = file->scale};
    TRY(with_bytes(adapters, index, look_at_bytes, file, model, patience, note));
    adapters->count++;
    return ERR_OK;
}

enum err llama_adapters_look(struct llama_adapters *adapters,
                             const struct engine_llama_options *options,
                             bool (*may_go_on)(void *ctx), void *ctx, struct err_note *out_note)
{
    const struct patience patience = {may_go_on, ctx};
    struct gguf_map model;
    if (options->adapter_count == 0)
        return ERR_OK;
    TRY(gguf_map(options->model_path, &model, out_note));
    enum err err = ERR_OK;
    for (uint32_t i = 0; i < options->adapter_count && err == ERR_OK; i++)
        err = look_at(adapters, &options->adapters[i], &model, &patience, out_note);
    gguf_unmap(&model);
    return err;
}

/* The product with A and B, before it is added: libllama's allocator uses one for the next. */
uint64_t llama_adapters_compute_bytes(const struct llama_adapters *adapters, uint32_t batch_tokens,
                                      uint32_t logits_max)
{
    return larger(adapters->widest * batch_tokens, adapters->widest_output * logits_max) *
           sizeof(float);
}

/* --- libllama --- */

static enum err give(struct llama_adapters *adapters, uint32_t index, const struct llama_api *api,
                     struct llama_model *model, const struct llama_log *log, struct err_note *note)
{
    adapters->loaded[index] = api->llama_adapter_lora_init_from_file_ptr(model, adapters->file);
    (void)fclose(adapters->file); /* it was only read */
    adapters->file = NULL;
    if (adapters->loaded[index])
        return ERR_OK;
    return err_note_fail(note, ERR_PROTOCOL, "libllama refuses the adapter '%s': %s",
                         adapters->names[index],
                         log->first_error[0] ? log->first_error : "it does not say why");
}

enum err llama_adapters_load(struct llama_adapters *adapters,
                             const struct engine_llama_options *options,
                             const struct llama_api *api, struct llama_model *model,
                             const struct llama_log *log, bool (*may_go_on)(void *ctx), void *ctx,
                             struct err_note *out_note)
{
    const struct patience patience = {may_go_on, ctx};
    struct gguf_map map;
    if (adapters->count == 0)
        return ERR_OK;
    TRY(gguf_map(options->model_path, &map, out_note));
    enum err err = ERR_OK;
    for (uint32_t i = 0; i < adapters->count && err == ERR_OK; i++) {
        err =
            with_bytes(adapters, i, write_bytes, &options->adapters[i], &map, &patience, out_note);
        if (err == ERR_OK)
            err = give(adapters, i, api, model, log, out_note);
    }
    gguf_unmap(&map);
    return err;
}

void llama_adapters_use(struct llama_adapters *adapters, const struct llama_api *api,
                        struct llama_context *context, const struct engine_adapter_set *set)
{
    struct llama_adapter_lora *wanted[ENGINE_ADAPTERS_AT_ONCE] = {0};
    float scales[ENGINE_ADAPTERS_AT_ONCE] = {0};
    if (engine_adapter_set_eq(&adapters->now, set))
        return;
    for (uint32_t i = 0; i < set->count; i++) {
        wanted[i] = adapters->loaded[set->uses[i].index];
        scales[i] = set->uses[i].scale;
    }
    /* 0 is all that it returns. */
    (void)api->llama_set_adapters_lora(context, wanted, set->count, scales);
    adapters->now = *set;
}
