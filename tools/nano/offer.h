/* offer - the tools of one conversation: up to four, hand-written and invented, of which no two are
 * meant by the same words; or those that millrace's agents have built in (training only). */
#pragma once

#include "nano/tool.h"

enum { OFFER_TOOLS_MAX = 5 };

struct offer {
    const struct tool *tools[OFFER_TOOLS_MAX];
    size_t count;
    const struct tool *wanted; /* one of them */
    struct invented_tool invented[OFFER_TOOLS_MAX + 1];
    size_t invented_count;
};

/* Do not move it: it points into itself. */
void offer_make(struct offer *out, struct choice *choice, enum split split);
/* A tool that is not offered, nor is one like it; good until the next one. */
const struct tool *offer_stranger(struct offer *offer, struct choice *choice, enum split split);
/* Into the sample, all in one client's style. */
void offer_tell(const struct offer *offer, struct sample *sample, struct choice *choice);
