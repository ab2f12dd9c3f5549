/* Tests of the look into an adapter's file, and of what is written of it. The model and the adapter
 * are made here, byte by byte, so that each can lie in just one place. */
#include "engine/lora.h"

#include "base/mem.h"
#include "engine/gguf_bytes.h"
#include "testing/test.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

enum { F32 = 0, F16 = 1, Q4_0 = 2, Q8_0 = 8, BF16 = 30, NVFP4 = 40 };
enum { STRING = 8, FLOAT = 6, U32 = 4, DATA_BYTES = 8192 };

static void put_pair(struct text *file, const char *key, const char *value)
{
    put_key(file, key, STRING);
    put_string(file, value);
}

struct tensor {
    const char *name;
    uint64_t columns, rows, planes;
    uint32_t type;
    uint64_t offset;
};

static void put_tensor(struct text *file, const struct tensor *tensor)
{
    put_string(file, tensor->name);
    put(file, tensor->planes ? 3 : tensor->rows ? 2 : 1, 4);
    put(file, tensor->columns, 8);
    if (tensor->rows)
        put(file, tensor->rows, 8);
    if (tensor->planes)
        put(file, tensor->planes, 8);
    put(file, tensor->type, 4);
    put(file, tensor->offset, 8);
}

static void begin(struct text *file, size_t tensors, size_t pairs)
{
    text_init(file, 1 << 20);
    text_add_str(file, "GGUF");
    put(file, 3, 4);
    put(file, tensors, 8);
    put(file, pairs, 8);
}

static void put_data(struct text *file, const void *data, size_t bytes)
{
    while (file->len % 32)
        put(file, 0, 1);
    text_add(file, slice_of(data, bytes));
}

static const char no_data[DATA_BYTES];

static const struct tensor matrices[] = {
    {"token_embd.weight", 4, 8, 0, F32, 0},   {"blk.0.norm.weight", 4, 0, 0, F32, 0},
    {"blk.0.up.weight", 4, 6, 0, F32, 0},     {"blk.0.experts.weight", 4, 6, 2, F32, 0},
    {"blk.0.fp4.weight", 64, 6, 0, NVFP4, 0}, {"blk.0.wide.weight", 4, 32, 0, F32, 0},
    {"output.weight", 4, 8, 0, F32, 0},
};

static struct text model_file(bool is_split)
{
    struct text file;
    begin(&file, ARRAY_COUNT(matrices), is_split ? 2 : 1);
    put_pair(&file, "general.architecture", "llama");
    if (is_split) {
        put_key(&file, "split.count", U32);
        put(&file, 2, 4);
    }
    for (size_t i = 0; i < ARRAY_COUNT(matrices); i++)
        put_tensor(&file, &matrices[i]);
    put_data(&file, no_data, sizeof(no_data));
    return file;
}

/* What an adapter says; each test changes one thing. */
struct tiny {
    const char *type, *architecture, *kind;
    uint32_t alpha_type;
    float alpha;
    const char *more_key; /* of a u32; NULL: none */
    struct tensor tensors[4];
    const void *data;
    size_t data_bytes;
};

static const float a_numbers[2][4] = {{1, 2, 3, 4}, {5, 6, 7, 8}};
static const float b_numbers[6][2] = {{1, 2}, {3, 4}, {5, 6}, {7, 8}, {9, 10}, {11, 12}};

static struct tiny tiny_default(void)
{
    return (struct tiny){.type = "adapter",
                         .architecture = "llama",
                         .kind = "lora",
                         .alpha_type = FLOAT,
                         .alpha = 4,
                         .tensors = {{"blk.0.up.weight.lora_a", 4, 2, 0, F32, 0},
                                     {"blk.0.up.weight.lora_b", 2, 6, 0, F32, 32}},
                         .data = no_data,
                         .data_bytes = sizeof(no_data)};
}

static size_t tensor_count(const struct tiny *tiny)
{
    size_t count = 0;
    while (count < ARRAY_COUNT(tiny->tensors) && tiny->tensors[count].name)
        count++;
    return count;
}

static struct text adapter_file(const struct tiny *tiny)
{
    struct text file;
    uint32_t alpha;
    memcpy(&alpha, &tiny->alpha, sizeof(alpha));
    size_t keys = 1 + (tiny->type != NULL) + (tiny->kind != NULL) + (tiny->alpha_type != 0) +
                  (tiny->more_key != NULL);
    begin(&file, tensor_count(tiny), keys);
    put_pair(&file, "general.architecture", tiny->architecture);
    if (tiny->type)
        put_pair(&file, "general.type", tiny->type);
    if (tiny->kind)
        put_pair(&file, "adapter.type", tiny->kind);
    if (tiny->alpha_type) {
        put_key(&file, "adapter.lora.alpha", tiny->alpha_type);
        put(&file, alpha, 4);
    }
    if (tiny->more_key) {
        put_key(&file, tiny->more_key, U32);
        put(&file, 7, 4);
    }
    for (size_t i = 0; i < tensor_count(tiny); i++)
        put_tensor(&file, &tiny->tensors[i]);
    put_data(&file, tiny->data, tiny->data_bytes);
    return file;
}

static enum err check_file(struct slice bytes, const struct text *model, struct err_note *note)
{
    struct gguf_map map = {text_slice(model), model->len};
    struct lora lora = {0};
    enum err err = lora_check(bytes, &map, &lora, note);
    lora_fini(&lora);
    return err;
}

static void check_refused(const struct tiny *tiny, const char *why)
{
    struct text model = model_file(false), file = adapter_file(tiny);
    struct err_note note = {{0}};
    CHECK_ERR(check_file(text_slice(&file), &model, &note), ERR_PROTOCOL);
    if (!strstr(note.text, why))
        CHECK_STR(note.text, why);
    text_fini(&file);
    text_fini(&model);
}

/* --- what is refused --- */

TEST(what_is_no_lora_is_refused)
{
    struct tiny tiny = tiny_default();
    tiny.type = "model";
    check_refused(&tiny, "its general.type is model: a LoRA adapter has 'adapter'");
    tiny.type = NULL;
    check_refused(&tiny, "its general.type is missing: a LoRA adapter has 'adapter'");
    tiny = tiny_default();
    tiny.kind = "hypernetwork";
    check_refused(&tiny, "its adapter.type is hypernetwork");
    tiny = tiny_default();
    tiny.alpha_type = U32; /* libllama aborts on it */
    check_refused(&tiny, "its adapter.lora.alpha is not a number");
    tiny = tiny_default();
    tiny.more_key = "adapter.alora.invocation_tokens";
    check_refused(&tiny, "an activated LoRA");
    tiny = tiny_default();
    tiny.tensors[0].name = NULL;
    check_refused(&tiny, "it adapts nothing");
}

TEST(an_adapter_of_another_model_is_refused)
{
    struct tiny tiny = tiny_default();
    tiny.architecture = "gemma3";
    check_refused(&tiny, "it is for models of kind gemma3, and this one is llama");
    tiny = tiny_default();
    tiny.tensors[0].name = "blk.1.up.weight.lora_a";
    tiny.tensors[1].name = "blk.1.up.weight.lora_b";
    check_refused(&tiny, "the model has no tensor blk.1.up.weight");
    tiny = tiny_default();
    tiny.tensors[0].columns = 5;
    check_refused(&tiny, "of 5 x 6, and the model's is of 4 x 6: is it for another model?");
    tiny = tiny_default();
    tiny.tensors[1].rows = 7;
    check_refused(&tiny, "of 4 x 7, and the model's is of 4 x 6");
}

TEST(pairs_that_do_not_fit_together_are_refused)
{
    struct tiny tiny = tiny_default();
    tiny.tensors[1].columns = 3;
    check_refused(&tiny, "is 2 in one and 3 in the other");
    tiny = tiny_default();
    tiny.tensors[1].name = NULL;
    check_refused(&tiny, "blk.0.up.weight.lora_b is missing");
    tiny = tiny_default();
    tiny.tensors[0] = tiny.tensors[1];
    tiny.tensors[1].name = NULL;
    check_refused(&tiny, "blk.0.up.weight.lora_a is missing");
    tiny = tiny_default();
    tiny.tensors[2] = tiny.tensors[0];
    check_refused(&tiny, "it has its tensor blk.0.up.weight.lora_a twice");
    tiny = tiny_default();
    tiny.tensors[0].rows = tiny.tensors[1].columns = LORA_RANK_MAX + 1;
    tiny.data_bytes = (LORA_RANK_MAX + 1) * 6 * sizeof(float) + 64;
    char *data = mem_alloc(tiny.data_bytes);
    tiny.data = data;
    check_refused(&tiny, "at most 4096");
    mem_free(data);
}

TEST(tensors_that_cannot_be_applied_are_refused)
{
    struct tiny tiny = tiny_default();
    tiny.tensors[0].name = "blk.0.up.weight.bias";
    check_refused(&tiny, "is neither a .lora_a nor a .lora_b");
    tiny = tiny_default();
    tiny.tensors[0].planes = 2;
    check_refused(&tiny, "adapters of experts are not supported");
    tiny = tiny_default();
    tiny.tensors[0] = (struct tensor){"blk.0.up.weight.lora_a", 32, 2, 0, Q4_0, 0};
    check_refused(&tiny, "is of type 2: f32, f16, bf16 and q8_0 can be read");
    static const char *const impossible[][3] = {
        {"token_embd.weight.lora_a", "token_embd.weight.lora_b", "it adapts token_embd.weight"},
        {"blk.0.norm.weight.lora_a", "blk.0.norm.weight.lora_b", "has 1 dimensions"},
        {"blk.0.experts.weight.lora_a", "blk.0.experts.weight.lora_b", "has 3 dimensions"},
        {"blk.0.fp4.weight.lora_a", "blk.0.fp4.weight.lora_b", "type 40"}};
    for (size_t i = 0; i < ARRAY_COUNT(impossible); i++) {
        tiny = tiny_default();
        tiny.tensors[0].name = impossible[i][0];
        tiny.tensors[1].name = impossible[i][1];
        check_refused(&tiny, impossible[i][2]);
    }
}

/* One number at `at` of A and B's bytes, in the type of either. */
static void check_number_refused(const struct tiny *like, size_t at, const void *number,
                                 size_t bytes, const char *why)
{
    char data[256] = {0};
    struct tiny tiny = *like;
    memcpy(data + at, number, bytes);
    tiny.data = data;
    tiny.data_bytes = sizeof(data);
    check_refused(&tiny, why);
}

/* Each is in the file, and both are not. */
TEST(tensors_that_overlap_are_refused)
{
    struct tiny tiny = tiny_default();
    tiny.data_bytes = sizeof(a_numbers) + sizeof(b_numbers) - 4;
    tiny.tensors[1].offset = 0;
    check_refused(&tiny, "its tensors overlap: they have 80 bytes in 76");
}

TEST(numbers_that_are_not_finite_are_refused)
{
    static const float no_number = NAN, endless = -INFINITY, largest = 3e38f;
    static const uint16_t half_endless = 0x7c00, half_no_number = 0x7e00;
    static const char a[] = "its tensor blk.0.up.weight.lora_a has numbers that are not finite";
    static const char b[] = "its tensor blk.0.up.weight.lora_b has numbers that are not finite";
    struct tiny tiny = tiny_default();
    check_number_refused(&tiny, 0, &no_number, sizeof(no_number), a);
    check_number_refused(&tiny, 28, &endless, sizeof(endless), a);
    check_number_refused(&tiny, 32 + 44, &no_number, sizeof(no_number), b);
    check_number_refused(&tiny, 32, &largest, sizeof(largest), "finite (with alpha / rank)");
    tiny.tensors[0].type = tiny.tensors[1].type = F16;
    check_number_refused(&tiny, 14, &half_endless, sizeof(half_endless), a);
    check_number_refused(&tiny, 32 + 22, &half_no_number, sizeof(half_no_number), b);
    tiny.tensors[0] = (struct tensor){"blk.0.wide.weight.lora_a", 4, 1, 0, F32, 0};
    tiny.tensors[1] = (struct tensor){"blk.0.wide.weight.lora_b", 1, 32, 0, F32, 32};
    check_number_refused(&tiny, 32 + 31 * 4, &endless, sizeof(endless), "blk.0.wide.weight.lora_b");
}

TEST(a_model_in_several_files_is_refused)
{
    struct tiny tiny = tiny_default();
    struct text model = model_file(true), file = adapter_file(&tiny);
    struct err_note note = {{0}};
    CHECK_ERR(check_file(text_slice(&file), &model, &note), ERR_PROTOCOL);
    CHECK(strstr(note.text, "the model is in several files"));
    text_fini(&file);
    text_fini(&model);
}

/* In memory of just its size, so that the sanitizer sees a step too far. */
TEST(an_adapter_that_is_cut_is_refused_at_any_length)
{
    struct tiny tiny = tiny_default();
    tiny.data_bytes = 32 + sizeof(b_numbers);
    struct text model = model_file(false), file = adapter_file(&tiny);
    struct err_note note = {{0}};
    CHECK_OK(check_file(text_slice(&file), &model, &note));
    for (size_t cut = 0; cut < file.len; cut++) {
        char *exact = malloc(cut ? cut : 1);
        CHECK(exact);
        memcpy(exact, file.data, cut);
        CHECK_ERR(check_file(slice_of(exact, cut), &model, &note), ERR_PROTOCOL);
        CHECK(note.text[0]);
        free(exact);
    }
    text_fini(&file);
    text_fini(&model);
}

/* --- what is written --- */

struct found {
    struct gguf_tensor tensors[4];
    size_t count;
};

static enum err take(void *ctx, const struct gguf_tensor *tensor)
{
    struct found *found = ctx;
    CHECK(found->count < ARRAY_COUNT(found->tensors));
    found->tensors[found->count++] = *tensor;
    return ERR_OK;
}

/* Of the adapter as libllama gets it, the numbers of one tensor. */
struct written {
    char bytes[1 << 15];
    struct slice slice;
    struct found found;
    struct gguf_summary summary;
    uint64_t sum; /* as lora_check() said */
};

static void write_it(const struct tiny *tiny, struct written *written)
{
    struct text model = model_file(false), file = adapter_file(tiny);
    struct gguf_map map = {text_slice(&model), model.len};
    struct err_note note = {{0}};
    struct lora lora;
    CHECK_OK(lora_check(text_slice(&file), &map, &lora, &note));
    *written = (struct written){.sum = lora.written_bytes};
    FILE *out = fmemopen(written->bytes, sizeof(written->bytes), "wb");
    CHECK(out);
    CHECK_OK(lora_write(&lora, out));
    long end = ftell(out);
    CHECK(end > 0);
    fclose(out);
    written->slice = slice_of(written->bytes, (size_t)end);
    CHECK_OK(gguf_check(written->slice, written->slice.len, &written->summary, &note));
    CHECK_OK(gguf_each_tensor(written->slice, written->slice.len, take, &written->found));
    CHECK_EQ(written->found.count, 2);
    lora_fini(&lora);
    text_fini(&file);
    text_fini(&model);
}

static float number(const struct written *written, size_t tensor, size_t row, size_t column)
{
    const struct gguf_tensor *found = &written->found.tensors[tensor];
    size_t at = row * (size_t)found->dimensions[0] + column;
    float value;
    CHECK_EQ(found->type, F32);
    CHECK(column < found->dimensions[0] && row < found->dimensions[1]);
    memcpy(&value,
           written->slice.data + written->summary.data_offset + found->offset + at * sizeof(value),
           sizeof(value));
    return value;
}

static void check_shape(const struct written *written, size_t tensor, uint64_t columns,
                        uint64_t rows)
{
    CHECK_EQ(written->found.tensors[tensor].dimensions[0], columns);
    CHECK_EQ(written->found.tensors[tensor].dimensions[1], rows);
}

/* Alpha is 4 and the rank 2: B is twice what it was; the third row and column are zeros. */
TEST(an_even_rank_becomes_odd_and_alpha_goes_into_b)
{
    char data[32 + sizeof(b_numbers)];
    struct tiny tiny = tiny_default();
    static struct written written;
    memcpy(data, a_numbers, sizeof(a_numbers));
    memcpy(data + 32, b_numbers, sizeof(b_numbers));
    tiny.data = data;
    tiny.data_bytes = sizeof(data);
    write_it(&tiny, &written);
    check_shape(&written, 0, 4, 3);
    check_shape(&written, 1, 3, 6);
    for (size_t i = 0; i < 4; i++) {
        CHECK(number(&written, 0, 0, i) == a_numbers[0][i]);
        CHECK(number(&written, 0, 1, i) == a_numbers[1][i]);
        CHECK(number(&written, 0, 2, i) == 0);
    }
    for (size_t i = 0; i < 6; i++) {
        CHECK(number(&written, 1, i, 0) == 2 * b_numbers[i][0]);
        CHECK(number(&written, 1, i, 1) == 2 * b_numbers[i][1]);
        CHECK(number(&written, 1, i, 2) == 0);
    }
    CHECK_EQ(written.sum, (4 * 3 + 3 * 6) * sizeof(float));
    struct slice value;
    CHECK_ERR(gguf_find(written.slice, SLICE("adapter.lora.alpha"), &value), ERR_NOT_FOUND);
    CHECK_OK(gguf_find_string(written.slice, SLICE("general.type"), &value));
    CHECK_SLICE(value, "adapter");
}

TEST(an_odd_rank_stays_and_without_alpha_b_does)
{
    struct tiny tiny = tiny_default();
    static struct written written;
    float data[64];
    for (size_t i = 0; i < ARRAY_COUNT(data); i++)
        data[i] = (float)i;
    tiny.alpha_type = 0;
    tiny.tensors[0].rows = tiny.tensors[1].columns = 1;
    tiny.data = data;
    tiny.data_bytes = sizeof(data);
    write_it(&tiny, &written);
    check_shape(&written, 0, 4, 1);
    check_shape(&written, 1, 1, 6);
    CHECK(number(&written, 0, 0, 3) == 3);
    CHECK(number(&written, 1, 5, 0) == 8 + 5);
}

/* 1, -2, the largest, the smallest, and a subnormal one. */
TEST(halves_and_bfloats_are_read)
{
    static const uint16_t halves[] = {0x3c00, 0xc000, 0x7bff, 0x0400,
                                      0x0001, 0x8001, 0x0000, 0xfbff};
    static const uint16_t bfloats[] = {0x3f80, 0xc000, 0x0000, 0x4049,
                                       0x3f80, 0xc000, 0x0000, 0x4049};
    uint16_t data[64] = {0};
    struct tiny tiny = tiny_default();
    static struct written written;
    tiny.alpha_type = 0;
    tiny.data = data;
    tiny.data_bytes = sizeof(data);
    tiny.tensors[0].type = F16;
    tiny.tensors[1] = (struct tensor){"blk.0.up.weight.lora_b", 2, 6, 0, BF16, 32};
    memcpy(data, halves, sizeof(halves));
    memcpy(data + 16, bfloats, sizeof(bfloats));
    write_it(&tiny, &written);
    static const float expected[] = {1, -2, 65504, 0x1p-14f, 0x1p-24f, -0x1p-24f, 0, -65504};
    for (size_t i = 0; i < ARRAY_COUNT(expected); i++)
        CHECK(number(&written, 0, i / 4, i % 4) == expected[i]);
    CHECK(number(&written, 1, 0, 0) == 1 && number(&written, 1, 0, 1) == -2);
    CHECK(number(&written, 1, 1, 1) == 3.140625f);
}

/* A block of 32 numbers, a half for all of them in front. */
TEST(packed_numbers_are_read)
{
    unsigned char data[2 * 128 + 32 * 34] = {0};
    struct tiny tiny = tiny_default();
    static struct written written;
    tiny.alpha_type = 0;
    tiny.data = data;
    tiny.data_bytes = sizeof(data);
    tiny.tensors[0] = (struct tensor){"blk.0.wide.weight.lora_a", 4, 32, 0, F16, 0};
    tiny.tensors[1] = (struct tensor){"blk.0.wide.weight.lora_b", 32, 32, 0, Q8_0, 256};
    unsigned char *row = data + 256 + 34; /* the second: in halves, so 0.5 each */
    row[0] = 0x00, row[1] = 0x38;
    for (int i = 0; i < 32; i++)
        row[2 + i] = (unsigned char)(i - 16);
    write_it(&tiny, &written);
    check_shape(&written, 1, 33, 32);
    for (size_t i = 0; i < 32; i++) {
        CHECK(number(&written, 1, 0, i) == 0);
        CHECK(number(&written, 1, 1, i) == 0.5f * ((float)i - 16));
    }
    CHECK(number(&written, 1, 1, 32) == 0);
}
