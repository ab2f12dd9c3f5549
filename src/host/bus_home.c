/* bus_home - the host's part of the bus. See bus_home.h. */
#include "host/bus_home.h"

#include "base/mem.h"
#include "base/slice.h"
#include "bus/bus_switch.h"
#include "loop/thread.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

struct bus_home {
    char dir[BUS_HOME_PATH_BYTES];
    bool made_dir;
    struct loop *loop; /* the switch's */
    struct bus_switch *bus_switch;
    struct thread *thread;
};

/* The same for every start on this state folder: what a killed one left is used again. */
static bool name_dir(const struct bus_home_options *options, char out_dir[BUS_HOME_PATH_BYTES])
{
    struct stat state;
    struct sockaddr_un address;
    if (options->wanted_dir[0]) {
        int len = snprintf(out_dir, BUS_HOME_PATH_BYTES, "%s", options->wanted_dir);
        return len > 0 && len < BUS_HOME_PATH_BYTES;
    }
    if (stat(options->state_dir, &state) != 0)
        return false;
    int len = snprintf(out_dir, BUS_HOME_PATH_BYTES, "%s/bus-%llx-%llx", options->runtime_dir,
                       (unsigned long long)state.st_dev, (unsigned long long)state.st_ino);
    return len > 0 && (size_t)len + sizeof("/bus") <= sizeof(address.sun_path);
}

static enum err make_dir(struct bus_home *home, const struct bus_home_options *options,
                         struct err_note *out_note)
{
    if (name_dir(options, home->dir)) {
        if (mkdir(home->dir, 0700) != 0 && errno != EEXIST)
            return err_note_fail(out_note, ERR_SYSTEM, "cannot make the bus folder %s: %s",
                                 home->dir, strerror(errno));
        home->made_dir = !options->wanted_dir[0];
        return ERR_OK; /* the switch looks at whose it is and at its mode */
    }
    snprintf(home->dir, sizeof(home->dir), "/tmp/millrace-bus-XXXXXX");
    if (options->wanted_dir[0] || !mkdtemp(home->dir))
        return err_note_fail(out_note, ERR_SYSTEM, "cannot make the bus folder %s: %s",
                             options->wanted_dir[0] ? options->wanted_dir : home->dir,
                             options->wanted_dir[0] ? "its name is too long" : strerror(errno));
    home->made_dir = true;
    return ERR_OK;
}

static void run(void *ctx)
{
    loop_run(((struct bus_home *)ctx)->loop);
}

enum err bus_home_start(const struct bus_home_options *options, struct bus_home **out_home,
                        struct err_note *out_note)
{
    struct bus_home *home = mem_alloc(sizeof(*home));
    home->loop = loop_new();
    enum err err = make_dir(home, options, out_note);
    if (err == ERR_OK) {
        struct bus_switch_config config = {.directory = home->dir,
                                           .peer_bytes_max = options->peer_bytes_max,
                                           .dead_ms = options->dead_ms};
        err = bus_switch_new(home->loop, &config, out_note, &home->bus_switch);
    }
    if (err == ERR_OK && thread_start("host-switch", run, home, &home->thread) != ERR_OK)
        err = err_note_fail(out_note, ERR_SYSTEM, "no thread for the switch: %s", strerror(errno));
    if (err != ERR_OK) {
        bus_home_stop(home);
        return err;
    }
    *out_home = home;
    return ERR_OK;
}

const char *bus_home_dir(const struct bus_home *home)
{
    return home->dir;
}

void bus_home_sweep(const char *dir)
{
    char socket[BUS_HOME_PATH_BYTES + 8];
    struct stat info;
    if (lstat(dir, &info) != 0 || !S_ISDIR(info.st_mode) || info.st_uid != geteuid())
        return;
    snprintf(socket, sizeof(socket), "%s/bus", dir);
    if (lstat(socket, &info) == 0 && S_ISSOCK(info.st_mode))
        (void)unlink(socket);
    (void)rmdir(dir); /* not empty: then it is somebody's */
}

void bus_home_stop(struct bus_home *home)
{
    if (!home)
        return;
    if (home->thread)
        loop_stop(home->loop);
    thread_join(&home->thread);
    bus_switch_free(&home->bus_switch);
    loop_free(home->loop);
    if (home->made_dir)
        bus_home_sweep(home->dir);
    mem_free(home);
}
