/* log_lines_test - lines do not depend on where reads end; the last ones are kept. */
#include "base/text.h"
#include "host/log_lines.h"
#include "testing/test.h"

#include <stdio.h>

static void collect(void *ctx, struct slice line)
{
    struct text *out = ctx;
    CHECK(line.len >= 1 && line.len <= LOG_LINE_MAX_BYTES);
    CHECK(line.data[line.len - 1] == '\n');
    while (line.len > 0) { /* several may come at once */
        size_t end = slice_find_byte(line, '\n');
        text_add_byte(out, '[');
        text_add(out, slice_first(line, end));
        text_add_byte(out, ']');
        line = slice_after(line, end + 1);
    }
}

static struct log_lines lines;

TEST(lines_do_not_depend_on_where_reads_end)
{
    struct slice bytes = SLICE("one\n\ntwo three\nlast");
    struct text out;
    text_init(&out, 4096);
    for (size_t cut = 0; cut <= bytes.len; cut++) {
        text_clear(&out);
        log_lines_init(&lines);
        log_lines_feed(&lines, slice_first(bytes, cut), collect, &out);
        log_lines_feed(&lines, slice_after(bytes, cut), collect, &out);
        CHECK_SLICE(text_slice(&out), "[one][][two three]");
        log_lines_end(&lines, collect, &out);
        log_lines_end(&lines, collect, &out); /* once is enough */
        CHECK_SLICE(text_slice(&out), "[one][][two three][last]");
        CHECK_SLICE(log_lines_last_words(&lines), "last");
    }
    text_fini(&out);
}

TEST(a_line_without_end_is_given_on_in_pieces)
{
    struct text out;
    text_init(&out, 1 << 20);
    for (size_t len = LOG_LINE_MAX_BYTES - 2; len <= LOG_LINE_MAX_BYTES; len++) {
        text_clear(&out);
        log_lines_init(&lines);
        for (size_t i = 0; i < len; i++)
            log_lines_feed(&lines, SLICE("x"), collect, &out);
        log_lines_feed(&lines, SLICE("\n"), collect, &out);
        size_t pieces = len < LOG_LINE_MAX_BYTES ? 1 : 2;
        CHECK_EQ(out.len, len + 2 * pieces);
        CHECK(log_lines_last_words(&lines).len <= LOG_LINE_KEPT_BYTES);
    }
    text_fini(&out);
}

static void count_runs(void *ctx, struct slice run)
{
    (void)run;
    ++*(int *)ctx;
}

TEST(lines_that_come_together_are_given_on_together)
{
    enum { LINE_BYTES = 400, LINES = 100 };
    struct text bytes;
    int runs = 0;
    text_init(&bytes, 1 << 20);
    for (int i = 0; i < LINES; i++)
        text_add_f(&bytes, "%0*d\n", LINE_BYTES - 1, i);
    log_lines_init(&lines);
    log_lines_feed(&lines, text_slice(&bytes), count_runs, &runs);
    CHECK_EQ(runs, LINES / (LOG_LINE_MAX_BYTES / LINE_BYTES));
    CHECK(slice_ends_with(log_lines_last_words(&lines), SLICE("099")));
    text_fini(&bytes);
}

TEST(last_words_are_those_that_are_not_ordinary)
{
    struct text out;
    text_init(&out, 1 << 20);
    log_lines_init(&lines);
    CHECK(slice_is_empty(log_lines_last_words(&lines)));
    log_lines_feed(&lines, SLICE("ts=1 level=info event=a\n"), collect, &out);
    CHECK_SLICE(log_lines_last_words(&lines), "ts=1 level=info event=a");
    log_lines_feed(&lines, SLICE("terminate called\nts=2 level=info event=b\n"), collect, &out);
    CHECK_SLICE(log_lines_last_words(&lines), "terminate called");
    log_lines_feed(&lines, SLICE("ts=3 level=error event=c\nts=4 level=info event=d\n"), collect,
                   &out);
    CHECK_SLICE(log_lines_last_words(&lines), "ts=3 level=error event=c");
    for (int i = 0; i < LOG_LINES_KEPT; i++) /* pushes the others out */
        log_lines_feed(&lines, SLICE("ts=5 level=info event=e\n"), collect, &out);
    CHECK_SLICE(log_lines_last_words(&lines), "ts=5 level=info event=e");
    text_fini(&out);
}
