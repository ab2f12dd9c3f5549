/* http1_input - a growing window over what was received. */
#include "http/http1_input.h"

#include "base/mem.h"

enum { FIRST_CAPACITY = 512 };

void http1_input_fini(struct http1_input *input)
{
    mem_free(input->data);
    *input = (struct http1_input){0};
}

static size_t next_capacity(const struct http1_input *input, size_t needed, size_t max_bytes)
{
    size_t capacity = input->capacity ? input->capacity : FIRST_CAPACITY;
    while (capacity < needed)
        capacity *= 2;
    return capacity < max_bytes ? capacity : max_bytes;
}

/* Room for `bytes` more behind what is held; what was used up makes room before more is asked. */
static enum err make_room(struct http1_input *input, size_t bytes, size_t max_bytes)
{
    if (input->start + input->len + bytes <= input->capacity)
        return ERR_OK;
    if (input->start > 0) {
        memmove(input->data, input->data + input->start, input->len);
        input->start = 0;
    }
    if (input->len + bytes <= input->capacity)
        return ERR_OK;
    size_t capacity = next_capacity(input, input->len + bytes, max_bytes);
    char *data = mem_peer_grow(input->data, capacity);
    if (!data)
        return ERR_LIMIT;
    input->data = data;
    input->capacity = capacity;
    return ERR_OK;
}

enum err http1_input_append(struct http1_input *input, struct slice bytes, size_t max_bytes)
{
    if (input->len > max_bytes || bytes.len > max_bytes - input->len)
        return ERR_FULL;
    if (bytes.len == 0)
        return ERR_OK;
    TRY(make_room(input, bytes.len, max_bytes));
    memcpy(input->data + input->start + input->len, bytes.data, bytes.len);
    input->len += bytes.len;
    return ERR_OK;
}

void http1_input_consume(struct http1_input *input, size_t bytes)
{
    ASSERT_MSG(bytes <= input->len, "%zu of %zu", bytes, input->len);
    input->start += bytes;
    input->len -= bytes;
    if (input->len == 0)
        http1_input_fini(input); /* rule 1 */
}

void http1_input_truncate(struct http1_input *input, size_t len)
{
    ASSERT_MSG(len <= input->len, "%zu of %zu", len, input->len);
    input->len = len;
    if (input->len == 0)
        http1_input_fini(input); /* rule 1 */
}
