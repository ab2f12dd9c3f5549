/* chat_notes - see chat_notes.h. Held out: names, made-up words, every fifth wording of a question.
 */
#include "nano/chat_notes.h"

#include "nano/phrase.h"
#include "nano/words.h"

enum value_kind {
    A_CITY,
    A_NUMBER,
    A_NAME,
    A_JOB,
    A_THING,
    A_HOUR,
    A_WORD,
    A_COLOR,
    A_FOOD,
    A_PLACE
};
enum subject_kind { A_PERSON, AN_ITEM, A_MADE_UP, MYSELF };

struct sort {
    enum subject_kind subject;
    enum value_kind value;
    const char *told, *answer;
    const char *asked[5]; /* the last is the test's; {s}: of whom, {v}: what */
};

static const struct sort others[] = {
    {A_PERSON,
     A_CITY,
     "{s} [lives|is living] in {v}",
     "{s} lives in {v}.",
     {"where does {s} live", "in which city does {s} live", "tell me where {s} lives",
      "which city does {s} live in", "where is {s} living"}},
    {A_PERSON,
     A_NUMBER,
     "{s} is {v} years old",
     "{s} is {v} years old.",
     {"how old is {s}", "what is the age of {s}", "tell me how old {s} is", "what is {s}'s age",
      "how many years old is {s}"}},
    {A_PERSON,
     A_NAME,
     "{s}'s [|little |old ]dog is called {v}",
     "{s}'s dog is called {v}.",
     {"what is {s}'s dog called", "what is the name of {s}'s dog", "how is {s}'s dog called",
      "tell me the name of {s}'s dog", "which name has {s}'s dog"}},
    {A_PERSON,
     A_JOB,
     "{s} works as a {v}",
     "{s} works as a {v}.",
     {"what does {s} work as", "what is {s}'s job", "what is the job of {s}",
      "which job does {s} have", "what kind of job has {s}"}},
    {A_PERSON,
     A_FOOD,
     "{s} [likes|loves] {v}",
     "{s} likes {v}.",
     {"what does {s} like", "what food does {s} like", "tell me what {s} likes",
      "what is it that {s} likes", "which food does {s} like"}},
    {A_PERSON,
     A_THING,
     "{s} has a {v}",
     "{s} has a {v}.",
     {"what does {s} have", "what has {s} got", "tell me what {s} has", "which thing does {s} have",
      "what is it that {s} has"}},
    {AN_ITEM,
     A_PLACE,
     "the {s} is in the {v}",
     "The {s} is in the {v}.",
     {"where is the {s}", "where can I find the {s}", "in which place is the {s}",
      "tell me where the {s} is", "where did they put the {s}"}},
    {AN_ITEM,
     A_COLOR,
     "the {s} is {v}",
     "The {s} is {v}.",
     {"what color is the {s}", "which color has the {s}", "what is the color of the {s}",
      "tell me the color of the {s}", "which color is the {s}"}},
    {AN_ITEM,
     A_NUMBER,
     "the {s} costs {v} euros",
     "The {s} costs {v} euros.",
     {"how much is the {s}", "what does the {s} cost", "what is the price of the {s}",
      "how much does the {s} cost", "how many euros is the {s}"}},
    {AN_ITEM,
     A_NAME,
     "the {s} belongs to {v}",
     "The {s} belongs to {v}.",
     {"whose {s} is it", "who owns the {s}", "to whom does the {s} belong", "who has the {s}",
      "who is the owner of the {s}"}},
    {A_MADE_UP,
     A_NUMBER,
     "the code [for|of] {s} is {v}",
     "The code for {s} is {v}.",
     {"what is the code for {s}", "which code has {s}", "tell me the code of {s}",
      "what's the code of {s}", "which is the code for {s}"}},
    {A_MADE_UP,
     A_HOUR,
     "the {s} shop opens at {v}",
     "The {s} shop opens at {v}.",
     {"when does the {s} shop open", "at what time does the {s} shop open",
      "what time does the {s} shop open", "tell me when the {s} shop opens",
      "from what time is the {s} shop open"}},
    {A_MADE_UP,
     A_NUMBER,
     "the server {s} runs on port {v}",
     "The server {s} runs on port {v}.",
     {"on which port does {s} run", "which port does the server {s} use", "what is the port of {s}",
      "what port does {s} run on", "which port has the server {s}"}},
    {A_MADE_UP,
     A_NAME,
     "the team {s} is led by {v}",
     "The team {s} is led by {v}.",
     {"who leads the team {s}", "who is the leader of {s}", "by whom is {s} led", "who leads {s}",
      "who is it that leads the team {s}"}},
};
static const struct sort own[] = {
    {MYSELF,
     A_NAME,
     "[my name is|I am|I'm called|my name's|call me] {v}",
     "Your name is {v}.",
     {"what is my name", "do you [know|remember] my name", "what's my name", "who am I",
      "how am I called"}},
    {MYSELF,
     A_CITY,
     "I [live in|am from|come from] {v}",
     "You live in {v}.",
     {"where do I live", "in which city do I live", "do you remember where I live",
      "which city do I live in", "tell me where I live"}},
    {MYSELF,
     A_NUMBER,
     "[I am|I'm] {v} years old",
     "You are {v} years old.",
     {"how old am I", "what is my age", "do you know how old I am", "what's my age",
      "tell me how old I am"}},
    {MYSELF,
     A_COLOR,
     "my favorite color is {v}",
     "Your favorite color is {v}.",
     {"what is my favorite color", "which color do I like", "which color is my favorite",
      "what color do I like most", "what's my favorite color"}},
    {MYSELF,
     A_NAME,
     "my [cat|dog] is called {v}",
     "It is called {v}.",
     {"what is my pet called", "what is the name of my pet", "how is my pet called",
      "do you remember my pet's name", "what's the name of my pet"}},
    {MYSELF,
     A_FOOD,
     "I [like|love] {v}",
     "You like {v}.",
     {"what do I like", "what food do I like", "do you remember what I like", "tell me what I like",
      "which food do I like"}},
    {MYSELF,
     A_JOB,
     "I [work as|am] a {v}",
     "You work as a {v}.",
     {"what is my job", "what do I work as", "what's my job", "do you remember my job",
      "which job do I have"}},
    {MYSELF,
     A_WORD,
     "my password is {v}",
     "Your password is {v}.",
     {"what is my password", "tell me my password", "what was my password",
      "I forgot my password, what is it", "what's my password"}},
    {MYSELF,
     A_NUMBER,
     "my lucky number is {v}",
     "Your lucky number is {v}.",
     {"what is my lucky number", "which number is my lucky number", "what's my lucky number",
      "do you remember my lucky number", "tell me my lucky number"}},
};

static void add_value(struct text *out, enum value_kind kind, struct choice *choice,
                      enum split split)
{
    static const char *const jobs[] = {"doctor", "teacher", "pilot",    "baker",   "painter",
                                       "nurse",  "driver",  "farmer",   "lawyer",  "cook",
                                       "singer", "writer",  "gardener", "plumber", "judge"};
    static const char *const colors[] = {"red",   "blue",   "green", "yellow", "white",
                                         "black", "purple", "pink",  "brown",  "orange"};
    static const char *const foods[] = {"pizza",  "rice",  "soup",   "apples", "bread",
                                        "cheese", "cake",  "pasta",  "plums",  "fish",
                                        "salad",  "honey", "grapes", "beans",  "cherries"};
    static const char *const places[] = {"kitchen", "garden", "garage",  "cellar",  "office",
                                         "attic",   "hall",   "bedroom", "library", "car"};
    switch (kind) {
    case A_CITY:
        text_add_str(out, word_city(choice, split));
        break;
    case A_NUMBER:
        word_add_digits(out, choice, (size_t)choice_between(choice, 2, 5));
        break;
    case A_NAME:
        if (choice_percent(choice, 60)) {
            text_add_str(out, word_person(choice, split));
        } else {
            size_t begin = out->len;
            word_add_syllables(out, choice, split, 2, 3);
            word_capital(out, begin);
        }
        break;
    case A_JOB:
        text_add_str(out, LIST_PART(choice, jobs, split));
        break;
    case A_THING:
        text_add_str(out, word_thing(choice, split));
        break;
    case A_HOUR:
        text_add_f(out, "%d:%02d", (int)choice_between(choice, 5, 12),
                   (int)choice_below(choice, 4) * 15);
        break;
    case A_WORD:
        word_add_syllables(out, choice, split, 2, 4);
        break;
    case A_COLOR:
        text_add_str(out, LIST_PART(choice, colors, split));
        break;
    case A_FOOD:
        text_add_str(out, LIST_PART(choice, foods, split));
        break;
    default:
        text_add_str(out, LIST_PART(choice, places, split));
    }
}

static void add_subject(struct text *out, enum subject_kind kind, struct choice *choice,
                        enum split split)
{
    switch (kind) {
    case A_PERSON:
        text_add_str(out, word_person(choice, split));
        break;
    case AN_ITEM:
        text_add_str(out, word_thing(choice, split));
        break;
    case A_MADE_UP:
        word_add_syllables(out, choice, split, 2, 3);
        break;
    default:
        text_add_str(out, "I");
    }
}

static void keep(char *out, const struct text *text)
{
    ASSERT(!text->overflowed && text->len < NOTE_TEXT_MAX);
    memcpy(out, text->data, text->len);
    out[text->len] = '\0';
}

static void fill(char *out, struct choice *choice, const char *pattern, const char *subject,
                 const char *value)
{
    struct text text;
    text_init(&text, NOTE_TEXT_MAX);
    PHRASE(&text, choice, pattern, {"s", slice_str(subject)}, {"v", slice_str(value)});
    keep(out, &text);
    text_fini(&text);
}

static void make_of(struct note *out, const struct sort *sort, struct choice *choice,
                    enum split split)
{
    struct text text;
    text_init(&text, NOTE_TEXT_MAX);
    add_subject(&text, sort->subject, choice, split);
    keep(out->subject, &text);
    text_clear(&text);
    add_value(&text, sort->value, choice, split);
    keep(out->value, &text);
    text_fini(&text);
    fill(out->told, choice, sort->told, out->subject, out->value);
    fill(out->answer, choice, sort->answer, out->subject, out->value);
    fill(out->asked, choice, LIST_PART(choice, sort->asked, split), out->subject, out->value);
}

void note_make(struct note *out, struct choice *choice, enum split split)
{
    out->subject_kind = choice_below(choice, ARRAY_COUNT(others));
    make_of(out, &others[out->subject_kind], choice, split);
}

void note_make_own(struct note *out, struct choice *choice, enum split split)
{
    size_t kind = choice_below(choice, ARRAY_COUNT(own));
    out->subject_kind = ARRAY_COUNT(others) + kind;
    make_of(out, &own[kind], choice, split);
}

bool note_contradicts(const struct note *a, const struct note *b)
{
    return a->subject_kind == b->subject_kind && strcmp(a->subject, b->subject) == 0;
}
