/* gguf_write - a GGUF file put together in memory. */
#include "nano/gguf_write.h"

#include "nano/file.h"

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "numbers are written as they lie");

enum {
    VALUE_U32 = 4,
    VALUE_I32 = 5,
    VALUE_F32 = 6,
    VALUE_BOOL = 7,
    VALUE_STRING = 8,
    VALUE_ARRAY = 9
};
enum { ALIGNMENT = 32, DATA_MAX = 256 << 20 };

void gguf_init(struct gguf *gguf)
{
    *gguf = (struct gguf){0};
    text_init(&gguf->keys, DATA_MAX);
    text_init(&gguf->tensors, DATA_MAX);
    text_init(&gguf->data, DATA_MAX);
}

void gguf_fini(struct gguf *gguf)
{
    text_fini(&gguf->keys);
    text_fini(&gguf->tensors);
    text_fini(&gguf->data);
}

static void put_u32(struct text *out, uint32_t value)
{
    text_add(out, slice_of(&value, sizeof(value)));
}

static void put_u64(struct text *out, uint64_t value)
{
    text_add(out, slice_of(&value, sizeof(value)));
}

static void put_string(struct text *out, struct slice value)
{
    put_u64(out, value.len);
    text_add(out, value);
}

static void begin_key(struct gguf *gguf, const char *key, uint32_t type)
{
    gguf->key_count++;
    put_string(&gguf->keys, slice_str(key));
    put_u32(&gguf->keys, type);
}

void gguf_add_u32(struct gguf *gguf, const char *key, uint32_t value)
{
    begin_key(gguf, key, VALUE_U32);
    put_u32(&gguf->keys, value);
}

void gguf_add_f32(struct gguf *gguf, const char *key, float value)
{
    begin_key(gguf, key, VALUE_F32);
    text_add(&gguf->keys, slice_of(&value, sizeof(value)));
}

void gguf_add_bool(struct gguf *gguf, const char *key, bool value)
{
    begin_key(gguf, key, VALUE_BOOL);
    text_add_byte(&gguf->keys, value);
}

void gguf_add_string(struct gguf *gguf, const char *key, struct slice value)
{
    begin_key(gguf, key, VALUE_STRING);
    put_string(&gguf->keys, value);
}

static void begin_array(struct gguf *gguf, const char *key, uint32_t type, uint64_t count)
{
    begin_key(gguf, key, VALUE_ARRAY);
    put_u32(&gguf->keys, type);
    put_u64(&gguf->keys, count);
}

void gguf_begin_strings(struct gguf *gguf, const char *key, uint64_t count)
{
    begin_array(gguf, key, VALUE_STRING, count);
}

void gguf_item_string(struct gguf *gguf, struct slice value)
{
    put_string(&gguf->keys, value);
}

void gguf_begin_i32s(struct gguf *gguf, const char *key, uint64_t count)
{
    begin_array(gguf, key, VALUE_I32, count);
}

void gguf_item_i32(struct gguf *gguf, int32_t value)
{
    put_u32(&gguf->keys, (uint32_t)value);
}

void gguf_add_items(struct gguf *gguf, struct slice items)
{
    text_add(&gguf->keys, items);
}

void gguf_add_value(struct gguf *gguf, const char *key, struct slice value)
{
    gguf->key_count++;
    put_string(&gguf->keys, slice_str(key));
    text_add(&gguf->keys, value);
}

/* What is missing of `bytes` to a whole number of alignments. */
static struct slice padding(size_t bytes)
{
    static const char zeros[ALIGNMENT];
    return slice_of(zeros, (ALIGNMENT - bytes % ALIGNMENT) % ALIGNMENT);
}

void gguf_add_tensor(struct gguf *gguf, const char *name, enum gguf_tensor_type type, uint64_t rows,
                     uint64_t columns, struct slice data)
{
    gguf->tensor_count++;
    put_string(&gguf->tensors, slice_str(name));
    put_u32(&gguf->tensors, rows == 1 ? 1 : 2);
    put_u64(&gguf->tensors, columns); /* the inner dimension comes first */
    if (rows > 1)
        put_u64(&gguf->tensors, rows);
    put_u32(&gguf->tensors, type);
    put_u64(&gguf->tensors, gguf->data.len);
    text_add(&gguf->data, data);
    text_add(&gguf->data, padding(gguf->data.len));
}

enum err gguf_save(const struct gguf *gguf, const char *path, struct err_note *out_note)
{
    if (gguf->keys.overflowed || gguf->tensors.overflowed || gguf->data.overflowed)
        return err_note_fail(out_note, ERR_LIMIT, "%s: more than %d MiB of a kind", path,
                             DATA_MAX >> 20);
    struct text head;
    text_init(&head, 64);
    text_add_str(&head, "GGUF");
    put_u32(&head, 3);
    put_u64(&head, gguf->tensor_count);
    put_u64(&head, gguf->key_count);
    const struct slice parts[] = {
        text_slice(&head),          text_slice(&gguf->keys),
        text_slice(&gguf->tensors), padding(head.len + gguf->keys.len + gguf->tensors.len),
        text_slice(&gguf->data),
    };
    enum err err = file_write(path, parts, ARRAY_COUNT(parts), out_note);
    text_fini(&head);
    return err;
}
