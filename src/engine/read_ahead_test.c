/* Tests of reading a file ahead: what is told, where it stops, and how it fails. */
#include "engine/read_ahead.h"

#include "testing/test.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

struct told {
    const char *path;
    float fractions[8];
    int count;
    int stop_after; /* so many; 0: never */
    off_t cut_to;   /* the file, at the first one; -1: not at all */
};

static bool on_progress(void *ctx, float fraction)
{
    struct told *told = ctx;
    CHECK(told->count < (int)ARRAY_COUNT(told->fractions));
    told->fractions[told->count++] = fraction;
    if (told->count == 1 && told->cut_to >= 0)
        CHECK(truncate(told->path, told->cut_to) == 0);
    return told->count != told->stop_after;
}

static enum err read_file_of(off_t bytes, struct told *told, struct err_note *out_note)
{
    char path[] = "/tmp/millrace-read-ahead-XXXXXX";
    int fd = mkstemp(path);
    CHECK(fd >= 0);
    CHECK(ftruncate(fd, bytes) == 0);
    close(fd);
    told->path = path;
    enum err err = read_ahead(path, on_progress, told, out_note);
    CHECK(unlink(path) == 0);
    return err;
}

TEST(fractions_are_the_bytes_that_were_read)
{
    static const struct {
        off_t bytes;
        int count;
        float first;
    } cases[] = {{0, 0, 0},
                 {1, 1, 1},
                 {READ_AHEAD_PIECE - 1, 1, 1},
                 {READ_AHEAD_PIECE, 1, 1},
                 {READ_AHEAD_PIECE + 1, 2, 1048576.0f / 1048577.0f},
                 {READ_AHEAD_PIECE * 4, 4, 0.25f}};
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        struct told told = {.cut_to = -1};
        struct err_note note = {{0}};
        CHECK_OK(read_file_of(cases[i].bytes, &told, &note));
        CHECK_EQ(told.count, cases[i].count);
        for (int j = 1; j < told.count; j++)
            CHECK(told.fractions[j] > told.fractions[j - 1]);
        if (told.count > 0) {
            CHECK(told.fractions[0] == cases[i].first);
            CHECK(told.fractions[told.count - 1] == 1);
        }
    }
}

TEST(no_piece_is_read_behind_a_stop)
{
    struct told told = {.stop_after = 2, .cut_to = -1};
    struct err_note note = {{0}};
    CHECK_ERR(read_file_of(READ_AHEAD_PIECE * 5, &told, &note), ERR_CANCELLED);
    CHECK_EQ(told.count, 2);
    CHECK(strstr(note.text, "was stopped"));
}

TEST(a_stop_at_the_last_piece_is_a_stop)
{
    struct told told = {.stop_after = 2, .cut_to = -1};
    struct err_note note = {{0}};
    CHECK_ERR(read_file_of(READ_AHEAD_PIECE * 2, &told, &note), ERR_CANCELLED);
}

TEST(a_file_that_becomes_shorter_is_refused)
{
    struct told told = {.cut_to = READ_AHEAD_PIECE + 5};
    struct err_note note = {{0}};
    CHECK_ERR(read_file_of(READ_AHEAD_PIECE * 3, &told, &note), ERR_PROTOCOL);
    CHECK(strstr(note.text, "behind byte 1048581: it has become shorter"));
}

TEST(what_cannot_be_read_is_named)
{
    struct told told = {.cut_to = -1};
    struct err_note note = {{0}};
    CHECK_ERR(read_ahead("/nowhere/x.gguf", on_progress, &told, &note), ERR_PROTOCOL);
    CHECK(strstr(note.text, "/nowhere/x.gguf: No such file"));
}
