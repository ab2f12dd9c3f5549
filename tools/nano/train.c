/* train - learning the tokenizer, and the loop of training: steps, a line now and then,
 * checkpoints. */
#include "nano/train.h"

#include "base/clock.h"
#include "base/mem.h"
#include "nano/checkpoint.h"
#include "nano/cpu.h"
#include "nano/export.h"
#include "nano/file.h"
#include "nano/lessons.h"
#include "nano/trainer.h"

#include <signal.h>
#include <stdio.h>
#include <unistd.h>

enum {
    LEARN_DOCUMENTS = 20000, /* the tokenizer's: some 4M characters */
    LINE_STEPS = 25,
    EXAMINE_STEPS = 250,
    CHECKPOINT_STEPS = 250,
    EXAMINE_DOCUMENTS = 24, /* of each kind */
    EXAMINE_SEED = 20261121,
};

static struct recipe recipe_of(const struct train_options *options)
{
    struct recipe recipe = recipe_nano();
    if (options->vocab > 0)
        recipe.shape.vocab = options->vocab;
    if (options->steps > 0)
        recipe.steps = options->steps;
    if (options->rows > 0)
        recipe.rows_last = options->rows;
    if (recipe.rows_first > recipe.rows_last)
        recipe.rows_first = recipe.rows_last;
    return recipe;
}

/* -- learning the tokenizer --------------------------------------------------- */

static uint64_t add_documents(struct tokenizer_lesson *lesson, uint64_t seed)
{
    struct rendering document;
    struct lessons lessons = {seed};
    uint64_t bytes = 0;
    rendering_init(&document);
    for (uint64_t i = 0; i < LEARN_DOCUMENTS; i++) {
        (void)lesson_draw(&lessons, i, &document); /* of whichever kind */
        tokenizer_lesson_add(lesson, text_slice(&document.text));
        bytes += document.text.len;
    }
    rendering_fini(&document);
    return bytes;
}

/* What it is worth: characters per token, of other documents than those it was learned from. */
static double bytes_per_token(const struct tokenizer *tokenizer, uint64_t seed)
{
    enum { DOCUMENTS = 1000 };
    struct rendering document;
    struct lessons lessons = {seed};
    uint64_t bytes = 0, tokens = 0;
    rendering_init(&document);
    for (uint64_t i = 0; i < DOCUMENTS; i++) {
        (void)lesson_draw(&lessons, LEARN_DOCUMENTS + i, &document);
        bytes += document.text.len;
        tokens += tokenizer_encode(tokenizer, text_slice(&document.text), NULL, NULL, 0);
    }
    rendering_fini(&document);
    return (double)bytes / (double)tokens;
}

enum err train_learn(const struct train_options *options, struct err_note *out_note)
{
    struct recipe recipe = recipe_of(options);
    struct tokenizer_lesson *lesson = tokenizer_lesson_new();
    uint64_t bytes = add_documents(lesson, recipe.seed);
    struct tokenizer *tokenizer = NULL;
    enum err err = tokenizer_learn(lesson, recipe.shape.vocab, &tokenizer, out_note);
    tokenizer_lesson_free(lesson);
    TRY(err);
    printf("tokenizer: %u tokens from %llu bytes of documents, %.2f bytes a token\n",
           tokenizer_size(tokenizer), (unsigned long long)bytes,
           bytes_per_token(tokenizer, recipe.seed));
    err = tokenizer_save(tokenizer, options->tokenizer_path, out_note);
    tokenizer_free(tokenizer);
    return err;
}

/* -- counting documents --------------------------------------------------------- */

struct kind_count {
    uint64_t documents, tokens, answer_tokens, longest, left_out;
};

static void count_document(struct kind_count *count, const struct row *row, bool fits)
{
    count->documents++;
    count->left_out += !fits;
    count->tokens += row->token_count;
    if (row->token_count > count->longest)
        count->longest = row->token_count;
    for (size_t i = 0; i < row->token_count; i++)
        count->answer_tokens += row->weights[i] == 100;
}

static void say_counts(const struct kind_count *counts, uint64_t documents)
{
    uint64_t all = 0;
    for (unsigned kind = 0; lesson_kind_name(kind); kind++)
        all += counts[kind].tokens;
    printf("%-10s %9s %7s %7s %9s %7s %8s\n", "kind", "documents", "tokens", "mean", "longest",
           "answer", "too long");
    for (unsigned kind = 0; lesson_kind_name(kind); kind++) {
        const struct kind_count *count = &counts[kind];
        double tokens = count->tokens ? (double)count->tokens : 1;
        printf("%-10s %7.1f %% %5.1f %% %7.0f %9llu %5.1f %% %6.2f %%\n", lesson_kind_name(kind),
               100.0 * (double)count->documents / (double)documents, 100 * tokens / (double)all,
               tokens / (double)(count->documents ? count->documents : 1),
               (unsigned long long)count->longest, 100.0 * (double)count->answer_tokens / tokens,
               100.0 * (double)count->left_out / (double)(count->documents ? count->documents : 1));
    }
    printf("%.1f tokens a document\n", (double)all / (double)documents);
}

enum err train_count(const struct train_options *options, struct err_note *out_note)
{
    struct lessons lessons = {recipe_of(options).seed};
    struct kind_count counts[ROW_KINDS_MAX] = {0};
    struct tokenizer *tokenizer = NULL;
    TRY(tokenizer_load(options->tokenizer_path, &tokenizer, out_note));
    struct rendering document;
    struct row row;
    rendering_init(&document);
    row_init(&row, 0);
    for (uint64_t i = 0; i < LEARN_DOCUMENTS; i++) {
        unsigned kind = lesson_draw(&lessons, i, &document);
        row_clear(&row);
        bool fits = row_add(&row, tokenizer, &document, kind);
        count_document(&counts[kind], &row, fits);
    }
    say_counts(counts, LEARN_DOCUMENTS);
    rendering_fini(&document);
    row_fini(&row);
    tokenizer_free(tokenizer);
    return ERR_OK;
}

/* -- training ----------------------------------------------------------------- */

static volatile sig_atomic_t is_stopped;

static void on_signal(int number)
{
    (void)number;
    is_stopped = 1;
}

struct training {
    const struct train_options *options;
    struct recipe recipe;
    struct trainer *trainer;
    struct row *examined; /* a row per kind and document */
    size_t examined_count;
    struct losses since_line;
    uint64_t tokens, started_us; /* of this run */
};

static void make_examined(struct training *training, const struct tokenizer *tokenizer)
{
    struct rendering document;
    rendering_init(&document);
    training->examined = mem_array(ROW_KINDS_MAX * EXAMINE_DOCUMENTS, sizeof(struct row));
    for (unsigned kind = 0; lesson_kind_name(kind); kind++) {
        for (uint64_t i = 0; i < EXAMINE_DOCUMENTS; i++) {
            struct row *row = &training->examined[training->examined_count++];
            row_init(row, 0);
            lesson_examine(kind, EXAMINE_SEED, i, &document);
            (void)row_add(row, tokenizer, &document, kind); /* too long: nothing to examine */
        }
    }
    rendering_fini(&document);
}

static void free_examined(struct training *training)
{
    for (size_t i = 0; i < training->examined_count; i++)
        row_fini(&training->examined[i]);
    mem_free(training->examined);
}

static void say_progress(struct training *training)
{
    double seconds = (double)(clock_monotonic_us() - training->started_us) / 1e6;
    uint32_t done = trainer_steps_done(training->trainer);
    printf("step %u/%u  loss %.4f  rate %.2e  %.2fM tokens in %.0f s, %.0f/s\n", done,
           training->recipe.steps, training->since_line.weighted / training->since_line.weights,
           (double)recipe_rate(&training->recipe, done - 1), (double)training->tokens / 1e6,
           seconds, (double)training->tokens / seconds);
    if (training->since_line.left_out > 0)
        printf("note: %llu documents of more than %d tokens were left out\n",
               (unsigned long long)training->since_line.left_out, ROW_DOCUMENT_TOKENS_MAX);
    fflush(stdout);
    training->since_line = (struct losses){0};
}

/* Of what it never sees in training: loss of an answer's tokens, and how many it would say right.
 */
static void say_examination(struct training *training)
{
    struct losses losses;
    trainer_examine(training->trainer, training->examined, training->examined_count, &losses);
    printf("test  step %u:", trainer_steps_done(training->trainer));
    for (unsigned kind = 0; lesson_kind_name(kind); kind++)
        if (losses.answer_tokens[kind] > 0)
            printf("  %s %.3f (%.1f %%)", lesson_kind_name(kind),
                   losses.answers[kind] / (double)losses.answer_tokens[kind],
                   100.0 * (double)losses.right[kind] / (double)losses.answer_tokens[kind]);
    printf("\n");
    fflush(stdout);
}

static enum err run_steps(struct training *training, struct err_note *out_note)
{
    uint32_t last = training->recipe.steps;
    const char *path = training->options->checkpoint_path;
    if (training->options->stop_at > 0 && training->options->stop_at < last)
        last = training->options->stop_at;
    for (uint32_t done = trainer_steps_done(training->trainer); done < last && !is_stopped;) {
        struct losses losses;
        trainer_step(training->trainer, &losses);
        done++;
        losses_add(&training->since_line, &losses);
        training->tokens += losses.tokens;
        if (done % LINE_STEPS == 0 || done == last)
            say_progress(training);
        if (done % EXAMINE_STEPS == 0 || done == last)
            say_examination(training);
        if (done % CHECKPOINT_STEPS == 0)
            TRY(trainer_save(training->trainer, path, out_note));
    }
    TRY(trainer_save(training->trainer, path, out_note));
    return is_stopped ? err_note_fail(out_note, ERR_CANCELLED,
                                      "stopped after step %u; go on with "
                                      "the same command",
                                      trainer_steps_done(training->trainer))
                      : ERR_OK;
}

static void say_recipe(const struct recipe *recipe, const struct trainer *trainer)
{
    struct text said;
    struct model model;
    text_init(&said, 1024);
    recipe_say(recipe, &said);
    model_init(&model, &recipe->shape);
    printf("%zu parameters; " SLICE_FMT "\n", model.param_count, SLICE_ARG(text_slice(&said)));
    if (trainer_steps_done(trainer) > 0)
        printf("going on from step %u\n", trainer_steps_done(trainer));
    fflush(stdout);
    text_fini(&said);
}

static enum err train_with(const struct train_options *options, const struct tokenizer *tokenizer,
                           struct err_note *out_note)
{
    struct training training = {.options = options, .recipe = recipe_of(options)};
    training.recipe.shape.vocab = tokenizer_size(tokenizer);
    struct lessons lessons = {training.recipe.seed};
    training.trainer = trainer_new(&(struct trainer_options){.recipe = &training.recipe,
                                                             .tokenizer = tokenizer,
                                                             .draw = lesson_draw,
                                                             .ctx = &lessons,
                                                             .threads = options->threads});
    enum err err = ERR_OK;
    if (access(options->checkpoint_path, F_OK) == 0)
        err = trainer_load(training.trainer, options->checkpoint_path, out_note);
    if (err == ERR_OK) {
        make_examined(&training, tokenizer);
        say_recipe(&training.recipe, training.trainer);
        training.started_us = clock_monotonic_us();
        err = run_steps(&training, out_note);
    }
    free_examined(&training);
    trainer_free(training.trainer);
    return err;
}

enum err train_train(const struct train_options *options, struct err_note *out_note)
{
    TRY(cpu_can_train(out_note));
    struct tokenizer *tokenizer = NULL;
    TRY(tokenizer_load(options->tokenizer_path, &tokenizer, out_note));
    struct sigaction action = {.sa_handler = on_signal};
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
    enum err err = train_with(options, tokenizer, out_note);
    tokenizer_free(tokenizer);
    return err;
}

/* -- exporting ----------------------------------------------------------------- */

static enum err export_with(const struct train_options *options, const struct tokenizer *tokenizer,
                            struct slice chat_template, struct err_note *out_note)
{
    struct shape shape;
    uint64_t steps_done;
    float *params = NULL;
    TRY(checkpoint_params(options->checkpoint_path, &shape, &steps_done, &params, out_note));
    enum err err;
    if (shape.vocab != tokenizer_size(tokenizer)) {
        err = err_note_fail(out_note, ERR_REFUSED,
                            "%s has %u tokens, %s %u: they do not belong "
                            "together",
                            options->checkpoint_path, shape.vocab, options->tokenizer_path,
                            tokenizer_size(tokenizer));
    } else {
        struct model model;
        model_init(&model, &shape);
        err = export_write(&(struct export_parts){.model = &model,
                                                  .params = params,
                                                  .tokenizer = tokenizer,
                                                  .chat_template = chat_template},
                           options->model_path, out_note);
    }
    if (err == ERR_OK)
        printf("%s: step %llu\n", options->model_path, (unsigned long long)steps_done);
    mem_free(params);
    return err;
}

enum err train_export(const struct train_options *options, struct err_note *out_note)
{
    enum { TEMPLATE_BYTES_MAX = 64 * 1024 };
    TRY(cpu_can_train(out_note));
    struct tokenizer *tokenizer = NULL;
    TRY(tokenizer_load(options->tokenizer_path, &tokenizer, out_note));
    struct text chat_template;
    text_init(&chat_template, TEMPLATE_BYTES_MAX);
    enum err err = file_read(options->template_path, &chat_template, out_note);
    if (err == ERR_OK)
        err = export_with(options, tokenizer, text_slice(&chat_template), out_note);
    text_fini(&chat_template);
    tokenizer_free(tokenizer);
    return err;
}
