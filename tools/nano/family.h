/* family - a kind of thing that the model is taught and examined in. One file each:
 * facts, copying, calls (tools), results (of tools), logs, values (JSON), chat, stories.
 *
 * 1. make() is a pure function of the choice and the split: no clock, no address, no static state.
 * 2. What SPLIT_TEST draws (a phrasing, an entity, a format: the family's README line says which)
 * is never drawn by SPLIT_TRAIN. Lists are cut by list_part(): every fifth entry is the test's.
 * 3. A sample's rendering is at most some 1000 tokens (3 KiB of English), most of them far less.
 * 4. judge() gets exactly what the model said, without its end token, and says of each gate that
 *    the sample bears on whether it was right. It never asks for more than the question does. */
#pragma once

#include "nano/choice.h"
#include "nano/sample.h"

enum split { SPLIT_TRAIN, SPLIT_TEST };

/* What is examined: X(name, what the table calls it, least percent right). */
#define GATES(X)                                                                                   \
    X(FACTS, "facts about millrace", 95)                                                           \
    X(COPYING, "copying, exact", 98)                                                               \
    X(CALL_JSON, "tool calls: valid JSON", 99)                                                     \
    X(CALL_TOOL, "tool calls: right tool, or none", 98)                                            \
    X(CALL_ARGUMENTS, "tool calls: right arguments", 95)                                           \
    X(RESULTS, "tool results in a sentence", 90)                                                   \
    X(LOGS, "log analysis: component and severity", 90)                                            \
    X(LOGS_UNSEEN, "the same in formats it was not taught", 90)                                    \
    X(VALUES_JSON, "JSON on request: parses", 98)                                                  \
    X(VALUES, "JSON on request: right", 90)                                                        \
    X(CHAT, "chat, system prompts, \"I don't know\"", 90)                                          \
    X(STORIES, "long stories: at least 150 tokens, whole characters", 100)

enum gate {
#define X(name, words, least) GATE_##name,
    GATES(X)
#undef X
        GATE_COUNT,
};

struct score {
    uint32_t right[GATE_COUNT], asked[GATE_COUNT];
};
void score_count(struct score *score, enum gate gate, bool is_right);

struct family {
    const char *name;
    unsigned share; /* of the documents of training, in percent; they add up to 100 */
    void (*make)(struct sample *sample, struct choice *choice, enum split split);
    void (*judge)(const struct sample *sample, struct slice answer, struct score *score);
};

extern const struct family family_facts, family_copying, family_calls, family_results, family_logs,
    family_values, family_chat, family_stories;
enum { FAMILY_COUNT = 8 }; /* as many as family.c lists */
extern const struct family *const families[FAMILY_COUNT];

/* Sample `index` of a seed, whichever was made before: its family is drawn by the shares (TRAIN).
 * Returns the family. */
const struct family *family_draw(struct sample *out_sample, uint64_t seed, uint64_t index);
/* The index-th test case of one family. */
void family_examine(struct sample *out_sample, const struct family *family, uint64_t seed,
                    uint64_t index);

/* An index into a list of `count` (>= 5) of which every fifth entry (4, 9, ..) is the test's. */
size_t list_part(struct choice *choice, size_t count, enum split split);
#define LIST_PART(choice, array, split)                                                            \
    ((array)[list_part((choice), sizeof(array) / sizeof((array)[0]), (split))])
