/* result - the payload of a `result` event: what a task (task.h) found for one of its inputs, or a
 * part of that. The parts of an input come in order, and together they are the concatenation of
 * their data; every part is readable by itself. Little-endian, not padded:
 *
 *   u32 input, u16 kind, u16 0, then
 *   TOKENS:  i32 each
 *   PIECES:  i32 token, u32 bytes, the bytes: whatever the model has, not always whole characters
 *   TEXT:    bytes; characters may be cut between two parts
 *   NUMBERS: f32 (IEEE 754) each, finite
 *
 * Pure. */
#pragma once

#include "base/slice.h"
#include "base/text.h"

enum result_kind { RESULT_TOKENS, RESULT_PIECES, RESULT_TEXT, RESULT_NUMBERS, RESULT_KIND_COUNT };

struct result {
    uint32_t input; /* index among the task's inputs */
    enum result_kind kind;
    struct slice data; /* borrowed */
};

enum { RESULT_HEADER_BYTES = 8, RESULT_PIECE_HEADER_BYTES = 8 };

static inline size_t result_bytes(const struct result *result)
{
    return RESULT_HEADER_BYTES + result->data.len;
}
/* Overflow is sticky in the text. */
void result_encode(const struct result *result, struct text *out);
/* ERR_PROTOCOL: not as above. */
MUST_USE enum err result_decode(struct slice payload, struct result *out_result);

/* Of TOKENS and NUMBERS: how many, and each. */
size_t result_count(const struct result *result);
int32_t result_token(const struct result *result, size_t index);
float result_number(const struct result *result, size_t index);
/* Takes the first piece off `rest`, which begins as the data of PIECES and is that of a decoded
 * result. False: none is left. */
bool result_next_piece(struct slice *rest, int32_t *out_token, struct slice *out_bytes);

/* For whoever makes the data. */
void result_add_token(struct text *data, int32_t token);
void result_add_piece(struct text *data, int32_t token, struct slice bytes);
void result_add_number(struct text *data, float number);
