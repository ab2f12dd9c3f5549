/* calls - which of the offered tools is meant, if any, and with which arguments.
 *
 * Held out: every fifth hand-written tool (toolbox.c), verb and noun of an invented one, name of a
 * list and way to begin; made-up words (words.h). */
#include "base/json.h"
#include "nano/offer.h"
#include "nano/opening.h"
#include "nano/outcome.h"
#include "nano/phrase.h"

static const char *const fronts[] = {
    "",
    "",
    "Hi! ",
    "Hello, ",
    "Good morning. ",
    "OK, now: ",
    "Hey. ",
    "",
    "",
    "Thanks for your help. ",
    "",
    "A question: ",
    "I am back. ",
    "",
    "Hi there! ",
};
static const char *const refusals[] = {
    "None of my tools can do that.",
    "I have no tool for that.",
};
/* What needs no tool, and what to say. */
static const char *const talk[][2] = {
    {"[Hi|Hello|Hey|Good morning|Good evening][|!|.| there!]", "Hello! How can I help you?"},
    {"[Thanks|Thank you][|!| very much.| a lot!]", "You are welcome!"},
    {"[How are you|How are you doing][?| today?]", "I am fine, thank you. How can I help you?"},
    {"[Bye|Goodbye|See you][|!|.| later.]", "Goodbye!"},
    {"[OK|Great|Perfect|Good|Nice][|!|.| work!]", "Good. What can I do for you?"},
};

enum kind { KIND_CALL, KIND_NONE_FITS, KIND_TALK };

enum {
    ROUNDS_BYTES_MAX = 1600, /* after so many no further round is put before the last */
    ROUNDS_MAX = 7,
    TOLD_PERCENT = 25, /* of training's rounds: with what the tool answered */
};

static void add_wish(struct sample *sample, const struct tool *tool, bool is_offered,
                     struct choice *choice, enum split split)
{
    struct wish wish;
    struct text text;
    wish_init(&wish);
    text_init(&text, WISH_BYTES_MAX);
    wish_make(&wish, tool, choice, split);
    text_add_str(&text, LIST_PART(choice, fronts, split));
    text_add(&text, text_slice(&wish.words));
    sample_say(sample, SPEAKER_USER, text_slice(&text));
    text_clear(&text);
    if (is_offered)
        tool_add_call(&text, tool, &wish);
    else
        text_add_str(&text, CHOICE_OF(choice, refusals));
    sample_say(sample, SPEAKER_ASSISTANT, text_slice(&text));
    text_fini(&text);
    wish_fini(&wish);
}

static void add_talk(struct sample *sample, struct choice *choice)
{
    const char *const *pair = CHOICE_OF(choice, talk);
    struct text text;
    text_init(&text, 256);
    phrase_add(&text, choice, slice_str(pair[0]), NULL, 0);
    sample_say(sample, SPEAKER_USER, text_slice(&text));
    sample_say(sample, SPEAKER_ASSISTANT, slice_str(pair[1]));
    text_fini(&text);
}

static void add_round(struct sample *sample, enum kind kind, struct offer *offer,
                      const struct tool *wanted, struct choice *choice, enum split split)
{
    if (kind == KIND_TALK)
        add_talk(sample, choice);
    else if (kind == KIND_NONE_FITS)
        add_wish(sample, offer_stranger(offer, choice, split), false, choice, split);
    else
        add_wish(sample, wanted, true, choice, split);
}

static enum kind draw_kind(struct choice *choice)
{
    size_t percent = choice_below(choice, 100);
    return percent < 80 ? KIND_CALL : percent < 95 ? KIND_NONE_FITS : KIND_TALK;
}

/* Reading schemas costs most of a sample's tokens: training makes more of them, and waits for few
 * answers. */
static void add_rounds_before(struct sample *sample, struct offer *offer, struct choice *choice,
                              enum split split)
{
    static const uint8_t test_rounds[] = {0, 0, 0, 0, 0, 1};
    bool is_train = split == SPLIT_TRAIN;
    size_t rounds = is_train ? choice_below(choice, ROUNDS_MAX) : CHOICE_OF(choice, test_rounds);
    struct outcome outcome;
    outcome_init(&outcome);
    for (; rounds > 0 && sample->bytes.len < ROUNDS_BYTES_MAX; rounds--) {
        const struct tool *tool = offer->tools[choice_below(choice, offer->count)];
        if (!is_train || choice_percent(choice, TOLD_PERCENT))
            outcome_add_round(&outcome, sample, tool, choice, split);
        else
            add_round(sample, draw_kind(choice), offer, tool, choice, split);
    }
    outcome_fini(&outcome);
}

static void make(struct sample *sample, struct choice *choice, enum split split)
{
    struct offer offer;
    offer_make(&offer, choice, split);
    offer_tell(&offer, sample, choice);
    opening_add(sample, choice, split, 25);
    add_rounds_before(sample, &offer, choice, split);
    sample->kind = draw_kind(choice);
    add_round(sample, sample->kind, &offer, offer.wanted, choice, split);
}

/* -- judging ---------------------------------------------------------------- */

/* The object between the tags, NULL: it is not {"name": "..", "arguments": {..}}, or something
 * stands behind it. Text before it is fine. */
static json_t *read_call(struct slice answer)
{
    size_t begin = slice_find(answer, SLICE("<tool_call>"));
    if (begin == SLICE_NPOS)
        return NULL;
    struct slice rest = slice_after(answer, begin + sizeof("<tool_call>") - 1);
    size_t end = slice_find(rest, SLICE("</tool_call>"));
    if (end == SLICE_NPOS || end + sizeof("</tool_call>") - 1 != rest.len)
        return NULL;
    json_t *call;
    if (json_read(slice_first(rest, end), JSON_DEPTH_MAX, &call, NULL) != ERR_OK)
        return NULL;
    if (!json_is_string(json_object_get(call, "name")) ||
        !json_is_object(json_object_get(call, "arguments"))) {
        json_decref(call);
        return NULL;
    }
    return call;
}

static bool has_same(const json_t *a, const json_t *b, const char *key)
{
    return a && b && json_equal(json_object_get(a, key), json_object_get(b, key));
}

static void judge(const struct sample *sample, struct slice answer, struct score *score)
{
    bool is_call = slice_find(answer, SLICE("<tool_call>")) != SLICE_NPOS;
    if (sample->kind != KIND_CALL) {
        score_count(score, GATE_CALL_TOOL, !is_call && answer.len > 0);
        return;
    }
    json_t *wanted = read_call(sample_answer(sample)), *given = read_call(answer);
    ASSERT(wanted);
    bool is_tool = has_same(wanted, given, "name");
    if (is_call)
        score_count(score, GATE_CALL_JSON, given != NULL);
    score_count(score, GATE_CALL_TOOL, is_tool);
    score_count(score, GATE_CALL_ARGUMENTS, is_tool && has_same(wanted, given, "arguments"));
    json_decref(wanted);
    json_decref(given);
}

const struct family family_calls = {"calls", 12, make, judge};
