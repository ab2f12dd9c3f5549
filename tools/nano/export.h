/* export - a trained model as a file that llama.cpp reads: GGUF with matrices at Q8_0, norms at
 * F32, the tokenizer and the chat template. A pure function of what it is given. */
#pragma once

#include "nano/model.h"
#include "nano/tokenizer.h"

struct export_parts {
    const struct model *model;
    const float *params;
    const struct tokenizer *tokenizer;
    struct slice chat_template; /* Jinja */
    bool is_exact;              /* matrices at F32 as well: to compare, not to ship */
};

MUST_USE enum err export_write(const struct export_parts *parts, const char *path,
                               struct err_note *out_note);
