/* chat - talk of several turns, system prompts that are obeyed, and "I do not know".
 *
 * A needle is a rule for the judge; all must hold:
 *   +a|b   one of these is in the answer, letters of ASCII in either case
 *   -a     this is not
 *   =a     the answer is this, to the byte
 *   ^a $a  it begins or ends with this, to the byte
 *   #upper #lower   no letter of ASCII is of the other case
 *   #word  one word
 *
 * Held out: every fifth wording of a question, every fifth name, and pairs of what is asked with
 * how the answer is to look (is_held_pair). */
#include "nano/chat_impl.h"
#include "nano/chat_notes.h"
#include "nano/facts.h"
#include "nano/opening.h"
#include "nano/phrase.h"
#include "nano/words.h"

/* -- what was told before, and is asked for --------------------------------- */

static void tell_own(struct chat *chat, const struct note *note)
{
    static const char *const answers[] = {"Good to know.", "Thank you, I will remember that."};
    bool is_name = strncmp(note->answer, "Your name", 9) == 0;
    chat_begin_round(chat);
    text_add_str(&chat->asked, choice_percent(chat->choice, 20) ? "hi, " : "");
    text_add_str(&chat->asked, note->told);
    if (choice_percent(chat->choice, 70))
        word_capital(&chat->asked, 0);
    text_add_str(&chat->asked, choice_percent(chat->choice, 75) ? "." : "");
    if (is_name) {
        text_add_f(&chat->answer, "Nice to meet you, %s!", note->value);
        chat_need(chat, "+", slice_str(note->value));
    } else {
        text_add_str(&chat->answer, CHOICE_OF(chat->choice, answers));
        sample_need(chat->sample, SLICE("+good to know|remember"));
    }
    chat_end_round(chat);
}

static void ask_note(struct chat *chat, const struct note *note)
{
    chat_begin_round(chat);
    chat_ask(chat, note->asked, '?');
    text_add_str(&chat->answer, note->answer);
    chat_need(chat, "+", slice_str(note->value));
    chat_end_round(chat);
}

/* "My name is Mira." .. "What is my name?" */
static void memory(struct chat *chat)
{
    struct note notes[3];
    size_t count = (size_t)choice_between(chat->choice, 1, 3);
    for (size_t i = 0; i < count; i++) {
        do
            note_make_own(&notes[i], chat->choice, chat->split);
        while ((i > 0 && note_contradicts(&notes[i], &notes[0])) ||
               (i > 1 && note_contradicts(&notes[i], &notes[1])));
        tell_own(chat, &notes[i]);
        if (choice_percent(chat->choice, 35))
            chat_any_round(chat);
    }
    for (size_t between = choice_below(chat->choice, 3); between > 0; between--)
        chat_any_round(chat);
    ask_note(chat, &notes[choice_below(chat->choice, count)]);
}

/* Things told in a system prompt or a turn, one of them asked for. */
static void reading(struct chat *chat)
{
    enum { NOTES_MAX = 5 };
    struct note notes[NOTES_MAX];
    size_t count = (size_t)choice_between(chat->choice, 1, NOTES_MAX);
    struct text told;
    text_init(&told, 2048);
    const char *separator = choice_percent(chat->choice, 75) ? " " : "\n";
    for (size_t i = 0; i < count; i++) {
        bool clashes;
        do {
            note_make(&notes[i], chat->choice, chat->split);
            clashes = false;
            for (size_t k = 0; k < i; k++)
                clashes |= note_contradicts(&notes[i], &notes[k]);
        } while (clashes);
        text_add_str(&told, i ? separator : "");
        size_t begin = told.len;
        text_add_str(&told, notes[i].told);
        word_capital(&told, begin);
        text_add_byte(&told, '.');
    }
    const struct note *wanted = &notes[choice_below(chat->choice, count)];
    if (choice_percent(chat->choice, 50)) {
        sample_say(chat->sample, SPEAKER_SYSTEM, text_slice(&told));
        if (choice_percent(chat->choice, 40))
            chat_any_round(chat);
        ask_note(chat, wanted);
    } else {
        chat_begin_round(chat);
        text_add(&chat->asked, text_slice(&told));
        text_add_str(&chat->asked, separator);
        size_t begin = chat->asked.len;
        text_add_str(&chat->asked, wanted->asked);
        word_capital(&chat->asked, begin);
        text_add_byte(&chat->asked, '?');
        text_add_str(&chat->answer, wanted->answer);
        chat_need(chat, "+", slice_str(wanted->value));
        chat_end_round(chat);
    }
    text_fini(&told);
}

/* "Say that again." */
static void again(struct chat *chat)
{
    static const char *const words[] = {
        "say that again",
        "[please |]repeat that",
        "can you repeat that",
        "what did you say",
        "[could you|please] say that again",
        "again[|, please]",
        "once more[|, please]",
        "repeat your [last |]answer",
        "I did not hear you, what did you say",
        "sorry, what",
    };
    opening_add(chat->sample, chat->choice, chat->split, 25);
    for (size_t rounds = 1 + choice_below(chat->choice, 2); rounds > 0; rounds--)
        chat_any_round(chat);
    struct text before;
    text_init(&before, 4096);
    text_add(&before, sample_answer(chat->sample));
    chat_begin_round(chat);
    phrase_add(&chat->asked, chat->choice, slice_str(LIST_PART(chat->choice, words, chat->split)),
               NULL, 0);
    if (choice_percent(chat->choice, 60))
        word_capital(&chat->asked, 0);
    text_add_str(&chat->asked, choice_percent(chat->choice, 50) ? "." : "");
    text_add(&chat->answer, text_slice(&before));
    chat_need(chat, "=", text_slice(&before));
    text_fini(&before);
    chat_end_round(chat);
}

static void talking(struct chat *chat)
{
    opening_add(chat->sample, chat->choice, chat->split, 30);
    for (size_t rounds = word_log_uniform(chat->choice, 1, 5); rounds > 0; rounds--)
        chat_any_round(chat);
}

static void remembering(struct chat *chat)
{
    opening_add(chat->sample, chat->choice, chat->split, 30);
    memory(chat);
}

static void make(struct sample *sample, struct choice *choice, enum split split)
{
    static const struct {
        void (*make)(struct chat *chat);
        uint8_t share;
    } kinds[] = {{talking, 40},      {remembering, 14}, {reading, 13},       {again, 3},
                 {chat_obeying, 15}, {chat_persona, 6}, {chat_in_tongue, 4}, {chat_secret, 5}};
    struct chat chat = {.sample = sample, .choice = choice, .split = split};
    text_init(&chat.asked, 4096);
    text_init(&chat.answer, 4096);
    text_init(&chat.rule, 4096);
    size_t drawn = choice_below(choice, 100), kind = 0;
    while (drawn >= kinds[kind].share)
        drawn -= kinds[kind++].share;
    kinds[kind].make(&chat);
    sample->kind = (unsigned)kind;
    text_fini(&chat.asked);
    text_fini(&chat.answer);
    text_fini(&chat.rule);
}

/* -- judging ------------------------------------------------------------------ */

static bool has_letter(struct slice text, char first, char last)
{
    for (size_t i = 0; i < text.len; i++) {
        if (text.data[i] >= first && text.data[i] <= last)
            return true;
    }
    return false;
}

static bool contains_one(struct slice answer, struct slice choices)
{
    struct fact fact = {.needs = {choices}, .need_count = 1};
    return fact_is_told(&fact, answer);
}

static bool is_met(struct slice rule, struct slice answer)
{
    struct slice value = slice_after(rule, 1);
    switch (rule.data[0]) {
    case '+':
        return contains_one(answer, value);
    case '-':
        return slice_find(answer, value) == SLICE_NPOS;
    case '=':
        return slice_eq(answer, value);
    case '^':
        return slice_starts_with(answer, value);
    case '$':
        return slice_ends_with(answer, value);
    default:
        if (slice_eq_str(value, "upper"))
            return !has_letter(answer, 'a', 'z');
        if (slice_eq_str(value, "lower"))
            return !has_letter(answer, 'A', 'Z');
        ASSERT(slice_eq_str(value, "word"));
        return answer.len > 0 && slice_find_byte(answer, ' ') == SLICE_NPOS;
    }
}

static void judge(const struct sample *sample, struct slice answer, struct score *score)
{
    bool is_right = true;
    for (size_t i = 0; i < sample->needle_count; i++)
        is_right &= is_met(sample_needle(sample, i), answer);
    score_count(score, GATE_CHAT, is_right);
}

const struct family family_chat = {"chat", 16, make, judge};
