/* llama_text - the vocabulary's and the chat template's work. */
#include "engine/llama_text.h"

#include "base/mem.h"
#include "base/utf8.h"

enum {
    PIECES_MAX_BYTES = 256 << 20, /* of all tokens' texts together */
    PIECE_USUAL_BYTES = 64,
};

/* --- life --- */

static bool add_piece(struct llama_text *self, token_id token)
{
    int32_t room_bytes = PIECE_USUAL_BYTES;
    for (;;) {
        char *room = text_reserve(&self->pieces, (size_t)room_bytes);
        if (!room)
            return false;
        int32_t len =
            self->api->llama_token_to_piece(self->vocab, token, room, room_bytes, 0, false);
        if (len >= 0) {
            self->pieces.len += (size_t)len;
            self->piece_ends[token] = (uint32_t)self->pieces.len;
            return true;
        }
        if (-(int64_t)len <= room_bytes) /* it asks for what it has: not a length */
            return false;
        room_bytes = -len;
    }
}

/* The model's own template, if libllama's list of known ones has it. */
static const char *find_chat_template(const struct llama_api *api, const struct llama_model *model)
{
    const struct llama_chat_message probe = {"user", "x"};
    const char *found = api->llama_model_chat_template(model, NULL);
    bool is_known = found && api->llama_chat_apply_template(found, &probe, 1, true, NULL, 0) >= 0;
    return is_known ? found : NULL;
}

enum err llama_text_init(struct llama_text *self, const struct llama_api *api,
                         const struct llama_model *model)
{
    *self = (struct llama_text){.api = api, .vocab = api->llama_model_get_vocab(model)};
    self->vocab_size = (uint32_t)api->llama_vocab_n_tokens(self->vocab);
    self->chat_template = find_chat_template(api, model);
    text_init(&self->pieces, PIECES_MAX_BYTES);
    self->piece_ends = mem_peer_alloc(self->vocab_size * sizeof(*self->piece_ends));
    bool ok = self->piece_ends != NULL;
    for (uint32_t token = 0; ok && token < self->vocab_size; token++)
        ok = add_piece(self, (token_id)token);
    return ok ? ERR_OK : ERR_NO_MEMORY;
}

void llama_text_fini(struct llama_text *self)
{
    text_fini(&self->pieces);
    mem_free(self->piece_ends);
}

/* --- tokens of a text, and texts of tokens --- */

static enum err tokenize_valid(const struct llama_text *self, struct slice text, bool add_special,
                               bool parse_special, token_id *out_tokens, size_t max_tokens,
                               size_t *out_count)
{
    int32_t max = max_tokens < INT32_MAX ? (int32_t)max_tokens : INT32_MAX;
    int32_t count =
        self->api->llama_tokenize(self->vocab, text.len ? text.data : "", (int32_t)text.len,
                                  out_tokens, max, add_special, parse_special);
    /* Less than 0: minus the number there are, or INT32_MIN for more than it can count. */
    *out_count = count >= 0 ? (size_t)count : (size_t)(-(int64_t)count);
    return count >= 0 ? ERR_OK : ERR_LIMIT;
}

/* Bytes that are not UTF-8 would end the process: libllama throws out of its C interface. */
enum err llama_text_tokenize(const struct llama_text *self, struct slice text, bool add_special,
                             bool parse_special, token_id *out_tokens, size_t max_tokens,
                             size_t *out_count)
{
    *out_count = text.len;
    if (text.len > INT32_MAX / 3) /* a byte repaired is three */
        return ERR_LIMIT;
    if (utf8_is_valid(text))
        return tokenize_valid(self, text, add_special, parse_special, out_tokens, max_tokens,
                              out_count);
    struct text repaired;
    text_init(&repaired, text.len * 3);
    utf8_add_repaired(&repaired, text);
    enum err err = text_status(&repaired);
    if (err == ERR_OK)
        err = tokenize_valid(self, text_slice(&repaired), add_special, parse_special, out_tokens,
                             max_tokens, out_count);
    text_fini(&repaired);
    return err;
}

struct slice llama_text_piece(const struct llama_text *self, token_id token)
{
    uint32_t start = token ? self->piece_ends[token - 1] : 0;
    return slice_of(self->pieces.data + start, self->piece_ends[token] - start);
}

/* --- chats --- */

/* NUL-terminated copies behind each other at `to`; returns what is behind them. */
static char *copy_string(struct slice text, char *to, const char **out_string)
{
    if (text.len)
        memcpy(to, text.data, text.len);
    to[text.len] = '\0';
    *out_string = to;
    return to + text.len + 1;
}

/* A list for libllama, in one piece of memory; NULL when there is none. */
static struct llama_chat_message *copy_messages(const struct engine_chat_message *messages,
                                                size_t count, size_t text_bytes)
{
    struct llama_chat_message *list =
        mem_peer_alloc((count + 1) * sizeof(*list) + text_bytes + 2 * count);
    if (!list)
        return NULL;
    char *to = (char *)(list + count + 1);
    for (size_t i = 0; i < count; i++) {
        to = copy_string(messages[i].role, to, &list[i].role);
        to = copy_string(messages[i].content, to, &list[i].content);
    }
    return list;
}

static bool has_nul(struct slice text)
{
    return slice_find_byte(text, '\0') != SLICE_NPOS;
}

static enum err measure_messages(const struct engine_chat_message *messages, size_t count,
                                 size_t max_bytes, size_t *out_bytes, struct err_note *out_note)
{
    size_t bytes = 0;
    if (max_bytes > INT32_MAX)
        max_bytes = INT32_MAX;
    for (size_t i = 0; i < count; i++) {
        if (has_nul(messages[i].role) || has_nul(messages[i].content))
            return err_note_fail(out_note, ERR_PROTOCOL,
                                 "message %zu has a character U+0000, which a chat template cannot "
                                 "hold",
                                 i);
        bytes += messages[i].role.len + messages[i].content.len;
        if (bytes > max_bytes)
            return err_note_fail(out_note, ERR_LIMIT, "the messages exceed %zu bytes", max_bytes);
    }
    *out_bytes = bytes;
    return ERR_OK;
}

/* Twice: the first time only to learn the length. */
static enum err apply_template(const struct llama_text *self, const struct llama_chat_message *list,
                               size_t count, struct text *out_prompt, struct err_note *out_note)
{
    int32_t len =
        self->api->llama_chat_apply_template(self->chat_template, list, count, true, NULL, 0);
    if (len < 0)
        return err_note_fail(out_note, ERR_REFUSED, "the chat template refuses these messages");
    char *room = text_reserve(out_prompt, (size_t)len + 1);
    if (!room)
        return err_note_fail(out_note, ERR_LIMIT, "the rendered messages exceed %zu bytes",
                             out_prompt->max_bytes);
    (void)self->api->llama_chat_apply_template(self->chat_template, list, count, true, room, len);
    out_prompt->len += (size_t)len;
    return ERR_OK;
}

enum err llama_text_chat(const struct llama_text *self, const struct engine_chat_message *messages,
                         size_t count, struct text *out_prompt, struct err_note *out_note)
{
    if (!self->chat_template)
        return err_note_fail(out_note, ERR_REFUSED,
                             "the model has no chat template, or one that is not known here");
    size_t bytes = 0;
    TRY(measure_messages(messages, count, out_prompt->max_bytes, &bytes, out_note));
    struct llama_chat_message *list = copy_messages(messages, count, bytes);
    if (!list)
        return err_note_fail(out_note, ERR_LIMIT, "no memory for messages of %zu bytes", bytes);
    enum err err = apply_template(self, list, count, out_prompt, out_note);
    mem_free(list);
    return err;
}

/* --- pairs --- */

/* Tokens behind those that are there already; only counted where there is no room. */
struct pair {
    const struct llama_text *self;
    token_id *tokens;
    size_t max_tokens, count;
};

static void add_token(struct pair *pair, llama_token token)
{
    if (token != LLAMA_TOKEN_NULL && pair->count++ < pair->max_tokens)
        pair->tokens[pair->count - 1] = token;
}

static enum err add_text(struct pair *pair, struct slice text)
{
    size_t taken = pair->count < pair->max_tokens ? pair->count : pair->max_tokens, count = 0;
    enum err err = llama_text_tokenize(pair->self, text, false, false, pair->tokens + taken,
                                       pair->max_tokens - taken, &count);
    pair->count += count;
    return err == ERR_LIMIT ? ERR_OK : err; /* the sum says it, too */
}

/* BEGIN query END SEPARATOR document END, of which a tokenizer may not have all; as llama-server
 * does it for models without a template for this. */
enum err llama_text_pair(const struct llama_text *self, struct slice query, struct slice document,
                         token_id *out_tokens, size_t max_tokens, size_t *out_count)
{
    const struct llama_api *api = self->api;
    struct pair pair = {self, out_tokens, max_tokens, 0};
    llama_token separator = api->llama_vocab_sep(self->vocab);
    llama_token end = api->llama_vocab_eos(self->vocab);
    if (end == LLAMA_TOKEN_NULL)
        end = separator;
    bool adds_end = api->llama_vocab_get_add_eos(self->vocab);
    if (api->llama_vocab_get_add_bos(self->vocab))
        add_token(&pair, api->llama_vocab_bos(self->vocab));
    TRY(add_text(&pair, query));
    if (adds_end)
        add_token(&pair, end);
    if (api->llama_vocab_get_add_sep(self->vocab))
        add_token(&pair, separator);
    TRY(add_text(&pair, document));
    if (adds_end)
        add_token(&pair, end);
    *out_count = pair.count;
    return pair.count <= max_tokens ? ERR_OK : ERR_LIMIT;
}
