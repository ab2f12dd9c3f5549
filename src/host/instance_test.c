/* instance_test - one per folder; the file is there whole or not at all. */
#include "host/instance.h"
#include "base/slice.h"
#include "testing/test.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static char folder[] = "/tmp/millrace-instance-XXXXXX";

static void make_folder(void)
{
    static bool made;
    if (!made)
        CHECK(mkdtemp(folder) != NULL);
    made = true;
}

static void in_folder(const char *name, char out_path[256])
{
    snprintf(out_path, 256, "%s/%s", folder, name);
}

static void write_file(const char *text)
{
    char path[256];
    in_folder("instance.json", path);
    FILE *file = fopen(path, "w");
    CHECK(file != NULL);
    fputs(text, file);
    fclose(file);
}

TEST(what_is_published_is_read_back_and_gone_after_release)
{
    struct instance *instance = NULL;
    struct instance_info info;
    struct err_note note;
    make_folder();
    CHECK_OK(instance_take(folder, &instance, &note));
    CHECK_ERR(instance_read(folder, &info, &note), ERR_NOT_FOUND);
    CHECK(strstr(note.text, "no millrace runs") && strstr(note.text, folder));
    CHECK_OK(instance_publish(instance, "/run/bus \"x\"", "127.0.0.1:8080", &note));
    CHECK_OK(instance_read(folder, &info, &note));
    CHECK_EQ(info.pid, getpid());
    CHECK_STR(info.bus_dir, "/run/bus \"x\"");
    CHECK_STR(info.address, "127.0.0.1:8080");
    CHECK_STR(info.version, MILLRACE_VERSION);
    instance_release(instance);
    CHECK_ERR(instance_read(folder, &info, &note), ERR_NOT_FOUND);
}

/* flock() is by open file: a second take of the same process meets it as another one would. */
TEST(a_second_one_is_refused_with_the_pid_of_the_first)
{
    struct instance *first = NULL, *second = NULL;
    struct err_note note;
    char pid[32];
    make_folder();
    CHECK_OK(instance_take(folder, &first, &note));
    CHECK_ERR(instance_take(folder, &second, &note), ERR_REFUSED);
    snprintf(pid, sizeof(pid), "process %d", (int)getpid());
    CHECK(strstr(note.text, pid) && strstr(note.text, folder));
    CHECK(second == NULL);
    struct instance_info info;
    CHECK_OK(instance_publish(first, "/b", "a", &note)); /* the refused one has removed nothing */
    CHECK_OK(instance_read(folder, &info, &note));
    instance_release(first);
    CHECK_OK(instance_take(folder, &second, &note));
    instance_release(second);
}

TEST(who_was_killed_does_not_keep_the_folder)
{
    struct instance *instance = NULL;
    struct err_note note;
    make_folder();
    pid_t pid = fork();
    if (pid == 0) {
        if (instance_take(folder, &instance, &note) == ERR_OK &&
            instance_publish(instance, "/b", "a", &note) == ERR_OK)
            raise(SIGKILL);
        _exit(1);
    }
    int status;
    CHECK(waitpid(pid, &status, 0) == pid && WIFSIGNALED(status));
    struct instance_info info;
    CHECK_OK(instance_read(folder, &info, &note)); /* stale, and whole */
    CHECK_EQ(info.pid, pid);
    CHECK_OK(instance_take(folder, &instance, &note));
    instance_release(instance);
}

TEST(a_folder_that_takes_nothing_is_named_at_once)
{
    struct instance *instance = NULL;
    struct err_note note;
    struct rlimit full = {0}, before;
    make_folder();
    CHECK_ERR(instance_take("/nowhere/at/all", &instance, &note), ERR_SYSTEM);
    CHECK(strstr(note.text, "/nowhere/at/all/lock"));
    CHECK(getrlimit(RLIMIT_FSIZE, &before) == 0);
    signal(SIGXFSZ, SIG_IGN);
    for (rlim_t bytes = 0; bytes < 4096; bytes += 1024) { /* the lock's pid, then the draft */
        full = (struct rlimit){.rlim_cur = bytes, .rlim_max = before.rlim_max};
        CHECK(setrlimit(RLIMIT_FSIZE, &full) == 0);
        enum err err = instance_take(folder, &instance, &note);
        CHECK(setrlimit(RLIMIT_FSIZE, &before) == 0);
        CHECK_EQ(err, ERR_SYSTEM);
        CHECK(strstr(note.text, "state folder: cannot write"));
    }
    CHECK(instance == NULL);
}

TEST(a_file_that_is_not_ours_is_refused)
{
    static const char *const wrong[] = {
        "",
        "{",
        "[]",
        "{}",
        "{\"pid\":1}",
        "{\"pid\":0,\"bus\":\"/b\",\"address\":\"\",\"version\":\"\"}",
        "{\"pid\":99999999999,\"bus\":\"/b\",\"address\":\"\",\"version\":\"\"}",
        "{\"pid\":1,\"bus\":\"relative\",\"address\":\"\",\"version\":\"\"}",
    };
    struct instance_info info;
    struct err_note note;
    char path[256], text[1024];
    make_folder();
    for (size_t i = 0; i < ARRAY_COUNT(wrong); i++) {
        write_file(wrong[i]);
        CHECK_ERR(instance_read(folder, &info, &note), ERR_PROTOCOL);
        CHECK(strstr(note.text, "instance.json"));
    }
    snprintf(text, sizeof(text), "{\"pid\":1,\"bus\":\"/%0*d\",\"address\":\"\",\"version\":\"\"}",
             300, 0);
    write_file(text);
    CHECK_ERR(instance_read(folder, &info, &note), ERR_PROTOCOL);
    in_folder("instance.json", path);
    unlink(path);
    in_folder("lock", path);
    unlink(path);
    rmdir(folder);
}
