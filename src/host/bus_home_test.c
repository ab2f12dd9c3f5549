/* bus_home_test - where the switch lives, and what is left of it. */
#include "host/bus_home.h"
#include "base/slice.h"
#include "bus/bus_unix.h"
#include "testing/test.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

static char root[] = "/tmp/millrace-home-XXXXXX";

static void make_root(void)
{
    static bool made;
    if (!made)
        CHECK(mkdtemp(root) != NULL);
    made = true;
}

static struct bus_home_options new_options(void)
{
    make_root();
    return (struct bus_home_options){.wanted_dir = "",
                                     .runtime_dir = root,
                                     .state_dir = "/tmp",
                                     .peer_bytes_max = 1 << 20,
                                     .dead_ms = 1000};
}

static bool is_there(const char *path)
{
    return access(path, F_OK) == 0;
}

static void check_joins(const char *dir)
{
    struct bus_unix *bus_unix = NULL;
    struct bus *bus = NULL;
    struct loop *loop = loop_new();
    CHECK_OK(bus_unix_new(dir, &bus_unix));
    CHECK_OK(bus_unix_open(bus_unix, loop, 20000, &bus));
    bus_close(&bus);
    bus_unix_free(bus_unix);
    loop_free(loop);
}

TEST(its_folder_is_named_after_the_state_folder_and_goes_with_it)
{
    struct bus_home_options options = new_options();
    struct bus_home *home = NULL;
    struct err_note note;
    char dir[BUS_HOME_PATH_BYTES];
    for (int i = 0; i < 2; i++) {
        CHECK_OK(bus_home_start(&options, &home, &note));
        if (i == 0)
            snprintf(dir, sizeof(dir), "%s", bus_home_dir(home));
        CHECK_STR(bus_home_dir(home), dir); /* the same at every start */
        struct stat info;
        CHECK(stat(dir, &info) == 0 && (info.st_mode & 07777) == 0700);
        check_joins(dir);
        bus_home_stop(home);
        CHECK(!is_there(dir));
    }
}

TEST(a_path_too_long_for_a_socket_moves_it_below_tmp)
{
    struct bus_home_options options = new_options();
    struct bus_home *home = NULL;
    struct err_note note;
    char deep[200];
    snprintf(deep, sizeof(deep), "%s/%0*d", root, 100, 0);
    options.runtime_dir = deep;
    CHECK_OK(bus_home_start(&options, &home, &note));
    CHECK(slice_starts_with(slice_str(bus_home_dir(home)), SLICE("/tmp/millrace-bus-")));
    check_joins(bus_home_dir(home));
    char dir[BUS_HOME_PATH_BYTES];
    snprintf(dir, sizeof(dir), "%s", bus_home_dir(home));
    bus_home_stop(home);
    CHECK(!is_there(dir));
}

TEST(a_wanted_folder_is_used_and_stays)
{
    struct bus_home_options options = new_options();
    struct bus_home *home = NULL;
    struct err_note note;
    char dir[64];
    snprintf(dir, sizeof(dir), "%s/wanted", root);
    options.wanted_dir = dir;
    CHECK_OK(bus_home_start(&options, &home, &note));
    check_joins(dir);
    bus_home_stop(home);
    CHECK(is_there(dir));
    CHECK(rmdir(dir) == 0); /* empty: the socket is gone */
}

TEST(folders_that_cannot_be_are_refused_by_name)
{
    struct bus_home_options options = new_options();
    struct bus_home *home = NULL;
    struct err_note note;
    char dir[64];
    options.wanted_dir = "/nowhere/at/all";
    CHECK_ERR(bus_home_start(&options, &home, &note), ERR_SYSTEM);
    CHECK(strstr(note.text, "/nowhere/at/all"));
    snprintf(dir, sizeof(dir), "%s/open", root);
    CHECK(mkdir(dir, 0755) == 0 && chmod(dir, 0755) == 0);
    options.wanted_dir = dir;
    CHECK_ERR(bus_home_start(&options, &home, &note), ERR_REFUSED);
    CHECK(strstr(note.text, "0755"));
    CHECK(rmdir(dir) == 0);
    CHECK(home == NULL);
}

TEST(a_sweep_removes_a_socket_and_an_empty_folder_and_nothing_else)
{
    struct bus_home_options options = new_options();
    struct bus_home *home = NULL;
    struct err_note note;
    char dir[64], file[80];
    snprintf(dir, sizeof(dir), "%s/swept", root);
    snprintf(file, sizeof(file), "%s/bus", dir);
    options.wanted_dir = dir;
    CHECK_OK(bus_home_start(&options, &home, &note));
    CHECK(is_there(file));
    bus_home_sweep(dir); /* as after a kill */
    CHECK(!is_there(dir));
    bus_home_stop(home);
    CHECK(mkdir(dir, 0700) == 0);
    int fd = open(file, O_CREAT | O_WRONLY, 0600); /* a file of that name is somebody's */
    CHECK(fd >= 0);
    close(fd);
    bus_home_sweep(dir);
    CHECK(is_there(file));
    bus_home_sweep("/nowhere/at/all");
    CHECK(unlink(file) == 0 && rmdir(dir) == 0);
    CHECK(rmdir(root) == 0);
}
