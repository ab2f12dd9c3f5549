/* results - a tool has answered: say it in a sentence, with its values.
 *
 * Held out: every fifth key of results, tool, and name of a list; made-up words (words.h). Judged:
 * every value of the result is in the answer, and no tool is called again. */
#include "nano/offer.h"
#include "nano/opening.h"
#include "nano/outcome.h"

static void make(struct sample *sample, struct choice *choice, enum split split)
{
    struct offer offer;
    struct wish wish;
    struct outcome outcome;
    struct text call;
    offer_make(&offer, choice, split);
    wish_init(&wish);
    outcome_init(&outcome);
    text_init(&call, WISH_BYTES_MAX);
    if (choice_percent(choice, 85))
        offer_tell(&offer, sample, choice);
    opening_add(sample, choice, split, 25);
    wish_make(&wish, offer.wanted, choice, split);
    outcome_make(&outcome, choice, split);
    tool_add_call(&call, offer.wanted, &wish);
    sample_say(sample, SPEAKER_USER, text_slice(&wish.words));
    sample_say(sample, SPEAKER_ASSISTANT, text_slice(&call));
    sample_say(sample, SPEAKER_TOOL, text_slice(&outcome.answer));
    sample_say(sample, SPEAKER_ASSISTANT, text_slice(&outcome.sentence));
    for (size_t i = 0; i < outcome.value_count; i++)
        sample_need(sample, outcome_value(&outcome, i));
    text_fini(&call);
    outcome_fini(&outcome);
    wish_fini(&wish);
}

static void judge(const struct sample *sample, struct slice answer, struct score *score)
{
    bool is_right = slice_find(answer, SLICE("<tool_call>")) == SLICE_NPOS;
    for (size_t i = 0; i < sample->needle_count; i++)
        is_right = is_right && slice_find(answer, sample_needle(sample, i)) != SLICE_NPOS;
    score_count(score, GATE_RESULTS, is_right);
}

const struct family family_results = {"results", 5, make, judge};
