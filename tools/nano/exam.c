/* exam - cases, judging, and the table of the gates. */
#include "nano/exam.h"

#include "base/json.h"
#include "base/mem.h"

enum {
    CASES_USUAL = 100, /* of every gate but STORIES at least 100 */
    CASES_OF_LOGS = 230,
    CASES_OF_FACTS = 150,
    CASES_OF_CALLS = 132,
    CASES_OF_STORIES = 24, /* long ones: they are most of the tokens */
    PROMPT_BYTES_MAX = SAMPLE_BYTES_MAX * 2,
    ANSWER_BYTES_MAX = 64 * 1024,
};

static const struct {
    const char *name, *words;
    uint32_t least; /* percent */
} gates[GATE_COUNT] = {
#define X(name, words, least) {#name, words, least},
    GATES(X)
#undef X
};

/* -- the cases -------------------------------------------------------------- */

static size_t cases_of(const struct exam_options *options, const struct family *family)
{
    if (options->family && options->family != family)
        return 0;
    if (options->cases)
        return options->cases;
    if (strcmp(family->name, "logs") == 0)
        return CASES_OF_LOGS;
    if (strcmp(family->name, "facts") == 0)
        return CASES_OF_FACTS;
    if (strcmp(family->name, "calls") == 0)
        return CASES_OF_CALLS;
    return strcmp(family->name, "stories") == 0 ? CASES_OF_STORIES : CASES_USUAL;
}

static void make_case(struct exam *exam, const struct family *family, uint64_t index,
                      struct sample *scratch)
{
    struct exam_case *one = &exam->cases[exam->count++];
    one->family = family;
    one->index = index;
    text_init(&one->prompt, PROMPT_BYTES_MAX);
    text_init(&one->answer, ANSWER_BYTES_MAX);
    family_examine(scratch, family, exam->options.seed, index);
    sample_render_prompt(scratch, &one->prompt);
    ASSERT(text_status(&one->prompt) == ERR_OK);
}

struct exam *exam_new(const struct exam_options *options)
{
    struct exam *exam = mem_alloc(sizeof(*exam));
    struct sample sample;
    size_t count = 0;
    exam->options = *options;
    for (size_t i = 0; i < FAMILY_COUNT; i++)
        count += cases_of(options, families[i]);
    exam->cases = mem_array(count ? count : 1, sizeof(exam->cases[0]));
    sample_init(&sample);
    for (size_t i = 0; i < FAMILY_COUNT; i++) {
        size_t cases = cases_of(options, families[i]);
        for (size_t index = 0; index < cases; index++)
            make_case(exam, families[i], index, &sample);
    }
    sample_fini(&sample);
    return exam;
}

void exam_free(struct exam *exam)
{
    if (!exam)
        return;
    for (size_t i = 0; i < exam->count; i++) {
        text_fini(&exam->cases[i].prompt);
        text_fini(&exam->cases[i].answer);
    }
    mem_free(exam->cases);
    mem_free(exam);
}

enum err exam_sit(struct exam *exam, exam_answer_fn *answer, void *ctx, struct err_note *out_note)
{
    return answer(ctx, exam->cases, exam->count, out_note);
}

/* -- judging ---------------------------------------------------------------- */

static void print_wrong(const struct exam_case *one, const struct sample *sample,
                        const struct score *score, FILE *out)
{
    fprintf(out, "--- %s %llu, wrong:", one->family->name, (unsigned long long)one->index);
    for (size_t gate = 0; gate < GATE_COUNT; gate++) {
        if (score->right[gate] < score->asked[gate])
            fprintf(out, " %s", gates[gate].name);
    }
    fprintf(out, "\n%.*s\n", (int)one->prompt.len, one->prompt.data);
    fprintf(out, ">>> expected\n" SLICE_FMT "\n>>> answered\n" SLICE_FMT "\n\n",
            SLICE_ARG(sample_answer(sample)), SLICE_ARG(text_slice(&one->answer)));
}

static bool has_wrong(const struct score *score)
{
    for (size_t gate = 0; gate < GATE_COUNT; gate++) {
        if (score->right[gate] < score->asked[gate])
            return true;
    }
    return false;
}

void exam_judge(struct exam *exam, FILE *wrong)
{
    struct sample sample;
    sample_init(&sample);
    exam->score = (struct score){0};
    for (size_t i = 0; i < exam->count; i++) {
        struct exam_case *one = &exam->cases[i];
        struct score score = {0};
        family_examine(&sample, one->family, exam->options.seed, one->index);
        one->family->judge(&sample, text_slice(&one->answer), &score);
        for (size_t gate = 0; gate < GATE_COUNT; gate++) {
            exam->score.right[gate] += score.right[gate];
            exam->score.asked[gate] += score.asked[gate];
        }
        if (wrong && has_wrong(&score))
            print_wrong(one, &sample, &score, wrong);
    }
    sample_fini(&sample);
}

/* -- records ---------------------------------------------------------------- */

/* "83.3" or "83" -> 833 or 830. */
static enum err parse_permille(struct slice text, uint32_t *out_permille)
{
    struct slice whole, tenth;
    uint64_t percent, tenths = 0;
    bool has_tenth = slice_cut(text, '.', &whole, &tenth);
    TRY(slice_parse_u64(whole, 100, &percent));
    if (has_tenth)
        TRY(slice_parse_u64(tenth, 9, &tenths));
    *out_permille = (uint32_t)(percent * 10 + tenths);
    return ERR_OK;
}

static size_t gate_of(struct slice name)
{
    for (size_t gate = 0; gate < GATE_COUNT; gate++) {
        if (slice_eq_str(name, gates[gate].name))
            return gate;
    }
    return GATE_COUNT;
}

static enum err read_record(struct slice line, size_t number, struct exam_records *records,
                            struct err_note *out_note)
{
    struct slice name, rest;
    (void)slice_cut(line, ' ', &name, &rest); /* without a space there is no score: see below */
    size_t gate = gate_of(name);
    if (gate == GATE_COUNT)
        return err_note_fail(out_note, ERR_PROTOCOL, "line %zu: no gate is called " SLICE_FMT,
                             number, SLICE_ARG(name));
    if (records->is_listed[gate])
        return err_note_fail(out_note, ERR_PROTOCOL, "line %zu: " SLICE_FMT " is there twice",
                             number, SLICE_ARG(name));
    if (parse_permille(slice_trim(rest), &records->permille[gate]) != ERR_OK)
        return err_note_fail(out_note, ERR_PROTOCOL,
                             "line %zu: the score of " SLICE_FMT " is none: 0..100, one decimal",
                             number, SLICE_ARG(name));
    records->is_listed[gate] = true;
    return ERR_OK;
}

enum err exam_records_read(struct slice text, struct exam_records *out_records,
                           struct err_note *out_note)
{
    struct exam_records records = {0};
    struct slice line, rest;
    size_t number = 0;
    for (bool more = text.len > 0; more;) {
        more = slice_cut(text, '\n', &line, &text);
        number++;
        (void)slice_cut(line, '#', &line, &rest); /* a comment or none */
        line = slice_trim(line);
        if (line.len > 0)
            TRY(read_record(line, number, &records, out_note));
    }
    *out_records = records;
    return ERR_OK;
}

/* -- the table -------------------------------------------------------------- */

uint32_t exam_permille(const struct exam *exam, enum gate gate)
{
    uint32_t asked = exam->score.asked[gate];
    return asked ? exam->score.right[gate] * 1000 / asked : 0;
}

static bool is_met(const struct exam *exam, enum gate gate)
{
    return exam->score.asked[gate] > 0 &&
           exam->score.right[gate] * 100 >= gates[gate].least * exam->score.asked[gate];
}

bool exam_gate_passes(const struct exam *exam, enum gate gate, const struct exam_records *records)
{
    if (exam->score.asked[gate] == 0)
        return exam->options.family != NULL;
    if (is_met(exam, gate))
        return true;
    return records->is_listed[gate] && exam_permille(exam, gate) >= records->permille[gate];
}

bool exam_passes(const struct exam *exam, const struct exam_records *records)
{
    for (size_t gate = 0; gate < GATE_COUNT; gate++) {
        if (!exam_gate_passes(exam, gate, records))
            return false;
    }
    return true;
}

static void print_gate(const struct exam *exam, enum gate gate, const struct exam_records *records,
                       FILE *out)
{
    uint32_t permille = exam_permille(exam, gate), recorded = records->permille[gate];
    fprintf(out, "%-56s %5u %5u %5u.%u %5u  ", gates[gate].words, exam->score.asked[gate],
            exam->score.right[gate], permille / 10, permille % 10, gates[gate].least);
    if (exam->score.asked[gate] == 0)
        fprintf(out, "%s\n", exam->options.family ? "not asked" : "NOT ASKED");
    else if (is_met(exam, gate))
        fprintf(out, "ok%s\n", records->is_listed[gate] ? " (take it out of gates.txt)" : "");
    else if (records->is_listed[gate])
        fprintf(out, "not met%s, recorded %u.%u\n",
                exam_gate_passes(exam, gate, records) ? "" : " and WORSE", recorded / 10,
                recorded % 10);
    else
        fprintf(out, "BELOW\n");
}

void exam_print(const struct exam *exam, const struct exam_records *records, FILE *out)
{
    fprintf(out, "%-56s %5s %5s %7s %5s\n", "", "asked", "right", "%", "gate");
    for (size_t gate = 0; gate < GATE_COUNT; gate++)
        print_gate(exam, gate, records, out);
}

void exam_add_json(const struct exam *exam, const struct exam_records *records, struct text *out)
{
    struct json_out json = json_out_to(out);
    json_out_begin_object(&json);
    json_out_add_u64(&json, "cases", exam->count);
    json_out_add_bool(&json, "passes", exam_passes(exam, records));
    json_out_key(&json, "gates");
    json_out_begin_array(&json);
    for (size_t gate = 0; gate < GATE_COUNT; gate++) {
        json_out_begin_object(&json);
        json_out_add_string(&json, "name", slice_str(gates[gate].name));
        json_out_add_string(&json, "words", slice_str(gates[gate].words));
        json_out_add_u64(&json, "asked", exam->score.asked[gate]);
        json_out_add_u64(&json, "right", exam->score.right[gate]);
        json_out_add_u64(&json, "least_percent", gates[gate].least);
        json_out_add_bool(&json, "passes", exam_gate_passes(exam, gate, records));
        json_out_end_object(&json);
    }
    json_out_end_array(&json);
    json_out_end_object(&json);
}
