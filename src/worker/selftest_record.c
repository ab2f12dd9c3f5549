/* selftest_record - to and from JSON, and its file. */
#include "worker/selftest_record.h"

#include "base/hex.h"
#include "base/sha256.h"
#include "wire/fields.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/file.h>
#include <unistd.h>

enum { VERSION = 1, PATH_ROOM = 4096 + 128, NAMES_MAX_BYTES = 256, STEP_NUMBERS = 4 };

/* --- JSON --- */

static struct slice format_key(struct slice key, char out_text[SHA256_HEX_BYTES + 1])
{
    uint8_t digest[SHA256_BYTES];
    sha256_of(key, digest);
    return sha256_format(digest, out_text);
}

static void add_step(struct json_out *json, const struct selftest_step *step)
{
    json_out_begin_array(json);
    json_out_u64(json, step->shape.decode_rows);
    json_out_u64(json, step->shape.prompt_rows);
    json_out_u64(json, step->shape.pairs);
    json_out_u64(json, step->spent_us);
    json_out_end_array(json);
}

void selftest_record_encode(const struct selftest_record *record, struct slice key,
                            struct text *out)
{
    char digits[SHA256_HEX_BYTES + 1];
    struct json_out json = json_out_to(out);
    json_out_begin_object(&json);
    json_out_add_u64(&json, "version", VERSION);
    json_out_add_string(&json, "key", format_key(key, digits));
    json_out_add_string(&json, "determinism",
                        slice_str(node_determinism_name(record->result.determinism)));
    json_out_add_string(&json, "fingerprint", slice_str(record->result.fingerprint));
    json_out_add_u64(&json, "width_max", record->result.width_max);
    json_out_add_u64(&json, "draft_rows_exact_max", record->result.draft_rows_exact_max);
    json_out_add_u64(&json, "spent_us", record->result.spent_us);
    json_out_key(&json, "steps");
    json_out_begin_array(&json);
    for (uint32_t i = 0; i < record->step_count; i++)
        add_step(&json, &record->steps[i]);
    json_out_end_array(&json);
    json_out_end_object(&json);
    text_add_byte(out, '\n');
}

/* The digits; "" where the test did not come so far. */
static void read_fingerprint(struct fields *fields, struct selftest_result *result)
{
    struct slice digits = fields_string(fields, "fingerprint", NODE_FINGERPRINT_BYTES);
    bool is_right = digits.len == NODE_FINGERPRINT_BYTES ||
                    (digits.len == 0 && result->determinism == NODE_DETERMINISM_UNKNOWN);
    for (size_t i = 0; i < digits.len && is_right; i++)
        is_right = hex_value(digits.data[i]) >= 0;
    if (!is_right)
        fields_fail(fields, ERR_PROTOCOL, "fingerprint", "32 hex digits are required");
    else if (digits.len > 0)
        memcpy(result->fingerprint, digits.data, digits.len);
}

static uint64_t step_number(struct fields *fields, const json_t *step, size_t index, uint64_t most)
{
    const json_t *value = json_array_get(step, index);
    json_int_t number = json_is_integer(value) ? json_integer_value(value) : -1;
    if (number >= 0 && (uint64_t)number <= most)
        return (uint64_t)number;
    fields_fail(fields, ERR_LIMIT, "steps", "a number of rows or us is out of range");
    return 0;
}

static struct selftest_step read_step(struct fields *fields, const json_t *item)
{
    struct selftest_step step = {0};
    if (json_array_size(item) != STEP_NUMBERS)
        fields_fail(fields, ERR_PROTOCOL, "steps", "four numbers each are required");
    step.shape.decode_rows = (uint32_t)step_number(fields, item, 0, STEP_COST_WIDTHS);
    step.shape.prompt_rows = (uint32_t)step_number(fields, item, 1, 1 << 20);
    step.shape.pairs = step_number(fields, item, 2, UINT64_C(1) << 40);
    step.spent_us = step_number(fields, item, 3, SELFTEST_STEP_MAX_US);
    return step;
}

static void read_steps(struct fields *fields, struct selftest_record *record)
{
    const json_t *items = fields_optional_array(fields, "steps", CALIBRATION_STEPS);
    if (!items)
        fields_fail(fields, ERR_PROTOCOL, "steps", "an array is required");
    for (size_t i = 0; i < json_array_size(items) && fields->err == ERR_OK; i++)
        record->steps[record->step_count++] = read_step(fields, json_array_get(items, i));
}

static void read_result(struct fields *fields, struct selftest_result *result)
{
    static const char *const names[NODE_DETERMINISM_COUNT] = {[NODE_DETERMINISM_UNKNOWN] =
                                                                  "unknown",
                                                              [NODE_EXACT] = "exact",
                                                              [NODE_COMPATIBLE] = "compatible"};
    result->determinism =
        (enum node_determinism)fields_choice(fields, "determinism", names, NODE_DETERMINISM_COUNT);
    result->width_max = (uint32_t)fields_i64(fields, "width_max", 0, SELFTEST_SLOTS_MAX);
    result->draft_rows_exact_max =
        (uint32_t)fields_i64(fields, "draft_rows_exact_max", 1, SELFTEST_DRAFT_ROWS_MAX);
    read_fingerprint(fields, result);
}

/* Neither of another version nor of another key is anything else looked at. */
static void read_record(struct fields *fields, struct slice key, struct selftest_record *record)
{
    char digits[SHA256_HEX_BYTES + 1];
    if (fields_i64(fields, "version", 0, UINT32_MAX) != VERSION)
        fields_fail(fields, ERR_NOT_FOUND, "version", "of another millrace");
    struct slice of = fields_string(fields, "key", SHA256_HEX_BYTES);
    if (!slice_eq(of, format_key(key, digits)))
        fields_fail(fields, ERR_NOT_FOUND, "key", "of another model, engine, processor or setting");
    read_result(fields, &record->result);
    record->result.spent_us = fields_u64(fields, "spent_us");
    read_steps(fields, record);
}

enum err selftest_record_decode(struct slice bytes, struct slice key,
                                struct selftest_record *out_record, struct err_note *out_note)
{
    json_t *root = NULL;
    TRY(fields_parse(bytes, &root, out_note));
    struct selftest_record record = {0};
    struct fields fields = {.object = root, .arena = arena_new(NAMES_MAX_BYTES), .note = out_note};
    read_record(&fields, key, &record);
    arena_free(fields.arena);
    json_decref(root);
    TRY(fields.err);
    *out_record = record;
    return ERR_OK;
}

/* --- the file --- */

static enum err failed(struct err_note *out_note, const char *what, const char *path)
{
    return err_note_fail(out_note, ERR_SYSTEM, "%s %s: %s", what, path, strerror(errno));
}

/* ERR_LIMIT: longer than any of ours. */
static enum err read_file(int fd, char *out_bytes, size_t *out_len)
{
    size_t len = 0;
    ssize_t got;
    while ((got = read(fd, out_bytes + len, SELFTEST_RECORD_MAX_BYTES + 1 - len)) > 0)
        len += (size_t)got;
    if (got < 0)
        return ERR_SYSTEM;
    *out_len = len;
    return len > SELFTEST_RECORD_MAX_BYTES ? ERR_LIMIT : ERR_OK;
}

enum err selftest_record_read(const char *path, struct slice key,
                              struct selftest_record *out_record, struct err_note *out_note)
{
    char bytes[SELFTEST_RECORD_MAX_BYTES + 1];
    size_t len = 0;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    if (fd < 0 && errno == ENOENT)
        return err_note_fail(out_note, ERR_NOT_FOUND, "there is no %s", path);
    if (fd < 0)
        return failed(out_note, "cannot open", path);
    enum err err = read_file(fd, bytes, &len);
    if (err == ERR_SYSTEM)
        err = failed(out_note, "cannot read", path);
    else if (err == ERR_LIMIT)
        err = err_note_fail(out_note, err, "%s is longer than %d bytes", path,
                            SELFTEST_RECORD_MAX_BYTES);
    (void)close(fd); /* it was read */
    TRY(err);
    return selftest_record_decode(slice_of(bytes, len), key, out_record, out_note);
}

static bool write_all(int fd, struct slice bytes)
{
    errno = ENOSPC; /* what a short write means */
    bool is_written = write(fd, bytes.data, bytes.len) == (ssize_t)bytes.len;
    return (close(fd) == 0) && is_written;
}

/* Workers of one model may be done at the same time: one at a time has the lock of the folder,
 * which goes with its process. -1: errno says why. */
static int lock_folder(const char *path)
{
    char folder[PATH_ROOM];
    const char *end = strrchr(path, '/');
    snprintf(folder, sizeof(folder), "%.*s", end ? (int)(end - path) + 1 : 2, end ? path : "./");
    int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    while (fd >= 0 && flock(fd, LOCK_EX) != 0) {
        if (errno == EINTR)
            continue;
        int why = errno;
        (void)close(fd); /* nothing was written */
        errno = why;
        return -1;
    }
    return fd;
}

/* Always the same draft: what a crash left of one is written over, and does not stay beside it. */
static enum err write_draft(const char *path, const char *draft, struct slice bytes,
                            struct err_note *out_note)
{
    int fd = open(draft, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, 0600);
    if (fd < 0)
        return failed(out_note, "cannot write beside", path);
    if (write_all(fd, bytes) && rename(draft, path) == 0)
        return ERR_OK;
    enum err err = failed(out_note, "cannot write", path);
    (void)unlink(draft); /* nobody reads it */
    return err;
}

enum err selftest_record_write(const char *path, struct slice bytes, struct err_note *out_note)
{
    char draft[PATH_ROOM];
    int len = snprintf(draft, sizeof(draft), "%s.part", path);
    if (len < 0 || (size_t)len >= sizeof(draft))
        return err_note_fail(out_note, ERR_LIMIT, "%s is too long a path", path);
    int lock = lock_folder(path);
    if (lock < 0)
        return failed(out_note, "cannot write beside", path);
    enum err err = write_draft(path, draft, bytes, out_note);
    (void)close(lock); /* and it is unlocked */
    return err;
}
