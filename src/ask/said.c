/* said - a list of ids that grows with the answer. */
#include "ask/said.h"

#include "base/mem.h"

enum { FIRST_TOKENS = 64 };

struct said *said_new(void)
{
    struct said *said = mem_peer_alloc(sizeof(*said));
    if (said)
        *said = (struct said){0};
    return said;
}

void said_begin(struct said *said, const struct event *started)
{
    struct slice numerics = started->started.numerics;
    ASSERT(!said->has_begun);
    said->seed = started->started.seed;
    said->numerics[0] = '\0';
    if (numerics.len == NODE_FINGERPRINT_BYTES)
        memcpy(said->numerics, numerics.data, numerics.len); /* the byte behind is 0 */
}

void said_free(struct said *said)
{
    if (!said)
        return;
    mem_free(said->tokens);
    mem_free(said);
}

size_t said_bytes(const struct said *said)
{
    return sizeof(*said) + said->max * sizeof(said->tokens[0]);
}

/* Half more each time. */
static size_t max_with(const struct said *said, const struct event *delta)
{
    size_t wanted = said->count + delta->delta.token_count;
    if (wanted <= said->max)
        return said->max;
    size_t max = said->max ? said->max + said->max / 2 : FIRST_TOKENS;
    return wanted > max ? wanted : max;
}

size_t said_more_bytes(const struct said *said, const struct event *delta)
{
    return (max_with(said, delta) - said->max) * sizeof(said->tokens[0]);
}

static enum err make_room(struct said *said, size_t max)
{
    if (max == said->max)
        return ERR_OK;
    int32_t *tokens = mem_peer_grow(said->tokens, max * sizeof(*tokens));
    if (!tokens)
        return ERR_FULL;
    said->tokens = tokens;
    said->max = max;
    return ERR_OK;
}

enum err said_add(struct said *said, const struct event *delta)
{
    if (delta->delta.choice != 0)
        return ERR_FULL;
    TRY(make_room(said, max_with(said, delta)));
    for (size_t i = 0; i < delta->delta.token_count; i++)
        said->tokens[said->count++] = event_delta_token(delta, i);
    said->text_bytes += delta->delta.text.len;
    said->has_begun = true;
    return ERR_OK;
}

struct continuation said_continuation(const struct said *said)
{
    return (struct continuation){.is_wanted = true,
                                 .seed = said->seed,
                                 .tokens = said->tokens,
                                 .token_count = said->count,
                                 .text_bytes = said->text_bytes,
                                 .numerics = slice_str(said->numerics)};
}
