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

/* The whole lines in front, as many as may be given on at once. */
static struct slice whole_lines(struct slice bytes)
{
    struct slice front = slice_first(bytes, LOG_LINE_MAX_BYTES);
    const char *last = front.len ? memrchr(front.data, '\n', front.len) : NULL;
    return slice_first(front, last ? (size_t)(last + 1 - front.data) : 0);
}

static void give_on(struct log_lines *lines, struct slice run, log_line_fn *on_line, void *ctx)
{
    struct slice line, rest;
    for (rest = slice_first(run, run.len - 1); slice_cut(rest, '\n', &line, &rest);)
        if (line.len)
            keep(lines, line);
    if (line.len)
        keep(lines, line);
    on_line(ctx, run);
}

/* Adds to the unfinished line, up to its end; returns how much. */
static size_t feed_part(struct log_lines *lines, struct slice bytes, log_line_fn *on_line,
                        void *ctx)
{
    size_t end = slice_find_byte(bytes, '\n');
    struct slice more = slice_first(bytes, end); /* SLICE_NPOS: all */
    if (more.len > 0 && lines->part_len == LOG_LINE_MAX_BYTES - 1)
        finish_line(lines, on_line, ctx);
    more = slice_first(more, LOG_LINE_MAX_BYTES - 1 - lines->part_len);
    memcpy(lines->part + lines->part_len, more.data, more.len);
    lines->part_len += more.len;
    if (more.len != end)
        return more.len;
    finish_line(lines, on_line, ctx);
    return more.len + 1;
}

void log_lines_feed(struct log_lines *lines, struct slice bytes, log_line_fn *on_line, void *ctx)
{
    while (bytes.len > 0) {
        struct slice run = lines->part_len ? (struct slice){0} : whole_lines(bytes);
        size_t taken = run.len;
        if (run.len)
            give_on(lines, run, on_line, ctx);
        else
            taken = feed_part(lines, bytes, on_line, ctx);
        bytes = slice_after(bytes, taken);
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
