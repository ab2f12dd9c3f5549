/* Tests of a build without llama.cpp's headers. */
#include "engine/engine.h"

#include "testing/test.h"

TEST(open_says_how_to_get_the_engine)
{
    struct engine_llama_options options = {.model_path = "models/nano.gguf"};
    struct engine *engine = NULL;
    struct err_note note = {{0}};
    CHECK(!engine_llama_is_built());
    CHECK_ERR(engine_llama_open(&options, NULL, NULL, &engine, &note), ERR_NOT_FOUND);
    CHECK(engine == NULL);
    CHECK(strstr(note.text, "models/nano.gguf"));
    CHECK(strstr(note.text, "tools/setup-engine"));
}
