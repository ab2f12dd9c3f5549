/* engine_llama_absent - takes engine_llama's place in a build without llama.cpp's headers: the same
 * calls, and a sentence that says how to get the real ones. */
#include "engine/engine.h"

enum err engine_llama_open(const struct engine_llama_options *options,
                           engine_progress_fn *on_progress, void *progress_ctx,
                           struct engine **out_engine, struct err_note *out_note)
{
    (void)on_progress, (void)progress_ctx, (void)out_engine;
    return err_note_fail(out_note, ERR_NOT_FOUND,
                         "cannot load %s: this program was built without the headers of llama.cpp; "
                         "./run gets them and builds again (or: tools/setup-engine, then build)",
                         options->model_path);
}

bool engine_llama_is_built(void)
{
    return false;
}
