/* folders - where this user's millrace keeps what outlives a call. */
#include "role/folders.h"

#include <errno.h>
#include <limits.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* An environment variable that names a folder; one that is not absolute counts as not set (XDG). */
static const char *env_folder(const char *name)
{
    const char *value = getenv(name);
    return value && value[0] == '/' ? value : NULL;
}

/* `others` are the mode bits that nobody else may have. */
MUST_USE static enum err check_ours(const char *path, mode_t others, const char *how,
                                    struct err_note *out_note)
{
    struct stat info; /* lstat: /tmp is everyone's, a link there may be a trap */
    if (lstat(path, &info) != 0)
        return err_note_fail(out_note, ERR_SYSTEM, "%s: %s", path, strerror(errno));
    if (!S_ISDIR(info.st_mode) || info.st_uid != getuid() || (info.st_mode & others) != 0)
        return err_note_fail(out_note, ERR_REFUSED, "%s must be a folder of this user %s", path,
                             how);
    return ERR_OK;
}

enum err folder_runtime(char *out_path, size_t path_bytes, struct err_note *out_note)
{
    const char *base = env_folder("XDG_RUNTIME_DIR");
    int len = base ? snprintf(out_path, path_bytes, "%s/millrace", base)
                   : snprintf(out_path, path_bytes, "/tmp/millrace-%u", (unsigned)getuid());
    if (len < 0 || (size_t)len >= path_bytes)
        return err_note_fail(out_note, ERR_LIMIT, "XDG_RUNTIME_DIR is longer than %zu bytes",
                             path_bytes - 16);
    if (mkdir(out_path, 0700) != 0 && errno != EEXIST)
        return err_note_fail(out_note, ERR_SYSTEM,
                             "cannot make the folder %s: %s; XDG_RUNTIME_DIR must be a folder of "
                             "this user, or not set",
                             out_path, strerror(errno));
    return check_ours(out_path, 077, "with mode 0700", out_note);
}

/* $HOME may be missing under a service manager. */
static const char *home_folder(void)
{
    const char *home = env_folder("HOME");
    if (home)
        return home;
    const struct passwd *user = getpwuid(getuid()); /* main thread, before others run */
    return user && user->pw_dir && user->pw_dir[0] == '/' ? user->pw_dir : NULL;
}

MUST_USE static enum err state_path(const struct config *config, char *out_path, size_t path_bytes,
                                    struct err_note *out_note)
{
    char cwd[PATH_MAX] = "";
    const char *base = env_folder("XDG_STATE_HOME"), *home = home_folder();
    int len;
    if (config->state_dir[0] == '/')
        len = snprintf(out_path, path_bytes, "%s", config->state_dir);
    else if (config->state_dir[0] && !getcwd(cwd, sizeof(cwd)))
        return err_note_fail(out_note, ERR_SYSTEM, "state_dir %s: %s", config->state_dir,
                             strerror(errno));
    else if (config->state_dir[0])
        len = snprintf(out_path, path_bytes, "%s/%s", cwd, config->state_dir);
    else if (base)
        len = snprintf(out_path, path_bytes, "%s/millrace", base);
    else if (home)
        len = snprintf(out_path, path_bytes, "%s/.local/state/millrace", home);
    else
        return err_note_fail(out_note, ERR_REFUSED,
                             "there is no home folder for what is kept: set state_dir");
    if (len < 0 || (size_t)len >= path_bytes)
        return err_note_fail(out_note, ERR_LIMIT, "state_dir is longer than %zu bytes",
                             path_bytes - 1);
    return ERR_OK;
}

/* Every folder on the way, ours alone. `path` is absolute and gets back what is changed in it. */
MUST_USE static enum err make_folders(char *path, struct err_note *out_note)
{
    for (char *end = path + 1; end[-1];) {
        end += strcspn(end, "/");
        char kept = *end;
        *end = '\0';
        bool made = mkdir(path, 0700) == 0 || errno == EEXIST;
        if (!made)
            return err_note_fail(out_note, ERR_SYSTEM,
                                 "cannot make the folder %s: %s; state_dir names another", path,
                                 strerror(errno));
        *end++ = kept;
    }
    return ERR_OK;
}

enum err folder_state(const struct config *config, char *out_path, size_t path_bytes,
                      struct err_note *out_note)
{
    TRY(state_path(config, out_path, path_bytes, out_note));
    TRY(make_folders(out_path, out_note));
    TRY(check_ours(out_path, 022, "that nobody else may write to; state_dir names another",
                   out_note));
    if (access(out_path, W_OK | X_OK) != 0)
        return err_note_fail(out_note, ERR_SYSTEM,
                             "cannot write to the folder %s: %s; state_dir names another", out_path,
                             strerror(errno));
    return ERR_OK;
}
