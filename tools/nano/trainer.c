/* trainer - a step: rows, gradients in shards, their sum, and the optimiser. Each part is cut into
 * pieces that do not depend on the number of threads, and every sum has one order (rule 1). */
#include "nano/trainer.h"

#include "base/hash.h"
#include "base/mem.h"
#include "nano/checkpoint.h"
#include "nano/circuit.h"
#include "nano/optimiser.h"
#include "nano/parallel.h"
#include "nano/q8.h"

#include <math.h>

enum {
    PIECE_PARAMS = 32 * 1024, /* of summing and updating: some 0.1 ms */
    /* That tell documents from others: dozens of each kind, from all over the training. */
    FINGERPRINT_ROWS = 128,
    FINGERPRINT_STRIDE = 101,
};

struct piece { /* of one tensor */
    size_t begin, count;
    bool is_norm;
};

struct shard {
    float *grads;
    struct losses losses;
    size_t tokens; /* of the rows it got for this step */
};

struct trainer {
    struct trainer_options options;
    struct model model;
    uint32_t steps_done;
    uint64_t first_row; /* of the next step */
    uint64_t documents; /* hash: tokenizer and some rows */

    float *params, *first, *second;
    float *rounded; /* params as they ship; what the pass reads in the last steps */

    struct piece *pieces;
    size_t piece_count;
    double *squares; /* of the gradient, by piece */

    struct shard *shards;
    struct pass **passes; /* one per thread */

    struct row *rows;
    size_t row_count;   /* of this step */
    uint32_t *shard_of; /* which takes a row */
    float loss_scale;   /* 1 / sum of weights */
    struct optimiser_step update;
};

/* -- making one -------------------------------------------------------------- */

static void add_pieces(struct trainer *trainer, const struct tensor *tensor)
{
    for (size_t at = 0; at < tensor_count(tensor); at += PIECE_PARAMS) {
        size_t left = tensor_count(tensor) - at;
        trainer->pieces[trainer->piece_count++] =
            (struct piece){.begin = tensor->begin + at,
                           .count = left < PIECE_PARAMS ? left : PIECE_PARAMS,
                           .is_norm = tensor_is_norm(tensor)};
    }
}

static void cut_into_pieces(struct trainer *trainer)
{
    const struct model *model = &trainer->model;
    size_t most = model->param_count / PIECE_PARAMS + model->tensor_count;
    trainer->pieces = mem_array(most, sizeof(*trainer->pieces));
    trainer->squares = mem_array(most, sizeof(*trainer->squares));
    for (size_t i = 0; i < model->tensor_count; i++)
        add_pieces(trainer, &model->tensors[i]);
}

static float *new_params(const struct trainer *trainer)
{
    return mem_array(trainer->model.param_count, sizeof(float));
}

static void make_row(struct trainer *trainer, size_t slot, uint64_t index)
{
    row_fill(&trainer->rows[slot], trainer->options.recipe->row_tokens, trainer->options.tokenizer,
             trainer->options.draw, trainer->options.ctx, index);
}

static void take_fingerprint(struct trainer *trainer)
{
    uint64_t hash = tokenizer_hash(trainer->options.tokenizer);
    struct row *row = &trainer->rows[0];
    for (uint64_t i = 0; i < FINGERPRINT_ROWS; i++) {
        make_row(trainer, 0, i * FINGERPRINT_STRIDE);
        hash = hash_add(hash, slice_of(row->tokens, row->token_count * sizeof(*row->tokens)));
        hash = hash_add(hash, slice_of(row->weights, row->token_count));
    }
    trainer->documents = hash;
}

struct trainer *trainer_new(const struct trainer_options *options)
{
    const struct recipe *recipe = options->recipe;
    struct trainer *trainer = mem_alloc(sizeof(*trainer));
    trainer->options = *options;
    ASSERT(options->threads >= 1 && options->threads <= PARALLEL_THREADS_MAX);
    ASSERT(recipe->shape.vocab == tokenizer_size(options->tokenizer));
    ASSERT(recipe->rows_first >= 1 && recipe->rows_first <= recipe->rows_last);
    model_init(&trainer->model, &recipe->shape);
    trainer->params = new_params(trainer);
    trainer->first = new_params(trainer);
    trainer->second = new_params(trainer);
    trainer->rounded = new_params(trainer);
    model_draw(&trainer->model, recipe->seed, trainer->params);
    if (recipe->has_circuit)
        circuit_draw(&trainer->model, recipe->seed, trainer->params);
    cut_into_pieces(trainer);
    trainer->shards = mem_array(recipe->shards, sizeof(*trainer->shards));
    for (size_t i = 0; i < recipe->shards; i++)
        trainer->shards[i].grads = new_params(trainer);
    trainer->rows = mem_array(recipe->rows_last, sizeof(*trainer->rows));
    for (size_t i = 0; i < recipe->rows_last; i++)
        row_init(&trainer->rows[i], recipe->row_tokens);
    trainer->shard_of = mem_array(recipe->rows_last, sizeof(*trainer->shard_of));
    trainer->passes = mem_array(options->threads, sizeof(struct pass *));
    for (size_t i = 0; i < options->threads; i++)
        trainer->passes[i] = pass_new(&trainer->model, trainer->rows[0].token_max);
    take_fingerprint(trainer);
    return trainer;
}

void trainer_free(struct trainer *trainer)
{
    if (!trainer)
        return;
    for (size_t i = 0; i < trainer->options.recipe->shards; i++)
        mem_free(trainer->shards[i].grads);
    for (size_t i = 0; i < trainer->options.recipe->rows_last; i++)
        row_fini(&trainer->rows[i]);
    for (size_t i = 0; i < trainer->options.threads; i++)
        pass_free(trainer->passes[i]);
    mem_free(trainer->shards);
    mem_free(trainer->rows);
    mem_free(trainer->shard_of);
    mem_free(trainer->passes);
    mem_free(trainer->pieces);
    mem_free(trainer->squares);
    mem_free(trainer->params);
    mem_free(trainer->first);
    mem_free(trainer->second);
    mem_free(trainer->rounded);
    mem_free(trainer);
}

uint32_t trainer_steps_done(const struct trainer *trainer)
{
    return trainer->steps_done;
}

const float *trainer_params(const struct trainer *trainer)
{
    return trainer->params;
}

/* -- the parameters that the pass reads --------------------------------------- */

static void round_piece(void *ctx, unsigned thread, size_t index)
{
    (void)thread;
    struct trainer *trainer = ctx;
    const struct piece *piece = &trainer->pieces[index];
    const float *params = trainer->params + piece->begin;
    if (piece->is_norm) /* ships as it is */
        memcpy(trainer->rounded + piece->begin, params, piece->count * sizeof(*params));
    else
        q8_round(params, piece->count, trainer->rounded + piece->begin);
}

/* In the last steps the losses are those of the rounded weights, and what the gradient says of
 * these is done to the exact ones (Bengio and others 2013: straight through). */
static const float *params_of_step(struct trainer *trainer, uint32_t step)
{
    if (!recipe_is_rounded(trainer->options.recipe, step))
        return trainer->params;
    parallel_run(trainer->options.threads, trainer->piece_count, round_piece, trainer);
    return trainer->rounded;
}

/* -- a step ------------------------------------------------------------------ */

static void make_step_row(void *ctx, unsigned thread, size_t slot)
{
    (void)thread;
    struct trainer *trainer = ctx;
    make_row(trainer, slot, trainer->first_row + slot);
}

/* Each row, the longest first, goes to the shard that has least. */
static void spread_rows(struct trainer *trainer)
{
    uint32_t shard_count = trainer->options.recipe->shards, none = shard_count;
    for (size_t i = 0; i < shard_count; i++)
        trainer->shards[i].tokens = 0;
    for (size_t i = 0; i < trainer->row_count; i++)
        trainer->shard_of[i] = none;
    for (size_t placed = 0; placed < trainer->row_count; placed++) {
        size_t longest = trainer->row_count;
        for (size_t i = 0; i < trainer->row_count; i++)
            if (trainer->shard_of[i] == none &&
                (longest == trainer->row_count ||
                 trainer->rows[i].token_count > trainer->rows[longest].token_count))
                longest = i;
        uint32_t least = 0;
        for (uint32_t k = 1; k < shard_count; k++)
            if (trainer->shards[k].tokens < trainer->shards[least].tokens)
                least = k;
        trainer->shard_of[longest] = least;
        trainer->shards[least].tokens += trainer->rows[longest].token_count;
    }
}

static void make_rows(struct trainer *trainer)
{
    trainer->row_count = recipe_rows(trainer->options.recipe, trainer->steps_done);
    parallel_run(trainer->options.threads, trainer->row_count, make_step_row, trainer);
    spread_rows(trainer);
    uint64_t weights = 0;
    for (size_t i = 0; i < trainer->row_count; i++)
        weights += trainer->rows[i].weight_sum;
    ASSERT(weights > 0);
    trainer->loss_scale = 100.0f / (float)weights;
}

struct shard_work {
    struct trainer *trainer;
    const float *params;
};

static void run_shard(void *ctx, unsigned thread, size_t index)
{
    const struct shard_work *work = ctx;
    struct trainer *trainer = work->trainer;
    struct shard *shard = &trainer->shards[index];
    memset(shard->grads, 0, trainer->model.param_count * sizeof(float));
    shard->losses = (struct losses){0};
    for (size_t i = 0; i < trainer->row_count; i++)
        if (trainer->shard_of[i] == index)
            pass_run(trainer->passes[thread], work->params, &trainer->rows[i], trainer->loss_scale,
                     shard->grads, &shard->losses);
}

static void sum_piece(void *ctx, unsigned thread, size_t index)
{
    (void)thread;
    struct trainer *trainer = ctx;
    const struct piece *piece = &trainer->pieces[index];
    float *sum = trainer->shards[0].grads + piece->begin;
    for (size_t i = 1; i < trainer->options.recipe->shards; i++)
        gradient_add(sum, trainer->shards[i].grads + piece->begin, piece->count);
    trainer->squares[index] = gradient_squares(sum, piece->count);
}

static void update_piece(void *ctx, unsigned thread, size_t index)
{
    (void)thread;
    struct trainer *trainer = ctx;
    const struct piece *piece = &trainer->pieces[index];
    struct optimiser_step update = trainer->update;
    if (piece->is_norm)
        update.decay = 0;
    optimiser_update(&update, trainer->shards[0].grads + piece->begin, piece->count,
                     trainer->params + piece->begin, trainer->first + piece->begin,
                     trainer->second + piece->begin);
}

static void update_params(struct trainer *trainer)
{
    const struct recipe *recipe = trainer->options.recipe;
    parallel_run(trainer->options.threads, trainer->piece_count, sum_piece, trainer);
    double squares = 0;
    for (size_t i = 0; i < trainer->piece_count; i++)
        squares += trainer->squares[i];
    float length = (float)sqrt(squares);
    trainer->update = (struct optimiser_step){
        .number = trainer->steps_done + 1,
        .rate = recipe_rate(recipe, trainer->steps_done),
        .decay = recipe->weight_decay,
        .grad_scale = length > recipe->clip ? recipe->clip / length : 1.0f,
        .beta_first = recipe->beta_first,
        .beta_second = recipe->beta_second,
        .epsilon = recipe->epsilon,
    };
    parallel_run(trainer->options.threads, trainer->piece_count, update_piece, trainer);
}

void trainer_step(struct trainer *trainer, struct losses *out_losses)
{
    const struct recipe *recipe = trainer->options.recipe;
    ASSERT(trainer->steps_done < recipe->steps);
    struct shard_work work = {trainer, params_of_step(trainer, trainer->steps_done)};
    make_rows(trainer);
    parallel_run(trainer->options.threads, recipe->shards, run_shard, &work);
    update_params(trainer);
    trainer->first_row += trainer->row_count;
    trainer->steps_done++;
    *out_losses = (struct losses){0};
    for (size_t i = 0; i < recipe->shards; i++)
        losses_add(out_losses, &trainer->shards[i].losses);
}

/* -- examining --------------------------------------------------------------- */

struct examination {
    struct trainer *trainer;
    const float *params;
    const struct row *rows;
    struct losses *losses; /* by row: added in their order, whoever had them */
};

static void examine_row(void *ctx, unsigned thread, size_t index)
{
    struct examination *examination = ctx;
    pass_run(examination->trainer->passes[thread], examination->params, &examination->rows[index],
             0, NULL, &examination->losses[index]);
}

void trainer_examine(struct trainer *trainer, const struct row *rows, size_t count,
                     struct losses *out_losses)
{
    struct examination examination = {.trainer = trainer,
                                      .params = params_of_step(trainer, trainer->steps_done),
                                      .rows = rows,
                                      .losses = mem_array(count, sizeof(struct losses))};
    parallel_run(trainer->options.threads, count, examine_row, &examination);
    *out_losses = (struct losses){0};
    for (size_t i = 0; i < count; i++)
        losses_add(out_losses, &examination.losses[i]);
    mem_free(examination.losses);
}

/* -- checkpoints ------------------------------------------------------------- */

static struct checkpoint checkpoint_of(const struct trainer *trainer)
{
    return (struct checkpoint){.shape = trainer->model.shape,
                               .recipe = recipe_hash(trainer->options.recipe),
                               .documents = trainer->documents,
                               .steps_done = trainer->steps_done,
                               .param_count = trainer->model.param_count,
                               .params = trainer->params,
                               .first = trainer->first,
                               .second = trainer->second};
}

enum err trainer_save(const struct trainer *trainer, const char *path, struct err_note *out_note)
{
    struct checkpoint checkpoint = checkpoint_of(trainer);
    return checkpoint_write(&checkpoint, path, out_note);
}

enum err trainer_load(struct trainer *trainer, const char *path, struct err_note *out_note)
{
    struct checkpoint checkpoint = checkpoint_of(trainer);
    TRY(checkpoint_read(&checkpoint, path, out_note));
    trainer->steps_done = (uint32_t)checkpoint.steps_done;
    trainer->first_row = recipe_rows_before(trainer->options.recipe, trainer->steps_done);
    return ERR_OK;
}
