/* report_test - what is written reads back; what is not a report is refused. */
#include "life/report.h"
#include "testing/test.h"

static struct slice written(const struct report *report, struct text *line)
{
    text_clear(line);
    report_write(report, line);
    CHECK_OK(text_status(line));
    CHECK(line->len <= REPORT_LINE_MAX_BYTES);
    CHECK(line->data[line->len - 1] == '\n');
    return slice_first(text_slice(line), line->len - 1);
}

TEST(reports_are_written_as_documented)
{
    struct text line;
    text_init(&line, 4096);
    CHECK_SLICE(written(&(struct report){.kind = REPORT_BEAT, .stuck_ms = 12, .streams = 3}, &line),
                "beat 12 3");
    CHECK_SLICE(written(&(struct report){.kind = REPORT_READY}, &line), "ready");
    CHECK_SLICE(
        written(&(struct report){.kind = REPORT_READY, .text = SLICE("127.0.0.1:80")}, &line),
        "ready 127.0.0.1:80");
    CHECK_SLICE(written(&(struct report){.kind = REPORT_DRAINING, .text = SLICE("x")}, &line),
                "draining");
    CHECK_SLICE(
        written(&(struct report){.kind = REPORT_FAILED, .text = SLICE("no such file")}, &line),
        "failed no such file");
    text_fini(&line);
}

TEST(numbers_read_back_at_their_limits)
{
    struct text line;
    text_init(&line, 4096);
    for (uint64_t n = 0; n <= UINT32_MAX; n = n * 3 + 1) {
        struct report report = {
            .kind = REPORT_BEAT, .stuck_ms = (uint32_t)n, .streams = UINT32_MAX};
        struct report back;
        CHECK_OK(report_read(written(&report, &line), &back));
        CHECK_EQ(back.kind, REPORT_BEAT);
        CHECK_EQ(back.stuck_ms, n);
        CHECK_EQ(back.streams, UINT32_MAX);
    }
    text_fini(&line);
}

TEST(a_note_with_control_bytes_stays_one_line)
{
    struct text line;
    struct report back;
    text_init(&line, 4096);
    struct report failed = {.kind = REPORT_FAILED, .text = SLICE("bad\nready\x1b[2J\x7f")};
    CHECK_OK(report_read(written(&failed, &line), &back));
    CHECK_EQ(back.kind, REPORT_FAILED);
    CHECK_SLICE(back.text, "bad ready [2J ");
    text_fini(&line);
}

/* Cut at every length around the limit, in front of and inside of a character. */
TEST(a_long_note_is_cut_at_a_whole_character)
{
    char note[2048];
    struct text line;
    text_init(&line, 4096);
    for (size_t ascii = 1000; ascii < 1040; ascii++) {
        struct report back;
        memset(note, 'a', ascii);
        memcpy(note + ascii, "\xE2\x82\xAC", 3);
        struct report failed = {.kind = REPORT_FAILED, .text = slice_of(note, ascii + 3)};
        CHECK_OK(report_read(written(&failed, &line), &back));
        size_t whole = back.text.len < ascii ? back.text.len : ascii;
        CHECK(memcmp(back.text.data, note, whole) == 0);
        CHECK(back.text.len <= ascii || back.text.len == ascii + 3);
    }
    text_fini(&line);
}

TEST(what_is_no_report_is_refused_and_writes_nothing)
{
    static const char *const wrong[] = {
        "",
        " ",
        "beat",
        "beat ",
        "beat 1",
        "beat 1 ",
        "beat  1 2",
        "beat 1 2 ",
        "beat 1 2 3",
        "beat -1 0",
        "beat 4294967296 0",
        "beat 0 4294967296",
        "beat a 0",
        "Beat 0 0",
        "ready\t",
        "draining ",
        "draining now",
        "failed",
        "readyx",
        "fail x",
        "ready \x01",
        "ready \x7f",
        " ready",
    };
    for (size_t i = 0; i < ARRAY_COUNT(wrong); i++) {
        struct report report = {.kind = REPORT_FAILED, .streams = 7};
        CHECK_ERR(report_read(slice_str(wrong[i]), &report), ERR_PROTOCOL);
        CHECK_EQ(report.streams, 7);
    }
}

TEST(a_line_is_read_up_to_its_limit_and_not_beyond)
{
    char line[REPORT_LINE_MAX_BYTES + 1];
    struct report report;
    memset(line, 'x', sizeof(line));
    memcpy(line, "ready ", 6);
    CHECK_OK(report_read(slice_of(line, REPORT_LINE_MAX_BYTES - 1), &report));
    CHECK_EQ(report.text.len, REPORT_LINE_MAX_BYTES - 1 - 6);
    CHECK_ERR(report_read(slice_of(line, REPORT_LINE_MAX_BYTES), &report), ERR_PROTOCOL);
}
