/* engine_llama_test_open - opens the shipped model for the tests of the llama engine; skips the
 * test when there is no library. Comes behind testing/test.h, which only *_test.c may include. */
#pragma once

#include "engine/engine.h"
#include "engine/llama_api.h"

#include <stdlib.h>

enum { PROMPT_MAX = 512, SLOTS = 4 };

static const char model_path[] = SOURCE_ROOT "/models/nano.gguf";
static const char *const search[] = {SOURCE_ROOT "/build/deps/engine/lib", NULL};

static inline struct engine_llama_options options_default(void)
{
    const struct llama_api *api = NULL;
    struct err_note note = {{0}};
    if (llama_api_load(getenv("MILLRACE_ENGINE_DIR"), search, &api, &note) != ERR_OK)
        SKIP("%s", note.text);
    return (struct engine_llama_options){.search = search,
                                         .model_path = model_path,
                                         .slots = SLOTS,
                                         .threads = 1,
                                         .threads_batch = 1};
}

static inline struct engine *open_with(const struct engine_llama_options *options)
{
    struct engine *engine = NULL;
    struct err_note note = {{0}};
    enum err err = engine_llama_open(options, NULL, NULL, &engine, &note);
    CHECK_STR(note.text, "");
    CHECK_OK(err);
    return engine;
}

static inline struct engine *open_default(void)
{
    struct engine_llama_options options = options_default();
    return open_with(&options);
}

static inline size_t tokens_of(struct engine *engine, const char *text, token_id tokens[PROMPT_MAX])
{
    size_t count = 0;
    CHECK_OK(engine_tokenize(engine, slice_str(text), true, true, tokens, PROMPT_MAX, &count));
    return count;
}
