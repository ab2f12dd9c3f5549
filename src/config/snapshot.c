/* snapshot - all values of the table, into a file and back. */
#include "config/snapshot.h"

#include "base/json.h"
#include "config/keys.h"

#include <errno.h>
#include <unistd.h>

/* Every key at its longest, escaped. */
enum { SNAPSHOT_MAX_BYTES = 16 * 1024 * 1024 };

static void encode(const struct config *config, struct text *out)
{
    struct json_out json = json_out_to(out);
    struct text value;
    text_init(&value, SNAPSHOT_MAX_BYTES);
    json_out_begin_object(&json);
    for (size_t i = 0; i < config_key_count; i++) {
        text_clear(&value);
        config_key_write(&config_keys[i], config, &value);
        ASSERT(text_status(&value) == ERR_OK);
        json_out_add_string(&json, config_keys[i].name, text_slice(&value));
    }
    json_out_end_object(&json);
    text_fini(&value);
}

MUST_USE static enum err write_all(int fd, struct slice bytes)
{
    for (size_t done = 0; done < bytes.len;) {
        ssize_t wrote = pwrite(fd, bytes.data + done, bytes.len - done, (off_t)done);
        if (wrote < 0 && errno == EINTR)
            continue;
        if (wrote <= 0)
            return ERR_SYSTEM;
        done += (size_t)wrote;
    }
    /* Last: a reader that comes in between finds bytes behind the end, and refuses them. */
    return ftruncate(fd, (off_t)bytes.len) == 0 ? ERR_OK : ERR_SYSTEM;
}

enum err config_snapshot_write(const struct config *config, int fd)
{
    struct text bytes;
    text_init(&bytes, SNAPSHOT_MAX_BYTES);
    encode(config, &bytes);
    ASSERT(text_status(&bytes) == ERR_OK);
    enum err err = write_all(fd, text_slice(&bytes));
    text_fini(&bytes);
    return err;
}

MUST_USE static enum err read_all(int fd, struct text *out_bytes, struct err_note *out_note)
{
    char block[16384];
    ssize_t got;
    for (off_t at = 0; (got = pread(fd, block, sizeof(block), at)) != 0; at += got > 0 ? got : 0) {
        if (got < 0 && errno != EINTR)
            return err_note_fail(out_note, ERR_SYSTEM, "the host's configuration: %s",
                                 strerror(errno));
        text_add(out_bytes, slice_of(block, got > 0 ? (size_t)got : 0));
        if (text_status(out_bytes) != ERR_OK)
            return err_note_fail(out_note, ERR_LIMIT,
                                 "the host's configuration is larger than %d bytes",
                                 SNAPSHOT_MAX_BYTES);
    }
    return ERR_OK;
}

MUST_USE static enum err decode(json_t *root, struct config *config, struct err_note *out_note)
{
    const char *name;
    json_t *value;
    json_object_foreach(root, name, value)
    {
        const struct config_key *key = config_key_find(slice_str(name));
        if (!key)
            return err_note_fail(out_note, ERR_REFUSED,
                                 "the host's configuration: unknown key '%.64s'", name);
        if (!json_is_string(value))
            return err_note_fail(out_note, ERR_REFUSED,
                                 "the host's configuration: %s must be a string", name);
        TRY(config_key_set(key, CONFIG_SNAPSHOT, json_slice(value), config, out_note));
    }
    for (size_t i = 0; i < config_key_count; i++)
        if (!json_object_get(root, config_keys[i].name))
            return err_note_fail(out_note, ERR_REFUSED, "the host's configuration: %s is missing",
                                 config_keys[i].name);
    return ERR_OK;
}

MUST_USE static enum err parse(struct slice bytes, struct config *config, struct err_note *out_note)
{
    json_t *root;
    struct err_note why;
    if (json_read(bytes, 2, &root, &why) != ERR_OK)
        return err_note_fail(out_note, ERR_REFUSED, "the host's configuration: %.400s", why.text);
    enum err err = json_is_object(root)
                       ? decode(root, config, out_note)
                       : err_note_fail(out_note, ERR_REFUSED,
                                       "the host's configuration must be a JSON object");
    json_decref(root);
    return err;
}

enum err config_snapshot_read(int fd, struct config **out_config, struct err_note *out_note)
{
    struct config *config = config_new();
    struct text bytes;
    text_init(&bytes, SNAPSHOT_MAX_BYTES);
    enum err err = read_all(fd, &bytes, out_note);
    if (err == ERR_OK)
        err = parse(text_slice(&bytes), config, out_note);
    text_fini(&bytes);
    if (err != ERR_OK) {
        config_free(config);
        return err;
    }
    *out_config = config;
    return ERR_OK;
}
