/* reload - the configuration, read again. */
#include "role/reload.h"

#include "base/log.h"
#include "config/snapshot.h"
#include "role/listen_address.h"

#include <unistd.h>

/* As it would be after a restart, and as it is until then: the address of the start stays, so the
 * new keys are the ones that protect it. */
MUST_USE static enum err check_address(const struct config *at_start, const struct config *config,
                                       struct err_note *out_note)
{
    struct net_address address;
    struct config until_restart = *config;
    until_restart.http_host = at_start->http_host;
    until_restart.http_port = at_start->http_port;
    TRY(listen_address(config, &address, out_note));
    return listen_address(&until_restart, &address, out_note);
}

MUST_USE static enum err read_again(const struct config *at_start, int snapshot_fd,
                                    struct config **out_config, struct err_note *out_note)
{
    struct config *config;
    TRY(snapshot_fd >= 0 ? config_snapshot_read(snapshot_fd, &config, out_note)
                         : config_reload(at_start, environ, &config, out_note));
    enum err err = check_address(at_start, config, out_note);
    if (err != ERR_OK) {
        config_free(config);
        return err;
    }
    *out_config = config;
    return ERR_OK;
}

/* Names only: a value may be a secret. */
static void tell_change(void *ctx, const char *key, bool is_live)
{
    ++*(unsigned *)ctx;
    if (is_live)
        log_event(LOG_INFO, "reload_applied", "key=%s", key);
    else
        log_event(LOG_WARN, "reload_needs_restart", "key=%s", key);
}

struct config *reload_config(const struct config *at_start, int snapshot_fd)
{
    struct config *config;
    struct err_note note;
    enum log_level level;
    unsigned changes = 0;
    if (read_again(at_start, snapshot_fd, &config, &note) != ERR_OK) {
        log_event(LOG_ERROR, "reload_refused", "note=%s", log_quote(slice_str(note.text), 512));
        return NULL;
    }
    if (log_level_parse(slice_str(config->log_level), &level) == ERR_OK)
        log_set_level(level);
    config_changes(at_start, config, tell_change, &changes);
    log_event(LOG_INFO, "reloaded", "differs_from_start=%u", changes);
    return config;
}
