/* Tests of training: that it learns, repeats itself, and goes on where it was. */
#include "nano/trainer.h"

#include "base/mem.h"
#include "nano/choice.h"
#include "nano/cpu.h"
#include "nano/file.h"
#include "testing/test.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

/* A task of a few tokens: say the three letters again. */
static unsigned draw_echo(void *ctx, uint64_t index, struct rendering *out)
{
    struct choice choice = {index + *(uint64_t *)ctx};
    choice.state = splitmix_next(&choice.state);
    char letters[3];
    for (size_t i = 0; i < sizeof(letters); i++)
        letters[i] = "abcdefgh"[choice_below(&choice, 8)];
    text_clear(&out->text);
    text_add(&out->text, slice_of(letters, sizeof(letters)));
    text_add_str(&out->text, "<|im_start|>");
    out->spans[0] = (struct span){.end = (uint32_t)out->text.len, .weight = 10};
    text_add(&out->text, slice_of(letters, sizeof(letters)));
    text_add_str(&out->text, "<|im_end|>");
    out->spans[1] = (struct span){.end = (uint32_t)out->text.len, .weight = 100};
    out->span_count = 2;
    return index % 2;
}

static struct recipe small_recipe(uint32_t steps)
{
    struct recipe recipe = recipe_nano();
    recipe.shape = (struct shape){.vocab = TOKENIZER_SIZE_MIN,
                                  .width = 64,
                                  .layers = 2,
                                  .heads = 2,
                                  .kv_heads = 1,
                                  .hidden = 64};
    recipe.has_circuit = false;
    recipe.steps = steps;
    recipe.row_tokens = 64;
    recipe.rows_first = 2;
    recipe.rows_last = 5;
    recipe.shards = 3;
    recipe.warmup_steps = 10;
    recipe.rounded_percent = 20;
    return recipe;
}

struct school { /* all that a trainer borrows */
    struct recipe recipe;
    struct tokenizer *tokenizer;
    uint64_t seed;
};

static struct school school_of(uint32_t steps)
{
    struct school school = {.recipe = small_recipe(steps), .seed = 77};
    struct tokenizer_lesson *lesson = tokenizer_lesson_new();
    for (int i = 0; i < 2; i++)
        tokenizer_lesson_add(lesson, SLICE("Ii Ii Jj Jj Kk Kk Ll Ll Mm Mm Nn Nn Oo Oo Pp Pp Qq Qq "
                                           "Rr Rr Ss Ss Tt Tt Uu Uu Vv Vv Ww Ww Xx Xx Yy Yy"));
    CHECK_OK(tokenizer_learn(lesson, TOKENIZER_SIZE_MIN, &school.tokenizer, NULL));
    tokenizer_lesson_free(lesson);
    return school;
}

static struct trainer *trainer_of(struct school *school, unsigned threads)
{
    return trainer_new(&(struct trainer_options){.recipe = &school->recipe,
                                                 .tokenizer = school->tokenizer,
                                                 .draw = draw_echo,
                                                 .ctx = &school->seed,
                                                 .threads = threads});
}

static double run(struct trainer *trainer, uint32_t steps)
{
    struct losses losses = {0};
    for (uint32_t i = 0; i < steps; i++)
        trainer_step(trainer, &losses);
    return losses.weighted / losses.weights;
}

static bool same_params(const struct trainer *a, const struct trainer *b,
                        const struct school *school)
{
    struct model model;
    model_init(&model, &school->recipe.shape);
    return memcmp(trainer_params(a), trainer_params(b), model.param_count * sizeof(float)) == 0;
}

TEST(training_learns_a_small_task)
{
    cpu_or_skip();
    struct school school = school_of(250);
    struct trainer *trainer = trainer_of(&school, 1);
    double first = run(trainer, 1);
    double last = run(trainer, 249);
    CHECK(first > 5.4); /* log 288 = 5.66: it knows nothing */

    struct rendering document; /* of other indices than it learned from */
    rendering_init(&document);
    struct row row;
    row_init(&row, 512);
    for (uint64_t i = 0; i < 20; i++) {
        (void)draw_echo(&school.seed, 1000000 + i, &document);
        CHECK(row_add(&row, school.tokenizer, &document, 0));
    }
    struct losses losses;
    trainer_examine(trainer, &row, 1, &losses);
    CHECK_EQ(losses.answer_tokens[0], 20 * 4);
    CHECK(losses.right[0] >= 76);
    CHECK(last < 1); /* the context's letters cannot be foreseen: it weighs a tenth */
    rendering_fini(&document);
    row_fini(&row);
    trainer_free(trainer);
    tokenizer_free(school.tokenizer);
}

TEST(number_of_threads_does_not_show)
{
    cpu_or_skip();
    struct school school = school_of(12);
    struct trainer *one = trainer_of(&school, 1), *three = trainer_of(&school, 3);
    double loss = run(one, 12);
    CHECK(run(three, 12) == loss);
    CHECK(same_params(one, three, &school));
    trainer_free(one);
    trainer_free(three);
    tokenizer_free(school.tokenizer);
}

static void temporary_path(char path[64])
{
    strcpy(path, "/tmp/nano-trainer-XXXXXX");
    int fd = mkstemp(path);
    CHECK(fd >= 0);
    close(fd);
}

/* Killed after any step, also of those through rounded weights, and begun again. */
TEST(training_that_goes_on_ends_as_one_that_never_stopped)
{
    cpu_or_skip();
    char path[64];
    temporary_path(path);
    struct school school = school_of(10);
    struct trainer *whole = trainer_of(&school, 2);
    run(whole, 10);
    for (uint32_t cut = 0; cut <= 9; cut += 3) {
        struct trainer *before = trainer_of(&school, 2), *after = trainer_of(&school, 1);
        run(before, cut);
        CHECK_OK(trainer_save(before, path, NULL));
        trainer_free(before);
        CHECK_OK(trainer_load(after, path, NULL));
        CHECK_EQ(trainer_steps_done(after), cut);
        run(after, 10 - cut);
        CHECK(same_params(after, whole, &school));
        trainer_free(after);
    }
    trainer_free(whole);
    tokenizer_free(school.tokenizer);
    unlink(path);
}

static void check_refused(struct school *school, const char *path, enum err expected,
                          const char *part)
{
    struct trainer *trainer = trainer_of(school, 1);
    struct err_note note = {{0}};
    CHECK_ERR(trainer_load(trainer, path, &note), expected);
    CHECK(strstr(note.text, part) != NULL);
    CHECK_EQ(trainer_steps_done(trainer), 0);
    trainer_free(trainer);
}

TEST(checkpoint_of_something_else_is_refused)
{
    cpu_or_skip();
    char path[64];
    temporary_path(path);
    struct school school = school_of(10);
    struct trainer *trainer = trainer_of(&school, 1);
    run(trainer, 1);
    CHECK_OK(trainer_save(trainer, path, NULL));
    trainer_free(trainer);

    school.recipe.rate *= 2;
    check_refused(&school, path, ERR_REFUSED, "with another recipe");
    school.recipe = small_recipe(10);
    school.seed++;
    check_refused(&school, path, ERR_REFUSED, "from other documents");
    tokenizer_free(school.tokenizer);
    unlink(path);
    school = school_of(10);
    check_refused(&school, path, ERR_NOT_FOUND, "No such file");
    tokenizer_free(school.tokenizer);
}

TEST(damaged_checkpoint_is_refused)
{
    cpu_or_skip();
    char path[64];
    temporary_path(path);
    struct school school = school_of(10);
    struct trainer *trainer = trainer_of(&school, 1);
    CHECK_OK(trainer_save(trainer, path, NULL));
    trainer_free(trainer);
    struct text whole;
    text_init(&whole, 16 << 20);
    CHECK_OK(file_read(path, &whole, NULL));
    const size_t cuts[] = {0, 8, 60, whole.len / 2, whole.len - 1};
    for (size_t i = 0; i < ARRAY_COUNT(cuts); i++) {
        struct slice part = slice_first(text_slice(&whole), cuts[i]);
        CHECK_OK(file_write(path, &part, 1, NULL));
        check_refused(&school, path, ERR_PROTOCOL, "damaged");
    }
    whole.data[whole.len / 3] ^= 1;
    struct slice all = text_slice(&whole);
    CHECK_OK(file_write(path, &all, 1, NULL));
    check_refused(&school, path, ERR_PROTOCOL, "damaged");
    text_fini(&whole);
    tokenizer_free(school.tokenizer);
    unlink(path);
}
