/* answer - what the toy engine says to a question when it is alone and undisturbed: the sampler and
 * text_out over toy_engine_logits(), token by token, without a core. */
#pragma once

#include "base/text.h"
#include "wire/event.h"
#include "wire/request.h"
#include "worker/toy_engine.h"

enum { QUESTION_PROMPT_MAX = 48, QUESTION_ANSWER_MAX = 96, QUESTION_STOPS_MAX = 2 };

struct question {
    token_id prompt[QUESTION_PROMPT_MAX];
    uint32_t prompt_count, max_tokens;
    struct sampling sampling;
    struct slice stops[QUESTION_STOPS_MAX]; /* literals */
    size_t stop_count;
    bool ignore_eos;
};

struct answer {
    token_id ids[QUESTION_ANSWER_MAX];
    uint32_t count;
    struct text text;
    enum done_reason reason;
};

/* `seed`: the one in force. text_fini(&out->text) after it. */
void answer_find(const struct question *question, uint64_t seed, struct answer *out);
