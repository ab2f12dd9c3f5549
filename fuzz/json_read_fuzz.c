/* json_read_fuzz - what json_read() accepts survives being written and read again, and is what
 * jansson reads in it; what it refuses is refused in clean words; running out of memory anywhere is
 * a refusal. */
#include "base/json.h"
#include "base/mem.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_refusal(enum err err, const json_t *value, const struct err_note *note)
{
    ASSERT(err == ERR_PROTOCOL || err == ERR_LIMIT);
    ASSERT(!value && note->text[0]);
    for (const char *c = note->text; *c; c++)
        ASSERT_MSG(*c >= 0x20 && *c < 0x7F, "%s", note->text);
}

static void check_survives_writing(const json_t *value)
{
    char *written = json_dumps(value, JSON_COMPACT | JSON_ENCODE_ANY);
    ASSERT(written);
    json_t *again = NULL;
    struct err_note note;
    ASSERT_MSG(json_read(slice_str(written), JSON_DEPTH_MAX, &again, &note) == ERR_OK, "%s: %s",
               note.text, written);
    ASSERT_MSG(json_equal(value, again), "%s", written);
    json_decref(again);
    mem_free(written);
}

/* What it reads otherwise than jansson, by promise (json.h): lone surrogates, depth; and jansson
 * swallows a NUL behind a number. `value` NULL: we refused. */
static void check_against_jansson(struct slice bytes, const json_t *value, enum err err)
{
    json_error_t error;
    json_t *theirs = json_loadb(bytes.len ? bytes.data : "", bytes.len,
                                JSON_REJECT_DUPLICATES | JSON_DECODE_ANY, &error);
    if (value && theirs)
        ASSERT(json_equal(value, theirs));
    if (value && !theirs) /* jansson 2.14 has no other word for a half of a surrogate pair */
        ASSERT(slice_find(bytes, SLICE("\\u")) != SLICE_NPOS);
    if (!value && theirs)
        ASSERT(err == ERR_LIMIT || slice_find_byte(bytes, '\0') != SLICE_NPOS);
    json_decref(theirs);
}

static void check_without_memory(struct slice bytes)
{
    json_t *value = NULL;
    struct err_note note = {""};
    mem_test_fail_nth(1 + bytes.len % 31);
    enum err err = json_read(bytes, JSON_DEPTH_MAX, &value, &note);
    mem_test_fail_nth(0);
    if (err == ERR_OK)
        json_decref(value);
    else
        check_refusal(err, value, &note);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct slice bytes = slice_of(data, size);
    json_t *value = NULL;
    struct err_note note = {""};
    enum err err = json_read(bytes, JSON_DEPTH_MAX, &value, &note);
    check_against_jansson(bytes, value, err);
    if (err != ERR_OK) {
        check_refusal(err, value, &note);
        return 0;
    }
    check_survives_writing(value);
    json_decref(value);
    check_without_memory(bytes);
    return 0;
}
