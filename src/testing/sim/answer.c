/* answer - the reference that the checker compares with. See answer.h. */
#include "testing/sim/answer.h"

#include "worker/sampler.h"
#include "worker/text_out.h"

enum { ALL_MAX = QUESTION_PROMPT_MAX + QUESTION_ANSWER_MAX };

static token_id pick(const struct question *question, const struct sampling *sampling,
                     const token_id *all, uint32_t count, struct sampler *sampler)
{
    static const token_id ends[] = {TOY_END, TOY_END_OF_TEXT};
    float logits[TOY_VOCAB];
    toy_engine_logits(all, count, logits);
    struct sampler_input input = {.sampling = sampling,
                                  .logits = logits,
                                  .history = all,
                                  .history_count = count,
                                  .forbidden = ends,
                                  .forbidden_count = question->ignore_eos ? 2 : 0,
                                  .index = count - question->prompt_count};
    token_id token = TOY_END;
    ASSERT(sampler_pick(sampler, &input, &token) == ERR_OK);
    return token;
}

static int find_ids(const struct question *question, const struct sampling *sampling,
                    struct text_out *text_out, struct answer *out)
{
    token_id all[ALL_MAX];
    uint32_t count = question->prompt_count;
    struct sampler *sampler = sampler_new(TOY_VOCAB);
    int stop = TEXT_OUT_NO_STOP;
    memcpy(all, question->prompt, count * sizeof(all[0]));
    while (stop == TEXT_OUT_NO_STOP && out->count < question->max_tokens) {
        token_id token = pick(question, sampling, all, count, sampler);
        if (token == TOY_END || token == TOY_END_OF_TEXT) {
            out->reason = DONE_EOS;
            break;
        }
        all[count++] = out->ids[out->count++] = token;
        stop = text_out_add(text_out, toy_engine_piece(token), &out->text);
    }
    sampler_free(sampler);
    return stop;
}

void answer_find(const struct question *question, uint64_t seed, struct answer *out)
{
    ASSERT(question->prompt_count <= QUESTION_PROMPT_MAX &&
           question->max_tokens <= QUESTION_ANSWER_MAX);
    struct sampling sampling = question->sampling;
    sampling.has_seed = true;
    sampling.seed = seed;
    *out = (struct answer){.reason = DONE_LENGTH};
    text_init(&out->text, 1 << 16);
    struct text_out *text_out = text_out_new(question->stops, question->stop_count);
    int stop = find_ids(question, &sampling, text_out, out);
    if (stop == TEXT_OUT_NO_STOP)
        stop = text_out_end(text_out, &out->text);
    if (stop != TEXT_OUT_NO_STOP)
        out->reason = DONE_STOP;
    text_out_free(text_out);
}
