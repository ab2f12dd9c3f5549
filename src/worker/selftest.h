/* selftest - does a row give the same bits whatever else is in the batch? Puts one fixed text into
 * the engine in many ways, a step at a time, and compares logits and cells with those of the text
 * alone (docs/design/022-self-test.md). No clock, no I/O; the engine thread's.
 *
 * 1. Ways: the text alone, its prompt in one part and its answer a row a step (the reference, of
 *    which the fingerprint is made); the prompt in parts of other lengths; 2, 3, 4 .. 16 streams
 *    of it at once, each some steps behind the other, so that prompts and answers of all lengths
 *    meet in a step; where a row alone is as one among others (engine_info.single_rows_differ is
 *    false) the answer by 2, 3 .. 9 rows a step, as drafts are verified (plan.h rule 10): each row
 *    gives logits, and there are as many as the engine has logits for. Always as plan.h rules 8
 *    and 9 would do it.
 * 2. Every row that gave logits is compared, and where the engine can save, every cell.
 * 3. The first difference ends it: compatible. Without one it is exact for all widths it covered.
 * 4. In profile fast the result is compatible, for nothing is promised beside others. But drafts
 *    must not change what a stream says alone: so the reference runs there, and the answer by
 *    several rows, behind a longer prompt. Flash attention treats a row that is alone another way
 *    once it looks at 512 cells, which libllama does from the 257th on; the answer begins before
 *    that and ends behind it.
 * 5. It uses slots 0..selftest_slots() - 1, which are empty when a way begins, and leaves in them
 *    what it put there. */
#pragma once

#include "engine/engine.h"
#include "wire/node_state.h"

enum {
    SELFTEST_PROMPT_TOKENS = 70,
    SELFTEST_FAST_PROMPT_TOKENS = 244, /* where the context has room for it */
    SELFTEST_ANSWER_TOKENS = 26,
    SELFTEST_SLOTS_MAX = 16,
    SELFTEST_DRAFT_ROWS_MAX = 9 /* a row and the drafts of config.h's default */
};

struct selftest_result {
    enum node_determinism determinism;
    uint32_t width_max;            /* streams at once that were found to be as one; 0: not yet */
    uint32_t draft_rows_exact_max; /* rows of one stream in a step that are as single ones; >= 1 */
    char fingerprint[NODE_FINGERPRINT_BYTES + 1]; /* "": not yet */
    uint64_t spent_us; /* in decode()s, with the calibration; selftest_run.c's */
};

struct selftest_lane { /* one stream of the text */
    uint32_t position, first_step, parts;
};

struct selftest { /* selftest.c's own */
    struct engine *engine;
    bool is_fast;
    uint32_t prompt, answer;
    uint32_t way, step; /* of the ways that there are, and of this one */
    struct selftest_lane lanes[SELFTEST_SLOTS_MAX];
    uint64_t logits[SELFTEST_ANSWER_TOKENS + 1], cells; /* of the reference */
    struct engine_row *rows;
    struct selftest_result result;
};

void selftest_init(struct selftest *test, struct engine *engine, bool is_fast);
void selftest_fini(struct selftest *test);
uint32_t selftest_slots(const struct selftest *test);

enum selftest_next {
    SELFTEST_STEP,   /* call again */
    SELFTEST_EMPTY,  /* call again when the slots are empty: another way begins */
    SELFTEST_OVER,   /* the result is there */
    SELFTEST_BROKEN, /* the engine failed, or gave no numbers: the result is unknown */
    SELFTEST_ABORTED /* as should_abort() wanted it: empty the slots, and selftest_again() */
};
/* One decode(), or none. */
enum selftest_next selftest_step(struct selftest *test);
/* The way that was begun begins again, in empty slots. */
void selftest_again(struct selftest *test);
/* What is known so far; `determinism` is unknown until it is over. */
struct selftest_result selftest_result(const struct selftest *test);
