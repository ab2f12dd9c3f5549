#include "testing/test.h"

#include "nano/family_check.h"
#include "nano/log_format.h"

#include "base/json.h"

enum { SAMPLES = 4000 };

TEST(logs_are_the_same_for_the_same_choice)
{
    check_deterministic(&family_logs, 300);
}

TEST(logs_keep_their_length)
{
    check_bounds(&family_logs, SAMPLES, 1100, 3072);
}

TEST(what_logs_say_themselves_is_right)
{
    struct score score = judged(&family_logs, SAMPLES, NULL);
    CHECK_EQ(score.asked[GATE_LOGS] + score.asked[GATE_LOGS_UNSEEN], SAMPLES);
    CHECK_EQ(score.right[GATE_LOGS], score.asked[GATE_LOGS]);
    CHECK_EQ(score.right[GATE_LOGS_UNSEEN], score.asked[GATE_LOGS_UNSEEN]);
    CHECK(score.asked[GATE_LOGS_UNSEEN] > SAMPLES / 5);
}

static void replace(struct text *out, struct slice text, struct slice what, struct slice by)
{
    for (size_t at; (at = slice_find(text, what)) != SLICE_NPOS;
         text = slice_after(text, at + what.len)) {
        text_add(out, slice_first(text, at));
        text_add(out, by);
    }
    text_add(out, text);
}

static bool name_another(const struct sample *sample, struct slice answer, struct text *out)
{
    struct text name;
    text_init(&name, 512);
    text_add_f(&name, SLICE_FMT "-x", SLICE_ARG(sample_needle(sample, 0)));
    replace(out, answer, sample_needle(sample, 0), text_slice(&name));
    text_fini(&name);
    return true;
}

TEST(another_component_is_wrong)
{
    struct score score = judged(&family_logs, SAMPLES, name_another);
    CHECK_EQ(score.asked[GATE_LOGS] + score.asked[GATE_LOGS_UNSEEN], SAMPLES);
    CHECK_EQ(score.right[GATE_LOGS] + score.right[GATE_LOGS_UNSEEN], 0);
}

static bool say_another_severity(const struct sample *sample, struct slice answer, struct text *out)
{
    struct slice severity = sample_needle(sample, 1);
    replace(out, answer, severity, slice_eq_str(severity, "high") ? SLICE("low") : SLICE("high"));
    return true;
}

TEST(another_severity_is_wrong)
{
    struct score score = judged(&family_logs, SAMPLES, say_another_severity);
    CHECK_EQ(score.right[GATE_LOGS] + score.right[GATE_LOGS_UNSEEN], 0);
}

static bool swap_prose_and_json(const struct sample *sample, struct slice answer, struct text *out)
{
    if (answer.data[0] == '{')
        text_add_f(out,
                   "Severity: " SLICE_FMT ". The root cause is in " SLICE_FMT
                   ": x. Suggested fixes: x; y.",
                   SLICE_ARG(sample_needle(sample, 1)), SLICE_ARG(sample_needle(sample, 0)));
    else
        text_add_f(out,
                   "{\"root_cause\": \"" SLICE_FMT "\", \"severity\": \"" SLICE_FMT
                   "\", \"suggested_fixes\": [\"x\"]}",
                   SLICE_ARG(sample_needle(sample, 0)), SLICE_ARG(sample_needle(sample, 1)));
    return true;
}

TEST(prose_where_json_was_asked_for_is_wrong_and_the_other_way_round)
{
    struct score score = judged(&family_logs, SAMPLES, swap_prose_and_json);
    CHECK_EQ(score.right[GATE_LOGS] + score.right[GATE_LOGS_UNSEEN], 0);
}

/* What the answer quotes stands in the log: there is nothing to be known by heart. */
TEST(component_stands_in_the_question)
{
    struct sample sample;
    sample_init(&sample);
    for (uint64_t i = 0; i < SAMPLES; i++) {
        check_make(&family_logs, &sample, i, i % 2 ? SPLIT_TEST : SPLIT_TRAIN);
        if (slice_eq_str(sample_needle(&sample, 1), "low"))
            continue;
        bool is_asked = false;
        for (size_t turn = 0; turn < sample.turn_count; turn++)
            is_asked = is_asked || (sample.turns[turn].speaker == SPEAKER_USER &&
                                    slice_find(sample_text(&sample, turn),
                                               sample_needle(&sample, 0)) != SLICE_NPOS);
        CHECK(is_asked);
    }
    sample_fini(&sample);
}

/* A third of the formats is kept from training. */
TEST(formats_seen_and_unseen_have_no_shape_and_no_program_in_common)
{
    enum { DRAWS = 3000 };
    static char unseen[DRAWS][256];
    struct log_format format;
    for (uint64_t i = 0; i < DRAWS; i++) {
        struct choice choice = {i};
        log_format_draw(&format, true, &choice, SPLIT_TEST);
        memcpy(unseen[i], format.program ? format.program->name : format.shape,
               format.program ? strlen(format.program->name) + 1 : sizeof(format.shape));
    }
    for (uint64_t i = 0; i < DRAWS; i++) {
        struct choice choice = {i + DRAWS};
        log_format_draw(&format, false, &choice, SPLIT_TRAIN);
        const char *name = format.program ? format.program->name : format.shape;
        for (size_t j = 0; j < DRAWS; j++)
            CHECK(strcmp(name, unseen[j]) != 0);
    }
}

TEST(every_program_has_errors_and_says_which_component)
{
    for (size_t i = 0; i < log_program_count; i++) {
        const struct log_program *program = &log_programs[i];
        CHECK(program->lines[LOG_LEVEL_ERROR] && log_topic_has(program->topic, LOG_LEVEL_ERROR));
        for (size_t level = LOG_LEVEL_WARN; level < LOG_LEVELS; level++) {
            const char *line = program->lines[level];
            CHECK(!line || (strstr(line, "%c") && strstr(line, "%m")));
        }
    }
}

TEST(lines_that_look_like_json_are_json)
{
    struct text text;
    size_t lines = 0;
    text_init(&text, 4096);
    for (uint64_t i = 0; i < SAMPLES; i++) {
        struct choice choice = {i};
        struct log_format format;
        const struct log_line line = {LOG_LEVEL_ERROR, SLICE("billing"), SLICE("it's `x`: off")};
        log_format_draw(&format, i % 2, &choice, SPLIT_TRAIN);
        if (format.program || strncmp(format.shape, "{\"", 2) != 0)
            continue;
        text_clear(&text);
        log_format_add_line(&format, &text, &line, &choice, SPLIT_TRAIN);
        json_t *value;
        CHECK_OK(json_read(text_slice(&text), JSON_DEPTH_MAX, &value, NULL));
        json_decref(value);
        lines++;
    }
    text_fini(&text);
    CHECK(lines > SAMPLES / 20);
}

/* So what is quoted in an answer stands there as it stood in the log. */
TEST(messages_need_no_escape)
{
    const char *fixes[LOG_FIXES];
    struct text text;
    text_init(&text, 4096);
    for (uint64_t i = 0; i < SAMPLES; i++) {
        struct choice choice = {i};
        enum log_topic topic = i % LOG_TOPIC_COUNT;
        enum log_level level = i / LOG_TOPIC_COUNT % LOG_LEVELS;
        text_clear(&text);
        bool is_there = log_message_add(&text, topic, level, &choice, SPLIT_TRAIN, fixes);
        CHECK_EQ(is_there, log_topic_has(topic, level));
        for (const char *bad = "\"\\\n<>"; *bad; bad++)
            CHECK_EQ(slice_find_byte(text_slice(&text), *bad), SLICE_NPOS);
    }
    text_fini(&text);
}
