/* vocabulary - keys from one file into another. */
#include "models/vocabulary.h"

#include "engine/gguf.h"
#include "nano/file.h"

enum {
    FILE_MAX_BYTES = 64 << 20,
    ARRAY_HEAD_BYTES = 4 + 4 + 8, /* of a value: array, type of the items, their count */
    TOKEN_TYPE_NORMAL = 1,        /* llama.h: llama_token_type */
};

static struct slice find(const struct vocabulary *vocabulary, const char *key)
{
    struct slice value;
    if (gguf_find(text_slice(&vocabulary->file), slice_str(key), &value) != ERR_OK)
        return (struct slice){0};
    return value;
}

static uint64_t array_count(struct slice value)
{
    uint64_t count = 0;
    if (value.len >= ARRAY_HEAD_BYTES)
        memcpy(&count, value.data + ARRAY_HEAD_BYTES - sizeof(count), sizeof(count));
    return count;
}

static enum err read_tokens(const char *path, struct vocabulary *vocabulary, struct err_note *note)
{
    struct gguf_summary summary;
    TRY(gguf_check_file(path, &summary, note));
    TRY(file_read(path, &vocabulary->file, note));
    uint64_t tokens = array_count(find(vocabulary, "tokenizer.ggml.tokens"));
    uint64_t types = array_count(find(vocabulary, "tokenizer.ggml.token_type"));
    if (tokens == 0 || tokens != types || tokens > VOCABULARY_TOKENS_MAX)
        return err_note_fail(note, ERR_PROTOCOL, "%s has no vocabulary of 1..%d tokens with types",
                             path, VOCABULARY_TOKENS_MAX);
    vocabulary->tokens = (uint32_t)tokens;
    return ERR_OK;
}

enum err vocabulary_open(const char *path, struct vocabulary *out, struct err_note *note)
{
    struct vocabulary vocabulary = {0};
    text_init(&vocabulary.file, FILE_MAX_BYTES);
    enum err err = read_tokens(path, &vocabulary, note);
    if (err == ERR_OK)
        *out = vocabulary;
    else
        vocabulary_fini(&vocabulary);
    return err;
}

void vocabulary_fini(struct vocabulary *vocabulary)
{
    text_fini(&vocabulary->file);
}

static void copy(const struct vocabulary *vocabulary, const char *key, struct gguf *gguf)
{
    struct slice value = find(vocabulary, key);
    if (value.len > 0)
        gguf_add_value(gguf, key, value);
}

/* A space, as GPT-2 writes it, and three syllables: 80^3 words, more than VOCABULARY_TOKENS_MAX. */
static void put_word(struct gguf *gguf, uint32_t index)
{
    static const char consonants[] = "bdfghjklmnprstvz", vowels[] = "aeiou";
    char word[] = "\xc4\xa0"
                  "ba-ba-ba";
    for (char *at = word + 2; at < word + sizeof(word); at += 3) {
        at[0] = consonants[index % 16];
        at[1] = vowels[index / 16 % 5];
        index /= 80;
    }
    gguf_item_string(gguf, slice_str(word));
}

static void add_tokens(const struct vocabulary *vocabulary, uint32_t tokens, struct gguf *gguf)
{
    static const char tokens_key[] = "tokenizer.ggml.tokens";
    static const char types_key[] = "tokenizer.ggml.token_type";
    gguf_begin_strings(gguf, tokens_key, tokens);
    gguf_add_items(gguf, slice_after(find(vocabulary, tokens_key), ARRAY_HEAD_BYTES));
    for (uint32_t token = vocabulary->tokens; token < tokens; token++)
        put_word(gguf, token);
    gguf_begin_i32s(gguf, types_key, tokens);
    gguf_add_items(gguf, slice_after(find(vocabulary, types_key), ARRAY_HEAD_BYTES));
    for (uint32_t token = vocabulary->tokens; token < tokens; token++)
        gguf_item_i32(gguf, TOKEN_TYPE_NORMAL);
}

void vocabulary_add(const struct vocabulary *vocabulary, uint32_t tokens, enum vocabulary_use use,
                    struct gguf *gguf)
{
    ASSERT(tokens >= vocabulary->tokens && tokens <= VOCABULARY_TOKENS_MAX);
    bool reads = use == VOCABULARY_READ;
    copy(vocabulary, "tokenizer.ggml.model", gguf);
    copy(vocabulary, "tokenizer.ggml.pre", gguf);
    add_tokens(vocabulary, tokens, gguf);
    copy(vocabulary, "tokenizer.ggml.merges", gguf);
    gguf_add_u32(gguf, "tokenizer.ggml.bos_token_id", VOCABULARY_END_OF_TEXT);
    gguf_add_u32(gguf, "tokenizer.ggml.eos_token_id", VOCABULARY_END_OF_TURN);
    gguf_add_u32(gguf, "tokenizer.ggml.padding_token_id", VOCABULARY_END_OF_TEXT);
    gguf_add_bool(gguf, "tokenizer.ggml.add_bos_token", reads);
    gguf_add_bool(gguf, "tokenizer.ggml.add_eos_token", reads);
    if (reads)
        gguf_add_u32(gguf, "tokenizer.ggml.seperator_token_id", VOCABULARY_END_OF_TURN); /* (sic) */
    else
        copy(vocabulary, "tokenizer.chat_template", gguf);
}
