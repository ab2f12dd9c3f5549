/* folders_test - where they are, that they are ours alone, and each reason to refuse one. */
#include "role/folders.h"

#include "testing/test.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

static char scratch[64], path[FOLDER_MAX_BYTES];
static struct err_note note;

/* A folder of the test's own, in the environment as everything that is asked. */
static void begin(void)
{
    snprintf(scratch, sizeof(scratch), "/tmp/millrace-folders-XXXXXX");
    CHECK(mkdtemp(scratch) != NULL);
    setenv("XDG_RUNTIME_DIR", scratch, 1);
    setenv("XDG_STATE_HOME", scratch, 1);
    setenv("HOME", scratch, 1);
}

static const char *in_scratch(const char *name)
{
    static char full[4][160];
    static unsigned next;
    char *slot = full[next++ % 4];
    snprintf(slot, sizeof(full[0]), "%s/%s", scratch, name);
    return slot;
}

static void end(void)
{
    char command[128];
    snprintf(command, sizeof(command), "rm -rf %s", scratch);
    CHECK_EQ(system(command), 0);
}

static void check_mode(const char *folder, mode_t expected)
{
    struct stat info;
    CHECK_EQ(stat(folder, &info), 0);
    CHECK(S_ISDIR(info.st_mode));
    CHECK_EQ(info.st_mode & 0777, expected);
}

static enum err ask_state(const char *state_dir)
{
    return folder_state(&(struct config){.state_dir = state_dir}, path, sizeof(path), &note);
}

TEST(the_runtime_folder_is_made_for_us_alone_and_taken_again)
{
    begin();
    for (int time = 0; time < 2; time++) {
        CHECK_OK(folder_runtime(path, sizeof(path), &note));
        CHECK_STR(path, in_scratch("millrace"));
        check_mode(path, 0700);
    }
    end();
}

TEST(a_runtime_folder_that_others_may_enter_is_refused)
{
    begin();
    CHECK_EQ(mkdir(in_scratch("millrace"), 0700), 0);
    CHECK_EQ(chmod(in_scratch("millrace"), 0750), 0);
    CHECK_ERR(folder_runtime(path, sizeof(path), &note), ERR_REFUSED);
    CHECK(strstr(note.text, "must be a folder of this user with mode 0700") != NULL);
    end();
}

TEST(a_link_in_place_of_the_runtime_folder_is_refused)
{
    begin();
    CHECK_EQ(mkdir(in_scratch("elsewhere"), 0700), 0);
    CHECK_EQ(symlink(in_scratch("elsewhere"), in_scratch("millrace")), 0);
    CHECK_ERR(folder_runtime(path, sizeof(path), &note), ERR_REFUSED);
    end();
}

TEST(a_runtime_folder_that_cannot_be_made_says_why)
{
    begin();
    setenv("XDG_RUNTIME_DIR", in_scratch("nowhere"), 1);
    CHECK_ERR(folder_runtime(path, sizeof(path), &note), ERR_SYSTEM);
    CHECK(strstr(note.text, "No such file") != NULL);
    CHECK_ERR(folder_runtime(path, 8, &note), ERR_LIMIT);
    end();
}

TEST(the_state_folder_is_the_one_named_else_xdgs_else_below_home)
{
    begin();
    CHECK_OK(ask_state(in_scratch("a/b/c")));
    CHECK_STR(path, in_scratch("a/b/c"));
    check_mode(path, 0700);
    check_mode(in_scratch("a/b"), 0700);
    CHECK_OK(ask_state(""));
    CHECK_STR(path, in_scratch("millrace"));
    setenv("XDG_STATE_HOME", "relative/does/not/count", 1);
    CHECK_OK(ask_state(""));
    CHECK_STR(path, in_scratch(".local/state/millrace"));
    end();
}

TEST(a_relative_state_folder_is_in_the_working_folder)
{
    char before[4096];
    begin();
    CHECK(getcwd(before, sizeof(before)) != NULL);
    CHECK_EQ(chdir(scratch), 0);
    CHECK_OK(ask_state("here"));
    CHECK_STR(path, in_scratch("here"));
    CHECK_EQ(chdir(before), 0);
    end();
}

TEST(a_state_folder_with_slashes_too_many_is_made)
{
    begin();
    CHECK_OK(ask_state(in_scratch("a//b/")));
    check_mode(in_scratch("a/b"), 0700);
    end();
}

TEST(a_state_folder_that_others_may_write_to_is_refused)
{
    begin();
    CHECK_EQ(mkdir(in_scratch("open"), 0700), 0);
    CHECK_EQ(chmod(in_scratch("open"), 0770), 0);
    CHECK_ERR(ask_state(in_scratch("open")), ERR_REFUSED);
    CHECK(strstr(note.text, "state_dir names another") != NULL);
    CHECK_EQ(chmod(in_scratch("open"), 0755), 0); /* reading is fine: its files are 0600 */
    CHECK_OK(ask_state(in_scratch("open")));
    end();
}

TEST(a_state_folder_that_cannot_be_is_named_with_the_reason)
{
    begin();
    int fd = open(in_scratch("file"), O_CREAT | O_WRONLY, 0600);
    CHECK(fd >= 0);
    close(fd);
    CHECK_ERR(ask_state(in_scratch("file")), ERR_REFUSED);
    CHECK_ERR(ask_state(in_scratch("file/below")), ERR_SYSTEM);
    CHECK(strstr(note.text, "cannot make the folder") != NULL);
    CHECK(strstr(note.text, "Not a directory") != NULL);
    CHECK_ERR(ask_state("/proc/millrace/state"), ERR_SYSTEM);
    CHECK_ERR(folder_state(&(struct config){.state_dir = "/x/y"}, path, 4, &note), ERR_LIMIT);
    end();
}

TEST(a_state_folder_that_may_not_be_written_to_is_refused)
{
    begin();
    if (getuid() == 0)
        SKIP("root may write everywhere");
    CHECK_EQ(mkdir(in_scratch("read"), 0500), 0);
    CHECK_ERR(ask_state(in_scratch("read")), ERR_SYSTEM);
    CHECK(strstr(note.text, "cannot write to the folder") != NULL);
    end();
}
