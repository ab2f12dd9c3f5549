/* self_test - what a worker needs to keep the result of its self-test: a file in the state folder,
 * one for each model file, and the key under which what stands there is believed. */
#pragma once

#include "config/config.h"
#include "role/folders.h"
#include "worker/worker.h"

enum { SELF_TEST_KEY_MAX_BYTES = 16 * 1024 };

struct self_test {
    char path[FOLDER_MAX_BYTES + 64]; /* "": there is no folder to keep it in */
    char key[SELF_TEST_KEY_MAX_BYTES];
};

/* `state_dir` "": it is not kept. The key has the file's path, size and time of change, the
 * processor, and all that engine and cache are told; the engine adds its own (selftest_run.c). */
void self_test_make(const char *state_dir, const struct engine_llama_options *engine,
                    struct self_test *out_test);
/* For the worker of the GGUF model: fills options->selftest, which points into *test. A state
 * folder that cannot be used is a warning. */
void self_test_open(const struct config *config, const struct engine_llama_options *engine,
                    struct self_test *test, struct worker_options *options);
