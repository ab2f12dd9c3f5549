/* answer_llama - a batch loop without a network: slots, prefill in chunks, greedy choice. */
#include "nano/answer_llama.h"

#include "base/mem.h"
#include "engine/engine.h"

#include <stdlib.h>

enum {
    SLOTS = 32, /* the wider a step, the fewer there are; the cache of one is 1.5 MB */
    BATCH_TOKENS = 512,
    CONTEXT_TOKENS = 2048, /* capped at what the model was trained for */
};

struct seat {              /* one sequence */
    struct exam_case *one; /* NULL: free */
    token_id *tokens;      /* of the prompt */
    size_t count, fed;     /* fed: of the prompt; then == count */
    token_id next;         /* chosen, not yet decoded */
    uint32_t answered;
    size_t row; /* whose logits are its own; SIZE_MAX: none in this step */
};

struct answer_llama {
    struct engine *engine;
    struct seat seats[SLOTS];
    struct engine_row *rows;
    struct answer_llama_cost cost;
};

enum err answer_llama_open(const char *model_path, unsigned threads,
                           struct answer_llama **out_answer, struct err_note *out_note)
{
    static const char *const search[] = {NANO_ENGINE_DIR, NULL};
    const struct engine_llama_options options = {.library_dir = getenv("MILLRACE_ENGINE_DIR"),
                                                 .search = search,
                                                 .model_path = model_path,
                                                 .slots = SLOTS,
                                                 .context_tokens = CONTEXT_TOKENS,
                                                 .threads = threads,
                                                 .threads_batch = threads,
                                                 .batch_tokens = BATCH_TOKENS};
    struct engine *engine;
    TRY(engine_llama_open(&options, NULL, NULL, &engine, out_note));
    struct answer_llama *answer = mem_alloc(sizeof(*answer));
    answer->engine = engine;
    answer->rows = mem_array(engine->info.batch_tokens, sizeof(answer->rows[0]));
    for (size_t i = 0; i < SLOTS; i++)
        answer->seats[i].tokens =
            mem_array(engine->info.context_tokens, sizeof(answer->seats[i].tokens[0]));
    *out_answer = answer;
    return ERR_OK;
}

void answer_llama_close(struct answer_llama **answer)
{
    if (!*answer)
        return;
    engine_close(&(*answer)->engine);
    for (size_t i = 0; i < SLOTS; i++)
        mem_free((*answer)->seats[i].tokens);
    mem_free((*answer)->rows);
    mem_free(*answer);
    *answer = NULL;
}

struct answer_llama_cost answer_llama_cost(const struct answer_llama *answer)
{
    return answer->cost;
}

/* -- seats ------------------------------------------------------------------ */

static enum err sit_down(struct answer_llama *self, size_t slot, struct exam_case *one,
                         struct err_note *out_note)
{
    struct seat *seat = &self->seats[slot];
    size_t max = self->engine->info.context_tokens - 1; /* one at least for the answer */
    enum err err = engine_tokenize(self->engine, text_slice(&one->prompt), true, true, seat->tokens,
                                   max, &seat->count);
    if (err == ERR_LIMIT) {
        self->cost.too_long++;
        return ERR_OK;
    }
    if (err != ERR_OK)
        return err_note_fail(out_note, err, "%s %llu: the engine could not read its prompt: %s",
                             one->family->name, (unsigned long long)one->index, err_name(err));
    seat->one = one;
    seat->fed = 0;
    seat->answered = 0;
    self->cost.prompt_tokens += seat->count;
    return ERR_OK;
}

static enum err leave(struct answer_llama *self, size_t slot)
{
    self->seats[slot].one = NULL;
    return engine_seq_cut(self->engine, (uint32_t)slot, 0);
}

static bool is_answering(const struct seat *seat)
{
    return seat->one && seat->fed == seat->count;
}

/* -- a step ----------------------------------------------------------------- */

static size_t plan_answers(struct answer_llama *self)
{
    size_t rows = 0;
    for (size_t slot = 0; slot < SLOTS; slot++) {
        struct seat *seat = &self->seats[slot];
        seat->row = SIZE_MAX;
        if (!is_answering(seat))
            continue;
        seat->row = rows;
        self->rows[rows++] =
            (struct engine_row){.token = seat->next,
                                .position = (uint32_t)seat->count + seat->answered - 1,
                                .slot = (uint32_t)slot,
                                .wants_logits = true};
    }
    return rows;
}

static size_t plan_prompts(struct answer_llama *self, size_t rows)
{
    for (size_t slot = 0; slot < SLOTS; slot++) {
        struct seat *seat = &self->seats[slot];
        if (!seat->one || is_answering(seat))
            continue;
        while (seat->fed < seat->count && rows < self->engine->info.batch_tokens) {
            bool is_last = seat->fed + 1 == seat->count;
            if (is_last)
                seat->row = rows;
            self->rows[rows++] = (struct engine_row){.token = seat->tokens[seat->fed],
                                                     .position = (uint32_t)seat->fed,
                                                     .slot = (uint32_t)slot,
                                                     .wants_logits = is_last};
            seat->fed++;
        }
    }
    return rows;
}

/* The likeliest; of equals the first. */
static token_id choose(const float *logits, uint32_t vocab_size)
{
    uint32_t best = 0;
    for (uint32_t i = 1; i < vocab_size; i++) {
        if (logits[i] > logits[best])
            best = i;
    }
    return (token_id)best;
}

static enum err take_token(struct answer_llama *self, size_t slot)
{
    char scratch[8];
    struct seat *seat = &self->seats[slot];
    seat->next = choose(engine_logits(self->engine, seat->row), self->engine->info.vocab_size);
    if (engine_is_end(self->engine, seat->next))
        return leave(self, slot);
    text_add(&seat->one->answer, engine_piece(self->engine, seat->next, scratch, sizeof(scratch)));
    seat->answered++;
    self->cost.answer_tokens++;
    bool is_full = seat->answered == ANSWER_TOKENS_MAX ||
                   seat->count + seat->answered == self->engine->info.context_tokens;
    return is_full ? leave(self, slot) : ERR_OK;
}

static enum err step(struct answer_llama *self, struct err_note *out_note)
{
    size_t rows = plan_prompts(self, plan_answers(self));
    enum err err = engine_decode(self->engine, self->rows, rows);
    if (err != ERR_OK)
        return err_note_fail(out_note, err, "the engine could not decode %zu tokens: %s", rows,
                             err_name(err));
    self->cost.steps++;
    for (size_t slot = 0; slot < SLOTS; slot++) {
        if (self->seats[slot].one && self->seats[slot].row != SIZE_MAX)
            TRY(take_token(self, slot));
    }
    return ERR_OK;
}

enum err answer_llama_all(void *ctx, struct exam_case *cases, size_t count,
                          struct err_note *out_note)
{
    struct answer_llama *self = ctx;
    for (size_t begun = 0;;) {
        bool is_busy = false;
        for (size_t slot = 0; slot < SLOTS; slot++) {
            while (!self->seats[slot].one && begun < count)
                TRY(sit_down(self, slot, &cases[begun++], out_note));
            is_busy = is_busy || self->seats[slot].one;
        }
        if (!is_busy)
            return ERR_OK;
        TRY(step(self, out_note));
    }
}
