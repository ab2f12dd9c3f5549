/* facts_file - reads facts.txt (its format stands at its top). Pure; what is read borrows the text.
 */
#pragma once

#include "base/slice.h"

enum {
    FACT_WORDINGS_MAX = 64,
    FACT_TESTS_MAX = 12,
    FACT_SAYS_MAX = 3,
    FACT_NEEDS_MAX = 6,
    FACT_COUNT_MAX = 512,
    FACT_WORDINGS_LEAST = 10, /* different questions that training can draw */
};

/* X(name, the word at the line's begin): how a wording becomes a question. */
#define FACT_FORMS(X)                                                                              \
    X(ASK, "ask")       /* it is one */                                                            \
    X(DO, "do")         /* a verb with what it is done to: "how do I .." */                        \
    X(VALUE, "value")   /* what is asked for: "what is the .." */                                  \
    X(TOPIC, "topic")   /* what is to be explained: "tell me about .." */                          \
    X(CAN, "can")       /* what it may be able to do: "does it .." */                              \
    X(ZH_ASK, "zh-ask") /* the same in Chinese */                                                  \
    X(ZH_DO, "zh-do")                                                                              \
    X(ZH_TOPIC, "zh-topic")

enum fact_form {
#define X(name, word) FACT_##name,
    FACT_FORMS(X)
#undef X
        FACT_FORM_COUNT,
};

struct fact_wording {
    enum fact_form form;
    struct slice pattern; /* phrase.h */
};

struct fact {
    struct slice name;
    struct fact_wording wordings[FACT_WORDINGS_MAX];
    struct slice tests[FACT_TESTS_MAX]; /* whole questions, never trained */
    struct slice says[FACT_SAYS_MAX];
    struct slice needs[FACT_NEEDS_MAX]; /* "a|b": one of them */
    size_t wording_count, test_count, say_count, need_count;
    bool is_chinese;
    bool is_often; /* what everybody asks first: training asks it more */
};

struct facts {
    struct fact *facts;
    size_t count;
};

/* ERR_PROTOCOL: *out_note names the line and what is wrong there. */
MUST_USE enum err facts_read(struct slice text, struct facts **out_facts,
                             struct err_note *out_note);
void facts_free(struct facts *facts);

/* Whether an answer holds all that the fact needs, letters of ASCII in either case. */
bool fact_is_told(const struct fact *fact, struct slice answer);

/* The question templates of a form, with {x} for the wording; LIST_PART()s for the splits. */
struct fact_templates {
    const char *const *patterns;
    size_t count;
};
struct fact_templates fact_templates(enum fact_form form);
