/* checkpoint - a file of all that a trainer is. Read only on a machine of the same byte order. */
#pragma once

#include "nano/model.h"

#include "base/err.h"

struct checkpoint {
    struct shape shape;
    uint64_t recipe, documents; /* hashes: what it is a checkpoint of */
    uint64_t steps_done;
    uint64_t param_count;
    float *params, *first, *second; /* param_count each; the caller's */
};

/* Whole or not at all; synced before it takes the place of the one before. */
MUST_USE enum err checkpoint_write(const struct checkpoint *checkpoint, const char *path,
                                   struct err_note *out_note);
/* `expected`: recipe, documents, shape and param_count say what it must be of, the arrays where it
 * goes. ERR_NOT_FOUND, ERR_SYSTEM; ERR_PROTOCOL: not a checkpoint, or damaged; ERR_REFUSED: of
 * something else. Nothing is written then. */
MUST_USE enum err checkpoint_read(struct checkpoint *expected, const char *path,
                                  struct err_note *out_note);

/* What an exporter needs of any checkpoint: *out_params is the caller's to mem_free().
 * ERR_NOT_FOUND, ERR_SYSTEM, ERR_PROTOCOL. */
MUST_USE enum err checkpoint_params(const char *path, struct shape *out_shape,
                                    uint64_t *out_steps_done, float **out_params,
                                    struct err_note *out_note);
