/* continuation - to and from JSON. */
#include "wire/continuation.h"

#include "wire/fields.h"

#include <stdio.h>

void continuation_encode(const struct continuation *continuation, struct json_out *json)
{
    char seed[24];
    snprintf(seed, sizeof(seed), "%llu", (unsigned long long)continuation->seed);
    json_out_begin_object(json);
    json_out_add_string(json, "seed", slice_str(seed));
    json_out_key(json, "tokens");
    json_out_begin_array(json);
    for (size_t i = 0; i < continuation->token_count; i++)
        json_out_i64(json, continuation->tokens[i]);
    json_out_end_array(json);
    fields_add_count(json, "text_bytes", continuation->text_bytes);
    json_out_end_object(json);
}

static size_t digits_of(uint64_t number)
{
    size_t digits = 1;
    for (; number >= 10; number /= 10)
        digits++;
    return digits;
}

size_t continuation_bytes(const struct continuation *continuation)
{
    size_t bytes = sizeof("{\"seed\":\"\",\"tokens\":[],\"text_bytes\":}") - 1;
    bytes += digits_of(continuation->seed) + digits_of(fields_clamp(continuation->text_bytes));
    for (size_t i = 0; i < continuation->token_count; i++)
        bytes += digits_of((uint64_t)continuation->tokens[i]) + (i > 0);
    return bytes;
}

void continuation_decode(struct fields *fields, struct continuation *out_continuation)
{
    struct continuation read = {.is_wanted = true};
    const json_t *array = fields_optional_array(fields, "tokens", CONTINUATION_TOKENS_MAX);
    if (!array)
        fields_fail(fields, ERR_PROTOCOL, "tokens", "an array is required");
    size_t count = array ? json_array_size(array) : 0;
    int32_t *tokens = fields_memory(fields, "tokens", count, sizeof(*tokens));
    for (size_t i = 0; tokens && i < count; i++)
        tokens[i] = fields_token(fields, "tokens", json_array_get(array, i));
    read.seed = fields_u64_text(fields, "seed");
    read.tokens = tokens;
    read.token_count = count;
    read.text_bytes = fields_u64(fields, "text_bytes");
    if (fields->err == ERR_OK)
        *out_continuation = read;
}
