/* prefix_folder - see prefix_folder.h. */
#include "role/prefix_folder.h"

#include "base/log.h"
#include "base/sha256.h"

#include <stdio.h>
#include <sys/stat.h>

enum { NAME_DIGITS = 16 };

void prefix_folder_make(const char *state_dir, const struct engine_llama_options *engine,
                        struct prefix_folder *out_folder)
{
    struct stat file = {0};
    uint8_t digest[SHA256_BYTES];
    char digits[SHA256_HEX_BYTES + 1];
    (void)stat(engine->model_path, &file); /* if it is not there, nothing will be loaded either */
    snprintf(out_folder->key, sizeof(out_folder->key), "%s|%lld|%lld.%09ld|%s|%d,%d|%d|%u",
             engine->model_path, (long long)file.st_size, (long long)file.st_mtim.tv_sec,
             file.st_mtim.tv_nsec, engine->library_dir ? engine->library_dir : "",
             (int)engine->kv_key, (int)engine->kv_value, engine->fast, engine->gpu_layers);
    sha256_of(slice_str(engine->model_path), digest);
    (void)sha256_format(digest, digits); /* the slice of `digits` */
    snprintf(out_folder->path, sizeof(out_folder->path), "%s/prefixes-%.*s", state_dir, NAME_DIGITS,
             digits);
}

void prefix_folder_open(const struct config *config, const struct engine_llama_options *engine,
                        struct prefix_folder *folder, struct worker_options *options)
{
    char state_dir[FOLDER_MAX_BYTES];
    struct err_note note;
    if (config->prefix_disk_bytes == 0 || config->prefix_cache_bytes == 0)
        return;
    if (folder_state(config, state_dir, sizeof(state_dir), &note) != ERR_OK) {
        log_event(LOG_WARN, "prefix_disk_off", "note=%s",
                  log_quote(slice_str(note.text), sizeof(note.text)));
        return;
    }
    prefix_folder_make(state_dir, engine, folder);
    options->core.prefix_disk = (struct prefix_disk_options){
        .folder = folder->path,
        .bytes_max = config->prefix_disk_bytes / config->llama_workers, /* each knows its own */
        .key = folder->key};
}
