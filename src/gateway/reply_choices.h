/* reply_choices - an HTTP request that wants several answers as that many requests to the workers:
 * one for each prompt of a list, and `n` for each prompt (docs/design/026-several-choices.md).
 *
 * 1. The id of choice i is the call's with i as its last hex digit (wire/request.h), so whoever
 *    cancels the call's id cancels them all.
 * 2. Choice i of a prompt has the seed that was asked for, plus i. If none was, one is drawn once
 *    and choice i of the call has it plus i: so each prompt has its own, and any choice can be had
 *    again by a request of its own, with the seed that it was told.
 * 3. Each of them counts: as a stream of its key, as a request of its model, in the queue.
 * Pure, but for the draw. */
#pragma once

#include "gateway/dialect.h"

/* For a call whose seed was not asked for (rule 2): here and not in the worker, for a request that
 * is run again elsewhere must say the same again (docs/design/008). Once, when it is parsed. */
void choices_draw_seed(struct call *call);
/* What one of them asks for. Any thread. */
struct request choices_request(const struct call *call, uint32_t index);

/* What only `n` multiplies, and nothing else bounds. ERR_REFUSED with *out_error. */
MUST_USE enum err choices_check_bytes(const struct call *call, size_t body_bytes,
                                      uint64_t body_max_bytes, struct api_error *out_error);
/* `slots`: the most that a worker of the model has; 0: not known, then the queue is the bound. */
MUST_USE enum err choices_check_slots(const struct call *call, uint32_t slots,
                                      struct api_error *out_error);
/* So many streams a key has and may have, this call being one of them already. */
MUST_USE enum err choices_check_key(const struct call *call, uint32_t streams, uint32_t streams_max,
                                    struct api_error *out_error);
