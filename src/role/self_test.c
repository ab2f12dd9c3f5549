/* self_test - see self_test.h. */
#include "role/self_test.h"

#include "base/hash.h"
#include "base/log.h"
#include "base/sha256.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

enum { CPU_INFO_BYTES = 4096, NAME_DIGITS = 16 };

static void add_file(struct text *key, const char *path)
{
    struct stat info;
    text_add_f(key, "%s", path);
    if (stat(path, &info) == 0)
        text_add_f(key, "|%lld bytes|%lld.%09ld", (long long)info.st_size,
                   (long long)info.st_mtim.tv_sec, info.st_mtim.tv_nsec);
}

/* The line of /proc/cpuinfo that names the first processor: how fast steps are depends on it, what
 * comes out on its instructions, which the engine tells. */
static void add_processor(struct text *key)
{
    char bytes[CPU_INFO_BYTES];
    int fd = open("/proc/cpuinfo", O_RDONLY | O_CLOEXEC);
    ssize_t got = fd >= 0 ? read(fd, bytes, sizeof(bytes)) : 0;
    if (fd >= 0)
        (void)close(fd); /* it was read */
    struct slice info = slice_of(bytes, got > 0 ? (size_t)got : 0);
    size_t at = slice_find(info, SLICE("model name"));
    if (at == SLICE_NPOS)
        return; /* other architectures call it otherwise, or nothing */
    struct slice line = slice_after(info, at);
    size_t end = slice_find(line, SLICE("\n"));
    text_add(key, slice_first(line, end == SLICE_NPOS ? line.len : end));
}

/* As many as there may be would not fit the key themselves. */
static uint64_t hash_of_adapters(const struct engine_llama_options *engine)
{
    uint64_t hash = HASH_START;
    for (uint32_t i = 0; i < engine->adapter_count; i++) {
        const struct engine_adapter_file *adapter = &engine->adapters[i];
        struct text file;
        text_init(&file, 8192); /* a path is at most half as long */
        text_add_f(&file, "|%s|%.9g|", adapter->name, (double)adapter->scale);
        add_file(&file, adapter->path);
        hash = hash_add(hash, text_slice(&file));
        text_fini(&file);
    }
    return hash;
}

static void make_key(const struct engine_llama_options *engine, struct self_test *out_test)
{
    struct text key;
    text_init(&key, SELF_TEST_KEY_MAX_BYTES - 1);
    add_file(&key, engine->model_path);
    text_add_byte(&key, '|');
    add_processor(&key);
    text_add_f(&key, "|%s|threads=%u,%u|kv=%d,%d|load=%d|gpu_layers=%u",
               engine->library_dir ? engine->library_dir : "", engine->threads,
               engine->threads_batch, (int)engine->kv_key, (int)engine->kv_value, (int)engine->load,
               engine->gpu_layers);
    if (engine->adapter_count > 0)
        text_add_f(&key, "|lora=%016llx", (unsigned long long)hash_of_adapters(engine));
    if (engine->cpus)
        text_add_f(&key, "|cpus=%016llx",
                   (unsigned long long)hash_bytes(slice_of(engine->cpus, sizeof(*engine->cpus))));
    snprintf(out_test->key, sizeof(out_test->key), SLICE_FMT, SLICE_ARG(text_slice(&key)));
    text_fini(&key);
}

void self_test_make(const char *state_dir, const struct engine_llama_options *engine,
                    struct self_test *out_test)
{
    uint8_t digest[SHA256_BYTES];
    char digits[SHA256_HEX_BYTES + 1];
    out_test->path[0] = '\0';
    make_key(engine, out_test);
    if (!state_dir[0])
        return;
    sha256_of(slice_str(engine->model_path), digest);
    (void)sha256_format(digest, digits); /* the slice of `digits` */
    snprintf(out_test->path, sizeof(out_test->path), "%s/self-test-%.*s.json", state_dir,
             NAME_DIGITS, digits);
}

void self_test_open(const struct config *config, const struct engine_llama_options *engine,
                    struct self_test *test, struct worker_options *options)
{
    char state_dir[FOLDER_MAX_BYTES] = "";
    struct err_note note;
    if (config->self_test_ms == 0)
        return;
    if (folder_state(config, state_dir, sizeof(state_dir), &note) != ERR_OK) {
        log_event(LOG_WARN, "self_test_not_kept", "note=%s",
                  log_quote(slice_str(note.text), sizeof(note.text)));
        state_dir[0] = '\0';
    }
    self_test_make(state_dir, engine, test);
    options->selftest =
        (struct selftest_options){.budget_us = config->self_test_ms * UINT64_C(1000),
                                  .path = test->path,
                                  .key = test->key,
                                  .is_fast = engine->fast};
}
