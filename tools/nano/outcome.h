/* outcome - what a tool answers, in the shapes that tools answer in, and the sentence that tells it
 * to the user. Belongs to one thread. */
#pragma once

#include "nano/tool.h"

enum { OUTCOME_VALUES_MAX = 12 };

struct outcome {
    struct text answer;   /* of the tool: JSON, now and then plain text */
    struct text sentence; /* for the user */
    struct text bytes;    /* of the values */
    struct {
        uint32_t begin, len;
    } values[OUTCOME_VALUES_MAX]; /* what the sentence must contain */
    size_t value_count;
};

void outcome_init(struct outcome *outcome);
void outcome_fini(struct outcome *outcome);
/* Makes one and says how it came about: the tool is asked for, called, it answers, and that is
 * told. */
void outcome_add_round(struct outcome *outcome, struct sample *sample, const struct tool *tool,
                       struct choice *choice, enum split split);
struct slice outcome_value(const struct outcome *outcome, size_t index);
