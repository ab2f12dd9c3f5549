/* prep_mark - where the system prompt of a chat ends, in its tokens. What stands before it is how
 * every other chat with this system prompt begins, so it is saved as soon as it is computed
 * (prefix_tree.h rule 6), and not when a second chat shows it.
 *
 * The system messages and the one behind them, with another content, go through the template once
 * more; what both texts begin with is the same for all. So it is right also where a template puts
 * the system prompt into the first message of the user. That text is made into tokens, and as many
 * of them as the prompt begins with count: where its end lies within a token of the prompt, that
 * token does not.
 *
 * It costs as much again as what comes before the end did, on the same thread. */
#pragma once

#include "engine/engine.h"
#include "wire/request.h"

/* Of a chat whose messages the template made into `text`, and the tokenizer that into these. 0: it
 * has no such place, or one before `least` tokens (0: nobody wants to know), or there is no memory
 * to find it: it is only a hint. Any thread. */
uint32_t prep_mark(struct engine *engine, const struct request *request, struct slice text,
                   const token_id *tokens, size_t count, uint32_t least);
