/* lora - see lora.h. */
#include "engine/lora.h"

#include "base/log.h"
#include "base/mem.h"

#include <inttypes.h>
#include <math.h>

enum { /* ggml_type */
       TYPE_F32 = 0,
       TYPE_F16 = 1,
       TYPE_Q8_0 = 8,
       TYPE_BF16 = 30,
       TYPE_NVFP4 = 40
};

enum { QUOTE_MAX_BYTES = 64, Q8_VALUES = 32, Q8_BYTES = 34, ALIGNMENT = 32 };

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__,
               "numbers are read and written as they lie");

/* --- what it says of itself --- */

static enum err expect_string(struct slice bytes, const char *key, const char *wanted,
                              struct err_note *note)
{
    struct slice found = {0};
    enum err err = gguf_find_string(bytes, slice_str(key), &found);
    if (err == ERR_OK && slice_eq_str(found, wanted))
        return ERR_OK;
    return err_note_fail(note, ERR_PROTOCOL, "its %s is %s: a LoRA adapter has '%s'", key,
                         err == ERR_OK ? log_quote(found, QUOTE_MAX_BYTES) : "missing", wanted);
}

static enum err read_alpha(struct slice bytes, float *out_alpha, struct err_note *note)
{
    *out_alpha = 0;
    enum err err = gguf_find_f32(bytes, SLICE("adapter.lora.alpha"), out_alpha);
    if (err == ERR_NOT_FOUND || (err == ERR_OK && isfinite(*out_alpha)))
        return ERR_OK;
    return err_note_fail(note, ERR_PROTOCOL, "its adapter.lora.alpha is not a number");
}

static enum err check_keys(struct lora *lora, const struct gguf_map *model, struct err_note *note)
{
    struct gguf_summary own, base;
    struct slice value;
    TRY(gguf_check(lora->bytes, lora->bytes.len, &own, note));
    TRY(gguf_check(model->head, model->file_bytes, &base, note));
    TRY(expect_string(lora->bytes, "general.type", "adapter", note));
    TRY(expect_string(lora->bytes, "adapter.type", "lora", note));
    if (strcmp(own.architecture, base.architecture) != 0)
        return err_note_fail(note, ERR_PROTOCOL, "it is for models of kind %s, and this one is %s",
                             own.architecture, base.architecture);
    if (gguf_find(lora->bytes, SLICE("adapter.alora.invocation_tokens"), &value) != ERR_NOT_FOUND)
        return err_note_fail(note, ERR_PROTOCOL,
                             "it is an activated LoRA (aLoRA): these are not supported");
    if (gguf_find(model->head, SLICE("split.count"), &value) != ERR_NOT_FOUND)
        return err_note_fail(note, ERR_PROTOCOL,
                             "the model is in several files: adapters need one that is in one");
    snprintf(lora->architecture, sizeof(lora->architecture), "%s", own.architecture);
    lora->data_offset = own.data_offset;
    return read_alpha(lora->bytes, &lora->alpha, note);
}

/* --- its pairs --- */

struct walk {
    struct lora *lora;
    struct err_note *note;
};

static const char *quote(struct slice name)
{
    return log_quote(name, QUOTE_MAX_BYTES);
}

/* Both of a pair usually follow each other. */
static struct lora_pair *find_pair(struct lora *lora, struct slice name)
{
    for (uint32_t i = lora->pair_count; i-- > 0;)
        if (slice_eq(lora->pairs[i].name, name))
            return &lora->pairs[i];
    return NULL;
}

static bool is_of_known_type(const struct gguf_tensor *tensor)
{
    return tensor->type == TYPE_F32 || tensor->type == TYPE_F16 || tensor->type == TYPE_BF16 ||
           tensor->type == TYPE_Q8_0;
}

static enum err add_tensor(void *ctx, const struct gguf_tensor *tensor)
{
    struct walk *walk = ctx;
    struct lora *lora = walk->lora;
    bool is_a = slice_ends_with(tensor->name, SLICE(".lora_a"));
    if (!is_a && slice_ends_with(tensor->name, SLICE("_norm.weight")))
        return ERR_OK; /* a whole vector in place of the model's: libllama passes over it, too */
    if (!is_a && !slice_ends_with(tensor->name, SLICE(".lora_b")))
        return err_note_fail(walk->note, ERR_PROTOCOL,
                             "its tensor %s is neither a .lora_a nor a .lora_b",
                             quote(tensor->name));
    if (!is_of_known_type(tensor))
        return err_note_fail(walk->note, ERR_PROTOCOL,
                             "its tensor %s is of type %u: f32, f16, bf16 and q8_0 can be read",
                             quote(tensor->name), tensor->type);
    if (tensor->dimensions[2] != 1 || tensor->dimensions[3] != 1)
        return err_note_fail(walk->note, ERR_PROTOCOL,
                             "its tensor %s has more than two dimensions: adapters of experts are "
                             "not supported",
                             quote(tensor->name));
    struct slice name = slice_first(tensor->name, tensor->name.len - strlen(".lora_a"));
    struct lora_pair *pair = find_pair(lora, name);
    if (!pair && lora->pair_count == LORA_PAIRS_MAX)
        return err_note_fail(walk->note, ERR_PROTOCOL, "it is for more than %d matrices",
                             LORA_PAIRS_MAX);
    if (!pair) {
        pair = &lora->pairs[lora->pair_count++];
        *pair = (struct lora_pair){.name = name};
    }
    struct gguf_tensor *place = is_a ? &pair->a : &pair->b;
    if (place->name.len > 0)
        return err_note_fail(walk->note, ERR_PROTOCOL, "it has its tensor %s twice",
                             quote(tensor->name));
    *place = *tensor;
    return ERR_OK;
}

/* Small files could otherwise ask for all the memory there is, by tensors at the same place. */
static enum err check_overlap(const struct lora *lora, struct err_note *note)
{
    uint64_t sum = 0, data_bytes = lora->bytes.len - lora->data_offset;
    for (uint32_t i = 0; i < lora->pair_count; i++)
        sum += lora->pairs[i].a.bytes + lora->pairs[i].b.bytes;
    if (sum <= data_bytes)
        return ERR_OK;
    return err_note_fail(note, ERR_PROTOCOL,
                         "its tensors overlap: they have %" PRIu64 " bytes in %" PRIu64, sum,
                         data_bytes);
}

static enum err check_pairs(const struct lora *lora, struct err_note *note)
{
    if (lora->pair_count == 0)
        return err_note_fail(note, ERR_PROTOCOL, "it adapts nothing: it has no tensors");
    for (uint32_t i = 0; i < lora->pair_count; i++) {
        const struct lora_pair *pair = &lora->pairs[i];
        bool lacks_a = pair->a.name.len == 0;
        if (lacks_a || pair->b.name.len == 0)
            return err_note_fail(note, ERR_PROTOCOL, "its tensor %s%s is missing",
                                 quote(pair->name), lacks_a ? ".lora_a" : ".lora_b");
        uint64_t rank = pair->a.dimensions[1];
        if (rank != pair->b.dimensions[0] || rank > LORA_RANK_MAX)
            return err_note_fail(note, ERR_PROTOCOL,
                                 "the rank of its pair for %s is %" PRIu64 " in one and %" PRIu64
                                 " in the other: both must be the same, at most %d",
                                 quote(pair->name), rank, pair->b.dimensions[0], LORA_RANK_MAX);
    }
    return ERR_OK;
}

/* --- the model's matrices --- */

/* libllama looks rows up in the first, and multiplies with it, too, where there is no second. */
static enum err check_is_possible(const struct gguf_tensor *matrix, struct err_note *note)
{
    if (slice_eq_str(matrix->name, "token_embd.weight"))
        return err_note_fail(note, ERR_PROTOCOL,
                             "it adapts token_embd.weight, which is not supported");
    if (matrix->dimension_count != 2 || matrix->type == TYPE_NVFP4)
        return err_note_fail(note, ERR_PROTOCOL,
                             "it adapts %s, which has %u dimensions and type %u in the model: that "
                             "is not supported",
                             quote(matrix->name), matrix->dimension_count, matrix->type);
    return ERR_OK;
}

static uint64_t odd_rank(const struct lora_pair *pair)
{
    return pair->b.dimensions[0] | 1;
}

static void add_up(struct lora *lora, const struct lora_pair *pair)
{
    uint64_t inputs = pair->a.dimensions[0], outputs = pair->b.dimensions[1];
    uint64_t *widest =
        slice_eq_str(pair->name, "output.weight") ? &lora->widest_output : &lora->widest;
    lora->written_bytes += (inputs + outputs) * odd_rank(pair) * sizeof(float);
    if (outputs + odd_rank(pair) > *widest)
        *widest = outputs + odd_rank(pair);
}

static enum err match_matrix(void *ctx, const struct gguf_tensor *matrix)
{
    struct walk *walk = ctx;
    struct lora_pair *pair = find_pair(walk->lora, matrix->name);
    if (!pair)
        return ERR_OK;
    TRY(check_is_possible(matrix, walk->note));
    if (pair->a.dimensions[0] != matrix->dimensions[0] ||
        pair->b.dimensions[1] != matrix->dimensions[1])
        return err_note_fail(walk->note, ERR_PROTOCOL,
                             "it is for a matrix %s of %" PRIu64 " x %" PRIu64
                             ", and the model's is of %" PRIu64 " x %" PRIu64
                             ": is it for another model?",
                             quote(matrix->name), pair->a.dimensions[0], pair->b.dimensions[1],
                             matrix->dimensions[0], matrix->dimensions[1]);
    if (!pair->is_known)
        add_up(walk->lora, pair);
    pair->is_known = true;
    return ERR_OK;
}

static enum err check_all_are_known(const struct lora *lora, struct err_note *note)
{
    for (uint32_t i = 0; i < lora->pair_count; i++)
        if (!lora->pairs[i].is_known)
            return err_note_fail(note, ERR_PROTOCOL,
                                 "the model has no tensor %s, which it adapts: is it for another "
                                 "model?",
                                 quote(lora->pairs[i].name));
    return ERR_OK;
}

/* --- its numbers --- */

static float float_of_bits(uint32_t bits)
{
    float number;
    memcpy(&number, &bits, sizeof(number));
    return number;
}

static float float_of_half(uint16_t half)
{
    uint32_t sign = (uint32_t)(half & 0x8000) << 16, exponent = half >> 10 & 31, rest = half & 1023;
    if (exponent == 0) /* subnormal */
        return (sign ? -0x1p-24f : 0x1p-24f) * (float)rest;
    return float_of_bits(sign | (exponent == 31 ? 255 : exponent + 112) << 23 | rest << 13);
}

static uint16_t take_u16(const char *bytes)
{
    uint16_t value;
    memcpy(&value, bytes, sizeof(value));
    return value;
}

static float q8_value(const char *row, size_t index)
{
    const char *block = row + index / Q8_VALUES * Q8_BYTES;
    return float_of_half(take_u16(block)) *
           (float)(signed char)block[sizeof(uint16_t) + index % Q8_VALUES];
}

static void unpack(uint32_t type, const char *row, size_t count, float *out)
{
    switch (type) {
    case TYPE_F32:
        memcpy(out, row, count * sizeof(*out));
        return;
    case TYPE_F16:
        for (size_t i = 0; i < count; i++)
            out[i] = float_of_half(take_u16(row + i * sizeof(uint16_t)));
        return;
    case TYPE_BF16:
        for (size_t i = 0; i < count; i++)
            out[i] = float_of_bits((uint32_t)take_u16(row + i * sizeof(uint16_t)) << 16);
        return;
    default:
        ASSERT(type == TYPE_Q8_0);
        for (size_t i = 0; i < count; i++)
            out[i] = q8_value(row, i);
    }
}

static const char *row_of(const struct lora *lora, const struct gguf_tensor *tensor, uint64_t row)
{
    return lora->bytes.data + lora->data_offset + tensor->offset +
           row * (tensor->bytes / tensor->dimensions[1]);
}

/* What B is multiplied with. */
static float factor_of(const struct lora *lora, const struct lora_pair *pair)
{
    return lora->alpha != 0 ? lora->alpha / (float)pair->b.dimensions[0] : 1;
}

static enum err check_matrix(const struct lora *lora, const struct gguf_tensor *tensor,
                             float factor, struct err_note *note)
{
    size_t columns = (size_t)tensor->dimensions[0];
    float *numbers = mem_array(columns, sizeof(*numbers));
    bool are_finite = true;
    for (uint64_t i = 0; i < tensor->dimensions[1] && are_finite; i++) {
        unpack(tensor->type, row_of(lora, tensor, i), columns, numbers);
        for (size_t j = 0; j < columns; j++)
            are_finite = are_finite && isfinite(numbers[j] * factor);
    }
    mem_free(numbers);
    if (are_finite)
        return ERR_OK;
    return err_note_fail(note, ERR_PROTOCOL, "its tensor %s has numbers that are not finite%s",
                         quote(tensor->name), factor == 1 ? "" : " (with alpha / rank)");
}

/* One that is not spoils every cell of a slot that it comes to, and its next user's logits. */
static enum err check_numbers(const struct lora *lora, struct err_note *note)
{
    for (uint32_t i = 0; i < lora->pair_count; i++) {
        TRY(check_matrix(lora, &lora->pairs[i].a, 1, note));
        TRY(check_matrix(lora, &lora->pairs[i].b, factor_of(lora, &lora->pairs[i]), note));
    }
    return ERR_OK;
}

/* --- all of it --- */

static enum err check(struct lora *lora, const struct gguf_map *model, struct err_note *note)
{
    struct walk walk = {lora, note};
    TRY(check_keys(lora, model, note));
    TRY(gguf_each_tensor(lora->bytes, lora->bytes.len, add_tensor, &walk));
    TRY(check_pairs(lora, note));
    TRY(check_overlap(lora, note));
    TRY(gguf_each_tensor(model->head, model->file_bytes, match_matrix, &walk));
    TRY(check_all_are_known(lora, note));
    if (lora->written_bytes > LORA_WRITTEN_MAX_BYTES)
        return err_note_fail(note, ERR_PROTOCOL,
                             "it takes %" PRIu64 " bytes in memory: allowed are %" PRIu64,
                             lora->written_bytes, LORA_WRITTEN_MAX_BYTES);
    return check_numbers(lora, note);
}

enum err lora_check(struct slice bytes, const struct gguf_map *model, struct lora *out_lora,
                    struct err_note *out_note)
{
    struct lora lora = {.bytes = bytes, .pairs = mem_array(LORA_PAIRS_MAX, sizeof(*lora.pairs))};
    enum err err = check(&lora, model, out_note);
    if (err != ERR_OK) {
        lora_fini(&lora);
        return err;
    }
    *out_lora = lora;
    return ERR_OK;
}

void lora_fini(struct lora *lora)
{
    mem_free(lora->pairs);
    *lora = (struct lora){0};
}

/* --- writing it again --- */

struct writer {
    FILE *out;
    uint64_t written; /* of what has to lie at multiples of ALIGNMENT */
};

static void put(struct writer *writer, const void *bytes, size_t count)
{
    (void)fwrite(bytes, 1, count, writer->out); /* ferror() tells, at the end */
    writer->written += count;
}

static void put_u32(struct writer *writer, uint32_t value)
{
    put(writer, &value, sizeof(value));
}

static void put_u64(struct writer *writer, uint64_t value)
{
    put(writer, &value, sizeof(value));
}

static void put_text(struct writer *writer, struct slice text)
{
    put_u64(writer, text.len);
    put(writer, text.data, text.len);
}

static void put_padding(struct writer *writer)
{
    static const char zeros[ALIGNMENT];
    put(writer, zeros, (ALIGNMENT - writer->written % ALIGNMENT) % ALIGNMENT);
}

static void put_key(struct writer *writer, const char *key, const char *value)
{
    enum { VALUE_STRING = 8 };
    put_text(writer, slice_str(key));
    put_u32(writer, VALUE_STRING);
    put_text(writer, slice_str(value));
}

/* Returns where the next one lies. */
static uint64_t put_place(struct writer *writer, struct slice name, uint64_t columns, uint64_t rows,
                          uint64_t offset)
{
    put_text(writer, name);
    put_u32(writer, 2);
    put_u64(writer, columns);
    put_u64(writer, rows);
    put_u32(writer, TYPE_F32);
    put_u64(writer, offset);
    uint64_t end = offset + columns * rows * sizeof(float);
    return (end + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
}

static void put_head(struct writer *writer, const struct lora *lora)
{
    enum { VERSION = 3, KEYS = 3 };
    uint64_t offset = 0;
    put(writer, "GGUF", 4);
    put_u32(writer, VERSION);
    put_u64(writer, 2 * (uint64_t)lora->pair_count);
    put_u64(writer, KEYS);
    put_key(writer, "general.type", "adapter");
    put_key(writer, "general.architecture", lora->architecture);
    put_key(writer, "adapter.type", "lora"); /* no alpha: it is in B */
    for (uint32_t i = 0; i < lora->pair_count; i++) {
        const struct lora_pair *pair = &lora->pairs[i];
        uint64_t rank = odd_rank(pair);
        offset = put_place(writer, pair->a.name, pair->a.dimensions[0], rank, offset);
        offset = put_place(writer, pair->b.name, rank, pair->b.dimensions[1], offset);
    }
    put_padding(writer);
}

/* Rows of `tensor`, each made `columns` long with zeros, then rows of zeros until there are
 * `rows`. */
static void put_matrix(struct writer *writer, const struct lora *lora,
                       const struct gguf_tensor *tensor, uint64_t columns, uint64_t rows,
                       float factor)
{
    size_t own_columns = (size_t)tensor->dimensions[0];
    float *numbers = mem_array((size_t)columns, sizeof(*numbers));
    for (uint64_t i = 0; i < rows; i++) {
        if (i < tensor->dimensions[1])
            unpack(tensor->type, row_of(lora, tensor, i), own_columns, numbers);
        else
            memset(numbers, 0, (size_t)columns * sizeof(*numbers));
        for (size_t j = 0; j < own_columns; j++)
            numbers[j] *= factor;
        put(writer, numbers, (size_t)columns * sizeof(*numbers));
    }
    mem_free(numbers);
    put_padding(writer);
}

enum err lora_write(const struct lora *lora, FILE *out)
{
    struct writer writer = {.out = out};
    put_head(&writer, lora);
    for (uint32_t i = 0; i < lora->pair_count; i++) {
        const struct lora_pair *pair = &lora->pairs[i];
        uint64_t rank = odd_rank(pair);
        put_matrix(&writer, lora, &pair->a, pair->a.dimensions[0], rank, 1);
        put_matrix(&writer, lora, &pair->b, rank, pair->b.dimensions[1], factor_of(lora, pair));
    }
    return fflush(out) == 0 && !ferror(out) ? ERR_OK : ERR_SYSTEM;
}
