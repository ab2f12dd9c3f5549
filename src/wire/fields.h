/* fields - the members of one JSON payload, read by name and checked against their range.
 *
 * Errors are sticky, as in base/text.h: after the first member that is missing, of the wrong type
 * or out of range every read gives a neutral value, so that a decoder is a list of reads and one
 * check (fields->err). Members nobody reads are ignored: a newer peer may send more than we know.
 * Used by the decoders of this folder. Pure. */
#pragma once

#include "base/arena.h"
#include "base/json.h"

/* Integers on the wire stay within what every JSON reader holds exactly. */
#define FIELDS_INTEGER_MAX ((int64_t)1 << 53)
enum { FIELDS_DEPTH_MAX = 8 };

struct fields {
    const json_t *object;
    struct arena *arena;   /* strings are copied here, or, if it is NULL, */
    struct text *scratch;  /* here, where room for all of them is already reserved */
    struct err_note *note; /* may be NULL */
    enum err err;          /* ERR_OK, ERR_PROTOCOL or ERR_LIMIT */
};

/* Parses `payload`, which must be one object. The root is the caller's (json_decref); on failure
 * *out_root is untouched. ERR_PROTOCOL, ERR_LIMIT: as json_read. */
MUST_USE enum err fields_parse(struct slice payload, json_t **out_root, struct err_note *note);

/* The reading of one object that lies inside the one `parent` reads; same memory, same note. */
struct fields fields_inside(const struct fields *parent, const json_t *object);

/* Keeps the first failure and its sentence: "top_k: an integer is required". */
void fields_fail(struct fields *fields, enum err err, const char *key, const char *what);

bool fields_has(const struct fields *fields, const char *key);
/* Required unless the name says otherwise. */
int64_t fields_i64(struct fields *fields, const char *key, int64_t min, int64_t max);
uint32_t fields_u32(struct fields *fields, const char *key);
uint64_t fields_u64(struct fields *fields, const char *key);      /* up to FIELDS_INTEGER_MAX */
uint64_t fields_u64_text(struct fields *fields, const char *key); /* "123": all 64 bits */
float fields_float(struct fields *fields, const char *key, double min, double max);
/* As a float that is the same when it has been written and read again: -0 would come back as 0. */
static inline float fields_to_float(double number)
{
    return (float)number + 0.0f;
}
bool fields_bool(struct fields *fields, const char *key);
struct slice fields_string(struct fields *fields, const char *key, size_t max_bytes);
struct slice fields_optional_string(struct fields *fields, const char *key, size_t max_bytes);
/* The index of the member's text in `names`. */
int fields_choice(struct fields *fields, const char *key, const char *const *names, int count);
/* NULL if absent, or failed because it is not an array of at most max_items. */
const json_t *fields_optional_array(struct fields *fields, const char *key, size_t max_items);
/* NULL only after failing. */
const json_t *fields_object(struct fields *fields, const char *key);
/* A string item of an array named `key`; copied. */
struct slice fields_item_string(struct fields *fields, const char *key, const json_t *item,
                                size_t max_bytes);

/* Arena for `count` items of the array named `key`; NULL only after failing. */
void *fields_memory(struct fields *fields, const char *key, size_t count, size_t item_bytes);
/* An item of the array named `key` that is a token id; 0 after failing. */
int32_t fields_token(struct fields *fields, const char *key, const json_t *item);

/* For the encoders: a count that no reader would have to refuse. */
static inline uint64_t fields_clamp(uint64_t count)
{
    return count < (uint64_t)FIELDS_INTEGER_MAX ? count : (uint64_t)FIELDS_INTEGER_MAX;
}
static inline void fields_add_count(struct json_out *json, const char *key, uint64_t count)
{
    json_out_add_u64(json, key, fields_clamp(count));
}
