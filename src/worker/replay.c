/* replay - the tokens that were said go the way of any token, but for the model and the draw. */
#include "worker/replay.h"

#include "base/utf8.h"

struct answer_end answer_follow(struct text_out *text_out, const struct slice *piece, bool is_said,
                                bool is_full, struct text *out)
{
    bool is_last = !piece || is_said || is_full;
    int stop = piece ? text_out_add(text_out, *piece, out) : TEXT_OUT_NO_STOP;
    if (is_last && stop == TEXT_OUT_NO_STOP)
        stop = text_out_end(text_out, out);
    bool is_stopped = stop != TEXT_OUT_NO_STOP;
    return (struct answer_end){.is_over = is_stopped || is_last,
                               .reason = is_stopped          ? DONE_STOP
                                         : !piece || is_said ? DONE_EOS
                                                             : DONE_LENGTH,
                               .stop = stop};
}

struct replay {
    struct engine *engine;
    struct core_job *job;
    struct grammar_match *match; /* NULL: there is no grammar */
    struct err_note *note;
    uint64_t text_bytes; /* that the asker has */
    uint64_t made_bytes; /* text that the tokens so far let go of */
    struct answer_end end;
};

static enum err refuse_token(const struct replay *replay, uint32_t index, const char *what)
{
    token_id token = replay->job->prompt[replay->job->prompt_count + index];
    return err_note_fail(replay->note, ERR_REFUSED, "token %u of the answer so far (id %d) %s",
                         index, token, what);
}

static enum err follow_grammar(struct replay *replay, uint32_t index, token_id token,
                               struct slice piece)
{
    if (!replay->match)
        return ERR_OK;
    enum err err = grammar_match_accept(replay->match, (uint32_t)token, piece);
    if (err == ERR_REFUSED)
        return refuse_token(replay, index, "is not what the grammar allows there");
    return err;
}

/* Keeps what is behind text_bytes. */
static enum err keep_unsaid(struct replay *replay, const struct text *made)
{
    struct slice text = text_slice(made);
    struct text *unsaid = &replay->job->said.unsaid;
    uint64_t before = replay->made_bytes;
    replay->made_bytes += text.len;
    if (replay->made_bytes <= replay->text_bytes)
        return ERR_OK;
    if (before < replay->text_bytes)
        text = slice_after(text, (size_t)(replay->text_bytes - before));
    if (!utf8_is_valid(text))
        return err_note_fail(replay->note, ERR_REFUSED,
                             "text_bytes %llu of the answer so far ends within a character",
                             (unsigned long long)replay->text_bytes);
    text_add(unsaid, text);
    return made->overflowed || unsaid->overflowed ? ERR_FULL : ERR_OK;
}

static enum err follow_token(struct replay *replay, uint32_t index, struct text *made)
{
    struct core_job *job = replay->job;
    char scratch[1];
    token_id token = job->prompt[job->prompt_count + index];
    struct slice piece = engine_piece(replay->engine, token, scratch, sizeof(scratch));
    if (replay->end.is_over)
        return refuse_token(replay, index, "stands behind its end");
    if (engine_is_end(replay->engine, token))
        return refuse_token(replay, index, "is an end token, which is no part of an answer");
    TRY(follow_grammar(replay, index, token, piece));
    text_clear(made);
    replay->end = answer_follow(job->said.text_out, &piece,
                                replay->match && grammar_match_is_over(replay->match),
                                index + 1 == job->max_tokens, made);
    return keep_unsaid(replay, made);
}

/* The asker has more than was let go of: the end of the answer was on its way (rule 3). */
static enum err skip_the_rest(struct replay *replay)
{
    struct text held;
    uint64_t more = replay->text_bytes - replay->made_bytes;
    text_init(&held, SIZE_MAX / 2);
    text_out_held(replay->job->said.text_out, &held);
    bool is_held = !replay->end.is_over && more <= held.len &&
                   utf8_is_valid(slice_after(text_slice(&held), (size_t)more));
    text_fini(&held);
    if (!is_held)
        return err_note_fail(
            replay->note, ERR_REFUSED, "text_bytes is %llu, but the answer so far has %llu",
            (unsigned long long)replay->text_bytes, (unsigned long long)replay->made_bytes);
    replay->job->said.skip_bytes = (uint32_t)more; /* less than a stop and a character have */
    return ERR_OK;
}

static enum err follow_all(struct replay *replay)
{
    struct text made;
    enum err err = ERR_OK;
    text_init(&made, SIZE_MAX / 2); /* of one token */
    for (uint32_t i = 0; err == ERR_OK && i < replay->job->said.count; i++)
        err = follow_token(replay, i, &made);
    text_fini(&made);
    if (err == ERR_OK && replay->text_bytes > replay->made_bytes)
        err = skip_the_rest(replay);
    return err;
}

/* Rule 2: with mirostat the job's own match stays at its beginning. */
static enum err begin_grammar(struct replay *replay)
{
    struct core_job *job = replay->job;
    if (!job->match || job->sampling.mirostat == 0) {
        replay->match = job->match;
        return ERR_OK;
    }
    return grammar_match_clone(job->match, &replay->match);
}

enum err replay_said(struct engine *engine, struct core_job *job, uint64_t text_bytes,
                     struct err_note *out_note)
{
    struct replay replay = {
        .engine = engine, .job = job, .note = out_note, .text_bytes = text_bytes};
    ASSERT(!job->said.text_out && job->said.count <= job->max_tokens);
    text_init(&job->said.unsaid, SIZE_MAX / 2); /* of said.count tokens */
    job->said.text_out = text_out_new(job->stops, job->stop_count);
    TRY(begin_grammar(&replay));
    enum err err = follow_all(&replay);
    if (replay.match != job->match)
        grammar_match_free(replay.match);
    TRY(err);
    job->said.is_over = replay.end.is_over;
    job->said.reason = replay.end.reason;
    if (replay.end.is_over && replay.end.reason == DONE_STOP)
        job->said.stop = job->stops[replay.end.stop];
    return ERR_OK;
}
