/* Tests of the look into a model file. Files are made here, byte by byte, so that each can lie in
 * just one place. */
#include "engine/gguf.h"

#include "engine/gguf_bytes.h"
#include "testing/test.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

static void put_u32_pair(struct text *file, const char *key, uint32_t number)
{
    put_key(file, key, 4);
    put(file, number, 4);
}

static void put_tensor(struct text *file, const char *name, uint64_t width, uint64_t height,
                       uint32_t type, uint64_t offset)
{
    put_string(file, name);
    put(file, 2, 4);
    put(file, width, 8);
    put(file, height, 8);
    put(file, type, 4);
    put(file, offset, 8);
}

/* What a tiny file says; each test changes one thing. Where there is no field, put_head() has the
 * truth. */
struct tiny {
    const char *magic;
    uint32_t version;
    uint64_t tensors, pairs;
    const char *architecture;
    uint32_t alignment;
    uint64_t width, height;
    uint32_t type;
    uint64_t offset;
    size_t data_bytes;
    const char *last_key; /* one more pair of four bytes; NULL: none */
    uint32_t last_type, last_bits;
};

static struct tiny tiny_default(void)
{
    return (struct tiny){.magic = "GGUF",
                         .version = 3,
                         .tensors = 2,
                         .pairs = 9,
                         .architecture = "llama",
                         .alignment = 32,
                         .width = 32,
                         .height = 2,
                         .type = 8,
                         .offset = 64,
                         .data_bytes = 64 + 2 * 34};
}

static void put_pairs(struct text *file, const struct tiny *tiny)
{
    put_u32_pair(file, "llama.context_length", 1024); /* before the key that gives it a meaning */
    put_key(file, "general.architecture", 8);
    put_string(file, tiny->architecture);
    put_u32_pair(file, "general.alignment", tiny->alignment);
    put_u32_pair(file, "llama.block_count", 3);
    put_key(file, "llama.embedding_length", 10);
    put(file, 96, 8);
    put_key(file, "llama.attention.head_count", 5);
    put(file, 6, 4);
    put_key(file, "llama.attention.head_count_kv", 9); /* one for each block */
    put(file, 4, 4);
    put(file, 3, 8);
    put(file, 2, 4), put(file, 0, 4), put(file, 1, 4);
    put_key(file, "tokenizer.ggml.tokens", 9);
    put(file, 8, 4);
    put(file, 2, 8);
    put_string(file, "a"), put_string(file, "");
    put_key(file, "tokenizer.chat_template", 8);
    put_string(file, "{{ messages }}");
    if (tiny->last_key) {
        put_key(file, tiny->last_key, tiny->last_type);
        put(file, tiny->last_bits, 4);
    }
}

/* The caller ends it with text_fini(). */
static struct text tiny_file(const struct tiny *tiny)
{
    struct text file;
    text_init(&file, 1 << 20);
    text_add_str(&file, tiny->magic);
    put(&file, tiny->version, 4);
    put(&file, tiny->tensors, 8);
    put(&file, tiny->pairs, 8);
    put_pairs(&file, tiny);
    put_tensor(&file, "norm.weight", 16, 1, 0, 0);
    put_tensor(&file, "out.weight", tiny->width, tiny->height, tiny->type, tiny->offset);
    while (file.len % 32)
        put(&file, 0, 1);
    for (size_t i = 0; i < tiny->data_bytes; i++)
        put(&file, i, 1);
    return file;
}

static enum err check_bytes(struct slice head, uint64_t file_bytes, struct gguf_summary *summary,
                            struct err_note *note)
{
    /* In memory of just this size, so that the sanitizer sees a step too far. */
    char *exact = malloc(head.len ? head.len : 1);
    CHECK(exact);
    if (head.len)
        memcpy(exact, head.data, head.len);
    enum err err = gguf_check(slice_of(exact, head.len), file_bytes, summary, note);
    free(exact);
    return err;
}

static void check_refused(const struct tiny *tiny, const char *why)
{
    struct text file = tiny_file(tiny);
    struct gguf_summary summary;
    struct err_note note = {{0}};
    CHECK_ERR(check_bytes(text_slice(&file), file.len, &summary, &note), ERR_PROTOCOL);
    if (!strstr(note.text, why))
        CHECK_STR(note.text, why);
    text_fini(&file);
}

TEST(summary_tells_what_the_file_says)
{
    struct tiny tiny = tiny_default();
    struct text file = tiny_file(&tiny);
    struct gguf_summary summary;
    CHECK_OK(check_bytes(text_slice(&file), file.len, &summary, NULL));
    CHECK_EQ(summary.version, 3);
    CHECK_EQ(summary.tensor_count, 2);
    CHECK_EQ(summary.metadata_count, 9);
    CHECK_EQ(summary.data_bytes, tiny.data_bytes);
    CHECK_EQ(summary.data_offset, file.len - tiny.data_bytes);
    CHECK_STR(summary.architecture, "llama");
    CHECK_EQ(summary.context_length, 1024);
    CHECK_EQ(summary.block_count, 3);
    CHECK_EQ(summary.embedding_length, 96);
    CHECK_EQ(summary.head_count, 6);
    CHECK_EQ(summary.head_count_kv, 2);
    CHECK_EQ(summary.head_count_kv_sum, 3);
    CHECK_EQ(summary.key_length, 0);
    CHECK(summary.has_chat_template);
    text_fini(&file);
}

TEST(every_shorter_file_is_refused_with_a_sentence)
{
    struct tiny tiny = tiny_default();
    struct text file = tiny_file(&tiny);
    for (size_t bytes = 0; bytes < file.len; bytes++) {
        struct gguf_summary summary;
        struct err_note note = {{0}};
        struct slice head = slice_first(text_slice(&file), bytes);
        CHECK_ERR(check_bytes(head, bytes, &summary, &note), ERR_PROTOCOL);
        CHECK(note.text[0]);
    }
    text_fini(&file);
}

TEST(head_of_a_whole_file_is_enough)
{
    struct tiny tiny = tiny_default();
    struct text file = tiny_file(&tiny);
    struct gguf_summary summary;
    struct err_note note = {{0}};
    struct slice head = slice_first(text_slice(&file), file.len - tiny.data_bytes);
    CHECK_OK(check_bytes(head, file.len, &summary, NULL));
    CHECK_EQ(summary.data_bytes, tiny.data_bytes);
    head = slice_first(head, 100);
    CHECK_ERR(check_bytes(head, file.len, &summary, &note), ERR_PROTOCOL);
    CHECK(strstr(note.text, "within the 100 bytes looked at"));
    text_fini(&file);
}

TEST(value_is_found_as_it_lies)
{
    struct tiny tiny = tiny_default();
    struct text file = tiny_file(&tiny);
    struct slice all = text_slice(&file), value;
    CHECK_OK(gguf_find(all, SLICE("llama.block_count"), &value));
    CHECK_SLICES(value, SLICE("\4\0\0\0\3\0\0\0"));
    CHECK_OK(gguf_find(all, SLICE("tokenizer.chat_template"), &value));
    CHECK_SLICES(value, SLICE("\10\0\0\0\16\0\0\0\0\0\0\0{{ messages }}"));
    CHECK_OK(gguf_find(all, SLICE("tokenizer.ggml.tokens"), &value));
    CHECK_EQ(value.len, 4 + 4 + 8 + 8 + 1 + 8);
    CHECK_ERR(gguf_find(all, SLICE("tokenizer.ggml"), &value), ERR_NOT_FOUND);
    CHECK_ERR(gguf_find(slice_first(all, 100), SLICE("tokenizer.chat_template"), &value),
              ERR_PROTOCOL);
    text_fini(&file);
}

TEST(other_magic_and_versions_are_refused)
{
    struct tiny tiny = tiny_default();
    tiny.magic = "GGML";
    check_refused(&tiny, "does not begin with");
    tiny = tiny_default();
    tiny.version = 1;
    check_refused(&tiny, "version is 1:");
    tiny.version = 4;
    check_refused(&tiny, "version is 4:");
    tiny.version = 3u << 24;
    check_refused(&tiny, "(big-endian)");
    tiny.version = 2;
    struct text file = tiny_file(&tiny);
    struct gguf_summary summary;
    CHECK_OK(check_bytes(text_slice(&file), file.len, &summary, NULL));
    text_fini(&file);
}

TEST(counts_that_lie_are_refused)
{
    struct tiny tiny = tiny_default();
    tiny.tensors = UINT64_MAX;
    check_refused(&tiny, "can hold");
    tiny = tiny_default();
    tiny.pairs = UINT64_MAX;
    check_refused(&tiny, "can hold");
    tiny = tiny_default();
    tiny.tensors = 3; /* the third is made of data */
    check_refused(&tiny, "");
    tiny = tiny_default();
    tiny.pairs = 10; /* a tensor taken for a pair */
    check_refused(&tiny, "");
    tiny = tiny_default();
    tiny.pairs = 1;
    check_refused(&tiny, "does not say its architecture");
}

TEST(architecture_is_a_plain_short_name)
{
    struct tiny tiny = tiny_default();
    tiny.architecture = "";
    check_refused(&tiny, "not a short name");
    tiny.architecture = "a123456789b123456789c123456789d1"; /* 32 */
    check_refused(&tiny, "not a short name");
    tiny.architecture = "ll\nama";
    check_refused(&tiny, "not made of a-z");
    tiny.architecture = "a123456789b123456789c123456789d"; /* 31 */
    struct text file = tiny_file(&tiny);
    struct gguf_summary summary;
    CHECK_OK(check_bytes(text_slice(&file), file.len, &summary, NULL));
    CHECK_STR(summary.architecture, tiny.architecture);
    CHECK_EQ(summary.context_length, 0); /* llama.* is another's */
    text_fini(&file);
}

TEST(alignment_is_a_power_of_two)
{
    struct tiny tiny = tiny_default();
    const uint32_t bad[] = {0, 3, 33, (1 << 20) + 1, 1 << 21, UINT32_MAX};
    for (size_t i = 0; i < ARRAY_COUNT(bad); i++) {
        tiny.alignment = bad[i];
        check_refused(&tiny, "power of two");
    }
}

TEST(tensor_that_does_not_fit_its_place_is_refused)
{
    struct tiny tiny = tiny_default();
    tiny.offset = 65;
    check_refused(&tiny, "multiple of 32");
    tiny.offset = 96;
    check_refused(&tiny, "cut off");
    tiny.offset = UINT64_MAX - 31;
    check_refused(&tiny, "impossible size");
    tiny = tiny_default();
    tiny.height = 3;
    check_refused(&tiny, "tensor out.weight ends");
    tiny.height = 0;
    check_refused(&tiny, "impossible size");
    tiny.height = UINT64_MAX / 2;
    check_refused(&tiny, "impossible size");
    tiny = tiny_default();
    tiny.width = 31; /* not whole blocks of 32 */
    check_refused(&tiny, "impossible size");
    tiny = tiny_default();
    for (size_t bytes = 0; bytes < tiny.data_bytes; bytes++) {
        struct tiny cut = tiny;
        cut.data_bytes = bytes;
        check_refused(&cut, "cut off");
    }
}

TEST(tensor_types_that_nobody_knows_are_refused)
{
    struct tiny tiny = tiny_default();
    const uint32_t bad[] = {4, 5, 31, 33, 36, 43, UINT32_MAX};
    for (size_t i = 0; i < ARRAY_COUNT(bad); i++) {
        tiny.type = bad[i];
        check_refused(&tiny, "does not know");
    }
}

/* A file of one pair that is not the architecture: the value decides whether it is read to its end.
 */
static enum err check_value(struct text *value, struct err_note *note)
{
    struct text file;
    text_init(&file, 1 << 20);
    text_add_str(&file, "GGUF");
    put(&file, 3, 4), put(&file, 0, 8), put(&file, 2, 8);
    put_string(&file, "x");
    text_add(&file, text_slice(value));
    put_key(&file, "general.architecture", 8);
    put_string(&file, "llama");
    struct gguf_summary summary;
    enum err err = check_bytes(text_slice(&file), file.len, &summary, note);
    text_fini(&file);
    text_fini(value);
    return err;
}

TEST(each_type_of_value_is_read_to_its_end)
{
    const uint8_t bytes[] = {1, 1, 2, 2, 4, 4, 4, 1, 0, 0, 8, 8, 8};
    for (uint32_t type = 0; type < ARRAY_COUNT(bytes); type++) {
        for (uint32_t count = 0; bytes[type] && count < 4; count++) {
            struct text value;
            text_init(&value, 256);
            if (count != 1)
                put(&value, 9, 4); /* an array of them */
            put(&value, type, 4);
            if (count != 1)
                put(&value, count, 8);
            for (uint32_t i = 0; i < count; i++)
                put(&value, UINT64_MAX, bytes[type]);
            CHECK_OK(check_value(&value, NULL));
        }
    }
}

TEST(values_that_cannot_be_read_are_refused)
{
    const struct {
        uint32_t type, of;
        uint64_t count;
        const char *why;
    } bad[] = {{13, 0, 0, "cannot be read here: 13"},
               {UINT32_MAX, 0, 0, "cannot be read here"},
               {9, 13, 0, "cannot be read here: 13"},
               {9, 9, 1, "cannot be read here: 9"}, /* arrays of arrays */
               {9, 10, UINT64_MAX / 8 + 1, "cut off"},
               {9, 0, UINT64_MAX, "cut off"},
               {9, 8, UINT64_MAX, "cut off"}};
    for (size_t i = 0; i < ARRAY_COUNT(bad); i++) {
        struct text value;
        struct err_note note = {{0}};
        text_init(&value, 256);
        put(&value, bad[i].type, 4);
        put(&value, bad[i].of, 4);
        put(&value, bad[i].count, 8);
        CHECK_ERR(check_value(&value, &note), ERR_PROTOCOL);
        if (!strstr(note.text, bad[i].why))
            CHECK_STR(note.text, bad[i].why);
    }
}

/* libllama aborts on these, and takes the process with it. */
TEST(numbers_that_would_abort_the_engine_are_refused)
{
    static const struct {
        const char *key;
        uint32_t type, bits;
        bool is_fine;
    } rows[] = {
        {"llama.block_count", 4, 0, false},
        {"llama.block_count", 4, 1, true},
        {"llama.block_count", 4, 512, true},
        {"llama.block_count", 4, 513, false},
        {"llama.block_count", 5, UINT32_MAX, false}, /* -1 */
        {"llama.block_count", 6, 0x40400000, false}, /* 3.0 */
        {"other.block_count", 4, 0, true},
        {"llama.attention.layer_norm_rms_epsilon", 6, 0x3727c5ac, true},  /* 1e-5 */
        {"llama.attention.layer_norm_rms_epsilon", 6, 0, true},           /* 0 */
        {"llama.attention.layer_norm_rms_epsilon", 6, 0xb727c5ac, false}, /* -1e-5 */
        {"llama.attention.layer_norm_epsilon", 6, 0x7fc00000, false},     /* NaN */
    };
    for (size_t i = 0; i < ARRAY_COUNT(rows); i++) {
        struct tiny tiny = tiny_default();
        tiny.pairs++;
        tiny.last_key = rows[i].key;
        tiny.last_type = rows[i].type;
        tiny.last_bits = rows[i].bits;
        struct text file = tiny_file(&tiny);
        struct gguf_summary summary;
        struct err_note note = {{0}};
        enum err err = check_bytes(text_slice(&file), file.len, &summary, &note);
        CHECK_EQ(err, rows[i].is_fine ? ERR_OK : ERR_PROTOCOL);
        CHECK(rows[i].is_fine == (note.text[0] == '\0'));
        text_fini(&file);
    }
}

TEST(shipped_model_is_sound)
{
    struct gguf_summary summary;
    struct err_note note = {{0}};
    enum err err = gguf_check_file(SOURCE_ROOT "/models/nano.gguf", &summary, &note);
    CHECK_STR(note.text, "");
    CHECK_OK(err);
    CHECK_STR(summary.architecture, "llama");
    CHECK(summary.block_count > 0 && summary.head_count_kv > 0 && summary.embedding_length > 0);
    CHECK(summary.has_chat_template);
}

TEST(what_is_no_model_file_is_told_apart)
{
    char folder[] = "/tmp/gguf-test-XXXXXX", path[64];
    struct gguf_summary summary;
    struct err_note note = {{0}};
    CHECK(mkdtemp(folder));
    CHECK_ERR(gguf_check_file(folder, &summary, &note), ERR_PROTOCOL);
    CHECK(strstr(note.text, "not a regular file"));

    snprintf(path, sizeof(path), "%s/model", folder);
    CHECK_ERR(gguf_check_file(path, &summary, &note), ERR_NOT_FOUND);
    CHECK(strstr(note.text, path));

    CHECK_EQ(mkfifo(path, 0600), 0);
    CHECK_ERR(gguf_check_file(path, &summary, &note), ERR_PROTOCOL); /* and does not wait */
    unlink(path);

    FILE *file = fopen(path, "w");
    CHECK(file);
    fclose(file);
    CHECK_ERR(gguf_check_file(path, &summary, &note), ERR_PROTOCOL);
    CHECK(strstr(note.text, "empty"));
    unlink(path);
    rmdir(folder);
}
