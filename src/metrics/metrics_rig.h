/* metrics_rig - for the tests of this folder: a page as text, and a look for a line in it. */
#pragma once

#include "metrics/snapshot.h"
#include "metrics/table.h"

/* True when `line` (without its newline) is a whole line of the text. */
bool has_line(const struct text *text, const char *line);
struct text page_of(struct metrics_table *table); /* the caller's */
