/* exam - held-out cases of the families, put to somebody who answers them, and what became of it.
 *
 * 1. The cases are a function of the seed and their number: the same model, the same table.
 * 2. A gate is passed with at least its percentage right (family.h). One that models/gates.txt
 * lists as not met is held to the score recorded there instead: it must not get worse.
 * 3. A gate that nothing was asked for is not passed, unless only one family is examined.
 * Belongs to one thread. */
#pragma once

#include "nano/family.h"

#include <stdio.h>

struct exam_options {
    uint64_t seed;
    size_t cases;                /* of each family; 0: as many as its gates need */
    const struct family *family; /* NULL: all */
};

struct exam_case {
    const struct family *family;
    uint64_t index;
    struct text prompt, answer;
};

struct exam {
    struct exam_options options;
    struct exam_case *cases;
    size_t count;
    struct score score;
};

struct exam *exam_new(const struct exam_options *options);
void exam_free(struct exam *exam);

/* Fills in the answers of all cases. The note says what went wrong. */
typedef enum err exam_answer_fn(void *ctx, struct exam_case *cases, size_t count,
                                struct err_note *out_note);
MUST_USE enum err exam_sit(struct exam *exam, exam_answer_fn *answer, void *ctx,
                           struct err_note *out_note);
/* Counts; with `wrong` (or NULL) prints what was answered wrongly there, and what was expected. */
void exam_judge(struct exam *exam, FILE *wrong);

/* --- gates that are known not to be met --- */

struct exam_records {
    bool is_listed[GATE_COUNT];
    uint32_t permille[GATE_COUNT]; /* right of 1000: 83.3 is 833 */
};
/* Lines "LOGS_UNSEEN 83.3"; # begins a comment. ERR_PROTOCOL: the note names the line. */
MUST_USE enum err exam_records_read(struct slice text, struct exam_records *out_records,
                                    struct err_note *out_note);

uint32_t exam_permille(const struct exam *exam, enum gate gate);
bool exam_gate_passes(const struct exam *exam, enum gate gate, const struct exam_records *records);
bool exam_passes(const struct exam *exam, const struct exam_records *records);
/* name, asked, right, percent, gate, how it stands: a line each. */
void exam_print(const struct exam *exam, const struct exam_records *records, FILE *out);
/* {"cases":..,"passes":..,"gates":[{"name","words","asked","right","least_percent","passes"}]} */
void exam_add_json(const struct exam *exam, const struct exam_records *records, struct text *out);
