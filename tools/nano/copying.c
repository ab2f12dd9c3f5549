/* copying - say again what was said: what teaches a small model to look back at all.
 *
 * Half of training's rounds are plain repeating; the kinds from KIND_RECALL on are there for what
 * they teach and are not examined. Held out: the made-up words (words.h), every fifth wording. */
#include "nano/coin.h"
#include "nano/opening.h"
#include "nano/phrase.h"
#include "nano/words.h"

enum kind {
    KIND_REPEAT,
    KIND_TWICE,
    KIND_SPELL,
    KIND_RECALL, /* "bina is 7. tolu is 12. What is bina?" */
    KIND_NTH,    /* "The third of: .." */
    KIND_AFTER,  /* "What comes after bina in: .." */
    KIND_CASE,   /* "In upper case: .." */
    KIND_JOIN,   /* "Join with dashes: .." */
    KIND_COUNT,
};

/* Of 100 rounds. */
static const uint8_t train_shares[KIND_COUNT] = {40, 9, 24, 11, 4, 4, 4, 4};
static const uint8_t test_shares[KIND_COUNT] = {60, 15, 25};

enum {
    ITEMS_MAX = 40,
    TWICE_ITEMS_MAX = 10,
    /* No document is longer than 1024 tokens even if each byte is one (of digits it is): what is
     * asked and its answer, and the rounds before. */
    COPY_BYTES_MAX = 360,
    ROUND_BYTES_MAX = 240,
};

static const char *const repeat_words[] = {
    "Repeat after me: {x}",
    "[R|r]epeat: {x}",
    "[Please|Now|Could you|Can you|OK,|Hi,] repeat[:| this:| the following:] {x}",
    "[S|s]ay[|:] {x}",
    "[Please r|R|r]epeat after me[:|,| -] {x}",
    "[E|e]cho[|:| this:] {x}",
    "[C|c]opy[:| this:| this text:| exactly:] {x}",
    "[Please s|S|s]ay this[| exactly| word for word]: {x}",
    "[R|r]epeat [this|the following|the next line|these words|what I say][| exactly]:\\n{x}",
    "[Repeat|Copy] the following[| text| exactly]: {x}",
    "{x}\\n\\n[Repeat|Copy|Echo] the [text|line|words|list] above.",
    "[Write|Type|Print|Output|Return|Give me][| this| the text| exactly| only]: {x}",
    "[Write|Return|Give back|Output] [this|the following] [unchanged|as it is|verbatim]: {x}",
    "Say \"{x}\"",
    "Can you [say|echo|copy] this[| for me]: {x}",
    "[Can|Could] you say \"{x}\"?",
    "[Please r|R|r]epeat \"{x}\"[| for me| back to me]",
    "[R|r]epeat[| this| the text] [between the quotes|in quotes]: \"{x}\"",
    "[Answer|Reply|Respond] with [exactly|only|just][| this]: {x}",
    "[Please e|E]cho [back |]the following[| line| words]: {x}",
    "[S|s]ay [the following|these words|this list|these items]: {x}",
    "I say: {x}\\nYou say the same.",
    "[Text|Input|Line|Words]: {x}\\n[Repeat it|Say it again|Copy it|Echo it].",
    "[Just|Only] [say|repeat|echo|write][|:] {x}",
    "[Now s|S|s]ay after me: {x}",
    "[Repeat|Copy] [the list|this list|the items|all of it]: {x}",
    "[R|r]epeat after me {x}",
    "[Recite|Read back|Read out]: {x}",
    "[Repeat|Say|Echo] [word for word|without changes|exactly][:|,] {x}",
    "[Please c|C]opy [what follows|the words]: {x}",
};
static const char *const twice_words[] = {
    "[S|s]ay {x} twice[|.]",
    "[S|s]ay \"{x}\" twice[|.]",
    "[Please r|R|r]epeat {x} twice[|.]",
    "[R|r]epeat [this |]twice: {x}",
    "[S|s]ay {x} two times[|.]",
    "[Twice|Two times]: {x}",
    "[Write|Type|Echo|Print] [twice: {x}|{x} twice][|.]",
    "[Can|Could] you say \"{x}\" [twice|two times]?",
    "[Please s|S|s]ay twice: {x}",
    "[Repeat|Say|Copy] the following [twice|two times]: {x}",
};
static const char *const spell_words[] = {
    "[S|s]pell {x}[|.]",
    "[S|s]pell[:| the word| the name] {x}",
    "[Please s|S|s]pell \"{x}\"[|.]",
    "[How|how] [do you|do I|would you|is it that you] spell {x}[|?]",
    "[Can|Could] you spell {x}[| for me]?",
    "[Please s|S|s]pell out {x}[|.]",
    "[Letter by letter|One letter at a time]: {x}",
    "[Write|Say] {x} letter by letter[|.]",
    "[S|s]pell [it|this][| for me]: {x}",
    "[Please spell|Spell] the word \"{x}\"[|.]",
};
static const char *const recall_words[] = {
    "[What|what] is {key}?",
    "{key}?",
    "[And |][W|w]hat was {key}?",
    "[Tell me|Give me] {key}.",
    "[Which value has|What is the value of] {key}?",
};
static const char *const nth_words[] = {
    "[What is|Give me|Say|Tell me] the {nth} [word|item|one|entry] [of|in]: {x}",
    "{x}\\n[What is|Give me|Say|Which is] the {nth} [word|item|one]?",
    "[The |]{nth}[| word| item] of {x}",
    "[Pick|Choose|Take] the {nth} [of|from]: {x}",
    "[Which|What] [item|word] [is|comes] {nth} in \"{x}\"?",
};
static const char *const after_words[] = {
    "[What|Which word|Which item] [comes|is|stands] {side} {key} in: {x}",
    "{x}\\n[What|Which one] [comes|is] {side} {key}?",
    "[Say|Give me|Tell me] what [comes|is] {side} {key}: {x}",
    "List: {x}. [Which item|What] [comes|is] {side} {key}?",
    "In \"{x}\", what is {side} {key}?",
};
static const char *const case_words[] = {
    "[In|Write in|Say in|Put in] {case}: {x}",
    "[Write|Say|Print] \"{x}\" in {case}[|.]",
    "[Please write|Write|Turn] {x} in{to} {case}[|.]",
    "[Convert|Change|Turn] [this |]to {case}: {x}",
    "{x}\\n[In|The same in|Again in] {case}[|.]",
};
static const char *const join_words[] = {
    "Join with {joint}: {x}",
    "[Write|Put|Say] {joint} between [these|the words|the items]: {x}",
    "[Separate|Join|Connect] [these words|the items|this list] with {joint}: {x}",
    "{x}\\n[Join them|Put them together|Write them] with {joint}.",
    "[With|Use] {joint} [instead of spaces|between them|as separators]: {x}",
};

/* Scratch of one round. */
struct round {
    struct text asked, answer; /* what stands for {x}, and what is right */
    uint32_t item_ends[ITEMS_MAX];
    size_t item_count;
};

static struct slice item_at(const struct round *round, size_t index, size_t separator_bytes)
{
    uint32_t begin = index ? round->item_ends[index - 1] + (uint32_t)separator_bytes : 0;
    return slice_of(round->asked.data + begin, round->item_ends[index] - begin);
}

/* Lists of one sort are as frequent as mixed ones. */
static void add_item(struct text *out, struct choice *choice, enum split split, size_t sort)
{
    switch (sort) {
    case 0:
    case 1:
        word_add_syllables(out, choice, split, 1, 4);
        break;
    case 2:
        word_add_number(out, choice);
        break;
    case 3:
        word_add_digits(out, choice, word_log_uniform(choice, 1, 16));
        break;
    case 4:
        word_add_id(out, choice, split);
        break;
    case 5:
        text_add_str(out, word_person(choice, split));
        break;
    case 6:
        text_add_str(out, word_thing(choice, split));
        break;
    case 7:
        word_add_foreign(out, choice);
        break;
    case 8:
        coin_add_word(out, choice, split);
        break;
    default:
        word_add_any(out, choice, split);
    }
}

static bool is_in_list(const struct round *round, struct slice item, size_t separator_bytes)
{
    for (size_t i = 0; i < round->item_count; i++) {
        if (slice_eq(item_at(round, i, separator_bytes), item))
            return true;
    }
    return false;
}

/* Lists seldom say a thing twice; those whose items are asked for one by one never, and each item
 * is a word. */
enum { TWICE_IN_LIST_PERCENT = 10 };

static void make_items(struct round *round, struct choice *choice, enum split split, size_t most,
                       const char *separator, bool is_list)
{
    struct text *asked = &round->asked;
    size_t sort = choice_below(choice, 16), count = word_log_uniform(choice, 1, most);
    bool may_repeat = !is_list && choice_percent(choice, TWICE_IN_LIST_PERCENT);
    round->item_count = 0;
    text_clear(asked);
    for (size_t tries = 4 * count + 50; tries > 0; tries--) {
        if (round->item_count == count || asked->len > COPY_BYTES_MAX)
            break;
        size_t end = asked->len;
        text_add_str(asked, round->item_count ? separator : "");
        size_t begin = asked->len;
        add_item(asked, choice, split, sort);
        struct slice item = slice_of(asked->data + begin, asked->len - begin);
        bool is_word = slice_find_byte(item, ' ') == SLICE_NPOS;
        if ((is_list && !is_word) || (!may_repeat && is_in_list(round, item, strlen(separator))))
            text_shrink(asked, end);
        else
            round->item_ends[round->item_count++] = (uint32_t)asked->len;
    }
    ASSERT(round->item_count > 0);
}

static void make_list(struct round *round, struct choice *choice, enum split split, size_t most)
{
    make_items(round, choice, split, most, " ", true);
}

static const char *draw_separator(struct choice *choice)
{
    static const char *const separators[] = {" ",  " ",  " ",  " ",  " ",   " ",   ", ",
                                             ", ", ", ", "; ", "\n", " - ", " / ", "\n- "};
    return CHOICE_OF(choice, separators);
}

static void say(struct sample *sample, struct choice *choice, const char *pattern,
                const struct slot *slots, size_t slot_count, struct slice answer)
{
    struct text question;
    text_init(&question, 4096);
    phrase_add(&question, choice, slice_str(pattern), slots, slot_count);
    sample_say(sample, SPEAKER_USER, text_slice(&question));
    sample_say(sample, SPEAKER_ASSISTANT, answer);
    text_fini(&question);
}
#define SAY(sample, choice, pattern, answer, ...)                                                  \
    say((sample), (choice), (pattern), (const struct slot[]){__VA_ARGS__},                         \
        sizeof((const struct slot[]){__VA_ARGS__}) / sizeof(struct slot), (answer))

static void make_repeat(struct sample *sample, struct round *round, struct choice *choice,
                        enum split split)
{
    if (choice_percent(choice, 15)) {
        text_clear(&round->asked);
        word_add_sentence(&round->asked, choice, split);
    } else {
        make_items(round, choice, split, ITEMS_MAX, draw_separator(choice), false);
    }
    struct slice x = text_slice(&round->asked);
    SAY(sample, choice, LIST_PART(choice, repeat_words, split), x, {"x", x});
}

static void make_twice(struct sample *sample, struct round *round, struct choice *choice,
                       enum split split)
{
    const char *separator = choice_percent(choice, 80) ? " " : ", ";
    make_items(round, choice, split, TWICE_ITEMS_MAX, separator, false);
    if (round->item_count == 1) /* nobody could know another one */
        separator = " ";
    struct slice x = text_slice(&round->asked);
    text_add(&round->answer, x);
    text_add_str(&round->answer, separator);
    text_add(&round->answer, x);
    SAY(sample, choice, LIST_PART(choice, twice_words, split), text_slice(&round->answer),
        {"x", x});
}

static void make_spell(struct sample *sample, struct round *round, struct choice *choice,
                       enum split split)
{
    text_clear(&round->asked);
    switch (choice_below(choice, 12)) {
    case 0:
        word_add_digits(&round->asked, choice, word_log_uniform(choice, 2, 9));
        break;
    case 1:
    case 2: /* an everyday word is not held out: its letters must be known all the same */
        if (split == SPLIT_TRAIN) {
            word_add_english(&round->asked, choice);
            break;
        }
        word_add_syllables(&round->asked, choice, split, 1, 5);
        break;
    case 3:
        text_add_str(&round->asked, word_person(choice, split));
        break;
    default:
        if (choice_percent(choice, 40))
            coin_add_word(&round->asked, choice, split);
        else
            word_add_syllables(&round->asked, choice, split, 1, 5);
        if (choice_percent(choice, 15))
            word_upper(&round->asked, 0);
        else if (choice_percent(choice, 30))
            word_capital(&round->asked, 0);
    }
    for (size_t i = 0; i < round->asked.len; i++) {
        if (i > 0)
            text_add_byte(&round->answer, ' ');
        text_add_byte(&round->answer, round->asked.data[i]);
    }
    SAY(sample, choice, LIST_PART(choice, spell_words, split), text_slice(&round->answer),
        {"x", text_slice(&round->asked)});
}

/* "bina is 7. tolu is 12." and which of them is wanted. */
static void make_recall(struct sample *sample, struct round *round, struct choice *choice,
                        enum split split)
{
    static const char *const links[] = {" is ", " is ", " = ", ": ", " -> ", "="};
    static const char *const ends[] = {". ", "\n", ", ", "; "};
    const char *link = CHOICE_OF(choice, links), *end = CHOICE_OF(choice, ends);
    make_list(round, choice, split, 10);
    struct text list;
    text_init(&list, 2048);
    size_t wanted = choice_below(choice, round->item_count);
    for (size_t i = 0; i < round->item_count; i++) {
        text_add(&list, item_at(round, i, 1));
        text_add_str(&list, link);
        size_t begin = list.len;
        word_add_any(&list, choice, split);
        if (i == wanted)
            text_add(&round->answer, slice_of(list.data + begin, list.len - begin));
        text_add_str(&list, i + 1 < round->item_count ? end : *end == '\n' ? "" : ".");
    }
    text_add_str(&list, *end == '\n' || choice_percent(choice, 20) ? "\n" : " ");
    struct text question;
    text_init(&question, 4096);
    text_add(&question, text_slice(&list));
    PHRASE(&question, choice, LIST_PART(choice, recall_words, split),
           {"key", item_at(round, wanted, 1)});
    sample_say(sample, SPEAKER_USER, text_slice(&question));
    sample_say(sample, SPEAKER_ASSISTANT, text_slice(&round->answer));
    text_fini(&question);
    text_fini(&list);
}

static void make_nth(struct sample *sample, struct round *round, struct choice *choice,
                     enum split split)
{
    static const char *const names[] = {"first", "second", "third", "fourth", "fifth"};
    make_list(round, choice, split, 6);
    size_t wanted = choice_below(choice, round->item_count < 5 ? round->item_count : 5);
    bool is_last = wanted + 1 == round->item_count && choice_percent(choice, 70);
    SAY(sample, choice, LIST_PART(choice, nth_words, split), item_at(round, wanted, 1),
        {"nth", slice_str(is_last ? "last" : names[wanted])}, {"x", text_slice(&round->asked)});
}

static void make_after(struct sample *sample, struct round *round, struct choice *choice,
                       enum split split)
{
    make_list(round, choice, split, 14);
    if (round->item_count < 2) { /* nothing is after the only one */
        make_repeat(sample, round, choice, split);
        return;
    }
    bool is_after = choice_percent(choice, 65);
    size_t at = choice_below(choice, round->item_count - 1);
    struct slice first = item_at(round, at, 1), second = item_at(round, at + 1, 1);
    SAY(sample, choice, LIST_PART(choice, after_words, split), is_after ? second : first,
        {"side", slice_str(is_after ? "after" : "before")}, {"key", is_after ? first : second},
        {"x", text_slice(&round->asked)});
}

static void make_case(struct sample *sample, struct round *round, struct choice *choice,
                      enum split split)
{
    static const char *const upper[] = {"upper case", "capitals", "capital letters", "uppercase"};
    static const char *const lower[] = {"lower case", "small letters", "lowercase"};
    bool is_upper = choice_percent(choice, 70);
    text_clear(&round->asked);
    size_t words = word_log_uniform(choice, 1, 10);
    for (size_t i = 0; i < words; i++) { /* the letters of ASCII: others have their own rules */
        text_add_str(&round->asked, i ? " " : "");
        if (choice_percent(choice, 60))
            word_add_english(&round->asked, choice);
        else
            word_add_syllables(&round->asked, choice, split, 1, 4);
    }
    if (choice_percent(choice, 60))
        word_capital(&round->asked, 0);
    text_add(&round->answer, text_slice(&round->asked));
    if (is_upper)
        word_upper(&round->answer, 0);
    else
        word_lower(&round->answer, 0);
    SAY(sample, choice, LIST_PART(choice, case_words, split), text_slice(&round->answer),
        {"case", slice_str(is_upper ? CHOICE_OF(choice, upper) : CHOICE_OF(choice, lower))},
        {"to", slice_str(choice_percent(choice, 30) ? "to" : "")},
        {"x", text_slice(&round->asked)});
}

static void make_join(struct sample *sample, struct round *round, struct choice *choice,
                      enum split split)
{
    static const struct {
        const char *name, *bytes;
    } joints[] = {{"dashes", "-"},     {"a dash", "-"}, {"commas", ", "},      {"underscores", "_"},
                  {"slashes", "/"},    {"dots", "."},   {"plus signs", " + "}, {"and", " and "},
                  {"new lines", "\n"}, {"colons", ":"}};
    size_t joint = choice_below(choice, ARRAY_COUNT(joints));
    make_items(round, choice, split, 8, " ", true);
    for (size_t i = 0; i < round->item_count; i++) {
        text_add_str(&round->answer, i ? joints[joint].bytes : "");
        text_add(&round->answer, item_at(round, i, 1));
    }
    SAY(sample, choice, LIST_PART(choice, join_words, split), text_slice(&round->answer),
        {"joint", slice_str(joints[joint].name)}, {"x", text_slice(&round->asked)});
}

static void (*const makers[KIND_COUNT])(struct sample *, struct round *, struct choice *,
                                        enum split) = {
    [KIND_REPEAT] = make_repeat, [KIND_TWICE] = make_twice, [KIND_SPELL] = make_spell,
    [KIND_RECALL] = make_recall, [KIND_NTH] = make_nth,     [KIND_AFTER] = make_after,
    [KIND_CASE] = make_case,     [KIND_JOIN] = make_join,
};

static enum kind draw_kind(struct choice *choice, enum split split)
{
    const uint8_t *shares = split == SPLIT_TRAIN ? train_shares : test_shares;
    size_t drawn = choice_below(choice, 100), kind = 0;
    while (drawn >= shares[kind])
        drawn -= shares[kind++];
    return (enum kind)kind;
}

/* Some conversations have several rounds: each is one more thing to look back past. */
static void make(struct sample *sample, struct choice *choice, enum split split)
{
    opening_add(sample, choice, split, 25);
    struct round round = {0};
    text_init(&round.asked, 2048);
    text_init(&round.answer, 2048);
    unsigned several = split == SPLIT_TRAIN ? 50 : 30;
    size_t rounds = choice_percent(choice, several) ? word_log_uniform(choice, 2, 8) : 1;
    do {
        text_clear(&round.answer);
        sample->kind = draw_kind(choice, split);
        makers[sample->kind](sample, &round, choice, split);
        ASSERT(!round.asked.overflowed && !round.answer.overflowed);
    } while (--rounds > 0 && sample->bytes.len < ROUND_BYTES_MAX);
    text_fini(&round.asked);
    text_fini(&round.answer);
}

static void judge(const struct sample *sample, struct slice answer, struct score *score)
{
    score_count(score, GATE_COPYING, slice_eq(answer, sample_answer(sample)));
}

const struct family family_copying = {"copying", 22, make, judge};
