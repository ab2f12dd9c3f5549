/* label - what may stand in the text format as a name, as help, and between the braces. Our own
 * registries are held to it by ASSERTs, what comes over the bus is refused. Pure. */
#pragma once

#include "base/slice.h"

enum {
    METRIC_NAME_MAX_BYTES = 128,
    METRIC_HELP_MAX_BYTES = 255,
    METRIC_LABELS_MAX_BYTES = 2048,
    METRIC_LABELS_MAX = 16
};

/* [a-zA-Z_:][a-zA-Z0-9_:]*, at most METRIC_NAME_MAX_BYTES. */
bool metric_name_is_valid(struct slice name);
/* One line of UTF-8 without a backslash, so that it needs no escapes. */
bool metric_help_is_valid(struct slice help);
/* Empty, or key="value" with commas between: keys [a-zA-Z_][a-zA-Z0-9_]*, each once, none of them
 * "le" (histograms add it); values UTF-8 in which \, " and newline are escaped, no other escape. */
bool metric_labels_are_valid(struct slice labels);
