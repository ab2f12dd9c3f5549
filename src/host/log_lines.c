/* log_lines - what a role writes on stderr, as lines. See log_lines.h. */
#include "host/log_lines.h"

#include "base/utf8.h"

void log_lines_init(struct log_lines *lines)
{
    lines->part_len = 0;
    lines->count = 0;
}

static void keep(struct log_lines *lines, struct slice line)
{
    unsigned place = lines->count++ % LOG_LINES_KEPT;
    struct slice cut = slice_first(line, LOG_LINE_KEPT_BYTES);
    if (cut.len < line.len)
        cut = slice_first(cut, utf8_settled(cut));
    memcpy(lines->kept[place], cut.data, cut.len);
    lines->kept_len[place] = cut.len;
}

/* The part has room for the newline always. */
static void finish_line(struct log_lines *lines, log_line_fn *on_line, void *ctx)
{
    struct slice line = slice_of(lines->part, lines->part_len);
    if (line.len)
        keep(lines, line);
    lines->part[lines->part_len] = '\n';
    lines->part_len = 0;
    on_line(ctx, slice_of(lines->part, line.len + 1));
}

void log_lines_feed(struct log_lines *lines, struct slice bytes, log_line_fn *on_line, void *ctx)
{
    for (size_t i = 0; i < bytes.len; i++) {
        if (bytes.data[i] == '\n') {
            finish_line(lines, on_line, ctx);
            continue;
        }
        if (lines->part_len == LOG_LINE_MAX_BYTES - 1)
            finish_line(lines, on_line, ctx);
        lines->part[lines->part_len++] = bytes.data[i];
    }
}

void log_lines_end(struct log_lines *lines, log_line_fn *on_line, void *ctx)
{
    if (lines->part_len)
        finish_line(lines, on_line, ctx);
}

static bool is_ordinary(struct slice line)
{
    return slice_starts_with(line, SLICE("ts=")) &&
           slice_find(line, SLICE(" level=error ")) == SLICE_NPOS;
}

static struct slice kept_line(const struct log_lines *lines, unsigned back)
{
    unsigned place = (lines->count - 1 - back) % LOG_LINES_KEPT;
    return slice_of(lines->kept[place], lines->kept_len[place]);
}

struct slice log_lines_last_words(const struct log_lines *lines)
{
    unsigned kept = lines->count < LOG_LINES_KEPT ? lines->count : LOG_LINES_KEPT;
    for (unsigned back = 0; back < kept; back++)
        if (!is_ordinary(kept_line(lines, back)))
            return kept_line(lines, back);
    return kept ? kept_line(lines, 0) : (struct slice){0};
}
