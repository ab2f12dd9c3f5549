/* settings - the configuration as the roles get it. See settings.h. */
#include "host/settings.h"

#include "base/mem.h"
#include "config/keys.h"
#include "config/snapshot.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { VALUE_MAX_BYTES = 16 * 1024 * 1024 };

struct settings {
    struct config start; /* a copy of the fields: the strings are config's */
    char bus_url[300];
    int fd;
};

static enum err write_fd(const struct settings *settings, const struct config *config,
                         struct err_note *out_note)
{
    if (config_snapshot_write(config, settings->fd) == ERR_OK)
        return ERR_OK;
    return err_note_fail(out_note, ERR_SYSTEM, "cannot hand the configuration to the roles: %s",
                         strerror(errno));
}

enum err settings_new(const struct config *config, const char *bus_dir, uint16_t port,
                      struct settings **out_settings, struct err_note *out_note)
{
    struct settings *settings = mem_alloc(sizeof(*settings));
    settings->start = *config;
    settings->start.http_port = port;
    snprintf(settings->bus_url, sizeof(settings->bus_url), "ipc://%s", bus_dir);
    settings->start.bus_url = settings->bus_url;
    settings->fd = memfd_create("millrace-config", MFD_CLOEXEC);
    enum err err = settings->fd < 0
                       ? err_note_fail(out_note, ERR_SYSTEM, "no memory file: %s", strerror(errno))
                       : write_fd(settings, &settings->start, out_note);
    if (err != ERR_OK) {
        settings_free(settings);
        return err;
    }
    *out_settings = settings;
    return ERR_OK;
}

int settings_fd(const struct settings *settings)
{
    return settings->fd;
}

/* Key by key, as text: what one config can write another can read. */
static enum err merge(const struct settings *settings, const struct config *wanted,
                      struct config *merged, struct err_note *out_note)
{
    struct text value;
    enum err err = ERR_OK;
    text_init(&value, VALUE_MAX_BYTES);
    for (size_t i = 0; i < config_key_count && err == ERR_OK; i++) {
        const struct config_key *key = &config_keys[i];
        text_clear(&value);
        config_key_write(key, key->is_live ? wanted : &settings->start, &value);
        err = config_key_read(key, text_slice(&value), merged, out_note);
    }
    text_fini(&value);
    return err;
}

enum err settings_change(struct settings *settings, const struct config *wanted,
                         struct err_note *out_note)
{
    struct config *merged = config_new();
    enum err err = merge(settings, wanted, merged, out_note);
    if (err == ERR_OK)
        err = write_fd(settings, merged, out_note);
    config_free(merged);
    return err;
}

void settings_free(struct settings *settings)
{
    if (!settings)
        return;
    if (settings->fd >= 0)
        (void)close(settings->fd);
    mem_free(settings);
}
