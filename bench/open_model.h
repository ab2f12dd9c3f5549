/* open_model - a model on libllama for a program that measures. */
#pragma once

#include "engine/engine.h"

/* As wished, with one engine thread, the calling one, so that its CPU time is the model's; from
 * MILLRACE_ENGINE_DIR, the system's libraries or those that tools/setup-engine got. Ends the
 * program with the reason when there is none. */
struct engine *open_model(const struct engine_llama_options *wish);
