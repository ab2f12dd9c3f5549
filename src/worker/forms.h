/* forms - the grammars that requests ask for, ready to be followed: compiled on the pool, and kept,
 * for agents send the same schema every time.
 *
 * 1. Nothing here holds up a stream. What takes long - a schema made into a grammar, a grammar into
 *    its table, the pieces of the vocabulary into their tree (0.3 s with 152 000) - is done on the
 *    pool. What is there already costs a look-up, on the loop.
 * 2. The tree is made once, for the first request with a form: a worker that is never asked for one
 *    does not pay for it (40 bytes a token). Who comes while it is being made waits on a list, and
 *    holds no thread of the pool.
 * 3. Grammars are kept by the digest of what was asked for, FORMS_KEPT_MAX of them and
 *    FORMS_KEPT_BYTES_MAX in all; the longest unused goes first. What was refused is not kept.
 *
 * Belongs to its loop's thread. What waits is bounded by whoever prepares requests. */
#pragma once

#include "engine/engine.h"
#include "grammar/grammar_mask.h"
#include "loop/loop.h"
#include "wire/form.h"

enum { FORMS_KEPT_MAX = 64, FORMS_KEPT_BYTES_MAX = 32 << 20 };

struct forms;
struct forms *forms_new(struct loop *loop); /* never NULL */
/* Nothing is under way, and nobody uses the vocabulary any more. NULL is fine. */
void forms_free(struct forms *forms);

/* What one request asks for. */
struct form_order;
/* Any thread. Copies the form, which is not FORM_FREE. NULL: no memory. The engine must stay open
 * until the order is gone. */
struct form_order *form_order_new(struct engine *engine, const struct form *form);
void form_order_free(struct form_order *order); /* NULL is fine */
struct slice form_order_param(const struct form_order *order);

/* On ERR_OK the match, at its beginning, is the callee's; the vocabulary is good until
 * forms_free(). Otherwise the note says why: ERR_PROTOCOL, ERR_LIMIT, ERR_REFUSED as in grammar.h,
 * grammar_match.h and schema.h; ERR_FULL: no memory. The order is gone when it returns. */
typedef void form_done_fn(void *ctx, const struct form_order *order, enum err err,
                          struct grammar_match *match, const struct grammar_vocab *vocab,
                          const struct err_note *note);
/* Takes the order. on_done is called once: before this returns if all is there, else from the loop.
 */
void forms_get(struct forms *forms, struct form_order *order, form_done_fn *on_done, void *ctx);
/* From forms_get() to on_done: nobody wants it any more. What has not begun is not begun, and
 * on_done says ERR_CANCELLED, from the loop; what has begun ends as ever. */
void form_order_cancel(struct form_order *order);

struct forms_stats {
    uint32_t kept;
    size_t kept_bytes;
    uint64_t compiled, found; /* requests that needed it, or did not */
    uint64_t trees;           /* made; more than one is a mistake */
};
struct forms_stats forms_stats(const struct forms *forms);
