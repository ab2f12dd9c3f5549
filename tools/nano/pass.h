/* pass - a row through the model and back: losses, and what each parameter did to them. The work of
 * one thread; threads differ in their pass and share model and params. */
#pragma once

#include "nano/model.h"
#include "nano/rows.h"

struct losses {                    /* sums; whoever adds rows begins with zeros */
    double weighted, weights;      /* of all tokens, by weight */
    double answers[ROW_KINDS_MAX]; /* of tokens that weigh 100 */
    uint64_t answer_tokens[ROW_KINDS_MAX], right[ROW_KINDS_MAX]; /* right: would be said so */
    uint64_t tokens, left_out; /* of rows; documents that were too long for them */
};
void losses_add(struct losses *sum, const struct losses *more);

/* Room for rows of that many tokens: 70 KB each for six layers of 192. */
struct pass;
struct pass *pass_new(const struct model *model, size_t tokens_max);
void pass_free(struct pass *pass);

/* Adds the row's losses. grads (NULL: no way back) grow by scale * d(weighted losses)/d(params). */
void pass_run(struct pass *pass, const float *params, const struct row *row, float scale,
              float *grads, struct losses *losses);
/* The logits behind each token of one document: vocab a token. */
void pass_logits(struct pass *pass, const float *params, const uint16_t *tokens, size_t count,
                 float *out_logits);
