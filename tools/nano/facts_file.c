/* facts_file - a line at a time; every complaint has its line. */
#include "nano/facts_file.h"

#include "base/mem.h"
#include "nano/phrase.h"

/* In each list every fifth is the test's. {it} is what millrace is called there. */
static const char *const asks[] = {"{x}", "{x}", "{x}", "{x}", "{x}"};
static const char *const dos[] = {
    "how do I {x}",
    "how can I {x}",
    "how to {x}",
    "I want to {x}",
    "what do I [do|have to do|need to do] to {x}",
    "[show|tell] me how to {x}",
    "how [do you|would I|would you|does one|should I|can one] {x}",
    "is there a way to {x}",
    "[can I|could I|may I] {x}",
    "[can you explain|do you know|I need to know] how to {x}",
    "[what is|what's] the [|best |right |easiest ]way to {x}",
    "I['d like to| need to| would like to| must| have to| am trying to| wish to] {x}",
    "[explain|describe|say] how [to|I can|one can] {x}",
    "[please |]help me [|to ]{x}",
    "is it possible to {x}",
    "[in |with ]{it}, how do I {x}",
    "{x}",
    "{x}: how",
    "[what|which steps] [must|should|shall] I [do|take] to {x}",
    "how do I {x} [with|in] {it}",
    "how do we {x}",
    "[what's|what is] needed to {x}",
    "how [could|might] [I|someone|we|a client|a user] {x}",
    "[any|is there any] way to {x}",
    "[can you|could you] tell me how [I can|to] {x}",
    "[which|what] command [lets me|do I need to] {x}",
    "[which|what] [setting|option|key] [lets me|do I need to] {x}",
    "where [do|can] I {x}",
    "I [cannot|can not|could not] {x}",
    "I [don't know|do not know] how to {x}",
    "[what|which thing] [lets me|do I use to] {x}",
    "[which|what] [endpoint|call|path|URL] do I [use|need] to {x}",
    "what must I type to {x}",
    "when [do|can|should] I {x}",
    "who can {x}",
    "question: how is it done to {x}",
    "my [boss|team|friend] wants to {x}",
    "how [easy|hard] is it to {x}",
    "why should I {x}",
    "{x}, [how does that work|how is that done|what now]",
};
static const char *const values[] = {
    "what is {x}",
    "what's {x}",
    "tell me {x}",
    "{x}",
    "can you tell me {x}",
    "[give|show] me {x}",
    "do you know {x}",
    "I [need|want|would like|'d like] to know {x}",
    "[what about|how about] {x}",
    "[could you say|do you remember] what {x} is",
    "[say|name|state] {x}",
    "in {it}, what is {x}",
    "I am looking for {x}",
    "what would be {x}",
    "[please |]remind me: what is {x}",
    "what is {x} [in|of|for] {it}",
    "[may I ask|I wonder|I forgot] what {x} is",
    "and {x}",
    "which is {x}",
    "[I need|I want|looking for] {x}",
    "where [is|do I find|can I see] {x}",
    "[which|what] [setting|option|key] is {x}",
    "what is the [meaning|value] of {x}",
    "[can I|how can I|how do I] [see|find|get|know] {x}",
    "I have a question about {x}",
    "{x}, what is it",
    "what can you tell me about {x}",
    "my [boss|team|friend] asks for {x}",
    "is there {x}",
    "how is {x} [called|set|chosen]",
};
static const char *const topics[] = {
    "what is {x}",
    "what's {x}",
    "explain {x}",
    "tell me about {x}",
    "[can you|could you] explain {x}",
    "{x}",
    "what are {x}",
    "describe {x}",
    "[define|definition of] {x}",
    "what do you know about {x}",
    "what does {x} mean",
    "what exactly [is|are] {x}",
    "[I don't understand|I do not know] {x}",
    "[say something|talk|tell me more|tell me something] about {x}",
    "help me understand {x}",
    "what does {it} mean by {x}",
    "[what is meant by|meaning of|what's the meaning of] {x}",
    "[in one sentence|in simple words|in short], what is {x}",
    "how does {it} handle {x}",
    "[give|write] me [a|one] [short |]explanation of {x}",
    "how do {x} work",
    "how does {x} work",
    "[what is the deal with|what about|how about] {x}",
    "[I want|I'd like|I would like] to [know|learn|hear] about {x}",
    "[teach me|inform me] about {x}",
    "what is the [meaning|point|use|purpose|reason] of {x}",
    "[why|when] {x}",
    "why is there {x}",
    "{x}, what is [that|it]",
    "[I have|here is] a question about {x}",
    "what can you tell me about {x}",
    "how is {x} done",
    "what [happens|is] with {x}",
    "where do I [see|find|get] {x}",
    "[information|help|documentation] [on|about|for] {x}",
    "what should I know about {x}",
    "[my client|I|somebody] [gets|sees|needs|has|get|see|need|have] {x}[|, why|, what now]",
    "why do I [get|see|need] {x}",
    "when [do|would] I [get|see|need] {x}",
    "what is the reason for {x}",
    "[is there|are there] {x} [here|in {it}]",
    "does {it} have {x}",
    "who needs {x}",
    "what [do|does] {x} do",
    "what is {x} [good |]for",
};
static const char *const cans[] = {
    "can {it} {x}",
    "does {it} {x}",
    "can you {x}",
    "is {it} able to {x}",
    "is it possible for {it} to {x}",
    "will {it} {x}",
    "do you know [if|whether] {it} can {x}",
    "could {it} {x}",
    "[tell me|I wonder] [if|whether] {it} can {x}",
    "[I want to know|say] [if|whether] {it} can {x}",
    "may {it} {x}",
    "is there a way for {it} to {x}",
    "{it} can {x}, right",
    "[am I right|is it true|is it so] that {it} can {x}",
    "would {it} be able to {x}",
    "why can {it} {x}",
    "how can {it} {x}",
    "{x}: can {it} do that",
    "[my boss|my team|a friend] asks [if|whether] {it} can {x}",
    "when can {it} {x}",
};
static const char *const zh_asks[] = {"{x}", "{x}", "{x}", "{x}", "{x}"};
static const char *const zh_dos[] = {
    "怎么{x}",       "如何{x}",         "怎样{x}",       "我想{x}",
    "请问如何{x}",   "我要怎么{x}",     "怎么才能{x}",   "请告诉我怎么{x}",
    "要{x}该怎么做", "请问怎么{x}",     "{x}怎么做",     "有办法{x}吗",
    "可以{x}吗",     "{x}的方法是什么", "告诉我如何{x}", "我应该怎么{x}",
    "请教我{x}",     "想要{x}，怎么办", "{x}",           "我需要{x}，怎么办",
};
static const char *const zh_topics[] = {
    "什么是{x}",   "{x}是什么",     "请解释{x}",     "告诉我{x}",   "请问什么是{x}",
    "请介绍{x}",   "{x}",           "请问{x}是什么", "解释一下{x}", "请说明{x}",
    "介绍一下{x}", "{x}是什么意思", "说说{x}",       "我想知道{x}", "{x}指的是什么",
    "请告诉我{x}", "你知道{x}吗",   "{x}是啥",       "能解释{x}吗", "我想了解{x}",
};

#define TEMPLATES(list) ((struct fact_templates){(list), ARRAY_COUNT(list)})

struct fact_templates fact_templates(enum fact_form form)
{
    switch (form) {
    case FACT_DO:
        return TEMPLATES(dos);
    case FACT_VALUE:
        return TEMPLATES(values);
    case FACT_TOPIC:
        return TEMPLATES(topics);
    case FACT_CAN:
        return TEMPLATES(cans);
    case FACT_ZH_ASK:
        return TEMPLATES(zh_asks);
    case FACT_ZH_DO:
        return TEMPLATES(zh_dos);
    case FACT_ZH_TOPIC:
        return TEMPLATES(zh_topics);
    default:
        return TEMPLATES(asks);
    }
}

/* -- reading ---------------------------------------------------------------- */

static const char *const no_slots[] = {"it", NULL};
static const struct {
    const char *word;
    bool is_chinese;
} forms[FACT_FORM_COUNT] = {
#define X(name, word) [FACT_##name] = {word, FACT_##name >= FACT_ZH_ASK},
    FACT_FORMS(X)
#undef X
};

struct reader {
    struct facts *facts;
    struct fact *fact; /* the one that is open, or NULL */
    unsigned line, fact_line;
    struct err_note *note;
};

#define COMPLAIN(reader, format, ...)                                                              \
    err_note_fail((reader)->note, ERR_PROTOCOL, "line %u: " format, (reader)->line, __VA_ARGS__)

static bool takes_case(char a, char b)
{
    return (a >= 'A' && a <= 'Z' ? a + ('a' - 'A') : a) ==
           (b >= 'A' && b <= 'Z' ? b + ('a' - 'A') : b);
}

static bool contains_ci(struct slice text, struct slice needle)
{
    for (size_t at = 0; at + needle.len <= text.len; at++) {
        size_t same = 0;
        while (same < needle.len && takes_case(text.data[at + same], needle.data[same]))
            same++;
        if (same == needle.len)
            return true;
    }
    return false;
}

static bool need_is_met(struct slice need, struct slice answer)
{
    bool more;
    do {
        struct slice one;
        more = slice_cut(need, '|', &one, &need);
        if (contains_ci(answer, one))
            return true;
    } while (more);
    return false;
}

bool fact_is_told(const struct fact *fact, struct slice answer)
{
    for (size_t i = 0; i < fact->need_count; i++) {
        if (!need_is_met(fact->needs[i], answer))
            return false;
    }
    return true;
}

/* How many questions the wordings of the open fact make, {it} and politeness aside. */
static size_t count_questions(const struct fact *fact)
{
    size_t sum = 0;
    for (size_t i = 0; i < fact->wording_count && sum < FACT_WORDINGS_LEAST; i++) {
        enum fact_form form = fact->wordings[i].form;
        size_t ways = phrase_count(fact->wordings[i].pattern);
        bool is_whole = form == FACT_ASK || form == FACT_ZH_ASK;
        sum += is_whole ? ways : ways * (fact_templates(form).count / 5 * 4);
    }
    return sum;
}

static enum err end_fact(struct reader *reader)
{
    const struct fact *fact = reader->fact;
    if (!fact)
        return ERR_OK;
    struct slice name = fact->name;
    if (fact->say_count == 0 || fact->need_count == 0 || fact->test_count == 0)
        return COMPLAIN(reader, "the fact " SLICE_FMT " of line %u has no '%s'", SLICE_ARG(name),
                        reader->fact_line,
                        fact->say_count == 0    ? "say"
                        : fact->need_count == 0 ? "need"
                                                : "test");
    size_t questions = count_questions(fact);
    if (questions < FACT_WORDINGS_LEAST)
        return COMPLAIN(reader,
                        "the fact " SLICE_FMT " of line %u can be asked in %zu ways; at least %d "
                        "are needed",
                        SLICE_ARG(name), reader->fact_line, questions, FACT_WORDINGS_LEAST);
    for (size_t i = 0; i < fact->say_count; i++) {
        if (!fact_is_told(fact, fact->says[i]))
            return COMPLAIN(reader,
                            "an answer of the fact " SLICE_FMT " of line %u does not hold what it "
                            "needs: " SLICE_FMT,
                            SLICE_ARG(name), reader->fact_line, SLICE_ARG(fact->says[i]));
    }
    return ERR_OK;
}

static enum err begin_fact(struct reader *reader, struct slice name, bool is_often)
{
    TRY(end_fact(reader));
    if (reader->facts->count == FACT_COUNT_MAX)
        return COMPLAIN(reader, "more than %d facts", FACT_COUNT_MAX);
    for (size_t i = 0; i < reader->facts->count; i++) {
        if (slice_eq(reader->facts->facts[i].name, name))
            return COMPLAIN(reader, "a second fact " SLICE_FMT, SLICE_ARG(name));
    }
    reader->fact = &reader->facts->facts[reader->facts->count++];
    *reader->fact = (struct fact){.name = name, .is_often = is_often};
    reader->fact_line = reader->line;
    return ERR_OK;
}

static enum err add(struct reader *reader, struct slice *list, size_t *count, size_t max,
                    const char *what, struct slice value)
{
    if (*count == max)
        return COMPLAIN(reader, "more than %zu of '%s'", max, what);
    list[(*count)++] = value;
    return ERR_OK;
}

static enum err check_pattern(struct reader *reader, struct slice pattern)
{
    struct err_note why;
    if (phrase_check(pattern, no_slots, &why) != ERR_OK)
        return COMPLAIN(reader, "%s: " SLICE_FMT, why.text, SLICE_ARG(pattern));
    return ERR_OK;
}

static enum err add_wording(struct reader *reader, enum fact_form form, struct slice pattern)
{
    struct fact *fact = reader->fact;
    TRY(check_pattern(reader, pattern));
    if (fact->wording_count == FACT_WORDINGS_MAX)
        return COMPLAIN(reader, "more than %d wordings", FACT_WORDINGS_MAX);
    if (fact->wording_count > 0 && fact->is_chinese != forms[form].is_chinese)
        return COMPLAIN(reader, "the fact " SLICE_FMT " is asked in two languages",
                        SLICE_ARG(fact->name));
    fact->is_chinese = forms[form].is_chinese;
    fact->wordings[fact->wording_count++] = (struct fact_wording){form, pattern};
    return ERR_OK;
}

/* One value of a line: `word` is what the line begins with. */
static enum err read_value(struct reader *reader, struct slice word, struct slice value)
{
    struct fact *fact = reader->fact;
    if (slice_eq_str(word, "test")) {
        TRY(check_pattern(reader, value));
        return add(reader, fact->tests, &fact->test_count, FACT_TESTS_MAX, "test", value);
    }
    if (slice_eq_str(word, "need"))
        return add(reader, fact->needs, &fact->need_count, FACT_NEEDS_MAX, "need", value);
    for (size_t form = 0; form < FACT_FORM_COUNT; form++) {
        if (slice_eq_str(word, forms[form].word))
            return add_wording(reader, (enum fact_form)form, value);
    }
    return COMPLAIN(reader, "'" SLICE_FMT "' is no word that a line begins with", SLICE_ARG(word));
}

static enum err read_line(struct reader *reader, struct slice line)
{
    line = slice_trim(line);
    if (line.len == 0 || line.data[0] == '#')
        return ERR_OK;
    struct slice word, rest;
    slice_cut(line, ' ', &word, &rest);
    rest = slice_trim(rest);
    if (rest.len == 0)
        return COMPLAIN(reader, "nothing behind '" SLICE_FMT "'", SLICE_ARG(word));
    if (slice_eq_str(word, "fact"))
        return begin_fact(reader, rest, false);
    if (slice_eq_str(word, "fact!"))
        return begin_fact(reader, rest, true);
    if (!reader->fact)
        return COMPLAIN(reader, "'" SLICE_FMT "' before the first fact", SLICE_ARG(word));
    if (slice_eq_str(word, "say")) /* a whole line: answers may hold what cuts others */
        return add(reader, reader->fact->says, &reader->fact->say_count, FACT_SAYS_MAX, "say",
                   rest);
    while (rest.len > 0) {
        size_t cut = slice_find(rest, SLICE(" ; "));
        TRY(read_value(reader, word, slice_trim(slice_first(rest, cut))));
        rest = cut == SLICE_NPOS ? (struct slice){0} : slice_after(rest, cut + 3);
    }
    return ERR_OK;
}

enum err facts_read(struct slice text, struct facts **out_facts, struct err_note *out_note)
{
    struct facts *facts = mem_alloc(sizeof(*facts));
    facts->facts = mem_array(FACT_COUNT_MAX, sizeof(*facts->facts));
    struct reader reader = {.facts = facts, .note = out_note};
    enum err err = ERR_OK;
    while (err == ERR_OK && text.len > 0) {
        struct slice line;
        slice_cut(text, '\n', &line, &text);
        reader.line++;
        err = read_line(&reader, line);
    }
    if (err == ERR_OK)
        err = end_fact(&reader);
    if (err == ERR_OK && facts->count == 0)
        err = COMPLAIN(&reader, "no fact in %zu bytes", text.len);
    if (err != ERR_OK) {
        facts_free(facts);
        return err;
    }
    *out_facts = facts;
    return ERR_OK;
}

void facts_free(struct facts *facts)
{
    if (!facts)
        return;
    mem_free(facts->facts);
    mem_free(facts);
}
