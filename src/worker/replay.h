/* replay - an answer that goes on elsewhere: what is there of it is put through everything that
 * follows an answer, so that what comes behind is what would have come (docs/design/018). Pure.
 *
 * 1. Detokeniser, stop strings and grammar are here, before a slot is taken: so what is wrong with
 *    a continuation is refused early, and an answer that is whole already ends at once.
 * 2. Penalties, DRY and the numbers of the draws need nothing: they are functions of the tokens.
 *    Mirostat needs the logits, so the core follows it (and then its grammar too), token by token.
 * 3. What the asker has is never said again, and what it does not have is not left out: the text
 *    behind text_bytes comes with the next token. The asker may have more than the tokens alone let
 *    go of when only the end of the answer was lost: so much of what comes is then left out.
 * 4. How an answer ends is answer_follow() alone, here and in the core. */
#pragma once

#include "worker/core.h"
#include "worker/text_out.h"

struct answer_end {
    bool is_over;
    enum done_reason reason;
    int stop; /* DONE_STOP: its index */
};

/* One more token of an answer: appends the text that it lets go of to `out`. `piece` NULL: the end
 * token. `is_said`: the grammar allows nothing more; `is_full`: there is no room for another one.
 */
struct answer_end answer_follow(struct text_out *text_out, const struct slice *piece, bool is_said,
                                bool is_full, struct text *out);

/* Makes job->said, of which `count` is set and whose tokens stand behind the prompt; their ids are
 * of the vocabulary, and no more than max_tokens. job->match is then behind them, but with mirostat
 * (rule 2). `text_bytes`: what the asker has of their text. Any thread. ERR_REFUSED: the note says
 * what is wrong with them; ERR_LIMIT: the grammar is too ambiguous to follow; ERR_FULL: no memory.
 */
MUST_USE enum err replay_said(struct engine *engine, struct core_job *job, uint64_t text_bytes,
                              struct err_note *out_note);
