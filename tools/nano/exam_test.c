#include "testing/test.h"

#include "nano/exam.h"

#include "base/json.h"

#include <stdlib.h>

static const struct exam_options few = {.seed = 3, .cases = 60};
static const struct exam_records no_records = {0};

/* What the sample itself says, instead of a model. */
static enum err say_what_is_right(void *ctx, struct exam_case *cases, size_t count,
                                  struct err_note *out_note)
{
    (void)out_note;
    const uint64_t *seed = ctx;
    struct sample sample;
    sample_init(&sample);
    for (size_t i = 0; i < count; i++) {
        family_examine(&sample, cases[i].family, *seed, cases[i].index);
        text_add(&cases[i].answer, sample_answer(&sample));
    }
    sample_fini(&sample);
    return ERR_OK;
}

static enum err say_nothing(void *ctx, struct exam_case *cases, size_t count,
                            struct err_note *out_note)
{
    (void)ctx, (void)cases, (void)count, (void)out_note;
    return ERR_OK;
}

static enum err fail(void *ctx, struct exam_case *cases, size_t count, struct err_note *out_note)
{
    (void)ctx, (void)cases, (void)count;
    return err_note_fail(out_note, ERR_SYSTEM, "no more paper");
}

static struct exam *sat(const struct exam_options *options, exam_answer_fn *answer)
{
    uint64_t seed = options->seed;
    struct exam *exam = exam_new(options);
    CHECK_OK(exam_sit(exam, answer, &seed, NULL));
    exam_judge(exam, NULL);
    return exam;
}

TEST(right_answers_get_full_marks_at_every_gate)
{
    struct exam *exam = sat(&few, say_what_is_right);
    for (size_t gate = 0; gate < GATE_COUNT; gate++) {
        CHECK_EQ(exam->score.right[gate], exam->score.asked[gate]);
        CHECK(exam->score.asked[gate] == 0 || exam_gate_passes(exam, gate, &no_records));
    }
    exam_free(exam);
}

TEST(no_answers_get_none)
{
    struct exam *exam = sat(&few, say_nothing);
    for (size_t gate = 0; gate < GATE_COUNT; gate++) {
        CHECK_EQ(exam->score.right[gate], 0);
        CHECK(!exam_gate_passes(exam, gate, &no_records));
    }
    CHECK(!exam_passes(exam, &no_records));
    exam_free(exam);
}

TEST(every_gate_is_asked_for_often_enough)
{
    const struct exam_options usual = {.seed = 3};
    struct exam *exam = sat(&usual, say_what_is_right);
    for (size_t gate = 0; gate < GATE_COUNT; gate++) {
        if (exam->score.asked[gate] > 0 && gate != GATE_STORIES)
            CHECK(exam->score.asked[gate] >= 100);
    }
    exam_free(exam);
}

TEST(the_same_seed_is_the_same_exam)
{
    struct exam *a = exam_new(&few), *b = exam_new(&few);
    CHECK_EQ(a->count, b->count);
    for (size_t i = 0; i < a->count; i++)
        CHECK_SLICES(text_slice(&a->cases[i].prompt), text_slice(&b->cases[i].prompt));
    exam_free(a);
    exam_free(b);
}

TEST(one_family_is_not_asked_about_the_others)
{
    const struct exam_options one = {.seed = 3, .cases = 50, .family = &family_copying};
    struct exam *exam = sat(&one, say_what_is_right);
    CHECK_EQ(exam->count, 50);
    CHECK_EQ(exam->score.asked[GATE_COPYING], 50);
    CHECK_EQ(exam->score.asked[GATE_LOGS], 0);
    CHECK(exam_passes(exam, &no_records));
    exam_free(exam);
}

TEST(who_cannot_answer_says_why)
{
    struct err_note note;
    struct exam *exam = exam_new(&few);
    CHECK_ERR(exam_sit(exam, fail, NULL, &note), ERR_SYSTEM);
    CHECK_STR(note.text, "no more paper");
    exam_free(exam);
}

/* -- gates and records ------------------------------------------------------ */

static struct exam counted(uint32_t right, uint32_t asked)
{
    struct exam exam = {0};
    exam.score.right[GATE_LOGS] = right;
    exam.score.asked[GATE_LOGS] = asked;
    return exam;
}

TEST(a_gate_is_passed_at_its_percentage_and_not_below)
{
    struct exam below = counted(179, 200), at = counted(180, 200), above = counted(181, 200);
    CHECK(!exam_gate_passes(&below, GATE_LOGS, &no_records));
    CHECK(exam_gate_passes(&at, GATE_LOGS, &no_records));
    CHECK(exam_gate_passes(&above, GATE_LOGS, &no_records));
}

TEST(a_gate_that_is_listed_is_held_to_its_record)
{
    struct exam_records records;
    CHECK_OK(exam_records_read(SLICE("# not met\n\nLOGS 83.5 # 2026-11-21\n"), &records, NULL));
    struct exam below = counted(166, 200), at = counted(167, 200), above = counted(168, 200);
    CHECK(!exam_gate_passes(&below, GATE_LOGS, &records));
    CHECK(exam_gate_passes(&at, GATE_LOGS, &records));
    CHECK(exam_gate_passes(&above, GATE_LOGS, &records));
    CHECK(!exam_gate_passes(&at, GATE_LOGS, &no_records));
}

static void check_refused(const char *text, const char *words)
{
    struct exam_records records;
    struct err_note note;
    CHECK_ERR(exam_records_read(slice_str(text), &records, &note), ERR_PROTOCOL);
    CHECK_STR(note.text, words);
}

TEST(records_that_make_no_sense_are_refused_by_line)
{
    check_refused("LOGS 80\nLOGZ 80", "line 2: no gate is called LOGZ");
    check_refused("LOGS 80\nLOGS 81", "line 2: LOGS is there twice");
    check_refused("LOGS", "line 1: the score of LOGS is none: 0..100, one decimal");
    check_refused("LOGS 101", "line 1: the score of LOGS is none: 0..100, one decimal");
    check_refused("LOGS 80.12", "line 1: the score of LOGS is none: 0..100, one decimal");
}

TEST(no_records_are_fine)
{
    struct exam_records records;
    CHECK_OK(exam_records_read(SLICE(""), &records, NULL));
    CHECK(!records.is_listed[GATE_LOGS]);
}

/* -- what is printed -------------------------------------------------------- */

TEST(the_table_has_a_line_for_each_gate_and_says_how_it_stands)
{
    char *bytes = NULL;
    size_t len = 0;
    FILE *out = open_memstream(&bytes, &len);
    struct exam exam = counted(167, 200);
    exam_print(&exam, &no_records, out);
    fclose(out);
    size_t lines = 0;
    for (size_t i = 0; i < len; i++)
        lines += bytes[i] == '\n';
    CHECK_EQ(lines, GATE_COUNT + 1);
    CHECK(strstr(bytes, "log analysis: component and severity "));
    CHECK(strstr(bytes, "  200   167    83.5    90  BELOW\n"));
    CHECK(strstr(bytes, "NOT ASKED"));
    free(bytes);
}

TEST(what_is_wrong_is_shown_with_what_was_expected)
{
    char *bytes = NULL;
    size_t len = 0;
    FILE *out = open_memstream(&bytes, &len);
    const struct exam_options one = {.seed = 3, .cases = 1, .family = &family_copying};
    struct exam *exam = exam_new(&one);
    CHECK_OK(exam_sit(exam, say_nothing, NULL, NULL));
    exam_judge(exam, out);
    fclose(out);
    CHECK(strstr(bytes, "--- copying 0, wrong: COPYING\n"));
    CHECK(strstr(bytes, ">>> expected\n"));
    exam_free(exam);
    free(bytes);
}

TEST(the_json_says_what_the_table_says)
{
    struct text text;
    struct exam exam = counted(180, 200);
    json_t *root;
    text_init(&text, 64 * 1024);
    exam_add_json(&exam, &no_records, &text);
    CHECK_OK(json_read(text_slice(&text), JSON_DEPTH_MAX, &root, NULL));
    const json_t *gate = json_array_get(json_object_get(root, "gates"), GATE_LOGS);
    CHECK_SLICE(json_slice(json_object_get(gate, "name")), "LOGS");
    CHECK_EQ(json_integer_value(json_object_get(gate, "right")), 180);
    CHECK(json_is_true(json_object_get(gate, "passes")));
    CHECK(json_is_false(json_object_get(root, "passes")));
    json_decref(root);
    text_fini(&text);
}
