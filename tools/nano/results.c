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
    struct outcome outcome;
    offer_make(&offer, choice, split);
    outcome_init(&outcome);
    if (choice_percent(choice, 85))
        offer_tell(&offer, sample, choice);
    opening_add(sample, choice, split, 25);
    outcome_add_round(&outcome, sample, offer.wanted, choice, split);
    for (size_t i = 0; i < outcome.value_count; i++)
        sample_need(sample, outcome_value(&outcome, i));
    outcome_fini(&outcome);
}

static void judge(const struct sample *sample, struct slice answer, struct score *score)
{
    bool is_right = slice_find(answer, SLICE("<tool_call>")) == SLICE_NPOS;
    for (size_t i = 0; i < sample->needle_count; i++)
        is_right = is_right && slice_find(answer, sample_needle(sample, i)) != SLICE_NPOS;
    score_count(score, GATE_RESULTS, is_right);
}

const struct family family_results = {"results", 5, make, judge};
