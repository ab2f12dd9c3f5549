/* train - the commands of nano_train. Each returns an error with its note; what goes on is printed
 * to stdout, a line at a time. */
#pragma once

#include "base/err.h"

struct train_options {
    const char *tokenizer_path, *checkpoint_path, *template_path, *model_path;
    uint32_t vocab;   /* 0: the recipe's */
    uint32_t steps;   /* 0: the recipe's */
    uint32_t rows;    /* of the last steps; 0: the recipe's */
    uint32_t stop_at; /* end (with a checkpoint) after so many of them; 0: all */
    unsigned threads;
};

/* Learns the tokenizer from documents of training. Writes tokenizer_path. */
MUST_USE enum err train_learn(const struct train_options *options, struct err_note *out_note);
/* A table of what the documents are: how long by kind, and how much of them is answers. */
MUST_USE enum err train_count(const struct train_options *options, struct err_note *out_note);
/* Writes model_path: GGUF of checkpoint_path, whatever step it is of, and template_path's Jinja. */
MUST_USE enum err train_export(const struct train_options *options, struct err_note *out_note);
/* Trains to the recipe's end, going on from checkpoint_path when it is there. SIGINT and SIGTERM
 * end it after the step, with a checkpoint (ERR_CANCELLED). */
MUST_USE enum err train_train(const struct train_options *options, struct err_note *out_note);
