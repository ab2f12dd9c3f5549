/* log_test - one event, one line, one write. */
#include "base/log.h"
#include "base/utf8.h"
#include "testing/test.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

/* stderr goes into a pipe between begin and end. */
struct capture {
    int saved, reader;
};

static void capture_begin(struct capture *capture)
{
    int ends[2];
    CHECK(pipe2(ends, O_NONBLOCK) == 0);
    capture->saved = dup(STDERR_FILENO);
    CHECK(dup2(ends[1], STDERR_FILENO) >= 0);
    close(ends[1]);
    capture->reader = ends[0];
}

static struct slice capture_end(struct capture *capture, char *out_text, size_t text_bytes)
{
    CHECK(dup2(capture->saved, STDERR_FILENO) >= 0);
    close(capture->saved);
    ssize_t got = read(capture->reader, out_text, text_bytes);
    close(capture->reader);
    return slice_of(out_text, got > 0 ? (size_t)got : 0);
}

/* ts=2026-01-31T23:59:59.123Z, the only part that a test cannot know. */
static struct slice after_time(struct slice line)
{
    static const char shape[] = "ts=dddd-dd-ddTdd:dd:dd.dddZ ";
    CHECK(line.len > sizeof(shape) - 1);
    for (size_t i = 0; shape[i]; i++)
        CHECK(shape[i] == 'd' ? line.data[i] >= '0' && line.data[i] <= '9'
                              : line.data[i] == shape[i]);
    return slice_after(line, sizeof(shape) - 1);
}

TEST(line_has_time_level_event_and_fields)
{
    struct capture capture;
    char text[4096];
    capture_begin(&capture);
    errno = EPIPE;
    log_event(LOG_WARN, "request_done", "req=%s status=%d", "7f3a", 200);
    int errno_after = errno;
    struct slice line = capture_end(&capture, text, sizeof(text));
    CHECK_SLICE(after_time(line), "level=warn event=request_done req=7f3a status=200\n");
    CHECK_EQ(errno_after, EPIPE);
}

TEST(no_fields_leave_no_trailing_space)
{
    struct capture capture;
    char text[4096];
    capture_begin(&capture);
    log_event(LOG_ERROR, "ready", NULL);
    struct slice line = capture_end(&capture, text, sizeof(text));
    CHECK_SLICE(after_time(line), "level=error event=ready\n");
}

TEST(only_levels_up_to_the_chosen_one_are_written)
{
    for (int max = LOG_ERROR; max <= LOG_DEBUG; max++) {
        struct capture capture;
        char text[4096];
        capture_begin(&capture);
        log_set_level((enum log_level)max);
        for (int level = LOG_ERROR; level <= LOG_DEBUG; level++)
            log_event((enum log_level)level, "x", NULL);
        log_set_level(LOG_INFO);
        struct slice lines = capture_end(&capture, text, sizeof(text));
        int count = 0;
        for (size_t i = 0; i < lines.len; i++)
            count += lines.data[i] == '\n';
        CHECK_EQ(count, max + 1);
    }
}

/* The cut falls into every place of the two characters, and on both sides of them. */
TEST(long_line_is_cut_at_a_whole_character_and_still_ends)
{
    size_t shortest = SIZE_MAX, longest = 0;
    for (int fill = 1985; fill < 2010; fill++) {
        struct capture capture;
        char text[8192];
        capture_begin(&capture);
        log_event(LOG_INFO, "x", "%0*d\xE2\x82\xAC\xE2\x82\xAC%03000d", fill, 0, 0);
        struct slice line = capture_end(&capture, text, sizeof(text));
        CHECK(utf8_is_valid(line));
        CHECK(line.data[line.len - 1] == '\n');
        shortest = line.len < shortest ? line.len : shortest;
        longest = line.len > longest ? line.len : longest;
    }
    CHECK_EQ(longest, 2048);
    CHECK_EQ(shortest, 2046);
}

/* Nobody reads: the process goes on, and says later how much is missing, in its place. */
TEST(lines_that_a_full_pipe_does_not_take_are_counted)
{
    struct capture capture;
    static char text[1 << 20];
    enum { LINES = 3000 };
    capture_begin(&capture); /* non-blocking at both ends */
    for (int i = 0; i < LINES; i++)
        log_event(LOG_INFO, "x", "a=%0*d", 100, i);
    ssize_t got = read(capture.reader, text, sizeof(text));
    CHECK(got > 0);
    int written = 0;
    for (ssize_t i = 0; i < got; i++)
        written += text[i] == '\n';
    CHECK(text[got - 1] == '\n');
    CHECK(written < LINES);
    log_event(LOG_INFO, "after", NULL);
    log_event(LOG_INFO, "later", NULL);
    struct slice rest = capture_end(&capture, text, sizeof(text)), first = {0}, second = {0},
                 third = {0};
    char expected[64];
    CHECK(slice_cut(rest, '\n', &first, &rest) && slice_cut(rest, '\n', &second, &rest) &&
          slice_cut(rest, '\n', &third, &rest));
    snprintf(expected, sizeof(expected), "level=warn event=log_lines_dropped count=%d",
             LINES - written);
    CHECK_SLICES(after_time(first), slice_str(expected));
    CHECK_SLICE(after_time(second), "level=info event=after");
    CHECK_SLICE(after_time(third), "level=info event=later");
    CHECK(slice_is_empty(rest));
}

TEST(newline_in_a_field_does_not_make_a_second_line)
{
    struct capture capture;
    char text[4096];
    capture_begin(&capture);
    log_event(LOG_INFO, "x", "a=%s", "1\nlevel=error event=forged\x1b[2J");
    struct slice line = capture_end(&capture, text, sizeof(text));
    CHECK_SLICE(after_time(line), "level=info event=x a=1 level=error event=forged [2J\n");
}

TEST(names_of_levels_read_back)
{
    enum log_level level = LOG_INFO;
    CHECK_OK(log_level_parse(SLICE("error"), &level));
    CHECK_EQ(level, LOG_ERROR);
    CHECK_OK(log_level_parse(SLICE("debug"), &level));
    CHECK_EQ(level, LOG_DEBUG);
    CHECK_ERR(log_level_parse(SLICE("Debug"), &level), ERR_PROTOCOL);
    CHECK_ERR(log_level_parse(SLICE(""), &level), ERR_PROTOCOL);
    CHECK_ERR(log_level_parse(SLICE("debugs"), &level), ERR_PROTOCOL);
    CHECK_EQ(level, LOG_DEBUG);
}

TEST(quote_is_bare_only_for_plain_values)
{
    CHECK_STR(log_quote(SLICE("/v1/models?x"), 100), "/v1/models?x");
    CHECK_STR(log_quote(SLICE(""), 100), "\"\"");
    CHECK_STR(log_quote((struct slice){0}, 100), "\"\"");
    CHECK_STR(log_quote(SLICE("a b"), 100), "\"a b\"");
    CHECK_STR(log_quote(SLICE("a=b"), 100), "\"a=b\"");
    CHECK_STR(log_quote(SLICE("a\"\\\n\r\t"), 100), "\"a\\\"\\\\\\n\\r\\t\"");
    CHECK_STR(log_quote(SLICE("\x01\x1b[2J\x7f"), 100), "\"\\x01\\x1b[2J\\x7f\"");
    CHECK_STR(log_quote(slice_of("\0x", 2), 100), "\"\\x00x\"");
    CHECK_STR(log_quote(SLICE("\xE2\x82\xAC"), 100), "\"\xE2\x82\xAC\"");
    CHECK_STR(log_quote(SLICE("\xFF\xE2\x82"), 100), "\"\\xff\\xe2\\x82\"");
    CHECK_STR(log_quote(SLICE("\xC2\x9B"), 100), "\"\\xc2\\x9b\""); /* a terminal's CSI */
}

TEST(quote_cuts_its_input_at_a_whole_character)
{
    CHECK_STR(log_quote(SLICE("abcdef"), 3), "abc");
    CHECK_STR(log_quote(SLICE("a\xE2\x82\xAC"), 4), "\"a\xE2\x82\xAC\"");
    CHECK_STR(log_quote(SLICE("a\xE2\x82\xAC"), 3), "a");
    CHECK_STR(log_quote(SLICE("a"), 0), "\"\"");
}

TEST(quote_of_a_monster_still_closes)
{
    static char zeroes[5000], letters[5000];
    memset(letters, 'a', sizeof(letters));
    const char *quoted = log_quote(slice_of(zeroes, sizeof(zeroes)), SIZE_MAX);
    size_t len = strlen(quoted);
    CHECK(len >= 1000 && len < 1024);
    CHECK((len - 2) % 4 == 0 && quoted[0] == '"' && quoted[len - 1] == '"');
    for (size_t letter_count = 1000; letter_count <= 1030; letter_count++) {
        quoted = log_quote(slice_of(letters, letter_count), SIZE_MAX);
        CHECK(strlen(quoted) <= 1023);
        CHECK(quoted[0] == 'a' || quoted[strlen(quoted) - 1] == '"');
    }
}

TEST(eight_quotes_may_stand_in_one_statement)
{
    const char *quoted[8];
    for (int i = 0; i < 8; i++)
        quoted[i] = log_quote(slice_of(&"01234567"[i], 1), 1);
    for (int i = 0; i < 8; i++)
        CHECK_EQ(quoted[i][0], '0' + i);
}
