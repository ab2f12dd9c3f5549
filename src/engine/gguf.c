/* gguf - checks that a model file keeps its own promises. A reader walks over the bytes once for
 * the keys that say how to read the rest, and once more for those that are named after the
 * architecture. Nothing is allocated, and no count of the file is believed before the bytes for it
 * are there. */
#include "engine/gguf.h"

#include "base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

enum { /* ggml/docs/gguf.md, "gguf_metadata_value_type" */
       VALUE_U8,
       VALUE_I8,
       VALUE_U16,
       VALUE_I16,
       VALUE_U32,
       VALUE_I32,
       VALUE_F32,
       VALUE_BOOL,
       VALUE_STRING,
       VALUE_ARRAY,
       VALUE_U64,
       VALUE_I64,
       VALUE_F64,
       VALUE_TYPE_COUNT
};

enum {
    KEY_MAX_BYTES = 65535,                /* gguf.md */
    BLOCKS_MAX = 512,                     /* LLAMA_MAX_LAYERS of v0.5.0 */
    ALIGNMENT_DEFAULT = 32,               /* gguf.md */
    ALIGNMENT_MAX = 1 << 20,              /* ours: a page or two is usual, a gigabyte is a lie */
    QUOTE_MAX_BYTES = 64,                 /* of the file's names in our sentences */
    HEAD_MAX_BYTES = 256 << 20,           /* ours: the largest vocabularies take some 20 MiB */
    PAIR_MIN_BYTES = 8 + 1 + 4 + 1,       /* key length, key, type, value */
    TENSOR_MIN_BYTES = 8 + 4 + 8 + 4 + 8, /* name length, dimensions, one of them, type, offset */
};

/* 0: says its own length. */
static const uint8_t value_bytes[VALUE_TYPE_COUNT] = {
    [VALUE_U8] = 1,  [VALUE_I8] = 1,  [VALUE_U16] = 2, [VALUE_I16] = 2,
    [VALUE_U32] = 4, [VALUE_I32] = 4, [VALUE_F32] = 4, [VALUE_BOOL] = 1,
    [VALUE_U64] = 8, [VALUE_I64] = 8, [VALUE_F64] = 8,
};

/* How ggml stores tensors of each type: so many values together in so many bytes (ggml_blck_size()
 * and ggml_type_size() of v0.5.0). Types with no line here were removed, or are newer than it. */
static const struct {
    uint16_t values, bytes;
} tensor_types[] = {
    [0] = {1, 4},      /* f32 */
    [1] = {1, 2},      /* f16 */
    [2] = {32, 18},    /* q4_0 */
    [3] = {32, 20},    /* q4_1 */
    [6] = {32, 22},    /* q5_0 */
    [7] = {32, 24},    /* q5_1 */
    [8] = {32, 34},    /* q8_0 */
    [9] = {32, 36},    /* q8_1 */
    [10] = {256, 84},  /* q2_K */
    [11] = {256, 110}, /* q3_K */
    [12] = {256, 144}, /* q4_K */
    [13] = {256, 176}, /* q5_K */
    [14] = {256, 210}, /* q6_K */
    [15] = {256, 292}, /* q8_K */
    [16] = {256, 66},  /* iq2_xxs */
    [17] = {256, 74},  /* iq2_xs */
    [18] = {256, 98},  /* iq3_xxs */
    [19] = {256, 50},  /* iq1_s */
    [20] = {32, 18},   /* iq4_nl */
    [21] = {256, 110}, /* iq3_s */
    [22] = {256, 82},  /* iq2_s */
    [23] = {256, 136}, /* iq4_xs */
    [24] = {1, 1},     /* i8 */
    [25] = {1, 2},     /* i16 */
    [26] = {1, 4},     /* i32 */
    [27] = {1, 8},     /* i64 */
    [28] = {1, 8},     /* f64 */
    [29] = {256, 56},  /* iq1_m */
    [30] = {1, 2},     /* bf16 */
    [34] = {256, 54},  /* tq1_0 */
    [35] = {256, 66},  /* tq2_0 */
    [39] = {32, 17},   /* mxfp4 */
    [40] = {64, 36},   /* nvfp4 */
    [41] = {128, 18},  /* q1_0 */
    [42] = {64, 18},   /* q2_0 */
};

struct reader {
    struct slice head;
    size_t at;
    uint64_t file_bytes;
    uint64_t alignment;
    struct gguf_summary *summary;
    struct err_note *note;
};

struct value {
    uint32_t type; /* of the elements, if it is an array */
    bool is_array;
    struct slice text; /* of a string; of the last one in an array */
    bool is_number;    /* whole and not negative: max and sum hold */
    uint64_t max, sum; /* of the elements; both the number itself if it is not an array */
    uint64_t bits;     /* of the last element, if it is any number */
};

static enum err ran_out(const struct reader *reader)
{
    if (reader->head.len < reader->file_bytes)
        return err_note_fail(reader->note, ERR_PROTOCOL,
                             "its header does not end within the %zu bytes looked at",
                             reader->head.len);
    return err_note_fail(reader->note, ERR_PROTOCOL,
                         "it is cut off: it ends at byte %" PRIu64 ", inside its own header",
                         reader->file_bytes);
}

static size_t bytes_left(const struct reader *reader)
{
    return reader->head.len - reader->at;
}

/* A little-endian number of 1, 2, 4 or 8 bytes. */
static enum err take_number(struct reader *reader, size_t bytes, uint64_t *out_number)
{
    if (bytes_left(reader) < bytes)
        return ran_out(reader);
    uint64_t number = 0;
    for (size_t i = bytes; i-- > 0;)
        number = number << 8 | (unsigned char)reader->head.data[reader->at + i];
    reader->at += bytes;
    *out_number = number;
    return ERR_OK;
}

static enum err take_u32(struct reader *reader, uint32_t *out_number)
{
    uint64_t number = 0;
    TRY(take_number(reader, sizeof(*out_number), &number));
    *out_number = (uint32_t)number;
    return ERR_OK;
}

static enum err take_string(struct reader *reader, struct slice *out_text)
{
    uint64_t bytes = 0;
    TRY(take_number(reader, sizeof(bytes), &bytes));
    if (bytes > bytes_left(reader))
        return ran_out(reader);
    *out_text = slice_of(reader->head.data + reader->at, (size_t)bytes);
    reader->at += (size_t)bytes;
    return ERR_OK;
}

/* What a whole number of `type` means; false: not one, or negative. */
static bool number_of(uint32_t type, uint64_t raw, uint64_t *out_number)
{
    switch (type) {
    case VALUE_U8:
    case VALUE_U16:
    case VALUE_U32:
    case VALUE_U64:
    case VALUE_BOOL:
        break;
    case VALUE_I8:
        if (raw > INT8_MAX)
            return false;
        break;
    case VALUE_I16:
        if (raw > INT16_MAX)
            return false;
        break;
    case VALUE_I32:
        if (raw > INT32_MAX)
            return false;
        break;
    case VALUE_I64:
        if (raw > INT64_MAX)
            return false;
        break;
    default:
        return false;
    }
    *out_number = raw;
    return true;
}

static enum err take_numbers(struct reader *reader, uint64_t count, struct value *value)
{
    size_t bytes = value_bytes[value->type];
    if (count > bytes_left(reader) / bytes)
        return ran_out(reader);
    value->is_number = true;
    for (uint64_t i = 0; i < count; i++) {
        uint64_t raw = 0, number = 0;
        TRY(take_number(reader, bytes, &raw));
        value->bits = raw;
        if (!number_of(value->type, raw, &number) ||
            __builtin_add_overflow(value->sum, number, &value->sum))
            value->is_number = false;
        if (number > value->max)
            value->max = number;
    }
    return ERR_OK;
}

static enum err take_strings(struct reader *reader, uint64_t count, struct slice *out_last)
{
    for (uint64_t i = 0; i < count; i++) /* ends with the bytes at the latest: each takes eight */
        TRY(take_string(reader, out_last));
    return ERR_OK;
}

static enum err take_value(struct reader *reader, struct slice key, struct value *value)
{
    uint64_t count = 1;
    *value = (struct value){0};
    TRY(take_u32(reader, &value->type));
    if (value->type == VALUE_ARRAY) {
        value->is_array = true;
        TRY(take_u32(reader, &value->type));
        TRY(take_number(reader, sizeof(count), &count));
    }
    if (value->type >= VALUE_TYPE_COUNT || value->type == VALUE_ARRAY)
        return err_note_fail(reader->note, ERR_PROTOCOL,
                             "its metadata %s is of a type that cannot be read here: %u",
                             log_quote(key, QUOTE_MAX_BYTES), value->type);
    if (value->type == VALUE_STRING)
        return take_strings(reader, count, &value->text);
    return take_numbers(reader, count, value);
}

typedef enum err pair_fn(struct reader *reader, struct slice key, const struct value *value);

static enum err each_pair(struct reader *reader, pair_fn *on_pair)
{
    for (uint64_t i = 0; i < reader->summary->metadata_count; i++) {
        struct slice key;
        struct value value;
        TRY(take_string(reader, &key));
        if (key.len < 1 || key.len > KEY_MAX_BYTES)
            return err_note_fail(reader->note, ERR_PROTOCOL,
                                 "a key of its metadata has %zu bytes: allowed are 1..%d", key.len,
                                 KEY_MAX_BYTES);
        TRY(take_value(reader, key, &value));
        TRY(on_pair(reader, key, &value));
    }
    return ERR_OK;
}

static enum err set_architecture(struct reader *reader, const struct value *value)
{
    char *name = reader->summary->architecture;
    if (value->type != VALUE_STRING || value->is_array || value->text.len < 1 ||
        value->text.len >= sizeof(reader->summary->architecture))
        return err_note_fail(reader->note, ERR_PROTOCOL, "its architecture is not a short name");
    for (size_t i = 0; i < value->text.len; i++) {
        char c = value->text.data[i];
        if (!((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '_' || c == '.'))
            return err_note_fail(reader->note, ERR_PROTOCOL,
                                 "its architecture %s is not made of a-z 0-9 - _ .",
                                 log_quote(value->text, QUOTE_MAX_BYTES));
        name[i] = c;
    }
    name[value->text.len] = '\0';
    return ERR_OK;
}

static enum err set_alignment(struct reader *reader, const struct value *value)
{
    uint64_t alignment = value->is_number && !value->is_array ? value->max : 0;
    if (alignment < 1 || alignment > ALIGNMENT_MAX || (alignment & (alignment - 1)) != 0)
        return err_note_fail(reader->note, ERR_PROTOCOL,
                             "its alignment is not a power of two in 1..%d", ALIGNMENT_MAX);
    reader->alignment = alignment;
    return ERR_OK;
}

static enum err on_general_pair(struct reader *reader, struct slice key, const struct value *value)
{
    if (slice_eq_str(key, "general.architecture"))
        return set_architecture(reader, value);
    if (slice_eq_str(key, "general.alignment"))
        return set_alignment(reader, value);
    if (slice_eq_str(key, "tokenizer.chat_template"))
        reader->summary->has_chat_template = value->type == VALUE_STRING && value->text.len > 0;
    return ERR_OK;
}

/* Numbers on which libllama aborts the whole process instead of failing. */
static enum err check_fatal_number(struct reader *reader, struct slice name,
                                   const struct value *value)
{
    if (slice_eq_str(name, "block_count") &&
        (!value->is_number || value->max < 1 || value->max > BLOCKS_MAX))
        return err_note_fail(reader->note, ERR_PROTOCOL, "its block_count is not in 1..%d",
                             BLOCKS_MAX);
    if (slice_ends_with(name, SLICE("_epsilon")) && value->type == VALUE_F32) {
        float epsilon;
        uint32_t bits = (uint32_t)value->bits;
        memcpy(&epsilon, &bits, sizeof(epsilon));
        if (!(epsilon >= 0)) /* also refuses NaN */
            return err_note_fail(reader->note, ERR_PROTOCOL, "its %s is %g: allowed is 0 or more",
                                 log_quote(name, QUOTE_MAX_BYTES), (double)epsilon);
    }
    return ERR_OK;
}

static enum err on_architecture_pair(struct reader *reader, struct slice key,
                                     const struct value *value)
{
    struct gguf_summary *summary = reader->summary;
    const struct {
        const char *name;
        uint64_t *field;
    } fields[] = {{"context_length", &summary->context_length},
                  {"block_count", &summary->block_count},
                  {"embedding_length", &summary->embedding_length},
                  {"attention.head_count", &summary->head_count},
                  {"attention.head_count_kv", &summary->head_count_kv},
                  {"attention.key_length", &summary->key_length},
                  {"attention.value_length", &summary->value_length}};
    struct slice architecture = slice_str(summary->architecture);
    struct slice rest = slice_after(key, architecture.len + 1);
    if (!slice_starts_with(key, architecture) || key.len == architecture.len ||
        key.data[architecture.len] != '.')
        return ERR_OK;
    TRY(check_fatal_number(reader, rest, value));
    if (!value->is_number)
        return ERR_OK;
    for (size_t i = 0; i < ARRAY_COUNT(fields); i++)
        if (slice_eq_str(rest, fields[i].name))
            *fields[i].field = value->max;
    if (value->is_array && slice_eq_str(rest, "attention.head_count_kv"))
        summary->head_count_kv_sum = value->sum;
    return ERR_OK;
}

/* What the tensor takes; false: nothing, a part of a block, or more than can be counted. */
static bool tensor_bytes(uint32_t type, const uint64_t *dimensions, uint32_t count,
                         uint64_t *out_bytes)
{
    uint64_t blocks = dimensions[0] / tensor_types[type].values;
    if (dimensions[0] % tensor_types[type].values != 0)
        return false;
    for (uint32_t i = 1; i < count; i++)
        if (__builtin_mul_overflow(blocks, dimensions[i], &blocks))
            return false;
    return blocks > 0 &&
           !__builtin_mul_overflow(blocks, (uint64_t)tensor_types[type].bytes, out_bytes);
}

/* *out_end: where the tensor's bytes end, counted from the start of the data. */
static enum err take_tensor(struct reader *reader, struct gguf_tensor *tensor, uint64_t *out_end)
{
    uint32_t count = 0;
    *tensor = (struct gguf_tensor){.dimensions = {1, 1, 1, 1}};
    TRY(take_string(reader, &tensor->name));
    const char *name = log_quote(tensor->name, QUOTE_MAX_BYTES);
    if (tensor->name.len > GGUF_NAME_MAX_BYTES)
        return err_note_fail(reader->note, ERR_PROTOCOL, "the name of its tensor %s is too long",
                             name);
    TRY(take_u32(reader, &count));
    if (count < 1 || count > ARRAY_COUNT(tensor->dimensions))
        return err_note_fail(reader->note, ERR_PROTOCOL,
                             "its tensor %s has %u dimensions: allowed are 1..%zu", name, count,
                             ARRAY_COUNT(tensor->dimensions));
    tensor->dimension_count = count;
    for (uint32_t i = 0; i < count; i++)
        TRY(take_number(reader, sizeof(tensor->dimensions[i]), &tensor->dimensions[i]));
    TRY(take_u32(reader, &tensor->type));
    if (tensor->type >= ARRAY_COUNT(tensor_types) || tensor_types[tensor->type].values == 0)
        return err_note_fail(reader->note, ERR_PROTOCOL,
                             "its tensor %s is of type %u, which llama.cpp v0.5.0 does not know",
                             name, tensor->type);
    TRY(take_number(reader, sizeof(tensor->offset), &tensor->offset));
    if (tensor->offset % reader->alignment != 0)
        return err_note_fail(reader->note, ERR_PROTOCOL,
                             "its tensor %s does not start at a multiple of %" PRIu64, name,
                             reader->alignment);
    if (!tensor_bytes(tensor->type, tensor->dimensions, count, &tensor->bytes) ||
        __builtin_add_overflow(tensor->offset, tensor->bytes, out_end))
        return err_note_fail(reader->note, ERR_PROTOCOL, "its tensor %s has an impossible size",
                             name);
    return ERR_OK;
}

static enum err check_tensors(struct reader *reader)
{
    struct gguf_summary *summary = reader->summary;
    struct slice last_name = {0};
    uint64_t last_end = 0;
    for (uint64_t i = 0; i < summary->tensor_count; i++) {
        struct gguf_tensor tensor;
        uint64_t end = 0;
        TRY(take_tensor(reader, &tensor, &end));
        if (end > last_end)
            last_end = end, last_name = tensor.name;
    }
    uint64_t mask = reader->alignment - 1;
    summary->data_offset = ((uint64_t)reader->at + mask) & ~mask;
    summary->data_bytes =
        summary->data_offset < reader->file_bytes ? reader->file_bytes - summary->data_offset : 0;
    if (last_end > summary->data_bytes)
        return err_note_fail(reader->note, ERR_PROTOCOL,
                             "it is cut off: it has %" PRIu64
                             " bytes of tensors, and its tensor %s ends at byte %" PRIu64
                             " of them",
                             summary->data_bytes, log_quote(last_name, QUOTE_MAX_BYTES), last_end);
    return ERR_OK;
}

static enum err take_counts(struct reader *reader)
{
    struct gguf_summary *summary = reader->summary;
    if (!slice_starts_with(reader->head, SLICE("GGUF")))
        return err_note_fail(reader->note, ERR_PROTOCOL, "it does not begin with \"GGUF\"");
    reader->at = 4;
    TRY(take_u32(reader, &summary->version));
    if (summary->version != 2 && summary->version != 3)
        return err_note_fail(reader->note, ERR_PROTOCOL,
                             "its GGUF version is %u%s: 2 and 3 can be read", summary->version,
                             summary->version && !(summary->version & 0xffff) ? " (big-endian)"
                                                                              : "");
    TRY(take_number(reader, sizeof(summary->tensor_count), &summary->tensor_count));
    TRY(take_number(reader, sizeof(summary->metadata_count), &summary->metadata_count));
    if (summary->metadata_count > reader->file_bytes / PAIR_MIN_BYTES ||
        summary->tensor_count > reader->file_bytes / TENSOR_MIN_BYTES)
        return err_note_fail(reader->note, ERR_PROTOCOL,
                             "it claims %" PRIu64 " keys and %" PRIu64
                             " tensors, more than its %" PRIu64 " bytes can hold",
                             summary->metadata_count, summary->tensor_count, reader->file_bytes);
    return ERR_OK;
}

/* *out_tensors_at: where the table of tensors begins. */
static enum err check_head(struct reader *reader, size_t *out_tensors_at)
{
    struct gguf_summary *summary = reader->summary;
    TRY(take_counts(reader));
    size_t metadata_at = reader->at;
    TRY(each_pair(reader, on_general_pair));
    if (!summary->architecture[0])
        return err_note_fail(reader->note, ERR_PROTOCOL, "it does not say its architecture");
    reader->at = metadata_at;
    TRY(each_pair(reader, on_architecture_pair));
    *out_tensors_at = reader->at;
    return check_tensors(reader);
}

static struct reader reader_of(struct slice head, uint64_t file_bytes, struct gguf_summary *summary,
                               struct err_note *note)
{
    ASSERT(head.len <= file_bytes);
    return (struct reader){.head = head,
                           .file_bytes = file_bytes,
                           .alignment = ALIGNMENT_DEFAULT,
                           .summary = summary,
                           .note = note};
}

enum err gguf_check(struct slice head, uint64_t file_bytes, struct gguf_summary *out_summary,
                    struct err_note *out_note)
{
    struct gguf_summary summary = {0};
    struct reader reader = reader_of(head, file_bytes, &summary, out_note);
    size_t tensors_at;
    TRY(check_head(&reader, &tensors_at));
    *out_summary = summary;
    return ERR_OK;
}

enum err gguf_each_tensor(struct slice head, uint64_t file_bytes, gguf_tensor_fn *on_tensor,
                          void *ctx)
{
    struct gguf_summary summary = {0};
    struct reader reader = reader_of(head, file_bytes, &summary, NULL);
    size_t tensors_at;
    TRY(check_head(&reader, &tensors_at));
    reader.at = tensors_at;
    for (uint64_t i = 0; i < summary.tensor_count; i++) {
        struct gguf_tensor tensor;
        uint64_t end = 0;
        TRY(take_tensor(&reader, &tensor, &end));
        TRY(on_tensor(ctx, &tensor));
    }
    return ERR_OK;
}

enum err gguf_find(struct slice head, struct slice key, struct slice *out_value)
{
    struct gguf_summary summary = {0};
    struct reader reader = {.head = head, .file_bytes = head.len, .summary = &summary};
    TRY(take_counts(&reader));
    for (uint64_t i = 0; i < summary.metadata_count; i++) {
        struct slice name;
        struct value value;
        TRY(take_string(&reader, &name));
        size_t begin = reader.at;
        TRY(take_value(&reader, name, &value));
        if (slice_eq(name, key)) {
            *out_value = slice_of(head.data + begin, reader.at - begin);
            return ERR_OK;
        }
    }
    return ERR_NOT_FOUND;
}

/* What lies behind the type of a value. */
static enum err find_typed(struct slice head, struct slice key, uint32_t wanted,
                           struct slice *out_bytes)
{
    struct slice value;
    TRY(gguf_find(head, key, &value));
    struct reader reader = {.head = value, .file_bytes = value.len};
    uint32_t type = 0;
    TRY(take_u32(&reader, &type));
    *out_bytes = slice_after(value, reader.at);
    return type == wanted ? ERR_OK : ERR_PROTOCOL;
}

enum err gguf_find_string(struct slice head, struct slice key, struct slice *out_text)
{
    struct slice bytes;
    TRY(find_typed(head, key, VALUE_STRING, &bytes));
    *out_text = slice_after(bytes, sizeof(uint64_t)); /* its length */
    return ERR_OK;
}

enum err gguf_find_f32(struct slice head, struct slice key, float *out_number)
{
    struct slice bytes;
    TRY(find_typed(head, key, VALUE_F32, &bytes));
    memcpy(out_number, bytes.data, sizeof(*out_number));
    return ERR_OK;
}

static enum err map_open_file(int fd, struct gguf_map *out_map, struct err_note *out_note)
{
    struct stat status;
    if (fstat(fd, &status) != 0)
        return err_note_fail(out_note, ERR_SYSTEM, "%s", strerror(errno));
    if (!S_ISREG(status.st_mode))
        return err_note_fail(out_note, ERR_PROTOCOL, "it is not a regular file");
    if (status.st_size == 0)
        return err_note_fail(out_note, ERR_PROTOCOL, "it is empty");
    size_t head_bytes =
        status.st_size < HEAD_MAX_BYTES ? (size_t)status.st_size : (size_t)HEAD_MAX_BYTES;
    void *map = mmap(NULL, head_bytes, PROT_READ, MAP_PRIVATE, fd, 0);
    if (map == MAP_FAILED)
        return err_note_fail(out_note, ERR_SYSTEM, "%s", strerror(errno));
    *out_map = (struct gguf_map){slice_of(map, head_bytes), (uint64_t)status.st_size};
    return ERR_OK;
}

enum err gguf_map(const char *path, struct gguf_map *out_map, struct err_note *out_note)
{
    /* O_NONBLOCK: a FIFO of that name must not hold us up until somebody writes into it. */
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0)
        return err_note_fail(out_note, errno == ENOENT ? ERR_NOT_FOUND : ERR_SYSTEM, "%s",
                             strerror(errno));
    enum err err = map_open_file(fd, out_map, out_note);
    close(fd);
    return err;
}

void gguf_unmap(struct gguf_map *map)
{
    if (map->head.data)
        munmap((void *)(uintptr_t)map->head.data, map->head.len);
    *map = (struct gguf_map){0};
}
enum err gguf_check_file(const char *path, struct gguf_summary *out_summary,
                         struct err_note *out_note)
{
    struct gguf_map map;
    struct err_note why = {{0}};
    enum err err = gguf_map(path, &map, &why);
    if (err != ERR_OK && err != ERR_PROTOCOL)
        return err_note_fail(out_note, err, "cannot open the model file %s: %s", path, why.text);
    if (err == ERR_OK) {
        err = gguf_check(map.head, map.file_bytes, out_summary, &why);
        gguf_unmap(&map);
    }
    return err == ERR_OK
               ? ERR_OK
               : err_note_fail(out_note, err, "%s is not a usable GGUF model: %s", path, why.text);
}
