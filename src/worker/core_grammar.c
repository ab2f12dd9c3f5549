/* core_grammar - which token a sequence says next: the sampler's pick, and what its grammar says to
 * it.
 *
 * A pick is made among all tokens first, for a model that was asked for a form mostly keeps to it,
 * and one check is far cheaper than a mask (1 us and 2 ms with 152 000 pieces, inside a string). If
 * it is refused, a second one is made among those that are allowed, with a random number of its own
 * (grammar_mask.h says why that is the same). So what is said stays a function of logits, history,
 * seed, index and grammar: whoever goes on elsewhere puts the answer so far into a new match. */
#include "worker/core_impl.h"

enum {
    MASKS_MAX_BYTES = 8 << 20, /* kept, of all sequences; 19 KB each with 152 000 tokens */
    MASKS_MAX = 1024,
};

static const char NO_CHOICE[] = "the model left no token to choose";
static const char NOT_SAYABLE[] =
    "the grammar allows nothing here that the model's tokens can say (and logit_bias leaves)";
static const char TOO_AMBIGUOUS[] = "the grammar is too ambiguous at this place of the answer";
static const char NO_MEMORY[] = "no memory for what the grammar allows";

struct pieces {
    struct engine *engine;
    char scratch[1];
};

static struct slice piece(void *ctx, token_id token)
{
    struct pieces *pieces = ctx;
    return engine_piece(pieces->engine, token, pieces->scratch, sizeof(pieces->scratch));
}

static struct grammar_masker *masker_for(struct core *core, const struct core_job *job)
{
    if (!core->masker) {
        size_t mask_bytes = core->engine->info.vocab_size / 8 + 1;
        size_t masks = MASKS_MAX_BYTES / mask_bytes;
        core->masker = grammar_masker_new(job->vocab, masks < MASKS_MAX ? masks : MASKS_MAX);
    }
    return core->masker;
}

typedef enum err step_fn(struct grammar_match *match, uint32_t token, struct slice bytes);

/* A pick of the sampler, as the mask has it. A token without bytes could go on for ever. */
static enum err try(struct core *core, struct grammar_match *match, token_id token,
                    struct slice bytes, step_fn *step)
{
    if (engine_is_end(core->engine, token))
        return grammar_match_can_end(match) ? ERR_OK : ERR_REFUSED;
    if (grammar_match_is_bound(match) && (bytes.len == 0 || bytes.len > GRAMMAR_PIECE_MAX_BYTES))
        return ERR_REFUSED;
    return step(match, (uint32_t)token, bytes);
}

static enum err accept(struct core *core, struct grammar_match *match, token_id token,
                       struct slice bytes)
{
    if (engine_is_end(core->engine, token))
        return ERR_OK;
    return grammar_match_accept(match, (uint32_t)token, bytes);
}

/* The second pick. Mirostat learns from the token that is said, not from the one refused. */
static enum err pick_allowed(struct core *core, struct sequence *sequence,
                             struct sampler_input *input, struct sampler_state before,
                             token_id *out_token)
{
    struct core_job *job = sequence->job;
    sequence->sampler_state = before;
    TRY(grammar_mask(masker_for(core, job), job->match, &input->allowed));
    return sampler_pick(core->sampler, input, out_token);
}

/* A first pick that is let in is in the match with that (grammar_match.h rule 2): mostly there is
 * one step for a token. With `said` it is only looked at. */
static enum err pick_formed(struct core *core, struct sequence *sequence,
                            struct sampler_input *input, const token_id *said, token_id *out_token)
{
    struct grammar_match *match = sequence->job->match;
    struct sampler_state before = sequence->sampler_state;
    TRY(sampler_pick(core->sampler, input, out_token));
    enum err err = try(core, match, *out_token, piece(input->piece_ctx, *out_token),
                       said ? grammar_match_check : grammar_match_accept);
    if (err == ERR_OK && !said)
        return ERR_OK;
    if (err == ERR_REFUSED || err == ERR_LIMIT)
        err = pick_allowed(core, sequence, input, before, out_token);
    TRY(err);
    if (said)
        *out_token = *said;
    return accept(core, match, *out_token, piece(input->piece_ctx, *out_token));
}

static enum err pick(struct core *core, struct sequence *sequence, struct sampler_input *input,
                     const token_id *said, token_id *out_token)
{
    if (sequence->job->match)
        return pick_formed(core, sequence, input, said, out_token);
    TRY(sampler_pick(core->sampler, input, out_token));
    if (said)
        *out_token = *said;
    return ERR_OK;
}

static void explain(const struct sampler_input *input, enum err err, enum fault *out_fault,
                    struct slice *out_why)
{
    *out_fault = FAULT_INVALID_REQUEST;
    if (err == ERR_FULL) {
        *out_fault = FAULT_INSUFFICIENT_MEMORY;
        *out_why = slice_str(NO_MEMORY);
    } else if (err == ERR_LIMIT) {
        *out_why = slice_str(TOO_AMBIGUOUS);
    } else if (input->allowed) {
        *out_why = slice_str(NOT_SAYABLE);
    } else {
        *out_fault = FAULT_INTERNAL_ERROR;
        *out_why = slice_str(NO_CHOICE);
    }
}

enum err core_pick(struct core *core, struct sequence *sequence, size_t row, const token_id *said,
                   token_id *out_token, enum fault *out_fault, struct slice *out_why)
{
    struct pieces pieces = {.engine = core->engine};
    struct sampler_input input = {.sampling = &sequence->job->sampling,
                                  .logits = engine_logits(core->engine, row),
                                  .history = sequence->tokens,
                                  .history_count = sequence->job->prompt_count + sequence->followed,
                                  .index = sequence->followed,
                                  .state = &sequence->sampler_state,
                                  .piece = piece,
                                  .piece_ctx = &pieces};
    if (sequence->job->ignore_eos) {
        input.forbidden = core->ends;
        input.forbidden_count = core->end_count;
    }
    enum err err = pick(core, sequence, &input, said, out_token);
    if (err == ERR_OK)
        sequence->followed++;
    else
        explain(&input, err, out_fault, out_why);
    return err;
}

bool core_is_said(const struct sequence *sequence)
{
    return sequence->job->match && grammar_match_is_over(sequence->job->match);
}
