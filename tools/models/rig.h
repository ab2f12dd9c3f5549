/* rig - a model of random weights for the length of a test, and libllama on it. */
#pragma once

#include "engine/engine.h"
#include "models/random_lora.h"
#include "models/random_model.h"
#include "nano/cpu.h"
#include "testing/test.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

struct made {
    char path[64];
};

/* Skips the test where the processor cannot pack weights. */
static inline struct made made_of(const struct random_model *model)
{
    cpu_or_skip();
    struct made made = {"/tmp/millrace-random-XXXXXX"};
    struct random_model whole = *model;
    if (!whole.vocabulary)
        whole.vocabulary = SOURCE_ROOT "/models/nano.gguf";
    int fd = mkstemp(made.path);
    CHECK(fd >= 0);
    close(fd);
    struct err_note note = {{0}};
    enum err err = random_model_write(&whole, made.path, &note);
    CHECK_STR(note.text, "");
    CHECK_OK(err);
    return made;
}

static inline struct made made_kind(enum random_kind kind)
{
    return made_of(&(struct random_model){.kind = kind, .type = GGUF_TENSOR_Q8_0, .seed = 1});
}

static inline struct made made_lora(const struct random_lora *lora)
{
    cpu_or_skip();
    struct made made = {"/tmp/millrace-lora-XXXXXX"};
    int fd = mkstemp(made.path);
    CHECK(fd >= 0);
    close(fd);
    struct err_note note = {{0}};
    enum err err = random_lora_write(lora, made.path, &note);
    CHECK_STR(note.text, "");
    CHECK_OK(err);
    return made;
}

static inline void made_fini(struct made *made)
{
    unlink(made->path);
}

/* Skips the test, with the reason, where there is no libllama. */
static inline struct engine *made_open(struct made *made, struct engine_llama_options options)
{
    static const char *const search[] = {SOURCE_ROOT "/build/deps/engine/lib", NULL};
    options.library_dir = getenv("MILLRACE_ENGINE_DIR");
    options.search = search;
    options.model_path = made->path;
    options.threads = options.threads_batch = 1;
    struct engine *engine = NULL;
    struct err_note note = {{0}};
    enum err err = engine_llama_open(&options, NULL, NULL, &engine, &note);
    if (err == ERR_NOT_FOUND || err == ERR_REFUSED) {
        made_fini(made);
        SKIP("%s", note.text);
    }
    CHECK_STR(note.text, "");
    CHECK_OK(err);
    return engine;
}
