/* open_model - where the engine's libraries are, and what to say when they are not. */
#include "open_model.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

struct engine *open_model(const struct engine_llama_options *wish)
{
    static const char *const search[] = {SOURCE_ROOT "/build/deps/engine/lib", NULL};
    struct engine_llama_options options = *wish;
    options.library_dir = getenv("MILLRACE_ENGINE_DIR");
    options.search = search;
    options.threads = options.threads_batch = 1;
    struct engine *engine = NULL;
    struct err_note note = {{0}};
    if (engine_llama_open(&options, NULL, NULL, &engine, &note) == ERR_OK)
        return engine;
    fprintf(stderr, "%s: %s\n", program_invocation_short_name, note.text);
    exit(1);
}
