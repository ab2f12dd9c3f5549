/* tokenizer_file - "millrace tokenizer 1", the number of merges, then "left right" per merge. */
#include "nano/tokenizer.h"

#include "base/mem.h"
#include "nano/file.h"
#include "nano/tokenizer_internal.h"

static const char title[] = "millrace tokenizer 1";
enum { FILE_BYTES_MAX = TOKENIZER_SIZE_MAX * 16 };

enum err tokenizer_save(const struct tokenizer *tokenizer, const char *path,
                        struct err_note *out_note)
{
    struct text text;
    text_init(&text, FILE_BYTES_MAX);
    uint32_t size = tokenizer_size(tokenizer);
    text_add_f(&text, "%s\n%u\n", title, size - TOKENIZER_FIRST_MERGE);
    for (uint32_t token = TOKENIZER_FIRST_MERGE; token < size; token++) {
        uint16_t left, right;
        tokenizer_merge(tokenizer, (uint16_t)token, &left, &right);
        text_add_f(&text, "%u %u\n", left, right);
    }
    ASSERT(!text.overflowed);
    struct slice all = text_slice(&text);
    enum err err = file_write(path, &all, 1, out_note);
    text_fini(&text);
    return err;
}

struct reader {
    struct slice rest;
    size_t line;
    struct merge merges[TOKENIZER_SIZE_MAX];
    uint8_t bytes[TOKENIZER_SIZE_MAX]; /* of each token; 0: a special, which is never merged */
};

static struct slice next_line(struct reader *reader)
{
    struct slice line;
    (void)slice_cut(reader->rest, '\n', &line, &reader->rest); /* the last line may lack its end */
    reader->line++;
    return line;
}

static bool is_repeated(const struct reader *reader, size_t count)
{
    struct merge last = reader->merges[count];
    for (size_t i = 0; i < count; i++)
        if (reader->merges[i].left == last.left && reader->merges[i].right == last.right)
            return true;
    return false;
}

/* A merge is of tokens before it, of no special, not too long, and not there yet. */
static enum err read_merge(struct reader *reader, size_t index)
{
    uint64_t left, right, token = TOKENIZER_FIRST_MERGE + index;
    struct slice left_text, right_text;
    if (!slice_cut(next_line(reader), ' ', &left_text, &right_text))
        return ERR_PROTOCOL;
    TRY(slice_parse_u64(left_text, token - 1, &left));
    TRY(slice_parse_u64(right_text, token - 1, &right));
    reader->merges[index] = (struct merge){(uint16_t)left, (uint16_t)right};
    unsigned bytes = reader->bytes[left] + reader->bytes[right];
    if (left < TOKENIZER_FIRST_BYTE || right < TOKENIZER_FIRST_BYTE ||
        bytes > TOKENIZER_TOKEN_BYTES_MAX || is_repeated(reader, index))
        return ERR_PROTOCOL;
    reader->bytes[token] = (uint8_t)bytes;
    return ERR_OK;
}

static enum err read_all(struct reader *reader, size_t *out_count)
{
    if (!slice_eq_str(next_line(reader), title))
        return ERR_PROTOCOL;
    uint64_t count;
    TRY(slice_parse_u64(next_line(reader), TOKENIZER_SIZE_MAX - TOKENIZER_FIRST_MERGE, &count));
    for (size_t i = 0; i < count; i++)
        TRY(read_merge(reader, i));
    *out_count = count;
    return reader->rest.len == 0 ? ERR_OK : ERR_PROTOCOL;
}

enum err tokenizer_load(const char *path, struct tokenizer **out_tokenizer,
                        struct err_note *out_note)
{
    struct text text;
    text_init(&text, FILE_BYTES_MAX);
    struct reader *reader = mem_alloc(sizeof(*reader));
    for (unsigned byte = 0; byte < 256; byte++)
        reader->bytes[TOKENIZER_FIRST_BYTE + byte] = 1;
    enum err err = file_read(path, &text, out_note);
    if (err == ERR_OK) {
        reader->rest = text_slice(&text);
        size_t count;
        if (read_all(reader, &count) == ERR_OK)
            *out_tokenizer = tokenizer_of(reader->merges, count);
        else
            err = err_note_fail(out_note, ERR_PROTOCOL, "%s: line %zu is not that of a tokenizer",
                                path, reader->line);
    }
    mem_free(reader);
    text_fini(&text);
    return err;
}
