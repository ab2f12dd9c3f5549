/* result - the payload of a `result` event, to and from bytes. */
#include "wire/result.h"

#include "wire/little.h"

#include <math.h>

enum { WORD_BYTES = 4 };

void result_encode(const struct result *result, struct text *out)
{
    char header[RESULT_HEADER_BYTES];
    little_put32(header, result->input);
    little_put16(header + 4, (uint16_t)result->kind);
    little_put16(header + 6, 0);
    text_add(out, slice_of(header, sizeof(header)));
    text_add(out, result->data);
}

static float number_at(const char *bytes)
{
    uint32_t bits = little_get32(bytes);
    float number;
    memcpy(&number, &bits, sizeof(number));
    return number;
}

static bool are_numbers(struct slice data)
{
    if (data.len % WORD_BYTES)
        return false;
    for (size_t at = 0; at < data.len; at += WORD_BYTES)
        if (!isfinite(number_at(data.data + at)))
            return false;
    return true;
}

static bool are_tokens(struct slice data)
{
    if (data.len % WORD_BYTES)
        return false;
    for (size_t at = 0; at < data.len; at += WORD_BYTES)
        if ((int32_t)little_get32(data.data + at) < 0)
            return false;
    return true;
}

bool result_next_piece(struct slice *rest, int32_t *out_token, struct slice *out_bytes)
{
    if (rest->len < RESULT_PIECE_HEADER_BYTES)
        return false;
    struct slice behind = slice_after(*rest, RESULT_PIECE_HEADER_BYTES);
    uint32_t bytes = little_get32(rest->data + WORD_BYTES);
    if (bytes > behind.len)
        return false;
    *out_token = (int32_t)little_get32(rest->data);
    *out_bytes = slice_first(behind, bytes);
    *rest = slice_after(behind, bytes);
    return true;
}

static bool are_pieces(struct slice data)
{
    int32_t token = 0;
    struct slice bytes;
    while (token >= 0 && result_next_piece(&data, &token, &bytes))
        ;
    return token >= 0 && data.len == 0;
}

static bool is_fine(enum result_kind kind, struct slice data)
{
    switch (kind) {
    case RESULT_TOKENS:
        return are_tokens(data);
    case RESULT_PIECES:
        return are_pieces(data);
    case RESULT_TEXT:
        return true;
    case RESULT_NUMBERS:
        return are_numbers(data);
    case RESULT_KIND_COUNT:
        break;
    }
    return false;
}

enum err result_decode(struct slice payload, struct result *out_result)
{
    if (payload.len < RESULT_HEADER_BYTES)
        return ERR_PROTOCOL;
    struct result result = {.input = little_get32(payload.data),
                            .kind = (enum result_kind)little_get16(payload.data + 4),
                            .data = slice_after(payload, RESULT_HEADER_BYTES)};
    if (little_get16(payload.data + 6) != 0 || !is_fine(result.kind, result.data))
        return ERR_PROTOCOL;
    *out_result = result;
    return ERR_OK;
}

size_t result_count(const struct result *result)
{
    return result->data.len / WORD_BYTES;
}

int32_t result_token(const struct result *result, size_t index)
{
    ASSERT(result->kind == RESULT_TOKENS && index < result_count(result));
    return (int32_t)little_get32(result->data.data + index * WORD_BYTES);
}

float result_number(const struct result *result, size_t index)
{
    ASSERT(result->kind == RESULT_NUMBERS && index < result_count(result));
    return number_at(result->data.data + index * WORD_BYTES);
}

void result_add_token(struct text *data, int32_t token)
{
    char bytes[WORD_BYTES];
    little_put32(bytes, (uint32_t)token);
    text_add(data, slice_of(bytes, sizeof(bytes)));
}

void result_add_piece(struct text *data, int32_t token, struct slice bytes)
{
    char header[RESULT_PIECE_HEADER_BYTES];
    little_put32(header, (uint32_t)token);
    little_put32(header + WORD_BYTES, (uint32_t)bytes.len);
    text_add(data, slice_of(header, sizeof(header)));
    text_add(data, bytes);
}

void result_add_number(struct text *data, float number)
{
    char bytes[WORD_BYTES];
    uint32_t bits;
    memcpy(&bits, &number, sizeof(bits));
    little_put32(bytes, bits);
    text_add(data, slice_of(bytes, sizeof(bytes)));
}
