/* facts - questions about millrace and what is so (facts.txt).
 *
 * Held out: the lines `test`, and every fifth template of the forms (facts_file.c). */
#include "nano/facts.h"

#include "nano/opening.h"
#include "nano/phrase.h"

#include <pthread.h>

enum { OFTEN_PERCENT = 12 }; /* of training's questions: what everybody asks (facts.txt) */

static const char facts_text[] =
#include "facts_text.inc" /* facts.txt as string literals (meson.build) */
    ;

static struct facts *facts_read_once;

static void read_facts(void)
{
    struct err_note note;
    ASSERT_MSG(facts_read(SLICE(facts_text), &facts_read_once, &note) == ERR_OK, "facts.txt, %s",
               note.text);
}

const struct facts *facts_of_millrace(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, read_facts);
    return facts_read_once;
}

static const char *draw_name(struct choice *choice)
{
    static const char *const names[] = {"it",          "millrace", "millrace",    "the server",
                                        "this server", "Millrace", "your server", "the service"};
    return CHOICE_OF(choice, names);
}

static void add_question(struct text *out, struct choice *choice, const struct fact *fact,
                         enum split split)
{
    struct slot it = {"it", slice_str(draw_name(choice))};
    /* Half of the test are questions that people wrote for it, half are templates. */
    if (split == SPLIT_TEST && choice_percent(choice, 50)) {
        phrase_add(out, choice, fact->tests[choice_below(choice, fact->test_count)], &it, 1);
        return;
    }
    size_t nth = choice_below(choice, fact->wording_count);
    enum fact_form form = fact->wordings[nth].form;
    if (split == SPLIT_TEST && (form == FACT_ASK || form == FACT_ZH_ASK)) {
        phrase_add(out, choice, fact->tests[choice_below(choice, fact->test_count)], &it, 1);
        return;
    }
    struct text wording;
    text_init(&wording, 1024);
    phrase_add(&wording, choice, fact->wordings[nth].pattern, &it, 1);
    struct fact_templates list = fact_templates(form);
    const char *template = list.patterns[list_part(choice, list.count, split)];
    PHRASE(out, choice, template, it, {"x", slice_trim(text_slice(&wording))});
    text_fini(&wording);
}

static bool is_small_word(struct slice word)
{
    static const char *const words[] = {
        "a",    "an",  "the",   "is",    "are",    "was",   "be",    "do",      "does",   "did",
        "i",    "me",  "my",    "you",   "your",   "it",    "its",   "we",      "to",     "of",
        "in",   "on",  "for",   "with",  "at",     "by",    "from",  "and",     "that",   "this",
        "what", "how", "which", "where", "why",    "who",   "can",   "could",   "would",  "should",
        "will", "may", "must",  "tell",  "please", "about", "there", "there's", "what's", "have",
        "has",  "get", "want",  "know",  "give",   "so",    "if",    "when",    "need",   "explain",
    };
    for (size_t i = 0; i < ARRAY_COUNT(words); i++) {
        if (slice_eq_ci(word, slice_str(words[i])))
            return true;
    }
    return false;
}

/* The question as people type it into a search: without most of its small words, now and then in
 * another order. What is left must be what the model goes by. */
static void add_telegram(struct text *out, struct choice *choice, struct slice question)
{
    enum { WORDS_MAX = 64 };
    struct slice words[WORDS_MAX];
    size_t count = 0;
    for (struct slice rest = question, word; rest.len > 0 && count < WORDS_MAX;) {
        slice_cut(rest, ' ', &word, &rest);
        if (word.len > 0 && (!is_small_word(word) || choice_percent(choice, 25)))
            words[count++] = word;
    }
    if (choice_percent(choice, 35)) {
        for (size_t i = count; i > 1; i--) {
            size_t other = choice_below(choice, i);
            struct slice word = words[i - 1];
            words[i - 1] = words[other];
            words[other] = word;
        }
    }
    if (count == 0)
        text_add(out, question);
    for (size_t i = 0; i < count; i++) {
        text_add_str(out, i ? " " : "");
        text_add(out, words[i]);
    }
}

static void add_chinese(struct text *out, struct choice *choice, struct slice question)
{
    static const char *const before[] = {"", "", "", "", "你好，", "请问，", "您好，"};
    static const char *const behind[] = {"？", "？", "?", "", "", "。", "？"};
    text_add_str(out, CHOICE_OF(choice, before));
    text_add(out, question);
    text_add_str(out, CHOICE_OF(choice, behind));
}

static void add_english(struct text *out, struct choice *choice, struct slice question,
                        enum split split)
{
    if (split == SPLIT_TEST || choice_percent(choice, 75)) {
        opening_ask(out, choice, question, '?', split == SPLIT_TRAIN ? 12 : 4);
        return;
    }
    struct text telegram;
    text_init(&telegram, 2048);
    add_telegram(&telegram, choice, question);
    opening_ask(out, choice, text_slice(&telegram), '?', 8);
    text_fini(&telegram);
}

static unsigned draw_fact(const struct facts *facts, struct choice *choice, enum split split)
{
    unsigned drawn;
    bool is_often = split == SPLIT_TRAIN && choice_percent(choice, OFTEN_PERCENT);
    do {
        drawn = (unsigned)choice_below(choice, facts->count);
    } while (is_often && !facts->facts[drawn].is_often);
    return drawn;
}

static void make_round(struct sample *sample, struct choice *choice, enum split split)
{
    const struct facts *facts = facts_of_millrace();
    sample->kind = draw_fact(facts, choice, split);
    const struct fact *fact = &facts->facts[sample->kind];
    struct text question, asked;
    text_init(&question, 2048);
    text_init(&asked, 4096);
    add_question(&question, choice, fact, split);
    if (fact->is_chinese)
        add_chinese(&asked, choice, text_slice(&question));
    else
        add_english(&asked, choice, slice_trim(text_slice(&question)), split);
    sample_say(sample, SPEAKER_USER, text_slice(&asked));
    /* The first wording is the usual one: a model that says the likeliest needs one. */
    size_t say = choice_percent(choice, 75) ? 0 : choice_below(choice, fact->say_count);
    sample_say(sample, SPEAKER_ASSISTANT, fact->says[say]);
    text_fini(&asked);
    text_fini(&question);
}

static void make(struct sample *sample, struct choice *choice, enum split split)
{
    opening_add(sample, choice, split, 35);
    /* Training is dense: a question costs few tokens, and there are many to learn. */
    bool is_train = split == SPLIT_TRAIN;
    unsigned several = is_train ? 70 : 35;
    int64_t most = is_train ? 8 : 6;
    size_t rounds = choice_percent(choice, several) ? (size_t)choice_between(choice, 2, most) : 1;
    for (size_t i = 0; i < rounds; i++)
        make_round(sample, choice, split);
}

static void judge(const struct sample *sample, struct slice answer, struct score *score)
{
    score_count(score, GATE_FACTS, fact_is_told(&facts_of_millrace()->facts[sample->kind], answer));
}

const struct family family_facts = {"facts", 15, make, judge};
