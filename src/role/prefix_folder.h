/* prefix_folder - where a worker keeps beginnings of prompts on disk (prefix_disk_bytes): a folder
 * in the state folder, one for each model file, and the key under which its files are believed. */
#pragma once

#include "config/config.h"
#include "role/folders.h"
#include "worker/worker.h"

enum { PREFIX_FOLDER_KEY_MAX_BYTES = 16 * 1024 };

struct prefix_folder {
    char path[FOLDER_MAX_BYTES + 64];
    char key[PREFIX_FOLDER_KEY_MAX_BYTES];
};

/* The key has the file's path, size and time of change, and what decides the form and the bits of
 * its cache; the engine adds what it is itself (prefix_disk.c). */
void prefix_folder_make(const char *state_dir, const struct engine_llama_options *engine,
                        struct prefix_folder *out_folder);
/* For the worker of the GGUF model: fills options->core.prefix_disk, which points into *folder, if
 * the config wants it. A state folder that cannot be used is a warning. */
void prefix_folder_open(const struct config *config, const struct engine_llama_options *engine,
                        struct prefix_folder *folder, struct worker_options *options);
