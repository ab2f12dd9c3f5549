/* log_lines - what a role writes on stderr, as lines: each is given on whole, the last ones are
 * kept for who asks how the role ended. Pure; holds LOG_LINES_KEPT lines and an unfinished one. */
#pragma once

#include "base/slice.h"

enum {
    LOG_LINE_MAX_BYTES = 4096, /* with the newline: one write to a pipe is not torn (PIPE_BUF) */
    LOG_LINES_KEPT = 20,
    LOG_LINE_KEPT_BYTES = 512,
};

struct log_lines {
    char part[LOG_LINE_MAX_BYTES];
    size_t part_len;
    char kept[LOG_LINES_KEPT][LOG_LINE_KEPT_BYTES];
    size_t kept_len[LOG_LINES_KEPT];
    unsigned count; /* ever; the newest is at (count - 1) % LOG_LINES_KEPT */
};

/* One line or several, all with their newlines, LOG_LINE_MAX_BYTES at most; borrowed until it
 * returns. */
typedef void log_line_fn(void *ctx, struct slice lines);

void log_lines_init(struct log_lines *lines);
/* Lines that come together are given on together. A line longer than LOG_LINE_MAX_BYTES is given on
 * in pieces, each ended. */
void log_lines_feed(struct log_lines *lines, struct slice bytes, log_line_fn *on_line, void *ctx);
/* Nothing more comes: what has no newline yet is a line too. */
void log_lines_end(struct log_lines *lines, log_line_fn *on_line, void *ctx);
/* The newest kept line that says why something went wrong: one that is not an ordinary log line (a
 * library's last words, a failed ASSERT), or of level error; else the newest; empty if none. */
struct slice log_lines_last_words(const struct log_lines *lines);
