/* trainer - a model in training: step after step by its recipe, each over rows that it makes
 * itself.
 *
 * 1. What it is after N steps is a pure function of recipe, tokenizer and documents (and of the
 *    compiler): the number of threads and interruptions do not show.
 * 2. A checkpoint is all that it is; it is read only by a trainer of the same three.
 *
 * Belongs to one thread; inside a call it uses others. */
#pragma once

#include "nano/pass.h"
#include "nano/recipe.h"

struct trainer_options { /* all borrowed as long as the trainer lives */
    const struct recipe *recipe;
    const struct tokenizer *tokenizer;
    document_fn *draw;
    void *ctx;
    unsigned threads; /* 1..64; at most recipe->shards are of use */
};

struct trainer;
struct trainer *trainer_new(const struct trainer_options *options);
void trainer_free(struct trainer *trainer);

uint32_t trainer_steps_done(const struct trainer *trainer);
/* One more; ASSERTs that there is one. out_losses: of its rows, before it. */
void trainer_step(struct trainer *trainer, struct losses *out_losses);
/* Of rows that are not learned from. Their tokens fit into a row of the recipe. */
void trainer_examine(struct trainer *trainer, const struct row *rows, size_t count,
                     struct losses *out_losses);
/* model_init()'s order; until the next step. */
const float *trainer_params(const struct trainer *trainer);

/* Whole or not at all. */
MUST_USE enum err trainer_save(const struct trainer *trainer, const char *path,
                               struct err_note *out_note);
/* ERR_NOT_FOUND, ERR_SYSTEM; ERR_PROTOCOL: damaged; ERR_REFUSED: of another recipe, or of other
 * documents (rule 2). The trainer is then as it was. */
MUST_USE enum err trainer_load(struct trainer *trainer, const char *path,
                               struct err_note *out_note);
