/* prep_mark - a template and a tokenizer, asked a second time. */
#include "worker/prep_mark.h"

#include "base/mem.h"

static bool is_system(const struct chat_message *message)
{
    return slice_eq_str(message->role, "system") || slice_eq_str(message->role, "developer");
}

static size_t system_count(const struct request *request)
{
    size_t count = 0;
    while (count < request->message_count && is_system(&request->messages[count]))
        count++;
    return count;
}

/* Begins with another character, also when white space goes. */
static struct slice another_content(struct slice content)
{
    size_t at = 0;
    while (at < content.len && (unsigned char)content.data[at] <= ' ')
        at++;
    bool begins_with_a = at < content.len && content.data[at] == 'a';
    return begins_with_a ? SLICE("b") : SLICE("a");
}

/* Of `text`, the bytes before what is this chat's own. */
static size_t common_bytes(struct engine *engine, const struct request *request, size_t systems,
                           struct slice text)
{
    struct engine_chat_message *messages = mem_peer_alloc((systems + 1) * sizeof(*messages));
    if (!messages)
        return 0;
    for (size_t i = 0; i <= systems; i++)
        messages[i] =
            (struct engine_chat_message){request->messages[i].role, request->messages[i].content};
    messages[systems].content = another_content(messages[systems].content);
    struct text other;
    text_init(&other, text.len + 4096); /* what comes behind the end is nearly nothing */
    size_t common = 0;
    struct err_note note = {{0}};
    if (engine_chat(engine, messages, systems + 1, &other, &note) == ERR_OK) {
        struct slice with = text_slice(&other);
        while (common < with.len && common < text.len && with.data[common] == text.data[common])
            common++;
    }
    text_fini(&other);
    mem_free(messages);
    return common;
}

static uint32_t common_tokens(struct engine *engine, struct slice beginning, const token_id *tokens,
                              size_t count)
{
    token_id *own = mem_peer_alloc(count * sizeof(*own));
    size_t own_count = 0;
    uint32_t common = 0;
    if (own && engine_tokenize(engine, beginning, true, true, own, count, &own_count) == ERR_OK) {
        while (common < own_count && own[common] == tokens[common])
            common++;
    }
    mem_free(own);
    return common;
}

uint32_t prep_mark(struct engine *engine, const struct request *request, struct slice text,
                   const token_id *tokens, size_t count, uint32_t least)
{
    size_t systems = system_count(request);
    if (least == 0 || count <= least || systems == 0 || systems == request->message_count)
        return 0;
    size_t bytes = common_bytes(engine, request, systems, text);
    if (bytes < least) /* a token is a byte at least */
        return 0;
    uint32_t mark = common_tokens(engine, slice_first(text, bytes), tokens, count);
    return mark >= least ? mark : 0;
}
